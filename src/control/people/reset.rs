//! A forgotten password: a mailed link that sets a new one.

use super::{
    super::{Control, ControlError, accounts::normal_email, mail},
    Visitor, digest, event, new_token,
};
use crate::{
    domain::{
        SECOND, Timestamp,
        account::{Account, AccountStatus},
        mail::Message,
        password,
        refusal::Refusal,
    },
    store::{
        self,
        mail_tokens::{NewToken, Purpose},
    },
};

const RESET_LIFE: Timestamp = 30 * 60 * SECOND;

/// Mails a link to set a new password, if there is such an account.
pub async fn forgot(control: &Control, email: &str) -> Result<(), ControlError> {
    let email = normal_email(email)?;
    control.people.guard.mail(&email)?;
    let account = store::accounts::by_email(&control.db, &email).await?;
    let Some(account) = account.filter(|account| account.status != AccountStatus::Closed) else { return Ok(()) };
    let (token, digest) = new_token(control);
    let now = control.clock.now();
    let row = NewToken {
        id: control.clock.new_id("mtk"),
        account_id: Some(account.id.clone()),
        email,
        purpose: Purpose::ResetPassword,
        digest,
        data: serde_json::json!({}),
        expires_at: now + RESET_LIFE,
        created_at: now,
    };
    let link = control.site.link(&format!("/auth/reset?token={token}"));
    let mail = mail::to_account(control, &account, Message::ResetPassword { link });
    store::people::send_token(&control.db, &control.sealer, &row, &mail).await?;
    control.mailer.nudge();
    Ok(())
}

/// Sets a new password by a mailed link. Every session of the account ends; whoever got the mail has proven the address, too.
pub async fn reset(control: &Control, visitor: &Visitor, token: &str, new_password: &str) -> Result<Account, ControlError> {
    password::check(new_password, &[]).map_err(|message| ControlError::invalid("password", message))?;
    let hash = control.people.passwords.hash(new_password).await?;
    let event = event(control, None, "password_reset", visitor);
    let tell = |account: &Account| {
        let message = Message::PasswordChanged { at: event.created_at, ip: event.ip.clone() };
        mail::to_account(control, account, message)
    };
    let account = store::people::reset_password(&control.db, &control.sealer, &digest(control, token), &hash, tell, event.clone()).await?;
    let account = account.ok_or(Refusal::LinkSpent("ask for a new link to reset the password"))?;
    control.mailer.nudge();
    control.accounts.changed(&account.locator).await;
    Ok(account)
}
