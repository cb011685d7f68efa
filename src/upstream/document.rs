//! A small document that somebody publishes, fetched whole.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderValue, Method, Uri,
    header::{ACCEPT, USER_AGENT},
};
use http_body_util::Full;

use super::{
    Body, Failure, HttpClient,
    auth::bare,
    body::{HttpBody, Patience},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(15);

/// Fetches a JSON document of at most `bytes_max` bytes from an address that the operator has set.
pub async fn fetch(client: &HttpClient, url: &str, bytes_max: usize) -> Result<Bytes, Failure> {
    let uri: Uri = url.parse().map_err(|error| Failure::Connect(format!("{url} is no URL: {error}")))?;
    let mut request = bare(Method::GET, uri, Full::new(Bytes::new()));
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    // Some publishers refuse callers without a name.
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("pixgate"));
    let mut patience = Patience::new(TOTAL_TIMEOUT, TOTAL_TIMEOUT, TOTAL_TIMEOUT);
    let response = patience.wait(client.pool(CONNECT_TIMEOUT).request(request)).await??;
    if !response.status().is_success() {
        return Err(Failure::Garbage(format!("{url} answered {}", response.status())));
    }
    Body::Http(HttpBody::new(response.into_body(), patience)).collect(bytes_max).await
}
