//! OpenAI's Responses, as callers and as upstreams speak it.
//!
//! `request`, `items` and `parts` read what a call asks for, `outgoing` writes one for an upstream, `forward` passes one on; `answer` and
//! `stream` do the same for what comes back; `object` and `echo` make the response object, `signature` and `usage` parts of it; `stored`
//! joins answers that the gateway keeps. `fields` and `edit` read and change single members. Absent on purpose: tools that run at the
//! vendor, which pass between sides of this dialect and have no canonical form, and everything a vendor would keep for its callers
//! (`store`, `conversation`, `background`), because all callers of a gateway share its account there.

mod answer;
mod echo;
mod edit;
mod fields;
mod forward;
mod items;
mod object;
mod outgoing;
mod parts;
mod request;
mod signature;
pub mod stored;
mod stream;
#[cfg(test)]
mod tests;
mod usage;

use bytes::Bytes;

use super::{
    CallHead, Charge, Garbage, Invalid, Meter, Whole, canonical,
    format::{Aim, CallerFormat, StreamReader, StreamWriter, Unsupported, UpstreamFormat, Writing, Written},
};

/// The format of `/v1/responses`.
pub struct Responses;

impl CallerFormat for Responses {
    fn read_request(&self, head: &CallHead, body: &[u8]) -> Result<canonical::Request, Invalid> {
        request::read(head, body)
    }

    fn write_answer(&self, answer: &canonical::Answer, writing: &Writing, charge: &Charge) -> Bytes {
        answer::write(answer, writing, charge)
    }

    fn answer_id(&self, writing: &Writing) -> String {
        object::Ids::of(writing).response()
    }

    fn stream_writer(&self, writing: &Writing) -> Box<dyn StreamWriter> {
        Box::new(stream::Writer::new(writing))
    }

    fn forward(&self, head: &CallHead, body: &Bytes, aim: &Aim<'_>) -> Result<Written, Invalid> {
        forward::write(head, body, aim)
    }

    fn peek(&self, body: &Bytes, writing: &Writing) -> Result<Box<dyn Whole>, Garbage> {
        answer::peek(body, writing)
    }

    fn meter(&self, writing: &Writing) -> Box<dyn Meter> {
        Box::new(stream::PassedStream::new(writing))
    }
}

impl UpstreamFormat for Responses {
    fn write_request(&self, request: &canonical::Request, aim: &Aim<'_>) -> Result<Written, Unsupported> {
        outgoing::write(request, aim)
    }

    fn read_answer(&self, body: &[u8]) -> Result<canonical::Answer, Garbage> {
        answer::read(body)
    }

    fn stream_reader(&self) -> Box<dyn StreamReader> {
        Box::new(stream::Reader::default())
    }
}
