//! Rules, compiled; and which of them a text hits.
//!
//! One pass of an Aho-Corasick automaton over the folded text finds every term and host, and the regular expressions whose needed
//! literals occur. Only those are run, with the linear-time engine of `regex`. What has no such literal runs on every text, so there may
//! only be [`LITERAL_LESS_MAX`] of them. All work is counted in bytes looked at, and a text that would need more than the caller allows is
//! given up.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex::{Regex, RegexBuilder};
use regex_syntax::{ParserBuilder, ast};

use super::{
    Rule, RuleKind, literals,
    text::{folded, normalized},
};

pub const PATTERN_BYTES_MAX: usize = 4_096;
/// Of one compiled expression, in bytes.
const COMPILED_BYTES_MAX: usize = 512 * 1024;
/// Of the lazily built tables that speed one expression up, in bytes.
const TABLES_BYTES_MAX: usize = 512 * 1024;
const NESTING_MAX: u32 = 50;
/// Enabled expressions without a literal that picks them: each runs over every text.
pub const LITERAL_LESS_MAX: usize = 50;
const HOSTS_MAX: usize = 500;

/// Why a pattern cannot be used. The text names the place in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPattern(pub String);

/// The rules would look at more bytes than is allowed for one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overrun;

/// What rules look at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub text: &'a str,
    /// Bytes of what the caller wrote.
    pub bytes: u64,
    pub messages: u64,
    pub model: &'a str,
    pub endpoint: &'a str,
}

/// All enabled rules, in the order in which they decide.
#[derive(Debug, Default)]
pub struct Ruleset {
    rules: Vec<Compiled>,
    automaton: Option<AhoCorasick>,
    /// By pattern of the automaton.
    triggers: Vec<Vec<Trigger>>,
    /// Rules that are tried on every text.
    always: Vec<usize>,
}

#[derive(Debug)]
struct Compiled {
    rule: Rule,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Regex(Expression),
    /// The term itself: the automaton finds it.
    Term {
        needle: String,
        is_exact: bool,
    },
    Hosts(Vec<Host>),
    MaxBytes(u64),
    MaxMessages(u64),
    /// Somebody else decides.
    Moderation,
}

/// Shared with the ruleset before, when the pattern stayed.
#[derive(Debug, Clone)]
struct Expression {
    regex: Arc<Regex>,
    literals: Option<Arc<[String]>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Host {
    name: String,
    subdomains_only: bool,
}

#[derive(Debug, Clone, Copy)]
struct Trigger {
    rule: usize,
    /// Of the rule's hosts.
    host: usize,
}

/// Checks a rule by itself; answers whether it would have to run on every text.
pub fn check(rule: &Rule) -> Result<bool, BadPattern> {
    let test = compile(rule)?;
    Ok(matches!(test, Test::Regex(Expression { literals: None, .. })))
}

fn bad(message: impl Into<String>) -> BadPattern {
    BadPattern(message.into())
}

fn compile(rule: &Rule) -> Result<Test, BadPattern> {
    let pattern = &rule.pattern;
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(bad(format!("has {} bytes; at most {PATTERN_BYTES_MAX} are allowed", pattern.len())));
    }
    let number = || pattern.trim().parse::<u64>().map_err(|_| bad("must be a whole number"));
    match rule.kind {
        RuleKind::Regex => compile_regex(pattern, rule.is_case_sensitive()).map(Test::Regex),
        RuleKind::Term => {
            let is_exact = rule.is_case_sensitive();
            let plain = normalized(pattern.trim());
            if plain.is_empty() {
                return Err(bad("must name a term"));
            }
            Ok(Test::Term { needle: if is_exact { plain.into_owned() } else { folded(&plain) }, is_exact })
        }
        RuleKind::UrlHost => hosts(pattern).map(Test::Hosts),
        RuleKind::MaxBytes => number().map(Test::MaxBytes),
        RuleKind::MaxMessages => number().map(Test::MaxMessages),
        RuleKind::Moderation if pattern.is_empty() => Ok(Test::Moderation),
        RuleKind::Moderation => Err(bad("must be empty, because the moderation model decides")),
    }
}

fn compile_regex(pattern: &str, case_sensitive: bool) -> Result<Expression, BadPattern> {
    if pattern.is_empty() {
        return Err(bad("must not be empty"));
    }
    let hir = ParserBuilder::new().case_insensitive(!case_sensitive).multi_line(true).nest_limit(NESTING_MAX).build().parse(pattern);
    let hir = hir.map_err(|error| bad(explain(pattern, &error)))?;
    let regex = RegexBuilder::new(pattern)
        .case_insensitive(!case_sensitive)
        // The texts of a call are looked at together, one below the other.
        .multi_line(true)
        .nest_limit(NESTING_MAX)
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(TABLES_BYTES_MAX)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => {
                bad(format!("needs more than {limit} bytes when compiled; repeat smaller parts or fewer times, or use (?-u) for classes"))
            }
            other => bad(format!("is no regular expression: {other}")),
        })?;
    Ok(Expression { regex: Arc::new(regex), literals: literals::required(&hir).map(Arc::from) })
}

/// What is wrong with an expression, and at which character.
fn explain(pattern: &str, error: &regex_syntax::Error) -> String {
    let (span, kind) = match error {
        regex_syntax::Error::Parse(error) => (error.span(), error.kind().to_string()),
        regex_syntax::Error::Translate(error) => (error.span(), error.kind().to_string()),
        other => return format!("is no regular expression: {other}"),
    };
    let ast::Position { offset, .. } = span.start;
    let at = pattern.get(..offset).map_or(offset, |before| before.chars().count()) + 1;
    format!("is no regular expression: {kind}, at character {at}")
}

fn hosts(pattern: &str) -> Result<Vec<Host>, BadPattern> {
    let mut hosts = Vec::new();
    for written in pattern.split([',', ' ', '\n', '\r', '\t']).filter(|host| !host.is_empty()) {
        let name = folded(&normalized(written));
        let (name, subdomains_only) = match name.strip_prefix("*.") {
            Some(rest) => (rest.to_owned(), true),
            None => (name, false),
        };
        let is_label = |label: &str| !label.is_empty() && label.chars().all(|letter| letter.is_alphanumeric() || letter == '-');
        if !name.contains('.') || !name.split('.').all(is_label) {
            return Err(bad(format!("has '{written}', which is no host name; write it like example.com or *.example.com")));
        }
        hosts.push(Host { name, subdomains_only });
    }
    match hosts.len() {
        0 => Err(bad("must name at least one host")),
        1..=HOSTS_MAX => Ok(hosts),
        many => Err(bad(format!("has {many} hosts; at most {HOSTS_MAX} are allowed in one rule"))),
    }
}

impl Ruleset {
    /// Compiles the enabled rules. Those that cannot be compiled are left out and named with the reason. What `earlier` has compiled is
    /// used again. Takes tens of microseconds a new expression.
    pub fn compile(rules: Vec<Rule>, earlier: &Self) -> (Self, Vec<(String, BadPattern)>) {
        let known: HashMap<(&str, bool), &Expression> = earlier
            .rules
            .iter()
            .filter_map(|compiled| match &compiled.test {
                Test::Regex(expression) => Some(((&*compiled.rule.pattern, compiled.rule.is_case_sensitive()), expression)),
                _ => None,
            })
            .collect();
        let mut failed = Vec::new();
        let mut compiled = Vec::new();
        for rule in rules.into_iter().filter(|rule| rule.enabled) {
            let again = match rule.kind {
                RuleKind::Regex => known.get(&(&*rule.pattern, rule.is_case_sensitive())).map(|known| Test::Regex((*known).clone())),
                _ => None,
            };
            match again.map_or_else(|| compile(&rule), Ok) {
                Ok(test) => compiled.push(Compiled { rule, test }),
                Err(error) => failed.push((rule.id, error)),
            }
        }
        compiled.sort_by(|left, right| left.rule.rank().cmp(&right.rule.rank()));
        let mut ruleset = Self { rules: compiled, ..Self::default() };
        if let Err(error) = ruleset.index() {
            // Thousands of long literals may be too many for one automaton; then each rule is tried by itself, at its price.
            failed.push((String::new(), bad(format!("the literals of all rules do not fit into one automaton: {error}"))));
            ruleset.automaton = None;
            ruleset.always = (0..ruleset.rules.len()).collect();
        }
        (ruleset, failed)
    }

    fn index(&mut self) -> Result<(), aho_corasick::BuildError> {
        let mut patterns: HashMap<String, Vec<Trigger>> = HashMap::new();
        for (index, compiled) in self.rules.iter().enumerate() {
            let mut on = |literal: &str, host: usize| patterns.entry(literal.to_owned()).or_default().push(Trigger { rule: index, host });
            match &compiled.test {
                Test::Regex(Expression { literals: Some(literals), .. }) => literals.iter().for_each(|literal| on(literal, 0)),
                Test::Term { needle, is_exact: true } => on(&folded(needle), 0),
                Test::Term { needle, is_exact: false } => on(needle, 0),
                Test::Hosts(hosts) => hosts.iter().enumerate().for_each(|(at, host)| on(&host.name, at)),
                Test::Regex(_) | Test::MaxBytes(_) | Test::MaxMessages(_) => self.always.push(index),
                Test::Moderation => {}
            }
        }
        if patterns.is_empty() {
            return Ok(());
        }
        let (texts, triggers): (Vec<String>, Vec<Vec<Trigger>>) = patterns.into_iter().unzip();
        self.triggers = triggers;
        let automaton = AhoCorasick::builder().match_kind(MatchKind::Standard).kind(kind_for(&texts)).build(&texts)?;
        self.automaton = Some(automaton);
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// The rule at a place of the order.
    pub fn rule(&self, index: usize) -> Option<&Rule> {
        self.rules.get(index).map(|compiled| &compiled.rule)
    }

    /// Places of the rules for a moderation model that cover a call.
    pub fn moderations(&self, model: &str, endpoint: &str) -> Vec<usize> {
        let covers = |compiled: &Compiled| matches!(compiled.test, Test::Moderation) && compiled.rule.covers(model, endpoint);
        self.rules.iter().enumerate().filter(|(_, compiled)| covers(compiled)).map(|(index, _)| index).collect()
    }

    /// How many expressions run on every text, among the rules that `counts` takes by their id.
    pub fn literal_less(&self, counts: impl Fn(&str) -> bool) -> usize {
        let runs_always = |compiled: &&Compiled| matches!(compiled.test, Test::Regex(Expression { literals: None, .. }));
        self.rules.iter().filter(runs_always).filter(|compiled| counts(&compiled.rule.id)).count()
    }

    /// Places of the rules that a call hits, in their order; moderation models aside. Looks at `work_bytes_max` bytes at most, counted
    /// once for every expression that runs over them.
    pub fn matches(&self, subject: &Subject<'_>, work_bytes_max: u64) -> Result<Vec<usize>, Overrun> {
        let mut search = Search::new(self, subject, work_bytes_max);
        search.run()?;
        let mut hits = search.hits;
        hits.sort_unstable();
        Ok(hits)
    }

    /// What a rule found, with a little around it: at most `chars_max` characters. `None` for rules that do not look at words.
    pub fn excerpt(&self, index: usize, text: &str, chars_max: usize) -> Option<String> {
        let plain = normalized(text);
        let (text, at) = match &self.rules.get(index)?.test {
            Test::Regex(expression) => match expression.regex.find(text) {
                Some(found) => (Cow::Borrowed(text), found.start()),
                None => (plain.clone(), expression.regex.find(&plain)?.start()),
            },
            Test::Term { needle, is_exact: true } => (plain.clone(), plain.find(needle.as_str())?),
            Test::Term { needle, is_exact: false } => within_folded(&plain, needle)?,
            Test::Hosts(hosts) => hosts.iter().find_map(|host| within_folded(&plain, &host.name))?,
            Test::MaxBytes(_) | Test::MaxMessages(_) | Test::Moderation => return None,
        };
        let before = text.get(..at)?.chars().rev().take(chars_max / 4).collect::<Vec<_>>();
        Some(before.iter().rev().copied().chain(text.get(at..)?.chars()).take(chars_max).collect())
    }
}

fn within_folded<'a>(plain: &str, needle: &str) -> Option<(Cow<'a, str>, usize)> {
    let folded = folded(plain);
    let at = folded.find(needle)?;
    Some((Cow::Owned(folded), at))
}

/// The fastest automaton is also the largest: its size grows with the states times the alphabet.
fn kind_for(texts: &[String]) -> Option<AhoCorasickKind> {
    const FAST_BYTES_MAX: usize = 20_000;
    let total: usize = texts.iter().map(String::len).sum();
    Some(if total <= FAST_BYTES_MAX { AhoCorasickKind::DFA } else { AhoCorasickKind::ContiguousNFA })
}

/// One text, on its way through the rules.
struct Search<'a> {
    set: &'a Ruleset,
    subject: &'a Subject<'a>,
    plain: Cow<'a, str>,
    /// Whether the text came disguised.
    is_disguised: bool,
    work_left: u64,
    /// Rules that were decided or are to be tried: one bit a rule.
    picked: Vec<u64>,
    to_try: Vec<usize>,
    hits: Vec<usize>,
}

impl<'a> Search<'a> {
    fn new(set: &'a Ruleset, subject: &'a Subject<'a>, work_bytes_max: u64) -> Self {
        let plain = normalized(subject.text);
        Self {
            set,
            subject,
            is_disguised: matches!(plain, Cow::Owned(_)),
            plain,
            work_left: work_bytes_max,
            picked: vec![0; set.rules.len().div_ceil(64)],
            to_try: Vec::new(),
            hits: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<(), Overrun> {
        if let Some(automaton) = &self.set.automaton {
            let folded_plain = folded(&self.plain);
            self.scan(automaton, &folded_plain, true)?;
            if self.is_disguised {
                self.scan(automaton, &folded(self.subject.text), false)?;
            }
        }
        for index in self.set.always.iter().copied().chain(std::mem::take(&mut self.to_try)) {
            if !self.covers(index) {
                continue;
            }
            if self.holds(index)? {
                self.hits.push(index);
            }
        }
        Ok(())
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Overrun> {
        self.work_left = self.work_left.checked_sub(bytes as u64).ok_or(Overrun)?;
        Ok(())
    }

    fn covers(&self, index: usize) -> bool {
        self.set.rules.get(index).is_some_and(|compiled| compiled.rule.covers(self.subject.model, self.subject.endpoint))
    }

    /// Marks a rule; `false` when it was marked before.
    fn pick(&mut self, index: usize) -> bool {
        let Some(word) = self.picked.get_mut(index / 64) else { return false };
        let bit = 1u64 << (index % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn is_picked(&self, index: usize) -> bool {
        self.picked.get(index / 64).is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    /// One pass over the folded text. Terms and hosts are found in the undisguised text only.
    fn scan(&mut self, automaton: &AhoCorasick, text: &str, is_plain: bool) -> Result<(), Overrun> {
        self.spend(text.len())?;
        let set = self.set;
        for found in automaton.find_overlapping_iter(text) {
            self.spend(1)?;
            for trigger in set.triggers.get(found.pattern().as_usize()).into_iter().flatten() {
                let Trigger { rule: index, host } = *trigger;
                if self.is_picked(index) {
                    continue;
                }
                let Some(compiled) = set.rules.get(index) else { continue };
                let (before, after) = (text.get(..found.start()).unwrap_or(""), text.get(found.end()..).unwrap_or(""));
                let is_hit = match &compiled.test {
                    Test::Regex(_) => {
                        self.pick(index);
                        self.to_try.push(index);
                        continue;
                    }
                    _ if !is_plain => continue,
                    // Its case decides, which this text no longer has.
                    Test::Term { is_exact: true, .. } => {
                        self.pick(index);
                        self.to_try.push(index);
                        continue;
                    }
                    Test::Term { .. } => !compiled.rule.whole_word || stands_alone(before, after),
                    Test::Hosts(hosts) => hosts.get(host).is_some_and(|host| names_host(host, before, after)),
                    Test::MaxBytes(_) | Test::MaxMessages(_) | Test::Moderation => false,
                };
                if is_hit && self.pick(index) && self.covers(index) {
                    self.hits.push(index);
                }
            }
        }
        Ok(())
    }

    fn holds(&mut self, index: usize) -> Result<bool, Overrun> {
        let set = self.set;
        let Some(Compiled { rule, test }) = set.rules.get(index) else { return Ok(false) };
        match test {
            Test::MaxBytes(max) => Ok(self.subject.bytes > *max),
            Test::MaxMessages(max) => Ok(self.subject.messages > *max),
            Test::Moderation => Ok(false),
            Test::Regex(expression) => {
                self.spend(self.subject.text.len())?;
                if expression.regex.is_match(self.subject.text) {
                    return Ok(true);
                }
                if !self.is_disguised {
                    return Ok(false);
                }
                self.spend(self.plain.len())?;
                Ok(expression.regex.is_match(&self.plain))
            }
            Test::Term { needle, is_exact } => {
                self.spend(self.plain.len())?;
                let folded = if *is_exact { None } else { Some(folded(&self.plain)) };
                let text = folded.as_deref().unwrap_or(&self.plain);
                let alone = |at: usize| stands_alone(text.get(..at).unwrap_or(""), text.get(at + needle.len()..).unwrap_or(""));
                Ok(text.match_indices(needle.as_str()).any(|(at, _)| !rule.whole_word || alone(at)))
            }
            Test::Hosts(hosts) => {
                self.spend(self.plain.len().saturating_mul(hosts.len()))?;
                let text = folded(&self.plain);
                let named = |host: &Host| {
                    let around = |at: usize| (text.get(..at).unwrap_or(""), text.get(at + host.name.len()..).unwrap_or(""));
                    text.match_indices(host.name.as_str()).any(|(at, _)| {
                        let (before, after) = around(at);
                        names_host(host, before, after)
                    })
                };
                Ok(hosts.iter().any(named))
            }
        }
    }
}

fn stands_alone(before: &str, after: &str) -> bool {
    let adjoins = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    !adjoins(before.chars().next_back()) && !adjoins(after.chars().next())
}

/// Whether a host's name that occurs between these is the host: itself or a subdomain, and not the start or the end of another name.
fn names_host(host: &Host, before: &str, after: &str) -> bool {
    let is_label = |letter: char| letter.is_alphanumeric() || letter == '-';
    let mut behind = before.chars().rev();
    let is_subdomain = behind.next() == Some('.') && behind.next().is_some_and(is_label);
    if host.subdomains_only && !is_subdomain || before.chars().next_back().is_some_and(is_label) {
        return false;
    }
    let mut ahead = after.chars();
    match ahead.next() {
        Some('.') => !ahead.next().is_some_and(is_label),
        Some(letter) => !is_label(letter),
        None => true,
    }
}
