//! The audit trail of the control plane.

use serde_json::Value;

use super::{Actor, Control, ControlError, Page, PageRequest};
use crate::store;

pub use crate::store::audit::AuditEntry;

/// Notes what `actor` did. The change is made already: when the entry cannot be written, the log keeps it, and the caller learns of
/// the success all the same.
pub(super) async fn note(control: &Control, actor: &Actor, action: &str, subject: &str, details: Value) {
    let entry = AuditEntry {
        id: control.clock.new_id("aud"),
        actor: actor.id.clone(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        details,
        created_at: control.clock.now(),
    };
    if let Err(error) = store::audit::append(&control.db, entry.clone()).await {
        tracing::error!(
            error = %error, audit.actor = %entry.actor, audit.action = %entry.action, audit.subject = %entry.subject,
            audit.details = %entry.details, "an audit entry could not be written"
        );
    }
}

/// Entries, newest first; with `subject` only those about it.
pub async fn list(control: &Control, subject: Option<&str>, page: &PageRequest) -> Result<Page<AuditEntry>, ControlError> {
    let entries = store::audit::list(&control.db, subject, page.after(), page.rows()).await?;
    Ok(Page::cut(entries, page, |entry| entry.id.clone()))
}
