//! Support tickets and their messages; [`attachments`] has what is attached to them.
//!
//! Functions for owners take the account: a ticket of another account does not exist for it. `None` is for the staff. A mail that a
//! change causes is written in its transaction. Absent on purpose: who may do what (see `control`), contents of files (see `blobs`).

pub mod attachments;

use pixgate_entities::{
    accounts, ticket_messages,
    tickets::{self, Column, Entity, Model},
};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, DatabaseTransaction, EntityTrait, ExprTrait, IntoActiveModel, QueryFilter, QueryOrder,
    QuerySelect,
    prelude::Expr,
    sea_query::{Func, LikeExpr, Query},
};

use super::{Db, StoreError, locking, outbox, outbox::NewMail, seal::Sealer, sql};
use crate::domain::{
    Timestamp,
    ticket::{Priority, Side, TicketStatus},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// `tkt_…`
    pub id: String,
    pub account_id: String,
    /// The account of the person.
    pub opened_by: String,
    pub title: String,
    pub status: TicketStatus,
    pub priority: Priority,
    /// For the staff only.
    pub assignee: Option<String>,
    pub request_id: Option<String>,
    pub order_id: Option<String>,
    /// `seq` of the line of the ledger.
    pub ledger_entry_id: Option<i64>,
    /// Messages and notes.
    pub messages: i64,
    pub created_at: Timestamp,
    /// Of the last change that its owner sees.
    pub updated_at: Timestamp,
    pub closed_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketMessage {
    /// `tmsg_…`
    pub id: String,
    pub ticket_id: String,
    pub side: Side,
    /// Of a customer: the account of the person. Of the staff: the key.
    pub author_id: String,
    /// A note that only the staff sees.
    pub internal: bool,
    pub body: String,
    pub created_at: Timestamp,
}

/// So many within a window of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// 0 means no limit.
    pub max: u64,
    pub window: Timestamp,
}

/// What became of something that is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counted<T> {
    Done(T),
    /// Too many; one more fits at this moment.
    TooMany(Timestamp),
}

/// What to change; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TicketPatch {
    pub status: Option<TicketStatus>,
    pub priority: Option<Priority>,
    pub assignee: Option<Option<String>>,
}

/// Which tickets to list, newest first. `Default` is: all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    pub account_id: Option<&'a str>,
    pub status: Option<TicketStatus>,
    pub priority: Option<Priority>,
    /// `Some(None)`: nobody's.
    pub assignee: Option<Option<&'a str>>,
    /// Part of the title, of an id, or of the account's e-mail address.
    pub q: Option<&'a str>,
    /// Continue behind the ticket of this id.
    pub after: Option<&'a str>,
    pub limit: u64,
}

/// Inserts a ticket with its first message, unless the account opened too many. Those of one account take turns.
pub async fn open(
    db: &Db,
    sealer: &Sealer,
    ticket: &Ticket,
    message: &TicketMessage,
    mail: Option<&NewMail>,
    rate: Rate,
) -> Result<Counted<()>, StoreError> {
    const RECENT: &str = "SELECT COUNT(*) AS recent, MIN(created_at) AS first FROM tickets WHERE account_id = $1 AND created_at > $2";
    let model = to_model(ticket)?;
    db.within(async {
        let transaction = db.begin().await?;
        if let Some(at) = too_many(&transaction, RECENT, &ticket.account_id, rate, ticket.created_at).await? {
            return Ok(Counted::TooMany(at));
        }
        model.into_active_model().insert(&transaction).await?;
        insert_message(&transaction, &ticket.account_id, 1, message).await?;
        if let Some(mail) = mail {
            outbox::put(&transaction, sealer, mail).await?;
        }
        transaction.commit().await?;
        Ok(Counted::Done(()))
    })
    .await
}

/// A message on its way in.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// Whose ticket it must be.
    pub account_id: Option<&'a str>,
    pub message: &'a TicketMessage,
    /// What the ticket becomes; without it the rule decides.
    pub status: Option<TicketStatus>,
    pub mail: Option<&'a NewMail>,
    /// Limits the messages of customers.
    pub rate: Option<Rate>,
}

/// Adds a message or a note to a ticket and answers with the ticket; [`StoreError::NotFound`] when there is none.
pub async fn reply(db: &Db, sealer: &Sealer, reply: Reply<'_>) -> Result<Counted<Ticket>, StoreError> {
    const RECENT: &str = "SELECT COUNT(*) AS recent, MIN(created_at) AS first FROM ticket_messages \
        WHERE account_id = $1 AND created_at > $2 AND side = 'customer'";
    let message = reply.message;
    let now = message.created_at;
    db.within(async {
        let transaction = db.begin().await?;
        if let Some((account_id, rate)) = reply.account_id.zip(reply.rate)
            && let Some(at) = too_many(&transaction, RECENT, account_id, rate, now).await?
        {
            return Ok(Counted::TooMany(at));
        }
        let mut ticket = lock(&transaction, reply.account_id, &message.ticket_id).await?;
        ticket.messages += 1;
        insert_message(&transaction, &ticket.account_id, ticket.messages, message).await?;
        let by_rule = if message.internal { ticket.status } else { ticket.status.after_reply(message.side) };
        let status = reply.status.unwrap_or(by_rule);
        if !message.internal || status != ticket.status {
            ticket.updated_at = now;
        }
        set_status(&mut ticket, status, now);
        save(&transaction, &ticket).await?;
        if let Some(mail) = reply.mail {
            outbox::put(&transaction, sealer, mail).await?;
        }
        transaction.commit().await?;
        Ok(Counted::Done(ticket))
    })
    .await
}

/// Changes a ticket and answers with it before and after; [`StoreError::NotFound`] when there is none.
pub async fn update(
    db: &Db,
    account_id: Option<&str>,
    id: &str,
    patch: &TicketPatch,
    now: Timestamp,
) -> Result<(Ticket, Ticket), StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        let before = lock(&transaction, account_id, id).await?;
        let mut ticket = before.clone();
        set_status(&mut ticket, patch.status.unwrap_or(before.status), now);
        ticket.priority = patch.priority.unwrap_or(ticket.priority);
        if let Some(assignee) = &patch.assignee {
            ticket.assignee.clone_from(assignee);
        }
        if (before.status, before.priority) != (ticket.status, ticket.priority) {
            ticket.updated_at = now;
        }
        save(&transaction, &ticket).await?;
        transaction.commit().await?;
        Ok((before, ticket))
    })
    .await
}

pub async fn find(db: &Db, account_id: Option<&str>, id: &str) -> Result<Option<Ticket>, StoreError> {
    let query = Entity::find_by_id(id).filter(of_account(account_id));
    db.within(async { query.one(db.read()).await?.map(from_model).transpose() }).await
}

pub async fn list(db: &Db, filter: &Filter<'_>) -> Result<Vec<Ticket>, StoreError> {
    let mut condition = of_account(filter.account_id).add_option(filter.after.map(|after| Column::Id.lt(after)));
    if let Some(status) = filter.status {
        condition = condition.add(Column::Status.eq(sql::to_word(&status)?));
    }
    if let Some(priority) = filter.priority {
        condition = condition.add(Column::Priority.eq(sql::to_word(&priority)?));
    }
    match filter.assignee {
        None => {}
        Some(None) => condition = condition.add(Column::Assignee.is_null()),
        Some(Some(assignee)) => condition = condition.add(Column::Assignee.eq(assignee)),
    }
    if let Some(q) = filter.q {
        condition = condition.add(matching(q));
    }
    let query = Entity::find().filter(condition).order_by_desc(Column::Id).limit(filter.limit);
    db.within(async { query.all(db.read()).await?.into_iter().map(from_model).collect() }).await
}

fn matching(q: &str) -> Condition {
    let pattern = LikeExpr::new(sql::like_pattern(q)).escape('!');
    let has = |column: Column| Expr::expr(Func::lower(Expr::col((Entity, column)))).like(pattern.clone());
    let email = Expr::expr(Func::lower(Expr::col(accounts::Column::Email))).like(pattern.clone());
    let owners = Query::select().column(accounts::Column::Id).from(accounts::Entity).and_where(email).to_owned();
    let columns = [Column::Title, Column::Id, Column::AccountId, Column::RequestId];
    columns.into_iter().fold(Condition::any(), |any, column| any.add(has(column))).add(Column::AccountId.in_subquery(owners))
}

/// Messages of a ticket, oldest first, behind the one named `after`; without `notes` only those that its owner sees.
pub async fn messages(db: &Db, ticket_id: &str, notes: bool, after: Option<&str>, limit: u64) -> Result<Vec<TicketMessage>, StoreError> {
    use ticket_messages::{Column, Entity};
    let mut query = Entity::find().filter(Column::TicketId.eq(ticket_id)).order_by_asc(Column::Number).limit(limit);
    if !notes {
        query = query.filter(Column::Internal.eq(false));
    }
    if let Some(after) = after {
        let number = Query::select()
            .column(Column::Number)
            .from(Entity)
            .and_where(Column::Id.eq(after).and(Column::TicketId.eq(ticket_id)))
            .to_owned();
        query = query.filter(Expr::col(Column::Number).gt(Expr::SubQuery(None, Box::new(number.into()))));
    }
    db.within(async { query.all(db.read()).await?.into_iter().map(message_from).collect() }).await
}

/// Closes at most `limit` tickets that wait for their customers, or are solved, since before `before`. Answers how many.
pub async fn close_idle(db: &Db, before: Timestamp, now: Timestamp, limit: u64) -> Result<u64, StoreError> {
    let text = "UPDATE tickets SET status = 'closed', closed_at = $1, updated_at = $1 WHERE id IN \
        (SELECT id FROM tickets WHERE status IN ('pending', 'solved') AND updated_at <= $2 LIMIT $3) \
        AND status IN ('pending', 'solved') AND updated_at <= $2";
    let limit: i64 = sql::number(limit, "limit")?;
    db.within(async { sql::execute(db.write(), text, [now.into(), before.into(), limit.into()]).await }).await
}

/// Deletes at most `limit` tickets that were closed before `before`, with their messages and attachments. Answers with their number and with
/// the blobs that no row names any more.
pub async fn delete_closed(db: &Db, before: Timestamp, limit: u64) -> Result<(u64, Vec<String>), StoreError> {
    use pixgate_entities::{ticket_attachments, ticket_messages, tickets};
    let closed = tickets::Entity::find()
        .select_only()
        .column(tickets::Column::Id)
        .filter(tickets::Column::Status.eq("closed"))
        .filter(tickets::Column::ClosedAt.lt(before))
        .limit(limit);
    db.within(async {
        let transaction = db.begin().await?;
        let ids: Vec<String> = closed.into_tuple().all(&transaction).await?;
        if ids.is_empty() {
            return Ok((0, Vec::new()));
        }
        let blobs = ticket_attachments::Entity::find()
            .select_only()
            .column(ticket_attachments::Column::Blob)
            .filter(ticket_attachments::Column::TicketId.is_in(&ids))
            .into_tuple()
            .all(&transaction)
            .await?;
        let attachments = ticket_attachments::Entity::delete_many().filter(ticket_attachments::Column::TicketId.is_in(&ids));
        attachments.exec(&transaction).await?;
        let messages = ticket_messages::Entity::delete_many().filter(ticket_messages::Column::TicketId.is_in(&ids));
        messages.exec(&transaction).await?;
        let deleted = tickets::Entity::delete_many().filter(tickets::Column::Id.is_in(&ids)).exec(&transaction).await?;
        transaction.commit().await?;
        Ok((deleted.rows_affected, blobs))
    })
    .await
}

/// When one more fits, if the account has too many already. Locks the account until the end of the transaction.
async fn too_many(
    transaction: &DatabaseTransaction,
    recent: &str,
    account_id: &str,
    rate: Rate,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    lock_account(transaction, account_id).await?;
    if rate.max == 0 {
        return Ok(None);
    }
    let row = sql::one(transaction, recent, [account_id.into(), (now - rate.window).into()]).await?;
    let Some(row) = row else { return Ok(None) };
    let (count, first): (i64, Option<Timestamp>) = (row.try_get("", "recent")?, row.try_get("", "first")?);
    let is_full = sql::number::<i64, u64>(count, "recent")? >= rate.max;
    Ok(first.filter(|_| is_full).map(|first| first + rate.window))
}

async fn lock_account(transaction: &DatabaseTransaction, account_id: &str) -> Result<(), StoreError> {
    let text = locking(transaction, "SELECT id FROM accounts WHERE id = $1", "FOR UPDATE");
    match sql::one(transaction, &text, [account_id.into()]).await? {
        Some(_) => Ok(()),
        None => Err(StoreError::NotFound(format!("account {account_id}"))),
    }
}

/// Reads a ticket that is to be changed in this transaction.
async fn lock(transaction: &DatabaseTransaction, account_id: Option<&str>, id: &str) -> Result<Ticket, StoreError> {
    let text = locking(transaction, "SELECT id FROM tickets WHERE id = $1", "FOR UPDATE");
    sql::one(transaction, &text, [id.into()]).await?;
    let model = Entity::find_by_id(id).filter(of_account(account_id)).one(transaction).await?;
    model.map(from_model).transpose()?.ok_or_else(|| missing(id))
}

fn missing(id: &str) -> StoreError {
    StoreError::NotFound(format!("ticket {id}"))
}

fn set_status(ticket: &mut Ticket, status: TicketStatus, now: Timestamp) {
    if ticket.status != status {
        ticket.status = status;
        ticket.closed_at = (status == TicketStatus::Closed).then_some(now);
    }
}

async fn save(transaction: &DatabaseTransaction, ticket: &Ticket) -> Result<(), StoreError> {
    to_model(ticket)?.into_active_model().reset_all().update(transaction).await?;
    Ok(())
}

fn of_account(account_id: Option<&str>) -> Condition {
    Condition::all().add_option(account_id.map(|id| Column::AccountId.eq(id)))
}

async fn insert_message(
    transaction: &DatabaseTransaction,
    account_id: &str,
    number: i64,
    message: &TicketMessage,
) -> Result<(), StoreError> {
    let model = ticket_messages::Model {
        id: message.id.clone(),
        ticket_id: message.ticket_id.clone(),
        account_id: account_id.to_owned(),
        number,
        side: sql::to_word(&message.side)?,
        author_id: message.author_id.clone(),
        internal: message.internal,
        body: message.body.clone(),
        created_at: message.created_at,
    };
    model.into_active_model().insert(transaction).await?;
    Ok(())
}

fn message_from(model: ticket_messages::Model) -> Result<TicketMessage, StoreError> {
    Ok(TicketMessage {
        side: sql::from_word(&model.side, "ticket_messages.side")?,
        id: model.id,
        ticket_id: model.ticket_id,
        author_id: model.author_id,
        internal: model.internal,
        body: model.body,
        created_at: model.created_at,
    })
}

fn to_model(ticket: &Ticket) -> Result<Model, StoreError> {
    Ok(tickets::Model {
        id: ticket.id.clone(),
        account_id: ticket.account_id.clone(),
        opened_by: ticket.opened_by.clone(),
        title: ticket.title.clone(),
        status: sql::to_word(&ticket.status)?,
        priority: sql::to_word(&ticket.priority)?,
        assignee: ticket.assignee.clone(),
        request_id: ticket.request_id.clone(),
        order_id: ticket.order_id.clone(),
        ledger_entry_id: ticket.ledger_entry_id,
        messages: ticket.messages,
        created_at: ticket.created_at,
        updated_at: ticket.updated_at,
        closed_at: ticket.closed_at,
    })
}

fn from_model(model: Model) -> Result<Ticket, StoreError> {
    Ok(Ticket {
        status: sql::from_word(&model.status, "tickets.status")?,
        priority: sql::from_word(&model.priority, "tickets.priority")?,
        id: model.id,
        account_id: model.account_id,
        opened_by: model.opened_by,
        title: model.title,
        assignee: model.assignee,
        request_id: model.request_id,
        order_id: model.order_id,
        ledger_entry_id: model.ledger_entry_id,
        messages: model.messages,
        created_at: model.created_at,
        updated_at: model.updated_at,
        closed_at: model.closed_at,
    })
}
