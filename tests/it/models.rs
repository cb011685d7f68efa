//! `GET /v1/models` and `/v1/models/{id}`.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    client::Answer,
    world::{MODEL, World, model},
};

fn ids(list: &Value) -> Vec<&str> {
    list["data"].as_array().expect("a list").iter().map(|model| model["id"].as_str().expect("an id")).collect()
}

#[tokio::test]
async fn lists_what_the_caller_may_use() {
    let world = World::new().await;
    let mut off = model("test/off", "off");
    off["enabled"] = json!(false);
    world.app.admin.create_model(&off).await;
    let list = world.caller.get("/v1/models").await.expect(200);
    assert_eq!(list["object"], json!("list"));
    let known = ids(&list);
    assert!(known.contains(&MODEL) && known.contains(&"pixgate/echo") && !known.contains(&"test/off"), "{known:?}");
    for model in list["data"].as_array().unwrap() {
        assert_eq!(model["object"], json!("model"));
        assert!(model["created"].is_i64() && model["owned_by"].is_string(), "{model}");
    }
    let narrow = world.app.admin.caller_of(&world.account, &json!({"models": ["pixgate/*"]})).await;
    let narrow = narrow.get("/v1/models").await.expect(200);
    assert!(ids(&narrow).iter().all(|id| id.starts_with("pixgate/")), "{narrow}");
    world.finish().await;
}

#[tokio::test]
async fn one_model_by_its_id_with_and_without_an_escaped_slash() {
    let world = World::new().await;
    for path in ["/v1/models/test%2Fchat", "/v1/models/test/chat"] {
        assert_eq!(world.caller.get(path).await.expect(200)["id"], json!(MODEL), "{path}");
    }
    world.caller.get("/v1/models/test%2Fnone").await.refused(404, "model_not_found");
    world.finish().await;
}

#[tokio::test]
async fn needs_a_key() {
    let world = World::new().await;
    for path in ["/v1/models", "/v1/models/test%2Fchat"] {
        Answer::of(world.caller.anonymous(Method::GET, path)).await.refused(401, "invalid_api_key");
    }
    world.finish().await;
}
