//! Undoing cheap disguises: characters that nobody sees, letters that only look different, and case.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

/// Characters without width that split words for a matcher and not for a reader: zero-width spaces and joiners, soft hyphens, marks of
/// direction, variation selectors, tags.
fn is_invisible(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text without invisible characters, in Unicode's NFKC (full-width, styled and composed letters become plain ones). Borrowed when
/// it is that already, as every ASCII text is.
pub(super) fn normalized(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || !text.chars().any(is_invisible) && is_nfkc_quick(text.chars()) == IsNormalized::Yes {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().filter(|letter| !is_invisible(*letter)).nfkc().filter(|letter| !is_invisible(*letter)).collect())
}

/// One letter for all its cases. Always one for one, so that a literal inside a pattern stays one inside the folded text.
pub(super) fn fold(letter: char) -> char {
    if letter.is_ascii() {
        return letter.to_ascii_lowercase();
    }
    // The long s is a small letter by Unicode, and still the same letter as s to case-insensitive patterns.
    if letter == 'ſ' {
        return 's';
    }
    let mut lower = letter.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        _ => letter,
    }
}

pub(super) fn folded(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_lowercase() } else { text.chars().map(fold).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disguises_come_off() {
        for disguised in ["ig\u{200b}nore", "ｉｇｎｏｒｅ", "𝐢𝐠𝐧𝐨𝐫𝐞", "i\u{ad}gnore\u{feff}", "ig\u{e0061}nore", "ⓘgnore"]
        {
            assert_eq!(normalized(disguised), "ignore", "{disguised:?}");
        }
        for plain in ["ignore", "größe", "字", "", "\u{7}\n"] {
            assert!(matches!(normalized(plain), Cow::Borrowed(text) if text == plain), "{plain}");
        }
    }

    #[test]
    fn folding_keeps_one_letter_a_letter() {
        assert_eq!(folded("ABC ÄÖ Kſ"), "abc äö ks");
        assert_eq!(folded("İ").chars().count(), 1);
        assert_eq!(folded("ΣΑΣ"), "σασ");
    }
}
