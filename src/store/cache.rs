//! Upstreams' answers, kept for the same request of the same account. Never shared between accounts; sealed at rest.

use pixgate_entities::cached_answers::{Column, Entity, Model};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::{Db, StoreError, sql};
use crate::domain::Timestamp;

/// The row as it is; `sealed_body` belongs to the owner `account_id/request_hash`.
pub type CachedAnswer = Model;

/// The answer kept for a request, unless it expired.
pub async fn find(db: &Db, account_id: &str, request_hash: &str, now: Timestamp) -> Result<Option<CachedAnswer>, StoreError> {
    let query = Entity::find_by_id((account_id.to_owned(), request_hash.to_owned())).filter(Column::ExpiresAt.gt(now));
    db.within(async { Ok(query.one(db.read()).await?) }).await
}

/// Keeps an answer, in place of an earlier one.
pub async fn put(db: &Db, answer: CachedAnswer) -> Result<(), StoreError> {
    let text = "INSERT INTO cached_answers (account_id, request_hash, endpoint, upstream_model, sealed_body, created_at, expires_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (account_id, request_hash) DO UPDATE SET endpoint = excluded.endpoint, \
        upstream_model = excluded.upstream_model, sealed_body = excluded.sealed_body, created_at = excluded.created_at, \
        expires_at = excluded.expires_at";
    let values = [
        answer.account_id.into(),
        answer.request_hash.into(),
        answer.endpoint.into(),
        answer.upstream_model.into(),
        answer.sealed_body.into(),
        answer.created_at.into(),
        answer.expires_at.into(),
    ];
    db.within(async { sql::execute(db.write(), text, values).await.map(|_| ()) }).await
}

/// Deletes at most `limit` expired answers; answers with how many there were.
pub async fn delete_expired(db: &Db, now: Timestamp, limit: u64) -> Result<u64, StoreError> {
    let text = "DELETE FROM cached_answers WHERE (account_id, request_hash) IN \
        (SELECT account_id, request_hash FROM cached_answers WHERE expires_at <= $1 LIMIT $2)";
    let limit: i64 = sql::number(limit, "limit")?;
    db.within(async { sql::execute(db.write(), text, [now.into(), limit.into()]).await }).await
}
