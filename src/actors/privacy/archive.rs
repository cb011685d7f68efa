//! The archive of an export: one JSON and one CSV a table, and the content of what rows name.

use std::{collections::BTreeMap, io::Write};

use bytes::Bytes;
use serde_json::{Map, Value, json};
use zip::{ZipWriter, write::SimpleFileOptions};

use super::{JobError, Parts};
use crate::{
    actors::{blobs, detached},
    domain::{
        Timestamp,
        account::Account,
        blob::{BlobArea, BlobKey},
        privacy::{Class, Export, Table, register::TABLES},
    },
    store,
};

const README: &str = "This archive holds everything that this Pixgate keeps about the account named in account.txt.\n\n\
data/TABLE.json and data/TABLE.csv hold the rows of each table; times are microseconds since 1970-01-01 UTC, amounts are\n\
millionths of a credit. content/ holds files, images, attachments, and kept requests and answers; the column 'blob' of a row is the name of its file.\n\n\
Left out are hashes and sealed secrets (passwords, keys, sessions, second factors), which are of no use to anybody but a thief, and\n\
internal notes of the staff. Answers in the response cache are left out as well; they end within its short time.\n";

/// A file of the archive.
struct Entry {
    name: String,
    content: Bytes,
}

/// Everything that is held about an account, as one ZIP file, with the number of rows by table.
pub async fn build(parts: &Parts, account: &Account) -> Result<(Bytes, Map<String, Value>), JobError> {
    let mut counts = Map::new();
    let mut named = BTreeMap::new();
    let mut entries = vec![
        Entry { name: "README.txt".to_owned(), content: README.into() },
        Entry { name: "account.txt".to_owned(), content: format!("{}\n", account.id).into() },
    ];
    for table in TABLES.iter().filter(|table| table.owned.is_some()) {
        let rows = store::privacy::rows(&parts.db, table, account).await?;
        counts.insert(table.name.to_owned(), json!(rows.len()));
        for row in &rows {
            let keys = ["blob", "image_blob"].into_iter().filter_map(|column| row.get(column)?.as_str().and_then(BlobKey::parse));
            named.extend(keys.map(|key| (key.as_str().to_owned(), key)));
        }
        if table.name == "stored_responses" {
            entries.extend(answers(parts, account, &rows).await?);
        }
        if table.name == "request_contents" {
            entries.extend(contents(parts, account, &rows).await?);
        }
        entries.push(Entry { name: format!("data/{}.csv", table.name), content: csv(table, &rows)? });
        let text = serde_json::to_vec_pretty(&rows).map_err(|error| JobError::Archive(error.to_string()))?;
        entries.push(Entry { name: format!("data/{}.json", table.name), content: text.into() });
    }
    // An export does not hold the archives of earlier ones.
    for key in named.values().filter(|key| key.area() != Some(BlobArea::Exports)) {
        if let Some(content) = blobs::get(&parts.blobs, key).await? {
            entries.push(Entry { name: format!("content/{}", key.as_str()), content });
        }
    }
    let packed = detached::compute(move || pack(&entries)).await;
    let packed = packed.unwrap_or_else(|| Err(JobError::Archive("packing was cut short".to_owned())))?;
    Ok((packed, counts))
}

/// Kept answers are sealed in their rows.
async fn answers(parts: &Parts, account: &Account, rows: &[Map<String, Value>]) -> Result<Vec<Entry>, JobError> {
    let mut entries = Vec::new();
    for id in rows.iter().filter_map(|row| row.get("id")?.as_str()) {
        let found = store::responses::find(&parts.db, &parts.sealer, &account.id, id, Timestamp::MIN).await?;
        if let Some(answer) = found {
            entries.push(Entry { name: format!("content/responses/{id}.input.json"), content: answer.input.into() });
            entries.push(Entry { name: format!("content/responses/{id}.output.json"), content: answer.output.into() });
        }
    }
    Ok(entries)
}

/// Requests and answers of calls are sealed in their rows as well.
async fn contents(parts: &Parts, account: &Account, rows: &[Map<String, Value>]) -> Result<Vec<Entry>, JobError> {
    let mut entries = Vec::new();
    for id in rows.iter().filter_map(|row| row.get("id")?.as_str()) {
        let found = store::contents::find(&parts.db, &parts.sealer, Some(&account.id), id, Timestamp::MIN).await?;
        let Some(content) = found else { continue };
        for (part, body) in [("request", content.request), ("answer", content.answer)] {
            let name = format!("content/requests/{id}.{part}.{}", extension(&body.content_type));
            entries.push(Entry { name, content: body.kept.into() });
        }
    }
    Ok(entries)
}

fn extension(content_type: &str) -> &'static str {
    match content_type.split(';').next().unwrap_or_default().trim() {
        "application/json" => "json",
        kind if kind.starts_with("text/") => "txt",
        _ => "bin",
    }
}

fn csv(table: &Table, rows: &[Map<String, Value>]) -> Result<Bytes, JobError> {
    let wrong = |error: csv::Error| JobError::Archive(error.to_string());
    let is_shown = |class: Class, export: Export| class != Class::Secret && matches!(export, Export::Shown | Export::Bytes);
    let columns: Vec<&str> =
        table.columns.iter().filter(|column| is_shown(column.class, column.export)).map(|column| column.name).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&columns).map_err(wrong)?;
    for row in rows {
        let cells = columns.iter().map(|column| match row.get(*column) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => plain(text),
            Some(other) => other.to_string(),
        });
        writer.write_record(cells.collect::<Vec<_>>()).map_err(wrong)?;
    }
    writer.into_inner().map(Bytes::from).map_err(|error| JobError::Archive(error.to_string()))
}

/// Spreadsheets run cells that begin like a formula.
fn plain(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

fn pack(entries: &[Entry]) -> Result<Bytes, JobError> {
    let wrong = |error: &dyn std::fmt::Display| JobError::Archive(error.to_string());
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for entry in entries {
        writer.start_file(entry.name.as_str(), SimpleFileOptions::default()).map_err(|error| wrong(&error))?;
        writer.write_all(&entry.content).map_err(|error| wrong(&error))?;
    }
    Ok(writer.finish().map_err(|error| wrong(&error))?.into_inner().into())
}
