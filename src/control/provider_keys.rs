//! Keys of providers that accounts bring themselves. Calls to that upstream are made with them and cost a platform fee only.

use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{Actor, Control, ControlError, accounts, audit, catalog};
use crate::{
    store,
    telemetry::redact::Secret,
    upstream::{self, ApiKey},
};

pub use crate::store::provider_keys::ProviderKey;

/// The JSON of a service account fits.
const KEY_LENGTH_MAX: usize = 8_192;
/// More would make loading an account slow.
const KEYS_MAX: usize = 100;
const VISIBLE: usize = 4;

/// A key of one's own.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProviderKey {
    /// Kept encrypted, never shown again.
    #[schema(value_type = String, write_only, min_length = 8, max_length = 8192)]
    pub api_key: Secret,
}

/// An account's keys, by upstream, without their secrets.
pub async fn list(control: &Control, account_id: &str) -> Result<Vec<ProviderKey>, ControlError> {
    Ok(store::provider_keys::list(&control.db, account_id).await?)
}

pub async fn get(control: &Control, account_id: &str, upstream: &str) -> Result<ProviderKey, ControlError> {
    let keys = list(control, account_id).await?;
    keys.into_iter().find(|key| key.upstream == upstream).ok_or_else(|| missing(upstream))
}

/// Writes or replaces the key for an upstream that takes keys of callers. It counts for the very next call.
pub async fn put(
    control: &Control,
    actor: &Actor,
    account_id: &str,
    upstream: &str,
    new: NewProviderKey,
) -> Result<ProviderKey, ControlError> {
    let target = catalog::get_upstream(control, upstream).await?;
    if !target.enabled || !upstream::takes_own_keys(&target) {
        return Err(ControlError::invalid("upstream", format!("the upstream {upstream} does not take keys of callers")));
    }
    let secret = new.api_key.expose();
    let length = secret.chars().count();
    if !(2 * VISIBLE..=KEY_LENGTH_MAX).contains(&length) {
        return Err(ControlError::invalid("api_key", format!("api_key must have {} to {KEY_LENGTH_MAX} characters", 2 * VISIBLE)));
    }
    upstream::check_foreign_key(&target, &ApiKey::new(secret))
        .map_err(|why| ControlError::invalid("api_key", format!("api_key: {why}")))?;
    let known = list(control, account_id).await?;
    if known.len() >= KEYS_MAX && known.iter().all(|key| key.upstream != upstream) {
        return Err(ControlError::Conflict(format!("an account may have {KEYS_MAX} keys of its own; delete one first")));
    }
    let key = ProviderKey {
        sealed_key: store::provider_keys::seal(&control.sealer, account_id, upstream, secret)?,
        // The end of a service account's JSON tells nothing.
        last4: secret.trim_end().chars().skip(length.saturating_sub(VISIBLE)).filter(char::is_ascii_graphic).collect(),
        account_id: account_id.to_owned(),
        upstream: upstream.to_owned(),
        created_at: control.clock.now(),
    };
    store::provider_keys::put(&control.db, &key).await?;
    changed(control, account_id).await?;
    audit::note(control, actor, "provider_key.put", account_id, json!({ "upstream": upstream, "last4": key.last4 })).await;
    Ok(key)
}

pub async fn delete(control: &Control, actor: &Actor, account_id: &str, upstream: &str) -> Result<(), ControlError> {
    if !store::provider_keys::delete(&control.db, account_id, upstream).await? {
        return Err(missing(upstream));
    }
    changed(control, account_id).await?;
    audit::note(control, actor, "provider_key.delete", account_id, json!({ "upstream": upstream })).await;
    Ok(())
}

fn missing(upstream: &str) -> ControlError {
    ControlError::NotFound(format!("a key of this account for the upstream {upstream}"))
}

async fn changed(control: &Control, account_id: &str) -> Result<(), ControlError> {
    let account = accounts::get(control, account_id).await?;
    control.accounts.changed(&account.locator).await;
    Ok(())
}
