//! How a node stops: first no new calls, then the running ones end by themselves, then they are cut.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    Draining,
    /// The drain limit is reached: streams end now.
    Cut,
}

/// Counts the calls of a node and tells them when to end. Clones share it.
#[derive(Clone)]
pub struct Drain(Arc<Shared>);

struct Shared {
    phase: watch::Sender<Phase>,
    open: AtomicUsize,
    changed: tokio::sync::Notify,
}

/// One running call.
pub struct CallGuard(Arc<Shared>);

impl Drop for CallGuard {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.changed.notify_waiters();
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self(Arc::new(Shared { phase: watch::Sender::new(Phase::Serving), open: AtomicUsize::new(0), changed: tokio::sync::Notify::new() }))
    }
}

impl Drain {
    /// Begins a call, unless the node is stopping.
    pub fn enter(&self) -> Option<CallGuard> {
        // Counted first, so that a drain that begins right now waits for this call or is seen by it.
        self.0.open.fetch_add(1, Ordering::AcqRel);
        let guard = CallGuard(self.0.clone());
        (*self.0.phase.borrow() == Phase::Serving).then_some(guard)
    }

    pub fn is_draining(&self) -> bool {
        *self.0.phase.borrow() >= Phase::Draining
    }

    pub fn open_calls(&self) -> usize {
        self.0.open.load(Ordering::Acquire)
    }

    /// Refuses new calls from now on.
    pub fn begin(&self) {
        self.0.phase.send_if_modified(|phase| std::mem::replace(phase, (*phase).max(Phase::Draining)) == Phase::Serving);
    }

    /// Ends the streams that still run.
    pub fn cut(&self) {
        self.0.phase.send_replace(Phase::Cut);
    }

    /// Waits until no call runs; `false` when some still do at the deadline.
    pub async fn idle(&self, deadline: Duration) -> bool {
        let wait = async {
            loop {
                let notified = self.0.changed.notified();
                tokio::pin!(notified);
                notified.as_mut().enable();
                if self.open_calls() == 0 {
                    return;
                }
                notified.await;
            }
        };
        tokio::time::timeout(deadline, wait).await.is_ok()
    }

    /// Resolves when the node begins to stop.
    pub fn has_begun(&self) -> impl Future<Output = ()> + use<> {
        self.reached(Phase::Draining)
    }

    /// Resolves when streams have to end.
    pub fn is_cut(&self) -> impl Future<Output = ()> + use<> {
        self.reached(Phase::Cut)
    }

    fn reached(&self, wanted: Phase) -> impl Future<Output = ()> + use<> {
        let mut phase = self.0.phase.subscribe();
        async move {
            // The sender lives as long as any call does.
            let _ = phase.wait_for(|phase| *phase >= wanted).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Drain;

    #[actix::test]
    async fn a_drain_refuses_new_calls_and_waits_for_running_ones() {
        let drain = Drain::default();
        let call = drain.enter().unwrap();
        drain.begin();
        assert!(drain.enter().is_none());
        assert!(!drain.idle(Duration::ZERO).await);
        let (idle, ()) = tokio::join!(drain.idle(Duration::from_secs(5)), async { drop(call) });
        assert!(idle);
        drain.cut();
        drain.is_cut().await;
    }
}
