//! Throttles on what anybody may ask: sign-up, sign-in, mails. Shared by all worker threads of a node; one cell a name and key.
//!
//! Keys are digests or addresses, so nothing personal is kept beyond a window. Memory is bounded: idle cells go first, and when a
//! flood of new keys fills the table all of them share what is left.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use governor::{Quota, RateLimiter, middleware::NoOpMiddleware, state::keyed::HashMapStateStore};

use crate::clock::Clock;

/// Cells of one rule at the same time.
const CELLS_MAX: usize = 100_000;
/// Whom everybody beyond [`CELLS_MAX`] is counted as.
const OVERFLOW: &str = "";

type Cells = RateLimiter<String, HashMapStateStore<String>, Clock, NoOpMiddleware<governor::nanos::Nanos>>;

/// At most `burst` at once, and then one every `every`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub burst: u32,
    pub every: Duration,
}

/// One rule and its cells. Clones share them.
#[derive(Clone)]
pub struct Throttle {
    /// `None` when the rule lets nothing be counted (a burst of 0 switches it off).
    cells: Option<Arc<Cells>>,
    /// Guards the clean-up, so that one thread at a time does it.
    cleaning: Arc<Mutex<()>>,
    clock: Clock,
}

impl Throttle {
    pub fn new(rule: Rule, clock: &Clock) -> Self {
        let quota = NonZeroU32::new(rule.burst).and_then(|burst| Some(Quota::with_period(rule.every)?.allow_burst(burst)));
        let cells = quota.map(|quota| Arc::new(RateLimiter::new(quota, HashMapStateStore::default(), clock.clone())));
        Self { cells, cleaning: Arc::default(), clock: clock.clone() }
    }

    /// Counts one try of `key`, or answers with the milliseconds until one would pass.
    pub fn check(&self, key: &str) -> Result<(), u64> {
        let Some(cells) = &self.cells else { return Ok(()) };
        if cells.len() >= CELLS_MAX {
            let _cleaning = self.cleaning.lock().unwrap_or_else(PoisonError::into_inner);
            cells.retain_recent();
        }
        let key = if cells.len() >= CELLS_MAX { OVERFLOW } else { key };
        cells.check_key(&key.to_owned()).map_err(|not_until| {
            let wait = not_until.wait_time_from(governor::clock::Clock::now(&self.clock));
            u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_cells_of_their_own() {
        let (clock, hand) = Clock::manual(1_800_000_000_000_000);
        let throttle = Throttle::new(Rule { burst: 2, every: Duration::from_secs(10) }, &clock);
        assert_eq!([throttle.check("a"), throttle.check("a"), throttle.check("b")], [Ok(()); 3]);
        assert_eq!(throttle.check("a"), Err(10_000));
        hand.advance(Duration::from_secs(10));
        assert_eq!((throttle.check("a"), throttle.check("a")), (Ok(()), Err(10_000)));
        let off = Throttle::new(Rule { burst: 0, every: Duration::from_secs(1) }, &clock);
        assert!((0..1_000).all(|_| off.check("a").is_ok()));
    }

    #[test]
    fn memory_is_bounded() {
        let (clock, _hand) = Clock::manual(1_800_000_000_000_000);
        let throttle = Throttle::new(Rule { burst: 1, every: Duration::from_secs(60) }, &clock);
        for key in 0..CELLS_MAX + 10 {
            let _ = throttle.check(&key.to_string());
        }
        assert!(throttle.cells.as_ref().unwrap().len() <= CELLS_MAX + 1);
        assert!(throttle.check("somebody new").is_err(), "beyond the bound all share one cell");
        assert!(throttle.check("0").is_err());
    }
}
