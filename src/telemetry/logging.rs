//! Logs to standard error, and spans to an OTLP collector when one is configured.
//!
//! Spans carry ids, names, counts and times; never keys, bodies or addresses of mail.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError, hyper::HyperClient};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchSpanProcessor, SdkTracerProvider},
};
use serde::Deserialize;
use tracing_subscriber::{EnvFilter, Layer, Registry, layer::SubscriberExt, util::SubscriberInitExt};

const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    #[default]
    Pretty,
    Json,
}

#[derive(Debug, Clone)]
pub struct Options {
    pub format: LogFormat,
    /// Directives of `tracing_subscriber::EnvFilter`, for example `info,pixgate::store=debug`.
    pub filter: String,
    /// Base URL of an OTLP/HTTP collector, for example `http://127.0.0.1:4318`; spans go to `/v1/traces` below it.
    pub otlp_endpoint: Option<String>,
    /// Name of this node in exported spans.
    pub node_name: String,
}

#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("the log filter is wrong: {0}")]
    Filter(String),
    #[error("the OTLP exporter cannot start: {0}")]
    Exporter(String),
    #[error("logging was already started in this process")]
    AlreadyStarted,
}

/// Keeps the exporter alive; [`Guard::shutdown`] sends what is still buffered.
#[derive(Debug)]
#[must_use = "dropping the guard ends the export of spans"]
pub struct Guard(Option<SdkTracerProvider>);

impl Guard {
    /// Sends the spans still buffered. Blocks for two seconds at most, so call it after the last answer.
    pub fn shutdown(self) {
        let Some(provider) = self.0 else { return };
        if let Err(error) = provider.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::warn!(error = %error, "the last spans could not be exported");
        }
    }
}

/// Tells whether `filter` can be used, and what is wrong with it if not.
pub fn check_filter(filter: &str) -> Result<(), String> {
    EnvFilter::try_new(filter).map(drop).map_err(|error| error.to_string())
}

/// Installs the subscriber of this process. Works once.
pub fn init(options: &Options) -> Result<Guard, InitError> {
    let filter = EnvFilter::try_new(&options.filter).map_err(|error| InitError::Filter(error.to_string()))?;
    let provider = options.otlp_endpoint.as_deref().map(|endpoint| exporter(endpoint, &options.node_name)).transpose()?;
    let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = vec![match options.format {
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_writer(std::io::stderr)
            .boxed(),
        LogFormat::Pretty => {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
            tracing_subscriber::fmt::layer().with_ansi(colour).with_writer(std::io::stderr).boxed()
        }
    }];
    if let Some(provider) = &provider {
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("pixgate")).with_threads(false).with_location(false);
        layers.push(layer.boxed());
    }
    tracing_subscriber::registry().with(layers).with(filter).try_init().map_err(|_| InitError::AlreadyStarted)?;
    Ok(Guard(provider))
}

fn exporter(endpoint: &str, node_name: &str) -> Result<SdkTracerProvider, InitError> {
    let wrong = |error: &dyn fmt::Display| InitError::Exporter(error.to_string());
    let client = ExportClient::new().map_err(|error| wrong(&error))?;
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_timeout(EXPORT_TIMEOUT)
        .with_http_client(client)
        .build()
        .map_err(|error| wrong(&error))?;
    let resource = Resource::builder()
        .with_service_name("pixgate")
        .with_attribute(opentelemetry::KeyValue::new("service.instance.id", node_name.to_owned()))
        .build();
    Ok(SdkTracerProvider::builder().with_resource(resource).with_span_processor(BatchSpanProcessor::builder(exporter).build()).build())
}

/// The batch processor calls its exporter on a plain thread of its own; the HTTP client needs a tokio runtime, so it brings one.
#[derive(Debug)]
struct ExportClient {
    runtime: tokio::runtime::Runtime,
    client: HyperClient,
}

impl ExportClient {
    fn new() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, client: HyperClient::with_default_connector(EXPORT_TIMEOUT, None) })
    }
}

type Sending<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for ExportClient {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> Sending<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move { self.runtime.block_on(self.client.send_bytes(request)) })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use super::*;

    #[test]
    fn a_wrong_filter_is_explained() {
        assert!(check_filter("info,pixgate::store=debug").is_ok());
        assert!(check_filter("pixgate=loud").unwrap_err().contains("level filter"));
    }

    #[test]
    fn spans_reach_the_collector() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}/", listener.local_addr().unwrap());
        let collector = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !String::from_utf8_lossy(&request).contains("admission") {
                let read = stream.read(&mut buffer).unwrap();
                assert!(read > 0, "the exporter hung up early");
                request.extend_from_slice(&buffer[..read]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            String::from_utf8_lossy(&request).into_owned()
        });
        let provider = exporter(&endpoint, "node_a").unwrap();
        let subscriber = tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(provider.tracer("pixgate")));
        tracing::subscriber::with_default(subscriber, || tracing::info_span!("admission").in_scope(|| ()));
        Guard(Some(provider)).shutdown();
        let request = collector.join().unwrap();
        assert!(request.starts_with("POST /v1/traces HTTP/1.1"), "{request}");
        assert!(request.contains("node_a"));
    }
}
