//! Moderations, rerank, images, speech and transcriptions: what reaches whom, and what it costs.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    client::{Answer, Caller},
    upstream::Reply,
    world::{World, count, model, token_price},
};

const BOUNDARY: &str = "px-boundary";

/// A model named after its kind, priced like this, on the usual upstream.
async fn world(kind: &str, prices: Value) -> World {
    let world = World::new().await;
    let mut entry = model("test/media", "media");
    entry["kind"] = json!(kind);
    entry["prices"] = prices;
    world.app.admin.create_model(&entry).await;
    world
}

fn form(boundary: &str, fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend_from_slice(format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n").as_bytes());
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

async fn post_form(caller: &Caller, path: &str, headers: &[(&str, &str)], boundary: &str, fields: &[(&str, &[u8])]) -> Answer {
    let request = headers.iter().fold(caller.request(Method::POST, path), |request, (name, value)| request.header(*name, *value));
    let kind = format!("multipart/form-data; boundary={boundary}");
    Answer::of(request.header("content-type", kind).body(form(boundary, fields))).await
}

/// 8 000 bytes a second, one byte a sample.
fn wav(seconds: usize) -> Vec<u8> {
    let mut wav = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\0\0\0\0".to_vec();
    wav.resize(wav.len() + seconds * 8_000, 0x80);
    wav
}

async fn usage(world: &World, answer: &Answer) -> Value {
    world.usage_of(&answer.request_id()).await
}

#[tokio::test]
async fn moderations_cost_what_a_request_costs() {
    let world = world("moderation", json!([token_price("request", 9)])).await;
    let verdict = json!({"id": "modr-1", "model": "media", "results": [{"flagged": false}]});
    for input in [json!("one"), json!(["one", "two"]), json!([{"type": "text", "text": "one"}])] {
        world.upstream.next("media", [Reply::ok(&verdict)]);
        let answer = world.caller.post("/v1/moderations", &json!({"model": "test/media", "input": input})).await;
        assert_eq!(answer.expect(200)["results"], verdict["results"]);
        assert_eq!((answer.cost(), usage(&world, &answer).await["estimated"].clone()), (9, json!(false)));
        assert_eq!(world.upstream.last("media").json()["input"], input);
        assert_eq!(world.upstream.last("media").path, "/v1/moderations");
    }
    assert_eq!(world.spent().await, 27);
    world.finish().await;
}

#[tokio::test]
async fn moderations_priced_by_tokens_are_estimated() {
    let world = world("moderation", json!([token_price("input_token", 2)])).await;
    world.upstream.next("media", [Reply::ok(&json!({"results": []}))]);
    let answer = world.caller.post("/v1/moderations", &json!({"model": "test/media", "input": "one two three"})).await;
    assert_eq!(answer.cost(), 2 * count("one two three"));
    assert_eq!(usage(&world, &answer).await["estimated"], json!(true));
    world.finish().await;
}

#[tokio::test]
async fn failures_and_refusals_cost_nothing() {
    let world = world("image", json!([token_price("image", 100)])).await;
    let body = json!({"model": "test/media", "prompt": "a fox"});
    world.upstream.next("media", [Reply::error(400, "too rude")]);
    world.caller.post("/v1/images/generations", &body).await.refused(400, "invalid_request");
    world.upstream.next("media", [Reply::ok(&json!({"error": {"message": "odd"}})), Reply::error(500, "no"), Reply::error(500, "no")]);
    world.caller.post("/v1/images/generations", &body).await.refused(502, "upstream_error");
    let param = |answer: Answer| answer.refused(400, "invalid_request")["param"].clone();
    assert_eq!(param(world.caller.post("/v1/images/generations", &json!({"model": "test/media"})).await), json!("prompt"));
    assert_eq!(param(world.caller.post("/v1/audio/speech", &json!({"model": "test/media", "input": "a"})).await), json!("model"));
    let many = json!({"model": "test/media", "prompt": "a", "n": 101});
    assert_eq!(param(world.caller.post("/v1/images/generations", &many).await), json!("n"));
    let plain = world.caller.post("/v1/images/edits", &body).await;
    assert!(plain.refused(400, "invalid_request")["message"].as_str().is_some_and(|message| message.contains("multipart/form-data")));
    assert_eq!(world.spent().await, 0);
    world.finish().await;
}

#[tokio::test]
async fn a_hold_covers_every_image() {
    let world = world("image", json!([token_price("image", 400_000)])).await;
    let body = |n: u64| json!({"model": "test/media", "prompt": "a fox", "n": n});
    world.caller.post("/v1/images/generations", &body(3)).await.refused(402, "insufficient_credits");
    world.upstream.next("media", [Reply::ok(&json!({"created": 1, "data": [{"b64_json": "QQ=="}]}))]);
    // Only what was made is paid.
    let answer = world.caller.post("/v1/images/generations", &body(2)).await;
    answer.expect(200);
    assert_eq!((answer.cost(), usage(&world, &answer).await["estimated"].clone()), (400_000, json!(false)));
    world.finish().await;
}

#[tokio::test]
async fn images_cost_the_tokens_that_are_reported() {
    let world =
        world("image", json!([token_price("input_token", 1), token_price("image_input_token", 2), token_price("output_token", 4)])).await;
    let usage = json!({"input_tokens": 30, "input_tokens_details": {"text_tokens": 10, "image_tokens": 20}, "output_tokens": 5, "total_tokens": 35});
    world.upstream.next("media", [Reply::ok(&json!({"created": 1, "data": [{"b64_json": "QQ=="}], "usage": usage}))]);
    let fields: [(&str, &[u8]); 3] = [("image[]", b"\x89PNG\xff"), ("model", b"test/media"), ("prompt", b"a fox")];
    let answer = post_form(&world.caller, "/v1/images/edits", &[], BOUNDARY, &fields).await;
    answer.expect(200);
    assert_eq!(answer.cost(), 10 + 40 + 20);
    let seen = world.upstream.last("media");
    assert_eq!(&seen.body[..], form(BOUNDARY, &[("image[]", b"\x89PNG\xff"), ("model", b"media"), ("prompt", b"a fox")]));
    assert_eq!(seen.header("content-type"), Some("multipart/form-data; boundary=px-boundary"));
    world.finish().await;
}

#[tokio::test]
async fn images_stream_and_the_last_event_says_what_they_cost() {
    let world = world("image", json!([token_price("output_token", 4)])).await;
    let partial = json!({"type": "image_generation.partial_image", "b64_json": "QQ==", "partial_image_index": 0});
    let completed = json!({"type": "image_generation.completed", "b64_json": "QUI=", "usage": {"input_tokens": 1, "output_tokens": 5, "total_tokens": 6}});
    world.upstream.next("media", [Reply::stream().event(&partial).event(&completed).end(), Reply::stream().event(&partial).then_cut()]);
    let body = json!({"model": "test/media", "prompt": "a fox", "stream": true});
    let told = world.caller.stream("/v1/images/generations", &body).await.finish().await;
    assert!(told.error.is_none() && !told.cut);
    assert_eq!((told.chunks.len(), told.cost(), told.chunks[0].clone()), (2, 20, partial));
    let cut = world.caller.stream("/v1/images/generations", &body).await;
    let id = cut.request_id();
    assert!(cut.finish().await.error.is_some());
    assert_eq!(world.usage_of(&id).await["estimated"], json!(true));
    world.finish().await;
}

#[tokio::test]
async fn rerank_passes_and_costs_searches_or_tokens() {
    let world = world("rerank", json!([token_price("search", 50), token_price("input_token", 1)])).await;
    // No vendor's own server does it in this format, others do.
    world.app.admin.patch_upstream("mock", &json!({"options": {"speaks": ["rerank"]}})).await;
    let results = json!([{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]);
    world.upstream.next("media", [Reply::ok(&json!({"model": "media", "results": results, "usage": {"total_tokens": 7}}))]);
    let body = json!({"model": "test/media", "query": "q", "documents": ["a", {"text": "b"}], "top_n": 2});
    let answer = world.caller.post("/v1/rerank", &body).await;
    assert_eq!(answer.expect(200)["results"], results);
    assert_eq!(answer.cost(), 57);
    assert_eq!(world.upstream.last("media").json()["documents"], body["documents"]);
    world.finish().await;
}

#[tokio::test]
async fn speech_is_paid_by_the_character_and_replayed_byte_for_byte() {
    let world = world("audio", json!([token_price("character", 2)])).await;
    let sound = b"\xff\xfb\x90\0not text";
    world.upstream.next("media", [Reply::raw_body(200, &[], "audio/mpeg", sound)]);
    let body = json!({"model": "test/media", "input": "Grüße", "voice": "alloy"});
    for _ in 0..2 {
        let request = world.caller.request(Method::POST, "/v1/audio/speech").header("idempotency-key", "say-1").json(&body);
        let answer = request.send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap()), (200, "audio/mpeg"));
        assert_eq!(&answer.bytes().await.unwrap()[..], sound);
    }
    assert_eq!(world.upstream.count("media"), 1);
    assert_eq!(world.spent().await, 10);
    world.finish().await;
}

#[tokio::test]
async fn speech_streams_with_reported_tokens() {
    let world = world("audio", json!([token_price("input_token", 1), token_price("audio_output_token", 3)])).await;
    let done = json!({"type": "speech.audio.done", "usage": {"input_tokens": 4, "output_tokens": 10, "total_tokens": 14}});
    let delta = json!({"type": "speech.audio.delta", "audio": "QQ=="});
    world.upstream.next("media", [Reply::stream().event(&delta).event(&done).end()]);
    let body = json!({"model": "test/media", "input": "hello", "voice": "alloy", "stream_format": "sse"});
    let told = world.caller.stream("/v1/audio/speech", &body).await.finish().await;
    assert_eq!((told.cost(), told.chunks.len(), told.error), (34, 2, None));
    world.finish().await;
}

#[tokio::test]
async fn transcriptions_are_paid_by_what_is_known_of_their_length() {
    let world = world("audio", json!([token_price("audio_second", 5)])).await;
    let recording = wav(3);
    let transcribe = async |file: &[u8], format: &str, reply: Reply| {
        world.upstream.next("media", [reply]);
        let fields: [(&str, &[u8]); 3] = [("file", file), ("model", b"test/media"), ("response_format", format.as_bytes())];
        let answer = post_form(&world.caller, "/v1/audio/transcriptions", &[], BOUNDARY, &fields).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let row = usage(&world, &answer).await;
        (answer.number("x-pixgate-cost-micros"), row["estimated"] == json!(true), answer)
    };
    let reported = Reply::ok(&json!({"text": "hi", "usage": {"type": "duration", "seconds": 9}}));
    let (cost, estimated, answer) = transcribe(&recording, "json", reported).await;
    assert_eq!((cost, estimated, answer.cost()), (45, false, 45));
    let (cost, estimated, _) = transcribe(b"OggS", "verbose_json", Reply::ok(&json!({"text": "hi", "duration": 1.5}))).await;
    assert_eq!((cost, estimated), (10, false));
    let subtitles = "1\n00:00:00,000 --> 00:00:02,000\nhi\n";
    let (cost, estimated, answer) = transcribe(&recording, "srt", Reply::raw_body(200, &[], "text/plain", subtitles.as_bytes())).await;
    assert_eq!((cost, estimated, answer.text.as_str(), answer.header("content-type")), (15, false, subtitles, Some("text/plain")));
    let (cost, estimated, _) = transcribe(&[0; 16_000], "text", Reply::raw_body(200, &[], "text/plain", b"hi")).await;
    assert_eq!((cost, estimated), (10, true));
    assert_eq!(world.upstream.last("media").path, "/v1/audio/transcriptions");
    world.finish().await;
}

#[tokio::test]
async fn a_form_sent_again_with_another_boundary_is_the_same_call() {
    let world = world("audio", json!([token_price("audio_second", 5)])).await;
    world.upstream.next("media", [Reply::ok(&json!({"text": "hi", "usage": {"type": "tokens", "input_tokens": 9, "output_tokens": 1}}))]);
    let key = [("idempotency-key", "hear-1")];
    let recording = wav(2);
    let call = async |boundary: &str, language: &[u8]| {
        let fields: [(&str, &[u8]); 3] = [("model", b"test/media"), ("file", &recording), ("language", language)];
        post_form(&world.caller, "/v1/audio/translations", &key, boundary, &fields).await
    };
    let first = call("one", b"de").await;
    assert_eq!(first.expect(200), call("two", b"de").await.expect(200));
    call("three", b"fr").await.refused(409, "idempotency_conflict");
    assert_eq!(world.upstream.count("media"), 1);
    // Tokens were reported and have no price here, so the length counts.
    assert_eq!(world.spent().await, 10);
    world.finish().await;
}

#[tokio::test]
async fn broken_forms_are_refused_and_cost_nothing() {
    let world = world("audio", json!([token_price("audio_second", 5)])).await;
    let send = async |kind: &str, body: &[u8]| {
        let request = world.caller.request(Method::POST, "/v1/audio/transcriptions").header("content-type", kind.to_owned());
        Answer::of(request.body(body.to_vec())).await.refused(400, "invalid_request")
    };
    let kind = "multipart/form-data; boundary=b";
    for body in [&b""[..], b"--b", b"--b\r\n\r\n\xff", b"--b--", b"--b\r\ncontent-disposition: form-data; name=model\r\n\r\nm\r\n--b--"] {
        send(kind, body).await;
    }
    send("multipart/form-data", b"--b--").await;
    send("text/plain", b"--b--").await;
    assert_eq!(world.upstream.count("media"), 0);
    assert_eq!(world.spent().await, 0);
    world.finish().await;
}
