//! The exchange with upstreams: one attempt after the other, over all candidates, until the first content byte.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    CallError, Facts, FailureClass, Outgoing, Pipeline,
    admission::{Admitted, elapsed},
    cache::{self, Keeping},
    metering,
    relay::{Opening, Relay, stream_content_type},
    routing, settlement,
    settlement::{Ending, Kept},
};
use crate::{
    actors::{
        catalog::{Candidate, ModelEntry},
        places::{Busy, Place},
        upstream::Gate,
    },
    dialect::{
        CallHead, Whole,
        format::{Aim, Quirks, Writing},
        owners,
        plan::Plan,
    },
    domain::{SECOND, Timestamp, refusal::Refusal, usage::Outcome},
    telemetry::{metrics::Stage, redact::scrub},
    upstream::{Answer, ApiKey, Body, Call, Failure},
};

/// Longest pause an upstream may ask for before it is asked again within the same call.
const RETRY_WAIT_MS_MAX: u64 = 1_000;

/// Held by whoever waits for the answer; dropped, it tells the call that nobody does.
pub struct Presence(#[expect(dead_code, reason = "its drop is the signal")] oneshot::Sender<()>);

/// Resolves when the waiting side is gone.
pub struct Gone(oneshot::Receiver<()>);

pub fn presence() -> (Presence, Gone) {
    let (sender, receiver) = oneshot::channel();
    (Presence(sender), Gone(receiver))
}

/// Runs an admitted call to its answer or its release.
pub async fn perform(pipeline: Rc<Pipeline>, call: Box<Admitted>, gone: Gone) -> Result<Outgoing, CallError> {
    let absent = Cell::new(false);
    let trace = settlement::Trace::of(&call);
    let work = attempt_all(&pipeline, call, &absent);
    tokio::pin!(work);
    tokio::select! {
        biased;
        answer = &mut work => return answer,
        _ = gone.0 => absent.set(true),
    }
    // The client left before the answer began: what the upstream reports in time is charged, else nothing was delivered.
    match tokio::time::timeout(pipeline.policy.client_gone_drain, work).await {
        Ok(answer) => answer,
        Err(_) => {
            // Dropping the work released the hold; what is left to do is to remember the call.
            trace.client_gone(&pipeline);
            Err(CallError::Internal("the client left before the answer began".to_owned()))
        }
    }
}

/// What one attempt brought.
struct Attempt {
    answer: Answered,
    /// What the upstream sent, where it is to be kept: a whole answer. (Of streams the opening knows.)
    raw: Option<Bytes>,
    keeping: Option<Keeping>,
    /// Fields that were not carried to the upstream.
    dropped: Vec<String>,
}

/// Where an answer comes from.
struct Source {
    name: Arc<str>,
    upstream_model: Arc<str>,
    /// `None` for the cache.
    gate: Option<Arc<Gate>>,
}

enum Answered {
    Whole(Box<dyn Whole>),
    Stream(Box<Opening>),
}

/// Why an attempt brought nothing.
enum Failed {
    /// Nothing was sent, because the call cannot be said in the upstream's format; or the caller's own key was refused. Neither is a
    /// fault of the upstream.
    NotServed(Refusal),
    Upstream(Failure),
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self::Upstream(failure)
    }
}

/// What became of the attempts so far.
#[derive(Default)]
struct Tried {
    made: u32,
    overhead_us: Option<u64>,
    failed: Option<(Failure, Arc<Gate>, Arc<str>)>,
    /// Name of what stayed at its concurrency limit.
    busy: Option<String>,
    not_served: Option<Refusal>,
}

async fn attempt_all(pipeline: &Rc<Pipeline>, mut call: Box<Admitted>, absent: &Cell<bool>) -> Result<Outgoing, CallError> {
    let mut tried = Tried::default();
    if let Some(kept) = cache::find(pipeline, &call).await {
        match from_cache(pipeline, &call, &kept).await {
            Ok(answer) => {
                call.charged_percent = pipeline.policy.cache.charge_percent;
                let source = Source { name: cache::UPSTREAM.into(), upstream_model: kept.upstream_model.as_str().into(), gate: None };
                return finish(pipeline, call, source, answer, &tried, None, absent).await;
            }
            Err(_) => tracing::warn!(usage.id = %call.id, "a kept answer could not be given again; the upstream is asked"),
        }
    }
    let chain: Vec<Arc<ModelEntry>> = std::iter::once(call.model.clone()).chain(call.fallbacks.iter().cloned()).collect();
    for model in &chain {
        let place = match &model.places {
            None => None,
            Some(places) => match places.enter(pipeline.policy.queue_wait).await {
                Ok(place) => Some(place),
                Err(Busy) => {
                    tried.busy = Some(model.id.to_string());
                    continue;
                }
            },
        };
        if let Some((candidate, answer)) = attempt_model(pipeline, &call, model, &mut tried, absent).await {
            if own_key(&call, candidate).is_some() {
                call.charged_percent = pipeline.policy.own_key_fee_percent;
            }
            let asked = std::mem::replace(&mut call.model, model.clone());
            call.place = place;
            let answered_by = (!Arc::ptr_eq(&asked, model)).then(|| model.id.clone());
            let source = Source {
                name: candidate.gate.name().into(),
                upstream_model: candidate.upstream_model.clone(),
                gate: Some(candidate.gate.clone()),
            };
            return finish(pipeline, call, source, answer, &tried, answered_by, absent).await;
        }
        // What this caller's request brought about would come about again.
        let falls_back = tried.failed.as_ref().is_none_or(|(failure, ..)| failure.may_fail_over());
        if absent.get() || !falls_back {
            break;
        }
    }
    match (tried.failed, tried.busy, tried.not_served) {
        (Some((failure, gate, upstream_model)), _, _) => {
            let (status, code) = FailureClass::of(&failure).shown();
            let upstream: Arc<str> = gate.name().into();
            let facts =
                Facts { overhead_us: tried.overhead_us.unwrap_or(0), cost_micros: Some(0), ..Facts::new(upstream.clone(), call.rate) };
            let ending = Ending {
                outcome: Outcome::UpstreamFailed,
                status,
                error_code: Some(code),
                upstream,
                upstream_model,
                attempts: tried.made,
                answer_id: None,
                first_byte_at: None,
            };
            settlement::release(pipeline, call, ending);
            Err(CallError::Upstream(failure, Some(Box::new(facts))))
        }
        (None, None, Some(refusal)) => Err(CallError::Refused(refusal, Some(Box::new(call.rate)))),
        (None, Some(busy), _) => Err(CallError::UpstreamBusy(busy)),
        (None, None, None) => Err(CallError::NoRoute(call.model.id.to_string())),
    }
}

/// Tries the upstreams of one model until one answers.
async fn attempt_model<'a>(
    pipeline: &Rc<Pipeline>,
    call: &Admitted,
    model: &'a ModelEntry,
    tried: &mut Tried,
    absent: &Cell<bool>,
) -> Option<(&'a Candidate, Attempt)> {
    let candidates = routing::candidates(model, call);
    let attempts_max = pipeline.policy.retries_max as usize + 1;
    let mut excluded = vec![false; candidates.len()];
    let mut attempts = 0;
    while attempts < attempts_max {
        let index = next(&excluded, attempts)?;
        let candidate = candidates[index];
        let gate = &candidate.gate;
        if tried.made > 0 && !gate.may_retry(pipeline.clock.now()) {
            tracing::warn!(usage.id = %call.id, upstream = gate.name(), "not asked again: its retry budget is used up");
            excluded[index] = true;
            continue;
        }
        let Ok(place) = gate.enter(pipeline.policy.queue_wait).await else {
            excluded[index] = true;
            tried.busy = Some(gate.name().to_owned());
            continue;
        };
        tried.overhead_us.get_or_insert_with(|| {
            let overhead = elapsed(call.arrived_at, pipeline.clock.now());
            pipeline.metrics.stage(Stage::Overhead, overhead);
            u64::try_from(overhead.as_micros()).unwrap_or(u64::MAX)
        });
        match attempt(pipeline, call, model, candidate, place).await {
            Ok(answer) => {
                tried.made += 1;
                return Some((candidate, answer));
            }
            Err(Failed::NotServed(refusal)) => {
                // No attempt of ours was made: another upstream may speak a format that can say it.
                excluded[index] = true;
                tried.not_served.get_or_insert(refusal);
            }
            Err(Failed::Upstream(failure)) => {
                attempts += 1;
                tried.made += 1;
                if tried.made == 1 {
                    gate.called();
                }
                if failure.counts_against_breaker() {
                    gate.failed();
                }
                tracing::warn!(usage.id = %call.id, upstream = gate.name(), error = %failure, attempt = tried.made, "attempt failed");
                // A slow upstream is not asked twice for the same thing, and one that refuses us will refuse again.
                excluded[index] = !failure.is_retryable() || matches!(failure, Failure::TimedOut { .. }) || asks_for_long_wait(&failure);
                let go_on = attempts < attempts_max && failure.may_fail_over() && !absent.get();
                let pause = backoff(pipeline, attempts, &failure);
                tried.failed = Some((failure, gate.clone(), candidate.upstream_model.clone()));
                if !go_on {
                    return None;
                }
                if next(&excluded, attempts).is_some_and(|next| next == index) {
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
    None
}

/// The candidate to try now: each in its turn, round and round, without the excluded ones.
fn next(excluded: &[bool], attempts: usize) -> Option<usize> {
    (0..excluded.len()).map(|step| (attempts + step) % excluded.len()).find(|&index| !excluded[index])
}

/// Whether an upstream wants to be left alone for longer than a caller should wait here.
fn asks_for_long_wait(failure: &Failure) -> bool {
    matches!(failure, Failure::Refused { retry_after_ms: Some(wait), .. } if *wait > RETRY_WAIT_MS_MAX)
}

/// The pause before the same upstream is asked again: doubling, or what it asked for if that is short.
fn backoff(pipeline: &Pipeline, attempts: usize, failure: &Failure) -> Duration {
    let doubled = pipeline.policy.retry_backoff.saturating_mul(1 << attempts.saturating_sub(1).min(6));
    match failure {
        Failure::Refused { retry_after_ms: Some(wait), .. } => doubled.max(Duration::from_millis((*wait).min(RETRY_WAIT_MS_MAX))),
        _ => doubled,
    }
}

/// The key that the caller's account brought for this upstream, as long as that takes such keys.
fn own_key<'a>(call: &'a Admitted, candidate: &Candidate) -> Option<&'a ApiKey> {
    let target = &candidate.gate.target;
    call.own_keys.get(&target.name).filter(|_| target.takes_own_keys)
}

/// A key that is refused is its owner's affair: nothing of the gateway's is broken, and only the owner can mend it.
fn own_key_failed(upstream: &str, failure: Failure) -> Failed {
    match failure {
        Failure::Refused { status: status @ 401..=403, message, .. } => {
            let message = format!(
                "the upstream '{upstream}' refused your own key with status {status}: {}; replace or delete it at /api/v1/provider-keys/{upstream}",
                scrub(&message)
            );
            Failed::NotServed(Refusal::Invalid { message, param: None })
        }
        failure => failure.into(),
    }
}

/// The model's price does not cover it, or it lies in an account that all callers share.
fn not_the_owner(upstream: &str, field: String) -> Failed {
    let message = format!(
        "'{field}' asks the upstream '{upstream}' for a dearer service, a hosted tool without a price or something in its owner's account; \
         leave it out, set a key of your own at /api/v1/provider-keys/{upstream} if the upstream takes such keys, or ask the operator to \
         allow it (options.quirks.owner_fields)"
    );
    Failed::NotServed(Refusal::Invalid { message, param: Some(field) })
}

async fn attempt(
    pipeline: &Rc<Pipeline>,
    call: &Admitted,
    model: &ModelEntry,
    candidate: &Candidate,
    place: Place,
) -> Result<Attempt, Failed> {
    let target = &candidate.gate.target;
    let started_at = pipeline.clock.now();
    let spent = elapsed(call.arrived_at, started_at);
    if candidate.gate.is_in_drill(started_at) {
        return Err(Failure::Connect("an outage drill is under way".to_owned()).into());
    }
    let Some(mut plan) = Plan::choose(call.head.endpoint, &target.speaks) else {
        let message = format!("the model '{}' cannot be called at {}", call.model.id, call.head.endpoint.path());
        return Err(Failed::NotServed(Refusal::Invalid { message, param: Some("model".to_owned()) }));
    };
    let written = plan.write(&call.head, &call.body, &aim(call, model, candidate)).map_err(|error| Failed::NotServed(error.into()))?;
    let CallHead { version, betas, .. } = &call.head;
    let own_key = own_key(call, candidate);
    if own_key.is_none()
        && !target.quirks.owner_fields
        && let Some(field) = owners::field(plan.upstream(), &written.body)
    {
        return Err(not_the_owner(&target.name, field));
    }
    let answer = pipeline
        .connector
        .provider(target)
        .call(Call {
            endpoint: plan.upstream(),
            model: candidate.upstream_model.clone(),
            body: written.body,
            content_type: written.content_type,
            streamed: call.streamed,
            // Another format's version means nothing to the upstream.
            version: version.clone().filter(|_| plan.is_direct()),
            betas: betas.clone().filter(|_| plan.is_direct()),
            request_id: call.request_id.clone(),
            api_key: own_key.cloned(),
            deadline: Duration::from_millis(target.timeouts.total_ms).saturating_sub(spent),
        })
        .await
        .map_err(|failure| match own_key {
            Some(_) => own_key_failed(&target.name, failure),
            None => failure.into(),
        })?;
    candidate.gate.succeeded(elapsed(started_at, pipeline.clock.now()));
    let writing = writing(call, model);
    read_answer(
        pipeline,
        call,
        &plan,
        &writing,
        answer,
        Some(place),
        written.dropped,
        Keeping::of(call, plan.upstream(), &candidate.upstream_model),
        started_at,
    )
    .await
}

/// The answer that was kept for this call, as if its upstream had just sent it.
async fn from_cache(pipeline: &Rc<Pipeline>, call: &Admitted, kept: &cache::Kept) -> Result<Attempt, Failed> {
    let unusable = || Failure::Garbage("what was kept does not fit this call".to_owned());
    let candidate = cache::route_of(call, kept).ok_or_else(unusable)?;
    let mut plan = Plan::choose(call.head.endpoint, &[kept.endpoint]).ok_or_else(unusable)?;
    // Read once more, because an answer of another format may repeat parts of its call.
    let written =
        plan.write(&call.head, &call.body, &aim(call, &call.model, candidate)).map_err(|error| Failed::NotServed(error.into()))?;
    let content_type = if call.streamed { "text/event-stream" } else { "application/json" };
    let answer = Answer { status: 200, content_type: Some(content_type.to_owned()), body: Body::Stored(Some(kept.body.clone())) };
    let writing = writing(call, &call.model);
    read_answer(pipeline, call, &plan, &writing, answer, None, written.dropped, None, pipeline.clock.now()).await
}

fn writing(call: &Admitted, model: &ModelEntry) -> Writing {
    Writing {
        head: call.head.clone(),
        call_id: call.id.clone(),
        model: model.id.to_string(),
        created: call.arrived_at / SECOND,
        include_usage: call.include_usage,
        request: None,
    }
}

/// Reads an answer up to its first content, or to its end when it is not streamed.
#[expect(clippy::too_many_arguments, reason = "one step of an attempt, with everything the attempt knows")]
async fn read_answer(
    pipeline: &Rc<Pipeline>,
    call: &Admitted,
    plan: &Plan,
    writing: &Writing,
    answer: Answer,
    place: Option<Place>,
    dropped: Vec<String>,
    keeping: Option<Keeping>,
    started_at: Timestamp,
) -> Result<Attempt, Failed> {
    if call.streamed {
        let meter = plan.meter(writing).map_err(|garbage| Failure::Garbage(garbage.0))?;
        let opening = Opening::read(pipeline, meter, answer, place, keeping, started_at).await?;
        return Ok(Attempt { answer: Answered::Stream(Box::new(opening)), raw: None, keeping: None, dropped });
    }
    let Answer { body, content_type, .. } = answer;
    let body = body.collect(pipeline.policy.answer_bytes_max).await?;
    drop(place);
    let now = pipeline.clock.now();
    pipeline.metrics.stage(Stage::UpstreamTotal, elapsed(started_at, now));
    // Read here, because a good status with an error inside is a reason to try elsewhere.
    let whole = plan.whole(&body, content_type.as_deref(), writing).map_err(|garbage| Failure::Garbage(garbage.0))?;
    Ok(Attempt { answer: Answered::Whole(whole), raw: keeping.is_some().then_some(body), keeping, dropped })
}

/// A format that has to say a maximum of tokens says no more than was held for.
fn aim<'a>(call: &Admitted, model: &ModelEntry, candidate: &'a Candidate) -> Aim<'a> {
    let (quirks, can) = (candidate.gate.target.quirks, &model.model.capabilities);
    Aim {
        model: &candidate.upstream_model,
        max_output_tokens: model.model.max_output_tokens.map_or(call.output_tokens_max, |most| most.min(call.output_tokens_max)),
        quirks: Quirks {
            sampling: quirks.sampling && can.sampling != Some(false),
            json_schema: quirks.json_schema && can.json_schema != Some(false),
            ..quirks
        },
        drop_unsupported: call.head.drop_unsupported,
    }
}

async fn finish(
    pipeline: &Rc<Pipeline>,
    call: Box<Admitted>,
    source: Source,
    answer: Attempt,
    tried: &Tried,
    answered_by: Option<Arc<str>>,
    absent: &Cell<bool>,
) -> Result<Outgoing, CallError> {
    let Source { name: upstream, upstream_model, gate } = source;
    let Attempt { answer, raw, keeping, dropped } = answer;
    if let Some(gate) = gate.as_ref().filter(|_| tried.made == 1) {
        gate.called();
    }
    let mut facts = Facts {
        overhead_us: tried.overhead_us.unwrap_or(0),
        answered_by,
        deprecated_at: call.model.model.deprecated_at.as_deref().map(Arc::from),
        dropped,
        cached: call.cache_ttl.map(|_| gate.is_none()),
        ..Facts::new(upstream.clone(), call.rate)
    };
    let ending = Ending {
        outcome: if absent.get() { Outcome::ClientGone } else { Outcome::Completed },
        status: 200,
        error_code: None,
        upstream,
        upstream_model,
        attempts: tried.made,
        answer_id: None,
        first_byte_at: Some(pipeline.clock.now()),
    };
    let whole = match answer {
        Answered::Stream(opening) => {
            let content_type = stream_content_type(call.head.framing);
            let relay = Relay::new(pipeline.clone(), call, gate, *opening, ending);
            return Ok(Outgoing::Stream { facts, content_type, relay });
        }
        Answered::Whole(whole) => whole,
    };
    let metered = match whole.measured(call.input_tokens) {
        Some(measured) => metering::meter_measured(&call, &measured),
        None => metering::meter(&call, whole.usage(), || whole.produced_tokens()),
    };
    let ending = Ending { answer_id: whole.id().map(str::to_owned), ..ending };
    let (body, content_type) = whole.finish(&metered.charge(pipeline.clock.now()));
    facts.cost_micros = Some(metered.cost_micros);
    let kept = call.idempotency.is_some().then(|| Kept { content_type: &content_type, body: Some(body.clone()) });
    let response = call.keep.is_some().then(|| body.clone());
    let draft = call.draft.clone().map(|draft| (draft, ending.answer_id.clone()));
    settlement::capture(pipeline, call, metered, ending, kept, response).await.map_err(CallError::NotDurable)?;
    if let Some((draft, answer_id)) = draft {
        draft.file(pipeline, 200, &content_type, &body, answer_id);
    }
    if let (Some(keeping), Some(raw)) = (keeping, raw) {
        keeping.keep(pipeline, raw);
    }
    Ok(Outgoing::Whole { facts, status: 200, content_type: content_type.into_owned(), body })
}
