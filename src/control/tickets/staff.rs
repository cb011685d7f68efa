//! What the operator's people do with tickets. Every change is noted in the audit trail, without its text.

use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{Attachment, Detail, Ticket, TicketMessage, counted, detail, find, message, messages_of};
use crate::{
    control::{Actor, Control, ControlError, Page, PageRequest, accounts, audit, given, input::check_text, mail},
    domain::{
        account::AccountStatus,
        mail::Message,
        ticket::{Priority, Side, TicketStatus},
    },
    store::{
        self,
        outbox::NewMail,
        tickets::{Filter, Rate, Reply, TicketPatch},
    },
};

const ASSIGNEE_CHARS_MAX: usize = 100;
/// What the filter calls tickets without an assignee.
const NOBODY: &str = "none";

/// Which tickets to list. `Default` is: all.
#[derive(Debug, Clone, Default)]
pub struct StaffFilter {
    pub account_id: Option<String>,
    pub status: Option<TicketStatus>,
    pub priority: Option<Priority>,
    /// `none` for those that nobody takes care of.
    pub assignee: Option<String>,
    /// Part of the title, of an id, or of the account's e-mail address.
    pub q: Option<String>,
}

/// A message or a note of the staff.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StaffMessage {
    /// Plain text. API keys in it are cut down to their public part.
    #[schema(min_length = 1, max_length = 20_000)]
    pub message: String,
    /// True for a note that the customer never sees; it changes no status and sends no mail.
    #[serde(default)]
    pub internal: bool,
    /// What the ticket becomes. Without it an open ticket becomes `pending`, and one that was ended stays so.
    #[serde(default)]
    pub status: Option<TicketStatus>,
}

/// What to change of a ticket; fields that are missing stay.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StaffPatch {
    #[serde(default)]
    pub status: Option<TicketStatus>,
    #[serde(default)]
    pub priority: Option<Priority>,
    /// Whoever takes care of it, as the staff calls them; null for nobody. Never shown to the customer.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 100)]
    pub assignee: Option<Option<String>>,
}

/// Tickets of all accounts, newest first.
pub async fn list(control: &Control, filter: &StaffFilter, page: &PageRequest) -> Result<Page<Ticket>, ControlError> {
    let filter = Filter {
        account_id: filter.account_id.as_deref(),
        status: filter.status,
        priority: filter.priority,
        assignee: filter.assignee.as_deref().map(|assignee| Some(assignee).filter(|assignee| *assignee != NOBODY)),
        q: filter.q.as_deref().filter(|q| !q.is_empty()),
        after: page.after(),
        limit: page.rows(),
    };
    let tickets = store::tickets::list(&control.db, &filter).await?;
    Ok(Page::cut(tickets, page, |ticket| ticket.id.clone()))
}

/// With its notes.
pub async fn get(control: &Control, id: &str) -> Result<Detail, ControlError> {
    detail(control, None, id).await
}

/// Messages and notes, oldest first.
pub async fn messages(control: &Control, id: &str, page: &PageRequest) -> Result<Page<TicketMessage>, ControlError> {
    let ticket = find(control, None, id).await?;
    messages_of(control, &ticket, true, page).await
}

pub async fn attachments(control: &Control, id: &str) -> Result<Vec<Attachment>, ControlError> {
    let ticket = find(control, None, id).await?;
    Ok(store::tickets::attachments::list(&control.db, &ticket.id, true).await?)
}

/// Answers the customer, who gets a mail, or leaves a note.
pub async fn reply(control: &Control, actor: &Actor, id: &str, new: &StaffMessage) -> Result<(TicketMessage, Ticket), ControlError> {
    // Replies of the staff are not limited.
    const FREE: Rate = Rate { max: 0, window: 0 };
    let ticket = find(control, None, id).await?;
    let mut message = message(control, &ticket.id, Side::Support, &actor.id, &new.message)?;
    message.internal = new.internal;
    let mail = if new.internal { None } else { to_owner(control, &ticket).await? };
    let reply = Reply { account_id: None, message: &message, status: new.status, mail: mail.as_ref(), rate: None };
    let written = store::tickets::reply(&control.db, &control.sealer, reply).await?;
    let ticket = counted(written, "messages", FREE, message.created_at)?;
    if mail.is_some() {
        control.mailer.nudge();
    }
    let details = json!({ "message_id": message.id, "internal": message.internal, "status": ticket.status });
    audit::note(control, actor, "ticket.reply", &ticket.id, details).await;
    Ok((message, ticket))
}

pub async fn patch(control: &Control, actor: &Actor, id: &str, patch: StaffPatch) -> Result<Ticket, ControlError> {
    if let Some(Some(assignee)) = &patch.assignee {
        check_text("assignee", assignee, ASSIGNEE_CHARS_MAX)?;
        if assignee == NOBODY {
            return Err(ControlError::invalid("assignee", "'none' means nobody in lists; send null"));
        }
    }
    let patch = TicketPatch { status: patch.status, priority: patch.priority, assignee: patch.assignee };
    let (before, ticket) = store::tickets::update(&control.db, None, id, &patch, control.clock.now()).await?;
    let details = json!({
        "from": { "status": before.status, "priority": before.priority, "assignee": before.assignee },
        "to": { "status": ticket.status, "priority": ticket.priority, "assignee": ticket.assignee },
    });
    audit::note(control, actor, "ticket.update", &ticket.id, details).await;
    Ok(ticket)
}

/// Who closed their account reads no more mails.
async fn to_owner(control: &Control, ticket: &Ticket) -> Result<Option<NewMail>, ControlError> {
    let account = accounts::get(control, &ticket.account_id).await?;
    if account.status == AccountStatus::Closed {
        return Ok(None);
    }
    let message = Message::TicketReply {
        ticket_id: ticket.id.clone(),
        title: ticket.title.clone(),
        link: control.site.link(&format!("/api/v1/tickets/{}", ticket.id)),
    };
    Ok(Some(mail::to_account(control, &account, message)))
}
