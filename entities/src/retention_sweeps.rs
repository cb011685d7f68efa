//! What sweeps did, by class of data.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "retention_sweeps")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub class: String,
    pub swept_at: i64,
    /// When something was found to sweep last.
    pub rows_at: Option<i64>,
    /// Rows that went then.
    pub rows_last: i64,
    pub rows_total: i64,
    /// How far a sweep came that goes through a table once; else empty.
    pub mark: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
