//! Files attached to tickets, without their contents (see `blobs`).

use std::collections::HashSet;

use pixgate_entities::ticket_attachments::{Column, Entity, Model};
use sea_orm::{ActiveModelTrait, ColumnTrait, Condition, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect};

use super::{lock, lock_account, save, ticket_messages};
use crate::{
    domain::{
        Timestamp,
        ticket::{Side, TicketStatus},
    },
    store::{Db, StoreError, sql},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// `att_…`
    pub id: String,
    pub ticket_id: String,
    /// The ticket's.
    pub account_id: String,
    /// The message it belongs to.
    pub message_id: Option<String>,
    pub side: Side,
    pub author_id: String,
    /// Only the staff sees it.
    pub internal: bool,
    pub filename: String,
    pub mime: String,
    /// Of the content.
    pub bytes: u64,
    /// In hexadecimal.
    pub sha256: String,
    /// Name of the blob with the content.
    pub blob: String,
    pub created_at: Timestamp,
}

/// What attachments may come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Of one ticket.
    pub attachments_max: u64,
    /// Of all tickets of an account together.
    pub account_bytes_max: u64,
}

/// Why an attachment was not inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// The ticket is closed.
    Closed,
    /// The message is not one of the ticket's, or not one this side wrote and sees.
    NoSuchMessage,
    /// So many are there.
    Count(u64),
    /// So many bytes are there.
    Bytes(u64),
}

/// Inserts an attachment unless something speaks against it. `owner` is whose ticket it must be; the staff's files go anywhere.
pub async fn insert(db: &Db, owner: Option<&str>, attachment: &Attachment, allowance: Allowance) -> Result<Option<Rejected>, StoreError> {
    let model = to_model(attachment)?;
    db.within(async {
        let transaction = db.begin().await?;
        lock_account(&transaction, &attachment.account_id).await?;
        let mut ticket = lock(&transaction, owner, &attachment.ticket_id).await?;
        if ticket.status == TicketStatus::Closed {
            return Ok(Some(Rejected::Closed));
        }
        if let Some(message_id) = &attachment.message_id {
            let found = ticket_messages::Entity::find_by_id(message_id)
                .filter(ticket_messages::Column::TicketId.eq(&attachment.ticket_id))
                .filter(ticket_messages::Column::Side.eq(sql::to_word(&attachment.side)?))
                .filter(ticket_messages::Column::Internal.eq(attachment.internal));
            if found.one(&transaction).await?.is_none() {
                return Ok(Some(Rejected::NoSuchMessage));
            }
        }
        let text = "SELECT CAST(COALESCE(SUM(CASE WHEN ticket_id = $1 THEN 1 ELSE 0 END), 0) AS BIGINT) AS files, \
            CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes FROM ticket_attachments WHERE account_id = $2 AND side = $3";
        let values = [attachment.ticket_id.as_str().into(), attachment.account_id.as_str().into(), sql::to_word(&attachment.side)?.into()];
        if let Some(row) = sql::one(&transaction, text, values).await? {
            let files: u64 = sql::number(row.try_get::<i64>("", "files")?, "files")?;
            let bytes: u64 = sql::number(row.try_get::<i64>("", "bytes")?, "bytes")?;
            if files >= allowance.attachments_max {
                return Ok(Some(Rejected::Count(files)));
            }
            if bytes.saturating_add(attachment.bytes) > allowance.account_bytes_max {
                return Ok(Some(Rejected::Bytes(bytes)));
            }
        }
        model.into_active_model().insert(&transaction).await?;
        if !attachment.internal {
            ticket.updated_at = attachment.created_at;
            save(&transaction, &ticket).await?;
        }
        transaction.commit().await?;
        Ok(None)
    })
    .await
}

/// Attachments of a ticket, oldest first; without `internal` only those that its owner sees.
pub async fn list(db: &Db, ticket_id: &str, internal: bool) -> Result<Vec<Attachment>, StoreError> {
    let query = Entity::find().filter(Column::TicketId.eq(ticket_id)).filter(visible(internal));
    let query = query.order_by_asc(Column::CreatedAt).order_by_asc(Column::Id);
    db.within(async { query.all(db.read()).await?.into_iter().map(from_model).collect() }).await
}

pub async fn find(db: &Db, ticket_id: &str, id: &str, internal: bool) -> Result<Option<Attachment>, StoreError> {
    let query = Entity::find_by_id(id).filter(Column::TicketId.eq(ticket_id)).filter(visible(internal));
    db.within(async { query.one(db.read()).await?.map(from_model).transpose() }).await
}

/// Answers with the name of its blob, which is to be deleted now; `None` when there was no such attachment.
pub async fn delete(db: &Db, ticket_id: &str, id: &str) -> Result<Option<String>, StoreError> {
    let text = "DELETE FROM ticket_attachments WHERE id = $1 AND ticket_id = $2 RETURNING blob";
    let deleted = db.within(async { sql::one(db.write(), text, [id.into(), ticket_id.into()]).await }).await?;
    deleted.map(|row| Ok(row.try_get("", "blob")?)).transpose()
}

/// Those of these blobs that an attachment names.
pub async fn named_blobs(db: &Db, blobs: &[String]) -> Result<HashSet<String>, StoreError> {
    let query = Entity::find().select_only().column(Column::Blob).filter(Column::Blob.is_in(blobs));
    let found: Vec<String> = db.within(async { Ok::<_, StoreError>(query.into_tuple().all(db.read()).await?) }).await?;
    Ok(found.into_iter().collect())
}

/// Whether any attachment is stored, whose content only opens with the sealing key.
pub async fn exist(db: &Db) -> Result<bool, StoreError> {
    db.within(async { Ok(sql::one(db.read(), "SELECT id FROM ticket_attachments LIMIT 1", []).await?.is_some()) }).await
}

fn visible(internal: bool) -> Condition {
    Condition::all().add_option((!internal).then(|| Column::Internal.eq(false)))
}

fn to_model(attachment: &Attachment) -> Result<Model, StoreError> {
    Ok(Model {
        id: attachment.id.clone(),
        ticket_id: attachment.ticket_id.clone(),
        account_id: attachment.account_id.clone(),
        message_id: attachment.message_id.clone(),
        side: sql::to_word(&attachment.side)?,
        author_id: attachment.author_id.clone(),
        internal: attachment.internal,
        filename: attachment.filename.clone(),
        mime: attachment.mime.clone(),
        bytes: sql::number(attachment.bytes, "bytes")?,
        sha256: attachment.sha256.clone(),
        blob: attachment.blob.clone(),
        created_at: attachment.created_at,
    })
}

fn from_model(model: Model) -> Result<Attachment, StoreError> {
    Ok(Attachment {
        side: sql::from_word(&model.side, "ticket_attachments.side")?,
        bytes: sql::number(model.bytes, "bytes")?,
        id: model.id,
        ticket_id: model.ticket_id,
        account_id: model.account_id,
        message_id: model.message_id,
        author_id: model.author_id,
        internal: model.internal,
        filename: model.filename,
        mime: model.mime,
        sha256: model.sha256,
        blob: model.blob,
        created_at: model.created_at,
    })
}
