//! Files: whose they are, how many there may be, and what is left of them.

use super::*;
use crate::store::files::{self, Allowance, File, Full, Wanted};

const PLENTY: Allowance = Allowance { files_max: 100, bytes_max: 1_000 };

fn file(id: &str, bytes: u64, expires_at: Option<Timestamp>) -> File {
    File {
        id: id.to_owned(),
        account_id: ACCOUNT.to_owned(),
        purpose: if bytes == 7 { "vision" } else { "user_data" }.to_owned(),
        filename: "a.txt".to_owned(),
        mime: "text/plain".to_owned(),
        bytes,
        sha256: "00".to_owned(),
        blob: format!("{ACCOUNT}/files/{id}"),
        created_at: NOW,
        expires_at,
    }
}

async fn ids(db: &Db, wanted: Wanted) -> Vec<String> {
    files::list(db, ACCOUNT, &wanted, NOW).await.unwrap().into_iter().map(|file| file.id).collect()
}

#[tokio::test]
async fn files_belong_to_their_account_until_they_expire() {
    with_db(async |db| {
        for (id, expires_at) in [("file_1", None), ("file_2", Some(NOW + 1)), ("file_3", Some(NOW))] {
            assert_eq!(files::insert(db, &file(id, 5, expires_at), PLENTY, NOW).await, Ok(None));
        }
        assert_eq!(files::find(db, ACCOUNT, "file_1", NOW).await, Ok(Some(file("file_1", 5, None))));
        assert_eq!(files::find(db, "acct_2", "file_1", NOW).await, Ok(None));
        assert_eq!(files::find(db, ACCOUNT, "file_3", NOW).await, Ok(None));
        let all = ["file_1", "file_2", "file_3"].map(str::to_owned);
        assert_eq!(files::find_all(db, ACCOUNT, &all, NOW).await.unwrap().len(), 2);
        assert_eq!(files::find_all(db, "acct_2", &all, NOW).await, Ok(Vec::new()));
        assert_eq!(files::delete(db, "acct_2", "file_1", NOW).await, Ok(None));
        assert_eq!(files::delete(db, ACCOUNT, "file_1", NOW).await, Ok(Some(format!("{ACCOUNT}/files/file_1"))));
        assert_eq!(files::delete(db, ACCOUNT, "file_3", NOW).await, Ok(None));
        assert_eq!(files::delete_expired(db, NOW, 10).await, Ok(vec![format!("{ACCOUNT}/files/file_3")]));
        let blobs = ["file_1", "file_2"].map(|id| format!("{ACCOUNT}/files/{id}"));
        assert_eq!(files::named_blobs(db, &blobs).await, Ok([blobs[1].clone()].into()));
        assert_eq!(files::exist(db).await, Ok(true));
    })
    .await;
}

#[tokio::test]
async fn an_account_s_files_are_limited_in_number_and_bytes() {
    with_db(async |db| {
        let allowance = Allowance { files_max: 2, bytes_max: 10 };
        assert_eq!(files::insert(db, &file("file_1", 6, None), allowance, NOW).await, Ok(None));
        assert_eq!(files::insert(db, &file("file_2", 5, None), allowance, NOW).await, Ok(Some(Full::Bytes(6))));
        assert_eq!(files::insert(db, &file("file_2", 4, Some(NOW)), allowance, NOW).await, Ok(None));
        assert_eq!(files::insert(db, &file("file_3", 4, None), allowance, NOW).await, Ok(None), "what expired counts no more");
        assert_eq!(files::insert(db, &file("file_4", 0, None), allowance, NOW).await, Ok(Some(Full::Files(2))));
        let strange = File { account_id: "nobody".to_owned(), ..file("file_5", 1, None) };
        assert!(matches!(files::insert(db, &strange, allowance, NOW).await, Err(StoreError::NotFound(_))));
    })
    .await;
}

#[tokio::test]
async fn lists_go_both_ways() {
    with_db(async |db| {
        for (id, bytes) in [("file_1", 5), ("file_2", 7), ("file_3", 5), ("file_4", 5)] {
            assert_eq!(files::insert(db, &file(id, bytes, None), PLENTY, NOW).await, Ok(None));
        }
        let wanted = Wanted { limit: 2, ..Wanted::default() };
        assert_eq!(ids(db, wanted.clone()).await, ["file_4", "file_3"]);
        assert_eq!(ids(db, Wanted { after: Some("file_3".to_owned()), ..wanted.clone() }).await, ["file_2", "file_1"]);
        assert_eq!(ids(db, Wanted { before: Some("file_1".to_owned()), ..wanted.clone() }).await, ["file_3", "file_2"]);
        assert_eq!(ids(db, Wanted { oldest_first: true, ..wanted.clone() }).await, ["file_1", "file_2"]);
        assert_eq!(ids(db, Wanted { oldest_first: true, after: Some("file_1".to_owned()), ..wanted.clone() }).await, ["file_2", "file_3"]);
        assert_eq!(ids(db, Wanted { purpose: Some("vision".to_owned()), ..wanted }).await, ["file_2"]);
    })
    .await;
}
