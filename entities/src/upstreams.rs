//! A server that serves models.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "upstreams")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    pub provider: String,
    pub base_url: String,
    pub sealed_api_key: Vec<u8>,
    pub weight: i64,
    pub priority: i32,
    pub max_concurrency: Option<i64>,
    /// JSON of `domain::catalog::Timeouts`.
    pub timeouts: String,
    pub enabled: bool,
    pub created_at: i64,
    pub updated_at: i64,
    /// JSON of `domain::catalog::UpstreamOptions`.
    pub options: String,
    /// A JSON array of further keys, sealed as one; null when there are none.
    pub sealed_api_keys: Option<Vec<u8>>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
