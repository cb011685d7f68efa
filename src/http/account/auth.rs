//! `/api/v1/auth/…`: joining, proving an address, signing in and out, forgotten passwords.

use actix_web::{HttpRequest, HttpResponse, cookie::Cookie, http::header::CACHE_CONTROL, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    owner::{self, Account, session_cookie},
    session::{Me, cookie, device_cookie},
    visitor::Visitor,
};
use crate::{
    control::{
        self,
        people::{self, Registration, SignIn},
    },
    http::{
        admin::{extract::Json, only},
        error::ApiError,
    },
    telemetry::redact::Secret,
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let post = |path: &str| web::resource(path.to_owned()).default_service(only("POST"));
    routes
        .service(post("/api/v1/auth/register").route(web::post().to(register)))
        .service(post("/api/v1/auth/verify").route(web::post().to(verify)))
        .service(post("/api/v1/auth/verify/resend").route(web::post().to(resend)))
        .service(post("/api/v1/auth/login").route(web::post().to(login)))
        .service(post("/api/v1/auth/logout").route(web::post().to(logout)))
        .service(post("/api/v1/auth/forgot").route(web::post().to(forgot)))
        .service(post("/api/v1/auth/reset").route(web::post().to(reset)))
        .service(post("/api/v1/auth/email/confirm").route(web::post().to(confirm_email)));
}

/// What happens next, in words.
#[derive(Debug, Serialize, ToSchema)]
pub struct Asked {
    pub status: &'static str,
    pub message: &'static str,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailBody {
    pub email: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenBody {
    /// From the link in the mail.
    pub token: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetBody {
    /// From the link in the mail.
    pub token: String,
    #[schema(value_type = String, min_length = 10, max_length = 128)]
    pub password: Secret,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Proven {
    pub email: String,
    pub verified: bool,
}

pub(super) fn no_store(mut response: actix_web::HttpResponseBuilder) -> actix_web::HttpResponseBuilder {
    response.insert_header((CACHE_CONTROL, "no-store"));
    response
}

/// Register
///
/// Mails a link that proves the address; keys work once it was opened. A known address gets the same answer, and a mail that says so;
/// one that was registered with another password and never proven gets a link to set the password anew.
/// Registering accepts the terms and the privacy policy in force, and the minimum age.
#[utoipa::path(post, path = "/api/v1/auth/register", tag = "Account", request_body = Registration,
    responses((status = 201, body = Asked), (status = 400, description = "`invalid_request`: a weak password, a blocked domain"),
        (status = 403, description = "`sign_up_closed`"), (status = 429, description = "`rate_limit_exceeded`")))]
pub async fn register(visitor: Visitor, Json(new): Json<Registration>) -> Result<HttpResponse, ApiError> {
    let Visitor { control, visitor } = visitor;
    control.to_the_end(|control| async move { people::register(&control, &visitor, new).await }).await?;
    let message = "a mail is on its way; open its link to verify the address";
    Ok(no_store(HttpResponse::Created()).json(Asked { status: "verification_sent", message }))
}

/// Prove an address
///
/// Uses up the token of a verification mail.
#[utoipa::path(post, path = "/api/v1/auth/verify", tag = "Account", request_body = TokenBody,
    responses((status = 200, body = Proven), (status = 400, description = "`invalid_token`"),
        (status = 429, description = "`rate_limit_exceeded`")))]
pub async fn verify(visitor: Visitor, Json(body): Json<TokenBody>) -> Result<HttpResponse, ApiError> {
    let account = visitor.control.to_the_end(|control| async move { people::verify(&control, &body.token).await }).await?;
    Ok(no_store(HttpResponse::Ok()).json(Proven { email: account.email, verified: true }))
}

/// Send the verification mail again
///
/// The answer is the same for unknown and proven addresses.
#[utoipa::path(post, path = "/api/v1/auth/verify/resend", tag = "Account", request_body = EmailBody,
    responses((status = 202, body = Asked), (status = 429, description = "`rate_limit_exceeded`")))]
pub async fn resend(visitor: Visitor, Json(body): Json<EmailBody>) -> Result<HttpResponse, ApiError> {
    let Visitor { control, visitor } = visitor;
    control.to_the_end(|control| async move { people::resend_verification(&control, &visitor, &body.email).await }).await?;
    let message = "if this address waits for verification, a mail is on its way";
    Ok(no_store(HttpResponse::Accepted()).json(Asked { status: "accepted", message }))
}

/// Sign in
///
/// Sets the session cookie. With a second factor `code` or `recovery_code` is needed as well (`second_factor_required`).
#[utoipa::path(post, path = "/api/v1/auth/login", tag = "Account", request_body = SignIn,
    responses((status = 200, body = Me), (status = 401, description = "`invalid_credentials`, `second_factor_required`, `invalid_code`"),
        (status = 429, description = "`rate_limit_exceeded`; a browser that signed in before is counted by itself")))]
pub async fn login(visitor: Visitor, Json(wish): Json<SignIn>) -> Result<HttpResponse, ApiError> {
    let Visitor { control, visitor } = visitor;
    let signed_in = control.to_the_end(|control| async move { people::sign_in(&control, &visitor, wish).await }).await?;
    let csrf_token = control::owner::csrf_token(&control, &signed_in.session_token);
    let mut me = Me::of(signed_in.account, crate::domain::member::Role::Owner, Some(csrf_token));
    me.second_factor = signed_in.second_factor;
    let mut response = no_store(HttpResponse::Ok());
    response.cookie(cookie(&control, signed_in.session_token)).cookie(device_cookie(&control, signed_in.device));
    Ok(response.json(me))
}

/// Sign out
///
/// Ends the session of the cookie.
#[utoipa::path(post, path = "/api/v1/auth/logout", tag = "Account", security(("key" = [])),
    responses((status = 204, description = "Signed out"), (status = 401, description = "Nobody is signed in")))]
pub async fn logout(request: HttpRequest, caller: Account) -> Result<HttpResponse, ApiError> {
    let control = caller.control.clone();
    if caller.owner.session_id.is_some() {
        let end = |control, owner: control::owner::Owner| async move {
            let session_id = owner.session_id.as_deref().unwrap_or_default();
            people::end_session(&control, &owner.actor, &owner.person_id, session_id).await
        };
        caller.change(end).await?;
    }
    let mut response = no_store(HttpResponse::NoContent());
    if session_cookie(&request).is_some() {
        let mut gone = Cookie::build(owner::cookie_name(&control), "").path("/").secure(control.site.is_https()).http_only(true).finish();
        gone.make_removal();
        response.cookie(gone);
    }
    Ok(response.finish())
}

/// Forgotten password
///
/// Mails a link that sets a new one. The answer is the same for unknown addresses.
#[utoipa::path(post, path = "/api/v1/auth/forgot", tag = "Account", request_body = EmailBody,
    responses((status = 202, body = Asked), (status = 429, description = "`rate_limit_exceeded`")))]
pub async fn forgot(visitor: Visitor, Json(body): Json<EmailBody>) -> Result<HttpResponse, ApiError> {
    let Visitor { control, visitor } = visitor;
    control.to_the_end(|control| async move { people::forgot(&control, &visitor, &body.email).await }).await?;
    let message = "if there is an account with this address, a mail with a link is on its way";
    Ok(no_store(HttpResponse::Accepted()).json(Asked { status: "accepted", message }))
}

/// Set a new password
///
/// By the link of a mail. Every session of the account ends.
#[utoipa::path(post, path = "/api/v1/auth/reset", tag = "Account", request_body = ResetBody,
    responses((status = 200, body = Asked), (status = 400, description = "`invalid_token`; `invalid_request`: a weak password"),
        (status = 429, description = "`rate_limit_exceeded`")))]
pub async fn reset(visitor: Visitor, Json(body): Json<ResetBody>) -> Result<HttpResponse, ApiError> {
    let Visitor { control, visitor } = visitor;
    let work = |control| async move { people::reset(&control, &visitor, &body.token, body.password.expose()).await };
    let reset = control.to_the_end(work).await?;
    let message = "the password is new and every session has ended; sign in with it";
    let mut response = no_store(HttpResponse::Ok());
    response.cookie(device_cookie(&control, reset.device));
    Ok(response.json(Asked { status: "password_changed", message }))
}

/// Confirm a new address
///
/// By the link mailed to it; the old address is told.
#[utoipa::path(post, path = "/api/v1/auth/email/confirm", tag = "Account", request_body = TokenBody,
    responses((status = 200, body = Proven), (status = 400, description = "`invalid_token`"), (status = 409, description = "The address is taken")))]
pub async fn confirm_email(visitor: Visitor, Json(body): Json<TokenBody>) -> Result<HttpResponse, ApiError> {
    let Visitor { control, visitor } = visitor;
    let account = control.to_the_end(|control| async move { people::confirm_email(&control, &visitor, &body.token).await }).await?;
    Ok(no_store(HttpResponse::Ok()).json(Proven { email: account.email, verified: true }))
}
