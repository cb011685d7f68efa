//! The charging contract, row by row; each test's name is the row. Idempotency-Key has a file of its own.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    client::{Answer, chat, eventually, streamed, until},
    process::TestProcess,
    upstream::{Gate, Reply, Upstream, completion, usage},
    world::{CREDITS, MODEL, UPSTREAM_MODEL, World, count, model, price, token_price},
};

/// A row's cost and whether it is our own estimate.
fn charge(row: &Value) -> (i64, bool) {
    (row["cost_micros"].as_i64().expect("cost_micros"), row["estimated"].as_bool().expect("estimated"))
}

#[tokio::test]
async fn row_success_upstream_reports_usage_also_explicit_zeros_costs_price_times_reported_usage() {
    let world = World::new().await;
    for (input, output) in [(10, 5), (0, 0), (1_000, 0), (0, 3)] {
        let before = world.spent().await;
        world.upstream.next(UPSTREAM_MODEL, [Reply::chat("Hello there", input, output)]);
        let answer = world.caller.chat(MODEL, "Hi").await;
        let body = answer.expect(200);
        let (input, output) = (i64::try_from(input).unwrap(), i64::try_from(output).unwrap());
        assert_eq!(answer.cost(), price(input, output), "{body}");
        assert_eq!(body["usage"]["prompt_tokens"], json!(input), "the upstream's own numbers stay");
        let row = world.usage_of(&answer.request_id()).await;
        assert_eq!(charge(&row), (price(input, output), false), "{row}");
        assert_eq!((row["input_tokens"].as_i64(), row["output_tokens"].as_i64()), (Some(input), Some(output)));
        assert_eq!(world.spent().await - before, price(input, output));
    }
    for (input, output) in [(20, 4), (0, 0)] {
        let before = world.spent().await;
        world.upstream.next(UPSTREAM_MODEL, [Reply::good_stream("Hello there", Some((input, output)))]);
        let stream = world.caller.chat_stream(MODEL, "Hi").await;
        let request_id = stream.request_id();
        let transcript = stream.finish().await.ended_well();
        let expected = price(i64::try_from(input).unwrap(), i64::try_from(output).unwrap());
        assert_eq!(transcript.cost(), expected);
        assert_eq!(charge(&world.usage_of(&request_id).await), (expected, false));
        assert_eq!(world.spent().await - before, expected);
    }
    world.finish().await;
}

#[tokio::test]
async fn row_success_cached_and_reasoning_tokens_are_priced_by_their_own_buckets() {
    let world = World::new().await;
    let mut priced = model("test/cached", "cached");
    priced["prices"] = json!([
        token_price("input_token", 10),
        token_price("cached_input_token", 1),
        token_price("output_token", 100),
        token_price("reasoning_token", 50),
    ]);
    world.app.admin.create_model(&priced).await;
    let mut reported = usage(1_000, 30);
    reported["prompt_tokens_details"] = json!({"cached_tokens": 900});
    reported["completion_tokens_details"] = json!({"reasoning_tokens": 20});
    world.upstream.always("cached", Reply::ok(&completion("Hello", Some(reported))));
    let answer = world.caller.chat("test/cached", "Hi").await;
    answer.expect(200);
    assert_eq!(answer.cost(), 100 * 10 + 900 + 10 * 100 + 20 * 50);
    let row = world.usage_of(&answer.request_id()).await;
    assert_eq!((row["input_tokens"].as_i64(), row["cached_tokens"].as_i64()), (Some(1_000), Some(900)), "{row}");
    world.finish().await;
}

#[tokio::test]
async fn row_success_no_usage_reported_costs_price_times_our_own_count_marked_estimated() {
    let world = World::new().await;
    let said = "one two three four five";
    world.upstream.next(UPSTREAM_MODEL, [Reply::chat_without_usage(said), Reply::good_stream(said, None)]);

    let answer = world.caller.chat(MODEL, "How many words?").await;
    answer.expect(200);
    let plain = world.usage_of(&answer.request_id()).await;
    let stream = world.caller.chat_stream(MODEL, "How many words?").await;
    let request_id = stream.request_id();
    let transcript = stream.finish().await.ended_well();
    let streamed = world.usage_of(&request_id).await;

    for (row, cost) in [(plain, answer.cost()), (streamed, transcript.cost())] {
        let (input, output) = (row["input_tokens"].as_i64().unwrap(), row["output_tokens"].as_i64().unwrap());
        assert_eq!(output, count(said), "{row}");
        assert!((count("How many words?")..count("How many words?") + 20).contains(&input), "{row}");
        assert_eq!(charge(&row), (price(input, output), true));
        assert_eq!(cost, price(input, output));
    }
    world.finish().await;
}

#[tokio::test]
async fn row_refused_by_us_auth_limit_credits_validation_costs_0_and_no_hold_remains() {
    let world = World::new().await;
    let (poor, poor_caller) = world.another("poor", 0).await;
    let limited = world.app.admin.caller_of(&world.account, &json!({"limits": {"rpm": 1}})).await;
    limited.chat(MODEL, "the one").await.expect(200);
    let spent = world.spent().await;
    let calls = world.upstream.count(UPSTREAM_MODEL);

    world.caller.with_key("px_live_wrong").chat(MODEL, "Hi").await.refused(401, "invalid_api_key");
    limited.chat(MODEL, "Hi").await.refused(429, "rate_limit_exceeded");
    let refused = poor_caller.chat(MODEL, "Hi").await;
    refused.refused(402, "insufficient_credits");
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    world.caller.chat("test/none", "Hi").await.refused(404, "model_not_found");
    world.caller.post("/v1/chat/completions", &json!({"model": MODEL, "messages": "Hi"})).await.refused(400, "invalid_request");

    assert_eq!(world.upstream.count(UPSTREAM_MODEL), calls, "the upstream is not called");
    assert_eq!(world.spent().await, spent);
    assert_eq!(world.app.admin.settled_balance(&poor).await.spent, 0);
    assert_eq!(world.app.admin.ledger(&poor).await, Vec::<Value>::new(), "a refusal leaves no ledger rows");
    assert!(world.app.admin.usage(&poor).await.iter().all(|row| row["cost_micros"] == json!(0)));
    world.finish().await;
}

#[tokio::test]
async fn row_upstream_error_or_timeout_before_the_first_content_byte_costs_0_and_the_hold_is_released() {
    let world = World::with(|settings| settings.upstream.breaker_failures = 1_000).await;
    world.app.admin.patch_upstream("mock", &json!({"timeouts": {"first_byte_ms": 300}})).await;
    let error_inside = || Reply::ok(&json!({"error": {"message": "no GPU left", "type": "server_error", "code": 500}}));
    let error_first = || Reply::stream().event(&json!({"error": {"message": "no GPU left"}})).end();
    let cases: [(&str, Reply, bool, u16, &str); 9] = [
        ("500", Reply::error(500, "boom"), false, 502, "upstream_error"),
        ("cut", Reply::cut(), false, 502, "upstream_error"),
        ("no HTTP", Reply::not_http(), false, 502, "upstream_error"),
        ("garbage", Reply::garbage(), false, 502, "upstream_error"),
        ("cut inside", Reply::cut_inside_body(), false, 502, "upstream_error"),
        ("200 with an error", error_inside(), false, 502, "upstream_error"),
        ("stream of an error", error_first(), true, 502, "upstream_error"),
        ("stream cut early", Reply::stream().role().then_cut(), true, 502, "upstream_error"),
        ("timeout", Reply::hang(), false, 504, "upstream_timeout"),
    ];
    for (name, reply, stream, status, code) in cases {
        world.upstream.always(UPSTREAM_MODEL, reply);
        let body = if stream { streamed(chat(MODEL, "Hi")) } else { chat(MODEL, "Hi") };
        let answer = world.caller.post("/v1/chat/completions", &body).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text);
        answer.refused(status, code);
        let rows = world.app.admin.usage(&world.account).await;
        assert!(rows.iter().all(|row| row["cost_micros"] == json!(0)), "{name}: {rows:?}");
    }
    let balance = world.app.admin.settled_balance(&world.account).await;
    assert_eq!((balance.available, balance.spent), (CREDITS, 0));
    world.finish().await;
}

#[tokio::test]
async fn row_upstream_breaks_off_mid_stream_costs_what_was_delivered_estimated_and_ends_with_an_error_event() {
    let world = World::new().await;
    let spoken = || Reply::stream().role().say("one ").say("two ").say("three ");
    let error = json!({"error": {"message": "the model crashed", "type": "server_error"}});
    world.upstream.next(UPSTREAM_MODEL, [spoken().then_cut(), spoken().end(), spoken().event(&error).end()]);
    let mut spent = 0;
    for _ in 0..3 {
        let stream = world.caller.chat_stream(MODEL, "Count").await;
        let request_id = stream.request_id();
        let transcript = stream.finish().await;
        assert!(!transcript.done && !transcript.cut, "never like a good end: {transcript:?}");
        let error = transcript.error.as_ref().expect("an error event");
        assert_eq!(error["code"], json!("upstream_error"), "{error}");
        assert_eq!(error["request_id"], json!(request_id));
        assert_eq!(transcript.text(), "one two three ");
        let row = world.usage_of(&request_id).await;
        assert_eq!(row["output_tokens"], json!(count("one two three ")), "{row}");
        let cost = price(row["input_tokens"].as_i64().unwrap(), count("one two three "));
        assert_eq!(charge(&row), (cost, true));
        spent += cost;
    }
    assert_eq!(world.spent().await, spent);
    world.finish().await;
}

#[tokio::test]
async fn row_client_hangs_up_mid_stream_costs_reported_usage_if_it_arrives_within_the_drain_limit() {
    let world = World::new().await;
    let gate = Gate::closed();
    let reply = Reply::stream().role().say("one ").wait(&gate).say("two ").finish().usage(10, 5).done();
    world.upstream.next(UPSTREAM_MODEL, [reply]);
    let mut stream = world.caller.chat_stream(MODEL, "Count").await;
    let request_id = stream.request_id();
    stream.until("one ").await;
    drop(stream);
    gate.open();
    let row = world.usage_of(&request_id).await;
    assert_eq!(charge(&row), (price(10, 5), false), "{row}");
    assert_eq!(world.spent().await, price(10, 5));
    world.finish().await;
}

#[tokio::test]
async fn row_client_hangs_up_mid_stream_else_costs_what_was_produced_estimated_and_the_upstream_is_told_to_stop() {
    let world = World::with(|settings| settings.upstream.client_gone_drain_seconds = 1).await;
    world.upstream.next(UPSTREAM_MODEL, [Reply::stream().role().say("one ").say("two ").then_hang()]);
    let mut stream = world.caller.chat_stream(MODEL, "Count").await;
    let request_id = stream.request_id();
    stream.until("two ").await;
    drop(stream);
    until("the upstream is told to stop", || world.upstream.last(UPSTREAM_MODEL).was_closed()).await;
    let row = world.usage_of(&request_id).await;
    assert_eq!(charge(&row), (price(row["input_tokens"].as_i64().unwrap(), count("one two ")), true), "{row}");
    assert_eq!(world.spent().await, row["cost_micros"].as_i64().unwrap());
    world.finish().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_before_the_first_byte_holds_nothing() {
    let world = World::with(|settings| settings.upstream.client_gone_drain_seconds = 1).await;
    world.upstream.always(UPSTREAM_MODEL, Reply::hang());
    for body in [chat(MODEL, "Hi"), streamed(chat(MODEL, "Hi"))] {
        let seen = world.upstream.count(UPSTREAM_MODEL);
        let caller = world.caller.clone();
        let call = tokio::spawn(async move { caller.post("/v1/chat/completions", &body).await });
        until("the upstream is called", || world.upstream.count(UPSTREAM_MODEL) > seen).await;
        call.abort();
        until("the upstream is told to stop", || world.upstream.last(UPSTREAM_MODEL).was_closed()).await;
    }
    assert_eq!(world.spent().await, 0);
    world.finish().await;
}

#[tokio::test]
async fn row_retries_and_fallbacks_cost_only_the_attempt_that_was_delivered_one_hold_covers_all() {
    let world = World::new().await;
    let mut fallback = model("test/fallback", "first");
    fallback["routes"] = json!([
        {"upstream": "mock", "upstream_model": "first", "priority": 0},
        {"upstream": "mock", "upstream_model": "second", "priority": 1},
    ]);
    world.app.admin.create_model(&fallback).await;
    let gate = Gate::closed();
    world.upstream.always("first", Reply::error(503, "busy"));
    world.upstream.always("second", Reply::chat("Hello", 10, 5).after(&gate));
    let call = {
        let caller = world.caller.clone();
        tokio::spawn(async move { caller.chat("test/fallback", "Hi").await })
    };
    until("the second route is tried", || world.upstream.count("second") == 1).await;
    let held = world.app.admin.balance(&world.account).await.held;
    assert!((price(1, 100)..price(50, 100)).contains(&held), "one hold, not one an attempt: {held}");
    gate.open();
    let answer = call.await.unwrap();
    answer.expect(200);
    assert!(world.upstream.count("first") >= 1);
    assert_eq!(answer.cost(), price(10, 5));
    assert_eq!(charge(&world.usage_of(&answer.request_id()).await), (price(10, 5), false));
    assert_eq!(world.spent().await, price(10, 5));

    world.upstream.next(UPSTREAM_MODEL, [Reply::error(500, "boom"), Reply::chat("Hello", 20, 5)]);
    let answer = world.caller.chat(MODEL, "Hi").await;
    assert_eq!(answer.cost(), price(20, 5), "retried on the same route");
    assert_eq!(world.spent().await, price(10, 5) + price(20, 5));
    world.finish().await;
}

#[tokio::test]
async fn row_polling_or_fetching_a_result_any_number_of_times_costs_0() {
    let world = World::new().await;
    let answer = world.caller.chat(MODEL, "Hi").await;
    answer.expect(200);
    world.usage_of(&answer.request_id()).await;
    let spent = world.spent().await;
    for _ in 0..5 {
        for path in [format!("/v1/generation?id={}", answer.request_id()), "/v1/usage".into(), "/v1/credits".into(), "/v1/key".into()] {
            world.caller.get(&path).await.expect(200);
        }
    }
    assert_eq!(world.spent().await, spent);
    world.finish().await;
}

#[tokio::test]
async fn row_actual_cost_above_the_hold_takes_available_credits_first_the_rest_becomes_debt() {
    let world = World::new().await;
    let mut tight = model("test/tight", "tight");
    tight["max_output_tokens"] = json!(1);
    world.app.admin.create_model(&tight).await;
    let (account, caller) = world.another("debtor", 5_000).await;
    world.upstream.always("tight", Reply::chat("Much more than was asked for", 1_000, 1_000));

    let answer = caller.chat("test/tight", "Hi").await;
    answer.expect(200);
    let cost = price(1_000, 1_000);
    assert_eq!(answer.cost(), cost, "the caller sees the real cost");
    let balance = world.app.admin.settled_balance(&account).await;
    assert_eq!((balance.available, balance.debt, balance.spent), (0, cost - 5_000, cost));

    let refused = caller.chat(MODEL, "Hi").await;
    refused.refused(402, "insufficient_credits");
    assert_eq!(refused.header("x-should-retry"), Some("false"));

    world.app.admin.grant(&account, 20_000).await;
    let balance = world.app.admin.settled_balance(&account).await;
    assert_eq!((balance.available, balance.debt), (20_000 - (cost - 5_000), 0), "the grant repays the debt first");
    caller.chat(MODEL, "Hi").await.expect(200);
    world.finish().await;
}

#[tokio::test]
async fn spending_stays_refused_while_a_grant_does_not_cover_the_debt() {
    let world = World::new().await;
    let mut tight = model("test/tight", "tight");
    tight["max_output_tokens"] = json!(1);
    world.app.admin.create_model(&tight).await;
    let (account, caller) = world.another("debtor", 1_000).await;
    world.upstream.always("tight", Reply::chat("Much more than was asked for", 0, 1_000));
    caller.chat("test/tight", "Hi").await.expect(200);
    world.app.admin.grant(&account, 2_000).await;
    let balance = world.app.admin.settled_balance(&account).await;
    assert_eq!((balance.available, balance.debt), (0, 7_000 - 3_000));
    caller.chat(MODEL, "Hi").await.refused(402, "insufficient_credits");
    world.finish().await;
}

#[tokio::test]
async fn row_node_dies_with_an_open_hold_releases_what_was_not_captured_and_a_row_marked_unknown_tells_the_operator() {
    let mut process = TestProcess::start(&[("LEDGER__HOLD_JOURNAL_AFTER_MS", "0")]).await;
    let upstream = Upstream::start().await;
    let admin = process.admin.clone();
    admin.create_upstream("mock", &upstream.base_url(), &json!({})).await;
    admin.create_model(&model(MODEL, UPSTREAM_MODEL)).await;
    let account = admin.create_account("owner").await;
    admin.grant(&account, CREDITS).await;
    let caller = admin.caller_of(&account, &json!({})).await;
    let paid = caller.chat(MODEL, "Hi").await;
    paid.expect(200);

    upstream.always(UPSTREAM_MODEL, Reply::hang());
    let hanging = {
        let caller = caller.clone();
        let request = caller.request(reqwest::Method::POST, "/v1/chat/completions").json(&chat(MODEL, "Hi"));
        tokio::spawn(async move { Answer::read(request.header("x-request-id", "lost-call-1")).await })
    };
    eventually("the open hold is journaled", || async {
        (process.database.number("SELECT count(*) FROM open_holds WHERE request_id = 'lost-call-1'").await == 1).then_some(())
    })
    .await;
    process.kill();
    assert!(hanging.await.unwrap().is_err(), "the call got no answer");

    process.spawn();
    process.ready().await;
    let balance = admin.settled_balance(&account).await;
    assert_eq!((balance.available, balance.spent), (CREDITS - price(10, 5), price(10, 5)));
    let row = admin.usage_of(&account, "lost-call-1").await;
    assert!(row.to_string().contains("\"unknown\""), "{row}");
    assert_eq!(row["cost_micros"], json!(0));
    assert_eq!(charge(&admin.usage_of(&account, &paid.request_id()).await), (price(10, 5), false), "what was captured stays");
    upstream.always(UPSTREAM_MODEL, Reply::chat("Hello again", 10, 5));
    caller.chat(MODEL, "Hi").await.expect(200);
    process.finish().await;
}

#[tokio::test]
async fn row_price_changed_while_the_call_ran_the_price_at_admission_counts() {
    let world = World::new().await;
    let gate = Gate::closed();
    world.upstream.next(UPSTREAM_MODEL, [Reply::chat("Hello", 10, 5).after(&gate)]);
    let call = {
        let caller = world.caller.clone();
        tokio::spawn(async move { caller.chat(MODEL, "Hi").await })
    };
    until("the call runs", || world.upstream.count(UPSTREAM_MODEL) == 1).await;
    let dearer = json!({"prices": [token_price("input_token", 100), token_price("output_token", 200)]});
    world.app.admin.patch_model(MODEL, &dearer).await;
    gate.open();
    let before = call.await.unwrap();
    before.expect(200);
    assert_eq!(before.cost(), price(10, 5));
    let after = world.caller.chat(MODEL, "Hi").await;
    assert_eq!(after.cost(), 10 * 100 + 5 * 200, "the very next call pays the new price");
    assert_eq!(world.spent().await, before.cost() + after.cost());
    world.finish().await;
}

#[tokio::test]
async fn streams_cut_by_the_drain_limit_are_charged_for_what_was_delivered() {
    let mut process = TestProcess::start(&[("SERVER__DRAIN_SECONDS", "1")]).await;
    let upstream = Upstream::start().await;
    let admin = process.admin.clone();
    admin.create_upstream("mock", &upstream.base_url(), &json!({})).await;
    admin.create_model(&model(MODEL, UPSTREAM_MODEL)).await;
    let account = admin.create_account("owner").await;
    admin.grant(&account, CREDITS).await;
    let caller = admin.caller_of(&account, &json!({})).await;
    upstream.next(UPSTREAM_MODEL, [Reply::stream().role().say("one ").say("two ").then_hang()]);
    let mut stream = caller.chat_stream(MODEL, "Count").await;
    let request_id = stream.request_id();
    stream.until("two ").await;
    process.terminate();
    let transcript = tokio::time::timeout(Duration::from_secs(15), stream.finish()).await.expect("the drain limit cuts the stream");
    assert!(!transcript.done, "never like a good end: {transcript:?}");
    assert_eq!(process.ended().await, 0, "{}", process.stderr());

    process.spawn();
    process.ready().await;
    let row = admin.usage_of(&account, &request_id).await;
    assert_eq!(charge(&row), (price(row["input_tokens"].as_i64().unwrap(), count("one two ")), true), "{row}");
    process.finish().await;
}
