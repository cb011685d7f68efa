//! What a call costs: an exact sum over disjoint usage buckets, rounded up once to whole micros.

use serde::{Deserialize, Serialize};

use super::Micros;

/// What a price is for. One unit per usage bucket; see [`Quantities`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    InputToken,
    OutputToken,
    CachedInputToken,
    CacheWriteToken,
    ReasoningToken,
    Image,
    AudioSecond,
    Character,
    VideoSecond,
    MegapixelFrame,
    Request,
}

/// `micros` credits for every `per` units (for example 150 000 micros per 1 000 000 input tokens).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    pub unit: Unit,
    pub micros: Micros,
    pub per: i64,
}

/// The prices of one model, frozen into every call at its admission.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceList(pub Vec<Price>);

/// How much of everything a call used. Buckets are disjoint: `input_tokens` excludes cached and cache-write tokens,
/// `output_tokens` excludes reasoning tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quantities {
    pub input_tokens: u64,
    pub cached_input_tokens: u64,
    pub cache_write_tokens: u64,
    pub output_tokens: u64,
    pub reasoning_tokens: u64,
    pub images: u64,
    pub audio_seconds: u64,
    pub characters: u64,
    pub video_seconds: u64,
    pub megapixel_frames: u64,
    pub requests: u64,
}
