//! The routes of Anthropic's dialect.

use actix_web::{HttpRequest, HttpResponse, http::header::HeaderMap, post, web};
use serde::Serialize;

use super::paid::{Parts, paid};
use crate::{
    dialect::{CallHead, Endpoint},
    domain::api_key::Scope,
    http::{body, error::ApiError},
    pipeline,
};

/// Message
///
/// Anthropic's wire format, streamed (`stream: true`) or whole, in the versions 2023-06-01 and 2026-10-21. Models of upstreams that speak
/// another format work, too: what cannot be translated is refused, or dropped and named in `x-pixgate-dropped`.
/// `usage` carries `cost` (credits) and `cost_micros`, in a stream that of `message_delta`.
#[utoipa::path(post, path = "/v1/messages", tag = "Models", security(("key" = [])),
    params(("anthropic-version" = Option<String>, Header, description = "A date; 2023-06-01 when missing"),
        ("anthropic-beta" = Option<String>, Header, description = "Forwarded to upstreams that speak this format, ignored by others"),
        ("x-pixgate-drop-unsupported" = Option<bool>, Header, description = "Drop what the upstream cannot express instead of refusing the call")),
    request_body(content = serde_json::Value, content_type = "application/json", description = "An Anthropic message request"),
    responses((status = 200, description = "The message, or its event stream"),
        (status = "4XX", description = "A refusal, in Anthropic's error shape"), (status = "5XX", description = "A failure; nothing is charged")))]
#[post("/v1/messages")]
pub async fn messages(request: HttpRequest, payload: web::Payload, parts: Parts) -> Result<HttpResponse, ApiError> {
    paid(head(request.headers()), request, payload, parts).await
}

/// Tokens of a message
///
/// Our own count of the input, for free. Takes whatever a message takes, and needs no `max_tokens`.
#[utoipa::path(post, path = "/v1/messages/count_tokens", tag = "Models", security(("key" = [])),
    request_body(content = serde_json::Value, content_type = "application/json", description = "An Anthropic message request, with or without `max_tokens`"),
    responses((status = 200, body = TokenCount), (status = "4XX", description = "A refusal, in Anthropic's error shape")))]
#[post("/v1/messages/count_tokens")]
pub async fn count_tokens(
    request: HttpRequest,
    payload: web::Payload,
    (pipeline, reader, _, limits): Parts,
) -> Result<HttpResponse, ApiError> {
    let presented = reader.read(&request, Scope::Inference)?;
    let caller = pipeline.accounts.authenticate(&presented).await?;
    let body = body::read(&request, payload, **limits).await?;
    let head = CallHead { counts_only: true, ..head(request.headers()) };
    let input_tokens = pipeline::count(&pipeline, &caller, head, body).await?;
    Ok(HttpResponse::Ok().json(TokenCount { input_tokens }))
}

#[derive(Serialize, utoipa::ToSchema)]
struct TokenCount {
    /// Rather too high than too low.
    input_tokens: u64,
}

fn head(headers: &HeaderMap) -> CallHead {
    // A version that is no text is as malformed as any other, and refused where versions are read.
    let version = headers.get("anthropic-version").map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned());
    let betas: Vec<&str> = headers.get_all("anthropic-beta").filter_map(|value| value.to_str().ok()).collect();
    let betas = Some(betas.join(",")).filter(|betas| !betas.is_empty());
    CallHead { version, betas, ..CallHead::new(Endpoint::Messages) }
}
