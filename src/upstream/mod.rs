//! Calls to model providers, behind one [`Provider`] trait, with their timeouts and their ways to fail.
//!
//! A call makes one attempt. Absent on purpose: retries, failover and breakers (`pipeline`, `actors`), what answers mean (`dialect`),
//! and the caller's own headers, of which only the format's own are forwarded.

mod address;
mod auth;
mod body;
mod connector;
mod document;
pub mod echo;
mod event_stream;
mod exchange;
pub mod http;
mod http_provider;
mod key_ring;
mod presets;
mod refusal;
mod socket;
mod target;

use std::{borrow::Cow, sync::Arc, time::Duration};

pub use address::{base_url, parse_base_url};
pub use auth::{ApiKey, check_foreign_key, check_key};
pub use body::Body;
use bytes::Bytes;
pub use connector::Connector;
pub use echo::Echo;
pub use exchange::ExchangeLimits;
use futures_util::future::LocalBoxFuture;
pub use http::HttpClient;
pub use http_provider::{HttpProvider, static_header};
pub use key_ring::KEYS_MAX;
pub use presets::Preset;
pub use socket::{Received, Socket};
pub use target::Target;

use crate::{dialect::Endpoint, domain::catalog::Upstream};

/// Whether accounts may bring keys of their own for an upstream.
pub fn takes_own_keys(upstream: &Upstream) -> bool {
    Preset::of(upstream.provider).takes_own_keys(&upstream.base_url, &upstream.options)
}

/// One attempt to be made.
#[derive(Debug, Clone)]
pub struct Call {
    /// One of those the upstream speaks.
    pub endpoint: Endpoint,
    /// What the upstream calls the model; some formats have it in the path.
    pub model: Arc<str>,
    pub body: Bytes,
    pub content_type: Cow<'static, str>,
    pub streamed: bool,
    /// The caller's own headers that belong to the format: `anthropic-version`, `anthropic-beta`.
    pub version: Option<String>,
    pub betas: Option<String>,
    /// Sent along as `x-request-id`.
    pub request_id: String,
    /// A key of the caller's own, instead of the upstream's keys.
    pub api_key: Option<ApiKey>,
    /// What is left of the call's whole time, the answer's body included.
    pub deadline: Duration,
}

/// A realtime session to be opened.
#[derive(Debug, Clone)]
pub struct SocketCall {
    /// What the upstream calls the model.
    pub model: Arc<str>,
    /// The caller's `OpenAI-Beta`, which chooses between the wordings of the events.
    pub betas: Option<String>,
    /// Sent along as `x-request-id`.
    pub request_id: String,
    /// A key of the caller's own, instead of the upstream's keys.
    pub api_key: Option<ApiKey>,
    /// Largest message that is read, in bytes.
    pub message_bytes_max: usize,
}

/// A successful answer (2xx) whose body is still to come.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: Option<String>,
    pub body: Body,
}

/// The phase that took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Connect,
    FirstByte,
    Idle,
    Total,
}

/// An attempt that failed. Messages are for operators' logs and for the cases where the caller gets the upstream's own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("timed out ({stage:?})")]
    TimedOut { stage: Stage },
    /// Any status but 2xx.
    #[error("refused with status {status}: {message}")]
    Refused { status: u16, message: String, retry_after_ms: Option<u64> },
    #[error("not understood: {0}")]
    Garbage(String),
    #[error("broken off: {0}")]
    BrokenOff(String),
    #[error("the answer is larger than allowed")]
    TooLarge,
}

impl Failure {
    /// Whether the same upstream may do better on another attempt (as long as no content was delivered).
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Garbage(_) | Self::BrokenOff(_) => true,
            Self::TimedOut { stage } => *stage != Stage::Total,
            Self::Refused { status, .. } => matches!(status, 408 | 409 | 425 | 429 | 500..),
            Self::TooLarge => false,
        }
    }

    /// Whether another upstream may do better: also when this one refuses us or does not know the model.
    pub fn may_fail_over(&self) -> bool {
        self.is_retryable() || matches!(self, Self::Refused { status: 300..=399 | 401..=404, .. })
    }

    /// Whether the upstream itself is unwell. What one caller can bring about (a refused request, an answer too large, a deadline
    /// used up before) must not shut an upstream off for all.
    pub fn counts_against_breaker(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Garbage(_) | Self::BrokenOff(_) => true,
            Self::TimedOut { stage } => *stage != Stage::Total,
            Self::Refused { status, .. } => matches!(status, 300..=399 | 401 | 500..),
            Self::TooLarge => false,
        }
    }
}

/// Something that answers model calls. The futures belong to the worker thread that made them and spawn nothing; dropping one ends its
/// attempt. Share it as `Rc<dyn Provider>`.
pub trait Provider {
    /// One attempt: resolves when the answer begins.
    fn call(&self, call: Call) -> LocalBoxFuture<'static, Result<Answer, Failure>>;

    /// Opens a realtime session; resolves when the upstream has agreed to it. Only for those that speak [`Endpoint::Realtime`].
    fn open_socket(&self, _: SocketCall) -> LocalBoxFuture<'static, Result<Socket, Failure>> {
        Box::pin(std::future::ready(Err(Failure::Connect("this upstream has no realtime sessions".to_owned()))))
    }

    /// Asks for a sign of life that costs nothing; resolves to the microseconds it took.
    fn probe(&self) -> LocalBoxFuture<'static, Result<u64, Failure>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16) -> Failure {
        Failure::Refused { status, message: String::new(), retry_after_ms: None }
    }

    #[test]
    fn failures_know_what_helps() {
        let check = |failure: Failure, retry: bool, fail_over: bool, breaker: bool| {
            let found = (failure.is_retryable(), failure.may_fail_over(), failure.counts_against_breaker());
            assert_eq!(found, (retry, fail_over, breaker), "{failure}");
        };
        check(Failure::Connect(String::new()), true, true, true);
        check(Failure::TimedOut { stage: Stage::FirstByte }, true, true, true);
        check(Failure::TimedOut { stage: Stage::Total }, false, false, false);
        check(Failure::BrokenOff(String::new()), true, true, true);
        check(Failure::TooLarge, false, false, false);
        check(refused(503), true, true, true);
        // Anthropic is overloaded.
        check(refused(529), true, true, true);
        check(refused(429), true, true, false);
        check(refused(401), false, true, true);
        check(refused(403), false, true, false);
        check(refused(404), false, true, false);
        check(refused(400), false, false, false);
        check(refused(302), false, true, true);
    }
}
