//! A rule that looks at what callers send.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "screening_rules")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub name: String,
    /// `regex`, `term`, `url_host`, `max_bytes`, `max_messages`, `moderation`.
    pub kind: String,
    pub pattern: String,
    /// `block`, `flag`, `allow`.
    pub action: String,
    pub enabled: bool,
    pub priority: i64,
    /// JSON of what few rules have: case, whole words, models, endpoints, moderator, note.
    pub options: String,
    /// Set and key of a bundled rule.
    pub bundled: Option<String>,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
