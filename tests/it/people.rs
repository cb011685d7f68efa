//! Joining, proving an address, signing in, sessions, forgotten passwords and the second factor, over sockets.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    browser::{Browser, PASSWORD, mails, register, token, verified},
    client::Answer,
};

const OTHER_PASSWORD: &str = "another long and odd sentence";

#[tokio::test]
async fn register_verify_sign_in_and_out() {
    let app = TestApp::start(|_| {}).await;
    let mut browser = Browser::new(&app);
    let body =
        json!({"email": "Ada@Example.com", "password": PASSWORD, "name": "Ada", "locale": "zh-CN", "ref": "friend", "utm_source": "news"});
    browser.post("/api/v1/auth/register", &body).await.expect(201);
    let me = browser.sign_in("ada@example.com", PASSWORD).await.expect(200);
    assert_eq!((&me["verified"], &me["locale"], &me["role"]), (&json!(false), &json!("zh"), &json!("owner")));

    let token = token(&app, "ada@example.com", "verify_email").await;
    let page = browser.get(&format!("/auth/verify?token={token}")).await;
    assert!(page.text.contains("<form method=\"post\"") && page.headers["content-security-policy"].to_str().unwrap().contains("'none'"));
    assert_eq!(browser.get("/api/v1/me").await.expect(200)["verified"], json!(false), "looking at a link uses nothing up");
    browser.post("/api/v1/auth/verify", &json!({"token": token})).await.expect(200);
    let again = browser.post("/api/v1/auth/verify", &json!({"token": token})).await.expect(400);
    assert_eq!(again["error"]["code"], json!("invalid_token"));
    let me = browser.get("/api/v1/me").await.expect(200);
    assert_eq!((&me["verified"], &me["email"]), (&json!(true), &json!("ada@example.com")));

    let session = browser.cookies.iter().find(|(name, _)| name.contains("session")).unwrap().1.clone();
    assert!(!app.database.dump().await.contains(&session), "sessions are kept as digests");
    browser.post("/api/v1/auth/logout", &json!({})).await.expect(204);
    browser.cookies = vec![("px_session".to_owned(), session)];
    assert_eq!(browser.get("/api/v1/me").await.status, 401);
    app.finish().await;
}

#[tokio::test]
async fn keys_work_once_the_address_is_proven() {
    let app = TestApp::start(|_| {}).await;
    let browser = register(&app, "ada@example.com").await;
    drop(browser);
    let account = app.admin.caller.get("/admin/v1/accounts?q=ada@example.com").await.expect(200)["data"][0].clone();
    let id = account["id"].as_str().unwrap().to_owned();
    app.admin.grant(&id, 1_000_000).await;
    let caller = app.admin.caller_of(&id, &json!({})).await;
    let refused = caller.chat("pixgate/echo", "hello").await.expect(403);
    assert_eq!(refused["error"]["code"], json!("email_unverified"));
    let token = token(&app, "ada@example.com", "verify_email").await;
    Browser::new(&app).post("/api/v1/auth/verify", &json!({"token": token})).await.expect(200);
    caller.chat("pixgate/echo", "hello").await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn answers_do_not_tell_who_has_an_account() {
    let app = TestApp::start(|_| {}).await;
    verified(&app, "ada@example.com").await;
    let mut stranger = Browser::new(&app);
    let again = json!({"email": "ada@example.com", "password": OTHER_PASSWORD});
    let known = stranger.post("/api/v1/auth/register", &again).await;
    let unknown = stranger.post("/api/v1/auth/register", &json!({"email": "bob@example.com", "password": OTHER_PASSWORD})).await;
    assert_eq!((known.status, &known.text), (unknown.status, &unknown.text));
    assert_eq!(mails(&app, "ada@example.com").await.last().unwrap().kind(), "already_registered");
    let known = stranger.sign_in("ada@example.com", OTHER_PASSWORD).await.expect(401);
    let unknown = stranger.sign_in("nobody@example.com", OTHER_PASSWORD).await.expect(401);
    assert_eq!((&known["error"]["code"], &known["error"]["message"]), (&unknown["error"]["code"], &unknown["error"]["message"]));
    let known = stranger.post("/api/v1/auth/forgot", &json!({"email": "ada@example.com"})).await;
    let unknown = stranger.post("/api/v1/auth/forgot", &json!({"email": "nobody@example.com"})).await;
    assert_eq!((known.status, &known.text), (202, &unknown.text));
    assert!(mails(&app, "nobody@example.com").await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn a_reset_ends_every_session() {
    let app = TestApp::manual(|_| {}).await;
    let mut browser = verified(&app, "ada@example.com").await;
    browser.post("/api/v1/auth/forgot", &json!({"email": "ada@example.com"})).await.expect(202);
    let first = token(&app, "ada@example.com", "reset_password").await;
    app.advance(Duration::from_secs(1));
    browser.post("/api/v1/auth/forgot", &json!({"email": "ada@example.com"})).await.expect(202);
    let newest = token(&app, "ada@example.com", "reset_password").await;
    let mut elsewhere = Browser::new(&app);
    let reset = |token: &str| json!({"token": token, "password": OTHER_PASSWORD});
    assert_eq!(elsewhere.post("/api/v1/auth/reset", &reset(&first)).await.status, 400, "the newest link wins");
    let weak = elsewhere.post("/api/v1/auth/reset", &json!({"token": newest, "password": "password123"})).await.expect(400);
    assert_eq!(weak["error"]["param"], json!("password"));
    elsewhere.post("/api/v1/auth/reset", &reset(&newest)).await.expect(200);
    assert_eq!(elsewhere.post("/api/v1/auth/reset", &reset(&newest)).await.status, 400);
    assert_eq!(browser.get("/api/v1/me").await.status, 401);
    assert_eq!(elsewhere.sign_in("ada@example.com", PASSWORD).await.status, 401);
    elsewhere.sign_in("ada@example.com", OTHER_PASSWORD).await.expect(200);
    assert!(mails(&app, "ada@example.com").await.iter().any(|message| message.kind() == "password_changed"));

    elsewhere.post("/api/v1/auth/forgot", &json!({"email": "ada@example.com"})).await.expect(202);
    let late = token(&app, "ada@example.com", "reset_password").await;
    app.advance(Duration::from_secs(31 * 60));
    assert_eq!(elsewhere.post("/api/v1/auth/reset", &reset(&late)).await.status, 400, "links age");
    app.finish().await;
}

#[tokio::test]
async fn a_thousand_wrong_passwords_do_not_lock_the_owner_out() {
    let app = TestApp::manual(|_| {}).await;
    let mut owner = verified(&app, "ada@example.com").await;
    let guesser = Browser::new(&app);
    let mut throttled = 0;
    for _ in 0..1_000 {
        let request = guesser.request(Method::POST, "/api/v1/auth/login");
        let answer = Answer::of(request.json(&json!({"email": "ada@example.com", "password": "wrong password 1"}))).await;
        match answer.status {
            401 => {}
            429 => {
                assert!(answer.headers.contains_key("retry-after"));
                throttled += 1;
            }
            other => panic!("{other}: {}", answer.text),
        }
    }
    assert!(throttled >= 980, "{throttled}");
    app.advance(Duration::from_secs(60));
    for _ in 0..20 {
        guesser
            .request(Method::POST, "/api/v1/auth/login")
            .json(&json!({"email": "ada@example.com", "password": "wrong"}))
            .send()
            .await
            .unwrap();
    }
    owner.sign_in("ada@example.com", PASSWORD).await.expect(200);
    let mut new_browser = Browser::new(&app);
    assert_eq!(new_browser.sign_in("ada@example.com", PASSWORD).await.status, 429, "this address was used up by the guesser");
    app.advance(Duration::from_secs(5));
    new_browser.sign_in("ada@example.com", PASSWORD).await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn the_second_factor() {
    let app = TestApp::manual(|_| {}).await;
    let mut browser = verified(&app, "ada@example.com").await;
    assert_eq!(browser.post("/api/v1/me/totp", &json!({"password": "wrong"})).await.status, 401);
    let enrolment = browser.post("/api/v1/me/totp", &json!({"password": PASSWORD})).await.expect(200);
    assert!(enrolment["otpauth_url"].as_str().unwrap().starts_with("otpauth://totp/Pixgate:ada%40example%2Ecom?secret="));
    let secret = enrolment["secret"].as_str().unwrap().to_owned();
    browser.sign_in("ada@example.com", PASSWORD).await.expect(200);
    let code = |app: &TestApp| {
        let secret = totp_rs::Secret::try_from_base32(&secret).unwrap();
        let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
        totp.generate(u64::try_from(app.now() / 1_000_000).unwrap()).to_string()
    };
    let codes = browser.post("/api/v1/me/totp/confirm", &json!({"code": code(&app)})).await.expect(200);
    let recovery = codes["recovery_codes"][0].as_str().unwrap().to_owned();
    let mut elsewhere = Browser::new(&app);
    let sign_in = |extra: Value| {
        let mut body = json!({"email": "ada@example.com", "password": PASSWORD});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    let missing = elsewhere.post("/api/v1/auth/login", &sign_in(json!({}))).await.expect(401);
    assert_eq!(missing["error"]["code"], json!("second_factor_required"));
    assert_eq!(elsewhere.post("/api/v1/auth/login", &sign_in(json!({"code": code(&app)}))).await.status, 401, "a code works once");
    app.advance(Duration::from_secs(30));
    elsewhere.post("/api/v1/auth/login", &sign_in(json!({"code": code(&app)}))).await.expect(200);
    elsewhere.post("/api/v1/auth/login", &sign_in(json!({"recovery_code": recovery}))).await.expect(200);
    assert_eq!(elsewhere.post("/api/v1/auth/login", &sign_in(json!({"recovery_code": recovery}))).await.status, 401);
    let bare = browser.send(Method::DELETE, "/api/v1/me/totp", &json!({"password": PASSWORD})).await.expect(401);
    assert_eq!(bare["error"]["code"], json!("second_factor_required"), "whoever has only the password does not get rid of it");
    assert_eq!(browser.get("/api/v1/me").await.expect(200)["second_factor"], json!(true));
    app.advance(Duration::from_secs(30));
    let again = browser.post("/api/v1/me/recovery-codes", &json!({"password": PASSWORD, "code": code(&app)})).await.expect(200);
    assert!(!again["recovery_codes"].as_array().unwrap().contains(&codes["recovery_codes"][1]), "older codes are gone");
    app.advance(Duration::from_secs(30));
    browser.send(Method::DELETE, "/api/v1/me/totp", &json!({"password": PASSWORD, "code": code(&app)})).await.expect(204);
    assert_eq!(browser.get("/api/v1/me").await.expect(200)["second_factor"], json!(false));
    elsewhere.post("/api/v1/auth/login", &sign_in(json!({}))).await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn changes_come_from_our_own_pages() {
    let app = TestApp::start(|_| {}).await;
    let mut browser = verified(&app, "ada@example.com").await;
    let patch = json!({"name": "Ada L."});
    let token = std::mem::take(&mut browser.csrf_token);
    assert_eq!(browser.send(Method::PATCH, "/api/v1/me", &patch).await.expect(403)["error"]["code"], json!("csrf_failed"));
    browser.csrf_token = token;
    browser.origin = "https://evil.example".to_owned();
    assert_eq!(browser.send(Method::PATCH, "/api/v1/me", &patch).await.expect(403)["error"]["code"], json!("csrf_failed"));
    assert_eq!(browser.sign_in("ada@example.com", PASSWORD).await.status, 403, "nor signs another page anybody in");
    browser.origin = app.url.clone();
    assert_eq!(browser.send(Method::PATCH, "/api/v1/me", &patch).await.expect(200)["name"], json!("Ada L."));
    app.finish().await;
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let app = TestApp::start(|_| {}).await;
    let mut first = verified(&app, "ada@example.com").await;
    let mut second = Browser::new(&app);
    second.sign_in("ada@example.com", PASSWORD).await.expect(200);
    let listed = first.get("/api/v1/sessions").await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
    let other = listed["data"].as_array().unwrap().iter().find(|session| session["current"] == json!(false)).unwrap();
    assert_eq!(other["ip"], json!("127.0.0.1"));
    let path = format!("/api/v1/sessions/{}", other["id"].as_str().unwrap());
    first.send(Method::DELETE, &path, &Value::Null).await.expect(204);
    assert_eq!(second.get("/api/v1/me").await.status, 401);
    second.sign_in("ada@example.com", PASSWORD).await.expect(200);
    assert_eq!(first.send(Method::DELETE, "/api/v1/sessions", &Value::Null).await.expect(200)["ended"], json!(1));
    assert_eq!(second.get("/api/v1/me").await.status, 401);
    first.get("/api/v1/me").await.expect(200);
    let events = first.get("/api/v1/me/security-events").await.expect(200);
    assert_eq!(events["data"].as_array().unwrap().last().unwrap()["event"], json!("sign_up"));
    app.finish().await;
}

#[tokio::test]
async fn a_new_address_is_confirmed_and_the_old_one_told() {
    let app = TestApp::start(|_| {}).await;
    let mut browser = verified(&app, "ada@example.com").await;
    let change = json!({"email": "ada@new.example", "password": PASSWORD});
    assert_eq!(
        browser.send(Method::PATCH, "/api/v1/me", &json!({"email": "ada@new.example"})).await.status,
        400,
        "the password is asked for"
    );
    let asked = browser.send(Method::PATCH, "/api/v1/me", &change).await.expect(200);
    assert_eq!((&asked["email"], &asked["pending_email"]), (&json!("ada@example.com"), &json!("ada@new.example")));
    let token = token(&app, "ada@new.example", "confirm_new_email").await;
    browser.post("/api/v1/auth/email/confirm", &json!({"token": token})).await.expect(200);
    assert_eq!(browser.get("/api/v1/me").await.expect(200)["email"], json!("ada@new.example"));
    assert_eq!(mails(&app, "ada@example.com").await.last().unwrap().kind(), "email_changed");
    app.finish().await;
}

#[tokio::test]
async fn blocked_domains_and_closed_sign_up() {
    let app = TestApp::start(|settings| settings.abuse.block_disposable_email = true).await;
    app.admin.caller.post("/admin/v1/blocked-domains", &json!({"domain": "Bad.example", "note": "spam"})).await.expect(201);
    let mut browser = Browser::new(&app);
    for (email, status) in [("a@bad.example", 400), ("a@sub.bad.example", 400), ("a@mailinator.com", 400), ("a@notbad.example", 201)] {
        let answer = browser.post("/api/v1/auth/register", &json!({"email": email, "password": PASSWORD})).await;
        assert_eq!(answer.status, status, "{email}: {}", answer.text);
    }
    app.admin.caller.delete("/admin/v1/blocked-domains/bad.example").await.expect(204);
    browser.post("/api/v1/auth/register", &json!({"email": "a@bad.example", "password": PASSWORD})).await.expect(201);
    app.finish().await;
}
