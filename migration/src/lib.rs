//! The one migration set of Pixgate, for SQLite and PostgreSQL.
//!
//! Each step is a list of SQL statements that both engines understand; two placeholders stand for what they spell differently:
//! `{bytes}`, `{sequence_key}` and `{clustered}` (rows are kept in the order of the primary key). A released step is never edited, only followed by another. Absent on purpose: the entities,
//! because a migration describes the past and they describe the present; and ways down, because they would drop money.

mod steps;

pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::prelude::*;

/// Applies the steps in order.
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        steps::ALL.iter().map(|step| Box::new(*step) as Box<dyn MigrationTrait>).collect()
    }
}

/// A named list of statements. `sqlite` and `postgres` hold what only one engine needs, after `both`.
#[derive(Clone, Copy)]
struct Step {
    name: &'static str,
    both: &'static [&'static str],
    sqlite: &'static [&'static str],
    postgres: &'static [&'static str],
}

impl MigrationName for Step {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let is_sqlite = manager.get_database_backend() == sea_orm::DbBackend::Sqlite;
        let own = if is_sqlite { self.sqlite } else { self.postgres };
        for statement in self.both.iter().chain(own) {
            connection.execute_unprepared(&spell(statement, is_sqlite)).await?;
        }
        Ok(())
    }
}

fn spell(statement: &str, is_sqlite: bool) -> String {
    let (bytes, sequence_key, clustered) = match is_sqlite {
        true => ("BLOB", "INTEGER PRIMARY KEY AUTOINCREMENT", "WITHOUT ROWID"),
        false => ("BYTEA", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", ""),
    };
    statement.replace("{bytes}", bytes).replace("{sequence_key}", sequence_key).replace("{clustered}", clustered)
}
