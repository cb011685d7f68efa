//! Accounts: the customers of this gateway.

use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{
    Actor, Control, ControlError, Page, PageRequest, audit, given,
    input::{check_id, check_text},
    mail,
};
use crate::{
    clock::fill_random,
    domain::{
        account::AccountStatus,
        api_key::{LOCATOR_LENGTH, base62},
        mail::{Locale, Message},
        quota::Limits,
    },
    store::{self, StoreError},
};

pub use crate::domain::account::Account;

const EMAIL_LENGTH_MAX: usize = 254;
pub(super) const NAME_LENGTH_MAX: usize = 200;
const REASON_LENGTH_MAX: usize = 500;
const PLAN_ID_LENGTH_MAX: usize = 64;
/// Of 62^10 locators one that is taken is next to impossible to draw, five of them are a broken generator.
pub(super) const LOCATOR_TRIES: usize = 5;

/// A new customer.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    /// Unique, whatever its case.
    #[schema(example = "ada@example.com", max_length = 254)]
    pub email: String,
    #[serde(default)]
    #[schema(max_length = 200)]
    pub name: Option<String>,
    /// True when the operator vouches for the address. Keys of unverified accounts are refused unless that check is switched off.
    #[serde(default)]
    pub verified: bool,
    #[serde(default)]
    pub limits: Option<Limits>,
    #[serde(default)]
    #[schema(max_length = 64)]
    pub plan_id: Option<String>,
}

/// What to change of an account; fields that are missing stay.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountPatch {
    #[serde(default)]
    #[schema(max_length = 200)]
    pub name: Option<String>,
    /// Keys of suspended and closed accounts are refused.
    #[serde(default)]
    pub status: Option<AccountStatus>,
    /// Why the account is suspended. Its owner gets it by mail, and the audit trail keeps it.
    #[serde(default)]
    #[schema(max_length = 500)]
    pub reason: Option<String>,
    #[serde(default)]
    pub verified: Option<bool>,
    /// Replaces all limits of the account; null goes back to the gateway's defaults.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Limits>)]
    pub limits: Option<Option<Limits>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 64)]
    pub plan_id: Option<Option<String>>,
}

/// Creates an account with an empty balance.
pub async fn create(control: &Control, actor: &Actor, new: NewAccount) -> Result<Account, ControlError> {
    insert(control, actor, new, None, false).await
}

/// Creates an account; `locator` is drawn when there is none.
pub(super) async fn insert(
    control: &Control,
    actor: &Actor,
    new: NewAccount,
    locator: Option<&str>,
    is_operator: bool,
) -> Result<Account, ControlError> {
    let email = normal_email(&new.email)?;
    let name = new.name.unwrap_or_default();
    if !name.is_empty() {
        check_text("name", &name, NAME_LENGTH_MAX)?;
    }
    check_plan(new.plan_id.as_deref())?;
    let now = control.clock.now();
    let mut row = store::accounts::NewAccount {
        id: control.clock.new_id("acc"),
        locator: String::new(),
        email,
        name,
        status: AccountStatus::Active,
        verified_at: new.verified.then_some(now),
        limits: new.limits.unwrap_or_default(),
        plan_id: new.plan_id,
        is_operator,
        locale: Locale::default().as_str().to_owned(),
        created_at: now,
    };
    let mut tries = LOCATOR_TRIES;
    let account = loop {
        row.locator = locator.map_or_else(|| base62(LOCATOR_LENGTH, fill_random), str::to_owned);
        tries -= 1;
        match store::accounts::create(&control.db, row.clone()).await {
            Err(StoreError::Conflict(what)) if locator.is_none() && tries > 0 && what.contains("locator") => {}
            outcome => break outcome?,
        }
    };
    control.accounts.changed(&account.locator).await;
    audit::note(control, actor, "account.create", &account.id, json!({ "verified": new.verified, "is_operator": is_operator })).await;
    Ok(account)
}

pub async fn get(control: &Control, id: &str) -> Result<Account, ControlError> {
    store::accounts::get(&control.db, id).await?.ok_or_else(|| ControlError::NotFound(format!("account {id}")))
}

/// Accounts, newest first; `q` finds parts of the e-mail address, the name or the id.
pub async fn list(control: &Control, q: Option<&str>, page: &PageRequest) -> Result<Page<Account>, ControlError> {
    let q = q.map(str::trim).filter(|q| !q.is_empty());
    let accounts = store::accounts::list(&control.db, q, page.after(), page.rows()).await?;
    Ok(Page::cut(accounts, page, |account| account.id.clone()))
}

/// Changes an account; its next call sees it.
pub async fn patch(control: &Control, actor: &Actor, id: &str, patch: AccountPatch) -> Result<Account, ControlError> {
    if let Some(name) = patch.name.as_deref().filter(|name| !name.is_empty()) {
        check_text("name", name, NAME_LENGTH_MAX)?;
    }
    check_plan(patch.plan_id.as_ref().and_then(Option::as_deref))?;
    if let Some(reason) = patch.reason.as_deref() {
        check_text("reason", reason, REASON_LENGTH_MAX)?;
    }
    let now = control.clock.now();
    let before = get(control, id).await?;
    check_deletion(control, &before, patch.status).await?;
    let verified_at = patch.verified.map(|verified| verified.then(|| before.verified_at.unwrap_or(now)));
    let details = json!({
        "status": patch.status,
        "reason": patch.reason,
        "verified": patch.verified,
        "limits": patch.limits.map(Option::unwrap_or_default),
        "plan_id": patch.plan_id,
        "name_changed": patch.name.is_some(),
    });
    let patch_status = patch.status;
    let news = match (before.status, patch.status) {
        (AccountStatus::Active, Some(AccountStatus::Suspended)) => {
            Some(Message::AccountSuspended { reason: patch.reason.unwrap_or_default() })
        }
        (AccountStatus::Suspended, Some(AccountStatus::Active)) => Some(Message::AccountReinstated {}),
        _ => None,
    };
    let mails: Vec<_> = news.map(|news| mail::to_account(control, &before, news)).into_iter().collect();
    let change = store::accounts::AccountPatch {
        name: patch.name,
        status: patch.status,
        verified_at,
        limits: patch.limits.map(Option::unwrap_or_default),
        plan_id: patch.plan_id,
        ..store::accounts::AccountPatch::default()
    };
    let account = store::accounts::update_with_mails(&control.db, &control.sealer, id, change, &mails, now).await?;
    if patch_status.is_some_and(|status| status != AccountStatus::Active) {
        store::sessions::delete_all(&control.db, id, None).await?;
    }
    if !mails.is_empty() {
        control.mailer.nudge();
    }
    control.accounts.changed(&account.locator).await;
    audit::note(control, actor, "account.update", id, details).await;
    Ok(account)
}

/// What was erased stays so, and an account that waits for its deletion comes back with the request only, not around it.
async fn check_deletion(control: &Control, account: &Account, status: Option<AccountStatus>) -> Result<(), ControlError> {
    if account.status != AccountStatus::Closed {
        return Ok(());
    }
    match store::privacy::deletion(&control.db, &account.id).await? {
        Some((_, true)) => Err(ControlError::Conflict(
            "this account was erased; what is left of it is what the ledger needs, and cannot be changed".to_owned(),
        )),
        Some((request, false)) if status.is_some_and(|status| status != AccountStatus::Closed) => Err(ControlError::Conflict(format!(
            "the deletion of this account is under way ({request}); the link in the mail about it keeps the account"
        ))),
        _ => Ok(()),
    }
}

fn check_plan(plan_id: Option<&str>) -> Result<(), ControlError> {
    plan_id.map_or(Ok(()), |plan_id| check_id("plan_id", plan_id, PLAN_ID_LENGTH_MAX))
}

/// One spelling for one mailbox. Only what is certainly no address is refused; whether mail arrives is for a mail to find out.
pub(super) fn normal_email(text: &str) -> Result<String, ControlError> {
    let email = text.trim().to_lowercase();
    let is_address = email.split_once('@').is_some_and(|(local, host)| !local.is_empty() && !host.is_empty() && !host.contains('@'));
    let is_text = !email.chars().any(|character| character.is_whitespace() || character.is_control());
    if !is_address || !is_text || email.len() > EMAIL_LENGTH_MAX {
        return Err(ControlError::invalid("email", "email must be an e-mail address such as ada@example.com"));
    }
    Ok(email)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn email_addresses_have_one_spelling() {
        assert_eq!(normal_email("  Ada@Example.COM ").unwrap(), "ada@example.com");
        let long = format!("{}@example.com", "a".repeat(250));
        for bad in ["", "ada", "@example.com", "ada@", "ada@b@c", "a da@example.com", "ada@exam\nple.com", &long] {
            assert!(normal_email(bad).is_err(), "{bad:?}");
        }
    }
}
