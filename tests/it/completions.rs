//! `POST /v1/completions`.

use serde_json::json;

use crate::support::{
    client::{error_of, streamed},
    upstream::{Reply, usage},
    world::{MODEL, UPSTREAM_MODEL, World, count, price},
};

const PATH: &str = "/v1/completions";

#[tokio::test]
async fn plain_and_streamed() {
    let world = World::new().await;
    let choice = json!([{"text": "one two three", "index": 0, "finish_reason": "length", "logprobs": null}]);
    let plain = json!({"id": "cmpl-1", "object": "text_completion", "model": "m", "choices": choice, "usage": usage(4, 3)});
    let chunk = |text: &str, reason: Option<&str>| json!({"id": "cmpl-2", "object": "text_completion", "choices": [{"text": text, "index": 0, "finish_reason": reason}]});
    let stream = Reply::stream().event(&chunk("one ", None)).event(&chunk("two", None)).event(&chunk("", Some("stop")));
    let without_usage = stream.clone().done();
    world.upstream.next(UPSTREAM_MODEL, [Reply::ok(&plain), stream.usage(4, 2).done(), without_usage]);

    let body = json!({"model": MODEL, "prompt": "Count:", "max_tokens": 10});
    let answer = world.caller.post(PATH, &body).await;
    assert_eq!(answer.expect(200)["choices"], choice);
    assert_eq!(answer.cost(), price(4, 3));
    assert_eq!(world.upstream.last(UPSTREAM_MODEL).path, "/v1/completions");

    let transcript = world.caller.stream(PATH, &streamed(body.clone())).await.finish().await.ended_well();
    assert_eq!((transcript.text().as_str(), transcript.cost()), ("one two", price(4, 2)));

    let stream = world.caller.stream(PATH, &streamed(body)).await;
    let request_id = stream.request_id();
    stream.finish().await.ended_well();
    let row = world.usage_of(&request_id).await;
    assert_eq!((row["estimated"].as_bool(), row["output_tokens"].as_i64()), (Some(true), Some(count("one two"))));
    world.finish().await;
}

#[tokio::test]
async fn a_missing_prompt_is_400() {
    let world = World::new().await;
    let answer = world.caller.post(PATH, &json!({"model": MODEL})).await;
    assert_eq!(answer.status, 400);
    assert_eq!(error_of(&answer.json())["param"], json!("prompt"));
    world.finish().await;
}
