//! Rows of an older schema, which hold the text of a key: found, hashed, and every trace of the text wiped.
//!
//! The order is what makes it safe to be killed at any moment: the chore of wiping is written with the first row that is hashed, a row's
//! text goes in the transaction that brings its digest, and the chore goes when the wiping is done.

use sea_orm::{ActiveModelTrait, ConnectionTrait, IntoActiveModel, QueryResult};

use super::{
    Db, Engine, StoreError,
    audit::{self, AuditEntry},
    keys,
    outbox::{self, NewMail},
    seal::Sealer,
    sql,
};
use crate::{
    domain::{
        Timestamp,
        api_key::{ApiKey, Digest},
        legacy_key::Unusable,
    },
    telemetry::redact::Secret,
};

/// The chore of wiping what is left of texts that were hashed.
const WIPE: &str = "wipe_legacy_keys";
const ROW: &str = "SELECT id, account_id, title, legacy_key, expires_at FROM api_keys WHERE legacy_key IS NOT NULL";

/// A key that is still kept as its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyRow {
    pub id: String,
    pub account_id: String,
    pub title: String,
    pub text: Secret,
    pub expires_at: Option<Timestamp>,
}

/// How a key is kept from now on.
#[derive(Debug, Clone)]
pub struct Hashed {
    pub digest: Digest,
    /// Under all peppers, to find out whether the key is known.
    pub digests: Vec<Digest>,
    pub pepper_version: i32,
    pub prefix: String,
    pub last4: String,
    /// It can be guessed.
    pub weak: bool,
    /// Of a weak key: when it stops working at the latest.
    pub weak_until: Option<Timestamp>,
    pub now: Timestamp,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Hashed,
    /// Somebody else was quicker.
    Gone,
    /// It stays as it is.
    Left(Unusable),
}

/// The rows that hold exactly this text, at most two: more than one mean that nobody can say whose the key is.
pub async fn find(db: &Db, text: &Secret) -> Result<Vec<LegacyRow>, StoreError> {
    let query = format!("{ROW} AND legacy_key = $1 LIMIT 2");
    rows(db, &query, vec![text.expose().into()]).await
}

pub async fn get(db: &Db, id: &str) -> Result<Option<LegacyRow>, StoreError> {
    let query = format!("{ROW} AND id = $1");
    Ok(rows(db, &query, vec![id.into()]).await?.pop())
}

/// Rows behind the one named `after`, in the order of their ids.
pub async fn list(db: &Db, after: &str, limit: u64) -> Result<Vec<LegacyRow>, StoreError> {
    let query = format!("{ROW} AND id > $1 ORDER BY id LIMIT $2");
    rows(db, &query, vec![after.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()]).await
}

pub async fn count(db: &Db) -> Result<u64, StoreError> {
    db.within(async {
        let row = sql::one(db.read(), "SELECT COUNT(*) AS n FROM api_keys WHERE legacy_key IS NOT NULL", []).await?;
        let count: i64 = row.map_or(Ok(0), |row| row.try_get("", "n"))?;
        Ok(count.unsigned_abs())
    })
    .await
}

async fn rows(db: &Db, query: &str, values: Vec<sea_orm::Value>) -> Result<Vec<LegacyRow>, StoreError> {
    let read = |row: &QueryResult| {
        Ok(LegacyRow {
            id: row.try_get("", "id")?,
            account_id: row.try_get("", "account_id")?,
            title: row.try_get("", "title")?,
            text: Secret::new(row.try_get::<String>("", "legacy_key")?),
            expires_at: row.try_get("", "expires_at")?,
        })
    };
    db.within(async { sql::all(db.read(), query, values).await?.iter().map(read).collect() }).await
}

/// Puts a digest in the place of a row's text, with the audit entry and the mail that belong to it.
pub async fn hash(
    db: &Db,
    sealer: &Sealer,
    row: &LegacyRow,
    hashed: &Hashed,
    entry: AuditEntry,
    mail: Option<&NewMail>,
) -> Result<Outcome, StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        let text = || row.text.expose().into();
        let others = "SELECT id FROM api_keys WHERE legacy_key = $1 AND id <> $2 LIMIT 1";
        if sql::one(&transaction, others, [text(), row.id.as_str().into()]).await?.is_some() {
            return Ok(Outcome::Left(Unusable::Duplicate));
        }
        for digest in &hashed.digests {
            let known = "SELECT id FROM api_keys WHERE digest = $1 AND id <> $2";
            if sql::one(&transaction, known, [digest.to_vec().into(), row.id.as_str().into()]).await?.is_some() {
                return Ok(Outcome::Left(Unusable::Known));
            }
        }
        begin_wiping(db, &transaction, hashed.now).await?;
        let change = "UPDATE api_keys SET digest = $1, pepper_version = $2, prefix = $3, last4 = $4, legacy_weak = $5, expires_at = $6,
            legacy_key = NULL WHERE id = $7 AND legacy_key = $8";
        let expires_at = match (row.expires_at, hashed.weak_until) {
            (Some(at), Some(until)) => Some(at.min(until)),
            (at, until) => at.or(until),
        };
        let values = [
            hashed.digest.to_vec().into(),
            hashed.pepper_version.into(),
            hashed.prefix.as_str().into(),
            hashed.last4.as_str().into(),
            hashed.weak.into(),
            expires_at.into(),
            row.id.as_str().into(),
            text(),
        ];
        let changed = sql::execute(&transaction, change, values).await?;
        sql::overwrite(db, &transaction, false).await?;
        if changed == 0 {
            return Ok(Outcome::Gone);
        }
        audit::put(&transaction, entry).await?;
        if let Some(mail) = mail {
            outbox::put(&transaction, sealer, mail).await?;
        }
        transaction.commit().await?;
        Ok(Outcome::Hashed)
    })
    .await
}

/// Writes a key that was never kept as its text here, with what belongs to it. [`StoreError::Conflict`] when the digest exists.
pub async fn insert(db: &Db, sealer: &Sealer, key: &ApiKey, entry: AuditEntry, mail: Option<&NewMail>) -> Result<(), StoreError> {
    let model = keys::to_model(key)?;
    db.within(async {
        let transaction = db.begin().await?;
        model.into_active_model().insert(&transaction).await?;
        audit::put(&transaction, entry).await?;
        if let Some(mail) = mail {
            outbox::put(&transaction, sealer, mail).await?;
        }
        Ok(transaction.commit().await?)
    })
    .await
}

/// Revokes a row that cannot be used and takes its text away. False when somebody else was quicker.
pub async fn discard(db: &Db, row: &LegacyRow, reason: &str, now: Timestamp, entry: AuditEntry) -> Result<bool, StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        begin_wiping(db, &transaction, now).await?;
        let change = "UPDATE api_keys SET legacy_key = NULL, digest = NULL, pepper_version = 0, revoked_at = COALESCE(revoked_at, $1),
            revoked_reason = COALESCE(revoked_reason, $2) WHERE id = $3 AND legacy_key = $4";
        let values = [now.into(), reason.into(), row.id.as_str().into(), row.text.expose().into()];
        let changed = sql::execute(&transaction, change, values).await?;
        sql::overwrite(db, &transaction, false).await?;
        if changed == 0 {
            return Ok(false);
        }
        audit::put(&transaction, entry).await?;
        transaction.commit().await?;
        Ok(true)
    })
    .await
}

/// From here on SQLite overwrites what it deletes, and whoever restarts the node knows that traces are left.
async fn begin_wiping(db: &Db, transaction: &impl ConnectionTrait, now: Timestamp) -> Result<(), StoreError> {
    sql::overwrite(db, transaction, true).await?;
    let chore = "INSERT INTO chores (name, created_at) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    sql::execute(transaction, chore, [WIPE.into(), now.into()]).await?;
    Ok(())
}

/// Whether traces of texts that were hashed may be left in the database's files.
pub async fn must_wipe(db: &Db) -> Result<bool, StoreError> {
    let query = "SELECT name FROM chores WHERE name = $1";
    db.within(async { Ok(sql::one(db.read(), query, [WIPE.into()]).await?.is_some()) }).await
}

/// Bytes that [`wipe`] will write anew.
pub async fn wipe_size(db: &Db) -> Result<u64, StoreError> {
    let query = match db.engine() {
        Engine::Sqlite => {
            "SELECT page_count.page_count * page_size.page_size AS bytes FROM pragma_page_count AS page_count, pragma_page_size AS page_size"
        }
        Engine::Postgres => "SELECT pg_total_relation_size('api_keys') AS bytes",
    };
    db.within(async {
        let row = sql::one(db.read(), query, []).await?;
        let bytes: i64 = row.map_or(Ok(0), |row| row.try_get("", "bytes"))?;
        Ok(bytes.unsigned_abs())
    })
    .await
}

/// Writes the database (on PostgreSQL: the table of keys) anew, so that no file of it holds a text that was hashed before. Nothing else
/// is written meanwhile, on PostgreSQL no key is read. [`StoreError::Unavailable`] when others use the database: try again.
pub async fn wipe(db: &Db) -> Result<(), StoreError> {
    let connection = db.write();
    match db.engine() {
        Engine::Sqlite => {
            // The copy goes to a file: the database may be larger than the memory.
            connection.execute_unprepared("PRAGMA temp_store = file").await?;
            let vacuumed = connection.execute_unprepared("VACUUM").await;
            connection.execute_unprepared("PRAGMA temp_store = memory").await?;
            vacuumed?;
            // The pages as they were are in the write-ahead log until it is empty.
            let row = sql::one(connection, "PRAGMA wal_checkpoint(TRUNCATE)", []).await?;
            let busy: i32 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
            if busy != 0 {
                return Err(StoreError::Unavailable("others read the database, so its write-ahead log cannot be emptied yet".into()));
            }
        }
        Engine::Postgres => {
            connection.execute_unprepared("VACUUM (FULL) api_keys").await?;
        }
    }
    db.within(sql::execute(connection, "DELETE FROM chores WHERE name = $1", [WIPE.into()])).await?;
    Ok(())
}
