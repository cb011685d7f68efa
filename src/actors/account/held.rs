//! Credits held for one call: a value that is consumed by capturing or releasing it, and released when it is dropped.

use std::{sync::Arc, time::Duration};

use super::{Account, ExtendHold, Settled, Withdrawn};
use crate::{
    actors::{
        journal::{JournalClient, LeaseGuard, NotDurable, Slot, Ticket},
        supervision::Handle,
    },
    domain::{
        Micros,
        purse::{Allocation, split},
        usage::UsageRecord,
    },
    store::{idempotency::IdempotencyRecord, ledger::Capture},
};

const EXTEND_DEADLINE: Duration = Duration::from_millis(500);

/// One call's hold: credits inside a durable lease, a place in the journal, and the call's part of every limit.
#[must_use = "dropping it releases the hold"]
pub struct HeldCredits(Option<Hold>);

pub(super) struct Hold {
    pub number: u64,
    /// The actor's incarnation that placed it; a later one does not know it.
    pub incarnation: u64,
    pub generation: u64,
    pub allocations: Vec<Allocation>,
    pub amount: Micros,
    pub slot: Slot,
    /// Keeps the lease open until this call has settled.
    pub lease: Option<Arc<LeaseGuard>>,
    pub account: Handle<Account>,
    pub journal: JournalClient,
}

impl HeldCredits {
    pub(super) fn new(hold: Hold) -> Self {
        Self(Some(hold))
    }

    /// The most this call was expected to cost.
    pub fn amount(&self) -> Micros {
        self.0.as_ref().map_or(0, |hold| hold.amount)
    }

    /// Books `usage.cost_micros` and returns the rest. The answer must not end before the charge is durable.
    ///
    /// Cost above the hold takes what else the account has here, and becomes debt where that does not reach.
    pub async fn capture(mut self, usage: UsageRecord, idempotency: Option<IdempotencyRecord>) -> Option<Charge> {
        let mut hold = self.0.take()?;
        let beyond = usage.cost_micros - hold.amount;
        if beyond > 0 {
            let extend = ExtendHold { incarnation: hold.incarnation, amount: beyond };
            if let Ok(more) = hold.account.ask(extend, EXTEND_DEADLINE).await {
                hold.allocations.extend(more);
            }
        }
        let (captured, unused, overage) = split(std::mem::take(&mut hold.allocations), usage.cost_micros);
        let tokens = usage.quantities.tokens();
        let cost = usage.cost_micros;
        let ended = usage.finished_at;
        let capture = Capture { usage, allocations: captured, overage, idempotency };
        let Hold { number, incarnation, generation, slot, lease, account, journal, .. } = hold;
        let ticket = journal.capture(capture, generation, slot);
        account.give_back(Settled { number, incarnation, unused, cost, tokens, ended: Some(ended) });
        // Last: the lease may close only behind the capture.
        drop(lease);
        Some(Charge { ticket, account, incarnation, journal })
    }

    /// Ends the call without a charge; `record` is kept for the operator when an upstream was involved.
    pub fn release(mut self, record: Option<UsageRecord>) {
        if let Some(hold) = self.0.take() {
            hold.release(record);
        }
    }
}

/// A capture on its way to the store.
#[must_use = "the answer must not end before its charge is durable"]
pub struct Charge {
    ticket: Option<Ticket>,
    account: Handle<Account>,
    incarnation: u64,
    journal: JournalClient,
}

impl Charge {
    /// Waits until the charge is durable. One that will never be booked goes back to the account.
    pub async fn durable(self) -> Result<(), NotDurable> {
        let Self { ticket, account, incarnation, journal } = self;
        let durable = journal.durable(ticket).await;
        if let Err(NotDurable::Withdrawn(capture) | NotDurable::Rejected(_, capture)) = &durable {
            account.give_back(Withdrawn { incarnation, capture: capture.clone() });
        }
        durable
    }
}

impl Hold {
    fn release(self, record: Option<UsageRecord>) {
        let Hold { number, incarnation, allocations, slot, lease, account, journal, .. } = self;
        if let Some(usage) = record {
            journal.record(Capture { usage, allocations: Vec::new(), overage: 0, idempotency: None }, slot);
        }
        account.give_back(Settled { number, incarnation, unused: allocations, cost: 0, tokens: 0, ended: None });
        drop(lease);
    }
}

impl Drop for HeldCredits {
    fn drop(&mut self) {
        if let Some(hold) = self.0.take() {
            hold.release(None);
        }
    }
}
