//! What an import would do: the offers of a file beside the models that are there.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    TOKENS_MAX, amount,
    offer::{Offer, Only, Parsed},
};
use crate::{
    control::input::{check_id, check_text, is_date},
    control::{
        ControlError,
        catalog::models::{ALIASES_MAX, ID_LENGTH_MAX, check_model_id},
    },
    domain::{
        Timestamp,
        catalog::{Capabilities, Model, PriceSource, Route, Upstream},
        pricing::{Price, PriceList, Unit},
        route::Routing,
    },
};

/// A price that becomes this many times dearer or cheaper is more likely a mistake than a price.
const LEAP: i128 = 10;

/// What becomes of a model by an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ImportAction)]
pub enum Action {
    Added,
    Changed,
    Unchanged,
    /// It came from such a file once, and this one does not have it. It stays as it is.
    Missing,
    /// It stays as it is; `why` says why.
    Refused,
}

/// One line of an import's report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ImportEntry {
    pub id: String,
    pub action: Action,
    /// Why it was refused, or cannot be called yet.
    pub why: Option<String>,
    pub changes: Vec<ImportChange>,
}

/// What changes about a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ImportChange {
    /// A unit with a price, or a field.
    #[schema(example = "input_token")]
    pub what: String,
    /// Null when there was nothing.
    #[schema(example = "2.5 per million")]
    pub from: Option<String>,
    /// Null when there is nothing any more.
    #[schema(example = "1.25 per million")]
    pub to: Option<String>,
}

/// How an import goes about it.
pub struct Rules<'a> {
    pub only: &'a Only,
    /// Upstreams by the provider that each of them serves.
    pub routes: Routes,
    pub source: PriceSource,
    pub force: bool,
    pub now: Timestamp,
}

/// What is to be written, and what is to be said.
#[derive(Debug, Default)]
pub struct Plan {
    pub models: Vec<Model>,
    pub entries: Vec<ImportEntry>,
    /// Some price was refused because it changed too much.
    pub has_leaps: bool,
}

/// Which upstream serves a provider's models.
#[derive(Debug, Default)]
pub struct Routes(BTreeMap<String, String>);

impl Routes {
    /// By the operator's word (`wanted`: upstream → provider), else an enabled upstream of that name, else the first enabled one of
    /// that kind that is not named after, or given to, another provider.
    pub fn find(upstreams: &[Upstream], wanted: &BTreeMap<String, String>, providers: &BTreeSet<&str>) -> Result<Self, ControlError> {
        for name in wanted.keys() {
            if !upstreams.iter().any(|upstream| upstream.name == *name && upstream.enabled) {
                return Err(ControlError::invalid("upstreams", format!("the upstream '{name}' does not exist or is disabled")));
            }
        }
        let enabled: Vec<&Upstream> = upstreams.iter().filter(|upstream| upstream.enabled).collect();
        let find = |provider: &str| {
            let said = wanted.iter().find(|(_, served)| *served == provider).map(|(name, _)| name.as_str());
            let named = || enabled.iter().find(|upstream| upstream.name == provider && !wanted.contains_key(provider));
            let is_free = |upstream: &Upstream| !wanted.contains_key(&upstream.name) && !providers.contains(upstream.name.as_str());
            let of_kind = || enabled.iter().find(|upstream| word(&upstream.provider) == provider && is_free(upstream));
            said.or_else(|| named().or_else(of_kind).map(|upstream| upstream.name.as_str()))
        };
        Ok(Self(providers.iter().filter_map(|provider| Some(((*provider).to_owned(), find(provider)?.to_owned()))).collect()))
    }

    pub fn of(&self, offer: &Offer) -> Option<Route> {
        let upstream = self.0.get(&offer.provider)?.clone();
        Some(Route { upstream, upstream_model: offer.upstream_model.clone(), weight: 1, priority: 0, costs: Vec::new() })
    }
}

/// Compares a file with the models that are there.
pub fn plan(parsed: Parsed, models: &[Model], rules: &Rules<'_>) -> Plan {
    let known: BTreeMap<&str, &Model> = models.iter().map(|model| (model.id.as_str(), model)).collect();
    let mut plan = Plan::default();
    let refused = |(id, why)| ImportEntry { id, action: Action::Refused, why: Some(why), changes: Vec::new() };
    let in_file: BTreeSet<String> =
        parsed.offers.iter().map(|offer| offer.id.clone()).chain(parsed.refused.iter().map(|(id, _)| id.clone())).collect();
    plan.entries.extend(parsed.refused.into_iter().map(refused));
    let mut names = Names::of(models, &parsed.offers);
    let kinds: BTreeSet<String> = parsed.offers.iter().map(|offer| word(&offer.kind)).collect();
    for offer in parsed.offers {
        let id = offer.id.clone();
        let outcome = check(&offer).and_then(|()| match known.get(id.as_str()) {
            Some(model) => changed(model, offer, rules),
            None => added(offer, &mut names, rules),
        });
        match outcome {
            Ok((model, entry)) => {
                plan.models.extend(model);
                plan.entries.push(entry);
            }
            Err(Refused { why, is_leap }) => {
                plan.has_leaps |= is_leap;
                plan.entries.push(refused((id, why)));
            }
        }
    }
    let is_missing = |model: &&Model| {
        let came_from_here = model.source.as_ref().is_some_and(|source| source.name == rules.source.name);
        let is_asked_for = model.owner.as_deref().is_none_or(|owner| rules.only.wants_provider(owner))
            && (rules.only.modes.is_empty() || kinds.contains(&word(&model.kind)));
        came_from_here && is_asked_for && !in_file.contains(&model.id)
    };
    plan.entries.extend(models.iter().filter(is_missing).map(|model| ImportEntry {
        id: model.id.clone(),
        action: Action::Missing,
        why: Some("the file does not have it any more".to_owned()),
        changes: Vec::new(),
    }));
    plan
}

/// The word a value is written with.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

struct Refused {
    why: String,
    is_leap: bool,
}

impl From<String> for Refused {
    fn from(why: String) -> Self {
        Self { why, is_leap: false }
    }
}

/// Names that are taken: ids and aliases of the models that are there, and ids of the file.
struct Names {
    taken: BTreeSet<String>,
    aliases: BTreeMap<String, String>,
}

impl Names {
    fn of(models: &[Model], offers: &[Offer]) -> Self {
        let aliases = models.iter().flat_map(|model| model.aliases.iter().map(|alias| (alias.clone(), model.id.clone())));
        let ids = models.iter().map(|model| &model.id).chain(offers.iter().map(|offer| &offer.id));
        Self { taken: ids.cloned().collect(), aliases: aliases.collect() }
    }

    /// Those of the wanted aliases that nobody has.
    fn take(&mut self, wanted: Vec<String>, id: &str) -> Vec<String> {
        let mut given = Vec::new();
        for alias in wanted.into_iter().take(ALIASES_MAX) {
            let is_free = !self.taken.contains(&alias) && !self.aliases.contains_key(&alias);
            if is_free && check_id("aliases", &alias, ID_LENGTH_MAX).is_ok() {
                self.aliases.insert(alias.clone(), id.to_owned());
                given.push(alias);
            }
        }
        given
    }
}

fn check(offer: &Offer) -> Result<(), Refused> {
    let said = |error: ControlError| Refused::from(error.to_string());
    check_model_id(&offer.id).map_err(said)?;
    check_id("upstream_model", &offer.upstream_model, ID_LENGTH_MAX).map_err(said)?;
    for (param, text) in [("display_name", &offer.display_name), ("owner", &offer.owner)] {
        text.as_ref().map_or(Ok(()), |text| check_text(param, text, ID_LENGTH_MAX)).map_err(said)?;
    }
    if let Some(date) = offer.deprecated_at.as_ref().filter(|date| !is_date(date)) {
        return Err(format!("deprecated_at is '{date}'; it must be a day like 2026-12-31").into());
    }
    for (param, tokens) in [
        ("context_window", offer.context_window),
        ("max_input_tokens", offer.max_input_tokens),
        ("max_output_tokens", offer.max_output_tokens),
    ] {
        if let Some(tokens) = tokens.filter(|tokens| !(1..=TOKENS_MAX).contains(tokens)) {
            return Err(format!("{param} is {tokens}; it must be 1 to {TOKENS_MAX}").into());
        }
    }
    Ok(())
}

fn added(offer: Offer, names: &mut Names, rules: &Rules<'_>) -> Result<(Option<Model>, ImportEntry), Refused> {
    if let Some(owner) = names.aliases.get(&offer.id) {
        return Err(format!("{} is an alias of the model {owner}", offer.id).into());
    }
    let is_priced = !offer.prices.is_empty();
    let route = rules.routes.of(&offer).filter(|_| is_priced);
    let why = why_not_callable(&offer, route.is_some());
    let model = Model {
        display_name: offer.display_name.unwrap_or_else(|| offer.id.clone()),
        aliases: names.take(offer.aliases, &offer.id),
        kind: offer.kind,
        capabilities: offer.capabilities,
        context_window: offer.context_window,
        max_input_tokens: offer.max_input_tokens,
        max_output_tokens: offer.max_output_tokens,
        prices: offer.prices,
        source: Some(rules.source.clone()),
        enabled: route.is_some(),
        routes: route.into_iter().collect(),
        routing: Routing::default(),
        owner: offer.owner,
        deprecated_at: offer.deprecated_at,
        created_at: rules.now,
        updated_at: rules.now,
        id: offer.id,
    };
    let changes = price_changes(&[], &model.prices);
    let entry = ImportEntry { id: model.id.clone(), action: Action::Added, why, changes };
    Ok((Some(model), entry))
}

fn why_not_callable(offer: &Offer, has_route: bool) -> Option<String> {
    if offer.prices.is_empty() {
        return Some("disabled: price unknown".to_owned());
    }
    (!has_route).then(|| format!("disabled: no enabled upstream serves the provider '{}'", offer.provider))
}

/// The file's word counts for prices, limits, capabilities, vendor and end; the admin's for everything else.
fn changed(known: &Model, offer: Offer, rules: &Rules<'_>) -> Result<(Option<Model>, ImportEntry), Refused> {
    if offer.prices.is_empty() && !known.prices.is_empty() {
        return Err("the file has no price for it any more; the known one stays".to_owned().into());
    }
    if let Some(why) = leap(&known.prices, &offer.prices).filter(|_| !rules.force) {
        return Err(Refused { why: format!("{why}; use --force (or \"force\": true) if that is right"), is_leap: true });
    }
    let mut model = known.clone();
    // A model that nobody could call so far is made callable; one that has routes was somebody's decision.
    if model.routes.is_empty()
        && !offer.prices.is_empty()
        && let Some(route) = rules.routes.of(&offer)
    {
        (model.routes, model.enabled) = (vec![route], true);
    }
    if !price_changes(&model.prices, &offer.prices).is_empty() {
        (model.prices, model.source) = (offer.prices, Some(rules.source.clone()));
    }
    model.capabilities = merged(model.capabilities, offer.capabilities);
    model.context_window = offer.context_window.or(model.context_window);
    model.max_input_tokens = offer.max_input_tokens.or(model.max_input_tokens);
    model.max_output_tokens = offer.max_output_tokens.or(model.max_output_tokens);
    model.owner = offer.owner.or(model.owner);
    model.deprecated_at = offer.deprecated_at.or(model.deprecated_at);
    let entry = |action, changes| ImportEntry { id: known.id.clone(), action, why: None, changes };
    if model == *known {
        return Ok((None, entry(Action::Unchanged, Vec::new())));
    }
    model.updated_at = rules.now;
    let mut changes = price_changes(&known.prices, &model.prices);
    changes.extend(field_changes(known, &model));
    let entry = entry(Action::Changed, changes);
    Ok((Some(model), entry))
}

fn merged(known: Capabilities, said: Capabilities) -> Capabilities {
    Capabilities {
        vision: said.vision.or(known.vision),
        documents: said.documents.or(known.documents),
        audio_input: said.audio_input.or(known.audio_input),
        audio_output: said.audio_output.or(known.audio_output),
        tools: said.tools.or(known.tools),
        parallel_tools: said.parallel_tools.or(known.parallel_tools),
        json_schema: said.json_schema.or(known.json_schema),
        reasoning: said.reasoning.or(known.reasoning),
        sampling: said.sampling.or(known.sampling),
        streaming: said.streaming.or(known.streaming),
    }
}

/// Says which price changes too much to be believed, if any. What was free may get a price; what had one must not become free.
fn leap(before: &[Price], after: &[Price]) -> Option<String> {
    let lengths: BTreeSet<u64> =
        before.iter().chain(after).filter_map(|price| price.above_input_tokens).map(|above| above.saturating_add(1)).chain([0]).collect();
    let (before, after) = (PriceList(before.to_vec()), PriceList(after.to_vec()));
    for unit in Unit::ALL {
        for length in &lengths {
            let Some(old) = before.price(unit, *length) else { continue };
            let new = after.price(unit, *length);
            let (old_size, new_size) = (size(old, new), new.map_or(0, |new| size(new, Some(old))));
            if old_size > new_size.saturating_mul(LEAP) || new_size > old_size.saturating_mul(LEAP) {
                let to = new.map_or_else(|| "nothing".to_owned(), |new| amount::shown(&new));
                return Some(format!("the price of {} goes from {} to {to}", unit.as_str(), amount::shown(&old)));
            }
        }
    }
    None
}

/// How dear a price is, on the scale of another one.
fn size(price: Price, other: Option<Price>) -> i128 {
    i128::from(price.micros) * i128::from(other.map_or(1, |other| other.per))
}

fn price_changes(before: &[Price], after: &[Price]) -> Vec<ImportChange> {
    let key = |price: &Price| (price.unit, price.above_input_tokens);
    let keys: BTreeSet<_> = before.iter().chain(after).map(key).collect();
    let mut changes = Vec::new();
    for (unit, above) in keys {
        let find = |list: &[Price]| list.iter().find(|price| key(price) == (unit, above)).copied();
        let (from, to) = (find(before), find(after));
        if from != to {
            let what = above.map_or_else(|| unit.as_str().to_owned(), |above| format!("{} above {above}", unit.as_str()));
            changes.push(ImportChange { what, from: from.map(|price| amount::shown(&price)), to: to.map(|price| amount::shown(&price)) });
        }
    }
    changes
}

fn field_changes(before: &Model, after: &Model) -> Vec<ImportChange> {
    let number = |count: Option<u64>| count.map(|count| count.to_string());
    let routes = |model: &Model| Some(model.routes.iter().map(|route| route.upstream.clone()).collect::<Vec<_>>().join(" "));
    let said = |model: &Model| serde_json::to_string(&model.capabilities).ok();
    let fields = [
        ("context_window", number(before.context_window), number(after.context_window)),
        ("max_input_tokens", number(before.max_input_tokens), number(after.max_input_tokens)),
        ("max_output_tokens", number(before.max_output_tokens), number(after.max_output_tokens)),
        ("capabilities", said(before), said(after)),
        ("owner", before.owner.clone(), after.owner.clone()),
        ("deprecated_at", before.deprecated_at.clone(), after.deprecated_at.clone()),
        ("routes", routes(before), routes(after)),
        ("enabled", Some(before.enabled.to_string()), Some(after.enabled.to_string())),
    ];
    let differing = fields.into_iter().filter(|(_, from, to)| from != to);
    differing.map(|(what, from, to)| ImportChange { what: what.to_owned(), from, to }).collect()
}
