//! Screening of what callers send, before any upstream sees it: an operator's rules, and which of them a text hits.
//!
//! `text` undoes cheap disguises, `literals` finds what a pattern cannot match without, `ruleset` compiles rules and tries them in bounded
//! time, `bundled` holds rule sets that are shipped. Absent on purpose: moderation models (a rule only names one, see `pipeline`), and
//! what a hit leads to for an account that is exempt.

mod bundled;
mod literals;
mod ruleset;
#[cfg(test)]
mod tests;
mod text;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::{
    bundled::{BUNDLED_SETS, BundledRule, bundled},
    ruleset::{BadPattern, LITERAL_LESS_MAX, Overrun, PATTERN_BYTES_MAX, Ruleset, Subject, check},
};
use super::Timestamp;

/// What a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// The pattern is a regular expression (syntax of the Rust crate `regex`: no look-around, no back-references).
    #[default]
    Regex,
    /// The pattern is a text that must not occur.
    Term,
    /// The pattern is a list of host names, separated by spaces or commas; `*.` in front means subdomains only.
    UrlHost,
    /// The pattern is a number: more bytes of text than that.
    MaxBytes,
    /// The pattern is a number: more messages (or inputs, or documents) than that.
    MaxMessages,
    /// A moderation model decides; the pattern stays empty.
    Moderation,
}

/// What a hit leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The call goes through, whatever rules of lower rank say.
    Allow,
    /// The call is refused with `content_screened`.
    Block,
    /// The call goes through, and the hit is kept for the operator.
    Flag,
}

impl Action {
    pub const ALL: [Self; 3] = [Self::Allow, Self::Block, Self::Flag];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Block => "block",
            Self::Flag => "flag",
        }
    }
}

/// What happens when a moderation model gives no verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// As if it had found nothing.
    Allow,
    /// As if it had found something: the rule's action follows.
    #[default]
    Block,
}

/// The model that decides for a rule of kind `moderation`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Moderator {
    /// A model of the catalogue of kind `moderation`. Its calls are the operator's: no account is charged for them.
    #[schema(example = "openai/omni-moderation-latest")]
    pub model: String,
    /// Only these categories count; all of them when empty.
    #[serde(default)]
    #[schema(example = json!(["violence", "self-harm"]))]
    pub categories: Vec<String>,
    /// A category counts from this score on, in percent; the model's own flags decide when missing.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 100)]
    pub threshold_percent: Option<u32>,
    /// What happens when the model does not answer in time or in order.
    #[serde(default)]
    pub on_error: OnError,
}

/// A rule as the operator wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `scr_…`
    pub id: String,
    /// What callers are told when it blocks them.
    pub name: String,
    pub kind: RuleKind,
    pub pattern: String,
    pub action: Action,
    pub enabled: bool,
    /// Higher ones are looked at first.
    pub priority: i32,
    /// `None`: as is usual for the kind (regular expressions: yes, terms: no).
    pub case_sensitive: Option<bool>,
    /// A term counts only where no letter or digit adjoins it.
    pub whole_word: bool,
    /// Models it is for, `*` at the end stands for anything; all when empty.
    pub models: Vec<String>,
    /// Endpoints it is for, by their labels (`chat_completions`); all when empty.
    pub endpoints: Vec<String>,
    pub moderator: Option<Moderator>,
    pub note: Option<String>,
    /// Where it came from, when it is a bundled one: `prompt_injection/ignore_instructions`.
    pub bundled: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Rule {
    pub fn is_case_sensitive(&self) -> bool {
        self.case_sensitive.unwrap_or(self.kind == RuleKind::Regex)
    }

    /// Whether it looks at calls of this model at this endpoint.
    pub fn covers(&self, model: &str, endpoint: &str) -> bool {
        let names = |wanted: &String| match wanted.strip_suffix('*') {
            Some(start) => model.starts_with(start),
            None => wanted == model,
        };
        (self.models.is_empty() || self.models.iter().any(names))
            && (self.endpoints.is_empty() || self.endpoints.iter().any(|wanted| wanted == endpoint))
    }

    /// The order in which rules decide: priority, then allow before block before flag, then what costs nothing to ask, then the older one.
    fn rank(&self) -> (std::cmp::Reverse<i32>, Action, bool, &str) {
        (std::cmp::Reverse(self.priority), self.action, self.kind == RuleKind::Moderation, &self.id)
    }
}
