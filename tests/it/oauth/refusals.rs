//! Who does not get in: whatever goes wrong, nobody is signed in and everybody is told what to do.

use std::time::Duration;

use pixgate::config::settings::SignUp;
use reqwest::Method;
use serde_json::json;

use super::{AGREED, Scene, code_of};
use crate::support::{
    browser::{Browser, PASSWORD, register, token, verified},
    client::Answer,
    identity::Twist,
};

#[track_caller]
fn has_no_session(browser: &Browser) {
    assert!(!browser.cookies.iter().any(|(name, _)| name.contains("session")), "{:?}", browser.cookies);
}

#[tokio::test]
async fn a_state_works_once_in_its_own_browser_and_not_for_ever() {
    let scene = Scene::new().await;
    for provider in ["google", "github"] {
        let begin = format!("/api/v1/auth/oauth/{provider}{AGREED}");
        let mut browser = scene.browser();
        // Of another browser, with and without a sign-in of its own.
        for has_own in [false, true] {
            let back = scene.begin(&mut browser, &begin).await;
            let mut stranger = scene.browser();
            if has_own {
                scene.begin(&mut stranger, &begin).await;
            }
            let refused = stranger.get(&back).await;
            assert_eq!((refused.status, code_of(&refused)), (400, json!("invalid_state")));
            has_no_session(&stranger);
        }
        // Unknown, missing, of another provider, too old.
        let other = if provider == "google" { "github" } else { "google" };
        let crossed = scene.begin(&mut browser, &begin).await.replace(provider, other);
        let late = scene.begin(&mut browser, &begin).await;
        let callback = format!("/api/v1/auth/oauth/{provider}/callback");
        for path in [crossed, format!("{callback}?state=unknown&code=c"), format!("{callback}?code=c"), callback.clone()] {
            let refused = browser.get(&path).await;
            assert_eq!((refused.status, code_of(&refused)), (400, json!("invalid_state")), "{path}");
        }
        scene.app.advance(Duration::from_secs(601));
        assert_eq!(code_of(&browser.get(&late).await), json!("invalid_state"));
        has_no_session(&browser);
        // Twice, also at the same time.
        scene.provider.is(if provider == "google" { 1 } else { 2 }, &format!("{provider}@example.com"));
        let back = scene.begin(&mut browser, &begin).await;
        let mut twin = scene.browser();
        twin.cookies = browser.cookies.clone();
        let (one, two) = tokio::join!(browser.get(&back), twin.get(&back));
        let mut both = [one.status, two.status];
        both.sort_unstable();
        assert_eq!(both, [200, 400], "{} {}", one.text, two.text);
        assert_eq!(scene.browser().get(&back).await.status, 400);
    }
    scene.finish().await;
}

#[tokio::test]
async fn id_tokens_that_do_not_hold_open_nothing() {
    let scene = Scene::new().await;
    let wrong = [
        Twist::Nonce,
        Twist::NoNonce,
        Twist::Audience,
        Twist::MoreAudiences,
        Twist::Issuer,
        Twist::Expired,
        Twist::Key,
        Twist::UnknownKey,
        Twist::Unsigned,
        Twist::Symmetric,
        Twist::OtherParty,
        Twist::OtherAccessToken,
        Twist::NoIdToken,
        Twist::ReturnIssuer,
    ];
    for twist in wrong {
        scene.provider.twist(twist);
        let mut browser = scene.browser();
        let refused = scene.sign_in(&mut browser, "google", AGREED).await;
        assert_eq!((refused.status, code_of(&refused)), (401, json!("sign_in_rejected")), "{twist:?}: {}", refused.text);
        has_no_session(&browser);
    }
    assert_eq!(scene.accounts().await, 0);
    scene.provider.twist(Twist::None);
    scene.sign_in(&mut scene.browser(), "google", AGREED).await.expect(200);
    scene.finish().await;
}

#[tokio::test]
async fn keys_are_kept_and_read_anew_when_they_change() {
    let scene = Scene::new().await;
    scene.sign_in(&mut scene.browser(), "google", AGREED).await.expect(200);
    scene.sign_in(&mut scene.browser(), "google", "").await.expect(200);
    let read = |scene: &Scene| (scene.provider.count("/oidc/.well-known/openid-configuration"), scene.provider.count("/oidc/jwks"));
    assert_eq!(read(&scene), (1, 1), "once for all");
    scene.provider.rotate("second", false);
    scene.sign_in(&mut scene.browser(), "google", "").await.expect(200);
    assert_eq!(read(&scene), (1, 2), "ES256 by a new key");
    // Tokens by unknown keys must not have us ask all the time.
    scene.provider.twist(Twist::UnknownKey);
    for _ in 0..3 {
        scene.sign_in(&mut scene.browser(), "google", "").await.expect(401);
    }
    assert_eq!(read(&scene), (1, 2));
    scene.app.advance(Duration::from_secs(60));
    scene.sign_in(&mut scene.browser(), "google", "").await.expect(401);
    assert_eq!(read(&scene), (1, 3));
    scene.finish().await;
}

#[tokio::test]
async fn a_provider_that_is_away_is_said_to_be() {
    let scene = Scene::with(|settings| settings.oauth.timeout_ms = 500).await;
    for provider in ["google", "github"] {
        for twist in [Twist::Fails, Twist::Hangs, Twist::Endless, Twist::Redirects, Twist::NoJson] {
            scene.provider.twist(twist);
            let mut browser = scene.browser();
            let refused = scene.sign_in(&mut browser, provider, AGREED).await;
            assert_eq!(
                (refused.status, code_of(&refused)),
                (502, json!("identity_provider_error")),
                "{provider} {twist:?}: {}",
                refused.text
            );
            has_no_session(&browser);
        }
    }
    scene.provider.twist(Twist::DocumentFails);
    let refused = scene.sign_in(&mut scene.browser(), "github", AGREED).await;
    assert_eq!((refused.status, code_of(&refused)), (502, json!("identity_provider_error")), "{}", refused.text);
    // Of a browser it is asked for a page.
    let fresh = Scene::new().await;
    fresh.provider.twist(Twist::DocumentFails);
    let browser = fresh.browser();
    let page = Answer::of(browser.request(Method::GET, "/api/v1/auth/oauth/google").header("accept", "text/html")).await;
    assert_eq!(page.status, 502);
    assert!(page.text.contains("<h1>") && page.text.contains("try again"), "{}", page.text);
    fresh.finish().await;
    scene.finish().await;
}

#[tokio::test]
async fn a_person_who_says_no_is_not_signed_in() {
    let scene = Scene::new().await;
    scene.provider.twist(Twist::Denied);
    for provider in ["google", "github"] {
        let mut browser = scene.browser();
        let back = scene.begin(&mut browser, &format!("/api/v1/auth/oauth/{provider}{AGREED}")).await;
        let page = Answer::of(browser.request(Method::GET, &back).header("accept", "text/html")).await;
        assert_eq!(page.status, 403);
        assert!(page.text.contains("cancelled") && !page.text.contains("<b>no</b>"), "{}", page.text);
        has_no_session(&browser);
        assert_eq!(code_of(&browser.get(&back).await), json!("invalid_state"), "it is used up");
        let denied = scene.sign_in(&mut browser, provider, AGREED).await;
        assert_eq!(code_of(&denied), json!("access_denied"));
    }
    scene.finish().await;
}

#[tokio::test]
async fn addresses_must_be_verified_by_the_provider_and_free_here() {
    let scene = Scene::new().await;
    let mut owner = verified(&scene.app, "ada@example.com").await;
    for provider in ["google", "github"] {
        let mut browser = scene.browser();
        let refused = scene.sign_in(&mut browser, provider, AGREED).await;
        assert_eq!((refused.status, code_of(&refused)), (409, json!("account_exists")), "{}", refused.text);
        has_no_session(&browser);
        scene.provider.unverified();
        let refused = scene.sign_in(&mut browser, provider, AGREED).await;
        assert_eq!((refused.status, code_of(&refused)), (403, json!("email_unverified")), "{}", refused.text);
        has_no_session(&browser);
        scene.provider.is(7_001, "ada@example.com");
    }
    assert_eq!(scene.events(&mut owner).await, ["identity_refused", "identity_refused", "sign_in", "sign_up"]);
    assert_eq!(owner.get("/api/v1/me/identities").await.expect(200)["data"], json!([]));
    scene.finish().await;
}

/// A stranger registered the address before its owner came with a provider: the owner gets the account by a mailed link, and nothing of
/// the stranger's is left on it.
#[tokio::test]
async fn nobody_prepares_an_account_for_somebody_who_comes_with_a_provider() {
    let scene = Scene::new().await;
    let mut stranger = register(&scene.app, "ada@example.com").await;
    stranger.sign_in("ada@example.com", PASSWORD).await.expect(200);
    let link = stranger.post("/api/v1/me/identities/github", &json!({"password": PASSWORD})).await;
    assert_eq!((link.status, code_of(&link)), (403, json!("email_unverified")), "an identity waits for the proof");
    let mut ada = scene.browser();
    let refused = scene.sign_in(&mut ada, "google", AGREED).await;
    assert_eq!(code_of(&refused), json!("account_exists"));
    assert!(refused.text.contains("/auth/forgot"));
    ada.post("/api/v1/auth/forgot", &json!({"email": "ada@example.com"})).await.expect(202);
    let reset = token(&scene.app, "ada@example.com", "reset_password").await;
    ada.post("/api/v1/auth/reset", &json!({"token": reset, "password": "another long and odd sentence"})).await.expect(200);
    assert_eq!(stranger.get("/api/v1/me").await.status, 401);
    ada.sign_in("ada@example.com", "another long and odd sentence").await.expect(200);
    scene.finish().await;
}

/// An account whose proof an admin took back belongs to whoever proves the address next; the identity of before opens it no more.
#[tokio::test]
async fn an_identity_ends_with_the_proof_of_the_address() {
    let scene = Scene::new().await;
    let me = scene.sign_in(&mut scene.browser(), "google", AGREED).await.expect(200);
    let path = format!("/admin/v1/accounts/{}", me["id"].as_str().unwrap());
    scene.app.admin.caller.patch(&path, &json!({"verified": false})).await.expect(200);
    let mut owner = scene.browser();
    owner.post("/api/v1/auth/forgot", &json!({"email": "ada@example.com"})).await.expect(202);
    let reset = token(&scene.app, "ada@example.com", "reset_password").await;
    owner.post("/api/v1/auth/reset", &json!({"token": reset, "password": PASSWORD})).await.expect(200);
    let refused = scene.sign_in(&mut scene.browser(), "google", AGREED).await;
    assert_eq!(code_of(&refused), json!("account_exists"));
    scene.finish().await;
}

#[tokio::test]
async fn sign_ups_follow_the_rules_of_registering() {
    let scene = Scene::with(|settings| settings.abuse.sign_ups_per_ip_day = 1).await;
    scene.app.admin.caller.post("/admin/v1/blocked-domains", &json!({"domain": "blocked.example"})).await.success();
    scene.provider.is(1, "eve@mail.blocked.example");
    assert_eq!(scene.sign_in(&mut scene.browser(), "google", AGREED).await.status, 400);
    scene.provider.is(2, "bob@example.com");
    scene.sign_in(&mut scene.browser(), "google", AGREED).await.expect(200);
    scene.provider.is(3, "carol@example.com");
    assert_eq!(scene.sign_in(&mut scene.browser(), "google", AGREED).await.status, 429);
    scene.provider.is(2, "bob@example.com");
    scene.sign_in(&mut scene.browser(), "google", "").await.expect(200);
    scene.finish().await;

    let closed = Scene::with(|settings| settings.accounts.sign_up = SignUp::Closed).await;
    let refused = closed.sign_in(&mut closed.browser(), "github", AGREED).await;
    assert_eq!((refused.status, code_of(&refused)), (403, json!("sign_up_closed")));
    closed.finish().await;
}

#[tokio::test]
async fn suspended_people_look_and_closed_ones_do_not() {
    let scene = Scene::new().await;
    let me = scene.sign_in(&mut scene.browser(), "google", AGREED).await.expect(200);
    let path = format!("/admin/v1/accounts/{}", me["id"].as_str().unwrap());
    scene.app.admin.caller.patch(&path, &json!({"status": "suspended"})).await.expect(200);
    let seen = scene.sign_in(&mut scene.browser(), "google", "").await.expect(200);
    assert_eq!(seen["status"], json!("suspended"));
    scene.app.admin.caller.patch(&path, &json!({"status": "closed"})).await.expect(200);
    let mut browser = scene.browser();
    let refused = scene.sign_in(&mut browser, "google", AGREED).await;
    assert_eq!((refused.status, code_of(&refused)), (403, json!("account_suspended")));
    has_no_session(&browser);
    scene.finish().await;
}
