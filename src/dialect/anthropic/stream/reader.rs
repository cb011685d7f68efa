//! Reads an upstream's stream into canonical events.

use serde_json::value::RawValue;

use super::{Chunk, Delta, NOT_JSON, is_error, parse};
use crate::dialect::{
    anthropic::{
        STRUCTURED_ANSWER,
        answer::{Fragment, owned, signed},
        citations, stop, usage,
    },
    canonical::{BlockStart, Finish, StreamEvent, ToolKind},
    format::StreamReader,
    json, parse_upstream_error,
    sse::Event,
};

/// State of one stream.
#[derive(Debug, Default)]
pub(in crate::dialect::anthropic) struct Reader {
    has_started: bool,
    /// The upstream's index of the open block, and what is known of it; `None` inside when it means nothing to others.
    open: Option<(u32, Option<Open>)>,
    /// Number of the next block.
    next_block: u32,
    has_calls: bool,
    /// What `message_start` says of the input, and what came since.
    usage: Option<usage::Reported>,
    is_finished: bool,
    is_over: bool,
}

#[derive(Debug)]
struct Open {
    block: u32,
    is_call: bool,
    is_text: bool,
    /// The whole input, when it came with the start of a call.
    input: Option<String>,
    has_delta: bool,
}

impl Reader {
    fn start(&mut self, chunk: &Chunk<'_>, events: &mut Vec<StreamEvent>) {
        if self.has_started {
            return;
        }
        self.has_started = true;
        let (mut id, mut model) = (None, None);
        if let Some(message) = &chunk.message {
            id = message.id.as_ref().map(|id| id.0.clone().into_owned());
            model = message.model.as_ref().map(|model| model.0.clone().into_owned());
            self.usage = message.usage.and_then(|raw| usage::Reported::read(raw.get()));
        }
        events.push(StreamEvent::Start { id, model });
    }

    fn open(&mut self, index: u32, fragment: Fragment<'_>, events: &mut Vec<StreamEvent>) {
        self.close(events);
        let name = owned(fragment.name);
        let is_answer = fragment.kind.0 == "tool_use" && name == STRUCTURED_ANSWER;
        let (start, text, signature) = match &*fragment.kind.0 {
            "text" => (BlockStart::Text, owned(fragment.text), None),
            "thinking" => (BlockStart::Reasoning, owned(fragment.thinking), signed(owned(fragment.signature), false)),
            "redacted_thinking" => (BlockStart::Reasoning, String::new(), signed(owned(fragment.data), true)),
            "tool_use" if is_answer => (BlockStart::Text, String::new(), None),
            "tool_use" => (BlockStart::ToolCall { id: owned(fragment.id), name, kind: ToolKind::Function }, String::new(), None),
            _ => {
                self.open = Some((index, None));
                return;
            }
        };
        let block = self.next_block;
        self.next_block += 1;
        let is_call = matches!(start, BlockStart::ToolCall { .. });
        let is_text = start == BlockStart::Text;
        self.has_calls |= is_call;
        // Usually an empty object, filled by deltas.
        let input = fragment.input.map(RawValue::get).filter(|input| json::is_object(input) && !is_empty(input));
        self.open = Some((index, Some(Open { block, is_call, is_text, input: input.map(str::to_owned), has_delta: false })));
        events.push(StreamEvent::BlockStart { choice: 0, block, start });
        if !text.is_empty() {
            events.push(StreamEvent::Delta { choice: 0, block, text });
        }
        let cited = fragment.citations.filter(|_| is_text).map(citations::read).unwrap_or_default();
        events.extend(cited.into_iter().map(|citation| StreamEvent::Cited { choice: 0, block, citation }));
        if let Some(signature) = signature {
            events.push(StreamEvent::Signed { choice: 0, block, signature });
        }
    }

    fn delta(&mut self, index: u32, delta: &Delta<'_>, events: &mut Vec<StreamEvent>) {
        if self.open.as_ref().is_none_or(|(open, _)| *open != index) {
            // A server that does not announce its blocks.
            let kind = match delta {
                Delta { text: Some(_), .. } => "text",
                Delta { thinking: Some(_), .. } => "thinking",
                _ => return,
            };
            let fragment = Fragment {
                kind: json::Prose(kind.into()),
                text: None,
                citations: None,
                thinking: None,
                signature: None,
                data: None,
                id: None,
                name: None,
                input: None,
            };
            self.open(index, fragment, events);
        }
        let Some((_, Some(open))) = &mut self.open else { return };
        let block = open.block;
        let text = delta.text();
        if !text.is_empty() {
            open.has_delta = true;
            events.push(StreamEvent::Delta { choice: 0, block, text: text.to_owned() });
        }
        if let Some(citation) = delta.citation.filter(|_| open.is_text).and_then(citations::read_one) {
            events.push(StreamEvent::Cited { choice: 0, block, citation });
        }
        if let Some(signature) = delta.signature.as_ref().and_then(|signature| signed(signature.0.clone().into_owned(), false)) {
            events.push(StreamEvent::Signed { choice: 0, block, signature });
        }
    }

    fn close(&mut self, events: &mut Vec<StreamEvent>) {
        let Some((_, Some(open))) = self.open.take() else { return };
        let Open { block, is_call, input, has_delta, .. } = open;
        match input {
            Some(input) if !has_delta => events.push(StreamEvent::Delta { choice: 0, block, text: input }),
            // A tool without arguments streams none, and none are an empty object.
            None if is_call && !has_delta => events.push(StreamEvent::Delta { choice: 0, block, text: "{}".to_owned() }),
            _ => {}
        }
        events.push(StreamEvent::BlockStop { choice: 0, block });
    }

    fn message_delta(&mut self, chunk: Chunk<'_>, events: &mut Vec<StreamEvent>) {
        if let Some(report) = chunk.usage.and_then(|raw| usage::Reported::read(raw.get())) {
            let merged = report.after(self.usage.take());
            events.push(StreamEvent::Usage(merged.quantities()));
            self.usage = Some(merged);
        }
        let Some(delta) = chunk.delta else { return };
        let Some(reason) = delta.stop_reason.filter(|reason| !reason.0.is_empty()) else { return };
        let finish = stop::finish_of(&reason.0);
        let explanation = owned(delta.stop_details.and_then(|details| details.explanation));
        let stop_sequence = delta.stop_sequence.map(|sequence| sequence.0.into_owned()).filter(|sequence| !sequence.is_empty());
        self.finish(finish, &explanation, stop_sequence, events);
    }

    fn finish(&mut self, finish: Finish, explanation: &str, stop_sequence: Option<String>, events: &mut Vec<StreamEvent>) {
        if self.is_finished {
            return;
        }
        self.is_finished = true;
        self.close(events);
        if finish == Finish::Refused && !explanation.is_empty() {
            let block = self.next_block;
            self.next_block += 1;
            events.push(StreamEvent::BlockStart { choice: 0, block, start: BlockStart::Refusal });
            events.push(StreamEvent::Delta { choice: 0, block, text: explanation.to_owned() });
            events.push(StreamEvent::BlockStop { choice: 0, block });
        }
        // The only call may have been the answer itself.
        let finish = if finish == Finish::ToolCalls && !self.has_calls { Finish::Stop } else { finish };
        events.push(StreamEvent::Finish { choice: 0, finish, stop_sequence });
    }

    fn fail(&mut self, message: String, events: &mut Vec<StreamEvent>) {
        self.is_over = true;
        events.push(StreamEvent::Error { message });
    }
}

fn is_empty(object: &str) -> bool {
    json::members(object).is_none_or(|members| members.is_empty())
}

impl StreamReader for Reader {
    fn read(&mut self, event: &Event, events: &mut Vec<StreamEvent>) {
        if self.is_over || event.data.is_empty() {
            return;
        }
        let Some(chunk) = parse(&event.data) else { return self.fail(NOT_JSON.to_owned(), events) };
        if is_error(&chunk, event.event.as_deref()) {
            return self.fail(parse_upstream_error(&event.data), events);
        }
        let index = chunk.index.unwrap_or(0);
        match &*chunk.kind.0 {
            "ping" => events.push(StreamEvent::Ping),
            "message_start" => self.start(&chunk, events),
            "content_block_start" if !self.is_finished => {
                self.start(&chunk, events);
                if let Some(fragment) = chunk.content_block {
                    self.open(index, fragment, events);
                }
            }
            "content_block_delta" if !self.is_finished => {
                self.start(&chunk, events);
                if let Some(delta) = &chunk.delta {
                    self.delta(index, delta, events);
                }
            }
            "content_block_stop" => self.close(events),
            "message_delta" => {
                self.start(&chunk, events);
                self.message_delta(chunk, events);
            }
            "message_stop" => {
                self.start(&chunk, events);
                self.finish(Finish::Stop, "", None, events);
                self.is_over = true;
                events.push(StreamEvent::End);
            }
            _ => {}
        }
    }

    /// Without `message_stop` the stream was cut, whatever came before.
    fn ended(&mut self, _: &mut Vec<StreamEvent>) {}
}
