//! What can be called: models with frozen prices and routes, and the upstreams behind them, as one snapshot for every thread.
//!
//! Owns: the snapshot and the life of the [`upstream`](super::upstream) actors. Asked: [`Reload`] after every write to the catalogue.
//! When the store is away: the last snapshot stays.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;

use super::{
    places::Places,
    supervision::{ActorTree, AskError, Ctx, Fault, Handle, Message, Receive, Reply, Service, ServiceContext, Spec, Vitals, spawn},
    upstream::{self, Configuration, Gate},
};
use crate::{
    clock::Clock,
    domain::{
        catalog::{self as rules, Model, Upstream},
        pricing::PriceList,
        route::{BreakerPolicy, Variant, hash_text},
    },
    store::{self, Db, StoreError, seal::Sealer},
    telemetry::metrics::Metrics,
    upstream::{ApiKey, Connector, Target},
};

const MAILBOX: usize = 256;
const RELOAD_DEADLINE: Duration = Duration::from_secs(10);
/// Catches writes of other nodes that this one was not told of.
const RELOAD_EVERY: Duration = Duration::from_secs(30);
/// How long calls that run may finish on an upstream that is gone or changed.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// One way to serve a model.
pub struct Candidate {
    pub gate: Arc<Gate>,
    pub upstream_model: Arc<str>,
    pub weight: u32,
    pub priority: i32,
    /// What it costs the operator; `None` when nobody said.
    pub costs: Option<PriceList>,
    /// The same on every node.
    pub identity: u64,
}

/// A model as calls see it. Prices are those at admission, because a call keeps its entry to the end.
pub struct ModelEntry {
    pub id: Arc<str>,
    pub model: Model,
    pub prices: PriceList,
    pub candidates: Vec<Candidate>,
    /// Places for calls, when their number is limited.
    pub places: Option<Arc<Places>>,
}

/// Everything that can be called at one moment.
#[derive(Default)]
pub struct Snapshot {
    models: HashMap<String, Arc<ModelEntry>>,
    /// Aliases and short names.
    names: HashMap<String, Arc<ModelEntry>>,
    upstreams: BTreeMap<String, (Upstream, Arc<Gate>)>,
}

/// What a caller means by a model's name.
pub struct Resolved<'a> {
    pub entry: &'a Arc<ModelEntry>,
    pub variant: Option<Variant>,
}

impl Snapshot {
    /// An enabled model by its id, an alias or its short name, without any suffix.
    pub fn model(&self, name: &str) -> Option<&Arc<ModelEntry>> {
        self.models.get(name).or_else(|| self.names.get(name))
    }

    /// An enabled model by what a caller may call it, also with the suffix of a [`Variant`]. A name that is known as it stands is
    /// not taken apart, because ids may contain `:`.
    pub fn resolve(&self, name: &str) -> Option<Resolved<'_>> {
        if let Some(entry) = self.model(name) {
            return Some(Resolved { entry, variant: None });
        }
        let (model, variant) = Variant::split(name)?;
        self.model(model).map(|entry| Resolved { entry, variant: Some(variant) })
    }

    /// The gate of an enabled upstream.
    pub fn gate(&self, upstream: &str) -> Option<&Arc<Gate>> {
        self.upstreams.get(upstream).map(|(_, gate)| gate)
    }

    /// Enabled models that some enabled upstream serves, by id.
    pub fn models(&self) -> Vec<&Arc<ModelEntry>> {
        let mut models: Vec<_> = self.models.values().filter(|entry| !entry.candidates.is_empty()).collect();
        models.sort_by(|left, right| left.id.cmp(&right.id));
        models
    }
}

/// Reads the snapshot from every thread, and has it renewed.
#[derive(Clone)]
pub struct CatalogClient {
    snapshot: Arc<ArcSwap<Snapshot>>,
    actor: Handle<Catalog>,
}

#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error(transparent)]
    Actor(#[from] AskError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CatalogClient {
    pub fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// After this, every new call sees what the store holds.
    pub async fn reload(&self) -> Result<(), ReloadError> {
        Ok(self.actor.ask(Reload, RELOAD_DEADLINE).await??)
    }
}

#[derive(Clone)]
pub struct Parts {
    pub db: Db,
    pub sealer: Sealer,
    pub clock: Clock,
    pub metrics: Metrics,
    pub tree: ActorTree,
    pub connector: Connector,
    pub breaker: BreakerPolicy,
}

pub struct Catalog {
    parts: Parts,
    snapshot: Arc<ArcSwap<Snapshot>>,
    vitals: Arc<std::sync::OnceLock<Arc<Vitals>>>,
}

/// The places of a model; those it has stay as long as their number does, with the calls in them.
fn places_of(current: &Snapshot, model: &Model) -> Option<Arc<Places>> {
    let max = model.routing.max_concurrency?;
    let known = current.models.get(&model.id).filter(|known| known.model.routing.max_concurrency == Some(max));
    known.and_then(|known| known.places.clone()).or_else(|| Some(Arc::new(Places::new(Some(max)))))
}

/// Starts the catalogue on the current thread; it is empty until the first [`CatalogClient::reload`].
pub fn start(parts: Parts, parent: &Arc<Vitals>) -> CatalogClient {
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
    let vitals = Arc::new(std::sync::OnceLock::new());
    let (tree, for_factory) = (parts.tree.clone(), (parts, snapshot.clone(), vitals.clone()));
    let factory = move || Catalog { parts: for_factory.0.clone(), snapshot: for_factory.1.clone(), vitals: for_factory.2.clone() };
    let actor = spawn(&tree, Spec::new("catalog", MAILBOX, factory).under(parent));
    // Set once: a rebuilt catalogue keeps its vitals.
    let _ = vitals.set(actor.vitals().clone());
    CatalogClient { snapshot, actor }
}

impl Catalog {
    fn renew(&self, models: Vec<Model>, configured: Vec<Upstream>, ctx: &mut Ctx<Self>) {
        let current = self.snapshot.load();
        let mut upstreams = BTreeMap::new();
        for configuration in configured.into_iter().filter(|upstream| upstream.enabled) {
            let same = current.upstreams.get(&configuration.name).filter(|(known, _)| *known == configuration);
            let gate = match same {
                Some((_, gate)) => gate.clone(),
                None => match self.start_upstream(&configuration) {
                    Ok(gate) => gate,
                    Err(error) => {
                        tracing::error!(upstream = %configuration.name, error = %error, "upstream cannot be used");
                        continue;
                    }
                },
            };
            upstreams.insert(configuration.name.clone(), (configuration, gate));
        }
        for (name, (_, gate)) in &current.upstreams {
            if !upstreams.get(name).is_some_and(|(_, kept)| Arc::ptr_eq(kept, gate)) {
                if !upstreams.contains_key(name) {
                    self.parts.metrics.forget_upstream(name);
                }
                let actor = gate.actor().clone();
                ctx.run(async move { actor.stop(STOP_DEADLINE).await }, |_, _, _| {});
            }
        }
        let models = models.into_iter().filter(|model| model.enabled).map(|model| {
            let candidates = model.routes.iter().filter_map(|route| {
                let (_, gate) = upstreams.get(&route.upstream)?;
                Some(Candidate {
                    gate: gate.clone(),
                    upstream_model: route.upstream_model.as_str().into(),
                    // A route's own weight and priority refine those of its upstream.
                    weight: route.weight.saturating_mul(gate.weight.max(1)),
                    priority: route.priority.saturating_add(gate.priority),
                    costs: (!route.costs.is_empty()).then(|| PriceList(route.costs.clone())),
                    identity: gate.identity ^ hash_text(&route.upstream_model),
                })
            });
            let entry = ModelEntry {
                id: model.id.as_str().into(),
                prices: PriceList(model.prices.clone()),
                candidates: candidates.collect(),
                places: places_of(&current, &model),
                model,
            };
            (entry.model.id.clone(), Arc::new(entry))
        });
        let models: HashMap<String, Arc<ModelEntry>> = models.collect();
        let known = rules::names(models.values().map(|entry| (&entry.model, !entry.candidates.is_empty())));
        let names = known.into_iter().filter_map(|(name, id)| Some((name.to_owned(), models.get(id)?.clone()))).collect();
        self.snapshot.store(Arc::new(Snapshot { models, names, upstreams }));
    }

    fn start_upstream(&self, upstream: &Upstream) -> Result<Arc<Gate>, StoreError> {
        let api_key = match upstream.sealed_api_key.as_slice() {
            [] => ApiKey::new(""),
            sealed => ApiKey::new(self.parts.sealer.open(&upstream.name, sealed)?),
        };
        let target = Target::new(upstream.name.clone(), upstream.provider, upstream.base_url.clone(), api_key, upstream.timeouts);
        let configuration = Configuration {
            target: Arc::new(target),
            weight: upstream.weight,
            priority: upstream.priority,
            max_concurrency: upstream.max_concurrency,
            breaker: self.parts.breaker,
        };
        let parts = &self.parts;
        let vitals = self.vitals.get().ok_or_else(|| StoreError::Unavailable("the catalogue is still starting".into()))?;
        Ok(upstream::start(&parts.tree, vitals, configuration, &parts.connector, &parts.clock, &parts.metrics))
    }

    fn reload(&self, ctx: &mut Ctx<Self>, reply: Option<Reply<Result<(), StoreError>>>) {
        let db = self.parts.db.clone();
        let load = async move { store::catalog::load_enabled(&db).await };
        // One after the other, so that an older read never replaces a newer one.
        ctx.run_first(load, move |catalog, loaded, ctx| {
            let outcome = loaded.map(|loaded| catalog.renew(loaded.models, loaded.upstreams, ctx));
            match reply {
                Some(reply) => drop(reply.send(outcome)),
                None => {
                    if let Err(error) = outcome {
                        tracing::warn!(error = %error, "the catalogue could not be read again; the last one stays");
                    }
                }
            }
        });
    }
}

impl Service for Catalog {
    const KIND: &'static str = "catalog";

    fn started(&mut self, ctx: &mut Ctx<Self>) {
        ctx.every(RELOAD_EVERY, |catalog, ctx| catalog.reload(ctx, None));
    }

    fn observe(&self) -> serde_json::Value {
        let snapshot = self.snapshot.load();
        serde_json::json!({ "models": snapshot.models.len(), "upstreams": snapshot.upstreams.len() })
    }
}

/// Read the catalogue from the store and publish it.
pub struct Reload;

impl Message for Reload {
    type Reply = Result<(), StoreError>;
}

impl Receive<Reload> for Catalog {
    fn receive(&mut self, _: Reload, reply: Reply<Result<(), StoreError>>, ctx: &mut Ctx<Self>) -> Result<(), Fault> {
        self.reload(ctx, Some(reply));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        catalog::{Capabilities, ModelKind},
        route::Routing,
    };

    fn snapshot(ids: &[&str], names: &[(&str, &str)]) -> Snapshot {
        let entry = |id: &str| {
            let model = Model {
                id: id.to_owned(),
                kind: ModelKind::Chat,
                display_name: id.to_owned(),
                aliases: Vec::new(),
                capabilities: Capabilities::default(),
                context_window: None,
                max_input_tokens: None,
                max_output_tokens: None,
                prices: Vec::new(),
                source: None,
                routes: Vec::new(),
                routing: Routing::default(),
                owner: None,
                deprecated_at: None,
                enabled: true,
                created_at: 0,
                updated_at: 0,
            };
            Arc::new(ModelEntry { id: id.into(), prices: PriceList::default(), candidates: Vec::new(), places: None, model })
        };
        let models: HashMap<_, _> = ids.iter().map(|id| ((*id).to_owned(), entry(id))).collect();
        let names = names.iter().map(|(name, id)| ((*name).to_owned(), models[*id].clone())).collect();
        Snapshot { models, names, upstreams: BTreeMap::new() }
    }

    #[test]
    fn a_name_is_taken_as_it_stands_before_its_suffix_counts() {
        let snapshot = snapshot(&["a/m", "a/m:floor", "b/n:8b", "c/o"], &[("m", "a/m"), ("n:8b", "b/n:8b"), ("c/o:nitro", "a/m")]);
        let check = |name: &str, expected: Option<(&str, Option<Variant>)>| {
            let found = snapshot.resolve(name).map(|resolved| (&*resolved.entry.id, resolved.variant));
            assert_eq!(found, expected, "{name}");
        };
        check("a/m", Some(("a/m", None)));
        check("m", Some(("a/m", None)));
        check("m:floor", Some(("a/m", Some(Variant::Cheapest))));
        check("m:nitro", Some(("a/m", Some(Variant::Fastest))));
        check("a/m:floor", Some(("a/m:floor", None)));
        check("a/m:floor:floor", Some(("a/m:floor", Some(Variant::Cheapest))));
        check("n:8b", Some(("b/n:8b", None)));
        check("b/n:8b:nitro", Some(("b/n:8b", Some(Variant::Fastest))));
        check("c/o:nitro", Some(("a/m", None)));
        for unknown in ["a/m:free", "a/m:", ":floor", "", "b/n", "b/n:floor", "x"] {
            check(unknown, None);
        }
        assert!(snapshot.models().is_empty(), "nobody serves them");
    }
}
