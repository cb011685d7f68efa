//! Which upstream to try, in which order, and when to leave a failing one alone.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::{Micros, Timestamp};

/// What a caller asks of routing beyond the model, by a suffix of its name. It looks at all healthy candidates, whatever their priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// `:floor`: the cheapest route first.
    Cheapest,
    /// `:nitro`: the fastest route first.
    Fastest,
}

impl Variant {
    /// Splits a model's name from its variant; `None` when it ends in none.
    pub fn split(name: &str) -> Option<(&str, Self)> {
        let (model, suffix) = name.rsplit_once(':')?;
        match suffix {
            "floor" => Some((model, Self::Cheapest)),
            "nitro" => Some((model, Self::Fastest)),
            _ => None,
        }
    }
}

/// A route that could serve a call. `index` is the caller's, everything else decides the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    pub index: usize,
    /// Lower is tried first.
    pub priority: i32,
    /// Share of the calls inside one priority; 0 is tried only after the others.
    pub weight: u32,
    /// Unhealthy candidates come last, whatever their priority: trying them beats giving up.
    pub healthy: bool,
    /// How long its answers take to begin, times the calls it is busy with; 0 when nothing is known, so that it gets tried.
    pub load: u64,
    /// What this call would cost the operator there; `None` when nobody said.
    pub cost: Option<Micros>,
    /// Who it is, for sticky choices; the same on every node.
    pub identity: u64,
}

/// How candidates of one priority are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// By weighted chance.
    #[default]
    Weighted,
    /// Of two drawn by weighted chance, the one with less load.
    Latency,
    /// The cheapest for the operator; those without a stated cost come last.
    Cost,
}

/// How a model's calls find their upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Routing {
    pub strategy: Strategy,
    /// Calls of one account keep to one upstream as long as it is healthy, so that its prompt cache stays warm. Wins over `strategy`.
    pub sticky: bool,
    /// Models that answer instead when no upstream of this one does, in this order. The call then costs what the answering model costs.
    pub fallbacks: Vec<String>,
    /// Calls of this model at the same time on one node; more wait a moment, then get 503 `overloaded`.
    #[schema(minimum = 1)]
    pub max_concurrency: Option<u32>,
}

/// What an order depends on besides the candidates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Choice {
    pub strategy: Strategy,
    pub variant: Option<Variant>,
    /// Hash of whoever should keep to one upstream.
    pub sticky: Option<u64>,
}

/// The indices of all candidates in the order to try them: healthy ones first, by priority, and inside one priority as `choice` says.
/// `draw(n)` answers with a uniformly random number below `n`; it is asked only where there is a choice.
pub fn order(candidates: &[Candidate], choice: Choice, mut draw: impl FnMut(u64) -> u64) -> Vec<usize> {
    let priority = |candidate: &Candidate| if choice.variant.is_some() { 0 } else { candidate.priority };
    let rank = |candidate: &Candidate| (Reverse(candidate.healthy), priority(candidate));
    let strategy = match choice.variant {
        Some(Variant::Cheapest) => Strategy::Cost,
        Some(Variant::Fastest) => Strategy::Latency,
        None => choice.strategy,
    };
    let mut sorted = candidates.to_vec();
    sorted.sort_by_key(rank);
    let mut ordered = Vec::with_capacity(sorted.len());
    for equals in sorted.chunk_by(|left, right| rank(left) == rank(right)) {
        let mut rest = equals.to_vec();
        match (choice.sticky.filter(|_| choice.variant.is_none()), strategy) {
            (Some(who), _) => {
                rest.sort_by(|left, right| score(right, who).total_cmp(&score(left, who)));
                ordered.extend(rest.iter().map(|candidate| candidate.index));
                continue;
            }
            (None, Strategy::Cost) => {
                rest.sort_by_key(|candidate| (candidate.cost.is_none(), candidate.cost));
                ordered.extend(rest.iter().map(|candidate| candidate.index));
                continue;
            }
            _ => {}
        }
        while !rest.is_empty() {
            let mut next = choose(&rest, &mut draw);
            if strategy == Strategy::Latency && rest.len() > 1 {
                let first = rest.swap_remove(next);
                let other = choose(&rest, &mut draw);
                let second = rest[other];
                rest.push(first);
                next = if second.load < first.load { other } else { rest.len() - 1 };
            }
            ordered.push(rest.remove(next).index);
        }
    }
    ordered
}

/// Weighted rendezvous hashing: everybody ranks the candidates by a hash of both, so that one that goes away moves only its own callers.
fn score(candidate: &Candidate, who: u64) -> f64 {
    let mixed = mix(who ^ mix(candidate.identity));
    // In (0, 1), never its ends.
    let uniform = ((mixed >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -f64::from(candidate.weight) / uniform.ln()
}

/// Spreads neighbouring numbers over all bits (the finaliser of MurmurHash3).
pub fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let number = (number ^ (number >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    number ^ (number >> 33)
}

/// The same number for the same text, on every node.
pub fn hash_text(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| mix(hash ^ u64::from(byte)))
}

/// Position of one of `rest` (not empty), by weight.
fn choose(rest: &[Candidate], draw: &mut impl FnMut(u64) -> u64) -> usize {
    let total: u64 = rest.iter().map(|candidate| u64::from(candidate.weight)).sum();
    if rest.len() == 1 || total == 0 {
        return 0;
    }
    let drawn = draw(total);
    let mut passed = 0;
    let chosen = rest.iter().position(|candidate| {
        passed += u64::from(candidate.weight);
        drawn < passed
    });
    chosen.unwrap_or(rest.len() - 1)
}

/// How much an upstream may be asked again: a share of its calls and a few a second, so that a failing upstream is not buried in retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    /// Thousandths of a retry.
    saved: u64,
    refilled_at: Timestamp,
}

impl RetryBudget {
    /// A retry for every five calls.
    const EARNED_PER_CALL: u64 = 200;
    const EARNED_PER_SECOND: u64 = 10_000;
    const SAVED_MAX: u64 = 100_000;
    const RETRY: u64 = 1_000;

    pub fn new(now: Timestamp) -> Self {
        Self { saved: Self::SAVED_MAX, refilled_at: now }
    }

    /// A first attempt was made.
    pub fn on_call(&mut self) {
        self.saved = (self.saved + Self::EARNED_PER_CALL).min(Self::SAVED_MAX);
    }

    /// Whether one more retry may be made now; it is taken then.
    pub fn take(&mut self, now: Timestamp) -> bool {
        let elapsed_us = u64::try_from(now - self.refilled_at).unwrap_or(0);
        let earned = (u128::from(elapsed_us) * u128::from(Self::EARNED_PER_SECOND) / 1_000_000).min(u128::from(Self::SAVED_MAX)) as u64;
        if earned > 0 {
            self.saved = (self.saved + earned).min(Self::SAVED_MAX);
            self.refilled_at = now;
        }
        match self.saved.checked_sub(Self::RETRY) {
            Some(rest) => {
                self.saved = rest;
                true
            }
            None => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerPolicy {
    /// Failures in a row that open a breaker.
    pub failures_to_open: u32,
    /// How long it stays open the first time; doubled by every failed probe.
    pub open_for_ms: u64,
    /// Longest time open. Also how long a probe may stay without a verdict before the next one is let through.
    pub open_for_ms_max: u64,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures_to_open: 5, open_for_ms: 5_000, open_for_ms_max: 60_000 }
    }
}

/// Keeps calls away from an upstream that fails, and lets one probe at a time find out whether it is back.
///
/// ```text
///            failures_to_open in a row              time is up: Probe
///   Closed ───────────────────────────▶ Open ─────────────────────────▶ HalfOpen
///     ▲                                  ▲       probe failed (twice as long)  │
///     │                                  └─────────────────────────────────────┤
///     └────────────────────────────────────────────────────────────────────────┘
///                                 probe succeeded
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    policy: BreakerPolicy,
    state: BreakerState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// All calls pass.
    Closed {
        /// In a row.
        failures: u32,
    },
    /// No call passes before `until`.
    Open { until: Timestamp, backoff_ms: u64 },
    /// One probe is under way; the next is let through at `probe_until` should this one never be heard of again.
    HalfOpen { probe_until: Timestamp, backoff_ms: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    Yes,
    /// Go ahead, as the only one; the verdict on this call decides.
    Probe,
    No {
        retry_at: Timestamp,
    },
}

impl Breaker {
    pub fn new(policy: BreakerPolicy) -> Self {
        Self { policy, state: BreakerState::Closed { failures: 0 } }
    }

    pub fn state(&self) -> BreakerState {
        self.state
    }

    /// What [`Self::permits`] would answer, without using up the probe.
    pub fn peek(&self, now: Timestamp) -> Permit {
        match self.state {
            BreakerState::Closed { .. } => Permit::Yes,
            BreakerState::Open { until: retry_at, .. } | BreakerState::HalfOpen { probe_until: retry_at, .. } => {
                if retry_at <= now {
                    Permit::Probe
                } else {
                    Permit::No { retry_at }
                }
            }
        }
    }

    /// May a call go out now? A [`Permit::Probe`] is given once; the caller owes a verdict or [`Self::on_abandoned`].
    pub fn permits(&mut self, now: Timestamp) -> Permit {
        let permit = self.peek(now);
        if let (Permit::Probe, BreakerState::Open { backoff_ms, .. } | BreakerState::HalfOpen { backoff_ms, .. }) = (permit, self.state) {
            self.state = BreakerState::HalfOpen { probe_until: after_ms(now, self.policy.open_for_ms_max), backoff_ms };
        }
        permit
    }

    pub fn on_success(&mut self) {
        match self.state {
            BreakerState::Closed { .. } | BreakerState::HalfOpen { .. } => self.state = BreakerState::Closed { failures: 0 },
            // A call from before it opened; it says nothing about now.
            BreakerState::Open { .. } => {}
        }
    }

    pub fn on_failure(&mut self, now: Timestamp) {
        match self.state {
            BreakerState::Closed { failures } if failures.saturating_add(1) < self.policy.failures_to_open => {
                self.state = BreakerState::Closed { failures: failures + 1 };
            }
            BreakerState::Closed { .. } => self.open(self.policy.open_for_ms, now),
            BreakerState::HalfOpen { backoff_ms, .. } => self.open(backoff_ms.saturating_mul(2), now),
            BreakerState::Open { .. } => {}
        }
    }

    /// A call ended without a verdict, for example because its client hung up: the next call may probe.
    pub fn on_abandoned(&mut self, now: Timestamp) {
        if let BreakerState::HalfOpen { backoff_ms, .. } = self.state {
            self.state = BreakerState::Open { until: now, backoff_ms };
        }
    }

    fn open(&mut self, backoff_ms: u64, now: Timestamp) {
        let backoff_ms = backoff_ms.min(self.policy.open_for_ms_max);
        self.state = BreakerState::Open { until: after_ms(now, backoff_ms), backoff_ms };
    }
}

fn after_ms(now: Timestamp, ms: u64) -> Timestamp {
    now.saturating_add(Timestamp::try_from(ms.saturating_mul(1_000)).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{Strategy, *};

    const MS: Timestamp = 1_000;

    fn candidate(index: usize, priority: i32, weight: u32, healthy: bool) -> Candidate {
        Candidate { index, priority, weight, healthy, load: 0, cost: None, identity: index as u64 }
    }

    fn by_weight(candidates: &[Candidate], draw: impl FnMut(u64) -> u64) -> Vec<usize> {
        order(candidates, Choice::default(), draw)
    }

    #[test]
    fn variants_are_suffixes() {
        assert_eq!(Variant::split("openai/gpt-4o:floor"), Some(("openai/gpt-4o", Variant::Cheapest)));
        assert_eq!(Variant::split("llama3:8b:nitro"), Some(("llama3:8b", Variant::Fastest)));
        for plain in ["openai/gpt-4o", "llama3:8b", "gpt-4o:free", "gpt-4o:", ":", "", "floor", "gpt-4o:Floor"] {
            assert_eq!(Variant::split(plain), None, "{plain}");
        }
    }

    #[test]
    fn priorities_come_in_order_and_the_unhealthy_last() {
        let candidates = [
            candidate(0, 2, 1, true),
            candidate(1, 0, 1, false),
            candidate(2, 1, 1, true),
            candidate(3, -5, 1, true),
            candidate(4, -9, 1, false),
        ];
        assert_eq!(by_weight(&candidates, |_| panic!("nothing to choose")), [3, 2, 0, 4, 1]);
        assert_eq!(by_weight(&[], |_| panic!("nothing to choose")), [0usize; 0]);
    }

    #[test]
    fn every_drawn_number_counts_for_exactly_one_candidate() {
        let candidates = [candidate(10, 0, 1, true), candidate(11, 0, 0, true), candidate(12, 0, 3, true), candidate(13, 0, 2, true)];
        let mut first = BTreeMap::new();
        for drawn in 0..6 {
            *first.entry(by_weight(&candidates, |total| if total == 6 { drawn } else { 0 })[0]).or_insert(0) += 1;
        }
        assert_eq!(first, BTreeMap::from([(10, 1), (12, 3), (13, 2)]));
    }

    #[test]
    fn drawn_candidates_are_not_put_back() {
        let candidates = [candidate(0, 0, 1, true), candidate(1, 0, 0, true), candidate(2, 0, 3, true), candidate(3, 0, 2, true)];
        let mut totals = Vec::new();
        let ordered = by_weight(&candidates, |total| {
            totals.push(total);
            total - 1
        });
        assert_eq!((ordered, totals), (vec![3, 2, 0, 1], vec![6, 4, 1]));
    }

    #[test]
    fn the_less_loaded_of_two_is_taken() {
        let loads = [30, 10, 20];
        let candidates: Vec<_> =
            loads.iter().enumerate().map(|(index, &load)| Candidate { load, ..candidate(index, 0, 1, true) }).collect();
        let choice = Choice { strategy: Strategy::Latency, ..Choice::default() };
        // Draws the first twice: 0 and, of the rest, the one that took its place.
        assert_eq!(order(&candidates, choice, |_| 0), [2, 1, 0]);
        // The most loaded of three is never first, whatever is drawn.
        for drawn in 0..6 {
            assert_ne!(order(&candidates, choice, |total| drawn % total)[0], 0);
        }
    }

    #[test]
    fn the_cheapest_comes_first_and_the_unpriced_last() {
        let costs = [None, Some(5), Some(3)];
        let candidates: Vec<_> =
            costs.iter().enumerate().map(|(index, &cost)| Candidate { cost, ..candidate(index, index as i32, 1, true) }).collect();
        let choice = |strategy, variant| Choice { strategy, variant, sticky: None };
        assert_eq!(order(&candidates, choice(Strategy::Cost, None), |_| 0), [0, 1, 2], "priorities stay");
        assert_eq!(order(&candidates, choice(Strategy::Weighted, Some(Variant::Cheapest)), |_| 0), [2, 1, 0], "the caller's wish wins");
    }

    #[test]
    fn a_sticky_caller_keeps_its_upstream_and_weights_hold_over_all() {
        let all: Vec<_> = [1, 2, 1].iter().enumerate().map(|(index, &weight)| candidate(index, 0, weight, true)).collect();
        let first = |candidates: &[Candidate], who| order(candidates, Choice { sticky: Some(who), ..Choice::default() }, |_| 0)[0];
        let mut counts = [0; 3];
        for who in 0..4_000 {
            let home = first(&all, who);
            counts[home] += 1;
            assert_eq!(first(&all, who), home);
            // Only those who lived there move when one goes away.
            let without: Vec<_> = all.iter().copied().filter(|candidate| candidate.index != 2).collect();
            assert!(home == 2 || first(&without, who) == home);
        }
        assert!((1_850..2_150).contains(&counts[1]) && (850..1_150).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn retries_are_a_share_of_calls_and_a_few_a_second() {
        let mut budget = RetryBudget::new(0);
        let spend = |budget: &mut RetryBudget, now| (0..1_000).take_while(|_| budget.take(now)).count();
        assert_eq!(spend(&mut budget, 0), 100, "what was saved at the start");
        (0..50).for_each(|_| budget.on_call());
        assert_eq!(spend(&mut budget, 0), 10, "a fifth of the calls");
        assert_eq!(spend(&mut budget, 2_000_000), 20, "ten a second");
        assert_eq!(spend(&mut budget, 3_600_000_000), 100, "never more than can be saved");
    }

    proptest! {
        #[test]
        fn every_candidate_is_tried_once_whatever_the_strategy(
            parts in prop::collection::vec((-2..3i32, 0..5u32, any::<bool>(), 0..9u64, prop::option::of(0..9i64)), 0..8),
            choice in (0..3usize, 0..3usize, prop::option::of(any::<u64>())),
        ) {
            let candidates: Vec<_> = parts
                .iter()
                .enumerate()
                .map(|(index, &(priority, weight, healthy, load, cost))| Candidate { load, cost, ..candidate(index, priority, weight, healthy) })
                .collect();
            let choice = Choice {
                strategy: [Strategy::Weighted, Strategy::Latency, Strategy::Cost][choice.0],
                variant: [None, Some(Variant::Cheapest), Some(Variant::Fastest)][choice.1],
                sticky: choice.2,
            };
            let mut indices = order(&candidates, choice, |total| total - 1);
            prop_assert!(indices.is_sorted_by_key(|&index| !candidates[index].healthy));
            indices.sort_unstable();
            prop_assert_eq!(indices, (0..candidates.len()).collect::<Vec<_>>());
        }

        #[test]
        fn every_candidate_is_tried_once(
            parts in prop::collection::vec((-2..3i32, prop_oneof![Just(0), Just(u32::MAX), 0..5u32], any::<bool>()), 0..8),
            seed in any::<u64>(),
        ) {
            let candidates: Vec<_> =
                parts.iter().enumerate().map(|(index, &(priority, weight, healthy))| candidate(index, priority, weight, healthy)).collect();
            let mut drawn = seed;
            let ordered = by_weight(&candidates, |total| {
                drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                drawn % total
            });
            prop_assert!(ordered.is_sorted_by_key(|&index| (!candidates[index].healthy, candidates[index].priority)));
            let mut indices = ordered;
            indices.sort_unstable();
            prop_assert_eq!(indices, (0..candidates.len()).collect::<Vec<_>>());
        }
    }

    /// What happens to a breaker, or what is expected of it, at a moment given in milliseconds.
    enum Step {
        Ask(Permit),
        Success,
        Failure,
        Abandoned,
        Is(BreakerState),
    }

    fn check(name: &str, steps: impl IntoIterator<Item = (Timestamp, Step)>) {
        let mut breaker = Breaker::new(BreakerPolicy { failures_to_open: 3, open_for_ms: 100, open_for_ms_max: 350 });
        for (number, (ms, step)) in steps.into_iter().enumerate() {
            let now = ms * MS;
            match step {
                Step::Ask(expected) => {
                    assert_eq!(breaker.peek(now), expected, "{name}, step {number}");
                    assert_eq!(breaker.permits(now), expected, "{name}, step {number}");
                }
                Step::Success => breaker.on_success(),
                Step::Failure => breaker.on_failure(now),
                Step::Abandoned => breaker.on_abandoned(now),
                Step::Is(expected) => assert_eq!(breaker.state(), expected, "{name}, step {number}"),
            }
        }
    }

    fn no(retry_at_ms: Timestamp) -> Step {
        Step::Ask(Permit::No { retry_at: retry_at_ms * MS })
    }

    /// Opens a closed breaker at 0 ms.
    fn opened() -> [(Timestamp, Step); 3] {
        [(0, Step::Failure), (0, Step::Failure), (0, Step::Failure)]
    }

    #[test]
    fn the_breaker_follows_its_diagram() {
        use Step::{Abandoned, Ask, Failure, Is, Success};
        let closed = |failures| Is(BreakerState::Closed { failures });
        let open = |until_ms, backoff_ms| Is(BreakerState::Open { until: until_ms * MS, backoff_ms });

        check(
            "a success ends the row of failures",
            [
                (0, Ask(Permit::Yes)),
                (0, Failure),
                (1, Failure),
                (2, closed(2)),
                (2, Success),
                (3, closed(0)),
                (3, Failure),
                (4, Failure),
                (5, Ask(Permit::Yes)),
                (5, Failure),
                (5, open(105, 100)),
            ],
        );
        check(
            "open until its time is up, then one probe",
            opened().into_iter().chain([
                (0, no(100)),
                (99, no(100)),
                (100, Ask(Permit::Probe)),
                (100, no(450)),
                (101, no(450)),
                (102, Success),
                (102, closed(0)),
                (102, Ask(Permit::Yes)),
            ]),
        );
        check(
            "each failed probe doubles the wait, up to the longest",
            opened().into_iter().chain([
                (100, Ask(Permit::Probe)),
                (110, Failure),
                (110, open(310, 200)),
                (310, Ask(Permit::Probe)),
                (310, Failure),
                (310, open(660, 350)),
                (660, Ask(Permit::Probe)),
                (660, Failure),
                (660, open(1_010, 350)),
                (1_010, Ask(Permit::Probe)),
                (1_010, Success),
                (1_010, Failure),
                (1_010, Failure),
                (1_010, Failure),
                (1_010, open(1_110, 100)),
            ]),
        );
        check(
            "late verdicts of earlier calls do not move an open breaker",
            opened().into_iter().chain([(50, Success), (50, Failure), (50, open(100, 100)), (50, Abandoned), (50, open(100, 100))]),
        );
        check(
            "a lost probe is replaced",
            opened().into_iter().chain([(100, Ask(Permit::Probe)), (449, no(450)), (450, Ask(Permit::Probe)), (450, no(800))]),
        );
        check(
            "an abandoned probe is replaced at once",
            opened().into_iter().chain([
                (100, Ask(Permit::Probe)),
                (120, Abandoned),
                (120, Ask(Permit::Probe)),
                (121, Failure),
                (121, open(321, 200)),
            ]),
        );
        check("without a verdict a closed breaker stays as it is", [(0, Failure), (0, Abandoned), (0, closed(1))]);
    }
}
