//! What can be seen of an actor from outside, and the tree of all of them.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
};

use serde::Serialize;
use tokio::sync::Notify;

use super::handle::Place;
use crate::{
    clock::Clock,
    domain::{SECOND, Timestamp},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorState {
    Starting,
    Running,
    /// Between a fault and the next incarnation.
    Restarting,
    Stopped,
    /// Given up after too many restarts.
    Failed,
}

const STATES: [ActorState; 5] =
    [ActorState::Starting, ActorState::Running, ActorState::Restarting, ActorState::Stopped, ActorState::Failed];

/// Counters of one actor, shared by its handles and its supervisor.
#[derive(Debug)]
pub struct Vitals {
    id: u64,
    parent: Option<u64>,
    kind: &'static str,
    name: String,
    capacity: usize,
    started_at: Timestamp,
    state: AtomicU8,
    depth: AtomicUsize,
    handled: AtomicU64,
    restarts: AtomicU32,
    dead_letters: AtomicU64,
    last_error: Mutex<Option<Box<str>>>,
    ended: Notify,
}

impl Vitals {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn kind(&self) -> &'static str {
        self.kind
    }

    pub fn state(&self) -> ActorState {
        STATES[usize::from(self.state.load(Ordering::Acquire)).min(STATES.len() - 1)]
    }

    /// Messages that wait now.
    pub fn mailbox_depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }

    pub fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }

    pub fn restarts(&self) -> u32 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Messages that were accepted and never handled.
    pub fn dead_letters(&self) -> u64 {
        self.dead_letters.load(Ordering::Relaxed)
    }

    pub fn last_error(&self) -> Option<Box<str>> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn has_ended(&self) -> bool {
        matches!(self.state(), ActorState::Stopped | ActorState::Failed)
    }

    /// Resolves when the actor is gone for good.
    pub(super) fn ended(self: &Arc<Self>) -> impl Future<Output = ()> + use<> {
        let vitals = self.clone();
        async move {
            let notified = vitals.ended.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if !vitals.has_ended() {
                notified.await;
            }
        }
    }

    pub(super) fn set_state(&self, state: ActorState) {
        self.state.store(state as u8, Ordering::Release);
        if self.has_ended() {
            self.ended.notify_waiters();
        }
    }

    pub(super) fn record_fault(&self, error: &str) {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).replace(error.into());
    }

    pub(super) fn record_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn record_handled(&self) {
        self.handled.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a place in the mailbox, unless it is full.
    pub(super) fn enter(self: Arc<Self>) -> Option<Place> {
        if self.depth.fetch_add(1, Ordering::Relaxed) >= self.capacity {
            self.depth.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Place::new(self))
    }

    pub(super) fn enter_beyond_the_bound(&self) {
        self.depth.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self, delivered: bool) {
        self.depth.fetch_sub(1, Ordering::Relaxed);
        if !delivered {
            self.dead_letters.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One actor with everything below it, as `/admin/v1/actors` shows it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ActorNode {
    pub name: String,
    pub kind: &'static str,
    pub state: ActorState,
    pub restarts: u32,
    pub mailbox_depth: usize,
    pub mailbox_capacity: usize,
    pub handled: u64,
    pub dead_letters: u64,
    pub last_error: Option<Box<str>>,
    pub age_seconds: i64,
    /// What the actor says of what it owns; upstreams only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub observed: Option<serde_json::Value>,
    /// Children left out because there are too many to show.
    pub children_omitted: usize,
    #[schema(no_recursion)]
    pub children: Vec<ActorNode>,
}

/// Sums over the actors of one kind, ended ones included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KindTotals {
    pub actors: usize,
    pub mailbox_depth: usize,
    pub restarts: u64,
    pub dead_letters: u64,
}

/// All live actors of one application. Clones share it.
#[derive(Clone)]
pub struct ActorTree(Arc<Registry>);

struct Registry {
    clock: Clock,
    next: AtomicU64,
    live: Mutex<BTreeMap<u64, Arc<Vitals>>>,
    /// Restarts and dead letters of actors that are gone.
    gone: Mutex<BTreeMap<&'static str, KindTotals>>,
}

impl ActorTree {
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Registry { clock, next: AtomicU64::new(1), live: Mutex::default(), gone: Mutex::default() }))
    }

    pub(super) fn register(&self, kind: &'static str, name: String, capacity: usize, parent: Option<&Arc<Vitals>>) -> Arc<Vitals> {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let vitals = Arc::new(Vitals {
            id,
            parent: parent.map(|parent| parent.id),
            kind,
            name,
            capacity,
            started_at: self.0.clock.now(),
            state: AtomicU8::new(ActorState::Starting as u8),
            depth: AtomicUsize::new(0),
            handled: AtomicU64::new(0),
            restarts: AtomicU32::new(0),
            dead_letters: AtomicU64::new(0),
            last_error: Mutex::new(None),
            ended: Notify::new(),
        });
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner).insert(id, vitals.clone());
        vitals
    }

    pub(super) fn forget(&self, vitals: &Vitals) {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner).remove(&vitals.id);
        let mut gone = self.0.gone.lock().unwrap_or_else(PoisonError::into_inner);
        let totals = gone.entry(vitals.kind).or_default();
        totals.restarts += u64::from(vitals.restarts());
        totals.dead_letters += vitals.dead_letters();
    }

    /// The whole tree; of every parent at most `children_max` children.
    pub fn snapshot(&self, children_max: usize) -> Vec<ActorNode> {
        let live = self.0.live.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut by_parent: BTreeMap<Option<u64>, Vec<Arc<Vitals>>> = BTreeMap::new();
        for vitals in live.values() {
            let parent = vitals.parent.filter(|parent| live.contains_key(parent));
            by_parent.entry(parent).or_default().push(vitals.clone());
        }
        self.children(None, &by_parent, children_max).0
    }

    fn children(&self, parent: Option<u64>, by_parent: &BTreeMap<Option<u64>, Vec<Arc<Vitals>>>, max: usize) -> (Vec<ActorNode>, usize) {
        let Some(children) = by_parent.get(&parent) else { return (Vec::new(), 0) };
        let nodes = children.iter().take(max).map(|vitals| {
            let (children, children_omitted) = self.children(Some(vitals.id), by_parent, max);
            ActorNode {
                name: vitals.name.clone(),
                kind: vitals.kind,
                state: vitals.state(),
                restarts: vitals.restarts(),
                mailbox_depth: vitals.mailbox_depth(),
                mailbox_capacity: vitals.capacity,
                handled: vitals.handled(),
                dead_letters: vitals.dead_letters(),
                last_error: vitals.last_error(),
                age_seconds: (self.0.clock.now() - vitals.started_at).max(0) / SECOND,
                observed: None,
                children_omitted,
                children,
            }
        });
        (nodes.collect(), children.len().saturating_sub(max))
    }

    /// Sums by kind, for metrics.
    pub fn totals(&self) -> BTreeMap<&'static str, KindTotals> {
        let mut totals = self.0.gone.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for vitals in self.0.live.lock().unwrap_or_else(PoisonError::into_inner).values() {
            let sum = totals.entry(vitals.kind).or_default();
            sum.actors += 1;
            sum.mailbox_depth += vitals.mailbox_depth();
            sum.restarts += u64::from(vitals.restarts());
            sum.dead_letters += vitals.dead_letters();
        }
        totals
    }
}
