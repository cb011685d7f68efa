//! What users of other gateways bring along: their own names for accounts and keys, notes on keys, and keys that are blocked for a
//! while instead of being revoked.

use serde_json::{Map, Value, json};

use super::{
    Actor, Control, ControlError, Moment,
    accounts::{self, Account},
    audit,
    input::{check_id, check_text},
    keys::{self, ApiKey, TITLE_LENGTH_MAX},
};
use crate::store::{self, foreign::KeyNotes};

/// Whose names accounts have that LiteLLM's routes made.
pub const LITELLM: &str = "litellm";

const FOREIGN_ID_LENGTH_MAX: usize = 254;
const METADATA_BYTES_MAX: usize = 16 * 1024;
/// Keys of one title that are looked at; a script that names more of them at once means something else.
const SAME_TITLE_MAX: u64 = 100;

/// An account by any name its people use: our id, what `source` calls it, or its e-mail address.
pub async fn find_account(control: &Control, source: &str, name: &str) -> Result<Account, ControlError> {
    let missing = || ControlError::NotFound(format!("user {}", shown(name)));
    if name.contains('\0') {
        return Err(missing());
    }
    if let Some(id) = store::foreign::account_of(&control.db, source, name).await? {
        return accounts::get(control, &id).await;
    }
    if let Some(account) = store::accounts::get(&control.db, name).await? {
        return Ok(account);
    }
    let by_email = match accounts::normal_email(name) {
        Ok(email) => store::accounts::by_email(&control.db, &email).await?,
        Err(_) => None,
    };
    by_email.ok_or_else(missing)
}

/// What `source` calls an account, or our id of it.
pub async fn name_of(control: &Control, source: &str, account_id: &str) -> Result<String, ControlError> {
    Ok(store::foreign::name_of(&control.db, source, account_id).await?.unwrap_or_else(|| account_id.to_owned()))
}

/// Notes how `source` calls an account.
pub async fn link(control: &Control, source: &str, foreign_id: &str, account_id: &str) -> Result<(), ControlError> {
    check_name(foreign_id)?;
    Ok(store::foreign::link(&control.db, source, foreign_id, account_id, control.clock.now()).await?)
}

/// Whether an account can be called so.
pub fn check_name(foreign_id: &str) -> Result<(), ControlError> {
    check_id("user_id", foreign_id, FOREIGN_ID_LENGTH_MAX)
}

/// A key by its id or by its whole text; with `account_id` only a key of that account.
pub async fn find_key(control: &Control, account_id: Option<&str>, name: &str) -> Result<ApiKey, ControlError> {
    // No database takes a NUL, and no key contains one.
    let id = name.strip_prefix("key_").filter(|rest| rest.bytes().all(|byte| byte.is_ascii_alphanumeric())).map(|_| name);
    let by_id = match id {
        Some(id) => store::keys::find_by_id(&control.db, id).await?,
        None => None,
    };
    let found = match by_id {
        Some(key) => Some(key),
        None => store::keys::find_by_digest(&control.db, control.hasher.digests(name).all()).await?,
    };
    // The name may be a secret, so it is not repeated.
    let found = found.filter(|key| account_id.is_none_or(|account_id| key.account_id == account_id));
    found.ok_or_else(|| ControlError::NotFound("this key".to_owned()))
}

/// Keys of this title that were not revoked, newest first.
pub async fn keys_titled(control: &Control, account_id: Option<&str>, title: &str) -> Result<Vec<ApiKey>, ControlError> {
    check_text("key_alias", title, TITLE_LENGTH_MAX)?;
    let mut found = store::keys::find_by_title(&control.db, account_id, title, SAME_TITLE_MAX).await?;
    found.retain(|key| key.revoked_at.is_none());
    Ok(found)
}

/// What is noted on a key.
pub async fn notes(control: &Control, key_id: &str) -> Result<KeyNotes, ControlError> {
    Ok(store::foreign::notes(&control.db, key_id).await?.unwrap_or_default())
}

/// The notes' metadata as an object.
pub fn metadata(notes: &KeyNotes) -> Value {
    serde_json::from_str(&notes.metadata).unwrap_or_else(|_| json!({}))
}

/// Replaces a key's metadata.
pub async fn set_metadata(control: &Control, key_id: &str, metadata: &Map<String, Value>) -> Result<(), ControlError> {
    check_metadata(metadata)?;
    let text = serde_json::to_string(metadata).map_err(|error| ControlError::Internal(error.to_string()))?;
    let notes = KeyNotes { metadata: text, ..notes(control, key_id).await? };
    Ok(store::foreign::put_notes(&control.db, key_id, &notes).await?)
}

/// Refuses what is too large to be kept with a key.
pub fn check_metadata(metadata: &Map<String, Value>) -> Result<(), ControlError> {
    let is_small = serde_json::to_string(metadata).is_ok_and(|text| text.len() <= METADATA_BYTES_MAX);
    if is_small {
        return Ok(());
    }
    Err(ControlError::invalid("metadata", format!("metadata must be at most {METADATA_BYTES_MAX} bytes of JSON")))
}

/// Whether a key is blocked. An expiry that was set after the block ends it.
pub fn is_blocked(key: &ApiKey, notes: &KeyNotes) -> bool {
    notes.blocked_at.is_some() && notes.blocked_at == key.expires_at
}

/// Stops a key until it is unblocked, from its next call on. A blocked key stays as it is.
pub async fn block(control: &Control, actor: &Actor, id: &str) -> Result<ApiKey, ControlError> {
    let mut key = keys::get(control, id).await?;
    keys::refuse_revoked(&key)?;
    let before = notes(control, id).await?;
    if is_blocked(&key, &before) {
        return Ok(key);
    }
    let now = control.clock.now();
    // The note comes first: without it the former expiry would be lost half-way.
    let after = KeyNotes { blocked_at: Some(now), expires_before: key.expires_at, ..before };
    store::foreign::put_notes(&control.db, id, &after).await?;
    key.expires_at = Some(now);
    keys::update(control, &key).await?;
    audit::note(control, actor, "key.block", id, json!({ "account_id": key.account_id })).await;
    Ok(key)
}

/// Gives a blocked key its former expiry back. A key that is not blocked stays as it is.
pub async fn unblock(control: &Control, actor: &Actor, id: &str) -> Result<ApiKey, ControlError> {
    let mut key = keys::get(control, id).await?;
    keys::refuse_revoked(&key)?;
    let notes = notes(control, id).await?;
    if !is_blocked(&key, &notes) {
        return Ok(key);
    }
    key.expires_at = notes.expires_before;
    keys::update(control, &key).await?;
    let details = json!({ "account_id": key.account_id, "expires_at": key.expires_at.map(Moment) });
    audit::note(control, actor, "key.unblock", id, details).await;
    Ok(key)
}

fn shown(name: &str) -> String {
    name.chars().filter(|letter| !letter.is_control()).take(100).collect()
}
