//! Types and a filter that keep keys and personal data out of logs, errors and debug output.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroize;

const MASK: &str = "[redacted]";

/// A text that must never be printed: key, password, URL with credentials. Wiped from memory when dropped.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Every call of this is a place to look at in a review.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

/// Any value that is personal or confidential: usable as it is, printed as a mask.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Redacted<T>(pub T);

impl<T> fmt::Debug for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl<T> fmt::Display for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Masks what looks like a key in a text that others wrote (an upstream's error message, a URL): our own keys, `sk-…` keys of
/// vendors, bearer tokens and `key=` parameters. The first characters stay, so that an operator can tell keys apart.
pub fn scrub(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((start, prefix)) = next_secret(rest) {
        let from = start + prefix.len();
        let secret_len = rest[from..].find(|c: char| !is_token(c)).unwrap_or(rest.len() - from);
        clean.push_str(&rest[..from]);
        if secret_len > 0 {
            clean.push('…');
        }
        rest = &rest[from + secret_len..];
    }
    clean.push_str(rest);
    clean
}

const PREFIXES: [&str; 5] = ["px_live_", "px_test_", "bearer ", "sk-", "key="];

/// Where the first secret of `text` begins, and the part before it that may stay.
fn next_secret(text: &str) -> Option<(usize, &str)> {
    let bytes = text.as_bytes();
    (0..bytes.len()).find_map(|at| {
        // A prefix inside a word ("task-list") is no secret, except for the parameter `api_key=`.
        let prefix = PREFIXES.iter().find(|prefix| {
            let inside_word = at > 0 && is_token(char::from(bytes[at - 1])) && **prefix != "key=";
            !inside_word && bytes.get(at..at + prefix.len()).is_some_and(|here| here.eq_ignore_ascii_case(prefix.as_bytes()))
        })?;
        Some((at, &text[at..at + prefix.len()]))
    })
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~' | '+' | '/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?} {:?} {}", Redacted(7), Redacted("a@b.c")), "[redacted] [redacted] [redacted]");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"[redacted]\"");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn scrub_masks_keys_and_leaves_the_rest() {
        for (text, clean) in [
            ("no secrets here", "no secrets here"),
            ("key px_live_abcDEF123 was refused", "key px_live_… was refused"),
            ("px_test_a,px_live_b", "px_test_…,px_live_…"),
            ("Authorization: Bearer eyJ.a-b_c rest", "Authorization: Bearer … rest"),
            ("Incorrect API key provided: sk-proj-12345.", "Incorrect API key provided: sk-…"),
            ("GET /v1/models?key=AIza123&x=1", "GET /v1/models?key=…&x=1"),
            ("?api_key=abc", "?api_key=…"),
            ("the task-list of bearers", "the task-list of bearers"),
            ("größe px_live_ü", "größe px_live_ü"),
            ("bearer ", "bearer "),
        ] {
            assert_eq!(scrub(text), clean);
        }
    }
}
