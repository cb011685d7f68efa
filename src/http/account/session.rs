//! Signing in by a link, and who is signed in.

use actix_web::{
    HttpResponse,
    cookie::{Cookie, SameSite, time},
    get,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    web,
};
use serde::{Deserialize, Serialize};

use super::owner::{self, Account};
use crate::{
    control::{self, Control, accounts, sign_in},
    domain::{SECOND, account::AccountStatus, member::Role, refusal::Refusal},
    http::{error::ApiError, views::rfc3339},
};

pub fn configure(routes: &mut web::ServiceConfig) {
    routes.service(link).service(me);
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
pub async fn link(query: web::Query<LinkQuery>, control: web::Data<Control>) -> Result<HttpResponse, ApiError> {
    let Some((account_id, token)) = sign_in::open_session(&control, &query.token).await? else {
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
        .max_age(time::Duration::seconds(sign_in::SESSION_LIFE / SECOND))
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
    pub created_at: String,
}

/// The account that is signed in
///
/// By session cookie, or by a key with scope `account`.
#[utoipa::path(get, path = "/api/v1/me", tag = "Account", security(("key" = [])), responses((status = 200, body = Me), (status = 401, description = "Nobody is signed in")))]
#[get("/api/v1/me")]
pub async fn me(caller: Account) -> HttpResponse {
    let csrf_token = caller.session_token.as_deref().map(|token| control::owner::csrf_token(&caller.control, token));
    let account = caller.owner.account;
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(Me {
        verified: account.verified_at.is_some(),
        created_at: rfc3339(account.created_at),
        id: account.id,
        email: account.email,
        name: account.name,
        status: account.status,
        locale: account.locale,
        role: caller.owner.role,
        csrf_token,
    })
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
