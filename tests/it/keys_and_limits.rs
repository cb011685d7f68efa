//! Whether a key may call, and how often: every refusal of admission, each with its status, its code and the limit that it names.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    client::{Answer, Caller, chat, until},
    upstream::{Gate, Reply},
    world::{CREDITS, MODEL, UPSTREAM_MODEL, World, model, price},
};

const HOUR: Duration = Duration::from_secs(3_600);

/// A caller with a new key of the usual account.
async fn keyed(world: &World, fields: Value) -> Caller {
    world.app.admin.caller_of(&world.account, &fields).await
}

/// A 429 that names this limit and scope and says when to come back, in seconds.
#[track_caller]
fn limited(answer: &Answer, limit: &str, scope: &str) -> i64 {
    let error = answer.refused(429, "rate_limit_exceeded");
    assert_eq!((&error["limit"], &error["scope"]), (&json!(limit), &json!(scope)), "{}", answer.text);
    let retry_after = answer.number("retry-after");
    assert!(retry_after >= 1, "{retry_after}");
    retry_after
}

#[tokio::test]
async fn requests_per_minute_of_a_key_and_of_its_account() {
    let world = World::manual(|_| {}).await;
    let caller = keyed(&world, json!({"limits": {"rpm": 2}})).await;
    let first = caller.chat(MODEL, "1").await;
    first.expect(200);
    assert_eq!((first.number("x-ratelimit-limit-requests"), first.number("x-ratelimit-remaining-requests")), (2, 1));
    caller.chat(MODEL, "2").await.expect(200);
    let refused = caller.chat(MODEL, "3").await;
    let wait = limited(&refused, "rpm", "key");
    assert!(wait <= 30, "{wait}");
    assert_eq!(refused.number("x-ratelimit-remaining-requests"), 0);
    world.app.advance(Duration::from_secs(u64::try_from(wait).unwrap()));
    caller.chat(MODEL, "4").await.expect(200);
    limited(&caller.chat(MODEL, "5").await, "rpm", "key");

    world.app.admin.patch_account(&world.account, &json!({"limits": {"rpm": 1}})).await;
    world.caller.chat(MODEL, "6").await.expect(200);
    limited(&world.caller.chat(MODEL, "7").await, "rpm", "account");
    assert_eq!(world.spent().await, 4 * price(10, 5));
    world.finish().await;
}

#[tokio::test]
async fn requests_per_day() {
    let world = World::manual(|_| {}).await;
    let caller = keyed(&world, json!({"limits": {"rpd": 2}})).await;
    caller.chat(MODEL, "1").await.expect(200);
    caller.chat(MODEL, "2").await.expect(200);
    limited(&caller.chat(MODEL, "3").await, "rpd", "key");
    world.app.advance(HOUR);
    limited(&caller.chat(MODEL, "3").await, "rpd", "key");
    world.app.advance(12 * HOUR);
    caller.chat(MODEL, "3").await.expect(200);
    world.finish().await;
}

#[tokio::test]
async fn tokens_per_minute_count_the_estimate_and_give_the_unused_part_back() {
    let world = World::manual(|_| {}).await;
    // One call is estimated at a little more than 100 tokens and uses 15.
    let caller = keyed(&world, json!({"limits": {"tpm": 190}})).await;
    for left in [175, 160, 145, 130, 115] {
        let answer = caller.chat(MODEL, "Hi").await;
        answer.expect(200);
        assert_eq!(answer.number("x-ratelimit-limit-tokens"), 190);
        assert!(answer.number("x-ratelimit-remaining-tokens") <= left + 15);
    }
    // 115 are left; one more call leaves 100, too few for the estimate of the next.
    caller.chat(MODEL, "Hi").await.expect(200);
    let wait = limited(&caller.chat(MODEL, "Hi").await, "tpm", "key");
    assert!(wait <= 60, "{wait}");
    world.app.advance(Duration::from_secs(60));
    caller.chat(MODEL, "Hi").await.expect(200);

    let tiny = keyed(&world, json!({"limits": {"tpm": 50}})).await;
    let never = tiny.chat(MODEL, "Hi").await;
    assert!([400, 429].contains(&never.status), "{}", never.text);
    assert!(never.text.contains("tpm"), "{}", never.text);
    world.finish().await;
}

#[tokio::test]
async fn a_refused_call_takes_nothing_from_the_other_limits() {
    let world = World::manual(|_| {}).await;
    let caller = keyed(&world, json!({"limits": {"tpm": 250, "rpm": 3}})).await;
    let gate = Gate::closed();
    world.upstream.next(UPSTREAM_MODEL, [Reply::chat("Hello", 10, 5).after(&gate), Reply::chat("Hello", 10, 5).after(&gate)]);
    let calls: Vec<_> = (0..2).map(|_| running(&caller)).collect();
    until("both calls run", || world.upstream.count(UPSTREAM_MODEL) == 2).await;
    limited(&caller.chat(MODEL, "Hi").await, "tpm", "key");
    gate.open();
    for call in calls {
        call.await.unwrap().expect(200);
    }
    let third = caller.chat(MODEL, "Hi").await;
    third.expect(200);
    assert_eq!(third.number("x-ratelimit-remaining-requests"), 0, "the refused call was not counted");
    world.finish().await;
}

fn running(caller: &Caller) -> tokio::task::JoinHandle<Answer> {
    let caller = caller.clone();
    tokio::spawn(async move { caller.chat(MODEL, "Hi").await })
}

#[tokio::test]
async fn over_the_concurrency_limit_a_call_is_refused_not_queued() {
    let world = World::new().await;
    let caller = keyed(&world, json!({"limits": {"concurrency": 1}})).await;
    let gate = Gate::closed();
    world.upstream.next(UPSTREAM_MODEL, [Reply::chat("Hello", 10, 5).after(&gate)]);
    let first = running(&caller);
    until("the first call runs", || world.upstream.count(UPSTREAM_MODEL) == 1).await;
    limited(&caller.chat(MODEL, "Hi").await, "concurrency", "key");
    world.caller.chat(MODEL, "another key").await.expect(200);
    gate.open();
    first.await.unwrap().expect(200);
    // A whole answer means that its place is free again, every time.
    for _ in 0..30 {
        caller.chat(MODEL, "Hi").await.expect(200);
        caller.chat_stream(MODEL, "Hi").await.finish().await.ended_well();
    }
    world.app.admin.patch_account(&world.account, &json!({"limits": {"concurrency": 1}})).await;
    let gate = Gate::closed();
    world.upstream.next(UPSTREAM_MODEL, [Reply::chat("Hello", 10, 5).after(&gate)]);
    let seen = world.upstream.count(UPSTREAM_MODEL);
    let first = running(&world.caller);
    until("the first call runs", || world.upstream.count(UPSTREAM_MODEL) == seen + 1).await;
    limited(&world.caller.chat(MODEL, "Hi").await, "concurrency", "account");
    gate.open();
    first.await.unwrap().expect(200);
    world.finish().await;
}

#[tokio::test]
async fn an_exhausted_budget_is_402_until_its_period_ends() {
    let world = World::manual(|_| {}).await;
    // Room for one hold of about 730, which what the first call costs makes too small.
    let caller = keyed(&world, json!({"budget": {"micros": 760, "period": "day"}})).await;
    caller.chat(MODEL, "Hi").await.expect(200);
    let refused = caller.chat(MODEL, "Hi").await;
    let error = refused.refused(402, "insufficient_credits");
    assert_eq!(error["limit"], json!("budget"));
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    world.caller.chat(MODEL, "another key").await.expect(200);
    world.app.advance(13 * HOUR);
    caller.chat(MODEL, "the next day").await.expect(200);
    world.finish().await;
}

#[tokio::test]
async fn a_budget_is_shared_by_calls_at_the_same_time_and_survives_a_restart() {
    let mut world = World::new().await;
    let mut flat = model("test/flat", "flat");
    flat["prices"] = json!([{"unit": "request", "micros": 1_000, "per": 1}]);
    world.app.admin.create_model(&flat).await;
    let caller = keyed(&world, json!({"budget": {"micros": 5_000, "period": "total"}})).await;
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let caller = caller.clone();
            tokio::spawn(async move { caller.chat("test/flat", "Hi").await.status })
        })
        .collect();
    let mut statuses = Vec::new();
    for call in calls {
        statuses.push(call.await.unwrap());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 5, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 402).count(), 15, "{statuses:?}");
    world.app.restart().await;
    caller.chat("test/flat", "Hi").await.refused(402, "insufficient_credits");
    world.finish().await;
}

#[tokio::test]
async fn scopes_separate_calling_from_administering() {
    let world = World::new().await;
    let account_only = keyed(&world, json!({"scopes": ["account"]})).await;
    assert_eq!(account_only.chat(MODEL, "Hi").await.status, 403);
    assert_eq!(world.caller.get("/admin/v1/accounts").await.status, 403, "an inference key is no admin");
    for (method, path) in [(Method::GET, "/admin/v1/ledger/check"), (Method::GET, "/admin/v1/actors"), (Method::POST, "/admin/v1/accounts")]
    {
        let request = world.caller.anonymous(method.clone(), path).json(&json!({"email": "x@example.com"}));
        assert_eq!(Answer::of(request).await.status, 401, "{method} {path}");
        assert_eq!(Answer::of(account_only.request(method.clone(), path).json(&json!({"email": "x@example.com"}))).await.status, 403);
    }
    world.finish().await;
}

#[tokio::test]
async fn model_lists_allow_exact_names_and_prefixes() {
    let world = World::new().await;
    world.app.admin.create_model(&model("other/model", UPSTREAM_MODEL)).await;
    let exact = keyed(&world, json!({"models": [MODEL]})).await;
    exact.chat(MODEL, "Hi").await.expect(200);
    let refused = exact.chat("other/model", "Hi").await;
    refused.refused(403, "model_not_allowed");
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    let prefix = keyed(&world, json!({"models": ["other/*"]})).await;
    prefix.chat("other/model", "Hi").await.expect(200);
    prefix.chat(MODEL, "Hi").await.refused(403, "model_not_allowed");
    world.finish().await;
}

#[tokio::test]
async fn address_lists_see_through_trusted_proxies_only() {
    let forwarded = [("x-forwarded-for", "203.0.113.9, 10.1.2.3")];
    let path = "/v1/chat/completions";
    let world = World::new().await;
    let local = keyed(&world, json!({"ip_allow": ["127.0.0.1", "::1"]})).await;
    local.chat(MODEL, "Hi").await.expect(200);
    let elsewhere = keyed(&world, json!({"ip_allow": ["10.0.0.0/8"]})).await;
    elsewhere.chat(MODEL, "Hi").await.refused(403, "ip_not_allowed");
    elsewhere.post_with(path, &forwarded, &chat(MODEL, "Hi")).await.refused(403, "ip_not_allowed");
    world.finish().await;

    let world = World::with(|settings| settings.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    let elsewhere = keyed(&world, json!({"ip_allow": ["10.0.0.0/8"]})).await;
    elsewhere.post_with(path, &forwarded, &chat(MODEL, "Hi")).await.expect(200);
    let spoofed = [("x-forwarded-for", "10.1.2.3, 203.0.113.9")];
    elsewhere.post_with(path, &spoofed, &chat(MODEL, "Hi")).await.refused(403, "ip_not_allowed");
    world.finish().await;
}

#[tokio::test]
async fn an_expired_key_is_refused() {
    let world = World::manual(|_| {}).await;
    let caller = keyed(&world, json!({"expires_at": "2025-07-15T13:00:00Z"})).await;
    caller.chat(MODEL, "Hi").await.expect(200);
    world.app.advance(HOUR);
    caller.chat(MODEL, "Hi").await.refused(401, "invalid_api_key");
    world.finish().await;
}

#[tokio::test]
async fn revoking_acts_on_the_very_next_call() {
    let world = World::new().await;
    let key = world.app.admin.create_key(&world.account, &json!({})).await;
    let caller = world.caller.with_key(&key.key);
    for _ in 0..10 {
        caller.chat(MODEL, "Hi").await.expect(200);
    }
    world.app.admin.caller.delete(&format!("/admin/v1/keys/{}", key.id)).await.success();
    caller.chat(MODEL, "Hi").await.refused(401, "invalid_api_key");
    caller.get("/v1/key").await.refused(401, "invalid_api_key");
    world.caller.chat(MODEL, "Hi").await.expect(200);
    world.finish().await;
}

#[tokio::test]
async fn a_new_key_works_at_once_even_after_it_was_unknown() {
    let world = World::new().await;
    let key = world.app.admin.create_key(&world.account, &json!({})).await;
    world.caller.with_key(&key.key).chat(MODEL, "Hi").await.expect(200);
    for _ in 0..5 {
        let fresh = world.app.admin.create_account(&format!("fresh-{}", pixgate::clock::Clock::system().new_id("x"))).await;
        world.app.admin.grant(&fresh, CREDITS).await;
        world.app.admin.caller_of(&fresh, &json!({})).await.chat(MODEL, "Hi").await.expect(200);
    }
    world.finish().await;
}

#[tokio::test]
async fn rotating_keeps_the_old_key_for_its_grace() {
    let world = World::manual(|_| {}).await;
    let old = world.app.admin.create_key(&world.account, &json!({"models": [MODEL]})).await;
    let rotated = world.app.admin.caller.post(&format!("/admin/v1/keys/{}/rotate", old.id), &json!({"grace_seconds": 60})).await.success();
    assert_ne!(rotated["id"], json!(old.id));
    let (old, new) = (world.caller.with_key(&old.key), world.caller.with_key(rotated["key"].as_str().expect("the new secret")));
    old.chat(MODEL, "Hi").await.expect(200);
    new.chat(MODEL, "Hi").await.expect(200);
    new.chat("pixgate/echo", "Hi").await.refused(403, "model_not_allowed");
    world.app.advance(Duration::from_secs(61));
    old.chat(MODEL, "Hi").await.refused(401, "invalid_api_key");
    new.chat(MODEL, "Hi").await.expect(200);
    world.finish().await;
}

#[tokio::test]
async fn a_suspended_account_is_refused_until_it_is_active_again() {
    let world = World::new().await;
    world.caller.chat(MODEL, "Hi").await.expect(200);
    world.app.admin.patch_account(&world.account, &json!({"status": "suspended"})).await;
    let refused = world.caller.chat(MODEL, "Hi").await;
    refused.refused(403, "account_suspended");
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    world.app.admin.patch_account(&world.account, &json!({"status": "active"})).await;
    world.caller.chat(MODEL, "Hi").await.expect(200);
    world.finish().await;
}

#[tokio::test]
async fn keys_need_a_verified_owner_unless_switched_off() {
    let unverified = json!({"email": "new@example.com", "verified": false});
    let world = World::new().await;
    let account = world.app.admin.create_account_from(&unverified).await;
    world.app.admin.grant(&account, CREDITS).await;
    let caller = world.app.admin.caller_of(&account, &json!({})).await;
    caller.chat(MODEL, "Hi").await.refused(403, "email_unverified");
    world.finish().await;

    let world = World::with(|settings| settings.security.require_verified_email = false).await;
    let account = world.app.admin.create_account_from(&unverified).await;
    world.app.admin.grant(&account, CREDITS).await;
    world.app.admin.caller_of(&account, &json!({})).await.chat(MODEL, "Hi").await.expect(200);
    world.finish().await;
}

#[tokio::test]
async fn whatever_is_wrong_with_a_key_looks_the_same() {
    let world = World::new().await;
    let good = world.caller.key.clone();
    let damaged = |at: usize| {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
        String::from_utf8(bytes).unwrap()
    };
    let long = "k".repeat(4_000);
    let keys =
        ["x", "px_live_", "sk-proj-1234567890", &long, &damaged(good.len() - 1), &damaged(25), &damaged(10), &good[..good.len() - 1]];
    let mut messages = Vec::new();
    for key in keys {
        let refused = world.caller.with_key(key).chat(MODEL, "Hi").await;
        let error = refused.refused(401, "invalid_api_key");
        assert!(!refused.text.contains(key) || key.len() < 5, "a key is not echoed: {}", refused.text);
        messages.push(error["message"].to_string());
    }
    let anonymous = Answer::of(world.caller.anonymous(Method::POST, "/v1/chat/completions").json(&chat(MODEL, "Hi"))).await;
    anonymous.refused(401, "invalid_api_key");
    world.caller.chat(MODEL, "Hi").await.expect(200);
    world.finish().await;
}

#[tokio::test]
async fn a_changed_limit_acts_on_the_very_next_call() {
    let world = World::new().await;
    let key = world.app.admin.create_key(&world.account, &json!({})).await;
    let caller = world.caller.with_key(&key.key);
    caller.chat(MODEL, "Hi").await.expect(200);
    world.app.admin.caller.patch(&format!("/admin/v1/keys/{}", key.id), &json!({"limits": {"rpm": 1}})).await.success();
    caller.chat(MODEL, "Hi").await.expect(200);
    limited(&caller.chat(MODEL, "Hi").await, "rpm", "key");
    world.app.admin.caller.patch(&format!("/admin/v1/keys/{}", key.id), &json!({"limits": {}})).await.success();
    caller.chat(MODEL, "Hi").await.expect(200);
    world.finish().await;
}

#[tokio::test]
async fn calls_that_wait_for_a_lease_count_as_running() {
    let world = World::new().await;
    let (account, _) = world.another("cold", CREDITS).await;
    let caller = world.app.admin.caller_of(&account, &json!({"limits": {"concurrency": 1}})).await;
    let gate = Gate::closed();
    world.upstream.next(UPSTREAM_MODEL, (0..8).map(|_| Reply::chat("Hello", 10, 5).after(&gate)));
    let calls: Vec<_> = (0..8).map(|_| running(&caller)).collect();
    until("one call runs", || world.upstream.count(UPSTREAM_MODEL) == 1).await;
    gate.open();
    let mut served = 0;
    for call in calls {
        served += i32::from(call.await.unwrap().status == 200);
    }
    // Another may come in when the first has ended; never two at a time, which the count above would have shown.
    assert!((1..8).contains(&served), "{served}");
    world.finish().await;
}

#[tokio::test]
async fn retries_against_the_minute_limit_do_not_use_up_the_day() {
    let world = World::manual(|_| {}).await;
    let caller = keyed(&world, json!({"limits": {"rpm": 1, "rpd": 3}})).await;
    caller.chat(MODEL, "1").await.expect(200);
    for _ in 0..5 {
        limited(&caller.chat(MODEL, "2").await, "rpm", "key");
    }
    world.app.advance(Duration::from_secs(61));
    caller.chat(MODEL, "3").await.expect(200);
    world.finish().await;
}

#[tokio::test]
async fn a_budget_that_is_lifted_during_a_call_comes_back_whole() {
    let world = World::new().await;
    let key = world.app.admin.create_key(&world.account, &json!({"budget": {"micros": 100_000, "period": "total"}})).await;
    let caller = world.caller.with_key(&key.key);
    let path = format!("/admin/v1/keys/{}", key.id);
    let gate = Gate::closed();
    world.upstream.next(UPSTREAM_MODEL, [Reply::chat("Hello", 10, 5).after(&gate)]);
    let call = running(&caller);
    until("the call runs", || world.upstream.count(UPSTREAM_MODEL) == 1).await;
    world.app.admin.caller.patch(&path, &json!({"budget": null})).await.expect(200);
    gate.open();
    call.await.unwrap().expect(200);
    world.app.admin.caller.patch(&path, &json!({"budget": {"micros": 100_000, "period": "total"}})).await.expect(200);
    let left = caller.get("/v1/key").await.expect(200)["data"]["limit_remaining"].to_string();
    let expected = 100_000 - price(10, 5);
    assert_eq!(left.trim_start_matches("0.").trim_end_matches('0'), format!("{expected:06}").trim_end_matches('0'));
    world.finish().await;
}
