//! `groundingMetadata` and `citationMetadata` of a candidate: read, and written as grounding.
//!
//! Positions are bytes of UTF-8: of the part with the segment's `partIndex`, or, as the vendor also does it, of all text so far.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::wire::{Candidate, Part};
use crate::dialect::{
    canonical::{
        Block, Citation, Content,
        citation::{bytes_of_span, span_of_bytes},
    },
    json::Prose,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Grounding<'a> {
    #[serde(borrow, default, alias = "grounding_chunks")]
    grounding_chunks: Option<Vec<Chunk<'a>>>,
    #[serde(borrow, default, alias = "grounding_supports")]
    grounding_supports: Option<Vec<Support<'a>>>,
}

/// One of its members is there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chunk<'a> {
    #[serde(borrow, default, alias = "retrievedContext", alias = "retrieved_context", alias = "maps")]
    web: Option<Source<'a>>,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow, default)]
    uri: Option<Prose<'a>>,
    #[serde(borrow, default)]
    title: Option<Prose<'a>>,
    #[serde(borrow, default)]
    text: Option<Prose<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Support<'a> {
    #[serde(borrow, default)]
    segment: Option<Segment<'a>>,
    #[serde(default, alias = "grounding_chunk_indices")]
    grounding_chunk_indices: Vec<usize>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Segment<'a> {
    #[serde(default, alias = "part_index")]
    part_index: usize,
    #[serde(default, alias = "start_index")]
    start_index: usize,
    #[serde(default, alias = "end_index")]
    end_index: usize,
    #[serde(borrow, default)]
    text: Option<Prose<'a>>,
}

/// The vendor's two interfaces name the list differently.
#[derive(Deserialize)]
struct Recited<'a> {
    #[serde(borrow, default, alias = "citationSources", alias = "citation_sources")]
    citations: Option<Vec<RecitedSource<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecitedSource<'a> {
    #[serde(default, alias = "start_index")]
    start_index: usize,
    #[serde(default, alias = "end_index")]
    end_index: usize,
    #[serde(borrow, default)]
    uri: Option<Prose<'a>>,
    #[serde(borrow, default)]
    title: Option<Prose<'a>>,
}

/// A citation whose place in the text is still the vendor's.
#[derive(Debug)]
pub(super) struct Found {
    part: usize,
    bytes: Range<usize>,
    /// What stands there, where the vendor repeats it.
    text: Option<String>,
    pub citation: Citation,
}

impl Found {
    fn is_at(&self, text: &str, bytes: &Range<usize>) -> bool {
        text.get(bytes.clone()).is_some_and(|found| self.text.as_deref().is_none_or(|told| told == found))
    }

    /// Places the citation in a text that follows `before` in the whole answer's; `None` when it is about what came before. One that does
    /// not fit the text stands for all of it.
    pub fn within(mut self, before: &str, text: &str) -> Option<Citation> {
        if self.bytes.is_empty() {
            return Some(self.citation);
        }
        let start = self.bytes.start.checked_sub(before.len())?;
        let bytes = start..self.bytes.end - before.len();
        self.citation.span = span_of_bytes(text, &bytes).filter(|_| self.is_at(text, &bytes));
        Some(self.citation)
    }
}

fn owned(prose: &Option<Prose<'_>>) -> Option<String> {
    prose.as_ref().map(|prose| prose.0.to_string()).filter(|text| !text.is_empty())
}

fn source(chunk: &Chunk<'_>) -> Option<Citation> {
    let source = chunk.web.as_ref()?;
    let citation = Citation { url: owned(&source.uri), title: owned(&source.title), quote: owned(&source.text), ..Citation::default() };
    (citation != Citation::default()).then_some(citation)
}

/// What a candidate says its text is based on. What cannot be read is left out.
pub(super) fn found(candidate: &Candidate<'_>) -> Vec<Found> {
    let mut all = Vec::new();
    if let Some(raw) = candidate.grounding_metadata {
        read_grounding(raw, &mut all);
    }
    if let Some(recited) = candidate.citation_metadata.and_then(|raw| serde_json::from_str::<Recited<'_>>(raw.get()).ok()) {
        for source in recited.citations.iter().flatten() {
            let citation = Citation { url: owned(&source.uri), title: owned(&source.title), ..Citation::default() };
            if citation.url.is_some() {
                all.push(Found { part: 0, bytes: source.start_index..source.end_index, text: None, citation });
            }
        }
    }
    all
}

fn read_grounding(raw: &RawValue, all: &mut Vec<Found>) {
    let Ok(grounding) = serde_json::from_str::<Grounding<'_>>(raw.get()) else { return };
    let chunks = grounding.grounding_chunks.unwrap_or_default();
    for support in grounding.grounding_supports.iter().flatten() {
        let segment = support.segment.as_ref();
        for chunk in &support.grounding_chunk_indices {
            let Some(citation) = chunks.get(*chunk).and_then(source) else { continue };
            let bytes = segment.map_or(0..0, |segment| segment.start_index..segment.end_index);
            let part = segment.map_or(0, |segment| segment.part_index);
            all.push(Found { part, bytes, text: segment.and_then(|segment| owned(&segment.text)), citation });
        }
    }
    if all.is_empty() {
        // Sources without a word on what they support are those of the whole text.
        all.extend(chunks.iter().filter_map(source).map(|citation| Found { part: 0, bytes: 0..0, text: None, citation }));
    }
}

/// Gives what was found to the texts of a whole answer. `places`: of each part, the block its text went to and where it begins there.
pub(super) fn cite(blocks: &mut [Block], parts: &[Part<'_>], places: &[(usize, usize)], found: Vec<Found>) {
    let is_said = |part: &&Part<'_>| !part.is_thought() && part.function_call.is_none();
    let Some(last) = blocks.iter().rposition(|block| matches!(block.content, Content::Text(_))) else { return };
    for mut found in found {
        let place = || {
            if found.bytes.is_empty() {
                return None;
            }
            // In its part, as documented; else in all that was said.
            if let (Some(part), Some((block, from))) = (parts.get(found.part).filter(is_said), places.get(found.part))
                && found.is_at(part.text(), &found.bytes)
            {
                return Some((*block, from + found.bytes.start..from + found.bytes.end));
            }
            let mut before = 0;
            for (block, content) in blocks.iter().enumerate() {
                let Content::Text(text) = &content.content else { continue };
                if let Some(start) = found.bytes.start.checked_sub(before)
                    && found.is_at(text, &(start..found.bytes.end - before))
                {
                    return Some((block, start..found.bytes.end - before));
                }
                before += text.len();
            }
            None
        };
        match place() {
            Some((block, bytes)) => {
                if let Content::Text(text) = &blocks[block].content {
                    found.citation.span = span_of_bytes(text, &bytes);
                    blocks[block].citations.push(found.citation);
                }
            }
            None => blocks[last].citations.push(found.citation),
        }
    }
}

/// What is written as `groundingMetadata`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    grounding_chunks: Vec<WrittenChunk>,
    grounding_supports: Vec<WrittenSupport>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
enum WrittenChunk {
    Web {
        uri: String,
        title: String,
    },
    /// A document, by what it says.
    RetrievedContext {
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        text: String,
    },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenSupport {
    segment: WrittenSegment,
    grounding_chunk_indices: Vec<usize>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenSegment {
    #[serde(skip_serializing_if = "is_zero")]
    part_index: usize,
    #[serde(skip_serializing_if = "is_zero")]
    start_index: usize,
    end_index: usize,
    text: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_zero(value: &usize) -> bool {
    *value == 0
}

impl Written {
    pub fn is_empty(&self) -> bool {
        self.grounding_chunks.is_empty()
    }

    /// Adds what supports a text that begins at the byte `from` of a part. Neither a page nor anything quoted has no form here.
    pub fn add(&mut self, citation: &Citation, text: &str, part_index: usize, from: usize) {
        let title = citation.title.clone();
        let chunk = match (citation.page(), &citation.quote) {
            (Some(url), _) => WrittenChunk::Web { uri: url.to_owned(), title: title.unwrap_or_else(|| url.to_owned()) },
            (None, Some(quote)) => WrittenChunk::RetrievedContext { title, text: quote.clone() },
            (None, None) => return,
        };
        let bytes = bytes_of_span(text, citation.span.as_ref());
        let covered = text.get(bytes.clone()).unwrap_or_default();
        if covered.is_empty() {
            return;
        }
        let at = self.grounding_chunks.iter().position(|known| *known == chunk).unwrap_or_else(|| {
            self.grounding_chunks.push(chunk);
            self.grounding_chunks.len() - 1
        });
        let segment = WrittenSegment { part_index, start_index: from + bytes.start, end_index: from + bytes.end, text: covered.to_owned() };
        match self.grounding_supports.last_mut().filter(|last| last.segment == segment) {
            Some(last) => last.grounding_chunk_indices.push(at),
            None => self.grounding_supports.push(WrittenSupport { segment, grounding_chunk_indices: vec![at] }),
        }
    }

    /// About how much is held.
    pub fn bytes(&self) -> usize {
        let chunks = self.grounding_chunks.iter().map(|chunk| match chunk {
            WrittenChunk::Web { uri, title } => uri.len() + title.len(),
            WrittenChunk::RetrievedContext { text, .. } => text.len(),
        });
        chunks.chain(self.grounding_supports.iter().map(|support| support.segment.text.len())).sum()
    }
}
