//! `/admin/v1/requests/{id}/content`: what is kept of calls. Every look is audited.

use actix_web::{HttpResponse, http::header::CACHE_CONTROL, web};

use super::{extract::Admin, only};
use crate::{
    control::contents,
    http::{content::ContentView, error::ApiError},
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let one = web::resource("/admin/v1/requests/{id}/content").route(web::get().to(read_content)).route(web::delete().to(forget_content));
    routes.service(one.default_service(only("GET, DELETE")));
}

/// What a call asked and was answered
///
/// Where operator and owner keep it (`content.keep`). Leaves the audit entry `content.read`.
#[utoipa::path(get, path = "/admin/v1/requests/{id}/content", tag = "Admin: privacy", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`req_…`, the id of the usage record")),
    responses((status = 200, body = ContentView), (status = 404, description = "`not_found`: not kept, expired or deleted")))]
pub async fn read_content(admin: Admin, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let content = admin.change(|control, actor| async move { contents::get_as_staff(&control, &actor, &id).await }).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(ContentView::from(content)))
}

/// Forget what a call asked and was answered
#[utoipa::path(delete, path = "/admin/v1/requests/{id}/content", tag = "Admin: privacy", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`req_…`, the id of the usage record")),
    responses((status = 204), (status = 404, description = "`not_found`: not kept, expired or deleted")))]
pub async fn forget_content(admin: Admin, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    admin.change(|control, actor| async move { contents::delete_as_staff(&control, &actor, &id).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}
