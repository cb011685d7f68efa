//! Canonical events, written as a stream of this dialect.

use std::ops::Range;

use bytes::Bytes;

use super::{
    super::{
        answer::{signed_call, tokens_of},
        object::{self, End, Frame, Status, push},
        signature, usage,
    },
    push_error, push_event, response_error,
};
use crate::dialect::{
    Charge, ErrorBody,
    canonical::{BlockStart, Citation, Finish, Json, Signature, StreamEvent, ToolKind, citation::characters},
    format::{StreamWriter, Writing},
    json,
    openai::annotations,
};

pub(in super::super) struct Writer {
    frame: Frame,
    id: String,
    sequence_number: u64,
    started: bool,
    /// Items that are whole, as JSON joined by commas, and how many.
    items: String,
    items_count: usize,
    open: Open,
    /// Of the text that is being written: an array's elements.
    logprobs: String,
    finish: Finish,
    declined: bool,
    whole: Option<Bytes>,
}

/// What is being written. A message stays open between its parts.
#[derive(Debug, Default)]
enum Open {
    #[default]
    Nothing,
    Message {
        id: String,
        /// Parts that are whole, as JSON joined by commas, and how many.
        parts: String,
        parts_count: usize,
        part: Option<Part>,
    },
    Reasoning {
        id: String,
        text: String,
        signature: Option<Signature>,
    },
    Call {
        id: String,
        kind: ToolKind,
        call_id: String,
        name: String,
        arguments: String,
        signature: Option<Signature>,
    },
}

#[derive(Debug, Default)]
struct Part {
    is_refusal: bool,
    text: String,
    /// Elements of an array, and how many.
    annotations: String,
    annotations_count: usize,
    /// What supports the whole text, whose end is not known yet.
    whole: Vec<Citation>,
}

impl Writer {
    pub fn new(writing: &Writing) -> Self {
        let frame = Frame::of(writing);
        Self {
            id: frame.ids.response(),
            frame,
            sequence_number: 0,
            started: false,
            items: String::new(),
            items_count: 0,
            open: Open::Nothing,
            logprobs: String::new(),
            finish: Finish::Stop,
            declined: false,
            whole: None,
        }
    }

    /// Appends an event. `members` follow the type and the sequence number, beginning with a comma.
    fn event(&mut self, name: &str, members: &str, out: &mut Vec<u8>) {
        push(out, &format!("event: {name}\ndata: {{\"type\":\"{name}\",\"sequence_number\":{}", self.sequence_number));
        push(out, members);
        push(out, "}\n\n");
        self.sequence_number += 1;
    }

    fn response_event(&mut self, name: &str, response: &[u8], out: &mut Vec<u8>) {
        let mut event = format!("{{\"type\":\"{name}\",\"sequence_number\":{},\"response\":", self.sequence_number).into_bytes();
        event.extend_from_slice(response);
        event.push(b'}');
        push_event(name, &event, out);
        self.sequence_number += 1;
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let mut response = Vec::with_capacity(1024);
        self.frame.write(Status::InProgress, End::default(), "[]", &mut response);
        for name in ["response.created", "response.in_progress"] {
            self.response_event(name, &response, out);
        }
    }

    /// `,"item_id":…,"output_index":…`
    fn place(&self, id: &str) -> String {
        format!(",\"item_id\":{},\"output_index\":{}", json::quoted(id), self.items_count)
    }

    fn begin(&mut self, start: &BlockStart, out: &mut Vec<u8>) {
        self.start(out);
        match start {
            BlockStart::Text | BlockStart::Refusal => self.begin_part(*start == BlockStart::Refusal, out),
            BlockStart::Reasoning => {
                self.close(Status::Completed, out);
                let id = self.frame.ids.item("rs", self.items_count);
                let item = object::reasoning(&id, "in_progress", "", None);
                self.item_event("response.output_item.added", &item, out);
                self.open = Open::Reasoning { id, text: String::new(), signature: None };
            }
            BlockStart::ToolCall { id: call_id, name, kind } => {
                self.close(Status::Completed, out);
                let (kind, call_id, name) = (*kind, call_id.clone(), name.clone());
                let id = self.frame.ids.item(object::call_prefix(kind), self.items_count);
                self.item_event("response.output_item.added", &object::call(&id, "in_progress", kind, &call_id, &name, ""), out);
                self.open = Open::Call { id, kind, call_id, name, arguments: String::new(), signature: None };
            }
        }
    }

    fn begin_part(&mut self, is_refusal: bool, out: &mut Vec<u8>) {
        self.declined |= is_refusal;
        if !matches!(self.open, Open::Message { .. }) {
            self.close(Status::Completed, out);
            let id = self.frame.ids.item("msg", self.items_count);
            self.item_event("response.output_item.added", &object::message(&id, "in_progress", ""), out);
            self.open = Open::Message { id, parts: String::new(), parts_count: 0, part: None };
        }
        let Open::Message { id, parts_count, part, .. } = &mut self.open else { return };
        *part = Some(Part { is_refusal, ..Part::default() });
        let (id, index) = (id.clone(), *parts_count);
        let members = format!("{},\"content_index\":{index},\"part\":{}", self.place(&id), object::part("", is_refusal, "[]", "[]"));
        self.event("response.content_part.added", &members, out);
    }

    fn item_event(&mut self, name: &str, item: &str, out: &mut Vec<u8>) {
        let members = format!(",\"output_index\":{},\"item\":{item}", self.items_count);
        self.event(name, &members, out);
    }

    fn delta(&mut self, delta: &str, out: &mut Vec<u8>) {
        if delta.is_empty() {
            return;
        }
        match &mut self.open {
            Open::Message { id, parts_count, part: Some(part), .. } => {
                part.text.push_str(delta);
                let index = format!(",\"content_index\":{parts_count}");
                let (name, more) = match part.is_refusal {
                    true => ("response.refusal.delta", ""),
                    false => ("response.output_text.delta", ",\"logprobs\":[]"),
                };
                let id = id.clone();
                self.delta_event(name, &id, &index, delta, more, out);
            }
            Open::Reasoning { id, text, .. } => {
                let (id, is_first) = (id.clone(), text.is_empty());
                text.push_str(delta);
                let index = ",\"summary_index\":0";
                if is_first {
                    let members = format!("{}{index},\"part\":{}", self.place(&id), object::summary_part(""));
                    self.event("response.reasoning_summary_part.added", &members, out);
                }
                self.delta_event("response.reasoning_summary_text.delta", &id, index, delta, "", out);
            }
            Open::Call { id, kind, arguments, .. } => {
                arguments.push_str(delta);
                let name = match kind {
                    ToolKind::Function => "response.function_call_arguments.delta",
                    ToolKind::Custom => "response.custom_tool_call_input.delta",
                };
                let id = id.clone();
                self.delta_event(name, &id, "", delta, "", out);
            }
            _ => {}
        }
    }

    fn delta_event(&mut self, name: &str, id: &str, index: &str, delta: &str, more: &str, out: &mut Vec<u8>) {
        let members = format!("{}{index},\"delta\":{}{more}", self.place(id), json::quoted(delta));
        self.event(name, &members, out);
    }

    fn stop(&mut self, out: &mut Vec<u8>) {
        match &self.open {
            Open::Message { .. } => self.end_part(out),
            // Signatures of these may come until their end.
            Open::Reasoning { .. } | Open::Call { .. } => self.close(Status::Completed, out),
            Open::Nothing => {}
        }
    }

    fn cite(&mut self, citation: &Citation, out: &mut Vec<u8>) {
        let Open::Message { part: Some(part), .. } = &mut self.open else { return };
        match &citation.span {
            _ if part.is_refusal => {}
            Some(span) => self.annotate(citation, span.clone(), out),
            None => part.whole.push(citation.clone()),
        }
    }

    fn annotate(&mut self, citation: &Citation, at: Range<u32>, out: &mut Vec<u8>) {
        let Some(annotation) = annotations::responses(citation, at) else { return };
        let Open::Message { id, parts_count, part: Some(part), .. } = &mut self.open else { return };
        let annotation = Json::of(&annotation);
        join(&mut part.annotations, annotation.text());
        let place = format!(",\"content_index\":{parts_count},\"annotation_index\":{}", part.annotations_count);
        part.annotations_count += 1;
        let id = id.clone();
        let members = format!("{}{place},\"annotation\":{}", self.place(&id), annotation.text());
        self.event("response.output_text.annotation.added", &members, out);
    }

    fn end_part(&mut self, out: &mut Vec<u8>) {
        if let Open::Message { part: Some(part), .. } = &mut self.open
            && !part.whole.is_empty()
        {
            let (cited, all) = (std::mem::take(&mut part.whole), 0..characters(&part.text));
            cited.iter().for_each(|citation| self.annotate(citation, all.clone(), out));
        }
        let logprobs = format!("[{}]", std::mem::take(&mut self.logprobs));
        let Open::Message { id, parts, parts_count, part } = &mut self.open else { return };
        let Some(Part { is_refusal, text, annotations, .. }) = part.take() else { return };
        let (id, index) = (id.clone(), *parts_count);
        let whole = object::part(&text, is_refusal, &format!("[{annotations}]"), &logprobs);
        join(parts, &whole);
        *parts_count += 1;
        let place = format!("{},\"content_index\":{index}", self.place(&id));
        let text = json::quoted(&text);
        if is_refusal {
            self.event("response.refusal.done", &format!("{place},\"refusal\":{text}"), out);
        } else {
            self.event("response.output_text.done", &format!("{place},\"text\":{text},\"logprobs\":{logprobs}"), out);
        }
        self.event("response.content_part.done", &format!("{place},\"part\":{whole}"), out);
    }

    /// Ends the item that is open.
    fn close(&mut self, status: Status, out: &mut Vec<u8>) {
        if matches!(self.open, Open::Message { part: Some(_), .. }) {
            self.end_part(out);
        }
        match std::mem::take(&mut self.open) {
            Open::Nothing => {}
            Open::Message { id, parts, .. } => self.item_done(&object::message(&id, status.of_item(), &parts), out),
            Open::Reasoning { id, text, signature } => self.close_reasoning(&id, &text, signature.as_ref(), status, out),
            Open::Call { id, kind, call_id, name, arguments, signature } => {
                let arguments = if arguments.is_empty() && kind == ToolKind::Function { "{}".to_owned() } else { arguments };
                let quoted = json::quoted(&arguments);
                let place = self.place(&id);
                match kind {
                    ToolKind::Function => {
                        let members = format!("{place},\"name\":{},\"arguments\":{quoted}", json::quoted(&name));
                        self.event("response.function_call_arguments.done", &members, out);
                    }
                    ToolKind::Custom => self.event("response.custom_tool_call_input.done", &format!("{place},\"input\":{quoted}"), out),
                }
                self.item_done(&object::call(&id, status.of_item(), kind, &call_id, &name, &arguments), out);
                if let Some(signature) = signature {
                    let item = signed_call(&self.frame.ids, self.items_count, &signature, &call_id);
                    self.item_event("response.output_item.added", &item, out);
                    self.item_done(&item, out);
                }
            }
        }
    }

    fn close_reasoning(&mut self, id: &str, text: &str, signature: Option<&Signature>, status: Status, out: &mut Vec<u8>) {
        if !text.is_empty() {
            let place = format!("{},\"summary_index\":0", self.place(id));
            self.event("response.reasoning_summary_text.done", &format!("{place},\"text\":{}", json::quoted(text)), out);
            self.event("response.reasoning_summary_part.done", &format!("{place},\"part\":{}", object::summary_part(text)), out);
        }
        let encrypted = signature.map(|signature| signature::wrap(signature, None));
        self.item_done(&object::reasoning(id, status.of_item(), text, encrypted.as_deref()), out);
    }

    fn item_done(&mut self, item: &str, out: &mut Vec<u8>) {
        self.item_event("response.output_item.done", item, out);
        join(&mut self.items, item);
        self.items_count += 1;
    }

    fn note_signature(&mut self, signed: &Signature) {
        if let Open::Reasoning { signature, .. } | Open::Call { signature, .. } = &mut self.open {
            *signature = Some(signed.clone());
        }
    }

    fn end_with(&mut self, status: Status, end: End<'_>, out: &mut Vec<u8>) -> Vec<u8> {
        self.start(out);
        let mut response = Vec::with_capacity(self.items.len() + 1024);
        self.frame.write(status, end, &format!("[{}]", self.items), &mut response);
        self.response_event(status.event(), &response, out);
        response
    }
}

/// Appends an element to a list that is joined by commas.
fn join(list: &mut String, element: &str) {
    if !list.is_empty() {
        list.push(',');
    }
    list.push_str(element);
}

impl StreamWriter for Writer {
    fn answer_id(&self) -> &str {
        &self.id
    }

    fn write(&mut self, event: &StreamEvent, out: &mut Vec<u8>) {
        match event {
            StreamEvent::Start { .. } => self.start(out),
            // There is one answer in this dialect.
            StreamEvent::BlockStart { choice: 0, start, .. } => self.begin(start, out),
            StreamEvent::Delta { choice: 0, text, .. } => self.delta(text, out),
            StreamEvent::Signed { choice: 0, signature, .. } => self.note_signature(signature),
            StreamEvent::Cited { choice: 0, citation, .. } => self.cite(citation, out),
            StreamEvent::BlockStop { choice: 0, .. } => self.stop(out),
            StreamEvent::Logprobs { choice: 0, logprobs } => {
                let tokens = tokens_of(logprobs).unwrap_or_default();
                let tokens = tokens.trim_start_matches('[').trim_end_matches(']');
                if !tokens.is_empty() {
                    join(&mut self.logprobs, tokens);
                }
            }
            StreamEvent::Finish { choice: 0, finish, .. } => self.finish = *finish,
            StreamEvent::Ping => push(out, ": ping\n\n"),
            _ => {}
        }
    }

    fn finish(&mut self, charge: &Charge, out: &mut Vec<u8>) {
        self.start(out);
        let status = Status::of(self.finish, self.declined);
        self.close(status, out);
        let usage = usage::with_cost(None, charge);
        let response = self.end_with(status, End { usage: Some(&usage), error: None, at: Some(charge.ended_at) }, out);
        self.whole = Some(Bytes::from(response));
    }

    fn held_bytes(&self) -> usize {
        let open = match &self.open {
            Open::Nothing => 0,
            Open::Message { parts, part, .. } => parts.len() + part.as_ref().map_or(0, |part| part.text.len() + part.annotations.len()),
            Open::Reasoning { text, .. } => text.len(),
            Open::Call { arguments, .. } => arguments.len(),
        };
        self.items.len() + self.logprobs.len() + open
    }

    fn kept(&self) -> Option<Bytes> {
        self.whole.clone()
    }

    fn fail(&mut self, error: &ErrorBody<'_>, out: &mut Vec<u8>) {
        self.start(out);
        self.close(Status::Failed, out);
        push_error(error, self.sequence_number, out);
        self.sequence_number += 1;
        self.end_with(Status::Failed, End { error: Some(&response_error(error)), ..End::default() }, out);
    }
}
