//! What the server must know before it can be asked: upstream, models, accounts with credits and keys. And what must be true
//! of its ledger afterwards.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use sea_orm::{ConnectionTrait as _, Database, DbBackend, Statement};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    Fallible,
    client::Admin,
    mock::{COMPLETION_TOKENS, PROMPT_TOKENS, Pace},
};

pub const MODEL: &str = "mock";
/// Prices in micros a token.
const INPUT_MICROS: u64 = 1;
const OUTPUT_MICROS: u64 = 2;
/// So many credits that no run comes near the end of them.
const GRANT_MICROS: u64 = 1_000_000_000_000;
/// How long a relaxed journal may take to write what it owes.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);

/// One that pays for calls of the bench.
pub struct Account {
    id: String,
    pub key: String,
    /// What its complete answers cost so far.
    pub spent_micros: u64,
}

/// The price of a complete answer of a model.
pub fn price_micros(pace: Option<Pace>) -> u64 {
    PROMPT_TOKENS * INPUT_MICROS + pace.map_or(COMPLETION_TOKENS, |pace| pace.events) * OUTPUT_MICROS
}

pub async fn prepare(admin: &mut Admin, upstream_base_url: &str, paces: &[Pace], accounts: usize) -> Fallible<Vec<Account>> {
    let upstream = json!({"name": "mock", "provider": "openai", "base_url": upstream_base_url, "api_key": "none", "enabled": true});
    admin.post("/admin/v1/upstreams", &upstream).await?;
    let streamed = paces.iter().map(|pace| pace.model());
    for model in streamed.chain([MODEL.to_owned()]) {
        let prices = [("input_token", INPUT_MICROS), ("output_token", OUTPUT_MICROS)];
        let prices: Vec<_> = prices.iter().map(|(unit, micros)| json!({"unit": unit, "micros": micros, "per": 1})).collect();
        let routes = [json!({"upstream": "mock", "upstream_model": model})];
        let model = json!({"id": model, "kind": "chat", "display_name": model, "prices": prices, "routes": routes, "enabled": true});
        admin.post("/admin/v1/models", &model).await?;
    }
    let mut made = Vec::with_capacity(accounts);
    for number in 0..accounts {
        let email = format!("bench-{number}@example.com");
        let account = admin.post("/admin/v1/accounts", &json!({"email": email, "verified": true})).await?;
        let id = text(&account, "id")?;
        let grant = json!({"amount_micros": GRANT_MICROS, "reason": "bench"});
        admin.post_once(&format!("/admin/v1/accounts/{id}/grants"), &format!("bench-{number}"), &grant).await?;
        let key = admin.post(&format!("/admin/v1/accounts/{id}/keys"), &json!({"title": "bench"})).await?;
        made.push(Account { id, key: text(&key, "key")?, spent_micros: 0 });
    }
    Ok(made)
}

fn text(answer: &Value, field: &str) -> Fallible<String> {
    Ok(answer[field].as_str().ok_or_else(|| format!("no {field} in {answer}"))?.to_owned())
}

/// What a chat call of the bench sends: the size of a short real one.
pub fn body(model: &str, stream: bool) -> String {
    let messages = json!([
        {"role": "system", "content": "You answer questions about trains in one short sentence, without any greeting."},
        {"role": "user", "content": "When does the last train to the coast leave on a Sunday in winter?"},
    ]);
    let mut body = json!({"model": model, "messages": messages, "max_tokens": 256, "temperature": 0.2});
    if stream {
        body["stream"] = Value::Bool(true);
        body["stream_options"] = json!({"include_usage": true});
    }
    body.to_string()
}

/// Whether every account has paid for exactly the answers it got, and the ledger adds up; otherwise what is wrong.
pub async fn verify(admin: &mut Admin, accounts: &[Account]) -> Fallible<Vec<String>> {
    let deadline = Instant::now() + SETTLE_LIMIT;
    loop {
        let wrong = differences(admin, accounts).await?;
        if wrong.is_empty() || Instant::now() > deadline {
            return Ok(wrong);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn differences(admin: &mut Admin, accounts: &[Account]) -> Fallible<Vec<String>> {
    let mut wrong = Vec::new();
    for account in accounts {
        let balance = admin.get(&format!("/admin/v1/accounts/{}/balance", account.id)).await?;
        let amount = |field: &str| balance[field].as_u64().ok_or_else(|| format!("no {field} in {balance}"));
        let expected =
            [("spent_micros", account.spent_micros), ("held_micros", 0), ("available_micros", GRANT_MICROS - account.spent_micros)];
        for (field, expected) in expected {
            let found = amount(field)?;
            if found != expected {
                wrong.push(format!("{}: {field} is {found} instead of {expected}", account.id));
            }
        }
    }
    let check = admin.get("/admin/v1/ledger/check").await?;
    if check["differences"] != json!([]) {
        wrong.push(format!("ledger/check: {check}"));
    }
    Ok(wrong)
}

/// A table of which every copy of an account gets a row like the account's own.
struct Copied {
    table: &'static str,
    owner: &'static str,
    /// Which of the owner's rows.
    condition: &'static str,
    /// Columns that must differ from row to row, as expressions of `i`, the number of the copy.
    changes: &'static [(&'static str, &'static str)],
}

const COPIED_ID: &str = "'acc_' || printf('%032d', i)";
const COPIED_GRANT: &str = "'grant_' || printf('%032d', i)";
const COPIED: [Copied; 5] = [
    Copied {
        table: "accounts",
        owner: "id",
        condition: "TRUE",
        changes: &[("id", COPIED_ID), ("locator", "printf('x%09d', i)"), ("email", "'copy-' || i || '@example.com'")],
    },
    Copied {
        table: "api_keys",
        owner: "account_id",
        condition: "TRUE",
        changes: &[("id", "'key_' || printf('%032d', i)"), ("account_id", COPIED_ID), ("digest", "randomblob(32)")],
    },
    Copied { table: "wallets", owner: "account_id", condition: "TRUE", changes: &[("account_id", COPIED_ID)] },
    Copied {
        table: "grants",
        owner: "account_id",
        condition: "TRUE",
        changes: &[
            ("id", COPIED_GRANT),
            ("account_id", COPIED_ID),
            ("available_micros", "amount_micros"),
            ("leased_micros", "0"),
            ("spent_micros", "0"),
        ],
    },
    Copied {
        table: "ledger_transfers",
        owner: "account_id",
        condition: "kind = 'grant'",
        changes: &[("seq", "NULL"), ("account_id", COPIED_ID), ("grant_id", COPIED_GRANT), ("cause", COPIED_GRANT)],
    },
];

/// Multiplies an account of the bench, with its key, wallet, grant and the ledger line of that, in the database of a server
/// that has ended: a hundred thousand calls of the admin API would take longer than the rest of the bench.
pub async fn add_accounts(dir: &Path, like: &Account, count: u64) -> Fallible {
    let database = Database::connect(format!("sqlite://{}", dir.join("pixgate.db").display())).await?;
    for Copied { table, owner, condition, changes } in COPIED {
        let query = format!("SELECT name FROM pragma_table_info('{table}')");
        let rows = database.query_all_raw(Statement::from_string(DbBackend::Sqlite, query)).await?;
        let columns = rows.iter().map(|row| row.try_get::<String>("", "name")).collect::<Result<Vec<_>, _>>()?;
        let changed = |column: &String| changes.iter().find(|(name, _)| name == column).map(|(_, value)| *value);
        let values: Vec<_> = columns.iter().map(|column| changed(column).unwrap_or(column)).collect();
        let (columns, values) = (columns.join(", "), values.join(", "));
        let insert = format!(
            "WITH RECURSIVE copies (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM copies WHERE i < {count})
             INSERT INTO {table} ({columns}) SELECT {values} FROM {table}, copies WHERE {owner} = '{}' AND {condition}",
            like.id
        );
        let added = database.execute_unprepared(&insert).await?.rows_affected();
        if added != count {
            return Err(format!("{added} rows of {table} instead of {count}").into());
        }
    }
    database.close().await?;
    Ok(())
}

/// A second data folder with the same content; nothing may be running on the first.
pub fn copy_dir(from: &Path, to: &Path) -> Fallible {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
