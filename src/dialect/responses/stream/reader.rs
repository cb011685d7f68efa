//! An upstream's stream of this dialect, as canonical events.
//!
//! Blocks are given out strictly one after the other: what comes for a block while another is open waits until that one is done.

use std::collections::{HashSet, VecDeque};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::{
    answer::{self, chat_logprobs},
    items::PARAGRAPH,
    signature,
};
use crate::dialect::{
    canonical::{Block, BlockStart, Citation, Content, Signature, StreamEvent, ToolKind},
    errors::parse_upstream_error,
    format::StreamReader,
    json::{self, Prose, Text},
    openai::annotations,
    sse::Event,
};

/// Which block an event belongs to: by the index of its item, else by the item's id (some servers leave out one, some write another id
/// into each event), else whatever is open.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Key {
    output: Option<u64>,
    item: Option<String>,
    part: u64,
}

impl Key {
    fn of(wire: &Wire<'_>, item: Option<&Item<'_>>) -> Self {
        let id = item.and_then(|item| item.id.as_ref()).or(wire.item_id.as_ref());
        let item = id.map(|id| id.0.clone().into_owned()).filter(|_| wire.output_index.is_none());
        Self { output: wire.output_index, item, part: 0 }
    }

    fn part(self, part: Option<u64>) -> Self {
        Self { part: part.unwrap_or(0), ..self }
    }

    fn is_same_item(&self, other: &Self) -> bool {
        match ((self.output, other.output), (&self.item, &other.item)) {
            ((Some(left), Some(right)), _) => left == right,
            (_, (Some(left), Some(right))) => left == right,
            _ => true,
        }
    }
}

#[derive(Debug)]
struct Pending {
    key: Key,
    start: BlockStart,
    /// What came while another block was open.
    waiting: String,
    /// Characters were given out or wait.
    said: bool,
    signature: Option<Signature>,
    citations: Vec<Citation>,
    done: bool,
}

#[derive(Debug, Default)]
pub(in super::super) struct Reader {
    started: bool,
    /// The block that is open, in front, and those that wait for it.
    blocks: VecDeque<Pending>,
    /// Blocks that were given out whole.
    closed: HashSet<Key>,
    /// Number of the block in front.
    number: u32,
    /// Whether its start was given out.
    front_started: bool,
    ended: bool,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<Text<'a>>,
    #[serde(default)]
    output_index: Option<u64>,
    #[serde(default)]
    content_index: Option<u64>,
    #[serde(borrow, default)]
    item_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    delta: Option<Prose<'a>>,
    #[serde(borrow, default)]
    text: Option<Prose<'a>>,
    #[serde(borrow, default)]
    refusal: Option<Prose<'a>>,
    #[serde(borrow, default)]
    arguments: Option<Prose<'a>>,
    #[serde(borrow, default)]
    input: Option<Prose<'a>>,
    #[serde(borrow, default)]
    annotation: Option<&'a RawValue>,
    #[serde(borrow, default)]
    item: Option<&'a RawValue>,
    #[serde(borrow, default)]
    logprobs: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    call_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default, alias = "input")]
    arguments: Option<Prose<'a>>,
    #[serde(borrow, default)]
    encrypted_content: Option<Text<'a>>,
    #[serde(borrow, default)]
    summary: Option<Prose<'a>>,
}

impl StreamReader for Reader {
    fn read(&mut self, event: &Event, events: &mut Vec<StreamEvent>) {
        if self.ended || event.is_done() {
            return;
        }
        if event.data.is_empty() {
            // The start comes first.
            return events.extend(self.started.then_some(StreamEvent::Ping));
        }
        let wire =
            std::str::from_utf8(&event.data).ok().filter(|text| json::is_object(text)).and_then(|text| serde_json::from_str(text).ok());
        let Some(wire): Option<Wire<'_>> = wire else {
            self.ended = true;
            events.push(StreamEvent::Error { message: "the upstream sent an event that is not the JSON it should be".to_owned() });
            return;
        };
        let named = event.event.as_deref().and_then(|name| std::str::from_utf8(name).ok());
        let kind = wire.kind.as_ref().map(|kind| &*kind.0).or(named).unwrap_or_default().to_owned();
        self.take(&kind, &wire, &event.data, events);
    }

    /// Without a terminal event the stream was cut.
    fn ended(&mut self, _: &mut Vec<StreamEvent>) {}
}

impl Reader {
    fn take(&mut self, kind: &str, wire: &Wire<'_>, data: &[u8], events: &mut Vec<StreamEvent>) {
        match kind {
            "response.created" => self.start(wire.response, events),
            "response.output_item.added" => self.item_added(wire, events),
            "response.output_text.delta" => {
                self.say(wire, || BlockStart::Text, &wire.delta, events);
                if let Some(tokens) = wire.logprobs.as_deref().filter(|tokens| !tokens.is_empty()) {
                    events.push(StreamEvent::Logprobs { choice: 0, logprobs: chat_logprobs(tokens) });
                }
            }
            "response.output_text.annotation.added" => self.cite(wire, events),
            "response.refusal.delta" => self.say(wire, || BlockStart::Refusal, &wire.delta, events),
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.say(wire, || BlockStart::Reasoning, &wire.delta, events);
            }
            "response.reasoning_summary_part.added" => self.paragraph(wire, events),
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                self.argue(wire, &wire.delta, events);
            }
            "response.output_text.done" => self.said(wire, || BlockStart::Text, &wire.text, events),
            "response.refusal.done" => self.said(wire, || BlockStart::Refusal, &wire.refusal, events),
            "response.function_call_arguments.done" => self.argued(wire, &wire.arguments, events),
            "response.custom_tool_call_input.done" => self.argued(wire, &wire.input, events),
            "response.output_item.done" => self.item_done(wire, events),
            "response.completed" | "response.incomplete" => self.end(wire.response, events),
            "response.failed" | "error" => {
                self.ended = true;
                events.push(StreamEvent::Error { message: parse_upstream_error(failed(wire.response, data)) });
            }
            _ => {}
        }
    }

    fn start(&mut self, response: Option<&RawValue>, events: &mut Vec<StreamEvent>) {
        #[derive(Deserialize, Default)]
        struct Named<'a> {
            #[serde(borrow, default)]
            id: Option<Text<'a>>,
            #[serde(borrow, default)]
            model: Option<Text<'a>>,
        }
        if !std::mem::replace(&mut self.started, true) {
            let named: Named<'_> = response.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
            let owned = |text: Option<Text<'_>>| text.map(|text| text.0.into_owned());
            events.push(StreamEvent::Start { id: owned(named.id), model: owned(named.model) });
        }
    }

    fn item_added(&mut self, wire: &Wire<'_>, events: &mut Vec<StreamEvent>) {
        let Some(item) = wire.item.and_then(|item| serde_json::from_str::<Item<'_>>(item.get()).ok()) else { return };
        let key = Key::of(wire, Some(&item));
        match &*item.kind.0 {
            "function_call" => self.open(key, call(&item, ToolKind::Function, self.number), events),
            "custom_tool_call" => self.open(key, call(&item, ToolKind::Custom, self.number), events),
            "reasoning" => self.open(key, BlockStart::Reasoning, events),
            // The blocks of a message are its parts.
            _ => {}
        }
    }

    fn item_done(&mut self, wire: &Wire<'_>, events: &mut Vec<StreamEvent>) {
        let Some(raw) = wire.item else { return };
        let Ok(item) = serde_json::from_str::<Item<'_>>(raw.get()) else { return };
        let key = Key::of(wire, Some(&item));
        match &*item.kind.0 {
            kind @ ("function_call" | "custom_tool_call") => {
                let kind = if kind == "function_call" { ToolKind::Function } else { ToolKind::Custom };
                let number = self.number;
                self.complete(&key, || call(&item, kind, number), &item.arguments, events);
            }
            "reasoning" => {
                let encrypted = item.encrypted_content.as_ref().map(|text| &*text.0).filter(|text| !text.is_empty());
                let signed = encrypted.and_then(|text| signature::unwrap(text, item.id.as_ref().map(|id| &*id.0)));
                if let Some(block) = self.find(&key) {
                    block.signature = signed.filter(|carried| carried.call_id.is_none()).map(|carried| carried.signature);
                }
                self.complete(&key, || BlockStart::Reasoning, &item.summary, events);
            }
            "message" => {
                self.blocks.iter_mut().filter(|block| block.key.is_same_item(&key)).for_each(|block| block.done = true);
                self.advance(events);
            }
            _ => {}
        }
    }

    /// The terminal event: everything is closed, and what was never streamed is given out.
    fn end(&mut self, response: Option<&RawValue>, events: &mut Vec<StreamEvent>) {
        self.start(response, events);
        self.blocks.iter_mut().for_each(|block| block.done = true);
        self.advance(events);
        self.ended = true;
        let Some(fields) = response.and_then(|response| serde_json::from_str::<answer::Fields<'_>>(response.get()).ok()) else {
            events.push(StreamEvent::Error { message: "the upstream's stream ended with something that is no response".to_owned() });
            return;
        };
        let blocks = answer::read_output(fields.output);
        if self.number == 0 {
            blocks.iter().for_each(|block| self.give_whole(block, events));
        }
        if let Some(used) = fields.used() {
            events.push(StreamEvent::Usage(used));
        }
        events.push(StreamEvent::Finish { choice: 0, finish: fields.finish(&blocks), stop_sequence: None });
        events.push(StreamEvent::End);
    }

    fn give_whole(&mut self, block: &Block, events: &mut Vec<StreamEvent>) {
        let (start, text, signature) = match &block.content {
            Content::Text(text) => (BlockStart::Text, text, &None),
            Content::Refusal(text) => (BlockStart::Refusal, text, &None),
            Content::Reasoning { text, signature } => (BlockStart::Reasoning, text, signature),
            Content::ToolCall { id, name, arguments, kind, signature } => {
                (BlockStart::ToolCall { id: id.clone(), name: name.clone(), kind: *kind }, arguments, signature)
            }
            _ => return,
        };
        let (key, waiting, citations) = (Key::default(), text.clone(), block.citations.clone());
        self.blocks.push_back(Pending { key, start, said: true, waiting, signature: signature.clone(), citations, done: true });
        self.advance(events);
    }

    fn find(&mut self, key: &Key) -> Option<&mut Pending> {
        self.blocks.iter_mut().find(|block| block.key.part == key.part && block.key.is_same_item(key) && !block.done)
    }

    fn open(&mut self, key: Key, start: BlockStart, events: &mut Vec<StreamEvent>) {
        self.start(None, events);
        // Only calls are written side by side: a thought or a text ends where something else begins.
        let speech = self.blocks.iter_mut().filter(|block| !matches!(block.start, BlockStart::ToolCall { .. }));
        speech.for_each(|block| block.done = true);
        let (waiting, citations) = (String::new(), Vec::new());
        self.blocks.push_back(Pending { key, start, waiting, said: false, signature: None, citations, done: false });
        self.advance(events);
    }

    /// A piece of text for a part of a message, which its first piece opens.
    fn say(&mut self, wire: &Wire<'_>, start: impl Fn() -> BlockStart, text: &Option<Prose<'_>>, events: &mut Vec<StreamEvent>) {
        let Some(Prose(text)) = text else { return };
        let start = start();
        let part = wire.content_index.filter(|_| start != BlockStart::Reasoning);
        let key = Key::of(wire, None).part(part);
        if self.find(&key).is_none_or(|block| block.start != start) {
            self.open(key.clone(), start, events);
        }
        self.add(&key, text, events);
    }

    /// What the text of a part is based on. A part that has ended takes no more.
    fn cite(&mut self, wire: &Wire<'_>, events: &mut Vec<StreamEvent>) {
        let key = Key::of(wire, None).part(wire.content_index);
        let citation = wire.annotation.and_then(annotations::read_one);
        if let (Some(block), Some(citation)) = (self.find(&key).filter(|block| block.start == BlockStart::Text), citation) {
            block.citations.push(citation);
            self.advance(events);
        }
    }

    /// The whole text of a part: what is missing of it is said, then it is done.
    fn said(&mut self, wire: &Wire<'_>, start: fn() -> BlockStart, text: &Option<Prose<'_>>, events: &mut Vec<StreamEvent>) {
        let key = Key::of(wire, None).part(wire.content_index);
        let text = text.as_ref().filter(|text| !text.0.is_empty());
        if self.find(&key).is_some() || text.is_some() {
            self.complete(&key, start, &text.map(|text| Prose(text.0.clone())), events);
        }
    }

    fn paragraph(&mut self, wire: &Wire<'_>, events: &mut Vec<StreamEvent>) {
        let key = Key::of(wire, None);
        if self.find(&key).is_some_and(|block| block.said) {
            self.add(&key, PARAGRAPH, events);
        }
    }

    fn call_key(&mut self, wire: &Wire<'_>) -> Key {
        let key = Key::of(wire, None);
        if self.find(&key).is_some() {
            return key;
        }
        // A server that names the item differently: the newest open call is meant.
        let is_call = |block: &&Pending| !block.done && matches!(block.start, BlockStart::ToolCall { .. });
        self.blocks.iter().rev().find(is_call).map_or(key, |block| block.key.clone())
    }

    fn argue(&mut self, wire: &Wire<'_>, text: &Option<Prose<'_>>, events: &mut Vec<StreamEvent>) {
        if let Some(Prose(text)) = text {
            let key = self.call_key(wire);
            self.add(&key, text, events);
        }
    }

    fn argued(&mut self, wire: &Wire<'_>, text: &Option<Prose<'_>>, events: &mut Vec<StreamEvent>) {
        if let Some(Prose(text)) = text {
            let key = self.call_key(wire);
            if self.find(&key).is_some_and(|block| !block.said) {
                self.add(&key, text, events);
            }
        }
    }

    fn add(&mut self, key: &Key, text: &str, events: &mut Vec<StreamEvent>) {
        let Some(block) = self.find(key).filter(|_| !text.is_empty()) else { return };
        block.said = true;
        block.waiting.push_str(text);
        self.advance(events);
    }

    /// The end of a block that may not have begun; `whole` counts when nothing was said before.
    fn complete(&mut self, key: &Key, start: impl FnOnce() -> BlockStart, whole: &Option<Prose<'_>>, events: &mut Vec<StreamEvent>) {
        if self.find(key).is_none() {
            if whole.is_none() || self.closed.contains(key) {
                return;
            }
            self.open(key.clone(), start(), events);
        }
        if let (Some(block), Some(Prose(text))) = (self.find(key), whole)
            && !block.said
        {
            block.waiting.push_str(text);
            block.said = !text.is_empty();
        }
        if let Some(block) = self.find(key) {
            block.done = true;
        }
        self.advance(events);
    }

    /// Gives out what the block in front has, and whoever gets in front after it.
    fn advance(&mut self, events: &mut Vec<StreamEvent>) {
        while let Some(front) = self.blocks.front_mut() {
            let (choice, block) = (0, self.number);
            if !std::mem::replace(&mut self.front_started, true) {
                events.push(StreamEvent::BlockStart { choice, block, start: front.start.clone() });
            }
            if front.done && !front.said && matches!(front.start, BlockStart::ToolCall { kind: ToolKind::Function, .. }) {
                front.waiting.push_str("{}");
            }
            if !front.waiting.is_empty() {
                events.push(StreamEvent::Delta { choice, block, text: std::mem::take(&mut front.waiting) });
            }
            events.extend(front.citations.drain(..).map(|citation| StreamEvent::Cited { choice, block, citation }));
            if !front.done {
                return;
            }
            if let Some(signature) = front.signature.take() {
                events.push(StreamEvent::Signed { choice, block, signature });
            }
            events.push(StreamEvent::BlockStop { choice, block });
            self.closed.extend(self.blocks.pop_front().map(|block| block.key));
            self.number += 1;
            self.front_started = false;
        }
    }
}

fn call(item: &Item<'_>, kind: ToolKind, number: u32) -> BlockStart {
    let text = |text: &Option<Text<'_>>| text.as_ref().map(|text| text.0.clone().into_owned()).filter(|text| !text.is_empty());
    let id = text(&item.call_id).or_else(|| text(&item.id)).unwrap_or_else(|| format!("call_{number}"));
    BlockStart::ToolCall { id, name: text(&item.name).unwrap_or_default(), kind }
}

/// The part of a failing event that says why.
fn failed<'a>(response: Option<&'a RawValue>, data: &'a [u8]) -> &'a [u8] {
    response.map_or(data, |response| response.get().as_bytes())
}
