//! How providers are asked: over the HTTP client of all upstreams, with little patience, for small answers, without redirects.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::{
    HeaderValue,
    header::{CONTENT_TYPE, USER_AGENT},
};
use oauth2::{ErrorResponse, HttpRequest, HttpResponse, RequestTokenError};

use super::IdentityFailure;
use crate::upstream::{Connector, ExchangeLimits, Failure};

/// Discovery documents, key sets and tokens have a few kilobytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// GitHub refuses callers without a name.
const NAME: HeaderValue = HeaderValue::from_static("pixgate");

/// What oauth2 and openidconnect send their requests with. With `tls_only` nothing is sent to an address without TLS, whoever named it.
pub fn client(
    connector: &Connector,
    timeout: Duration,
    tls_only: bool,
) -> impl Fn(HttpRequest) -> LocalBoxFuture<'static, Result<HttpResponse, Failure>> {
    let connector = connector.clone();
    move |mut request| {
        let connector = connector.clone();
        Box::pin(async move {
            if tls_only && request.uri().scheme_str() != Some("https") {
                return Err(Failure::Connect(format!("{} has no TLS, and its provider has", request.uri())));
            }
            request.headers_mut().insert(USER_AGENT, NAME);
            let limits = ExchangeLimits { timeout, bytes_max: ANSWER_BYTES_MAX };
            let answer = connector.exchange(request.map(Bytes::from), limits).await?;
            if answer.status().is_server_error() || answer.status().is_redirection() {
                // Its body is of no use to anybody, and may be a page.
                return Err(Failure::Refused { status: answer.status().as_u16(), message: String::new(), retry_after_ms: None });
            }
            Ok(answer.map(|body| body.to_vec()))
        })
    }
}

/// Whether an answer says that it is JSON.
pub fn is_json(answer: &HttpResponse) -> bool {
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// What a failed exchange of a code for tokens means.
pub fn no_token<T: ErrorResponse + 'static>(error: RequestTokenError<Failure, T>) -> IdentityFailure {
    match error {
        RequestTokenError::Request(failure) => IdentityFailure::Unavailable(format!("no token came: {failure}")),
        RequestTokenError::ServerResponse(refusal) => IdentityFailure::Rejected(format!("no token was given: {refusal}")),
        // GitHub says so with a good status.
        RequestTokenError::Parse(_, body) if refusal(&body).is_some() => {
            IdentityFailure::Rejected(format!("no token was given: {}", refusal(&body).unwrap_or_default()))
        }
        // Its own words may repeat a part of the answer.
        RequestTokenError::Parse(error, _) => {
            IdentityFailure::Unavailable(format!("the answer with the token is not understood at {}", error.path()))
        }
        RequestTokenError::Other(why) => IdentityFailure::Unavailable(format!("no token came: {why}")),
    }
}

/// The error code of an answer that is an error in OAuth's shape.
fn refusal(body: &[u8]) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_slice(body).ok()?;
    let code = answer.get("error")?.as_str()?;
    Some(code.chars().filter(|letter| letter.is_ascii_graphic()).take(60).collect())
}
