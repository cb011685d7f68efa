//! Servers that speak the OpenAI wire format, over HTTP.

use std::{fmt, rc::Rc, time::Duration};

use ::http::{
    HeaderMap, HeaderValue, Method, Request, Response, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, RETRY_AFTER},
};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http_body_util::Full;
use hyper::body::Incoming;
use zeroize::Zeroizing;

use super::{
    Answer, Body, Call, Failure, Provider,
    body::{HttpBody, Patience},
    http::{Connections, HttpClient},
};
use crate::{
    clock::Clock,
    dialect::{Endpoint, parse_upstream_error},
    domain::catalog::Timeouts,
};

/// How much of an error's body is read.
const ERROR_BYTES_MAX: usize = 64 * 1024;
/// Longer waits than a day are not worth telling.
const RETRY_AFTER_MS_MAX: u64 = 24 * 3_600 * 1_000;

/// A secret of an upstream; never shown.
#[derive(Clone, Default)]
pub struct ApiKey(Zeroizing<String>);

impl ApiKey {
    pub fn new(secret: impl Into<String>) -> Self {
        Self(Zeroizing::new(secret.into()))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// Checks an upstream's base URL: what the vendor's SDK takes, with `/v1`. The error says what is wrong with it.
pub fn parse_base_url(text: &str) -> Result<Uri, String> {
    if text.contains('#') {
        return Err("the base URL must not have a fragment".to_owned());
    }
    let url: Uri = text.trim_end_matches('/').parse().map_err(|error| format!("the base URL cannot be read: {error}"))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err("the base URL must begin with http:// or https://".to_owned());
    }
    match url.authority() {
        Some(authority) if authority.as_str().contains('@') => Err("the base URL must not contain credentials".to_owned()),
        Some(authority) if authority.host().is_empty() => Err("the base URL needs a host".to_owned()),
        None => Err("the base URL needs a host".to_owned()),
        _ if url.query().is_some() => Err("the base URL must not have a query".to_owned()),
        _ => Ok(url),
    }
}

/// One configured upstream, seen from one worker thread.
#[derive(Debug, Clone)]
pub struct OpenAi(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    connections: Connections,
    clock: Clock,
    timeouts: Timeouts,
    /// Marked sensitive, so that it does not show in debug output.
    authorization: Option<HeaderValue>,
    /// Made once for every format it speaks.
    uris: Vec<(Endpoint, Uri)>,
    models: Uri,
}

impl OpenAi {
    /// An empty key sends no authorization. The error says what is wrong with the URL or the key.
    pub fn new(client: &HttpClient, base_url: &str, api_key: &ApiKey, timeouts: Timeouts, speaks: &[Endpoint]) -> Result<Self, String> {
        let base = parse_base_url(base_url)?.to_string();
        let base = base.trim_end_matches('/');
        let at = |path: &str| format!("{base}{path}").parse::<Uri>().map_err(|error| format!("the base URL cannot be read: {error}"));
        Ok(Self(Rc::new(Shared {
            connections: client.pool(Duration::from_millis(timeouts.connect_ms)),
            clock: client.clock().clone(),
            timeouts,
            authorization: bearer(api_key)?,
            uris: speaks.iter().map(|endpoint| Ok((*endpoint, at(path(*endpoint))?))).collect::<Result<_, String>>()?,
            models: at("/models")?,
        })))
    }
}

/// Path below the base URL, which ends with `/v1` itself.
fn path(endpoint: Endpoint) -> &'static str {
    endpoint.path().trim_start_matches("/v1")
}

fn bearer(api_key: &ApiKey) -> Result<Option<HeaderValue>, String> {
    if api_key.0.is_empty() {
        return Ok(None);
    }
    let text = Zeroizing::new(format!("Bearer {}", *api_key.0));
    let mut value = HeaderValue::from_str(&text).map_err(|_| "the API key has characters that no header can carry".to_owned())?;
    value.set_sensitive(true);
    Ok(Some(value))
}

impl Provider for OpenAi {
    fn call(&self, call: Call) -> LocalBoxFuture<'static, Result<Answer, Failure>> {
        let shared = self.0.clone();
        Box::pin(async move { shared.call(call).await })
    }

    fn probe(&self) -> LocalBoxFuture<'static, Result<u64, Failure>> {
        let shared = self.0.clone();
        Box::pin(async move { shared.probe().await })
    }
}

impl Shared {
    async fn call(&self, call: Call) -> Result<Answer, Failure> {
        let found = self.uris.iter().find(|(endpoint, _)| *endpoint == call.endpoint);
        let (_, uri) = found.ok_or_else(|| Failure::Garbage(format!("this upstream is not called at {}", call.endpoint.path())))?;
        let mut request = self.request(Method::POST, uri, call.body);
        let headers = request.headers_mut();
        let content_type = HeaderValue::from_str(&call.content_type).unwrap_or(HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, content_type);
        headers.insert(ACCEPT, HeaderValue::from_static(if call.streamed { "text/event-stream" } else { "application/json" }));
        // Ids are checked where they enter; one that no header can carry is not worth a failure.
        if let Ok(id) = HeaderValue::from_str(&call.request_id) {
            headers.insert("x-request-id", id);
        }
        let (response, patience) = self.send(request, call.deadline).await?;
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let status = response.status().as_u16();
        let body = Body::Http(HttpBody::new(response.into_body(), patience));
        if call.streamed && content_type.as_deref().is_some_and(is_no_stream) {
            let said = collect_error(body).await;
            return Err(Failure::Garbage(format!("a stream was asked for, and no stream came: {said}")));
        }
        Ok(Answer { status, content_type, body })
    }

    async fn probe(&self) -> Result<u64, Failure> {
        let started_at = self.clock.now();
        let request = self.request(Method::GET, &self.models, Bytes::new());
        let (response, patience) = self.send(request, Duration::from_millis(self.timeouts.first_byte_ms)).await?;
        // Reading to the end lets the connection be used again. A list too long for that still proves life.
        match Body::Http(HttpBody::new(response.into_body(), patience)).collect(ERROR_BYTES_MAX * 16).await {
            Ok(_) | Err(Failure::TooLarge) => Ok(u64::try_from(self.clock.now() - started_at).unwrap_or(0)),
            Err(failure) => Err(failure),
        }
    }

    fn request(&self, method: Method, uri: &Uri, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri.clone();
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        request
    }

    /// Sends and waits for the head of a good answer.
    async fn send(&self, request: Request<Full<Bytes>>, deadline: Duration) -> Result<(Response<Incoming>, Patience), Failure> {
        let millis = Duration::from_millis;
        let mut patience = Patience::new(millis(self.timeouts.first_byte_ms), millis(self.timeouts.idle_ms), deadline);
        let response = patience.wait(self.connections.request(request)).await??;
        if response.status().is_success() {
            return Ok((response, patience));
        }
        let status = response.status().as_u16();
        let retry_after_ms = retry_after_ms(response.headers(), &self.clock);
        let said = collect_error(Body::Http(HttpBody::new(response.into_body(), patience))).await;
        let message = match status {
            300..=399 => "the upstream answers with a redirect; set its base URL to the target".to_owned(),
            _ if said.is_empty() => format!("the upstream answers with status {status} and says nothing more"),
            _ => said,
        };
        Err(Failure::Refused { status, message, retry_after_ms })
    }
}

/// What an error's body says. The status counts also when its body is broken, slow or huge.
async fn collect_error(mut body: Body) -> String {
    let mut bytes = Vec::new();
    while let Some(Ok(chunk)) = body.next().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ERROR_BYTES_MAX {
            bytes.truncate(ERROR_BYTES_MAX);
            break;
        }
    }
    parse_upstream_error(&bytes)
}

/// Types that are surely no event stream; servers are careless with others.
fn is_no_stream(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json") || essence.eq_ignore_ascii_case("text/html")
}

/// When to come back: `retry-after-ms`, else `retry-after` in seconds (also fractions) or as a date, taken relative to the answer's own
/// date when it has one, since clocks differ.
fn retry_after_ms(headers: &HeaderMap, clock: &Clock) -> Option<u64> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let millis = match (text("retry-after-ms"), text(RETRY_AFTER.as_str())) {
        (Some(millis), _) => decimal_thousandths(millis)? / 1_000,
        (None, Some(after)) => match decimal_thousandths(after) {
            Some(millis) => millis,
            None => {
                let sent_at = text(DATE.as_str()).and_then(http_date_ms).unwrap_or(clock.now() / 1_000);
                u64::try_from(http_date_ms(after)? - sent_at).unwrap_or(0)
            }
        },
        (None, None) => return None,
    };
    Some(millis.min(RETRY_AFTER_MS_MAX))
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
mod tests;
