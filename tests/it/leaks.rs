//! Keys that leaked: whoever holds one may report it, scanners sign their reports; the key is dead at its next call, its owner is told.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    client::{Answer, Caller},
    world::{MODEL, World},
};

struct Scanner {
    id: String,
    pair: EcdsaKeyPair,
}

impl Scanner {
    fn new(id: &str) -> Self {
        Self { id: id.to_owned(), pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap() }
    }

    fn sign(&self, body: &[u8]) -> String {
        STANDARD.encode(self.pair.sign(&SystemRandom::new(), body).unwrap())
    }

    /// The document in which it publishes its key.
    fn document(&self) -> String {
        let der = STANDARD.encode(self.pair.public_key().as_der().unwrap().as_ref());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n");
        json!({"public_keys": [{"key_identifier": self.id, "key": pem, "is_current": true}]}).to_string()
    }

    async fn report(&self, caller: &Caller, matches: &Value) -> Answer {
        let body = matches.to_string();
        let signature = self.sign(body.as_bytes());
        send(caller, &self.id, &signature, body).await
    }
}

async fn send(caller: &Caller, id: &str, signature: &str, body: String) -> Answer {
    let request = caller.anonymous(Method::POST, "/hooks/secret-scanning");
    let request = request.header("GITHUB-PUBLIC-KEY-IDENTIFIER", id).header("GITHUB-PUBLIC-KEY-SIGNATURE", signature);
    Answer::of(request.header("content-type", "application/json").body(body)).await
}

/// A world that knows a scanner's key out of a file.
async fn world_with(scanner: &Scanner) -> (World, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.json");
    std::fs::write(&file, scanner.document()).unwrap();
    (World::with(|settings| settings.secret_scanning.public_keys_file = Some(file)).await, dir)
}

#[tokio::test]
async fn a_signed_report_revokes_and_tells_the_owner() {
    let scanner = Scanner::new("scanner-1");
    let (world, _dir) = world_with(&scanner).await;
    let leaked = world.app.admin.create_key(&world.account, &json!({})).await;
    let caller = world.caller.with_key(&leaked.key);
    caller.chat(MODEL, "Hi").await.expect(200);
    let url = format!("https://code.example/blob/1?line=7&was={}", leaked.key);
    let matches = json!([
        {"token": leaked.key, "type": "pixgate_api_key", "url": url, "source": "content"},
        {"token": format!("{}x", leaked.key), "type": "pixgate_api_key", "url": "", "source": "commit"},
        {"token": "px_live_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA0DofJ8", "type": "pixgate_api_key"},
    ]);
    let answer = scanner.report(&world.caller, &matches).await;
    let verdicts = answer.expect(200);
    let labels: Vec<&Value> = verdicts.as_array().unwrap().iter().map(|verdict| &verdict["label"]).collect();
    assert_eq!(labels, ["true_positive", "false_positive", "false_positive"], "{verdicts}");
    assert_eq!((&verdicts[0]["token_raw"], &verdicts[0]["token_type"]), (&json!(leaked.key), &json!("pixgate_api_key")), "{verdicts}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));

    caller.chat(MODEL, "Hi").await.refused(401, "invalid_api_key");
    world.caller.chat(MODEL, "Hi").await.expect(200);
    let key = world.app.admin.caller.get(&format!("/admin/v1/keys/{}", leaked.id)).await.expect(200);
    assert_eq!((key["revoked_at"].is_string(), &key["revoked_reason"]), (true, &json!("leaked")), "{key}");
    let trail = world.app.admin.caller.list(&format!("/admin/v1/keys/{}/audit", leaked.id)).await;
    assert_eq!((&trail[0]["action"], &trail[0]["actor"]), (&json!("key.leaked"), &json!("secret-scanning")), "{trail:?}");
    assert_eq!(trail[0]["details"]["url"], json!("https://code.example/blob/1?line=7&was=…"), "{trail:?}");
    let mails = "SELECT COUNT(*) FROM outbox WHERE kind = 'key_leaked'";
    assert_eq!(world.app.database.number(mails).await, 1);
    // The same once more: still a key of ours, and nobody is told twice.
    let again = scanner.report(&world.caller, &json!([{"token": leaked.key, "type": "t", "url": "u"}])).await.expect(200);
    assert_eq!((&again[0]["label"], world.app.database.number(mails).await), (&json!("true_positive"), 1), "{again}");
    world.finish().await;
}

#[tokio::test]
async fn reports_that_nobody_known_has_signed_change_nothing() {
    let scanner = Scanner::new("scanner-1");
    let (world, _dir) = world_with(&scanner).await;
    let body = json!([{"token": world.caller.key, "type": "t", "url": "u"}]).to_string();
    let signature = scanner.sign(body.as_bytes());
    let other = Scanner::new("scanner-2").sign(body.as_bytes());
    let mut flipped = STANDARD.decode(&signature).unwrap();
    *flipped.last_mut().unwrap() ^= 1;
    for (id, signature, body) in [
        ("scanner-1", other.as_str(), body.clone()),
        ("scanner-1", &STANDARD.encode(flipped), body.clone()),
        ("scanner-1", "no base64!", body.clone()),
        ("scanner-1", "", body.clone()),
        ("scanner-2", &signature, body.clone()),
        // The same JSON, written otherwise.
        ("scanner-1", &signature, body.replace(':', ": ")),
    ] {
        send(&world.caller, id, signature, body).await.refused(401, "invalid_signature");
    }
    let unsigned = world.caller.anonymous(Method::POST, "/hooks/secret-scanning").body(body.clone());
    Answer::of(unsigned).await.refused(400, "invalid_request");
    let garbage = "[{\"url\":1}]".to_owned();
    send(&world.caller, "scanner-1", &scanner.sign(garbage.as_bytes()), garbage).await.refused(400, "invalid_request");
    world.caller.chat(MODEL, "Hi").await.expect(200);
    world.finish().await;
}

#[tokio::test]
async fn public_keys_are_fetched_once_and_only_where_that_is_wished() {
    let without = World::new().await;
    let scanner = Scanner::new("scanner-1");
    scanner.report(&without.caller, &json!([])).await.refused(404, "not_found");
    without.finish().await;

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/meta/public_keys", listener.local_addr().unwrap());
    let (document, asked) = (scanner.document(), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}", document.len());
            stream.write_all(format!("{head}\r\n\r\n{document}").as_bytes()).unwrap();
        }
    });
    let world = World::with(|settings| settings.secret_scanning.public_keys_url = Some(url)).await;
    let leaked = world.app.admin.create_key(&world.account, &json!({})).await;
    for _ in 0..2 {
        let verdicts = scanner.report(&world.caller, &json!([{"token": leaked.key, "type": "t", "url": "u"}])).await.expect(200);
        assert_eq!(verdicts[0]["label"], json!("true_positive"));
    }
    for _ in 0..3 {
        Scanner::new("unknown").report(&world.caller, &json!([])).await.refused(401, "invalid_signature");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "an unknown key asks at most once a minute");
    world.finish().await;
}

#[tokio::test]
async fn whoever_holds_a_key_may_burn_it_but_not_try_many() {
    let world = World::manual(|_| {}).await;
    let leaked = world.app.admin.create_key(&world.account, &json!({})).await;
    let report = async |body: Value| Answer::of(world.caller.anonymous(Method::POST, "/api/v1/keys/report-leak").json(&body)).await;
    assert_eq!(report(json!({"token": leaked.key, "url": "https://paste.example/1"})).await.expect(200), json!({"label": "true_positive"}));
    world.caller.with_key(&leaked.key).chat(MODEL, "Hi").await.refused(401, "invalid_api_key");
    report(json!({"url": "x"})).await.refused(400, "invalid_request");
    // A key of an older schema that nobody used so far.
    let row = format!(
        "INSERT INTO api_keys (id, account_id, title, legacy_key) VALUES ('key_old', '{}', 'old', 'sk-old-leaked-0123456789ab')",
        world.account
    );
    world.app.database.execute(&row).await;
    assert_eq!(report(json!({"token": "sk-old-leaked-0123456789ab"})).await.expect(200), json!({"label": "true_positive"}));
    world.caller.with_key("sk-old-leaked-0123456789ab").chat(MODEL, "Hi").await.refused(401, "invalid_api_key");
    for _ in 0..18 {
        assert_eq!(report(json!({"token": "sk-guess"})).await.expect(200), json!({"label": "false_positive"}));
    }
    let refused = report(json!({"token": "sk-guess"})).await;
    let error = refused.refused(429, "rate_limit_exceeded");
    assert_eq!((&error["scope"], refused.header("retry-after").is_some()), (&json!("ip"), true), "{error}");
    world.finish().await;
}
