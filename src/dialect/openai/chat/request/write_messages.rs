//! The turns of a call, written as messages.
//!
//! Text of one block is a string, of several an array of parts. Results of tools come first in their turn and are messages of their own;
//! pictures in them, which this format has no place for, follow in a message of the user.

use super::write::kind_name;
use crate::dialect::{
    Dialect,
    canonical::{Block, Content, Request, Role, Signature, Source, ToolKind, Turn},
    format::{Aim, Unsupported},
    json::{Array, Object},
    losses::{Losses, Part},
    openai::{chat::reasoning::push_details, media::data_url},
};

const FILE_NAME: &str = "document.pdf";

pub fn write(messages: &mut Array<'_>, request: &Request, aim: &Aim<'_>, losses: &mut Losses) -> Result<(), Unsupported> {
    let blocks = request.system.iter().chain(request.turns.iter().flat_map(|turn| &turn.blocks));
    if blocks.clone().any(|block| block.cache.is_some()) {
        losses.drop(Part::CacheHints);
    }
    if !request.system.is_empty() {
        let mut message = messages.object();
        message.put("role", "system");
        write_content(&mut message, &request.system.iter().collect::<Vec<_>>(), losses)?;
    }
    for turn in &request.turns {
        match turn.role {
            Role::Assistant => write_answer(&mut messages.object(), turn, aim, losses)?,
            Role::System => write_turn(messages, "system", turn, losses)?,
            Role::User => {
                write_results(messages, turn, losses)?;
                write_turn(messages, "user", turn, losses)?;
            }
        }
    }
    Ok(())
}

fn write_turn(messages: &mut Array<'_>, role: &str, turn: &Turn, losses: &mut Losses) -> Result<(), Unsupported> {
    let said: Vec<&Block> = turn.blocks.iter().filter(|block| !matches!(block.content, Content::ToolResult { .. })).collect();
    if said.is_empty() && said.len() < turn.blocks.len() {
        return Ok(());
    }
    let mut message = messages.object();
    message.put("role", role);
    message.maybe("name", turn.name.as_deref());
    write_content(&mut message, &said, losses)
}

/// A string for one text, an array for everything else.
fn write_content(message: &mut Object<'_>, blocks: &[&Block], losses: &mut Losses) -> Result<(), Unsupported> {
    match blocks {
        [] => message.put("content", ""),
        [Block { content: Content::Text(text), .. }] => message.put("content", &**text),
        blocks => {
            let mut parts = message.array("content");
            for block in blocks {
                write_part(&mut parts, &block.content, losses)?;
            }
        }
    }
    Ok(())
}

fn write_part(parts: &mut Array<'_>, content: &Content, losses: &mut Losses) -> Result<(), Unsupported> {
    match content {
        Content::Text(text) | Content::Document { source: Source::Text(text), .. } => {
            let mut part = parts.object();
            part.put("type", "text");
            part.put("text", &**text);
        }
        Content::Refusal(text) => {
            let mut part = parts.object();
            part.put("type", "refusal");
            part.put("refusal", &**text);
        }
        Content::Image { source, detail } => return write_image(parts, source, detail.as_deref(), losses),
        Content::Document { source, name } => return write_file(parts, source, name.as_deref(), losses),
        Content::Audio { source } => return write_audio(parts, source, losses),
        Content::Opaque { kind, .. } => return losses.refuse_named(kind.clone(), "the model's format has nothing like it"),
        // Thoughts and calls of the user: no dialect has them, and there is no place for them.
        Content::Reasoning { .. } | Content::ToolCall { .. } | Content::ToolResult { .. } => {}
    }
    Ok(())
}

fn write_image(parts: &mut Array<'_>, source: &Source, detail: Option<&str>, losses: &mut Losses) -> Result<(), Unsupported> {
    let url = match source {
        Source::Base64 { mime, data } => data_url(mime, data),
        Source::Url { url, .. } => url.clone(),
        Source::File { .. } | Source::Text(_) => {
            return losses.refuse(Part::Images, "the model's format takes images inline or by URL only");
        }
    };
    let mut part = parts.object();
    part.put("type", "image_url");
    let mut image = part.object("image_url");
    image.put("url", &*url);
    image.maybe("detail", detail);
    Ok(())
}

fn write_file(parts: &mut Array<'_>, source: &Source, name: Option<&str>, losses: &mut Losses) -> Result<(), Unsupported> {
    if matches!(source, Source::Url { .. }) {
        return losses.refuse(Part::Documents, "the model's format takes documents inline or by file id only");
    }
    if source.is_video() {
        return losses.refuse(Part::Documents, "the model's format does not take video");
    }
    let mut part = parts.object();
    part.put("type", "file");
    let mut file = part.object("file");
    match source {
        Source::Base64 { mime, data } => {
            file.put("filename", name.unwrap_or(FILE_NAME));
            file.put("file_data", &*data_url(mime, data));
        }
        Source::File { id } => file.put("file_id", &**id),
        Source::Url { .. } | Source::Text(_) => {}
    }
    Ok(())
}

fn write_audio(parts: &mut Array<'_>, source: &Source, losses: &mut Losses) -> Result<(), Unsupported> {
    let Source::Base64 { mime, data } = source else {
        return losses.refuse(Part::AudioInput, "the model's format takes sound inline only");
    };
    let format = match &**mime {
        "audio/mpeg" | "audio/mp3" => "mp3",
        "audio/x-wav" | "audio/wave" | "audio/vnd.wave" => "wav",
        mime => match mime.strip_prefix("audio/") {
            Some(format) => format.split(';').next().unwrap_or(format),
            None => return losses.refuse(Part::AudioInput, "its type is none of sound"),
        },
    };
    let mut part = parts.object();
    part.put("type", "input_audio");
    let mut audio = part.object("input_audio");
    audio.put("data", &**data);
    audio.put("format", format);
    Ok(())
}

fn write_answer(message: &mut Object<'_>, turn: &Turn, aim: &Aim<'_>, losses: &mut Losses) -> Result<(), Unsupported> {
    message.put("role", "assistant");
    message.maybe("name", turn.name.as_deref());
    let said: Vec<&Block> = turn.blocks.iter().filter(|block| !is_thought_or_call(block)).collect();
    match &said[..] {
        [] => message.put("content", &None::<()>),
        [Block { content: Content::Refusal(text), .. }] => {
            message.put("content", &None::<()>);
            message.put("refusal", &**text);
        }
        said => write_content(message, said, losses)?,
    }
    if aim.quirks.reasoning_input {
        write_thoughts(message, turn, aim.quirks.reasoning_member);
    }
    write_calls(message, turn, aim);
    Ok(())
}

fn is_thought_or_call(block: &Block) -> bool {
    matches!(block.content, Content::Reasoning { .. } | Content::ToolCall { .. } | Content::ToolResult { .. })
}

/// `named_twice`: the text stands in `reasoning`, too.
fn write_thoughts(message: &mut Object<'_>, turn: &Turn, named_twice: bool) {
    let thoughts = turn.blocks.iter().filter_map(|block| match &block.content {
        Content::Reasoning { text, signature } => Some((text, signature.as_ref())),
        _ => None,
    });
    let text: String = thoughts.clone().map(|(text, _)| &**text).collect();
    let text = (!text.is_empty()).then_some(text);
    message.maybe("reasoning", text.as_ref().filter(|_| named_twice));
    message.maybe("reasoning_content", text);
    if thoughts.clone().any(|(_, signature)| signature.is_some()) {
        let mut details = message.array("reasoning_details");
        for (index, (text, signature)) in (0..).zip(thoughts) {
            push_details(&mut details, index, (!text.is_empty()).then_some(&**text), signature);
        }
    }
}

fn write_calls(message: &mut Object<'_>, turn: &Turn, aim: &Aim<'_>) {
    if !turn.blocks.iter().any(|block| matches!(block.content, Content::ToolCall { .. })) {
        return;
    }
    let mut calls = message.array("tool_calls");
    for block in &turn.blocks {
        if let Content::ToolCall { id, name, arguments, kind, signature } = &block.content {
            let signature = signature.as_ref().filter(|_| aim.quirks.reasoning_input);
            write_call(&mut calls.object(), id, name, arguments, *kind, signature);
        }
    }
}

/// One call, in messages and in answers.
pub(in crate::dialect::openai::chat) fn write_call(
    call: &mut Object<'_>,
    id: &str,
    name: &str,
    arguments: &str,
    kind: ToolKind,
    signature: Option<&Signature>,
) {
    call.put("id", id);
    call.put("type", kind_name(kind));
    let mut called = call.object(kind_name(kind));
    called.put("name", name);
    called.put(if kind == ToolKind::Custom { "input" } else { "arguments" }, arguments);
    drop(called);
    if let Some(signature) = signature.filter(|signature| signature.vendor == Dialect::Gemini) {
        call.object("extra_content").object("google").put("thought_signature", &*signature.value);
    }
}

/// Messages of tools; then one of the user with what such a message cannot hold.
fn write_results(messages: &mut Array<'_>, turn: &Turn, losses: &mut Losses) -> Result<(), Unsupported> {
    let mut attached: Vec<(&str, Vec<&Block>)> = Vec::new();
    for block in &turn.blocks {
        let Content::ToolResult { call_id, blocks, is_error, .. } = &block.content else { continue };
        let (media, said): (Vec<&Block>, Vec<&Block>) = blocks.iter().partition(|block| is_media(&block.content));
        let mut message = messages.object();
        message.put("role", "tool");
        message.put("tool_call_id", &**call_id);
        match &said[..] {
            [] if *is_error => message.put("content", "The tool failed."),
            [] if !media.is_empty() => message.put("content", "The result follows."),
            said => write_content(&mut message, said, losses)?,
        }
        if !media.is_empty() {
            attached.push((call_id, media));
        }
    }
    if attached.is_empty() {
        return Ok(());
    }
    let mut message = messages.object();
    message.put("role", "user");
    let mut parts = message.array("content");
    for (call_id, media) in attached {
        write_part(&mut parts, &Content::Text(format!("Part of the result of tool call {call_id}:")), losses)?;
        for block in media {
            write_part(&mut parts, &block.content, losses)?;
        }
    }
    Ok(())
}

fn is_media(content: &Content) -> bool {
    match content {
        Content::Document { source, .. } => !matches!(source, Source::Text(_)),
        Content::Image { .. } | Content::Audio { .. } => true,
        _ => false,
    }
}
