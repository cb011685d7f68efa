//! What admins see and end of people's sign-ins: `/admin/v1/accounts/{id}/sessions`, `…/security-events`, `…/sign-up`, `…/sign-in-link`

use actix_web::{HttpResponse, web};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    extract::{Admin, Query},
    only,
};
use crate::{
    control::{Moment, accounts, people, sign_in},
    http::{
        account::me::{Ended, SecurityEventView, SessionView, Sessions},
        error::ApiError,
        page::{Page, PageQuery},
    },
    store::people::KeptSignUp,
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let resource = |path: &str| web::resource(format!("/admin/v1/accounts/{{id}}/{path}"));
    let sessions = resource("sessions").route(web::get().to(list_sessions_of)).route(web::delete().to(end_sessions_of));
    routes
        .service(sessions.default_service(only("GET, DELETE")))
        .service(resource("sessions/{session}").route(web::delete().to(end_session_of)).default_service(only("DELETE")))
        .service(resource("security-events").route(web::get().to(list_security_events_of)).default_service(only("GET")))
        .service(resource("sign-up").route(web::get().to(get_sign_up_of)).default_service(only("GET")))
        .service(resource("sign-in-link").route(web::post().to(create_sign_in_link)).default_service(only("POST")));
}

/// Where an owner is signed in
///
/// Newest first.
#[utoipa::path(get, path = "/admin/v1/accounts/{id}/sessions", tag = "Admin: accounts", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`acc_…`")),
    responses((status = 200, body = Sessions), (status = 404, description = "`not_found`")))]
pub async fn list_sessions_of(admin: Admin, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let account = accounts::get(&admin.control, &id).await?;
    let sessions = people::list_sessions(&admin.control, &account.id).await?;
    let data = sessions.into_iter().map(|session| SessionView::of(session, None)).collect();
    Ok(HttpResponse::Ok().json(Sessions { data, has_more: false, next_cursor: None }))
}

/// Sign an owner out everywhere
///
/// Sign-in links that were not used end, too.
#[utoipa::path(delete, path = "/admin/v1/accounts/{id}/sessions", tag = "Admin: accounts", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`acc_…`")),
    responses((status = 200, body = Ended), (status = 404, description = "`not_found`")))]
pub async fn end_sessions_of(admin: Admin, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let work = |control, actor| async move {
        let account = accounts::get(&control, &id).await?;
        people::end_others(&control, &actor, &account.id, None).await
    };
    let ended = admin.change(work).await?;
    Ok(HttpResponse::Ok().json(Ended { ended }))
}

/// End one session of an owner
#[utoipa::path(delete, path = "/admin/v1/accounts/{id}/sessions/{session}", tag = "Admin: accounts", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`acc_…`"), ("session" = String, Path, description = "`ses_…`")),
    responses((status = 204, description = "It has ended"), (status = 404, description = "`not_found`")))]
pub async fn end_session_of(admin: Admin, path: web::Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    let (id, session) = path.into_inner();
    admin.change(|control, actor| async move { people::end_session(&control, &actor, &id, &session).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// What happened around an account's sign-in
///
/// Newest first, kept for `privacy.security_log_days`.
#[utoipa::path(get, path = "/admin/v1/accounts/{id}/security-events", tag = "Admin: accounts", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`acc_…`"), PageQuery),
    responses((status = 200, body = Page<SecurityEventView>), (status = 404, description = "`not_found`")))]
pub async fn list_security_events_of(admin: Admin, id: web::Path<String>, Query(page): Query<PageQuery>) -> Result<HttpResponse, ApiError> {
    let account = accounts::get(&admin.control, &id).await?;
    let events = people::security_events(&admin.control, &account.id, &page.request()?).await?;
    Ok(HttpResponse::Ok().json(Page::<SecurityEventView>::of(events)))
}

/// Where an account came from.
#[derive(Debug, Serialize, ToSchema)]
pub struct SignUpView {
    /// `password`, `google` or `github`.
    pub method: String,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    /// The `ref` that was given.
    pub r#ref: Option<String>,
    /// The `utm_*` fields that were given.
    #[schema(value_type = Object)]
    pub campaign: Value,
    pub age_confirmed_at: Option<Moment>,
    pub created_at: Moment,
}

impl From<KeptSignUp> for SignUpView {
    fn from(kept: KeptSignUp) -> Self {
        Self {
            method: kept.method,
            ip: kept.ip,
            user_agent: kept.user_agent,
            r#ref: kept.referral_code,
            campaign: kept.campaign,
            age_confirmed_at: kept.age_confirmed_at.map(Moment),
            created_at: Moment(kept.created_at),
        }
    }
}

/// How an account came about
///
/// Not found for accounts that the operator made.
#[utoipa::path(get, path = "/admin/v1/accounts/{id}/sign-up", tag = "Admin: accounts", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`acc_…`")),
    responses((status = 200, body = SignUpView), (status = 404, description = "`not_found`")))]
pub async fn get_sign_up_of(admin: Admin, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(SignUpView::from(people::get_sign_up(&admin.control, &id).await?)))
}

/// A link that signs somebody in.
#[derive(Debug, Serialize, ToSchema)]
pub struct SignInLink {
    /// Works once.
    pub url: String,
    pub expires_at: Moment,
}

/// Make a sign-in link
///
/// For an owner who cannot sign in otherwise; hand it over safely. The audit trail names who made it, and the owner is told by mail of a
/// sign-in from somewhere new.
#[utoipa::path(post, path = "/admin/v1/accounts/{id}/sign-in-link", tag = "Admin: accounts", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`acc_…`")),
    responses((status = 201, body = SignInLink), (status = 404, description = "`not_found`"), (status = 409, description = "The account is closed")))]
pub async fn create_sign_in_link(admin: Admin, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let (url, expires_at) = admin.change(|control, actor| async move { sign_in::hand_out_link(&control, &actor, &id).await }).await?;
    Ok(HttpResponse::Created().json(SignInLink { url, expires_at: Moment(expires_at) }))
}
