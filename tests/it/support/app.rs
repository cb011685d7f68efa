//! The production application inside the test process, started as `main` starts it, on a free port and a database of its own.

use std::{
    net::{SocketAddr, TcpListener},
    thread::JoinHandle,
    time::Duration,
};

use pixgate::{
    app::Application,
    clock::{Clock, Hand},
    config::Settings,
    telemetry::redact::Secret,
};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::{
    admin::{ADMIN_KEY, Admin},
    client::until,
    db::TestDatabase,
};

/// Noon of a day in the middle of a month, where a manual clock starts.
const MANUAL_START: i64 = 1_752_580_800_000_000;
const STOP_DEADLINE: Duration = Duration::from_secs(10);

pub struct TestApp {
    pub url: String,
    pub admin: Admin,
    pub database: TestDatabase,
    /// Moves the clock of an application started by [`TestApp::manual`].
    pub hand: Option<Hand>,
    clock: Clock,
    settings: Settings,
    address: SocketAddr,
    running: Option<Running>,
    _dir: TempDir,
}

struct Running {
    stop: oneshot::Sender<Duration>,
    thread: JoinHandle<Result<(), String>>,
}

impl TestApp {
    pub async fn start(adjust: impl FnOnce(&mut Settings)) -> Self {
        Self::with_clock(Clock::system(), None, adjust).await
    }

    /// With a clock that stands still until `hand` moves it. The lease outlives every jump a test makes.
    pub async fn manual(adjust: impl FnOnce(&mut Settings)) -> Self {
        let (clock, hand) = Clock::manual(MANUAL_START);
        Self::with_clock(clock, Some(hand), |settings| {
            settings.ledger.lease_ttl_seconds = 86_400;
            adjust(settings);
        })
        .await
    }

    async fn with_clock(clock: Clock, hand: Option<Hand>, adjust: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let database = TestDatabase::create(dir.path()).await;
        let mut settings = Settings::default();
        settings.server.data_dir = dir.path().join("data");
        settings.server.workers = 2;
        settings.server.drain_seconds = 5;
        settings.database.url = Some(Secret::new(database.url.clone()));
        settings.database.max_connections = 4;
        settings.bootstrap.admin_key = Some(Secret::new(ADMIN_KEY));
        settings.upstream.retry_backoff_ms = 1;
        settings.telemetry.access_log = false;
        adjust(&mut settings);

        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        settings.server.listen = address;
        let running = run(settings.clone(), listener, clock.clone()).await;
        let url = format!("http://{address}");
        let admin = Admin::new(&url);
        Self { url, admin, database, hand, clock, settings, address, running: Some(running), _dir: dir }
    }

    /// An orderly stop and a new start on the same port, data folder and database.
    pub async fn restart(&mut self) {
        self.stop().await;
        let listener = TcpListener::bind(self.address).expect("the port is free again");
        self.running = Some(run(self.settings.clone(), listener, self.clock.clone()).await);
    }

    /// Where the node keeps its secrets.
    pub fn data_dir(&self) -> std::path::PathBuf {
        self.settings.server.data_dir.clone()
    }

    pub fn now(&self) -> i64 {
        self.clock.now()
    }

    pub fn advance(&self, by: Duration) {
        self.hand.as_ref().expect("a manual clock").advance(by);
    }

    async fn stop(&mut self) {
        let running = self.running.take().expect("a running application");
        let _ = running.stop.send(STOP_DEADLINE);
        until("the application ends", || running.thread.is_finished()).await;
        running.thread.join().expect("no panic").expect("a clean end");
    }

    /// The end of every test: asserts what must hold when no call runs, then stops.
    pub async fn finish(mut self) {
        self.admin.all_is_well().await;
        self.stop().await;
    }

    /// The same for tests in which actors are restarted on purpose.
    pub async fn finish_after_restarts(mut self) {
        self.admin.check_ledger().await;
        self.stop().await;
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        // A failed test: end the server, so that its database can go; nobody waits for open streams.
        if let Some(running) = self.running.take() {
            let _ = running.stop.send(Duration::ZERO);
            let _ = running.thread.join();
        }
    }
}

async fn run(settings: Settings, listener: TcpListener, clock: Clock) -> Running {
    let (started, is_started) = oneshot::channel();
    let (stop, must_stop) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        actix::System::new().block_on(async move {
            let application = Application::build(settings, listener, clock).await.map_err(|error| error.to_string())?;
            let stopper = application.stopper();
            actix::spawn(async move {
                if let Ok(drain_limit) = must_stop.await {
                    stopper.stop_within(drain_limit).await;
                }
            });
            let _ = started.send(());
            application.run().await.map_err(|error| error.to_string())
        })
    });
    match is_started.await {
        Ok(()) => Running { stop, thread },
        Err(_) => panic!("the application does not start: {:?}", thread.join()),
    }
}
