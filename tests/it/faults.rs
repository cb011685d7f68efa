//! The database is locked or gone: calls wait or are refused with 503 and Retry-After, and everything recovers without a restart.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    client::{Answer, Caller, eventually, until},
    upstream::{Gate, Reply},
    world::{CREDITS, MODEL, UPSTREAM_MODEL, World, price},
};

const PATIENCE: Duration = Duration::from_secs(20);

async fn world() -> World {
    World::with(|settings| {
        settings.database.acquire_timeout_ms = 300;
        settings.database.busy_timeout_ms = 300;
        settings.ledger.commit_timeout_ms = Some(1_000);
    })
    .await
}

fn calls(caller: &Caller, count: usize) -> Vec<tokio::task::JoinHandle<Answer>> {
    let call = |caller: Caller| tokio::spawn(async move { caller.chat(MODEL, "Hi").await });
    (0..count).map(|_| call(caller.clone())).collect()
}

/// Either paid for or refused in the promised way. Answers whether it was paid.
#[track_caller]
fn paid_or_503(answer: &Answer) -> bool {
    if answer.status == 200 {
        return true;
    }
    answer.refused(503, "overloaded");
    assert!(answer.number("retry-after") >= 1, "{}", answer.text);
    false
}

/// Once the database has been away for a while, no upstream is asked for answers that could not be charged.
async fn refused_early(world: &World) {
    eventually("calls are refused before the upstream is asked", || async {
        let asked = world.upstream.count(UPSTREAM_MODEL);
        let answer = world.caller.chat(MODEL, "Hi").await;
        (!paid_or_503(&answer) && world.upstream.count(UPSTREAM_MODEL) == asked).then_some(())
    })
    .await;
}

/// Waits until calls work again without any restart, and checks that exactly the answered calls were charged. Answers that became
/// 503 only after the upstream had answered may be charged or not, so they bound the sum from above.
async fn recovered(world: World, paid: i64, doubtful: i64) {
    eventually("calls work again", || async { (world.caller.chat(MODEL, "Hi").await.status == 200).then_some(()) }).await;
    let sure = (paid + 1) * price(10, 5);
    let spent = world.spent().await;
    assert!((sure..=sure + doubtful * price(10, 5)).contains(&spent), "paid {paid}, doubtful {doubtful}, spent {spent}");
    let rows = world.app.admin.usage(&world.account).await;
    let charged: i64 = rows.iter().map(|row| row["cost_micros"].as_i64().unwrap()).sum();
    assert_eq!(charged, spent, "usage rows and balance agree");
    world.app.finish_after_restarts().await;
}

#[tokio::test]
async fn a_short_lock_is_waited_for() {
    let world = world().await;
    world.caller.chat(MODEL, "warm up").await.expect(200);
    let gate = Gate::closed();
    world.upstream.always(UPSTREAM_MODEL, Reply::chat("Hello", 10, 5).after(&gate));
    let running = calls(&world.caller, 5);
    until("the calls run", || world.upstream.count(UPSTREAM_MODEL) == 6).await;
    let lock = world.app.database.lock_writes().await;
    gate.open();
    until("the upstream has answered", || world.upstream.seen(UPSTREAM_MODEL).iter().all(|seen| seen.was_answered())).await;
    lock.release().await;
    for call in running {
        call.await.unwrap().expect(200);
    }
    assert_eq!(world.spent().await, 6 * price(10, 5));
    world.finish().await;
}

#[tokio::test]
async fn a_long_lock_is_503_with_retry_after_and_passes() {
    let world = world().await;
    world.caller.chat(MODEL, "warm up").await.expect(200);
    let (_, cold) = world.another("cold", CREDITS).await;
    let lock = world.app.database.lock_writes().await;
    let warm = calls(&world.caller, 10);
    let fresh = calls(&cold, 5);
    let (mut paid, mut doubtful) = (1, 0);
    // Long enough for every patience to end, and then everything must be answered.
    let answered = async {
        for call in fresh {
            assert!(!paid_or_503(&call.await.unwrap()), "an account without a lease cannot be served");
        }
        for call in warm {
            if paid_or_503(&call.await.unwrap()) { paid += 1 } else { doubtful += 1 }
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.expect("nobody waits forever for a locked database");
    // A locked table lets the journal's own questions pass, a locked file does not.
    if !world.app.database.is_postgres() {
        refused_early(&world).await;
    }
    let admin = world.app.admin.caller.post("/admin/v1/accounts", &json!({"email": "late@example.com"})).await;
    paid_or_503(&admin);
    assert_eq!(admin.status, 503, "{}", admin.text);
    lock.release().await;
    eventually("the cold account works, too", || async { (cold.chat(MODEL, "Hi").await.status == 200).then_some(()) }).await;
    recovered(world, paid, doubtful).await;
}

#[tokio::test]
async fn streams_that_run_into_a_lock_end_with_a_word() {
    let world = world().await;
    world.caller.chat(MODEL, "warm up").await.expect(200);
    let gate = Gate::closed();
    world.upstream.next(UPSTREAM_MODEL, [Reply::stream().role().say("one ").wait(&gate).say("two").finish().usage(10, 5).done()]);
    let mut stream = world.caller.chat_stream(MODEL, "Count").await;
    stream.until("one ").await;
    let lock = world.app.database.lock_writes().await;
    gate.open();
    let transcript = tokio::time::timeout(PATIENCE, stream.finish()).await.expect("the stream ends");
    let ended_well = transcript.done && transcript.error.is_none();
    assert!(ended_well || transcript.error.is_some() && !transcript.done, "{transcript:?}");
    lock.release().await;
    recovered(world, 1 + i64::from(ended_well), i64::from(!ended_well)).await;
}

#[tokio::test]
async fn a_database_that_goes_away_and_comes_back() {
    let world = world().await;
    if !world.app.database.is_postgres() {
        return world.finish().await;
    }
    world.caller.chat(MODEL, "warm up").await.expect(200);
    let (_, cold) = world.another("cold", CREDITS).await;
    world.app.database.shut().await;
    let (mut paid, mut doubtful) = (1, 0);
    let answered = async {
        for call in calls(&cold, 5) {
            assert!(!paid_or_503(&call.await.unwrap()));
        }
        for call in calls(&world.caller, 10) {
            if paid_or_503(&call.await.unwrap()) { paid += 1 } else { doubtful += 1 }
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.expect("nobody waits forever for a database that is gone");
    refused_early(&world).await;
    world.app.database.reopen().await;
    eventually("the cold account works, too", || async { (cold.chat(MODEL, "Hi").await.status == 200).then_some(()) }).await;
    recovered(world, paid, doubtful).await;
}
