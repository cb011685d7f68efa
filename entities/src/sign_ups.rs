//! Where an account came from.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sign_ups")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub account_id: String,
    /// `password`, `google`, `github` or `admin`.
    pub method: String,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    pub referral_code: Option<String>,
    /// JSON of the `utm_*` fields.
    pub campaign: String,
    pub age_confirmed_at: Option<i64>,
    pub created_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
