//! `POST /v1/chat/completions` for models whose upstream speaks another format: what of the call arrives, and how the answer comes back.

use serde_json::{Value, json};

use crate::support::{
    client::{chat, streamed},
    upstream::Reply,
    world::{World, model},
};

const PATH: &str = "/v1/chat/completions";
const DROP: [(&str, &str); 1] = [("x-pixgate-drop-unsupported", "true")];

/// A model whose upstream speaks Anthropic's format, and what that upstream calls it.
const CLAUDE: &str = "anthropic/claude";
const UPSTREAM_CLAUDE: &str = "claude-up";

async fn world() -> World {
    let world = World::new().await;
    world.app.admin.create_upstream("claude", &world.upstream.host_url(), &json!({"provider": "anthropic"})).await;
    let mut claude = model(CLAUDE, UPSTREAM_CLAUDE);
    claude["routes"] = json!([{"upstream": "claude", "upstream_model": UPSTREAM_CLAUDE}]);
    world.app.admin.create_model(&claude).await;
    world
}

/// An answer that thinks and calls a tool.
fn calling() -> Value {
    json!({
        "id": "msg_up", "type": "message", "role": "assistant", "model": UPSTREAM_CLAUDE,
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"at": 1.0}},
        ],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": {"input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 4, "output_tokens": 5},
    })
}

fn with(fields: &Value) -> Value {
    let mut body = chat(CLAUDE, "Weather?");
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn a_tool_is_called_and_its_result_goes_back_with_the_thoughts() {
    let world = world().await;
    world.upstream.next(UPSTREAM_CLAUDE, [Reply::ok(&calling())]);
    let parameters = json!({"type": "object", "properties": {"at": {"type": "number"}}});
    let tools = json!([{"type": "function", "function": {"name": "weather", "parameters": parameters}}]);
    let answer = world.caller.post(PATH, &with(&json!({"tools": tools, "tool_choice": "required"}))).await.expect(200);
    let choice = &answer["choices"][0];
    assert_eq!((&choice["finish_reason"], &choice["message"]["content"]), (&json!("tool_calls"), &Value::Null));
    let call = json!({"id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": "{\"at\":1.0}"}});
    assert_eq!(choice["message"]["tool_calls"], json!([call]));
    assert_eq!((&answer["usage"]["prompt_tokens"], &answer["usage"]["prompt_tokens_details"]["cached_tokens"]), (&json!(14), &json!(4)));
    assert!(answer["id"].as_str().is_some_and(|id| id.starts_with("chatcmpl-")) && answer["model"] == json!(CLAUDE), "{answer}");

    let said = choice["message"].clone();
    let messages = json!([{"role": "user", "content": "Weather?"}, said, {"role": "tool", "tool_call_id": "toolu_1", "content": "sun"}]);
    world.upstream.next(UPSTREAM_CLAUDE, [Reply::ok(&calling())]);
    world.caller.post(PATH, &with(&json!({"tools": tools, "messages": messages}))).await.expect(200);
    let asked = world.upstream.last(UPSTREAM_CLAUDE).json();
    let content = |at: usize| asked["messages"][at]["content"].clone();
    assert_eq!(content(1)[0], json!({"type": "thinking", "thinking": "hm", "signature": "c2ln"}), "as it came");
    assert_eq!((&content(1)[1]["id"], &content(2)[0]["tool_use_id"]), (&json!("toolu_1"), &json!("toolu_1")));
    world.finish().await;
}

#[tokio::test]
async fn callers_of_functions_get_a_function_call() {
    let world = world().await;
    world.upstream.next(UPSTREAM_CLAUDE, [Reply::ok(&calling())]);
    let functions = json!([{"name": "weather", "parameters": {"type": "object"}}]);
    let answer = world.caller.post(PATH, &with(&json!({"functions": functions}))).await.expect(200);
    let choice = &answer["choices"][0];
    assert_eq!(choice["message"]["function_call"], json!({"name": "weather", "arguments": "{\"at\":1.0}"}));
    assert_eq!(choice["finish_reason"], json!("function_call"));
    world.finish().await;
}

#[tokio::test]
async fn what_cannot_be_carried_is_refused_by_name_or_dropped_and_listed() {
    let world = world().await;
    world.upstream.always(UPSTREAM_CLAUDE, Reply::ok(&calling()));
    for (field, value) in [("n", json!(2)), ("logit_bias", json!({"1": 5})), ("presence_penalty", json!(0.5))] {
        let body = with(&json!({field: value}));
        let error = world.caller.post(PATH, &body).await.refused(400, "invalid_request");
        assert_eq!(error["param"], json!(field));
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains(field) && message.contains("x-pixgate-drop-unsupported"), "{message}");
        let answer = world.caller.post_with(PATH, &DROP, &body).await;
        answer.expect(200);
        assert_eq!(answer.header("x-pixgate-dropped"), Some(field));
    }
    world.finish().await;
}

#[tokio::test]
async fn a_translated_stream_that_breaks_off_ends_with_an_error() {
    let world = world().await;
    let event = |data: &Value| format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap());
    let start = json!({"type": "message_start", "message": {"id": "msg_up", "usage": {"input_tokens": 10, "output_tokens": 1}}});
    let block = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}});
    let delta = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "one"}});
    let reply = [start, block, delta].iter().fold(Reply::stream(), |reply, data| reply.raw(event(data).as_bytes()));
    world.upstream.next(UPSTREAM_CLAUDE, [reply.end()]);
    let transcript = world.caller.stream(PATH, &streamed(chat(CLAUDE, "Count"))).await.finish().await;
    assert_eq!(transcript.text(), "one");
    assert!(!transcript.done && transcript.error.is_some(), "{transcript:?}");
    world.finish().await;
}
