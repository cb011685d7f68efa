//! Where settings come from: a file, the environment, and aliases that people already have there. [`load`] depends on nothing
//! but its arguments and reports every problem, not only the first.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::{Table, Value};

use super::{
    check,
    schema::Setting,
    settings::{Server, Settings},
};
use crate::telemetry::redact::Secret;

const PREFIX: &str = "PIXGATE_";

/// Variables that begin like ours and are none: switches of the test suite, and those that Kubernetes injects for a service
/// named `pixgate`.
const NOT_SETTINGS: [&str; 3] = ["PIXGATE_TEST_", "PIXGATE_SERVICE_", "PIXGATE_PORT"];

const ALIASES: [(&str, &str); 4] = [
    ("DATABASE_URL", "database.url"),
    ("REDIS_URL", "redis.url"),
    ("OPENAI_API_KEY", "openai.api_key"),
    ("OPENAI_BASE_URL", "openai.base_url"),
];

/// Keys of providers that later versions know.
const LATER_ALIASES: [(&str, &str); 2] = [("ANTHROPIC_API_KEY", "anthropic"), ("GEMINI_API_KEY", "gemini")];

/// What [`load`] reads.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file; it must exist when given.
    pub path: Option<PathBuf>,
    pub env: Vec<(String, String)>,
}

impl Sources {
    /// The environment of this process, and the file named on the command line or else `./pixgate.toml` if there is one.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn of_process(path: Option<PathBuf>) -> Self {
        let default = PathBuf::from("pixgate.toml");
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Self {
            path: path.or_else(|| default.exists().then_some(default)),
            env: std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
        }
    }
}

/// One environment variable, for files that name theirs. Not for settings.
#[expect(clippy::disallowed_methods, reason = "beside the settings' the one place that reads the environment")]
pub fn variable(name: &str) -> Option<Secret> {
    // A name with these makes the standard library panic.
    let is_name = !name.is_empty() && !name.contains(['=', '\0']);
    is_name.then(|| std::env::var(name).ok()).flatten().map(Secret::new)
}

#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    pub settings: Settings,
    /// Things an operator should know and that do not stop a start.
    pub notes: Vec<String>,
}

/// One thing that is wrong. `setting` is the name the operator used: `server.listen` or `PIXGATE_SERVER__LISTEN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub setting: String,
    pub message: String,
}

impl Problem {
    pub fn new(setting: impl Into<String>, message: impl Into<String>) -> Self {
        Self { setting: setting.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.message)
    }
}

/// All that is wrong, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Problems {}

/// Reads the file, then the aliases, then our own variables; each wins over the one before. Fails with every problem found: an
/// unreadable file, unknown names, wrong types, numbers out of range, contradictions.
pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let mut found = Found::default();
    if let Some(path) = &sources.path {
        found.read_file(path);
    }
    found.read_aliases(&sources.env);
    found.read_variables(&sources.env);
    let settings = found.settings();
    found.problems.extend(check::contradictions(&settings, |name| found.label(name)));
    if !found.problems.is_empty() {
        found.problems.dedup();
        return Err(Problems(found.problems));
    }
    found.notes.extend(check::notes(&settings));
    Ok(Loaded { settings, notes: found.notes })
}

/// Values by setting, each with the name under which the operator gave it. Later sources replace earlier ones.
#[derive(Default)]
struct Found {
    values: BTreeMap<&'static str, (String, Value)>,
    problems: Vec<Problem>,
    notes: Vec<String>,
}

impl Found {
    fn read_file(&mut self, path: &Path) {
        let shown = path.display().to_string();
        let table = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot be read: {error}"))
            .and_then(|text| text.parse::<Table>().map_err(|error| format!("is not valid TOML: {}", error.to_string().trim())));
        match table {
            Ok(table) => self.read_table(&table, ""),
            Err(message) => self.problems.push(Problem::new(shown, message)),
        }
    }

    fn read_table(&mut self, table: &Table, prefix: &str) {
        for (key, value) in table {
            let name = format!("{prefix}{key}");
            if let Some(setting) = known(&name) {
                self.values.insert(setting.name, (name, value.clone()));
                continue;
            }
            let inside = format!("{name}.");
            let is_section = Settings::reference().any(|setting| setting.name.starts_with(&inside));
            match value {
                Value::Table(inner) if is_section => self.read_table(inner, &inside),
                _ if is_section => self.problems.push(Problem::new(&name, format!("is a section; write [{name}] and its settings below"))),
                _ => self.problems.push(unknown(&name, &name, |setting| setting.name.to_owned())),
            }
        }
    }

    fn read_aliases(&mut self, env: &[(String, String)]) {
        for (variable, text) in env.iter().filter(|(_, text)| !text.trim().is_empty()) {
            if let Some((_, name)) = ALIASES.iter().find(|(alias, _)| alias == variable)
                && let Some(setting) = known(name)
            {
                self.values.insert(setting.name, (variable.clone(), setting.parse(text)));
            }
            if let Some((_, provider)) = LATER_ALIASES.iter().find(|(alias, _)| alias == variable) {
                self.notes.push(format!("{variable} has no effect: the provider {provider} is not part of this version"));
            }
            if variable == "PORT" {
                self.read_port(text);
            }
        }
    }

    /// `PORT` replaces the port of `server.listen` and keeps its host.
    fn read_port(&mut self, text: &str) {
        const LISTEN: &str = "server.listen";
        let Ok(port) = text.trim().parse::<u16>() else {
            self.problems.push(Problem::new("PORT", format!("must be a port number, not '{text}'")));
            return;
        };
        let mut listen = Server::default().listen;
        if let Some((_, value)) = self.values.get(LISTEN) {
            // A wrong address in the file stays, to be reported as such.
            let Some(given) = value.as_str().and_then(|text| text.parse::<SocketAddr>().ok()) else { return };
            listen = given;
        }
        listen.set_port(port);
        self.values.insert(LISTEN, ("PORT".to_owned(), Value::String(listen.to_string())));
    }

    fn read_variables(&mut self, env: &[(String, String)]) {
        let ours = env.iter().filter(|(variable, _)| !NOT_SETTINGS.iter().any(|prefix| variable.starts_with(prefix)));
        for (variable, text) in ours {
            let Some(path) = variable.strip_prefix(PREFIX) else { continue };
            let name = path.to_ascii_lowercase().replace("__", ".");
            match known(&name) {
                Some(setting) => {
                    self.values.insert(setting.name, (variable.clone(), setting.parse(text)));
                }
                None => self.problems.push(unknown(variable, &name, Setting::variable)),
            }
        }
    }

    /// Checks each value by itself and builds the tree of those that are right.
    fn settings(&mut self) -> Settings {
        let mut tree = Table::new();
        for setting in Settings::reference() {
            let Some((label, value)) = self.values.get(setting.name) else { continue };
            if let Err(message) = setting.check(value) {
                self.problems.push(Problem::new(label, message));
                continue;
            }
            if !setting.effective {
                self.notes.push(format!("{label} has no effect: {} is not part of this version", setting.meaning));
                continue;
            }
            insert(&mut tree, setting.name, value.clone());
        }
        Settings::deserialize(tree).unwrap_or_else(|error| {
            self.problems.push(Problem::new("settings", error.to_string().trim()));
            Settings::default()
        })
    }

    /// The name under which the operator gave a setting, else its own name.
    fn label(&self, name: &str) -> String {
        self.values.get(name).map_or_else(|| name.to_owned(), |(label, _)| label.clone())
    }
}

fn known(name: &str) -> Option<&'static Setting> {
    Settings::reference().find(|setting| setting.name == name)
}

fn insert(tree: &mut Table, name: &str, value: Value) {
    match name.split_once('.') {
        None => {
            tree.insert(name.to_owned(), value);
        }
        Some((section, rest)) => {
            if let Value::Table(inner) = tree.entry(section).or_insert_with(|| Value::Table(Table::new())) {
                insert(inner, rest, value);
            }
        }
    }
}

fn unknown(label: &str, name: &str, written: impl Fn(&Setting) -> String) -> Problem {
    let nearest = Settings::reference().min_by_key(|setting| distance(name, setting.name));
    let near = nearest.filter(|setting| distance(name, setting.name) <= 2 + name.len() / 8);
    let suggestion = near.map(|setting| format!("; did you mean {}?", written(setting))).unwrap_or_default();
    Problem::new(label, format!("unknown setting{suggestion}"))
}

/// Levenshtein distance in bytes.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.bytes().enumerate() {
            let substituted = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}
