//! The pages that links in mails about privacy open: a button each, because programs look at links before people do.

use actix_web::{HttpRequest, HttpResponse, web};

use super::{
    owner::check_origin,
    pages::{TokenQuery, button_page, said},
    privacy::zip,
    visitor::Visitor,
};
use crate::{
    control::privacy,
    http::{admin::only, error::ApiError},
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let page = |path: &str| web::resource(path.to_owned()).default_service(only("GET, POST"));
    routes
        .service(page("/privacy/confirm").route(web::get().to(confirm_page)).route(web::post().to(confirm_form)))
        .service(page("/privacy/keep").route(web::get().to(keep_page)).route(web::post().to(keep_form)))
        .service(page("/privacy/download").route(web::get().to(download_page)).route(web::post().to(download_form)));
}

async fn confirm_page(query: web::Query<TokenQuery>) -> HttpResponse {
    button_page("Confirm your privacy request", "/privacy/confirm", &query.token, "Confirm")
}

async fn confirm_form(request: HttpRequest, visitor: Visitor, form: web::Form<TokenQuery>) -> Result<HttpResponse, ApiError> {
    check_origin(&request, &visitor.control)?;
    let token = form.into_inner().token;
    let outcome = visitor.control.to_the_end(|control| async move { privacy::confirm(&control, &token).await }).await;
    Ok(said(outcome.map(|_| "Your request is confirmed. What comes next arrives by mail.".to_owned()).map_err(ApiError::from)))
}

async fn keep_page(query: web::Query<TokenQuery>) -> HttpResponse {
    button_page("Keep your account", "/privacy/keep", &query.token, "Keep the account")
}

async fn keep_form(request: HttpRequest, visitor: Visitor, form: web::Form<TokenQuery>) -> Result<HttpResponse, ApiError> {
    check_origin(&request, &visitor.control)?;
    let token = form.into_inner().token;
    let outcome = visitor.control.to_the_end(|control| async move { privacy::cancel(&control, &token).await }).await;
    Ok(said(outcome.map(|_| "Your account is kept. Sign in to use it.".to_owned()).map_err(ApiError::from)))
}

async fn download_page(query: web::Query<TokenQuery>) -> HttpResponse {
    button_page("Download your data", "/privacy/download", &query.token, "Download")
}

async fn download_form(request: HttpRequest, visitor: Visitor, form: web::Form<TokenQuery>) -> Result<HttpResponse, ApiError> {
    check_origin(&request, &visitor.control)?;
    let token = form.into_inner().token;
    let outcome = visitor.control.to_the_end(|control| async move { privacy::archive_by_token(&control, &token).await }).await;
    match outcome {
        Ok(content) => Ok(zip(content)),
        Err(error) => Ok(said(Err(error.into()))),
    }
}
