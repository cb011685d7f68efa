//! What documents this gateway: `/openapi.json` for programs, `/docs` for people. Both are made from the handlers' own annotations.
//!
//! Absent on purpose: anything fetched from elsewhere, scripts, and pages for account owners.

mod docs;
mod methods;
mod openapi;
mod schema;

use std::sync::LazyLock;

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
    web,
};

pub use methods::methods_of;
pub use openapi::openapi_json;

use super::admin::only;

/// The page needs its own style and nothing else.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Short, because an upgrade changes both.
const CACHE_FOR: &str = "public, max-age=300";

static DOCUMENT: LazyLock<String> = LazyLock::new(openapi_json);
static PAGE: LazyLock<String> = LazyLock::new(|| docs::page(&openapi::document()));

pub fn configure(routes: &mut web::ServiceConfig) {
    let document = web::resource("/openapi.json").route(web::get().to(serve_document));
    let page = web::resource("/docs").route(web::get().to(serve_page));
    routes.service(document.default_service(only("GET"))).service(page.default_service(only("GET")));
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "Operations", responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
async fn serve_document() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header((CACHE_CONTROL, CACHE_FOR))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(DOCUMENT.as_str())
}

/// The API reference to read
#[utoipa::path(get, path = "/docs", tag = "Operations", responses((status = 200, description = "A page", content_type = "text/html")))]
async fn serve_page() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CACHE_CONTROL, CACHE_FOR))
        .insert_header((CONTENT_SECURITY_POLICY, CONTENT_POLICY))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(PAGE.as_str())
}
