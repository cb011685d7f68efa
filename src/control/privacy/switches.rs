//! Restriction and objection: switches that an owner may set and take back.

use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::super::{Control, ControlError, audit, owner::Owner};
use crate::{
    domain::{Timestamp, account::Account, content::KeepContent, privacy::Kind},
    store::{self, accounts::AccountPatch},
};

/// What is missing stays.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchPatch {
    /// The account is kept, and makes no calls.
    #[serde(default)]
    pub restricted: Option<bool>,
    /// No analytics with the account's data; what campaigns know of it is erased.
    #[serde(default)]
    pub objected: Option<bool>,
    /// Requests and answers of model calls are kept, encrypted, for `content.retention_days`; where the operator allows it.
    #[serde(default)]
    pub keep_content: Option<bool>,
}

pub async fn set_switches(control: &Control, owner: &Owner, patch: SwitchPatch) -> Result<Account, ControlError> {
    if patch.keep_content == Some(true) && control.privacy.keep_content == KeepContent::Off {
        let message = "this gateway keeps no requests and answers (its operator can turn 'content.keep' on); leave keep_content out";
        return Err(ControlError::invalid("keep_content", message));
    }
    let account = write(control, &owner.account, patch).await?;
    let details = json!({ "restricted": patch.restricted, "objected": patch.objected, "keep_content": patch.keep_content });
    audit::note(control, &owner.actor, "privacy.switches", &account.id, details).await;
    Ok(account)
}

/// Sets the switch that a request asks for.
pub(super) async fn apply(control: &Control, account: &Account, kind: Kind) -> Result<(), ControlError> {
    let (restricted, objected) = ((kind == Kind::Restriction).then_some(true), (kind == Kind::Objection).then_some(true));
    write(control, account, SwitchPatch { restricted, objected, keep_content: None }).await.map(|_| ())
}

async fn write(control: &Control, account: &Account, patch: SwitchPatch) -> Result<Account, ControlError> {
    let now = control.clock.now();
    let since = |wish: Option<bool>, before: Option<Timestamp>| wish.map(|on| on.then(|| before.unwrap_or(now)));
    let change = AccountPatch {
        restricted_at: since(patch.restricted, account.restricted_at),
        objected_at: since(patch.objected, account.objected_at),
        keep_content: patch.keep_content.map(Some),
        ..AccountPatch::default()
    };
    if patch.objected == Some(true) {
        store::privacy::forget_campaign(&control.db, &account.id).await?;
    }
    let account = store::accounts::update(&control.db, &account.id, change, now).await?;
    control.accounts.changed(&account.locator).await;
    Ok(account)
}
