//! Requests and answers that are kept, sealed. An owner's functions take the account first: what another account sent does not exist
//! for it.

use std::collections::HashSet;

use pixgate_entities::request_contents::{Column, Entity, Model};
use sea_orm::{ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QuerySelect, sea_query::OnConflict};

use super::{Db, StoreError, seal::Sealer, sql};
use crate::domain::Timestamp;

/// What a call asked and was answered, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// `req_…`, the id of the usage record.
    pub id: String,
    pub account_id: String,
    pub key_id: String,
    pub request_id: String,
    /// The id inside the answer.
    pub answer_id: Option<String>,
    pub endpoint: String,
    pub model: String,
    /// Of the answer.
    pub status: u16,
    pub request: Body,
    pub answer: Body,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// One side of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    pub content_type: String,
    /// The beginning, or all of it.
    pub kept: Vec<u8>,
    /// Its length as it was sent.
    pub bytes: u64,
}

impl Body {
    /// Whether only the beginning is kept.
    pub fn is_truncated(&self) -> bool {
        self.bytes > self.kept.len() as u64
    }
}

/// A row that is ready to be written.
#[derive(Debug, Clone)]
pub struct Sealed(Model);

impl Sealed {
    pub fn bytes(&self) -> usize {
        self.0.sealed_request.len() + self.0.sealed_answer.len()
    }
}

/// Long contents take a while: away from threads that serve.
pub fn seal(sealer: &Sealer, content: &Content) -> Result<Sealed, StoreError> {
    Ok(Sealed(Model {
        sealed_request: sealer.seal_bytes(&owner(&content.account_id, &content.id, "request"), &content.request.kept)?,
        sealed_answer: sealer.seal_bytes(&owner(&content.account_id, &content.id, "answer"), &content.answer.kept)?,
        request_bytes: sql::number(content.request.bytes, "request_bytes")?,
        answer_bytes: sql::number(content.answer.bytes, "answer_bytes")?,
        status: i32::from(content.status),
        id: content.id.clone(),
        account_id: content.account_id.clone(),
        key_id: content.key_id.clone(),
        request_id: content.request_id.clone(),
        answer_id: content.answer_id.clone(),
        endpoint: content.endpoint.clone(),
        model: content.model.clone(),
        request_type: content.request.content_type.clone(),
        answer_type: content.answer.content_type.clone(),
        created_at: content.created_at,
        expires_at: content.expires_at,
    }))
}

/// Writes rows; those that are there already (an attempt whose outcome was not known) are left alone. Of accounts that were closed or
/// restricted in the meantime nothing is written.
pub async fn insert(db: &Db, rows: &[Sealed]) -> Result<(), StoreError> {
    use pixgate_entities::accounts;
    let known = OnConflict::column(Column::Id).do_nothing().to_owned();
    let accounts: HashSet<&str> = rows.iter().map(|row| row.0.account_id.as_str()).collect();
    let live = accounts::Entity::find()
        .select_only()
        .column(accounts::Column::Id)
        .filter(accounts::Column::Id.is_in(accounts))
        .filter(accounts::Column::Status.ne("closed"))
        .filter(accounts::Column::RestrictedAt.is_null());
    db.within(async {
        let transaction = db.begin().await?;
        let live: HashSet<String> = live.into_tuple().all(&transaction).await?.into_iter().collect();
        // One statement a row: a few rows at once, each with two long values.
        for row in rows.iter().filter(|row| live.contains(&row.0.account_id)) {
            Entity::insert(row.0.clone().into_active_model()).on_conflict(known.clone()).exec_without_returning(&transaction).await?;
        }
        Ok(transaction.commit().await?)
    })
    .await
}

/// What was kept of a call, unless it expired. Without an account: of anybody's.
pub async fn find(db: &Db, sealer: &Sealer, account_id: Option<&str>, id: &str, now: Timestamp) -> Result<Option<Content>, StoreError> {
    let mut query = Entity::find_by_id(id).filter(Column::ExpiresAt.gt(now));
    if let Some(account_id) = account_id {
        query = query.filter(Column::AccountId.eq(account_id));
    }
    let model = db.within(async { Ok::<_, StoreError>(query.one(db.read()).await?) }).await?;
    model.map(|model| open(sealer, model)).transpose()
}

/// Answers `false` when there was nothing. Without an account: of anybody's.
pub async fn delete(db: &Db, account_id: Option<&str>, id: &str) -> Result<bool, StoreError> {
    let mut query = Entity::delete_many().filter(Column::Id.eq(id));
    if let Some(account_id) = account_id {
        query = query.filter(Column::AccountId.eq(account_id));
    }
    db.within(async { Ok(query.exec(db.write()).await?.rows_affected > 0) }).await
}

/// Deletes everything that is kept of an account; answers with how much there was.
pub async fn delete_all(db: &Db, account_id: &str) -> Result<u64, StoreError> {
    let query = Entity::delete_many().filter(Column::AccountId.eq(account_id));
    db.within(async { Ok(query.exec(db.write()).await?.rows_affected) }).await
}

/// Deletes at most `limit` expired rows; answers with how many there were.
pub async fn delete_expired(db: &Db, now: Timestamp, limit: u64) -> Result<u64, StoreError> {
    let text = "DELETE FROM request_contents WHERE id IN (SELECT id FROM request_contents WHERE expires_at <= $1 LIMIT $2)";
    let limit: i64 = sql::number(limit, "limit")?;
    db.within(async { sql::execute(db.write(), text, [now.into(), limit.into()]).await }).await
}

/// Whether anything is kept.
pub async fn exist(db: &Db) -> Result<bool, StoreError> {
    db.within(async { Ok(sql::one(db.read(), "SELECT id FROM request_contents LIMIT 1", []).await?.is_some()) }).await
}

/// What a sealed text is bound to, so that it opens nowhere else.
fn owner(account_id: &str, id: &str, part: &str) -> String {
    format!("content {account_id} {id} {part}")
}

fn open(sealer: &Sealer, model: Model) -> Result<Content, StoreError> {
    let request = sealer.open_bytes(&owner(&model.account_id, &model.id, "request"), model.sealed_request)?;
    let answer = sealer.open_bytes(&owner(&model.account_id, &model.id, "answer"), model.sealed_answer)?;
    Ok(Content {
        status: sql::number(model.status, "request_contents.status")?,
        request: Body { content_type: model.request_type, kept: request, bytes: sql::number(model.request_bytes, "request_bytes")? },
        answer: Body { content_type: model.answer_type, kept: answer, bytes: sql::number(model.answer_bytes, "answer_bytes")? },
        id: model.id,
        account_id: model.account_id,
        key_id: model.key_id,
        request_id: model.request_id,
        answer_id: model.answer_id,
        endpoint: model.endpoint,
        model: model.model,
        created_at: model.created_at,
        expires_at: model.expires_at,
    })
}
