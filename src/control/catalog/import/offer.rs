//! What a catalogue file says about models, whatever its format.

use std::collections::BTreeSet;

use super::amount::Markup;
use crate::domain::{
    catalog::{Capabilities, ModelKind},
    pricing::{self, Price},
};

/// One model as a file offers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// `provider/model`.
    pub id: String,
    /// Who serves it, as the file names it, for example `anthropic`.
    pub provider: String,
    pub upstream_model: String,
    /// Other names it should have where nobody else has them.
    pub aliases: Vec<String>,
    pub kind: ModelKind,
    pub display_name: Option<String>,
    pub capabilities: Capabilities,
    pub context_window: Option<u64>,
    pub max_input_tokens: Option<u64>,
    pub max_output_tokens: Option<u64>,
    /// None at all: the price is unknown.
    pub prices: Vec<Price>,
    pub owner: Option<String>,
    pub deprecated_at: Option<String>,
}

/// A whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// By id, each id once.
    pub offers: Vec<Offer>,
    /// Entries that cannot be used: what they are called, and why.
    pub refused: Vec<(String, String)>,
    /// Entries of a kind that Pixgate does not serve, or that were not asked for.
    pub left_out: usize,
}

/// Which entries are wanted. Default: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Only {
    pub providers: BTreeSet<String>,
    pub modes: BTreeSet<String>,
}

impl Only {
    /// Reads `provider=openai,provider=groq,mode=chat`: any of the providers, and any of the modes.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut only = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=').map(|(field, value)| (field.trim(), value.trim())) {
                Some(("provider", value)) if !value.is_empty() => only.providers.insert(value.to_owned()),
                Some(("mode", value)) if !value.is_empty() => only.modes.insert(value.to_owned()),
                _ => return Err(format!("'{part}' says nothing to import; write provider=NAME or mode=NAME")),
            };
        }
        Ok(only)
    }

    pub fn wants(&self, provider: &str, mode: &str) -> bool {
        self.wants_provider(provider) && (self.modes.is_empty() || self.modes.contains(mode))
    }

    pub fn wants_provider(&self, provider: &str) -> bool {
        self.providers.is_empty() || self.providers.contains(provider)
    }
}

/// What every format needs to know.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    pub only: Only,
    pub markup: Markup,
}

/// A price list that could not be kept is no reason to refuse a file, only its model.
pub fn check_prices(prices: Vec<Price>) -> Result<Vec<Price>, String> {
    pricing::validate(&prices).map_err(|error| error.to_string())?;
    Ok(prices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_for() {
        let only = Only::parse("provider=openai, provider=groq,mode=chat").unwrap();
        assert!(only.wants("openai", "chat") && only.wants("groq", "chat"));
        assert!(!only.wants("openai", "embedding") && !only.wants("azure", "chat"));
        assert!(Only::parse("").unwrap().wants("anything", "at all"));
        for bad in ["openai", "provider=", "colour=red", "mode"] {
            assert!(Only::parse(bad).is_err(), "{bad}");
        }
    }
}
