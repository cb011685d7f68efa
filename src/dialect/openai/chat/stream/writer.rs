//! Canonical events, written as chunks for a caller.

use std::ops::Range;

use super::super::{answer::finish_word, reasoning::push_details, request::kind_name};
use crate::dialect::{
    Charge, Dialect, ErrorBody,
    canonical::{BlockStart, Citation, Finish, Json, Signature, StreamEvent, ToolKind, citation::characters},
    format::{StreamWriter, Writing},
    json::{self, Object},
    openai::{annotations, errors, usage},
};

/// Writes one stream: a role chunk for every choice, deltas, a chunk with the finish reason; usage in a chunk of its own where the caller
/// asked for that, else beside the last finish reason.
#[derive(Debug)]
pub struct Writer {
    id: String,
    /// `{"id":…,"object":…,"created":…,"model":…,"choices":[`
    head: Vec<u8>,
    usage_asked: bool,
    legacy: bool,
    choices: Vec<Choice>,
}

#[derive(Debug)]
struct Choice {
    index: u32,
    open: Open,
    calls: u32,
    thoughts: u32,
    refused: bool,
    /// Code points of the message's text, and how many stood before the text that is open.
    said: u32,
    said_before: u32,
    /// What supports the whole text that is open, whose end is not known yet.
    whole: Vec<Citation>,
    finish: Finish,
}

/// The block that is being written.
#[derive(Debug, Clone, Copy)]
enum Open {
    Nothing,
    Text,
    Refusal,
    Thought { index: u32 },
    Call { index: u32, kind: ToolKind, is_empty: bool },
}

impl Writer {
    pub fn new(id: String, writing: &Writing) -> Self {
        let mut head = Vec::with_capacity(160);
        let mut chunk = Object::new(&mut head);
        chunk.put("id", &*id);
        chunk.put("object", "chat.completion.chunk");
        chunk.put("created", &writing.created);
        chunk.put("model", &*writing.model);
        chunk.key("choices").push(b'[');
        drop(chunk);
        // What follows is written chunk by chunk.
        head.pop();
        let legacy = writing.request.as_ref().is_some_and(|request| request.legacy_functions);
        Self { id, head, usage_asked: writing.include_usage, legacy, choices: Vec::new() }
    }

    /// The choice, announced with its role when it is new.
    fn choice(&mut self, index: u32, out: &mut Vec<u8>) -> usize {
        if let Some(at) = self.choices.iter().position(|choice| choice.index == index) {
            return at;
        }
        self.choices.push(Choice {
            index,
            open: Open::Nothing,
            calls: 0,
            thoughts: 0,
            refused: false,
            said: 0,
            said_before: 0,
            whole: Vec::new(),
            finish: Finish::Stop,
        });
        self.chunk(index, out, |delta| {
            delta.put("role", "assistant");
            delta.put("content", "");
            delta.put("refusal", &None::<()>);
        });
        self.choices.len() - 1
    }

    fn chunk(&self, index: u32, out: &mut Vec<u8>, delta: impl FnOnce(&mut Object<'_>)) {
        self.event(out, index, None, None, None, delta);
    }

    fn event(
        &self,
        out: &mut Vec<u8>,
        index: u32,
        logprobs: Option<&Json>,
        finish: Option<&str>,
        usage: Option<&str>,
        delta: impl FnOnce(&mut Object<'_>),
    ) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&self.head);
        let mut choice = Object::new(out);
        choice.put("index", &index);
        delta(&mut choice.object("delta"));
        choice.put("logprobs", &logprobs);
        choice.put("finish_reason", &finish);
        drop(choice);
        out.push(b']');
        match usage {
            Some(usage) => {
                out.extend_from_slice(b",\"usage\":");
                out.extend_from_slice(usage.as_bytes());
            }
            None if self.usage_asked => out.extend_from_slice(b",\"usage\":null"),
            None => {}
        }
        out.extend_from_slice(b"}\n\n");
    }

    fn start(&mut self, index: u32, start: &BlockStart, out: &mut Vec<u8>) {
        let legacy = self.legacy;
        let at = self.choice(index, out);
        let choice = &mut self.choices[at];
        choice.said_before = choice.said;
        choice.open = match start {
            BlockStart::Text => Open::Text,
            BlockStart::Refusal => Open::Refusal,
            BlockStart::Reasoning => {
                choice.thoughts += 1;
                Open::Thought { index: choice.thoughts - 1 }
            }
            // Numbered by themselves: clients put the pieces together by this index.
            BlockStart::ToolCall { kind, .. } => {
                choice.calls += 1;
                Open::Call { index: choice.calls - 1, kind: *kind, is_empty: true }
            }
        };
        choice.refused |= matches!(start, BlockStart::Refusal);
        let (BlockStart::ToolCall { id, name, kind }, Open::Call { index: call, .. }) = (start, choice.open) else { return };
        if legacy {
            if call == 0 {
                self.chunk(index, out, |delta| push_arguments(&mut delta.object("function_call"), Some(name), ToolKind::Function, ""));
            }
            return;
        }
        self.chunk(index, out, |delta| {
            let mut calls = delta.array("tool_calls");
            let mut fragment = calls.object();
            fragment.put("index", &call);
            fragment.put("id", &**id);
            fragment.put("type", kind_name(*kind));
            push_arguments(&mut fragment.object(kind_name(*kind)), Some(name), *kind, "");
        });
    }

    fn delta(&mut self, index: u32, text: &str, out: &mut Vec<u8>) {
        let legacy = self.legacy;
        let at = self.choice(index, out);
        if let Open::Call { is_empty, .. } = &mut self.choices[at].open {
            *is_empty &= text.is_empty();
        }
        match self.choices[at].open {
            Open::Call { index: 1.., .. } if legacy => {}
            Open::Call { .. } if legacy => {
                self.chunk(index, out, |delta| push_arguments(&mut delta.object("function_call"), None, ToolKind::Function, text));
            }
            Open::Call { index: call, kind, .. } => self.chunk(index, out, |delta| {
                let mut calls = delta.array("tool_calls");
                let mut fragment = calls.object();
                fragment.put("index", &call);
                push_arguments(&mut fragment.object(kind_name(kind)), None, kind, text);
            }),
            Open::Thought { index: thought } => self.chunk(index, out, |delta| {
                delta.put("reasoning_content", text);
                push_details(&mut delta.array("reasoning_details"), thought, Some(text), None);
            }),
            Open::Refusal => self.chunk(index, out, |delta| delta.put("refusal", text)),
            Open::Text | Open::Nothing => {
                self.choices[at].said = self.choices[at].said.saturating_add(characters(text));
                self.chunk(index, out, |delta| delta.put("content", text));
            }
        }
    }

    fn signed(&mut self, index: u32, signature: &Signature, out: &mut Vec<u8>) {
        let at = self.choice(index, out);
        match self.choices[at].open {
            Open::Thought { index: thought } => self.chunk(index, out, |delta| {
                push_details(&mut delta.array("reasoning_details"), thought, None, Some(signature));
            }),
            Open::Call { index: call, kind, .. } if signature.vendor == Dialect::Gemini && !self.legacy => {
                self.chunk(index, out, |delta| {
                    let mut calls = delta.array("tool_calls");
                    let mut fragment = calls.object();
                    fragment.put("index", &call);
                    push_arguments(&mut fragment.object(kind_name(kind)), None, kind, "");
                    fragment.object("extra_content").object("google").put("thought_signature", &*signature.value);
                })
            }
            _ => {}
        }
    }

    fn cited(&mut self, index: u32, citation: &Citation, out: &mut Vec<u8>) {
        let at = self.choice(index, out);
        let choice = &mut self.choices[at];
        let before = choice.said_before;
        match &citation.span {
            _ if !matches!(choice.open, Open::Text) => {}
            Some(span) => self.annotate(index, citation, before.saturating_add(span.start)..before.saturating_add(span.end), out),
            None => choice.whole.push(citation.clone()),
        }
    }

    fn annotate(&self, index: u32, citation: &Citation, at: Range<u32>, out: &mut Vec<u8>) {
        if let Some(annotation) = annotations::chat(citation, at) {
            self.chunk(index, out, |delta| json::push(delta.array("annotations").element(), &annotation));
        }
    }

    /// A call without arguments has an empty object of them.
    fn stop(&mut self, index: u32, out: &mut Vec<u8>) {
        let at = self.choice(index, out);
        if let Open::Call { kind: ToolKind::Function, is_empty: true, .. } = self.choices[at].open {
            self.delta(index, "{}", out);
        }
        let choice = &mut self.choices[at];
        choice.open = Open::Nothing;
        let all = choice.said_before..choice.said;
        for citation in std::mem::take(&mut choice.whole) {
            self.annotate(index, &citation, all.clone(), out);
        }
    }
}

fn push_arguments(called: &mut Object<'_>, name: Option<&str>, kind: ToolKind, text: &str) {
    called.maybe("name", name);
    called.put(if kind == ToolKind::Custom { "input" } else { "arguments" }, text);
}

impl StreamWriter for Writer {
    fn answer_id(&self) -> &str {
        &self.id
    }

    fn write(&mut self, event: &StreamEvent, out: &mut Vec<u8>) {
        match event {
            StreamEvent::BlockStart { choice, start, .. } => self.start(*choice, start, out),
            StreamEvent::Delta { choice, text, .. } => self.delta(*choice, text, out),
            StreamEvent::Signed { choice, signature, .. } => self.signed(*choice, signature, out),
            StreamEvent::Cited { choice, citation, .. } => self.cited(*choice, citation, out),
            StreamEvent::BlockStop { choice, .. } => self.stop(*choice, out),
            StreamEvent::Logprobs { choice, logprobs } => {
                self.choice(*choice, out);
                self.event(out, *choice, Some(logprobs), None, None, |_| {});
            }
            StreamEvent::Finish { choice, finish, .. } => {
                let at = self.choice(*choice, out);
                self.choices[at].finish = *finish;
            }
            StreamEvent::Ping => out.extend_from_slice(b": ping\n\n"),
            StreamEvent::Start { .. } | StreamEvent::Usage(_) | StreamEvent::End | StreamEvent::Error { .. } => {}
        }
    }

    fn finish(&mut self, charge: &Charge, out: &mut Vec<u8>) {
        self.choice(0, out);
        let usage = usage::written(charge);
        for (position, choice) in self.choices.iter().enumerate() {
            let word = finish_word(choice.finish, choice.calls > 0, choice.refused, self.legacy);
            let is_last = position + 1 == self.choices.len();
            self.event(out, choice.index, None, Some(word), (is_last && !self.usage_asked).then_some(&*usage), |_| {});
        }
        if self.usage_asked {
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b"],\"usage\":");
            out.extend_from_slice(usage.as_bytes());
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn fail(&mut self, error: &ErrorBody<'_>, out: &mut Vec<u8>) {
        errors::event(error, out);
    }
}
