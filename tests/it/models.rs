//! `GET /v1/models` and `/v1/models/{id}`.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    client::{Answer, encode},
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

#[tokio::test]
async fn the_list_has_the_shape_of_the_dialect_that_asks() {
    let world = World::new().await;
    let key = world.caller.key.clone();
    let ask = async |path: &str, headers: &[(&str, &str)]| {
        let request =
            headers.iter().fold(world.caller.anonymous(Method::GET, path), |request, (name, value)| request.header(*name, *value));
        Answer::of(request).await.expect(200)
    };
    let bearer = format!("Bearer {key}");
    let old = [("x-api-key", key.as_str())];
    let new = [("authorization", bearer.as_str()), ("anthropic-version", "2026-10-21")];
    for headers in [&old[..], &new[..]] {
        let list = ask("/v1/models", headers).await;
        let data = list["data"].as_array().expect("a list");
        assert_eq!((&list["has_more"], &list["first_id"]), (&json!(false), &data[0]["id"]));
        assert_eq!(list["last_id"], data[data.len() - 1]["id"]);
        let one = data.iter().find(|model| model["id"] == json!(MODEL)).expect("the usual model");
        assert_eq!((&one["type"], &one["display_name"], &one["max_tokens"]), (&json!("model"), &json!(MODEL), &json!(100)));
        assert!(one["created_at"].as_str().is_some_and(|moment| moment.ends_with('Z')) && one["max_input_tokens"].is_null(), "{one}");
        assert_eq!(&ask("/v1/models/test%2Fchat", headers).await, one);
    }
    let list = ask("/v1/models?limit=1", &old).await;
    assert_eq!((list["data"].as_array().map(Vec::len), &list["has_more"]), (Some(1), &json!(true)));
    let first = list["last_id"].as_str().expect("an id").to_owned();
    let next = ask(&format!("/v1/models?limit=1&after_id={}", encode(&first)), &old).await;
    let second = next["first_id"].as_str().expect("an id").to_owned();
    let before = ask(&format!("/v1/models?limit=1&before_id={}", encode(&second)), &old).await;
    assert_eq!((before["first_id"].as_str(), second != first), (Some(first.as_str()), true));

    for (path, headers) in [
        ("/v1beta/models".to_owned(), vec![("x-goog-api-key", key.as_str())]),
        ("/v1/models".to_owned(), vec![("x-goog-api-key", key.as_str())]),
        (format!("/v1/models?key={key}"), vec![]),
        ("/v1beta/models".to_owned(), vec![("authorization", bearer.as_str())]),
    ] {
        let list = ask(&path, &headers).await;
        let models = list["models"].as_array().expect("models");
        let one = models.iter().find(|model| model["name"] == json!("models/test/chat")).expect("the usual model");
        assert_eq!((&one["displayName"], &one["outputTokenLimit"]), (&json!(MODEL), &json!(100)));
        assert_eq!(one["supportedGenerationMethods"], json!(["generateContent", "streamGenerateContent", "countTokens"]));
    }
    let google = [("x-goog-api-key", key.as_str())];
    assert_eq!(ask("/v1beta/models/test/chat", &google).await["name"], json!("models/test/chat"));
    let list = ask("/v1beta/models?pageSize=1", &google).await;
    let token = list["nextPageToken"].as_str().expect("a token");
    let next = ask(&format!("/v1beta/models?pageSize=1000&pageToken={}", encode(token)), &google).await;
    assert!(next["models"][0]["name"] != list["models"][0]["name"] && next.get("nextPageToken").is_none(), "{next}");
    world.finish().await;
}

#[tokio::test]
async fn ids_with_colons_are_no_verbs() {
    let world = World::new().await;
    world.app.admin.create_model(&model("llama3:8b", "llama3:8b")).await;
    assert_eq!(world.caller.get("/v1/models/llama3:8b").await.expect(200)["object"], json!("model"));
    world.caller.get("/v1/models/llama3:9b").await.refused(404, "model_not_found");
    world.finish().await;
}
