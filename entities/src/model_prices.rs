//! What a model cost from some moment on. Rows are only appended.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "model_prices")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub model_id: String,
    /// JSON list of `domain::pricing::Price`.
    pub prices: String,
    /// JSON of `domain::catalog::PriceSource`; null when an admin set them.
    pub source: Option<String>,
    pub valid_from: i64,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
