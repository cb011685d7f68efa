//! The control plane: use cases of admins and owners, one file an area. Each checks its input, writes the store, has the actors
//! take note, and leaves an audit entry.
//!
//! Inputs read themselves from JSON, because they are the same wherever they come from. A write goes to its end although its caller
//! leaves ([`Control::to_the_end`]): what the store holds and what the actors know must not part.
//!
//! Absent on purpose: HTTP (see `http::admin`), SQL (see `store`), paid calls (see `pipeline`).

pub mod accounts;
pub mod audit;
pub mod bootstrap;
pub mod catalog;
pub mod check;
pub mod credits;
pub mod foreign;
pub mod import;
pub mod input;
pub mod keys;
pub mod node;
pub mod page;
pub mod sign_in;
pub mod usage;

use std::time::Duration;

pub use self::{
    input::{Moment, given},
    page::{Page, PageRequest},
};
use crate::{
    actors::{catalog::CatalogClient, detached::run_to_end, directory::Accounts, journal::JournalClient, supervision::ActorTree},
    clock::Clock,
    domain::{Timestamp, key_hash::KeyHasher, refusal::Refusal},
    store::{Db, Durability, StoreError, ledger::LedgerFailure, seal::Sealer},
    upstream::Connector,
};

/// How long a report waits for what was handed to the journal before.
const BARRIER_DEADLINE: Duration = Duration::from_secs(5);

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
    pub node: NodeFacts,
}

/// What does not change while the process lives.
#[derive(Debug, Clone, Copy)]
pub struct NodeFacts {
    pub started_at: Timestamp,
    pub durability: Durability,
}

impl Control {
    /// Runs a use case to its end, also when its caller hangs up half-way.
    pub async fn to_the_end<T, F>(&self, work: impl FnOnce(Self) -> F) -> Result<T, ControlError>
    where
        T: 'static,
        F: Future<Output = Result<T, ControlError>> + 'static,
    {
        let outcome = run_to_end(work(self.clone())).await;
        outcome.unwrap_or_else(|| Err(ControlError::Internal("a use case panicked half-way".to_owned())))
    }
}

/// Who does something: the key of an admin, or the gateway itself.
#[derive(Debug, Clone)]
pub struct Actor {
    /// `key_…`, or `system`.
    pub id: String,
}

impl Actor {
    /// The gateway itself.
    pub fn system() -> Self {
        Self { id: "system".to_owned() }
    }
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
