//! Models and upstreams, as the operator configured them. Routing works on a snapshot of all of it ([`load_all`]).

use pixgate_entities::{models, upstreams};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder};
use zeroize::Zeroizing;

use super::{Db, StoreError, seal::Sealer, sql};
use crate::domain::catalog::{Model, Upstream};

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
        let upstreams = upstreams::Entity::find().order_by_asc(upstreams::Column::Name).all(&snapshot).await?;
        let models = models::Entity::find().order_by_asc(models::Column::Id).all(&snapshot).await?;
        snapshot.commit().await?;
        Ok(Catalog {
            upstreams: upstreams.into_iter().map(upstream_from_row).collect::<Result<_, _>>()?,
            models: models.into_iter().map(model_from_row).collect::<Result<_, _>>()?,
        })
    })
    .await
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
    sealer.seal(&further_keys(upstream), &list)
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

/// Answers `false` when there was none.
pub async fn delete_upstream(db: &Db, name: &str) -> Result<bool, StoreError> {
    db.within(async { Ok(upstreams::Entity::delete_by_id(name).exec(db.write()).await?.rows_affected > 0) }).await
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

/// Writes the whole model; [`StoreError::NotFound`] when there is none of this id.
pub async fn update_model(db: &Db, model: &Model) -> Result<(), StoreError> {
    let change = model_to_row(model)?.into_active_model().reset_all();
    db.within(async {
        let query = models::Entity::update_many().set(change).filter(models::Column::Id.eq(model.id.as_str()));
        match query.exec(db.write()).await?.rows_affected {
            0 => Err(StoreError::NotFound(format!("model {}", model.id))),
            _ => Ok(()),
        }
    })
    .await
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
        context_window: tokens(model.context_window)?,
        max_output_tokens: tokens(model.max_output_tokens)?,
        prices: sql::to_json(&model.prices)?,
        routes: sql::to_json(&model.routes)?,
        enabled: model.enabled,
        created_at: model.created_at,
        updated_at: model.updated_at,
    })
}

fn model_from_row(row: models::Model) -> Result<Model, StoreError> {
    let tokens = |count: Option<i64>| count.map(|count| sql::number::<i64, u64>(count, "a number of tokens")).transpose();
    Ok(Model {
        kind: sql::from_word(&row.kind, "models.kind")?,
        context_window: tokens(row.context_window)?,
        max_output_tokens: tokens(row.max_output_tokens)?,
        prices: sql::from_json(&row.prices, "models.prices")?,
        routes: sql::from_json(&row.routes, "models.routes")?,
        id: row.id,
        display_name: row.display_name,
        enabled: row.enabled,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}
