//! What extractors need of the application: who decides, and who reads keys.

use actix_web::{HttpRequest, http::StatusCode, web};

use super::{error::ApiError, headers::CallerReader};
use crate::control::Control;

pub fn control(request: &HttpRequest) -> Result<web::Data<Control>, ApiError> {
    part(request)
}

pub fn caller_reader(request: &HttpRequest) -> Result<web::Data<CallerReader>, ApiError> {
    part(request)
}

fn part<T: 'static>(request: &HttpRequest) -> Result<web::Data<T>, ApiError> {
    request.app_data::<web::Data<T>>().cloned().ok_or_else(|| {
        tracing::error!(part = std::any::type_name::<T>(), "a route is served without a part that it needs");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "this route is not set up")
    })
}
