//! `pixgate import`: what other gateways were set up with works here, once, however often it is imported.

use std::path::{Path, PathBuf};

use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};

use crate::support::{
    client::Caller,
    process::TestProcess,
    upstream::{Upstream, refusing_base_url},
};

/// Runs a command to its end; answers with its exit code and what it printed.
async fn run(process: &mut TestProcess, arguments: &[&str]) -> (i32, String) {
    let before = process.stdout().len() + process.stderr().len();
    process.spawn_with(arguments);
    let code = process.ended().await;
    let printed = format!("{}{}", process.stdout(), process.stderr());
    assert!(printed.len() > before, "every command says something");
    (code, process.stdout())
}

/// Runs an import that goes well; answers with the new lines of its report.
async fn import(process: &mut TestProcess, arguments: &[&str]) -> Vec<String> {
    let before = process.stdout().len();
    let (code, printed) = run(process, &[&["import"], arguments].concat()).await;
    assert_eq!(code, 0, "{}", process.stderr());
    printed[before..].lines().map(str::to_owned).collect()
}

#[track_caller]
fn says(lines: &[String], parts: &[&str]) {
    let found = lines.iter().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(found, "no line with {parts:?} in\n{}", lines.join("\n"));
}

async fn serve(process: &mut TestProcess) {
    process.spawn();
    process.ready().await;
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

#[tokio::test]
async fn a_litellm_configuration_becomes_upstreams_and_models() {
    let upstream = Upstream::start().await;
    let nowhere = refusing_base_url().await;
    let mut process = TestProcess::prepare(&[]).await;
    process.set("TEST_IMPORT_KEY", "from-the-environment");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.yaml");
    let config = format!(
        r#"
model_list:
  - model_name: fast
    litellm_params:
      model: openai/gpt-mini
      api_base: {base}
      api_key: os.environ/PIXGATE_TEST_IMPORT_KEY
      rpm: 60
      input_cost_per_token: 3.0e-06
      output_cost_per_token: 0.000007
    model_info: {{mode: chat, max_output_tokens: 100}}
  - model_name: fast
    litellm_params: {{model: openai/gpt-mini-b, api_base: {base}, api_key: os.environ/PIXGATE_TEST_IMPORT_KEY, order: 2}}
  - model_name: shaky
    litellm_params: {{model: openai/gone, api_base: {nowhere}, api_key: sk-literal-0123456789, input_cost_per_token: 1e-6, output_cost_per_token: 1e-6}}
  - model_name: unpriced
    litellm_params: {{model: hosted_vllm/local, api_base: {base}}}
  - model_name: secretless
    litellm_params: {{model: openai/x, api_key: os.environ/PIXGATE_TEST_NOT_SET}}
  - model_name: "anything/*"
    litellm_params: {{model: "openai/*"}}
  - model_name: exotic
    litellm_params: {{model: no-such-vendor/x}}
router_settings:
  routing_strategy: simple-shuffle
  fallbacks: [{{shaky: [fast]}}, {{fast: [missing]}}]
general_settings: {{master_key: sk-1234}}
"#,
        base = upstream.base_url()
    );
    std::fs::write(&file, config).unwrap();

    let arguments = ["litellm-config", text(&file)];
    let planned = import(&mut process, &[&arguments[..], &["--dry-run"]].concat()).await;
    says(&planned, &["a dry run: nothing was written"]);
    let made = import(&mut process, &arguments).await;
    says(&made, &["model", "fast", "made"]);
    says(&made, &["unpriced", "made", "disabled, because no price is known"]);
    says(&made, &["secretless", "left out", "PIXGATE_TEST_NOT_SET"]);
    says(&made, &["anything/*", "left out"]);
    says(&made, &["exotic", "left out", "no-such-vendor"]);
    says(&made, &["fallbacks of fast", "left out", "missing"]);
    says(&made, &["general_settings.master_key", "left out", "bootstrap.admin_key"]);
    says(&made, &["router_settings.routing_strategy", "left out"]);
    let (last, lines) = planned.split_last().unwrap();
    assert_eq!(last.split(';').next(), made.last().map(String::as_str), "the dry run told the truth");
    assert_eq!(lines, &made[..made.len() - 1]);
    for secret in ["from-the-environment", "sk-literal", "sk-1234"] {
        assert!(!process.stdout().contains(secret) && !process.stderr().contains(secret), "{secret} was shown");
    }
    let again = import(&mut process, &arguments).await;
    says(&again, &["0 made, 0 changed"]);

    serve(&mut process).await;
    let admin = process.admin.clone();
    let account = admin.create_account("owner").await;
    admin.grant(&account, 1_000_000).await;
    let caller = admin.caller_of(&account, &json!({})).await;
    let answer = caller.chat("fast", "Hi").await;
    answer.expect(200);
    assert_eq!(answer.cost(), 10 * 3 + 5 * 7);
    assert_eq!(upstream.last("gpt-mini").header("authorization"), Some("Bearer from-the-environment"));
    assert_eq!(upstream.count("gpt-mini-b"), 0, "order 2 comes second");
    caller.chat("shaky", "Hi").await.expect(200);
    assert_eq!(upstream.count("gpt-mini"), 2, "the fallback answered");
    caller.chat("unpriced", "Hi").await.refused(404, "model_not_found");
    let model = admin.caller.get("/admin/v1/models/fast").await.expect(200);
    assert_eq!((&model["routes"][0]["weight"], &model["max_output_tokens"]), (&json!(60), &json!(100)));
    process.finish().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_refused() {
    let mut process = TestProcess::prepare(&[]).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broken.yaml");
    std::fs::write(&file, "model_list: [{litellm_params: {api_key: sk-0123456789").unwrap();
    for (arguments, why) in [
        (["import", "litellm-config", text(&file)], "no configuration of LiteLLM"),
        (["import", "litellm-config", "/no/such/file.yaml"], "cannot be imported"),
        (["import", "one-api", text(&file)], "cannot be imported"),
        (["import", "one-api", "/no/such/file.db"], "cannot be imported"),
    ] {
        assert_eq!(run(&mut process, &arguments).await.0, 1, "{arguments:?}");
        assert!(process.stderr().contains(why), "{arguments:?}: {}", process.stderr());
    }
    assert!(!process.stderr().contains("sk-0123456789"), "{}", process.stderr());
    assert!(!Path::new("/no/such").exists());
}

/// The public schema of one-api, as far as it matters, with users, tokens, channels and options.
async fn one_api_database(file: &Path, base_url: &str) {
    let root = base_url.trim_end_matches("/v1");
    let database = Database::connect(format!("sqlite://{}?mode=rwc", file.display())).await.unwrap();
    for statement in [
        "CREATE TABLE users (id integer PRIMARY KEY AUTOINCREMENT, username text UNIQUE, password text NOT NULL, display_name text, role integer DEFAULT 1,
            status integer DEFAULT 1, email text, github_id text, wechat_id text, access_token char(32), quota bigint DEFAULT 0, used_quota bigint DEFAULT 0,
            request_count integer DEFAULT 0, `group` varchar(32) DEFAULT 'default', aff_code varchar(32), inviter_id integer)",
        "CREATE TABLE tokens (id integer PRIMARY KEY AUTOINCREMENT, user_id integer, key char(48) UNIQUE, status integer DEFAULT 1, name text, created_time bigint,
            accessed_time bigint, expired_time bigint DEFAULT -1, remain_quota bigint DEFAULT 0, unlimited_quota numeric DEFAULT false, used_quota bigint DEFAULT 0,
            models text DEFAULT '', subnet text DEFAULT '')",
        "CREATE TABLE channels (id integer PRIMARY KEY AUTOINCREMENT, type integer DEFAULT 0, key text, status integer DEFAULT 1, name text, weight integer DEFAULT 0,
            created_time bigint, test_time bigint, response_time integer, base_url text DEFAULT '', other text, balance real, balance_updated_time bigint, models text,
            `group` varchar(32) DEFAULT 'default', used_quota bigint DEFAULT 0, model_mapping varchar(1024) DEFAULT '', priority bigint DEFAULT 0, config text)",
        "CREATE TABLE abilities (`group` varchar(32), model text, channel_id integer, enabled numeric, priority bigint DEFAULT 0, PRIMARY KEY (`group`, model, channel_id))",
        "CREATE TABLE options (key text PRIMARY KEY, value text)",
        "INSERT INTO users (id, username, password, display_name, role, status, email, quota) VALUES
            (1, 'root', 'x', 'Root User', 100, 1, '', 0), (2, 'ada', 'x', 'Ada', 1, 1, 'Ada@Example.com', 500000),
            (3, 'bob', 'x', '', 1, 2, '', 250001), (4, 'cleo', 'x', 'Cleo', 1, 1, 'cleo@example.com', -5)",
        "INSERT INTO tokens (id, user_id, key, status, name, expired_time, remain_quota, unlimited_quota, models, subnet) VALUES
            (1, 2, 'adaKeyOfFortyEightCharacters00000000000000000000', 1, 'main', -1, 0, 1, '', ''),
            (2, 2, 'narrowKeyOfFortyEightCharacters00000000000000000', 1, 'narrow', 4102444800, 10, 0, 'gpt-x', '127.0.0.0/8'),
            (3, 2, 'disabledKeyOfFortyEightCharacters000000000000000', 2, 'off', -1, 0, 1, '', NULL),
            (4, 2, 'expiredKeyOfFortyEightCharacters0000000000000000', 1, 'old', 1600000000, 0, 1, '', ''),
            (5, 9, 'orphanKeyOfFortyEightCharacters00000000000000000', 1, 'orphan', -1, 0, 1, '', ''),
            (6, 2, 'short', 1, '', -1, 0, 1, '', ''), (7, 3, 'bobKeyOfFortyEightCharacters00000000000000000000', 1, 'bob', -1, 0, 1, '', ''),
            (8, 2, 'wrongNetworkKeyOfFortyEightCharacters00000000000', 1, 'net', -1, 0, 1, '', 'home')",
        "INSERT INTO options VALUES ('ModelRatio', '{\"gpt-x\":1.5,\"aliased\":1}'), ('CompletionRatio', '{\"gpt-x\":2,\"aliased\":1}'), ('QuotaPerUnit', '500000')",
    ] {
        database.execute_unprepared(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let channels = format!(
        "INSERT INTO channels (id, type, key, status, name, weight, base_url, models, model_mapping, priority) VALUES
            (1, 1, 'channel-secret', 1, 'main', 5, '{root}', 'gpt-x,aliased,no-price', '{{\"aliased\":\"real-name\"}}', 7),
            (2, 18, 'k', 1, 'xunfei', 1, '', 'spark', '', 0), (3, 1, 'other-secret', 2, 'off', 1, '{root}', 'gpt-x', '', 0)"
    );
    database.execute_unprepared(&channels).await.unwrap();
    database.close().await.unwrap();
}

#[tokio::test]
async fn a_one_api_database_becomes_accounts_keys_and_models() {
    let upstream = Upstream::start().await;
    let mut process = TestProcess::prepare(&[]).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("one-api.db");
    one_api_database(&file, &upstream.base_url()).await;
    let bytes_before = std::fs::read(&file).unwrap();

    let arguments = ["one-api", text(&file)];
    let planned = import(&mut process, &[&arguments[..], &["--dry-run"]].concat()).await;
    let made = import(&mut process, &arguments).await;
    let (last, lines) = planned.split_last().unwrap();
    assert_eq!(lines, &made[..made.len() - 1], "the dry run told the truth");
    assert!(last.ends_with("a dry run: nothing was written"), "{last}");
    says(&made, &["account", "root (1)", "made", "admin rights are not carried over"]);
    says(&made, &["account", "ada (2)", "made", "ada@example.com"]);
    says(&made, &["account", "bob (3)", "made", "suspended"]);
    says(&made, &["credits", "ada (2)", "made", "1000000 micros"]);
    says(&made, &["credits", "bob (3)", "made", "500002 micros"]);
    says(&made, &["credits", "cleo (4)", "left out", "owes 5 units"]);
    for (name, outcome) in [
        ("main (1)", "made"),
        ("off (3)", "made"),
        ("old (4)", "left out"),
        ("orphan (5)", "left out"),
        ("(6)", "left out"),
        ("net (8)", "left out"),
    ] {
        says(&made, &["key", name, outcome]);
    }
    says(&made, &["upstream", "xunfei (2)", "left out", "type 18"]);
    says(&made, &["model", "spark", "left out"]);
    says(&made, &["model", "no-price", "made", "disabled"]);
    for secret in ["adaKey", "channel-secret", "disabledKey"] {
        assert!(!process.stdout().contains(secret) && !process.stderr().contains(secret), "{secret} was shown");
    }
    says(&import(&mut process, &arguments).await, &["0 made, 0 changed"]);
    assert_eq!(std::fs::read(&file).unwrap(), bytes_before, "nothing was written to it");

    serve(&mut process).await;
    let admin = process.admin.clone();
    let caller = |key: &str| admin.caller.with_key(key);
    let ada = caller("sk-adaKeyOfFortyEightCharacters00000000000000000000");
    let answer = ada.chat("gpt-x", "Hi").await;
    answer.expect(200);
    assert_eq!(answer.cost(), 10 * 3 + 5 * 6, "a ratio of 1.5 is 3 micros a token, twice that for output");
    assert_eq!(upstream.last("gpt-x").header("authorization"), Some("Bearer channel-secret"));
    ada.chat("aliased", "Hi").await.expect(200);
    assert_eq!(upstream.count("real-name"), 1);
    let narrow = caller("sk-narrowKeyOfFortyEightCharacters00000000000000000");
    narrow.chat("gpt-x", "Hi").await.refused(402, "insufficient_credits");
    narrow.chat("aliased", "Hi").await.refused(403, "model_not_allowed");
    caller("sk-disabledKeyOfFortyEightCharacters000000000000000").chat("gpt-x", "Hi").await.refused(401, "invalid_api_key");
    caller("sk-bobKeyOfFortyEightCharacters00000000000000000000").chat("gpt-x", "Hi").await.refused(403, "account_suspended");
    let account = account_named(&admin.caller, "ada@example.com").await;
    assert_eq!(admin.settled_balance(&account).await.granted, 1_000_000);
    process.finish().await;
}

async fn account_named(admin: &Caller, email: &str) -> String {
    let found: Vec<Value> = admin.list(&format!("/admin/v1/accounts?q={}", email.replace('@', "%40"))).await;
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_second_database_and_an_account_that_exists_are_told_apart() {
    let upstream = Upstream::start().await;
    let mut process = TestProcess::start(&[]).await;
    let ada = process.admin.create_account("ada").await;
    let dir = tempfile::tempdir().unwrap();
    let file: PathBuf = dir.path().join("new-api.db");
    let database = Database::connect(format!("sqlite://{}?mode=rwc", file.display())).await.unwrap();
    for statement in [
        "CREATE TABLE users (id integer PRIMARY KEY, username text, display_name text, role integer, status integer, email text, quota integer, deleted_at datetime)",
        "CREATE TABLE tokens (id integer PRIMARY KEY, user_id integer, key varchar(128), status integer, name text, expired_time bigint, remain_quota integer,
            unlimited_quota numeric, model_limits_enabled numeric, model_limits text, allow_ips text, deleted_at datetime)",
        "CREATE TABLE channels (id integer PRIMARY KEY, type integer, key text, status integer, name text, weight integer, base_url text, models text, priority bigint,
            model_mapping text, channel_info text)",
        "INSERT INTO users VALUES (2, 'ada', 'Ada', 1, 1, 'ada@example.com', 1000, NULL), (3, 'gone', '', 1, 1, '', 1000, '2026-01-01')",
        "INSERT INTO tokens VALUES (1, 2, 'newApiKeyOfFortyEightCharacters00000000000000000', 1, 'k', -1, 500, 0, 0, 'ignored', '', NULL),
            (2, 2, 'deletedKeyOfFortyEightCharacters0000000000000000', 1, 'k2', -1, 500, 0, 0, '', '', '2026-01-01')",
    ] {
        database.execute_unprepared(statement).await.unwrap();
    }
    database.close().await.unwrap();
    let old = dir.path().join("one-api.db");
    one_api_database(&old, &upstream.base_url()).await;
    process.terminate();
    assert_eq!(process.ended().await, 0);

    let first = import(&mut process, &["one-api", text(&old)]).await;
    says(&first, &["account", "ada (2)", "changed", &ada]);
    let second = import(&mut process, &["one-api", text(&file), "--name", "new-api"]).await;
    says(&second, &["account", "ada (2)", "changed", &ada]);
    says(&second, &["credits", "ada (2)", "made", "2000 micros"]);
    assert!(!second.join("\n").contains("gone"), "deleted rows are not there");
    says(&import(&mut process, &["one-api", text(&file), "--name", "new-api"]).await, &["0 made, 0 changed"]);
    assert_eq!(run(&mut process, &["import", "one-api", text(&file), "--name", "Not A Name"]).await.0, 1);

    serve(&mut process).await;
    assert_eq!(process.admin.settled_balance(&ada).await.granted, 1_002_000);
    let caller = process.admin.caller.with_key("sk-newApiKeyOfFortyEightCharacters00000000000000000");
    let key = &caller.get("/v1/key").await.expect(200)["data"];
    assert_eq!((&key["limit"], &key["models"]), (&json!(0.001), &Value::Null));
    process.finish().await;
}
