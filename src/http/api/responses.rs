//! OpenAI's Responses: calls, and answers that are kept.

use std::rc::Rc;

use actix_web::{HttpRequest, HttpResponse, delete, get, http::header::CONTENT_TYPE, post, web};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use super::{
    models::caller,
    paid::{Parts, paid},
};
use crate::{
    control::{self, Control, responses::ItemsRequest},
    dialect::{CallHead, Endpoint},
    domain::api_key::Scope,
    http::{body, error::ApiError, headers::CallerReader},
    pipeline::{self, Pipeline},
};

const ITEMS_DEFAULT: usize = 20;
const ITEMS_MAX: usize = 100;

/// Response
///
/// OpenAI's Responses, streamed (`stream: true`) or whole, for models of any upstream. Where the operator turned `responses.store` on,
/// answers are kept unless `store` is false, and `previous_response_id` continues them: earlier items count as input. `conversation` and
/// `background` are refused. Tools that run at the vendor need an upstream that speaks this format itself.
/// `usage` carries `cost` (credits) and `cost_micros`.
#[utoipa::path(post, path = "/v1/responses", tag = "Models", security(("key" = [])),
    params(("x-pixgate-drop-unsupported" = Option<bool>, Header, description = "Drop what the upstream cannot express instead of refusing the call")),
    request_body(content = serde_json::Value, content_type = "application/json", description = "An OpenAI response request"),
    responses((status = 200, description = "The response, or its event stream"), (status = 400, description = "`invalid_request` or `previous_response_not_found`"),
        (status = "4XX", description = "A refusal"), (status = "5XX", description = "A failure; nothing is charged")))]
#[post("/v1/responses")]
pub async fn create(request: HttpRequest, payload: web::Payload, parts: Parts) -> Result<HttpResponse, ApiError> {
    paid(CallHead::new(Endpoint::Responses), request, payload, parts).await
}

/// Tokens of a response
///
/// Our own count of the input, for free.
#[utoipa::path(post, path = "/v1/responses/input_tokens", tag = "Models", security(("key" = [])),
    request_body(content = serde_json::Value, content_type = "application/json", description = "An OpenAI response request"),
    responses((status = 200, body = TokenCount), (status = "4XX", description = "A refusal")))]
#[post("/v1/responses/input_tokens")]
pub async fn input_tokens(
    request: HttpRequest,
    payload: web::Payload,
    (pipeline, reader, _, limits): Parts,
) -> Result<HttpResponse, ApiError> {
    let presented = reader.read(&request, Scope::Inference)?;
    let caller = pipeline.accounts.authenticate(&presented).await?;
    let body = body::read(&request, payload, **limits).await?;
    let head = CallHead { counts_only: true, ..CallHead::new(Endpoint::Responses) };
    let input_tokens = pipeline::count(&pipeline, &caller, head, body).await?;
    Ok(HttpResponse::Ok().json(TokenCount { object: "response.input_tokens", input_tokens }))
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ResponseTokenCount)]
struct TokenCount {
    /// Always `response.input_tokens`.
    object: &'static str,
    /// Rather too high than too low.
    input_tokens: u64,
}

#[derive(Debug, Deserialize)]
pub struct RetrieveQuery {
    #[serde(default)]
    stream: bool,
}

/// A kept response
#[utoipa::path(get, path = "/v1/responses/{id}", tag = "Models", security(("key" = [])), params(("id" = String, Path, description = "`resp_…`")),
    responses((status = 200, description = "The response"), (status = 404, description = "Not kept, expired, deleted, or another account's")))]
#[get("/v1/responses/{id}")]
pub async fn retrieve(
    request: HttpRequest,
    id: web::Path<String>,
    query: web::Query<RetrieveQuery>,
    pipeline: web::Data<Rc<Pipeline>>,
    reader: web::Data<CallerReader>,
    control: web::Data<Control>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&request, &pipeline, &reader).await?;
    if query.stream {
        return Err(ApiError::invalid("kept responses are given whole; leave 'stream' out", Some("stream".into())));
    }
    let response = control::responses::get(&control, &caller.account_id, &id).await?;
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/json")).body(response))
}

/// Forget a kept response
///
/// It can then no longer be continued, and neither can what continued it.
#[utoipa::path(delete, path = "/v1/responses/{id}", tag = "Models", security(("key" = [])), params(("id" = String, Path, description = "`resp_…`")),
    responses((status = 200, description = "`deleted` is true"), (status = 404, description = "Not kept, expired, deleted, or another account's")))]
#[delete("/v1/responses/{id}")]
pub async fn delete_response(
    request: HttpRequest,
    id: web::Path<String>,
    pipeline: web::Data<Rc<Pipeline>>,
    reader: web::Data<CallerReader>,
    control: web::Data<Control>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&request, &pipeline, &reader).await?;
    control::responses::delete(&control, &caller.account_id, &id).await?;
    Ok(HttpResponse::Ok().json(json!({ "id": *id, "object": "response", "deleted": true })))
}

#[derive(Debug, Deserialize)]
pub struct ItemsQuery {
    limit: Option<usize>,
    after: Option<String>,
    order: Option<String>,
}

impl ItemsQuery {
    fn request(&self) -> Result<ItemsRequest, ApiError> {
        let limit = self.limit.unwrap_or(ITEMS_DEFAULT);
        if !(1..=ITEMS_MAX).contains(&limit) {
            return Err(ApiError::invalid(format!("limit must be a whole number from 1 to {ITEMS_MAX}"), Some("limit".into())));
        }
        let oldest_first = match self.order.as_deref() {
            None | Some("desc") => false,
            Some("asc") => true,
            Some(_) => return Err(ApiError::invalid("order must be asc or desc", Some("order".into()))),
        };
        Ok(ItemsRequest { limit, after: self.after.clone(), oldest_first })
    }
}

/// What a kept response answers
///
/// The items of that call alone; those before it are in the responses it continued.
#[utoipa::path(get, path = "/v1/responses/{id}/input_items", tag = "Models", security(("key" = [])),
    params(("id" = String, Path, description = "`resp_…`"), ("limit" = Option<u64>, Query, description = "1 to 100, default 20"),
        ("after" = Option<String>, Query, description = "`last_id` of the page before"), ("order" = Option<String>, Query, description = "`desc` (default) or `asc`")),
    responses((status = 200, description = "A page of items"), (status = 404, description = "Not kept, expired, deleted, or another account's")))]
#[get("/v1/responses/{id}/input_items")]
pub async fn list_input_items(
    request: HttpRequest,
    id: web::Path<String>,
    query: web::Query<ItemsQuery>,
    pipeline: web::Data<Rc<Pipeline>>,
    reader: web::Data<CallerReader>,
    control: web::Data<Control>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&request, &pipeline, &reader).await?;
    let page = control::responses::input_items(&control, &caller.account_id, &id, &query.request()?).await?;
    Ok(HttpResponse::Ok().json(ItemList::of(page)))
}

#[derive(Serialize)]
struct ItemList {
    object: &'static str,
    data: Vec<Box<RawValue>>,
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
}

impl ItemList {
    fn of(page: control::responses::Items) -> Self {
        Self {
            object: "list",
            first_id: page.items.first().map(|(id, _)| id.clone()),
            last_id: page.items.last().map(|(id, _)| id.clone()),
            has_more: page.has_more,
            data: page.items.into_iter().filter_map(|(_, item)| RawValue::from_string(item).ok()).collect(),
        }
    }
}

/// Cancel a response
///
/// Only responses in the background can be cancelled, and there are none: always a refusal.
#[utoipa::path(post, path = "/v1/responses/{id}/cancel", tag = "Models", security(("key" = [])), params(("id" = String, Path, description = "`resp_…`")),
    responses((status = 400, description = "Not in the background"), (status = 404, description = "Not kept, expired, deleted, or another account's")))]
#[post("/v1/responses/{id}/cancel")]
pub async fn cancel(
    request: HttpRequest,
    id: web::Path<String>,
    pipeline: web::Data<Rc<Pipeline>>,
    reader: web::Data<CallerReader>,
    control: web::Data<Control>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&request, &pipeline, &reader).await?;
    control::responses::cancel(&control, &caller.account_id, &id).await?;
    Ok(HttpResponse::NoContent().finish())
}
