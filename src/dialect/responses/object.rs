//! The response object and its items, written with every key that official clients and the specification require.

use crate::dialect::{
    canonical::{Finish, Json, ToolKind},
    format::Writing,
    json,
};

/// The answer's ids, all made of the call's.
#[derive(Debug, Clone)]
pub(super) struct Ids {
    suffix: String,
}

impl Ids {
    pub fn of(writing: &Writing) -> Self {
        Self { suffix: writing.call_id.strip_prefix("req_").unwrap_or(&writing.call_id).to_owned() }
    }

    pub fn response(&self) -> String {
        format!("resp_{}", self.suffix)
    }

    /// Of the item at this place in `output`.
    pub fn item(&self, prefix: &str, index: usize) -> String {
        format!("{prefix}_{}_{index}", self.suffix)
    }
}

/// How an answer stands or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    InProgress,
    Completed,
    /// With the reason.
    Incomplete(&'static str),
    Failed,
}

impl Status {
    /// `declined`: the answer says in words that the model declined, which is a whole answer.
    pub fn of(finish: Finish, declined: bool) -> Self {
        match finish {
            Finish::Stop | Finish::ToolCalls => Self::Completed,
            Finish::Length => Self::Incomplete("max_output_tokens"),
            Finish::Refused if declined => Self::Completed,
            Finish::Filtered | Finish::Refused => Self::Incomplete("content_filter"),
            Finish::Paused => Self::Incomplete("pause_turn"),
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete(_) => "incomplete",
            Self::Failed => "failed",
        }
    }

    /// Name of the event that ends a stream so.
    pub fn event(self) -> &'static str {
        match self {
            Self::InProgress => "response.in_progress",
            Self::Completed => "response.completed",
            Self::Incomplete(_) => "response.incomplete",
            Self::Failed => "response.failed",
        }
    }

    /// The same of an item that was being written at the end.
    pub fn of_item(self) -> &'static str {
        match self {
            Self::Incomplete(_) | Self::Failed => "incomplete",
            other => other.word(),
        }
    }
}

/// What is known at the end of an answer only: JSON objects, and seconds since the Unix epoch.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct End<'a> {
    pub usage: Option<&'a str>,
    pub error: Option<&'a str>,
    pub at: Option<i64>,
}

/// What all objects of one answer have in common.
#[derive(Debug)]
pub(super) struct Frame {
    pub ids: Ids,
    model: String,
    created: i64,
    /// The members of an object that repeat the request, without braces.
    echo: String,
    kept: bool,
    previous_id: Option<String>,
}

impl Frame {
    pub fn of(writing: &Writing) -> Self {
        let echo = writing.request.as_ref().and_then(|request| request.echo.as_ref()).map_or("{}", Json::text);
        let echo = echo.trim_ascii().strip_prefix('{').and_then(|echo| echo.strip_suffix('}')).unwrap_or_default();
        Self {
            ids: Ids::of(writing),
            model: writing.model.clone(),
            created: writing.created,
            echo: echo.to_owned(),
            kept: writing.head.chain.kept,
            previous_id: writing.head.chain.previous_id.clone(),
        }
    }

    /// Appends the whole object. `output` is a JSON array.
    pub fn write(&self, status: Status, end: End<'_>, output: &str, out: &mut Vec<u8>) {
        let End { usage, error, at } = end;
        let completed_at = at.filter(|_| status == Status::Completed).map_or_else(|| "null".to_owned(), |at| at.to_string());
        out.extend_from_slice(b"{\"id\":");
        json::push_string(out, &self.ids.response());
        push(
            out,
            &format!(
                r#","object":"response","created_at":{},"completed_at":{completed_at},"status":"{}","model":"#,
                self.created,
                status.word()
            ),
        );
        json::push_string(out, &self.model);
        match status {
            Status::Incomplete(reason) => push(out, &format!(r#","incomplete_details":{{"reason":"{reason}"}}"#)),
            _ => push(out, r#","incomplete_details":null"#),
        }
        push(out, &format!(r#","error":{},"previous_response_id":"#, error.unwrap_or("null")));
        match &self.previous_id {
            Some(id) => json::push_string(out, id),
            None => push(out, "null"),
        }
        push(out, &format!(r#","store":{},"output":"#, self.kept));
        push(out, output);
        push(out, &format!(r#","usage":{}"#, usage.unwrap_or("null")));
        if !self.echo.is_empty() {
            out.push(b',');
            push(out, &self.echo);
        }
        out.push(b'}');
    }
}

pub(super) fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// A part of a message: `output_text`, or `refusal`. `annotations` and `logprobs` are JSON arrays.
pub(super) fn part(text: &str, is_refusal: bool, annotations: &str, logprobs: &str) -> String {
    let text = json::quoted(text);
    if is_refusal {
        format!(r#"{{"type":"refusal","refusal":{text}}}"#)
    } else {
        format!(r#"{{"type":"output_text","text":{text},"annotations":{annotations},"logprobs":{logprobs}}}"#)
    }
}

/// `parts` are JSON objects, joined by commas.
pub(super) fn message(id: &str, status: &str, parts: &str) -> String {
    format!(r#"{{"id":"{id}","type":"message","status":"{status}","role":"assistant","content":[{parts}]}}"#)
}

/// `encrypted` is carried as it is.
pub(super) fn reasoning(id: &str, status: &str, text: &str, encrypted: Option<&str>) -> String {
    let summary = if text.is_empty() { String::new() } else { summary_part(text) };
    let encrypted = encrypted.map_or_else(|| "null".to_owned(), json::quoted);
    format!(r#"{{"id":{},"type":"reasoning","status":"{status}","summary":[{summary}],"encrypted_content":{encrypted}}}"#, json::quoted(id))
}

pub(super) fn summary_part(text: &str) -> String {
    format!(r#"{{"type":"summary_text","text":{}}}"#, json::quoted(text))
}

pub(super) fn call(id: &str, status: &str, kind: ToolKind, call_id: &str, name: &str, arguments: &str) -> String {
    let (call_id, name, arguments) = (json::quoted(call_id), json::quoted(name), json::quoted(arguments));
    match kind {
        ToolKind::Function => format!(
            r#"{{"id":"{id}","type":"function_call","status":"{status}","call_id":{call_id},"name":{name},"arguments":{arguments}}}"#
        ),
        ToolKind::Custom => {
            format!(
                r#"{{"id":"{id}","type":"custom_tool_call","status":"{status}","call_id":{call_id},"name":{name},"input":{arguments}}}"#
            )
        }
    }
}

/// An image the model made. `data` is base64.
pub(super) fn image(id: &str, data: &str) -> String {
    format!(r#"{{"id":"{id}","type":"image_generation_call","status":"completed","result":{}}}"#, json::quoted(data))
}

/// Prefixes of the ids of calls.
pub(super) fn call_prefix(kind: ToolKind) -> &'static str {
    match kind {
        ToolKind::Function => "fc",
        ToolKind::Custom => "ctc",
    }
}
