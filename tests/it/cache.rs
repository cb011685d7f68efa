//! Answers that are kept for the same request.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    client::{chat, eventually, streamed},
    upstream::Reply,
    world::{MODEL, UPSTREAM_MODEL, World, model, price},
};

const CHAT: &str = "/v1/chat/completions";
const ON: &[(&str, &str)] = &[("x-pixgate-cache", "60")];

/// Asks until the answer comes from the cache: it is written after the first answer has left.
async fn hit(world: &World, headers: &[(&str, &str)], text: &str) -> crate::support::client::Answer {
    eventually("the answer is kept", || async {
        let answer = world.caller.post_with(CHAT, headers, &chat(MODEL, text)).await;
        answer.expect(200);
        (answer.header("x-pixgate-cache") == Some("hit")).then_some(answer)
    })
    .await
}

#[tokio::test]
async fn the_same_request_is_answered_from_the_cache_for_nothing() {
    let world = World::new().await;
    let first = world.caller.post_with(CHAT, ON, &chat(MODEL, "Hi")).await;
    first.expect(200);
    assert_eq!((first.header("x-pixgate-cache"), first.cost()), (Some("miss"), price(10, 5)));
    let again = hit(&world, ON, "Hi").await;
    assert_eq!((again.header("x-pixgate-upstream"), again.cost()), (Some("cache"), 0));
    assert_eq!(again.json()["choices"], first.json()["choices"]);
    let row = world.usage_of(&again.request_id()).await;
    assert_eq!((&row["upstream"], &row["cost_micros"]), (&json!("cache"), &json!(0)));

    // Only the same request, only where it is asked for, only for the same account.
    let before = world.upstream.count(UPSTREAM_MODEL);
    for (headers, text) in [(ON, "Ho"), (&[][..], "Hi"), (&[("x-pixgate-cache", "false")][..], "Hi")] {
        let answer = world.caller.post_with(CHAT, headers, &chat(MODEL, text)).await;
        assert_ne!(answer.header("x-pixgate-cache"), Some("hit"), "{headers:?} {text}");
    }
    let (_, other) = world.another("other", 1_000_000).await;
    assert_eq!(other.post_with(CHAT, ON, &chat(MODEL, "Hi")).await.header("x-pixgate-cache"), Some("miss"));
    assert_eq!(world.upstream.count(UPSTREAM_MODEL), before + 4);
    world.caller.post_with(CHAT, &[("x-pixgate-cache", "perhaps")], &chat(MODEL, "Hi")).await.refused(400, "invalid_request");
    world.finish().await;
}

#[tokio::test]
async fn what_is_kept_belongs_to_the_model_that_the_words_mean_now() {
    let world = World::new().await;
    let admin = &world.app.admin;
    admin.patch_model(MODEL, &json!({"aliases": ["fast"]})).await;
    admin.create_model(&model("test/other", "other")).await;
    world.upstream.always(UPSTREAM_MODEL, Reply::chat("one", 10, 5));
    world.upstream.always("other", Reply::chat("two", 10, 5));
    let ask = || async {
        let answer = world.caller.post_with(CHAT, ON, &chat("fast", "Hi")).await;
        let text = answer.expect(200)["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
        (answer.header("x-pixgate-cache") == Some("hit"), text)
    };
    let kept = || eventually("the answer is kept", || async { Some(ask().await).filter(|(hit, _)| *hit) });
    assert_eq!((ask().await, kept().await), ((false, "one".to_owned()), (true, "one".to_owned())));
    // The alias moves to another model.
    admin.patch_model(MODEL, &json!({"aliases": []})).await;
    admin.patch_model("test/other", &json!({"aliases": ["fast"]})).await;
    assert_eq!((ask().await, kept().await), ((false, "two".to_owned()), (true, "two".to_owned())));
    // The model is served by something else.
    admin.patch_model("test/other", &json!({"routes": [{"upstream": "mock", "upstream_model": UPSTREAM_MODEL}]})).await;
    assert_eq!(ask().await, (false, "one".to_owned()));
    world.finish().await;
}

#[tokio::test]
async fn a_kept_answer_does_not_allow_what_is_refused() {
    let world = World::new().await;
    let asked = json!({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10, "top_k": 3});
    let path = "/v1/messages";
    assert_eq!(world.caller.post_with(path, ON, &asked).await.status, 400);
    let dropping: &[(&str, &str)] = &[("x-pixgate-cache", "60"), ("x-pixgate-drop-unsupported", "true")];
    let hit = eventually("the answer is kept", || async {
        let answer = world.caller.post_with(path, dropping, &asked).await;
        answer.expect(200);
        (answer.header("x-pixgate-cache") == Some("hit")).then_some(answer)
    })
    .await;
    assert_eq!(hit.header("x-pixgate-dropped"), Some("top_k"));
    assert_eq!(world.caller.post_with(path, ON, &asked).await.status, 400);
    world.finish().await;
}

#[tokio::test]
async fn a_stream_is_kept_too_and_a_broken_one_is_not() {
    let world = World::new().await;
    let body = streamed(chat(MODEL, "Hi"));
    world.upstream.next(UPSTREAM_MODEL, [Reply::stream().role().say("one ").then_cut()]);
    let broken = world.caller.stream_with(CHAT, ON, &body).await.finish().await;
    assert!(!broken.done);
    let first = world.caller.stream_with(CHAT, ON, &body).await.finish().await.ended_well();
    let again = eventually("the stream is kept", || async {
        let stream = world.caller.stream_with(CHAT, ON, &body).await;
        let is_hit = stream.headers.get("x-pixgate-cache").is_some_and(|value| value == "hit");
        let transcript = stream.finish().await.ended_well();
        is_hit.then_some(transcript)
    })
    .await;
    assert_eq!((again.text(), again.cost()), (first.text(), 0));
    world.finish().await;
}

#[tokio::test]
async fn the_operator_may_charge_for_kept_answers_and_keys_may_ask_for_them() {
    let world = World::with(|settings| settings.cache.charge_percent = 10).await;
    let key = world.app.admin.create_key(&world.account, &json!({"options": {"cache_ttl_seconds": 60}})).await;
    let world = World { caller: world.caller.with_key(&key.key), ..world };
    let again = hit(&world, &[], "Hi").await;
    assert_eq!(again.cost(), (price(10, 5) + 9) / 10);
    let refused = world.caller.post_with(CHAT, &[("x-pixgate-cache", "false")], &chat(MODEL, "Hi")).await;
    assert_eq!((refused.header("x-pixgate-cache"), refused.cost()), (None, price(10, 5)));
    world.finish().await;
}

#[tokio::test]
async fn kept_answers_end_with_their_time() {
    let world = World::manual(|_| {}).await;
    hit(&world, ON, "Hi").await;
    world.app.advance(Duration::from_secs(61));
    let answer = world.caller.post_with(CHAT, ON, &chat(MODEL, "Hi")).await;
    assert_eq!(answer.header("x-pixgate-cache"), Some("miss"));
    world.finish().await;
}

#[tokio::test]
async fn a_node_may_keep_nothing() {
    let world = World::with(|settings| settings.cache.enabled = false).await;
    for _ in 0..3 {
        let answer = world.caller.post_with(CHAT, ON, &chat(MODEL, "Hi")).await;
        assert_eq!((answer.header("x-pixgate-cache"), answer.cost()), (None, price(10, 5)));
    }
    assert_eq!(world.upstream.count(UPSTREAM_MODEL), 3);
    world.finish().await;
}
