//! The sessions of an owner, and what the security log says about them.

use super::super::{Actor, Control, ControlError, Page, PageRequest, audit};
use crate::store::{self, security::SecurityEvent, sessions::Session};

pub async fn list_sessions(control: &Control, account_id: &str) -> Result<Vec<Session>, ControlError> {
    Ok(store::sessions::list(&control.db, account_id, control.clock.now()).await?)
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
