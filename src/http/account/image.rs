//! `/api/v1/me/image`: the profile image.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    web,
};
use bytes::Bytes;

use super::{owner::Account, session::Me};
use crate::{
    control::{
        Control,
        owner::{self, Owner},
        people::{self, IMAGE_BYTES_MAX},
    },
    dialect::media::multipart,
    domain::member::Permission,
    http::{
        admin::only,
        body::{self, BodyLimits},
        error::ApiError,
    },
};

const TIMEOUT: Duration = Duration::from_secs(30);
/// What a form may have beside its file.
const FORM_BYTES: usize = 64 * 1024;

pub fn configure(routes: &mut web::ServiceConfig) {
    let image = web::resource("/api/v1/me/image")
        .route(web::get().to(get_image))
        .route(web::put().to(put_image))
        .route(web::delete().to(delete_image));
    routes.service(image.default_service(only("GET, PUT, DELETE")));
}

/// Where the image is that this blob holds. The address changes with the image, so that no browser shows an old one.
pub(super) fn image_url(blob: &str) -> Option<String> {
    let (_, id) = blob.rsplit_once('/')?;
    Some(format!("/api/v1/me/image?v={id}"))
}

/// Set the profile image
///
/// PNG, JPEG, WebP or GIF of at most 2 MiB, as the body or as `image` in a form. What it is is told by its content.
#[utoipa::path(put, path = "/api/v1/me/image", tag = "Account", security(("key" = [])), request_body(content = Vec<u8>, content_type = "image/png"),
    responses((status = 200, body = Me), (status = 400, description = "`invalid_request`: not such an image"), (status = 403, description = "`role_missing`, `csrf_failed`"),
        (status = 413, description = "`request_too_large`")))]
pub async fn put_image(request: HttpRequest, caller: Account, payload: web::Payload) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::ManageMembers)?;
    let content = read(&request, payload).await?;
    let csrf_token = caller.session_token.as_deref().map(|token| owner::csrf_token(&caller.control, token));
    let (control, person_id, role) = (caller.control.clone(), caller.owner.person_id.clone(), caller.owner.role);
    let account = caller.change(|control: Control, owner: Owner| async move { people::set_image(&control, &owner, content).await }).await?;
    let mut me = Me::of(account, role, csrf_token);
    me.second_factor = people::has_second_factor(&control, &person_id).await?;
    Ok(HttpResponse::Ok().json(me))
}

async fn read(request: &HttpRequest, payload: web::Payload) -> Result<Bytes, ApiError> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_form = content_type.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("multipart/form-data"));
    let bytes_max = if is_form { IMAGE_BYTES_MAX + FORM_BYTES } else { IMAGE_BYTES_MAX };
    let body = body::read(request, payload, BodyLimits { bytes_max, timeout: TIMEOUT }).await?;
    if !is_form {
        return Ok(body);
    }
    let parts =
        multipart::parts(content_type, &body).map_err(|invalid| ApiError::invalid(invalid.message, invalid.param.map(Into::into)))?;
    let image = parts.iter().find(|part| part.name == "image" || part.name == "file");
    let image = image.ok_or_else(|| ApiError::invalid("'image' is required: a part of the form", Some("image".into())))?;
    Ok(body.slice(image.content.clone()))
}

/// The profile image
#[utoipa::path(get, path = "/api/v1/me/image", tag = "Account", security(("key" = [])),
    responses((status = 200, description = "The image", content_type = "image/png"), (status = 404, description = "`not_found`: there is none")))]
pub async fn get_image(caller: Account) -> Result<HttpResponse, ApiError> {
    let (content, kind) = people::read_image(&caller.control, &caller.owner.account).await?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, kind))
        .insert_header((CACHE_CONTROL, "private, max-age=300"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"))
        .body(content))
}

/// Remove the profile image
#[utoipa::path(delete, path = "/api/v1/me/image", tag = "Account", security(("key" = [])),
    responses((status = 204, description = "There is none any more"), (status = 403, description = "`role_missing`, `csrf_failed`")))]
pub async fn delete_image(caller: Account) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::ManageMembers)?;
    caller.change(|control: Control, owner: Owner| async move { people::remove_image(&control, &owner).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}
