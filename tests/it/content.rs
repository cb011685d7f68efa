//! Requests and answers that are kept for their owners: only where both sides want it, sealed, for a time, for nobody else.

use std::io::Read;

use pixgate::domain::content::KeepContent;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    browser::{Browser, PASSWORD, token, verified},
    client::{Answer, Caller, chat, eventually},
    upstream::Reply,
    world::{MODEL, UPSTREAM_MODEL, World},
};

const EMAIL: &str = "ada@example.com";
const COUNT: &str = "SELECT COUNT(*) FROM request_contents";

fn path(id: &str) -> String {
    format!("/v1/generation/content?id={id}")
}

async fn keeping(keep: KeepContent) -> World {
    World::with(|settings| settings.content.keep = keep).await
}

/// An owner with credits, who signed in, and one of its keys.
async fn owner(world: &World) -> (Browser, String, Caller) {
    let browser = verified(&world.app, EMAIL).await;
    let list = world.app.admin.caller.get(&format!("/admin/v1/accounts?q={EMAIL}")).await.expect(200);
    let id = list["data"][0]["id"].as_str().unwrap().to_owned();
    world.app.admin.grant(&id, 1_000_000).await;
    let caller = world.app.admin.caller_of(&id, &json!({})).await;
    (browser, id, caller)
}

async fn switch(browser: &mut Browser, body: Value) -> Answer {
    browser.send(Method::PATCH, "/api/v1/me/privacy", &body).await
}

#[tokio::test]
async fn nothing_is_kept_unless_operator_and_owner_want_it() {
    let off = keeping(KeepContent::Off).await;
    let (mut browser, ..) = owner(&off).await;
    let id = off.caller.chat(MODEL, "parrot").await;
    off.caller.get(&path(&id.request_id())).await.refused(404, "not_found");
    let refused = switch(&mut browser, json!({"keep_content": true})).await;
    assert_eq!(refused.refused(400, "invalid_request")["param"], json!("keep_content"));
    assert_eq!(off.app.database.number(COUNT).await, 0);
    off.finish().await;

    let world = keeping(KeepContent::OptIn).await;
    let (mut browser, _, caller) = owner(&world).await;
    caller.chat(MODEL, "before").await.expect(200);
    let switches = browser.get("/api/v1/me/privacy").await.expect(200);
    assert_eq!((&switches["keep_content"], &switches["content_is_kept"]), (&Value::Null, &json!(false)));
    let switches = switch(&mut browser, json!({"keep_content": true})).await.expect(200);
    assert_eq!((&switches["keep_content"], &switches["content_is_kept"]), (&json!(true), &json!(true)));
    let kept = caller.chat(MODEL, "kept").await;
    caller.get(&path(&kept.request_id())).await.expect(200);
    // One call may say no, and nothing else than yes and no.
    let no = caller.post_with("/v1/chat/completions", &[("x-pixgate-keep-content", "false")], &chat(MODEL, "not kept")).await;
    no.expect(200);
    caller.get(&path(&no.request_id())).await.refused(404, "not_found");
    let odd = caller.post_with("/v1/chat/completions", &[("x-pixgate-keep-content", "nope")], &chat(MODEL, "x")).await;
    odd.refused(400, "invalid_request");
    // Another account did not choose.
    let other = world.caller.chat(MODEL, "other").await;
    world.caller.get(&path(&other.request_id())).await.refused(404, "not_found");
    switch(&mut browser, json!({"keep_content": false})).await.expect(200);
    caller.chat(MODEL, "after").await.expect(200);
    caller.get(&path(&kept.request_id())).await.expect(200);
    assert_eq!(world.app.database.number(COUNT).await, 1);
    world.finish().await;

    let world = keeping(KeepContent::OptOut).await;
    let (mut browser, _, caller) = owner(&world).await;
    caller.chat(MODEL, "kept").await.expect(200);
    switch(&mut browser, json!({"keep_content": false})).await.expect(200);
    let not = caller.chat(MODEL, "not kept").await;
    caller.get(&path(&not.request_id())).await.refused(404, "not_found");
    assert_eq!(world.app.database.number(COUNT).await, 1);
    world.finish().await;
}

#[tokio::test]
async fn answers_of_every_kind_are_kept_as_they_were_given() {
    let world = World::with(|settings| {
        settings.content.keep = KeepContent::OptOut;
        settings.content.bytes_max = 1_024;
    })
    .await;
    let caller = &world.caller;
    let whole = caller.chat(MODEL, "parrot one").await;
    let content = caller.get(&path(&whole.request_id())).await.expect(200)["data"].clone();
    assert_eq!(content["request"]["body"], json!(chat(MODEL, "parrot one").to_string()), "as it was sent");
    assert_eq!((&content["answer"]["body"], &content["status"]), (&json!(whole.text), &json!(200)));
    assert_eq!((&content["model"], &content["endpoint"]), (&json!(MODEL), &json!("/v1/chat/completions")));
    assert_eq!(content["answer"]["truncated"], json!(false));
    // By the answer's id, too.
    let answer_id = whole.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(caller.get(&path(&answer_id)).await.expect(200)["data"]["id"], content["id"]);

    let body = json!({"model": MODEL, "stream": true, "messages": [{"role": "user", "content": "parrot two"}]});
    let stream = caller.post("/v1/chat/completions", &body).await;
    assert!(stream.text.contains("[DONE]"), "{}", stream.text);
    let content = caller.get(&path(&stream.request_id())).await.expect(200)["data"].clone();
    let said = content["answer"]["body"].as_str().unwrap();
    assert!(stream.text.starts_with(said) && said.len() == stream.text.len().min(1_024), "{said}");
    assert_eq!(content["answer"]["content_type"], json!("text/event-stream"));
    assert_eq!((&content["answer"]["bytes"], &content["status"]), (&json!(stream.text.len()), &json!(200)));

    // Another dialect, a call that fails, one that is too long to be kept whole, and a refusal before anything was held.
    let body = json!({"model": MODEL, "max_tokens": 20, "messages": [{"role": "user", "content": "parrot three"}]});
    let message = caller.post("/v1/messages", &body).await;
    message.expect(200);
    let content = caller.get(&path(&message.request_id())).await.expect(200)["data"].clone();
    assert_eq!((&content["answer"]["body"], &content["endpoint"]), (&json!(message.text), &json!("/v1/messages")));
    world.upstream.always(UPSTREAM_MODEL, Reply::error(400, "no parrots"));
    let failed = caller.chat(MODEL, "parrot four").await;
    failed.refused(400, "invalid_request");
    let content = caller.get(&path(&failed.request_id())).await.expect(200)["data"].clone();
    assert_eq!((&content["answer"]["body"], &content["status"]), (&json!(failed.text), &json!(400)));
    let long = caller.chat(MODEL, &"é".repeat(2_000)).await;
    let content = caller.get(&path(&long.request_id())).await.expect(200)["data"].clone();
    let kept = content["request"]["body"].as_str().unwrap();
    assert_eq!((&content["request"]["truncated"], &content["request"]["encoding"]), (&json!(true), &json!("text")));
    assert!((1_023..=1_024).contains(&kept.len()) && content["request"]["bytes"].as_u64().unwrap() > 4_000, "{}", kept.len());
    let unknown = caller.chat("no/such-model", "parrot five").await;
    caller.get(&path(&unknown.request_id())).await.refused(404, "not_found");

    // What a thief of the database would find.
    assert_eq!(world.app.database.number(COUNT).await, 5);
    assert!(!world.app.database.dump().await.contains("parrot"));
    let metrics = caller.anonymous(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("pixgate_contents_lost_total 0"), "{metrics}");
    world.finish().await;
}

#[tokio::test]
async fn kept_content_is_its_owners() {
    let world = keeping(KeepContent::OptOut).await;
    let (mut browser, id, caller) = owner(&world).await;
    let call = caller.chat(MODEL, "parrot").await;
    let own_id = call.request_id();
    world.caller.get(&path(&own_id)).await.refused(404, "not_found");
    let colleague = world.app.admin.caller_of(&id, &json!({})).await;
    colleague.get(&path(&own_id)).await.refused(404, "not_found");
    let manager = world.app.admin.caller_of(&id, &json!({"scopes": ["inference", "account"]})).await;
    manager.get(&path(&own_id)).await.expect(200);
    world.caller.get("/v1/generation/content").await.refused(400, "invalid_request");

    let page = format!("/api/v1/requests/{own_id}/content");
    let seen = browser.get(&page).await;
    assert_eq!((&seen.expect(200)["account_id"], seen.header("cache-control")), (&json!(id), Some("no-store")));
    Browser::new(&world.app).get(&page).await.refused(401, "invalid_api_key");
    let stranger = verified(&world.app, "eve@example.com").await;
    let answer = Answer::of(stranger.request(Method::GET, &page)).await;
    answer.refused(404, "not_found");
    Answer::of(stranger.request(Method::DELETE, &page)).await.refused(404, "not_found");

    // The staff can look, and everybody can see that it did.
    let staff = &world.app.admin.caller;
    let staff_page = format!("/admin/v1/requests/{own_id}/content");
    assert_eq!(staff.get(&staff_page).await.expect(200)["answer"]["body"], json!(call.text));
    let trail = staff.list(&format!("/admin/v1/audit?subject={own_id}")).await;
    assert_eq!((&trail[0]["action"], &trail[0]["details"]["account_id"]), (&json!("content.read"), &json!(id)));
    caller.get(&staff_page).await.refused(403, "scope_missing");

    browser.send(Method::DELETE, &page, &Value::Null).await.success();
    browser.get(&page).await.refused(404, "not_found");
    browser.send(Method::DELETE, &page, &Value::Null).await.refused(404, "not_found");
    let next = caller.chat(MODEL, "parrot").await.request_id();
    staff.delete(&format!("/admin/v1/requests/{next}/content")).await.success();
    staff.get(&format!("/admin/v1/requests/{next}/content")).await.refused(404, "not_found");
    for _ in 0..3 {
        caller.chat(MODEL, "parrot").await.expect(200);
    }
    let forgotten = browser.send(Method::DELETE, "/api/v1/me/content", &Value::Null).await.expect(200);
    assert_eq!(forgotten, json!({"deleted": 3}));
    assert_eq!(world.app.database.number(COUNT).await, 0);
    world.finish().await;
}

#[tokio::test]
async fn kept_content_is_exported_and_erased() {
    let world = World::with(|settings| {
        settings.content.keep = KeepContent::OptOut;
        settings.privacy.deletion_cooling_off_days = 0;
    })
    .await;
    let (mut browser, _, caller) = owner(&world).await;
    let call = caller.chat(MODEL, "parrot").await;
    browser.post("/api/v1/me/export", &json!({"password": PASSWORD})).await.expect(202);
    let archive = browser.request(Method::GET, "/api/v1/me/export?download=true").send().await.unwrap().bytes().await.unwrap();
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(archive)).unwrap();
    let mut file = |name: String| {
        let mut text = String::new();
        archive.by_name(&name).unwrap_or_else(|_| panic!("no {name}")).read_to_string(&mut text).unwrap();
        text
    };
    let own_id = call.request_id();
    assert_eq!(file(format!("content/requests/{own_id}.request.json")), chat(MODEL, "parrot").to_string());
    assert_eq!(file(format!("content/requests/{own_id}.answer.json")), call.text);
    assert!(file("data/request_contents.json".to_owned()).contains(&own_id));
    token(&world.app, EMAIL, "export_ready").await;

    // A call of another account stays.
    world.caller.chat(MODEL, "stays").await.expect(200);
    let asked = browser.send(Method::DELETE, "/api/v1/me", &json!({"password": PASSWORD})).await.expect(202);
    assert_eq!(asked["status"], json!("done"));
    let request = world.app.admin.caller.get(&format!("/admin/v1/privacy-requests/{}", asked["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(request["progress"]["request_contents"], json!({"erased": 1}));
    assert_eq!(world.app.database.number(COUNT).await, 1);
    world.finish().await;
}

#[tokio::test]
async fn kept_content_ends_with_its_time() {
    let world = World::with(|settings| {
        settings.content.keep = KeepContent::OptOut;
        // The sweeper takes a turn each quarter of it.
        settings.ledger.lease_ttl_seconds = 4;
    })
    .await;
    let call = world.caller.chat(MODEL, "parrot").await.request_id();
    let content = world.caller.get(&path(&call)).await.expect(200)["data"].clone();
    let moment = |name: &str| content[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    assert_eq!(moment("expires_at") - moment("created_at"), 30 * 86_400);
    world.app.database.execute("UPDATE request_contents SET expires_at = created_at").await;
    world.caller.get(&path(&call)).await.refused(404, "not_found");
    eventually("it is swept", async || (world.app.database.number(COUNT).await == 0).then_some(())).await;
    world.finish().await;
}
