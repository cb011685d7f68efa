//! Cutting a reply into the pieces an echo delivers, one at a time: replies may be as long as requests, so nothing is made ahead.

use std::ops::Range;

use crate::dialect::tokens;

/// Counted in slices of this size with a pause between them, so that other calls of the thread get their turn (2.6 ms each).
const SLICE_BYTES: usize = 64 * 1024;
/// What fills a reply that has fewer characters than chunks are asked for.
const FILLER: &str = " echo";

/// A reply and how it is cut: into words, or into an exact number of chunks.
#[derive(Debug)]
pub(super) struct Reply {
    text: String,
    plan: Plan,
    chunks: usize,
    /// The next chunk and where it begins.
    next: usize,
    at: usize,
}

#[derive(Debug, Clone, Copy)]
enum Plan {
    /// So many words, in equal groups.
    Words(usize),
    /// So many characters, in equal groups.
    Characters(usize),
    /// A character each up to this position, then fillers.
    Padded(usize),
}

impl Reply {
    pub fn new(text: &str, chunks: Option<usize>) -> Self {
        let words = count_words(text);
        let chunks = chunks.unwrap_or(words);
        let characters = if words < chunks { text.chars().count() } else { 0 };
        let plan = match chunks {
            _ if chunks <= words => Plan::Words(words),
            _ if chunks <= characters => Plan::Characters(characters),
            _ => Plan::Padded(text.len()),
        };
        let mut text = if chunks == 0 { String::new() } else { text.to_owned() };
        if matches!(plan, Plan::Padded(_)) {
            text.push_str(&FILLER.repeat(chunks - characters));
        }
        Self { text, plan, chunks, next: 0, at: 0 }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Ends the reply where the limit is reached, within a word if need be, and says how many tokens are left of it. For replies that
    /// were counted and found too long.
    pub async fn cut_to(&mut self, tokens_max: u64) -> u64 {
        let (mut end, mut used) = (0, 0);
        while end < self.text.len() {
            tokio::task::consume_budget().await;
            let word_end = end_of_word(&self.text, end);
            let word = &self.text[end..word_end];
            let tokens = count(word).await;
            if used + tokens > tokens_max {
                let head = head(word, tokens_max - used);
                used += tokens::count(head);
                end += head.len();
                break;
            }
            used += tokens;
            end = word_end;
        }
        self.text.truncate(end);
        used
    }

    /// How many pieces are left.
    pub fn pieces_left(&self) -> usize {
        let (mut next, mut at) = (self.next, self.at);
        while at < self.text.len() {
            at = self.end_of_piece(next, at);
            next += 1;
        }
        next - self.next
    }

    pub fn next_piece(&mut self) -> Option<&str> {
        if self.at >= self.text.len() {
            return None;
        }
        let start = self.at;
        self.at = self.end_of_piece(self.next, start);
        self.next += 1;
        Some(&self.text[start..self.at])
    }

    fn end_of_piece(&self, next: usize, at: usize) -> usize {
        let step = |units: usize, step: fn(&str, usize) -> usize| (0..units).fold(at, |at, _| step(&self.text, at));
        match self.plan {
            Plan::Words(words) => step(share(words, next, self.chunks).len(), end_of_word),
            Plan::Characters(characters) => step(share(characters, next, self.chunks).len(), end_of_character),
            Plan::Padded(own) if at < own => step(1, end_of_character),
            Plan::Padded(_) => (at + FILLER.len()).min(self.text.len()),
        }
    }
}

/// The `part`-th of `parts` equal shares of `whole` things.
fn share(whole: usize, part: usize, parts: usize) -> Range<usize> {
    part * whole / parts..(part + 1) * whole / parts
}

/// A word has the white space before it; white space at the end is a word of its own.
fn end_of_word(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let word = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
    at + rest[word..].find(char::is_whitespace).map_or(rest.len(), |end| word + end)
}

fn end_of_character(text: &str, at: usize) -> usize {
    text.ceil_char_boundary((at + 1).min(text.len()))
}

fn count_words(text: &str) -> usize {
    let (mut words, mut at) = (0, 0);
    while at < text.len() {
        at = end_of_word(text, at);
        words += 1;
    }
    words
}

/// A head of the word with at most that many tokens: lengths are tried in halves.
fn head(word: &str, tokens_max: u64) -> &str {
    let mut end = word.len();
    while end > 0 {
        end = word.floor_char_boundary(end / 2);
        if tokens::count(&word[..end]) <= tokens_max {
            break;
        }
    }
    &word[..end]
}

/// Our token count, letting others have their turn. Long texts are cut where a word begins, which leaves the count as it is.
pub(super) async fn count(text: &str) -> u64 {
    let (mut rest, mut tokens) = (text, 0);
    while rest.len() > SLICE_BYTES {
        let slice = &rest[..rest.floor_char_boundary(SLICE_BYTES)];
        let (slice, after) = rest.split_at(slice.rfind(' ').filter(|at| *at > 0).unwrap_or(slice.len()));
        tokens += tokens::count(slice);
        rest = after;
        tokio::task::yield_now().await;
    }
    tokens + tokens::count(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(text: &str, chunks: Option<usize>) -> Vec<String> {
        let mut reply = Reply::new(text, chunks);
        let left = reply.pieces_left();
        let pieces: Vec<String> = std::iter::from_fn(|| reply.next_piece().map(str::to_owned)).collect();
        assert_eq!(pieces.len(), left);
        pieces
    }

    async fn cut(text: &str, chunks: Option<usize>, most: u64) -> (String, u64) {
        let mut reply = Reply::new(text, chunks);
        let tokens = reply.cut_to(most).await;
        (reply.text().to_owned(), tokens)
    }

    #[test]
    fn words_keep_the_space_before_them() {
        assert_eq!(pieces("  a bc\n\nd ", None), ["  a", " bc", "\n\nd", " "]);
        assert!(pieces("", None).is_empty());
    }

    #[test]
    fn chunks_are_grouped_split_or_filled() {
        assert_eq!(pieces("a b c d", Some(2)), ["a b", " c d"]);
        assert_eq!(pieces("añb c", Some(4)), ["a", "ñ", "b", " c"]);
        assert_eq!(pieces("añ", Some(4)), ["a", "ñ", " echo", " echo"]);
        assert_eq!(pieces("", Some(1)), [" echo"]);
        assert!(pieces("a", Some(0)).is_empty());
    }

    #[tokio::test]
    async fn limits_end_a_reply() {
        assert_eq!(cut("one two three four", None, 2).await, ("one two".to_owned(), 2));
        assert_eq!(cut("one", None, 0).await, (String::new(), 0));
        let (text, tokens) = cut("incomprehensibilities", None, 1).await;
        assert!(!text.is_empty() && tokens == 1);
        assert_eq!(cut("a", Some(5), 3).await, ("a echo echo".to_owned(), 3));
    }

    #[tokio::test]
    async fn long_texts_are_counted_exactly() {
        let text = "The quick brown fox, twice: ".repeat(10_000);
        assert_eq!(count(&text).await, tokens::count(&text));
        assert!(count(&"字".repeat(100_000)).await > 0);
    }

    proptest! {
        #[test]
        fn chunks_are_exact_and_never_empty(text in "[a-cé \n]{0,40}", chunks in 1usize..60) {
            let pieces = pieces(&text, Some(chunks));
            prop_assert_eq!(pieces.len(), chunks);
            prop_assert!(pieces.iter().all(|piece| !piece.is_empty()));
            prop_assert!(pieces.concat().starts_with(&text));
        }

        #[test]
        fn limits_are_kept(text in "[a-z0-9 é]{0,80}", most in 0u64..12) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let (kept, tokens) = runtime.block_on(cut(&text, None, most));
            prop_assert!(tokens <= most);
            prop_assert!(text.starts_with(&kept));
        }
    }
}
