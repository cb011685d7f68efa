//! What calls are screened by, as one snapshot for every thread; and the hits, on their way to the store.
//!
//! Owns: the snapshot of rules and exemptions, and the hits not yet written. Asked: [`Reload`] after every write to rules or exemptions,
//! [`Flush`] before hits are read. When the store is away: the last snapshot stays, and hits wait, up to a bound.

use std::{collections::HashSet, sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::{
    detached,
    supervision::{ActorTree, AskError, Ctx, Fault, Handle, Message, Receive, Reply, Service, ServiceContext, Spec, Vitals, spawn},
};
use crate::{
    domain::screening::{Rule, Ruleset},
    store::{self, Db, StoreError, screening::Hit},
    telemetry::metrics::Metrics,
};

const MAILBOX: usize = 4_096;
/// Thousands of new expressions take seconds to compile.
const RELOAD_DEADLINE: Duration = Duration::from_secs(60);
/// Catches writes of other nodes that this one was not told of.
const RELOAD_EVERY: Duration = Duration::from_secs(30);
const FLUSH_DEADLINE: Duration = Duration::from_secs(5);
/// Hits that may wait for the store; more are counted and lost.
const PENDING_MAX: usize = 10_000;
const BATCH_MAX: usize = 500;
const RETRY: Duration = Duration::from_millis(500);

/// What calls are screened by at one moment.
#[derive(Default)]
pub struct Screens {
    pub rules: Arc<Ruleset>,
    /// Account and rule.
    exemptions: HashSet<(String, String)>,
    /// What this was made of.
    source: Vec<Rule>,
}

impl Screens {
    pub fn is_exempt(&self, account_id: &str, rule_id: &str) -> bool {
        !self.exemptions.is_empty() && self.exemptions.contains(&(account_id.to_owned(), rule_id.to_owned()))
    }
}

/// Reads the snapshot from every thread, has it renewed, and takes hits.
#[derive(Clone)]
pub struct ScreeningClient {
    screens: Arc<ArcSwap<Screens>>,
    actor: Handle<Screening>,
    metrics: Metrics,
}

#[derive(Debug, thiserror::Error)]
pub enum ScreeningError {
    #[error(transparent)]
    Actor(#[from] AskError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the screening rules could not be compiled; the last ones stay in force")]
    Compile,
}

impl ScreeningClient {
    pub fn screens(&self) -> arc_swap::Guard<Arc<Screens>> {
        self.screens.load()
    }

    /// After this, every new call on this node is screened by what the store holds.
    pub async fn reload(&self) -> Result<(), ScreeningError> {
        self.actor.ask(Reload, RELOAD_DEADLINE).await?
    }

    /// Hands a hit over to be written soon. A call never waits for it.
    pub fn record(&self, hit: Hit) {
        self.metrics.screening_hit(hit.action);
        if self.actor.tell(Record(hit)).is_err() {
            lost(&self.metrics, 1);
        }
    }

    /// Waits until every hit that was handed over is written; `false` when that did not happen in time.
    pub async fn flush(&self) -> bool {
        self.actor.ask(Flush, FLUSH_DEADLINE).await.is_ok()
    }
}

fn lost(metrics: &Metrics, hits: usize) {
    metrics.screening_hits_lost(hits);
    tracing::error!(hits, "screening hits are lost: more came in than the database takes");
}

#[derive(Clone)]
pub struct Parts {
    pub db: Db,
    pub metrics: Metrics,
    pub tree: ActorTree,
}

pub struct Screening {
    parts: Parts,
    screens: Arc<ArcSwap<Screens>>,
    /// Oldest first; those being written stay in front until they are.
    pending: Vec<Hit>,
    writing: bool,
    flushes: Vec<Reply<()>>,
}

/// Starts it on the current thread; there are no rules until the first [`ScreeningClient::reload`].
pub fn start(parts: Parts, parent: &Arc<Vitals>) -> ScreeningClient {
    let screens = Arc::new(ArcSwap::from_pointee(Screens::default()));
    let (tree, metrics) = (parts.tree.clone(), parts.metrics.clone());
    let for_factory = (parts, screens.clone());
    let factory = move || Screening {
        parts: for_factory.0.clone(),
        screens: for_factory.1.clone(),
        pending: Vec::new(),
        writing: false,
        flushes: Vec::new(),
    };
    let actor = spawn(&tree, Spec::new("screening", MAILBOX, factory).under(parent));
    ScreeningClient { screens, actor, metrics }
}

/// What the store holds, compiled away from this thread. `None` for the rules when they are those of `current`.
async fn load(db: Db, current: Arc<Screens>) -> Result<Screens, ScreeningError> {
    let rules = store::screening::list_rules(&db).await?;
    let exemptions = store::screening::list_exemptions(&db).await?;
    let exemptions = exemptions.into_iter().map(|exemption| (exemption.account_id, exemption.rule_id)).collect();
    if rules == current.source {
        return Ok(Screens { rules: current.rules.clone(), exemptions, source: rules });
    }
    let compiled = detached::compute(move || {
        let (ruleset, failed) = Ruleset::compile(rules.clone(), &current.rules);
        for (rule, error) in failed {
            tracing::error!(rule.id = %rule, error = %error, "a screening rule cannot be used");
        }
        (Arc::new(ruleset), rules)
    });
    let (rules, source) = compiled.await.ok_or(ScreeningError::Compile)?;
    Ok(Screens { rules, exemptions, source })
}

impl Screening {
    fn reload(&self, ctx: &mut Ctx<Self>, reply: Option<Reply<Result<(), ScreeningError>>>) {
        let loaded = load(self.parts.db.clone(), self.screens.load_full());
        // One after the other, so that an older read never replaces a newer one.
        ctx.run_first(loaded, move |screening, loaded, _| {
            let outcome = loaded.map(|screens| screening.screens.store(Arc::new(screens)));
            match reply {
                Some(reply) => drop(reply.send(outcome)),
                None => {
                    if let Err(error) = outcome {
                        tracing::warn!(error = %error, "the screening rules could not be read again; the last ones stay");
                    }
                }
            }
        });
    }

    fn write(&mut self, ctx: &mut Ctx<Self>) {
        if self.writing {
            return;
        }
        if self.pending.is_empty() {
            for flush in self.flushes.drain(..) {
                let _ = flush.send(());
            }
            return;
        }
        self.writing = true;
        let batch: Vec<Hit> = self.pending.iter().take(BATCH_MAX).cloned().collect();
        let db = self.parts.db.clone();
        let write = async move {
            let outcome = store::screening::insert_hits(&db, &batch).await;
            (batch.len(), outcome)
        };
        ctx.run(write, |screening, (count, outcome), ctx| match outcome {
            Ok(()) => {
                screening.pending.drain(..count.min(screening.pending.len()));
                screening.writing = false;
                screening.write(ctx);
            }
            Err(error) => {
                tracing::warn!(error = %error, "screening hits could not be written; they wait");
                ctx.after(RETRY, |screening, ctx| {
                    screening.writing = false;
                    screening.write(ctx);
                });
            }
        });
    }
}

impl Service for Screening {
    const KIND: &'static str = "screening";

    fn started(&mut self, ctx: &mut Ctx<Self>) {
        ctx.every(RELOAD_EVERY, |screening, ctx| screening.reload(ctx, None));
    }

    fn observe(&self) -> serde_json::Value {
        let screens = self.screens.load();
        serde_json::json!({ "rules": screens.rules.len(), "exemptions": screens.exemptions.len(), "hits_waiting": self.pending.len() })
    }
}

/// Read rules and exemptions from the store and publish them.
pub struct Reload;

impl Message for Reload {
    type Reply = Result<(), ScreeningError>;
}

impl Receive<Reload> for Screening {
    fn receive(&mut self, _: Reload, reply: Reply<Result<(), ScreeningError>>, ctx: &mut Ctx<Self>) -> Result<(), Fault> {
        self.reload(ctx, Some(reply));
        Ok(())
    }
}

/// Write a hit.
pub struct Record(Hit);

impl Message for Record {
    type Reply = ();
}

impl Receive<Record> for Screening {
    fn receive(&mut self, Record(hit): Record, _: Reply<()>, ctx: &mut Ctx<Self>) -> Result<(), Fault> {
        if self.pending.len() >= PENDING_MAX {
            lost(&self.parts.metrics, 1);
            return Ok(());
        }
        self.pending.push(hit);
        self.write(ctx);
        Ok(())
    }
}

/// Answer once everything recorded before is written.
pub struct Flush;

impl Message for Flush {
    type Reply = ();
}

impl Receive<Flush> for Screening {
    fn receive(&mut self, _: Flush, reply: Reply<()>, ctx: &mut Ctx<Self>) -> Result<(), Fault> {
        self.flushes.push(reply);
        self.write(ctx);
        Ok(())
    }
}
