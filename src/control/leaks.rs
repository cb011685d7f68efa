//! Keys that were found where they should not be: revoked at once, and their owners told. Whoever holds a key may report it, since
//! with the key one could do worse; scanners sign what they report.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Actor, Control, ControlError, accounts, audit, mail, people::guard::network};
use crate::{
    actors::throttle::{Rule, Throttle},
    clock::Clock,
    domain::{
        SECOND, Timestamp,
        api_key::{ApiKey, Shape},
        mail::Message,
        refusal::{LimitScope, Refusal},
    },
    store,
    telemetry::redact::{Secret, scrub},
};

/// Reports without a signature from one address: so many at once, and one every so often.
const REPORTS_BURST: u32 = 20;
const REPORT_EVERY: Duration = Duration::from_secs(3);
const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
/// A signature with an unknown key makes us look for new keys this often at most.
const FETCH_EVERY: Timestamp = 60 * SECOND;
/// Keys of the document are believed for so long, so that one that is withdrawn does not live on.
const KEYS_LIFE: Timestamp = 24 * 3_600 * SECOND;
const URL_CHARS_MAX: usize = 500;
const REASON: &str = "leaked";

/// Where a key was found.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct Leak {
    /// The key.
    #[schema(value_type = String)]
    pub token: Secret,
    /// Where it was found.
    #[serde(default)]
    pub url: Option<String>,
    /// What kind of place that is, for example `content`.
    #[serde(default)]
    pub source: Option<String>,
}

/// Whether what was found is a key of this gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    TruePositive,
    FalsePositive,
}

/// What reports are checked with. Clones share it.
#[derive(Clone)]
pub struct LeakDesk(Arc<Desk>);

struct Desk {
    throttle: Throttle,
    /// Of the file.
    fixed: PublicKeys,
    url: Option<String>,
    fetched: Mutex<Fetched>,
}

/// Public keys by their ids, as DER.
type PublicKeys = HashMap<String, Vec<u8>>;

#[derive(Default)]
struct Fetched {
    keys: PublicKeys,
    fetched_at: Option<Timestamp>,
    asked_at: Option<Timestamp>,
}

impl LeakDesk {
    /// `document` holds public keys that are always believed, `url` names a place where more are published. Says what is wrong with the
    /// document.
    pub fn new(clock: Clock, document: Option<&str>, url: Option<String>) -> Result<Self, String> {
        let fixed = document.map_or_else(|| Ok(HashMap::new()), |text| parse_document(text.as_bytes()))?;
        let throttle = Throttle::new(Rule { burst: REPORTS_BURST, every: REPORT_EVERY }, &clock);
        Ok(Self(Arc::new(Desk { throttle, fixed, url, fetched: Mutex::default() })))
    }

    /// Whether reports can be signed at all.
    pub fn takes_signed_reports(&self) -> bool {
        !self.0.fixed.is_empty() || self.0.url.is_some()
    }

    /// Counts one report without a signature.
    pub fn throttle(&self, address: Option<IpAddr>) -> Result<(), Refusal> {
        let outcome = self.0.throttle.check(&network(address));
        outcome.map_err(|retry_after_ms| Refusal::Throttled { what: "reports of leaked keys", scope: LimitScope::Ip, retry_after_ms })
    }

    fn known(&self, id: &str, now: Timestamp) -> Option<Vec<u8>> {
        if let Some(key) = self.0.fixed.get(id) {
            return Some(key.clone());
        }
        let fetched = self.0.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = fetched.fetched_at.is_some_and(|at| now - at < KEYS_LIFE);
        fetched.keys.get(id).filter(|_| is_fresh).cloned()
    }

    /// Whether the published keys may be asked for now. Counts as asked.
    fn may_ask(&self, now: Timestamp) -> bool {
        let mut fetched = self.0.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        let may = fetched.asked_at.is_none_or(|at| now - at >= FETCH_EVERY);
        if may {
            fetched.asked_at = Some(now);
        }
        may
    }
}

fn parse_document(bytes: &[u8]) -> Result<PublicKeys, String> {
    #[derive(Deserialize)]
    struct Document {
        public_keys: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        key_identifier: String,
        key: String,
    }
    let document: Document = serde_json::from_slice(bytes).map_err(|error| format!("it is no list of public keys: {error}"))?;
    let read = |entry: Entry| {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(entry.key.as_bytes())
            .map_err(|error| format!("the key {} is no PEM of a public key: {error:?}", entry.key_identifier))?;
        Ok((entry.key_identifier, der.as_ref().to_vec()))
    };
    document.public_keys.into_iter().map(read).collect()
}

/// Whether `body` was signed (ECDSA on P-256 with SHA-256, DER in base64) by the key of this id. [`Refusal::BadSignature`] when not.
pub async fn check_signature(control: &Control, key_id: &str, signature: &str, body: &[u8]) -> Result<(), ControlError> {
    const UNKNOWN: Refusal = Refusal::BadSignature("the report is signed with a key that is not known here");
    const WRONG: Refusal = Refusal::BadSignature("the signature of the report is wrong");
    let now = control.clock.now();
    let key = match control.leaks.known(key_id, now) {
        Some(key) => key,
        None => {
            ask(control, now).await?;
            control.leaks.known(key_id, now).ok_or(UNKNOWN)?
        }
    };
    let signature = STANDARD.decode(signature.trim()).map_err(|_| WRONG)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &key).verify(body, &signature).map_err(|_| WRONG.into())
}

/// Asks for the published keys, if that was not done a moment ago.
async fn ask(control: &Control, now: Timestamp) -> Result<(), ControlError> {
    let desk = &control.leaks;
    let Some(url) = desk.0.url.as_deref().filter(|_| desk.may_ask(now)) else { return Ok(()) };
    let fetched = control.connector.document(url, DOCUMENT_BYTES_MAX).await.map_err(|failure| failure.to_string());
    let keys = fetched.and_then(|bytes| parse_document(&bytes)).map_err(|why| {
        tracing::warn!(url, error = %why, "the public keys of secret scanning could not be fetched");
        ControlError::Unavailable("the public keys that reports are signed with cannot be fetched now".to_owned())
    })?;
    let mut fetched = desk.0.fetched.lock().unwrap_or_else(PoisonError::into_inner);
    (fetched.keys, fetched.fetched_at) = (keys, Some(now));
    Ok(())
}

/// Revokes the key that was found, from its next call on, and tells its owner. A key that is revoked already stays as it is.
pub async fn report(control: &Control, reporter: &'static str, leak: &Leak) -> Result<Verdict, ControlError> {
    let Some(key) = find(control, &leak.token).await? else { return Ok(Verdict::FalsePositive) };
    if key.revoked_at.is_some() {
        return Ok(Verdict::TruePositive);
    }
    let url = leak.url.as_deref().map(|url| place(url, leak.token.expose()));
    let account = accounts::get(control, &key.account_id).await?;
    let message =
        Message::KeyLeaked { title: key.title.clone(), prefix: key.prefix.clone(), last4: key.last4.clone(), found_at: url.clone() };
    let letter = mail::to_account(control, &account, message);
    let was_live = store::keys::revoke(&control.db, &control.sealer, &key.id, REASON, control.clock.now(), &letter).await?;
    control.accounts.changed(&account.locator).await;
    if was_live {
        let actor = Actor { id: reporter.to_owned() };
        let source = leak.source.as_deref().map(|source| place(source, leak.token.expose()));
        let details = json!({ "account_id": key.account_id, "reason": REASON, "url": url, "source": source });
        audit::note(control, &actor, "key.leaked", &key.id, details).await;
        tracing::warn!(key.id = %key.id, account.id = %key.account_id, reporter, "a leaked key was reported and is revoked");
    }
    Ok(Verdict::TruePositive)
}

async fn find(control: &Control, text: &Secret) -> Result<Option<ApiKey>, ControlError> {
    match Shape::of(text.expose()) {
        Err(_) => return Ok(None),
        Ok(Shape::Standard(_)) => {}
        // It may still be kept as its text.
        Ok(Shape::Foreign) => {
            control.legacy_tools.take_over(text).await?;
        }
    }
    Ok(store::keys::find_by_digest(&control.db, control.hasher.digests(text.expose()).all()).await?)
}

/// Where a key was found, as it may be shown and kept: short, printable, and without the key, which some addresses contain.
fn place(text: &str, token: &str) -> String {
    let text: String = text.chars().filter(|letter| !letter.is_control()).take(URL_CHARS_MAX).collect();
    scrub(&text.replace(token, "…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_of_public_keys_is_read() {
        let document = r#"{"public_keys":[{"key_identifier":"k1","is_current":true,"key":
            "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE9MJJHnMfn2+H4xL4YaPDA4RpJqUq\nkCmRCBnYERxZanmcpzQSXs1X/AljlKkbJ8qpVIW4clayyef9gWhFbNHWAA==\n-----END PUBLIC KEY-----"}]}"#;
        let keys = parse_document(document.as_bytes()).unwrap();
        // The worked example of GitHub's documentation.
        let body = br#"[{"token":"some_token","type":"some_type","url":"some_url"}]"#;
        let signature = "MEUCIQDKZokqnCjrRtw0tni+2Ltvl/uiMJ1EGumEsp1BsNr32AIgQY1YXD2nlj+XNfGK4rBfkMJ1JDOQcYXxa2sY8FNkrKc=";
        let signature = STANDARD.decode(signature).unwrap();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &keys["k1"]);
        assert!(key.verify(body, &signature).is_ok());
        assert!(key.verify(&body[1..], &signature).is_err());
        assert!(parse_document(b"[]").is_err() && parse_document(br#"{"public_keys":[{"key_identifier":"k","key":"x"}]}"#).is_err());
    }

    #[test]
    fn places_do_not_repeat_the_key() {
        assert_eq!(place("https://a.example/?q=sk-found\n#1", "sk-found"), "https://a.example/?q=…#1");
        assert_eq!(place(&"x".repeat(600), "y").len(), URL_CHARS_MAX);
    }
}
