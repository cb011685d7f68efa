//! Follows a stream that is forwarded to a caller of Gemini as it comes: what was delivered, what was used, and the last event, which
//! waits for the cost.

use bytes::Bytes;

use super::{Frame, push_line};
use crate::{
    dialect::{
        Charge, ErrorBody, Framing, Meter, Step,
        gemini::{
            answer::set_usage,
            usage,
            wire::{Candidate, Response},
        },
        json::span_in,
        sse::Event,
        tokens,
    },
    domain::pricing::Quantities,
};

/// Delivered text is kept for counting up to this size, then counted and dropped (a millisecond), so that memory is bounded.
const UNCOUNTED_BYTES_MAX: usize = 32 * 1024;

#[derive(Debug)]
pub(in crate::dialect::gemini) struct StreamMeter {
    frame: Frame,
    answer_id: Option<String>,
    has_content: bool,
    /// Candidates (by index, as bits) that began and that gave their reason.
    begun: u128,
    ended: u128,
    is_blocked: bool,
    done: bool,
    uncounted: String,
    counted_tokens: u64,
    reported: Option<Quantities>,
    /// The JSON of the last usage object.
    usage: Option<Bytes>,
    /// The newest event, once no candidate is open: it may be the last.
    last: Option<Event>,
}

impl StreamMeter {
    pub fn new(framing: Framing) -> Self {
        Self {
            frame: Frame::new(framing),
            answer_id: None,
            has_content: false,
            begun: 0,
            ended: 0,
            is_blocked: false,
            done: false,
            uncounted: String::new(),
            counted_tokens: 0,
            reported: None,
            usage: None,
            last: None,
        }
    }

    fn read(&mut self, candidate: &Candidate<'_>) {
        let bit = 1 << candidate.index.unwrap_or(0).min(u128::BITS - 1);
        self.begun |= bit;
        if candidate.ending().is_some() {
            self.ended |= bit;
        }
        for part in candidate.parts() {
            self.has_content |= part.has_media();
            part.for_each_text(|text| {
                self.has_content = true;
                self.uncounted.push_str(text);
            });
        }
        if self.uncounted.len() > UNCOUNTED_BYTES_MAX {
            self.counted_tokens += tokens::count(&self.uncounted);
            self.uncounted.clear();
        }
    }

    /// The event in the caller's frame.
    fn framed(&mut self, event: &Event) -> Bytes {
        if self.frame.framing == Framing::Events {
            self.frame.begun = true;
            return event.raw.clone();
        }
        let mut out = Vec::with_capacity(event.data.len() + 3);
        self.frame.push(&mut out, |out| out.extend_from_slice(&event.data));
        Bytes::from(out)
    }

    fn may_be_over(&self) -> bool {
        self.is_blocked || (self.begun != 0 && self.begun == self.ended)
    }
}

impl Meter for StreamMeter {
    fn on_event(&mut self, event: &Event) -> Step {
        if self.done {
            return Step::HoldBack;
        }
        if event.data.is_empty() {
            // A comment has no place in an array.
            return if self.frame.framing == Framing::Events { Step::Forward(event.raw.clone()) } else { Step::HoldBack };
        }
        if event.is_done() {
            // Some servers send OpenAI's mark, which Gemini's clients do not know.
            self.done = self.may_be_over();
            return if self.done { Step::Done } else { Step::HoldBack };
        }
        let response = match Response::parse(&event.data) {
            Ok(response) => response,
            Err(message) => return Step::Error { message },
        };
        if self.answer_id.is_none() {
            self.answer_id = response.response_id.as_ref().map(|id| id.0.clone().into_owned()).filter(|id| !id.is_empty());
        }
        response.candidates().iter().for_each(|candidate| self.read(candidate));
        self.is_blocked |= response.is_blocked();
        let usage = response.usage_metadata.filter(|raw| raw.get() != "null");
        if let Some(raw) = usage {
            self.reported = usage::read(raw.get());
            self.usage = Some(event.data.slice(span_in(&event.data, raw.get())));
        }
        let earlier = self.last.take().map(|held| self.framed(&held));
        if self.may_be_over() {
            self.last = Some(event.clone());
            return match earlier {
                Some(bytes) => Step::Forward(bytes),
                None if usage.is_some() => Step::Usage,
                None => Step::HoldBack,
            };
        }
        let bytes = self.framed(event);
        Step::Forward(match earlier {
            Some(earlier) => Bytes::from([&earlier[..], &bytes[..]].concat()),
            None => bytes,
        })
    }

    fn has_content(&self) -> bool {
        self.has_content
    }

    fn is_complete(&self) -> bool {
        self.may_be_over()
    }

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
        let reported = self.usage.as_deref().and_then(|usage| std::str::from_utf8(usage).ok());
        let usage = usage::with_cost(reported, charge);
        let last = match &self.last {
            Some(last) => {
                let at = Response::parse(&last.data).ok().and_then(|response| Some(span_in(&last.data, response.usage_metadata?.get())));
                let end = last.data.iter().rposition(|byte| *byte == b'}').unwrap_or(0);
                set_usage(&last.data, at.as_ref(), end, usage)
            }
            // Nothing was held back, so the end has to be made up.
            None => {
                let candidate = r#"{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP","index":0}"#;
                Bytes::from(format!("{{\"candidates\":[{candidate}],\"usageMetadata\":{usage}}}"))
            }
        };
        let mut out = Vec::with_capacity(last.len() + 16);
        self.frame.end(&mut out, |out| push_line(out, &last));
        Bytes::from(out)
    }

    fn failure(&mut self, error: &ErrorBody<'_>) -> Bytes {
        let mut out = Vec::with_capacity(512);
        self.frame.fail(error, &mut out);
        Bytes::from(out)
    }
}
