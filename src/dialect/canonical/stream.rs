//! What happens in a streamed answer.

use super::{Citation, Finish, Json, Signature, ToolKind};
use crate::domain::pricing::Quantities;

/// One step of a streamed answer.
///
/// Readers guarantee this order, so that writers need no buffers: `Start` once and first; per choice, blocks strictly one after the
/// other (`BlockStart`, its deltas, `BlockStop`), numbered from 0 without gaps; `Finish` once per choice after its last block;
/// `Usage` at any time, each replacing the one before; `End` or `Error` last, exactly one of them.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamEvent {
    Start {
        id: Option<String>,
        model: Option<String>,
    },
    BlockStart {
        choice: u32,
        block: u32,
        start: BlockStart,
    },
    /// Text of a text, refusal or reasoning block; a piece of a tool call's arguments.
    Delta {
        choice: u32,
        block: u32,
        text: String,
    },
    /// Of a reasoning or tool call block.
    Signed {
        choice: u32,
        block: u32,
        signature: Signature,
    },
    /// What a text block that is open is based on. A span lies in the text that was given out; without one it is the whole block, of which
    /// more may come.
    Cited {
        choice: u32,
        block: u32,
        citation: Citation,
    },
    BlockStop {
        choice: u32,
        block: u32,
    },
    /// Log probabilities of what came last, in OpenAI chat's shape.
    Logprobs {
        choice: u32,
        logprobs: Json,
    },
    /// Disjoint buckets, cumulative (`requests` is left at 0).
    Usage(Quantities),
    Finish {
        choice: u32,
        finish: Finish,
        stop_sequence: Option<String>,
    },
    /// The upstream's own sign of a good end.
    End,
    /// The upstream failed inside the stream.
    Error {
        message: String,
    },
    /// The upstream is alive and has nothing to say.
    Ping,
}

/// What begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockStart {
    Text,
    Refusal,
    Reasoning,
    ToolCall { id: String, name: String, kind: ToolKind },
}
