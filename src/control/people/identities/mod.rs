//! Signing in with a provider, and linking one to an account (decision 0025).
//!
//! A sign-in under way is a row that only the browser that began it can use, once: the provider carries its token as `state`, the browser
//! holds another in a cookie. What the provider says decides by its subject alone; a mail address never opens an account that exists.

mod entry;
mod linking;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

pub use self::{
    entry::finish_second_factor,
    linking::{list_identities, unlink_identity},
};
use super::{
    super::{
        Control, ControlError,
        owner::{self, Owner},
        sign_in::digest,
    },
    SignedIn, TOKEN_LENGTH, Visitor, event,
    register::{Agreement, Origin, check_agreement},
};
use crate::{
    clock::fill_random,
    domain::{
        SECOND, Timestamp,
        api_key::{Digest, base62},
        identity::{IdentityProvider, IdentityRefusal, Person},
        refusal::Refusal,
    },
    identity::{IdentityFailure, Marks},
    store::{self, identities::Pending},
    telemetry::redact::Secret,
};

/// How long somebody may take at the provider.
const STATE_LIFE: Timestamp = 600 * SECOND;
const RETURN_TO_BYTES_MAX: usize = 1_000;

/// What somebody brings along who begins a sign-in. All but `return_to` counts for new accounts only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BeginSignIn {
    /// A path of this gateway to go to afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_to: Option<String>,
    /// Language of mails; the provider's when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Agrees to the terms and the privacy policy in force. A new account needs it where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_terms: Option<bool>,
    /// The version of the terms that was shown; refused when another is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms_version: Option<String>,
    /// Confirms the minimum age (`security.min_age`). A new account needs it where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_confirmed: Option<bool>,
    /// Who referred this person.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub referral: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utm_source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utm_medium: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utm_campaign: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utm_term: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utm_content: Option<String>,
}

impl BeginSignIn {
    fn agreement(&self) -> Agreement<'_> {
        Agreement { terms: self.accept_terms, age: self.age_confirmed, terms_version: self.terms_version.as_deref() }
    }

    fn origin(&self) -> Origin<'_> {
        let campaign = [&self.utm_source, &self.utm_medium, &self.utm_campaign, &self.utm_term, &self.utm_content];
        Origin { referral: self.referral.as_deref(), campaign }
    }

    fn check(&self) -> Result<(), ControlError> {
        let texts = [&self.locale, &self.terms_version, &self.referral, &self.utm_source, &self.utm_medium, &self.utm_campaign];
        let texts = texts.into_iter().chain([&self.utm_term, &self.utm_content]).flatten();
        if texts.map(String::len).any(|bytes| bytes > RETURN_TO_BYTES_MAX) {
            return Err(ControlError::invalid("query", format!("a value of the query is longer than {RETURN_TO_BYTES_MAX} bytes")));
        }
        match &self.return_to {
            Some(path) if !is_own_path(path) => {
                Err(ControlError::invalid("return_to", "return_to must be a path of this gateway, such as /docs"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a browser that is sent to `path` stays with us. Browsers take a backslash for a slash and drop tabs and line ends.
fn is_own_path(path: &str) -> bool {
    path.len() <= RETURN_TO_BYTES_MAX
        && path.starts_with('/')
        && !path.starts_with("//")
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

/// A sign-in that was begun.
pub struct Begun {
    /// At the provider.
    pub url: String,
    /// Of the cookie that ties the sign-in to this browser.
    pub browser: String,
}

/// How somebody comes back from a provider.
#[derive(Debug, Clone)]
pub struct Return {
    pub provider: IdentityProvider,
    pub state: Secret,
    pub code: Option<Secret>,
    /// What went wrong there, in OAuth's words.
    pub error: Option<String>,
    /// The issuer (RFC 9207), from those that tell.
    pub issuer: Option<String>,
    /// Of the cookie of [`Begun`].
    pub browser: Option<Secret>,
    pub session_token: Option<Secret>,
}

/// What a sign-in came to.
pub enum Finished {
    SignedIn {
        signed_in: SignedIn,
        return_to: Option<String>,
    },
    /// The second factor is on: [`finish_second_factor`] takes its code together with this token of a cookie.
    SecondFactor {
        token: String,
    },
    /// A new account needs an agreement first; `begun` is what was said so far.
    AgreementMissing {
        begun: BeginSignIn,
    },
    Linked {
        provider: IdentityProvider,
    },
}

/// What is kept, sealed, while somebody is at the provider or looks for a code.
#[derive(Serialize, Deserialize)]
#[serde(tag = "purpose", rename_all = "snake_case")]
enum Flow {
    SignIn { trip: Trip, begun: BeginSignIn },
    Link { trip: Trip, session_id: String },
    SecondFactor { return_to: Option<String> },
}

#[derive(Serialize, Deserialize)]
struct Trip {
    nonce: String,
    verifier: String,
    /// Digest of the browser's token, in hex.
    browser: String,
}

fn browser_digest(control: &Control, token: &str) -> String {
    digest(control, &format!("oauth browser {token}")).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Begins a sign-in; `browser` is the token that the browser holds from an earlier one, so that several can be under way in it.
pub async fn begin_sign_in(
    control: &Control,
    provider: IdentityProvider,
    browser: Option<&str>,
    begun: BeginSignIn,
) -> Result<Begun, ControlError> {
    begun.check()?;
    check_agreement(control, &begun.agreement()).await?;
    begin(control, provider, browser, None, |trip| Flow::SignIn { trip, begun }).await
}

/// Begins to link a provider to the account of somebody who is signed in and has confirmed that.
pub async fn begin_link(
    control: &Control,
    owner: &Owner,
    provider: IdentityProvider,
    browser: Option<&str>,
) -> Result<Begun, ControlError> {
    let session_id = owner.session_id.clone().ok_or(IdentityRefusal::StateSpent).map_err(Refusal::from)?;
    linking::check_may_link(control, &owner.account, provider).await?;
    begin(control, provider, browser, Some(&owner.account.id), |trip| Flow::Link { trip, session_id }).await
}

async fn begin(
    control: &Control,
    provider: IdentityProvider,
    browser: Option<&str>,
    account_id: Option<&str>,
    flow: impl FnOnce(Trip) -> Flow,
) -> Result<Begun, ControlError> {
    if !control.people.providers.has(provider) {
        return Err(ControlError::NotFound(format!("sign-in with {} (it is not set up here)", provider.title())));
    }
    let token = || base62(TOKEN_LENGTH, fill_random);
    let is_token = |text: &&str| text.len() == TOKEN_LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let browser = browser.filter(is_token).map_or_else(token, str::to_owned);
    let (state, nonce, verifier) = (token(), token(), token());
    let marks = Marks { state: Secret::new(&state), nonce: Secret::new(&nonce), verifier: Secret::new(&verifier) };
    let url = control.people.providers.authorize_url(&control.connector, provider, &marks).await;
    let url = url.map_err(|failure| failed(provider, failure))?;
    let flow = flow(Trip { nonce, verifier, browser: browser_digest(control, &browser) });
    keep(control, provider, digest(control, &state), account_id, &flow, STATE_LIFE).await?;
    Ok(Begun { url, browser })
}

async fn keep(
    control: &Control,
    provider: IdentityProvider,
    digest: Digest,
    account_id: Option<&str>,
    flow: &Flow,
    life: Timestamp,
) -> Result<(), ControlError> {
    let now = control.clock.now();
    let data = serde_json::to_string(flow).map_err(|error| ControlError::Internal(format!("a sign-in cannot be kept: {error}")))?;
    let account_id = account_id.map(str::to_owned);
    let pending = Pending { digest, provider, account_id, data, expires_at: now + life, created_at: now };
    Ok(store::identities::put_pending(&control.db, &control.sealer, &pending).await?)
}

fn read(pending: &Pending) -> Result<Flow, ControlError> {
    serde_json::from_str(&pending.data).map_err(|error| ControlError::Internal(format!("a kept sign-in cannot be read: {error}")))
}

/// Ends what [`begin_sign_in`] or [`begin_link`] began. Whatever comes of it, the state is used up.
pub async fn finish_sign_in(control: &Control, visitor: &Visitor, back: Return) -> Result<Finished, ControlError> {
    let spent = || refused(IdentityRefusal::StateSpent);
    let provider = back.provider;
    let state_digest = digest(control, back.state.expose());
    let taken = store::identities::take_pending(&control.db, &control.sealer, &state_digest, control.clock.now()).await?;
    let pending = taken.filter(|pending| pending.provider == provider).ok_or_else(spent)?;
    let flow = read(&pending)?;
    let (Flow::SignIn { trip, .. } | Flow::Link { trip, .. }) = &flow else { return Err(spent()) };
    let browser = browser_digest(control, back.browser.as_ref().map_or("", Secret::expose));
    if !bool::from(browser.as_bytes().ct_eq(trip.browser.as_bytes())) {
        return Err(spent());
    }
    // A session that was ended meanwhile links nothing any more.
    let linker = match &flow {
        Flow::Link { session_id, .. } => {
            let token = back.session_token.as_ref().ok_or_else(spent)?;
            let owner = owner::of_session(control, token.expose(), None).await?;
            Some(owner).filter(|owner| owner.session_id.as_deref() == Some(session_id)).ok_or_else(spent)?.into()
        }
        _ => None,
    };
    let person = ask(control, visitor, &back, trip).await?;
    match (flow, linker) {
        (Flow::SignIn { begun, .. }, _) => entry::enter(control, visitor, provider, &person, begun).await,
        (_, Some(owner)) => linking::link(control, visitor, &owner, provider, &person).await,
        _ => Err(spent()),
    }
}

/// What the provider knows about whoever came back.
async fn ask(control: &Control, visitor: &Visitor, back: &Return, trip: &Trip) -> Result<Person, ControlError> {
    let provider = back.provider;
    let code = match (&back.code, &back.error) {
        (Some(code), None) => code,
        (_, Some(error)) if error == "access_denied" => return Err(refused(IdentityRefusal::Denied(provider))),
        _ => {
            let error: String = back.error.as_deref().unwrap_or("no code").chars().filter(char::is_ascii_graphic).take(60).collect();
            return Err(failed(provider, IdentityFailure::Unavailable(format!("it sent somebody back with: {error}"))));
        }
    };
    let marks = Marks { state: back.state.clone(), nonce: Secret::new(&trip.nonce), verifier: Secret::new(&trip.verifier) };
    let asked = control.people.providers.person(&control.connector, provider, &marks, code, back.issuer.as_deref()).await;
    if matches!(asked, Err(IdentityFailure::Rejected(_))) {
        store::security::append(&control.db, &event(control, None, "sign_in_failed", visitor)).await?;
    }
    asked.map_err(|failure| failed(provider, failure))
}

fn refused(refusal: IdentityRefusal) -> ControlError {
    Refusal::from(refusal).into()
}

/// Operators read what happened, people what to do.
fn failed(provider: IdentityProvider, failure: IdentityFailure) -> ControlError {
    tracing::warn!(provider = provider.as_str(), error = %failure, "a sign-in with a provider came to nothing");
    refused(match failure {
        IdentityFailure::Unavailable(_) => IdentityRefusal::Unavailable(provider),
        IdentityFailure::Rejected(_) => IdentityRefusal::Rejected(provider),
    })
}

#[cfg(test)]
mod tests {
    use super::is_own_path;

    #[test]
    fn own_paths_stay_here() {
        for path in ["/", "/docs", "/a/b?c=d&e=%2F#f"] {
            assert!(is_own_path(path), "{path}");
        }
        for path in
            ["", "docs", "//evil.example", "/\\evil.example", "https://evil.example", "/a b", "/a\r\nx: y", "/\t/evil.example", "/é"]
        {
            assert!(!is_own_path(path), "{path:?}");
        }
    }
}
