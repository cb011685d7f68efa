//! Which of our providers stands for what others call one. Vendors that speak OpenAI's wire format and have no name here
//! are `openai_compatible` with their own URL.

use serde::{Deserialize, de::IntoDeserializer, de::value::Error};

use crate::domain::catalog::ProviderKind;

/// One vendor as others name it.
#[derive(Debug, Clone, Copy)]
pub struct Vendor {
    pub name: &'static str,
    /// Name of our provider.
    kind: &'static str,
    /// What its upstream's `base_url` is when nothing else is said; empty when it must be said.
    pub base_url: &'static str,
}

const fn vendor(name: &'static str, kind: &'static str, base_url: &'static str) -> Vendor {
    Vendor { name, kind, base_url }
}

/// As LiteLLM names them before the `/` of a model.
const LITELLM: [Vendor; 33] = [
    vendor("openai", "openai", "https://api.openai.com/v1"),
    vendor("text-completion-openai", "openai", "https://api.openai.com/v1"),
    vendor("custom_openai", "openai_compatible", ""),
    vendor("openai_like", "openai_compatible", ""),
    vendor("hosted_vllm", "vllm", ""),
    vendor("lm_studio", "openai_compatible", ""),
    vendor("llamafile", "openai_compatible", ""),
    vendor("xinference", "openai_compatible", ""),
    vendor("litellm_proxy", "openai_compatible", ""),
    vendor("ollama", "ollama", "http://localhost:11434/v1"),
    vendor("ollama_chat", "ollama", "http://localhost:11434/v1"),
    vendor("groq", "groq", "https://api.groq.com/openai/v1"),
    vendor("deepseek", "deepseek", "https://api.deepseek.com/v1"),
    vendor("mistral", "mistral", "https://api.mistral.ai/v1"),
    vendor("openrouter", "openrouter", "https://openrouter.ai/api/v1"),
    vendor("together_ai", "together", "https://api.together.xyz/v1"),
    vendor("fireworks_ai", "fireworks", "https://api.fireworks.ai/inference/v1"),
    vendor("perplexity", "perplexity", "https://api.perplexity.ai"),
    vendor("xai", "xai", "https://api.x.ai/v1"),
    vendor("moonshot", "openai_compatible", "https://api.moonshot.ai/v1"),
    vendor("deepinfra", "openai_compatible", "https://api.deepinfra.com/v1/openai"),
    vendor("cerebras", "cerebras", "https://api.cerebras.ai/v1"),
    vendor("nvidia_nim", "openai_compatible", "https://integrate.api.nvidia.com/v1"),
    vendor("sambanova", "openai_compatible", "https://api.sambanova.ai/v1"),
    vendor("dashscope", "openai_compatible", "https://dashscope.aliyuncs.com/compatible-mode/v1"),
    vendor("volcengine", "openai_compatible", "https://ark.cn-beijing.volces.com/api/v3"),
    vendor("anthropic", "anthropic", "https://api.anthropic.com"),
    vendor("gemini", "gemini", "https://generativelanguage.googleapis.com"),
    vendor("azure", "azure", ""),
    vendor("cohere", "cohere", "https://api.cohere.com"),
    vendor("cohere_chat", "cohere", "https://api.cohere.com"),
    vendor("bedrock", "bedrock", ""),
    vendor("vertex_ai", "vertex", ""),
];

impl Vendor {
    /// As LiteLLM names it.
    pub fn of_litellm(name: &str) -> Option<Self> {
        LITELLM.into_iter().find(|vendor| vendor.name == name)
    }

    /// Our provider, or why there is none.
    pub fn provider(&self) -> Result<ProviderKind, String> {
        // These take more than a URL and a key, which nobody can guess.
        if matches!(self.kind, "bedrock" | "vertex") {
            return Err(format!("{} takes its vendor's own credentials; create the upstream by hand", self.name));
        }
        parse(self.kind)
    }

    /// The URL as our upstreams take it: that of the vendor's own SDK.
    pub fn base_url(&self, given: Option<&str>) -> Result<String, String> {
        let given = given.map(|url| url.trim().trim_end_matches('/')).filter(|url| !url.is_empty());
        match given {
            None if self.base_url.is_empty() => Err(format!("{} needs api_base", self.name)),
            None => Ok(self.base_url.to_owned()),
            Some(url) if self.name.starts_with("ollama") && !url.ends_with("/v1") => Ok(format!("{url}/v1")),
            Some(url) => Ok(match self.kind {
                "anthropic" => strip(url, &["/v1/messages", "/v1"]),
                "gemini" => strip(url, &["/v1beta", "/v1"]),
                _ => strip(url, &["/chat/completions"]),
            }
            .to_owned()),
        }
    }
}

fn strip<'a>(url: &'a str, ends: &[&str]) -> &'a str {
    ends.iter().find_map(|end| url.strip_suffix(end)).unwrap_or(url)
}

/// A provider of ours by its name, or why there is none.
pub fn parse(name: &str) -> Result<ProviderKind, String> {
    let deserializer: serde::de::value::StrDeserializer<'_, Error> = name.into_deserializer();
    ProviderKind::deserialize(deserializer).map_err(|_| format!("this version has no provider '{name}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_read_by_their_names() {
        assert_eq!(parse("openai"), Ok(ProviderKind::Openai));
        assert!(parse("no-such").unwrap_err().contains("no-such"));
        assert!(Vendor::of_litellm("bedrock").unwrap().provider().is_err());
        assert!(Vendor::of_litellm("no-such").is_none());
    }

    #[test]
    fn urls_are_those_of_the_vendors_sdk() {
        let url = |name: &str, given: Option<&str>| Vendor::of_litellm(name).unwrap().base_url(given);
        for (name, given, expected) in [
            ("openai", None, "https://api.openai.com/v1"),
            ("openai", Some("http://localhost:8000/v1/"), "http://localhost:8000/v1"),
            ("openai", Some("http://h/v1/chat/completions"), "http://h/v1"),
            ("ollama", Some("http://localhost:11434"), "http://localhost:11434/v1"),
            ("anthropic", Some("https://h/v1/messages"), "https://h"),
            ("gemini", Some("https://h/v1beta"), "https://h"),
        ] {
            assert_eq!(url(name, given).as_deref(), Ok(expected), "{name}");
        }
        assert!(url("hosted_vllm", None).is_err());
    }
}
