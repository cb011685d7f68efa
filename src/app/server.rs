//! The HTTP server: one directory, one connector and one pipeline per worker thread.

use std::{
    fs::File,
    io::BufReader,
    net::TcpListener,
    path::Path,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{App, HttpServer, dev::Server, middleware, web};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::{
    StartError,
    node::{Node, workers},
};
use crate::{
    config::Settings,
    http::{self, body::BodyLimits, headers::CallerReader, request_id},
    upstream::Connector,
};

/// Idle keep-alive connections of clients; above the idle time of common load balancers (60 s).
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Time for the rest of a connection's work once everything has drained.
const SHUTDOWN_SECONDS: u64 = 5;

pub fn bind(settings: &Settings, listener: TcpListener, node: &Node) -> Result<Server, StartError> {
    let shared = node.parts.clone();
    let reader = CallerReader { hasher: shared.hasher.clone(), trusted_proxies: Arc::from(settings.server.trusted_proxies.as_slice()) };
    let limits =
        BodyLimits { bytes_max: settings.server.max_body_bytes, timeout: Duration::from_secs(settings.server.body_timeout_seconds) };
    let workers = workers(settings);
    let next_worker = Arc::new(AtomicUsize::new(0));
    let access_log = settings.telemetry.access_log;
    let litellm_headers = settings.compat.litellm_headers;
    let bare_proxy = settings.bench.bare_proxy.clone().map(http::bench::target);
    let connector_check = Connector::new(shared.clock.clone()).map_err(StartError::Internal)?;
    drop(connector_check);
    let factory = move || {
        // Runs once on every worker thread, which thereby gets its shard of the accounts.
        shared.attach_directory(next_worker.fetch_add(1, Ordering::Relaxed) % workers);
        #[expect(clippy::expect_used, reason = "the same call succeeded a moment ago; without TLS roots no worker can serve")]
        let control = shared.control().expect("a worker's connector");
        let bare_connector = control.connector.clone();
        let pipeline = Rc::new(shared.pipeline(control.connector.clone()));
        App::new()
            .app_data(web::Data::new(pipeline))
            .app_data(web::Data::new(control))
            .app_data(web::Data::new(reader.clone()))
            .app_data(web::Data::new(shared.clock.clone()))
            .app_data(web::Data::new(shared.metrics.clone()))
            .app_data(web::Data::new(limits))
            .wrap(middleware::from_fn(http::compat::openrouter::alias))
            .wrap(middleware::from_fn(request_id::stamp))
            .wrap(middleware::Condition::new(litellm_headers, middleware::from_fn(http::compat::headers::litellm)))
            .wrap(middleware::Condition::new(access_log, middleware::from_fn(http::access_log::log)))
            .configure(http::configure)
            .configure(|routes| {
                if let Some(target) = &bare_proxy {
                    routes.app_data(web::Data::new(http::bench::BareProxy { target: target.clone(), connector: bare_connector.clone() }));
                    routes.service(http::bench::proxy);
                }
            })
            .default_service(web::to(http::not_found))
    };
    let server = HttpServer::new(factory)
        .workers(workers)
        .max_connections(settings.server.max_connections.div_ceil(workers))
        .backlog(4_096)
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(Duration::from_secs(15))
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .tcp_nodelay(true)
        // A caller that closes its side has hung up: the upstream is to stop, not to talk to nobody until its next byte.
        .h1_allow_half_closed(false)
        .disable_signals();
    let server = match (&settings.server.tls_cert, &settings.server.tls_key) {
        (Some(certificate), Some(key)) => server.listen_rustls_0_23(listener, tls(certificate, key)?)?,
        _ => server.listen(listener)?,
    };
    Ok(server.run())
}

fn tls(certificate: &Path, key: &Path) -> Result<ServerConfig, StartError> {
    let open =
        |path: &Path| File::open(path).map(BufReader::new).map_err(|error| StartError::Settings(format!("{}: {error}", path.display())));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_reader_iter(open(certificate)?).collect();
    let chain = chain.map_err(|error| StartError::Settings(format!("{}: {error}", certificate.display())))?;
    if chain.is_empty() {
        return Err(StartError::Settings(format!("{} holds no certificate", certificate.display())));
    }
    let private =
        PrivateKeyDer::from_pem_reader(open(key)?).map_err(|error| StartError::Settings(format!("{}: {error}", key.display())))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| {
            StartError::Settings(format!("{} and {} do not make a TLS identity: {error}", certificate.display(), key.display()))
        })
}
