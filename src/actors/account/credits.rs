//! This node's share of the account's credits: leased ahead, held per call, topped up before it runs out.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{Account, Admission, Admit, NotAdmitted, Position};
use crate::{
    actors::{
        journal::{AcquireError, Acquired, LeaseGuard, LeaseRefused},
        supervision::{Ctx, Reply, ServiceContext},
    },
    domain::{
        Micros, SECOND, Timestamp,
        ledger::LedgerError,
        purse::{Allocation, Purse},
        refusal::Refusal,
    },
};

/// The first lease covers this many calls like the one that asks, if the balance allows.
const CALLS_AHEAD: Micros = 64;
/// How long a "nothing left" is believed before the ledger is asked again; a change made on this node ends it at once.
const EXHAUSTION_BELIEVED: Timestamp = SECOND / 2;
/// Calls that may wait for one lease.
const WAITING_MAX: usize = 10_000;

type AdmitReply = Reply<Result<Admission, NotAdmitted>>;

pub(super) struct Credits {
    purse: Purse,
    lease: Option<Arc<LeaseGuard>>,
    /// Registration of the node under which `lease` was taken.
    generation: u64,
    acquiring: bool,
    waiting: VecDeque<(Admit, AdmitReply)>,
    /// What the ledger still has beyond the purse, as last heard, and when.
    left: Option<(Micros, Timestamp)>,
    /// What the account owes, as last heard.
    debt: Micros,
    horizon: Duration,
    spent: Micros,
    spent_since: Timestamp,
    version: u64,
}

impl Credits {
    pub fn new(horizon: Duration, now: Timestamp) -> Self {
        Self {
            purse: Purse::default(),
            lease: None,
            generation: 0,
            acquiring: false,
            waiting: VecDeque::new(),
            left: None,
            debt: 0,
            horizon,
            spent: 0,
            spent_since: now,
            version: 0,
        }
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn unheld(&self) -> Micros {
        self.purse.total()
    }

    pub fn is_acquiring(&self) -> bool {
        self.acquiring
    }

    pub fn forget_exhaustion(&mut self) {
        self.left = None;
    }

    /// The lease a call spends from; free calls need none.
    pub fn lease_of(&self, allocations: &[Allocation]) -> Option<Arc<LeaseGuard>> {
        if allocations.is_empty() { None } else { self.lease.clone() }
    }

    pub fn position(&self, held: Micros, now: Timestamp) -> Position {
        let unheld = self.purse.drawable(now);
        Position {
            lease_id: self.lease.as_ref().map(|lease| lease.id().to_string()),
            unheld,
            lapsed: self.purse.total() - unheld,
            held,
            unsettled: self.acquiring,
            version: self.version,
        }
    }

    /// Takes back what a call did not use. What was held under a void lease has gone back to the ledger already.
    pub fn returned(&mut self, unused: Vec<Allocation>, spent: Micros) {
        self.spent += spent;
        let lease = self.lease.as_ref().map(|lease| lease.id().clone());
        self.purse.give_back(unused.into_iter().filter(|part| Some(&part.lease_id) == lease.as_ref()));
    }

    pub fn take_up_to(&mut self, amount: Micros, now: Timestamp) -> Vec<Allocation> {
        let amount = amount.min(self.purse.drawable(now));
        self.purse.hold(amount, now).unwrap_or_default().into_iter().filter(|part| part.amount > 0).collect()
    }

    /// Drops a share that was leased under a former registration of this node.
    fn check_generation(&mut self, generation: u64) {
        if self.generation != generation {
            self.generation = generation;
            self.purse.clear();
            self.lease = None;
            self.left = None;
            self.version += 1;
        }
    }

    /// How much to lease: what the account spends in the horizon, at least some calls like this one.
    fn wanted(&mut self, need: Micros, now: Timestamp) -> Micros {
        let elapsed = i128::from((now - self.spent_since).max(SECOND / 10));
        let horizon = self.horizon.as_micros() as i128;
        let by_rate = i128::from(self.spent) * horizon / elapsed;
        self.spent = 0;
        self.spent_since = now;
        Micros::try_from(by_rate).unwrap_or(Micros::MAX).max(need.saturating_mul(CALLS_AHEAD))
    }

    fn is_exhausted(&self, missing: Micros, now: Timestamp) -> Option<Micros> {
        let (left, at) = self.left?;
        (missing > left && now - at < EXHAUSTION_BELIEVED).then_some(left)
    }
}

impl Account {
    /// Admits a call that passed every other check, now or when more credits are leased.
    pub(super) fn hold_or_wait(&mut self, message: Admit, reply: AdmitReply, ctx: &mut Ctx<Self>) {
        let now = self.parts.clock.now();
        let standing = self.parts.journal.standing();
        self.credits.check_generation(standing.generation());
        if message.hold > 0 && now >= standing.valid_until() {
            let what = "the ledger cannot be reached and this node's share of the balance has expired";
            self.reject(message, reply, Refusal::Overloaded { what, retry_after_ms: 2_000 });
            return;
        }
        if message.hold == 0 {
            self.admit(message, Vec::new(), reply, ctx);
            return;
        }
        if self.credits.waiting.is_empty()
            && let Some(held) = self.credits.purse.hold(message.hold, now)
        {
            let low = self.credits.purse.total() < message.hold.saturating_mul(CALLS_AHEAD / 4);
            let may_have_more = self.credits.left.is_none_or(|(left, _)| left > 0);
            let again = message.hold;
            self.admit(message, held, reply, ctx);
            if low && may_have_more {
                self.acquire(0, again, ctx);
            }
            return;
        }
        let missing = message.hold - self.credits.purse.drawable(now).min(message.hold);
        if let Some(left) = self.credits.is_exhausted(missing, now).filter(|_| !self.credits.acquiring) {
            let refusal = match self.credits.debt {
                0 => Refusal::InsufficientCredits { needed: message.hold, available: self.credits.purse.drawable(now) + left },
                debt => Refusal::InDebt { debt },
            };
            self.reject(message, reply, refusal);
            return;
        }
        if self.credits.waiting.len() >= WAITING_MAX {
            self.reject(
                message,
                reply,
                Refusal::Overloaded { what: "too many calls of this account wait for the ledger", retry_after_ms: 1_000 },
            );
            return;
        }
        let need = message.hold;
        self.credits.waiting.push_back((message, reply));
        self.acquire(missing, need, ctx);
    }

    /// Serves waiting calls from what is there, in their order; refuses nobody.
    pub(super) fn serve_waiting(&mut self, ctx: &mut Ctx<Self>) {
        let now = self.parts.clock.now();
        while let Some((message, reply)) = self.credits.waiting.pop_front() {
            if reply.is_abandoned() {
                self.uncheck(&message, now);
                self.end_claim(&message);
                continue;
            }
            match self.credits.purse.hold(message.hold, now) {
                Some(held) => self.admit(message, held, reply, ctx),
                None => {
                    let missing = message.hold - self.credits.purse.drawable(now).min(message.hold);
                    let hold = message.hold;
                    self.credits.waiting.push_front((message, reply));
                    self.acquire(missing, hold, ctx);
                    return;
                }
            }
        }
    }

    /// Leases at least `need` more, in the background; one request at a time.
    fn acquire(&mut self, need: Micros, like: Micros, ctx: &mut Ctx<Self>) {
        if self.credits.acquiring {
            return;
        }
        self.credits.acquiring = true;
        self.credits.version += 1;
        let lease = match &self.credits.lease {
            Some(lease) => lease.clone(),
            None => {
                let lease = self.parts.journal.lease(&self.account_id);
                self.credits.lease = Some(lease.clone());
                lease
            }
        };
        let want = self.credits.wanted(like, self.parts.clock.now()).max(need);
        let journal = self.parts.journal.clone();
        let id = lease.id().clone();
        let asked = async move { journal.acquire(lease, need, want).await };
        ctx.run(asked, move |account, outcome, ctx| account.acquired(&id, outcome, ctx));
    }

    fn acquired(&mut self, lease_id: &Arc<str>, outcome: Result<Acquired, AcquireError>, ctx: &mut Ctx<Self>) {
        let now = self.parts.clock.now();
        self.credits.acquiring = false;
        self.credits.version += 1;
        match outcome {
            Ok(acquired) => {
                self.credits.check_generation(acquired.generation);
                let current = self.credits.lease.as_ref().is_some_and(|lease| lease.id() == lease_id);
                if current {
                    self.credits.purse.add(lease_id, acquired.grant.slices);
                    self.credits.left = Some((acquired.grant.left_available, now));
                }
                self.serve_waiting(ctx);
            }
            Err(AcquireError::Refused(LeaseRefused::Credits(LedgerError::InDebt { debt }))) => {
                self.credits.left = Some((0, now));
                self.credits.debt = debt;
                self.refuse_waiting(|_, _| Refusal::InDebt { debt });
            }
            Err(AcquireError::Refused(LeaseRefused::Credits(LedgerError::Insufficient { available, .. }))) => {
                self.credits.left = Some((available, now));
                self.credits.debt = 0;
                let purse = self.credits.purse.drawable(now);
                // The first call does not fit; later ones may be smaller.
                self.refuse_first(|message| Refusal::InsufficientCredits { needed: message.hold, available: purse + available });
                while let Some((message, _)) = self.credits.waiting.front()
                    && message.hold > purse + available
                {
                    self.refuse_first(|message| Refusal::InsufficientCredits { needed: message.hold, available: purse + available });
                }
                self.serve_waiting(ctx);
            }
            Err(error) => {
                tracing::warn!(account.id = %self.account_id, error = %error, "credits could not be leased");
                let what = "the ledger cannot be reached";
                self.refuse_waiting(|_, _| Refusal::Overloaded { what, retry_after_ms: 1_000 });
            }
        }
    }

    fn refuse_waiting(&mut self, refusal: impl Fn(&Admit, Timestamp) -> Refusal) {
        let now = self.parts.clock.now();
        while !self.credits.waiting.is_empty() {
            self.refuse_first(|message| refusal(message, now));
        }
    }

    fn refuse_first(&mut self, refusal: impl FnOnce(&Admit) -> Refusal) {
        if let Some((message, reply)) = self.credits.waiting.pop_front() {
            let refusal = refusal(&message);
            self.reject(message, reply, refusal);
        }
    }

    /// Refuses a call that had passed the other checks.
    pub(super) fn reject(&mut self, message: Admit, reply: AdmitReply, refusal: Refusal) {
        let now = self.parts.clock.now();
        self.uncheck(&message, now);
        self.end_claim(&message);
        self.refuse(refusal, reply, &message.credentials);
    }

    fn end_claim(&mut self, message: &Admit) {
        if let Some(claim) = &message.idempotency {
            self.in_flight.end(&claim.key, false, &self.account_id, self.parts.clock.now());
        }
    }
}
