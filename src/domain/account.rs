//! The customer that owns keys and a balance.

use serde::{Deserialize, Serialize};

use super::{Timestamp, quota::Limits};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccountStatus {
    Active,
    Suspended,
    Closed,
}

/// One customer. `locator` is the public part of its keys: 10 base62 characters, unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: String,
    pub locator: String,
    pub email: String,
    pub name: String,
    pub status: AccountStatus,
    /// When the owner proved the e-mail address; keys are refused before it unless the operator switched that off.
    pub verified_at: Option<Timestamp>,
    pub limits: Limits,
    pub plan_id: Option<String>,
    /// The account that admin keys belong to.
    pub is_operator: bool,
    /// Language of its mails, for example `en` or `zh`.
    pub locale: String,
    /// The profile image among the blobs.
    pub image_blob: Option<String>,
    /// Since when it is kept but not processed, as its owner asked.
    pub restricted_at: Option<Timestamp>,
    /// Since when its owner objects to analytics.
    pub objected_at: Option<Timestamp>,
    /// Whether its owner wants requests and answers to be kept; `None`: nothing was chosen.
    pub keep_content: Option<bool>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
