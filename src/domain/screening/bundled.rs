//! Rule sets that come with the gateway, as data.

use serde::Deserialize;

use super::Action;

/// Names of the sets, as they are asked for.
pub const BUNDLED_SETS: [&str; 3] = ["prompt_injection", "data_exfiltration", "malicious_payload"];

/// One regular expression of a set. Case-insensitive unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundledRule {
    pub set: String,
    /// Unique in its set.
    pub key: String,
    pub name: String,
    pub action: Action,
    pub pattern: String,
    #[serde(default)]
    pub case_sensitive: bool,
}

impl BundledRule {
    /// The same in every version: `prompt_injection/ignore_instructions`.
    pub fn origin(&self) -> String {
        format!("{}/{}", self.set, self.key)
    }
}

#[derive(Deserialize)]
struct File {
    rules: Vec<BundledRule>,
}

/// All of them, set by set. Fails only when the file that was built in is broken, which a test excludes.
pub fn bundled() -> Result<Vec<BundledRule>, String> {
    toml::from_str::<File>(include_str!("rules.toml")).map(|file| file.rules).map_err(|error| error.to_string())
}
