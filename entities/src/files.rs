//! A file that an account uploaded, without its content.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "files")]
pub struct Model {
    /// `file_…`
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub account_id: String,
    /// What it was uploaded for, in OpenAI's words.
    pub purpose: String,
    /// As the caller named it.
    pub filename: String,
    pub mime: String,
    /// Of the content as it was uploaded.
    pub bytes: i64,
    /// Of the content, in hexadecimal.
    pub sha256: String,
    /// Name of the blob with the content.
    pub blob: String,
    pub created_at: i64,
    /// `None` for a file that stays until it is deleted.
    pub expires_at: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
