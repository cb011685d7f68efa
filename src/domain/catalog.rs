//! Models, their prices and routes, and the upstreams that serve them, as the operator configured them.

use serde::{Deserialize, Serialize};

pub use super::provider::{AzureStyle, ProviderKind, UpstreamOptions};
use super::{Timestamp, pricing::Price};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    Chat,
    Completion,
    Embedding,
    Image,
    Audio,
    Moderation,
    Rerank,
    Video,
    Render,
}

/// One candidate that can serve a model. Lower `priority` is tried first; within one priority, by `weight`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Name of the upstream.
    pub upstream: String,
    /// What the upstream calls the model.
    pub upstream_model: String,
    #[serde(default = "default_weight")]
    pub weight: u32,
    #[serde(default)]
    pub priority: i32,
}

fn default_weight() -> u32 {
    1
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// What callers name, for example `openai/gpt-4o-mini` or `pixgate/echo`.
    pub id: String,
    pub kind: ModelKind,
    pub display_name: String,
    /// Tokens of input and output together.
    pub context_window: Option<u64>,
    pub max_output_tokens: Option<u64>,
    pub prices: Vec<Price>,
    pub routes: Vec<Route>,
    pub enabled: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// How long to wait for an upstream, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    pub connect_ms: u64,
    /// From the request's last byte to the answer's first.
    pub first_byte_ms: u64,
    /// Longest silence between two chunks of an answer.
    pub idle_ms: u64,
    /// The whole call, all attempts together.
    pub total_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect_ms: 5_000, first_byte_ms: 120_000, idle_ms: 60_000, total_ms: 600_000 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    pub name: String,
    pub provider: ProviderKind,
    /// What the vendor's own SDK takes, for OpenAI-compatible servers with `/v1`. Empty for the provider's own.
    pub base_url: String,
    /// Secret of the upstream, sealed (AES-256-GCM); empty when it needs none.
    pub sealed_api_key: Vec<u8>,
    /// Further secrets that take turns with it: a JSON array of texts, sealed as one; empty when there are none.
    pub sealed_api_keys: Vec<u8>,
    pub options: UpstreamOptions,
    pub weight: u32,
    pub priority: i32,
    /// Calls at the same time; `None` is unlimited.
    pub max_concurrency: Option<u32>,
    pub timeouts: Timeouts,
    pub enabled: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Upstream {
    /// One at the provider's own address, without keys and with the usual patience.
    pub fn new(name: impl Into<String>, provider: ProviderKind, now: Timestamp) -> Self {
        Self {
            name: name.into(),
            provider,
            base_url: String::new(),
            sealed_api_key: Vec::new(),
            sealed_api_keys: Vec::new(),
            options: UpstreamOptions::default(),
            weight: 1,
            priority: 0,
            max_concurrency: None,
            timeouts: Timeouts::default(),
            enabled: true,
            created_at: now,
            updated_at: now,
        }
    }
}
