//! The exchange with upstreams: one attempt after the other, over all candidates, until the first content byte.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use tokio::sync::oneshot;

use super::{
    CallError, Facts, FailureClass, Outgoing, Pipeline,
    admission::{Admitted, elapsed},
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
        plan::Plan,
    },
    domain::{SECOND, refusal::Refusal, usage::Outcome},
    telemetry::metrics::Stage,
    upstream::{Answer, Call, Failure},
};

/// The longest `retry-after` that a call waits for. An upstream that asks for more is not asked again by the same call.
const PATIENCE: Duration = Duration::from_secs(1);

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
    /// Fields that were not carried to the upstream.
    dropped: Vec<String>,
}

enum Answered {
    Whole(Box<dyn Whole>),
    Stream(Box<Opening>),
}

/// Why an attempt brought nothing.
enum Failed {
    /// Nothing was sent, because the call cannot be said in the upstream's format.
    NotSent(Refusal),
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
    not_sent: Option<Refusal>,
}

async fn attempt_all(pipeline: &Rc<Pipeline>, mut call: Box<Admitted>, absent: &Cell<bool>) -> Result<Outgoing, CallError> {
    let mut tried = Tried::default();
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
            let asked = std::mem::replace(&mut call.model, model.clone());
            call.place = place;
            let answered_by = (!Arc::ptr_eq(&asked, model)).then(|| model.id.clone());
            return finish(pipeline, call, candidate, answer, &tried, answered_by, absent).await;
        }
        // What this caller's request brought about would come about again.
        let falls_back = tried.failed.as_ref().is_none_or(|(failure, ..)| failure.may_fail_over());
        if absent.get() || !falls_back {
            break;
        }
    }
    match (tried.failed, tried.busy, tried.not_sent) {
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
            Err(Failed::NotSent(refusal)) => {
                // No attempt was made: another upstream may speak a format that can say it.
                excluded[index] = true;
                tried.not_sent.get_or_insert(refusal);
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
                let is_hopeless = !failure.is_retryable() || matches!(failure, Failure::TimedOut { .. });
                excluded[index] = is_hopeless || failure.retry_after().is_some_and(|wait| wait > PATIENCE);
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

/// The pause before the same upstream is asked again: doubling, or what it asked for if that is longer.
fn backoff(pipeline: &Pipeline, attempts: usize, failure: &Failure) -> Duration {
    let doubled = pipeline.policy.retry_backoff.saturating_mul(1 << attempts.saturating_sub(1).min(6));
    doubled.max(failure.retry_after().unwrap_or_default())
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
    let Some(mut plan) = Plan::choose(call.head.endpoint, target.speaks) else {
        let message = format!("the model '{}' cannot be called at {}", call.model.id, call.head.endpoint.path());
        return Err(Failed::NotSent(Refusal::Invalid { message, param: Some("model".to_owned()) }));
    };
    let written =
        plan.write(&call.head, &call.body, &aim(pipeline, call, model, candidate)).map_err(|error| Failed::NotSent(error.into()))?;
    let CallHead { version, betas, .. } = &call.head;
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
            deadline: Duration::from_millis(target.timeouts.total_ms).saturating_sub(spent),
        })
        .await?;
    candidate.gate.succeeded(elapsed(started_at, pipeline.clock.now()));
    let writing = Writing {
        head: call.head.clone(),
        call_id: call.id.clone(),
        model: model.id.to_string(),
        created: call.arrived_at / SECOND,
        include_usage: call.include_usage,
        request: None,
    };
    let dropped = written.dropped;
    if call.streamed {
        let meter = plan.meter(&writing).map_err(|garbage| Failure::Garbage(garbage.0))?;
        let opening = Opening::read(pipeline, meter, answer, place, started_at).await?;
        return Ok(Attempt { answer: Answered::Stream(Box::new(opening)), dropped });
    }
    let Answer { body, .. } = answer;
    let body = body.collect(pipeline.policy.answer_bytes_max).await?;
    drop(place);
    let now = pipeline.clock.now();
    pipeline.metrics.stage(Stage::UpstreamTotal, elapsed(started_at, now));
    // Read here, because a good status with an error inside is a reason to try elsewhere.
    let whole = plan.whole(&body, &writing).map_err(|garbage| Failure::Garbage(garbage.0))?;
    Ok(Attempt { answer: Answered::Whole(whole), dropped })
}

fn aim<'a>(pipeline: &Pipeline, call: &Admitted, model: &ModelEntry, candidate: &'a Candidate) -> Aim<'a> {
    let (quirks, can) = (candidate.gate.target.quirks, &model.model.capabilities);
    Aim {
        model: &candidate.upstream_model,
        max_output_tokens: model.model.max_output_tokens.unwrap_or(pipeline.policy.output_tokens_hold_max),
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
    candidate: &Candidate,
    answer: Attempt,
    tried: &Tried,
    answered_by: Option<Arc<str>>,
    absent: &Cell<bool>,
) -> Result<Outgoing, CallError> {
    let upstream: Arc<str> = candidate.gate.name().into();
    let Attempt { answer, dropped } = answer;
    if tried.made == 1 {
        candidate.gate.called();
    }
    let mut facts = Facts {
        overhead_us: tried.overhead_us.unwrap_or(0),
        answered_by,
        deprecated_at: call.model.model.deprecated_at.as_deref().map(Arc::from),
        dropped,
        ..Facts::new(upstream.clone(), call.rate)
    };
    let ending = Ending {
        outcome: if absent.get() { Outcome::ClientGone } else { Outcome::Completed },
        status: 200,
        error_code: None,
        upstream,
        upstream_model: candidate.upstream_model.clone(),
        attempts: tried.made,
        answer_id: None,
        first_byte_at: Some(pipeline.clock.now()),
    };
    let whole = match answer {
        Answered::Stream(opening) => {
            let content_type = stream_content_type(call.head.framing);
            let relay = Relay::new(pipeline.clone(), call, candidate.gate.clone(), *opening, ending);
            return Ok(Outgoing::Stream { facts, content_type, relay });
        }
        Answered::Whole(whole) => whole,
    };
    let metered = metering::meter(&call, whole.usage(), || whole.produced_tokens());
    let ending = Ending { answer_id: whole.id().map(str::to_owned), ..ending };
    let (body, content_type) = whole.finish(&metered.charge());
    facts.cost_micros = Some(metered.cost_micros);
    let kept = call.idempotency.is_some().then(|| Kept { content_type: &content_type, body: Some(body.clone()) });
    settlement::capture(pipeline, call, metered, ending, kept).await.map_err(CallError::NotDurable)?;
    Ok(Outgoing::Whole { facts, status: 200, content_type: content_type.into_owned(), body })
}
