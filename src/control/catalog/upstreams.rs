//! Upstreams: endpoints of providers. Their API keys are sealed before they reach the store and never come out of here.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Control, ControlError, PRIORITY_MAX, Upstream, WEIGHT_MAX, builtin, publish};
use crate::{
    control::{Actor, Page, PageRequest, audit, given, input::check_range},
    domain::catalog::{ProviderKind, Timeouts},
    store,
    telemetry::redact::{Secret, scrub},
    upstream::{ApiKey, Target, parse_base_url},
};

const NAME_LENGTH_MAX: usize = 64;
const API_KEY_LENGTH_MAX: usize = 4_096;
const CONCURRENCY_MAX: u32 = 1_000_000;
const TIMEOUT_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// A new upstream.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUpstream {
    /// Small letters, digits, `.`, `_` and `-`. Answers name it in `x-pixgate-upstream`.
    #[schema(example = "openai", pattern = "^[a-z0-9._-]{1,64}$")]
    pub name: String,
    pub provider: ProviderKind,
    /// What the vendor's own SDK takes: for OpenAI-compatible servers with `/v1`. Nothing for `echo`.
    #[serde(default)]
    #[schema(example = "https://api.openai.com/v1")]
    pub base_url: Option<String>,
    /// Kept encrypted, never shown again.
    #[serde(default)]
    #[schema(value_type = Option<String>, write_only, max_length = 4096)]
    pub api_key: Option<Secret>,
    /// Share of the calls among upstreams of one priority; 1 when missing.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 10_000)]
    pub weight: Option<u32>,
    /// Lower is tried first; 0 when missing.
    #[serde(default)]
    #[schema(minimum = -10_000, maximum = 10_000)]
    pub priority: Option<i32>,
    /// Calls at the same time; unlimited when missing or null.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub max_concurrency: Option<u32>,
    #[serde(default)]
    pub timeouts: Option<TimeoutsInput>,
    /// True when missing.
    #[serde(default)]
    pub enabled: Option<bool>,
}

impl NewUpstream {
    /// An upstream of which nothing else is said.
    pub fn of(name: impl Into<String>, provider: ProviderKind) -> Self {
        Self {
            name: name.into(),
            provider,
            base_url: None,
            api_key: None,
            weight: None,
            priority: None,
            max_concurrency: None,
            timeouts: None,
            enabled: None,
        }
    }
}

/// What to change of an upstream; fields that are missing stay.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamPatch {
    #[serde(default)]
    pub provider: Option<ProviderKind>,
    #[serde(default)]
    pub base_url: Option<String>,
    /// Null or an empty text takes the key away.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, write_only, max_length = 4096)]
    pub api_key: Option<Option<Secret>>,
    #[serde(default)]
    #[schema(minimum = 1, maximum = 10_000)]
    pub weight: Option<u32>,
    #[serde(default)]
    #[schema(minimum = -10_000, maximum = 10_000)]
    pub priority: Option<i32>,
    /// Null is unlimited.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub max_concurrency: Option<Option<u32>>,
    #[serde(default)]
    pub timeouts: Option<TimeoutsInput>,
    #[serde(default)]
    pub enabled: Option<bool>,
}

/// How long to wait for an upstream; what is missing stays as it is, or is the default.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TimeoutsInput {
    #[schema(minimum = 1)]
    pub connect_ms: Option<u64>,
    /// From the request's last byte to the answer's first.
    #[schema(minimum = 1)]
    pub first_byte_ms: Option<u64>,
    /// Longest silence between two chunks of an answer.
    #[schema(minimum = 1)]
    pub idle_ms: Option<u64>,
    /// The whole call, all attempts together.
    #[schema(minimum = 1)]
    pub total_ms: Option<u64>,
}

/// What came of asking an upstream for a sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct UpstreamTest {
    pub ok: bool,
    /// Until the answer; null when there was none.
    pub latency_ms: Option<u64>,
    pub error: Option<String>,
}

pub async fn create_upstream(control: &Control, actor: &Actor, new: NewUpstream) -> Result<Upstream, ControlError> {
    let upstream = draft(control, new)?;
    store::catalog::insert_upstream(&control.db, &upstream).await?;
    publish(control).await?;
    audit::note(control, actor, "upstream.create", &upstream.name, describe(&upstream)).await;
    Ok(upstream)
}

/// Whether an upstream could be made so, as far as it depends on nothing else.
pub fn check_upstream(control: &Control, new: NewUpstream) -> Result<(), ControlError> {
    draft(control, new).map(|_| ())
}

fn draft(control: &Control, new: NewUpstream) -> Result<Upstream, ControlError> {
    check_name(&new.name)?;
    let now = control.clock.now();
    let mut upstream = Upstream {
        name: new.name,
        provider: new.provider,
        base_url: String::new(),
        sealed_api_key: Vec::new(),
        weight: 1,
        priority: 0,
        max_concurrency: None,
        timeouts: Timeouts::default(),
        enabled: true,
        created_at: now,
        updated_at: now,
    };
    let wishes = UpstreamPatch {
        provider: None,
        base_url: new.base_url,
        api_key: Some(new.api_key),
        weight: new.weight,
        priority: new.priority,
        max_concurrency: Some(new.max_concurrency),
        timeouts: new.timeouts,
        enabled: new.enabled,
    };
    apply(control, &mut upstream, wishes)?;
    Ok(upstream)
}

pub async fn get_upstream(control: &Control, name: &str) -> Result<Upstream, ControlError> {
    store::catalog::get_upstream(&control.db, name).await?.ok_or_else(|| ControlError::NotFound(format!("upstream {name}")))
}

/// All upstreams, by name.
pub async fn list_upstreams(control: &Control, page: &PageRequest) -> Result<Page<Upstream>, ControlError> {
    let catalog = store::catalog::load_all(&control.db).await?;
    Ok(Page::of_all(catalog.upstreams, page, |upstream| upstream.name.clone()))
}

pub async fn patch_upstream(control: &Control, actor: &Actor, name: &str, patch: UpstreamPatch) -> Result<Upstream, ControlError> {
    let mut upstream = get_upstream(control, name).await?;
    let key_changed = patch.api_key.is_some();
    apply(control, &mut upstream, patch)?;
    upstream.updated_at = control.clock.now();
    store::catalog::update_upstream(&control.db, &upstream).await?;
    publish(control).await?;
    let mut details = describe(&upstream);
    details["api_key_changed"] = json!(key_changed);
    audit::note(control, actor, "upstream.update", name, details).await;
    Ok(upstream)
}

/// Refused while a model routes to it.
pub async fn delete_upstream(control: &Control, actor: &Actor, name: &str) -> Result<(), ControlError> {
    if name == builtin::UPSTREAM {
        return Err(ControlError::Conflict(format!("the upstream {name} is built in; disable it instead")));
    }
    let catalog = store::catalog::load_all(&control.db).await?;
    let users = catalog.models.iter().filter(|model| model.routes.iter().any(|route| route.upstream == name));
    let users: Vec<&str> = users.map(|model| model.id.as_str()).collect();
    if !users.is_empty() {
        let why = format!("models route to the upstream {name}: {}; change their routes first, or disable the upstream", users.join(", "));
        return Err(ControlError::Conflict(why));
    }
    if !store::catalog::delete_upstream(&control.db, name).await? {
        return Err(ControlError::NotFound(format!("upstream {name}")));
    }
    publish(control).await?;
    audit::note(control, actor, "upstream.delete", name, json!({})).await;
    Ok(())
}

/// Asks an upstream for a sign of life that costs nothing, whether it is enabled or not.
pub async fn test_upstream(control: &Control, name: &str) -> Result<UpstreamTest, ControlError> {
    let upstream = get_upstream(control, name).await?;
    let api_key = match upstream.sealed_api_key.as_slice() {
        [] => ApiKey::new(""),
        sealed => ApiKey::new(control.sealer.open(&upstream.name, sealed)?),
    };
    let target = Target::new(upstream.name, upstream.provider, upstream.base_url, api_key, upstream.timeouts);
    let outcome = control.connector.provider(&target.into()).probe().await;
    Ok(match outcome {
        Ok(micros) => UpstreamTest { ok: true, latency_ms: Some(micros / 1_000), error: None },
        // The upstream's own words may repeat the key.
        Err(failure) => UpstreamTest { ok: false, latency_ms: None, error: Some(scrub(&failure.to_string())) },
    })
}

fn apply(control: &Control, upstream: &mut Upstream, patch: UpstreamPatch) -> Result<(), ControlError> {
    if let Some(provider) = patch.provider {
        if upstream.name == builtin::UPSTREAM && provider != upstream.provider {
            return Err(ControlError::invalid("provider", "the built-in upstream stays what it is; create another one"));
        }
        upstream.provider = provider;
    }
    if let Some(base_url) = patch.base_url {
        upstream.base_url = base_url.trim().trim_end_matches('/').to_owned();
    }
    check_base_url(upstream.provider, &upstream.base_url)?;
    if let Some(api_key) = patch.api_key {
        upstream.sealed_api_key = match api_key.filter(|key| !key.is_empty()) {
            Some(key) => {
                check_api_key(&key)?;
                control.sealer.seal(&upstream.name, key.expose())?
            }
            None => Vec::new(),
        };
    }
    if let Some(weight) = patch.weight {
        check_range("weight", weight, 1, WEIGHT_MAX)?;
        upstream.weight = weight;
    }
    if let Some(priority) = patch.priority {
        check_range("priority", priority, -PRIORITY_MAX, PRIORITY_MAX)?;
        upstream.priority = priority;
    }
    if let Some(max_concurrency) = patch.max_concurrency {
        if let Some(max) = max_concurrency {
            check_range("max_concurrency", max, 1, CONCURRENCY_MAX)?;
        }
        upstream.max_concurrency = max_concurrency;
    }
    if let Some(timeouts) = patch.timeouts {
        upstream.timeouts = merge_timeouts(upstream.timeouts, timeouts)?;
    }
    if let Some(enabled) = patch.enabled {
        upstream.enabled = enabled;
    }
    Ok(())
}

fn merge_timeouts(now: Timeouts, input: TimeoutsInput) -> Result<Timeouts, ControlError> {
    let pick = |name: &str, given: Option<u64>, now: u64| match given {
        Some(ms) => check_range(name, ms, 1, TIMEOUT_MS_MAX).map(|()| ms),
        None => Ok(now),
    };
    Ok(Timeouts {
        connect_ms: pick("timeouts.connect_ms", input.connect_ms, now.connect_ms)?,
        first_byte_ms: pick("timeouts.first_byte_ms", input.first_byte_ms, now.first_byte_ms)?,
        idle_ms: pick("timeouts.idle_ms", input.idle_ms, now.idle_ms)?,
        total_ms: pick("timeouts.total_ms", input.total_ms, now.total_ms)?,
    })
}

fn check_name(name: &str) -> Result<(), ControlError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    // Names are path segments, and these two mean something else there.
    let is_dots = name == "." || name == "..";
    if name.is_empty() || name.len() > NAME_LENGTH_MAX || !name.bytes().all(allowed) || is_dots {
        let why = format!("name must have 1 to {NAME_LENGTH_MAX} characters out of a-z, 0-9, '.', '_' and '-'");
        return Err(ControlError::invalid("name", why));
    }
    Ok(())
}

fn check_base_url(provider: ProviderKind, base_url: &str) -> Result<(), ControlError> {
    match provider {
        ProviderKind::Echo if base_url.is_empty() => Ok(()),
        ProviderKind::Echo => Err(ControlError::invalid("base_url", "base_url must be empty: echo needs no server")),
        ProviderKind::Openai => match parse_base_url(base_url) {
            Ok(_) => Ok(()),
            Err(why) => Err(ControlError::invalid("base_url", format!("base_url cannot be used: {why}"))),
        },
    }
}

fn check_api_key(key: &Secret) -> Result<(), ControlError> {
    let text = key.expose();
    if text.len() > API_KEY_LENGTH_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let why = format!("api_key must have at most {API_KEY_LENGTH_MAX} visible ASCII characters, because it is sent in a header");
        return Err(ControlError::invalid("api_key", why));
    }
    Ok(())
}

/// For the audit trail: all that is no secret.
fn describe(upstream: &Upstream) -> serde_json::Value {
    json!({
        "provider": upstream.provider,
        "base_url": upstream.base_url,
        "weight": upstream.weight,
        "priority": upstream.priority,
        "max_concurrency": upstream.max_concurrency,
        "timeouts": upstream.timeouts,
        "enabled": upstream.enabled,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_in_a_path() {
        for good in ["openai", "a", "eu-west_1.azure", &"x".repeat(64)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "OpenAI", "a b", "a/b", "ä", ".", "..", &"x".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn timeouts_that_are_not_given_stay() {
        let input = TimeoutsInput { idle_ms: Some(7), ..TimeoutsInput::default() };
        let merged = merge_timeouts(Timeouts::default(), input).unwrap();
        assert_eq!(merged, Timeouts { idle_ms: 7, ..Timeouts::default() });
        let zero = TimeoutsInput { total_ms: Some(0), ..TimeoutsInput::default() };
        assert!(merge_timeouts(Timeouts::default(), zero).is_err());
    }

    #[test]
    fn only_echo_goes_without_a_url() {
        assert!(check_base_url(ProviderKind::Echo, "").is_ok());
        assert!(check_base_url(ProviderKind::Echo, "http://x").is_err());
        assert!(check_base_url(ProviderKind::Openai, "https://api.openai.com/v1").is_ok());
        assert!(check_base_url(ProviderKind::Openai, "").is_err());
        assert!(check_base_url(ProviderKind::Openai, "ftp://x").is_err());
    }
}
