//! Reading the ledger: balances and the list of transfers.

use sea_orm::{QueryResult, Value};

use crate::{
    domain::{
        Micros, Timestamp,
        ledger::{Balance, Book, TransferKind},
    },
    store::{Db, StoreError, sql},
};

/// What the database knows of an account's credits at one moment. Leased credits count as available, and captures count as spent
/// whether folded or not; what expired counts as expired once it is booked ([`super::expire_grants`]). Which leased credits are held by calls the nodes know better than the rows of [`LeasePosition::held`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBalance {
    pub balance: Balance,
    pub open_leases: Vec<LeasePosition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasePosition {
    pub lease_id: String,
    pub node_id: String,
    /// Leased and not captured.
    pub reserved: Micros,
    /// Sum of the holds written down, at most `reserved` plus what calls may overrun.
    pub held: Micros,
}

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub seq: i64,
    pub kind: TransferKind,
    pub debit: Book,
    pub credit: Book,
    pub grant_id: Option<String>,
    pub lease_id: Option<String>,
    pub amount: Micros,
    /// Id of the call or grant, or the name of the job.
    pub cause: String,
    pub actor: String,
    pub created_at: Timestamp,
}

/// The balance of an account as booked, all of it from one snapshot.
pub async fn balance(db: &Db, account_id: &str) -> Result<StoredBalance, StoreError> {
    balance_at(db, account_id, Timestamp::MIN).await
}

/// As [`balance`], and what has run out by `now` counts as expired although no operation has booked it yet.
pub async fn balance_at(db: &Db, account_id: &str, now: Timestamp) -> Result<StoredBalance, StoreError> {
    db.within(async {
        let snapshot = db.begin_snapshot().await?;
        let text = "SELECT w.debt_micros, w.overage_micros, \
            CAST(COALESCE(SUM(g.available_micros + g.leased_micros), 0) AS BIGINT), \
            CAST(COALESCE(SUM(g.amount_micros), 0) AS BIGINT), CAST(COALESCE(SUM(g.spent_micros), 0) AS BIGINT), \
            CAST(COALESCE(SUM(g.expired_micros), 0) AS BIGINT), CAST(COALESCE(SUM(g.revoked_micros), 0) AS BIGINT), \
            CAST(COALESCE(SUM(CASE WHEN g.expires_at <= $2 THEN g.available_micros ELSE 0 END), 0) AS BIGINT) \
            FROM wallets w LEFT JOIN grants g ON g.account_id = w.account_id \
            WHERE w.account_id = $1 GROUP BY w.account_id, w.debt_micros, w.overage_micros";
        let Some(sums) = sql::one(&snapshot, text, [account_id.into(), now.into()]).await? else {
            return Err(StoreError::NotFound(format!("account {account_id}")));
        };
        let text = "SELECT l.id, l.node_id, \
            CAST((SELECT COALESCE(SUM(s.amount_micros), 0) FROM lease_slices s WHERE s.lease_id = l.id) AS BIGINT), \
            CAST((SELECT COALESCE(SUM(t.amount_micros), 0) FROM ledger_transfers t \
                WHERE t.account_id = l.account_id AND t.seq > l.folded_seq AND t.lease_id = l.id) AS BIGINT), \
            CAST((SELECT COALESCE(SUM(h.amount_micros), 0) FROM open_holds h \
                WHERE h.node_id = l.node_id AND h.lease_id = l.id) AS BIGINT) \
            FROM leases l WHERE l.account_id = $1 AND l.state = 'open' ORDER BY l.id";
        let leases = sql::all(&snapshot, text, [account_id.into()]).await?;
        snapshot.commit().await?;
        let mut unfolded = 0;
        let mut open_leases = Vec::with_capacity(leases.len());
        for row in leases {
            let (sliced, captured): (Micros, Micros) = (row.try_get_by_index(2)?, row.try_get_by_index(3)?);
            unfolded += captured;
            open_leases.push(LeasePosition {
                lease_id: row.try_get_by_index(0)?,
                node_id: row.try_get_by_index(1)?,
                reserved: sliced - captured,
                held: row.try_get_by_index(4)?,
            });
        }
        Ok(StoredBalance { balance: sum_up(&sums, unfolded)?, open_leases })
    })
    .await
}

fn sum_up(sums: &QueryResult, unfolded: Micros) -> Result<Balance, StoreError> {
    let micros = |index: usize| sums.try_get_by_index::<Micros>(index);
    let lapsed = micros(7)?;
    Ok(Balance {
        debt_micros: micros(0)?,
        available_micros: micros(2)? - unfolded - lapsed,
        held_micros: 0,
        granted_micros: micros(3)?,
        spent_micros: micros(4)? + unfolded + micros(1)?,
        expired_micros: micros(5)? + lapsed,
        revoked_micros: micros(6)?,
    })
}

/// Transfers of an account, newest first, before the one numbered `after`.
pub async fn entries(db: &Db, account_id: &str, after: Option<i64>, limit: u64) -> Result<Vec<Entry>, StoreError> {
    let text = "SELECT seq, kind, debit, credit, grant_id, lease_id, amount_micros, cause, actor, created_at FROM ledger_transfers \
        WHERE account_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3";
    let limit: i64 = sql::number(limit, "limit")?;
    let values: [Value; 3] = [account_id.into(), after.unwrap_or(i64::MAX).into(), limit.into()];
    db.within(async { sql::all(db.read(), text, values).await?.iter().map(read_entry).collect() }).await
}

/// Whether a transfer of this number is one of the account's.
pub async fn has_entry(db: &Db, account_id: &str, seq: i64) -> Result<bool, StoreError> {
    let text = "SELECT seq FROM ledger_transfers WHERE seq = $1 AND account_id = $2";
    db.within(async { Ok(sql::one(db.read(), text, [seq.into(), account_id.into()]).await?.is_some()) }).await
}

fn read_entry(row: &QueryResult) -> Result<Entry, StoreError> {
    Ok(Entry {
        seq: row.try_get_by_index(0)?,
        kind: sql::from_word(&row.try_get_by_index::<String>(1)?, "ledger_transfers.kind")?,
        debit: sql::from_word(&row.try_get_by_index::<String>(2)?, "ledger_transfers.debit")?,
        credit: sql::from_word(&row.try_get_by_index::<String>(3)?, "ledger_transfers.credit")?,
        grant_id: row.try_get_by_index(4)?,
        lease_id: row.try_get_by_index(5)?,
        amount: row.try_get_by_index(6)?,
        cause: row.try_get_by_index(7)?,
        actor: row.try_get_by_index(8)?,
        created_at: row.try_get_by_index(9)?,
    })
}
