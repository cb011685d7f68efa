//! Which upstreams to try for a model, in which order.

use super::admission::Admitted;
use crate::{
    actors::catalog::{Candidate, ModelEntry},
    clock::fill_random,
    domain::{
        pricing::{Ceiling, PriceList},
        route::{self, Choice, Strategy, Variant},
    },
};

/// All candidates of a model in the order to try them for this call; see [`route::order`].
pub fn candidates<'a>(model: &'a ModelEntry, call: &Admitted) -> Vec<&'a Candidate> {
    order(model, call.variant, &call.account_id, &call.ceiling)
}

/// The same for whoever calls, with at most so much usage.
pub fn order<'a>(model: &'a ModelEntry, variant: Option<Variant>, account_id: &str, ceiling: &Ceiling) -> Vec<&'a Candidate> {
    if let [only] = model.candidates.as_slice() {
        return vec![only];
    }
    let routing = &model.model.routing;
    let choice = Choice {
        strategy: routing.strategy,
        variant,
        sticky: routing.sticky.then(|| route::hash_text(account_id) ^ route::hash_text(&model.id)),
    };
    let by_cost = choice.strategy == Strategy::Cost || choice.variant == Some(Variant::Cheapest);
    let cost = |costs: &PriceList| costs.worst_case(ceiling);
    let described: Vec<route::Candidate> = model
        .candidates
        .iter()
        .enumerate()
        .map(|(index, candidate)| route::Candidate {
            index,
            priority: candidate.priority,
            weight: candidate.weight,
            healthy: candidate.gate.is_healthy(),
            load: candidate.gate.load(),
            cost: candidate.costs.as_ref().filter(|_| by_cost).map(cost),
            identity: candidate.identity,
        })
        .collect();
    route::order(&described, choice, below).into_iter().map(|index| &model.candidates[index]).collect()
}

/// The most a call can cost over a model and those that may answer for it.
pub fn dearest<'a>(models: impl Iterator<Item = &'a ModelEntry>, ceiling: &Ceiling) -> crate::domain::Micros {
    models.map(|model| model.prices.worst_case(ceiling)).max().unwrap_or(0)
}

/// A random number below `bound`; the bias of the remainder is far below what weights can express.
fn below(bound: u64) -> u64 {
    let mut random = [0; 8];
    fill_random(&mut random);
    u64::from_le_bytes(random) % bound.max(1)
}
