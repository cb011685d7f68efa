//! A wallet under its lock: loaded, changed by the pure operations of `domain::ledger`, and written back as a difference.

use sea_orm::{ConnectionTrait, DatabaseTransaction, QueryResult, Value};

use super::{LeaseState, TransferRow, insert_transfers};
use crate::{
    domain::{
        Micros, Timestamp,
        ledger::{Grant, Lease, LedgerError, Slice, Transfer, Wallet},
    },
    store::{StoreError, locking, sql},
};

const GRANT_COLUMNS: &str = "id, amount_micros, category, priority, effective_at, expires_at, \
    available_micros, leased_micros, spent_micros, expired_micros, revoked_micros, repaid_micros";

/// One account's wallet, locked until the transaction ends. It holds the grants that have something left and the leases asked for.
pub struct LockedWallet<'t> {
    transaction: &'t DatabaseTransaction,
    account_id: String,
    pub wallet: Wallet,
    before: Wallet,
    leases: Vec<LeaseRow>,
    transfers: Vec<Recorded>,
}

struct LeaseRow {
    id: String,
    folded_seq: i64,
    next_position: i32,
    is_new: bool,
    ended: Option<LeaseState>,
}

struct Recorded {
    transfer: Transfer,
    cause: String,
    actor: String,
}

impl<'t> LockedWallet<'t> {
    /// Locks the wallet and loads it without leases.
    pub async fn lock(transaction: &'t DatabaseTransaction, account_id: &str) -> Result<Self, StoreError> {
        let text = locking(transaction, "SELECT debt_micros, overage_micros FROM wallets WHERE account_id = $1", "FOR UPDATE");
        let Some(row) = sql::one(transaction, &text, [account_id.into()]).await? else {
            return Err(StoreError::NotFound(format!("account {account_id}")));
        };
        let (debt, overage) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        let text = format!("SELECT {GRANT_COLUMNS} FROM grants WHERE account_id = $1 AND (available_micros > 0 OR leased_micros > 0)");
        let rows = sql::all(transaction, &text, [account_id.into()]).await?;
        let grants = rows.iter().map(read_grant).collect::<Result<Vec<_>, _>>()?;
        let wallet = Wallet { grants, leases: Vec::new(), debt, overage };
        let before = wallet.clone();
        Ok(Self { transaction, account_id: account_id.to_owned(), wallet, before, leases: Vec::new(), transfers: Vec::new() })
    }

    /// Takes expired credits out, as every operation does before it decides.
    pub fn expire(&mut self, now: Timestamp) -> usize {
        let transfers = self.wallet.expire(now);
        let count = transfers.len();
        self.record(transfers, "expiry", "system");
        count
    }

    /// Keeps transfers to be written by [`save`](Self::save).
    pub fn record(&mut self, transfers: Vec<Transfer>, cause: &str, actor: &str) {
        let recorded = |transfer| Recorded { transfer, cause: cause.to_owned(), actor: actor.to_owned() };
        self.transfers.extend(transfers.into_iter().map(recorded));
    }

    /// Loads a lease of this account and folds its captures. Answers with its state; `None` when there is no such lease.
    pub async fn load_lease(&mut self, lease_id: &str) -> Result<Option<LeaseState>, StoreError> {
        let text = "SELECT state, folded_seq FROM leases WHERE id = $1 AND account_id = $2";
        let Some(row) = sql::one(self.transaction, text, [lease_id.into(), self.account_id.as_str().into()]).await? else {
            return Ok(None);
        };
        let state = LeaseState::parse(&row.try_get_by_index::<String>(0)?)?;
        if state != LeaseState::Open {
            return Ok(Some(state));
        }
        let text = "SELECT grant_id, amount_micros, expires_at, position FROM lease_slices WHERE lease_id = $1 ORDER BY position";
        let mut lease = Lease { id: lease_id.to_owned(), slices: Vec::new() };
        let mut next_position = 0;
        for row in sql::all(self.transaction, text, [lease_id.into()]).await? {
            let slice =
                Slice { grant_id: row.try_get_by_index(0)?, amount: row.try_get_by_index(1)?, expires_at: row.try_get_by_index(2)? };
            lease.slices.push(slice);
            next_position = row.try_get_by_index::<i32>(3)? + 1;
        }
        self.before.leases.push(lease.clone());
        self.wallet.leases.push(lease);
        let folded_seq = row.try_get_by_index(1)?;
        self.leases.push(LeaseRow { id: lease_id.to_owned(), folded_seq, next_position, is_new: false, ended: None });
        self.fold(lease_id, folded_seq).await?;
        Ok(Some(state))
    }

    /// Says that the wallet will get a lease of this id, which has no row yet.
    pub async fn announce_lease(&mut self, lease_id: &str) -> Result<(), StoreError> {
        // No transfer that exists now can belong to a lease that does not: folding starts behind them.
        let text = "SELECT COALESCE(MAX(seq), 0) FROM ledger_transfers WHERE account_id = $1";
        let row = sql::one(self.transaction, text, [self.account_id.as_str().into()]).await?;
        let folded_seq = row.map_or(Ok(0), |row| row.try_get_by_index::<i64>(0))?;
        self.leases.push(LeaseRow { id: lease_id.to_owned(), folded_seq, next_position: 0, is_new: true, ended: None });
        Ok(())
    }

    /// Ends a loaded lease; what it did not use is available again.
    pub fn end_lease(&mut self, lease_id: &str, state: LeaseState, now: Timestamp) -> Result<(), StoreError> {
        let transfers = self.wallet.close_lease(lease_id, now).map_err(corrupt)?;
        self.record(transfers, "expiry", "system");
        if let Some(row) = self.leases.iter_mut().find(|row| row.id == lease_id) {
            row.ended = Some(state);
        }
        Ok(())
    }

    async fn fold(&mut self, lease_id: &str, folded_seq: i64) -> Result<(), StoreError> {
        let text = "SELECT grant_id, CAST(SUM(amount_micros) AS BIGINT), MAX(seq) FROM ledger_transfers \
            WHERE account_id = $1 AND seq > $2 AND lease_id = $3 GROUP BY grant_id";
        let values: [Value; 3] = [self.account_id.as_str().into(), folded_seq.into(), lease_id.into()];
        let mut captured = Vec::new();
        // The largest number of this lease's own rows: another lease's smaller one may still be under way.
        let mut last_seq = folded_seq;
        for row in sql::all(self.transaction, text, values).await? {
            captured.push((row.try_get_by_index::<String>(0)?, row.try_get_by_index::<Micros>(1)?));
            last_seq = last_seq.max(row.try_get_by_index(2)?);
        }
        let slices = self.wallet.leases.iter().find(|lease| lease.id == lease_id).map(|lease| &lease.slices);
        for (grant_id, amount) in &captured {
            let reserved = slices.into_iter().flatten().find(|slice| &slice.grant_id == grant_id).map_or(0, |slice| slice.amount);
            if *amount > reserved {
                return Err(StoreError::Corrupt(format!("lease {lease_id} captured {amount} of {reserved} micros of grant {grant_id}")));
            }
        }
        self.wallet.fold(lease_id, &captured).map_err(corrupt)?;
        if let Some(row) = self.leases.iter_mut().find(|row| row.id == lease_id) {
            row.folded_seq = last_seq;
        }
        Ok(())
    }

    /// Writes everything that changed. New grants are the caller's to insert, because they carry more than the wallet knows.
    pub async fn save(self, node_id: &str, now: Timestamp) -> Result<Wallet, StoreError> {
        for grant in &self.wallet.grants {
            if self.before.grants.iter().any(|before| before.id == grant.id && before != grant) {
                update_grant(self.transaction, grant).await?;
            }
        }
        if (self.wallet.debt, self.wallet.overage) != (self.before.debt, self.before.overage) {
            let text = "UPDATE wallets SET debt_micros = $1, overage_micros = $2 WHERE account_id = $3";
            let values: [Value; 3] = [self.wallet.debt.into(), self.wallet.overage.into(), self.account_id.as_str().into()];
            sql::execute(self.transaction, text, values).await?;
        }
        for row in &self.leases {
            self.save_lease(row, node_id, now).await?;
        }
        let rows = self.transfers.iter().map(|recorded| transfer_row(&self.account_id, recorded, now)).collect::<Result<Vec<_>, _>>()?;
        insert_transfers(self.transaction, &rows).await?;
        Ok(self.wallet)
    }

    async fn save_lease(&self, row: &LeaseRow, node_id: &str, now: Timestamp) -> Result<(), StoreError> {
        let id = row.id.as_str();
        if let Some(state) = row.ended {
            sql::execute(self.transaction, "DELETE FROM lease_slices WHERE lease_id = $1", [id.into()]).await?;
            let text = "UPDATE leases SET state = $1, folded_seq = $2, closed_at = $3 WHERE id = $4";
            sql::execute(self.transaction, text, [state.as_str().into(), row.folded_seq.into(), now.into(), id.into()]).await?;
            return Ok(());
        }
        let find = |wallet: &Wallet| wallet.leases.iter().find(|lease| lease.id == id).map(|lease| lease.slices.clone());
        let Some(slices) = find(&self.wallet) else {
            return Ok(());
        };
        let before = find(&self.before).unwrap_or_default();
        if row.is_new {
            let text = "INSERT INTO leases (id, account_id, node_id, state, folded_seq, created_at) VALUES ($1, $2, $3, $4, $5, $6)";
            let state = LeaseState::Open.as_str();
            let values: [Value; 6] =
                [id.into(), self.account_id.as_str().into(), node_id.into(), state.into(), row.folded_seq.into(), now.into()];
            sql::execute(self.transaction, text, values).await?;
        } else {
            let text = "UPDATE leases SET folded_seq = $1 WHERE id = $2";
            sql::execute(self.transaction, text, [row.folded_seq.into(), id.into()]).await?;
        }
        let mut position = row.next_position;
        for slice in &slices {
            let known = before.iter().find(|known| known.grant_id == slice.grant_id);
            if known == Some(slice) {
                continue;
            }
            let key: [Value; 2] = [id.into(), slice.grant_id.as_str().into()];
            if slice.amount == 0 {
                sql::execute(self.transaction, "DELETE FROM lease_slices WHERE lease_id = $1 AND grant_id = $2", key).await?;
            } else if known.is_some() {
                let text = "UPDATE lease_slices SET amount_micros = $3 WHERE lease_id = $1 AND grant_id = $2";
                sql::execute(self.transaction, text, key.into_iter().chain([slice.amount.into()])).await?;
            } else {
                let text = "INSERT INTO lease_slices (lease_id, grant_id, position, amount_micros, expires_at) VALUES ($1, $2, $3, $4, $5)";
                let rest: [Value; 3] = [position.into(), slice.amount.into(), slice.expires_at.into()];
                sql::execute(self.transaction, text, key.into_iter().chain(rest)).await?;
                position += 1;
            }
        }
        Ok(())
    }
}

fn transfer_row<'a>(account_id: &'a str, recorded: &'a Recorded, now: Timestamp) -> Result<TransferRow<'a>, StoreError> {
    Ok(TransferRow {
        account_id,
        kind: sql::to_word(&recorded.transfer.kind)?.into(),
        debit: sql::to_word(&recorded.transfer.debit)?.into(),
        credit: sql::to_word(&recorded.transfer.credit)?.into(),
        grant_id: recorded.transfer.grant_id.as_deref(),
        lease_id: None,
        amount: recorded.transfer.amount,
        cause: &recorded.cause,
        actor: &recorded.actor,
        created_at: now,
    })
}

async fn update_grant(connection: &impl ConnectionTrait, grant: &Grant) -> Result<(), StoreError> {
    let text = "UPDATE grants SET available_micros = $1, leased_micros = $2, spent_micros = $3, expired_micros = $4, \
        revoked_micros = $5, repaid_micros = $6 WHERE id = $7";
    let values: [Value; 7] = [
        grant.available.into(),
        grant.leased.into(),
        grant.spent.into(),
        grant.expired.into(),
        grant.revoked.into(),
        grant.repaid.into(),
        grant.id.as_str().into(),
    ];
    sql::execute(connection, text, values).await?;
    Ok(())
}

fn read_grant(row: &QueryResult) -> Result<Grant, StoreError> {
    Ok(Grant {
        id: row.try_get_by_index(0)?,
        amount: row.try_get_by_index(1)?,
        category: sql::from_word(&row.try_get_by_index::<String>(2)?, "grants.category")?,
        priority: row.try_get_by_index(3)?,
        effective_at: row.try_get_by_index(4)?,
        expires_at: row.try_get_by_index(5)?,
        available: row.try_get_by_index(6)?,
        leased: row.try_get_by_index(7)?,
        spent: row.try_get_by_index(8)?,
        expired: row.try_get_by_index(9)?,
        revoked: row.try_get_by_index(10)?,
        repaid: row.try_get_by_index(11)?,
    })
}

/// The pure ledger refused rows that it made itself.
fn corrupt(error: LedgerError) -> StoreError {
    StoreError::Corrupt(error.to_string())
}
