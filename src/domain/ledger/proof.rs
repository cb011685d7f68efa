//! The ledger and the purse against an independent model: single credits, each in one place, moved one at a time.
//!
//! The numbers are those of the usual checklist of a credit ledger. Checked after every step: I1 (two different books per
//! transfer, positive), I2 (all books sum to zero), I3 and I4 (every grant adds up, no part negative), I5 (cached sums equal
//! the sums over all transfers), I14 (draw order, eligibility), I20 (open holds are covered by leases), I22 (what was spent is what calls
//! cost). Checked by the operations: I10 (a refusal changes nothing), I15 (expiring twice), I16 (expiring early or late),
//! I18 (a hold resolves once, a closed lease stays closed), I19 (captured + returned = held), I21 (a lease that ends with open
//! holds restores exactly their grants). By construction: I6 (transfers are never changed) and I7 (one wallet at a time).
//! Keys, concurrency and crashes (I8, I9, I11) are the store's.

use std::{collections::BTreeMap, sync::Arc};

use proptest::{prelude::*, test_runner::Config};

use super::*;
use crate::domain::purse::{Allocation, Purse, split};

const NODES: usize = 2;

#[derive(Debug, Clone)]
enum Op {
    Grant { amount: Micros, category: Category, priority: i32, starts_in: Timestamp, lives: Option<Timestamp> },
    Lease { node: usize, need: Micros, more: Micros },
    Hold { node: usize, amount: Micros },
    Settle { call: usize, actual: Micros },
    Fold { node: usize },
    Close { node: usize },
    Debit(Micros),
    Revoke { grant: usize, amount: Micros },
    Expire,
    Repay,
    Wait(Timestamp),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let node = || 0..NODES;
    let category = prop::sample::select(vec![Category::Promotional, Category::Paid]);
    let starts_in = prop_oneof![3 => -5..1i64, 1 => 1..10i64];
    let grant = (1..12i64, category, 0..2i32, starts_in, prop::option::of(1..40i64));
    let op = prop_oneof![
        4 => grant.prop_map(|(amount, category, priority, starts_in, lives)| Op::Grant { amount, category, priority, starts_in, lives }),
        4 => (node(), 0..8i64, 0..12i64).prop_map(|(node, need, more)| Op::Lease { node, need, more }),
        6 => (node(), 0..8i64).prop_map(|(node, amount)| Op::Hold { node, amount }),
        5 => (any::<usize>(), 0..9i64).prop_map(|(call, actual)| Op::Settle { call, actual }),
        2 => node().prop_map(|node| Op::Fold { node }),
        2 => node().prop_map(|node| Op::Close { node }),
        1 => (0..8i64).prop_map(Op::Debit),
        1 => (any::<usize>(), 0..8i64).prop_map(|(grant, amount)| Op::Revoke { grant, amount }),
        1 => Just(Op::Expire),
        1 => Just(Op::Repay),
        3 => (1..12i64).prop_map(Op::Wait),
    ];
    prop::collection::vec(op, 1..50)
}

/// What a grant was given as. Its number is its place in [`Model::terms`].
struct Terms {
    category: Category,
    priority: i32,
    effective_at: Timestamp,
    expires_at: Option<Timestamp>,
}

type LeaseNumber = usize;
type CallNumber = usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Free,
    Leased(LeaseNumber),
    Held(LeaseNumber, CallNumber),
    /// Used by a call, not folded yet.
    Captured(LeaseNumber),
    Spent,
    Expired,
    Revoked,
    Repaid,
}

/// One credit.
struct Coin {
    grant: usize,
    place: Place,
}

/// Parts in the order they were moved, neighbours of one grant together.
type Parts = Vec<(usize, Micros)>;

#[derive(Default)]
struct Model {
    now: Timestamp,
    terms: Vec<Terms>,
    coins: Vec<Coin>,
    /// Grants of each lease in the order they came in.
    arrivals: Vec<Vec<usize>>,
    debt: Micros,
    overage: Micros,
    /// What all calls and debits cost.
    charged: Micros,
}

impl Model {
    fn count(&self, of: impl Fn(&Coin) -> bool) -> Micros {
        self.coins.iter().filter(|coin| of(coin)).count() as Micros
    }

    fn expired(&self, grant: usize) -> bool {
        matches!(self.terms[grant].expires_at, Some(end) if end <= self.now)
    }

    fn drawable(&self, coin: &Coin) -> bool {
        coin.place == Place::Free && self.terms[coin.grant].effective_at <= self.now && !self.expired(coin.grant)
    }

    /// Is grant `left` drawn before grant `right`? The rule as it is told, not as a sort key.
    fn precedes(&self, left: usize, right: usize) -> bool {
        let (a, b) = (&self.terms[left], &self.terms[right]);
        if a.priority != b.priority {
            return a.priority < b.priority;
        }
        if a.expires_at != b.expires_at {
            return match (a.expires_at, b.expires_at) {
                (Some(a), Some(b)) => a < b,
                (end, _) => end.is_some(),
            };
        }
        if a.category != b.category {
            return a.category == Category::Promotional;
        }
        if a.effective_at != b.effective_at {
            return a.effective_at < b.effective_at;
        }
        left < right
    }

    /// Moves up to `amount` drawable coins to `place`, the first in draw order one by one.
    fn draw(&mut self, amount: Micros, place: Place) -> Parts {
        let mut parts = Parts::new();
        for _ in 0..amount {
            let mut best: Option<usize> = None;
            for (index, coin) in self.coins.iter().enumerate() {
                if self.drawable(coin) && best.is_none_or(|best| self.precedes(coin.grant, self.coins[best].grant)) {
                    best = Some(index);
                }
            }
            let Some(best) = best else { break };
            self.coins[best].place = place;
            push(&mut parts, self.coins[best].grant);
        }
        parts
    }

    /// Moves every coin that `from` picks.
    fn relocate(&mut self, from: impl Fn(&Self, &Coin) -> bool, to: Place) -> Parts {
        let mut parts = Parts::new();
        for index in 0..self.coins.len() {
            if from(self, &self.coins[index]) {
                self.coins[index].place = to;
                push(&mut parts, self.coins[index].grant);
            }
        }
        parts
    }

    /// Moves one coin of `lease` from `from` to `to`, of the grant that came in first.
    fn move_one(&mut self, lease: LeaseNumber, from: Place, to: Place, may: impl Fn(&Self, usize) -> bool) -> Option<usize> {
        let grants = self.arrivals[lease].iter().copied().filter(|grant| may(self, *grant));
        let found = grants.filter_map(|grant| self.coins.iter().position(|coin| coin.grant == grant && coin.place == from)).next()?;
        self.coins[found].place = to;
        Some(self.coins[found].grant)
    }

    fn expire(&mut self) -> Parts {
        self.relocate(|model, coin| coin.place == Place::Free && model.expired(coin.grant), Place::Expired)
    }

    fn repay(&mut self) -> Parts {
        let paid = self.draw(self.debt, Place::Repaid);
        self.debt -= total(&paid);
        paid
    }

    /// Answers with what grants paid and what became debt.
    fn debit(&mut self, amount: Micros) -> (Parts, Micros) {
        let paid = self.draw(amount, Place::Spent);
        let gap = amount - total(&paid);
        self.debt += gap;
        self.overage += gap;
        (paid, gap)
    }
}

fn push(parts: &mut Parts, grant: usize) {
    match parts.last_mut() {
        Some((last, amount)) if *last == grant => *amount += 1,
        _ => parts.push((grant, 1)),
    }
}

fn total(parts: &Parts) -> Micros {
    parts.iter().map(|(_, amount)| amount).sum()
}

/// Grants sort by id as they were made, as real ids do.
fn grant_id(grant: usize) -> String {
    format!("grant_{grant:04}")
}

struct Node {
    lease: LeaseNumber,
    lease_id: Arc<str>,
    leased: bool,
    purse: Purse,
    unfolded: Vec<(String, Micros)>,
}

impl Node {
    fn new(lease: LeaseNumber) -> Self {
        Self { lease, lease_id: format!("lease_{lease}").into(), leased: false, purse: Purse::default(), unfolded: Vec::new() }
    }
}

struct Call {
    number: CallNumber,
    node: usize,
    lease: LeaseNumber,
    held: Vec<Allocation>,
}

/// The ledger at work beside its model.
struct Trial {
    model: Model,
    wallet: Wallet,
    /// The same wallet, but expired before every operation (I16).
    prompt: Wallet,
    nodes: Vec<Node>,
    open: Vec<Call>,
    calls: CallNumber,
    log: Vec<Transfer>,
}

impl Trial {
    fn new() -> Self {
        let nodes = (0..NODES).map(Node::new).collect();
        let model = Model { arrivals: vec![Vec::new(); NODES], ..Model::default() };
        Self { model, wallet: Wallet::default(), prompt: Wallet::default(), nodes, open: Vec::new(), calls: 0, log: Vec::new() }
    }

    /// Does the same to both wallets; I10: a refusal changes nothing.
    fn both<T, E: PartialEq + std::fmt::Debug>(&mut self, operation: impl Fn(&mut Wallet) -> Result<T, E>) -> (Result<T, E>, Result<T, E>) {
        self.prompt.expire(self.model.now);
        let before = self.wallet.clone();
        let outcome = operation(&mut self.wallet);
        if outcome.is_err() {
            assert_eq!(self.wallet, before);
        }
        (outcome, operation(&mut self.prompt))
    }

    /// Enters transfers that were made and compares them with the model's, in their order.
    fn record(&mut self, transfers: Vec<Transfer>, expected: impl IntoIterator<Item = (TransferKind, Parts)>) {
        let made: Vec<_> = transfers.iter().map(|transfer| (transfer.kind, transfer.grant_id.clone(), transfer.amount)).collect();
        let flat = expected.into_iter().flat_map(|(kind, parts)| parts.into_iter().map(move |(grant, amount)| (kind, grant, amount)));
        let expected: Vec<_> =
            flat.map(|(kind, grant, amount)| (kind, (kind != TransferKind::Overage).then(|| grant_id(grant)), amount)).collect();
        assert_eq!(made, expected);
        self.log.extend(transfers);
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Grant { amount, category, priority, starts_in, lives } => {
                let effective_at = self.model.now + starts_in;
                let expires_at = lives.map(|lives| self.model.now + lives);
                self.grant(amount, Terms { category, priority, effective_at, expires_at });
            }
            Op::Lease { node, need, more } => self.lease(node, need, need + more),
            Op::Hold { node, amount } => self.hold(node, amount),
            Op::Settle { call, actual } => self.settle(call, actual),
            Op::Fold { node } => self.fold(node),
            Op::Close { node } => self.close(node),
            Op::Debit(amount) => {
                self.model.charged += amount;
                self.debit(amount);
            }
            Op::Revoke { grant, amount } => self.revoke(grant, amount),
            Op::Expire => self.expire(),
            Op::Repay => {
                let now = self.model.now;
                let (late, prompt) = self.both(|wallet| Ok::<_, ()>(wallet.repay(now)));
                assert_eq!(late, prompt);
                let expected = self.model.repay();
                self.record(late.unwrap(), [(TransferKind::Repay, expected)]);
                assert!(self.wallet.debt == 0 || self.wallet.drawable(now) == 0);
            }
            Op::Wait(by) => self.model.now += by,
        }
    }

    fn grant(&mut self, amount: Micros, terms: Terms) {
        let number = self.model.terms.len();
        let Terms { category, priority, effective_at, expires_at } = terms;
        let fresh = Grant::new(grant_id(number), amount, category, priority, effective_at, expires_at);
        let (late, prompt) = self.both(|wallet| wallet.grant(fresh.clone()));
        assert_eq!(late, prompt);
        // Debt is paid first, by this grant and by no other.
        let repaid = self.model.debt.min(amount);
        self.model.debt -= repaid;
        self.model.terms.push(terms);
        let place = |index| if index < repaid { Place::Repaid } else { Place::Free };
        self.model.coins.extend((0..amount).map(|index| Coin { grant: number, place: place(index) }));
        let paid = if repaid > 0 { vec![(number, repaid)] } else { Parts::new() };
        self.record(late.unwrap(), [(TransferKind::Grant, vec![(number, amount)]), (TransferKind::Repay, paid)]);
    }

    fn lease(&mut self, node: usize, need: Micros, want: Micros) {
        let now = self.model.now;
        let (lease, lease_id) = (self.nodes[node].lease, self.nodes[node].lease_id.clone());
        let (late, prompt) = self.both(|wallet| wallet.lease(&lease_id, need, want, now));
        assert_eq!(late, prompt, "I16: expiry changed what was leased");
        let available = self.model.count(|coin| self.model.drawable(coin));
        assert_eq!(self.wallet.drawable(now) + late.as_ref().map_or(0, |slices| slices.iter().map(|slice| slice.amount).sum()), available);
        if self.model.debt > 0 {
            assert_eq!(late, Err(LedgerError::InDebt { debt: self.model.debt }));
        } else if available < need {
            assert_eq!(late, Err(LedgerError::Insufficient { needed: need, available }));
        } else {
            let slices = late.unwrap();
            let expected = self.model.draw(want, Place::Leased(lease));
            let drawn: Vec<_> = slices.iter().map(|slice| (slice.grant_id.clone(), slice.amount)).collect();
            assert_eq!(drawn, expected.iter().map(|(grant, amount)| (grant_id(*grant), *amount)).collect::<Vec<_>>(), "I14");
            for (grant, _) in expected {
                if !self.model.arrivals[lease].contains(&grant) {
                    self.model.arrivals[lease].push(grant);
                }
            }
            self.nodes[node].leased = true;
            self.nodes[node].purse.add(&lease_id, slices);
        }
    }

    fn hold(&mut self, node: usize, amount: Micros) {
        let (lease, now) = (self.nodes[node].lease, self.model.now);
        let drawable = self.model.count(|coin| coin.place == Place::Leased(lease) && !self.model.expired(coin.grant));
        assert_eq!(self.nodes[node].purse.drawable(now), drawable);
        let Some(held) = self.nodes[node].purse.hold(amount, now) else {
            assert!(drawable < amount);
            return;
        };
        let number = self.calls;
        self.calls += 1;
        let mut expected = Parts::new();
        for _ in 0..amount {
            let place = Place::Held(lease, number);
            let moved = self.model.move_one(lease, Place::Leased(lease), place, |model, grant| !model.expired(grant));
            push(&mut expected, moved.unwrap());
        }
        assert_eq!(named(&held), expected.iter().map(|(grant, amount)| (grant_id(*grant), *amount)).collect::<Vec<_>>());
        self.open.push(Call { number, node, lease, held });
    }

    fn settle(&mut self, call: usize, actual: Micros) {
        if self.open.is_empty() {
            return;
        }
        let call = self.open.swap_remove(call % self.open.len());
        self.model.charged += actual;
        if self.nodes[call.node].lease != call.lease {
            // I18: its lease is over, the hold is resolved already. Nothing returns, and the cost is taken directly.
            let total = self.nodes[call.node].purse.total();
            self.nodes[call.node].purse.give_back(call.held);
            assert_eq!(self.nodes[call.node].purse.total(), total);
            self.debit(actual);
            return;
        }
        let holding: Micros = call.held.iter().map(|part| part.amount).sum();
        let (captured, unused, beyond) = split(call.held, actual);
        // I19
        let sum = |parts: &[Allocation]| parts.iter().map(|part| part.amount).sum::<Micros>();
        assert_eq!((sum(&captured) + sum(&unused), sum(&captured) + beyond), (holding, actual));
        let held = Place::Held(call.lease, call.number);
        let mut expected = Parts::new();
        for _ in 0..actual.min(holding) {
            let moved = self.model.move_one(call.lease, held, Place::Captured(call.lease), |_, _| true);
            push(&mut expected, moved.unwrap());
        }
        self.model.relocate(|_, coin| coin.place == held, Place::Leased(call.lease));
        let book = |part: &Allocation| transfer(TransferKind::Capture, Book::Grant, Book::Spent, Some(&part.grant_id), part.amount);
        self.record(captured.iter().map(book).collect(), [(TransferKind::Capture, expected)]);
        self.nodes[call.node].unfolded.extend(named(&captured));
        self.nodes[call.node].purse.give_back(unused);
        self.debit(beyond);
    }

    fn fold(&mut self, node: usize) {
        let lease = self.nodes[node].lease;
        let (lease_id, unfolded) = (self.nodes[node].lease_id.clone(), std::mem::take(&mut self.nodes[node].unfolded));
        let (late, prompt) = self.both(|wallet| wallet.fold(&lease_id, &unfolded));
        assert_eq!(late, prompt);
        assert_eq!(late.is_ok(), self.nodes[node].leased);
        self.model.relocate(|_, coin| coin.place == Place::Captured(lease), Place::Spent);
    }

    /// Also while calls are open, as when a node died or was fenced off.
    fn close(&mut self, node: usize) {
        self.fold(node);
        let (now, lease, lease_id) = (self.model.now, self.nodes[node].lease, self.nodes[node].lease_id.clone());
        let (late, _) = self.both(|wallet| wallet.close_lease(&lease_id, now));
        if !self.nodes[node].leased {
            assert_eq!(late, Err(LedgerError::NoLease(lease_id.to_string())));
            return;
        }
        // I21
        let belongs = |coin: &Coin| matches!(coin.place, Place::Leased(of) | Place::Held(of, _) if of == lease);
        self.model.relocate(|_, coin| belongs(coin), Place::Free);
        let expired = self.model.expire();
        let repaid = self.model.repay();
        self.record(late.unwrap(), [(TransferKind::Expire, expired), (TransferKind::Repay, repaid)]);
        assert!(self.wallet.debt == 0 || self.wallet.drawable(now) == 0, "credits lie idle beside debt");
        // I18
        let (again, _) = self.both(|wallet| wallet.close_lease(&lease_id, now));
        assert_eq!(again, Err(LedgerError::NoLease(lease_id.to_string())));
        self.nodes[node] = Node { purse: std::mem::take(&mut self.nodes[node].purse), ..Node::new(self.model.arrivals.len()) };
        self.nodes[node].purse.clear();
        self.model.arrivals.push(Vec::new());
    }

    fn debit(&mut self, amount: Micros) {
        let now = self.model.now;
        let (late, prompt) = self.both(|wallet| Ok::<_, ()>(wallet.debit(amount, now)));
        assert_eq!(late, prompt, "I16: expiry changed what was debited");
        let (paid, gap) = self.model.debit(amount);
        let overage = if gap > 0 { vec![(0, gap)] } else { Parts::new() };
        self.record(late.unwrap(), [(TransferKind::Capture, paid), (TransferKind::Overage, overage)]);
    }

    fn revoke(&mut self, grant: usize, amount: Micros) {
        self.expire();
        let grant = grant.checked_rem(self.model.terms.len()).unwrap_or(0);
        let (late, prompt) = self.both(|wallet| wallet.revoke(&grant_id(grant), amount));
        assert_eq!(late, prompt);
        if amount == 0 || self.model.terms.is_empty() {
            assert!(late.is_err());
            return;
        }
        let mut expected = Parts::new();
        for coin in self.model.coins.iter_mut().filter(|coin| coin.grant == grant && coin.place == Place::Free).take(amount as usize) {
            coin.place = Place::Revoked;
            push(&mut expected, grant);
        }
        self.record(late.unwrap(), [(TransferKind::Revoke, expected)]);
    }

    fn expire(&mut self) {
        let now = self.model.now;
        let transfers = self.wallet.expire(now);
        let expected = self.model.expire();
        self.record(transfers, [(TransferKind::Expire, expected)]);
        // I15
        let before = self.wallet.clone();
        assert_eq!(self.wallet.expire(now), []);
        assert_eq!(self.wallet, before);
    }

    fn check(&self) {
        self.check_grants();
        self.check_books();
        self.check_leases();
        // I16: late expiry catches up with prompt expiry completely.
        let (mut late, mut prompt) = (self.wallet.clone(), self.prompt.clone());
        late.expire(self.model.now);
        prompt.expire(self.model.now);
        assert_eq!(late, prompt, "I16");
    }

    fn check_grants(&self) {
        let Self { model, wallet, .. } = self;
        assert_eq!((wallet.debt, wallet.overage, wallet.grants.len()), (model.debt, model.overage, model.terms.len()));
        for (number, grant) in wallet.grants.iter().enumerate() {
            let count = |place: fn(Place) -> bool| model.count(|coin| coin.grant == number && place(coin.place));
            let leased = count(|place| matches!(place, Place::Leased(_) | Place::Held(..) | Place::Captured(_)));
            let parts = [grant.available, grant.leased, grant.spent, grant.expired, grant.revoked, grant.repaid];
            let expected = [
                count(|place| place == Place::Free),
                leased,
                count(|place| place == Place::Spent),
                count(|place| place == Place::Expired),
                count(|place| place == Place::Revoked),
                count(|place| place == Place::Repaid),
            ];
            assert_eq!(parts, expected, "{}", grant.id);
            // I3, I4
            assert_eq!(grant.amount, parts.iter().sum::<Micros>());
            assert!(parts.iter().all(|part| *part >= 0));
        }
        // I3 for the wallet, as published: open holds are moved from available to held by whoever knows them.
        let Balance { available_micros, held_micros, debt_micros, granted_micros, spent_micros, expired_micros, revoked_micros } =
            wallet.balance();
        assert_eq!(available_micros + held_micros + spent_micros + expired_micros + revoked_micros, granted_micros + debt_micros);
    }

    fn check_books(&self) {
        let mut books: BTreeMap<(Book, Option<&str>), Micros> = BTreeMap::new();
        for transfer in &self.log {
            // I1
            let (debit, credit) = match transfer.kind {
                TransferKind::Grant => (Book::Issuance, Book::Grant),
                TransferKind::Capture => (Book::Grant, Book::Spent),
                TransferKind::Overage => (Book::Debt, Book::Spent),
                TransferKind::Repay => (Book::Grant, Book::Debt),
                TransferKind::Expire => (Book::Grant, Book::Breakage),
                TransferKind::Revoke => (Book::Grant, Book::Clawback),
            };
            assert_eq!((transfer.debit, transfer.credit), (debit, credit));
            assert!(transfer.amount > 0 && debit != credit);
            for (book, change) in [(debit, -transfer.amount), (credit, transfer.amount)] {
                let sub_book = transfer.grant_id.as_deref().filter(|_| book == Book::Grant);
                *books.entry((book, sub_book)).or_default() += change;
            }
        }
        // I2
        assert_eq!(books.values().sum::<Micros>(), 0);
        // I5: captures not folded yet have left the grant's book, but not its cached `leased`.
        let mut unfolded: BTreeMap<&str, Micros> = BTreeMap::new();
        for (grant, amount) in self.nodes.iter().flat_map(|node| &node.unfolded) {
            *unfolded.entry(grant).or_default() += amount;
        }
        let of = |book| books.get(&(book, None)).copied().unwrap_or(0);
        let sum = |part: fn(&Grant) -> Micros| self.wallet.grants.iter().map(part).sum::<Micros>();
        for grant in &self.wallet.grants {
            let booked = books.get(&(Book::Grant, Some(&grant.id))).copied().unwrap_or(0);
            assert_eq!(booked, grant.available + grant.leased - unfolded.get(&*grant.id).copied().unwrap_or(0), "{}", grant.id);
        }
        let spent = sum(|grant| grant.spent) + unfolded.values().sum::<Micros>() + self.wallet.overage;
        assert_eq!(of(Book::Issuance), -sum(|grant| grant.amount));
        assert_eq!(of(Book::Spent), spent);
        assert_eq!(of(Book::Debt), -self.wallet.debt);
        assert_eq!(of(Book::Breakage), sum(|grant| grant.expired));
        assert_eq!(of(Book::Clawback), sum(|grant| grant.revoked));
        // I22
        assert_eq!(spent, self.model.charged);
    }

    fn check_leases(&self) {
        assert_eq!(self.wallet.leases.len(), self.nodes.iter().filter(|node| node.leased).count());
        for node in self.nodes.iter().filter(|node| node.leased) {
            let lease = self.wallet.leases.iter().find(|lease| *lease.id == *node.lease_id).unwrap();
            let belongs =
                |coin: &Coin| matches!(coin.place, Place::Leased(of) | Place::Held(of, _) | Place::Captured(of) if of == node.lease);
            let mut reserved = 0;
            for slice in &lease.slices {
                assert_eq!(slice.amount, self.model.count(|coin| belongs(coin) && grant_id(coin.grant) == slice.grant_id));
                reserved += slice.amount;
            }
            assert_eq!(reserved, self.model.count(belongs));
            // I20
            let held: Micros =
                self.open.iter().filter(|call| call.lease == node.lease).flat_map(|call| &call.held).map(|part| part.amount).sum();
            let unfolded: Micros = node.unfolded.iter().map(|(_, amount)| amount).sum();
            assert_eq!(node.purse.total() + held + unfolded, reserved);
        }
    }
}

fn named(parts: &[Allocation]) -> Vec<(String, Micros)> {
    parts.iter().map(|part| (part.grant_id.to_string(), part.amount)).collect()
}

proptest! {
    #![proptest_config(Config { cases: 768, ..Config::default() })]

    #[test]
    fn the_ledger_agrees_with_counting_single_credits(ops in ops()) {
        let mut trial = Trial::new();
        for op in ops {
            trial.apply(op);
            trial.check();
        }
    }
}
