//! Our own token count (`o200k_base`), for holds and for answers whose upstream reports no usage. Never for a bill when it does.

use std::sync::atomic::{AtomicBool, Ordering};

/// Tokens of `text`. Linear in its length also in the worst case; about 25 MB/s, so count long texts off the event loop.
pub fn count(text: &str) -> u64 {
    bpe_openai::o200k_base().count(text) as u64
}

/// No token is longer, so a text has at least its length divided by this.
pub const LONGEST_BYTES: u64 = 128;

static LOADED: AtomicBool = AtomicBool::new(false);

/// Whether the tables are in memory. They take some 50 ms to load and 100 MB to keep, so a node without calls does without them.
pub fn are_loaded() -> bool {
    LOADED.load(Ordering::Acquire)
}

/// Loads the tables; away from the event loop, please.
pub fn warm_up() {
    count("warm");
    LOADED.store(true, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn counts_as_the_vendor_does() {
        assert_eq!(count(""), 0);
        assert_eq!(count("hello world"), 2);
        assert_eq!(count("    \n\n  x"), 3);
    }

    #[test]
    fn hostile_texts_stay_linear() {
        for unit in ["a", " ", "\n", "A", "!", "字", "1", "\u{1F469}\u{200D}"] {
            let text = unit.repeat(100_000);
            assert!(count(&text) >= text.len() as u64 / super::LONGEST_BYTES);
        }
    }
}
