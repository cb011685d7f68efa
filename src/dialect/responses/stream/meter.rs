//! A stream of an upstream of this dialect, followed while it passes: what was delivered, and its last event, which is held back until
//! the call's cost is known.

use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    super::{
        answer::{Fields, own_members},
        edit,
        object::{End, Frame, Ids, Status},
        usage,
    },
    push_error, push_event, response_error,
};
use crate::{
    dialect::{
        Charge, ErrorBody, Meter, Step,
        errors::parse_upstream_error,
        format::Writing,
        json::{self, Prose, Text},
        sse::Event,
        tokens,
    },
    domain::pricing::Quantities,
};

/// Delivered text is kept for counting up to this size, then counted and dropped (a millisecond), so that memory is bounded.
const UNCOUNTED_BYTES_MAX: usize = 32 * 1024;

pub(in super::super) struct PassedStream {
    frame: Frame,
    /// What the gateway says instead of the upstream.
    own: Vec<(&'static str, String)>,
    is_kept: bool,
    id: Option<String>,
    sequence_number: u64,
    has_content: bool,
    uncounted: String,
    counted_tokens: u64,
    reported: Option<Quantities>,
    /// Data of the last event, and where the response lies in it.
    last: Option<(Bytes, Range<usize>)>,
    /// The newest response object that came by, for the one that says that the stream failed.
    newest: Option<Bytes>,
    whole: Option<Bytes>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<Text<'a>>,
    #[serde(default)]
    sequence_number: Option<u64>,
    #[serde(borrow, default)]
    delta: Option<Prose<'a>>,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

impl PassedStream {
    pub fn new(writing: &Writing) -> Self {
        Self {
            frame: Frame::of(writing),
            own: own_members(writing),
            is_kept: writing.head.chain.kept,
            id: writing.head.chain.kept.then(|| Ids::of(writing).response()),
            sequence_number: 0,
            has_content: false,
            uncounted: String::new(),
            counted_tokens: 0,
            reported: None,
            last: None,
            newest: None,
            whole: None,
        }
    }

    /// An event with the response as it stands. It is the upstream's but for where the answer is kept.
    fn on_response(&mut self, kind: &str, raw: &RawValue, event: &Event) -> Step {
        let span = json::span_in(&event.data, raw.get());
        self.newest = Some(event.data.slice(span.clone()));
        let response: Response<'_> = serde_json::from_str(raw.get()).unwrap_or(Response { id: None, usage: None });
        if self.id.is_none() {
            self.id = response.id.map(|id| id.0.into_owned()).filter(|id| !id.is_empty());
        }
        if matches!(kind, "response.completed" | "response.incomplete") {
            self.reported = serde_json::from_str::<Fields<'_>>(raw.get()).ok().and_then(|fields| fields.used());
            self.last = Some((event.data.clone(), span));
            return Step::Done;
        }
        if self.own.is_empty() {
            return Step::Forward(event.raw.clone());
        }
        let Some(edited) = edit::set(raw.get(), &self.own_members()) else { return Step::Forward(event.raw.clone()) };
        let mut out = Vec::with_capacity(event.raw.len() + 64);
        push_event(kind, &json::splice(&event.data, &[json::Edit { at: span, with: edited }]), &mut out);
        Step::Forward(Bytes::from(out))
    }

    fn own_members(&self) -> Vec<(&str, &str)> {
        self.own.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    fn count(&mut self, text: &str) {
        self.has_content = true;
        self.uncounted.push_str(text);
        if self.uncounted.len() > UNCOUNTED_BYTES_MAX {
            self.counted_tokens += tokens::count(&self.uncounted);
            self.uncounted.clear();
        }
    }

    /// The whole response, with its cost and where it is kept.
    fn finished(&self, charge: &Charge) -> Option<(Bytes, Range<usize>, String)> {
        let (data, span) = self.last.clone()?;
        let text = std::str::from_utf8(data.get(span.clone())?).ok()?;
        let reported = serde_json::from_str::<Response<'_>>(text).ok().and_then(|response| response.usage).map(RawValue::get);
        let usage = usage::with_cost(reported, charge);
        let mut values = vec![("usage", &*usage)];
        values.extend(self.own_members());
        let edited = edit::set(text, &values)?;
        Some((data, span, edited))
    }
}

impl Meter for PassedStream {
    fn on_event(&mut self, event: &Event) -> Step {
        if self.last.is_some() {
            return Step::HoldBack;
        }
        // An end mark means nothing here; comments pass.
        if event.data.is_empty() || event.is_done() {
            return if event.is_done() { Step::HoldBack } else { Step::Forward(event.raw.clone()) };
        }
        let text = std::str::from_utf8(&event.data).ok().filter(|text| json::is_object(text));
        let Some(wire) = text.and_then(|text| serde_json::from_str::<Wire<'_>>(text).ok()) else {
            return Step::Error { message: "the upstream sent an event that is not the JSON it should be".to_owned() };
        };
        self.sequence_number = wire.sequence_number.unwrap_or(self.sequence_number);
        let named = event.event.as_deref().and_then(|name| std::str::from_utf8(name).ok());
        let kind = wire.kind.as_ref().map(|kind| &*kind.0).or(named).unwrap_or_default();
        match (kind, wire.response) {
            ("response.failed", Some(response)) => Step::Error { message: parse_upstream_error(response.get().as_bytes()) },
            ("error" | "response.failed", _) => Step::Error { message: parse_upstream_error(&event.data) },
            (_, Some(response)) => self.on_response(kind, response, event),
            (_, None) if wire.error.is_some_and(|error| error.get() != "null") => {
                Step::Error { message: parse_upstream_error(&event.data) }
            }
            (kind, None) => {
                if let Some(Prose(text)) = wire.delta.as_ref().filter(|_| kind != "response.audio.delta") {
                    self.count(text);
                }
                // Tools that run at the vendor work before the first text.
                self.has_content |= kind == "response.output_item.done";
                Step::Forward(event.raw.clone())
            }
        }
    }

    fn has_content(&self) -> bool {
        self.has_content
    }

    fn is_complete(&self) -> bool {
        self.last.is_some()
    }

    fn answer_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn reported(&self) -> Option<Quantities> {
        self.reported
    }

    fn produced_tokens(&self) -> u64 {
        self.counted_tokens + tokens::count(&self.uncounted)
    }

    fn final_events(&mut self, charge: &Charge) -> Bytes {
        let Some((data, span, response)) = self.finished(charge) else { return Bytes::new() };
        let kind = serde_json::from_slice::<Wire<'_>>(&data).ok().and_then(|wire| wire.kind.map(|kind| kind.0.into_owned()));
        self.whole = self.is_kept.then(|| Bytes::from(response.clone()));
        let mut out = Vec::with_capacity(data.len() + 256);
        let data = json::splice(&data, &[json::Edit { at: span, with: response }]);
        push_event(kind.as_deref().unwrap_or(Status::Completed.event()), &data, &mut out);
        Bytes::from(out)
    }

    fn kept(&self) -> Option<Bytes> {
        self.whole.clone()
    }

    fn failure(&mut self, error: &ErrorBody<'_>) -> Bytes {
        let mut out = Vec::with_capacity(2048);
        push_error(error, self.sequence_number + 1, &mut out);
        let why = response_error(error);
        let newest = self.newest.as_deref().and_then(|newest| std::str::from_utf8(newest).ok());
        let edited = newest.and_then(|newest| edit::set(newest, &[("status", r#""failed""#), ("error", &why), ("usage", "null")]));
        let response = edited.unwrap_or_else(|| {
            let mut made = Vec::new();
            self.frame.write(Status::Failed, End { error: Some(&why), ..End::default() }, "[]", &mut made);
            String::from_utf8_lossy(&made).into_owned()
        });
        let event = format!(r#"{{"type":"response.failed","sequence_number":{},"response":{response}}}"#, self.sequence_number + 2);
        push_event(Status::Failed.event(), event.as_bytes(), &mut out);
        Bytes::from(out)
    }
}
