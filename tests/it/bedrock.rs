//! An upstream that speaks Bedrock's Converse: signed calls, binary event streams, tools, and exceptions in the middle of an answer.

use aws_lc_rs::{digest, hmac};
use serde_json::{Value, json};

use crate::support::{
    client::{chat, streamed},
    dialects::{Asked, Spoken, amazon_event, amazon_exception},
    upstream::{Reply, Seen},
    world::{World, count, model, price},
};

const PATH: &str = "/v1/chat/completions";
const MODEL: &str = "test/bedrock";
const UPSTREAM_MODEL: &str = "anthropic.claude-x";
const SECRET: &str = "upstream-secret";

async fn world() -> World {
    let world = World::new().await;
    let fields = Spoken::Converse.upstream(&world.upstream.base_url(), &world.upstream.host_url());
    world.app.admin.create_upstream("aws", "", &fields).await;
    let mut entry = model(MODEL, UPSTREAM_MODEL);
    entry["routes"] = json!([{"upstream": "aws", "upstream_model": UPSTREAM_MODEL}]);
    world.app.admin.create_model(&entry).await;
    world
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// What `authorization` has to be, worked out anew from the request as it came in, by the rules of Signature Version 4.
fn expected_authorization(seen: &Seen, signed: &str) -> String {
    let date = seen.header("x-amz-date").expect("a date");
    let headers: String = signed.split(';').map(|name| format!("{name}:{}\n", seen.header(name).expect("a signed header"))).collect();
    let canonical = format!("POST\n{}\n\n{headers}\n{signed}\n{}", seen.path, sha256(&seen.body));
    let scope = format!("{}/eu-west-1/bedrock/aws4_request", &date[..8]);
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let mac = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec();
    let key = scope.split('/').fold(format!("AWS4{SECRET}").into_bytes(), |key, part| mac(&key, part));
    format!("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, SignedHeaders={signed}, Signature={}", hex(&mac(&key, &to_sign)))
}

#[tokio::test]
async fn calls_are_signed_and_the_secret_stays_here() {
    let world = world().await;
    world.upstream.next(UPSTREAM_MODEL, [Spoken::Converse.whole("Hello there", Some((10, 5)))]);
    let answer = world.caller.chat(MODEL, "Hi").await;
    let body = answer.expect(200);
    assert_eq!((&body["choices"][0]["message"]["content"], answer.cost()), (&json!("Hello there"), price(10, 5)));
    let seen = world.upstream.last(UPSTREAM_MODEL);
    assert_eq!(seen.path, format!("/model/{UPSTREAM_MODEL}/converse"));
    assert_eq!(seen.json()["messages"], json!([{"role": "user", "content": [{"text": "Hi"}]}]));
    let authorization = seen.header("authorization").expect("a signature");
    let signed = authorization.split("SignedHeaders=").nth(1).and_then(|rest| rest.split(',').next()).expect("signed headers");
    for name in ["host", "x-amz-date", "content-type"] {
        assert!(signed.split(';').any(|other| other == name), "{name} is signed: {signed}");
    }
    assert_eq!(authorization, expected_authorization(&seen, signed));
    assert!(seen.headers.iter().all(|(_, value)| !value.contains(SECRET)), "{:?}", seen.headers);

    // A temporary key brings its token; a key of Bedrock's own is no signature.
    let admin = &world.app.admin;
    admin.patch_upstream("aws", &json!({"api_key": format!("AKIDEXAMPLE:{SECRET}:temporary")})).await;
    world.upstream.always(UPSTREAM_MODEL, Spoken::Converse.whole("Hello", Some((1, 1))));
    world.caller.chat(MODEL, "Hi").await.expect(200);
    assert_eq!(world.upstream.last(UPSTREAM_MODEL).header("x-amz-security-token"), Some("temporary"));
    admin.patch_upstream("aws", &json!({"api_key": "bedrock-api-key-abc"})).await;
    world.caller.chat(MODEL, "Hi").await.expect(200);
    assert_eq!(world.upstream.last(UPSTREAM_MODEL).header("authorization"), Some("Bearer bedrock-api-key-abc"));
    world.finish().await;
}

#[tokio::test]
async fn a_tool_is_called_in_a_binary_stream_whatever_its_pieces() {
    let world = world().await;
    let start = json!({"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "tooluse_1", "name": "weather"}}});
    let piece = |input: &str| amazon_event("contentBlockDelta", &json!({"contentBlockIndex": 0, "delta": {"toolUse": {"input": input}}}));
    let metadata = json!({"usage": {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}, "metrics": {"latencyMs": 1}});
    let events = [
        amazon_event("messageStart", &json!({"role": "assistant"})),
        amazon_event("contentBlockStart", &start),
        piece("{\"city\":"),
        piece("\"Paris\"}"),
        amazon_event("contentBlockStop", &json!({"contentBlockIndex": 0})),
        amazon_event("messageStop", &json!({"stopReason": "tool_use"})),
        amazon_event("metadata", &metadata),
    ]
    .concat();
    for bytes_per_write in [7, 64, events.len()] {
        let head = Reply::stream_of("application/vnd.amazon.eventstream");
        world.upstream.next(UPSTREAM_MODEL, [events.chunks(bytes_per_write).fold(head, Reply::raw).end()]);
        let mut body = streamed(chat(MODEL, "Weather?"));
        body["tools"] = json!([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]);
        let transcript = world.caller.stream(PATH, &body).await.finish().await.ended_well();
        let calls = || transcript.chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0]).filter(|call| !call.is_null());
        let arguments: String = calls().filter_map(|call| call["function"]["arguments"].as_str()).collect();
        assert_eq!(arguments, r#"{"city":"Paris"}"#);
        assert!(calls().any(|call| call["id"] == "tooluse_1" && call["function"]["name"] == "weather"), "{:?}", transcript.chunks);
        assert!(transcript.chunks.iter().any(|chunk| chunk["choices"][0]["finish_reason"] == "tool_calls"));
        assert_eq!(transcript.cost(), price(10, 5));
    }
    let seen = world.upstream.last(UPSTREAM_MODEL);
    assert_eq!(seen.path, format!("/model/{UPSTREAM_MODEL}/converse-stream"));
    assert_eq!(seen.header("accept"), Some("application/vnd.amazon.eventstream"));
    let tool = &seen.json()["toolConfig"]["tools"][0]["toolSpec"];
    assert_eq!((&tool["name"], &tool["inputSchema"]["json"]["type"]), (&json!("weather"), &json!("object")));

    // The result goes back as a block of the user.
    let call = json!({"id": "tooluse_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Paris\"}"}});
    let mut body = chat(MODEL, "Weather?");
    body["tools"] = json!([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]);
    body["messages"] = json!([body["messages"][0], {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "tooluse_1", "content": "sun"}]);
    world.upstream.next(UPSTREAM_MODEL, [Spoken::Converse.whole("Sunny", Some((10, 5)))]);
    world.caller.post(PATH, &body).await.expect(200);
    let messages = world.upstream.last(UPSTREAM_MODEL).json()["messages"].clone();
    let used = json!({"toolUse": {"toolUseId": "tooluse_1", "name": "weather", "input": {"city": "Paris"}}});
    assert_eq!(messages[1]["content"], json!([used]));
    assert_eq!(messages[2]["content"][0]["toolResult"]["toolUseId"], json!("tooluse_1"));
    world.finish().await;
}

#[tokio::test]
async fn an_exception_or_damage_in_a_stream_is_an_error_and_what_came_before_is_charged() {
    let world = world().await;
    let spoken = Spoken::Converse;
    let said = || spoken.say(spoken.say(spoken.opening(), "one "), "two ");
    let mut damaged = amazon_event("contentBlockDelta", &json!({"contentBlockIndex": 0, "delta": {"text": "three "}})).to_vec();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let half = &amazon_event("messageStop", &json!({"stopReason": "end_turn"}))[..20];
    let replies = [
        said().raw(&amazon_exception("throttlingException", "too many tokens")).end(),
        said().raw(&amazon_exception("internalServerException", "no GPU left")).end(),
        said().raw(&damaged).end(),
        said().raw(half).end(),
    ];
    world.upstream.next(UPSTREAM_MODEL, replies);
    for number in 0..4 {
        let stream = world.caller.chat_stream(MODEL, "Count").await;
        let request_id = stream.request_id();
        let transcript = stream.finish().await;
        assert_eq!(transcript.text(), "one two ", "{number}");
        assert!(!transcript.done && !transcript.cut, "{number}: {transcript:?}");
        let error = transcript.error.expect("an error event");
        assert_eq!(error["code"], json!("upstream_error"), "{number}: {error}");
        let row = world.usage_of(&request_id).await;
        assert_eq!((&row["outcome"], &row["estimated"]), (&json!("upstream_interrupted"), &json!(true)), "{row}");
        let cost = price(row["input_tokens"].as_i64().expect("a count"), count("one two "));
        assert_eq!(row["cost_micros"], json!(cost), "{row}");
    }
    world.finish().await;
}

#[tokio::test]
async fn refusals_of_bedrock_keep_their_meaning() {
    let world = World::with(|settings| settings.upstream.retries_max = 0).await;
    let fields = Spoken::Converse.upstream(&world.upstream.base_url(), &world.upstream.host_url());
    world.app.admin.create_upstream("aws", "", &fields).await;
    let mut entry = model(MODEL, UPSTREAM_MODEL);
    entry["routes"] = json!([{"upstream": "aws", "upstream_model": UPSTREAM_MODEL}]);
    world.app.admin.create_model(&entry).await;
    for (status, kind, expected, code) in [
        (400, "ValidationException", 400, "invalid_request"),
        (429, "ThrottlingException", 429, "rate_limit_exceeded"),
        (403, "AccessDeniedException", 502, "upstream_error"),
        (500, "InternalServerException", 502, "upstream_error"),
    ] {
        let reply = Reply::http(status, &[("x-amzn-errortype", kind)], &json!({"message": "says Amazon"}));
        world.upstream.next(UPSTREAM_MODEL, [reply]);
        let error = Asked::Chat.refused(&world.caller.chat(MODEL, "Hi").await, expected, code);
        if expected == 400 {
            assert!(error["message"].as_str().is_some_and(|message| message.contains("says Amazon")), "{error}");
        }
    }
    assert_eq!(world.spent().await, 0);
    assert!(world.app.admin.usage(&world.account).await.iter().all(|row: &Value| row["cost_micros"] == json!(0)));
    world.finish().await;
}
