//! What was called and what was changed: `/admin/v1/usage`, `/admin/v1/accounts/{id}/usage`, `/admin/v1/audit`

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    extract::{Admin, Query},
    list, only,
    views::AuditView,
};
use crate::{
    control::{
        Moment, audit,
        usage::{self, UsageFilter},
    },
    http::{
        error::ApiError,
        page::{Page, PageQuery},
        views::UsageView,
    },
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let all = web::resource("/admin/v1/usage").route(web::get().to(list_usage));
    let of_account = web::resource("/admin/v1/accounts/{id}/usage").route(web::get().to(list_usage_of));
    let audit = web::resource("/admin/v1/audit").route(web::get().to(list_audit));
    routes
        .service(all.default_service(only("GET")))
        .service(of_account.default_service(only("GET")))
        .service(audit.default_service(only("GET")));
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UsageQuery {
    /// Only calls with this key.
    key_id: Option<String>,
    /// Only calls of this model.
    model: Option<String>,
    /// Calls that started at or after this moment.
    from: Option<Moment>,
    /// Calls that started before this moment.
    to: Option<Moment>,
    #[serde(flatten)]
    #[param(ignore)]
    page: PageQuery,
}

impl UsageQuery {
    fn filter(&self) -> UsageFilter {
        UsageFilter {
            account_id: None,
            key_id: self.key_id.clone(),
            model: self.model.clone(),
            from: self.from.map(|moment| moment.0),
            to: self.to.map(|moment| moment.0),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AllUsageQuery {
    /// Only calls of this account.
    account_id: Option<String>,
    #[serde(flatten)]
    #[param(ignore)]
    usage: UsageQuery,
}

/// List calls
///
/// Of all accounts, newest first. A call appears within a second after its end.
#[utoipa::path(get, path = "/admin/v1/usage", tag = "Admin: usage", security(("key" = ["admin"])), params(AllUsageQuery, UsageQuery, PageQuery),
    responses((status = 200, body = Page<UsageView>)))]
pub async fn list_usage(admin: Admin, Query(query): Query<AllUsageQuery>) -> Result<HttpResponse, ApiError> {
    let filter = UsageFilter { account_id: query.account_id.clone(), ..query.usage.filter() };
    Ok(list::<_, UsageView>(usage::list(&admin.control, &filter, &query.usage.page.request()?).await?))
}

/// List the calls of an account
///
/// Newest first. A call appears within a second after its end.
#[utoipa::path(get, path = "/admin/v1/accounts/{id}/usage", tag = "Admin: usage", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`acc_…`"), UsageQuery, PageQuery),
    responses((status = 200, body = Page<UsageView>), (status = 404, description = "`not_found`")))]
pub async fn list_usage_of(admin: Admin, id: web::Path<String>, Query(query): Query<UsageQuery>) -> Result<HttpResponse, ApiError> {
    let page = usage::list_of_account(&admin.control, &id, query.filter(), &query.page.request()?).await?;
    Ok(list::<_, UsageView>(page))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only entries about what has this id or name.
    subject: Option<String>,
    #[serde(flatten)]
    #[param(ignore)]
    page: PageQuery,
}

/// The audit trail
///
/// Who changed what, newest first.
#[utoipa::path(get, path = "/admin/v1/audit", tag = "Admin: usage", security(("key" = ["admin"])), params(AuditQuery, PageQuery),
    responses((status = 200, body = Page<AuditView>)))]
pub async fn list_audit(admin: Admin, Query(query): Query<AuditQuery>) -> Result<HttpResponse, ApiError> {
    Ok(list::<_, AuditView>(audit::list(&admin.control, query.subject.as_deref(), &query.page.request()?).await?))
}
