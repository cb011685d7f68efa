//! Event streams: read into canonical events, written from them, and followed while they pass.
//!
//! Every event has a name, and a `sequence_number` that counts from 0. A stream ends well with `response.completed` or
//! `response.incomplete`, each with the whole response; without one it was cut.

mod meter;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub(super) use meter::PassedStream;
pub(super) use reader::Reader;
pub(super) use writer::Writer;

use crate::dialect::{ErrorBody, json};

/// `{"code":…,"message":…}` inside a response that failed.
fn response_error(error: &ErrorBody<'_>) -> String {
    // The vocabulary of this dialect; the exact code is in the event before.
    let code = if error.status == 429 { "rate_limit_exceeded" } else { "server_error" };
    format!(r#"{{"code":"{code}","message":{}}}"#, json::quoted(&error.message))
}

/// The event that says in plain words what happened; a failed response follows.
fn push_error(error: &ErrorBody<'_>, sequence_number: u64, out: &mut Vec<u8>) {
    let param = error.param.as_deref().map_or_else(|| "null".to_owned(), json::quoted);
    let (code, message, request_id) = (json::quoted(&error.code), json::quoted(&error.message), json::quoted(&error.request_id));
    let event = format!(
        r#"{{"type":"error","sequence_number":{sequence_number},"code":{code},"message":{message},"param":{param},"request_id":{request_id}}}"#
    );
    push_event("error", event.as_bytes(), out);
}

/// Line breaks can only be insignificant white space in JSON.
fn push_event(name: &str, data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    out.extend(data.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    out.extend_from_slice(b"\n\n");
}
