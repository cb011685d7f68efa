//! One database a test: a SQLite file in the test's folder, or (PIXGATE_TEST_DATABASE=postgres) a clone of a migrated template on
//! the server that PIXGATE_TEST_POSTGRES names.

use std::{
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use pixgate::store::{Db, Durability, Options};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait,
};
use tokio::sync::OnceCell;

/// Everything that a paid call and an operator's change write.
const WRITTEN_TABLES: &str = "wallets, leases, ledger_transfers, usage_records, accounts";

static TEMPLATE: OnceCell<String> = OnceCell::const_new();
static NEXT: AtomicU32 = AtomicU32::new(1);

pub struct TestDatabase {
    pub url: String,
    /// Name on the PostgreSQL server; `None` for SQLite.
    postgres: Option<String>,
}

/// A lock that keeps the gateway from writing until it is released.
pub struct WriteLock {
    transaction: DatabaseTransaction,
    connection: DatabaseConnection,
}

pub fn is_postgres() -> bool {
    match std::env::var("PIXGATE_TEST_DATABASE").as_deref() {
        Ok("postgres") => true,
        Ok("sqlite") | Err(_) => false,
        Ok(other) => panic!("PIXGATE_TEST_DATABASE is sqlite or postgres, not {other}"),
    }
}

impl TestDatabase {
    /// `dir` holds the file when the database is one.
    pub async fn create(dir: &Path) -> Self {
        if !is_postgres() {
            return Self { url: format!("sqlite://{}", dir.join("test.sqlite").display()), postgres: None };
        }
        let template = TEMPLATE.get_or_init(make_template).await;
        let name = format!("pixgate_it_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        on_server(&[&format!("CREATE DATABASE {name} TEMPLATE {template}")]).await;
        Self { url: url_of(&name), postgres: Some(name) }
    }

    pub fn is_postgres(&self) -> bool {
        self.postgres.is_some()
    }

    pub async fn lock_writes(&self) -> WriteLock {
        let connection = connect(&self.url).await;
        let options = TransactionOptions { sqlite_transaction_mode: Some(SqliteTransactionMode::Exclusive), ..Default::default() };
        let transaction = if self.is_postgres() {
            let transaction = connection.begin().await.expect("a transaction");
            let lock = format!("LOCK TABLE {WRITTEN_TABLES} IN ACCESS EXCLUSIVE MODE");
            transaction.execute_unprepared(&lock).await.expect("the lock");
            transaction
        } else {
            connection.begin_with_options(options).await.expect("the lock")
        };
        WriteLock { transaction, connection }
    }

    /// PostgreSQL only: ends all sessions and lets none in.
    pub async fn shut(&self) {
        let name = self.postgres.as_deref().expect("a PostgreSQL database");
        on_server(&[
            &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"),
            &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"),
        ])
        .await;
    }

    pub async fn reopen(&self) {
        let name = self.postgres.as_deref().expect("a PostgreSQL database");
        on_server(&[&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")]).await;
    }

    /// Writes past the gateway, as another program would.
    pub async fn execute(&self, sql: &str) {
        let connection = connect(&self.url).await;
        connection.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        connection.close().await.expect("closed");
    }

    /// Whether a file of a SQLite database holds these bytes: the database, its write-ahead log, or the index of that.
    pub fn files_hold(&self, text: &str) -> bool {
        let path = self.url.strip_prefix("sqlite://").expect("a SQLite database");
        ["", "-wal", "-shm", "-journal"].iter().any(|suffix| {
            let bytes = std::fs::read(format!("{path}{suffix}")).unwrap_or_default();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        })
    }

    /// Connections of our own, as the gateway makes them.
    pub async fn open(&self) -> Db {
        let options = Options {
            url: self.url.clone(),
            durability: Durability::Process,
            max_connections: 2,
            busy_timeout_ms: 5_000,
            acquire_timeout_ms: 5_000,
        };
        Db::open(&options).await.expect("the test's database")
    }

    /// Every row of every table, as text: what a thief of the database would read.
    pub async fn dump(&self) -> String {
        let connection = connect(&self.url).await;
        let backend = connection.get_database_backend();
        let tables = if self.is_postgres() {
            "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"
        } else {
            "SELECT name FROM sqlite_master WHERE type = 'table'"
        };
        let mut text = String::new();
        for table in connection.query_all_raw(Statement::from_string(backend, tables)).await.expect("the tables") {
            let table: String = table.try_get("", "name").expect("a name");
            if self.is_postgres() {
                let rows = Statement::from_string(backend, format!("SELECT CAST(t AS TEXT) AS row FROM {table} t"));
                for row in connection.query_all_raw(rows).await.expect("rows") {
                    let row: String = row.try_get("", "row").expect("a text");
                    text.push_str(&format!("{table}: {row}\n"));
                }
                continue;
            }
            let columns =
                connection.query_all_raw(Statement::from_string(backend, format!("SELECT name FROM pragma_table_info('{table}')")));
            let columns: Vec<String> = columns.await.expect("columns").iter().map(|row| row.try_get("", "name").expect("a name")).collect();
            let all: Vec<String> = columns.iter().map(|name| format!("COALESCE(CAST(\"{name}\" AS TEXT), '')")).collect();
            let rows = Statement::from_string(backend, format!("SELECT {} AS row FROM \"{table}\"", all.join(" || '|' || ")));
            for row in connection.query_all_raw(rows).await.expect("rows") {
                let row: Option<String> = row.try_get("", "row").ok();
                text.push_str(&format!("{table}: {}\n", row.unwrap_or_default()));
            }
        }
        connection.close().await.expect("closed");
        text
    }

    /// One text, straight from the database.
    pub async fn text(&self, sql: &str) -> String {
        let connection = connect(&self.url).await;
        let statement = Statement::from_string(connection.get_database_backend(), sql);
        let row = connection.query_one_raw(statement).await.expect("a query").expect("a row");
        let text = row.try_get_by_index(0).expect("a text");
        connection.close().await.expect("closed");
        text
    }

    /// Columns of a table: name, type in lower case, and whether it may be null.
    pub async fn columns(&self, table: &str) -> Vec<(String, String, bool)> {
        let connection = connect(&self.url).await;
        let sql = if self.is_postgres() {
            format!(
                "SELECT CAST(column_name AS TEXT) AS n, CAST(data_type AS TEXT) AS t, CASE is_nullable WHEN 'YES' THEN 0 ELSE 1 END AS r \
                FROM information_schema.columns WHERE table_schema = 'public' AND table_name = '{table}'"
            )
        } else {
            format!("SELECT name AS n, LOWER(type) AS t, \"notnull\" AS r FROM pragma_table_info('{table}')")
        };
        let rows = connection.query_all_raw(Statement::from_string(connection.get_database_backend(), sql)).await.expect("the columns");
        let column = |row: &sea_orm::QueryResult| {
            let required: i32 = row.try_get("", "r").expect("a flag");
            (row.try_get("", "n").expect("a name"), row.try_get("", "t").expect("a type"), required == 0)
        };
        let columns = rows.iter().map(column).collect();
        connection.close().await.expect("closed");
        columns
    }

    /// One number, straight from the database.
    pub async fn number(&self, sql: &str) -> i64 {
        let connection = connect(&self.url).await;
        let statement = Statement::from_string(connection.get_database_backend(), sql);
        let row = connection.query_one_raw(statement).await.expect("a query").expect("a row");
        let number = row.try_get_by_index(0).expect("a number");
        connection.close().await.expect("closed");
        number
    }
}

impl WriteLock {
    pub async fn release(self) {
        self.transaction.rollback().await.expect("the lock ends");
        self.connection.close().await.expect("closed");
    }
}

impl Drop for TestDatabase {
    /// Also after a failed test, whose runtime may be gone.
    fn drop(&mut self) {
        let Some(name) = self.postgres.take() else { return };
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(on_server(&[&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")]));
        });
        let _ = dropping.join();
    }
}

fn server_url() -> String {
    std::env::var("PIXGATE_TEST_POSTGRES").expect("PIXGATE_TEST_POSTGRES names a server: postgres://user@host:port/postgres")
}

fn url_of(database: &str) -> String {
    let server = server_url();
    let (before, _) = server.rsplit_once('/').expect("the URL names a database");
    format!("{before}/{database}")
}

async fn connect(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.unwrap_or_else(|error| panic!("{url}: {error}"))
}

async fn on_server(statements: &[&str]) {
    let connection = connect(&server_url()).await;
    for statement in statements {
        connection.execute_unprepared(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    connection.close().await.expect("closed");
}

/// One migrated database a test process, to be cloned. Those of processes that are gone are dropped first.
async fn make_template() -> String {
    let connection = connect(&server_url()).await;
    let listed = Statement::from_string(
        connection.get_database_backend(),
        "SELECT datname::text FROM pg_database WHERE datname LIKE 'pixgate\\_it\\_%'",
    );
    for row in connection.query_all_raw(listed).await.expect("a query") {
        let name: String = row.try_get_by_index(0).expect("a name");
        let owner = name.split('_').nth(2).unwrap_or_default();
        if !Path::new("/proc").join(owner).exists() {
            // Another run may be dropping it, too.
            let _ = connection.execute_unprepared(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
        }
    }
    connection.close().await.expect("closed");

    let name = format!("pixgate_it_{}_template", std::process::id());
    on_server(&[&format!("CREATE DATABASE {name}")]).await;
    let options = Options {
        url: url_of(&name),
        durability: Durability::Process,
        max_connections: 2,
        busy_timeout_ms: 5_000,
        acquire_timeout_ms: 5_000,
    };
    let db = Db::open(&options).await.expect("the template opens");
    db.migrate().await.expect("the template is migrated");
    db.close().await.expect("the template closes");
    name
}
