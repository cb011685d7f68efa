//! The HTTP client of the bucket: object_store's requests over hyper and aws-lc, with Mozilla's root certificates, as everything else here.

use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector as TcpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody, HttpService,
    },
};

/// For one request with its whole answer.
const TIMEOUT: Duration = Duration::from_secs(60);
const IDLE_CONNECTION: Duration = Duration::from_secs(30);

/// Makes the client of one bucket.
#[derive(Debug)]
pub struct HyperConnector;

impl HttpConnector for HyperConnector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let mut tcp = TcpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::aws_lc_rs::default_provider())
            .map_err(|error| object_store::Error::Generic { store: "S3", source: Box::new(error) })?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client =
            Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_CONNECTION).build(connector);
        Ok(HttpClient::new(HyperService(client)))
    }
}

#[derive(Debug)]
struct HyperService(Client<HttpsConnector<TcpConnector>, HttpRequestBody>);

#[derive(Debug, thiserror::Error)]
#[error("no whole answer within {} s", TIMEOUT.as_secs())]
struct TimedOut;

#[async_trait]
impl HttpService for HyperService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let exchange = async {
            let answer = self.0.request(request).await.map_err(|error| {
                let kind = if error.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Interrupted };
                HttpError::new(kind, error)
            })?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))?.to_bytes();
            let body = Full::new(body).map_err(|never| match never {});
            Ok(HttpResponse::from_parts(head, HttpResponseBody::new(body)))
        };
        tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or_else(|_| Err(HttpError::new(HttpErrorKind::Timeout, TimedOut)))
    }
}
