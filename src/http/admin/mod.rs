//! The admin API under `/admin/v1`, for keys of scope `admin`: one file an area, each a thin shell around its use case.
//!
//! Absent on purpose: rules and writes (see `control`), statuses of errors (see `http::error`).

pub mod accounts;
pub mod catalog;
pub mod content;
pub mod credits;
pub mod domains;
pub(in crate::http) mod extract;
pub mod keys;
pub mod mails;
pub mod node;
pub mod people;
pub mod policies;
pub mod privacy;
pub mod screening;
pub mod tickets;
pub mod usage;
pub mod views;

use actix_web::{HttpRequest, HttpResponse, Route, web};

use super::{error::ApiError, page::Page};
use crate::control;

pub fn configure(routes: &mut web::ServiceConfig) {
    routes
        .configure(accounts::configure)
        .configure(content::configure)
        .configure(credits::configure)
        .configure(domains::configure)
        .configure(keys::configure)
        .configure(catalog::configure)
        .configure(mails::configure)
        .configure(usage::configure)
        .configure(node::configure)
        .configure(people::configure)
        .configure(policies::configure)
        .configure(privacy::configure)
        .configure(screening::configure)
        .configure(tickets::configure);
}

/// The answer to methods that a path does not have.
pub(in crate::http) fn only(methods: &'static str) -> Route {
    web::to(move |request: HttpRequest| async move { Err::<&str, _>(ApiError::method_not_allowed(&request, methods)) })
}

fn list<T, V: From<T> + serde::Serialize>(page: control::Page<T>) -> HttpResponse {
    HttpResponse::Ok().json(Page::<V>::of(page))
}
