//! The credit ledger of one account, as a pure state machine: every operation answers with the transfers it makes.
//!
//! Double entry by construction: a [`Transfer`] debits one book and credits another by one positive amount, so the sum over
//! all books is always zero. Transfers are immutable; a correction is another transfer. A *lease* is not a transfer but a
//! reservation: credits move from `available` to `leased` inside their grant, and only what a call really used leaves it.
//!
//! For every grant, always: `amount = available + leased + spent + expired + revoked + repaid`.

#[cfg(test)]
mod proof;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::{Micros, Timestamp};

/// The books that transfers move credits between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Book {
    /// Where credits come from.
    Issuance,
    /// What an account can spend, one sub-book per grant.
    Grant,
    /// What calls have used.
    Spent,
    /// What an account owes because a call cost more than it had.
    Debt,
    /// Grants that ran out of time.
    Breakage,
    /// Credits taken back by refund, dispute or an admin.
    Clawback,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransferKind {
    Grant,
    Capture,
    /// The part of a capture that no grant covered.
    Overage,
    /// Credits that are new or came back from a lease pay earlier debt.
    Repay,
    Expire,
    Revoke,
}

/// An immutable line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    pub kind: TransferKind,
    pub debit: Book,
    pub credit: Book,
    /// The grant whose sub-book is debited or credited; `None` only for overage.
    pub grant_id: Option<String>,
    /// Always positive.
    pub amount: Micros,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Drawn before paid credits of the same priority and expiry.
    Promotional,
    Paid,
}

/// Credits given once. Only the six cached sums change after creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub id: String,
    pub amount: Micros,
    pub category: Category,
    /// Lower is drawn first.
    pub priority: i32,
    pub effective_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub available: Micros,
    pub leased: Micros,
    pub spent: Micros,
    pub expired: Micros,
    pub revoked: Micros,
    /// What went straight into paying debt.
    pub repaid: Micros,
}

impl Grant {
    pub fn new(
        id: String,
        amount: Micros,
        category: Category,
        priority: i32,
        effective_at: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> Self {
        Self {
            id,
            amount,
            category,
            priority,
            effective_at,
            expires_at,
            available: amount,
            leased: 0,
            spent: 0,
            expired: 0,
            revoked: 0,
            repaid: 0,
        }
    }

    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    fn is_drawable(&self, now: Timestamp) -> bool {
        self.effective_at <= now && !self.is_expired(now)
    }

    fn draw_key(&self) -> (i32, Timestamp, Category, Timestamp, &str) {
        (self.priority, self.expires_at.unwrap_or(Timestamp::MAX), self.category, self.effective_at, &self.id)
    }

    fn assert_conserved(&self) {
        debug_assert!(
            [self.available, self.leased, self.spent, self.expired, self.revoked, self.repaid].iter().all(|part| *part >= 0),
            "a part of grant {} is negative: {self:?}",
            self.id
        );
        debug_assert_eq!(
            self.amount,
            self.available + self.leased + self.spent + self.expired + self.revoked + self.repaid,
            "grant {} does not add up",
            self.id
        );
    }
}

/// A part of one grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    pub grant_id: String,
    pub amount: Micros,
    /// Expiry of the grant; a slice is not drawn for new calls after it.
    pub expires_at: Option<Timestamp>,
}

/// A node's durable share of an account. Slices say how much of each grant is reserved and not yet folded into `spent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub id: String,
    pub slices: Vec<Slice>,
}

/// All that decides about one account's credits: load it, apply one operation, store the outcome in the same transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wallet {
    pub grants: Vec<Grant>,
    pub leases: Vec<Lease>,
    /// What calls cost beyond all credits and no later grant has paid yet; never negative.
    pub debt: Micros,
    /// All overage ever, paid or not.
    pub overage: Micros,
}

/// Sums over a wallet. `available + held + spent + expired + revoked = granted + debt` at every moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Balance {
    pub available_micros: Micros,
    pub held_micros: Micros,
    pub debt_micros: Micros,
    pub granted_micros: Micros,
    /// Includes what became debt.
    pub spent_micros: Micros,
    pub expired_micros: Micros,
    pub revoked_micros: Micros,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    #[error("{available} of {needed} micros are available")]
    Insufficient { needed: Micros, available: Micros },
    #[error("{debt} micros of debt have to be paid first")]
    InDebt { debt: Micros },
    #[error("amount must be positive")]
    NotPositive,
    #[error("amount is too large")]
    TooLarge,
    #[error("no grant {0}")]
    NoGrant(String),
    #[error("no open lease {0}")]
    NoLease(String),
}

/// Largest single grant: sums of many still fit an `i64`.
pub const GRANT_MICROS_MAX: Micros = 1_000_000_000_000_000;

impl Wallet {
    /// Adds credits. Debt is paid from them first.
    pub fn grant(&mut self, grant: Grant) -> Result<Vec<Transfer>, LedgerError> {
        if grant.amount <= 0 {
            return Err(LedgerError::NotPositive);
        }
        if grant.amount > GRANT_MICROS_MAX {
            return Err(LedgerError::TooLarge);
        }
        let mut transfers = vec![transfer(TransferKind::Grant, Book::Issuance, Book::Grant, Some(&grant.id), grant.amount)];
        let mut grant = grant;
        let repaid = self.debt.min(grant.available);
        if repaid > 0 {
            grant.available -= repaid;
            grant.repaid += repaid;
            self.debt -= repaid;
            transfers.push(transfer(TransferKind::Repay, Book::Grant, Book::Debt, Some(&grant.id), repaid));
        }
        grant.assert_conserved();
        self.grants.push(grant);
        Ok(transfers)
    }

    /// Moves what expired and is not leased to breakage. Doing it twice, or late, changes nothing else.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Transfer> {
        let mut transfers = Vec::new();
        for grant in &mut self.grants {
            if grant.is_expired(now) && grant.available > 0 {
                transfers.push(transfer(TransferKind::Expire, Book::Grant, Book::Breakage, Some(&grant.id), grant.available));
                grant.expired += grant.available;
                grant.available = 0;
                grant.assert_conserved();
            }
        }
        transfers
    }

    /// What can be drawn now and is in no lease.
    pub fn drawable(&self, now: Timestamp) -> Micros {
        self.grants.iter().filter(|grant| grant.is_drawable(now)).map(|grant| grant.available).sum()
    }

    /// Reserves up to `want`, at least `need`, in draw order, for the lease `id` (created when it is not there).
    /// Answers with the slices added. Refused while there is debt; credits that became effective since do not count before [`Self::repay`].
    pub fn lease(&mut self, id: &str, need: Micros, want: Micros, now: Timestamp) -> Result<Vec<Slice>, LedgerError> {
        if need < 0 || want < 0 {
            return Err(LedgerError::NotPositive);
        }
        if self.debt > 0 {
            return Err(LedgerError::InDebt { debt: self.debt });
        }
        let available = self.drawable(now);
        if available < need {
            return Err(LedgerError::Insufficient { needed: need, available });
        }
        let added = self.draw(want.max(need).min(available), now, |grant, amount| grant.leased += amount);
        let index = match self.leases.iter().position(|lease| lease.id == id) {
            Some(index) => index,
            None => {
                self.leases.push(Lease { id: id.to_owned(), slices: Vec::new() });
                self.leases.len() - 1
            }
        };
        for slice in &added {
            merge(&mut self.leases[index].slices, slice);
        }
        Ok(added)
    }

    /// Books captures made inside a lease (their transfers exist already) from `leased` to `spent`, all of them or, on an error, none.
    pub fn fold(&mut self, lease_id: &str, captured: &[(String, Micros)]) -> Result<(), LedgerError> {
        let lease = self.leases.iter_mut().find(|lease| lease.id == lease_id).ok_or_else(|| LedgerError::NoLease(lease_id.to_owned()))?;
        for (grant_id, amount) in captured {
            if *amount <= 0 {
                return Err(LedgerError::NotPositive);
            }
            let known = self.grants.iter().any(|grant| grant.id == *grant_id);
            let reserved = lease.slices.iter().find(|slice| known && slice.grant_id == *grant_id).map(|slice| slice.amount);
            let available = reserved.ok_or_else(|| LedgerError::NoGrant(grant_id.clone()))?;
            let needed = captured.iter().filter(|(other, _)| other == grant_id).map(|(_, amount)| amount).sum();
            if needed > available {
                return Err(LedgerError::Insufficient { needed, available });
            }
        }
        for (grant_id, amount) in captured {
            lease.slices.iter_mut().filter(|slice| slice.grant_id == *grant_id).for_each(|slice| slice.amount -= amount);
            for grant in self.grants.iter_mut().filter(|grant| grant.id == *grant_id) {
                grant.leased -= amount;
                grant.spent += amount;
                grant.assert_conserved();
            }
        }
        Ok(())
    }

    /// Ends a lease after its captures were folded: what is left returns to its grants, from there to breakage what expired
    /// meanwhile, and then to debt what is owed: it arose only because these credits were out of reach.
    pub fn close_lease(&mut self, lease_id: &str, now: Timestamp) -> Result<Vec<Transfer>, LedgerError> {
        let index = self.leases.iter().position(|lease| lease.id == lease_id).ok_or_else(|| LedgerError::NoLease(lease_id.to_owned()))?;
        let unknown = self.leases[index].slices.iter().find(|slice| self.grants.iter().all(|grant| grant.id != slice.grant_id));
        if let Some(slice) = unknown {
            return Err(LedgerError::NoGrant(slice.grant_id.clone()));
        }
        for slice in self.leases.swap_remove(index).slices {
            for grant in self.grants.iter_mut().filter(|grant| grant.id == slice.grant_id) {
                grant.leased -= slice.amount;
                grant.available += slice.amount;
                grant.assert_conserved();
            }
        }
        let mut transfers = self.expire(now);
        transfers.extend(self.repay(now));
        Ok(transfers)
    }

    /// Pays debt from what is drawable now. Needed only where credits became drawable otherwise than by [`Self::grant`] and
    /// [`Self::close_lease`]: when a grant's time comes while there is debt.
    pub fn repay(&mut self, now: Timestamp) -> Vec<Transfer> {
        let paid = self.draw(self.debt.min(self.drawable(now)), now, |grant, amount| grant.repaid += amount);
        self.debt -= paid.iter().map(|slice| slice.amount).sum::<Micros>();
        paid.iter().map(|slice| transfer(TransferKind::Repay, Book::Grant, Book::Debt, Some(&slice.grant_id), slice.amount)).collect()
    }

    /// Takes `amount` at once, outside any lease: available credits first, the rest becomes debt. Used for cost above a hold
    /// and for captures whose lease is gone; it is never refused, because the service was already rendered.
    pub fn debit(&mut self, amount: Micros, now: Timestamp) -> Vec<Transfer> {
        debug_assert!(amount >= 0, "a debit of {amount}");
        let amount = amount.max(0);
        let covered = self.draw(amount.min(self.drawable(now)), now, |grant, amount| grant.spent += amount);
        let mut transfers: Vec<Transfer> = covered
            .iter()
            .map(|slice| transfer(TransferKind::Capture, Book::Grant, Book::Spent, Some(&slice.grant_id), slice.amount))
            .collect();
        let gap = amount - covered.iter().map(|slice| slice.amount).sum::<Micros>();
        if gap > 0 {
            self.debt += gap;
            self.overage += gap;
            transfers.push(transfer(TransferKind::Overage, Book::Debt, Book::Spent, None, gap));
        }
        transfers
    }

    /// Takes back what is unspent and unleased of a grant, up to `amount`; answers with what was taken. Call [`Self::expire`]
    /// first, or what should have expired by now is taken too.
    pub fn revoke(&mut self, grant_id: &str, amount: Micros) -> Result<Vec<Transfer>, LedgerError> {
        if amount <= 0 {
            return Err(LedgerError::NotPositive);
        }
        let grant = self.grants.iter_mut().find(|grant| grant.id == grant_id).ok_or_else(|| LedgerError::NoGrant(grant_id.to_owned()))?;
        let taken = amount.min(grant.available);
        if taken == 0 {
            return Ok(Vec::new());
        }
        grant.available -= taken;
        grant.revoked += taken;
        grant.assert_conserved();
        Ok(vec![transfer(TransferKind::Revoke, Book::Grant, Book::Clawback, Some(grant_id), taken)])
    }

    /// Sums; leased credits count as available here, because only the leaseholder knows which of them are held.
    pub fn balance(&self) -> Balance {
        let sum = |part: fn(&Grant) -> Micros| self.grants.iter().map(part).sum::<Micros>();
        Balance {
            available_micros: sum(|grant| grant.available) + sum(|grant| grant.leased),
            held_micros: 0,
            debt_micros: self.debt,
            granted_micros: sum(|grant| grant.amount),
            spent_micros: sum(|grant| grant.spent) + self.overage,
            expired_micros: sum(|grant| grant.expired),
            revoked_micros: sum(|grant| grant.revoked),
        }
    }

    /// Draws `amount` (which must be drawable) in draw order and books each part with `book`.
    fn draw(&mut self, amount: Micros, now: Timestamp, book: impl Fn(&mut Grant, Micros)) -> Vec<Slice> {
        let mut order: Vec<usize> =
            (0..self.grants.len()).filter(|&index| self.grants[index].available > 0 && self.grants[index].is_drawable(now)).collect();
        order.sort_by(|&left, &right| self.grants[left].draw_key().cmp(&self.grants[right].draw_key()));
        let mut missing = amount;
        let mut slices = Vec::new();
        for index in order {
            if missing == 0 {
                break;
            }
            let grant = &mut self.grants[index];
            let part = missing.min(grant.available);
            grant.available -= part;
            book(grant, part);
            grant.assert_conserved();
            missing -= part;
            slices.push(Slice { grant_id: grant.id.clone(), amount: part, expires_at: grant.expires_at });
        }
        debug_assert_eq!(missing, 0, "drew more than was drawable");
        slices
    }
}

fn merge(slices: &mut Vec<Slice>, added: &Slice) {
    match slices.iter_mut().find(|slice| slice.grant_id == added.grant_id) {
        Some(slice) => slice.amount += added.amount,
        None => slices.push(added.clone()),
    }
}

fn transfer(kind: TransferKind, debit: Book, credit: Book, grant_id: Option<&str>, amount: Micros) -> Transfer {
    debug_assert!(amount > 0, "transfers are positive");
    Transfer { kind, debit, credit, grant_id: grant_id.map(str::to_owned), amount }
}
