//! A version of the terms or of the privacy policy.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "policies")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    /// `terms` or `privacy`.
    pub document: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub version: String,
    /// Markdown.
    pub body: String,
    pub effective_at: i64,
    pub announced_at: Option<i64>,
    pub created_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
