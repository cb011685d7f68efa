//! What a call used: as its answer says, and as well as we can tell where it does not.

use super::usage::Reported;
use crate::{
    dialect::{Endpoint, format::Measured},
    domain::pricing::Quantities,
};

/// What an image that is looked at costs in tokens, usually and at most.
pub(super) const IMAGE_TOKENS: u64 = 1_024;
pub(super) const IMAGE_TOKENS_MAX: u64 = 8_192;
/// What an image of medium quality that is made costs in tokens.
const IMAGE_MADE_TOKENS: u64 = 1_056;
/// What vendors count for a second of sound.
pub(super) const AUDIO_TOKENS_PER_SECOND: u64 = 10;
/// Sound tokens that are spoken for one token of text: a third of a second, at about 20 tokens a second.
const SPOKEN_PER_TEXT_TOKEN: u64 = 6;

/// What a call is going to use, from its request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    pub endpoint: Endpoint,
    /// Used when the answer does not say otherwise.
    pub fixed: Quantities,
    pub seconds_are_exact: bool,
    pub answers_text: bool,
}

/// What an answer shows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shown {
    pub reported: Reported,
    /// Images in the answer; `None` when it never came to its end.
    pub images: Option<u64>,
    /// Whether anything was delivered.
    pub has_content: bool,
    /// Whether it came to its good end.
    pub is_complete: bool,
    /// Our count of the text in it.
    pub text_tokens: u64,
}

impl Expected {
    pub fn is_image(&self) -> bool {
        matches!(self.endpoint, Endpoint::ImageGenerations | Endpoint::ImageEdits)
    }

    pub fn is_transcript(&self) -> bool {
        matches!(self.endpoint, Endpoint::Transcriptions | Endpoint::Translations)
    }

    /// `input_tokens` is our own count of the call's texts.
    pub fn measure(&self, shown: Shown, input_tokens: u64) -> Measured {
        let Self { fixed, .. } = *self;
        let Shown { reported, images, has_content, is_complete, text_tokens } = shown;
        let mut known = reported.tokens.unwrap_or_default();
        let mut guessed = Quantities::default();
        // A search is what the vendor says it is.
        known.searches = reported.searches.unwrap_or(fixed.searches);
        if has_content {
            // How much of the text was spoken before a cut, nobody says.
            let bucket = if is_complete { &mut known } else { &mut guessed };
            bucket.characters = fixed.characters;
        }
        let images = match images {
            Some(images) => {
                known.images = images;
                images
            }
            // Cut off after a part of it was delivered.
            None if has_content => {
                guessed.images = fixed.images;
                fixed.images
            }
            None => 0,
        };
        match reported.seconds {
            Some(seconds) => known.audio_seconds = seconds,
            None if self.seconds_are_exact && reported.tokens.is_none() => known.audio_seconds = fixed.audio_seconds,
            // Beside tokens, seconds count only for a model that has no price for tokens.
            None => guessed.audio_seconds = fixed.audio_seconds,
        }
        if reported.tokens.is_none() {
            guessed.input_tokens = input_tokens;
            guessed.image_input_tokens = fixed.image_input_tokens;
            guessed.audio_input_tokens = fixed.audio_seconds.saturating_mul(AUDIO_TOKENS_PER_SECOND);
            guessed.image_output_tokens = images.saturating_mul(IMAGE_MADE_TOKENS);
            guessed.output_tokens = text_tokens;
            if self.endpoint == Endpoint::Speech && has_content {
                guessed.audio_output_tokens = input_tokens.saturating_mul(SPOKEN_PER_TEXT_TOKEN);
            }
        }
        Measured { known, guessed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(endpoint: Endpoint) -> Expected {
        let fixed = Quantities { images: 2, characters: 5, audio_seconds: 7, searches: 1, ..Quantities::default() };
        Expected { endpoint, fixed, seconds_are_exact: false, answers_text: false }
    }

    #[test]
    fn what_is_reported_is_known() {
        let tokens = Quantities { input_tokens: 3, ..Quantities::default() };
        let reported = Reported { tokens: Some(tokens), seconds: Some(9), searches: Some(4) };
        let measured = expected(Endpoint::Transcriptions).measure(Shown { reported, ..Shown::default() }, 100);
        assert_eq!(measured.known, Quantities { audio_seconds: 9, searches: 4, ..tokens });
        assert_eq!(measured.guessed, Quantities::default());
    }

    #[test]
    fn the_rest_is_guessed() {
        let shown = Shown { images: Some(1), has_content: true, is_complete: true, text_tokens: 8, ..Shown::default() };
        let measured = expected(Endpoint::ImageGenerations).measure(shown, 100);
        assert_eq!((measured.known.images, measured.known.characters), (1, 5));
        let Quantities { input_tokens, output_tokens, image_output_tokens, audio_seconds, .. } = measured.guessed;
        assert_eq!((input_tokens, output_tokens, image_output_tokens, audio_seconds), (100, 8, IMAGE_MADE_TOKENS, 7));
    }

    #[test]
    fn a_cut_answer_counts_once_something_was_delivered() {
        let images = |has_content| {
            let measured = expected(Endpoint::ImageEdits).measure(Shown { has_content, ..Shown::default() }, 0);
            (measured.known.images, measured.guessed.images, measured.known.characters, measured.guessed.characters)
        };
        assert_eq!(images(false), (0, 0, 0, 0));
        assert_eq!(images(true), (0, 2, 0, 5));
    }

    #[test]
    fn the_length_of_a_wave_file_is_known_unless_tokens_are() {
        let exact = Expected { seconds_are_exact: true, ..expected(Endpoint::Transcriptions) };
        assert_eq!(exact.measure(Shown::default(), 0).known.audio_seconds, 7);
        let reported = Reported { tokens: Some(Quantities::default()), ..Reported::default() };
        let measured = exact.measure(Shown { reported, ..Shown::default() }, 0);
        assert_eq!((measured.known.audio_seconds, measured.guessed.audio_seconds), (0, 7));
    }
}
