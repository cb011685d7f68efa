//! Parts of a content, read into blocks.

use std::borrow::Cow;

use crate::dialect::{
    Invalid,
    canonical::{Block, Content, Source, ToolKind, Unmodelled},
    encoding::standard_base64,
    gemini::{
        fields::{Field, Fields},
        signature,
    },
    json,
};

/// Parts that only Gemini knows; kept whole.
const OWN_PARTS: [&str; 4] = ["executableCode", "codeExecutionResult", "toolCall", "toolResponse"];

/// Reads the parts of one call in their order; knows which function calls wait for a response.
#[derive(Default)]
pub(super) struct PartReader {
    /// Name and id of function calls without a response so far.
    waiting: Vec<(String, String)>,
    /// Ids that were made up.
    made: usize,
    pub unmodelled: Vec<Unmodelled>,
}

impl PartReader {
    pub fn read(&mut self, field: Field<'_>, blocks: &mut Vec<Block>) -> Result<(), Invalid> {
        let whole = field.json();
        let mut fields = Fields::of(field)?;
        let thought = fields.boolean("thought")?.unwrap_or(false);
        let mut signed = fields.text("thoughtSignature")?.and_then(|value| signature(&value));
        let text = fields.text("text")?;
        match text {
            Some(text) if thought => {
                blocks.push(Block::new(Content::Reasoning { text: text.into_owned(), signature: signed.take() }));
            }
            Some(text) if !text.is_empty() => blocks.push(Block::text(text)),
            _ => {}
        }
        if let Some(data) = fields.object("inlineData")? {
            blocks.push(Block::new(self.inline_data(data)?));
        }
        if let Some(file) = fields.object("fileData")? {
            blocks.push(Block::new(self.file_data(file)?));
        }
        if let Some(call) = fields.object("functionCall")? {
            let content = self.function_call(call)?;
            blocks.push(Block::new(match content {
                Content::ToolCall { id, name, arguments, kind, .. } => {
                    Content::ToolCall { id, name, arguments, kind, signature: signed.take() }
                }
                other => other,
            }));
        }
        if let Some(response) = fields.object("functionResponse")? {
            blocks.push(Block::new(self.function_response(response)?));
        }
        for kind in OWN_PARTS {
            if fields.take(kind)?.is_some() {
                blocks.push(Block::new(Content::Opaque { kind: kind.to_owned(), json: whole.clone() }));
            }
        }
        if signed.is_some() {
            // Of a text that is no thought: it travels as a thought without words behind it.
            blocks.push(Block::new(Content::Reasoning { text: String::new(), signature: signed }));
        }
        fields.leave(&mut self.unmodelled, |_| false);
        Ok(())
    }

    fn inline_data(&mut self, mut fields: Fields<'_>) -> Result<Content, Invalid> {
        let at = fields.path_of("data");
        let mime = fields.text("mimeType")?.unwrap_or_default().into_owned();
        let data = fields.text("data")?.unwrap_or_default();
        let data = standard_base64(&data).ok_or_else(|| Invalid::field(at, "must be base64"))?;
        let name = fields.text("displayName")?.map(Cow::into_owned);
        fields.leave(&mut self.unmodelled, |_| false);
        Ok(media(Source::Base64 { mime: mime.clone(), data }, Some(&mime), name))
    }

    fn file_data(&mut self, mut fields: Fields<'_>) -> Result<Content, Invalid> {
        let missing = fields.path_of("fileUri");
        let mime = fields.text("mimeType")?.map(Cow::into_owned);
        let uri = fields.text("fileUri")?.ok_or_else(|| Invalid::field(missing, "is required"))?.into_owned();
        let name = fields.text("displayName")?.map(Cow::into_owned);
        fields.leave(&mut self.unmodelled, |_| false);
        let source = if is_vendors_own(&uri) { Source::File { id: uri } } else { Source::Url { url: uri, mime: mime.clone() } };
        Ok(media(source, mime.as_deref(), name))
    }

    fn function_call(&mut self, mut fields: Fields<'_>) -> Result<Content, Invalid> {
        let missing = fields.path_of("name");
        let name = fields.text("name")?.ok_or_else(|| Invalid::field(missing, "is required"))?.into_owned();
        let id = fields.text("id")?.filter(|id| !id.is_empty()).map_or_else(|| self.make_id(), Cow::into_owned);
        let arguments = match fields.take("args")? {
            Some(args) if !json::is_object(args.raw.get()) => return Err(Invalid::field(args.path, "must be an object")),
            Some(args) => args.raw.get().to_owned(),
            None => "{}".to_owned(),
        };
        fields.leave(&mut self.unmodelled, |_| false);
        self.waiting.push((name.clone(), id.clone()));
        Ok(Content::ToolCall { id, name, arguments, kind: ToolKind::Function, signature: None })
    }

    fn function_response(&mut self, mut fields: Fields<'_>) -> Result<Content, Invalid> {
        let missing = fields.path_of("name");
        let name = fields.text("name")?.ok_or_else(|| Invalid::field(missing, "is required"))?.into_owned();
        let id = fields.text("id")?.filter(|id| !id.is_empty());
        let call_id = self.answered(&name, id.as_deref());
        let (text, is_error) = match fields.take("response")? {
            Some(response) => said(response)?,
            None => (String::new(), false),
        };
        let mut blocks = if text.is_empty() { Vec::new() } else { vec![Block::text(text)] };
        for part in fields.list("parts")? {
            self.read(part, &mut blocks)?;
        }
        fields.leave(&mut self.unmodelled, |_| false);
        Ok(Content::ToolResult { call_id, name: Some(name), blocks, is_error })
    }

    /// The id of the call that a response belongs to: the one it names, else the oldest waiting call of that function.
    fn answered(&mut self, name: &str, id: Option<&str>) -> String {
        let found = self.waiting.iter().position(|(called, waiting)| id.map_or(called == name, |id| id == waiting));
        match (found, id) {
            (Some(at), _) => self.waiting.remove(at).1,
            (None, Some(id)) => id.to_owned(),
            (None, None) => self.make_id(),
        }
    }

    /// Older models and clients leave ids out; other vendors need them. The same body always gets the same ones.
    fn make_id(&mut self) -> String {
        self.made += 1;
        format!("call_{}", self.made)
    }
}

/// Files in the vendor's own store, which nobody else can open.
pub(super) fn is_vendors_own(uri: &str) -> bool {
    uri.starts_with("gs://") || uri.starts_with("files/") || uri.starts_with("https://generativelanguage.googleapis.com/")
}

fn media(source: Source, mime: Option<&str>, name: Option<String>) -> Content {
    match mime.and_then(|mime| mime.split('/').next()) {
        Some("image") => Content::Image { source, detail: None },
        Some("audio") => Content::Audio { source },
        _ => Content::Document { source, name },
    }
}

/// What a function answered, as text, and whether it is an error. An object with nothing but `output`, `result` or `error` is its value.
fn said(response: Field<'_>) -> Result<(String, bool), Invalid> {
    let members = json::members(response.raw.get()).ok_or_else(|| Invalid::field(response.path.clone(), "must be an object"))?;
    let plain = |raw: &str| serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned());
    Ok(match &members[..] {
        [(name, value)] if matches!(&**name, "output" | "result" | "error") => (plain(value.get()), name == "error"),
        _ => (response.raw.get().to_owned(), false),
    })
}
