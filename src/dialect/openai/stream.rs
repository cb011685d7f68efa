//! Follows one event stream while it is forwarded: what was delivered, what the upstream reports, and the end, which is held back until
//! the call's cost is known.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    errors,
    produced::Choice,
    usage::{read, with_cost},
};
use crate::{
    dialect::{
        Charge, Endpoint, ErrorBody, Meter, Step,
        json::{self, Edit, Prose, Text},
        parse_upstream_error,
        sse::Event,
        tokens,
    },
    domain::pricing::Quantities,
};

/// Delivered text is kept for counting up to this size, then counted and dropped (a millisecond), so that memory is bounded.
const UNCOUNTED_BYTES_MAX: usize = 32 * 1024;

/// Meters one stream of chat or completion chunks.
#[derive(Debug)]
pub struct StreamMeter {
    endpoint: Endpoint,
    usage_asked: bool,
    answer_id: Option<String>,
    has_content: bool,
    done: bool,
    /// Choices (by index, as bits) that began and that ended.
    begun: u128,
    ended: u128,
    uncounted: String,
    counted_tokens: u64,
    reported: Option<Quantities>,
    /// The JSON of the last usage object.
    usage: Option<Bytes>,
    /// The last chunk with choices, after which nothing was open.
    last: Option<Event>,
    /// Data of the chunk that carries usage and no choices.
    usage_chunk: Option<Bytes>,
    /// Data of the newest chunk with choices, the pattern for a chunk of ours.
    pattern: Option<Bytes>,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    object: Option<Prose<'a>>,
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

impl StreamMeter {
    /// `usage_asked`: whether the caller asked for the usage chunk (the upstream is always asked). If not, usage goes into the chunk with
    /// the finish reason, so that the last JSON chunk has it either way.
    pub fn new(endpoint: Endpoint, usage_asked: bool) -> Self {
        Self {
            endpoint,
            usage_asked,
            answer_id: None,
            has_content: false,
            done: false,
            begun: 0,
            ended: 0,
            uncounted: String::new(),
            counted_tokens: 0,
            reported: None,
            usage: None,
            last: None,
            usage_chunk: None,
            pattern: None,
        }
    }

    fn take_usage(&mut self, usage: Option<&RawValue>, data: &Bytes) -> bool {
        let Some(usage) = usage else { return false };
        self.reported = read(usage.get());
        self.usage = Some(data.slice(json::span_in(data, usage.get())));
        true
    }

    fn on_choices(&mut self, choices: &[Choice<'_>], has_usage: bool, event: &Event) -> Step {
        for choice in choices {
            let bit = 1 << choice.index.unwrap_or(0).min(u128::BITS - 1);
            self.begun |= bit;
            if choice.is_finished() {
                self.ended |= bit;
            }
            self.has_content |= choice.has_audio();
            choice.for_each_text(|text| {
                self.has_content = true;
                self.uncounted.push_str(text);
            });
        }
        if self.uncounted.len() > UNCOUNTED_BYTES_MAX {
            self.counted_tokens += tokens::count(&self.uncounted);
            self.uncounted.clear();
        }
        self.pattern = Some(event.data.clone());
        // Hold what may be the last chunk with choices, if usage has to go into it.
        let hold = self.all_ended() && (!self.usage_asked || has_usage);
        match (self.last.take(), hold) {
            (None, false) => Step::Forward(event.raw.clone()),
            (None, true) => {
                self.last = Some(event.clone());
                if has_usage { Step::Usage } else { Step::HoldBack }
            }
            (Some(held), true) => {
                self.last = Some(event.clone());
                Step::Forward(held.raw)
            }
            (Some(held), false) => Step::Forward(Bytes::from([&held.raw[..], &event.raw[..]].concat())),
        }
    }

    fn all_ended(&self) -> bool {
        self.begun != 0 && self.begun == self.ended
    }

    /// A chunk of ours for a stream that has no place for usage: the usage chunk the caller asked for, else the finish chunk that the
    /// upstream left out (a chunk without choices would surprise a caller who did not ask).
    fn made_chunk(&self, usage: &[u8]) -> Vec<u8> {
        let pattern: Pattern<'_> = self.pattern.as_deref().and_then(|data| serde_json::from_slice(data).ok()).unwrap_or_default();
        let mut out = vec![b'{'];
        let members = [("id", pattern.id), ("object", pattern.object), ("created", pattern.created), ("model", pattern.model)].into_iter();
        for (name, value) in members.filter_map(|(name, value)| Some((name, value?))) {
            out.extend_from_slice(format!("\"{name}\":{value},").as_bytes());
        }
        let choices = match self.endpoint {
            _ if self.usage_asked => "[]",
            Endpoint::Completions => r#"[{"index":0,"text":"","logprobs":null,"finish_reason":"stop"}]"#,
            _ => r#"[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]"#,
        };
        out.extend_from_slice(format!("\"choices\":{choices},\"usage\":").as_bytes());
        out.extend_from_slice(usage);
        out.push(b'}');
        out
    }
}

impl Meter for StreamMeter {
    fn on_event(&mut self, event: &Event) -> Step {
        if self.done {
            return Step::HoldBack;
        }
        if event.data.is_empty() {
            return Step::Forward(event.raw.clone());
        }
        if event.is_done() {
            self.done = true;
            return Step::Done;
        }
        let Some(chunk) = parse(&event.data) else {
            return Step::Error { message: "the upstream sent an event that is not the JSON it should be".to_owned() };
        };
        if super::stated_error(chunk.object.as_ref(), chunk.error) || event.event.as_deref() == Some(b"error") {
            return Step::Error { message: parse_upstream_error(&event.data) };
        }
        if self.answer_id.is_none() {
            self.answer_id = chunk.id.map(|id| id.0.into_owned()).filter(|id| !id.is_empty());
        }
        let has_usage = self.take_usage(chunk.usage, &event.data);
        match chunk.choices {
            Some(choices) if !choices.is_empty() => self.on_choices(&choices, has_usage, event),
            _ if has_usage => {
                self.usage_chunk = Some(event.data.clone());
                Step::Usage
            }
            _ => Step::Forward(event.raw.clone()),
        }
    }

    /// Whether content (not only a role or a comment) has come by.
    fn has_content(&self) -> bool {
        self.has_content
    }

    /// Whether the stream may end now: the end mark came, or every choice that began has its finish reason. A stream that ends
    /// otherwise was cut.
    fn is_complete(&self) -> bool {
        self.done || self.all_ended()
    }

    /// `chatcmpl-…`
    fn answer_id(&self) -> Option<&str> {
        self.answer_id.as_deref()
    }

    /// The upstream's last word on usage, in disjoint buckets (`requests` is left at 0).
    fn reported(&self) -> Option<Quantities> {
        self.reported
    }

    /// Our own count of the text that came by so far. Counts on every call: ask once, at the end.
    fn produced_tokens(&self) -> u64 {
        self.counted_tokens + tokens::count(&self.uncounted)
    }

    /// The end of a good stream: what was held back, with the cost in its usage (made of `quantities` when the upstream reported none),
    /// and the end mark.
    fn final_events(&mut self, charge: &Charge) -> Bytes {
        let reported = self.usage.as_deref().and_then(|usage| std::str::from_utf8(usage).ok());
        let usage = with_cost(reported, self.endpoint, charge);
        let mut out = Vec::with_capacity(1024);
        match (&self.last, &self.usage_chunk) {
            (Some(last), Some(chunk)) if self.usage_asked => {
                out.extend_from_slice(&last.raw);
                push_event(&mut out, &set_usage(chunk, usage.as_bytes()));
            }
            (None, Some(chunk)) if self.usage_asked => push_event(&mut out, &set_usage(chunk, usage.as_bytes())),
            (Some(last), _) => push_event(&mut out, &set_usage(&last.data, usage.as_bytes())),
            (None, _) => push_event(&mut out, &self.made_chunk(usage.as_bytes())),
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
        Bytes::from(out)
    }

    fn failure(&mut self, error: &ErrorBody<'_>) -> Bytes {
        let mut out = Vec::with_capacity(512);
        errors::event(error, &mut out);
        Bytes::from(out)
    }
}

#[derive(Default, Deserialize)]
struct Pattern<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    created: Option<&'a RawValue>,
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
}

fn parse(data: &[u8]) -> Option<Chunk<'_>> {
    let text = std::str::from_utf8(data).ok().filter(|text| json::is_object(text))?;
    serde_json::from_str(text).ok()
}

#[derive(Deserialize)]
struct UsageOnly<'a> {
    #[serde(borrow, default, deserialize_with = "json::present")]
    usage: Option<&'a RawValue>,
}

/// The chunk with its usage replaced or added. `data` was parsed before, so it is a JSON object with members.
pub(in crate::dialect) fn set_usage(data: &[u8], usage: &[u8]) -> Vec<u8> {
    let usage = String::from_utf8_lossy(usage);
    let there = std::str::from_utf8(data).ok().and_then(|text| serde_json::from_str::<UsageOnly<'_>>(text).ok()?.usage);
    let edit = match there {
        Some(raw) => Edit { at: json::span_in(data, raw.get()), with: usage.into_owned() },
        None => {
            let end = data.iter().rposition(|byte| *byte == b'}').unwrap_or(0);
            Edit { at: end..end, with: format!(",\"usage\":{usage}") }
        }
    };
    json::splice(data, &[edit]).to_vec()
}

/// Writes JSON as one data line. Line breaks can only be insignificant white space in it.
pub(in crate::dialect) fn push_event(out: &mut Vec<u8>, json: &[u8]) {
    out.extend_from_slice(b"data: ");
    out.extend(json.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests;
