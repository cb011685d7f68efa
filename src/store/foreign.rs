//! How other gateways name accounts, and what their users note on keys.

use pixgate_entities::{
    foreign_accounts::{self, Column},
    key_notes,
};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, sea_query::OnConflict};

use super::{Db, StoreError};
use crate::domain::Timestamp;

/// What is noted on a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyNotes {
    /// The text of a JSON object.
    pub metadata: String,
    pub blocked_at: Option<Timestamp>,
    /// The expiry that a blocked key gets back.
    pub expires_before: Option<Timestamp>,
}

impl Default for KeyNotes {
    fn default() -> Self {
        Self { metadata: "{}".to_owned(), blocked_at: None, expires_before: None }
    }
}

/// The account that `source` calls `foreign_id`.
pub async fn account_of(db: &Db, source: &str, foreign_id: &str) -> Result<Option<String>, StoreError> {
    let query = foreign_accounts::Entity::find_by_id((source.to_owned(), foreign_id.to_owned()));
    db.within(async { Ok(query.one(db.read()).await?.map(|row| row.account_id)) }).await
}

/// What `source` calls an account; the oldest of several names.
pub async fn name_of(db: &Db, source: &str, account_id: &str) -> Result<Option<String>, StoreError> {
    let query = foreign_accounts::Entity::find()
        .filter(Column::AccountId.eq(account_id))
        .filter(Column::Source.eq(source))
        .order_by_asc(Column::CreatedAt)
        .order_by_asc(Column::ForeignId);
    db.within(async { Ok(query.one(db.read()).await?.map(|row| row.foreign_id)) }).await
}

/// Notes a name; [`StoreError::Conflict`] when `source` uses it already.
pub async fn link(db: &Db, source: &str, foreign_id: &str, account_id: &str, now: Timestamp) -> Result<(), StoreError> {
    let row = foreign_accounts::Model {
        source: source.to_owned(),
        foreign_id: foreign_id.to_owned(),
        account_id: account_id.to_owned(),
        created_at: now,
    };
    let inserted = db.within(async { Ok(row.into_active_model().insert(db.write()).await.map(|_| ())?) }).await;
    inserted.map_err(|error| match error {
        StoreError::Conflict(_) => StoreError::Conflict(format!("the name {foreign_id} is taken")),
        other => other,
    })
}

pub async fn notes(db: &Db, key_id: &str) -> Result<Option<KeyNotes>, StoreError> {
    db.within(async {
        let row = key_notes::Entity::find_by_id(key_id).one(db.read()).await?;
        Ok(row.map(|row| KeyNotes { metadata: row.metadata, blocked_at: row.blocked_at, expires_before: row.expires_before }))
    })
    .await
}

/// Replaces what is noted on a key.
pub async fn put_notes(db: &Db, key_id: &str, notes: &KeyNotes) -> Result<(), StoreError> {
    let row = key_notes::Model {
        key_id: key_id.to_owned(),
        metadata: notes.metadata.clone(),
        blocked_at: notes.blocked_at,
        expires_before: notes.expires_before,
    };
    let columns = [key_notes::Column::Metadata, key_notes::Column::BlockedAt, key_notes::Column::ExpiresBefore];
    let replace = OnConflict::column(key_notes::Column::KeyId).update_columns(columns).to_owned();
    db.within(async {
        key_notes::Entity::insert(row.into_active_model()).on_conflict(replace).exec_without_returning(db.write()).await?;
        Ok(())
    })
    .await
}
