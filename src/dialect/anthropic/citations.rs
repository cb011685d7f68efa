//! `citations` of a text block, and of `citations_delta`: pages, and places in documents and search results of the call.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::dialect::{
    canonical::{
        Citation,
        citation::{Place, Unit},
    },
    json::{self, Prose},
};

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, rename = "type")]
    kind: Prose<'a>,
    #[serde(borrow, default)]
    url: Option<Prose<'a>>,
    /// What a search result is known by, mostly an address.
    #[serde(borrow, default)]
    source: Option<Prose<'a>>,
    #[serde(borrow, default)]
    title: Option<Prose<'a>>,
    #[serde(borrow, default)]
    document_title: Option<Prose<'a>>,
    #[serde(borrow, default)]
    cited_text: Option<Prose<'a>>,
    #[serde(default)]
    document_index: u32,
    #[serde(default)]
    search_result_index: u32,
    #[serde(default, alias = "start_page_number", alias = "start_block_index")]
    start_char_index: u32,
    #[serde(default, alias = "end_page_number", alias = "end_block_index")]
    end_char_index: u32,
}

/// All that can be read of an array of citations, which may be null.
pub(super) fn read(raw: &RawValue) -> Vec<Citation> {
    let elements: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
    elements.into_iter().filter_map(read_one).collect()
}

/// One citation; `None` for kinds we do not know.
pub(super) fn read_one(raw: &RawValue) -> Option<Citation> {
    let wire: Wire<'_> = serde_json::from_str(raw.get()).ok()?;
    let place = |unit, index| Some(Place { unit, index, start: wire.start_char_index, end: wire.end_char_index });
    let place = match &*wire.kind.0 {
        "web_search_result_location" => None,
        "char_location" => place(Unit::Characters, wire.document_index),
        "page_location" => place(Unit::Pages, wire.document_index),
        "content_block_location" => place(Unit::Blocks, wire.document_index),
        "search_result_location" => place(Unit::SearchResult, wire.search_result_index),
        _ => return None,
    };
    let text = |prose: Option<Prose<'_>>| prose.map(|prose| prose.0.into_owned()).filter(|text| !text.is_empty());
    Some(Citation {
        span: None,
        url: text(wire.url.or(wire.source)),
        title: text(wire.title.or(wire.document_title)),
        quote: text(wire.cited_text),
        place,
    })
}

#[expect(clippy::enum_variant_names, reason = "the vendor's names")]
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Written<'a> {
    WebSearchResultLocation {
        url: &'a str,
        title: Option<&'a str>,
        cited_text: &'a str,
        /// Anthropic's own proof of what it searched, which nobody else can make.
        encrypted_index: &'static str,
    },
    SearchResultLocation {
        source: &'a str,
        title: Option<&'a str>,
        cited_text: &'a str,
        search_result_index: u32,
        start_block_index: u32,
        end_block_index: u32,
    },
    CharLocation {
        #[serde(flatten)]
        document: Document<'a>,
        start_char_index: u32,
        end_char_index: u32,
    },
    PageLocation {
        #[serde(flatten)]
        document: Document<'a>,
        start_page_number: u32,
        end_page_number: u32,
    },
    ContentBlockLocation {
        #[serde(flatten)]
        document: Document<'a>,
        start_block_index: u32,
        end_block_index: u32,
    },
}

#[derive(Serialize)]
struct Document<'a> {
    cited_text: &'a str,
    document_index: u32,
    document_title: Option<&'a str>,
    file_id: Option<&'a str>,
}

/// Appends a citation; answers whether it has a form here: neither a page nor a place has none.
pub(super) fn push(out: &mut Vec<u8>, citation: &Citation) -> bool {
    let title = citation.title.as_deref();
    let cited_text = citation.quote.as_deref().unwrap_or_default();
    let url = citation.url.as_deref();
    let document = |index| Document { cited_text, document_index: index, document_title: title, file_id: None };
    let written = match (citation.place, url) {
        (Some(Place { unit: Unit::SearchResult, index, start, end }), url) => Written::SearchResultLocation {
            source: url.unwrap_or_default(),
            title,
            cited_text,
            search_result_index: index,
            start_block_index: start,
            end_block_index: end,
        },
        (Some(Place { unit: Unit::Characters, index, start, end }), _) => {
            Written::CharLocation { document: document(index), start_char_index: start, end_char_index: end }
        }
        (Some(Place { unit: Unit::Pages, index, start, end }), _) => {
            Written::PageLocation { document: document(index), start_page_number: start, end_page_number: end }
        }
        (Some(Place { unit: Unit::Blocks, index, start, end }), _) => {
            Written::ContentBlockLocation { document: document(index), start_block_index: start, end_block_index: end }
        }
        (None, Some(url)) => Written::WebSearchResultLocation { url, title, cited_text, encrypted_index: "" },
        (None, None) => return false,
    };
    json::push(out, &written);
    true
}

/// Appends an array of those that have a form here.
pub(super) fn push_all<'a>(out: &mut Vec<u8>, citations: impl IntoIterator<Item = &'a Citation>) {
    out.push(b'[');
    let mut is_first = true;
    for citation in citations {
        let start = out.len();
        if !is_first {
            out.push(b',');
        }
        if push(out, citation) {
            is_first = false;
        } else {
            out.truncate(start);
        }
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_come_back_as_they_were() {
        let kinds = [
            r#"{"type":"web_search_result_location","url":"https://a.example","title":"A","cited_text":"so","encrypted_index":""}"#,
            r#"{"type":"search_result_location","source":"https://a.example","title":null,"cited_text":"so","search_result_index":1,"start_block_index":2,"end_block_index":3}"#,
            r#"{"type":"char_location","cited_text":"so","document_index":1,"document_title":"A","file_id":null,"start_char_index":2,"end_char_index":3}"#,
            r#"{"type":"page_location","cited_text":"so","document_index":1,"document_title":null,"file_id":null,"start_page_number":2,"end_page_number":3}"#,
            r#"{"type":"content_block_location","cited_text":"","document_index":0,"document_title":"A","file_id":null,"start_block_index":2,"end_block_index":3}"#,
        ];
        let array = format!("[{}]", kinds.join(","));
        let read = read(&RawValue::from_string(array.clone()).expect("JSON"));
        let mut written = Vec::new();
        push_all(&mut written, &read);
        assert_eq!(String::from_utf8(written).expect("UTF-8"), array);
    }

    #[test]
    fn what_is_unknown_is_left_out() {
        let read = |json: &str| super::read(&RawValue::from_string(json.to_owned()).expect("JSON"));
        assert!(read("null").is_empty() && read(r#"[{"type":"new"},7,{}]"#).is_empty());
        let mut written = Vec::new();
        push_all(&mut written, &[Citation { title: Some("A".to_owned()), ..Citation::default() }]);
        assert_eq!(written, b"[]");
    }
}
