//! Embeddings on their way to and from other dialects, and vectors in the encoding that was asked for.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::usage;
use crate::dialect::{
    Charge, Endpoint, Garbage, Invalid,
    canonical::{Embedded, EmbeddingInput, Embeddings, Encoding, Json, Unmodelled, Vector},
    errors,
    format::{Aim, Unsupported, Written},
    json::{self, Edit, Prose, Text, push_string, quoted},
};

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u64>),
    TokenRows(Vec<Vec<u64>>),
}

/// Reads a call. Its body was checked by [`super::Request::parse`] before.
pub fn read_request(body: &[u8]) -> Result<Embeddings, Invalid> {
    let members =
        std::str::from_utf8(body).ok().and_then(json::members).ok_or_else(|| Invalid::body("the request body must be a JSON object"))?;
    let encoding = encoding_of(body).ok_or_else(|| Invalid::field("encoding_format", "must be float or base64"))?;
    let mut request = Embeddings { encoding, ..Embeddings::default() };
    for (name, raw) in members {
        let wrong = |problem: &str| Invalid::field(&*name, problem);
        match (&*name, raw.get()) {
            (_, "null") | ("encoding_format", _) => {}
            ("model", text) => request.model = serde_json::from_str(text).map_err(|_| wrong("must be a string"))?,
            ("input", input) => request.inputs = read_input(input)?,
            ("dimensions", text) => request.dimensions = Some(text.parse().map_err(|_| wrong("must be a whole number"))?),
            ("user", text) => request.user = serde_json::from_str(text).map_err(|_| wrong("must be a string"))?,
            (_, "false" | "\"\"" | "[]" | "{}") => {}
            (name, _) => request.unmodelled.push(Unmodelled { field: name.to_owned(), harmless: name == "metadata" }),
        }
    }
    Ok(request)
}

fn read_input(input: &str) -> Result<Vec<EmbeddingInput>, Invalid> {
    let input = serde_json::from_str(input).map_err(|_| Invalid::field("input", "must be text, texts, tokens or lists of tokens"))?;
    Ok(match input {
        Input::Text(text) => vec![EmbeddingInput::Text(text)],
        Input::Texts(texts) => texts.into_iter().map(EmbeddingInput::Text).collect(),
        Input::Tokens(tokens) => vec![EmbeddingInput::Tokens(tokens)],
        Input::TokenRows(rows) => rows.into_iter().map(EmbeddingInput::Tokens).collect(),
    })
}

/// What `encoding_format` asks for; `None` when it is neither of the two.
pub fn encoding_of(body: &[u8]) -> Option<Encoding> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow, default)]
        encoding_format: Option<&'a RawValue>,
    }
    let fields: Fields<'_> = serde_json::from_slice(body).ok()?;
    match fields.encoding_format.map(RawValue::get) {
        None | Some("null" | "\"float\"") => Some(Encoding::Float),
        Some("\"base64\"") => Some(Encoding::Base64),
        Some(_) => None,
    }
}

/// Writes a call of another dialect. What vectors are for, and titles, are hints that are left out.
pub fn write_request(request: &Embeddings, aim: &Aim<'_>) -> Result<Written, Unsupported> {
    let mut dropped = Vec::new();
    for unmodelled in &request.unmodelled {
        if !unmodelled.harmless && !aim.drop_unsupported {
            return Err(Unsupported { field: unmodelled.field.clone(), why: "OpenAI's embeddings have no such field".to_owned() });
        }
        dropped.push(unmodelled.field.clone());
    }
    for (hint, name) in [(&request.task, "taskType"), (&request.title, "title")] {
        if hint.is_some() {
            dropped.push(name.to_owned());
        }
    }
    let mut out = b"{\"model\":".to_vec();
    push_string(&mut out, aim.model);
    out.extend_from_slice(b",\"input\":[");
    for (at, input) in request.inputs.iter().enumerate() {
        out.extend_from_slice(if at > 0 { b"," } else { b"" });
        match input {
            EmbeddingInput::Text(text) => push_string(&mut out, text),
            EmbeddingInput::Tokens(tokens) => out.extend_from_slice(&serde_json::to_vec(tokens).unwrap_or_default()),
        }
    }
    let encoding = if request.encoding == Encoding::Base64 { "base64" } else { "float" };
    out.extend_from_slice(format!("],\"encoding_format\":\"{encoding}\"").as_bytes());
    if let Some(dimensions) = request.dimensions {
        out.extend_from_slice(format!(",\"dimensions\":{dimensions}").as_bytes());
    }
    if let Some(user) = &request.user {
        out.extend_from_slice(b",\"user\":");
        push_string(&mut out, user);
    }
    out.push(b'}');
    Ok(Written { dropped, ..Written::json(out) })
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    object: Option<Prose<'a>>,
    #[serde(borrow, default)]
    data: Option<Vec<Row<'a>>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Row<'a> {
    #[serde(default)]
    index: Option<usize>,
    #[serde(borrow, default)]
    embedding: Option<&'a RawValue>,
}

impl Row<'_> {
    fn vector(&self) -> Option<Vector> {
        let raw = self.embedding?;
        match raw.get() {
            array if array.starts_with('[') => Some(Vector::Floats(Json::of(&raw))),
            text => serde_json::from_str::<Text<'_>>(text).ok().map(|text| Vector::Base64(text.0.into_owned())),
        }
    }
}

fn parse(body: &[u8]) -> Result<Answer<'_>, Garbage> {
    let text = std::str::from_utf8(body).ok().filter(|text| json::is_object(text));
    let text = text.ok_or_else(|| Garbage("the answer is not a JSON object".to_owned()))?;
    let answer: Answer<'_> =
        serde_json::from_str(text).map_err(|error| Garbage(format!("the answer is not the JSON it should be: {error}")))?;
    if super::stated_error(answer.object.as_ref(), answer.error) {
        return Err(Garbage(format!("a good status with an error inside: {}", errors::parse_upstream_error(body))));
    }
    Ok(answer)
}

fn no_vector() -> Garbage {
    Garbage("the answer has an embedding that is no vector of numbers".to_owned())
}

/// Reads an answer for a caller of another dialect. The vectors stand in the order of their index.
pub fn read_answer(body: &[u8]) -> Result<Embedded, Garbage> {
    let answer = parse(body)?;
    let mut rows = answer.data.ok_or_else(|| Garbage("the answer has no 'data'".to_owned()))?;
    rows.sort_by_key(|row| row.index);
    let vectors = rows.iter().map(|row| row.vector().ok_or_else(no_vector)).collect::<Result<_, Garbage>>()?;
    Ok(Embedded { vectors, usage: answer.usage.and_then(|raw| usage::read(raw.get())) })
}

/// Writes vectors (JSON, in the caller's encoding) for a caller. `model` is the caller's own name of it.
pub fn write_answer(vectors: &[&str], model: &str, charge: &Charge) -> Bytes {
    let mut out = b"{\"object\":\"list\",\"data\":[".to_vec();
    for (index, vector) in vectors.iter().enumerate() {
        out.extend_from_slice(if index > 0 { b"," } else { b"" });
        out.extend_from_slice(format!("{{\"object\":\"embedding\",\"index\":{index},\"embedding\":{vector}}}").as_bytes());
    }
    let usage = usage::with_cost(None, Endpoint::Embeddings, charge);
    out.extend_from_slice(format!("],\"model\":{},\"usage\":{usage}}}", quoted(model)).as_bytes());
    Bytes::from(out)
}

/// An answer of a server of this dialect in the encoding that was asked for: some always answer with arrays, while the official clients
/// always ask for base64. What cannot be converted stays as it came, and the body is shared when nothing differs.
pub fn as_asked(body: &Bytes, encoding: Encoding) -> Bytes {
    let mut edits = Vec::new();
    for row in parse(body).ok().and_then(|answer| answer.data).iter().flatten() {
        let Some(raw) = row.embedding.filter(|raw| raw.get().starts_with('[') != (encoding == Encoding::Float)) else { continue };
        let Some(vector) = row.vector() else { continue };
        if let Some(converted) = vector.json(encoding) {
            edits.push(Edit { at: json::span_in(body, raw.get()), with: converted.text().to_owned() });
        }
    }
    if edits.is_empty() { body.clone() } else { json::splice(body, &edits) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dialect::format::Quirks, domain::pricing::Quantities};

    fn aim() -> Aim<'static> {
        Aim { model: "theirs", max_output_tokens: 0, quirks: Quirks::default(), drop_unsupported: false }
    }

    #[test]
    fn every_kind_of_input_is_read() {
        let inputs = |input: &str| read_request(format!(r#"{{"model":"m","input":{input}}}"#).as_bytes()).unwrap().inputs;
        let text = |text: &str| EmbeddingInput::Text(text.to_owned());
        assert_eq!(inputs(r#""a""#), [text("a")]);
        assert_eq!(inputs(r#"["a","b"]"#), [text("a"), text("b")]);
        assert_eq!(inputs("[1,2]"), [EmbeddingInput::Tokens(vec![1, 2])]);
        assert_eq!(inputs("[[1],[2]]"), [EmbeddingInput::Tokens(vec![1]), EmbeddingInput::Tokens(vec![2])]);
    }

    #[test]
    fn a_call_is_read_and_written_back() {
        let body = r#"{"model":"m","input":["a"],"encoding_format":"base64","dimensions":8,"user":"u"}"#;
        let request = read_request(body.as_bytes()).unwrap();
        assert_eq!((request.encoding, request.dimensions, request.user.as_deref()), (Encoding::Base64, Some(8), Some("u")));
        assert_eq!(write_request(&request, &aim()).unwrap().body, body.replace("\"m\"", "\"theirs\""));
        let error = |body: &[u8]| read_request(body).unwrap_err().param;
        assert_eq!(error(br#"{"input":"a","encoding_format":"hex"}"#).as_deref(), Some("encoding_format"));
        assert_eq!(error(br#"{"input":"a","dimensions":-1}"#).as_deref(), Some("dimensions"));
        assert_eq!(error(br#"{"input":{}}"#).as_deref(), Some("input"));
        assert!(read_request(b"[").is_err());
    }

    #[test]
    fn hints_are_dropped_and_the_rest_is_refused() {
        let hinted = Embeddings { task: Some("RETRIEVAL_QUERY".to_owned()), title: Some("t".to_owned()), ..Embeddings::default() };
        assert_eq!(write_request(&hinted, &aim()).unwrap().dropped, ["taskType", "title"]);
        let request = read_request(br#"{"input":"a","input_type":"query","metadata":{"a":"b"}}"#).unwrap();
        assert_eq!(write_request(&request, &aim()).unwrap_err().field, "input_type");
        let allowed = Aim { drop_unsupported: true, ..aim() };
        assert_eq!(write_request(&request, &allowed).unwrap().dropped, ["input_type", "metadata"]);
    }

    #[test]
    fn an_answer_comes_in_order_and_in_the_form_that_was_asked_for() {
        let body = r#"{"object":"list","data":[{"index":1,"embedding":"AACAPw=="},{"index":0,"embedding":[-0.5]}],"usage":{"prompt_tokens":3,"total_tokens":3}}"#;
        let embedded = read_answer(body.as_bytes()).unwrap();
        assert_eq!(embedded.usage.unwrap().input_tokens, 3);
        let text = |vector: &Vector| vector.json(Encoding::Float).unwrap().text().to_owned();
        assert_eq!(embedded.vectors.iter().map(text).collect::<Vec<_>>(), ["[-0.5]", "[1.0]"]);

        let bytes = Bytes::from_static(body.as_bytes());
        assert_eq!(as_asked(&bytes, Encoding::Base64), body.replace("[-0.5]", "\"AAAAvw==\""));
        assert_eq!(as_asked(&bytes, Encoding::Float), body.replace("\"AACAPw==\"", "[1.0]"));
        for body in ["{\"data\":[{\"embedding\":null}]}", "{\"data\":[{}]}", "{\"error\":{\"message\":\"x\"}}", "[]"] {
            assert_eq!(as_asked(&Bytes::from_static(body.as_bytes()), Encoding::Base64), body);
            assert!(read_answer(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn an_answer_is_written() {
        let quantities = Quantities { input_tokens: 3, ..Quantities::default() };
        let body = write_answer(&["[1.0]", "\"AACAPw==\""], "ours", &Charge { cost_micros: 12, quantities, ..Charge::default() });
        let expected = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1.0]},{"object":"embedding","index":1,"embedding":"AACAPw=="}],"model":"ours","usage":{"prompt_tokens":3,"total_tokens":3,"cost":0.000012,"cost_micros":12}}"#;
        assert_eq!(body, expected);
    }
}
