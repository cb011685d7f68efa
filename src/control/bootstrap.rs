//! What a gateway needs before anybody can use it: an operator, an admin key, and something to try.

use serde_json::json;

use super::{
    Actor, Control, ControlError, accounts,
    accounts::{Account, NewAccount},
    audit,
    credits::{self, NewGrant},
    keys::{self, ApiKey, CreatedKey, NewKey},
};
use crate::{
    domain::{
        Micros,
        api_key::{KeyOptions, Scope, Shape},
        ledger::Category,
        quota::Limits,
    },
    store::{self, StoreError},
    telemetry::redact::Secret,
};

pub use super::catalog::ensure_builtin;

/// Shorter values can be guessed.
const ADMIN_KEY_LENGTH_MIN: usize = 24;
const OPERATOR_EMAIL: &str = "operator@localhost";
const ALL_SCOPES: [Scope; 3] = [Scope::Inference, Scope::Account, Scope::Admin];

/// Ensures an admin key with exactly this value (setting `bootstrap.admin_key`); the operator's account is made when there is none.
/// The same value again changes nothing. A value that was revoked is refused rather than brought back.
pub async fn ensure_admin_key(control: &Control, value: &Secret) -> Result<(), ControlError> {
    let text = value.expose();
    let shape = Shape::of(text).map_err(|malformed| invalid(&malformed.to_string()))?;
    if text.len() < ADMIN_KEY_LENGTH_MIN {
        return Err(invalid(&format!("it must have at least {ADMIN_KEY_LENGTH_MIN} characters")));
    }
    let digests = control.hasher.digests(text);
    if let Some(key) = store::keys::find_by_digest(&control.db, digests.all()).await? {
        return check_existing(control, &key);
    }
    let locator = match shape {
        Shape::Standard(parsed) => Some(parsed.locator),
        Shape::Foreign => None,
    };
    let account = account_for(control, locator).await?;
    let mut key = ApiKey {
        id: control.clock.new_id("key"),
        account_id: account.id,
        title: "bootstrap".to_owned(),
        prefix: String::new(),
        last4: String::new(),
        digest: None,
        pepper_version: 0,
        scopes: ALL_SCOPES.to_vec(),
        models: None,
        limits: Limits::default(),
        budget: None,
        ip_allow: None,
        options: KeyOptions::default(),
        expires_at: None,
        revoked_at: None,
        rotated_from: None,
        last_used_at: None,
        created_at: control.clock.now(),
        legacy_weak: false,
        revoked_reason: None,
    };
    keys::remember(control, &mut key, value);
    match store::keys::insert(&control.db, &key).await {
        // Another node that starts with the same setting was quicker.
        Err(StoreError::Conflict(_)) => return Ok(()),
        outcome => outcome?,
    }
    control.accounts.foreign_key_changed(digests.current());
    control.accounts.changed(&account.locator).await;
    audit::note(control, &Actor::system(), "key.bootstrap", &key.id, json!({ "scopes": key.scopes })).await;
    Ok(())
}

/// On a gateway without any account: makes the operator's account, gives it `demo_credits` and answers with its first key, which may
/// do everything. `None` when there are accounts already.
pub async fn first_start(control: &Control, demo_credits: Micros) -> Result<Option<CreatedKey>, ControlError> {
    if store::accounts::count(&control.db).await? > 0 {
        return Ok(None);
    }
    let system = Actor::system();
    let account = create_operator(control, None).await?;
    if demo_credits > 0 {
        let grant = NewGrant {
            amount_micros: demo_credits,
            reason: "demo credits of the first start".to_owned(),
            category: Some(Category::Promotional),
            priority: None,
            expires_at: None,
        };
        credits::grant(control, &system, &account.id, Some("first-start"), grant).await?;
    }
    let new = NewKey { title: "first start".to_owned(), scopes: Some(ALL_SCOPES.to_vec()), ..NewKey::default() };
    keys::create(control, &system, &account.id, new).await.map(Some)
}

fn check_existing(control: &Control, key: &ApiKey) -> Result<(), ControlError> {
    if key.is_live(control.clock.now()) && key.has_scope(Scope::Admin) {
        return Ok(());
    }
    Err(ControlError::Conflict(
        "bootstrap.admin_key names a key that was revoked, has expired or is no admin key; set a new value or unset it".to_owned(),
    ))
}

/// The account for the bootstrap key: the one its locator names, else the operator's.
async fn account_for(control: &Control, locator: Option<&str>) -> Result<Account, ControlError> {
    if let Some(locator) = locator
        && let Some(account) = store::accounts::by_locator(&control.db, locator).await?
    {
        return Ok(account);
    }
    match (store::accounts::operator(&control.db).await?, locator) {
        (Some(operator), None) => Ok(operator),
        (Some(_), Some(_)) => {
            Err(invalid("it names an account that does not exist here; use a value of another shape, or a key of this gateway"))
        }
        (None, locator) => create_operator(control, locator).await,
    }
}

async fn create_operator(control: &Control, locator: Option<&str>) -> Result<Account, ControlError> {
    let new = NewAccount { email: OPERATOR_EMAIL.to_owned(), name: Some("Operator".to_owned()), verified: true, ..NewAccount::default() };
    match accounts::insert(control, &Actor::system(), new, locator, true).await {
        // Two nodes start at the same moment on an empty database.
        Err(ControlError::Conflict(why)) => match store::accounts::operator(&control.db).await? {
            Some(operator) if locator.is_none_or(|locator| operator.locator == locator) => Ok(operator),
            _ => Err(ControlError::Conflict(why)),
        },
        outcome => outcome,
    }
}

fn invalid(why: &str) -> ControlError {
    ControlError::invalid("bootstrap.admin_key", format!("bootstrap.admin_key cannot be used: {why}"))
}
