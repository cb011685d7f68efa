//! A stream, read. Blocks come one after the other; only those of tools are announced.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    answer::{finish, stop_sequence},
    content::{ToolUse, Wire, signature},
    usage,
};
use crate::dialect::{
    canonical::{BlockStart, StreamEvent, ToolKind},
    format::StreamReader,
    json::Text,
    parse_upstream_error,
    sse::Event,
};

/// Reads one stream.
#[derive(Debug, Default)]
pub struct Reader {
    started: bool,
    ended: bool,
    next: u32,
    open: Option<Open>,
    calls: usize,
    stopped: bool,
}

#[derive(Debug)]
struct Open {
    /// The upstream's number of it.
    index: u32,
    block: u32,
    kind: Kind,
    is_empty: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Thought,
    Call,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    #[serde(default)]
    content_block_index: u32,
    #[serde(borrow, default)]
    start: Option<Wire<'a>>,
    #[serde(borrow, default)]
    delta: Option<Wire<'a>>,
    #[serde(borrow, default)]
    stop_reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    additional_model_response_fields: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

impl StreamReader for Reader {
    fn read(&mut self, event: &Event, events: &mut Vec<StreamEvent>) {
        if self.ended {
            return;
        }
        let Some(name) = event.event.as_deref() else {
            return events.extend(self.started.then_some(StreamEvent::Ping));
        };
        if name.starts_with(b"exception:") {
            return self.fail(parse_upstream_error(&event.data), events);
        }
        let Ok(payload) = serde_json::from_slice::<Payload<'_>>(&event.data) else {
            return self.fail("the upstream sent an event that is not the JSON it should be".to_owned(), events);
        };
        if !std::mem::replace(&mut self.started, true) {
            events.push(StreamEvent::Start { id: None, model: None });
        }
        let index = payload.content_block_index;
        match name {
            b"contentBlockStart" => {
                if let Some(call) = payload.start.as_ref().and_then(|start| start.tool_use.as_ref()) {
                    self.open_call(index, call, events);
                }
            }
            b"contentBlockDelta" => payload.delta.iter().for_each(|delta| self.delta(index, delta, events)),
            b"contentBlockStop" => self.close(events),
            b"messageStop" => self.stop(&payload, events),
            b"metadata" => {
                events.extend(payload.usage.and_then(usage::read).map(StreamEvent::Usage));
                if self.stopped {
                    self.ended = true;
                    events.push(StreamEvent::End);
                }
            }
            _ => {}
        }
    }

    fn ended(&mut self, events: &mut Vec<StreamEvent>) {
        if self.stopped && !std::mem::replace(&mut self.ended, true) {
            events.push(StreamEvent::End);
        }
    }
}

impl Reader {
    fn fail(&mut self, message: String, events: &mut Vec<StreamEvent>) {
        self.ended = true;
        events.push(StreamEvent::Error { message });
    }

    fn open(&mut self, index: u32, kind: Kind, start: BlockStart, events: &mut Vec<StreamEvent>) {
        self.close(events);
        events.push(StreamEvent::BlockStart { choice: 0, block: self.next, start });
        self.open = Some(Open { index, block: self.next, kind, is_empty: true });
        self.next += 1;
    }

    fn open_call(&mut self, index: u32, call: &ToolUse<'_>, events: &mut Vec<StreamEvent>) {
        let start = BlockStart::ToolCall { id: call.id(self.calls), name: call.name(), kind: ToolKind::Function };
        self.calls += 1;
        self.open(index, Kind::Call, start, events);
    }

    /// The block of this kind and number, begun when it is new.
    fn block(&mut self, index: u32, kind: Kind, events: &mut Vec<StreamEvent>) -> u32 {
        if let Some(open) = self.open.as_ref().filter(|open| open.index == index && open.kind == kind) {
            return open.block;
        }
        self.open(index, kind, if kind == Kind::Text { BlockStart::Text } else { BlockStart::Reasoning }, events);
        self.next - 1
    }

    fn delta(&mut self, index: u32, delta: &Wire<'_>, events: &mut Vec<StreamEvent>) {
        if let Some(text) = delta.text.as_ref().filter(|text| !text.0.is_empty()) {
            let block = self.block(index, Kind::Text, events);
            events.push(StreamEvent::Delta { choice: 0, block, text: text.0.to_string() });
        }
        if let (Some(citation), Some(open)) = (delta.citation(), self.open.as_ref().filter(|open| open.kind == Kind::Text)) {
            events.push(StreamEvent::Cited { choice: 0, block: open.block, citation });
        }
        if let Some(thought) = &delta.reasoning_content {
            let block = self.block(index, Kind::Thought, events);
            let text = thought.text.as_ref().map(|text| text.0.to_string()).filter(|text| !text.is_empty());
            events.extend(text.map(|text| StreamEvent::Delta { choice: 0, block, text }));
            let signed = thought.signature.as_ref().and_then(|value| signature(&value.0, false));
            let sealed = thought.redacted_content.as_ref().and_then(|value| signature(&value.0, true));
            events.extend(signed.or(sealed).map(|signature| StreamEvent::Signed { choice: 0, block, signature }));
        }
        if let Some(call) = &delta.tool_use {
            if !self.open.as_ref().is_some_and(|open| open.index == index && open.kind == Kind::Call) {
                self.open_call(index, call, events);
            }
            let text = call.input.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok()).unwrap_or_default();
            if let Some(open) = self.open.as_mut().filter(|_| !text.is_empty()) {
                open.is_empty = false;
                events.push(StreamEvent::Delta { choice: 0, block: open.block, text });
            }
        }
    }

    fn close(&mut self, events: &mut Vec<StreamEvent>) {
        let Some(open) = self.open.take() else { return };
        if open.kind == Kind::Call && open.is_empty {
            events.push(StreamEvent::Delta { choice: 0, block: open.block, text: "{}".to_owned() });
        }
        events.push(StreamEvent::BlockStop { choice: 0, block: open.block });
    }

    fn stop(&mut self, payload: &Payload<'_>, events: &mut Vec<StreamEvent>) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        self.close(events);
        let reason = payload.stop_reason.as_ref().map_or("", |reason| &reason.0);
        match finish(reason, self.calls > 0) {
            Ok(finish) => {
                let stop_sequence = payload.additional_model_response_fields.and_then(stop_sequence);
                events.push(StreamEvent::Finish { choice: 0, finish, stop_sequence });
            }
            Err(garbage) => self.fail(garbage.0, events),
        }
    }
}
