//! `POST /v1/messages` as clients of Anthropic use it, over upstreams of its own format and of OpenAI's.

use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    client::{Answer, Caller, streamed},
    upstream::{Gate, Reply, completion, usage},
    world::{MODEL, UPSTREAM_MODEL, World, flat_model, model, price},
};

const PATH: &str = "/v1/messages";
const COUNT: &str = "/v1/messages/count_tokens";

/// A model whose upstream speaks Anthropic's format, and what that upstream calls it.
const CLAUDE: &str = "anthropic/claude";
const UPSTREAM_CLAUDE: &str = "claude-up";

fn message(model: &str, text: &str) -> Value {
    json!({"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": text}]})
}

/// The usual scene, and an upstream that speaks Anthropic's format.
async fn world() -> World {
    let world = World::new().await;
    let base_url = world.upstream.base_url().trim_end_matches("/v1").to_owned();
    world.app.admin.create_upstream("claude", &base_url, &json!({"provider": "anthropic"})).await;
    let mut claude = model(CLAUDE, UPSTREAM_CLAUDE);
    claude["routes"] = json!([{"upstream": "claude", "upstream_model": UPSTREAM_CLAUDE}]);
    world.app.admin.create_model(&claude).await;
    world
}

/// As the older SDKs authenticate.
async fn post(caller: &Caller, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let request = caller.anonymous(Method::POST, path).header("x-api-key", &caller.key).header("anthropic-version", "2023-06-01");
    Answer::of(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).json(body)).await
}

/// The error of a refusal in Anthropic's shape.
#[track_caller]
fn refused(answer: &Answer, status: u16, kind: &str) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text);
    let body = answer.json();
    assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!(kind)), "{body}");
    assert!(body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    assert_eq!(body["request_id"].as_str(), answer.header("request-id"));
    body["error"].clone()
}

/// Events of a stream, each of which has to carry its name.
#[track_caller]
fn events(text: &str) -> Vec<Value> {
    let read = |event: &str| {
        let (name, data) = event.split_once("\ndata: ").unwrap_or_else(|| panic!("a name and data in {event}"));
        let data: Value = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error} in {data}"));
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str(), "{event}");
        data
    };
    text.split("\n\n").filter(|event| !event.is_empty()).map(read).collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

fn text_of(events: &[Value]) -> String {
    events.iter().filter_map(|event| event["delta"]["text"].as_str()).collect()
}

/// An answer as Anthropic gives it.
fn said(text: &str) -> Value {
    json!({
        "id": "msg_up", "type": "message", "role": "assistant", "model": UPSTREAM_CLAUDE, "x_new": [1, 2.50],
        "content": [{"type": "text", "text": text, "citations": null}], "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {"input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 5},
    })
}

fn event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap())
}

/// A stream as Anthropic gives it, up to the end of its only block.
fn stream_of(words: &[&str]) -> Vec<String> {
    let mut events = vec![
        json!({"type": "message_start", "message": {"id": "msg_up", "type": "message", "role": "assistant", "content": [], "model": UPSTREAM_CLAUDE,
            "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 10, "output_tokens": 1}}}),
        json!({"type": "ping"}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
    ];
    events
        .extend(words.iter().map(|word| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}})));
    events.push(json!({"type": "content_block_stop", "index": 0}));
    events.iter().map(event).collect()
}

fn stream_end() -> [String; 2] {
    let delta =
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": 5}});
    [event(&delta), event(&json!({"type": "message_stop"}))]
}

#[tokio::test]
async fn an_openai_model_answers_in_anthropics_shape() {
    let world = world().await;
    let mut body = message(MODEL, "Hi");
    body["system"] = json!("Be brief.");
    body["stop_sequences"] = json!(["END"]);
    let answer = post(&world.caller, PATH, &[], &body).await;
    let said = answer.expect(200);
    assert_eq!((&said["type"], &said["role"], &said["model"]), (&json!("message"), &json!("assistant"), &json!(MODEL)));
    assert_eq!(said["content"], json!([{"type": "text", "text": "Hello there", "citations": []}]));
    assert_eq!((&said["stop_reason"], &said["stop_sequence"]), (&json!("end_turn"), &Value::Null));
    assert_eq!((&said["usage"]["input_tokens"], &said["usage"]["output_tokens"]), (&json!(10), &json!(5)));
    assert_eq!(answer.cost(), price(10, 5));
    assert!(answer.text.contains("\"cost\":0.000065"), "{}", answer.text);

    assert_eq!(answer.header("request-id"), answer.header("x-request-id"));
    assert_eq!(answer.number("x-pixgate-cost-micros"), price(10, 5));
    for kind in ["requests", "tokens"] {
        assert_eq!(answer.number(&format!("anthropic-ratelimit-{kind}-limit")), answer.number(&format!("x-ratelimit-limit-{kind}")));
        assert!(answer.number(&format!("anthropic-ratelimit-{kind}-remaining")) >= 0);
        let reset = answer.header(&format!("anthropic-ratelimit-{kind}-reset")).expect("a moment");
        assert!(reset.len() == 20 && reset.ends_with('Z'), "{reset}");
    }

    let seen = world.upstream.last(UPSTREAM_MODEL);
    let asked = seen.json();
    assert_eq!((seen.path.as_str(), &asked["model"]), ("/v1/chat/completions", &json!(UPSTREAM_MODEL)));
    assert_eq!(asked["messages"].as_array().map(Vec::len), Some(2), "{asked}");
    assert!(seen.header("anthropic-version").is_none() && seen.header("x-api-key").is_none());
    world.usage_of(&answer.request_id()).await;
    world.finish().await;
}

#[tokio::test]
async fn an_openai_stream_becomes_anthropics_events() {
    let world = world().await;
    world.upstream.next(UPSTREAM_MODEL, [Reply::good_stream("one two three", Some((10, 5)))]);
    let answer = post(&world.caller, PATH, &[], &streamed(message(MODEL, "Count"))).await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let events = events(&answer.text);
    let kinds = kinds(&events);
    assert_eq!(
        (kinds[..2].to_vec(), kinds[kinds.len() - 3..].to_vec()),
        (vec!["message_start", "content_block_start"], vec!["content_block_stop", "message_delta", "message_stop"])
    );
    assert_eq!(text_of(&events), "one two three");
    let last = &events[events.len() - 2];
    assert_eq!((&last["delta"]["stop_reason"], &last["usage"]["cost_micros"]), (&json!("end_turn"), &json!(price(10, 5))));
    assert_eq!((&last["usage"]["input_tokens"], &last["usage"]["output_tokens"]), (&json!(10), &json!(5)));
    assert_eq!(world.spent().await, price(10, 5));
    let record = world.usage_of(&answer.request_id()).await;
    assert_eq!(record["endpoint"], json!(PATH));
    world.finish().await;
}

#[tokio::test]
async fn tools_go_to_an_openai_model_and_come_back() {
    let world = world().await;
    let mut called = completion("", Some(usage(10, 5)));
    called["choices"][0]["message"] = json!({"role": "assistant", "content": null,
        "tool_calls": [{"id": "call_9", "type": "function", "function": {"name": "look", "arguments": "{\"at\":\"🦀\"}"}}]});
    called["choices"][0]["finish_reason"] = json!("tool_calls");
    world.upstream.next(UPSTREAM_MODEL, [Reply::ok(&called)]);
    let mut body = message(MODEL, "Look");
    body["tools"] = json!([{"name": "look", "description": "Looks", "input_schema": {"type": "object"}}]);
    body["tool_choice"] = json!({"type": "any"});
    let said = post(&world.caller, PATH, &[], &body).await.expect(200);
    let call = json!({"type": "tool_use", "id": "call_9", "name": "look", "input": {"at": "🦀"}, "caller": {"type": "direct"}});
    assert_eq!((&said["content"], &said["stop_reason"]), (&json!([call]), &json!("tool_use")));
    assert_eq!(world.upstream.last(UPSTREAM_MODEL).json()["tool_choice"], json!("required"));

    body["messages"].as_array_mut().unwrap().extend([
        json!({"role": "assistant", "content": said["content"]}),
        json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_9", "content": "a crab"}]}),
    ]);
    post(&world.caller, PATH, &[], &body).await.expect(200);
    let asked = world.upstream.last(UPSTREAM_MODEL).json();
    assert_eq!(asked["messages"][1]["tool_calls"][0]["id"], json!("call_9"));
    assert_eq!((&asked["messages"][2]["role"], &asked["messages"][2]["tool_call_id"]), (&json!("tool"), &json!("call_9")));
    world.finish().await;
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_an_error_event() {
    let world = world().await;
    let openai = Reply::stream().role().say("one ").then_cut();
    world.upstream.next(UPSTREAM_MODEL, [openai]);
    let claude = stream_of(&["one ", "two"])[..4].iter().fold(Reply::stream(), |reply, event| reply.raw(event.as_bytes())).then_cut();
    world.upstream.next(UPSTREAM_CLAUDE, [claude]);
    for model in [MODEL, CLAUDE] {
        let answer = post(&world.caller, PATH, &[], &streamed(message(model, "Count"))).await;
        let events = events(&answer.text);
        assert_eq!(text_of(&events), "one ", "{model}");
        let last = events.last().unwrap();
        assert_eq!((&last["type"], &last["error"]["type"]), (&json!("error"), &json!("api_error")), "{model}");
        assert!(!kinds(&events).contains(&"message_stop"), "{model}");
    }
    world.finish().await;
}

#[tokio::test]
async fn refusals_have_anthropics_shape() {
    let world = world().await;
    let (_, poor) = world.another("poor", 0).await;
    let hi = message(CLAUDE, "Hi");
    let unpaid = post(&poor, PATH, &[], &hi).await;
    assert_eq!(refused(&unpaid, 402, "billing_error")["code"], json!("insufficient_credits"));
    assert_eq!(unpaid.header("x-should-retry"), Some("false"));
    refused(&post(&world.caller.with_key("wrong"), PATH, &[], &hi).await, 401, "authentication_error");
    refused(&post(&world.caller, PATH, &[], &message("no/such", "Hi")).await, 404, "not_found_error");
    refused(&post(&world.caller, "/v1/messages/batches", &[], &hi).await, 404, "not_found_error");
    refused(&world.caller.get(PATH).await, 405, "invalid_request_error");
    let mut limitless = hi.clone();
    limitless.as_object_mut().unwrap().remove("max_tokens");
    assert_eq!(refused(&post(&world.caller, PATH, &[], &limitless).await, 400, "invalid_request_error")["param"], json!("max_tokens"));
    let narrow = world.app.admin.caller_of(&world.account, &json!({"models": ["pixgate/*"]})).await;
    refused(&post(&narrow, PATH, &[], &hi).await, 403, "permission_error");

    let busy = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    world.upstream.next(UPSTREAM_CLAUDE, (0..8).map(|_| Reply::http(529, &[], &busy)));
    let failed = post(&world.caller, PATH, &[], &hi).await;
    assert!((500..600).contains(&failed.status) && failed.json()["type"] == json!("error"), "{}", failed.text);
    assert_eq!(world.spent().await, 0);
    world.finish().await;
}

#[tokio::test]
async fn versions_have_their_own_rules() {
    let world = world().await;
    let ask = |version: &'static str, body: Value| {
        let caller = &world.caller;
        // As the newer SDKs authenticate.
        async move { caller.post_with(PATH, &[("anthropic-version", version)], &body).await }
    };
    let mut warm = message(MODEL, "Hi");
    warm["temperature"] = json!(1.0);
    ask("2023-06-01", warm.clone()).await.expect(200);
    assert_eq!(world.upstream.last(UPSTREAM_MODEL).json()["temperature"], json!(1.0));
    let error = refused(&ask("2026-10-21", warm).await, 400, "invalid_request_error");
    assert_eq!(error["param"], json!("temperature"));
    ask("2026-10-21", message(MODEL, "Hi")).await.expect(200);
    let malformed = refused(&ask("newest", message(MODEL, "Hi")).await, 400, "invalid_request_error");
    assert_eq!(malformed["param"], json!("anthropic-version"));
    world.finish().await;
}

#[tokio::test]
async fn tokens_are_counted_for_free() {
    let world = world().await;
    let body = json!({"model": MODEL, "messages": [{"role": "user", "content": "hello world"}], "x_new": {"a": 1}});
    let counted = post(&world.caller, COUNT, &[], &body).await.expect(200);
    let tokens = counted["input_tokens"].as_u64().expect("a count");
    assert!((2..20).contains(&tokens), "{counted}");
    let mut long = body.clone();
    long["messages"][0]["content"] = json!("hello world ".repeat(20_000));
    let counted = post(&world.caller, COUNT, &[], &long).await.expect(200);
    assert!(counted["input_tokens"].as_u64().is_some_and(|tokens| tokens > 40_000), "{counted}");

    refused(&Answer::of(world.caller.anonymous(Method::POST, COUNT).json(&body)).await, 401, "authentication_error");
    let mut unknown = body.clone();
    unknown["model"] = json!("no/such");
    refused(&post(&world.caller, COUNT, &[], &unknown).await, 404, "not_found_error");
    let narrow = world.app.admin.caller_of(&world.account, &json!({"models": ["pixgate/*"]})).await;
    refused(&post(&narrow, COUNT, &[], &body).await, 403, "permission_error");
    let (_, poor) = world.another("poor", 0).await;
    post(&poor, COUNT, &[], &body).await.expect(200);
    assert_eq!((world.spent().await, world.upstream.count(UPSTREAM_MODEL)), (0, 0));
    world.finish().await;
}

#[tokio::test]
async fn what_cannot_be_carried_is_refused_or_dropped_by_name() {
    let world = world().await;
    let mut body = message(MODEL, "Hi");
    body["container"] = json!("container_1");
    body["speed"] = json!("fast");
    let error = refused(&post(&world.caller, PATH, &[], &body).await, 400, "invalid_request_error");
    assert_eq!(error["param"], json!("container"));
    let answer = post(&world.caller, PATH, &[("x-pixgate-drop-unsupported", "true")], &body).await;
    answer.expect(200);
    let dropped = answer.header("x-pixgate-dropped").expect("names");
    assert!(dropped.contains("container") && dropped.contains("speed"), "{dropped}");
    world.finish().await;
}

#[tokio::test]
async fn a_call_reaches_claude_byte_for_byte_and_its_answer_comes_back_so() {
    let world = world().await;
    world.app.admin.create_upstream("same", world.upstream.base_url().trim_end_matches("/v1"), &json!({"provider": "anthropic"})).await;
    let mut same = flat_model("same-model", "same-model", 7);
    same["routes"] = json!([{"upstream": "same", "upstream_model": "same-model"}]);
    world.app.admin.create_model(&same).await;
    let body = r#"{ "model":"same-model" ,"max_tokens": 50,"x_more":"c","x_vendor":{"b":1.0e5},"temperature":0.70,
        "messages":[{"role":"user","content":[{"type":"text","text":"S\u00e4ge","cache_control":{"type":"ephemeral"}}]},
            {"role":"assistant","content":[{"type":"thinking","thinking":"","signature":"c2ln"},{"type":"later","x":1}]}]}"#;
    let given = said("Hi there");
    world.upstream.always("same-model", Reply::ok(&given));
    let request = world.caller.request(Method::POST, PATH).header("anthropic-version", "2023-01-01").header("anthropic-beta", "a-1,b-2");
    let answer = Answer::of(request.header("content-type", "application/json").body(body)).await;
    let seen = world.upstream.last("same-model");
    assert_eq!((seen.path.as_str(), &seen.body), ("/v1/messages", &Bytes::from_static(body.as_bytes())));
    assert_eq!(seen.header("x-api-key"), Some("upstream-secret"));
    assert_eq!((seen.header("anthropic-version"), seen.header("anthropic-beta")), (Some("2023-01-01"), Some("a-1,b-2")));
    let mut back = answer.expect(200);
    assert_eq!(answer.cost(), 7);
    let usage = back["usage"].as_object_mut().unwrap();
    assert!(usage.remove("cost").is_some() && usage.remove("cost_micros").is_some());
    assert_eq!(back, given);
    assert!(answer.text.contains("[1,2.5]") || answer.text.contains("[1,2.50]"), "{}", answer.text);
    world.finish().await;
}

#[tokio::test]
async fn claudes_stream_passes_as_it_is_made_and_ends_with_its_cost() {
    let world = world().await;
    let gate = Gate::closed();
    let (parts, end) = (stream_of(&["one ", "two"]), stream_end());
    let begun = parts[..4].iter().fold(Reply::stream(), |reply, event| reply.raw(event.as_bytes())).wait(&gate);
    let reply = parts[4..].iter().chain(&end).fold(begun, |reply, event| reply.raw(event.as_bytes())).end();
    world.upstream.next(UPSTREAM_CLAUDE, [reply]);
    let mut stream = world.caller.stream(PATH, &streamed(message(CLAUDE, "Count"))).await;
    let mut seen = Vec::new();
    while let Some(crate::support::client::Event::Data(data)) = stream.next().await.unwrap() {
        if data["delta"]["text"] == json!("one ") {
            gate.open();
        }
        seen.push(data);
    }
    assert_eq!(text_of(&seen), "one two");
    assert_eq!(kinds(&seen)[..3], ["message_start", "ping", "content_block_start"]);
    assert_eq!(kinds(&seen)[seen.len() - 2..], ["message_delta", "message_stop"]);
    assert_eq!(seen[seen.len() - 2]["usage"], json!({"output_tokens": 5, "cost": 0.000_065, "cost_micros": price(10, 5)}));
    assert_eq!(world.spent().await, price(10, 5));
    world.finish().await;
}

#[tokio::test]
async fn an_openai_client_talks_to_claude() {
    let world = world().await;
    let call = json!({"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}});
    let mut called = said("Looking");
    called["content"].as_array_mut().unwrap().push(call);
    called["stop_reason"] = json!("tool_use");
    called["usage"]["cache_read_input_tokens"] = json!(3);
    world.upstream.next(UPSTREAM_CLAUDE, [Reply::ok(&called)]);
    let mut body = json!({"model": CLAUDE, "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Look"}],
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}], "temperature": 0.5});
    let answer = world.caller.post("/v1/chat/completions", &body).await.expect(200);
    let choice = &answer["choices"][0];
    assert_eq!((&choice["message"]["content"], &choice["finish_reason"]), (&json!("Looking"), &json!("tool_calls")));
    assert_eq!(choice["message"]["tool_calls"][0]["function"], json!({"name": "look", "arguments": "{}"}));
    assert_eq!((&answer["usage"]["prompt_tokens"], &answer["usage"]["completion_tokens"]), (&json!(13), &json!(5)), "cached ones included");
    let seen = world.upstream.last(UPSTREAM_CLAUDE);
    assert_eq!((seen.path.as_str(), seen.header("anthropic-version")), ("/v1/messages", Some("2023-06-01")));
    let asked = seen.json();
    assert_eq!((&asked["max_tokens"], &asked["temperature"]), (&json!(100), &json!(0.5)), "the model's own limit");
    assert_eq!(asked["system"], json!([{"type": "text", "text": "Be brief."}]));
    assert_eq!(asked["tools"], json!([{"name": "look", "input_schema": {"type": "object"}}]));

    let events = stream_of(&["one ", "two"]).into_iter().chain(stream_end());
    world.upstream.next(UPSTREAM_CLAUDE, [events.fold(Reply::stream(), |reply, event| reply.raw(event.as_bytes())).end()]);
    body["messages"]
        .as_array_mut()
        .unwrap()
        .extend([choice["message"].clone(), json!({"role": "tool", "tool_call_id": "toolu_1", "content": "x"})]);
    let transcript = world.caller.stream("/v1/chat/completions", &streamed(body)).await.finish().await.ended_well();
    assert_eq!((transcript.text().as_str(), transcript.cost()), ("one two", price(10, 5)));
    let asked = world.upstream.last(UPSTREAM_CLAUDE).json();
    assert_eq!(asked["messages"][2]["content"][0]["tool_use_id"], json!("toolu_1"));
    world.finish().await;
}

#[tokio::test]
async fn the_built_in_echo_speaks_it_too() {
    let world = world().await;
    let mut body = message("pixgate/echo", "say this back");
    let said = post(&world.caller, PATH, &[], &body).await.expect(200);
    assert_eq!(said["content"][0]["text"], json!("say this back"));
    body["metadata"] = json!({"user_id": "u", "fail": "midstream"});
    let answer = post(&world.caller, PATH, &[], &streamed(body)).await;
    let events = events(&answer.text);
    assert_eq!(events.last().unwrap()["type"], json!("error"), "{}", answer.text);
    world.finish().await;
}

#[tokio::test]
async fn a_repeated_stream_is_replayed() {
    let world = world().await;
    let body = streamed(message(MODEL, "Hi"));
    let key = [("idempotency-key", "k1")];
    let first = post(&world.caller, PATH, &key, &body).await;
    assert_eq!(kinds(&events(&first.text)).last(), Some(&"message_stop"));
    let again = post(&world.caller, PATH, &key, &body).await;
    assert_eq!((again.text, world.upstream.count(UPSTREAM_MODEL)), (first.text, 1));
    world.finish().await;
}
