//! `/admin/v1/blocked-domains`

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    extract::{Admin, Json},
    only,
};
use crate::{
    control::people::{self, BlockedDomain, NewBlockedDomain},
    http::{error::ApiError, views::rfc3339},
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let all = web::resource("/admin/v1/blocked-domains").route(web::get().to(list_domains)).route(web::post().to(add_domain));
    let one = web::resource("/admin/v1/blocked-domains/{domain}").route(web::delete().to(remove_domain));
    routes.service(all.default_service(only("GET, POST"))).service(one.default_service(only("DELETE")));
}

#[derive(Debug, Serialize, ToSchema)]
pub struct BlockedDomainView {
    pub domain: String,
    pub note: String,
    pub created_at: String,
}

impl From<BlockedDomain> for BlockedDomainView {
    fn from(row: BlockedDomain) -> Self {
        Self { domain: row.domain, note: row.note, created_at: rfc3339(row.created_at) }
    }
}

/// All of them, on one page.
#[derive(Debug, Serialize, ToSchema)]
pub struct BlockedDomains {
    pub data: Vec<BlockedDomainView>,
    pub has_more: bool,
    pub next_cursor: Option<String>,
}

/// Mail domains that may not sign up
#[utoipa::path(get, path = "/admin/v1/blocked-domains", tag = "Admin: accounts", security(("key" = ["admin"])), responses((status = 200, body = BlockedDomains)))]
pub async fn list_domains(admin: Admin) -> Result<HttpResponse, ApiError> {
    let data = people::list_domains(&admin.control).await?.into_iter().map(BlockedDomainView::from).collect();
    Ok(HttpResponse::Ok().json(BlockedDomains { data, has_more: false, next_cursor: None }))
}

/// Block a mail domain
///
/// With its subdomains; known accounts are not touched.
#[utoipa::path(post, path = "/admin/v1/blocked-domains", tag = "Admin: accounts", security(("key" = ["admin"])), request_body = NewBlockedDomain,
    responses((status = 201, body = BlockedDomainView), (status = 400, description = "`invalid_request`")))]
pub async fn add_domain(admin: Admin, Json(new): Json<NewBlockedDomain>) -> Result<HttpResponse, ApiError> {
    let row = admin.change(|control, actor| async move { people::add_domain(&control, &actor, new).await }).await?;
    Ok(HttpResponse::Created().json(BlockedDomainView::from(row)))
}

/// Unblock a mail domain
#[utoipa::path(delete, path = "/admin/v1/blocked-domains/{domain}", tag = "Admin: accounts", security(("key" = ["admin"])),
    params(("domain" = String, Path, description = "As it was added")),
    responses((status = 204, description = "It is not blocked any more"), (status = 404, description = "`not_found`")))]
pub async fn remove_domain(admin: Admin, domain: web::Path<String>) -> Result<HttpResponse, ApiError> {
    admin.change(|control, actor| async move { people::remove_domain(&control, &actor, &domain).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}
