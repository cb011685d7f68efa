//! `/api/v1/provider-keys`: keys of providers that an account brings itself.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    admin::{extract::Json, only},
    error::ApiError,
    headers::CallerReader,
    page::Page,
};
use crate::{
    control::{
        Actor, Control, Moment,
        provider_keys::{self, NewProviderKey, ProviderKey},
    },
    domain::api_key::Scope,
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let all = web::resource("/api/v1/provider-keys").route(web::get().to(list_provider_keys));
    let one = web::resource("/api/v1/provider-keys/{upstream}")
        .route(web::get().to(get_provider_key))
        .route(web::put().to(put_provider_key))
        .route(web::delete().to(delete_provider_key));
    routes.service(all.default_service(only("GET"))).service(one.default_service(only("GET, PUT, DELETE")));
}

/// A key of one's own, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProviderKeyView {
    /// Calls to this upstream are made with the key.
    #[schema(example = "openai")]
    pub upstream: String,
    /// Last characters of the key.
    pub last4: String,
    pub created_at: Moment,
}

impl From<ProviderKey> for ProviderKeyView {
    fn from(key: ProviderKey) -> Self {
        Self { upstream: key.upstream, last4: key.last4, created_at: Moment(key.created_at) }
    }
}

/// The account that asks, and the key it asks with.
async fn owner(request: &HttpRequest, control: &Control, reader: &CallerReader) -> Result<(String, Actor), ApiError> {
    let caller = control.accounts.authenticate(&reader.read(request, Scope::Account)?).await?;
    Ok((caller.account_id, Actor { id: caller.key.id }))
}

/// List keys of one's own
///
/// By upstream.
#[utoipa::path(get, path = "/api/v1/provider-keys", tag = "Account", security(("key" = ["account"])),
    responses((status = 200, body = Page<ProviderKeyView>)))]
pub async fn list_provider_keys(
    request: HttpRequest,
    control: web::Data<Control>,
    reader: web::Data<CallerReader>,
) -> Result<HttpResponse, ApiError> {
    let (account_id, _) = owner(&request, &control, &reader).await?;
    let keys = provider_keys::list(&control, &account_id).await?;
    let data = keys.into_iter().map(ProviderKeyView::from).collect();
    Ok(HttpResponse::Ok().json(Page { data, has_more: false, next_cursor: None }))
}

/// One key of one's own
#[utoipa::path(get, path = "/api/v1/provider-keys/{upstream}", tag = "Account", security(("key" = ["account"])),
    params(("upstream" = String, Path, description = "Name of the upstream")),
    responses((status = 200, body = ProviderKeyView), (status = 404, description = "`not_found`")))]
pub async fn get_provider_key(
    request: HttpRequest,
    upstream: web::Path<String>,
    control: web::Data<Control>,
    reader: web::Data<CallerReader>,
) -> Result<HttpResponse, ApiError> {
    let (account_id, _) = owner(&request, &control, &reader).await?;
    Ok(HttpResponse::Ok().json(ProviderKeyView::from(provider_keys::get(&control, &account_id, &upstream).await?)))
}

/// Set a key of one's own
///
/// From the next call on, the account's calls to this upstream are made with the key and cost the platform fee only
/// (`billing.byok_fee_percent` of the model's price). What a call holds while it runs is its whole price.
#[utoipa::path(put, path = "/api/v1/provider-keys/{upstream}", tag = "Account", security(("key" = ["account"])),
    params(("upstream" = String, Path, description = "Name of the upstream")), request_body = NewProviderKey,
    responses((status = 200, body = ProviderKeyView), (status = 400, description = "`invalid_request`: the key cannot be one of this provider, or the upstream takes none"),
        (status = 404, description = "`not_found`")))]
pub async fn put_provider_key(
    request: HttpRequest,
    upstream: web::Path<String>,
    control: web::Data<Control>,
    reader: web::Data<CallerReader>,
    Json(new): Json<NewProviderKey>,
) -> Result<HttpResponse, ApiError> {
    let (account_id, actor) = owner(&request, &control, &reader).await?;
    let work = |control: Control| async move { provider_keys::put(&control, &actor, &account_id, &upstream, new).await };
    Ok(HttpResponse::Ok().json(ProviderKeyView::from(control.to_the_end(work).await?)))
}

/// Delete a key of one's own
#[utoipa::path(delete, path = "/api/v1/provider-keys/{upstream}", tag = "Account", security(("key" = ["account"])),
    params(("upstream" = String, Path, description = "Name of the upstream")),
    responses((status = 204, description = "It is gone; calls are made with the gateway's keys again"), (status = 404, description = "`not_found`")))]
pub async fn delete_provider_key(
    request: HttpRequest,
    upstream: web::Path<String>,
    control: web::Data<Control>,
    reader: web::Data<CallerReader>,
) -> Result<HttpResponse, ApiError> {
    let (account_id, actor) = owner(&request, &control, &reader).await?;
    let work = |control: Control| async move { provider_keys::delete(&control, &actor, &account_id, &upstream).await };
    control.to_the_end(work).await?;
    Ok(HttpResponse::NoContent().finish())
}
