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
pub mod contents;
pub mod credits;
pub mod files;
pub mod foreign;
pub mod import;
pub mod input;
pub mod keys;
pub mod leaks;
pub mod legacy;
pub mod mail;
pub mod members;
pub mod node;
pub mod outbox;
pub mod owner;
pub mod owner_keys;
pub mod page;
pub mod passwords;
pub mod people;
pub mod policies;
pub mod privacy;
pub mod provider_keys;
pub mod responses;
pub mod screening;
pub mod sign_in;
pub mod tickets;
pub mod usage;

use std::time::Duration;

pub use self::{
    input::{Moment, given},
    page::{Page, PageRequest},
};
use crate::{
    actors::{
        catalog::CatalogClient, contents::ContentsClient, detached::run_to_end, directory::Accounts, journal::JournalClient, legacy_keys,
        mailer::MailerClient, screening::ScreeningClient, supervision::ActorTree,
    },
    blobs::{BlobError, Blobs},
    clock::Clock,
    domain::{Timestamp, key_hash::KeyHasher, refusal::Refusal, seal::SealError},
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
    pub screening: ScreeningClient,
    pub contents: ContentsClient,
    pub tree: ActorTree,
    pub sealer: Sealer,
    /// Contents that rows only name; see [`crate::actors::blobs`].
    pub blobs: Blobs,
    pub hasher: KeyHasher,
    pub legacy_tools: legacy_keys::Tools,
    pub leaks: leaks::LeakDesk,
    /// For testing upstreams; calls use that of their own thread.
    pub connector: Connector,
    pub node: NodeFacts,
    pub files: files::FilePolicy,
    pub tickets: tickets::TicketPolicy,
    pub site: Site,
    pub people: people::People,
    pub mailer: MailerClient,
    pub privacy: privacy::Privacy,
}

/// Where browsers and mails find this gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Base of all links, without a slash at its end; never taken from a request.
    pub public_url: std::sync::Arc<str>,
}

impl Site {
    /// A link to one of our pages; `path` begins with a slash.
    pub fn link(&self, path: &str) -> String {
        format!("{}{path}", self.public_url)
    }

    /// Whether `origin`, as browsers send it, is this gateway. At home `localhost` is as good as its address.
    pub fn is_own_origin(&self, origin: &str) -> bool {
        let origin_of = |url: &str| {
            let (scheme, rest) = url.split_once("://")?;
            let host = rest.split('/').next()?.to_ascii_lowercase();
            let host = host.strip_prefix("localhost:").map_or(host.clone(), |port| format!("127.0.0.1:{port}"));
            let default_port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
            Some((scheme.to_ascii_lowercase(), host.strip_suffix(default_port).map_or(host.clone(), str::to_owned)))
        };
        origin_of(origin).is_some_and(|origin| Some(origin) == origin_of(&self.public_url))
    }

    /// Whether cookies may be marked as secure.
    pub fn is_https(&self) -> bool {
        self.public_url.starts_with("https://")
    }
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

/// Who does something: the key of an admin, an owner, or the gateway itself.
#[derive(Debug, Clone)]
pub struct Actor {
    /// `key_…`, `acc_…`, or `system`.
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

impl From<SealError> for ControlError {
    fn from(error: SealError) -> Self {
        StoreError::from(error).into()
    }
}

impl From<BlobError> for ControlError {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Unavailable(_) => Self::Unavailable(error.to_string()),
            BlobError::Corrupt(_) | BlobError::Settings(_) => Self::Internal(error.to_string()),
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

#[cfg(test)]
mod tests {
    use super::Site;

    #[test]
    fn own_origins() {
        let check = |public_url: &str, origin: &str| Site { public_url: public_url.into() }.is_own_origin(origin);
        assert!(check("https://pix.example/base", "https://pix.example") && check("https://pix.example", "https://PIX.example:443"));
        assert!(check("http://127.0.0.1:8080", "http://localhost:8080") && check("http://127.0.0.1:8080", "http://127.0.0.1:8080"));
        for other in
            ["http://pix.example", "https://pix.example.evil", "https://evil/https://pix.example", "null", "", "https://pix.example:8443"]
        {
            assert!(!check("https://pix.example", other), "{other}");
        }
    }
}
