//! How a person signs in by password, and the second factor.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "credentials")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub account_id: String,
    /// PHC string of argon2id.
    pub password_hash: Option<String>,
    pub password_changed_at: Option<i64>,
    pub totp_sealed: Option<Vec<u8>>,
    pub totp_confirmed_at: Option<i64>,
    /// The last time step whose code was used; a code works once.
    pub totp_step: Option<i64>,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
