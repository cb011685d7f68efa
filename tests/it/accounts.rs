//! What surrounds people's accounts, over sockets: nobody takes one over before its owner came, throttles that spare the owner, agreed
//! policies, profile images, what admins see and end, and headers for browsers.

use std::time::Duration;

use pixgate::config::settings::SignUp;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    browser::{Browser, PASSWORD, mails, register, token, verified},
    client::{Caller, eventually},
};

const OTHER_PASSWORD: &str = "another long and odd sentence";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0";

async fn account_id(app: &TestApp, email: &str) -> String {
    let found = app.admin.caller.get(&format!("/admin/v1/accounts?q={email}")).await.expect(200);
    found["data"][0]["id"].as_str().expect("an account").to_owned()
}

async fn kinds(app: &TestApp, email: &str) -> Vec<&'static str> {
    mails(app, email).await.iter().map(|message| message.kind()).collect()
}

#[tokio::test]
async fn nobody_prepares_an_account_for_somebody_else() {
    let app = TestApp::manual(|_| {}).await;
    // Somebody registers Ada's address and sets up all that would let them in later.
    let mut stranger = register(&app, "ada@example.com").await;
    stranger.sign_in("ada@example.com", PASSWORD).await.expect(200);
    let key = stranger.post("/api/v1/keys", &json!({"title": "trap", "scopes": ["inference", "account"]})).await.expect(201);
    let trap = Caller::new(&app.url, key["key"].as_str().unwrap());
    stranger.send(Method::PATCH, "/api/v1/me", &json!({"email": "stranger@example.com", "password": PASSWORD})).await.expect(200);
    let change = token(&app, "stranger@example.com", "confirm_new_email").await;
    let enrolment = stranger.post("/api/v1/me/totp", &json!({"password": PASSWORD})).await.expect(200);
    let secret = totp_rs::Secret::try_from_base32(enrolment["secret"].as_str().unwrap()).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
    let code = totp.generate(u64::try_from(app.now() / 1_000_000).unwrap()).to_string();
    stranger.post("/api/v1/me/totp/confirm", &json!({"code": code})).await.expect(200);
    let old_link = token(&app, "ada@example.com", "verify_email").await;

    // Ada registers with a password of her own: her link sets it, and the stranger's link is dead.
    app.advance(Duration::from_secs(1));
    let mut ada = Browser::new(&app);
    ada.post("/api/v1/auth/register", &json!({"email": "ada@example.com", "password": OTHER_PASSWORD})).await.expect(201);
    assert_eq!(ada.post("/api/v1/auth/verify", &json!({"token": old_link})).await.status, 400);
    let reset = token(&app, "ada@example.com", "reset_password").await;
    ada.post("/api/v1/auth/reset", &json!({"token": reset, "password": OTHER_PASSWORD})).await.expect(200);
    let me = ada.sign_in("ada@example.com", OTHER_PASSWORD).await.expect(200);
    assert_eq!((&me["verified"], &me["second_factor"]), (&json!(true), &json!(false)), "no second factor of the stranger's locks her out");

    assert_eq!(stranger.get("/api/v1/me").await.status, 401, "the stranger's session ended");
    assert_eq!(Browser::new(&app).sign_in("ada@example.com", PASSWORD).await.status, 401);
    assert_eq!(trap.get("/api/v1/me").await.status, 401, "the stranger's key is revoked");
    let keys = ada.get("/api/v1/keys").await.expect(200);
    assert_eq!(keys["data"][0]["revoked_reason"], json!("address_proven_by_another"));
    assert_eq!(ada.post("/api/v1/auth/email/confirm", &json!({"token": change})).await.status, 400, "the address stays hers");
    app.finish().await;
}

/// The other way round: a registration that waits for its mail cannot be given another password.
#[tokio::test]
async fn nobody_slips_a_password_under_a_registration() {
    let app = TestApp::manual(|_| {}).await;
    let mut ada = register(&app, "ada@example.com").await;
    app.advance(Duration::from_secs(1));
    let mut stranger = Browser::new(&app);
    stranger.post("/api/v1/auth/register", &json!({"email": "ada@example.com", "password": OTHER_PASSWORD})).await.expect(201);
    assert_eq!(stranger.sign_in("ada@example.com", OTHER_PASSWORD).await.status, 401);
    let reset = token(&app, "ada@example.com", "reset_password").await;
    ada.post("/api/v1/auth/reset", &json!({"token": reset, "password": PASSWORD})).await.expect(200);
    assert_eq!(stranger.sign_in("ada@example.com", OTHER_PASSWORD).await.status, 401);
    ada.sign_in("ada@example.com", PASSWORD).await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn a_second_registration_with_the_same_password_mails_the_link_again() {
    let app = TestApp::manual(|_| {}).await;
    register(&app, "ada@example.com").await;
    app.advance(Duration::from_secs(1));
    let mut ada = register(&app, "ada@example.com").await;
    assert_eq!(kinds(&app, "ada@example.com").await, ["verify_email", "verify_email"]);
    let token = token(&app, "ada@example.com", "verify_email").await;
    ada.post("/api/v1/auth/verify", &json!({"token": token})).await.expect(200);
    ada.sign_in("ada@example.com", PASSWORD).await.expect(200);
    app.finish().await;
}

/// Keys of an account that the operator made stay when its owner sets a first password.
#[tokio::test]
async fn a_first_password_leaves_the_operators_keys() {
    let app = TestApp::start(|_| {}).await;
    let id = app.admin.caller.post("/admin/v1/accounts", &json!({"email": "ada@example.com"})).await.expect(201)["id"].clone();
    let id = id.as_str().unwrap();
    app.admin.grant(id, 1_000_000).await;
    let caller = app.admin.caller_of(id, &json!({})).await;
    let mut ada = Browser::new(&app);
    ada.post("/api/v1/auth/forgot", &json!({"email": "ada@example.com"})).await.expect(202);
    let token = token(&app, "ada@example.com", "reset_password").await;
    ada.post("/api/v1/auth/reset", &json!({"token": token, "password": PASSWORD})).await.expect(200);
    caller.chat("pixgate/echo", "hello").await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn answers_tell_nothing_and_unknown_addresses_are_not_kept() {
    let app = TestApp::start(|_| {}).await;
    verified(&app, "ada@example.com").await;
    let mut stranger = Browser::new(&app);
    for path in ["/api/v1/auth/forgot", "/api/v1/auth/verify/resend"] {
        let known = stranger.post(path, &json!({"email": "ada@example.com"})).await;
        let unknown = stranger.post(path, &json!({"email": "nobody@example.com"})).await;
        assert_eq!((known.status, &known.text), (202, &unknown.text), "{path}");
    }
    assert!(!app.database.dump().await.contains("nobody@example.com"));
    app.finish().await;
}

#[tokio::test]
async fn mails_are_throttled_and_the_owner_still_gets_one() {
    let app = TestApp::manual(|settings| settings.abuse.mails_per_address_hour = 3).await;
    let mut owner = verified(&app, "ada@example.com").await;
    let mut stranger = Browser::new(&app);
    let ask = json!({"email": "ada@example.com"});
    let mut last = stranger.post("/api/v1/auth/forgot", &ask).await;
    for _ in 0..5 {
        last = stranger.post("/api/v1/auth/forgot", &ask).await;
    }
    assert_eq!((last.status, &last.json()["error"]["scope"]), (429, &json!("account")));
    assert!(last.headers.contains_key("retry-after"));
    owner.post("/api/v1/auth/forgot", &ask).await.expect(202);
    let before = kinds(&app, "ada@example.com").await.iter().filter(|kind| **kind == "reset_password").count();
    assert!(before <= 3, "{before}");
    app.advance(Duration::from_secs(3_600));
    stranger.post("/api/v1/auth/forgot", &ask).await.expect(202);
    app.finish().await;
}

#[tokio::test]
async fn sign_ups_and_keys_have_a_velocity() {
    let app = TestApp::manual(|settings| {
        settings.abuse.sign_ups_per_ip_day = 2;
        settings.abuse.keys_per_account_hour = 2;
    })
    .await;
    let mut browser = verified(&app, "ada@example.com").await;
    register(&app, "bob@example.com").await;
    let third = json!({"email": "eve@example.com", "password": PASSWORD});
    let refused = browser.post("/api/v1/auth/register", &third).await.expect(429);
    assert_eq!(refused["error"]["scope"], json!("ip"));
    app.advance(Duration::from_secs(12 * 3_600));
    browser.post("/api/v1/auth/register", &third).await.expect(201);

    browser.sign_in("ada@example.com", PASSWORD).await.expect(200);
    let first = browser.post("/api/v1/keys", &json!({"title": "a"})).await.expect(201);
    browser.post("/api/v1/keys", &json!({"title": "b"})).await.expect(201);
    let refused = browser.post("/api/v1/keys", &json!({"title": "c"})).await.expect(429);
    assert_eq!(refused["error"]["scope"], json!("account"));
    let rotate = format!("/api/v1/keys/{}/rotate", first["id"].as_str().unwrap());
    assert_eq!(browser.post(&rotate, &json!({})).await.status, 429, "a rotation makes a key, too");
    app.advance(Duration::from_secs(1_800));
    browser.post("/api/v1/keys", &json!({"title": "c"})).await.expect(201);
    app.finish().await;
}

#[tokio::test]
async fn sign_up_can_be_left_to_admins() {
    let app = TestApp::start(|settings| settings.accounts.sign_up = SignUp::Closed).await;
    let mut browser = Browser::new(&app);
    let refused = browser.post("/api/v1/auth/register", &json!({"email": "ada@example.com", "password": PASSWORD})).await.expect(403);
    assert_eq!(refused["error"]["code"], json!("sign_up_closed"));
    assert_eq!(browser.get("/api/v1/auth/options").await.expect(200)["sign_up_open"], json!(false));
    app.admin.caller.post("/admin/v1/accounts", &json!({"email": "ada@example.com"})).await.expect(201);
    app.finish().await;
}

#[tokio::test]
async fn registering_is_agreeing() {
    let app = TestApp::start(|settings| {
        settings.security.min_age = 16;
        // The sweeper, which writes the news, takes a turn each quarter of it.
        settings.ledger.lease_ttl_seconds = 5;
    })
    .await;
    let mut browser = Browser::new(&app);
    let publish = |document: &str, version: &str| json!({"document": document, "version": version, "body": format!("# {document} {version}\n<b>x</b>")});
    app.admin.caller.post("/admin/v1/policies", &publish("terms", "1")).await.expect(201);
    app.admin.caller.post("/admin/v1/policies", &publish("privacy", "1")).await.expect(201);
    assert_eq!(app.admin.caller.post("/admin/v1/policies", &publish("terms", "1")).await.status, 409, "versions never change");
    assert_eq!(app.admin.caller.post("/admin/v1/policies", &publish("cookies", "1")).await.status, 400);

    let options = browser.get("/api/v1/auth/options").await.expect(200);
    assert_eq!(
        (&options["sign_up_open"], &options["min_age"], options["policies"].as_array().unwrap().len()),
        (&json!(true), &json!(16), 2)
    );
    for (field, value) in [("accept_terms", json!(false)), ("age_confirmed", json!(false)), ("terms_version", json!("0"))] {
        let mut body = json!({"email": "ada@example.com", "password": PASSWORD});
        body[field] = value;
        assert_eq!(browser.post("/api/v1/auth/register", &body).await.expect(400)["error"]["param"], json!(field));
    }
    let body = json!({"email": "bob@example.com", "password": PASSWORD, "accept_terms": true, "age_confirmed": true, "terms_version": "1"});
    browser.post("/api/v1/auth/register", &body).await.expect(201);
    let mut ada = verified(&app, "ada@example.com").await;
    let standing = ada.get("/api/v1/me/policies").await.expect(200);
    assert!(standing["data"].as_array().unwrap().iter().all(|policy| policy["accepted_at"].is_string()), "{standing}");

    // A new version: announced to proven addresses that were here before, once, and accepted by whoever joins later.
    let version = app.admin.caller.post("/admin/v1/policies", &publish("terms", "2 b")).await;
    assert_eq!(version.status, 400, "versions are words");
    app.admin.caller.post("/admin/v1/policies", &publish("terms", "2/b")).await.expect(201);
    let announced = async || {
        let all = app.admin.caller.get("/admin/v1/policies").await.expect(200);
        all["data"].as_array().unwrap().iter().all(|policy| policy["announced_at"].is_string()).then_some(())
    };
    eventually("everybody was told", announced).await;
    let told = mails(&app, "ada@example.com").await.into_iter().filter(|message| message.kind() == "policy_changed").collect::<Vec<_>>();
    assert_eq!(told.len(), 1);
    assert!(!kinds(&app, "bob@example.com").await.contains(&"policy_changed"), "an address that nobody proved gets no news");
    let link = told[0].link().unwrap();
    let page = browser.get(link.strip_prefix(&app.url).expect("a link of ours")).await;
    assert!(page.status == 200 && page.text.contains("# terms 2/b") && page.text.contains("&lt;b&gt;"), "{}", page.text);
    assert_eq!(browser.get("/api/v1/policies/terms").await.expect(200)["version"], json!("2/b"));
    assert_eq!(browser.get("/api/v1/policies/terms?version=1").await.expect(200)["version"], json!("1"));
    assert_eq!(browser.get("/api/v1/policies/other").await.status, 404);

    assert_eq!(ada.get("/api/v1/me/policies").await.expect(200)["data"][0]["accepted_at"], Value::Null);
    let accepted = ada.post("/api/v1/me/policies", &json!({"document": "terms", "version": "2/b"})).await.expect(200);
    assert!(accepted["data"][0]["accepted_at"].is_string());
    ada.post("/api/v1/me/policies", &json!({"document": "terms", "version": "2/b"})).await.expect(200);
    assert_eq!(app.database.number("SELECT COUNT(*) FROM policy_acceptances WHERE version = '2/b'").await, 1);
    app.finish().await;
}

#[tokio::test]
async fn profile_images() {
    let app = TestApp::start(|_| {}).await;
    let mut browser = verified(&app, "ada@example.com").await;
    let put = |browser: &Browser, content: Vec<u8>, kind: &str| {
        browser.request(Method::PUT, "/api/v1/me/image").header("content-type", kind).body(content).send()
    };
    assert_eq!(browser.get("/api/v1/me/image").await.status, 404);
    for (content, kind) in
        [(b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(), "image/png"), (b"<html>".to_vec(), "text/html"), (Vec::new(), "image/png")]
    {
        assert_eq!(put(&browser, content, kind).await.unwrap().status(), 400, "{kind}");
    }
    let mut large = PNG.to_vec();
    large.resize(2 * 1024 * 1024 + 1, 0);
    assert_eq!(put(&browser, large, "image/png").await.unwrap().status(), 413);
    let first: Value = put(&browser, PNG.to_vec(), "text/html").await.unwrap().json().await.unwrap();
    let url = first["image_url"].as_str().unwrap().to_owned();
    let shown = browser.request(Method::GET, &url).send().await.unwrap();
    assert_eq!((shown.status(), shown.headers()["content-type"].to_str().unwrap()), (reqwest::StatusCode::OK, "image/png"));
    assert_eq!(shown.headers()["x-content-type-options"], "nosniff");
    assert!(shown.headers()["content-security-policy"].to_str().unwrap().contains("sandbox"));
    assert_eq!(shown.bytes().await.unwrap(), PNG);

    let gif = b"GIF89a\x01\0\x01\0\0\0\0;".to_vec();
    let second: Value = put(&browser, gif, "image/gif").await.unwrap().json().await.unwrap();
    assert_ne!(second["image_url"], json!(url));
    assert_eq!(app.blobs().len(), 1, "the earlier image is gone");
    browser.send(Method::DELETE, "/api/v1/me/image", &Value::Null).await.expect(204);
    assert!(app.blobs().is_empty());
    assert_eq!(browser.get("/api/v1/me").await.expect(200)["image_url"], Value::Null);
    browser.csrf_token = String::new();
    assert_eq!(put(&browser, PNG.to_vec(), "image/png").await.unwrap().status(), 403, "from our own pages only");
    app.finish().await;
}

#[tokio::test]
async fn what_admins_see_and_end() {
    let app = TestApp::start(|_| {}).await;
    let mut stranger = Browser::new(&app);
    let body = json!({"email": "ada@example.com", "password": PASSWORD, "ref": "friend", "utm_source": "news", "utm_campaign": "may"});
    stranger.post("/api/v1/auth/register", &body).await.expect(201);
    let proof = token(&app, "ada@example.com", "verify_email").await;
    stranger.post("/api/v1/auth/verify", &json!({"token": proof})).await.expect(200);
    let mut ada = Browser::new(&app);
    assert_eq!(ada.sign_in("ada@example.com", "wrong password").await.status, 401);
    ada.sign_in("ada@example.com", PASSWORD).await.expect(200);
    let id = account_id(&app, "ada@example.com").await;
    let of = |path: &str| format!("/admin/v1/accounts/{id}/{path}");
    let admin = &app.admin.caller;

    let sign_up = admin.get(&of("sign-up")).await.expect(200);
    assert_eq!((&sign_up["method"], &sign_up["ref"]), (&json!("password"), &json!("friend")));
    assert_eq!(sign_up["campaign"], json!({"utm_source": "news", "utm_campaign": "may"}));
    let events = admin.get(&of("security-events")).await.expect(200);
    let seen: Vec<&str> = events["data"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(seen, ["sign_in", "sign_in_failed", "sign_up"]);
    assert_eq!(events["data"][0]["ip"], json!("127.0.0.1"));
    let page = admin.get(&of("security-events?limit=1")).await.expect(200);
    assert_eq!((page["data"].as_array().unwrap().len(), &page["has_more"]), (1, &json!(true)));

    let sessions = admin.get(&of("sessions")).await.expect(200);
    let session = sessions["data"][0]["id"].as_str().unwrap().to_owned();
    admin.delete(&of(&format!("sessions/{session}"))).await.expect(204);
    assert_eq!(ada.get("/api/v1/me").await.status, 401);
    assert_eq!(admin.delete(&of(&format!("sessions/{session}"))).await.status, 404);
    ada.sign_in("ada@example.com", PASSWORD).await.expect(200);
    assert_eq!(admin.delete(&of("sessions")).await.expect(200)["ended"], json!(1));
    assert_eq!(ada.get("/api/v1/me").await.status, 401);

    let link = admin.post(&of("sign-in-link"), &json!({})).await.expect(201);
    let path = link["url"].as_str().unwrap().strip_prefix(&app.url).unwrap().to_owned();
    let mut elsewhere = Browser::new(&app);
    assert_eq!(elsewhere.get(&path).await.status, 200);
    assert_eq!(elsewhere.get("/api/v1/me").await.expect(200)["email"], json!("ada@example.com"));
    assert_eq!(Browser::new(&app).get(&path).await.status, 401, "a link works once");
    assert!(!app.database.dump().await.contains(path.split_once("token=").unwrap().1), "links are kept as digests");
    let audited = admin.get("/admin/v1/audit").await.expect(200);
    assert!(
        audited["data"]
            .as_array()
            .unwrap()
            .iter()
            .any(|entry| entry["action"] == json!("account.sign_in_link") && entry["subject"] == json!(id))
    );
    assert_eq!(elsewhere.get(&of("sessions")).await.status, 401, "a session is no admin's key");
    app.finish().await;
}

#[tokio::test]
async fn suspended_and_closed_accounts() {
    let app = TestApp::start(|_| {}).await;
    let mut ada = verified(&app, "ada@example.com").await;
    let id = account_id(&app, "ada@example.com").await;
    let path = format!("/admin/v1/accounts/{id}");
    app.admin.caller.patch(&path, &json!({"status": "suspended", "reason": "unpaid"})).await.expect(200);
    assert_eq!(ada.get("/api/v1/me").await.status, 401, "sessions end");
    assert!(kinds(&app, "ada@example.com").await.contains(&"account_suspended"));
    assert_eq!(ada.sign_in("ada@example.com", PASSWORD).await.expect(200)["status"], json!("suspended"), "it can be looked at");
    assert_eq!(ada.post("/api/v1/keys", &json!({"title": "k"})).await.expect(403)["error"]["code"], json!("account_suspended"));

    app.admin.caller.patch(&path, &json!({"status": "closed"})).await.expect(200);
    let closed = ada.sign_in("ada@example.com", PASSWORD).await.expect(401);
    assert_eq!(closed["error"]["code"], json!("invalid_credentials"), "a closed account reads like none");
    assert_eq!(app.admin.caller.post(&format!("{path}/sign-in-link"), &json!({})).await.status, 409);
    let resets = async || kinds(&app, "ada@example.com").await.iter().filter(|kind| **kind == "reset_password").count();
    ada.post("/api/v1/auth/forgot", &json!({"email": "ada@example.com"})).await.expect(202);
    assert_eq!(resets().await, 0);
    app.finish().await;
}

#[tokio::test]
async fn idle_and_old_sessions_end() {
    let app = TestApp::manual(|settings| {
        settings.accounts.session_days = 3;
        settings.accounts.session_idle_hours = 24;
    })
    .await;
    let mut idle = verified(&app, "ada@example.com").await;
    let mut busy = Browser::new(&app);
    busy.sign_in("ada@example.com", PASSWORD).await.expect(200);
    for _ in 0..3 {
        app.advance(Duration::from_secs(23 * 3_600));
        busy.get("/api/v1/me").await.expect(200);
    }
    assert_eq!(busy.get("/api/v1/sessions").await.expect(200)["data"].as_array().unwrap().len(), 1, "idle ones are not shown");
    assert_eq!(idle.get("/api/v1/me").await.status, 401, "idle for too long");
    app.advance(Duration::from_secs(4 * 3_600));
    assert_eq!(busy.get("/api/v1/me").await.status, 401, "older than a session may be");
    busy.sign_in("ada@example.com", PASSWORD).await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn a_sign_in_from_somewhere_new_is_told() {
    let app = TestApp::start(|_| {}).await;
    verified(&app, "ada@example.com").await;
    assert!(!kinds(&app, "ada@example.com").await.contains(&"new_sign_in"), "the first sign-in is no news");
    let login = |agent: &'static str| {
        let browser = Browser::new(&app);
        browser
            .request(Method::POST, "/api/v1/auth/login")
            .header("user-agent", agent)
            .json(&json!({"email": "ada@example.com", "password": PASSWORD}))
            .send()
    };
    for agent in ["odd/1", "odd/1", "odd/2"] {
        assert_eq!(login(agent).await.unwrap().status(), 200);
    }
    let news = kinds(&app, "ada@example.com").await.into_iter().filter(|kind| *kind == "new_sign_in").count();
    assert_eq!(news, 2, "one for each program that was not seen before");
    app.finish().await;
}

#[tokio::test]
async fn browsers_are_told_what_not_to_do() {
    let app = TestApp::start(|settings| settings.server.public_url = Some("https://pix.example".to_owned())).await;
    let mut browser = verified_at(&app, "https://pix.example").await;
    for path in ["/api/v1/me", "/api/v1/auth/options", "/auth/forgot", "/docs", "/no/such/path", "/admin/v1/accounts"] {
        let answer = browser.get(path).await;
        let header = |name: &str| answer.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!((header("x-frame-options"), header("referrer-policy")), ("DENY".to_owned(), "no-referrer".to_owned()), "{path}");
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert!(header("strict-transport-security").starts_with("max-age="), "{path}");
    }
    assert_eq!(browser.get("/api/v1/me").await.headers["cache-control"], "no-store");
    let cookie = browser.sign_in("ada@example.com", PASSWORD).await;
    let session =
        cookie.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).find(|cookie| cookie.contains("session"));
    let session = session.expect("a session cookie");
    assert!(session.starts_with("__Host-px_session="), "{session}");
    for flag in ["HttpOnly", "SameSite=Lax", "Secure", "Path=/"] {
        assert!(session.contains(flag), "{session}");
    }
    app.finish().await;
}

/// A browser that is signed in to a gateway which stands behind TLS.
async fn verified_at(app: &TestApp, origin: &str) -> Browser {
    let mut browser = Browser::new(app);
    browser.origin = origin.to_owned();
    browser.post("/api/v1/auth/register", &json!({"email": "ada@example.com", "password": PASSWORD})).await.expect(201);
    let token = token(app, "ada@example.com", "verify_email").await;
    browser.post("/api/v1/auth/verify", &json!({"token": token})).await.expect(200);
    browser.sign_in("ada@example.com", PASSWORD).await.expect(200);
    browser
}
