//! The catalogue as a key sees it.

use std::rc::Rc;

use actix_web::{HttpRequest, HttpResponse, get, web};
use serde::Serialize;

use crate::{
    actors::{account::Identity, catalog::ModelEntry},
    domain::{
        SECOND,
        api_key::Scope,
        catalog::{Capabilities, Model},
        pricing::Price,
        refusal::Refusal,
    },
    http::{error::ApiError, headers::CallerReader},
    pipeline::Pipeline,
};

#[derive(Serialize, utoipa::ToSchema)]
pub struct ModelView {
    pub id: String,
    /// Always `model`.
    pub object: &'static str,
    /// Seconds since the Unix epoch.
    pub created: i64,
    pub owned_by: String,
    pub name: String,
    pub kind: crate::domain::catalog::ModelKind,
    /// Other names it answers to.
    pub aliases: Vec<String>,
    /// What is not said is unknown.
    pub capabilities: Capabilities,
    pub context_length: Option<u64>,
    pub max_input_tokens: Option<u64>,
    pub max_output_tokens: Option<u64>,
    pub prices: Vec<Price>,
    /// The day from which its vendor may switch it off.
    #[schema(format = Date)]
    pub deprecated_at: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct ModelList {
    /// Always `list`.
    pub object: &'static str,
    pub data: Vec<ModelView>,
    /// Always false: the list is whole.
    pub has_more: bool,
    pub next_cursor: Option<String>,
}

fn view(entry: &ModelEntry) -> ModelView {
    let model = &entry.model;
    ModelView {
        id: model.id.clone(),
        object: "model",
        created: model.created_at / SECOND,
        owned_by: owner(model),
        name: model.display_name.clone(),
        kind: model.kind,
        aliases: model.aliases.clone(),
        capabilities: model.capabilities,
        // Many vendors name the longest input only.
        context_length: model.context_window.or(model.max_input_tokens),
        max_input_tokens: model.max_input_tokens,
        max_output_tokens: model.max_output_tokens,
        prices: model.prices.clone(),
        deprecated_at: model.deprecated_at.clone(),
    }
}

fn owner(model: &Model) -> String {
    let from_id = || model.id.split_once('/').map_or("pixgate", |(owner, _)| owner).to_owned();
    model.owner.clone().unwrap_or_else(from_id)
}

/// Models this key can call
#[utoipa::path(get, path = "/v1/models", tag = "Models", security(("key" = [])), responses((status = 200, body = ModelList)))]
#[get("/v1/models")]
pub async fn list(
    request: HttpRequest,
    pipeline: web::Data<Rc<Pipeline>>,
    reader: web::Data<CallerReader>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&request, &pipeline, &reader).await?;
    let snapshot = pipeline.catalog.snapshot();
    let data = snapshot.models().into_iter().filter(|entry| caller.key.allows_model(&entry.id)).map(|entry| view(entry)).collect();
    Ok(HttpResponse::Ok().json(ModelList { object: "list", data, has_more: false, next_cursor: None }))
}

/// One model
#[utoipa::path(get, path = "/v1/models/{id}", tag = "Models", security(("key" = [])), params(("id" = String, Path, description = "Id of the model, with `/` as `%2F`")),
    responses((status = 200, body = ModelView), (status = 404, description = "`model_not_found`")))]
#[get("/v1/models/{id:.+}")]
pub async fn get(
    request: HttpRequest,
    id: web::Path<String>,
    pipeline: web::Data<Rc<Pipeline>>,
    reader: web::Data<CallerReader>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&request, &pipeline, &reader).await?;
    let snapshot = pipeline.catalog.snapshot();
    match snapshot.resolve(&id).map(|resolved| resolved.entry).filter(|entry| caller.key.allows_model(&entry.id)) {
        Some(entry) => Ok(HttpResponse::Ok().json(view(entry))),
        None => Err(Refusal::ModelNotFound(id.chars().take(200).filter(|letter| !letter.is_control()).collect()).into()),
    }
}

pub(super) async fn caller(request: &HttpRequest, pipeline: &Pipeline, reader: &CallerReader) -> Result<Identity, ApiError> {
    let presented = reader.read(request, Scope::Inference)?;
    Ok(pipeline.accounts.authenticate(&presented).await?)
}
