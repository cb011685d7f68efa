//! API keys: their text form, what a key may do, and the record kept of one.
//!
//! Text form: `px_live_` or `px_test_` + 10 characters account locator + 32 characters secret + 6 characters CRC-32 of the
//! 42 before it, all base62. The checksum only tells typos from keys; the secret is 190 bits.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Micros, Timestamp, quota::Limits};

pub const LOCATOR_LENGTH: usize = 10;
pub const SECRET_LENGTH: usize = 32;

/// Keyed hash of a key's whole text (HMAC-SHA256 under the pepper).
pub type Digest = [u8; 32];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Model calls and what a key may know about itself.
    Inference,
    /// The owner's account API.
    Account,
    /// The admin API.
    Admin,
}

impl Scope {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::Account => "account",
            Self::Admin => "admin",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BudgetPeriod {
    /// UTC day.
    Day,
    /// UTC calendar month.
    Month,
    /// The key's whole life.
    Total,
}

impl BudgetPeriod {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
            Self::Total => "total",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    pub micros: Micros,
    pub period: BudgetPeriod,
}

/// A key as it is kept: everything but the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: String,
    pub account_id: String,
    pub title: String,
    /// First characters of the key, enough to recognise it in a list.
    pub prefix: String,
    pub last4: String,
    pub digest: Digest,
    pub pepper_version: i32,
    /// An empty list allows nothing.
    pub scopes: Vec<Scope>,
    /// `None` allows every model; an entry ending in `*` allows a prefix.
    pub models: Option<Vec<String>>,
    pub limits: Limits,
    pub budget: Option<Budget>,
    /// `None` allows every address.
    pub ip_allow: Option<Vec<IpNet>>,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// The key this one replaced.
    pub rotated_from: Option<String>,
    pub last_used_at: Option<Timestamp>,
    pub created_at: Timestamp,
}
