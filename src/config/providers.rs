//! Upstreams that settings ask for: a key or a base URL in the environment is enough to have a provider's upstream.

use serde::Deserialize;

use super::schema::Setting;
use crate::telemetry::redact::Secret;

/// One provider's section.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ProviderAccess {
    pub api_key: Option<Secret>,
    pub base_url: Option<String>,
}

/// An upstream, named like its provider, that exists after every start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderSeed {
    /// Of the provider and of the upstream.
    pub name: &'static str,
    /// Without a slash at its end; `None` for the provider's own.
    pub base_url: Option<String>,
    pub api_key: Option<Secret>,
}

macro_rules! providers {
    ($($name:ident),*) => {
        /// Sections of providers, by their names. Those that need more than a key and an address are set up in the admin API only.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
        #[serde(default)]
        pub struct Providers {
            $(#[doc = concat!("`[", stringify!($name), "]`")] pub $name: ProviderAccess,)*
        }

        impl Providers {
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            pub const SETTINGS: &'static [Setting] = &[$(
                Setting::new::<Option<Secret>>(concat!(stringify!($name), ".api_key"), KEY, unset, None),
                Setting::new::<Option<String>>(concat!(stringify!($name), ".base_url"), BASE_URL, unset, None),
            )*];

            /// Every section with its name.
            pub fn all(&self) -> impl Iterator<Item = (&'static str, &ProviderAccess)> {
                [$((stringify!($name), &self.$name)),*].into_iter()
            }
        }
    };
}

const KEY: &str = "Key of an upstream of this name that exists after every start.";
const BASE_URL: &str = "Base URL of that upstream, as the vendor's own SDK takes it; unset means the vendor's. Set alone, it names a server that needs no key.";

fn unset() -> String {
    "unset".to_owned()
}

providers!(
    openai, anthropic, gemini, cohere, mistral, groq, deepseek, xai, openrouter, together, fireworks, perplexity, cerebras, ollama, vllm,
    llama_cpp
);

impl Providers {
    /// The upstreams that are asked for.
    pub fn seeds(&self) -> impl Iterator<Item = ProviderSeed> {
        self.all().filter(|(_, access)| access.api_key.is_some() || access.base_url.is_some()).map(|(name, access)| ProviderSeed {
            name,
            base_url: access.base_url.as_deref().map(|url| url.trim_end_matches('/').to_owned()),
            api_key: access.api_key.clone(),
        })
    }

    /// The setting that a usual variable stands for: `OPENAI_API_KEY`, `ANTHROPIC_BASE_URL`.
    pub fn aliased(variable: &str) -> Option<String> {
        let (provider, field) = match (variable.strip_suffix("_API_KEY"), variable.strip_suffix("_BASE_URL")) {
            (Some(provider), _) => (provider, "api_key"),
            (None, Some(provider)) => (provider, "base_url"),
            (None, None) => return None,
        };
        let name = Self::NAMES.iter().find(|name| name.to_ascii_uppercase() == provider)?;
        Some(format!("{name}.{field}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalog::ProviderKind;

    #[test]
    fn every_section_is_a_provider() {
        for name in Providers::NAMES {
            assert!(ProviderKind::parse(name).is_some(), "{name}");
        }
    }

    #[test]
    fn usual_variables_are_understood() {
        assert_eq!(Providers::aliased("LLAMA_CPP_BASE_URL").as_deref(), Some("llama_cpp.base_url"));
        assert_eq!(Providers::aliased("XAI_API_KEY").as_deref(), Some("xai.api_key"));
        for other in ["API_KEY", "ACME_API_KEY", "openai_API_KEY", "OPENAI_KEY"] {
            assert_eq!(Providers::aliased(other), None, "{other}");
        }
    }
}
