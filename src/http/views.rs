//! How rows read in answers, where more than one route shows them.

use jiff::Timestamp as Moment;
use serde::Serialize;

use crate::domain::{
    Micros, Timestamp,
    usage::{Outcome, UsageRecord},
};

/// A moment as RFC 3339, UTC.
pub fn rfc3339(moment: Timestamp) -> String {
    Moment::from_microsecond(moment).unwrap_or(Moment::UNIX_EPOCH).to_string()
}

/// One call, as usage lists show it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct UsageView {
    pub usage_id: String,
    /// What the caller saw as `x-request-id`.
    pub request_id: String,
    pub account_id: String,
    pub key_id: String,
    pub endpoint: String,
    pub model: String,
    pub upstream: String,
    pub upstream_model: String,
    /// HTTP status the caller saw.
    pub status: u16,
    pub outcome: Outcome,
    pub error_code: Option<String>,
    pub streamed: bool,
    /// True when the tokens are our own count.
    pub estimated: bool,
    /// Cached ones included.
    pub input_tokens: u64,
    pub cached_tokens: u64,
    pub cache_write_tokens: u64,
    /// Reasoning ones included.
    pub output_tokens: u64,
    pub reasoning_tokens: u64,
    pub cost_micros: Micros,
    pub answer_id: Option<String>,
    pub attempts: u32,
    pub started_at: String,
    pub first_byte_at: Option<String>,
    pub finished_at: String,
}

impl From<UsageRecord> for UsageView {
    fn from(record: UsageRecord) -> Self {
        let used = record.quantities;
        Self {
            usage_id: record.id,
            request_id: record.request_id,
            account_id: record.account_id,
            key_id: record.key_id,
            endpoint: record.endpoint,
            model: record.model,
            upstream: record.upstream,
            upstream_model: record.upstream_model,
            status: record.status,
            outcome: record.outcome,
            error_code: record.error_code,
            streamed: record.streamed,
            estimated: record.estimated,
            input_tokens: used.all_input_tokens(),
            cached_tokens: used.cached_input_tokens,
            cache_write_tokens: used.cache_write_tokens.saturating_add(used.cache_write_1h_tokens),
            output_tokens: used.all_output_tokens(),
            reasoning_tokens: used.reasoning_tokens,
            cost_micros: record.cost_micros,
            answer_id: record.answer_id,
            attempts: record.attempts,
            started_at: rfc3339(record.started_at),
            first_byte_at: record.first_byte_at.map(rfc3339),
            finished_at: rfc3339(record.finished_at),
        }
    }
}
