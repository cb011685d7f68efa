//! One configured upstream: its circuit breaker, its health probes, its concurrency permits.
//!
//! Owns: the breaker. Publishes: a [`Gate`] that every call looks at without a message; only failures, and successes after
//! failures, are told to the actor.
//! When the store is away: keeps its last configuration.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    places::{Busy, Place, Places},
    supervision::{ActorTree, Ctx, Fault, Handle, Message, Receive, Reply, Service, ServiceContext, Spec, Vitals, spawn},
};
use crate::{
    clock::Clock,
    domain::{
        Timestamp,
        route::{Breaker, BreakerPolicy, BreakerState, Permit, RetryBudget, hash_text},
    },
    telemetry::metrics::Metrics,
    upstream::{Connector, Target},
};

const MAILBOX: usize = 4_096;
/// How slowly the average latency forgets: about this many answers.
const LATENCY_WINDOW: u64 = 8;

/// What routing and exchange see of an upstream.
pub struct Gate {
    pub target: Arc<Target>,
    pub weight: u32,
    pub priority: i32,
    /// The same on every node.
    pub identity: u64,
    places: Places,
    healthy: Arc<AtomicBool>,
    /// True while the breaker counts failures, so that a success is worth telling.
    suspect: Arc<AtomicBool>,
    /// Moving average of the microseconds until an answer begins; 0 is unknown.
    latency_us: AtomicU64,
    retries: Mutex<RetryBudget>,
    /// Until when this upstream plays dead; see [`Gate::drill`].
    drill_until: AtomicI64,
    actor: Handle<Upstream>,
}

impl Gate {
    pub fn name(&self) -> &str {
        &self.target.name
    }

    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// A place among the calls of this upstream; waits at most `patience` for one.
    pub async fn enter(&self, patience: Duration) -> Result<Place, Busy> {
        self.places.enter(patience).await
    }

    /// Expected wait: the time until answers begin, times the calls that share the upstream. 0 when nothing is known.
    pub fn load(&self) -> u64 {
        self.latency_us.load(Ordering::Relaxed).saturating_mul(u64::from(self.places.taken()) + 1)
    }

    /// Counts a first attempt towards the retries this upstream may get.
    pub fn called(&self) {
        if let Ok(mut budget) = self.retries.lock() {
            budget.on_call();
        }
    }

    /// Whether this upstream may be asked once more for a call that failed; counted when it may.
    pub fn may_retry(&self, now: Timestamp) -> bool {
        self.retries.lock().is_ok_and(|mut budget| budget.take(now))
    }

    /// An answer began after so long.
    pub fn succeeded(&self, took: Duration) {
        let sample = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let known = self.latency_us.load(Ordering::Relaxed);
        // A lost update of a moving average is no loss.
        let average = if known == 0 { sample } else { known - known / LATENCY_WINDOW + sample / LATENCY_WINDOW };
        self.latency_us.store(average, Ordering::Relaxed);
        if self.suspect.load(Ordering::Relaxed) {
            self.actor.give_back(Verdict::Succeeded);
        }
    }

    pub fn failed(&self) {
        self.actor.give_back(Verdict::Failed);
    }

    /// Plays an outage until then: calls of this node fail as if the upstream could not be reached. A moment that is past ends it.
    pub fn drill(&self, until: Timestamp) {
        self.drill_until.store(until, Ordering::Relaxed);
    }

    pub fn is_in_drill(&self, now: Timestamp) -> bool {
        self.drill_until.load(Ordering::Relaxed) > now
    }

    pub fn actor(&self) -> &Handle<Upstream> {
        &self.actor
    }
}

/// How an upstream is configured; see `domain::catalog::Upstream`.
pub struct Configuration {
    pub target: Arc<Target>,
    pub weight: u32,
    pub priority: i32,
    pub max_concurrency: Option<u32>,
    pub breaker: BreakerPolicy,
}

/// Starts the actor of an upstream on the current thread.
pub fn start(
    tree: &ActorTree,
    parent: &Arc<Vitals>,
    configuration: Configuration,
    connector: &Connector,
    clock: &Clock,
    metrics: &Metrics,
) -> Arc<Gate> {
    let Configuration { target, weight, priority, max_concurrency, breaker } = configuration;
    let healthy = Arc::new(AtomicBool::new(true));
    let suspect = Arc::new(AtomicBool::new(false));
    metrics.upstream_health(&target.name, true);
    let (flags, parts) = ((healthy.clone(), suspect.clone()), (target.clone(), connector.clone(), clock.clone(), metrics.clone()));
    let factory = move || {
        let (target, connector, clock, metrics) = parts.clone();
        flags.0.store(true, Ordering::Relaxed);
        flags.1.store(false, Ordering::Relaxed);
        Upstream { target, connector, clock, metrics, breaker: Breaker::new(breaker), healthy: flags.0.clone(), suspect: flags.1.clone() }
    };
    let actor = spawn(tree, Spec::new(target.name.clone(), MAILBOX, factory).under(parent));
    Arc::new(Gate {
        identity: hash_text(&target.name),
        target,
        weight,
        priority,
        places: Places::new(max_concurrency),
        healthy,
        suspect,
        latency_us: AtomicU64::new(0),
        retries: Mutex::new(RetryBudget::new(clock.now())),
        drill_until: AtomicI64::new(0),
        actor,
    })
}

pub struct Upstream {
    target: Arc<Target>,
    connector: Connector,
    clock: Clock,
    metrics: Metrics,
    breaker: Breaker,
    healthy: Arc<AtomicBool>,
    suspect: Arc<AtomicBool>,
}

impl Upstream {
    fn publish(&self) {
        let healthy = matches!(self.breaker.state(), BreakerState::Closed { .. });
        let suspect = !matches!(self.breaker.state(), BreakerState::Closed { failures: 0 });
        self.suspect.store(suspect, Ordering::Relaxed);
        if self.healthy.swap(healthy, Ordering::Relaxed) != healthy {
            self.metrics.upstream_health(&self.target.name, healthy);
            tracing::warn!(upstream = %self.target.name, healthy, "upstream health changed");
        }
    }

    /// Looks at an open breaker again when its time is up.
    fn probe_later(&self, ctx: &mut Ctx<Self>) {
        let Permit::No { retry_at } = self.breaker.peek(self.clock.now()) else { return };
        let delay = Duration::from_micros(u64::try_from(retry_at - self.clock.now()).unwrap_or(0));
        ctx.after(delay, |upstream, ctx| upstream.probe(ctx));
    }

    /// Asks an upstream whose breaker is open whether it is back, without spending a caller's patience on it.
    fn probe(&mut self, ctx: &mut Ctx<Self>) {
        match self.breaker.permits(self.clock.now()) {
            Permit::Yes => {}
            Permit::No { .. } => self.probe_later(ctx),
            Permit::Probe => {
                let provider = self.connector.provider(&self.target);
                ctx.run(async move { provider.probe().await }, |upstream, outcome, ctx| {
                    match outcome {
                        Ok(_) => upstream.breaker.on_success(),
                        Err(failure) if !failure.counts_against_breaker() => upstream.breaker.on_success(),
                        Err(_) => upstream.breaker.on_failure(upstream.clock.now()),
                    }
                    upstream.publish();
                    upstream.probe_later(ctx);
                });
            }
        }
    }
}

impl Service for Upstream {
    const KIND: &'static str = "upstream";

    fn observe(&self) -> serde_json::Value {
        let keys = &self.target.keys;
        serde_json::json!({
            "name": self.target.name,
            "healthy": self.healthy.load(Ordering::Relaxed),
            "breaker": format!("{:?}", self.breaker.state()),
            "keys": keys.keys().len(),
            "keys_resting": keys.resting(self.clock.now()),
        })
    }
}

/// How a call to this upstream went.
pub enum Verdict {
    Succeeded,
    Failed,
}

impl Message for Verdict {
    type Reply = ();
}

impl Receive<Verdict> for Upstream {
    fn receive(&mut self, verdict: Verdict, _: Reply<()>, ctx: &mut Ctx<Self>) -> Result<(), Fault> {
        let was_open = !matches!(self.breaker.state(), BreakerState::Closed { .. });
        match verdict {
            Verdict::Succeeded => self.breaker.on_success(),
            Verdict::Failed => self.breaker.on_failure(self.clock.now()),
        }
        self.publish();
        if !was_open {
            self.probe_later(ctx);
        }
        Ok(())
    }
}
