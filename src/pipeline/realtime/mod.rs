//! Realtime sessions: a WebSocket relayed between a caller and an upstream, with a hold open at every moment and one charge a response.
//!
//! [`open`] admits the first response before the upstream hears of the session; [`Session::run`] relays (`session`), and [`charges`]
//! keeps the one hold that the next response will be charged to. Absent on purpose: sockets of callers (`http::api::realtime`), what
//! events mean (`dialect::realtime`).

mod charges;
mod conversation;
mod session;

use std::{future::Future, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;

pub use self::session::Session;
use self::{charges::Charges, conversation::Conversation};
use super::{CallError, Facts, Pipeline, admission, routing};
use crate::{
    actors::{
        catalog::{Candidate, ModelEntry, Resolved},
        detached,
        directory::Presented,
        places::{Busy, Place},
    },
    dialect::{Endpoint, tokens},
    domain::{Timestamp, refusal::Refusal},
    upstream::{Failure, Socket, SocketCall},
};

#[derive(Debug, Clone, Copy)]
pub struct RealtimePolicy {
    /// Largest message, in both directions.
    pub message_bytes_max: usize,
    /// Between pings; a side that is silent for three of them is gone.
    pub ping: Duration,
    /// Without a message from either side.
    pub idle: Duration,
    pub session_max: Duration,
    /// Input tokens that a hold assumes to be added before the next response.
    pub input_tokens_hold: u64,
}

/// A session that somebody asks for.
pub struct Opening {
    pub presented: Presented,
    /// As the caller named the model.
    pub model: String,
    /// The caller's `OpenAI-Beta`.
    pub betas: Option<String>,
    /// Our own id of the request (`req_…`): that of the first usage record.
    pub id: String,
    /// What the caller sees as `x-request-id`; all records of the session share it.
    pub request_id: String,
    pub arrived_at: Timestamp,
}

/// What a caller's socket brought.
#[derive(Debug)]
pub enum Heard {
    Text(String),
    Ping(Bytes),
    /// A pong, which needs no answer.
    Sign,
    /// A message larger than allowed, or one that is no text.
    Unfit(Refusal),
    Gone,
}

/// The caller has left; nothing reaches it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// Why a session is closed, for the close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// In good order: the session was idle, or as long as sessions get.
    Ended,
    /// The node stops.
    GoingAway,
    /// A rule said no.
    Refused,
    TooLarge,
    /// The upstream, or we, failed.
    Failed,
}

/// What a caller is told of a fault, as an event.
#[derive(Debug)]
pub enum Told {
    Call(CallError),
    /// A response broke off; what was delivered of it was charged.
    BrokenOff {
        code: &'static str,
        message: String,
    },
}

/// The caller's side, as it is read. Futures may be dropped while they wait.
pub trait ClientReader {
    fn hear(&mut self) -> impl Future<Output = Heard>;
}

/// The caller's side, as it is written. A send waits while the caller is slow.
pub trait ClientWriter {
    fn say(&mut self, message: String) -> impl Future<Output = Result<(), Gone>>;
    fn tell(&mut self, told: Told) -> impl Future<Output = Result<(), Gone>>;
    fn ping(&mut self) -> impl Future<Output = Result<(), Gone>>;
    fn pong(&mut self, payload: Bytes) -> impl Future<Output = Result<(), Gone>>;
    fn close(self, closing: Closing) -> impl Future<Output = ()>;
}

/// Admits a session and connects it to an upstream. A refusal or failure here is an ordinary answer; nothing is charged for it.
pub async fn open(pipeline: &Rc<Pipeline>, opening: Opening) -> Result<Session, CallError> {
    let Some(guard) = pipeline.drain.enter() else { return Err(Refusal::Draining.into()) };
    // Who has no valid key learns nothing about models.
    let caller = pipeline.accounts.authenticate(&opening.presented).await?;
    let snapshot = pipeline.catalog.snapshot();
    let resolved = snapshot.resolve(&opening.model);
    let Resolved { entry, variant } = resolved.ok_or_else(|| Refusal::ModelNotFound(admission::shown(&opening.model)))?;
    let model = entry.clone();
    check(&model)?;
    if !tokens::are_loaded() {
        // The first call of this process; the others of its thread go on meanwhile.
        let _ = detached::compute(tokens::warm_up).await;
    }
    let conversation = Conversation::default();
    let mut charges = Charges::new(pipeline.clone(), &opening, model.clone());
    let admitted = charges.admit(&conversation).await?;
    let model_place = match &model.places {
        None => None,
        Some(places) => Some(places.enter(pipeline.policy.queue_wait).await.map_err(|Busy| CallError::UpstreamBusy(model.id.to_string()))?),
    };
    let mut tried = Tried::default();
    for candidate in routing::order(&model, variant, &caller.account_id, &charges.ceiling(&conversation)) {
        if !candidate.gate.target.speaks.contains(&Endpoint::Realtime) {
            continue;
        }
        let Some((socket, place)) = connect(pipeline, &opening, &admitted.own_keys, candidate, &mut tried).await else {
            if tried.failed.as_ref().is_some_and(|failure| !failure.may_fail_over()) {
                break;
            }
            continue;
        };
        let own = admitted.own_keys.get(candidate.gate.name()).is_some_and(|_| candidate.gate.target.takes_own_keys);
        charges.answered_by(candidate, tried.made, if own { pipeline.policy.own_key_fee_percent } else { 100 });
        let overhead = admission::elapsed(opening.arrived_at, tried.called_at.unwrap_or(opening.arrived_at));
        let facts = Facts {
            overhead_us: u64::try_from(overhead.as_micros()).unwrap_or(u64::MAX),
            deprecated_at: model.model.deprecated_at.as_deref().map(Arc::from),
            ..Facts::new(candidate.gate.name().into(), admitted.rate)
        };
        let places = (place, model_place);
        return Ok(Session::new(pipeline.clone(), opening, charges, conversation, socket, candidate, facts, (guard, places)));
    }
    Err(match tried.failed {
        Some(failure) => {
            charges.connect_failed(&failure, tried.made);
            CallError::Upstream(failure, None)
        }
        None => CallError::UpstreamBusy(model.id.to_string()),
    })
}

/// What became of the attempts to connect.
#[derive(Default)]
struct Tried {
    made: u32,
    called_at: Option<Timestamp>,
    failed: Option<Failure>,
}

async fn connect(
    pipeline: &Pipeline,
    opening: &Opening,
    own_keys: &crate::actors::account::OwnKeys,
    candidate: &Candidate,
    tried: &mut Tried,
) -> Option<(Socket, Place)> {
    let gate = &candidate.gate;
    if tried.made > 0 && !gate.may_retry(pipeline.clock.now()) {
        return None;
    }
    let place = gate.enter(pipeline.policy.queue_wait).await.ok()?;
    let started_at = pipeline.clock.now();
    tried.made += 1;
    if tried.made == 1 {
        tried.called_at = Some(started_at);
        gate.called();
    }
    let call = SocketCall {
        model: candidate.upstream_model.clone(),
        betas: opening.betas.clone(),
        request_id: opening.request_id.clone(),
        api_key: own_keys.get(gate.name()).filter(|_| gate.target.takes_own_keys).cloned(),
        message_bytes_max: pipeline.policy.realtime.message_bytes_max,
    };
    let opened = match gate.is_in_drill(started_at) {
        true => Err(Failure::Connect("an outage drill is under way".to_owned())),
        false => pipeline.connector.provider(&gate.target).open_socket(call).await,
    };
    match opened {
        Ok(socket) => {
            gate.succeeded(admission::elapsed(started_at, pipeline.clock.now()));
            Some((socket, place))
        }
        Err(failure) => {
            if failure.counts_against_breaker() {
                gate.failed();
            }
            tracing::warn!(usage.id = %opening.id, upstream = gate.name(), error = %failure, "a realtime session could not be opened");
            tried.failed = Some(failure);
            None
        }
    }
}

/// Whether the model can be spoken with at all.
fn check(model: &ModelEntry) -> Result<(), CallError> {
    if model.candidates.is_empty() {
        return Err(CallError::NoRoute(model.id.to_string()));
    }
    let path = Endpoint::Realtime.path();
    let message = if !Endpoint::Realtime.kind_allows(model.model.kind) {
        format!("the model '{}' cannot be called at {path}", model.id)
    } else if !model.candidates.iter().any(|candidate| candidate.gate.target.speaks.contains(&Endpoint::Realtime)) {
        format!("the model '{}' cannot be called at {path}: none of its upstreams has realtime sessions", model.id)
    } else {
        return Ok(());
    };
    Err(Refusal::Invalid { message, param: Some("model".to_owned()) }.into())
}
