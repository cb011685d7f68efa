//! The only source of time and of random ids. Tests use a manual clock, which also drives the rate limiters.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use governor::nanos::Nanos;

use crate::domain::{Timestamp, id};

/// A cheap handle to a source of time. Clones share it.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { started: Instant, started_at: Timestamp },
    Manual(Arc<AtomicI64>),
}

/// The hand that moves a manual clock.
#[derive(Clone, Debug)]
pub struct Hand(Arc<AtomicI64>);

impl Hand {
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

impl Clock {
    /// Wall time at start, advanced by the monotonic clock: it never jumps while the process lives.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn system() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(Source::System { started: Instant::now(), started_at: i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX) })
    }

    /// A clock that stands still until its hand moves it.
    pub fn manual(start: Timestamp) -> (Self, Hand) {
        let now = Arc::new(AtomicI64::new(start));
        (Self(Source::Manual(now.clone())), Hand(now))
    }

    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System { started, started_at } => started_at + i64::try_from(started.elapsed().as_micros()).unwrap_or(i64::MAX),
            Source::Manual(now) => now.load(Ordering::SeqCst),
        }
    }

    /// [`Self::now`] in the type of the standard library, for signatures.
    pub fn wall(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(u64::try_from(self.now()).unwrap_or(0))
    }

    /// A new prefixed, sortable id (`req_…`).
    pub fn new_id(&self, prefix: &str) -> String {
        let mut random = [0u8; 10];
        fill_random(&mut random);
        id::prefixed(prefix, self.now(), random)
    }
}

/// Fills `buffer` from the operating system's generator (through aws-lc's DRBG).
#[expect(clippy::expect_used, reason = "without randomness no key and no id can be made; there is nothing sensible to go on with")]
pub fn fill_random(buffer: &mut [u8]) {
    aws_lc_rs::rand::fill(buffer).expect("the system's random generator works");
}

impl governor::clock::Clock for Clock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(u64::try_from(Clock::now(self)).unwrap_or(0).saturating_mul(1_000))
    }
}
