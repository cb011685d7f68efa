//! Files in two shapes on one path: OpenAI's, and Anthropic's for callers who say so (`anthropic-version`, `anthropic-beta`).

use std::rc::Rc;

use actix_web::{HttpRequest, HttpResponse, delete, get, http::header::CONTENT_TYPE, post, web};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{models::caller, paid::Parts};
use crate::{
    control::{
        self, Control,
        files::{PURPOSES, Upload},
    },
    dialect::{
        Dialect,
        media::multipart::{self, Part},
    },
    domain::{SECOND, api_key::Scope},
    http::{body, download::download, error::ApiError, headers, headers::CallerReader, views::rfc3339},
    pipeline::Pipeline,
    store::files::{File, Wanted},
};

/// What OpenAI gives without a limit.
const LIMIT_MAX: u64 = 10_000;
const ANTHROPIC_LIMIT_DEFAULT: u64 = 20;
const ANTHROPIC_LIMIT_MAX: u64 = 1_000;
/// What a file is for when its sender's format has no word for it.
const PURPOSE_DEFAULT: &str = "user_data";

/// Upload a file
///
/// A form with `file` and `purpose` (`assistants`, `batch`, `fine-tune`, `vision`, `user_data`, `evals`), and, if it is to expire,
/// `expires_after[anchor]` (`created_at`) and `expires_after[seconds]`. Calls name it by its id: `file_id` in OpenAI's and Anthropic's formats, `fileUri` in Gemini's.
/// With `anthropic-version` or `anthropic-beta` only `file` is needed, and the answer has Anthropic's shape.
#[utoipa::path(post, path = "/v1/files", tag = "Files", security(("key" = [])),
    request_body(content = Vec<u8>, content_type = "multipart/form-data", description = "The form"),
    responses((status = 200, body = FileObject), (status = 400, description = "A bad form, or no room left for this account's files"),
        (status = 413, description = "Larger than `files.bytes_max` or `server.max_body_bytes`")))]
#[post("/v1/files")]
pub async fn upload_file(
    request: HttpRequest,
    payload: web::Payload,
    control: web::Data<Control>,
    (pipeline, reader, _, limits): Parts,
) -> Result<HttpResponse, ApiError> {
    let presented = reader.read(&request, Scope::Inference)?;
    let account_id = pipeline.accounts.authenticate(&presented).await?.account_id;
    let body = body::read(&request, payload, **limits).await?;
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let parts = multipart::parts(content_type, &body).map_err(refused)?;
    let part = |name: &str| parts.iter().find(|part| part.name == name);
    let text = |name: &str| part(name).map(|part| part.text(&body).map(str::trim)).transpose().map_err(refused);
    let file = part("file").ok_or_else(|| ApiError::invalid("'file' is required: a part of the form", Some("file".into())))?;
    let is_anthropic = is_anthropic(&request);
    let purpose = match text("purpose")? {
        Some(purpose) => purpose,
        None if is_anthropic => PURPOSE_DEFAULT,
        None => return Err(ApiError::invalid(format!("'purpose' is required: one of {}", PURPOSES.join(", ")), Some("purpose".into()))),
    };
    let expires_after = expiry(text("expires_after[anchor]")?, text("expires_after[seconds]")?)?;
    let Part { file_name, content_type, content, .. } = file.clone();
    let upload =
        Upload { filename: file_name, mime: content_type, purpose: purpose.to_owned(), expires_after, content: body.slice(content) };
    let file = control::files::upload(&control, &account_id, upload).await?;
    Ok(shown(file, is_anthropic))
}

fn refused(invalid: crate::dialect::Invalid) -> ApiError {
    ApiError::invalid(invalid.message, invalid.param.map(Into::into))
}

fn expiry(anchor: Option<&str>, seconds: Option<&str>) -> Result<Option<i64>, ApiError> {
    match (anchor, seconds) {
        (None, None) => Ok(None),
        (Some("created_at"), Some(seconds)) => match seconds.parse() {
            Ok(seconds) => Ok(Some(seconds)),
            Err(_) => Err(ApiError::invalid("expires_after[seconds] must be a whole number", Some("expires_after[seconds]".into()))),
        },
        (Some("created_at"), None) => Err(ApiError::invalid("expires_after[seconds] is required", Some("expires_after[seconds]".into()))),
        _ => Err(ApiError::invalid("expires_after[anchor] must be created_at", Some("expires_after[anchor]".into()))),
    }
}

#[derive(Debug, Deserialize)]
pub struct ListQuery {
    limit: Option<String>,
    after: Option<String>,
    order: Option<String>,
    purpose: Option<String>,
    after_id: Option<String>,
    before_id: Option<String>,
}

impl ListQuery {
    fn wanted(&self, is_anthropic: bool) -> Result<Wanted, ApiError> {
        let (default, max) = if is_anthropic { (ANTHROPIC_LIMIT_DEFAULT, ANTHROPIC_LIMIT_MAX) } else { (LIMIT_MAX, LIMIT_MAX) };
        let limit = match self.limit.as_deref().map(str::parse::<u64>) {
            None => default,
            Some(Ok(limit)) if (1..=max).contains(&limit) => limit,
            Some(_) => return Err(ApiError::invalid(format!("limit must be a whole number from 1 to {max}"), Some("limit".into()))),
        };
        let oldest_first = match self.order.as_deref() {
            None | Some("desc") => false,
            Some("asc") => true,
            Some(_) => return Err(ApiError::invalid("order must be asc or desc", Some("order".into()))),
        };
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if is_anthropic {
            let (after, before) = (given(&self.after_id), given(&self.before_id));
            if after.is_some() && before.is_some() {
                return Err(ApiError::invalid("send after_id or before_id, not both", Some("before_id".into())));
            }
            return Ok(Wanted { after, before, limit, ..Wanted::default() });
        }
        Ok(Wanted { purpose: given(&self.purpose), after: given(&self.after), before: None, oldest_first, limit })
    }
}

/// Files of the caller's account
///
/// Newest first. In Anthropic's shape the pages are turned by `after_id` and `before_id`.
#[utoipa::path(get, path = "/v1/files", tag = "Files", security(("key" = [])),
    params(("limit" = Option<u64>, Query, description = "1 to 10000, the default (Anthropic: 1 to 1000, default 20)"),
        ("after" = Option<String>, Query, description = "Id of the last file of the page before"),
        ("order" = Option<String>, Query, description = "`desc` (default) or `asc`"), ("purpose" = Option<String>, Query, description = "Only files of this purpose"),
        ("after_id" = Option<String>, Query, description = "Anthropic's word for `after`"), ("before_id" = Option<String>, Query, description = "Anthropic's: the page before this file")),
    responses((status = 200, description = "A page of files: `data`, `first_id`, `last_id`, `has_more`")))]
#[get("/v1/files")]
pub async fn list_files(
    request: HttpRequest,
    query: web::Query<ListQuery>,
    pipeline: web::Data<Rc<Pipeline>>,
    reader: web::Data<CallerReader>,
    control: web::Data<Control>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&request, &pipeline, &reader).await?;
    let is_anthropic = is_anthropic(&request);
    let (files, has_more) = control::files::list(&control, &caller.account_id, query.wanted(is_anthropic)?).await?;
    let (first_id, last_id) = (files.first().map(|file| file.id.clone()), files.last().map(|file| file.id.clone()));
    Ok(if is_anthropic {
        let data = files.into_iter().map(FileMetadata::from).collect();
        HttpResponse::Ok().json(List { object: None, data, first_id, last_id, has_more })
    } else {
        let data = files.into_iter().map(FileObject::from).collect();
        HttpResponse::Ok().json(List { object: Some("list"), data, first_id, last_id, has_more })
    })
}

#[derive(Serialize)]
struct List<T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'static str>,
    data: Vec<T>,
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
}

/// A file
#[utoipa::path(get, path = "/v1/files/{id}", tag = "Files", security(("key" = [])), params(("id" = String, Path, description = "`file_…`")),
    responses((status = 200, body = FileObject), (status = 404, description = "Expired, deleted, or another account's")))]
#[get("/v1/files/{id}")]
pub async fn retrieve_file(
    request: HttpRequest,
    id: web::Path<String>,
    pipeline: web::Data<Rc<Pipeline>>,
    reader: web::Data<CallerReader>,
    control: web::Data<Control>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&request, &pipeline, &reader).await?;
    Ok(shown(control::files::get(&control, &caller.account_id, &id).await?, is_anthropic(&request)))
}

/// Delete a file
#[utoipa::path(delete, path = "/v1/files/{id}", tag = "Files", security(("key" = [])), params(("id" = String, Path, description = "`file_…`")),
    responses((status = 200, description = "`deleted` is true (Anthropic: `type` is `file_deleted`)"), (status = 404, description = "Expired, deleted, or another account's")))]
#[delete("/v1/files/{id}")]
pub async fn delete_file(
    request: HttpRequest,
    id: web::Path<String>,
    pipeline: web::Data<Rc<Pipeline>>,
    reader: web::Data<CallerReader>,
    control: web::Data<Control>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&request, &pipeline, &reader).await?;
    control::files::delete(&control, &caller.account_id, &id).await?;
    Ok(HttpResponse::Ok().json(match is_anthropic(&request) {
        true => json!({ "id": *id, "type": "file_deleted" }),
        false => json!({ "id": *id, "object": "file", "deleted": true }),
    }))
}

/// The content of a file
///
/// Always as a download, whatever it is.
#[utoipa::path(get, path = "/v1/files/{id}/content", tag = "Files", security(("key" = [])), params(("id" = String, Path, description = "`file_…`")),
    responses((status = 200, description = "The bytes that were uploaded", content_type = "application/octet-stream"), (status = 404, description = "Expired, deleted, or another account's")))]
#[get("/v1/files/{id}/content")]
pub async fn download_file(
    request: HttpRequest,
    id: web::Path<String>,
    pipeline: web::Data<Rc<Pipeline>>,
    reader: web::Data<CallerReader>,
    control: web::Data<Control>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&request, &pipeline, &reader).await?;
    let (file, content) = control::files::content(&control, &caller.account_id, &id).await?;
    Ok(download(&file.filename, &file.mime, content))
}

fn is_anthropic(request: &HttpRequest) -> bool {
    headers::dialect(request.path(), request.query_string(), request.headers()) == Dialect::Anthropic
}

fn shown(file: File, is_anthropic: bool) -> HttpResponse {
    match is_anthropic {
        true => HttpResponse::Ok().json(FileMetadata::from(file)),
        false => HttpResponse::Ok().json(FileObject::from(file)),
    }
}

/// A file in OpenAI's shape.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FileObject {
    /// `file_…`
    id: String,
    /// Always `file`.
    object: &'static str,
    bytes: u64,
    /// Unix seconds, as OpenAI has them.
    created_at: i64,
    /// Unix seconds; null when it stays until it is deleted.
    expires_at: Option<i64>,
    filename: String,
    purpose: String,
    /// Always `processed`.
    status: &'static str,
}

impl From<File> for FileObject {
    fn from(file: File) -> Self {
        Self {
            id: file.id,
            object: "file",
            bytes: file.bytes,
            created_at: file.created_at / SECOND,
            expires_at: file.expires_at.map(|moment| moment / SECOND),
            filename: file.filename,
            purpose: file.purpose,
            status: "processed",
        }
    }
}

/// A file in Anthropic's shape.
#[derive(Debug, Serialize)]
struct FileMetadata {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    filename: String,
    mime_type: String,
    size_bytes: u64,
    created_at: String,
    downloadable: bool,
}

impl From<File> for FileMetadata {
    fn from(file: File) -> Self {
        Self {
            id: file.id,
            kind: "file",
            filename: file.filename,
            mime_type: file.mime,
            size_bytes: file.bytes,
            created_at: rfc3339(file.created_at),
            downloadable: true,
        }
    }
}
