//! Credits given, taken back and run out.

use pixgate_entities::grants::{Column, Entity, Model};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder};

use super::{LedgerFailure, wallet::LockedWallet};
use crate::{
    domain::{
        Micros, Timestamp,
        ledger::{Category, Grant, LedgerError},
    },
    store::{Db, StoreError, sql},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGrant {
    pub id: String,
    pub amount: Micros,
    pub category: Category,
    /// Lower is drawn first.
    pub priority: i32,
    pub effective_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub reason: String,
    /// Who gives: the id of a key or account, or the name of a job.
    pub actor: String,
    /// A second grant of this account with the same key is the first one.
    pub idempotency_key: String,
    /// Tells a repetition from another wish under the same key.
    pub request_hash: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRow {
    pub account_id: String,
    pub grant: Grant,
    pub reason: String,
    pub actor: String,
    pub idempotency_key: String,
    pub created_at: Timestamp,
    /// True when this call found the grant already made.
    pub replayed: bool,
}

/// Gives credits, once per account and idempotency key; debt is paid from them first.
pub async fn grant(db: &Db, account_id: &str, new: NewGrant, now: Timestamp) -> Result<GrantRow, LedgerFailure> {
    db.within(async {
        let transaction = db.begin().await?;
        let mut locked = LockedWallet::lock(&transaction, account_id).await?;
        // Under the wallet's lock, so of many at once the first inserts and the others find it.
        let earlier = Entity::find()
            .filter(Column::AccountId.eq(account_id))
            .filter(Column::IdempotencyKey.eq(new.idempotency_key.as_str()))
            .one(&transaction)
            .await
            .map_err(StoreError::from)?;
        if let Some(earlier) = earlier {
            if earlier.request_hash != new.request_hash {
                let why = format!("the idempotency key {:?} was used for another grant", new.idempotency_key);
                return Err(StoreError::Conflict(why).into());
            }
            return Ok(GrantRow { replayed: true, ..from_model(earlier)? });
        }
        locked.expire(now);
        let fresh = Grant::new(new.id.clone(), new.amount, new.category, new.priority, new.effective_at, new.expires_at);
        let transfers = locked.wallet.grant(fresh)?;
        locked.record(transfers, &new.id, &new.actor);
        let wallet = locked.save("", now).await?;
        let Some(grant) = wallet.grants.into_iter().rfind(|grant| grant.id == new.id) else {
            return Err(LedgerError::NoGrant(new.id).into());
        };
        let model = to_model(account_id, &grant, &new, now)?;
        model.clone().into_active_model().insert(&transaction).await.map_err(StoreError::from)?;
        transaction.commit().await.map_err(StoreError::from)?;
        Ok(from_model(model)?)
    })
    .await
}

/// All grants of an account, newest first.
pub async fn grants_of(db: &Db, account_id: &str) -> Result<Vec<GrantRow>, StoreError> {
    db.within(async {
        let query = Entity::find().filter(Column::AccountId.eq(account_id)).order_by_desc(Column::CreatedAt).order_by_desc(Column::Id);
        query.all(db.read()).await?.into_iter().map(from_model).collect()
    })
    .await
}

/// Takes back up to `amount` of what is neither spent nor leased of a grant; answers with what was taken.
pub async fn revoke(
    db: &Db,
    account_id: &str,
    grant_id: &str,
    amount: Micros,
    cause: &str,
    actor: &str,
    now: Timestamp,
) -> Result<Micros, LedgerFailure> {
    db.within(async {
        let transaction = db.begin().await?;
        let mut locked = LockedWallet::lock(&transaction, account_id).await?;
        locked.expire(now);
        if locked.wallet.grants.iter().all(|grant| grant.id != grant_id) {
            let text = "SELECT 1 FROM grants WHERE account_id = $1 AND id = $2";
            return match sql::one(&transaction, text, [account_id.into(), grant_id.into()]).await? {
                Some(_) => Ok(0),
                None => Err(LedgerError::NoGrant(grant_id.to_owned()).into()),
            };
        }
        let transfers = locked.wallet.revoke(grant_id, amount)?;
        let taken = transfers.iter().map(|transfer| transfer.amount).sum();
        locked.record(transfers, cause, actor);
        locked.save("", now).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        Ok(taken)
    })
    .await
}

/// Books what ran out of time, for at most `limit` accounts, one transaction each; answers with the number of grants booked.
/// Spending does not wait for this: every operation expires the wallet it touches first.
pub async fn expire_grants(db: &Db, now: Timestamp, limit: u64) -> Result<u64, StoreError> {
    let text = "SELECT DISTINCT account_id FROM grants WHERE available_micros > 0 AND expires_at <= $1 LIMIT $2";
    let limit: i64 = sql::number(limit, "limit")?;
    let accounts = db.within(async { sql::all(db.read(), text, [now.into(), limit.into()]).await }).await?;
    let mut count = 0;
    for row in accounts {
        let account_id: String = row.try_get_by_index(0)?;
        count += db
            .within(async {
                let transaction = db.begin().await?;
                let mut locked = LockedWallet::lock(&transaction, &account_id).await?;
                let expired = locked.expire(now);
                locked.save("", now).await?;
                transaction.commit().await?;
                Ok::<u64, StoreError>(expired as u64)
            })
            .await?;
    }
    Ok(count)
}

fn to_model(account_id: &str, grant: &Grant, new: &NewGrant, now: Timestamp) -> Result<Model, StoreError> {
    Ok(Model {
        id: grant.id.clone(),
        account_id: account_id.to_owned(),
        amount_micros: grant.amount,
        category: sql::to_word(&grant.category)?,
        priority: grant.priority,
        effective_at: grant.effective_at,
        expires_at: grant.expires_at,
        available_micros: grant.available,
        leased_micros: grant.leased,
        spent_micros: grant.spent,
        expired_micros: grant.expired,
        revoked_micros: grant.revoked,
        repaid_micros: grant.repaid,
        reason: new.reason.clone(),
        actor: new.actor.clone(),
        idempotency_key: new.idempotency_key.clone(),
        request_hash: new.request_hash.clone(),
        created_at: now,
    })
}

fn from_model(model: Model) -> Result<GrantRow, StoreError> {
    Ok(GrantRow {
        grant: Grant {
            id: model.id,
            amount: model.amount_micros,
            category: sql::from_word(&model.category, "grants.category")?,
            priority: model.priority,
            effective_at: model.effective_at,
            expires_at: model.expires_at,
            available: model.available_micros,
            leased: model.leased_micros,
            spent: model.spent_micros,
            expired: model.expired_micros,
            revoked: model.revoked_micros,
            repaid: model.repaid_micros,
        },
        account_id: model.account_id,
        reason: model.reason,
        actor: model.actor,
        idempotency_key: model.idempotency_key,
        created_at: model.created_at,
        replayed: false,
    })
}
