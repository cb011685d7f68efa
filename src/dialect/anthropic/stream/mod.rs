//! An event stream: followed while it is forwarded (`meter`), read for callers of other dialects (`reader`), written for our own
//! (`writer`).

mod meter;
mod reader;
mod writer;

pub(super) use meter::StreamMeter;
pub(super) use reader::Reader;
pub(super) use writer::Writer;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{Fragment, StopDetails};
use crate::dialect::json::{self, Prose, Text};

/// One event, of whatever kind.
#[derive(Default, Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Prose<'a>,
    #[serde(borrow, default)]
    message: Option<Message<'a>>,
    #[serde(default)]
    index: Option<u32>,
    #[serde(borrow, default)]
    content_block: Option<Fragment<'a>>,
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    #[serde(borrow, default, deserialize_with = "json::present")]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

/// Of a block, or of the message.
#[derive(Default, Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    text: Option<Prose<'a>>,
    #[serde(borrow, default)]
    thinking: Option<Prose<'a>>,
    #[serde(borrow, default)]
    citation: Option<&'a RawValue>,
    #[serde(borrow, default)]
    partial_json: Option<Prose<'a>>,
    #[serde(borrow, default)]
    signature: Option<Prose<'a>>,
    #[serde(borrow, default)]
    stop_reason: Option<Prose<'a>>,
    #[serde(borrow, default)]
    stop_sequence: Option<Prose<'a>>,
    #[serde(borrow, default)]
    stop_details: Option<StopDetails<'a>>,
}

impl Delta<'_> {
    /// What it adds to its block.
    fn text(&self) -> &str {
        let texts = [&self.text, &self.thinking, &self.partial_json];
        texts.into_iter().flatten().map(|prose| &*prose.0).find(|text| !text.is_empty()).unwrap_or_default()
    }
}

/// The members that any event may have.
#[derive(Deserialize)]
struct Outline<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Prose<'a>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// What an event says; `None` when it is no JSON object. Of one whose members have other shapes than they should, only the kind is known.
fn parse(data: &[u8]) -> Option<Chunk<'_>> {
    let text = std::str::from_utf8(data).ok().filter(|text| json::is_object(text))?;
    if let Ok(chunk) = serde_json::from_str(text) {
        return Some(chunk);
    }
    let Outline { kind, error } = serde_json::from_str(text).ok()?;
    Some(Chunk { kind, error, ..Chunk::default() })
}

/// Whether an event says that the stream failed.
fn is_error(chunk: &Chunk<'_>, name: Option<&[u8]>) -> bool {
    chunk.kind.0 == "error" || name == Some(b"error") || chunk.error.is_some_and(|error| error.get() != "null")
}

const NOT_JSON: &str = "the upstream sent an event that is not the JSON it should be";

#[cfg(test)]
mod tests;
