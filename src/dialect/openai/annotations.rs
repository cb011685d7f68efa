//! `annotations` of a text: in OpenAI chat and, flat, in Responses. Only those of pages have a form here that other formats can fill in.
//!
//! `start_index` and `end_index` count Unicode code points, the end exclusive: of the whole message in chat, of the part in Responses.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::dialect::{canonical::Citation, json::Prose};

#[derive(Deserialize)]
struct Nested<'a> {
    #[serde(borrow)]
    url_citation: Page<'a>,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    url: Prose<'a>,
    #[serde(borrow, default)]
    title: Option<Prose<'a>>,
    /// What some servers add of the page's text.
    #[serde(borrow, default)]
    content: Option<Prose<'a>>,
    #[serde(default)]
    start_index: Option<u32>,
    #[serde(default)]
    end_index: Option<u32>,
}

/// The pages of an array of annotations. Others, and those that cannot be read, are left out.
pub fn read(raw: &RawValue) -> Vec<Citation> {
    let elements: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
    elements.into_iter().filter_map(read_one).collect()
}

/// One annotation, of either format; its span is that of the vendor's text.
pub fn read_one(raw: &RawValue) -> Option<Citation> {
    let nested = serde_json::from_str::<Nested<'_>>(raw.get()).map(|nested| nested.url_citation);
    let page = nested.or_else(|_| serde_json::from_str::<Page<'_>>(raw.get())).ok().filter(|page| !page.url.0.is_empty())?;
    let text = |prose: Option<Prose<'_>>| prose.map(|prose| prose.0.into_owned()).filter(|text| !text.is_empty());
    // Some servers write 0 and 0 where they do not know.
    let span = page.start_index.zip(page.end_index).map(|(start, end)| start..end).filter(|span| !span.is_empty());
    Some(Citation { span, url: Some(page.url.0.into_owned()), title: text(page.title), quote: text(page.content), place: None })
}

#[derive(Serialize)]
struct Written<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    flat: Option<UrlCitation<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url_citation: Option<UrlCitation<'a>>,
}

#[derive(Serialize)]
struct UrlCitation<'a> {
    start_index: u32,
    end_index: u32,
    url: &'a str,
    title: &'a str,
}

/// As chat's annotation; `None` for what is no page. `at` is what it supports in the message's text.
pub fn chat(citation: &Citation, at: Range<u32>) -> Option<impl Serialize> {
    Some(Written { kind: "url_citation", flat: None, url_citation: Some(page(citation, at)?) })
}

/// The same as annotation of a part in Responses.
pub fn responses(citation: &Citation, at: Range<u32>) -> Option<impl Serialize> {
    Some(Written { kind: "url_citation", flat: Some(page(citation, at)?), url_citation: None })
}

/// Clients require a title.
fn page(citation: &Citation, at: Range<u32>) -> Option<UrlCitation<'_>> {
    let url = citation.page()?;
    Some(UrlCitation { start_index: at.start, end_index: at.end, url, title: citation.title.as_deref().unwrap_or(url) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).expect("JSON")
    }

    #[test]
    fn both_shapes_are_read_and_others_left_out() {
        let read = read(&raw(r#"[
            {"type":"url_citation","url_citation":{"start_index":1,"end_index":4,"url":"https://a.example","title":"A","content":"so"}},
            {"type":"url_citation","start_index":0,"end_index":0,"url":"https://b.example","title":""},
            {"type":"file_citation","file_id":"file_1","filename":"a.pdf","index":3}, null, {"url":""}, {"url":"x","start_index":-1}]"#));
        let page = |url: &str| Citation { url: Some(url.to_owned()), ..Citation::default() };
        let first = Citation { span: Some(1..4), title: Some("A".to_owned()), quote: Some("so".to_owned()), ..page("https://a.example") };
        assert_eq!(read, [first, page("https://b.example")]);
        assert!(super::read(&raw("{}")).is_empty());
    }

    #[test]
    fn what_is_written_has_all_that_clients_require() {
        let citation = Citation { url: Some("https://a.example".to_owned()), ..Citation::default() };
        let fields = r#""start_index":1,"end_index":4,"url":"https://a.example","title":"https://a.example""#;
        let text = |value: Option<String>| value.expect("a page");
        let chat = text(chat(&citation, 1..4).map(|value| serde_json::to_string(&value).expect("JSON")));
        assert_eq!(chat, format!(r#"{{"type":"url_citation","url_citation":{{{fields}}}}}"#));
        let responses = text(responses(&citation, 1..4).map(|value| serde_json::to_string(&value).expect("JSON")));
        assert_eq!(responses, format!(r#"{{"type":"url_citation",{fields}}}"#));
        assert!(super::chat(&Citation::default(), 0..1).is_none());
    }
}
