//! Parts and contents as they are written: camelCase, standard base64, absent when there is nothing to say.

use std::borrow::Cow;

use serde::Serialize;

use super::own;
use crate::dialect::canonical::{Json, Signature, Source, ToolKind};

#[derive(Debug, Serialize)]
pub(super) struct Content<'a> {
    pub parts: Vec<Part<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thought: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inline_data: Option<InlineData<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_data: Option<FileData<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<FunctionCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_response: Option<FunctionResponse<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thought_signature: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InlineData<'a> {
    pub mime_type: &'a str,
    pub data: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FileData<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<Cow<'a, str>>,
    pub file_uri: &'a str,
}

#[derive(Debug, Serialize)]
pub(super) struct FunctionCall<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub args: Json,
}

#[derive(Debug, Serialize)]
pub(super) struct FunctionResponse<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub response: Json,
}

impl<'a> Part<'a> {
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self { text: Some(text.into()), ..Self::default() }
    }

    /// With Gemini's own signature, if it has one.
    pub fn thought(text: &'a str, signature: Option<&'a Signature>) -> Self {
        // A thought without words carries the signature of what stands before it.
        Self { thought: (!text.is_empty()).then_some(true), thought_signature: own(signature), ..Self::text(text) }
    }

    pub fn call(id: &'a str, name: &'a str, arguments: &str, kind: ToolKind, signature: Option<&'a Signature>) -> Self {
        let function_call = Some(FunctionCall { id, name, args: args(arguments, kind) });
        Self { function_call, thought_signature: own(signature), ..Self::default() }
    }

    /// `None` for sources without bytes or address.
    pub fn media(source: &'a Source) -> Option<Self> {
        match source {
            Source::Base64 { mime, data } => Some(Self { inline_data: Some(InlineData { mime_type: mime, data }), ..Self::default() }),
            Source::Url { url, mime } => {
                let mime_type = mime.as_deref().or_else(|| mime_of(url)).map(Cow::Borrowed);
                Some(Self { file_data: Some(FileData { mime_type, file_uri: url }), ..Self::default() })
            }
            Source::Text(text) => Some(Self::text(&**text)),
            Source::File { .. } => None,
        }
    }
}

/// Arguments are an object here. Anything else (plain input of custom tools, what a model wrote badly) is its member `input`.
fn args(arguments: &str, kind: ToolKind) -> Json {
    let object = (kind == ToolKind::Function).then(|| Json::parse(arguments)).flatten().filter(Json::is_object);
    object.unwrap_or_else(|| Json::of(&std::collections::BTreeMap::from([("input", arguments)])))
}

/// By the ending of the address.
fn mime_of(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next()?;
    let (_, ending) = path.rsplit_once('.')?;
    Some(match ending.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "heic" => "image/heic",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "mp3" => "audio/mp3",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_always_an_object() {
        for (arguments, kind, expected) in [
            (r#"{"a":1.0}"#, ToolKind::Function, r#"{"a":1.0}"#),
            ("[1]", ToolKind::Function, r#"{"input":"[1]"}"#),
            ("{\"a\":", ToolKind::Function, r#"{"input":"{\"a\":"}"#),
            ("{}", ToolKind::Custom, r#"{"input":"{}"}"#),
        ] {
            assert_eq!(args(arguments, kind).text(), expected);
        }
    }

    #[test]
    fn types_of_files_are_told_by_their_ending() {
        assert_eq!(mime_of("https://a.example/x.PNG?size=1.5"), Some("image/png"));
        assert_eq!(mime_of("https://a.example/x"), None);
    }
}
