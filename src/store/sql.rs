//! Small helpers for SQL written by hand. Both engines understand `$1`, so the texts are the same for both.

use std::{fmt::Write, sync::OnceLock};

use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement, Value};
use serde::{Serialize, de::DeserializeOwned};

use super::{Db, Engine, StoreError};

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

/// Rows per statement, largest first. Few sizes keep few prepared statements.
const CHUNK_SIZES: [usize; 4] = [128, 32, 8, 1];

/// The texts of one statement, made once per chunk size and engine, so that the statement caches of the drivers hit.
struct Texts([[OnceLock<String>; CHUNK_SIZES.len()]; 2]);

impl Texts {
    const fn new() -> Self {
        Self([const { [const { OnceLock::new() }; CHUNK_SIZES.len()] }; 2])
    }

    /// `make` gets the number of rows, and the function that writes the placeholders of a row.
    fn get(&self, backend: DbBackend, size_index: usize, make: impl FnOnce(usize, fn(usize, usize) -> String) -> String) -> &str {
        // SQLite looks names such as $1 up one by one, for every value bound; long statements need nameless ones there.
        let (engine, tuple): (usize, fn(usize, usize) -> String) = match backend {
            DbBackend::Sqlite => (0, |_, count| format!("({})", vec!["?"; count].join(", "))),
            _ => (1, numbered_tuple),
        };
        self.0[engine][size_index].get_or_init(|| make(CHUNK_SIZES[size_index], tuple))
    }
}

/// `($3, $4, $5)` for `first` 3 and `count` 3.
fn numbered_tuple(first: usize, count: usize) -> String {
    let numbers: Vec<String> = (first..first + count).map(|number| format!("${number}")).collect();
    format!("({})", numbers.join(", "))
}

/// Splits `items` into chunks of the sizes above, each with the index of its size.
fn chunks<Item>(items: &[Item]) -> impl Iterator<Item = (usize, &[Item])> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let size_index = CHUNK_SIZES.iter().position(|size| *size <= rest.len())?;
        let (chunk, after) = rest.split_at(CHUNK_SIZES[size_index]);
        rest = after;
        Some((size_index, chunk))
    })
}

/// An INSERT of any number of rows.
pub struct BulkInsert {
    head: &'static str,
    columns: usize,
    tail: &'static str,
    texts: Texts,
}

impl BulkInsert {
    /// `head` ends before `VALUES`; `tail` is what follows the rows, for example `ON CONFLICT DO NOTHING`.
    pub const fn new(head: &'static str, columns: usize, tail: &'static str) -> Self {
        Self { head, columns, tail, texts: Texts::new() }
    }

    /// Inserts all `rows`; `bind` pushes the values of one row, in the order of the columns.
    pub async fn run<Row: Sync>(
        &self,
        connection: &impl ConnectionTrait,
        rows: &[Row],
        bind: impl Fn(&Row, &mut Vec<Value>) + Send + Sync,
    ) -> Result<(), StoreError> {
        for (size_index, chunk) in chunks(rows) {
            let mut values = Vec::with_capacity(chunk.len() * self.columns);
            chunk.iter().for_each(|row| bind(row, &mut values));
            debug_assert_eq!(values.len(), chunk.len() * self.columns, "one value a column");
            let text = self.texts.get(connection.get_database_backend(), size_index, |rows, tuple| {
                let rows: Vec<String> = (0..rows).map(|row| tuple(row * self.columns + 1, self.columns)).collect();
                format!("{} VALUES {} {}", self.head, rows.join(", "), self.tail)
            });
            execute(connection, text, values).await?;
        }
        Ok(())
    }
}

/// What a column of a [`JsonInsert`] holds.
#[derive(Clone, Copy)]
pub enum Column {
    Text(&'static str),
    Integer(&'static str),
    Boolean(&'static str),
}

/// An INSERT of any number of rows out of one parameter, a JSON array of arrays. For the statements that every call pays for: one
/// text whatever the number of rows, one value to bind, one round trip to the database.
pub struct JsonInsert {
    table: &'static str,
    columns: &'static [Column],
    texts: [OnceLock<String>; 2],
}

impl JsonInsert {
    pub const fn new(table: &'static str, columns: &'static [Column]) -> Self {
        Self { table, columns, texts: [const { OnceLock::new() }; 2] }
    }

    /// Inserts all `rows`; `write` adds the values of one row, in the order of the columns.
    pub async fn run<Row: Sync>(
        &self,
        connection: &impl ConnectionTrait,
        rows: &[Row],
        write: impl Fn(&Row, &mut JsonRow<'_>) + Send + Sync,
    ) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut json = String::with_capacity(rows.len() * self.columns.len() * 24);
        json.push('[');
        for (index, row) in rows.iter().enumerate() {
            json.push_str(if index == 0 { "[" } else { ",[" });
            let mut values = JsonRow { json: &mut json, count: 0 };
            write(row, &mut values);
            debug_assert_eq!(values.count, self.columns.len(), "one value a column");
            json.push(']');
        }
        json.push(']');
        let backend = connection.get_database_backend();
        let text = self.texts[usize::from(backend == DbBackend::Postgres)].get_or_init(|| self.text(backend));
        execute(connection, text, [json.into()]).await?;
        Ok(())
    }

    fn text(&self, backend: DbBackend) -> String {
        let names: Vec<&str> = self
            .columns
            .iter()
            .map(|column| match column {
                Column::Text(name) | Column::Integer(name) | Column::Boolean(name) => *name,
            })
            .collect();
        let values: Vec<String> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| match column {
                Column::Text(_) => format!("item.value ->> {index}"),
                Column::Integer(_) => format!("CAST(item.value ->> {index} AS BIGINT)"),
                Column::Boolean(_) => format!("CAST(item.value ->> {index} AS BOOLEAN)"),
            })
            .collect();
        let source = match backend {
            DbBackend::Postgres => "json_array_elements(CAST($1 AS json)) AS element(value)",
            _ => "json_each(?)",
        };
        // Materialized, so that SQLite writes each row out once and not once a column.
        format!(
            "WITH item(value) AS MATERIALIZED (SELECT value FROM {source}) INSERT INTO {} ({}) SELECT {} FROM item",
            self.table,
            names.join(", "),
            values.join(", ")
        )
    }
}

/// Writes the values of one row.
pub struct JsonRow<'a> {
    json: &'a mut String,
    count: usize,
}

impl JsonRow<'_> {
    fn next(&mut self) {
        if self.count > 0 {
            self.json.push(',');
        }
        self.count += 1;
    }

    pub fn text(&mut self, text: &str) {
        self.next();
        self.json.push('"');
        let mut rest = text;
        while let Some(at) = rest.find(|letter: char| letter < ' ' || letter == '"' || letter == '\\') {
            let (plain, special) = rest.split_at(at);
            self.json.push_str(plain);
            let mut letters = special.chars();
            match letters.next() {
                Some(letter @ ('"' | '\\')) => {
                    self.json.push('\\');
                    self.json.push(letter);
                }
                // PostgreSQL takes no NUL in a text.
                Some('\0') => self.json.push('\u{fffd}'),
                Some(letter) => {
                    let _ = write!(self.json, "\\u{:04x}", u32::from(letter));
                }
                None => {}
            }
            rest = letters.as_str();
        }
        self.json.push_str(rest);
        self.json.push('"');
    }

    pub fn text_or_null(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.null(),
        }
    }

    pub fn integer(&mut self, number: i64) {
        self.next();
        let _ = write!(self.json, "{number}");
    }

    pub fn integer_or_null(&mut self, number: Option<i64>) {
        match number {
            Some(number) => self.integer(number),
            None => self.null(),
        }
    }

    pub fn boolean(&mut self, value: bool) {
        self.next();
        self.json.push_str(if value { "true" } else { "false" });
    }

    fn null(&mut self) {
        self.next();
        self.json.push_str("null");
    }
}

/// A statement that ends in a list of values: `… WHERE id IN` and the list.
pub struct InList {
    head: &'static str,
    texts: Texts,
}

impl InList {
    pub const fn new(head: &'static str) -> Self {
        Self { head, texts: Texts::new() }
    }

    /// The statements for all `ids`.
    pub fn statements<'a, Id: AsRef<str>>(&'a self, backend: DbBackend, ids: &'a [Id]) -> impl Iterator<Item = (&'a str, Vec<Value>)> {
        chunks(ids).map(move |(size_index, chunk)| {
            let text = self.texts.get(backend, size_index, |count, tuple| format!("{} {}", self.head, tuple(1, count)));
            (text, chunk.iter().map(|id| id.as_ref().into()).collect())
        })
    }
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

/// Whether SQLite overwrites what this transaction deletes. Not always on, because every other deletion would pay for it.
pub async fn overwrite(db: &Db, transaction: &impl ConnectionTrait, on: bool) -> Result<(), StoreError> {
    if db.engine() == Engine::Sqlite {
        transaction.execute_unprepared(if on { "PRAGMA secure_delete = ON" } else { "PRAGMA secure_delete = OFF" }).await?;
    }
    Ok(())
}
