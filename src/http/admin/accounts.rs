//! `/admin/v1/accounts`

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    extract::{Admin, Json, Query},
    list, only,
    views::AccountView,
};
use crate::{
    control::accounts::{self, AccountPatch, NewAccount},
    http::{
        error::ApiError,
        page::{Page, PageQuery},
    },
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let all = web::resource("/admin/v1/accounts").route(web::get().to(list_accounts)).route(web::post().to(create_account));
    let one = web::resource("/admin/v1/accounts/{id}").route(web::get().to(get_account)).route(web::patch().to(patch_account));
    routes.service(all.default_service(only("GET, POST"))).service(one.default_service(only("GET, PATCH")));
}

/// Create an account
///
/// It begins with no credits and no keys.
#[utoipa::path(post, path = "/admin/v1/accounts", tag = "Admin: accounts", security(("key" = ["admin"])), request_body = NewAccount,
    responses((status = 201, body = AccountView), (status = 400, description = "`invalid_request`"),
        (status = 409, description = "The e-mail address is taken")))]
pub async fn create_account(admin: Admin, Json(new): Json<NewAccount>) -> Result<HttpResponse, ApiError> {
    let account = admin.change(|control, actor| async move { accounts::create(&control, &actor, new).await }).await?;
    Ok(HttpResponse::Created().json(AccountView::from(account)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AccountsQuery {
    /// Part of the e-mail address, the name or the id.
    q: Option<String>,
    #[serde(flatten)]
    #[param(ignore)]
    page: PageQuery,
}

/// List accounts
///
/// Newest first.
#[utoipa::path(get, path = "/admin/v1/accounts", tag = "Admin: accounts", security(("key" = ["admin"])), params(AccountsQuery, PageQuery),
    responses((status = 200, body = Page<AccountView>)))]
pub async fn list_accounts(admin: Admin, Query(query): Query<AccountsQuery>) -> Result<HttpResponse, ApiError> {
    let page = accounts::list(&admin.control, query.q.as_deref(), &query.page.request()?).await?;
    Ok(list::<_, AccountView>(page))
}

/// One account
#[utoipa::path(get, path = "/admin/v1/accounts/{id}", tag = "Admin: accounts", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`acc_…`")),
    responses((status = 200, body = AccountView), (status = 404, description = "`not_found`")))]
pub async fn get_account(admin: Admin, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(AccountView::from(accounts::get(&admin.control, &id).await?)))
}

/// Change an account
///
/// Its next call sees the change: keys of suspended and closed accounts are refused.
#[utoipa::path(patch, path = "/admin/v1/accounts/{id}", tag = "Admin: accounts", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`acc_…`")), request_body = Option<AccountPatch>,
    responses((status = 200, body = AccountView), (status = 400, description = "`invalid_request`"), (status = 404, description = "`not_found`")))]
pub async fn patch_account(admin: Admin, id: web::Path<String>, Json(patch): Json<AccountPatch>) -> Result<HttpResponse, ApiError> {
    let account = admin.change(|control, actor| async move { accounts::patch(&control, &actor, &id, patch).await }).await?;
    Ok(HttpResponse::Ok().json(AccountView::from(account)))
}
