//! A streamed answer on its way to the caller: forwarded as it comes, metered while it passes, settled before its end.
//!
//! The stream notices by its own drop that the caller left; what still has to be settled then goes on without it.

use std::{future::Future, pin::Pin, rc::Rc, sync::Arc};

use bytes::{Bytes, BytesMut};

use super::{
    Pipeline,
    admission::{Admitted, elapsed},
    cache::Keeping,
    content,
    metering::{self, Metered},
    settlement::{self, Ending, Kept},
};
use crate::{
    actors::{detached, places::Place, upstream::Gate},
    dialect::{ErrorBody, Framing, Meter, Step, sse::Decoder},
    domain::{Timestamp, usage::Outcome},
    telemetry::metrics::Stage,
    upstream::{Answer, Body, Failure},
};

/// What a streamed answer is announced as.
pub fn stream_content_type(framing: Framing) -> &'static str {
    match framing {
        Framing::Events => "text/event-stream",
        Framing::JsonArray => "application/json",
    }
}

/// Largest single event of a stream.
const EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A stream up to its first content.
pub struct Opening {
    body: Body,
    decoder: Decoder,
    meter: Box<dyn Meter>,
    /// What can be sent already.
    ready: Bytes,
    /// The end mark came with the first content.
    ended: bool,
    /// The stream failed in the same read that brought its first content.
    failed: Option<String>,
    place: Option<Place>,
    keeping: Option<RawKept>,
    started_at: Timestamp,
}

impl Opening {
    /// Reads until there is content to deliver, so that everything before it can still fail over.
    pub async fn read(
        pipeline: &Pipeline,
        meter: Box<dyn Meter>,
        answer: Answer,
        place: Option<Place>,
        keeping: Option<Keeping>,
        started_at: Timestamp,
    ) -> Result<Self, Failure> {
        let is_stream = answer.content_type.as_deref().is_none_or(|kind| kind.to_ascii_lowercase().starts_with("text/event-stream"));
        if !is_stream {
            return Err(Failure::Garbage("the upstream did not answer with an event stream".to_owned()));
        }
        let mut reader = Reader {
            decoder: Decoder::new(EVENT_BYTES_MAX),
            meter,
            raw: keeping.map(|keeping| RawKept { keeping, bytes: BytesMut::new() }),
        };
        let raw_max = pipeline.policy.cache.answer_bytes_max;
        let mut body = answer.body;
        let mut ready = BytesMut::new();
        let mut ended = false;
        let mut failed = None;
        while !ended && !reader.meter.has_content() {
            match body.next().await {
                Some(chunk) => reader.push(chunk?, raw_max),
                None => {
                    reader.finish_input();
                    let (bytes, pass) = reader.pass();
                    ready.extend_from_slice(&bytes);
                    ready.extend_from_slice(&reader.meter.input_ended());
                    match pass {
                        Pass::Failed(message) => return Err(Failure::Garbage(message)),
                        Pass::Ended => {}
                        Pass::More if reader.meter.is_complete() => {}
                        Pass::More => return Err(Failure::BrokenOff("the stream ended before its first content".to_owned())),
                    }
                    ended = true;
                    continue;
                }
            }
            let (bytes, pass) = reader.pass();
            ready.extend_from_slice(&bytes);
            match pass {
                Pass::More => {}
                Pass::Ended => ended = true,
                Pass::Failed(message) if reader.meter.has_content() => {
                    // Content came with the same read: it is delivered, then the stream fails.
                    failed = Some(message);
                    break;
                }
                Pass::Failed(message) => return Err(Failure::Garbage(message)),
            }
        }
        pipeline.metrics.stage(Stage::UpstreamFirstByte, elapsed(started_at, pipeline.clock.now()));
        let Reader { decoder, meter, raw } = reader;
        Ok(Self { body, decoder, meter, ready: ready.freeze(), ended, failed, place, keeping: raw, started_at })
    }
}

/// Decodes and meters.
struct Reader {
    decoder: Decoder,
    meter: Box<dyn Meter>,
    /// What the upstream sent, where it is to be kept.
    raw: Option<RawKept>,
}

/// A stream that is kept for the same request once it has ended well.
struct RawKept {
    keeping: Keeping,
    bytes: BytesMut,
}

enum Pass {
    /// More input is needed.
    More,
    /// The end mark came.
    Ended,
    Failed(String),
}

impl Reader {
    /// Takes what the upstream sent. A stream that grows too large is not kept.
    fn push(&mut self, chunk: Bytes, raw_bytes_max: usize) {
        if let Some(raw) = &mut self.raw {
            if raw.bytes.len() + chunk.len() <= raw_bytes_max {
                raw.bytes.extend_from_slice(&chunk);
            } else {
                self.raw = None;
            }
        }
        self.decoder.push(chunk);
    }

    /// Takes every event that is complete; answers with the bytes to forward.
    fn pass(&mut self) -> (Bytes, Pass) {
        let mut first: Option<Bytes> = None;
        let mut joined = BytesMut::new();
        let mut forward = |bytes: Bytes| match &first {
            None => first = Some(bytes),
            Some(earlier) => {
                if joined.is_empty() {
                    joined.extend_from_slice(earlier);
                }
                joined.extend_from_slice(&bytes);
            }
        };
        let mut pass = Pass::More;
        while let Some(event) = self.decoder.next_event() {
            let step = match event {
                Ok(event) => self.meter.on_event(&event),
                Err(too_long) => Step::Error { message: format!("an event of the stream is longer than {} bytes", too_long.limit_bytes) },
            };
            match step {
                Step::Forward(bytes) => forward(bytes),
                Step::HoldBack | Step::Usage => {}
                Step::Done => {
                    pass = Pass::Ended;
                    break;
                }
                Step::Error { message } => {
                    pass = Pass::Failed(message);
                    break;
                }
            }
        }
        let bytes = if joined.is_empty() { first.unwrap_or_default() } else { joined.freeze() };
        (bytes, pass)
    }

    /// The input ended: a last event may lack its blank line.
    fn finish_input(&mut self) {
        if let Some(event) = self.decoder.finish() {
            let mut whole = BytesMut::from(&event.raw[..]);
            whole.extend_from_slice(b"\n\n");
            self.decoder = Decoder::new(EVENT_BYTES_MAX);
            self.decoder.push(whole.freeze());
        }
    }
}

/// The rest of a call whose answer is streamed.
struct Running {
    pipeline: Rc<Pipeline>,
    call: Box<Admitted>,
    gate: Option<Arc<Gate>>,
    body: Body,
    reader: Reader,
    ending: Ending,
    /// What was sent so far, for duplicates; `None` without Idempotency-Key or when it grew too large.
    transcript: Option<BytesMut>,
    /// The same for the owner of the account, where contents are kept.
    kept: Option<content::Transcript>,
    _place: Option<Place>,
    started_at: Timestamp,
}

enum State {
    /// Bytes of the opening wait to be sent.
    Opened {
        ready: Bytes,
        then: Box<State>,
    },
    Relaying,
    Settling,
    Failing {
        message: String,
        outcome: Outcome,
        code: &'static str,
    },
}

/// The answer's body. Yields chunks, never errors: a failure is an event inside the stream.
pub struct Relay {
    /// Boxed, because it moves with the answer through several layers.
    running: Option<Box<(Running, State)>>,
    cut: Pin<Box<dyn Future<Output = ()>>>,
}

impl Relay {
    pub(super) fn new(pipeline: Rc<Pipeline>, call: Box<Admitted>, gate: Option<Arc<Gate>>, opening: Opening, ending: Ending) -> Self {
        let cut = Box::pin(pipeline.drain.is_cut());
        let transcript = call.idempotency.is_some().then(BytesMut::new);
        let kept = call.draft.clone().map(content::Transcript::new);
        let Opening { body, decoder, meter, ready, ended, failed, place, keeping, started_at } = opening;
        let then = match failed {
            Some(message) => interrupted(format!("the upstream broke off: {message}"), "upstream_error"),
            None if ended => State::Settling,
            None => State::Relaying,
        };
        let reader = Reader { decoder, meter, raw: keeping };
        let running = Running { pipeline, call, gate, body, reader, ending, transcript, kept, _place: place, started_at };
        Self { running: Some(Box::new((running, State::Opened { ready, then: Box::new(then) }))), cut }
    }

    /// The next bytes to send; `None` at the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            let (running, state) = &mut **self.running.as_mut()?;
            match state {
                State::Opened { ready, then } => {
                    let bytes = std::mem::take(ready);
                    *state = std::mem::replace(then, State::Relaying);
                    if !bytes.is_empty() {
                        return Some(running.sent(bytes));
                    }
                }
                State::Relaying => {
                    let chunk = tokio::select! {
                        biased;
                        chunk = running.body.next() => chunk,
                        () = &mut self.cut => {
                            let message = "this node is shutting down and its drain limit is reached; what was delivered is charged".to_owned();
                            *state = State::Failing { message, outcome: Outcome::Drained, code: "draining" };
                            continue;
                        }
                    };
                    let (bytes, next) = running.relay(chunk);
                    if let Some(next) = next {
                        *state = next;
                    }
                    if !bytes.is_empty() {
                        return Some(running.sent(bytes));
                    }
                }
                State::Settling | State::Failing { .. } => {
                    let (running, state) = *self.running.take()?;
                    // Goes on to its end even if the caller leaves at this very moment.
                    return detached::run_to_end(running.end(state)).await;
                }
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            let (running, state) = *running;
            // Nobody waits for it, and it must not be lost.
            drop(detached::run_to_end(running.abandoned(state)));
        }
    }
}

fn interrupted(message: String, code: &'static str) -> State {
    State::Failing { message, outcome: Outcome::UpstreamInterrupted, code }
}

/// A streamed answer that is kept.
struct Sent {
    transcript: content::Transcript,
    answer_id: Option<String>,
    content_type: &'static str,
}

impl Sent {
    fn file(mut self, pipeline: &Pipeline, last: &[u8]) {
        self.transcript.sent(last);
        self.transcript.file(pipeline, self.content_type, self.answer_id);
    }
}

impl Running {
    /// Keeps a copy of what is sent, while it is small enough to be replayed.
    fn sent(&mut self, bytes: Bytes) -> Bytes {
        if let Some(transcript) = &mut self.transcript {
            if transcript.len() + bytes.len() <= self.pipeline.policy.idempotency_bytes_max {
                transcript.extend_from_slice(&bytes);
            } else {
                self.transcript = None;
            }
        }
        if let Some(kept) = &mut self.kept {
            kept.sent(&bytes);
        }
        bytes
    }

    fn relay(&mut self, chunk: Option<Result<Bytes, Failure>>) -> (Bytes, Option<State>) {
        let ended = match chunk {
            Some(Ok(chunk)) => {
                self.reader.push(chunk, self.pipeline.policy.cache.answer_bytes_max);
                false
            }
            Some(Err(failure)) => {
                let code = if matches!(failure, Failure::TimedOut { .. }) { "upstream_timeout" } else { "upstream_error" };
                return (Bytes::new(), Some(interrupted(format!("the upstream broke off: {failure}"), code)));
            }
            None => {
                self.reader.finish_input();
                true
            }
        };
        let (mut bytes, pass) = self.reader.pass();
        if ended && matches!(pass, Pass::More) {
            let last = self.reader.meter.input_ended();
            if !last.is_empty() {
                bytes = [&bytes[..], &last[..]].concat().into();
            }
        }
        let next = match pass {
            Pass::Ended => Some(State::Settling),
            Pass::Failed(message) => Some(interrupted(format!("the upstream broke off: {message}"), "upstream_error")),
            Pass::More if !ended => None,
            Pass::More if self.reader.meter.is_complete() => Some(State::Settling),
            Pass::More => Some(interrupted("the upstream broke off: the stream ended early".to_owned(), "upstream_error")),
        };
        (bytes, next)
    }

    /// Settles and makes the stream's last bytes.
    async fn end(mut self, state: State) -> Bytes {
        let now = self.pipeline.clock.now();
        self.pipeline.metrics.stage(Stage::UpstreamTotal, elapsed(self.started_at, now));
        let request_id = self.call.request_id.clone();
        let failure = match state {
            State::Failing { message, outcome, code } => Some((message, outcome, code)),
            _ => None,
        };
        let reported = if failure.is_none() { self.reader.meter.reported() } else { None };
        let metered = self.meter(reported);
        let last = match &failure {
            None => self.reader.meter.final_events(&metered.charge(now)),
            Some((message, outcome, code)) => {
                self.ending.outcome = *outcome;
                self.ending.error_code = Some(code);
                if let Some(gate) = self.gate.as_ref().filter(|_| *outcome == Outcome::UpstreamInterrupted) {
                    gate.failed();
                }
                self.reader.meter.failure(&failure_body(message, code, &request_id))
            }
        };
        // Made before the meter goes; sent only if the charge cannot be made durable.
        let withheld = "the ledger could not be written; nothing was charged";
        let withheld = self.reader.meter.failure(&failure_body(withheld, "overloaded", &request_id));
        let raw = self.reader.raw.take().filter(|_| failure.is_none());
        let pipeline = self.pipeline.clone();
        let kept = self.take_kept();
        let durable = self.settle(metered, Some(last.clone())).await;
        let last = match durable {
            Ok(()) => {
                if let Some(RawKept { keeping, bytes }) = raw {
                    keeping.keep(&pipeline, bytes.freeze());
                }
                last
            }
            Err(error) => {
                tracing::error!(error = %error, "a stream ended without its end mark because its charge could not be made durable");
                withheld
            }
        };
        if let Some(kept) = kept {
            kept.file(&pipeline, &last);
        }
        last
    }

    /// What was sent so far, to be filed when the stream is over.
    fn take_kept(&mut self) -> Option<Sent> {
        let transcript = self.kept.take()?;
        let answer_id = self.reader.meter.answer_id().map(str::to_owned);
        Some(Sent { transcript, answer_id, content_type: stream_content_type(self.call.head.framing) })
    }

    /// The caller left: waits a moment for the upstream's report, then settles what was produced.
    async fn abandoned(mut self, state: State) {
        let state = match state {
            State::Opened { then, .. } => *then,
            state => state,
        };
        let mut ended = !matches!(state, State::Relaying);
        let drain = async {
            while !ended && let Some(Ok(chunk)) = self.body.next().await {
                self.reader.decoder.push(chunk);
                // What comes now is not delivered, but it was produced for this call.
                ended = !matches!(self.reader.pass().1, Pass::More);
            }
        };
        // In time or not: whatever is known then is charged.
        let _ = tokio::time::timeout(self.pipeline.policy.client_gone_drain, drain).await;
        if let State::Failing { outcome, code, .. } = state {
            self.ending.outcome = outcome;
            self.ending.error_code = Some(code);
        } else {
            self.ending.outcome = Outcome::ClientGone;
        }
        let reported = self.reader.meter.reported();
        let metered = self.meter(reported);
        let id = self.call.id.clone();
        let message = "the client left before the end of this answer; what was delivered until then was charged";
        let last = self.reader.meter.failure(&failure_body(message, "client_gone", &self.call.request_id));
        if let Some(kept) = self.take_kept() {
            // The caller did not get this end; it says why there is none.
            kept.file(&self.pipeline, &last);
        }
        if let Err(error) = self.settle(metered, Some(last)).await {
            tracing::error!(usage.id = %id, error = %error, "the charge of a call whose client had left could not be made durable");
        }
    }

    fn meter(&self, reported: Option<crate::domain::pricing::Quantities>) -> Metered {
        match self.reader.meter.measured(self.call.input_tokens) {
            Some(measured) => metering::meter_measured(&self.call, &measured),
            None => metering::meter(&self.call, reported, || self.reader.meter.produced_tokens()),
        }
    }

    async fn settle(self, metered: Metered, last: Option<Bytes>) -> Result<(), crate::actors::journal::NotDurable> {
        let Self { pipeline, call, reader, mut ending, transcript, body, .. } = self;
        // Closes the connection of a stream that did not end by itself.
        drop(body);
        ending.answer_id = reader.meter.answer_id().map(str::to_owned);
        let kept = call.idempotency.is_some().then(|| {
            let body = transcript.zip(last).map(|(mut transcript, last)| {
                transcript.extend_from_slice(&last);
                transcript.freeze()
            });
            Kept { content_type: stream_content_type(call.head.framing), body }
        });
        let response = reader.meter.kept();
        settlement::capture(&pipeline, call, metered, ending, kept, response).await
    }
}

fn failure_body<'a>(message: &'a str, code: &'static str, request_id: &'a str) -> ErrorBody<'a> {
    let status = match code {
        "upstream_timeout" => 504,
        "overloaded" | "draining" => 503,
        _ => 502,
    };
    ErrorBody {
        status,
        message: message.into(),
        kind: "server_error".into(),
        param: None,
        code: code.into(),
        request_id: request_id.into(),
        limit: None,
        scope: None,
    }
}
