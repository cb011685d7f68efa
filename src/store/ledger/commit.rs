//! What a node's journal writes: the hottest statements of the product. One batch is one transaction, and most batches touch three
//! tables with a handful of prepared statements and lock no wallet.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sea_orm::{ConnectionTrait, DatabaseTransaction};

use super::{LeaseState, TransferRow, insert_transfers, wallet::LockedWallet};
use crate::{
    domain::{Micros, Timestamp, purse::Allocation, usage::UsageRecord},
    store::{Db, StoreError, idempotency, idempotency::IdempotencyRecord, nodes, sql, usage},
};

/// A call that ended. `usage.cost_micros` is the sum of the allocations and the overage.
#[derive(Debug, Clone)]
pub struct Capture {
    pub usage: UsageRecord,
    /// What the call used of leased credits.
    pub allocations: Vec<Allocation>,
    /// What it cost beyond its hold.
    pub overage: Micros,
    pub idempotency: Option<IdempotencyRecord>,
}

/// A call in flight, written so that an operator can see what a dead node was doing. `id` becomes the id of its usage record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenHold {
    pub id: String,
    pub request_id: String,
    pub account_id: String,
    pub key_id: String,
    pub lease_id: String,
    pub amount: Micros,
    pub endpoint: String,
    pub model: String,
    pub created_at: Timestamp,
}

/// The end of a lease; everything captured inside it is in this batch or an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseClose {
    pub account_id: String,
    pub lease_id: String,
}

#[derive(Debug)]
pub struct Batch<'a> {
    pub node_id: &'a str,
    pub captures: &'a [Arc<Capture>],
    pub opened: &'a [OpenHold],
    /// Ids of holds that ended.
    pub closed: &'a [String],
    pub lease_closes: &'a [LeaseClose],
    /// True when an earlier attempt at this batch may have been committed.
    pub retry: bool,
    /// Set when the transaction's end was sent: from then on a failure leaves open whether the batch was written.
    pub sent: &'a AtomicBool,
    pub now: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Commit {
    Done,
    /// The node was fenced and nothing was written; captures go to [`commit_late`].
    Fenced,
}

/// Writes a batch, all or nothing. After [`StoreError::Unavailable`] or [`StoreError::Conflict`] the batch may have been committed:
/// repeat it with `retry`.
///
/// A node writes one batch at a time, and none before the one ahead of it is known to be written: folding relies on the captures of
/// one lease becoming visible in the order of their numbers.
pub async fn commit(db: &Db, batch: &Batch<'_>) -> Result<Commit, StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        if !nodes::is_live(&transaction, batch.node_id).await? {
            transaction.rollback().await?;
            return Ok(Commit::Fenced);
        }
        let mut captures: Vec<&Capture> = batch.captures.iter().map(AsRef::as_ref).collect();
        if batch.retry {
            let written = usage::existing(&transaction, &ids_of(&captures)).await?;
            captures.retain(|capture| !written.contains(&capture.usage.id));
        }
        write_records(&transaction, &captures).await?;
        insert_transfers(&transaction, &capture_rows(&captures)).await?;
        insert_holds(&transaction, batch.node_id, batch.opened).await?;
        delete_holds(&transaction, batch.closed).await?;
        settle_wallets(&transaction, batch, &captures).await?;
        batch.sent.store(true, Ordering::Relaxed);
        transaction.commit().await?;
        Ok(Commit::Done)
    })
    .await
}

/// Writes captures whose lease was fenced: their whole cost is taken from what the account has now, or becomes debt. A record of the
/// call as `unknown`, made by the fencing, gives way. May be repeated.
pub async fn commit_late(db: &Db, captures: &[Arc<Capture>], now: Timestamp) -> Result<(), StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        let all: Vec<&Capture> = captures.iter().map(AsRef::as_ref).collect();
        // In account order, as everybody locks wallets; a second one repeating the same captures waits here.
        let mut by_account: BTreeMap<&str, Vec<&Capture>> = BTreeMap::new();
        for capture in &all {
            by_account.entry(&capture.usage.account_id).or_default().push(capture);
        }
        for (account_id, captures) in by_account {
            let mut locked = LockedWallet::lock(&transaction, account_id).await?;
            locked.expire(now);
            let written = usage::existing(&transaction, &ids_of(&captures)).await?;
            let missing: Vec<&Capture> = captures.into_iter().filter(|capture| !written.contains(&capture.usage.id)).collect();
            usage::delete_unknown(&transaction, &ids_of(&missing)).await?;
            write_records(&transaction, &missing).await?;
            for capture in missing.iter().filter(|capture| capture.usage.cost_micros > 0) {
                let transfers = locked.wallet.debit(capture.usage.cost_micros, now);
                locked.record(transfers, &capture.usage.id, &capture.usage.key_id);
            }
            locked.save("", now).await?;
        }
        Ok(transaction.commit().await?)
    })
    .await
}

fn ids_of<'a>(captures: &[&'a Capture]) -> Vec<&'a str> {
    captures.iter().map(|capture| capture.usage.id.as_str()).collect()
}

async fn write_records(connection: &impl ConnectionTrait, captures: &[&Capture]) -> Result<(), StoreError> {
    let records: Vec<&UsageRecord> = captures.iter().map(|capture| &capture.usage).collect();
    usage::insert(connection, &records).await?;
    let answers: Vec<&IdempotencyRecord> = captures.iter().filter_map(|capture| capture.idempotency.as_ref()).collect();
    idempotency::insert(connection, &answers).await
}

fn capture_rows<'a>(captures: &[&'a Capture]) -> Vec<TransferRow<'a>> {
    let parts = captures.iter().flat_map(|capture| capture.allocations.iter().map(|allocation| (*capture, allocation)));
    parts
        .filter(|(_, allocation)| allocation.amount > 0)
        .map(|(capture, allocation)| TransferRow {
            account_id: &capture.usage.account_id,
            kind: Cow::Borrowed("capture"),
            debit: Cow::Borrowed("grant"),
            credit: Cow::Borrowed("spent"),
            grant_id: Some(&allocation.grant_id),
            lease_id: Some(&allocation.lease_id),
            amount: allocation.amount,
            cause: &capture.usage.id,
            actor: &capture.usage.key_id,
            created_at: capture.usage.finished_at,
        })
        .collect()
}

static INSERT_HOLDS: sql::BulkInsert = sql::BulkInsert::new(
    "INSERT INTO open_holds \
        (id, request_id, account_id, key_id, lease_id, node_id, amount_micros, endpoint, model, created_at)",
    10,
    "ON CONFLICT (id) DO NOTHING",
);

async fn insert_holds(connection: &impl ConnectionTrait, node_id: &str, holds: &[OpenHold]) -> Result<(), StoreError> {
    INSERT_HOLDS
        .run(connection, holds, |hold, values| {
            values.extend([
                hold.id.as_str().into(),
                hold.request_id.as_str().into(),
                hold.account_id.as_str().into(),
                hold.key_id.as_str().into(),
                hold.lease_id.as_str().into(),
                node_id.into(),
                hold.amount.into(),
                hold.endpoint.as_str().into(),
                hold.model.as_str().into(),
                hold.created_at.into(),
            ]);
        })
        .await
}

static DELETE_HOLDS: sql::InList = sql::InList::new("DELETE FROM open_holds WHERE id IN");

async fn delete_holds(connection: &impl ConnectionTrait, ids: &[String]) -> Result<(), StoreError> {
    for (text, values) in DELETE_HOLDS.statements(connection.get_database_backend(), ids) {
        sql::execute(connection, text, values).await?;
    }
    Ok(())
}

/// What a batch has for one wallet.
#[derive(Default)]
struct WalletWork<'a> {
    closes: Vec<&'a str>,
    overages: Vec<&'a Capture>,
}

/// The rare part: lease ends and cost above a hold need the wallet. Each wallet is locked once, in account order, so that two nodes
/// never wait for each other; leases end first, because what they return can pay the overage.
async fn settle_wallets(transaction: &DatabaseTransaction, batch: &Batch<'_>, captures: &[&Capture]) -> Result<(), StoreError> {
    let mut work: BTreeMap<&str, WalletWork<'_>> = BTreeMap::new();
    for close in batch.lease_closes {
        work.entry(&close.account_id).or_default().closes.push(&close.lease_id);
    }
    for capture in captures.iter().filter(|capture| capture.overage > 0) {
        work.entry(&capture.usage.account_id).or_default().overages.push(capture);
    }
    for (account_id, work) in work {
        let mut locked = LockedWallet::lock(transaction, account_id).await?;
        locked.expire(batch.now);
        for lease_id in work.closes {
            // An earlier attempt at this batch may have ended it.
            if locked.load_lease(lease_id).await? == Some(LeaseState::Open) {
                locked.end_lease(lease_id, LeaseState::Closed, batch.now)?;
            }
        }
        for capture in work.overages {
            let transfers = locked.wallet.debit(capture.overage, batch.now);
            locked.record(transfers, &capture.usage.id, &capture.usage.key_id);
        }
        locked.save(batch.node_id, batch.now).await?;
    }
    Ok(())
}
