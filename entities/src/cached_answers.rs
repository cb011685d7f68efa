//! An upstream's answer, kept for the same request of the same account.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "cached_answers")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub account_id: String,
    /// SHA-256 of the request, as hex.
    #[sea_orm(primary_key, auto_increment = false)]
    pub request_hash: String,
    /// What the upstream was asked, as metrics label it.
    pub endpoint: String,
    pub upstream_model: String,
    pub sealed_body: Vec<u8>,
    pub created_at: i64,
    pub expires_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
