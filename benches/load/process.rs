//! The processes that a bench starts and measures: the server, the mock, nginx. Each ends with the value that stands for it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::Fallible;

/// The unit of the times in /proc/PID/stat: Linux shows 1/100 s to programs on every architecture.
const TICK_US: u64 = 10_000;
const START_LIMIT: Duration = Duration::from_secs(30);
/// The server's own drain limit, and some.
const STOP_LIMIT: Duration = Duration::from_secs(40);
pub const ADMIN_KEY: &str = "bench-admin-key-of-no-other-use";

/// A child that is killed at the latest when it goes out of scope.
pub struct Process {
    child: Child,
}

impl Process {
    fn start(command: &mut Command) -> Fallible<Self> {
        let child = command.spawn().map_err(|error| format!("{} does not start: {error}", command.get_program().display()))?;
        Ok(Self { child })
    }

    fn pids(&self) -> Vec<u32> {
        let parent = self.child.id();
        let mut pids = vec![parent];
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let running = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.extend(running.filter(|pid| stat_field(*pid, 1) == Some(u64::from(parent))));
        pids
    }

    /// User and system time of the process and its children so far.
    pub fn cpu_us(&self) -> Fallible<u64> {
        let ticks = |pid: &u32| Some(stat_field(*pid, 11)? + stat_field(*pid, 12)?);
        let all: Option<u64> = self.pids().iter().map(ticks).sum();
        all.map(|ticks| ticks * TICK_US).ok_or_else(|| "a measured process has ended".into())
    }

    /// Resident memory now, of the process alone.
    pub fn rss_kib(&self) -> Fallible<u64> {
        self.status("VmRSS:")
    }

    /// The most that its resident memory has been.
    pub fn rss_peak_kib(&self) -> Fallible<u64> {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> Fallible<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)).ok_or("a measured process has ended")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    }

    /// Asks it to end and waits until it has.
    fn stop(&mut self) -> Fallible {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return if status.success() { Ok(()) } else { Err(format!("the server ended with {status}").into()) };
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err("the server did not end in time".into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The fields of /proc/PID/stat that follow the name, counted from 0 (the state).
fn stat_field(pid: u32, field: usize) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(')')?.1.split_whitespace().nth(field)?.parse().ok()
}

/// Another process of this very program that plays the upstream.
pub struct Mock {
    /// Keeps the mock's standard input open; it ends when that closes.
    _process: Process,
    pub address: SocketAddr,
}

impl Mock {
    pub fn start() -> Fallible<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = Process::start(command.arg("mock").stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let output = process.child.stdout.take().ok_or("the mock has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        Ok(Self { _process: process, address: line.trim().parse()? })
    }

    /// As the settings of an upstream name it.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }
}

/// How a server is to run.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    pub program: PathBuf,
    /// Database, secrets and log.
    pub dir: PathBuf,
    pub durability: &'static str,
    /// Where the bare proxy route forwards to.
    pub upstream_base_url: String,
}

pub struct Server {
    pub process: Process,
    pub address: SocketAddr,
    /// From its start until `/readyz` said yes.
    pub ready_ms: f64,
}

impl Server {
    pub fn start(options: &ServerOptions) -> Fallible<Self> {
        let address = free_address()?;
        let log_path = options.dir.join("server.log");
        let log = fs::OpenOptions::new().create(true).append(true).open(&log_path)?;
        let mut command = Command::new(&options.program);
        // Nothing of the caller's environment may change what is measured.
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.env("PIXGATE_SERVER__LISTEN", address.to_string()).env("PIXGATE_SERVER__DATA_DIR", &options.dir);
        command.env("PIXGATE_DATABASE__URL", format!("sqlite://{}", options.dir.join("pixgate.db").display()));
        command.env("PIXGATE_LEDGER__DURABILITY", options.durability).env("PIXGATE_BOOTSTRAP__ADMIN_KEY", ADMIN_KEY);
        command.env("PIXGATE_BENCH__BARE_PROXY", &options.upstream_base_url);
        command.arg("serve").current_dir(&options.dir).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let start = Instant::now();
        let mut process = Process::start(&mut command)?;
        while !says_ready(address) {
            let ended = process.child.try_wait()?;
            if ended.is_some() || start.elapsed() > START_LIMIT {
                let log = fs::read_to_string(&log_path).unwrap_or_default();
                let tail: Vec<_> = log.lines().rev().take(15).collect();
                let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
                return Err(format!("the server is not ready (ended: {ended:?}); its log ends so:\n{tail}").into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(Self { process, address, ready_ms: start.elapsed().as_secs_f64() * 1e3 })
    }

    /// In good order: what it owes its database is written.
    pub fn stop(mut self) -> Fallible {
        self.process.stop()
    }
}

fn says_ready(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")?;
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.ends_with(b" 200"))
}

/// Nobody else is asked to bind it between this and its use.
fn free_address() -> Fallible<SocketAddr> {
    Ok(TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?.local_addr()?)
}

/// nginx as reverse proxy before the mock: the yardstick that everybody knows.
pub struct Nginx {
    pub process: Process,
    pub address: SocketAddr,
}

impl Nginx {
    /// `None` when nginx is not installed.
    pub fn start(dir: &Path, upstream: SocketAddr) -> Fallible<Option<Self>> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        folders.push("/usr/sbin".into());
        let Some(program) = folders.iter().map(|folder| folder.join("nginx")).find(|path| path.is_file()) else { return Ok(None) };
        let address = free_address()?;
        let config = dir.join("nginx.conf");
        fs::write(&config, nginx_config(dir, address, upstream))?;
        let mut command = Command::new(program);
        command.arg("-p").arg(dir).arg("-c").arg(&config).args(["-e", "stderr"]).stdin(Stdio::null());
        let mut process = Process::start(&mut command)?;
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(address).is_err() {
            if process.child.try_wait()?.is_some() || Instant::now() > deadline {
                return Err("nginx does not start".into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(Some(Self { process, address }))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers would outlive a killed master.
        let _ = self.process.stop();
    }
}

fn nginx_config(dir: &Path, address: SocketAddr, upstream: SocketAddr) -> String {
    let dir = dir.display();
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let folders: String = folders.iter().map(|name| format!("    {name}_temp_path {dir}/nginx_{name};\n")).collect();
    format!(
        "daemon off;
worker_processes 2;
pid {dir}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
{folders}    upstream mock {{ server {upstream}; keepalive 512; keepalive_requests 1000000000; }}
    server {{
        listen {address} backlog=4096;
        keepalive_requests 1000000000;
        location / {{ proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}
    }}
}}
"
    )
}
