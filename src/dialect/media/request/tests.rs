//! Calls are read strictly and forwarded unchanged.

use proptest::prelude::*;

use super::*;
use crate::dialect::format::Quirks;

const FORM: &str = "multipart/form-data; boundary=x1";

fn aim() -> Aim<'static> {
    Aim { model: "theirs", max_output_tokens: 0, quirks: Quirks::default(), drop_unsupported: false }
}

fn head(endpoint: Endpoint) -> CallHead {
    CallHead { content_type: Some(FORM.to_owned()), ..CallHead::new(endpoint) }
}

fn form(fields: &[(&str, &str)]) -> Bytes {
    let part = |(name, value): &(&str, &str)| format!("--x1\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    Bytes::from(fields.iter().map(part).collect::<String>() + "--x1--\r\n")
}

fn forwarded(endpoint: Endpoint, body: &str) -> String {
    let bytes = Bytes::copy_from_slice(body.as_bytes());
    let written = Request::read(&head(endpoint), &bytes).unwrap().forward(&head(endpoint), &bytes, &aim());
    assert_eq!(written.content_type, "application/json");
    String::from_utf8(written.body.to_vec()).unwrap()
}

#[track_caller]
fn refused(endpoint: Endpoint, body: &str) -> Option<String> {
    Request::read(&head(endpoint), body.as_bytes()).expect_err("refused").param
}

#[test]
fn json_travels_as_it_came_but_for_the_model() {
    for (endpoint, body) in [
        (Endpoint::Moderations, r#"{"model":"m","input":["a","b"],"x": 1}"#),
        (Endpoint::Rerank, r#"{"model":"m","query":"q","documents":["a",{"text":"b"}],"top_n":1}"#),
        (Endpoint::ImageGenerations, r#"{"prompt":"p","n":null,"model":"m"}"#),
        (Endpoint::Speech, r#"{"model":"m","input":"hi","voice":"v"}"#),
    ] {
        assert_eq!(forwarded(endpoint, body), body.replace(r#""m""#, r#""theirs""#));
    }
}

#[test]
fn forms_travel_as_they_came_but_for_the_model() {
    let body = form(&[("file", "RIFF?"), ("model", "m"), ("language", "de")]);
    let call = Request::read(&head(Endpoint::Transcriptions), &body).unwrap();
    let written = call.forward(&head(Endpoint::Transcriptions), &body, &aim());
    assert_eq!(written.body, form(&[("file", "RIFF?"), ("model", "theirs"), ("language", "de")]));
    assert_eq!(written.content_type, FORM);
}

#[test]
fn what_a_call_may_use_is_known_before() {
    let ceiling = |endpoint, body: &[u8]| Request::read(&head(endpoint), body).unwrap().ceiling();
    assert_eq!(ceiling(Endpoint::Speech, r#"{"model":"m","input":"héé"}"#.as_bytes()).characters, 3);
    assert_eq!(ceiling(Endpoint::ImageGenerations, br#"{"model":"m","prompt":"p","n":3}"#).images, 3);
    let documents = vec!["a"; 101];
    let body = serde_json::json!({"model": "m", "query": "q", "documents": documents}).to_string();
    assert_eq!(ceiling(Endpoint::Rerank, body.as_bytes()).searches, 2);
    let edits = form(&[("model", "m"), ("prompt", "p"), ("image[]", "1"), ("image[]", "2"), ("n", "2")]);
    let used = ceiling(Endpoint::ImageEdits, &edits);
    assert_eq!((used.images, used.image_input_tokens), (2, 2 * IMAGE_TOKENS_MAX));
    let recording = form(&[("model", "m"), ("file", &"x".repeat(8_001))]);
    let used = ceiling(Endpoint::Translations, &recording);
    assert_eq!((used.audio_seconds, used.audio_input_tokens), (9, 90));
    let parts = br#"{"model":"m","input":[{"type":"text","text":"hello"},{"type":"image_url","image_url":{"url":"data:x"}}]}"#;
    let call = Request::read(&head(Endpoint::Moderations), parts).unwrap();
    assert_eq!((call.ceiling().image_input_tokens, call.input_tokens()), (IMAGE_TOKENS_MAX, tokens::count("hello")));
}

#[test]
fn streams_and_bare_texts_are_recognised() {
    let streamed = |endpoint, body: &[u8]| Request::read(&head(endpoint), body).unwrap().streamed;
    assert!(streamed(Endpoint::Speech, br#"{"model":"m","input":"a","stream_format":"sse"}"#));
    assert!(!streamed(Endpoint::Speech, br#"{"model":"m","input":"a","stream_format":"audio"}"#));
    assert!(streamed(Endpoint::ImageGenerations, br#"{"model":"m","prompt":"a","stream":true}"#));
    let transcript = form(&[("model", "m"), ("file", "a"), ("stream", "True"), ("response_format", "srt")]);
    let call = Request::read(&head(Endpoint::Transcriptions), &transcript).unwrap();
    assert!(call.streamed && call.expected().answers_text);
}

#[test]
fn every_refusal_names_its_field() {
    let param = |endpoint, body| refused(endpoint, body).unwrap_or_default();
    assert_eq!(param(Endpoint::Speech, r#"{"input":"a"}"#), "model");
    assert_eq!(param(Endpoint::Speech, r#"{"model":7,"input":"a"}"#), "model");
    assert_eq!(param(Endpoint::Speech, r#"{"model":"","input":"a"}"#), "model");
    assert_eq!(param(Endpoint::Speech, r#"{"model":"m"}"#), "input");
    assert_eq!(param(Endpoint::Moderations, r#"{"model":"m","input":{}}"#), "input");
    assert_eq!(param(Endpoint::Rerank, r#"{"model":"m","query":"q","documents":[]}"#), "documents");
    assert_eq!(param(Endpoint::Rerank, r#"{"model":"m","documents":["a"]}"#), "query");
    assert_eq!(param(Endpoint::ImageGenerations, r#"{"model":"m","prompt":"p","n":0}"#), "n");
    assert_eq!(param(Endpoint::ImageGenerations, r#"{"model":"m","prompt":"p","stream":1}"#), "stream");
    let edits = |fields| refused(Endpoint::ImageEdits, std::str::from_utf8(&form(fields)).unwrap()).unwrap_or_default();
    assert_eq!(edits(&[("model", "m"), ("prompt", "p")]), "image");
    assert_eq!(edits(&[("model", "m"), ("image", "i")]), "prompt");
    assert_eq!(edits(&[("model", "m"), ("prompt", "p"), ("image", "i"), ("n", "x")]), "n");
    let recorded = |fields| refused(Endpoint::Transcriptions, std::str::from_utf8(&form(fields)).unwrap());
    assert_eq!(recorded(&[("model", "m")]).as_deref(), Some("file"));
    assert_eq!(recorded(&[("model", "m"), ("file", "a"), ("stream", "maybe")]).as_deref(), Some("stream"));
    assert_eq!(recorded(&[("model", "m"), ("model", "n"), ("file", "a")]), None);
    for body in ["", "[]", "{", r#"{"model":"m","model":"n","input":"a"}"#, &format!(r#"{{"a":{}}}"#, "[".repeat(200))] {
        assert_eq!(refused(Endpoint::Speech, body), None, "{body:.40}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..60), which in 0..7usize) {
        let endpoints = [Endpoint::Moderations, Endpoint::Rerank, Endpoint::ImageGenerations, Endpoint::ImageEdits,
            Endpoint::Speech, Endpoint::Transcriptions, Endpoint::Translations];
        let _ = Request::read(&head(endpoints[which]), &body);
    }
}
