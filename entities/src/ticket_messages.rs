//! One message of a ticket, or a note of the staff.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ticket_messages")]
pub struct Model {
    /// `tmsg_…`
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub ticket_id: String,
    /// The ticket's.
    pub account_id: String,
    /// Position in the ticket, from 1.
    pub number: i64,
    /// `customer` or `support`.
    pub side: String,
    /// Of a customer: the account of the person. Of the staff: the key.
    pub author_id: String,
    /// Never shown to the owner.
    pub internal: bool,
    pub body: String,
    pub created_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
