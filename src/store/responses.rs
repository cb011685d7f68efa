//! Answers that callers asked to be kept, sealed. All of an account's functions take its id first: an answer of another account does
//! not exist for it.

use pixgate_entities::stored_responses::{Column, Entity, Model};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter};

use super::{Db, StoreError, seal::Sealer, sql};
use crate::domain::Timestamp;

/// An answer, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResponse {
    /// `resp_…`
    pub id: String,
    pub account_id: String,
    pub model: String,
    /// The answer that this one continues.
    pub previous_id: Option<String>,
    /// The items of this call alone: a JSON array.
    pub input: String,
    /// The whole response object, as JSON.
    pub output: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// How far back a conversation is followed.
#[derive(Debug, Clone, Copy)]
pub struct ChainLimits {
    pub answers_max: u32,
    /// Of everything that is kept of them.
    pub bytes_max: usize,
}

/// A conversation up to an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chain {
    /// Oldest first.
    Whole(Vec<StoredResponse>),
    /// This answer is not there, or no longer.
    Missing(String),
    TooLong,
}

pub async fn insert(db: &Db, sealer: &Sealer, response: &StoredResponse) -> Result<(), StoreError> {
    let model = Model {
        sealed_input: sealer.seal(&owner(&response.account_id, &response.id, "input"), &response.input)?,
        sealed_output: sealer.seal(&owner(&response.account_id, &response.id, "output"), &response.output)?,
        id: response.id.clone(),
        account_id: response.account_id.clone(),
        model: response.model.clone(),
        previous_id: response.previous_id.clone(),
        created_at: response.created_at,
        expires_at: response.expires_at,
    };
    db.within(async {
        model.into_active_model().insert(db.write()).await?;
        Ok(())
    })
    .await
}

/// An answer, unless it expired.
pub async fn find(db: &Db, sealer: &Sealer, account_id: &str, id: &str, now: Timestamp) -> Result<Option<StoredResponse>, StoreError> {
    let query = Entity::find_by_id(id).filter(Column::AccountId.eq(account_id)).filter(Column::ExpiresAt.gt(now));
    let model = db.within(async { Ok::<_, StoreError>(query.one(db.read()).await?) }).await?;
    model.map(|model| open(sealer, model)).transpose()
}

/// Answers `false` when there was none.
pub async fn delete(db: &Db, account_id: &str, id: &str, now: Timestamp) -> Result<bool, StoreError> {
    let query = Entity::delete_many().filter(Column::Id.eq(id)).filter(Column::AccountId.eq(account_id)).filter(Column::ExpiresAt.gt(now));
    db.within(async { Ok(query.exec(db.write()).await?.rows_affected > 0) }).await
}

/// Deletes at most `limit` expired answers; answers with how many there were.
pub async fn delete_expired(db: &Db, now: Timestamp, limit: u64) -> Result<u64, StoreError> {
    let text = "DELETE FROM stored_responses WHERE id IN (SELECT id FROM stored_responses WHERE expires_at <= $1 LIMIT $2)";
    let limit: i64 = sql::number(limit, "limit")?;
    db.within(async { sql::execute(db.write(), text, [now.into(), limit.into()]).await }).await
}

/// Follows a conversation back from an answer. Nothing beyond the limits is read.
pub async fn chain(db: &Db, sealer: &Sealer, account_id: &str, id: &str, now: Timestamp, limits: ChainLimits) -> Result<Chain, StoreError> {
    const TEXT: &str = "WITH RECURSIVE chain(id, previous_id, depth, bytes) AS ( \
            SELECT id, previous_id, CAST(1 AS BIGINT), CAST(LENGTH(sealed_input) + LENGTH(sealed_output) AS BIGINT) \
            FROM stored_responses WHERE id = $1 AND account_id = $2 AND expires_at > $3 \
            UNION ALL \
            SELECT earlier.id, earlier.previous_id, chain.depth + 1, \
                chain.bytes + CAST(LENGTH(earlier.sealed_input) + LENGTH(earlier.sealed_output) AS BIGINT) \
            FROM chain JOIN stored_responses earlier ON earlier.id = chain.previous_id \
            WHERE earlier.account_id = $2 AND earlier.expires_at > $3 AND chain.depth <= $4 AND chain.bytes <= $5) \
        SELECT id, previous_id, depth, bytes FROM chain ORDER BY depth";
    let answers_max = i64::from(limits.answers_max);
    let bytes_max: i64 = sql::number(limits.bytes_max, "bytes_max")?;
    let values = [id.into(), account_id.into(), now.into(), answers_max.into(), bytes_max.into()];
    let rows = db.within(async { sql::all(db.read(), TEXT, values).await }).await?;
    let Some(oldest) = rows.last() else { return Ok(Chain::Missing(id.to_owned())) };
    let (depth, bytes): (i64, i64) = (oldest.try_get("", "depth")?, oldest.try_get("", "bytes")?);
    if depth > answers_max || bytes > bytes_max {
        return Ok(Chain::TooLong);
    }
    if let Some(missing) = oldest.try_get::<Option<String>>("", "previous_id")? {
        return Ok(Chain::Missing(missing));
    }
    let ids: Vec<String> = rows.iter().map(|row| row.try_get("", "id")).collect::<Result<_, _>>()?;
    let query = Entity::find().filter(Column::Id.is_in(&ids)).filter(Column::AccountId.eq(account_id));
    let mut models = db.within(async { Ok::<_, StoreError>(query.all(db.read()).await?) }).await?;
    let place = |model: &Model| ids.iter().position(|id| *id == model.id);
    models.sort_by_key(|model| std::cmp::Reverse(place(model)));
    if let Some(gone) = ids.iter().find(|id| !models.iter().any(|model| model.id == **id)) {
        return Ok(Chain::Missing(gone.clone()));
    }
    models.into_iter().map(|model| open(sealer, model)).collect::<Result<_, _>>().map(Chain::Whole)
}

/// What a sealed text is bound to, so that it opens nowhere else.
fn owner(account_id: &str, id: &str, part: &str) -> String {
    format!("response {account_id} {id} {part}")
}

fn open(sealer: &Sealer, model: Model) -> Result<StoredResponse, StoreError> {
    Ok(StoredResponse {
        input: sealer.open(&owner(&model.account_id, &model.id, "input"), &model.sealed_input)?,
        output: sealer.open(&owner(&model.account_id, &model.id, "output"), &model.sealed_output)?,
        id: model.id,
        account_id: model.account_id,
        model: model.model,
        previous_id: model.previous_id,
        created_at: model.created_at,
        expires_at: model.expires_at,
    })
}
