//! The journal: one per node, the only writer of captures.
//!
//! Owns: the group commit of captures with their usage records (awaited before an answer ends), of open holds (not awaited), the
//! node's registration and heartbeat, and the leases its accounts ask for.
//! Asked: [`AcquireLease`]; woken by [`JournalClient`] when something is queued.
//! When the store is away: the current group is retried with backoff, the spool fills, and when it is full new calls are refused.

mod client;
mod spool;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

pub use client::{AcquireError, JournalClient, LeaseGuard, NodeStanding, NotDurable};
pub use spool::{Rejected, Slot, Spool, Ticket};

use super::supervision::{Ctx, Fault, Message, Receive, Reply, Service, ServiceContext};
use crate::{
    clock::Clock,
    domain::{Micros, SECOND, Timestamp, ledger::LedgerError},
    store::{
        self, Db, StoreError,
        ledger::{Batch, Commit, LeaseGrant, LeaseRequest, LedgerFailure},
        nodes,
    },
    telemetry::metrics::Metrics,
};

/// Captures committed together at most; bounds a transaction and what a retry repeats.
const GROUP_CAPTURES_MAX: usize = 512;
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// One attempt on the database; afterwards its outcome counts as unknown and the group is tried again, skipping what is there.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);

/// What the journal is built from, again after every fault.
#[derive(Clone)]
pub struct Parts {
    pub db: Db,
    pub clock: Clock,
    pub metrics: Metrics,
    pub spool: Arc<Spool>,
    pub standing: Arc<NodeStanding>,
    pub lease_ttl: Duration,
    /// Name under which a restarted node recognises its former registrations.
    pub node_name: String,
}

pub struct Journal {
    parts: Parts,
    committing: bool,
    attempts: u32,
}

impl Journal {
    pub fn new(parts: Parts) -> Self {
        Self { parts, committing: false, attempts: 0 }
    }

    /// Starts the next commit unless one runs.
    fn advance(&mut self, ctx: &mut Ctx<Self>) {
        if self.committing {
            return;
        }
        let Some(work) = self.parts.spool.next_group(GROUP_CAPTURES_MAX, self.parts.standing.generation()) else { return };
        self.committing = true;
        let parts = self.parts.clone();
        ctx.run(
            async move {
                let sent = AtomicBool::new(false);
                let outcome = attempt(&parts, work, &sent).await;
                (outcome, sent.into_inner())
            },
            |journal, (outcome, sent), ctx| journal.attempted(outcome, sent, ctx),
        );
    }

    fn attempted(&mut self, outcome: Result<Vec<(String, Rejected)>, StoreError>, sent: bool, ctx: &mut Ctx<Self>) {
        self.committing = false;
        match outcome {
            Ok(rejected) => {
                self.attempts = 0;
                self.parts.standing.set_failing_since(None);
                let finished = self.parts.spool.finish_group(&rejected);
                self.parts.metrics.journal_committed(finished.entries, finished.captures, finished.captured);
                self.advance(ctx);
            }
            Err(error) => {
                self.attempts += 1;
                self.parts.spool.attempt_failed(sent);
                if self.parts.standing.failing_since().is_none() {
                    self.parts.standing.set_failing_since(Some(self.parts.clock.now()));
                    tracing::error!(error = %error, "the ledger cannot be written; captures wait");
                }
                let delay = RETRY_FIRST.saturating_mul(1 << self.attempts.min(8)).min(RETRY_MAX);
                self.committing = true;
                ctx.after(delay, |journal, ctx| {
                    journal.committing = false;
                    journal.advance(ctx);
                });
            }
        }
    }
}

impl Service for Journal {
    const KIND: &'static str = "journal";

    fn started(&mut self, ctx: &mut Ctx<Self>) {
        ctx.every(self.parts.lease_ttl / 4, |journal, ctx| {
            let parts = journal.parts.clone();
            ctx.run(async move { beat(&parts).await }, |_, (), _| {});
        });
        self.advance(ctx);
    }

    fn observe(&self) -> serde_json::Value {
        serde_json::json!({
            "node_id": *self.parts.standing.node_id(),
            "queued": self.parts.spool.depth(),
            "slots_taken": self.parts.spool.slots_taken(),
            "failing": self.parts.standing.failing_since().is_some(),
        })
    }
}

/// Commits one group. Answers with the entries that can never be booked; an error means: try again.
async fn attempt(parts: &Parts, work: spool::Work, sent: &AtomicBool) -> Result<Vec<(String, Rejected)>, StoreError> {
    let node_id = parts.standing.node_id();
    if !work.late.is_empty() {
        store::ledger::commit_late(&parts.db, &work.late, parts.clock.now()).await?;
    }
    let batch = Batch {
        node_id: &node_id,
        captures: &work.captures,
        opened: &work.opened,
        closed: &work.closed,
        lease_closes: &work.lease_closes,
        retry: work.retry,
        sent,
        now: parts.clock.now(),
    };
    let commit = match tokio::time::timeout(ATTEMPT_MAX, store::ledger::commit(&parts.db, &batch)).await {
        Ok(outcome) => outcome,
        Err(_) => return Err(StoreError::Unavailable("the database did not answer".into())),
    };
    match commit {
        Ok(Commit::Done) => Ok(Vec::new()),
        Ok(Commit::Fenced) => {
            // Our leases were given back while we could not be heard. What was served meanwhile is booked directly.
            renew_registration(parts).await?;
            store::ledger::commit_late(&parts.db, &work.captures, parts.clock.now()).await?;
            tracing::warn!(captures = work.captures.len(), "captures booked outside their lease, which had expired");
            Ok(Vec::new())
        }
        Err(error) if error.is_unavailable() => Err(error),
        Err(error) if !work.retry => Err(error),
        Err(_) => one_by_one(parts, &work, sent).await,
    }
}

/// A group was refused for another reason than the database being away: finds the entry that cannot be booked.
async fn one_by_one(parts: &Parts, work: &spool::Work, sent: &AtomicBool) -> Result<Vec<(String, Rejected)>, StoreError> {
    let node_id = parts.standing.node_id();
    let single = |captures, last: bool| Batch {
        node_id: &node_id,
        captures,
        opened: if last { &work.opened } else { &[] },
        closed: if last { &work.closed } else { &[] },
        lease_closes: if last { &work.lease_closes } else { &[] },
        retry: true,
        sent,
        now: parts.clock.now(),
    };
    let mut rejected = Vec::new();
    for capture in &work.captures {
        match store::ledger::commit(&parts.db, &single(std::slice::from_ref(capture), false)).await {
            Ok(Commit::Done) => {}
            Ok(Commit::Fenced) => return Err(StoreError::Unavailable("the lease expired while entries were checked".into())),
            Err(error) if error.is_unavailable() => return Err(error),
            Err(error) => {
                let usage = &capture.usage;
                tracing::error!(usage.id = %usage.id, account.id = %usage.account_id, cost_micros = usage.cost_micros, error = %error, "a capture cannot be booked; book it by hand");
                rejected.push((usage.id.clone(), Rejected(error.to_string())));
            }
        }
    }
    if let Err(error) = store::ledger::commit(&parts.db, &single(&[], true)).await {
        if error.is_unavailable() {
            return Err(error);
        }
        tracing::error!(error = %error, leases = work.lease_closes.len(), holds = work.opened.len(), "open holds or lease ends cannot be booked; the next start reclaims them");
    }
    Ok(rejected)
}

/// Registers this process under a new id; every lease taken under the former one is void.
async fn renew_registration(parts: &Parts) -> Result<(), StoreError> {
    let now = parts.clock.now();
    let former = parts.standing.node_id();
    let id = parts.clock.new_id("node");
    let valid_until = now + ttl(parts);
    nodes::register(&parts.db, &id, &parts.node_name, now, valid_until).await?;
    parts.standing.renew(&id, valid_until);
    tracing::warn!(node.former = %former, node.id = %id, "this node's leases expired while the database was out of reach; it goes on under a new registration");
    Ok(())
}

async fn beat(parts: &Parts) {
    let valid_until = parts.clock.now() + ttl(parts);
    match nodes::heartbeat(&parts.db, &parts.standing.node_id(), valid_until).await {
        Ok(true) => parts.standing.extend(valid_until),
        Ok(false) => {
            if let Err(error) = renew_registration(parts).await {
                tracing::warn!(error = %error, "this node's registration could not be renewed yet");
            }
        }
        Err(error) => tracing::warn!(error = %error, "heartbeat failed; leases stay valid until they expire"),
    }
    let used = parts.spool.take_keys_used();
    if !used.is_empty()
        && let Err(error) = store::keys::touch_last_used(&parts.db, &used).await
    {
        tracing::warn!(error = %error, keys = used.len(), "last use of keys could not be noted");
    }
}

fn ttl(parts: &Parts) -> Timestamp {
    Timestamp::try_from(parts.lease_ttl.as_micros()).unwrap_or(60 * SECOND)
}

/// Something is queued.
pub struct Wake;

impl Message for Wake {
    type Reply = ();
}

impl Receive<Wake> for Journal {
    fn receive(&mut self, _: Wake, _: Reply<()>, ctx: &mut Ctx<Self>) -> Result<(), Fault> {
        self.advance(ctx);
        Ok(())
    }
}

/// Reserve more of an account's balance for this node.
pub struct AcquireLease {
    /// Held until the reservation is made, so that the lease cannot be closed before it.
    pub lease: Arc<LeaseGuard>,
    /// The least that helps; refused when less is available.
    pub need: Micros,
    pub want: Micros,
}

/// A granted share and the registration it was granted under.
pub struct Acquired {
    pub grant: LeaseGrant,
    pub generation: u64,
}

#[derive(Debug)]
pub enum LeaseRefused {
    Credits(LedgerError),
    Away(StoreError),
}

impl Message for AcquireLease {
    type Reply = Result<Acquired, LeaseRefused>;
}

impl Receive<AcquireLease> for Journal {
    fn receive(&mut self, message: AcquireLease, reply: Reply<Result<Acquired, LeaseRefused>>, ctx: &mut Ctx<Self>) -> Result<(), Fault> {
        let parts = self.parts.clone();
        let acquire = async move {
            let generation = parts.standing.generation();
            let node_id = parts.standing.node_id();
            let request = LeaseRequest {
                account_id: message.lease.account_id(),
                node_id: &node_id,
                lease_id: message.lease.id(),
                need: message.need,
                want: message.want,
                now: parts.clock.now(),
            };
            let answer = match store::ledger::lease(&parts.db, &request).await {
                Ok(grant) => Ok(Acquired { grant, generation }),
                Err(LedgerFailure::Refused(refused)) => Err(LeaseRefused::Credits(refused)),
                Err(LedgerFailure::Fenced) => {
                    // Our registration lapsed while the database was out of reach: take a new one now, so that the next try succeeds.
                    beat(&parts).await;
                    Err(LeaseRefused::Away(StoreError::Unavailable("this node's registration had expired".into())))
                }
                Err(LedgerFailure::Store(error)) => Err(LeaseRefused::Away(error)),
            };
            // An asker that is gone leaves the slices in its lease, which is closed with everything else of it.
            let _ = reply.send(answer);
        };
        ctx.run(acquire, |_, (), _| {});
        Ok(())
    }
}
