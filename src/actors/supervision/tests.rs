use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use super::*;
use crate::clock::Clock;

const DEADLINE: Duration = Duration::from_secs(5);

/// Counts what it handles; the count dies with the incarnation.
struct Counter {
    count: u32,
    kept: Option<Reply<u32>>,
}

impl Service for Counter {
    const KIND: &'static str = "counter";

    fn observe(&self) -> serde_json::Value {
        self.count.into()
    }
}

enum Do {
    Count,
    Panic,
    Fault,
    KeepTheAsker,
}

impl Message for Do {
    type Reply = u32;
}

impl Receive<Do> for Counter {
    fn receive(&mut self, message: Do, reply: Reply<u32>, _ctx: &mut Ctx<Self>) -> Result<(), Fault> {
        match message {
            Do::Count => {
                self.count += 1;
                let _ = reply.send(self.count);
            }
            Do::Panic => panic!("on purpose"),
            Do::Fault => return Err(Fault("broken on purpose".into())),
            Do::KeepTheAsker => self.kept = Some(reply),
        }
        Ok(())
    }
}

fn tree() -> ActorTree {
    ActorTree::new(Clock::manual(0).0)
}

fn counter(tree: &ActorTree) -> Handle<Counter> {
    spawn(tree, Spec::new("one", 4, || Counter { count: 0, kept: None }))
}

#[actix::test]
async fn a_handler_panics_and_the_next_call_is_served() {
    let handle = counter(&tree());
    assert_eq!(handle.ask(Do::Count, DEADLINE).await, Ok(1));
    assert_eq!(handle.ask(Do::Panic, DEADLINE).await, Err(AskError::Failed));
    assert_eq!(handle.ask(Do::Count, DEADLINE).await, Ok(1), "a fresh incarnation begins from its factory");
    assert_eq!(handle.vitals().restarts(), 1);
    assert_eq!(handle.vitals().last_error().as_deref(), Some("panic: on purpose"));
}

#[actix::test]
async fn a_panic_fails_only_the_question_in_flight() {
    let handle = counter(&tree());
    let (first, broken, queued) =
        tokio::join!(handle.ask(Do::Count, DEADLINE), handle.ask(Do::Panic, DEADLINE), handle.ask(Do::Count, DEADLINE));
    assert_eq!((first, broken, queued), (Ok(1), Err(AskError::Failed), Ok(1)));
    assert_eq!(handle.vitals().dead_letters(), 0);
}

#[actix::test]
async fn a_fault_rebuilds_the_actor() {
    let handle = counter(&tree());
    assert_eq!(handle.ask(Do::Count, DEADLINE).await, Ok(1));
    assert_eq!(handle.ask(Do::Fault, DEADLINE).await, Err(AskError::Failed));
    assert_eq!(handle.ask(Do::Count, DEADLINE).await, Ok(1));
    assert_eq!(handle.vitals().restarts(), 1);
}

#[actix::test]
async fn a_panicking_factory_is_retried() {
    let built = Arc::new(AtomicU32::new(0));
    let count = built.clone();
    let factory = move || {
        assert!(count.fetch_add(1, Ordering::SeqCst) != 0, "first build fails");
        Counter { count: 0, kept: None }
    };
    let handle = spawn(&tree(), Spec::new("late", 4, factory));
    assert_eq!(handle.ask(Do::Count, DEADLINE).await, Ok(1));
    assert_eq!(built.load(Ordering::SeqCst), 2);
}

#[actix::test]
async fn too_many_restarts_escalate_and_close_the_address() {
    let tree = tree();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let policy = RestartPolicy { restarts_max: 2, backoff: Duration::ZERO, ..RestartPolicy::default() };
    let spec = Spec::new("hopeless", 4, || Counter { count: 0, kept: None })
        .policy(policy)
        .on_escalation(move |fault| drop(sender.send(fault.to_string())));
    let handle = spawn(&tree, spec);
    for _ in 0..3 {
        assert!(handle.ask(Do::Panic, DEADLINE).await.is_err());
    }
    assert_eq!(receiver.await.unwrap(), "panic: on purpose");
    assert_eq!(handle.vitals().state(), ActorState::Failed);
    assert_eq!(handle.ask(Do::Count, DEADLINE).await, Err(AskError::Ended));
    assert!(tree.snapshot(10).is_empty(), "what is given up leaves the tree");
}

#[actix::test]
async fn a_full_mailbox_refuses_at_its_exact_bound() {
    let handle = counter(&tree());
    for _ in 0..4 {
        handle.clone().tell(Do::Count).unwrap_or_else(|_| panic!("there is room"));
    }
    assert!(matches!(handle.clone().tell(Do::Count), Err(TellError::Full(_))));
    assert_eq!(handle.vitals().mailbox_depth(), 4);
    tokio::task::yield_now().await;
    assert_eq!(handle.ask(Do::Count, DEADLINE).await, Ok(5));
    assert_eq!(handle.vitals().mailbox_depth(), 0);
}

#[actix::test]
async fn a_question_ends_at_its_deadline() {
    let handle = counter(&tree());
    assert_eq!(handle.ask(Do::KeepTheAsker, Duration::from_millis(1)).await, Err(AskError::TimedOut));
}

#[actix::test]
async fn stopping_serves_what_waited_and_counts_what_came_late() {
    let tree = tree();
    let handle = counter(&tree);
    handle.tell(Do::Count).unwrap_or_else(|_| panic!("there is room"));
    let stopped = handle.stop(DEADLINE);
    tokio::pin!(stopped);
    assert!(futures_util::poll!(&mut stopped).is_pending());
    handle.tell(Do::Count).unwrap_or_else(|_| panic!("the mailbox is still open"));
    stopped.await.unwrap();
    assert_eq!(handle.vitals().handled(), 1);
    assert_eq!(handle.vitals().dead_letters(), 1);
    assert_eq!(handle.ask(Do::Count, DEADLINE).await, Err(AskError::Ended));
    assert_eq!(tree.totals()["counter"].dead_letters, 1);
}

#[actix::test]
async fn the_tree_shows_children_under_their_parent() {
    let tree = tree();
    let parent = counter(&tree);
    let _children: Vec<_> =
        (0..3).map(|_| spawn(&tree, Spec::new("child", 4, || Counter { count: 7, kept: None }).under(parent.vitals()))).collect();
    let snapshot = tree.snapshot(2);
    assert_eq!(snapshot.len(), 1);
    assert_eq!((snapshot[0].children.len(), snapshot[0].children_omitted), (2, 1));
    assert_eq!(_children[0].observe(DEADLINE).await, Ok(7.into()));
}

#[test]
fn backoff_starts_at_once_and_doubles_to_its_ceiling() {
    let policy = RestartPolicy::default();
    let delays: Vec<u128> = (1..=4).map(|count| policy.delay(count).as_millis()).collect();
    assert_eq!(delays, [0, 10, 20, 40]);
    assert_eq!(policy.delay(60), policy.backoff_max);
}
