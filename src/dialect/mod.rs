//! Wire formats as pure functions over bytes: what a call asks for, what an answer says, what an event stream carries.
//!
//! When both sides of a call speak the same dialect, bodies are forwarded as they came: this layer only peeks at them with borrowed
//! structs and splices a few bytes in. Otherwise they go through the [`canonical`] form ([`translate`]). [`format`] is what every wire
//! format has to be able to do, [`plan`] and [`inbound`] choose among them for one call.
//!
//! Absent on purpose: HTTP (status codes live in `http::error`, sending in `upstream`), clocks and prices.

pub mod anthropic;
pub mod canonical;
pub mod converse;
mod cost;
mod counts;
mod embeddings;
mod encoding;
mod endpoint;
pub mod errors;
pub mod files;
pub mod format;
pub mod gemini;
mod inbound;
pub(crate) mod json;
mod losses;
pub mod media;
pub mod openai;
pub mod owners;
pub mod plan;
pub mod realtime;
pub mod responses;
pub mod sse;
pub mod texts;
pub mod tokens;
mod translate;

pub use cost::credits_text;
pub use endpoint::{Dialect, Endpoint};
pub use errors::{ErrorBody, parse_upstream_error};
pub use format::{CallHead, Chain, Charge, Framing, Garbage, Invalid, Measured, Meter, Step, Whole};
pub use inbound::Inbound;
pub use losses::FieldNames;

#[cfg(test)]
mod tests;
