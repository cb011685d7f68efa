//! LiteLLM's headers on model calls, for scripts that read them there (setting `compat.litellm_headers`). They say in other words
//! what our own headers say, so nothing but this file knows them.

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
};

use crate::dialect::credits_text;

/// Adds the headers to every answer of a model call.
pub async fn litellm<B: MessageBody + 'static>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    let mut response = next.call(request).await?;
    insert_litellm(response.headers_mut());
    Ok(response)
}

/// Adds `x-litellm-call-id`, `-model-id` (the upstream), `-overhead-duration-ms` and, when the cost is known before the body,
/// `-response-cost` in credits. Answers of other routes have no overhead and get nothing.
pub fn insert_litellm(map: &mut HeaderMap) {
    let Some(overhead_us) = number(map, "x-pixgate-overhead-us") else { return };
    let milliseconds = format!("{}.{:03}", overhead_us / 1_000, overhead_us % 1_000);
    let cost = number(map, "x-pixgate-cost-micros").map(credits_text);
    let named = |ours: &str| map.get(ours).cloned();
    let facts = [
        ("x-litellm-call-id", named("x-request-id")),
        ("x-litellm-model-id", named("x-pixgate-upstream")),
        ("x-litellm-overhead-duration-ms", HeaderValue::from_str(&milliseconds).ok()),
        ("x-litellm-response-cost", cost.and_then(|cost| HeaderValue::from_str(&cost).ok())),
    ];
    for (name, value) in facts {
        if let Some(value) = value {
            map.insert(HeaderName::from_static(name), value);
        }
    }
}

fn number(map: &HeaderMap, name: &str) -> Option<i64> {
    map.get(name)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn our_headers_are_said_again() {
        let mut answer = map(&[
            ("x-request-id", "req_1"),
            ("x-pixgate-upstream", "mock"),
            ("x-pixgate-overhead-us", "1234"),
            ("x-pixgate-cost-micros", "65"),
        ]);
        insert_litellm(&mut answer);
        let said = |name: &str| answer.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(said("x-litellm-call-id"), Some("req_1"));
        assert_eq!(said("x-litellm-model-id"), Some("mock"));
        assert_eq!(said("x-litellm-overhead-duration-ms"), Some("1.234"));
        assert_eq!(said("x-litellm-response-cost"), Some("0.000065"));
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let mut stream = map(&[("x-request-id", "req_1"), ("x-pixgate-overhead-us", "7")]);
        insert_litellm(&mut stream);
        assert!(stream.get("x-litellm-response-cost").is_none() && stream.get("x-litellm-model-id").is_none());
        let mut other = map(&[("x-request-id", "req_1")]);
        insert_litellm(&mut other);
        assert_eq!(other.len(), 1);
    }
}
