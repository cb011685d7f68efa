//! Models: what callers name, what it costs, and who serves it.

use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{Control, ControlError, Model, PRIORITY_MAX, WEIGHT_MAX, builtin, history, publish};
use crate::{
    control::{
        Actor, Page, PageRequest, audit, given,
        input::{check_date, check_id, check_range, check_text},
    },
    domain::{
        catalog::{Capabilities, ModelKind, Route, Upstream},
        pricing::{self, Price},
        route::Routing,
    },
    store::{
        self,
        catalog::{Catalog, Current, ModelChanges},
    },
};

pub(super) const ID_LENGTH_MAX: usize = 200;
const DISPLAY_NAME_LENGTH_MAX: usize = 200;
const OWNER_LENGTH_MAX: usize = 200;
pub(super) const ALIASES_MAX: usize = 20;
pub(super) const TOKENS_MAX: u64 = 1_000_000_000;
const ROUTES_MAX: usize = 100;
const FALLBACKS_MAX: usize = 8;
const CONCURRENCY_MAX: u32 = 1_000_000;

/// A new model.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewModel {
    /// What callers name. In paths `/` is written `%2F`.
    #[schema(example = "openai/gpt-4o-mini", min_length = 1, max_length = 200)]
    pub id: String,
    pub kind: ModelKind,
    /// The id when missing.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub display_name: Option<String>,
    /// Other names for it. None of them may be the id or an alias of another model.
    #[serde(default)]
    #[schema(example = json!(["gpt-4o-mini"]), max_items = 20)]
    pub aliases: Vec<String>,
    /// What is not said is unknown, and calls are not checked for it.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// Tokens of input and output together.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub context_window: Option<u64>,
    #[serde(default)]
    #[schema(minimum = 1)]
    pub max_input_tokens: Option<u64>,
    /// The most a call may ask for; its worst case is held when it does not say.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub max_output_tokens: Option<u64>,
    /// What is not named is free, but for other kinds of input tokens (as `input_token`; `cache_write_1h_token` as
    /// `cache_write_token`) and of output tokens (as `output_token`).
    #[serde(default)]
    pub prices: Vec<Price>,
    #[serde(default)]
    pub routes: Vec<Route>,
    #[serde(default)]
    pub routing: Routing,
    /// The vendor.
    #[serde(default)]
    #[schema(example = "openai", max_length = 200)]
    pub owner: Option<String>,
    /// The day from which the vendor may switch it off.
    #[serde(default)]
    #[schema(example = "2026-12-31", format = Date)]
    pub deprecated_at: Option<String>,
    /// True when missing.
    #[serde(default)]
    pub enabled: Option<bool>,
}

impl NewModel {
    /// A model of which nothing else is said.
    pub fn of(id: impl Into<String>, kind: ModelKind) -> Self {
        Self {
            id: id.into(),
            kind,
            display_name: None,
            aliases: Vec::new(),
            capabilities: Capabilities::default(),
            context_window: None,
            max_input_tokens: None,
            max_output_tokens: None,
            prices: Vec::new(),
            routes: Vec::new(),
            routing: Routing::default(),
            owner: None,
            deprecated_at: None,
            enabled: None,
        }
    }
}

/// What to change of a model; fields that are missing stay. Calls that run keep the prices of their admission.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelPatch {
    #[serde(default)]
    pub kind: Option<ModelKind>,
    #[serde(default)]
    #[schema(max_length = 200)]
    pub display_name: Option<String>,
    /// Replaces all aliases.
    #[serde(default)]
    #[schema(max_items = 20)]
    pub aliases: Option<Vec<String>>,
    /// Replaces all that is said of capabilities.
    #[serde(default)]
    pub capabilities: Option<Capabilities>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u64>, minimum = 1)]
    pub context_window: Option<Option<u64>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u64>, minimum = 1)]
    pub max_input_tokens: Option<Option<u64>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u64>, minimum = 1)]
    pub max_output_tokens: Option<Option<u64>>,
    /// Replaces all prices.
    #[serde(default)]
    pub prices: Option<Vec<Price>>,
    /// Replaces all routes.
    #[serde(default)]
    pub routes: Option<Vec<Route>>,
    /// Replaced whole.
    #[serde(default)]
    pub routing: Option<Routing>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 200)]
    pub owner: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = Date)]
    pub deprecated_at: Option<Option<String>>,
    #[serde(default)]
    pub enabled: Option<bool>,
}

pub async fn create_model(control: &Control, actor: &Actor, new: NewModel) -> Result<Model, ControlError> {
    check_model_id(&new.id)?;
    let now = control.clock.now();
    let mut model = Model {
        display_name: new.id.clone(),
        id: new.id,
        kind: new.kind,
        aliases: Vec::new(),
        capabilities: new.capabilities,
        context_window: None,
        max_input_tokens: None,
        max_output_tokens: None,
        prices: Vec::new(),
        source: None,
        routes: Vec::new(),
        routing: new.routing,
        owner: None,
        deprecated_at: None,
        enabled: true,
        created_at: now,
        updated_at: now,
    };
    let wishes = ModelPatch {
        kind: None,
        display_name: new.display_name,
        aliases: Some(new.aliases),
        capabilities: None,
        context_window: Some(new.context_window),
        max_input_tokens: Some(new.max_input_tokens),
        max_output_tokens: Some(new.max_output_tokens),
        prices: Some(new.prices),
        routes: Some(new.routes),
        routing: None,
        owner: Some(new.owner),
        deprecated_at: Some(new.deprecated_at),
        enabled: new.enabled,
    };
    let decide = |current: &Current| {
        let catalog = &current.catalog;
        if catalog.models.iter().any(|other| other.id == model.id) {
            return Err(ControlError::Conflict(format!("a model with the id {} exists", model.id)));
        }
        if let Some(other) = catalog.models.iter().find(|other| other.aliases.contains(&model.id)) {
            return Err(ControlError::Conflict(format!("{} is an alias of the model {}; take it away there first", model.id, other.id)));
        }
        apply(catalog, &mut model, wishes)?;
        let prices = history::records(control, current, None, &model, actor);
        Ok::<_, ControlError>((ModelChanges { models: vec![model.clone()], prices }, model))
    };
    let model = store::catalog::change_models(&control.db, decide).await?;
    publish(control).await?;
    audit::note(control, actor, "model.create", &model.id, describe(&model)).await;
    Ok(model)
}

/// Whether a model could be made so, as far as it depends on nothing else.
pub fn check_model(new: &NewModel) -> Result<(), ControlError> {
    check_id("id", &new.id, ID_LENGTH_MAX)?;
    check_tokens("context_window", new.context_window)?;
    check_tokens("max_output_tokens", new.max_output_tokens)?;
    pricing::validate(&new.prices).map_err(|error| ControlError::invalid("prices", error.to_string()))
}

pub async fn get_model(control: &Control, id: &str) -> Result<Model, ControlError> {
    store::catalog::get_model(&control.db, id).await?.ok_or_else(|| ControlError::NotFound(format!("model {id}")))
}

/// All models, by id, disabled ones too.
pub async fn list_models(control: &Control, page: &PageRequest) -> Result<Page<Model>, ControlError> {
    let catalog = store::catalog::load_all(&control.db).await?;
    Ok(Page::of_all(catalog.models, page, |model| model.id.clone()))
}

pub async fn patch_model(control: &Control, actor: &Actor, id: &str, patch: ModelPatch) -> Result<Model, ControlError> {
    let decide = |current: &Current| {
        let known = current.catalog.models.iter().find(|model| model.id == id);
        let known = known.ok_or_else(|| ControlError::NotFound(format!("model {id}")))?;
        let mut model = known.clone();
        apply(&current.catalog, &mut model, patch)?;
        model.updated_at = control.clock.now();
        let prices = history::records(control, current, Some(known), &model, actor);
        Ok::<_, ControlError>((ModelChanges { models: vec![model.clone()], prices }, model))
    };
    let model = store::catalog::change_models(&control.db, decide).await?;
    publish(control).await?;
    audit::note(control, actor, "model.update", id, describe(&model)).await;
    Ok(model)
}

pub async fn delete_model(control: &Control, actor: &Actor, id: &str) -> Result<(), ControlError> {
    if builtin::is_builtin_model(id) {
        return Err(ControlError::Conflict(format!("the model {id} is built in; disable it instead")));
    }
    let catalog = store::catalog::load_all(&control.db).await?;
    let users = catalog.models.iter().filter(|model| model.id != id && model.routing.fallbacks.iter().any(|fallback| fallback == id));
    let users: Vec<&str> = users.map(|model| model.id.as_str()).collect();
    if !users.is_empty() {
        let why = format!("models fall back to the model {id}: {}; change their fallbacks first, or disable the model", users.join(", "));
        return Err(ControlError::Conflict(why));
    }
    if !store::catalog::delete_model(&control.db, id).await? {
        return Err(ControlError::NotFound(format!("model {id}")));
    }
    publish(control).await?;
    audit::note(control, actor, "model.delete", id, json!({})).await;
    Ok(())
}

fn apply(catalog: &Catalog, model: &mut Model, patch: ModelPatch) -> Result<(), ControlError> {
    if let Some(kind) = patch.kind {
        model.kind = kind;
    }
    if let Some(display_name) = patch.display_name {
        check_text("display_name", &display_name, DISPLAY_NAME_LENGTH_MAX)?;
        model.display_name = display_name;
    }
    if let Some(aliases) = patch.aliases {
        check_aliases(&aliases, &model.id, &catalog.models)?;
        model.aliases = aliases;
    }
    if let Some(capabilities) = patch.capabilities {
        model.capabilities = capabilities;
    }
    if let Some(tokens) = patch.context_window {
        model.context_window = check_tokens("context_window", tokens)?;
    }
    if let Some(tokens) = patch.max_input_tokens {
        model.max_input_tokens = check_tokens("max_input_tokens", tokens)?;
    }
    if let Some(tokens) = patch.max_output_tokens {
        model.max_output_tokens = check_tokens("max_output_tokens", tokens)?;
    }
    if let Some(prices) = patch.prices {
        pricing::validate(&prices).map_err(|error| ControlError::invalid("prices", error.to_string()))?;
        (model.prices, model.source) = (prices, None);
    }
    if let Some(routes) = patch.routes {
        check_routes(&routes, &catalog.upstreams)?;
        model.routes = routes;
    }
    if let Some(routing) = patch.routing {
        model.routing = routing;
    }
    check_routing(model, &catalog.models)?;
    if let Some(owner) = patch.owner {
        if let Some(owner) = &owner {
            check_text("owner", owner, OWNER_LENGTH_MAX)?;
        }
        model.owner = owner;
    }
    if let Some(date) = patch.deprecated_at {
        if let Some(date) = &date {
            check_date("deprecated_at", date)?;
        }
        model.deprecated_at = date;
    }
    if let Some(enabled) = patch.enabled {
        model.enabled = enabled;
    }
    if model.enabled && model.is_price_unknown() {
        let why =
            "the file this model was imported from names no price for it; give it prices before it is enabled (micros 0 to give it away)";
        return Err(ControlError::invalid("prices", why));
    }
    Ok(())
}

fn check_aliases(aliases: &[String], id: &str, models: &[Model]) -> Result<(), ControlError> {
    if aliases.len() > ALIASES_MAX {
        return Err(ControlError::invalid("aliases", format!("aliases has {} entries; at most {ALIASES_MAX} are allowed", aliases.len())));
    }
    for (index, alias) in aliases.iter().enumerate() {
        let param = format!("aliases[{index}]");
        check_id(&param, alias, ID_LENGTH_MAX)?;
        if alias == id || aliases[..index].contains(alias) {
            return Err(ControlError::invalid(&param, format!("{param} repeats the id or an earlier alias")));
        }
        let taken = models.iter().filter(|other| other.id != id).find(|other| other.id == *alias || other.aliases.contains(alias));
        if let Some(other) = taken {
            return Err(ControlError::invalid(&param, format!("{param} is taken by the model {}", other.id)));
        }
    }
    Ok(())
}

pub(super) fn check_model_id(id: &str) -> Result<(), ControlError> {
    check_id("id", id, ID_LENGTH_MAX)?;
    // Ids are the end of a path, and there these mean something else.
    if id == "import" || id.ends_with("/prices") {
        return Err(ControlError::invalid("id", "id must not be 'import' and must not end in '/prices'"));
    }
    Ok(())
}

fn check_tokens(param: &str, tokens: Option<u64>) -> Result<Option<u64>, ControlError> {
    if let Some(tokens) = tokens {
        check_range(param, tokens, 1, TOKENS_MAX)?;
    }
    Ok(tokens)
}

fn check_routes(routes: &[Route], upstreams: &[Upstream]) -> Result<(), ControlError> {
    if routes.len() > ROUTES_MAX {
        return Err(ControlError::invalid("routes", format!("routes has {} entries; at most {ROUTES_MAX} are allowed", routes.len())));
    }
    for (index, route) in routes.iter().enumerate() {
        let param = |field: &str| format!("routes[{index}].{field}");
        if upstreams.iter().all(|upstream| upstream.name != route.upstream) {
            let why = format!("routes[{index}] names the upstream '{}', which does not exist; create it first", route.upstream);
            return Err(ControlError::invalid(&param("upstream"), why));
        }
        check_id(&param("upstream_model"), &route.upstream_model, ID_LENGTH_MAX)?;
        check_range(&param("weight"), route.weight, 0, WEIGHT_MAX)?;
        check_range(&param("priority"), route.priority, -PRIORITY_MAX, PRIORITY_MAX)?;
        pricing::validate(&route.costs).map_err(|error| ControlError::invalid(&param("costs"), error.to_string()))?;
        let target = |route: &Route| (route.upstream.clone(), route.upstream_model.clone());
        if routes[..index].iter().any(|earlier| target(earlier) == target(route)) {
            let why = format!("routes[{index}] repeats an earlier route to {} of {}", route.upstream_model, route.upstream);
            return Err(ControlError::invalid(&param("upstream_model"), why));
        }
    }
    Ok(())
}

fn check_routing(model: &Model, models: &[Model]) -> Result<(), ControlError> {
    let Routing { fallbacks, max_concurrency, .. } = &model.routing;
    if let Some(max) = max_concurrency {
        check_range("routing.max_concurrency", *max, 1, CONCURRENCY_MAX)?;
    }
    if fallbacks.len() > FALLBACKS_MAX {
        return Err(ControlError::invalid("routing.fallbacks", format!("routing.fallbacks has more than {FALLBACKS_MAX} entries")));
    }
    for (index, id) in fallbacks.iter().enumerate() {
        let refuse = |why: String| Err(ControlError::invalid(&format!("routing.fallbacks[{index}]"), why));
        let Some(other) = models.iter().find(|other| other.id == *id) else {
            return refuse(format!("routing.fallbacks[{index}] names the model '{id}', which does not exist"));
        };
        if *id == model.id || other.kind != model.kind {
            return refuse(format!("routing.fallbacks[{index}] must be another model of the same kind"));
        }
    }
    Ok(())
}

fn describe(model: &Model) -> serde_json::Value {
    json!({
        "kind": model.kind,
        "aliases": model.aliases,
        "capabilities": model.capabilities,
        "context_window": model.context_window,
        "max_input_tokens": model.max_input_tokens,
        "max_output_tokens": model.max_output_tokens,
        "prices": model.prices,
        "routes": model.routes,
        "routing": model.routing,
        "owner": model.owner,
        "deprecated_at": model.deprecated_at,
        "enabled": model.enabled,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalog::ProviderKind;

    fn upstream(name: &str) -> Upstream {
        Upstream::new(name, ProviderKind::Echo, 0)
    }

    fn route(upstream: &str, upstream_model: &str) -> Route {
        Route { upstream: upstream.to_owned(), upstream_model: upstream_model.to_owned(), weight: 1, priority: 0, costs: Vec::new() }
    }

    #[track_caller]
    fn check(routes: &[Route], refused: Option<&str>) {
        let outcome = check_routes(routes, &[upstream("a"), upstream("b")]);
        let param = outcome.err().map(|error| match error {
            ControlError::Invalid { param, .. } => param.unwrap_or_default(),
            other => panic!("{other}"),
        });
        assert_eq!(param.as_deref(), refused);
    }

    #[test]
    fn routes_lead_somewhere_and_differ() {
        check(&[], None);
        check(&[route("a", "m"), route("b", "m"), route("a", "n")], None);
        check(&[route("a", "m"), route("c", "m")], Some("routes[1].upstream"));
        check(&[route("a", "")], Some("routes[0].upstream_model"));
        check(&[route("a", "m"), route("a", "m")], Some("routes[1].upstream_model"));
        check(&[Route { weight: WEIGHT_MAX + 1, ..route("a", "m") }], Some("routes[0].weight"));
        check(&[Route { priority: i32::MIN, ..route("a", "m") }], Some("routes[0].priority"));
    }
}
