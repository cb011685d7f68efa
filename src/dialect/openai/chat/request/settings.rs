//! Fields beside the messages: tools and their choice, the answer's format, stop texts, thinking.

use serde_json::value::RawValue;

use super::{
    messages::cache_hint,
    read::{note, object, parse, string},
};
use crate::dialect::{
    Invalid,
    canonical::{Effort, Json, OutputFormat, Reasoning, Tool, ToolChoice, ToolKind, Unmodelled},
    json::{self, Text},
};

/// The members of an object that are not null.
pub(super) fn members<'a>(name: &str, raw: &'a RawValue) -> Result<Vec<(std::borrow::Cow<'a, str>, &'a RawValue)>, Invalid> {
    let members = json::members(raw.get()).ok_or_else(|| Invalid::field(name, "must be an object"))?;
    Ok(members.into_iter().filter(|(_, raw)| raw.get() != "null").collect())
}

/// A member of an object by its name.
pub(super) fn member<'a>(members: &[(std::borrow::Cow<'a, str>, &'a RawValue)], name: &str) -> Option<&'a RawValue> {
    members.iter().rev().find(|(member, _)| member == name).map(|(_, raw)| *raw)
}

pub fn stop(raw: &RawValue) -> Result<Vec<String>, Invalid> {
    let stop = if raw.get().starts_with('[') { parse("stop", raw)? } else { vec![string("stop", raw)?] };
    Ok(stop.into_iter().filter(|text: &String| !text.is_empty()).collect())
}

/// How many alternatives to report of each token.
pub fn logprobs(wanted: Option<&RawValue>, top: Option<&RawValue>) -> Result<Option<u64>, Invalid> {
    let wanted = wanted.map(|raw| parse::<bool>("logprobs", raw)).transpose()?.unwrap_or(false);
    let top = top.map(|raw| parse::<u64>("top_logprobs", raw)).transpose()?;
    match (wanted, top) {
        (false, None | Some(0)) => Ok(None),
        (false, Some(_)) => Err(Invalid::field("top_logprobs", "needs 'logprobs' to be true")),
        (true, top) => Ok(Some(top.unwrap_or(0))),
    }
}

pub fn tools(raw: &RawValue, unmodelled: &mut Vec<Unmodelled>) -> Result<Vec<Tool>, Invalid> {
    let mut tools = Vec::new();
    for (position, raw) in parse::<Vec<&RawValue>>("tools", raw)?.into_iter().enumerate() {
        let at = format!("tools[{position}]");
        let fields = members(&at, raw)?;
        let kind = member(&fields, "type").map(|raw| string(&format!("{at}.type"), raw)).transpose()?;
        let (name, kind) = match kind.as_deref() {
            None | Some("function") => ("function", ToolKind::Function),
            Some("custom") => ("custom", ToolKind::Custom),
            Some(_) => {
                note(unmodelled, &format!("{at}.type"), false);
                continue;
            }
        };
        let at = format!("{at}.{name}");
        let defined = member(&fields, name).ok_or_else(|| Invalid::field(&at, "is required"))?;
        let cache = cache_hint(member(&fields, "cache_control"));
        let tool = Tool { kind, cache, ..function(&at, defined)? };
        if let (ToolKind::Custom, Some(format)) = (kind, member(&members(&at, defined)?, "format")) {
            let format = members(&format!("{at}.format"), format)?;
            if member(&format, "type").is_some_and(|kind| kind.get() != "\"text\"") {
                note(unmodelled, &format!("{at}.format"), false);
            }
        }
        tools.push(tool);
    }
    Ok(tools)
}

/// Tools before there were any.
pub fn functions(raw: &RawValue) -> Result<Vec<Tool>, Invalid> {
    let functions = parse::<Vec<&RawValue>>("functions", raw)?.into_iter().enumerate();
    functions.map(|(position, raw)| function(&format!("functions[{position}]"), raw)).collect()
}

fn function(at: &str, raw: &RawValue) -> Result<Tool, Invalid> {
    let fields = members(at, raw)?;
    let text = |name: &str| member(&fields, name).map(|raw| string(&format!("{at}.{name}"), raw)).transpose();
    Ok(Tool {
        kind: ToolKind::Function,
        name: text("name")?.filter(|name| !name.is_empty()).ok_or_else(|| Invalid::field(format!("{at}.name"), "is required"))?,
        description: text("description")?,
        parameters: member(&fields, "parameters").map(|raw| object(&format!("{at}.parameters"), raw)).transpose()?,
        strict: member(&fields, "strict").map(|raw| parse(&format!("{at}.strict"), raw)).transpose()?,
        cache: None,
    })
}

pub fn tool_choice(raw: &RawValue) -> Result<ToolChoice, Invalid> {
    let wrong = || Invalid::field("tool_choice", "must be 'none', 'auto', 'required', or an object that names a tool or allowed tools");
    if let Ok(Text(word)) = serde_json::from_str::<Text<'_>>(raw.get()) {
        return match &*word {
            "none" => Ok(ToolChoice::None),
            "auto" => Ok(ToolChoice::Auto),
            "required" | "any" => Ok(ToolChoice::Required),
            _ => Err(wrong()),
        };
    }
    let fields = members("tool_choice", raw)?;
    if let Some(allowed) = member(&fields, "allowed_tools") {
        return allowed_tools(allowed);
    }
    name_in(&fields).map(ToolChoice::Named).ok_or_else(wrong)
}

fn allowed_tools(raw: &RawValue) -> Result<ToolChoice, Invalid> {
    let name = "tool_choice.allowed_tools";
    let fields = members(name, raw)?;
    let tools = member(&fields, "tools").ok_or_else(|| Invalid::field(format!("{name}.tools"), "is required"))?;
    let mut names = Vec::new();
    for (position, raw) in parse::<Vec<&RawValue>>(&format!("{name}.tools"), tools)?.into_iter().enumerate() {
        let at = format!("{name}.tools[{position}]");
        names.push(name_in(&members(&at, raw)?).ok_or_else(|| Invalid::field(at, "must name a tool"))?);
    }
    let required = member(&fields, "mode").is_some_and(|mode| mode.get() == "\"required\"");
    Ok(ToolChoice::Allowed { names, required })
}

/// The name of a function or custom tool in a reference to it.
fn name_in(fields: &[(std::borrow::Cow<'_, str>, &RawValue)]) -> Option<String> {
    let defined = ["function", "custom"].into_iter().find_map(|kind| member(fields, kind))?;
    string("name", member(&members("tool", defined).ok()?, "name")?).ok()
}

pub fn function_call(raw: &RawValue) -> Result<ToolChoice, Invalid> {
    match raw.get() {
        "\"none\"" => Ok(ToolChoice::None),
        "\"auto\"" => Ok(ToolChoice::Auto),
        _ => {
            let fields = members("function_call", raw)?;
            let name = member(&fields, "name").ok_or_else(|| Invalid::field("function_call.name", "is required"))?;
            Ok(ToolChoice::Named(string("function_call.name", name)?))
        }
    }
}

/// `None` for a format that only its own server knows.
pub fn output_format(raw: &RawValue) -> Result<Option<OutputFormat>, Invalid> {
    let fields = members("response_format", raw)?;
    let kind = member(&fields, "type").ok_or_else(|| Invalid::field("response_format.type", "is required"))?;
    match kind.get() {
        "\"text\"" => Ok(Some(OutputFormat::Text)),
        "\"json_object\"" => Ok(Some(OutputFormat::JsonObject)),
        "\"json_schema\"" => {
            let at = "response_format.json_schema";
            let described = member(&fields, "json_schema").ok_or_else(|| Invalid::field(at, "is required"))?;
            let fields = members(at, described)?;
            let text = |name: &str| member(&fields, name).map(|raw| string(&format!("{at}.{name}"), raw)).transpose();
            let schema = member(&fields, "schema").map(|raw| object(&format!("{at}.schema"), raw)).transpose()?;
            Ok(Some(OutputFormat::JsonSchema {
                name: text("name")?,
                description: text("description")?,
                schema: schema.unwrap_or_else(Json::empty_object),
                strict: member(&fields, "strict").map(|raw| parse(&format!("{at}.strict"), raw)).transpose()?,
            }))
        }
        _ => Ok(None),
    }
}

pub fn effort(name: &str, word: &str) -> Result<Effort, Invalid> {
    Effort::parse(word).ok_or_else(|| Invalid::field(name, "must be 'none', 'minimal', 'low', 'medium', 'high', 'xhigh' or 'max'"))
}

/// The object in which several gateways take effort, budget and visibility together.
pub fn reasoning(raw: &RawValue, reasoning: &mut Reasoning) -> Result<(), Invalid> {
    let fields = members("reasoning", raw)?;
    if let Some(word) = member(&fields, "effort") {
        reasoning.effort = Some(effort("reasoning.effort", &string("reasoning.effort", word)?)?);
    }
    if let Some(enabled) = member(&fields, "enabled") {
        let otherwise = if parse("reasoning.enabled", enabled)? { Effort::Medium } else { Effort::None };
        reasoning.effort.get_or_insert(otherwise);
    }
    if let Some(budget) = member(&fields, "max_tokens") {
        reasoning.budget_tokens = Some(parse("reasoning.max_tokens", budget)?);
    }
    if let Some(excluded) = member(&fields, "exclude") {
        reasoning.visible = Some(!parse::<bool>("reasoning.exclude", excluded)?);
    }
    Ok(())
}

pub fn verbosity(raw: &RawValue) -> Result<String, Invalid> {
    let verbosity = string("verbosity", raw)?;
    match &*verbosity {
        "low" | "medium" | "high" => Ok(verbosity),
        _ => Err(Invalid::field("verbosity", "must be 'low', 'medium' or 'high'")),
    }
}
