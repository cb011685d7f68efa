//! An upstream's whole answer, peeked at and given back with its cost.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Endpoint, errors, produced::Choice, usage};
use crate::{
    dialect::{
        json::{self, Edit, Prose, Text},
        tokens,
    },
    domain::{Micros, pricing::Quantities},
};

/// The answer is none we can understand, although its status said success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Garbage(pub String);

/// An answer, borrowed from its body.
#[derive(Debug)]
pub struct Answer<'a> {
    pub endpoint: Endpoint,
    pub id: Option<Cow<'a, str>>,
    /// What the upstream reported, in disjoint buckets (`requests` is left at 0); `None` when it did not, or not readably.
    pub usage: Option<Quantities>,
    /// A failure inside an answer whose status said success.
    pub error: Option<String>,
    choices: Option<&'a str>,
    /// The value of `usage`, `null` included.
    usage_raw: Option<(&'a str, Range<usize>)>,
    /// Position of the brace that closes the body's object.
    object_end: usize,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    object: Option<Prose<'a>>,
    #[serde(borrow, default)]
    choices: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json::present")]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

impl<'a> Answer<'a> {
    /// Reads an answer. One that is an error in itself is read too, see [`Self::error`].
    pub fn parse(endpoint: Endpoint, body: &'a [u8]) -> Result<Self, Garbage> {
        let text = std::str::from_utf8(body).map_err(|_| Garbage("the answer is not valid UTF-8".to_owned()))?;
        if !json::is_object(text) {
            return Err(Garbage("the answer is not a JSON object".to_owned()));
        }
        let fields: Fields<'a> =
            serde_json::from_str(text).map_err(|error| Garbage(format!("the answer is not the JSON it should be: {error}")))?;
        let error = super::stated_error(fields.object.as_ref(), fields.error).then(|| errors::parse_upstream_error(body));
        let (name, results) = match endpoint {
            Endpoint::Embeddings => ("data", fields.data),
            _ => ("choices", fields.choices),
        };
        if error.is_none() && !results.is_some_and(|results| results.get().starts_with('[')) {
            return Err(Garbage(format!("the answer has no '{name}'")));
        }
        Ok(Self {
            endpoint,
            id: fields.id.map(|id| id.0).filter(|id| !id.is_empty()),
            usage: fields.usage.and_then(|raw| usage::read(raw.get())),
            error,
            choices: fields.choices.map(RawValue::get),
            usage_raw: fields.usage.map(|raw| (raw.get(), json::span_in(body, raw.get()))),
            object_end: text.rfind('}').unwrap_or(0),
        })
    }

    /// Our own count of all text in the answer: content, reasoning, refusals, tool calls. Choices of a shape we do not know count as the
    /// JSON they are.
    pub fn produced_tokens(&self) -> u64 {
        let Some(raw) = self.choices else { return 0 };
        let Ok(choices) = serde_json::from_str::<Vec<Choice<'_>>>(raw) else { return tokens::count(raw) };
        let mut produced = 0;
        for choice in &choices {
            choice.for_each_text(|text| produced += tokens::count(text));
        }
        produced
    }
}

/// The body with `cost` and `cost_micros` in its usage object. `quantities` fill a usage object when the upstream sent none.
/// `body` must be the bytes `answer` was parsed from.
pub fn with_cost(body: &Bytes, answer: &Answer<'_>, cost_micros: Micros, quantities: &Quantities) -> Bytes {
    let reported = answer.usage_raw.as_ref().map(|(raw, _)| *raw);
    let usage = String::from_utf8_lossy(&usage::with_cost(reported, answer.endpoint, cost_micros, quantities)).into_owned();
    let edit = match &answer.usage_raw {
        Some((_, span)) => Edit { at: span.clone(), with: usage },
        // A comma may come first: the object has choices or data.
        None => Edit { at: answer.object_end..answer.object_end, with: format!(",\"usage\":{usage}") },
    };
    json::splice(body, &[edit])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(endpoint: Endpoint, body: &'static str) -> String {
        let body = Bytes::from_static(body.as_bytes());
        let answer = Answer::parse(endpoint, &body).expect("an answer");
        let quantities = Quantities { input_tokens: 5, output_tokens: 2, ..Quantities::default() };
        String::from_utf8(with_cost(&body, &answer, 12, &quantities).to_vec()).expect("UTF-8")
    }

    #[test]
    fn only_the_usage_object_changes() {
        assert_eq!(
            cost(Endpoint::ChatCompletions, r#" {"id":"x", "usage" : {"prompt_tokens":1}, "choices":[ ] , "new":"}"} "#),
            r#" {"id":"x", "usage" : {"prompt_tokens":1,"cost":0.000012,"cost_micros":12}, "choices":[ ] , "new":"}"} "#
        );
    }

    #[test]
    fn a_missing_usage_object_is_added() {
        let usage = r#""usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7,"cost":0.000012,"cost_micros":12}"#;
        assert_eq!(cost(Endpoint::ChatCompletions, "{\"choices\":[]}\n"), format!("{{\"choices\":[],{usage}}}\n"));
        assert_eq!(cost(Endpoint::Completions, r#"{"usage":null,"choices":[]}"#), format!("{{{usage},\"choices\":[]}}"));
        assert_eq!(
            cost(Endpoint::Embeddings, r#"{"data":[]}"#),
            r#"{"data":[],"usage":{"prompt_tokens":5,"total_tokens":7,"cost":0.000012,"cost_micros":12}}"#
        );
    }

    #[test]
    fn reads_id_and_usage() {
        let body =
            br#"{"id":"chatcmpl-1","choices":[{"message":{"content":"hello world"}}],"usage":{"prompt_tokens":0,"completion_tokens":0}}"#;
        let answer = Answer::parse(Endpoint::ChatCompletions, body).expect("an answer");
        assert_eq!(answer.id.as_deref(), Some("chatcmpl-1"));
        assert_eq!(answer.usage, Some(Quantities::default()));
        assert_eq!(answer.produced_tokens(), 2);
        assert_eq!(answer.error, None);
    }

    #[test]
    fn counts_all_text_of_all_choices() {
        let produced = |body: &str| Answer::parse(Endpoint::ChatCompletions, body.as_bytes()).expect("an answer").produced_tokens();
        assert_eq!(produced(r#"{"choices":[{"text":"hello world"},{"text":"hello"}]}"#), 3);
        assert_eq!(produced(r#"{"choices":[{"message":{"content":null,"refusal":"hello world","reasoning_content":"hello"}}]}"#), 3);
        assert_eq!(produced(r#"{"choices":[{"message":{"reasoning":"hello","reasoning_content":"hello"}}]}"#), 1);
        let call = r#"{"choices":[{"message":{"tool_calls":[{"id":"call_1","type":"function","function":{"name":"hello","arguments":"world"}}]}}]}"#;
        assert_eq!(produced(call), 2);
        assert_eq!(produced(r#"{"choices":[{"message":{"content":[{"type":"text","text":"hello"}],"tool_calls":null}}]}"#), 1);
        assert!(produced(r#"{"choices":["odd"]}"#) > 0);
    }

    #[test]
    fn errors_with_a_good_status_are_found() {
        let error = |body: &str| Answer::parse(Endpoint::ChatCompletions, body.as_bytes()).expect("an answer").error;
        assert_eq!(error(r#"{"object":"error","message":"too long","code":400}"#).as_deref(), Some("too long"));
        assert_eq!(error(r#"{"error":{"message":"nope","code":500}}"#).as_deref(), Some("nope"));
        assert_eq!(error(r#"{"error":"nope"}"#).as_deref(), Some("nope"));
        assert_eq!(error(r#"{"error":null,"choices":[]}"#), None);
    }

    #[test]
    fn garbage_is_told() {
        for body in ["", "null", "[]", "<html>", "{", r#"{"id":1,"choices":[]}"#, "{}", r#"{"choices":null}"#] {
            assert!(Answer::parse(Endpoint::ChatCompletions, body.as_bytes()).is_err(), "{body}");
        }
        assert!(Answer::parse(Endpoint::Embeddings, br#"{"choices":[]}"#).is_err());
        assert!(Answer::parse(Endpoint::Embeddings, b"\xff").is_err());
    }
}
