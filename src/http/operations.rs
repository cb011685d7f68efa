//! For whoever runs the node: is it alive, is it ready, what does it measure.

use std::rc::Rc;

use actix_web::{HttpResponse, get, web};
use serde_json::json;

use crate::{
    http::error::ApiError,
    pipeline::Pipeline,
    telemetry::metrics::{self, Metrics},
};

pub fn configure(routes: &mut web::ServiceConfig) {
    routes.service(healthz).service(readyz).service(metrics_page);
}

/// Is the process alive?
#[utoipa::path(get, path = "/healthz", tag = "Operations", responses((status = 200, description = "It is")))]
#[get("/healthz")]
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// Can this node serve calls?
///
/// Checks the database, this node's lease registration and whether it is shutting down.
#[utoipa::path(get, path = "/readyz", tag = "Operations", responses((status = 200, description = "It can"), (status = 503, description = "It cannot; the body says why")))]
#[get("/readyz")]
pub async fn readyz(pipeline: web::Data<Rc<Pipeline>>) -> HttpResponse {
    let standing = pipeline.journal.standing();
    let database = match pipeline.db.ping().await {
        Ok(()) => "ok",
        Err(error) => {
            tracing::warn!(error = %error, "not ready: the database does not answer");
            "unreachable"
        }
    };
    let ledger = match (standing.failing_since(), standing.valid_until() > pipeline.clock.now()) {
        (None, true) => "ok",
        (Some(_), true) => "captures wait for the database",
        (_, false) => "this node's leases have expired",
    };
    let draining = pipeline.drain.is_draining();
    let ready = database == "ok" && ledger == "ok" && !draining;
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response
        .json(json!({ "status": if ready { "ready" } else { "not ready" }, "database": database, "ledger": ledger, "draining": draining }))
}

/// Figures for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "Operations", responses((status = 200, description = "OpenMetrics text", content_type = "application/openmetrics-text")))]
#[get("/metrics")]
pub async fn metrics_page(metrics: web::Data<Metrics>, pipeline: web::Data<Rc<Pipeline>>) -> Result<HttpResponse, ApiError> {
    let spool = pipeline.journal.spool();
    let queued = spool.depth();
    metrics.journal_queue(queued);
    // Every open call keeps a place in the queue for its capture.
    metrics.holds_open(spool.slots_taken().saturating_sub(queued));
    let oldest = spool.oldest().map_or(0, |at| (pipeline.clock.now() - at).max(0));
    metrics.journal_lag(std::time::Duration::from_micros(oldest.cast_unsigned()));
    let page = metrics.render().map_err(|error| {
        tracing::error!(error = %error, "metrics could not be rendered");
        ApiError::new(actix_web::http::StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "metrics could not be rendered")
    })?;
    Ok(HttpResponse::Ok().content_type(metrics::CONTENT_TYPE).body(page))
}
