//! Blobs whose content is sealed and opened away from the worker thread, when it is long.

use bytes::Bytes;

use super::detached;
use crate::{
    blobs::{BlobError, Blobs},
    domain::blob::BlobKey,
};

/// Shorter content is sealed faster than a thread is woken.
const INLINE_BYTES_MAX: usize = 256 * 1024;

/// Writes a blob; call it before its row is committed.
pub async fn put(blobs: &Blobs, key: &BlobKey, content: Bytes) -> Result<(), BlobError> {
    let is_short = content.len() <= INLINE_BYTES_MAX;
    let work = {
        let (blobs, key) = (blobs.clone(), key.clone());
        move || blobs.seal(&key, &content)
    };
    let sealed = if is_short { work() } else { done(detached::compute(work).await) }?;
    blobs.write(key, sealed).await
}

/// `None` when there is no blob of this name.
pub async fn get(blobs: &Blobs, key: &BlobKey) -> Result<Option<Bytes>, BlobError> {
    let Some(sealed) = blobs.read(key).await? else { return Ok(None) };
    let is_short = sealed.len() <= INLINE_BYTES_MAX;
    let work = {
        let (blobs, key) = (blobs.clone(), key.clone());
        move || blobs.unseal(&key, sealed)
    };
    if is_short { work().map(Some) } else { done(detached::compute(work).await).map(Some) }
}

fn done<T>(outcome: Option<Result<T, BlobError>>) -> Result<T, BlobError> {
    outcome.unwrap_or_else(|| Err(BlobError::Unavailable("sealing was cut short".to_owned())))
}
