//! What the sweepers did, by class of data: for whoever asks whether periods are kept.

use std::collections::HashMap;

use pixgate_entities::retention_sweeps::{Column, Entity, Model};
use sea_orm::{EntityTrait, IntoActiveModel, sea_query::OnConflict};

use super::{Db, StoreError, sql};
use crate::domain::{Timestamp, id};

/// The class of usage records, whose sweep remembers how far it came.
const USAGE: &str = "usage";

/// The sweeps of one class so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    pub at: Timestamp,
    /// When something was found to sweep last.
    pub rows_at: Option<Timestamp>,
    /// Rows that went then, in one turn.
    pub rows_last: u64,
    pub rows_total: u64,
}

/// Notes a turn: rows that went, by class.
pub async fn note(db: &Db, now: Timestamp, swept: &[(&'static str, u64)]) -> Result<(), StoreError> {
    const TEXT: &str = "INSERT INTO retention_sweeps (class, swept_at, rows_at, rows_last, rows_total, mark) VALUES ($1, $2, $3, $4, $4, '') \
        ON CONFLICT (class) DO UPDATE SET swept_at = $2, rows_at = COALESCE($3, retention_sweeps.rows_at), \
        rows_last = CASE WHEN $4 > 0 THEN $4 ELSE retention_sweeps.rows_last END, rows_total = retention_sweeps.rows_total + $4";
    db.within(async {
        let transaction = db.begin().await?;
        for (class, rows) in swept {
            let count: i64 = sql::number(*rows, "rows")?;
            let rows_at = (*rows > 0).then_some(now);
            sql::execute(&transaction, TEXT, [(*class).into(), now.into(), rows_at.into(), count.into()]).await?;
        }
        Ok(transaction.commit().await?)
    })
    .await
}

pub async fn all(db: &Db) -> Result<HashMap<String, Swept>, StoreError> {
    let models = db.within(async { Ok::<_, StoreError>(Entity::find().all(db.read()).await?) }).await?;
    let swept = |model: Model| {
        let swept = Swept {
            at: model.swept_at,
            rows_at: model.rows_at,
            rows_last: sql::number(model.rows_last, "retention_sweeps.rows_last")?,
            rows_total: sql::number(model.rows_total, "retention_sweeps.rows_total")?,
        };
        Ok((model.class, swept))
    };
    models.into_iter().map(swept).collect()
}

/// Takes out of at most `limit` usage records of calls before `before` whatever says what was called, and how. What stays is what the books
/// need: account, key, cost, outcome and the times of the call. Answers with how many records that were.
///
/// Records are treated in the order of their ids, each once: the place reached is remembered, so that no turn looks at all of them.
pub async fn strip_usage(db: &Db, before: Timestamp, limit: u64) -> Result<u64, StoreError> {
    const NEXT: &str = "SELECT id FROM usage_records WHERE id > COALESCE((SELECT mark FROM retention_sweeps WHERE class = $1), '') \
        AND id < $2 ORDER BY id LIMIT $3";
    const STRIP: &str = "UPDATE usage_records SET request_id = id, endpoint = '', model = '', upstream = '', upstream_model = '', \
        error_code = NULL, input_tokens = 0, cached_input_tokens = 0, cache_write_tokens = 0, output_tokens = 0, reasoning_tokens = 0, \
        other_quantities = NULL, answer_id = NULL, first_byte_at = NULL WHERE id >= $1 AND id <= $2";
    let limit: i64 = sql::number(limit, "limit")?;
    let bound = id::prefixed("req", before, [0; 10]);
    db.within(async {
        let transaction = db.begin().await?;
        let rows = sql::all(&transaction, NEXT, [USAGE.into(), bound.into(), limit.into()]).await?;
        let ids: Vec<String> = rows.iter().map(|row| row.try_get("", "id")).collect::<Result<_, _>>()?;
        let (Some(first), Some(last)) = (ids.first(), ids.last()) else { return Ok(0) };
        let stripped = sql::execute(&transaction, STRIP, [first.as_str().into(), last.as_str().into()]).await?;
        let mark = Model { class: USAGE.to_owned(), swept_at: before, rows_at: None, rows_last: 0, rows_total: 0, mark: last.clone() };
        let known = OnConflict::column(Column::Class).update_column(Column::Mark).to_owned();
        Entity::insert(mark.into_active_model()).on_conflict(known).exec_without_returning(&transaction).await?;
        transaction.commit().await?;
        Ok(stripped)
    })
    .await
}
