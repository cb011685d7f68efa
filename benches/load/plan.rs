//! Which runs there are, in which order. Contenders of a comparison take turns within each round, and ratios are medians over
//! the rounds, so that a disturbance of the machine hits all of them or is voted out.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    Fallible, Options,
    client::{Admin, request},
    drive::{Load, Outcome, Timing, closed_loop, fixed_work, open_loop},
    mock::Pace,
    process::{ADMIN_KEY, Mock, Nginx, Server, ServerOptions},
    report,
    setup::{self, Account, MODEL},
};

const ACCOUNTS: usize = 16;
const MANY_ACCOUNTS: u64 = 100_000;
const OPEN_LOOP_CONNECTIONS: usize = 256;
/// Every event arrives alone, as those of a model do.
const PACED: Pace = Pace { events: 200, gap_ms: 2 };
/// As fast as the sockets take them; several share a read.
const BURST: Pace = Pace { events: 200, gap_ms: 0 };
const SLOW: Pace = Pace { events: 20, gap_ms: 250 };
pub const SLOW_STREAMS: usize = 2_000;

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contender {
    /// The mock itself.
    Direct,
    Nginx,
    /// The server's bench route: the same HTTP stack without keys, limits and ledger.
    Bare,
    /// A paid call.
    Full,
    /// A paid call on a database with many accounts.
    FullManyAccounts,
}

impl Contender {
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Bare => "bare proxy",
            Self::Full => "full path",
            Self::FullManyAccounts => "full path, 100k accounts",
        }
    }
}

/// One run.
pub struct Measurement {
    /// The comparison it belongs to: `process`, `power`, `relaxed`, `open loop`, `stream 2 ms`…
    pub group: &'static str,
    pub contender: Contender,
    pub outcome: Outcome,
    /// Of the answering process, right after the run.
    pub rss_kib: u64,
}

/// Everything that has been measured.
#[derive(Default)]
pub struct Results {
    pub runs: Vec<Measurement>,
    /// Single figures by name; units are in the names.
    pub figures: BTreeMap<&'static str, f64>,
    /// What should not have happened.
    pub faults: Vec<String>,
}

struct Sizes {
    timing: Timing,
    rounds: usize,
    levels: &'static [usize],
    /// Of the modes other than the default one.
    other_levels: &'static [usize],
    stream_repeats: u64,
    starts: usize,
}

impl Sizes {
    fn new(options: &Options) -> Self {
        let seconds = options.seconds.unwrap_or(if options.quick { 0.7 } else { 1.5 });
        let timing = Timing { warm_up: Duration::from_millis(250), measured: Duration::from_secs_f64(seconds) };
        if options.quick {
            let rounds = options.rounds.unwrap_or(1);
            return Self { timing, rounds, levels: &[1, 64, 256], other_levels: &[256], stream_repeats: 2, starts: 3 };
        }
        let (levels, other_levels) = (&[1, 16, 64, 256], &[1, 64, 256]);
        Self { timing, rounds: options.rounds.unwrap_or(3), levels, other_levels, stream_repeats: 4, starts: 7 }
    }
}

struct Bench<'a> {
    options: &'a Options,
    sizes: Sizes,
    mock: Mock,
    nginx: Option<Nginx>,
    accounts: Vec<Account>,
    server_options: ServerOptions,
    results: Results,
    progress: ProgressBar,
    started: Instant,
}

/// Runs what the options ask for and reports; false if an answer failed or a charge is wrong. A missed target is no failure:
/// it says something about the machine, too.
pub async fn run(options: &Options) -> Fallible<bool> {
    let dir = tempfile::Builder::new().prefix("load-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mock = Mock::start()?;
    let nginx = Nginx::start(dir.path(), mock.address)?;
    let server_options = ServerOptions {
        program: options.server.clone(),
        dir: data_dir(&dir, "base")?,
        durability: "process",
        upstream_base_url: mock.base_url(),
    };
    let sizes = Sizes::new(options);
    let progress = ProgressBar::new(0).with_style(ProgressStyle::with_template("{bar:30} {pos}/{len}  {elapsed}  {msg}")?);
    let (results, started) = (Results::default(), Instant::now());
    let mut bench = Bench { options, sizes, mock, nginx, accounts: Vec::new(), server_options, results, progress, started };
    bench.progress.set_length(bench.steps());
    bench.all(&dir).await?;
    bench.progress.finish_and_clear();
    let Bench { results, .. } = bench;
    report::publish(&results, options, bench_results_dir()).map(|()| results.faults.is_empty())
}

fn data_dir(dir: &TempDir, name: &str) -> Fallible<PathBuf> {
    let path = dir.path().join(name);
    fs::create_dir(&path)?;
    Ok(path)
}

fn bench_results_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bench-results")
}

impl Bench<'_> {
    fn wants(&self, part: &str) -> bool {
        self.options.only.is_empty() || self.options.only.iter().any(|only| only == part)
    }

    /// How often [`Bench::step`] will be called.
    fn steps(&self) -> u64 {
        let (rounds, levels, other) = (self.sizes.rounds, self.sizes.levels.len(), self.sizes.other_levels.len());
        let contenders = 3 + usize::from(self.nginx.is_some());
        let parts = [
            ("process", rounds * levels * contenders),
            ("open", 1),
            ("streams", rounds * 4),
            ("power", rounds * other * 2),
            ("relaxed", rounds * other * 2),
            ("slow", 2),
            ("start", self.sizes.starts),
            ("accounts", 1 + 2 * self.sizes.starts + 2 * rounds.max(3)),
        ];
        parts.iter().filter(|(part, _)| self.wants(part)).map(|(_, steps)| *steps as u64).sum()
    }

    fn step(&self, message: &str) {
        self.progress.inc(1);
        self.progress.set_message(message.to_owned());
        if self.progress.is_hidden() {
            eprintln!("{:6.1} s  {message}", self.started.elapsed().as_secs_f64());
        }
    }

    async fn all(&mut self, dir: &TempDir) -> Fallible {
        self.results.figures.insert("fsync_ms", fsync_ms(dir.path())?);
        let server = Server::start(&self.server_options)?;
        self.results.figures.insert("first_start_ms", server.ready_ms);
        let mut admin = Admin::open(server.address, ADMIN_KEY).await?;
        self.accounts = setup::prepare(&mut admin, &self.mock.base_url(), &[PACED, BURST, SLOW], ACCOUNTS).await?;
        drop(admin);
        if self.wants("process") {
            self.compare("process", &server, self.sizes.levels, true).await?;
        }
        if self.wants("open") {
            self.open_loop(&server).await?;
        }
        if self.wants("streams") {
            self.streams(&server).await?;
        }
        self.finish(server).await?;
        for mode in ["power", "relaxed"] {
            if self.wants(mode) {
                let server = Server::start(&ServerOptions { durability: mode, ..self.server_options.clone() })?;
                self.compare(mode, &server, self.sizes.other_levels, false).await?;
                self.finish(server).await?;
            }
        }
        if self.wants("slow") {
            self.slow_streams().await?;
        }
        if self.wants("start") {
            let mut times = Vec::new();
            for _ in 0..self.sizes.starts {
                times.push(self.start_ms("start", &self.server_options)?);
            }
            self.results.figures.insert("start_to_ready_ms", report::median(times));
        }
        if self.wants("accounts") {
            self.many_accounts(dir).await?;
        }
        Ok(())
    }

    /// Ends a server, after its ledger has been compared with the answers.
    async fn finish(&mut self, server: Server) -> Fallible {
        let mut admin = Admin::open(server.address, ADMIN_KEY).await?;
        let wrong = setup::verify(&mut admin, &self.accounts).await?;
        self.results.faults.extend(wrong);
        drop(admin);
        server.stop()
    }

    fn load(&self, contender: Contender, server: &Server, pace: Option<Pace>) -> Load {
        let body = setup::body(&pace.map_or_else(|| MODEL.to_owned(), Pace::model), pace.is_some());
        let nginx = self.nginx.as_ref().map_or(self.mock.address, |nginx| nginx.address);
        let (address, path) = match contender {
            Contender::Direct => (self.mock.address, "/v1/chat/completions"),
            Contender::Nginx => (nginx, "/v1/chat/completions"),
            Contender::Bare => (server.address, "/bench/proxy"),
            Contender::Full | Contender::FullManyAccounts => (server.address, "/v1/chat/completions"),
        };
        let paid = matches!(contender, Contender::Full | Contender::FullManyAccounts);
        let keys = self.accounts.iter().map(|account| Some(account.key.as_str()).filter(|_| paid));
        let requests = keys.map(|key| request("POST", path, key, "", &body)).collect();
        Load { address, requests, events: pace.map(|pace| pace.events) }
    }

    fn cpu_us(&self, contender: Contender, server: &Server) -> Fallible<u64> {
        match (contender, &self.nginx) {
            (Contender::Direct, _) => Ok(0),
            (Contender::Nginx, Some(nginx)) => nginx.process.cpu_us(),
            _ => server.process.cpu_us(),
        }
    }

    /// Takes down a run and what it must have cost.
    fn record(&mut self, group: &'static str, contender: Contender, server: &Server, pace: Option<Pace>, outcome: Outcome) -> Fallible {
        if contender == Contender::Full {
            for (account, answers) in self.accounts.iter_mut().zip(&outcome.answered) {
                account.spent_micros += answers * setup::price_micros(pace);
            }
        }
        if let Some(error) = &outcome.first_error {
            let connections = outcome.connections;
            let fault = format!("{group}, {}, {connections} connections: {} errors, first: {error}", contender.name(), outcome.errors);
            self.results.faults.push(fault);
        }
        let rss_kib = match (contender, &self.nginx) {
            (Contender::Direct, _) => 0,
            (Contender::Nginx, Some(nginx)) => nginx.process.rss_kib()?,
            _ => server.process.rss_kib()?,
        };
        self.results.runs.push(Measurement { group, contender, outcome, rss_kib });
        Ok(())
    }

    async fn closed(&mut self, group: &'static str, contender: Contender, server: &Server, connections: usize) -> Fallible {
        self.step(&format!("{group}: {}, {connections} connections", contender.name()));
        let load = self.load(contender, server, None);
        let outcome = closed_loop(load, connections, self.sizes.timing, || self.cpu_us(contender, server)).await?;
        self.record(group, contender, server, None, outcome)
    }

    async fn compare(&mut self, group: &'static str, server: &Server, levels: &[usize], yardsticks: bool) -> Fallible {
        let contenders = [Contender::Direct, Contender::Nginx, Contender::Bare, Contender::Full];
        for connections in levels {
            for _ in 0..self.sizes.rounds {
                for contender in contenders {
                    let runs = match contender {
                        Contender::Direct => yardsticks,
                        Contender::Nginx => yardsticks && self.nginx.is_some(),
                        _ => true,
                    };
                    if runs {
                        self.closed(group, contender, server, *connections).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// At half of what the closed loop reached.
    async fn open_loop(&mut self, server: &Server) -> Fallible {
        let peak = self.results.median("process", Contender::Full, 64, Outcome::per_second).unwrap_or(2_000.0);
        let rate = (peak / 2.0).floor().max(1.0);
        self.step(&format!("open loop: full path, {rate} requests a second"));
        let timing = Timing { measured: self.sizes.timing.measured * 2, ..self.sizes.timing };
        let load = self.load(Contender::Full, server, None);
        let outcome = open_loop(load, OPEN_LOOP_CONNECTIONS, rate, timing, || self.cpu_us(Contender::Full, server)).await?;
        self.results.figures.insert("open_loop_rate_per_second", rate);
        self.record("open loop", Contender::Full, server, None, outcome)
    }

    async fn streams(&mut self, server: &Server) -> Fallible {
        for (group, pace, connections) in [("stream, 2 ms apart", PACED, 64), ("stream, at once", BURST, 16)] {
            for _ in 0..self.sizes.rounds {
                for contender in [Contender::Bare, Contender::Full] {
                    self.step(&format!("{group}: {}, {connections} connections", contender.name()));
                    let repeats = self.sizes.stream_repeats * if pace == BURST { 5 } else { 1 };
                    let load = self.load(contender, server, Some(pace));
                    let cpu = || self.cpu_us(contender, server);
                    let outcome = fixed_work(load, connections, repeats, Duration::ZERO, cpu).await?;
                    self.record(group, contender, server, Some(pace), outcome)?;
                }
            }
            let per_request = self.results.median_difference(group, connections, Outcome::cpu_us_per_request);
            let name = if pace == PACED { "added_cpu_us_per_chunk" } else { "added_cpu_us_per_chunk_at_once" };
            self.results.figures.insert(name, per_request / pace.events as f64);
        }
        Ok(())
    }

    /// On a fresh process, so that its peak is that of these streams.
    async fn slow_streams(&mut self) -> Fallible {
        let server = Server::start(&self.server_options)?;
        self.step("idle");
        sleep(Duration::from_secs(1)).await;
        self.results.figures.insert("idle_rss_mb", megabytes(server.process.rss_kib()?));
        self.step(&format!("{SLOW_STREAMS} slow streams"));
        let load = self.load(Contender::Full, &server, Some(SLOW));
        let cpu = || self.cpu_us(Contender::Full, &server);
        let outcome = fixed_work(load, SLOW_STREAMS, 1, Duration::from_secs(1), cpu).await?;
        self.results.figures.insert("slow_streams_complete", outcome.requests as f64);
        self.results.figures.insert("slow_streams_rss_peak_mb", megabytes(server.process.rss_peak_kib()?));
        self.record("slow streams", Contender::Full, &server, Some(SLOW), outcome)?;
        self.finish(server).await
    }

    /// One start on a database that exists.
    fn start_ms(&self, message: &str, options: &ServerOptions) -> Fallible<f64> {
        self.step(message);
        let server = Server::start(options)?;
        let ready_ms = server.ready_ms;
        server.stop().map(|()| ready_ms)
    }

    /// The same server on two databases, few accounts and many, side by side.
    async fn many_accounts(&mut self, dir: &TempDir) -> Fallible {
        self.step("100 000 accounts are made");
        let many = ServerOptions { dir: dir.path().join("many"), ..self.server_options.clone() };
        setup::copy_dir(&self.server_options.dir, &many.dir)?;
        setup::add_accounts(&many.dir, &self.accounts[0], MANY_ACCOUNTS).await?;
        let (mut times, mut growths) = (Vec::new(), Vec::new());
        for _ in 0..self.sizes.starts {
            let few_ms = self.start_ms("start with few accounts", &self.server_options)?;
            let many_ms = self.start_ms("start with 100 000 accounts", &many)?;
            times.push(many_ms);
            growths.push((many_ms / few_ms - 1.0) * 100.0);
        }
        self.results.figures.insert("start_to_ready_100k_accounts_ms", report::median(times));
        self.results.figures.insert("start_100k_accounts_change_percent", report::median(growths));
        let few_server = Server::start(&self.server_options)?;
        let many_server = Server::start(&many)?;
        for _ in 0..self.sizes.rounds.max(3) {
            self.closed("accounts", Contender::Full, &few_server, 64).await?;
            self.closed("accounts", Contender::FullManyAccounts, &many_server, 64).await?;
        }
        self.results.figures.insert("rss_100k_accounts_mb", megabytes(many_server.process.rss_kib()?));
        // The copies must be as sound as what they were copied from, or the comparison is with something else.
        let check = Admin::open(many_server.address, ADMIN_KEY).await?.get("/admin/v1/ledger/check").await?;
        if check["differences"].as_array().is_none_or(|differences| !differences.is_empty()) {
            self.results.faults.push("ledger/check with 100 000 accounts finds differences".to_owned());
        }
        many_server.stop()?;
        self.finish(few_server).await
    }
}

fn megabytes(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}

/// What the disk under the database takes for one fsync of a few bytes: the floor of the mode `power`.
fn fsync_ms(dir: &Path) -> Fallible<f64> {
    use std::io::Write as _;
    let mut file = fs::File::create(dir.join("fsync"))?;
    let mut times = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        file.write_all(&[0; 512])?;
        file.sync_data()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(report::median(times))
}
