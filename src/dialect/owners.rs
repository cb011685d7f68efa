//! What only the owner of an account at a vendor may ask for: dearer service than the price of the model covers, hosted tools that have
//! no price here, and objects that lie in the account, which all callers of a gateway share.
//!
//! It is looked for in the body as it goes to the upstream, so that translated calls are covered like direct ones.

use memchr::memmem;
use serde_json::Value;

use super::{Endpoint, json};

/// Tools of Responses that the vendor runs for money, or on what lies in its account.
const HOSTED_TOOLS: [&str; 4] = ["code_interpreter", "file_search", "image_generation", "shell"];
/// Members of such tools that name objects of the account.
const TOOL_OBJECTS: [&str; 4] = ["container", "vector_store_ids", "input_image_mask", "environment"];
/// Service that costs the model's price or less. `auto` is what the owner of the account set there.
const USUAL_TIERS: [&str; 5] = ["auto", "default", "standard", "flex", "unspecified"];

/// The place in `body`, which goes to an upstream at `endpoint`, of something only the owner of the account there may ask for.
pub fn field(endpoint: Endpoint, body: &[u8]) -> Option<String> {
    let words: &[&str] = match endpoint {
        Endpoint::ChatCompletions => &["service_tier"],
        Endpoint::Responses => &[
            "service_tier",
            "\"prompt\"",
            "code_interpreter",
            "file_search",
            "image_generation",
            "\"shell\"",
            "\"container\"",
            "vector_store_ids",
            "input_image_mask",
            "\"environment\"",
        ],
        Endpoint::Messages => &["\"speed\"", "inference_geo", "\"container\"", "container_upload"],
        Endpoint::GenerateContent => &[
            "serviceTier",
            "service_tier",
            "cachedContent",
            "cached_content",
            "fileUri",
            "file_uri",
            "fileSearch",
            "file_search",
            "retrieval",
        ],
        Endpoint::Converse => &["serviceTier"],
        _ => return None,
    };
    // Usual calls have none of the words. An escape of an ASCII character can hide one.
    let may_be_there = words.iter().chain(&["\\u00"]).any(|word| memmem::find(body, word.as_bytes()).is_some());
    if !may_be_there {
        return None;
    }
    // What is no JSON object was refused when the call was read. Every member is looked at, because of two of the same name
    // either may count.
    let members = json::members(std::str::from_utf8(body).ok()?)?;
    members.iter().find_map(|(name, raw)| {
        let value: Value = serde_json::from_str(raw.get()).ok()?;
        match endpoint {
            _ if value.is_null() => None,
            Endpoint::Responses => of_responses(name, &value),
            Endpoint::Messages => of_messages(name, &value),
            Endpoint::GenerateContent => of_gemini(name, &value),
            Endpoint::ChatCompletions => dear_tier(name, "service_tier", &value),
            _ => dear_tier(name, "serviceTier", value.get("type")?),
        }
    })
}

/// The member `tier`, unless it asks for what the model's price covers. Names of Gemini's tiers come in capitals, too.
fn dear_tier(name: &str, tier: &str, value: &Value) -> Option<String> {
    let said = value.as_str().map(str::to_ascii_lowercase).unwrap_or_default();
    let said = said.strip_prefix("service_tier_").unwrap_or(&said);
    (name == tier && !USUAL_TIERS.contains(&said)).then(|| name.to_owned())
}

fn of_responses(name: &str, value: &Value) -> Option<String> {
    match name {
        "prompt" => Some(name.to_owned()),
        "tools" => value.as_array()?.iter().enumerate().find_map(|(index, tool)| {
            let kind = tool.get("type").and_then(Value::as_str).unwrap_or_default();
            // A function is the caller's own, whatever it is called.
            if kind == "function" || kind == "custom" {
                return None;
            }
            if let Some(object) = TOOL_OBJECTS.iter().find(|object| tool.get(**object).is_some_and(|object| !object.is_null())) {
                return Some(format!("tools[{index}].{object}"));
            }
            HOSTED_TOOLS.contains(&kind).then(|| format!("tools[{index}].type"))
        }),
        _ => dear_tier(name, "service_tier", value),
    }
}

fn of_messages(name: &str, value: &Value) -> Option<String> {
    match name {
        "container" => Some(name.to_owned()),
        "speed" => (value != "standard").then(|| name.to_owned()),
        "inference_geo" => (value != "global").then(|| name.to_owned()),
        "messages" => value.as_array()?.iter().enumerate().find_map(|(index, message)| upload(message, &format!("messages.{index}"))),
        _ => None,
    }
}

/// The place of a `container_upload` block in the content of a message or of a block.
fn upload(holder: &Value, place: &str) -> Option<String> {
    holder.get("content")?.as_array()?.iter().enumerate().find_map(|(index, block)| {
        let place = format!("{place}.content.{index}");
        match block.get("type").and_then(Value::as_str) {
            Some("container_upload") => Some(place),
            _ => upload(block, &place),
        }
    })
}

fn of_gemini(name: &str, value: &Value) -> Option<String> {
    match name {
        "cachedContent" | "cached_content" => Some(name.to_owned()),
        "contents" | "systemInstruction" | "system_instruction" => vendor_file(value, name),
        "tools" => {
            let one = std::slice::from_ref(value);
            value.as_array().map_or(one, Vec::as_slice).iter().enumerate().find_map(|(index, tool)| {
                let hosted = ["fileSearch", "file_search", "retrieval"].into_iter().find(|hosted| tool.get(hosted).is_some())?;
                Some(format!("tools[{index}].{hosted}"))
            })
        }
        _ => dear_tier(name, "serviceTier", value).or_else(|| dear_tier(name, "service_tier", value)),
    }
}

/// The place of a file that lies in the vendor's account or in the owner's buckets.
fn vendor_file(value: &Value, place: &str) -> Option<String> {
    match value {
        Value::Array(items) => items.iter().enumerate().find_map(|(index, item)| vendor_file(item, &format!("{place}[{index}]"))),
        Value::Object(members) => members.iter().find_map(|(name, value)| match name.as_str() {
            // Free JSON of the caller's functions.
            "args" | "response" => None,
            "fileUri" | "file_uri" => {
                let uri = value.as_str()?.trim().to_ascii_lowercase();
                let theirs = uri.starts_with("gs:") || uri.starts_with("files/") || uri.contains("googleapis.com");
                theirs.then(|| format!("{place}.{name}"))
            }
            _ => vendor_file(value, &format!("{place}.{name}")),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(endpoint: Endpoint, body: &str, expected: Option<&str>) {
        assert_eq!(field(endpoint, body.as_bytes()).as_deref(), expected, "{body}");
    }

    #[test]
    fn what_costs_more_than_the_price_is_the_owners() {
        for (endpoint, body, expected) in [
            (Endpoint::ChatCompletions, r#"{"service_tier":"priority"}"#, Some("service_tier")),
            (Endpoint::ChatCompletions, r#"{"service_tier":"default","service_tier":"priority"}"#, Some("service_tier")),
            (Endpoint::ChatCompletions, r#"{"service_tier":"priority","service_tier":"default"}"#, Some("service_tier")),
            (Endpoint::ChatCompletions, r#"{"s\u0065rvice_tier":"priority"}"#, Some("service_tier")),
            (Endpoint::ChatCompletions, r#"{"service_tier":"flex","user":"service_tier"}"#, None),
            (Endpoint::ChatCompletions, r#"{"service_tier":null}"#, None),
            (Endpoint::Responses, r#"{"service_tier":"scale"}"#, Some("service_tier")),
            (Endpoint::Responses, r#"{"tools":[{"type":"web_search"},{"type":"image_generation"}]}"#, Some("tools[1].type")),
            (Endpoint::Responses, r#"{"tools":[{"type":"function","name":"file_search","parameters":{}}]}"#, None),
            (Endpoint::Messages, r#"{"speed":"fast"}"#, Some("speed")),
            (Endpoint::Messages, r#"{"inference_geo":"us"}"#, Some("inference_geo")),
            (Endpoint::Messages, r#"{"speed":"standard","inference_geo":"global"}"#, None),
            (Endpoint::GenerateContent, r#"{"serviceTier":"PRIORITY"}"#, Some("serviceTier")),
            (Endpoint::GenerateContent, r#"{"service_tier":"SERVICE_TIER_FLEX"}"#, None),
            (Endpoint::Converse, r#"{"serviceTier":{"type":"priority"}}"#, Some("serviceTier")),
            (Endpoint::Embeddings, r#"{"service_tier":"priority"}"#, None),
        ] {
            check(endpoint, body, expected);
        }
    }

    #[test]
    fn objects_of_the_vendors_account_are_the_owners() {
        for (endpoint, body, expected) in [
            (Endpoint::Responses, r#"{"prompt":{"id":"pmpt_1"}}"#, Some("prompt")),
            (Endpoint::Responses, r#"{"tools":[{"type":"code_interpreter","container":"cntr_1"}]}"#, Some("tools[0].container")),
            (Endpoint::Responses, r#"{"tools":[{"type":"file_search","vector_store_ids":["vs"]}]}"#, Some("tools[0].vector_store_ids")),
            (Endpoint::Messages, r#"{"container":{"skills":[]}}"#, Some("container")),
            (
                Endpoint::Messages,
                r#"{"messages":[{"content":"x"},{"content":[{"type":"tool_result","content":[{"type":"container_upload"}]}]}]}"#,
                Some("messages.1.content.0.content.0"),
            ),
            (Endpoint::Messages, r#"{"messages":[{"content":"container_upload"}]}"#, None),
            (Endpoint::GenerateContent, r#"{"cachedContent":"cachedContents/1"}"#, Some("cachedContent")),
            (
                Endpoint::GenerateContent,
                r#"{"contents":[{"parts":[{"fileData":{"fileUri":"gs://bucket/a"}}]}]}"#,
                Some("contents[0].parts[0].fileData.fileUri"),
            ),
            (Endpoint::GenerateContent, r#"{"contents":{"parts":[{"fileData":{"fileUri":"https://example.com/a"}}]}}"#, None),
            (Endpoint::GenerateContent, r#"{"tools":[{"fileSearch":{}}]}"#, Some("tools[0].fileSearch")),
        ] {
            check(endpoint, body, expected);
        }
    }
}
