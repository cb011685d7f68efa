//! Files that a call names instead of sending: they are put into its body before anything else reads it, so that they are counted, held
//! for, charged and translated like any input. A call that names none pays for one search of its body.
//!
//! An id that is not one of the caller's own files is refused wherever the call would go: the accounts that we have at vendors are
//! everybody's, and their files must not be.

use std::{collections::HashMap, rc::Rc};

use bytes::Bytes;

use super::{Pipeline, admission::shown};
use crate::{
    actors::{blobs, detached},
    blobs::BlobError,
    dialect::{
        Endpoint,
        files::{self, Content, Mention},
    },
    domain::{blob::BlobKey, refusal::Refusal},
    store::{self, StoreError, files::File},
};

/// Places of one call that name files.
const MENTIONS_MAX: usize = 100;
/// Larger calls are put together away from the worker thread.
const INLINE_BYTES_MAX: u64 = 256 * 1024;

/// Whether the call may name files; see [`inline`].
pub fn may_name(endpoint: Endpoint, body: &[u8]) -> bool {
    files::may_name(endpoint, body)
}

/// The call with the contents of the files it names, which have to be the account's own.
pub async fn inline(pipeline: &Rc<Pipeline>, account_id: &str, endpoint: Endpoint, body: &Bytes) -> Result<Bytes, Refusal> {
    let mentions = files::mentions(endpoint, body);
    if mentions.is_empty() {
        return Ok(body.clone());
    }
    if let Some(one_too_many) = mentions.get(MENTIONS_MAX) {
        let message = format!("a call may name at most {MENTIONS_MAX} files");
        return Err(Refusal::Invalid { message, param: Some(one_too_many.path.clone()) });
    }
    let found = find(pipeline, account_id, &mentions).await?;
    let mentioned = mentions.iter().filter_map(|mention| found.get(&mention.id));
    let bytes = mentioned.fold(body.len() as u64, |sum, file| sum.saturating_add(files::inlined_bytes(file.bytes)));
    let limit_bytes = pipeline.policy.responses_bytes_max;
    if bytes > limit_bytes as u64 {
        return Err(Refusal::FilesTooLarge { bytes, limit_bytes });
    }
    let mut contents = HashMap::new();
    for (id, file) in found {
        contents.insert(id, read(pipeline, file).await?);
    }
    let work = {
        let body = body.clone();
        move || files::inline(&body, mentions.iter().filter_map(|mention| Some((mention, contents.get(&mention.id)?))))
    };
    let lost = || Refusal::Overloaded { what: "the files of this call could not be put into it", retry_after_ms: 1_000 };
    let inlined = if bytes <= INLINE_BYTES_MAX { work() } else { detached::compute(work).await.ok_or_else(lost)? };
    Ok(inlined?)
}

/// Every file that is named, by its id.
async fn find(pipeline: &Pipeline, account_id: &str, mentions: &[Mention]) -> Result<HashMap<String, File>, Refusal> {
    let mut ids: Vec<String> = mentions.iter().map(|mention| mention.id.clone()).collect();
    ids.sort();
    ids.dedup();
    let found = store::files::find_all(&pipeline.db, account_id, &ids, pipeline.clock.now()).await.map_err(|error| away(&error))?;
    let found: HashMap<String, File> = found.into_iter().map(|file| (file.id.clone(), file)).collect();
    match mentions.iter().find(|mention| !found.contains_key(&mention.id)) {
        None => Ok(found),
        Some(missing) => {
            let message = format!(
                "'{}' names the file '{}', which this account does not have; it may have expired or been deleted: upload it with POST /v1/files",
                missing.path,
                shown(&missing.id)
            );
            Err(Refusal::Invalid { message, param: Some(missing.path.clone()) })
        }
    }
}

async fn read(pipeline: &Pipeline, file: File) -> Result<Content, Refusal> {
    let unreadable = Refusal::Overloaded { what: "the content of a file that this call names cannot be read now", retry_after_ms: 1_000 };
    let Some(key) = BlobKey::parse(&file.blob) else {
        tracing::error!(file.id = %file.id, "a file names no blob");
        return Err(unreadable);
    };
    match blobs::get(&pipeline.blobs, &key).await {
        Ok(Some(bytes)) => Ok(Content { filename: file.filename, mime: file.mime, bytes }),
        Ok(None) => {
            tracing::error!(file.id = %file.id, blob = %file.blob, "the content of a file is gone");
            Err(unreadable)
        }
        Err(error @ BlobError::Unavailable(_)) => {
            tracing::warn!(file.id = %file.id, error = %error, "a file could not be read");
            Err(unreadable)
        }
        Err(error) => {
            tracing::error!(file.id = %file.id, error = %error, "a file could not be read");
            Err(unreadable)
        }
    }
}

fn away(error: &StoreError) -> Refusal {
    tracing::warn!(error = %error, "files could not be looked up");
    Refusal::Overloaded { what: "files cannot be looked up because the database is out of reach", retry_after_ms: 1_000 }
}
