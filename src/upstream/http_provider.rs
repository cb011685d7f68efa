//! Model servers over HTTP, whoever's API they speak: what differs between them is data (`presets`, `address`, `auth`, `refusal`).

use std::{rc::Rc, sync::Arc, time::Duration};

use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response,
    header::{ACCEPT, CONTENT_TYPE},
};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http_body_util::Full;
use hyper::body::Incoming;

use super::{
    Answer, ApiKey, Body, Call, Failure, Provider, Socket, SocketCall, Target,
    address::{self, Addresses},
    auth::{Credential, TokenRequest, bare},
    body::{HttpBody, MessagesBody, Patience},
    event_stream,
    http::{Connections, HttpClient},
    presets::{Paths, Preset},
    refusal,
};
use crate::{
    clock::Clock,
    dialect::{Dialect, Endpoint, parse_upstream_error},
};

/// How much of an error's body is read.
const ERROR_BYTES_MAX: usize = 64 * 1024;
/// A list of models may be longer; that it begins proves life.
const PROBE_BYTES_MAX: usize = 1024 * 1024;
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const ANTHROPIC_BETA: HeaderName = HeaderName::from_static("anthropic-beta");
/// The version all models of Anthropic's format understand.
const ANTHROPIC_VERSION_DEFAULT: &str = "2023-06-01";

/// One configured upstream, seen from one worker thread.
#[derive(Debug, Clone)]
pub struct HttpProvider(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    client: HttpClient,
    connections: Connections,
    clock: Clock,
    target: Arc<Target>,
    preset: &'static Preset,
    addresses: Addresses,
    /// Sent with every call.
    headers: HeaderMap,
    /// Of the target's keys, in their order.
    credentials: Vec<Credential>,
    region: Option<String>,
}

impl HttpProvider {
    /// The error says what is wrong with the URL, an option or a key.
    pub fn new(client: &HttpClient, target: &Arc<Target>) -> Result<Self, String> {
        let preset = Preset::of(target.provider);
        let base_url = address::base_url(target.provider, &target.base_url, &target.options)?;
        let addresses = Addresses::new(preset.paths, &base_url, &target.options, &target.speaks)?;
        let region = target.options.region.clone().or_else(|| address::region(&base_url).map(str::to_owned));
        let keys = target.keys.keys().iter();
        let credentials = keys.map(|key| Credential::new(preset.auth, key, region.as_deref())).collect::<Result<_, _>>()?;
        let headers = preset.headers.iter().chain(&target.options.headers);
        let headers = headers.map(|(name, value)| static_header(name, value)).collect::<Result<_, _>>()?;
        Ok(Self(Rc::new(Shared {
            client: client.clone(),
            connections: client.pool(Duration::from_millis(target.timeouts.connect_ms)),
            clock: client.clock().clone(),
            target: target.clone(),
            preset,
            addresses,
            headers,
            credentials,
            region,
        })))
    }
}

/// A header that an operator may add to every call. Those that say what a message is or whose it is are made here.
pub fn static_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    const OURS: [&str; 15] = [
        "accept",
        "api-key",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-api-key",
        "x-goog-api-key",
    ];
    let known: HeaderName = name.parse().map_err(|_| format!("'{name}' is no name of a header"))?;
    if OURS.contains(&known.as_str()) {
        return Err(format!("the header '{name}' is made by the gateway and cannot be set"));
    }
    let value = value.parse().map_err(|_| format!("the value of the header '{name}' has characters that no header can carry"))?;
    Ok((known, value))
}

impl Provider for HttpProvider {
    fn call(&self, call: Call) -> LocalBoxFuture<'static, Result<Answer, Failure>> {
        let shared = self.0.clone();
        Box::pin(async move { shared.call(call).await })
    }

    fn open_socket(&self, call: SocketCall) -> LocalBoxFuture<'static, Result<Socket, Failure>> {
        let shared = self.0.clone();
        Box::pin(async move { shared.open_socket(call).await })
    }

    fn probe(&self) -> LocalBoxFuture<'static, Result<u64, Failure>> {
        let shared = self.0.clone();
        Box::pin(async move { shared.probe().await })
    }
}

impl Shared {
    /// With the caller's own key, or with the upstream's keys in turn until one is not refused.
    async fn call(&self, call: Call) -> Result<Answer, Failure> {
        self.with_keys(call.api_key.as_ref(), call.deadline, async |credential, deadline| self.attempt(&call, credential, deadline).await)
            .await
    }

    async fn with_keys<T>(
        &self,
        own_key: Option<&ApiKey>,
        deadline: Duration,
        attempt: impl AsyncFn(&Credential, Duration) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if let Some(key) = own_key {
            let credential = self.credential(key)?;
            let outcome = attempt(&credential, deadline).await;
            if matches!(outcome, Err(Failure::Refused { status: 401, .. })) {
                credential.refused(&self.target.tokens);
            }
            return outcome;
        }
        let started_at = self.clock.now();
        let mut tried = 0;
        let mut refused = None;
        while let Some(index) = self.target.keys.next(self.clock.now(), tried)
            && let Some(credential) = self.credentials.get(index)
        {
            tried |= 1 << index;
            let spent = Duration::from_micros(u64::try_from(self.clock.now() - started_at).unwrap_or(0));
            match attempt(credential, deadline.saturating_sub(spent)).await {
                Err(failure) if self.target.keys.note(index, &failure, self.clock.now()) => {
                    credential.refused(&self.target.tokens);
                    if self.credentials.len() > 1 {
                        tracing::warn!(upstream = %self.target.name, key.index = index, error = %failure, "a key was refused; it rests");
                    }
                    refused = Some(failure);
                }
                outcome => return outcome,
            }
        }
        Err(refused.unwrap_or_else(|| Failure::Connect("this upstream has no key to be called with".to_owned())))
    }

    fn credential(&self, key: &ApiKey) -> Result<Credential, Failure> {
        Credential::new(self.preset.auth, key, self.region.as_deref()).map_err(Failure::Connect)
    }

    /// The project that Vertex is asked in: that of a caller's own key counts more than the configured one.
    fn project<'a>(&'a self, call: &Call, credential: &'a Credential) -> Option<&'a str> {
        let configured = self.target.options.project.as_deref();
        match (credential.project(), configured) {
            (Some(own), Some(_)) if call.api_key.is_some() => Some(own),
            (own, configured) => configured.or(own),
        }
    }

    async fn attempt(&self, call: &Call, credential: &Credential, deadline: Duration) -> Result<Answer, Failure> {
        let uri = self.addresses.call(call.endpoint, &call.model, call.streamed, self.project(call, credential));
        let mut request = bare(Method::POST, uri.map_err(Failure::Connect)?, Full::new(call.body.clone()));
        self.describe(call, request.headers_mut());
        let mut patience = self.patience(deadline);
        patience.wait(self.authorize(&mut request, &call.body, credential, deadline)).await??;
        let (response, patience) = self.send(request, patience).await?;
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let status = response.status().as_u16();
        let body = HttpBody::new(response.into_body(), patience);
        if !call.streamed {
            return Ok(Answer { status, content_type, body: Body::Http(body) });
        }
        match content_type.as_deref().map(essence) {
            Some(kind) if kind.eq_ignore_ascii_case(event_stream::CONTENT_TYPE) => {
                let body = Body::Messages(Box::new(MessagesBody::new(body)));
                Ok(Answer { status, content_type: Some("text/event-stream".to_owned()), body })
            }
            Some(kind) if is_no_stream(kind) => {
                let said = parse_upstream_error(&collect_error(Body::Http(body)).await);
                Err(Failure::Garbage(format!("a stream was asked for, and no stream came: {said}")))
            }
            _ => Ok(Answer { status, content_type, body: Body::Http(body) }),
        }
    }

    /// What the call is, in headers.
    fn describe(&self, call: &Call, headers: &mut HeaderMap) {
        headers.extend(self.headers.clone());
        let content_type = HeaderValue::from_str(&call.content_type).unwrap_or(HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, content_type);
        let accept = match (call.streamed, self.preset.paths) {
            (true, Paths::Bedrock) => event_stream::CONTENT_TYPE,
            (true, _) => "text/event-stream",
            // Sound and subtitles come as what they are.
            (false, _) if matches!(call.endpoint, Endpoint::Speech | Endpoint::Transcriptions | Endpoint::Translations) => "*/*",
            (false, _) => "application/json",
        };
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        // Ids are checked where they enter; one that no header can carry is not worth a failure.
        if let Ok(id) = HeaderValue::from_str(&call.request_id) {
            headers.insert("x-request-id", id);
        }
        if call.endpoint.dialect() == Dialect::Anthropic {
            let configured = self.target.options.api_version.as_deref().unwrap_or(ANTHROPIC_VERSION_DEFAULT);
            let version = call.version.as_deref().unwrap_or(configured);
            if let Ok(version) = HeaderValue::from_str(version) {
                headers.insert(ANTHROPIC_VERSION, version);
            }
            if let Some(Ok(betas)) = call.betas.as_deref().map(HeaderValue::from_str) {
                headers.insert(ANTHROPIC_BETA, betas);
            }
        }
    }

    async fn authorize(
        &self,
        request: &mut Request<Full<Bytes>>,
        body: &[u8],
        credential: &Credential,
        deadline: Duration,
    ) -> Result<(), Failure> {
        let ask = |wanted: TokenRequest| async move {
            let mut request = bare(Method::POST, wanted.uri, Full::new(Bytes::from(wanted.body)));
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            let (response, patience) = self.send(request, self.patience(deadline)).await.map_err(no_token)?;
            Body::Http(HttpBody::new(response.into_body(), patience)).collect(ERROR_BYTES_MAX).await
        };
        credential.authorize(request, body, &self.clock, &self.target.tokens, ask).await
    }

    async fn probe(&self) -> Result<u64, Failure> {
        let started_at = self.clock.now();
        let deadline = Duration::from_millis(self.target.timeouts.first_byte_ms);
        let credential = self.target.keys.next(started_at, 0).and_then(|index| self.credentials.get(index));
        let credential = credential.unwrap_or(&Credential::Nothing);
        let project = self.target.options.project.as_deref().or_else(|| credential.project());
        let mut request = bare(Method::GET, self.addresses.probe(project).map_err(Failure::Connect)?, Full::new(Bytes::new()));
        request.headers_mut().extend(self.headers.clone());
        if self.preset.paths == Paths::Anthropic {
            request.headers_mut().insert(ANTHROPIC_VERSION, HeaderValue::from_static(ANTHROPIC_VERSION_DEFAULT));
        }
        self.authorize(&mut request, b"", credential, deadline).await?;
        let outcome = match self.send(request, self.patience(deadline)).await {
            // Reading to the end lets the connection be used again. A list too long for that still proves life.
            Ok((response, patience)) => match Body::Http(HttpBody::new(response.into_body(), patience)).collect(PROBE_BYTES_MAX).await {
                Ok(_) | Err(Failure::TooLarge) => Ok(()),
                Err(failure) => Err(failure),
            },
            Err(failure) if self.lives_nevertheless(&failure) => Ok(()),
            Err(failure) => Err(failure),
        };
        outcome.map(|()| u64::try_from(self.clock.now() - started_at).unwrap_or(0))
    }

    /// Some have nothing that can be asked for free by everyone, and say so.
    fn lives_nevertheless(&self, failure: &Failure) -> bool {
        match failure {
            Failure::Refused { status: 404 | 405, .. } => !self.preset.lists_models,
            // The signature was believed; only this one list is not allowed.
            Failure::Refused { status: 403, .. } => self.preset.paths == Paths::Bedrock,
            _ => false,
        }
    }

    /// Starts to run now.
    fn patience(&self, deadline: Duration) -> Patience {
        let millis = Duration::from_millis;
        Patience::new(millis(self.target.timeouts.first_byte_ms), millis(self.target.timeouts.idle_ms), deadline)
    }

    /// Sends and waits for the head of a good answer.
    async fn send(&self, request: Request<Full<Bytes>>, mut patience: Patience) -> Result<(Response<Incoming>, Patience), Failure> {
        let response = patience.wait(self.connections.request(request)).await??;
        if response.status().is_success() {
            return Ok((response, patience));
        }
        let (head, body) = response.into_parts();
        // The status counts also when the body is broken, slow or huge.
        let said = collect_error(Body::Http(HttpBody::new(body, patience))).await;
        Err(refusal::read(self.preset.paths, head.status.as_u16(), &head.headers, &said, &self.clock))
    }
}

/// A key that gets no token is a key that is refused, whatever the status; it is never the caller's request.
fn no_token(failure: Failure) -> Failure {
    match failure {
        Failure::Refused { status: 400..=499, message, retry_after_ms } => {
            Failure::Refused { status: 401, message: format!("the service account gets no token: {message}"), retry_after_ms }
        }
        other => other,
    }
}

/// The beginning of an error's body.
async fn collect_error(mut body: Body) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(Ok(chunk)) = body.next().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ERROR_BYTES_MAX {
            bytes.truncate(ERROR_BYTES_MAX);
            break;
        }
    }
    bytes
}

/// A content type without its parameters.
fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Types that are surely no event stream; servers are careless with others.
fn is_no_stream(essence: &str) -> bool {
    essence.eq_ignore_ascii_case("application/json") || essence.eq_ignore_ascii_case("text/html")
}

mod realtime;
#[cfg(test)]
mod tests;
