//! Content that is too large for rows: files, images, attachments, archives. On the disk of this node, or in a bucket that speaks S3.
//!
//! A blob is content and nothing else; what it is called, who owns it and how long it lives stands in a row of its aggregate's own table,
//! which names it. The blob is written before that row is committed and deleted after it, so that no row ever names a blob that is not
//! there; a blob without a row is an orphan, and swept. Content is sealed and bound to its name: a blob that was copied to another name
//! does not open, and without the sealing key nothing does. Writes are all or nothing.
//!
//! Absent on purpose: owners' rights and limits (see `control`), the rows (see `store`), threads for long computations (see
//! `actors::blobs`), streaming (a blob is at most as long as a request).

mod client;
#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    ObjectStore, ObjectStoreExt, RetryConfig, aws::AmazonS3Builder, local::LocalFileSystem, path::Path as Location, prefix::PrefixStore,
};

use crate::{
    config,
    domain::{
        blob::BlobKey,
        seal::{SealError, Sealer},
    },
};

/// Below `server.data_dir`.
const FOLDER: &str = "blobs";
const RETRIES_MAX: usize = 2;
const RETRY_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// The disk or the bucket does not do what it should; trying again later may help.
    #[error("the store of blobs is unavailable: {0}")]
    Unavailable(String),
    /// The content does not open: it was changed, or sealed with another key.
    #[error("the blob {0} cannot be opened with this node's sealing key; it was changed, or the key was")]
    Corrupt(String),
    /// The settings name a place that cannot be used.
    #[error("{0}")]
    Settings(String),
}

/// Where blobs are kept. Clones share it.
#[derive(Debug, Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    sealer: Sealer,
}

/// Content as it lies in the store.
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// Bytes in the store; a little more than the content has.
    #[expect(clippy::len_without_is_empty, reason = "what is sealed is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl Blobs {
    /// Makes the folder if it is not there. A bucket is not asked for anything yet.
    pub fn open(settings: &config::BlobSettings, data_dir: &Path, sealer: Sealer) -> Result<Self, BlobError> {
        let store = match settings.bucket() {
            None => on_disk(&data_dir.join(FOLDER))?,
            Some(bucket) => in_bucket(settings, bucket)?,
        };
        Ok(Self { store, sealer })
    }

    /// Long content keeps its thread busy for a while: see [`crate::actors::blobs`].
    pub fn seal(&self, key: &BlobKey, content: &[u8]) -> Result<Sealed, BlobError> {
        self.sealer.seal_bytes(&owner(key), content).map(Sealed).map_err(|error| corrupt(key, &error))
    }

    pub fn unseal(&self, key: &BlobKey, sealed: Sealed) -> Result<Bytes, BlobError> {
        self.sealer.open_bytes(&owner(key), sealed.0).map(Bytes::from).map_err(|error| corrupt(key, &error))
    }

    /// Writes a blob, or nothing. What had this name before is replaced.
    pub async fn write(&self, key: &BlobKey, sealed: Sealed) -> Result<(), BlobError> {
        self.store.put(&location(key.as_str()), sealed.0.into()).await.map_err(unavailable)?;
        Ok(())
    }

    /// `None` when there is none of this name.
    pub async fn read(&self, key: &BlobKey) -> Result<Option<Sealed>, BlobError> {
        let found = match self.store.get(&location(key.as_str())).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(unavailable(error)),
        };
        Ok(Some(Sealed(found.bytes().await.map_err(unavailable)?.into())))
    }

    pub async fn exists(&self, key: &BlobKey) -> Result<bool, BlobError> {
        match self.store.head(&location(key.as_str())).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Deletes a blob; one that is not there is deleted already.
    pub async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        match self.store.delete(&location(key.as_str())).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// The names of all blobs, or of one account's, in no order. Names that are none of ours are left out.
    pub fn list(&self, account_id: Option<&str>) -> BoxStream<'static, Result<BlobKey, BlobError>> {
        let prefix = account_id.map(location);
        let names = self.store.list(prefix.as_ref()).map_err(unavailable);
        names.try_filter_map(async |meta| Ok(BlobKey::parse(meta.location.as_ref()))).boxed()
    }

    /// How many blobs an account has.
    pub async fn count_account(&self, account_id: &str) -> Result<u64, BlobError> {
        self.list(Some(account_id)).try_fold(0, |count, _| async move { Ok(count + 1) }).await
    }

    /// Deletes everything below an account, and answers with how many blobs that were.
    pub async fn delete_account(&self, account_id: &str) -> Result<u64, BlobError> {
        let mut deleted = 0;
        let mut keys = self.list(Some(account_id));
        while let Some(key) = keys.try_next().await? {
            self.delete(&key).await?;
            deleted += 1;
        }
        Ok(deleted)
    }
}

/// What content is bound to.
fn owner(key: &BlobKey) -> String {
    format!("blob {}", key.as_str())
}

fn location(name: &str) -> Location {
    Location::from(name)
}

fn on_disk(folder: &Path) -> Result<Arc<dyn ObjectStore>, BlobError> {
    let cannot = |why: &dyn std::fmt::Display| BlobError::Settings(format!("cannot use the folder {}: {why}", folder.display()));
    config::secrets::create_private_dir(folder).map_err(|error| cannot(&error))?;
    let disk = LocalFileSystem::new_with_prefix(folder).map_err(|error| cannot(&error))?;
    // A row that was committed must not name a file that a power cut took.
    Ok(Arc::new(disk.with_fsync(true).with_automatic_cleanup(true)))
}

fn in_bucket(settings: &config::BlobSettings, (bucket, prefix): (&str, &str)) -> Result<Arc<dyn ObjectStore>, BlobError> {
    let missing = |name: &str| BlobError::Settings(format!("blobs.url names a bucket, so blobs.{name} is needed as well"));
    let id = settings.access_key_id.as_ref().ok_or_else(|| missing("access_key_id"))?;
    let secret = settings.secret_access_key.as_ref().ok_or_else(|| missing("secret_access_key"))?;
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(&settings.region)
        .with_access_key_id(id)
        .with_secret_access_key(secret.expose())
        .with_retry(RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_WITHIN, ..RetryConfig::default() })
        .with_http_connector(client::HyperConnector);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
    }
    let store = builder.build().map_err(|error| BlobError::Settings(format!("blobs.url: {error}")))?;
    Ok(if prefix.is_empty() { Arc::new(store) } else { Arc::new(PrefixStore::new(store, location(prefix))) })
}

fn corrupt(key: &BlobKey, _: &SealError) -> BlobError {
    BlobError::Corrupt(key.as_str().to_owned())
}

fn unavailable(error: object_store::Error) -> BlobError {
    BlobError::Unavailable(error.to_string())
}
