//! `cargo bench --bench load`: the real server under load, beside an instant upstream, each in a process of its own.
//!
//! Prints throughput, latency, CPU per request and memory of every run, the ratios to the server's own bare proxy route and to
//! nginx, and whether the targets are met; writes `bench-results/load.json` and `load.svg`. Options: `cargo bench --bench load
//! -- --help`. All processes share the machine's cores, so only ratios within one run can be compared between machines.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a measuring program of its own: it reads the clock, starts processes and prints"
)]

mod chart;
mod client;
mod drive;
mod http1;
mod mock;
mod plan;
mod process;
mod report;
mod setup;

use std::{error::Error, path::PathBuf, process::Command};

use clap::Parser;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::LocalSet,
};

pub type Fallible<T = ()> = Result<T, Box<dyn Error>>;

/// Connections of the largest run, at both ends of the server, and some.
const OPEN_FILES: u64 = 16_384;

/// Measures Pixgate under load.
#[derive(Debug, Clone, Parser)]
#[command(name = "load")]
struct Options {
    /// Fewer and shorter runs, below a minute; good for seeing that all works, not for comparing.
    #[arg(long)]
    quick: bool,
    /// Length of each run.
    #[arg(long)]
    seconds: Option<f64>,
    /// How often each run is repeated; contenders take turns.
    #[arg(long)]
    rounds: Option<usize>,
    /// Another server program than the one just built.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_pixgate"))]
    server: PathBuf,
    /// Only these parts (separated by commas): process, open, streams, power, relaxed, slow, start, accounts.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Fallible {
    if std::env::args().nth(1).as_deref() == Some("mock") {
        return mock::serve();
    }
    let options = Options::parse();
    if raise_open_files()? {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let passed = LocalSet::new().block_on(&runtime, async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            passed = plan::run(&options) => passed,
            // Dropping the run ends its processes.
            _ = terminate.recv() => Err("ended by SIGTERM".into()),
            _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
        }
    })?;
    if passed { Ok(()) } else { Err("the ledger does not match the answers, or a call failed; see above".into()) }
}

/// The limit is inherited from the shell and often 1024; a program can raise its own only through the C library, a shell can
/// for the programs it starts. True if that has been done and the bench has run.
fn raise_open_files() -> Fallible<bool> {
    const MARK: &str = "PIXGATE_BENCH_RAISED";
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap_or_default();
    let soft = line.split_whitespace().next().and_then(|soft| soft.parse::<u64>().ok());
    if soft.is_none_or(|soft| soft >= OPEN_FILES) || std::env::var_os(MARK).is_some() {
        return Ok(false);
    }
    let raise = "ulimit -n \"$(ulimit -Hn)\"; exec \"$0\" \"$@\"";
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(raise).arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).env(MARK, "1");
    let status = shell.status()?;
    if status.success() { Ok(true) } else { Err(format!("the bench ended with {status}").into()) }
}
