//! Bedrock's Converse, as upstreams speak it.
//!
//! The model and whether to stream stand in the path, not in the body. A stream is binary on the wire; the provider hands its events over
//! as server-sent ones, named by their type (`contentBlockDelta`, `exception:throttlingException`, …). Absent on purpose: callers of this
//! format, signing, and the binary framing.

mod answer;
mod citations;
mod content;
mod request;
mod stream;
mod usage;

use super::{
    Garbage, canonical,
    format::{Aim, StreamReader, Unsupported, UpstreamFormat, Written},
};

/// The format.
pub struct Converse;

impl UpstreamFormat for Converse {
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
