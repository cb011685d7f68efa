//! Uploads of `/v1/files`, without their contents (see `blobs`). All of an account's functions take its id first: a file of another
//! account does not exist for it, and neither does one that expired.

use std::collections::HashSet;

use pixgate_entities::files::{Column, Entity, Model};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
};

use super::{Db, StoreError, locking, sql};
use crate::domain::Timestamp;

/// A file, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// `file_…`
    pub id: String,
    pub account_id: String,
    pub purpose: String,
    pub filename: String,
    pub mime: String,
    /// Of the content.
    pub bytes: u64,
    /// In hexadecimal.
    pub sha256: String,
    /// Name of the blob with the content.
    pub blob: String,
    pub created_at: Timestamp,
    /// `None` for a file that stays until it is deleted.
    pub expires_at: Option<Timestamp>,
}

/// What all files of an account may come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    pub files_max: u64,
    pub bytes_max: u64,
}

/// Why a file was not inserted; what is used without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    Files(u64),
    Bytes(u64),
}

/// Which files of an account to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub purpose: Option<String>,
    /// The id of the last file of the page before.
    pub after: Option<String>,
    /// The id of the first file of the page behind.
    pub before: Option<String>,
    pub oldest_first: bool,
    pub limit: u64,
}

/// Inserts a file unless it is one too many. Uploads of one account take turns.
pub async fn insert(db: &Db, file: &File, allowance: Allowance, now: Timestamp) -> Result<Option<Full>, StoreError> {
    let model = to_model(file)?;
    db.within(async {
        let transaction = db.begin().await?;
        let text = locking(&transaction, "SELECT id FROM accounts WHERE id = $1", "FOR UPDATE");
        if sql::one(&transaction, &text, [file.account_id.as_str().into()]).await?.is_none() {
            return Err(StoreError::NotFound(format!("account {}", file.account_id)));
        }
        let (files, bytes) = used(&transaction, &file.account_id, now).await?;
        if files >= allowance.files_max {
            return Ok(Some(Full::Files(files)));
        }
        if bytes.saturating_add(file.bytes) > allowance.bytes_max {
            return Ok(Some(Full::Bytes(bytes)));
        }
        model.into_active_model().insert(&transaction).await?;
        transaction.commit().await?;
        Ok(None)
    })
    .await
}

/// Files and bytes of an account.
async fn used(connection: &impl ConnectionTrait, account_id: &str, now: Timestamp) -> Result<(u64, u64), StoreError> {
    let text = "SELECT COUNT(*) AS files, CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes FROM files \
        WHERE account_id = $1 AND (expires_at IS NULL OR expires_at > $2)";
    let Some(row) = sql::one(connection, text, [account_id.into(), now.into()]).await? else { return Ok((0, 0)) };
    let (files, bytes): (i64, i64) = (row.try_get("", "files")?, row.try_get("", "bytes")?);
    Ok((sql::number(files, "files")?, sql::number(bytes, "bytes")?))
}

pub async fn find(db: &Db, account_id: &str, id: &str, now: Timestamp) -> Result<Option<File>, StoreError> {
    let query = Entity::find_by_id(id).filter(Column::AccountId.eq(account_id)).filter(alive(now));
    db.within(async { query.one(db.read()).await?.map(from_model).transpose() }).await
}

/// Those of these files that are there, in no order.
pub async fn find_all(db: &Db, account_id: &str, ids: &[String], now: Timestamp) -> Result<Vec<File>, StoreError> {
    let query = Entity::find().filter(Column::Id.is_in(ids)).filter(Column::AccountId.eq(account_id)).filter(alive(now));
    db.within(async { query.all(db.read()).await?.into_iter().map(from_model).collect() }).await
}

pub async fn list(db: &Db, account_id: &str, wanted: &Wanted, now: Timestamp) -> Result<Vec<File>, StoreError> {
    let mut query = Entity::find().filter(Column::AccountId.eq(account_id)).filter(alive(now)).limit(wanted.limit);
    if let Some(purpose) = &wanted.purpose {
        query = query.filter(Column::Purpose.eq(purpose));
    }
    if let Some(after) = &wanted.after {
        query = query.filter(if wanted.oldest_first { Column::Id.gt(after) } else { Column::Id.lt(after) });
    }
    if let Some(before) = &wanted.before {
        query = query.filter(if wanted.oldest_first { Column::Id.lt(before) } else { Column::Id.gt(before) });
    }
    // The page before a file is the one that ends at it.
    let is_backwards = wanted.before.is_some() && wanted.after.is_none();
    let query = if wanted.oldest_first != is_backwards { query.order_by_asc(Column::Id) } else { query.order_by_desc(Column::Id) };
    let found = db.within(async { Ok::<_, StoreError>(query.all(db.read()).await?) }).await?;
    let mut files: Vec<File> = found.into_iter().map(from_model).collect::<Result<_, _>>()?;
    if is_backwards {
        files.reverse();
    }
    Ok(files)
}

/// Answers with the name of its blob, which is to be deleted now; `None` when there was no such file.
pub async fn delete(db: &Db, account_id: &str, id: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
    let text = "DELETE FROM files WHERE id = $1 AND account_id = $2 AND (expires_at IS NULL OR expires_at > $3) RETURNING blob";
    let deleted = db.within(async { sql::one(db.write(), text, [id.into(), account_id.into(), now.into()]).await }).await?;
    deleted.map(|row| Ok(row.try_get("", "blob")?)).transpose()
}

/// Deletes at most `limit` expired files; answers with the names of their blobs, which are to be deleted now.
pub async fn delete_expired(db: &Db, now: Timestamp, limit: u64) -> Result<Vec<String>, StoreError> {
    let text = "DELETE FROM files WHERE id IN (SELECT id FROM files WHERE expires_at <= $1 LIMIT $2) RETURNING blob";
    let limit: i64 = sql::number(limit, "limit")?;
    let rows = db.within(async { sql::all(db.write(), text, [now.into(), limit.into()]).await }).await?;
    rows.iter().map(|row| Ok(row.try_get("", "blob")?)).collect()
}

/// Those of these blobs that a file names.
pub async fn named_blobs(db: &Db, blobs: &[String]) -> Result<HashSet<String>, StoreError> {
    let query = Entity::find().select_only().column(Column::Blob).filter(Column::Blob.is_in(blobs));
    let found: Vec<String> = db.within(async { Ok::<_, StoreError>(query.into_tuple().all(db.read()).await?) }).await?;
    Ok(found.into_iter().collect())
}

/// Whether any file is stored, whose content only opens with the sealing key.
pub async fn exist(db: &Db) -> Result<bool, StoreError> {
    db.within(async { Ok(sql::one(db.read(), "SELECT id FROM files LIMIT 1", []).await?.is_some()) }).await
}

fn alive(now: Timestamp) -> Condition {
    Condition::any().add(Column::ExpiresAt.is_null()).add(Column::ExpiresAt.gt(now))
}

fn to_model(file: &File) -> Result<Model, StoreError> {
    Ok(Model {
        id: file.id.clone(),
        account_id: file.account_id.clone(),
        purpose: file.purpose.clone(),
        filename: file.filename.clone(),
        mime: file.mime.clone(),
        bytes: sql::number(file.bytes, "bytes")?,
        sha256: file.sha256.clone(),
        blob: file.blob.clone(),
        created_at: file.created_at,
        expires_at: file.expires_at,
    })
}

fn from_model(model: Model) -> Result<File, StoreError> {
    Ok(File {
        bytes: sql::number(model.bytes, "bytes")?,
        id: model.id,
        account_id: model.account_id,
        purpose: model.purpose,
        filename: model.filename,
        mime: model.mime,
        sha256: model.sha256,
        blob: model.blob,
        created_at: model.created_at,
        expires_at: model.expires_at,
    })
}
