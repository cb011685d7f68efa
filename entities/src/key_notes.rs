//! What is noted on an API key beside what it may do.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "key_notes")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub key_id: String,
    /// A JSON object.
    pub metadata: String,
    /// When the key was blocked last. It is blocked as long as this is also its expiry.
    pub blocked_at: Option<i64>,
    /// The expiry that a blocked key gets back.
    pub expires_before: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
