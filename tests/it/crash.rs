//! kill -9 under load, again and again: after each restart every balance adds up, every answer that a client got completely is
//! charged exactly once, and so is every call that a client repeats under one Idempotency-Key until it is answered.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{
    client::{Answer, Caller, chat, streamed},
    process::TestProcess,
    upstream::Upstream,
    world::{MODEL, UPSTREAM_MODEL, model, price},
};

const KILLS: u64 = 25;
const CLIENTS: usize = 12;
const GRANTED: i64 = 1_000_000_000;

/// Answers that clients got completely: request id -> cost as the caller saw it.
type Answered = Arc<Mutex<HashMap<String, i64>>>;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// Calls, plain and streamed in turns, until told to stop; a broken connection is no fault here.
fn client(caller: Caller, number: usize, stop: Arc<AtomicBool>, answered: Answered) -> JoinHandle<()> {
    tokio::spawn(async move {
        for turn in number.. {
            if stop.load(Ordering::SeqCst) {
                return;
            }
            let done = if turn % 2 == 0 { plain(&caller).await } else { stream(&caller).await };
            match done {
                Some((request_id, cost)) => {
                    let earlier = answered.lock().unwrap().insert(request_id.clone(), cost);
                    assert_eq!(earlier, None, "{request_id} was given twice");
                }
                // The server is gone: do not spin until it is back.
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    })
}

/// Makes each of its calls until it is answered, under one Idempotency-Key, plain and streamed in turns. Answers with how many it made.
fn retrying_client(caller: Caller, number: usize, stop: Arc<AtomicBool>) -> JoinHandle<i64> {
    tokio::spawn(async move {
        let mut made = 0;
        while !stop.load(Ordering::SeqCst) {
            let body = if made % 2 == 0 { chat(MODEL, "Hi") } else { streamed(chat(MODEL, "Hi")) };
            loop {
                let request = caller.request(Method::POST, "/v1/chat/completions").header("idempotency-key", format!("{number}-{made}"));
                if let Ok(answer) = Answer::read(request.json(&body)).await {
                    assert_eq!(answer.status, 200, "{}", answer.text);
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            made += 1;
        }
        made
    })
}

async fn plain(caller: &Caller) -> Option<(String, i64)> {
    let request = caller.request(Method::POST, "/v1/chat/completions").json(&chat(MODEL, "Hi"));
    let answer = Answer::read(request).await.ok()?;
    answer.expect(200);
    Some((answer.request_id(), answer.cost()))
}

async fn stream(caller: &Caller) -> Option<(String, i64)> {
    let request = caller.request(Method::POST, "/v1/chat/completions").json(&streamed(chat(MODEL, "Hi")));
    let answer = Answer::read(request).await.ok()?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let events: Vec<&str> = answer.text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(events.last(), Some(&"[DONE]"), "a whole stream ends well: {}", answer.text);
    let last: Value = serde_json::from_str(events[events.len() - 2]).expect("JSON");
    Some((answer.request_id(), last["usage"]["cost_micros"].as_i64().expect("the cost")))
}

/// Every answer in `answered` stands in the usage of `account` exactly once, with the cost that the caller saw, and the balance is
/// what the rows say.
async fn check(process: &TestProcess, account: &str, answered: &HashMap<String, i64>) {
    let mut rows: HashMap<String, Vec<i64>> = HashMap::new();
    for row in process.admin.usage(account).await {
        let request_id = row["request_id"].as_str().expect("request_id").to_owned();
        rows.entry(request_id).or_default().push(row["cost_micros"].as_i64().expect("cost_micros"));
    }
    for (request_id, cost) in answered {
        assert_eq!(rows.get(request_id), Some(&vec![*cost]), "the answer {request_id} is charged exactly once");
    }
    let balance = process.admin.settled_balance(account).await;
    let charged: i64 = rows.values().flatten().sum();
    assert_eq!((balance.spent, balance.available, balance.debt), (charged, GRANTED - charged, 0), "{balance:?}");
}

#[tokio::test]
async fn killed_25_times_under_load_nothing_is_lost_and_nothing_is_charged_twice() {
    let mut dice = Dice(0x5eed_1234_5678_9abc);
    let mut process = TestProcess::start(&[("LEDGER__HOLD_JOURNAL_AFTER_MS", "5")]).await;
    let upstream = Upstream::start().await;
    let admin = process.admin.clone();
    admin.create_upstream("mock", &upstream.base_url(), &json!({})).await;
    admin.create_model(&model(MODEL, UPSTREAM_MODEL)).await;
    let veteran = admin.create_account("veteran").await;
    admin.grant(&veteran, GRANTED).await;
    let veteran_caller = admin.caller_of(&veteran, &json!({})).await;
    let all = Answered::default();
    let stubborn = admin.create_account("stubborn").await;
    admin.grant(&stubborn, GRANTED).await;
    let (stubborn_caller, stop_stubborn) = (admin.caller_of(&stubborn, &json!({})).await, Arc::new(AtomicBool::new(false)));
    let retrying: Vec<_> = (0..3).map(|number| retrying_client(stubborn_caller.clone(), number, stop_stubborn.clone())).collect();

    for round in 0..KILLS {
        let account = admin.create_account(&format!("round-{round}")).await;
        admin.grant(&account, GRANTED).await;
        let caller = admin.caller_of(&account, &json!({})).await;
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Answered::default());
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| match number % 3 {
                0 => client(veteran_caller.clone(), number, stop.clone(), all.clone()),
                _ => client(caller.clone(), number, stop.clone(), answered.clone()),
            })
            .collect();
        // The moment of death, not a wait for anything.
        tokio::time::sleep(Duration::from_micros(dice.below(700_000))).await;
        process.kill();
        stop.store(true, Ordering::SeqCst);
        for client in clients {
            client.await.expect("no client saw a wrong answer");
        }
        process.spawn();
        process.ready().await;
        admin.check_ledger().await;
        let answered = answered.lock().unwrap().clone();
        check(&process, &account, &answered).await;
    }
    let answered = all.lock().unwrap().clone();
    assert!(answered.len() > usize::try_from(KILLS).unwrap(), "there was load: {}", answered.len());
    check(&process, &veteran, &answered).await;

    stop_stubborn.store(true, Ordering::SeqCst);
    let mut made = 0;
    for client in retrying {
        made += client.await.expect("no client saw a wrong answer");
    }
    let spent = admin.settled_balance(&stubborn).await.spent;
    eprintln!("{KILLS} kills: {} answers of one account, {made} repeated calls of another, all charged once", answered.len());
    assert_eq!(spent, made * price(10, 5), "{made} calls, each repeated under its Idempotency-Key until it was answered, are charged once");
    process.finish().await;
}
