//! One call. Written on every call, so it is kept lean.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "usage_records")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub request_id: String,
    pub account_id: String,
    pub key_id: String,
    pub endpoint: String,
    pub model: String,
    pub upstream: String,
    pub upstream_model: String,
    pub status: i32,
    pub outcome: String,
    pub error_code: Option<String>,
    pub streamed: bool,
    pub estimated: bool,
    pub input_tokens: i64,
    pub cached_input_tokens: i64,
    pub cache_write_tokens: i64,
    pub output_tokens: i64,
    pub reasoning_tokens: i64,
    /// JSON of `domain::pricing::Quantities` without the token buckets; only when one of the others is not zero.
    pub other_quantities: Option<String>,
    pub cost_micros: i64,
    pub answer_id: Option<String>,
    pub attempts: i32,
    pub started_at: i64,
    pub first_byte_at: Option<i64>,
    pub finished_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
