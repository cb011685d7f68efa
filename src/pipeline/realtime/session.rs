//! One session: relays until a side leaves, charges every response before its end is forwarded, settles what is left.

use std::{rc::Rc, sync::Arc, time::Duration};

use super::{
    CallError, ClientReader, ClientWriter, Closing, Gone, Heard, Opening, Place, Told,
    charges::{Charges, Ended},
    conversation::{Conversation, Running},
};
use crate::{
    actors::{catalog::Candidate, detached, directory::Presented, upstream::Gate},
    dialect::{
        Endpoint,
        realtime::{CANCEL_RESPONSE, FromClient, FromServer, Kind, Names, ResponseDone, Transcribed},
        tokens,
    },
    domain::{Timestamp, pricing::Quantities, refusal::Refusal, usage::Outcome},
    pipeline::{
        CallGuard, Facts, FailureClass, Pipeline,
        admission::elapsed,
        screening::{self, Said},
    },
    upstream::{Failure, Received, Socket, Stage},
};

/// Larger texts are counted away from the worker thread.
const COUNT_INLINE_BYTES_MAX: usize = 64 * 1024;
/// So many pings without any sign of life, and a side is gone.
const SILENT_PINGS_MAX: u32 = 3;

/// A session that was admitted and connected; [`Session::run`] relays it.
pub struct Session {
    pipeline: Rc<Pipeline>,
    charges: Charges,
    conversation: Conversation,
    socket: Socket,
    gate: Arc<Gate>,
    names: [String; 2],
    presented: Presented,
    request_id: String,
    upstream_model: Arc<str>,
    facts: Facts,
    /// One as a rule; an upstream may answer out of turn.
    running: Vec<Running>,
    /// A response was asked for and has not begun.
    asked: bool,
    /// Reported, and charged with the next response.
    pending: Quantities,
    /// Ends the session as soon as no response runs.
    leaving: Option<End>,
    opened_at: Timestamp,
    last_message_at: Timestamp,
    upstream_heard_at: Timestamp,
    /// Pings since the last sign of life.
    client_silent_pings: u32,
    upstream_silent_pings: u32,
    _held: (CallGuard, (Place, Option<Place>)),
}

/// Why a session ends.
#[derive(Debug)]
enum End {
    ClientGone,
    /// The caller sent something that cannot be relayed.
    Unfit(Refusal),
    /// The next response is refused, or the last could not be charged.
    Refused(CallError),
    Upstream(Failure),
    Draining,
    Drained,
    /// Idle, or as long as sessions get.
    Over(String),
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::ClientGone
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Upstream(failure)
    }
}

impl Session {
    #[expect(clippy::too_many_arguments, reason = "what the opening of a session has gathered")]
    pub(super) fn new(
        pipeline: Rc<Pipeline>,
        opening: Opening,
        charges: Charges,
        conversation: Conversation,
        socket: Socket,
        candidate: &Candidate,
        facts: Facts,
        held: (CallGuard, (Place, Option<Place>)),
    ) -> Self {
        let now = pipeline.clock.now();
        let id = charges.model_id().to_owned();
        Self {
            pipeline,
            charges,
            conversation,
            socket,
            gate: candidate.gate.clone(),
            names: [opening.model, id],
            presented: opening.presented,
            request_id: opening.request_id,
            upstream_model: candidate.upstream_model.clone(),
            facts,
            running: Vec::new(),
            asked: false,
            pending: Quantities::default(),
            leaving: None,
            opened_at: now,
            last_message_at: now,
            upstream_heard_at: now,
            client_silent_pings: 0,
            upstream_silent_pings: 0,
            _held: held,
        }
    }

    /// What the answer's headers say.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Relays to the session's end and settles it, also when nobody waits any more.
    pub fn run(mut self, mut reader: impl ClientReader + 'static, mut writer: impl ClientWriter + 'static) {
        drop(detached::run_to_end(async move {
            let end = match self.relay(&mut reader, &mut writer).await {
                Ok(never) => match never {},
                Err(end) => end,
            };
            self.finish(end, writer).await;
        }));
    }

    async fn relay(&mut self, reader: &mut impl ClientReader, writer: &mut impl ClientWriter) -> Result<std::convert::Infallible, End> {
        let (begun, cut) = (self.pipeline.drain.has_begun(), self.pipeline.drain.is_cut());
        tokio::pin!(begun, cut);
        let mut told = false;
        let mut ticks = tokio::time::interval(self.pipeline.policy.realtime.ping);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut cut => return Err(End::Drained),
                () = &mut begun, if !told => {
                    told = true;
                    self.leave(End::Draining)?;
                }
                received = self.socket.next() => {
                    let received = received.unwrap_or_else(|| Err(Failure::BrokenOff("it closed the session".to_owned())))?;
                    self.upstream_heard_at = self.pipeline.clock.now();
                    self.upstream_silent_pings = 0;
                    if let Received::Text(message) = received {
                        self.last_message_at = self.upstream_heard_at;
                        self.upstream_said(message, writer).await?;
                    }
                }
                heard = reader.hear() => {
                    self.client_silent_pings = 0;
                    match heard {
                        Heard::Text(message) => {
                            self.last_message_at = self.pipeline.clock.now();
                            self.client_said(&message, writer).await?;
                        }
                        Heard::Ping(payload) => writer.pong(payload).await?,
                        Heard::Sign => {}
                        Heard::Unfit(refusal) => return Err(End::Unfit(refusal)),
                        Heard::Gone => return Err(End::ClientGone),
                    }
                }
                _ = ticks.tick() => {
                    self.check_times()?;
                    self.socket.ping().await?;
                    writer.ping().await?;
                }
            }
        }
    }

    /// Ends the session now, or after the response that runs.
    fn leave(&mut self, end: End) -> Result<(), End> {
        if !self.is_answering() {
            return Err(end);
        }
        self.leaving.get_or_insert(end);
        Ok(())
    }

    fn is_answering(&self) -> bool {
        self.asked || !self.running.is_empty()
    }

    fn check_times(&mut self) -> Result<(), End> {
        let policy = self.pipeline.policy.realtime;
        let now = self.pipeline.clock.now();
        if elapsed(self.opened_at, now) > policy.session_max {
            let message = format!("a session ends after {} seconds; open another", policy.session_max.as_secs());
            self.leave(End::Over(message))?;
        }
        if elapsed(self.last_message_at, now) > policy.idle {
            return Err(End::Over(format!("nothing was said for {} seconds; open another session", policy.idle.as_secs())));
        }
        // Counted in pings and not in time, so that a clock that is set cannot end sessions.
        if self.client_silent_pings >= SILENT_PINGS_MAX {
            return Err(End::ClientGone);
        }
        let timeouts = self.gate.target.timeouts;
        let answers_since = self.running.first().map(|running| running.started_at);
        if answers_since.is_some_and(|since| elapsed(since, now) > Duration::from_millis(timeouts.total_ms)) {
            return Err(Failure::TimedOut { stage: Stage::Total }.into());
        }
        let upstream_silent = elapsed(self.upstream_heard_at, now);
        let is_idle = self.is_answering() && upstream_silent > Duration::from_millis(timeouts.idle_ms);
        if is_idle || self.upstream_silent_pings >= SILENT_PINGS_MAX {
            return Err(Failure::TimedOut { stage: Stage::Idle }.into());
        }
        self.client_silent_pings += 1;
        self.upstream_silent_pings += 1;
        Ok(())
    }

    async fn client_said(&mut self, message: &str, writer: &mut impl ClientWriter) -> Result<(), End> {
        let names = Names { public: [&self.names[0], &self.names[1]], upstream: &self.upstream_model };
        let event = match FromClient::read(message, names) {
            Ok(event) => event,
            Err(invalid) => return refuse(writer, invalid.into()).await,
        };
        if event.kind == Kind::ResponseCreate && self.is_answering() {
            let message = "a response runs in this session already; wait for its response.done, or cancel it".to_owned();
            return refuse(writer, Refusal::Invalid { message, param: None }).await;
        }
        let said = Said { endpoint: Endpoint::Realtime, model: &self.names[1], request_id: &self.request_id, presented: &self.presented };
        match screening::screen_event(&self.pipeline, message, said).await {
            Ok(()) => {}
            // The session goes on without the event, and its hits are kept.
            Err(CallError::Refused(refusal @ (Refusal::ContentScreened { .. } | Refusal::NotScreened), _)) => {
                return refuse(writer, refusal).await;
            }
            Err(error) => return Err(End::Refused(error)),
        }
        let text_tokens = count(event.input.text.clone()).await;
        self.conversation.add(&event.input, text_tokens);
        if self.charges.is_outgrown(&self.conversation) && !self.is_answering() {
            self.admit().await?;
        }
        self.asked |= event.kind == Kind::ResponseCreate;
        Ok(self.socket.send(event.message).await?)
    }

    async fn upstream_said(&mut self, message: String, writer: &mut impl ClientWriter) -> Result<(), End> {
        let event = FromServer::read(&message, &self.names[1]).map_err(|garbage| Failure::Garbage(garbage.0))?;
        match event {
            FromServer::ResponseDone(done) => return self.response_done(done, &message, writer).await,
            FromServer::Transcribed(transcribed) => return self.transcribed(transcribed, message, writer).await,
            FromServer::Session { session, message } => {
                self.conversation.sound.learn(&session);
                return Ok(writer.say(message).await?);
            }
            FromServer::ResponseCreated { id } => {
                self.asked = false;
                self.conversation.response_begins();
                self.running.push(Running::new(id, self.pipeline.clock.now()));
            }
            FromServer::Part(part) => {
                let now = self.pipeline.clock.now();
                if let Some(running) = self.running.last_mut() {
                    running.add(part, now);
                }
            }
            // The event that was asked for may be what failed; a response that comes nevertheless is metered all the same.
            FromServer::Error => self.asked = false,
            FromServer::Other => {}
        }
        writer.say(message).await?;
        self.go_if_leaving()
    }

    /// A response ended: charged first, forwarded then, and the next one admitted.
    async fn response_done(&mut self, done: ResponseDone, message: &str, writer: &mut impl ClientWriter) -> Result<(), End> {
        let message = self.charge(done, message).await?;
        writer.say(message).await?;
        self.go_if_leaving()?;
        self.admit().await
    }

    fn go_if_leaving(&mut self) -> Result<(), End> {
        match self.leaving.take() {
            Some(end) => self.leave(end),
            None => Ok(()),
        }
    }

    /// Charges a response that ended; its last event with the cost in it.
    async fn charge(&mut self, done: ResponseDone, message: &str) -> Result<String, End> {
        let position = self.running.iter().position(|running| running.id == done.id).unwrap_or(0);
        let running = match self.running.get(position) {
            Some(_) => self.running.remove(position),
            None => Running::new(done.id.clone(), self.pipeline.clock.now()),
        };
        let outcome = if done.failed { Outcome::UpstreamInterrupted } else { Outcome::Completed };
        let error_code = done.failed.then_some("upstream_error");
        if done.usage.is_none() && running.is_empty() {
            let outcome = if done.failed { Outcome::UpstreamFailed } else { Outcome::Completed };
            let ended = Ended { answer_id: done.id, ..Ended::without_usage(outcome, error_code) };
            self.charges.release_with(Ended { started_at: Some(running.started_at), ..ended });
            return ResponseDone::with_cost(message, 0).map_err(|garbage| Failure::Garbage(garbage.0).into());
        }
        let used = done.usage.unwrap_or_else(|| self.estimate(std::slice::from_ref(&running)));
        self.conversation.response_ended(&used);
        let quantities = Quantities { requests: 1, ..used.plus(&std::mem::take(&mut self.pending)) };
        let ended = Ended {
            quantities,
            estimated: done.usage.is_none(),
            outcome,
            error_code,
            answer_id: done.id,
            started_at: Some(running.started_at),
            first_byte_at: running.first_byte_at,
        };
        let cost_micros = self.charges.capture(ended).await.map_err(End::Refused)?;
        ResponseDone::with_cost(message, cost_micros).map_err(|garbage| Failure::Garbage(garbage.0).into())
    }

    /// What these responses used, by our own count.
    fn estimate(&self, responses: &[Running]) -> Quantities {
        let produced = responses.iter().map(|running| running.produced(self.conversation.sound));
        produced.fold(self.conversation.input(), |sum, produced| sum.plus(&produced))
    }

    /// A transcript costs, too: at once when no response runs, else with that response.
    async fn transcribed(&mut self, transcribed: Transcribed, message: String, writer: &mut impl ClientWriter) -> Result<(), End> {
        let Some(usage) = transcribed.usage else { return Ok(writer.say(message).await?) };
        if self.is_answering() {
            self.pending = self.pending.plus(&usage);
            return Ok(writer.say(message).await?);
        }
        let ended = Ended { quantities: usage, answer_id: transcribed.item_id, ..Ended::without_usage(Outcome::Completed, None) };
        let cost_micros = self.charges.capture(ended).await.map_err(End::Refused)?;
        let message = Transcribed::with_cost(&message, cost_micros).map_err(|garbage| Failure::Garbage(garbage.0))?;
        writer.say(message).await?;
        self.admit().await
    }

    async fn admit(&mut self) -> Result<(), End> {
        self.charges.admit(&self.conversation).await.map(|_| ()).map_err(End::Refused)
    }

    /// Settles what is open, tells the caller why, and leaves.
    async fn finish(mut self, end: End, mut writer: impl ClientWriter) {
        let asks_for_report = !matches!(end, End::Upstream(_) | End::Drained);
        if asks_for_report && self.is_answering() {
            self.ask_for_report().await;
        }
        let delivered = self.running.iter().any(|running| !running.is_empty());
        let (outcome, error_code) = match &end {
            End::Upstream(failure) if delivered => (Outcome::UpstreamInterrupted, Some(FailureClass::of(failure).shown().1)),
            End::Upstream(failure) => (Outcome::UpstreamFailed, Some(FailureClass::of(failure).shown().1)),
            End::Draining | End::Drained => (Outcome::Drained, Some("draining")),
            _ => (Outcome::ClientGone, Some("client_gone")),
        };
        let settled = self.settle(outcome, error_code, delivered).await;
        if let End::Upstream(failure) = &end {
            tracing::warn!(upstream = self.gate.name(), error = %failure, "a realtime session broke off");
            if failure.counts_against_breaker() && self.is_answering() {
                self.gate.failed();
            }
        }
        let told = settled.map_or_else(|error| Some((Told::Call(error), Closing::Failed)), |()| end.told());
        if let Some((told, closing)) = told {
            let _ = writer.tell(told).await;
            writer.close(closing).await;
        } else {
            writer.close(Closing::Ended).await;
        }
        self.socket.close().await;
    }

    /// Stops the response that runs and waits, for the drain limit, for what it used.
    async fn ask_for_report(&mut self) {
        let limit = self.pipeline.policy.client_gone_drain;
        let work = async {
            self.socket.send(CANCEL_RESPONSE.to_owned()).await?;
            while let Some(received) = self.socket.next().await {
                let Received::Text(message) = received? else { continue };
                match FromServer::read(&message, &self.names[1]).map_err(|garbage| Failure::Garbage(garbage.0))? {
                    FromServer::ResponseCreated { id } => {
                        self.asked = false;
                        self.conversation.response_begins();
                        self.running.push(Running::new(id, self.pipeline.clock.now()));
                        self.socket.send(CANCEL_RESPONSE.to_owned()).await?;
                    }
                    FromServer::ResponseDone(done) => {
                        // Reported after the caller left: it is charged as what it was to the caller.
                        return Ok(Some(done));
                    }
                    FromServer::Error => return Ok(None),
                    _ => {}
                }
            }
            Ok::<_, Failure>(None)
        };
        let done = match tokio::time::timeout(limit, work).await {
            Ok(Ok(Some(done))) => done,
            Ok(Err(failure)) => {
                tracing::info!(error = %failure, "an upstream reported no usage after its caller had left");
                return;
            }
            _ => return,
        };
        if let Some(used) = done.usage {
            let running = self.running.pop();
            let ended = Ended {
                quantities: Quantities { requests: 1, ..used.plus(&std::mem::take(&mut self.pending)) },
                answer_id: done.id,
                started_at: running.as_ref().map(|running| running.started_at),
                first_byte_at: running.as_ref().and_then(|running| running.first_byte_at),
                ..Ended::without_usage(Outcome::ClientGone, Some("client_gone"))
            };
            self.asked = false;
            self.running.clear();
            if let Err(error) = self.charges.capture(ended).await {
                tracing::error!(error = ?error, "a response whose caller had left could not be charged");
            }
        }
    }

    /// Charges what was delivered of the responses that run, and what is pending; else the hold is released.
    async fn settle(&mut self, outcome: Outcome, error_code: Option<&'static str>, delivered: bool) -> Result<(), CallError> {
        let first = self.running.first();
        let ended = Ended {
            quantities: std::mem::take(&mut self.pending),
            estimated: delivered,
            answer_id: first.and_then(|running| running.id.clone()),
            started_at: first.map(|running| running.started_at),
            first_byte_at: first.and_then(|running| running.first_byte_at),
            ..Ended::without_usage(outcome, error_code)
        };
        if delivered {
            let quantities = Quantities { requests: 1, ..ended.quantities.plus(&self.estimate(&self.running)) };
            return self.charges.capture(Ended { quantities, ..ended }).await.map(|_| ());
        }
        if ended.quantities != Quantities::default() {
            return self.charges.capture(ended).await.map(|_| ());
        }
        match self.is_answering() {
            true => self.charges.release_with(ended),
            false => self.charges.release(),
        }
        Ok(())
    }
}

impl End {
    /// What the caller is told, when it is still there.
    fn told(self) -> Option<(Told, Closing)> {
        Some(match self {
            Self::ClientGone => return None,
            Self::Unfit(refusal) => {
                let closing = if matches!(refusal, Refusal::TooLarge { .. }) { Closing::TooLarge } else { Closing::Refused };
                (Told::Call(refusal.into()), closing)
            }
            Self::Refused(error @ CallError::Refused(..)) => (Told::Call(error), Closing::Refused),
            Self::Refused(error) => (Told::Call(error), Closing::Failed),
            Self::Upstream(failure) => {
                let code = FailureClass::of(&failure).shown().1;
                (
                    Told::BrokenOff { code, message: format!("the upstream broke off: {failure}; what was delivered is charged") },
                    Closing::Failed,
                )
            }
            Self::Draining | Self::Drained => (Told::Call(Refusal::Draining.into()), Closing::GoingAway),
            Self::Over(message) => (Told::Call(Refusal::Invalid { message, param: None }.into()), Closing::Ended),
        })
    }
}

/// Tells the caller that an event was not relayed; the session goes on.
async fn refuse(writer: &mut impl ClientWriter, refusal: Refusal) -> Result<(), End> {
    Ok(writer.tell(Told::Call(refusal.into())).await?)
}

async fn count(text: String) -> u64 {
    if text.len() <= COUNT_INLINE_BYTES_MAX {
        return tokens::count(&text);
    }
    let bytes = text.len() as u64;
    // No token is shorter than a byte.
    detached::compute(move || tokens::count(&text)).await.unwrap_or(bytes)
}
