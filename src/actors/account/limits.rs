//! The limiters of one account or one key: requests (governor), tokens (a bucket that takes back), calls at the same time.

use std::{num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed},
};

use crate::{
    clock::Clock,
    domain::{
        Timestamp,
        quota::{Limits, TokenBucket},
        refusal::{LimitKind, LimitScope, Refusal},
    },
};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Requests per period; starts full and refills evenly.
struct RequestLimiter {
    /// `None` when the limit is zero: nothing ever passes.
    cell: Option<RateLimiter<NotKeyed, InMemoryState, Clock, StateInformationMiddleware>>,
    max: u32,
    period: Duration,
    remaining: u32,
}

impl RequestLimiter {
    fn new(max: u32, period: Duration, clock: &Clock) -> Self {
        let quota = NonZeroU32::new(max).and_then(|burst| Some(Quota::with_period(period / max)?.allow_burst(burst)));
        let cell = quota.map(|quota| RateLimiter::direct_with_clock(quota, clock.clone()).with_middleware::<StateInformationMiddleware>());
        Self { cell, max, period, remaining: max }
    }

    /// Counts one request, or answers with the milliseconds until one would pass.
    fn check(&mut self, clock: &Clock) -> Result<(), u64> {
        let Some(cell) = &self.cell else { return Err(self.period.as_millis() as u64) };
        match cell.check() {
            Ok(state) => {
                self.remaining = state.remaining_burst_capacity();
                Ok(())
            }
            Err(not_until) => {
                self.remaining = 0;
                let wait = not_until.wait_time_from(governor::clock::Clock::now(clock));
                Err(u64::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX).max(1))
            }
        }
    }

    /// Counts requests made before this limiter existed.
    fn count_earlier(&mut self, requests: u32) {
        let Some(cell) = &self.cell else { return };
        if let Some(requests) = NonZeroU32::new(requests.min(self.max))
            && let Ok(Ok(state)) = cell.check_n(requests)
        {
            self.remaining = state.remaining_burst_capacity();
        }
    }

    fn reset_ms(&self) -> u64 {
        let used = u128::from(self.max - self.remaining.min(self.max));
        u64::try_from(self.period.as_millis() * used / u128::from(self.max.max(1))).unwrap_or(u64::MAX)
    }
}

/// What the `x-ratelimit-*` headers say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateState {
    pub limit_requests: Option<u64>,
    pub remaining_requests: u64,
    pub reset_requests_ms: u64,
    pub limit_tokens: Option<u64>,
    pub remaining_tokens: u64,
    pub reset_tokens_ms: u64,
}

pub struct Limiters {
    scope: LimitScope,
    limits: Limits,
    per_minute: Option<RequestLimiter>,
    per_day: Option<RequestLimiter>,
    tokens: Option<TokenBucket>,
    in_use: u32,
}

impl Limiters {
    pub fn new(scope: LimitScope, limits: Limits, clock: &Clock) -> Self {
        Self {
            scope,
            limits,
            per_minute: limits.rpm.map(|max| RequestLimiter::new(max, MINUTE, clock)),
            per_day: limits.rpd.map(|max| RequestLimiter::new(max, DAY, clock)),
            tokens: limits.tpm.map(|per_minute| TokenBucket::full(per_minute, clock.now())),
            in_use: 0,
        }
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Takes over a change of the limits; limiters whose limit stayed keep their state.
    pub fn adopt(&mut self, limits: Limits, clock: &Clock) {
        let fresh = Self::new(self.scope, limits, clock);
        if limits.rpm != self.limits.rpm {
            self.per_minute = fresh.per_minute;
        }
        if limits.rpd != self.limits.rpd {
            self.per_day = fresh.per_day;
        }
        if limits.tpm != self.limits.tpm {
            self.tokens = fresh.tokens;
        }
        self.limits = limits;
    }

    /// Counts today's earlier requests after an activation, so that a daily limit survives idle times and restarts.
    pub fn count_earlier_today(&mut self, requests: u32) {
        if let Some(per_day) = &mut self.per_day {
            per_day.count_earlier(requests);
        }
    }

    pub fn check_concurrency(&self) -> Result<(), Refusal> {
        match self.limits.concurrency {
            Some(max) if self.in_use >= max => {
                Err(Refusal::RateLimited { limit: LimitKind::Concurrency, scope: self.scope, value: u64::from(max), retry_after_ms: 1_000 })
            }
            _ => Ok(()),
        }
    }

    pub fn take_tokens(&mut self, tokens: u64, now: Timestamp) -> Result<(), Refusal> {
        let Some(bucket) = &mut self.tokens else { return Ok(()) };
        let value = bucket.per_minute();
        bucket.take(tokens, now).map_err(|exhausted| match exhausted.ready_at {
            None => Refusal::NeverFits { scope: self.scope, tokens, value },
            Some(ready_at) => Refusal::RateLimited {
                limit: LimitKind::Tpm,
                scope: self.scope,
                value,
                retry_after_ms: u64::try_from((ready_at - now).max(1_000)).unwrap_or(1_000).div_ceil(1_000),
            },
        })
    }

    pub fn give_back_tokens(&mut self, tokens: u64) {
        if let Some(bucket) = &mut self.tokens {
            bucket.give_back(tokens);
        }
    }

    /// Corrects the estimate of a call by what it really used.
    pub fn settle_tokens(&mut self, estimated: u64, used: u64, now: Timestamp) {
        let Some(bucket) = &mut self.tokens else { return };
        if used <= estimated {
            bucket.give_back(estimated - used);
        } else {
            bucket.take_late(used - estimated, now);
        }
    }

    /// Counts the request against both request limits; these cannot be given back, so they are asked last.
    pub fn count_request(&mut self, clock: &Clock) -> Result<(), Refusal> {
        let refused =
            |limit, scope, value: u32, retry_after_ms| Refusal::RateLimited { limit, scope, value: u64::from(value), retry_after_ms };
        // The minute first: who retries too soon must not use up the day.
        if let Some(per_minute) = &mut self.per_minute {
            per_minute.check(clock).map_err(|wait| refused(LimitKind::Rpm, self.scope, per_minute.max, wait))?;
        }
        if let Some(per_day) = &mut self.per_day {
            per_day.check(clock).map_err(|wait| refused(LimitKind::Rpd, self.scope, per_day.max, wait))?;
        }
        Ok(())
    }

    pub fn enter(&mut self) {
        self.in_use += 1;
    }

    pub fn leave(&mut self) {
        self.in_use = self.in_use.saturating_sub(1);
    }

    /// The state of these limits, where they exist, over that of `wider` ones.
    pub fn rate_state(&mut self, wider: RateState, now: Timestamp) -> RateState {
        let mut state = wider;
        if let Some(per_minute) = &self.per_minute {
            state.limit_requests = Some(u64::from(per_minute.max));
            state.remaining_requests = u64::from(per_minute.remaining);
            state.reset_requests_ms = per_minute.reset_ms();
        }
        if let Some(bucket) = &mut self.tokens {
            state.limit_tokens = Some(bucket.per_minute());
            state.remaining_tokens = bucket.level(now);
            state.reset_tokens_ms = u64::try_from(bucket.micros_to_full(now)).unwrap_or(0) / 1_000;
        }
        state
    }
}
