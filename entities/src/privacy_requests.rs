//! What somebody asked about the data of an account; kept as the proof of what was done.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "privacy_requests")]
pub struct Model {
    /// `prv_…`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub account_id: String,
    pub kind: String,
    /// `session`, `mail` or `admin`.
    pub channel: String,
    pub status: String,
    /// Words of the staff; blanked by a deletion.
    pub note: String,
    pub created_by: String,
    /// Status of the account before its deletion was asked for.
    pub prior_status: Option<String>,
    pub due_at: i64,
    /// When it is tried next; while it is worked on, when others may take it over.
    pub next_at: i64,
    pub attempts: i32,
    /// Name of the node that works on it, or did when it died.
    pub claimed_by: Option<String>,
    pub last_error: Option<String>,
    /// JSON object: rows treated, by table, so that a deletion goes on where it stopped.
    pub progress: String,
    /// JSON text that `signature` is of.
    pub record: Option<String>,
    /// Ed25519, base64.
    pub signature: Option<String>,
    pub blob: Option<String>,
    pub bytes: Option<i64>,
    pub expires_at: Option<i64>,
    pub completed_at: Option<i64>,
    pub created_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
