//! What an upstream sends: sessions, pieces of responses, and what they used.

use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{sound::decoded_bytes, usage};
use crate::{
    dialect::{
        ErrorBody, Garbage,
        cost::{SNAKE_CASE, with_cost},
        json::{self, Edit, Prose, Text},
    },
    domain::{Micros, pricing::Quantities},
};

/// A piece of a response.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    Text(String),
    /// Bytes of sound.
    Sound(u64),
}

/// A response that has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct ResponseDone {
    pub id: Option<String>,
    /// `None` when nothing was reported.
    pub usage: Option<Quantities>,
    /// Whether the upstream says that it failed.
    pub failed: bool,
}

/// An input whose transcript is ready.
#[derive(Debug, PartialEq, Eq)]
pub struct Transcribed {
    pub item_id: Option<String>,
    pub usage: Option<Quantities>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum FromServer {
    /// The session as it is now, to be learnt from; the message names the model as callers do.
    Session {
        session: String,
        message: String,
    },
    ResponseCreated {
        id: Option<String>,
    },
    Part(Part),
    ResponseDone(ResponseDone),
    Transcribed(Transcribed),
    Error,
    Other,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    session: Option<&'a RawValue>,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    item_id: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Response<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

impl FromServer {
    /// `model` is what callers know the model as.
    pub fn read(message: &str, model: &str) -> Result<Self, Garbage> {
        let wire = wire(message)?;
        let response = || wire.response.and_then(|response| serde_json::from_str::<Response<'_>>(response.get()).ok()).unwrap_or_default();
        Ok(match &*wire.kind.0 {
            "session.created" | "session.updated" => match wire.session {
                Some(session) => Self::Session { session: session.get().to_owned(), message: renamed(message, session, model) },
                None => Self::Other,
            },
            "response.created" => Self::ResponseCreated { id: string(response().id) },
            "response.done" => {
                let Response { id, status, usage } = response();
                let failed = string(status).is_some_and(|status| status == "failed");
                Self::ResponseDone(ResponseDone { id: string(id), usage: usage.and_then(usage::read), failed })
            }
            "conversation.item.input_audio_transcription.completed" => {
                Self::Transcribed(Transcribed { item_id: string(wire.item_id), usage: wire.usage.and_then(usage::read) })
            }
            "error" => Self::Error,
            "response.output_audio.delta" | "response.audio.delta" => Self::Part(Part::Sound(wire.delta.map_or(0, decoded_bytes))),
            kind if kind.starts_with("response.") && kind.ends_with(".delta") => {
                let text = wire.delta.and_then(|delta| serde_json::from_str::<Prose<'_>>(delta.get()).ok()).unwrap_or_default();
                Self::Part(Part::Text(text.0.into_owned()))
            }
            _ => Self::Other,
        })
    }
}

impl ResponseDone {
    /// The event with the cost in the usage of its response, which is added where there is none.
    pub fn with_cost(message: &str, cost_micros: Micros) -> Result<String, Garbage> {
        let wire = wire(message)?;
        let response = wire.response.ok_or_else(|| Garbage("a response ended without saying what it was".to_owned()))?;
        priced(message, response, cost_micros)
    }
}

impl Transcribed {
    /// The event with the cost in its usage.
    pub fn with_cost(message: &str, cost_micros: Micros) -> Result<String, Garbage> {
        let whole = serde_json::from_str::<&RawValue>(message).map_err(|error| Garbage(error.to_string()))?;
        priced(message, whole, cost_micros)
    }
}

fn wire(message: &str) -> Result<Wire<'_>, Garbage> {
    serde_json::from_str(message).map_err(|error| Garbage(format!("an event cannot be read: {error}")))
}

/// Puts the cost into the member `usage` of an object inside a message.
fn priced(message: &str, object: &RawValue, cost_micros: Micros) -> Result<String, Garbage> {
    let unclear = || Garbage("a usage report is ambiguous".to_owned());
    let members = json::members(object.get()).ok_or_else(unclear)?;
    let mut reports = members.iter().filter(|(name, _)| name == "usage");
    let edit = match (reports.next(), reports.next()) {
        (Some((_, usage)), None) => {
            let report = if usage.get() == "null" { "{}" } else { usage.get() };
            Edit {
                at: json::span_in(message.as_bytes(), usage.get()),
                with: with_cost(report, SNAKE_CASE, cost_micros).ok_or_else(unclear)?,
            }
        }
        (None, _) => {
            let end = json::span_in(message.as_bytes(), object.get()).end - 1;
            let comma = if members.is_empty() { "" } else { "," };
            let report = with_cost("{}", SNAKE_CASE, cost_micros).ok_or_else(unclear)?;
            Edit { at: end..end, with: format!("{comma}\"usage\":{report}") }
        }
        (Some(_), Some(_)) => return Err(unclear()),
    };
    Ok(String::from_utf8_lossy(&json::splice(message.as_bytes(), &[edit])).into_owned())
}

/// The message with every name of its session's model replaced.
fn renamed(message: &str, session: &RawValue, model: &str) -> String {
    let with = serde_json::Value::from(model).to_string();
    let members = json::members(session.get()).unwrap_or_default();
    let named = members.iter().filter(|(name, value)| name == "model" && value.get().starts_with('"'));
    let edits: Vec<Edit> =
        named.map(|(_, value)| Edit { at: json::span_in(message.as_bytes(), value.get()), with: with.clone() }).collect();
    String::from_utf8_lossy(&json::splice(message.as_bytes(), &edits)).into_owned()
}

fn string(value: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(value?.get()).ok()
}

/// Our own error as an event. `event_id` is ours; the caller's event that it answers is named where there is one.
pub fn error_event(event_id: &str, error: &ErrorBody<'_>) -> String {
    let mut told = json!({
        "type": error.kind, "code": error.code, "message": error.message, "param": error.param, "event_id": null,
        "request_id": error.request_id,
    });
    if let Some(limit) = error.limit {
        told["limit"] = limit.into();
    }
    if let Some(scope) = error.scope {
        told["scope"] = scope.into();
    }
    json!({"type": "error", "event_id": event_id, "error": told}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &str) -> FromServer {
        FromServer::read(message, "our/voice").unwrap()
    }

    #[test]
    fn sessions_name_the_model_as_callers_do() {
        let FromServer::Session { message, .. } =
            read(r#"{"type":"session.created","session":{"id":"sess_1","model":"gpt-realtime","tools":[{"model":"x"}]}}"#)
        else {
            panic!("a session")
        };
        assert_eq!(message, r#"{"type":"session.created","session":{"id":"sess_1","model":"our/voice","tools":[{"model":"x"}]}}"#);
    }

    #[test]
    fn pieces_are_text_or_sound() {
        for kind in ["response.output_text.delta", "response.text.delta", "response.output_audio_transcript.delta"] {
            assert_eq!(read(&format!(r#"{{"type":"{kind}","delta":"Hi"}}"#)), FromServer::Part(Part::Text("Hi".to_owned())));
        }
        for kind in ["response.output_audio.delta", "response.audio.delta"] {
            assert_eq!(read(&format!(r#"{{"type":"{kind}","delta":"AAAA"}}"#)), FromServer::Part(Part::Sound(3)));
        }
        assert_eq!(read(r#"{"type":"rate_limits.updated","delta":7}"#), FromServer::Other);
        assert!(FromServer::read("nonsense", "m").is_err());
    }

    #[test]
    fn the_cost_goes_into_the_usage_of_the_response() {
        let done =
            r#"{"type":"response.done","response":{"id":"resp_1","status":"completed","usage":{"input_tokens":3,"output_tokens":2}}}"#;
        let FromServer::ResponseDone(found) = read(done) else { panic!("a response") };
        assert_eq!((found.id.as_deref(), found.failed, found.usage.unwrap().tokens()), (Some("resp_1"), false, 5));
        assert_eq!(
            ResponseDone::with_cost(done, 12).unwrap(),
            r#"{"type":"response.done","response":{"id":"resp_1","status":"completed","usage":{"input_tokens":3,"output_tokens":2,"cost":0.000012,"cost_micros":12}}}"#
        );
        for (bare, priced) in [
            (
                r#"{"type":"response.done","response":{"usage":null}}"#,
                r#"{"type":"response.done","response":{"usage":{"cost":0,"cost_micros":0}}}"#,
            ),
            (r#"{"type":"response.done","response":{}}"#, r#"{"type":"response.done","response":{"usage":{"cost":0,"cost_micros":0}}}"#),
        ] {
            assert_eq!(ResponseDone::with_cost(bare, 0).unwrap(), priced);
        }
    }

    #[test]
    fn transcripts_are_priced_too() {
        let event = r#"{"type":"conversation.item.input_audio_transcription.completed","item_id":"i","transcript":"Hi","usage":{"type":"duration","seconds":2}}"#;
        let FromServer::Transcribed(found) = read(event) else { panic!("a transcript") };
        assert_eq!((found.item_id.as_deref(), found.usage.unwrap().audio_seconds), (Some("i"), 2));
        assert!(Transcribed::with_cost(event, 7).unwrap().contains(r#""cost_micros":7"#));
    }
}
