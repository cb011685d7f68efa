//! Writes canonical events as Anthropic's stream.

use crate::dialect::{
    Charge, Dialect, ErrorBody,
    anthropic::{
        answer::{call_id, push_call, push_optional, push_sealed},
        answer_id, citations, errors, stop, usage,
    },
    canonical::{BlockStart, Citation, Finish, Signature, StreamEvent},
    format::{StreamWriter, Writing},
    json,
};
use crate::domain::pricing::Quantities;

/// The block that is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    Text,
    Call,
    /// A thought whose first event is not written yet: what follows tells whether it is readable, sealed or empty.
    Undecided,
    Thought,
    Sealed,
}

/// State of one stream. Only the first choice is written: Anthropic's answers have one.
#[derive(Debug)]
pub(in crate::dialect::anthropic) struct Writer {
    answer_id: String,
    writing: Writing,
    has_started: bool,
    /// What is known of the usage so far.
    usage: Quantities,
    open: Open,
    index: u32,
    has_calls: bool,
    finish: Finish,
    stop_sequence: Option<String>,
}

impl Writer {
    pub fn new(writing: &Writing) -> Self {
        Self {
            answer_id: answer_id(writing),
            writing: writing.clone(),
            has_started: false,
            usage: Quantities::default(),
            open: Open::Nothing,
            index: 0,
            has_calls: false,
            finish: Finish::Stop,
            stop_sequence: None,
        }
    }

    /// Written late, because usage may come early.
    fn start(&mut self, out: &mut Vec<u8>) {
        if self.has_started {
            return;
        }
        self.has_started = true;
        out.extend_from_slice(b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":");
        json::push_string(out, &self.answer_id);
        out.extend_from_slice(b",\"type\":\"message\",\"role\":\"assistant\",\"model\":");
        json::push_string(out, &self.writing.model);
        out.extend_from_slice(br#","content":[],"stop_reason":null,"stop_sequence":null,"stop_details":null,"container":null,"usage":"#);
        out.extend_from_slice(usage::made(&self.usage).as_bytes());
        out.extend_from_slice(b"}}\n\n");
    }

    /// `push` writes the block.
    fn open(&mut self, open: Open, out: &mut Vec<u8>, push: impl FnOnce(&Self, &mut Vec<u8>)) {
        self.start(out);
        self.open = open;
        out.extend_from_slice(b"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":");
        out.extend_from_slice(self.index.to_string().as_bytes());
        out.extend_from_slice(b",\"content_block\":");
        push(self, out);
        out.extend_from_slice(b"}\n\n");
    }

    fn begin(&mut self, start: &BlockStart, out: &mut Vec<u8>) {
        self.close(out);
        match start {
            BlockStart::Reasoning => self.open = Open::Undecided,
            BlockStart::Text | BlockStart::Refusal => {
                self.open(Open::Text, out, |_, out| out.extend_from_slice(br#"{"type":"text","citations":[],"text":""}"#));
            }
            BlockStart::ToolCall { id, name, .. } => {
                self.has_calls = true;
                self.open(Open::Call, out, |writer, out| {
                    push_call(out, &call_id(id, writer.index as usize, &writer.writing), name);
                    out.extend_from_slice(b"{}}");
                });
            }
        }
    }

    fn open_thought(&mut self, out: &mut Vec<u8>) {
        if self.open == Open::Undecided {
            self.open(Open::Thought, out, |_, out| out.extend_from_slice(br#"{"type":"thinking","thinking":"","signature":""}"#));
        }
    }

    fn delta(&mut self, text: &str, out: &mut Vec<u8>) {
        self.open_thought(out);
        match self.open {
            Open::Text => self.push_delta(r#"{"type":"text_delta","text":"#, text, out),
            Open::Call => self.push_delta(r#"{"type":"input_json_delta","partial_json":"#, text, out),
            Open::Thought => self.push_delta(r#"{"type":"thinking_delta","thinking":"#, text, out),
            Open::Nothing | Open::Undecided | Open::Sealed => {}
        }
    }

    /// Only Anthropic's own signatures mean something to whoever sends them back.
    fn sign(&mut self, signature: &Signature, out: &mut Vec<u8>) {
        if signature.vendor != Dialect::Anthropic {
            return;
        }
        if signature.sealed && self.open == Open::Undecided {
            self.open(Open::Sealed, out, |_, out| {
                push_sealed(out, &signature.value);
                out.push(b'}');
            });
        } else if !signature.sealed {
            self.open_thought(out);
            if self.open == Open::Thought {
                self.push_delta(r#"{"type":"signature_delta","signature":"#, &signature.value, out);
            }
        }
    }

    /// The text is out, and cannot be cut where it is cited: the citation stands for its block.
    fn cite(&self, citation: &Citation, out: &mut Vec<u8>) {
        let mut written = Vec::new();
        if self.open == Open::Text && citations::push(&mut written, citation) {
            self.push_head(r#"{"type":"citations_delta","citation":"#, out);
            out.extend_from_slice(&written);
            out.extend_from_slice(b"}}\n\n");
        }
    }

    /// `head` is the delta up to its text.
    fn push_delta(&self, head: &str, text: &str, out: &mut Vec<u8>) {
        self.push_head(head, out);
        json::push_string(out, text);
        out.extend_from_slice(b"}}\n\n");
    }

    fn push_head(&self, head: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":");
        out.extend_from_slice(self.index.to_string().as_bytes());
        out.extend_from_slice(b",\"delta\":");
        out.extend_from_slice(head.as_bytes());
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        let open = std::mem::replace(&mut self.open, Open::Nothing);
        if matches!(open, Open::Nothing | Open::Undecided) {
            return;
        }
        out.extend_from_slice(b"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":");
        out.extend_from_slice(self.index.to_string().as_bytes());
        out.extend_from_slice(b"}\n\n");
        self.index += 1;
    }
}

impl StreamWriter for Writer {
    fn answer_id(&self) -> &str {
        &self.answer_id
    }

    fn write(&mut self, event: &StreamEvent, out: &mut Vec<u8>) {
        match event {
            StreamEvent::BlockStart { choice: 0, start, .. } => self.begin(start, out),
            StreamEvent::Delta { choice: 0, text, .. } => self.delta(text, out),
            StreamEvent::Signed { choice: 0, signature, .. } => self.sign(signature, out),
            StreamEvent::Cited { choice: 0, citation, .. } => self.cite(citation, out),
            StreamEvent::BlockStop { choice: 0, .. } => self.close(out),
            StreamEvent::Usage(quantities) => self.usage = *quantities,
            StreamEvent::Finish { choice: 0, finish, stop_sequence } => {
                self.finish = *finish;
                self.stop_sequence.clone_from(stop_sequence);
            }
            // Clients expect the start before anything else.
            StreamEvent::Ping if self.has_started => out.extend_from_slice(b"event: ping\ndata: {\"type\":\"ping\"}\n\n"),
            _ => {}
        }
    }

    fn finish(&mut self, charge: &Charge, out: &mut Vec<u8>) {
        self.start(out);
        self.close(out);
        let reason = stop::reason_of(self.finish, self.has_calls, self.stop_sequence.is_some());
        out.extend_from_slice(b"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":");
        json::push_string(out, reason);
        out.extend_from_slice(b",\"stop_sequence\":");
        push_optional(out, self.stop_sequence.as_deref().filter(|_| reason == "stop_sequence"));
        out.extend_from_slice(format!(",\"stop_details\":{},\"container\":null}},\"usage\":", stop::details_of(reason)).as_bytes());
        out.extend_from_slice(usage::with_cost(None, charge).as_bytes());
        out.extend_from_slice(b"}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    }

    fn fail(&mut self, error: &ErrorBody<'_>, out: &mut Vec<u8>) {
        errors::event(error, out);
    }
}
