//! Somebody who is not signed in: where they ask from, counted by the throttles before anything else is looked at.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header, web};

use super::owner::check_origin;
use crate::{
    control::{Control, people},
    http::{error::ApiError, headers::CallerReader, parts},
};

/// Marks a browser that signed in before; it opens nothing.
pub const DEVICE_COOKIE: &str = "px_device";

/// A request to a route without sign-in.
pub struct Visitor {
    pub control: web::Data<Control>,
    pub visitor: people::Visitor,
}

impl FromRequest for Visitor {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(read(request))
    }
}

fn read(request: &HttpRequest) -> Result<Visitor, ApiError> {
    let control = parts::control(request)?;
    let visitor = of(request);
    control.people.guard.request(&visitor)?;
    // Programs send no Origin; a page that does must be ours.
    if !request.method().is_safe() && request.headers().contains_key(header::ORIGIN) {
        check_origin(request, &control)?;
    }
    Ok(Visitor { control, visitor })
}

/// Where a request comes from.
pub fn of(request: &HttpRequest) -> people::Visitor {
    let user_agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok()).map(str::to_owned);
    people::Visitor {
        ip: request.app_data::<web::Data<CallerReader>>().and_then(|reader| reader.ip(request)),
        user_agent,
        device: request.cookie(DEVICE_COOKIE).map(|cookie| cookie.value().to_owned()),
    }
}
