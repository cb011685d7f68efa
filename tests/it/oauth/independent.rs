//! The same sign-in against an OpenID provider that nobody here wrote: `oidc-provider-mock` of PyPI, over Authlib. `scripts/test.sh`
//! installs it and names its program in PIXGATE_TEST_OIDC_PROVIDER.

use std::process::{Child, Command, Stdio};

use pixgate::telemetry::redact::Secret;
use reqwest::Method;
use serde_json::json;

use super::{AGREED, code_of};
use crate::support::{
    app::TestApp,
    browser::Browser,
    client::{Answer, Caller, eventually},
    process::free_port,
};

const ADA: &str = r#"{"sub":"107691503500061507151","email":"ada@example.com","email_verified":true,"name":"Ada Lovelace"}"#;
const EVE: &str = r#"{"sub":"107691503500061507152","email":"eve@example.com","email_verified":false,"name":"Eve"}"#;

struct Provider {
    child: Child,
    url: String,
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Provider {
    async fn start(program: &str) -> Self {
        let port = free_port();
        let mut command = Command::new(program);
        command.args(["--port", &port.to_string(), "--require-nonce", "true", "--user-claims", ADA, "--user-claims", EVE]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the provider starts");
        let provider = Self { child, url: format!("http://127.0.0.1:{port}") };
        let caller = Caller::new(&provider.url, "");
        eventually("the provider answers", || async {
            let answer = Answer::read(caller.anonymous(Method::GET, "/.well-known/openid-configuration")).await;
            answer.ok().filter(|answer| answer.status == 200).map(|_| ())
        })
        .await;
        provider
    }
}

/// Goes to the provider, fills its form in, and comes back.
async fn sign_in(app: &TestApp, browser: &mut Browser, query: &str, form: &[(&str, &str)]) -> Answer {
    let begun = browser.get(&format!("/api/v1/auth/oauth/google{query}")).await;
    assert_eq!(begun.status, 302, "{}", begun.text);
    let url = begun.header("location").expect("a provider");
    let sent = Answer::of(Caller::not_following("").anonymous(Method::POST, url).form(form)).await;
    let back = sent.header("location").unwrap_or_else(|| panic!("no way back in {}: {}", sent.status, sent.text));
    browser.get(back.strip_prefix(&app.url).expect("a way back to us")).await
}

#[tokio::test]
async fn an_independent_provider_is_understood() {
    let Ok(program) = std::env::var("PIXGATE_TEST_OIDC_PROVIDER") else {
        eprintln!("left out: PIXGATE_TEST_OIDC_PROVIDER names no provider; scripts/test.sh installs one");
        return;
    };
    let provider = Provider::start(&program).await;
    let app = TestApp::start(|settings| {
        let google = &mut settings.oauth.google;
        google.issuer = provider.url.clone();
        (google.client_id, google.client_secret) = (Some("pixgate".to_owned()), Some(Secret::new("a secret")));
    })
    .await;
    let browser = || Browser { caller: Caller::not_following(&app.url), ..Browser::new(&app) };
    let mut ada = browser();
    let form = [("sub", "107691503500061507151")];
    let me = sign_in(&app, &mut ada, AGREED, &form).await.expect(200);
    assert_eq!((&me["email"], &me["name"], &me["verified"]), (&json!("ada@example.com"), &json!("Ada Lovelace"), &json!(true)));
    assert_eq!(sign_in(&app, &mut browser(), "", &form).await.expect(200)["id"], me["id"]);
    let unverified = sign_in(&app, &mut browser(), AGREED, &[("sub", "107691503500061507152")]).await;
    assert_eq!((unverified.status, code_of(&unverified)), (403, json!("email_unverified")), "{}", unverified.text);
    app.finish().await;
}
