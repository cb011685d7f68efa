//! One line a request, when the operator wants it. Paths only: a query may hold a key.

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web,
};

use crate::clock::Clock;

/// One of LiteLLM's routes takes a whole key in its path.
fn shown(path: &str) -> String {
    let holds_key = path.starts_with("/key/") && path["/key/".len()..].contains('/');
    if holds_key { "/key/…".to_owned() } else { path.to_owned() }
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

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn no_key_is_logged() {
        assert_eq!(shown("/key/sk-secret/regenerate"), "/key/…");
        assert_eq!(shown("/key/info"), "/key/info");
        assert_eq!(shown("/v1/key/x"), "/v1/key/x");
    }
}
