//! Sign-in with providers.

use super::schema::section;
use crate::telemetry::redact::Secret;

section! {
    /// `[oauth]`: sign-in with providers.
    Oauth in "oauth" {
        /// Milliseconds in which a provider must have answered one request.
        timeout_ms: u64 = 10_000, 10 to 60_000;
    }
    with { google: OauthGoogle, github: OauthGithub }
}

section! {
    /// `[oauth.google]`: sign-in by OpenID Connect.
    OauthGoogle in "oauth.google" {
        /// Client id of this gateway at Google; sign-in with Google is off without one. The redirect URI to enter there is
        /// `PUBLIC_URL/api/v1/auth/oauth/google/callback`.
        client_id: Option<String> = None;
        /// Client secret; needed with `oauth.google.client_id`.
        client_secret: Option<Secret> = None;
        /// Issuer whose discovery document is read; another OpenID provider can stand in for Google.
        issuer: String = "https://accounts.google.com".to_owned();
    }
}

section! {
    /// `[oauth.github]`: sign-in by OAuth.
    OauthGithub in "oauth.github" {
        /// Client id of this gateway at GitHub; sign-in with GitHub is off without one. The callback URL to enter there is
        /// `PUBLIC_URL/api/v1/auth/oauth/github/callback`.
        client_id: Option<String> = None;
        /// Client secret; needed with `oauth.github.client_id`.
        client_secret: Option<Secret> = None;
        /// Where people sign in; of a GitHub Enterprise server its own address.
        base_url: String = "https://github.com".to_owned();
        /// Where GitHub's API is; of a GitHub Enterprise server `https://HOST/api/v3`.
        api_url: String = "https://api.github.com".to_owned();
    }
}
