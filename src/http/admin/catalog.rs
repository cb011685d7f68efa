//! `/admin/v1/upstreams` and `/admin/v1/models`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{
    extract::{Admin, Json, Query},
    list, only,
    views::{CatalogModelView, DrillView, PriceRecordView, UpstreamView},
};
use crate::{
    control::Moment,
    control::catalog::{
        self, Format, Import, ImportReport, ModelPatch, NewDrill, NewModel, NewUpstream, Origin, UpstreamPatch, UpstreamTest,
    },
    http::{
        error::ApiError,
        page::{Page, PageQuery},
    },
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let upstreams = web::resource("/admin/v1/upstreams").route(web::get().to(list_upstreams)).route(web::post().to(create_upstream));
    let upstream = web::resource("/admin/v1/upstreams/{name}")
        .route(web::get().to(get_upstream))
        .route(web::patch().to(patch_upstream))
        .route(web::delete().to(delete_upstream));
    let test = web::resource("/admin/v1/upstreams/{name}/test").route(web::post().to(test_upstream));
    let drill = web::resource("/admin/v1/upstreams/{name}/drill").route(web::post().to(start_drill)).route(web::delete().to(end_drill));
    let models = web::resource("/admin/v1/models").route(web::get().to(list_models)).route(web::post().to(create_model));
    let import = web::resource("/admin/v1/models/import").route(web::post().to(import_models));
    // Ids contain `/`, which some proxies decode on the way: an id takes the rest of the path, up to `/prices` at its end.
    let prices = web::resource("/admin/v1/models/{id:.+}/prices").route(web::get().to(list_prices));
    let model = web::resource("/admin/v1/models/{id:.+}")
        .route(web::get().to(get_model))
        .route(web::patch().to(patch_model))
        .route(web::delete().to(delete_model));
    routes
        .service(upstreams.default_service(only("GET, POST")))
        .service(test.default_service(only("POST")))
        .service(drill.default_service(only("POST, DELETE")))
        .service(upstream.default_service(only("GET, PATCH, DELETE")))
        .service(models.default_service(only("GET, POST")))
        .service(import.default_service(only("POST")))
        .service(prices.default_service(only("GET")))
        .service(model.default_service(only("GET, PATCH, DELETE")));
}

/// Create an upstream
#[utoipa::path(post, path = "/admin/v1/upstreams", tag = "Admin: catalogue", security(("key" = ["admin"])), request_body = NewUpstream,
    responses((status = 201, body = UpstreamView), (status = 400, description = "`invalid_request`"), (status = 409, description = "The name is taken")))]
pub async fn create_upstream(admin: Admin, Json(new): Json<NewUpstream>) -> Result<HttpResponse, ApiError> {
    let upstream = admin.change(|control, actor| async move { catalog::create_upstream(&control, &actor, new).await }).await?;
    Ok(HttpResponse::Created().json(UpstreamView::from(upstream)))
}

/// List upstreams
///
/// By name.
#[utoipa::path(get, path = "/admin/v1/upstreams", tag = "Admin: catalogue", security(("key" = ["admin"])), params(PageQuery),
    responses((status = 200, body = Page<UpstreamView>)))]
pub async fn list_upstreams(admin: Admin, Query(query): Query<PageQuery>) -> Result<HttpResponse, ApiError> {
    Ok(list::<_, UpstreamView>(catalog::list_upstreams(&admin.control, &query.request()?).await?))
}

/// One upstream
#[utoipa::path(get, path = "/admin/v1/upstreams/{name}", tag = "Admin: catalogue", security(("key" = ["admin"])),
    params(("name" = String, Path, description = "Name of the upstream")),
    responses((status = 200, body = UpstreamView), (status = 404, description = "`not_found`")))]
pub async fn get_upstream(admin: Admin, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(UpstreamView::from(catalog::get_upstream(&admin.control, &name).await?)))
}

/// Change an upstream
///
/// Calls that run finish on the old configuration.
#[utoipa::path(patch, path = "/admin/v1/upstreams/{name}", tag = "Admin: catalogue", security(("key" = ["admin"])),
    params(("name" = String, Path, description = "Name of the upstream")), request_body = Option<UpstreamPatch>,
    responses((status = 200, body = UpstreamView), (status = 400, description = "`invalid_request`"), (status = 404, description = "`not_found`")))]
pub async fn patch_upstream(admin: Admin, name: web::Path<String>, Json(patch): Json<UpstreamPatch>) -> Result<HttpResponse, ApiError> {
    let upstream = admin.change(|control, actor| async move { catalog::patch_upstream(&control, &actor, &name, patch).await }).await?;
    Ok(HttpResponse::Ok().json(UpstreamView::from(upstream)))
}

/// Delete an upstream
///
/// Refused while a model routes to it.
#[utoipa::path(delete, path = "/admin/v1/upstreams/{name}", tag = "Admin: catalogue", security(("key" = ["admin"])),
    params(("name" = String, Path, description = "Name of the upstream")),
    responses((status = 204, description = "It is gone"), (status = 404, description = "`not_found`"),
        (status = 409, description = "Models route to it, or it is built in")))]
pub async fn delete_upstream(admin: Admin, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    admin.change(|control, actor| async move { catalog::delete_upstream(&control, &actor, &name).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Test an upstream
///
/// Asks it for a sign of life that costs nothing, with the key and the timeouts that are configured.
#[utoipa::path(post, path = "/admin/v1/upstreams/{name}/test", tag = "Admin: catalogue", security(("key" = ["admin"])),
    params(("name" = String, Path, description = "Name of the upstream")),
    responses((status = 200, body = UpstreamTest), (status = 404, description = "`not_found`")))]
pub async fn test_upstream(admin: Admin, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(catalog::test_upstream(&admin.control, &name).await?))
}

/// Play an outage
///
/// Calls of this node fail on the upstream as if it could not be reached, for at most an hour, so that fallbacks and alarms can be tried
/// while everything is well. Ends by itself, by DELETE, and by every change of the upstream.
#[utoipa::path(post, path = "/admin/v1/upstreams/{name}/drill", tag = "Admin: catalogue", security(("key" = ["admin"])),
    params(("name" = String, Path, description = "Name of the upstream")), request_body = NewDrill,
    responses((status = 200, body = DrillView), (status = 400, description = "`invalid_request`"), (status = 404, description = "`not_found`")))]
pub async fn start_drill(admin: Admin, name: web::Path<String>, Json(drill): Json<NewDrill>) -> Result<HttpResponse, ApiError> {
    let name = name.into_inner();
    let until = {
        let name = name.clone();
        admin.change(|control, actor| async move { catalog::start_drill(&control, &actor, &name, &drill).await }).await?
    };
    Ok(HttpResponse::Ok().json(DrillView { upstream: name, until: Moment(until) }))
}

/// End an outage drill
#[utoipa::path(delete, path = "/admin/v1/upstreams/{name}/drill", tag = "Admin: catalogue", security(("key" = ["admin"])),
    params(("name" = String, Path, description = "Name of the upstream")),
    responses((status = 204, description = "No drill is under way"), (status = 404, description = "`not_found`")))]
pub async fn end_drill(admin: Admin, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    admin.change(|control, actor| async move { catalog::end_drill(&control, &actor, &name).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Create a model
#[utoipa::path(post, path = "/admin/v1/models", tag = "Admin: catalogue", security(("key" = ["admin"])), request_body = NewModel,
    responses((status = 201, body = CatalogModelView), (status = 400, description = "`invalid_request`"), (status = 409, description = "The id is taken")))]
pub async fn create_model(admin: Admin, Json(new): Json<NewModel>) -> Result<HttpResponse, ApiError> {
    let model = admin.change(|control, actor| async move { catalog::create_model(&control, &actor, new).await }).await?;
    Ok(HttpResponse::Created().json(CatalogModelView::from(model)))
}

/// Whole price lists have a few megabytes.
const IMPORT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A catalogue to import.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportBody {
    #[serde(default)]
    pub format: Format,
    /// The file: its text, or for the JSON formats the object itself. Without it, the catalogue that comes with Pixgate.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Option<Box<RawValue>>,
    /// What prices are multiplied with, exactly.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "1.2")]
    pub markup: Option<Box<RawValue>>,
    /// Any of these providers, and any of these modes.
    #[serde(default)]
    #[schema(example = "provider=openai,mode=chat")]
    pub only: Option<String>,
    /// Upstreams by name, each with the provider whose models it serves.
    #[serde(default)]
    pub upstreams: BTreeMap<String, String>,
    /// Answer what would change, write nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Take over prices that change more than tenfold, too.
    #[serde(default)]
    pub force: bool,
}

impl From<ImportBody> for Import {
    fn from(body: ImportBody) -> Self {
        Self {
            origin: body.data.filter(|data| data.get() != "null").map_or(Origin::Bundled, |data| Origin::Text(text_of(&data))),
            format: body.format,
            only: body.only,
            // A number keeps the digits it was written with.
            markup: body.markup.filter(|markup| markup.get() != "null").map(|markup| text_of(&markup)),
            upstreams: body.upstreams,
            dry_run: body.dry_run,
            force: body.force,
        }
    }
}

/// What a JSON string says, or the value as it was written.
fn text_of(raw: &RawValue) -> String {
    serde_json::from_str(raw.get()).unwrap_or_else(|_| raw.get().to_owned())
}

/// Import models
///
/// Reads a price list, compares it with the models that are there, and writes the difference. Prices, limits and capabilities follow the
/// file; routes, names and switches of known models stay. A model without a price, or without an enabled upstream for its provider, is
/// kept disabled.
#[utoipa::path(post, path = "/admin/v1/models/import", tag = "Admin: catalogue", security(("key" = ["admin"])), request_body = Option<ImportBody>,
    responses((status = 200, body = ImportReport), (status = 400, description = "`invalid_request`")))]
pub async fn import_models(admin: Admin, Json(body): Json<ImportBody, IMPORT_BYTES_MAX>) -> Result<HttpResponse, ApiError> {
    let report = admin.change(|control, actor| async move { catalog::import_models(&control, &actor, body.into()).await }).await?;
    Ok(HttpResponse::Ok().json(report))
}

/// List models
///
/// By id, disabled ones too.
#[utoipa::path(get, path = "/admin/v1/models", tag = "Admin: catalogue", security(("key" = ["admin"])), params(PageQuery),
    responses((status = 200, body = Page<CatalogModelView>)))]
pub async fn list_models(admin: Admin, Query(query): Query<PageQuery>) -> Result<HttpResponse, ApiError> {
    Ok(list::<_, CatalogModelView>(catalog::list_models(&admin.control, &query.request()?).await?))
}

/// One model
#[utoipa::path(get, path = "/admin/v1/models/{id}", tag = "Admin: catalogue", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "Id of the model, with `/` as `%2F`")),
    responses((status = 200, body = CatalogModelView), (status = 404, description = "`not_found`")))]
pub async fn get_model(admin: Admin, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(CatalogModelView::from(catalog::get_model(&admin.control, &id).await?)))
}

/// What a model cost
///
/// Every change of its prices, newest first. Prices of former times stay, also when the model is deleted.
#[utoipa::path(get, path = "/admin/v1/models/{id}/prices", tag = "Admin: catalogue", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "Id of the model, with `/` as `%2F`"), PageQuery),
    responses((status = 200, body = Page<PriceRecordView>), (status = 404, description = "`not_found`")))]
pub async fn list_prices(admin: Admin, id: web::Path<String>, Query(query): Query<PageQuery>) -> Result<HttpResponse, ApiError> {
    Ok(list::<_, PriceRecordView>(catalog::list_prices(&admin.control, &id, &query.request()?).await?))
}

/// Change a model
///
/// Calls that run keep the prices of their admission.
#[utoipa::path(patch, path = "/admin/v1/models/{id}", tag = "Admin: catalogue", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "Id of the model, with `/` as `%2F`")), request_body = Option<ModelPatch>,
    responses((status = 200, body = CatalogModelView), (status = 400, description = "`invalid_request`"), (status = 404, description = "`not_found`")))]
pub async fn patch_model(admin: Admin, id: web::Path<String>, Json(patch): Json<ModelPatch>) -> Result<HttpResponse, ApiError> {
    let model = admin.change(|control, actor| async move { catalog::patch_model(&control, &actor, &id, patch).await }).await?;
    Ok(HttpResponse::Ok().json(CatalogModelView::from(model)))
}

/// Delete a model
#[utoipa::path(delete, path = "/admin/v1/models/{id}", tag = "Admin: catalogue", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "Id of the model, with `/` as `%2F`")),
    responses((status = 204, description = "It is gone"), (status = 404, description = "`not_found`"), (status = 409, description = "It is built in")))]
pub async fn delete_model(admin: Admin, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    admin.change(|control, actor| async move { catalog::delete_model(&control, &actor, &id).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}
