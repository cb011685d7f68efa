//! Credits given once, with the six sums they split into.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "grants")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub account_id: String,
    pub amount_micros: i64,
    pub category: String,
    pub priority: i32,
    pub effective_at: i64,
    pub expires_at: Option<i64>,
    pub available_micros: i64,
    pub leased_micros: i64,
    pub spent_micros: i64,
    pub expired_micros: i64,
    pub revoked_micros: i64,
    pub repaid_micros: i64,
    pub reason: String,
    pub actor: String,
    pub idempotency_key: String,
    pub request_hash: String,
    pub created_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
