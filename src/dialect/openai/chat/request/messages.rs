//! The messages of a call.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    read::{note, parse, string},
    settings::{member, members},
};
use crate::dialect::{
    Dialect, Invalid,
    canonical::{Block, CacheHint, Content, Json, Request, Role, Signature, Source, ToolKind, Turn, Unmodelled},
    json::Prose,
    openai::{
        chat::reasoning,
        media::{parse_data_url, source_of_url, standard_base64},
    },
};

type Members<'a> = [(Cow<'a, str>, &'a RawValue)];

const ROLES: &str = "must be 'system', 'developer', 'user', 'assistant', 'tool' or 'function'";
/// Members of messages that are modelled, or say nothing.
const MODELLED: [&str; 12] = [
    "role",
    "content",
    "name",
    "refusal",
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "tool_calls",
    "function_call",
    "tool_call_id",
    "annotations",
    "cache_control",
];

/// Reads the messages: instructions before the first turn are the system's, later ones are turns of their own.
pub fn read(raw: &RawValue, request: &mut Request) -> Result<(), Invalid> {
    // The id that stands for the last call of a caller who knows no ids.
    let mut last_call = String::new();
    for (position, raw) in parse::<Vec<&RawValue>>("messages", raw)?.into_iter().enumerate() {
        let at = format!("messages[{position}]");
        let message = Message { fields: members(&at, raw)?, at };
        message.note_unmodelled(&mut request.unmodelled);
        let role = match member(&message.fields, "role") {
            Some(role) => string(&format!("{}.role", message.at), role)?,
            None => return Err(Invalid::field(format!("{}.role", message.at), ROLES)),
        };
        let (role, blocks) = match &*role {
            "system" | "developer" if request.turns.is_empty() => {
                request.system.extend(message.content()?);
                continue;
            }
            "system" | "developer" => (Role::System, message.content()?),
            "user" => (Role::User, message.content()?),
            "assistant" => (Role::Assistant, message.said(position, &mut last_call)?),
            "tool" => (Role::User, vec![message.tool_result()?]),
            "function" => (Role::User, vec![message.function_result(&last_call)?]),
            _ => return Err(Invalid::field(format!("{}.role", message.at), ROLES)),
        };
        let name = message.text("name")?.filter(|_| !blocks.iter().any(|block| matches!(block.content, Content::ToolResult { .. })));
        request.turns.push(Turn { role, name, blocks });
    }
    Ok(())
}

/// Where a prompt cache should end, as several gateways take it beside parts and tools.
pub(super) fn cache_hint(raw: Option<&RawValue>) -> Option<CacheHint> {
    let fields = members("cache_control", raw?).ok()?;
    Some(CacheHint { ttl: member(&fields, "ttl").and_then(|ttl| string("ttl", ttl).ok()) })
}

struct Message<'a> {
    at: String,
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Message<'a> {
    fn note_unmodelled(&self, unmodelled: &mut Vec<Unmodelled>) {
        let has_sources = |raw: &&RawValue| !matches!(raw.get(), "null" | "[]");
        if member(&self.fields, "annotations").filter(has_sources).is_some() {
            note(unmodelled, "messages[].annotations", true);
        }
        for (name, _) in self.fields.iter().filter(|(name, _)| !MODELLED.contains(&&**name)) {
            // An earlier answer's sound is part of the conversation; other members are what servers added to their answers.
            note(unmodelled, &format!("messages[].{name}"), name != "audio");
        }
    }

    fn text(&self, name: &str) -> Result<Option<String>, Invalid> {
        member(&self.fields, name).map(|raw| string(&format!("{}.{name}", self.at), raw)).transpose()
    }

    fn content(&self) -> Result<Vec<Block>, Invalid> {
        let mut blocks = match member(&self.fields, "content") {
            Some(raw) => content(&format!("{}.content", self.at), raw)?,
            None => Vec::new(),
        };
        if let (Some(hint), Some(last)) = (cache_hint(member(&self.fields, "cache_control")), blocks.last_mut()) {
            last.cache.get_or_insert(hint);
        }
        Ok(blocks)
    }

    /// What the model said earlier: thoughts, text, refusal, calls.
    fn said(&self, position: usize, last_call: &mut String) -> Result<Vec<Block>, Invalid> {
        let plain = ["reasoning_content", "reasoning"].into_iter().find_map(|name| member(&self.fields, name));
        let plain: Prose<'_> = plain.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        let details = member(&self.fields, "reasoning_details").map(reasoning::details).unwrap_or_default();
        let mut blocks = reasoning::blocks(&details, &plain.0);
        blocks.extend(self.content()?);
        blocks.extend(self.text("refusal")?.filter(|text| !text.is_empty()).map(|text| Block::new(Content::Refusal(text))));
        if let Some(calls) = member(&self.fields, "tool_calls") {
            let at = format!("{}.tool_calls", self.at);
            for (index, raw) in parse::<Vec<&RawValue>>(&at, calls)?.into_iter().enumerate() {
                blocks.push(tool_call(&format!("{at}[{index}]"), raw)?);
            }
        }
        if let Some(call) = member(&self.fields, "function_call") {
            *last_call = format!("call_{position}");
            let at = format!("{}.function_call", self.at);
            blocks.push(called(&at, &members(&at, call)?, last_call.clone(), ToolKind::Function, None)?);
        }
        Ok(blocks)
    }

    fn tool_result(&self) -> Result<Block, Invalid> {
        let call_id = self.text("tool_call_id")?.filter(|id| !id.is_empty());
        let call_id = call_id.ok_or_else(|| Invalid::field(format!("{}.tool_call_id", self.at), "is required"))?;
        Ok(Block::new(Content::ToolResult { call_id, name: self.text("name")?, blocks: self.content()?, is_error: false }))
    }

    fn function_result(&self, last_call: &str) -> Result<Block, Invalid> {
        let name = self.text("name")?.ok_or_else(|| Invalid::field(format!("{}.name", self.at), "is required"))?;
        let call_id = last_call.to_owned();
        Ok(Block::new(Content::ToolResult { call_id, name: Some(name), blocks: self.content()?, is_error: false }))
    }
}

/// A text, or parts. Empty texts say nothing and are left out.
fn content(at: &str, raw: &RawValue) -> Result<Vec<Block>, Invalid> {
    if raw.get().starts_with('"') {
        let text = string(at, raw)?;
        return Ok(if text.is_empty() { Vec::new() } else { vec![Block::text(text)] });
    }
    if !raw.get().starts_with('[') {
        return Err(Invalid::field(at, "must be a string or an array of parts"));
    }
    let mut blocks = Vec::new();
    for (index, raw) in parse::<Vec<&RawValue>>(at, raw)?.into_iter().enumerate() {
        let at = format!("{at}[{index}]");
        let fields = members(&at, raw)?;
        let content = part(&at, raw, &fields)?;
        if !matches!(&content, Content::Text(text) | Content::Refusal(text) if text.is_empty()) {
            blocks.push(Block { cache: cache_hint(member(&fields, "cache_control")), ..Block::new(content) });
        }
    }
    Ok(blocks)
}

fn part(at: &str, raw: &RawValue, fields: &Members<'_>) -> Result<Content, Invalid> {
    let kind = member(fields, "type").map(|raw| string(&format!("{at}.type"), raw)).transpose()?;
    let needed = |name: &str| member(fields, name).ok_or_else(|| Invalid::field(format!("{at}.{name}"), "is required"));
    let text = |name: &str| string(&format!("{at}.{name}"), needed(name)?);
    Ok(match kind.as_deref().unwrap_or("text") {
        "text" | "input_text" | "output_text" => Content::Text(text("text")?),
        "refusal" => Content::Refusal(text("refusal")?),
        "thinking" => Content::Reasoning { text: parse::<Prose<'_>>(at, needed("thinking")?)?.0.into_owned(), signature: None },
        "image_url" => image(&format!("{at}.image_url"), needed("image_url")?)?,
        "input_audio" => audio(&format!("{at}.input_audio"), needed("input_audio")?)?,
        "file" => file(&format!("{at}.file"), needed("file")?)?,
        kind => Content::Opaque { kind: kind.to_owned(), json: Json::from(raw) },
    })
}

fn image(at: &str, raw: &RawValue) -> Result<Content, Invalid> {
    if raw.get().starts_with('"') {
        return Ok(Content::Image { source: source_of_url(&string(at, raw)?), detail: None });
    }
    let fields = members(at, raw)?;
    let url = member(&fields, "url").ok_or_else(|| Invalid::field(format!("{at}.url"), "is required"))?;
    let detail = member(&fields, "detail").map(|raw| string(&format!("{at}.detail"), raw)).transpose()?;
    let detail = detail.filter(|detail| detail != "auto");
    Ok(Content::Image { source: source_of_url(&string(&format!("{at}.url"), url)?), detail })
}

fn audio(at: &str, raw: &RawValue) -> Result<Content, Invalid> {
    let fields = members(at, raw)?;
    let needed = |name: &str| {
        let raw = member(&fields, name).ok_or_else(|| Invalid::field(format!("{at}.{name}"), "is required"))?;
        string(&format!("{at}.{name}"), raw)
    };
    let mime = match &*needed("format")? {
        "mp3" => "audio/mpeg".to_owned(),
        format => format!("audio/{format}"),
    };
    Ok(Content::Audio { source: Source::Base64 { mime, data: standard_base64(&needed("data")?).into_owned() } })
}

fn file(at: &str, raw: &RawValue) -> Result<Content, Invalid> {
    let fields = members(at, raw)?;
    let text = |name: &str| member(&fields, name).map(|raw| string(&format!("{at}.{name}"), raw)).transpose();
    let name = text("filename")?;
    let source = match (text("file_data")?, text("file_id")?) {
        (Some(data), _) if data.starts_with("http://") || data.starts_with("https://") => Source::Url { url: data, mime: None },
        (Some(data), _) => {
            // Without a type it is what the format was made for.
            let (mime, data) = parse_data_url(&data).unwrap_or(("application/pdf", &data));
            Source::Base64 { mime: mime.to_owned(), data: standard_base64(data).into_owned() }
        }
        (None, Some(id)) => Source::File { id },
        (None, None) => return Err(Invalid::field(at, "needs 'file_data' or 'file_id'")),
    };
    Ok(Content::Document { source, name })
}

fn tool_call(at: &str, raw: &RawValue) -> Result<Block, Invalid> {
    let fields = members(at, raw)?;
    let id = member(&fields, "id").map(|raw| string(&format!("{at}.id"), raw)).transpose()?.unwrap_or_default();
    let signature = member(&fields, "extra_content").and_then(thought_signature);
    let (name, kind) = match member(&fields, "custom") {
        Some(_) => ("custom", ToolKind::Custom),
        None => ("function", ToolKind::Function),
    };
    let at = format!("{at}.{name}");
    let call = member(&fields, name).ok_or_else(|| Invalid::field(&at, "is required"))?;
    called(&at, &members(&at, call)?, id, kind, signature)
}

fn called(at: &str, fields: &Members<'_>, id: String, kind: ToolKind, signature: Option<Signature>) -> Result<Block, Invalid> {
    let name = member(fields, "name").ok_or_else(|| Invalid::field(format!("{at}.name"), "is required"))?;
    let name = string(&format!("{at}.name"), name)?;
    let arguments = match (member(fields, if kind == ToolKind::Custom { "input" } else { "arguments" }), kind) {
        (None, ToolKind::Function) => "{}".to_owned(),
        (None, ToolKind::Custom) => String::new(),
        // Some clients write the object itself.
        (Some(raw), ToolKind::Function) if raw.get().starts_with('{') => raw.get().to_owned(),
        (Some(raw), ToolKind::Function) => {
            let text = string(&format!("{at}.arguments"), raw)?;
            if text.trim_ascii().is_empty() { "{}".to_owned() } else { text }
        }
        (Some(raw), ToolKind::Custom) => string(&format!("{at}.input"), raw)?,
    };
    Ok(Block::new(Content::ToolCall { id, name, arguments, kind, signature }))
}

/// `{"google": {"thought_signature": …}}`, beside calls of messages and of answers.
pub(in crate::dialect::openai::chat) fn thought_signature(raw: &RawValue) -> Option<Signature> {
    let fields = members("extra_content", raw).ok()?;
    let google = members("google", member(&fields, "google")?).ok()?;
    let value = string("thought_signature", member(&google, "thought_signature")?).ok().filter(|value| !value.is_empty())?;
    Some(Signature { vendor: Dialect::Gemini, value, sealed: false, id: None })
}
