//! Small helpers for SQL written by hand. Both engines understand `$1`; the text is the same for both.

use std::{fmt::Write, sync::OnceLock};

use sea_orm::{ConnectionTrait, QueryResult, Statement, Value};
use serde::{Serialize, de::DeserializeOwned};

use super::StoreError;

/// Runs a statement and answers with the number of rows it changed.
pub async fn execute(
    connection: &impl ConnectionTrait,
    text: &str,
    values: impl IntoIterator<Item = Value> + Send,
) -> Result<u64, StoreError> {
    let statement = Statement::from_sql_and_values(connection.get_database_backend(), text, values);
    Ok(connection.execute_raw(statement).await?.rows_affected())
}

pub async fn all(
    connection: &impl ConnectionTrait,
    text: &str,
    values: impl IntoIterator<Item = Value> + Send,
) -> Result<Vec<QueryResult>, StoreError> {
    let statement = Statement::from_sql_and_values(connection.get_database_backend(), text, values);
    Ok(connection.query_all_raw(statement).await?)
}

pub async fn one(
    connection: &impl ConnectionTrait,
    text: &str,
    values: impl IntoIterator<Item = Value> + Send,
) -> Result<Option<QueryResult>, StoreError> {
    let statement = Statement::from_sql_and_values(connection.get_database_backend(), text, values);
    Ok(connection.query_one_raw(statement).await?)
}

/// A multi-row INSERT whose text is made once per chunk size, so that the statement caches of the drivers hit.
pub struct BulkInsert {
    head: &'static str,
    columns: usize,
    tail: &'static str,
    texts: [OnceLock<String>; CHUNK_SIZES.len()],
}

/// Rows per statement, largest first. Few sizes keep few prepared statements.
const CHUNK_SIZES: [usize; 4] = [128, 32, 8, 1];

impl BulkInsert {
    /// `head` ends before `VALUES`; `tail` is what follows the rows, for example `ON CONFLICT DO NOTHING`.
    pub const fn new(head: &'static str, columns: usize, tail: &'static str) -> Self {
        Self { head, columns, tail, texts: [const { OnceLock::new() }; CHUNK_SIZES.len()] }
    }

    /// Inserts all `rows`; `bind` pushes the values of one row, in the order of the columns.
    pub async fn run<Row: Sync>(
        &self,
        connection: &impl ConnectionTrait,
        rows: &[Row],
        bind: impl Fn(&Row, &mut Vec<Value>) + Send + Sync,
    ) -> Result<(), StoreError> {
        let mut rest = rows;
        for (index, &size) in CHUNK_SIZES.iter().enumerate() {
            while let Some((chunk, after)) = rest.split_at_checked(size) {
                let mut values = Vec::with_capacity(size * self.columns);
                chunk.iter().for_each(|row| bind(row, &mut values));
                debug_assert_eq!(values.len(), size * self.columns, "one value a column");
                execute(connection, self.text(index, size), values).await?;
                rest = after;
            }
        }
        Ok(())
    }

    fn text(&self, index: usize, rows: usize) -> &str {
        self.texts[index].get_or_init(|| {
            let rows: Vec<String> = (0..rows).map(|row| tuple(row * self.columns + 1, self.columns)).collect();
            format!("{} VALUES {} {}", self.head, rows.join(", "), self.tail)
        })
    }
}

/// A statement with a list of values at its end (`… WHERE id IN ($1, $2)`), in chunks of the same few sizes.
pub struct InList {
    head: &'static str,
    texts: [OnceLock<String>; CHUNK_SIZES.len()],
}

impl InList {
    pub const fn new(head: &'static str) -> Self {
        Self { head, texts: [const { OnceLock::new() }; CHUNK_SIZES.len()] }
    }

    /// The statements to run, each with the items to bind.
    pub fn chunks<'a, Item>(&'a self, items: &'a [Item]) -> impl Iterator<Item = (&'a str, &'a [Item])> {
        let mut rest = items;
        std::iter::from_fn(move || {
            let (index, &size) = CHUNK_SIZES.iter().enumerate().find(|(_, size)| **size <= rest.len())?;
            let (chunk, after) = rest.split_at(size);
            rest = after;
            let text = self.texts[index].get_or_init(|| format!("{} {}", self.head, tuple(1, size)));
            Some((text.as_str(), chunk))
        })
    }
}

/// `($3, $4, $5)` for `first` 3 and `count` 3.
fn tuple(first: usize, count: usize) -> String {
    let mut text = String::with_capacity(count * 6 + 2);
    for index in first..first + count {
        let before = if index == first { "($" } else { ", $" };
        // Writing to a String cannot fail.
        let _ = write!(text, "{before}{index}");
    }
    text.push(')');
    text
}

pub fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(format!("cannot be written as JSON: {error}")))
}

pub fn from_json<T: DeserializeOwned>(text: &str, what: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("{what}: {error}")))
}

/// The name serde gives a unit variant, as it is kept in a TEXT column.
pub fn to_word<T: Serialize>(value: &T) -> Result<String, StoreError> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        other => Err(StoreError::Corrupt(format!("not a plain word: {other:?}"))),
    }
}

pub fn from_word<T: DeserializeOwned>(word: &str, what: &str) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).map_err(|error| StoreError::Corrupt(format!("{what}: {error}")))
}

/// Converts between integer widths; what does not fit was not written by us.
pub fn number<From: Copy + std::fmt::Display, To: TryFrom<From>>(value: From, what: &str) -> Result<To, StoreError> {
    To::try_from(value).map_err(|_| StoreError::Corrupt(format!("{what} is out of range: {value}")))
}

/// Pattern for `LIKE … ESCAPE '!'` that finds `text` anywhere, whatever it contains.
pub fn like_pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for character in text.to_lowercase().chars() {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}
