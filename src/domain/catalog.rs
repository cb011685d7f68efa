//! Models, their prices and routes, and the upstreams that serve them, as the operator configured them.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

pub use super::provider::{AzureStyle, ProviderKind, UpstreamOptions};
use super::{Timestamp, pricing::Price, route::Routing};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    Chat,
    Completion,
    Embedding,
    Image,
    Audio,
    Moderation,
    Rerank,
    Video,
    Render,
}

/// One candidate that can serve a model. Lower `priority` is tried first; within one priority, by `weight`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Name of the upstream.
    pub upstream: String,
    /// What the upstream calls the model.
    pub upstream_model: String,
    #[serde(default = "default_weight")]
    pub weight: u32,
    #[serde(default)]
    pub priority: i32,
    /// What this route costs the operator, for routing by cost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub costs: Vec<Price>,
}

fn default_weight() -> u32 {
    1
}

/// What a model can do. What is not said is unknown, and calls are not checked for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Capabilities {
    /// Takes images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vision: Option<bool>,
    /// Takes documents such as PDF.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documents: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_input: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_output: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<bool>,
    /// Asks for several tools in one answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_tools: Option<bool>,
    /// Answers in the shape of a JSON schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json_schema: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<bool>,
    /// False: refuses `temperature`, `top_p` and `top_k`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streaming: Option<bool>,
}

/// The file that prices were imported from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceSource {
    /// What kind of file, or its name.
    pub name: String,
    /// SHA-256 of the file, hexadecimal.
    pub file_sha256: String,
    pub imported_at: Timestamp,
}

/// What a model cost from some moment on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceRecord {
    pub id: String,
    pub model_id: String,
    pub prices: Vec<Price>,
    /// `None` when an admin set them.
    pub source: Option<PriceSource>,
    pub valid_from: Timestamp,
    /// Id of the key that set them, or `system`.
    pub created_by: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// What callers name, for example `openai/gpt-4o-mini` or `pixgate/echo`.
    pub id: String,
    pub kind: ModelKind,
    pub display_name: String,
    /// Other names of the same model. None of them is another model's id or alias.
    pub aliases: Vec<String>,
    pub capabilities: Capabilities,
    /// Tokens of input and output together.
    pub context_window: Option<u64>,
    pub max_input_tokens: Option<u64>,
    pub max_output_tokens: Option<u64>,
    pub prices: Vec<Price>,
    /// Where the prices were imported from; `None` when an admin set them.
    pub source: Option<PriceSource>,
    pub routes: Vec<Route>,
    pub routing: Routing,
    /// The vendor, for example `anthropic`.
    pub owner: Option<String>,
    /// The day from which its vendor may switch it off, as `2026-12-31`.
    pub deprecated_at: Option<String>,
    pub enabled: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Model {
    /// Imported from a file that names no price for it. Without prices and without a source it is free, because an admin said so.
    pub fn is_price_unknown(&self) -> bool {
        self.prices.is_empty() && self.source.is_some()
    }
}

/// What follows the first `/` of an id, for example `gpt-4o` of `openai/gpt-4o`.
pub fn short_name(id: &str) -> Option<&str> {
    id.split_once('/').map(|(_, short)| short).filter(|short| !short.is_empty())
}

/// Names beside the ids, each with the id it stands for: aliases, and short names that only one of the callable models has. Models
/// come with whether they can be called. An alias goes before a short name.
pub fn names<'a>(models: impl Iterator<Item = (&'a Model, bool)>) -> HashMap<&'a str, &'a str> {
    let models: Vec<_> = models.collect();
    let mut owners: HashMap<&str, Option<&str>> = HashMap::new();
    for (model, _) in models.iter().filter(|(_, is_callable)| *is_callable) {
        if let Some(short) = short_name(&model.id) {
            owners.entry(short).and_modify(|owner| *owner = None).or_insert(Some(&model.id));
        }
    }
    let mut names: HashMap<_, _> = owners.into_iter().filter_map(|(short, owner)| Some((short, owner?))).collect();
    let aliases = models.iter().flat_map(|(model, _)| model.aliases.iter().map(|alias| (alias.as_str(), model.id.as_str())));
    names.extend(aliases);
    names
}

/// How long to wait for an upstream, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    pub connect_ms: u64,
    /// From the request's last byte to the answer's first.
    pub first_byte_ms: u64,
    /// Longest silence between two chunks of an answer.
    pub idle_ms: u64,
    /// The whole call, all attempts together.
    pub total_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect_ms: 5_000, first_byte_ms: 120_000, idle_ms: 60_000, total_ms: 600_000 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    pub name: String,
    pub provider: ProviderKind,
    /// What the vendor's own SDK takes, for OpenAI-compatible servers with `/v1`. Empty for the provider's own.
    pub base_url: String,
    /// Secret of the upstream, sealed (AES-256-GCM); empty when it needs none.
    pub sealed_api_key: Vec<u8>,
    /// Further secrets that take turns with it: a JSON array of texts, sealed as one; empty when there are none.
    pub sealed_api_keys: Vec<u8>,
    pub options: UpstreamOptions,
    pub weight: u32,
    pub priority: i32,
    /// Calls at the same time; `None` is unlimited.
    pub max_concurrency: Option<u32>,
    pub timeouts: Timeouts,
    pub enabled: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Upstream {
    /// One at the provider's own address, without keys and with the usual patience.
    pub fn new(name: impl Into<String>, provider: ProviderKind, now: Timestamp) -> Self {
        Self {
            name: name.into(),
            provider,
            base_url: String::new(),
            sealed_api_key: Vec::new(),
            sealed_api_keys: Vec::new(),
            options: UpstreamOptions::default(),
            weight: 1,
            priority: 0,
            max_concurrency: None,
            timeouts: Timeouts::default(),
            enabled: true,
            created_at: now,
            updated_at: now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(id: &str, aliases: &[&str]) -> Model {
        Model {
            id: id.to_owned(),
            kind: ModelKind::Chat,
            display_name: id.to_owned(),
            aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
            capabilities: Capabilities::default(),
            context_window: None,
            max_input_tokens: None,
            max_output_tokens: None,
            prices: Vec::new(),
            source: None,
            routes: Vec::new(),
            routing: Routing::default(),
            owner: None,
            deprecated_at: None,
            enabled: true,
            created_at: 0,
            updated_at: 0,
        }
    }

    #[test]
    fn short_names_count_where_one_callable_model_has_them() {
        let (a, b) = (model("openai/gpt", &["the-gpt"]), model("azure/gpt", &[]));
        let (c, d) = (model("router/azure/gpt", &["mini"]), model("plain", &[]));
        let all = [(&a, true), (&b, true), (&c, true), (&d, true)];
        let known = names(all.into_iter());
        assert_eq!(known, HashMap::from([("the-gpt", "openai/gpt"), ("mini", "router/azure/gpt"), ("azure/gpt", "router/azure/gpt")]));
        let one = names([(&a, true), (&b, false)].into_iter());
        assert_eq!(one.get("gpt"), Some(&"openai/gpt"), "what cannot be called does not make a name ambiguous");
        let alias = model("z/other", &["gpt"]);
        let with_alias = names([(&a, true), (&alias, false)].into_iter());
        assert_eq!(with_alias.get("gpt"), Some(&"z/other"), "an alias goes first");
    }

    #[test]
    fn what_is_not_said_of_a_model_is_not_written() {
        let some = Capabilities { tools: Some(true), sampling: Some(false), ..Capabilities::default() };
        assert_eq!(serde_json::to_string(&some).unwrap(), r#"{"tools":true,"sampling":false}"#);
        assert_eq!(serde_json::from_str::<Capabilities>(r#"{"tools":true,"sampling":false,"vision":null}"#).unwrap(), some);
        assert!(serde_json::from_str::<Capabilities>(r#"{"smell":true}"#).is_err());
    }
}
