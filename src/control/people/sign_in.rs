//! Signing in by password, with a second factor where there is one, and confirming again who one is.

use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    super::{Control, ControlError, accounts::normal_email, mail, passwords::Verdict, sign_in::open},
    Visitor, device_of, event, is_known_device, second_factor,
};
use crate::{
    domain::{
        account::{Account, AccountStatus},
        mail::Message,
        refusal::Refusal,
    },
    store,
    telemetry::redact::Secret,
};

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    pub email: String,
    #[schema(value_type = String)]
    pub password: Secret,
    /// Of the second factor, when it is on.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub code: Option<Secret>,
    /// Instead of `code`; each works once.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub recovery_code: Option<Secret>,
}

pub struct SignedIn {
    pub account: Account,
    /// Of the session cookie.
    pub session_token: String,
    /// Of the cookie that marks this browser as one the owner uses.
    pub device: String,
    /// Whether a second factor was asked for.
    pub second_factor: bool,
}

/// Opens a session. Wrong addresses and wrong passwords are refused alike.
pub async fn sign_in(control: &Control, visitor: &Visitor, wish: SignIn) -> Result<SignedIn, ControlError> {
    let email = normal_email(&wish.email)?;
    let device = device_of(control, &email);
    control.people.guard.password(&email, visitor, is_known_device(control, visitor, &email))?;
    let account = store::accounts::by_email(&control.db, &email).await?.filter(|account| account.status != AccountStatus::Closed);
    // Also when nobody has the address: both take the same time.
    let kept = store::credentials::get(&control.db, account.as_ref().map_or("", |account| account.id.as_str())).await?;
    let verdict = control.people.passwords.verify(wish.password.expose(), kept.password_hash.as_deref()).await?;
    let account = match (account, verdict) {
        (Some(account), Verdict::Right) => account,
        (Some(account), Verdict::RightAndStale(newer)) => {
            store::credentials::rehash(&control.db, &account.id, kept.password_hash.as_deref().unwrap_or_default(), &newer).await?;
            account
        }
        (account, _) => {
            let event = event(control, account.as_ref().map(|account| account.id.as_str()), "sign_in_failed", visitor);
            store::security::append(&control.db, &event).await?;
            return Err(Refusal::InvalidCredentials.into());
        }
    };
    if kept.totp_confirmed_at.is_some() {
        let code = wish.code.as_ref().map(Secret::expose);
        let checked = second_factor::check(control, &account.id, &kept, code, wish.recovery_code.as_ref().map(Secret::expose)).await;
        if matches!(checked, Err(ControlError::Refused(Refusal::WrongCode(_)))) {
            store::security::append(&control.db, &event(control, Some(&account.id), "second_factor_failed", visitor)).await?;
        }
        checked?;
    }
    let session_token = admit(control, visitor, &account).await?;
    Ok(SignedIn { account, session_token, device, second_factor: kept.totp_confirmed_at.is_some() })
}

/// Opens a session for somebody whose proof was checked, and tells the owner of a sign-in from somewhere new.
pub(in crate::control) async fn admit(control: &Control, visitor: &Visitor, account: &Account) -> Result<String, ControlError> {
    let (ip, user_agent) = (visitor.ip_text(), visitor.user_agent());
    let (any, same) = store::security::sign_ins(&control.db, &account.id, ip.as_deref(), user_agent.as_deref()).await?;
    let token = open(control, &account.id, ip.clone(), user_agent.clone()).await?;
    store::security::append(&control.db, &event(control, Some(&account.id), "sign_in", visitor)).await?;
    if any && !same {
        let message = Message::NewSignIn { at: control.clock.now(), ip, user_agent };
        store::outbox::enqueue(&control.db, &control.sealer, &mail::to_account(control, account, message)).await?;
        control.mailer.nudge();
    }
    Ok(token)
}

/// Proof that it is the person who sits there: the password, or a code of the second factor. Asked for before data leaves or goes.
pub async fn confirm_identity(
    control: &Control,
    visitor: &Visitor,
    account: &Account,
    password: Option<&str>,
    code: Option<&str>,
) -> Result<(), ControlError> {
    control.people.guard.password(&account.email, visitor, is_known_device(control, visitor, &account.email))?;
    let kept = store::credentials::get(&control.db, &account.id).await?;
    match (password, code) {
        (Some(password), _) => match control.people.passwords.verify(password, kept.password_hash.as_deref()).await? {
            Verdict::Wrong => Err(Refusal::InvalidCredentials.into()),
            Verdict::Right | Verdict::RightAndStale(_) => Ok(()),
        },
        (None, Some(code)) if kept.totp_confirmed_at.is_some() => second_factor::check(control, &account.id, &kept, Some(code), None).await,
        _ => Err(ControlError::invalid("password", "confirm who you are: send your password")),
    }
}
