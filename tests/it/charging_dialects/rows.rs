//! The rows, each as what one cell does and asserts.

use serde_json::{Value, json};

use super::{ANSWER, Cell, QUESTION, entry};
use crate::support::{
    client::until,
    dialects::Spoken,
    upstream::{Gate, Reply},
    world::price,
};

impl Cell {
    pub(super) async fn success_reported(&self) {
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

    pub(super) async fn success_reported_in_a_stream(&self) {
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

    pub(super) async fn success_unreported(&self) {
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

    pub(super) async fn refused_by_us(&self) {
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

    pub(super) async fn failed_before_content(&self) {
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

    pub(super) async fn timed_out_before_content(&self) {
        let hasty = format!("{}-hasty", self.spoken.name());
        self.admin.patch_model(&self.model, &json!({"routes": [{"upstream": hasty, "upstream_model": self.model}]})).await;
        self.upstream.always(&self.model, Reply::hang());
        let answer = self.call().await;
        self.asked.refused(&answer, 504, "upstream_timeout");
        self.booked(&answer.request_id(), 0, false, "upstream_failed").await;
        self.spent(0).await;
    }

    pub(super) async fn broke_off_mid_stream(&self) {
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

    pub(super) async fn hung_up_and_reported(&self) {
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

    pub(super) async fn hung_up_and_unreported(&self) {
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

    pub(super) async fn retried_and_fell_back(&self) {
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

    pub(super) async fn polled(&self) {
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

    pub(super) async fn same_idempotency_key(&self) {
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

    pub(super) async fn above_the_hold(&self) {
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

    pub(super) async fn price_changed(&self) {
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
