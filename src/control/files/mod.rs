//! Files that accounts upload, to be named in calls: taken in, listed, given back, deleted. What a file is, [`kind`] tells.
//!
//! The content is written before the row and deleted after it (see `blobs`). Absent on purpose: putting files into calls (see
//! `pipeline`), deleting what expired (see `actors::sweeper`).

mod kind;

use aws_lc_rs::digest;
use bytes::Bytes;

use super::{Control, ControlError};
use crate::{
    actors::{blobs, detached},
    domain::{
        SECOND, Timestamp,
        blob::{BlobArea, BlobKey},
        refusal::Refusal,
    },
    store::{
        self,
        files::{Allowance, File, Full, Wanted},
    },
};

/// What OpenAI knows files are for. Here they are only kept and named in calls, whatever their purpose.
pub const PURPOSES: [&str; 6] = ["assistants", "batch", "fine-tune", "vision", "user_data", "evals"];
const FILENAME_CHARS_MAX: usize = 255;
/// As OpenAI limits it: an hour to thirty days.
const EXPIRY_SECONDS: std::ops::RangeInclusive<i64> = 3_600..=2_592_000;
/// Longer contents are hashed away from the worker thread.
const HASH_INLINE_BYTES_MAX: usize = 256 * 1024;

/// What the operator allows.
#[derive(Debug, Clone, Copy)]
pub struct FilePolicy {
    pub bytes_max: u64,
    pub allowance: Allowance,
    /// How long files stay whose upload says nothing else; `None`: until they are deleted.
    pub retention: Option<Timestamp>,
}

/// A file on its way in.
#[derive(Debug, Clone)]
pub struct Upload {
    pub filename: Option<String>,
    /// What the caller says it is.
    pub mime: Option<String>,
    pub purpose: String,
    /// Seconds from now.
    pub expires_after: Option<i64>,
    pub content: Bytes,
}

/// Takes a file in.
pub async fn upload(control: &Control, account_id: &str, upload: Upload) -> Result<File, ControlError> {
    let policy = control.files;
    if !PURPOSES.contains(&upload.purpose.as_str()) {
        return Err(ControlError::invalid("purpose", format!("purpose must be one of {}", PURPOSES.join(", "))));
    }
    if upload.expires_after.is_some_and(|seconds| !EXPIRY_SECONDS.contains(&seconds)) {
        let (from, to) = (EXPIRY_SECONDS.start(), EXPIRY_SECONDS.end());
        return Err(ControlError::invalid("expires_after[seconds]", format!("expires_after[seconds] must be from {from} to {to}")));
    }
    let bytes = upload.content.len() as u64;
    if bytes == 0 {
        return Err(ControlError::invalid("file", "the file is empty"));
    }
    if bytes > policy.bytes_max {
        return Err(Refusal::FileTooLarge { bytes, limit_bytes: policy.bytes_max }.into());
    }
    let now = control.clock.now();
    let id = control.clock.new_id("file");
    let key = BlobKey::new(account_id, BlobArea::Files, &id)
        .ok_or_else(|| ControlError::Internal(format!("no blob can be named after {account_id} and {id}")))?;
    let filename = filename(upload.filename.as_deref());
    let file = File {
        account_id: account_id.to_owned(),
        purpose: upload.purpose,
        mime: kind::of(&upload.content, upload.mime.as_deref(), &filename),
        filename,
        bytes,
        sha256: sha256(&upload.content).await?,
        blob: key.as_str().to_owned(),
        created_at: now,
        expires_at: upload
            .expires_after
            .map(|seconds| seconds.saturating_mul(SECOND))
            .or(policy.retention)
            .map(|ttl| now.saturating_add(ttl)),
        id,
    };
    let content = upload.content;
    control
        .to_the_end(async move |control| {
            blobs::put(&control.blobs, &key, content).await?;
            let full = store::files::insert(&control.db, &file, control.files.allowance, now).await;
            if !matches!(full, Ok(None)) {
                discard(&control, &key).await;
            }
            match full? {
                None => Ok(file),
                Some(full) => Err(refused(full, &file, policy.allowance)),
            }
        })
        .await
}

fn refused(full: Full, file: &File, allowance: Allowance) -> ControlError {
    let message = match full {
        Full::Files(files) => {
            format!("this account has {files} files, and {} are allowed; delete some with DELETE /v1/files/{{id}}", allowance.files_max)
        }
        Full::Bytes(bytes) => format!(
            "this account's files have {bytes} bytes, {} more do not fit into the {} that are allowed; delete some with DELETE /v1/files/{{id}}",
            file.bytes, allowance.bytes_max
        ),
    };
    ControlError::Invalid { message, param: Some("file".to_owned()) }
}

/// A page of files, and whether there are more behind it.
pub async fn list(control: &Control, account_id: &str, mut wanted: Wanted) -> Result<(Vec<File>, bool), ControlError> {
    let limit = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
    let is_backwards = wanted.before.is_some() && wanted.after.is_none();
    wanted.limit = wanted.limit.saturating_add(1);
    let mut files = store::files::list(&control.db, account_id, &wanted, control.clock.now()).await?;
    let has_more = files.len() > limit;
    if has_more && is_backwards {
        files.remove(0);
    }
    files.truncate(limit);
    Ok((files, has_more))
}

pub async fn get(control: &Control, account_id: &str, id: &str) -> Result<File, ControlError> {
    store::files::find(&control.db, account_id, id, control.clock.now()).await?.ok_or_else(|| missing(id))
}

pub async fn content(control: &Control, account_id: &str, id: &str) -> Result<(File, Bytes), ControlError> {
    let file = get(control, account_id, id).await?;
    let gone = || ControlError::Internal(format!("the content of {} is gone", file.id));
    let key = BlobKey::parse(&file.blob).ok_or_else(gone)?;
    match blobs::get(&control.blobs, &key).await? {
        Some(content) => Ok((file, content)),
        // It may have been deleted since its row was read.
        None => match store::files::find(&control.db, account_id, id, control.clock.now()).await? {
            None => Err(missing(id)),
            Some(_) => Err(gone()),
        },
    }
}

pub async fn delete(control: &Control, account_id: &str, id: &str) -> Result<(), ControlError> {
    let (account_id, id) = (account_id.to_owned(), id.to_owned());
    control
        .to_the_end(async move |control| {
            let blob = store::files::delete(&control.db, &account_id, &id, control.clock.now()).await?.ok_or_else(|| missing(&id))?;
            if let Some(key) = BlobKey::parse(&blob) {
                discard(&control, &key).await;
            }
            Ok(())
        })
        .await
}

/// Deletes a blob that no row names. One that stays is an orphan, which the sweeper finds.
pub(super) async fn discard(control: &Control, key: &BlobKey) {
    if let Err(error) = control.blobs.delete(key).await {
        tracing::warn!(blob = %key.as_str(), error = %error, "a blob could not be deleted; it is swept later");
    }
}

fn missing(id: &str) -> ControlError {
    let shown: String = id.chars().take(100).map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect();
    ControlError::NotFound(format!("the file '{shown}'"))
}

/// The last part of what the caller calls it, bounded and without control characters.
pub(super) fn filename(given: Option<&str>) -> String {
    let last = given.and_then(|name| name.rsplit(['/', '\\']).next()).unwrap_or_default().trim();
    let clean: String = last.chars().filter(|letter| !letter.is_control()).take(FILENAME_CHARS_MAX).collect();
    if clean.is_empty() || clean.chars().all(|letter| letter == '.') { "file".to_owned() } else { clean }
}

pub(super) async fn sha256(content: &Bytes) -> Result<String, ControlError> {
    let work = {
        let content = content.clone();
        move || digest::digest(&digest::SHA256, &content)
    };
    let is_short = content.len() <= HASH_INLINE_BYTES_MAX;
    let hash = if is_short { Some(work()) } else { detached::compute(work).await };
    let hash = hash.ok_or_else(|| ControlError::Internal("a file could not be hashed".to_owned()))?;
    Ok(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::filename;

    #[test]
    fn names_lose_their_folders_and_control_characters() {
        for (given, expected) in [
            (None, "file"),
            (Some(""), "file"),
            (Some(".."), "file"),
            (Some("../../etc/passwd"), "passwd"),
            (Some("C:\\x\\a b.pdf"), "a b.pdf"),
            (Some("a\r\nb\u{0}.txt"), "ab.txt"),
        ] {
            assert_eq!(filename(given), expected);
        }
        assert_eq!(filename(Some(&"é".repeat(300))).chars().count(), 255);
    }
}
