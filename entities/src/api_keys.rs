//! An API key: everything but its secret. Only a row of an older schema holds that, too, until it is hashed.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_keys")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub account_id: String,
    pub title: String,
    pub prefix: String,
    pub last4: String,
    /// NULL until a key of an older schema is hashed.
    pub digest: Option<Vec<u8>>,
    pub pepper_version: i32,
    /// JSON list.
    pub scopes: String,
    /// JSON list; NULL allows every model.
    pub models: Option<String>,
    /// JSON of `domain::quota::Limits`.
    pub limits: String,
    /// JSON of `domain::api_key::Budget`.
    pub budget: Option<String>,
    /// JSON list of networks; NULL allows every address.
    pub ip_allow: Option<String>,
    /// JSON of `domain::api_key::KeyOptions`.
    pub options: String,
    pub expires_at: Option<i64>,
    pub revoked_at: Option<i64>,
    pub rotated_from: Option<String>,
    pub last_used_at: Option<i64>,
    pub created_at: i64,
    /// The text of a key of an older schema. While it stands here, digest, pepper version, prefix and last4 mean nothing.
    pub legacy_key: Option<String>,
    /// The key came from elsewhere and is so short that it can be guessed.
    pub legacy_weak: bool,
    pub revoked_reason: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
