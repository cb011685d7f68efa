//! One configured upstream: its circuit breaker, its health probes, its concurrency permits.
//!
//! Owns: the breaker. Publishes: a [`Gate`] that every call looks at without a message; only failures, and successes after
//! failures, are told to the actor.
//! When the store is away: keeps its last configuration.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::supervision::{ActorTree, Ctx, Fault, Handle, Message, Receive, Reply, Service, ServiceContext, Spec, Vitals, spawn};
use crate::{
    clock::Clock,
    domain::route::{Breaker, BreakerPolicy, BreakerState, Permit},
    telemetry::metrics::Metrics,
    upstream::{Connector, Target},
};

const MAILBOX: usize = 4_096;
/// Calls that may wait for a permit of one upstream.
const WAITING_MAX: u32 = 1_024;

/// What routing and exchange see of an upstream.
pub struct Gate {
    pub target: Arc<Target>,
    pub weight: u32,
    pub priority: i32,
    pub max_concurrency: Option<u32>,
    permits: Option<Arc<Semaphore>>,
    waiting: AtomicU32,
    healthy: Arc<AtomicBool>,
    /// True while the breaker counts failures, so that a success is worth telling.
    suspect: Arc<AtomicBool>,
    actor: Handle<Upstream>,
}

/// The upstream stayed busy for as long as a call may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

impl Gate {
    pub fn name(&self) -> &str {
        &self.target.name
    }

    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// A place among the calls of this upstream; waits at most `patience` for one.
    pub async fn enter(&self, patience: Duration) -> Result<Option<OwnedSemaphorePermit>, Busy> {
        let Some(permits) = &self.permits else { return Ok(None) };
        if let Ok(permit) = permits.clone().try_acquire_owned() {
            return Ok(Some(permit));
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Busy);
        }
        let permit = tokio::time::timeout(patience, permits.clone().acquire_owned()).await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        match permit {
            Ok(Ok(permit)) => Ok(Some(permit)),
            _ => Err(Busy),
        }
    }

    pub fn succeeded(&self) {
        if self.suspect.load(Ordering::Relaxed) {
            self.actor.give_back(Verdict::Succeeded);
        }
    }

    pub fn failed(&self) {
        self.actor.give_back(Verdict::Failed);
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
    let permits = max_concurrency.map(|max| Arc::new(Semaphore::new(max as usize)));
    Arc::new(Gate { target, weight, priority, max_concurrency, permits, waiting: AtomicU32::new(0), healthy, suspect, actor })
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
