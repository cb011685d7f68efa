//! The data plane: one paid call, in five steps that always run in this order.
//!
//! [`admission`] (parse, worst case, one `Admit`) → [`routing`] (candidates) → [`exchange`] (permit, call, fail over before the first
//! content byte) → [`metering`] (what was used) → [`settlement`] (capture or release, durable before the answer ends). [`relay`] joins
//! the last two for streams. [`realtime`] does all of it for sessions over a WebSocket, once for each response.
//!
//! Absent on purpose: HTTP in (see `http::api`), state that outlives a call (see `actors`).

mod admission;
mod cache;
mod content;
mod counting;
mod drain;
mod exchange;
mod files;
mod metering;
mod moderation;
pub mod realtime;
mod relay;
mod replay;
mod routing;
mod screening;
mod settlement;
mod stored;

use std::{rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use tracing::Instrument;

pub use cache::{CachePolicy, CacheWish};
pub use content::{ContentPolicy, Draft};
pub use counting::count;
pub use drain::{CallGuard, Drain};
pub use relay::Relay;
pub use screening::ScreeningPolicy;

use crate::{
    actors::{
        account::RateState,
        catalog::CatalogClient,
        contents::ContentsClient,
        detached,
        directory::{Accounts, Presented},
        journal::{JournalClient, NotDurable},
        places::Places,
        screening::ScreeningClient,
    },
    blobs::Blobs,
    clock::Clock,
    dialect::CallHead,
    domain::{Micros, Timestamp, refusal::Refusal},
    store::{Db, seal::Sealer},
    telemetry::metrics::Metrics,
    upstream::{Connector, Failure},
};

/// What a call needs of its thread and node. One per worker thread.
pub struct Pipeline {
    pub accounts: Accounts,
    pub catalog: CatalogClient,
    pub journal: JournalClient,
    pub screening: ScreeningClient,
    pub contents: ContentsClient,
    /// Large texts are counted on a part of the cores, so that those who send them cannot keep everybody else waiting.
    pub large_counts: Arc<Places>,
    pub connector: Connector,
    /// For earlier answers only: replays, the cache, and those kept for their callers.
    pub db: Db,
    /// For answers that are kept.
    pub sealer: Sealer,
    /// For files that calls name.
    pub blobs: Blobs,
    pub clock: Clock,
    pub metrics: Metrics,
    pub drain: Drain,
    pub policy: Policy,
}

#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Attempts after the first one.
    pub retries_max: u32,
    pub retry_backoff: Duration,
    /// How long an upstream may go on for its usage report after the client hung up.
    pub client_gone_drain: Duration,
    pub answer_bytes_max: usize,
    /// How long a call waits for a permit of a busy upstream.
    pub queue_wait: Duration,
    /// Output tokens a hold assumes at most.
    pub output_tokens_hold_max: u64,
    pub idempotency_ttl: Duration,
    /// Longest answer that is kept for replays.
    pub idempotency_bytes_max: usize,
    /// How long answers are kept whose callers ask for it; `None` when none are.
    pub responses_retention: Option<Duration>,
    /// Longest conversation that is continued from kept answers, as a request body.
    pub responses_bytes_max: usize,
    pub realtime: realtime::RealtimePolicy,
    pub cache: CachePolicy,
    pub screening: ScreeningPolicy,
    /// `None` when nobody's content is kept.
    pub content: Option<ContentPolicy>,
    /// Percent of its price that a call costs when it is made with a key of the caller's own.
    pub own_key_fee_percent: u32,
    /// Whether spans are exported; without it calls make none.
    pub traced: bool,
}

/// One call as it came in.
pub struct Incoming {
    pub head: CallHead,
    pub body: Bytes,
    pub presented: Presented,
    /// Our own id of the call (`req_…`), under which it is charged.
    pub id: String,
    /// What the caller sees as `x-request-id`: its own, or ours.
    pub request_id: String,
    pub idempotency_key: Option<String>,
    pub cache: CacheWish,
    /// False when the caller wants no content of this call to be kept.
    pub may_be_kept: bool,
    pub arrived_at: Timestamp,
}

/// The answer to a call.
pub enum Outgoing {
    Whole { facts: Facts, status: u16, content_type: String, body: Bytes },
    Stream { facts: Facts, content_type: &'static str, relay: Relay },
}

/// What the answer's headers say.
#[derive(Debug, Clone)]
pub struct Facts {
    pub upstream: Arc<str>,
    /// Our own time up to the upstream call, in microseconds.
    pub overhead_us: u64,
    /// When it is known before the body.
    pub cost_micros: Option<Micros>,
    pub rate: RateState,
    /// The model that answered, when it is not the one that was asked.
    pub answered_by: Option<Arc<str>>,
    /// The day from which the model's vendor may switch it off.
    pub deprecated_at: Option<Arc<str>>,
    /// Whether the answer came from the cache, where it was looked for.
    pub cached: Option<bool>,
    /// Fields that were not carried to the upstream.
    pub dropped: Vec<String>,
    /// True when this is the stored answer to an earlier call with the same Idempotency-Key.
    pub replayed: bool,
}

impl Facts {
    fn new(upstream: Arc<str>, rate: RateState) -> Self {
        Self {
            upstream,
            overhead_us: 0,
            cost_micros: None,
            rate,
            answered_by: None,
            deprecated_at: None,
            cached: None,
            dropped: Vec::new(),
            replayed: false,
        }
    }
}

/// Why a call has no answer.
#[derive(Debug)]
pub enum CallError {
    Refused(Refusal, Option<Box<RateState>>),
    Upstream(Failure, Option<Box<Facts>>),
    /// The model, or every upstream of it, stayed at its concurrency limit.
    UpstreamBusy(String),
    /// No enabled upstream serves the model.
    NoRoute(String),
    NotDurable(NotDurable),
    Internal(String),
}

/// How a caller is told of an upstream's failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// The request itself was refused.
    BadRequest,
    RateLimited,
    TimedOut,
    /// Everything the caller can do nothing about.
    Broken,
}

impl FailureClass {
    pub fn of(failure: &Failure) -> Self {
        match failure {
            Failure::TimedOut { .. } => Self::TimedOut,
            Failure::Refused { status: 400 | 413 | 422, .. } => Self::BadRequest,
            Failure::Refused { status: 429, .. } => Self::RateLimited,
            _ => Self::Broken,
        }
    }

    /// Status and error code of the contract.
    pub fn shown(self) -> (u16, &'static str) {
        match self {
            Self::BadRequest => (400, "invalid_request"),
            Self::RateLimited => (429, "rate_limit_exceeded"),
            Self::TimedOut => (504, "upstream_timeout"),
            Self::Broken => (502, "upstream_error"),
        }
    }
}

/// A call without an answer, and what is to be kept of it together with the error that its caller gets.
pub struct Unanswered {
    pub error: CallError,
    pub draft: Option<Rc<Draft>>,
}

impl From<CallError> for Unanswered {
    fn from(error: CallError) -> Self {
        Self { error, draft: None }
    }
}

impl From<Refusal> for Unanswered {
    fn from(refusal: Refusal) -> Self {
        CallError::from(refusal).into()
    }
}

impl From<Refusal> for CallError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal, None)
    }
}

/// Runs one call. Once it is admitted it goes on to its settlement, also when the caller stops waiting.
pub async fn run(pipeline: &Rc<Pipeline>, incoming: Incoming) -> Result<Outgoing, Unanswered> {
    let Some(guard) = pipeline.drain.enter() else { return Err(Refusal::Draining.into()) };
    let admitted = match admission::admit(pipeline, incoming, guard).await? {
        admission::Outcome::Run(admitted) => admitted,
        admission::Outcome::Replay(answer) => return Ok(*answer),
    };
    let draft = admitted.draft.clone();
    let (presence, gone) = exchange::presence();
    let span = if pipeline.policy.traced {
        tracing::info_span!("call", usage.id = %admitted.id, account.id = %admitted.account_id, model = %admitted.model.id, streamed = admitted.streamed)
    } else {
        tracing::Span::none()
    };
    let answer = detached::run_to_end(exchange::perform(pipeline.clone(), admitted, gone).instrument(span)).await;
    // Only now: from here on the answer itself notices when the client leaves.
    drop(presence);
    let answer = answer.unwrap_or_else(|| Err(CallError::Internal("the task of a call panicked; its hold was released".to_owned())));
    answer.map_err(|error| Unanswered { error, draft })
}
