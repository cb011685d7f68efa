//! `countTokens`: what a call would put into the model, by our own count.

use bytes::Bytes;

use super::{fields::Fields, request};
use crate::dialect::{CallHead, Invalid, canonical::Request};

/// Reads a body with `contents`, or with the whole call in `generateContentRequest`. As lenient as the call itself.
pub fn read_count(head: &CallHead, body: &[u8]) -> Result<Request, Invalid> {
    let model = head.model.clone().ok_or_else(|| Invalid::field("model", "is required in the path"))?;
    let mut fields = Fields::of_body(body)?;
    let call = fields.object("generateContentRequest")?;
    request::read_prompt(call.unwrap_or(fields), Request { model, ..Request::default() })
}

/// The answer to it.
pub fn count_answer(tokens: u64) -> Bytes {
    Bytes::from(format!("{{\"totalTokens\":{tokens},\"promptTokensDetails\":[{{\"modality\":\"TEXT\",\"tokenCount\":{tokens}}}]}}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Endpoint;

    fn count(body: &str) -> Result<u64, Invalid> {
        let head = CallHead { model: Some("m".to_owned()), ..CallHead::new(Endpoint::GenerateContent) };
        Ok(read_count(&head, body.as_bytes())?.input_tokens())
    }

    #[test]
    fn both_shapes_count_the_same() {
        let contents = r#"{"contents":[{"parts":[{"text":"hello world"}]}],"unknown":{"a":1}}"#;
        let whole = format!(r#"{{"generate_content_request":{contents}}}"#);
        assert_eq!(count(contents), Ok(2 + 4 + 3));
        assert_eq!(count(&whole), count(contents));
        assert_eq!(count(r#"{"generateContentRequest":{}}"#).unwrap_err().param.as_deref(), Some("generateContentRequest.contents"));
    }

    #[test]
    fn the_answer_has_the_total() {
        let answer: serde_json::Value = serde_json::from_slice(&count_answer(7)).unwrap();
        assert_eq!(answer["totalTokens"], 7);
    }
}
