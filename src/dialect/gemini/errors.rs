//! Error bodies and error events in Gemini's shape: `{"error":{"code","message","status","details"}}`.

use bytes::Bytes;

use crate::dialect::{ErrorBody, json};

/// `{"error":{…}}`
pub fn body(error: &ErrorBody<'_>) -> Bytes {
    let mut out = Vec::with_capacity(384);
    write(error, &mut out);
    Bytes::from(out)
}

/// What gRPC calls this HTTP status.
fn status_name(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        402 | 429 => "RESOURCE_EXHAUSTED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        400..=499 => "INVALID_ARGUMENT",
        500 => "INTERNAL",
        504 => "DEADLINE_EXCEEDED",
        _ => "UNAVAILABLE",
    }
}

/// Our own code, limit and request id stand in an `ErrorInfo`, as Google's own errors have them; the field at fault in a `BadRequest`.
pub(super) fn write(error: &ErrorBody<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{{\"error\":{{\"code\":{},\"message\":", error.status).as_bytes());
    json::push_string(out, &error.message);
    out.extend_from_slice(format!(",\"status\":\"{}\",\"details\":[", status_name(error.status)).as_bytes());
    out.extend_from_slice(b"{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":");
    json::push_string(out, &error.code.to_ascii_uppercase());
    out.extend_from_slice(b",\"domain\":\"pixgate\",\"metadata\":{\"code\":");
    json::push_string(out, &error.code);
    let members =
        [("request_id", Some(&*error.request_id)), ("limit", error.limit), ("scope", error.scope), ("param", error.param.as_deref())];
    for (name, text) in members.into_iter().filter_map(|(name, text)| Some((name, text?))) {
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        json::push_string(out, text);
    }
    out.extend_from_slice(b"}}");
    if let Some(param) = error.param.as_deref().filter(|_| error.status == 400) {
        out.extend_from_slice(b",{\"@type\":\"type.googleapis.com/google.rpc.BadRequest\",\"fieldViolations\":[{\"field\":");
        json::push_string(out, param);
        out.extend_from_slice(b",\"description\":");
        json::push_string(out, &error.message);
        out.extend_from_slice(b"}]}");
    }
    out.extend_from_slice(b"]}}");
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn sample(status: u16) -> ErrorBody<'static> {
        ErrorBody {
            status,
            message: "no \"credits\"".into(),
            kind: "invalid_request_error".into(),
            param: None,
            code: "insufficient_credits".into(),
            request_id: "req_1".into(),
            limit: Some("budget"),
            scope: Some("key"),
        }
    }

    #[test]
    fn an_error_says_what_googles_say_and_our_own_code() {
        let written: Value = serde_json::from_slice(&body(&sample(402))).unwrap();
        let metadata = json!({"code": "insufficient_credits", "request_id": "req_1", "limit": "budget", "scope": "key"});
        let info = json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "INSUFFICIENT_CREDITS", "domain": "pixgate", "metadata": metadata});
        assert_eq!(
            written,
            json!({"error": {"code": 402, "message": "no \"credits\"", "status": "RESOURCE_EXHAUSTED", "details": [info]}})
        );
    }

    #[test]
    fn the_field_at_fault_is_named() {
        let error = ErrorBody { param: Some("contents".into()), ..sample(400) };
        let written: Value = serde_json::from_slice(&body(&error)).unwrap();
        assert_eq!(written["error"]["status"], "INVALID_ARGUMENT");
        assert_eq!(written["error"]["details"][1]["fieldViolations"][0]["field"], "contents");
    }

    #[test]
    fn every_status_has_a_name() {
        for (status, name) in [
            (404, "NOT_FOUND"),
            (413, "INVALID_ARGUMENT"),
            (429, "RESOURCE_EXHAUSTED"),
            (500, "INTERNAL"),
            (502, "UNAVAILABLE"),
            (503, "UNAVAILABLE"),
            (504, "DEADLINE_EXCEEDED"),
        ] {
            assert_eq!(status_name(status), name);
        }
    }
}
