//! First and later sign-ins, with both providers.

use reqwest::Method;
use serde_json::{Value, json};

use super::{AGREED, Scene, code_of};
use crate::support::{
    browser::{Browser, PASSWORD, mails, token},
    client::{Answer, Caller},
    identity::Twist,
};

#[tokio::test]
async fn the_first_sign_in_makes_an_account_and_the_second_opens_it() {
    for provider in ["google", "github"] {
        let scene = Scene::new().await;
        let mut browser = scene.browser();
        let query = format!("{AGREED}&ref=bob&utm_source=news&locale=zh-CN");
        let me = scene.sign_in(&mut browser, provider, &query).await.expect(200);
        assert_eq!((&me["email"], &me["verified"], &me["locale"]), (&json!("ada@example.com"), &json!(true), &json!("zh")));
        assert_eq!(me["name"], json!(if provider == "google" { "Ada Lovelace" } else { "ada" }));
        assert_eq!(browser.get("/api/v1/me").await.expect(200)["id"], me["id"]);
        let sign_up = scene.app.admin.caller.get(&format!("/admin/v1/accounts/{}/sign-up", me["id"].as_str().unwrap())).await.expect(200);
        assert_eq!(
            (&sign_up["method"], &sign_up["ref"], &sign_up["campaign"]["utm_source"]),
            (&json!(provider), &json!("bob"), &json!("news"))
        );
        assert!(mails(&scene.app, "ada@example.com").await.is_empty(), "there is nothing to verify");

        // Her address changes at the provider, and the account stays hers.
        scene.provider.is(7_001, "ada@elsewhere.example");
        let again = scene.sign_in(&mut scene.browser(), provider, "").await.expect(200);
        assert_eq!((&again["id"], &again["email"]), (&me["id"], &json!("ada@example.com")));
        assert_eq!(scene.events(&mut browser).await, ["sign_in", "sign_in", "sign_up"]);
        let linked = browser.get("/api/v1/me/identities").await.expect(200);
        assert_eq!((&linked["data"][0]["provider"], &linked["data"][0]["email"]), (&json!(provider), &json!("ada@example.com")));

        // A key of such an account works at once.
        let key = browser.post("/api/v1/keys", &json!({"title": "mine"})).await.expect(201);
        Caller::new(&scene.app.url, key["key"].as_str().unwrap()).get("/v1/key").await.expect(200);
        scene.finish().await;
    }
}

#[tokio::test]
async fn two_windows_make_one_account() {
    let scene = Scene::new().await;
    for round in 0..8_u64 {
        scene.provider.is(9_000 + round, &format!("racer{round}@example.com"));
        let (mut one, mut two) = (scene.browser(), scene.browser());
        let begin = format!("/api/v1/auth/oauth/google{AGREED}");
        let (back_one, back_two) = (scene.begin(&mut one, &begin).await, scene.begin(&mut two, &begin).await);
        let (first, second) = tokio::join!(one.get(&back_one), two.get(&back_two));
        assert_eq!(first.expect(200)["id"], second.expect(200)["id"]);
    }
    assert_eq!(scene.accounts().await, 8);
    scene.finish().await;
}

#[tokio::test]
async fn a_new_account_needs_an_agreement() {
    let scene = Scene::with(|settings| settings.security.min_age = 16).await;
    let publish = json!({"document": "terms", "version": "1", "body": "# Terms"});
    scene.app.admin.caller.post("/admin/v1/policies", &publish).await.expect(201);
    for query in ["", "?accept_terms=true", "?age_confirmed=true"] {
        let refused = scene.sign_in(&mut scene.browser(), "google", query).await;
        assert_eq!((refused.status, code_of(&refused)), (403, json!("agreement_missing")), "{query}: {}", refused.text);
    }
    for query in ["?accept_terms=false", "?age_confirmed=false", "?terms_version=0", "?accept_terms=perhaps"] {
        let path = format!("/api/v1/auth/oauth/google{query}");
        assert_eq!(scene.browser().get(&path).await.status, 400, "{query}");
    }
    assert_eq!(scene.accounts().await, 0);

    // In a browser it is one click on a page.
    let mut browser = scene.browser();
    let back = scene.begin(&mut browser, "/api/v1/auth/oauth/google?ref=bob&return_to=/docs%3Fa%3Db").await;
    let page = Answer::of(browser.request(Method::GET, &back).header("accept", "text/html,*/*")).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("16 years") && page.text.contains("/policies/terms"), "{}", page.text);
    let link =
        page.text.split("href=\"/api/v1/auth/oauth/google?").nth(1).expect("a link").split('"').next().unwrap().replace("&amp;", "&");
    let done = scene.sign_in(&mut browser, "google", &format!("?{link}")).await;
    assert_eq!((done.status, done.header("location")), (303, Some("/docs?a=b")));
    let me = browser.get("/api/v1/me").await.expect(200);
    let accepted = browser.get("/api/v1/me/policies").await.expect(200);
    assert!(accepted.to_string().contains("\"1\""), "{accepted}");
    let sign_up = scene.app.admin.caller.get(&format!("/admin/v1/accounts/{}/sign-up", me["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(sign_up["ref"], json!("bob"));
    scene.finish().await;
}

#[tokio::test]
async fn only_own_paths_are_gone_to() {
    let scene = Scene::new().await;
    for path in ["https%3A%2F%2Fevil.example", "%2F%2Fevil.example", "%2F%5Cevil.example", "docs", "%2F%09%2Fevil.example"] {
        let refused = scene.browser().get(&format!("/api/v1/auth/oauth/google?return_to={path}")).await;
        assert_eq!((refused.status, refused.json()["error"]["param"].clone()), (400, json!("return_to")), "{path}");
    }
    scene.finish().await;
}

#[tokio::test]
async fn cookies_and_addresses_are_as_they_should_be() {
    let scene = Scene::with(|settings| settings.server.public_url = Some("https://pix.example".to_owned())).await;
    let answer = scene.browser().get("/api/v1/auth/oauth/github").await;
    let cookie = answer.header("set-cookie").unwrap();
    for part in ["__Host-px_oauth=", "HttpOnly", "SameSite=Lax", "Secure", "Path=/", "Max-Age=600"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    let url = answer.header("location").unwrap();
    assert!(url.contains("redirect_uri=https%3A%2F%2Fpix.example%2Fapi%2Fv1%2Fauth%2Foauth%2Fgithub%2Fcallback"), "{url}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    scene.finish().await;
}

#[tokio::test]
async fn providers_that_are_not_set_up_are_off() {
    let scene = Scene::with(|settings| (settings.oauth.github.client_id, settings.oauth.github.client_secret) = (None, None)).await;
    let mut browser = scene.browser();
    let options = browser.get("/api/v1/auth/options").await.expect(200);
    assert_eq!(options["providers"], json!([{"provider": "google", "url": format!("{}/api/v1/auth/oauth/google", scene.app.url)}]));
    for path in ["github", "gitlab", "github/callback?state=x"] {
        let refused = browser.get(&format!("/api/v1/auth/oauth/{path}")).await;
        assert!(matches!(refused.status, 400 | 404), "{path}: {}", refused.text);
    }
    scene.finish().await;
}

/// Whoever came with a provider has no password, and still does everything that asks for one.
#[tokio::test]
async fn an_account_without_a_password_is_a_whole_account() {
    let scene = Scene::new().await;
    let mut browser = scene.browser();
    scene.sign_in(&mut browser, "google", AGREED).await.expect(200);
    let wrong = browser.sign_in("ada@example.com", PASSWORD).await;
    assert_eq!((wrong.status, code_of(&wrong)), (401, json!("invalid_credentials")));
    scene.sign_in(&mut browser, "google", "").await.expect(200);

    // What asks for the password says what to do instead.
    let asks = browser.post("/api/v1/me/totp", &json!({})).await.expect(400);
    assert_eq!(asks["error"]["param"], json!("mail_code"));
    assert_eq!(browser.post("/api/v1/me/totp", &json!({"password": PASSWORD})).await.status, 400);
    assert_eq!(browser.post("/api/v1/me/totp", &json!({"mail_code": "00000000"})).await.status, 401);
    let code = mailed_code(&scene, &mut browser).await;
    browser.post("/api/v1/me/totp", &json!({"mail_code": code})).await.expect(200);
    assert_eq!(browser.post("/api/v1/me/totp", &json!({"mail_code": code})).await.status, 401, "a code works once");
    let code = mailed_code(&scene, &mut browser).await;
    browser.post("/api/v1/me/export", &json!({"mail_code": code})).await.expect(202);

    // A first password, with a mailed code; from then on the password counts.
    let code = mailed_code(&scene, &mut browser).await;
    let change = json!({"new_password": PASSWORD, "mail_code": code});
    browser.send(Method::PATCH, "/api/v1/me", &change).await.expect(200);
    scene.browser().sign_in("ada@example.com", PASSWORD).await.expect(200);
    let code = mailed_code(&scene, &mut browser).await;
    let change = json!({"new_password": "another long and odd sentence", "mail_code": code});
    assert_eq!(browser.send(Method::PATCH, "/api/v1/me", &change).await.status, 400, "the mailbox alone changes no password");
    scene.finish().await;
}

#[tokio::test]
async fn a_forgotten_password_can_be_one_that_never_was() {
    let scene = Scene::new().await;
    let mut browser = scene.browser();
    scene.sign_in(&mut browser, "github", AGREED).await.expect(200);
    browser.post("/api/v1/auth/forgot", &json!({"email": "ada@example.com"})).await.expect(202);
    let reset = token(&scene.app, "ada@example.com", "reset_password").await;
    browser.post("/api/v1/auth/reset", &json!({"token": reset, "password": PASSWORD})).await.expect(200);
    assert_eq!(browser.get("/api/v1/me").await.status, 401, "every session ended");
    scene.browser().sign_in("ada@example.com", PASSWORD).await.expect(200);
    scene.sign_in(&mut scene.browser(), "github", "").await.expect(200);

    let mut leaving = scene.browser();
    leaving.sign_in("ada@example.com", PASSWORD).await.expect(200);
    leaving.send(Method::DELETE, "/api/v1/me", &json!({"password": PASSWORD})).await.expect(202);
    let gone = scene.sign_in(&mut scene.browser(), "github", AGREED).await;
    assert_eq!((gone.status, code_of(&gone)), (403, json!("account_suspended")), "{}", gone.text);
    scene.finish().await;
}

#[tokio::test]
async fn nothing_of_a_sign_in_is_kept_in_clear() {
    let scene = Scene::new().await;
    let mut done = scene.browser();
    scene.sign_in(&mut done, "google", AGREED).await.expect(200);
    scene.sign_in(&mut scene.browser(), "github", AGREED).await.expect(409);
    scene.provider.twist(Twist::Nonce);
    scene.sign_in(&mut scene.browser(), "google", "").await.expect(401);
    scene.provider.twist(Twist::None);
    // And of one that is under way.
    let mut waiting = scene.browser();
    scene.begin(&mut waiting, "/api/v1/auth/oauth/google").await;
    let mut secrets = scene.provider.secrets();
    secrets.extend(waiting.cookies.iter().chain(&done.cookies).filter(|(name, _)| name != "px_device").map(|(_, value)| value.clone()));
    assert!(secrets.len() > 12, "{secrets:?}");
    let dump = scene.app.database.dump().await;
    assert!(dump.contains("oauth_states"));
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        assert!(!dump.contains(secret.as_str()), "{secret} is in the database");
    }
    scene.finish().await;
}

/// The newest code that was mailed.
pub async fn mailed_code(scene: &Scene, browser: &mut Browser) -> String {
    scene.app.advance(std::time::Duration::from_secs(1));
    browser.post("/api/v1/me/confirmation-code", &Value::Null).await.expect(202);
    let all = mails(&scene.app, "ada@example.com").await;
    all.iter().rev().find_map(|mail| mail.code()).expect("a code").to_owned()
}
