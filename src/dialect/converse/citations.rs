//! Sources of a text: of `citationsContent`, and of a stream's `citation`.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::{
    canonical::{
        Citation,
        citation::{Place, Unit},
    },
    json::Prose,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(borrow, default)]
    title: Option<Prose<'a>>,
    /// What a search result is known by, mostly an address.
    #[serde(borrow, default)]
    source: Option<Prose<'a>>,
    #[serde(borrow, default)]
    source_content: Option<Prose<'a>>,
    #[serde(borrow, default)]
    location: Option<Location<'a>>,
}

/// One of its members is there.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Location<'a> {
    #[serde(borrow, default)]
    web: Option<Web<'a>>,
    #[serde(default)]
    document_char: Option<Span>,
    #[serde(default)]
    document_page: Option<Span>,
    #[serde(default)]
    document_chunk: Option<Span>,
    #[serde(default)]
    search_result_location: Option<Span>,
}

#[derive(Deserialize)]
struct Web<'a> {
    #[serde(borrow, default)]
    url: Option<Prose<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    #[serde(default, alias = "searchResultIndex")]
    document_index: u32,
    #[serde(default)]
    start: u32,
    #[serde(default)]
    end: u32,
}

/// `None` for what cannot be read or names nothing.
pub(super) fn read(raw: &RawValue) -> Option<Citation> {
    let wire: Wire<'_> = serde_json::from_str(raw.get()).ok()?;
    let location = wire.location.unwrap_or_default();
    let units = [
        (Unit::Characters, location.document_char),
        (Unit::Pages, location.document_page),
        (Unit::Blocks, location.document_chunk),
        (Unit::SearchResult, location.search_result_location),
    ];
    let place = units
        .into_iter()
        .find_map(|(unit, span)| span.map(|Span { document_index, start, end }| Place { unit, index: document_index, start, end }));
    let text = |prose: Option<Prose<'_>>| prose.map(|prose| prose.0.into_owned()).filter(|text| !text.is_empty());
    let source = text(wire.source).filter(|_| place.is_none_or(|place| place.unit == Unit::SearchResult));
    let url = text(location.web.and_then(|web| web.url)).or(source);
    let citation = Citation { span: None, url, title: text(wire.title), quote: text(wire.source_content), place };
    (citation != Citation::default()).then_some(citation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<Citation> {
        super::read(&RawValue::from_string(json.to_owned()).expect("JSON"))
    }

    #[test]
    fn all_places_are_read() {
        for (name, index, unit) in [
            ("documentChar", "documentIndex", Unit::Characters),
            ("documentPage", "documentIndex", Unit::Pages),
            ("documentChunk", "documentIndex", Unit::Blocks),
            ("searchResultLocation", "searchResultIndex", Unit::SearchResult),
        ] {
            let json = format!(
                r#"{{"title":"A","source":"s","sourceContent":[{{"text":"so "}},{{"text":"it is"}}],"location":{{"{name}":{{"{index}":1,"start":2,"end":3}}}}}}"#
            );
            let expected = Citation {
                span: None,
                url: (unit == Unit::SearchResult).then(|| "s".to_owned()),
                title: Some("A".to_owned()),
                quote: Some("so it is".to_owned()),
                place: Some(Place { unit, index: 1, start: 2, end: 3 }),
            };
            assert_eq!(read(&json), Some(expected), "{name}");
        }
        let web = read(r#"{"location":{"web":{"url":"https://a.example","domain":"a.example"}}}"#).expect("a page");
        assert_eq!((web.url.as_deref(), web.place), (Some("https://a.example"), None));
        assert_eq!((read("{}"), read("7"), read(r#"{"location":7}"#)), (None, None, None));
    }
}
