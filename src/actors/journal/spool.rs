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

/// What became of a capture that was not booked.
#[derive(Debug)]
pub(super) enum NotBooked {
    /// Its caller gave up, and nothing of it was written.
    Withdrawn(Arc<Capture>),
    Rejected(Rejected, Arc<Capture>),
}

type Outcome = Result<(), NotBooked>;

/// Resolves when the capture is durable.
pub struct Ticket {
    pub(super) usage_id: String,
    pub(super) committed: oneshot::Receiver<Outcome>,
}

pub(super) struct Entry {
    pub capture: Arc<Capture>,
    /// The registration under which its credits were leased.
    pub generation: u64,
    /// When it was handed in; the oldest one tells how far the journal lags.
    pub queued_at: Timestamp,
    pub ticket: Option<oneshot::Sender<Outcome>>,
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
    /// True when an attempt at the group was made before.
    retry: bool,
    /// True while an attempt at the group runs, and after one of which nothing was heard again.
    attempting: bool,
    /// True when an earlier attempt at the group may have been written.
    in_doubt: bool,
    /// Captures whose callers gave up during an attempt; they go if it turns out to have written nothing.
    given_up: Vec<String>,
    /// True while the journal sleeps and has to be woken.
    idle: bool,
}

impl Entry {
    fn withdrawn(self) {
        if let Some(ticket) = self.ticket {
            // A caller that left meanwhile is not charged, either.
            let _ = ticket.send(Err(NotBooked::Withdrawn(self.capture)));
        }
    }
}

impl Queue {
    /// Takes those who gave up out of a group that is certainly not written.
    fn let_go(&mut self) {
        let given_up = std::mem::take(&mut self.given_up);
        let Some(group) = self.group.as_mut().filter(|_| !self.in_doubt && !given_up.is_empty()) else { return };
        let (gone, stays) = std::mem::take(&mut group.captures).into_iter().partition(|entry| given_up.contains(&entry.capture.usage.id));
        group.captures = stays;
        Vec::into_iter(gone).for_each(Entry::withdrawn);
    }
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

    /// Takes a capture back, so that it will never be booked; its ticket says so at once, or when the attempt that runs now has
    /// failed without writing anything. What may have been written already stays.
    pub(super) fn withdraw(&self, usage_id: &str) {
        let mut queue = self.lock();
        let is_it = |item: &Item| matches!(item, Item::Capture(entry) if entry.capture.usage.id == usage_id);
        if let Some(index) = queue.items.iter().position(is_it) {
            if let Some(Item::Capture(entry)) = queue.items.remove(index) {
                entry.withdrawn();
            }
            return;
        }
        queue.given_up.push(usage_id.to_owned());
        if !queue.attempting {
            queue.let_go();
        }
    }

    /// The attempt at the current group failed; the group stays to be tried again, without those who gave up if nothing of it can
    /// have been written.
    pub(super) fn attempt_failed(&self, in_doubt: bool) {
        let mut queue = self.lock();
        queue.attempting = false;
        queue.in_doubt |= in_doubt;
        queue.let_go();
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
            // The journal was restarted in the middle of an attempt.
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
            queue.given_up.clear();
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
            let _ = ticket.send(refusal.map_or(Ok(()), |refusal| Err(NotBooked::Rejected(refusal, entry.capture))));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::usage::{Outcome as Ended, UsageRecord};

    fn push(spool: &Spool, id: &str) -> Ticket {
        let text = || id.to_owned();
        let usage = UsageRecord {
            id: text(),
            request_id: text(),
            account_id: text(),
            key_id: text(),
            endpoint: text(),
            model: text(),
            upstream: text(),
            upstream_model: text(),
            status: 200,
            outcome: Ended::Completed,
            error_code: None,
            streamed: false,
            estimated: false,
            quantities: Default::default(),
            cost_micros: 1,
            answer_id: None,
            attempts: 1,
            started_at: 0,
            first_byte_at: None,
            finished_at: 0,
        };
        let capture = Capture { usage, allocations: Vec::new(), overage: 0, idempotency: None };
        spool.push_capture(capture, 1, spool.slot().unwrap(), 0, true).0.unwrap()
    }

    fn is_withdrawn(ticket: &mut Ticket) -> bool {
        matches!(ticket.committed.try_recv(), Ok(Err(NotBooked::Withdrawn(_))))
    }

    #[test]
    fn a_capture_that_waits_is_withdrawn_at_once() {
        let spool = Spool::new(8);
        let mut ticket = push(&spool, "req_1");
        spool.withdraw("req_1");
        assert!(is_withdrawn(&mut ticket) && spool.next_group(8, 1).is_none());
        assert_eq!(spool.slots_taken(), 0);
    }

    #[test]
    fn a_capture_in_a_running_attempt_is_withdrawn_only_if_nothing_was_written() {
        let spool = Spool::new(8);
        let (mut gone, mut stays) = (push(&spool, "req_1"), push(&spool, "req_2"));
        assert_eq!(spool.next_group(8, 1).unwrap().captures.len(), 2);
        spool.withdraw("req_1");
        assert!(!is_withdrawn(&mut gone), "the attempt may succeed");
        spool.attempt_failed(false);
        assert!(is_withdrawn(&mut gone));
        let again = spool.next_group(8, 1).unwrap();
        assert_eq!((again.captures.len(), again.retry), (1, true));
        spool.finish_group(&[]);
        assert!(matches!(stays.committed.try_recv(), Ok(Ok(()))));
    }

    #[test]
    fn a_capture_that_may_be_written_stays() {
        for heard_of_the_attempt in [true, false] {
            let spool = Spool::new(8);
            let mut ticket = push(&spool, "req_1");
            spool.next_group(8, 1).unwrap();
            if heard_of_the_attempt {
                spool.attempt_failed(true);
            }
            // Also when a later attempt certainly wrote nothing.
            spool.next_group(8, 1).unwrap();
            spool.withdraw("req_1");
            spool.attempt_failed(false);
            spool.withdraw("req_1");
            assert_eq!(spool.next_group(8, 1).unwrap().captures.len(), 1);
            spool.finish_group(&[]);
            assert!(matches!(ticket.committed.try_recv(), Ok(Ok(()))));
        }
    }
}
