//! A whole answer, read.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{content::Wire, usage};
use crate::dialect::{
    Garbage,
    canonical::{Answer, Choice, Content, Finish},
    errors,
    json::Text,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow, default)]
    output: Option<Output<'a>>,
    #[serde(borrow, default)]
    stop_reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    additional_model_response_fields: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow, default)]
    message: Option<Message<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    content: Vec<Wire<'a>>,
}

/// Reads an answer.
pub fn read(body: &[u8]) -> Result<Answer, Garbage> {
    let fields: Fields<'_> =
        serde_json::from_slice(body).map_err(|error| Garbage(format!("the answer is not the JSON it should be: {error}")))?;
    let message = fields.output.and_then(|output| output.message);
    let message = message.ok_or_else(|| Garbage(format!("the answer has no message: {}", errors::parse_upstream_error(body))))?;
    let blocks: Vec<_> = message.content.iter().enumerate().filter_map(|(position, wire)| wire.read(position)).collect();
    let calls = blocks.iter().any(|block| matches!(block.content, Content::ToolCall { .. }));
    let finish = finish(fields.stop_reason.as_ref().map_or("", |reason| &reason.0), calls)?;
    let stop_sequence = fields.additional_model_response_fields.and_then(stop_sequence);
    Ok(Answer {
        choices: vec![Choice { blocks, finish, stop_sequence, logprobs: None }],
        usage: fields.usage.and_then(usage::read),
        ..Answer::default()
    })
}

/// Output that the model botched is a failure, not an end.
pub(super) fn finish(reason: &str, calls: bool) -> Result<Finish, Garbage> {
    match reason {
        "max_tokens" | "model_context_window_exceeded" => Ok(Finish::Length),
        "guardrail_intervened" | "content_filtered" => Ok(Finish::Filtered),
        "malformed_model_output" | "malformed_tool_use" => Err(Garbage(format!("the model's output was malformed ({reason})"))),
        "tool_use" => Ok(Finish::ToolCalls),
        _ if calls => Ok(Finish::ToolCalls),
        _ => Ok(Finish::Stop),
    }
}

/// What Claude adds to its answers here when it is asked to.
pub(super) fn stop_sequence(raw: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Extra {
        stop_sequence: String,
    }
    serde_json::from_str::<Extra>(raw.get()).ok().map(|extra| extra.stop_sequence)
}
