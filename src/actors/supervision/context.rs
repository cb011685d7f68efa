//! Futures and timers of an actor: they end with its incarnation, and their results come back to the service itself.

use std::{future::Future, time::Duration};

use actix::{ActorFutureExt, AsyncContext, fut::wrap_future};

use super::{Ctx, Service, Supervised};

pub trait ServiceContext<S: Service> {
    /// Runs `future` beside the mailbox and gives what it yields to `then`.
    fn run<F: Future + 'static>(&mut self, future: F, then: impl FnOnce(&mut S, F::Output, &mut Ctx<S>) + 'static);

    /// Runs `future` before the next message is taken from the mailbox.
    fn run_first<F: Future + 'static>(&mut self, future: F, then: impl FnOnce(&mut S, F::Output, &mut Ctx<S>) + 'static);

    fn after(&mut self, delay: Duration, act: impl FnOnce(&mut S, &mut Ctx<S>) + 'static);

    fn every(&mut self, interval: Duration, act: impl FnMut(&mut S, &mut Ctx<S>) + 'static);
}

impl<S: Service> ServiceContext<S> for Ctx<S> {
    fn run<F: Future + 'static>(&mut self, future: F, then: impl FnOnce(&mut S, F::Output, &mut Ctx<S>) + 'static) {
        self.spawn(wrap_future::<_, Supervised<S>>(future).map(|output, actor, ctx| {
            if let Some(service) = actor.service() {
                then(service, output, ctx);
            }
        }));
    }

    fn run_first<F: Future + 'static>(&mut self, future: F, then: impl FnOnce(&mut S, F::Output, &mut Ctx<S>) + 'static) {
        self.wait(wrap_future::<_, Supervised<S>>(future).map(|output, actor, ctx| {
            if let Some(service) = actor.service() {
                then(service, output, ctx);
            }
        }));
    }

    fn after(&mut self, delay: Duration, act: impl FnOnce(&mut S, &mut Ctx<S>) + 'static) {
        self.run_later(delay, |actor, ctx| {
            if let Some(service) = actor.service() {
                act(service, ctx);
            }
        });
    }

    fn every(&mut self, interval: Duration, mut act: impl FnMut(&mut S, &mut Ctx<S>) + 'static) {
        self.run_interval(interval, move |actor, ctx| {
            if let Some(service) = actor.service() {
                act(service, ctx);
            }
        });
    }
}
