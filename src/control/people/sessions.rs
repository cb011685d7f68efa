//! The sessions of an owner, and what the security log says about them.

use super::super::{Actor, Control, ControlError, Page, PageRequest, audit};
use crate::store::{self, people::KeptSignUp, security::SecurityEvent, sessions::Session};

pub async fn list_sessions(control: &Control, account_id: &str) -> Result<Vec<Session>, ControlError> {
    let now = control.clock.now();
    let mut sessions = store::sessions::list(&control.db, account_id, now).await?;
    // What was idle for too long ends at its next use; until then it opens nothing, either.
    sessions.retain(|session| now - session.last_used_at.unwrap_or(session.created_at) <= control.people.policy.session_idle);
    Ok(sessions)
}

/// Where somebody came from who signed up by themselves.
pub async fn get_sign_up(control: &Control, account_id: &str) -> Result<KeptSignUp, ControlError> {
    let kept = store::people::sign_up(&control.db, account_id).await?;
    kept.ok_or_else(|| ControlError::NotFound(format!("sign-up of {account_id}")))
}

/// Signs one session out.
pub async fn end_session(control: &Control, actor: &Actor, account_id: &str, id: &str) -> Result<(), ControlError> {
    if !store::sessions::delete(&control.db, account_id, id).await? {
        return Err(ControlError::NotFound(format!("session {id}")));
    }
    audit::note(control, actor, "session.end", id, serde_json::json!({})).await;
    Ok(())
}

/// Signs every session out but the one with the id `keep`; answers with how many there were.
pub async fn end_others(control: &Control, actor: &Actor, account_id: &str, keep: Option<&str>) -> Result<u64, ControlError> {
    let ended = store::sessions::delete_all(&control.db, account_id, keep).await?;
    audit::note(control, actor, "session.end_all", account_id, serde_json::json!({ "ended": ended })).await;
    Ok(ended)
}

/// What happened around the sign-in of an account, newest first.
pub async fn security_events(control: &Control, account_id: &str, page: &PageRequest) -> Result<Page<SecurityEvent>, ControlError> {
    let events = store::security::list(&control.db, account_id, page.after(), page.rows()).await?;
    Ok(Page::cut(events, page, |event| event.id.clone()))
}
