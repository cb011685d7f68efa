//! A customer, or the operator.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "accounts")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub locator: String,
    pub email: String,
    pub name: String,
    pub status: String,
    pub verified_at: Option<i64>,
    /// JSON of `domain::quota::Limits`.
    pub limits: String,
    pub plan_id: Option<String>,
    pub is_operator: bool,
    /// Tag of the language that mails are written in.
    pub locale: String,
    /// Id of the profile image among the blobs.
    pub image_blob: Option<String>,
    /// Since when the account is kept but not processed.
    pub restricted_at: Option<i64>,
    /// Since when its owner objects to analytics.
    pub objected_at: Option<i64>,
    /// Whether its owner wants requests and answers to be kept; null: as the operator has it.
    pub keep_content: Option<bool>,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
