//! An upstream's stream, read into canonical events.

use crate::dialect::{
    canonical::{BlockStart, Finish, StreamEvent, ToolKind},
    format::StreamReader,
    gemini::{
        citations, logprobs, signature, usage,
        wire::{Candidate, Ending, Part, Response},
    },
    sse::Event,
};

/// Text beyond this is not kept, and what supports it stands for all of its block.
const SAID_BYTES_MAX: usize = 1024 * 1024;
/// Candidates beyond this are nonsense.
const CANDIDATES_MAX: usize = 128;

#[derive(Debug, Default)]
pub(in crate::dialect::gemini) struct Reader {
    started: bool,
    response_id: Option<String>,
    choices: Vec<State>,
    is_blocked: bool,
    /// The end or an error was told.
    over: bool,
}

/// One candidate.
#[derive(Debug, Default)]
struct State {
    blocks: u32,
    open: Option<Open>,
    calls: usize,
    has_content: bool,
    ending: Option<Ending>,
    /// All text so far, up to a limit, and where the text that is open begins: positions of citations count its bytes.
    said: String,
    open_from: usize,
}

/// What goes on until something else comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Text,
    Reasoning,
}

impl StreamReader for Reader {
    fn read(&mut self, event: &Event, events: &mut Vec<StreamEvent>) {
        if self.over || event.data.is_empty() {
            return;
        }
        if event.is_done() {
            return self.ended(events);
        }
        let response = match Response::parse(&event.data) {
            Ok(response) => response,
            Err(message) => return self.fail(message, events),
        };
        if !self.started {
            self.started = true;
            self.response_id = response.response_id.as_ref().map(|id| id.0.clone().into_owned());
            let model = response.model_version.as_ref().map(|model| model.0.clone().into_owned());
            events.push(StreamEvent::Start { id: self.response_id.clone(), model });
        }
        self.is_blocked |= response.is_blocked();
        for candidate in response.candidates() {
            if candidate.ending() == Some(Ending::Failed) {
                return self.fail(candidate.failure(), events);
            }
            let index = candidate.index.unwrap_or(0);
            if index as usize >= CANDIDATES_MAX {
                return self.fail(format!("the upstream sent a candidate with the index {index}"), events);
            }
            self.read_candidate(candidate, index, events);
        }
        if let Some(usage) = response.usage_metadata.and_then(|raw| usage::read(raw.get())) {
            events.push(StreamEvent::Usage(usage));
        }
    }

    /// There is no end mark: a stream whose candidates all gave their reason has ended well, also when more could have come.
    fn ended(&mut self, events: &mut Vec<StreamEvent>) {
        if self.over {
            return;
        }
        if self.choices.is_empty() && self.is_blocked {
            self.choices.push(State { ending: Some(Ending::Filtered), ..State::default() });
        }
        if self.choices.is_empty() || self.choices.iter().any(|choice| choice.ending.is_none()) {
            return;
        }
        for (choice, state) in (0..).zip(&mut self.choices) {
            state.close(choice, events);
            let finish = state.ending.map_or(Finish::Stop, |ending| ending.finish(state.calls > 0, state.has_content));
            events.push(StreamEvent::Finish { choice, finish, stop_sequence: None });
        }
        events.push(StreamEvent::End);
        self.over = true;
    }
}

impl Reader {
    fn fail(&mut self, message: String, events: &mut Vec<StreamEvent>) {
        self.over = true;
        events.push(StreamEvent::Error { message });
    }

    fn read_candidate(&mut self, candidate: &Candidate<'_>, index: u32, events: &mut Vec<StreamEvent>) {
        if self.choices.len() <= index as usize {
            self.choices.resize_with(index as usize + 1, State::default);
        }
        let Some(state) = self.choices.get_mut(index as usize) else { return };
        let mut found = citations::found(candidate);
        for part in candidate.parts() {
            if state.ends_text(part) {
                // What comes with the end of a text is about it.
                state.cite(std::mem::take(&mut found), index, events);
            }
            state.read(part, index, self.response_id.as_deref(), events);
        }
        state.cite(found, index, events);
        if let Some(logprobs) = candidate.logprobs_result.and_then(logprobs::to_chat) {
            events.push(StreamEvent::Logprobs { choice: index, logprobs });
        }
        state.ending = candidate.ending().or(state.ending);
    }
}

impl State {
    fn read(&mut self, part: &Part<'_>, choice: u32, response_id: Option<&str>, events: &mut Vec<StreamEvent>) {
        let signed = part.signature().and_then(signature);
        if let Some(call) = &part.function_call {
            let id = call.id(response_id, self.calls);
            self.calls += 1;
            self.has_content = true;
            self.close(choice, events);
            let start = BlockStart::ToolCall { id, name: call.name().to_owned(), kind: ToolKind::Function };
            let block = self.begin(choice, start, events);
            events.push(StreamEvent::Delta { choice, block, text: call.arguments().to_owned() });
            events.extend(signed.map(|signature| StreamEvent::Signed { choice, block, signature }));
            events.push(StreamEvent::BlockStop { choice, block });
            return;
        }
        let kind = if part.is_thought() { Open::Reasoning } else { Open::Text };
        let text = part.text();
        if !text.is_empty() {
            self.has_content = true;
            let block = self.open(kind, choice, events);
            if kind == Open::Text && self.said.len() < SAID_BYTES_MAX {
                self.said.push_str(text);
            }
            events.push(StreamEvent::Delta { choice, block, text: text.to_owned() });
        }
        if let Some(signature) = signed {
            // A signature on words that are no thought travels as a thought without words behind them.
            let block = self.open(Open::Reasoning, choice, events);
            events.push(StreamEvent::Signed { choice, block, signature });
            self.close(choice, events);
        }
    }

    /// Whether this part closes a text and is no text itself.
    fn ends_text(&self, part: &Part<'_>) -> bool {
        self.open == Some(Open::Text) && (part.function_call.is_some() || part.is_thought() || part.text().is_empty())
    }

    /// Gives out what supports the text that is open; an earlier one has ended and takes no more.
    fn cite(&self, found: Vec<citations::Found>, choice: u32, events: &mut Vec<StreamEvent>) {
        if found.is_empty() || self.open != Some(Open::Text) {
            return;
        }
        let (block, (before, text)) = (self.blocks.saturating_sub(1), self.said.split_at(self.open_from));
        let cited = found.into_iter().filter_map(|found| found.within(before, text));
        events.extend(cited.map(|citation| StreamEvent::Cited { choice, block, citation }));
    }

    fn begin(&mut self, choice: u32, start: BlockStart, events: &mut Vec<StreamEvent>) -> u32 {
        let block = self.blocks;
        self.blocks += 1;
        events.push(StreamEvent::BlockStart { choice, block, start });
        block
    }

    /// The number of the block of this kind that is open, begun now if need be.
    fn open(&mut self, kind: Open, choice: u32, events: &mut Vec<StreamEvent>) -> u32 {
        if self.open == Some(kind) {
            return self.blocks.saturating_sub(1);
        }
        self.close(choice, events);
        self.open = Some(kind);
        self.open_from = self.said.len();
        self.begin(choice, if kind == Open::Text { BlockStart::Text } else { BlockStart::Reasoning }, events)
    }

    fn close(&mut self, choice: u32, events: &mut Vec<StreamEvent>) {
        if self.open.take().is_some() {
            events.push(StreamEvent::BlockStop { choice, block: self.blocks.saturating_sub(1) });
        }
    }
}
