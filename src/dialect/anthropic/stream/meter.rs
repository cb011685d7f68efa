//! Follows a stream while it is forwarded. The last `message_delta` is held back, because the cost goes into its usage.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Chunk, NOT_JSON, is_error, parse};
use crate::{
    dialect::{
        Charge, ErrorBody, Meter, Step,
        anthropic::{errors, usage},
        json::{self, Edit},
        parse_upstream_error,
        sse::Event,
        tokens,
    },
    domain::pricing::Quantities,
};

/// Delivered text is kept for counting up to this size, then counted and dropped (a millisecond), so that memory is bounded.
const UNCOUNTED_BYTES_MAX: usize = 32 * 1024;

/// Meters one stream.
#[derive(Debug, Default)]
pub(in crate::dialect::anthropic) struct StreamMeter {
    answer_id: Option<String>,
    has_content: bool,
    uncounted: String,
    counted_tokens: u64,
    /// What `message_start` says of the input.
    started: Option<usage::Reported>,
    reported: Option<Quantities>,
    /// Data of the last `message_delta`.
    held: Option<Bytes>,
    /// The exact bytes of `message_stop`.
    stop: Option<Bytes>,
}

impl StreamMeter {
    fn count(&mut self, text: &str) {
        self.has_content = true;
        self.uncounted.push_str(text);
        if self.uncounted.len() > UNCOUNTED_BYTES_MAX {
            self.counted_tokens += tokens::count(&self.uncounted);
            self.uncounted.clear();
        }
    }

    fn on_start(&mut self, chunk: &Chunk<'_>) {
        let Some(message) = &chunk.message else { return };
        self.answer_id = message.id.as_ref().map(|id| id.0.clone().into_owned()).filter(|id| !id.is_empty());
        self.started = message.usage.and_then(|raw| usage::Reported::read(raw.get()));
    }

    /// Counts are cumulative, so a later report replaces an earlier one.
    fn on_message_delta(&mut self, chunk: &Chunk<'_>, event: &Event) -> Step {
        if let Some(report) = chunk.usage.and_then(|raw| usage::Reported::read(raw.get())) {
            let merged = report.after(self.started.take());
            self.reported = Some(merged.quantities());
            self.started = Some(merged);
        }
        match self.held.replace(event.data.clone()) {
            Some(earlier) => Step::Forward(named("message_delta", &earlier)),
            None if chunk.usage.is_some() => Step::Usage,
            None => Step::HoldBack,
        }
    }
}

impl Meter for StreamMeter {
    fn on_event(&mut self, event: &Event) -> Step {
        if self.stop.is_some() {
            return Step::HoldBack;
        }
        if event.data.is_empty() {
            return Step::Forward(event.raw.clone());
        }
        let Some(chunk) = parse(&event.data) else { return Step::Error { message: NOT_JSON.to_owned() } };
        if is_error(&chunk, event.event.as_deref()) {
            return Step::Error { message: parse_upstream_error(&event.data) };
        }
        match &*chunk.kind.0 {
            "content_block_delta" => {
                let text = chunk.delta.as_ref().map_or("", super::Delta::text);
                if !text.is_empty() {
                    self.count(text);
                }
            }
            "content_block_start" => {
                if let Some(block) = &chunk.content_block {
                    let texts = [&block.name, &block.text, &block.thinking].into_iter().flatten();
                    texts.filter(|prose| !prose.0.is_empty()).for_each(|prose| self.count(&prose.0));
                    self.has_content |= !matches!(&*block.kind.0, "text" | "thinking");
                }
            }
            "message_start" => self.on_start(&chunk),
            "message_delta" => return self.on_message_delta(&chunk, event),
            "message_stop" => {
                self.stop = Some(with_name(event, &chunk.kind.0));
                return Step::Done;
            }
            _ => {}
        }
        Step::Forward(with_name(event, &chunk.kind.0))
    }

    fn has_content(&self) -> bool {
        self.has_content
    }

    /// Whether `message_stop` came. A stream that ends otherwise was cut.
    fn is_complete(&self) -> bool {
        self.stop.is_some()
    }

    /// `msg_…`
    fn answer_id(&self) -> Option<&str> {
        self.answer_id.as_deref()
    }

    fn reported(&self) -> Option<Quantities> {
        self.reported
    }

    fn produced_tokens(&self) -> u64 {
        self.counted_tokens + tokens::count(&self.uncounted)
    }

    fn final_events(&mut self, charge: &Charge) -> Bytes {
        let held = self.held.as_deref().and_then(|data| std::str::from_utf8(data).ok());
        let data = match held {
            Some(data) => with_usage(data, charge),
            None => format!(
                r#"{{"type":"message_delta","delta":{{"stop_reason":"end_turn","stop_sequence":null}},"usage":{}}}"#,
                usage::with_cost(None, charge)
            ),
        };
        let mut out = named("message_delta", data.as_bytes()).to_vec();
        out.extend_from_slice(self.stop.as_deref().unwrap_or(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
        Bytes::from(out)
    }

    fn failure(&mut self, error: &ErrorBody<'_>) -> Bytes {
        let mut out = Vec::with_capacity(512);
        errors::event(error, &mut out);
        Bytes::from(out)
    }
}

/// The event as it came. Clients of Anthropic ignore events without a name, so one that lacks it gets it.
fn with_name(event: &Event, kind: &str) -> Bytes {
    if event.event.is_some() || kind.is_empty() { event.raw.clone() } else { named(kind, &event.data) }
}

/// An event of one data line. Line breaks can only be insignificant white space in JSON.
fn named(kind: &str, data: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(data.len() + kind.len() + 24);
    out.extend_from_slice(b"event: ");
    out.extend(kind.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')));
    out.extend_from_slice(b"\ndata: ");
    out.extend(data.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    out.extend_from_slice(b"\n\n");
    Bytes::from(out)
}

#[derive(Deserialize)]
struct UsageOnly<'a> {
    #[serde(borrow, default, deserialize_with = "json::present")]
    usage: Option<&'a RawValue>,
}

/// The event's data with the cost in its usage. It was parsed before, so it is an object with members.
fn with_usage(data: &str, charge: &Charge) -> String {
    let there = serde_json::from_str::<UsageOnly<'_>>(data).ok().and_then(|event| event.usage);
    let usage = usage::with_cost(there.map(RawValue::get), charge);
    let edit = match there {
        Some(raw) => Edit { at: json::span_in(data.as_bytes(), raw.get()), with: usage },
        None => {
            let end = data.rfind('}').unwrap_or(0);
            Edit { at: end..end, with: format!(",\"usage\":{usage}") }
        }
    };
    String::from_utf8_lossy(&json::splice(data.as_bytes(), &[edit])).into_owned()
}
