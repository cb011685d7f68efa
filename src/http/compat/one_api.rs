//! What one-api's and new-api's users read about a key: billing in OpenAI's old shapes, and the usage of a token in quota units.

use std::{collections::BTreeMap, rc::Rc};

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{decimal, number};
use crate::{
    actors::account::Identity,
    control::{self, Control},
    dialect::credits_text,
    domain::{Micros, SECOND},
    http::{admin::only, api::models::caller, error::ApiError, headers::CallerReader},
    pipeline::Pipeline,
};

/// Quota units of one credit, as one-api counts them.
const UNITS_PER_CREDIT: i64 = 500_000;
const MICROS_PER_UNIT: Micros = 1_000_000 / UNITS_PER_CREDIT;

pub fn configure(routes: &mut web::ServiceConfig) {
    let get = |paths: Vec<&'static str>| web::resource(paths).default_service(only("GET"));
    let subscription_paths = vec!["/dashboard/billing/subscription", "/v1/dashboard/billing/subscription"];
    let usage_paths = vec!["/dashboard/billing/usage", "/v1/dashboard/billing/usage"];
    routes
        .service(get(subscription_paths).route(web::get().to(billing_subscription)))
        .service(get(usage_paths).route(web::get().to(billing_usage)))
        .service(get(vec!["/api/usage/token", "/api/usage/token/"]).route(web::get().to(token_usage)))
        .service(get(vec!["/api/status"]).route(web::get().to(one_api_status)));
}

type Parts = (web::Data<Rc<Pipeline>>, web::Data<CallerReader>, web::Data<Control>);

/// What a key has used, and what it can still use: the least of its budget and its account's credits.
struct Standing {
    identity: Identity,
    used: Micros,
    left: Micros,
}

impl Standing {
    async fn of(request: &HttpRequest, (pipeline, reader, control): &Parts) -> Result<Self, ApiError> {
        let identity = caller(request, pipeline, reader).await?;
        let balance = control::credits::balance(control, &identity.account_id).await?;
        let available = balance.available_micros.max(0);
        let (used, left) = match identity.budget_left {
            Some(left) => (identity.budget_spent, left.min(available)),
            None => (balance.spent_micros, available),
        };
        Ok(Self { identity, used, left })
    }
}

/// What a key may use, as one-api's billing shows it
///
/// In credits: `hard_limit_usd` is what was used and what is left together, of the key's budget or else of the account. Also under `/v1`.
#[utoipa::path(get, path = "/dashboard/billing/subscription", tag = "Compatibility", security(("key" = [])),
    responses((status = 200, description = "`hard_limit_usd`, `soft_limit_usd`, `system_hard_limit_usd`, `access_until` (Unix seconds, 0 is never)")))]
pub async fn billing_subscription(request: HttpRequest, parts: Parts) -> Result<HttpResponse, ApiError> {
    #[derive(Serialize)]
    struct Answer {
        object: &'static str,
        has_payment_method: bool,
        soft_limit_usd: Box<RawValue>,
        hard_limit_usd: Box<RawValue>,
        system_hard_limit_usd: Box<RawValue>,
        access_until: i64,
    }
    let standing = Standing::of(&request, &parts).await?;
    let limit = decimal(standing.used.saturating_add(standing.left))?;
    Ok(HttpResponse::Ok().json(Answer {
        object: "billing_subscription",
        has_payment_method: true,
        soft_limit_usd: limit.clone(),
        hard_limit_usd: limit.clone(),
        system_hard_limit_usd: limit,
        access_until: standing.identity.key.expires_at.map_or(0, |at| at / SECOND),
    }))
}

/// What a key has used, as one-api's billing shows it
///
/// `total_usage` is in hundredths of a credit, over the time that `hard_limit_usd` counts; dates in the query are not looked at. Also
/// under `/v1`.
#[utoipa::path(get, path = "/dashboard/billing/usage", tag = "Compatibility", security(("key" = [])),
    responses((status = 200, description = "`{\"object\":\"list\",\"total_usage\":…}`")))]
pub async fn billing_usage(request: HttpRequest, parts: Parts) -> Result<HttpResponse, ApiError> {
    #[derive(Serialize)]
    struct Answer {
        object: &'static str,
        total_usage: Box<RawValue>,
    }
    let standing = Standing::of(&request, &parts).await?;
    let hundredths = standing.used.saturating_mul(100);
    Ok(HttpResponse::Ok().json(Answer { object: "list", total_usage: number(credits_text(hundredths))? }))
}

/// The usage of a token, as new-api shows it
///
/// In quota units: 500 000 are one credit.
#[utoipa::path(get, path = "/api/usage/token", tag = "Compatibility", security(("key" = [])),
    responses((status = 200, description = "`data` with `total_granted`, `total_used`, `total_available`, `unlimited_quota`, `model_limits`, `expires_at`")))]
pub async fn token_usage(request: HttpRequest, parts: Parts) -> Result<HttpResponse, ApiError> {
    #[derive(Serialize)]
    struct Answer {
        code: bool,
        message: &'static str,
        data: Data,
    }
    #[derive(Serialize)]
    struct Data {
        object: &'static str,
        name: String,
        total_granted: i64,
        total_used: i64,
        total_available: i64,
        unlimited_quota: bool,
        model_limits: BTreeMap<String, bool>,
        model_limits_enabled: bool,
        expires_at: i64,
    }
    let Standing { identity, used, left } = Standing::of(&request, &parts).await?;
    let key = identity.key;
    // What was used is rounded up and what is left down, so that nothing seems to be there that is not.
    let (total_used, total_available) = (used.div_euclid(MICROS_PER_UNIT) + i64::from(used % MICROS_PER_UNIT != 0), left / MICROS_PER_UNIT);
    let data = Data {
        object: "token_usage",
        name: key.title,
        total_granted: total_used + total_available,
        total_used,
        total_available,
        unlimited_quota: key.budget.is_none(),
        model_limits_enabled: key.models.is_some(),
        model_limits: key.models.unwrap_or_default().into_iter().map(|model| (model, true)).collect(),
        expires_at: key.expires_at.map_or(0, |at| at / SECOND),
    };
    Ok(HttpResponse::Ok().json(Answer { code: true, message: "ok", data }))
}

/// What kind of gateway this is, as one-api says it
///
/// Needs no key.
#[utoipa::path(get, path = "/api/status", tag = "Operations", responses((status = 200, description = "`data` with `version`, `start_time` (Unix seconds), `system_name`, `quota_per_unit`")))]
pub async fn one_api_status(control: web::Data<Control>) -> HttpResponse {
    #[derive(Serialize)]
    struct Answer {
        success: bool,
        message: &'static str,
        data: Data,
    }
    #[derive(Serialize)]
    struct Data {
        version: &'static str,
        start_time: i64,
        system_name: &'static str,
        quota_per_unit: i64,
        display_in_currency: bool,
    }
    let data = Data {
        version: env!("CARGO_PKG_VERSION"),
        start_time: control.node.started_at / SECOND,
        system_name: "Pixgate",
        quota_per_unit: UNITS_PER_CREDIT,
        display_in_currency: true,
    };
    HttpResponse::Ok().json(Answer { success: true, message: "", data })
}
