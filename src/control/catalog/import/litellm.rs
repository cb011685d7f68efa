//! LiteLLM's price list: one JSON object, an entry a model, US dollars for one unit.
//!
//! One US dollar is one credit. What depends on a choice that is not known before a call (the resolution of a video, the depth of a
//! search) counts with its dearest price. Prices of batches and of other service tiers are left out, because calls are not made there.

use std::collections::BTreeMap;

use rust_decimal::{Decimal, prelude::ToPrimitive};
use serde_json::value::RawValue;

use super::{
    amount,
    offer::{Offer, Parsed, Wishes, check_prices},
};
use crate::{
    control::input::is_date,
    domain::{
        catalog::{Capabilities, ModelKind, short_name},
        pricing::{Price, Unit},
    },
};

/// Keys of token prices. Each may have tiers, `…_above_200k_tokens`.
const TOKEN_KEYS: [(&str, Unit); 10] = [
    ("input_cost_per_token", Unit::InputToken),
    ("output_cost_per_token", Unit::OutputToken),
    ("cache_read_input_token_cost", Unit::CachedInputToken),
    ("cache_creation_input_token_cost", Unit::CacheWriteToken),
    ("cache_creation_input_token_cost_above_1hr", Unit::CacheWrite1hToken),
    ("input_cost_per_audio_token", Unit::AudioInputToken),
    ("output_cost_per_audio_token", Unit::AudioOutputToken),
    ("input_cost_per_image_token", Unit::ImageInputToken),
    ("output_cost_per_image_token", Unit::ImageOutputToken),
    ("output_cost_per_reasoning_token", Unit::ReasoningToken),
];

/// Reads the whole file, or says why it is none.
pub fn parse(text: &str, wishes: &Wishes) -> Result<Parsed, String> {
    let entries: BTreeMap<String, &RawValue> =
        serde_json::from_str(text).map_err(|error| format!("the file is not a price list of LiteLLM: {error}"))?;
    let mut parsed = Parsed::default();
    // Some models are listed twice, with and without the provider in front; the full name counts.
    let mut offers: BTreeMap<String, (bool, Offer)> = BTreeMap::new();
    for (key, raw) in entries.iter().filter(|(key, _)| *key != "sample_spec" && !key.starts_with('_')) {
        let entry = match Entry::read(raw) {
            Ok(entry) => entry,
            Err(why) => {
                parsed.refused.push((key.clone(), why));
                continue;
            }
        };
        let provider = entry.text("litellm_provider").map(|name| provider(&name).to_owned()).unwrap_or_default();
        let mode = entry.text("mode").unwrap_or_default();
        let Some(kind) = kind(&mode).filter(|_| !provider.is_empty() && wishes.only.wants(&provider, &mode)) else {
            parsed.left_out += 1;
            continue;
        };
        match offer(key, &provider, kind, &entry, wishes) {
            Ok(offer) => {
                let is_full = offer.id == *key;
                merge(&mut offers, is_full, offer);
            }
            Err(why) => parsed.refused.push((key.clone(), why)),
        }
    }
    parsed.offers = with_short_names(offers.into_values().map(|(_, offer)| offer).collect());
    Ok(parsed)
}

fn merge(offers: &mut BTreeMap<String, (bool, Offer)>, is_full: bool, mut offer: Offer) {
    match offers.get_mut(&offer.id) {
        Some((true, known)) => known.aliases.append(&mut offer.aliases),
        Some((known_is_full, known)) => {
            offer.aliases.append(&mut known.aliases);
            (*known_is_full, *known) = (is_full, offer);
        }
        None => drop(offers.insert(offer.id.clone(), (is_full, offer))),
    }
}

/// Gives models the part of their id behind the provider as an alias, where the file has it once.
fn with_short_names(mut offers: Vec<Offer>) -> Vec<Offer> {
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    for offer in &offers {
        let short = short_name(&offer.id).filter(|short| offer.aliases.iter().all(|alias| alias != short));
        for name in offer.aliases.iter().map(String::as_str).chain(short).chain([offer.id.as_str()]) {
            *uses.entry(name.to_owned()).or_default() += 1;
        }
    }
    for offer in offers.iter_mut().filter(|offer| offer.aliases.is_empty()) {
        offer.aliases.extend(short_name(&offer.id).filter(|short| uses.get(*short) == Some(&1)).map(str::to_owned));
    }
    offers
}

/// The names under which one provider's models are listed, as one.
fn provider(name: &str) -> &str {
    let name = name.strip_prefix("text-completion-").unwrap_or(name);
    match name.split_once('-') {
        // vertex_ai-language-models, fireworks_ai-embedding-models
        Some((provider, family)) if family.ends_with("models") => provider,
        _ => match name {
            "bedrock_converse" => "bedrock",
            "cohere_chat" => "cohere",
            "azure_text" => "azure",
            other => other,
        },
    }
}

fn kind(mode: &str) -> Option<ModelKind> {
    Some(match mode {
        "chat" | "responses" => ModelKind::Chat,
        "completion" => ModelKind::Completion,
        "embedding" => ModelKind::Embedding,
        "image_generation" | "image_edit" => ModelKind::Image,
        "audio_speech" | "audio_transcription" => ModelKind::Audio,
        "moderation" => ModelKind::Moderation,
        "rerank" => ModelKind::Rerank,
        "video_generation" => ModelKind::Video,
        _ => return None,
    })
}

fn offer(key: &str, provider: &str, kind: ModelKind, entry: &Entry<'_>, wishes: &Wishes) -> Result<Offer, String> {
    let in_provider = key.strip_prefix(provider).and_then(|rest| rest.strip_prefix('/'));
    let id = if in_provider.is_some() { key.to_owned() } else { format!("{provider}/{key}") };
    Ok(Offer {
        aliases: if in_provider.is_some() { Vec::new() } else { vec![key.to_owned()] },
        upstream_model: in_provider.unwrap_or(key).to_owned(),
        id,
        provider: provider.to_owned(),
        kind,
        display_name: None,
        capabilities: capabilities(entry),
        // The list names the longest input, which is not always what input and output share.
        context_window: None,
        max_input_tokens: entry.count("max_input_tokens"),
        max_output_tokens: entry.count("max_output_tokens").filter(|_| matches!(kind, ModelKind::Chat | ModelKind::Completion)),
        prices: prices(kind, entry, wishes)?,
        owner: Some(provider.to_owned()),
        deprecated_at: entry.text("deprecation_date").filter(|date| is_date(date)),
    })
}

fn capabilities(entry: &Entry<'_>) -> Capabilities {
    Capabilities {
        vision: entry.flag("supports_vision"),
        documents: entry.flag("supports_pdf_input"),
        audio_input: entry.flag("supports_audio_input"),
        audio_output: entry.flag("supports_audio_output"),
        tools: entry.flag("supports_function_calling"),
        parallel_tools: entry.flag("supports_parallel_function_calling"),
        json_schema: entry.flag("supports_response_schema"),
        reasoning: entry.flag("supports_reasoning"),
        sampling: entry.flag("supports_sampling_params"),
        streaming: entry.flag("supports_native_streaming"),
    }
}

/// All prices of an entry; none when it says too little to charge by.
fn prices(kind: ModelKind, entry: &Entry<'_>, wishes: &Wishes) -> Result<Vec<Price>, String> {
    let mut written = token_prices(entry)?;
    let has_tokens = written.iter().any(|(_, _, credits)| !credits.is_zero());
    let mut add = |unit: Unit, credits: Option<Decimal>| written.extend(credits.map(|credits| (unit, None, credits)));
    // What is priced by tokens is charged by tokens alone; the price for a whole image or second says the same again.
    if !has_tokens {
        match kind {
            ModelKind::Image => add(Unit::Image, entry.dearest(&["output_cost_per_image", "input_cost_per_image"])?),
            ModelKind::Audio => {
                add(Unit::AudioSecond, entry.dearest(&["input_cost_per_second", "output_cost_per_second"])?);
                add(Unit::Character, entry.number("input_cost_per_character")?);
            }
            ModelKind::Video => add(Unit::VideoSecond, entry.dearest(&["output_cost_per_second", "output_cost_per_video_per_second"])?),
            _ => {}
        }
    }
    add(Unit::Request, entry.number("input_cost_per_request")?);
    if kind == ModelKind::Rerank {
        add(Unit::Request, entry.number("input_cost_per_query")?);
    }
    // Both sides of a conversation must have a price, or a request has one.
    let has = |unit: Unit| written.iter().any(|(priced, _, _)| *priced == unit);
    let is_talk = matches!(kind, ModelKind::Chat | ModelKind::Completion);
    let says_enough = !is_talk || has(Unit::Request) || (has(Unit::InputToken) && has(Unit::OutputToken));
    if !says_enough || written.iter().all(|(_, _, credits)| credits.is_zero()) {
        return Ok(Vec::new());
    }
    written.extend(entry.search()?.map(|credits| (Unit::Search, None, credits)));
    let price = |(unit, above, credits): (Unit, Option<u64>, Decimal)| {
        let price = amount::price(unit, credits, wishes.markup)?;
        Ok(above.map_or(price, |above| price.above(above)))
    };
    check_prices(written.into_iter().map(price).collect::<Result<_, String>>()?)
}

/// Unit, tier and credits of every price for tokens.
fn token_prices(entry: &Entry<'_>) -> Result<Vec<(Unit, Option<u64>, Decimal)>, String> {
    let mut written = Vec::new();
    let mut ranges = entry.ranges()?;
    ranges.sort_by_key(|(from, _)| *from);
    for (key, unit) in TOKEN_KEYS {
        // Writing to a cache for nothing means nothing on top: the tokens are read all the same.
        let is_no_surcharge = |credits: &Decimal| credits.is_zero() && matches!(unit, Unit::CacheWriteToken | Unit::CacheWrite1hToken);
        let mut own = Vec::new();
        own.extend(entry.number(key)?.map(|credits| (unit, None, credits)));
        for (name, raw) in &entry.0 {
            let Some(tokens) = tier(name, key) else { continue };
            own.extend(number(name, raw)?.map(|credits| (unit, Some(tokens), credits)));
        }
        own.retain(|(_, _, credits)| !is_no_surcharge(credits));
        // Without a price below them tiers say too little; what such a unit falls back to has tiers of its own.
        if unit.fallback().is_some() && own.iter().all(|(_, above, _)| above.is_some()) {
            own.clear();
        }
        for (from, range) in ranges.iter().filter(|_| own.is_empty()) {
            let above = Some(*from).filter(|from| *from > 0);
            written.extend(range.number(key)?.map(|credits| (unit, above, credits)));
        }
        if own.is_empty() && unit == Unit::CachedInputToken {
            own.extend(entry.number("input_cost_per_token_cache_hit")?.map(|credits| (unit, None, credits)));
        }
        written.append(&mut own);
    }
    Ok(written)
}

/// The tokens above which a field names the price of `key`, as `input_cost_per_token_above_200k_tokens`.
fn tier(name: &str, key: &str) -> Option<u64> {
    let thousands: u64 = name.strip_prefix(key)?.strip_prefix("_above_")?.strip_suffix("k_tokens")?.parse().ok()?;
    Some(thousands.saturating_mul(1_000))
}

/// The fields of one entry, unread, so that numbers keep their digits.
struct Entry<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Entry<'a> {
    fn read(raw: &'a RawValue) -> Result<Self, String> {
        serde_json::from_str(raw.get()).map(Self).map_err(|error| format!("the entry is not an object: {error}"))
    }

    fn text(&self, key: &str) -> Option<String> {
        self.0.get(key).and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    fn flag(&self, key: &str) -> Option<bool> {
        self.0.get(key).and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// A whole number above 0, also one that is written as a float or as text.
    fn count(&self, key: &str) -> Option<u64> {
        let number = number(key, self.0.get(key)?).ok()??;
        number.to_u64().filter(|count| (1..=super::TOKENS_MAX).contains(count))
    }

    fn number(&self, key: &str) -> Result<Option<Decimal>, String> {
        self.0.get(key).map_or(Ok(None), |raw| number(key, raw))
    }

    /// The dearest of these prices and of their variants by size (`…_1080p`, `…_1024`).
    fn dearest(&self, keys: &[&str]) -> Result<Option<Decimal>, String> {
        let mut dearest = None;
        for (name, raw) in &self.0 {
            let is_size = |rest: &str| rest.strip_prefix('_').is_some_and(|size| size.starts_with(|first: char| first.is_ascii_digit()));
            if keys.iter().any(|key| name.strip_prefix(key).is_some_and(|rest| rest.is_empty() || is_size(rest))) {
                dearest = dearest.max(number(name, raw)?);
            }
        }
        Ok(dearest)
    }

    /// The dearest search.
    fn search(&self) -> Result<Option<Decimal>, String> {
        let key = "search_context_cost_per_query";
        let Some(raw) = self.0.get(key) else { return Ok(None) };
        let Ok(sizes) = Entry::read(raw) else { return number(key, raw) };
        let mut dearest = None;
        for (name, raw) in &sizes.0 {
            dearest = dearest.max(number(name, raw)?);
        }
        Ok(dearest)
    }

    /// Prices by the length of the input: where each range begins, and its prices.
    fn ranges(&self) -> Result<Vec<(u64, Entry<'a>)>, String> {
        let Some(raw) = self.0.get("tiered_pricing") else { return Ok(Vec::new()) };
        let list: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(|error| format!("tiered_pricing is not a list: {error}"))?;
        let mut ranges = Vec::new();
        for raw in list {
            let range = Entry::read(raw)?;
            let bounds: Vec<&RawValue> = range.0.get("range").and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
            let from = bounds.first().map_or(Ok(None), |raw| number("range", raw))?.and_then(|from| from.to_u64());
            ranges.push((from.ok_or("a range of tiered_pricing does not say where it begins")?, range));
        }
        Ok(ranges)
    }
}

/// The number of a field, `None` when it is null.
fn number(key: &str, raw: &RawValue) -> Result<Option<Decimal>, String> {
    let text = raw.get().trim_matches('"');
    if text == "null" {
        return Ok(None);
    }
    amount::read(text).map(Some).map_err(|why| format!("{key}: {why}"))
}
