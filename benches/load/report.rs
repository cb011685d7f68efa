//! What is printed and written: a row for each comparison, the ratios, the targets.

use std::{fs, path::PathBuf};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::{
    Fallible, Options, chart,
    drive::Outcome,
    plan::{Contender, Results, SLOW_STREAMS},
};

/// NaN for an empty list.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[length / 2],
        length => f64::midpoint(values[length / 2 - 1], values[length / 2]),
    }
}

/// All rounds of one run.
pub struct Row {
    pub group: &'static str,
    pub contender: Contender,
    pub connections: usize,
    pub rounds: usize,
    pub per_second: f64,
    /// p50, p99, p99.9 over all rounds.
    pub latency_us: [u64; 3],
    /// `None` for the mock, which is not measured.
    pub cpu_us_per_request: Option<f64>,
    pub rss_mb: f64,
    pub errors: u64,
}

impl Results {
    fn figures_of(&self, group: &str, contender: Contender, connections: usize, figure: fn(&Outcome) -> f64) -> Vec<f64> {
        let runs = self.runs.iter().filter(|run| run.group == group && run.contender == contender);
        runs.filter(|run| run.outcome.connections == connections).map(|run| figure(&run.outcome)).collect()
    }

    /// `None` when there was no such run.
    pub fn median(&self, group: &str, contender: Contender, connections: usize, figure: fn(&Outcome) -> f64) -> Option<f64> {
        let values = self.figures_of(group, contender, connections, figure);
        if values.is_empty() { None } else { Some(median(values)) }
    }

    /// Median over the rounds of `figure(of) / figure(to)`.
    fn ratio(&self, group: &str, of: Contender, to: Contender, connections: usize, figure: fn(&Outcome) -> f64) -> Option<f64> {
        let of = self.figures_of(group, of, connections, figure);
        let to = self.figures_of(group, to, connections, figure);
        let ratios: Vec<_> = of.iter().zip(&to).map(|(of, to)| of / to).collect();
        if ratios.is_empty() { None } else { Some(median(ratios)) }
    }

    /// Median over the rounds of what the full path takes more than the bare proxy.
    pub fn median_difference(&self, group: &str, connections: usize, figure: fn(&Outcome) -> f64) -> f64 {
        let full = self.figures_of(group, Contender::Full, connections, figure);
        let bare = self.figures_of(group, Contender::Bare, connections, figure);
        median(full.iter().zip(&bare).map(|(full, bare)| full - bare).collect())
    }

    /// In the order of the first run of each.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for run in &self.runs {
            let (group, contender, connections) = (run.group, run.contender, run.outcome.connections);
            if rows.iter().any(|row| (row.group, row.contender, row.connections) == (group, contender, connections)) {
                continue;
            }
            let same = || {
                let same = move |other: &&crate::plan::Measurement| {
                    (other.group, other.contender, other.outcome.connections) == (group, contender, connections)
                };
                self.runs.iter().filter(same)
            };
            let mut latency: Histogram<u64> = run.outcome.latency_us.clone();
            for other in same().skip(1) {
                // Cannot fail: all have the same bounds.
                let _ = latency.add(&other.outcome.latency_us);
            }
            let cpu = median(same().map(|other| other.outcome.cpu_us_per_request()).collect());
            rows.push(Row {
                group,
                contender,
                connections,
                rounds: same().count(),
                per_second: median(same().map(|other| other.outcome.per_second()).collect()),
                latency_us: [0.5, 0.99, 0.999].map(|quantile| latency.value_at_quantile(quantile)),
                cpu_us_per_request: Some(cpu).filter(|_| contender != Contender::Direct),
                rss_mb: same().map(|other| other.rss_kib).max().unwrap_or(0) as f64 * 1024.0 / 1e6,
                errors: same().map(|other| other.outcome.errors).sum(),
            });
        }
        rows
    }

    /// The targets that were measured, in the order in which they are promised.
    pub fn targets(&self) -> Vec<Target> {
        use Contender::{Bare, Full, FullManyAccounts, Nginx};
        let cpu = Outcome::cpu_us_per_request;
        let speed = Outcome::per_second;
        let figure = |name: &str| self.figures.get(name).copied();
        let start_growth = figure("start_100k_accounts_change_percent");
        let cpu_growth = self.ratio("accounts", FullManyAccounts, Full, 64, cpu).map(|ratio| (ratio - 1.0) * 100.0);
        let list = [
            ("CPU per request, full path ÷ bare proxy, 64 connections", self.ratio("process", Full, Bare, 64, cpu), Limit::Most(1.6)),
            ("CPU per request, full path ÷ nginx, 64 connections", self.ratio("process", Full, Nginx, 64, cpu), Limit::Most(2.5)),
            ("throughput, full path ÷ bare proxy, 64 connections", self.ratio("process", Full, Bare, 64, speed), Limit::Least(0.65)),
            ("throughput in mode power ÷ bare proxy, 256 connections", self.ratio("power", Full, Bare, 256, speed), Limit::Least(0.5)),
            ("added CPU per streamed chunk, µs", figure("added_cpu_us_per_chunk"), Limit::Most(10.0)),
            ("complete answers of 2 000 slow streams", figure("slow_streams_complete"), Limit::Least(SLOW_STREAMS as f64)),
            ("peak RSS with 2 000 slow streams, MB", figure("slow_streams_rss_peak_mb"), Limit::Most(150.0)),
            ("idle RSS, MB", figure("idle_rss_mb"), Limit::Most(40.0)),
            ("start to ready, ms", figure("start_to_ready_ms"), Limit::Most(300.0)),
            ("start to ready with 100 000 accounts, change in %", start_growth, Limit::Most(10.0)),
            ("CPU per request with 100 000 accounts, change in %", cpu_growth, Limit::Most(10.0)),
        ];
        list.into_iter().filter_map(|(name, value, limit)| Some(Target { name, value: value?, limit })).collect()
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Limit {
    Most(f64),
    Least(f64),
}

pub struct Target {
    name: &'static str,
    value: f64,
    limit: Limit,
}

impl Target {
    fn is_met(&self) -> bool {
        match self.limit {
            Limit::Most(most) => self.value <= most,
            Limit::Least(least) => self.value >= least,
        }
    }

    fn limit_text(&self) -> String {
        match self.limit {
            Limit::Most(most) => format!("≤ {most}"),
            Limit::Least(least) => format!("≥ {least}"),
        }
    }
}

/// Prints all and writes `load.json` and `load.svg` into `dir`.
pub fn publish(results: &Results, options: &Options, dir: PathBuf) -> Fallible {
    let (rows, targets) = (results.rows(), results.targets());
    print_rows(&rows);
    print_ratios(results, &rows);
    println!("\n{:<50} {:>12}", "figure", "value");
    for (name, value) in &results.figures {
        println!("{name:<50} {value:>12.2}");
    }
    println!("\n{:<62} {:>9} {:>8}", "target", "measured", "");
    for target in &targets {
        let verdict = if target.is_met() { "met" } else { "MISSED" };
        println!("{:<62} {:>9.2} {:>8}  {verdict}", target.name, target.value, target.limit_text());
    }
    println!();
    for fault in &results.faults {
        println!("FAULT  {fault}");
    }
    if results.faults.is_empty() {
        println!("Every answer was complete and charged exactly once; ledger/check found no difference.");
    }
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("load.json"), serde_json::to_string_pretty(&as_json(results, options, &rows, &targets))?)?;
    fs::write(dir.join("load.svg"), chart::draw(&rows))?;
    println!("Written: bench-results/load.json, bench-results/load.svg");
    Ok(())
}

fn print_rows(rows: &[Row]) {
    println!(
        "\n{:<20} {:<24} {:>5} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>7}",
        "run", "who answers", "conn.", "req/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU µs/rq", "RSS MB", "errors"
    );
    for row in rows {
        let [p50, p99, p999] = row.latency_us.map(|micros| micros as f64 / 1e3);
        let cpu = row.cpu_us_per_request.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.1}"));
        let rss = if row.rss_mb > 0.0 { format!("{:.1}", row.rss_mb) } else { "-".to_owned() };
        println!(
            "{:<20} {:<24} {:>5} {:>9.0} {:>9.2} {:>9.2} {:>9.2} {cpu:>9} {rss:>8} {:>7}",
            row.group,
            row.contender.name(),
            row.connections,
            row.per_second,
            p50,
            p99,
            p999,
            row.errors
        );
    }
}

fn print_ratios(results: &Results, rows: &[Row]) {
    let mut heading = Some(format!(
        "\n{:<20} {:>5} {:>20} {:>20} {:>20}",
        "full path ÷", "conn.", "CPU ÷ bare proxy", "CPU ÷ nginx", "req/s ÷ bare proxy"
    ));
    for row in rows.iter().filter(|row| row.contender == Contender::Full) {
        let ratio = |to, figure| results.ratio(row.group, Contender::Full, to, row.connections, figure);
        let shown = |ratio: Option<f64>| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let cpu = ratio(Contender::Bare, Outcome::cpu_us_per_request as fn(&Outcome) -> f64);
        if cpu.is_none() {
            continue;
        }
        if let Some(heading) = heading.take() {
            println!("{heading}");
        }
        let (nginx, speed) = (ratio(Contender::Nginx, Outcome::cpu_us_per_request), ratio(Contender::Bare, Outcome::per_second));
        println!("{:<20} {:>5} {:>20} {:>20} {:>20}", row.group, row.connections, shown(cpu), shown(nginx), shown(speed));
    }
}

fn as_json(results: &Results, options: &Options, rows: &[Row], targets: &[Target]) -> Value {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let runs = rows.iter().map(|row| {
        json!({
            "run": row.group, "contender": row.contender.name(), "connections": row.connections, "rounds": row.rounds,
            "requests_per_second": row.per_second, "p50_us": row.latency_us[0], "p99_us": row.latency_us[1],
            "p99_9_us": row.latency_us[2], "cpu_us_per_request": row.cpu_us_per_request, "rss_mb": row.rss_mb, "errors": row.errors,
        })
    });
    let targets = targets
        .iter()
        .map(|target| json!({"target": target.name, "measured": target.value, "limit": target.limit_text(), "met": target.is_met()}));
    json!({
        "machine": {
            "cpu": model.trim_start_matches([' ', '\t', ':']),
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
        },
        "quick": options.quick,
        "debug_build": cfg!(debug_assertions),
        "runs": runs.collect::<Vec<_>>(),
        "figures": results.figures,
        "targets": targets.collect::<Vec<_>>(),
        "faults": results.faults,
    })
}
