//! Chunks of a server, read into canonical events.

use super::{
    super::{
        answer::read_finish,
        request::thought_signature,
        wire::{Choice, Piece, Said, Written},
    },
    blocks::{Blocks, Key},
};
use crate::dialect::{
    canonical::{Finish, StreamEvent, ToolKind},
    format::StreamReader,
    json,
    openai::{stated_error, usage},
    parse_upstream_error,
    sse::Event,
};

/// Reads one stream.
#[derive(Debug, Default)]
pub struct Reader {
    started: bool,
    ended: bool,
    choices: Vec<Chosen>,
}

#[derive(Debug)]
struct Chosen {
    index: u32,
    blocks: Blocks,
    finish: Option<(String, Option<String>)>,
    /// Index of the last detail of a thought.
    detail: Option<u32>,
}

impl StreamReader for Reader {
    fn read(&mut self, event: &Event, events: &mut Vec<StreamEvent>) {
        if self.ended {
            return;
        }
        if event.data.is_empty() {
            return events.extend(self.started.then_some(StreamEvent::Ping));
        }
        if event.is_done() {
            return self.finish(events);
        }
        let text = std::str::from_utf8(&event.data).ok().filter(|text| json::is_object(text));
        let Some(chunk) = text.and_then(|text| serde_json::from_str::<Written<'_>>(text).ok()) else {
            return self.fail("the upstream sent an event that is not the JSON it should be".to_owned(), events);
        };
        if stated_error(chunk.object.as_ref(), chunk.error) || event.event.as_deref() == Some(b"error") {
            return self.fail(parse_upstream_error(&event.data), events);
        }
        if !std::mem::replace(&mut self.started, true) {
            let id = chunk.id.map(|id| id.0.into_owned());
            events.push(StreamEvent::Start { id, model: chunk.model.map(|model| model.0.into_owned()) });
        }
        for choice in chunk.choices.iter().flatten() {
            self.chosen(choice.index.unwrap_or(0)).read(choice, events);
        }
        if self.choices.iter().any(|chosen| chosen.blocks.is_broken()) {
            return self.fail("the upstream went on with a tool call that was whole".to_owned(), events);
        }
        events.extend(chunk.usage.and_then(|raw| usage::read(raw.get())).map(StreamEvent::Usage));
    }

    fn ended(&mut self, events: &mut Vec<StreamEvent>) {
        if !self.ended && !self.choices.is_empty() && self.choices.iter().all(|chosen| chosen.finish.is_some()) {
            self.finish(events);
        }
    }
}

impl Reader {
    fn chosen(&mut self, index: u32) -> &mut Chosen {
        let at = self.choices.iter().position(|chosen| chosen.index == index).unwrap_or_else(|| {
            self.choices.push(Chosen { index, blocks: Blocks::new(index), finish: None, detail: None });
            self.choices.len() - 1
        });
        &mut self.choices[at]
    }

    /// The good end. Servers that gave no reason are taken to have said all.
    fn finish(&mut self, events: &mut Vec<StreamEvent>) {
        self.ended = true;
        if !self.started {
            events.push(StreamEvent::Start { id: None, model: None });
        }
        self.chosen(0);
        self.choices.sort_by_key(|chosen| chosen.index);
        for chosen in &mut self.choices {
            chosen.blocks.finish(events);
            let (finish, stop_sequence) = chosen.ending();
            events.push(StreamEvent::Finish { choice: chosen.index, finish, stop_sequence });
        }
        events.push(StreamEvent::End);
    }

    fn fail(&mut self, message: String, events: &mut Vec<StreamEvent>) {
        self.ended = true;
        events.push(StreamEvent::Error { message });
    }
}

impl Chosen {
    fn ending(&mut self) -> (Finish, Option<String>) {
        let (reason, stop_sequence) = self.finish.take().unwrap_or_default();
        (read_finish(Some(&*reason), self.blocks.has_calls(), self.blocks.has_refusal()), stop_sequence)
    }

    fn read(&mut self, choice: &Choice<'_>, events: &mut Vec<StreamEvent>) {
        if let Some(said) = choice.said() {
            self.read_thoughts(said, events);
            said.for_each_piece(|piece| match piece {
                Piece::Text(text) => self.blocks.piece(Key::Text, &text, events),
                Piece::Thought(text) => self.blocks.piece(Key::Thought, &text, events),
            });
            said.citations().into_iter().for_each(|citation| self.blocks.cite(citation, events));
            if let Some(text) = said.refusal() {
                self.blocks.piece(Key::Refusal, text, events);
            }
            self.read_calls(said, events);
        }
        if let Some(logprobs) = choice.logprobs() {
            events.push(StreamEvent::Logprobs { choice: self.index, logprobs });
        }
        if let Some(reason) = choice.finish_reason() {
            self.blocks.finish(events);
            self.finish = Some((reason.to_owned(), choice.stop_sequence()));
        }
    }

    fn read_thoughts(&mut self, said: &Said<'_>, events: &mut Vec<StreamEvent>) {
        let details = said.details();
        // Some servers say the same twice, plainly and in details.
        if details.iter().all(|detail| detail.text().is_empty()) && !said.thoughts().is_empty() {
            self.blocks.piece(Key::Thought, said.thoughts(), events);
        }
        for detail in details {
            if detail.index.is_some() && self.detail != detail.index {
                if self.detail.is_some() {
                    self.blocks.end_thought();
                }
                self.detail = detail.index;
            }
            if !detail.text().is_empty() {
                self.blocks.piece(Key::Thought, detail.text(), events);
            }
            if let Some(signature) = detail.signature() {
                self.blocks.sign(Key::Thought, signature, events);
            }
        }
    }

    fn read_calls(&mut self, said: &Said<'_>, events: &mut Vec<StreamEvent>) {
        for call in said.tool_calls.iter().flatten() {
            let (function, kind) = match (&call.function, &call.custom) {
                (None, Some(custom)) => (Some(custom), ToolKind::Custom),
                (function, _) => (function.as_ref(), ToolKind::Function),
            };
            let id = call.id.as_ref().map_or("", |id| &id.0);
            let key = self.blocks.call(call.index, id, function.map_or("", |function| function.name()), kind);
            self.blocks.piece(key, &function.map(|function| function.arguments()).unwrap_or_default(), events);
            if let Some(signature) = call.extra_content.and_then(thought_signature) {
                self.blocks.sign(key, signature, events);
            }
        }
        if let Some(function) = &said.function_call {
            let key = self.blocks.call(Some(0), "", function.name(), ToolKind::Function);
            self.blocks.piece(key, &function.arguments(), events);
        }
    }
}
