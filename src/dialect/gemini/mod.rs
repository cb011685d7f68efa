//! Gemini's wire format: generateContent, its stream, countTokens and embeddings, as caller and as upstream speak it.
//!
//! It is protobuf in JSON: every field has two spellings (camelCase and snake_case), a repeated field may be a single value, and data may
//! be URL-safe base64. All of that is read (`fields`), and camelCase with standard base64 is written (`written`). `request` is what a call
//! asks for, `wire`, `answer` and `usage` what it got, `stream` an event stream, `embeddings` both embedding calls.
//!
//! Absent on purpose: fetching the files that a call points to, cached contents, and the Interactions API.

mod answer;
mod citations;
pub mod embeddings;
pub mod errors;
mod fields;
mod logprobs;
mod request;
mod schema;
mod stream;
mod usage;
mod wire;
mod written;

use bytes::Bytes;

use super::{
    Charge, Dialect, Garbage, Invalid, Meter, Whole,
    canonical::{Answer, Request, Signature},
    format::{Aim, CallHead, CallerFormat, StreamReader, StreamWriter, Unsupported, UpstreamFormat, Writing, Written},
};

/// `generateContent`, on both sides.
pub struct GenerateContent;

impl CallerFormat for GenerateContent {
    fn read_request(&self, head: &CallHead, body: &[u8]) -> Result<Request, Invalid> {
        request::read(head, body)
    }

    fn write_answer(&self, answer: &Answer, writing: &Writing, charge: &Charge) -> Bytes {
        answer::write(answer, writing, charge)
    }

    fn answer_id(&self, writing: &Writing) -> String {
        answer_id(writing)
    }

    fn stream_writer(&self, writing: &Writing) -> Box<dyn StreamWriter> {
        Box::new(stream::Writer::new(writing))
    }

    fn forward(&self, _: &CallHead, body: &Bytes, aim: &Aim<'_>) -> Result<Written, Invalid> {
        request::forward(body, aim)
    }

    fn peek(&self, body: &Bytes, _: &Writing) -> Result<Box<dyn Whole>, Garbage> {
        Ok(Box::new(answer::Peeked::parse(body)?))
    }

    fn meter(&self, writing: &Writing) -> Box<dyn Meter> {
        Box::new(stream::StreamMeter::new(writing.head.framing))
    }
}

impl UpstreamFormat for GenerateContent {
    fn write_request(&self, request: &Request, aim: &Aim<'_>) -> Result<Written, Unsupported> {
        request::write(request, aim)
    }

    fn read_answer(&self, body: &[u8]) -> Result<Answer, Garbage> {
        answer::read(body)
    }

    fn stream_reader(&self) -> Box<dyn StreamReader> {
        Box::new(stream::Reader::default())
    }
}

/// `responseId` of an answer that is written here: the random part of our own id of the call.
fn answer_id(writing: &Writing) -> String {
    writing.call_id.split_once('_').map_or(&*writing.call_id, |(_, random)| random).to_owned()
}

/// What Google documents for function calls that no model of its own made, where a signature is demanded. No thought stands behind them.
const NO_SIGNATURES: [&str; 2] = ["skip_thought_signature_validator", "context_engineering_is_the_way_to_go"];

/// A `thoughtSignature`, as it came; `None` when it is one of the words that stand for none.
fn signature(value: &str) -> Option<Signature> {
    let is_real = !value.is_empty() && !NO_SIGNATURES.contains(&value);
    is_real.then(|| Signature { vendor: Dialect::Gemini, value: value.to_owned(), sealed: false, id: None })
}

/// What goes back to Gemini as `thoughtSignature`: only what came from there.
fn own(signature: Option<&Signature>) -> Option<&str> {
    signature.filter(|signature| signature.vendor == Dialect::Gemini).map(|signature| signature.value.as_str())
}

/// A model's name as Gemini's bodies have it.
fn resource_name(model: &str) -> String {
    if model.starts_with("models/") || model.starts_with("tunedModels/") { model.to_owned() } else { format!("models/{model}") }
}
