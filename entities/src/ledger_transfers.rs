//! Append-only: triggers refuse UPDATE and DELETE.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ledger_transfers")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub seq: i64,
    pub account_id: String,
    pub kind: String,
    pub debit: String,
    pub credit: String,
    pub grant_id: Option<String>,
    /// Set on captures made inside a lease.
    pub lease_id: Option<String>,
    pub amount_micros: i64,
    /// Id of the call or grant, or the name of the job.
    pub cause: String,
    pub actor: String,
    pub created_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
