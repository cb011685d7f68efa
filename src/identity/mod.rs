//! What Google and GitHub say about who somebody is: where to send people, and what their codes are worth.
//!
//! Google is asked by OpenID Connect, so that any OpenID provider can stand in for it; GitHub speaks OAuth only. Both are given a state
//! and a PKCE challenge, and tokens live no longer than the call that got them. Absent on purpose: states and cookies, accounts, and who
//! may sign in (see `control::people::identities`).

mod client;
mod github;
mod google;

use std::{sync::Arc, time::Duration};

use self::{github::Github, google::Google};
use crate::{
    clock::Clock,
    config::Oauth,
    domain::identity::{IdentityProvider, Person},
    telemetry::redact::Secret,
    upstream::Connector,
};

/// What one sign-in is recognised by. The provider sees `state`, `nonce` and a digest of `verifier`.
#[derive(Debug, Clone)]
pub struct Marks {
    pub state: Secret,
    /// Of the ID token.
    pub nonce: Secret,
    /// Of PKCE (RFC 7636).
    pub verifier: Secret,
}

/// Why a provider vouches for nobody. Messages are for the log; they hold no codes and no tokens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityFailure {
    /// Away, too slow, broken, or not set up as we think.
    #[error("{0}")]
    Unavailable(String),
    /// It did not take the code, or what it said does not hold.
    #[error("{0}")]
    Rejected(String),
}

/// The providers that are set up. Clones share what was learnt about them.
#[derive(Debug, Clone)]
pub struct IdentityProviders(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    google: Option<Google>,
    github: Option<Github>,
}

impl IdentityProviders {
    /// `public_url` is where this gateway is, without a slash at its end. Says which setting is wrong.
    pub fn new(settings: &Oauth, public_url: &str, clock: &Clock) -> Result<Self, String> {
        let timeout = Duration::from_millis(settings.timeout_ms);
        let back = |provider: IdentityProvider| format!("{public_url}/api/v1/auth/oauth/{}/callback", provider.as_str());
        let google = Google::new(&settings.google, &back(IdentityProvider::Google), timeout, clock.clone())?;
        let github = Github::new(&settings.github, &back(IdentityProvider::Github), timeout)?;
        Ok(Self(Arc::new(Parts { google, github })))
    }

    /// Those that people can sign in with.
    pub fn configured(&self) -> Vec<IdentityProvider> {
        IdentityProvider::ALL.into_iter().filter(|provider| self.has(*provider)).collect()
    }

    pub fn has(&self, provider: IdentityProvider) -> bool {
        match provider {
            IdentityProvider::Google => self.0.google.is_some(),
            IdentityProvider::Github => self.0.github.is_some(),
        }
    }

    /// Where to send somebody who wants to sign in. Google is asked where that is, now and then.
    pub async fn authorize_url(&self, connector: &Connector, provider: IdentityProvider, marks: &Marks) -> Result<String, IdentityFailure> {
        match provider {
            IdentityProvider::Google => present(self.0.google.as_ref(), provider)?.authorize_url(connector, marks).await,
            IdentityProvider::Github => Ok(present(self.0.github.as_ref(), provider)?.authorize_url(marks)),
        }
    }

    /// Gives a code for what the provider knows about its person. `issuer` is the `iss` of the way back, where there was one.
    pub async fn person(
        &self,
        connector: &Connector,
        provider: IdentityProvider,
        marks: &Marks,
        code: &Secret,
        issuer: Option<&str>,
    ) -> Result<Person, IdentityFailure> {
        match provider {
            IdentityProvider::Google => present(self.0.google.as_ref(), provider)?.person(connector, marks, code, issuer).await,
            IdentityProvider::Github => present(self.0.github.as_ref(), provider)?.person(connector, marks, code).await,
        }
    }
}

fn present<T>(configured: Option<&T>, provider: IdentityProvider) -> Result<&T, IdentityFailure> {
    configured.ok_or_else(|| IdentityFailure::Unavailable(format!("oauth.{}.client_id is not set", provider.as_str())))
}
