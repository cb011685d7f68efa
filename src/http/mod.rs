//! HTTP in: routes, extractors, middleware, and in [`error`] the one place that knows status codes.
//!
//! `api/` is what keys call, `admin/` what admins call, `compat/` what scripts written for other gateways call, `hooks/` what other services call, `site/` documents them, [`operations`] is for whoever runs the node.
//! Absent on purpose: decisions (see `pipeline` and `control`), queries.

pub mod access_log;
pub mod account;
pub mod admin;
pub mod api;
pub mod attachments;
pub mod bench;
pub mod body;
pub mod compat;
mod content;
pub mod download;
pub mod error;
pub mod headers;
pub mod hooks;
pub mod operations;
pub mod page;
pub mod parts;
pub mod provider_keys;
pub mod request_id;
pub mod safe_headers;
pub mod site;
pub mod views;

use actix_web::{HttpRequest, web};

use self::error::ApiError;

/// Everything but the benches' own routes.
pub fn configure(routes: &mut web::ServiceConfig) {
    let query =
        web::QueryConfig::default().error_handler(|error, _| ApiError::invalid(format!("the query of the URL: {error}"), None).into());
    routes.app_data(query);
    routes
        .configure(api::configure)
        .configure(account::configure)
        .configure(compat::configure)
        .configure(provider_keys::configure)
        .configure(hooks::configure)
        .configure(admin::configure)
        .configure(operations::configure)
        .configure(site::configure);
}

/// The answer to a path nobody serves.
pub async fn not_found(request: HttpRequest) -> Result<&'static str, ApiError> {
    if let Some(methods) = site::methods_of(request.path()) {
        return Err(ApiError::method_not_allowed(&request, methods));
    }
    Err(ApiError::not_found(format!("there is no route {} {}; /docs lists all of them", request.method(), request.path())))
}
