//! Versions of the terms and of the privacy policy, and who accepted which. A version never changes once it is there.

use pixgate_entities::{accounts, policies, policy_acceptances};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
};

use super::{Db, StoreError, outbox, outbox::NewMail, seal::Sealer};
use crate::domain::Timestamp;

/// One version of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// `terms` or `privacy`.
    pub document: String,
    pub version: String,
    /// Markdown.
    pub body: String,
    pub effective_at: Timestamp,
    /// When everybody had been told; `None` while that is to be done.
    pub announced_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

/// That somebody agreed to a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// `pac_…`.
    pub id: String,
    pub account_id: String,
    pub document: String,
    pub version: String,
    pub ip: Option<String>,
    pub accepted_at: Timestamp,
}

/// Somebody to be told of a new version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    pub account_id: String,
    pub email: String,
    pub locale: String,
}

/// [`StoreError::Conflict`] when there is such a version.
pub async fn insert(db: &Db, policy: &Policy) -> Result<(), StoreError> {
    let Policy { document, version, body, effective_at, announced_at, created_at } = policy.clone();
    let model = policies::Model { document, version, body, effective_at, announced_at, created_at };
    db.within(async {
        model.into_active_model().insert(db.write()).await?;
        Ok(())
    })
    .await
}

/// Every version, those in force latest first; with `document` only of that one.
pub async fn list(db: &Db, document: Option<&str>) -> Result<Vec<Policy>, StoreError> {
    let mut query = latest_first();
    if let Some(document) = document {
        query = query.filter(policies::Column::Document.eq(document));
    }
    db.within(async { Ok(query.all(db.read()).await?.into_iter().map(from_model).collect()) }).await
}

pub async fn get(db: &Db, document: &str, version: &str) -> Result<Option<Policy>, StoreError> {
    let query = policies::Entity::find_by_id((document.to_owned(), version.to_owned()));
    db.within(async { Ok(query.one(db.read()).await?.map(from_model)) }).await
}

/// The version of each document that is in force.
pub async fn current(db: &Db, now: Timestamp) -> Result<Vec<Policy>, StoreError> {
    db.within(async { in_force(db.read(), now).await }).await
}

/// [`current`] as part of the caller's transaction.
pub(super) async fn in_force(connection: &impl ConnectionTrait, now: Timestamp) -> Result<Vec<Policy>, StoreError> {
    let mut current: Vec<Policy> = Vec::new();
    for policy in latest_first().filter(policies::Column::EffectiveAt.lte(now)).all(connection).await? {
        if current.iter().all(|known| known.document != policy.document) {
            current.push(from_model(policy));
        }
    }
    Ok(current)
}

/// Of two versions that are in force from the same moment on, the one written later counts.
fn latest_first() -> sea_orm::Select<policies::Entity> {
    policies::Entity::find()
        .order_by_desc(policies::Column::EffectiveAt)
        .order_by_desc(policies::Column::CreatedAt)
        .order_by_asc(policies::Column::Document)
        .order_by_desc(policies::Column::Version)
}

pub(super) async fn accept(connection: &impl ConnectionTrait, acceptance: &Acceptance) -> Result<(), StoreError> {
    let Acceptance { id, account_id, document, version, ip, accepted_at } = acceptance.clone();
    policy_acceptances::Model { id, account_id, document, version, ip, accepted_at }.into_active_model().insert(connection).await?;
    Ok(())
}

/// Notes that somebody agreed; once is enough.
pub async fn add_acceptance(db: &Db, acceptance: &Acceptance) -> Result<(), StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        let known = policy_acceptances::Entity::find()
            .filter(policy_acceptances::Column::AccountId.eq(&acceptance.account_id))
            .filter(policy_acceptances::Column::Document.eq(&acceptance.document))
            .filter(policy_acceptances::Column::Version.eq(&acceptance.version));
        if known.one(&transaction).await?.is_none() {
            accept(&transaction, acceptance).await?;
        }
        Ok(transaction.commit().await?)
    })
    .await
}

/// What an account accepted, newest first.
pub async fn acceptances(db: &Db, account_id: &str) -> Result<Vec<Acceptance>, StoreError> {
    let query = policy_acceptances::Entity::find()
        .filter(policy_acceptances::Column::AccountId.eq(account_id))
        .order_by_desc(policy_acceptances::Column::AcceptedAt)
        .order_by_desc(policy_acceptances::Column::Id);
    let from_model = |model: policy_acceptances::Model| Acceptance {
        id: model.id,
        account_id: model.account_id,
        document: model.document,
        version: model.version,
        ip: model.ip,
        accepted_at: model.accepted_at,
    };
    db.within(async { Ok(query.all(db.read()).await?.into_iter().map(from_model).collect()) }).await
}

/// The oldest version that not everybody has been told of.
pub async fn unannounced(db: &Db) -> Result<Option<Policy>, StoreError> {
    let query = policies::Entity::find().filter(policies::Column::AnnouncedAt.is_null()).order_by_asc(policies::Column::CreatedAt);
    db.within(async { Ok(query.one(db.read()).await?.map(from_model)) }).await
}

/// People with a proven address who were here before `policy`, by id, behind the one named `after`.
pub async fn readers(db: &Db, policy: &Policy, after: Option<&str>, limit: u64) -> Result<Vec<Reader>, StoreError> {
    let mut query = accounts::Entity::find()
        .filter(accounts::Column::CreatedAt.lt(policy.created_at))
        .filter(accounts::Column::VerifiedAt.is_not_null())
        .filter(accounts::Column::Status.ne("closed"))
        .order_by_asc(accounts::Column::Id)
        .limit(limit);
    if let Some(after) = after {
        query = query.filter(accounts::Column::Id.gt(after));
    }
    let reader = |row: accounts::Model| Reader { account_id: row.id, email: row.email, locale: row.locale };
    db.within(async { Ok(query.all(db.read()).await?.into_iter().map(reader).collect()) }).await
}

/// Puts the mails of one batch in; those that an earlier try put in stay. With `done_at` that was the last batch.
pub async fn announce(db: &Db, sealer: &Sealer, policy: &Policy, mails: &[NewMail], done_at: Option<Timestamp>) -> Result<u64, StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        let written = outbox::put_once(&transaction, sealer, mails).await?;
        if let Some(done_at) = done_at {
            let change = policies::ActiveModel { announced_at: Set(Some(done_at)), ..Default::default() };
            policies::Entity::update_many()
                .set(change)
                .filter(policies::Column::Document.eq(&policy.document))
                .filter(policies::Column::Version.eq(&policy.version))
                .exec(&transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(written)
    })
    .await
}

fn from_model(model: policies::Model) -> Policy {
    let policies::Model { document, version, body, effective_at, announced_at, created_at } = model;
    Policy { document, version, body, effective_at, announced_at, created_at }
}
