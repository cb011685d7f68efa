//! The operator's list of mail domains that may not sign up.

use pixgate_entities::blocked_domains::{Column, Entity, Model};
use sea_orm::{ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, sea_query::OnConflict};

use super::{Db, StoreError};
use crate::domain::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockedDomain {
    /// Lower case.
    pub domain: String,
    pub note: String,
    pub created_at: Timestamp,
}

/// Whether one of `names` is on the list.
pub async fn any(db: &Db, names: &[String]) -> Result<bool, StoreError> {
    let query = Entity::find().filter(Column::Domain.is_in(names.iter().map(String::as_str)));
    db.within(async { Ok(query.one(db.read()).await?.is_some()) }).await
}

pub async fn list(db: &Db) -> Result<Vec<BlockedDomain>, StoreError> {
    let query = Entity::find().order_by_asc(Column::Domain);
    let from_model = |Model { domain, note, created_at }| BlockedDomain { domain, note, created_at };
    db.within(async { Ok(query.all(db.read()).await?.into_iter().map(from_model).collect()) }).await
}

/// Adds a domain; one that is there gets the new note.
pub async fn put(db: &Db, row: &BlockedDomain) -> Result<(), StoreError> {
    let BlockedDomain { domain, note, created_at } = row.clone();
    let model = Model { domain, note, created_at };
    let replace = OnConflict::column(Column::Domain).update_column(Column::Note).to_owned();
    db.within(async {
        Entity::insert(model.into_active_model()).on_conflict(replace).exec_without_returning(db.write()).await?;
        Ok(())
    })
    .await
}

/// Answers `false` when it was not there.
pub async fn delete(db: &Db, domain: &str) -> Result<bool, StoreError> {
    db.within(async { Ok(Entity::delete_by_id(domain.to_owned()).exec(db.write()).await?.rows_affected > 0) }).await
}
