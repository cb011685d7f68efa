//! One customer from sign-up on, with a real mail server, and what a thief of the database would find afterwards.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    browser::{Browser, PASSWORD},
    smtp::Smtp,
    world::{MODEL, World},
};

const EMAIL: &str = "ada@example.org";

#[tokio::test]
async fn from_sign_up_to_the_first_call() {
    let smtp = Smtp::start().await;
    let world = World::with(|settings| smtp.receive_from(settings)).await;
    let app = &world.app;
    let mut browser = Browser::new(app);
    browser.post("/api/v1/auth/register", &json!({"email": EMAIL, "password": PASSWORD, "name": "Ada", "locale": "en"})).await.expect(201);
    let mail = smtp.next_to(EMAIL).await;
    assert!(mail.link().starts_with(&app.url), "links lead to the public URL: {}", mail.link());
    let verify_token = mail.token();
    browser.post("/api/v1/auth/verify", &json!({"token": verify_token})).await.expect(200);
    let me = browser.sign_in(EMAIL, PASSWORD).await.expect(200);
    app.admin.grant(me["id"].as_str().unwrap(), 1_000_000).await;

    let created = browser.post("/api/v1/keys", &json!({"title": "laptop"})).await.expect(201);
    let key = created["key"].as_str().unwrap().to_owned();
    let caller = world.caller.with_key(&key);
    caller.chat(MODEL, "Hi").await.expect(200);
    let ticket = browser.post("/api/v1/tickets", &json!({"title": "Help", "message": "It works, thanks"})).await.expect(201);
    assert!(ticket["id"].as_str().unwrap().starts_with("tkt_"));

    browser.post("/api/v1/auth/forgot", &json!({"email": EMAIL})).await.expect(202);
    let reset_token = smtp.next_to(EMAIL).await.token();
    let new_password = "quite another odd sentence";
    let session = browser.cookies.iter().find(|(name, _)| name.contains("session")).unwrap().1.clone();
    browser.post("/api/v1/auth/reset", &json!({"token": reset_token, "password": new_password})).await.expect(200);
    assert_eq!(browser.get("/api/v1/me").await.status, 401);
    browser.sign_in(EMAIL, new_password).await.expect(200);
    let path = format!("/api/v1/keys/{}", created["id"].as_str().unwrap());
    browser.send(Method::DELETE, &path, &Value::Null).await.expect(200);
    assert_eq!(caller.chat(MODEL, "Hi").await.status, 401, "a revoked key ends with the next call");

    let dump = app.database.dump().await;
    assert!(dump.contains(EMAIL), "the dump reads every table");
    for (what, secret) in [
        ("key", key.as_str()),
        ("password", PASSWORD),
        ("new password", new_password),
        ("verification token", &verify_token),
        ("reset token", &reset_token),
        ("session", &session),
    ] {
        assert!(!dump.contains(secret), "the {what} is in the database in clear");
    }
    let metrics = world.caller.anonymous(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(!metrics.contains(EMAIL) && !metrics.contains(&key));
    world.finish().await;
}
