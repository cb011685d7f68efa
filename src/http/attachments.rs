//! Attachments of tickets on the wire: a form on their way in, a download on their way out. Owners and staff share it.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    web,
};
use bytes::Bytes;

use super::{
    api::files::disposition,
    body::{self, BodyLimits},
    error::ApiError,
};
use crate::{
    control::{
        Control,
        tickets::{Attachment, attachments::Upload},
    },
    dialect::media::multipart,
};

/// What a form may have beside its file.
const FORM_BYTES: u64 = 64 * 1024;

/// Reads a form with `file`, and, if they are there, `message_id` and `internal`.
pub async fn read_form(request: &HttpRequest, payload: web::Payload, control: &Control, limits: BodyLimits) -> Result<Upload, ApiError> {
    let form_max = usize::try_from(control.tickets.attachment_bytes_max.saturating_add(FORM_BYTES)).unwrap_or(usize::MAX);
    let limits = BodyLimits { bytes_max: limits.bytes_max.min(form_max), ..limits };
    let body = body::read(request, payload, limits).await?;
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let refused = |invalid: crate::dialect::Invalid| ApiError::invalid(invalid.message, invalid.param.map(Into::into));
    let parts = multipart::parts(content_type, &body).map_err(refused)?;
    let mut files = parts.iter().filter(|part| part.name == "file");
    let file = files.next().ok_or_else(|| ApiError::invalid("'file' is required: a part of the form", Some("file".into())))?;
    if files.next().is_some() {
        return Err(ApiError::invalid("send one file at a time", Some("file".into())));
    }
    let text = |name: &str| {
        let part = parts.iter().find(|part| part.name == name);
        part.map(|part| part.text(&body).map(str::trim)).transpose().map_err(refused)
    };
    let internal = match text("internal")? {
        None | Some("" | "false") => false,
        Some("true") => true,
        Some(_) => return Err(ApiError::invalid("internal must be true or false", Some("internal".into()))),
    };
    Ok(Upload {
        filename: file.file_name.clone(),
        mime: file.content_type.clone(),
        message_id: text("message_id")?.filter(|id| !id.is_empty()).map(str::to_owned),
        internal,
        content: body.slice(file.content.clone()),
    })
}

/// Always a download: a browser must neither show what somebody attached as a page of ours, nor guess that it is one.
pub fn download(attachment: Attachment, content: Bytes) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, attachment.mime))
        .insert_header((CONTENT_DISPOSITION, disposition(&attachment.filename)))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header(("content-security-policy", "sandbox; default-src 'none'"))
        .insert_header(("cross-origin-resource-policy", "same-origin"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(content)
}
