//! Whose keys calls are made with: the upstream's, in turn; or one that the caller's account brought itself.

use pixgate::{config::providers::ProviderAccess, telemetry::redact::Secret};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    client::{Answer, Caller},
    upstream::{Reply, Upstream},
    world::{MODEL, UPSTREAM_MODEL, World, price},
};

async fn put(caller: &Caller, path: &str, body: &Value) -> Answer {
    Answer::of(caller.request(Method::PUT, path).json(body)).await
}

async fn observed(world: &World, upstream: &str) -> Value {
    let actors = world.app.admin.actors().await;
    let found = actors.into_iter().find(|actor| actor["kind"] == json!("upstream") && actor["name"] == json!(upstream));
    found.expect("the upstream's actor")
}

fn bearers(upstream: &Upstream, model: &str) -> Vec<String> {
    let seen = upstream.seen(model);
    let bearer = |header: Option<&str>| header.and_then(|header| header.strip_prefix("Bearer ")).unwrap_or_default().to_owned();
    seen.iter().map(|seen| bearer(seen.header("authorization"))).collect()
}

#[tokio::test]
async fn keys_take_turns_and_a_refused_one_rests() {
    let world = World::with(|settings| settings.upstream.retries_max = 0).await;
    let admin = &world.app.admin;
    let patched = admin.patch_upstream("mock", &json!({"api_key": "key-one", "api_keys": ["key-two", "key-three"]})).await;
    assert_eq!((&patched["has_api_key"], &patched["has_further_api_keys"]), (&json!(true), &json!(true)));
    assert!(!patched.to_string().contains("key-"), "{patched}");
    for _ in 0..6 {
        world.caller.chat(MODEL, "Hi").await.expect(200);
    }
    assert_eq!(bearers(&world.upstream, UPSTREAM_MODEL), ["key-one", "key-two", "key-three", "key-one", "key-two", "key-three"]);

    world.upstream.next(UPSTREAM_MODEL, [Reply::error_with(429, &[("retry-after", "60")], "slow down"), Reply::error(401, "who?")]);
    let answer = world.caller.chat(MODEL, "Hi").await;
    answer.expect(200);
    assert_eq!(bearers(&world.upstream, UPSTREAM_MODEL)[6..], ["key-one", "key-two", "key-three"]);
    assert_eq!(world.usage_of(&answer.request_id()).await["attempts"], json!(1), "another key is not another attempt");
    let actor = observed(&world, "mock").await;
    assert_eq!((&actor["observed"]["keys"], &actor["observed"]["keys_resting"]), (&json!(3), &json!(2)), "{actor}");
    assert!(!actor.to_string().contains("key-"), "{actor}");
    for _ in 0..2 {
        world.caller.chat(MODEL, "Hi").await.expect(200);
    }
    assert_eq!(bearers(&world.upstream, UPSTREAM_MODEL)[9..], ["key-three", "key-three"]);

    admin.patch_upstream("mock", &json!({"api_keys": null})).await;
    world.caller.chat(MODEL, "Hi").await.expect(200);
    assert_eq!(bearers(&world.upstream, UPSTREAM_MODEL)[11..], ["key-one"]);
    world.finish().await;
}

#[tokio::test]
async fn a_provider_knows_its_own_address_and_says_what_does_not_fit() {
    let world = World::new().await;
    let admin = &world.app.admin.caller;
    let create = async |body: Value| admin.post("/admin/v1/upstreams", &body).await;
    let groq = create(json!({"name": "groq", "provider": "groq", "api_key": "k", "enabled": false})).await.success();
    assert_eq!(groq["base_url"], json!("https://api.groq.com/openai/v1"));
    let options = json!({"region": "eu-west-1"});
    let bedrock =
        create(json!({"name": "aws", "provider": "bedrock", "api_key": "AKID:secret", "options": options, "enabled": false})).await;
    let bedrock = bedrock.success();
    assert_eq!((&bedrock["base_url"], &bedrock["options"]), (&json!("https://bedrock-runtime.eu-west-1.amazonaws.com"), &options));
    for (body, param) in [
        (json!({"name": "x", "provider": "acme"}), "provider"),
        (json!({"name": "x", "provider": "azure"}), "base_url"),
        (json!({"name": "x", "provider": "bedrock", "base_url": "http://127.0.0.1:1", "api_key": "AKID:secret"}), "api_key"),
        (json!({"name": "x", "provider": "vertex", "api_key": "{}"}), "api_key"),
        (json!({"name": "x", "provider": "openai", "api_keys": ["good", "b\u{7}d"]}), "api_keys[1]"),
        (json!({"name": "x", "provider": "openai", "options": {"speaks": ["poetry"]}}), "options.speaks"),
        (json!({"name": "x", "provider": "openai", "options": {"headers": {"host": "elsewhere"}}}), "options.headers"),
        (json!({"name": "x", "provider": "openai", "options": {"colour": 1}}), "options.colour"),
    ] {
        let refused = create(body).await;
        assert_eq!(refused.refused(400, "invalid_request")["param"], json!(param), "{}", refused.text);
    }
    world.finish().await;
}

#[tokio::test]
async fn settings_bring_upstreams_of_any_provider() {
    let upstream = Upstream::start().await;
    let access = ProviderAccess { api_key: Some(Secret::new("from-settings")), base_url: Some(upstream.base_url()) };
    let mut app = TestApp::start(|settings| settings.providers.mistral = access).await;
    let path = "/admin/v1/upstreams/mistral";
    for _ in 0..2 {
        let found = app.admin.caller.get(path).await.expect(200);
        assert_eq!((&found["provider"], &found["base_url"]), (&json!("mistral"), &json!(upstream.base_url())));
        let test = app.admin.caller.post(&format!("{path}/test"), &json!({})).await.expect(200);
        assert_eq!(test["ok"], json!(true), "{test}");
        app.restart().await;
    }
    assert_eq!(bearers(&upstream, ""), ["from-settings", "from-settings"]);
    app.finish().await;
}

const OWN_KEYS: &str = "/api/v1/provider-keys";

/// A caller of the usual account that may also use the account API; the upstream takes keys of callers.
async fn owner(world: &World) -> Caller {
    world.app.admin.patch_upstream("mock", &json!({"options": {"own_keys": true}})).await;
    world.app.admin.caller_of(&world.account, &json!({"scopes": ["inference", "account"]})).await
}

#[tokio::test]
async fn a_call_with_the_callers_own_key_costs_the_fee_only() {
    let world = World::with(|settings| settings.billing.byok_fee_percent = 5).await;
    let caller = owner(&world).await;
    let (_, other) = world.another("other", 10_000).await;
    let put_key = put(&caller, &format!("{OWN_KEYS}/mock"), &json!({"api_key": "my-own-key-1234"})).await;
    let shown = put_key.expect(200);
    assert_eq!((&shown["upstream"], &shown["last4"]), (&json!("mock"), &json!("1234")));
    assert!(!put_key.text.contains("my-own"), "{}", put_key.text);

    let fee = (price(10, 5) * 5 + 99) / 100;
    let answer = caller.chat(MODEL, "Hi").await;
    answer.expect(200);
    assert_eq!(answer.cost(), fee);
    assert_eq!(world.usage_of(&answer.request_id()).await["cost_micros"], json!(fee));
    let transcript = caller.chat_stream(MODEL, "Hi").await.finish().await.ended_well();
    assert_eq!(transcript.cost(), fee);
    assert_eq!(other.chat(MODEL, "Hi").await.cost(), price(10, 5));
    assert_eq!(bearers(&world.upstream, UPSTREAM_MODEL), ["my-own-key-1234", "my-own-key-1234", "upstream-secret"]);
    assert_eq!(world.spent().await, 2 * fee);

    let listed = caller.get(OWN_KEYS).await;
    assert_eq!(listed.expect(200)["data"].as_array().map(Vec::len), Some(1));
    assert!(!listed.text.contains("my-own"));
    put(&caller, &format!("{OWN_KEYS}/mock"), &json!({"api_key": "my-next-key-5678"})).await.expect(200);
    assert_eq!(caller.get(&format!("{OWN_KEYS}/mock")).await.expect(200)["last4"], json!("5678"));
    caller.delete(&format!("{OWN_KEYS}/mock")).await.success();
    assert_eq!(caller.delete(&format!("{OWN_KEYS}/mock")).await.status, 404);
    assert_eq!(caller.chat(MODEL, "Hi").await.cost(), price(10, 5));
    world.finish().await;
}

#[tokio::test]
async fn what_only_the_owner_of_the_account_may_ask_for_is_refused_to_others() {
    let world = World::new().await;
    let caller = owner(&world).await;
    let dear = json!({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "service_tier": "priority"});
    let refused = caller.post("/v1/chat/completions", &dear).await;
    let error = refused.expect(400)["error"].clone();
    assert_eq!(error["param"], json!("service_tier"));
    assert!(error["message"].as_str().is_some_and(|message| message.contains("owner_fields")), "{error}");
    assert!(bearers(&world.upstream, UPSTREAM_MODEL).is_empty(), "nothing was sent");
    let mut usual = dear.clone();
    usual["service_tier"] = json!("default");
    caller.post("/v1/chat/completions", &usual).await.expect(200);

    put(&caller, &format!("{OWN_KEYS}/mock"), &json!({"api_key": "my-own-key-1234"})).await.expect(200);
    caller.post("/v1/chat/completions", &dear).await.expect(200);
    caller.delete(&format!("{OWN_KEYS}/mock")).await.success();
    assert_eq!(caller.post("/v1/chat/completions", &dear).await.status, 400);

    world.app.admin.patch_upstream("mock", &json!({"options": {"quirks": {"owner_fields": true}}})).await;
    caller.post("/v1/chat/completions", &dear).await.expect(200);
    world.finish().await;
}

#[tokio::test]
async fn an_own_key_survives_a_restart_and_goes_with_its_upstream() {
    let mut world = World::new().await;
    let caller = owner(&world).await;
    put(&caller, &format!("{OWN_KEYS}/mock"), &json!({"api_key": "my-own-key-1234"})).await.expect(200);
    world.app.restart().await;
    caller.chat(MODEL, "Hi").await.expect(200);
    assert_eq!(bearers(&world.upstream, UPSTREAM_MODEL), ["my-own-key-1234"]);

    // Where the operator stops to take such keys, they are not used, and the price is the whole one.
    world.app.admin.patch_upstream("mock", &json!({"options": null})).await;
    assert_eq!(caller.chat(MODEL, "Hi").await.cost(), price(10, 5));

    world.app.admin.patch_model(MODEL, &json!({"routes": []})).await;
    world.app.admin.caller.delete("/admin/v1/upstreams/mock").await.success();
    world.app.admin.create_upstream("mock", &world.upstream.base_url(), &json!({"options": {"own_keys": true}})).await;
    assert_eq!(caller.get(OWN_KEYS).await.expect(200)["data"], json!([]));
    world.finish().await;
}

#[tokio::test]
async fn a_refused_own_key_is_its_owners_affair() {
    let world = World::with(|settings| settings.upstream.breaker_failures = 1).await;
    let caller = owner(&world).await;
    put(&caller, &format!("{OWN_KEYS}/mock"), &json!({"api_key": "my-own-key-1234"})).await.expect(200);
    for status in [401, 403] {
        world.upstream.next(UPSTREAM_MODEL, [Reply::error(status, "Incorrect API key")]);
        let error = caller.chat(MODEL, "Hi").await.refused(400, "invalid_request");
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains("your own key") && message.contains("/api/v1/provider-keys/mock"), "{message}");
    }
    let actor = observed(&world, "mock").await;
    assert_eq!(actor["observed"]["healthy"], json!(true), "{actor}");
    assert_eq!(world.spent().await, 0);
    world.finish().await;
}

#[tokio::test]
async fn own_keys_are_for_upstreams_that_check_them_and_for_owners() {
    let world = World::new().await;
    let caller = world.app.admin.caller_of(&world.account, &json!({"scopes": ["inference", "account"]})).await;
    let key = json!({"api_key": "my-own-key-1234"});
    let path = format!("{OWN_KEYS}/mock");
    // The mock stands at an address of the operator's own: it might take any key.
    assert_eq!(put(&caller, &path, &key).await.refused(400, "invalid_request")["param"], json!("upstream"));
    assert_eq!(put(&caller, &format!("{OWN_KEYS}/pixgate"), &key).await.status, 400);
    assert_eq!(put(&caller, &format!("{OWN_KEYS}/none"), &key).await.status, 404);
    let caller = owner(&world).await;
    for bad in [json!({}), json!({"api_key": "short"}), json!({"api_key": "with a\nbreak"}), json!({"api_key": "x".repeat(9_000)})] {
        assert_eq!(put(&caller, &path, &bad).await.refused(400, "invalid_request")["param"], json!("api_key"), "{bad}");
    }
    assert_eq!(put(&world.caller, &path, &key).await.status, 403, "the scope is missing");
    assert_eq!(world.caller.get(OWN_KEYS).await.status, 403);
    assert_eq!(caller.post(OWN_KEYS, &key).await.status, 405);
    world.finish().await;
}
