//! Sign-ins with providers: who is known by which identity, and what is under way. What browsers and providers hold is here as digests
//! and sealed only.

use pixgate_entities::{
    external_identities::{Column, Entity, Model},
    oauth_states,
};
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder};

use super::{
    Db, StoreError,
    outbox::{self, NewMail},
    seal::Sealer,
    security::{self, SecurityEvent},
    sql,
};
use crate::domain::{Timestamp, api_key::Digest, identity::IdentityProvider};

/// A person as a provider knows them, and the account they open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub provider: IdentityProvider,
    pub subject: String,
    pub account_id: String,
    /// What the provider had verified when the identity was linked.
    pub email: String,
    pub created_at: Timestamp,
}

/// Something under way that only the holder of a token may go on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Of the token.
    pub digest: Digest,
    pub provider: IdentityProvider,
    /// Whose it is, when that is known.
    pub account_id: Option<String>,
    /// JSON.
    pub data: String,
    pub expires_at: Timestamp,
    pub created_at: Timestamp,
}

fn owner(digest: &Digest) -> String {
    digest.iter().fold("oauth_state/".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

pub async fn put_pending(db: &Db, sealer: &Sealer, pending: &Pending) -> Result<(), StoreError> {
    let model = oauth_states::Model {
        digest: pending.digest.to_vec(),
        provider: pending.provider.as_str().to_owned(),
        account_id: pending.account_id.clone(),
        sealed_data: sealer.seal(&owner(&pending.digest), &pending.data)?,
        expires_at: pending.expires_at,
        created_at: pending.created_at,
    };
    db.within(async {
        model.into_active_model().insert(db.write()).await?;
        Ok(())
    })
    .await
}

/// Looks without using anything up; `None` when it is unknown, used or too old.
pub async fn find_pending(db: &Db, sealer: &Sealer, digest: &Digest, now: Timestamp) -> Result<Option<Pending>, StoreError> {
    let row = db.within(async { find_row(db.read(), digest, now).await }).await?;
    row.map(|row| open(sealer, digest, row)).transpose()
}

/// Uses it up; of many at once only one gets it.
pub async fn take_pending(db: &Db, sealer: &Sealer, digest: &Digest, now: Timestamp) -> Result<Option<Pending>, StoreError> {
    let row = db
        .within(async {
            let transaction = db.begin().await?;
            let row = find_row(&transaction, digest, now).await?;
            let gone = oauth_states::Entity::delete_by_id(digest.to_vec()).exec(&transaction).await?.rows_affected;
            transaction.commit().await?;
            Ok::<_, StoreError>(row.filter(|_| gone > 0))
        })
        .await?;
    row.map(|row| open(sealer, digest, row)).transpose()
}

async fn find_row(connection: &impl ConnectionTrait, digest: &Digest, now: Timestamp) -> Result<Option<oauth_states::Model>, StoreError> {
    let query = oauth_states::Entity::find_by_id(digest.to_vec()).filter(oauth_states::Column::ExpiresAt.gt(now));
    Ok(query.one(connection).await?)
}

fn open(sealer: &Sealer, digest: &Digest, row: oauth_states::Model) -> Result<Pending, StoreError> {
    Ok(Pending {
        digest: *digest,
        provider: provider(&row.provider)?,
        account_id: row.account_id,
        data: sealer.open(&owner(digest), &row.sealed_data)?,
        expires_at: row.expires_at,
        created_at: row.created_at,
    })
}

fn provider(text: &str) -> Result<IdentityProvider, StoreError> {
    IdentityProvider::parse(text).ok_or_else(|| StoreError::Corrupt(format!("provider is {text:?}")))
}

/// Answers with the number of sign-ins under way that were too old.
pub async fn delete_expired(db: &Db, now: Timestamp) -> Result<u64, StoreError> {
    let query = oauth_states::Entity::delete_many().filter(oauth_states::Column::ExpiresAt.lte(now));
    db.within(async { Ok(query.exec(db.write()).await?.rows_affected) }).await
}

/// Ends what is under way for an account.
pub(super) async fn revoke_pending(connection: &impl ConnectionTrait, account_id: &str) -> Result<(), StoreError> {
    let query = oauth_states::Entity::delete_many().filter(oauth_states::Column::AccountId.eq(account_id));
    query.exec(connection).await?;
    Ok(())
}

pub async fn find(db: &Db, provider: IdentityProvider, subject: &str) -> Result<Option<Identity>, StoreError> {
    let query = Entity::find_by_id((provider.as_str().to_owned(), subject.to_owned()));
    db.within(async { query.one(db.read()).await?.map(from_model).transpose() }).await
}

/// The identities that open an account, by provider.
pub async fn list(db: &Db, account_id: &str) -> Result<Vec<Identity>, StoreError> {
    let query = Entity::find().filter(Column::AccountId.eq(account_id)).order_by_asc(Column::Provider);
    db.within(async { query.all(db.read()).await?.into_iter().map(from_model).collect() }).await
}

/// As part of the caller's transaction. [`StoreError::Conflict`] when the identity is linked, or the account has one of this provider.
pub(super) async fn put(connection: &impl ConnectionTrait, identity: &Identity) -> Result<(), StoreError> {
    let model = Model {
        provider: identity.provider.as_str().to_owned(),
        subject: identity.subject.clone(),
        account_id: identity.account_id.clone(),
        email: identity.email.clone(),
        created_at: identity.created_at,
    };
    model.into_active_model().insert(connection).await?;
    Ok(())
}

/// Whether an account was ever linked with a provider, and still is.
pub(super) async fn has_any(connection: &impl ConnectionTrait, account_id: &str) -> Result<bool, StoreError> {
    Ok(Entity::find().filter(Column::AccountId.eq(account_id)).one(connection).await?.is_some())
}

pub(super) async fn delete_all(connection: &impl ConnectionTrait, account_id: &str) -> Result<(), StoreError> {
    Entity::delete_many().filter(Column::AccountId.eq(account_id)).exec(connection).await?;
    revoke_pending(connection, account_id).await
}

/// Links an identity to an account and tells its owner. [`StoreError::Conflict`] as with [`put`].
pub async fn link(db: &Db, sealer: &Sealer, identity: &Identity, mail: &NewMail, event: &SecurityEvent) -> Result<(), StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        put(&transaction, identity).await?;
        outbox::put(&transaction, sealer, mail).await?;
        security::put(&transaction, event).await?;
        Ok(transaction.commit().await?)
    })
    .await
}

/// What became of the wish to unlink an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlinked {
    Done,
    NotLinked,
    /// Nothing else would open the account.
    LastWayIn,
}

/// Takes an identity from an account and tells its owner, unless nobody could sign in any more: without a password another identity
/// has to stay, of one of the providers in `usable`.
pub async fn unlink(
    db: &Db,
    sealer: &Sealer,
    account_id: &str,
    provider: IdentityProvider,
    usable: &[IdentityProvider],
    mail: &NewMail,
    event: &SecurityEvent,
) -> Result<Unlinked, StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        // Two of them at once must not each count on the other's identity.
        sql::execute(&transaction, "UPDATE accounts SET updated_at = $1 WHERE id = $2", [event.created_at.into(), account_id.into()])
            .await?;
        let linked = Entity::find().filter(Column::AccountId.eq(account_id)).all(&transaction).await?;
        if !linked.iter().any(|identity| identity.provider == provider.as_str()) {
            return Ok(Unlinked::NotLinked);
        }
        let opens = |identity: &Model| usable.iter().any(|other| *other != provider && other.as_str() == identity.provider);
        if !linked.iter().any(opens) && !super::credentials::has_password(&transaction, account_id).await? {
            return Ok(Unlinked::LastWayIn);
        }
        let query = Entity::delete_many().filter(Column::AccountId.eq(account_id)).filter(Column::Provider.eq(provider.as_str()));
        query.exec(&transaction).await?;
        revoke_pending(&transaction, account_id).await?;
        outbox::put(&transaction, sealer, mail).await?;
        security::put(&transaction, event).await?;
        transaction.commit().await?;
        Ok(Unlinked::Done)
    })
    .await
}

fn from_model(model: Model) -> Result<Identity, StoreError> {
    Ok(Identity {
        provider: provider(&model.provider)?,
        subject: model.subject,
        account_id: model.account_id,
        email: model.email,
        created_at: model.created_at,
    })
}
