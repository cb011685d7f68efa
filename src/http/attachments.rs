//! Forms with attachments of tickets. Owners and staff share it.

use actix_web::{HttpRequest, http::header::CONTENT_TYPE, web};

use super::{
    body::{self, BodyLimits},
    error::ApiError,
};
use crate::{
    control::{Control, tickets::attachments::Upload},
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
