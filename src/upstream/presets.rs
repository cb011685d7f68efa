//! What is known of each kind of provider, as data: `presets.toml`.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    dialect::{Dialect, Endpoint, format::Quirks},
    domain::catalog::{ProviderKind, UpstreamOptions},
};

/// How URLs are made below a base URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Paths {
    Openai,
    Azure,
    Anthropic,
    Gemini,
    Vertex,
    Bedrock,
    Cohere,
}

impl Paths {
    /// Whether an operation has a place below these paths.
    fn have(self, endpoint: Endpoint) -> bool {
        let dialect = endpoint.dialect();
        match self {
            Self::Openai | Self::Azure | Self::Anthropic => matches!(dialect, Dialect::OpenAi | Dialect::Anthropic),
            Self::Gemini | Self::Vertex => dialect == Dialect::Gemini,
            Self::Bedrock => dialect == Dialect::Converse,
            Self::Cohere => dialect == Dialect::Cohere,
        }
    }
}

/// What carries an upstream's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    Bearer,
    XApiKey,
    XGoogApiKey,
    ApiKey,
    /// A signature, or a Bedrock API key as bearer.
    Aws,
    /// A token that a service account asks for, or a Vertex API key.
    Google,
    None,
}

/// One kind of provider.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// For people.
    pub title: String,
    #[serde(default)]
    base_url: Option<String>,
    pub paths: Paths,
    pub auth: Auth,
    speaks: Vec<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    quirks: Map<String, Value>,
    #[serde(default = "yes")]
    pub lists_models: bool,
    #[serde(default)]
    own_keys: bool,
}

fn yes() -> bool {
    true
}

#[expect(clippy::expect_used, reason = "the file is part of the program, and a test reads it")]
static PRESETS: LazyLock<BTreeMap<ProviderKind, Preset>> =
    LazyLock::new(|| toml::from_str(include_str!("presets.toml")).expect("presets.toml can be read"));

impl Preset {
    /// Every kind has one.
    pub fn of(kind: ProviderKind) -> &'static Self {
        &PRESETS[&kind]
    }

    /// The base URL when the operator gives none. The error says what is missing.
    pub fn base_url(&self, options: &UpstreamOptions) -> Result<String, String> {
        let Some(template) = &self.base_url else {
            return Err(format!("the base URL is missing, and {} has no usual one; give it", self.title));
        };
        if template.contains("{region}") {
            let region = options.region.as_deref().ok_or("the region is missing; give options.region or a base URL")?;
            return Ok(template.replace("{region}", region));
        }
        Ok(match options.location.as_deref().unwrap_or("global") {
            "global" => template.replace("{location}-", ""),
            location => template.replace("{location}", location),
        })
    }

    /// Whether callers may bring their own keys.
    pub fn takes_own_keys(&self, base_url: &str, options: &UpstreamOptions) -> bool {
        let vendors_own = || self.own_keys && self.base_url(options).is_ok_and(|vendors| base_url.is_empty() || base_url == vendors);
        self.auth != Auth::None && options.own_keys.unwrap_or_else(vendors_own)
    }

    /// What an upstream is asked in its own format. The error names what is no operation.
    pub fn speaks(&self, options: &UpstreamOptions) -> Result<Vec<Endpoint>, String> {
        let names = options.speaks.as_ref().unwrap_or(&self.speaks);
        let mut speaks = Vec::new();
        for name in names {
            let endpoint = Endpoint::from_label(name).ok_or_else(|| {
                let known: Vec<&str> = Endpoint::ALL.iter().map(|endpoint| endpoint.label()).collect();
                format!("'{name}' is no operation; known are {}", known.join(", "))
            })?;
            if !self.paths.have(endpoint) {
                return Err(format!("'{name}' cannot be asked of {}", self.title));
            }
            if !speaks.contains(&endpoint) {
                speaks.push(endpoint);
            }
        }
        if let Some(native) = options.responses_native.filter(|_| self.paths.have(Endpoint::Responses)) {
            speaks.retain(|endpoint| *endpoint != Endpoint::Responses);
            speaks.extend(native.then_some(Endpoint::Responses));
        }
        Ok(speaks)
    }

    /// What the server deviates in. The error names what is no such thing.
    pub fn quirks(&self, options: &UpstreamOptions) -> Result<Quirks, String> {
        let mut quirks = self.quirks.clone();
        quirks.extend(options.quirks.iter().map(|(name, value)| (name.clone(), value.clone())));
        Quirks::deserialize(Value::Object(quirks)).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(json: &str) -> UpstreamOptions {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn every_kind_has_a_preset_that_makes_sense() {
        for kind in ProviderKind::ALL {
            let preset = Preset::of(kind);
            assert!(!preset.title.is_empty());
            assert!(!preset.speaks(&UpstreamOptions::default()).unwrap().is_empty(), "{kind:?}");
            preset.quirks(&UpstreamOptions::default()).unwrap();
            if let Ok(base_url) = preset.base_url(&options(r#"{"region":"eu-west-1"}"#)) {
                assert!(crate::upstream::parse_base_url(&base_url).is_ok(), "{base_url}");
            }
        }
        assert_eq!(PRESETS.len(), ProviderKind::ALL.len());
    }

    #[test]
    fn base_urls_are_made_of_regions() {
        let url = |kind, json| Preset::of(kind).base_url(&options(json));
        assert_eq!(url(ProviderKind::Openai, "{}").unwrap(), "https://api.openai.com/v1");
        assert_eq!(url(ProviderKind::Bedrock, r#"{"region":"us-east-1"}"#).unwrap(), "https://bedrock-runtime.us-east-1.amazonaws.com");
        assert_eq!(url(ProviderKind::Vertex, "{}").unwrap(), "https://aiplatform.googleapis.com");
        assert_eq!(url(ProviderKind::Vertex, r#"{"location":"europe-west4"}"#).unwrap(), "https://europe-west4-aiplatform.googleapis.com");
        assert!(url(ProviderKind::Bedrock, "{}").unwrap_err().contains("options.region"));
        assert!(url(ProviderKind::Azure, "{}").unwrap_err().contains("Azure OpenAI"));
    }

    #[test]
    fn options_refine_what_is_spoken() {
        let speaks = |kind, json| Preset::of(kind).speaks(&options(json));
        assert!(speaks(ProviderKind::Openai, "{}").unwrap().contains(&Endpoint::Responses));
        assert!(!speaks(ProviderKind::Openai, r#"{"responses_native":false}"#).unwrap().contains(&Endpoint::Responses));
        assert!(!speaks(ProviderKind::Vllm, "{}").unwrap().contains(&Endpoint::Responses));
        assert!(speaks(ProviderKind::Vllm, r#"{"responses_native":true}"#).unwrap().contains(&Endpoint::Responses));
        assert_eq!(speaks(ProviderKind::Vllm, r#"{"speaks":["messages","messages"]}"#).unwrap(), [Endpoint::Messages]);
        assert_eq!(speaks(ProviderKind::Bedrock, r#"{"responses_native":true}"#).unwrap(), [Endpoint::Converse]);
        assert!(speaks(ProviderKind::Bedrock, r#"{"speaks":["messages"]}"#).unwrap_err().contains("Amazon Bedrock"));
        assert!(speaks(ProviderKind::Vllm, r#"{"speaks":["chat"]}"#).unwrap_err().starts_with("'chat' is no operation"));
    }

    #[test]
    fn own_keys_are_taken_where_every_key_is_checked() {
        let takes = |kind, base_url, json| Preset::of(kind).takes_own_keys(base_url, &options(json));
        assert!(takes(ProviderKind::Openai, "", "{}") && takes(ProviderKind::Openai, "https://api.openai.com/v1", "{}"));
        assert!(!takes(ProviderKind::Openai, "http://127.0.0.1:1/v1", "{}"));
        assert!(takes(ProviderKind::Openai, "http://127.0.0.1:1/v1", r#"{"own_keys":true}"#));
        assert!(!takes(ProviderKind::Openai, "", r#"{"own_keys":false}"#));
        assert!(!takes(ProviderKind::Vllm, "", "{}") && !takes(ProviderKind::Ollama, "", "{}") && !takes(ProviderKind::Azure, "", "{}"));
        assert!(!takes(ProviderKind::Echo, "", r#"{"own_keys":true}"#));
    }

    #[test]
    fn servers_get_thoughts_and_top_k_where_they_take_them() {
        let takes = |kind| {
            let quirks = Preset::of(kind).quirks(&UpstreamOptions::default()).unwrap();
            (quirks.top_k, quirks.reasoning_input, quirks.reasoning_member)
        };
        assert_eq!(takes(ProviderKind::Vllm), (true, true, true));
        assert_eq!(takes(ProviderKind::LlamaCpp), (true, true, false));
        assert_eq!(takes(ProviderKind::Openrouter), (true, true, false));
        assert_eq!(takes(ProviderKind::Deepseek), (false, true, false));
        assert_eq!(takes(ProviderKind::Openai), (false, false, false));
    }

    #[test]
    fn options_refine_quirks_one_by_one() {
        let quirks = |json| Preset::of(ProviderKind::Mistral).quirks(&options(json));
        assert!(!quirks("{}").unwrap().stream_usage);
        let refined = quirks(r#"{"quirks":{"stream_usage":true}}"#).unwrap();
        assert!(refined.stream_usage && !refined.developer_role);
        assert!(quirks(r#"{"quirks":{"colour":true}}"#).is_err());
        assert!(quirks(r#"{"quirks":{"sampling":"no"}}"#).is_err());
    }
}
