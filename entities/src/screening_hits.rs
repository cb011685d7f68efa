//! A call that a screening rule hit.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "screening_hits")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub request_id: String,
    pub account_id: String,
    pub key_id: String,
    pub rule_id: String,
    /// As it was when it hit.
    pub rule_name: String,
    pub action: String,
    pub model: String,
    pub endpoint: String,
    /// A little of what was found, sealed; only where the operator keeps excerpts.
    pub sealed_excerpt: Option<Vec<u8>>,
    pub created_at: i64,
    pub released_at: Option<i64>,
    pub released_by: Option<String>,
    pub release_reason: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
