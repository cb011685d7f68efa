//! A whole answer: read from a server of this format, and written for a caller of it.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{
    reasoning,
    request::{thought_signature, write_call},
    wire::{self, Function, Piece, Written},
};
use crate::dialect::{
    Charge, Garbage,
    canonical::{Answer, Block, Choice, Citation, Content, Finish, ToolKind, citation::characters},
    errors,
    format::Writing,
    json::{self, Array, Object},
    openai::{annotations, stated_error, usage},
};

/// Reads an answer. One that is an error in itself is garbage that says so.
pub fn read(body: &[u8]) -> Result<Answer, Garbage> {
    let text = std::str::from_utf8(body).map_err(|_| Garbage("the answer is not valid UTF-8".to_owned()))?;
    if !json::is_object(text) {
        return Err(Garbage("the answer is not a JSON object".to_owned()));
    }
    let written: Written<'_> =
        serde_json::from_str(text).map_err(|error| Garbage(format!("the answer is not the JSON it should be: {error}")))?;
    if stated_error(written.object.as_ref(), written.error) {
        return Err(Garbage(format!("a good status with an error inside: {}", errors::parse_upstream_error(body))));
    }
    let mut choices =
        written.choices.filter(|choices| !choices.is_empty()).ok_or_else(|| Garbage("the answer has no choices".to_owned()))?;
    choices.sort_by_key(|choice| choice.index);
    Ok(Answer {
        id: written.id.map(|id| id.0.into_owned()),
        model: written.model.map(|model| model.0.into_owned()),
        choices: choices.iter().map(read_choice).collect(),
        usage: written.usage.and_then(|raw| usage::read(raw.get())),
        service_tier: written.service_tier.map(|tier| tier.0.into_owned()).filter(|tier| !tier.is_empty()),
    })
}

fn read_choice(choice: &wire::Choice<'_>) -> Choice {
    let mut blocks = Vec::new();
    if let Some(said) = choice.said() {
        blocks.extend(reasoning::blocks(&said.details(), said.thoughts()));
        said.for_each_piece(|piece| {
            blocks.push(Block::new(match piece {
                Piece::Text(text) => Content::Text(text.into_owned()),
                Piece::Thought(text) => Content::Reasoning { text: text.into_owned(), signature: None },
            }));
        });
        cite(&mut blocks, said.citations());
        blocks.extend(said.refusal().map(|text| Block::new(Content::Refusal(text.to_owned()))));
        for call in said.tool_calls.iter().flatten() {
            let id = call.id.as_ref().map_or("", |id| &id.0);
            match (&call.function, &call.custom) {
                (Some(function), _) => blocks.push(read_call(id, blocks.len(), function, ToolKind::Function, call.extra_content)),
                (None, Some(custom)) => blocks.push(read_call(id, blocks.len(), custom, ToolKind::Custom, call.extra_content)),
                (None, None) => {}
            }
        }
        if let Some(function) = &said.function_call {
            blocks.push(read_call("", blocks.len(), function, ToolKind::Function, None));
        }
    }
    let has = |wanted: fn(&Content) -> bool| blocks.iter().any(|block| wanted(&block.content));
    let calls = has(|content| matches!(content, Content::ToolCall { .. }));
    let refused = has(|content| matches!(content, Content::Refusal(_)));
    Choice {
        finish: read_finish(choice.finish_reason(), calls, refused),
        stop_sequence: choice.stop_sequence(),
        logprobs: choice.logprobs(),
        blocks,
    }
}

/// Gives the citations of a message to the texts it is made of.
fn cite(blocks: &mut [Block], citations: Vec<Citation>) {
    if citations.is_empty() {
        return;
    }
    let mut from = 0;
    let last = blocks.iter().rposition(|block| matches!(block.content, Content::Text(_)));
    for (at, block) in blocks.iter_mut().enumerate() {
        let Content::Text(text) = &block.content else { continue };
        let length = characters(text);
        let here = |citation: &&Citation| citation.span.is_some() || Some(at) == last;
        block.citations = citations.iter().filter(here).filter_map(|citation| citation.clone().within(from, length)).collect();
        from = from.saturating_add(length);
    }
}

fn read_call(id: &str, position: usize, function: &Function<'_>, kind: ToolKind, extra: Option<&RawValue>) -> Block {
    let arguments = function.arguments();
    let is_empty = kind == ToolKind::Function && arguments.trim_ascii().is_empty();
    Block::new(Content::ToolCall {
        id: if id.is_empty() { format!("call_{position}") } else { id.to_owned() },
        name: function.name().to_owned(),
        arguments: if is_empty { "{}".to_owned() } else { arguments.into_owned() },
        kind,
        signature: extra.and_then(thought_signature),
    })
}

/// Derived from the content where servers only say that they stopped.
pub(super) fn read_finish(reason: Option<&str>, calls: bool, refused: bool) -> Finish {
    match reason {
        Some("length" | "max_tokens" | "model_length") => Finish::Length,
        Some("content_filter") => Finish::Filtered,
        Some("tool_calls" | "function_call") => Finish::ToolCalls,
        _ if calls => Finish::ToolCalls,
        _ if refused => Finish::Refused,
        _ => Finish::Stop,
    }
}

/// `refused`: whether the answer says so in words, which is a good end in this format.
pub(super) fn finish_word(finish: Finish, calls: bool, refused: bool, legacy: bool) -> &'static str {
    match finish {
        Finish::Length => "length",
        Finish::Filtered => "content_filter",
        Finish::Refused if !refused => "content_filter",
        Finish::ToolCalls | Finish::Stop if calls && legacy => "function_call",
        Finish::ToolCalls | Finish::Stop if calls => "tool_calls",
        Finish::ToolCalls | Finish::Stop | Finish::Refused | Finish::Paused => "stop",
    }
}

/// Writes an answer with every member that the specification wants, null where unknown.
pub fn write(answer: &Answer, id: &str, writing: &Writing, charge: &Charge) -> Bytes {
    let legacy = writing.request.as_ref().is_some_and(|request| request.legacy_functions);
    let mut out = Vec::with_capacity(2048);
    let mut body = Object::new(&mut out);
    body.put("id", id);
    body.put("object", "chat.completion");
    body.put("created", &writing.created);
    body.put("model", &*writing.model);
    let mut choices = body.array("choices");
    for (index, choice) in answer.choices.iter().enumerate() {
        write_choice(&mut choices.object(), index, choice, legacy);
    }
    drop(choices);
    body.key("usage").extend_from_slice(usage::written(charge).as_bytes());
    body.maybe("service_tier", answer.service_tier.as_deref());
    drop(body);
    Bytes::from(out)
}

fn write_choice(out: &mut Object<'_>, index: usize, choice: &Choice, legacy: bool) {
    let (mut said, mut refusal, mut thoughts) = (None::<String>, None::<String>, String::new());
    let (mut calls, mut signed) = (0, false);
    for block in &choice.blocks {
        match &block.content {
            Content::Text(text) => said.get_or_insert_default().push_str(text),
            Content::Refusal(text) => refusal.get_or_insert_default().push_str(text),
            Content::Reasoning { text, signature } => {
                thoughts.push_str(text);
                signed |= signature.is_some();
            }
            Content::ToolCall { .. } => calls += 1,
            _ => {}
        }
    }
    out.put("index", &index);
    let mut message = out.object("message");
    message.put("role", "assistant");
    message.put("content", &said);
    message.put("refusal", &refusal);
    write_annotations(&mut message.array("annotations"), &choice.blocks);
    message.maybe("reasoning_content", (!thoughts.is_empty()).then_some(thoughts));
    if signed {
        write_details(&mut message, &choice.blocks);
    }
    if calls > 0 {
        write_calls(&mut message, &choice.blocks, legacy);
    }
    drop(message);
    out.put("logprobs", &choice.logprobs);
    out.put("finish_reason", finish_word(choice.finish, calls > 0, refusal.is_some(), legacy));
}

/// Texts are joined, so positions count from the first.
fn write_annotations(out: &mut Array<'_>, blocks: &[Block]) {
    if blocks.iter().all(|block| block.citations.is_empty()) {
        return;
    }
    let mut from = 0u32;
    for block in blocks {
        let Content::Text(text) = &block.content else { continue };
        let length = characters(text);
        for citation in &block.citations {
            let span = citation.span.clone().unwrap_or(0..length);
            let at = from.saturating_add(span.start)..from.saturating_add(span.end);
            if let Some(annotation) = annotations::chat(citation, at) {
                json::push(out.element(), &annotation);
            }
        }
        from = from.saturating_add(length);
    }
}

fn write_details(message: &mut Object<'_>, blocks: &[Block]) {
    let mut details = message.array("reasoning_details");
    let thoughts = blocks.iter().filter_map(|block| match &block.content {
        Content::Reasoning { text, signature } => Some((text, signature.as_ref())),
        _ => None,
    });
    for (index, (text, signature)) in (0..).zip(thoughts) {
        reasoning::push_details(&mut details, index, (!text.is_empty()).then_some(&**text), signature);
    }
}

fn write_calls(message: &mut Object<'_>, blocks: &[Block], legacy: bool) {
    let calls = blocks.iter().filter_map(|block| match &block.content {
        Content::ToolCall { id, name, arguments, kind, signature } => Some((id, name, arguments, *kind, signature.as_ref())),
        _ => None,
    });
    if legacy {
        // The caller knows one; the upstream was asked for no more.
        for (_, name, arguments, ..) in calls.take(1) {
            let mut call = message.object("function_call");
            call.put("name", &**name);
            call.put("arguments", &**arguments);
        }
        return;
    }
    let mut list = message.array("tool_calls");
    for (id, name, arguments, kind, signature) in calls {
        write_call(&mut list.object(), id, name, arguments, kind, signature);
    }
}
