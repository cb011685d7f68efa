//! What callers can ask about themselves: `/v1/key`, `/v1/credits`, `/v1/usage`, `/v1/generation`.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    client::{Answer, eventually},
    world::{CREDITS, MODEL, World, price},
};

const PATHS: [&str; 4] = ["/v1/key", "/v1/credits", "/v1/usage", "/v1/generation?id=req_1"];

fn credits(micros: i64) -> f64 {
    micros as f64 / 1e6
}

#[track_caller]
fn near(value: &Value, micros: i64) {
    let value = value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
    assert!((value - credits(micros)).abs() < 1e-9, "{value} is not {micros} micros");
}

#[tokio::test]
async fn credits_and_key_show_what_was_granted_and_used() {
    let world = World::new().await;
    for _ in 0..3 {
        world.caller.chat(MODEL, "Hi").await.expect(200);
    }
    world.spent().await;
    let totals = eventually("the calls count", || async {
        let body = world.caller.get("/v1/credits").await.expect(200);
        (body["data"]["total_usage"].as_f64()? > credits(2 * price(10, 5))).then_some(body)
    })
    .await;
    near(&totals["data"]["total_credits"], CREDITS);
    near(&totals["data"]["total_usage"], 3 * price(10, 5));

    let budgeted = world.app.admin.caller_of(&world.account, &json!({"budget": {"micros": 10_000, "period": "total"}})).await;
    budgeted.chat(MODEL, "Hi").await.expect(200);
    let key = eventually("the key's use counts", || async {
        let body = budgeted.get("/v1/key").await.expect(200);
        (body["data"]["usage"].as_f64()? > 0.0).then_some(body)
    })
    .await;
    near(&key["data"]["usage"], price(10, 5));
    near(&key["data"]["limit"], 10_000);
    near(&key["data"]["limit_remaining"], 10_000 - price(10, 5));
    assert!(!key.to_string().contains(&budgeted.key), "the secret is never shown again");
    world.finish().await;
}

#[tokio::test]
async fn usage_lists_the_callers_own_rows_newest_first_in_pages() {
    let world = World::new().await;
    let (_, other) = world.another("other", CREDITS).await;
    other.chat(MODEL, "Hi").await.expect(200);
    let mut made = Vec::new();
    for _ in 0..5 {
        let answer = world.caller.chat(MODEL, "Hi").await;
        answer.expect(200);
        made.push(answer.request_id());
    }
    world.usage_of(&made[4]).await;
    made.reverse();
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = world.caller.get(&format!("/v1/usage?limit=2{cursor}")).await.expect(200);
        let rows = page["data"].as_array().unwrap();
        assert!(rows.len() <= 2);
        seen.extend(rows.iter().map(|row| row["request_id"].as_str().unwrap().to_owned()));
        if page["has_more"] == json!(false) {
            break;
        }
        cursor = format!("&cursor={}", page["next_cursor"].as_str().expect("a cursor"));
    }
    assert_eq!(seen, made);

    let row = &world.caller.get("/v1/usage?limit=1").await.expect(200)["data"][0];
    assert_eq!(row["model"], json!(MODEL));
    assert_eq!(row["upstream"], json!("mock"));
    assert_eq!(row["cost_micros"], json!(price(10, 5)));
    assert_eq!((&row["input_tokens"], &row["cached_tokens"], &row["output_tokens"]), (&json!(10), &json!(0), &json!(5)));
    assert_eq!(row["estimated"], json!(false));
    assert!(row.get("status").is_some(), "{row}");
    for limit in ["0", "-1", "x", "1000000"] {
        let answer = world.caller.get(&format!("/v1/usage?limit={limit}")).await;
        assert!([200, 400].contains(&answer.status), "limit={limit}: {}", answer.text);
    }
    for cursor in ["nonsense", "%00", "%ff", "'--", "req_"] {
        let answer = world.caller.get(&format!("/v1/usage?cursor={cursor}")).await;
        assert!([200, 400].contains(&answer.status), "cursor={cursor}: {} {}", answer.status, answer.text);
    }
    world.finish().await;
}

#[tokio::test]
async fn generation_is_found_by_the_answers_id_and_by_the_request_id_and_only_by_its_owner() {
    let world = World::new().await;
    let (_, stranger) = world.another("stranger", CREDITS).await;
    let answer = world.caller.chat("pixgate/echo", "Hi").await;
    let body = answer.expect(200);
    world.usage_of(&answer.request_id()).await;
    for id in [body["id"].as_str().unwrap().to_owned(), answer.request_id()] {
        let found = world.caller.get(&format!("/v1/generation?id={id}")).await.expect(200);
        near(&found["data"]["total_cost"], answer.cost());
        assert_eq!(found["data"]["model"], json!("pixgate/echo"), "{found}");
        assert_eq!(stranger.get(&format!("/v1/generation?id={id}")).await.status, 404);
    }
    assert_eq!(world.caller.get("/v1/generation?id=req_unknown").await.status, 404);
    world.caller.get("/v1/generation").await.refused(400, "invalid_request");
    world.finish().await;
}

#[tokio::test]
async fn every_route_needs_a_key() {
    let world = World::new().await;
    for path in PATHS {
        Answer::of(world.caller.anonymous(Method::GET, path)).await.refused(401, "invalid_api_key");
        world.caller.with_key("px_live_nonsense").get(path).await.refused(401, "invalid_api_key");
    }
    world.finish().await;
}
