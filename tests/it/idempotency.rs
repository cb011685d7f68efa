//! `Idempotency-Key` on paid calls: the same key again costs nothing and replays the first answer.

use serde_json::json;

use crate::support::{
    client::{Caller, chat, streamed, until},
    upstream::{Gate, Reply},
    world::{MODEL, UPSTREAM_MODEL, World, price},
};

const PATH: &str = "/v1/chat/completions";
const KEY: [(&str, &str); 1] = [("idempotency-key", "order-17")];

#[tokio::test]
async fn row_same_idempotency_key_again_costs_0_and_the_first_answer_is_replayed() {
    let world = World::new().await;
    let body = chat(MODEL, "Hi");
    let first = world.caller.post_with(PATH, &KEY, &body).await;
    first.expect(200);
    for _ in 0..3 {
        let again = world.caller.post_with(PATH, &KEY, &body).await;
        assert_eq!((again.status, &again.text), (200, &first.text));
    }
    assert_eq!(world.upstream.count(UPSTREAM_MODEL), 1);
    assert_eq!(world.spent().await, price(10, 5));
    world.finish().await;
}

#[tokio::test]
async fn a_streams_text_is_replayed() {
    let world = World::new().await;
    world.upstream.next(UPSTREAM_MODEL, [Reply::good_stream("one two three", Some((10, 5)))]);
    let body = streamed(chat(MODEL, "Count"));
    let first = world.caller.stream_with(PATH, &KEY, &body).await.finish().await.ended_well();
    let again = world.caller.stream_with(PATH, &KEY, &body).await.finish().await.ended_well();
    assert_eq!((first.text().as_str(), again.text().as_str()), ("one two three", "one two three"));
    assert_eq!(again.cost(), first.cost());
    assert_eq!(world.upstream.count(UPSTREAM_MODEL), 1);
    assert_eq!(world.spent().await, price(10, 5));
    world.finish().await;
}

#[tokio::test]
async fn a_duplicate_in_flight_waits_for_the_first() {
    let world = World::new().await;
    let gate = Gate::closed();
    world.upstream.next(UPSTREAM_MODEL, [Reply::chat("Hello", 10, 5).after(&gate)]);
    let call = |caller: Caller| tokio::spawn(async move { caller.post_with(PATH, &KEY, &chat(MODEL, "Hi")).await });
    let calls: Vec<_> = (0..5).map(|_| call(world.caller.clone())).collect();
    until("one of them runs", || world.upstream.count(UPSTREAM_MODEL) == 1).await;
    // A call of another kind passes meanwhile.
    world.caller.chat(MODEL, "Other").await.expect(200);
    gate.open();
    let mut texts = Vec::new();
    for call in calls {
        let answer = call.await.unwrap();
        answer.expect(200);
        texts.push(answer.text);
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "all got the same answer");
    assert_eq!(world.upstream.count(UPSTREAM_MODEL), 2);
    assert_eq!(world.spent().await, 2 * price(10, 5));
    world.finish().await;
}

#[tokio::test]
async fn another_body_under_the_same_key_is_409() {
    let world = World::new().await;
    world.caller.post_with(PATH, &KEY, &chat(MODEL, "Hi")).await.expect(200);
    let conflict = world.caller.post_with(PATH, &KEY, &chat(MODEL, "Something else")).await;
    assert_eq!(conflict.status, 409, "{}", conflict.text);
    crate::support::client::error_of(&conflict.json());
    assert_eq!(world.spent().await, price(10, 5));
    world.finish().await;
}

#[tokio::test]
async fn keys_of_two_accounts_do_not_meet() {
    let world = World::new().await;
    let (_, other) = world.another("other", 1_000_000).await;
    world.upstream.next(UPSTREAM_MODEL, [Reply::chat("for the first", 10, 5), Reply::chat("for the second", 10, 5)]);
    let first = world.caller.post_with(PATH, &KEY, &chat(MODEL, "Hi")).await;
    let second = other.post_with(PATH, &KEY, &chat(MODEL, "Hi")).await;
    assert!(first.text.contains("for the first") && second.text.contains("for the second"));
    world.finish().await;
}

#[tokio::test]
async fn a_refused_or_failed_call_leaves_its_key_free() {
    let world = World::with(|settings| settings.upstream.retries_max = 0).await;
    world.upstream.next(UPSTREAM_MODEL, [Reply::error(500, "boom")]);
    world.caller.post_with(PATH, &KEY, &chat(MODEL, "Hi")).await.refused(502, "upstream_error");
    world.caller.post_with(PATH, &KEY, &chat(MODEL, "Hi")).await.expect(200);
    assert_eq!(world.spent().await, price(10, 5));

    let (account, poor) = world.another("poor", 0).await;
    poor.post_with(PATH, &KEY, &chat(MODEL, "Hi")).await.refused(402, "insufficient_credits");
    world.app.admin.grant(&account, 100_000).await;
    poor.post_with(PATH, &KEY, &chat(MODEL, "Hi")).await.expect(200);
    world.finish().await;
}

#[tokio::test]
async fn a_key_survives_a_restart() {
    let mut world = World::new().await;
    let plain = world.caller.post_with(PATH, &KEY, &chat(MODEL, "Hi")).await;
    let stream_key = [("idempotency-key", "order-18")];
    let body = streamed(chat(MODEL, "Hi"));
    let text = world.caller.stream_with(PATH, &stream_key, &body).await.finish().await.ended_well().text();
    world.app.restart().await;
    assert_eq!(world.caller.post_with(PATH, &KEY, &chat(MODEL, "Hi")).await.text, plain.text);
    assert_eq!(world.caller.stream_with(PATH, &stream_key, &body).await.finish().await.ended_well().text(), text);
    assert_eq!(world.caller.post_with(PATH, &KEY, &chat(MODEL, "Else")).await.status, 409);
    assert_eq!(world.upstream.count(UPSTREAM_MODEL), 2);
    assert_eq!(world.spent().await, 2 * price(10, 5));
    world.finish().await;
}

#[tokio::test]
async fn a_key_ends_after_its_time() {
    let world = World::manual(|settings| settings.idempotency.ttl_hours = 1).await;
    world.caller.post_with(PATH, &KEY, &chat(MODEL, "Hi")).await.expect(200);
    world.app.advance(std::time::Duration::from_secs(3_601));
    world.caller.post_with(PATH, &KEY, &chat(MODEL, "Another body")).await.expect(200);
    assert_eq!(world.spent().await, 2 * price(10, 5));
    world.finish().await;
}

#[tokio::test]
async fn an_unusable_key_is_400() {
    let world = World::new().await;
    let long = "k".repeat(10_000);
    for key in ["", long.as_str()] {
        let answer = world.caller.post_with(PATH, &[("idempotency-key", key)], &chat(MODEL, "Hi")).await;
        answer.refused(400, "invalid_request");
    }
    assert_eq!(world.spent().await, 0);
    let grant = format!("/admin/v1/accounts/{}/grants", world.account);
    let answer = world.app.admin.caller.post(&grant, &json!({"amount_micros": 5, "reason": "test"})).await;
    answer.refused(400, "invalid_request");
    world.finish().await;
}

#[tokio::test]
async fn an_answer_that_was_paid_for_is_replayed_whatever_became_of_credits_and_model() {
    let mut world = World::new().await;
    let (account, caller) = world.another("poor", 1_000).await;
    let first = caller.post_with(PATH, &KEY, &chat(MODEL, "Hi")).await;
    first.expect(200);
    world.app.restart().await;
    while caller.chat(MODEL, "spend the rest").await.status == 200 {}
    let again = caller.post_with(PATH, &KEY, &chat(MODEL, "Hi")).await;
    again.expect(200);
    assert_eq!(again.text, first.text);
    let gone = world.app.admin.caller.delete(&format!("/admin/v1/models/{}", crate::support::client::encode(MODEL))).await;
    assert_eq!(gone.status, 204);
    assert_eq!(caller.post_with(PATH, &KEY, &chat(MODEL, "Hi")).await.text, first.text);
    world.app.admin.patch_account(&account, &json!({"status": "suspended"})).await;
    assert_eq!(caller.post_with(PATH, &KEY, &chat(MODEL, "Hi")).await.status, 403, "only who may call gets it");
    world.finish().await;
}
