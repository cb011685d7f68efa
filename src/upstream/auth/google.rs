//! Access tokens of Google's service accounts (RFC 7523): signed, asked for, kept until shortly before they end.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::{
    digest,
    rand::SystemRandom,
    signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderValue, Uri};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{
    clock::Clock,
    dialect::parse_upstream_error,
    domain::{SECOND, Timestamp},
    telemetry::redact::Secret,
    upstream::Failure,
};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// How long an assertion is good for; Google allows no more.
const ASSERTION_SECONDS: i64 = 3_600;
/// A token this close to its end is replaced, by one call while the others go on with it.
const REFRESH_BEFORE: Timestamp = 300 * SECOND;
/// A token this close to its end is not used any more.
const UNUSABLE_BEFORE: Timestamp = 20 * SECOND;
/// Keys whose tokens are kept for one upstream; callers may bring their own.
const KEYS_MAX: usize = 1_024;

/// What the JSON file of a service account says.
#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    private_key: Secret,
    #[serde(default)]
    private_key_id: Option<String>,
    #[serde(default)]
    token_uri: Option<String>,
    #[serde(default)]
    project_id: Option<String>,
    #[serde(default)]
    quota_project_id: Option<String>,
}

/// A service account that can sign.
pub struct ServiceAccount {
    email: String,
    key: RsaKeyPair,
    key_id: Option<String>,
    token_uri: Uri,
    project: Option<String>,
    quota_project: Option<HeaderValue>,
    /// Names the key among the tokens that are kept.
    digest: [u8; 32],
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccount").field("project", &self.project).finish_non_exhaustive()
    }
}

impl ServiceAccount {
    pub fn parse(json: &str) -> Result<Self, String> {
        let file: KeyFile = serde_json::from_str(json).map_err(|error| {
            // The error's own words may repeat a part of the key.
            format!("the API key is no JSON of a service account (line {}, column {})", error.line(), error.column())
        })?;
        let unusable = "the private_key of the service account cannot be used";
        let der =
            PrivatePkcs8KeyDer::from_pem_slice(file.private_key.expose().as_bytes()).map_err(|_| format!("{unusable}: it is no PEM"))?;
        let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| format!("{unusable}: it is no RSA key"))?;
        let token_uri = file.token_uri.as_deref().unwrap_or(TOKEN_URI);
        let quota_project = file.quota_project_id.as_deref().and_then(|project| HeaderValue::from_str(project).ok());
        let seen = digest::digest(&digest::SHA256, key.public_key().as_ref());
        let mut digest = [0; 32];
        digest.copy_from_slice(seen.as_ref());
        Ok(Self {
            email: file.client_email,
            key,
            key_id: file.private_key_id,
            token_uri: token_uri.parse().map_err(|_| "token_uri of the service account is no URL".to_owned())?,
            project: file.project_id,
            quota_project,
            digest,
        })
    }

    pub fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }

    pub fn quota_project(&self) -> Option<&HeaderValue> {
        self.quota_project.as_ref()
    }

    /// Whether tokens are asked for at Google, and not at a host that the key names.
    pub fn asks_google(&self) -> bool {
        self.token_uri == TOKEN_URI
    }

    /// The signed claim that is given for a token.
    fn assertion(&self, now: Timestamp) -> Result<String, String> {
        let issued_at = now / SECOND;
        let header = serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": self.key_id});
        let claims = serde_json::json!({
            "iss": self.email, "scope": SCOPE, "aud": self.token_uri.to_string(), "iat": issued_at, "exp": issued_at + ASSERTION_SECONDS,
        });
        let mut text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|_| "the service account's key does not sign".to_owned())?;
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut text);
        Ok(text)
    }
}

/// A form to be posted for a token; the answer's body is wanted.
pub struct TokenRequest {
    pub uri: Uri,
    pub body: String,
}

/// Tokens by key, shared by all threads of a node.
#[derive(Default)]
pub struct GoogleTokens(Mutex<HashMap<[u8; 32], Arc<Slot>>>);

impl fmt::Debug for GoogleTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GoogleTokens(…)")
    }
}

#[derive(Default)]
struct Slot {
    token: Mutex<Option<Token>>,
    /// Held by the one call that asks for a new token.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Token {
    header: HeaderValue,
    expires_at: Timestamp,
}

#[derive(Deserialize)]
struct Granted {
    access_token: Secret,
    #[serde(default)]
    expires_in: Option<i64>,
}

impl Slot {
    /// The token, if it is good for another `margin`.
    fn token(&self, now: Timestamp, margin: Timestamp) -> Option<HeaderValue> {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        token.as_ref().filter(|token| token.expires_at - now > margin).map(|token| token.header.clone())
    }
}

impl GoogleTokens {
    fn slot(&self, account: &ServiceAccount) -> Arc<Slot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= KEYS_MAX && !slots.contains_key(&account.digest) {
            slots.clear();
        }
        slots.entry(account.digest).or_default().clone()
    }

    /// `Bearer …` with a token that is good for a while. One call asks for it; those that come meanwhile wait, or go on with the old one
    /// while that is good.
    pub async fn token<F>(
        &self,
        account: &ServiceAccount,
        clock: &Clock,
        ask: impl FnOnce(TokenRequest) -> F,
    ) -> Result<HeaderValue, Failure>
    where
        F: Future<Output = Result<Bytes, Failure>>,
    {
        let slot = self.slot(account);
        if let Some(token) = slot.token(clock.now(), REFRESH_BEFORE) {
            return Ok(token);
        }
        let usable = slot.token(clock.now(), UNUSABLE_BEFORE);
        let _asking = match (slot.asking.try_lock(), usable) {
            (Ok(asking), _) => asking,
            (Err(_), Some(token)) => return Ok(token),
            (Err(_), None) => slot.asking.lock().await,
        };
        if let Some(token) = slot.token(clock.now(), REFRESH_BEFORE) {
            return Ok(token);
        }
        let asked_at = clock.now();
        let assertion = account.assertion(asked_at).map_err(Failure::Connect)?;
        let body = format!("grant_type={}&assertion={assertion}", GRANT_TYPE.replace(':', "%3A"));
        let granted = ask(TokenRequest { uri: account.token_uri.clone(), body }).await.and_then(|answer| read(&answer, asked_at));
        match (granted, slot.token(clock.now(), UNUSABLE_BEFORE)) {
            (Ok(token), _) => {
                let header = token.header.clone();
                *slot.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
                Ok(header)
            }
            (Err(failure), Some(old)) => {
                tracing::warn!(error = %failure, "an access token could not be renewed; the old one is still good for a moment");
                Ok(old)
            }
            (Err(failure), None) => Err(failure),
        }
    }

    pub fn forget(&self, account: &ServiceAccount) {
        *self.slot(account).token.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn read(answer: &[u8], asked_at: Timestamp) -> Result<Token, Failure> {
    let garbage = |why: String| Failure::Garbage(format!("no access token came: {why}"));
    let granted: Granted = serde_json::from_slice(answer).map_err(|_| garbage(parse_upstream_error(answer)))?;
    let text = Zeroizing::new(format!("Bearer {}", granted.access_token.expose()));
    let mut header = HeaderValue::from_str(&text).map_err(|_| garbage("it has characters that no header can carry".to_owned()))?;
    header.set_sensitive(true);
    let seconds = granted.expires_in.unwrap_or(ASSERTION_SECONDS).clamp(0, ASSERTION_SECONDS * 24);
    Ok(Token { header, expires_at: asked_at + seconds * SECOND })
}

#[cfg(test)]
pub mod tests;
