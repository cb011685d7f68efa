//! Each test has a fresh database: a SQLite file, or, when `PIXGATE_TEST_POSTGRES` names a server, a PostgreSQL database of its own.

mod calls;
mod credits;
mod files;
mod outbox;
mod responses;
mod rows;
mod schema;
mod screening;
mod tickets;

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, Database};

use super::{
    Db, Durability, Options, StoreError, accounts,
    ledger::{self, Batch, Capture, Commit, LeaseGrant, LeaseRequest, NewGrant, OpenHold},
    nodes,
};
use crate::{
    clock::fill_random,
    domain::{
        Micros, SECOND, Timestamp,
        account::AccountStatus,
        ledger::{Category, Slice},
        pricing::Quantities,
        purse::Allocation,
        quota::Limits,
        usage::{Outcome, UsageRecord},
    },
};

const NOW: Timestamp = 1_800_000_000_000_000;
const NODE: &str = "node_a";
const ACCOUNT: &str = "acct_1";

/// Runs `test` on a fresh, migrated database with the account and the node above, and removes the database whatever happens.
async fn with_db(test: impl AsyncFn(&Db)) {
    with_options(async |db, _| test(db).await).await;
}

async fn with_options(test: impl AsyncFn(&Db, &Options)) {
    #[allow(clippy::disallowed_methods, reason = "tests choose their database by the environment")]
    let server = std::env::var("PIXGATE_TEST_POSTGRES").ok();
    match server {
        Some(server) => on_postgres(&server, test).await,
        None => {
            let directory = tempfile::tempdir().unwrap();
            let url = format!("sqlite://{}", directory.path().join("data/test.db").display());
            run(&options(url), &test).await;
        }
    }
}

async fn on_postgres(server: &str, test: impl AsyncFn(&Db, &Options)) {
    let mut random = [0; 8];
    fill_random(&mut random);
    let name = format!("pixgate_test_{:016x}", u64::from_be_bytes(random));
    let admin = Database::connect(server).await.unwrap();
    admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    let (base, _) = server.rsplit_once('/').unwrap();
    let options = options(format!("{base}/{name}"));
    let outcome = AssertUnwindSafe(run(&options, &test)).catch_unwind().await;
    admin.execute_unprepared(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

async fn run(options: &Options, test: &impl AsyncFn(&Db, &Options)) {
    let db = Db::open(options).await.unwrap();
    db.migrate().await.unwrap();
    new_account(&db, ACCOUNT).await;
    nodes::register(&db, NODE, "a", NOW, NOW + 60 * SECOND).await.unwrap();
    test(&db, options).await;
    db.close().await.unwrap();
}

fn options(url: String) -> Options {
    Options { url, durability: Durability::Process, max_connections: 8, busy_timeout_ms: 2_000, acquire_timeout_ms: 5_000 }
}

async fn new_account(db: &Db, id: &str) {
    let new = accounts::NewAccount {
        id: id.to_owned(),
        locator: format!("{id:0>10}"),
        email: format!("{id}@example.org"),
        name: "Ada".to_owned(),
        status: AccountStatus::Active,
        verified_at: None,
        limits: Limits::default(),
        plan_id: None,
        is_operator: false,
        locale: "en".to_owned(),
        created_at: NOW,
    };
    accounts::create(db, new).await.unwrap();
}

fn new_grant(id: &str, amount: Micros) -> NewGrant {
    NewGrant {
        id: id.to_owned(),
        amount,
        category: Category::Paid,
        priority: 0,
        effective_at: NOW,
        expires_at: None,
        reason: "test".to_owned(),
        actor: "operator".to_owned(),
        idempotency_key: format!("key {id}"),
        request_hash: format!("hash {id}"),
    }
}

async fn give(db: &Db, id: &str, amount: Micros) {
    ledger::grant(db, ACCOUNT, new_grant(id, amount), NOW).await.unwrap();
}

async fn take(db: &Db, lease_id: &str, need: Micros, want: Micros) -> Result<LeaseGrant, ledger::LedgerFailure> {
    ledger::lease(db, &LeaseRequest { account_id: ACCOUNT, node_id: NODE, lease_id, need, want, now: NOW }).await
}

fn usage_record(id: &str, cost_micros: Micros) -> UsageRecord {
    UsageRecord {
        id: id.to_owned(),
        request_id: id.to_owned(),
        account_id: ACCOUNT.to_owned(),
        key_id: "key_1".to_owned(),
        endpoint: "/v1/chat/completions".to_owned(),
        model: "pixgate/echo".to_owned(),
        upstream: "echo".to_owned(),
        upstream_model: "echo".to_owned(),
        status: 200,
        outcome: Outcome::Completed,
        error_code: None,
        streamed: true,
        estimated: false,
        quantities: Quantities { input_tokens: 10, output_tokens: 5, ..Quantities::default() },
        cost_micros,
        answer_id: Some(format!("chatcmpl-{id}")),
        attempts: 1,
        started_at: NOW,
        first_byte_at: Some(NOW + 1),
        finished_at: NOW + 2,
    }
}

/// A call paid from one grant inside a lease.
fn capture(id: &str, lease_id: &str, grant_id: &str, amount: Micros) -> Arc<Capture> {
    let allocations = vec![Allocation { lease_id: lease_id.into(), grant_id: grant_id.into(), amount, expires_at: None }];
    Arc::new(Capture { usage: usage_record(id, amount), allocations, overage: 0, idempotency: None })
}

fn hold(id: &str, lease_id: &str, amount: Micros) -> OpenHold {
    OpenHold {
        id: id.to_owned(),
        request_id: id.to_owned(),
        account_id: ACCOUNT.to_owned(),
        key_id: "key_1".to_owned(),
        lease_id: lease_id.to_owned(),
        amount,
        endpoint: "/v1/chat/completions".to_owned(),
        model: "pixgate/echo".to_owned(),
        created_at: NOW,
    }
}

/// An empty batch of the node.
fn batch<'a>() -> Batch<'a> {
    static SENT: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    Batch { node_id: NODE, captures: &[], opened: &[], closed: &[], lease_closes: &[], retry: false, sent: &SENT, now: NOW }
}

async fn commit(db: &Db, batch: Batch<'_>) {
    assert_eq!(ledger::commit(db, &batch).await.unwrap(), Commit::Done);
}

fn slice(grant_id: &str, amount: Micros) -> Slice {
    Slice { grant_id: grant_id.to_owned(), amount, expires_at: None }
}

/// Available, spent and debt; and the law that holds at every moment.
async fn balance(db: &Db) -> (Micros, Micros, Micros) {
    let balance = ledger::balance(db, ACCOUNT).await.unwrap().balance;
    let there = balance.available_micros + balance.held_micros + balance.spent_micros + balance.expired_micros + balance.revoked_micros;
    assert_eq!(there, balance.granted_micros + balance.debt_micros, "{balance:?}");
    (balance.available_micros, balance.spent_micros, balance.debt_micros)
}

async fn assert_consistent(db: &Db) {
    assert_eq!(ledger::check(db).await.unwrap().differences, []);
}
