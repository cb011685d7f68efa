//! API keys. Their secrets are never here, only keyed digests; for the rows of an older schema that hold more see `legacy`.

use pixgate_entities::api_keys::{Column, Entity, Model};
use sea_orm::{
    ActiveModelTrait, ActiveValue::NotSet, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Db, StoreError,
    outbox::{self, NewMail},
    seal::Sealer,
    sql,
};
use crate::domain::{
    Timestamp,
    api_key::{ApiKey, Digest},
};

/// [`StoreError::Conflict`] when the id or the digest exists.
pub async fn insert(db: &Db, key: &ApiKey) -> Result<(), StoreError> {
    let model = to_model(key)?;
    db.within(async {
        model.into_active_model().insert(db.write()).await?;
        Ok(())
    })
    .await
}

pub async fn get(db: &Db, account_id: &str, id: &str) -> Result<Option<ApiKey>, StoreError> {
    let query = Entity::find_by_id(id).filter(Column::AccountId.eq(account_id));
    db.within(async { query.one(db.read()).await?.map(from_model).transpose() }).await
}

/// A key of any account, for the operator.
pub async fn find_by_id(db: &Db, id: &str) -> Result<Option<ApiKey>, StoreError> {
    db.within(async { Entity::find_by_id(id).one(db.read()).await?.map(from_model).transpose() }).await
}

/// All keys of an account, newest first, revoked ones too.
pub async fn list_by_account(db: &Db, account_id: &str) -> Result<Vec<ApiKey>, StoreError> {
    let query = Entity::find().filter(Column::AccountId.eq(account_id)).order_by_desc(Column::Id);
    db.within(async { query.all(db.read()).await?.into_iter().map(from_model).collect() }).await
}

/// Keys of all accounts, newest first, behind the one named `after`.
pub async fn list(db: &Db, after: Option<&str>, limit: u64) -> Result<Vec<ApiKey>, StoreError> {
    let mut query = Entity::find().order_by_desc(Column::Id).limit(limit);
    if let Some(after) = after {
        query = query.filter(Column::Id.lt(after));
    }
    db.within(async { query.all(db.read()).await?.into_iter().map(from_model).collect() }).await
}

/// Keys of this title, newest first: of one account, or of all.
pub async fn find_by_title(db: &Db, account_id: Option<&str>, title: &str, limit: u64) -> Result<Vec<ApiKey>, StoreError> {
    let mut query = Entity::find().filter(Column::Title.eq(title)).order_by_desc(Column::Id).limit(limit);
    if let Some(account_id) = account_id {
        query = query.filter(Column::AccountId.eq(account_id));
    }
    db.within(async { query.all(db.read()).await?.into_iter().map(from_model).collect() }).await
}

/// A key of any shape, by one of the digests that it may be kept under.
pub async fn find_by_digest(db: &Db, digests: &[Digest]) -> Result<Option<ApiKey>, StoreError> {
    let digests = digests.iter().map(|digest| digest.to_vec());
    let query = Entity::find().filter(Column::Digest.is_in(digests)).filter(Column::LegacyKey.is_null());
    db.within(async { query.one(db.read()).await?.map(from_model).transpose() }).await
}

/// Writes the whole key but for its last use and how it is recognised. [`StoreError::NotFound`] when its account has no such key, or it is revoked: what was
/// read before a revocation must not undo it.
pub async fn update(db: &Db, key: &ApiKey) -> Result<(), StoreError> {
    let mut change = to_model(key)?.into_active_model().reset_all();
    change.last_used_at = NotSet;
    // How a key is recognised changes beside this, when it is hashed anew.
    (change.digest, change.pepper_version, change.legacy_key) = (NotSet, NotSet, NotSet);
    (change.prefix, change.last4, change.legacy_weak) = (NotSet, NotSet, NotSet);
    db.within(async {
        let query = Entity::update_many()
            .set(change)
            .filter(Column::Id.eq(key.id.as_str()))
            .filter(Column::AccountId.eq(key.account_id.as_str()))
            .filter(Column::RevokedAt.is_null());
        match query.exec(db.write()).await?.rows_affected {
            0 => Err(StoreError::NotFound(format!("key {}", key.id))),
            _ => Ok(()),
        }
    })
    .await
}

/// Revokes a key for a reason and puts the mail in that tells its owner. False when it was revoked already; then no mail is written.
pub async fn revoke(db: &Db, sealer: &Sealer, id: &str, reason: &str, now: Timestamp, mail: &NewMail) -> Result<bool, StoreError> {
    let text = "UPDATE api_keys SET revoked_at = $1, revoked_reason = $2 WHERE id = $3 AND revoked_at IS NULL";
    db.within(async {
        let transaction = db.begin().await?;
        if sql::execute(&transaction, text, [now.into(), reason.into(), id.into()]).await? == 0 {
            return Ok(false);
        }
        outbox::put(&transaction, sealer, mail).await?;
        transaction.commit().await?;
        Ok(true)
    })
    .await
}

/// Revokes every key of an account, as part of the caller's transaction.
pub(super) async fn revoke_all(
    connection: &impl ConnectionTrait,
    account_id: &str,
    reason: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let text = "UPDATE api_keys SET revoked_at = $1, revoked_reason = $2 WHERE account_id = $3 AND revoked_at IS NULL";
    sql::execute(connection, text, [now.into(), reason.into(), account_id.into()]).await
}

/// Notes when keys were last used; earlier moments than known and unknown keys are passed over.
pub async fn touch_last_used(db: &Db, uses: &[(String, Timestamp)]) -> Result<(), StoreError> {
    let text = "UPDATE api_keys SET last_used_at = $1 WHERE id = $2 AND (last_used_at IS NULL OR last_used_at < $1)";
    // In one order everywhere, so that two nodes never wait for each other.
    let mut uses: Vec<&(String, Timestamp)> = uses.iter().collect();
    uses.sort();
    db.within(async {
        let transaction = db.begin().await?;
        for (id, used_at) in uses {
            sql::execute(&transaction, text, [(*used_at).into(), id.as_str().into()]).await?;
        }
        Ok(transaction.commit().await?)
    })
    .await
}

/// Keeps a key under another pepper. False when it is not kept under `from` any more.
pub async fn rehash(db: &Db, id: &str, from: &Digest, to: &Digest, pepper_version: i32) -> Result<bool, StoreError> {
    let text = "UPDATE api_keys SET digest = $1, pepper_version = $2 WHERE id = $3 AND digest = $4 AND legacy_key IS NULL";
    let values = [to.to_vec().into(), pepper_version.into(), id.into(), from.to_vec().into()];
    db.within(async { Ok(sql::execute(db.write(), text, values).await? > 0) }).await
}

/// How many hashed keys that were not revoked are kept under which pepper, newest version first.
pub async fn count_by_pepper(db: &Db) -> Result<Vec<(i32, i64)>, StoreError> {
    let text = "SELECT pepper_version, COUNT(*) AS keys FROM api_keys
        WHERE digest IS NOT NULL AND legacy_key IS NULL AND revoked_at IS NULL GROUP BY pepper_version ORDER BY pepper_version DESC";
    db.within(async {
        let rows = sql::all(db.read(), text, []).await?;
        rows.iter().map(|row| Ok((row.try_get("", "pepper_version")?, row.try_get("", "keys")?))).collect()
    })
    .await
}

/// Whether any key is kept as a digest.
pub async fn any_hashed(db: &Db) -> Result<bool, StoreError> {
    let query = Entity::find().select_only().column(Column::Id).filter(Column::Digest.is_not_null()).filter(Column::LegacyKey.is_null());
    db.within(async { Ok(query.limit(1).into_tuple::<String>().one(db.read()).await?.is_some()) }).await
}

pub(super) fn to_model(key: &ApiKey) -> Result<Model, StoreError> {
    Ok(Model {
        id: key.id.clone(),
        account_id: key.account_id.clone(),
        title: key.title.clone(),
        prefix: key.prefix.clone(),
        last4: key.last4.clone(),
        digest: key.digest.map(|digest| digest.to_vec()),
        pepper_version: key.pepper_version,
        scopes: sql::to_json(&key.scopes)?,
        models: optional_json(&key.models)?,
        limits: sql::to_json(&key.limits)?,
        budget: optional_json(&key.budget)?,
        ip_allow: optional_json(&key.ip_allow)?,
        options: sql::to_json(&key.options)?,
        expires_at: key.expires_at,
        revoked_at: key.revoked_at,
        rotated_from: key.rotated_from.clone(),
        last_used_at: key.last_used_at,
        created_at: key.created_at,
        legacy_key: None,
        legacy_weak: key.legacy_weak,
        revoked_reason: key.revoked_reason.clone(),
    })
}

fn from_model(model: Model) -> Result<ApiKey, StoreError> {
    // While the text stands there, nothing else says how the key is recognised.
    let hashed = model.digest.filter(|_| model.legacy_key.is_none());
    Ok(ApiKey {
        digest: hashed.map(|bytes| digest(bytes, "api_keys.digest")).transpose()?,
        scopes: sql::from_json(&model.scopes, "api_keys.scopes")?,
        models: optional_value(model.models, "api_keys.models")?,
        limits: sql::from_json(&model.limits, "api_keys.limits")?,
        budget: optional_value(model.budget, "api_keys.budget")?,
        ip_allow: optional_value(model.ip_allow, "api_keys.ip_allow")?,
        options: sql::from_json(&model.options, "api_keys.options")?,
        id: model.id,
        account_id: model.account_id,
        title: model.title,
        prefix: model.prefix,
        last4: model.last4,
        pepper_version: model.pepper_version,
        expires_at: model.expires_at,
        revoked_at: model.revoked_at,
        rotated_from: model.rotated_from,
        last_used_at: model.last_used_at,
        created_at: model.created_at,
        legacy_weak: model.legacy_weak,
        revoked_reason: model.revoked_reason,
    })
}

fn optional_json<T: Serialize>(value: &Option<T>) -> Result<Option<String>, StoreError> {
    value.as_ref().map(sql::to_json).transpose()
}

fn optional_value<T: DeserializeOwned>(text: Option<String>, what: &str) -> Result<Option<T>, StoreError> {
    text.map(|text| sql::from_json(&text, what)).transpose()
}

pub(super) fn digest(bytes: Vec<u8>, what: &str) -> Result<Digest, StoreError> {
    Digest::try_from(bytes).map_err(|bytes| StoreError::Corrupt(format!("{what} has {} bytes", bytes.len())))
}
