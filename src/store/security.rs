//! The security log: who did what from which address. Kept for a limited time and used for nothing but security.

use pixgate_entities::security_events::{Column, Entity, Model};
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect};

use super::{Db, StoreError};
use crate::domain::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityEvent {
    /// `sev_…`.
    pub id: String,
    /// `None` when nobody is known, for example for a wrong address.
    pub account_id: Option<String>,
    /// For example `sign_in`.
    pub event: String,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    pub created_at: Timestamp,
}

pub(super) async fn put(connection: &impl ConnectionTrait, event: &SecurityEvent) -> Result<(), StoreError> {
    let SecurityEvent { id, account_id, event, ip, user_agent, created_at } = event.clone();
    Model { id, account_id, event, ip, user_agent, created_at }.into_active_model().insert(connection).await?;
    Ok(())
}

pub async fn append(db: &Db, event: &SecurityEvent) -> Result<(), StoreError> {
    db.within(async { put(db.write(), event).await }).await
}

/// Of an account, newest first, behind the one named `after`.
pub async fn list(db: &Db, account_id: &str, after: Option<&str>, limit: u64) -> Result<Vec<SecurityEvent>, StoreError> {
    let mut query = Entity::find().filter(Column::AccountId.eq(account_id)).order_by_desc(Column::Id).limit(limit);
    if let Some(after) = after {
        query = query.filter(Column::Id.lt(after));
    }
    db.within(async { Ok(query.all(db.read()).await?.into_iter().map(from_model).collect()) }).await
}

/// How often the account signed in before: at all, and from this address with this program.
pub async fn sign_ins(db: &Db, account_id: &str, ip: Option<&str>, user_agent: Option<&str>) -> Result<(bool, bool), StoreError> {
    let all = Entity::find().filter(Column::AccountId.eq(account_id)).filter(Column::Event.eq("sign_in"));
    let same = all.clone().filter(Column::Ip.eq(ip)).filter(Column::UserAgent.eq(user_agent));
    db.within(async {
        let any = all.one(db.read()).await?.is_some();
        Ok((any, any && same.one(db.read()).await?.is_some()))
    })
    .await
}

/// Answers with the number of entries older than `before` that are gone now.
pub async fn delete_before(db: &Db, before: Timestamp) -> Result<u64, StoreError> {
    let query = Entity::delete_many().filter(Column::CreatedAt.lt(before));
    db.within(async { Ok(query.exec(db.write()).await?.rows_affected) }).await
}

fn from_model(model: Model) -> SecurityEvent {
    let Model { id, account_id, event, ip, user_agent, created_at } = model;
    SecurityEvent { id, account_id, event, ip, user_agent, created_at }
}
