//! Keys as LiteLLM's users write and read them.

use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

use super::{
    super::decimal,
    fields::{Fields, Given, duration_of, invalid, period, renewed_at, seconds},
};
use crate::{
    control::{
        Control, Moment, foreign,
        keys::{KeyPatch, NewKey},
        usage,
    },
    domain::{
        Micros, SECOND, Timestamp,
        api_key::{ApiKey, Budget, BudgetPeriod, KeyOptions, Scope},
    },
    http::error::ApiError,
};

/// Title of keys without an alias.
const UNNAMED: &str = "unnamed key";

/// What a request says a key should be.
#[derive(Default, PartialEq)]
pub struct KeyWishes {
    pub alias: Given<String>,
    models: Given<Vec<String>>,
    max_budget: Given<Micros>,
    period: Given<BudgetPeriod>,
    rpm: Given<u32>,
    tpm: Given<u64>,
    concurrency: Given<u32>,
    expires_at: Given<Timestamp>,
    pub metadata: Given<Map<String, Value>>,
    scopes: Option<Vec<Scope>>,
    pub blocked: Option<bool>,
}

impl KeyWishes {
    pub fn take(fields: &mut Fields, now: Timestamp) -> Result<Self, ApiError> {
        let expires_at = match fields.take_text("duration")? {
            // `-1` is how LiteLLM takes an expiry away.
            Some(text) => Some(
                text.filter(|text| text != "-1").map(|text| Ok::<_, ApiError>(now + seconds("duration", &text)? * SECOND)).transpose()?,
            ),
            None => None,
        };
        let period = match fields.take_text("budget_duration")? {
            Some(text) => Some(text.as_deref().map(period).transpose()?),
            None => None,
        };
        let wishes = Self {
            alias: fields.take_text("key_alias")?,
            models: fields.take::<Vec<String>>("models")?.map(models).transpose()?,
            max_budget: fields.take_micros("max_budget")?,
            period,
            rpm: fields.take("rpm_limit")?,
            tpm: fields.take("tpm_limit")?,
            concurrency: fields.take("max_parallel_requests")?,
            expires_at,
            metadata: fields.take("metadata")?,
            scopes: fields.take_text("key_type")?.flatten().as_deref().map(scopes).transpose()?,
            blocked: fields.take("blocked")?.flatten(),
        };
        if let Some(metadata) = wishes.metadata.as_ref().and_then(Option::as_ref) {
            foreign::check_metadata(metadata)?;
        }
        Ok(wishes)
    }

    /// True when nothing is wished for.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What to change of a key to make these wishes true.
    pub fn patch(&self, key: &ApiKey) -> Result<KeyPatch, ApiError> {
        let mut limits = key.limits;
        limits.rpm = self.rpm.unwrap_or(limits.rpm);
        limits.tpm = self.tpm.unwrap_or(limits.tpm);
        limits.concurrency = self.concurrency.unwrap_or(limits.concurrency);
        Ok(KeyPatch {
            title: self.alias.as_ref().map(|alias| alias.clone().unwrap_or_else(|| UNNAMED.to_owned())),
            scopes: self.scopes.clone(),
            models: self.models.clone(),
            limits: (limits != key.limits).then_some(Some(limits)),
            budget: self.budget(key.budget)?,
            ip_allow: None,
            options: None,
            expires_at: self.expires_at.map(|at| at.map(Moment)),
        })
    }

    /// A key that does not exist yet.
    pub fn new_key(&self) -> Result<NewKey, ApiError> {
        let limits = crate::domain::quota::Limits {
            rpm: self.rpm.flatten(),
            tpm: self.tpm.flatten(),
            rpd: None,
            concurrency: self.concurrency.flatten(),
        };
        Ok(NewKey {
            title: self.alias.clone().flatten().unwrap_or_else(|| UNNAMED.to_owned()),
            scopes: self.scopes.clone(),
            models: self.models.clone().flatten(),
            limits: Some(limits),
            budget: self.budget(None)?.flatten(),
            ip_allow: None,
            options: KeyOptions::default(),
            expires_at: self.expires_at.flatten().map(Moment),
        })
    }

    fn budget(&self, now: Option<Budget>) -> Result<Given<Budget>, ApiError> {
        if self.max_budget.is_none() && self.period.is_none() {
            return Ok(None);
        }
        let micros = self.max_budget.unwrap_or(now.map(|budget| budget.micros));
        let period = match self.period {
            Some(period) => period.unwrap_or(BudgetPeriod::Total),
            None => now.map_or(BudgetPeriod::Total, |budget| budget.period),
        };
        match micros {
            Some(micros) => Ok(Some(Some(Budget { micros, period }))),
            None if matches!(self.period, Some(Some(_))) && self.max_budget.is_none() => Err(invalid(
                "budget_duration",
                "budget_duration says when a budget is renewed, but this key has none; give max_budget, too".to_owned(),
            )),
            None => Ok(Some(None)),
        }
    }
}

/// An empty list means all models, as LiteLLM has it.
fn models(given: Option<Vec<String>>) -> Result<Option<Vec<String>>, ApiError> {
    let Some(given) = given else { return Ok(None) };
    if given.iter().any(|name| name == "all-team-models") {
        return Err(invalid("models", "models: there are no teams here; name the models, or leave the list empty to allow all".to_owned()));
    }
    if given.is_empty() || given.iter().any(|name| name == "all-proxy-models") {
        return Ok(None);
    }
    Ok(Some(given.into_iter().filter(|name| name != "no-default-models").collect()))
}

fn scopes(key_type: &str) -> Result<Vec<Scope>, ApiError> {
    match key_type {
        "default" | "llm_api" => Ok(vec![Scope::Inference]),
        "management" => Ok(vec![Scope::Account]),
        _ => Err(invalid(
            "key_type",
            "key_type must be default, llm_api (calls models) or management (manages the keys of its own account)".to_owned(),
        )),
    }
}

/// A key as LiteLLM's `info` shows it. Amounts are credits.
#[derive(Serialize)]
pub struct KeyInfo {
    /// Our id of the key; it stands for the key wherever these routes take one.
    token: String,
    token_id: String,
    key_name: String,
    key_alias: Option<String>,
    spend: Box<RawValue>,
    expires: Option<Moment>,
    models: Vec<String>,
    user_id: String,
    team_id: Option<String>,
    max_parallel_requests: Option<u32>,
    rpm_limit: Option<u32>,
    tpm_limit: Option<u64>,
    max_budget: Option<Box<RawValue>>,
    budget_duration: Option<&'static str>,
    budget_reset_at: Option<Moment>,
    metadata: Value,
    blocked: bool,
    last_active: Option<Moment>,
    created_at: Moment,
}

impl KeyInfo {
    pub async fn of(control: &Control, key: &ApiKey) -> Result<Self, ApiError> {
        let notes = foreign::notes(control, &key.id).await?;
        let user_id = foreign::name_of(control, foreign::LITELLM, &key.account_id).await?;
        let spent = usage::spent_by_key(control, &key.account_id, &key.id).await?;
        let now = control.clock.now();
        Ok(Self {
            token: key.id.clone(),
            token_id: key.id.clone(),
            key_name: format!("{}…{}", key.prefix, key.last4),
            key_alias: Some(key.title.clone()).filter(|title| title != UNNAMED),
            spend: decimal(spent)?,
            expires: key.expires_at.map(Moment),
            models: key.models.clone().unwrap_or_default(),
            user_id,
            team_id: None,
            max_parallel_requests: key.limits.concurrency,
            rpm_limit: key.limits.rpm,
            tpm_limit: key.limits.tpm,
            max_budget: key.budget.map(|budget| decimal(budget.micros)).transpose()?,
            budget_duration: key.budget.and_then(|budget| duration_of(budget.period)),
            budget_reset_at: key.budget.and_then(|budget| renewed_at(budget.period, now)).map(Moment),
            metadata: foreign::metadata(&notes),
            blocked: foreign::is_blocked(key, &notes),
            last_active: key.last_used_at.map(Moment),
            created_at: Moment(key.created_at),
        })
    }
}

/// A key with its text, or with its id where the text is not known any more.
#[derive(Serialize)]
pub struct KeyAnswer {
    pub key: String,
    #[serde(flatten)]
    pub info: KeyInfo,
}
