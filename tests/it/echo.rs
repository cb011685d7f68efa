//! The built-in model `pixgate/echo` and its options.

use serde_json::{Value, json};

use crate::support::{
    client::{chat, streamed},
    world::{World, count},
};

const PATH: &str = "/v1/chat/completions";

fn echo(text: &str, metadata: &Value) -> Value {
    let mut body = chat("pixgate/echo", text);
    body["metadata"] = metadata.clone();
    body
}

#[tokio::test]
async fn answers_with_the_last_user_message() {
    let world = World::new().await;
    let body = json!({"model": "pixgate/echo", "messages": [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "second"},
        {"role": "user", "content": "Größe 🦀 three"},
    ]});
    let answer = world.caller.post(PATH, &body).await;
    let said = answer.expect(200);
    assert_eq!(said["choices"][0]["message"]["content"], json!("Größe 🦀 three"));
    assert_eq!(said["usage"]["completion_tokens"], json!(count("Größe 🦀 three")));
    assert!(answer.cost() >= 0);
    let row = world.usage_of(&answer.request_id()).await;
    assert_eq!((&row["estimated"], &row["cost_micros"]), (&json!(false), &json!(answer.cost())));

    let transcript = world.caller.chat_stream("pixgate/echo", "one two three").await.finish().await.ended_well();
    assert_eq!(transcript.text(), "one two three");
    let words =
        transcript.chunks.iter().filter(|chunk| chunk["choices"][0]["delta"]["content"].as_str().is_some_and(|text| !text.is_empty()));
    assert_eq!(words.count(), 3, "word by word");

    let completion = world.caller.post("/v1/completions", &json!({"model": "pixgate/echo", "prompt": "said once"})).await;
    assert_eq!(completion.expect(200)["choices"][0]["text"], json!("said once"));
    world.finish().await;
}

#[tokio::test]
async fn chunks_makes_exactly_that_many_content_deltas() {
    let world = World::new().await;
    for chunks in [1, 2, 7, 40] {
        let body = streamed(echo("one two three", &json!({"chunks": chunks.to_string(), "delay_ms": "1"})));
        let transcript = world.caller.stream(PATH, &body).await.finish().await.ended_well();
        let deltas =
            transcript.chunks.iter().filter(|chunk| chunk["choices"][0]["delta"]["content"].as_str().is_some_and(|text| !text.is_empty()));
        assert_eq!(deltas.count(), chunks);
    }
    world.finish().await;
}

#[tokio::test]
async fn fail_plays_what_an_upstream_can_do_wrong() {
    let world = World::new().await;
    let fail = |how: &str| echo("one two three four", &json!({"fail": how}));
    world.caller.post(PATH, &fail("status:503")).await.refused(502, "upstream_error");
    world.caller.post(PATH, &streamed(fail("status:503"))).await.refused(502, "upstream_error");
    assert_eq!(world.spent().await, 0);

    let transcript = world.caller.stream(PATH, &streamed(fail("midstream"))).await.finish().await;
    assert!(!transcript.done && transcript.error.is_some() && !transcript.text().is_empty(), "{transcript:?}");

    let answer = world.caller.post(PATH, &fail("no_usage")).await;
    answer.expect(200);
    assert_eq!(world.usage_of(&answer.request_id()).await["estimated"], json!(true));

    world.caller.post(PATH, &fail("nonsense")).await.refused(400, "invalid_request");
    world.finish().await;
}

#[tokio::test]
async fn fail_hang_ends_in_a_timeout() {
    let world = World::new().await;
    let upstreams = world.app.admin.caller.list("/admin/v1/upstreams").await;
    let echo_upstream = upstreams.iter().find(|upstream| upstream["provider"] == json!("echo")).expect("the built-in upstream is listed");
    world.app.admin.patch_upstream(echo_upstream["name"].as_str().unwrap(), &json!({"timeouts": {"first_byte_ms": 200}})).await;
    world.caller.post(PATH, &echo("Hi", &json!({"fail": "hang"}))).await.refused(504, "upstream_timeout");
    assert_eq!(world.spent().await, 0);
    world.finish().await;
}

#[tokio::test]
async fn max_tokens_is_honoured() {
    let world = World::new().await;
    let mut body = chat("pixgate/echo", "one two three four five six");
    body["max_tokens"] = json!(2);
    let said = world.caller.post(PATH, &body).await.expect(200);
    assert_eq!(said["choices"][0]["finish_reason"], json!("length"));
    assert!(count(said["choices"][0]["message"]["content"].as_str().unwrap()) <= 2);
    world.finish().await;
}
