//! The OpenAI wire format of chat completions, completions and embeddings, as client and as upstream speak it.
//!
//! `request` and `input` read what a call asks for, `answer`, `produced` and `usage` what it got, `stream` follows an event stream,
//! `errors` writes and reads error bodies. Absent on purpose: the Responses API, and any change of fields beyond the model's name,
//! `stream_options.include_usage` and the cost.

pub(in crate::dialect) mod annotations;
pub mod answer;
pub mod chat;
pub mod embeddings;
pub mod errors;
mod input;
pub(in crate::dialect) mod media;
mod produced;
pub mod request;
pub mod stream;
mod usage;

pub use answer::Answer;
pub use request::Request;
pub use stream::StreamMeter;

use serde_json::value::RawValue;

use crate::dialect::json::Prose;

/// Whether an object says in itself that it is an error: a top-level `error`, or vLLM's `{"object":"error"}`.
pub(in crate::dialect) fn stated_error(object: Option<&Prose<'_>>, error: Option<&RawValue>) -> bool {
    object.is_some_and(|object| object.0 == "error") || error.is_some_and(|error| !matches!(error.get(), "null" | "false" | "\"\"" | "{}"))
}
