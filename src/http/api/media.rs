//! The paid routes of OpenAI's dialect that are neither chat nor embeddings, and rerank, which everybody copied from Jina and Cohere.

use actix_web::{HttpRequest, HttpResponse, http::header::CONTENT_TYPE, post, web};

use super::paid::{Parts, paid};
use crate::{
    dialect::{CallHead, Endpoint},
    http::error::ApiError,
};

/// Moderation
///
/// `input` is a text, texts, or parts with text and images. Priced per request, or by tokens (our own count when the upstream reports none).
#[utoipa::path(post, path = "/v1/moderations", tag = "Models", security(("key" = [])),
    request_body(content = serde_json::Value, content_type = "application/json", description = "An OpenAI moderation request"),
    responses((status = 200, description = "The verdicts"), (status = "4XX", description = "A refusal"), (status = "5XX", description = "A failure; nothing is charged")))]
#[post("/v1/moderations")]
pub async fn moderations(request: HttpRequest, payload: web::Payload, parts: Parts) -> Result<HttpResponse, ApiError> {
    paid(CallHead::new(Endpoint::Moderations), request, payload, parts).await
}

/// Rerank
///
/// `model`, `query`, `documents` (texts, or objects with a `text`), `top_n`, `return_documents`. Upstreams that speak Cohere's format work, too.
#[utoipa::path(post, path = "/v1/rerank", tag = "Models", security(("key" = [])),
    request_body(content = serde_json::Value, content_type = "application/json", description = "A rerank request in Jina's shape"),
    responses((status = 200, description = "`results` with `index` and `relevance_score`, best first"), (status = "4XX", description = "A refusal"), (status = "5XX", description = "A failure; nothing is charged")))]
#[post("/v1/rerank")]
pub async fn rerank(request: HttpRequest, payload: web::Payload, parts: Parts) -> Result<HttpResponse, ApiError> {
    paid(CallHead::new(Endpoint::Rerank), request, payload, parts).await
}

/// Make images
///
/// Priced by the image, or by the tokens the upstream reports. `stream: true` sends partial images where the upstream can.
#[utoipa::path(post, path = "/v1/images/generations", tag = "Models", security(("key" = [])),
    request_body(content = serde_json::Value, content_type = "application/json", description = "An OpenAI image request"),
    responses((status = 200, description = "The images, or their event stream"), (status = "4XX", description = "A refusal"), (status = "5XX", description = "A failure; nothing is charged")))]
#[post("/v1/images/generations")]
pub async fn image_generations(request: HttpRequest, payload: web::Payload, parts: Parts) -> Result<HttpResponse, ApiError> {
    paid(CallHead::new(Endpoint::ImageGenerations), request, payload, parts).await
}

/// Edit images
#[utoipa::path(post, path = "/v1/images/edits", tag = "Models", security(("key" = [])),
    request_body(content = Vec<u8>, content_type = "multipart/form-data", description = "The form of OpenAI's image edits: `model`, `prompt`, `image` or several `image[]`, `mask`, `n` …"),
    responses((status = 200, description = "The images, or their event stream"), (status = "4XX", description = "A refusal"), (status = "5XX", description = "A failure; nothing is charged")))]
#[post("/v1/images/edits")]
pub async fn image_edits(request: HttpRequest, payload: web::Payload, parts: Parts) -> Result<HttpResponse, ApiError> {
    paid(form(Endpoint::ImageEdits, &request), request, payload, parts).await
}

/// Speak
///
/// Priced by the character, or by tokens. The sound comes as the upstream sends it; what it cost stands in `x-pixgate-cost-micros`. With
/// `stream_format: "sse"` it comes in events, the last of which carries the usage.
#[utoipa::path(post, path = "/v1/audio/speech", tag = "Models", security(("key" = [])),
    request_body(content = serde_json::Value, content_type = "application/json", description = "An OpenAI speech request"),
    responses((status = 200, description = "The sound, or its event stream"), (status = "4XX", description = "A refusal"), (status = "5XX", description = "A failure; nothing is charged")))]
#[post("/v1/audio/speech")]
pub async fn speech(request: HttpRequest, payload: web::Payload, parts: Parts) -> Result<HttpResponse, ApiError> {
    paid(CallHead::new(Endpoint::Speech), request, payload, parts).await
}

/// Transcribe
///
/// Priced by the second or by tokens, as the upstream reports them. Without a report the length of a WAV file is read from the file, and
/// that of other recordings is estimated from their size.
#[utoipa::path(post, path = "/v1/audio/transcriptions", tag = "Models", security(("key" = [])),
    request_body(content = Vec<u8>, content_type = "multipart/form-data", description = "The form of OpenAI's transcriptions: `model`, `file`, `response_format`, `stream` …"),
    responses((status = 200, description = "The transcript as JSON, text or subtitles, or its event stream"), (status = "4XX", description = "A refusal"), (status = "5XX", description = "A failure; nothing is charged")))]
#[post("/v1/audio/transcriptions")]
pub async fn transcriptions(request: HttpRequest, payload: web::Payload, parts: Parts) -> Result<HttpResponse, ApiError> {
    paid(form(Endpoint::Transcriptions, &request), request, payload, parts).await
}

/// Translate a recording into English
#[utoipa::path(post, path = "/v1/audio/translations", tag = "Models", security(("key" = [])),
    request_body(content = Vec<u8>, content_type = "multipart/form-data", description = "The form of OpenAI's translations: `model`, `file`, `response_format` …"),
    responses((status = 200, description = "The translation as JSON, text or subtitles"), (status = "4XX", description = "A refusal"), (status = "5XX", description = "A failure; nothing is charged")))]
#[post("/v1/audio/translations")]
pub async fn translations(request: HttpRequest, payload: web::Payload, parts: Parts) -> Result<HttpResponse, ApiError> {
    paid(form(Endpoint::Translations, &request), request, payload, parts).await
}

/// The boundary of a form stands in its content type.
fn form(endpoint: Endpoint, request: &HttpRequest) -> CallHead {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    CallHead { content_type, ..CallHead::new(endpoint) }
}
