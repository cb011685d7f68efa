//! Credits under load: never overspent, never refused while they exist, and every sum adds up.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    client::{Answer, Caller, error_of, until},
    upstream::{Gate, Reply},
    world::{CREDITS, MODEL, UPSTREAM_MODEL, World, flat_model, price},
};

fn calls(caller: &Caller, model: &'static str, count: usize) -> Vec<tokio::task::JoinHandle<Answer>> {
    let call = |caller: Caller| tokio::spawn(async move { caller.chat(model, "Hi").await });
    (0..count).map(|_| call(caller.clone())).collect()
}

async fn statuses(calls: Vec<tokio::task::JoinHandle<Answer>>) -> (usize, usize) {
    let (mut paid, mut refused) = (0, 0);
    for call in calls {
        let answer = call.await.unwrap();
        match answer.status {
            200 => paid += 1,
            402 => {
                answer.refused(402, "insufficient_credits");
                refused += 1;
            }
            _ => panic!("{}: {}", answer.status, answer.text),
        }
    }
    (paid, refused)
}

#[tokio::test]
async fn of_200_concurrent_calls_on_credit_for_7_exactly_7_succeed() {
    let world = World::new().await;
    world.app.admin.create_model(&flat_model("test/flat", "flat", 1_000)).await;
    let (account, caller) = world.another("seven", 7_999).await;
    assert_eq!(statuses(calls(&caller, "test/flat", 200)).await, (7, 193));
    let balance = world.app.admin.settled_balance(&account).await;
    assert_eq!((balance.available, balance.spent, balance.granted, balance.debt), (999, 7_000, 7_999, 0));
    assert_eq!(world.upstream.count("flat"), 7, "the upstream was called for paid calls only");
    assert_eq!(statuses(calls(&caller, "test/flat", 1)).await, (0, 1));
    world.app.admin.grant(&account, 1).await;
    caller.chat("test/flat", "Hi").await.expect(200);
    world.finish().await;
}

#[tokio::test]
async fn concurrent_calls_with_holds_larger_than_their_cost_spend_all_but_a_hold() {
    let world = World::new().await;
    // A call holds about 730 and costs 65, so twenty at a time soon hold all there is, and give most of it back.
    let (account, caller) = world.another("tight", 20_000).await;
    let mut paid = 0;
    loop {
        let (more, _) = statuses(calls(&caller, MODEL, 20)).await;
        if more == 0 {
            break;
        }
        paid += more;
    }
    let balance = world.app.admin.settled_balance(&account).await;
    assert_eq!(balance.spent, i64::try_from(paid).unwrap() * price(10, 5));
    assert_eq!(balance.debt, 0);
    assert!(balance.available < price(30, 100), "refused while credits were there: {balance:?}");
    world.finish().await;
}

#[tokio::test]
async fn many_accounts_at_the_same_time_do_not_touch_each_other() {
    let world = World::new().await;
    world.app.admin.create_model(&flat_model("test/flat", "flat", 1_000)).await;
    let mut owners = Vec::new();
    for number in 0..12 {
        owners.push(world.another(&format!("owner-{number}"), 1_000 * number).await);
    }
    let running: Vec<_> = owners.iter().map(|(_, caller)| calls(caller, "test/flat", 15)).collect();
    for (number, (calls, (account, _))) in running.into_iter().zip(&owners).enumerate() {
        assert_eq!(statuses(calls).await, (number, 15 - number));
        let balance = world.app.admin.settled_balance(account).await;
        assert_eq!((balance.available, balance.spent), (0, 1_000 * i64::try_from(number).unwrap()));
    }
    world.finish().await;
}

#[tokio::test]
async fn the_identity_holds_at_every_moment_of_a_busy_account() {
    let world = World::new().await;
    let running: Vec<_> = (0..8).flat_map(|_| calls(&world.caller, MODEL, 25)).collect();
    let mut looks = 0;
    while running.iter().any(|call| !call.is_finished()) {
        // `balance` asserts the identity.
        let balance = world.app.admin.balance(&world.account).await;
        assert_eq!(balance.granted, CREDITS);
        looks += 1;
    }
    assert!(looks > 0, "{looks}");
    assert_eq!(statuses(running).await, (200, 0));
    assert_eq!(world.spent().await, 200 * price(10, 5));
    world.finish().await;
}

#[tokio::test]
async fn credits_granted_while_calls_run_are_spent_at_once() {
    let world = World::new().await;
    world.app.admin.create_model(&flat_model("test/flat", "flat", 1_000)).await;
    let (account, caller) = world.another("topped-up", 1_000).await;
    for _ in 0..10 {
        caller.chat("test/flat", "Hi").await.expect(200);
        caller.chat("test/flat", "Hi").await.refused(402, "insufficient_credits");
        world.app.admin.grant(&account, 1_000).await;
    }
    world.finish().await;
}

#[tokio::test]
async fn every_durability_charges_the_same_and_keeps_it_over_a_restart() {
    use pixgate::config::Durability;
    for durability in [Durability::Power, Durability::Process, Durability::Relaxed] {
        let mut world = World::with(|settings| settings.ledger.durability = durability).await;
        assert_eq!(statuses(calls(&world.caller, MODEL, 40)).await, (40, 0));
        world.app.restart().await;
        let balance = world.app.admin.balance(&world.account).await;
        assert_eq!((balance.spent, balance.held), (40 * price(10, 5), 0), "{durability:?}");
        assert_eq!(world.app.admin.usage(&world.account).await.len(), 40, "{durability:?}");
        world.finish().await;
    }
}

#[tokio::test]
async fn a_grant_is_idempotent_also_when_raced() {
    let world = World::new().await;
    let account = world.app.admin.create_account("granted").await;
    let body = json!({"amount_micros": 500, "reason": "welcome", "category": "promotional"});
    let race = |admin: crate::support::admin::Admin, account: String, body: Value| {
        tokio::spawn(async move { admin.grant_as(&account, "welcome-1", &body).await })
    };
    let racing: Vec<_> = (0..10).map(|_| race(world.app.admin.clone(), account.clone(), body.clone())).collect();
    let mut ids = Vec::new();
    for grant in racing {
        ids.push(grant.await.unwrap().success()["id"].as_str().unwrap().to_owned());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "one grant: {ids:?}");
    assert_eq!(world.app.admin.balance(&account).await.granted, 500);
    let other = world.app.admin.grant_as(&account, "welcome-1", &json!({"amount_micros": 900, "reason": "welcome"})).await;
    assert_eq!(other.status, 409, "{}", other.text);
    error_of(&other.json());
    assert_eq!(world.app.admin.balance(&account).await.granted, 500);
    world.finish().await;
}

#[tokio::test]
async fn a_grant_without_idempotency_key_or_with_a_bad_amount_is_400() {
    let world = World::new().await;
    let path = format!("/admin/v1/accounts/{}/grants", world.account);
    world.app.admin.caller.post(&path, &json!({"amount_micros": 5, "reason": "test"})).await.refused(400, "invalid_request");
    let bad = [json!(0), json!(-5), json!(1.5), json!("5"), json!(null), json!(9_223_372_036_854_775_807_i64), json!(1e30)];
    for (index, amount) in bad.iter().enumerate() {
        let answer =
            world.app.admin.grant_as(&world.account, &format!("bad-{index}"), &json!({"amount_micros": amount, "reason": "test"})).await;
        assert_eq!(answer.status, 400, "{amount}: {}", answer.text);
    }
    assert_eq!(world.app.admin.balance(&world.account).await.granted, CREDITS);
    assert_eq!(world.app.admin.grant_as("acc_none", "k", &json!({"amount_micros": 5, "reason": "test"})).await.status, 404);
    world.finish().await;
}

#[tokio::test]
async fn grants_expire_and_the_ledger_says_so() {
    let world = World::manual(|_| {}).await;
    let account = world.app.admin.create_account("expiring").await;
    let body = json!({"amount_micros": 10_000, "reason": "trial", "expires_at": "2025-07-15T13:00:00Z"});
    world.app.admin.grant_as(&account, "trial", &body).await.success();
    let caller = world.app.admin.caller_of(&account, &json!({})).await;
    caller.chat(MODEL, "Hi").await.expect(200);
    world.app.advance(Duration::from_secs(3_600));
    caller.chat(MODEL, "Hi").await.refused(402, "insufficient_credits");
    let balance = crate::support::client::eventually("the rest expires", || async {
        Some(world.app.admin.balance(&account).await).filter(|balance| balance.expired > 0)
    })
    .await;
    assert_eq!((balance.available, balance.spent, balance.expired), (0, price(10, 5), 10_000 - price(10, 5)));
    world.finish().await;
}

#[tokio::test]
async fn promotional_credits_that_expire_first_are_spent_first() {
    let world = World::manual(|_| {}).await;
    let account = world.app.admin.create_account("mixed").await;
    let paid = json!({"amount_micros": 10_000, "reason": "bought"});
    let promotional = json!({"amount_micros": 10_000, "reason": "gift", "category": "promotional", "expires_at": "2025-07-15T13:00:00Z"});
    world.app.admin.grant_as(&account, "paid", &paid).await.success();
    world.app.admin.grant_as(&account, "gift", &promotional).await.success();
    let caller = world.app.admin.caller_of(&account, &json!({})).await;
    for _ in 0..10 {
        caller.chat(MODEL, "Hi").await.expect(200);
    }
    world.app.advance(Duration::from_secs(3_600));
    caller.chat(MODEL, "Hi").await.expect(200);
    let balance = crate::support::client::eventually("the rest expires", || async {
        Some(world.app.admin.balance(&account).await).filter(|balance| balance.expired > 0 && balance.held == 0)
    })
    .await;
    assert_eq!(balance.expired, 10_000 - 10 * price(10, 5), "the gift paid the first ten calls");
    assert_eq!(balance.available, 10_000 - price(10, 5));
    world.finish().await;
}

#[tokio::test]
async fn the_ledger_lists_what_happened() {
    let world = World::new().await;
    world.upstream.next(UPSTREAM_MODEL, [Reply::chat("Hello", 100, 50)]);
    let answer = world.caller.chat(MODEL, "Hi").await;
    answer.expect(200);
    world.usage_of(&answer.request_id()).await;
    let entries = world.app.admin.ledger(&world.account).await;
    let amounts: Vec<i64> = entries.iter().map(|entry| entry["amount_micros"].as_i64().expect("amount_micros")).collect();
    assert!(amounts.contains(&CREDITS), "the grant: {entries:?}");
    assert!(amounts.iter().any(|amount| amount.abs() == price(100, 50)), "the capture: {entries:?}");
    world.finish().await;
}

#[tokio::test]
async fn a_running_call_that_costs_nothing_is_no_difference_in_the_ledger() {
    let world = World::with(|settings| settings.ledger.hold_journal_after_ms = 0).await;
    world.app.admin.create_model(&flat_model("test/free", "free", 0)).await;
    let gate = Gate::closed();
    world.upstream.next("free", [Reply::chat("Hello", 10, 5).after(&gate)]);
    let caller = world.caller.clone();
    let call = tokio::spawn(async move { caller.chat("test/free", "Hi").await });
    until("the call runs", || world.upstream.count("free") == 1).await;
    for _ in 0..10 {
        let check = world.app.admin.caller.get("/admin/v1/ledger/check").await.expect(200);
        assert_eq!(check["differences"], json!([]));
    }
    gate.open();
    call.await.unwrap().expect(200);
    world.finish().await;
}
