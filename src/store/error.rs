//! What can go wrong between us and the database.

use sea_orm::{DbErr, RuntimeErr, SqlErr, sqlx};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database is away, locked or too slow. Nothing is known to be wrong with the request; it can be tried again. A write
    /// that ended so may or may not have been committed.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    #[error("{0} was not found")]
    NotFound(String),
    /// Something else with the same unique value exists.
    #[error("{0}")]
    Conflict(String),
    /// The database holds what this version of the program cannot have written.
    #[error("the database is corrupt: {0}")]
    Corrupt(String),
    #[error("the database answered with an error: {0}")]
    Database(String),
}

impl StoreError {
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        if let Some(SqlErr::UniqueConstraintViolation(message)) = error.sql_err() {
            return Self::Conflict(message);
        }
        match &error {
            DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => Self::Unavailable(error.to_string()),
            DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause)) if is_passing(cause) => {
                Self::Unavailable(cause.to_string())
            }
            DbErr::Type(_) | DbErr::Json(_) | DbErr::TryIntoErr { .. } => Self::Corrupt(error.to_string()),
            _ => Self::Database(error.to_string()),
        }
    }
}

/// True for failures of the moment: of the connection, of a lock, of the server's or the disk's resources.
fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(answer) => answer.code().is_some_and(|code| is_passing_code(&code)),
        _ => false,
    }
}

fn is_passing_code(code: &str) -> bool {
    // SQLSTATE codes have five characters: connection exceptions (08), transaction rollbacks such as deadlocks (40), lack of
    // resources (53), locks not available (55P03), cancelled by a timeout (57014), server stopping or starting (57P), IO (58).
    if code.len() == 5 {
        return ["08", "40", "53", "57P", "58"].iter().any(|class| code.starts_with(class)) || ["55P03", "57014", "25P03"].contains(&code);
    }
    // SQLite result codes carry details above the lowest byte: BUSY 5, LOCKED 6, READONLY 8, IOERR 10, FULL 13, CANTOPEN 14.
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 8 | 10 | 13 | 14))
}
