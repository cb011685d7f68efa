//! Answers kept for `Idempotency-Key`. They are written with the capture of the call ([`super::ledger::commit()`]), so that an answer
//! is kept exactly when its call was charged.

use bytes::Bytes;
use pixgate_entities::idempotency_records::{Column, Entity, Model};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use super::{Db, StoreError, sql};
use crate::domain::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyRecord {
    pub account_id: String,
    /// The header's value.
    pub idempotency_key: String,
    /// SHA-256 of the request, as hex.
    pub request_hash: String,
    pub usage_id: String,
    pub status: u16,
    pub content_type: String,
    /// Other headers of the answer worth repeating.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// The answer kept under a key, unless it expired.
pub async fn find(db: &Db, account_id: &str, key: &str, now: Timestamp) -> Result<Option<IdempotencyRecord>, StoreError> {
    let query = Entity::find_by_id((account_id.to_owned(), key.to_owned())).filter(Column::ExpiresAt.gt(now));
    db.within(async { query.one(db.read()).await?.map(from_model).transpose() }).await
}

/// Deletes at most `limit` expired records; answers with how many there were.
pub async fn delete_expired(db: &Db, now: Timestamp, limit: u64) -> Result<u64, StoreError> {
    let text = "DELETE FROM idempotency_records WHERE (account_id, idempotency_key) IN \
        (SELECT account_id, idempotency_key FROM idempotency_records WHERE expires_at <= $1 LIMIT $2)";
    let limit: i64 = sql::number(limit, "limit")?;
    db.within(async { sql::execute(db.write(), text, [now.into(), limit.into()]).await }).await
}

// Of two answers the first stays, as long as it is valid: it may have been replayed already.
static INSERT: sql::BulkInsert = sql::BulkInsert::new(
    "INSERT INTO idempotency_records \
        (account_id, idempotency_key, request_hash, usage_id, status, content_type, headers, body, created_at, expires_at)",
    10,
    "ON CONFLICT (account_id, idempotency_key) DO UPDATE SET request_hash = excluded.request_hash, usage_id = excluded.usage_id, \
        status = excluded.status, content_type = excluded.content_type, headers = excluded.headers, body = excluded.body, \
        created_at = excluded.created_at, expires_at = excluded.expires_at \
        WHERE idempotency_records.expires_at <= excluded.created_at",
);

pub(super) async fn insert(connection: &impl ConnectionTrait, records: &[&IdempotencyRecord]) -> Result<(), StoreError> {
    let rows = records.iter().map(|record| Ok((*record, sql::to_json(&record.headers)?))).collect::<Result<Vec<_>, StoreError>>()?;
    // One at a time: PostgreSQL refuses a statement that meets the same key twice, and these are rare.
    for row in &rows {
        INSERT
            .run(connection, std::slice::from_ref(row), |(record, headers), values| {
                values.extend([
                    record.account_id.as_str().into(),
                    record.idempotency_key.as_str().into(),
                    record.request_hash.as_str().into(),
                    record.usage_id.as_str().into(),
                    i32::from(record.status).into(),
                    record.content_type.as_str().into(),
                    headers.as_str().into(),
                    record.body.to_vec().into(),
                    record.created_at.into(),
                    record.expires_at.into(),
                ]);
            })
            .await?;
    }
    Ok(())
}

fn from_model(model: Model) -> Result<IdempotencyRecord, StoreError> {
    Ok(IdempotencyRecord {
        account_id: model.account_id,
        idempotency_key: model.idempotency_key,
        request_hash: model.request_hash,
        usage_id: model.usage_id,
        status: sql::number(model.status, "idempotency_records.status")?,
        content_type: model.content_type,
        headers: sql::from_json(&model.headers, "idempotency_records.headers")?,
        body: model.body.into(),
        created_at: model.created_at,
        expires_at: model.expires_at,
    })
}
