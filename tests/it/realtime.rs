//! Realtime sessions: what is relayed, what is charged, and every way to end.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    client::eventually,
    process::TestProcess,
    realtime::{End, Realtime, open},
    world::{World, token_price},
};

const VOICE: &str = "test/voice";
/// What two words and a tenth of a second of sound cost.
const DELIVERED: i64 = 2 * 7 + 2 * 13;

/// A usual world with a model to speak with.
async fn furnish(adjust: impl FnOnce(&mut pixgate::config::Settings)) -> (World, Realtime) {
    with_voice(World::with(adjust).await).await
}

async fn with_voice(world: World) -> (World, Realtime) {
    let upstream = Realtime::start().await;
    world.app.admin.create_upstream("voice", upstream.base_url(), &json!({})).await;
    world.app.admin.create_model(&voice(VOICE, "gpt-realtime")).await;
    (world, upstream)
}

fn voice(id: &str, upstream_model: &str) -> Value {
    json!({
        "id": id, "kind": "chat", "display_name": id, "max_output_tokens": 100, "enabled": true,
        "prices": [
            token_price("input_token", 3), token_price("cached_input_token", 1), token_price("output_token", 7),
            token_price("audio_input_token", 11), token_price("audio_output_token", 13), token_price("audio_second", 17),
        ],
        "routes": [{"upstream": "voice", "upstream_model": upstream_model}],
    })
}

/// 10 text, 5 cached, 4 heard; 6 text, 20 spoken.
fn usage() -> Value {
    json!({
        "total_tokens": 45, "input_tokens": 19, "output_tokens": 26,
        "input_token_details": {"text_tokens": 15, "audio_tokens": 4, "cached_tokens": 5, "cached_tokens_details": {"text_tokens": 5, "audio_tokens": 0}},
        "output_token_details": {"text_tokens": 6, "audio_tokens": 20},
    })
}

const COST: i64 = 10 * 3 + 5 + 4 * 11 + 6 * 7 + 20 * 13;

/// A session with both ends.
async fn connect(world: &World, upstream: &mut Realtime) -> (End, End) {
    let bearer = format!("Bearer {}", world.caller.key);
    let path = format!("/v1/realtime?model={VOICE}");
    let caller = open(&world.app.url, &path, &[("authorization", &bearer), ("x-request-id", "talk-1")]).await.expect("a session");
    (caller, upstream.session().await)
}

async fn rows(world: &World, count: usize) -> Vec<Value> {
    eventually("the usage rows", || async { Some(world.app.admin.usage(&world.account).await).filter(|rows| rows.len() == count) }).await
}

fn create() -> Value {
    json!({"type": "response.create"})
}

#[tokio::test]
async fn two_responses_are_relayed_and_each_is_charged_exactly_and_before_its_end() {
    let (world, mut upstream) = furnish(|_| {}).await;
    let (mut caller, mut server) = connect(&world, &mut upstream).await;
    assert_eq!(server.path, "/v1/realtime?model=gpt-realtime");
    assert_eq!(server.headers["authorization"], "Bearer upstream-secret", "the operator's key, not the caller's");
    assert_eq!(caller.headers["x-pixgate-upstream"], "voice");
    assert_eq!(caller.headers["x-request-id"], "talk-1");
    server.say(&json!({"type": "session.created", "session": {"id": "sess_1", "model": "gpt-realtime"}})).await;
    assert_eq!(caller.expect("session.created").await["session"]["model"], json!(VOICE));
    caller.say(&json!({"type": "session.update", "session": {"model": VOICE, "instructions": "Be brief"}})).await;
    let update = server.expect("session.update").await;
    assert_eq!(update["session"], json!({"model": "gpt-realtime", "instructions": "Be brief"}));
    for (index, id) in ["resp_1", "resp_2"].into_iter().enumerate() {
        caller.say(&json!({"type": "input_audio_buffer.append", "audio": "AAAA"})).await;
        server.expect("input_audio_buffer.append").await;
        caller.say(&create()).await;
        server.respond(id, &usage()).await;
        caller.expect("response.created").await;
        assert_eq!(caller.expect("response.output_audio_transcript.delta").await["delta"], json!("hello world"));
        caller.expect("response.output_audio.delta").await;
        let done = caller.expect("response.done").await;
        let reported = &done["response"]["usage"];
        assert_eq!((reported["cost_micros"].as_i64(), reported["output_tokens"].as_i64()), (Some(COST), Some(26)), "{done}");
        assert_eq!(reported["cost"].as_f64(), Some(0.000_381));
        // Durable already: nobody has to wait for it.
        let balance = world.app.admin.balance(&world.account).await;
        assert_eq!(balance.spent, COST * (i64::try_from(index).unwrap() + 1));
    }
    caller.close().await;
    assert_eq!(server.hear().await, None);
    let rows = rows(&world, 2).await;
    for row in &rows {
        assert_eq!(row["cost_micros"], json!(COST), "{row}");
        assert_eq!((&row["estimated"], &row["request_id"], &row["model"]), (&json!(false), &json!("talk-1"), &json!(VOICE)));
        assert_eq!(
            (row["input_tokens"].as_i64(), row["cached_tokens"].as_i64(), row["output_tokens"].as_i64()),
            (Some(19), Some(5), Some(26))
        );
    }
    assert_eq!(world.spent().await, 2 * COST);
    assert_eq!(world.caller.get("/v1/generation?id=resp_2").await.expect(200)["data"]["tokens_completion"], json!(26));
    world.finish().await;
}

#[tokio::test]
async fn browsers_give_their_key_as_a_protocol() {
    let (world, mut upstream) = furnish(|_| {}).await;
    let offered = format!("realtime, openai-insecure-api-key.{}, openai-beta.realtime-v1", world.caller.key);
    let path = format!("/v1/realtime?model={VOICE}");
    let caller = open(&world.app.url, &path, &[("sec-websocket-protocol", &offered)]).await.expect("a session");
    assert_eq!(caller.headers["sec-websocket-protocol"], "realtime");
    let server = upstream.session().await;
    assert_eq!(server.headers["openai-beta"], "realtime=v1");
    assert!(server.headers.iter().all(|(_, value)| !value.to_str().unwrap().contains(&world.caller.key)));
    caller.close().await;
    assert_eq!(world.spent().await, 0);
    world.finish().await;
}

#[tokio::test]
async fn refusals_come_before_the_upgrade_as_ordinary_errors() {
    let (world, _upstream) = furnish(|_| {}).await;
    world.app.admin.create_model(&voice("test/refused", "refused")).await;
    let (_, poor) = world.another("poor", 0).await;
    let narrow = world.app.admin.caller_of(&world.account, &json!({"models": ["test/chat"]})).await;
    let slow = world.app.admin.caller_of(&world.account, &json!({"limits": {"concurrency": 0}})).await;
    let key = world.caller.key.clone();
    let known = format!("model={VOICE}");
    for (key, query, status, code) in [
        ("px_live_nobody", known.as_str(), 401, "invalid_api_key"),
        (poor.key.as_str(), &known, 402, "insufficient_credits"),
        (&narrow.key, &known, 403, "model_not_allowed"),
        (&key, "model=unknown", 404, "model_not_found"),
        (&slow.key, &known, 429, "rate_limit_exceeded"),
        (&key, "", 400, "invalid_request"),
        (&key, "model=pixgate/echo", 400, "invalid_request"),
        (&key, &format!("{known}&intent=transcription"), 400, "invalid_request"),
        (&key, "model=test/refused", 400, "invalid_request"),
    ] {
        let bearer = format!("Bearer {key}");
        let refused = open(&world.app.url, &format!("/v1/realtime?{query}"), &[("authorization", &bearer)]).await;
        let (found, body) = refused.err().unwrap_or_else(|| panic!("{query} is refused"));
        assert_eq!((found, body["error"]["code"].as_str()), (status, Some(code)), "{query}: {body}");
    }
    let plain = world.caller.get(&format!("/v1/realtime?{known}")).await;
    assert_eq!((plain.status, plain.expect(426)["error"]["code"].as_str().unwrap()), (426, "upgrade_required"));
    assert_eq!(world.spent().await, 0);
    world.finish().await;
}

#[tokio::test]
async fn credits_that_run_out_end_the_session_after_the_response_they_paid() {
    let (world, mut upstream) = furnish(|settings| settings.realtime.input_tokens_hold = 10).await;
    // Worst case: 10 tokens heard at 11, 100 spoken at 13.
    let (account, caller) = world.another("modest", 1_410 + COST - 1).await;
    let bearer = format!("Bearer {}", caller.key);
    let mut caller = open(&world.app.url, &format!("/v1/realtime?model={VOICE}"), &[("authorization", &bearer)]).await.expect("a session");
    let mut server = upstream.session().await;
    caller.say(&create()).await;
    server.respond("resp_1", &usage()).await;
    for _ in 0..3 {
        caller.hear().await.expect("pieces");
    }
    assert_eq!(caller.expect("response.done").await["response"]["usage"]["cost_micros"], json!(COST));
    let error = caller.expect("error").await;
    assert_eq!(error["error"]["code"], json!("insufficient_credits"), "{error}");
    assert_eq!(caller.closed().await, 1008);
    assert_eq!(server.hear().await, None);
    assert_eq!(world.app.admin.settled_balance(&account).await.spent, COST);
    world.finish().await;
}

#[tokio::test]
async fn a_caller_that_hangs_up_is_charged_what_the_upstream_reports() {
    let (world, mut upstream) = furnish(|_| {}).await;
    let (mut caller, mut server) = connect(&world, &mut upstream).await;
    caller.say(&create()).await;
    server.expect("response.create").await;
    server.begin("resp_1").await;
    caller.expect("response.created").await;
    drop(caller);
    server.expect("response.cancel").await;
    server.done("resp_1", "cancelled", &usage()).await;
    let row = &rows(&world, 1).await[0];
    assert_eq!((&row["cost_micros"], &row["estimated"]), (&json!(COST), &json!(false)), "{row}");
    assert_eq!(world.spent().await, COST);
    world.finish().await;
}

#[tokio::test]
async fn a_caller_that_hangs_up_is_charged_what_was_produced_when_nothing_is_reported() {
    let (world, mut upstream) = furnish(|_| {}).await;
    let (mut caller, mut server) = connect(&world, &mut upstream).await;
    caller.say(&create()).await;
    server.expect("response.create").await;
    server.begin("resp_1").await;
    caller.expect("response.created").await;
    caller.hear().await.expect("words");
    caller.hear().await.expect("sound");
    drop(caller);
    server.expect("response.cancel").await;
    drop(server);
    let row = &rows(&world, 1).await[0];
    assert_eq!((&row["cost_micros"], &row["estimated"]), (&json!(DELIVERED), &json!(true)), "{row}");
    assert_eq!(world.spent().await, DELIVERED);
    world.finish().await;
}

#[tokio::test]
async fn an_upstream_that_breaks_off_costs_what_was_delivered_and_ends_with_an_error() {
    let (world, mut upstream) = furnish(|_| {}).await;
    let (mut caller, mut server) = connect(&world, &mut upstream).await;
    caller.say(&create()).await;
    server.expect("response.create").await;
    server.begin("resp_1").await;
    for _ in 0..3 {
        caller.hear().await.expect("pieces");
    }
    drop(server);
    let error = caller.expect("error").await;
    assert_eq!(error["error"]["code"], json!("upstream_error"), "{error}");
    assert_eq!(caller.closed().await, 1011);
    let row = &rows(&world, 1).await[0];
    assert_eq!((&row["cost_micros"], &row["estimated"]), (&json!(DELIVERED), &json!(true)), "{row}");
    // Between responses nothing was delivered, and nothing is charged.
    let (mut caller, server) = connect(&world, &mut upstream).await;
    drop(server);
    caller.expect("error").await;
    assert_eq!(caller.closed().await, 1011);
    assert_eq!(world.spent().await, DELIVERED);
    world.finish().await;
}

#[tokio::test]
async fn what_cannot_be_metered_is_not_relayed() {
    let (world, mut upstream) = furnish(|settings| settings.realtime.message_bytes_max = 65_536).await;
    let (mut caller, mut server) = connect(&world, &mut upstream).await;
    for odd in ["no json", r#"{"type":"session.update","session":{"model":"gpt-dear"}}"#] {
        caller.say_raw(Message::text(odd)).await.unwrap();
        assert_eq!(caller.expect("error").await["error"]["code"], json!("invalid_request"));
    }
    // The session goes on, one response at a time.
    caller.say(&create()).await;
    caller.say(&create()).await;
    let error = caller.expect("error").await;
    assert!(error["error"]["message"].as_str().unwrap().contains("a response runs"), "{error}");
    server.respond("resp_1", &usage()).await;
    for _ in 0..4 {
        caller.hear().await.expect("pieces");
    }
    let _ = caller.say_raw(Message::text(format!(r#"{{"type":"input_audio_buffer.append","audio":"{}"}}"#, "A".repeat(70_000)))).await;
    assert_eq!(caller.expect("error").await["error"]["code"], json!("request_too_large"));
    assert_eq!(caller.closed().await, 1009);
    assert_eq!(server.hear().await, None, "nothing of it reached the upstream");
    assert_eq!(world.spent().await, COST);
    world.finish().await;
}

#[tokio::test]
async fn transcripts_are_charged_at_once_or_with_the_response_that_runs() {
    let (world, mut upstream) = furnish(|_| {}).await;
    let (mut caller, mut server) = connect(&world, &mut upstream).await;
    let transcript = json!({
        "type": "conversation.item.input_audio_transcription.completed", "item_id": "item_1", "transcript": "Hi",
        "usage": {"type": "duration", "seconds": 1.2},
    });
    server.say(&transcript).await;
    let event = caller.expect("conversation.item.input_audio_transcription.completed").await;
    assert_eq!(event["usage"]["cost_micros"], json!(34), "two begun seconds: {event}");
    caller.say(&create()).await;
    server.expect("response.create").await;
    server.begin("resp_1").await;
    server.say(&transcript).await;
    server.done("resp_1", "completed", &usage()).await;
    for _ in 0..4 {
        caller.hear().await.expect("pieces");
    }
    assert_eq!(caller.expect("response.done").await["response"]["usage"]["cost_micros"], json!(COST + 34));
    caller.close().await;
    assert_eq!(world.spent().await, COST + 68);
    rows(&world, 2).await;
    world.finish().await;
}

#[tokio::test]
async fn a_session_holds_one_place_and_gives_it_back() {
    let (world, mut upstream) = furnish(|_| {}).await;
    let one = world.app.admin.caller_of(&world.account, &json!({"limits": {"concurrency": 1}})).await;
    let bearer = format!("Bearer {}", one.key);
    let path = format!("/v1/realtime?model={VOICE}");
    let caller = open(&world.app.url, &path, &[("authorization", &bearer)]).await.expect("a session");
    let mut server = upstream.session().await;
    let (status, body) = open(&world.app.url, &path, &[("authorization", &bearer)]).await.err().expect("a refusal");
    assert_eq!((status, body["error"]["limit"].as_str()), (429, Some("concurrency")), "{body}");
    caller.close().await;
    assert_eq!(server.hear().await, None);
    world.app.admin.settled_balance(&world.account).await;
    let again = open(&world.app.url, &path, &[("authorization", &bearer)]).await.expect("a session");
    again.close().await;
    world.finish().await;
}

#[tokio::test]
async fn a_node_that_stops_lets_the_response_end_and_closes_the_session() {
    let (mut world, mut upstream) = furnish(|_| {}).await;
    let (mut caller, mut server) = connect(&world, &mut upstream).await;
    caller.say(&create()).await;
    server.expect("response.create").await;
    server.begin("resp_1").await;
    caller.expect("response.created").await;
    let speak = async {
        caller.hear().await.expect("words");
        caller.hear().await.expect("sound");
        server.done("resp_1", "completed", &usage()).await;
        let done = caller.expect("response.done").await;
        assert_eq!(done["response"]["usage"]["cost_micros"], json!(COST));
        assert_eq!(caller.expect("error").await["error"]["code"], json!("draining"));
        assert_eq!(caller.closed().await, 1001);
    };
    let url = world.app.url.clone();
    let stops = async {
        world.app.restart().await;
    };
    let draining = async {
        // The response ends only after the node has begun to stop.
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        eventually("the node stops", || async {
            let ready = client.get(format!("{url}/readyz")).send().await.is_ok_and(|answer| answer.status() == 200);
            (!ready).then_some(())
        })
        .await;
        speak.await;
    };
    tokio::join!(stops, draining);
    assert_eq!(world.spent().await, COST);
    world.finish().await;
}

#[tokio::test]
async fn a_rate_limit_ends_the_session_after_the_response_it_allowed() {
    let (world, mut upstream) = furnish(|_| {}).await;
    let slow = world.app.admin.caller_of(&world.account, &json!({"limits": {"rpm": 1}})).await;
    let bearer = format!("Bearer {}", slow.key);
    let mut caller = open(&world.app.url, &format!("/v1/realtime?model={VOICE}"), &[("authorization", &bearer)]).await.expect("a session");
    let mut server = upstream.session().await;
    caller.say(&create()).await;
    server.respond("resp_1", &usage()).await;
    for _ in 0..4 {
        caller.hear().await.expect("the response");
    }
    let error = caller.expect("error").await;
    assert_eq!((&error["error"]["code"], &error["error"]["limit"]), (&json!("rate_limit_exceeded"), &json!("rpm")), "{error}");
    assert_eq!(caller.closed().await, 1008);
    assert_eq!(world.spent().await, COST);
    world.finish().await;
}

#[tokio::test]
async fn a_response_that_is_refused_or_fails_costs_nothing_and_the_session_goes_on() {
    let (world, mut upstream) = furnish(|_| {}).await;
    let (mut caller, mut server) = connect(&world, &mut upstream).await;
    caller.say(&create()).await;
    server.expect("response.create").await;
    server.say(&json!({"type": "error", "error": {"type": "invalid_request_error", "code": "x", "message": "no"}})).await;
    caller.expect("error").await;
    caller.say(&create()).await;
    server.expect("response.create").await;
    server.say(&json!({"type": "response.created", "response": {"id": "resp_1"}})).await;
    server.done("resp_1", "failed", &Value::Null).await;
    caller.expect("response.created").await;
    assert_eq!(caller.expect("response.done").await["response"]["usage"]["cost_micros"], json!(0));
    // Voice detection: a response that nobody asked for.
    server.begin("resp_2").await;
    server.done("resp_2", "completed", &usage()).await;
    for _ in 0..3 {
        caller.hear().await.expect("pieces");
    }
    assert_eq!(caller.expect("response.done").await["response"]["usage"]["cost_micros"], json!(COST));
    caller.close().await;
    let mut costs: Vec<i64> = rows(&world, 2).await.iter().map(|row| row["cost_micros"].as_i64().unwrap()).collect();
    costs.sort_unstable();
    assert_eq!(costs, [0, COST]);
    assert_eq!(world.spent().await, COST);
    world.finish().await;
}

#[tokio::test]
async fn sessions_end_when_they_are_long_or_their_caller_is_silent() {
    let adjust = |settings: &mut pixgate::config::Settings| {
        settings.realtime.ping_seconds = 1;
        settings.realtime.session_seconds_max = 60;
    };
    let (world, mut upstream) = with_voice(World::manual(adjust).await).await;
    let (mut caller, mut server) = connect(&world, &mut upstream).await;
    world.app.advance(std::time::Duration::from_secs(61));
    let error = caller.expect("error").await;
    assert!(error["error"]["message"].as_str().unwrap().contains("60 seconds"), "{error}");
    assert_eq!(caller.closed().await, 1000);
    assert_eq!(server.hear().await, None);
    // An end that is not read answers no pings.
    let (silent, mut server) = connect(&world, &mut upstream).await;
    assert_eq!(server.hear().await, None);
    drop(silent);
    assert_eq!(world.spent().await, 0);
    world.finish().await;
}

#[tokio::test]
async fn the_drain_limit_cuts_a_response_and_a_kill_loses_no_charge_and_makes_none() {
    let settings = [("SERVER__DRAIN_SECONDS", "1"), ("LEDGER__HOLD_JOURNAL_AFTER_MS", "0")];
    let mut process = TestProcess::start(&settings).await;
    let mut upstream = Realtime::start().await;
    let admin = process.admin.clone();
    admin.create_upstream("voice", upstream.base_url(), &json!({})).await;
    admin.create_model(&voice(VOICE, "gpt-realtime")).await;
    let account = admin.create_account("owner").await;
    admin.grant(&account, 1_000_000).await;
    let bearer = format!("Bearer {}", admin.caller_of(&account, &json!({})).await.key);
    let path = format!("/v1/realtime?model={VOICE}");

    // One response is charged, the next one runs when the node is killed.
    let headers = [("authorization", bearer.as_str()), ("x-request-id", "killed-1")];
    let mut caller = open(&admin.caller.base, &path, &headers).await.expect("a session");
    let mut server = upstream.session().await;
    caller.say(&create()).await;
    server.respond("resp_1", &usage()).await;
    for _ in 0..4 {
        caller.hear().await.expect("the response");
    }
    caller.say(&create()).await;
    server.expect("response.create").await;
    server.begin("resp_2").await;
    caller.expect("response.created").await;
    eventually("the open hold is journaled", || async {
        let uncharged = "SELECT count(*) FROM open_holds WHERE request_id = 'killed-1' AND id NOT IN (SELECT id FROM usage_records)";
        (process.database.number(uncharged).await == 1).then_some(())
    })
    .await;
    process.kill();
    process.spawn();
    process.ready().await;
    assert_eq!(admin.settled_balance(&account).await.spent, COST);
    let rows = admin.usage(&account).await;
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows.iter().any(|row| row.to_string().contains("\"unknown\"") && row["cost_micros"] == json!(0)), "{rows:?}");

    // A response that does not end in time is cut, and costs what was delivered.
    let headers = [("authorization", bearer.as_str()), ("x-request-id", "cut-1")];
    let mut caller = open(&admin.caller.base, &path, &headers).await.expect("a session");
    let mut server = upstream.session().await;
    caller.say(&create()).await;
    server.expect("response.create").await;
    server.begin("resp_3").await;
    for _ in 0..3 {
        caller.hear().await.expect("pieces");
    }
    process.terminate();
    assert_eq!(caller.expect("error").await["error"]["code"], json!("draining"));
    assert_eq!(caller.closed().await, 1001);
    assert_eq!(process.ended().await, 0);
    process.spawn();
    process.ready().await;
    assert_eq!(admin.settled_balance(&account).await.spent, COST + DELIVERED);
    let row = admin.usage_of(&account, "cut-1").await;
    assert_eq!((&row["cost_micros"], &row["estimated"]), (&json!(DELIVERED), &json!(true)), "{row}");
    process.finish().await;
}

#[tokio::test]
async fn what_a_rule_blocks_is_not_relayed_and_the_session_goes_on() {
    let (world, mut upstream) = furnish(|_| {}).await;
    let rules = "/admin/v1/screening-rules";
    let blocks = json!({"name": "no herons", "pattern": "her[o0]n", "action": "block", "enabled": true, "endpoints": ["realtime"]});
    world.app.admin.caller.post(rules, &blocks).await.expect(201);
    world.app.admin.caller.post(rules, &json!({"name": "storks", "pattern": "stork", "action": "flag", "enabled": true})).await.expect(201);
    let (mut caller, mut server) = connect(&world, &mut upstream).await;
    let item = |text: &str| {
        let content = json!([{"type": "input_text", "text": text}]);
        json!({"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}})
    };
    for blocked in [
        item("a heron"),
        json!({"type": "session.update", "session": {"instructions": "Draw a heron"}}),
        json!({"type": "response.create", "response": {"instructions": "her0n"}}),
    ] {
        caller.say(&blocked).await;
        let error = caller.expect("error").await;
        assert_eq!(error["error"]["code"], json!("content_screened"), "{error}");
        assert!(error["error"]["message"].as_str().unwrap().contains("'no herons'"), "{error}");
    }
    // What comes next is the first that the upstream hears.
    caller.say(&item("a stork")).await;
    assert_eq!(server.expect("conversation.item.create").await["item"]["content"][0]["text"], json!("a stork"));
    caller.say(&create()).await;
    server.respond("resp_1", &usage()).await;
    for event in ["response.created", "response.output_audio_transcript.delta", "response.output_audio.delta", "response.done"] {
        caller.expect(event).await;
    }
    caller.close().await;
    rows(&world, 1).await;
    let hits = world.app.admin.caller.list("/admin/v1/screening-hits").await;
    let seen: Vec<_> = hits.iter().map(|hit| (hit["rule_name"].as_str().unwrap(), hit["endpoint"].as_str().unwrap())).collect();
    assert_eq!(seen.iter().filter(|hit| **hit == ("no herons", "/v1/realtime")).count(), 3, "{seen:?}");
    assert_eq!(seen.iter().filter(|hit| **hit == ("storks", "/v1/realtime")).count(), 1, "{seen:?}");
    assert_eq!(world.spent().await, COST);
    world.finish().await;
}
