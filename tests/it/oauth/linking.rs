//! Linking providers to an account, and unlinking them.

use reqwest::Method;
use serde_json::{Value, json};

use super::{AGREED, Scene, code_of, sign_in::mailed_code};
use crate::support::{
    browser::{Browser, PASSWORD, mails, verified},
    client::{Answer, Caller},
};

/// A browser of somebody with a password, which shows redirects.
async fn owner(scene: &Scene, email: &str) -> Browser {
    let signed_in = verified(&scene.app, email).await;
    Browser { caller: Caller::not_following(&scene.app.url), ..signed_in }
}

/// Asks for a link and goes to the provider; answers with the path of the way back.
async fn begin(scene: &Scene, browser: &mut Browser, provider: &str, proof: &Value) -> String {
    let begun = browser.post(&format!("/api/v1/me/identities/{provider}"), proof).await.expect(200);
    scene.agree(begun["url"].as_str().unwrap()).await
}

fn kinds(messages: &[pixgate::domain::mail::Message]) -> Vec<&'static str> {
    messages.iter().map(pixgate::domain::mail::Message::kind).collect()
}

#[tokio::test]
async fn an_owner_links_and_unlinks() {
    let scene = Scene::new().await;
    let mut ada = owner(&scene, "ada@example.com").await;
    let proof = json!({"password": PASSWORD});
    scene.provider.is(8_001, "ada@work.example");
    for provider in ["google", "github"] {
        let back = begin(&scene, &mut ada, provider, &proof).await;
        let done = ada.get(&back).await.expect(200);
        assert_eq!((&done["status"], &done["provider"]), (&json!("linked"), &json!(provider)));
        let me = scene.sign_in(&mut scene.browser(), provider, "").await.expect(200);
        assert_eq!(me["email"], json!("ada@example.com"));
        let again = ada.post(&format!("/api/v1/me/identities/{provider}"), &proof).await;
        assert_eq!((again.status, code_of(&again)), (409, json!("identity_linked")));
    }
    let linked = ada.get("/api/v1/me/identities").await.expect(200);
    assert_eq!(linked["data"][1]["email"], json!("ada@work.example"));
    assert!(kinds(&mails(&scene.app, "ada@example.com").await).contains(&"identity_changed"), "the owner is told");

    ada.send(Method::DELETE, "/api/v1/me/identities/google", &proof).await.expect(204);
    assert_eq!(ada.send(Method::DELETE, "/api/v1/me/identities/google", &proof).await.status, 404);
    scene.provider.is(8_001, "ada@example.com");
    assert_eq!(code_of(&scene.sign_in(&mut scene.browser(), "google", AGREED).await), json!("account_exists"));
    scene.sign_in(&mut scene.browser(), "github", "").await.expect(200);
    let events = scene.events(&mut ada).await;
    assert!(events.contains(&"identity_linked".to_owned()) && events.contains(&"identity_unlinked".to_owned()), "{events:?}");
    scene.finish().await;
}

#[tokio::test]
async fn linking_takes_a_proof_and_a_page_of_ours() {
    let scene = Scene::new().await;
    let mut ada = owner(&scene, "ada@example.com").await;
    let path = "/api/v1/me/identities/google";
    assert_eq!(ada.post(path, &json!({})).await.status, 400);
    assert_eq!(ada.post(path, &json!({"password": "wrong"})).await.status, 401);
    assert_eq!(ada.send(Method::DELETE, path, &json!({"password": "wrong"})).await.status, 401);
    let csrf_token = std::mem::take(&mut ada.csrf_token);
    assert_eq!(ada.post(path, &json!({"password": PASSWORD})).await.status, 403);
    ada.csrf_token = csrf_token;
    let key = ada.post("/api/v1/keys", &json!({"title": "k", "scopes": ["account"]})).await.expect(201);
    let program = Caller::new(&scene.app.url, key["key"].as_str().unwrap());
    assert_eq!(program.get("/api/v1/me/identities").await.status, 401, "a key is no proof of who sits there");
    assert_eq!(program.post(path, &json!({"password": PASSWORD})).await.status, 401);
    scene.finish().await;
}

/// A link that somebody began with a session that was ended links nothing, and one of another's session neither.
#[tokio::test]
async fn a_link_belongs_to_its_session() {
    let scene = Scene::new().await;
    let mut ada = owner(&scene, "ada@example.com").await;
    let proof = json!({"password": PASSWORD});
    let back = begin(&scene, &mut ada, "google", &proof).await;
    ada.post("/api/v1/auth/logout", &Value::Null).await.expect(204);
    assert_eq!(code_of(&ada.get(&back).await), json!("invalid_state"));

    ada.sign_in("ada@example.com", PASSWORD).await.expect(200);
    let back = begin(&scene, &mut ada, "google", &proof).await;
    ada.sign_in("ada@example.com", PASSWORD).await.expect(200);
    assert_eq!(code_of(&ada.get(&back).await), json!("invalid_state"), "a session of the same owner, but another one");

    let back = begin(&scene, &mut ada, "google", &proof).await;
    let change = json!({"new_password": "another long and odd sentence", "password": PASSWORD});
    ada.send(Method::PATCH, "/api/v1/me", &change).await.expect(200);
    assert_eq!(code_of(&ada.get(&back).await), json!("invalid_state"), "a new password ends what is under way");
    assert_eq!(ada.get("/api/v1/me/identities").await.expect(200)["data"], json!([]));
    scene.finish().await;
}

#[tokio::test]
async fn an_identity_opens_one_account() {
    let scene = Scene::new().await;
    scene.sign_in(&mut scene.browser(), "github", AGREED).await.expect(200);
    let mut bob = owner(&scene, "bob@example.com").await;
    let proof = json!({"password": PASSWORD});
    let back = begin(&scene, &mut bob, "github", &proof).await;
    let refused = bob.get(&back).await;
    assert_eq!((refused.status, code_of(&refused)), (409, json!("identity_linked")));

    // Two at once of one provider: one wins.
    scene.provider.is(1, "one@example.com");
    let one = begin(&scene, &mut bob, "google", &proof).await;
    scene.provider.is(2, "two@example.com");
    let two = begin(&scene, &mut bob, "google", &proof).await;
    let mut twin =
        Browser { caller: bob.caller.clone(), origin: bob.origin.clone(), cookies: bob.cookies.clone(), csrf_token: String::new() };
    let (one, two) = tokio::join!(bob.get(&one), twin.get(&two));
    let mut both = [one.status, two.status];
    both.sort_unstable();
    assert_eq!(both, [200, 409], "{} {}", one.text, two.text);
    scene.provider.is(3, "three@example.com");
    scene.provider.unverified();
    bob.send(Method::DELETE, "/api/v1/me/identities/google", &proof).await.expect(204);
    let back = begin(&scene, &mut bob, "google", &proof).await;
    assert_eq!(code_of(&bob.get(&back).await), json!("email_unverified"));
    scene.finish().await;
}

#[tokio::test]
async fn the_last_way_in_stays() {
    let scene = Scene::new().await;
    let mut ada = scene.browser();
    scene.sign_in(&mut ada, "google", AGREED).await.expect(200);
    let proof = json!({"mail_code": mailed_code(&scene, &mut ada).await});
    let refused = ada.send(Method::DELETE, "/api/v1/me/identities/google", &proof).await;
    assert_eq!((refused.status, code_of(&refused)), (409, json!("last_way_in")), "{}", refused.text);

    // With a second provider one of them may go, but not both.
    let proof = json!({"mail_code": mailed_code(&scene, &mut ada).await});
    let back = begin(&scene, &mut ada, "github", &proof).await;
    ada.get(&back).await.expect(200);
    let remove = |path: &'static str, code: String| ada.request(Method::DELETE, path).json(&json!({"mail_code": code}));
    // Only the newest code counts, so the second wish is made behind the first.
    let code = newest_code(&scene, &ada).await;
    Answer::of(remove("/api/v1/me/identities/google", code)).await.expect(204);
    let code = newest_code(&scene, &ada).await;
    let last = Answer::of(remove("/api/v1/me/identities/github", code)).await;
    assert_eq!((last.status, code_of(&last)), (409, json!("last_way_in")));
    scene.sign_in(&mut scene.browser(), "github", "").await.expect(200);
    scene.finish().await;
}

async fn newest_code(scene: &Scene, browser: &Browser) -> String {
    scene.app.advance(std::time::Duration::from_secs(1));
    Answer::of(browser.request(Method::POST, "/api/v1/me/confirmation-code")).await.expect(202);
    mails(&scene.app, "ada@example.com").await.iter().rev().find_map(|mail| mail.code()).expect("a code").to_owned()
}

/// A provider that is not set up any more is no way in.
#[tokio::test]
async fn a_provider_that_is_gone_does_not_count() {
    let scene = Scene::with(|settings| (settings.oauth.google.client_id, settings.oauth.google.client_secret) = (None, None)).await;
    let mut ada = scene.browser();
    let me = scene.sign_in(&mut ada, "github", AGREED).await.expect(200);
    let row = format!(
        "INSERT INTO external_identities (provider, subject, account_id, email, created_at) VALUES ('google', '1', '{}', 'ada@example.com', 1)",
        me["id"].as_str().unwrap()
    );
    scene.app.database.execute(&row).await;
    let proof = json!({"mail_code": mailed_code(&scene, &mut ada).await});
    let refused = ada.send(Method::DELETE, "/api/v1/me/identities/github", &proof).await;
    assert_eq!((refused.status, code_of(&refused)), (409, json!("last_way_in")), "{}", refused.text);
    scene.finish().await;
}
