//! Cutting a reply into the pieces an echo delivers.

use std::borrow::Cow;

use crate::dialect::tokens;

/// A reply in pieces, and our count of them.
#[derive(Debug)]
pub(super) struct Reply<'a> {
    pub pieces: Vec<Cow<'a, str>>,
    pub tokens: u64,
    /// Cut short by the caller's limit.
    pub cut: bool,
}

/// Cuts `text` into words, or into exactly `chunks` pieces, and ends it where `tokens_max` is reached.
pub(super) fn reply(text: &str, chunks: Option<usize>, tokens_max: Option<u64>) -> Reply<'_> {
    let pieces = match chunks {
        None => words(text).into_iter().map(Cow::Borrowed).collect(),
        Some(chunks) => exactly(text, chunks),
    };
    let tokens = tokens::count(&pieces.concat());
    match tokens_max {
        Some(most) if tokens > most => cut_to(pieces, most),
        _ => Reply { pieces, tokens, cut: false },
    }
}

/// Words with the white space before them; together they are the text.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut in_word) = (0, false);
    for (at, c) in text.char_indices() {
        if c.is_whitespace() && in_word {
            words.push(&text[start..at]);
            start = at;
        }
        in_word = !c.is_whitespace();
    }
    if start < text.len() {
        words.push(&text[start..]);
    }
    words
}

/// Exactly `chunks` pieces: words in groups; if there are too few, characters in groups; if there are too few, the words again and again.
fn exactly(text: &str, chunks: usize) -> Vec<Cow<'_, str>> {
    let words = words(text);
    if words.len() >= chunks {
        return (0..chunks).map(|chunk| Cow::Owned(words[share(words.len(), chunk, chunks)].concat())).collect();
    }
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let characters = starts.len() - 1;
    if characters >= chunks {
        let slice = |chunk| {
            let characters = share(characters, chunk, chunks);
            Cow::Borrowed(&text[starts[characters.start]..starts[characters.end]])
        };
        return (0..chunks).map(slice).collect();
    }
    let words = if words.is_empty() { vec!["echo"] } else { words };
    let again = |word: &str| if word.starts_with(char::is_whitespace) { word.to_owned() } else { format!(" {word}") };
    (0..chunks)
        .map(|chunk| if chunk < words.len() { Cow::Borrowed(words[chunk]) } else { Cow::Owned(again(words[chunk % words.len()])) })
        .collect()
}

/// The `part`-th of `parts` equal shares of `whole` things.
fn share(whole: usize, part: usize, parts: usize) -> std::ops::Range<usize> {
    part * whole / parts..(part + 1) * whole / parts
}

/// Keeps the pieces that fit, and of the first one that does not what fits of it.
fn cut_to(pieces: Vec<Cow<'_, str>>, most: u64) -> Reply<'_> {
    let (mut kept, mut used) = (Vec::new(), 0);
    for piece in pieces {
        let tokens = tokens::count(&piece);
        if used + tokens <= most {
            used += tokens;
            kept.push(piece);
            continue;
        }
        let head = head(&piece, most - used);
        if !head.is_empty() {
            kept.push(Cow::Owned(head.to_owned()));
            used = most;
        }
        break;
    }
    Reply { pieces: kept, tokens: used, cut: true }
}

/// The longest head of a piece with at most that many tokens, to a factor: lengths are tried in halves.
fn head(piece: &str, tokens_max: u64) -> &str {
    let mut end = piece.len();
    while end > 0 {
        end = piece.floor_char_boundary(end / 2);
        if tokens::count(&piece[..end]) <= tokens_max {
            break;
        }
    }
    &piece[..end]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(text: &str, chunks: usize) -> Vec<String> {
        reply(text, Some(chunks), None).pieces.into_iter().map(Cow::into_owned).collect()
    }

    #[test]
    fn words_keep_the_space_before_them() {
        assert_eq!(words("  a bc\n\nd "), ["  a", " bc", "\n\nd", " "]);
        assert!(words("").is_empty());
    }

    #[test]
    fn chunks_are_grouped_split_or_repeated() {
        assert_eq!(pieces("a b c d", 2), ["a b", " c d"]);
        assert_eq!(pieces("añb c", 4), ["a", "ñ", "b", " c"]);
        assert_eq!(pieces("a b", 5), ["a", " b", " a", " b", " a"]);
        assert_eq!(pieces("", 2), ["echo", " echo"]);
        assert!(pieces("a", 0).is_empty());
    }

    #[test]
    fn limits_end_a_reply() {
        let cut = reply("one two three four", None, Some(2));
        assert_eq!((cut.pieces.concat(), cut.tokens, cut.cut), ("one two".to_owned(), 2, true));
        let whole = reply("one two", None, Some(2));
        assert_eq!((whole.tokens, whole.cut), (2, false));
        let part = reply("incomprehensibilities", None, Some(1));
        assert!(part.cut && part.tokens == 1 && !part.pieces.concat().is_empty());
        assert_eq!(reply("one", None, Some(0)).tokens, 0);
    }

    proptest! {
        #[test]
        fn chunks_are_exact_and_never_empty(text in "[a-cé \n]{0,40}", chunks in 1usize..60) {
            let pieces = pieces(&text, chunks);
            prop_assert_eq!(pieces.len(), chunks);
            prop_assert!(pieces.iter().all(|piece| !piece.is_empty()));
            if text.chars().count() >= chunks {
                prop_assert_eq!(pieces.concat(), text);
            }
        }

        #[test]
        fn limits_are_kept(text in "[a-z0-9 é]{0,80}", most in 0u64..12) {
            let reply = reply(&text, None, Some(most));
            prop_assert!(reply.tokens <= most);
            prop_assert!(text.starts_with(&reply.pieces.concat()));
        }
    }
}
