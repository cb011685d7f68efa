//! The real program as a child process: for signals, exit codes, standard output and sudden death.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
};

use tempfile::TempDir;

use super::{
    admin::{ADMIN_KEY, Admin},
    client::{eventually, until},
    db::TestDatabase,
};

pub struct TestProcess {
    pub admin: Admin,
    pub database: TestDatabase,
    environment: Vec<(String, String)>,
    child: Option<Child>,
    dir: TempDir,
}

impl TestProcess {
    /// Runs `pixgate serve` with these settings (`SERVER__WORKERS`, …) beside the usual ones, until it is ready.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let mut process = Self::prepare(settings).await;
        process.spawn();
        process.ready().await;
        process
    }

    /// Everything but the start.
    pub async fn prepare(settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let database = TestDatabase::create(dir.path()).await;
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let mut environment = vec![
            ("PIXGATE_SERVER__LISTEN".to_owned(), format!("127.0.0.1:{port}")),
            ("PIXGATE_SERVER__DATA_DIR".to_owned(), dir.path().join("data").display().to_string()),
            ("PIXGATE_SERVER__WORKERS".to_owned(), "2".to_owned()),
            ("PIXGATE_DATABASE__URL".to_owned(), database.url.clone()),
            ("PIXGATE_BOOTSTRAP__ADMIN_KEY".to_owned(), ADMIN_KEY.to_owned()),
            ("PIXGATE_UPSTREAM__RETRY_BACKOFF_MS".to_owned(), "1".to_owned()),
            ("PIXGATE_TELEMETRY__ACCESS_LOG".to_owned(), "false".to_owned()),
        ];
        environment.extend(settings.iter().map(|(name, value)| (format!("PIXGATE_{name}"), (*value).to_owned())));
        let admin = Admin::new(&url);
        Self { admin, database, environment, child: None, dir }
    }

    pub fn without(&mut self, name: &str) {
        self.environment.retain(|(other, _)| other != &format!("PIXGATE_{name}"));
    }

    pub fn spawn(&mut self) {
        self.spawn_with(&["serve"]);
    }

    pub fn spawn_with(&mut self, arguments: &[&str]) {
        let output = |name: &str| File::options().create(true).append(true).open(self.dir.path().join(name)).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_pixgate"));
        command.args(arguments).current_dir(self.dir.path()).env_clear().envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(output("stdout")).stderr(output("stderr"));
        self.child = Some(command.spawn().expect("the program starts"));
    }

    /// Runs another command with the same settings to its end: its exit code, and all it printed.
    pub fn run(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pixgate"));
        command.args(arguments).current_dir(self.dir.path()).env_clear().envs(self.environment.iter().cloned());
        let output = command.stdin(Stdio::null()).output().expect("the program starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap_or_else(|| panic!("ended by a signal: {text}")), text)
    }

    pub async fn ready(&mut self) {
        eventually("the server is ready", || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().expect("a child"));
            if let Some(status) = ended {
                panic!("the server ended with {status}:\n{}", self.stderr());
            }
            let admin = self.admin.clone();
            async move { admin.is_ready().await.then_some(()) }
        })
        .await;
    }

    /// SIGKILL, at once.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("a running process");
        child.kill().expect("killed");
        child.wait().expect("gone");
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        let id = self.child.as_ref().expect("a running process").id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill runs").success());
    }

    /// The exit code, once the process has ended by itself.
    pub async fn ended(&mut self) -> i32 {
        let mut ended: Option<ExitStatus> = None;
        until("the process ends", || {
            ended = self.child.as_mut().expect("a process").try_wait().expect("a child");
            ended.is_some()
        })
        .await;
        self.child = None;
        ended.and_then(|status| status.code()).unwrap_or_else(|| panic!("ended by a signal:\n{}", self.stderr()))
    }

    /// The end of every test that leaves the process running.
    pub async fn finish(mut self) {
        self.admin.all_is_well().await;
        self.terminate();
        assert_eq!(self.ended().await, 0, "{}", self.stderr());
    }

    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("a child").is_none())
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.without(name);
        self.environment.push((format!("PIXGATE_{name}"), value.to_owned()));
    }

    /// All that was printed to standard output, over all starts.
    pub fn stdout(&self) -> String {
        fs::read_to_string(self.dir.path().join("stdout")).unwrap_or_default()
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(self.dir.path().join("stderr")).unwrap_or_default()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }
}

impl Drop for TestProcess {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("standard error of the process:\n{}", self.stderr());
        }
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}
