//! Reads the SQLite database of a one-api or new-api installation. Nothing is ever written to it.
//!
//! The two projects and their many versions agree on tables and differ in columns, so only columns that are there are asked for.

use std::{collections::BTreeSet, path::Path, time::Duration};

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, QueryResult, Statement};

use super::StoreError;
use crate::telemetry::redact::Secret;

/// Which of the two projects wrote a database. They number the types of newer channels differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    OneApi,
    NewApi,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: i64,
    pub username: String,
    pub display_name: String,
    pub email: String,
    /// 1 common, 10 admin, 100 root.
    pub role: i64,
    /// 1 is enabled.
    pub status: i64,
    /// Left, in quota units.
    pub quota: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub id: i64,
    pub user_id: i64,
    /// Without the `sk-` that its holder writes before it.
    pub key: Secret,
    /// 1 enabled, 2 disabled, 3 expired, 4 exhausted.
    pub status: i64,
    pub name: String,
    /// Unix seconds; -1 or 0 is never.
    pub expired_time: i64,
    pub remain_quota: i64,
    pub unlimited_quota: bool,
    /// Separated by commas; empty allows all.
    pub models: String,
    /// Addresses and networks, separated by commas or line ends; empty allows all.
    pub networks: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    pub id: i64,
    pub kind: i64,
    /// One key, or one a line.
    pub key: Secret,
    /// 1 is enabled.
    pub status: i64,
    pub name: String,
    pub weight: i64,
    pub base_url: String,
    /// Separated by commas.
    pub models: String,
    /// A JSON object from what callers name to what the channel calls it.
    pub model_mapping: String,
    /// Higher is tried first.
    pub priority: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneApi {
    pub family: Family,
    /// Deleted rows are left out everywhere.
    pub users: Vec<User>,
    pub tokens: Vec<Token>,
    pub channels: Vec<Channel>,
    /// Name and value.
    pub options: Vec<(String, String)>,
}

/// Reads everything that can be imported. [`StoreError::NotFound`] when there is no such file, [`StoreError::Corrupt`] when it is no
/// database of these projects.
pub async fn read(path: &Path) -> Result<OneApi, StoreError> {
    if !path.is_file() {
        return Err(StoreError::NotFound(format!("the file {}", path.display())));
    }
    let connection = open(path).await?;
    let outcome = read_all(&connection).await;
    connection.close().await?;
    outcome
}

async fn open(path: &Path) -> Result<DatabaseConnection, StoreError> {
    let file = path.to_owned();
    let mut options = ConnectOptions::new("sqlite://foreign?mode=ro");
    options.max_connections(1).acquire_timeout(Duration::from_secs(10)).sqlx_logging(false).record_stmt_in_spans(false);
    options.map_sqlx_sqlite_opts(move |sqlite| sqlite.filename(&file).read_only(true).pragma("query_only", "on"));
    Database::connect(options).await.map_err(|error| StoreError::Unavailable(format!("cannot open {}: {error}", path.display())))
}

async fn read_all(connection: &DatabaseConnection) -> Result<OneApi, StoreError> {
    let tokens = Table::open(connection, "tokens").await?;
    let family = if tokens.has("model_limits_enabled") { Family::NewApi } else { Family::OneApi };
    let users = Table::open(connection, "users").await?;
    let channels = Table::open(connection, "channels").await?;
    Ok(OneApi {
        family,
        users: users.rows(&["id", "role", "status", "quota"], &["username", "display_name", "email"], user).await?,
        tokens: read_tokens(&tokens, family).await?,
        channels: channels
            .rows(&["id", "type", "status", "weight", "priority"], &["key", "name", "base_url", "models", "model_mapping"], channel)
            .await?,
        options: match Table::open(connection, "options").await {
            Ok(options) => options.rows(&[], &["key", "value"], |row| Ok((row.text(0)?, row.text(1)?))).await?,
            // An installation that never changed a setting may have none.
            Err(StoreError::Corrupt(_)) => Vec::new(),
            Err(error) => return Err(error),
        },
    })
}

async fn read_tokens(table: &Table<'_>, family: Family) -> Result<Vec<Token>, StoreError> {
    let numbers = ["id", "user_id", "status", "expired_time", "remain_quota", "unlimited_quota", "model_limits_enabled"];
    let texts = match family {
        Family::NewApi => ["key", "name", "model_limits", "allow_ips"],
        Family::OneApi => ["key", "name", "models", "subnet"],
    };
    let read = |row: Row<'_>| {
        let limited = family == Family::OneApi || row.number(6)? != 0;
        Ok(Token {
            id: row.number(0)?,
            user_id: row.number(1)?,
            status: row.number(2)?,
            expired_time: row.number(3)?,
            remain_quota: row.number(4)?,
            unlimited_quota: row.number(5)? != 0,
            key: Secret::new(row.text(0)?.trim()),
            name: row.text(1)?,
            models: if limited { row.text(2)? } else { String::new() },
            networks: row.text(3)?,
        })
    };
    table.rows(&numbers, &texts, read).await
}

fn user(row: Row<'_>) -> Result<User, StoreError> {
    Ok(User {
        id: row.number(0)?,
        role: row.number(1)?,
        status: row.number(2)?,
        quota: row.number(3)?,
        username: row.text(0)?,
        display_name: row.text(1)?,
        email: row.text(2)?,
    })
}

fn channel(row: Row<'_>) -> Result<Channel, StoreError> {
    Ok(Channel {
        id: row.number(0)?,
        kind: row.number(1)?,
        status: row.number(2)?,
        weight: row.number(3)?,
        priority: row.number(4)?,
        key: Secret::new(row.text(0)?.trim()),
        name: row.text(1)?,
        base_url: row.text(2)?,
        models: row.text(3)?,
        model_mapping: row.text(4)?,
    })
}

/// A table and the columns it has.
struct Table<'a> {
    connection: &'a DatabaseConnection,
    name: &'static str,
    columns: BTreeSet<String>,
}

/// One row: first the numbers that were asked for, then the texts.
struct Row<'a> {
    row: &'a QueryResult,
    numbers: usize,
}

impl Row<'_> {
    fn number(&self, index: usize) -> Result<i64, StoreError> {
        Ok(self.row.try_get_by_index::<Option<i64>>(index)?.unwrap_or(0))
    }

    fn text(&self, index: usize) -> Result<String, StoreError> {
        Ok(self.row.try_get_by_index::<Option<String>>(self.numbers + index)?.unwrap_or_default())
    }
}

impl<'a> Table<'a> {
    async fn open(connection: &'a DatabaseConnection, name: &'static str) -> Result<Self, StoreError> {
        let text = format!("SELECT name FROM pragma_table_info('{name}')");
        let rows = connection.query_all_raw(Statement::from_string(connection.get_database_backend(), text)).await?;
        let columns: BTreeSet<String> = rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?;
        if columns.is_empty() {
            return Err(StoreError::Corrupt(format!("it has no table {name}; this is not a database of one-api or new-api")));
        }
        Ok(Self { connection, name, columns })
    }

    fn has(&self, column: &str) -> bool {
        self.columns.contains(column)
    }

    /// All rows that are not deleted, by id. Columns that are missing read as 0 and as empty texts, and so do values of odd types.
    async fn rows<T>(
        &self,
        numbers: &[&str],
        texts: &[&str],
        read: impl Fn(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let select = |column: &str, kind: &str| match self.has(column) {
            true => format!("CAST(\"{column}\" AS {kind})"),
            false => "NULL".to_owned(),
        };
        let selected: Vec<String> =
            numbers.iter().map(|column| select(column, "INTEGER")).chain(texts.iter().map(|column| select(column, "TEXT"))).collect();
        let live = if self.has("deleted_at") { " WHERE deleted_at IS NULL" } else { "" };
        let text = format!("SELECT {} FROM \"{}\"{live} ORDER BY 1", selected.join(", "), self.name);
        let found = self.connection.query_all_raw(Statement::from_string(self.connection.get_database_backend(), text)).await?;
        found.iter().map(|row| read(Row { row, numbers: numbers.len() })).collect()
    }
}
