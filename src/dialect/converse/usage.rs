//! Token counts: input excludes what was read from and written to the cache.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{dialect::counts::Count, domain::pricing::Quantities};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(default)]
    input_tokens: Option<Count>,
    #[serde(default)]
    output_tokens: Option<Count>,
    #[serde(default)]
    cache_read_input_tokens: Option<Count>,
    #[serde(default)]
    cache_write_input_tokens: Option<Count>,
    #[serde(default)]
    cache_details: Option<Vec<CacheDetail>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CacheDetail {
    #[serde(default)]
    ttl: Option<String>,
    #[serde(default)]
    input_tokens: Option<Count>,
}

/// `None` when it does not say.
pub(super) fn read(raw: &RawValue) -> Option<Quantities> {
    let wire: Wire = serde_json::from_str(raw.get()).ok()?;
    let count = |count: Option<Count>| count.map_or(0, |count| count.0);
    if wire.input_tokens.is_none() && wire.output_tokens.is_none() {
        return None;
    }
    let written = count(wire.cache_write_input_tokens);
    let hourly = wire.cache_details.unwrap_or_default().into_iter().filter(|detail| detail.ttl.as_deref() == Some("1h"));
    let hourly = hourly.map(|detail| count(detail.input_tokens)).fold(0, u64::saturating_add).min(written);
    Some(Quantities {
        input_tokens: count(wire.input_tokens),
        cached_input_tokens: count(wire.cache_read_input_tokens),
        cache_write_tokens: written - hourly,
        cache_write_1h_tokens: hourly,
        output_tokens: count(wire.output_tokens),
        ..Quantities::default()
    })
}
