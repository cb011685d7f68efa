//! `/v1/files` in both shapes, and calls that name files instead of sending them.

use std::time::Duration;

use pixgate::config::Settings;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    client::{Answer, Caller},
    upstream::Reply,
    world::{MODEL, UPSTREAM_MODEL, World, model},
};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDRrest";
const PDF: &[u8] = b"%PDF-1.7 a page";
const ANTHROPIC: [(&str, &str); 2] = [("anthropic-version", "2023-06-01"), ("anthropic-beta", "files-api-2025-04-14")];
const HOUR: u64 = 3_600;

/// A form of fields and one file.
fn form(fields: &[(&str, &str)], name: &str, kind: &str, content: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend_from_slice(format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").as_bytes());
    }
    let head = format!("--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\ncontent-type: {kind}\r\n\r\n");
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(content);
    body.extend_from_slice(b"\r\n--b--\r\n");
    body
}

async fn send(caller: &Caller, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let request = headers.iter().fold(caller.request(method, path), |request, (name, value)| request.header(*name, *value));
    Answer::of(request.body(body)).await
}

async fn upload_as(caller: &Caller, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let headers = [&[("content-type", "multipart/form-data; boundary=b")], headers].concat();
    send(caller, Method::POST, "/v1/files", &headers, body).await
}

async fn upload(caller: &Caller, name: &str, content: &[u8]) -> String {
    let kind = "application/octet-stream";
    let file = upload_as(caller, &[], form(&[("purpose", "user_data")], name, kind, content)).await.expect(200);
    file["id"].as_str().expect("an id").to_owned()
}

async fn get_as(caller: &Caller, path: &str, headers: &[(&str, &str)]) -> Answer {
    send(caller, Method::GET, path, headers, Vec::new()).await
}

fn ids(page: &Value) -> Vec<&str> {
    page["data"].as_array().expect("a list").iter().map(|file| file["id"].as_str().expect("an id")).collect()
}

#[tokio::test]
async fn a_file_comes_back_as_it_was_sent() {
    let world = World::new().await;
    let file = upload_as(&world.caller, &[], form(&[("purpose", "vision")], "../a \u{e9}.png", "text/html", PNG)).await.expect(200);
    let id = file["id"].as_str().unwrap();
    assert!(id.starts_with("file_"), "{file}");
    assert_eq!((&file["object"], &file["status"], &file["purpose"]), (&json!("file"), &json!("processed"), &json!("vision")));
    assert_eq!((&file["bytes"], &file["filename"], &file["expires_at"]), (&json!(PNG.len()), &json!("a \u{e9}.png"), &Value::Null));
    assert!(file["created_at"].as_i64().is_some_and(|seconds| seconds > 1_700_000_000), "{file}");
    assert_eq!(world.caller.get(&format!("/v1/files/{id}")).await.expect(200), file);

    let content = world.caller.request(Method::GET, &format!("/v1/files/{id}/content")).send().await.unwrap();
    let header = |name: &str| content.headers()[name].to_str().unwrap().to_owned();
    assert_eq!((header("content-type"), header("x-content-type-options")), ("image/png".to_owned(), "nosniff".to_owned()));
    assert_eq!(header("content-disposition"), "attachment; filename=\"a _.png\"; filename*=UTF-8''a%20%C3%A9.png");
    assert_eq!(content.bytes().await.unwrap(), PNG);

    let gone = world.caller.delete(&format!("/v1/files/{id}")).await.expect(200);
    assert_eq!(gone, json!({"id": id, "object": "file", "deleted": true}));
    for path in [format!("/v1/files/{id}"), format!("/v1/files/{id}/content")] {
        world.caller.get(&path).await.refused(404, "not_found");
    }
    world.caller.delete(&format!("/v1/files/{id}")).await.refused(404, "not_found");
    assert_eq!(world.app.database.number("SELECT COUNT(*) FROM files").await, 0);
    assert_eq!(world.app.blobs(), Vec::<String>::new(), "nothing is left on the disk");
    world.finish().await;
}

#[tokio::test]
async fn files_survive_a_restart_and_lie_sealed() {
    let mut world = World::new().await;
    let id = upload(&world.caller, "a.txt", b"a very secret text").await;
    world.app.restart().await;
    assert_eq!(world.caller.get(&format!("/v1/files/{id}/content")).await.text, "a very secret text");
    assert_eq!(world.app.blobs(), [format!("{}/files/{id}", world.account)]);
    let sealed = std::fs::read(world.app.blob_path(&format!("{}/files/{id}", world.account))).unwrap();
    assert!(!sealed.windows(6).any(|window| window == b"secret"));
    world.finish().await;
}

#[tokio::test]
async fn another_account_s_files_do_not_exist() {
    let world = World::new().await;
    let id = upload(&world.caller, "a.pdf", PDF).await;
    let (_, other) = world.another("other", 1_000).await;
    for path in [format!("/v1/files/{id}"), format!("/v1/files/{id}/content")] {
        other.get(&path).await.refused(404, "not_found");
    }
    other.delete(&format!("/v1/files/{id}")).await.refused(404, "not_found");
    assert_eq!(other.get("/v1/files").await.expect(200)["data"], json!([]));
    let named = json!({"model": MODEL, "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": id}}]}]});
    let refused = other.post("/v1/chat/completions", &named).await.refused(400, "invalid_request");
    assert_eq!(refused["param"], json!("messages[0].content[0].file.file_id"));
    assert_eq!(world.upstream.count(UPSTREAM_MODEL), 0);
    world.caller.get(&format!("/v1/files/{id}")).await.expect(200);
    let stranger = world.caller.with_key("nobody");
    upload_as(&stranger, &[], form(&[("purpose", "user_data")], "a", "text/plain", b"x")).await.refused(401, "invalid_api_key");
    stranger.post("/v1/chat/completions", &named).await.refused(401, "invalid_api_key");
    world.finish().await;
}

#[tokio::test]
async fn lists_are_turned_page_by_page() {
    let world = World::new().await;
    let mut made = Vec::new();
    for at in 0..3 {
        made.push(upload(&world.caller, &format!("{at}.txt"), b"x").await);
    }
    let list = async |query: &str| world.caller.get(&format!("/v1/files{query}")).await.expect(200);
    let all = list("").await;
    assert_eq!((ids(&all), &all["object"], &all["has_more"]), (vec![&*made[2], &made[1], &made[0]], &json!("list"), &json!(false)));
    assert_eq!((&all["first_id"], &all["last_id"]), (&json!(made[2]), &json!(made[0])));
    let page = list("?limit=2&order=asc").await;
    assert_eq!((ids(&page), &page["has_more"]), (vec![&*made[0], &made[1]], &json!(true)));
    let rest = list(&format!("?limit=2&order=asc&after={}", made[1])).await;
    assert_eq!((ids(&rest), &rest["has_more"]), (vec![&*made[2]], &json!(false)));
    assert_eq!(list("?purpose=batch").await["data"], json!([]));
    for (query, param) in [("?limit=0", "limit"), ("?limit=x", "limit"), ("?order=up", "order")] {
        assert_eq!(world.caller.get(&format!("/v1/files{query}")).await.refused(400, "invalid_request")["param"], json!(param));
    }
    let page = get_as(&world.caller, "/v1/files?limit=1", &ANTHROPIC).await.expect(200);
    assert_eq!((ids(&page), &page["has_more"], page.get("object")), (vec![&*made[2]], &json!(true), None));
    let next = get_as(&world.caller, &format!("/v1/files?limit=1&after_id={}", made[2]), &ANTHROPIC).await.expect(200);
    assert_eq!(ids(&next), [&made[1]]);
    let back = get_as(&world.caller, &format!("/v1/files?limit=1&before_id={}", made[0]), &ANTHROPIC).await.expect(200);
    assert_eq!((ids(&back), &back["has_more"]), (vec![&*made[1]], &json!(true)));
    world.finish().await;
}

#[tokio::test]
async fn callers_of_anthropic_s_format_get_its_shape() {
    let world = World::new().await;
    let file = upload_as(&world.caller, &ANTHROPIC, form(&[], "a.pdf", "application/pdf", PDF)).await.expect(200);
    let id = file["id"].as_str().unwrap();
    assert_eq!((&file["type"], &file["mime_type"], &file["filename"]), (&json!("file"), &json!("application/pdf"), &json!("a.pdf")));
    assert_eq!((&file["size_bytes"], &file["downloadable"]), (&json!(PDF.len()), &json!(true)));
    assert!(file["created_at"].as_str().is_some_and(|moment| moment.ends_with('Z')), "{file}");
    assert_eq!(get_as(&world.caller, &format!("/v1/files/{id}?beta=true"), &ANTHROPIC).await.expect(200), file);
    let missing = get_as(&world.caller, "/v1/files/file_1", &ANTHROPIC).await.expect(404);
    assert_eq!((&missing["type"], &missing["error"]["type"]), (&json!("error"), &json!("not_found_error")));
    let gone = send(&world.caller, Method::DELETE, &format!("/v1/files/{id}"), &ANTHROPIC, Vec::new()).await.expect(200);
    assert_eq!(gone, json!({"id": id, "type": "file_deleted"}));
    world.finish().await;
}

#[tokio::test]
async fn bad_uploads_are_refused_and_leave_nothing() {
    let world = World::with(|settings| {
        settings.files.bytes_max = 2_000;
        settings.files.account_files_max = 2;
        settings.files.account_bytes_max = 3_000;
    })
    .await;
    let purpose = ("purpose", "user_data");
    let file = |fields: &[(&str, &str)], content: &[u8]| form(fields, "a.txt", "text/plain", content);
    let anchor = ("expires_after[anchor]", "created_at");
    for (body, param) in [
        (file(&[], b"x"), json!("purpose")),
        (file(&[("purpose", "fun")], b"x"), json!("purpose")),
        (file(&[purpose], b""), json!("file")),
        (b"--b\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b--".to_vec(), json!("file")),
        (b"--b".to_vec(), Value::Null),
        (file(&[purpose, anchor], b"x"), json!("expires_after[seconds]")),
        (file(&[purpose, anchor, ("expires_after[seconds]", "60")], b"x"), json!("expires_after[seconds]")),
        (file(&[purpose, ("expires_after[seconds]", "3600")], b"x"), json!("expires_after[anchor]")),
    ] {
        assert_eq!(upload_as(&world.caller, &[], body).await.refused(400, "invalid_request")["param"], param);
    }
    let refused = upload_as(&world.caller, &[], file(&[purpose], &[b'x'; 2_001])).await.refused(413, "request_too_large");
    assert!(refused["message"].as_str().unwrap().contains("2000"), "{refused}");
    upload(&world.caller, "a", &[b'x'; 2_000]).await;
    let refused = upload_as(&world.caller, &[], file(&[purpose], &[b'x'; 1_001])).await.refused(400, "invalid_request");
    assert!(refused["message"].as_str().unwrap().contains("3000"), "{refused}");
    let id = upload(&world.caller, "a", &[b'x'; 1_000]).await;
    upload_as(&world.caller, &[], file(&[purpose], b"x")).await.refused(400, "invalid_request");
    assert_eq!(world.app.blobs().len(), 2, "what was refused is not kept");
    world.caller.delete(&format!("/v1/files/{id}")).await.expect(200);
    upload(&world.caller, "a", b"x").await;
    world.caller.post("/v1/uploads", &json!({})).await.refused(404, "not_found");
    world.caller.request(Method::PUT, "/v1/files").send().await.map(|answer| assert_eq!(answer.status(), 405)).unwrap();
    world.finish().await;
}

#[tokio::test]
async fn files_expire() {
    let world = World::manual(|settings: &mut Settings| settings.files.retention_days = 1).await;
    let fields = [("purpose", "user_data"), ("expires_after[anchor]", "created_at"), ("expires_after[seconds]", "7200")];
    let file = upload_as(&world.caller, &[], form(&fields, "a", "text/plain", b"x")).await.expect(200);
    let seconds = |name: &str| file[name].as_i64().unwrap();
    assert_eq!(seconds("expires_at") - seconds("created_at"), 7_200);
    let other = upload(&world.caller, "b", b"y").await;
    let path = format!("/v1/files/{}", file["id"].as_str().unwrap());
    world.app.advance(Duration::from_secs(2 * HOUR - 1));
    world.caller.get(&path).await.expect(200);
    world.app.advance(Duration::from_secs(2));
    world.caller.get(&path).await.refused(404, "not_found");
    assert_eq!(ids(&world.caller.get("/v1/files").await.expect(200)), [&other]);
    world.app.advance(Duration::from_secs(22 * HOUR));
    world.caller.get(&format!("/v1/files/{other}")).await.refused(404, "not_found");
    world.finish().await;
}

/// The usual world with a model behind each of the other formats.
async fn world_of_formats() -> World {
    let world = World::new().await;
    for provider in ["anthropic", "gemini", "openai_compatible"] {
        let base_url = if provider == "openai_compatible" { world.upstream.base_url() } else { world.upstream.host_url() };
        world.app.admin.create_upstream(provider, &base_url, &json!({"provider": provider})).await;
        let mut entry = model(&format!("test/{provider}"), provider);
        entry["routes"] = json!([{"upstream": provider, "upstream_model": provider}]);
        world.app.admin.create_model(&entry).await;
    }
    let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "anthropic", "content": [{"type": "text", "text": "ok"}],
        "stop_reason": "end_turn", "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 1}});
    let candidate = json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "ok"}]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}});
    world.upstream.always(UPSTREAM_MODEL, Reply::chat("ok", 1, 1));
    world.upstream.always("openai_compatible", Reply::chat("ok", 1, 1));
    world.upstream.always("anthropic", Reply::ok(&message));
    world.upstream.always("gemini", Reply::ok(&candidate));
    world
}

/// What an upstream answers that speaks Responses itself.
fn native_response() -> Value {
    json!({"id": "resp_up", "object": "response", "status": "completed", "model": UPSTREAM_MODEL, "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
        "output": [{"type": "message", "id": "msg_up", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "ok", "annotations": []}]}]})
}

/// The call in every format, naming a PDF and an image.
fn calls(model: &str, pdf: &str, image: &str) -> [(&'static str, String, Value); 4] {
    let text = "Read.";
    let chat =
        json!([{"type": "text", "text": text}, {"type": "file", "file": {"file_id": pdf}}, {"type": "file", "file": {"file_id": image}}]);
    let responses =
        json!([{"type": "input_text", "text": text}, {"type": "input_file", "file_id": pdf}, {"type": "input_image", "file_id": image}]);
    let blocks = json!([{"type": "text", "text": text}, {"type": "document", "source": {"type": "file", "file_id": pdf}},
        {"type": "image", "source": {"type": "file", "file_id": image}}]);
    let parts = json!([{"text": text}, {"fileData": {"fileUri": format!("files/{pdf}")}}, {"fileData": {"fileUri": format!("https://pix.example/v1/files/{image}")}}]);
    [
        ("chat", "/v1/chat/completions".to_owned(), json!({"model": model, "messages": [{"role": "user", "content": chat}]})),
        ("responses", "/v1/responses".to_owned(), json!({"model": model, "input": [{"role": "user", "content": responses}]})),
        (
            "messages",
            "/v1/messages".to_owned(),
            json!({"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": blocks}]}),
        ),
        ("gemini", format!("/v1beta/models/{model}:generateContent"), json!({"contents": [{"role": "user", "parts": parts}]})),
    ]
}

#[tokio::test]
async fn calls_of_every_format_carry_the_files_they_name() {
    let world = world_of_formats().await;
    let (pdf, image) = (upload(&world.caller, "a.pdf", PDF).await, upload(&world.caller, "b.png", PNG).await);
    let (pdf_data, image_data) = ("JVBERi0xLjcgYSBwYWdl", "iVBORw0KGgoAAAANSUhEUnJlc3Q=");
    for (model, upstream_model) in [
        (MODEL, UPSTREAM_MODEL),
        ("test/openai_compatible", "openai_compatible"),
        ("test/anthropic", "anthropic"),
        ("test/gemini", "gemini"),
    ] {
        for (format, path, call) in calls(model, &pdf, &image) {
            if (format, upstream_model) == ("responses", UPSTREAM_MODEL) {
                world.upstream.next(UPSTREAM_MODEL, [Reply::ok(&native_response())]);
            }
            world.caller.post(&path, &call).await.expect(200);
            let sent = world.upstream.last(upstream_model).json().to_string();
            assert!(sent.contains(pdf_data) && sent.contains(image_data) && sent.contains("Read."), "{format} to {upstream_model}: {sent}");
            assert!(!sent.contains(&pdf) && !sent.contains(&image), "{format} to {upstream_model} names no file: {sent}");
        }
    }
    let sent = world.upstream.seen(UPSTREAM_MODEL)[0].json();
    let parts = &sent["messages"][0]["content"];
    assert_eq!(parts[1]["file"], json!({"filename": "a.pdf", "file_data": format!("data:application/pdf;base64,{pdf_data}")}));
    assert_eq!(parts[2], json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{image_data}")}}));
    let counted = world.caller.post("/v1/messages/count_tokens", &calls(MODEL, &pdf, &image)[2].2).await.expect(200);
    let sent_inline = json!({"model": MODEL, "messages": [{"role": "user", "content": [{"type": "text", "text": "Read."},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": pdf_data}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": image_data}}]}]});
    assert_eq!(counted, world.caller.post("/v1/messages/count_tokens", &sent_inline).await.expect(200), "counted like a file that is sent");
    world.finish().await;
}

#[tokio::test]
async fn files_that_cannot_be_put_in_are_refused_with_their_place() {
    let world = World::with(|settings| settings.server.max_body_bytes = 6_000).await;
    let chat = |ids: &[&str]| {
        let parts: Vec<Value> = ids.iter().map(|id| json!({"type": "file", "file": {"file_id": id}})).collect();
        json!({"model": MODEL, "messages": [{"role": "user", "content": parts}]})
    };
    let id = upload(&world.caller, "a.pdf", PDF).await;
    for unknown in ["file-abc", "file_1"] {
        let refused = world.caller.post("/v1/chat/completions", &chat(&[&id, unknown])).await.refused(400, "invalid_request");
        assert_eq!(refused["param"], json!("messages[0].content[1].file.file_id"));
        assert!(refused["message"].as_str().unwrap().contains(unknown), "{refused}");
    }
    let large = upload(&world.caller, "large.pdf", &[PDF, &[b'x'; 3_000]].concat()).await;
    world.upstream.next(UPSTREAM_MODEL, [Reply::chat("ok", 1, 1)]);
    world.caller.post("/v1/chat/completions", &chat(&[&large])).await.expect(200);
    world.caller.post("/v1/chat/completions", &chat(&[&large, &large])).await.refused(413, "request_too_large");
    let image = json!({"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": id}}]}]});
    let refused = world.caller.post("/v1/messages", &image).await.expect(400);
    assert!(refused["error"]["message"].as_str().unwrap().contains("messages.0.content.0.source.file_id"), "{refused}");
    assert_eq!(world.upstream.count(UPSTREAM_MODEL), 1);
    world.finish().await;
}

#[tokio::test]
async fn kept_answers_name_files_and_do_not_hold_them() {
    let world = World::with(|settings| settings.responses.store = true).await;
    world.upstream.always(UPSTREAM_MODEL, Reply::ok(&native_response()));
    let id = upload(&world.caller, "a.pdf", PDF).await;
    let first = json!({"model": MODEL, "input": [{"role": "user", "content": [{"type": "input_file", "file_id": id}]}]});
    let first = world.caller.post("/v1/responses", &first).await.expect(200);
    let second = json!({"model": MODEL, "input": "And?", "previous_response_id": first["id"]});
    world.caller.post("/v1/responses", &second).await.expect(200);
    assert!(world.upstream.last(UPSTREAM_MODEL).json().to_string().contains("JVBERi0xLjcgYSBwYWdl"));
    world.caller.delete(&format!("/v1/files/{id}")).await.expect(200);
    let refused = world.caller.post("/v1/responses", &second).await.refused(400, "invalid_request");
    assert_eq!(refused["param"], json!("input[0].content[0].file_id"));
    world.finish().await;
}
