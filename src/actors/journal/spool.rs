//! The bounded queue in front of the journal. It outlives the journal's incarnations, so a panic there loses nothing.
//!
//! Whoever will hand in a capture takes a [`Slot`] first, before the upstream is called: a settlement therefore always has room,
//! and a full queue refuses new calls instead of finished ones.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::{
    domain::{Micros, Timestamp},
    store::ledger::{Capture, LeaseClose, OpenHold},
};

/// The right to hand in one capture.
pub struct Slot(#[expect(dead_code, reason = "its drop frees the place")] OwnedSemaphorePermit);

/// Why a capture did not become durable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the ledger refused the entry: {0}")]
pub struct Rejected(pub String);

/// Resolves when the capture is durable.
pub struct Ticket {
    pub(super) usage_id: String,
    pub(super) committed: oneshot::Receiver<Result<(), Rejected>>,
}

pub(super) struct Entry {
    pub capture: Arc<Capture>,
    /// The registration under which its credits were leased.
    pub generation: u64,
    /// When it was handed in; the oldest one tells how far the journal lags.
    pub queued_at: Timestamp,
    pub ticket: Option<oneshot::Sender<Result<(), Rejected>>>,
    _slot: Slot,
}

pub(super) enum Item {
    Capture(Entry),
    Opened(OpenHold),
    Closed(String),
    CloseLease(LeaseClose),
    /// Answered when everything before it is durable.
    Barrier(oneshot::Sender<()>),
}

/// What is committed together.
#[derive(Default)]
pub(super) struct Group {
    pub captures: Vec<Entry>,
    pub opened: Vec<OpenHold>,
    pub closed: Vec<String>,
    pub lease_closes: Vec<LeaseClose>,
    pub barriers: Vec<oneshot::Sender<()>>,
}

impl Group {
    pub fn is_empty(&self) -> bool {
        self.captures.is_empty() && self.opened.is_empty() && self.closed.is_empty() && self.lease_closes.is_empty()
    }

    fn add(&mut self, item: Item) {
        match item {
            Item::Capture(entry) => self.captures.push(entry),
            Item::Opened(hold) => self.opened.push(hold),
            // A hold that opened and closed within one group never needs a row.
            Item::Closed(id) => match self.opened.iter().position(|hold| hold.id == id) {
                Some(index) => drop(self.opened.swap_remove(index)),
                None => self.closed.push(id),
            },
            Item::CloseLease(close) => self.lease_closes.push(close),
            Item::Barrier(sender) => self.barriers.push(sender),
        }
    }
}

/// Shared by every account, every call and the journal.
pub struct Spool {
    queue: Mutex<Queue>,
    slots: Arc<Semaphore>,
    capacity: usize,
    /// Latest use of keys, not written yet.
    keys_used: Mutex<BTreeMap<String, Timestamp>>,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    /// The group being committed, kept here so that a restarted journal finds it.
    group: Option<Group>,
    /// True when the outcome of the group's last attempt is not known or it failed.
    retry: bool,
    /// True while the group is being committed.
    attempting: bool,
    /// True when an earlier attempt may have written the group although it failed.
    in_doubt: bool,
    /// True while the journal sleeps and has to be woken.
    idle: bool,
}

impl Spool {
    pub fn new(capacity: usize) -> Self {
        Self { queue: Mutex::default(), slots: Arc::new(Semaphore::new(capacity)), capacity, keys_used: Mutex::default() }
    }

    /// The right to hand in one capture later; `None` when the queue is full.
    pub fn slot(&self) -> Option<Slot> {
        self.slots.clone().try_acquire_owned().ok().map(Slot)
    }

    /// Calls and entries that hold a slot now.
    pub fn slots_taken(&self) -> usize {
        self.capacity.saturating_sub(self.slots.available_permits())
    }

    /// Queues a capture. `true` means: wake the journal.
    pub(super) fn push_capture(
        &self,
        capture: Capture,
        generation: u64,
        slot: Slot,
        now: Timestamp,
        awaited: bool,
    ) -> (Option<Ticket>, bool) {
        let capture = Arc::new(capture);
        let (sender, ticket) = if awaited {
            let (sender, committed) = oneshot::channel();
            (Some(sender), Some(Ticket { usage_id: capture.usage.id.clone(), committed }))
        } else {
            (None, None)
        };
        let wake = self.push(Item::Capture(Entry { capture, generation, queued_at: now, ticket: sender, _slot: slot }));
        (ticket, wake)
    }

    pub(super) fn push(&self, item: Item) -> bool {
        let mut queue = self.lock();
        queue.items.push_back(item);
        std::mem::take(&mut queue.idle)
    }

    /// Takes back a capture that is not being committed and cannot have been. `true` when it will never be booked.
    pub(super) fn withdraw(&self, usage_id: &str) -> bool {
        let mut queue = self.lock();
        let is_it = |item: &Item| matches!(item, Item::Capture(entry) if entry.capture.usage.id == usage_id);
        if let Some(index) = queue.items.iter().position(is_it) {
            return queue.items.remove(index).is_some();
        }
        if queue.attempting || queue.in_doubt {
            return false;
        }
        let Some(group) = &mut queue.group else { return false };
        let before = group.captures.len();
        group.captures.retain(|entry| entry.capture.usage.id != usage_id);
        group.captures.len() < before
    }

    /// The attempt on the current group failed; with `in_doubt` it may have been written all the same.
    pub(super) fn attempt_failed(&self, in_doubt: bool) {
        let mut queue = self.lock();
        queue.attempting = false;
        queue.in_doubt |= in_doubt;
    }

    /// Makes the next group of at most `captures_max` captures, or the one whose commit was cut short, and lends what the commit
    /// needs of it. `None` puts the journal to sleep until the next push.
    pub(super) fn next_group(&self, captures_max: usize, generation: u64) -> Option<Work> {
        let mut queue = self.lock();
        if queue.group.is_none() {
            let mut group = Group::default();
            while group.captures.len() < captures_max
                && let Some(item) = queue.items.pop_front()
            {
                group.add(item);
            }
            if group.is_empty() {
                for barrier in group.barriers {
                    // A barrier nobody waits for any more holds nothing up.
                    let _ = barrier.send(());
                }
                queue.idle = true;
                return None;
            }
            queue.group = Some(group);
            queue.retry = false;
            queue.in_doubt = false;
        } else {
            queue.retry = true;
            // A journal that was rebuilt in the middle of an attempt does not know how it ended.
            queue.in_doubt |= queue.attempting;
        }
        queue.attempting = true;
        let retry = queue.retry;
        queue.group.as_ref().map(|group| Work {
            captures: group.captures.iter().filter(|entry| entry.generation == generation).map(|entry| entry.capture.clone()).collect(),
            late: group.captures.iter().filter(|entry| entry.generation != generation).map(|entry| entry.capture.clone()).collect(),
            opened: group.opened.clone(),
            closed: group.closed.clone(),
            lease_closes: group.lease_closes.clone(),
            retry,
        })
    }

    /// The current group is durable (or, entry by entry, rejected): answers everyone who waits for it.
    pub(super) fn finish_group(&self, rejected: &[(String, Rejected)]) -> Finished {
        let group = {
            let mut queue = self.lock();
            queue.attempting = false;
            queue.group.take()
        };
        let Some(group) = group else { return Finished::default() };
        let finished = Finished {
            entries: group.captures.len() + group.opened.len() + group.closed.len() + group.lease_closes.len(),
            captures: group.captures.len(),
            captured: group.captures.iter().map(|entry| entry.capture.usage.cost_micros).sum(),
        };
        for entry in group.captures {
            let Some(ticket) = entry.ticket else { continue };
            let refusal = rejected.iter().find(|(id, _)| *id == entry.capture.usage.id).map(|(_, refusal)| refusal.clone());
            // A caller that left does not change what was booked.
            let _ = ticket.send(refusal.map_or(Ok(()), Err));
        }
        for barrier in group.barriers {
            let _ = barrier.send(());
        }
        finished
    }

    pub(super) fn note_key_use(&self, key_id: &str, at: Timestamp) {
        self.keys_used.lock().unwrap_or_else(PoisonError::into_inner).insert(key_id.to_owned(), at);
    }

    pub(super) fn take_keys_used(&self) -> Vec<(String, Timestamp)> {
        std::mem::take(&mut *self.keys_used.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect()
    }

    /// When the oldest entry that is not durable yet was handed in.
    pub fn oldest(&self) -> Option<Timestamp> {
        let queue = self.lock();
        let in_group = queue.group.as_ref().and_then(|group| group.captures.first()).map(|entry| entry.queued_at);
        in_group.or_else(|| {
            queue.items.iter().find_map(|item| match item {
                Item::Capture(entry) => Some(entry.queued_at),
                _ => None,
            })
        })
    }

    /// Entries that wait or are being committed.
    pub fn depth(&self) -> usize {
        let queue = self.lock();
        queue.items.len() + queue.group.as_ref().map_or(0, |group| group.captures.len())
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a group held, for the metrics.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Finished {
    pub entries: usize,
    pub captures: usize,
    pub captured: Micros,
}

/// What a commit needs of a group; the group itself stays in the spool until the commit is known to be done.
pub(super) struct Work {
    pub captures: Vec<Arc<Capture>>,
    /// Captures whose lease belongs to an earlier registration and is void.
    pub late: Vec<Arc<Capture>>,
    pub opened: Vec<OpenHold>,
    pub closed: Vec<String>,
    pub lease_closes: Vec<LeaseClose>,
    pub retry: bool,
}
