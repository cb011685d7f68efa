//! The audit trail: who changed what. Entries are only appended.

use pixgate_entities::audit_entries::{Column, Entity, Model};
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect};

use super::{Db, StoreError, sql};
use crate::domain::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    pub id: String,
    /// Id of the key or account that acted, or the name of a job.
    pub actor: String,
    /// For example `key.revoke`.
    pub action: String,
    /// Id of what was acted on.
    pub subject: String,
    /// Free of secrets and personal data.
    pub details: serde_json::Value,
    pub created_at: Timestamp,
}

pub async fn append(db: &Db, entry: AuditEntry) -> Result<(), StoreError> {
    db.within(put(db.write(), entry)).await
}

/// Writes an entry as part of the caller's transaction.
pub(super) async fn put(connection: &impl ConnectionTrait, entry: AuditEntry) -> Result<(), StoreError> {
    let details = sql::to_json(&entry.details)?;
    let AuditEntry { id, actor, action, subject, created_at, .. } = entry;
    let model = Model { id, actor, action, subject, details, created_at };
    model.into_active_model().insert(connection).await?;
    Ok(())
}

/// Entries, newest first, behind the one named `after`; with `subject` only those about it.
pub async fn list(db: &Db, subject: Option<&str>, after: Option<&str>, limit: u64) -> Result<Vec<AuditEntry>, StoreError> {
    let mut query = Entity::find().order_by_desc(Column::Id).limit(limit);
    if let Some(subject) = subject {
        query = query.filter(Column::Subject.eq(subject));
    }
    if let Some(after) = after {
        query = query.filter(Column::Id.lt(after));
    }
    db.within(async { query.all(db.read()).await?.into_iter().map(from_model).collect() }).await
}

fn from_model(model: Model) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        details: sql::from_json(&model.details, "audit_entries.details")?,
        id: model.id,
        actor: model.actor,
        action: model.action,
        subject: model.subject,
        created_at: model.created_at,
    })
}

/// Answers with the number of entries from before `before`.
pub async fn delete_before(db: &Db, before: Timestamp) -> Result<u64, StoreError> {
    let query = Entity::delete_many().filter(Column::CreatedAt.lt(before));
    db.within(async { Ok(query.exec(db.write()).await?.rows_affected) }).await
}
