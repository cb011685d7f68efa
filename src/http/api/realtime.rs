//! `GET /v1/realtime`: the caller's side of a realtime session.

use std::{rc::Rc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse, get,
    http::{
        StatusCode,
        header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL, UPGRADE},
    },
    web,
};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, ProtocolError, Session as Socket};
use bytes::Bytes;
use serde::Deserialize;

use crate::{
    clock::Clock,
    dialect::{Dialect, realtime::error_event},
    domain::{api_key::Scope, refusal::Refusal},
    http::{
        error::ApiError,
        headers::{self, Audience, CallerReader},
        request_id,
    },
    pipeline::{
        Pipeline,
        realtime::{self, ClientReader, ClientWriter, Closing, Gone, Heard, Opening, Told},
    },
};

/// What is agreed on with callers that name protocols.
const PROTOCOL: &str = "realtime";
/// What browsers, which can set no header, choose the wording of the beta with.
const BETA_PROTOCOL: &str = "openai-beta.realtime-v1";
/// How long a caller may take to accept one message before it counts as gone.
const SEND_PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Deserialize)]
pub struct RealtimeQuery {
    model: Option<String>,
    intent: Option<String>,
}

/// Speak and listen
///
/// A WebSocket with OpenAI's realtime events. Every response is charged by itself before its `response.done` is sent, with `cost` and
/// `cost_micros` in the usage. Browsers give the key as the protocol `openai-insecure-api-key.KEY` beside `realtime`.
#[utoipa::path(get, path = "/v1/realtime", tag = "Models", security(("key" = [])),
    params(("model" = String, Query, description = "The model; it stays that of the session"),
        ("intent" = Option<String>, Query, description = "`conversation` or absent; sessions for transcription only are refused"),
        ("Upgrade" = Option<String>, Header, description = "`websocket`"),
        ("Sec-WebSocket-Protocol" = Option<String>, Header, description = "`realtime`, and `openai-insecure-api-key.KEY` where no header can carry the key"),
        ("OpenAI-Beta" = Option<String>, Header, description = "`realtime=v1` for the events of the beta; passed on")),
    responses((status = 101, description = "The session is open"), (status = 426, description = "The request does not ask for a WebSocket"),
        (status = "4XX", description = "A refusal"), (status = "5XX", description = "A failure; nothing is charged")))]
#[get("/v1/realtime")]
pub async fn connect(
    request: HttpRequest,
    payload: web::Payload,
    query: web::Query<RealtimeQuery>,
    pipeline: web::Data<Rc<Pipeline>>,
    reader: web::Data<CallerReader>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse, ApiError> {
    let answer = open(&request, payload, &query, &pipeline, &reader, &clock).await;
    if let Err(error) = &answer {
        pipeline.metrics.refused(error.code);
    }
    answer
}

async fn open(
    request: &HttpRequest,
    payload: web::Payload,
    query: &RealtimeQuery,
    pipeline: &Rc<Pipeline>,
    reader: &CallerReader,
    clock: &Clock,
) -> Result<HttpResponse, ApiError> {
    let arrived_at = clock.now();
    let presented = reader.read(request, Scope::Inference)?;
    if let Some(intent) = query.intent.as_deref().filter(|intent| *intent != "conversation") {
        let shown: String = intent.chars().take(40).collect();
        let message =
            format!("sessions with the intent '{shown}' are not served; leave intent away, or send recordings to /v1/audio/transcriptions");
        return Err(ApiError::invalid(message, Some("intent".into())));
    }
    let model = query.model.clone().filter(|model| !model.is_empty());
    let model = model.ok_or_else(|| ApiError::invalid("the query has to name a model: /v1/realtime?model=…", Some("model".into())))?;
    let wants_upgrade = request.headers().get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !wants_upgrade {
        let message = "this route is a WebSocket; send 'Upgrade: websocket', as every WebSocket client does";
        return Err(ApiError::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message));
    }
    let ids = request_id::of(request);
    let (mut response, socket, messages) =
        actix_ws::handle(request, payload).map_err(|error| ApiError::invalid(format!("no WebSocket can be opened: {error}"), None))?;
    let opening = Opening { presented, model, betas: betas(request), id: ids.own, request_id: ids.shown.clone(), arrived_at };
    let session = realtime::open(pipeline, opening).await?;
    if protocols(request).any(|protocol| protocol == PROTOCOL) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    }
    headers::insert_facts(response.headers_mut(), session.facts(), Audience { dialect: Dialect::OpenAi, now: clock.now() });
    let bytes_max = pipeline.policy.realtime.message_bytes_max;
    let messages = messages.max_frame_size(bytes_max).aggregate_continuations().max_continuation_size(bytes_max);
    let writer = Writer { socket, clock: clock.clone(), request_id: ids.shown };
    session.run(Reader { messages, bytes_max }, writer);
    Ok(response)
}

/// The protocols a caller offers, in their order.
fn protocols(request: &HttpRequest) -> impl Iterator<Item = &str> {
    let values = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim)
}

/// The beta's wording, asked for in a header or, by browsers, in a protocol.
fn betas(request: &HttpRequest) -> Option<String> {
    let header = request.headers().get("openai-beta").and_then(|value| value.to_str().ok()).map(str::to_owned);
    header.or_else(|| protocols(request).any(|protocol| protocol == BETA_PROTOCOL).then(|| "realtime=v1".to_owned()))
}

struct Reader {
    messages: AggregatedMessageStream,
    bytes_max: usize,
}

impl ClientReader for Reader {
    async fn hear(&mut self) -> Heard {
        match self.messages.recv().await {
            Some(Ok(AggregatedMessage::Text(text))) => Heard::Text(text.to_string()),
            Some(Ok(AggregatedMessage::Ping(payload))) => Heard::Ping(payload),
            Some(Ok(AggregatedMessage::Pong(_))) => Heard::Sign,
            Some(Ok(AggregatedMessage::Binary(_))) => {
                let message = "events are JSON texts; send sound as base64 inside input_audio_buffer.append".to_owned();
                Heard::Unfit(Refusal::Invalid { message, param: None })
            }
            Some(Err(ProtocolError::Overflow)) => Heard::Unfit(Refusal::TooLarge { limit_bytes: self.bytes_max }),
            Some(Ok(AggregatedMessage::Close(_)) | Err(_)) | None => Heard::Gone,
        }
    }
}

struct Writer {
    socket: Socket,
    clock: Clock,
    request_id: String,
}

impl ClientWriter for Writer {
    async fn say(&mut self, message: String) -> Result<(), Gone> {
        in_time(self.socket.text(message)).await
    }

    async fn tell(&mut self, told: Told) -> Result<(), Gone> {
        let error = match told {
            Told::Call(error) => ApiError::from(error),
            Told::BrokenOff { code, message } => ApiError::new(StatusCode::BAD_GATEWAY, code, message),
        };
        let event = error_event(&self.clock.new_id("event"), &error.body(&self.request_id));
        self.say(event).await
    }

    async fn ping(&mut self) -> Result<(), Gone> {
        in_time(self.socket.ping(b"")).await
    }

    async fn pong(&mut self, payload: Bytes) -> Result<(), Gone> {
        in_time(self.socket.pong(&payload)).await
    }

    async fn close(self, closing: Closing) {
        let (code, said) = match closing {
            Closing::Ended => (CloseCode::Normal, "the session is over"),
            Closing::GoingAway => (CloseCode::Away, "this node is shutting down"),
            Closing::Refused => (CloseCode::Policy, "refused; the last event says why"),
            Closing::TooLarge => (CloseCode::Size, "a message was too large"),
            Closing::Failed => (CloseCode::Error, "failed; the last event says why"),
        };
        let reason = CloseReason { code, description: Some(said.to_owned()) };
        // Who has left already hears nothing of it.
        let _ = in_time(self.socket.close(Some(reason))).await;
    }
}

/// Waits for a slow caller, but not for ever.
async fn in_time<E>(sent: impl Future<Output = Result<(), E>>) -> Result<(), Gone> {
    match tokio::time::timeout(SEND_PATIENCE, sent).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Gone),
    }
}
