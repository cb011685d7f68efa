//! A call in no vendor's words: what a chat asks, what it is answered and the events of its stream; and the same for embeddings.
//!
//! Every chat dialect reads into these types and writes from them, so that N dialects need N readers and writers instead of N × N
//! translations. Absent on purpose: wire formats (one module each beside this one), and calls whose two sides speak the same dialect,
//! which are forwarded as they came and never pass through here.

mod answer;
pub mod citation;
mod embeddings;
mod json;
mod request;
mod stream;

pub use answer::{Answer, Choice, Finish};
pub use citation::Citation;
pub use embeddings::{Embedded, EmbeddingInput, Embeddings, Encoding, Vector};
pub use json::Json;
pub use request::{
    Block, CacheHint, Content, Effort, Needs, OutputFormat, Reasoning, Request, Role, Sampling, Signature, Source, Tool, ToolChoice,
    ToolKind, Turn, Unmodelled,
};
pub use stream::{BlockStart, StreamEvent};
