//! Keys of a former gateway, out of a file: `email,title,key`. Each row is a step of its own, and a row that was taken over before is
//! known again, so that an import may be repeated and go on after it was interrupted.

use std::io::Read;

use serde_json::json;

use super::{
    Actor, Control, ControlError, accounts,
    input::check_text,
    keys::{self, NewKey, TITLE_LENGTH_MAX},
};
use crate::{
    domain::{
        account::{Account, AccountStatus},
        legacy_key,
    },
    store::{self, StoreError, audit::AuditEntry},
    telemetry::redact::Secret,
};

const COLUMNS: [&str; 3] = ["email", "title", "key"];
/// Bad rows that are named; of more the number is told.
const NAMED_MAX: usize = 1_000;
/// Rows between two reports of progress.
const PROGRESS_EVERY: u64 = 500;
const TITLE: &str = "imported key";

/// A row that was not taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// In the file, from 1 on.
    pub line: u64,
    /// Never names the key.
    pub why: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub rows: u64,
    pub imported: u64,
    /// Of those, keys that can be guessed.
    pub weak: u64,
    /// Taken over by an earlier run, or by other ways.
    pub known: u64,
    pub accounts_created: u64,
    pub bad: Vec<BadRow>,
    pub bad_count: u64,
}

enum Row {
    Imported { is_weak: bool },
    Known,
    Bad(String),
}

/// Takes over the keys of a file. `progress` is told every few rows. [`ControlError::Invalid`] when the file has not the right columns.
pub async fn import(control: &Control, file: impl Read, mut progress: impl FnMut(&Report)) -> Result<Report, ControlError> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
    let columns = columns(reader.byte_headers().map_err(|error| unreadable(&error))?)?;
    let mut report = Report::default();
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(|error| unreadable(&error))? {
        report.rows += 1;
        let line = record.position().map_or(0, csv::Position::line);
        let outcome = match fields(&record, columns) {
            Ok([email, title, key]) => row(control, email, title, &Secret::new(key), &mut report).await?,
            Err(why) => Row::Bad(why),
        };
        match outcome {
            Row::Imported { is_weak } => {
                report.imported += 1;
                report.weak += u64::from(is_weak);
            }
            Row::Known => report.known += 1,
            Row::Bad(why) => {
                report.bad_count += 1;
                if report.bad.len() < NAMED_MAX {
                    report.bad.push(BadRow { line, why });
                }
            }
        }
        if report.rows.is_multiple_of(PROGRESS_EVERY) {
            progress(&report);
        }
    }
    Ok(report)
}

fn unreadable(error: &csv::Error) -> ControlError {
    ControlError::invalid("file", format!("the file cannot be read: {error}"))
}

/// Where the columns stand; others are passed over.
fn columns(header: &csv::ByteRecord) -> Result<[usize; 3], ControlError> {
    let mut found = [0; 3];
    for (name, at) in COLUMNS.into_iter().zip(&mut found) {
        let is_name = |field: &[u8]| field.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
        *at = header.iter().position(is_name).ok_or_else(|| {
            ControlError::invalid("file", format!("the file has no column '{name}'; its first line must be {}", COLUMNS.join(",")))
        })?;
    }
    Ok(found)
}

fn fields(record: &csv::ByteRecord, columns: [usize; 3]) -> Result<[&str; 3], String> {
    let mut found = [""; 3];
    for ((name, column), field) in COLUMNS.into_iter().zip(columns).zip(&mut found) {
        let bytes = record.get(column).ok_or_else(|| format!("the field '{name}' is missing"))?;
        *field = std::str::from_utf8(bytes).map_err(|_| format!("the field '{name}' is not UTF-8"))?;
    }
    Ok(found)
}

async fn row(control: &Control, email: &str, title: &str, text: &Secret, report: &mut Report) -> Result<Row, ControlError> {
    let strength = match legacy_key::judge(text.expose()) {
        Ok(strength) => strength,
        Err(why) => return Ok(Row::Bad(format!("the key cannot be used: {why}"))),
    };
    let title = if title.trim().is_empty() { TITLE } else { title.trim() };
    if check_text("title", title, TITLE_LENGTH_MAX).is_err() {
        return Ok(Row::Bad(format!("the title must have at most {TITLE_LENGTH_MAX} printable characters")));
    }
    let account = match owner(control, email, report).await {
        Ok(account) if account.status == AccountStatus::Closed => return Ok(Row::Bad("the account of this address is closed".to_owned())),
        Ok(account) => account,
        Err(ControlError::Invalid { message, .. }) => return Ok(Row::Bad(message)),
        Err(error) => return Err(error),
    };
    // A row of the same key that is still kept as its text becomes a hashed one, and is found below.
    let tools = &control.legacy_tools;
    tools.take_over(text).await?;
    let digests = control.hasher.digests(text.expose());
    if let Some(known) = store::keys::find_by_digest(&control.db, digests.all()).await? {
        return Ok(match known.account_id == account.id {
            true => Row::Known,
            false => Row::Bad(format!("the key is known here already, as {} of another account", known.id)),
        });
    }
    let hashed = tools.hashed(text.expose(), strength);
    let new = NewKey { title: title.to_owned(), ..NewKey::default() };
    let mut key = keys::draft(control.clock.new_id("key"), account.id.clone(), new, hashed.now)?;
    keys::remember(control, &mut key, text);
    (key.legacy_weak, key.expires_at) = (hashed.weak, hashed.weak_until);
    let mail = match hashed.weak {
        true => tools.warning(&account.id, title, &key.prefix, key.expires_at).await?,
        false => None,
    };
    let entry = AuditEntry {
        id: control.clock.new_id("aud"),
        actor: Actor::system().id,
        action: "key.import_legacy".to_owned(),
        subject: key.id.clone(),
        details: json!({ "account_id": account.id, "weak": hashed.weak }),
        created_at: hashed.now,
    };
    match store::legacy::insert(&control.db, &control.sealer, &key, entry, mail.as_ref()).await {
        Ok(()) => {}
        Err(StoreError::Conflict(_)) => return Ok(Row::Bad("the key was taken by somebody else at this very moment".to_owned())),
        Err(error) => return Err(error.into()),
    }
    control.accounts.foreign_key_changed(digests.current());
    control.accounts.changed(&account.locator).await;
    Ok(Row::Imported { is_weak: hashed.weak })
}

/// The account of an address; a new one is verified, since its owner had a key of the former gateway.
async fn owner(control: &Control, email: &str, report: &mut Report) -> Result<Account, ControlError> {
    let email = accounts::normal_email(email)?;
    if let Some(account) = store::accounts::by_email(&control.db, &email).await? {
        return Ok(account);
    }
    let new = accounts::NewAccount { email, verified: true, ..accounts::NewAccount::default() };
    let account = accounts::create(control, &Actor::system(), new).await?;
    report.accounts_created += 1;
    Ok(account)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_their_names() {
        let header = |text: &str| columns(&csv::ByteRecord::from(text.split(',').collect::<Vec<_>>()));
        assert_eq!(header("email,title,key").unwrap(), [0, 1, 2]);
        assert_eq!(header("Key, created ,TITLE,email").unwrap(), [3, 2, 0]);
        assert!(header("email,title").unwrap_err().to_string().contains("no column 'key'"));
    }
}
