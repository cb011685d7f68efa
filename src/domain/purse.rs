//! The leased credits an account actor spends from in memory: calls hold parts of it, settle, and return the rest.

use std::{collections::VecDeque, sync::Arc};

use super::{Micros, Timestamp, ledger::Slice};

/// A part of one grant, held for one call inside one lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    pub lease_id: Arc<str>,
    pub grant_id: Arc<str>,
    pub amount: Micros,
    /// Expiry of the grant; what a call returns after it goes to breakage, not back into the purse.
    pub expires_at: Option<Timestamp>,
}

/// Unheld leased credits, in draw order.
#[derive(Debug, Default)]
pub struct Purse {
    slices: VecDeque<Allocation>,
}

impl Purse {
    /// Adds slices of a lease, in draw order behind what is there.
    pub fn add(&mut self, lease_id: &Arc<str>, slices: Vec<Slice>) {
        for slice in slices {
            let same = self.slices.iter_mut().find(|there| *there.grant_id == *slice.grant_id && there.lease_id == *lease_id);
            match same {
                Some(there) => there.amount += slice.amount,
                None => self.slices.push_back(Allocation {
                    lease_id: lease_id.clone(),
                    grant_id: slice.grant_id.into(),
                    amount: slice.amount,
                    expires_at: slice.expires_at,
                }),
            }
        }
    }

    /// Everything unheld, expired or not.
    pub fn total(&self) -> Micros {
        self.slices.iter().map(|slice| slice.amount).sum()
    }

    /// What a new call could hold now.
    pub fn drawable(&self, now: Timestamp) -> Micros {
        self.slices.iter().filter(|slice| slice.expires_at.is_none_or(|at| at > now)).map(|slice| slice.amount).sum()
    }

    /// Sets `amount` aside, or answers `None` and changes nothing when the purse holds too little.
    pub fn hold(&mut self, amount: Micros, now: Timestamp) -> Option<Vec<Allocation>> {
        if let Some(front) = self.slices.front_mut()
            && front.amount >= amount
            && front.expires_at.is_none_or(|at| at > now)
        {
            front.amount -= amount;
            return Some(vec![Allocation { amount, ..front.clone() }]);
        }
        if self.drawable(now) < amount {
            return None;
        }
        let mut missing = amount;
        let mut held = Vec::new();
        for slice in self.slices.iter_mut().filter(|slice| slice.expires_at.is_none_or(|at| at > now)) {
            let part = missing.min(slice.amount);
            if part > 0 {
                slice.amount -= part;
                missing -= part;
                held.push(Allocation { amount: part, ..slice.clone() });
            }
            if missing == 0 {
                break;
            }
        }
        Some(held)
    }

    /// Takes back what a call did not use.
    pub fn give_back(&mut self, unused: impl IntoIterator<Item = Allocation>) {
        for part in unused {
            match self.slices.iter_mut().find(|slice| slice.grant_id == part.grant_id && slice.lease_id == part.lease_id) {
                Some(slice) => slice.amount += part.amount,
                None => self.slices.push_front(part),
            }
        }
    }

    /// Forgets everything, because the lease behind it is gone.
    pub fn clear(&mut self) {
        self.slices.clear();
    }
}

/// Splits held allocations at `actual`, in draw order: what is captured, and what returns. `actual` beyond the hold is the third part.
pub fn split(held: Vec<Allocation>, actual: Micros) -> (Vec<Allocation>, Vec<Allocation>, Micros) {
    let mut missing = actual;
    let mut captured = Vec::with_capacity(held.len());
    let mut unused = Vec::new();
    for part in held {
        let take = missing.min(part.amount);
        missing -= take;
        if take == part.amount {
            if take > 0 {
                captured.push(part);
            }
            continue;
        }
        unused.push(Allocation { amount: part.amount - take, ..part.clone() });
        if take > 0 {
            captured.push(Allocation { amount: take, ..part });
        }
    }
    (captured, unused, missing)
}
