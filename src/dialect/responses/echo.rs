//! What a response object repeats of its request.

use serde_json::value::RawValue;

use super::fields::Fields;
use crate::dialect::{canonical::Json, json};

/// Members that every response object has, with what they say when the request says nothing.
const MEMBERS: [(&str, &str); 20] = [
    ("background", "false"),
    ("frequency_penalty", "0.0"),
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("max_tool_calls", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("presence_penalty", "0.0"),
    ("prompt_cache_key", "null"),
    ("prompt_cache_retention", "null"),
    ("reasoning", r#"{"effort":null,"summary":null}"#),
    ("safety_identifier", "null"),
    ("service_tier", r#""default""#),
    ("temperature", "1.0"),
    ("text", r#"{"format":{"type":"text"},"verbosity":"medium"}"#),
    ("tool_choice", r#""auto""#),
    ("top_logprobs", "0"),
    ("top_p", "1.0"),
    ("truncation", r#""disabled""#),
    ("user", "null"),
];

/// Members of objects that clients expect to be there.
const TEXT: [(&str, &str); 2] = [("format", r#"{"type":"text"}"#), ("verbosity", r#""medium""#)];
const REASONING: [(&str, &str); 2] = [("effort", "null"), ("summary", "null")];
const FUNCTION: [(&str, &str); 3] = [("description", "null"), ("parameters", "null"), ("strict", "null")];

/// An object of those members, each as the caller wrote it.
pub(super) fn of(fields: &Fields<'_>) -> Json {
    let mut object = String::from("{");
    for (name, default) in MEMBERS {
        let said = fields.peek(name);
        let value = match (name, said) {
            ("service_tier", Some(tier)) if tier.get() == r#""auto""# => default.to_owned(),
            ("text", Some(text)) => with_defaults(text, &TEXT),
            ("reasoning", Some(reasoning)) => with_defaults(reasoning, &REASONING),
            (_, Some(said)) => said.get().to_owned(),
            (_, None) => default.to_owned(),
        };
        push(&mut object, name, &value);
    }
    push(&mut object, "tools", &tools(fields.peek("tools")));
    object.push('}');
    Json::parse(&object).unwrap_or_else(Json::empty_object)
}

fn push(object: &mut String, name: &str, value: &str) {
    if object.len() > 1 {
        object.push(',');
    }
    object.push_str(&format!("\"{name}\":{value}"));
}

fn tools(raw: Option<&RawValue>) -> String {
    let Some(tools) = raw.and_then(|raw| serde_json::from_str::<Vec<&RawValue>>(raw.get()).ok()) else { return "[]".to_owned() };
    let is_function = |tool: &RawValue| {
        json::members(tool.get()).is_some_and(|members| members.iter().any(|(name, kind)| name == "type" && kind.get() == r#""function""#))
    };
    let shown = tools.into_iter().map(|tool| if is_function(tool) { with_defaults(tool, &FUNCTION) } else { tool.get().to_owned() });
    format!("[{}]", shown.collect::<Vec<_>>().join(","))
}

/// The object with the members it lacks; anything else as it is.
fn with_defaults(raw: &RawValue, defaults: &[(&str, &str)]) -> String {
    let Some(members) = json::members(raw.get()) else { return raw.get().to_owned() };
    let mut object = String::from("{");
    for (name, value) in &members {
        push_raw(&mut object, &json::quoted(name), value.get());
    }
    for (name, value) in defaults.iter().filter(|(name, _)| !members.iter().any(|(member, _)| member == name)) {
        push_raw(&mut object, &json::quoted(name), value);
    }
    object.push('}');
    object
}

fn push_raw(object: &mut String, quoted_name: &str, value: &str) {
    if object.len() > 1 {
        object.push(',');
    }
    object.push_str(quoted_name);
    object.push(':');
    object.push_str(value);
}
