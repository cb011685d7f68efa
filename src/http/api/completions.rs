//! The paid routes of the OpenAI dialect.

use actix_web::{HttpRequest, HttpResponse, post, web};

use super::paid::{Parts, paid};
use crate::{
    dialect::{CallHead, Endpoint},
    http::error::ApiError,
};

/// Chat completion
///
/// The OpenAI wire format, streamed (`stream: true`) or whole. Tools, images and every other field pass to the upstream untouched.
/// `usage` carries `cost` (credits) and `cost_micros`.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "Models", security(("key" = [])),
    request_body(content = serde_json::Value, content_type = "application/json", description = "An OpenAI chat completion request"),
    responses((status = 200, description = "The completion, or its event stream"), (status = 400, description = "`invalid_request`"),
        (status = 401, description = "`invalid_api_key`"), (status = 402, description = "`insufficient_credits`"),
        (status = 403, description = "the key or account may not do this"), (status = 404, description = "`model_not_found`"),
        (status = 409, description = "`idempotency_conflict`"), (status = 413, description = "`request_too_large`"),
        (status = 429, description = "`rate_limit_exceeded`, with `limit` and `scope`"), (status = 502, description = "`upstream_error`"),
        (status = 503, description = "`overloaded` or `draining`"), (status = 504, description = "`upstream_timeout`")))]
#[post("/v1/chat/completions")]
pub async fn chat_completions(request: HttpRequest, payload: web::Payload, parts: Parts) -> Result<HttpResponse, ApiError> {
    paid(CallHead::new(Endpoint::ChatCompletions), request, payload, parts).await
}

/// Completion
///
/// The older OpenAI text completion, streamed or whole.
#[utoipa::path(post, path = "/v1/completions", tag = "Models", security(("key" = [])),
    request_body(content = serde_json::Value, content_type = "application/json", description = "An OpenAI completion request"),
    responses((status = 200, description = "The completion, or its event stream"), (status = "4XX", description = "A refusal"), (status = "5XX", description = "A failure; nothing is charged")))]
#[post("/v1/completions")]
pub async fn completions(request: HttpRequest, payload: web::Payload, parts: Parts) -> Result<HttpResponse, ApiError> {
    paid(CallHead::new(Endpoint::Completions), request, payload, parts).await
}

/// Embeddings
#[utoipa::path(post, path = "/v1/embeddings", tag = "Models", security(("key" = [])),
    request_body(content = serde_json::Value, content_type = "application/json", description = "An OpenAI embedding request"),
    responses((status = 200, description = "The embeddings"), (status = "4XX", description = "A refusal"), (status = "5XX", description = "A failure; nothing is charged")))]
#[post("/v1/embeddings")]
pub async fn embeddings(request: HttpRequest, payload: web::Payload, parts: Parts) -> Result<HttpResponse, ApiError> {
    paid(CallHead::new(Endpoint::Embeddings), request, payload, parts).await
}
