//! An upstream's whole answer, peeked at and given back with its cost.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{produced::Choice, usage};
use crate::{
    dialect::{
        Charge, Endpoint, Garbage, Whole, errors,
        json::{self, Edit, Prose, Text},
        tokens,
    },
    domain::pricing::Quantities,
};

/// An answer that reaches the caller as it came, but for its usage.
#[derive(Debug)]
pub struct Answer {
    endpoint: Endpoint,
    body: Bytes,
    id: Option<String>,
    usage: Option<Quantities>,
    choices: Option<Range<usize>>,
    /// The value of `usage`, `null` included.
    usage_at: Option<Range<usize>>,
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

impl Answer {
    /// Reads an answer. One that is an error in itself is garbage that says so.
    pub fn parse(endpoint: Endpoint, body: &Bytes) -> Result<Self, Garbage> {
        let text = std::str::from_utf8(body).map_err(|_| Garbage("the answer is not valid UTF-8".to_owned()))?;
        if !json::is_object(text) {
            return Err(Garbage("the answer is not a JSON object".to_owned()));
        }
        let fields: Fields<'_> =
            serde_json::from_str(text).map_err(|error| Garbage(format!("the answer is not the JSON it should be: {error}")))?;
        if super::stated_error(fields.object.as_ref(), fields.error) {
            return Err(Garbage(format!("a good status with an error inside: {}", errors::parse_upstream_error(body))));
        }
        let (name, results) = match endpoint {
            Endpoint::Embeddings => ("data", fields.data),
            _ => ("choices", fields.choices),
        };
        if !results.is_some_and(|results| results.get().starts_with('[')) {
            return Err(Garbage(format!("the answer has no '{name}'")));
        }
        let span = |raw: &RawValue| json::span_in(body, raw.get());
        Ok(Self {
            endpoint,
            id: fields.id.map(|id| id.0.into_owned()).filter(|id| !id.is_empty()),
            usage: fields.usage.and_then(|raw| usage::read(raw.get())),
            choices: fields.choices.map(span),
            usage_at: fields.usage.map(span),
            object_end: text.rfind('}').unwrap_or(0),
            body: body.clone(),
        })
    }

    fn text(&self, at: &Range<usize>) -> Option<&str> {
        std::str::from_utf8(self.body.get(at.clone())?).ok()
    }
}

impl Whole for Answer {
    fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn usage(&self) -> Option<Quantities> {
        self.usage
    }

    /// All text in the answer: content, reasoning, refusals, tool calls. Choices of a shape we do not know count as the JSON they are.
    fn produced_tokens(&self) -> u64 {
        let Some(raw) = self.choices.as_ref().and_then(|at| self.text(at)) else { return 0 };
        let Ok(choices) = serde_json::from_str::<Vec<Choice<'_>>>(raw) else { return tokens::count(raw) };
        let mut produced = 0;
        for choice in &choices {
            choice.for_each_text(|text| produced += tokens::count(text));
        }
        produced
    }

    fn finish(&self, charge: &Charge) -> (Bytes, Cow<'static, str>) {
        let reported = self.usage_at.as_ref().and_then(|at| self.text(at));
        let usage = usage::with_cost(reported, self.endpoint, charge);
        let edit = match &self.usage_at {
            Some(span) => Edit { at: span.clone(), with: usage },
            // A comma may come first: the object has choices or data.
            None => Edit { at: self.object_end..self.object_end, with: format!(",\"usage\":{usage}") },
        };
        (json::splice(&self.body, &[edit]), Cow::Borrowed("application/json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(endpoint: Endpoint, body: &'static str) -> String {
        let body = Bytes::from_static(body.as_bytes());
        let answer = Answer::parse(endpoint, &body).expect("an answer");
        let quantities = Quantities { input_tokens: 5, output_tokens: 2, ..Quantities::default() };
        String::from_utf8(answer.finish(&Charge { cost_micros: 12, quantities, ..Charge::default() }).0.to_vec()).expect("UTF-8")
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
        let answer = Answer::parse(Endpoint::ChatCompletions, &Bytes::from_static(body)).expect("an answer");
        assert_eq!(answer.id(), Some("chatcmpl-1"));
        assert_eq!(answer.usage(), Some(Quantities::default()));
        assert_eq!(answer.produced_tokens(), 2);
    }

    #[test]
    fn counts_all_text_of_all_choices() {
        let produced = |body: &'static str| {
            Answer::parse(Endpoint::ChatCompletions, &Bytes::from_static(body.as_bytes())).expect("an answer").produced_tokens()
        };
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
        let error = |body: &'static str| {
            let garbage = Answer::parse(Endpoint::ChatCompletions, &Bytes::from_static(body.as_bytes())).expect_err("no answer");
            garbage.0.strip_prefix("a good status with an error inside: ").expect("an error").to_owned()
        };
        assert_eq!(error(r#"{"object":"error","message":"too long","code":400}"#), "too long");
        assert_eq!(error(r#"{"error":{"message":"nope","code":500}}"#), "nope");
        assert_eq!(error(r#"{"error":"nope"}"#), "nope");
        assert!(Answer::parse(Endpoint::ChatCompletions, &Bytes::from_static(br#"{"error":null,"choices":[]}"#)).is_ok());
    }

    #[test]
    fn garbage_is_told() {
        for body in ["", "null", "[]", "<html>", "{", r#"{"id":1,"choices":[]}"#, "{}", r#"{"choices":null}"#] {
            assert!(Answer::parse(Endpoint::ChatCompletions, &Bytes::from_static(body.as_bytes())).is_err(), "{body}");
        }
        assert!(Answer::parse(Endpoint::Embeddings, &Bytes::from_static(br#"{"choices":[]}"#)).is_err());
        assert!(Answer::parse(Endpoint::Embeddings, &Bytes::from_static(b"\xff")).is_err());
    }
}
