//! Supervision on top of actix: an actor that panics or reports a fault is rebuilt by its factory, at the same address.
//!
//! actix's own supervisor re-polls the same value and catches no panic, so a panic closes the address for good. Here the
//! [`Driver`] polls actix's context future under `catch_unwind`; after a panic it lets the context restart, which keeps the
//! mailbox and therefore every address and every message still in the queue, and replaces the actor by a fresh one from the
//! factory. Only the question that was being handled fails. Restarts are counted in a window; too many of them escalate: the
//! actor is given up, its parent is told, and its address closes.
//!
//! An actor implements [`Service`] (what it owns) and [`Receive`] once per message (what it can be asked). [`spawn`] starts it on
//! the current thread and answers with its [`Handle`].
//!
//! Absent on purpose: unbounded mailboxes, questions without a deadline, `do_send`.

mod context;
mod handle;
mod vitals;

#[cfg(test)]
mod tests;

use std::{
    any::Any,
    cell::{Cell, RefCell},
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context as TaskContext, Poll, ready},
    time::Duration,
};

use actix::{Actor, ActorContext, AsyncContext, Context, dev::ContextFut};
use tokio::time::Sleep;

pub use context::ServiceContext;
pub use handle::{AskError, Handle, Message, Receive, Reply, TellError};
pub use vitals::{ActorNode, ActorState, ActorTree, Vitals};

/// The actix context a service runs in; it offers timers and local futures.
pub type Ctx<S> = Context<Supervised<S>>;

/// Why an actor cannot go on and wants to be rebuilt.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

/// A supervised actor: the owner of some changing state.
pub trait Service: Sized + Unpin + 'static {
    /// What kind of actor this is, as shown in the tree (`account`, `journal`, …).
    const KIND: &'static str;

    /// Runs before the first message of every incarnation.
    fn started(&mut self, _ctx: &mut Ctx<Self>) {}

    /// Runs once at an orderly end; not after a panic.
    fn stopped(&mut self, _ctx: &mut Ctx<Self>) {}

    /// A snapshot of what the actor owns, for operators and tests. Never secrets.
    fn observe(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

/// How often an actor may be rebuilt before its parent is told.
#[derive(Debug, Clone, Copy)]
pub struct RestartPolicy {
    pub restarts_max: u32,
    pub window: Duration,
    /// Delay before the second restart of a window; the first is immediate, later ones double it.
    pub backoff: Duration,
    pub backoff_max: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self { restarts_max: 10, window: Duration::from_secs(60), backoff: Duration::from_millis(10), backoff_max: Duration::from_secs(5) }
    }
}

impl RestartPolicy {
    /// The delay before the `count`th restart (from 1) inside one window.
    fn delay(&self, count: u32) -> Duration {
        match count {
            0 | 1 => Duration::ZERO,
            _ => self.backoff.saturating_mul(1 << (count - 2).min(20)).min(self.backoff_max),
        }
    }
}

/// How an actor is started.
pub struct Spec<S> {
    pub name: String,
    /// Messages that may wait; one more is refused.
    pub capacity: usize,
    pub policy: RestartPolicy,
    pub parent: Option<Arc<Vitals>>,
    /// Builds the actor, at the start and after every fault.
    pub factory: Box<dyn FnMut() -> S>,
    /// Told once when the actor is given up.
    pub escalate: Box<dyn FnOnce(Fault)>,
}

impl<S> Spec<S> {
    pub fn new(name: impl Into<String>, capacity: usize, factory: impl FnMut() -> S + 'static) -> Self {
        Self {
            name: name.into(),
            capacity,
            policy: RestartPolicy::default(),
            parent: None,
            factory: Box::new(factory),
            escalate: Box::new(|_| {}),
        }
    }

    pub fn under(mut self, parent: &Arc<Vitals>) -> Self {
        self.parent = Some(parent.clone());
        self
    }

    pub fn policy(mut self, policy: RestartPolicy) -> Self {
        self.policy = policy;
        self
    }

    pub fn on_escalation(mut self, escalate: impl FnOnce(Fault) + 'static) -> Self {
        self.escalate = Box::new(escalate);
        self
    }
}

/// Starts an actor on the current thread.
pub fn spawn<S: Service>(tree: &ActorTree, mut spec: Spec<S>) -> Handle<S> {
    let vitals = tree.register(S::KIND, spec.name, spec.capacity, spec.parent.as_ref());
    let mut ctx = Context::new();
    // Zero lifts actix's own bound, which grows with every clone of an address; `Handle` enforces the exact one.
    ctx.set_mailbox_capacity(0);
    let handle = Handle::new(ctx.address(), vitals.clone());
    let service = catch_unwind(AssertUnwindSafe(|| (spec.factory)()));
    let (service, fault) = match service {
        Ok(service) => (Some(service), None),
        Err(panic) => (None, Some(Fault(panic_message(&*panic)))),
    };
    let link = Rc::new(Link::default());
    let supervised = Supervised { service, factory: spec.factory, link: link.clone() };
    let mut driver = Driver {
        life: Some(ctx.into_future(supervised)),
        link,
        restarting: None,
        restarts: Vec::new(),
        policy: spec.policy,
        vitals,
        tree: tree.clone(),
        escalate: Some(spec.escalate),
    };
    match fault {
        None => driver.vitals.set_state(ActorState::Running),
        Some(fault) => driver.restart_later(fault),
    }
    #[expect(clippy::disallowed_methods, reason = "the one place that starts actors")]
    actix::spawn(driver);
    handle
}

/// What actix runs: the service, its factory, and what its supervisor needs to know.
pub struct Supervised<S> {
    /// `None` after a fault, until the factory has made another.
    service: Option<S>,
    factory: Box<dyn FnMut() -> S>,
    link: Rc<Link>,
}

/// What an incarnation and its driver share; actix keeps the actor itself out of the driver's reach.
#[derive(Default)]
struct Link {
    /// The fault an incarnation ended itself with.
    fault: RefCell<Option<Fault>>,
    /// True from a fault to the next incarnation: none of the actor's code may run.
    buried: Cell<bool>,
}

impl<S: Service> Supervised<S> {
    /// Ends this incarnation; the supervisor builds the next one.
    fn fail(&mut self, fault: Fault, ctx: &mut Ctx<S>) {
        self.link.fault.replace(Some(fault));
        self.link.buried.set(true);
        ctx.stop();
    }

    /// The actor itself, for futures and timers that run in its context. `None` only between two incarnations.
    pub fn service(&mut self) -> Option<&mut S> {
        if self.link.buried.get() { None } else { self.service.as_mut() }
    }
}

impl<S: Service> Actor for Supervised<S> {
    type Context = Ctx<S>;

    fn started(&mut self, ctx: &mut Ctx<S>) {
        if let Some(service) = self.service() {
            service.started(ctx);
        }
    }

    fn stopped(&mut self, ctx: &mut Ctx<S>) {
        if let Some(service) = self.service() {
            service.stopped(ctx);
        }
    }
}

impl<S: Service> actix::Supervised for Supervised<S> {
    fn restarting(&mut self, _ctx: &mut Ctx<S>) {
        self.service = None;
        self.service = Some((self.factory)());
        self.link.buried.set(false);
    }
}

/// Polls one actor through all its incarnations.
struct Driver<S: Service> {
    life: Option<ContextFut<Supervised<S>, Ctx<S>>>,
    link: Rc<Link>,
    restarting: Option<Pin<Box<Sleep>>>,
    /// Moments of the restarts inside the current window.
    restarts: Vec<tokio::time::Instant>,
    policy: RestartPolicy,
    vitals: Arc<Vitals>,
    tree: ActorTree,
    escalate: Option<Box<dyn FnOnce(Fault)>>,
}

impl<S: Service> Driver<S> {
    /// Counts a fault; schedules the next incarnation, or gives the actor up when the window is full.
    fn restart_later(&mut self, fault: Fault) {
        let now = tokio::time::Instant::now();
        self.restarts.retain(|at| now.duration_since(*at) < self.policy.window);
        self.vitals.record_fault(&fault.0);
        if self.restarts.len() >= self.policy.restarts_max as usize {
            tracing::error!(actor.kind = S::KIND, actor.name = %self.vitals.name(), error = %fault, "actor given up after too many restarts");
            self.vitals.set_state(ActorState::Failed);
            self.end();
            if let Some(escalate) = self.escalate.take() {
                escalate(fault);
            }
            return;
        }
        self.restarts.push(now);
        let delay = self.policy.delay(self.restarts.len() as u32);
        tracing::error!(actor.kind = S::KIND, actor.name = %self.vitals.name(), error = %fault, delay_ms = delay.as_millis() as u64, "actor restarts after a fault");
        self.vitals.set_state(ActorState::Restarting);
        self.restarting = Some(Box::pin(tokio::time::sleep(delay)));
    }

    /// Drops the actor and its mailbox. Dropping runs the actor's code, which may panic once more.
    fn end(&mut self) {
        let life = self.life.take();
        if catch_unwind(AssertUnwindSafe(|| drop(life))).is_err() {
            tracing::error!(actor.kind = S::KIND, actor.name = %self.vitals.name(), "actor panicked while it was dropped");
        }
        self.tree.forget(&self.vitals);
    }
}

impl<S: Service> Future for Driver<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            let Some(life) = &mut this.life else { return Poll::Ready(()) };
            let step = match &mut this.restarting {
                Some(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    this.restarting = None;
                    catch_unwind(AssertUnwindSafe(|| life.restart()))
                        .map(|restarted| if restarted { Step::Restarted } else { Step::Ended(None) })
                }
                None => catch_unwind(AssertUnwindSafe(|| match Pin::new(&mut *life).poll(cx) {
                    Poll::Pending => Step::Waiting,
                    Poll::Ready(()) => Step::Ended(this.link.fault.take()),
                })),
            };
            match step {
                Ok(Step::Waiting) => return Poll::Pending,
                Ok(Step::Restarted) => {
                    this.vitals.record_restart();
                    this.vitals.set_state(ActorState::Running);
                }
                Ok(Step::Ended(Some(fault))) => this.restart_later(fault),
                Ok(Step::Ended(None)) => {
                    this.vitals.set_state(ActorState::Stopped);
                    this.end();
                    return Poll::Ready(());
                }
                Err(panic) => {
                    this.link.buried.set(true);
                    this.restart_later(Fault(panic_message(&*panic)));
                }
            }
        }
    }
}

enum Step {
    Waiting,
    Restarted,
    /// With the fault the actor reported, or none when it stopped in order.
    Ended(Option<Fault>),
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panic: {}", text.unwrap_or_else(|| "of an unknown kind".to_owned()))
}
