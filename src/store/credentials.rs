//! How people prove who they are: password hash, second factor, recovery codes.

use pixgate_entities::{
    credentials::{ActiveModel, Column, Entity, Model},
    recovery_codes,
};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, sea_query::OnConflict};

use super::{Db, StoreError, outbox, seal::Sealer, sql};
use crate::domain::{Timestamp, api_key::Digest};

/// What is kept of a person's proofs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    pub password_hash: Option<String>,
    pub totp_sealed: Option<Vec<u8>>,
    /// When the second factor was switched on; a sealed secret without it waits for its first code.
    pub totp_confirmed_at: Option<Timestamp>,
    pub totp_step: Option<i64>,
}

fn owner(account_id: &str) -> String {
    format!("totp/{account_id}")
}

pub fn seal_totp(sealer: &Sealer, account_id: &str, secret: &str) -> Result<Vec<u8>, StoreError> {
    Ok(sealer.seal(&owner(account_id), secret)?)
}

pub fn open_totp(sealer: &Sealer, account_id: &str, sealed: &[u8]) -> Result<zeroize::Zeroizing<String>, StoreError> {
    Ok(sealer.open(&owner(account_id), sealed).map(zeroize::Zeroizing::new)?)
}

/// Empty credentials for accounts that have none.
pub async fn get(db: &Db, account_id: &str) -> Result<Credentials, StoreError> {
    let query = Entity::find_by_id(account_id);
    db.within(async { Ok(query.one(db.read()).await?.map(from_model).unwrap_or_default()) }).await
}

pub(super) async fn set_password(
    connection: &impl ConnectionTrait,
    account_id: &str,
    password_hash: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let row = Model {
        account_id: account_id.to_owned(),
        password_hash: Some(password_hash.to_owned()),
        password_changed_at: Some(now),
        totp_sealed: None,
        totp_confirmed_at: None,
        totp_step: None,
        updated_at: now,
    };
    let replace = OnConflict::column(Column::AccountId)
        .update_columns([Column::PasswordHash, Column::PasswordChangedAt, Column::UpdatedAt])
        .to_owned();
    Entity::insert(row.into_active_model()).on_conflict(replace).exec_without_returning(connection).await?;
    Ok(())
}

/// Whether a password was ever set.
pub(super) async fn has_password(connection: &impl ConnectionTrait, account_id: &str) -> Result<bool, StoreError> {
    Ok(Entity::find_by_id(account_id).one(connection).await?.is_some_and(|row| row.password_hash.is_some()))
}

/// Forgets the second factor and its recovery codes, as part of the caller's transaction.
pub(super) async fn clear_second_factor(connection: &impl ConnectionTrait, account_id: &str, now: Timestamp) -> Result<(), StoreError> {
    let change = ActiveModel {
        totp_sealed: Set(None),
        totp_confirmed_at: Set(None),
        totp_step: Set(None),
        updated_at: Set(now),
        ..Default::default()
    };
    Entity::update_many().set(change).filter(Column::AccountId.eq(account_id)).exec(connection).await?;
    put_codes(connection, account_id, &[], now).await
}

/// Keeps the same password under newer parameters.
pub async fn rehash(db: &Db, account_id: &str, old: &str, new: &str) -> Result<(), StoreError> {
    let text = "UPDATE credentials SET password_hash = $1 WHERE account_id = $2 AND password_hash = $3";
    db.within(async {
        sql::execute(db.write(), text, [new.into(), account_id.into(), old.into()]).await?;
        Ok(())
    })
    .await
}

/// Keeps a secret that waits for its first code.
pub async fn propose_totp(db: &Db, account_id: &str, sealed: Vec<u8>, now: Timestamp) -> Result<(), StoreError> {
    let row = Model {
        account_id: account_id.to_owned(),
        password_hash: None,
        password_changed_at: None,
        totp_sealed: Some(sealed),
        totp_confirmed_at: None,
        totp_step: None,
        updated_at: now,
    };
    let replace = OnConflict::column(Column::AccountId)
        .update_columns([Column::TotpSealed, Column::TotpConfirmedAt, Column::TotpStep, Column::UpdatedAt])
        .to_owned();
    db.within(async {
        Entity::insert(row.into_active_model()).on_conflict(replace).exec_without_returning(db.write()).await?;
        Ok(())
    })
    .await
}

/// Uses a time step up; `false` when it, or a later one, was used before.
pub async fn use_step(db: &Db, account_id: &str, step: i64) -> Result<bool, StoreError> {
    let text = "UPDATE credentials SET totp_step = $1 WHERE account_id = $2 AND (totp_step IS NULL OR totp_step < $1)";
    db.within(async { Ok(sql::execute(db.write(), text, [step.into(), account_id.into()]).await? > 0) }).await
}

/// Switches the second factor on, with these recovery codes instead of older ones, and tells the owner.
pub async fn confirm_totp(
    db: &Db,
    sealer: &Sealer,
    account_id: &str,
    codes: &[(String, Digest)],
    mail: &outbox::NewMail,
    now: Timestamp,
) -> Result<(), StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        let change = ActiveModel { totp_confirmed_at: Set(Some(now)), updated_at: Set(now), ..Default::default() };
        Entity::update_many().set(change).filter(Column::AccountId.eq(account_id)).exec(&transaction).await?;
        put_codes(&transaction, account_id, codes, now).await?;
        outbox::put(&transaction, sealer, mail).await?;
        Ok(transaction.commit().await?)
    })
    .await
}

/// Switches the second factor off and tells the owner.
pub async fn remove_totp(db: &Db, sealer: &Sealer, account_id: &str, mail: &outbox::NewMail, now: Timestamp) -> Result<(), StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        clear_second_factor(&transaction, account_id, now).await?;
        outbox::put(&transaction, sealer, mail).await?;
        Ok(transaction.commit().await?)
    })
    .await
}

/// New recovery codes instead of all older ones.
pub async fn replace_codes(db: &Db, account_id: &str, codes: &[(String, Digest)], now: Timestamp) -> Result<(), StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        put_codes(&transaction, account_id, codes, now).await?;
        Ok(transaction.commit().await?)
    })
    .await
}

async fn put_codes(
    connection: &impl ConnectionTrait,
    account_id: &str,
    codes: &[(String, Digest)],
    now: Timestamp,
) -> Result<(), StoreError> {
    recovery_codes::Entity::delete_many().filter(recovery_codes::Column::AccountId.eq(account_id)).exec(connection).await?;
    let rows = codes.iter().map(|(id, digest)| {
        let model = recovery_codes::Model {
            id: id.clone(),
            account_id: account_id.to_owned(),
            digest: digest.to_vec(),
            used_at: None,
            created_at: now,
        };
        model.into_active_model()
    });
    if !codes.is_empty() {
        recovery_codes::Entity::insert_many(rows).exec_without_returning(connection).await?;
    }
    Ok(())
}

/// Uses a recovery code up; `false` when there is no such unused code.
pub async fn use_code(db: &Db, account_id: &str, digest: &Digest, now: Timestamp) -> Result<bool, StoreError> {
    let text = "UPDATE recovery_codes SET used_at = $1 WHERE account_id = $2 AND digest = $3 AND used_at IS NULL";
    db.within(async { Ok(sql::execute(db.write(), text, [now.into(), account_id.into(), digest.to_vec().into()]).await? > 0) }).await
}

fn from_model(model: Model) -> Credentials {
    Credentials {
        password_hash: model.password_hash,
        totp_sealed: model.totp_sealed,
        totp_confirmed_at: model.totp_confirmed_at,
        totp_step: model.totp_step,
    }
}
