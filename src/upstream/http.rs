//! The HTTP client: one per worker thread, with its pools of connections.

use std::{
    cell::RefCell,
    collections::HashMap,
    error::Error,
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use ::http::{Request, Response, Uri};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tower_service::Service;

use super::{Failure, Stage};
use crate::clock::Clock;

const IDLE_CONNECTION_SECONDS: u64 = 60;
/// Finds dead HTTP/2 connections, which otherwise swallow calls until their first-byte timeout.
const PING_SECONDS: u64 = 20;
const PONG_SECONDS: u64 = 10;

type Pool = legacy::Client<Impatient, Full<Bytes>>;
/// TCP, or TLS over it.
pub(super) type Connection = TokioIo<<HttpsConnector<HttpConnector> as Service<Uri>>::Response>;
type BoxError = Box<dyn Error + Send + Sync>;

/// Speaks HTTP/1.1 to `http://` and whatever ALPN finds to `https://` (Mozilla's root certificates). Follows no redirects. Cheap to
/// clone; clones share the connections, which belong to one thread.
#[derive(Clone)]
pub struct HttpClient {
    clock: Clock,
    connector: HttpsConnector<HttpConnector>,
    /// Never HTTP/2, over which nobody upgrades to a WebSocket.
    upgradable: HttpsConnector<HttpConnector>,
    /// One pool per connect timeout, since that belongs to the connector.
    pools: Rc<RefCell<HashMap<Duration, Pool>>>,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").finish_non_exhaustive()
    }
}

impl HttpClient {
    /// Fails only when the TLS library cannot be set up.
    pub fn new(clock: Clock) -> Result<Self, String> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let tls = || {
            let tls = HttpsConnectorBuilder::new().with_provider_and_webpki_roots(rustls::crypto::aws_lc_rs::default_provider());
            tls.map(|tls| tls.https_or_http()).map_err(|error| format!("cannot set up TLS: {error}"))
        };
        let connector = tls()?.enable_all_versions().wrap_connector(tcp.clone());
        let upgradable = tls()?.enable_http1().wrap_connector(tcp);
        Ok(Self { clock, connector, upgradable, pools: Rc::default() })
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A connection of its own, for something that is no HTTP from its second message on.
    pub(super) async fn connect(&self, target: Uri, connect_timeout: Duration) -> Result<Connection, Failure> {
        let mut connector = Impatient { connector: self.upgradable.clone(), connect_timeout };
        std::future::poll_fn(|context| connector.poll_ready(context)).await.map_err(|error| Failure::Connect(describe(&*error)))?;
        match connector.call(target).await {
            Ok(connection) => Ok(TokioIo::new(connection)),
            Err(error) if error.is::<ConnectTimedOut>() => Err(Failure::TimedOut { stage: Stage::Connect }),
            Err(error) => Err(Failure::Connect(describe(&*error))),
        }
    }

    /// Connections made with this patience for name, TCP and TLS together.
    pub(super) fn pool(&self, connect_timeout: Duration) -> Connections {
        let mut pools = self.pools.borrow_mut();
        let pool = pools.entry(connect_timeout).or_insert_with(|| {
            legacy::Client::builder(TokioExecutor::new())
                .timer(TokioTimer::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(Duration::from_secs(IDLE_CONNECTION_SECONDS))
                .http2_adaptive_window(true)
                .http2_keep_alive_interval(Duration::from_secs(PING_SECONDS))
                .http2_keep_alive_timeout(Duration::from_secs(PONG_SECONDS))
                .build(Impatient { connector: self.connector.clone(), connect_timeout })
        });
        Connections(pool.clone())
    }
}

/// Sends requests over pooled connections.
#[derive(Debug, Clone)]
pub(super) struct Connections(Pool);

impl Connections {
    /// Resolves with the answer's head. Sets no limit of its own but the connect timeout.
    pub fn request(&self, request: Request<Full<Bytes>>) -> impl Future<Output = Result<Response<Incoming>, Failure>> + use<> {
        let answer = self.0.request(request);
        async move { answer.await.map_err(|error| classify(&error)) }
    }
}

fn classify(error: &legacy::Error) -> Failure {
    if causes(error).any(|cause| cause.is::<ConnectTimedOut>()) {
        return Failure::TimedOut { stage: Stage::Connect };
    }
    if error.is_connect() {
        return Failure::Connect(describe(error));
    }
    match causes(error).find_map(|cause| cause.downcast_ref::<hyper::Error>()) {
        Some(cause) if cause.is_parse() => Failure::Garbage(describe(error)),
        _ => Failure::BrokenOff(describe(error)),
    }
}

/// The error and what caused it, down to the innermost cause.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |cause| {
        let cause: &'a (dyn Error + 'static) = *cause;
        cause.source()
    })
}

/// The innermost cause, which is the one that says what happened.
pub(super) fn describe(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map_or_else(String::new, ToString::to_string)
}

/// A connector that gives up. The TCP connector's own timeout covers neither name resolution nor the TLS handshake.
#[derive(Debug, Clone)]
struct Impatient {
    connector: HttpsConnector<HttpConnector>,
    connect_timeout: Duration,
}

#[derive(Debug, thiserror::Error)]
#[error("connecting took too long")]
struct ConnectTimedOut;

impl Service<Uri> for Impatient {
    type Response = <HttpsConnector<HttpConnector> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.connect_timeout, self.connector.call(target));
        Box::pin(async move { connecting.await.map_err(|_| BoxError::from(ConnectTimedOut))? })
    }
}
