//! The end of a call: its record, its capture or release, and the wait until that is durable.

use std::{rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Pipeline, admission::Admitted, metering::Metered, replay, stored};
use crate::{
    actors::{catalog::ModelEntry, journal::NotDurable},
    dialect::Endpoint,
    domain::{
        Timestamp,
        pricing::Quantities,
        usage::{Outcome, UsageRecord},
    },
    store::ledger::Capture,
    telemetry::metrics::Stage,
};

/// What logs of HTTP servers write for a caller who did not wait.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// How the exchange with upstreams went, for the record.
#[derive(Debug, Clone)]
pub struct Ending {
    pub outcome: Outcome,
    /// Status the caller saw.
    pub status: u16,
    pub error_code: Option<&'static str>,
    pub upstream: Arc<str>,
    pub upstream_model: Arc<str>,
    pub attempts: u32,
    pub answer_id: Option<String>,
    pub first_byte_at: Option<Timestamp>,
}

/// What an answer with an Idempotency-Key leaves behind for its duplicates.
pub struct Kept<'a> {
    pub content_type: &'a str,
    /// `None` when it grew too large.
    pub body: Option<Bytes>,
}

/// Books what was used and waits until that is durable. `response` is the answer as one object, for calls whose answers are kept.
pub async fn capture(
    pipeline: &Rc<Pipeline>,
    mut call: Box<Admitted>,
    metered: Metered,
    ending: Ending,
    kept: Option<Kept<'_>>,
    response: Option<Bytes>,
) -> Result<(), NotDurable> {
    let started_at = pipeline.clock.now();
    let record =
        call.idempotency.as_ref().zip(kept).map(|(claim, kept)| {
            replay::record(pipeline, &call.account_id, claim, &call.id, &ending.upstream, kept.content_type, kept.body)
        });
    pipeline.metrics.call_ended(call.head.endpoint, ending.outcome);
    let keep = call.keep.take().zip(response).zip(ending.answer_id.clone());
    let (account_id, model) = (call.account_id.clone(), call.model.id.clone());
    let (held, usage, guard) = usage(pipeline, call, Some(metered), ending);
    let durable = match held.capture(usage, record).await {
        Some(charge) => charge.durable().await,
        None => Ok(()),
    };
    let took = u64::try_from(pipeline.clock.now() - started_at).unwrap_or(0);
    pipeline.metrics.stage(Stage::Settlement, Duration::from_micros(took));
    if let Some(((keep, response), id)) = keep.filter(|_| durable.is_ok()) {
        stored::keep(pipeline, &account_id, &model, id, keep, &response).await;
    }
    drop(guard);
    durable
}

/// Ends a call that is not charged. Nothing has to be durable: a lost hold returns with its lease.
pub fn release(pipeline: &Rc<Pipeline>, call: Box<Admitted>, ending: Ending) {
    pipeline.metrics.call_ended(call.head.endpoint, ending.outcome);
    let (held, usage, _guard) = usage(pipeline, call, None, ending);
    held.release(Some(usage));
}

/// What is known of a call before its upstream answers, for a record when it never does. Cheap, because every call makes one.
pub struct Trace {
    id: String,
    request_id: String,
    account_id: Arc<str>,
    key_id: Arc<str>,
    endpoint: Endpoint,
    model: Arc<ModelEntry>,
    streamed: bool,
    started_at: Timestamp,
}

impl Trace {
    pub fn of(call: &Admitted) -> Self {
        Self {
            id: call.id.clone(),
            request_id: call.request_id.clone(),
            account_id: call.account_id.clone(),
            key_id: call.key_id.clone(),
            endpoint: call.head.endpoint,
            model: call.model.clone(),
            streamed: call.streamed,
            started_at: call.arrived_at,
        }
    }

    /// The client left and no answer began in time: nothing is charged, and the operator can see it.
    pub fn client_gone(self, pipeline: &Pipeline) {
        let Some(slot) = pipeline.journal.slot() else { return };
        let usage = UsageRecord {
            id: self.id,
            request_id: self.request_id,
            account_id: self.account_id.to_string(),
            key_id: self.key_id.to_string(),
            endpoint: self.endpoint.path().to_owned(),
            model: self.model.id.to_string(),
            upstream: String::new(),
            upstream_model: String::new(),
            status: CLIENT_CLOSED_REQUEST,
            outcome: Outcome::ClientGone,
            error_code: Some("client_gone".to_owned()),
            streamed: self.streamed,
            estimated: false,
            quantities: Quantities::default(),
            cost_micros: 0,
            answer_id: None,
            attempts: 1,
            started_at: self.started_at,
            first_byte_at: None,
            finished_at: pipeline.clock.now(),
        };
        pipeline.journal.record(Capture { usage, allocations: Vec::new(), overage: 0, idempotency: None }, slot);
    }
}

fn usage(
    pipeline: &Pipeline,
    call: Box<Admitted>,
    metered: Option<Metered>,
    ending: Ending,
) -> (crate::actors::account::HeldCredits, UsageRecord, super::CallGuard) {
    let call = *call;
    let record = UsageRecord {
        id: call.id,
        request_id: call.request_id,
        account_id: call.account_id.to_string(),
        key_id: call.key_id.to_string(),
        endpoint: call.head.endpoint.path().to_owned(),
        model: call.model.id.to_string(),
        upstream: ending.upstream.to_string(),
        upstream_model: ending.upstream_model.to_string(),
        status: ending.status,
        outcome: ending.outcome,
        error_code: ending.error_code.map(str::to_owned),
        streamed: call.streamed,
        estimated: metered.is_some_and(|metered| metered.estimated),
        quantities: metered.map_or_else(Default::default, |metered| metered.quantities),
        cost_micros: metered.map_or(0, |metered| metered.cost_micros),
        answer_id: ending.answer_id,
        attempts: ending.attempts,
        started_at: call.arrived_at,
        first_byte_at: ending.first_byte_at,
        finished_at: pipeline.clock.now(),
    };
    (call.held, record, call.guard)
}
