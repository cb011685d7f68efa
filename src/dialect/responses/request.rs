//! A call's body, read into the canonical form.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{echo, fields::Fields, items::Conversation};
use crate::dialect::{
    CallHead, Invalid,
    canonical::{Effort, Json, OutputFormat, Reasoning, Request, Tool, ToolChoice, ToolKind, Unmodelled},
    json,
};

/// Arrays and objects inside each other; the upstream's parser should not be the first to find out.
const NESTING_MAX: usize = 128;
const MODEL_BYTES_MAX: usize = 256;
/// Far above every model, far below what could overflow a price.
const OUTPUT_TOKENS_MAX: u64 = 1_000_000_000;
const TOP_LOGPROBS_MAX: u64 = 20;

/// Fields that leave the answer's content as it is.
const HARMLESS: [&str; 4] = ["max_tool_calls", "truncation", "prompt_cache_options", "prompt_cache_retention"];
/// Fields that the gateway itself takes care of, or that change nothing when they say this.
const TAKEN_CARE_OF: [(&str, Option<&str>); 4] =
    [("store", None), ("include", None), ("stream_options", None), ("truncation", Some(r#""disabled""#))];

/// The text of a body that is one JSON object.
pub(super) fn text_of(body: &[u8]) -> Result<&str, Invalid> {
    let text = std::str::from_utf8(body).map_err(|_| Invalid::body("the request body is not valid UTF-8"))?;
    if !json::nests_within(body, NESTING_MAX) {
        return Err(Invalid::body(format!("the request body nests deeper than {NESTING_MAX} levels")));
    }
    if !json::is_object(text) {
        return Err(Invalid::body("the request body must be a JSON object"));
    }
    match serde_json::from_str::<&RawValue>(text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Invalid::body(format!("the request body is not valid JSON: {error}"))),
    }
}

/// Reads and checks a call.
pub(super) fn read(head: &CallHead, body: &[u8]) -> Result<Request, Invalid> {
    let mut fields = Fields::read("", text_of(body)?)?;
    refuse_vendor_state(&mut fields)?;
    let mut request = Request { echo: Some(echo::of(&fields)), ..Request::default() };
    request.model = read_model(&mut fields)?;
    request.streamed = fields.boolean("stream")?.unwrap_or(false);
    read_input(head, &mut fields, &mut request)?;
    read_tools(&mut fields, &mut request)?;
    read_sampling(&mut fields, &mut request)?;
    read_output(&mut fields, &mut request)?;
    request.reasoning = read_reasoning(&mut fields, &mut request.unmodelled)?;
    let end_users = [fields.text("user")?, fields.text("safety_identifier")?];
    request.user = end_users.into_iter().flatten().next().map(Cow::into_owned);
    request.metadata = fields.json_object("metadata")?.filter(|metadata| metadata.text() != "{}");
    request.cache_key = fields.text("prompt_cache_key")?.map(Cow::into_owned);
    request.service_tier = fields.text("service_tier")?.map(Cow::into_owned).filter(|tier| tier != "auto");
    fields.forget(&TAKEN_CARE_OF);
    for (field, _) in fields.rest() {
        let harmless = HARMLESS.contains(&&*field);
        request.unmodelled.push(Unmodelled { field, harmless });
    }
    Ok(request)
}

/// What would live at the vendor, in an account that all callers of this gateway share.
fn refuse_vendor_state(fields: &mut Fields<'_>) -> Result<(), Invalid> {
    if fields.peek("conversation").is_some() {
        return Err(fields.invalid("conversation", "is not kept on this gateway; send the items of the conversation as 'input'"));
    }
    if fields.boolean("background")? == Some(true) {
        return Err(fields.invalid("background", "is not possible on this gateway; leave it out and stream the answer instead"));
    }
    if fields.peek("previous_response_id").is_some() {
        return Err(fields.invalid("previous_response_id", "cannot be used here; send the earlier items as 'input'"));
    }
    Ok(())
}

fn read_model(fields: &mut Fields<'_>) -> Result<String, Invalid> {
    let model = fields.required_text("model")?;
    if model.len() > MODEL_BYTES_MAX { Err(fields.invalid("model", "is too long")) } else { Ok(model.into_owned()) }
}

fn read_input(head: &CallHead, fields: &mut Fields<'_>, request: &mut Request) -> Result<(), Invalid> {
    let instructions = fields.text("instructions")?.filter(|text| !text.is_empty());
    let mut conversation = Conversation::new(head.chain.earlier_items);
    match fields.take("input") {
        Some(input) => conversation.read_input(input)?,
        // A prompt of the vendor may say everything.
        None if fields.peek("prompt").is_some() || head.counts_only => {}
        None => return Err(fields.invalid("input", "is required")),
    }
    request.system = instructions.map(crate::dialect::canonical::Block::text).into_iter().chain(conversation.system).collect();
    request.turns = conversation.turns;
    request.unmodelled = conversation.unmodelled;
    let is_empty = request.turns.is_empty() && request.system.is_empty();
    if is_empty && fields.peek("prompt").is_none() && !head.counts_only {
        Err(fields.invalid("input", "must not be empty"))
    } else {
        Ok(())
    }
}

fn read_sampling(fields: &mut Fields<'_>, request: &mut Request) -> Result<(), Invalid> {
    let sampling = &mut request.sampling;
    sampling.max_output_tokens = fields.integer("max_output_tokens", 1, OUTPUT_TOKENS_MAX)?;
    sampling.temperature = fields.number("temperature")?;
    sampling.top_p = fields.number("top_p")?;
    let wanted = fields.peek("include").is_some_and(|include| include.get().contains("message.output_text.logprobs"));
    let alternatives = fields.integer("top_logprobs", 0, TOP_LOGPROBS_MAX)?.unwrap_or(0);
    sampling.logprobs = (wanted || alternatives > 0).then_some(alternatives);
    Ok(())
}

fn read_output(fields: &mut Fields<'_>, request: &mut Request) -> Result<(), Invalid> {
    let Some(mut text) = fields.object("text")? else { return Ok(()) };
    request.verbosity = text.text("verbosity")?.map(Cow::into_owned);
    if let Some(mut format) = text.object("format")? {
        request.output = match &*format.required_text("type")? {
            "text" => OutputFormat::Text,
            "json_object" => OutputFormat::JsonObject,
            "json_schema" => OutputFormat::JsonSchema {
                name: Some(format.required_text("name")?.into_owned()),
                description: format.text("description")?.map(Cow::into_owned),
                schema: format.json_object("schema")?.ok_or_else(|| format.invalid("schema", "is required"))?,
                strict: format.boolean("strict")?,
            },
            _ => {
                request.unmodelled.push(Unmodelled { field: format.path("type"), harmless: false });
                OutputFormat::Text
            }
        };
    }
    request.unmodelled.extend(text.rest().map(|(field, _)| Unmodelled { field, harmless: false }));
    Ok(())
}

fn read_reasoning(fields: &mut Fields<'_>, unmodelled: &mut Vec<Unmodelled>) -> Result<Option<Reasoning>, Invalid> {
    let Some(mut reasoning) = fields.object("reasoning")? else { return Ok(None) };
    let word = reasoning.text("effort")?;
    let effort = word.as_deref().and_then(effort_of);
    if word.is_some() && effort.is_none() {
        // A level of the future: the vendor's own upstreams may know it.
        unmodelled.push(Unmodelled { field: reasoning.path("effort"), harmless: false });
    }
    let summary = [reasoning.text("summary")?, reasoning.text("generate_summary")?].into_iter().flatten().next();
    let standard = |field: &str, raw: &RawValue| field.ends_with(".mode") && raw.get() == "\"standard\"" || raw.get() == "\"auto\"";
    unmodelled.extend(reasoning.rest().map(|(field, raw)| Unmodelled { harmless: standard(&field, raw), field }));
    Ok(Some(Reasoning { effort, budget_tokens: None, visible: summary.map(|_| true) }))
}

/// Words of `reasoning.effort`.
pub(super) const EFFORTS: [(&str, Effort); 7] = [
    ("none", Effort::None),
    ("minimal", Effort::Minimal),
    ("low", Effort::Low),
    ("medium", Effort::Medium),
    ("high", Effort::High),
    ("xhigh", Effort::ExtraHigh),
    ("max", Effort::Max),
];

fn effort_of(word: &str) -> Option<Effort> {
    EFFORTS.iter().find(|(name, _)| *name == word).map(|(_, effort)| *effort)
}

fn read_tools(fields: &mut Fields<'_>, request: &mut Request) -> Result<(), Invalid> {
    for (index, tool) in fields.array("tools")?.unwrap_or_default().into_iter().enumerate() {
        let tool = Fields::read(format!("tools[{index}]"), tool.get())?;
        request.tools.extend(read_tool(tool, &mut request.unmodelled)?);
    }
    request.tool_choice = read_choice(fields, &mut request.unmodelled)?;
    request.parallel_tools = fields.boolean("parallel_tool_calls")?.filter(|parallel| !parallel);
    Ok(())
}

/// `None` for tools that run at the vendor.
fn read_tool(mut tool: Fields<'_>, unmodelled: &mut Vec<Unmodelled>) -> Result<Option<Tool>, Invalid> {
    let kind = match &*tool.required_text("type")? {
        "function" => ToolKind::Function,
        "custom" => ToolKind::Custom,
        _ => {
            unmodelled.push(Unmodelled { field: tool.path("type"), harmless: false });
            return Ok(None);
        }
    };
    let name = tool.required_text("name")?.into_owned();
    let description = tool.text("description")?.map(Cow::into_owned);
    let parameters = if kind == ToolKind::Function { tool.json_object("parameters")? } else { None };
    // Not strict is what all other dialects take for granted.
    let strict = tool.boolean("strict")?.filter(|strict| *strict);
    // Plain text is what custom tools take anyway.
    if tool.peek("format").is_some_and(|format| serde_json::from_str::<Kind<'_>>(format.get()).is_ok_and(|format| format.kind == "text")) {
        tool.take("format");
    }
    unmodelled.extend(tool.rest().map(|(field, _)| Unmodelled { field, harmless: false }));
    Ok(Some(Tool { kind, name, description, parameters, strict, cache: None }))
}

#[derive(serde::Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

fn read_choice(fields: &mut Fields<'_>, unmodelled: &mut Vec<Unmodelled>) -> Result<Option<ToolChoice>, Invalid> {
    let Some(raw) = fields.take("tool_choice") else { return Ok(None) };
    if let Ok(json::Text(word)) = serde_json::from_str(raw.get()) {
        return match &*word {
            "auto" => Ok(Some(ToolChoice::Auto)),
            "none" => Ok(Some(ToolChoice::None)),
            "required" => Ok(Some(ToolChoice::Required)),
            _ => Err(fields.invalid("tool_choice", "must be auto, none, required or an object")),
        };
    }
    let mut choice = Fields::read("tool_choice", raw.get())?;
    match &*choice.required_text("type")? {
        "function" | "custom" => Ok(Some(ToolChoice::Named(choice.required_text("name")?.into_owned()))),
        "allowed_tools" => {
            let required = choice.text("mode")?.is_some_and(|mode| mode == "required");
            let mut names = Vec::new();
            for (index, tool) in choice.array("tools")?.unwrap_or_default().into_iter().enumerate() {
                let mut tool = Fields::read(format!("tool_choice.tools[{index}]"), tool.get())?;
                match tool.text("name")? {
                    Some(name) => names.push(name.into_owned()),
                    None => unmodelled.push(Unmodelled { field: tool.path("type"), harmless: false }),
                }
            }
            Ok(Some(ToolChoice::Allowed { names, required }))
        }
        _ => {
            unmodelled.push(Unmodelled { field: choice.path("type"), harmless: false });
            Ok(None)
        }
    }
}

/// A schema as the dialect's upstreams want it: `None` is an object without properties.
pub(super) fn parameters_or_empty(parameters: Option<&Json>) -> Cow<'_, str> {
    parameters.map_or(Cow::Borrowed(r#"{"type":"object","properties":{}}"#), |schema| Cow::Borrowed(schema.text()))
}
