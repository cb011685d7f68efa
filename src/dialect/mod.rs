//! Wire formats as pure functions over bytes: what a call asks for, what an answer says, what an event stream carries.
//!
//! Bodies are forwarded as they came; this layer only peeks at them with borrowed structs and splices a few bytes in.
//! Absent on purpose: HTTP (status codes live in `http::error`, sending in `upstream`), clocks, prices, and any tree of JSON values.

pub(crate) mod json;
pub mod openai;
pub mod sse;
pub mod tokens;
