//! Work that time makes necessary: leases of nodes that died, grants that expired, idempotency records, kept and cached answers and
//! screening hits that are old.
//!
//! Owns: nothing but its schedule. When the store is away: tries again at its next turn.

use std::{sync::Arc, time::Duration};

use super::{
    journal::NodeStanding,
    supervision::{ActorTree, Ctx, Handle, Service, ServiceContext, Spec, Vitals, spawn},
};
use crate::{
    clock::Clock,
    store::{self, Db, StoreError},
};

const MAILBOX: usize = 16;
/// Rows treated in one turn of one kind of work.
const BATCH_MAX: u64 = 1_000;

#[derive(Clone)]
pub struct Parts {
    pub db: Db,
    pub clock: Clock,
    pub standing: Arc<NodeStanding>,
    pub interval: Duration,
    /// How long hits of screening rules are kept.
    pub screening_retention: Duration,
}

pub struct Sweeper {
    parts: Parts,
    sweeping: bool,
    swept: u64,
}

/// Starts the sweeper on the current thread.
pub fn start(tree: &ActorTree, parts: Parts, parent: &Arc<Vitals>) -> Handle<Sweeper> {
    let factory = move || Sweeper { parts: parts.clone(), sweeping: false, swept: 0 };
    spawn(tree, Spec::new("sweeper", MAILBOX, factory).under(parent))
}

impl Service for Sweeper {
    const KIND: &'static str = "sweeper";

    fn started(&mut self, ctx: &mut Ctx<Self>) {
        ctx.every(self.parts.interval, |sweeper, ctx| {
            if sweeper.sweeping {
                return;
            }
            sweeper.sweeping = true;
            let parts = sweeper.parts.clone();
            ctx.run(async move { sweep(&parts).await }, |sweeper, outcome, _| {
                sweeper.sweeping = false;
                sweeper.swept += 1;
                if let Err(error) = outcome {
                    tracing::warn!(error = %error, "sweep was cut short; the next one goes on");
                }
            });
        });
    }

    fn observe(&self) -> serde_json::Value {
        serde_json::json!({ "sweeps": self.swept })
    }
}

async fn sweep(parts: &Parts) -> Result<(), StoreError> {
    let now = parts.clock.now();
    let own = parts.standing.node_id();
    for node_id in store::nodes::expired_nodes(&parts.db, now).await? {
        if node_id == *own {
            continue;
        }
        let reclaimed = store::ledger::fence(&parts.db, &node_id, now).await?;
        tracing::warn!(node.id = %node_id, leases = reclaimed.leases, unknown_calls = reclaimed.unknown_calls, "reclaimed the leases of a node that died");
    }
    let expired = store::ledger::expire_grants(&parts.db, now, BATCH_MAX).await?;
    let forgotten = store::idempotency::delete_expired(&parts.db, now, BATCH_MAX).await?;
    let responses = store::responses::delete_expired(&parts.db, now, BATCH_MAX).await?;
    let uncached = store::cache::delete_expired(&parts.db, now, BATCH_MAX).await?;
    let retention = i64::try_from(parts.screening_retention.as_micros()).unwrap_or(i64::MAX);
    let unscreened = store::screening::delete_hits(&parts.db, now.saturating_sub(retention), BATCH_MAX).await?;
    let signed_out = store::sessions::delete_expired(&parts.db, now).await?;
    if expired + forgotten + responses + uncached + signed_out + unscreened > 0 {
        tracing::info!(
            grants_expired = expired,
            idempotency_records_deleted = forgotten,
            responses_deleted = responses,
            cached_answers_deleted = uncached,
            sessions_deleted = signed_out,
            screening_hits_deleted = unscreened,
            "swept"
        );
    }
    Ok(())
}
