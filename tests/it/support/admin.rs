//! The operator: what tests set up and look up through the admin API.

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Answer, Caller, encode, eventually};

pub const ADMIN_KEY: &str = "test-admin-key-0123456789-abcdefghij";

#[derive(Clone)]
pub struct Admin {
    pub caller: Caller,
}

/// A new key, with the secret that is shown only once.
#[derive(Debug, Clone)]
pub struct NewKey {
    pub id: String,
    pub key: String,
}

/// The answer of `GET …/balance`, in micros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    pub available: i64,
    pub held: i64,
    pub debt: i64,
    pub granted: i64,
    pub spent: i64,
    pub expired: i64,
    pub revoked: i64,
}

impl Balance {
    /// The identity that holds at every moment.
    #[track_caller]
    pub fn adds_up(self) -> Self {
        let (left, right) = (self.available + self.held + self.spent + self.expired + self.revoked, self.granted + self.debt);
        assert_eq!(left, right, "available + held + spent + expired + revoked = granted + debt: {self:?}");
        assert!(self.available >= 0 && self.held >= 0 && self.debt >= 0, "{self:?}");
        self
    }
}

impl Admin {
    pub fn new(base: &str) -> Self {
        Self { caller: Caller::new(base, ADMIN_KEY) }
    }

    /// A verified account without credits. The name makes the e-mail address.
    pub async fn create_account(&self, name: &str) -> String {
        self.create_account_from(&json!({"email": format!("{name}@example.com"), "name": name, "verified": true})).await
    }

    pub async fn create_account_from(&self, body: &Value) -> String {
        let account = self.caller.post("/admin/v1/accounts", body).await.success();
        account["id"].as_str().expect("an id").to_owned()
    }

    pub async fn patch_account(&self, account: &str, body: &Value) -> Value {
        self.caller.patch(&format!("/admin/v1/accounts/{account}"), body).await.success()
    }

    /// Grants credits, under an Idempotency-Key of its own.
    pub async fn grant(&self, account: &str, micros: i64) -> Value {
        let body = json!({"amount_micros": micros, "reason": "test"});
        let key = pixgate::clock::Clock::system().new_id("grant");
        self.grant_as(account, &key, &body).await.success()
    }

    pub async fn grant_as(&self, account: &str, idempotency_key: &str, body: &Value) -> Answer {
        self.caller.post_with(&format!("/admin/v1/accounts/{account}/grants"), &[("idempotency-key", idempotency_key)], body).await
    }

    /// A key with these fields beside the title.
    pub async fn create_key(&self, account: &str, fields: &Value) -> NewKey {
        let mut body = fields.clone();
        body["title"] = json!("test");
        let key = self.caller.post(&format!("/admin/v1/accounts/{account}/keys"), &body).await.success();
        NewKey { id: key["id"].as_str().expect("an id").to_owned(), key: key["key"].as_str().expect("the secret, once").to_owned() }
    }

    /// A caller with a new key of this account.
    pub async fn caller_of(&self, account: &str, fields: &Value) -> Caller {
        self.caller.with_key(&self.create_key(account, fields).await.key)
    }

    pub async fn create_upstream(&self, name: &str, base_url: &str, fields: &Value) {
        let mut body = json!({"name": name, "provider": "openai", "base_url": base_url, "api_key": "upstream-secret", "enabled": true});
        for (field, value) in fields.as_object().into_iter().flatten() {
            body[field] = value.clone();
        }
        self.caller.post("/admin/v1/upstreams", &body).await.success();
    }

    pub async fn patch_upstream(&self, name: &str, body: &Value) -> Value {
        self.caller.patch(&format!("/admin/v1/upstreams/{}", encode(name)), body).await.success()
    }

    pub async fn create_model(&self, body: &Value) {
        self.caller.post("/admin/v1/models", body).await.success();
    }

    pub async fn patch_model(&self, id: &str, body: &Value) -> Value {
        self.caller.patch(&format!("/admin/v1/models/{}", encode(id)), body).await.success()
    }

    pub async fn balance(&self, account: &str) -> Balance {
        let body = self.caller.get(&format!("/admin/v1/accounts/{account}/balance")).await.expect(200);
        let micros = |name: &str| body[name].as_i64().unwrap_or_else(|| panic!("{name} in {body}"));
        let balance = Balance {
            available: micros("available_micros"),
            held: micros("held_micros"),
            debt: micros("debt_micros"),
            granted: micros("granted_micros"),
            spent: micros("spent_micros"),
            expired: micros("expired_micros"),
            revoked: micros("revoked_micros"),
        };
        balance.adds_up()
    }

    /// The balance once no call holds anything.
    pub async fn settled_balance(&self, account: &str) -> Balance {
        eventually("nothing is held", || async { Some(self.balance(account).await).filter(|balance| balance.held == 0) }).await
    }

    pub async fn usage(&self, account: &str) -> Vec<Value> {
        self.caller.list(&format!("/admin/v1/accounts/{account}/usage")).await
    }

    /// The one usage row of this request, as soon as it is visible.
    pub async fn usage_of(&self, account: &str, request_id: &str) -> Value {
        let rows = eventually("the call's usage row", || async {
            let rows = self.usage(account).await;
            let rows: Vec<Value> = rows.into_iter().filter(|row| row["request_id"] == json!(request_id)).collect();
            Some(rows).filter(|rows| !rows.is_empty())
        });
        let rows = rows.await;
        assert_eq!(rows.len(), 1, "one row a call: {rows:?}");
        rows[0].clone()
    }

    pub async fn ledger(&self, account: &str) -> Vec<Value> {
        self.caller.list(&format!("/admin/v1/accounts/{account}/ledger")).await
    }

    /// Every balance, derived anew, is what it should be.
    pub async fn check_ledger(&self) {
        let check = self.caller.get("/admin/v1/ledger/check").await.expect(200);
        assert_eq!(check["differences"], json!([]), "{check}");
        assert!(check["checked"].as_i64().is_some_and(|checked| checked > 0), "{check}");
    }

    /// Every actor of the tree, flat.
    pub async fn actors(&self) -> Vec<Value> {
        fn flatten(node: &Value, into: &mut Vec<Value>) {
            for child in node.as_array().or_else(|| node["children"].as_array()).or_else(|| node["data"].as_array()).into_iter().flatten() {
                into.push(child.clone());
                flatten(child, into);
            }
        }
        let tree = self.caller.get("/admin/v1/actors").await.expect(200);
        let mut actors = Vec::new();
        if tree["kind"].is_string() {
            actors.push(tree.clone());
        }
        flatten(&tree, &mut actors);
        actors
    }

    /// All that must hold when no call runs any more: nothing is held, everything adds up, no actor had to be restarted.
    pub async fn all_is_well(&self) {
        for account in self.caller.list("/admin/v1/accounts").await {
            self.settled_balance(account["id"].as_str().expect("an id")).await;
        }
        self.check_ledger().await;
        for actor in self.actors().await {
            assert_eq!(actor["restarts"], json!(0), "an actor was restarted: {actor}");
        }
    }

    pub async fn is_ready(&self) -> bool {
        let ready = Answer::read(self.caller.anonymous(Method::GET, "/readyz")).await;
        ready.is_ok_and(|answer| answer.status == 200)
    }
}
