//! Addresses that survive restarts, questions with a deadline, and hand-offs whose refusal must be handled.

use std::{sync::Arc, time::Duration};

use actix::Addr;
use tokio::sync::oneshot;

use super::{Ctx, Fault, Service, Supervised, vitals::Vitals};

/// What an actor can be told or asked.
pub trait Message: Send + 'static {
    type Reply: Send + 'static;
}

/// How an actor treats one kind of message. It decides without awaiting; an answer that needs IO is given later by keeping `reply`.
pub trait Receive<M: Message>: Service {
    /// An `Err` ends this incarnation: the actor is rebuilt and the asker is told that it failed.
    fn receive(&mut self, message: M, reply: Reply<M::Reply>, ctx: &mut Ctx<Self>) -> Result<(), Fault>;
}

/// The way back to whoever asked. Dropping it tells the asker that there will be no answer.
#[must_use = "an asker waits for this"]
pub struct Reply<R>(Option<oneshot::Sender<R>>);

impl<R> Reply<R> {
    /// Answers. Gives the answer back when the asker is gone, so that what it owns can be put away in order.
    pub fn send(self, answer: R) -> Result<(), R> {
        match self.0 {
            Some(sender) => sender.send(answer),
            None => Ok(()),
        }
    }

    /// True when nobody waits any more.
    pub fn is_abandoned(&self) -> bool {
        self.0.as_ref().is_some_and(oneshot::Sender::is_closed)
    }
}

/// Why a question got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("the actor's mailbox is full")]
    Full,
    #[error("the actor did not answer in time")]
    TimedOut,
    #[error("the actor failed while it handled the question")]
    Failed,
    #[error("the actor has ended")]
    Ended,
}

/// Why a hand-off was not taken; the message comes back.
#[derive(Debug)]
pub enum TellError<M> {
    Full(M),
    Ended(M),
}

/// The address of a supervised actor. It stays valid through restarts; clones are cheap.
pub struct Handle<S: Service> {
    address: Addr<Supervised<S>>,
    vitals: Arc<Vitals>,
}

impl<S: Service> Clone for Handle<S> {
    fn clone(&self) -> Self {
        Self { address: self.address.clone(), vitals: self.vitals.clone() }
    }
}

impl<S: Service> Handle<S> {
    pub(super) fn new(address: Addr<Supervised<S>>, vitals: Arc<Vitals>) -> Self {
        Self { address, vitals }
    }

    pub fn vitals(&self) -> &Arc<Vitals> {
        &self.vitals
    }

    /// Asks and waits for the answer, at most `deadline`.
    pub async fn ask<M: Message>(&self, message: M, deadline: Duration) -> Result<M::Reply, AskError>
    where
        S: Receive<M>,
    {
        let (sender, receiver) = oneshot::channel();
        self.post(message, Reply(Some(sender))).map_err(|refused| match refused {
            TellError::Full(_) => AskError::Full,
            TellError::Ended(_) => AskError::Ended,
        })?;
        match tokio::time::timeout(deadline, receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) if self.vitals.has_ended() => Err(AskError::Ended),
            Ok(Err(_)) => Err(AskError::Failed),
            Err(_) => Err(AskError::TimedOut),
        }
    }

    /// Hands a message over without waiting for an answer.
    pub fn tell<M: Message>(&self, message: M) -> Result<(), TellError<M>>
    where
        S: Receive<M>,
    {
        self.post(message, Reply(None))
    }

    /// Returns something the actor gave out. It is taken beyond the mailbox's bound, because its number is bounded already by what
    /// the actor gave out; only an actor that has ended misses it, and then nobody is left to want it.
    pub fn give_back<M: Message>(&self, message: M)
    where
        S: Receive<M>,
    {
        let place = Place::beyond_the_bound(self.vitals.clone());
        if let Err(refused) = self.address.try_send(Envelope { message, reply: Reply(None), place }) {
            refused.into_inner().place.withdraw();
        }
    }

    /// A snapshot of what the actor owns.
    pub async fn observe(&self, deadline: Duration) -> Result<serde_json::Value, AskError> {
        let (sender, receiver) = oneshot::channel();
        self.address.try_send(Observe(sender)).map_err(|_| AskError::Ended)?;
        match tokio::time::timeout(deadline, receiver).await {
            Ok(Ok(snapshot)) => Ok(snapshot),
            Ok(Err(_)) => Err(AskError::Failed),
            Err(_) => Err(AskError::TimedOut),
        }
    }

    /// Ends the actor in order, behind the messages that wait already, and waits until it is gone.
    pub async fn stop(&self, deadline: Duration) -> Result<(), AskError> {
        let ended = self.vitals.ended();
        if self.address.try_send(Stop).is_err() {
            return Ok(());
        }
        tokio::time::timeout(deadline, ended).await.map_err(|_| AskError::TimedOut)
    }

    fn post<M: Message>(&self, message: M, reply: Reply<M::Reply>) -> Result<(), TellError<M>>
    where
        S: Receive<M>,
    {
        let Some(place) = self.vitals.clone().enter() else { return Err(TellError::Full(message)) };
        self.address.try_send(Envelope { message, reply, place }).map_err(|refused| {
            let envelope = refused.into_inner();
            envelope.place.withdraw();
            TellError::Ended(envelope.message)
        })
    }
}

/// A message on its way, with its place in the mailbox.
struct Envelope<M: Message> {
    message: M,
    reply: Reply<M::Reply>,
    place: Place,
}

/// One counted place in a mailbox; dropped undelivered, it counts as a dead letter.
pub(super) struct Place {
    vitals: Arc<Vitals>,
    delivered: bool,
}

impl Place {
    pub(super) fn new(vitals: Arc<Vitals>) -> Self {
        Self { vitals, delivered: false }
    }

    fn beyond_the_bound(vitals: Arc<Vitals>) -> Self {
        vitals.enter_beyond_the_bound();
        Self::new(vitals)
    }

    fn deliver(mut self) {
        self.delivered = true;
        self.vitals.record_handled();
    }

    /// The message went back to its sender, who knows.
    fn withdraw(mut self) {
        self.delivered = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.vitals.leave(self.delivered);
    }
}

impl<M: Message> actix::Message for Envelope<M> {
    type Result = ();
}

impl<S: Receive<M>, M: Message> actix::Handler<Envelope<M>> for Supervised<S> {
    type Result = ();

    fn handle(&mut self, envelope: Envelope<M>, ctx: &mut Ctx<S>) {
        let Envelope { message, reply, place } = envelope;
        let Some(service) = self.service() else { return };
        place.deliver();
        if let Err(fault) = service.receive(message, reply, ctx) {
            self.fail(fault, ctx);
        }
    }
}

struct Observe(oneshot::Sender<serde_json::Value>);

impl actix::Message for Observe {
    type Result = ();
}

impl<S: Service> actix::Handler<Observe> for Supervised<S> {
    type Result = ();

    fn handle(&mut self, Observe(sender): Observe, _ctx: &mut Ctx<S>) {
        if let Some(service) = self.service() {
            // An asker that is gone needs no snapshot.
            let _ = sender.send(service.observe());
        }
    }
}

struct Stop;

impl actix::Message for Stop {
    type Result = ();
}

impl<S: Service> actix::Handler<Stop> for Supervised<S> {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Ctx<S>) {
        actix::ActorContext::stop(ctx);
    }
}
