//! Models, what they cost when, and upstreams, as the operator configured them. Routing works on a snapshot ([`load_enabled`]).

use std::collections::HashSet;

use pixgate_entities::{model_prices, models, upstreams};
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder};
use zeroize::Zeroizing;

use super::{Db, Engine, StoreError, provider_keys, seal::Sealer, sql};
use crate::domain::catalog::{Model, PriceRecord, Upstream};

/// The whole catalogue at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    pub upstreams: Vec<Upstream>,
    pub models: Vec<Model>,
}

/// Everything, disabled entries too, by name and id.
pub async fn load_all(db: &Db) -> Result<Catalog, StoreError> {
    db.within(async {
        let snapshot = db.begin_snapshot().await?;
        let catalog = read(&snapshot, false).await?;
        snapshot.commit().await?;
        Ok(catalog)
    })
    .await
}

/// All upstreams, and the models that are enabled: an imported catalogue holds thousands that are not.
pub async fn load_enabled(db: &Db) -> Result<Catalog, StoreError> {
    db.within(async {
        let snapshot = db.begin_snapshot().await?;
        let catalog = read(&snapshot, true).await?;
        snapshot.commit().await?;
        Ok(catalog)
    })
    .await
}

async fn read(connection: &impl ConnectionTrait, enabled_only: bool) -> Result<Catalog, StoreError> {
    let upstreams = upstreams::Entity::find().order_by_asc(upstreams::Column::Name).all(connection).await?;
    let mut models = models::Entity::find().order_by_asc(models::Column::Id);
    if enabled_only {
        models = models.filter(models::Column::Enabled.eq(true));
    }
    Ok(Catalog {
        upstreams: upstreams.into_iter().map(upstream_from_row).collect::<Result<_, _>>()?,
        models: models.all(connection).await?.into_iter().map(model_from_row).collect::<Result<_, _>>()?,
    })
}

pub async fn get_upstream(db: &Db, name: &str) -> Result<Option<Upstream>, StoreError> {
    db.within(async { upstreams::Entity::find_by_id(name).one(db.read()).await?.map(upstream_from_row).transpose() }).await
}

/// The keys of an upstream in the order in which they are used.
pub fn open_keys(sealer: &Sealer, upstream: &Upstream) -> Result<Vec<Zeroizing<String>>, StoreError> {
    let mut keys = Vec::new();
    if !upstream.sealed_api_key.is_empty() {
        keys.push(Zeroizing::new(sealer.open(&upstream.name, &upstream.sealed_api_key)?));
    }
    if !upstream.sealed_api_keys.is_empty() {
        let list = Zeroizing::new(sealer.open(&further_keys(&upstream.name), &upstream.sealed_api_keys)?);
        let list: Vec<String> = sql::from_json(&list, "upstreams.sealed_api_keys")?;
        keys.extend(list.into_iter().map(Zeroizing::new));
    }
    Ok(keys)
}

/// Seals the keys that take turns with an upstream's first; empty for none.
pub fn seal_further_keys(sealer: &Sealer, upstream: &str, keys: &[&str]) -> Result<Vec<u8>, StoreError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let list = Zeroizing::new(sql::to_json(&keys)?);
    Ok(sealer.seal(&further_keys(upstream), &list)?)
}

/// Whose they are to the sealer; names of upstreams have no slash.
fn further_keys(upstream: &str) -> String {
    format!("{upstream}/keys")
}

/// [`StoreError::Conflict`] when the name exists.
pub async fn insert_upstream(db: &Db, upstream: &Upstream) -> Result<(), StoreError> {
    let row = upstream_to_row(upstream)?;
    let inserted = db.within(async { Ok(row.into_active_model().insert(db.write()).await.map(|_| ())?) }).await;
    inserted.map_err(|error| exists(error, format!("an upstream named {}", upstream.name)))
}

/// Writes the whole upstream; [`StoreError::NotFound`] when there is none of this name.
pub async fn update_upstream(db: &Db, upstream: &Upstream) -> Result<(), StoreError> {
    let change = upstream_to_row(upstream)?.into_active_model().reset_all();
    db.within(async {
        let query = upstreams::Entity::update_many().set(change).filter(upstreams::Column::Name.eq(upstream.name.as_str()));
        match query.exec(db.write()).await?.rows_affected {
            0 => Err(StoreError::NotFound(format!("upstream {}", upstream.name))),
            _ => Ok(()),
        }
    })
    .await
}

/// Deletes an upstream and what accounts brought for it. Answers `false` when there was none.
pub async fn delete_upstream(db: &Db, name: &str) -> Result<bool, StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        provider_keys::delete_of_upstream(&transaction, name).await?;
        let deleted = upstreams::Entity::delete_by_id(name).exec(&transaction).await?.rows_affected > 0;
        transaction.commit().await?;
        Ok(deleted)
    })
    .await
}

pub async fn get_model(db: &Db, id: &str) -> Result<Option<Model>, StoreError> {
    db.within(async { models::Entity::find_by_id(id).one(db.read()).await?.map(model_from_row).transpose() }).await
}

/// [`StoreError::Conflict`] when the id exists.
pub async fn insert_model(db: &Db, model: &Model) -> Result<(), StoreError> {
    let row = model_to_row(model)?;
    let inserted = db.within(async { Ok(row.into_active_model().insert(db.write()).await.map(|_| ())?) }).await;
    inserted.map_err(|error| exists(error, format!("a model with the id {}", model.id)))
}

/// What one change does to the models.
#[derive(Debug, Default)]
pub struct ModelChanges {
    /// Written whole, whether they exist or not.
    pub models: Vec<Model>,
    /// Appended to what models cost.
    pub prices: Vec<PriceRecord>,
}

/// The models at the moment of a change.
pub struct Current {
    pub catalog: Catalog,
    /// Ids of the models with a history of prices.
    pub with_history: HashSet<String>,
}

/// Changes models in one transaction. `decide` sees all of them, and nobody else changes any until what it decided is written.
pub async fn change_models<T, E: From<StoreError>>(db: &Db, decide: impl FnOnce(&Current) -> Result<(ModelChanges, T), E>) -> Result<T, E> {
    db.within(async {
        let transaction = db.begin().await?;
        if db.engine() == Engine::Postgres {
            sql::execute(&transaction, "LOCK TABLE models IN SHARE ROW EXCLUSIVE MODE", []).await?;
        }
        let rows = sql::all(&transaction, "SELECT DISTINCT model_id FROM model_prices", []).await?;
        let with_history = rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect::<Result<_, StoreError>>()?;
        let (changes, answer) = decide(&Current { catalog: read(&transaction, false).await?, with_history })?;
        write(&transaction, &changes).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        Ok(answer)
    })
    .await
}

static UPSERT_MODELS: sql::BulkInsert = sql::BulkInsert::new(
    "INSERT INTO models (id, kind, display_name, aliases, capabilities, context_window, max_input_tokens, max_output_tokens, prices, \
        price_source, routes, routing, owner, deprecated_at, enabled, created_at, updated_at)",
    17,
    "ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, display_name = excluded.display_name, aliases = excluded.aliases, \
        capabilities = excluded.capabilities, context_window = excluded.context_window, max_input_tokens = excluded.max_input_tokens, \
        max_output_tokens = excluded.max_output_tokens, prices = excluded.prices, price_source = excluded.price_source, \
        routes = excluded.routes, routing = excluded.routing, owner = excluded.owner, deprecated_at = excluded.deprecated_at, enabled = excluded.enabled, \
        updated_at = excluded.updated_at",
);

static INSERT_PRICES: sql::BulkInsert =
    sql::BulkInsert::new("INSERT INTO model_prices (id, model_id, prices, source, valid_from, created_by)", 6, "");

async fn write(connection: &impl ConnectionTrait, changes: &ModelChanges) -> Result<(), StoreError> {
    let models = changes.models.iter().map(model_to_row).collect::<Result<Vec<_>, _>>()?;
    UPSERT_MODELS
        .run(connection, &models, |row, values| {
            values.extend([
                row.id.as_str().into(),
                row.kind.as_str().into(),
                row.display_name.as_str().into(),
                row.aliases.as_str().into(),
                row.capabilities.as_str().into(),
                row.context_window.into(),
                row.max_input_tokens.into(),
                row.max_output_tokens.into(),
                row.prices.as_str().into(),
                row.price_source.as_deref().into(),
                row.routes.as_str().into(),
                row.routing.as_str().into(),
                row.owner.as_deref().into(),
                row.deprecated_at.as_deref().into(),
                row.enabled.into(),
                row.created_at.into(),
                row.updated_at.into(),
            ]);
        })
        .await?;
    let prices = changes.prices.iter().map(price_to_row).collect::<Result<Vec<_>, _>>()?;
    INSERT_PRICES
        .run(connection, &prices, |row, values| {
            values.extend([
                row.id.as_str().into(),
                row.model_id.as_str().into(),
                row.prices.as_str().into(),
                row.source.as_deref().into(),
                row.valid_from.into(),
                row.created_by.as_str().into(),
            ]);
        })
        .await
}

/// What a model cost, newest first. Also of models that are gone.
pub async fn list_prices(db: &Db, model_id: &str) -> Result<Vec<PriceRecord>, StoreError> {
    let query = model_prices::Entity::find()
        .filter(model_prices::Column::ModelId.eq(model_id))
        .order_by_desc(model_prices::Column::ValidFrom)
        .order_by_desc(model_prices::Column::Id);
    db.within(async { query.all(db.read()).await?.into_iter().map(price_from_row).collect() }).await
}

/// Answers `false` when there was none.
pub async fn delete_model(db: &Db, id: &str) -> Result<bool, StoreError> {
    db.within(async { Ok(models::Entity::delete_by_id(id).exec(db.write()).await?.rows_affected > 0) }).await
}

fn exists(error: StoreError, what: String) -> StoreError {
    match error {
        StoreError::Conflict(_) => StoreError::Conflict(format!("{what} exists")),
        other => other,
    }
}

fn upstream_to_row(upstream: &Upstream) -> Result<upstreams::Model, StoreError> {
    Ok(upstreams::Model {
        name: upstream.name.clone(),
        provider: sql::to_word(&upstream.provider)?,
        base_url: upstream.base_url.clone(),
        sealed_api_key: upstream.sealed_api_key.clone(),
        weight: i64::from(upstream.weight),
        priority: upstream.priority,
        max_concurrency: upstream.max_concurrency.map(i64::from),
        timeouts: sql::to_json(&upstream.timeouts)?,
        enabled: upstream.enabled,
        created_at: upstream.created_at,
        updated_at: upstream.updated_at,
        options: sql::to_json(&upstream.options)?,
        sealed_api_keys: Some(upstream.sealed_api_keys.clone()).filter(|sealed| !sealed.is_empty()),
    })
}

fn upstream_from_row(row: upstreams::Model) -> Result<Upstream, StoreError> {
    Ok(Upstream {
        provider: sql::from_word(&row.provider, "upstreams.provider")?,
        weight: sql::number(row.weight, "upstreams.weight")?,
        max_concurrency: row.max_concurrency.map(|count| sql::number(count, "upstreams.max_concurrency")).transpose()?,
        timeouts: sql::from_json(&row.timeouts, "upstreams.timeouts")?,
        options: sql::from_json(&row.options, "upstreams.options")?,
        sealed_api_keys: row.sealed_api_keys.unwrap_or_default(),
        name: row.name,
        base_url: row.base_url,
        sealed_api_key: row.sealed_api_key,
        priority: row.priority,
        enabled: row.enabled,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

fn model_to_row(model: &Model) -> Result<models::Model, StoreError> {
    let tokens = |count: Option<u64>| count.map(|count| sql::number::<u64, i64>(count, "a number of tokens")).transpose();
    Ok(models::Model {
        id: model.id.clone(),
        kind: sql::to_word(&model.kind)?,
        display_name: model.display_name.clone(),
        aliases: sql::to_json(&model.aliases)?,
        capabilities: sql::to_json(&model.capabilities)?,
        context_window: tokens(model.context_window)?,
        max_input_tokens: tokens(model.max_input_tokens)?,
        max_output_tokens: tokens(model.max_output_tokens)?,
        prices: sql::to_json(&model.prices)?,
        price_source: model.source.as_ref().map(sql::to_json).transpose()?,
        routes: sql::to_json(&model.routes)?,
        routing: sql::to_json(&model.routing)?,
        owner: model.owner.clone(),
        deprecated_at: model.deprecated_at.clone(),
        enabled: model.enabled,
        created_at: model.created_at,
        updated_at: model.updated_at,
    })
}

fn model_from_row(row: models::Model) -> Result<Model, StoreError> {
    let tokens = |count: Option<i64>| count.map(|count| sql::number::<i64, u64>(count, "a number of tokens")).transpose();
    Ok(Model {
        kind: sql::from_word(&row.kind, "models.kind")?,
        aliases: sql::from_json(&row.aliases, "models.aliases")?,
        capabilities: sql::from_json(&row.capabilities, "models.capabilities")?,
        context_window: tokens(row.context_window)?,
        max_input_tokens: tokens(row.max_input_tokens)?,
        max_output_tokens: tokens(row.max_output_tokens)?,
        prices: sql::from_json(&row.prices, "models.prices")?,
        source: row.price_source.as_deref().map(|text| sql::from_json(text, "models.price_source")).transpose()?,
        routes: sql::from_json(&row.routes, "models.routes")?,
        routing: sql::from_json(&row.routing, "models.routing")?,
        owner: row.owner,
        deprecated_at: row.deprecated_at,
        id: row.id,
        display_name: row.display_name,
        enabled: row.enabled,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

fn price_to_row(record: &PriceRecord) -> Result<model_prices::Model, StoreError> {
    Ok(model_prices::Model {
        id: record.id.clone(),
        model_id: record.model_id.clone(),
        prices: sql::to_json(&record.prices)?,
        source: record.source.as_ref().map(sql::to_json).transpose()?,
        valid_from: record.valid_from,
        created_by: record.created_by.clone(),
    })
}

fn price_from_row(row: model_prices::Model) -> Result<PriceRecord, StoreError> {
    Ok(PriceRecord {
        prices: sql::from_json(&row.prices, "model_prices.prices")?,
        source: row.source.as_deref().map(|text| sql::from_json(text, "model_prices.source")).transpose()?,
        id: row.id,
        model_id: row.model_id,
        valid_from: row.valid_from,
        created_by: row.created_by,
    })
}
