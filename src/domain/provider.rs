//! Whose API an upstream speaks, and what an operator can refine about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Whose API an upstream speaks. What follows from it (addresses, credentials, formats) is data: `upstream/presets.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// OpenAI itself, and servers that speak all of its API.
    Openai,
    /// Any other server that speaks OpenAI's chat API.
    OpenaiCompatible,
    /// Azure OpenAI.
    Azure,
    Anthropic,
    /// Gemini by API key; with a service account it is `vertex`.
    Gemini,
    /// Google models on Vertex AI; the API key is the JSON of a service account.
    Vertex,
    /// Converse on Amazon Bedrock; the API key is `ACCESS_KEY_ID:SECRET[:SESSION_TOKEN]` or a Bedrock API key.
    Bedrock,
    /// Cohere's rerank.
    Cohere,
    Mistral,
    Groq,
    Deepseek,
    Xai,
    Openrouter,
    Together,
    Fireworks,
    Perplexity,
    Cerebras,
    Ollama,
    Vllm,
    LlamaCpp,
    /// Built in; needs no network.
    Echo,
}

impl ProviderKind {
    pub const ALL: [Self; 21] = [
        Self::Openai,
        Self::OpenaiCompatible,
        Self::Azure,
        Self::Anthropic,
        Self::Gemini,
        Self::Vertex,
        Self::Bedrock,
        Self::Cohere,
        Self::Mistral,
        Self::Groq,
        Self::Deepseek,
        Self::Xai,
        Self::Openrouter,
        Self::Together,
        Self::Fireworks,
        Self::Perplexity,
        Self::Cerebras,
        Self::Ollama,
        Self::Vllm,
        Self::LlamaCpp,
        Self::Echo,
    ];

    /// As it is written in the admin API and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::OpenaiCompatible => "openai_compatible",
            Self::Azure => "azure",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Vertex => "vertex",
            Self::Bedrock => "bedrock",
            Self::Cohere => "cohere",
            Self::Mistral => "mistral",
            Self::Groq => "groq",
            Self::Deepseek => "deepseek",
            Self::Xai => "xai",
            Self::Openrouter => "openrouter",
            Self::Together => "together",
            Self::Fireworks => "fireworks",
            Self::Perplexity => "perplexity",
            Self::Cerebras => "cerebras",
            Self::Ollama => "ollama",
            Self::Vllm => "vllm",
            Self::LlamaCpp => "llama_cpp",
            Self::Echo => "echo",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Where Azure serves a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AzureStyle {
    /// `/openai/deployments/{deployment}/…?api-version=…`; the deployment is the route's `upstream_model`.
    Deployments,
    /// `/openai/v1/…`, with the deployment as `model` in the body.
    V1,
}

/// What refines an upstream beyond its provider. What is missing is as the provider has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamOptions {
    /// Azure: the query parameter. Gemini: `v1beta` or `v1`. Anthropic: the header, where the caller does not say one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azure_style: Option<AzureStyle>,
    /// Bedrock; found in `base_url` when it names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Vertex; that of the service account when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Vertex; `global` when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Whether accounts may bring keys of their own for it, and then pay a fee only. Without a word they may at a vendor's own address,
    /// where every key is checked; a server that takes any key must not say yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_keys: Option<bool>,
    /// Sent with every call. They are shown in answers of the admin API, so they are no place for secrets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Operations the upstream is asked in its own format, for example `chat_completions`, `messages`; replaces the provider's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speaks: Option<Vec<String>>,
    /// True adds OpenAI's Responses to what the upstream is asked, false takes it away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub responses_native: Option<bool>,
    /// What the server deviates in, by name; each replaces the provider's.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    #[schema(value_type = Object)]
    pub quirks: serde_json::Map<String, serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_what_it_writes() {
        for kind in ProviderKind::ALL {
            assert_eq!(ProviderKind::parse(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            assert_eq!(serde_json::from_value::<ProviderKind>(kind.as_str().into()).unwrap(), kind);
        }
        assert_eq!(ProviderKind::parse("OpenAI"), None);
    }

    #[test]
    fn options_that_are_not_given_are_not_written() {
        assert_eq!(serde_json::to_string(&UpstreamOptions::default()).unwrap(), "{}");
        let text = r#"{"api_version":"v1","azure_style":"v1","headers":{"a":"b"},"speaks":["messages"],"quirks":{"sampling":false}}"#;
        let options: UpstreamOptions = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&options).unwrap(), text);
        assert!(serde_json::from_str::<UpstreamOptions>(r#"{"colour":1}"#).is_err());
    }
}
