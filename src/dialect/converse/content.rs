//! Content blocks: written into messages, and read from answers.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::citations;
use crate::dialect::{
    Dialect,
    canonical::{Block, CacheHint, Citation, Content, Json, Signature, Source, ToolKind},
    format::Unsupported,
    json::{Array, Object, Prose, Text},
    losses::{Losses, Part},
};

const CALL_ID_CHARACTERS_MAX: usize = 64;
const NAME_CHARACTERS_MAX: usize = 200;
const IMAGES: [&str; 4] = ["png", "jpeg", "gif", "webp"];
/// Types of documents and what the format calls them.
const DOCUMENTS: [(&str, &str); 9] = [
    ("application/pdf", "pdf"),
    ("text/csv", "csv"),
    ("application/msword", "doc"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
    ("application/vnd.ms-excel", "xls"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
    ("text/html", "html"),
    ("text/plain", "txt"),
    ("text/markdown", "md"),
];

/// Writes blocks; counts documents, whose names must differ.
pub(super) struct Writer<'a> {
    pub losses: &'a mut Losses,
    pub documents: u32,
}

impl Writer<'_> {
    /// Writes a block and the cache point behind it. Blank texts are refused by the format and say nothing.
    pub fn block(&mut self, out: &mut Array<'_>, block: &Block) -> Result<(), Unsupported> {
        match &block.content {
            Content::Text(text) | Content::Refusal(text) => {
                if text.trim().is_empty() {
                    return Ok(());
                }
                out.object().put("text", &**text);
            }
            Content::Image { source, detail } => {
                if detail.is_some() {
                    self.losses.drop(Part::ImageDetail);
                }
                self.image(out, source)?;
            }
            Content::Document { source, name } => self.document(out, source, name.as_deref())?,
            Content::Audio { .. } => self.losses.refuse(Part::AudioInput, "the model's format takes no sound")?,
            Content::ToolCall { id, name, arguments, kind, .. } => {
                let mut block = out.object();
                let mut call = block.object("toolUse");
                call.put("toolUseId", &call_id(id));
                call.put("name", &**name);
                call.put("input", &input(arguments, *kind));
            }
            Content::ToolResult { call_id: id, blocks, is_error, .. } => self.result(out, id, blocks, *is_error)?,
            Content::Reasoning { text, signature } => push_thought(out, text, signature.as_ref()),
            Content::Opaque { kind, .. } => self.losses.refuse_named(kind.clone(), "the model's format has nothing like it")?,
        }
        if let Some(hint) = &block.cache {
            push_cache_point(out, hint);
        }
        Ok(())
    }

    fn image(&mut self, out: &mut Array<'_>, source: &Source) -> Result<(), Unsupported> {
        let (format, data) = match source {
            Source::Base64 { mime, data } => (mime.strip_prefix("image/").map(|kind| if kind == "jpg" { "jpeg" } else { kind }), data),
            _ => return self.losses.refuse(Part::Images, "the model's format takes images inline only"),
        };
        let Some(format) = format.filter(|format| IMAGES.contains(format)) else {
            return self.losses.refuse(Part::Images, "the model's format takes PNG, JPEG, GIF and WebP");
        };
        let mut block = out.object();
        let mut image = block.object("image");
        image.put("format", format);
        image.object("source").put("bytes", &**data);
        Ok(())
    }

    fn document(&mut self, out: &mut Array<'_>, source: &Source, name: Option<&str>) -> Result<(), Unsupported> {
        let (format, bytes) = match source {
            Source::Base64 { mime, data } => {
                let kind = mime.split(';').next().unwrap_or(mime);
                (DOCUMENTS.iter().find(|(known, _)| *known == kind).map(|(_, format)| *format), data.clone())
            }
            Source::Text(text) => (Some("txt"), STANDARD.encode(text)),
            Source::Url { .. } | Source::File { .. } => {
                return self.losses.refuse(Part::Documents, "the model's format takes documents inline only");
            }
        };
        let Some(format) = format else {
            return self.losses.refuse(Part::Documents, "the model's format does not take documents of this type");
        };
        self.documents += 1;
        let mut block = out.object();
        let mut document = block.object("document");
        document.put("format", format);
        document.put("name", &document_name(name.unwrap_or_default(), self.documents));
        document.object("source").put("bytes", &*bytes);
        Ok(())
    }

    fn result(&mut self, out: &mut Array<'_>, id: &str, blocks: &[Block], is_error: bool) -> Result<(), Unsupported> {
        let mut block = out.object();
        let mut result = block.object("toolResult");
        result.put("toolUseId", &call_id(id));
        let mut content = result.array("content");
        for part in blocks {
            if matches!(part.content, Content::Text(_) | Content::Refusal(_) | Content::Image { .. } | Content::Document { .. }) {
                self.block(&mut content, &Block { cache: None, ..part.clone() })?;
            } else {
                self.losses.refuse(Part::Messages, "the model's format takes text, images and documents as results only")?;
            }
        }
        drop(content);
        result.put("status", if is_error { "error" } else { "success" });
        Ok(())
    }
}

/// `{"cachePoint": {"type": "default"}}`
pub(super) fn push_cache_point(out: &mut Array<'_>, hint: &CacheHint) {
    let mut block = out.object();
    let mut point = block.object("cachePoint");
    point.put("type", "default");
    point.maybe("ttl", hint.ttl.as_deref());
}

/// Only thoughts that are signed are taken back: the signature is of those of Claude, which are the same on every platform.
fn push_thought(out: &mut Array<'_>, text: &str, signature: Option<&Signature>) {
    let Some(signature) = signature.filter(|signature| signature.vendor == Dialect::Anthropic) else { return };
    let mut block = out.object();
    let mut thought = block.object("reasoningContent");
    if signature.sealed {
        return thought.put("redactedContent", &*signature.value);
    }
    let mut said = thought.object("reasoningText");
    said.put("text", text);
    said.put("signature", &*signature.value);
}

/// Ids have letters, digits, `_` and `-`; what else there is becomes `_`, in the call and in its result alike.
fn call_id(id: &str) -> String {
    let good = |character: char| if character.is_ascii_alphanumeric() || character == '-' { character } else { '_' };
    id.chars().map(good).take(CALL_ID_CHARACTERS_MAX).collect()
}

/// Arguments as an object; what is none (a broken call, a custom tool's text) becomes its member.
fn input(arguments: &str, kind: ToolKind) -> Json {
    let object = Json::parse(arguments).filter(|json| kind == ToolKind::Function && json.is_object());
    object.unwrap_or_else(|| Json::of(&serde_json::json!({ "input": arguments })))
}

/// Names have letters, digits, single spaces, `-`, `(`, `)`, `[` and `]`, and no two are the same.
fn document_name(name: &str, number: u32) -> String {
    let good = |character: char| character.is_ascii_alphanumeric() || "-()[] ".contains(character);
    let name: String = name.chars().map(|character| if good(character) { character } else { ' ' }).take(NAME_CHARACTERS_MAX).collect();
    let words: Vec<&str> = name.split_whitespace().collect();
    match (&words[..], number) {
        ([], _) => format!("document-{number}"),
        (words, 1) => words.join(" "),
        (words, _) => format!("{} ({number})", words.join(" ")),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wire<'a> {
    #[serde(borrow, default)]
    pub text: Option<Prose<'a>>,
    #[serde(borrow, default)]
    pub tool_use: Option<ToolUse<'a>>,
    #[serde(borrow, default)]
    pub reasoning_content: Option<Reasoning<'a>>,
    #[serde(borrow, default)]
    citations_content: Option<Citations<'a>>,
    /// Of a stream.
    #[serde(borrow, default)]
    citation: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolUse<'a> {
    #[serde(borrow, default)]
    pub tool_use_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub name: Option<Text<'a>>,
    /// An object in answers, a piece of its text in streams.
    #[serde(borrow, default)]
    pub input: Option<&'a RawValue>,
}

/// The members of answers and, flat, those of streams.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reasoning<'a> {
    #[serde(borrow, default)]
    reasoning_text: Option<ReasoningText<'a>>,
    #[serde(borrow, default)]
    pub text: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub signature: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub redacted_content: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct ReasoningText<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    signature: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Citations<'a> {
    #[serde(borrow, default)]
    content: Option<Prose<'a>>,
    #[serde(borrow, default)]
    citations: Option<Vec<&'a RawValue>>,
}

pub(super) fn signature(value: &str, sealed: bool) -> Option<Signature> {
    (!value.is_empty()).then(|| Signature { vendor: Dialect::Anthropic, value: value.to_owned(), sealed, id: None })
}

impl Wire<'_> {
    /// What the text that is being streamed is based on.
    pub fn citation(&self) -> Option<Citation> {
        self.citation.and_then(citations::read)
    }

    /// `None` for what is empty or unknown.
    pub fn read(&self, position: usize) -> Option<Block> {
        if let Some(call) = &self.tool_use {
            return Some(Block::new(call.read(position)));
        }
        if let Some(thought) = &self.reasoning_content {
            if let Some(sealed) = &thought.redacted_content {
                return Some(Block::new(Content::Reasoning { text: String::new(), signature: signature(&sealed.0, true) }));
            }
            let said = thought.reasoning_text.as_ref()?;
            let text = said.text.as_ref().map(|text| text.0.to_string()).unwrap_or_default();
            let signature = said.signature.as_ref().and_then(|value| signature(&value.0, false));
            return Some(Block::new(Content::Reasoning { text, signature }));
        }
        let cited = self.citations_content.as_ref();
        let text = self.text.as_ref().or(cited.and_then(|cited| cited.content.as_ref())).filter(|text| !text.0.is_empty())?;
        let sources = cited.and_then(|cited| cited.citations.as_ref()).into_iter().flatten();
        Some(Block { citations: sources.filter_map(|raw| citations::read(raw)).collect(), ..Block::text(&*text.0) })
    }
}

impl ToolUse<'_> {
    pub fn id(&self, position: usize) -> String {
        self.tool_use_id.as_ref().filter(|id| !id.0.is_empty()).map_or_else(|| format!("call_{position}"), |id| id.0.to_string())
    }

    pub fn name(&self) -> String {
        self.name.as_ref().map(|name| name.0.to_string()).unwrap_or_default()
    }

    fn read(&self, position: usize) -> Content {
        let arguments = self.input.map(RawValue::get).filter(|input| input.starts_with('{')).unwrap_or("{}");
        let kind = ToolKind::Function;
        Content::ToolCall { id: self.id(position), name: self.name(), arguments: arguments.to_owned(), kind, signature: None }
    }
}

/// A member that is an empty object.
pub(super) fn put_empty(out: &mut Object<'_>, name: &str) {
    drop(out.object(name));
}
