//! Which upstream serves a call, and what callers see when upstreams fail.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    client::{Answer, Caller, until},
    upstream::{Gate, Reply, Upstream, refusing_base_url},
    world::{MODEL, UPSTREAM_MODEL, World, model, price},
};

/// A model with these routes: (upstream, upstream model, weight, priority).
async fn routed(world: &World, id: &str, routes: &[(&str, &str, u32, i32)]) {
    let mut body = model(id, "unused");
    let route = |(upstream, name, weight, priority): &(&str, &str, u32, i32)| json!({"upstream": upstream, "upstream_model": name, "weight": weight, "priority": priority});
    body["routes"] = routes.iter().map(route).collect::<Vec<Value>>().into();
    world.app.admin.create_model(&body).await;
}

fn running(caller: &Caller) -> tokio::task::JoinHandle<Answer> {
    let caller = caller.clone();
    tokio::spawn(async move { caller.chat(MODEL, "Hi").await })
}

#[tokio::test]
async fn a_dead_upstream_is_replaced_by_the_next_route() {
    let world = World::new().await;
    world.app.admin.create_upstream("dead", &refusing_base_url().await, &json!({})).await;
    routed(&world, "test/failover", &[("dead", "x", 1, 0), ("mock", "spare", 1, 1)]).await;
    for _ in 0..10 {
        let answer = world.caller.chat("test/failover", "Hi").await;
        answer.expect(200);
        assert_eq!(answer.header("x-pixgate-upstream"), Some("mock"));
        let transcript = world.caller.chat_stream("test/failover", "Hi").await.finish().await.ended_well();
        assert_eq!(transcript.cost(), price(10, 5));
    }
    routed(&world, "test/dead", &[("dead", "x", 1, 0)]).await;
    let answer = world.caller.chat("test/dead", "Hi").await;
    assert!([502, 503].contains(&answer.status), "{}", answer.text);
    world.finish().await;
}

#[tokio::test]
async fn a_lower_priority_goes_first_and_equals_share_by_weight() {
    let world = World::new().await;
    routed(&world, "test/priority", &[("mock", "later", 100, 5), ("mock", "sooner", 1, -5)]).await;
    routed(&world, "test/weights", &[("mock", "a", 1, 0), ("mock", "b", 1, 0), ("mock", "never", 0, 0)]).await;
    for _ in 0..40 {
        world.caller.chat("test/priority", "Hi").await.expect(200);
        world.caller.chat("test/weights", "Hi").await.expect(200);
    }
    assert_eq!((world.upstream.count("sooner"), world.upstream.count("later")), (40, 0));
    assert!(world.upstream.count("a") > 0 && world.upstream.count("b") > 0);
    assert_eq!(world.upstream.count("never"), 0);
    world.finish().await;
}

#[tokio::test]
async fn attempts_are_bounded() {
    let world = World::with(|settings| settings.upstream.retries_max = 2).await;
    world.upstream.always(UPSTREAM_MODEL, Reply::error(500, "boom"));
    world.caller.chat(MODEL, "Hi").await.refused(502, "upstream_error");
    assert_eq!(world.upstream.count(UPSTREAM_MODEL), 3);
    world.finish().await;
}

#[tokio::test]
async fn upstream_400_is_400_with_its_message_and_is_not_tried_again() {
    let world = World::new().await;
    world.upstream.always(UPSTREAM_MODEL, Reply::error(400, "max_tokens is too large for this model"));
    let error = world.caller.chat(MODEL, "Hi").await.refused(400, "invalid_request");
    assert!(error["message"].as_str().unwrap().contains("max_tokens is too large for this model"), "{error}");
    assert_eq!(world.upstream.count(UPSTREAM_MODEL), 1);
    world.finish().await;
}

#[tokio::test]
async fn upstream_401_and_403_are_502_and_never_blame_the_callers_key() {
    let world = World::with(|settings| settings.upstream.breaker_failures = 1_000).await;
    for status in [401, 403] {
        world.upstream.always(UPSTREAM_MODEL, Reply::error(status, "Incorrect API key provided: upstream-secret"));
        let answer = world.caller.chat(MODEL, "Hi").await;
        answer.refused(502, "upstream_error");
        assert!(!answer.text.contains("upstream-secret"), "{}", answer.text);
    }
    world.finish().await;
}

#[tokio::test]
async fn upstream_429_after_retries_is_429_with_its_retry_after() {
    let world = World::with(|settings| settings.upstream.breaker_failures = 1_000).await;
    world.upstream.always(UPSTREAM_MODEL, Reply::error_with(429, &[("retry-after", "7")], "slow down"));
    let answer = tokio::time::timeout(Duration::from_secs(5), world.caller.chat(MODEL, "Hi")).await.expect("nobody waits 7 seconds for us");
    let error = answer.refused(429, "rate_limit_exceeded");
    assert_eq!(error["scope"], json!("upstream"));
    assert_eq!(answer.number("retry-after"), 7);

    routed(&world, "test/spare", &[("mock", UPSTREAM_MODEL, 1, 0), ("mock", "spare", 1, 1)]).await;
    world.caller.chat("test/spare", "Hi").await.expect(200);
    world.finish().await;
}

#[tokio::test]
async fn each_timeout_acts() {
    let world = World::with(|settings| {
        settings.upstream.retries_max = 0;
        settings.upstream.breaker_failures = 1_000;
    })
    .await;
    let timeouts = async |timeouts: Value| world.app.admin.patch_upstream("mock", &json!({"timeouts": timeouts})).await;
    world.upstream.always(UPSTREAM_MODEL, Reply::hang());
    timeouts(json!({"first_byte_ms": 200})).await;
    world.caller.chat(MODEL, "Hi").await.refused(504, "upstream_timeout");
    timeouts(json!({"total_ms": 200})).await;
    world.caller.chat(MODEL, "Hi").await.refused(504, "upstream_timeout");

    world.upstream.always(UPSTREAM_MODEL, Reply::stream().role().say("one ").then_hang());
    for limits in [json!({"idle_ms": 200}), json!({"total_ms": 400})] {
        timeouts(limits).await;
        let transcript = world.caller.chat_stream(MODEL, "Hi").await.finish().await;
        assert!(!transcript.done && !transcript.cut, "{transcript:?}");
        assert_eq!(transcript.error.expect("an error event")["code"], json!("upstream_timeout"));
        until("the upstream is told to stop", || world.upstream.last(UPSTREAM_MODEL).was_closed()).await;
    }
    world.finish().await;
}

#[tokio::test]
async fn beyond_max_concurrency_a_call_waits_briefly_then_503_overloaded() {
    let world = World::with(|settings| settings.upstream.queue_wait_ms = 200).await;
    world.app.admin.patch_upstream("mock", &json!({"max_concurrency": 1})).await;
    let gate = Gate::closed();
    world.upstream.next(UPSTREAM_MODEL, [Reply::chat("Hello", 10, 5).after(&gate)]);
    let first = running(&world.caller);
    until("the first call runs", || world.upstream.count(UPSTREAM_MODEL) == 1).await;
    let refused = world.caller.chat(MODEL, "Hi").await;
    refused.refused(503, "overloaded");
    assert!(refused.number("retry-after") >= 1);
    gate.open();
    first.await.unwrap().expect(200);
    world.caller.chat(MODEL, "Hi").await.expect(200);
    world.finish().await;
}

#[tokio::test]
async fn calls_within_the_wait_take_turns() {
    let world = World::with(|settings| settings.upstream.queue_wait_ms = 20_000).await;
    world.app.admin.patch_upstream("mock", &json!({"max_concurrency": 2})).await;
    let calls: Vec<_> = (0..30).map(|_| running(&world.caller)).collect();
    for call in calls {
        call.await.unwrap().expect(200);
    }
    assert!(world.upstream.running_most() <= 2, "{}", world.upstream.running_most());
    world.finish().await;
}

#[tokio::test]
async fn a_breaker_spares_an_upstream_that_fails_and_lets_it_come_back() {
    let world = World::with(|settings| {
        settings.upstream.breaker_failures = 3;
        settings.upstream.breaker_open_ms = 300;
    })
    .await;
    let weak = Upstream::start().await;
    world.app.admin.create_upstream("weak", &weak.base_url(), &json!({})).await;
    routed(&world, "test/weak", &[("weak", "weak", 1, 0), ("mock", "spare", 1, 1)]).await;
    // Probes, which name no model, fail as well.
    for model in ["weak", ""] {
        weak.always(model, Reply::error(500, "boom"));
    }
    for _ in 0..20 {
        world.caller.chat("test/weak", "Hi").await.expect(200);
    }
    until("it is probed once its breaker has been open for a while", || weak.count("") > 1).await;
    for _ in 0..20 {
        world.caller.chat("test/weak", "Hi").await.expect(200);
    }
    assert!((3..8).contains(&weak.count("weak")), "it was left alone: {} calls", weak.count("weak"));
    weak.always("", Reply::ok(&json!({"object": "list", "data": []})));
    weak.always("weak", Reply::chat("Well again", 10, 5));
    crate::support::client::eventually("the upstream is used again", || async {
        let answer = world.caller.chat("test/weak", "Hi").await;
        answer.expect(200);
        (answer.header("x-pixgate-upstream") == Some("weak")).then_some(())
    })
    .await;
    world.finish().await;
}

#[tokio::test]
async fn catalogue_changes_act_on_the_very_next_call() {
    let world = World::new().await;
    let admin = &world.app.admin;
    world.caller.chat(MODEL, "Hi").await.expect(200);
    admin.patch_model(MODEL, &json!({"routes": [{"upstream": "mock", "upstream_model": "moved"}]})).await;
    world.caller.chat(MODEL, "Hi").await.expect(200);
    assert_eq!(world.upstream.count("moved"), 1);

    let elsewhere = Upstream::start().await;
    admin.patch_upstream("mock", &json!({"base_url": elsewhere.base_url(), "api_key": "another-secret"})).await;
    world.caller.chat(MODEL, "Hi").await.expect(200);
    assert_eq!(elsewhere.last("moved").header("authorization"), Some("Bearer another-secret"));

    admin.patch_model(MODEL, &json!({"enabled": false})).await;
    world.caller.chat(MODEL, "Hi").await.refused(404, "model_not_found");
    admin.patch_model(MODEL, &json!({"enabled": true})).await;
    world.caller.chat(MODEL, "Hi").await.expect(200);

    admin.patch_upstream("mock", &json!({"enabled": false})).await;
    let answer = world.caller.chat(MODEL, "Hi").await;
    assert!([502, 503].contains(&answer.status), "{}", answer.text);
    admin.patch_upstream("mock", &json!({"enabled": true})).await;
    world.caller.chat(MODEL, "Hi").await.expect(200);

    admin.caller.delete("/admin/v1/models/test%2Fchat").await.success();
    world.caller.chat(MODEL, "Hi").await.refused(404, "model_not_found");
    world.finish().await;
}

#[tokio::test]
async fn a_huge_answer_is_bounded() {
    let world = World::with(|settings| {
        settings.upstream.answer_bytes_max = 100_000;
        settings.upstream.retries_max = 0;
    })
    .await;
    let long = "word ".repeat(40_000);
    world.upstream.next(UPSTREAM_MODEL, [Reply::chat(&long, 10, 5)]);
    world.caller.chat(MODEL, "Hi").await.refused(502, "upstream_error");
    world.caller.chat(MODEL, "Hi").await.expect(200);
    assert_eq!(world.spent().await, price(10, 5));
    world.finish().await;
}
