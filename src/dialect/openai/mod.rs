//! The OpenAI wire format of chat completions, completions and embeddings, as client and as upstream speak it.
//!
//! `request` and `input` read what a call asks for, `answer`, `produced` and `usage` what it got, `stream` follows an event stream,
//! `errors` writes and reads error bodies. Absent on purpose: the Responses API, and any change of fields beyond the model's name,
//! `stream_options.include_usage` and the cost.

pub mod answer;
pub mod errors;
mod input;
mod produced;
pub mod request;
pub mod stream;
mod usage;

pub use answer::{Answer, Garbage};
pub use errors::{ErrorBody, error_event, parse_upstream_error};
pub use request::{Invalid, Request};
pub use stream::{Step, StreamMeter};
pub use usage::credits as credits_text;

use serde_json::value::RawValue;

use crate::{dialect::json::Prose, domain::catalog::ModelKind};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    ChatCompletions,
    Completions,
    Embeddings,
}

impl Endpoint {
    pub const ALL: [Self; 3] = [Self::ChatCompletions, Self::Completions, Self::Embeddings];

    /// Our own route.
    pub fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
        }
    }

    /// Path below an upstream's base URL, which ends with `/v1` itself.
    pub fn upstream_path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/chat/completions",
            Self::Completions => "/completions",
            Self::Embeddings => "/embeddings",
        }
    }

    /// Whether models of this kind can be called here. Chat models also take plain prompts.
    pub fn kind_allows(self, kind: ModelKind) -> bool {
        match self {
            Self::ChatCompletions => kind == ModelKind::Chat,
            Self::Completions => matches!(kind, ModelKind::Chat | ModelKind::Completion),
            Self::Embeddings => kind == ModelKind::Embedding,
        }
    }
}

/// Whether an object says in itself that it is an error: a top-level `error`, or vLLM's `{"object":"error"}`.
fn stated_error(object: Option<&Prose<'_>>, error: Option<&RawValue>) -> bool {
    object.is_some_and(|object| object.0 == "error") || error.is_some_and(|error| !matches!(error.get(), "null" | "false" | "\"\"" | "{}"))
}
