//! How a call proves whose it is: keys in headers, Amazon's signatures, Google's tokens.
//!
//! Absent on purpose: which key a call uses (see `key_ring`), where keys are kept (see `store::seal`).

mod aws;
mod google;

use std::fmt;

use http::{HeaderName, HeaderValue, Method, Request, Uri, header::AUTHORIZATION};
use zeroize::Zeroizing;

#[cfg(test)]
pub(in crate::upstream) use self::google::tests::service_account;
pub use self::google::{GoogleTokens, TokenRequest};
use self::{aws::AwsKey, google::ServiceAccount};
use super::{
    Failure, address,
    presets::{Auth, Preset},
};
use crate::{clock::Clock, domain::catalog::Upstream};

const API_KEY: HeaderName = HeaderName::from_static("api-key");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
const X_GOOG_USER_PROJECT: HeaderName = HeaderName::from_static("x-goog-user-project");

/// A secret of an upstream; never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ApiKey(Zeroizing<String>);

impl ApiKey {
    pub fn new(secret: impl Into<String>) -> Self {
        Self(Zeroizing::new(secret.into()))
    }

    fn expose(&self) -> &str {
        &self.0
    }
}

impl From<Zeroizing<String>> for ApiKey {
    fn from(secret: Zeroizing<String>) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// What a key is good for. An empty key proves nothing, which servers of one's own are content with.
#[derive(Debug)]
pub enum Credential {
    Nothing,
    /// Marked sensitive, so that it does not show in debug output.
    Header(HeaderName, HeaderValue),
    Aws(AwsKey),
    Google(Box<ServiceAccount>),
}

impl Credential {
    /// The error says what is wrong with the key, without showing it. `region` is that of AWS.
    pub fn new(auth: Auth, key: &ApiKey, region: Option<&str>) -> Result<Self, String> {
        let text = key.expose();
        if text.is_empty() {
            return Ok(Self::Nothing);
        }
        Ok(match auth {
            Auth::None => Self::Nothing,
            Auth::Bearer => Self::Header(AUTHORIZATION, bearer(text)?),
            Auth::XApiKey => Self::Header(X_API_KEY, header(text)?),
            Auth::XGoogApiKey => Self::Header(X_GOOG_API_KEY, header(text)?),
            Auth::ApiKey => Self::Header(API_KEY, header(text)?),
            Auth::Aws if !text.contains(':') => Self::Header(AUTHORIZATION, bearer(text)?),
            Auth::Aws => Self::Aws(AwsKey::parse(text, region)?),
            Auth::Google if text.trim_start().starts_with('{') => Self::Google(Box::new(ServiceAccount::parse(text)?)),
            Auth::Google => Self::Header(X_GOOG_API_KEY, header(text)?),
        })
    }

    /// The project a key belongs to, on Google's side.
    pub fn project(&self) -> Option<&str> {
        match self {
            Self::Google(account) => account.project(),
            _ => None,
        }
    }

    /// Adds the proof. Everything else of the request must be there already, because signatures cover it. `ask` is needed for tokens that
    /// are not known yet.
    pub async fn authorize<B, F>(
        &self,
        request: &mut Request<B>,
        body: &[u8],
        clock: &Clock,
        tokens: &GoogleTokens,
        ask: impl FnOnce(TokenRequest) -> F,
    ) -> Result<(), Failure>
    where
        F: Future<Output = Result<bytes::Bytes, Failure>>,
    {
        match self {
            Self::Nothing => {}
            Self::Header(name, value) => {
                request.headers_mut().insert(name.clone(), value.clone());
            }
            Self::Aws(key) => key.sign(request, body, clock).map_err(Failure::Connect)?,
            Self::Google(account) => {
                let token = tokens.token(account, clock, ask).await?;
                request.headers_mut().insert(AUTHORIZATION, token);
                if let Some(project) = account.quota_project() {
                    request.headers_mut().insert(X_GOOG_USER_PROJECT, project.clone());
                }
            }
        }
        Ok(())
    }

    /// The upstream did not believe the proof: what was kept for it is made anew next time.
    pub fn refused(&self, tokens: &GoogleTokens) {
        if let Self::Google(account) = self {
            tokens.forget(account);
        }
    }
}

/// Whether an operator may keep this key for the upstream: it can be sent, and has the shape the provider needs. The error says what is
/// wrong with it, without showing it.
pub fn check_key(upstream: &Upstream, key: &ApiKey) -> Result<(), String> {
    credential_for(upstream, key).map(|_| ())
}

/// As [`check_key`] for keys of callers, who must not choose which hosts this node asks.
pub fn check_foreign_key(upstream: &Upstream, key: &ApiKey) -> Result<(), String> {
    match credential_for(upstream, key)? {
        Credential::Google(account) if !account.asks_google() => {
            Err("token_uri of the service account must be https://oauth2.googleapis.com/token".to_owned())
        }
        _ => Ok(()),
    }
}

fn credential_for(upstream: &Upstream, key: &ApiKey) -> Result<Credential, String> {
    let preset = Preset::of(upstream.provider);
    let base_url = address::base_url(upstream.provider, &upstream.base_url, &upstream.options).unwrap_or_default();
    let region = upstream.options.region.as_deref().or_else(|| address::region(&base_url));
    Credential::new(preset.auth, key, region)
}

fn bearer(key: &str) -> Result<HeaderValue, String> {
    header(&Zeroizing::new(format!("Bearer {key}")))
}

fn header(text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(text).map_err(|_| "the API key has characters that no header can carry".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// A request with nothing but its address.
pub(super) fn bare<B>(method: Method, uri: Uri, body: B) -> Request<B> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_key_has_its_header() {
        let named = |auth, key: &str| match Credential::new(auth, &ApiKey::new(key), Some("r")).unwrap() {
            Credential::Header(name, value) => format!("{name}: {}", value.to_str().unwrap()),
            other => format!("{other:?}"),
        };
        assert_eq!(named(Auth::Bearer, "k"), "authorization: Bearer k");
        assert_eq!(named(Auth::XApiKey, "k"), "x-api-key: k");
        assert_eq!(named(Auth::XGoogApiKey, "k"), "x-goog-api-key: k");
        assert_eq!(named(Auth::ApiKey, "k"), "api-key: k");
        assert_eq!(named(Auth::Aws, "ABSK"), "authorization: Bearer ABSK");
        assert_eq!(named(Auth::Google, "AIza"), "x-goog-api-key: AIza");
        assert_eq!(named(Auth::Bearer, ""), "Nothing");
        assert_eq!(named(Auth::None, "k"), "Nothing");
    }

    #[test]
    fn keys_are_checked_and_never_shown() {
        let check = |auth, key: &str| Credential::new(auth, &ApiKey::new(key), None).map(|_| ());
        assert!(check(Auth::Bearer, "a\nb").unwrap_err().contains("no header can carry"));
        assert!(check(Auth::Aws, "AKIA:secret").unwrap_err().contains("region"));
        assert!(check(Auth::Google, "{}").unwrap_err().contains("service account"));
        let shown = format!("{:?}", Credential::new(Auth::Aws, &ApiKey::new("AKIA:hunter2:hunter3"), Some("r")).unwrap());
        assert!(!shown.contains("hunter"), "{shown}");
    }
}
