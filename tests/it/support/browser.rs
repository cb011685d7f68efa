//! An owner in front of a browser: cookies are kept, and requests carry what pages of ours send. And the mails an owner gets.

use pixgate::{
    config::{Settings, secrets},
    domain::mail::Message,
    store::{self, seal::Sealer},
};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{
    app::TestApp,
    client::{Answer, Caller},
};

pub const PASSWORD: &str = "correct horse battery staple";

/// A browser: it keeps cookies and sends what pages of ours send.
pub struct Browser {
    pub caller: Caller,
    pub origin: String,
    pub cookies: Vec<(String, String)>,
    pub csrf_token: String,
}

impl Browser {
    pub fn new(app: &TestApp) -> Self {
        Self::at(&app.url)
    }

    /// In front of a gateway with this URL.
    pub fn at(url: &str) -> Self {
        Self { caller: Caller::new(url, ""), origin: url.to_owned(), cookies: Vec::new(), csrf_token: String::new() }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = self.caller.anonymous(method, path).header("origin", &self.origin).header("x-csrf-token", &self.csrf_token);
        if cookies.is_empty() { request } else { request.header("cookie", cookies.join("; ")) }
    }

    pub async fn send(&mut self, method: Method, path: &str, body: &Value) -> Answer {
        let request = self.request(method, path);
        let answer = Answer::of(if body.is_null() { request } else { request.json(body) }).await;
        for cookie in answer.headers.get_all("set-cookie") {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        if let Some(token) = serde_json::from_str::<Value>(&answer.text).ok().as_ref().and_then(|body| body["csrf_token"].as_str()) {
            self.csrf_token = token.to_owned();
        }
        answer
    }

    pub async fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, body).await
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &Value::Null).await
    }

    pub async fn sign_in(&mut self, email: &str, password: &str) -> Answer {
        self.post("/api/v1/auth/login", &json!({"email": email, "password": password})).await
    }
}

/// The mails that wait for an address, opened with the node's own secret.
pub async fn mails(app: &TestApp, recipient: &str) -> Vec<Message> {
    let settings = Settings::default();
    let secrets = secrets::load_or_create(&app.data_dir(), &settings).unwrap();
    let sealer = Sealer::new(&secrets.sealing_key).unwrap();
    let db = app.database.open().await;
    let messages = store::outbox::waiting_for(&db, &sealer, recipient).await.unwrap();
    db.close().await.unwrap();
    messages
}

/// The token in the link of the newest mail of a kind.
pub async fn token(app: &TestApp, recipient: &str, kind: &str) -> String {
    let all = mails(app, recipient).await;
    let message = all.iter().rev().find(|message| message.kind() == kind).unwrap_or_else(|| panic!("no {kind} for {recipient}: {all:?}"));
    message.link().unwrap().split_once("token=").unwrap().1.to_owned()
}

pub async fn register(app: &TestApp, email: &str) -> Browser {
    let mut browser = Browser::new(app);
    browser.post("/api/v1/auth/register", &json!({"email": email, "password": PASSWORD, "name": "Ada", "locale": "en"})).await.expect(201);
    browser
}

pub async fn verified(app: &TestApp, email: &str) -> Browser {
    let mut browser = register(app, email).await;
    let token = token(app, email, "verify_email").await;
    browser.post("/api/v1/auth/verify", &json!({"token": token})).await.expect(200);
    browser.sign_in(email, PASSWORD).await.expect(200);
    browser
}
