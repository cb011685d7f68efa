//! Requests that the staff enters for people who wrote in, and what it decides.

use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{
    super::{Actor, Control, ControlError, Page, PageRequest, accounts, audit, input::check_text},
    requests,
};
use crate::{
    domain::{
        account::Account,
        privacy::{Kind, Status},
    },
    store::{self, privacy::Request},
};

const NOTE_LENGTH_MAX: usize = 2_000;

/// Names the account by its id or its address.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewStaffRequest {
    #[serde(default)]
    pub account_id: Option<String>,
    #[serde(default)]
    pub email: Option<String>,
    pub kind: Kind,
    /// How the person was recognised, what is to be corrected.
    #[serde(default)]
    #[schema(max_length = 2000)]
    pub note: String,
    /// Mails the account a link that confirms the request first.
    #[serde(default)]
    pub confirm_by_mail: bool,
}

async fn account(control: &Control, new: &NewStaffRequest) -> Result<Account, ControlError> {
    match (&new.account_id, &new.email) {
        (Some(id), None) => accounts::get(control, id).await,
        (None, Some(email)) => {
            let email = accounts::normal_email(email)?;
            let found = store::accounts::by_email(&control.db, &email).await?;
            found.ok_or_else(|| ControlError::NotFound(format!("an account with the address {email}")))
        }
        _ => Err(ControlError::invalid("account_id", "send account_id or email, and not both")),
    }
}

/// `None` when the request waits for its confirmation by mail.
pub async fn enter(control: &Control, actor: &Actor, new: NewStaffRequest) -> Result<Option<Request>, ControlError> {
    if !new.note.is_empty() {
        check_text("note", &new.note, NOTE_LENGTH_MAX)?;
    }
    let account = account(control, &new).await?;
    if new.confirm_by_mail {
        requests::ask_confirmation(control, &account, new.kind).await?;
        audit::note(control, actor, "privacy.asked", &account.id, json!({ "kind": new.kind })).await;
        return Ok(None);
    }
    requests::place(control, actor, &account, (new.kind, "admin"), new.note).await.map(Some)
}

pub async fn get(control: &Control, id: &str) -> Result<Request, ControlError> {
    store::privacy::get(&control.db, id).await?.ok_or_else(|| ControlError::NotFound(format!("privacy request {id}")))
}

pub async fn list(
    control: &Control,
    account_id: Option<&str>,
    status: Option<Status>,
    page: &PageRequest,
) -> Result<Page<Request>, ControlError> {
    let requests = store::privacy::list(&control.db, account_id, status, page.after(), page.rows()).await?;
    Ok(Page::cut(requests, page, |request| request.id.clone()))
}

/// What became of a request that waits for the staff; `canceled` also stops a deletion that has not begun.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// `done`, `rejected` or `canceled`.
    pub status: Status,
    #[serde(default)]
    #[schema(max_length = 2000)]
    pub note: Option<String>,
}

pub async fn decide(control: &Control, actor: &Actor, id: &str, decision: Decision) -> Result<Request, ControlError> {
    if let Some(note) = decision.note.as_deref().filter(|note| !note.is_empty()) {
        check_text("note", note, NOTE_LENGTH_MAX)?;
    }
    let request = get(control, id).await?;
    let now = control.clock.now();
    let is_done = match decision.status {
        Status::Canceled if request.kind == Kind::Deletion => {
            let kept = store::privacy::cancel_deletion(&control.db, id, now).await?;
            if let Some(account) = &kept {
                control.accounts.changed(&account.locator).await;
            }
            kept.is_some()
        }
        Status::Done | Status::Rejected | Status::Canceled => {
            store::privacy::decide(&control.db, id, decision.status, decision.note.as_deref(), now).await?
        }
        Status::Open | Status::Scheduled => return Err(ControlError::invalid("status", "status must be done, rejected or canceled")),
    };
    if !is_done {
        return Err(ControlError::Conflict(
            "this request is under way or over; only open requests and deletions that wait can be decided".to_owned(),
        ));
    }
    audit::note(control, actor, "privacy.decide", id, json!({ "status": decision.status })).await;
    get(control, id).await
}
