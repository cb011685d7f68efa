//! Screening: the operator's rules, what they hit, and the accounts that are exempt from one. A write counts for the very next call.
//!
//! Absent on purpose: matching (see `domain::screening`) and what a hit does to a call (see `pipeline`).

mod hits;

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

pub use self::hits::{HitRelease, ShownHit, delete_exemption, get_hit, list_exemptions, list_hits, release_hit};
use super::{
    Actor, Control, ControlError, Page, PageRequest, audit, given,
    input::{check_id, check_range, check_text},
};
use crate::{
    actors::{detached, screening::ScreeningError},
    dialect::Endpoint,
    domain::{
        catalog::ModelKind,
        screening::{self as rules, Action, BUNDLED_SETS, LITERAL_LESS_MAX, Moderator, Overrun, RuleKind, Ruleset, Subject},
    },
    store,
};

pub use crate::{
    domain::screening::Rule,
    store::screening::{Exemption, Hit, HitFilter},
};

const NAME_LENGTH_MAX: usize = 200;
const NOTE_LENGTH_MAX: usize = 2_000;
const PRIORITY_MAX: i32 = 10_000;
const TARGETS_MAX: usize = 200;
const CATEGORIES_MAX: usize = 50;
const RULES_MAX: u64 = 20_000;
const TEST_BYTES_MAX: usize = 256 * 1024;
/// What a test may look at, however many rules there are.
const TEST_WORK_BYTES_MAX: u64 = 1 << 30;

/// A new rule.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRule {
    /// Callers are told it when the rule blocks them; the pattern they are not.
    #[schema(example = "no internal project names", min_length = 1, max_length = 200)]
    pub name: String,
    #[serde(default)]
    pub kind: RuleKind,
    /// What the kind makes of it: a regular expression, a term, hosts, a number; empty for `moderation`. `^` and `$` are the ends of lines.
    #[serde(default)]
    #[schema(example = "project-(?:heron|osprey)", max_length = 4096)]
    pub pattern: String,
    pub action: Action,
    /// True when missing.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// Rules of higher priority decide first; within one, `allow` before `block` before `flag`. 0 when missing.
    #[serde(default)]
    #[schema(minimum = -10000, maximum = 10000)]
    pub priority: i32,
    /// True for regular expressions and false for terms when missing.
    #[serde(default)]
    pub case_sensitive: Option<bool>,
    /// A term counts only where no letter or digit adjoins it.
    #[serde(default)]
    pub whole_word: bool,
    /// Ids of models it is for; `*` at the end stands for anything. All models when empty.
    #[serde(default)]
    #[schema(example = json!(["openai/*"]), max_items = 200)]
    pub models: Vec<String>,
    /// Endpoints it is for, for example `chat_completions`, `messages`, `embeddings`. All of them when empty.
    #[serde(default)]
    #[schema(example = json!(["chat_completions"]), max_items = 200)]
    pub endpoints: Vec<String>,
    /// For kind `moderation`, and required there.
    #[serde(default)]
    pub moderation: Option<Moderator>,
    /// For the operator's own memory.
    #[serde(default)]
    #[schema(max_length = 2000)]
    pub note: Option<String>,
}

/// What to change of a rule; fields that are missing stay.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RulePatch {
    #[serde(default)]
    #[schema(max_length = 200)]
    pub name: Option<String>,
    #[serde(default)]
    pub kind: Option<RuleKind>,
    #[serde(default)]
    #[schema(max_length = 4096)]
    pub pattern: Option<String>,
    #[serde(default)]
    pub action: Option<Action>,
    #[serde(default)]
    pub enabled: Option<bool>,
    #[serde(default)]
    pub priority: Option<i32>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<bool>)]
    pub case_sensitive: Option<Option<bool>>,
    #[serde(default)]
    pub whole_word: Option<bool>,
    /// Replaces all models.
    #[serde(default)]
    pub models: Option<Vec<String>>,
    /// Replaces all endpoints.
    #[serde(default)]
    pub endpoints: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Moderator>)]
    pub moderation: Option<Option<Moderator>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub note: Option<Option<String>>,
}

/// Which rules to install.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleImport {
    /// Bundled sets: `prompt_injection`, `data_exfiltration`, `malicious_payload`. All of them when neither sets nor rules are named.
    #[serde(default)]
    #[schema(example = json!(["prompt_injection"]))]
    pub sets: Vec<String>,
    /// Rules of one's own, all of them or none.
    #[serde(default)]
    pub rules: Vec<NewRule>,
    /// Whether bundled rules are switched on at once. False when missing.
    #[serde(default)]
    pub enabled: bool,
    /// What bundled rules lead to, instead of what they say themselves (`flag`).
    #[serde(default)]
    pub action: Option<Action>,
}

/// What an import did.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct ImportedRules {
    pub created: u64,
    /// Bundled rules that were there already and stay as they are.
    pub kept: u64,
}

/// A text to try.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleTest {
    #[schema(example = "tell me about project-heron")]
    pub text: String,
    /// As if it were sent to this model; rules for certain models do not count when missing.
    #[serde(default)]
    pub model: Option<String>,
    /// As if it came in here; `chat_completions` when missing.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Whether rules that are switched off are tried, too.
    #[serde(default)]
    pub include_disabled: bool,
}

/// What rules make of a text.
#[derive(Debug, Clone)]
pub struct Tested {
    /// In the order in which they decide.
    pub hits: Vec<Rule>,
    /// The first of them that is enabled, allows or blocks; flags only when there is no other.
    pub outcome: Option<Action>,
    /// Rules that would ask a moderation model, which a test does not.
    pub moderations: Vec<Rule>,
}

/// All rules, newest first.
pub async fn list_rules(control: &Control, page: &PageRequest) -> Result<Page<Rule>, ControlError> {
    Ok(Page::of_all(store::screening::list_rules(&control.db).await?, page, |rule| rule.id.clone()))
}

pub async fn get_rule(control: &Control, id: &str) -> Result<Rule, ControlError> {
    store::screening::get_rule(&control.db, id).await?.ok_or_else(|| missing_rule(id))
}

pub async fn create_rule(control: &Control, actor: &Actor, new: NewRule) -> Result<Rule, ControlError> {
    let rule = rule_of(control, new);
    check_rule(control, &rule, "")?;
    check_numbers(control, std::slice::from_ref(&rule), 1).await?;
    store::screening::insert_rules(&control.db, std::slice::from_ref(&rule)).await?;
    publish(control).await?;
    audit::note(control, actor, "screening_rule.create", &rule.id, describe(&rule)).await;
    Ok(rule)
}

pub async fn patch_rule(control: &Control, actor: &Actor, id: &str, patch: RulePatch) -> Result<Rule, ControlError> {
    let mut rule = get_rule(control, id).await?;
    let RulePatch { name, kind, pattern, action, enabled, priority, case_sensitive, whole_word, models, endpoints, moderation, note } =
        patch;
    rule.name = name.unwrap_or(rule.name);
    rule.kind = kind.unwrap_or(rule.kind);
    rule.pattern = pattern.unwrap_or(rule.pattern);
    rule.action = action.unwrap_or(rule.action);
    rule.enabled = enabled.unwrap_or(rule.enabled);
    rule.priority = priority.unwrap_or(rule.priority);
    rule.case_sensitive = case_sensitive.unwrap_or(rule.case_sensitive);
    rule.whole_word = whole_word.unwrap_or(rule.whole_word);
    rule.models = models.unwrap_or(rule.models);
    rule.endpoints = endpoints.unwrap_or(rule.endpoints);
    rule.moderator = moderation.unwrap_or(rule.moderator);
    rule.note = note.unwrap_or(rule.note);
    rule.updated_at = control.clock.now();
    check_rule(control, &rule, "")?;
    check_numbers(control, std::slice::from_ref(&rule), 0).await?;
    if !store::screening::update_rule(&control.db, &rule).await? {
        return Err(missing_rule(id));
    }
    publish(control).await?;
    audit::note(control, actor, "screening_rule.update", id, describe(&rule)).await;
    Ok(rule)
}

/// What the rule hit stays on record; exemptions from it go with it.
pub async fn delete_rule(control: &Control, actor: &Actor, id: &str) -> Result<(), ControlError> {
    let rule = get_rule(control, id).await?;
    if !store::screening::delete_rule(&control.db, id).await? {
        return Err(missing_rule(id));
    }
    publish(control).await?;
    audit::note(control, actor, "screening_rule.delete", id, describe(&rule)).await;
    Ok(())
}

/// Installs bundled sets and rules of one's own, in one step.
pub async fn import_rules(control: &Control, actor: &Actor, import: RuleImport) -> Result<ImportedRules, ControlError> {
    if let Some((index, set)) = import.sets.iter().enumerate().find(|(_, set)| !BUNDLED_SETS.contains(&set.as_str())) {
        let param = format!("sets[{index}]");
        return Err(ControlError::invalid(&param, format!("there is no bundled set '{set}'; there are {}", BUNDLED_SETS.join(", "))));
    }
    let known = store::screening::list_rules(&control.db).await?;
    let takes_all = import.sets.is_empty() && import.rules.is_empty();
    let mut report = ImportedRules::default();
    let mut made = Vec::new();
    for bundled in rules::bundled().map_err(ControlError::Internal)? {
        if !takes_all && !import.sets.contains(&bundled.set) {
            continue;
        }
        let origin = bundled.origin();
        if known.iter().any(|rule| rule.bundled.as_ref() == Some(&origin)) {
            report.kept += 1;
            continue;
        }
        let new = NewRule {
            enabled: Some(import.enabled),
            case_sensitive: Some(bundled.case_sensitive),
            ..NewRule::of(bundled.name, bundled.pattern, import.action.unwrap_or(bundled.action))
        };
        made.push(Rule { bundled: Some(origin), ..rule_of(control, new) });
    }
    let own = made.len();
    made.extend(import.rules.into_iter().map(|new| rule_of(control, new)));
    for (index, rule) in made.iter().enumerate() {
        let path = index.checked_sub(own).map_or(String::new(), |index| format!("rules[{index}]."));
        check_rule(control, rule, &path)?;
    }
    check_numbers(control, &made, made.len() as u64).await?;
    store::screening::insert_rules(&control.db, &made).await?;
    publish(control).await?;
    report.created = made.len() as u64;
    let details = json!({ "sets": import.sets, "created": report.created, "kept": report.kept, "enabled": import.enabled });
    audit::note(control, actor, "screening_rule.import", "screening-rules", details).await;
    Ok(report)
}

/// Tries a text against the rules as they are. Nothing is recorded, and no model is asked.
pub async fn test_rules(control: &Control, test: RuleTest) -> Result<Tested, ControlError> {
    if test.text.len() > TEST_BYTES_MAX {
        return Err(ControlError::invalid("text", format!("text has {} bytes; at most {TEST_BYTES_MAX} can be tried", test.text.len())));
    }
    let endpoint = test.endpoint.as_deref().unwrap_or(Endpoint::ChatCompletions.label());
    let endpoint = Endpoint::from_label(endpoint).ok_or_else(|| no_endpoint("endpoint", endpoint))?.label();
    let all = if test.include_disabled { Some(store::screening::list_rules(&control.db).await?) } else { None };
    let current = control.screening.screens().rules.clone();
    let tried = detached::compute(move || {
        let off: Vec<String> = all.iter().flatten().filter(|rule| !rule.enabled).map(|rule| rule.id.clone()).collect();
        let compiled = all.map(|all| {
            let all = all.into_iter().map(|rule| Rule { enabled: true, ..rule }).collect();
            Ruleset::compile(all, &current).0
        });
        let ruleset = compiled.as_ref().unwrap_or(&current);
        let model = test.model.unwrap_or_default();
        let subject = Subject { text: &test.text, bytes: test.text.len() as u64, messages: 1, model: &model, endpoint };
        let hits = ruleset.matches(&subject, TEST_WORK_BYTES_MAX)?;
        let rules = |places: Vec<usize>| -> Vec<Rule> {
            let found = places.into_iter().filter_map(|index| ruleset.rule(index).cloned());
            found.map(|rule| Rule { enabled: !off.contains(&rule.id), ..rule }).collect()
        };
        Ok::<_, Overrun>((rules(hits), rules(ruleset.moderations(&model, endpoint))))
    });
    let tried = tried.await.ok_or_else(|| ControlError::Internal("trying the rules panicked".to_owned()))?;
    let too_much =
        |Overrun| ControlError::invalid("text", "the rules would have to look at more than 1 GiB for this text; try a shorter one");
    let (hits, moderations) = tried.map_err(too_much)?;
    let mut enabled = hits.iter().filter(|rule| rule.enabled).map(|rule| rule.action);
    let decisive = enabled.clone().find(|action| *action != Action::Flag);
    Ok(Tested { outcome: decisive.or(enabled.next()), hits, moderations })
}

impl NewRule {
    fn of(name: String, pattern: String, action: Action) -> Self {
        Self {
            name,
            kind: RuleKind::Regex,
            pattern,
            action,
            enabled: None,
            priority: 0,
            case_sensitive: None,
            whole_word: false,
            models: Vec::new(),
            endpoints: Vec::new(),
            moderation: None,
            note: None,
        }
    }
}

fn rule_of(control: &Control, new: NewRule) -> Rule {
    let now = control.clock.now();
    Rule {
        id: control.clock.new_id("scr"),
        name: new.name,
        kind: new.kind,
        pattern: new.pattern,
        action: new.action,
        enabled: new.enabled.unwrap_or(true),
        priority: new.priority,
        case_sensitive: new.case_sensitive,
        whole_word: new.whole_word,
        models: new.models,
        endpoints: new.endpoints,
        moderator: new.moderation,
        note: new.note,
        bundled: None,
        created_at: now,
        updated_at: now,
    }
}

/// Everything that can be wrong with one rule. `path` stands before the names of its fields.
fn check_rule(control: &Control, rule: &Rule, path: &str) -> Result<(), ControlError> {
    let field = |name: &str| format!("{path}{name}");
    check_text(&field("name"), &rule.name, NAME_LENGTH_MAX)?;
    check_range(&field("priority"), rule.priority, -PRIORITY_MAX, PRIORITY_MAX)?;
    let pattern = field("pattern");
    rules::check(rule).map_err(|error| ControlError::invalid(&pattern, format!("{pattern} {error}")))?;
    if let Some(note) = &rule.note
        && note.chars().count() > NOTE_LENGTH_MAX
    {
        return Err(ControlError::invalid(&field("note"), format!("note must have at most {NOTE_LENGTH_MAX} characters")));
    }
    for (name, list) in [("models", &rule.models), ("endpoints", &rule.endpoints)] {
        if list.len() > TARGETS_MAX {
            return Err(ControlError::invalid(
                &field(name),
                format!("{name} has {} entries; at most {TARGETS_MAX} are allowed", list.len()),
            ));
        }
    }
    for (index, model) in rule.models.iter().enumerate() {
        check_id(&field(&format!("models[{index}]")), model, NAME_LENGTH_MAX)?;
    }
    for (index, endpoint) in rule.endpoints.iter().enumerate() {
        Endpoint::from_label(endpoint).ok_or_else(|| no_endpoint(&field(&format!("endpoints[{index}]")), endpoint))?;
    }
    check_moderator(control, rule, &field("moderation"))
}

fn check_moderator(control: &Control, rule: &Rule, param: &str) -> Result<(), ControlError> {
    let moderator = match (&rule.moderator, rule.kind) {
        (Some(moderator), RuleKind::Moderation) => moderator,
        (None, RuleKind::Moderation) => return Err(ControlError::invalid(param, "a rule of kind moderation needs moderation.model")),
        (None, _) => return Ok(()),
        (Some(_), _) => return Err(ControlError::invalid(param, "moderation belongs to rules of kind moderation only")),
    };
    if moderator.categories.len() > CATEGORIES_MAX {
        return Err(ControlError::invalid(param, format!("moderation.categories has more than {CATEGORIES_MAX} entries")));
    }
    if let Some(threshold) = moderator.threshold_percent {
        check_range(&format!("{param}.threshold_percent"), threshold, 1, 100)?;
    }
    let snapshot = control.catalog.snapshot();
    match snapshot.model(&moderator.model) {
        Some(model) if model.model.kind == ModelKind::Moderation => Ok(()),
        _ => {
            let why = format!("'{}' is no enabled model of kind moderation", moderator.model);
            Err(ControlError::invalid(&format!("{param}.model"), why))
        }
    }
}

/// Whether so many more rules are still screened in bounded time.
async fn check_numbers(control: &Control, changed: &[Rule], added_rows: u64) -> Result<(), ControlError> {
    let known = store::screening::count_rules(&control.db).await?;
    if known.saturating_add(added_rows) > RULES_MAX {
        return Err(ControlError::Conflict(format!("there are {known} rules; at most {RULES_MAX} are allowed, delete some first")));
    }
    let is_literal_less = |rule: &&Rule| rule.enabled && rules::check(rule) == Ok(true);
    let added = changed.iter().filter(is_literal_less).count();
    let others = control.screening.screens().rules.literal_less(|id| changed.iter().all(|rule| rule.id != id));
    if added > 0 && added + others > LITERAL_LESS_MAX {
        return Err(ControlError::invalid(
            "pattern",
            format!(
                "pattern has no fixed text of 3 bytes or more that every match contains, so it would run over every request; {LITERAL_LESS_MAX} \
                 enabled rules may be so, and there are {others}: add a fixed text, or disable another one"
            ),
        ));
    }
    Ok(())
}

fn no_endpoint(param: &str, label: &str) -> ControlError {
    let known: Vec<&str> = Endpoint::ALL.iter().map(|endpoint| endpoint.label()).collect();
    ControlError::invalid(param, format!("there is no endpoint '{label}'; there are {}", known.join(", ")))
}

fn missing_rule(id: &str) -> ControlError {
    ControlError::NotFound(format!("screening rule {id}"))
}

fn describe(rule: &Rule) -> serde_json::Value {
    json!({
        "name": rule.name, "kind": rule.kind, "pattern": rule.pattern, "action": rule.action, "enabled": rule.enabled,
        "priority": rule.priority, "models": rule.models, "endpoints": rule.endpoints, "moderation": rule.moderator,
    })
}

/// Has every call that begins from now on screened by what the store holds.
async fn publish(control: &Control) -> Result<(), ControlError> {
    control.screening.reload().await.map_err(|error| match error {
        ScreeningError::Store(error) => error.into(),
        ScreeningError::Actor(error) => ControlError::Unavailable(format!("the actor of screening did not answer: {error:?}")),
        ScreeningError::Compile => ControlError::Internal(error.to_string()),
    })
}
