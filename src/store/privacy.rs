//! Privacy requests, and the rows of an account as the register of personal data knows them.

use pixgate_entities::privacy_requests::{Column, Entity, Model};
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect, Value};
use serde_json::{Map, Value as Json};

use super::{
    Db, Engine, StoreError, accounts,
    mail_tokens::{self, NewToken, Purpose, Used},
    outbox::{self, NewMail},
    seal::Sealer,
    sessions, sql,
};
use crate::domain::{
    SECOND, Timestamp,
    account::{Account, AccountStatus},
    api_key::Digest,
    privacy::{Export, Fate, Kind, Status, Table},
};

/// How the progress of a deletion calls what is no table.
const BLOBS: &str = "blobs";
/// Each is as large as everything an account has.
const EXPORTS_A_DAY: i64 = 5;
const DAY: Timestamp = 24 * 3_600 * SECOND;

/// What somebody asked about the data of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `prv_…`.
    pub id: String,
    pub account_id: String,
    pub kind: Kind,
    /// `session`, `mail` or `admin`.
    pub channel: String,
    pub status: Status,
    pub note: String,
    pub created_by: String,
    /// Status of the account before its deletion was asked for.
    pub prior_status: Option<AccountStatus>,
    pub due_at: Timestamp,
    pub next_at: Timestamp,
    pub attempts: i32,
    pub last_error: Option<String>,
    /// Rows treated so far, by table.
    pub progress: Map<String, Json>,
    /// JSON text that `signature` is of.
    pub record: Option<String>,
    pub signature: Option<String>,
    pub blob: Option<String>,
    pub bytes: Option<i64>,
    pub expires_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

fn from_model(model: Model) -> Result<Request, StoreError> {
    let prior_status = model.prior_status.as_deref().map(|word| sql::from_word(word, "privacy_requests.prior_status")).transpose()?;
    Ok(Request {
        kind: sql::from_word(&model.kind, "privacy_requests.kind")?,
        status: sql::from_word(&model.status, "privacy_requests.status")?,
        progress: sql::from_json(&model.progress, "privacy_requests.progress")?,
        prior_status,
        id: model.id,
        account_id: model.account_id,
        channel: model.channel,
        note: model.note,
        created_by: model.created_by,
        due_at: model.due_at,
        next_at: model.next_at,
        attempts: model.attempts,
        last_error: model.last_error,
        record: model.record,
        signature: model.signature,
        blob: model.blob,
        bytes: model.bytes,
        expires_at: model.expires_at,
        completed_at: model.completed_at,
        created_at: model.created_at,
    })
}

fn to_model(request: &Request) -> Result<Model, StoreError> {
    let request = request.clone();
    Ok(Model {
        kind: sql::to_word(&request.kind)?,
        status: sql::to_word(&request.status)?,
        progress: sql::to_json(&request.progress)?,
        prior_status: request.prior_status.as_ref().map(sql::to_word).transpose()?,
        id: request.id,
        account_id: request.account_id,
        channel: request.channel,
        note: request.note,
        created_by: request.created_by,
        due_at: request.due_at,
        next_at: request.next_at,
        attempts: request.attempts,
        claimed_by: None,
        last_error: request.last_error,
        record: request.record,
        signature: request.signature,
        blob: request.blob,
        bytes: request.bytes,
        expires_at: request.expires_at,
        completed_at: request.completed_at,
        created_at: request.created_at,
    })
}

/// Writes a request. One for the deletion of the account closes it and ends its sessions, and [`StoreError::Conflict`]s with another one
/// that waits.
pub async fn insert(
    db: &Db,
    sealer: &Sealer,
    request: &Request,
    token: Option<&NewToken>,
    mail: Option<&NewMail>,
) -> Result<(), StoreError> {
    let now = request.created_at;
    db.within(async {
        let transaction = db.begin().await?;
        if request.kind == Kind::Deletion {
            let text = "UPDATE accounts SET status = 'closed', updated_at = $1 WHERE id = $2";
            sql::execute(&transaction, text, [now.into(), request.account_id.as_str().into()]).await?;
            let text = "SELECT id FROM privacy_requests WHERE account_id = $1 AND kind = 'deletion' AND status IN ('scheduled', 'done')";
            if sql::one(&transaction, text, [request.account_id.as_str().into()]).await?.is_some() {
                return Err(StoreError::Conflict("the deletion of this account was asked for already".to_owned()));
            }
            sessions::end_all(&transaction, &request.account_id, None).await?;
        }
        if request.kind == Kind::Export {
            // Taken first, so that of two at once one waits and sees the other.
            let text = "UPDATE accounts SET updated_at = updated_at WHERE id = $1";
            sql::execute(&transaction, text, [request.account_id.as_str().into()]).await?;
            let text = "SELECT COUNT(*) AS requests, COUNT(CASE WHEN status = 'scheduled' THEN 1 END) AS waiting FROM privacy_requests \
                WHERE account_id = $1 AND kind = 'export' AND created_at > $2";
            let values = [request.account_id.as_str().into(), (now - DAY).into()];
            if let Some(row) = sql::one(&transaction, text, values).await? {
                if row.try_get::<i64>("", "waiting")? > 0 {
                    return Err(StoreError::Conflict("an export of this account is being made; it comes by mail".to_owned()));
                }
                if row.try_get::<i64>("", "requests")? >= EXPORTS_A_DAY {
                    let message = format!("{EXPORTS_A_DAY} exports a day are made for an account; use the last one, or wait a day");
                    return Err(StoreError::Conflict(message));
                }
            }
        }
        to_model(request)?.into_active_model().insert(&transaction).await?;
        if let Some(token) = token {
            mail_tokens::add(&transaction, token).await?;
        }
        if let Some(mail) = mail {
            outbox::put(&transaction, sealer, mail).await?;
        }
        Ok(transaction.commit().await?)
    })
    .await
}

/// Uses a token up; `None` when it is unknown, used or too old.
pub async fn consume(db: &Db, purpose: Purpose, digest: &Digest, now: Timestamp) -> Result<Option<Used>, StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        let used = mail_tokens::consume(&transaction, purpose, digest, now).await?;
        transaction.commit().await?;
        Ok(used)
    })
    .await
}

/// The deletion of an account that is scheduled or done: its id, and whether it is done.
pub async fn deletion(db: &Db, account_id: &str) -> Result<Option<(String, bool)>, StoreError> {
    let query = Entity::find()
        .filter(Column::AccountId.eq(account_id))
        .filter(Column::Kind.eq(Kind::Deletion.as_str()))
        .filter(Column::Status.is_in(["scheduled", "done"]));
    let found = db.within(async { Ok::<_, StoreError>(query.one(db.read()).await?) }).await?;
    Ok(found.map(|model| (model.id, model.status == "done")))
}

/// Keeps an account whose deletion has not begun. `None` when there is nothing left to keep.
pub async fn cancel_deletion(db: &Db, id: &str, now: Timestamp) -> Result<Option<Account>, StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        let text = "UPDATE privacy_requests SET status = 'canceled', completed_at = $1 \
            WHERE id = $2 AND kind = 'deletion' AND status = 'scheduled' AND attempts = 0";
        if sql::execute(&transaction, text, [now.into(), id.into()]).await? == 0 {
            return Ok(None);
        }
        let text = "UPDATE accounts SET updated_at = $1, status = COALESCE((SELECT prior_status FROM privacy_requests WHERE id = $2), 'active') \
            WHERE id = (SELECT account_id FROM privacy_requests WHERE id = $2)";
        sql::execute(&transaction, text, [now.into(), id.into()]).await?;
        let Some(model) = Entity::find_by_id(id).one(&transaction).await? else { return Ok(None) };
        let account = accounts::find(&transaction, &model.account_id).await?;
        transaction.commit().await?;
        Ok(account)
    })
    .await
}

pub async fn get(db: &Db, id: &str) -> Result<Option<Request>, StoreError> {
    db.within(async { Entity::find_by_id(id).one(db.read()).await?.map(from_model).transpose() }).await
}

/// Requests, newest first, behind the one named `after`.
pub async fn list(
    db: &Db,
    account_id: Option<&str>,
    status: Option<Status>,
    after: Option<&str>,
    limit: u64,
) -> Result<Vec<Request>, StoreError> {
    let mut query = Entity::find().order_by_desc(Column::Id).limit(limit);
    if let Some(account_id) = account_id {
        query = query.filter(Column::AccountId.eq(account_id));
    }
    if let Some(status) = status {
        query = query.filter(Column::Status.eq(sql::to_word(&status)?));
    }
    if let Some(after) = after {
        query = query.filter(Column::Id.lt(after));
    }
    db.within(async { query.all(db.read()).await?.into_iter().map(from_model).collect() }).await
}

/// What the staff says of a request that waits for it. `false` when it does not wait any more.
pub async fn decide(db: &Db, id: &str, status: Status, note: Option<&str>, now: Timestamp) -> Result<bool, StoreError> {
    let text = "UPDATE privacy_requests SET status = $1, note = COALESCE($2, note), completed_at = $3 WHERE id = $4 AND status = 'open'";
    let values = [sql::to_word(&status)?.into(), note.map(str::to_owned).into(), now.into(), id.into()];
    db.within(async { Ok(sql::execute(db.write(), text, values).await? > 0) }).await
}

/// Ids of requests whose time has come.
pub async fn due(db: &Db, now: Timestamp, limit: u64) -> Result<Vec<String>, StoreError> {
    let query =
        Entity::find().filter(Column::Status.eq("scheduled")).filter(Column::NextAt.lte(now)).order_by_asc(Column::NextAt).limit(limit);
    db.within(async { Ok(query.all(db.read()).await?.into_iter().map(|model| model.id).collect()) }).await
}

/// Takes a request that is due until `until`, for the node of this name; of many workers only one gets it.
pub async fn claim(db: &Db, id: &str, node: &str, now: Timestamp, until: Timestamp) -> Result<Option<Request>, StoreError> {
    let text = "UPDATE privacy_requests SET next_at = $1, attempts = attempts + 1, claimed_by = $4 \
        WHERE id = $2 AND status = 'scheduled' AND next_at <= $3";
    db.within(async {
        let transaction = db.begin().await?;
        if sql::execute(&transaction, text, [until.into(), id.into(), now.into(), node.into()]).await? == 0 {
            return Ok(None);
        }
        let model = Entity::find_by_id(id).one(&transaction).await?;
        transaction.commit().await?;
        model.map(from_model).transpose()
    })
    .await
}

/// Gives back what the node of this name had in hand when it died: for its next start, before it claims anything.
pub async fn release_claims(db: &Db, node: &str, now: Timestamp) -> Result<u64, StoreError> {
    let text = "UPDATE privacy_requests SET next_at = $1, claimed_by = NULL WHERE claimed_by = $2 AND status = 'scheduled'";
    db.within(async { sql::execute(db.write(), text, [now.into(), node.into()]).await }).await
}

/// Notes a failed try; the next one comes at `next_at`.
pub async fn failed(db: &Db, id: &str, error: &str, next_at: Timestamp) -> Result<(), StoreError> {
    let text = "UPDATE privacy_requests SET last_error = $1, next_at = $2, claimed_by = NULL WHERE id = $3 AND status = 'scheduled'";
    db.within(async {
        sql::execute(db.write(), text, [error.into(), next_at.into(), id.into()]).await?;
        Ok(())
    })
    .await
}

/// Ends an export: the archive is named, and the mail with the link to it goes out.
pub async fn finish_export(db: &Db, sealer: &Sealer, request: &Request, token: &NewToken, mail: &NewMail) -> Result<bool, StoreError> {
    let text = "UPDATE privacy_requests SET status = 'done', blob = $1, bytes = $2, expires_at = $3, completed_at = $4, last_error = NULL, \
        progress = $5 WHERE id = $6 AND status = 'scheduled'";
    let values: Vec<Value> = vec![
        request.blob.clone().into(),
        request.bytes.into(),
        request.expires_at.into(),
        request.completed_at.into(),
        sql::to_json(&request.progress)?.into(),
        request.id.as_str().into(),
    ];
    db.within(async {
        let transaction = db.begin().await?;
        if sql::execute(&transaction, text, values).await? == 0 {
            return Ok(false);
        }
        mail_tokens::add(&transaction, token).await?;
        outbox::put(&transaction, sealer, mail).await?;
        transaction.commit().await?;
        Ok(true)
    })
    .await
}

/// Blobs of archives whose time is over, each with its request.
pub async fn expired_archives(db: &Db, now: Timestamp, limit: u64) -> Result<Vec<(String, String)>, StoreError> {
    let query = Entity::find().filter(Column::ExpiresAt.lte(now)).filter(Column::Blob.is_not_null()).limit(limit);
    let models = db.within(async { Ok::<_, StoreError>(query.all(db.read()).await?) }).await?;
    Ok(models.into_iter().filter_map(|model| Some((model.id, model.blob?))).collect())
}

/// The archive of a request is gone.
pub async fn forget_archive(db: &Db, id: &str) -> Result<(), StoreError> {
    db.within(async {
        sql::execute(db.write(), "UPDATE privacy_requests SET blob = NULL WHERE id = $1", [id.into()]).await?;
        Ok(())
    })
    .await
}

/// Last mails to people whose accounts were deleted name an address; once sent, given up, or printed where there is no mail server, they go.
pub async fn forget_farewells(db: &Db) -> Result<u64, StoreError> {
    let text = "DELETE FROM outbox WHERE kind = 'deletion_done' AND status IN ('sent', 'dead', 'held')";
    db.within(async { sql::execute(db.write(), text, []).await }).await
}

/// `$2` is bound only where the condition names it: PostgreSQL wants as many values as placeholders.
fn owner_values(condition: &str, account: &Account) -> Vec<Value> {
    let mut values: Vec<Value> = vec![account.id.as_str().into()];
    if condition.contains("$2") {
        values.push(account.email.as_str().into());
    }
    values
}

/// The statement that erases, or replaces parts of, the rows of an account; `None` when they stay as they are.
fn erasure(table: &Table) -> Option<String> {
    let owned = table.owned?;
    match table.fate {
        Fate::Erase => Some(format!("DELETE FROM {} WHERE {owned}", table.name)),
        Fate::Nobody(_) => None,
        Fate::Keep(_) => {
            let replaced = table.columns.iter().filter_map(|column| Some(format!("{} = {}", column.name, column.replaced?)));
            let replaced: Vec<String> = replaced.collect();
            (!replaced.is_empty()).then(|| format!("UPDATE {} SET {} WHERE {owned}", table.name, replaced.join(", ")))
        }
    }
}

async fn treat(connection: &impl ConnectionTrait, table: &Table, account: &Account) -> Result<Json, StoreError> {
    let owned = table.owned.unwrap_or("1 = 0");
    let action = if table.fate == Fate::Erase { "erased" } else { "kept" };
    let counted =
        sql::one(connection, &format!("SELECT COUNT(*) AS n FROM {} WHERE {owned}", table.name), owner_values(owned, account)).await?;
    let rows: i64 = counted.map(|row| row.try_get("", "n")).transpose()?.unwrap_or(0);
    if let Some(text) = erasure(table) {
        sql::execute(connection, &text, owner_values(&text, account)).await?;
    }
    let replaced: Vec<&str> = table.columns.iter().filter(|column| column.replaced.is_some()).map(|column| column.name).collect();
    Ok(match table.fate {
        Fate::Keep(why) => serde_json::json!({ action: rows, "blanked": replaced, "why": why }),
        _ => serde_json::json!({ action: rows }),
    })
}

async fn note_progress(connection: &impl ConnectionTrait, request: &Request) -> Result<(), StoreError> {
    let text = "UPDATE privacy_requests SET progress = $1 WHERE id = $2 AND status = 'scheduled'";
    if sql::execute(connection, text, [sql::to_json(&request.progress)?.into(), request.id.as_str().into()]).await? == 0 {
        return Err(StoreError::Conflict("this deletion is not under way any more".to_owned()));
    }
    Ok(())
}

/// Notes how many blobs the account has, before the first of them goes: a deletion that is taken up again must not count anew. What was noted
/// stays.
pub async fn note_blobs(db: &Db, request: &mut Request, blobs: u64) -> Result<(), StoreError> {
    if request.progress.contains_key(BLOBS) {
        return Ok(());
    }
    request.progress.insert(BLOBS.to_owned(), serde_json::json!({ "erased": blobs }));
    db.within(note_progress(db.write(), request)).await
}

/// Treats one table of a deletion and notes so in the request, both or nothing. A table that was treated is left alone.
pub async fn erase_table(db: &Db, request: &mut Request, table: &Table, account: &Account) -> Result<(), StoreError> {
    if request.progress.contains_key(table.name) {
        return Ok(());
    }
    db.within(async {
        let transaction = db.begin().await?;
        sql::overwrite(db, &transaction, true).await?;
        let outcome = treat(&transaction, table, account).await?;
        sql::overwrite(db, &transaction, false).await?;
        request.progress.insert(table.name.to_owned(), outcome);
        note_progress(&transaction, request).await?;
        Ok(transaction.commit().await?)
    })
    .await
}

/// The last step of a deletion: `last` (the account itself), the signed record, and the mail that tells of it. `sign` makes the text of
/// the record and its signature.
pub async fn finish_deletion(
    db: &Db,
    sealer: &Sealer,
    request: &mut Request,
    (last, account): (&Table, &Account),
    sign: impl FnOnce(&Request) -> (String, String),
    mail: &NewMail,
) -> Result<(), StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        sql::overwrite(db, &transaction, true).await?;
        let outcome = treat(&transaction, last, account).await?;
        sql::overwrite(db, &transaction, false).await?;
        request.progress.insert(last.name.to_owned(), outcome);
        note_progress(&transaction, request).await?;
        let (record, signature) = sign(request);
        let text =
            "UPDATE privacy_requests SET status = 'done', record = $1, signature = $2, completed_at = $3, last_error = NULL WHERE id = $4";
        let values = [record.into(), signature.into(), mail.created_at.into(), request.id.as_str().into()];
        sql::execute(&transaction, text, values).await?;
        outbox::put(&transaction, sealer, mail).await?;
        Ok(transaction.commit().await?)
    })
    .await
}

/// Withdraws what campaigns know of an account whose owner objects to analytics.
pub async fn forget_campaign(db: &Db, account_id: &str) -> Result<(), StoreError> {
    let text = "UPDATE sign_ups SET campaign = '{}', referral_code = NULL WHERE account_id = $1";
    db.within(async {
        sql::execute(db.write(), text, [account_id.into()]).await?;
        Ok(())
    })
    .await
}

/// The rows of an account as JSON objects, without what is left out of exports and without notes of the staff.
pub async fn rows(db: &Db, table: &Table, account: &Account) -> Result<Vec<Map<String, Json>>, StoreError> {
    let Some(owned) = table.owned else { return Ok(Vec::new()) };
    let is_sqlite = db.engine() == Engine::Sqlite;
    let pairs = table.columns.iter().filter_map(|column| {
        let name = column.name;
        match column.export {
            Export::Shown => Some(format!("'{name}', {name}")),
            Export::Bytes if is_sqlite => Some(format!("'{name}', hex({name})")),
            Export::Bytes => Some(format!("'{name}', encode({name}, 'hex')")),
            Export::Opened | Export::Left => None,
        }
    });
    let pairs: Vec<String> = pairs.collect();
    let function = if is_sqlite { "json_object" } else { "json_build_object" };
    let public = if table.columns.iter().any(|column| column.name == "internal") { " AND NOT internal" } else { "" };
    let text = format!("SELECT CAST({function}({}) AS TEXT) AS item FROM {} WHERE ({owned}){public}", pairs.join(", "), table.name);
    let rows = db.within(async { sql::all(db.read(), &text, owner_values(owned, account)).await }).await?;
    let bytes: Vec<&str> = table.columns.iter().filter(|column| column.export == Export::Bytes).map(|column| column.name).collect();
    rows.iter()
        .map(|row| {
            let mut row: Map<String, Json> = sql::from_json(&row.try_get::<String>("", "item")?, table.name)?;
            for name in &bytes {
                if let Some(Json::String(hex)) = row.get_mut(*name) {
                    *hex = text_of(hex);
                }
            }
            Ok(row)
        })
        .collect()
}

/// The text that hexadecimal digits stand for.
fn text_of(hex: &str) -> String {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0);
    let bytes: Vec<u8> = hex.as_bytes().chunks(2).map(|pair| pair.iter().fold(0, |value, byte| (value << 4) | digit(*byte))).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
