//! `/api/v1/requests/{id}/content`, `/api/v1/me/content`: requests and answers that are kept for their owner.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::{auth::no_store, owner::Account};
use crate::{
    control::{contents, owner::Owner},
    domain::member::Permission,
    http::{admin::only, content::ContentView, error::ApiError},
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let one = web::resource("/api/v1/requests/{id}/content").route(web::get().to(get_content)).route(web::delete().to(delete_content));
    let all = web::resource("/api/v1/me/content").route(web::delete().to(delete_all_content));
    routes.service(one.default_service(only("GET, DELETE"))).service(all.default_service(only("DELETE")));
}

/// What a call asked and was answered
///
/// Where it is kept (`keep_content` of `/api/v1/me/privacy`): the body as it was sent, and the answer as it was given.
#[utoipa::path(get, path = "/api/v1/requests/{id}/content", tag = "Account", security(("key" = [])),
    params(("id" = String, Path, description = "Request id, or id of the answer")),
    responses((status = 200, body = ContentView), (status = 403, description = "`role_missing`"), (status = 404, description = "Not kept, expired, deleted, or another account's")))]
pub async fn get_content(caller: Account, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    // What members of a team ask models is no business of those who only watch or pay.
    let caller = caller.require(Permission::ManageKeys)?;
    let content = contents::get(&caller.control, &caller.owner.account.id, &id).await?;
    Ok(no_store(HttpResponse::Ok()).json(ContentView::from(content)))
}

/// Forget what a call asked and was answered
#[utoipa::path(delete, path = "/api/v1/requests/{id}/content", tag = "Account", security(("key" = [])),
    params(("id" = String, Path, description = "Request id, or id of the answer")),
    responses((status = 204), (status = 403, description = "`role_missing`, `csrf_failed`"), (status = 404, description = "Not kept, expired, deleted, or another account's")))]
pub async fn delete_content(caller: Account, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::ManageKeys)?;
    let work = |control, owner: Owner| async move { contents::delete(&control, &owner.actor, &owner.account.id, &id).await };
    caller.change(work).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ForgottenContent {
    /// Calls whose content was deleted.
    pub deleted: u64,
}

/// Forget the content of all calls
///
/// Switch `keep_content` of `/api/v1/me/privacy` off first, or new calls are kept again.
#[utoipa::path(delete, path = "/api/v1/me/content", tag = "Account", security(("key" = [])),
    responses((status = 200, body = ForgottenContent), (status = 403, description = "`role_missing`, `csrf_failed`")))]
pub async fn delete_all_content(caller: Account) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::ManageAccount)?;
    let work = |control, owner: Owner| async move { contents::delete_all(&control, &owner.actor, &owner.account.id).await };
    let deleted = caller.change(work).await?;
    Ok(no_store(HttpResponse::Ok()).json(ForgottenContent { deleted }))
}
