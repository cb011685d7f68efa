//! The body of an answer as it arrives, and the patience with it.

use std::{pin::Pin, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep, timeout};

use super::{Failure, Stage, echo::EchoBody, event_stream::EventStreamDecoder, http::describe};

/// An answer's body. Dropping it before its end closes the connection, which tells the upstream to stop.
#[derive(Debug)]
pub enum Body {
    Http(HttpBody),
    /// Amazon's binary messages, given out as server-sent events.
    Messages(Box<MessagesBody>),
    Echo(EchoBody),
    /// An answer of earlier, whole.
    Stored(Option<Bytes>),
}

impl Body {
    /// The next bytes; `None` at the end. Fails when nothing comes for the idle time or the call's whole time is over; a
    /// failure is the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        match self {
            Self::Http(body) => body.next().await,
            Self::Messages(body) => body.next().await,
            Self::Echo(body) => body.next().await,
            Self::Stored(bytes) => bytes.take().map(Ok),
        }
    }

    /// The whole body, if it has at most `limit_bytes`.
    pub async fn collect(mut self, limit_bytes: usize) -> Result<Bytes, Failure> {
        let Some(first) = self.next().await.transpose()? else { return Ok(Bytes::new()) };
        let mut whole = Whole::One(first);
        loop {
            if whole.len() > limit_bytes {
                return Err(Failure::TooLarge);
            }
            match self.next().await.transpose()? {
                Some(chunk) => whole.push(&chunk),
                None => return Ok(whole.into_bytes()),
            }
        }
    }
}

/// Most answers come in one chunk, which needs no copy.
enum Whole {
    One(Bytes),
    Many(BytesMut),
}

impl Whole {
    fn len(&self) -> usize {
        match self {
            Self::One(bytes) => bytes.len(),
            Self::Many(bytes) => bytes.len(),
        }
    }

    fn push(&mut self, chunk: &[u8]) {
        match self {
            Self::One(first) => {
                let mut joined = BytesMut::with_capacity((first.len() + chunk.len()) * 2);
                joined.extend_from_slice(first);
                joined.extend_from_slice(chunk);
                *self = Self::Many(joined);
            }
            Self::Many(joined) => joined.extend_from_slice(chunk),
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes.freeze(),
        }
    }
}

/// Body of an HTTP answer. A body whose length is known to be cut short fails; one that just ends at the connection's end cannot be told.
#[derive(Debug)]
pub struct HttpBody {
    /// `None` after the end.
    incoming: Option<Incoming>,
    patience: Patience,
}

impl HttpBody {
    pub(super) fn new(incoming: Incoming, patience: Patience) -> Self {
        Self { incoming: Some(incoming), patience }
    }

    async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        loop {
            let frame = match self.patience.wait(self.incoming.as_mut()?.frame()).await {
                Ok(frame) => frame,
                Err(failure) => return self.end(failure),
            };
            match frame {
                None => {
                    self.incoming = None;
                    return None;
                }
                Some(Err(error)) => return self.end(Failure::BrokenOff(describe(&error))),
                // Trailers carry nothing we use; empty frames would only wake everyone.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => {
                        self.patience.begun();
                        return Some(Ok(data));
                    }
                    _ => {}
                },
            }
        }
    }

    fn end(&mut self, failure: Failure) -> Option<Result<Bytes, Failure>> {
        self.incoming = None;
        Some(Err(failure))
    }
}

/// Body of an HTTP answer that is a stream of binary messages. One that ends inside a message fails.
#[derive(Debug)]
pub struct MessagesBody {
    body: HttpBody,
    decoder: EventStreamDecoder,
}

impl MessagesBody {
    pub(super) fn new(body: HttpBody) -> Self {
        Self { body, decoder: EventStreamDecoder::default() }
    }

    async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        loop {
            let chunk = match self.body.next().await {
                Some(Ok(chunk)) => chunk,
                Some(Err(failure)) => return Some(Err(failure)),
                None if self.decoder.is_between_messages() => return None,
                None => {
                    self.decoder = EventStreamDecoder::default();
                    return Some(Err(Failure::BrokenOff("the stream ended inside a message".to_owned())));
                }
            };
            match self.decoder.push(&chunk) {
                Ok(events) if events.is_empty() => {}
                Ok(events) => return Some(Ok(events)),
                Err(failure) => {
                    self.decoder = EventStreamDecoder::default();
                    return self.body.end(failure);
                }
            }
        }
    }
}

/// How long to wait: for the first byte of the body once, then between chunks, and never beyond the call's whole time.
/// Servers that send their headers at once and then think are given the first-byte time as well.
#[derive(Debug)]
pub(super) struct Patience {
    first_byte: Option<Pin<Box<Sleep>>>,
    idle: Duration,
    total: Pin<Box<Sleep>>,
}

impl Patience {
    /// Starts to run now.
    pub fn new(first_byte: Duration, idle: Duration, total: Duration) -> Self {
        Self { first_byte: Some(Box::pin(sleep(first_byte))), idle, total: Box::pin(sleep(total)) }
    }

    pub fn begun(&mut self) {
        self.first_byte = None;
    }

    /// Waits for `future`, polled first: bytes that are there are never late.
    pub async fn wait<F: Future>(&mut self, future: F) -> Result<F::Output, Failure> {
        let stage = async {
            match &mut self.first_byte {
                Some(first_byte) => tokio::select! {
                    biased;
                    output = future => Ok(output),
                    () = first_byte => Err(Stage::FirstByte),
                },
                None => timeout(self.idle, future).await.map_err(|_| Stage::Idle),
            }
        };
        tokio::select! {
            biased;
            output = stage => output.map_err(|stage| Failure::TimedOut { stage }),
            () = &mut self.total => Err(Failure::TimedOut { stage: Stage::Total }),
        }
    }
}
