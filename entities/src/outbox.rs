//! A mail to be sent, or that was.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "outbox")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub account_id: Option<String>,
    pub recipient: String,
    /// Word of `domain::mail::Message`.
    pub kind: String,
    pub locale: String,
    /// JSON of the message, sealed to the row; NULL once it was sent or is too old to be.
    pub sealed_message: Option<Vec<u8>>,
    /// `pending`, `held`, `sent` or `dead`.
    pub status: String,
    pub attempts: i32,
    pub next_at: i64,
    pub last_error: Option<String>,
    pub created_at: i64,
    pub sent_at: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
