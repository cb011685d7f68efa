use super::*;
use crate::config::BlobSettings;

fn key(account: &str, id: &str) -> BlobKey {
    BlobKey::new(account, crate::domain::blob::BlobArea::Files, id).unwrap()
}

fn disk(dir: &Path, secret: u8) -> Blobs {
    Blobs::open(&BlobSettings::default(), dir, Sealer::new(&[secret; 32]).unwrap()).unwrap()
}

async fn put(blobs: &Blobs, key: &BlobKey, content: &[u8]) {
    blobs.write(key, blobs.seal(key, content).unwrap()).await.unwrap();
}

async fn get(blobs: &Blobs, key: &BlobKey) -> Option<Bytes> {
    blobs.read(key).await.unwrap().map(|sealed| blobs.unseal(key, sealed).unwrap())
}

async fn names(blobs: &Blobs, account: Option<&str>) -> Vec<String> {
    let mut names: Vec<String> = blobs.list(account).map_ok(|key| key.as_str().to_owned()).try_collect().await.unwrap();
    names.sort();
    names
}

#[tokio::test]
async fn blobs_come_back_and_go_with_their_account() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = disk(dir.path(), 7);
    let (one, two, other) = (key("acc_1", "file_1"), key("acc_1", "file_2"), key("acc_10", "file_1"));
    for key in [&one, &two, &other] {
        put(&blobs, key, b"the content").await;
    }
    put(&blobs, &two, b"").await;
    assert_eq!(get(&blobs, &one).await.as_deref(), Some(&b"the content"[..]));
    assert_eq!(get(&blobs, &two).await.as_deref(), Some(&b""[..]));
    assert_eq!(names(&blobs, Some("acc_1")).await, ["acc_1/files/file_1", "acc_1/files/file_2"]);
    assert_eq!(names(&blobs, None).await.len(), 3);
    assert_eq!(blobs.delete_account("acc_1").await, Ok(2));
    assert_eq!(names(&blobs, None).await, ["acc_10/files/file_1"]);
    assert_eq!((blobs.exists(&one).await, blobs.exists(&other).await), (Ok(false), Ok(true)));
    assert_eq!(get(&blobs, &one).await, None);
    assert_eq!(blobs.delete(&one).await, Ok(()), "what is gone is deleted");
    assert_eq!(blobs.delete_account("acc_9").await, Ok(0));
}

#[tokio::test]
async fn the_disk_holds_nothing_readable_and_nothing_that_can_be_moved() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = disk(dir.path(), 7);
    let (one, two) = (key("acc_1", "file_1"), key("acc_2", "file_2"));
    put(&blobs, &one, b"the content").await;
    put(&blobs, &two, b"another").await;
    let path = |key: &BlobKey| dir.path().join(FOLDER).join(key.as_str());
    let bytes = std::fs::read(path(&one)).unwrap();
    assert!(!bytes.windows(7).any(|window| window == b"content"));
    std::fs::copy(path(&one), path(&two)).unwrap();
    let moved = blobs.read(&two).await.unwrap().unwrap();
    assert_eq!(blobs.unseal(&two, moved), Err(BlobError::Corrupt(two.as_str().to_owned())));
    let strange = disk(dir.path(), 8);
    let sealed = strange.read(&one).await.unwrap().unwrap();
    assert!(strange.unseal(&one, sealed).is_err());
    std::fs::write(dir.path().join(FOLDER).join("acc_1").join("stray.txt"), "x").unwrap();
    assert_eq!(names(&blobs, None).await, ["acc_1/files/file_1", "acc_2/files/file_2"], "a file of somebody else is none of ours");
}

#[test]
fn a_bucket_needs_its_keys() {
    let mut settings = BlobSettings { url: Some("s3://bucket/some/prefix".to_owned()), ..BlobSettings::default() };
    let open = |settings: &BlobSettings| Blobs::open(settings, Path::new("unused"), Sealer::new(&[7; 32]).unwrap());
    let error = open(&settings).unwrap_err().to_string();
    assert!(error.contains("blobs.access_key_id"), "{error}");
    settings.access_key_id = Some("id".to_owned());
    settings.secret_access_key = Some(crate::telemetry::redact::Secret::new("secret"));
    assert!(open(&settings).is_ok());
}
