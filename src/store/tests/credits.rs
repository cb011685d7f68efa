//! Grants, leases, folding, debt, expiry, and the ledger's check of itself.

use super::*;
use crate::{
    domain::{
        ledger::{LedgerError, TransferKind},
        purse::Purse,
    },
    store::{ledger::LeaseClose, ledger::LedgerFailure, sql, usage},
};

#[tokio::test]
async fn a_grant_is_made_once() {
    with_db(async |db| {
        let first = ledger::grant(db, ACCOUNT, new_grant("g1", 100), NOW).await.unwrap();
        assert!(!first.replayed);
        let again = NewGrant { id: "g2".to_owned(), ..new_grant("g1", 100) };
        let replayed = ledger::grant(db, ACCOUNT, again, NOW + 1).await.unwrap();
        assert_eq!(replayed, ledger::GrantRow { replayed: true, ..first });
        let other = NewGrant { request_hash: "other".to_owned(), ..new_grant("g1", 200) };
        let refused = ledger::grant(db, ACCOUNT, other, NOW).await;
        assert!(matches!(refused, Err(LedgerFailure::Store(StoreError::Conflict(_)))), "{refused:?}");
        let nobody = ledger::grant(db, "acct_none", new_grant("g3", 1), NOW).await;
        assert!(matches!(nobody, Err(LedgerFailure::Store(StoreError::NotFound(_)))), "{nobody:?}");
        let nothing = ledger::grant(db, ACCOUNT, new_grant("g4", 0), NOW).await;
        assert_eq!(nothing.unwrap_err(), LedgerFailure::Refused(LedgerError::NotPositive));
        assert_eq!(balance(db).await, (100, 0, 0));
        assert_eq!(ledger::grants_of(db, ACCOUNT).await.unwrap().len(), 1);
        assert_consistent(db).await;
    })
    .await;
}

#[tokio::test]
async fn of_sixteen_grants_at_once_one_is_made() {
    with_db(async |db| {
        let attempts = (0..16).map(|index| {
            let new = NewGrant { id: format!("g{index}"), ..new_grant("raced", 100) };
            ledger::grant(db, ACCOUNT, new, NOW)
        });
        let rows = futures_util::future::try_join_all(attempts).await.unwrap();
        assert_eq!(rows.iter().filter(|row| !row.replayed).count(), 1);
        assert!(rows.iter().all(|row| row.grant.id == rows[0].grant.id));
        assert_eq!(balance(db).await, (100, 0, 0));
        assert_consistent(db).await;
    })
    .await;
}

#[tokio::test]
async fn what_has_run_out_counts_as_expired_before_it_is_booked() {
    with_db(async |db| {
        let new = NewGrant { expires_at: Some(NOW + 10), ..new_grant("g1", 100) };
        ledger::grant(db, ACCOUNT, new, NOW).await.unwrap();
        take(db, "l1", 10, 40).await.unwrap();
        let at = async |now| {
            let balance = ledger::balance_at(db, ACCOUNT, now).await.unwrap().balance;
            (balance.available_micros, balance.expired_micros)
        };
        assert_eq!(at(NOW + 9).await, (100, 0));
        // What a node holds in its lease runs out with the lease.
        assert_eq!(at(NOW + 10).await, (40, 60));
        assert_eq!(balance(db).await, (100, 0, 0));
        ledger::expire_grants(db, NOW + 10, 10).await.unwrap();
        assert_eq!(at(NOW + 10).await, (40, 60));
    })
    .await;
}

#[tokio::test]
async fn a_lease_is_taken_captured_folded_and_closed() {
    with_db(async |db| {
        give(db, "g1", 100).await;
        let granted = take(db, "l1", 10, 40).await.unwrap();
        assert_eq!(granted, LeaseGrant { slices: vec![slice("g1", 40)], left_available: 60, debt: 0 });
        assert_eq!(balance(db).await, (100, 0, 0));

        let opened = [hold("req_1", "l1", 15), hold("req_2", "l1", 5)];
        commit(db, Batch { opened: &opened, ..batch() }).await;
        let position = ledger::balance(db, ACCOUNT).await.unwrap().open_leases.remove(0);
        assert_eq!((position.reserved, position.held, position.node_id.as_str()), (40, 20, NODE));

        let closed = ["req_1".to_owned(), "req_2".to_owned()];
        let captures = [capture("req_1", "l1", "g1", 12), capture("req_2", "l1", "g1", 3)];
        commit(db, Batch { captures: &captures, closed: &closed, ..batch() }).await;
        assert_eq!(balance(db).await, (85, 15, 0));
        let position = ledger::balance(db, ACCOUNT).await.unwrap().open_leases.remove(0);
        assert_eq!((position.reserved, position.held), (25, 0));
        assert_consistent(db).await;

        // Growing the lease folds what was captured; a second grant is drawn when the first is used up.
        give(db, "g2", 50).await;
        let granted = take(db, "l1", 10, 70).await.unwrap();
        assert_eq!(granted.slices, [slice("g1", 60), slice("g2", 10)]);
        assert_eq!(granted.left_available, 40);
        assert_eq!(balance(db).await, (135, 15, 0));
        assert_consistent(db).await;

        let close = [LeaseClose { account_id: ACCOUNT.to_owned(), lease_id: "l1".to_owned() }];
        let captures = [capture("req_3", "l1", "g1", 85)];
        commit(db, Batch { captures: &captures, lease_closes: &close, ..batch() }).await;
        assert_eq!(balance(db).await, (50, 100, 0));
        assert_eq!(ledger::balance(db, ACCOUNT).await.unwrap().open_leases, []);
        assert_eq!(take(db, "l1", 1, 1).await.unwrap_err(), LedgerFailure::Fenced);
        assert_consistent(db).await;

        let entries = ledger::entries(db, ACCOUNT, None, 2).await.unwrap();
        assert_eq!((entries[0].kind, entries[0].amount, entries[0].cause.as_str()), (TransferKind::Capture, 85, "req_3"));
        let older = ledger::entries(db, ACCOUNT, Some(entries[1].seq), 100).await.unwrap();
        assert_eq!(older.len(), 3);
        assert_eq!(older.last().map(|entry| entry.kind), Some(TransferKind::Grant));
    })
    .await;
}

#[tokio::test]
async fn a_refused_lease_reserves_nothing() {
    with_db(async |db| {
        give(db, "g1", 100).await;
        let refused = take(db, "l1", 101, 200).await.unwrap_err();
        assert_eq!(refused, LedgerFailure::Refused(LedgerError::Insufficient { needed: 101, available: 100 }));
        assert_eq!(ledger::balance(db, ACCOUNT).await.unwrap().open_leases, []);
        let unknown = LeaseRequest { account_id: ACCOUNT, node_id: "node_none", lease_id: "l2", need: 1, want: 1, now: NOW };
        assert_eq!(ledger::lease(db, &unknown).await.unwrap_err(), LedgerFailure::Fenced);
        assert_consistent(db).await;
    })
    .await;
}

#[tokio::test]
async fn overage_becomes_debt_and_the_next_grant_pays_it() {
    with_db(async |db| {
        give(db, "g1", 100).await;
        take(db, "l1", 90, 90).await.unwrap();
        let mut call = Capture::clone(&capture("req_1", "l1", "g1", 90));
        (call.overage, call.usage.cost_micros) = (25, 115);
        commit(db, Batch { captures: &[Arc::new(call)], ..batch() }).await;
        // Ten were still available, fifteen are owed.
        assert_eq!(balance(db).await, (0, 115, 15));
        let refused = take(db, "l2", 1, 1).await.unwrap_err();
        assert_eq!(refused, LedgerFailure::Refused(LedgerError::InDebt { debt: 15 }));
        assert_consistent(db).await;
        let row = ledger::grant(db, ACCOUNT, new_grant("g2", 50), NOW).await.unwrap();
        assert_eq!((row.grant.repaid, row.grant.available), (15, 35));
        assert_eq!(balance(db).await, (35, 115, 0));
        assert_consistent(db).await;
    })
    .await;
}

#[tokio::test]
async fn what_a_closing_lease_returns_pays_the_overage_first() {
    with_db(async |db| {
        give(db, "g1", 100).await;
        take(db, "l1", 100, 100).await.unwrap();
        let mut call = Capture::clone(&capture("req_1", "l1", "g1", 60));
        (call.overage, call.usage.cost_micros) = (25, 85);
        let close = [LeaseClose { account_id: ACCOUNT.to_owned(), lease_id: "l1".to_owned() }];
        commit(db, Batch { captures: &[Arc::new(call)], lease_closes: &close, ..batch() }).await;
        assert_eq!(balance(db).await, (15, 85, 0));
        assert_consistent(db).await;
    })
    .await;
}

#[tokio::test]
async fn credits_expire_when_no_lease_holds_them() {
    with_db(async |db| {
        let new = NewGrant { expires_at: Some(NOW + 10), ..new_grant("g1", 100) };
        ledger::grant(db, ACCOUNT, new, NOW).await.unwrap();
        assert_eq!(take(db, "l1", 30, 30).await.unwrap().slices[0].expires_at, Some(NOW + 10));
        assert_eq!(ledger::expire_grants(db, NOW + 9, 100).await.unwrap(), 0);
        assert_eq!(ledger::expire_grants(db, NOW + 10, 100).await.unwrap(), 1);
        assert_eq!(ledger::expire_grants(db, NOW + 10, 100).await.unwrap(), 0);
        assert_eq!(balance(db).await, (30, 0, 0));
        let close = [LeaseClose { account_id: ACCOUNT.to_owned(), lease_id: "l1".to_owned() }];
        commit(db, Batch { captures: &[capture("req_1", "l1", "g1", 20)], lease_closes: &close, now: NOW + 11, ..batch() }).await;
        assert_eq!(balance(db).await, (0, 20, 0));
        assert_eq!(ledger::balance(db, ACCOUNT).await.unwrap().balance.expired_micros, 80);
        assert_consistent(db).await;
    })
    .await;
}

#[tokio::test]
async fn a_revocation_takes_what_is_left() {
    with_db(async |db| {
        give(db, "g1", 100).await;
        take(db, "l1", 30, 30).await.unwrap();
        let revoke = async |amount| ledger::revoke(db, ACCOUNT, "g1", amount, "refund", "operator", NOW).await;
        assert_eq!(revoke(20).await, Ok(20));
        assert_eq!(revoke(90).await, Ok(50));
        assert_eq!(revoke(1).await, Ok(0));
        let unknown = ledger::revoke(db, ACCOUNT, "g2", 1, "refund", "operator", NOW).await;
        assert_eq!(unknown, Err(LedgerFailure::Refused(LedgerError::NoGrant("g2".to_owned()))));
        assert_eq!(balance(db).await, (30, 0, 0));
        assert_consistent(db).await;
    })
    .await;
}

#[tokio::test]
async fn nodes_that_lease_at_once_never_get_more_than_there_is() {
    with_db(async |db| {
        give(db, "g1", 60).await;
        give(db, "g2", 41).await;
        let lease_ids: Vec<String> = (0..20).map(|index| format!("l{index}")).collect();
        let granted = futures_util::future::join_all(lease_ids.iter().map(|id| take(db, id, 10, 10))).await;
        assert_eq!(granted.iter().filter(|outcome| outcome.is_ok()).count(), 10);
        let sum: Micros = granted.iter().flatten().flat_map(|lease| &lease.slices).map(|slice| slice.amount).sum();
        assert_eq!(sum, 100);
        // Everybody captures at the same time as everybody else grows.
        let (first, second) = lease_ids.split_at(10);
        let owned = first.iter().zip(&granted).filter_map(|(id, lease)| Some((id, lease.as_ref().ok()?)));
        let captures: Vec<_> = owned.map(|(id, lease)| capture(&format!("req_{id}"), id, &lease.slices[0].grant_id, 1)).collect();
        let writes = futures_util::future::join_all(captures.chunks(1).map(|chunk| commit(db, Batch { captures: chunk, ..batch() })));
        let leases = futures_util::future::join_all(second.iter().map(|id| take(db, id, 1, 1)));
        let (_, leases) = futures_util::future::join(writes, leases).await;
        assert_eq!(leases.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        assert_eq!(balance(db).await, (101 - captures.len() as Micros, captures.len() as Micros, 0));
        assert_consistent(db).await;
    })
    .await;
}

#[tokio::test]
async fn nodes_that_settle_the_same_wallets_do_not_block_each_other() {
    with_db(async |db| {
        let accounts: Vec<String> = (10..20).map(|index| format!("acct_{index}")).collect();
        for id in &accounts {
            new_account(db, id).await;
        }
        nodes::register(db, "node_b", "b", NOW, NOW + 60 * SECOND).await.unwrap();
        let overruns = |node: &str, accounts: &mut dyn Iterator<Item = &String>| -> Vec<Arc<Capture>> {
            let one = |account_id: &String| {
                let usage = UsageRecord { account_id: account_id.clone(), ..usage_record(&format!("req_{node}_{account_id}"), 3) };
                Arc::new(Capture { usage, allocations: vec![], overage: 3, idempotency: None })
            };
            accounts.map(one).collect()
        };
        let (there, back) = (overruns("a", &mut accounts.iter()), overruns("b", &mut accounts.iter().rev()));
        let first = commit(db, Batch { captures: &there, ..batch() });
        let second = commit(db, Batch { node_id: "node_b", captures: &back, ..batch() });
        futures_util::future::join(first, second).await;
        for id in &accounts {
            assert_eq!(ledger::balance(db, id).await.unwrap().balance.debt_micros, 6);
        }
        assert_consistent(db).await;
    })
    .await;
}

/// Whatever the order of operations, no credit appears or vanishes, and calls never use more than there is.
#[tokio::test]
async fn a_random_walk_keeps_the_books() {
    with_db(async |db| {
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut roll = |sides: i64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            i64::try_from(random >> 33).unwrap() % sides
        };
        let (mut now, mut generation, mut purse) = (NOW, 0, Purse::default());
        let (mut node, mut lease_id) = (NODE.to_owned(), Arc::<str>::from("lease_0"));
        for step in 0..400 {
            now += roll(5);
            match roll(10) {
                0 | 1 => {
                    let expires_at = (roll(2) == 0).then(|| now + roll(60));
                    let priority = i32::try_from(roll(3)).unwrap();
                    let new = NewGrant { expires_at, priority, ..new_grant(&format!("g{step}"), 1 + roll(200)) };
                    ledger::grant(db, ACCOUNT, new, now).await.unwrap();
                }
                2 => {
                    let grants = ledger::grants_of(db, ACCOUNT).await.unwrap();
                    let Some(row) = grants.get(usize::try_from(roll(4)).unwrap()) else { continue };
                    ledger::revoke(db, ACCOUNT, &row.grant.id, 1 + roll(50), "test", "test", now).await.unwrap();
                }
                3 => {
                    ledger::expire_grants(db, now, 10).await.unwrap();
                }
                4 if roll(2) == 0 => {
                    let close = [LeaseClose { account_id: ACCOUNT.to_owned(), lease_id: lease_id.to_string() }];
                    commit(db, Batch { node_id: &node, lease_closes: &close, now, ..batch() }).await;
                    (generation, purse) = (generation + 1, Purse::default());
                    lease_id = format!("lease_{generation}").into();
                }
                4 => {
                    nodes::fence(db, &node, now).await.unwrap();
                    (generation, purse) = (generation + 1, Purse::default());
                    (node, lease_id) = (format!("node_{generation}"), format!("lease_{generation}").into());
                    nodes::register(db, &node, "a", now, now + SECOND).await.unwrap();
                    let late = capture(&format!("req_{step}"), "lease_gone", "g_gone", roll(30));
                    ledger::commit_late(db, &[late], now).await.unwrap();
                }
                5 | 6 => {
                    let (need, want) = (roll(20), roll(120));
                    let request = LeaseRequest { account_id: ACCOUNT, node_id: &node, lease_id: &lease_id, need, want, now };
                    match ledger::lease(db, &request).await {
                        Ok(granted) => purse.add(&lease_id, granted.slices),
                        Err(LedgerFailure::Refused(_)) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
                _ => {
                    let Some(allocations) = purse.hold(1 + roll(15), now) else { continue };
                    let overage = if roll(4) == 0 { roll(8) } else { 0 };
                    let held: Micros = allocations.iter().map(|part| part.amount).sum();
                    let usage = usage_record(&format!("req_{step}"), held + overage);
                    let call = Arc::new(Capture { usage, allocations, overage, idempotency: None });
                    commit(db, Batch { node_id: &node, captures: &[call], now, ..batch() }).await;
                }
            }
            balance(db).await;
            if step % 20 == 0 {
                assert_consistent(db).await;
            }
        }
        nodes::fence(db, &node, now).await.unwrap();
        assert_consistent(db).await;
        assert_eq!(ledger::balance(db, ACCOUNT).await.unwrap().open_leases, []);
        let calls = usage::totals(db, ACCOUNT).await.unwrap().calls;
        assert!(calls > 50, "only {calls} calls were made");
    })
    .await;
}

/// Callers may move these futures between threads.
#[test]
fn operations_are_send() {
    fn assert_send<T: Send>(_: impl FnOnce(&'static Db) -> T) {}
    assert_send(|db| async move {
        let batch = batch();
        ledger::commit(db, &batch).await
    });
    assert_send(|db| ledger::commit_late(db, &[], NOW));
    assert_send(|db| ledger::grant(db, ACCOUNT, new_grant("g1", 1), NOW));
    assert_send(|db| take(db, "l1", 1, 1));
    assert_send(|db| nodes::fence(db, NODE, NOW));
    assert_send(ledger::check);
    assert_send(|db| accounts::list(db, None, None, 1));
}

#[tokio::test]
async fn transfers_cannot_be_changed() {
    with_db(async |db| {
        give(db, "g1", 100).await;
        for text in ["UPDATE ledger_transfers SET amount_micros = 1", "DELETE FROM ledger_transfers"] {
            let refused = sql::execute(db.write(), text, []).await.unwrap_err();
            assert!(refused.to_string().contains("append-only"), "{refused}");
        }
        assert_consistent(db).await;
    })
    .await;
}

#[tokio::test]
async fn the_check_finds_tampering() {
    with_db(async |db| {
        give(db, "g1", 100).await;
        take(db, "l1", 40, 40).await.unwrap();
        commit(db, Batch { captures: &[capture("req_1", "l1", "g1", 10)], ..batch() }).await;
        assert_eq!(ledger::check(db).await.unwrap(), ledger::Check { checked: 2, differences: vec![] });
        let cases = [
            ("UPDATE grants SET spent_micros = 5, available_micros = 55", "grant g1: spent", (0, 5)),
            ("UPDATE grants SET leased_micros = 41, available_micros = 59", "grant g1: leased", (40, 41)),
            ("UPDATE grants SET amount_micros = 101, available_micros = 61", "grant g1: amount", (100, 101)),
            ("UPDATE wallets SET debt_micros = 7", "debt", (0, 7)),
            ("UPDATE usage_records SET cost_micros = 11", "cost of all calls", (10, 11)),
            ("INSERT INTO open_holds SELECT 'h', 'h', 'acct_1', 'k', 'l9', 'n', 4, '', '', 0", "hold h outside any open lease", (0, 4)),
        ];
        let restore = [
            "UPDATE grants SET amount_micros = 100, spent_micros = 0, leased_micros = 40, available_micros = 60",
            "UPDATE wallets SET debt_micros = 0",
            "UPDATE usage_records SET cost_micros = 10",
            "DELETE FROM open_holds",
        ];
        for (tampering, what, (expected, found)) in cases {
            sql::execute(db.write(), tampering, []).await.unwrap();
            let difference = ledger::Difference { account_id: ACCOUNT.to_owned(), what: what.to_owned(), expected, found };
            assert_eq!(ledger::check(db).await.unwrap().differences, [difference]);
            for text in restore {
                sql::execute(db.write(), text, []).await.unwrap();
            }
            assert_consistent(db).await;
        }
    })
    .await;
}
