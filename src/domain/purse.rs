//! The leased credits an account actor spends from in memory: calls hold parts of it, settle, and return the rest.

use std::{collections::VecDeque, sync::Arc};

use super::{Micros, Timestamp, ledger::Slice};

/// A part of one grant, held for one call inside one lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    pub lease_id: Arc<str>,
    pub grant_id: Arc<str>,
    pub amount: Micros,
    /// Expiry of the grant; what a call returns after it cannot be held again and goes to breakage with the end of the lease.
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

    /// Sets `amount` aside, or answers `None` and changes nothing when the purse holds too little. Parts are positive and in draw order.
    pub fn hold(&mut self, amount: Micros, now: Timestamp) -> Option<Vec<Allocation>> {
        debug_assert!(amount >= 0, "a hold of {amount}");
        if amount <= 0 {
            return Some(Vec::new());
        }
        // Nearly every call is covered by the first slice alone.
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

    /// Takes back what a call did not use. Parts of a lease that is gone are dropped: its end returned them to their grants already.
    pub fn give_back(&mut self, unused: impl IntoIterator<Item = Allocation>) {
        for part in unused {
            if let Some(slice) = self.slices.iter_mut().find(|slice| slice.grant_id == part.grant_id && slice.lease_id == part.lease_id) {
                slice.amount += part.amount;
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
    debug_assert!(actual >= 0, "a capture of {actual}");
    let mut missing = actual.max(0);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slice(grant_id: &str, amount: Micros, expires_at: Option<Timestamp>) -> Slice {
        Slice { grant_id: grant_id.into(), amount, expires_at }
    }

    /// Grants and amounts, for comparing.
    fn parts(allocations: &[Allocation]) -> Vec<(&str, Micros)> {
        allocations.iter().map(|part| (&*part.grant_id, part.amount)).collect()
    }

    fn sum(allocations: &[Allocation]) -> Micros {
        allocations.iter().map(|part| part.amount).sum()
    }

    fn purse(lease_id: &str, slices: Vec<Slice>) -> Purse {
        let mut purse = Purse::default();
        purse.add(&lease_id.into(), slices);
        purse
    }

    #[test]
    fn draws_in_order_and_across_grants() {
        let mut purse = purse("l1", vec![slice("a", 5, None), slice("b", 10, None)]);
        assert_eq!(parts(&purse.hold(3, 0).unwrap()), [("a", 3)]);
        assert_eq!(parts(&purse.hold(4, 0).unwrap()), [("a", 2), ("b", 2)]);
        assert_eq!(purse.hold(9, 0), None);
        assert_eq!(purse.total(), 8);
        assert_eq!(parts(&purse.hold(8, 0).unwrap()), [("b", 8)]);
        assert_eq!(purse.hold(0, 0), Some(Vec::new()));
        assert_eq!(purse.hold(1, 0), None);
    }

    #[test]
    fn slices_of_one_lease_and_grant_are_one() {
        let mut purse = purse("l1", vec![slice("a", 5, None), slice("b", 1, None)]);
        purse.add(&"l1".into(), vec![slice("a", 2, None)]);
        purse.add(&"l2".into(), vec![slice("a", 3, None)]);
        let held = purse.hold(11, 0).unwrap();
        assert_eq!(parts(&held), [("a", 7), ("b", 1), ("a", 3)]);
        assert_eq!((&*held[0].lease_id, &*held[2].lease_id), ("l1", "l2"));
    }

    #[test]
    fn the_expired_is_not_held_again() {
        let mut purse = purse("l1", vec![slice("a", 5, Some(100)), slice("b", 5, None)]);
        let held = purse.hold(4, 99).unwrap();
        assert_eq!((purse.total(), purse.drawable(99), purse.drawable(100)), (6, 6, 5));
        purse.give_back(held);
        assert_eq!((purse.total(), purse.drawable(100)), (10, 5));
        assert_eq!(purse.hold(6, 100), None);
        assert_eq!(parts(&purse.hold(5, 100).unwrap()), [("b", 5)]);
    }

    #[test]
    fn what_returns_to_a_lease_that_is_gone_is_dropped() {
        let mut purse = purse("l1", vec![slice("a", 5, None)]);
        let held = purse.hold(4, 0).unwrap();
        purse.clear();
        purse.add(&"l2".into(), vec![slice("a", 2, None)]);
        purse.give_back(held);
        assert_eq!(purse.total(), 2);
    }

    #[test]
    fn splits_at_what_was_used() {
        let held = || purse("l1", vec![slice("a", 3, None), slice("b", 3, None)]).hold(6, 0).unwrap();
        type Parts = &'static [(&'static str, Micros)];
        let cases: [(Micros, Parts, Parts, Micros); 6] = [
            (0, &[], &[("a", 3), ("b", 3)], 0),
            (2, &[("a", 2)], &[("a", 1), ("b", 3)], 0),
            (3, &[("a", 3)], &[("b", 3)], 0),
            (4, &[("a", 3), ("b", 1)], &[("b", 2)], 0),
            (6, &[("a", 3), ("b", 3)], &[], 0),
            (9, &[("a", 3), ("b", 3)], &[], 3),
        ];
        for (actual, captured, unused, beyond) in cases {
            let split = split(held(), actual);
            assert_eq!((parts(&split.0), parts(&split.1), split.2), (captured.to_vec(), unused.to_vec(), beyond), "{actual}");
        }
        assert_eq!(split(Vec::new(), 2), (Vec::new(), Vec::new(), 2));
    }

    #[derive(Debug, Clone)]
    enum Op {
        Add {
            lease: u8,
            grant: u8,
            amount: Micros,
        },
        Hold(Micros),
        /// The oldest open call ends having used this much.
        Settle(Micros),
        Wait(Timestamp),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            (0..2u8, 0..4u8, 1..20i64).prop_map(|(lease, grant, amount)| Op::Add { lease, grant, amount }),
            (0..30i64).prop_map(Op::Hold),
            (0..40i64).prop_map(Op::Settle),
            (0..4i64).prop_map(Op::Wait),
        ];
        prop::collection::vec(op, 0..60)
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_is_made(ops in ops()) {
            let mut purse = Purse::default();
            let (mut now, mut added, mut spent) = (0, 0, 0);
            let mut open: VecDeque<Vec<Allocation>> = VecDeque::new();
            for op in ops {
                match op {
                    Op::Add { lease, grant, amount } => {
                        let expires_at = (grant % 2 == 0).then_some(Timestamp::from(grant) * 8 + 8);
                        purse.add(&format!("l{lease}").into(), vec![slice(&format!("g{grant}"), amount, expires_at)]);
                        added += amount;
                    }
                    Op::Hold(amount) => {
                        let (total, drawable) = (purse.total(), purse.drawable(now));
                        match purse.hold(amount, now) {
                            Some(held) => {
                                prop_assert_eq!(sum(&held), amount);
                                prop_assert!(held.iter().all(|part| part.amount > 0 && part.expires_at.is_none_or(|at| at > now)));
                                prop_assert_eq!((purse.total(), purse.drawable(now)), (total - amount, drawable - amount));
                                open.push_back(held);
                            }
                            None => prop_assert!(drawable < amount && purse.total() == total),
                        }
                    }
                    Op::Settle(actual) => {
                        if let Some(held) = open.pop_front() {
                            let holding = sum(&held);
                            let (captured, unused, beyond) = split(held, actual);
                            prop_assert_eq!(sum(&captured) + beyond, actual);
                            prop_assert_eq!(sum(&captured) + sum(&unused), holding);
                            prop_assert!(beyond == 0 || unused.is_empty());
                            spent += sum(&captured);
                            purse.give_back(unused);
                        }
                    }
                    Op::Wait(by) => now += by,
                }
                let held: Micros = open.iter().map(|held| sum(held)).sum();
                prop_assert_eq!(purse.total() + held + spent, added);
                prop_assert!(purse.slices.iter().all(|slice| slice.amount >= 0));
            }
        }
    }
}
