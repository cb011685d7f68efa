//! Confirming again who somebody is.

use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::super::{
    Control, ControlError, mail,
    people::{Visitor, confirm_identity, confirm_mail_code, mail_code_digest},
};
use crate::{
    clock::fill_random,
    domain::{SECOND, Timestamp, account::Account, mail::Message},
    store::{
        self,
        mail_tokens::{NewToken, Purpose},
    },
    telemetry::redact::Secret,
};

const CODE_LIFE: Timestamp = 600 * SECOND;
const CODE_DIGITS: usize = 8;

/// One of them proves who somebody is.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub password: Option<Secret>,
    /// Of the second factor.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub code: Option<Secret>,
    /// Eight digits of the mail that `/api/v1/me/confirmation-code` sends.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub mail_code: Option<Secret>,
}

/// Mails a code to the account's own address; an earlier one stops working.
pub async fn ask_code(control: &Control, account: &Account) -> Result<(), ControlError> {
    control.people.guard.mail_from(&account.id, &account.email)?;
    let mut bytes = [0; 8];
    fill_random(&mut bytes);
    let number = u64::from_le_bytes(bytes) % 10_u64.pow(8);
    let code = format!("{number:0width$}", width = CODE_DIGITS);
    let now = control.clock.now();
    let token = NewToken {
        id: control.clock.new_id("mtk"),
        account_id: Some(account.id.clone()),
        email: account.email.clone(),
        purpose: Purpose::Confirmation,
        digest: mail_code_digest(control, &account.id, &code),
        data: json!({}),
        expires_at: now + CODE_LIFE,
        created_at: now,
    };
    let message = Message::ConfirmationCode { code, purpose: "privacy".to_owned() };
    let mail = mail::to_account(control, account, message);
    store::people::send_token(&control.db, &control.sealer, &token, &mail).await?;
    control.mailer.nudge();
    Ok(())
}

pub(super) async fn confirm(control: &Control, visitor: &Visitor, account: &Account, proof: &Proof) -> Result<(), ControlError> {
    let Some(code) = &proof.mail_code else {
        let (password, code) = (proof.password.as_ref().map(Secret::expose), proof.code.as_ref().map(Secret::expose));
        return confirm_identity(control, visitor, account, password, code).await;
    };
    confirm_mail_code(control, visitor, account, code.expose()).await
}
