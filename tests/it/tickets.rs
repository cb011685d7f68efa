//! Support tickets: an owner's journey, the staff's, what must stay between the staff, and what attachments may be.

use std::time::Duration;

use pixgate::config::Settings;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    client::{Answer, Caller},
    upstream::Reply,
    world::{MODEL, UPSTREAM_MODEL, World},
};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDRrest";
const HTML: &[u8] = b"<!doctype html><script>alert(1)</script>";
const HOUR: Duration = Duration::from_secs(3_600);

/// An owner of the world's account.
async fn owner(world: &World) -> Caller {
    world.app.admin.caller_of(&world.account, &json!({"scopes": ["account"]})).await
}

async fn open(caller: &Caller, title: &str) -> String {
    let ticket = caller.post("/api/v1/tickets", &json!({"title": title, "message": "It does not work."})).await.expect(201);
    ticket["id"].as_str().expect("an id").to_owned()
}

async fn write(caller: &Caller, base: &str, id: &str, body: Value) -> Value {
    caller.post(&format!("{base}/tickets/{id}/messages"), &body).await.expect(201)
}

async fn attach(caller: &Caller, path: &str, fields: &[(&str, &str)], name: &str, kind: &str, content: &[u8]) -> Answer {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend_from_slice(format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").as_bytes());
    }
    let head = format!("--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\ncontent-type: {kind}\r\n\r\n");
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(content);
    body.extend_from_slice(b"\r\n--b--\r\n");
    let request = caller.request(Method::POST, &format!("{path}/attachments")).header("content-type", "multipart/form-data; boundary=b");
    Answer::of(request.body(body)).await
}

fn texts<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().expect("a list").iter().map(|item| item[field].as_str().expect("a text")).collect()
}

async fn mails(world: &World, kind: &str, recipient: &str) -> i64 {
    world.app.database.number(&format!("SELECT COUNT(*) FROM outbox WHERE kind = '{kind}' AND recipient = '{recipient}'")).await
}

#[tokio::test]
async fn an_owner_asks_gets_an_answer_and_closes() {
    let world = World::with(|settings| settings.tickets.staff_email = Some("staff@example.com".to_owned())).await;
    let (owner, staff) = (owner(&world).await, world.app.admin.caller.clone());
    let new = json!({"title": "Help", "message": "Line one\nline two", "priority": "high"});
    let answer = owner.post("/api/v1/tickets", &new).await;
    let ticket = answer.expect(201);
    let id = ticket["id"].as_str().unwrap();
    assert!(id.starts_with("tkt_") && answer.header("cache-control") == Some("no-store"), "{ticket}");
    assert_eq!((&ticket["status"], &ticket["priority"], &ticket["title"]), (&json!("open"), &json!("high"), &json!("Help")));
    assert_eq!(texts(&ticket["messages"], "message"), ["Line one\nline two"]);
    assert_eq!(texts(&ticket["messages"], "author"), ["customer"]);
    assert_eq!(mails(&world, "ticket_for_staff", "staff@example.com").await, 1);

    let reply = write(&staff, "/admin/v1", id, json!({"message": "Try again."})).await;
    assert_eq!((&reply["ticket_status"], &reply["author"], &reply["internal"]), (&json!("pending"), &json!("support"), &json!(false)));
    assert_eq!(mails(&world, "ticket_reply", "owner@example.com").await, 1);
    let list = owner.get("/api/v1/tickets?status=pending").await.expect(200);
    assert_eq!((texts(&list["data"], "id"), &list["has_more"]), (vec![id], &json!(false)));
    assert_eq!(owner.get("/api/v1/tickets?status=solved").await.expect(200)["data"], json!([]));

    let written = write(&owner, "/api/v1", id, json!({"message": "Still broken."})).await;
    assert!(written["id"].as_str().unwrap().starts_with("tmsg_") && written["ticket_status"] == json!("open"), "{written}");
    assert_eq!(mails(&world, "ticket_for_staff", "staff@example.com").await, 2);
    let path = format!("/api/v1/tickets/{id}");
    let first = owner.get(&format!("{path}/messages?limit=2")).await.expect(200);
    assert_eq!((texts(&first["data"], "author"), &first["has_more"]), (vec!["customer", "support"], &json!(true)));
    let rest = owner.get(&format!("{path}/messages?limit=2&cursor={}", first["next_cursor"].as_str().unwrap())).await.expect(200);
    assert_eq!((texts(&rest["data"], "message"), &rest["has_more"]), (vec!["Still broken."], &json!(false)));
    assert_eq!(owner.get(&format!("{path}/messages?cursor=tmsg_1")).await.expect(200)["data"], json!([]));

    let closed = owner.patch(&path, &json!({"status": "closed"})).await.expect(200);
    assert!(closed["status"] == json!("closed") && closed["closed_at"].is_string(), "{closed}");
    let still = write(&staff, "/admin/v1", id, json!({"message": "Thanks."})).await;
    assert_eq!(still["ticket_status"], json!("closed"));
    assert_eq!(owner.patch(&path, &json!({"status": "open"})).await.expect(200)["closed_at"], Value::Null);
    owner.patch(&path, &json!({"status": "closed"})).await.expect(200);
    assert_eq!(write(&owner, "/api/v1", id, json!({"message": "No, wait."})).await["ticket_status"], json!("open"));
    for status in ["pending", "solved"] {
        assert_eq!(owner.patch(&path, &json!({"status": status})).await.refused(400, "invalid_request")["param"], json!("status"));
    }
    world.finish().await;
}

#[tokio::test]
async fn notes_and_names_stay_with_the_staff() {
    let world = World::new().await;
    let (owner, admin) = (owner(&world).await, &world.app.admin);
    let id = open(&owner, "Help").await;
    let (path, staff_path) = (format!("/api/v1/tickets/{id}"), format!("/admin/v1/tickets/{id}"));
    let before = owner.get(&path).await.expect(200);
    let note = write(&admin.caller, "/admin/v1", &id, json!({"message": "SECRET-NOTE", "internal": true})).await;
    assert_eq!((&note["internal"], &note["ticket_status"]), (&json!(true), &json!("open")));
    let patched = admin.caller.patch(&staff_path, &json!({"assignee": "SECRET-NAME"})).await.expect(200);
    assert_eq!((&patched["assignee"], &patched["account_id"]), (&json!("SECRET-NAME"), &json!(world.account)));
    let hidden = attach(&admin.caller, &staff_path, &[("internal", "true")], "SECRET-FILE.txt", "text/plain", b"x").await.expect(201);
    assert!(hidden["url"].as_str().unwrap().starts_with("/admin/v1/tickets/"), "{hidden}");
    assert_eq!(mails(&world, "ticket_reply", "owner@example.com").await, 0);
    assert_eq!(owner.get(&path).await.expect(200), before, "nothing of it shows, not even its time");

    let message = write(&admin.caller, "/admin/v1", &id, json!({"message": "An answer.", "status": "solved"})).await;
    let author = message["author_id"].as_str().unwrap();
    let seen = attach(&admin.caller, &staff_path, &[("message_id", message["id"].as_str().unwrap())], "a.log", "", b"x").await.expect(201);
    for shown in ["", "/messages", "/attachments"] {
        let text = owner.get(&format!("{path}{shown}")).await.text;
        assert!(!text.contains("SECRET") && !text.contains(author), "{shown}: {text}");
    }
    assert_eq!(owner.get(&format!("{path}/messages")).await.expect(200)["data"].as_array().unwrap().len(), 2);
    let detail = owner.get(&path).await.expect(200);
    assert_eq!((&detail["status"], texts(&detail["attachments"], "id")), (&json!("solved"), vec![seen["id"].as_str().unwrap()]));
    owner.get(&format!("{path}/attachments/{}", hidden["id"].as_str().unwrap())).await.refused(404, "not_found");
    let note_id = note["id"].as_str().unwrap();
    assert_eq!(owner.get(&format!("{path}/messages?cursor={note_id}")).await.expect(200)["data"].as_array().unwrap().len(), 1);

    let all = admin.caller.get(&staff_path).await.expect(200);
    assert_eq!(texts(&all["messages"], "message"), ["It does not work.", "SECRET-NOTE", "An answer."]);
    assert_eq!((&all["message_count"], all["attachments"].as_array().unwrap().len()), (&json!(3), 2));
    let audit = admin.caller.list(&format!("/admin/v1/audit?subject={id}")).await;
    let audit = json!(audit);
    assert_eq!(texts(&audit, "action"), ["ticket.attach", "ticket.reply", "ticket.attach", "ticket.update", "ticket.reply"]);
    assert!(!audit.to_string().contains("SECRET-NOTE"), "{audit}");
    world.finish().await;
}

#[tokio::test]
async fn other_accounts_see_nothing_and_change_nothing() {
    let world = World::new().await;
    let owner = owner(&world).await;
    let id = open(&owner, "Help").await;
    let path = format!("/api/v1/tickets/{id}");
    let attachment = attach(&owner, &path, &[], "a.png", "image/png", PNG).await.expect(201);
    let (other_account, _) = world.another("other", 0).await;
    let other = world.app.admin.caller_of(&other_account, &json!({"scopes": ["account"]})).await;
    for shown in [path.clone(), format!("{path}/messages"), format!("{path}/attachments"), attachment["url"].as_str().unwrap().to_owned()] {
        other.get(&shown).await.refused(404, "not_found");
    }
    other.patch(&path, &json!({"status": "closed"})).await.refused(404, "not_found");
    other.post(&format!("{path}/messages"), &json!({"message": "x"})).await.refused(404, "not_found");
    attach(&other, &path, &[], "a.png", "image/png", PNG).await.refused(404, "not_found");
    assert_eq!(other.get("/api/v1/tickets").await.expect(200)["data"], json!([]));
    world.caller.get("/api/v1/tickets").await.refused(403, "scope_missing");
    owner.get("/admin/v1/tickets").await.refused(403, "scope_missing");
    other.with_key("nobody").get("/api/v1/tickets").await.refused(401, "invalid_api_key");
    let detail = owner.get(&path).await.expect(200);
    assert_eq!((&detail["status"], detail["messages"].as_array().unwrap().len()), (&json!("open"), 1));
    assert_eq!((detail["attachments"].as_array().unwrap().len(), world.app.blobs().len()), (1, 1));
    // Neither can an attachment be reached through another ticket of one's own.
    let second = open(&owner, "Second").await;
    owner.get(&format!("/api/v1/tickets/{second}/attachments/{}", attachment["id"].as_str().unwrap())).await.refused(404, "not_found");
    world.finish().await;
}

#[tokio::test]
async fn tickets_name_calls_and_ledger_entries_of_their_account() {
    let world = World::new().await;
    let owner = owner(&world).await;
    world.upstream.always(UPSTREAM_MODEL, Reply::chat("ok", 1, 1));
    let call = world.caller.chat(MODEL, "hello").await;
    call.expect(200);
    world.usage_of(&call.request_id()).await;
    let entry = world.app.admin.ledger(&world.account).await[0]["seq"].clone();
    let new = json!({"title": "Wrong price", "message": "m", "request_id": call.request_id(), "ledger_entry_id": entry});
    let ticket = owner.post("/api/v1/tickets", &new).await.expect(201);
    assert_eq!((&ticket["request_id"], &ticket["ledger_entry_id"]), (&json!(call.request_id()), &entry));
    let found = world.app.admin.caller.get(&format!("/admin/v1/tickets?q={}", call.request_id())).await.expect(200);
    assert_eq!(texts(&found["data"], "id"), [ticket["id"].as_str().unwrap()]);

    let (other_account, _) = world.another("other", 1_000).await;
    let other = world.app.admin.caller_of(&other_account, &json!({"scopes": ["account"]})).await;
    for (field, value) in [("request_id", json!(call.request_id())), ("ledger_entry_id", entry), ("order_id", json!("ord_1"))] {
        let mut new = json!({"title": "t", "message": "m"});
        new[field] = value;
        assert_eq!(other.post("/api/v1/tickets", &new).await.refused(400, "invalid_request")["param"], json!(field));
    }
    assert_eq!(other.get("/api/v1/tickets").await.expect(200)["data"], json!([]));
    world.finish().await;
}

#[tokio::test]
async fn the_staff_finds_and_sorts_tickets() {
    let world = World::new().await;
    let (owner, staff) = (owner(&world).await, world.app.admin.caller.clone());
    let (other_account, _) = world.another("other", 0).await;
    let other = world.app.admin.caller_of(&other_account, &json!({"scopes": ["account"]})).await;
    let (first, second) = (open(&owner, "100% broken").await, open(&other, "A question").await);
    staff.patch(&format!("/admin/v1/tickets/{first}"), &json!({"assignee": "Grace", "priority": "urgent"})).await.expect(200);
    staff.patch(&format!("/admin/v1/tickets/{second}"), &json!({"status": "solved"})).await.expect(200);
    for (query, expected) in [
        ("", vec![&second, &first]),
        ("?status=open", vec![&first]),
        ("?priority=urgent", vec![&first]),
        ("?priority=low", vec![]),
        ("?assignee=Grace", vec![&first]),
        ("?assignee=none", vec![&second]),
        (&format!("?account={other_account}"), vec![&second]),
        ("?q=QUESTION", vec![&second]),
        ("?q=100%25", vec![&first]),
        ("?q=other@example", vec![&second]),
        (&format!("?q={first}"), vec![&first]),
        ("?q=100%25&status=solved", vec![]),
    ] {
        let mut found: Vec<Value> = staff.list(&format!("/admin/v1/tickets{query}")).await;
        found.sort_by_key(|ticket| json!(ticket["id"] == json!(first)).to_string());
        assert_eq!(texts(&json!(found), "id"), expected, "{query}");
    }
    assert_eq!(owner.get(&format!("/api/v1/tickets/{first}")).await.expect(200)["priority"], json!("urgent"));
    let freed = staff.patch(&format!("/admin/v1/tickets/{first}"), &json!({"assignee": null})).await.expect(200);
    assert_eq!((&freed["assignee"], &freed["priority"]), (&Value::Null, &json!("urgent")));
    staff.get("/admin/v1/tickets?status=lost").await.refused(400, "invalid_request");
    for body in [json!({"assignee": "none"}), json!({"assignee": ""}), json!({"status": "lost"}), json!({"title": "x"})] {
        staff.patch(&format!("/admin/v1/tickets/{first}"), &body).await.refused(400, "invalid_request");
    }
    for path in ["/admin/v1/tickets/tkt_1", "/admin/v1/tickets/tkt_1/messages", "/admin/v1/tickets/tkt_1/attachments"] {
        staff.get(path).await.refused(404, "not_found");
    }
    staff.patch("/admin/v1/tickets/tkt_1", &json!({"status": "open"})).await.refused(404, "not_found");
    staff.post("/admin/v1/tickets/tkt_1/messages", &json!({"message": "x"})).await.refused(404, "not_found");
    world.finish().await;
}

#[tokio::test]
async fn attachments_are_what_their_bytes_show_and_only_downloads() {
    let world = World::new().await;
    let (owner, staff) = (owner(&world).await, world.app.admin.caller.clone());
    let id = open(&owner, "Help").await;
    let path = format!("/api/v1/tickets/{id}");
    let message = owner.get(&path).await.expect(200)["messages"][0]["id"].as_str().unwrap().to_owned();
    let picture = attach(&owner, &path, &[("message_id", &message)], "../shot \u{e9}.html", "text/html", PNG).await.expect(201);
    assert_eq!((&picture["mime"], &picture["filename"]), (&json!("image/png"), &json!("shot \u{e9}.html.png")));
    assert_eq!((&picture["bytes"], &picture["message_id"], &picture["author"]), (&json!(PNG.len()), &json!(message), &json!("customer")));
    let content = owner.request(Method::GET, picture["url"].as_str().unwrap()).send().await.unwrap();
    let header = |name: &str| content.headers().get(name).expect(name).to_str().unwrap().to_owned();
    assert_eq!(header("content-disposition"), "attachment; filename=\"shot _.html.png\"; filename*=UTF-8''shot%20%C3%A9.html.png");
    assert_eq!((header("x-content-type-options"), header("cache-control")), ("nosniff".to_owned(), "no-store".to_owned()));
    assert_eq!(
        (header("content-type"), header("content-security-policy")),
        ("image/png".to_owned(), "sandbox; default-src 'none'".to_owned())
    );
    assert_eq!(content.bytes().await.unwrap(), PNG);

    for (name, kind, content) in [
        ("a.png", "image/png", HTML),
        ("a.txt", "text/plain", HTML),
        ("a.svg", "image/svg+xml", b"<svg onload=alert(1)/>"),
        ("a.zip", "application/zip", b"PK\x03\x04rest"),
        ("a.exe", "application/octet-stream", b"MZ\x90\0\x03\0"),
        ("a.pdf", "application/pdf", b"no pdf"),
        ("a.txt", "text/plain", b""),
    ] {
        assert_eq!(attach(&owner, &path, &[], name, kind, content).await.refused(400, "invalid_request")["param"], json!("file"), "{name}");
    }
    let log = attach(&owner, &path, &[], "server.log", "text/plain", b"ERROR\n").await.expect(201);
    assert_eq!(log["mime"], json!("text/plain"));
    let blobs = world.app.blobs();
    assert!(blobs.len() == 2 && blobs.iter().all(|name| name.starts_with(&format!("{}/attachments/att_", world.account))), "{blobs:?}");
    for name in &blobs {
        let sealed = std::fs::read(world.app.blob_path(name)).unwrap();
        assert!(!sealed.windows(5).any(|bytes| bytes == b"ERROR"), "content is sealed");
    }
    let staff_path = format!("/admin/v1/tickets/{id}");
    let log_path = format!("{staff_path}/attachments/{}", log["id"].as_str().unwrap());
    assert_eq!(staff.get(&log_path).await.text, "ERROR\n");
    assert_eq!(staff.delete(&log_path).await.status, 204);
    staff.delete(&log_path).await.refused(404, "not_found");
    owner.get(log["url"].as_str().unwrap()).await.refused(404, "not_found");
    assert_eq!(world.app.blobs().len(), 1);
    assert_eq!(texts(&owner.get(&format!("{path}/attachments")).await.expect(200)["data"], "id"), [picture["id"].as_str().unwrap()]);
    world.finish().await;
}

#[tokio::test]
async fn attachments_have_limits() {
    let world = World::with(|settings: &mut Settings| {
        settings.tickets.attachment_bytes_max = 2_000;
        settings.tickets.attachments_max = 2;
        settings.tickets.account_bytes_max = 3_000;
    })
    .await;
    let owner = owner(&world).await;
    let (first, second) = (open(&owner, "One").await, open(&owner, "Two").await);
    let (path, second_path) = (format!("/api/v1/tickets/{first}"), format!("/api/v1/tickets/{second}"));
    let text = |length: usize| vec![b'x'; length];
    let refused = attach(&owner, &path, &[], "a", "text/plain", &text(2_001)).await.refused(413, "request_too_large");
    assert!(refused["message"].as_str().unwrap().contains("2000"), "{refused}");
    attach(&owner, &path, &[], "a", "text/plain", &text(200_000)).await.refused(413, "request_too_large");
    attach(&owner, &path, &[], "a", "text/plain", &text(2_000)).await.expect(201);
    let refused = attach(&owner, &second_path, &[], "a", "text/plain", &text(1_001)).await.refused(400, "invalid_request");
    assert!(refused["message"].as_str().unwrap().contains("3000"), "of the account, whatever the ticket: {refused}");
    attach(&owner, &path, &[], "a", "text/plain", &text(1)).await.expect(201);
    let refused = attach(&owner, &path, &[], "a", "text/plain", &text(1)).await.refused(400, "invalid_request");
    assert!(refused["message"].as_str().unwrap().contains("2 are allowed"), "{refused}");
    let other = [("message_id", "tmsg_1")];
    let refused = attach(&owner, &second_path, &other, "a", "text/plain", b"x").await.refused(400, "invalid_request");
    assert_eq!(refused["param"], json!("message_id"));
    owner.patch(&second_path, &json!({"status": "closed"})).await.expect(200);
    attach(&owner, &second_path, &[], "a", "text/plain", b"x").await.refused(409, "conflict");
    owner.post(&format!("{path}/attachments"), &json!({"file": "x"})).await.refused(400, "invalid_request");
    assert_eq!(world.app.blobs().len(), 2, "what was refused is not kept");
    world.finish().await;
}

#[tokio::test]
async fn texts_are_checked_and_keys_cut() {
    let world = World::new().await;
    let owner = owner(&world).await;
    for (body, param) in [
        (json!({}), "title"),
        (json!({"title": "t"}), "message"),
        (json!({"title": " ", "message": "m"}), "title"),
        (json!({"title": "t".repeat(201), "message": "m"}), "title"),
        (json!({"title": "a\nb", "message": "m"}), "title"),
        (json!({"title": "t", "message": "\n"}), "message"),
        (json!({"title": "t", "message": "m".repeat(20_001)}), "message"),
        (json!({"title": "t", "message": "a\u{0}b"}), "message"),
        (json!({"title": "t", "message": "\u{1b}[2J"}), "message"),
        (json!({"title": "t", "message": "m", "priority": "urgent"}), "priority"),
        (json!({"title": "t", "message": "m", "priority": "huge"}), "priority"),
        (json!({"title": "t", "message": "m", "status": "closed"}), "status"),
    ] {
        assert_eq!(owner.post("/api/v1/tickets", &body).await.refused(400, "invalid_request")["param"], json!(param), "{body}");
    }
    let key = &world.caller.key;
    let new = json!({"title": format!("Key {key}"), "message": format!("my key is {key}.")});
    let ticket = owner.post("/api/v1/tickets", &new).await.expect(201);
    assert!(!ticket.to_string().contains(key.as_str()) && ticket["messages"][0]["message"].as_str().unwrap().ends_with("…."), "{ticket}");
    let message = json!({"message": "x".repeat(20_000)});
    write(&owner, "/api/v1", ticket["id"].as_str().unwrap(), message).await;
    Answer::of(owner.request(Method::PUT, "/api/v1/tickets")).await.refused(405, "method_not_allowed");
    world.finish().await;
}

#[tokio::test]
async fn an_account_opens_and_writes_so_many_an_hour() {
    let world = World::manual(|settings: &mut Settings| {
        settings.tickets.per_account_hour = 2;
        settings.tickets.messages_per_account_hour = 3;
    })
    .await;
    let (owner, staff) = (owner(&world).await, world.app.admin.caller.clone());
    let id = open(&owner, "One").await;
    world.app.advance(HOUR / 2);
    open(&owner, "Two").await;
    let body = json!({"title": "Three", "message": "m"});
    let answer = owner.post("/api/v1/tickets", &body).await;
    assert_eq!(answer.refused(429, "rate_limit_exceeded")["scope"], json!("account"));
    assert_eq!(answer.number("retry-after"), 1_800);
    // Both first messages count, too.
    let path = format!("/api/v1/tickets/{id}/messages");
    write(&owner, "/api/v1", &id, json!({"message": "m"})).await;
    let answer = owner.post(&path, &json!({"message": "m"})).await;
    assert_eq!(answer.refused(429, "rate_limit_exceeded")["scope"], json!("account"));
    for _ in 0..4 {
        write(&staff, "/admin/v1", &id, json!({"message": "m"})).await;
    }
    world.app.advance(HOUR / 2);
    owner.post("/api/v1/tickets", &body).await.expect(201);
    owner.post("/api/v1/tickets", &body).await.refused(429, "rate_limit_exceeded");
    let (other_account, _) = world.another("other", 0).await;
    open(&world.app.admin.caller_of(&other_account, &json!({"scopes": ["account"]})).await, "Mine").await;
    world.finish().await;
}

#[tokio::test]
async fn mails_come_with_answers_and_say_nothing_in_clear() {
    let world = World::new().await;
    let (owner, staff) = (owner(&world).await, world.app.admin.caller.clone());
    let id = open(&owner, "UNIQUE-TITLE").await;
    assert_eq!(world.app.database.number("SELECT COUNT(*) FROM outbox").await, 0, "no address of the staff is set");
    write(&staff, "/admin/v1", &id, json!({"message": "An answer."})).await;
    let sealed = "SELECT COUNT(*) FROM outbox WHERE sealed_message IS NOT NULL AND kind = 'ticket_reply' AND locale = 'en'";
    assert_eq!(world.app.database.number(sealed).await, 1);
    world.app.admin.patch_account(&world.account, &json!({"status": "closed"})).await;
    write(&staff, "/admin/v1", &id, json!({"message": "Good bye."})).await;
    assert_eq!(mails(&world, "ticket_reply", "owner@example.com").await, 1, "closed accounts get none");
    world.finish().await;
}
