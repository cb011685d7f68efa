//! Usage records: one per call, written with its capture, read by owners, operators and budgets.

use std::collections::HashSet;

use pixgate_entities::usage_records::{Column, Entity, Model};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect, prelude::Expr};

use super::{
    Db, StoreError,
    sql::{self, Column as Field},
};
use crate::domain::{
    Micros, SECOND, Timestamp, id,
    pricing::Quantities,
    usage::{Outcome, UsageRecord},
};

/// Ids carry the time a call began. They are looked up with this much slack and then compared with the exact column.
const ID_TIME_SLACK: Timestamp = 60 * SECOND;

/// Which records to list, newest first. `Default` is: all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    pub account_id: Option<&'a str>,
    pub key_id: Option<&'a str>,
    pub model: Option<&'a str>,
    /// Calls that started at or after this moment.
    pub from: Option<Timestamp>,
    /// Calls that started before this moment.
    pub to: Option<Timestamp>,
    /// Continue behind the record of this id.
    pub after: Option<&'a str>,
    pub limit: u64,
}

/// Sums over all calls of an account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub calls: u64,
    pub cost_micros: Micros,
    /// Without cached and cache-write tokens, as in [`Quantities`].
    pub input_tokens: u64,
    pub cached_input_tokens: u64,
    pub cache_write_tokens: u64,
    /// Without reasoning tokens.
    pub output_tokens: u64,
    pub reasoning_tokens: u64,
}

pub async fn list(db: &Db, filter: &Filter<'_>) -> Result<Vec<UsageRecord>, StoreError> {
    let condition = Condition::all()
        .add_option(filter.account_id.map(|id| Column::AccountId.eq(id)))
        .add_option(filter.key_id.map(|id| Column::KeyId.eq(id)))
        .add_option(filter.model.map(|model| Column::Model.eq(model)))
        .add_option(filter.from.map(|from| Column::StartedAt.gte(from)))
        .add_option(filter.from.map(|from| Column::Id.gte(first_id_since(from))))
        .add_option(filter.to.map(|to| Column::StartedAt.lt(to)))
        .add_option(filter.after.map(|after| Column::Id.lt(after)));
    let query = Entity::find().filter(condition).order_by_desc(Column::Id).limit(filter.limit);
    db.within(async { query.all(db.read()).await?.into_iter().map(from_model).collect() }).await
}

/// Calls of an account that are searched for an answer's id.
const ANSWERS_SEARCHED: i64 = 20_000;

/// Finds a call of an account by any id its caller may know: ours, the request's, or the one inside the answer (of its newest
/// [`ANSWERS_SEARCHED`] calls).
pub async fn get_by_any_id(db: &Db, account_id: &str, id: &str) -> Result<Option<UsageRecord>, StoreError> {
    // Answers of the built-in models are named after the call: `chatcmpl-` and the rest of our own id.
    let named_after = id.rsplit_once('-').map_or_else(|| id.to_owned(), |(_, tail)| format!("req_{tail}"));
    let own = Condition::any().add(Column::Id.eq(id)).add(Column::Id.eq(named_after));
    // As the partial index has it.
    let request = Condition::all().add(Column::RequestId.eq(id)).add(Expr::col(Column::RequestId).ne(Expr::col(Column::Id)));
    db.within(async {
        for condition in [own, request] {
            let query = Entity::find().filter(condition).filter(Column::AccountId.eq(account_id)).order_by_desc(Column::Id);
            if let Some(model) = query.one(db.read()).await? {
                return Ok(Some(from_model(model)?));
            }
        }
        // Answer ids have no index, since every call would pay for it: they are looked for among the newest calls.
        let text = "SELECT id FROM (SELECT id, answer_id FROM usage_records WHERE account_id = $1 ORDER BY id DESC LIMIT $2) AS newest \
            WHERE answer_id = $3 ORDER BY id DESC LIMIT 1";
        let Some(row) = sql::one(db.read(), text, [account_id.into(), ANSWERS_SEARCHED.into(), id.into()]).await? else {
            return Ok(None);
        };
        let id: String = row.try_get_by_index(0)?;
        Entity::find_by_id(id).one(db.read()).await?.map(from_model).transpose()
    })
    .await
}

/// What the calls of a key that started at or after `since` cost together.
pub async fn sum_cost(db: &Db, account_id: &str, key_id: &str, since: Timestamp) -> Result<Micros, StoreError> {
    let text = "SELECT CAST(COALESCE(SUM(cost_micros), 0) AS BIGINT) FROM usage_records \
        WHERE account_id = $1 AND id >= $2 AND started_at >= $3 AND key_id = $4";
    db.within(async {
        let row = sql::one(db.read(), text, [account_id.into(), first_id_since(since).into(), since.into(), key_id.into()]).await?;
        Ok(row.map_or(Ok(0), |row| row.try_get_by_index(0))?)
    })
    .await
}

/// What the calls of a key cost together: over its whole life, and those that started at or after each of `since`.
pub async fn sum_costs(db: &Db, account_id: &str, key_id: &str, since: [Timestamp; 3]) -> Result<(Micros, [Micros; 3]), StoreError> {
    let text = "SELECT CAST(COALESCE(SUM(cost_micros), 0) AS BIGINT), \
        CAST(COALESCE(SUM(CASE WHEN started_at >= $3 THEN cost_micros ELSE 0 END), 0) AS BIGINT), \
        CAST(COALESCE(SUM(CASE WHEN started_at >= $4 THEN cost_micros ELSE 0 END), 0) AS BIGINT), \
        CAST(COALESCE(SUM(CASE WHEN started_at >= $5 THEN cost_micros ELSE 0 END), 0) AS BIGINT) \
        FROM usage_records WHERE account_id = $1 AND key_id = $2";
    db.within(async {
        let [first, second, third] = since;
        let values = [account_id.into(), key_id.into(), first.into(), second.into(), third.into()];
        let Some(row) = sql::one(db.read(), text, values).await? else { return Ok((0, [0; 3])) };
        let sum = |index: usize| row.try_get_by_index::<Micros>(index);
        Ok((sum(0)?, [sum(1)?, sum(2)?, sum(3)?]))
    })
    .await
}

/// Calls of an account since `since`, charged or not; with `key_id` only those of that key.
pub async fn count(db: &Db, account_id: &str, key_id: Option<&str>, since: Timestamp) -> Result<u64, StoreError> {
    let text = "SELECT COUNT(*) FROM usage_records WHERE account_id = $1 AND id >= $2 AND started_at >= $3 AND ($4 = '' OR key_id = $4)";
    db.within(async {
        let values = [account_id.into(), first_id_since(since).into(), since.into(), key_id.unwrap_or_default().into()];
        let row = sql::one(db.read(), text, values).await?;
        let count: i64 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    })
    .await
}

pub async fn totals(db: &Db, account_id: &str) -> Result<Totals, StoreError> {
    let text = "SELECT COUNT(*), CAST(COALESCE(SUM(cost_micros), 0) AS BIGINT), \
        CAST(COALESCE(SUM(input_tokens), 0) AS BIGINT), CAST(COALESCE(SUM(cached_input_tokens), 0) AS BIGINT), \
        CAST(COALESCE(SUM(cache_write_tokens), 0) AS BIGINT), CAST(COALESCE(SUM(output_tokens), 0) AS BIGINT), \
        CAST(COALESCE(SUM(reasoning_tokens), 0) AS BIGINT) FROM usage_records WHERE account_id = $1";
    db.within(async {
        let Some(row) = sql::one(db.read(), text, [account_id.into()]).await? else {
            return Ok(Totals::default());
        };
        let count = |index: usize| sql::number::<i64, u64>(row.try_get_by_index(index)?, "a usage total");
        Ok(Totals {
            calls: count(0)?,
            cost_micros: row.try_get_by_index(1)?,
            input_tokens: count(2)?,
            cached_input_tokens: count(3)?,
            cache_write_tokens: count(4)?,
            output_tokens: count(5)?,
            reasoning_tokens: count(6)?,
        })
    })
    .await
}

/// Smallest id of a call that started at `since`, less the slack.
fn first_id_since(since: Timestamp) -> String {
    id::prefixed("req", since.saturating_sub(ID_TIME_SLACK), [0; 10])
}

static INSERT: sql::JsonInsert = sql::JsonInsert::new(
    "usage_records",
    &[
        Field::Text("id"),
        Field::Text("request_id"),
        Field::Text("account_id"),
        Field::Text("key_id"),
        Field::Text("endpoint"),
        Field::Text("model"),
        Field::Text("upstream"),
        Field::Text("upstream_model"),
        Field::Integer("status"),
        Field::Text("outcome"),
        Field::Text("error_code"),
        Field::Boolean("streamed"),
        Field::Boolean("estimated"),
        Field::Integer("input_tokens"),
        Field::Integer("cached_input_tokens"),
        Field::Integer("cache_write_tokens"),
        Field::Integer("output_tokens"),
        Field::Integer("reasoning_tokens"),
        Field::Text("other_quantities"),
        Field::Integer("cost_micros"),
        Field::Text("answer_id"),
        Field::Integer("attempts"),
        Field::Integer("started_at"),
        Field::Integer("first_byte_at"),
        Field::Integer("finished_at"),
    ],
);

/// Inserts records; an id that exists is a [`StoreError::Conflict`].
pub(super) async fn insert(connection: &impl ConnectionTrait, records: &[&UsageRecord]) -> Result<(), StoreError> {
    let rows = records.iter().map(|record| Ok((*record, other_quantities(&record.quantities)?))).collect::<Result<Vec<_>, StoreError>>()?;
    INSERT
        .run(connection, &rows, |(record, other), row| {
            let quantities = &record.quantities;
            row.text(&record.id);
            row.text(&record.request_id);
            row.text(&record.account_id);
            row.text(&record.key_id);
            row.text(&record.endpoint);
            row.text(&record.model);
            row.text(&record.upstream);
            row.text(&record.upstream_model);
            row.integer(i64::from(record.status));
            row.text(record.outcome.as_str());
            row.text_or_null(record.error_code.as_deref());
            row.boolean(record.streamed);
            row.boolean(record.estimated);
            row.integer(saturated(quantities.input_tokens));
            row.integer(saturated(quantities.cached_input_tokens));
            row.integer(saturated(quantities.cache_write_tokens));
            row.integer(saturated(quantities.output_tokens));
            row.integer(saturated(quantities.reasoning_tokens));
            row.text_or_null(other.as_deref());
            row.integer(record.cost_micros);
            row.text_or_null(record.answer_id.as_deref());
            row.integer(i64::from(record.attempts));
            row.integer(record.started_at);
            row.integer_or_null(record.first_byte_at);
            row.integer(record.finished_at);
        })
        .await
}

static EXISTING: sql::InList = sql::InList::new("SELECT id FROM usage_records WHERE outcome <> 'unknown' AND id IN");

/// Those of `ids` whose end is recorded; `unknown` is not an end.
pub(super) async fn existing(connection: &impl ConnectionTrait, ids: &[&str]) -> Result<HashSet<String>, StoreError> {
    let mut found = HashSet::new();
    for (text, values) in EXISTING.statements(connection.get_database_backend(), ids) {
        for row in sql::all(connection, text, values).await? {
            found.insert(row.try_get_by_index(0)?);
        }
    }
    Ok(found)
}

static DELETE_UNKNOWN: sql::InList = sql::InList::new("DELETE FROM usage_records WHERE outcome = 'unknown' AND id IN");

pub(super) async fn delete_unknown(connection: &impl ConnectionTrait, ids: &[&str]) -> Result<(), StoreError> {
    for (text, values) in DELETE_UNKNOWN.statements(connection.get_database_backend(), ids) {
        sql::execute(connection, text, values).await?;
    }
    Ok(())
}

/// A count an upstream claimed; beyond `i64` it is nonsense, and must not keep a call from being recorded.
fn saturated(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The buckets that have no column of their own, as JSON; `None` when all of them are zero.
fn other_quantities(quantities: &Quantities) -> Result<Option<String>, StoreError> {
    let other =
        Quantities { input_tokens: 0, cached_input_tokens: 0, cache_write_tokens: 0, output_tokens: 0, reasoning_tokens: 0, ..*quantities };
    if other == Quantities::default() { Ok(None) } else { sql::to_json(&other).map(Some) }
}

fn from_model(model: Model) -> Result<UsageRecord, StoreError> {
    let other: Quantities = model
        .other_quantities
        .as_deref()
        .map_or(Ok(Quantities::default()), |text| sql::from_json(text, "usage_records.other_quantities"))?;
    let tokens = |count: i64| sql::number::<i64, u64>(count, "a token count");
    Ok(UsageRecord {
        quantities: Quantities {
            input_tokens: tokens(model.input_tokens)?,
            cached_input_tokens: tokens(model.cached_input_tokens)?,
            cache_write_tokens: tokens(model.cache_write_tokens)?,
            output_tokens: tokens(model.output_tokens)?,
            reasoning_tokens: tokens(model.reasoning_tokens)?,
            ..other
        },
        outcome: Outcome::parse(&model.outcome)
            .ok_or_else(|| StoreError::Corrupt(format!("usage_records.outcome is {:?}", model.outcome)))?,
        id: model.id,
        request_id: model.request_id,
        account_id: model.account_id,
        key_id: model.key_id,
        endpoint: model.endpoint,
        model: model.model,
        upstream: model.upstream,
        upstream_model: model.upstream_model,
        status: sql::number(model.status, "usage_records.status")?,
        error_code: model.error_code,
        streamed: model.streamed,
        estimated: model.estimated,
        cost_micros: model.cost_micros,
        answer_id: model.answer_id,
        attempts: sql::number(model.attempts, "usage_records.attempts")?,
        started_at: model.started_at,
        first_byte_at: model.first_byte_at,
        finished_at: model.finished_at,
    })
}
