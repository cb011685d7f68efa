//! The control plane: use cases of admins and owners, one file an area. Each checks its input, writes the store, has the actors
//! take note, and leaves an audit entry.
//!
//! Absent on purpose: HTTP (see `http::admin`), SQL (see `store`), paid calls (see `pipeline`).

use crate::{
    actors::{catalog::CatalogClient, directory::Accounts, journal::JournalClient, supervision::ActorTree},
    clock::Clock,
    domain::{key_hash::KeyHasher, refusal::Refusal},
    store::{Db, StoreError, ledger::LedgerFailure, seal::Sealer},
    upstream::Connector,
};

/// What use cases work with. Clones share everything.
#[derive(Clone)]
pub struct Control {
    pub db: Db,
    pub clock: Clock,
    pub accounts: Accounts,
    pub catalog: CatalogClient,
    pub journal: JournalClient,
    pub tree: ActorTree,
    pub sealer: Sealer,
    pub hasher: KeyHasher,
    /// For testing upstreams; calls use that of their own thread.
    pub connector: Connector,
}

/// Who does something: the key of an admin, or the gateway itself.
#[derive(Debug, Clone)]
pub struct Actor {
    /// `key_…`, or `system`.
    pub id: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("{message}")]
    Invalid { message: String, param: Option<String> },
    /// What does not exist, for example `account acc_…`.
    #[error("{0} does not exist")]
    NotFound(String),
    #[error("{0}")]
    Conflict(String),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    Internal(String),
}

impl ControlError {
    pub fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), param: Some(param.to_owned()) }
    }
}

impl From<StoreError> for ControlError {
    fn from(error: StoreError) -> Self {
        match error {
            error if error.is_unavailable() => Self::Unavailable(error.to_string()),
            StoreError::NotFound(what) => Self::NotFound(what),
            StoreError::Conflict(what) => Self::Conflict(what),
            error => Self::Internal(error.to_string()),
        }
    }
}

impl From<LedgerFailure> for ControlError {
    fn from(failure: LedgerFailure) -> Self {
        match failure {
            LedgerFailure::Refused(refused) => Self::Invalid { message: refused.to_string(), param: None },
            LedgerFailure::Fenced => Self::Unavailable("this node's lease has expired".to_owned()),
            LedgerFailure::Store(error) => error.into(),
        }
    }
}
