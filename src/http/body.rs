//! Request bodies: bounded in size and in time.

use std::time::Duration;

use actix_web::{
    HttpRequest,
    http::{
        StatusCode,
        header::{CONTENT_ENCODING, CONTENT_LENGTH},
    },
    web,
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::error::ApiError;
use crate::domain::refusal::Refusal;

#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    pub bytes_max: usize,
    /// From the end of the headers to the end of the body.
    pub timeout: Duration,
}

/// Bodies up to this size cost less to read than asking for the caller's account first.
const SMALL_BYTES_MAX: u64 = 64 * 1024;

/// Whether the body is announced and small.
pub fn is_small(request: &HttpRequest) -> bool {
    announced(request).is_some_and(|length| length <= SMALL_BYTES_MAX)
}

fn announced(request: &HttpRequest) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a whole body, or says why not.
pub async fn read(request: &HttpRequest, payload: web::Payload, limits: BodyLimits) -> Result<Bytes, ApiError> {
    let too_large = || ApiError::from(Refusal::TooLarge { limit_bytes: limits.bytes_max });
    if announced(request).is_some_and(|length| length > limits.bytes_max as u64) {
        return Err(too_large());
    }
    if let Some(encoding) =
        request.headers().get(CONTENT_ENCODING).filter(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        let encoding = String::from_utf8_lossy(encoding.as_bytes());
        let message = format!("the body has the Content-Encoding '{encoding}', and compressed bodies are not read here; send it plain");
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", message));
    }
    match tokio::time::timeout(limits.timeout, gather(payload, limits.bytes_max)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(Unread::TooLarge)) => Err(too_large()),
        Ok(Err(Unread::Broken(error))) => Err(ApiError::invalid(format!("the request body could not be read: {error}"), None)),
        Err(_) => {
            let message = format!("the request body did not arrive within {} s", limits.timeout.as_secs());
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "invalid_request", message))
        }
    }
}

enum Unread {
    TooLarge,
    Broken(String),
}

async fn gather(mut payload: web::Payload, bytes_max: usize) -> Result<Bytes, Unread> {
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| Unread::Broken(error.to_string()))?;
        if first.len().max(joined.len()) + chunk.len() > bytes_max {
            return Err(Unread::TooLarge);
        }
        // Most bodies come in one piece and are not copied.
        if first.is_empty() && joined.is_empty() {
            first = chunk;
            continue;
        }
        if joined.is_empty() {
            joined.extend_from_slice(&first);
            first = Bytes::new();
        }
        joined.extend_from_slice(&chunk);
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}
