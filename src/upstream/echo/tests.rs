use base64::Engine;

use super::*;
use crate::{
    dialect::{
        Meter, Step,
        openai::{Answer as OpenAiAnswer, StreamMeter},
        sse::Decoder,
        tokens,
    },
    upstream::Stage,
};

async fn call_with(timeouts: Timeouts, endpoint: Endpoint, body: &str) -> Result<Answer, Failure> {
    let (clock, _hand) = Clock::manual(1_700_000_000 * SECOND);
    let call = Call {
        endpoint,
        model: "echo".into(),
        content_type: "application/json".into(),
        version: None,
        betas: None,
        api_key: None,
        body: Bytes::copy_from_slice(body.as_bytes()),
        streamed: body.contains("\"stream\":true"),
        request_id: "req_0123".to_owned(),
        deadline: Duration::from_secs(60),
    };
    Echo::new(clock, timeouts).call(call).await
}

async fn call(endpoint: Endpoint, body: &str) -> Result<Answer, Failure> {
    call_with(Timeouts::default(), endpoint, body).await
}

fn chat(fields: &str) -> String {
    format!(r#"{{"model":"echo","messages":[{{"role":"user","content":"one \"two\" three"}}]{fields}}}"#)
}

async fn whole(endpoint: Endpoint, body: &str) -> String {
    let bytes = call(endpoint, body).await.expect("an answer").body.collect(1 << 20).await.expect("a body");
    OpenAiAnswer::parse(endpoint, &bytes).expect("an answer in the dialect");
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// A stream as metered: the deltas with content, how it ended, and the meter.
async fn stream(endpoint: Endpoint, body: &str) -> (Vec<String>, Option<Failure>, StreamMeter) {
    let mut answer = call(endpoint, body).await.expect("an answer");
    assert_eq!(answer.content_type.as_deref(), Some("text/event-stream"));
    let (mut decoder, mut meter) = (Decoder::new(1 << 20), StreamMeter::new(endpoint, true));
    let mut deltas = Vec::new();
    while let Some(chunk) = answer.body.next().await {
        match chunk {
            Ok(chunk) => decoder.push(chunk),
            Err(failure) => return (deltas, Some(failure), meter),
        }
        while let Some(event) = decoder.next_event() {
            let event = event.expect("short");
            assert!(!matches!(meter.on_event(&event), Step::Error { .. }));
            deltas.extend(content(&event.data));
        }
    }
    assert!(meter.is_complete());
    (deltas, None, meter)
}

fn content(data: &[u8]) -> Option<String> {
    let chunk: serde_json::Value = serde_json::from_slice(data).ok()?;
    let choice = &chunk["choices"][0];
    let text = choice["delta"]["content"].as_str().or(choice["text"].as_str())?;
    (!text.is_empty()).then(|| text.to_owned())
}

#[tokio::test]
async fn answers_with_the_last_user_message() {
    let answer = whole(Endpoint::ChatCompletions, &chat("")).await;
    let (prompt, completion) = (tokens::count("one \"two\" three") + 7, tokens::count("one \"two\" three"));
    let expected = format!(
        r#"{{"id":"chatcmpl-0123","object":"chat.completion","created":1700000000,"model":"echo","choices":[{{"index":0,"message":{{"role":"assistant","content":"one \"two\" three","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{}}}}}"#,
        prompt + completion
    );
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn completions_answer_with_the_prompt() {
    let answer = whole(Endpoint::Completions, r#"{"model":"echo","prompt":["a","b"],"n":2}"#).await;
    assert!(answer.starts_with(r#"{"id":"cmpl-0123","object":"text_completion""#), "{answer}");
    assert_eq!(answer.matches(r#""text":"a\nb""#).count(), 2);
}

#[tokio::test]
async fn streams_word_by_word() {
    let (deltas, failure, meter) =
        stream(Endpoint::ChatCompletions, &chat(r#","stream":true,"stream_options":{"include_usage":true}"#)).await;
    assert_eq!(deltas, ["one", " \"two\"", " three"]);
    assert_eq!(failure, None);
    assert_eq!(meter.answer_id(), Some("chatcmpl-0123"));
    assert_eq!(meter.reported().map(|quantities| quantities.output_tokens), Some(meter.produced_tokens()));
    let (deltas, _, _) = stream(Endpoint::Completions, r#"{"model":"echo","prompt":"a b","stream":true}"#).await;
    assert_eq!(deltas, ["a", " b"]);
}

#[tokio::test]
async fn chunks_are_as_many_as_asked_for() {
    for chunks in [0, 1, 2, 3, 7, 100] {
        let body = chat(&format!(r#","stream":true,"metadata":{{"chunks":"{chunks}"}}"#));
        assert_eq!(stream(Endpoint::ChatCompletions, &body).await.0.len(), chunks);
    }
}

#[tokio::test]
async fn the_output_limit_is_kept() {
    let answer = whole(Endpoint::ChatCompletions, &chat(r#","max_tokens":1"#)).await;
    assert!(answer.contains(r#""content":"one""#) && answer.contains(r#""finish_reason":"length""#), "{answer}");
    assert!(answer.contains(r#""completion_tokens":1,"#));
}

#[tokio::test]
async fn fails_as_asked() {
    let fail = |fail: &str, stream: bool| chat(&format!(r#","stream":{stream},"metadata":{{"fail":"{fail}","other":"x"}}"#));
    let refused = call(Endpoint::ChatCompletions, &fail("status:503", true)).await.expect_err("refused");
    assert!(matches!(refused, Failure::Refused { status: 503, retry_after_ms: None, .. }));
    let refused = call(Endpoint::ChatCompletions, &fail("status:429", false)).await.expect_err("refused");
    assert!(matches!(refused, Failure::Refused { status: 429, retry_after_ms: Some(_), .. }));
    let broken = call(Endpoint::ChatCompletions, &fail("midstream", false)).await.expect("a head").body.collect(100).await;
    assert!(matches!(broken, Err(Failure::BrokenOff(_))));
    let (deltas, failure, meter) = stream(Endpoint::ChatCompletions, &fail("midstream", true)).await;
    assert_eq!(deltas.len(), 1);
    assert!(matches!(failure, Some(Failure::BrokenOff(_))) && !meter.is_complete());
    let answer = whole(Endpoint::ChatCompletions, &fail("no_usage", false)).await;
    assert!(!answer.contains("usage"));
    let (_, _, meter) = stream(Endpoint::ChatCompletions, &fail("no_usage", true)).await;
    assert_eq!(meter.reported(), None);
    let hasty = Timeouts { first_byte_ms: 20, ..Timeouts::default() };
    let hung = call_with(hasty, Endpoint::ChatCompletions, &fail("hang", false)).await.expect_err("no answer");
    assert_eq!(hung, Failure::TimedOut { stage: Stage::FirstByte });
}

#[tokio::test]
async fn delays_are_waited_for_and_bounded_by_the_timeouts() {
    let body = chat(r#","stream":true,"metadata":{"delay_ms":"30"}"#);
    let hasty = Timeouts { first_byte_ms: 10, ..Timeouts::default() };
    let late = call_with(hasty, Endpoint::ChatCompletions, &body).await.expect_err("late");
    assert_eq!(late, Failure::TimedOut { stage: Stage::FirstByte });
    let idle = Timeouts { idle_ms: 10, ..Timeouts::default() };
    let body = call_with(idle, Endpoint::ChatCompletions, &body).await.expect("in time").body;
    assert_eq!(body.collect(1 << 20).await, Err(Failure::TimedOut { stage: Stage::Idle }));
    let quick = chat(r#","stream":true,"metadata":{"delay_ms":"1"}"#);
    assert_eq!(stream(Endpoint::ChatCompletions, &quick).await.0.len(), 3);
}

#[tokio::test]
async fn bad_options_are_named() {
    for (metadata, named) in [
        (r#"{"fail":"status:200"}"#, "metadata.fail"),
        (r#"{"fail":"sometimes"}"#, "metadata.fail"),
        (r#"{"chunks":"many"}"#, "metadata.chunks"),
        (r#"{"chunks":"100001"}"#, "metadata.chunks"),
        (r#"{"delay_ms":"-1"}"#, "metadata.delay_ms"),
        (r#"{"chunks":3}"#, "'metadata'"),
        ("[]", "'metadata'"),
    ] {
        match call(Endpoint::ChatCompletions, &chat(&format!(r#","metadata":{metadata}"#))).await {
            Err(Failure::Refused { status: 400, message, .. }) => assert!(message.contains(named), "{message}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn embeddings_are_unit_vectors_in_the_format_asked_for() {
    let embed = async |fields: &str| {
        let body = format!(r#"{{"model":"echo","input":["a","b","a"]{fields}}}"#);
        serde_json::from_str::<serde_json::Value>(&whole(Endpoint::Embeddings, &body).await).expect("JSON")
    };
    let floats = embed("").await;
    let numbers = |row: usize| floats["data"][row]["embedding"].as_array().expect("floats").iter().filter_map(|value| value.as_f64());
    assert_eq!(numbers(0).count(), 64);
    assert!((numbers(0).map(|value| value * value).sum::<f64>() - 1.0).abs() < 1e-5);
    assert!(numbers(0).eq(numbers(2)) && !numbers(0).eq(numbers(1)));
    assert_eq!(floats["usage"], serde_json::json!({"prompt_tokens": 3, "total_tokens": 3}));
    let encoded = embed(r#","encoding_format":"base64","dimensions":8"#).await;
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded["data"][1]["embedding"].as_str().expect("text")).expect("base64");
    assert_eq!(bytes.len(), 8 * 4);
    let refused = call(Endpoint::Embeddings, r#"{"model":"echo","input":"a","dimensions":0}"#).await;
    assert!(matches!(refused, Err(Failure::Refused { status: 400, .. })));
    let refused = call(Endpoint::Embeddings, r#"{"model":"echo","input":["a","b"],"dimensions":600000}"#).await;
    assert!(matches!(refused, Err(Failure::Refused { status: 400, .. })));
    let tokens = whole(Endpoint::Embeddings, r#"{"model":"echo","input":[[1,2],[3]]}"#).await;
    assert!(tokens.contains(r#""prompt_tokens":3"#));
}

#[tokio::test]
async fn huge_replies_are_streamed_or_refused() {
    let body = format!(r#"{{"model":"echo","n":128,"messages":[{{"role":"user","content":"{}"}}]}}"#, "a ".repeat(300_000));
    let refused = call(Endpoint::ChatCompletions, &body).await;
    assert!(matches!(refused, Err(Failure::Refused { status: 400, .. })));
    let body = body.replacen("{", "{\"stream\":true,", 1);
    let mut stream = call(Endpoint::ChatCompletions, &body).await.expect("an answer").body;
    for _ in 0..1_000 {
        stream.next().await.expect("more").expect("bytes");
    }
}

#[tokio::test]
async fn every_choice_is_streamed() {
    let body = chat(r#","stream":true,"n":2,"metadata":{"chunks":"2"}"#);
    let (deltas, _, meter) = stream(Endpoint::ChatCompletions, &body).await;
    assert_eq!(deltas, ["one", "one", " \"two\" three", " \"two\" three"]);
    assert!(meter.is_complete());
}
