//! The charging contract holds for every dialect: its rows × what callers ask × upstreams that speak the same or something else.
//!
//! [`charging`](super::charging) tells each row as a story in one dialect. Here a row is a function, a cell is a row for one pair, and all
//! cells run at once on one gateway, each with an account, a model and a script of the mock of its own.
//! Absent on purpose: tasks, of which there are none yet.

mod rows;

use std::sync::Arc;

use pixgate::config::Settings;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::{
    admin::Admin,
    client::{Answer, Caller, eventually},
    dialects::{Asked, Spoken},
    process::TestProcess,
    upstream::{Reply, Upstream},
    world::{CREDITS, World, count, model, price},
};

/// Every caller's own dialect, and each upstream's dialect from at least one other.
const PAIRS: [(Asked, Spoken); 18] = [
    (Asked::Chat, Spoken::Chat),
    (Asked::Chat, Spoken::Messages),
    (Asked::Chat, Spoken::Converse),
    (Asked::Responses, Spoken::Responses),
    (Asked::Responses, Spoken::Chat),
    (Asked::Responses, Spoken::Gemini),
    (Asked::Messages, Spoken::Messages),
    (Asked::Messages, Spoken::Responses),
    (Asked::Messages, Spoken::Converse),
    (Asked::Gemini, Spoken::Gemini),
    (Asked::Gemini, Spoken::Chat),
    (Asked::Completions, Spoken::Completions),
    (Asked::Embeddings, Spoken::Embeddings),
    (Asked::Embeddings, Spoken::GeminiEmbeddings),
    (Asked::Rerank, Spoken::Rerank),
    (Asked::Rerank, Spoken::CohereRerank),
    (Asked::Images, Spoken::Images),
    (Asked::Speech, Spoken::Speech),
];

/// Cells at work at the same time.
const RUNNING_MAX: usize = 16;
const QUESTION: &str = "How many words?";
const ANSWER: &str = "one two three ";

/// Rows of the contract. Those about streams, our own count and limits of output are for calls that are answered with text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    SuccessReported,
    SuccessReportedInAStream,
    SuccessUnreported,
    RefusedByUs,
    FailedBeforeContent,
    TimedOutBeforeContent,
    BrokeOffMidStream,
    HungUpAndReported,
    HungUpAndUnreported,
    RetriedAndFellBack,
    Polled,
    SameIdempotencyKey,
    AboveTheHold,
    PriceChanged,
}

impl Row {
    const ALL: [Self; 14] = [
        Self::SuccessReported,
        Self::SuccessReportedInAStream,
        Self::SuccessUnreported,
        Self::RefusedByUs,
        Self::FailedBeforeContent,
        Self::TimedOutBeforeContent,
        Self::BrokeOffMidStream,
        Self::HungUpAndReported,
        Self::HungUpAndUnreported,
        Self::RetriedAndFellBack,
        Self::Polled,
        Self::SameIdempotencyKey,
        Self::AboveTheHold,
        Self::PriceChanged,
    ];

    fn is_for(self, asked: Asked) -> bool {
        let any = [
            Self::SuccessReported,
            Self::RefusedByUs,
            Self::FailedBeforeContent,
            Self::TimedOutBeforeContent,
            Self::RetriedAndFellBack,
            Self::Polled,
            Self::SameIdempotencyKey,
            Self::PriceChanged,
        ];
        asked.is_text() || any.contains(&self)
    }

    async fn check(self, cell: &Cell) {
        match self {
            Self::SuccessReported => cell.success_reported().await,
            Self::SuccessReportedInAStream => cell.success_reported_in_a_stream().await,
            Self::SuccessUnreported => cell.success_unreported().await,
            Self::RefusedByUs => cell.refused_by_us().await,
            Self::FailedBeforeContent => cell.failed_before_content().await,
            Self::TimedOutBeforeContent => cell.timed_out_before_content().await,
            Self::BrokeOffMidStream => cell.broke_off_mid_stream().await,
            Self::HungUpAndReported => cell.hung_up_and_reported().await,
            Self::HungUpAndUnreported => cell.hung_up_and_unreported().await,
            Self::RetriedAndFellBack => cell.retried_and_fell_back().await,
            Self::Polled => cell.polled().await,
            Self::SameIdempotencyKey => cell.same_idempotency_key().await,
            Self::AboveTheHold => cell.above_the_hold().await,
            Self::PriceChanged => cell.price_changed().await,
        }
    }
}

/// One row for one pair, with an account, a caller and a model of its own.
struct Cell {
    admin: Admin,
    upstream: Upstream,
    asked: Asked,
    spoken: Spoken,
    /// Also what the upstream calls it.
    model: String,
    account: String,
    caller: Caller,
}

fn entry(asked: Asked, id: &str, routes: &[(String, &str)]) -> Value {
    let mut entry = model(id, id);
    entry["kind"] = json!(asked.kind());
    entry["prices"] = asked.prices(1);
    let routes = routes.iter().enumerate();
    entry["routes"] =
        routes.map(|(priority, (upstream, name))| json!({"upstream": upstream, "upstream_model": name, "priority": priority})).collect();
    entry
}

impl Cell {
    async fn new(admin: &Admin, upstream: &Upstream, (asked, spoken): (Asked, Spoken), name: &str) -> Self {
        admin.create_model(&entry(asked, name, &[(spoken.name(), name)])).await;
        let account = admin.create_account(name).await;
        admin.grant(&account, CREDITS).await;
        let caller = admin.caller_of(&account, &json!({})).await;
        Self { admin: admin.clone(), upstream: upstream.clone(), asked, spoken, model: name.to_owned(), account, caller }
    }

    async fn call_as(&self, caller: &Caller, headers: &[(&str, &str)], model: &str) -> Answer {
        caller.post_with(&self.asked.path(model, false), headers, &self.asked.body(model, QUESTION, false)).await
    }

    async fn call(&self) -> Answer {
        self.call_as(&self.caller, &[], &self.model).await
    }

    async fn streamed(&self, headers: &[(&str, &str)]) -> crate::support::client::Stream {
        let body = self.asked.body(&self.model, QUESTION, true);
        self.caller.stream_with(&self.asked.path(&self.model, true), headers, &body).await
    }

    fn next(&self, replies: impl IntoIterator<Item = Reply>) {
        self.upstream.next(&self.model, replies);
    }

    fn price(&self, tokens: (u64, u64)) -> i64 {
        self.asked.cost_of(QUESTION, tokens)
    }

    /// Asserts that nothing is held and what the account has spent in all.
    async fn spent(&self, micros: i64) {
        let balance = self.admin.settled_balance(&self.account).await;
        assert_eq!((balance.spent, balance.debt, balance.available), (micros, 0, CREDITS - micros));
    }

    /// Asserts cost, mark and outcome of a call's usage row; answers the row.
    async fn booked(&self, request_id: &str, cost: i64, estimated: bool, outcome: &str) -> Value {
        let row = self.admin.usage_of(&self.account, request_id).await;
        assert_eq!((&row["cost_micros"], &row["estimated"], &row["outcome"]), (&json!(cost), &json!(estimated), &json!(outcome)), "{row}");
        row
    }

    /// The same where the cost follows from our own count of what was written; answers the cost.
    async fn booked_by_count(&self, request_id: &str, said: &str, outcome: &str) -> i64 {
        let row = self.admin.usage_of(&self.account, request_id).await;
        let (input, output) = (row["input_tokens"].as_i64().expect("a count"), row["output_tokens"].as_i64().expect("a count"));
        assert_eq!(output, count(said), "{row}");
        assert!((count(QUESTION)..count(QUESTION) + 20).contains(&input), "{row}");
        let cost = price(input, output);
        self.booked(request_id, cost, true, outcome).await;
        cost
    }
}

/// Every dialect's upstream on the mock, and one of each that does not wait long.
async fn furnish(admin: &Admin, upstream: &Upstream) {
    for (number, (_, spoken)) in PAIRS.into_iter().enumerate() {
        if PAIRS[..number].iter().any(|(_, earlier)| *earlier == spoken) {
            continue;
        }
        let mut fields = spoken.upstream(&upstream.base_url(), &upstream.host_url());
        admin.create_upstream(&spoken.name(), "", &fields).await;
        fields["timeouts"] = json!({"first_byte_ms": 300});
        admin.create_upstream(&format!("{}-hasty", spoken.name()), "", &fields).await;
    }
}

#[tokio::test]
async fn the_charging_contract_holds_for_every_dialect() {
    let patient = |settings: &mut Settings| {
        settings.upstream.breaker_failures = 100_000;
        settings.upstream.client_gone_drain_seconds = 3;
    };
    let world = World::with(patient).await;
    furnish(&world.app.admin, &world.upstream).await;
    let permits = Arc::new(Semaphore::new(RUNNING_MAX));
    let mut cells = Vec::new();
    for row in Row::ALL {
        for pair in PAIRS.into_iter().filter(|(asked, _)| row.is_for(*asked)) {
            let name = format!("{row:?}-{:?}-{:?}", pair.0, pair.1).to_ascii_lowercase();
            let (admin, upstream, permits) = (world.app.admin.clone(), world.upstream.clone(), permits.clone());
            let task = {
                let name = name.clone();
                tokio::spawn(async move {
                    let _permit = permits.acquire().await.expect("an open semaphore");
                    row.check(&Cell::new(&admin, &upstream, pair, &name).await).await;
                })
            };
            cells.push((name, task));
        }
    }
    assert!(cells.len() > 200, "{}", cells.len());
    let mut failed = Vec::new();
    for (name, task) in cells {
        if let Err(error) = task.await {
            let said = error.into_panic();
            let said = said.downcast_ref::<String>().map(String::as_str).or_else(|| said.downcast_ref::<&str>().copied());
            failed.push(format!("{name}: {}", said.unwrap_or("no message")));
        }
    }
    assert!(failed.is_empty(), "cells that failed:\n{}", failed.join("\n"));
    world.finish().await;
}

#[tokio::test]
async fn a_node_that_dies_charges_open_calls_of_no_dialect() {
    let mut process = TestProcess::start(&[("LEDGER__HOLD_JOURNAL_AFTER_MS", "0")]).await;
    let upstream = Upstream::start().await;
    let admin = process.admin.clone();
    furnish(&admin, &upstream).await;
    let mut calls = Vec::new();
    for (number, pair) in PAIRS.into_iter().enumerate() {
        let cell = Cell::new(&admin, &upstream, pair, &format!("model-{number}")).await;
        upstream.always(&cell.model, Reply::hang());
        let request = cell.caller.request(reqwest::Method::POST, &pair.0.path(&cell.model, false));
        let request = request.json(&pair.0.body(&cell.model, QUESTION, false)).header("x-request-id", format!("lost-call-{number}"));
        calls.push((cell, tokio::spawn(Answer::read(request))));
    }
    let open = i64::try_from(calls.len()).expect("a small count");
    eventually("the open holds are journaled", || async {
        (process.database.number("SELECT count(*) FROM open_holds WHERE request_id LIKE 'lost-call-%'").await == open).then_some(())
    })
    .await;
    process.kill();
    process.spawn();
    process.ready().await;
    for (number, (cell, call)) in calls.into_iter().enumerate() {
        assert!(call.await.expect("no panic").is_err(), "{}: the call got no answer", cell.model);
        cell.booked(&format!("lost-call-{number}"), 0, false, "unknown").await;
        cell.spent(0).await;
    }
    process.finish().await;
}
