//! A conversation as Anthropic takes it: users and assistants in turn, results of tools first in the message after their calls.

use std::borrow::Cow;

use base64::Engine;

use crate::dialect::{
    Dialect,
    anthropic::wire::{self, CacheControl, Message},
    canonical::{Block, Content, Request, Role, Signature, Source, ToolKind},
    format::Unsupported,
    losses::{Losses, Part},
};

const USER: &str = "user";
const ASSISTANT: &str = "assistant";
/// Stands for what a user said before an assistant's opening words, or instead of nothing: Anthropic's conversations begin with one.
const OPENING: &str = ".";
const NO_RESULT: &str = "no result was given for this call";

/// Writes all turns. Instructions in the middle of a conversation become texts of the user, in their place.
pub(super) fn write<'a>(request: &'a Request, losses: &mut Losses) -> Result<Vec<Message<'a>>, Unsupported> {
    let mut messages: Vec<Message<'a>> = Vec::with_capacity(request.turns.len());
    for turn in &request.turns {
        let role = if turn.role == Role::Assistant { ASSISTANT } else { USER };
        let content = write_blocks(&turn.blocks, losses)?;
        match messages.last_mut().filter(|last| last.role == role) {
            Some(last) => last.content.extend(content),
            None if content.is_empty() => {}
            None => messages.push(Message { role, content }),
        }
    }
    if messages.is_empty() && request.system.is_empty() {
        return Err(losses.never(Part::Messages, "no message has any content"));
    }
    if messages.first().is_none_or(|first| first.role == ASSISTANT) {
        messages.insert(0, Message { role: USER, content: vec![wire::Block::text(OPENING)] });
    }
    answer_every_call(&mut messages);
    for message in messages.iter_mut().filter(|message| message.role == USER) {
        // Stable: results keep their order, and so does the rest.
        message.content.sort_by_key(|block| !matches!(block, wire::Block::ToolResult { .. }));
    }
    if let Some(wire::Block::Text { text, .. }) =
        messages.last_mut().filter(|last| last.role == ASSISTANT).and_then(|last| last.content.last_mut())
    {
        // An answer to be continued may not end with white space.
        *text = Cow::Owned(text.trim_end().to_owned());
    }
    Ok(messages)
}

/// Calls without a result (the client was interrupted) get one that says so; Anthropic refuses them otherwise.
fn answer_every_call(messages: &mut Vec<Message<'_>>) {
    let mut at = 0;
    while at < messages.len() {
        let answered = |id: &str| {
            messages.get(at + 1).is_some_and(|next| {
                next.content.iter().any(|block| matches!(block, wire::Block::ToolResult { tool_use_id, .. } if tool_use_id == id))
            })
        };
        let missing: Vec<String> = messages[at]
            .content
            .iter()
            .filter_map(|block| match block {
                wire::Block::ToolUse { id, .. } if !answered(id) => Some(id.to_string()),
                _ => None,
            })
            .collect();
        at += 1;
        if missing.is_empty() {
            continue;
        }
        let results = missing.into_iter().map(|id| wire::Block::ToolResult {
            tool_use_id: Cow::Owned(id),
            content: vec![wire::Block::text(NO_RESULT)],
            is_error: true,
            cache_control: None,
        });
        match messages.get_mut(at) {
            Some(next) => next.content.extend(results),
            None => messages.push(Message { role: USER, content: results.collect() }),
        }
    }
}

/// Writes the blocks of one message or one tool result.
pub(super) fn write_blocks<'a>(blocks: &'a [Block], losses: &mut Losses) -> Result<Vec<wire::Block<'a>>, Unsupported> {
    let mut written = Vec::with_capacity(blocks.len());
    for block in blocks {
        written.extend(write_block(block, losses)?);
    }
    Ok(written)
}

/// `None` is a block that is left out by a rule: an empty text, a foreign thought, or what the caller allowed to drop.
fn write_block<'a>(block: &'a Block, losses: &mut Losses) -> Result<Option<wire::Block<'a>>, Unsupported> {
    let cache_control = CacheControl::of(block.cache.as_ref());
    Ok(match &block.content {
        Content::Text(text) | Content::Refusal(text) if text.is_empty() => None,
        Content::Text(text) | Content::Refusal(text) => Some(wire::Block::Text { text: Cow::Borrowed(text), cache_control }),
        Content::Image { source, .. } => write_image(source, losses)?.map(|source| wire::Block::Image { source, cache_control }),
        Content::Document { source, name } => {
            write_document(source, losses)?.map(|source| wire::Block::Document { source, title: name.as_deref(), cache_control })
        }
        Content::Audio { .. } => {
            losses.refuse(Part::AudioInput, "this model's format has no sound in its input")?;
            None
        }
        Content::ToolCall { id, name, arguments, kind, .. } => {
            let input = match kind {
                ToolKind::Function => wire::input(arguments),
                ToolKind::Custom => wire::text_input(arguments),
            };
            Some(wire::Block::ToolUse { id: wire::tool_id(id), name, input, cache_control })
        }
        Content::ToolResult { call_id, blocks, is_error, .. } => Some(wire::Block::ToolResult {
            tool_use_id: wire::tool_id(call_id),
            content: write_blocks(blocks, losses)?,
            is_error: *is_error,
            cache_control,
        }),
        Content::Reasoning { text, signature } => write_thought(text, signature.as_ref()),
        Content::Opaque { kind, .. } => {
            losses.refuse_named(kind.clone(), "its upstream speaks another format, which has no such part")?;
            None
        }
    })
}

/// Thoughts go back only to the vendor that signed them, exactly as they came.
fn write_thought<'a>(text: &'a str, signature: Option<&'a Signature>) -> Option<wire::Block<'a>> {
    let signature = signature.filter(|signature| signature.vendor == Dialect::Anthropic)?;
    Some(if signature.sealed {
        wire::Block::RedactedThinking { data: &signature.value }
    } else {
        wire::Block::Thinking { thinking: text, signature: &signature.value }
    })
}

fn write_image<'a>(source: &'a Source, losses: &mut Losses) -> Result<Option<wire::Source<'a>>, Unsupported> {
    match source {
        Source::Base64 { mime, data } => {
            // A name that no registry knows and many programs use.
            let media_type = if mime == "image/jpg" { "image/jpeg" } else { mime };
            Ok(Some(wire::Source::Base64 { media_type, data }))
        }
        Source::Url { url, .. } => Ok(Some(wire::Source::Url { url })),
        Source::File { .. } => foreign_file(losses),
        Source::Text(_) => {
            losses.refuse(Part::Media, "an image cannot be a text")?;
            Ok(None)
        }
    }
}

fn write_document<'a>(source: &'a Source, losses: &mut Losses) -> Result<Option<wire::Source<'a>>, Unsupported> {
    match source {
        Source::Base64 { mime, data } if mime == "application/pdf" => Ok(Some(wire::Source::Base64 { media_type: mime, data })),
        Source::Base64 { mime, data } => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(data).ok();
            match bytes.filter(|_| is_text(mime)).and_then(|bytes| String::from_utf8(bytes).ok()) {
                Some(text) => Ok(Some(wire::Source::Text { media_type: "text/plain", data: Cow::Owned(text) })),
                None => {
                    losses.refuse(Part::Media, format!("its format takes PDF and plain text, not {mime}"))?;
                    Ok(None)
                }
            }
        }
        Source::Text(text) => Ok(Some(wire::Source::Text { media_type: "text/plain", data: Cow::Borrowed(text) })),
        Source::Url { url, .. } => Ok(Some(wire::Source::Url { url })),
        Source::File { .. } => foreign_file(losses),
    }
}

fn is_text(mime: &str) -> bool {
    mime.starts_with("text/") || matches!(mime, "application/json" | "application/xml" | "application/yaml")
}

fn foreign_file<'a>(losses: &mut Losses) -> Result<Option<wire::Source<'a>>, Unsupported> {
    losses.refuse(Part::FileId, "the file was uploaded to another vendor; send its content")?;
    Ok(None)
}
