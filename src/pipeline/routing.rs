//! Which upstreams to try for a model, in which order.

use crate::{
    actors::catalog::{Candidate, ModelEntry},
    clock::fill_random,
    domain::route,
};

/// All candidates of a model: healthy ones first, by priority, and by weighted chance inside one priority.
pub fn candidates(model: &ModelEntry) -> Vec<&Candidate> {
    if let [only] = model.candidates.as_slice() {
        return vec![only];
    }
    let described: Vec<route::Candidate> = model
        .candidates
        .iter()
        .enumerate()
        .map(|(index, candidate)| route::Candidate {
            index,
            priority: candidate.priority,
            weight: candidate.weight,
            healthy: candidate.gate.is_healthy(),
        })
        .collect();
    route::order(&described, below).into_iter().map(|index| &model.candidates[index]).collect()
}

/// A random number below `bound`; the bias of the remainder is far below what weights can express.
fn below(bound: u64) -> u64 {
    let mut random = [0; 8];
    fill_random(&mut random);
    u64::from_le_bytes(random) % bound.max(1)
}
