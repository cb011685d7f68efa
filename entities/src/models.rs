//! A model callers can name.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "models")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub kind: String,
    pub display_name: String,
    /// JSON list of other names.
    pub aliases: String,
    /// JSON of `domain::catalog::Capabilities`.
    pub capabilities: String,
    pub context_window: Option<i64>,
    pub max_input_tokens: Option<i64>,
    pub max_output_tokens: Option<i64>,
    /// JSON list of `domain::pricing::Price`.
    pub prices: String,
    /// JSON list of `domain::catalog::Route`.
    pub routes: String,
    /// JSON of `domain::route::Routing`.
    pub routing: String,
    /// `2026-12-31`.
    pub deprecated_at: Option<String>,
    pub owner: Option<String>,
    /// JSON of `domain::catalog::PriceSource`; null when an admin set the prices.
    pub price_source: Option<String>,
    pub enabled: bool,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
