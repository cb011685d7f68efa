//! Whatever comes in: the right 4xx in OpenAI's error shape, never a 5xx, never a hold left behind.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    client::{Answer, error_of},
    world::{CREDITS, MODEL, World},
};

const PATH: &str = "/v1/chat/completions";

/// Sends these bytes on a new connection and reads until the other side closes or has answered once.
async fn raw(world: &World, bytes: &[u8]) -> String {
    let mut stream = connect(world).await;
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(bytes).await;
    read_answer(&mut stream).await
}

async fn connect(world: &World) -> TcpStream {
    TcpStream::connect(world.app.url.strip_prefix("http://").unwrap()).await.expect("a connection")
}

async fn read_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let reading = async {
        while stream.read_buf(&mut answer).await.is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&answer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
            if length.is_some_and(|length| body.len() >= length) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.expect("an answer or the end of the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

fn head(world: &World, extra: &str) -> String {
    format!(
        "POST {PATH} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n{extra}\r\n",
        world.caller.key
    )
}

async fn post_bytes(world: &World, body: impl Into<reqwest::Body>) -> Answer {
    Answer::of(world.caller.request(Method::POST, PATH).header("content-type", "application/json").body(body)).await
}

async fn untouched(world: World) {
    let balance = world.app.admin.settled_balance(&world.account).await;
    assert_eq!((balance.available, balance.spent), (CREDITS, 0));
    assert_eq!(world.upstream.count("chat"), 0, "the upstream saw nothing of it");
    world.finish().await;
}

#[tokio::test]
async fn bodies_that_are_no_request() {
    let world = World::new().await;
    let nested = |depth: usize| format!("{{\"model\":\"{MODEL}\",\"messages\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let deep_object = format!(
        "{{\"model\":\"{MODEL}\",\"messages\":[{{\"role\":\"user\",\"content\":\"x\"}}],\"x\":{}1{}}}",
        "{\"a\":".repeat(5_000),
        "}".repeat(5_000)
    );
    let good = format!("{{\"model\":\"{MODEL}\",\"messages\":[{{\"role\":\"user\",\"content\":\"x\"}}]}}");
    let bodies = [
        String::new(),
        " ".to_owned(),
        "{".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "17".to_owned(),
        "\"text\"".to_owned(),
        "{}".to_owned(),
        format!("{good} x"),
        format!("{good}{good}"),
        good.replace("\"x\"", "\"x"),
        good.replace("\"x\"", "\"\\ud800\\u0041\\q\""),
        good.replace(":\"x\"", ":NaN"),
        format!("[{good}]"),
        nested(200),
        nested(100_000),
        deep_object,
    ];
    for body in bodies {
        let answer = post_bytes(&world, body.clone()).await;
        let shown: String = body.chars().take(60).collect();
        assert_eq!(answer.status, 400, "{shown}: {}", answer.text);
        answer.refused(400, "invalid_request");
    }
    untouched(world).await;
}

#[tokio::test]
async fn fields_of_the_wrong_type_are_named() {
    let world = World::new().await;
    let cases = [
        ("model", "17"),
        ("model", "null"),
        ("model", "[]"),
        ("messages", "\"Hi\""),
        ("messages", "{}"),
        ("messages", "[]"),
        ("messages", "[17]"),
        ("messages", "null"),
        ("stream", "\"yes\""),
        ("stream", "1"),
        ("stream_options", "[]"),
        ("max_tokens", "-1"),
        ("max_tokens", "1.5"),
        ("max_tokens", "\"10\""),
        ("max_tokens", "1e400"),
        ("max_tokens", "99999999999999999999999999"),
        ("max_completion_tokens", "-5"),
        ("n", "0"),
        ("n", "-1"),
        ("n", "1e9"),
        ("n", "\"2\""),
    ];
    for (field, value) in cases {
        let mut fields = vec![("model", format!("\"{MODEL}\"")), ("messages", "[{\"role\":\"user\",\"content\":\"x\"}]".to_owned())];
        fields.retain(|(name, _)| *name != field);
        fields.push((field, value.to_owned()));
        if field == "stream_options" {
            fields.push(("stream", "true".to_owned()));
        }
        let body: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let answer = post_bytes(&world, format!("{{{}}}", body.join(","))).await;
        assert_eq!(answer.status, 400, "{field}: {value}: {}", answer.text);
        let error = answer.refused(400, "invalid_request");
        let named = error["param"].as_str().unwrap_or_default().contains(field) || error["message"].as_str().unwrap().contains(field);
        assert!(named, "{field}: {value}: {}", answer.text);
    }
    let missing = post_bytes(&world, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}").await;
    assert_eq!(missing.refused(400, "invalid_request")["param"], json!("model"));
    untouched(world).await;
}

#[tokio::test]
async fn duplicate_fields_cannot_smuggle_a_cheaper_request_past_us() {
    let world = World::new().await;
    let message = "[{\"role\":\"user\",\"content\":\"x\"}]";
    for twice in [
        format!("{{\"model\":\"{MODEL}\",\"model\":\"expensive\",\"messages\":{message}}}"),
        format!("{{\"model\":\"{MODEL}\",\"messages\":{message},\"max_tokens\":1,\"max_tokens\":100000}}"),
        format!("{{\"model\":\"{MODEL}\",\"messages\":{message},\"m\\u006fdel\":\"expensive\"}}"),
    ] {
        post_bytes(&world, twice).await.refused(400, "invalid_request");
    }
    untouched(world).await;
}

#[tokio::test]
async fn bytes_that_are_no_utf_8() {
    let world = World::new().await;
    let good = format!("{{\"model\":\"{MODEL}\",\"messages\":[{{\"role\":\"user\",\"content\":\"?\"}}]}}").into_bytes();
    let at = good.iter().position(|byte| *byte == b'?').unwrap();
    for bad in [vec![0xff], vec![0xc0, 0xaf], vec![0xed, 0xa0, 0x80], vec![0xf5, 0x80, 0x80, 0x80], vec![0x80], vec![0x00]] {
        let mut body = good.clone();
        body.splice(at..=at, bad.iter().copied());
        let answer = post_bytes(&world, body).await;
        assert_eq!(answer.status, 400, "{bad:?}: {}", answer.text);
        answer.refused(400, "invalid_request");
    }
    untouched(world).await;
}

#[tokio::test]
async fn a_body_announced_as_too_large_is_413_before_it_is_sent() {
    let world = World::with(|settings| settings.server.max_body_bytes = 10_000).await;
    let answer = raw(&world, format!("{}{{\"model\"", head(&world, "content-length: 10001\r\n")).as_bytes()).await;
    assert_eq!(status(&answer), 413, "{answer}");
    assert!(answer.contains("\"code\":\"request_too_large\""), "{answer}");
    let huge = raw(&world, head(&world, "content-length: 99999999999999\r\n").as_bytes()).await;
    assert_eq!(status(&huge), 413, "{huge}");
    untouched(world).await;
}

#[tokio::test]
async fn a_body_found_too_large_on_the_way_is_413() {
    let world = World::with(|settings| settings.server.max_body_bytes = 10_000).await;
    let mut bytes = head(&world, "transfer-encoding: chunked\r\n").into_bytes();
    for _ in 0..20 {
        bytes.extend_from_slice(b"400\r\n");
        bytes.extend_from_slice(&[b' '; 0x400]);
        bytes.extend_from_slice(b"\r\n");
    }
    let answer = raw(&world, &bytes).await;
    assert_eq!(status(&answer), 413, "{answer}");
    assert!(answer.contains("\"code\":\"request_too_large\""), "{answer}");

    // Within the limit a chunked body is as good as any.
    let body = format!("{{\"model\":\"{MODEL}\",\"messages\":[]}}");
    let framed = format!("{}{:x}\r\n{body}\r\n0\r\n\r\n", head(&world, "transfer-encoding: chunked\r\n"), body.len());
    assert_eq!(status(&raw(&world, framed.as_bytes()).await), 400);
    untouched(world).await;
}

#[tokio::test]
async fn a_body_that_does_not_come_in_time_is_408_or_400() {
    let world = World::with(|settings| settings.server.body_timeout_seconds = 1).await;
    let mut stream = connect(&world).await;
    let unfinished = format!("{}{{\"model\":", head(&world, "content-length: 500\r\n"));
    stream.write_all(unfinished.as_bytes()).await.unwrap();
    let answer = read_answer(&mut stream).await;
    assert!([400, 408].contains(&status(&answer)), "{answer}");
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    error_of(&serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")));
    // A caller that leaves in the middle disturbs nobody.
    let mut stream = connect(&world).await;
    stream.write_all(unfinished.as_bytes()).await.unwrap();
    drop(stream);
    untouched(world).await;
}

#[tokio::test]
async fn hostile_heads() {
    let world = World::new().await;
    let key = &world.caller.key;
    let long = "a".repeat(200_000);
    let many: String = (0..500).map(|number| format!("x-{number}: v\r\n")).collect();
    let heads = [
        format!("POST {PATH} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {long}\r\ncontent-length: 0\r\n\r\n"),
        format!("POST {PATH} HTTP/1.1\r\nhost: t\r\n{many}content-length: 0\r\n\r\n"),
        format!("POST {PATH} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {key}\r\ncontent-length: -5\r\n\r\n"),
        format!("POST {PATH} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {key}\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello"),
        format!("POST {PATH} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {key}\r\ntransfer-encoding: chunked\r\n\r\nnothex\r\n"),
        format!("POST {PATH} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {key}\r\nbad header\r\n\r\n"),
        format!("GET /{long} HTTP/1.1\r\nhost: t\r\n\r\n"),
        "GET /%zz%00%ff HTTP/1.1\r\nhost: t\r\n\r\n".to_owned(),
        "GET /v1/../../etc/passwd HTTP/1.1\r\nhost: t\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        "\0\0\0\0\r\n\r\n".to_owned(),
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\r\n\r\n".to_owned(),
    ];
    for text in heads {
        let answer = raw(&world, text.as_bytes()).await;
        let shown: String = text.chars().take(80).collect();
        // A connection that is closed without an answer is fine, too.
        assert!(answer.is_empty() || (400..500).contains(&status(&answer)), "{shown}: {answer}");
    }
    for (name, value) in [
        ("authorization", &b"Bearer \xff\xfe"[..]),
        ("authorization", b"Basic dXNlcjpwYXNz"),
        ("authorization", b"Bearer"),
        ("authorization", b""),
        ("x-api-key", b"\x80\x81"),
        ("x-api-key", b"';DROP TABLE api_keys;--"),
    ] {
        let request = world.caller.anonymous(Method::POST, PATH).header(name, reqwest::header::HeaderValue::from_bytes(value).unwrap());
        Answer::of(request.json(&crate::support::client::chat(MODEL, "Hi"))).await.refused(401, "invalid_api_key");
    }
    untouched(world).await;
}

#[tokio::test]
async fn odd_but_legal_headers_are_no_reason_to_refuse() {
    let world = World::new().await;
    let body = crate::support::client::chat(MODEL, "Hi");
    for (name, value) in [
        ("content-type", &b"text/plain"[..]),
        ("content-type", b"application/json; charset=utf-8"),
        ("accept", b"image/png"),
        ("x-request-id", b"\xff\xfe"),
        ("user-agent", b"\xff"),
        ("x-forwarded-for", b"not an address, 999.1.1.1"),
        ("traceparent", b"00-zz-zz-01"),
        ("expect", b"100-continue"),
    ] {
        let header = reqwest::header::HeaderValue::from_bytes(value).unwrap();
        let request = world.caller.request(Method::POST, PATH).body(body.to_string()).header(name, header);
        assert_eq!(Answer::of(request).await.status, 200, "{name}");
    }
    world.finish().await;
}

#[tokio::test]
async fn model_names_are_only_names() {
    let world = World::new().await;
    let long = "m".repeat(100_000);
    for name in ["", " ", "test/none", "../chat", "test/chat'--", "🦀", "test/chat\u{0}", "TEST/CHAT", long.as_str()] {
        let answer = world.caller.chat(name, "Hi").await;
        assert!([400, 404].contains(&answer.status), "{}", answer.text);
        error_of(&answer.json());
        assert!(answer.text.len() < 5_000, "a huge name is not echoed whole");
    }
    untouched(world).await;
}

#[tokio::test]
async fn a_nul_character_is_refused_wherever_it_could_reach_a_database() {
    let world = World::new().await;
    let admin = &world.app.admin.caller;
    for path in ["/v1/generation?id=%00", "/v1/usage?cursor=%00", "/v1/models/a%00b", "/v1/usage?model=%00"] {
        world.caller.get(path).await.refused(400, "invalid_request");
    }
    for path in ["/admin/v1/accounts?q=%00", "/admin/v1/accounts/acc_%00", "/admin/v1/keys/%00", "/admin/v1/models/%00"] {
        admin.get(path).await.refused(400, "invalid_request");
    }
    for (path, body) in [
        ("/admin/v1/accounts", json!({"email": "nul@example.com", "name": "a\u{0}b"})),
        ("/admin/v1/accounts", json!({"email": "n\u{0}l@example.com"})),
        ("/admin/v1/upstreams", json!({"name": "a\u{0}b", "provider": "openai", "base_url": "http://127.0.0.1:1/v1"})),
        ("/admin/v1/models", json!({"id": "a\u{0}b", "kind": "chat", "display_name": "x", "prices": [], "routes": []})),
        ("/admin/v1/models", json!({"id": "ab", "kind": "chat", "display_name": "x\u{0}", "prices": [], "routes": []})),
    ] {
        let answer = admin.post(path, &body).await;
        assert_eq!(answer.status, 400, "{path} {body}: {}", answer.text);
    }
    let title = admin.post(&format!("/admin/v1/accounts/{}/keys", world.account), &json!({"title": "a\u{0}b"})).await;
    assert_eq!(title.status, 400, "{}", title.text);
    let reason = world.app.admin.grant_as(&world.account, "nul", &json!({"amount_micros": 5, "reason": "a\u{0}b"})).await;
    assert_eq!(reason.status, 400, "{}", reason.text);
    untouched(world).await;
}

#[tokio::test]
async fn admin_routes_refuse_bad_bodies_the_same_way() {
    let world = World::new().await;
    let admin = &world.app.admin.caller;
    let cases = [
        ("/admin/v1/accounts", json!({})),
        ("/admin/v1/accounts", json!({"email": 17})),
        ("/admin/v1/accounts", json!({"email": "no address"})),
        ("/admin/v1/accounts", json!({"email": "a@example.com", "unknown_field": 1})),
        ("/admin/v1/upstreams", json!({"name": "x"})),
        ("/admin/v1/upstreams", json!({"name": "x", "provider": "nonsense", "base_url": "http://127.0.0.1:1/v1"})),
        ("/admin/v1/upstreams", json!({"name": "x", "provider": "openai", "base_url": "file:///etc/passwd"})),
        ("/admin/v1/models", json!({"id": "x"})),
        (
            "/admin/v1/models",
            json!({"id": "x", "kind": "chat", "display_name": "x", "prices": [{"unit": "input_token", "micros": -1, "per": 1}], "routes": []}),
        ),
        (
            "/admin/v1/models",
            json!({"id": "x", "kind": "chat", "display_name": "x", "prices": [{"unit": "input_token", "micros": 1, "per": 0}], "routes": []}),
        ),
    ];
    for (path, body) in cases {
        let answer = admin.post(path, &body).await;
        assert!([400, 422].contains(&answer.status), "{path} {body}: {} {}", answer.status, answer.text);
        error_of(&answer.json());
    }
    for body in ["", "{", "[[[["] {
        let request = admin.request(Method::POST, "/admin/v1/accounts").header("content-type", "application/json").body(body);
        Answer::of(request).await.refused(400, "invalid_request");
    }
    untouched(world).await;
}

#[tokio::test]
async fn a_compressed_body_is_refused_by_name() {
    let world = World::new().await;
    let head = format!("authorization: Bearer {}\r\nhost: x\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n", world.caller.key);
    let answer = raw(&world, format!("POST {PATH} HTTP/1.1\r\n{head}abcd").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 415 ") && answer.contains("unsupported_encoding") && answer.contains("gzip"), "{answer}");
    world.finish().await;
}
