//! Signing in by password, with a second factor where there is one, and confirming again who one is.

use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    super::{Control, ControlError, accounts::normal_email, mail, passwords::Verdict, sign_in::open},
    Visitor, device_of, digest, event, is_known_device, second_factor,
};
use crate::{
    domain::{
        account::{Account, AccountStatus},
        api_key::Digest,
        mail::Message,
        refusal::Refusal,
    },
    store::{self, mail_tokens::Purpose},
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
        if code.is_some() || wish.recovery_code.is_some() {
            control.people.guard.second_factor(&account.id, is_known_device(control, visitor, &email))?;
        }
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

/// The same before a way to sign in changes: the password, or, in an account that has none, a code that was mailed.
pub async fn confirm_owner(
    control: &Control,
    visitor: &Visitor,
    account: &Account,
    password: Option<&str>,
    mail_code: Option<&str>,
) -> Result<(), ControlError> {
    if store::credentials::get(&control.db, &account.id).await?.password_hash.is_some() {
        return confirm_identity(control, visitor, account, password, None).await;
    }
    let Some(code) = mail_code else {
        let message = "this account has no password: POST /api/v1/me/confirmation-code mails a code to send as mail_code, and /auth/forgot \
                       sets a password";
        return Err(ControlError::invalid("mail_code", message));
    };
    confirm_mail_code(control, visitor, account, code).await
}

/// How a mailed code is kept.
pub(in crate::control) fn mail_code_digest(control: &Control, account_id: &str, code: &str) -> Digest {
    digest(control, &format!("mail code {account_id} {code}"))
}

/// Uses up the code that was mailed to the account's own address.
pub(in crate::control) async fn confirm_mail_code(
    control: &Control,
    visitor: &Visitor,
    account: &Account,
    code: &str,
) -> Result<(), ControlError> {
    control.people.guard.password(&account.email, visitor, false)?;
    let digest = mail_code_digest(control, &account.id, code.trim());
    let used = store::privacy::consume(&control.db, Purpose::Confirmation, &digest, control.clock.now()).await?;
    if used.is_some_and(|used| used.account_id.as_deref() == Some(account.id.as_str())) {
        return Ok(());
    }
    Err(Refusal::WrongCode("this code is wrong, was used or is too old; ask for a new one").into())
}
