//! LiteLLM's `config.yaml`, as far as it is understood, and the names of everything else in it.
//!
//! Scalars are read as texts, so that a price such as `1.5e-07` keeps every digit.

use std::collections::BTreeMap;

use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};

use crate::{control::ControlError, domain::pricing::Unit, telemetry::redact::scrub};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    pub model_list: Option<Vec<Deployment>>,
    pub router_settings: Option<Fallbacks>,
    pub litellm_settings: Option<Fallbacks>,
    pub environment_variables: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Debug, Deserialize)]
pub struct Deployment {
    pub model_name: Option<String>,
    pub litellm_params: Option<Params>,
    pub model_info: Option<Info>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Params {
    pub model: Option<String>,
    pub custom_llm_provider: Option<String>,
    pub api_base: Option<String>,
    pub base_url: Option<String>,
    pub api_key: Option<String>,
    pub weight: Option<String>,
    pub rpm: Option<String>,
    pub tpm: Option<String>,
    pub order: Option<String>,
    pub timeout: Option<String>,
    pub max_parallel_requests: Option<String>,
    pub input_cost_per_token: Option<String>,
    pub output_cost_per_token: Option<String>,
    pub cache_read_input_token_cost: Option<String>,
    pub cache_creation_input_token_cost: Option<String>,
    pub output_cost_per_reasoning_token: Option<String>,
    pub output_cost_per_image: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Info {
    pub mode: Option<String>,
    pub max_tokens: Option<String>,
    pub max_input_tokens: Option<String>,
    pub max_output_tokens: Option<String>,
    pub input_cost_per_token: Option<String>,
    pub output_cost_per_token: Option<String>,
    pub cache_read_input_token_cost: Option<String>,
    pub cache_creation_input_token_cost: Option<String>,
    pub output_cost_per_reasoning_token: Option<String>,
    pub output_cost_per_image: Option<String>,
}

/// What one unit costs in credits, by the names both places use. They are listed twice because a flattened struct would make floats
/// of them.
pub const PRICES: [(Unit, &str); 6] = [
    (Unit::InputToken, "input_cost_per_token"),
    (Unit::OutputToken, "output_cost_per_token"),
    (Unit::CachedInputToken, "cache_read_input_token_cost"),
    (Unit::CacheWriteToken, "cache_creation_input_token_cost"),
    (Unit::ReasoningToken, "output_cost_per_reasoning_token"),
    (Unit::Image, "output_cost_per_image"),
];

impl Params {
    /// In the order of [`PRICES`].
    pub fn prices(&self) -> [Option<&str>; 6] {
        [
            self.input_cost_per_token.as_deref(),
            self.output_cost_per_token.as_deref(),
            self.cache_read_input_token_cost.as_deref(),
            self.cache_creation_input_token_cost.as_deref(),
            self.output_cost_per_reasoning_token.as_deref(),
            self.output_cost_per_image.as_deref(),
        ]
    }
}

impl Info {
    /// In the order of [`PRICES`].
    pub fn prices(&self) -> [Option<&str>; 6] {
        [
            self.input_cost_per_token.as_deref(),
            self.output_cost_per_token.as_deref(),
            self.cache_read_input_token_cost.as_deref(),
            self.cache_creation_input_token_cost.as_deref(),
            self.output_cost_per_reasoning_token.as_deref(),
            self.output_cost_per_image.as_deref(),
        ]
    }
}

/// `fallbacks` may stand in two sections.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Fallbacks {
    pub fallbacks: Option<Vec<BTreeMap<String, Vec<String>>>>,
}

/// What stands in the file beside what [`Config`] reads.
#[derive(Debug, Default)]
pub struct Names {
    /// `section.setting`.
    pub settings: Vec<String>,
    /// Of the parameters of each deployment.
    pub params: Vec<Vec<String>>,
}

const READ_PARAMS: [&str; 11] = [
    "model",
    "custom_llm_provider",
    "api_base",
    "base_url",
    "api_key",
    "weight",
    "rpm",
    "tpm",
    "order",
    "timeout",
    "max_parallel_requests",
];

/// Reads what is understood, and the names of all that is there.
pub fn read(text: &str) -> Result<(Config, Names), ControlError> {
    type Section = BTreeMap<String, IgnoredAny>;
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct DeploymentNames {
        litellm_params: Option<Section>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Sections {
        model_list: Option<Vec<DeploymentNames>>,
        router_settings: Option<Section>,
        litellm_settings: Option<Section>,
        general_settings: Option<Section>,
    }
    let config: Config = parse(text)?;
    let top: Section = parse(text)?;
    let sections: Sections = parse(text)?;
    let known = ["model_list", "router_settings", "litellm_settings", "general_settings", "environment_variables"];
    let mut settings: Vec<String> = top.into_keys().filter(|name| !known.contains(&name.as_str())).collect();
    for (section, names) in [
        ("router_settings", sections.router_settings),
        ("litellm_settings", sections.litellm_settings),
        ("general_settings", sections.general_settings),
    ] {
        let others = names.unwrap_or_default().into_keys().filter(|name| section == "general_settings" || name != "fallbacks");
        settings.extend(others.map(|name| format!("{section}.{name}")));
    }
    let is_read = |name: &str| READ_PARAMS.contains(&name) || PRICES.iter().any(|(_, price)| *price == name);
    let others = |names: DeploymentNames| names.litellm_params.unwrap_or_default().into_keys().filter(|name| !is_read(name)).collect();
    let params = sections.model_list.unwrap_or_default().into_iter().map(others).collect();
    Ok((config, Names { settings, params }))
}

fn parse<T: DeserializeOwned + Default>(text: &str) -> Result<T, ControlError> {
    // A snippet of the file could show a key.
    let options = serde_saphyr::options! { with_snippet: false };
    let parsed: Result<Option<T>, _> = serde_saphyr::from_str_with_options(text, options);
    parsed.map(Option::unwrap_or_default).map_err(|error| {
        ControlError::invalid("config", format!("the file is no configuration of LiteLLM's proxy: {}", scrub(&error.to_string())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits_and_other_names_are_noted() {
        let text = "
model_list:
  - model_name: fast
    litellm_params:
      model: openai/gpt-4o-mini
      api_key: os.environ/KEY
      rpm: 60
      input_cost_per_token: 1.50e-07
      extra_headers: {a: b}
    model_info: {mode: chat, max_output_tokens: 4096, output_cost_per_token: 0.0000006, id: x}
  - model_name: bare
router_settings:
  routing_strategy: simple-shuffle
  fallbacks: [{fast: [bare]}]
general_settings: {master_key: sk-1234}
litellm_settings:
callbacks: [x]
";
        let (config, names) = read(text).unwrap();
        let deployments = config.model_list.unwrap();
        let params = deployments[0].litellm_params.as_ref().unwrap();
        assert_eq!(params.input_cost_per_token.as_deref(), Some("1.50e-07"));
        assert_eq!(params.rpm.as_deref(), Some("60"));
        let info = deployments[0].model_info.as_ref().unwrap();
        assert_eq!((info.output_cost_per_token.as_deref(), info.max_output_tokens.as_deref()), (Some("0.0000006"), Some("4096")));
        assert_eq!(names.params, [vec!["extra_headers".to_owned()], vec![]]);
        assert_eq!(names.settings, ["callbacks", "router_settings.routing_strategy", "general_settings.master_key"]);
        assert_eq!(config.router_settings.unwrap().fallbacks.unwrap()[0]["fast"], ["bare"]);
    }

    #[test]
    fn a_broken_file_is_refused_without_showing_it() {
        for text in ["model_list: [", "model_list: 7", "- a", "model_list:\n  - litellm_params: {api_key: [sk-0123456789abcdef]}", "\u{0}"]
        {
            let error = read(text).unwrap_err().to_string();
            assert!(!error.contains("0123456789"), "{error}");
        }
        assert!(read("").is_ok());
    }
}
