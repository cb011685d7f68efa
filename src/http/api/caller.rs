//! What a caller may know about itself. Shapes and names follow OpenRouter; amounts are decimal credits, printed exactly.

use std::rc::Rc;

use actix_web::{HttpRequest, HttpResponse, get, http::header::CACHE_CONTROL, web};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::models::caller;
use crate::{
    control::{self, Control},
    dialect::credits_text,
    domain::{
        Micros, SECOND, Timestamp,
        api_key::{BudgetPeriod, Scope},
        usage::UsageRecord,
    },
    http::{
        content::ContentView,
        error::ApiError,
        headers::CallerReader,
        page::{Page, PageQuery},
        views::{UsageView, rfc3339},
    },
    pipeline::Pipeline,
};

/// Decimal credits as a JSON number, without going through a float.
fn decimal(micros: Micros) -> Result<Box<RawValue>, ApiError> {
    RawValue::from_string(credits_text(micros)).map_err(|error| ApiError::invalid(error.to_string(), None))
}

/// OpenRouter's envelope. Serialized as it is, because a detour over JSON values would make floats of exact decimals.
#[derive(Serialize)]
struct Data<T> {
    data: T,
}

#[derive(Serialize, utoipa::ToSchema)]
struct KeyView {
    id: String,
    label: String,
    title: String,
    #[schema(value_type = f64)]
    usage: Box<RawValue>,
    usage_micros: Micros,
    /// Since midnight, UTC.
    #[schema(value_type = f64)]
    usage_daily: Box<RawValue>,
    /// Since Monday, UTC.
    #[schema(value_type = f64)]
    usage_weekly: Box<RawValue>,
    /// Since the first of the month, UTC.
    #[schema(value_type = f64)]
    usage_monthly: Box<RawValue>,
    byok_usage: u8,
    byok_usage_daily: u8,
    byok_usage_weekly: u8,
    byok_usage_monthly: u8,
    include_byok_in_limit: bool,
    #[schema(value_type = Option<f64>)]
    limit: Option<Box<RawValue>>,
    #[schema(value_type = Option<f64>)]
    limit_remaining: Option<Box<RawValue>>,
    /// `daily`, `monthly`, or null for a limit that is never renewed.
    limit_reset: Option<&'static str>,
    limits: crate::domain::quota::Limits,
    scopes: Vec<crate::domain::api_key::Scope>,
    models: Option<Vec<String>>,
    expires_at: Option<String>,
    is_free_tier: bool,
    /// Whether this key may manage others.
    is_management_key: bool,
    is_provisioning_key: bool,
    creator_user_id: Option<String>,
    rate_limit: RateLimit,
}

/// OpenRouter's older way to show a limit; `limits` is exact.
#[derive(Serialize, utoipa::ToSchema)]
struct RateLimit {
    /// Requests a minute, -1 without a limit.
    requests: i64,
    interval: &'static str,
    note: &'static str,
}

/// How OpenRouter names the periods that limits are renewed in.
fn renewal(period: BudgetPeriod) -> Option<&'static str> {
    match period {
        BudgetPeriod::Day => Some("daily"),
        BudgetPeriod::Month => Some("monthly"),
        BudgetPeriod::Total => None,
    }
}

/// The key that asks
#[utoipa::path(get, path = "/v1/key", tag = "Caller", security(("key" = [])), responses((status = 200, description = "`data` with title, limits, budget and what was used")))]
#[get("/v1/key")]
pub async fn key(
    request: HttpRequest,
    pipeline: web::Data<Rc<Pipeline>>,
    reader: web::Data<CallerReader>,
    control: web::Data<Control>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&request, &pipeline, &reader).await?;
    let used = control::usage::spending_of_key(&control, &caller.account_id, &caller.key.id).await?;
    let key = caller.key;
    let limits = key.limits.or(caller.account_limits);
    let may_manage = key.has_scope(Scope::Account) || key.has_scope(Scope::Admin);
    let view = KeyView {
        label: format!("{}…{}", key.prefix, key.last4),
        usage: decimal(used.total)?,
        usage_micros: used.total,
        usage_daily: decimal(used.day)?,
        usage_weekly: decimal(used.week)?,
        usage_monthly: decimal(used.month)?,
        byok_usage: 0,
        byok_usage_daily: 0,
        byok_usage_weekly: 0,
        byok_usage_monthly: 0,
        include_byok_in_limit: false,
        limit: key.budget.map(|budget| decimal(budget.micros)).transpose()?,
        limit_remaining: caller.budget_left.map(decimal).transpose()?,
        limit_reset: key.budget.and_then(|budget| renewal(budget.period)),
        rate_limit: RateLimit {
            requests: limits.rpm.map_or(-1, i64::from),
            interval: "60s",
            note: "an older field; limits has all of them",
        },
        limits,
        scopes: key.scopes,
        models: key.models,
        expires_at: key.expires_at.map(rfc3339),
        is_free_tier: false,
        is_management_key: may_manage,
        is_provisioning_key: may_manage,
        creator_user_id: None,
        title: key.title,
        id: key.id,
    };
    Ok(HttpResponse::Ok().json(Data { data: view }))
}

/// The balance of the caller's account
#[utoipa::path(get, path = "/v1/credits", tag = "Caller", security(("key" = [])), responses((status = 200, description = "`data` with `total_credits`, `total_usage` and the exact balance in micros")))]
#[get("/v1/credits")]
pub async fn credits(
    request: HttpRequest,
    pipeline: web::Data<Rc<Pipeline>>,
    reader: web::Data<CallerReader>,
    control: web::Data<Control>,
) -> Result<HttpResponse, ApiError> {
    #[derive(Serialize)]
    struct View {
        total_credits: Box<RawValue>,
        total_usage: Box<RawValue>,
        #[serde(flatten)]
        balance: crate::domain::ledger::Balance,
    }
    let caller = caller(&request, &pipeline, &reader).await?;
    let balance = control::credits::balance(&control, &caller.account_id).await?;
    let view = View { total_credits: decimal(balance.granted_micros)?, total_usage: decimal(balance.spent_micros)?, balance };
    Ok(HttpResponse::Ok().json(Data { data: view }))
}

#[derive(Debug, Deserialize)]
pub struct UsageQuery {
    #[serde(flatten)]
    page: PageQuery,
    key_id: Option<String>,
    model: Option<String>,
}

/// Calls of the caller's account, newest first
#[utoipa::path(get, path = "/v1/usage", tag = "Caller", security(("key" = [])),
    params(("limit" = Option<u64>, Query, description = "1 to 200, default 50"), ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("key_id" = Option<String>, Query, description = "Only calls of this key"), ("model" = Option<String>, Query, description = "Only calls of this model")),
    responses((status = 200, description = "A page of usage records")))]
#[get("/v1/usage")]
pub async fn usage(
    request: HttpRequest,
    query: web::Query<UsageQuery>,
    pipeline: web::Data<Rc<Pipeline>>,
    reader: web::Data<CallerReader>,
    control: web::Data<Control>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&request, &pipeline, &reader).await?;
    let filter = control::usage::UsageFilter {
        account_id: Some(caller.account_id),
        key_id: query.key_id.clone(),
        model: query.model.clone(),
        from: None,
        to: None,
    };
    let page = control::usage::list(&control, &filter, &query.page.request()?).await?;
    Ok(HttpResponse::Ok().json(Page::<UsageView>::of(page)))
}

#[derive(Debug, Deserialize)]
pub struct GenerationQuery {
    id: Option<String>,
}

impl GenerationQuery {
    fn id(&self) -> Result<&str, ApiError> {
        let missing = || ApiError::invalid("id is required: the id of an answer or of a request", Some("id".into()));
        self.id.as_deref().ok_or_else(missing)
    }
}

/// One call of the caller's account
///
/// `id` is the id inside the answer (`chatcmpl-…`) or the request id.
#[utoipa::path(get, path = "/v1/generation", tag = "Caller", security(("key" = [])), params(("id" = String, Query, description = "Answer id or request id")),
    responses((status = 200, description = "`data` with `total_cost` and the tokens"), (status = 404, description = "No such call of this account")))]
#[get("/v1/generation")]
pub async fn generation(
    request: HttpRequest,
    query: web::Query<GenerationQuery>,
    pipeline: web::Data<Rc<Pipeline>>,
    reader: web::Data<CallerReader>,
    control: web::Data<Control>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&request, &pipeline, &reader).await?;
    let id = query.id()?;
    let found = control::usage::find(&control, &caller.account_id, id).await?;
    match found {
        Some(record) => Ok(HttpResponse::Ok().json(Data { data: Generation::of(record)? })),
        None => Err(ApiError::not_found("no call of this account has that id; it appears within a second after its end")),
    }
}

/// What a call asked and was answered
///
/// Where operator and account keep it. Keys of scope `account` see every call of theirs, others the calls they made.
#[utoipa::path(get, path = "/v1/generation/content", tag = "Caller", security(("key" = [])), params(("id" = String, Query, description = "Answer id or request id")),
    responses((status = 200, description = "`data` with `request` and `answer`, as they were sent"), (status = 404, description = "Not kept, expired, deleted, or another key's")))]
#[get("/v1/generation/content")]
pub async fn generation_content(
    request: HttpRequest,
    query: web::Query<GenerationQuery>,
    pipeline: web::Data<Rc<Pipeline>>,
    reader: web::Data<CallerReader>,
    control: web::Data<Control>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&request, &pipeline, &reader).await?;
    let id = query.id()?;
    let content = control::contents::get_for_key(&control, &caller.account_id, &caller.key, id).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(Data { data: ContentView::from(content) }))
}

#[derive(Serialize)]
struct Generation {
    id: String,
    request_id: String,
    model: String,
    provider_name: String,
    #[serde(rename = "streamed")]
    is_streamed: bool,
    cancelled: bool,
    created_at: String,
    total_cost: Box<RawValue>,
    usage: Box<RawValue>,
    tokens_prompt: u64,
    tokens_completion: u64,
    native_tokens_prompt: u64,
    native_tokens_completion: u64,
    native_tokens_cached: u64,
    native_tokens_reasoning: u64,
    /// Milliseconds to the first content byte.
    latency: i64,
    /// Milliseconds from the first content byte to the end.
    generation_time: i64,
    is_byok: bool,
    #[serde(flatten)]
    record: UsageView,
}

impl Generation {
    fn of(record: UsageRecord) -> Result<Self, ApiError> {
        let first = record.first_byte_at.unwrap_or(record.finished_at);
        let milliseconds = |from: Timestamp, to: Timestamp| (to - from).max(0) * 1_000 / SECOND;
        let used = record.quantities;
        Ok(Self {
            id: record.answer_id.clone().unwrap_or_else(|| record.id.clone()),
            request_id: record.request_id.clone(),
            model: record.model.clone(),
            provider_name: record.upstream.clone(),
            is_streamed: record.streamed,
            cancelled: record.outcome == crate::domain::usage::Outcome::ClientGone,
            created_at: rfc3339(record.started_at),
            total_cost: decimal(record.cost_micros)?,
            usage: decimal(record.cost_micros)?,
            tokens_prompt: used.all_input_tokens(),
            tokens_completion: used.all_output_tokens(),
            native_tokens_prompt: used.all_input_tokens(),
            native_tokens_completion: used.all_output_tokens(),
            native_tokens_cached: used.cached_input_tokens,
            native_tokens_reasoning: used.reasoning_tokens,
            latency: milliseconds(record.started_at, first),
            generation_time: milliseconds(first, record.finished_at),
            is_byok: false,
            record: record.into(),
        })
    }
}
