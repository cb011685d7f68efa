//! Which upstream serves a call, and what callers see when upstreams fail.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    client::{Answer, Caller, until},
    dialects::{Asked, Spoken},
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
async fn the_cheapest_route_answers_when_asked_for() {
    let world = World::new().await;
    let mut body = model("test/cost", "unused");
    let route = |name: &str, priority: i32, micros: i64| json!({"upstream": "mock", "upstream_model": name, "priority": priority, "costs": [{"unit": "output_token", "micros": micros, "per": 1}]});
    body["routes"] = json!([route("dear", 0, 9), route("cheap", 5, 2), route("middle", 1, 4)]);
    world.app.admin.create_model(&body).await;
    for _ in 0..5 {
        world.caller.chat("test/cost", "Hi").await.expect(200);
        world.caller.chat("test/cost:floor", "Hi").await.expect(200);
    }
    assert_eq!((world.upstream.count("dear"), world.upstream.count("cheap"), world.upstream.count("middle")), (5, 5, 0));
    world.caller.chat("test/cost:free", "Hi").await.refused(404, "model_not_found");
    world.finish().await;
}

#[tokio::test]
async fn a_sticky_account_keeps_its_upstream_until_it_fails() {
    let world = World::with(|settings| settings.upstream.retries_max = 2).await;
    let mut body = model("test/sticky", "unused");
    let names = ["one", "two", "three"];
    body["routes"] = names.iter().map(|name| json!({"upstream": "mock", "upstream_model": name})).collect::<Vec<_>>().into();
    body["routing"] = json!({"sticky": true});
    world.app.admin.create_model(&body).await;
    for _ in 0..12 {
        world.caller.chat("test/sticky", "Hi").await.expect(200);
    }
    let home = names.into_iter().find(|name| world.upstream.count(name) > 0).expect("one of them");
    assert_eq!(world.upstream.count(home), 12);
    world.upstream.next(home, [Reply::error(500, "boom")]);
    world.caller.chat("test/sticky", "Hi").await.expect(200);
    assert_eq!(names.map(|name| world.upstream.count(name)).iter().sum::<usize>(), 14, "one failed, another answered");
    world.finish().await;
}

#[tokio::test]
async fn a_fallback_answers_at_its_own_price_and_says_so() {
    let world = World::with(|settings| settings.upstream.retries_max = 0).await;
    let mut spare = model("test/spare", "spare");
    spare["prices"] = json!([crate::support::world::token_price("output_token", 100)]);
    world.app.admin.create_model(&spare).await;
    world.app.admin.patch_model(MODEL, &json!({"routing": {"fallbacks": ["test/spare"]}})).await;
    world.upstream.always(UPSTREAM_MODEL, Reply::error(500, "boom"));
    let answer = world.caller.chat(MODEL, "Hi").await;
    answer.expect(200);
    assert_eq!((answer.header("x-pixgate-model"), answer.cost()), (Some("test/spare"), 5 * 100));
    let row = world.usage_of(&answer.request_id()).await;
    assert_eq!((&row["model"], &row["cost_micros"], &row["attempts"]), (&json!("test/spare"), &json!(500), &json!(2)));
    let transcript = world.caller.chat_stream(MODEL, "Hi").await.finish().await.ended_well();
    assert_eq!(transcript.cost(), 5 * 100);

    // What the caller did wrong stays wrong.
    world.upstream.always(UPSTREAM_MODEL, Reply::error(400, "no such parameter"));
    world.caller.chat(MODEL, "Hi").await.refused(400, "invalid_request");
    world.app.admin.patch_model(MODEL, &json!({"routes": []})).await;
    world.caller.chat(MODEL, "Hi").await.expect(200);

    // The hold covers whoever may answer: 100 tokens at 100 micros.
    let (_, poor) = world.another("poor", 9_999).await;
    poor.chat(MODEL, "Hi").await.refused(402, "insufficient_credits");
    for bad in [json!(["test/none"]), json!([MODEL])] {
        let answer = world.app.admin.caller.patch("/admin/v1/models/test%2Fchat", &json!({"routing": {"fallbacks": bad}})).await;
        answer.refused(400, "invalid_request");
    }
    world.finish().await;
}

#[tokio::test]
async fn a_fallback_is_asked_for_no_more_than_is_held_and_for_nothing_it_cannot_do() {
    let world = World::with(|settings| {
        settings.upstream.retries_max = 0;
        settings.ledger.output_tokens_hold_max = 500;
    })
    .await;
    let speaks = Spoken::Messages;
    let admin = &world.app.admin;
    admin.create_upstream("messages", "", &speaks.upstream(&world.upstream.base_url(), &world.upstream.host_url())).await;
    let mut big = model("test/big", "big");
    big["max_output_tokens"] = json!(60_000);
    big["capabilities"] = json!({"vision": false});
    big["routes"] = json!([{"upstream": "messages", "upstream_model": "big"}]);
    big["prices"] = json!([crate::support::world::token_price("output_token", 100)]);
    admin.create_model(&big).await;
    admin.patch_model(MODEL, &json!({"routing": {"fallbacks": ["test/big"]}})).await;
    world.upstream.always(UPSTREAM_MODEL, Reply::error(500, "boom"));
    world.upstream.always("big", speaks.whole("fine", Some((10, 5))));
    world.caller.chat(MODEL, "Hi").await.expect(200);
    assert_eq!(world.upstream.last("big").json()["max_tokens"], json!(500), "its own maximum is larger than the hold");
    let (_, poor) = world.another("poor", 500 * 100 - 1).await;
    poor.chat(MODEL, "Hi").await.refused(402, "insufficient_credits");

    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}});
    let look = json!({"model": MODEL, "messages": [{"role": "user", "content": [image]}]});
    let answer = world.caller.post("/v1/chat/completions", &look).await;
    assert_eq!((answer.status, world.upstream.count("big")), (502, 1), "{}", answer.text);
    let refusal = admin.caller.delete("/admin/v1/models/test%2Fbig").await.refused(409, "conflict");
    assert!(refusal["message"].as_str().unwrap().contains(MODEL), "{refusal}");
    world.finish().await;
}

#[tokio::test]
async fn a_models_own_concurrency_is_bounded() {
    let world = World::with(|settings| settings.upstream.queue_wait_ms = 200).await;
    world.app.admin.patch_model(MODEL, &json!({"routing": {"max_concurrency": 1}})).await;
    let gate = Gate::closed();
    world.upstream.next(UPSTREAM_MODEL, [Reply::chat("Hello", 10, 5).after(&gate)]);
    let first = running(&world.caller);
    until("the first call runs", || world.upstream.count(UPSTREAM_MODEL) == 1).await;
    // A change of something else keeps the places that are taken.
    world.app.admin.patch_model(MODEL, &json!({"display_name": "Changed"})).await;
    world.caller.chat(MODEL, "Hi").await.refused(503, "overloaded");
    gate.open();
    first.await.unwrap().expect(200);
    world.caller.chat(MODEL, "Hi").await.expect(200);
    world.finish().await;
}

#[tokio::test]
async fn retries_are_a_share_of_the_calls() {
    let world = World::with(|settings| {
        settings.upstream.retries_max = 5;
        settings.upstream.retry_backoff_ms = 1;
        settings.upstream.breaker_failures = 1_000_000;
    })
    .await;
    world.upstream.always(UPSTREAM_MODEL, Reply::error(500, "boom"));
    for _ in 0..100 {
        world.caller.chat(MODEL, "Hi").await.refused(502, "upstream_error");
    }
    // 100 saved at the start, a fifth of the calls, and ten a second while this ran; without a budget it would be 600.
    assert!((200..500).contains(&world.upstream.count(UPSTREAM_MODEL)), "{}", world.upstream.count(UPSTREAM_MODEL));
    world.finish().await;
}

#[tokio::test]
async fn an_outage_drill_shows_what_an_outage_would() {
    let world = World::new().await;
    let drill = "/admin/v1/upstreams/mock/drill";
    let admin = &world.app.admin.caller;
    routed(&world, "test/double", &[("mock", "a", 1, 0), ("pixgate", "echo", 1, 1)]).await;
    let answer = admin.post(drill, &json!({"seconds": 60})).await.expect(200);
    assert_eq!(answer["upstream"], json!("mock"));
    world.caller.chat(MODEL, "Hi").await.refused(502, "upstream_error");
    let spared = world.caller.chat("test/double", "Hi").await;
    spared.expect(200);
    assert_eq!(spared.header("x-pixgate-upstream"), Some("pixgate"));
    assert_eq!(world.upstream.count(UPSTREAM_MODEL) + world.upstream.count("a"), 0, "nothing is sent");
    admin.delete(drill).await.success();
    crate::support::client::eventually("the breaker closes", || async {
        (world.caller.chat(MODEL, "Hi").await.status == 200).then_some(())
    })
    .await;
    admin.post(drill, &json!({"seconds": 0})).await.refused(400, "invalid_request");
    admin.post("/admin/v1/upstreams/none/drill", &json!({"seconds": 1})).await.refused(404, "not_found");
    world.finish().await;
}

#[tokio::test]
async fn what_a_model_cannot_do_is_refused_before_its_upstream_is_asked() {
    let world = World::new().await;
    let capabilities = json!({"vision": false, "tools": false, "json_schema": false, "streaming": false});
    world.app.admin.patch_model(MODEL, &json!({"capabilities": capabilities, "max_input_tokens": 100})).await;
    let plain = || crate::support::client::chat(MODEL, "Hi");
    let mut bodies = vec![plain(), plain(), plain(), plain(), crate::support::client::chat(MODEL, &"word ".repeat(400))];
    bodies[0]["messages"][0]["content"] = json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]);
    bodies[1]["tools"] = json!([{"type": "function", "function": {"name": "f"}}]);
    bodies[2]["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "s", "schema": {}}});
    bodies[3]["stream"] = json!(true);
    for body in &bodies {
        world.caller.post("/v1/chat/completions", body).await.refused(400, "invalid_request");
    }
    // Each caller's own field is named.
    let image = json!({"type": "input_image", "image_url": "data:image/png;base64,AA=="});
    let data = json!({"inlineData": {"mimeType": "image/png", "data": "AAAA"}});
    let source = json!({"type": "base64", "media_type": "image/png", "data": "AAAA"});
    let format = json!({"type": "json_schema", "name": "s", "schema": {}});
    let gemini = format!("/v1beta/models/{MODEL}:generateContent");
    let named = [
        (Asked::Responses, "/v1/responses", json!({"model": MODEL, "input": [{"role": "user", "content": [image]}]}), "input"),
        (Asked::Responses, "/v1/responses", json!({"model": MODEL, "input": "Hi", "text": {"format": format}}), "text.format"),
        (Asked::Gemini, &gemini, json!({"contents": [{"parts": [data]}]}), "contents"),
        (
            Asked::Messages,
            "/v1/messages",
            json!({"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": [{"type": "image", "source": source}]}]}),
            "messages",
        ),
    ];
    for (asked, path, body, param) in named {
        let error = asked.refused(&world.caller.post(path, &body).await, 400, "invalid_request");
        let found = if asked == Asked::Gemini { &error["details"][0]["metadata"]["param"] } else { &error["param"] };
        assert_eq!(found, &json!(param), "{error}");
    }
    assert_eq!(world.upstream.count(UPSTREAM_MODEL), 0);
    world.caller.chat(MODEL, "Hi").await.expect(200);
    world.app.admin.patch_model(MODEL, &json!({"deprecated_at": "2027-01-31"})).await;
    assert_eq!(world.caller.chat(MODEL, "Hi").await.header("x-pixgate-model-deprecated"), Some("2027-01-31"));
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
