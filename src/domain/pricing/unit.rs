//! What prices are for, and how much of it a call used.

use serde::{Deserialize, Serialize};

/// What a price is for. One unit per usage bucket; see [`Quantities`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    InputToken,
    OutputToken,
    CachedInputToken,
    CacheWriteToken,
    /// Written to a cache that lives for an hour.
    #[serde(rename = "cache_write_1h_token")]
    CacheWrite1hToken,
    ReasoningToken,
    AudioInputToken,
    AudioOutputToken,
    ImageInputToken,
    ImageOutputToken,
    /// An image that was made.
    Image,
    AudioSecond,
    Character,
    VideoSecond,
    MegapixelFrame,
    /// A search the model made on the web.
    Search,
    Request,
}

impl Unit {
    pub const ALL: [Self; 17] = [
        Self::InputToken,
        Self::OutputToken,
        Self::CachedInputToken,
        Self::CacheWriteToken,
        Self::CacheWrite1hToken,
        Self::ReasoningToken,
        Self::AudioInputToken,
        Self::AudioOutputToken,
        Self::ImageInputToken,
        Self::ImageOutputToken,
        Self::Image,
        Self::AudioSecond,
        Self::Character,
        Self::VideoSecond,
        Self::MegapixelFrame,
        Self::Search,
        Self::Request,
    ];

    /// What a call is given: these together decide which tier of a price counts.
    pub const INPUT: [Self; 6] = [
        Self::InputToken,
        Self::CachedInputToken,
        Self::CacheWriteToken,
        Self::CacheWrite1hToken,
        Self::AudioInputToken,
        Self::ImageInputToken,
    ];

    /// What a call produces, counted in tokens.
    pub const OUTPUT: [Self; 4] = [Self::OutputToken, Self::ReasoningToken, Self::AudioOutputToken, Self::ImageOutputToken];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::InputToken => "input_token",
            Self::OutputToken => "output_token",
            Self::CachedInputToken => "cached_input_token",
            Self::CacheWriteToken => "cache_write_token",
            Self::CacheWrite1hToken => "cache_write_1h_token",
            Self::ReasoningToken => "reasoning_token",
            Self::AudioInputToken => "audio_input_token",
            Self::AudioOutputToken => "audio_output_token",
            Self::ImageInputToken => "image_input_token",
            Self::ImageOutputToken => "image_output_token",
            Self::Image => "image",
            Self::AudioSecond => "audio_second",
            Self::Character => "character",
            Self::VideoSecond => "video_second",
            Self::MegapixelFrame => "megapixel_frame",
            Self::Search => "search",
            Self::Request => "request",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.as_str() == text)
    }

    /// Whose price counts where this unit has none.
    pub fn fallback(self) -> Option<Self> {
        match self {
            Self::CachedInputToken | Self::CacheWriteToken | Self::AudioInputToken | Self::ImageInputToken => Some(Self::InputToken),
            Self::CacheWrite1hToken => Some(Self::CacheWriteToken),
            Self::ReasoningToken | Self::AudioOutputToken | Self::ImageOutputToken => Some(Self::OutputToken),
            _ => None,
        }
    }
}

/// How much of everything a call used. Buckets are disjoint: `input_tokens` excludes cached, cache-write, audio and image tokens,
/// `output_tokens` excludes reasoning, audio and image tokens, `cache_write_tokens` excludes those of the cache that lives an hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quantities {
    pub input_tokens: u64,
    pub cached_input_tokens: u64,
    pub cache_write_tokens: u64,
    pub cache_write_1h_tokens: u64,
    pub audio_input_tokens: u64,
    pub image_input_tokens: u64,
    pub output_tokens: u64,
    pub reasoning_tokens: u64,
    pub audio_output_tokens: u64,
    pub image_output_tokens: u64,
    pub images: u64,
    pub audio_seconds: u64,
    pub characters: u64,
    pub video_seconds: u64,
    pub megapixel_frames: u64,
    pub searches: u64,
    pub requests: u64,
}

impl Quantities {
    /// All tokens, whatever their price.
    pub fn tokens(&self) -> u64 {
        self.all_input_tokens().saturating_add(self.all_output_tokens())
    }

    /// Every kind of input token.
    pub fn all_input_tokens(&self) -> u64 {
        Unit::INPUT.into_iter().fold(0, |sum, unit| sum.saturating_add(self.of(unit)))
    }

    /// Every kind of output token.
    pub fn all_output_tokens(&self) -> u64 {
        Unit::OUTPUT.into_iter().fold(0, |sum, unit| sum.saturating_add(self.of(unit)))
    }

    /// Both together.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            cached_input_tokens: self.cached_input_tokens.saturating_add(other.cached_input_tokens),
            cache_write_tokens: self.cache_write_tokens.saturating_add(other.cache_write_tokens),
            cache_write_1h_tokens: self.cache_write_1h_tokens.saturating_add(other.cache_write_1h_tokens),
            audio_input_tokens: self.audio_input_tokens.saturating_add(other.audio_input_tokens),
            image_input_tokens: self.image_input_tokens.saturating_add(other.image_input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            reasoning_tokens: self.reasoning_tokens.saturating_add(other.reasoning_tokens),
            audio_output_tokens: self.audio_output_tokens.saturating_add(other.audio_output_tokens),
            image_output_tokens: self.image_output_tokens.saturating_add(other.image_output_tokens),
            images: self.images.saturating_add(other.images),
            audio_seconds: self.audio_seconds.saturating_add(other.audio_seconds),
            characters: self.characters.saturating_add(other.characters),
            video_seconds: self.video_seconds.saturating_add(other.video_seconds),
            megapixel_frames: self.megapixel_frames.saturating_add(other.megapixel_frames),
            searches: self.searches.saturating_add(other.searches),
            requests: self.requests.saturating_add(other.requests),
        }
    }

    pub fn of(&self, unit: Unit) -> u64 {
        match unit {
            Unit::InputToken => self.input_tokens,
            Unit::OutputToken => self.output_tokens,
            Unit::CachedInputToken => self.cached_input_tokens,
            Unit::CacheWriteToken => self.cache_write_tokens,
            Unit::CacheWrite1hToken => self.cache_write_1h_tokens,
            Unit::ReasoningToken => self.reasoning_tokens,
            Unit::AudioInputToken => self.audio_input_tokens,
            Unit::AudioOutputToken => self.audio_output_tokens,
            Unit::ImageInputToken => self.image_input_tokens,
            Unit::ImageOutputToken => self.image_output_tokens,
            Unit::Image => self.images,
            Unit::AudioSecond => self.audio_seconds,
            Unit::Character => self.characters,
            Unit::VideoSecond => self.video_seconds,
            Unit::MegapixelFrame => self.megapixel_frames,
            Unit::Search => self.searches,
            Unit::Request => self.requests,
        }
    }
}
