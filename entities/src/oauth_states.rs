//! A sign-in with a provider that is under way.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "oauth_states")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    /// Of the `state` parameter.
    pub digest: Vec<u8>,
    pub provider: String,
    /// Set when a signed-in owner links the provider.
    pub account_id: Option<String>,
    /// JSON, sealed: PKCE verifier, nonce, where to go.
    pub sealed_data: Vec<u8>,
    pub expires_at: i64,
    pub created_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
