//! The paid routes of the OpenAI dialect.

use std::{convert::Infallible, rc::Rc};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue},
    },
    post, web,
};
use futures_util::stream;

use crate::{
    clock::Clock,
    dialect::{CallHead, Endpoint},
    domain::api_key::Scope,
    http::{
        body::{self, BodyLimits},
        error::ApiError,
        headers::{self, CallerReader},
        request_id,
    },
    pipeline::{self, Incoming, Outgoing, Pipeline, Relay},
};

const EVENT_STREAM: &str = "text/event-stream";

/// What a paid route works with.
type Parts = (web::Data<Rc<Pipeline>>, web::Data<CallerReader>, web::Data<Clock>, web::Data<BodyLimits>);

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
    paid(Endpoint::ChatCompletions, request, payload, parts).await
}

/// Completion
///
/// The older OpenAI text completion, streamed or whole.
#[utoipa::path(post, path = "/v1/completions", tag = "Models", security(("key" = [])),
    request_body(content = serde_json::Value, content_type = "application/json", description = "An OpenAI completion request"),
    responses((status = 200, description = "The completion, or its event stream"), (status = "4XX", description = "A refusal"), (status = "5XX", description = "A failure; nothing is charged")))]
#[post("/v1/completions")]
pub async fn completions(request: HttpRequest, payload: web::Payload, parts: Parts) -> Result<HttpResponse, ApiError> {
    paid(Endpoint::Completions, request, payload, parts).await
}

/// Embeddings
#[utoipa::path(post, path = "/v1/embeddings", tag = "Models", security(("key" = [])),
    request_body(content = serde_json::Value, content_type = "application/json", description = "An OpenAI embedding request"),
    responses((status = 200, description = "The embeddings"), (status = "4XX", description = "A refusal"), (status = "5XX", description = "A failure; nothing is charged")))]
#[post("/v1/embeddings")]
pub async fn embeddings(request: HttpRequest, payload: web::Payload, parts: Parts) -> Result<HttpResponse, ApiError> {
    paid(Endpoint::Embeddings, request, payload, parts).await
}

async fn paid(
    endpoint: Endpoint,
    request: HttpRequest,
    payload: web::Payload,
    (pipeline, reader, clock, limits): Parts,
) -> Result<HttpResponse, ApiError> {
    let arrived_at = clock.now();
    let answer = async {
        let presented = reader.read(&request, Scope::Inference)?;
        let idempotency_key = headers::idempotency_key(request.headers())?.map(str::to_owned);
        if !body::is_small(&request) {
            // Nobody unknown gets a large body read, parsed and counted.
            pipeline.accounts.authenticate(&presented).await?;
        }
        let body = body::read(&request, payload, **limits).await?;
        let ids = request_id::of(&request);
        let head = CallHead { drop_unsupported: headers::flag(request.headers(), "x-pixgate-drop-unsupported"), ..CallHead::new(endpoint) };
        let incoming = Incoming { head, body, presented, id: ids.own, request_id: ids.shown, idempotency_key, arrived_at };
        Ok(pipeline::run(&pipeline, incoming).await?)
    };
    match answer.await {
        Ok(outgoing) => Ok(respond(outgoing)),
        Err(error) => {
            let error: ApiError = error;
            pipeline.metrics.refused(error.code);
            Err(error)
        }
    }
}

fn respond(outgoing: Outgoing) -> HttpResponse {
    match outgoing {
        Outgoing::Whole { facts, status, content_type, body } => {
            let mut response = HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::OK)).body(body);
            if let Ok(value) = HeaderValue::from_str(&content_type) {
                response.headers_mut().insert(CONTENT_TYPE, value);
            }
            if content_type == EVENT_STREAM {
                response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            }
            headers::insert_facts(response.headers_mut(), &facts);
            response
        }
        Outgoing::Stream { facts, content_type, relay } => {
            let chunks =
                stream::unfold(
                    relay,
                    |mut relay: Relay| async move { relay.next().await.map(|chunk| (Ok::<_, Infallible>(chunk), relay)) },
                );
            let mut response = HttpResponse::Ok().streaming(chunks);
            let map = response.headers_mut();
            map.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            map.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            // Proxies that buffer would turn a stream into a wait.
            map.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
            headers::insert_facts(map, &facts);
            response
        }
    }
}
