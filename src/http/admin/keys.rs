//! API keys: `/admin/v1/accounts/{id}/keys` and `/admin/v1/keys`

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, HeaderValue},
    web,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    extract::{Admin, Json, Query},
    list, only,
    views::{ApiKeyView, AuditView, CreatedKeyView},
};
use crate::{
    control::{
        audit,
        keys::{self, CreatedKey, KeyPatch, KeyStorage, NewKey, Rotation},
    },
    http::{
        error::ApiError,
        page::{Page, PageQuery},
    },
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let of_account = web::resource("/admin/v1/accounts/{id}/keys").route(web::get().to(list_keys_of)).route(web::post().to(create_key));
    let all = web::resource("/admin/v1/keys").route(web::get().to(list_keys));
    let one = web::resource("/admin/v1/keys/{id}")
        .route(web::get().to(get_key))
        .route(web::patch().to(patch_key))
        .route(web::delete().to(revoke_key));
    let rotate = web::resource("/admin/v1/keys/{id}/rotate").route(web::post().to(rotate_key));
    let trail = web::resource("/admin/v1/keys/{id}/audit").route(web::get().to(list_audit_of_key));
    let storage = web::resource("/admin/v1/key-storage").route(web::get().to(key_storage));
    routes
        .service(trail.default_service(only("GET")))
        .service(storage.default_service(only("GET")))
        .service(of_account.default_service(only("GET, POST")))
        .service(all.default_service(only("GET")))
        .service(one.default_service(only("GET, PATCH, DELETE")))
        .service(rotate.default_service(only("POST")));
}

/// Create a key
///
/// The answer is the only one that carries the whole key.
#[utoipa::path(post, path = "/admin/v1/accounts/{id}/keys", tag = "Admin: keys", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`acc_…`")), request_body = NewKey,
    responses((status = 201, body = CreatedKeyView), (status = 400, description = "`invalid_request`"), (status = 404, description = "`not_found`")))]
pub async fn create_key(admin: Admin, id: web::Path<String>, Json(new): Json<NewKey>) -> Result<HttpResponse, ApiError> {
    admin.change(|control, actor| async move { keys::create(&control, &actor, &id, new).await }).await.map(show_once)
}

/// List the keys of an account
///
/// Newest first, revoked ones too.
#[utoipa::path(get, path = "/admin/v1/accounts/{id}/keys", tag = "Admin: keys", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`acc_…`"), PageQuery),
    responses((status = 200, body = Page<ApiKeyView>), (status = 404, description = "`not_found`")))]
pub async fn list_keys_of(admin: Admin, id: web::Path<String>, Query(query): Query<PageQuery>) -> Result<HttpResponse, ApiError> {
    Ok(list::<_, ApiKeyView>(keys::list(&admin.control, Some(&id), &query.request()?).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct KeysQuery {
    /// Only keys of this account.
    account_id: Option<String>,
    #[serde(flatten)]
    #[param(ignore)]
    page: PageQuery,
}

/// List keys
///
/// Newest first, revoked ones too.
#[utoipa::path(get, path = "/admin/v1/keys", tag = "Admin: keys", security(("key" = ["admin"])), params(KeysQuery, PageQuery),
    responses((status = 200, body = Page<ApiKeyView>), (status = 404, description = "`not_found`")))]
pub async fn list_keys(admin: Admin, Query(query): Query<KeysQuery>) -> Result<HttpResponse, ApiError> {
    let page = keys::list(&admin.control, query.account_id.as_deref(), &query.page.request()?).await?;
    Ok(list::<_, ApiKeyView>(page))
}

/// One key
#[utoipa::path(get, path = "/admin/v1/keys/{id}", tag = "Admin: keys", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`key_…`")),
    responses((status = 200, body = ApiKeyView), (status = 404, description = "`not_found`")))]
pub async fn get_key(admin: Admin, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(ApiKeyView::from(keys::get(&admin.control, &id).await?)))
}

/// Change a key
///
/// Its next call sees the change.
#[utoipa::path(patch, path = "/admin/v1/keys/{id}", tag = "Admin: keys", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`key_…`")), request_body = Option<KeyPatch>,
    responses((status = 200, body = ApiKeyView), (status = 400, description = "`invalid_request`"), (status = 404, description = "`not_found`"),
        (status = 409, description = "The key is revoked")))]
pub async fn patch_key(admin: Admin, id: web::Path<String>, Json(patch): Json<KeyPatch>) -> Result<HttpResponse, ApiError> {
    let key = admin.change(|control, actor| async move { keys::patch(&control, &actor, &id, patch).await }).await?;
    Ok(HttpResponse::Ok().json(ApiKeyView::from(key)))
}

/// Revoke a key
///
/// For good, from its next call on. The answer is the key; revoking it again changes nothing.
#[utoipa::path(delete, path = "/admin/v1/keys/{id}", tag = "Admin: keys", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`key_…`")),
    responses((status = 200, body = ApiKeyView), (status = 404, description = "`not_found`")))]
pub async fn revoke_key(admin: Admin, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let key = admin.change(|control, actor| async move { keys::revoke(&control, &actor, &id).await }).await?;
    Ok(HttpResponse::Ok().json(ApiKeyView::from(key)))
}

/// Replace a key
///
/// The new key may do what the old one may; the old one works on for the grace time.
#[utoipa::path(post, path = "/admin/v1/keys/{id}/rotate", tag = "Admin: keys", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`key_…`")), request_body = Option<Rotation>,
    responses((status = 201, body = CreatedKeyView), (status = 400, description = "`invalid_request`"), (status = 404, description = "`not_found`"),
        (status = 409, description = "The key is revoked or expired")))]
pub async fn rotate_key(admin: Admin, id: web::Path<String>, Json(rotation): Json<Rotation>) -> Result<HttpResponse, ApiError> {
    admin.change(|control, actor| async move { keys::rotate(&control, &actor, &id, &rotation).await }).await.map(show_once)
}

/// What became of a key
///
/// Who created, changed, rotated or revoked it, newest first.
#[utoipa::path(get, path = "/admin/v1/keys/{id}/audit", tag = "Admin: keys", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`key_…`"), PageQuery),
    responses((status = 200, body = Page<AuditView>), (status = 404, description = "`not_found`")))]
pub async fn list_audit_of_key(admin: Admin, id: web::Path<String>, Query(query): Query<PageQuery>) -> Result<HttpResponse, ApiError> {
    let key = keys::get(&admin.control, &id).await?;
    Ok(list::<_, AuditView>(audit::list(&admin.control, Some(&key.id), &query.request()?).await?))
}

/// How keys are kept
///
/// How many are hashed under which pepper, and how many an older schema left as their text.
#[utoipa::path(get, path = "/admin/v1/key-storage", tag = "Admin: keys", security(("key" = ["admin"])), responses((status = 200, body = KeyStorage)))]
pub async fn key_storage(admin: Admin) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(keys::storage(&admin.control).await?))
}

fn show_once(created: CreatedKey) -> HttpResponse {
    let no_store = (CACHE_CONTROL, HeaderValue::from_static("no-store"));
    HttpResponse::Created().insert_header(no_store).json(CreatedKeyView::from(created))
}
