//! A forgotten password: a mailed link that sets a new one.

use super::{
    super::{
        Control, ControlError,
        accounts::{self, normal_email},
        mail,
    },
    Visitor, device_of, digest, event, guard_mail, new_token,
};
use crate::{
    domain::{
        SECOND, Timestamp,
        account::{Account, AccountStatus},
        mail::{Locale, Message},
        password,
        refusal::Refusal,
    },
    store::{
        self,
        mail_tokens::{NewToken, Purpose},
        outbox::NewMail,
    },
};

const RESET_LIFE: Timestamp = 30 * 60 * SECOND;

/// Whose password is new.
pub struct Reset {
    pub account: Account,
    /// Of the cookie that marks this browser as one of the owner's, so that nobody's guessing elsewhere keeps it out.
    pub device: String,
}

/// Mails a link to set a new password, if there is such an account.
pub async fn forgot(control: &Control, visitor: &Visitor, email: &str) -> Result<(), ControlError> {
    let email = normal_email(email)?;
    guard_mail(control, visitor, &email)?;
    let account = store::accounts::by_email(&control.db, &email).await?;
    let Some(account) = account.filter(|account| account.status != AccountStatus::Closed) else {
        let (token, mail) = reset_link(control, None, &email, Locale::default());
        return Ok(store::people::pretend_to_send(&control.db, &control.sealer, &token, &mail).await?);
    };
    let (token, mail) = reset_link(control, Some(&account.id), &account.email, Locale::of(&account.locale));
    store::people::send_token(&control.db, &control.sealer, &token, &mail).await?;
    control.mailer.nudge();
    Ok(())
}

/// A link that sets a new password, and the mail that carries it.
pub(super) fn reset_link(control: &Control, account_id: Option<&str>, email: &str, locale: Locale) -> (NewToken, NewMail) {
    let (token, digest) = new_token(control);
    let now = control.clock.now();
    let row = NewToken {
        id: control.clock.new_id("mtk"),
        account_id: account_id.map(str::to_owned),
        email: email.to_owned(),
        purpose: Purpose::ResetPassword,
        digest,
        data: serde_json::json!({}),
        expires_at: now + RESET_LIFE,
        created_at: now,
    };
    let link = control.site.link(&format!("/auth/reset?token={token}"));
    (row, mail::to_address(control, account_id, email, locale, Message::ResetPassword { link }))
}

/// Sets a new password by a mailed link. Every session of the account ends; whoever got the mail has proven the address, too.
pub async fn reset(control: &Control, visitor: &Visitor, token: &str, new_password: &str) -> Result<Reset, ControlError> {
    const SPENT: Refusal = Refusal::LinkSpent("ask for a new link to reset the password");
    let digest = digest(control, token);
    let holder = store::mail_tokens::holder(&control.db, Purpose::ResetPassword, &digest, control.clock.now()).await?.ok_or(SPENT)?;
    let owner = accounts::get(control, &holder).await?;
    password::check(new_password, &[&owner.email, &owner.name]).map_err(|message| ControlError::invalid("password", message))?;
    let hash = control.people.passwords.hash(new_password).await?;
    let event = event(control, None, "password_reset", visitor);
    let tell = |account: &Account| {
        let message = Message::PasswordChanged { at: event.created_at, ip: event.ip.clone() };
        mail::to_account(control, account, message)
    };
    let account = store::people::reset_password(&control.db, &control.sealer, &digest, &hash, tell, event.clone()).await?;
    let account = account.ok_or(SPENT)?;
    control.mailer.nudge();
    control.accounts.changed(&account.locator).await;
    let device = device_of(control, &account.email);
    Ok(Reset { account, device })
}
