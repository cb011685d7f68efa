//! Rerank calls for upstreams that speak Cohere's own format (`/v2/rerank`): documents are texts, and searches are what is billed.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    measure::{Expected, Shown},
    usage::{self, Reported},
};
use crate::{
    dialect::{
        Charge, Garbage, Invalid, Whole,
        canonical::Unmodelled,
        counts::Count,
        errors::parse_upstream_error,
        format::{Aim, Measured, Unsupported, Written},
        json::{self, Object, Text},
    },
    domain::pricing::Quantities,
};

/// A call of ours, for another format.
#[derive(Debug, Clone, Default)]
pub(super) struct Rerank {
    query: String,
    documents: Vec<String>,
    top_n: Option<u64>,
    max_tokens_per_doc: Option<u64>,
    return_documents: bool,
    unmodelled: Vec<Unmodelled>,
}

impl Rerank {
    /// Reads a body that was checked before.
    pub fn read(body: &[u8]) -> Result<Self, Invalid> {
        let members = std::str::from_utf8(body).ok().and_then(json::members);
        let mut call = Self::default();
        for (name, raw) in members.ok_or_else(|| Invalid::body("the request body must be a JSON object"))? {
            let wrong = |problem: &str| Invalid::field(&*name, problem);
            match (&*name, raw.get()) {
                (_, "null") | ("model", _) => {}
                ("query", text) => call.query = serde_json::from_str(text).map_err(|_| wrong("must be a text for this model"))?,
                ("documents", text) => {
                    let documents: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| wrong("must be an array"))?;
                    let texts = documents.into_iter().map(document).collect::<Option<_>>();
                    call.documents = texts.ok_or_else(|| wrong("must be texts, or objects with a 'text', for this model"))?;
                }
                ("top_n", text) => call.top_n = Some(text.parse().map_err(|_| wrong("must be a whole number"))?),
                ("max_tokens_per_doc", text) => call.max_tokens_per_doc = Some(text.parse().map_err(|_| wrong("must be a whole number"))?),
                ("return_documents", "true") => call.return_documents = true,
                ("return_documents", "false") => {}
                ("return_documents", _) => return Err(wrong("must be true or false")),
                (_, "false" | "\"\"" | "[]" | "{}") => {}
                (name, _) => call.unmodelled.push(Unmodelled { field: name.to_owned(), harmless: matches!(name, "user" | "metadata") }),
            }
        }
        Ok(call)
    }

    pub fn write(&self, aim: &Aim<'_>) -> Result<Written, Unsupported> {
        let mut dropped = Vec::new();
        for Unmodelled { field, harmless } in &self.unmodelled {
            if !harmless && !aim.drop_unsupported {
                return Err(Unsupported { field: field.clone(), why: "Cohere's rerank has no such field".to_owned() });
            }
            dropped.push(field.clone());
        }
        let mut out = Vec::with_capacity(1024);
        let mut object = Object::new(&mut out);
        object.put("model", aim.model);
        object.put("query", &self.query);
        object.put("documents", &self.documents);
        object.maybe("top_n", self.top_n);
        object.maybe("max_tokens_per_doc", self.max_tokens_per_doc);
        drop(object);
        Ok(Written { dropped, ..Written::json(out) })
    }

    /// Reads Cohere's answer for our caller.
    pub fn whole(&self, body: &[u8], expected: Expected, model: &str) -> Result<Box<dyn Whole>, Garbage> {
        let text = std::str::from_utf8(body).ok().filter(|text| json::is_object(text));
        let answer: Option<Answer<'_>> = text.and_then(|text| serde_json::from_str(text).ok());
        let answer = answer.ok_or_else(|| Garbage(format!("the answer is no list of results: {}", parse_upstream_error(body))))?;
        let mut results = Vec::with_capacity(answer.results.len());
        for result in &answer.results {
            let document = self.documents.get(result.index);
            let document = document.ok_or_else(|| Garbage("the answer names a document that was not sent".to_owned()))?;
            results.push(Ranked {
                index: result.index,
                score: result.relevance_score.get().to_owned(),
                document: self.return_documents.then(|| document.clone()),
            });
        }
        let billed = answer.meta.and_then(|meta| meta.billed_units);
        let tokens = billed.as_ref().and_then(|billed| billed.input_tokens);
        let reported = Reported {
            tokens: tokens.map(|tokens| Quantities { input_tokens: tokens.0, ..Quantities::default() }),
            searches: billed.and_then(|billed| billed.search_units).map(|units| units.0),
            seconds: None,
        };
        let id = answer.id.map(|id| id.0.into_owned());
        Ok(Box::new(Translated { id, model: model.to_owned(), results, reported, expected }))
    }
}

/// The text of a document.
fn document(raw: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Document {
        text: String,
    }
    match raw.get().starts_with('"') {
        true => serde_json::from_str(raw.get()).ok(),
        false if json::is_object(raw.get()) => serde_json::from_str::<Document>(raw.get()).ok().map(|document| document.text),
        false => None,
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    results: Vec<Found<'a>>,
    #[serde(default)]
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Found<'a> {
    index: usize,
    #[serde(borrow)]
    relevance_score: &'a RawValue,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    billed_units: Option<Billed>,
}

#[derive(Deserialize)]
struct Billed {
    #[serde(default)]
    search_units: Option<Count>,
    #[serde(default)]
    input_tokens: Option<Count>,
}

struct Ranked {
    index: usize,
    /// The number as it was written.
    score: String,
    document: Option<String>,
}

struct Translated {
    id: Option<String>,
    model: String,
    results: Vec<Ranked>,
    reported: Reported,
    expected: Expected,
}

impl Whole for Translated {
    fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn usage(&self) -> Option<Quantities> {
        self.reported.tokens
    }

    fn produced_tokens(&self) -> u64 {
        0
    }

    fn measured(&self, input_tokens: u64) -> Option<Measured> {
        Some(
            self.expected
                .measure(Shown { reported: self.reported, has_content: true, is_complete: true, ..Shown::default() }, input_tokens),
        )
    }

    fn finish(&self, charge: &Charge) -> (Bytes, Cow<'static, str>) {
        let mut out = Vec::with_capacity(1024);
        let mut object = Object::new(&mut out);
        object.maybe("id", self.id.as_deref());
        object.put("object", "list");
        object.put("model", &self.model);
        let mut results = object.array("results");
        for Ranked { index, score, document } in &self.results {
            let mut result = results.object();
            result.put("index", index);
            result.key("relevance_score").extend_from_slice(score.as_bytes());
            if let Some(document) = document {
                result.object("document").put("text", document);
            }
        }
        drop(results);
        object.key("usage").extend_from_slice(usage::with_cost(&self.expected, None, charge).as_bytes());
        drop(object);
        (Bytes::from(out), Cow::Borrowed("application/json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{Endpoint, format::Quirks};

    fn aim(drop_unsupported: bool) -> Aim<'static> {
        Aim { model: "theirs", max_output_tokens: 0, quirks: Quirks::default(), drop_unsupported }
    }

    const CALL: &str = r#"{"model":"m","query":"q","documents":["a",{"text":"b","id":1}],"top_n":1,"return_documents":true,"user":"u"}"#;

    #[test]
    fn a_call_is_written_in_coheres_words() {
        let written = Rerank::read(CALL.as_bytes()).unwrap().write(&aim(false)).unwrap();
        assert_eq!(written.body, r#"{"model":"theirs","query":"q","documents":["a","b"],"top_n":1}"#);
        assert_eq!(written.dropped, ["user"]);
        let odd = Rerank::read(br#"{"query":"q","documents":["a"],"truncation":true}"#).unwrap();
        assert_eq!(odd.write(&aim(false)).unwrap_err().field, "truncation");
        assert_eq!(odd.write(&aim(true)).unwrap().dropped, ["truncation"]);
    }

    #[test]
    fn what_cohere_cannot_take_is_refused() {
        let param = |body: &str| Rerank::read(body.as_bytes()).unwrap_err().param;
        assert_eq!(param(r#"{"query":{"image":"x"}}"#).as_deref(), Some("query"));
        assert_eq!(param(r#"{"documents":[{"image":"x"}]}"#).as_deref(), Some("documents"));
        assert_eq!(param(r#"{"documents":["a",["b"]]}"#).as_deref(), Some("documents"));
        assert_eq!(param(r#"{"top_n":-1}"#).as_deref(), Some("top_n"));
        assert_eq!(param(r#"{"return_documents":1}"#).as_deref(), Some("return_documents"));
    }

    #[test]
    fn an_answer_is_written_in_ours() {
        let expected = Expected { endpoint: Endpoint::Rerank, fixed: Quantities::default(), seconds_are_exact: false, answers_text: false };
        let call = Rerank::read(CALL.as_bytes()).unwrap();
        let body = br#"{"id":"r1","results":[{"index":1,"relevance_score":0.90}],"meta":{"billed_units":{"search_units":3}}}"#;
        let whole = call.whole(body, expected, "ours").unwrap();
        assert_eq!(whole.measured(7).unwrap().known.searches, 3);
        let charge = Charge { cost_micros: 5, quantities: Quantities::default(), ..Charge::default() };
        let text = r#"{"id":"r1","object":"list","model":"ours","results":[{"index":1,"relevance_score":0.90,"document":{"text":"b"}}],"usage":{"prompt_tokens":0,"total_tokens":0,"cost":0.000005,"cost_micros":5}}"#;
        assert_eq!(whole.finish(&charge).0, text);
        for garbage in ["{}", "[]", r#"{"message":"no"}"#, r#"{"results":[{"index":2,"relevance_score":1}]}"#] {
            assert!(call.whole(garbage.as_bytes(), expected, "ours").is_err(), "{garbage}");
        }
    }
}
