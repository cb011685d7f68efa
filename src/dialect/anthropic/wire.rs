//! Blocks and their parts as they are written for an upstream.

use std::borrow::Cow;

use serde::Serialize;

use crate::dialect::{
    canonical::{CacheHint, Json},
    json,
};

#[derive(Debug, Serialize)]
pub(super) struct Message<'a> {
    pub role: &'static str,
    pub content: Vec<Block<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block<'a> {
    Text {
        text: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl<'a>>,
    },
    Image {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl<'a>>,
    },
    Document {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl<'a>>,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: &'a str,
        input: Json,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl<'a>>,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        content: Vec<Self>,
        #[serde(skip_serializing_if = "is_false")]
        is_error: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl<'a>>,
    },
    Thinking {
        thinking: &'a str,
        signature: &'a str,
    },
    RedactedThinking {
        data: &'a str,
    },
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Source<'a> {
    Base64 { media_type: &'a str, data: &'a str },
    Url { url: &'a str },
    Text { media_type: &'static str, data: Cow<'a, str> },
}

#[derive(Debug, Serialize)]
pub(super) struct CacheControl<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<&'a str>,
}

impl<'a> CacheControl<'a> {
    pub fn of(hint: Option<&'a CacheHint>) -> Option<Self> {
        Some(Self { r#type: "ephemeral", ttl: hint?.ttl.as_deref() })
    }
}

impl<'a> Block<'a> {
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text { text: text.into(), cache_control: None }
    }
}

pub(super) fn is_false(value: &bool) -> bool {
    !value
}

/// A tool call's id as Anthropic takes it: letters, digits, `_` and `-`. Others are replaced, and a checksum keeps them apart.
pub(super) fn tool_id(id: &str) -> Cow<'_, str> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !id.is_empty() && id.bytes().all(is_fine) {
        return Cow::Borrowed(id);
    }
    let replaced: String = id.chars().map(|letter| if letter.is_ascii() && is_fine(letter as u8) { letter } else { '_' }).collect();
    Cow::Owned(format!("{replaced}_{:08x}", crc32fast::hash(id.as_bytes())))
}

/// A tool call's arguments as the object they have to be. What is none (a model may write anything) goes in as text.
pub(super) fn input(arguments: &str) -> Json {
    let object = Json::parse(arguments).filter(Json::is_object);
    object.unwrap_or_else(|| if arguments.trim().is_empty() { Json::empty_object() } else { text_input(arguments) })
}

/// Plain text as an object.
pub(super) fn text_input(text: &str) -> Json {
    Json::parse(&format!("{{\"input\":{}}}", json::quoted(text))).unwrap_or_else(Json::empty_object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_kept_where_they_can_be() {
        assert_eq!(tool_id("call_1-a"), "call_1-a");
        let odd = ["functions.look:0", "functions.look.0", "", "é"].map(|id| tool_id(id).into_owned());
        for (at, id) in odd.iter().enumerate() {
            assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{id}");
            assert!(!odd[..at].contains(id), "{id} stands for two");
        }
    }

    #[test]
    fn arguments_are_an_object() {
        for (arguments, object) in
            [("{\"a\": 1.0}", "{\"a\": 1.0}"), ("", "{}"), ("  ", "{}"), ("[1]", r#"{"input":"[1]"}"#), ("{\"a", r#"{"input":"{\"a"}"#)]
        {
            assert_eq!(input(arguments).text(), object);
        }
    }
}
