//! Keys of an older schema and of another gateway, and the pepper: old keys go on working, and their texts are nowhere afterwards.

use serde_json::json;

use crate::support::{
    client::eventually,
    db::TestDatabase,
    process::TestProcess,
    world::{MODEL, World},
};

/// A row as the older schema had it.
async fn insert(database: &TestDatabase, id: &str, account: &str, text: &str) {
    let text = text.replace('\'', "''");
    database
        .execute(&format!("INSERT INTO api_keys (id, account_id, title, legacy_key) VALUES ('{id}', '{account}', 'old', '{text}')"))
        .await;
}

async fn texts(database: &TestDatabase) -> i64 {
    database.number("SELECT COUNT(*) FROM api_keys WHERE legacy_key IS NOT NULL").await
}

/// Nothing of these texts is left, once the chore of wiping them is done.
async fn gone(database: &TestDatabase, keys: &[&str]) {
    eventually("the texts are wiped", || async { (database.number("SELECT COUNT(*) FROM chores").await == 0).then_some(()) }).await;
    if !database.is_postgres() {
        for key in keys {
            assert!(!database.files_hold(key), "{key} is still in a file");
        }
    }
}

#[tokio::test]
async fn a_key_kept_as_text_works_and_is_hashed_at_its_first_use() {
    const OLD: &str = "sk-old-0123456789abcdefghijkl";
    const OTHER: &str = "sk-old-another-0123456789abcd";
    let world = World::new().await;
    let database = &world.app.database;
    insert(database, "key_old", &world.account, OLD).await;
    insert(database, "key_other", &world.account, OTHER).await;
    if !database.is_postgres() {
        assert!(database.files_hold(OLD), "the search finds what is there");
    }
    world.caller.with_key(OLD).chat(MODEL, "Hi").await.expect(200);
    world.caller.with_key(&OLD.replace('l', "m")).chat(MODEL, "Hi").await.refused(401, "invalid_api_key");
    until_hashed(database).await;
    gone(database, &[OLD, OTHER]).await;
    // The account's actor knows the other key, although it was active when that key was hashed.
    world.caller.with_key(OTHER).chat(MODEL, "Hi").await.expect(200);

    let key = world.app.admin.caller.get("/admin/v1/keys/key_old").await.expect(200);
    assert_eq!((&key["prefix"], &key["last4"]), (&json!("sk-old-0123456"), &json!("ijkl")), "{key}");
    assert_eq!((&key["legacy_weak"], &key["scopes"]), (&json!(false), &json!(["inference"])), "{key}");
    let trail = world.app.admin.caller.list("/admin/v1/audit?subject=key_old").await;
    assert_eq!(trail[0]["action"], json!("key.hash_legacy"), "{trail:?}");
    world.app.admin.caller.delete("/admin/v1/keys/key_old").await.expect(200);
    world.caller.with_key(OLD).chat(MODEL, "Hi").await.refused(401, "invalid_api_key");
    world.finish().await;
}

async fn until_hashed(database: &TestDatabase) {
    eventually("every key is hashed", || async { (texts(database).await == 0).then_some(()) }).await;
}

#[tokio::test]
async fn a_key_that_can_be_guessed_works_for_a_while_and_its_owner_is_told() {
    let world = World::new().await;
    let database = &world.app.database;
    insert(database, "key_weak", &world.account, "hunter2hunter2").await;
    world.caller.with_key("hunter2hunter2").chat(MODEL, "Hi").await.expect(200);
    let key = world.app.admin.caller.get("/admin/v1/keys/key_weak").await.expect(200);
    assert_eq!((&key["legacy_weak"], &key["prefix"], &key["last4"]), (&json!(true), &json!("hun"), &json!("2")), "{key}");
    assert!(key["expires_at"].is_string(), "{key}");
    assert_eq!(database.number("SELECT COUNT(*) FROM outbox WHERE kind = 'key_is_weak'").await, 1);
    // What replaces it is no such key.
    let fresh = world.app.admin.caller.post("/admin/v1/keys/key_weak/rotate", &json!({})).await.expect(201);
    assert_eq!((&fresh["legacy_weak"], &fresh["expires_at"]), (&json!(false), &json!(null)), "{fresh}");
    gone(database, &["hunter2hunter2"]).await;
    world.finish().await;
}

#[tokio::test]
async fn what_cannot_be_used_is_reported_and_never_guessed() {
    const TWICE: &str = "sk-twice-0123456789abcdefgh";
    let mut process = TestProcess::start(&[]).await;
    let account = process.admin.create_account("owner").await;
    process.terminate();
    process.ended().await;
    let rows = [
        ("key_a", TWICE),
        ("key_b", TWICE),
        ("key_c", ""),
        ("key_d", " sk-space-0123456789abcdefgh"),
        ("key_e", "px_live_0123456789abcdefgh"),
        ("key_f", "sk-fine-0123456789abcdefghi"),
    ];
    for (id, text) in rows {
        insert(&process.database, id, &account, text).await;
    }
    let (code, text) = process.run(&["keys", "migrate-legacy"]);
    assert_eq!(code, 1, "{text}");
    for (id, why) in
        [("key_a", "several rows"), ("key_b", "several rows"), ("key_c", "empty"), ("key_d", "white space"), ("key_e", "begins like")]
    {
        assert!(text.lines().any(|line| line.starts_with(id) && line.contains(why)), "{id}: {text}");
    }
    assert!(text.contains("6 rows: 1 hashed (0 weak), 5 cannot be used") && !text.contains("sk-"), "{text}");
    assert_eq!(texts(&process.database).await, 5);
    let (code, text) = process.run(&["keys", "migrate-legacy", "--discard-unusable"]);
    assert_eq!((code, texts(&process.database).await), (0, 0), "{text}");
    let texts: Vec<&str> = rows.iter().map(|(_, text)| *text).filter(|text| !text.is_empty()).collect();
    gone(&process.database, &texts).await;

    process.spawn();
    process.ready().await;
    let caller = process.admin.caller.with_key("sk-fine-0123456789abcdefghi");
    caller.get("/v1/key").await.expect(200);
    caller.with_key(TWICE).get("/v1/key").await.refused(401, "invalid_api_key");
    assert_eq!(process.admin.caller.get("/admin/v1/keys/key_a").await.expect(200)["revoked_reason"], json!("legacy_unusable"));
    process.finish().await;
}

#[tokio::test]
async fn killed_in_the_middle_it_goes_on_where_it_was() {
    const ROWS: i64 = 4_000;
    let mut process = TestProcess::start(&[]).await;
    let account = process.admin.create_account("owner").await;
    process.kill();
    let numbers = format!("WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {ROWS})");
    let rows = format!(
        "INSERT INTO api_keys (id, account_id, title, legacy_key) {numbers}
         SELECT 'key_old' || n, '{account}', 'old', 'sk-old-0123456789abcdef-' || n || '-end' FROM numbers"
    );
    process.database.execute(&rows).await;
    process.spawn_with(&["keys", "migrate-legacy"]);
    eventually("some rows are hashed", || async { (texts(&process.database).await < ROWS).then_some(()) }).await;
    process.kill();
    let left = texts(&process.database).await;
    assert!(left > 0, "it was killed before its end");
    assert_eq!(process.database.number("SELECT COUNT(*) FROM chores").await, 1, "what is to be wiped is not forgotten");

    let (code, text) = process.run(&["keys", "migrate-legacy"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains(&format!("{left} rows: {left} hashed")) && text.contains("no file of the database"), "{text}");
    gone(&process.database, &["sk-old-0123456789abcdef-"]).await;
    process.spawn();
    process.ready().await;
    for number in [1, ROWS / 2, ROWS] {
        let caller = process.admin.caller.with_key(&format!("sk-old-0123456789abcdef-{number}-end"));
        caller.get("/v1/key").await.expect(200);
    }
    process.finish().await;
}

#[tokio::test]
async fn a_file_of_keys_is_imported_once_however_often_it_is_read() {
    let mut process = TestProcess::start(&[]).await;
    process.admin.create_account("known").await;
    let file = process.data_dir().join("keys.csv");
    let rows = [
        "email,title,key",
        "known@example.com,laptop,sk-file-0123456789abcdefgh",
        "New@Example.com,\"build, server\",sk-file-another-0123456789",
        "new@example.com,weak,short-key",
        "not an address,x,sk-file-0123456789-no-owner",
        "new@example.com,x, sk-file-0123456789-space",
        "new@example.com,x,",
        "new@example.com",
        "new@example.com,x,sk-file-0123456789abcdefgh",
        "new@example.com,x,px_live_of-this-gateway-0123",
    ];
    std::fs::write(&file, rows.join("\n")).unwrap();
    let path = file.display().to_string();
    // Beside a running node, which knows the keys at once.
    let (code, text) = process.run(&["keys", "import-legacy", &path]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("9 rows: 3 imported (1 weak), 0 known already, 6 bad; 1 accounts created"), "{text}");
    for (line, why) in [(5, "e-mail"), (6, "white space"), (7, "empty"), (8, "missing"), (9, "another account"), (10, "begins like")] {
        let start = format!("line {line}: ");
        assert!(text.lines().any(|said| said.starts_with(&start) && said.contains(why)), "{line}: {text}");
    }
    assert!(!text.contains("sk-file"), "keys are not printed: {text}");
    for key in ["sk-file-0123456789abcdefgh", "sk-file-another-0123456789", "short-key"] {
        process.admin.caller.with_key(key).get("/v1/key").await.expect(200);
    }
    let found = process.admin.caller.list("/admin/v1/accounts?q=new@example.com").await;
    assert_eq!((found.len(), &found[0]["verified"]), (1, &json!(true)), "{found:?}");

    std::fs::write(&file, rows[..4].join("\n")).unwrap();
    let (code, text) = process.run(&["keys", "import-legacy", &path]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("3 rows: 0 imported (0 weak), 3 known already, 0 bad; 0 accounts created"), "{text}");

    std::fs::write(&file, "email,key\n").unwrap();
    let (code, text) = process.run(&["keys", "import-legacy", &path]);
    assert!(code == 1 && text.contains("no column 'title'"), "{text}");
    let (code, _) = process.run(&["keys", "import-legacy", "nowhere.csv"]);
    assert_eq!(code, 1);
    process.set("SERVER__WORKERS", "many");
    assert_eq!(process.run(&["keys", "import-legacy", &path]).0, 2);
    process.set("SERVER__WORKERS", "2");
    process.finish().await;
}

#[tokio::test]
async fn keys_survive_a_new_pepper_and_move_to_it_when_they_are_used() {
    let mut process = TestProcess::start(&[]).await;
    let account = process.admin.create_account("owner").await;
    let used = process.admin.create_key(&account, &json!({})).await;
    process.admin.create_key(&account, &json!({})).await;
    process.terminate();
    process.ended().await;
    let (code, text) = process.run(&["keys", "rotate-pepper"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("made pepper 2"), "{text}");
    process.spawn();
    process.ready().await;
    let caller = process.admin.caller.with_key(&used.key);
    caller.get("/v1/key").await.expect(200);
    let storage = process.admin.caller.get("/admin/v1/key-storage").await.expect(200);
    assert_eq!((&storage["current_pepper_version"], &storage["legacy_rows"]), (&json!(2), &json!(0)), "{storage}");
    let moved = "SELECT COUNT(*) FROM api_keys WHERE pepper_version = 2";
    // The key that was used, and the admin key that looks; the key of the first start and another stay.
    eventually("both keys are hashed anew", || async { (process.database.number(moved).await == 2).then_some(()) }).await;
    caller.get("/v1/key").await.expect(200);
    let (_, text) = process.run(&["doctor"]);
    assert!(text.contains("2 under pepper 2, 2 under pepper 1"), "{text}");
    process.terminate();
    process.ended().await;

    // Without the former pepper, what moved works on, and the doctor says what does not.
    std::fs::remove_file(process.data_dir().join("key_peppers_previous")).unwrap();
    process.spawn();
    process.ready().await;
    process.admin.caller.with_key(&used.key).get("/v1/key").await.expect(200);
    let (code, text) = process.run(&["doctor"]);
    assert!(code == 1 && text.contains("2 keys are kept under pepper 1, which is not configured"), "{text}");
    process.finish().await;
}

#[tokio::test]
async fn a_wrong_list_of_peppers_is_named() {
    let mut process = TestProcess::prepare(&[("SECURITY__PREVIOUS_KEY_PEPPERS", "one:abc")]).await;
    let (code, text) = process.run(&["check-config"]);
    assert!(code == 2 && text.contains("PIXGATE_SECURITY__PREVIOUS_KEY_PEPPERS") && !text.contains("abc"), "{text}");
    process.set("SECURITY__PREVIOUS_KEY_PEPPERS", "1:abc");
    let (code, text) = process.run(&["check-config"]);
    assert!(code == 2 && text.contains("twice"), "{text}");
    process.set("SECURITY__KEY_PEPPER", "0123456789abcdef0123456789abcdef");
    process.set("SECURITY__KEY_PEPPER_VERSION", "2");
    assert_eq!(process.run(&["check-config"]).0, 0);
    let (code, text) = process.run(&["keys", "rotate-pepper"]);
    assert!(code == 2 && text.contains("security.previous_key_peppers"), "{text}");
}
