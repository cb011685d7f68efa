//! A deletion whose node is killed again and again, with something in every table: it goes on at the next start, and its record is right.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use pixgate::domain::{
    blob::{BlobArea, BlobKey},
    id::prefixed,
    privacy::{Fate, Table, register::TABLES},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    browser::{Browser, PASSWORD},
    client::eventually,
    db::TestDatabase,
    process::TestProcess,
    smtp::{SENDER, Smtp},
};

const EMAIL: &str = "ada@example.com";
/// Tables that take a while, so that there is time to die in.
const LARGE: [&str; 6] = ["sessions", "security_events", "stored_responses", "request_contents", "ticket_messages", "screening_hits"];
const LARGE_ROWS: u64 = 12_000;
const BLOBS: u64 = 1_500;
/// Where the node dies: when this part is done.
const DEATHS: [&str; 5] = ["sessions", "security_events", "stored_responses", "ticket_messages", "blobs"];
/// Later than any test runs, so that nothing is swept: the year 2100.
const LATER: i64 = 4_102_444_800_000_000;

fn owned(table: &Table, account: &str) -> String {
    table.owned.expect("a customer's table").replace("$1", &format!("'{account}'")).replace("$2", &format!("'{EMAIL}'"))
}

async fn count(database: &TestDatabase, table: &Table, account: &str) -> i64 {
    database.number(&format!("SELECT COUNT(*) FROM {} WHERE {}", table.name, owned(table, account))).await
}

/// What rows point to.
struct Whose {
    account: String,
    key: String,
    colleague: String,
}

/// Writes rows of the account into a table whose rows a deletion erases. Rows that are there already stay.
async fn fill(database: &TestDatabase, table: &Table, whose: &Whose, rows: u64) {
    let columns = database.columns(table.name).await;
    let value = |name: &str, kind: &str| match (name, kind) {
        ("account_id", _) => format!("'{}'", whose.account),
        ("key_id", _) => format!("'{}'", whose.key),
        ("member_id", _) => format!("'{}'", whose.colleague),
        ("ticket_id", _) => "'fill-1'".to_owned(),
        (_, "boolean") => "FALSE".to_owned(),
        (_, "blob") => "CAST('fill-' || i AS BLOB)".to_owned(),
        (_, "bytea") => "convert_to('fill-' || i, 'UTF8')".to_owned(),
        (name, "bigint") if name.ends_with("_at") => format!("{LATER} + i"),
        (_, "bigint" | "integer") => "i".to_owned(),
        _ => "'fill-' || i".to_owned(),
    };
    let wanted = columns.iter().filter(|(name, _, is_optional)| !is_optional || name == "account_id");
    let (names, values): (Vec<&str>, Vec<String>) = wanted.map(|(name, kind, _)| (name.as_str(), value(name, kind))).unzip();
    let text = format!(
        "INSERT INTO {} ({}) WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {rows}) \
        SELECT {} FROM numbers WHERE TRUE ON CONFLICT DO NOTHING",
        table.name,
        names.join(", "),
        values.join(", "),
    );
    database.execute(&text).await;
}

#[tokio::test]
async fn killed_again_and_again_a_deletion_ends_with_a_true_record() {
    let smtp = Smtp::start().await;
    let settings = [("MAIL__SMTP_URL", smtp.url.as_str()), ("MAIL__FROM", SENDER), ("LEDGER__LEASE_TTL_SECONDS", "4")];
    let mut process = TestProcess::start(&settings).await;
    let admin = process.admin.clone();
    let mut browser = Browser::at(&admin.caller.base);
    browser.post("/api/v1/auth/register", &json!({"email": EMAIL, "password": PASSWORD, "name": "Ada", "locale": "en"})).await.expect(201);
    let token = smtp.next_to(EMAIL).await.token();
    browser.post("/api/v1/auth/verify", &json!({"token": token})).await.expect(200);
    let account = browser.sign_in(EMAIL, PASSWORD).await.expect(200)["id"].as_str().unwrap().to_owned();
    admin.grant(&account, 1_000_000).await;
    let key = admin.create_key(&account, &json!({})).await;
    admin.caller.with_key(&key.key).chat("pixgate/echo", "hello").await.expect(200);
    let asked = browser.send(Method::DELETE, "/api/v1/me", &json!({"password": PASSWORD})).await.expect(202);
    let request = asked["id"].as_str().unwrap().to_owned();
    smtp.next_to(EMAIL).await;

    let erased: Vec<&Table> = TABLES.iter().filter(|table| table.fate == Fate::Erase).collect();
    let whose = Whose { account: account.clone(), key: key.id, colleague: admin.create_account("colleague").await };
    // What others point to comes last in a deletion, and first here.
    for table in erased.iter().rev() {
        let rows = if LARGE.contains(&table.name) { LARGE_ROWS } else { 3 };
        fill(&process.database, table, &whose, rows).await;
        assert!(count(&process.database, table, &account).await > 0, "{} is empty", table.name);
    }
    for number in 0..BLOBS {
        let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
        let name = BlobKey::new(&account, BlobArea::Files, &prefixed("file", LATER, [high, low, 1, 1, 1, 1, 1, 1, 1, 1])).unwrap();
        let path = process.data_dir().join("blobs").join(name.as_str());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"x").unwrap();
    }
    process.kill();
    let mut expected = Vec::new();
    for table in &erased {
        expected.push((table.name, count(&process.database, table, &account).await));
    }
    process.database.execute(&format!("UPDATE privacy_requests SET next_at = 1, due_at = 1 WHERE id = '{request}'")).await;

    let mut interrupted = 0;
    let state = format!("SELECT CASE WHEN status = 'done' THEN 'done' ELSE progress END FROM privacy_requests WHERE id = '{request}'");
    for death in DEATHS {
        process.spawn();
        let reached = eventually("the deletion gets there", async || {
            let state = process.database.text(&state).await;
            (state == "done" || state.contains(&format!("\"{death}\""))).then_some(state)
        });
        let reached = reached.await;
        process.kill();
        if process.database.text(&state).await != "done" {
            interrupted += 1;
        }
        eprintln!("killed behind {death}: {} parts were done", reached.matches("\":{").count());
    }
    assert!(interrupted > 0, "the deletion was over before it could be interrupted");
    process.spawn();
    process.ready().await;
    let path = format!("/admin/v1/privacy-requests/{request}");
    let done = eventually("the deletion is done", async || {
        Some(admin.caller.get(&path).await.expect(200)).filter(|request| request["status"] == json!("done"))
    });
    let done = done.await;

    let text = done["record"].as_str().unwrap();
    let record: Value = serde_json::from_str(text).unwrap();
    let tables = record["tables"].as_object().unwrap();
    for (table, rows) in expected {
        assert_eq!(tables[table], json!({"erased": rows}), "{table}");
    }
    for table in TABLES.iter().filter(|table| table.owned.is_some()) {
        assert_eq!(text.matches(&format!("\"{}\":{{", table.name)).count(), 1, "{} in {text}", table.name);
        // The last mail tells of the end; it goes once it was sent.
        let but = if table.name == "outbox" { " AND kind <> 'deletion_done'" } else { "" };
        let left = format!("SELECT COUNT(*) FROM {} WHERE ({}){but}", table.name, owned(table, &account));
        let left = process.database.number(&left).await;
        match table.fate {
            Fate::Erase => assert_eq!(left, 0, "{}", table.name),
            _ => assert!(tables[table.name]["kept"].is_u64(), "{}", table.name),
        }
    }
    assert_eq!(tables["blobs"], json!({"erased": BLOBS}), "none is counted twice or left out");
    assert!(!process.data_dir().join("blobs").join(&account).join("files").read_dir().is_ok_and(|mut left| left.next().is_some()));
    assert_eq!((&tables["usage_records"]["kept"], &tables["accounts"]["kept"]), (&json!(1), &json!(1)));
    let public = admin.caller.get("/admin/v1/privacy-key").await.expect(200);
    let public = STANDARD.decode(public["public_key"].as_str().unwrap()).unwrap();
    let signature = STANDARD.decode(done["signature"].as_str().unwrap()).unwrap();
    UnparsedPublicKey::new(&ED25519, public).verify(text.as_bytes(), &signature).expect("the record is signed");
    // The farewell.
    smtp.next_to(EMAIL).await;
    process.finish().await;
}
