//! Persistence on SQLite or PostgreSQL: one file per aggregate, free functions that take the database first, then the owner.
//!
//! Everything that knows sea-orm is here (and in the crates `entities` and `migration`). Functions take and return domain types;
//! each writing function is one transaction. Absent on purpose: rules (the ledger's are in `domain::ledger`; here they are only
//! loaded, applied and written), the time (callers pass it), retries and caches (see `actors`).
//!
//! A function whose caller goes away before it ends is rolled back, unless it had reached its commit.

pub mod accounts;
pub mod audit;
pub mod cache;
pub mod catalog;
pub mod contents;
pub mod credentials;
pub mod domains;
mod error;
pub mod files;
pub mod foreign;
pub mod foreign_one_api;
pub mod idempotency;
pub mod identities;
pub mod keys;
pub mod ledger;
pub mod legacy;
pub mod mail_tokens;
pub mod members;
pub mod nodes;
pub mod outbox;
pub mod people;
pub mod policies;
pub mod privacy;
pub mod provider_keys;
pub mod responses;
pub mod retention;
pub mod screening;
pub mod seal;
pub mod security;
pub mod sessions;
mod sql;
#[cfg(test)]
mod tests;
pub mod tickets;
pub mod usage;

use std::{borrow::Cow, future::Future, time::Duration};

use pixgate_migration::{Migrator, MigratorTrait};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, IsolationLevel, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
    sqlx::{
        postgres::PgConnectOptions,
        sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
    },
};

pub use error::StoreError;

/// Read connections on SQLite; the writer has one of its own.
const SQLITE_READERS: u32 = 4;
/// Page cache of one connection, in KiB when negative.
const SQLITE_CACHE_SIZE: &str = "-16384";
/// Checkpoints of 32 MiB instead of 4 write the pages that every batch touches much less often.
const SQLITE_CHECKPOINT_PAGES: &str = "8000";
const STATEMENT_CACHE_CAPACITY: usize = 256;
/// A connection idle for this long is asked whether it still works before it is used.
const PING_AFTER_IDLE: Duration = Duration::from_secs(5);
/// Key of the advisory lock that lets one node at a time migrate.
const MIGRATION_LOCK: i64 = 0x7069_7867_6174_6500;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// What a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Loss of power.
    Power,
    /// The end of the process, however it comes.
    Process,
    /// As `Process`; the caller also does not wait for commits.
    Relaxed,
}

#[derive(Debug, Clone)]
pub struct Options {
    /// `sqlite:///absolute/path.db` or `postgres://user:password@host:port/database`.
    pub url: String,
    pub durability: Durability,
    /// Of the pool on PostgreSQL. SQLite has one writer and a few readers.
    pub max_connections: u32,
    /// How long a statement waits for a lock another one holds.
    pub busy_timeout_ms: u64,
    /// How long an operation waits for a connection.
    pub acquire_timeout_ms: u64,
}

/// A cheap handle to the database. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Db {
    writer: DatabaseConnection,
    reader: DatabaseConnection,
    engine: Engine,
    /// The longest one operation may take before it counts as unavailable.
    patience: Duration,
}

impl Db {
    /// Connects. On SQLite a missing file and its directory are created.
    pub async fn open(options: &Options) -> Result<Self, StoreError> {
        let patience = Duration::from_millis(options.acquire_timeout_ms.saturating_add(options.busy_timeout_ms).saturating_add(1_000));
        if options.url.starts_with("sqlite:") {
            let writer = open_sqlite(options, 1, false).await?;
            let reader = open_sqlite(options, SQLITE_READERS, true).await?;
            return Ok(Self { writer, reader, engine: Engine::Sqlite, patience });
        }
        let pool = open_postgres(options).await?;
        let db = Self { writer: pool.clone(), reader: pool, engine: Engine::Postgres, patience };
        db.ping().await?;
        Ok(db)
    }

    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Applies all pending migrations, or none. Nodes that start together take turns.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let transaction = self.begin().await?;
        if self.engine == Engine::Postgres {
            sql::one(&transaction, "SELECT pg_advisory_xact_lock($1)", [MIGRATION_LOCK.into()]).await?;
        }
        Migrator::up(&transaction, None).await?;
        Ok(transaction.commit().await?)
    }

    /// Names of the migrations that `migrate` would apply. Changes nothing.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        let pending = Migrator::get_pending_migrations_read_only(&self.reader).await?;
        Ok(pending.iter().map(|migration| migration.name().to_owned()).collect())
    }

    /// Asks the database for an answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.within(async {
            sql::one(&self.reader, "SELECT 1", []).await?;
            Ok(())
        })
        .await
    }

    /// Waits for the operations under way and closes all connections.
    pub async fn close(self) -> Result<(), StoreError> {
        self.reader.close().await?;
        Ok(self.writer.close().await?)
    }

    /// For single statements that change nothing.
    fn read(&self) -> &DatabaseConnection {
        &self.reader
    }

    /// For single statements that write.
    fn write(&self) -> &DatabaseConnection {
        &self.writer
    }

    /// Begins a transaction that writes; on SQLite it holds the write lock from here on. Dropping it rolls it back.
    async fn begin(&self) -> Result<DatabaseTransaction, StoreError> {
        let options =
            TransactionOptions { sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate), ..TransactionOptions::default() };
        Ok(self.writer.begin_with_options(options).await?)
    }

    /// Begins a transaction that reads one consistent snapshot.
    async fn begin_snapshot(&self) -> Result<DatabaseTransaction, StoreError> {
        let isolation_level = (self.engine == Engine::Postgres).then_some(IsolationLevel::RepeatableRead);
        Ok(self.reader.begin_with_options(TransactionOptions { isolation_level, ..TransactionOptions::default() }).await?)
    }

    /// Bounds an operation: a database that does not answer is an unavailable one.
    async fn within<T, E: From<StoreError>>(&self, operation: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        match tokio::time::timeout(self.patience, operation).await {
            Ok(outcome) => outcome,
            Err(_) => Err(StoreError::Unavailable(format!("no answer within {} ms", self.patience.as_millis())).into()),
        }
    }
}

/// A query with a row lock (`FOR UPDATE`, `FOR SHARE`); SQLite has none and needs none, because its writers hold the whole database.
fn locking<'a>(connection: &impl ConnectionTrait, query: &'a str, clause: &str) -> Cow<'a, str> {
    match connection.get_database_backend() {
        DbBackend::Postgres => Cow::Owned(format!("{query} {clause}")),
        _ => Cow::Borrowed(query),
    }
}

fn connect_options(options: &Options, max_connections: u32) -> ConnectOptions {
    let mut connect = ConnectOptions::new(options.url.clone());
    connect
        .max_connections(max_connections)
        .acquire_timeout(Duration::from_millis(options.acquire_timeout_ms))
        .sqlx_logging(false)
        .record_stmt_in_spans(false);
    connect
}

async fn open_sqlite(options: &Options, max_connections: u32, read_only: bool) -> Result<DatabaseConnection, StoreError> {
    let cannot_open = |why: &dyn std::fmt::Display| StoreError::Unavailable(format!("cannot open {}: {why}", options.url));
    let parsed: SqliteConnectOptions = options.url.parse().map_err(|error| cannot_open(&error))?;
    let file = parsed.get_filename().to_owned();
    if options.url.contains(":memory:") || options.url.contains("mode=memory") {
        return Err(cannot_open(&"the database has to be a file, because several connections share it"));
    }
    if let Some(directory) = file.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory).map_err(|error| cannot_open(&error))?;
    }
    let synchronous = match options.durability {
        Durability::Power => SqliteSynchronous::Full,
        Durability::Process | Durability::Relaxed => SqliteSynchronous::Normal,
    };
    let busy_timeout = Duration::from_millis(options.busy_timeout_ms);
    let mut connect = connect_options(options, max_connections);
    connect.test_before_acquire(false).idle_timeout(None).max_lifetime(None).map_sqlx_sqlite_opts(move |sqlite| {
        let sqlite = sqlite
            .create_if_missing(true)
            .busy_timeout(busy_timeout)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous)
            .foreign_keys(true)
            .statement_cache_capacity(STATEMENT_CACHE_CAPACITY)
            .pragma("temp_store", "memory")
            .pragma("cache_size", SQLITE_CACHE_SIZE)
            .pragma("wal_autocheckpoint", SQLITE_CHECKPOINT_PAGES);
        if read_only { sqlite.pragma("query_only", "on") } else { sqlite }
    });
    Database::connect(connect).await.map_err(|error| cannot_open(&error))
}

async fn open_postgres(options: &Options) -> Result<DatabaseConnection, StoreError> {
    // The address without the password, for the message an operator reads.
    let parsed: PgConnectOptions =
        options.url.parse().map_err(|error| StoreError::Unavailable(format!("the database url is not understood: {error}")))?;
    let address = format!("{}:{}/{}", parsed.get_host(), parsed.get_port(), parsed.get_database().unwrap_or_default());
    let synchronous_commit = match options.durability {
        Durability::Power => "on",
        Durability::Process | Durability::Relaxed => "off",
    };
    let lock_timeout = options.busy_timeout_ms.max(1).to_string();
    // A node that vanished in the middle of a transaction must not keep a wallet locked.
    let idle_timeout = options.acquire_timeout_ms.saturating_add(options.busy_timeout_ms).saturating_mul(4).max(1_000).to_string();
    let mut connect = connect_options(options, options.max_connections);
    connect.test_before_acquire_if_idle_for(PING_AFTER_IDLE).map_sqlx_postgres_opts(move |postgres| {
        postgres.application_name("pixgate").statement_cache_capacity(STATEMENT_CACHE_CAPACITY).options([
            ("synchronous_commit", synchronous_commit),
            ("lock_timeout", &lock_timeout),
            ("idle_in_transaction_session_timeout", &idle_timeout),
            ("client_min_messages", "warning"),
        ])
    });
    Database::connect(connect).await.map_err(|error| {
        StoreError::Unavailable(format!("cannot connect to PostgreSQL at {address} within {} ms: {error}", options.acquire_timeout_ms))
    })
}
