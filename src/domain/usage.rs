//! What is remembered of one call.

use serde::{Deserialize, Serialize};

use super::{Micros, Timestamp, pricing::Quantities};

/// How a call ended, as the charging contract tells the endings apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The answer was delivered whole.
    Completed,
    /// The upstream failed before the first content byte; nothing is charged.
    UpstreamFailed,
    /// The upstream broke off mid-stream; what was delivered is charged.
    UpstreamInterrupted,
    /// The client hung up before the end.
    ClientGone,
    /// We cut the stream because the drain limit of a shutdown was reached.
    Drained,
    /// The node died while the call ran; nothing is charged.
    Unknown,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::UpstreamFailed => "upstream_failed",
            Self::UpstreamInterrupted => "upstream_interrupted",
            Self::ClientGone => "client_gone",
            Self::Drained => "drained",
            Self::Unknown => "unknown",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Completed, Self::UpstreamFailed, Self::UpstreamInterrupted, Self::ClientGone, Self::Drained, Self::Unknown]
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
    }
}

/// One call, charged or not. `id` is ours (`req_…`, unique); `request_id` is what the caller saw in `x-request-id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRecord {
    pub id: String,
    pub request_id: String,
    pub account_id: String,
    pub key_id: String,
    /// Path of the route, for example `/v1/chat/completions`.
    pub endpoint: String,
    pub model: String,
    pub upstream: String,
    pub upstream_model: String,
    /// HTTP status the caller saw.
    pub status: u16,
    pub outcome: Outcome,
    /// Error code the caller saw, if any.
    pub error_code: Option<String>,
    pub streamed: bool,
    /// True when the quantities are our own count and not the upstream's.
    pub estimated: bool,
    pub quantities: Quantities,
    pub cost_micros: Micros,
    /// Id inside the answer body (`chatcmpl-…`), when it had one.
    pub answer_id: Option<String>,
    /// Upstream attempts made, at least 1 when an upstream was called.
    pub attempts: u32,
    pub started_at: Timestamp,
    /// When the first content byte was handed to the caller.
    pub first_byte_at: Option<Timestamp>,
    pub finished_at: Timestamp,
}
