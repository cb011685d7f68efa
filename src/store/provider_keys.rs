//! Keys of providers that accounts bring themselves, sealed.

use pixgate_entities::account_provider_keys::{ActiveModel, Column, Entity, Model};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, sea_query::OnConflict};
use zeroize::Zeroizing;

use super::{Db, StoreError, seal::Sealer};
use crate::domain::Timestamp;

/// What an account uses instead of an upstream's own keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderKey {
    pub account_id: String,
    /// Name of the upstream.
    pub upstream: String,
    pub sealed_key: Vec<u8>,
    /// Last characters, to recognise it by.
    pub last4: String,
    pub created_at: Timestamp,
}

/// Whose a key is to the sealer: it opens for this account and upstream only.
fn owner(account_id: &str, upstream: &str) -> String {
    format!("{account_id}/{upstream}")
}

pub fn seal(sealer: &Sealer, account_id: &str, upstream: &str, key: &str) -> Result<Vec<u8>, StoreError> {
    Ok(sealer.seal(&owner(account_id, upstream), key)?)
}

pub fn open(sealer: &Sealer, key: &ProviderKey) -> Result<Zeroizing<String>, StoreError> {
    Ok(sealer.open(&owner(&key.account_id, &key.upstream), &key.sealed_key).map(Zeroizing::new)?)
}

/// All keys of an account, by upstream.
pub async fn list(db: &Db, account_id: &str) -> Result<Vec<ProviderKey>, StoreError> {
    let query = Entity::find().filter(Column::AccountId.eq(account_id)).order_by_asc(Column::Upstream);
    db.within(async { Ok(query.all(db.read()).await?.into_iter().map(from_model).collect()) }).await
}

/// Whether any account has one.
pub async fn exist(db: &Db) -> Result<bool, StoreError> {
    db.within(async { Ok(Entity::find().one(db.read()).await?.is_some()) }).await
}

/// Writes a key; one that is there for the upstream is replaced.
pub async fn put(db: &Db, key: &ProviderKey) -> Result<(), StoreError> {
    let model = Model {
        account_id: key.account_id.clone(),
        upstream: key.upstream.clone(),
        sealed_key: key.sealed_key.clone(),
        last4: key.last4.clone(),
        created_at: key.created_at,
    };
    let replace = OnConflict::columns([Column::AccountId, Column::Upstream])
        .update_columns([Column::SealedKey, Column::Last4, Column::CreatedAt])
        .to_owned();
    let row: ActiveModel = model.into_active_model();
    db.within(async {
        Entity::insert(row).on_conflict(replace).exec_without_returning(db.write()).await?;
        Ok(())
    })
    .await
}

/// Answers `false` when there was none.
pub async fn delete(db: &Db, account_id: &str, upstream: &str) -> Result<bool, StoreError> {
    let query = Entity::delete_by_id((account_id.to_owned(), upstream.to_owned()));
    db.within(async { Ok(query.exec(db.write()).await?.rows_affected > 0) }).await
}

/// An upstream goes: keys for it must not reach another one that takes its name later.
pub(super) async fn delete_of_upstream(connection: &impl ConnectionTrait, upstream: &str) -> Result<(), StoreError> {
    Entity::delete_many().filter(Column::Upstream.eq(upstream)).exec(connection).await?;
    Ok(())
}

fn from_model(model: Model) -> ProviderKey {
    ProviderKey {
        account_id: model.account_id,
        upstream: model.upstream,
        sealed_key: model.sealed_key,
        last4: model.last4,
        created_at: model.created_at,
    }
}
