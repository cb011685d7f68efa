//! The charging contract holds for every dialect: its rows × what callers ask × upstreams that speak the same or something else.
//!
//! [`charging`](super::charging) tells each row as a story in one dialect. Here a row is a function, a cell is a row for one pair, and all
//! cells run at once on one gateway, each with an account, a model and a script of the mock of its own.

use std::sync::Arc;

use pixgate::config::Settings;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::{
    admin::Admin,
    client::{Answer, Caller, eventually, until},
    dialects::{Asked, Spoken},
    process::TestProcess,
    upstream::{Gate, Reply, Upstream},
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

    async fn success_reported(&self) {
        let mut spent = 0;
        for tokens in [(10, 5), (0, 0), (1_000, 0)] {
            self.next([self.spoken.whole(ANSWER, Some(tokens))]);
            let answer = self.call().await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert_eq!((self.asked.cost(&answer), answer.number("x-pixgate-cost-micros")), (self.price(tokens), self.price(tokens)));
            let row = self.booked(&answer.request_id(), self.price(tokens), false, "completed").await;
            if self.asked.is_text() {
                assert_eq!((&row["input_tokens"], &row["output_tokens"]), (&json!(tokens.0), &json!(tokens.1)));
            }
            spent += self.price(tokens);
        }
        self.spent(spent).await;
    }

    async fn success_reported_in_a_stream(&self) {
        for tokens in [(20, 4), (0, 0)] {
            self.next([self.spoken.stream(ANSWER, Some(tokens))]);
            let stream = self.streamed(&[]).await;
            let request_id = stream.request_id();
            let told = self.asked.read(stream).await;
            assert!(told.ended_well && told.error.is_none() && !told.cut, "{told:?}");
            assert_eq!((told.text.as_str(), told.cost), (ANSWER, Some(self.price(tokens))));
            self.booked(&request_id, self.price(tokens), false, "completed").await;
        }
        self.spent(self.price((20, 4))).await;
    }

    async fn success_unreported(&self) {
        self.next([self.spoken.whole(ANSWER, None), self.spoken.close(self.spoken.say_all(self.quiet_opening(), ANSWER), ANSWER, None)]);
        let answer = self.call().await;
        answer.expect(200);
        let plain = self.booked_by_count(&answer.request_id(), ANSWER, "completed").await;
        assert_eq!(self.asked.cost(&answer), plain);
        let stream = self.streamed(&[]).await;
        let request_id = stream.request_id();
        let told = self.asked.read(stream).await;
        assert!(told.ended_well, "{told:?}");
        let streamed = self.booked_by_count(&request_id, ANSWER, "completed").await;
        assert_eq!(told.cost, Some(streamed));
        self.spent(plain + streamed).await;
    }

    /// The beginning of a stream that says nothing of tokens, which Anthropic's usually does.
    fn quiet_opening(&self) -> Reply {
        if self.spoken == Spoken::Messages { self.spoken.silent() } else { self.spoken.opening() }
    }

    async fn refused_by_us(&self) {
        let poor = self.admin.create_account(&format!("{}-poor", self.model)).await;
        let poor_caller = self.admin.caller_of(&poor, &json!({})).await;
        let limited = self.admin.caller_of(&self.account, &json!({"limits": {"rpm": 1}})).await;
        let bound = self.admin.caller_of(&self.account, &json!({"models": ["another"]})).await;
        self.upstream.always(&self.model, self.spoken.whole(ANSWER, Some((10, 5))));
        assert_eq!(self.call_as(&limited, &[], &self.model).await.status, 200);
        let spent = self.price((10, 5));
        self.spent(spent).await;

        let asked = self.asked;
        asked.refused(&self.call_as(&self.caller.with_key("px_live_wrong"), &[], &self.model).await, 401, "invalid_api_key");
        asked.refused(&self.call_as(&limited, &[], &self.model).await, 429, "rate_limit_exceeded");
        asked.refused(&self.call_as(&bound, &[], &self.model).await, 403, "model_not_allowed");
        asked.refused(&self.call_as(&self.caller, &[], "none").await, 404, "model_not_found");
        let broke = self.call_as(&poor_caller, &[], &self.model).await;
        asked.refused(&broke, 402, "insufficient_credits");
        assert_eq!(broke.header("x-should-retry"), Some("false"));
        let invalid = self.caller.post(&asked.path(&self.model, false), &asked.invalid(&self.model)).await;
        asked.refused(&invalid, 400, "invalid_request");

        assert_eq!(self.upstream.count(&self.model), 1, "the upstream is not called");
        self.spent(spent).await;
        assert_eq!(self.admin.settled_balance(&poor).await.spent, 0);
        assert_eq!(self.admin.ledger(&poor).await, Vec::<Value>::new(), "a refusal leaves no ledger rows");
        let rows = [self.admin.usage(&self.account).await, self.admin.usage(&poor).await].concat();
        assert_eq!(rows.iter().filter_map(|row| row["cost_micros"].as_i64()).sum::<i64>(), spent, "{rows:?}");
    }

    async fn failed_before_content(&self) {
        let spoken = self.spoken;
        let whole = [
            Reply::http(500, &[], &spoken.error()),
            Reply::ok(&spoken.error()),
            Reply::cut(),
            Reply::not_http(),
            Reply::garbage(),
            Reply::cut_inside_body(),
        ];
        for (number, reply) in whole.into_iter().enumerate() {
            self.upstream.always(&self.model, reply);
            let answer = self.call().await;
            assert_eq!(answer.status, 502, "reply {number}: {}", answer.text);
            self.asked.refused(&answer, 502, "upstream_error");
            self.booked(&answer.request_id(), 0, false, "upstream_failed").await;
        }
        if self.asked.is_text() {
            let mut early = vec![spoken.failure(spoken.silent()).end(), spoken.silent().then_cut(), spoken.silent().end()];
            early.push(spoken.opening().then_cut());
            for (number, reply) in early.into_iter().enumerate() {
                self.upstream.always(&self.model, reply);
                let body = self.asked.body(&self.model, QUESTION, true);
                let answer = self.caller.post(&self.asked.path(&self.model, true), &body).await;
                assert_eq!(answer.status, 502, "stream {number}: {}", answer.text);
                self.asked.refused(&answer, 502, "upstream_error");
                self.booked(&answer.request_id(), 0, false, "upstream_failed").await;
            }
        }
        self.spent(0).await;
        assert!(self.admin.ledger(&self.account).await.iter().all(|entry| entry["kind"] != "capture"), "nothing was captured");
    }

    async fn timed_out_before_content(&self) {
        let hasty = format!("{}-hasty", self.spoken.name());
        self.admin.patch_model(&self.model, &json!({"routes": [{"upstream": hasty, "upstream_model": self.model}]})).await;
        self.upstream.always(&self.model, Reply::hang());
        let answer = self.call().await;
        self.asked.refused(&answer, 504, "upstream_timeout");
        self.booked(&answer.request_id(), 0, false, "upstream_failed").await;
        self.spent(0).await;
    }

    async fn broke_off_mid_stream(&self) {
        let spoken = self.spoken;
        let said = || spoken.say_all(spoken.opening(), ANSWER);
        self.next([said().then_cut(), said().end(), spoken.failure(said()).end()]);
        let mut spent = 0;
        for _ in 0..3 {
            let stream = self.streamed(&[]).await;
            let request_id = stream.request_id();
            let told = self.asked.read(stream).await;
            assert!(told.error.is_some() && !told.ended_well && !told.cut, "never like a good end: {told:?}");
            assert_eq!(told.text, ANSWER);
            spent += self.booked_by_count(&request_id, ANSWER, "upstream_interrupted").await;
        }
        self.spent(spent).await;
    }

    async fn hung_up_and_reported(&self) {
        let spoken = self.spoken;
        let gate = Gate::closed();
        let begun = spoken.say(spoken.opening(), "one ").wait(&gate);
        self.next([spoken.close(spoken.say(begun, "two "), "one two ", Some((10, 5)))]);
        let mut stream = self.streamed(&[]).await;
        let request_id = stream.request_id();
        self.asked.until(&mut stream, "one ").await;
        drop(stream);
        gate.open();
        let row = self.admin.usage_of(&self.account, &request_id).await;
        // Whether the gateway learns of the hang-up before the end is the network's choice.
        assert!(["client_gone", "completed"].contains(&row["outcome"].as_str().expect("an outcome")), "{row}");
        assert_eq!((&row["cost_micros"], &row["estimated"]), (&json!(price(10, 5)), &json!(false)), "{row}");
        self.spent(price(10, 5)).await;
    }

    async fn hung_up_and_unreported(&self) {
        let spoken = self.spoken;
        self.next([spoken.say(spoken.say(spoken.opening(), "one "), "two ").then_hang()]);
        let mut stream = self.streamed(&[]).await;
        let request_id = stream.request_id();
        self.asked.until(&mut stream, "two ").await;
        drop(stream);
        until("the upstream is told to stop", || self.upstream.last(&self.model).was_closed()).await;
        let cost = self.booked_by_count(&request_id, "one two ", "client_gone").await;
        self.spent(cost).await;
    }

    async fn retried_and_fell_back(&self) {
        let (first, second) = (format!("{}-first", self.model), format!("{}-second", self.model));
        let patch = entry(self.asked, &self.model, &[(self.spoken.name(), &first), (self.spoken.name(), &second)]);
        self.admin.patch_model(&self.model, &json!({"routes": patch["routes"]})).await;
        let gate = Gate::closed();
        self.upstream.always(&first, Reply::http(503, &[], &self.spoken.error()));
        self.upstream.always(&second, self.spoken.whole(ANSWER, Some((10, 5))).after(&gate));
        let asked = async {
            until("the second route is tried", || self.upstream.count(&second) == 1).await;
            let held = self.admin.balance(&self.account).await.held;
            let one = if self.asked.is_text() { price(1, 100)..price(50, 100) } else { 1..201 };
            assert!(one.contains(&held), "one hold, not one an attempt: {held}");
            gate.open();
        };
        let (answer, ()) = tokio::join!(self.call(), asked);
        assert_eq!((answer.status, self.asked.cost(&answer)), (200, self.price((10, 5))), "{}", answer.text);
        let row = self.booked(&answer.request_id(), self.price((10, 5)), false, "completed").await;
        assert!(row["attempts"].as_i64().is_some_and(|attempts| attempts > 1), "{row}");
        self.spent(self.price((10, 5))).await;
    }

    async fn polled(&self) {
        self.next([self.spoken.whole(ANSWER, Some((10, 5)))]);
        let request_id = self.call().await.request_id();
        self.booked(&request_id, self.price((10, 5)), false, "completed").await;
        for _ in 0..3 {
            for path in [format!("/v1/generation?id={request_id}"), "/v1/usage".into(), "/v1/credits".into(), "/v1/key".into()] {
                self.caller.get(&path).await.expect(200);
            }
        }
        self.spent(self.price((10, 5))).await;
    }

    async fn same_idempotency_key(&self) {
        self.next([self.spoken.whole(ANSWER, Some((10, 5)))]);
        let key = [("idempotency-key", "order-17")];
        let first = self.call_as(&self.caller, &key, &self.model).await;
        assert_eq!(first.status, 200, "{}", first.text);
        for _ in 0..2 {
            let again = self.call_as(&self.caller, &key, &self.model).await;
            assert_eq!((again.status, &again.text), (200, &first.text));
        }
        assert_eq!(self.upstream.count(&self.model), 1);
        let mut spent = self.price((10, 5));
        self.booked(&first.request_id(), spent, false, "completed").await;
        if self.asked.is_text() {
            let key = [("idempotency-key", "order-18")];
            self.next([self.spoken.stream(ANSWER, Some((20, 4)))]);
            for _ in 0..2 {
                let told = self.asked.read(self.streamed(&key).await).await;
                assert!(told.ended_well, "{told:?}");
                assert_eq!((told.text.as_str(), told.cost), (ANSWER, Some(self.price((20, 4)))));
            }
            assert_eq!(self.upstream.count(&self.model), 2);
            spent += self.price((20, 4));
        }
        self.spent(spent).await;
    }

    async fn above_the_hold(&self) {
        self.admin.patch_model(&self.model, &json!({"max_output_tokens": 1})).await;
        let debtor = self.admin.create_account(&format!("{}-debtor", self.model)).await;
        self.admin.grant(&debtor, 5_000).await;
        let caller = self.admin.caller_of(&debtor, &json!({})).await;
        self.next([self.spoken.whole(ANSWER, Some((1_000, 1_000)))]);
        let answer = self.call_as(&caller, &[], &self.model).await;
        answer.expect(200);
        let cost = price(1_000, 1_000);
        assert_eq!(self.asked.cost(&answer), cost, "the caller sees the real cost");
        let row = self.admin.usage_of(&debtor, &answer.request_id()).await;
        assert_eq!((&row["cost_micros"], &row["estimated"]), (&json!(cost), &json!(false)), "{row}");
        let balance = self.admin.settled_balance(&debtor).await;
        assert_eq!((balance.available, balance.debt, balance.spent), (0, cost - 5_000, cost));
        self.asked.refused(&self.call_as(&caller, &[], &self.model).await, 402, "insufficient_credits");
        self.admin.grant(&debtor, 20_000).await;
        let balance = self.admin.settled_balance(&debtor).await;
        assert_eq!((balance.available, balance.debt), (20_000 - (cost - 5_000), 0), "the grant repays the debt first");
    }

    async fn price_changed(&self) {
        let gate = Gate::closed();
        self.next([self.spoken.whole(ANSWER, Some((10, 5))).after(&gate), self.spoken.whole(ANSWER, Some((10, 5)))]);
        let changed = async {
            until("the call runs", || self.upstream.count(&self.model) == 1).await;
            self.admin.patch_model(&self.model, &json!({"prices": self.asked.prices(10)})).await;
            gate.open();
        };
        let (before, ()) = tokio::join!(self.call(), changed);
        let old = self.price((10, 5));
        assert_eq!(self.asked.cost(&before), old, "{}", before.text);
        self.booked(&before.request_id(), old, false, "completed").await;
        let after = self.call().await;
        assert_eq!(self.asked.cost(&after), 10 * old, "the very next call pays the new price");
        self.spent(11 * old).await;
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
