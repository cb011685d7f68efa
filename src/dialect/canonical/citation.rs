//! What a text of an answer is based on.

use std::ops::Range;

/// A source that a text of an answer names. Stands in [`super::Block::citations`] of text blocks only.
///
/// Vendors count in different units: this form counts Unicode code points of the block's text, as OpenAI does. Gemini counts bytes of
/// UTF-8; Anthropic and Bedrock have no positions and cite for a whole block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Citation {
    /// The code points of the block's text that it supports, never empty; `None` is all of it.
    pub span: Option<Range<u32>>,
    /// Address of a page, or another name that a search knows the source by.
    pub url: Option<String>,
    /// Of the page or the document.
    pub title: Option<String>,
    /// What the source says, in its own words.
    pub quote: Option<String>,
    /// Where in what the call brought along.
    pub place: Option<Place>,
}

/// A place in a document or a search result of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub unit: Unit,
    /// Number of the document, or of the search result, from 0.
    pub index: u32,
    pub start: u32,
    pub end: u32,
}

/// What `start` and `end` of a place count, as the vendor that made it counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Characters,
    Pages,
    Blocks,
    /// Blocks of a search result.
    SearchResult,
}

/// How many code points a text has.
pub fn characters(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

/// The code points at these bytes of a text; `None` when they are not there, are none, or cut a character.
pub fn span_of_bytes(text: &str, bytes: &Range<usize>) -> Option<Range<u32>> {
    let covered = text.get(bytes.clone()).filter(|covered| !covered.is_empty())?;
    let start = characters(text.get(..bytes.start)?);
    Some(start..start.saturating_add(characters(covered)))
}

/// The bytes at a span of a text, as far as the text goes; all of them without a span.
pub fn bytes_of_span(text: &str, span: Option<&Range<u32>>) -> Range<usize> {
    let Some(span) = span else { return 0..text.len() };
    let mut starts = text.char_indices().map(|(at, _)| at);
    let start = starts.nth(span.start as usize).unwrap_or(text.len());
    let rest = (span.end.saturating_sub(span.start) as usize).checked_sub(1);
    let end = rest.map_or(start, |rest| starts.nth(rest).unwrap_or(text.len()));
    start..end
}

impl Citation {
    /// The address of what is cited, for formats that make links of it.
    pub fn page(&self) -> Option<&str> {
        self.url.as_deref().filter(|url| url.contains("://"))
    }

    /// Moves a citation of a longer text to the part of it that begins at `from` and has `length` code points; `None` when it is about
    /// something else.
    pub fn within(mut self, from: u32, length: u32) -> Option<Self> {
        if let Some(span) = &self.span {
            let moved = span.start.max(from) - from..span.end.min(from.saturating_add(length)).saturating_sub(from);
            if moved.is_empty() {
                return None;
            }
            self.span = Some(moved);
        }
        Some(self)
    }
}

/// Cuts a text where its citations begin and end, for formats that cite for whole blocks: the pieces, in order and none of them empty,
/// and what supports each. A text whose citations overlap stays whole.
pub fn pieces<'a>(text: &'a str, citations: &'a [Citation]) -> Vec<(&'a str, Vec<&'a Citation>)> {
    let mut cited: Vec<(Range<usize>, Vec<&Citation>)> = Vec::new();
    for citation in citations {
        let at = bytes_of_span(text, citation.span.as_ref());
        match cited.iter_mut().find(|(known, _)| *known == at) {
            Some((_, both)) => both.push(citation),
            None => cited.push((at, vec![citation])),
        }
    }
    cited.sort_by_key(|(at, _)| at.start);
    let overlaps = cited.windows(2).any(|pair| pair[0].0.end > pair[1].0.start);
    if overlaps || cited.iter().any(|(at, _)| at.is_empty()) {
        return vec![(text, citations.iter().collect())];
    }
    let (mut pieces, mut end) = (Vec::new(), 0);
    for (at, citations) in cited {
        if at.start > end {
            pieces.push((&text[end..at.start], Vec::new()));
        }
        end = at.end;
        pieces.push((&text[at], citations));
    }
    if end < text.len() {
        pieces.push((&text[end..], Vec::new()));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(span: Range<u32>) -> Citation {
        Citation { span: Some(span), ..Citation::default() }
    }

    #[test]
    fn positions_count_code_points() {
        let text = "aé🦀b";
        assert_eq!(span_of_bytes(text, &(1..7)), Some(1..3));
        assert_eq!(bytes_of_span(text, Some(&(1..3))), 1..7);
        for none in [2..7, 3..3, 7..99, 99..100] {
            assert_eq!(span_of_bytes(text, &none), None, "{none:?}");
        }
        assert_eq!(bytes_of_span(text, Some(&(2..99))), 3..8);
        assert_eq!(bytes_of_span(text, Some(&(9..99))), 8..8);
        assert_eq!(bytes_of_span(text, None), 0..8);
    }

    #[test]
    fn a_part_has_its_share_of_a_citation() {
        assert_eq!(at(3..9).within(5, 10), Some(at(0..4)));
        assert_eq!(at(3..9).within(0, 5), Some(at(3..5)));
        assert_eq!(at(3..9).within(9, 5), None);
        assert_eq!(at(3..9).within(0, 3), None);
        assert_eq!(Citation::default().within(5, 5), Some(Citation::default()));
    }

    #[test]
    fn texts_are_cut_where_they_are_cited() {
        let citations = [at(4..6), at(1..3), at(4..6)];
        let texts: Vec<_> = pieces("aé🦀bcd.", &citations).into_iter().map(|(text, citations)| (text, citations.len())).collect();
        assert_eq!(texts, [("a", 0), ("é🦀", 1), ("b", 0), ("cd", 2), (".", 0)]);
        for whole in [vec![at(0..3), at(2..4)], vec![at(8..9)], vec![Citation::default(), at(0..1)]] {
            assert_eq!(pieces("abcd", &whole).len(), 1, "{whole:?}");
        }
        assert_eq!(pieces("abcd", &[]), [("abcd", vec![])]);
    }

    proptest! {
        #[test]
        fn bytes_and_code_points_agree(text in "[a\u{e9}\u{1f980}]{1,12}", from in 0u32..12, length in 1u32..12) {
            let characters = characters(&text);
            prop_assume!(from < characters);
            let span = from..(from + length).min(characters);
            let bytes = bytes_of_span(&text, Some(&span));
            prop_assert_eq!(span_of_bytes(&text, &bytes), Some(span));
        }

        #[test]
        fn pieces_make_the_text(text in "[a\u{e9}\u{1f980}]{1,12}", spans in prop::collection::vec((0u32..12, 1u32..5), 0..4)) {
            let citations: Vec<_> = spans.into_iter().map(|(from, length)| at(from..from + length)).collect();
            let cut = pieces(&text, &citations);
            prop_assert_eq!(cut.iter().map(|(piece, _)| *piece).collect::<String>(), text.as_str());
            prop_assert_eq!(cut.iter().map(|(_, citations)| citations.len()).sum::<usize>(), citations.len());
        }
    }
}
