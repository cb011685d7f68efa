//! `POST /v1/chat/completions` as clients of OpenAI use it.

use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    client::{Answer, Event, chat, streamed},
    upstream::{Gate, Reply, completion, usage},
    world::{MODEL, UPSTREAM_MODEL, World, model, price},
};

const PATH: &str = "/v1/chat/completions";

/// The model id is the same on both sides, so a body needs no change at all.
const SAME: &str = "same-model";

/// Everything a body may carry that is none of our business, with odd spacing, escapes, order and numbers.
const RICH_BODY: &str = r#"{ "model":"same-model" ,
  "messages":[{"role":"system","content":"S\u00e4ge \"ja\""},
    {"role":"user","content":[{"type":"text","text":"What is this? 🦀"},
      {"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgoAAAANSUhEUg==","detail":"low"}}]},
    {"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"look","arguments":"{\"at\": \"crab\"}"}}]},
    {"role":"tool","tool_call_id":"call_1","content":"a crab"}],
  "tools":[{"type":"function","function":{"name":"look","parameters":{"type":"object","properties":{"at":{"type":"string"}}},"strict":true}}],
  "tool_choice":"auto","temperature":0.70,"logit_bias":{"50256":-100},"seed":12345678901234567890, "x_vendor": {"b":1.0e5,"a":[]},
  "response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{}}},"max_tokens":50}"#;

fn post_bytes(world: &World, body: &str) -> reqwest::RequestBuilder {
    world.caller.request(Method::POST, PATH).header("content-type", "application/json").body(body.to_owned())
}

#[tokio::test]
async fn a_plain_answer_has_the_promised_headers_and_its_cost() {
    let world = World::new().await;
    let answer = world.caller.chat(MODEL, "Hi").await;
    let body = answer.expect(200);
    assert_eq!(body["choices"][0]["message"]["content"], json!("Hello there"));
    assert_eq!(body["usage"]["cost_micros"], json!(price(10, 5)));
    assert!(answer.text.contains("\"cost\":0.000065"), "decimal credits, exactly: {}", answer.text);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.request_id().starts_with("req_"));
    assert_eq!(answer.header("request-id"), answer.header("x-request-id"));
    assert_eq!(answer.number("x-pixgate-cost-micros"), price(10, 5));
    assert_eq!(answer.header("x-pixgate-upstream"), Some("mock"));
    assert!((0..5_000_000).contains(&answer.number("x-pixgate-overhead-us")));
    for kind in ["requests", "tokens"] {
        let limit = answer.number(&format!("x-ratelimit-limit-{kind}"));
        assert!((0..=limit).contains(&answer.number(&format!("x-ratelimit-remaining-{kind}"))));
        assert!(answer.header(&format!("x-ratelimit-reset-{kind}")).is_some());
    }
    world.finish().await;
}

#[tokio::test]
async fn a_request_id_is_echoed_if_valid_and_passed_on() {
    let world = World::new().await;
    let valid = world.caller.post_with(PATH, &[("x-request-id", "trace-42.a_B")], &chat(MODEL, "Hi")).await;
    valid.expect(200);
    assert_eq!((valid.header("x-request-id"), valid.header("request-id")), (Some("trace-42.a_B"), Some("trace-42.a_B")));
    assert_eq!(world.upstream.last(UPSTREAM_MODEL).header("x-request-id"), Some("trace-42.a_B"));
    world.usage_of("trace-42.a_B").await;
    let long = "x".repeat(1_000);
    for invalid in ["", "with space", "<script>", long.as_str()] {
        let answer = world.caller.post_with(PATH, &[("x-request-id", invalid)], &chat(MODEL, "Hi")).await;
        answer.expect(200);
        assert!(answer.request_id().starts_with("req_"), "{invalid} is replaced, not echoed");
    }
    // Nobody can make one call look like another: the same id twice is two calls with two charges.
    let again = world.caller.post_with(PATH, &[("x-request-id", "trace-42.a_B")], &chat(MODEL, "Hi")).await;
    again.expect(200);
    assert_eq!(world.spent().await, 6 * price(10, 5));
    world.finish().await;
}

#[tokio::test]
async fn a_key_is_taken_from_every_place_that_the_dialects_use() {
    let world = World::new().await;
    let key = world.caller.key.clone();
    for name in ["x-api-key", "x-goog-api-key", "api-key"] {
        let request = world.caller.anonymous(Method::POST, PATH).header(name, &key).json(&chat(MODEL, "Hi"));
        Answer::of(request).await.expect(200);
    }
    let in_query = world.caller.anonymous(Method::POST, &format!("{PATH}?key={key}")).json(&chat(MODEL, "Hi"));
    Answer::of(in_query).await.expect(200);
    let lower_case = world.caller.anonymous(Method::POST, PATH).header("authorization", format!("bearer {key}")).json(&chat(MODEL, "Hi"));
    Answer::of(lower_case).await.expect(200);
    Answer::of(world.caller.anonymous(Method::POST, PATH).json(&chat(MODEL, "Hi"))).await.refused(401, "invalid_api_key");
    world.finish().await;
}

#[tokio::test]
async fn the_upstream_sees_its_own_secret_and_nothing_of_the_callers() {
    let world = World::new().await;
    let headers = [("x-custom", "private"), ("cookie", "session=private"), ("openai-organization", "org-private")];
    world.caller.post_with(PATH, &headers, &chat(MODEL, "Hi")).await.expect(200);
    let seen = world.upstream.last(UPSTREAM_MODEL);
    assert_eq!(seen.path, "/v1/chat/completions");
    assert_eq!(seen.header("authorization"), Some("Bearer upstream-secret"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    let all = format!("{:?}", seen.headers);
    assert!(!all.contains("private") && !all.contains(&world.caller.key), "{all}");
    world.finish().await;
}

#[tokio::test]
async fn tools_images_and_unknown_fields_reach_the_upstream_byte_for_byte() {
    let world = World::new().await;
    world.app.admin.create_model(&model(SAME, SAME)).await;
    world.app.admin.create_model(&model("other/name", SAME)).await;
    Answer::of(post_bytes(&world, RICH_BODY)).await.expect(200);
    assert_eq!(world.upstream.last(SAME).body, Bytes::from_static(RICH_BODY.as_bytes()));

    let renamed = RICH_BODY.replacen("same-model", "other/name", 1);
    Answer::of(post_bytes(&world, &renamed)).await.expect(200);
    assert_eq!(world.upstream.last(SAME).body, Bytes::from_static(RICH_BODY.as_bytes()), "only the model's name is replaced");
    world.finish().await;
}

#[tokio::test]
async fn an_answers_tool_calls_and_unknown_fields_come_back_untouched() {
    let world = World::new().await;
    let mut said = completion("", Some(usage(10, 5)));
    said["choices"][0]["message"] = json!({
        "role": "assistant", "content": null, "refusal": null,
        "tool_calls": [{"id": "call_9", "type": "function", "function": {"name": "look", "arguments": "{\"at\":\"🦀\"}"}}],
    });
    said["choices"][0]["finish_reason"] = json!("tool_calls");
    said["system_fingerprint"] = json!("fp_1");
    said["x_vendor"] = json!({"deep": [1, 2.50, null]});
    said["usage"]["prompt_tokens_details"] = json!({"cached_tokens": 0, "audio_tokens": 0});
    world.upstream.next(UPSTREAM_MODEL, [Reply::ok(&said)]);
    let mut body = world.caller.chat(MODEL, "Hi").await.expect(200);
    let added: Vec<Value> = ["cost", "cost_micros"].iter().filter_map(|name| body["usage"].as_object_mut()?.remove(*name)).collect();
    assert_eq!(added.len(), 2);
    body["model"] = said["model"].clone();
    assert_eq!(body, said);
    world.finish().await;
}

#[tokio::test]
async fn a_stream_without_include_usage_ends_with_the_cost_in_its_last_chunk() {
    let world = World::new().await;
    world.upstream.next(UPSTREAM_MODEL, [Reply::good_stream("one two three", Some((10, 5)))]);
    let stream = world.caller.chat_stream(MODEL, "Count").await;
    assert!(stream.headers.contains_key("x-pixgate-upstream") && stream.headers.contains_key("x-pixgate-overhead-us"));
    let transcript = stream.finish().await.ended_well();
    assert_eq!(transcript.text(), "one two three");
    assert_eq!(transcript.cost(), price(10, 5));
    assert_eq!(transcript.chunks.last().unwrap()["usage"]["cost_micros"], json!(price(10, 5)), "in the last chunk");
    assert!(transcript.chunks.iter().all(|chunk| chunk["choices"] != json!([])), "no chunk that the client did not ask for");
    assert_eq!(transcript.chunks.last().unwrap()["choices"][0]["finish_reason"], json!("stop"));
    let asked = world.upstream.last(UPSTREAM_MODEL).json();
    assert_eq!(asked["stream_options"]["include_usage"], json!(true), "we ask the upstream ourselves");
    world.finish().await;
}

#[tokio::test]
async fn a_stream_with_include_usage_ends_with_the_usage_chunk() {
    let world = World::new().await;
    world.upstream.always(UPSTREAM_MODEL, Reply::good_stream("one two three", Some((10, 5))));
    let mut body = streamed(chat(MODEL, "Count"));
    body["stream_options"] = json!({"include_usage": true, "x_other": 1});
    let transcript = world.caller.stream(PATH, &body).await.finish().await.ended_well();
    let last = transcript.chunks.last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["prompt_tokens"], json!(10));
    assert_eq!(last["usage"]["cost_micros"], json!(price(10, 5)));
    assert_eq!(world.upstream.last(UPSTREAM_MODEL).json()["stream_options"], body["stream_options"]);

    body["stream_options"] = json!({"include_usage": false});
    let transcript = world.caller.stream(PATH, &body).await.finish().await.ended_well();
    assert_eq!(transcript.cost(), price(10, 5));
    assert!(transcript.chunks.iter().all(|chunk| chunk["choices"] != json!([])));
    world.finish().await;
}

#[tokio::test]
async fn chunks_come_through_as_they_are_made() {
    let world = World::new().await;
    let gates = [Gate::closed(), Gate::closed()];
    let reply = Reply::stream().role().say("one ").wait(&gates[0]).say("two ").wait(&gates[1]).say("three").finish().usage(10, 5).done();
    world.upstream.next(UPSTREAM_MODEL, [reply]);
    let mut stream = world.caller.chat_stream(MODEL, "Count").await;
    stream.until("one ").await;
    gates[0].open();
    stream.until("two ").await;
    gates[1].open();
    stream.until("three").await;
    assert_eq!(stream.finish().await.ended_well().cost(), price(10, 5));
    world.finish().await;
}

#[tokio::test]
async fn events_cut_anywhere_by_the_network_come_out_whole() {
    let world = World::new().await;
    let chunk = json!({"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Größe 🦀 日本"}}]});
    let mut whole = format!(": a comment\n\ndata: {chunk}\n\ndata:{chunk}\r\n\r\n").into_bytes();
    let finish = json!({"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    whole.extend_from_slice(format!("event: message\ndata: {finish}\n\n").as_bytes());
    // Byte by byte, each in a transfer chunk of its own.
    let reply = whole.iter().fold(Reply::stream(), |reply, byte| reply.raw(&[*byte]));
    world.upstream.next(UPSTREAM_MODEL, [reply.usage(10, 5).done()]);
    let transcript = world.caller.chat_stream(MODEL, "Hi").await.finish().await.ended_well();
    assert_eq!(transcript.text(), "Größe 🦀 日本Größe 🦀 日本");
    assert_eq!(transcript.cost(), price(10, 5));
    world.finish().await;
}

#[tokio::test]
async fn a_stream_without_done_ends_well_if_it_said_why_it_finished() {
    let world = World::new().await;
    let reply = Reply::stream().role().say("one ").finish().usage(10, 5).end();
    world.upstream.next(UPSTREAM_MODEL, [reply]);
    let transcript = world.caller.chat_stream(MODEL, "Count").await.finish().await.ended_well();
    assert_eq!((transcript.text().as_str(), transcript.cost()), ("one ", price(10, 5)));
    world.finish().await;
}

#[tokio::test]
async fn streamed_tool_calls_pass() {
    let world = World::new().await;
    let delta = |delta: Value| json!({"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]});
    let call =
        delta(json!({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": ""}}]}));
    let arguments = delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"at\":1}"}}]}));
    let reply = Reply::stream().role().event(&call).event(&arguments).finish().usage(10, 5).done();
    world.upstream.next(UPSTREAM_MODEL, [reply]);
    let mut stream = world.caller.chat_stream(MODEL, "Hi").await;
    let mut events = Vec::new();
    while let Some(event) = stream.next().await.unwrap() {
        events.push(event);
    }
    assert!(events.contains(&Event::Data(call)) && events.contains(&Event::Data(arguments)), "{events:?}");
    assert_eq!(events.last(), Some(&Event::Done));
    world.finish().await;
}

#[tokio::test]
async fn an_unforeseen_method_or_path_is_answered_in_the_error_shape() {
    let world = World::new().await;
    let wrong_method = world.caller.get(PATH).await;
    assert_eq!((wrong_method.status, wrong_method.header("allow")), (405, Some("POST")));
    crate::support::client::error_of(&wrong_method.json());
    let wrong_path = world.caller.post("/v1/nothing-here", &json!({})).await;
    assert_eq!(wrong_path.status, 404);
    crate::support::client::error_of(&wrong_path.json());
    world.finish().await;
}
