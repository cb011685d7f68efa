//! Something an account asks the staff.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tickets")]
pub struct Model {
    /// `tkt_…`
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub account_id: String,
    /// The account of the person.
    pub opened_by: String,
    pub title: String,
    pub status: String,
    pub priority: String,
    /// Whoever of the staff takes care, in their own words.
    pub assignee: Option<String>,
    /// The call it is about.
    pub request_id: Option<String>,
    /// The order it is about.
    pub order_id: Option<String>,
    /// `seq` of the line of the ledger it is about.
    pub ledger_entry_id: Option<i64>,
    /// How many there are, internal ones included; also the number of the last.
    pub messages: i64,
    pub created_at: i64,
    /// Of the last change that its owner sees.
    pub updated_at: i64,
    pub closed_at: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
