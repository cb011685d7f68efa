//! Running processes and their heartbeats. A node that missed its beats is fenced, and then its leases can be taken back.

use sea_orm::ConnectionTrait;

use super::{Db, StoreError, locking, sql};
use crate::domain::Timestamp;

pub use super::ledger::{Reclaimed, fence, fence_by_name};

/// Makes a node known. It lives until `expires_at` unless [`heartbeat`] moves that.
pub async fn register(db: &Db, id: &str, name: &str, now: Timestamp, expires_at: Timestamp) -> Result<(), StoreError> {
    let text = "INSERT INTO nodes (id, name, version, started_at, expires_at, fenced) VALUES ($1, $2, $3, $4, $5, FALSE)";
    let version = env!("CARGO_PKG_VERSION");
    db.within(async {
        sql::execute(db.write(), text, [id.into(), name.into(), version.into(), now.into(), expires_at.into()]).await?;
        Ok(())
    })
    .await
}

/// Moves a node's expiry. `false` means that it was fenced: it may write nothing more.
pub async fn heartbeat(db: &Db, id: &str, expires_at: Timestamp) -> Result<bool, StoreError> {
    let text = "UPDATE nodes SET expires_at = $1 WHERE id = $2 AND fenced = FALSE";
    db.within(async { Ok(sql::execute(db.write(), text, [expires_at.into(), id.into()]).await? > 0) }).await
}

/// Nodes to fence: those that missed their beats, and those whose fencing was not carried through.
pub async fn expired_nodes(db: &Db, now: Timestamp) -> Result<Vec<String>, StoreError> {
    let text = "SELECT n.id FROM nodes n WHERE (n.fenced = FALSE AND n.expires_at <= $1) OR (n.fenced = TRUE AND ( \
        EXISTS (SELECT 1 FROM leases l WHERE l.node_id = n.id AND l.state = 'open') \
        OR EXISTS (SELECT 1 FROM open_holds h WHERE h.node_id = n.id))) ORDER BY n.id";
    db.within(async {
        let rows = sql::all(db.read(), text, [now.into()]).await?;
        rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
    })
    .await
}

/// True when the node is known and not fenced; it then stays so until the transaction ends.
pub(super) async fn is_live(connection: &impl ConnectionTrait, node_id: &str) -> Result<bool, StoreError> {
    let text = locking(connection, "SELECT fenced FROM nodes WHERE id = $1", "FOR SHARE");
    match sql::one(connection, &text, [node_id.into()]).await? {
        Some(row) => Ok(!row.try_get_by_index::<bool>(0)?),
        None => Ok(false),
    }
}
