//! OpenAI's realtime events, peeked at while they pass: what costs, what names the model, what a response used.
//!
//! Events are forwarded as they came but for three kinds: those that carry a session (the model's name), and those that carry usage
//! (the cost). Absent on purpose: sockets (`http`, `upstream`) and the order in which things happen (`pipeline::realtime`).

mod from_client;
mod from_server;
mod sound;
mod usage;

pub use from_client::{FromClient, Input, Kind, Names};
pub use from_server::{FromServer, Part, ResponseDone, Transcribed, error_event};
pub use sound::{Format, Sound};

/// Closes the response that runs, as the one event of a caller's that the gateway itself sends.
pub const CANCEL_RESPONSE: &str = r#"{"type":"response.cancel"}"#;

/// Input tokens that an image is taken for before its usage is reported.
const IMAGE_TOKENS: u64 = 1_600;
