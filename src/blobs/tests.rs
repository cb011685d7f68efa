use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{config::BlobSettings, telemetry::redact::Secret};

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
    settings.secret_access_key = Some(Secret::new("secret"));
    assert!(open(&settings).is_ok());
}

type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// As much of S3 as is asked for: put, get, head, delete (alone and many at once) and lists, of one bucket with path-style addresses.
async fn bucket() -> (String, Objects) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let objects = Objects::default();
    let held = objects.clone();
    #[expect(clippy::disallowed_methods, reason = "the server of a test")]
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, held.clone()));
        }
    });
    (format!("http://{address}"), objects)
}

async fn serve(mut stream: TcpStream, objects: Objects) {
    let mut buffer = Vec::new();
    while let Some((head, body)) = read_request(&mut stream, &mut buffer).await {
        let (status, answer) = reply(&head, body, &objects);
        let length = if head.starts_with("HEAD") { 7 } else { answer.len() };
        let date = "last-modified: Mon, 23 Nov 2026 00:00:00 GMT\r\netag: \"x\"";
        let text = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{date}\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        if !head.starts_with("HEAD") {
            stream.write_all(&answer).await.unwrap();
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
            if buffer.len() >= end + 4 + length {
                let body = buffer[end + 4..end + 4 + length].to_vec();
                buffer.drain(..end + 4 + length);
                return Some((head, body));
            }
        }
        let mut chunk = [0; 4_096];
        match stream.read(&mut chunk).await {
            Ok(read) if read > 0 => buffer.extend_from_slice(&chunk[..read]),
            _ => return None,
        }
    }
}

fn reply(head: &str, body: Vec<u8>, objects: &Objects) -> (&'static str, Vec<u8>) {
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    if !head.to_ascii_lowercase().contains("authorization: aws4-hmac-sha256 credential=id/") {
        return ("403 Forbidden", Vec::new());
    }
    let mut objects = objects.lock().unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let name = path.strip_prefix("/bucket").unwrap().trim_start_matches('/').to_owned();
    match method {
        "PUT" => {
            objects.insert(name, body);
            ("200 OK", Vec::new())
        }
        "GET" if name.is_empty() => {
            let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).unwrap_or_default().replace("%2F", "/");
            let found = objects.iter().filter(|(name, _)| name.starts_with(&prefix));
            let rows: String = found
                .map(|(name, bytes)| {
                    format!(
                        "<Contents><Key>{name}</Key><LastModified>2026-11-23T00:00:00.000Z</LastModified><ETag>x</ETag><Size>{}</Size></Contents>",
                        bytes.len()
                    )
                })
                .collect();
            ("200 OK", format!("<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>").into_bytes())
        }
        "GET" | "HEAD" => objects.get(&name).map_or(("404 Not Found", Vec::new()), |bytes| ("200 OK", bytes.clone())),
        "DELETE" => {
            objects.remove(&name);
            ("204 No Content", Vec::new())
        }
        "POST" if query.starts_with("delete") => {
            let text = String::from_utf8(body).unwrap();
            let keys: Vec<&str> = text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()).collect();
            let rows: String = keys.iter().map(|key| format!("<Deleted><Key>{key}</Key></Deleted>")).collect();
            keys.iter().for_each(|key| drop(objects.remove(*key)));
            ("200 OK", format!("<DeleteResult>{rows}</DeleteResult>").into_bytes())
        }
        _ => ("400 Bad Request", Vec::new()),
    }
}

#[tokio::test]
async fn a_bucket_does_what_the_disk_does() {
    let (endpoint, objects) = bucket().await;
    let settings = BlobSettings {
        url: Some("s3://bucket/some/prefix/".to_owned()),
        endpoint: Some(endpoint),
        access_key_id: Some("id".to_owned()),
        secret_access_key: Some(Secret::new("secret")),
        ..BlobSettings::default()
    };
    let blobs = Blobs::open(&settings, Path::new("unused"), Sealer::new(&[7; 32]).unwrap()).unwrap();
    let (one, two) = (key("acc_1", "file_1"), key("acc_2", "file_2"));
    put(&blobs, &one, b"the content").await;
    put(&blobs, &two, b"another").await;
    {
        let objects = objects.lock().unwrap();
        let names: Vec<&str> = objects.keys().map(String::as_str).collect();
        assert_eq!(names, ["some/prefix/acc_1/files/file_1", "some/prefix/acc_2/files/file_2"]);
        assert!(objects.values().all(|bytes| !bytes.windows(7).any(|window| window == b"content")));
    }
    assert_eq!(get(&blobs, &one).await.as_deref(), Some(&b"the content"[..]));
    assert_eq!(get(&blobs, &key("acc_1", "file_9")).await, None);
    assert_eq!(names(&blobs, Some("acc_1")).await, ["acc_1/files/file_1"]);
    assert_eq!((blobs.exists(&one).await, blobs.exists(&key("acc_1", "file_9")).await), (Ok(true), Ok(false)));
    assert_eq!(blobs.delete_account("acc_1").await, Ok(1));
    assert_eq!(names(&blobs, None).await, ["acc_2/files/file_2"]);
    let wrong = BlobSettings { access_key_id: Some("other".to_owned()), ..settings };
    let refused = Blobs::open(&wrong, Path::new("unused"), Sealer::new(&[7; 32]).unwrap()).unwrap();
    assert!(matches!(refused.read(&two).await, Err(BlobError::Unavailable(_))));
}
