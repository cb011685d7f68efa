//! `/admin/v1/privacy-requests`, `/admin/v1/privacy-key`, `/admin/v1/retention`.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    extract::{Admin, Json, Query},
    list, only,
};
use crate::{
    control::privacy::{self, Decision, Kept, NewStaffRequest, Request},
    domain::privacy::Status,
    http::{
        account::privacy::PrivacyRequestView,
        error::ApiError,
        page::{Page, PageQuery},
        views::rfc3339,
    },
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let all = web::resource("/admin/v1/privacy-requests").route(web::get().to(list_requests)).route(web::post().to(enter_request));
    let one = web::resource("/admin/v1/privacy-requests/{id}").route(web::get().to(get_request)).route(web::patch().to(decide_request));
    routes
        .service(all.default_service(only("GET, POST")))
        .service(one.default_service(only("GET, PATCH")))
        .service(web::resource("/admin/v1/privacy-key").route(web::get().to(signing_key)).default_service(only("GET")))
        .service(web::resource("/admin/v1/retention").route(web::get().to(retention)).default_service(only("GET")));
}

/// A privacy request, as the staff sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct StaffPrivacyRequestView {
    #[serde(flatten)]
    pub request: PrivacyRequestView,
    pub account_id: String,
    /// `session`, `mail` or `admin`.
    pub channel: String,
    /// Id of the account or key that asked.
    pub created_by: String,
    pub note: String,
    pub attempts: i32,
    pub last_error: Option<String>,
    /// Of a deletion: the exact text that `signature` is of; JSON with counts by table, and times.
    pub record: Option<String>,
    /// Ed25519, base64; `/admin/v1/privacy-key` has the key that checks it.
    pub signature: Option<String>,
    /// What was treated so far, by table.
    pub progress: serde_json::Value,
}

impl From<Request> for StaffPrivacyRequestView {
    fn from(request: Request) -> Self {
        Self {
            request: PrivacyRequestView::from(&request),
            account_id: request.account_id,
            channel: request.channel,
            created_by: request.created_by,
            note: request.note,
            attempts: request.attempts,
            last_error: request.last_error,
            record: request.record,
            signature: request.signature,
            progress: serde_json::Value::Object(request.progress),
        }
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RequestsQuery {
    account_id: Option<String>,
    status: Option<Status>,
    #[serde(flatten)]
    #[param(ignore)]
    page: PageQuery,
}

/// What people asked about their data
///
/// Newest first.
#[utoipa::path(get, path = "/admin/v1/privacy-requests", tag = "Admin: privacy", security(("key" = ["admin"])), params(RequestsQuery, PageQuery),
    responses((status = 200, body = Page<StaffPrivacyRequestView>)))]
pub async fn list_requests(admin: Admin, Query(query): Query<RequestsQuery>) -> Result<HttpResponse, ApiError> {
    let page = query.page.request()?;
    let requests = privacy::list(&admin.control, query.account_id.as_deref(), query.status, &page).await?;
    Ok(list::<_, StaffPrivacyRequestView>(requests))
}

/// What happens next.
#[derive(Debug, Serialize, ToSchema)]
pub struct Waits {
    pub status: &'static str,
}

/// Enter a request for somebody who wrote in
///
/// With `confirm_by_mail` it is done once the link mailed to the account's address was opened.
#[utoipa::path(post, path = "/admin/v1/privacy-requests", tag = "Admin: privacy", security(("key" = ["admin"])), request_body = NewStaffRequest,
    responses((status = 201, body = StaffPrivacyRequestView), (status = 202, body = Waits), (status = 404, description = "`not_found`"), (status = 409, description = "`conflict`")))]
pub async fn enter_request(admin: Admin, Json(new): Json<NewStaffRequest>) -> Result<HttpResponse, ApiError> {
    let entered = admin.change(|control, actor| async move { privacy::enter(&control, &actor, new).await }).await?;
    Ok(match entered {
        Some(request) => HttpResponse::Created().json(StaffPrivacyRequestView::from(request)),
        None => HttpResponse::Accepted().json(Waits { status: "waits_for_confirmation" }),
    })
}

/// One request
#[utoipa::path(get, path = "/admin/v1/privacy-requests/{id}", tag = "Admin: privacy", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`prv_…`")),
    responses((status = 200, body = StaffPrivacyRequestView), (status = 404, description = "`not_found`")))]
pub async fn get_request(admin: Admin, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(StaffPrivacyRequestView::from(privacy::get(&admin.control, &id).await?)))
}

/// Decide on a request
///
/// Ends one that waits for the staff; `canceled` also stops a deletion that has not begun.
#[utoipa::path(patch, path = "/admin/v1/privacy-requests/{id}", tag = "Admin: privacy", security(("key" = ["admin"])), request_body = Decision,
    params(("id" = String, Path, description = "`prv_…`")),
    responses((status = 200, body = StaffPrivacyRequestView), (status = 404, description = "`not_found`"), (status = 409, description = "`conflict`")))]
pub async fn decide_request(admin: Admin, id: web::Path<String>, Json(decision): Json<Decision>) -> Result<HttpResponse, ApiError> {
    let request = admin.change(|control, actor| async move { privacy::decide(&control, &actor, &id, decision).await }).await?;
    Ok(HttpResponse::Ok().json(StaffPrivacyRequestView::from(request)))
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SigningKey {
    /// Always `ed25519`.
    pub algorithm: &'static str,
    /// 32 bytes, base64.
    pub public_key: String,
}

/// The key that checks records of deletions
#[utoipa::path(get, path = "/admin/v1/privacy-key", tag = "Admin: privacy", security(("key" = ["admin"])), responses((status = 200, body = SigningKey)))]
pub async fn signing_key(admin: Admin) -> HttpResponse {
    HttpResponse::Ok().json(SigningKey { algorithm: "ed25519", public_key: admin.control.privacy.jobs.signer.public_key() })
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RetentionView {
    /// For example `security_log`.
    pub class: &'static str,
    /// The setting that says so; empty when none does.
    pub setting: &'static str,
    /// Null keeps it.
    pub days: Option<u64>,
    /// When a node looked for what is too old last; null: never so far, or nothing is swept for this class.
    pub last_sweep_at: Option<String>,
    pub next_sweep_at: Option<String>,
    /// When something was too old last, and how many rows went in that turn.
    pub last_rows_at: Option<String>,
    pub last_rows: u64,
    /// Rows that went since the database was made.
    pub rows: u64,
}

impl From<Kept> for RetentionView {
    fn from(Kept { period, swept, next_sweep_at }: Kept) -> Self {
        Self {
            class: period.class,
            setting: period.setting,
            days: period.days,
            last_sweep_at: swept.map(|swept| rfc3339(swept.at)),
            next_sweep_at: next_sweep_at.map(rfc3339),
            last_rows_at: swept.and_then(|swept| swept.rows_at).map(rfc3339),
            last_rows: swept.map_or(0, |swept| swept.rows_last),
            rows: swept.map_or(0, |swept| swept.rows_total),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RetentionList {
    pub data: Vec<RetentionView>,
}

/// How long data is kept
///
/// Each class of data with its period, the setting that says so, and what was swept because of it. Of usage records the details go, the
/// bookings stay.
#[utoipa::path(get, path = "/admin/v1/retention", tag = "Admin: privacy", security(("key" = ["admin"])), responses((status = 200, body = RetentionList)))]
pub async fn retention(admin: Admin) -> Result<HttpResponse, ApiError> {
    let kept = privacy::retention(&admin.control).await?;
    Ok(HttpResponse::Ok().json(RetentionList { data: kept.into_iter().map(RetentionView::from).collect() }))
}
