//! Gemini's dialect over a real socket, on the caller's side, on the upstream's side and on both.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    client::{Answer, Stream, chat, streamed},
    upstream::{Reply, completion},
    world::{MODEL, UPSTREAM_MODEL, World, price},
};

/// A model whose upstream speaks Gemini.
const GEMINI: &str = "test/gemini";
const GEMINI_UPSTREAM: &str = "gemini-x";
const EMBEDDING: &str = "test/embedding";

/// The usual scene, and beside it an upstream of Gemini's dialect with a chat model and an embedding model.
async fn scene() -> World {
    let world = World::new().await;
    world.app.admin.create_upstream("gem", &world.upstream.host_url(), &json!({"provider": "gemini"})).await;
    for (id, kind, upstream_model) in [(GEMINI, "chat", GEMINI_UPSTREAM), (EMBEDDING, "embedding", "embedding-x")] {
        let mut model = crate::support::world::model(id, upstream_model);
        model["kind"] = json!(kind);
        model["routes"] = json!([{"upstream": "gem", "upstream_model": upstream_model}]);
        world.app.admin.create_model(&model).await;
    }
    world
}

fn greeting() -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]})
}

fn candidate(parts: Value, reason: Option<&str>) -> Value {
    let mut candidate = json!({"content": {"parts": parts, "role": "model"}, "index": 0});
    if let Some(reason) = reason {
        candidate["finishReason"] = json!(reason);
    }
    json!({"candidates": [candidate], "modelVersion": "gemini-x-001", "responseId": "gem-1"})
}

/// As a whole answer, or as the last event of a stream.
fn with_usage(mut answer: Value) -> Value {
    answer["usageMetadata"] = json!({"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15});
    answer
}

fn text_of(answer: &Value) -> String {
    let parts = answer["candidates"][0]["content"]["parts"].as_array().into_iter().flatten();
    parts.filter_map(|part| part["text"].as_str()).collect()
}

/// The `error` object of a refusal in Gemini's shape.
#[track_caller]
fn refused(answer: &Answer, status: u16, name: &str, code: &str) -> Value {
    let error = answer.expect(status)["error"].clone();
    assert_eq!((&error["code"], &error["status"]), (&json!(status), &json!(name)), "{error}");
    assert_eq!(error["details"][0]["metadata"]["code"], json!(code), "{error}");
    assert_eq!(error["details"][0]["metadata"]["request_id"].as_str(), answer.header("x-request-id"), "{error}");
    error
}

async fn events(mut stream: Stream) -> Vec<Value> {
    let mut events = Vec::new();
    while let Some(event) = stream.next().await.expect("the stream goes on") {
        match event {
            crate::support::client::Event::Data(data) => events.push(data),
            crate::support::client::Event::Done => panic!("Gemini's streams have no end mark"),
        }
    }
    events
}

#[tokio::test]
async fn a_gemini_caller_is_answered_by_an_openai_upstream() {
    let world = scene().await;
    for path in ["/v1beta/models/test/chat", "/v1beta/models/test%2Fchat", "/v1/models/test/chat", "/v1beta/test/chat"] {
        let answer = world.caller.post(&format!("{path}:generateContent"), &greeting()).await;
        let body = answer.expect(200);
        assert_eq!(text_of(&body), "Hello there");
        assert_eq!(body["candidates"][0]["finishReason"], "STOP");
        assert_eq!(body["usageMetadata"]["promptTokenCount"], 10);
        assert_eq!(body["usageMetadata"]["costMicros"], json!(price(10, 5)));
        assert_eq!(answer.number("x-pixgate-cost-micros"), price(10, 5));
        let row = world.usage_of(&answer.request_id()).await;
        assert_eq!(row["cost_micros"], json!(price(10, 5)));
    }
    let sent = world.upstream.last(UPSTREAM_MODEL).json();
    assert_eq!(sent["messages"], json!([{"role": "user", "content": "Hi"}]));
    assert_eq!(world.spent().await, 4 * price(10, 5));
    world.finish().await;
}

#[tokio::test]
async fn a_gemini_caller_streams_from_an_openai_upstream() {
    let world = scene().await;
    let path = format!("/v1beta/models/{MODEL}:streamGenerateContent");
    let read = events(world.caller.stream(&format!("{path}?alt=sse"), &greeting()).await).await;
    assert_eq!(read.iter().map(text_of).collect::<String>(), "Hello there");
    let last = read.last().expect("events");
    assert_eq!(last["usageMetadata"]["costMicros"], json!(price(10, 5)));
    assert_eq!(last["candidates"][0]["finishReason"], "STOP");

    let array = world.caller.post(&path, &greeting()).await;
    assert!(array.header("content-type").is_some_and(|kind| kind.starts_with("application/json")));
    let elements = array.expect(200);
    let elements = elements.as_array().expect("an array");
    assert_eq!(elements.iter().map(text_of).collect::<String>(), "Hello there");
    assert_eq!(elements.last().expect("elements")["usageMetadata"]["costMicros"], json!(price(10, 5)));
    world.finish().await;
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_an_error() {
    let world = scene().await;
    let broken = || Reply::stream().role().say("Hel").then_cut();
    world.upstream.next(UPSTREAM_MODEL, [broken(), broken()]);
    let path = format!("/v1beta/models/{MODEL}:streamGenerateContent");
    let read = events(world.caller.stream(&format!("{path}?alt=sse"), &greeting()).await).await;
    assert_eq!(text_of(&read[0]), "Hel");
    assert_eq!(read.last().expect("events")["error"]["status"], "UNAVAILABLE");
    let elements = world.caller.post(&path, &greeting()).await.expect(200);
    assert_eq!(elements[1]["error"]["code"], 502);

    // The same between two sides of one dialect: no reason came.
    let cut = Reply::stream().event(&candidate(json!([{"text": "Hel"}]), None)).end();
    world.upstream.next(GEMINI_UPSTREAM, [cut]);
    let read = events(world.caller.stream(&format!("/v1beta/models/{GEMINI}:streamGenerateContent?alt=sse"), &greeting()).await).await;
    assert_eq!(read.last().expect("events")["error"]["status"], "UNAVAILABLE");
    world.finish().await;
}

#[tokio::test]
async fn between_two_sides_that_speak_gemini_bytes_stay() {
    let world = scene().await;
    let body = r#"{ "contents":[{"parts":[{"text":"Hi","new":{"a":1.50}}]}], "labels":{"a":"b"} }"#;
    let post = |method: &str| {
        let request = world.caller.request(Method::POST, &format!("/v1beta/models/{GEMINI}:{method}"));
        request.header("content-type", "application/json").body(body)
    };
    let mut whole = with_usage(candidate(json!([{"text": "Hello"}]), Some("STOP")));
    whole["newest"] = json!({"a": 1});
    world.upstream.next(GEMINI_UPSTREAM, [Reply::ok(&whole)]);
    let answer = Answer::of(post("generateContent")).await.expect(200);
    let seen = world.upstream.last(GEMINI_UPSTREAM);
    assert_eq!((seen.path.as_str(), &seen.body[..]), ("/v1beta/models/gemini-x:generateContent", body.as_bytes()));
    whole["usageMetadata"]["cost"] = json!(0.000_065);
    whole["usageMetadata"]["costMicros"] = json!(price(10, 5));
    assert_eq!(answer, whole);

    let first = candidate(json!([{"text": "Hel"}]), None);
    let last = with_usage(candidate(json!([{"text": "lo", "thoughtSignature": "c2ln"}]), Some("STOP")));
    world.upstream.next(GEMINI_UPSTREAM, [Reply::stream().event(&first).event(&last).end()]);
    let text = Answer::of(post("streamGenerateContent?alt=sse")).await.text;
    assert_eq!(world.upstream.last(GEMINI_UPSTREAM).path, "/v1beta/models/gemini-x:streamGenerateContent?alt=sse");
    let cost = format!(r#""totalTokenCount":15,"cost":0.000065,"costMicros":{}}}"#, price(10, 5));
    let expected = format!("data: {first}\n\ndata: {last}\n\n").replace(r#""totalTokenCount":15}"#, &cost);
    assert_eq!(text, expected);

    // The upstream is asked for events also when the caller wants an array.
    world.upstream.next(GEMINI_UPSTREAM, [Reply::stream().event(&first).event(&last).end()]);
    let array = Answer::of(post("streamGenerateContent")).await.expect(200);
    assert_eq!(array.as_array().map(Vec::len), Some(2));
    assert!(world.upstream.last(GEMINI_UPSTREAM).path.ends_with("?alt=sse"));
    assert_eq!(world.spent().await, 3 * price(10, 5));
    world.finish().await;
}

#[tokio::test]
async fn an_openai_caller_is_answered_by_a_gemini_upstream() {
    let world = scene().await;
    let call = json!([{"functionCall": {"name": "look_up", "args": {"q": 1}}, "thoughtSignature": "c2ln"}]);
    world.upstream.next(GEMINI_UPSTREAM, [Reply::ok(&with_usage(candidate(call, Some("STOP"))))]);
    let mut body = chat(GEMINI, "Hi");
    body["tools"] = json!([{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]);
    let answer = world.caller.post("/v1/chat/completions", &body).await;
    assert_eq!(answer.cost(), price(10, 5));
    let choice = answer.json()["choices"][0].clone();
    assert_eq!(choice["finish_reason"], "tool_calls");
    let calls = choice["message"]["tool_calls"].clone();
    assert_eq!(calls[0]["extra_content"]["google"]["thought_signature"], "c2ln");
    let sent = world.upstream.last(GEMINI_UPSTREAM).json();
    assert_eq!(sent["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"], json!({"type": "object"}));

    // The next turn brings the signature back.
    body["messages"] = json!([
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": null, "tool_calls": calls},
        {"role": "tool", "tool_call_id": calls[0]["id"], "content": "found"},
    ]);
    world.upstream.next(GEMINI_UPSTREAM, [Reply::ok(&with_usage(candidate(json!([{"text": "Done"}]), Some("STOP"))))]);
    world.caller.post("/v1/chat/completions", &body).await.expect(200);
    let contents = world.upstream.last(GEMINI_UPSTREAM).json()["contents"].clone();
    assert_eq!(contents[1]["parts"][0]["thoughtSignature"], "c2ln");
    let response = &contents[2]["parts"][0]["functionResponse"];
    assert_eq!((&response["name"], &response["response"]), (&json!("look_up"), &json!({"result": "found"})));
    world.finish().await;
}

#[tokio::test]
async fn an_openai_caller_streams_from_a_gemini_upstream() {
    let world = scene().await;
    let event = |parts: Value, reason| candidate(parts, reason);
    let stream = Reply::stream()
        .event(&event(json!([{"text": "Hel"}]), None))
        .event(&event(json!([{"text": "lo"}]), None))
        .event(&event(json!([{"functionCall": {"name": "a"}}]), None))
        .event(&event(json!([{"functionCall": {"name": "b"}}]), None))
        .event(&with_usage(event(json!([{"text": ""}]), Some("STOP"))))
        .end();
    world.upstream.next(GEMINI_UPSTREAM, [stream]);
    let read = world.caller.stream("/v1/chat/completions", &streamed(chat(GEMINI, "Hi"))).await.finish().await.ended_well();
    assert_eq!(read.text(), "Hello");
    assert_eq!(read.cost(), price(10, 5));
    let calls = read.chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"][0].as_object());
    let begun: Vec<(u64, String)> =
        calls.filter_map(|call| Some((call["index"].as_u64()?, call.get("function")?.get("name")?.as_str()?.to_owned()))).collect();
    assert_eq!(begun, [(0, "a".to_owned()), (1, "b".to_owned())]);
    let finish = read.chunks.iter().find_map(|chunk| chunk["choices"][0]["finish_reason"].as_str());
    assert_eq!(finish, Some("tool_calls"));
    world.finish().await;
}

#[tokio::test]
async fn refusals_have_geminis_shape() {
    let world = scene().await;
    let call = format!("/v1beta/models/{MODEL}:generateContent");
    refused(&world.caller.post("/v1beta/models/test/none:generateContent", &greeting()).await, 404, "NOT_FOUND", "model_not_found");
    let error = refused(&world.caller.post(&call, &json!({"contents": 7})).await, 400, "INVALID_ARGUMENT", "invalid_request");
    assert_eq!(error["details"][1]["fieldViolations"][0]["field"], "contents");
    let mut cached = greeting();
    cached["cachedContent"] = json!("cachedContents/1");
    let error = refused(&world.caller.post(&call, &cached).await, 400, "INVALID_ARGUMENT", "invalid_request");
    assert!(error["message"].as_str().is_some_and(|message| message.contains("cachedContent")), "{error}");
    let allowed = world.caller.post_with(&call, &[("x-pixgate-drop-unsupported", "true")], &cached).await;
    allowed.expect(200);
    assert_eq!(allowed.header("x-pixgate-dropped"), Some("cachedContent"));
    for path in
        ["/v1beta/models/test/chat:predict", "/v1/models/test/chat:dream", "/v1beta/models/test/chat", "/v1beta/tunedModels/x:dream"]
    {
        refused(&world.caller.post(path, &greeting()).await, 404, "NOT_FOUND", "not_found");
    }
    refused(&world.caller.post("/v1beta/tunedModels/x:generateContent", &greeting()).await, 404, "NOT_FOUND", "model_not_found");
    refused(&world.caller.with_key("px_live_no").post(&call, &greeting()).await, 401, "UNAUTHENTICATED", "invalid_api_key");
    let (_, poor) = world.another("poor", 0).await;
    let answer = poor.post(&call, &greeting()).await;
    refused(&answer, 402, "RESOURCE_EXHAUSTED", "insufficient_credits");
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    world.finish().await;
}

#[tokio::test]
async fn a_key_may_come_as_googles_clients_send_it() {
    let world = scene().await;
    let call = format!("/v1beta/models/{MODEL}:generateContent");
    let header = world.caller.anonymous(Method::POST, &call).header("x-goog-api-key", &world.caller.key);
    Answer::of(header.json(&greeting())).await.expect(200);
    let query = world.caller.anonymous(Method::POST, &format!("{call}?key={}", world.caller.key));
    Answer::of(query.json(&greeting())).await.expect(200);
    world.finish().await;
}

#[tokio::test]
async fn counting_tokens_is_free() {
    let world = scene().await;
    let count = |model: &str, body: Value| {
        let (caller, path) = (world.caller.clone(), format!("/v1beta/models/{model}:countTokens"));
        async move { caller.post(&path, &body).await }
    };
    let plain = count(MODEL, greeting()).await.expect(200);
    assert!(plain["totalTokens"].as_u64().is_some_and(|tokens| tokens > 0), "{plain}");
    let wrapped = count(GEMINI, json!({"generateContentRequest": greeting()})).await.expect(200);
    assert_eq!(wrapped, plain);
    refused(&count("test/none", greeting()).await, 404, "NOT_FOUND", "model_not_found");
    assert_eq!(world.spent().await, 0);
    assert_eq!(world.upstream.count(UPSTREAM_MODEL), 0);
    world.finish().await;
}

#[tokio::test]
async fn the_built_in_embedding_answers_gemini_callers() {
    let world = scene().await;
    let content =
        |text: &str| json!({"model": "models/pixgate/echo-embedding", "content": {"parts": [{"text": text}]}, "outputDimensionality": 4});
    let path = "/v1beta/models/pixgate/echo-embedding";
    let batch =
        world.caller.post(&format!("{path}:batchEmbedContents"), &json!({"requests": [content("a"), content("b")]})).await.expect(200);
    let values = |value: &Value| value["values"].as_array().map_or(0, Vec::len);
    assert_eq!(batch["embeddings"].as_array().expect("embeddings").iter().map(values).collect::<Vec<_>>(), [4, 4]);
    assert!(batch["usageMetadata"]["costMicros"].as_i64().is_some(), "{batch}");
    let one = world.caller.post(&format!("{path}:embedContent"), &content("a")).await.expect(200);
    assert_eq!(one["embedding"]["values"], batch["embeddings"][0]["values"]);
    refused(&world.caller.post(&format!("{path}:generateContent"), &greeting()).await, 400, "INVALID_ARGUMENT", "invalid_request");
    world.finish().await;
}

#[tokio::test]
async fn an_openai_caller_embeds_with_a_gemini_upstream() {
    let world = scene().await;
    let vectors = json!({"embeddings": [{"values": [1.0]}, {"values": [-0.5]}]});
    world.upstream.always("embedding-x", Reply::ok(&vectors));
    let body = |format: &str| json!({"model": EMBEDDING, "input": ["a", "b"], "encoding_format": format, "dimensions": 1});
    let base64 = world.caller.post("/v1/embeddings", &body("base64")).await.expect(200);
    assert_eq!((&base64["data"][0]["embedding"], &base64["data"][1]["embedding"]), (&json!("AACAPw=="), &json!("AAAAvw==")));
    let floats = world.caller.post("/v1/embeddings", &body("float")).await.expect(200);
    assert_eq!(floats["data"][1], json!({"object": "embedding", "index": 1, "embedding": [-0.5]}));
    // Gemini reports no usage here: our own count is charged.
    assert_eq!(floats["usage"]["cost_micros"], json!(price(2, 0)));
    let seen = world.upstream.last("embedding-x");
    assert_eq!(seen.path, "/v1beta/models/embedding-x:batchEmbedContents");
    assert_eq!(
        seen.json()["requests"][1],
        json!({"model": "models/embedding-x", "content": {"parts": [{"text": "b"}]}, "outputDimensionality": 1})
    );
    world.finish().await;
}

#[tokio::test]
async fn vectors_come_in_the_encoding_that_was_asked_for() {
    let world = scene().await;
    let mut model = crate::support::world::model("test/vectors", "vectors");
    model["kind"] = json!("embedding");
    world.app.admin.create_model(&model).await;
    // A server that does not know base64, as many do.
    let vectors = json!({"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [1.0, -0.5]}], "model": "v", "usage": {"prompt_tokens": 1, "total_tokens": 1}});
    world.upstream.always("vectors", Reply::ok(&vectors));
    let ask = |format: &str| json!({"model": "test/vectors", "input": "a", "encoding_format": format});
    assert_eq!(world.caller.post("/v1/embeddings", &ask("base64")).await.expect(200)["data"][0]["embedding"], "AACAPwAAAL8=");
    assert_eq!(world.caller.post("/v1/embeddings", &ask("float")).await.expect(200)["data"][0]["embedding"], json!([1.0, -0.5]));
    world.finish().await;
}

#[tokio::test]
async fn thoughts_are_shown_to_callers_who_ask() {
    let world = scene().await;
    let mut thoughtful = completion("Hello", Some(crate::support::upstream::usage(10, 5)));
    thoughtful["choices"][0]["message"]["reasoning_content"] = json!("hm");
    world.upstream.always(UPSTREAM_MODEL, Reply::ok(&thoughtful));
    let path = format!("/v1beta/models/{MODEL}:generateContent");
    assert_eq!(text_of(&world.caller.post(&path, &greeting()).await.expect(200)), "Hello");
    let mut asking = greeting();
    asking["generationConfig"] = json!({"thinkingConfig": {"includeThoughts": true}});
    let answer = world.caller.post(&path, &asking).await.expect(200);
    assert_eq!(answer["candidates"][0]["content"]["parts"][0], json!({"text": "hm", "thought": true}));
    world.finish().await;
}
