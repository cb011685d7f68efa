//! The ledger checked against itself: every cached sum is derived again from the transfers. A handful of set-based statements over
//! one snapshot; only what differs leaves the database.

use sea_orm::{DatabaseTransaction, QueryResult};

use crate::{
    domain::Micros,
    store::{Db, StoreError, sql},
};

/// The first differences tell the story; a report of millions helps nobody.
const DIFFERENCES_MAX: i64 = 1_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Wallets and grants looked at.
    pub checked: u64,
    /// At most 1000.
    pub differences: Vec<Difference>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub account_id: String,
    /// Which sum of which row.
    pub what: String,
    /// By the transfers.
    pub expected: Micros,
    /// By the row.
    pub found: Micros,
}

/// Per grant: what the row says, and what transfers, open leases and captures not folded yet say.
const GRANTS: &str = "
    SELECT * FROM (
        SELECT g.account_id AS account_id, g.id AS id,
            g.amount_micros AS amount, CAST(COALESCE(t.granted, 0) AS BIGINT) AS granted,
            g.spent_micros AS spent, CAST(COALESCE(t.captured, 0) - COALESCE(u.unfolded, 0) AS BIGINT) AS folded,
            g.expired_micros AS expired, CAST(COALESCE(t.expired, 0) AS BIGINT) AS breakage,
            g.revoked_micros AS revoked, CAST(COALESCE(t.revoked, 0) AS BIGINT) AS clawback,
            g.repaid_micros AS repaid, CAST(COALESCE(t.repaid, 0) AS BIGINT) AS repay,
            g.leased_micros AS leased, CAST(COALESCE(s.sliced, 0) AS BIGINT) AS sliced,
            g.available_micros AS available,
            g.amount_micros - g.leased_micros - g.spent_micros - g.expired_micros - g.revoked_micros - g.repaid_micros AS rest,
            CAST(COALESCE(u.unfolded, 0) AS BIGINT) AS unfolded
        FROM grants g
        LEFT JOIN (
            SELECT grant_id,
                SUM(CASE WHEN kind = 'grant' THEN amount_micros ELSE 0 END) AS granted,
                SUM(CASE WHEN kind = 'capture' THEN amount_micros ELSE 0 END) AS captured,
                SUM(CASE WHEN kind = 'expire' THEN amount_micros ELSE 0 END) AS expired,
                SUM(CASE WHEN kind = 'revoke' THEN amount_micros ELSE 0 END) AS revoked,
                SUM(CASE WHEN kind = 'repay' THEN amount_micros ELSE 0 END) AS repaid
            FROM ledger_transfers WHERE grant_id IS NOT NULL GROUP BY grant_id
        ) t ON t.grant_id = g.id
        LEFT JOIN (
            SELECT p.grant_id AS grant_id, SUM(p.amount_micros) AS unfolded
            FROM leases l JOIN ledger_transfers p ON p.account_id = l.account_id AND p.seq > l.folded_seq AND p.lease_id = l.id
            WHERE l.state = 'open' GROUP BY p.grant_id
        ) u ON u.grant_id = g.id
        LEFT JOIN (
            SELECT c.grant_id AS grant_id, SUM(c.amount_micros) AS sliced
            FROM lease_slices c JOIN leases l ON l.id = c.lease_id AND l.state = 'open' GROUP BY c.grant_id
        ) s ON s.grant_id = g.id
    ) AS sums
    WHERE amount <> granted OR spent <> folded OR expired <> breakage OR revoked <> clawback OR repaid <> repay OR leased <> sliced
        OR available <> rest OR unfolded > leased
        OR available < 0 OR leased < 0 OR spent < 0 OR expired < 0 OR revoked < 0 OR repaid < 0
    ORDER BY account_id, id LIMIT $1";

/// Per wallet: debt and overage, and what the account's calls cost by their usage records and by their transfers.
const WALLETS: &str = "
    SELECT * FROM (
        SELECT w.account_id AS account_id,
            w.debt_micros AS debt, CAST(COALESCE(t.overage, 0) - COALESCE(t.repaid, 0) AS BIGINT) AS owed,
            w.overage_micros AS overage, CAST(COALESCE(t.overage, 0) AS BIGINT) AS overrun,
            CAST(COALESCE(u.cost, 0) AS BIGINT) AS cost, CAST(COALESCE(t.charged, 0) AS BIGINT) AS charged
        FROM wallets w
        LEFT JOIN (
            SELECT account_id,
                SUM(CASE WHEN kind = 'overage' THEN amount_micros ELSE 0 END) AS overage,
                SUM(CASE WHEN kind = 'repay' THEN amount_micros ELSE 0 END) AS repaid,
                SUM(CASE WHEN kind IN ('capture', 'overage') THEN amount_micros ELSE 0 END) AS charged
            FROM ledger_transfers GROUP BY account_id
        ) t ON t.account_id = w.account_id
        LEFT JOIN (SELECT account_id, SUM(cost_micros) AS cost FROM usage_records GROUP BY account_id) u ON u.account_id = w.account_id
    ) AS sums
    WHERE debt <> owed OR overage <> overrun OR cost <> charged OR debt < 0
    ORDER BY account_id LIMIT $1";

/// Transfers that name a grant or an account that is not there.
const ORPHANS: &str = "
    SELECT t.account_id, CAST(SUM(t.amount_micros) AS BIGINT)
    FROM ledger_transfers t LEFT JOIN grants g ON g.id = t.grant_id AND g.account_id = t.account_id
        LEFT JOIN wallets w ON w.account_id = t.account_id
    WHERE w.account_id IS NULL OR (t.grant_id IS NOT NULL AND g.id IS NULL)
    GROUP BY t.account_id ORDER BY t.account_id LIMIT $1";

/// Holds outside any open lease; a call that can cost nothing needs none.
const HOLDS: &str = "
    SELECT h.account_id, h.id, h.amount_micros FROM open_holds h LEFT JOIN leases l ON l.id = h.lease_id AND l.state = 'open'
    WHERE l.id IS NULL AND h.amount_micros > 0 ORDER BY h.account_id, h.id LIMIT $1";

/// Derives every balance again and answers with what differs. Reads one snapshot and blocks nobody; takes as long as it takes.
pub async fn check(db: &Db) -> Result<Check, StoreError> {
    let snapshot = db.begin_snapshot().await?;
    let text = "SELECT CAST((SELECT COUNT(*) FROM wallets) + (SELECT COUNT(*) FROM grants) AS BIGINT)";
    let count = sql::one(&snapshot, text, []).await?.map_or(Ok(0), |row| row.try_get_by_index::<i64>(0))?;
    let mut differences = Vec::new();
    for row in rows(&snapshot, GRANTS).await? {
        compare_grant(&row, &mut differences)?;
    }
    for row in rows(&snapshot, WALLETS).await? {
        compare_wallet(&row, &mut differences)?;
    }
    for row in rows(&snapshot, ORPHANS).await? {
        let what = "transfers of unknown grants or accounts".to_owned();
        differences.push(Difference { account_id: row.try_get_by_index(0)?, what, expected: 0, found: row.try_get_by_index(1)? });
    }
    for row in rows(&snapshot, HOLDS).await? {
        let what = format!("hold {} outside any open lease", row.try_get_by_index::<String>(1)?);
        differences.push(Difference { account_id: row.try_get_by_index(0)?, what, expected: 0, found: row.try_get_by_index(2)? });
    }
    snapshot.commit().await?;
    differences.truncate(usize::try_from(DIFFERENCES_MAX).unwrap_or(usize::MAX));
    Ok(Check { checked: sql::number(count, "a count")?, differences })
}

async fn rows(snapshot: &DatabaseTransaction, text: &str) -> Result<Vec<QueryResult>, StoreError> {
    sql::all(snapshot, text, [DIFFERENCES_MAX.into()]).await
}

fn compare_grant(row: &QueryResult, differences: &mut Vec<Difference>) -> Result<(), StoreError> {
    let (account_id, id): (String, String) = (row.try_get("", "account_id")?, row.try_get("", "id")?);
    let pairs = [
        ("amount", "granted"),
        ("spent", "folded"),
        ("expired", "breakage"),
        ("revoked", "clawback"),
        ("repaid", "repay"),
        ("leased", "sliced"),
        ("available", "rest"),
    ];
    for (found, expected) in pairs {
        let what = format!("grant {id}: {found}");
        push_difference(row, &account_id, what, (found, expected), differences)?;
    }
    let (leased, unfolded): (Micros, Micros) = (row.try_get("", "leased")?, row.try_get("", "unfolded")?);
    if unfolded > leased {
        let what = format!("grant {id}: captured inside leases");
        differences.push(Difference { account_id, what, expected: leased, found: unfolded });
    }
    Ok(())
}

fn compare_wallet(row: &QueryResult, differences: &mut Vec<Difference>) -> Result<(), StoreError> {
    let account_id: String = row.try_get("", "account_id")?;
    for (found, expected, what) in [("debt", "owed", "debt"), ("overage", "overrun", "overage"), ("cost", "charged", "cost of all calls")] {
        push_difference(row, &account_id, what.to_owned(), (found, expected), differences)?;
    }
    Ok(())
}

fn push_difference(
    row: &QueryResult,
    account_id: &str,
    what: String,
    (found, expected): (&str, &str),
    differences: &mut Vec<Difference>,
) -> Result<(), StoreError> {
    let (found, expected): (Micros, Micros) = (row.try_get("", found)?, row.try_get("", expected)?);
    if found != expected {
        differences.push(Difference { account_id: account_id.to_owned(), what, expected, found });
    } else if found < 0 {
        differences.push(Difference { account_id: account_id.to_owned(), what: format!("{what} is negative"), expected: 0, found });
    }
    Ok(())
}
