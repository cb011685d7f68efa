//! A limit on what callers without a key may do, by their address. No actor: its state is small, and shared by all threads.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use governor::{Quota, RateLimiter, middleware::NoOpMiddleware, state::keyed::HashMapStateStore};

use crate::{
    clock::Clock,
    domain::refusal::{LimitKind, LimitScope, Refusal},
};

/// Checks between two times at which addresses that have recovered are forgotten.
const FORGET_EVERY: u32 = 1_024;

type Limiter = RateLimiter<IpAddr, HashMapStateStore<IpAddr>, Clock, NoOpMiddleware<<Clock as governor::clock::Clock>::Instant>>;

/// So many requests a minute for each address. Clones share the count.
#[derive(Clone)]
pub struct Throttle(Arc<Inner>);

struct Inner {
    limiter: Limiter,
    per_minute: NonZeroU32,
    checks: AtomicU32,
    clock: Clock,
}

impl Throttle {
    pub fn new(per_minute: NonZeroU32, clock: Clock) -> Self {
        let limiter = Limiter::new(Quota::per_minute(per_minute), HashMapStateStore::default(), clock.clone());
        Self(Arc::new(Inner { limiter, per_minute, checks: AtomicU32::new(0), clock }))
    }

    /// Counts one request. Callers whose address is unknown share one count.
    pub fn check(&self, address: Option<IpAddr>) -> Result<(), Refusal> {
        let inner = &self.0;
        if inner.checks.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            inner.limiter.retain_recent();
        }
        let who = address.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), network);
        inner.limiter.check_key(&who).map_err(|not_until| {
            let wait = not_until.wait_time_from(governor::clock::Clock::now(&inner.clock));
            Refusal::RateLimited {
                limit: LimitKind::Rpm,
                scope: LimitScope::Ip,
                value: u64::from(inner.per_minute.get()),
                retry_after_ms: u64::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX).max(1),
            }
        })
    }
}

/// One customer has a whole /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX))),
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_address_has_its_own_count() {
        let (clock, hand) = Clock::manual(1_000_000_000);
        let throttle = Throttle::new(NonZeroU32::new(2).unwrap(), clock);
        let check = |address: &str| throttle.check(Some(address.parse().unwrap())).is_ok();
        assert!(check("192.0.2.1") && check("::ffff:192.0.2.1") && !check("192.0.2.1"));
        assert!(check("192.0.2.2") && throttle.check(None).is_ok());
        assert!(check("2001:db8::1") && check("2001:db8::2") && !check("2001:db8::3") && check("2001:db8:0:1::1"));
        hand.advance(Duration::from_secs(30));
        assert!(check("192.0.2.1") && !check("192.0.2.1"));
    }
}
