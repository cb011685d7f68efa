//! People as others know them: the providers somebody can sign in with, and what a provider's word is worth.
//!
//! A person is known by provider and subject, never by the mail address: addresses change hands, subjects do not.

use serde::{Deserialize, Serialize};

/// Somebody else's sign-in that this gateway takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IdentityProvider {
    Google,
    Github,
}

impl IdentityProvider {
    pub const ALL: [Self; 2] = [Self::Google, Self::Github];

    /// As it stands in paths and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Google => "google",
            Self::Github => "github",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.as_str() == text)
    }

    /// As people call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Google => "Google",
            Self::Github => "GitHub",
        }
    }
}

/// Somebody who proved to a provider who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Google's `sub`, GitHub's numeric id. Never changes, never given to somebody else.
    pub subject: String,
    /// Only one that the provider has verified.
    pub email: Option<String>,
    pub name: String,
    /// A language tag such as `zh-CN`, where the provider tells.
    pub locale: Option<String>,
}

/// Why a sign-in with a provider comes to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityRefusal {
    #[error("this sign-in is unknown, was used, is too old, or was begun in another browser; begin it again")]
    StateSpent,
    #[error("the sign-in was cancelled at {}; begin it again, or sign in with your password", .0.title())]
    Denied(IdentityProvider),
    #[error("what {} answered could not be verified, so nobody was signed in; begin the sign-in again", .0.title())]
    Rejected(IdentityProvider),
    #[error("{} cannot be reached or did not answer as it should; try again in a moment, or sign in with your password", .0.title())]
    Unavailable(IdentityProvider),
    #[error("{} has not verified your mail address; verify it there, and begin the sign-in again", .0.title())]
    EmailUnverified(IdentityProvider),
    /// The address has an account. Only its owner may link an identity to it, signed in.
    #[error(
        "an account with this mail address exists and is not linked with {}: sign in to it with your password (/auth/forgot sets one), \
         then link {} in its settings (POST /api/v1/me/identities/{})", .0.title(), .0.title(), .0.as_str()
    )]
    NotLinked(IdentityProvider),
    #[error(
        "there is no account for you yet: agree to the terms and the privacy policy and confirm the minimum age to make one \
         (GET /api/v1/auth/oauth/{}?accept_terms=true&age_confirmed=true)", .0.as_str()
    )]
    AgreementMissing(IdentityProvider),
    #[error("this {} account is linked with another account of this gateway; unlink it there first", .0.title())]
    LinkedElsewhere(IdentityProvider),
    #[error("another {} account is linked already; unlink it first", .0.title())]
    LinkedAlready(IdentityProvider),
    #[error("{} is the only way into this account; set a password at /auth/forgot or link another provider first", .0.title())]
    LastWayIn(IdentityProvider),
    #[error("this account is closed; ask the operator of this gateway")]
    Closed,
    #[error("the second factor comes too late or was given before; begin the sign-in again")]
    SecondFactorSpent,
}

#[cfg(test)]
mod tests {
    use super::{IdentityProvider, IdentityRefusal};

    #[test]
    fn providers_are_what_paths_say() {
        for provider in IdentityProvider::ALL {
            assert_eq!(IdentityProvider::parse(provider.as_str()), Some(provider));
        }
        assert_eq!(IdentityProvider::parse("Google"), None);
    }

    #[test]
    fn refusals_say_what_to_do() {
        let text = IdentityRefusal::NotLinked(IdentityProvider::Github).to_string();
        assert!(text.contains("GitHub") && text.contains("/api/v1/me/identities/github"), "{text}");
    }
}
