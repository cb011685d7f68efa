//! How kept requests and answers look to owners and staff.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use utoipa::ToSchema;

use super::views::rfc3339;
use crate::control::contents::{Body, Content};

/// What is kept of a call.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContentView {
    /// `req_…`
    pub id: String,
    pub request_id: String,
    pub account_id: String,
    pub key_id: String,
    /// The id inside the answer.
    pub answer_id: Option<String>,
    /// For example `/v1/chat/completions`.
    pub endpoint: String,
    pub model: String,
    /// Of the answer.
    pub status: u16,
    pub request: BodyView,
    pub answer: BodyView,
    pub created_at: String,
    /// When it is deleted.
    pub expires_at: String,
}

/// One side of a call, byte by byte.
#[derive(Debug, Serialize, ToSchema)]
pub struct BodyView {
    pub content_type: String,
    /// `text`, or `base64` for what is not UTF-8.
    pub encoding: &'static str,
    pub body: String,
    /// Its length as it was sent.
    pub bytes: u64,
    /// Whether only the beginning is kept.
    pub truncated: bool,
}

impl From<Content> for ContentView {
    fn from(content: Content) -> Self {
        Self {
            id: content.id,
            request_id: content.request_id,
            account_id: content.account_id,
            key_id: content.key_id,
            answer_id: content.answer_id,
            endpoint: content.endpoint,
            model: content.model,
            status: content.status,
            request: content.request.into(),
            answer: content.answer.into(),
            created_at: rfc3339(content.created_at),
            expires_at: rfc3339(content.expires_at),
        }
    }
}

impl From<Body> for BodyView {
    fn from(body: Body) -> Self {
        let (truncated, bytes) = (body.is_truncated(), body.bytes);
        let (encoding, text) = match text_of(body.kept, truncated) {
            Ok(text) => ("text", text),
            Err(bytes) => ("base64", STANDARD.encode(bytes)),
        };
        Self { content_type: body.content_type, encoding, body: text, bytes, truncated }
    }
}

/// A text that was cut may end inside a character, which is left out then.
fn text_of(kept: Vec<u8>, truncated: bool) -> Result<String, Vec<u8>> {
    String::from_utf8(kept).or_else(|error| {
        let valid = error.utf8_error().valid_up_to();
        let is_only_cut = truncated && error.utf8_error().error_len().is_none();
        let mut bytes = error.into_bytes();
        if !is_only_cut {
            return Err(bytes);
        }
        bytes.truncate(valid);
        String::from_utf8(bytes).map_err(|error| error.into_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_texts_where_they_can_be() {
        let view = |kept: &[u8], bytes: u64| BodyView::from(Body { content_type: String::new(), kept: kept.to_vec(), bytes });
        for (kept, bytes, encoding, body) in [
            ("é".as_bytes(), 2, "text", "é"),
            (&b"a\xc3"[..], 9, "text", "a"),
            (&b"a\xc3"[..], 2, "base64", "YcM="),
            (&b"\xff"[..], 9, "base64", "/w=="),
            (&b""[..], 0, "text", ""),
        ] {
            let view = view(kept, bytes);
            assert_eq!((view.encoding, view.body.as_str(), view.truncated), (encoding, body, bytes > kept.len() as u64));
        }
    }
}
