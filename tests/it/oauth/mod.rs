//! Sign-in with providers, over sockets, against a strict provider of our own: who gets in, who does not, and what is linked.

mod independent;
mod linking;
mod refusals;
mod second_factor;
mod sign_in;

use pixgate::config::Settings;
use reqwest::Method;
use serde_json::Value;

use crate::support::{
    app::TestApp,
    browser::Browser,
    client::{Answer, Caller},
    identity::IdentityProvider,
};

/// What a sign-up form sends along.
const AGREED: &str = "?accept_terms=true&age_confirmed=true";

/// A gateway and the provider that its people sign in with.
struct Scene {
    app: TestApp,
    provider: IdentityProvider,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(adjust: impl FnOnce(&mut Settings)) -> Self {
        // Noon of a day in the middle of a month, as the clock of the gateway.
        let provider = IdentityProvider::start(1_752_580_800_000_000).await;
        let app = TestApp::manual(|settings| {
            provider.set_up(settings);
            adjust(settings);
        })
        .await;
        provider.register(&app.url);
        Self { app, provider }
    }

    /// A browser that follows no redirects by itself.
    fn browser(&self) -> Browser {
        Browser { caller: Caller::not_following(&self.app.url), ..Browser::new(&self.app) }
    }

    /// What is at the provider, where the person agrees at once: the path of the way back.
    async fn agree(&self, url: &str) -> String {
        let answer = Answer::of(Caller::not_following("").anonymous(Method::GET, url)).await;
        assert_eq!(answer.status, 302, "{}", answer.text);
        self.path(answer.header("location").expect("a way back"))
    }

    fn path(&self, url: &str) -> String {
        url.strip_prefix(&self.app.url).unwrap_or_else(|| panic!("{url} is not of {}", self.app.url)).to_owned()
    }

    /// Begins a sign-in; answers with the path of the way back.
    async fn begin(&self, browser: &mut Browser, path: &str) -> String {
        let answer = browser.get(path).await;
        assert_eq!(answer.status, 302, "{}", answer.text);
        self.agree(answer.header("location").expect("a provider")).await
    }

    /// A whole sign-in.
    async fn sign_in(&self, browser: &mut Browser, provider: &str, query: &str) -> Answer {
        let back = self.begin(browser, &format!("/api/v1/auth/oauth/{provider}{query}")).await;
        browser.get(&back).await
    }

    /// Events of the security log of somebody who is signed in, by name: the clock stands still, so they have no order.
    async fn events(&self, browser: &mut Browser) -> Vec<String> {
        let log = browser.get("/api/v1/me/security-events").await.expect(200);
        let events = log["data"].as_array().expect("a list").iter();
        let mut names: Vec<String> = events.map(|event| event["event"].as_str().expect("a name").to_owned()).collect();
        names.sort_unstable();
        names
    }

    async fn accounts(&self) -> usize {
        self.app.admin.caller.list("/admin/v1/accounts?q=example.com").await.len()
    }

    async fn finish(self) {
        self.app.finish().await;
    }
}

fn code_of(answer: &Answer) -> Value {
    answer.json()["error"]["code"].clone()
}
