//! The usual scene: a gateway, one upstream `mock`, one model on it with round prices, one account with credits and a key.

use pixgate::config::Settings;
use serde_json::{Value, json};

use super::{app::TestApp, client::Caller, upstream::Upstream};

/// What callers name; the upstream sees [`UPSTREAM_MODEL`].
pub const MODEL: &str = "test/chat";
pub const UPSTREAM_MODEL: &str = "chat";
/// Micros a token.
pub const INPUT_PRICE: i64 = 3;
pub const OUTPUT_PRICE: i64 = 7;
pub const CREDITS: i64 = 1_000_000;

pub struct World {
    pub app: TestApp,
    pub upstream: Upstream,
    pub account: String,
    pub caller: Caller,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(adjust: impl FnOnce(&mut Settings)) -> Self {
        Self::furnish(TestApp::start(adjust).await).await
    }

    /// With a clock that only the test moves.
    pub async fn manual(adjust: impl FnOnce(&mut Settings)) -> Self {
        Self::furnish(TestApp::manual(adjust).await).await
    }

    async fn furnish(app: TestApp) -> Self {
        let upstream = Upstream::start().await;
        app.admin.create_upstream("mock", &upstream.base_url(), &json!({})).await;
        app.admin.create_model(&model(MODEL, UPSTREAM_MODEL)).await;
        let account = app.admin.create_account("owner").await;
        app.admin.grant(&account, CREDITS).await;
        let caller = app.admin.caller_of(&account, &json!({})).await;
        Self { app, upstream, account, caller }
    }

    /// Another account with credits, and a caller for it.
    pub async fn another(&self, name: &str, micros: i64) -> (String, Caller) {
        let account = self.app.admin.create_account(name).await;
        if micros > 0 {
            self.app.admin.grant(&account, micros).await;
        }
        let caller = self.app.admin.caller_of(&account, &json!({})).await;
        (account, caller)
    }

    /// The one usage row of a call of the usual account.
    pub async fn usage_of(&self, request_id: &str) -> Value {
        self.app.admin.usage_of(&self.account, request_id).await
    }

    /// Micros spent by the usual account, when nothing is held any more.
    pub async fn spent(&self) -> i64 {
        self.app.admin.settled_balance(&self.account).await.spent
    }

    pub async fn finish(self) {
        self.app.finish().await;
    }
}

/// A chat model on `mock` with the usual prices and a cap of 100 output tokens.
pub fn model(id: &str, upstream_model: &str) -> Value {
    json!({
        "id": id, "kind": "chat", "display_name": id, "max_output_tokens": 100, "enabled": true,
        "prices": [token_price("input_token", INPUT_PRICE), token_price("output_token", OUTPUT_PRICE)],
        "routes": [{"upstream": "mock", "upstream_model": upstream_model}],
    })
}

pub fn token_price(unit: &str, micros: i64) -> Value {
    json!({"unit": unit, "micros": micros, "per": 1})
}

/// A model that costs this much a call, whatever it says.
pub fn flat_model(id: &str, upstream_model: &str, micros: i64) -> Value {
    let mut flat = model(id, upstream_model);
    flat["prices"] = json!([token_price("request", micros)]);
    flat
}

/// What this many tokens cost at the usual prices.
pub fn price(input: i64, output: i64) -> i64 {
    input * INPUT_PRICE + output * OUTPUT_PRICE
}

/// Our own count of a text.
pub fn count(text: &str) -> i64 {
    i64::try_from(bpe_openai::o200k_base().count(text)).expect("a small text")
}
