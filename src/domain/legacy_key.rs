//! Keys that another program made: which can be taken over as they are, and how much of them may be shown.

use serde::Serialize;

use super::api_key::{FOREIGN_LENGTH_MAX, Shape};

/// Shorter keys can be guessed.
pub const STRONG_LENGTH_MIN: usize = 20;
/// Characters of a key of ours that stay visible: its prefix and a few of the locator, none of the secret.
const VISIBLE_LENGTH: usize = 14;

/// Why a text cannot be a key here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Unusable {
    #[error("it is empty")]
    Empty,
    #[error("it has white space at its begin, at its end or inside")]
    Whitespace,
    #[error("it has characters other than visible ASCII")]
    NotVisible,
    #[error("it is longer than {FOREIGN_LENGTH_MAX} characters")]
    TooLong,
    #[error("it begins like a key of this gateway, whose keys are never taken over")]
    OurShape,
    #[error("several rows hold the same key, so nobody can say whose it is")]
    Duplicate,
    #[error("the same key is known here already, as another key")]
    Known,
}

impl Unusable {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Whitespace => "whitespace",
            Self::NotVisible => "not_visible",
            Self::TooLong => "too_long",
            Self::OurShape => "our_shape",
            Self::Duplicate => "duplicate",
            Self::Known => "known",
        }
    }
}

/// Whether a text can go on as a key, and if so, whether it is hard to guess.
pub fn judge(text: &str) -> Result<Strength, Unusable> {
    if text.is_empty() {
        return Err(Unusable::Empty);
    }
    if text.chars().any(char::is_whitespace) {
        return Err(Unusable::Whitespace);
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Unusable::NotVisible);
    }
    if text.len() > FOREIGN_LENGTH_MAX {
        return Err(Unusable::TooLong);
    }
    match Shape::of(text) {
        Ok(Shape::Foreign) if text.len() < STRONG_LENGTH_MIN => Ok(Strength::Weak),
        Ok(Shape::Foreign) => Ok(Strength::Strong),
        Ok(Shape::Standard(_)) | Err(_) => Err(Unusable::OurShape),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strength {
    Strong,
    /// So short that it can be guessed: it works for a while, its owner is told.
    Weak,
}

/// The first and last characters of a key that may be shown. `text` must be ASCII. Of short keys less is shown, never so much that the
/// rest could be guessed from it.
pub fn visible(text: &str) -> (String, String) {
    let (first, last) = match text.len() {
        length if length >= STRONG_LENGTH_MIN => (VISIBLE_LENGTH.min(length / 2), 4),
        length => (length / 4, length / 8),
    };
    let from = text.len().saturating_sub(last);
    (text.get(..first).unwrap_or_default().to_owned(), text.get(from..).unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_go_on_as_a_key() {
        let cases = [
            ("", Err(Unusable::Empty)),
            (" ", Err(Unusable::Whitespace)),
            ("sk-legacy-0123456789 ", Err(Unusable::Whitespace)),
            ("sk-legacy\t0123456789", Err(Unusable::Whitespace)),
            ("schlüssel-0123456789-abc", Err(Unusable::NotVisible)),
            ("px_live_0123456789", Err(Unusable::OurShape)),
            ("sk-legacy-0123456789", Ok(Strength::Strong)),
            ("sk-legacy-012345678", Ok(Strength::Weak)),
            ("x", Ok(Strength::Weak)),
            (&"k".repeat(512), Ok(Strength::Strong)),
            (&"k".repeat(513), Err(Unusable::TooLong)),
        ];
        for (text, expected) in cases {
            assert_eq!(judge(text), expected, "{text:?}");
        }
    }

    #[test]
    fn short_keys_show_little() {
        let cases = [
            ("", "", ""),
            ("abc", "", ""),
            ("abcdefgh", "ab", "h"),
            ("sk-legacy-012345678", "sk-l", "78"),
            ("sk-legacy-0123456789", "sk-legacy-", "6789"),
            ("sk-legacy-0123456789-0123456789", "sk-legacy-0123", "6789"),
        ];
        for (text, first, last) in cases {
            assert_eq!(visible(text), (first.to_owned(), last.to_owned()), "{text}");
        }
    }
}
