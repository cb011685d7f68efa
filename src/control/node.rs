//! What an operator wants to know of this node at a glance, and its tree of actors.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Control, Moment};
use crate::{
    actors::supervision::{ActorNode, ActorState},
    domain::SECOND,
    store::{Durability, Engine},
};

/// Children shown of each actor; a node can have a hundred thousand accounts.
const CHILDREN_MAX: usize = 1_000;
const OBSERVE_DEADLINE: Duration = Duration::from_secs(1);

/// This node as it stands now.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeReport {
    /// Id of this node's registration; a node that was fenced gets a new one.
    pub id: String,
    pub version: &'static str,
    pub started_at: Moment,
    pub uptime_seconds: i64,
    /// `sqlite` or `postgres`.
    pub database: &'static str,
    /// What a commit survives: `power`, `process` or `relaxed`.
    pub durability: &'static str,
    /// Counts registrations; what was leased under an earlier one is void.
    pub generation: u64,
    /// Until when this node may spend from its leases without hearing from the database.
    pub lease_valid_until: Moment,
    /// Since when the journal cannot write; null when it can.
    pub journal_failing_since: Option<Moment>,
    /// Entries that wait for the journal.
    pub journal_depth: usize,
    /// When the oldest capture that is not durable yet was handed in.
    pub journal_oldest: Option<Moment>,
    /// Calls that are open or whose capture is not durable yet.
    pub open_calls: usize,
    pub active_accounts: usize,
    pub models: usize,
}

pub fn report(control: &Control) -> NodeReport {
    let standing = control.journal.standing();
    let spool = control.journal.spool();
    NodeReport {
        id: standing.node_id().to_string(),
        version: env!("CARGO_PKG_VERSION"),
        started_at: Moment(control.node.started_at),
        uptime_seconds: (control.clock.now() - control.node.started_at).max(0) / SECOND,
        database: match control.db.engine() {
            Engine::Sqlite => "sqlite",
            Engine::Postgres => "postgres",
        },
        durability: match control.node.durability {
            Durability::Power => "power",
            Durability::Process => "process",
            Durability::Relaxed => "relaxed",
        },
        generation: standing.generation(),
        lease_valid_until: Moment(standing.valid_until()),
        journal_failing_since: standing.failing_since().map(Moment),
        journal_depth: spool.depth(),
        journal_oldest: spool.oldest().map(Moment),
        open_calls: spool.slots_taken(),
        active_accounts: control.accounts.active_count(),
        models: control.catalog.snapshot().models().len(),
    }
}

/// The supervision tree, under one root. Upstreams say how they are; one that does not answer in time says nothing.
pub async fn actors(control: &Control) -> ActorNode {
    let mut root = tree(control);
    let gates: Vec<_> = control.catalog.snapshot().gates().cloned().collect();
    let observations = gates.iter().map(|gate| gate.actor().observe(OBSERVE_DEADLINE));
    let observations = futures_util::future::join_all(observations).await;
    for (gate, observed) in gates.iter().zip(observations) {
        if let Some(node) = find(&mut root, gate.actor().vitals().kind(), gate.name()) {
            node.observed = observed.ok();
        }
    }
    root
}

/// The first actor of this kind and name, from the top.
fn find<'a>(node: &'a mut ActorNode, kind: &str, name: &str) -> Option<&'a mut ActorNode> {
    if node.kind == kind && node.name == name {
        return Some(node);
    }
    node.children.iter_mut().find_map(|child| find(child, kind, name))
}

fn tree(control: &Control) -> ActorNode {
    let mut roots = control.tree.snapshot(CHILDREN_MAX);
    if roots.len() == 1
        && let Some(root) = roots.pop()
    {
        return root;
    }
    ActorNode {
        name: "pixgate".to_owned(),
        kind: "node",
        state: ActorState::Running,
        restarts: 0,
        mailbox_depth: 0,
        mailbox_capacity: 0,
        handled: 0,
        dead_letters: 0,
        last_error: None,
        age_seconds: (control.clock.now() - control.node.started_at).max(0) / SECOND,
        observed: None,
        children_omitted: 0,
        children: roots,
    }
}
