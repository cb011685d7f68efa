//! Pieces of one choice, as a server sends them, put into blocks that follow each other.
//!
//! Servers may send the pieces of several calls in turns. A block, once closed, cannot go on: a call stays open until its arguments are a
//! whole object, and what belongs behind it waits.

use std::collections::VecDeque;

use crate::dialect::canonical::{BlockStart, Citation, Signature, StreamEvent, ToolKind, citation::characters};

/// What a piece belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Text,
    Refusal,
    Thought,
    /// The position in [`Blocks::calls`].
    Call(usize),
}

#[derive(Debug)]
struct Call {
    index: Option<u32>,
    id: String,
    name: String,
    kind: ToolKind,
    closed: bool,
}

#[derive(Debug)]
struct Open {
    key: Key,
    block: u32,
    is_empty: bool,
    /// Code points of a text so far.
    characters: u32,
    /// The next piece of the same kind begins a new block.
    ended: bool,
    arguments: Balance,
}

#[derive(Debug)]
struct Waiting {
    key: Key,
    text: String,
    signatures: Vec<Signature>,
}

/// The blocks of one choice.
#[derive(Debug)]
pub(super) struct Blocks {
    choice: u32,
    next: u32,
    open: Option<Open>,
    waiting: VecDeque<Waiting>,
    calls: Vec<Call>,
    /// Code points of all texts before the one that is open.
    said: u32,
    refused: bool,
    /// A piece came for a call that was whole before.
    broken: bool,
}

impl Blocks {
    pub fn new(choice: u32) -> Self {
        Self { choice, next: 0, open: None, waiting: VecDeque::new(), calls: Vec::new(), said: 0, refused: false, broken: false }
    }

    pub fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    pub fn has_refusal(&self) -> bool {
        self.refused
    }

    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// The call that a fragment belongs to. Servers number calls by index; some use one index for all and tell them apart by their ids,
    /// some make a new id for every fragment, some number nothing.
    pub fn call(&mut self, index: Option<u32>, id: &str, name: &str, kind: ToolKind) -> Key {
        let by_id = |call: &Call| !id.is_empty() && call.id == id;
        let by_index = |call: &Call| index.is_some() && call.index == index;
        let found = self.calls.iter().position(by_id).or_else(|| match self.calls.iter().rposition(by_index) {
            Some(at) if name.is_empty() || id.is_empty() || self.calls[at].id.is_empty() => Some(at),
            Some(_) => None,
            None if index.is_none() && name.is_empty() => self.calls.len().checked_sub(1),
            None => None,
        });
        let at = found.unwrap_or_else(|| {
            self.calls.push(Call { index, id: String::new(), name: String::new(), kind, closed: false });
            self.calls.len() - 1
        });
        let call = &mut self.calls[at];
        if call.id.is_empty() {
            id.clone_into(&mut call.id);
        }
        if call.name.is_empty() {
            name.clone_into(&mut call.name);
        }
        Key::Call(at)
    }

    /// The next thought is another one.
    pub fn end_thought(&mut self) {
        if let Some(open) = self.open.as_mut().filter(|open| open.key == Key::Thought) {
            open.ended = true;
        }
    }

    pub fn piece(&mut self, key: Key, text: &str, events: &mut Vec<StreamEvent>) {
        self.refused |= key == Key::Refusal;
        if let Some(open) = self.open.as_mut().filter(|open| open.key == key && !open.ended) {
            push_delta(self.choice, open, text, events);
            return self.advance(events);
        }
        if let Key::Call(at) = key
            && self.calls.get(at).is_some_and(|call| call.closed)
        {
            self.broken |= !text.trim_ascii().is_empty();
            return;
        }
        match self.waiting_for(key) {
            Some(waiting) => waiting.text.push_str(text),
            None => self.waiting.push_back(Waiting { key, text: text.to_owned(), signatures: Vec::new() }),
        }
        self.advance(events);
    }

    /// What the text that is open is based on, in positions of the whole message. A text that has ended takes no more.
    pub fn cite(&mut self, citation: Citation, events: &mut Vec<StreamEvent>) {
        let Some(open) = self.open.as_ref().filter(|open| open.key == Key::Text) else { return };
        if let Some(citation) = citation.within(self.said, open.characters) {
            events.push(StreamEvent::Cited { choice: self.choice, block: open.block, citation });
        }
    }

    pub fn sign(&mut self, key: Key, signature: Signature, events: &mut Vec<StreamEvent>) {
        if let Some(open) = self.open.as_mut().filter(|open| open.key == key && !open.ended) {
            events.push(StreamEvent::Signed { choice: self.choice, block: open.block, signature });
            open.ended = key == Key::Thought;
            return;
        }
        if matches!(key, Key::Call(at) if self.calls.get(at).is_some_and(|call| call.closed)) {
            return;
        }
        match self.waiting_for(key) {
            Some(waiting) => waiting.signatures.push(signature),
            None => self.waiting.push_back(Waiting { key, text: String::new(), signatures: vec![signature] }),
        }
        self.advance(events);
    }

    fn waiting_for(&mut self, key: Key) -> Option<&mut Waiting> {
        match key {
            Key::Call(_) => self.waiting.iter_mut().find(|waiting| waiting.key == key),
            // A thought that is signed is at its end.
            _ => self.waiting.back_mut().filter(|waiting| waiting.key == key && waiting.signatures.is_empty()),
        }
    }

    /// Opens what waits, as far as what is open lets it.
    fn advance(&mut self, events: &mut Vec<StreamEvent>) {
        while let Some(first) = self.waiting.front() {
            let named = !matches!(first.key, Key::Call(at) if self.calls.get(at).is_some_and(|call| call.name.is_empty()));
            let free = self.open.as_ref().is_none_or(|open| self.may_close(open));
            if !named || !free {
                return;
            }
            self.open_next(events);
        }
    }

    fn may_close(&self, open: &Open) -> bool {
        match open.key {
            Key::Call(at) => open.arguments.is_whole() || self.calls.get(at).is_some_and(|call| call.kind == ToolKind::Custom),
            _ => true,
        }
    }

    fn open_next(&mut self, events: &mut Vec<StreamEvent>) {
        self.close(events);
        let Some(Waiting { key, text, signatures }) = self.waiting.pop_front() else { return };
        let block = self.next;
        self.next += 1;
        let start = match key {
            Key::Text => BlockStart::Text,
            Key::Refusal => BlockStart::Refusal,
            Key::Thought => BlockStart::Reasoning,
            Key::Call(at) => match self.calls.get(at) {
                Some(Call { id, name, kind, .. }) => {
                    let id = if id.is_empty() { format!("call_{at}") } else { id.clone() };
                    BlockStart::ToolCall { id, name: name.clone(), kind: *kind }
                }
                None => return,
            },
        };
        events.push(StreamEvent::BlockStart { choice: self.choice, block, start });
        let mut open = Open {
            key,
            block,
            is_empty: true,
            characters: 0,
            ended: key == Key::Thought && !signatures.is_empty(),
            arguments: Balance::default(),
        };
        push_delta(self.choice, &mut open, &text, events);
        events.extend(signatures.into_iter().map(|signature| StreamEvent::Signed { choice: self.choice, block, signature }));
        self.open = Some(open);
    }

    fn close(&mut self, events: &mut Vec<StreamEvent>) {
        let Some(mut open) = self.open.take() else { return };
        self.said = self.said.saturating_add(open.characters);
        if let Key::Call(at) = open.key
            && let Some(call) = self.calls.get_mut(at)
        {
            call.closed = true;
            if open.is_empty && call.kind == ToolKind::Function {
                push_delta(self.choice, &mut open, "{}", events);
            }
        }
        events.push(StreamEvent::BlockStop { choice: self.choice, block: open.block });
    }

    /// Opens and closes everything.
    pub fn finish(&mut self, events: &mut Vec<StreamEvent>) {
        while !self.waiting.is_empty() {
            self.open_next(events);
        }
        self.close(events);
    }
}

fn push_delta(choice: u32, open: &mut Open, text: &str, events: &mut Vec<StreamEvent>) {
    if text.is_empty() {
        return;
    }
    open.is_empty = false;
    match open.key {
        Key::Call(_) => open.arguments.take(text),
        Key::Text => open.characters = open.characters.saturating_add(characters(text)),
        Key::Refusal | Key::Thought => {}
    }
    events.push(StreamEvent::Delta { choice, block: open.block, text: text.to_owned() });
}

/// Whether the pieces of a JSON object are a whole one yet.
#[derive(Debug, Default)]
struct Balance {
    depth: usize,
    in_string: bool,
    escaped: bool,
    whole: bool,
}

impl Balance {
    fn take(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.whole = self.depth == 0;
                }
                _ => {}
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.whole
    }
}
