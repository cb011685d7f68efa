//! The credit ledger of all accounts: the pure operations of `domain::ledger`, each in one transaction under the wallet's lock.
//!
//! Captures are the exception: a node writes them without the lock, as transfers inside a lease it holds ([`commit()`]), and the next
//! operation on that lease folds them into the grants. Transfers are only ever inserted; triggers refuse the rest. Absent on
//! purpose: deciding about calls (the account's actor does, inside its lease), retries and the order of batches (the journal's).

mod balance;
mod check;
mod commit;
mod grants;
mod reclaim;
mod wallet;

use std::borrow::Cow;

use sea_orm::ConnectionTrait;

use super::{
    Db, StoreError, nodes,
    sql::{self, Column},
};
use crate::domain::{
    Micros, Timestamp,
    ledger::{LedgerError, Slice},
};
use wallet::LockedWallet;

pub use balance::{Entry, LeasePosition, StoredBalance, balance, balance_at, entries, has_entry};
pub use check::{Check, Difference, check};
pub use commit::{Batch, Capture, Commit, LeaseClose, OpenHold, commit, commit_late};
pub use grants::{GrantRow, NewGrant, expire_grants, grant, grants_of, revoke};
pub use reclaim::{Reclaimed, fence, fence_by_name};

/// Why an operation on the ledger did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerFailure {
    /// The rules said no.
    #[error(transparent)]
    Refused(#[from] LedgerError),
    /// The node that asked, or the lease it asked about, was fenced or ended. The node has to start over under a new id.
    #[error("this node or its lease was fenced")]
    Fenced,
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeaseState {
    Open,
    Closed,
    Fenced,
}

impl LeaseState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Fenced => "fenced",
        }
    }

    fn parse(text: &str) -> Result<Self, StoreError> {
        [Self::Open, Self::Closed, Self::Fenced]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| StoreError::Corrupt(format!("leases.state is {text:?}")))
    }
}

/// A wish for credits of an account. `lease_id` may be new or an open lease of this node, which then grows.
#[derive(Debug, Clone)]
pub struct LeaseRequest<'a> {
    pub account_id: &'a str,
    pub node_id: &'a str,
    pub lease_id: &'a str,
    /// Less than this is of no use.
    pub need: Micros,
    /// More than this is not wanted.
    pub want: Micros,
    pub now: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseGrant {
    /// What was added to the lease, in draw order.
    pub slices: Vec<Slice>,
    /// What could still be leased after this.
    pub left_available: Micros,
    pub debt: Micros,
}

/// Reserves credits for a node. A refusal ([`LedgerError::Insufficient`], [`LedgerError::InDebt`]) keeps the bookkeeping done on the
/// way (expiry, folding) and reserves nothing. After [`StoreError::Unavailable`] credits may be reserved that the caller does not know of;
/// they return when the lease ends.
pub async fn lease(db: &Db, request: &LeaseRequest<'_>) -> Result<LeaseGrant, LedgerFailure> {
    db.within(async {
        let transaction = db.begin().await?;
        if !nodes::is_live(&transaction, request.node_id).await? {
            return Err(LedgerFailure::Fenced);
        }
        let mut locked = LockedWallet::lock(&transaction, request.account_id).await?;
        locked.expire(request.now);
        match locked.load_lease(request.lease_id).await? {
            Some(LeaseState::Open) => {}
            Some(LeaseState::Closed | LeaseState::Fenced) => return Err(LedgerFailure::Fenced),
            None => locked.announce_lease(request.lease_id).await?,
        }
        let outcome = locked.wallet.lease(request.lease_id, request.need, request.want, request.now);
        let wallet = locked.save(request.node_id, request.now).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        Ok(LeaseGrant { slices: outcome?, left_available: wallet.drawable(request.now), debt: wallet.debt })
    })
    .await
}

/// One row of `ledger_transfers` about to be written.
struct TransferRow<'a> {
    account_id: &'a str,
    kind: Cow<'static, str>,
    debit: Cow<'static, str>,
    credit: Cow<'static, str>,
    grant_id: Option<&'a str>,
    lease_id: Option<&'a str>,
    amount: Micros,
    cause: &'a str,
    actor: &'a str,
    created_at: Timestamp,
}

static INSERT_TRANSFERS: sql::JsonInsert = sql::JsonInsert::new(
    "ledger_transfers",
    &[
        Column::Text("account_id"),
        Column::Text("kind"),
        Column::Text("debit"),
        Column::Text("credit"),
        Column::Text("grant_id"),
        Column::Text("lease_id"),
        Column::Integer("amount_micros"),
        Column::Text("cause"),
        Column::Text("actor"),
        Column::Integer("created_at"),
    ],
);

async fn insert_transfers(connection: &impl ConnectionTrait, rows: &[TransferRow<'_>]) -> Result<(), StoreError> {
    INSERT_TRANSFERS
        .run(connection, rows, |transfer, row| {
            row.text(transfer.account_id);
            row.text(&transfer.kind);
            row.text(&transfer.debit);
            row.text(&transfer.credit);
            row.text_or_null(transfer.grant_id);
            row.text_or_null(transfer.lease_id);
            row.integer(transfer.amount);
            row.text(transfer.cause);
            row.text(transfer.actor);
            row.integer(transfer.created_at);
        })
        .await
}
