//! Error bodies: ours, written in full; upstreams', read leniently.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;

use crate::dialect::json;

const MESSAGE_CHARACTERS_MAX: usize = 500;

/// An error as OpenAI's clients expect it: the four usual keys are always there, `param` possibly null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorBody<'a> {
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

impl ErrorBody<'_> {
    /// `{"error":{…}}`
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(256);
        self.write(&mut out);
        Bytes::from(out)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"error\":{\"message\":");
        json::push_string(out, &self.message);
        let members = [
            ("type", Some(&*self.kind)),
            ("param", self.param.as_deref()),
            ("code", Some(&*self.code)),
            ("request_id", Some(&*self.request_id)),
            ("limit", self.limit),
            ("scope", self.scope),
        ];
        for (name, value) in members {
            match value {
                None if name != "param" => continue,
                _ => out.extend_from_slice(format!(",\"{name}\":").as_bytes()),
            }
            match value {
                Some(text) => json::push_string(out, text),
                None => out.extend_from_slice(b"null"),
            }
        }
        out.extend_from_slice(b"}}");
    }
}

/// The event that ends a stream that failed after it began. No `[DONE]` follows: it must not look like a good end.
pub fn error_event(error: &ErrorBody<'_>) -> Bytes {
    let mut out = b"data: ".to_vec();
    error.write(&mut out);
    out.extend_from_slice(b"\n\n");
    Bytes::from(out)
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

    fn sample() -> ErrorBody<'static> {
        ErrorBody {
            message: "no \"credits\"".into(),
            kind: "invalid_request_error".into(),
            param: None,
            code: "insufficient_credits".into(),
            request_id: "req_1".into(),
            limit: None,
            scope: None,
        }
    }

    #[test]
    fn all_keys_are_written() {
        assert_eq!(
            &sample().to_bytes()[..],
            br#"{"error":{"message":"no \"credits\"","type":"invalid_request_error","param":null,"code":"insufficient_credits","request_id":"req_1"}}"#
        );
        let limited = ErrorBody { param: Some("model".into()), limit: Some("rpm"), scope: Some("key"), ..sample() };
        let text = String::from_utf8(limited.to_bytes().to_vec()).expect("UTF-8");
        assert!(text.contains(r#""param":"model""#) && text.ends_with(r#""request_id":"req_1","limit":"rpm","scope":"key"}}"#), "{text}");
    }

    #[test]
    fn an_error_event_is_the_end() {
        let event = error_event(&sample());
        assert!(event.starts_with(b"data: {\"error\":{") && event.ends_with(b"}}\n\n"));
    }

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
