//! What a call asked and was answered, where that is kept.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "request_contents")]
pub struct Model {
    /// The id of the usage record.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub account_id: String,
    pub key_id: String,
    pub request_id: String,
    /// The id inside the answer.
    pub answer_id: Option<String>,
    pub endpoint: String,
    pub model: String,
    /// Of the answer.
    pub status: i32,
    /// Content types.
    pub request_type: String,
    pub answer_type: String,
    /// Lengths as sent; what is sealed may be shorter.
    pub request_bytes: i64,
    pub answer_bytes: i64,
    pub created_at: i64,
    pub expires_at: i64,
    pub sealed_request: Vec<u8>,
    pub sealed_answer: Vec<u8>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
