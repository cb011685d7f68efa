//! The catalogue as admins fill it and callers use it: imports, price history, aliases, tiers.

use serde_json::{Value, json};

use crate::support::{
    client::encode,
    process::TestProcess,
    world::{MODEL, World, model, token_price},
};

const IMPORT: &str = "/admin/v1/models/import";

/// A price list of LiteLLM with `openai/import-me` at so many dollars a token.
fn litellm(input: &str) -> String {
    format!(
        r#"{{"import-me":{{"litellm_provider":"openai","mode":"chat","max_output_tokens":100,"input_cost_per_token":{input},
        "output_cost_per_token":7e-06,"supports_vision":false,"deprecation_date":"2027-01-31"}},
        "azure/elsewhere":{{"litellm_provider":"azure","mode":"chat","input_cost_per_token":1e-06,"output_cost_per_token":1e-06}},
        "riddle":{{"litellm_provider":"openai","mode":"chat"}}}}"#
    )
}

fn counts(report: &Value) -> [i64; 6] {
    ["added", "changed", "unchanged", "missing", "refused", "left_out"].map(|name| report["counts"][name].as_i64().expect("a count"))
}

async fn listed(world: &World) -> Vec<String> {
    let list = world.caller.get("/v1/models").await.expect(200);
    list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_imported_model_is_called_and_charged_by_its_price() {
    let world = World::new().await;
    let admin = &world.app.admin.caller;
    let body = json!({"data": litellm("3e-06"), "format": "auto"});
    let mut dry = body.clone();
    dry["dry_run"] = json!(true);
    assert_eq!(counts(&admin.post(IMPORT, &dry).await.expect(200)), [3, 0, 0, 0, 0, 0]);
    assert_eq!(admin.get(&format!("/admin/v1/models/{}", encode("openai/import-me"))).await.status, 404, "a dry run writes nothing");

    let report = admin.post(IMPORT, &body).await.expect(200);
    assert_eq!(counts(&report), [3, 0, 0, 0, 0, 0]);
    assert_eq!(report["source"], json!("litellm"));
    let known = listed(&world).await;
    assert!(known.contains(&"openai/import-me".to_owned()), "{known:?}");
    for unusable in ["azure/elsewhere", "openai/riddle"] {
        assert!(!known.contains(&unusable.to_owned()), "{known:?}");
        let shown = admin.get(&format!("/admin/v1/models/{}", encode(unusable))).await.expect(200);
        assert_eq!((&shown["enabled"], &shown["routes"]), (&json!(false), &json!([])), "{shown}");
    }
    let shown = world.caller.get("/v1/models/import-me").await.expect(200);
    assert_eq!((&shown["id"], &shown["aliases"]), (&json!("openai/import-me"), &json!(["import-me"])));
    assert_eq!((&shown["capabilities"], &shown["deprecated_at"]), (&json!({"vision": false}), &json!("2027-01-31")));
    for name in ["openai/import-me", "import-me"] {
        let answer = world.caller.chat(name, "Hi").await;
        answer.expect(200);
        assert_eq!(answer.cost(), 10 * 3 + 5 * 7, "{name}");
    }
    assert_eq!(world.upstream.last("import-me").json()["model"], json!("import-me"));
    assert_eq!(counts(&admin.post(IMPORT, &body).await.expect(200)), [0, 0, 3, 0, 0, 0], "the same again");
    let entries = Value::from(admin.list("/admin/v1/audit?subject=litellm").await);
    assert_eq!(entries.as_array().unwrap().len(), 1, "only what was written is in the trail: {entries}");
    assert_eq!(entries[0]["action"], json!("models.import"));
    world.finish().await;
}

#[tokio::test]
async fn a_leap_of_a_price_is_refused_without_force_and_every_price_stays_on_record() {
    let world = World::new().await;
    let admin = &world.app.admin.caller;
    let import = async |input: &str, force: bool| {
        admin.post(IMPORT, &json!({"data": litellm(input), "only": "provider=openai", "force": force})).await.expect(200)
    };
    import("3e-06", false).await;
    let refused = import("3.1e-05", false).await;
    assert_eq!((counts(&refused), &refused["has_leaps"]), ([0, 0, 1, 0, 1, 1], &json!(true)));
    assert!(refused["entries"][0]["why"].as_str().unwrap().contains("input_token"), "{refused}");
    let changed = import("3.1e-05", true).await;
    assert_eq!(changed["entries"][0]["changes"][0], json!({"what": "input_token", "from": "3 per million", "to": "31 per million"}));

    let path = format!("/admin/v1/models/{}", encode("openai/import-me"));
    admin.patch(&path, &json!({"prices": [token_price("request", 5)]})).await.success();
    admin.patch(&path, &json!({"display_name": "no new price"})).await.success();
    let prices = admin.list(&format!("{path}/prices")).await;
    let said: Vec<(&Value, bool)> = prices.iter().map(|row| (&row["prices"][0]["micros"], row["source"].is_null())).collect();
    assert_eq!(said, [(&json!(5), true), (&json!(31_000_000), false), (&json!(3_000_000), false)], "newest first");
    assert!(prices.iter().all(|row| row["model"] == json!("openai/import-me") && row["created_by"].as_str().unwrap().starts_with("key_")));
    admin.delete(&path).await.success();
    assert_eq!(admin.list(&format!("{path}/prices")).await.len(), 3, "also when the model is gone");
    assert_eq!(admin.get("/admin/v1/models/no%2Fsuch/prices").await.status, 404);
    world.finish().await;
}

#[tokio::test]
async fn the_first_change_of_a_built_in_price_keeps_the_old_one() {
    let world = World::new().await;
    let path = format!("/admin/v1/models/{}", encode("pixgate/echo"));
    assert_eq!(world.app.admin.caller.list(&format!("{path}/prices")).await, Vec::<Value>::new());
    world.app.admin.patch_model("pixgate/echo", &json!({"prices": []})).await;
    let prices = world.app.admin.caller.list(&format!("{path}/prices")).await;
    assert_eq!((prices.len(), &prices[0]["prices"], &prices[1]["prices"][0]["micros"]), (2, &json!([]), &json!(100_000)));
    world.finish().await;
}

#[tokio::test]
async fn a_long_input_is_charged_by_its_tier_and_held_for() {
    let world = World::new().await;
    let mut tiered = model("test/tiered", "chat");
    // The upstream reports 10 input and 5 output tokens.
    let tier = |unit: &str, micros: i64, above: i64| json!({"unit": unit, "micros": micros, "per": 1, "above_input_tokens": above});
    tiered["prices"] =
        json!([token_price("input_token", 1), tier("input_token", 20, 9), tier("input_token", 99, 10), token_price("output_token", 2)]);
    world.app.admin.create_model(&tiered).await;
    assert_eq!(world.caller.chat("test/tiered", "Hi").await.cost(), 10 * 20 + 5 * 2);
    let shown = world.caller.get("/v1/models/test/tiered").await.expect(200);
    assert_eq!(shown["prices"][1], tier("input_token", 20, 9));
    let bad = json!({"prices": [tier("input_token", 1, 5)]});
    let path = format!("/admin/v1/models/{}", encode("test/tiered"));
    let refused = world.app.admin.caller.patch(&path, &bad).await.refused(400, "invalid_request");
    assert_eq!(refused["param"], json!("prices"));
    world.finish().await;
}

#[tokio::test]
async fn names_of_models_do_not_collide() {
    let world = World::new().await;
    let admin = &world.app.admin.caller;
    let path = format!("/admin/v1/models/{}", encode(MODEL));
    admin.patch(&path, &json!({"aliases": ["talk", "smart/talk"]})).await.success();
    for name in ["talk", "smart/talk", "chat", MODEL] {
        world.caller.chat(name, "Hi").await.expect(200);
    }
    for name in ["talk:free", "talk:", "talk:x", "talks"] {
        world.caller.chat(name, "Hi").await.refused(404, "model_not_found");
    }
    assert_eq!(admin.post("/admin/v1/models", &model("talk", "chat")).await.status, 409);
    let mut other = model("test/other", "chat");
    for (alias, param) in [("talk", "aliases[0]"), (MODEL, "aliases[0]"), ("test/other", "aliases[0]"), ("with space", "aliases[0]")] {
        other["aliases"] = json!([alias]);
        let refused = admin.post("/admin/v1/models", &other).await.refused(400, "invalid_request");
        assert_eq!(refused["param"], json!(param), "{alias}");
    }
    other["aliases"] = json!([]);
    world.app.admin.create_model(&other).await;
    for (field, value) in [("deprecated_at", json!("tomorrow")), ("capabilities", json!({"smell": true})), ("max_input_tokens", json!(0))] {
        let answer = admin.patch("/admin/v1/models/test%2Fother", &json!({field: value})).await;
        assert_eq!(answer.status, 400, "{field}: {}", answer.text);
    }
    for id in ["import", "a/prices"] {
        assert_eq!(admin.post("/admin/v1/models", &model(id, "chat")).await.status, 400, "{id}");
    }
    world.finish().await;
}

#[tokio::test]
async fn a_model_whose_price_is_unknown_cannot_be_enabled_without_one() {
    let world = World::new().await;
    let admin = &world.app.admin.caller;
    admin.post(IMPORT, &json!({"data": litellm("3e-06")})).await.success();
    let path = format!("/admin/v1/models/{}", encode("openai/riddle"));
    let refused = admin.patch(&path, &json!({"enabled": true})).await.refused(400, "invalid_request");
    assert_eq!(refused["param"], json!("prices"));
    let routes = json!([{"upstream": "mock", "upstream_model": "chat"}]);
    let priced = json!({"enabled": true, "routes": routes, "prices": [token_price("request", 4)]});
    admin.patch(&path, &priced).await.success();
    assert_eq!(world.caller.chat("riddle", "Hi").await.cost(), 4);
    world.finish().await;
}

#[tokio::test]
async fn bad_imports_are_refused_whole() {
    let world = World::new().await;
    let admin = &world.app.admin.caller;
    for (body, param) in [
        (json!({"data": "{"}), "data"),
        (json!({"data": "no header"}), "data"),
        (json!({"data": {"a": {}}, "markup": "0"}), "markup"),
        (json!({"data": {"a": {}}, "only": "everything"}), "only"),
        (json!({"data": {"a": {}}, "upstreams": {"nowhere": "openai"}}), "upstreams"),
        (json!({"data": {"a": {}}, "format": "xml"}), "format"),
        (json!({"data": {"a": {}}, "more": 1}), "more"),
    ] {
        let refused = admin.post(IMPORT, &body).await.refused(400, "invalid_request");
        assert_eq!(refused["param"], json!(param), "{body}");
    }
    // An object as it is, a factor as a number, an upstream by the operator's word.
    let data: Value = serde_json::from_str(&litellm("1e-06")).unwrap();
    let body = json!({"data": data, "markup": 1.5, "upstreams": {"mock": "azure"}, "only": "provider=azure"});
    let report = admin.post(IMPORT, &body).await.expect(200);
    assert_eq!(counts(&report), [1, 0, 0, 0, 0, 2]);
    let shown = world.caller.get("/v1/models/azure/elsewhere").await.expect(200);
    assert_eq!(shown["prices"][0], json!({"unit": "input_token", "micros": 1_500_000, "per": 1_000_000}));
    world.finish().await;
}

#[tokio::test]
async fn the_command_imports_beside_a_running_node() {
    let process = TestProcess::start(&[]).await;
    let file = process.data_dir().join("list.csv");
    std::fs::write(&file, "id,kind,input_token_per_million,output_token_per_million\nnew/one,chat,1.5,6\n").unwrap();
    let file = file.display().to_string();
    let run = |arguments: &[&str]| process.run(arguments);
    let (code, dry) = run(&["models", "import", &file, "--dry-run"]);
    assert!(code == 0 && dry.contains("1 added") && dry.contains("nothing was written"), "{code} {dry}");
    let (code, first) = run(&["models", "import", &file, "--markup", "2"]);
    assert!(code == 0 && first.contains("input_token 3 per million") && first.contains("1 added"), "{code} {first}");
    let (code, again) = run(&["models", "import", &file, "--markup", "2"]);
    assert!(code == 0 && again.contains("0 added, 0 changed, 1 unchanged"), "{code} {again}");
    let (code, leap) = run(&["models", "import", &file, "--markup", "30"]);
    assert!(code == 1 && leap.contains("1 refused") && leap.contains("--force"), "{code} {leap}");
    let (code, forced) = run(&["models", "import", &file, "--markup", "30", "--force"]);
    assert!(code == 0 && forced.contains("input_token 3 per million -> 45 per million"), "{code} {forced}");
    for wrong in [&["models", "import"][..], &["models", "import", &file, "--bundled"], &["models", "import", "nowhere.json"]] {
        assert_ne!(run(wrong).0, 0, "{wrong:?}");
    }
    process.finish().await;
}
