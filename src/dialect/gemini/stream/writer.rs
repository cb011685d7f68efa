//! Another vendor's stream, written for a caller of Gemini.

use super::Frame;
use crate::dialect::{
    Charge, ErrorBody,
    canonical::{BlockStart, Citation, Finish, Signature, StreamEvent, ToolKind},
    format::{StreamWriter, Writing},
    gemini::{answer::shows_thoughts, answer_id, citations, logprobs, usage, wire::finish_reason, written::Part},
    json::push_string,
};

pub(in crate::dialect::gemini) struct Writer {
    frame: Frame,
    id: String,
    /// What every event ends with: `,"modelVersion":…,"responseId":…}`.
    tail: Vec<u8>,
    shows_thoughts: bool,
    /// Blocks strictly follow each other, so one per choice is enough.
    open: Vec<(u32, Open)>,
    finishes: Vec<(u32, Finish)>,
    said: Vec<(u32, Said)>,
}

/// The text of a choice, and what supports it, which is told at the end.
#[derive(Default)]
struct Said {
    /// Bytes of all texts before the one that is open.
    before: usize,
    open: String,
    /// Of the open text.
    cited: Vec<Citation>,
    grounding: citations::Written,
}

/// The block of a choice that is being written.
#[derive(Default)]
enum Open {
    #[default]
    Nothing,
    Text,
    Thought,
    /// Function calls go out whole.
    Call {
        id: String,
        name: String,
        kind: ToolKind,
        arguments: String,
        signature: Option<Signature>,
    },
}

impl Writer {
    pub fn new(writing: &Writing) -> Self {
        let id = answer_id(writing);
        let mut tail = b",\"modelVersion\":".to_vec();
        push_string(&mut tail, &writing.model);
        tail.extend_from_slice(b",\"responseId\":");
        push_string(&mut tail, &id);
        tail.push(b'}');
        Self {
            frame: Frame::new(writing.head.framing),
            id,
            tail,
            shows_thoughts: shows_thoughts(writing),
            open: Vec::new(),
            finishes: Vec::new(),
            said: Vec::new(),
        }
    }

    fn open(&mut self, choice: u32) -> &mut Open {
        let at = self.open.iter().position(|(known, _)| *known == choice).unwrap_or_else(|| {
            self.open.push((choice, Open::Nothing));
            self.open.len() - 1
        });
        &mut self.open[at].1
    }

    fn said(&mut self, choice: u32) -> &mut Said {
        let at = self.said.iter().position(|(known, _)| *known == choice).unwrap_or_else(|| {
            self.said.push((choice, Said::default()));
            self.said.len() - 1
        });
        &mut self.said[at].1
    }

    /// One event with one part, written by `part`, and what stands behind the content.
    fn push(&mut self, out: &mut Vec<u8>, choice: u32, part: impl FnOnce(&mut Vec<u8>), behind: &str) {
        let tail = &self.tail;
        self.frame.push(out, |out| {
            out.extend_from_slice(b"{\"candidates\":[{\"content\":{\"parts\":[");
            part(out);
            out.extend_from_slice(b"],\"role\":\"model\"}");
            out.extend_from_slice(behind.as_bytes());
            out.extend_from_slice(format!(",\"index\":{choice}}}]").as_bytes());
            out.extend_from_slice(tail);
        });
    }

    fn push_text(&mut self, out: &mut Vec<u8>, choice: u32, text: &str, is_thought: bool) {
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"{\"text\":");
            push_string(out, text);
            out.extend_from_slice(if is_thought { b",\"thought\":true}" } else { b"}" });
        };
        self.push(out, choice, write, "");
    }
}

impl Said {
    /// The open text is whole: now its parts can be told.
    fn end(&mut self) {
        for citation in std::mem::take(&mut self.cited) {
            // Clients join the parts of a stream into one.
            self.grounding.add(&citation, &self.open, 0, self.before);
        }
        self.before += self.open.len();
        self.open.clear();
    }
}

impl StreamWriter for Writer {
    fn answer_id(&self) -> &str {
        &self.id
    }

    fn write(&mut self, event: &StreamEvent, out: &mut Vec<u8>) {
        match event {
            StreamEvent::BlockStart { choice, start, .. } => {
                *self.open(*choice) = match start {
                    BlockStart::Text | BlockStart::Refusal => Open::Text,
                    BlockStart::Reasoning => Open::Thought,
                    BlockStart::ToolCall { id, name, kind } => {
                        Open::Call { id: id.clone(), name: name.clone(), kind: *kind, arguments: String::new(), signature: None }
                    }
                };
            }
            StreamEvent::Delta { choice, text, .. } => {
                let is_thought = match self.open(*choice) {
                    Open::Call { arguments, .. } => return arguments.push_str(text),
                    Open::Thought => true,
                    Open::Text | Open::Nothing => false,
                };
                if !is_thought {
                    self.said(*choice).open.push_str(text);
                }
                if !is_thought || self.shows_thoughts {
                    self.push_text(out, *choice, text, is_thought);
                }
            }
            StreamEvent::Signed { choice, signature: signed, .. } => {
                if let Open::Call { signature, .. } = self.open(*choice) {
                    *signature = Some(signed.clone());
                }
            }
            StreamEvent::Cited { choice, citation, .. } => self.said(*choice).cited.push(citation.clone()),
            StreamEvent::BlockStop { choice, .. } => {
                if matches!(self.open(*choice), Open::Text) {
                    self.said(*choice).end();
                }
                if let Open::Call { id, name, kind, arguments, signature } = std::mem::take(self.open(*choice)) {
                    let arguments = if arguments.is_empty() { "{}" } else { &arguments };
                    let part = serde_json::to_vec(&Part::call(&id, &name, arguments, kind, signature.as_ref())).unwrap_or_default();
                    self.push(out, *choice, |out| out.extend_from_slice(&part), "");
                }
            }
            StreamEvent::Logprobs { choice, logprobs } => {
                if let Some(result) = logprobs::from_chat(logprobs) {
                    let behind = format!(",\"logprobsResult\":{}", result.text());
                    self.push(out, *choice, |out| out.extend_from_slice(b"{\"text\":\"\"}"), &behind);
                }
            }
            StreamEvent::Finish { choice, finish, .. } => self.finishes.push((*choice, *finish)),
            StreamEvent::Start { .. } | StreamEvent::Usage(_) | StreamEvent::End | StreamEvent::Error { .. } | StreamEvent::Ping => {}
        }
    }

    /// One event with the reason of every choice, and the usage.
    fn finish(&mut self, charge: &Charge, out: &mut Vec<u8>) {
        if self.finishes.is_empty() {
            self.finishes.push((0, Finish::Stop));
        }
        let (tail, finishes) = (&self.tail, &self.finishes);
        self.frame.end(out, |out| {
            out.extend_from_slice(b"{\"candidates\":[");
            for (at, (choice, finish)) in finishes.iter().enumerate() {
                out.extend_from_slice(if at > 0 { b"," } else { b"" });
                let reason = finish_reason(*finish);
                let grounding = self.said.iter().find(|(known, said)| known == choice && !said.grounding.is_empty());
                let grounding = grounding.map_or_else(String::new, |(_, said)| {
                    format!(",\"groundingMetadata\":{}", serde_json::to_string(&said.grounding).unwrap_or_default())
                });
                let candidate = format!(
                    "{{\"content\":{{\"parts\":[{{\"text\":\"\"}}],\"role\":\"model\"}},\"finishReason\":\"{reason}\"{grounding},\"index\":{choice}}}"
                );
                out.extend_from_slice(candidate.as_bytes());
            }
            out.extend_from_slice(b"],\"usageMetadata\":");
            out.extend_from_slice(usage::with_cost(None, charge).as_bytes());
            out.extend_from_slice(tail);
        });
    }

    fn held_bytes(&self) -> usize {
        self.said.iter().map(|(_, said)| said.open.len() + said.grounding.bytes()).sum()
    }

    fn fail(&mut self, error: &ErrorBody<'_>, out: &mut Vec<u8>) {
        self.frame.fail(error, out);
    }
}
