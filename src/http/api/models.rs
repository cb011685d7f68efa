//! The catalogue as a key sees it, in the shape of the dialect that asks.

use std::rc::Rc;

use actix_web::{HttpRequest, HttpResponse, get, web};
use serde::{Deserialize, Serialize};

use crate::{
    actors::{account::Identity, catalog::ModelEntry},
    dialect::{Dialect, Endpoint},
    domain::{
        SECOND,
        api_key::Scope,
        catalog::{Capabilities, Model},
        pricing::Price,
        refusal::Refusal,
    },
    http::{
        error::ApiError,
        headers::{self, CallerReader},
        views::rfc3339,
    },
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
///
/// In OpenAI's shape; in Gemini's with `x-goog-api-key` or `?key=`, else in Anthropic's with `anthropic-version` or `x-api-key`.
#[utoipa::path(get, path = "/v1/models", tag = "Models", security(("key" = [])), responses((status = 200, body = ModelList)))]
#[get("/v1/models")]
pub async fn list(
    request: HttpRequest,
    query: web::Query<PageQuery>,
    pipeline: web::Data<Rc<Pipeline>>,
    reader: web::Data<CallerReader>,
) -> Result<HttpResponse, ApiError> {
    list_for(&request, &query, &pipeline, &reader).await
}

/// One model
///
/// In the shapes of the list.
#[utoipa::path(get, path = "/v1/models/{id}", tag = "Models", security(("key" = [])), params(("id" = String, Path, description = "Id of the model, with `/` as `%2F`")),
    responses((status = 200, body = ModelView), (status = 404, description = "`model_not_found`")))]
#[get("/v1/models/{id:.+}")]
pub async fn get(
    request: HttpRequest,
    id: web::Path<String>,
    pipeline: web::Data<Rc<Pipeline>>,
    reader: web::Data<CallerReader>,
) -> Result<HttpResponse, ApiError> {
    get_for(&request, &id, &pipeline, &reader).await
}

/// Models this key can call, for Gemini's clients
#[utoipa::path(get, path = "/v1beta/models", tag = "Models", security(("key" = [])), responses((status = 200, body = GeminiList)))]
#[get("/v1beta/models")]
pub async fn list_gemini(
    request: HttpRequest,
    query: web::Query<PageQuery>,
    pipeline: web::Data<Rc<Pipeline>>,
    reader: web::Data<CallerReader>,
) -> Result<HttpResponse, ApiError> {
    list_for(&request, &query, &pipeline, &reader).await
}

/// One model, for Gemini's clients
#[utoipa::path(get, path = "/v1beta/models/{id}", tag = "Models", security(("key" = [])), params(("id" = String, Path, description = "Id of the model, with `/` as `%2F`")),
    responses((status = 200, body = GeminiModel), (status = 404, description = "`NOT_FOUND`")))]
#[get("/v1beta/models/{id:.+}")]
pub async fn get_gemini(
    request: HttpRequest,
    id: web::Path<String>,
    pipeline: web::Data<Rc<Pipeline>>,
    reader: web::Data<CallerReader>,
) -> Result<HttpResponse, ApiError> {
    get_for(&request, &id, &pipeline, &reader).await
}

/// Which part of the list is wanted: Anthropic's parameters, then Gemini's. OpenAI has none.
#[derive(Debug, Deserialize)]
pub struct PageQuery {
    limit: Option<usize>,
    after_id: Option<String>,
    before_id: Option<String>,
    #[serde(rename = "pageSize", alias = "page_size")]
    page_size: Option<usize>,
    #[serde(rename = "pageToken", alias = "page_token")]
    page_token: Option<String>,
}

async fn list_for(request: &HttpRequest, query: &PageQuery, pipeline: &Pipeline, reader: &CallerReader) -> Result<HttpResponse, ApiError> {
    let caller = caller(request, pipeline, reader).await?;
    let snapshot = pipeline.catalog.snapshot();
    let models: Vec<&ModelEntry> =
        snapshot.models().into_iter().map(|entry| &**entry).filter(|entry| caller.key.allows_model(&entry.id)).collect();
    Ok(match headers::dialect(request.path(), request.query_string(), request.headers()) {
        Dialect::Anthropic => {
            let (page, has_more) = page(&models, query.after_id.as_deref(), query.before_id.as_deref(), query.limit);
            let data: Vec<AnthropicModel> = page.iter().map(|entry| AnthropicModel::of(entry)).collect();
            let (first_id, last_id) = (data.first().map(|model| model.id.clone()), data.last().map(|model| model.id.clone()));
            HttpResponse::Ok().json(AnthropicList { data, has_more, first_id, last_id })
        }
        Dialect::Gemini => {
            let (page, has_more) = page(&models, query.page_token.as_deref(), None, query.page_size);
            let next_page_token = page.last().filter(|_| has_more).map(|entry| entry.id.to_string());
            HttpResponse::Ok().json(GeminiList { models: page.iter().map(|entry| GeminiModel::of(entry)).collect(), next_page_token })
        }
        _ => {
            let data = models.into_iter().map(view).collect();
            HttpResponse::Ok().json(ModelList { object: "list", data, has_more: false, next_cursor: None })
        }
    })
}

async fn get_for(request: &HttpRequest, id: &str, pipeline: &Pipeline, reader: &CallerReader) -> Result<HttpResponse, ApiError> {
    let caller = caller(request, pipeline, reader).await?;
    let snapshot = pipeline.catalog.snapshot();
    let Some(entry) = snapshot.resolve(id).map(|resolved| resolved.entry).filter(|entry| caller.key.allows_model(&entry.id)) else {
        return Err(Refusal::ModelNotFound(id.chars().take(200).filter(|letter| !letter.is_control()).collect()).into());
    };
    Ok(match headers::dialect(request.path(), request.query_string(), request.headers()) {
        Dialect::Anthropic => HttpResponse::Ok().json(AnthropicModel::of(entry)),
        Dialect::Gemini => HttpResponse::Ok().json(GeminiModel::of(entry)),
        _ => HttpResponse::Ok().json(view(entry)),
    })
}

/// The models (sorted by id) between two ids, at most so many, and whether there are more. Unless asked otherwise, all of them.
fn page<'a>(models: &'a [&'a ModelEntry], after: Option<&str>, before: Option<&str>, limit: Option<usize>) -> (&'a [&'a ModelEntry], bool) {
    let limit = limit.unwrap_or(usize::MAX).max(1);
    let start = after.map_or(0, |after| models.partition_point(|entry| &*entry.id <= after));
    let end = before.map_or(models.len(), |before| models.partition_point(|entry| &*entry.id < before)).max(start);
    let between = models.get(start..end).unwrap_or_default();
    if between.len() <= limit {
        return (between, false);
    }
    // A page before an id is the one that ends next to it.
    let from = if before.is_some() && after.is_none() { between.len() - limit } else { 0 };
    (between.get(from..from + limit).unwrap_or_default(), true)
}

/// A model in Anthropic's shape, with every member that its clients know.
#[derive(Serialize)]
struct AnthropicModel {
    r#type: &'static str,
    id: String,
    display_name: String,
    created_at: String,
    max_input_tokens: Option<u64>,
    max_tokens: Option<u64>,
    lifecycle: &'static str,
    /// The rest is not known here, and has to be there.
    deprecated_at: (),
    retires_at: (),
    line: (),
    capabilities: (),
}

#[derive(Serialize)]
struct AnthropicList {
    data: Vec<AnthropicModel>,
    has_more: bool,
    first_id: Option<String>,
    last_id: Option<String>,
}

impl AnthropicModel {
    fn of(entry: &ModelEntry) -> Self {
        let model = &entry.model;
        Self {
            r#type: "model",
            id: model.id.clone(),
            display_name: model.display_name.clone(),
            created_at: rfc3339(model.created_at),
            max_input_tokens: model.context_window,
            max_tokens: model.max_output_tokens,
            lifecycle: "active",
            deprecated_at: (),
            retires_at: (),
            line: (),
            capabilities: (),
        }
    }
}

#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct GeminiModel {
    /// `models/` and the id.
    name: String,
    version: &'static str,
    display_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_token_limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_token_limit: Option<u64>,
    supported_generation_methods: Vec<&'static str>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct GeminiList {
    models: Vec<GeminiModel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

impl GeminiModel {
    fn of(entry: &ModelEntry) -> Self {
        let model = &entry.model;
        let methods = [
            (Endpoint::GenerateContent, "generateContent"),
            (Endpoint::GenerateContent, "streamGenerateContent"),
            (Endpoint::GenerateContent, "countTokens"),
            (Endpoint::EmbedContent, "embedContent"),
            (Endpoint::BatchEmbedContents, "batchEmbedContents"),
        ];
        Self {
            name: format!("models/{}", model.id),
            // Versions are part of our ids.
            version: "",
            display_name: model.display_name.clone(),
            input_token_limit: model.context_window,
            output_token_limit: model.max_output_tokens,
            supported_generation_methods: methods
                .into_iter()
                .filter(|(endpoint, _)| endpoint.kind_allows(model.kind))
                .map(|(_, method)| method)
                .collect(),
        }
    }
}

pub(in crate::http) async fn caller(request: &HttpRequest, pipeline: &Pipeline, reader: &CallerReader) -> Result<Identity, ApiError> {
    let presented = reader.read(request, Scope::Inference)?;
    Ok(pipeline.accounts.authenticate(&presented).await?)
}
