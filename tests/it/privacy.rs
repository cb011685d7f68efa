//! What people ask about their data, over sockets: a copy, an end, a restriction, an objection.

use std::{io::Read, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    browser::{Browser, PASSWORD, mails, register, token, verified},
    client::eventually,
};

const DAY: Duration = Duration::from_secs(86_400);
const ADA: &str = "ada@example.com";

async fn account_id(app: &TestApp, email: &str) -> String {
    let list = app.admin.caller.get(&format!("/admin/v1/accounts?q={email}")).await.expect(200);
    list["data"][0]["id"].as_str().expect("an account").to_owned()
}

/// A verified owner with credits, a call, a ticket and a file.
async fn seeded(app: &TestApp) -> (Browser, String) {
    let mut browser = verified(app, ADA).await;
    let id = account_id(app, ADA).await;
    app.admin.grant(&id, 1_000_000).await;
    let caller = app.admin.caller_of(&id, &json!({})).await;
    caller.chat("pixgate/echo", "hello").await.expect(200);
    browser.post("/api/v1/tickets", &json!({"title": "Where is my parrot", "message": "It is blue"})).await.expect(201);
    (browser, id)
}

/// The text of one file of a ZIP archive.
fn file(archive: &[u8], name: &str) -> String {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(archive)).expect("an archive");
    let mut text = String::new();
    archive.by_name(name).unwrap_or_else(|_| panic!("no {name}")).read_to_string(&mut text).expect("text");
    text
}

async fn delete_me(browser: &mut Browser, password: &str) -> crate::support::client::Answer {
    browser.send(Method::DELETE, "/api/v1/me", &json!({"password": password})).await
}

#[tokio::test]
async fn an_export_holds_everything_but_secrets() {
    let app = TestApp::manual(|_| {}).await;
    let (mut browser, id) = seeded(&app).await;
    browser.get("/api/v1/me/export?download=true").await.expect(404);
    let refused = browser.post("/api/v1/me/export", &json!({"password": "wrong password 1"})).await.expect(401);
    assert_eq!(refused["error"]["code"], json!("invalid_credentials"));
    let asked = browser.post("/api/v1/me/export", &json!({"password": PASSWORD})).await.expect(202);
    assert_eq!((&asked["kind"], &asked["status"]), (&json!("export"), &json!("done")));
    let list = browser.get("/api/v1/me/export").await.expect(200);
    assert_eq!((list["data"].as_array().unwrap().len(), &list["data"][0]["id"]), (1, &asked["id"]));

    let archive = browser.request(Method::GET, "/api/v1/me/export?download=true").send().await.unwrap().bytes().await.unwrap();
    let accounts: Value = serde_json::from_str(&file(&archive, "data/accounts.json")).unwrap();
    assert_eq!((&accounts[0]["email"], &accounts[0]["id"]), (&json!(ADA), &json!(id)));
    for (table, needle) in [
        ("tickets", "Where is my parrot"),
        ("ticket_messages", "It is blue"),
        ("usage_records", "pixgate/echo"),
        ("grants", "1000000"),
        ("sessions", "127.0.0.1"),
        ("sign_ups", "password"),
        ("security_events", "sign_in"),
        ("outbox", ADA),
    ] {
        for kind in ["json", "csv"] {
            let text = file(&archive, &format!("data/{table}.{kind}"));
            assert!(text.contains(needle), "{table}.{kind}: {text}");
        }
    }
    let credentials = file(&archive, "data/credentials.json");
    assert!(!credentials.contains("argon2") && !file(&archive, "data/mail_tokens.json").contains("argon2"), "{credentials}");

    // The mailed link works once, for somebody who is not signed in.
    let link = token(&app, ADA, "export_ready").await;
    let fetch = |token: String| Browser::new(&app).request(Method::POST, "/privacy/download").form(&[("token", token)]).send();
    let first = fetch(link.clone()).await.unwrap();
    assert_eq!((first.status().as_u16(), first.headers()["content-type"].to_str().unwrap()), (200, "application/zip"));
    assert_eq!(fetch(link).await.unwrap().status().as_u16(), 400);
    app.advance(8 * DAY);
    browser.sign_in(ADA, PASSWORD).await.expect(200);
    browser.get("/api/v1/me/export?download=true").await.expect(404);
    for _ in 0..5 {
        browser.post("/api/v1/me/export", &json!({"password": PASSWORD})).await.expect(202);
    }
    let refused = browser.post("/api/v1/me/export", &json!({"password": PASSWORD})).await.expect(409);
    assert!(refused["error"]["message"].as_str().unwrap().contains("5 exports a day"), "{refused}");
    app.finish().await;
}

#[tokio::test]
async fn a_deletion_can_be_taken_back_until_it_begins() {
    let app = TestApp::manual(|_| {}).await;
    let (mut browser, id) = seeded(&app).await;
    let caller = app.admin.caller_of(&id, &json!({})).await;
    delete_me(&mut browser, "wrong password 1").await.expect(401);
    let asked = delete_me(&mut browser, PASSWORD).await.expect(202);
    assert_eq!((&asked["kind"], &asked["status"]), (&json!("deletion"), &json!("scheduled")));
    assert_eq!(browser.get("/api/v1/me").await.status, 401, "sessions ended");
    assert_eq!(browser.sign_in(ADA, PASSWORD).await.status, 401);
    assert!(matches!(caller.chat("pixgate/echo", "hello").await.status, 401 | 403), "keys stopped");
    // Nobody gets around the request, and its link is good for one thing only.
    let (path, status) = (format!("/admin/v1/accounts/{id}"), json!({"status": "active"}));
    app.admin.caller.patch(&path, &status).await.refused(409, "conflict");
    app.admin.caller.post(&format!("{path}/keys"), &json!({"title": "late"})).await.refused(409, "conflict");
    let link = token(&app, ADA, "deletion_scheduled").await;
    Browser::new(&app).post("/api/v1/privacy-requests/confirm", &json!({"token": link})).await.expect(400);
    let other = json!({"account_id": id, "kind": "objection", "confirm_by_mail": true});
    app.admin.caller.post("/admin/v1/privacy-requests", &other).await.success();
    Browser::new(&app).post("/api/v1/privacy-requests/cancel", &json!({"token": link})).await.expect(200);
    Browser::new(&app).post("/api/v1/privacy-requests/cancel", &json!({"token": link})).await.expect(400);
    browser.sign_in(ADA, PASSWORD).await.expect(200);
    caller.chat("pixgate/echo", "hello").await.expect(200);
    let request = app.admin.caller.get(&format!("/admin/v1/privacy-requests/{}", asked["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(request["status"], json!("canceled"));
    app.finish().await;
}

#[tokio::test]
async fn a_deletion_leaves_nothing_personal_and_a_signed_record() {
    let app = TestApp::manual(|settings| settings.privacy.deletion_cooling_off_days = 0).await;
    let (mut browser, id) = seeded(&app).await;
    for change in [json!({"status": "suspended", "reason": "the parrot was stolen"}), json!({"status": "active"})] {
        app.admin.patch_account(&id, &change).await;
    }
    browser.sign_in(ADA, PASSWORD).await.expect(200);
    browser.post("/api/v1/me/export", &json!({"password": PASSWORD})).await.expect(202);
    assert!(app.blobs().iter().any(|name| name.starts_with(&id)));
    let asked = delete_me(&mut browser, PASSWORD).await.expect(202);
    assert_eq!(asked["status"], json!("done"));
    assert!(!app.blobs().iter().any(|name| name.starts_with(&id)), "{:?}", app.blobs());

    let request = app.admin.caller.get(&format!("/admin/v1/privacy-requests/{}", asked["id"].as_str().unwrap())).await.expect(200);
    let record: Value = serde_json::from_str(request["record"].as_str().unwrap()).unwrap();
    let tables = record["tables"].as_object().unwrap();
    for table in pixgate::domain::privacy::register::TABLES.iter().filter(|table| table.owned.is_some()) {
        assert!(tables.contains_key(table.name), "{} is not in the record", table.name);
    }
    assert_eq!((&tables["tickets"]["erased"], &tables["usage_records"]["kept"]), (&json!(1), &json!(1)));
    assert!(tables["blobs"]["erased"].as_u64().unwrap() >= 1);
    let key = app.admin.caller.get("/admin/v1/privacy-key").await.expect(200);
    let path = format!("/admin/v1/accounts/{id}");
    app.admin.caller.patch(&path, &json!({"status": "active", "name": "Ada again"})).await.refused(409, "conflict");
    app.admin.caller.patch(&path, &json!({"name": "Ada again"})).await.refused(409, "conflict");
    assert_eq!((&key["algorithm"], request["signature"].as_str().unwrap().len()), (&json!("ed25519"), 88));

    // What is left of the address is the farewell, which goes once it was sent or given up.
    assert!(mails(&app, ADA).await.iter().all(|mail| mail.kind() == "deletion_done"));
    let dump = app.database.dump().await;
    let left: Vec<&str> =
        dump.lines().filter(|line| line.contains(ADA) || line.contains("parrot") || line.contains("It is blue")).collect();
    assert!(left.iter().all(|line| line.starts_with("outbox: ") && line.contains("deletion_done")), "{left:?}");
    // `Ada` is the name, and 127.0.0.1 the address of every browser of this test.
    let networks: Vec<&str> = dump.lines().filter(|line| line.contains(&id) && line.contains("127.0.0.1")).collect();
    assert!(networks.is_empty(), "{networks:?}");

    // Nor do the pages of the file hold what was erased, once its log has been written back.
    if !app.database.is_postgres() {
        app.database.execute("PRAGMA wal_checkpoint(TRUNCATE)").await;
        assert!(!app.database.files_hold("It is blue") && !app.database.files_hold("Where is my parrot"));
    }

    // The ledger still balances, and the address is free again.
    let check = app.admin.caller.get("/admin/v1/ledger/check").await.expect(200);
    assert_eq!(check["differences"], json!([]));
    register(&app, ADA).await;
    assert_ne!(account_id(&app, ADA).await, id);
    app.finish().await;
}

#[tokio::test]
async fn strangers_ask_by_mail_and_learn_nothing() {
    let app = TestApp::manual(|_| {}).await;
    let (_, id) = seeded(&app).await;
    let mut stranger = Browser::new(&app);
    let known = stranger.post("/api/v1/privacy-requests", &json!({"email": ADA, "kind": "export"})).await;
    let unknown = stranger.post("/api/v1/privacy-requests", &json!({"email": "nobody@example.com", "kind": "export"})).await;
    assert_eq!((known.status, &known.text), (202, &unknown.text));
    assert!(mails(&app, "nobody@example.com").await.is_empty());
    let link = token(&app, ADA, "privacy_request").await;
    let done = stranger.post("/api/v1/privacy-requests/confirm", &json!({"token": link})).await.expect(202);
    assert_eq!((&done["kind"], &done["status"]), (&json!("export"), &json!("done")));
    stranger.post("/api/v1/privacy-requests/confirm", &json!({"token": link})).await.expect(400);
    token(&app, ADA, "export_ready").await;

    // And the staff for who wrote in.
    let correction = json!({"email": ADA, "kind": "correction", "note": "the name is spelled Aida"});
    let entered = app.admin.caller.post("/admin/v1/privacy-requests", &correction).await.expect(201);
    assert_eq!((&entered["status"], &entered["account_id"]), (&json!("open"), &json!(id)));
    let path = format!("/admin/v1/privacy-requests/{}", entered["id"].as_str().unwrap());
    let decided = app.admin.caller.patch(&path, &json!({"status": "done"})).await.expect(200);
    assert_eq!(decided["status"], json!("done"));
    app.admin.caller.patch(&path, &json!({"status": "rejected"})).await.expect(409);
    let list = app.admin.caller.get(&format!("/admin/v1/privacy-requests?account_id={id}&status=done")).await.expect(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
    let retention = app.admin.caller.get("/admin/v1/retention").await.expect(200);
    assert_eq!((&retention["data"][0]["class"], &retention["data"][0]["days"]), (&json!("security_log"), &json!(90)));
    app.finish().await;
}

#[tokio::test]
async fn restriction_and_objection_take_effect() {
    let app = TestApp::manual(|_| {}).await;
    let mut browser = Browser::new(&app);
    let body = json!({"email": ADA, "password": PASSWORD, "name": "Ada", "utm_source": "parrot-news"});
    browser.post("/api/v1/auth/register", &body).await.expect(201);
    let link = token(&app, ADA, "verify_email").await;
    browser.post("/api/v1/auth/verify", &json!({"token": link})).await.expect(200);
    browser.sign_in(ADA, PASSWORD).await.expect(200);
    let id = account_id(&app, ADA).await;
    app.admin.grant(&id, 1_000_000).await;
    let caller = app.admin.caller_of(&id, &json!({})).await;
    caller.chat("pixgate/echo", "hello").await.expect(200);
    assert!(app.database.dump().await.contains("parrot-news"));

    let patch = |browser: &Browser, body: Value| browser.request(Method::PATCH, "/api/v1/me/privacy").json(&body).send();
    let answer = patch(&browser, json!({"restricted": true, "objected": true})).await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let refused = caller.chat("pixgate/echo", "hello").await.expect(403);
    assert_eq!(refused["error"]["code"], json!("processing_restricted"));
    assert!(!app.database.dump().await.contains("parrot-news"));
    browser.sign_in(ADA, PASSWORD).await.expect(200);
    let switches = browser.get("/api/v1/me/privacy").await.expect(200);
    assert_eq!((&switches["restricted"], &switches["objected"]), (&json!(true), &json!(true)));
    patch(&browser, json!({"restricted": false})).await.unwrap();
    caller.chat("pixgate/echo", "hello").await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn a_mailed_code_proves_the_person_once() {
    let app = TestApp::manual(|_| {}).await;
    let mut browser = verified(&app, ADA).await;
    browser.post("/api/v1/me/confirmation-code", &json!({})).await.expect(202);
    let mails = mails(&app, ADA).await;
    let code = mails.iter().rev().find_map(|mail| mail.code()).expect("a code").to_owned();
    browser.post("/api/v1/me/export", &json!({"mail_code": "00000000x"})).await.expect(401);
    browser.post("/api/v1/me/export", &json!({"mail_code": code})).await.expect(202);
    browser.post("/api/v1/me/export", &json!({"mail_code": code})).await.expect(401);
    app.finish().await;
}

/// The period of a class of data, with its sweeps.
async fn period(app: &TestApp, class: &str) -> Value {
    let list = app.admin.caller.get("/admin/v1/retention").await.expect(200);
    list["data"].as_array().unwrap().iter().find(|period| period["class"] == json!(class)).unwrap_or_else(|| panic!("{class}")).clone()
}

#[tokio::test]
async fn periods_end_and_show_what_went() {
    let app = TestApp::start(|settings| {
        settings.privacy.usage_days = 30;
        settings.privacy.ticket_days = 30;
        // The sweeper takes a turn each quarter of it.
        settings.ledger.lease_ttl_seconds = 4;
    })
    .await;
    let (mut browser, id) = seeded(&app).await;
    let caller = app.admin.caller_of(&id, &json!({"budget": {"micros": 1_000_000, "period": "total"}})).await;
    let fresh = caller.chat("pixgate/echo", "hello").await;
    let spent = caller.get("/v1/key").await.expect(200)["data"]["usage_micros"].clone();
    browser.post("/api/v1/tickets", &json!({"title": "Another", "message": "It stays open"})).await.expect(201);
    let tickets = browser.get("/api/v1/tickets").await.expect(200);
    let old =
        tickets["data"].as_array().unwrap().iter().find(|ticket| ticket["title"] == json!("Where is my parrot")).unwrap()["id"].clone();
    let attach = format!("/api/v1/tickets/{}/attachments", old.as_str().unwrap());
    let form = "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"parrot.txt\"\r\n\r\na parrot\r\n--b--\r\n";
    let attached = browser.request(Method::POST, &attach).header("content-type", "multipart/form-data; boundary=b").body(form);
    let attached = attached.send().await.unwrap();
    assert_eq!(attached.status().as_u16(), 201, "{}", attached.text().await.unwrap());
    assert_eq!(app.blobs().len(), 1);
    let before = period(&app, "tickets").await;
    assert_eq!((&before["days"], &before["setting"], &before["rows"]), (&json!(30), &json!("privacy.ticket_days"), &json!(0)));

    // Forty days ago: a call, and the end of a ticket.
    let ago = app.now() - 40 * 86_400_000_000;
    let first = app.database.text("SELECT id FROM usage_records ORDER BY id LIMIT 1").await;
    let aged = pixgate::domain::id::prefixed("req", ago, [7; 10]);
    let age = format!(
        "UPDATE usage_records SET id = '{aged}', request_id = '{aged}', started_at = {ago}, finished_at = {ago} WHERE id = '{first}'"
    );
    app.database.execute(&age).await;
    app.database.execute(&format!("UPDATE tickets SET status = 'closed', closed_at = {ago} WHERE id = '{}'", old.as_str().unwrap())).await;
    let swept = eventually("both are swept", async || {
        let (usage, tickets) = (period(&app, "usage").await, period(&app, "tickets").await);
        (usage["rows"] == json!(1) && tickets["rows"] == json!(1)).then_some((usage, tickets))
    });
    let (usage, tickets) = swept.await;
    for period in [&usage, &tickets] {
        assert_eq!(period["last_rows"], json!(1), "{period}");
        assert!(["last_sweep_at", "next_sweep_at", "last_rows_at"].iter().all(|name| period[*name].is_string()), "{period}");
        assert!(period["next_sweep_at"].as_str() > period["last_sweep_at"].as_str(), "{period}");
    }
    let dump = app.database.dump().await;
    assert!(!dump.contains("Where is my parrot") && !dump.contains("It is blue") && dump.contains("It stays open"));
    assert!(app.blobs().is_empty(), "{:?}", app.blobs());

    // What was called is gone, what it cost is not: books, budget and totals stay right, and young calls are whole.
    let records = app.admin.usage(&id).await;
    let of = |wanted: &str| records.iter().find(|record| record["request_id"] == json!(wanted)).unwrap_or_else(|| panic!("{records:?}"));
    let stripped = of(&aged);
    assert_eq!(
        (&stripped["model"], &stripped["input_tokens"], &stripped["cost_micros"]),
        (&json!(""), &json!(0), &of(&fresh.request_id())["cost_micros"])
    );
    assert_eq!(of(&fresh.request_id())["model"], json!("pixgate/echo"));
    assert_eq!(caller.get("/v1/key").await.expect(200)["data"]["usage_micros"], spent);
    app.admin.check_ledger().await;
    assert_eq!(period(&app, "ledger").await["next_sweep_at"], Value::Null);
    app.finish().await;
}
