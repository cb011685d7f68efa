//! The fields of a call.

use serde_json::value::RawValue;

use super::{messages, settings};
use crate::dialect::{
    Endpoint, Invalid,
    canonical::{Json, Reasoning, Request, Unmodelled},
    json,
    openai::request::{Request as Peeked, without_position},
};

/// Fields that change nothing about what is answered.
const HARMLESS: [&str; 6] =
    ["store", "prediction", "prompt_cache_options", "prompt_cache_retention", "safety_identifier", "stream_options.include_obfuscation"];

/// Reads and checks a call.
pub fn read(body: &[u8]) -> Result<Request, Invalid> {
    // The same checks as for calls that are forwarded, with the same words.
    let peeked = Peeked::parse(Endpoint::ChatCompletions, body)?;
    let text = std::str::from_utf8(body).map_err(|_| Invalid::body("the request body is not valid UTF-8"))?;
    let mut request = Request {
        model: peeked.model.clone().into_owned(),
        streamed: peeked.streamed,
        include_usage: peeked.include_usage,
        ..Request::default()
    };
    request.sampling.max_output_tokens = peeked.max_output_tokens;
    request.sampling.n = (peeked.n > 1).then_some(peeked.n);
    let members = json::members(text).ok_or_else(|| Invalid::body("the request body must be a JSON object"))?;
    let given = |name: &str| members.iter().rev().find(|(member, raw)| member == name && raw.get() != "null").map(|(_, raw)| *raw);
    for (name, raw) in members.iter().filter(|(_, raw)| raw.get() != "null") {
        read_member(&mut request, name, raw)?;
    }
    request.sampling.logprobs = settings::logprobs(given("logprobs"), given("top_logprobs"))?;
    if request.user.is_none() {
        request.user = given("safety_identifier").map(|raw| string("safety_identifier", raw)).transpose()?;
        request.unmodelled.retain(|field| field.field != "safety_identifier");
    }
    Ok(request)
}

fn read_member(request: &mut Request, name: &str, raw: &RawValue) -> Result<(), Invalid> {
    let sampling = &mut request.sampling;
    match name {
        // Read by the peek, or together with others.
        "model" | "stream" | "max_tokens" | "max_completion_tokens" | "n" | "logprobs" | "top_logprobs" => {}
        "messages" => messages::read(raw, request)?,
        "temperature" => sampling.temperature = Some(number(name, raw)?),
        "top_p" => sampling.top_p = Some(number(name, raw)?),
        "top_k" => sampling.top_k = Some(number(name, raw)?),
        "seed" => sampling.seed = Some(number(name, raw)?),
        "presence_penalty" => sampling.presence_penalty = Some(number(name, raw)?).filter(is_not_zero),
        "frequency_penalty" => sampling.frequency_penalty = Some(number(name, raw)?).filter(is_not_zero),
        "stop" => sampling.stop = settings::stop(raw)?,
        "tools" => request.tools.extend(settings::tools(raw, &mut request.unmodelled)?),
        "functions" => {
            request.legacy_functions = true;
            request.tools.extend(settings::functions(raw)?);
        }
        "tool_choice" => request.tool_choice = Some(settings::tool_choice(raw)?),
        "function_call" => request.tool_choice = Some(settings::function_call(raw)?),
        "parallel_tool_calls" => request.parallel_tools = Some(parse(name, raw)?),
        "response_format" => match settings::output_format(raw)? {
            Some(format) => request.output = format,
            None => unmodelled(request, name, false),
        },
        "reasoning_effort" => {
            let effort = settings::effort(name, &string(name, raw)?)?;
            request.reasoning.get_or_insert_default().effort = Some(effort);
        }
        "reasoning" => settings::reasoning(raw, request.reasoning.get_or_insert_with(Reasoning::default))?,
        "verbosity" => request.verbosity = Some(settings::verbosity(raw)?).filter(|verbosity| verbosity != "medium"),
        "user" => request.user = Some(string(name, raw)?),
        "metadata" => request.metadata = Some(object(name, raw)?).filter(|metadata| !is_empty(metadata)),
        "prompt_cache_key" => request.cache_key = Some(string(name, raw)?),
        "service_tier" => request.service_tier = Some(string(name, raw)?).filter(|tier| tier != "auto"),
        _ => read_unmodelled(request, name, raw),
    }
    Ok(())
}

/// Fields without a canonical place. Those that say what is so anyway are as good as absent.
fn read_unmodelled(request: &mut Request, name: &str, raw: &RawValue) {
    let value = raw.get();
    match name {
        "store" if value == "false" => {}
        "logit_bias" if is_empty_text(value) => {}
        "modalities" if value.bytes().filter(|byte| !byte.is_ascii_whitespace()).eq(br#"["text"]"#.iter().copied()) => {}
        "stream_options" => {
            for (option, value) in json::members(value).unwrap_or_default() {
                if option != "include_usage" && value.get() != "null" {
                    unmodelled(request, &format!("stream_options.{option}"), true);
                }
            }
        }
        _ => unmodelled(request, name, HARMLESS.contains(&name)),
    }
}

/// Notes a field once.
pub(super) fn unmodelled(request: &mut Request, field: &str, harmless: bool) {
    note(&mut request.unmodelled, field, harmless);
}

pub(super) fn note(unmodelled: &mut Vec<Unmodelled>, field: &str, harmless: bool) {
    if !unmodelled.iter().any(|noted| noted.field == field) {
        unmodelled.push(Unmodelled { field: field.to_owned(), harmless });
    }
}

/// Any type; the error names the field.
pub(super) fn parse<'a, T: serde::Deserialize<'a>>(name: &str, raw: &'a RawValue) -> Result<T, Invalid> {
    serde_json::from_str(raw.get()).map_err(|error| Invalid::field(name, &format!("is not valid: {}", without_position(&error))))
}

pub(super) fn string(name: &str, raw: &RawValue) -> Result<String, Invalid> {
    serde_json::from_str(raw.get()).map_err(|_| Invalid::field(name, "must be a string"))
}

fn number(name: &str, raw: &RawValue) -> Result<Json, Invalid> {
    match raw.get().bytes().next() {
        Some(b'0'..=b'9' | b'-') => Ok(Json::from(raw)),
        _ => Err(Invalid::field(name, "must be a number")),
    }
}

pub(super) fn object(name: &str, raw: &RawValue) -> Result<Json, Invalid> {
    if json::is_object(raw.get()) { Ok(Json::from(raw)) } else { Err(Invalid::field(name, "must be an object")) }
}

fn is_not_zero(number: &Json) -> bool {
    number.text().bytes().take_while(|byte| !matches!(byte, b'e' | b'E')).any(|byte| matches!(byte, b'1'..=b'9'))
}

fn is_empty(object: &Json) -> bool {
    is_empty_text(object.text())
}

fn is_empty_text(text: &str) -> bool {
    text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).is_some_and(|inside| inside.trim_ascii().is_empty())
}
