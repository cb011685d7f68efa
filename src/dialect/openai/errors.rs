//! Error bodies and error events in OpenAI's shape: the four usual keys are always there, `param` possibly null.

use bytes::Bytes;

use crate::dialect::{ErrorBody, json};

/// `{"error":{…}}`
pub fn body(error: &ErrorBody<'_>) -> Bytes {
    let mut out = Vec::with_capacity(256);
    write(error, &mut out);
    Bytes::from(out)
}

/// The event that ends a stream that failed after it began. No `[DONE]` follows: it must not look like a good end.
pub fn event(error: &ErrorBody<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    write(error, out);
    out.extend_from_slice(b"\n\n");
}

fn write(error: &ErrorBody<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"error\":{\"message\":");
    json::push_string(out, &error.message);
    let members = [
        ("type", Some(&*error.kind)),
        ("param", error.param.as_deref()),
        ("code", Some(&*error.code)),
        ("request_id", Some(&*error.request_id)),
        ("limit", error.limit),
        ("scope", error.scope),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> ErrorBody<'static> {
        ErrorBody {
            status: 402,
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
            &body(&sample())[..],
            br#"{"error":{"message":"no \"credits\"","type":"invalid_request_error","param":null,"code":"insufficient_credits","request_id":"req_1"}}"#
        );
        let limited = ErrorBody { param: Some("model".into()), limit: Some("rpm"), scope: Some("key"), ..sample() };
        let text = String::from_utf8(body(&limited).to_vec()).expect("UTF-8");
        assert!(text.contains(r#""param":"model""#) && text.ends_with(r#""request_id":"req_1","limit":"rpm","scope":"key"}}"#), "{text}");
    }

    #[test]
    fn an_error_event_is_the_end() {
        let mut out = Vec::new();
        event(&sample(), &mut out);
        assert!(out.starts_with(b"data: {\"error\":{") && out.ends_with(b"}}\n\n"));
    }
}
