//! Pixgate's own format: `{"models":[{"id":…,"kind":…,"prices":[…]}]}`, with the fields that the admin API has.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    amount,
    offer::{Offer, Parsed, Wishes, check_prices},
};
use crate::domain::{
    catalog::{Capabilities, ModelKind, short_name},
    pricing::Price,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    #[serde(borrow)]
    models: Vec<&'a RawValue>,
}

/// One model, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    pub id: String,
    pub kind: ModelKind,
    /// What stands before the first `/` of the id when missing.
    pub provider: Option<String>,
    /// What stands behind the first `/` of the id when missing.
    pub upstream_model: Option<String>,
    pub display_name: Option<String>,
    #[serde(default)]
    pub aliases: Vec<String>,
    #[serde(default)]
    pub capabilities: Capabilities,
    pub context_window: Option<u64>,
    pub max_input_tokens: Option<u64>,
    pub max_output_tokens: Option<u64>,
    #[serde(default)]
    pub prices: Vec<Price>,
    pub owner: Option<String>,
    pub deprecated_at: Option<String>,
}

/// Reads the whole file, or says why it is none.
pub fn parse(text: &str, wishes: &Wishes) -> Result<Parsed, String> {
    let file: File<'_> = serde_json::from_str(text).map_err(|error| format!("the file is not a catalogue of Pixgate: {error}"))?;
    let mut collected = Collected::default();
    for (index, raw) in file.models.into_iter().enumerate() {
        match serde_json::from_str::<Written>(raw.get()) {
            Ok(written) => collected.add(written, wishes),
            Err(error) => collected.parsed.refused.push((named(raw, index), error.to_string())),
        }
    }
    Ok(collected.parsed)
}

/// What to call an entry that cannot be read.
fn named(raw: &RawValue, index: usize) -> String {
    let value: serde_json::Value = serde_json::from_str(raw.get()).unwrap_or_default();
    value.get("id").and_then(|id| id.as_str()).map_or_else(|| format!("models[{index}]"), str::to_owned)
}

/// Gathers models that are written one by one.
#[derive(Default)]
pub struct Collected {
    pub parsed: Parsed,
    seen: BTreeSet<String>,
}

impl Collected {
    pub fn add(&mut self, written: Written, wishes: &Wishes) {
        let (before, after) = (written.id.split_once('/').map(|(provider, _)| provider.to_owned()), short_name(&written.id));
        let provider = written.provider.or(before).unwrap_or_default();
        let mode = serde_json::to_value(written.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default();
        if !wishes.only.wants(&provider, &mode) {
            self.parsed.left_out += 1;
            return;
        }
        if !self.seen.insert(written.id.clone()) {
            self.parsed.refused.push((written.id, "the file has this id twice; its first entry counts".to_owned()));
            return;
        }
        let prices = written.prices.into_iter().map(|price| amount::marked_up(price, wishes.markup)).collect();
        let prices = match Result::and_then(prices, check_prices) {
            Ok(prices) => prices,
            Err(why) => return self.parsed.refused.push((written.id, why)),
        };
        self.parsed.offers.push(Offer {
            upstream_model: written.upstream_model.unwrap_or_else(|| after.unwrap_or(&written.id).to_owned()),
            owner: written.owner.or_else(|| Some(provider.clone()).filter(|provider| !provider.is_empty())),
            id: written.id,
            provider,
            aliases: written.aliases,
            kind: written.kind,
            display_name: written.display_name,
            capabilities: written.capabilities,
            context_window: written.context_window,
            max_input_tokens: written.max_input_tokens,
            max_output_tokens: written.max_output_tokens,
            prices,
            deprecated_at: written.deprecated_at,
        });
    }
}
