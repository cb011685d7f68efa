//! The keys of one upstream: used in turn, and left alone for a while after they were refused.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use super::{ApiKey, Failure};
use crate::domain::{SECOND, Timestamp};

/// More keys than this are refused where they are configured.
pub const KEYS_MAX: usize = 32;
/// How long a key rests after a 429 that does not say when to come back.
const LIMITED: Timestamp = 10 * SECOND;
/// How long it rests when it is not believed, or has nothing left to pay with.
const REFUSED: Timestamp = 60 * SECOND;

/// Shared by all threads of a node.
#[derive(Debug)]
pub struct KeyRing {
    keys: Vec<ApiKey>,
    rests_until: Vec<AtomicI64>,
    turn: AtomicUsize,
}

impl KeyRing {
    /// Without any key there is an empty one, which sends no proof.
    pub fn new(mut keys: Vec<ApiKey>) -> Self {
        if keys.is_empty() {
            keys.push(ApiKey::default());
        }
        keys.truncate(KEYS_MAX);
        Self { rests_until: keys.iter().map(|_| AtomicI64::new(0)).collect(), keys, turn: AtomicUsize::new(0) }
    }

    pub fn keys(&self) -> &[ApiKey] {
        &self.keys
    }

    /// The key to use now: the next in turn that neither rests nor is in `tried` (a bit for each). When all rest, the one that wakes first
    /// is asked nevertheless, because only the upstream knows; but only as the first of a call.
    pub fn next(&self, now: Timestamp, tried: u32) -> Option<usize> {
        let count = self.keys.len();
        if count == 1 {
            return (tried == 0).then_some(0);
        }
        let start = self.turn.fetch_add(1, Ordering::Relaxed) % count;
        let rest = |index: usize| self.rests_until.get(index).map_or(0, |until| until.load(Ordering::Relaxed));
        let mut in_turn = (0..count).map(|step| (start + step) % count).filter(|index| tried & (1 << index) == 0);
        match in_turn.find(|index| rest(*index) <= now) {
            None if tried == 0 => (0..count).min_by_key(|index| rest(*index)),
            found => found,
        }
    }

    /// Lets a key rest if this failure is about the key. Answers whether it was.
    pub fn note(&self, index: usize, failure: &Failure, now: Timestamp) -> bool {
        let Failure::Refused { status, retry_after_ms, .. } = failure else { return false };
        let rest = match status {
            429 => retry_after_ms.map_or(LIMITED, |wait| Timestamp::try_from(wait).unwrap_or(0).saturating_mul(1_000)),
            401..=403 => REFUSED,
            _ => return false,
        };
        // One that is alone is used all the same.
        if let Some(until) = self.rests_until.get(index).filter(|_| self.keys.len() > 1) {
            until.store(now.saturating_add(rest), Ordering::Relaxed);
        }
        true
    }

    /// How many keys rest at this moment.
    pub fn resting(&self, now: Timestamp) -> usize {
        self.rests_until.iter().filter(|until| until.load(Ordering::Relaxed) > now).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(count: usize) -> KeyRing {
        KeyRing::new((0..count).map(|index| ApiKey::new(index.to_string())).collect())
    }

    fn refused(status: u16, retry_after_ms: Option<u64>) -> Failure {
        Failure::Refused { status, message: String::new(), retry_after_ms }
    }

    #[test]
    fn keys_take_turns() {
        let ring = ring(3);
        let turns: Vec<_> = (0..6).map(|_| ring.next(0, 0).unwrap()).collect();
        assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_refused_key_rests() {
        let ring = ring(2);
        assert!(ring.note(0, &refused(429, Some(5_000)), 0));
        assert_eq!((ring.resting(4 * SECOND), ring.resting(6 * SECOND)), (1, 0));
        assert!((0..4).all(|_| ring.next(4 * SECOND, 0) == Some(1)));
        assert!(ring.note(1, &refused(429, None), 0) && ring.note(1, &refused(401, None), 0));
        assert_eq!((ring.resting(59 * SECOND), ring.resting(60 * SECOND)), (1, 0));
        assert!(!ring.note(0, &refused(500, None), 0) && !ring.note(0, &refused(400, None), 0));
    }

    #[test]
    fn within_one_call_no_key_is_tried_twice() {
        let ring = ring(2);
        let first = ring.next(0, 0).unwrap();
        ring.note(first, &refused(429, None), 0);
        let second = ring.next(0, 1 << first).unwrap();
        assert_ne!(first, second);
        ring.note(second, &refused(401, None), 0);
        assert_eq!(ring.next(0, 0b11), None);
        // All rest: the one that wakes first is asked.
        assert_eq!(ring.next(SECOND, 0), Some(first));
        assert_eq!(ring.next(SECOND, 1 << first), None);
    }

    #[test]
    fn a_single_key_never_rests() {
        let ring = KeyRing::new(Vec::new());
        assert!(ring.note(0, &refused(429, None), 0));
        assert_eq!((ring.next(0, 0), ring.next(0, 1), ring.resting(0)), (Some(0), None, 0));
    }
}
