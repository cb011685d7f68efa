//! Joining: an account with a password, and the proof of its address.

use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    super::{
        Control, ControlError,
        accounts::{LOCATOR_TRIES, NAME_LENGTH_MAX, normal_email},
        input::check_text,
        mail,
        passwords::Verdict,
    },
    Visitor, domains, event, guard_mail, new_token,
    reset::reset_link,
};
use crate::{
    clock::fill_random,
    domain::{
        SECOND, Timestamp,
        account::{Account, AccountStatus},
        api_key::{LOCATOR_LENGTH, base62},
        identity::IdentityProvider,
        mail::{Locale, Message},
        password,
        quota::Limits,
        refusal::Refusal,
    },
    store::{
        self, StoreError,
        identities::Identity,
        mail_tokens::{NewToken, Purpose},
        people::{Joined, SignUp},
    },
    telemetry::redact::Secret,
};

const VERIFY_LIFE: Timestamp = 24 * 3_600 * SECOND;
const CAMPAIGN_CHARS_MAX: usize = 200;

/// Somebody who wants an account. Registering accepts the terms and the privacy policy in force, and the minimum age.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    #[schema(example = "ada@example.com", max_length = 254)]
    pub email: String,
    /// 10 to 128 characters that are hard to guess.
    #[schema(value_type = String, min_length = 10, max_length = 128)]
    pub password: Secret,
    #[serde(default)]
    #[schema(max_length = 200)]
    pub name: Option<String>,
    /// Language of mails, for example `en` or `zh-CN`.
    #[serde(default)]
    pub locale: Option<String>,
    /// Registering agrees to the terms and the privacy policy in force; `false` is refused.
    #[serde(default)]
    pub accept_terms: Option<bool>,
    /// The version of the terms that was shown; refused when another is in force.
    #[serde(default)]
    pub terms_version: Option<String>,
    /// Registering confirms the minimum age (`security.min_age`); `false` is refused.
    #[serde(default)]
    pub age_confirmed: Option<bool>,
    /// Who referred this person.
    #[serde(default, rename = "ref")]
    pub referral: Option<String>,
    #[serde(default)]
    pub utm_source: Option<String>,
    #[serde(default)]
    pub utm_medium: Option<String>,
    #[serde(default)]
    pub utm_campaign: Option<String>,
    #[serde(default)]
    pub utm_term: Option<String>,
    #[serde(default)]
    pub utm_content: Option<String>,
}

impl Registration {
    fn origin(&self) -> Origin<'_> {
        let campaign = [&self.utm_source, &self.utm_medium, &self.utm_campaign, &self.utm_term, &self.utm_content];
        Origin { referral: self.referral.as_deref(), campaign }
    }

    fn agreement(&self) -> Agreement<'_> {
        Agreement { terms: self.accept_terms, age: self.age_confirmed, terms_version: self.terms_version.as_deref() }
    }
}

const CAMPAIGN: [&str; 5] = ["utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content"];

/// Who sent somebody here.
pub(super) struct Origin<'a> {
    pub referral: Option<&'a str>,
    /// What [`CAMPAIGN`] names.
    pub campaign: [&'a Option<String>; 5],
}

impl Origin<'_> {
    pub fn sign_up(&self, method: &'static str, visitor: &Visitor) -> SignUp {
        let kept = CAMPAIGN.iter().zip(self.campaign).filter_map(|(name, value)| Some(((*name).to_owned(), json!(cut(value.as_deref()?)))));
        SignUp {
            method,
            ip: visitor.ip_text(),
            user_agent: visitor.user_agent(),
            referral_code: self.referral.map(cut),
            campaign: Value::Object(kept.collect()),
        }
    }
}

/// What somebody said about the terms and their age.
pub(super) struct Agreement<'a> {
    pub terms: Option<bool>,
    pub age: Option<bool>,
    pub terms_version: Option<&'a str>,
}

/// Somebody who gets an account: with a password and an address to be proven, or with an identity whose provider has verified it.
pub(super) struct Newcomer<'a> {
    pub email: &'a str,
    pub name: &'a str,
    pub locale: Locale,
    pub password_hash: Option<&'a str>,
    /// Provider and subject.
    pub identity: Option<(IdentityProvider, &'a str)>,
    pub sign_up: SignUp,
}

fn cut(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(CAMPAIGN_CHARS_MAX).collect()
}

/// Makes the account and mails a link that proves its address. Answers with the address. A known address gets a mail that says so;
/// the answer is the same.
pub async fn register(control: &Control, visitor: &Visitor, new: Registration) -> Result<String, ControlError> {
    if !control.people.policy.sign_up_open {
        return Err(Refusal::SignUpClosed.into());
    }
    let email = normal_email(&new.email)?;
    let name = new.name.clone().unwrap_or_default();
    if !name.is_empty() {
        check_text("name", &name, NAME_LENGTH_MAX)?;
    }
    password::check(new.password.expose(), &[&email, &name]).map_err(|message| ControlError::invalid("password", message))?;
    check_agreement(control, &new.agreement()).await?;
    domains::check(control, &email).await?;
    control.people.guard.sign_up(visitor)?;
    guard_mail(control, visitor, &email)?;
    let locale = Locale::of(new.locale.as_deref().unwrap_or_default());
    let hash = control.people.passwords.hash(new.password.expose()).await?;
    for _ in 0..LOCATOR_TRIES {
        let known = store::accounts::by_email(&control.db, &email).await?;
        // Also for unknown addresses, so that both take the same time.
        let kept = store::credentials::get(&control.db, known.as_ref().map_or("", |known| known.id.as_str())).await?;
        let verdict = control.people.passwords.verify(new.password.expose(), kept.password_hash.as_deref()).await?;
        if let Some(known) = known {
            registered_before(control, &known, verdict != Verdict::Wrong).await?;
            return Ok(email);
        }
        let newcomer = Newcomer {
            email: &email,
            name: &name,
            locale,
            password_hash: Some(&hash),
            identity: None,
            sign_up: new.origin().sign_up("password", visitor),
        };
        match join(control, visitor, newcomer).await {
            // Somebody else was faster with the address, or the locator is taken: look again.
            Err(StoreError::Conflict(_)) => {}
            outcome => {
                let account = outcome?;
                control.mailer.nudge();
                control.accounts.changed(&account.locator).await;
                return Ok(email);
            }
        }
    }
    Err(ControlError::Internal("no free locator was found".to_owned()))
}

/// [`StoreError::Conflict`] when somebody else was faster with the address or the identity, or when the locator is taken.
pub(super) async fn join(control: &Control, visitor: &Visitor, newcomer: Newcomer<'_>) -> Result<Account, StoreError> {
    let now = control.clock.now();
    let id = control.clock.new_id("acc");
    let identity = newcomer.identity.map(|(provider, subject)| Identity {
        provider,
        subject: subject.to_owned(),
        account_id: id.clone(),
        email: newcomer.email.to_owned(),
        created_at: now,
    });
    let proof = identity.is_none().then(|| verification(control, &id, newcomer.email, newcomer.locale));
    let account = store::accounts::NewAccount {
        id: id.clone(),
        locator: base62(LOCATOR_LENGTH, fill_random),
        email: newcomer.email.to_owned(),
        name: newcomer.name.to_owned(),
        status: AccountStatus::Active,
        verified_at: identity.is_some().then_some(now),
        limits: Limits::default(),
        plan_id: None,
        is_operator: false,
        locale: newcomer.locale.as_str().to_owned(),
        created_at: now,
    };
    let clock = control.clock.clone();
    let joined = Joined {
        account,
        password_hash: newcomer.password_hash,
        sign_up: &newcomer.sign_up,
        identity: identity.as_ref(),
        token: proof.as_ref().map(|(token, _)| token),
        mail: proof.as_ref().map(|(_, mail)| mail),
        event: &event(control, Some(&id), "sign_up", visitor),
        new_id: &move || clock.new_id("pac"),
    };
    store::people::join(&control.db, &control.sealer, joined).await
}

/// A second registration. Of a proven address only its owner learns. One that was never proven gets a new link to verify if the
/// password is the same; if it is another, nobody knows which of the two is the owner's, and the link sets one anew: neither can
/// somebody prepare an account for an address of somebody else, nor slip a password under a registration that waits for its mail.
async fn registered_before(control: &Control, known: &Account, is_same_password: bool) -> Result<(), ControlError> {
    if known.verified_at.is_some() {
        let message = Message::AlreadyRegistered { link: control.site.link("/auth/forgot") };
        let mail = mail::to_account(control, known, message);
        store::outbox::enqueue(&control.db, &control.sealer, &mail).await?;
        control.mailer.nudge();
        return Ok(());
    }
    if is_same_password {
        let (token, mail) = verification(control, &known.id, &known.email, Locale::of(&known.locale));
        store::people::send_token(&control.db, &control.sealer, &token, &mail).await?;
    } else {
        let (token, mail) = reset_link(control, Some(&known.id), &known.email, Locale::of(&known.locale));
        store::people::contest(&control.db, &control.sealer, &token, &mail).await?;
    }
    control.mailer.nudge();
    Ok(())
}

/// Whoever says that they do not agree gets no account; to say nothing and register is to agree (contract of the route).
pub(super) async fn check_agreement(control: &Control, agreement: &Agreement<'_>) -> Result<(), ControlError> {
    if agreement.terms == Some(false) {
        return Err(ControlError::invalid("accept_terms", "an account needs your agreement to the terms and the privacy policy"));
    }
    if agreement.age == Some(false) {
        let least = control.people.policy.age_min_years;
        return Err(ControlError::invalid("age_confirmed", format!("an account is for people of {least} years or more")));
    }
    let Some(seen) = agreement.terms_version else { return Ok(()) };
    let current = store::policies::current(&control.db, control.clock.now()).await?;
    match current.iter().find(|policy| policy.document == "terms") {
        Some(terms) if terms.version == *seen => Ok(()),
        Some(terms) => {
            let message = format!("the terms in force are version {}, not {seen}; read them at /policies/terms", terms.version);
            Err(ControlError::invalid("terms_version", message))
        }
        None => Err(ControlError::invalid("terms_version", "no terms are in force here; leave terms_version out")),
    }
}

/// Mails a new verification link, if there is an account that waits for one.
pub async fn resend_verification(control: &Control, visitor: &Visitor, email: &str) -> Result<(), ControlError> {
    let email = normal_email(email)?;
    guard_mail(control, visitor, &email)?;
    let waiting = store::accounts::by_email(&control.db, &email).await?.filter(|account| account.verified_at.is_none());
    let Some(account) = waiting else {
        let (token, mail) = verification(control, "", &email, Locale::default());
        return Ok(store::people::pretend_to_send(&control.db, &control.sealer, &token, &mail).await?);
    };
    let (token, mail) = verification(control, &account.id, &email, Locale::of(&account.locale));
    store::people::send_token(&control.db, &control.sealer, &token, &mail).await?;
    control.mailer.nudge();
    Ok(())
}

fn verification(control: &Control, account_id: &str, email: &str, locale: Locale) -> (NewToken, store::outbox::NewMail) {
    let (token, digest) = new_token(control);
    let now = control.clock.now();
    let link = control.site.link(&format!("/auth/verify?token={token}"));
    let row = NewToken {
        id: control.clock.new_id("mtk"),
        account_id: Some(account_id.to_owned()),
        email: email.to_owned(),
        purpose: Purpose::VerifyEmail,
        digest,
        data: json!({}),
        expires_at: now + VERIFY_LIFE,
        created_at: now,
    };
    (row, mail::to_address(control, Some(account_id), email, locale, Message::VerifyEmail { link }))
}

/// Uses a link of a verification mail up.
pub async fn verify(control: &Control, token: &str) -> Result<Account, ControlError> {
    let digest = super::digest(control, token);
    let account = store::people::verify_email(&control.db, &digest, control.clock.now()).await?;
    let account = account.ok_or(Refusal::LinkSpent("ask for a new verification mail"))?;
    control.accounts.changed(&account.locator).await;
    Ok(account)
}
