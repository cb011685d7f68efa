//! Running a node: probes, metrics, the API document, start, drain and exit codes of the real program.

use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    client::{Answer, eventually},
    process::TestProcess,
    upstream::{Gate, Reply, Upstream},
    world::{CREDITS, MODEL, UPSTREAM_MODEL, World, model, price},
};

async fn page(world: &World, path: &str) -> Answer {
    let answer = Answer::of(world.caller.anonymous(Method::GET, path)).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer
}

/// A process with the usual model and an account that has credits.
async fn furnished(settings: &[(&str, &str)]) -> (TestProcess, Upstream, crate::support::client::Caller, String) {
    let process = TestProcess::start(settings).await;
    let upstream = Upstream::start().await;
    process.admin.create_upstream("mock", &upstream.base_url(), &json!({})).await;
    process.admin.create_model(&model(MODEL, UPSTREAM_MODEL)).await;
    let account = process.admin.create_account("owner").await;
    process.admin.grant(&account, CREDITS).await;
    let caller = process.admin.caller_of(&account, &json!({})).await;
    (process, upstream, caller, account)
}

#[tokio::test]
async fn probes_need_no_key() {
    let world = World::new().await;
    page(&world, "/healthz").await;
    page(&world, "/readyz").await;
    world.finish().await;
}

#[tokio::test]
async fn readyz_says_when_the_database_is_away() {
    let world = World::with(|settings| {
        settings.database.acquire_timeout_ms = 200;
        settings.database.busy_timeout_ms = 200;
    })
    .await;
    if world.app.database.is_postgres() {
        world.app.database.shut().await;
        eventually("not ready", || async { (!world.app.admin.is_ready().await).then_some(()) }).await;
        page(&world, "/healthz").await;
        world.app.database.reopen().await;
        eventually("ready again", || async { world.app.admin.is_ready().await.then_some(()) }).await;
    }
    world.finish().await;
}

#[tokio::test]
async fn metrics_can_be_parsed_and_count_calls() {
    let world = World::new().await;
    world.caller.chat(MODEL, "Hi").await.expect(200);
    world.caller.chat("test/none", "Hi").await.refused(404, "model_not_found");
    world.spent().await;
    let text = page(&world, "/metrics").await.text;
    let mut values = std::collections::HashMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in {line}"));
        assert!(name.starts_with("pixgate_"), "{line}");
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number in {line}"));
        assert!(values.insert(name.to_owned(), value).is_none(), "twice: {line}");
    }
    let value = |name: &str| *values.get(name).unwrap_or_else(|| panic!("{name} in\n{text}"));
    assert_eq!(value("pixgate_captures_total"), 1.0);
    assert_eq!(value("pixgate_captured_micros_total"), price(10, 5) as f64);
    assert_eq!(value("pixgate_holds_open"), 0.0);
    assert_eq!(value("pixgate_refusals_total{code=\"model_not_found\"}"), 1.0);
    assert_eq!(value("pixgate_upstream_health{upstream=\"mock\"}"), 1.0);
    for name in ["pixgate_journal_lag_seconds", "pixgate_mailbox_depth{kind=\"account\"}", "pixgate_actor_restarts_total{kind=\"account\"}"]
    {
        assert!(value(name) >= 0.0);
    }
    assert!(values.keys().any(|name| name.starts_with("pixgate_stage_seconds_bucket{")));
    assert!(!text.contains(&world.caller.key) && !text.contains("owner@example.com"), "nothing personal");
    world.finish().await;
}

#[tokio::test]
async fn the_api_document_lists_the_routes_and_docs_shows_them() {
    let world = World::new().await;
    let document = page(&world, "/openapi.json").await.json();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")), "{}", document["openapi"]);
    let routes = [
        ("/v1/chat/completions", "post"),
        ("/v1/completions", "post"),
        ("/v1/embeddings", "post"),
        ("/v1/models", "get"),
        ("/v1/key", "get"),
        ("/v1/credits", "get"),
        ("/v1/usage", "get"),
        ("/v1/generation", "get"),
        ("/admin/v1/accounts", "post"),
        ("/admin/v1/accounts/{id}", "patch"),
        ("/admin/v1/accounts/{id}/grants", "post"),
        ("/admin/v1/accounts/{id}/balance", "get"),
        ("/admin/v1/accounts/{id}/ledger", "get"),
        ("/admin/v1/accounts/{id}/usage", "get"),
        ("/admin/v1/accounts/{id}/keys", "post"),
        ("/admin/v1/keys/{id}/rotate", "post"),
        ("/admin/v1/upstreams", "get"),
        ("/admin/v1/upstreams/{name}/test", "post"),
        ("/admin/v1/models", "post"),
        ("/admin/v1/audit", "get"),
        ("/admin/v1/actors", "get"),
        ("/admin/v1/node", "get"),
        ("/admin/v1/ledger/check", "get"),
        ("/healthz", "get"),
        ("/readyz", "get"),
        ("/metrics", "get"),
    ];
    for (path, method) in routes {
        assert!(document["paths"][path][method].is_object(), "{method} {path}");
    }
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            assert!(operation["responses"].as_object().is_some_and(|responses| !responses.is_empty()), "{method} {path} has responses");
        }
    }
    let references = document.to_string();
    for (at, _) in references.match_indices("\"#/components/") {
        let reference: &str = references[at + 2..].split('"').next().unwrap();
        assert!(document.pointer(reference).is_some(), "{reference} leads nowhere");
    }
    let docs = page(&world, "/docs").await;
    assert!(docs.header("content-type").unwrap().starts_with("text/html"));
    assert!(docs.text.contains("/v1/chat/completions"));
    world.finish().await;
}

#[tokio::test]
async fn sigterm_finishes_streams_refuses_new_calls_and_exits_0() {
    let (mut process, upstream, caller, account) = furnished(&[("SERVER__DRAIN_SECONDS", "20")]).await;
    let gate = Gate::closed();
    upstream.next(UPSTREAM_MODEL, [Reply::stream().role().say("one ").wait(&gate).say("two").finish().usage(10, 5).done()]);
    let mut stream = caller.chat_stream(MODEL, "Count").await;
    let request_id = stream.request_id();
    stream.until("one ").await;
    process.terminate();
    let refused = eventually("new calls are refused", || async {
        let answer = caller.chat(MODEL, "Hi").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    refused.refused(503, "draining");
    assert!(refused.header("retry-after").is_some());
    assert!(!process.admin.is_ready().await, "a load balancer looks elsewhere");
    assert!(process.is_running());
    gate.open();
    assert_eq!(stream.finish().await.ended_well().cost(), price(10, 5));
    assert_eq!(process.ended().await, 0, "{}", process.stderr());

    process.spawn();
    process.ready().await;
    let row = process.admin.usage_of(&account, &request_id).await;
    assert_eq!(row["cost_micros"], json!(price(10, 5)));
    process.finish().await;
}

#[tokio::test]
async fn an_idle_node_stops_at_once_and_keeps_everything() {
    let (mut process, _upstream, caller, account) = furnished(&[]).await;
    for _ in 0..5 {
        caller.chat(MODEL, "Hi").await.expect(200);
    }
    process.terminate();
    assert_eq!(process.ended().await, 0, "{}", process.stderr());
    process.spawn();
    process.ready().await;
    let balance = process.admin.balance(&account).await;
    assert_eq!((balance.available, balance.spent, balance.held), (CREDITS - 5 * price(10, 5), 5 * price(10, 5), 0));
    process.finish().await;
}

#[tokio::test]
async fn a_bad_setting_exits_2_and_is_named() {
    for (name, value) in
        [("SERVER__LISTEN", "nonsense"), ("SERVER__WORKER", "2"), ("LEDGER__DURABILITY", "maybe"), ("BOOTSTRAP__ADMIN_KEY", "short")]
    {
        let mut process = TestProcess::prepare(&[]).await;
        process.set(name, value);
        for command in ["serve", "check-config"] {
            process.spawn_with(&[command]);
            assert_eq!(process.ended().await, 2, "{command} with {name}: {}", process.stderr());
        }
        assert!(process.stderr().contains(&format!("PIXGATE_{name}")), "{}", process.stderr());
    }
    let mut process = TestProcess::prepare(&[]).await;
    process.spawn_with(&["check-config"]);
    assert_eq!(process.ended().await, 0, "{}", process.stderr());
}

#[tokio::test]
async fn a_taken_port_exits_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut process = TestProcess::prepare(&[]).await;
    process.set("SERVER__LISTEN", &taken.local_addr().unwrap().to_string());
    process.spawn();
    assert_eq!(process.ended().await, 1, "{}", process.stderr());
    assert!(process.stderr().contains(&taken.local_addr().unwrap().to_string()), "{}", process.stderr());
}

#[tokio::test]
async fn a_second_process_on_the_same_data_folder_exits_1() {
    let process = TestProcess::start(&[]).await;
    let mut second = TestProcess::prepare(&[]).await;
    second.set("SERVER__DATA_DIR", &process.data_dir().display().to_string());
    second.spawn();
    assert_eq!(second.ended().await, 1, "{}", second.stderr());
    assert!(second.stderr().contains("another pixgate process"), "{}", second.stderr());
    process.finish().await;
}

#[tokio::test]
async fn an_unreachable_database_exits_1_with_a_plain_word() {
    let mut process = TestProcess::prepare(&[]).await;
    process.set("DATABASE__URL", &format!("postgres://nobody@127.0.0.1:{}/none", crate::support::process::free_port()));
    process.spawn();
    assert_eq!(process.ended().await, 1, "{}", process.stderr());
    assert!(process.stderr().contains("database"), "{}", process.stderr());
}

#[tokio::test]
async fn the_first_start_prints_once_a_curl_line_that_works_as_pasted() {
    let mut process = TestProcess::prepare(&[]).await;
    process.without("BOOTSTRAP__ADMIN_KEY");
    process.spawn();
    process.ready().await;
    let printed = process.stdout();
    let begin = printed.find("curl ").unwrap_or_else(|| panic!("no curl line in: {printed}"));
    let mut command = String::new();
    for line in printed[begin..].lines() {
        command.push_str(line);
        command.push('\n');
        if !line.trim_end().ends_with('\\') {
            break;
        }
    }
    let pasted = command.clone();
    let output = tokio::task::spawn_blocking(move || Command::new("sh").args(["-c", &pasted]).output()).await.unwrap();
    let Ok(output) = output else { panic!("curl is missing") };
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert!(answer["choices"][0]["message"]["content"].is_string(), "{answer}");
    assert!(answer["usage"]["cost_micros"].is_i64(), "{answer}");
    let key = command.split(|letter: char| !letter.is_alphanumeric() && letter != '_').find(|word| word.starts_with("px_")).expect("a key");
    let admin = process.admin.caller.with_key(key);
    admin.get("/admin/v1/accounts").await.expect(200);
    assert!(!process.stderr().contains(key), "the key is not in the log");

    process.terminate();
    assert_eq!(process.ended().await, 0);
    process.spawn();
    process.ready().await;
    assert_eq!(process.stdout(), printed, "nothing more is printed on the second start");
    admin.get("/v1/key").await.expect(200);
    process.kill();
}

#[tokio::test]
async fn commands_work() {
    let mut process = TestProcess::prepare(&[]).await;
    for arguments in [&["migrate"][..], &["migrate"], &["doctor"], &["admin", "create", "--email", "root@example.com"], &["openapi"]] {
        process.spawn_with(arguments);
        assert_eq!(process.ended().await, 0, "{arguments:?}: {}{}", process.stdout(), process.stderr());
    }
    let printed = process.stdout();
    assert!(printed.contains("database"), "doctor's table: {printed}");
    let document: Value = serde_json::from_str(&printed[printed.find("{\"").or(printed.find("{\n")).expect("the API document")..]).unwrap();
    process.spawn();
    process.ready().await;
    let served = Answer::of(process.admin.caller.anonymous(Method::GET, "/openapi.json")).await.json();
    assert_eq!(served, document);
    process.finish().await;
}

#[tokio::test]
async fn logs_carry_request_ids_and_no_keys() {
    let (mut process, _upstream, caller, _) = furnished(&[("TELEMETRY__LOG_FORMAT", "json"), ("TELEMETRY__ACCESS_LOG", "true")]).await;
    let answer = caller.chat(MODEL, "a secret question").await;
    answer.expect(200);
    caller.with_key("px_live_wrongwrongwrong").chat(MODEL, "Hi").await.refused(401, "invalid_api_key");
    process.terminate();
    assert_eq!(process.ended().await, 0);
    let log = process.stderr();
    assert!(log.contains(&answer.request_id()), "{log}");
    for private in
        [caller.key.as_str(), "a secret question", "px_live_wrongwrongwrong", "upstream-secret", crate::support::admin::ADMIN_KEY]
    {
        assert!(!log.contains(private), "{private} in {log}");
    }
    for line in log.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error} in log line {line}"));
    }
}

#[tokio::test]
async fn a_key_in_the_url_reaches_no_log_and_no_trace() {
    let upstream = Upstream::start().await;
    let settings =
        [("TELEMETRY__LOG_FILTER", "trace"), ("TELEMETRY__ACCESS_LOG", "true"), ("TELEMETRY__OTLP_ENDPOINT", &upstream.host_url())];
    let mut process = TestProcess::start(&settings).await;
    process.admin.create_upstream("mock", &upstream.base_url(), &json!({})).await;
    process.admin.create_model(&model(MODEL, UPSTREAM_MODEL)).await;
    let account = process.admin.create_account("owner").await;
    process.admin.grant(&account, CREDITS).await;
    let caller = process.admin.caller_of(&account, &json!({})).await;

    let hello = json!({"contents": [{"parts": [{"text": "Hi"}]}]});
    let served = format!("/v1beta/models/{MODEL}:generateContent");
    for (path, status) in [(served.as_str(), 200), ("/v1beta/models/test/none:generateContent", 404), ("/v1beta/nowhere", 404)] {
        let request = caller.anonymous(Method::POST, &format!("{path}?alt=json&key={}", caller.key)).json(&hello);
        Answer::of(request).await.expect(status);
    }
    process.terminate();
    assert_eq!(process.ended().await, 0);
    let log = process.stderr();
    assert!(log.contains(&served), "the calls are logged");
    assert!(!log.contains(&caller.key), "the key is in the log: {:?}", log.lines().find(|line| line.contains(&caller.key)));
    let exported = upstream.seen("");
    let mut traces = exported.iter().filter(|seen| seen.path == "/v1/traces").map(|seen| String::from_utf8_lossy(&seen.body)).peekable();
    assert!(traces.peek().is_some(), "spans are exported");
    assert!(traces.all(|trace| !trace.contains(&caller.key)), "the key is in a span");
}
