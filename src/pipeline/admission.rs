//! From bytes to a call that may run: parse, find the model, hold the worst case with one `Admit`.

use std::{rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    CallError, CallGuard, Draft, Incoming, Outgoing, Pipeline, cache, counting, files, replay, routing,
    screening::{self, Said},
    stored,
};
use crate::{
    actors::{
        account::{Admission, Admit, CallFacts, HeldCredits, IdempotencyClaim, NotAdmitted, OwnKeys, RateState},
        catalog::{ModelEntry, Resolved},
        places::Place,
    },
    dialect::{CallHead, Endpoint, FieldNames, Inbound, canonical::Needs, tokens},
    domain::{
        Timestamp,
        catalog::Model,
        pricing::{Ceiling, Quantities},
        refusal::Refusal,
        route::Variant,
    },
};

/// How often a call asks again after the one it duplicated ended without an answer.
const ADMITS_MAX: u32 = 4;

/// A call that may run.
pub struct Admitted {
    pub head: CallHead,
    pub body: Bytes,
    pub id: String,
    pub request_id: String,
    pub arrived_at: Timestamp,
    /// Prices and routes as they were at this moment; they count to the end.
    pub model: Arc<ModelEntry>,
    /// Models that answer when no upstream of `model` does, in this order; each can do what the call needs.
    pub fallbacks: Vec<Arc<ModelEntry>>,
    pub variant: Option<Variant>,
    pub streamed: bool,
    pub include_usage: bool,
    /// Our count of the input.
    pub input_tokens: u64,
    /// What was held for.
    pub ceiling: Ceiling,
    /// Output tokens of one answer in that.
    pub output_tokens_max: u64,
    pub account_id: Arc<str>,
    pub key_id: Arc<str>,
    /// Keys of providers that the account brought itself.
    pub own_keys: Arc<OwnKeys>,
    pub held: HeldCredits,
    pub rate: RateState,
    pub idempotency: Option<IdempotencyClaim>,
    /// What is kept beside the answer, when the answer is.
    pub keep: Option<stored::Keep>,
    /// A place of the model that answers, when their number is limited.
    pub place: Option<Place>,
    /// How long the answer is kept for the same request; `None`: it is not.
    pub cache_ttl: Option<Duration>,
    /// What part of the cost is charged.
    pub charged_percent: u32,
    /// What is kept of the call, when it is.
    pub draft: Option<Rc<Draft>>,
    pub guard: CallGuard,
}

pub enum Outcome {
    Run(Box<Admitted>),
    Replay(Box<Outgoing>),
}

/// What was read of a body; the body itself is kept beside it.
struct Read {
    model: Arc<ModelEntry>,
    fallbacks: Vec<Arc<ModelEntry>>,
    variant: Option<Variant>,
    streamed: bool,
    include_usage: bool,
    input_tokens: u64,
    output_tokens_max: u64,
    choices: u64,
    /// The most of everything but tokens.
    fixed: Quantities,
}

pub async fn admit(pipeline: &Rc<Pipeline>, mut incoming: Incoming, guard: CallGuard) -> Result<Outcome, CallError> {
    let claim = incoming
        .idempotency_key
        .as_ref()
        .map(|key| IdempotencyClaim { key: key.clone(), request_hash: replay::request_hash(&incoming.head, &incoming.body) });
    if let Some(claim) = &claim {
        // An answer that was paid for is given again whatever has become of limits, credits or the model.
        let caller = pipeline.accounts.authenticate(&incoming.presented).await?;
        if let Some(answer) = replay::earlier(pipeline, &caller.account_id, claim).await? {
            return Ok(Outcome::Replay(Box::new(answer)));
        }
    }
    let started_at = pipeline.clock.now();
    // As it came in: what it names of earlier answers and of files is put into the body in the next steps.
    let sent = pipeline.policy.content.filter(|_| incoming.may_be_kept).map(|policy| (policy, incoming.body.clone()));
    let keep = stored::prepare(pipeline, &mut incoming).await?;
    if files::may_name(incoming.head.endpoint, &incoming.body) {
        let caller = pipeline.accounts.authenticate(&incoming.presented).await?;
        incoming.body = files::inline(pipeline, &caller.account_id, incoming.head.endpoint, &incoming.body).await?;
    }
    let read = match read(pipeline, &incoming).await {
        Ok(read) => read,
        Err(refusal) => {
            // Who has no valid key learns nothing about models or requests.
            pipeline.accounts.authenticate(&incoming.presented).await?;
            return Err(refusal.into());
        }
    };
    let mut undecided = screening::screen_call(pipeline, &incoming, &read.model.id).await?;
    let output_tokens = read.output_tokens_max.saturating_mul(read.choices);
    let ceiling = Ceiling { input_tokens: read.input_tokens, output_tokens, fixed: Quantities { requests: 1, ..read.fixed } };
    let hold = routing::dearest(std::iter::once(&read.model).chain(&read.fallbacks).map(|model| &**model), &ceiling);
    for _ in 0..ADMITS_MAX {
        let verdict = pipeline
            .accounts
            .admit(&incoming.presented, |account| {
                let what = "the database is out of reach, and the queue of charges that wait for it takes no more";
                let slot = pipeline.journal.slot().ok_or(Refusal::Overloaded { what, retry_after_ms: 1_000 })?;
                Ok(Admit {
                    credentials: incoming.presented.credentials,
                    call: CallFacts {
                        id: incoming.id.clone(),
                        request_id: incoming.request_id.clone(),
                        endpoint: incoming.head.endpoint.path(),
                        model: read.model.id.clone(),
                    },
                    hold,
                    tokens: read.input_tokens.saturating_add(output_tokens),
                    idempotency: claim.clone(),
                    slot,
                    account,
                })
            })
            .await?;
        let admission = match verdict {
            Ok(admission) => admission,
            Err(NotAdmitted::Refused(refusal, rate)) => return Err(CallError::Refused(refusal, Some(rate))),
            Err(NotAdmitted::Again) => continue,
            Err(NotAdmitted::Replay { account_id }) => {
                let Some(claim) = &claim else { continue };
                return replay::ended_just_now(pipeline, &account_id, claim).await.map(Box::new).map(Outcome::Replay);
            }
        };
        pipeline.metrics.stage(crate::telemetry::metrics::Stage::Admission, elapsed(started_at, pipeline.clock.now()));
        let Admission { account_id, key_id, options, own_keys, keeps_content, held, rate } = admission;
        if let Some(claim) = &claim
            && let Some(answer) = replay::earlier(pipeline, &account_id, claim).await?
        {
            held.release(None);
            return Ok(Outcome::Replay(Box::new(answer)));
        }
        if let Some(undecided) = undecided.take()
            && let Err(refused) = undecided.decide(pipeline, Said::in_call(&incoming, &read.model.id)).await
        {
            held.release(None);
            return Err(refused);
        }
        let Incoming { mut head, body, id, request_id, arrived_at, cache, .. } = incoming;
        head.drop_unsupported |= options.drop_unsupported;
        let Read { model, fallbacks, variant, streamed, include_usage, input_tokens, output_tokens_max, .. } = read;
        let mut admitted = Box::new(Admitted {
            head,
            body,
            id,
            request_id,
            arrived_at,
            model,
            fallbacks,
            variant,
            streamed,
            include_usage,
            input_tokens,
            ceiling,
            output_tokens_max,
            account_id,
            key_id,
            own_keys,
            held,
            rate,
            idempotency: claim,
            keep,
            place: None,
            cache_ttl: cache::ttl(&pipeline.policy.cache, cache, options.cache_ttl_seconds),
            charged_percent: 100,
            draft: None,
            guard,
        });
        admitted.draft = sent.filter(|_| keeps_content).map(|(policy, sent)| Draft::of(policy, &admitted, &sent));
        return Ok(Outcome::Run(admitted));
    }
    Err(Refusal::Overloaded { what: "calls with this Idempotency-Key keep failing", retry_after_ms: 1_000 }.into())
}

async fn read(pipeline: &Rc<Pipeline>, incoming: &Incoming) -> Result<Read, Refusal> {
    let call = Inbound::read(&incoming.head, &incoming.body)?;
    let snapshot = pipeline.catalog.snapshot();
    let named = call.model();
    let Resolved { entry: model, variant } = snapshot.resolve(&named).ok_or_else(|| Refusal::ModelNotFound(shown(&named)))?;
    let model = model.clone();
    let endpoint = incoming.head.endpoint;
    if !endpoint.kind_allows(model.model.kind) {
        let message = format!("the model '{}' cannot be called at {}", model.id, endpoint.path());
        return Err(Refusal::Invalid { message, param: Some("model".to_owned()) });
    }
    check_capabilities(&model.model, call.needs(), call.streamed(), endpoint)?;
    check_context(&model.model, call.text_bytes() as u64 / tokens::LONGEST_BYTES)?;
    let input_tokens = counting::input_tokens(pipeline, &call, &incoming.head, &incoming.body).await?;
    check_context(&model.model, input_tokens)?;
    let serves = |entry: &&Arc<ModelEntry>| {
        endpoint.kind_allows(entry.model.kind)
            && check_capabilities(&entry.model, call.needs(), call.streamed(), endpoint).is_ok()
            && check_context(&entry.model, input_tokens).is_ok()
    };
    let fallbacks: Vec<_> = model.model.routing.fallbacks.iter().filter_map(|id| snapshot.model(id)).filter(serves).cloned().collect();
    let cap = pipeline.policy.output_tokens_hold_max;
    // Whichever of the chain answers: none of them is asked for more.
    let chain = std::iter::once(&model).chain(&fallbacks);
    let models_max = chain.map(|entry| entry.model.max_output_tokens.unwrap_or(cap)).max().unwrap_or(cap).min(cap);
    let choices = call.choices();
    Ok(Read {
        streamed: call.streamed(),
        include_usage: call.include_usage(),
        output_tokens_max: call.max_output_tokens().map_or(models_max, |asked| asked.min(models_max)),
        choices,
        fixed: call.fixed(),
        input_tokens,
        fallbacks,
        variant,
        model,
    })
}

/// What the catalogue knows a model cannot do is refused before its upstream is asked.
fn check_capabilities(model: &Model, needs: Needs, streamed: bool, caller: Endpoint) -> Result<(), Refusal> {
    let can = &model.capabilities;
    let names = FieldNames::of(caller);
    let checks = [
        (needs.vision, can.vision, "images", Some(names.messages)),
        (needs.documents, can.documents, "documents", Some(names.messages)),
        (needs.audio_input, can.audio_input, "audio", Some(names.messages)),
        (needs.tools, can.tools, "tools", Some(names.tools)),
        (needs.json_schema, can.json_schema, "a JSON schema for its answer", Some(names.output_format)),
        (streamed, can.streaming, "streaming", names.stream),
    ];
    match checks.into_iter().find(|(needed, known, ..)| *needed && *known == Some(false)) {
        Some((_, _, what, param)) => Err(Refusal::Invalid {
            message: format!("the model '{}' does not take {what}; GET /v1/models shows what each model can do", model.id),
            param: param.map(str::to_owned),
        }),
        None => Ok(()),
    }
}

/// Our count differs from the vendor's by up to a third, so only what surely does not fit is refused here.
fn check_context(model: &Model, input_tokens: u64) -> Result<(), Refusal> {
    let Some(window) = model.max_input_tokens.or(model.context_window) else { return Ok(()) };
    if input_tokens <= window.saturating_add(window / 2) {
        return Ok(());
    }
    let message =
        format!("the input has about {input_tokens} tokens, and the model '{}' takes {window}; send less, or another model", model.id);
    Err(Refusal::Invalid { message, param: None })
}

/// A caller's text as it may stand in our own: bounded, and without control characters.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(200).map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

pub(super) fn elapsed(from: Timestamp, to: Timestamp) -> std::time::Duration {
    std::time::Duration::from_micros(u64::try_from(to - from).unwrap_or(0))
}
