//! `/api/v1/me`, its second factor, and `/api/v1/sessions`.

use actix_web::{HttpRequest, HttpResponse, http::header::CACHE_CONTROL, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{owner::Account, session::Me, visitor};
use crate::{
    control::{
        self,
        people::{self, ProfilePatch, Proof},
    },
    domain::{member::Permission, refusal::Refusal},
    http::{
        admin::{
            extract::{Json, Query},
            only,
        },
        error::ApiError,
        page::{Page, PageQuery},
        views::rfc3339,
    },
    store::{security::SecurityEvent, sessions::Session},
    telemetry::redact::Secret,
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let sessions = web::resource("/api/v1/sessions").route(web::get().to(list_sessions)).route(web::delete().to(end_sessions));
    let totp = web::resource("/api/v1/me/totp").route(web::post().to(enroll_totp)).route(web::delete().to(remove_totp));
    routes
        .service(sessions.default_service(only("GET, DELETE")))
        .service(web::resource("/api/v1/sessions/{id}").route(web::delete().to(end_session)).default_service(only("DELETE")))
        .service(totp.default_service(only("POST, DELETE")))
        .service(web::resource("/api/v1/me/totp/confirm").route(web::post().to(confirm_totp)).default_service(only("POST")))
        .service(web::resource("/api/v1/me/recovery-codes").route(web::post().to(recovery_codes)).default_service(only("POST")))
        .service(web::resource("/api/v1/me/security-events").route(web::get().to(security_events)).default_service(only("GET")));
}

/// Change the profile
///
/// Name and language count at once. A new address counts once the link mailed to it was opened; a new password ends the other sessions.
#[utoipa::path(patch, path = "/api/v1/me", tag = "Account", security(("key" = [])), request_body = Option<ProfilePatch>,
    responses((status = 200, body = Me), (status = 400, description = "`invalid_request`"), (status = 401, description = "`invalid_credentials`"),
        (status = 403, description = "`role_missing`, `csrf_failed`")))]
pub async fn patch_me(request: HttpRequest, caller: Account, Json(patch): Json<ProfilePatch>) -> Result<HttpResponse, ApiError> {
    let touches_person = patch.email.is_some() || patch.new_password.is_some();
    let permission = if touches_person { Permission::ManageAccount } else { Permission::ManageMembers };
    let caller = caller.require(permission)?;
    let visitor = visitor::of(&request);
    let csrf_token = caller.session_token.as_deref().map(|token| control::owner::csrf_token(&caller.control, token));
    let role = caller.owner.role;
    let (control, person_id) = (caller.control.clone(), caller.owner.person_id.clone());
    let work = |control, owner| async move { people::patch_profile(&control, &visitor, &owner, patch).await };
    let profiled = caller.change(work).await?;
    let second_factor = people::has_second_factor(&control, &person_id).await?;
    let mut me = Me::of(profiled.account, role, csrf_token);
    me.second_factor = second_factor;
    me.pending_email = profiled.pending_email;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(me))
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SessionView {
    pub id: String,
    /// Whether it is the one that asks.
    pub current: bool,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    /// Give or take a minute.
    pub last_used_at: Option<String>,
    pub created_at: String,
    pub expires_at: String,
}

impl SessionView {
    pub fn of(session: Session, current: Option<&str>) -> Self {
        Self {
            current: current == Some(session.id.as_str()),
            last_used_at: session.last_used_at.map(rfc3339),
            created_at: rfc3339(session.created_at),
            expires_at: rfc3339(session.expires_at),
            id: session.id,
            ip: session.ip,
            user_agent: session.user_agent,
        }
    }
}

/// All of them, on one page.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sessions {
    pub data: Vec<SessionView>,
    pub has_more: bool,
    pub next_cursor: Option<String>,
}

/// Where somebody is signed in
///
/// Newest first.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "Account", security(("key" = [])), responses((status = 200, body = Sessions)))]
pub async fn list_sessions(caller: Account) -> Result<HttpResponse, ApiError> {
    let caller = person(caller)?;
    let sessions = people::list_sessions(&caller.control, &caller.owner.person_id).await?;
    let current = caller.owner.session_id.as_deref();
    let data = sessions.into_iter().map(|session| SessionView::of(session, current)).collect();
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(Sessions { data, has_more: false, next_cursor: None }))
}

/// Sign one session out
#[utoipa::path(delete, path = "/api/v1/sessions/{id}", tag = "Account", security(("key" = [])),
    params(("id" = String, Path, description = "`ses_…`")),
    responses((status = 204, description = "It has ended"), (status = 404, description = "`not_found`")))]
pub async fn end_session(caller: Account, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let caller = person(caller)?;
    let work =
        |control, owner: control::owner::Owner| async move { people::end_session(&control, &owner.actor, &owner.person_id, &id).await };
    caller.change(work).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EndQuery {
    /// The session that asks, too.
    #[serde(default)]
    all: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Ended {
    pub ended: u64,
}

/// Sign out everywhere
///
/// Every session but the one that asks; with `?all=true` that one, too.
#[utoipa::path(delete, path = "/api/v1/sessions", tag = "Account", security(("key" = [])), params(EndQuery), responses((status = 200, body = Ended)))]
pub async fn end_sessions(caller: Account, Query(query): Query<EndQuery>) -> Result<HttpResponse, ApiError> {
    let caller = person(caller)?;
    let work = |control, owner: control::owner::Owner| async move {
        let keep = owner.session_id.as_deref().filter(|_| !query.all);
        people::end_others(&control, &owner.actor, &owner.person_id, keep).await
    };
    let ended = caller.change(work).await?;
    Ok(HttpResponse::Ok().json(Ended { ended }))
}

/// What concerns the person needs a session: a key is no proof of who sits there.
pub(super) fn person(caller: Account) -> Result<Account, ApiError> {
    if caller.owner.session_id.is_none() {
        return Err(Refusal::InvalidKey("this needs a session; sign in at /api/v1/auth/login").into());
    }
    Ok(caller)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordBody {
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub password: Option<Secret>,
    /// Instead of `password`, in an account that has none: the code that `/api/v1/me/confirmation-code` mails.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub mail_code: Option<Secret>,
    /// Of the second factor; needed where it is on and is to be changed.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub code: Option<Secret>,
    /// Instead of `code`; each works once.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub recovery_code: Option<Secret>,
}

impl PasswordBody {
    fn proof(self) -> Proof {
        Proof { code: self.code, recovery_code: self.recovery_code }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CodeBody {
    /// Six digits of the app.
    #[schema(value_type = String)]
    pub code: Secret,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RecoveryCodes {
    /// Each signs in once instead of a code; shown only now.
    pub recovery_codes: Vec<String>,
}

/// Confirms the person behind a session by the password, or by a mailed code where there is none.
pub(super) async fn confirmed(request: &HttpRequest, caller: Account, body: &PasswordBody) -> Result<Account, ApiError> {
    let caller = person(caller)?.require(Permission::ManageAccount)?;
    let visitor = visitor::of(request);
    let (password, mail_code) = (body.password.as_ref().map(Secret::expose), body.mail_code.as_ref().map(Secret::expose));
    people::confirm_owner(&caller.control, &visitor, &caller.owner.account, password, mail_code).await?;
    Ok(caller)
}

/// Set a second factor up
///
/// Answers with a secret for an authenticator app; it counts once a code of it was sent to `/api/v1/me/totp/confirm`.
#[utoipa::path(post, path = "/api/v1/me/totp", tag = "Account", security(("key" = [])), request_body = PasswordBody,
    responses((status = 200, body = people::Enrolment), (status = 401, description = "`invalid_credentials`"), (status = 409, description = "It is on already")))]
pub async fn enroll_totp(request: HttpRequest, caller: Account, Json(body): Json<PasswordBody>) -> Result<HttpResponse, ApiError> {
    let caller = confirmed(&request, caller, &body).await?;
    let work = |control, owner: control::owner::Owner| async move { people::enroll_totp(&control, &owner.account).await };
    let enrolment = caller.change(work).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(enrolment))
}

/// Switch the second factor on
///
/// Answers with recovery codes, which are shown only now.
#[utoipa::path(post, path = "/api/v1/me/totp/confirm", tag = "Account", security(("key" = [])), request_body = CodeBody,
    responses((status = 200, body = RecoveryCodes), (status = 401, description = "`invalid_code`"), (status = 409, description = "It is on already")))]
pub async fn confirm_totp(request: HttpRequest, caller: Account, Json(body): Json<CodeBody>) -> Result<HttpResponse, ApiError> {
    let caller = person(caller)?.require(Permission::ManageAccount)?;
    let visitor = visitor::of(&request);
    let work = |control, owner: control::owner::Owner| async move {
        people::confirm_totp(&control, &visitor, &owner.account, body.code.expose()).await
    };
    let recovery_codes = caller.change(work).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(RecoveryCodes { recovery_codes }))
}

/// Switch the second factor off
///
/// Needs the password and a code, or a recovery code.
#[utoipa::path(delete, path = "/api/v1/me/totp", tag = "Account", security(("key" = [])), request_body = PasswordBody,
    responses((status = 204, description = "It is off"), (status = 401, description = "`invalid_credentials`, `second_factor_required`, `invalid_code`")))]
pub async fn remove_totp(request: HttpRequest, caller: Account, Json(body): Json<PasswordBody>) -> Result<HttpResponse, ApiError> {
    let caller = confirmed(&request, caller, &body).await?;
    let (visitor, proof) = (visitor::of(&request), body.proof());
    let work = |control, owner: control::owner::Owner| async move { people::remove_totp(&control, &visitor, &owner.account, &proof).await };
    caller.change(work).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// New recovery codes
///
/// Older ones stop working. Needs the password and a code, or a recovery code.
#[utoipa::path(post, path = "/api/v1/me/recovery-codes", tag = "Account", security(("key" = [])), request_body = PasswordBody,
    responses((status = 200, body = RecoveryCodes), (status = 401, description = "`invalid_credentials`, `second_factor_required`, `invalid_code`"), (status = 409, description = "The second factor is off")))]
pub async fn recovery_codes(request: HttpRequest, caller: Account, Json(body): Json<PasswordBody>) -> Result<HttpResponse, ApiError> {
    let caller = confirmed(&request, caller, &body).await?;
    let proof = body.proof();
    let work = |control, owner: control::owner::Owner| async move { people::new_recovery_codes(&control, &owner.account, &proof).await };
    let recovery_codes = caller.change(work).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(RecoveryCodes { recovery_codes }))
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SecurityEventView {
    pub id: String,
    /// For example `sign_in`, `sign_in_failed`, `password_changed`.
    pub event: String,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    pub created_at: String,
}

impl From<SecurityEvent> for SecurityEventView {
    fn from(event: SecurityEvent) -> Self {
        let created_at = rfc3339(event.created_at);
        Self { id: event.id, event: event.event, ip: event.ip, user_agent: event.user_agent, created_at }
    }
}

/// What happened around the sign-in
///
/// Newest first, kept for `privacy.security_log_days`.
#[utoipa::path(get, path = "/api/v1/me/security-events", tag = "Account", security(("key" = [])), params(PageQuery),
    responses((status = 200, body = Page<SecurityEventView>)))]
pub async fn security_events(caller: Account, Query(page): Query<PageQuery>) -> Result<HttpResponse, ApiError> {
    let caller = person(caller)?;
    let events = people::security_events(&caller.control, &caller.owner.person_id, &page.request()?).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(Page::<SecurityEventView>::of(events)))
}
