//! What every paid route does, whatever its dialect: the caller, the body, the call, the answer.

use std::{convert::Infallible, rc::Rc};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue},
    },
    web,
};
use futures_util::stream;

use crate::{
    clock::Clock,
    dialect::{CallHead, Dialect, errors::error_body},
    domain::api_key::Scope,
    http::{
        body::{self, BodyLimits},
        error::ApiError,
        headers::{self, Audience, CallerReader},
        request_id,
    },
    pipeline::{self, Incoming, Outgoing, Pipeline, Relay, Unanswered},
};

const EVENT_STREAM: &str = "text/event-stream";

/// What a paid route works with.
pub type Parts = (web::Data<Rc<Pipeline>>, web::Data<CallerReader>, web::Data<Clock>, web::Data<BodyLimits>);

/// Runs one paid call. `head` says what the route and the dialect's own headers say; what is read of every call is read here.
pub async fn paid(
    head: CallHead,
    request: HttpRequest,
    payload: web::Payload,
    (pipeline, reader, clock, limits): Parts,
) -> Result<HttpResponse, ApiError> {
    let arrived_at = clock.now();
    let dialect = head.endpoint.dialect();
    let answer = async {
        let presented = reader.read(&request, Scope::Inference)?;
        let idempotency_key = headers::idempotency_key(request.headers())?.map(str::to_owned);
        if !body::is_small(&request) {
            // Nobody unknown gets a large body read, parsed and counted.
            pipeline.accounts.authenticate(&presented).await?;
        }
        let body = body::read(&request, payload, **limits).await?;
        let ids = request_id::of(&request);
        let head = CallHead { drop_unsupported: headers::flag(request.headers(), "x-pixgate-drop-unsupported"), ..head };
        let incoming = Incoming {
            head,
            body,
            presented,
            id: ids.own,
            request_id: ids.shown,
            idempotency_key,
            cache: headers::cache_wish(request.headers())?,
            may_be_kept: pipeline.policy.content.is_some() && headers::may_be_kept(request.headers())?,
            arrived_at,
        };
        pipeline::run(&pipeline, incoming).await.map_err(|unanswered| refuse(&pipeline, dialect, unanswered))
    };
    match answer.await {
        Ok(outgoing) => Ok(respond(outgoing, Audience { dialect, now: clock.now() })),
        Err(error) => {
            let error: ApiError = error;
            pipeline.metrics.refused(error.code);
            Err(error)
        }
    }
}

/// The error of a call, filed where its content is kept.
fn refuse(pipeline: &Pipeline, dialect: Dialect, Unanswered { error, draft }: Unanswered) -> ApiError {
    let error = ApiError::from(error);
    if let Some(draft) = draft {
        let body = error_body(dialect, &error.body(draft.request_id()));
        draft.file(pipeline, error.status.as_u16(), "application/json", body.as_ref(), None);
    }
    error
}

fn respond(outgoing: Outgoing, audience: Audience) -> HttpResponse {
    match outgoing {
        Outgoing::Whole { facts, status, content_type, body } => {
            let mut response = HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::OK)).body(body);
            if let Ok(value) = HeaderValue::from_str(&content_type) {
                response.headers_mut().insert(CONTENT_TYPE, value);
            }
            if content_type == EVENT_STREAM {
                response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            }
            headers::insert_facts(response.headers_mut(), &facts, audience);
            response
        }
        Outgoing::Stream { facts, content_type, relay } => {
            let chunks =
                stream::unfold(
                    relay,
                    |mut relay: Relay| async move { relay.next().await.map(|chunk| (Ok::<_, Infallible>(chunk), relay)) },
                );
            let mut response = HttpResponse::Ok().streaming(chunks);
            let map = response.headers_mut();
            map.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            map.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            // Proxies that buffer would turn a stream into a wait.
            map.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
            headers::insert_facts(map, &facts, audience);
            response
        }
    }
}
