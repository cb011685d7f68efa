//! Owners and the keys of their accounts.

use reqwest::{Method, header::SET_COOKIE};
use serde_json::{Value, json};

use crate::support::{
    client::Answer,
    process::TestProcess,
    world::{MODEL, World},
};

#[tokio::test]
async fn an_owner_manages_keys_from_creation_to_the_end() {
    let world = World::new().await;
    let owner = world.app.admin.caller_of(&world.account, &json!({"scopes": ["account"]})).await;
    let answer = owner.post("/api/v1/keys", &json!({"title": "laptop", "models": ["other/*"], "limits": {"rpm": 5}})).await;
    let created = answer.expect(201);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let (id, text) = (created["id"].as_str().unwrap(), created["key"].as_str().unwrap());
    let key = owner.with_key(text);
    key.chat(MODEL, "Hi").await.refused(403, "model_not_allowed");
    let budget = json!({"micros": 1_000_000, "period": "day"});
    let patch = json!({"title": "desk", "models": null, "budget": budget, "ip_allow": ["127.0.0.0/8"]});
    let changed = owner.patch(&format!("/api/v1/keys/{id}"), &patch).await.expect(200);
    assert_eq!((&changed["title"], &changed["budget"], &changed["limits"]["rpm"]), (&json!("desk"), &budget, &json!(5)), "{changed}");
    key.chat(MODEL, "Hi").await.expect(200);

    let rotated = owner.post(&format!("/api/v1/keys/{id}/rotate"), &json!({"grace_seconds": 0})).await.expect(201);
    assert_ne!((rotated["id"].as_str().unwrap(), rotated["key"].as_str().unwrap()), (id, text));
    key.chat(MODEL, "Hi").await.refused(401, "invalid_api_key");
    let fresh = owner.with_key(rotated["key"].as_str().unwrap());
    fresh.chat(MODEL, "Hi").await.expect(200);
    let fresh_path = format!("/api/v1/keys/{}", rotated["id"].as_str().unwrap());
    let revoked = owner.delete(&fresh_path).await.expect(200);
    assert!(revoked["revoked_at"].is_string() && revoked.get("key").is_none(), "{revoked}");
    fresh.chat(MODEL, "Hi").await.refused(401, "invalid_api_key");
    owner.patch(&fresh_path, &json!({"title": "x"})).await.refused(409, "conflict");

    let listed = owner.list("/api/v1/keys").await;
    assert_eq!(listed.len(), 4, "{listed:?}");
    assert!(listed.iter().all(|key| key.get("key").is_none() && key["account_id"] == json!(world.account)), "{listed:?}");
    assert_eq!(owner.get(&fresh_path).await.expect(200)["rotated_from"], json!(id));
    let actions = async |id: &str| -> Vec<Value> {
        owner.list(&format!("/api/v1/keys/{id}/audit")).await.iter().map(|entry| entry["action"].clone()).collect()
    };
    assert_eq!(actions(id).await, ["key.rotate", "key.update", "key.create"]);
    assert_eq!(actions(rotated["id"].as_str().unwrap()).await, ["key.revoke", "key.create"]);
    world.finish().await;
}

#[tokio::test]
async fn owners_reach_neither_the_keys_of_others_nor_those_of_the_operator() {
    let world = World::new().await;
    let owner = world.app.admin.caller_of(&world.account, &json!({"scopes": ["account"]})).await;
    let (stranger, _) = world.another("stranger", 0).await;
    let theirs = world.app.admin.create_key(&stranger, &json!({})).await;
    let path = format!("/api/v1/keys/{}", theirs.id);
    owner.get(&path).await.refused(404, "not_found");
    owner.patch(&path, &json!({"title": "mine"})).await.refused(404, "not_found");
    owner.delete(&path).await.refused(404, "not_found");
    owner.post(&format!("{path}/rotate"), &json!({})).await.refused(404, "not_found");
    owner.get(&format!("{path}/audit")).await.refused(404, "not_found");
    let untouched = world.app.admin.caller.get(&format!("/admin/v1/keys/{}", theirs.id)).await.expect(200);
    assert_eq!((&untouched["title"], &untouched["revoked_at"]), (&json!("test"), &json!(null)));

    owner.post("/api/v1/keys", &json!({"title": "root", "scopes": ["admin"]})).await.refused(403, "scope_not_allowed");
    let own = owner.post("/api/v1/keys", &json!({"title": "own"})).await.expect(201);
    let own = format!("/api/v1/keys/{}", own["id"].as_str().unwrap());
    owner.patch(&own, &json!({"scopes": ["inference", "admin"]})).await.refused(403, "scope_not_allowed");
    // An admin key of the same account is not theirs to copy, but theirs to end.
    let admin = world.app.admin.create_key(&world.account, &json!({"scopes": ["admin"]})).await;
    let admin = format!("/api/v1/keys/{}", admin.id);
    owner.post(&format!("{admin}/rotate"), &json!({})).await.refused(403, "scope_not_allowed");
    owner.patch(&admin, &json!({"expires_at": null})).await.refused(403, "scope_not_allowed");
    owner.delete(&admin).await.expect(200);

    world.caller.get("/api/v1/keys").await.refused(403, "scope_missing");
    Answer::of(world.caller.anonymous(Method::GET, "/api/v1/keys")).await.refused(401, "invalid_api_key");
    Answer::of(owner.request(Method::PUT, "/api/v1/keys")).await.refused(405, "method_not_allowed");
    world.finish().await;
}

#[tokio::test]
async fn a_browser_needs_its_origin_and_token_for_changes() {
    let process = TestProcess::start(&[]).await;
    let (code, text) = process.run(&["admin", "create", "--email", "ada@example.com"]);
    assert_eq!(code, 0, "{text}");
    let link = text.split_once("/auth/link?token=").unwrap().1.trim();
    let caller = process.admin.caller.clone();
    let opened = caller.anonymous(Method::GET, &format!("/auth/link?token={link}")).send().await.unwrap();
    let cookie = opened.headers()[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    let me = Answer::of(caller.anonymous(Method::GET, "/api/v1/me").header("cookie", &cookie)).await.expect(200);
    let csrf = me["csrf_token"].as_str().unwrap();
    let base = caller.anonymous(Method::GET, "").build().unwrap().url().to_string();
    let origin = base.trim_end_matches('/');
    let create = |headers: &[(&str, &str)]| {
        let request = caller.anonymous(Method::POST, "/api/v1/keys").header("cookie", &cookie);
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).json(&json!({"title": "browser"}))
    };
    Answer::of(create(&[])).await.refused(403, "csrf_failed");
    Answer::of(create(&[("origin", origin)])).await.refused(403, "csrf_failed");
    Answer::of(create(&[("x-csrf-token", csrf), ("origin", "https://evil.example")])).await.refused(403, "csrf_failed");
    let created = Answer::of(create(&[("x-csrf-token", csrf), ("origin", origin)])).await.expect(201);
    let path = format!("/api/v1/keys/{}", created["id"].as_str().unwrap());
    assert_eq!(Answer::of(caller.anonymous(Method::GET, &path).header("cookie", &cookie)).await.expect(200)["title"], json!("browser"));
    process.finish().await;
}
