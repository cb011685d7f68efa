//! What the rest of the node holds of the journal: hand-offs, leases that close themselves, and the node's standing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use super::{
    AcquireLease, Acquired, Journal, LeaseRefused, Wake,
    spool::{Item, Rejected, Slot, Spool, Ticket},
};
use crate::{
    actors::supervision::{AskError, Handle},
    clock::Clock,
    domain::{Micros, Timestamp},
    store::ledger::{Capture, LeaseClose, OpenHold},
};

const ACQUIRE_DEADLINE: Duration = Duration::from_secs(10);
/// How often, and how long each time, an answer still waits for a charge that is just being written.
const UNCONFIRMED_AFTER: u32 = 10;
const LAST_PATIENCE: Duration = Duration::from_millis(300);

/// Whether this node's leases hold, as last heard from the database.
pub struct NodeStanding {
    node_id: ArcSwap<String>,
    /// Counts registrations; what was leased under an earlier one is void.
    generation: AtomicU64,
    valid_until: AtomicI64,
    /// Zero when the last commit succeeded.
    failing_since: AtomicI64,
}

impl NodeStanding {
    pub fn new(node_id: String, valid_until: Timestamp) -> Self {
        Self {
            node_id: ArcSwap::from_pointee(node_id),
            generation: AtomicU64::new(1),
            valid_until: AtomicI64::new(valid_until),
            failing_since: AtomicI64::new(0),
        }
    }

    pub fn node_id(&self) -> Arc<String> {
        self.node_id.load_full()
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Leases taken by this node may be spent from until then.
    pub fn valid_until(&self) -> Timestamp {
        self.valid_until.load(Ordering::Acquire)
    }

    pub fn failing_since(&self) -> Option<Timestamp> {
        Some(self.failing_since.load(Ordering::Relaxed)).filter(|since| *since != 0)
    }

    pub(super) fn set_failing_since(&self, since: Option<Timestamp>) {
        self.failing_since.store(since.unwrap_or(0), Ordering::Relaxed);
    }

    pub(super) fn extend(&self, valid_until: Timestamp) {
        self.valid_until.store(valid_until, Ordering::Release);
    }

    pub(super) fn renew(&self, node_id: &str, valid_until: Timestamp) {
        self.node_id.store(Arc::new(node_id.to_owned()));
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.extend(valid_until);
    }
}

/// Why an answer has to end without its charge being durable.
#[derive(Debug, thiserror::Error)]
pub enum NotDurable {
    /// Taken back: it will never be booked.
    #[error("the ledger could not be written in time; the charge was withdrawn")]
    Withdrawn,
    /// It is being written, or may have been; the usage list tells how it ended.
    #[error("the ledger did not confirm the charge in time; it may be booked yet")]
    Unconfirmed,
    #[error(transparent)]
    Rejected(#[from] Rejected),
}

impl NotDurable {
    /// Whether the call is certain to cost nothing.
    pub fn is_free(&self) -> bool {
        !matches!(self, Self::Unconfirmed)
    }
}

/// Cheap to clone; used on every worker thread.
#[derive(Clone)]
pub struct JournalClient {
    spool: Arc<Spool>,
    journal: Handle<Journal>,
    standing: Arc<NodeStanding>,
    clock: Clock,
    /// False in durability `relaxed`: captures are handed in and not waited for.
    awaited: bool,
    commit_timeout: Duration,
}

impl JournalClient {
    pub fn new(
        spool: Arc<Spool>,
        journal: Handle<Journal>,
        standing: Arc<NodeStanding>,
        clock: Clock,
        awaited: bool,
        commit_timeout: Duration,
    ) -> Self {
        Self { spool, journal, standing, clock, awaited, commit_timeout }
    }

    pub fn standing(&self) -> &NodeStanding {
        &self.standing
    }

    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    /// Room for one later capture; `None` when the queue is full.
    pub fn slot(&self) -> Option<Slot> {
        self.spool.slot()
    }

    /// Hands a capture in. The ticket is to be awaited with [`Self::durable`] before the answer ends; there is none when durability is `relaxed`.
    #[must_use = "the answer must not end before its charge is durable"]
    pub fn capture(&self, capture: Capture, generation: u64, slot: Slot) -> Option<Ticket> {
        let (ticket, wake) = self.spool.push_capture(capture, generation, slot, self.clock.now(), self.awaited);
        self.wake(wake);
        ticket
    }

    /// Hands in a record nobody waits for (a call that costs nothing).
    pub fn record(&self, capture: Capture, slot: Slot) {
        let (_, wake) = self.spool.push_capture(capture, self.standing.generation(), slot, self.clock.now(), false);
        self.wake(wake);
    }

    /// Waits until the charge is durable. When the database stays away, takes the charge back instead.
    pub async fn durable(&self, ticket: Option<Ticket>) -> Result<(), NotDurable> {
        let Some(Ticket { usage_id, mut committed }) = ticket else { return Ok(()) };
        let mut patience = self.commit_timeout;
        for _ in 0..=UNCONFIRMED_AFTER {
            match tokio::time::timeout(patience, &mut committed).await {
                Ok(Ok(outcome)) => return Ok(outcome?),
                // The spool drops a ticket only together with its entry, when that was withdrawn.
                Ok(Err(_)) => return Err(NotDurable::Withdrawn),
                Err(_) if self.spool.withdraw(&usage_id) => return Err(NotDurable::Withdrawn),
                // It is part of the group being written; how that ends is known soon.
                Err(_) => patience = LAST_PATIENCE,
            }
        }
        Err(NotDurable::Unconfirmed)
    }

    /// Makes an open call visible to operators, should this node die.
    pub fn hold_opened(&self, hold: OpenHold) {
        let wake = self.spool.push(Item::Opened(hold));
        self.wake(wake);
    }

    pub fn hold_closed(&self, id: String) {
        let wake = self.spool.push(Item::Closed(id));
        self.wake(wake);
    }

    /// Notes that a key was used; written with the next heartbeat, and harmless to lose.
    pub fn key_used(&self, key_id: &str, at: Timestamp) {
        self.spool.note_key_use(key_id, at);
    }

    /// A lease of an account on this node; it takes its first credits by [`Self::acquire`].
    pub fn lease(&self, account_id: &str) -> Arc<LeaseGuard> {
        Arc::new(LeaseGuard { id: self.clock.new_id("lease").into(), account_id: account_id.into(), journal: self.clone() })
    }

    pub async fn acquire(&self, lease: Arc<LeaseGuard>, need: Micros, want: Micros) -> Result<Acquired, AcquireError> {
        Ok(self.journal.ask(AcquireLease { lease, need, want }, ACQUIRE_DEADLINE).await??)
    }

    /// Resolves when everything handed in before is durable; `false` when that did not happen in time.
    pub async fn barrier(&self, deadline: Duration) -> bool {
        let (sender, done) = oneshot::channel();
        let wake = self.spool.push(Item::Barrier(sender));
        self.wake(wake);
        matches!(tokio::time::timeout(deadline, done).await, Ok(Ok(())))
    }

    fn wake(&self, needed: bool) {
        if needed {
            // At most one is on its way: whoever pushes to a sleeping spool sends it.
            self.journal.give_back(Wake);
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum AcquireError {
    #[error(transparent)]
    Journal(#[from] AskError),
    #[error("{0:?}")]
    Refused(LeaseRefused),
}

impl From<LeaseRefused> for AcquireError {
    fn from(refused: LeaseRefused) -> Self {
        Self::Refused(refused)
    }
}

/// A lease that is closed when nobody can spend from it any more: the account actor and every call that holds credits of it keep a
/// clone, so the close is queued behind their captures, also when the actor panicked.
pub struct LeaseGuard {
    id: Arc<str>,
    account_id: Arc<str>,
    journal: JournalClient,
}

impl LeaseGuard {
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    pub fn account_id(&self) -> &Arc<str> {
        &self.account_id
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        let close = LeaseClose { account_id: self.account_id.to_string(), lease_id: self.id.to_string() };
        let wake = self.journal.spool.push(Item::CloseLease(close));
        self.journal.wake(wake);
    }
}
