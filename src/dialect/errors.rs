//! An error in no vendor's words, written for a caller of any dialect; and upstreams' error bodies, read leniently.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;

use super::{Dialect, anthropic, gemini, openai};

const MESSAGE_CHARACTERS_MAX: usize = 500;

/// An error as every dialect can tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorBody<'a> {
    /// HTTP status the caller sees, or would see if the answer had not begun.
    pub status: u16,
    pub message: Cow<'a, str>,
    /// `type` on the wire.
    pub kind: Cow<'a, str>,
    pub param: Option<Cow<'a, str>>,
    pub code: Cow<'a, str>,
    pub request_id: Cow<'a, str>,
    /// Which limit refused the call (`rpm`, `budget`, …) and whose; left out when `None`.
    pub limit: Option<&'static str>,
    pub scope: Option<&'static str>,
}

/// The body of an error in the caller's dialect.
pub fn error_body(dialect: Dialect, error: &ErrorBody<'_>) -> Bytes {
    match dialect {
        Dialect::Anthropic => anthropic::errors::body(error),
        Dialect::Gemini => gemini::errors::body(error),
        Dialect::OpenAi | Dialect::Converse | Dialect::Cohere => openai::errors::body(error),
    }
}

/// What an upstream's error body says, in one line of at most 500 characters; empty when it says nothing. Takes OpenAI's shape, bare
/// strings, FastAPI's `detail`, Gemini's wrapping array, HTML pages and plain text.
pub fn parse_upstream_error(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let message = match serde_json::from_str::<Value>(&text) {
        Ok(value) => find_message(&value).unwrap_or_else(|| value.to_string()),
        Err(_) if text.trim_start().starts_with('<') => html_title(&text),
        Err(_) => text.into_owned(),
    };
    one_line(&message)
}

fn find_message(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(elements) => elements.iter().find_map(find_message),
        Value::Object(members) => {
            ["error", "message", "detail", "msg", "error_description"].iter().find_map(|name| find_message(members.get(*name)?))
        }
        _ => None,
    }
}

fn html_title(page: &str) -> String {
    let lower = page.to_ascii_lowercase();
    let title = lower.find("<title>").map(|at| at + 7).and_then(|start| Some(start..start + lower.get(start..)?.find("</title>")?));
    title.and_then(|span| page.get(span)).unwrap_or("an HTML page").to_owned()
}

fn one_line(message: &str) -> String {
    let mut line = String::new();
    let words = message.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    for (position, word) in words.enumerate() {
        if position > 0 {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > MESSAGE_CHARACTERS_MAX * 4 {
            break;
        }
    }
    line.chars().take(MESSAGE_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_errors_are_read_leniently() {
        for (body, message) in [
            (r#"{"error":{"message":"bad model","type":"x","code":404}}"#, "bad model"),
            (r#"{"error":"plain"}"#, "plain"),
            (r#"{"detail":"not found"}"#, "not found"),
            (r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#, "field required"),
            (r#"[{"error":{"code":400,"message":"wrapped"}}]"#, "wrapped"),
            (r#"{"object":"error","message":"too long","code":400}"#, "too long"),
            (r#"{"error":{"code":7}}"#, r#"{"error":{"code":7}}"#),
            ("<html><head><TITLE>502 Bad\nGateway</TITLE></head></html>", "502 Bad Gateway"),
            ("<html>İ</html>", "an HTML page"),
            ("  try\u{7}\tagain\r\n", "try again"),
            ("", ""),
        ] {
            assert_eq!(parse_upstream_error(body.as_bytes()), message);
        }
        assert_eq!(parse_upstream_error(&vec![b'x'; 100_000]).len(), 500);
        assert_eq!(parse_upstream_error("é".repeat(1_000).as_bytes()).chars().count(), 500);
        assert_eq!(parse_upstream_error(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }
}
