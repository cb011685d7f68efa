//! `POST /v1/embeddings`.

use serde_json::{Value, json};

use crate::support::{
    upstream::Reply,
    world::{INPUT_PRICE, MODEL, World, count, model},
};

const PATH: &str = "/v1/embeddings";

async fn world() -> World {
    let world = World::new().await;
    let mut embedding = model("test/embedding", "embedding");
    embedding["kind"] = json!("embedding");
    world.app.admin.create_model(&embedding).await;
    world
}

fn answer(embedding: &Value, prompt_tokens: Option<u64>) -> Value {
    let mut body = json!({"object": "list", "model": "embedding", "data": [{"object": "embedding", "index": 0, "embedding": embedding}]});
    if let Some(tokens) = prompt_tokens {
        body["usage"] = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    }
    body
}

#[tokio::test]
async fn vectors_pass_as_they_are() {
    let world = world().await;
    let vector = json!([0.1, -2.5e-7, 3.0]);
    for input in [json!("one two"), json!(["one", "two"]), json!([1, 2, 3]), json!([[1, 2], [3]])] {
        world.upstream.next("embedding", [Reply::ok(&answer(&vector, Some(9)))]);
        let answer = world.caller.post(PATH, &json!({"model": "test/embedding", "input": input, "dimensions": 3})).await;
        let body = answer.expect(200);
        assert_eq!(body["data"][0]["embedding"], vector);
        assert_eq!(answer.cost(), 9 * INPUT_PRICE);
        assert_eq!(world.upstream.last("embedding").json()["input"], input);
    }
    // The official SDK asks for base64.
    world.upstream.next("embedding", [Reply::ok(&answer(&json!("zczMPQ=="), Some(2)))]);
    let body = json!({"model": "test/embedding", "input": "one", "encoding_format": "base64"});
    assert_eq!(world.caller.post(PATH, &body).await.expect(200)["data"][0]["embedding"], json!("zczMPQ=="));
    world.finish().await;
}

#[tokio::test]
async fn without_usage_our_own_count_is_charged() {
    let world = world().await;
    world.upstream.next("embedding", [Reply::ok(&answer(&json!([0.5]), None))]);
    let answer = world.caller.post(PATH, &json!({"model": "test/embedding", "input": "one two three"})).await;
    answer.expect(200);
    let row = world.usage_of(&answer.request_id()).await;
    assert_eq!(row["estimated"], json!(true));
    assert_eq!(row["input_tokens"], json!(count("one two three")));
    assert_eq!(answer.cost(), count("one two three") * INPUT_PRICE);
    world.finish().await;
}

#[tokio::test]
async fn kinds_do_not_mix() {
    let world = world().await;
    world.caller.post(PATH, &json!({"model": MODEL, "input": "one"})).await.refused(400, "invalid_request");
    world.caller.chat("test/embedding", "Hi").await.refused(400, "invalid_request");
    world.finish().await;
}

#[tokio::test]
async fn the_built_in_model_works_without_an_upstream() {
    let world = world().await;
    let answer = world.caller.post(PATH, &json!({"model": "pixgate/echo-embedding", "input": ["one", "two"]})).await;
    let body = answer.expect(200);
    assert_eq!(body["data"].as_array().map(Vec::len), Some(2));
    assert!(body["data"][0]["embedding"].as_array().is_some_and(|vector| !vector.is_empty()));
    assert!(answer.cost() >= 0);
    world.finish().await;
}
