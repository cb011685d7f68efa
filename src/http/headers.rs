//! Headers that are read from callers and written to them.

use std::net::IpAddr;

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderMap, HeaderName, HeaderValue},
};
use ipnet::IpNet;

use crate::{
    actors::{account::Credentials, account::RateState, directory::Address, directory::Presented},
    dialect::Dialect,
    domain::{
        SECOND, Timestamp,
        api_key::{Scope, Shape},
        key_hash::KeyHasher,
        refusal::Refusal,
    },
    http::views::rfc3339,
    pipeline::{CacheWish, Facts},
    telemetry::redact::Secret,
};

/// Longest `x-request-id` and `Idempotency-Key` that are taken from callers.
const CALLER_ID_MAX: usize = 128;
const IDEMPOTENCY_KEY_MAX: usize = 255;
/// Longest time a call may ask its answer to be kept: 30 days.
const CACHE_SECONDS_MAX: u32 = 30 * 24 * 3_600;

const GEMINI_VERBS: [&str; 9] = [
    "generateContent",
    "streamGenerateContent",
    "countTokens",
    "embedContent",
    "batchEmbedContents",
    "batchGenerateContent",
    "asyncBatchEmbedContent",
    "predict",
    "predictLongRunning",
];

/// Before a key among the protocols of a WebSocket, as OpenAI's clients write it.
const KEY_PROTOCOL: &str = "openai-insecure-api-key.";

const NO_KEY: Refusal = Refusal::InvalidKey("no API key was sent; send it as 'Authorization: Bearer KEY' or 'x-api-key: KEY'");
const MALFORMED: Refusal = Refusal::InvalidKey("this is not an API key of this gateway; check it for typos or create a new one");
const CONFLICTING: Refusal = Refusal::InvalidKey("several different API keys were sent; send one");

/// What turns a request into a caller: the pepper, and whose forwarded addresses count.
#[derive(Clone)]
pub struct CallerReader {
    pub hasher: KeyHasher,
    pub trusted_proxies: std::sync::Arc<[IpNet]>,
}

impl CallerReader {
    /// The key a caller presents and where its account is found; nothing is proven yet.
    pub fn read(&self, request: &HttpRequest, scope: Scope) -> Result<Presented, Refusal> {
        let text = key_text(request)?;
        let shape = Shape::of(text).map_err(|_| MALFORMED)?;
        let digests = self.hasher.digests(text);
        let (address, text) = match shape {
            Shape::Standard(parsed) => (Address::Locator(parsed.locator.into()), None),
            Shape::Foreign => (Address::Digest(*digests.current()), Some(Secret::new(text))),
        };
        Ok(Presented { address, credentials: Credentials { digests, scope, ip: self.ip(request) }, text })
    }

    /// The caller's address: that of the connection, or what trusted proxies in front of it say.
    pub fn ip(&self, request: &HttpRequest) -> Option<IpAddr> {
        let peer = request.peer_addr()?.ip().to_canonical();
        let is_trusted = |address: &IpAddr| self.trusted_proxies.iter().any(|network| network.contains(address));
        if !is_trusted(&peer) {
            return Some(peer);
        }
        let mut caller = peer;
        // From the right: the last untrusted hop is the caller; what stands left of it anybody can write.
        for forwarded in request.headers().get_all("x-forwarded-for").collect::<Vec<_>>().into_iter().rev() {
            for hop in forwarded.to_str().unwrap_or_default().rsplit(',') {
                let Ok(address) = hop.trim().parse::<IpAddr>() else { return Some(caller) };
                caller = address.to_canonical();
                if !is_trusted(&caller) {
                    return Some(caller);
                }
            }
        }
        Some(caller)
    }
}

fn key_text(request: &HttpRequest) -> Result<&str, Refusal> {
    let mut found: Option<&str> = None;
    let present = |text: &str| {
        if text.is_empty() { Err(NO_KEY) } else { Ok(()) }
    };
    let headers = request.headers();
    for name in ["x-api-key", "api-key", "x-goog-api-key"] {
        if let Some(value) = headers.get(name) {
            let text = value.to_str().map_err(|_| MALFORMED)?.trim();
            present(text)?;
            if found.is_some_and(|earlier| earlier != text) {
                return Err(CONFLICTING);
            }
            found = Some(text);
        }
    }
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let text = value.to_str().map_err(|_| MALFORMED)?.trim();
        let text = strip_scheme(text).ok_or(NO_KEY)?;
        if found.is_some_and(|earlier| earlier != text) {
            return Err(CONFLICTING);
        }
        found = Some(text);
    }
    if found.is_none() && headers.contains_key(header::UPGRADE) {
        // Browsers can set no header on a WebSocket but the protocols they offer.
        let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).filter_map(|value| value.to_str().ok());
        let mut keys = offered.flat_map(|value| value.split(',')).filter_map(|offer| offer.trim().strip_prefix(KEY_PROTOCOL));
        found = keys.next().filter(|text| !text.is_empty());
        if keys.any(|other| Some(other) != found) {
            return Err(CONFLICTING);
        }
    }
    if found.is_none() {
        found = request.query_string().split('&').find_map(|pair| pair.strip_prefix("key=")).filter(|text| !text.is_empty());
    }
    found.ok_or(NO_KEY)
}

fn strip_scheme(text: &str) -> Option<&str> {
    let (scheme, key) = text.split_once(' ')?;
    let known = ["bearer", "key", "token"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    Some(key.trim()).filter(|key| known && !key.is_empty())
}

/// The wire format that a caller of this path expects errors in, also where the path is nobody's. `/v1/models` belongs to three,
/// `/v1/files` to two.
pub fn dialect(path: &str, query: &str, headers: &HeaderMap) -> Dialect {
    let is_below = |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if is_below("/v1beta") || is_below("/v1/tunedModels") {
        return Dialect::Gemini;
    }
    if is_below("/v1/messages") {
        return Dialect::Anthropic;
    }
    if is_below("/v1/files") && (headers.contains_key("anthropic-version") || headers.contains_key("anthropic-beta")) {
        return Dialect::Anthropic;
    }
    if !is_below("/v1/models") {
        return Dialect::OpenAi;
    }
    if headers.contains_key("x-goog-api-key") || query.split('&').any(|pair| pair.starts_with("key=")) || names_gemini_verb(path) {
        return Dialect::Gemini;
    }
    if headers.contains_key("anthropic-version") || headers.contains_key("x-api-key") {
        return Dialect::Anthropic;
    }
    Dialect::OpenAi
}

/// Whether a path ends with something that Gemini does with a model (`…:generateContent`). Ids of models may have colons, too.
fn names_gemini_verb(path: &str) -> bool {
    let colon = path.rfind(':').map(|at| at + 1).max(path.to_ascii_uppercase().rfind("%3A").map(|at| at + 3));
    colon.and_then(|verb| path.get(verb..)).is_some_and(|verb| GEMINI_VERBS.contains(&verb))
}

/// Whether a header says yes.
pub fn flag(headers: &HeaderMap, name: &str) -> bool {
    headers.get(name).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true") || value.as_bytes() == b"1")
}

/// What a call wants of the cache: `x-pixgate-cache: true`, `false` or a number of seconds; OpenRouter's headers mean the same.
pub fn cache_wish(headers: &HeaderMap) -> Result<CacheWish, Refusal> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
    let (name, wish) = match (text("x-pixgate-cache"), text("x-openrouter-cache")) {
        (Some(wish), _) => ("x-pixgate-cache", wish),
        (None, Some(wish)) => ("x-openrouter-cache", wish),
        (None, None) => return Ok(CacheWish::Unsaid),
    };
    let seconds = |text: &str| text.parse::<u32>().ok().filter(|seconds| (1..=CACHE_SECONDS_MAX).contains(seconds));
    match wish {
        "true" => match text("x-openrouter-cache-ttl") {
            None => return Ok(CacheWish::Yes(None)),
            Some(ttl) => seconds(ttl).map(|seconds| CacheWish::Yes(Some(seconds))),
        },
        "false" => Some(CacheWish::No),
        wish => seconds(wish).map(|seconds| CacheWish::Yes(Some(seconds))),
    }
    .ok_or_else(|| Refusal::Invalid {
        message: format!("{name} must be true, false or a number of seconds from 1 to {CACHE_SECONDS_MAX}"),
        param: Some(name.to_owned()),
    })
}

/// Whether the content of a call may be kept: `x-pixgate-keep-content: false` says no, whatever account and operator chose.
pub fn may_be_kept(headers: &HeaderMap) -> Result<bool, Refusal> {
    const NAME: &str = "x-pixgate-keep-content";
    match headers.get(NAME).map(|value| value.as_bytes().trim_ascii()) {
        None | Some(b"true" | b"1") => Ok(true),
        Some(b"false" | b"0") => Ok(false),
        // Whoever misspells a no must not be taken for a yes.
        Some(_) => Err(Refusal::Invalid { message: format!("{NAME} must be true or false"), param: Some(NAME.to_owned()) }),
    }
}

/// The caller's own request id, when it is one that can be echoed and stored.
pub fn caller_request_id(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get("x-request-id")?.to_str().ok()?;
    let fits = !text.is_empty() && text.len() <= CALLER_ID_MAX;
    (fits && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte))).then_some(text)
}

pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let refuse = |message: &str| Refusal::Invalid { message: message.to_owned(), param: Some("Idempotency-Key".to_owned()) };
    let text = value.to_str().map_err(|_| refuse("Idempotency-Key must be visible ASCII"))?.trim();
    if text.is_empty() || text.len() > IDEMPOTENCY_KEY_MAX {
        return Err(refuse("Idempotency-Key must have 1 to 255 characters"));
    }
    Ok(Some(text))
}

/// Who reads an answer, and when.
#[derive(Debug, Clone, Copy)]
pub struct Audience {
    pub dialect: Dialect,
    pub now: Timestamp,
}

/// `x-ratelimit-*`, for the limits that exist, and beside them what the clients of a dialect look for.
pub fn insert_rate(headers: &mut HeaderMap, rate: &RateState, audience: Audience) {
    if audience.dialect == Dialect::Anthropic {
        insert_anthropic_rate(headers, rate, audience.now);
    }
    let mut number = |name: &'static str, value: u64| {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    };
    if let Some(limit) = rate.limit_requests {
        number("x-ratelimit-limit-requests", limit);
        number("x-ratelimit-remaining-requests", rate.remaining_requests);
    }
    if let Some(limit) = rate.limit_tokens {
        number("x-ratelimit-limit-tokens", limit);
        number("x-ratelimit-remaining-tokens", rate.remaining_tokens);
    }
    let mut reset = |name: &'static str, milliseconds: u64| {
        if let Ok(value) = HeaderValue::from_str(&duration_text(milliseconds)) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    if rate.limit_requests.is_some() {
        reset("x-ratelimit-reset-requests", rate.reset_requests_ms);
    }
    if rate.limit_tokens.is_some() {
        reset("x-ratelimit-reset-tokens", rate.reset_tokens_ms);
    }
}

/// `anthropic-ratelimit-*`, with the moments at which everything is there again.
fn insert_anthropic_rate(headers: &mut HeaderMap, rate: &RateState, now: Timestamp) {
    let mut insert = |name: String, value: String| {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    };
    let kinds = [
        ("requests", rate.limit_requests, rate.remaining_requests, rate.reset_requests_ms),
        ("tokens", rate.limit_tokens, rate.remaining_tokens, rate.reset_tokens_ms),
    ];
    for (kind, limit, remaining, reset_ms) in kinds {
        let Some(limit) = limit else { continue };
        let reset_us = i64::try_from(reset_ms).unwrap_or(i64::MAX).saturating_mul(1_000).saturating_add(now);
        let reset_seconds = reset_us / SECOND + i64::from(reset_us % SECOND > 0);
        insert(format!("anthropic-ratelimit-{kind}-limit"), limit.to_string());
        insert(format!("anthropic-ratelimit-{kind}-remaining"), remaining.to_string());
        insert(format!("anthropic-ratelimit-{kind}-reset"), rfc3339(reset_seconds.saturating_mul(SECOND)));
    }
}

/// What is known of an answer beside its body.
pub fn insert_facts(headers: &mut HeaderMap, facts: &Facts, audience: Audience) {
    if let Ok(upstream) = HeaderValue::from_str(&facts.upstream) {
        headers.insert(HeaderName::from_static("x-pixgate-upstream"), upstream);
    }
    headers.insert(HeaderName::from_static("x-pixgate-overhead-us"), HeaderValue::from(facts.overhead_us));
    if let Some(cost) = facts.cost_micros {
        headers.insert(HeaderName::from_static("x-pixgate-cost-micros"), HeaderValue::from(cost));
    }
    for (name, value) in [("x-pixgate-model", &facts.answered_by), ("x-pixgate-model-deprecated", &facts.deprecated_at)] {
        if let Some(value) = value.as_deref().and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if let Some(cached) = facts.cached {
        headers.insert(HeaderName::from_static("x-pixgate-cache"), HeaderValue::from_static(if cached { "hit" } else { "miss" }));
    }
    if !facts.dropped.is_empty()
        && let Ok(dropped) = HeaderValue::from_str(&facts.dropped.join(", "))
    {
        headers.insert(HeaderName::from_static("x-pixgate-dropped"), dropped);
    }
    if facts.replayed {
        headers.insert(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
    }
    insert_rate(headers, &facts.rate, audience);
}

/// A duration as OpenAI writes it in these headers: `1s`, `6m0s`, `20ms`.
fn duration_text(milliseconds: u64) -> String {
    let (minutes, seconds, rest) = (milliseconds / 60_000, milliseconds / 1_000 % 60, milliseconds % 1_000);
    match (minutes, seconds, rest) {
        (0, 0, rest) => format!("{rest}ms"),
        (0, seconds, 0) => format!("{seconds}s"),
        (0, seconds, rest) => format!("{seconds}.{rest:03}s"),
        (minutes, seconds, _) => format!("{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn key_of(headers: &[(&'static str, &'static str)], uri: &str) -> Result<String, Refusal> {
        let request = headers.iter().fold(TestRequest::with_uri(uri), |request, header| request.insert_header(*header));
        key_text(&request.to_http_request()).map(str::to_owned)
    }

    #[test]
    fn a_key_is_found_wherever_an_sdk_puts_it() {
        for header in
            [("authorization", "Bearer k"), ("authorization", "bearer  k"), ("x-api-key", "k"), ("api-key", "k"), ("x-goog-api-key", "k")]
        {
            assert_eq!(key_of(&[header], "/").unwrap(), "k", "{header:?}");
        }
        assert_eq!(key_of(&[], "/?a=b&key=k").unwrap(), "k");
        assert_eq!(key_of(&[("x-api-key", "k"), ("authorization", "Bearer k")], "/").unwrap(), "k");
        assert_eq!(key_of(&[("x-api-key", "k"), ("authorization", "Bearer other")], "/"), Err(CONFLICTING));
        assert_eq!(key_of(&[], "/?key="), Err(NO_KEY));
        let offered = ("sec-websocket-protocol", "realtime, openai-insecure-api-key.k, openai-beta.realtime-v1");
        assert_eq!(key_of(&[("upgrade", "websocket"), offered], "/").unwrap(), "k");
        assert_eq!(key_of(&[offered], "/"), Err(NO_KEY));
        let two = ("sec-websocket-protocol", "openai-insecure-api-key.a, openai-insecure-api-key.b");
        assert_eq!(key_of(&[("upgrade", "websocket"), two], "/"), Err(CONFLICTING));
        assert_eq!(key_of(&[("authorization", "Basic abc")], "/"), Err(NO_KEY));
        assert_eq!(key_of(&[("authorization", "Bearer ")], "/"), Err(NO_KEY));
    }

    #[test]
    fn forwarded_addresses_count_only_from_trusted_proxies() {
        let reader = |trusted: &[&str]| CallerReader {
            hasher: KeyHasher::new(b"pepper"),
            trusted_proxies: trusted.iter().map(|network| network.parse().unwrap()).collect(),
        };
        let request = TestRequest::default()
            .peer_addr("10.0.0.1:9".parse().unwrap())
            .insert_header(("x-forwarded-for", "6.6.6.6, 203.0.113.7, 10.0.0.2"))
            .to_http_request();
        let ip = |trusted: &[&str]| reader(trusted).ip(&request).unwrap().to_string();
        assert_eq!(ip(&[]), "10.0.0.1");
        assert_eq!(ip(&["10.0.0.1/32"]), "10.0.0.2");
        assert_eq!(ip(&["10.0.0.0/8"]), "203.0.113.7");
    }

    #[test]
    fn the_dialect_of_models_follows_the_key_and_the_path() {
        let of = |path: &str, header: Option<&'static str>| {
            let request = header.into_iter().fold(TestRequest::default(), |request, header| request.insert_header((header, "x")));
            dialect(path, "", request.to_http_request().headers())
        };
        for (path, header, expected) in [
            ("/v1/models", None, Dialect::OpenAi),
            ("/v1/models/llama3:8b", None, Dialect::OpenAi),
            ("/v1/models/llama3:8b", Some("x-api-key"), Dialect::Anthropic),
            ("/v1/models/llama3:8b", Some("x-goog-api-key"), Dialect::Gemini),
            ("/v1/models/llama3:8b:generateContent", None, Dialect::Gemini),
            ("/v1/models/a%2Fb%3astreamGenerateContent", Some("x-api-key"), Dialect::Gemini),
            ("/v1/models/a:generate", None, Dialect::OpenAi),
            ("/v1/models/x", Some("anthropic-version"), Dialect::Anthropic),
            ("/v1/messages/odd", None, Dialect::Anthropic),
            ("/v1beta/odd", None, Dialect::Gemini),
            ("/v1/tunedModels/x:predict", None, Dialect::Gemini),
            ("/v1/modelsx", Some("x-api-key"), Dialect::OpenAi),
        ] {
            assert_eq!(of(path, header), expected, "{path} {header:?}");
        }
        assert_eq!(dialect("/v1/models", "a=b&key=k", TestRequest::default().to_http_request().headers()), Dialect::Gemini);
    }

    #[test]
    fn anthropic_resets_are_moments() {
        let rate = RateState { limit_requests: Some(10), remaining_requests: 9, reset_requests_ms: 1_500, ..RateState::default() };
        let mut headers = HeaderMap::new();
        insert_rate(&mut headers, &rate, Audience { dialect: Dialect::Anthropic, now: 1_752_580_800_000_000 });
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(text("anthropic-ratelimit-requests-limit"), Some("10"));
        assert_eq!(text("anthropic-ratelimit-requests-remaining"), Some("9"));
        assert_eq!(text("anthropic-ratelimit-requests-reset"), Some("2025-07-15T12:00:02Z"));
        assert_eq!(text("x-ratelimit-reset-requests"), Some("1.500s"));
        assert_eq!(text("anthropic-ratelimit-tokens-limit"), None);
    }

    #[test]
    fn durations_read_as_openai_writes_them() {
        let texts: Vec<String> = [0, 20, 1_000, 1_500, 360_000].into_iter().map(duration_text).collect();
        assert_eq!(texts, ["0ms", "20ms", "1s", "1.500s", "6m0s"]);
    }
}
