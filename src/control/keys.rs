//! API keys: made, changed, replaced and ended. What is done here counts for the very next call.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{
    Actor, Control, ControlError, Moment, Page, PageRequest, accounts, audit, given,
    input::{check_future, check_id, check_range, check_text},
};
use crate::{
    clock::fill_random,
    domain::{
        Micros, SECOND, Timestamp,
        account::AccountStatus,
        api_key::{self, Budget, KeyKind, KeyOptions, SECRET_LENGTH, Scope},
        legacy_key::{self, STRONG_LENGTH_MIN},
        quota::Limits,
    },
    store::{self, StoreError},
    telemetry::redact::Secret,
};

pub use crate::domain::api_key::ApiKey;

pub(super) const TITLE_LENGTH_MAX: usize = 200;
const MODEL_PATTERN_LENGTH_MAX: usize = 200;
/// Entries of a key's list of models or of addresses.
const LIST_MAX: usize = 200;
const BUDGET_MICROS_MAX: Micros = 1_000_000_000_000_000_000;
const CACHE_TTL_SECONDS_MAX: u32 = 30 * 24 * 3_600;
const GRACE_SECONDS_DEFAULT: i64 = 86_400;
const GRACE_SECONDS_MAX: i64 = 604_800;

/// A new key.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    #[schema(example = "laptop", min_length = 1, max_length = 200)]
    pub title: String,
    /// `["inference"]` when missing.
    #[serde(default)]
    pub scopes: Option<Vec<Scope>>,
    /// Models the key may use; an entry ending in `*` allows a prefix. Missing or null allows all.
    #[serde(default)]
    #[schema(example = json!(["openai/*", "pixgate/echo"]))]
    pub models: Option<Vec<String>>,
    #[serde(default)]
    pub limits: Option<Limits>,
    #[serde(default)]
    pub budget: Option<Budget>,
    /// Addresses and networks the key may be used from. Missing or null allows all.
    #[serde(default)]
    #[schema(example = json!(["203.0.113.0/24", "2001:db8::1"]))]
    pub ip_allow: Option<Vec<String>>,
    #[serde(default)]
    pub options: KeyOptions,
    #[serde(default)]
    pub expires_at: Option<Moment>,
}

/// What to change of a key; fields that are missing stay.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyPatch {
    #[serde(default)]
    #[schema(min_length = 1, max_length = 200)]
    pub title: Option<String>,
    #[serde(default)]
    pub scopes: Option<Vec<Scope>>,
    /// Null allows all models.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<String>>)]
    pub models: Option<Option<Vec<String>>>,
    /// Replaces all limits of the key; null takes them away.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Limits>)]
    pub limits: Option<Option<Limits>>,
    /// Null takes the budget away.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Budget>)]
    pub budget: Option<Option<Budget>>,
    /// Null allows all addresses.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<String>>)]
    pub ip_allow: Option<Option<Vec<String>>>,
    /// Replaced whole.
    #[serde(default)]
    pub options: Option<KeyOptions>,
    /// Null takes the expiry away.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Moment>)]
    pub expires_at: Option<Option<Moment>>,
}

/// How to replace a key.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// How long the old key goes on working; a day when missing.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 604_800, default = 86_400)]
    pub grace_seconds: Option<i64>,
}

/// A key whose whole text is known, once.
#[derive(Debug, Clone)]
pub struct CreatedKey {
    pub key: ApiKey,
    pub text: Secret,
}

pub async fn create(control: &Control, actor: &Actor, account_id: &str, new: NewKey) -> Result<CreatedKey, ControlError> {
    let account = accounts::get(control, account_id).await?;
    if account.status == AccountStatus::Closed {
        return Err(ControlError::Conflict("this account is closed; no key of it would work".to_owned()));
    }
    let now = control.clock.now();
    let mut key = draft(control.clock.new_id("key"), account.id, new, now)?;
    let text = compose(control, &mut key, KeyKind::Live, &account.locator);
    store::keys::insert(&control.db, &key).await?;
    control.accounts.changed(&account.locator).await;
    let details = json!({ "account_id": key.account_id, "scopes": key.scopes, "expires_at": key.expires_at.map(Moment) });
    audit::note(control, actor, "key.create", &key.id, details).await;
    Ok(CreatedKey { key, text })
}

/// Takes over a key that another gateway made, so that its holder goes on using it. `text` must not look like one of ours.
/// [`ControlError::Conflict`] when it is known here.
pub async fn adopt(control: &Control, actor: &Actor, account_id: &str, new: NewKey, text: &Secret) -> Result<ApiKey, ControlError> {
    check_foreign(text)?;
    let account = accounts::get(control, account_id).await?;
    let mut key = draft(control.clock.new_id("key"), account.id, new, control.clock.now())?;
    insert_foreign(control, &mut key, text).await?;
    control.accounts.changed(&account.locator).await;
    let details = json!({ "account_id": key.account_id, "scopes": key.scopes, "expires_at": key.expires_at.map(Moment) });
    audit::note(control, actor, "key.adopt", &key.id, details).await;
    Ok(key)
}

/// Writes a key with the text that another program chose. [`ControlError::Conflict`] when it is known here, under whichever pepper.
pub(super) async fn insert_foreign(control: &Control, key: &mut ApiKey, text: &Secret) -> Result<(), ControlError> {
    let known = || ControlError::Conflict("this key is known here already".to_owned());
    let digests = control.hasher.digests(text.expose());
    if store::keys::find_by_digest(&control.db, digests.all()).await?.is_some() {
        return Err(known());
    }
    remember(control, key, text);
    store::keys::insert(&control.db, key).await.map_err(|error| match error {
        StoreError::Conflict(_) => known(),
        other => other.into(),
    })?;
    control.accounts.foreign_key_changed(digests.current());
    Ok(())
}

/// Whether a text that others chose can be a key here: hard to guess, printable, and not of our own shape.
pub(super) fn check_foreign(text: &Secret) -> Result<(), ControlError> {
    let is_foreign = matches!(api_key::Shape::of(text.expose()), Ok(api_key::Shape::Foreign));
    if !is_foreign || text.expose().len() < STRONG_LENGTH_MIN {
        let why = format!(
            "key must have {STRONG_LENGTH_MIN} to {} visible ASCII characters and must not begin like a key of this gateway; leave it out to have one made",
            api_key::FOREIGN_LENGTH_MAX
        );
        return Err(ControlError::invalid("key", why));
    }
    Ok(())
}

/// Whether a key could be made so.
pub fn check(new: &NewKey, now: Timestamp) -> Result<(), ControlError> {
    draft(String::new(), String::new(), new.clone(), now).map(|_| ())
}

/// A key with everything but its text.
pub(super) fn draft(id: String, account_id: String, new: NewKey, now: Timestamp) -> Result<ApiKey, ControlError> {
    let mut key = ApiKey {
        id,
        account_id,
        title: String::new(),
        prefix: String::new(),
        last4: String::new(),
        digest: None,
        pepper_version: 0,
        scopes: vec![Scope::Inference],
        models: None,
        limits: Limits::default(),
        budget: None,
        ip_allow: None,
        options: KeyOptions::default(),
        expires_at: None,
        revoked_at: None,
        rotated_from: None,
        last_used_at: None,
        created_at: now,
        legacy_weak: false,
        revoked_reason: None,
    };
    let wishes = KeyPatch {
        title: Some(new.title),
        scopes: new.scopes,
        models: Some(new.models),
        limits: Some(new.limits),
        budget: Some(new.budget),
        ip_allow: Some(new.ip_allow),
        options: Some(new.options),
        expires_at: Some(new.expires_at),
    };
    apply(&mut key, wishes, now)?;
    Ok(key)
}

pub async fn get(control: &Control, id: &str) -> Result<ApiKey, ControlError> {
    store::keys::find_by_id(&control.db, id).await?.ok_or_else(|| not_found(id))
}

/// Keys, newest first, revoked ones too; with `account_id` only those of one account.
pub async fn list(control: &Control, account_id: Option<&str>, page: &PageRequest) -> Result<Page<ApiKey>, ControlError> {
    let cursor = |key: &ApiKey| key.id.clone();
    match account_id {
        Some(account_id) => {
            let account = accounts::get(control, account_id).await?;
            Ok(Page::of_all(store::keys::list_by_account(&control.db, &account.id).await?, page, cursor))
        }
        None => Ok(Page::cut(store::keys::list(&control.db, page.after(), page.rows()).await?, page, cursor)),
    }
}

/// Keys of an account that were not revoked, newest first, at most `limit`.
pub async fn live(control: &Control, account_id: &str, limit: usize) -> Result<Vec<ApiKey>, ControlError> {
    let mut keys = store::keys::list_by_account(&control.db, account_id).await?;
    keys.retain(|key| key.revoked_at.is_none());
    keys.truncate(limit);
    Ok(keys)
}

pub async fn patch(control: &Control, actor: &Actor, id: &str, patch: KeyPatch) -> Result<ApiKey, ControlError> {
    let mut key = get(control, id).await?;
    refuse_revoked(&key)?;
    let details = json!({
        "title_changed": patch.title.is_some(),
        "scopes": patch.scopes,
        "models": patch.models,
        "limits": patch.limits,
        "budget": patch.budget,
        "ip_allow_changed": patch.ip_allow.is_some(),
        "options": patch.options,
        "expires_at": patch.expires_at,
    });
    apply(&mut key, patch, control.clock.now())?;
    update(control, &key).await?;
    audit::note(control, actor, "key.update", id, details).await;
    Ok(key)
}

/// Ends a key for good. A key that is revoked already stays as it is.
pub async fn revoke(control: &Control, actor: &Actor, id: &str) -> Result<ApiKey, ControlError> {
    let mut key = get(control, id).await?;
    if key.revoked_at.is_some() {
        return Ok(key);
    }
    key.revoked_at = Some(control.clock.now());
    update(control, &key).await?;
    audit::note(control, actor, "key.revoke", id, json!({ "account_id": key.account_id })).await;
    Ok(key)
}

/// Makes a new key that may do what the old one may; the old one goes on for the grace time. What the old one spent of a budget
/// does not count for the new one.
pub async fn rotate(control: &Control, actor: &Actor, id: &str, rotation: &Rotation) -> Result<CreatedKey, ControlError> {
    let grace_seconds = rotation.grace_seconds.unwrap_or(GRACE_SECONDS_DEFAULT);
    check_range("grace_seconds", grace_seconds, 0, GRACE_SECONDS_MAX)?;
    let mut old = get(control, id).await?;
    let now = control.clock.now();
    if !old.is_live(now) {
        return Err(ControlError::Conflict(format!("key {id} is revoked or expired; create a new key instead")));
    }
    let account = accounts::get(control, &old.account_id).await?;
    let kind = if old.prefix.starts_with(KeyKind::Test.prefix()) { KeyKind::Test } else { KeyKind::Live };
    let mut key = ApiKey {
        id: control.clock.new_id("key"),
        // What made the old one guessable and let it expire does not hold for this one.
        legacy_weak: false,
        expires_at: old.expires_at.filter(|_| !old.legacy_weak),
        rotated_from: Some(old.id.clone()),
        last_used_at: None,
        created_at: now,
        ..old.clone()
    };
    let text = compose(control, &mut key, kind, &account.locator);
    store::keys::insert(&control.db, &key).await?;
    let ends_at = now + grace_seconds * SECOND;
    old.expires_at = Some(old.expires_at.map_or(ends_at, |at| at.min(ends_at)));
    update(control, &old).await?;
    let details = json!({ "account_id": key.account_id, "rotated_from": id });
    audit::note(control, actor, "key.create", &key.id, details).await;
    audit::note(control, actor, "key.rotate", id, json!({ "new_key_id": key.id, "grace_seconds": grace_seconds })).await;
    Ok(CreatedKey { key, text })
}

/// How the keys of this gateway are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct KeyStorage {
    /// Of the pepper that new keys are hashed with.
    pub current_pepper_version: i32,
    pub peppers: Vec<PepperUse>,
    /// Keys that an older schema left as their text and that are not hashed yet.
    pub legacy_rows: u64,
}

/// Keys that were not revoked and are kept under one pepper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PepperUse {
    pub version: i32,
    pub keys: i64,
    /// False: the pepper is not known here, so these keys do not work.
    pub configured: bool,
}

pub async fn storage(control: &Control) -> Result<KeyStorage, ControlError> {
    let known = control.hasher.versions();
    let kept = store::keys::count_by_pepper(&control.db).await?;
    let peppers = kept.into_iter().map(|(version, keys)| PepperUse { version, keys, configured: known.contains(&version) }).collect();
    let legacy_rows = store::legacy::count(&control.db).await?;
    Ok(KeyStorage { current_pepper_version: control.hasher.version(), peppers, legacy_rows })
}

/// Gives a key its text, and keeps of it what may be kept.
fn compose(control: &Control, key: &mut ApiKey, kind: KeyKind, locator: &str) -> Secret {
    let secret = Secret::new(api_key::base62(SECRET_LENGTH, fill_random));
    let text = Secret::new(api_key::compose(kind, locator, secret.expose()));
    remember(control, key, &text);
    text
}

/// Notes how a key is recognised. `text` must be ASCII.
pub(super) fn remember(control: &Control, key: &mut ApiKey, text: &Secret) {
    (key.prefix, key.last4) = legacy_key::visible(text.expose());
    key.digest = Some(control.hasher.digest(text.expose()));
    key.pepper_version = control.hasher.version();
}

/// Writes a key and has its account's actor take note.
pub(super) async fn update(control: &Control, key: &ApiKey) -> Result<(), ControlError> {
    store::keys::update(&control.db, key).await.map_err(|error| match error {
        // It was there a moment ago, so it was revoked in between.
        StoreError::NotFound(_) => revoked(&key.id),
        other => other.into(),
    })?;
    let account = accounts::get(control, &key.account_id).await?;
    control.accounts.changed(&account.locator).await;
    Ok(())
}

fn apply(key: &mut ApiKey, patch: KeyPatch, now: Timestamp) -> Result<(), ControlError> {
    if let Some(title) = patch.title {
        check_text("title", &title, TITLE_LENGTH_MAX)?;
        key.title = title;
    }
    if let Some(scopes) = patch.scopes {
        key.scopes = distinct_scopes(&scopes)?;
    }
    if let Some(models) = patch.models {
        check_models(models.as_deref().unwrap_or_default())?;
        key.models = models;
    }
    if let Some(limits) = patch.limits {
        key.limits = limits.unwrap_or_default();
    }
    if let Some(budget) = patch.budget {
        if let Some(budget) = budget {
            check_range("budget.micros", budget.micros, 0, BUDGET_MICROS_MAX)?;
        }
        key.budget = budget;
    }
    if let Some(ip_allow) = patch.ip_allow {
        key.ip_allow = ip_allow.map(|entries| parse_networks(&entries)).transpose()?;
    }
    if let Some(options) = patch.options {
        if let Some(seconds) = options.cache_ttl_seconds {
            check_range("options.cache_ttl_seconds", seconds, 1, CACHE_TTL_SECONDS_MAX)?;
        }
        key.options = options;
    }
    if let Some(expires_at) = patch.expires_at {
        check_future("expires_at", expires_at, now)?;
        key.expires_at = expires_at.map(|at| at.0);
    }
    Ok(())
}

fn distinct_scopes(scopes: &[Scope]) -> Result<Vec<Scope>, ControlError> {
    if scopes.is_empty() {
        return Err(ControlError::invalid("scopes", "scopes must name at least one of inference, account, admin"));
    }
    let all = [Scope::Inference, Scope::Account, Scope::Admin];
    Ok(all.into_iter().filter(|scope| scopes.contains(scope)).collect())
}

fn check_models(models: &[String]) -> Result<(), ControlError> {
    if models.len() > LIST_MAX {
        return Err(ControlError::invalid("models", format!("models has {} entries; at most {LIST_MAX} are allowed", models.len())));
    }
    models.iter().try_for_each(|model| check_id("models", model, MODEL_PATTERN_LENGTH_MAX))
}

/// Reads networks and single addresses.
fn parse_networks(entries: &[String]) -> Result<Vec<IpNet>, ControlError> {
    if entries.len() > LIST_MAX {
        return Err(ControlError::invalid("ip_allow", format!("ip_allow has {} entries; at most {LIST_MAX} are allowed", entries.len())));
    }
    let parse = |entry: &String| {
        let network = entry.parse::<IpNet>().ok().or_else(|| entry.parse::<IpAddr>().ok().map(IpNet::from));
        network.ok_or_else(|| {
            ControlError::invalid("ip_allow", format!("ip_allow: '{entry}' is neither an address nor a network such as 203.0.113.0/24"))
        })
    };
    entries.iter().map(parse).collect()
}

pub(super) fn refuse_revoked(key: &ApiKey) -> Result<(), ControlError> {
    if key.revoked_at.is_some() { Err(revoked(&key.id)) } else { Ok(()) }
}

fn revoked(id: &str) -> ControlError {
    ControlError::Conflict(format!("key {id} is revoked and cannot be changed any more; create a new key"))
}

fn not_found(id: &str) -> ControlError {
    ControlError::NotFound(format!("key {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_may_be_single_addresses() {
        let parsed = parse_networks(&["203.0.113.7".to_owned(), "10.0.0.0/8".to_owned(), "2001:db8::1".to_owned()]).unwrap();
        let texts: Vec<String> = parsed.iter().map(IpNet::to_string).collect();
        assert_eq!(texts, ["203.0.113.7/32", "10.0.0.0/8", "2001:db8::1/128"]);
        for bad in ["", "example.com", "10.0.0.0/33", "10.0.0"] {
            assert!(parse_networks(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }

    #[test]
    fn scopes_are_a_set() {
        assert_eq!(distinct_scopes(&[Scope::Admin, Scope::Inference, Scope::Admin]).unwrap(), [Scope::Inference, Scope::Admin]);
        assert!(distinct_scopes(&[]).is_err());
    }

    #[test]
    fn model_patterns_are_visible_text() {
        assert!(check_models(&["openai/*".to_owned(), "*".to_owned()]).is_ok());
        for bad in ["", "a b", "a\nb"] {
            assert!(check_models(&[bad.to_owned()]).is_err(), "{bad:?}");
        }
        assert!(check_models(&vec!["m".to_owned(); LIST_MAX + 1]).is_err());
    }
}
