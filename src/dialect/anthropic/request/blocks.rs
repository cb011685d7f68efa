//! Content blocks of a caller's body.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::read::required_elements;
use crate::dialect::{
    Dialect, Invalid,
    anthropic::{
        fields::{Fields, text},
        version::Version,
    },
    canonical::{Block, CacheHint, Content, Json, Signature, Source, ToolKind, Unmodelled},
    encoding::standard_base64,
    json,
};

/// Where a block stands; not every block may stand everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    System,
    User,
    Assistant,
    ToolResult,
}

/// Reads content, and notes what no other dialect can express.
pub(super) struct Blocks {
    pub version: Version,
    pub unmodelled: Vec<Unmodelled>,
}

impl Blocks {
    /// A string, or an array of blocks.
    pub fn read_content(&mut self, name: &str, raw: &RawValue, place: Place) -> Result<Vec<Block>, Invalid> {
        if let Some(text) = text(raw) {
            return Ok(vec![Block::text(text)]);
        }
        let elements = required_elements(name, raw)?;
        let mut blocks = Vec::with_capacity(elements.len());
        for (at, raw) in elements.into_iter().enumerate() {
            blocks.push(self.read_block(&format!("{name}.{at}"), raw, place)?);
        }
        Ok(blocks)
    }

    fn read_block(&mut self, name: &str, raw: &RawValue, place: Place) -> Result<Block, Invalid> {
        let mut fields = Fields::of(name, raw)?;
        let kind = fields.required_text("type")?;
        let cache = read_cache(&mut fields)?;
        let content = match (&*kind, place) {
            ("text", _) => Content::Text(self.read_text(&mut fields, place)?),
            (_, Place::System) => return Err(fields.invalid("type", "must be 'text' in a system prompt")),
            ("image", _) => match read_source(&mut fields)? {
                Some(source) => Content::Image { source, detail: None },
                None => opaque(&kind, raw),
            },
            ("document", _) => self.read_document(&mut fields, place)?.unwrap_or_else(|| opaque(&kind, raw)),
            ("tool_use", Place::Assistant) => read_call(&mut fields)?,
            ("tool_result", Place::User) => self.read_result(&mut fields)?,
            ("tool_use", _) => return Err(fields.invalid("type", "'tool_use' may only stand in assistant messages")),
            ("tool_result", _) => return Err(fields.invalid("type", "'tool_result' may only stand in user messages")),
            ("thinking", Place::Assistant) => {
                let thought = fields.required_text("thinking")?.into_owned();
                let signature = fields.text("signature")?.filter(|signature| !signature.is_empty());
                Content::Reasoning { text: thought, signature: signature.map(|value| signed(value.into_owned(), false)) }
            }
            ("redacted_thinking", Place::Assistant) => {
                let data = fields.required_text("data")?.into_owned();
                Content::Reasoning { text: String::new(), signature: Some(signed(data, true)) }
            }
            _ => {
                self.check_search_result(&kind, &mut fields, place)?;
                return Ok(Block { cache, ..Block::new(opaque(&kind, raw)) });
            }
        };
        if matches!(content, Content::Opaque { .. }) {
            return Ok(Block { cache, ..Block::new(content) });
        }
        // Ids of runs on Anthropic's servers say nothing to others.
        let _ = (fields.take("caller"), fields.take("toolset_name"));
        for (field, value) in fields.left() {
            let harmless = field.ends_with(".citations") || field.ends_with(".transformations");
            if !matches!(value.get(), "[]" | "{}") {
                self.unmodelled.push(Unmodelled { field, harmless });
            }
        }
        Ok(Block { cache, ..Block::new(content) })
    }

    fn read_text(&mut self, fields: &mut Fields<'_>, place: Place) -> Result<String, Invalid> {
        let text = fields.required_text("text")?.into_owned();
        let has_citations = fields.array("citations")?.is_some_and(|citations| !citations.is_empty());
        if has_citations && matches!(place, Place::User | Place::ToolResult) && self.version == Version::October2026 {
            let problem = "must be empty outside of assistant messages in anthropic-version 2026-10-21; leave it out";
            return Err(fields.invalid("citations", problem));
        }
        if has_citations {
            self.unmodelled.push(Unmodelled { field: fields.name("citations"), harmless: true });
        }
        Ok(text)
    }

    /// `None` when its source is one that only Anthropic understands.
    fn read_document(&mut self, fields: &mut Fields<'_>, place: Place) -> Result<Option<Content>, Invalid> {
        if place == Place::Assistant && self.version == Version::October2026 {
            let problem = "'document' may not stand in assistant messages in anthropic-version 2026-10-21; move it to a user message";
            return Err(fields.invalid("type", problem));
        }
        let name = fields.text("title")?.map(Cow::into_owned);
        if let Some(mut citations) = fields.object("citations")?
            && citations.boolean("enabled")? == Some(true)
        {
            self.unmodelled.push(Unmodelled { field: fields.name("citations"), harmless: false });
        }
        Ok(read_source(fields)?.map(|source| Content::Document { source, name }))
    }

    fn read_result(&mut self, fields: &mut Fields<'_>) -> Result<Content, Invalid> {
        let call_id = fields.required_text("tool_use_id")?.into_owned();
        let is_error = fields.boolean("is_error")?.unwrap_or(false);
        let blocks = match fields.take("content") {
            Some(content) => self.read_content(&fields.name("content"), content, Place::ToolResult)?,
            None => Vec::new(),
        };
        Ok(Content::ToolResult { call_id, name: None, blocks, is_error })
    }

    /// Texts inside a search result follow the rule of the message they stand in.
    fn check_search_result(&mut self, kind: &str, fields: &mut Fields<'_>, place: Place) -> Result<(), Invalid> {
        if kind != "search_result" || place == Place::Assistant {
            return Ok(());
        }
        for (at, raw) in fields.array("content")?.unwrap_or_default().into_iter().enumerate() {
            self.read_text(&mut Fields::of(&fields.name(&format!("content.{at}")), raw)?, place)?;
        }
        Ok(())
    }
}

fn opaque(kind: &str, raw: &RawValue) -> Content {
    Content::Opaque { kind: kind.to_owned(), json: Json::parse(raw.get()).unwrap_or_else(Json::empty_object) }
}

fn signed(value: String, sealed: bool) -> Signature {
    Signature { vendor: Dialect::Anthropic, value, sealed, id: None }
}

fn read_call(fields: &mut Fields<'_>) -> Result<Content, Invalid> {
    let (id, name) = (fields.required_text("id")?.into_owned(), fields.required_text("name")?.into_owned());
    let input = fields.take("input").map_or("{}", RawValue::get);
    if !json::is_object(input) {
        return Err(fields.invalid("input", "must be an object"));
    }
    Ok(Content::ToolCall { id, name, arguments: input.to_owned(), kind: ToolKind::Function, signature: None })
}

/// `None` is a source that only Anthropic understands.
fn read_source(fields: &mut Fields<'_>) -> Result<Option<Source>, Invalid> {
    let mut source = fields.object("source")?.ok_or_else(|| fields.invalid("source", "is required"))?;
    Ok(Some(match &*source.required_text("type")? {
        "base64" => {
            let data = standard_base64(&source.required_text("data")?).ok_or_else(|| source.invalid("data", "must be base64"))?;
            Source::Base64 { mime: source.required_text("media_type")?.into_owned(), data }
        }
        "url" => Source::Url { url: source.required_text("url")?.into_owned(), mime: None },
        "file" => Source::File { id: source.required_text("file_id")?.into_owned() },
        "text" => Source::Text(source.required_text("data")?.into_owned()),
        "content" => return Ok(read_texts(&mut source)?.map(Source::Text)),
        _ => return Ok(None),
    }))
}

/// The texts of a document that is made of blocks; `None` when it has others.
fn read_texts(source: &mut Fields<'_>) -> Result<Option<String>, Invalid> {
    let content = source.required("content")?;
    if let Some(text) = text(content) {
        return Ok(Some(text.into_owned()));
    }
    let mut texts = Vec::new();
    for (at, raw) in required_elements(&source.name("content"), content)?.into_iter().enumerate() {
        let mut block = Fields::of(&source.name(&format!("content.{at}")), raw)?;
        if block.required_text("type")? != "text" {
            return Ok(None);
        }
        texts.push(block.required_text("text")?);
    }
    Ok(Some(texts.join("\n")))
}

/// `cache_control` of a block or a tool.
pub(super) fn read_cache(fields: &mut Fields<'_>) -> Result<Option<CacheHint>, Invalid> {
    let Some(mut cache) = fields.object("cache_control")? else { return Ok(None) };
    Ok(Some(CacheHint { ttl: cache.text("ttl")?.map(Cow::into_owned) }))
}
