//! A streamed answer: server-sent events without an end mark, or one JSON array. Every event is a whole response with the next parts.

mod meter;
mod reader;
mod writer;

pub(super) use meter::StreamMeter;
pub(super) use reader::Reader;
pub(super) use writer::Writer;

use super::errors;
use crate::dialect::{ErrorBody, Framing};

/// Puts JSON objects into the frame that the caller reads. Ends are written to a copy: of several that are made one is sent.
#[derive(Debug, Clone, Copy)]
struct Frame {
    framing: Framing,
    begun: bool,
}

impl Frame {
    fn new(framing: Framing) -> Self {
        Self { framing, begun: false }
    }

    /// Appends one object, written by `object`.
    fn push(&mut self, out: &mut Vec<u8>, object: impl FnOnce(&mut Vec<u8>)) {
        match self.framing {
            Framing::Events => {
                out.extend_from_slice(b"data: ");
                object(out);
                out.extend_from_slice(b"\n\n");
            }
            Framing::JsonArray => {
                out.extend_from_slice(if self.begun { b",\r\n" } else { b"[" });
                object(out);
            }
        }
        self.begun = true;
    }

    /// Appends the last object and the end.
    fn end(mut self, out: &mut Vec<u8>, object: impl FnOnce(&mut Vec<u8>)) {
        self.push(out, object);
        if self.framing == Framing::JsonArray {
            out.push(b']');
        }
    }

    /// An object with nothing but an `error`, which clients tell from an answer.
    fn fail(self, error: &ErrorBody<'_>, out: &mut Vec<u8>) {
        self.end(out, |out| errors::write(error, out));
    }
}

/// Writes JSON without line breaks, which can only be white space in it.
fn push_line(out: &mut Vec<u8>, json: &[u8]) {
    out.extend(json.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
}

#[cfg(test)]
mod tests;
