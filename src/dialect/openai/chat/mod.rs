//! Chat completions as a format that is translated: calls, answers and streams of `POST /v1/chat/completions` in canonical form.
//!
//! Absent on purpose: what happens when both sides speak it (`openai::{Request, Answer, StreamMeter}`); this module only hands over to them.

mod answer;
mod reasoning;
mod request;
mod stream;
mod wire;

use bytes::Bytes;

use super::{Answer, Request, StreamMeter};
use crate::dialect::{
    CallHead, Charge, Endpoint, Garbage, Invalid, Meter, Whole, canonical,
    format::{Aim, CallerFormat, StreamReader, StreamWriter, Unsupported, UpstreamFormat, Writing, Written},
};

/// The format.
pub struct Chat;

impl CallerFormat for Chat {
    fn read_request(&self, _: &CallHead, body: &[u8]) -> Result<canonical::Request, Invalid> {
        request::read(body)
    }

    fn write_answer(&self, answer: &canonical::Answer, writing: &Writing, charge: &Charge) -> Bytes {
        answer::write(answer, &self.answer_id(writing), writing, charge)
    }

    fn answer_id(&self, writing: &Writing) -> String {
        let unique = writing.call_id.rsplit_once('_').map_or(&*writing.call_id, |(_, unique)| unique);
        format!("chatcmpl-{unique}")
    }

    fn stream_writer(&self, writing: &Writing) -> Box<dyn StreamWriter> {
        Box::new(stream::Writer::new(self.answer_id(writing), writing))
    }

    fn forward(&self, _: &CallHead, body: &Bytes, aim: &Aim<'_>) -> Result<Written, Invalid> {
        Ok(Request::parse(Endpoint::ChatCompletions, body)?.forward(body, aim))
    }

    fn peek(&self, body: &Bytes, _: &Writing) -> Result<Box<dyn Whole>, Garbage> {
        Ok(Box::new(Answer::parse(Endpoint::ChatCompletions, body)?))
    }

    fn meter(&self, writing: &Writing) -> Box<dyn Meter> {
        Box::new(StreamMeter::new(Endpoint::ChatCompletions, writing.include_usage))
    }
}

impl UpstreamFormat for Chat {
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

#[cfg(test)]
mod tests;
