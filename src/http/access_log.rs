//! One line a request, when the operator wants it. Paths only: a query may hold a key.

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web,
};

use crate::{clock::Clock, telemetry::redact::scrub};

/// LiteLLM's routes take whole keys in their paths.
fn shown(path: &str) -> String {
    if path.starts_with("/key/") { scrub(path) } else { path.to_owned() }
}

pub async fn log<B: MessageBody + 'static>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    let clock = request.app_data::<web::Data<Clock>>().map(|clock| clock.get_ref().clone());
    let started_at = clock.as_ref().map_or(0, Clock::now);
    let (method, path) = (request.method().clone(), shown(request.path()));
    let response = next.call(request).await?;
    let took_us = clock.as_ref().map_or(0, Clock::now) - started_at;
    let request_id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    tracing::info!(http.method = %method, http.path = %path, http.status = response.status().as_u16(), request.id = request_id, took_us, "request");
    Ok(response)
}
