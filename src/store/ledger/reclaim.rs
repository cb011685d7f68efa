//! Taking back what a node held that is gone, or that must not write any more.

use sea_orm::Value;

use super::{LeaseState, wallet::LockedWallet};
use crate::{
    domain::{Timestamp, usage::Outcome},
    store::{Db, StoreError, sql},
};

/// HTTP status kept for a call whose node died: the caller saw a broken connection.
const UNKNOWN_STATUS: i32 = 500;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Leases whose unused credits are available again.
    pub leases: u64,
    /// Calls that were in flight; they are recorded as [`Outcome::Unknown`] and cost nothing.
    pub unknown_calls: u64,
}

/// Fences a node: from its return on the node can commit nothing, its calls in flight are `unknown` and its leases are returned.
/// May be repeated, also after a failure half-way.
pub async fn fence(db: &Db, node_id: &str, now: Timestamp) -> Result<Reclaimed, StoreError> {
    // On its own and first: this waits for commits under way, and later ones see it.
    let text = "UPDATE nodes SET fenced = TRUE WHERE id = $1 AND fenced = FALSE";
    db.within(async { sql::execute(db.write(), text, [node_id.into()]).await }).await?;
    let unknown_calls = db.within(end_holds(db, node_id, now)).await?;
    let text = "SELECT account_id, id FROM leases WHERE node_id = $1 AND state = 'open' ORDER BY account_id";
    let open = db.within(async { sql::all(db.read(), text, [node_id.into()]).await }).await?;
    let mut leases = 0;
    for row in open {
        let (account_id, lease_id): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        leases += u64::from(db.within(end_lease(db, &account_id, &lease_id, now)).await?);
    }
    Ok(Reclaimed { leases, unknown_calls })
}

/// Fences all nodes of a name but one: what a node does that starts again under its name.
pub async fn fence_by_name(db: &Db, name: &str, except_id: &str, now: Timestamp) -> Result<Reclaimed, StoreError> {
    let text = "SELECT n.id FROM nodes n WHERE n.name = $1 AND n.id <> $2 AND (n.fenced = FALSE \
        OR EXISTS (SELECT 1 FROM leases l WHERE l.node_id = n.id AND l.state = 'open') \
        OR EXISTS (SELECT 1 FROM open_holds h WHERE h.node_id = n.id))";
    let nodes = db.within(async { sql::all(db.read(), text, [name.into(), except_id.into()]).await }).await?;
    let mut total = Reclaimed::default();
    for row in nodes {
        let reclaimed = fence(db, &row.try_get_by_index::<String>(0)?, now).await?;
        total.leases += reclaimed.leases;
        total.unknown_calls += reclaimed.unknown_calls;
    }
    Ok(total)
}

async fn end_holds(db: &Db, node_id: &str, now: Timestamp) -> Result<u64, StoreError> {
    let transaction = db.begin().await?;
    let text = "INSERT INTO usage_records (id, request_id, account_id, key_id, endpoint, model, upstream, upstream_model, status, outcome, \
            streamed, estimated, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_micros, \
            attempts, started_at, finished_at) \
        SELECT h.id, h.request_id, h.account_id, h.key_id, h.endpoint, h.model, '', '', CAST($2 AS INTEGER), CAST($3 AS TEXT), \
            FALSE, FALSE, 0, 0, 0, 0, 0, 0, 0, h.created_at, CAST($4 AS BIGINT) \
        FROM open_holds h WHERE h.node_id = $1 AND NOT EXISTS (SELECT 1 FROM usage_records u WHERE u.id = h.id)";
    let values: [Value; 4] = [node_id.into(), UNKNOWN_STATUS.into(), Outcome::Unknown.as_str().into(), now.into()];
    let unknown_calls = sql::execute(&transaction, text, values).await?;
    sql::execute(&transaction, "DELETE FROM open_holds WHERE node_id = $1", [node_id.into()]).await?;
    transaction.commit().await?;
    Ok(unknown_calls)
}

/// Answers `false` when somebody else ended the lease meanwhile.
async fn end_lease(db: &Db, account_id: &str, lease_id: &str, now: Timestamp) -> Result<bool, StoreError> {
    let transaction = db.begin().await?;
    let mut locked = LockedWallet::lock(&transaction, account_id).await?;
    locked.expire(now);
    if locked.load_lease(lease_id).await? != Some(LeaseState::Open) {
        return Ok(false);
    }
    locked.end_lease(lease_id, LeaseState::Fenced, now)?;
    locked.save("", now).await?;
    transaction.commit().await?;
    Ok(true)
}
