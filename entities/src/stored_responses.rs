//! An answer that its caller asked to be kept, with what it answers.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "stored_responses")]
pub struct Model {
    /// The id inside the answer (`resp_…`).
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub account_id: String,
    pub model: String,
    /// The answer that this one continues.
    pub previous_id: Option<String>,
    /// The items of this call alone: a JSON array, sealed.
    pub sealed_input: Vec<u8>,
    /// The whole response object, sealed.
    pub sealed_output: Vec<u8>,
    pub created_at: i64,
    pub expires_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
