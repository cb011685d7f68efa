//! A call of another dialect, written for an upstream that speaks this one.
//!
//! Rules: answers are never kept at the vendor (`store: false`); one instruction goes into `instructions`, several into a message in
//! front; the mark that a tool's result is an error is dropped, its text stays; signatures of other vendors are dropped.

use serde::Serialize;
use serde_json::{Map, Value, json, value::RawValue};

use super::request::{EFFORTS, parameters_or_empty};
use crate::dialect::{
    Dialect,
    canonical::{Block, Content, Json, OutputFormat, Reasoning, Request, Role, Source, Tool, ToolChoice, ToolKind, Turn},
    format::{Aim, Unsupported, Written},
    losses::{Losses, Part},
    openai::media,
};

/// Tiers of this dialect; those of others mean nothing here.
const SERVICE_TIERS: [&str; 6] = ["auto", "default", "flex", "scale", "priority", "fast"];

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
    input: Vec<Value>,
    store: bool,
    #[serde(skip_serializing_if = "is_false")]
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    include: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<WireReasoning>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
}

#[derive(Serialize)]
struct WireTool<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Serialize)]
struct Text<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbosity: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Format<'a> {
    JsonObject,
    JsonSchema {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        schema: &'a Json,
        #[serde(skip_serializing_if = "Option::is_none")]
        strict: Option<bool>,
    },
}

#[derive(Serialize)]
struct WireReasoning {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'static str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

pub(super) fn write(request: &Request, aim: &Aim<'_>) -> Result<Written, Unsupported> {
    let mut losses = Losses::of(request, aim.drop_unsupported);
    note_losses(request, &mut losses)?;
    let (instructions, input) = write_input(request, aim, &mut losses)?;
    let sampling = &request.sampling;
    let reasoning = request.reasoning.as_ref().and_then(write_reasoning);
    let mut include = Vec::new();
    if reasoning.as_ref().is_some_and(|reasoning| reasoning.effort != Some("none")) {
        include.push("reasoning.encrypted_content");
    }
    if sampling.logprobs.is_some() {
        include.push("message.output_text.logprobs");
    }
    if !aim.quirks.sampling {
        let there = [(Part::Temperature, &sampling.temperature), (Part::TopP, &sampling.top_p)];
        there.into_iter().filter(|(_, value)| value.is_some()).for_each(|(part, _)| losses.drop(part));
    }
    let tier = request.service_tier.as_deref().filter(|tier| SERVICE_TIERS.contains(tier));
    if request.service_tier.is_some() && tier.is_none() {
        losses.drop(Part::ServiceTier);
    }
    let body = Body {
        model: aim.model,
        instructions,
        input,
        store: false,
        stream: request.streamed,
        max_output_tokens: sampling.max_output_tokens,
        temperature: sampling.temperature.as_ref().filter(|_| aim.quirks.sampling),
        top_p: sampling.top_p.as_ref().filter(|_| aim.quirks.sampling),
        top_logprobs: sampling.logprobs.filter(|alternatives| *alternatives > 0),
        include,
        tools: request.tools.iter().map(write_tool).collect(),
        tool_choice: request.tool_choice.as_ref().map(|choice| write_choice(choice, &request.tools)),
        parallel_tool_calls: request.parallel_tools.filter(|_| !request.tools.is_empty()),
        text: write_text(request),
        reasoning,
        metadata: request.metadata.as_ref().filter(|metadata| metadata.is_object()),
        user: request.user.as_deref(),
        prompt_cache_key: request.cache_key.as_deref(),
        service_tier: tier,
    };
    let bytes = serde_json::to_vec(&body).map_err(|error| losses.never(Part::Messages, error.to_string()))?;
    Ok(Written { dropped: losses.into_dropped(), ..Written::json(bytes) })
}

fn note_losses(request: &Request, losses: &mut Losses) -> Result<(), Unsupported> {
    losses.take_unmodelled(&request.unmodelled)?;
    if has_cache_hint(request) {
        losses.drop(Part::CacheHints);
    }
    if request.turns.iter().any(|turn| turn.name.is_some()) {
        losses.drop(Part::ParticipantName);
    }
    if request.sampling.seed.is_some() {
        losses.drop(Part::Seed);
    }
    let sampling = &request.sampling;
    let says =
        |number: &Option<Json>| number.as_ref().is_some_and(|number| number.text().bytes().any(|digit| matches!(digit, b'1'..=b'9')));
    for (part, is_there) in [
        (Part::Choices, sampling.n.is_some_and(|n| n > 1)),
        (Part::Stop, !sampling.stop.is_empty()),
        (Part::TopK, sampling.top_k.is_some()),
        (Part::PresencePenalty, says(&sampling.presence_penalty)),
        (Part::FrequencyPenalty, says(&sampling.frequency_penalty)),
    ] {
        if is_there {
            losses.refuse(part, "the upstream's format, OpenAI Responses, has no such field")?;
        }
    }
    Ok(())
}

/// Prompts are cached without being told to.
fn has_cache_hint(request: &Request) -> bool {
    let blocks = request.system.iter().chain(request.turns.iter().flat_map(|turn| &turn.blocks));
    request.tools.iter().any(|tool| tool.cache.is_some()) || blocks.into_iter().any(|block| block.cache.is_some())
}

fn write_input<'a>(request: &'a Request, aim: &Aim<'_>, losses: &mut Losses) -> Result<(Option<&'a str>, Vec<Value>), Unsupported> {
    let mut input = Vec::new();
    let instructions = match request.system.as_slice() {
        [Block { content: Content::Text(text), .. }] => Some(text.as_str()),
        [] => None,
        blocks => {
            input.push(message(instructing_role(aim), write_parts(blocks, "input_text", losses)?));
            None
        }
    };
    for turn in &request.turns {
        write_turn(turn, aim, losses, &mut input)?;
    }
    Ok((instructions, input))
}

fn instructing_role(aim: &Aim<'_>) -> &'static str {
    if aim.quirks.developer_role { "developer" } else { "system" }
}

/// A single text stands as it is, which every server takes in every role.
fn message(role: &str, mut parts: Vec<Value>) -> Value {
    let content = match parts.as_mut_slice() {
        [Value::Object(part)] if part.len() == 2 && part.contains_key("text") => part.remove("text").unwrap_or_default(),
        _ => Value::Array(parts),
    };
    json!({"type": "message", "role": role, "content": content})
}

/// A turn becomes a message for what was said, and an item for each thought, call and result, in their order.
fn write_turn(turn: &Turn, aim: &Aim<'_>, losses: &mut Losses, input: &mut Vec<Value>) -> Result<(), Unsupported> {
    let (role, text_kind) = match turn.role {
        Role::System => (instructing_role(aim), "input_text"),
        Role::User => ("user", "input_text"),
        Role::Assistant => ("assistant", "output_text"),
    };
    let mut said: Vec<&Block> = Vec::new();
    for block in &turn.blocks {
        let item = match &block.content {
            Content::ToolCall { id, name, arguments, kind, .. } => match kind {
                ToolKind::Function => json!({"type": "function_call", "call_id": id, "name": name, "arguments": arguments}),
                ToolKind::Custom => json!({"type": "custom_tool_call", "call_id": id, "name": name, "input": arguments}),
            },
            Content::ToolResult { call_id, blocks, .. } => write_result(call_id, blocks, is_custom(call_id, input), losses)?,
            Content::Reasoning { text, signature } => match signature.as_ref().filter(|signature| signature.vendor == Dialect::OpenAi) {
                Some(signature) => thought(text, signature.id.as_deref(), &signature.value),
                // Without what the vendor sealed, it takes no thought back.
                None => continue,
            },
            _ => {
                said.push(block);
                continue;
            }
        };
        flush(&mut said, role, text_kind, losses, input)?;
        input.push(item);
    }
    flush(&mut said, role, text_kind, losses, input)
}

fn flush(
    said: &mut Vec<&Block>,
    role: &str,
    text_kind: &'static str,
    losses: &mut Losses,
    input: &mut Vec<Value>,
) -> Result<(), Unsupported> {
    let parts = write_parts(std::mem::take(said), text_kind, losses)?;
    if !parts.is_empty() {
        input.push(message(role, parts));
    }
    Ok(())
}

fn thought(text: &str, id: Option<&str>, encrypted: &str) -> Value {
    let summary = if text.is_empty() { json!([]) } else { json!([{"type": "summary_text", "text": text}]) };
    let mut item = json!({"type": "reasoning", "summary": summary, "encrypted_content": encrypted});
    if let (Some(id), Some(item)) = (id, item.as_object_mut()) {
        item.insert("id".to_owned(), json!(id));
    }
    item
}

/// Whether the result belongs to a call of a custom tool.
fn is_custom(call_id: &str, input: &[Value]) -> bool {
    input.iter().any(|item| item["type"] == "custom_tool_call" && item["call_id"] == call_id)
}

fn write_result(call_id: &str, blocks: &[Block], is_custom: bool, losses: &mut Losses) -> Result<Value, Unsupported> {
    let kind = if is_custom { "custom_tool_call_output" } else { "function_call_output" };
    let output = match blocks {
        [] => json!(""),
        [Block { content: Content::Text(text), .. }] => json!(text),
        blocks => json!(write_parts(blocks, "input_text", losses)?),
    };
    Ok(json!({"type": kind, "call_id": call_id, "output": output}))
}

fn write_parts<'a>(
    blocks: impl IntoIterator<Item = &'a Block>,
    text_kind: &'static str,
    losses: &mut Losses,
) -> Result<Vec<Value>, Unsupported> {
    let mut parts = Vec::new();
    for block in blocks {
        let part = match &block.content {
            Content::Text(text) => json!({"type": text_kind, "text": text}),
            Content::Refusal(text) => json!({"type": "refusal", "refusal": text}),
            Content::Image { source, detail } => write_image(source, detail.as_deref()),
            Content::Document { source, .. } if source.is_video() => {
                losses.refuse(Part::Documents, "the upstream's format, OpenAI Responses, does not take video")?;
                continue;
            }
            Content::Document { source, name } => write_document(source, name.as_deref()),
            Content::Audio { source: Source::Base64 { mime, data } } => {
                let format = match mime.strip_prefix("audio/").unwrap_or(mime) {
                    "mpeg" | "mp3" => "mp3",
                    "x-wav" | "wave" | "wav" => "wav",
                    other => other,
                };
                json!({"type": "input_audio", "input_audio": {"data": data, "format": format}})
            }
            Content::Audio { .. } => {
                losses.refuse(Part::AudioInput, "the upstream's format, OpenAI Responses, takes sound as base64 only")?;
                continue;
            }
            Content::Opaque { kind, .. } => {
                losses.refuse_named(kind.clone(), "only upstreams of the caller's own format know it")?;
                continue;
            }
            Content::ToolCall { .. } | Content::ToolResult { .. } | Content::Reasoning { .. } => continue,
        };
        parts.push(part);
    }
    Ok(parts)
}

fn write_image(source: &Source, detail: Option<&str>) -> Value {
    let mut part = json!({"type": "input_image", "detail": detail.unwrap_or("auto")});
    let (name, value) = match source {
        Source::Base64 { mime, data } => ("image_url", media::data_url(mime, data)),
        Source::Url { url, .. } => ("image_url", url.clone()),
        Source::File { id } => ("file_id", id.clone()),
        Source::Text(text) => ("image_url", text.clone()),
    };
    insert(&mut part, name, value);
    part
}

fn write_document(source: &Source, name: Option<&str>) -> Value {
    let (field, value) = match source {
        Source::Base64 { mime, data } => ("file_data", media::data_url(mime, data)),
        Source::Url { url, .. } => ("file_url", url.clone()),
        Source::File { id } => ("file_id", id.clone()),
        // Plain text is what the model reads of it anyway.
        Source::Text(text) => return json!({"type": "input_text", "text": text}),
    };
    let mut part = json!({"type": "input_file"});
    insert(&mut part, field, value);
    let name = match (name, field) {
        (Some(name), _) => Some(name),
        // Required with data.
        (None, "file_data") => Some("document.pdf"),
        (None, _) => None,
    };
    if let Some(name) = name.filter(|_| field != "file_id") {
        insert(&mut part, "filename", name.to_owned());
    }
    part
}

fn insert(part: &mut Value, name: &str, value: String) {
    if let Some(members) = part.as_object_mut() {
        members.insert(name.to_owned(), Value::String(value));
    }
}

fn write_tool(tool: &Tool) -> WireTool<'_> {
    let is_function = tool.kind == ToolKind::Function;
    let parameters = || RawValue::from_string(parameters_or_empty(tool.parameters.as_ref()).into_owned()).ok();
    WireTool {
        kind: if is_function { "function" } else { "custom" },
        name: &tool.name,
        description: tool.description.as_deref(),
        parameters: is_function.then(parameters).flatten(),
        // This dialect's default is strict, that of all others is not.
        strict: is_function.then(|| tool.strict.unwrap_or(false)),
    }
}

fn write_choice(choice: &ToolChoice, tools: &[Tool]) -> Value {
    let named = |name: &str| {
        let is_custom = tools.iter().any(|tool| tool.name == name && tool.kind == ToolKind::Custom);
        json!({"type": if is_custom { "custom" } else { "function" }, "name": name})
    };
    match choice {
        ToolChoice::Auto => json!("auto"),
        ToolChoice::None => json!("none"),
        ToolChoice::Required => json!("required"),
        ToolChoice::Named(name) => named(name),
        ToolChoice::Allowed { names, required } => {
            let tools: Vec<Value> = names.iter().map(|name| named(name)).collect();
            let mut choice = Map::new();
            choice.insert("type".to_owned(), json!("allowed_tools"));
            choice.insert("mode".to_owned(), json!(if *required { "required" } else { "auto" }));
            choice.insert("tools".to_owned(), Value::Array(tools));
            Value::Object(choice)
        }
    }
}

fn write_text(request: &Request) -> Option<Text<'_>> {
    let format = match &request.output {
        OutputFormat::Text => None,
        OutputFormat::JsonObject => Some(Format::JsonObject),
        OutputFormat::JsonSchema { name, description, schema, strict } => Some(Format::JsonSchema {
            name: name.as_deref().unwrap_or("answer"),
            description: description.as_deref(),
            schema,
            strict: *strict,
        }),
    };
    let verbosity = request.verbosity.as_deref();
    (format.is_some() || verbosity.is_some()).then_some(Text { format, verbosity })
}

fn write_reasoning(reasoning: &Reasoning) -> Option<WireReasoning> {
    let effort = reasoning.as_effort();
    let effort = effort.and_then(|effort| EFFORTS.iter().find(|(_, known)| *known == effort)).map(|(word, _)| *word);
    let summary = (reasoning.visible == Some(true)).then_some("auto");
    (effort.is_some() || summary.is_some()).then_some(WireReasoning { effort, summary })
}
