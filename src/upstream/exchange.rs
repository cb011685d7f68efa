//! One small request with its whole answer, whatever its status: for servers that are asked now and then.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;

use super::{
    Body, Failure, HttpClient,
    body::{HttpBody, Patience},
};

/// How much is taken.
#[derive(Debug, Clone, Copy)]
pub struct ExchangeLimits {
    /// For the whole exchange, connecting included.
    pub timeout: Duration,
    pub bytes_max: usize,
}

/// Sends a request and reads the answer to its end. Follows no redirects.
pub async fn exchange(client: &HttpClient, request: Request<Bytes>, limits: ExchangeLimits) -> Result<Response<Bytes>, Failure> {
    let mut patience = Patience::new(limits.timeout, limits.timeout, limits.timeout);
    let response = patience.wait(client.pool(limits.timeout).request(request.map(Full::new))).await??;
    let (head, body) = response.into_parts();
    let body = Body::Http(HttpBody::new(body, patience)).collect(limits.bytes_max).await?;
    Ok(Response::from_parts(head, body))
}
