//! The hold that stands open while a session does, and the charge that each response makes of it.

use std::{rc::Rc, sync::Arc};

use super::{Opening, conversation::Conversation};
use crate::{
    actors::{
        account::{Admission, Admit, CallFacts, HeldCredits, NotAdmitted, OwnKeys, RateState},
        catalog::{Candidate, ModelEntry},
        directory::Presented,
    },
    dialect::Endpoint,
    domain::{
        Micros, Timestamp,
        pricing::{Ceiling, Quantities},
        refusal::Refusal,
        usage::{Outcome, UsageRecord},
    },
    pipeline::{CallError, FailureClass, Pipeline, metering},
    upstream::Failure,
};

/// What a caller of a session saw as its HTTP status.
const SWITCHING_PROTOCOLS: u16 = 101;

/// The charges of one session.
pub struct Charges {
    pipeline: Rc<Pipeline>,
    presented: Presented,
    model: Arc<ModelEntry>,
    request_id: String,
    /// Of the request itself, for the first record.
    first_id: Option<String>,
    upstream: Arc<str>,
    upstream_model: Arc<str>,
    attempts: u32,
    charged_percent: u32,
    standing: Option<Standing>,
}

/// The hold for the response to come, or that runs.
struct Standing {
    held: HeldCredits,
    id: String,
    placed_at: Timestamp,
    account_id: Arc<str>,
    key_id: Arc<str>,
    input_tokens: u64,
}

/// What an admission says beside its hold.
pub struct Admitted {
    pub own_keys: Arc<OwnKeys>,
    pub rate: RateState,
}

/// A piece of a session that ended.
pub struct Ended {
    pub quantities: Quantities,
    pub estimated: bool,
    pub outcome: Outcome,
    pub error_code: Option<&'static str>,
    pub answer_id: Option<String>,
    pub started_at: Option<Timestamp>,
    pub first_byte_at: Option<Timestamp>,
}

impl Charges {
    pub fn new(pipeline: Rc<Pipeline>, opening: &Opening, model: Arc<ModelEntry>) -> Self {
        Self {
            pipeline,
            presented: opening.presented.clone(),
            model,
            request_id: opening.request_id.clone(),
            first_id: Some(opening.id.clone()),
            upstream: "".into(),
            upstream_model: "".into(),
            attempts: 0,
            charged_percent: 100,
            standing: None,
        }
    }

    pub fn model_id(&self) -> &str {
        &self.model.id
    }

    /// Whom the session is relayed to, and what part of the price is charged.
    pub fn answered_by(&mut self, candidate: &Candidate, attempts: u32, charged_percent: u32) {
        self.upstream = candidate.gate.name().into();
        self.upstream_model = candidate.upstream_model.clone();
        self.attempts = attempts;
        self.charged_percent = charged_percent;
    }

    /// The most that the next response can use: the conversation so far with what may be added to it, and the longest answer.
    pub fn ceiling(&self, conversation: &Conversation) -> Ceiling {
        let (model, policy) = (&self.model.model, &self.pipeline.policy);
        let input_tokens = conversation.tokens().saturating_add(policy.realtime.input_tokens_hold).min(self.window());
        let output_tokens = model.max_output_tokens.map_or(policy.output_tokens_hold_max, |max| max.min(policy.output_tokens_hold_max));
        Ceiling { input_tokens, output_tokens, fixed: Quantities { requests: 1, ..Quantities::default() } }
    }

    fn window(&self) -> u64 {
        self.model.model.max_input_tokens.or(self.model.model.context_window).unwrap_or(u64::MAX)
    }

    /// Whether the conversation has outgrown what was held for.
    pub fn is_outgrown(&self, conversation: &Conversation) -> bool {
        self.standing
            .as_ref()
            .is_some_and(|standing| conversation.tokens() > standing.input_tokens && standing.input_tokens < self.window())
    }

    /// Holds the worst case of the next response; a hold that stands is released first.
    pub async fn admit(&mut self, conversation: &Conversation) -> Result<Admitted, CallError> {
        self.release();
        let pipeline = &self.pipeline;
        let ceiling = self.ceiling(conversation);
        let hold = self.model.prices.worst_case(&ceiling);
        let id = self.first_id.take().unwrap_or_else(|| pipeline.clock.new_id("req"));
        let verdict = pipeline
            .accounts
            .admit(&self.presented, |account| {
                let what = "the database is out of reach, and the queue of charges that wait for it takes no more";
                let slot = pipeline.journal.slot().ok_or(Refusal::Overloaded { what, retry_after_ms: 1_000 })?;
                Ok(Admit {
                    credentials: self.presented.credentials,
                    call: CallFacts {
                        id: id.clone(),
                        request_id: self.request_id.clone(),
                        endpoint: Endpoint::Realtime.path(),
                        model: self.model.id.clone(),
                    },
                    hold,
                    tokens: ceiling.input_tokens.saturating_add(ceiling.output_tokens),
                    idempotency: None,
                    slot,
                    account,
                })
            })
            .await?;
        let Admission { account_id, key_id, own_keys, held, rate, .. } = match verdict {
            Ok(admission) => admission,
            Err(NotAdmitted::Refused(refusal, rate)) => return Err(CallError::Refused(refusal, Some(rate))),
            Err(NotAdmitted::Again | NotAdmitted::Replay { .. }) => {
                return Err(CallError::Internal("a call without an Idempotency-Key was taken for a duplicate".to_owned()));
            }
        };
        let placed_at = pipeline.clock.now();
        self.standing = Some(Standing { held, id, placed_at, account_id, key_id, input_tokens: ceiling.input_tokens });
        Ok(Admitted { own_keys, rate })
    }

    /// Books what a response, or a transcript, used, and waits until that is durable. The hold is gone afterwards.
    pub async fn capture(&mut self, ended: Ended) -> Result<Micros, CallError> {
        let Some(standing) = self.standing.take() else {
            return Err(CallError::Internal("a response of a realtime session ended without a hold".to_owned()));
        };
        let full = self.model.prices.cost(&ended.quantities).unwrap_or_else(|_| {
            tracing::error!(usage.id = %standing.id, model = %self.model.id, "reported usage is too large to be priced; charged the hold");
            standing.held.amount()
        });
        let cost_micros = metering::part(full, self.charged_percent);
        let (held, record) = self.record(standing, ended, cost_micros);
        if let Some(charge) = held.capture(record, None).await {
            charge.durable().await.map_err(CallError::NotDurable)?;
        }
        Ok(cost_micros)
    }

    /// Ends the hold without a charge and leaves a record of why.
    pub fn release_with(&mut self, ended: Ended) {
        if let Some(standing) = self.standing.take() {
            let (held, record) = self.record(standing, ended, 0);
            held.release(Some(record));
        }
    }

    /// Ends the hold of something that never began.
    pub fn release(&mut self) {
        if let Some(standing) = self.standing.take() {
            standing.held.release(None);
        }
    }

    /// No upstream agreed to the session.
    pub fn connect_failed(&mut self, failure: &Failure, attempts: u32) {
        self.attempts = attempts;
        let (_, code) = FailureClass::of(failure).shown();
        self.release_with(Ended::without_usage(Outcome::UpstreamFailed, Some(code)));
    }

    fn record(&self, standing: Standing, ended: Ended, cost_micros: Micros) -> (HeldCredits, UsageRecord) {
        self.pipeline.metrics.call_ended(Endpoint::Realtime, ended.outcome);
        let record = UsageRecord {
            id: standing.id,
            request_id: self.request_id.clone(),
            account_id: standing.account_id.to_string(),
            key_id: standing.key_id.to_string(),
            endpoint: Endpoint::Realtime.path().to_owned(),
            model: self.model.id.to_string(),
            upstream: self.upstream.to_string(),
            upstream_model: self.upstream_model.to_string(),
            status: SWITCHING_PROTOCOLS,
            outcome: ended.outcome,
            error_code: ended.error_code.map(str::to_owned),
            streamed: true,
            estimated: ended.estimated,
            quantities: ended.quantities,
            cost_micros,
            answer_id: ended.answer_id,
            attempts: self.attempts,
            started_at: ended.started_at.unwrap_or(standing.placed_at),
            first_byte_at: ended.first_byte_at,
            finished_at: self.pipeline.clock.now(),
        };
        (standing.held, record)
    }
}

impl Ended {
    /// Nothing was delivered, so nothing is charged.
    pub fn without_usage(outcome: Outcome, error_code: Option<&'static str>) -> Self {
        Self {
            quantities: Quantities::default(),
            estimated: false,
            outcome,
            error_code,
            answer_id: None,
            started_at: None,
            first_byte_at: None,
        }
    }
}
