//! Headers that tell browsers what not to do with an answer. Answers that say something of their own keep it.
//!
//! Routes for programs get none of them: no browser renders their answers, and they are the hot path.

use actix_web::{
    dev::ServiceResponse,
    http::header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
        X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
    web,
};

use crate::control::Control;

/// What nobody is to load, run or put into a frame.
const NOTHING: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Two years, as browsers' lists of such hosts ask for.
const TLS_ONLY: &str = "max-age=63072000";

/// Adds what is missing on an answer.
pub fn insert<B>(response: &mut ServiceResponse<B>) {
    if is_for_programs(response.request().path()) {
        return;
    }
    let request = response.request().clone();
    let is_https = request.app_data::<web::Data<Control>>().is_some_and(|control| control.site.is_https());
    add_to(request.path(), is_https, response.headers_mut());
}

fn add_to(path: &str, is_https: bool, headers: &mut HeaderMap) {
    let mut add = |name: HeaderName, value: &'static str| {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    };
    add(X_CONTENT_TYPE_OPTIONS, "nosniff");
    add(X_FRAME_OPTIONS, "DENY");
    add(REFERRER_POLICY, "no-referrer");
    add(CONTENT_SECURITY_POLICY, NOTHING);
    add(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    add(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    if is_https {
        add(STRICT_TRANSPORT_SECURITY, TLS_ONLY);
    }
    if is_private(path) {
        add(CACHE_CONTROL, "no-store");
    }
}

fn is_for_programs(path: &str) -> bool {
    ["/v1/", "/v1beta/", "/metrics", "/healthz", "/readyz"].iter().any(|start| path.starts_with(start))
}

/// What only one person or the operator may see.
fn is_private(path: &str) -> bool {
    ["/api/v1/", "/admin/v1/", "/auth/"].iter().any(|start| path.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str, is_https: bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        add_to(path, is_https, &mut headers);
        headers
    }

    #[test]
    fn pages_and_accounts_are_guarded_and_models_are_left_alone() {
        assert!(is_for_programs("/v1/chat/completions") && is_for_programs("/metrics") && !is_for_programs("/api/v1/me"));
        for path in ["/api/v1/me", "/admin/v1/accounts", "/auth/reset"] {
            let headers = of(path, true);
            assert_eq!(headers.get(CACHE_CONTROL).unwrap(), "no-store", "{path}");
            assert_eq!(headers.get(X_CONTENT_TYPE_OPTIONS).unwrap(), "nosniff");
            assert!(headers.get(CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap().contains("frame-ancestors 'none'"));
            assert_eq!(headers.get(STRICT_TRANSPORT_SECURITY).unwrap(), TLS_ONLY);
        }
        assert!(!of("/docs", false).contains_key(STRICT_TRANSPORT_SECURITY), "plain HTTP cannot promise TLS");
        assert!(!of("/docs", true).contains_key(CACHE_CONTROL));
    }

    #[test]
    fn own_words_stay() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=60"));
        add_to("/api/v1/me/image", false, &mut headers);
        assert_eq!(headers.get(CACHE_CONTROL).unwrap(), "private, max-age=60");
    }
}
