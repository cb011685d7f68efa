//! A file attached to a ticket, without its content.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ticket_attachments")]
pub struct Model {
    /// `att_…`
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub ticket_id: String,
    /// The ticket's.
    pub account_id: String,
    /// The message it belongs to.
    pub message_id: Option<String>,
    /// `customer` or `support`.
    pub side: String,
    pub author_id: String,
    /// Never shown to the owner.
    pub internal: bool,
    pub filename: String,
    /// As its bytes show it.
    pub mime: String,
    /// Of the content as it was uploaded.
    pub bytes: i64,
    /// Of the content, in hexadecimal.
    pub sha256: String,
    /// Name of the blob with the content.
    pub blob: String,
    pub created_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
