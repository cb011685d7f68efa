//! Thoughts in chat messages: `reasoning_content` is their text, `reasoning_details` also keeps what a vendor wants back with them.
//!
//! A detail is `{type, text | data, signature, id, format, index}`; `format` tells whose signature it is, and details (or fragments of a
//! stream) with the same `index` belong to one thought.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::{
    Dialect,
    canonical::{Block, Content, Signature},
    json::{Array, Object, Prose, Text},
};

const TEXT: &str = "reasoning.text";
const ENCRYPTED: &str = "reasoning.encrypted";

#[derive(Deserialize)]
pub(super) struct Detail<'a> {
    #[serde(borrow, default)]
    text: Option<Prose<'a>>,
    #[serde(borrow, default)]
    summary: Option<Prose<'a>>,
    #[serde(borrow, default)]
    data: Option<Text<'a>>,
    #[serde(borrow, default)]
    signature: Option<Text<'a>>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    format: Option<Text<'a>>,
    #[serde(default)]
    pub index: Option<u32>,
}

impl Detail<'_> {
    pub fn text(&self) -> &str {
        [&self.text, &self.summary].into_iter().flatten().map(|prose| &*prose.0).find(|text| !text.is_empty()).unwrap_or_default()
    }

    /// What is to be given back; `None` when nobody knows to whom.
    pub fn signature(&self) -> Option<Signature> {
        let vendor = vendor_of(&self.format.as_ref()?.0)?;
        let (value, sealed) = match (&self.data, &self.signature) {
            (Some(data), _) => (&data.0, true),
            (None, Some(signature)) => (&signature.0, false),
            (None, None) => return None,
        };
        let id = self.id.as_ref().map(|id| id.0.clone().into_owned()).filter(|id| !id.is_empty());
        (!value.is_empty()).then(|| Signature { vendor, value: value.clone().into_owned(), sealed, id })
    }
}

/// The details of a message; none when they have a shape that we do not know.
pub(super) fn details(raw: &RawValue) -> Vec<Detail<'_>> {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

/// The thoughts of a message. `plain` is their text outside of the details, which says the same again.
pub(super) fn blocks(details: &[Detail<'_>], plain: &str) -> Vec<Block> {
    let mut thoughts: Vec<(Option<u32>, String, Option<Signature>)> = Vec::new();
    for detail in details {
        let signature = detail.signature();
        match thoughts.last_mut() {
            Some((index, text, signed)) if index.is_some() && *index == detail.index => {
                text.push_str(detail.text());
                *signed = signature.or(signed.take());
            }
            _ => thoughts.push((detail.index, detail.text().to_owned(), signature)),
        }
    }
    thoughts.retain(|(_, text, signature)| !text.is_empty() || signature.is_some());
    if !plain.is_empty() && thoughts.iter().all(|(_, text, _)| text.is_empty()) {
        match thoughts.iter_mut().find(|(_, _, signature)| signature.as_ref().is_some_and(|signature| !signature.sealed)) {
            Some((_, text, _)) => plain.clone_into(text),
            None => thoughts.insert(0, (None, plain.to_owned(), None)),
        }
    }
    thoughts.into_iter().map(|(_, text, signature)| Block::new(Content::Reasoning { text, signature })).collect()
}

/// Writes one thought, or a fragment of it, as details with this index.
pub(super) fn push_details(details: &mut Array<'_>, index: u32, text: Option<&str>, signature: Option<&Signature>) {
    let sealed = signature.filter(|signature| signature.sealed);
    let signed = signature.filter(|signature| !signature.sealed);
    if text.is_some() || signed.is_some() {
        let mut detail = details.object();
        detail.put("type", TEXT);
        detail.put("text", text.unwrap_or_default());
        detail.maybe("signature", signed.map(|signature| &*signature.value));
        push_end(&mut detail, signed, index);
    }
    if let Some(signature) = sealed {
        let mut detail = details.object();
        detail.put("type", ENCRYPTED);
        detail.put("data", &*signature.value);
        push_end(&mut detail, sealed, index);
    }
}

fn push_end(detail: &mut Object<'_>, signature: Option<&Signature>, index: u32) {
    detail.maybe("id", signature.and_then(|signature| signature.id.as_deref()));
    detail.maybe("format", signature.map(|signature| format_of(signature.vendor)));
    detail.put("index", &index);
}

fn format_of(vendor: Dialect) -> &'static str {
    match vendor {
        Dialect::OpenAi => "openai-responses-v1",
        Dialect::Anthropic => "anthropic-claude-v1",
        Dialect::Gemini => "google-gemini-v1",
        Dialect::Converse => "bedrock-converse-v1",
        Dialect::Cohere => "cohere-v1",
    }
}

fn vendor_of(format: &str) -> Option<Dialect> {
    [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini, Dialect::Converse].into_iter().find(|vendor| format_of(*vendor) == format)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, plain: &str) -> Vec<(String, Option<Signature>)> {
        let raw: Box<RawValue> = serde_json::from_str(json).expect("JSON");
        blocks(&details(&raw), plain)
            .into_iter()
            .map(|block| match block.content {
                Content::Reasoning { text, signature } => (text, signature),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn anthropic(value: &str) -> Option<Signature> {
        Some(Signature { vendor: Dialect::Anthropic, value: value.to_owned(), sealed: false, id: None })
    }

    #[test]
    fn fragments_of_one_index_are_one_thought() {
        let json = r#"[{"type":"reasoning.text","text":"a","index":0},{"type":"reasoning.text","text":"b","index":0},
            {"type":"reasoning.text","text":"","signature":"s","format":"anthropic-claude-v1","index":0},
            {"type":"reasoning.text","text":"c","index":1}]"#;
        assert_eq!(read(json, "abc"), [("ab".to_owned(), anthropic("s")), ("c".to_owned(), None)]);
    }

    #[test]
    fn text_may_stand_outside_of_the_details() {
        let signed = r#"[{"type":"reasoning.text","signature":"s","format":"anthropic-claude-v1"}]"#;
        assert_eq!(read(signed, "thought"), [("thought".to_owned(), anthropic("s"))]);
        let sealed = r#"[{"type":"reasoning.encrypted","data":"d","id":"rs_1","format":"openai-responses-v1"}]"#;
        let signature = Signature { vendor: Dialect::OpenAi, value: "d".to_owned(), sealed: true, id: Some("rs_1".to_owned()) };
        assert_eq!(read(sealed, "thought"), [("thought".to_owned(), None), (String::new(), Some(signature))]);
        assert_eq!(read("[]", "thought"), [("thought".to_owned(), None)]);
    }

    #[test]
    fn signatures_of_nobody_we_know_are_dropped() {
        assert_eq!(read(r#"[{"type":"reasoning.text","text":"t","signature":"s","format":"unknown"}]"#, ""), [("t".to_owned(), None)]);
        assert_eq!(read(r#"[{"type":"reasoning.text","text":"t","signature":"s"}]"#, ""), [("t".to_owned(), None)]);
        for odd in ["{}", "7", r#"["x"]"#, r#"[{"type":"reasoning.encrypted","data":"d"}]"#] {
            assert_eq!(read(odd, ""), [], "{odd}");
        }
    }
}
