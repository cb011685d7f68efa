//! The pages that links in mails open. A page only shows a button: programs that look at links before people do must not use them up.
//!
//! Plain forms, no scripts. A form is taken from our own pages only.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE},
    },
    web,
};
use serde::Deserialize;

use super::{
    owner::{check_origin, session_cookie},
    session::{device_cookie, escape},
    visitor::Visitor,
};
use crate::{
    control::{
        members, owner, people,
        policies::{self, PolicyDocument},
    },
    domain::{account::Account, member::Role},
    http::{admin::only, error::ApiError, views::rfc3339},
    telemetry::redact::Secret,
};

const CONTENT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

pub fn configure(routes: &mut web::ServiceConfig) {
    let page = |path: &str| web::resource(path.to_owned()).default_service(only("GET, POST"));
    routes
        .service(page("/auth/verify").route(web::get().to(verify_page)).route(web::post().to(verify_form)))
        .service(page("/auth/email").route(web::get().to(email_page)).route(web::post().to(email_form)))
        .service(page("/auth/invitation").route(web::get().to(invitation_page)).route(web::post().to(invitation_form)))
        .service(page("/auth/reset").route(web::get().to(reset_page)).route(web::post().to(reset_form)))
        .service(page("/auth/forgot").route(web::get().to(forgot_page)).route(web::post().to(forgot_form)))
        .service(web::resource("/policies/{document}").route(web::get().to(policy_page)).default_service(only("GET")));
}

#[derive(Deserialize)]
pub(super) struct TokenQuery {
    #[serde(default)]
    pub(super) token: String,
}

#[derive(Deserialize)]
struct ResetForm {
    token: String,
    password: Secret,
}

#[derive(Deserialize)]
struct EmailForm {
    email: String,
}

async fn verify_page(query: web::Query<TokenQuery>) -> HttpResponse {
    button_page("Verify your e-mail address", "/auth/verify", &query.token, "Verify")
}

async fn verify_form(request: HttpRequest, visitor: Visitor, form: web::Form<TokenQuery>) -> Result<HttpResponse, ApiError> {
    check_origin(&request, &visitor.control)?;
    let token = form.into_inner().token;
    let outcome = visitor.control.to_the_end(|control| async move { people::verify(&control, &token).await }).await;
    Ok(said(outcome.map(|account| format!("{} is verified. Your keys work now.", account.email)).map_err(ApiError::from)))
}

async fn email_page(query: web::Query<TokenQuery>) -> HttpResponse {
    button_page("Confirm your new e-mail address", "/auth/email", &query.token, "Confirm")
}

async fn email_form(request: HttpRequest, visitor: Visitor, form: web::Form<TokenQuery>) -> Result<HttpResponse, ApiError> {
    check_origin(&request, &visitor.control)?;
    let Visitor { control, visitor } = visitor;
    let token = form.into_inner().token;
    let outcome = control.to_the_end(|control| async move { people::confirm_email(&control, &visitor, &token).await }).await;
    Ok(said(outcome.map(|account| format!("{} is the address of your account now.", account.email)).map_err(ApiError::from)))
}

async fn invitation_page(query: web::Query<TokenQuery>) -> HttpResponse {
    let hint = "<p>Sign in first, with the address that this invitation was sent to.</p>";
    let fields = format!("{hint}{}", hidden(&query.token));
    form_page("Invitation to an account", "/auth/invitation", &fields, "Accept")
}

/// The session cookie is not sent along with forms of other sites, and the origin is checked besides: no token is needed here.
async fn invitation_form(request: HttpRequest, visitor: Visitor, form: web::Form<TokenQuery>) -> Result<HttpResponse, ApiError> {
    check_origin(&request, &visitor.control)?;
    let session_token = session_cookie(&request).map(|cookie| cookie.value().to_owned()).unwrap_or_default();
    let token = form.into_inner().token;
    let work = |control| async move {
        let owner = owner::of_session(&control, &session_token, None).await?;
        members::accept(&control, &owner, &token).await
    };
    let outcome = visitor.control.to_the_end(work).await;
    let told = |(account, role): (Account, Role)| format!("You may act for the account of {} now, as {}.", account.email, role.as_str());
    Ok(said(outcome.map(told).map_err(ApiError::from)))
}

async fn reset_page(query: web::Query<TokenQuery>) -> HttpResponse {
    let field = "<p><label>New password<br><input type=\"password\" name=\"password\" minlength=\"10\" maxlength=\"128\" \
                 autocomplete=\"new-password\" required></label></p>";
    form_page("Set a new password", "/auth/reset", &format!("{}{field}", hidden(&query.token)), "Set password")
}

async fn reset_form(request: HttpRequest, visitor: Visitor, form: web::Form<ResetForm>) -> Result<HttpResponse, ApiError> {
    check_origin(&request, &visitor.control)?;
    let Visitor { control, visitor } = visitor;
    let form = form.into_inner();
    let work = |control| async move { people::reset(&control, &visitor, &form.token, form.password.expose()).await };
    let outcome = control.to_the_end(work).await;
    let device = outcome.as_ref().ok().map(|reset| reset.device.clone());
    let mut page =
        said(outcome.map(|_| "Your password is new. Every session has ended; sign in with it.".to_owned()).map_err(ApiError::from));
    if let Some(device) = device {
        page.add_cookie(&device_cookie(&control, device)).map_err(|error| ApiError::invalid(format!("the cookie: {error}"), None))?;
    }
    Ok(page)
}

async fn forgot_page() -> HttpResponse {
    let field = "<p><label>E-mail address<br><input type=\"email\" name=\"email\" autocomplete=\"email\" required></label></p>";
    form_page("Forgotten password", "/auth/forgot", field, "Send a link")
}

async fn forgot_form(request: HttpRequest, visitor: Visitor, form: web::Form<EmailForm>) -> Result<HttpResponse, ApiError> {
    check_origin(&request, &visitor.control)?;
    let Visitor { control, visitor } = visitor;
    let email = form.into_inner().email;
    let outcome = control.to_the_end(|control| async move { people::forgot(&control, &visitor, &email).await }).await;
    let message = "If there is an account with this address, a mail with a link is on its way.".to_owned();
    Ok(said(outcome.map(|()| message).map_err(ApiError::from)))
}

#[derive(Deserialize)]
struct VersionQuery {
    version: Option<String>,
}

/// The terms or the privacy policy to read: the version in force, or the one that is named.
async fn policy_page(visitor: Visitor, document: web::Path<PolicyDocument>, query: web::Query<VersionQuery>) -> HttpResponse {
    let found = policies::read(&visitor.control, *document, query.version.as_deref()).await.map_err(ApiError::from);
    match found {
        Err(error) => said(Err(error)),
        Ok(policy) => {
            let facts = format!("Version {}, in force from {}", policy.version, rfc3339(policy.effective_at));
            let content = format!("<p>{}</p><article style=\"white-space:pre-wrap\">{}</article>", escape(&facts), escape(&policy.body));
            page(StatusCode::OK, document.title(), &content)
        }
    }
}

fn hidden(token: &str) -> String {
    format!("<input type=\"hidden\" name=\"token\" value=\"{}\">", escape(token))
}

pub(super) fn button_page(title: &str, action: &str, token: &str, button: &str) -> HttpResponse {
    form_page(title, action, &hidden(token), button)
}

fn form_page(title: &str, action: &str, fields: &str, button: &str) -> HttpResponse {
    page(
        StatusCode::OK,
        title,
        &format!("<form method=\"post\" action=\"{action}\">{fields}<p><button type=\"submit\">{button}</button></p></form>"),
    )
}

pub(super) fn said(outcome: Result<String, ApiError>) -> HttpResponse {
    match outcome {
        Ok(message) => page(StatusCode::OK, "Done", &format!("<p>{}</p>", escape(&message))),
        Err(error) => page(error.status, "That did not work", &format!("<p>{}</p>", escape(&error.message))),
    }
}

pub(super) fn page(status: StatusCode, title: &str, content: &str) -> HttpResponse {
    let body = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title} – Pixgate</title></head>\
         <body style=\"font-family:system-ui;max-width:40rem;margin:4rem auto;padding:0 1rem\"><main><h1>{title}</h1>{content}</main></body></html>"
    );
    HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_SECURITY_POLICY, CONTENT_POLICY))
        .body(body)
}
