//! Limits as data, and the token bucket that can give back what a call did not use.

use serde::{Deserialize, Serialize};

use super::{SECOND, Timestamp};

/// Limits of an account or a key. `None` means: no limit of its own at this level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests per minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 60)]
    pub rpm: Option<u32>,
    /// Tokens per minute (input and output together, estimated at admission, corrected at the end).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 100_000)]
    pub tpm: Option<u64>,
    /// Requests per day.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 10_000)]
    pub rpd: Option<u32>,
    /// Calls at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 8)]
    pub concurrency: Option<u32>,
}

impl Limits {
    /// The limits of `self`, with those of `fallback` where `self` says nothing.
    pub fn or(self, fallback: Limits) -> Limits {
        Limits {
            rpm: self.rpm.or(fallback.rpm),
            tpm: self.tpm.or(fallback.tpm),
            rpd: self.rpd.or(fallback.rpd),
            concurrency: self.concurrency.or(fallback.concurrency),
        }
    }
}

/// A bucket of `per_minute` tokens that refills evenly. Unlike a governor cell it takes tokens back.
#[derive(Debug, Clone, Copy)]
pub struct TokenBucket {
    per_minute: u64,
    /// In grains: a token is [`GRAINS`] of them, so that a microsecond gains exactly `per_minute` grains and nothing is rounded.
    level: u128,
    refilled_at: Timestamp,
}

/// Grains of one token: the microseconds of a minute.
const GRAINS: u128 = 60 * SECOND as u128;

/// The bucket holds too little; it will hold enough at `ready_at`, or never (`None`) when the call is larger than the whole bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    pub ready_at: Option<Timestamp>,
}

impl TokenBucket {
    pub fn full(per_minute: u64, now: Timestamp) -> Self {
        Self { per_minute, level: grains(per_minute), refilled_at: now }
    }

    pub fn per_minute(&self) -> u64 {
        self.per_minute
    }

    /// Tokens that could be taken now.
    pub fn level(&mut self, now: Timestamp) -> u64 {
        self.refill(now);
        u64::try_from(self.level / GRAINS).unwrap_or(u64::MAX)
    }

    pub fn take(&mut self, tokens: u64, now: Timestamp) -> Result<(), Exhausted> {
        self.refill(now);
        match self.level.checked_sub(grains(tokens)) {
            Some(rest) => {
                self.level = rest;
                Ok(())
            }
            None if tokens > self.per_minute => Err(Exhausted { ready_at: None }),
            None => Err(Exhausted { ready_at: Some(self.refilled_at.saturating_add(self.micros_to_reach(grains(tokens)))) }),
        }
    }

    /// Returns tokens that were taken and not used; never beyond a full bucket.
    pub fn give_back(&mut self, tokens: u64) {
        self.level = (self.level + grains(tokens)).min(grains(self.per_minute));
    }

    /// Takes tokens a call used beyond its estimate; the bucket may run empty, never below.
    pub fn take_late(&mut self, tokens: u64, now: Timestamp) {
        self.refill(now);
        self.level = self.level.saturating_sub(grains(tokens));
    }

    /// Microseconds until the bucket is full again.
    pub fn micros_to_full(&mut self, now: Timestamp) -> Timestamp {
        self.refill(now);
        self.micros_to_reach(grains(self.per_minute))
    }

    fn micros_to_reach(&self, level: u128) -> Timestamp {
        let micros = level.saturating_sub(self.level).div_ceil(u128::from(self.per_minute.max(1)));
        Timestamp::try_from(micros).unwrap_or(Timestamp::MAX)
    }

    fn refill(&mut self, now: Timestamp) {
        // A clock that stands still or goes back gains nothing.
        let Ok(elapsed @ 1..) = u64::try_from(now.saturating_sub(self.refilled_at)) else {
            return;
        };
        let gained = u128::from(elapsed) * u128::from(self.per_minute);
        self.level = self.level.saturating_add(gained).min(grains(self.per_minute));
        self.refilled_at = now;
    }
}

fn grains(tokens: u64) -> u128 {
    u128::from(tokens) * GRAINS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits_fall_back_one_by_one() {
        let own = Limits { rpm: Some(1), ..Limits::default() };
        let plan = Limits { rpm: Some(60), tpm: Some(1_000), ..Limits::default() };
        assert_eq!(own.or(plan), Limits { rpm: Some(1), tpm: Some(1_000), rpd: None, concurrency: None });
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let mut bucket = TokenBucket::full(60, 0);
        assert_eq!(bucket.take(61, 0), Err(Exhausted { ready_at: None }));
        assert_eq!(bucket.take(60, 0), Ok(()));
        assert_eq!(bucket.take(2, 0), Err(Exhausted { ready_at: Some(2 * SECOND) }));
        assert_eq!(bucket.take(2, SECOND), Err(Exhausted { ready_at: Some(2 * SECOND) }), "half of it is there already");
        assert_eq!(bucket.take(2, 2 * SECOND - 1), Err(Exhausted { ready_at: Some(2 * SECOND) }));
        assert_eq!(bucket.take(2, 2 * SECOND), Ok(()));
        assert_eq!(bucket.micros_to_full(2 * SECOND), 60 * SECOND);
    }

    #[test]
    fn what_a_call_did_not_use_counts_again() {
        let mut bucket = TokenBucket::full(100, 0);
        assert_eq!(bucket.take(80, 0), Ok(()));
        bucket.give_back(30);
        assert_eq!(bucket.level(0), 50);
        bucket.give_back(u64::MAX);
        assert_eq!(bucket.level(0), 100);
        bucket.take_late(1_000, 0);
        assert_eq!(bucket.level(0), 0);
    }

    #[test]
    fn a_bucket_of_nothing_gives_nothing() {
        let mut bucket = TokenBucket::full(0, 0);
        assert_eq!(bucket.take(0, 0), Ok(()));
        assert_eq!(bucket.take(1, i64::MAX), Err(Exhausted { ready_at: None }));
        assert_eq!(bucket.micros_to_full(0), 0);
    }

    #[test]
    fn the_largest_limits_do_not_overflow() {
        let mut bucket = TokenBucket::full(u64::MAX, i64::MIN);
        assert_eq!(bucket.take(u64::MAX, i64::MIN), Ok(()));
        bucket.give_back(u64::MAX);
        assert_eq!(bucket.level(i64::MAX), u64::MAX);
    }

    /// Counts by stepping through every microsecond, in fractions of `per_minute / 60 000 000` tokens.
    struct SlowBucket {
        per_minute: u64,
        whole: u64,
        sixty_millionths: u64,
    }

    impl SlowBucket {
        fn pass_one_microsecond(&mut self) {
            self.sixty_millionths += self.per_minute;
            while self.sixty_millionths >= 60_000_000 {
                self.sixty_millionths -= 60_000_000;
                self.whole += 1;
            }
            self.cap();
        }

        fn cap(&mut self) {
            if self.whole >= self.per_minute {
                (self.whole, self.sixty_millionths) = (self.per_minute, 0);
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Op {
        Wait(u32),
        Take(u64),
        TakeLate(u64),
        GiveBack(u64),
        Look,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        // Near the limit's own size and near nothing, because that is where buckets go wrong.
        let tokens = || prop_oneof![0..4u64, 0..200u64, 0..200_000_000u64];
        let op = prop_oneof![
            3 => (0..300u32).prop_map(Op::Wait),
            3 => tokens().prop_map(Op::Take),
            1 => tokens().prop_map(Op::TakeLate),
            1 => tokens().prop_map(Op::GiveBack),
            1 => Just(Op::Look),
        ];
        prop::collection::vec(op, 0..40)
    }

    proptest! {
        #[test]
        fn agrees_with_counting_every_microsecond(
            per_minute in prop_oneof![0..100u64, 40_000_000..130_000_000u64, 1_000_000_000..2_000_000_000u64],
            ops in ops(),
        ) {
            let mut now = 0;
            let mut bucket = TokenBucket::full(per_minute, now);
            let mut slow = SlowBucket { per_minute, whole: per_minute, sixty_millionths: 0 };
            for op in ops {
                match op {
                    Op::Wait(micros) => {
                        now += Timestamp::from(micros);
                        (0..micros).for_each(|_| slow.pass_one_microsecond());
                    }
                    Op::Take(tokens) => {
                        let taken = bucket.take(tokens, now);
                        prop_assert_eq!(taken.is_ok(), slow.whole >= tokens);
                        if taken.is_ok() {
                            slow.whole -= tokens;
                        }
                        if let Err(Exhausted { ready_at: Some(at) }) = taken {
                            let (mut before, mut then) = (bucket, bucket);
                            prop_assert!(at > now && before.level(at - 1) < tokens && then.level(at) >= tokens);
                        }
                    }
                    Op::TakeLate(tokens) => {
                        bucket.take_late(tokens, now);
                        match slow.whole.checked_sub(tokens) {
                            Some(rest) => slow.whole = rest,
                            None => (slow.whole, slow.sixty_millionths) = (0, 0),
                        }
                    }
                    Op::GiveBack(tokens) => {
                        bucket.give_back(tokens);
                        slow.whole += tokens;
                        slow.cap();
                    }
                    Op::Look => {
                        prop_assert_eq!(bucket.level(now), slow.whole);
                        prop_assert!(bucket.level(now) <= per_minute);
                        let (mut full, wait) = (bucket, bucket.micros_to_full(now));
                        prop_assert_eq!(full.level(now + wait), per_minute);
                    }
                }
            }
        }
    }
}
