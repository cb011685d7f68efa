//! Credits held for one call: a value that is consumed by capturing or releasing it, and released when it is dropped.

use std::{sync::Arc, time::Duration};

use super::{Account, ExtendHold, ForgetClaim, Settled};
use crate::{
    actors::{
        journal::{JournalClient, LeaseGuard, Slot, Ticket},
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

/// A capture on its way to the database.
pub struct Captured {
    pub ticket: Option<Ticket>,
    claim: Option<(Handle<Account>, String)>,
}

impl Captured {
    /// The capture was withdrawn: duplicates of the call may run again.
    pub fn withdrawn(self) {
        if let Some((account, key)) = self.claim {
            account.give_back(ForgetClaim(key));
        }
    }
}

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

    /// Books `usage.cost_micros` and returns the rest. The answer must not end before the ticket is durable.
    ///
    /// Cost above the hold takes what else the account has here, and becomes debt where that does not reach.
    pub async fn capture(mut self, usage: UsageRecord, idempotency: Option<IdempotencyRecord>) -> Captured {
        let Some(mut hold) = self.0.take() else { return Captured { ticket: None, claim: None } };
        let claim_key = idempotency.as_ref().map(|record| record.idempotency_key.clone());
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
        Captured { ticket, claim: claim_key.map(|key| (account, key)) }
    }

    /// Ends the call without a charge; `record` is kept for the operator when an upstream was involved.
    pub fn release(mut self, record: Option<UsageRecord>) {
        if let Some(hold) = self.0.take() {
            hold.release(record);
        }
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
