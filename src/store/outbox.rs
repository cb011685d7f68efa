//! Mails to be sent. A mail is written in the transaction of its cause, sealed, because links in it sign people in.

use pixgate_entities::outbox::{ActiveModel, Column, Entity, Model};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QueryResult, QuerySelect, Value,
    sea_query::OnConflict,
};

use super::{Db, StoreError, locking, seal::Sealer, sql};
use crate::domain::{
    Timestamp,
    mail::{Locale, MailStatus, Message},
};

/// A mail that is not written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMail {
    /// `mail_…`.
    pub id: String,
    pub account_id: Option<String>,
    pub recipient: String,
    pub locale: Locale,
    pub message: Message,
    pub created_at: Timestamp,
}

/// What a sealed message is bound to.
fn owner(id: &str) -> String {
    format!("outbox/{id}")
}

/// Puts a mail in, as part of the caller's transaction.
pub(super) async fn put(connection: &impl ConnectionTrait, sealer: &Sealer, mail: &NewMail) -> Result<(), StoreError> {
    row(sealer, mail)?.insert(connection).await?;
    Ok(())
}

/// Puts mails in whose ids say what they are; those that are there already stay as they are.
pub(super) async fn put_once(connection: &impl ConnectionTrait, sealer: &Sealer, mails: &[NewMail]) -> Result<u64, StoreError> {
    if mails.is_empty() {
        return Ok(0);
    }
    let rows: Vec<ActiveModel> = mails.iter().map(|mail| row(sealer, mail)).collect::<Result<_, _>>()?;
    let skip = OnConflict::column(Column::Id).do_nothing().to_owned();
    Ok(Entity::insert_many(rows).on_conflict(skip).exec_without_returning(connection).await?)
}

fn row(sealer: &Sealer, mail: &NewMail) -> Result<ActiveModel, StoreError> {
    let model = Model {
        id: mail.id.clone(),
        account_id: mail.account_id.clone(),
        recipient: mail.recipient.clone(),
        kind: mail.message.kind().to_owned(),
        locale: mail.locale.as_str().to_owned(),
        sealed_message: Some(seal(sealer, mail)?),
        status: "pending".to_owned(),
        attempts: 0,
        next_at: mail.created_at,
        last_error: None,
        created_at: mail.created_at,
        sent_at: None,
    };
    Ok(model.into_active_model())
}

/// What a mail says, as it is kept.
pub(super) fn seal(sealer: &Sealer, mail: &NewMail) -> Result<Vec<u8>, StoreError> {
    Ok(sealer.seal(&owner(&mail.id), &sql::to_json(&mail.message)?)?)
}

/// Puts a mail in that has no other cause to be written with.
pub async fn enqueue(db: &Db, sealer: &Sealer, mail: &NewMail) -> Result<(), StoreError> {
    db.within(async { put(db.write(), sealer, mail).await }).await
}

/// Messages to an address that wait to be sent, oldest first.
pub async fn waiting_for(db: &Db, sealer: &Sealer, recipient: &str) -> Result<Vec<Message>, StoreError> {
    let query = Entity::find()
        .filter(Column::Recipient.eq(recipient))
        .filter(Column::SealedMessage.is_not_null())
        .order_by_asc(Column::CreatedAt)
        .order_by_asc(Column::Id);
    db.within(async {
        let rows = query.all(db.read()).await?;
        rows.into_iter()
            .map(|row| {
                let text = sealer.open(&owner(&row.id), row.sealed_message.as_deref().unwrap_or_default())?;
                sql::from_json(&text, "outbox.sealed_message")
            })
            .collect()
    })
    .await
}

/// A mail as an admin sees it: without what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    pub id: String,
    pub account_id: Option<String>,
    pub recipient: String,
    pub kind: String,
    pub locale: Locale,
    pub status: MailStatus,
    /// Tries so far, with one that is under way.
    pub attempts: u32,
    pub next_at: Timestamp,
    pub last_error: Option<String>,
    pub created_at: Timestamp,
    pub sent_at: Option<Timestamp>,
}

/// A mail that this node alone may send until `claimed_until`.
#[derive(Debug)]
pub struct Claimed {
    pub id: String,
    pub recipient: String,
    pub kind: String,
    pub locale: Locale,
    /// Fails when the row was sealed with another key.
    pub message: Result<Message, StoreError>,
    /// This try counts already, so that a mail that ends the process is not tried for ever.
    pub attempts: u32,
    pub claimed_until: Timestamp,
    pub created_at: Timestamp,
}

/// What came of a claimed mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Its content is wiped.
    Sent {
        at: Timestamp,
    },
    /// Shown to the operator in place of being sent; that was no try. A node that can send may have it at once.
    Held {
        at: Timestamp,
    },
    Again {
        at: Timestamp,
        error: String,
    },
    Dead {
        error: String,
    },
    /// Its link or code has ended; the content is wiped.
    Expired {
        error: String,
    },
}

/// How many mails are in each state, and how many of those this node could work on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    pub pending: u64,
    pub held: u64,
    pub dead: u64,
    pub due: u64,
}

pub async fn depth(db: &Db, with_held: bool, now: Timestamp) -> Result<Depth, StoreError> {
    let text = "SELECT status, COUNT(*) AS mails, CAST(SUM(CASE WHEN next_at <= $1 THEN 1 ELSE 0 END) AS BIGINT) AS due \
        FROM outbox WHERE status IN ('pending', 'held', 'dead') GROUP BY status";
    let rows = db.within(async { sql::all(db.read(), text, [now.into()]).await }).await?;
    let mut depth = Depth::default();
    for row in rows {
        let mails = sql::number(row.try_get::<i64>("", "mails")?, "outbox mails")?;
        let due: u64 = sql::number(row.try_get::<i64>("", "due")?, "outbox due")?;
        match sql::from_word(&row.try_get::<String>("", "status")?, "outbox.status")? {
            MailStatus::Pending => (depth.pending, depth.due) = (mails, depth.due + due),
            MailStatus::Held => {
                depth.held = mails;
                depth.due += if with_held { due } else { 0 };
            }
            MailStatus::Dead => depth.dead = mails,
            MailStatus::Sent => {}
        }
    }
    Ok(depth)
}

/// Takes up to `limit` mails that are due. No other node gets them before `until`; with `with_held` those that were held come as well.
pub async fn claim(
    db: &Db,
    sealer: &Sealer,
    with_held: bool,
    now: Timestamp,
    until: Timestamp,
    limit: u64,
) -> Result<Vec<Claimed>, StoreError> {
    let states = if with_held { "'pending', 'held'" } else { "'pending'" };
    let due = format!("SELECT id FROM outbox WHERE status IN ({states}) AND next_at <= $1 ORDER BY next_at LIMIT $3");
    // Materialized, or PostgreSQL may choose anew for every row and take more than the limit. The condition stands twice: on PostgreSQL a row may have been taken between the choice and the change.
    let due = locking(db.write(), &due, "FOR UPDATE SKIP LOCKED");
    let text = format!(
        "WITH due AS MATERIALIZED ({due}) \
         UPDATE outbox SET status = 'pending', attempts = attempts + 1, next_at = $2 \
         WHERE id IN (SELECT id FROM due) AND status IN ({states}) AND next_at <= $1 \
         RETURNING id, recipient, kind, locale, sealed_message, attempts, created_at"
    );
    let limit: i64 = sql::number(limit, "limit")?;
    let rows = db.within(async { sql::all(db.write(), &text, [now.into(), until.into(), limit.into()]).await }).await?;
    rows.iter().map(|row| claimed(sealer, row, until)).collect()
}

fn claimed(sealer: &Sealer, row: &QueryResult, until: Timestamp) -> Result<Claimed, StoreError> {
    let id: String = row.try_get("", "id")?;
    let sealed: Option<Vec<u8>> = row.try_get("", "sealed_message")?;
    let message = sealed
        .ok_or_else(|| StoreError::Corrupt(format!("the mail {id} waits without content")))
        .and_then(|sealed| Ok(sealer.open(&owner(&id), &sealed)?))
        .and_then(|text| sql::from_json(&text, "outbox.sealed_message"));
    Ok(Claimed {
        recipient: row.try_get("", "recipient")?,
        kind: row.try_get("", "kind")?,
        locale: sql::from_word(&row.try_get::<String>("", "locale")?, "outbox.locale")?,
        message,
        attempts: sql::number(row.try_get::<i32>("", "attempts")?, "outbox.attempts")?,
        claimed_until: until,
        created_at: row.try_get("", "created_at")?,
        id,
    })
}

/// Notes what came of a claimed mail. `false` when the claim had ended meanwhile: then it is another's to say.
pub async fn settle(db: &Db, mail: &Claimed, settled: &Settled) -> Result<bool, StoreError> {
    let attempts: i32 = sql::number(mail.attempts, "attempts")?;
    let (change, mut values): (&str, Vec<Value>) = match settled {
        Settled::Sent { at } => ("status = 'sent', sealed_message = NULL, last_error = NULL, sent_at = $4", vec![(*at).into()]),
        Settled::Held { at } => ("status = 'held', attempts = attempts - 1, next_at = $4", vec![(*at).into()]),
        Settled::Again { at, error } => ("next_at = $4, last_error = $5", vec![(*at).into(), error.clone().into()]),
        Settled::Dead { error } => ("status = 'dead', last_error = $4", vec![error.clone().into()]),
        Settled::Expired { error } => ("status = 'dead', sealed_message = NULL, last_error = $4", vec![error.clone().into()]),
    };
    let text = format!("UPDATE outbox SET {change} WHERE id = $1 AND status = 'pending' AND attempts = $2 AND next_at = $3");
    let mut all: Vec<Value> = vec![mail.id.clone().into(), attempts.into(), mail.claimed_until.into()];
    all.append(&mut values);
    db.within(async { Ok(sql::execute(db.write(), &text, all).await? > 0) }).await
}

pub async fn get(db: &Db, id: &str) -> Result<Option<Mail>, StoreError> {
    db.within(async { Entity::find_by_id(id).one(db.read()).await?.map(from_model).transpose() }).await
}

/// Mails, newest first, behind the one named `after`.
pub async fn list(db: &Db, status: Option<MailStatus>, after: Option<&str>, limit: u64) -> Result<Vec<Mail>, StoreError> {
    let mut query = Entity::find().order_by_desc(Column::Id).limit(limit);
    if let Some(status) = status {
        query = query.filter(Column::Status.eq(sql::to_word(&status)?));
    }
    if let Some(after) = after {
        query = query.filter(Column::Id.lt(after));
    }
    db.within(async { query.all(db.read()).await?.into_iter().map(from_model).collect() }).await
}

/// Makes a mail due now, with all its tries before it. `false` when there is no such mail or nothing of it is left to be sent.
pub async fn retry(db: &Db, id: &str, now: Timestamp) -> Result<bool, StoreError> {
    let text = "UPDATE outbox SET status = 'pending', attempts = 0, next_at = $2 \
        WHERE id = $1 AND status <> 'sent' AND sealed_message IS NOT NULL";
    db.within(async { Ok(sql::execute(db.write(), text, [id.into(), now.into()]).await? > 0) }).await
}

pub async fn delete(db: &Db, id: &str) -> Result<bool, StoreError> {
    db.within(async { Ok(Entity::delete_by_id(id).exec(db.write()).await?.rows_affected > 0) }).await
}

/// Deletes mails from before `before` that wait for nothing: sent, dead and held ones.
pub async fn delete_old(db: &Db, before: Timestamp, limit: u64) -> Result<u64, StoreError> {
    let text = "DELETE FROM outbox WHERE id IN \
        (SELECT id FROM outbox WHERE status IN ('sent', 'dead', 'held') AND created_at < $1 LIMIT $2)";
    let limit: i64 = sql::number(limit, "limit")?;
    db.within(async { sql::execute(db.write(), text, [before.into(), limit.into()]).await }).await
}

fn from_model(model: Model) -> Result<Mail, StoreError> {
    Ok(Mail {
        locale: sql::from_word(&model.locale, "outbox.locale")?,
        status: sql::from_word(&model.status, "outbox.status")?,
        attempts: sql::number(model.attempts, "outbox.attempts")?,
        id: model.id,
        account_id: model.account_id,
        recipient: model.recipient,
        kind: model.kind,
        next_at: model.next_at,
        last_error: model.last_error,
        created_at: model.created_at,
        sent_at: model.sent_at,
    })
}
