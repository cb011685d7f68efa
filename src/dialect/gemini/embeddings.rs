//! `embedContent` and `batchEmbedContents`.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{answer::Peeked, fields::Fields, resource_name, usage};
use crate::dialect::{
    CallHead, Charge, Endpoint, Garbage, Invalid, Whole,
    canonical::{Embedded, EmbeddingInput, Embeddings, Json, Unmodelled, Vector},
    errors::parse_upstream_error,
    format::{Aim, Unsupported, Written},
    json::{self, Edit, push_string, quoted},
};

const DIMENSIONS_MAX: u64 = 1_000_000;
/// Flat count of an image or another part that is no text.
const MEDIA_TOKENS: u64 = 1_600;

/// Reads a call. The path says the model.
pub fn read_request(head: &CallHead, body: &[u8]) -> Result<Embeddings, Invalid> {
    let model = head.model.clone().ok_or_else(|| Invalid::field("model", "is required in the path"))?;
    let mut request = Embeddings { model, ..Embeddings::default() };
    let mut fields = Fields::of_body(body)?;
    if head.endpoint == Endpoint::EmbedContent {
        read_one(fields, &mut request)?;
        return Ok(request);
    }
    let missing = fields.path_of("requests");
    for one in fields.list("requests")? {
        read_one(Fields::of(one)?, &mut request)?;
    }
    if request.inputs.is_empty() {
        return Err(Invalid::field(missing, "must not be empty"));
    }
    fields.take("model")?;
    fields.leave(&mut request.unmodelled, |_| false);
    Ok(request)
}

/// One content to embed. What the first one asks for counts for all; another wish cannot be carried to another vendor.
fn read_one(mut fields: Fields<'_>, request: &mut Embeddings) -> Result<(), Invalid> {
    let is_first = request.inputs.is_empty();
    let missing = fields.path_of("content");
    let mut content = fields.object("content")?.ok_or_else(|| Invalid::field(missing, "is required"))?;
    let mut texts = Vec::new();
    for part in content.list("parts")? {
        let mut part = Fields::of(part)?;
        if let Some(text) = part.text("text")? {
            texts.push(text);
        } else {
            request.media_tokens += MEDIA_TOKENS;
        }
        part.leave(&mut request.unmodelled, |_| false);
    }
    request.inputs.push(EmbeddingInput::Text(texts.join("\n")));
    fields.take("model")?;
    let at = fields.path_of("outputDimensionality");
    let dimensions = fields.whole("outputDimensionality", 1, DIMENSIONS_MAX)?;
    if is_first {
        request.dimensions = dimensions;
    } else if request.dimensions != dimensions {
        request.unmodelled.push(Unmodelled { field: at, harmless: false });
    }
    let (task, title) = (fields.text("taskType")?, fields.text("title")?);
    if is_first {
        request.task = task.map(|task| task.into_owned());
        request.title = title.map(|title| title.into_owned());
    }
    fields.leave(&mut request.unmodelled, |_| false);
    Ok(())
}

/// The caller's bytes with the upstream's name of the model, which a batch wants in each of its requests.
pub fn forward(head: &CallHead, body: &Bytes, aim: &Aim<'_>) -> Result<Written, Invalid> {
    let name = quoted(&resource_name(aim.model));
    let mut edits = Vec::new();
    let mut fields = Fields::of_body(body)?;
    if let Some(model) = fields.take("model")? {
        edits.push(Edit { at: json::span_in(body, model.raw.get()), with: name.clone() });
    }
    if head.endpoint == Endpoint::BatchEmbedContents {
        for one in fields.list("requests")? {
            let start = json::span_in(body, one.raw.get()).start + 1;
            edits.push(match Fields::of(one)?.take("model")? {
                Some(model) => Edit { at: json::span_in(body, model.raw.get()), with: name.clone() },
                // A comma may follow: a request has a content.
                None => Edit { at: start..start, with: format!("\"model\":{name},") },
            });
        }
    }
    edits.sort_unstable_by_key(|edit| edit.at.start);
    Ok(Written::json(if edits.is_empty() { body.clone() } else { json::splice(body, &edits) }))
}

/// Writes a call of another dialect as a batch.
pub fn write_request(request: &Embeddings, aim: &Aim<'_>) -> Result<Written, Unsupported> {
    let mut dropped = Vec::new();
    for unmodelled in &request.unmodelled {
        if !unmodelled.harmless && !aim.drop_unsupported {
            return Err(Unsupported { field: unmodelled.field.clone(), why: "Gemini's embeddings have no such field".to_owned() });
        }
        dropped.push(unmodelled.field.clone());
    }
    if request.user.is_some() {
        dropped.push("user".to_owned());
    }
    let name = quoted(&resource_name(aim.model));
    let mut out = b"{\"requests\":[".to_vec();
    for (at, input) in request.inputs.iter().enumerate() {
        let EmbeddingInput::Text(text) = input else {
            return Err(Unsupported { field: "input".to_owned(), why: "this model takes texts, not tokens".to_owned() });
        };
        out.extend_from_slice(if at > 0 { b"," } else { b"" });
        out.extend_from_slice(format!("{{\"model\":{name},\"content\":{{\"parts\":[{{\"text\":").as_bytes());
        push_string(&mut out, text);
        out.extend_from_slice(b"}]}");
        for (name, value) in [("taskType", &request.task), ("title", &request.title)] {
            if let Some(value) = value {
                out.extend_from_slice(format!(",\"{name}\":{}", quoted(value)).as_bytes());
            }
        }
        if let Some(dimensions) = request.dimensions {
            out.extend_from_slice(format!(",\"outputDimensionality\":{dimensions}").as_bytes());
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    Ok(Written { dropped, ..Written::json(out) })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(borrow, default)]
    embedding: Option<Values<'a>>,
    #[serde(borrow, default)]
    embeddings: Option<Vec<Values<'a>>>,
    #[serde(borrow, default, alias = "usage_metadata", deserialize_with = "json::present")]
    usage_metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Values<'a> {
    #[serde(borrow, default)]
    values: Option<&'a RawValue>,
}

fn parse(body: &[u8]) -> Result<Answer<'_>, Garbage> {
    let text = std::str::from_utf8(body).ok().filter(|text| json::is_object(text));
    let text = text.ok_or_else(|| Garbage("the answer is not a JSON object".to_owned()))?;
    let answer: Answer<'_> =
        serde_json::from_str(text).map_err(|error| Garbage(format!("the answer is not the JSON it should be: {error}")))?;
    if answer.error.is_some_and(|error| !matches!(error.get(), "null" | "{}")) {
        return Err(Garbage(format!("a good status with an error inside: {}", parse_upstream_error(body))));
    }
    if answer.embedding.is_none() && answer.embeddings.is_none() {
        return Err(Garbage("the answer has no embeddings".to_owned()));
    }
    Ok(answer)
}

/// Reads an answer for a caller of another dialect.
pub fn read_answer(body: &[u8]) -> Result<Embedded, Garbage> {
    let answer = parse(body)?;
    let usage = answer.usage_metadata.and_then(|raw| usage::read(raw.get()));
    let rows = answer.embeddings.into_iter().flatten().chain(answer.embedding);
    let vector = |row: Values<'_>| {
        let values = row.values.filter(|values| values.get().starts_with('['));
        values
            .map(|values| Vector::Floats(Json::of(&values)))
            .ok_or_else(|| Garbage("the answer has an embedding without values".to_owned()))
    };
    Ok(Embedded { vectors: rows.map(vector).collect::<Result<_, Garbage>>()?, usage })
}

/// Writes vectors (JSON arrays) for a caller of `endpoint`.
pub fn write_answer(vectors: &[&str], endpoint: Endpoint, charge: &Charge) -> Bytes {
    let values: Vec<String> = vectors.iter().map(|vector| format!("{{\"values\":{vector}}}")).collect();
    let usage = usage::of_embeddings(charge);
    Bytes::from(match (endpoint, &values[..]) {
        (Endpoint::EmbedContent, [only]) => format!("{{\"embedding\":{only},\"usageMetadata\":{usage}}}"),
        _ => format!("{{\"embeddings\":[{}],\"usageMetadata\":{usage}}}", values.join(",")),
    })
}

/// Reads an answer that reaches the caller as it came, but for the cost.
pub fn peek(body: &Bytes) -> Result<Box<dyn Whole>, Garbage> {
    let answer = parse(body)?;
    let (usage, at) = (answer.usage_metadata.and_then(|raw| usage::read(raw.get())), answer.usage_metadata);
    Ok(Box::new(Peeked::new(body, None, usage, at).of_embeddings()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dialect::format::Quirks, domain::pricing::Quantities};

    const BATCH: &str = r#"{"requests":[{"model":"models/m","content":{"parts":[{"text":"a"}]},"taskType":"RETRIEVAL_QUERY","outputDimensionality":8},{"model":"models/m","content":{"parts":[{"text":"b"}]},"taskType":"RETRIEVAL_QUERY","outputDimensionality":8}]}"#;

    fn head(endpoint: Endpoint) -> CallHead {
        CallHead { model: Some("m".to_owned()), ..CallHead::new(endpoint) }
    }

    fn aim() -> Aim<'static> {
        Aim { model: "theirs", max_output_tokens: 0, quirks: Quirks::default(), drop_unsupported: false }
    }

    fn charge() -> Charge {
        Charge { cost_micros: 12, quantities: Quantities { input_tokens: 3, ..Quantities::default() }, ..Charge::default() }
    }

    fn text(text: &str) -> EmbeddingInput {
        EmbeddingInput::Text(text.to_owned())
    }

    #[test]
    fn a_batch_is_read_and_written_back() {
        let request = read_request(&head(Endpoint::BatchEmbedContents), BATCH.as_bytes()).unwrap();
        assert_eq!(request.inputs, [text("a"), text("b")]);
        assert_eq!((request.dimensions, request.task.as_deref()), (Some(8), Some("RETRIEVAL_QUERY")));
        assert_eq!(request.unmodelled, []);
        assert_eq!(write_request(&request, &aim()).unwrap().body, BATCH.replace("models/m", "models/theirs"));
    }

    #[test]
    fn one_content_is_read_in_both_spellings() {
        let body = br#"{"content":{"role":"user","parts":[{"text":"a"},{"text":"b"},{"inline_data":{"data":"AA"}}]},"output_dimensionality":"4","task_type":"CLUSTERING","title":"t"}"#;
        let request = read_request(&head(Endpoint::EmbedContent), body).unwrap();
        assert_eq!((&request.inputs[..], request.dimensions, request.title.as_deref()), (&[text("a\nb")][..], Some(4), Some("t")));
        assert_eq!(request.unmodelled, [Unmodelled { field: "content.parts[2].inline_data".to_owned(), harmless: false }]);
        assert_eq!(request.input_tokens(), 3 + MEDIA_TOKENS);
    }

    #[test]
    fn bad_calls_name_the_field() {
        let error = |endpoint, body: &str| read_request(&head(endpoint), body.as_bytes()).unwrap_err().param.unwrap();
        assert_eq!(error(Endpoint::EmbedContent, "{}"), "content");
        assert_eq!(error(Endpoint::BatchEmbedContents, "{}"), "requests");
        assert_eq!(error(Endpoint::BatchEmbedContents, r#"{"requests":[{}]}"#), "requests[0].content");
        assert_eq!(
            error(Endpoint::EmbedContent, r#"{"content":{"parts":[{"text":"a"}]},"outputDimensionality":0}"#),
            "outputDimensionality"
        );
        let differing =
            r#"{"requests":[{"content":{"parts":[{"text":"a"}]}},{"content":{"parts":[{"text":"a"}]},"outputDimensionality":3}]}"#;
        let request = read_request(&head(Endpoint::BatchEmbedContents), differing.as_bytes()).unwrap();
        assert_eq!(write_request(&request, &aim()).unwrap_err().field, "requests[1].outputDimensionality");
        let tokens = Embeddings { inputs: vec![EmbeddingInput::Tokens(vec![1])], ..Embeddings::default() };
        assert_eq!(write_request(&tokens, &aim()).unwrap_err().field, "input");
    }

    #[test]
    fn a_forwarded_body_names_the_upstreams_model() {
        let forwarded = |endpoint, body: &'static str| forward(&head(endpoint), &Bytes::from_static(body.as_bytes()), &aim()).unwrap().body;
        assert_eq!(forwarded(Endpoint::BatchEmbedContents, BATCH), BATCH.replace("models/m", "models/theirs"));
        assert_eq!(
            forwarded(Endpoint::BatchEmbedContents, r#"{"requests": [ {"content":{}}]}"#),
            r#"{"requests": [ {"model":"models/theirs","content":{}}]}"#
        );
        assert_eq!(forwarded(Endpoint::EmbedContent, r#"{"content":{}, "x":1.50}"#), r#"{"content":{}, "x":1.50}"#);
        assert_eq!(forwarded(Endpoint::EmbedContent, r#"{"content":{},"model":"models/m"}"#), r#"{"content":{},"model":"models/theirs"}"#);
    }

    #[test]
    fn answers_are_read_written_and_peeked_at() {
        let body = br#"{"embeddings":[{"values":[1.50,-2]},{"values":[]}],"usageMetadata":{"promptTokenCount":7}}"#;
        let embedded = read_answer(body).unwrap();
        assert_eq!(embedded.usage.unwrap().input_tokens, 7);
        assert_eq!(embedded.vectors, ["[1.50,-2]", "[]"].map(|array| Vector::Floats(Json::parse(array).unwrap())));
        assert_eq!(read_answer(br#"{"embedding":{"values":[1]}}"#).unwrap().vectors.len(), 1);

        let usage = r#""usageMetadata":{"promptTokenCount":3,"cost":0.000012,"costMicros":12}"#;
        assert_eq!(write_answer(&["[1]"], Endpoint::EmbedContent, &charge()), format!(r#"{{"embedding":{{"values":[1]}},{usage}}}"#));
        assert_eq!(
            write_answer(&["[1]"], Endpoint::BatchEmbedContents, &charge()),
            format!(r#"{{"embeddings":[{{"values":[1]}}],{usage}}}"#)
        );

        let peeked = peek(&Bytes::from_static(body)).unwrap();
        assert_eq!((peeked.usage().unwrap().input_tokens, peeked.produced_tokens()), (7, 0));
        let expected = std::str::from_utf8(body).unwrap().replace("7}", r#"7,"cost":0.000012,"costMicros":12}"#);
        assert_eq!(peeked.finish(&charge()).0, expected);
        let peeked = peek(&Bytes::from_static(br#"{"embedding":{"values":[1]}}"#)).unwrap();
        assert_eq!(peeked.finish(&charge()).0, format!(r#"{{"embedding":{{"values":[1]}},{usage}}}"#));

        for body in ["{}", "[]", r#"{"error":{"message":"x"}}"#, r#"{"embeddings":[{}]}"#, r#"{"embeddings":[{"values":"x"}]}"#] {
            assert!(read_answer(body.as_bytes()).is_err(), "{body}");
        }
    }
}
