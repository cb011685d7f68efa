//! A whole journey against the real program, and then a look at everything it wrote: database, log, metrics, traces. None of it holds a
//! secret that was made or used on the way.

use reqwest::Method;
use serde_json::json;

use crate::support::{
    admin::ADMIN_KEY,
    browser::{Browser, PASSWORD},
    client::{Answer, chat, streamed},
    otlp::Collector,
    process::TestProcess,
    smtp::{Mail, SENDER, Smtp},
};

const EMAIL: &str = "ada@example.org";
const NEW_PASSWORD: &str = "quite another odd sentence";
const WRONG_PASSWORD: &str = "not her password at all";
const UPSTREAM_KEY: &str = "sk-upstream-0123456789abcdef";
const OWN_UPSTREAM_KEY: &str = "sk-brought-along-0123456789abcdef";
const PROMPT: &str = "an unmistakable parrot sentence";

/// What was made on the way, by name.
#[derive(Default)]
struct Secrets(Vec<(String, String)>);

impl Secrets {
    fn add(&mut self, what: &str, secret: &str) {
        assert!(secret.len() >= 6, "{what} is too short to be looked for: {secret}");
        self.0.push((what.to_owned(), secret.to_owned()));
    }

    fn add_cookies(&mut self, browser: &Browser) {
        for (name, value) in &browser.cookies {
            self.add(&format!("cookie {name}"), value);
        }
        self.add("CSRF token", &browser.csrf_token);
    }

    #[track_caller]
    fn assert_absent(&self, place: &str, written: &[u8]) {
        for (what, secret) in &self.0 {
            let Some(at) = written.windows(secret.len()).position(|window| window == secret.as_bytes()) else { continue };
            let around = &written[at.saturating_sub(300)..(at + 100).min(written.len())];
            panic!("the {what} is in the {place} in clear: {}", String::from_utf8_lossy(around));
        }
    }
}

/// What the next mail carries that carries any.
async fn mail(smtp: &Smtp, find: impl Fn(&Mail) -> Option<String>) -> String {
    loop {
        if let Some(found) = find(&smtp.next_to(EMAIL).await) {
            return found;
        }
    }
}

fn token_of(mail: &Mail) -> Option<String> {
    mail.text.contains("token=").then(|| mail.token())
}

fn code_of(mail: &Mail) -> Option<String> {
    let is_code = |word: &&str| word.len() == 8 && word.bytes().all(|byte| byte.is_ascii_digit());
    mail.text.split_whitespace().map(|word| word.trim_end_matches('.')).find(is_code).map(str::to_owned)
}

/// The usual life of an account, with its mistakes; answers with all that must stay secret.
async fn journey(process: &TestProcess, smtp: &Smtp) -> Secrets {
    let mut secrets = Secrets::default();
    let admin = &process.admin;
    for (what, secret) in [
        ("admin key", ADMIN_KEY),
        ("password", PASSWORD),
        ("new password", NEW_PASSWORD),
        ("wrong password", WRONG_PASSWORD),
        ("key of an upstream", UPSTREAM_KEY),
        ("key of an upstream that an account brought", OWN_UPSTREAM_KEY),
        ("prompt", PROMPT),
    ] {
        secrets.add(what, secret);
    }
    let mut browser = Browser::at(&admin.caller.base);
    browser.post("/api/v1/auth/register", &json!({"email": EMAIL, "password": PASSWORD, "name": "Ada", "locale": "en"})).await.expect(201);
    let token = smtp.next_to(EMAIL).await.token();
    secrets.add("verification token", &token);
    browser.post("/api/v1/auth/verify", &json!({"token": token})).await.expect(200);
    browser.sign_in(EMAIL, WRONG_PASSWORD).await.expect(401);
    let account = browser.sign_in(EMAIL, PASSWORD).await.expect(200)["id"].as_str().unwrap().to_owned();
    secrets.add_cookies(&browser);
    admin.grant(&account, 1_000_000).await;

    admin.create_upstream("dead", "http://127.0.0.1:9", &json!({"api_key": UPSTREAM_KEY, "options": {"own_keys": true}})).await;
    let model = json!({
        "id": "test/dead", "kind": "chat", "display_name": "dead", "enabled": true, "max_output_tokens": 10,
        "prices": [{"unit": "input_token", "micros": 1, "per": 1}], "routes": [{"upstream": "dead", "upstream_model": "dead"}],
    });
    admin.create_model(&model).await;
    browser.send(Method::PUT, "/api/v1/provider-keys/dead", &json!({"api_key": OWN_UPSTREAM_KEY})).await;

    // Calls of every kind, and every way to send a key.
    let created = browser.post("/api/v1/keys", &json!({"title": "laptop"})).await.expect(201);
    let key = created["key"].as_str().unwrap().to_owned();
    secrets.add("key", &key);
    let caller = admin.caller.with_key(&key);
    caller.chat("pixgate/echo", PROMPT).await.expect(200);
    let stream = caller.post("/v1/chat/completions", &streamed(chat("pixgate/echo", PROMPT))).await;
    assert_eq!(stream.status, 200, "{}", stream.text);
    assert_eq!(caller.chat("test/dead", PROMPT).await.status, 502);
    let body = json!({"model": "pixgate/echo", "max_tokens": 50, "messages": [{"role": "user", "content": PROMPT}]});
    Answer::of(caller.anonymous(Method::POST, "/v1/messages").header("x-api-key", &key).json(&body)).await.expect(200);
    let gemini = json!({"contents": [{"parts": [{"text": PROMPT}]}]});
    let path = format!("/v1beta/models/pixgate%2Fecho:generateContent?key={key}");
    Answer::of(caller.anonymous(Method::POST, &path).json(&gemini)).await.expect(200);
    let broken = format!("{}x", &key[..key.len() - 1]);
    secrets.add("mistyped key", &broken);
    assert_eq!(admin.caller.with_key(&broken).chat("pixgate/echo", PROMPT).await.status, 401);
    let rotated = browser.post(&format!("/api/v1/keys/{}/rotate", created["id"].as_str().unwrap()), &json!({})).await.success();
    secrets.add("rotated key", rotated["key"].as_str().unwrap());

    // The second factor, with a wrong code and a recovery code.
    let enrolment = browser.post("/api/v1/me/totp", &json!({"password": PASSWORD})).await.expect(200);
    let secret = enrolment["secret"].as_str().unwrap();
    secrets.add("secret of the second factor", secret);
    let totp = totp_rs::Builder::new().with_secret(totp_rs::Secret::try_from_base32(secret).unwrap()).build().unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let confirmed = browser.post("/api/v1/me/totp/confirm", &json!({"code": totp.generate(now).to_string()})).await.expect(200);
    let codes: Vec<String> = confirmed["recovery_codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    for code in &codes {
        secrets.add("recovery code", code);
    }
    browser.post("/api/v1/auth/logout", &json!({})).await;
    let mut second = Browser::at(&admin.caller.base);
    second.sign_in(EMAIL, PASSWORD).await.expect(401);
    let sign_in = json!({"email": EMAIL, "password": PASSWORD, "recovery_code": codes[0]});
    second.post("/api/v1/auth/login", &sign_in).await.expect(200);
    secrets.add_cookies(&second);

    // An export by its mailed link, a forgotten password, and the end.
    second.post("/api/v1/me/confirmation-code", &json!({})).await.expect(202);
    let code = mail(smtp, code_of).await;
    secrets.add("confirmation code", &code);
    second.post("/api/v1/me/export", &json!({"mail_code": code})).await.expect(202);
    let token = mail(smtp, token_of).await;
    secrets.add("token of an export", &token);
    let download = Browser::at(&admin.caller.base).request(Method::POST, "/privacy/download").form(&[("token", &token)]);
    assert!(download.send().await.unwrap().status().is_success());
    second.post("/api/v1/auth/forgot", &json!({"email": EMAIL})).await.expect(202);
    let token = mail(smtp, token_of).await;
    secrets.add("token of a reset", &token);
    second.post("/api/v1/auth/reset", &json!({"token": token, "password": NEW_PASSWORD})).await.expect(200);
    let sign_in = json!({"email": EMAIL, "password": NEW_PASSWORD, "recovery_code": codes[1]});
    second.post("/api/v1/auth/login", &sign_in).await.expect(200);
    secrets.add_cookies(&second);
    second.post("/api/v1/me/confirmation-code", &json!({})).await.expect(202);
    let code = mail(smtp, code_of).await;
    secrets.add("confirmation code", &code);
    second.send(Method::DELETE, "/api/v1/me", &json!({"mail_code": code})).await.expect(202);
    secrets.add("token that keeps the account", &mail(smtp, token_of).await);
    secrets
}

async fn scan(format: &str) {
    let (smtp, collector) = (Smtp::start().await, Collector::start().await);
    let settings = [
        ("MAIL__SMTP_URL", smtp.url.as_str()),
        ("MAIL__FROM", SENDER),
        ("TELEMETRY__LOG_FORMAT", format),
        ("TELEMETRY__LOG_FILTER", "debug"),
        ("TELEMETRY__ACCESS_LOG", "true"),
        ("TELEMETRY__OTLP_ENDPOINT", collector.url.as_str()),
        ("CONTENT__KEEP", "opt_out"),
    ];
    let mut process = TestProcess::start(&settings).await;
    let secrets = journey(&process, &smtp).await;
    let metrics = Answer::of(process.admin.caller.anonymous(Method::GET, "/metrics")).await.text;
    assert!(metrics.contains("pixgate_calls_total"), "{metrics}");
    secrets.assert_absent("metrics", metrics.as_bytes());
    let dump = process.database.dump().await;
    assert!(dump.contains(EMAIL) && dump.contains("request_contents: "), "the dump reads every table");
    secrets.assert_absent("database", dump.as_bytes());
    if !process.database.is_postgres() {
        for (what, secret) in &secrets.0 {
            assert!(!process.database.files_hold(secret), "the {what} is in the database file or its WAL in clear");
        }
    }
    process.terminate();
    assert_eq!(process.ended().await, 0, "{}", process.stderr());
    let log = process.stderr() + &process.stdout();
    assert!(log.contains("DEBUG") && log.contains("/v1/chat/completions"), "the log is at its most talkative: {log}");
    secrets.assert_absent("log", log.as_bytes());
    let traces = collector.received();
    let has = |text: &str| traces.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("POST /v1/traces") && has("pixgate/echo"), "spans of calls were exported");
    secrets.assert_absent("traces", &traces);
}

#[tokio::test]
async fn nothing_written_holds_a_secret_with_a_plain_log() {
    scan("pretty").await;
}

#[tokio::test]
async fn nothing_written_holds_a_secret_with_a_json_log() {
    scan("json").await;
}
