//! The orderly end: refuse new calls, let running ones finish, cut what is left, settle, close.

use std::{rc::Rc, time::Duration};

use actix_web::dev::ServerHandle;

use super::node::Node;
use crate::{actors::directory::Accounts, config::Settings, pipeline::Drain};

/// How long a cut stream may take to settle.
const SETTLE_DEADLINE: Duration = Duration::from_secs(10);
const ACTOR_DEADLINE: Duration = Duration::from_secs(5);

/// Stops a node from anywhere. Clones stop the same one.
#[derive(Clone)]
pub struct Stopper {
    drain: Drain,
    accounts: Accounts,
    server: ServerHandle,
    drain_limit: Duration,
}

impl Stopper {
    pub(super) fn new(node: &Rc<Node>, settings: &Settings, server: ServerHandle) -> Self {
        Self {
            drain: node.parts.drain.clone(),
            accounts: node.parts.accounts.clone(),
            server,
            drain_limit: Duration::from_secs(settings.server.drain_seconds),
        }
    }

    /// Stops within the configured drain limit (plus what settling the last calls takes).
    pub async fn stop(&self) {
        self.stop_within(self.drain_limit).await;
    }

    pub async fn stop_within(&self, drain_limit: Duration) {
        tracing::info!(open_calls = self.drain.open_calls(), drain_seconds = drain_limit.as_secs(), "draining");
        self.drain.begin();
        if !self.drain.idle(drain_limit).await {
            tracing::warn!(
                open_calls = self.drain.open_calls(),
                "drain limit reached; the remaining streams end now and are charged for what was delivered"
            );
            self.drain.cut();
            if !self.drain.idle(SETTLE_DEADLINE).await {
                tracing::error!(open_calls = self.drain.open_calls(), "some calls did not settle; their holds return with their leases");
            }
        }
        // While the worker threads still run: the accounts live on them.
        self.accounts.stop(ACTOR_DEADLINE).await;
        self.server.stop(true).await;
    }
}
