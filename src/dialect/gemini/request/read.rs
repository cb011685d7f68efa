//! A caller's body, read and checked; and the body that is forwarded for it.

use bytes::Bytes;

use super::{
    config::{read_generation, read_labels, read_tool_config, read_tools},
    parts::PartReader,
};
use crate::dialect::{
    Invalid,
    canonical::{Block, Request, Role, Turn, Unmodelled},
    format::{Aim, CallHead, Written},
    gemini::{
        fields::{Field, Fields},
        resource_name,
    },
    json::{self, Edit},
};

/// Reads a call of `generateContent`. The path says the model, and whether to stream. A body that is only counted may have the whole call
/// in `generateContentRequest`.
pub fn read(head: &CallHead, body: &[u8]) -> Result<Request, Invalid> {
    let model = head.model.clone().ok_or_else(|| Invalid::field("model", "is required in the path"))?;
    let mut request = Request { model, streamed: head.streamed.unwrap_or(false), include_usage: true, ..Request::default() };
    let mut fields = Fields::of_body(body)?;
    if head.counts_only
        && let Some(call) = fields.object("generateContentRequest")?
    {
        fields = call;
    }
    let mut parts = PartReader::default();
    let missing = fields.path_of("contents");
    if let Some(field) = fields.take("systemInstruction")? {
        request.system = read_system(field, &mut parts)?;
    }
    for content in fields.list("contents")? {
        let turn = read_turn(content, &mut parts)?;
        request.turns.push(turn);
    }
    if request.turns.is_empty() {
        return Err(Invalid::field(missing, "must not be empty"));
    }
    request.unmodelled.append(&mut parts.unmodelled);
    read_generation(fields.object("generationConfig")?, &mut request)?;
    read_tools(fields.list("tools")?, &mut request)?;
    read_tool_config(fields.object("toolConfig")?, &mut request)?;
    read_safety(fields.list("safetySettings")?, &mut request.unmodelled)?;
    request.service_tier = fields.text("serviceTier")?.map(|tier| tier.to_ascii_lowercase()).filter(|tier| !tier.is_empty());
    request.metadata = read_labels(fields.take("labels")?)?;
    // The path has the word.
    fields.take("model")?;
    fields.leave(&mut request.unmodelled, |name| name == "store");
    Ok(request)
}

/// A content, or plain text as some clients write it.
fn read_system(field: Field<'_>, parts: &mut PartReader) -> Result<Vec<Block>, Invalid> {
    if let Ok(text) = field.text() {
        return Ok(vec![Block::text(text)]);
    }
    let mut fields = Fields::of(field)?;
    fields.take("role")?;
    let mut blocks = Vec::new();
    for part in fields.list("parts")? {
        parts.read(part, &mut blocks)?;
    }
    fields.leave(&mut parts.unmodelled, |_| false);
    Ok(blocks)
}

fn read_turn(field: Field<'_>, parts: &mut PartReader) -> Result<Turn, Invalid> {
    let mut fields = Fields::of(field)?;
    let at = fields.path_of("role");
    let role = match fields.text("role")?.unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "user" | "function" => Role::User,
        "model" => Role::Assistant,
        _ => return Err(Invalid::field(at, "must be user or model")),
    };
    let mut blocks = Vec::new();
    for part in fields.list("parts")? {
        parts.read(part, &mut blocks)?;
    }
    fields.leave(&mut parts.unmodelled, |_| false);
    Ok(Turn { role, name: None, blocks })
}

/// Filters that are switched off ask for nothing that others do not do anyway.
fn read_safety(settings: Vec<Field<'_>>, unmodelled: &mut Vec<Unmodelled>) -> Result<(), Invalid> {
    for setting in settings {
        let path = setting.path.clone();
        let threshold = Fields::of(setting)?.text("threshold")?.unwrap_or_default().to_ascii_uppercase();
        let harmless = matches!(&*threshold, "" | "OFF" | "BLOCK_NONE" | "HARM_BLOCK_THRESHOLD_UNSPECIFIED");
        unmodelled.push(Unmodelled { field: path, harmless });
    }
    Ok(())
}

/// The caller's bytes; a body that names the model, too, gets the upstream's name of it.
pub fn forward(body: &Bytes, aim: &Aim<'_>) -> Result<Written, Invalid> {
    let Some(model) = Fields::of_body(body)?.take("model")? else { return Ok(Written::json(body.clone())) };
    let edit = Edit { at: json::span_in(body, model.raw.get()), with: json::quoted(&resource_name(aim.model)) };
    Ok(Written::json(json::splice(body, &[edit])))
}
