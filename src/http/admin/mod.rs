//! The admin API under `/admin/v1`, for keys of scope `admin`: one file an area, each a thin shell around its use case.
//!
//! Absent on purpose: rules and writes (see `control`), statuses of errors (see `http::error`).

pub mod accounts;
pub mod catalog;
pub mod credits;
pub(super) mod extract;
pub mod keys;
pub mod node;
pub mod usage;
pub mod views;

use actix_web::{
    HttpRequest, HttpResponse, Route,
    http::{
        StatusCode,
        header::{ALLOW, HeaderValue},
    },
    web,
};

use super::{error::ApiError, headers::Audience, page::Page, request_id};
use crate::{control, dialect::Dialect};

pub fn configure(routes: &mut web::ServiceConfig) {
    routes
        .configure(accounts::configure)
        .configure(credits::configure)
        .configure(keys::configure)
        .configure(catalog::configure)
        .configure(usage::configure)
        .configure(node::configure);
}

/// The answer to methods that a path does not have.
pub(super) fn only(methods: &'static str) -> Route {
    web::to(move |request: HttpRequest| async move {
        let message = format!("{} does not work on {}; use {methods}", request.method(), request.path());
        let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
        let mut response: HttpResponse = error.respond(&request_id::of(&request).shown, Audience { dialect: Dialect::OpenAi, now: 0 });
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
        response
    })
}

fn list<T, V: From<T> + serde::Serialize>(page: control::Page<T>) -> HttpResponse {
    HttpResponse::Ok().json(Page::<V>::of(page))
}
