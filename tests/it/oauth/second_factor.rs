//! The second factor is asked for behind a provider as well.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::{AGREED, Scene, code_of, sign_in::mailed_code};
use crate::support::{browser::Browser, client::Answer};

const PATH: &str = "/api/v1/auth/oauth/second-factor";

struct App(String);

impl App {
    fn code(&self, scene: &Scene) -> String {
        let secret = totp_rs::Secret::try_from_base32(&self.0).unwrap();
        totp_rs::Builder::new()
            .with_secret(secret)
            .build()
            .unwrap()
            .generate(u64::try_from(scene.app.now() / 1_000_000).unwrap())
            .to_string()
    }
}

/// Somebody who came with Google and switched the second factor on; with the recovery codes.
async fn protected(scene: &Scene) -> (App, Vec<String>) {
    let mut browser = scene.browser();
    scene.sign_in(&mut browser, "google", AGREED).await.expect(200);
    let proof = json!({"mail_code": mailed_code(scene, &mut browser).await});
    let enrolment = browser.post("/api/v1/me/totp", &proof).await.expect(200);
    let app = App(enrolment["secret"].as_str().unwrap().to_owned());
    let codes = browser.post("/api/v1/me/totp/confirm", &json!({"code": app.code(scene)})).await.expect(200);
    let codes = codes["recovery_codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    scene.app.advance(Duration::from_secs(60));
    (app, codes)
}

fn session(browser: &Browser) -> bool {
    browser.cookies.iter().any(|(name, _)| name.contains("session"))
}

#[tokio::test]
async fn a_code_ends_the_sign_in() {
    let scene = Scene::new().await;
    let (app, recovery_codes) = protected(&scene).await;
    let mut browser = scene.browser();
    let wanted = scene.sign_in(&mut browser, "google", "?return_to=/docs").await;
    assert_eq!((wanted.status, code_of(&wanted)), (401, json!("second_factor_required")), "{}", wanted.text);
    assert_eq!(wanted.json()["error"]["request_id"].as_str(), wanted.header("x-request-id"));
    assert!(!session(&browser));

    assert_eq!(code_of(&browser.post(PATH, &json!({})).await), json!("second_factor_required"));
    assert_eq!(code_of(&browser.post(PATH, &json!({"code": "000000"})).await), json!("invalid_code"));
    assert_eq!(code_of(&scene.browser().post(PATH, &json!({"code": app.code(&scene)})).await), json!("invalid_state"), "another browser");
    let held = browser.cookies.clone();
    let done = browser.post(PATH, &json!({"code": app.code(&scene)})).await;
    assert_eq!((done.status, done.header("location")), (303, Some("/docs")));
    assert!(browser.get("/api/v1/me").await.expect(200)["second_factor"].as_bool().unwrap());
    let mut again = scene.browser();
    again.cookies = held;
    assert_eq!(code_of(&again.post(PATH, &json!({"recovery_code": recovery_codes[0]})).await), json!("invalid_state"), "once");
    assert!(scene.events(&mut browser).await.contains(&"second_factor_failed".to_owned()));

    // By a recovery code; not for ever.
    scene.sign_in(&mut again, "google", "").await;
    again.post(PATH, &json!({"recovery_code": recovery_codes[0]})).await.expect(200);
    let mut late = scene.browser();
    scene.sign_in(&mut late, "google", "").await;
    scene.app.advance(Duration::from_secs(301));
    assert_eq!(code_of(&late.post(PATH, &json!({"code": app.code(&scene)})).await), json!("invalid_state"));
    assert!(!session(&late));
    scene.finish().await;
}

#[tokio::test]
async fn in_a_browser_it_is_a_form() {
    let scene = Scene::new().await;
    let (app, _) = protected(&scene).await;
    let mut browser = scene.browser();
    let back = scene.begin(&mut browser, "/api/v1/auth/oauth/google?return_to=/docs").await;
    let page = Answer::of(browser.request(Method::GET, &back).header("accept", "text/html")).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("action=\"/auth/second-factor\""), "{}", page.text);
    let cookie = page.header("set-cookie").unwrap().split(';').next().unwrap().split_once('=').unwrap();
    browser.cookies.push((cookie.0.to_owned(), cookie.1.to_owned()));
    let post = |code: String, origin: String| {
        let request = browser.caller.anonymous(Method::POST, "/auth/second-factor").header("origin", origin);
        let cookies: Vec<String> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Answer::of(
            request
                .header("cookie", cookies.join("; "))
                .header("accept", "text/html")
                .form(&[("code", code), ("recovery_code", String::new())]),
        )
    };
    assert_eq!(post(app.code(&scene), "https://evil.example".to_owned()).await.status, 403);
    let wrong = post("000000".to_owned(), scene.app.url.clone()).await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.text.contains("role=\"alert\"") && wrong.text.contains("<form"), "{}", wrong.text);
    let done = post(app.code(&scene), scene.app.url.clone()).await;
    assert_eq!((done.status, done.header("location")), (303, Some("/docs")));
    scene.finish().await;
}

/// Tries are counted with those at the password, so a provider is no way around the throttle.
#[tokio::test]
async fn codes_cannot_be_guessed() {
    let scene = Scene::with(|settings| settings.abuse.password_tries = 3).await;
    let (app, _) = protected(&scene).await;
    scene.app.advance(Duration::from_secs(60));
    let mut thief = scene.browser();
    scene.sign_in(&mut thief, "google", "").await;
    let mut last = thief.post(PATH, &json!({"code": "000000"})).await;
    for _ in 0..3 {
        last = thief.post(PATH, &json!({"code": "000000"})).await;
    }
    assert_eq!(last.status, 429, "{}", last.text);
    assert_eq!(thief.post(PATH, &json!({"code": app.code(&scene)})).await.status, 429);
    assert!(!session(&thief));
    scene.finish().await;
}

/// A password that is set anew ends a sign-in that waits for its second factor.
#[tokio::test]
async fn a_reset_ends_what_waits() {
    let scene = Scene::new().await;
    let (app, _) = protected(&scene).await;
    let mut waiting = scene.browser();
    scene.sign_in(&mut waiting, "google", "").await;
    let mut owner = scene.browser();
    owner.post("/api/v1/auth/forgot", &json!({"email": "ada@example.com"})).await.expect(202);
    let reset = crate::support::browser::token(&scene.app, "ada@example.com", "reset_password").await;
    owner.post("/api/v1/auth/reset", &json!({"token": reset, "password": crate::support::browser::PASSWORD})).await.expect(200);
    assert_eq!(code_of(&waiting.post(PATH, &json!({"code": app.code(&scene)})).await), json!("invalid_state"));
    scene.finish().await;
}
