//! Answers that are no success: what they say, what they mean, and when to come back.

use ::http::{
    HeaderMap,
    header::{DATE, RETRY_AFTER},
};
use serde_json::Value;

use super::{Failure, presets::Paths};
use crate::{clock::Clock, dialect::parse_upstream_error};

/// Longer waits than a day are not worth telling.
const RETRY_AFTER_MS_MAX: u64 = 24 * 3_600 * 1_000;

/// The failure that an answer with this status means. `body` may be cut short.
pub fn read(paths: Paths, status: u16, headers: &HeaderMap, body: &[u8], clock: &Clock) -> Failure {
    let said = parse_upstream_error(body);
    let message = match status {
        300..=399 => "the upstream answers with a redirect; set its base URL to the target".to_owned(),
        _ if said.is_empty() => format!("the upstream answers with status {status} and says nothing more"),
        _ => said,
    };
    let meant = match paths {
        Paths::Bedrock => amazon_status(status, headers, body),
        Paths::Gemini | Paths::Vertex => google_status(status, body),
        _ => status,
    };
    let hint = || match paths {
        Paths::Gemini | Paths::Vertex => google_retry_ms(body),
        _ => None,
    };
    let retry_after_ms = retry_after_ms(headers, clock).or_else(hint).map(|millis| millis.min(RETRY_AFTER_MS_MAX));
    Failure::Refused { status: meant, message, retry_after_ms }
}

/// Amazon says what happened with a name; the status beside it is often just 400.
fn amazon_status(status: u16, headers: &HeaderMap, body: &[u8]) -> u16 {
    let in_body = || serde_json::from_slice::<Value>(body).ok()?.get("__type")?.as_str().map(str::to_owned);
    let header = headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let Some(text) = header.or_else(in_body) else { return status };
    // `com.amazonaws.bedrock#ThrottlingException:http://…`
    let name = text.split(':').next().unwrap_or_default();
    match name.rsplit('#').next().unwrap_or_default() {
        "ThrottlingException" | "TooManyRequestsException" | "ServiceQuotaExceededException" => 429,
        "ModelNotReadyException" | "ServiceUnavailableException" => 503,
        "ModelTimeoutException" => 408,
        "ModelErrorException" | "ModelStreamErrorException" | "InternalServerException" => 500,
        "UnrecognizedClientException" | "ExpiredTokenException" | "InvalidSignatureException" | "IncompleteSignature" => 401,
        "AccessDeniedException" => 403,
        _ => status,
    }
}

/// A wrong key is a 400 with Gemini, which would put the blame on the caller's request.
fn google_status(status: u16, body: &[u8]) -> u16 {
    let is_key = status == 400
        && error_details(body).iter().any(|detail| matches!(detail["reason"].as_str(), Some("API_KEY_INVALID" | "API_KEY_EXPIRED")));
    if is_key { 401 } else { status }
}

/// `RetryInfo` among the details: `"retryDelay": "7.5s"`.
fn google_retry_ms(body: &[u8]) -> Option<u64> {
    let details = error_details(body);
    let delay = details.iter().find_map(|detail| detail["retryDelay"].as_str())?;
    decimal_thousandths(delay.strip_suffix('s')?)
}

fn error_details(body: &[u8]) -> Vec<Value> {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    // Streams without `alt=sse` wrap the error in an array.
    let details = value.pointer("/error/details").or_else(|| value.pointer("/0/error/details"));
    details.and_then(Value::as_array).cloned().unwrap_or_default()
}

/// When to come back: `retry-after-ms`, else `retry-after` in seconds (also fractions) or as a date, taken relative to the answer's own
/// date when it has one, since clocks differ.
fn retry_after_ms(headers: &HeaderMap, clock: &Clock) -> Option<u64> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    match (text("retry-after-ms"), text(RETRY_AFTER.as_str())) {
        (Some(millis), _) => Some(decimal_thousandths(millis)? / 1_000),
        (None, Some(after)) => match decimal_thousandths(after) {
            Some(millis) => Some(millis),
            None => {
                let sent_at = text(DATE.as_str()).and_then(http_date_ms).unwrap_or(clock.now() / 1_000);
                Some(u64::try_from(http_date_ms(after)? - sent_at).unwrap_or(0))
            }
        },
        (None, None) => None,
    }
}

/// A plain decimal in thousandths: `1.5` is 1500.
fn decimal_thousandths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    whole.parse::<u64>().ok()?.checked_mul(1_000)?.checked_add(digits.parse().ok()?)
}

fn http_date_ms(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok().map(jiff::Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect()
    }

    fn meant(paths: Paths, status: u16, pairs: &[(&'static str, &str)], body: &str) -> (u16, Option<u64>) {
        match read(paths, status, &headers(pairs), body.as_bytes(), &Clock::system()) {
            Failure::Refused { status, retry_after_ms, .. } => (status, retry_after_ms),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn waits_are_read_in_all_their_forms() {
        let (clock, _hand) = Clock::manual(784_111_777_000_000);
        let check = |pairs: &[(&'static str, &str)]| match read(Paths::Openai, 429, &headers(pairs), b"", &clock) {
            Failure::Refused { retry_after_ms, .. } => retry_after_ms,
            other => panic!("{other}"),
        };
        assert_eq!(check(&[]), None);
        assert_eq!(check(&[("retry-after", "7")]), Some(7_000));
        assert_eq!(check(&[("retry-after", "0.25")]), Some(250));
        assert_eq!(check(&[("retry-after", "7"), ("retry-after-ms", "120")]), Some(120));
        assert_eq!(check(&[("retry-after", "Sun, 06 Nov 1994 08:49:42 GMT")]), Some(5_000));
        let both = [("retry-after", "Sun, 06 Nov 1994 08:49:42 GMT"), ("date", "Sun, 06 Nov 1994 08:49:40 GMT")];
        assert_eq!(check(&both), Some(2_000));
        assert_eq!(check(&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]), Some(0));
        assert_eq!(check(&[("retry-after", "soon")]), None);
        assert_eq!(check(&[("retry-after", "99999999999")]), Some(RETRY_AFTER_MS_MAX));
    }

    #[test]
    fn google_says_when_to_come_back_inside_the_body() {
        let limited = r#"{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED","details":[
            {"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[]},
            {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"7.5s"}]}}"#;
        assert_eq!(meant(Paths::Gemini, 429, &[], limited), (429, Some(7_500)));
        assert_eq!(meant(Paths::Vertex, 429, &[], &format!("[{limited}]")), (429, Some(7_500)));
        assert_eq!(meant(Paths::Gemini, 429, &[("retry-after", "1")], limited), (429, Some(1_000)));
        assert_eq!(meant(Paths::Openai, 429, &[], limited), (429, None));
        assert_eq!(meant(Paths::Gemini, 429, &[], r#"{"error":{"details":[{"retryDelay":"soon"}]}}"#), (429, None));
        assert_eq!(meant(Paths::Gemini, 429, &[], "[]"), (429, None));
    }

    #[test]
    fn a_wrong_key_is_not_the_callers_request() {
        let wrong =
            r#"{"error":{"code":400,"message":"API key not valid","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#;
        assert_eq!(meant(Paths::Gemini, 400, &[], wrong).0, 401);
        assert_eq!(meant(Paths::Gemini, 400, &[], r#"{"error":{"details":[{"reason":"OTHER"}]}}"#).0, 400);
    }

    #[test]
    fn amazon_names_what_happened() {
        let named = |status, name: &str| meant(Paths::Bedrock, status, &[("x-amzn-errortype", name)], "{}").0;
        assert_eq!(named(400, "ThrottlingException"), 429);
        assert_eq!(named(400, "ServiceQuotaExceededException:http://internal.amazon.com/"), 429);
        assert_eq!(named(429, "ModelNotReadyException"), 503);
        assert_eq!(named(424, "ModelErrorException"), 500);
        assert_eq!(named(403, "ExpiredTokenException"), 401);
        assert_eq!(named(403, "AccessDeniedException"), 403);
        assert_eq!(named(400, "ValidationException"), 400);
        assert_eq!(meant(Paths::Bedrock, 400, &[], r#"{"__type":"com.amazon#ThrottlingException","message":"slow"}"#).0, 429);
        assert_eq!(meant(Paths::Bedrock, 500, &[], "oops").0, 500);
    }
}
