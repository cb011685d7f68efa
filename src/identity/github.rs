//! GitHub: OAuth 2 with PKCE, then two questions to its API.

use std::time::Duration;

use http::{
    HeaderValue, Method,
    header::{ACCEPT, AUTHORIZATION},
};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, TokenResponse, TokenUrl, basic::BasicClient,
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    IdentityFailure, Marks,
    client::{client, is_json, no_token},
};
use crate::{
    config::OauthGithub,
    domain::identity::Person,
    telemetry::redact::Secret,
    upstream::{Connector, Failure},
};

const SCOPE: &str = "user:email";
const ACCEPTED: HeaderValue = HeaderValue::from_static("application/vnd.github+json");
const API_VERSION: HeaderValue = HeaderValue::from_static("2022-11-28");

type Client = BasicClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

#[derive(Debug)]
pub struct Github {
    client: Client,
    /// Without a slash at its end.
    api_url: String,
    timeout: Duration,
}

#[derive(Deserialize)]
struct User {
    id: u64,
    login: String,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Deserialize)]
struct Address {
    email: String,
    primary: bool,
    verified: bool,
}

impl Github {
    /// `None` when it is not set up.
    pub fn new(settings: &OauthGithub, back: &str, timeout: Duration) -> Result<Option<Self>, String> {
        let (Some(id), Some(secret)) = (&settings.client_id, &settings.client_secret) else { return Ok(None) };
        let base = settings.base_url.trim_end_matches('/');
        let wrong = |error: oauth2::url::ParseError| format!("oauth.github.base_url: {error}");
        let client = BasicClient::new(ClientId::new(id.clone()))
            .set_client_secret(ClientSecret::new(secret.expose().to_owned()))
            .set_auth_uri(AuthUrl::new(format!("{base}/login/oauth/authorize")).map_err(wrong)?)
            .set_token_uri(TokenUrl::new(format!("{base}/login/oauth/access_token")).map_err(wrong)?)
            .set_redirect_uri(RedirectUrl::new(back.to_owned()).map_err(|error| format!("server.public_url: {error}"))?)
            // Where its documentation wants the secret.
            .set_auth_type(AuthType::RequestBody);
        Ok(Some(Self { client, api_url: settings.api_url.trim_end_matches('/').to_owned(), timeout }))
    }

    pub fn authorize_url(&self, marks: &Marks) -> String {
        let verifier = PkceCodeVerifier::new(marks.verifier.expose().to_owned());
        let request = self.client.authorize_url(|| CsrfToken::new(marks.state.expose().to_owned())).add_scope(Scope::new(SCOPE.to_owned()));
        request.set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier)).url().0.into()
    }

    pub async fn person(&self, connector: &Connector, marks: &Marks, code: &Secret) -> Result<Person, IdentityFailure> {
        let http = client(connector, self.timeout, false);
        let exchange = self.client.exchange_code(AuthorizationCode::new(code.expose().to_owned()));
        let token = exchange
            .set_pkce_verifier(PkceCodeVerifier::new(marks.verifier.expose().to_owned()))
            .request_async(&http)
            .await
            .map_err(no_token)?;
        let token = token.access_token().secret();
        let user: User = self.ask(&http, "/user", token).await?;
        let addresses: Vec<Address> = self.ask(&http, "/user/emails", token).await?;
        let email = addresses.into_iter().find(|address| address.primary && address.verified).map(|address| address.email);
        let name = user.name.filter(|name| !name.trim().is_empty()).unwrap_or(user.login);
        Ok(Person { subject: user.id.to_string(), email, name, locale: None })
    }

    async fn ask<T: DeserializeOwned, F>(&self, http: &impl Fn(HttpRequest) -> F, path: &str, token: &str) -> Result<T, IdentityFailure>
    where
        F: Future<Output = Result<HttpResponse, Failure>>,
    {
        let wrong = |why: String| IdentityFailure::Unavailable(format!("{path} of GitHub's API: {why}"));
        let mut bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| wrong("the token fits no header".to_owned()))?;
        bearer.set_sensitive(true);
        let request = http::Request::builder()
            .method(Method::GET)
            .uri(format!("{}{path}", self.api_url))
            .header(ACCEPT, ACCEPTED)
            .header("x-github-api-version", API_VERSION)
            .header(AUTHORIZATION, bearer)
            .body(Vec::new())
            .map_err(|error| wrong(error.to_string()))?;
        let answer = http(request).await.map_err(|failure| wrong(failure.to_string()))?;
        if !answer.status().is_success() || !is_json(&answer) {
            return Err(wrong(format!("answered {} without what was asked for", answer.status())));
        }
        serde_json::from_slice(answer.body()).map_err(|error| wrong(format!("not understood (column {})", error.column())))
    }
}
