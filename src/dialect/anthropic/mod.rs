//! Anthropic's wire format: Messages and its stream, as caller and as upstream speak it, in both versions.
//!
//! `request` is what a call asks for, `answer` and `usage` what it got, `stream` follows, reads and writes an event stream, `errors`
//! writes errors. `version` knows what differs between the versions. Absent on purpose: batches, files, and what Anthropic's own servers
//! run (searches, code), which pass untouched to upstreams of this format and to no other.

mod answer;
mod citations;
pub mod errors;
mod fields;
mod request;
mod stop;
mod stream;
mod usage;
mod version;
mod wire;

use bytes::Bytes;

use super::{
    Charge, Garbage, Invalid, Meter, Whole, canonical,
    format::{Aim, CallHead, CallerFormat, StreamReader, StreamWriter, Unsupported, UpstreamFormat, Writing, Written},
};

/// The tool whose input is the answer, where an answer has to be JSON and the model has no other way to promise it.
const STRUCTURED_ANSWER: &str = "pixgate_structured_answer";

/// `/v1/messages`, on both sides.
pub struct Messages;

impl CallerFormat for Messages {
    fn read_request(&self, head: &CallHead, body: &[u8]) -> Result<canonical::Request, Invalid> {
        request::read(head, body)
    }

    fn write_answer(&self, answer: &canonical::Answer, writing: &Writing, charge: &Charge) -> Bytes {
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

    fn meter(&self, _: &Writing) -> Box<dyn Meter> {
        Box::new(stream::StreamMeter::default())
    }
}

impl UpstreamFormat for Messages {
    fn write_request(&self, request: &canonical::Request, aim: &Aim<'_>) -> Result<Written, Unsupported> {
        request::write(request, aim)
    }

    fn read_answer(&self, body: &[u8]) -> Result<canonical::Answer, Garbage> {
        answer::read(body)
    }

    fn stream_reader(&self) -> Box<dyn StreamReader> {
        Box::new(stream::Reader::default())
    }
}

/// The id of an answer that is written here: our own id of the call under Anthropic's prefix.
fn answer_id(writing: &Writing) -> String {
    format!("msg_{}", writing.call_id.split_once('_').map_or(&*writing.call_id, |(_, random)| random))
}
