//! Signing in by a link, and who is signed in.

use actix_web::{
    HttpRequest, HttpResponse,
    cookie::{Cookie, SameSite, time},
    get,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    web,
};
use serde::{Deserialize, Serialize};

use super::{
    image::image_url,
    me::patch_me,
    owner::{self, Account},
    privacy::delete_me,
    visitor::{self, DEVICE_COOKIE},
};
use crate::{
    control::{self, Control, accounts, people, sign_in},
    domain::{self, SECOND, account::AccountStatus, member::Role, refusal::Refusal},
    http::{admin::only, error::ApiError, views::rfc3339},
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let me = web::resource("/api/v1/me").route(web::get().to(me)).route(web::patch().to(patch_me)).route(web::delete().to(delete_me));
    routes.service(link).service(me.default_service(only("GET, PATCH, DELETE")));
}

#[derive(Deserialize)]
struct LinkQuery {
    #[serde(default)]
    token: String,
}

/// Opens a sign-in link
///
/// Uses the link up and sets the session cookie.
#[utoipa::path(get, path = "/auth/link", tag = "Account", params(("token" = String, Query, description = "From the link")),
    responses((status = 200, description = "Signed in; a page that says so", content_type = "text/html"), (status = 401, description = "The link is used or too old")))]
#[get("/auth/link")]
pub async fn link(request: HttpRequest, query: web::Query<LinkQuery>, control: web::Data<Control>) -> Result<HttpResponse, ApiError> {
    let Some((account_id, token)) = sign_in::open_session(&control, &visitor::of(&request), &query.token).await? else {
        return Err(Refusal::InvalidKey("this sign-in link was used or is too old; `pixgate admin create` makes a new one").into());
    };
    let account = accounts::get(&control, &account_id).await?;
    let cookie = cookie(&control, token);
    let email = escape(&account.email);
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Signed in – Pixgate</title>\
         <body style=\"font-family:system-ui;max-width:40rem;margin:4rem auto;padding:0 1rem\">\
         <h1>Signed in</h1><p>You are signed in as <b>{email}</b>.</p>\
         <p><a href=\"/api/v1/me\">Your account</a> · <a href=\"/docs\">API reference</a></p>"
    );
    Ok(HttpResponse::Ok()
        .cookie(cookie)
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("referrer-policy", "no-referrer"))
        .insert_header(("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"))
        .body(page))
}

/// The session cookie: out of reach of scripts and of other sites, over TLS only where there is TLS.
pub(super) fn cookie(control: &Control, token: String) -> Cookie<'static> {
    Cookie::build(owner::cookie_name(control), token)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(control.site.is_https())
        .max_age(time::Duration::seconds(control.people.policy.session_life / SECOND))
        .finish()
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Me {
    pub id: String,
    pub email: String,
    pub name: String,
    pub status: AccountStatus,
    pub verified: bool,
    pub locale: String,
    /// What the caller is to this account.
    pub role: Role,
    /// For the `x-csrf-token` header of changes; null when a key was used.
    pub csrf_token: Option<String>,
    /// Whether signing in asks for a code as well.
    pub second_factor: bool,
    /// Where the profile image is, when there is one.
    pub image_url: Option<String>,
    /// A new address that waits for its confirmation; only in the answer to the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_email: Option<String>,
    pub created_at: String,
}

/// The account that is signed in
///
/// By session cookie, or by a key with scope `account`.
#[utoipa::path(get, path = "/api/v1/me", tag = "Account", security(("key" = [])), responses((status = 200, body = Me), (status = 401, description = "Nobody is signed in")))]
pub async fn me(caller: Account) -> Result<HttpResponse, ApiError> {
    let csrf_token = caller.session_token.as_deref().map(|token| control::owner::csrf_token(&caller.control, token));
    let second_factor = people::has_second_factor(&caller.control, &caller.owner.person_id).await?;
    let mut me = Me::of(caller.owner.account, caller.owner.role, csrf_token);
    me.second_factor = second_factor;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(me))
}

impl Me {
    pub fn of(account: domain::account::Account, role: Role, csrf_token: Option<String>) -> Self {
        Self {
            verified: account.verified_at.is_some(),
            created_at: rfc3339(account.created_at),
            id: account.id,
            email: account.email,
            name: account.name,
            status: account.status,
            locale: account.locale,
            role,
            csrf_token,
            second_factor: false,
            image_url: account.image_blob.as_deref().and_then(image_url),
            pending_email: None,
        }
    }
}

/// What marks this browser as one that signed in before.
pub(super) fn device_cookie(control: &Control, device: String) -> Cookie<'static> {
    Cookie::build(DEVICE_COOKIE, device)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(control.site.is_https())
        .max_age(time::Duration::days(365))
        .finish()
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
