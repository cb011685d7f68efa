//! Scripts written for other gateways: LiteLLM's keys and users, one-api's billing, OpenRouter's base path.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    client::{Answer, Caller, chat, eventually},
    world::{CREDITS, MODEL, World, price},
};

#[track_caller]
fn near(value: &Value, expected: f64) {
    let value = value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
    assert!((value - expected).abs() < 1e-9, "{value} is not {expected}");
}

fn credits(micros: i64) -> f64 {
    micros as f64 / 1e6
}

async fn generate(caller: &Caller, body: &Value) -> Value {
    caller.post("/key/generate", body).await.expect(200)
}

async fn info(caller: &Caller, key: &str) -> Value {
    caller.get(&format!("/key/info?key={key}")).await.expect(200)["info"].clone()
}

#[tokio::test]
async fn litellm_keys_are_made_shown_changed_and_deleted() {
    let world = World::new().await;
    let admin = &world.app.admin.caller;
    let made = generate(
        admin,
        &json!({
            "user_id": world.account, "key_alias": "ci", "models": [MODEL], "max_budget": 0.5, "budget_duration": "30d", "rpm_limit": 9,
            "tpm_limit": 5000, "max_parallel_requests": 2, "duration": "30d", "metadata": {"team": "core"}, "team_id": null, "aliases": {},
            "spend": 0, "tags": ["x"],
        }),
    )
    .await;
    let text = made["key"].as_str().unwrap();
    assert!(text.starts_with("px_live_"), "{made}");
    near(&made["max_budget"], 0.5);
    assert_eq!((&made["key_alias"], &made["models"], &made["budget_duration"]), (&json!("ci"), &json!([MODEL]), &json!("30d")));
    assert_eq!((&made["rpm_limit"], &made["tpm_limit"], &made["max_parallel_requests"]), (&json!(9), &json!(5000), &json!(2)));
    assert_eq!(made["metadata"], json!({"team": "core"}));
    assert!(made["expires"].is_string() && made["budget_reset_at"].is_string(), "{made}");

    let caller = world.caller.with_key(text);
    caller.chat(MODEL, "Hi").await.expect(200);
    assert_eq!(caller.chat("pixgate/echo", "Hi").await.status, 403, "the list of models holds");
    let shown = eventually("the spend is visible", || async {
        let shown = info(admin, text).await;
        (shown["spend"].as_f64()? > 0.0).then_some(shown)
    })
    .await;
    near(&shown["spend"], credits(price(10, 5)));
    assert_eq!(shown["user_id"], json!(world.account));
    assert!(!shown.to_string().contains(text), "the secret is shown once");
    assert_eq!(caller.get("/key/info").await.expect(200)["info"]["key_alias"], json!("ci"), "a key may look at itself");

    let id = made["token"].as_str().unwrap();
    let updated = admin.post("/key/update", &json!({"key": id, "max_budget": 2, "metadata": {"a": 1}, "models": []})).await.expect(200);
    near(&updated["max_budget"], 2.0);
    assert_eq!((&updated["budget_duration"], &updated["rpm_limit"]), (&json!("30d"), &json!(9)), "what is not named stays");
    assert_eq!((&updated["models"], &updated["metadata"]), (&json!([]), &json!({"a": 1})));
    caller.chat("pixgate/echo", "Hi").await.expect(200);
    let freed = admin.post("/key/update", &json!({"key": text, "max_budget": null, "rpm_limit": null, "duration": "-1"})).await.expect(200);
    assert_eq!((&freed["max_budget"], &freed["rpm_limit"], &freed["expires"]), (&Value::Null, &Value::Null, &Value::Null));

    let deleted = admin.post("/key/delete", &json!({"keys": [text]})).await.expect(200);
    assert_eq!(deleted, json!({"deleted_keys": [id]}));
    caller.chat(MODEL, "Hi").await.refused(401, "invalid_api_key");
    world.finish().await;
}

#[tokio::test]
async fn litellm_fields_that_cannot_be_honoured_are_named() {
    let world = World::new().await;
    let admin = &world.app.admin.caller;
    for (body, param) in [
        (json!({"team_id": "t"}), "team_id"),
        (json!({"colour": "red"}), "colour"),
        (json!({"max_budget": 0.0000001}), "max_budget"),
        (json!({"max_budget": -1}), "max_budget"),
        (json!({"max_budget": 1, "budget_duration": "7d"}), "budget_duration"),
        (json!({"budget_duration": "1d"}), "budget_duration"),
        (json!({"duration": "soon"}), "duration"),
        (json!({"rpm_limit": "many"}), "rpm_limit"),
        (json!({"models": ["all-team-models"]}), "models"),
        (json!({"key_type": "read_only"}), "key_type"),
        (json!({"metadata": {"long": "x".repeat(20_000)}}), "metadata"),
        (json!({"key": "sk-short"}), "key"),
        (json!({"key": "px_live_mine-0123456789-0123456789"}), "key"),
    ] {
        let error = admin.post("/key/generate", &body).await.refused(400, "invalid_request");
        assert_eq!(error["param"], json!(param), "{body}");
    }
    assert_eq!(admin.post("/key/generate", &json!({"user_id": "nobody"})).await.status, 404);
    assert_eq!(admin.post("/key/generate", &json!({"user_id": "no\u{0}body"})).await.status, 404);
    assert_eq!(admin.get("/key/info?key=nonsense").await.status, 404);
    assert_eq!(admin.post("/key/update", &json!({"max_budget": 1})).await.refused(400, "invalid_request")["param"], json!("key"));
    assert_eq!(admin.get("/key/generate").await.status, 405);
    admin.post("/key/delete", &json!({})).await.refused(400, "invalid_request");
    generate(admin, &json!({"key_alias": "taken"})).await;
    assert_eq!(admin.post("/key/generate", &json!({"key_alias": "taken"})).await.status, 409);
    world.finish().await;
}

#[tokio::test]
async fn litellm_keys_are_blocked_unblocked_and_regenerated() {
    let world = World::new().await;
    let admin = &world.app.admin.caller;
    let made = generate(admin, &json!({"user_id": "owner@example.com", "key_alias": "b", "duration": "1d", "metadata": {"n": 1}})).await;
    let text = made["key"].as_str().unwrap();
    let caller = world.caller.with_key(text);
    caller.chat(MODEL, "Hi").await.expect(200);
    for _ in 0..2 {
        assert_eq!(admin.post("/key/block", &json!({"key": text})).await.expect(200)["blocked"], json!(true));
        caller.chat(MODEL, "Hi").await.refused(401, "invalid_api_key");
    }
    for _ in 0..2 {
        let back = admin.post("/key/unblock", &json!({"key": text})).await.expect(200);
        assert_eq!((&back["blocked"], &back["expires"]), (&json!(false), &made["expires"]), "the expiry comes back");
        caller.chat(MODEL, "Hi").await.expect(200);
    }
    let new = admin.post(&format!("/key/{text}/regenerate"), &json!({"max_budget": 3})).await.expect(200);
    caller.chat(MODEL, "Hi").await.refused(401, "invalid_api_key");
    world.caller.with_key(new["key"].as_str().unwrap()).chat(MODEL, "Hi").await.expect(200);
    assert_eq!((&new["metadata"], &new["key_alias"]), (&json!({"n": 1}), &json!("b")), "{new}");
    near(&new["max_budget"], 3.0);
    let graced =
        admin.post(&format!("/key/{}/regenerate", new["token"].as_str().unwrap()), &json!({"grace_period": "1h"})).await.expect(200);
    for key in [&new["key"], &graced["key"]] {
        world.caller.with_key(key.as_str().unwrap()).chat(MODEL, "Hi").await.expect(200);
    }
    let gone = admin.post("/key/delete", &json!({"key_aliases": ["b"]})).await;
    assert_eq!(gone.refused(400, "invalid_request")["param"], json!("key_aliases"), "an alias that is not unique deletes nothing");
    world.finish().await;
}

#[tokio::test]
async fn litellm_users_are_accounts_with_credits() {
    let world = World::new().await;
    let admin = &world.app.admin.caller;
    let user = admin
        .post(
            "/user/new",
            &json!({"user_id": "ada", "user_email": "ada@example.com", "user_alias": "Ada", "max_budget": 1.5, "rpm_limit": 50}),
        )
        .await
        .expect(200);
    assert_eq!((&user["user_id"], &user["user_email"]), (&json!("ada"), &json!("ada@example.com")));
    let caller = world.caller.with_key(user["key"].as_str().unwrap());
    caller.chat(MODEL, "Hi").await.expect(200);
    let more = generate(admin, &json!({"user_id": "ada", "key_alias": "second", "key": "sk-chosen-by-the-script-0123"})).await;
    assert_eq!(more["key"], json!("sk-chosen-by-the-script-0123"));
    world.caller.with_key("sk-chosen-by-the-script-0123").chat(MODEL, "Hi").await.expect(200);
    for name in ["ada", "ada@example.com"] {
        let shown = eventually("both calls count", || async {
            let shown = admin.get(&format!("/user/info?user_id={name}")).await.expect(200);
            (shown["user_info"]["spend"].as_f64()? > credits(price(10, 5))).then_some(shown)
        })
        .await;
        near(&shown["user_info"]["spend"], credits(2 * price(10, 5)));
        near(&shown["user_info"]["max_budget"], 1.5);
        assert_eq!((&shown["user_id"], &shown["user_info"]["rpm_limit"]), (&json!("ada"), &json!(50)));
        assert_eq!(shown["keys"].as_array().unwrap().len(), 2);
    }
    let own = caller.get("/user/info").await.expect(200);
    assert_eq!((&own["user_id"], own["keys"].as_array().unwrap().len()), (&json!("ada"), 1), "a key without scope account sees itself");
    let keyless = admin.post("/user/new", &json!({"user_id": "no-mail", "auto_create_key": false})).await.expect(200);
    assert_eq!((&keyless["key"], &keyless["user_email"]), (&Value::Null, &json!("no-mail@litellm.invalid")));
    assert_eq!(admin.post("/user/new", &json!({"user_id": "ada"})).await.status, 409);
    assert_eq!(admin.post("/user/new", &json!({"user_id": "new", "duration": "0s"})).await.status, 400);
    assert_eq!(admin.get("/user/info?user_id=new").await.status, 404, "a refused user leaves nothing behind");
    assert_eq!((&own["user_info"]["user_email"], &own["user_info"]["max_budget"]), (&Value::Null, &json!(1.5)));
    for (body, param) in [
        (json!({}), "user_email"),
        (json!({"user_id": "x", "user_role": "proxy_admin"}), "user_role"),
        (json!({"user_id": "x", "max_budget": 1, "budget_duration": "1d"}), "budget_duration"),
        (json!({"user_id": "x", "teams": ["t"]}), "teams"),
        (json!({"user_id": "x", "auto_create_key": false, "models": ["m"]}), "auto_create_key"),
        (json!({"user_id": "a b", "user_email": "x@example.com"}), "user_id"),
    ] {
        assert_eq!(admin.post("/user/new", &body).await.refused(400, "invalid_request")["param"], json!(param), "{body}");
    }
    world.finish().await;
}

#[tokio::test]
async fn litellm_routes_reach_no_further_than_the_key() {
    let world = World::new().await;
    let (other, stranger) = world.another("stranger", CREDITS).await;
    let owner = world.app.admin.caller_of(&world.account, &json!({"scopes": ["account"]})).await;
    let mine = generate(&owner, &json!({"key_alias": "mine"})).await;
    assert_eq!(mine["user_id"], json!(world.account));
    world.caller.with_key(mine["key"].as_str().unwrap()).chat(MODEL, "Hi").await.expect(200);
    assert_eq!(info(&owner, mine["token"].as_str().unwrap()).await["key_alias"], json!("mine"));

    for body in [json!({"user_id": other}), json!({"user_id": "stranger@example.com"})] {
        assert_eq!(owner.post("/key/generate", &body).await.status, 404, "{body}");
    }
    assert_eq!(owner.get(&format!("/user/info?user_id={other}")).await.status, 404);
    for path in ["/key/update", "/key/block", "/key/unblock"] {
        assert_eq!(owner.post(path, &json!({"key": stranger.key})).await.status, 404, "{path}");
    }
    assert_eq!(owner.get(&format!("/key/info?key={}", stranger.key)).await.status, 404);
    assert_eq!(owner.post("/key/delete", &json!({"keys": [mine["token"], stranger.key]})).await.status, 404);
    assert_eq!(owner.post("/key/delete", &json!({"key_aliases": ["test"]})).await.status, 400, "only own keys are looked at: two");
    assert_eq!(owner.post(&format!("/key/{}/regenerate", stranger.key), &json!({})).await.status, 404);
    owner.post("/user/new", &json!({"user_id": "x"})).await.refused(403, "scope_missing");
    stranger.chat(MODEL, "Hi").await.expect(200);
    assert_eq!(info(&owner, mine["token"].as_str().unwrap()).await["blocked"], json!(false), "nothing was deleted half-way");

    let powerful = world.app.admin.create_key(&world.account, &json!({"scopes": ["admin"]})).await;
    for path in ["/key/update", "/key/block"] {
        owner.post(path, &json!({"key": powerful.id})).await.refused(403, "scope_missing");
    }
    owner.post(&format!("/key/{}/regenerate", powerful.id), &json!({})).await.refused(403, "scope_missing");
    owner.post("/key/delete", &json!({"keys": [powerful.id]})).await.refused(403, "scope_missing");

    let plain = &world.caller;
    for (path, body) in
        [("/key/generate", json!({})), ("/key/delete", json!({"keys": [plain.key]})), ("/key/block", json!({"key": plain.key}))]
    {
        plain.post(path, &body).await.refused(403, "scope_missing");
    }
    assert_eq!(plain.get(&format!("/key/info?key={}", mine["token"].as_str().unwrap())).await.status, 404);
    for (method, path) in
        [(Method::POST, "/key/generate"), (Method::GET, "/key/info"), (Method::GET, "/user/info"), (Method::POST, "/user/new")]
    {
        Answer::of(plain.anonymous(method, path)).await.refused(401, "invalid_api_key");
    }
    world.finish().await;
}

#[tokio::test]
async fn litellm_headers_are_there_when_they_are_asked_for() {
    let world = World::with(|settings| settings.compat.litellm_headers = true).await;
    let answer = world.caller.chat(MODEL, "Hi").await;
    answer.expect(200);
    assert_eq!(answer.header("x-litellm-call-id"), Some(answer.request_id().as_str()));
    assert_eq!(answer.header("x-litellm-response-cost"), Some("0.000065"));
    assert_eq!(answer.header("x-litellm-model-id"), Some("mock"));
    let overhead: f64 = answer.header("x-litellm-overhead-duration-ms").unwrap().parse().unwrap();
    assert!(overhead >= 0.0);
    let stream = world.caller.chat_stream(MODEL, "Hi").await;
    assert!(stream.headers.contains_key("x-litellm-call-id") && !stream.headers.contains_key("x-litellm-response-cost"));
    stream.finish().await.ended_well();
    assert!(world.caller.get("/v1/models").await.header("x-litellm-call-id").is_none());
    world.finish().await;
    let world = World::new().await;
    assert!(world.caller.chat(MODEL, "Hi").await.headers.keys().all(|name| !name.as_str().starts_with("x-litellm")));
    world.finish().await;
}

#[tokio::test]
async fn one_api_billing_shows_used_and_left() {
    let world = World::new().await;
    let budgeted = world.app.admin.caller_of(&world.account, &json!({"budget": {"micros": 10_000, "period": "total"}})).await;
    let used = price(10, 5);
    world.caller.chat(MODEL, "Hi").await.expect(200);
    budgeted.chat(MODEL, "Hi").await.expect(200);
    world.spent().await;
    for prefix in ["", "/v1"] {
        let limit = world.caller.get(&format!("{prefix}/dashboard/billing/subscription")).await.expect(200);
        near(&limit["hard_limit_usd"], credits(CREDITS));
        assert_eq!((&limit["object"], &limit["access_until"]), (&json!("billing_subscription"), &json!(0)));
        let path = format!("{prefix}/dashboard/billing/usage?start_date=2026-01-01&end_date=2026-01-02");
        let usage = world.caller.get(&path).await.expect(200);
        near(&usage["total_usage"], credits(2 * used) * 100.0);
    }
    near(&budgeted.get("/dashboard/billing/subscription").await.expect(200)["hard_limit_usd"], credits(10_000));
    near(&budgeted.get("/dashboard/billing/usage").await.expect(200)["total_usage"], credits(used) * 100.0);

    let token = budgeted.get("/api/usage/token").await.expect(200);
    assert_eq!(token["code"], json!(true));
    let data = &token["data"];
    assert_eq!((&data["total_used"], &data["total_available"]), (&json!((used + 1) / 2), &json!((10_000 - used) / 2)));
    assert_eq!((&data["unlimited_quota"], &data["model_limits_enabled"]), (&json!(false), &json!(false)));
    assert_eq!(world.caller.get("/api/usage/token/").await.expect(200)["data"]["unlimited_quota"], json!(true));

    let status = Answer::of(world.caller.anonymous(Method::GET, "/api/status")).await.expect(200);
    assert_eq!((&status["success"], &status["data"]["quota_per_unit"]), (&json!(true), &json!(500_000)));
    for path in ["/dashboard/billing/subscription", "/dashboard/billing/usage", "/api/usage/token"] {
        Answer::of(world.caller.anonymous(Method::GET, path)).await.refused(401, "invalid_api_key");
    }
    world.finish().await;
}

#[tokio::test]
async fn openrouter_base_path_serves_the_same_routes() {
    let world = World::new().await;
    let answer = world.caller.post("/api/v1/chat/completions", &chat(MODEL, "Hi")).await;
    answer.expect(200);
    assert_eq!(world.usage_of(&answer.request_id()).await["endpoint"], json!("/v1/chat/completions"));
    let found = world.caller.get(&format!("/api/v1/generation?id={}", answer.request_id())).await.expect(200);
    near(&found["data"]["total_cost"], credits(price(10, 5)));
    assert_eq!((&found["data"]["native_tokens_prompt"], &found["data"]["is_byok"]), (&json!(10), &json!(false)));
    near(&world.caller.get("/api/v1/credits").await.expect(200)["data"]["total_credits"], credits(CREDITS));
    for path in ["/api/v1/key", "/api/v1/auth/key"] {
        let key = &world.caller.get(path).await.expect(200)["data"];
        for period in ["usage", "usage_daily", "usage_weekly", "usage_monthly"] {
            near(&key[period], credits(price(10, 5)));
        }
        assert_eq!((&key["limit_reset"], &key["is_free_tier"]), (&Value::Null, &json!(false)));
    }
    let monthly = world.app.admin.caller_of(&world.account, &json!({"budget": {"micros": 10, "period": "month"}})).await;
    assert_eq!(monthly.get("/api/v1/key").await.expect(200)["data"]["limit_reset"], json!("monthly"));
    let owner = world.app.admin.caller_of(&world.account, &json!({"scopes": ["account"]})).await;
    assert_eq!(owner.get("/api/v1/me").await.expect(200)["id"], json!(world.account), "the account API keeps its names");
    assert_eq!(world.caller.get("/api/v1/chat/completions").await.status, 405);
    world.finish().await;
}

#[tokio::test]
async fn openrouter_models_carry_prices_apiece() {
    let world = World::new().await;
    let models = world.caller.get("/api/v1/models").await.expect(200);
    let model = models["data"].as_array().unwrap().iter().find(|model| model["id"] == json!(MODEL)).expect("the model").clone();
    assert_eq!(model["pricing"]["prompt"], json!("0.000003"));
    assert_eq!(model["pricing"]["completion"], json!("0.000007"));
    assert_eq!(model["top_provider"]["max_completion_tokens"], json!(100));
    assert_eq!(model["architecture"]["modality"], json!("text->text"));
    assert!(model["supported_parameters"].as_array().unwrap().contains(&json!("tools")));
    let narrow = world.app.admin.caller_of(&world.account, &json!({"models": ["pixgate/*"]})).await;
    let listed = narrow.get("/api/v1/models").await.expect(200);
    assert!(listed["data"].as_array().unwrap().iter().all(|model| model["id"].as_str().unwrap().starts_with("pixgate/")));
    Answer::of(world.caller.anonymous(Method::GET, "/api/v1/models")).await.refused(401, "invalid_api_key");
    world.finish().await;
}
