//! The admin API beyond what the other tests use in passing.

use serde_json::{Value, json};

use crate::support::{
    client::encode,
    world::{CREDITS, MODEL, World, model, price},
};

#[tokio::test]
async fn accounts_are_created_found_changed_and_closed() {
    let world = World::new().await;
    let admin = &world.app.admin.caller;
    let created = admin.post("/admin/v1/accounts", &json!({"email": "Jo@Example.com", "name": "Jo"})).await.success();
    let id = created["id"].as_str().unwrap();
    assert!(id.starts_with("acc_"), "{created}");
    assert_eq!(created["status"], json!("active"));
    let path = format!("/admin/v1/accounts/{id}");
    assert_eq!(admin.get(&path).await.expect(200)["name"], json!("Jo"));
    let found = admin.list("/admin/v1/accounts?q=jo%40example").await;
    assert_eq!(found.iter().map(|account| &account["id"]).collect::<Vec<_>>(), [&json!(id)]);
    let twice = admin.post("/admin/v1/accounts", &json!({"email": "jo@example.com"})).await;
    assert_eq!(twice.status, 409, "{}", twice.text);

    let patched = admin.patch(&path, &json!({"limits": {"rpm": 7}})).await.expect(200);
    assert_eq!((&patched["limits"]["rpm"], &patched["name"]), (&json!(7), &json!("Jo")), "PATCH changes the fields given");
    assert_eq!(admin.patch(&path, &json!({"status": "nonsense"})).await.status, 400);
    assert_eq!(admin.patch(&path, &json!({"status": "closed"})).await.expect(200)["status"], json!("closed"));
    assert_eq!(admin.get("/admin/v1/accounts/acc_none").await.status, 404);
    world.finish().await;
}

#[tokio::test]
async fn keys_show_their_secret_once() {
    let world = World::new().await;
    let admin = &world.app.admin.caller;
    let fields = json!({
        "title": "ci", "scopes": ["inference"], "models": [MODEL], "limits": {"rpm": 5, "tpm": 100, "rpd": 9, "concurrency": 2},
        "budget": {"micros": 1_000, "period": "month"}, "ip_allow": ["10.0.0.0/8"], "expires_at": "2099-01-01T00:00:00Z",
    });
    let created = admin.post(&format!("/admin/v1/accounts/{}/keys", world.account), &fields).await.success();
    let (id, secret) = (created["id"].as_str().unwrap(), created["key"].as_str().unwrap());
    assert!(id.starts_with("key_") && secret.starts_with("px_live_"));
    assert!(secret.starts_with(created["prefix"].as_str().expect("a prefix")));
    let path = format!("/admin/v1/keys/{id}");
    let shown = admin.get(&path).await;
    let key = shown.expect(200);
    assert!(!shown.text.contains(secret) && key.get("key").is_none_or(Value::is_null), "{key}");
    for (name, value) in fields.as_object().unwrap() {
        assert_eq!(&key[name], value, "{name}");
    }
    let all = admin.list("/admin/v1/keys").await;
    assert!(all.iter().any(|other| other["id"] == json!(id)));
    assert!(!Value::from(all).to_string().contains(secret));
    assert_eq!(admin.patch(&path, &json!({"title": "renamed"})).await.expect(200)["title"], json!("renamed"));
    assert_eq!(admin.get(&path).await.expect(200)["limits"], fields["limits"], "the rest stays");
    admin.delete(&path).await.success();
    assert_eq!(admin.get("/admin/v1/keys/key_none").await.status, 404);
    world.finish().await;
}

#[tokio::test]
async fn upstream_secrets_are_write_only() {
    let world = World::new().await;
    let admin = &world.app.admin.caller;
    let shown = admin.get("/admin/v1/upstreams/mock").await;
    let upstream = shown.expect(200);
    assert_eq!((&upstream["name"], &upstream["provider"]), (&json!("mock"), &json!("openai")));
    assert!(!shown.text.contains("upstream-secret"));
    assert!(!Value::from(admin.list("/admin/v1/upstreams").await).to_string().contains("upstream-secret"));
    admin.patch("/admin/v1/upstreams/mock", &json!({"weight": 3})).await.success();
    world.caller.chat(MODEL, "Hi").await.expect(200);
    assert_eq!(world.upstream.last("chat").header("authorization"), Some("Bearer upstream-secret"), "PATCH keeps the secret");
    let tested = admin.post("/admin/v1/upstreams/mock/test", &json!({})).await.expect(200);
    assert!(tested.to_string().contains("true") || tested.to_string().contains("ok"), "{tested}");
    let twice = json!({"name": "mock", "provider": "openai", "base_url": world.upstream.base_url(), "enabled": true});
    assert_eq!(admin.post("/admin/v1/upstreams", &twice).await.status, 409);
    let used = admin.delete("/admin/v1/upstreams/mock").await;
    assert!([200, 204, 409].contains(&used.status), "{}", used.text);
    world.finish().await;
}

#[tokio::test]
async fn models_are_kept_with_prices_and_routes() {
    let world = World::new().await;
    let admin = &world.app.admin.caller;
    let path = format!("/admin/v1/models/{}", encode(MODEL));
    let shown = admin.get(&path).await.expect(200);
    assert_eq!(shown["id"], json!(MODEL));
    assert_eq!(shown["prices"][0], json!({"unit": "input_token", "micros": 3, "per": 1}));
    assert_eq!(shown["routes"][0]["upstream_model"], json!("chat"));
    let renamed = admin.patch(&path, &json!({"display_name": "Chat"})).await.expect(200);
    assert_eq!((&renamed["display_name"], &renamed["prices"]), (&json!("Chat"), &shown["prices"]));
    assert_eq!(admin.post("/admin/v1/models", &model(MODEL, "chat")).await.status, 409);
    let listed = admin.list("/admin/v1/models").await;
    assert!(listed.iter().any(|model| model["id"] == json!("pixgate/echo")));
    admin.delete(&path).await.success();
    assert_eq!(admin.get(&path).await.status, 404);
    world.finish().await;
}

#[tokio::test]
async fn every_change_leaves_an_audit_entry_without_secrets() {
    let world = World::new().await;
    let key = world.app.admin.create_key(&world.account, &json!({})).await;
    world.app.admin.caller.delete(&format!("/admin/v1/keys/{}", key.id)).await.success();
    let entries = Value::from(world.app.admin.caller.list("/admin/v1/audit").await);
    let text = entries.to_string();
    for subject in [world.account.as_str(), key.id.as_str(), "mock", MODEL] {
        assert!(text.contains(subject), "{subject} in {text}");
    }
    assert!(!text.contains(&key.key) && !text.contains("upstream-secret"));
    world.finish().await;
}

#[tokio::test]
async fn lists_page_through_without_gaps_or_repeats() {
    let world = World::new().await;
    for number in 0..7 {
        world.app.admin.create_account(&format!("paged-{number}")).await;
    }
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = world.app.admin.caller.get(&format!("/admin/v1/accounts?limit=3{cursor}")).await.expect(200);
        let rows = page["data"].as_array().unwrap();
        assert!(rows.len() <= 3 && !rows.is_empty());
        ids.extend(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        if page["has_more"] == json!(false) {
            break;
        }
        cursor = format!("&cursor={}", encode(page["next_cursor"].as_str().unwrap()));
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
    assert!(count >= 8, "{count}");
    world.finish().await;
}

#[tokio::test]
async fn usage_and_node_show_the_whole_gateway() {
    let world = World::new().await;
    let (other, caller) = world.another("other", CREDITS).await;
    let first = world.caller.chat(MODEL, "Hi").await;
    let second = caller.chat(MODEL, "Hi").await;
    world.usage_of(&first.request_id()).await;
    world.app.admin.usage_of(&other, &second.request_id()).await;
    let rows = world.app.admin.caller.list("/admin/v1/usage").await;
    for id in [first.request_id(), second.request_id()] {
        let row = rows.iter().find(|row| row["request_id"] == json!(id)).expect("the call");
        assert_eq!(row["cost_micros"], json!(price(10, 5)));
    }
    assert!(world.app.admin.caller.get("/admin/v1/node").await.expect(200).is_object());
    world.finish().await;
}

#[tokio::test]
async fn the_actor_tree_shows_who_owns_what() {
    let world = World::new().await;
    world.caller.chat(MODEL, "Hi").await.expect(200);
    let actors = world.app.admin.actors().await;
    for kind in ["account", "journal", "upstream", "sweeper"] {
        assert!(actors.iter().any(|actor| actor["kind"] == json!(kind)), "{kind} in {actors:?}");
    }
    for actor in &actors {
        for name in ["name", "kind", "state"] {
            assert!(actor[name].is_string(), "{name} in {actor}");
        }
        for name in ["restarts", "mailbox_depth", "mailbox_capacity", "handled", "age_seconds"] {
            assert!(actor[name].is_number(), "{name} in {actor}");
        }
        let keys = actor.as_object().unwrap();
        assert!(keys.contains_key("last_error") && keys.contains_key("children"), "{actor}");
    }
    let account = actors.iter().find(|actor| actor["kind"] == json!("account")).unwrap();
    assert!(account["handled"].as_i64().unwrap() >= 1);
    world.finish().await;
}
