//! HTTP in: routes, extractors, middleware, and in [`error`] the one place that knows status codes.
//!
//! `api/` is what keys call, `admin/` what admins call, `site/` documents both, [`operations`] is for whoever runs the node.
//! Absent on purpose: decisions (see `pipeline` and `control`), queries.

pub mod access_log;
pub mod account;
pub mod admin;
pub mod api;
pub mod bench;
pub mod body;
pub mod error;
pub mod headers;
pub mod operations;
pub mod page;
pub mod request_id;
pub mod site;
pub mod views;

use actix_web::{HttpRequest, web};

use self::error::ApiError;

/// Everything but the benches' own routes.
pub fn configure(routes: &mut web::ServiceConfig) {
    routes
        .configure(api::configure)
        .configure(account::configure)
        .configure(admin::configure)
        .configure(operations::configure)
        .configure(site::configure);
}

/// The answer to a path nobody serves.
pub async fn not_found(request: HttpRequest) -> Result<&'static str, ApiError> {
    Err(ApiError::not_found(format!("there is no route {} {}; /docs lists all of them", request.method(), request.path())))
}
