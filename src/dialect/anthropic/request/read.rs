//! A caller's body, read into canonical form.

use serde_json::value::RawValue;

use super::blocks::{Blocks, Place, read_cache};
use crate::dialect::{
    CallHead, Invalid,
    anthropic::{
        fields::{Fields, elements, text},
        version::Version,
    },
    canonical::{Effort, Json, OutputFormat, Reasoning, Request, Role, Sampling, Tool, ToolChoice, ToolKind, Turn, Unmodelled},
    json,
};

/// Arrays and objects inside each other; the upstream's parser should not be the first to find out.
const NESTING_MAX: usize = 128;
const MODEL_BYTES_MAX: usize = 256;
/// The least that can be thought, as Anthropic limits it.
pub(super) const BUDGET_TOKENS_MIN: u64 = 1_024;

/// Fields whose absence changes nothing about the answer's content: labels, hints, and optimisations of Anthropic's own servers.
const HARMLESS: [&str; 6] = ["cache_control", "context_management", "diagnostics", "speed", "user_profile_id", "workspace_id"];
const HARMLESS_OF_TOOLS: [&str; 3] = ["defer_loading", "eager_input_streaming", "input_examples"];
const SAMPLING: [&str; 3] = ["temperature", "top_p", "top_k"];

/// Reads and checks a body. With [`CallHead::counts_only`], what only an answer needs may be missing.
pub fn read(head: &CallHead, body: &[u8]) -> Result<Request, Invalid> {
    let version = Version::of(head.version.as_deref())?;
    let text = std::str::from_utf8(body).map_err(|_| Invalid::body("the request body is not valid UTF-8"))?;
    if !json::nests_within(body, NESTING_MAX) {
        return Err(Invalid::body(format!("the request body nests deeper than {NESTING_MAX} levels")));
    }
    let mut fields = Fields::of_body(text)?;
    let mut request = Request { model: read_model(&mut fields)?, ..Request::default() };
    request.streamed = fields.boolean("stream")?.unwrap_or(false) && !head.counts_only;
    request.sampling = read_sampling(&mut fields, version, head.counts_only)?;
    let mut blocks = Blocks { version, unmodelled: Vec::new() };
    if let Some(system) = fields.take("system") {
        request.system = blocks.read_content("system", system, Place::System)?;
    }
    request.turns = read_turns(&mut fields, &mut blocks)?;
    request.unmodelled = blocks.unmodelled;
    read_tools(&mut fields, &mut request)?;
    read_tool_choice(&mut fields, &mut request)?;
    read_thinking(&mut fields, &mut request)?;
    read_output(&mut fields, &mut request)?;
    read_metadata(&mut fields, &mut request)?;
    // What `auto` means is the vendor's default everywhere.
    let tier = fields.text("service_tier")?.filter(|tier| tier != "auto");
    request.service_tier = tier.map(|tier| if tier == "standard_only" { "default".to_owned() } else { tier.into_owned() });
    leave(fields, &HARMLESS, &mut request.unmodelled);
    Ok(request)
}

/// Notes what was not read.
fn leave(fields: Fields<'_>, harmless: &[&str], unmodelled: &mut Vec<Unmodelled>) {
    for (field, value) in fields.left() {
        let member = field.rsplit('.').next().unwrap_or_default();
        let is_default = matches!(value.get(), "[]" | "{}" | "false" | "\"standard\"");
        if !is_default {
            unmodelled.push(Unmodelled { harmless: harmless.contains(&member), field });
        }
    }
}

fn read_model(fields: &mut Fields<'_>) -> Result<String, Invalid> {
    let model = fields.required_text("model")?;
    match model.len() {
        0 => Err(Invalid::field("model", "must not be empty")),
        1..=MODEL_BYTES_MAX => Ok(model.into_owned()),
        _ => Err(Invalid::field("model", "is too long")),
    }
}

fn read_sampling(fields: &mut Fields<'_>, version: Version, counts_only: bool) -> Result<Sampling, Invalid> {
    // 0 asks to fill the prompt cache and to write nothing.
    let max_output_tokens = fields.integer("max_tokens", 0)?;
    if max_output_tokens.is_none() && !counts_only {
        return Err(Invalid::field("max_tokens", "is required"));
    }
    let [temperature, top_p, top_k] = SAMPLING.map(|name| fields.number(name));
    let sampling = Sampling { max_output_tokens, temperature: temperature?, top_p: top_p?, top_k: top_k?, ..Sampling::default() };
    if version == Version::October2026 {
        let given = [&sampling.temperature, &sampling.top_p, &sampling.top_k];
        if let Some((name, _)) = SAMPLING.iter().zip(given).find(|(_, value)| value.is_some()) {
            let problem = "is not part of anthropic-version 2026-10-21; leave it out, or send anthropic-version: 2023-06-01";
            return Err(Invalid::field(*name, problem));
        }
    }
    let mut stop = Vec::new();
    for sequence in fields.array("stop_sequences")?.unwrap_or_default() {
        stop.push(text(sequence).ok_or_else(|| Invalid::field("stop_sequences", "must be an array of strings"))?.into_owned());
    }
    Ok(Sampling { stop, ..sampling })
}

fn read_turns(fields: &mut Fields<'_>, blocks: &mut Blocks) -> Result<Vec<Turn>, Invalid> {
    let messages = fields.array("messages")?.ok_or_else(|| Invalid::field("messages", "is required"))?;
    if messages.is_empty() {
        return Err(Invalid::field("messages", "must not be empty"));
    }
    let mut turns = Vec::with_capacity(messages.len());
    for (at, raw) in messages.into_iter().enumerate() {
        let mut message = Fields::of(&format!("messages.{at}"), raw)?;
        let (role, place) = match &*message.required_text("role")? {
            "user" => (Role::User, Place::User),
            "assistant" => (Role::Assistant, Place::Assistant),
            "system" => (Role::System, Place::System),
            _ => return Err(message.invalid("role", "must be 'user', 'assistant' or 'system'")),
        };
        let content = message.required("content")?;
        turns.push(Turn { role, name: None, blocks: blocks.read_content(&message.name("content"), content, place)? });
        leave(message, &[], &mut blocks.unmodelled);
    }
    Ok(turns)
}

fn read_tools(fields: &mut Fields<'_>, request: &mut Request) -> Result<(), Invalid> {
    for (at, raw) in fields.array("tools")?.unwrap_or_default().into_iter().enumerate() {
        let mut tool = Fields::of(&format!("tools.{at}"), raw)?;
        if tool.text("type")?.is_some_and(|kind| kind != "custom") {
            // A tool that Anthropic runs, or whose schema only Claude knows.
            request.unmodelled.push(Unmodelled { field: tool.name("type"), harmless: false });
            continue;
        }
        let name = tool.required_text("name")?.into_owned();
        let parameters = tool.required("input_schema")?;
        if !json::is_object(parameters.get()) {
            return Err(tool.invalid("input_schema", "must be an object"));
        }
        request.tools.push(Tool {
            kind: ToolKind::Function,
            name,
            description: tool.text("description")?.map(|text| text.into_owned()),
            parameters: Json::parse(parameters.get()),
            strict: tool.boolean("strict")?,
            cache: read_cache(&mut tool)?,
        });
        // The only caller besides `direct` is code that Anthropic runs.
        let callers = tool.array("allowed_callers")?.unwrap_or_default();
        if !callers.is_empty() && !callers.iter().any(|caller| text(caller).is_some_and(|caller| caller == "direct")) {
            request.unmodelled.push(Unmodelled { field: tool.name("allowed_callers"), harmless: false });
        }
        leave(tool, &HARMLESS_OF_TOOLS, &mut request.unmodelled);
    }
    Ok(())
}

fn read_tool_choice(fields: &mut Fields<'_>, request: &mut Request) -> Result<(), Invalid> {
    let Some(mut choice) = fields.object("tool_choice")? else { return Ok(()) };
    request.tool_choice = Some(match &*choice.required_text("type")? {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Named(choice.required_text("name")?.into_owned()),
        _ => {
            request.unmodelled.push(Unmodelled { field: choice.name("type"), harmless: false });
            return Ok(());
        }
    });
    request.parallel_tools = choice.boolean("disable_parallel_tool_use")?.map(|disabled| !disabled);
    leave(choice, &[], &mut request.unmodelled);
    Ok(())
}

fn read_thinking(fields: &mut Fields<'_>, request: &mut Request) -> Result<(), Invalid> {
    let Some(mut thinking) = fields.object("thinking")? else { return Ok(()) };
    let kind = thinking.required_text("type")?;
    let mut reasoning = Reasoning::default();
    match &*kind {
        "disabled" => reasoning.effort = Some(Effort::None),
        "enabled" => {
            let budget = thinking.integer("budget_tokens", BUDGET_TOKENS_MIN)?;
            reasoning.budget_tokens = Some(budget.ok_or_else(|| thinking.invalid("budget_tokens", "is required"))?);
        }
        "adaptive" => {}
        // Where in a turn a model thinks is no other dialect's business.
        "between_tools" => request.unmodelled.push(Unmodelled { field: thinking.name("type"), harmless: true }),
        _ => request.unmodelled.push(Unmodelled { field: thinking.name("type"), harmless: false }),
    }
    let display = thinking.text("display")?;
    if kind != "disabled" {
        reasoning.visible = Some(display.is_none_or(|display| display != "omitted"));
    }
    request.reasoning = Some(reasoning);
    leave(thinking, &[], &mut request.unmodelled);
    Ok(())
}

/// `output_config`, and `output_format` as it was called in its beta.
fn read_output(fields: &mut Fields<'_>, request: &mut Request) -> Result<(), Invalid> {
    let earlier = fields.object("output_format")?;
    let mut format = None;
    if let Some(mut output) = fields.object("output_config")? {
        if let Some(effort) = output.text("effort")? {
            match effort_of(&effort) {
                Some(known) => {
                    let reasoning = request.reasoning.get_or_insert_default();
                    // Thinking that is off stays off.
                    reasoning.effort = reasoning.effort.or(Some(known));
                }
                None => request.unmodelled.push(Unmodelled { field: output.name("effort"), harmless: false }),
            }
        }
        format = output.object("format")?;
        leave(output, &[], &mut request.unmodelled);
    }
    let Some(mut format) = format.or(earlier) else { return Ok(()) };
    if format.required_text("type")? != "json_schema" {
        request.unmodelled.push(Unmodelled { field: format.name("type"), harmless: false });
        return Ok(());
    }
    let schema = format.required("schema")?;
    if !json::is_object(schema.get()) {
        return Err(format.invalid("schema", "must be an object"));
    }
    let schema = Json::parse(schema.get()).unwrap_or_else(Json::empty_object);
    request.output = OutputFormat::JsonSchema { name: None, description: None, schema, strict: Some(true) };
    leave(format, &[], &mut request.unmodelled);
    Ok(())
}

fn effort_of(text: &str) -> Option<Effort> {
    Some(match text {
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        "high" => Effort::High,
        "xhigh" => Effort::ExtraHigh,
        "max" => Effort::Max,
        _ => return None,
    })
}

/// `user_id` names the end user; whatever else callers put here are labels of theirs.
fn read_metadata(fields: &mut Fields<'_>, request: &mut Request) -> Result<(), Invalid> {
    let Some(mut metadata) = fields.object("metadata")? else { return Ok(()) };
    request.user = metadata.text("user_id")?.map(|user| user.into_owned());
    let labels: Vec<(String, &RawValue)> =
        metadata.left().map(|(field, value)| (field.strip_prefix("metadata.").unwrap_or(&field).to_owned(), value)).collect();
    if !labels.is_empty() {
        let members: Vec<String> = labels.iter().map(|(name, value)| format!("{}:{}", json::quoted(name), value.get())).collect();
        request.metadata = Json::parse(&format!("{{{}}}", members.join(",")));
    }
    Ok(())
}

/// Elements of a field that must be an array.
pub(super) fn required_elements<'a>(name: &str, raw: &'a RawValue) -> Result<Vec<&'a RawValue>, Invalid> {
    elements(raw).ok_or_else(|| Invalid::field(name, "must be a string or an array of blocks"))
}
