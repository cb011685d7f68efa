//! What an owner changes about themselves: name, language, address, password.

use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{
    super::{
        Control, ControlError,
        accounts::{NAME_LENGTH_MAX, normal_email},
        audit,
        input::check_text,
        mail,
        owner::Owner,
    },
    Visitor, confirm_owner, digest, domains, event, new_token,
};
use crate::{
    domain::{
        SECOND, Timestamp,
        account::Account,
        mail::{Locale, Message},
        password,
        refusal::Refusal,
    },
    store::{
        self,
        accounts::AccountPatch,
        mail_tokens::{NewToken, Purpose},
    },
    telemetry::redact::Secret,
};

const CHANGE_LIFE: Timestamp = 24 * 3_600 * SECOND;

/// What to change; fields that are missing stay. A new `email` or `new_password` needs the current `password`, or a `mail_code` where there is none.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfilePatch {
    #[serde(default)]
    #[schema(max_length = 200)]
    pub name: Option<String>,
    #[serde(default)]
    pub locale: Option<String>,
    /// Counts once the link mailed to it was opened.
    #[serde(default)]
    pub email: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub new_password: Option<Secret>,
    /// The current one.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub password: Option<Secret>,
    /// Instead of `password`, in an account that has none: the code that `/api/v1/me/confirmation-code` mails.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub mail_code: Option<Secret>,
}

/// A changed profile.
pub struct Profiled {
    pub account: Account,
    /// The address a confirmation was mailed to.
    pub pending_email: Option<String>,
}

pub async fn patch_profile(control: &Control, visitor: &Visitor, owner: &Owner, patch: ProfilePatch) -> Result<Profiled, ControlError> {
    let account = &owner.account;
    if let Some(name) = patch.name.as_deref().filter(|name| !name.is_empty()) {
        check_text("name", name, NAME_LENGTH_MAX)?;
    }
    if patch.email.is_some() || patch.new_password.is_some() {
        let (password, mail_code) = (patch.password.as_ref().map(Secret::expose), patch.mail_code.as_ref().map(Secret::expose));
        confirm_owner(control, visitor, account, password, mail_code).await?;
    }
    let new_email = patch.email.as_deref().map(normal_email).transpose()?.filter(|email| *email != account.email);
    if let Some(email) = &new_email {
        domains::check(control, email).await?;
        control.people.guard.mail_from(&account.id, email)?;
    }
    if let Some(new) = &patch.new_password {
        let about = [account.email.as_str(), account.name.as_str()];
        password::check(new.expose(), &about).map_err(|message| ControlError::invalid("new_password", message))?;
        let hash = control.people.passwords.hash(new.expose()).await?;
        let event = event(control, Some(&account.id), "password_changed", visitor);
        let mail = mail::to_account(control, account, Message::PasswordChanged { at: event.created_at, ip: event.ip.clone() });
        let keep = owner.session_id.as_deref();
        store::people::change_password(&control.db, &control.sealer, &account.id, &hash, keep, &mail, &event).await?;
        control.mailer.nudge();
    }
    if let Some(email) = &new_email {
        ask_new_address(control, account, email).await?;
    }
    let changed = patch.name.is_some() || patch.locale.is_some();
    let details = json!({ "name_changed": patch.name.is_some(), "locale": patch.locale, "password_changed": patch.new_password.is_some(), "email_change_asked": new_email.is_some() });
    let account = if changed {
        let locale = patch.locale.map(|tag| Locale::of(&tag).as_str().to_owned());
        let change = AccountPatch { name: patch.name, locale, ..AccountPatch::default() };
        store::accounts::update(&control.db, &account.id, change, control.clock.now()).await?
    } else {
        account.clone()
    };
    audit::note(control, &owner.actor, "account.profile", &account.id, details).await;
    Ok(Profiled { account, pending_email: new_email })
}

/// Mails a confirmation to the new address. One that belongs to somebody gets nothing; the answer is the same.
async fn ask_new_address(control: &Control, account: &Account, email: &str) -> Result<(), ControlError> {
    if store::accounts::by_email(&control.db, email).await?.is_some() {
        return Ok(());
    }
    let (token, digest) = new_token(control);
    let now = control.clock.now();
    let row = NewToken {
        id: control.clock.new_id("mtk"),
        account_id: Some(account.id.clone()),
        email: email.to_owned(),
        purpose: Purpose::ChangeEmail,
        digest,
        data: json!({}),
        expires_at: now + CHANGE_LIFE,
        created_at: now,
    };
    let link = control.site.link(&format!("/auth/email?token={token}"));
    let message = Message::ConfirmNewEmail { link };
    let mail = mail::to_address(control, Some(&account.id), email, Locale::of(&account.locale), message);
    store::people::send_token(&control.db, &control.sealer, &row, &mail).await?;
    control.mailer.nudge();
    Ok(())
}

/// Uses the link to a new address up; the old address is told.
pub async fn confirm_email(control: &Control, visitor: &Visitor, token: &str) -> Result<Account, ControlError> {
    let event = event(control, None, "email_changed", visitor);
    let tell =
        |before: &Account, new_email: &str| mail::to_account(control, before, Message::EmailChanged { new_email: masked(new_email) });
    let account = store::people::confirm_email(&control.db, &control.sealer, &digest(control, token), tell, event).await?;
    let account = account.ok_or(Refusal::LinkSpent("ask for the change once more"))?;
    control.mailer.nudge();
    control.accounts.changed(&account.locator).await;
    Ok(account)
}

/// `a…@example.com`: enough for the owner to recognise it.
fn masked(email: &str) -> String {
    let (local, host) = email.split_once('@').unwrap_or((email, ""));
    format!("{}…@{host}", local.chars().next().unwrap_or('?'))
}
