//! What owners ask about their data: `DELETE /api/v1/me`, `/api/v1/me/export`, `/api/v1/me/privacy`; and `/api/v1/privacy-requests` for
//! those who are not signed in.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    web,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    auth::{Asked, TokenBody, no_store},
    me::person,
    owner::Account,
    visitor::{self, Visitor},
};
use crate::{
    control::{
        PageRequest,
        owner::Owner,
        privacy::{self, NewMailRequest, Proof, Request, SwitchPatch},
    },
    domain::{
        self,
        content::KeepContent,
        member::Permission,
        privacy::{Kind, Status},
    },
    http::{
        admin::{
            extract::{Json, Query},
            only,
        },
        error::ApiError,
        views::rfc3339,
    },
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let export = web::resource("/api/v1/me/export").route(web::get().to(get_export)).route(web::post().to(export_me));
    let switches = web::resource("/api/v1/me/privacy").route(web::get().to(get_switches)).route(web::patch().to(patch_switches));
    let post = |path: &str| web::resource(path.to_owned()).default_service(only("POST"));
    routes
        .service(export.default_service(only("GET, POST")))
        .service(switches.default_service(only("GET, PATCH")))
        .service(post("/api/v1/me/confirmation-code").route(web::post().to(send_code)))
        .service(post("/api/v1/privacy-requests").route(web::post().to(ask_by_mail)))
        .service(post("/api/v1/privacy-requests/confirm").route(web::post().to(confirm_request)))
        .service(post("/api/v1/privacy-requests/cancel").route(web::post().to(cancel_deletion)));
}

/// A privacy request, as the person it is about sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct PrivacyRequestView {
    /// `prv_…`
    pub id: String,
    pub kind: Kind,
    pub status: Status,
    /// When it is done at the earliest.
    pub due_at: String,
    pub created_at: String,
    pub completed_at: Option<String>,
    /// Until when an archive can be downloaded.
    pub expires_at: Option<String>,
    /// Of the archive.
    pub bytes: Option<i64>,
}

impl From<&Request> for PrivacyRequestView {
    fn from(request: &Request) -> Self {
        Self {
            id: request.id.clone(),
            kind: request.kind,
            status: request.status,
            due_at: rfc3339(request.due_at),
            created_at: rfc3339(request.created_at),
            completed_at: request.completed_at.map(rfc3339),
            expires_at: request.expires_at.map(rfc3339),
            bytes: request.bytes,
        }
    }
}

/// Delete the account
///
/// Its keys stop and its sessions end now; the deletion follows after the cooling-off, in which the link of a mail takes it back. Rows of
/// the ledger and of usage are kept under an id that leads to nobody. Needs a session and a proof of who asks.
#[utoipa::path(delete, path = "/api/v1/me", tag = "Account", security(("key" = [])), request_body = Proof,
    responses((status = 202, body = PrivacyRequestView), (status = 401, description = "`invalid_credentials`, `invalid_code`"), (status = 409, description = "`conflict`")))]
pub async fn delete_me(request: HttpRequest, caller: Account, Json(proof): Json<Proof>) -> Result<HttpResponse, ApiError> {
    let caller = person(caller)?.require(Permission::ManageAccount)?;
    let visitor = visitor::of(&request);
    let work = |control, owner: Owner| async move { privacy::delete_me(&control, &visitor, &owner, &proof).await };
    let placed = caller.change(work).await?;
    Ok(no_store(HttpResponse::Accepted()).json(PrivacyRequestView::from(&placed)))
}

/// Ask for a copy of all data
///
/// An archive with everything that is held about the account; the link to it is mailed, too. Needs a session and a proof of who asks.
#[utoipa::path(post, path = "/api/v1/me/export", tag = "Account", security(("key" = [])), request_body = Proof,
    responses((status = 202, body = PrivacyRequestView), (status = 401, description = "`invalid_credentials`, `invalid_code`")))]
pub async fn export_me(request: HttpRequest, caller: Account, Json(proof): Json<Proof>) -> Result<HttpResponse, ApiError> {
    let caller = person(caller)?.require(Permission::ManageAccount)?;
    let visitor = visitor::of(&request);
    let work = |control, owner: Owner| async move { privacy::export_me(&control, &visitor, &owner, &proof).await };
    let placed = caller.change(work).await?;
    Ok(no_store(HttpResponse::Accepted()).json(PrivacyRequestView::from(&placed)))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// Answers with the newest archive itself.
    #[serde(default)]
    download: bool,
}

/// The exports of an account.
#[derive(Debug, Serialize, ToSchema)]
pub struct Exports {
    /// Newest first; the last twenty requests.
    pub data: Vec<PrivacyRequestView>,
    /// Where the newest archive is, when there is one.
    pub download_url: Option<&'static str>,
}

/// Copies of all data that were asked for
///
/// With `?download=true` the newest archive.
#[utoipa::path(get, path = "/api/v1/me/export", tag = "Account", security(("key" = [])), params(ExportQuery),
    responses((status = 200, body = Exports), (status = 404, description = "There is no archive")))]
pub async fn get_export(caller: Account, Query(query): Query<ExportQuery>) -> Result<HttpResponse, ApiError> {
    let caller = person(caller)?.require(Permission::ManageAccount)?;
    let account_id = &caller.owner.person_id;
    if query.download {
        return Ok(zip(privacy::archive(&caller.control, account_id).await?));
    }
    let page = PageRequest { limit: 20, cursor: None };
    let requests = privacy::of_account(&caller.control, account_id, &page).await?.items;
    let exports: Vec<&Request> = requests.iter().filter(|request| request.kind == Kind::Export).collect();
    let download_url = exports.iter().any(|request| request.blob.is_some()).then_some("/api/v1/me/export?download=true");
    Ok(no_store(HttpResponse::Ok()).json(Exports { data: exports.into_iter().map(PrivacyRequestView::from).collect(), download_url }))
}

pub(super) fn zip(content: Bytes) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/zip"))
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"pixgate-export.zip\""))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(content)
}

/// Send a code that proves who one is
///
/// For owners without a password: a code by mail, used as `mail_code` within ten minutes.
#[utoipa::path(post, path = "/api/v1/me/confirmation-code", tag = "Account", security(("key" = [])),
    responses((status = 202, body = Asked), (status = 429, description = "`rate_limit_exceeded`")))]
pub async fn send_code(caller: Account) -> Result<HttpResponse, ApiError> {
    let caller = person(caller)?.require(Permission::ManageAccount)?;
    caller.change(|control, owner: Owner| async move { privacy::ask_code(&control, &owner.account).await }).await?;
    Ok(no_store(HttpResponse::Accepted()).json(Asked { status: "accepted", message: "a mail with a code is on its way" }))
}

/// What the owner switched off.
#[derive(Debug, Serialize, ToSchema)]
pub struct Switches {
    /// The account is kept, and makes no calls.
    pub restricted: bool,
    pub restricted_at: Option<String>,
    /// No analytics with the account's data.
    pub objected: bool,
    pub objected_at: Option<String>,
    /// What the owner chose about keeping requests and answers of model calls; null: nothing.
    pub keep_content: Option<bool>,
    /// Whether they are kept from now on, by this choice and the operator's.
    pub content_is_kept: bool,
}

impl Switches {
    fn of(account: &domain::account::Account, keep_content: KeepContent) -> Self {
        Self {
            keep_content: account.keep_content,
            content_is_kept: account.restricted_at.is_none() && keep_content.applies(account.keep_content),
            restricted: account.restricted_at.is_some(),
            restricted_at: account.restricted_at.map(rfc3339),
            objected: account.objected_at.is_some(),
            objected_at: account.objected_at.map(rfc3339),
        }
    }
}

/// Restriction, objection, kept content
#[utoipa::path(get, path = "/api/v1/me/privacy", tag = "Account", security(("key" = [])), responses((status = 200, body = Switches)))]
pub async fn get_switches(caller: Account) -> HttpResponse {
    no_store(HttpResponse::Ok()).json(Switches::of(&caller.owner.account, caller.control.privacy.keep_content))
}

/// Restrict, object, keep content
///
/// `restricted` refuses model calls with `processing_restricted`; `objected` erases what campaigns know of the account. Both can be taken
/// back. `keep_content` turns the keeping of requests and answers on or off; what is kept already stays until its time is over or it is
/// deleted (`DELETE /api/v1/me/content`).
#[utoipa::path(patch, path = "/api/v1/me/privacy", tag = "Account", security(("key" = [])), request_body = SwitchPatch,
    responses((status = 200, body = Switches), (status = 403, description = "`role_missing`, `csrf_failed`")))]
pub async fn patch_switches(caller: Account, Json(patch): Json<SwitchPatch>) -> Result<HttpResponse, ApiError> {
    let caller = person(caller)?.require(Permission::ManageAccount)?;
    let keep_content = caller.control.privacy.keep_content;
    let account = caller.change(|control, owner: Owner| async move { privacy::set_switches(&control, &owner, patch).await }).await?;
    Ok(no_store(HttpResponse::Ok()).json(Switches::of(&account, keep_content)))
}

/// Ask about one's data without signing in
///
/// Mails a link that confirms the request. The answer is the same for unknown addresses.
#[utoipa::path(post, path = "/api/v1/privacy-requests", tag = "Account", request_body = NewMailRequest,
    responses((status = 202, body = Asked), (status = 429, description = "`rate_limit_exceeded`")))]
pub async fn ask_by_mail(visitor: Visitor, Json(new): Json<NewMailRequest>) -> Result<HttpResponse, ApiError> {
    let Visitor { control, visitor } = visitor;
    control.to_the_end(|control| async move { privacy::ask_by_mail(&control, &visitor, &new).await }).await?;
    let message = "if there is an account with this address, a mail with a link is on its way";
    Ok(no_store(HttpResponse::Accepted()).json(Asked { status: "accepted", message }))
}

/// Confirm a request
///
/// By the link mailed for it.
#[utoipa::path(post, path = "/api/v1/privacy-requests/confirm", tag = "Account", request_body = TokenBody,
    responses((status = 202, body = PrivacyRequestView), (status = 400, description = "`invalid_token`"), (status = 409, description = "`conflict`"),
        (status = 429, description = "`rate_limit_exceeded`")))]
pub async fn confirm_request(visitor: Visitor, Json(body): Json<TokenBody>) -> Result<HttpResponse, ApiError> {
    let placed = visitor.control.to_the_end(|control| async move { privacy::confirm(&control, &body.token).await }).await?;
    Ok(no_store(HttpResponse::Accepted()).json(PrivacyRequestView::from(&placed.0)))
}

/// Keep an account that was to be deleted
///
/// By the link of the mail, until the deletion begins.
#[utoipa::path(post, path = "/api/v1/privacy-requests/cancel", tag = "Account", request_body = TokenBody,
    responses((status = 200, body = Asked), (status = 400, description = "`invalid_token`"),
        (status = 429, description = "`rate_limit_exceeded`")))]
pub async fn cancel_deletion(visitor: Visitor, Json(body): Json<TokenBody>) -> Result<HttpResponse, ApiError> {
    visitor.control.to_the_end(|control| async move { privacy::cancel(&control, &body.token).await }).await?;
    Ok(no_store(HttpResponse::Ok()).json(Asked { status: "kept", message: "the account is kept; sign in to use it" }))
}
