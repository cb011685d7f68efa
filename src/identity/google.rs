//! Google, or another OpenID provider in its place: OpenID Connect by discovery, code flow with PKCE and nonce.
//!
//! ID tokens are verified with the provider's published keys, by RS256 or ES256 only: a provider that also offers HS256 or `none` must
//! not talk us into them. The discovery document and the keys are kept for a while; a token by an unknown key has the keys read anew.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::DateTime;
use oauth2::{HttpRequest, HttpResponse};
use openidconnect::{
    AccessTokenHash, AuthenticationFlow, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken, DiscoveryError,
    IssuerUrl, JsonWebKeySet, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, SignatureVerificationError,
    core::{
        CoreClient, CoreIdToken, CoreIdTokenClaims, CoreIdTokenVerifier, CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreResponseType,
    },
};
use openidconnect::{OAuth2TokenResponse, TokenResponse};

use super::{
    IdentityFailure, Marks,
    client::{client, no_token},
};
use crate::{
    clock::Clock,
    config::OauthGoogle,
    domain::{SECOND, Timestamp, identity::Person},
    telemetry::redact::Secret,
    upstream::{Connector, Failure},
};

/// How long a discovery document and its keys are believed.
const DOCUMENT_LIFE: Timestamp = 6 * 3_600 * SECOND;
/// A token by an unknown key has the keys read anew this often at most.
const REFRESH_EVERY: Timestamp = 60 * SECOND;
const ALGORITHMS: [CoreJwsSigningAlgorithm; 2] = [CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256, CoreJwsSigningAlgorithm::EcdsaP256Sha256];

#[derive(Debug)]
pub struct Google {
    issuer: IssuerUrl,
    client_id: ClientId,
    client_secret: Secret,
    back: RedirectUrl,
    timeout: Duration,
    clock: Clock,
    learnt: Mutex<Learnt>,
}

#[derive(Debug, Default)]
struct Learnt {
    document: Option<(Timestamp, Arc<CoreProviderMetadata>)>,
    /// When an unknown key made us read the keys anew.
    refreshed_at: Option<Timestamp>,
}

impl Google {
    /// `None` when it is not set up.
    pub fn new(settings: &OauthGoogle, back: &str, timeout: Duration, clock: Clock) -> Result<Option<Self>, String> {
        let (Some(id), Some(secret)) = (&settings.client_id, &settings.client_secret) else { return Ok(None) };
        Ok(Some(Self {
            issuer: IssuerUrl::new(settings.issuer.clone()).map_err(|error| format!("oauth.google.issuer: {error}"))?,
            client_id: ClientId::new(id.clone()),
            client_secret: secret.clone(),
            back: RedirectUrl::new(back.to_owned()).map_err(|error| format!("server.public_url: {error}"))?,
            timeout,
            clock,
            learnt: Mutex::default(),
        }))
    }

    pub async fn authorize_url(&self, connector: &Connector, marks: &Marks) -> Result<String, IdentityFailure> {
        let metadata = self.metadata(connector).await?;
        let client = CoreClient::from_provider_metadata((*metadata).clone(), self.client_id.clone(), None);
        let client = client.set_redirect_uri(self.back.clone());
        let verifier = PkceCodeVerifier::new(marks.verifier.expose().to_owned());
        let (state, nonce) = (CsrfToken::new(marks.state.expose().to_owned()), Nonce::new(marks.nonce.expose().to_owned()));
        let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
        let request = client.authorize_url(flow, move || state, move || nonce);
        let request = request.add_scope(Scope::new("email".to_owned())).add_scope(Scope::new("profile".to_owned()));
        Ok(request.set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier)).url().0.into())
    }

    pub async fn person(
        &self,
        connector: &Connector,
        marks: &Marks,
        code: &Secret,
        issuer: Option<&str>,
    ) -> Result<Person, IdentityFailure> {
        // RFC 9207: a code of somebody else's is not to be shown around.
        if issuer.is_some_and(|issuer| issuer != self.issuer.as_str()) {
            return Err(IdentityFailure::Rejected("the way back names another issuer".to_owned()));
        }
        let metadata = self.metadata(connector).await?;
        let secret = ClientSecret::new(self.client_secret.expose().to_owned());
        let client = CoreClient::from_provider_metadata((*metadata).clone(), self.client_id.clone(), Some(secret));
        let client = client.set_redirect_uri(self.back.clone());
        let exchange = client.exchange_code(AuthorizationCode::new(code.expose().to_owned()));
        let exchange = exchange.map_err(|error| IdentityFailure::Unavailable(format!("the discovery document: {error}")))?;
        let token = exchange
            .set_pkce_verifier(PkceCodeVerifier::new(marks.verifier.expose().to_owned()))
            .request_async(&self.http(connector))
            .await
            .map_err(no_token)?;
        let id_token = token.id_token().ok_or_else(|| IdentityFailure::Rejected("no ID token came".to_owned()))?;
        let nonce = Nonce::new(marks.nonce.expose().to_owned());
        let mut verifier = self.verifier(&metadata);
        let mut claims = id_token.claims(&verifier, &nonce);
        if claims.as_ref().is_err_and(is_unknown_key) && self.may_refresh() {
            let newer = self.refresh(connector, &metadata).await?;
            verifier = self.verifier(&newer);
            claims = id_token.claims(&verifier, &nonce);
        }
        let claims = claims.map_err(|error| IdentityFailure::Rejected(format!("the ID token: {error}: {}", cause(&error))))?;
        self.check_rest(id_token, claims, &verifier, token.access_token())?;
        Ok(person(claims))
    }

    /// What the claims' verifier leaves open: for whom the token was made, and which access token belongs to it.
    fn check_rest(
        &self,
        id_token: &CoreIdToken,
        claims: &CoreIdTokenClaims,
        verifier: &CoreIdTokenVerifier<'_>,
        access_token: &openidconnect::AccessToken,
    ) -> Result<(), IdentityFailure> {
        let wrong = |why: String| IdentityFailure::Rejected(format!("the ID token: {why}"));
        if claims.authorized_party().is_some_and(|party| *party != self.client_id) {
            return Err(wrong("it was made for another party".to_owned()));
        }
        let Some(expected) = claims.access_token_hash() else { return Ok(()) };
        let algorithm = id_token.signing_alg().map_err(|error| wrong(error.to_string()))?;
        let key = id_token.signing_key(verifier).map_err(|error| wrong(error.to_string()))?;
        let actual = AccessTokenHash::from_token(access_token, algorithm, key).map_err(|error| wrong(error.to_string()))?;
        if actual == *expected { Ok(()) } else { Err(wrong("another access token belongs to it".to_owned())) }
    }

    fn verifier(&self, metadata: &CoreProviderMetadata) -> CoreIdTokenVerifier<'static> {
        let now = self.clock.now();
        let keys = metadata.jwks().clone();
        CoreIdTokenVerifier::new_public_client(self.client_id.clone(), self.issuer.clone(), keys)
            .set_allowed_algs(ALGORITHMS)
            .set_time_fn(move || DateTime::from_timestamp_micros(now).unwrap_or(DateTime::UNIX_EPOCH))
    }

    /// What nobody can read on its way is not to be asked for where anybody can.
    fn http(
        &self,
        connector: &Connector,
    ) -> impl Fn(HttpRequest) -> futures_util::future::LocalBoxFuture<'static, Result<HttpResponse, Failure>> {
        client(connector, self.timeout, self.issuer.url().scheme() == "https")
    }

    async fn metadata(&self, connector: &Connector) -> Result<Arc<CoreProviderMetadata>, IdentityFailure> {
        let now = self.clock.now();
        if let Some((_, known)) = self.lock().document.as_ref().filter(|(read_at, _)| now - read_at < DOCUMENT_LIFE) {
            return Ok(known.clone());
        }
        let read = CoreProviderMetadata::discover_async(self.issuer.clone(), &self.http(connector)).await.map_err(unreadable)?;
        if self.issuer.url().scheme() == "https" && read.authorization_endpoint().url().scheme() != "https" {
            return Err(IdentityFailure::Unavailable("the discovery document sends people to an address without TLS".to_owned()));
        }
        let read = Arc::new(read);
        self.lock().document = Some((now, read.clone()));
        Ok(read)
    }

    /// Counts as done.
    fn may_refresh(&self) -> bool {
        let now = self.clock.now();
        let mut learnt = self.lock();
        let may = learnt.refreshed_at.is_none_or(|at| now - at >= REFRESH_EVERY);
        if may {
            learnt.refreshed_at = Some(now);
        }
        may
    }

    async fn refresh(&self, connector: &Connector, known: &CoreProviderMetadata) -> Result<Arc<CoreProviderMetadata>, IdentityFailure> {
        let keys = JsonWebKeySet::fetch_async(known.jwks_uri(), &self.http(connector)).await.map_err(unreadable)?;
        let read = Arc::new(known.clone().set_jwks(keys));
        self.lock().document = Some((self.clock.now(), read.clone()));
        Ok(read)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Learnt> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_unknown_key(error: &ClaimsVerificationError) -> bool {
    matches!(error, ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey))
}

fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(String::new, ToString::to_string)
}

fn unreadable(error: DiscoveryError<Failure>) -> IdentityFailure {
    let why = match &error {
        DiscoveryError::Request(failure) => failure.to_string(),
        // Not its body, which may be anything.
        DiscoveryError::Response(status, _, why) => format!("status {status}: {why}"),
        DiscoveryError::Parse(why) => format!("not understood: {why}"),
        other => other.to_string(),
    };
    IdentityFailure::Unavailable(format!("the discovery document or the keys: {why}"))
}

fn person(claims: &CoreIdTokenClaims) -> Person {
    let name = claims.name().and_then(|names| names.get(None)).map(|name| name.as_str().to_owned());
    Person {
        subject: claims.subject().as_str().to_owned(),
        email: claims.email().filter(|_| claims.email_verified() == Some(true)).map(|email| email.as_str().to_owned()),
        name: name.unwrap_or_default(),
        locale: claims.locale().map(|tag| tag.as_ref().to_owned()),
    }
}
