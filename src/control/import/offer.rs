//! Upstreams and models as importers want them, compared with what there is.

use super::{Outcome, Report};
use crate::{
    control::{
        Actor, Control, ControlError,
        catalog::{self, ModelPatch, NewModel, NewUpstream},
    },
    domain::{
        catalog::{Model, ModelKind, ProviderKind, Route},
        pricing::Price,
    },
    store,
    telemetry::redact::Secret,
};

/// Names that are tried before an upstream is given up.
const NAME_TRIES: usize = 1_000;

/// An upstream that should be there.
pub struct WantedUpstream {
    /// Its name, when that is free.
    pub name: String,
    pub provider: ProviderKind,
    pub base_url: String,
    pub api_key: Option<Secret>,
    pub max_concurrency: Option<u32>,
    pub total_ms: Option<u64>,
    pub enabled: bool,
    /// What to say of it in the report.
    pub note: String,
}

/// A model that should be there.
pub struct WantedModel {
    pub id: String,
    pub kind: ModelKind,
    pub context_window: Option<u64>,
    pub max_output_tokens: Option<u64>,
    /// `None` when what is imported does not say.
    pub prices: Option<Vec<Price>>,
    /// Models of ours that may have the price, when nothing else says it.
    pub priced_like: Vec<String>,
    pub routes: Vec<Route>,
    pub note: String,
}

struct Known {
    name: String,
    provider: ProviderKind,
    base_url: String,
    api_key: Secret,
}

/// What is offered here, growing with the import.
pub struct Offer<'a> {
    control: &'a Control,
    actor: Actor,
    upstreams: Vec<Known>,
    models: Vec<Model>,
}

impl<'a> Offer<'a> {
    pub async fn load(control: &'a Control) -> Result<Self, ControlError> {
        let stored = store::catalog::load_all(&control.db).await?;
        let mut upstreams = Vec::with_capacity(stored.upstreams.len());
        for upstream in stored.upstreams {
            let api_key = match upstream.sealed_api_key.as_slice() {
                [] => Secret::default(),
                sealed => Secret::new(control.sealer.open(&upstream.name, sealed)?),
            };
            upstreams.push(Known { name: upstream.name, provider: upstream.provider, base_url: upstream.base_url, api_key });
        }
        Ok(Self { control, actor: Actor::system(), upstreams, models: stored.models })
    }

    /// Finds or makes an upstream; `None` when it cannot be made, which the report says.
    pub async fn upstream(&mut self, wanted: WantedUpstream, report: &mut Report) -> Result<Option<String>, ControlError> {
        let api_key = wanted.api_key.unwrap_or_default();
        let same = |known: &&Known| known.provider == wanted.provider && known.base_url == wanted.base_url && known.api_key == api_key;
        if let Some(known) = self.upstreams.iter().find(same) {
            // Many deployments share one upstream; it is told of once.
            if !report.mentions("upstream", &known.name) {
                report.add("upstream", known.name.clone(), Outcome::Unchanged, wanted.note);
            }
            return Ok(Some(known.name.clone()));
        }
        let Some(name) = self.free_name(&wanted.name) else {
            report.add("upstream", wanted.name, Outcome::LeftOut, "all names like this one are taken");
            return Ok(None);
        };
        let new = NewUpstream {
            base_url: Some(wanted.base_url.clone()),
            api_key: Some(api_key.clone()).filter(|key| !key.is_empty()),
            max_concurrency: wanted.max_concurrency,
            timeouts: wanted.total_ms.map(|total_ms| catalog::TimeoutsInput { total_ms: Some(total_ms), ..Default::default() }),
            enabled: Some(wanted.enabled),
            ..NewUpstream::of(name.clone(), wanted.provider)
        };
        let outcome = match report.dry_run {
            true => catalog::check_upstream(self.control, new),
            false => catalog::create_upstream(self.control, &self.actor, new).await.map(|_| ()),
        };
        if let Some(why) = refusal(outcome)? {
            report.add("upstream", name, Outcome::LeftOut, why);
            return Ok(None);
        }
        let note = if wanted.enabled { wanted.note } else { join(&[&wanted.note, "disabled, as it was"]) };
        report.add("upstream", name.clone(), Outcome::Made, note);
        self.upstreams.push(Known { name: name.clone(), provider: wanted.provider, base_url: wanted.base_url, api_key });
        Ok(Some(name))
    }

    fn free_name(&self, wished: &str) -> Option<String> {
        let numbered = (2..NAME_TRIES).map(|number| format!("{wished}-{number}"));
        std::iter::once(wished.to_owned()).chain(numbered).find(|name| self.upstreams.iter().all(|known| known.name != *name))
    }

    /// Makes a model, or adds the routes that one of this id lacks.
    pub async fn model(&mut self, wanted: WantedModel, report: &mut Report) -> Result<(), ControlError> {
        if let Some(known) = self.models.iter().find(|model| model.id == wanted.id).cloned() {
            return self.add_routes(known, wanted, report).await;
        }
        let like = |id: &String| self.models.iter().find(|model| model.id == *id && !model.prices.is_empty());
        let found = wanted
            .prices
            .map(|prices| (prices, String::new()))
            .or_else(|| wanted.priced_like.iter().find_map(like).map(|model| (model.prices.clone(), format!("priced like {}", model.id))));
        let (prices, price_note, is_priced) = match found {
            Some((prices, note)) => (prices, note, true),
            None => (Vec::new(), "disabled, because no price is known; set prices, then enable it".to_owned(), false),
        };
        let new = NewModel {
            context_window: wanted.context_window,
            max_output_tokens: wanted.max_output_tokens,
            prices,
            routes: wanted.routes.clone(),
            enabled: Some(is_priced),
            ..NewModel::of(wanted.id.clone(), wanted.kind)
        };
        let outcome = match report.dry_run {
            true => catalog::check_model(&new),
            false => catalog::create_model(self.control, &self.actor, new).await.map(|model| self.models.push(model)),
        };
        match refusal(outcome)? {
            Some(why) => report.add("model", wanted.id, Outcome::LeftOut, why),
            None => report.add("model", wanted.id, Outcome::Made, join(&[&price_note, &wanted.note])),
        }
        Ok(())
    }

    async fn add_routes(&mut self, known: Model, wanted: WantedModel, report: &mut Report) -> Result<(), ControlError> {
        let target = |route: &Route| (route.upstream.clone(), route.upstream_model.clone());
        let missing: Vec<Route> =
            wanted.routes.into_iter().filter(|route| known.routes.iter().all(|other| target(other) != target(route))).collect();
        if missing.is_empty() {
            report.add("model", known.id, Outcome::Unchanged, wanted.note);
            return Ok(());
        }
        let added = format!("{} routes added; its prices stay", missing.len());
        let routes: Vec<Route> = known.routes.iter().cloned().chain(missing).collect();
        if !report.dry_run {
            let patch = ModelPatch { routes: Some(routes), ..ModelPatch::default() };
            let outcome = catalog::patch_model(self.control, &self.actor, &known.id, patch).await;
            if let Some(why) = refusal(outcome.map(|_| ()))? {
                report.add("model", known.id, Outcome::LeftOut, why);
                return Ok(());
            }
        }
        let disabled = if known.enabled { "" } else { "it is disabled" };
        report.add("model", known.id, Outcome::Changed, join(&[&added, disabled, &wanted.note]));
        Ok(())
    }
}

/// What the rules say against it; everything else stops the import.
pub fn refusal(outcome: Result<(), ControlError>) -> Result<Option<String>, ControlError> {
    match outcome {
        Ok(()) => Ok(None),
        Err(ControlError::Invalid { message, .. }) => Ok(Some(message)),
        Err(ControlError::Conflict(message)) => Ok(Some(message)),
        Err(error) => Err(error),
    }
}

/// The parts that say something, as one sentence.
pub fn join(parts: &[&str]) -> String {
    let said: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    said.join("; ")
}
