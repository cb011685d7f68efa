//! API keys of the owner's account: `/api/v1/keys`

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, HeaderValue},
    web,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::owner::Account;
use crate::{
    control::{
        Control,
        keys::{CreatedKey, KeyPatch, NewKey, Rotation},
        leaks::{self, Leak, Verdict},
        owner_keys,
    },
    domain::member::Permission,
    http::{
        admin::{
            extract::{Json, Query},
            only,
            views::{ApiKeyView, AuditView, CreatedKeyView},
        },
        error::ApiError,
        headers::CallerReader,
        page::{Page, PageQuery},
    },
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let all = web::resource("/api/v1/keys").route(web::get().to(list_own_keys)).route(web::post().to(create_own_key));
    let leak = web::resource("/api/v1/keys/report-leak").route(web::post().to(report_leak));
    let one = web::resource("/api/v1/keys/{id}")
        .route(web::get().to(get_own_key))
        .route(web::patch().to(patch_own_key))
        .route(web::delete().to(revoke_own_key));
    let rotating = web::resource("/api/v1/keys/{id}/rotate").route(web::post().to(rotate_own_key));
    let trail = web::resource("/api/v1/keys/{id}/audit").route(web::get().to(list_audit_of_own_key));
    routes
        .service(all.default_service(only("GET, POST")))
        .service(leak.default_service(only("POST")))
        .service(one.default_service(only("GET, PATCH, DELETE")))
        .service(rotating.default_service(only("POST")))
        .service(trail.default_service(only("GET")));
}

/// List the keys of the account
///
/// Newest first, revoked ones too.
#[utoipa::path(get, path = "/api/v1/keys", tag = "Account", security(("key" = ["account"])), params(PageQuery),
    responses((status = 200, body = Page<ApiKeyView>), (status = 401, description = "Nobody is signed in")))]
pub async fn list_own_keys(caller: Account, Query(query): Query<PageQuery>) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::Read)?;
    let page = owner_keys::list(&caller.control, &caller.owner, &query.request()?).await?;
    Ok(HttpResponse::Ok().json(Page::<ApiKeyView>::of(page)))
}

/// Create a key
///
/// The answer is the only one that carries the whole key. Keys of scope `admin` are made by the operator only.
#[utoipa::path(post, path = "/api/v1/keys", tag = "Account", security(("key" = ["account"])), request_body = NewKey,
    responses((status = 201, body = CreatedKeyView), (status = 400, description = "`invalid_request`"), (status = 403, description = "Scope `admin`, or a role that may not"),
        (status = 409, description = "The account has as many keys as it may")))]
pub async fn create_own_key(caller: Account, Json(new): Json<NewKey>) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::ManageKeys)?;
    caller.change(|control, owner| async move { owner_keys::create(&control, &owner, new).await }).await.map(show_once)
}

/// One key
#[utoipa::path(get, path = "/api/v1/keys/{id}", tag = "Account", security(("key" = ["account"])),
    params(("id" = String, Path, description = "`key_…`")),
    responses((status = 200, body = ApiKeyView), (status = 404, description = "No such key of this account")))]
pub async fn get_own_key(caller: Account, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::Read)?;
    Ok(HttpResponse::Ok().json(ApiKeyView::from(owner_keys::get(&caller.control, &caller.owner, &id).await?)))
}

/// Change a key
///
/// Its next call sees the change.
#[utoipa::path(patch, path = "/api/v1/keys/{id}", tag = "Account", security(("key" = ["account"])),
    params(("id" = String, Path, description = "`key_…`")), request_body = Option<KeyPatch>,
    responses((status = 200, body = ApiKeyView), (status = 400, description = "`invalid_request`"), (status = 403, description = "Scope `admin`, or a role that may not"),
        (status = 404, description = "No such key of this account"), (status = 409, description = "The key is revoked")))]
pub async fn patch_own_key(caller: Account, id: web::Path<String>, Json(patch): Json<KeyPatch>) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::ManageKeys)?;
    let key = caller.change(|control, owner| async move { owner_keys::patch(&control, &owner, &id, patch).await }).await?;
    Ok(HttpResponse::Ok().json(ApiKeyView::from(key)))
}

/// Revoke a key
///
/// For good, from its next call on. The answer is the key; revoking it again changes nothing.
#[utoipa::path(delete, path = "/api/v1/keys/{id}", tag = "Account", security(("key" = ["account"])),
    params(("id" = String, Path, description = "`key_…`")),
    responses((status = 200, body = ApiKeyView), (status = 404, description = "No such key of this account")))]
pub async fn revoke_own_key(caller: Account, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::ManageKeys)?;
    let key = caller.change(|control, owner| async move { owner_keys::revoke(&control, &owner, &id).await }).await?;
    Ok(HttpResponse::Ok().json(ApiKeyView::from(key)))
}

/// Replace a key
///
/// The answer is a new key, with a new id, that may do what the old one may; the old one works on for the grace time.
#[utoipa::path(post, path = "/api/v1/keys/{id}/rotate", tag = "Account", security(("key" = ["account"])),
    params(("id" = String, Path, description = "`key_…`")), request_body = Option<Rotation>,
    responses((status = 201, body = CreatedKeyView), (status = 400, description = "`invalid_request`"), (status = 403, description = "Scope `admin`, or a role that may not"),
        (status = 404, description = "No such key of this account"), (status = 409, description = "The key is revoked or expired")))]
pub async fn rotate_own_key(caller: Account, id: web::Path<String>, Json(rotation): Json<Rotation>) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::ManageKeys)?;
    caller.change(|control, owner| async move { owner_keys::rotate(&control, &owner, &id, &rotation).await }).await.map(show_once)
}

/// What became of a key
///
/// Who created, changed, rotated or revoked it, newest first.
#[utoipa::path(get, path = "/api/v1/keys/{id}/audit", tag = "Account", security(("key" = ["account"])),
    params(("id" = String, Path, description = "`key_…`"), PageQuery),
    responses((status = 200, body = Page<AuditView>), (status = 404, description = "No such key of this account")))]
pub async fn list_audit_of_own_key(
    caller: Account,
    id: web::Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::Read)?;
    let page = owner_keys::trail(&caller.control, &caller.owner, &id, &query.request()?).await?;
    Ok(HttpResponse::Ok().json(Page::<AuditView>::of(page)))
}

#[derive(Debug, Serialize, ToSchema)]
pub struct LeakVerdict {
    /// A true positive is revoked now.
    pub label: Verdict,
}

/// Report a key that leaked
///
/// Whoever found the key may report it; nothing but the key is needed. It is revoked at once and its owner is told.
#[utoipa::path(post, path = "/api/v1/keys/report-leak", tag = "Operations", request_body = Leak,
    responses((status = 200, body = LeakVerdict), (status = 400, description = "`invalid_request`"), (status = 429, description = "Too many reports from this address")))]
pub async fn report_leak(
    request: HttpRequest,
    control: web::Data<Control>,
    reader: web::Data<CallerReader>,
    Json(leak): Json<Leak>,
) -> Result<HttpResponse, ApiError> {
    control.leaks.throttle(reader.ip(&request))?;
    let label = control.to_the_end(|control| async move { leaks::report(&control, "leak-report", &leak).await }).await?;
    Ok(HttpResponse::Ok().insert_header(no_store()).json(LeakVerdict { label }))
}

fn no_store() -> (actix_web::http::header::HeaderName, HeaderValue) {
    (CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

fn show_once(created: CreatedKey) -> HttpResponse {
    HttpResponse::Created().insert_header(no_store()).json(CreatedKeyView::from(created))
}
