//! Limits as data, and the token bucket that can give back what a call did not use.

use serde::{Deserialize, Serialize};

use super::{SECOND, Timestamp};

/// Limits of an account or a key. `None` means: no limit of its own at this level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests per minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpm: Option<u32>,
    /// Tokens per minute (input and output together, estimated at admission, corrected at the end).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpm: Option<u64>,
    /// Requests per day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpd: Option<u32>,
    /// Calls at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
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
    level: u64,
    refilled_at: Timestamp,
}

/// The bucket holds too little; it will hold enough at `ready_at`, or never (`None`) when the call is larger than the whole bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    pub ready_at: Option<Timestamp>,
}

impl TokenBucket {
    pub fn full(per_minute: u64, now: Timestamp) -> Self {
        Self { per_minute, level: per_minute, refilled_at: now }
    }

    pub fn per_minute(&self) -> u64 {
        self.per_minute
    }

    /// Tokens that could be taken now.
    pub fn level(&mut self, now: Timestamp) -> u64 {
        self.refill(now);
        self.level
    }

    pub fn take(&mut self, tokens: u64, now: Timestamp) -> Result<(), Exhausted> {
        self.refill(now);
        if tokens <= self.level {
            self.level -= tokens;
            return Ok(());
        }
        if tokens > self.per_minute {
            return Err(Exhausted { ready_at: None });
        }
        Err(Exhausted { ready_at: Some(now + self.micros_to_gain(tokens - self.level)) })
    }

    /// Returns tokens that were taken and not used; never beyond a full bucket.
    pub fn give_back(&mut self, tokens: u64) {
        self.level = self.level.saturating_add(tokens).min(self.per_minute);
    }

    /// Takes tokens a call used beyond its estimate; the bucket may run empty, never below.
    pub fn take_late(&mut self, tokens: u64, now: Timestamp) {
        self.refill(now);
        self.level = self.level.saturating_sub(tokens);
    }

    /// Microseconds until the bucket is full again.
    pub fn micros_to_full(&mut self, now: Timestamp) -> Timestamp {
        self.refill(now);
        self.micros_to_gain(self.per_minute - self.level)
    }

    fn micros_to_gain(&self, tokens: u64) -> Timestamp {
        let micros = (u128::from(tokens) * 60 * SECOND as u128).div_ceil(u128::from(self.per_minute.max(1)));
        Timestamp::try_from(micros).unwrap_or(Timestamp::MAX / 2)
    }

    fn refill(&mut self, now: Timestamp) {
        let elapsed = u128::try_from(now - self.refilled_at).unwrap_or(0);
        let gained = elapsed * u128::from(self.per_minute) / (60 * SECOND as u128);
        if gained == 0 {
            return;
        }
        if u128::from(self.level) + gained >= u128::from(self.per_minute) {
            self.level = self.per_minute;
            self.refilled_at = now;
            return;
        }
        self.level += gained as u64;
        // Only the time that became whole tokens is used up, so frequent small refills lose nothing.
        let used = (gained * 60 * SECOND as u128).div_ceil(u128::from(self.per_minute));
        self.refilled_at += used as Timestamp;
    }
}
