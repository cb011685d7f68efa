//! Batches of the journal: repeated, fenced, late; and what is remembered of the calls in them.

use bytes::Bytes;

use super::*;
use crate::store::{
    idempotency::{self, IdempotencyRecord},
    ledger::LedgerFailure,
    retention, sql, usage,
};

#[tokio::test]
async fn a_repeated_batch_is_written_once() {
    with_db(async |db| {
        give(db, "g1", 1_000).await;
        take(db, "l1", 1_000, 1_000).await.unwrap();
        // More than one chunk of every size.
        let captures: Vec<_> = (0..171).map(|index| capture(&format!("req_{index:03}"), "l1", "g1", 2)).collect();
        let opened = [hold("req_900", "l1", 5)];
        let first = Batch { captures: &captures[..100], opened: &opened, ..batch() };
        commit(db, first).await;
        let whole = Batch { captures: &captures, opened: &opened, ..batch() };
        let refused = ledger::commit(db, &whole).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
        assert_eq!(balance(db).await, (800, 200, 0));
        for _ in 0..2 {
            commit(db, Batch { captures: &captures, opened: &opened, retry: true, ..batch() }).await;
        }
        assert_eq!(balance(db).await, (1_000 - 342, 342, 0));
        assert_eq!(usage::totals(db, ACCOUNT).await.unwrap().calls, 171);
        assert_consistent(db).await;
    })
    .await;
}

#[tokio::test]
async fn a_fenced_node_commits_nothing_and_its_calls_are_unknown() {
    with_db(async |db| {
        give(db, "g1", 100).await;
        take(db, "l1", 50, 50).await.unwrap();
        let opened = [hold("req_1", "l1", 20), hold("req_2", "l1", 10)];
        commit(db, Batch { captures: &[capture("req_0", "l1", "g1", 5)], opened: &opened, ..batch() }).await;

        assert!(nodes::heartbeat(db, NODE, NOW + 10).await.unwrap());
        assert_eq!(nodes::expired_nodes(db, NOW + 9).await.unwrap(), Vec::<String>::new());
        assert_eq!(nodes::expired_nodes(db, NOW + 10).await.unwrap(), [NODE]);
        let reclaimed = nodes::fence_by_name(db, "a", "node_a2", NOW + 11).await.unwrap();
        assert_eq!(reclaimed, nodes::Reclaimed { leases: 1, unknown_calls: 2 });
        assert_eq!(nodes::fence(db, NODE, NOW + 12).await.unwrap(), nodes::Reclaimed::default());
        assert!(!nodes::heartbeat(db, NODE, NOW + 99).await.unwrap());
        assert_eq!(nodes::expired_nodes(db, NOW + 99).await.unwrap(), Vec::<String>::new());
        assert_eq!(balance(db).await, (95, 5, 0));
        let unknown = usage::get_by_any_id(db, ACCOUNT, "req_1").await.unwrap().unwrap();
        assert_eq!((unknown.outcome, unknown.status, unknown.cost_micros), (Outcome::Unknown, 500, 0));
        assert_consistent(db).await;

        let late = [capture("req_1", "l1", "g1", 15), capture("req_0", "l1", "g1", 5)];
        assert_eq!(ledger::commit(db, &Batch { captures: &late, ..batch() }).await.unwrap(), Commit::Fenced);
        assert_eq!(take(db, "l2", 1, 1).await.unwrap_err(), LedgerFailure::Fenced);
        assert_eq!(balance(db).await, (95, 5, 0));
        for _ in 0..2 {
            ledger::commit_late(db, &late, NOW + 13).await.unwrap();
            assert_eq!(balance(db).await, (80, 20, 0));
        }
        assert_eq!(usage::get_by_any_id(db, ACCOUNT, "req_1").await.unwrap().unwrap(), late[0].usage);
        assert_consistent(db).await;
    })
    .await;
}

#[tokio::test]
async fn an_answer_is_kept_with_its_call() {
    with_db(async |db| {
        give(db, "g1", 100).await;
        take(db, "l1", 50, 50).await.unwrap();
        let record = |usage_id: &str, created_at| IdempotencyRecord {
            account_id: ACCOUNT.to_owned(),
            idempotency_key: "once".to_owned(),
            request_hash: "ab".to_owned(),
            usage_id: usage_id.to_owned(),
            status: 200,
            content_type: "application/json".to_owned(),
            headers: vec![("x-request-id".to_owned(), usage_id.to_owned())],
            body: Bytes::from_static(b"{}\xff"),
            created_at,
            expires_at: created_at + 100,
        };
        let write = async |id: &str, created_at| {
            let call = Capture { idempotency: Some(record(id, created_at)), ..Capture::clone(&capture(id, "l1", "g1", 1)) };
            commit(db, Batch { captures: &[Arc::new(call)], ..batch() }).await;
        };
        write("req_1", NOW).await;
        write("req_2", NOW + 50).await;
        assert_eq!(idempotency::find(db, ACCOUNT, "once", NOW + 99).await.unwrap(), Some(record("req_1", NOW)));
        assert_eq!(idempotency::find(db, ACCOUNT, "once", NOW + 100).await.unwrap(), None);
        write("req_3", NOW + 100).await;
        assert_eq!(idempotency::find(db, ACCOUNT, "once", NOW + 101).await.unwrap(), Some(record("req_3", NOW + 100)));
        assert_eq!(idempotency::find(db, "acct_2", "once", NOW + 101).await.unwrap(), None);
        assert_eq!(idempotency::delete_expired(db, NOW + 199, 10).await.unwrap(), 0);
        assert_eq!(idempotency::delete_expired(db, NOW + 200, 10).await.unwrap(), 1);
        assert_consistent(db).await;
    })
    .await;
}

#[tokio::test]
async fn usage_is_found_by_every_id_and_listed_newest_first() {
    with_db(async |db| {
        let id = |second: i64| crate::domain::id::prefixed("req", NOW + second * SECOND, [7; 10]);
        let call = |second: i64, model: &str, key_id: &str| {
            let mut usage = UsageRecord { id: id(second), model: model.to_owned(), key_id: key_id.to_owned(), ..usage_record("", 10) };
            usage.request_id = format!("mine-{second}");
            usage.started_at = NOW + second * SECOND;
            usage.quantities.images = 2;
            usage.answer_id = Some(format!("chatcmpl-{second}"));
            Arc::new(Capture { usage, allocations: vec![], overage: 10, idempotency: None })
        };
        give(db, "g1", 100).await;
        let calls = [call(0, "a", "key_1"), call(100, "b", "key_1"), call(200, "a", "key_2")];
        commit(db, Batch { captures: &calls, ..batch() }).await;
        for known in [id(100), "mine-100".to_owned(), "chatcmpl-100".to_owned()] {
            assert_eq!(usage::get_by_any_id(db, ACCOUNT, &known).await.unwrap().as_ref(), Some(&calls[1].usage));
            assert_eq!(usage::get_by_any_id(db, "acct_2", &known).await.unwrap(), None);
        }
        let seconds = async |filter: usage::Filter<'_>| -> Vec<i64> {
            let filter = usage::Filter { limit: filter.limit.max(10), ..filter };
            usage::list(db, &filter).await.unwrap().iter().map(|record| (record.started_at - NOW) / SECOND).collect()
        };
        let all = usage::Filter { account_id: Some(ACCOUNT), ..usage::Filter::default() };
        assert_eq!(seconds(all).await, [200, 100, 0]);
        assert_eq!(seconds(usage::Filter { after: Some(&id(200)), ..all }).await, [100, 0]);
        assert_eq!(seconds(usage::Filter { model: Some("a"), ..all }).await, [200, 0]);
        assert_eq!(seconds(usage::Filter { key_id: Some("key_1"), ..usage::Filter::default() }).await, [100, 0]);
        assert_eq!(seconds(usage::Filter { from: Some(NOW + 100 * SECOND), to: Some(NOW + 200 * SECOND), ..all }).await, [100]);
        assert_eq!(usage::sum_cost(db, ACCOUNT, "key_1", NOW).await.unwrap(), 20);
        assert_eq!(usage::sum_cost(db, ACCOUNT, "key_1", NOW + SECOND).await.unwrap(), 10);
        let totals = usage::totals(db, ACCOUNT).await.unwrap();
        assert_eq!((totals.calls, totals.cost_micros, totals.input_tokens, totals.output_tokens), (3, 30, 30, 15));
        assert_consistent(db).await;
    })
    .await;
}

#[tokio::test]
async fn old_calls_lose_their_details_once_and_keep_their_cost() {
    with_db(async |db| {
        let id = |second: i64| crate::domain::id::prefixed("req", NOW + second * SECOND, [7; 10]);
        let call = |second: i64| {
            let mut usage = UsageRecord { id: id(second), ..usage_record("", 10) };
            (usage.request_id, usage.started_at) = (format!("mine-{second}"), NOW + second * SECOND);
            usage.quantities.images = 2;
            Arc::new(Capture { usage, allocations: vec![], overage: 10, idempotency: None })
        };
        give(db, "g1", 100).await;
        let calls = [call(0), call(10), call(20), call(30)];
        commit(db, Batch { captures: &calls, ..batch() }).await;
        let before = NOW + 30 * SECOND;
        for stripped in [2, 1, 0] {
            assert_eq!(retention::strip_usage(db, before, 2).await.unwrap(), stripped);
        }
        let list = usage::list(db, &usage::Filter { limit: 10, ..usage::Filter::default() }).await.unwrap();
        assert_eq!(list.iter().map(|record| record.model.as_str()).collect::<Vec<_>>(), ["pixgate/echo", "", "", ""]);
        let bare = UsageRecord {
            request_id: id(0),
            endpoint: String::new(),
            model: String::new(),
            upstream: String::new(),
            upstream_model: String::new(),
            quantities: Quantities::default(),
            answer_id: None,
            first_byte_at: None,
            ..calls[0].usage.clone()
        };
        assert_eq!((&list[3], &list[0]), (&bare, &calls[3].usage));
        assert_eq!(usage::totals(db, ACCOUNT).await.unwrap().cost_micros, 40);
        assert_consistent(db).await;

        // The sweep's place is kept beside its counts, whichever comes first.
        for rows in [3, 0] {
            retention::note(db, NOW + rows, &[("usage", u64::try_from(rows).unwrap()), ("files", 0)]).await.unwrap();
        }
        assert_eq!(retention::strip_usage(db, before, 2).await.unwrap(), 0);
        let swept = retention::all(db).await.unwrap();
        let expected = retention::Swept { at: NOW, rows_at: Some(NOW + 3), rows_last: 3, rows_total: 3 };
        assert_eq!((swept["usage"], swept["files"].rows_at), (expected, None));
    })
    .await;
}

#[tokio::test]
async fn a_locked_database_is_an_unavailable_one() {
    with_options(async |db, options| {
        give(db, "g1", 100).await;
        let impatient = Options { busy_timeout_ms: 50, acquire_timeout_ms: 500, ..options.clone() };
        let second = Db::open(&impatient).await.unwrap();
        let holder = db.begin().await.unwrap();
        sql::execute(&holder, "UPDATE wallets SET debt_micros = 0", []).await.unwrap();
        let refused = ledger::grant(&second, ACCOUNT, new_grant("g2", 1), NOW).await.unwrap_err();
        assert!(matches!(&refused, LedgerFailure::Store(error) if error.is_unavailable()), "{refused:?}");
        second.ping().await.unwrap();
        holder.rollback().await.unwrap();
        ledger::grant(&second, ACCOUNT, new_grant("g2", 1), NOW).await.unwrap();
        second.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_absent_database_is_named() {
    let nowhere = Options { acquire_timeout_ms: 300, ..options("postgres://someone:secret@127.0.0.1:9/pixgate".to_owned()) };
    let error = Db::open(&nowhere).await.unwrap_err();
    assert!(error.is_unavailable());
    assert!(error.to_string().contains("127.0.0.1:9/pixgate"), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
    let memory = Db::open(&options("sqlite::memory:".to_owned())).await.unwrap_err();
    assert!(memory.to_string().contains("has to be a file"), "{memory}");
}
