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
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
