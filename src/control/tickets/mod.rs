//! Support tickets as their owners see them; [`staff`] has what the operator's people do, [`attachments`] the files of both.
//!
//! Internal notes, assignees and the names of the staff stay with the staff: every function for owners leaves them out. Absent on
//! purpose: how a reply moves a ticket (see `domain::ticket`), closing what nobody goes on with (see `actors::sweeper`).

pub mod attachments;
mod kind;
pub mod staff;

use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::{Control, ControlError, Page, PageRequest, input::check_text, mail, owner::Owner};
use crate::{
    domain::{
        Timestamp,
        mail::{Locale, Message},
        refusal::Refusal,
        ticket::{Priority, Side, TicketStatus, without_keys},
    },
    store::{
        self,
        outbox::NewMail,
        tickets::{Counted, Filter, Rate, Reply, TicketPatch, attachments::Allowance},
    },
};

pub use crate::store::tickets::{Ticket, TicketMessage, attachments::Attachment};

const TITLE_CHARS_MAX: usize = 200;
const MESSAGE_CHARS_MAX: usize = 20_000;
/// Messages that are shown with their ticket; the list has all of them.
const MESSAGES_SHOWN: usize = 200;

/// What the operator allows.
#[derive(Debug, Clone)]
pub struct TicketPolicy {
    /// Who is told that a customer wrote.
    pub staff_email: Option<Arc<str>>,
    /// Tickets an account opens.
    pub opened: Rate,
    /// Messages an account writes.
    pub written: Rate,
    pub attachment_bytes_max: u64,
    pub allowance: Allowance,
}

/// A new ticket. What it is about can be named by one or more of the ids.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTicket {
    #[schema(min_length = 1, max_length = 200)]
    pub title: String,
    /// Plain text. API keys in it are cut down to their public part.
    #[schema(min_length = 1, max_length = 20_000)]
    pub message: String,
    /// `urgent` is for the staff to give.
    #[serde(default)]
    pub priority: Option<Priority>,
    /// A call of this account: its `x-request-id`, or the id of its answer.
    #[serde(default)]
    pub request_id: Option<String>,
    /// Refused as long as this gateway takes no orders.
    #[serde(default)]
    pub order_id: Option<String>,
    /// `seq` of a line of this account's ledger.
    #[serde(default, deserialize_with = "entry_id")]
    #[schema(value_type = Option<i64>)]
    pub ledger_entry_id: Option<i64>,
}

/// A message to a ticket.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// Plain text. API keys in it are cut down to their public part.
    #[schema(min_length = 1, max_length = 20_000)]
    pub message: String,
}

/// What an owner may change of a ticket.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnerPatch {
    /// `closed` or `open`.
    #[serde(default)]
    pub status: Option<TicketStatus>,
}

/// A ticket with what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    pub ticket: Ticket,
    /// Oldest first.
    pub messages: Page<TicketMessage>,
    pub attachments: Vec<Attachment>,
}

/// Opens a ticket.
pub async fn open(control: &Control, owner: &Owner, new: NewTicket) -> Result<Detail, ControlError> {
    check_text("title", &new.title, TITLE_CHARS_MAX)?;
    let priority = new.priority.unwrap_or_default();
    if priority == Priority::Urgent {
        return Err(ControlError::invalid("priority", "priority must be low, normal or high; urgent is given by the staff"));
    }
    let account = &owner.account;
    let now = control.clock.now();
    let id = control.clock.new_id("tkt");
    let message = message(control, &id, Side::Customer, &owner.person_id, &new.message)?;
    let ticket = Ticket {
        account_id: account.id.clone(),
        opened_by: owner.person_id.clone(),
        title: without_keys(new.title.trim()),
        status: TicketStatus::Open,
        priority,
        assignee: None,
        request_id: check_request(control, &account.id, new.request_id.as_deref()).await?,
        order_id: check_order(new.order_id)?,
        ledger_entry_id: check_entry(control, &account.id, new.ledger_entry_id).await?,
        messages: 1,
        created_at: now,
        updated_at: now,
        closed_at: None,
        id,
    };
    let mail = to_staff(control, &ticket);
    let opened = store::tickets::open(&control.db, &control.sealer, &ticket, &message, mail.as_ref(), control.tickets.opened).await?;
    counted(opened, "tickets", control.tickets.opened, now)?;
    if mail.is_some() {
        control.mailer.nudge();
    }
    Ok(Detail { ticket, messages: Page { items: vec![message], next: None }, attachments: Vec::new() })
}

/// Tickets of the account, newest first.
pub async fn list(
    control: &Control,
    owner: &Owner,
    status: Option<TicketStatus>,
    page: &PageRequest,
) -> Result<Page<Ticket>, ControlError> {
    let filter = Filter { account_id: Some(&owner.account.id), status, after: page.after(), limit: page.rows(), ..Filter::default() };
    let tickets = store::tickets::list(&control.db, &filter).await?;
    Ok(Page::cut(tickets, page, |ticket| ticket.id.clone()))
}

pub async fn get(control: &Control, owner: &Owner, id: &str) -> Result<Detail, ControlError> {
    detail(control, Some(&owner.account.id), id).await
}

/// Messages that the owner sees, oldest first.
pub async fn messages(control: &Control, owner: &Owner, id: &str, page: &PageRequest) -> Result<Page<TicketMessage>, ControlError> {
    let ticket = find(control, Some(&owner.account.id), id).await?;
    messages_of(control, &ticket, false, page).await
}

/// Writes a message, which opens the ticket again. Answers with the ticket, too.
pub async fn reply(control: &Control, owner: &Owner, id: &str, new: &NewMessage) -> Result<(TicketMessage, Ticket), ControlError> {
    let ticket = find(control, Some(&owner.account.id), id).await?;
    let message = message(control, &ticket.id, Side::Customer, &owner.person_id, &new.message)?;
    let mail = to_staff(control, &ticket);
    let reply = Reply {
        account_id: Some(&owner.account.id),
        message: &message,
        status: None,
        mail: mail.as_ref(),
        rate: Some(control.tickets.written),
    };
    let written = store::tickets::reply(&control.db, &control.sealer, reply).await?;
    let ticket = counted(written, "messages to tickets", control.tickets.written, message.created_at)?;
    if mail.is_some() {
        control.mailer.nudge();
    }
    Ok((message, ticket))
}

/// Closes a ticket or opens it again.
pub async fn patch(control: &Control, owner: &Owner, id: &str, patch: &OwnerPatch) -> Result<Ticket, ControlError> {
    if patch.status.is_some_and(|status| !status.is_for_customers()) {
        return Err(ControlError::invalid("status", "status must be closed or open; the others are for the staff"));
    }
    let patch = TicketPatch { status: patch.status, ..TicketPatch::default() };
    let (_, ticket) = store::tickets::update(&control.db, Some(&owner.account.id), id, &patch, control.clock.now()).await?;
    Ok(ticket)
}

/// A ticket with what is written in it; `account_id` is `None` for the staff, who see everything.
async fn detail(control: &Control, account_id: Option<&str>, id: &str) -> Result<Detail, ControlError> {
    let ticket = find(control, account_id, id).await?;
    let everything = account_id.is_none();
    let messages = messages_of(control, &ticket, everything, &PageRequest { limit: MESSAGES_SHOWN, cursor: None }).await?;
    let attachments = store::tickets::attachments::list(&control.db, &ticket.id, everything).await?;
    Ok(Detail { ticket, messages, attachments })
}

async fn find(control: &Control, account_id: Option<&str>, id: &str) -> Result<Ticket, ControlError> {
    let ticket = store::tickets::find(&control.db, account_id, id).await?;
    ticket.ok_or_else(|| ControlError::NotFound(format!("ticket {id}")))
}

async fn messages_of(control: &Control, ticket: &Ticket, notes: bool, page: &PageRequest) -> Result<Page<TicketMessage>, ControlError> {
    let messages = store::tickets::messages(&control.db, &ticket.id, notes, page.after(), page.rows()).await?;
    Ok(Page::cut(messages, page, |message| message.id.clone()))
}

/// A message that is not written yet.
fn message(control: &Control, ticket_id: &str, side: Side, author_id: &str, text: &str) -> Result<TicketMessage, ControlError> {
    let length = text.chars().count();
    let is_printable = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\r' | '\t');
    if text.trim().is_empty() || length > MESSAGE_CHARS_MAX || !text.chars().all(is_printable) {
        let message = format!("message must have 1 to {MESSAGE_CHARS_MAX} characters, and no control characters but line breaks and tabs");
        return Err(ControlError::invalid("message", message));
    }
    Ok(TicketMessage {
        id: control.clock.new_id("tmsg"),
        ticket_id: ticket_id.to_owned(),
        side,
        author_id: author_id.to_owned(),
        internal: false,
        body: without_keys(text.trim()),
        created_at: control.clock.now(),
    })
}

/// Tells the staff that a customer wrote, where the operator wants it.
fn to_staff(control: &Control, ticket: &Ticket) -> Option<NewMail> {
    let email = control.tickets.staff_email.as_deref()?;
    let message = Message::TicketForStaff {
        ticket_id: ticket.id.clone(),
        title: ticket.title.clone(),
        link: control.site.link(&format!("/admin/v1/tickets/{}", ticket.id)),
    };
    Some(mail::to_address(control, None, email, Locale::default(), message))
}

fn counted<T>(counted: Counted<T>, what: &'static str, rate: Rate, now: Timestamp) -> Result<T, ControlError> {
    match counted {
        Counted::Done(done) => Ok(done),
        Counted::TooMany(at) => {
            let retry_after_ms = u64::try_from((at - now) / 1_000).unwrap_or(0).max(1);
            Err(Refusal::TicketsLimited { what, limit: rate.max, retry_after_ms }.into())
        }
    }
}

/// The id under which the call stands in the lists of usage.
async fn check_request(control: &Control, account_id: &str, id: Option<&str>) -> Result<Option<String>, ControlError> {
    let Some(id) = id else { return Ok(None) };
    match store::usage::get_by_any_id(&control.db, account_id, id).await? {
        Some(record) => Ok(Some(record.request_id)),
        None => Err(ControlError::invalid(
            "request_id",
            "no recorded call of this account has this request_id; refused calls are not recorded: name them in the message",
        )),
    }
}

fn check_order(id: Option<String>) -> Result<Option<String>, ControlError> {
    match id {
        None => Ok(None),
        Some(_) => Err(ControlError::invalid("order_id", "this gateway has no orders yet; leave order_id out")),
    }
}

async fn check_entry(control: &Control, account_id: &str, seq: Option<i64>) -> Result<Option<i64>, ControlError> {
    match seq {
        Some(seq) if !store::ledger::has_entry(&control.db, account_id, seq).await? => {
            Err(ControlError::invalid("ledger_entry_id", "no line of this account's ledger has this number as its seq"))
        }
        seq => Ok(seq),
    }
}

/// A number, also when it is written as a text: ids are texts elsewhere.
fn entry_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "the seq of a line of the ledger is a whole number")]
    enum Given {
        Number(i64),
        Text(String),
    }
    match Option::<Given>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Given::Number(number)) => Ok(Some(number)),
        Some(Given::Text(text)) => {
            text.parse().map(Some).map_err(|_| serde::de::Error::custom("the seq of a line of the ledger is a whole number"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ledger_entries_are_named_by_number() {
        let read = |id: &str| {
            serde_json::from_str::<NewTicket>(&format!(r#"{{"title":"t","message":"m","ledger_entry_id":{id}}}"#))
                .map(|new| new.ledger_entry_id)
        };
        assert_eq!(read("7").unwrap(), Some(7));
        assert_eq!(read("\"7\"").unwrap(), Some(7));
        assert_eq!(read("null").unwrap(), None);
        for bad in ["\"seven\"", "1.5", "true"] {
            assert!(read(bad).unwrap_err().to_string().contains("whole number"), "{bad}");
        }
        assert_eq!(serde_json::from_str::<NewTicket>(r#"{"title":"t","message":"m"}"#).unwrap().ledger_entry_id, None);
    }
}
