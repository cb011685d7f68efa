//! Who may act for an account besides its own person.

use pixgate_entities::members::Entity;
use sea_orm::EntityTrait;

use super::{Db, StoreError, sql};
use crate::domain::member::Role;

/// What `member_id` is to `account_id`; `None` for strangers.
pub async fn role(db: &Db, account_id: &str, member_id: &str) -> Result<Option<Role>, StoreError> {
    let query = Entity::find_by_id((account_id.to_owned(), member_id.to_owned()));
    db.within(async { query.one(db.read()).await?.map(|model| sql::from_word(&model.role, "members.role")).transpose() }).await
}
