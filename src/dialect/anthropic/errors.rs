//! Error bodies and error events in Anthropic's shape. `type` follows from the status, which stays ours; `code`, `param`, `limit` and
//! `scope` say what the other dialects say, too.

use bytes::Bytes;

use crate::dialect::{ErrorBody, json};

/// `{"type":"error","error":{…},"request_id":…}`
pub fn body(error: &ErrorBody<'_>) -> Bytes {
    let mut out = Vec::with_capacity(256);
    write(error, &mut out);
    Bytes::from(out)
}

/// The event that ends a stream that failed after it began. No `message_stop` follows: it must not look like a good end.
pub fn event(error: &ErrorBody<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: error\ndata: ");
    write(error, out);
    out.extend_from_slice(b"\n\n");
}

fn write(error: &ErrorBody<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"error\",\"error\":{\"type\":");
    json::push_string(out, kind(error.status));
    out.extend_from_slice(b",\"message\":");
    json::push_string(out, &error.message);
    let members = [("code", Some(&*error.code)), ("param", error.param.as_deref()), ("limit", error.limit), ("scope", error.scope)];
    for (name, text) in members.into_iter().filter_map(|(name, text)| Some((name, text?))) {
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        json::push_string(out, text);
    }
    out.extend_from_slice(b"},\"request_id\":");
    json::push_string(out, &error.request_id);
    out.push(b'}');
}

/// The `type` that official SDKs tell errors apart by.
fn kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        503 | 529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(status: u16) -> ErrorBody<'static> {
        ErrorBody {
            status,
            message: "no \"credits\"".into(),
            kind: "insufficient_quota".into(),
            param: None,
            code: "insufficient_credits".into(),
            request_id: "req_1".into(),
            limit: None,
            scope: None,
        }
    }

    #[test]
    fn the_type_follows_from_the_status() {
        assert_eq!(
            &body(&sample(402))[..],
            br#"{"type":"error","error":{"type":"billing_error","message":"no \"credits\"","code":"insufficient_credits"},"request_id":"req_1"}"#
        );
        for (status, kind) in [
            (400, "invalid_request_error"),
            (405, "invalid_request_error"),
            (502, "api_error"),
            (503, "overloaded_error"),
            (529, "overloaded_error"),
            (504, "timeout_error"),
        ] {
            let text = String::from_utf8(body(&sample(status)).to_vec()).expect("UTF-8");
            assert!(text.contains(&format!(r#""error":{{"type":"{kind}""#)), "{text}");
        }
        let limited = ErrorBody { param: Some("model".into()), limit: Some("rpm"), scope: Some("key"), ..sample(429) };
        let text = String::from_utf8(body(&limited).to_vec()).expect("UTF-8");
        assert!(text.ends_with(r#""param":"model","limit":"rpm","scope":"key"},"request_id":"req_1"}"#), "{text}");
    }

    #[test]
    fn an_error_event_is_the_end() {
        let mut out = Vec::new();
        event(&sample(502), &mut out);
        assert!(out.starts_with(b"event: error\ndata: {\"type\":\"error\",") && out.ends_with(b"}\n\n"));
    }
}
