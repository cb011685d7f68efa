//! What a wire format has to be able to do, seen from the pipeline.

use std::borrow::Cow;

use bytes::Bytes;

use super::{Endpoint, canonical, sse::Event};
use crate::domain::{Micros, pricing::Quantities, refusal::Refusal};

/// The body is no call we can read. `param` names the field, as in OpenAI's errors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    pub message: String,
    pub param: Option<String>,
}

impl Invalid {
    pub fn body(message: impl Into<String>) -> Self {
        Self { message: message.into(), param: None }
    }

    /// `problem` continues a sentence that begins with the field's name.
    pub fn field(name: impl Into<String>, problem: &str) -> Self {
        let name = name.into();
        Self { message: format!("'{name}' {problem}"), param: Some(name) }
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid { message: invalid.message, param: invalid.param }
    }
}

/// The upstream's wire format or model has no way to say what the caller asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{field}' cannot be carried to this model: {why}; leave it out, or send 'x-pixgate-drop-unsupported: true' to have it dropped")]
pub struct Unsupported {
    /// As the caller wrote it.
    pub field: String,
    pub why: String,
}

impl From<Unsupported> for Refusal {
    fn from(unsupported: Unsupported) -> Self {
        Self::Invalid { message: unsupported.to_string(), param: Some(unsupported.field) }
    }
}

/// The answer is none we can understand, or an error although its status said success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Garbage(pub String);

/// How a streamed answer is framed for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    #[default]
    Events,
    /// One JSON array, as Gemini streams without `alt=sse`.
    JsonArray,
}

/// What the gateway keeps of a call in OpenAI's Responses, and which earlier one it continues.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chain {
    /// Whether the answer can be asked for and continued later.
    pub kept: bool,
    /// The earlier answer, whose items stand at the beginning of the body's `input` already.
    pub previous_id: Option<String>,
    /// How many those are.
    pub earlier_items: usize,
}

/// What the route and the headers of a call say, beside its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallHead {
    pub endpoint: Endpoint,
    /// Model and streaming, where the path says them (Gemini).
    pub model: Option<String>,
    pub streamed: Option<bool>,
    pub framing: Framing,
    /// `content-type` of the body, where it is not JSON.
    pub content_type: Option<String>,
    /// `anthropic-version` and `anthropic-beta`.
    pub version: Option<String>,
    pub betas: Option<String>,
    /// Leave out what the upstream cannot express instead of refusing the call.
    pub drop_unsupported: bool,
    pub chain: Chain,
    /// Only the input is to be counted: what only an answer needs may be missing.
    pub counts_only: bool,
}

impl CallHead {
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            model: None,
            streamed: None,
            framing: Framing::default(),
            content_type: None,
            version: None,
            betas: None,
            drop_unsupported: false,
            chain: Chain::default(),
            counts_only: false,
        }
    }
}

/// How a model wants to be told how much to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningStyle {
    /// A word: OpenAI's effort, Anthropic's adaptive thinking with effort, Gemini's level.
    #[default]
    Effort,
    /// A number of tokens: Anthropic's enabled thinking, Gemini's budget.
    Budget,
}

/// What differs between servers that claim the same wire format; data of an upstream's preset, refined by the model's capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quirks {
    /// Takes `max_completion_tokens`; older servers only know `max_tokens`.
    pub max_completion_tokens: bool,
    /// Takes `stream_options.include_usage`.
    pub stream_usage: bool,
    /// Knows the role `developer`; others get `system`.
    pub developer_role: bool,
    /// Takes `response_format` with a JSON schema; others get the forced-tool form or are refused.
    pub json_schema: bool,
    /// Takes temperature, top_p and top_k.
    pub sampling: bool,
    /// A chat server that takes `top_k`, as many do; OpenAI's own does not.
    pub top_k: bool,
    /// A chat server that takes back what its model thought: `reasoning_content`, `reasoning_details` and `extra_content`.
    pub reasoning_input: bool,
    /// Such a server reads thoughts from `reasoning`; they are written there beside `reasoning_content`.
    pub reasoning_member: bool,
    pub reasoning: ReasoningStyle,
    /// Callers may ask for what only the owner of the account there may: see [`super::owners`].
    pub owner_fields: bool,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            max_completion_tokens: true,
            stream_usage: true,
            developer_role: true,
            json_schema: true,
            sampling: true,
            top_k: false,
            reasoning_input: false,
            reasoning_member: false,
            reasoning: ReasoningStyle::Effort,
            owner_fields: false,
        }
    }
}

/// Where a call goes.
#[derive(Debug, Clone, Copy)]
pub struct Aim<'a> {
    /// What the upstream calls the model.
    pub model: &'a str,
    /// For formats that require a limit when the caller gave none.
    pub max_output_tokens: u64,
    pub quirks: Quirks,
    pub drop_unsupported: bool,
}

/// A body for an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub body: Bytes,
    pub content_type: Cow<'static, str>,
    /// Fields that were left out by a documented rule, as the caller wrote them.
    pub dropped: Vec<String>,
}

impl Written {
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), content_type: Cow::Borrowed("application/json"), dropped: Vec::new() }
    }
}

/// What an answer to the caller says of the call besides what the upstream wrote.
#[derive(Debug, Clone)]
pub struct Writing {
    pub head: CallHead,
    /// Our id of the call (`req_…`); answers that are written here derive theirs from it.
    pub call_id: String,
    /// The model as the caller named it.
    pub model: String,
    /// Seconds since the Unix epoch.
    pub created: i64,
    /// Whether a chat client asked for the usage chunk.
    pub include_usage: bool,
    /// The caller's request in canonical form, for answers that repeat parts of it (OpenAI Responses).
    pub request: Option<std::rc::Rc<canonical::Request>>,
}

/// What a call used and what that costs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Charge {
    pub cost_micros: Micros,
    pub quantities: Quantities,
    /// When the answer was whole, in seconds since the Unix epoch.
    pub ended_at: i64,
}

/// What a call used that is not only paid by the token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measured {
    /// Reported by the upstream, or counted exactly.
    pub known: Quantities,
    /// Our guess at the rest. It counts only when nothing that is known has a price.
    pub guessed: Quantities,
}

/// An upstream's whole answer, read; gives the caller's answer once the charge is known.
pub trait Whole {
    /// The id inside the caller's answer, by which it can be asked for later.
    fn id(&self) -> Option<&str>;

    /// What the upstream reported, in disjoint buckets (`requests` is left at 0); `None` when it did not, or not readably.
    fn usage(&self) -> Option<Quantities>;

    /// Our own count of what was written.
    fn produced_tokens(&self) -> u64;

    /// What was used, for answers that count more than tokens; it takes the place of [`Self::usage`]. `input_tokens` is our own count.
    fn measured(&self, _input_tokens: u64) -> Option<Measured> {
        None
    }

    /// The caller's body with the cost in its usage, and its content type.
    fn finish(&self, charge: &Charge) -> (Bytes, Cow<'static, str>);
}

/// What to do with an event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send these bytes now: the event as it came or its translation, sometimes with what had been held back before it.
    Forward(Bytes),
    /// Send nothing: the meter keeps the event, or drops it for good.
    HoldBack,
    /// As [`Self::HoldBack`], and the upstream's usage is known now. Later events may still correct it; settle at the end.
    Usage,
    /// The stream's good end: settle, then send [`Meter::final_events`].
    Done,
    /// The upstream failed inside the stream, or what it sent is no stream we understand.
    Error { message: String },
}

/// Follows one stream while it is forwarded or translated: what was delivered, what the upstream reports, and the end, which is held
/// back until the call's cost is known.
pub trait Meter {
    fn on_event(&mut self, event: &Event) -> Step;

    /// The upstream's connection ended: what is still to be sent before the final events. Asked once, before [`Self::is_complete`].
    fn input_ended(&mut self) -> Bytes {
        Bytes::new()
    }

    /// Whether content (not only a role or a comment) has come by.
    fn has_content(&self) -> bool;

    /// Whether the stream may end now. A stream that ends otherwise was cut.
    fn is_complete(&self) -> bool;

    /// The id inside the caller's answer.
    fn answer_id(&self) -> Option<&str>;

    /// The upstream's last word on usage, in disjoint buckets (`requests` is left at 0).
    fn reported(&self) -> Option<Quantities>;

    /// Our own count of the text that came by so far. Counts on every call: ask once, at the end.
    fn produced_tokens(&self) -> u64;

    /// What was used so far, for streams that count more than tokens; it takes the place of [`Self::reported`].
    fn measured(&self, _input_tokens: u64) -> Option<Measured> {
        None
    }

    /// The end of a good stream: what was held back, with the cost in its usage, and the end mark.
    fn final_events(&mut self, charge: &Charge) -> Bytes;

    /// The answer as one object, where it is kept to be asked for later; known after [`Self::final_events`].
    fn kept(&self) -> Option<Bytes> {
        None
    }

    /// The end of a stream that failed after it began; it must not look like a good end.
    fn failure(&mut self, error: &super::ErrorBody<'_>) -> Bytes;
}

/// Reads an upstream's event stream into canonical events, in the order [`canonical::StreamEvent`] promises.
pub trait StreamReader {
    /// Appends what this event means. Events that mean nothing append nothing; ones that are not understood append `Error`.
    fn read(&mut self, event: &Event, events: &mut Vec<canonical::StreamEvent>);

    /// The connection ended: appends what is missing for a good end, or nothing when the stream was cut.
    fn ended(&mut self, events: &mut Vec<canonical::StreamEvent>);
}

/// Writes canonical events as the caller's stream.
pub trait StreamWriter {
    /// The id inside the answer.
    fn answer_id(&self) -> &str;

    /// Appends the bytes of an event. `Finish`, `Usage` and `End` are kept for [`Self::finish`].
    fn write(&mut self, event: &canonical::StreamEvent, out: &mut Vec<u8>);

    /// Appends the good end, with the cost in its usage.
    fn finish(&mut self, charge: &Charge, out: &mut Vec<u8>);

    /// See [`Meter::kept`]; known after [`Self::finish`].
    fn kept(&self) -> Option<Bytes> {
        None
    }

    /// Bytes of the answer that are held until its end, where the end repeats them.
    fn held_bytes(&self) -> usize {
        0
    }

    /// Appends the end of a stream that failed.
    fn fail(&mut self, error: &super::ErrorBody<'_>, out: &mut Vec<u8>);
}

/// A chat format on the caller's side.
pub trait CallerFormat: Sync {
    /// Reads and checks a call. Lenient about what it does not know (kept as opaque blocks and unmodelled fields), strict about what it does.
    fn read_request(&self, head: &CallHead, body: &[u8]) -> Result<canonical::Request, Invalid>;

    fn write_answer(&self, answer: &canonical::Answer, writing: &Writing, charge: &Charge) -> Bytes;

    /// The id that [`Self::write_answer`] and the stream writer give an answer.
    fn answer_id(&self, writing: &Writing) -> String;

    fn stream_writer(&self, writing: &Writing) -> Box<dyn StreamWriter>;

    /// The body for an upstream that speaks this format itself: the caller's bytes but for the model's name and what metering needs.
    fn forward(&self, head: &CallHead, body: &Bytes, aim: &Aim<'_>) -> Result<Written, Invalid>;

    /// Reads a whole answer of an upstream that speaks this format itself; it reaches the caller as it came, but for the cost.
    fn peek(&self, body: &Bytes, writing: &Writing) -> Result<Box<dyn Whole>, Garbage>;

    /// Follows a stream of an upstream that speaks this format itself.
    fn meter(&self, writing: &Writing) -> Box<dyn Meter>;
}

/// A chat format on the upstream's side.
pub trait UpstreamFormat: Sync {
    /// Writes a call of another dialect. What cannot be expressed is refused with the caller's name of the field, or listed in
    /// [`Written::dropped`] when it is harmless or [`Aim::drop_unsupported`] allows it.
    fn write_request(&self, request: &canonical::Request, aim: &Aim<'_>) -> Result<Written, Unsupported>;

    fn read_answer(&self, body: &[u8]) -> Result<canonical::Answer, Garbage>;

    fn stream_reader(&self) -> Box<dyn StreamReader>;
}
