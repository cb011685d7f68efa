//! What admins see of mails and do about them. What a mail says is for its reader alone.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Actor, Control, ControlError, Page, PageRequest, accounts::normal_email, audit};
use crate::{
    actors::mailer::TestError,
    domain::mail::{Locale, MailStatus},
    store,
};

pub use crate::store::outbox::Mail;

/// Whom to send a test mail to.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTestMail {
    #[schema(example = "ada@example.com", max_length = 254)]
    pub to: String,
    #[serde(default)]
    pub locale: Locale,
}

/// What the mail server said to a test mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MailTest {
    pub ok: bool,
    /// The server's answer, or why there was none.
    #[schema(example = "250 2.0.0 Ok: queued")]
    pub answer: String,
}

/// Mails, newest first; with `status` only those.
pub async fn list(control: &Control, status: Option<MailStatus>, page: &PageRequest) -> Result<Page<Mail>, ControlError> {
    let mails = store::outbox::list(&control.db, status, page.after(), page.rows()).await?;
    Ok(Page::cut(mails, page, |mail| mail.id.clone()))
}

pub async fn get(control: &Control, id: &str) -> Result<Mail, ControlError> {
    store::outbox::get(&control.db, id).await?.ok_or_else(|| ControlError::NotFound(format!("mail {id}")))
}

/// Has a mail tried at once, with all its tries before it.
pub async fn retry(control: &Control, actor: &Actor, id: &str) -> Result<Mail, ControlError> {
    if !store::outbox::retry(&control.db, id, control.clock.now()).await? {
        let mail = get(control, id).await?;
        let why = if mail.status == MailStatus::Sent { "was sent" } else { "has expired" };
        return Err(ControlError::Conflict(format!("the mail {id} {why}, so its content is gone; have it made again where it came from")));
    }
    audit::note(control, actor, "mail.retry", id, json!({})).await;
    let mail = get(control, id).await?;
    control.mailer.nudge();
    Ok(mail)
}

/// Deletes a mail, sent or not.
pub async fn delete(control: &Control, actor: &Actor, id: &str) -> Result<(), ControlError> {
    if !store::outbox::delete(&control.db, id).await? {
        return Err(ControlError::NotFound(format!("mail {id}")));
    }
    audit::note(control, actor, "mail.delete", id, json!({})).await;
    Ok(())
}

/// Sends a test mail past the outbox and tells what the server said.
pub async fn test(control: &Control, actor: &Actor, new: NewTestMail) -> Result<MailTest, ControlError> {
    let to = normal_email(&new.to).map_err(|_| ControlError::invalid("to", "to must be an e-mail address such as ada@example.com"))?;
    let outcome =
        control.mailer.send_test(to, new.locale).await.map_err(|error| ControlError::Unavailable(format!("the mailer: {error}")))?;
    let test = match outcome {
        Ok(answer) => MailTest { ok: true, answer },
        Err(TestError::Failed(answer)) => MailTest { ok: false, answer },
        Err(error @ TestError::NotConfigured) => return Err(ControlError::Conflict(error.to_string())),
    };
    audit::note(control, actor, "mail.test", "mail", json!({ "ok": test.ok })).await;
    Ok(test)
}
