//! Upstreams and models out of the `config.yaml` of LiteLLM's proxy.
//!
//! Deployments of one `model_name` become the routes of one model; deployments with the same vendor, URL, key and limits share an
//! upstream. A fallback becomes routes of a lower rank.

mod config;

use self::config::{Config, Deployment, Info, PRICES, Params};
use super::{
    Outcome, Report,
    offer::{Offer, WantedModel, WantedUpstream, join},
    provider::Vendor,
};
use crate::{
    control::{Control, ControlError},
    domain::{
        catalog::{ModelKind, Route},
        decimal,
        pricing::Price,
    },
    telemetry::redact::Secret,
};

/// How far a fallback stands behind what it is for.
const FALLBACK_STEP: i32 = 100;
const WEIGHT_MAX: u64 = 10_000;

/// All deployments of one name.
struct Group {
    id: String,
    kind: ModelKind,
    context_window: Option<u64>,
    max_output_tokens: Option<u64>,
    prices: Option<Vec<Price>>,
    priced_like: Vec<String>,
    routes: Vec<Route>,
    notes: Vec<String>,
}

/// Makes what the file describes. `variable` answers with an environment variable, for keys written `os.environ/NAME`.
pub async fn import(
    control: &Control,
    text: &str,
    variable: impl Fn(&str) -> Option<Secret>,
    dry_run: bool,
) -> Result<Report, ControlError> {
    let (config, names) = config::read(text)?;
    let mut report = Report { dry_run, ..Report::default() };
    let mut offer = Offer::load(control).await?;
    let lookup = |name: &str| {
        let own = config.environment_variables.as_ref().and_then(|variables| variables.get(name)).and_then(Option::as_ref);
        own.map(|text| Secret::new(text.as_str())).or_else(|| variable(name)).filter(|value| !value.is_empty())
    };
    let mut groups: Vec<Group> = Vec::new();
    for (index, deployment) in config.model_list.iter().flatten().enumerate() {
        let others = names.params.get(index).map(Vec::as_slice).unwrap_or_default();
        place(&mut offer, &mut groups, deployment, (index, others), &lookup, &mut report).await?;
    }
    add_fallbacks(&mut groups, &config, &mut report);
    for group in groups {
        let wanted = WantedModel {
            id: group.id,
            kind: group.kind,
            context_window: group.context_window,
            max_output_tokens: group.max_output_tokens,
            prices: group.prices,
            priced_like: group.priced_like,
            routes: group.routes,
            note: group.notes.join("; "),
        };
        offer.model(wanted, &mut report).await?;
    }
    for name in names.settings {
        let why = setting_advice(&name);
        report.add("setting", name, Outcome::LeftOut, why);
    }
    Ok(report)
}

fn setting_advice(name: &str) -> &'static str {
    match name {
        "general_settings.master_key" => "set bootstrap.admin_key to it, if it has 24 characters or more, to go on using it",
        "general_settings.database_url" => "keys and users of LiteLLM's database are not imported",
        "router_settings.model_group_alias" => "make a model of that name with the same routes",
        "router_settings.num_retries" | "litellm_settings.num_retries" => "see upstream.retries_max",
        _ => "has no counterpart here",
    }
}

/// Finds or makes the upstream of a deployment and adds its route to the model.
async fn place(
    offer: &mut Offer<'_>,
    groups: &mut Vec<Group>,
    deployment: &Deployment,
    (index, others): (usize, &[String]),
    lookup: &impl Fn(&str) -> Option<Secret>,
    report: &mut Report,
) -> Result<(), ControlError> {
    let id = deployment.model_name.clone().unwrap_or_default();
    let shown = if id.is_empty() { format!("model_list[{index}]") } else { id.clone() };
    let planned = match plan(deployment, lookup) {
        Ok(planned) => planned,
        Err(why) => {
            report.add("model", shown, Outcome::LeftOut, format!("model_list[{index}]: {why}"));
            return Ok(());
        }
    };
    let Some(upstream) = offer.upstream(planned.upstream, report).await? else {
        report.add("model", shown, Outcome::LeftOut, format!("model_list[{index}]: its upstream cannot be made"));
        return Ok(());
    };
    let route = Route {
        upstream,
        upstream_model: planned.upstream_model.clone(),
        weight: planned.weight,
        priority: planned.priority,
        costs: Vec::new(),
    };
    let left_out = if others.is_empty() { String::new() } else { format!("left out of model_list[{index}]: {}", others.join(", ")) };
    let note = join(&[&planned.note, &left_out]);
    let group = match groups.iter().position(|group| group.id == id) {
        Some(position) => &mut groups[position],
        None => {
            groups.push(Group {
                id,
                kind: planned.kind,
                context_window: None,
                max_output_tokens: None,
                prices: None,
                priced_like: Vec::new(),
                routes: Vec::new(),
                notes: Vec::new(),
            });
            let last = groups.len() - 1;
            &mut groups[last]
        }
    };
    group.context_window = group.context_window.or(planned.context_window);
    group.max_output_tokens = group.max_output_tokens.or(planned.max_output_tokens);
    match (&group.prices, planned.prices) {
        (None, prices) => group.prices = prices,
        (Some(first), Some(other)) if *first != other => {
            group.notes.push(format!("model_list[{index}] has other prices; the first ones count"))
        }
        _ => {}
    }
    group.priced_like.extend([format!("{}/{}", planned.vendor, planned.upstream_model), planned.upstream_model]);
    if group.routes.iter().all(|other| (&other.upstream, &other.upstream_model) != (&route.upstream, &route.upstream_model)) {
        group.routes.push(route);
    }
    if !note.is_empty() {
        group.notes.push(note);
    }
    Ok(())
}

/// A deployment in our terms.
struct Planned {
    upstream: WantedUpstream,
    vendor: &'static str,
    upstream_model: String,
    weight: u32,
    priority: i32,
    kind: ModelKind,
    context_window: Option<u64>,
    max_output_tokens: Option<u64>,
    prices: Option<Vec<Price>>,
    note: String,
}

fn plan(deployment: &Deployment, lookup: &impl Fn(&str) -> Option<Secret>) -> Result<Planned, String> {
    let name = deployment.model_name.as_deref().filter(|name| !name.is_empty()).ok_or("it has no model_name")?;
    if name.contains('*') {
        return Err("names with * stand for models that nobody names; list the models".to_owned());
    }
    let params = deployment.litellm_params.as_ref().ok_or("it has no litellm_params")?;
    let (vendor, upstream_model) = vendor_of(params)?;
    let provider = vendor.provider()?;
    let resolve = |value: &Option<String>| match value.as_deref().map(|value| (value, value.strip_prefix("os.environ/"))) {
        None => Ok(None),
        Some((literal, None)) => Ok(Some(Secret::new(literal))),
        Some((_, Some(variable))) => {
            lookup(variable).map(Some).ok_or(format!("the environment variable {variable} is not set; set it and import again"))
        }
    };
    let api_base = resolve(&params.api_base)?.or(resolve(&params.base_url)?);
    let base_url = vendor.base_url(api_base.as_ref().map(Secret::expose))?;
    let upstream = WantedUpstream {
        name: vendor.name.to_owned(),
        provider,
        base_url,
        api_key: resolve(&params.api_key)?,
        max_concurrency: number(&params.max_parallel_requests, "max_parallel_requests")?,
        total_ms: milliseconds(&params.timeout)?,
        enabled: true,
        note: String::new(),
    };
    let empty = Info::default();
    let info = deployment.model_info.as_ref().unwrap_or(&empty);
    let (weight, note) = weight(params)?;
    Ok(Planned {
        upstream,
        vendor: vendor.name,
        upstream_model,
        weight,
        priority: number::<i32>(&params.order, "order")?.unwrap_or(0),
        kind: kind_of(info.mode.as_deref())?,
        context_window: number(&info.max_input_tokens, "max_input_tokens")?,
        max_output_tokens: number(&info.max_output_tokens, "max_output_tokens")?.or(number(&info.max_tokens, "max_tokens")?),
        prices: prices([params.prices(), info.prices()])?,
        note,
    })
}

/// The vendor and its own name of the model. Without a vendor before a `/`, LiteLLM guesses from the name, and so is done here.
fn vendor_of(params: &Params) -> Result<(Vendor, String), String> {
    let model = params.model.as_deref().filter(|model| !model.is_empty()).ok_or("litellm_params has no model")?;
    if let Some(name) = &params.custom_llm_provider {
        let vendor = Vendor::of_litellm(name).ok_or_else(|| format!("the provider '{name}' is not known here"))?;
        return Ok((vendor, model.strip_prefix(&format!("{name}/")).unwrap_or(model).to_owned()));
    }
    let (name, model) = match model.split_once('/') {
        Some((name, rest)) => (name, rest),
        None if model.starts_with("claude") => ("anthropic", model),
        None if model.starts_with("gemini") => ("vertex_ai", model),
        None => ("openai", model),
    };
    let vendor = Vendor::of_litellm(name).ok_or_else(|| format!("the provider '{name}' is not known here"))?;
    Ok((vendor, model.to_owned()))
}

fn kind_of(mode: Option<&str>) -> Result<ModelKind, String> {
    match mode {
        None | Some("chat" | "responses") => Ok(ModelKind::Chat),
        Some("completion") => Ok(ModelKind::Completion),
        Some("embedding") => Ok(ModelKind::Embedding),
        Some("image_generation" | "image_edit") => Ok(ModelKind::Image),
        Some("audio_transcription" | "audio_speech") => Ok(ModelKind::Audio),
        Some("moderation") => Ok(ModelKind::Moderation),
        Some("rerank") => Ok(ModelKind::Rerank),
        Some("video_generation") => Ok(ModelKind::Video),
        Some(other) => Err(format!("the mode '{other}' has no counterpart here")),
    }
}

/// LiteLLM shares calls by `weight`, else by `rpm`, else by `tpm`; limits of deployments do not exist here.
fn weight(params: &Params) -> Result<(u32, String), String> {
    if let Some(weight) = number::<u64>(&params.weight, "weight")? {
        let limits = params.rpm.is_some() || params.tpm.is_some();
        let note = if limits { "rpm and tpm of deployments are not enforced" } else { "" };
        return Ok((shrunk(weight), note.to_owned()));
    }
    for (value, name, unit) in [(&params.rpm, "rpm", 1), (&params.tpm, "tpm", 1_000)] {
        if let Some(limit) = number::<u64>(value, name)? {
            return Ok((shrunk((limit / unit).max(1)), format!("{name} became the weight of the route; it is not enforced")));
        }
    }
    Ok((1, String::new()))
}

fn shrunk(weight: u64) -> u32 {
    u32::try_from(weight.min(WEIGHT_MAX)).unwrap_or(1)
}

fn number<T: std::str::FromStr>(value: &Option<String>, name: &str) -> Result<Option<T>, String> {
    // Whole numbers may be written `5.0`.
    let whole = |text: &str| text.trim().strip_suffix(".0").unwrap_or(text.trim()).parse::<T>();
    value.as_deref().map(|text| whole(text).map_err(|_| format!("{name} must be a whole number"))).transpose()
}

/// Seconds, as decimals, in milliseconds.
fn milliseconds(value: &Option<String>) -> Result<Option<u64>, String> {
    let Some(text) = value else { return Ok(None) };
    let micros = decimal::micros(text).map_err(|error| format!("timeout: {error}"))?;
    Ok(u64::try_from(micros / 1_000).ok().filter(|milliseconds| *milliseconds > 0))
}

/// The first of each price that is said; `None` when none is.
fn prices(places: [[Option<&str>; 6]; 2]) -> Result<Option<Vec<Price>>, String> {
    let mut found = Vec::new();
    for (index, (unit, name)) in PRICES.into_iter().enumerate() {
        let Some(text) = places.iter().find_map(|prices| prices[index]) else { continue };
        let credits = decimal::parse(text).map_err(|error| format!("{name}: {error}"))?;
        found.push(decimal::price(unit, credits).ok_or_else(|| format!("{name}: no price can say {text} exactly"))?);
    }
    Ok(Some(found).filter(|found| !found.is_empty()))
}

/// Adds the routes of what a model falls back to, behind its own.
fn add_fallbacks(groups: &mut [Group], config: &Config, report: &mut Report) {
    let sections = [&config.router_settings, &config.litellm_settings];
    let rules = sections.into_iter().flatten().filter_map(|section| section.fallbacks.as_ref()).flatten().flatten();
    // What others fall back to is what they serve themselves, whatever the order of the rules.
    let own: Vec<(String, Vec<Route>)> = groups.iter().map(|group| (group.id.clone(), group.routes.clone())).collect();
    for (from, targets) in rules {
        let name = format!("fallbacks of {from}");
        let Some(group) = groups.iter_mut().find(|group| group.id == *from) else {
            report.add("setting", name, Outcome::LeftOut, "there is no such model in the file");
            continue;
        };
        for target in targets {
            let Some((_, routes)) = own.iter().find(|(id, _)| id == target) else {
                report.add("setting", name.clone(), Outcome::LeftOut, format!("{target} is not in the file"));
                continue;
            };
            let last = group.routes.iter().map(|route| route.priority).max().unwrap_or(0);
            for route in routes {
                let is_new =
                    group.routes.iter().all(|other| (&other.upstream, &other.upstream_model) != (&route.upstream, &route.upstream_model));
                if is_new {
                    group
                        .routes
                        .push(Route { priority: last.saturating_add(FALLBACK_STEP).saturating_add(route.priority), ..route.clone() });
                }
            }
            group.notes.push(format!("falls back to {target}, at its own prices"));
        }
    }
}
