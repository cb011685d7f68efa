//! The id of every request: the caller's own when it is usable, else ours; on the answer, and in the body of errors.

use actix_web::{
    Error, HttpMessage, HttpRequest,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{HeaderName, HeaderValue},
    middleware::Next,
    web,
};

use super::{
    error::ApiError,
    headers::{self, Audience},
    safe_headers,
};
use crate::clock::Clock;

/// Ids of one request. `own` (`req_…`) is unique; `shown` is what the caller sees.
#[derive(Debug, Clone)]
pub struct RequestId {
    pub own: String,
    pub shown: String,
}

/// The ids the middleware gave this request.
pub fn of(request: &HttpRequest) -> RequestId {
    request.extensions().get::<RequestId>().cloned().unwrap_or_else(|| RequestId { own: String::new(), shown: String::new() })
}

/// Gives the request its id and puts it on the answer.
pub async fn stamp<B: MessageBody + 'static>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<BoxBody>, Error> {
    let clock = request.app_data::<web::Data<Clock>>().cloned();
    let own = clock.as_ref().map(|clock| clock.new_id("req")).unwrap_or_default();
    let shown = headers::caller_request_id(request.headers()).unwrap_or(&own).to_owned();
    request.extensions_mut().insert(RequestId { own, shown: shown.clone() });
    let dialect = headers::dialect(request.path(), request.query_string(), request.headers());
    let audience = || Audience { dialect, now: clock.as_ref().map_or(0, |clock| clock.now()) };
    let mut response = if request.path().contains("%00") || request.query_string().contains("%00") {
        // No name of ours contains a NUL, and not every database can even be asked for one.
        let (request, _) = request.into_parts();
        ServiceResponse::new(request, ApiError::invalid("the URL contains a NUL character", None).respond(&shown, audience()))
    } else {
        let response = next.call(request).await?;
        // An error was rendered without knowing the request; here it gets its id.
        match response.response().error().and_then(|error| error.as_error::<ApiError>()).cloned() {
            Some(error) => response.into_response(error.respond(&shown, audience())),
            None => response.map_into_boxed_body(),
        }
    };
    safe_headers::insert(&mut response);
    if let Ok(value) = HeaderValue::from_str(&shown) {
        let headers = response.headers_mut();
        headers.insert(HeaderName::from_static("x-request-id"), value.clone());
        headers.insert(HeaderName::from_static("request-id"), value);
    }
    Ok(response)
}
