//! The built-in models `pixgate/echo` and `pixgate/echo-embedding`, for trials, tests and benches. They need no network and speak the
//! wire format as an upstream would, so that everything in front of them works as in earnest.
//!
//! Chat answers with the last user message, completions with the prompt, embeddings with vectors made from the text's bytes. Usage is our
//! own token count. A call's `metadata` may hold these options:
//!
//! | option | effect |
//! |---|---|
//! | `delay_ms` | waits before the first byte, and before every content delta after the first |
//! | `chunks` | exactly that many content deltas (words are grouped or split, or ` echo` added, to that number); `max_tokens` may still end them early |
//! | `fail` | `status:NNN`: refuses with that status; `midstream`: breaks off after half of the deltas, or instead of a whole answer; `hang`: never answers; `no_usage`: answers without usage |

mod embedding;
mod text;
mod wire;

use std::{borrow::Cow, rc::Rc, time::Duration};

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use serde::Deserialize;
use tokio::time::sleep;

use super::{Answer, Body, Call, Failure, Provider, body::Patience};
use crate::{
    clock::Clock,
    dialect::{Endpoint, json::is_object, openai::Request},
    domain::{SECOND, catalog::Timeouts},
};

const DELAY_MS_MAX: u64 = 600_000;
const CHUNKS_MAX: usize = 100_000;
/// What a refusal with status 429 asks for.
const RETRY_AFTER_MS: u64 = 1_000;
/// All choices of one answer that is not streamed.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The built-in upstream.
#[derive(Debug, Clone)]
pub struct Echo(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    timeouts: Timeouts,
}

impl Echo {
    pub fn new(clock: Clock, timeouts: Timeouts) -> Self {
        Self(Rc::new(Shared { clock, timeouts }))
    }
}

impl Provider for Echo {
    fn call(&self, call: Call) -> LocalBoxFuture<'static, Result<Answer, Failure>> {
        let shared = self.0.clone();
        Box::pin(async move { shared.call(&call).await })
    }

    fn probe(&self) -> LocalBoxFuture<'static, Result<u64, Failure>> {
        Box::pin(async { Ok(0) })
    }
}

impl Shared {
    async fn call(&self, call: &Call) -> Result<Answer, Failure> {
        let millis = Duration::from_millis;
        let mut patience = Patience::new(millis(self.timeouts.first_byte_ms), millis(self.timeouts.idle_ms), call.deadline);
        let request = Request::parse(call.endpoint, &call.body).map_err(|invalid| refused(400, invalid.message))?;
        let options = Options::read(request.metadata())?;
        match options.fail {
            Some(Fail::Status(status)) => return Err(refused(status, format!("the echo model was asked to fail with status {status}"))),
            Some(Fail::Hang) => patience.wait(std::future::pending::<()>()).await?,
            _ => {}
        }
        let source = self.answer(call, &request, &options).await?;
        if let Some(delay) = options.delay {
            patience.wait(sleep(delay)).await?;
        }
        patience.begun();
        let content_type = if request.streamed { "text/event-stream" } else { "application/json" };
        let body = Body::Echo(EchoBody { source, delay: options.delay, patience });
        Ok(Answer { status: 200, content_type: Some(content_type.to_owned()), body })
    }

    async fn answer(&self, call: &Call, request: &Request<'_>, options: &Options) -> Result<Source, Failure> {
        let midstream = options.fail == Some(Fail::Midstream);
        if midstream && !request.streamed {
            return Ok(Source::Whole(Some(Piece::Cut)));
        }
        let usage_wanted = options.fail != Some(Fail::NoUsage);
        let mut prompt_tokens = request.flat_tokens();
        for text in request.input_texts() {
            prompt_tokens += text::count(text).await;
        }
        if request.endpoint == Endpoint::Embeddings {
            let answer = embedding::answer(request, &call.body, usage_wanted.then_some(prompt_tokens))?;
            return Ok(Source::Whole(Some(Piece::Prompt(answer))));
        }
        let mut reply = text::Reply::new(&request.last_user_text(), options.chunks);
        let mut tokens = text::count(reply.text()).await;
        let limit = request.max_output_tokens.filter(|most| tokens > *most);
        if let Some(most) = limit {
            tokens = reply.cut_to(most).await;
        }
        let mut script = wire::Script::new(request, &call.request_id, self.clock.now() / SECOND, limit.is_some());
        if usage_wanted {
            script = script.with_usage(prompt_tokens, tokens * request.n);
        }
        if request.streamed {
            return Ok(Source::Stream(Box::new(wire::Stream::new(script, reply, request.include_usage, midstream))));
        }
        if reply.text().len() as u64 * request.n > ANSWER_BYTES_MAX {
            return Err(refused(400, "'n' times the message is too much to answer at once; stream it".to_owned()));
        }
        Ok(Source::Whole(Some(Piece::Prompt(script.whole(reply.text())))))
    }
}

fn refused(status: u16, message: String) -> Failure {
    Failure::Refused { status, message, retry_after_ms: (status == 429).then_some(RETRY_AFTER_MS) }
}

/// What an echo has left to say.
#[derive(Debug)]
pub struct EchoBody {
    source: Source,
    delay: Option<Duration>,
    patience: Patience,
}

#[derive(Debug)]
enum Source {
    Whole(Option<Piece>),
    Stream(Box<wire::Stream>),
}

#[derive(Debug)]
enum Piece {
    /// Bytes that come at once.
    Prompt(Bytes),
    /// Bytes that come after the delay.
    Delayed(Bytes),
    /// The end of a connection that broke.
    Cut,
}

impl EchoBody {
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        // Without a delay all is ready at once; others on this thread must get their turn nevertheless.
        if let Err(failure) = self.patience.wait(tokio::task::consume_budget()).await {
            return self.end(failure);
        }
        let piece = match &mut self.source {
            Source::Whole(piece) => piece.take(),
            Source::Stream(stream) => stream.next_piece(),
        };
        let bytes = match piece? {
            Piece::Prompt(bytes) => bytes,
            Piece::Delayed(bytes) => {
                let waited = match self.delay {
                    Some(delay) => self.patience.wait(sleep(delay)).await,
                    None => Ok(()),
                };
                if let Err(failure) = waited {
                    return self.end(failure);
                }
                bytes
            }
            Piece::Cut => return self.end(Failure::BrokenOff("the echo model was asked to break off".to_owned())),
        };
        Some(Ok(bytes))
    }

    fn end(&mut self, failure: Failure) -> Option<Result<Bytes, Failure>> {
        self.source = Source::Whole(None);
        Some(Err(failure))
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    delay: Option<Duration>,
    chunks: Option<usize>,
    fail: Option<Fail>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fail {
    Status(u16),
    Midstream,
    Hang,
    NoUsage,
}

/// Other members of `metadata` are the caller's own.
#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    delay_ms: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    chunks: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    fail: Option<Cow<'a, str>>,
}

impl Options {
    fn read(metadata: Option<&str>) -> Result<Self, Failure> {
        let Some(json) = metadata else { return Ok(Self::default()) };
        let metadata: Metadata<'_> = Some(json)
            .filter(|json| is_object(json))
            .and_then(|json| serde_json::from_str(json).ok())
            .ok_or_else(|| refused(400, "'metadata' must be an object; the echo model's options in it are strings".to_owned()))?;
        let delay_ms = number("delay_ms", metadata.delay_ms.as_deref(), DELAY_MS_MAX)?;
        let chunks = number("chunks", metadata.chunks.as_deref(), CHUNKS_MAX as u64)?;
        Ok(Self {
            delay: delay_ms.filter(|delay_ms| *delay_ms > 0).map(Duration::from_millis),
            chunks: chunks.and_then(|chunks| usize::try_from(chunks).ok()),
            fail: metadata.fail.as_deref().map(read_fail).transpose()?,
        })
    }
}

fn number(name: &str, text: Option<&str>, most: u64) -> Result<Option<u64>, Failure> {
    let Some(text) = text else { return Ok(None) };
    match text.parse::<u64>() {
        Ok(number) if number <= most => Ok(Some(number)),
        _ => Err(refused(400, format!("'metadata.{name}' must be a whole number from 0 to {most}, written as a string"))),
    }
}

fn read_fail(text: &str) -> Result<Fail, Failure> {
    let status = text.strip_prefix("status:").and_then(|status| status.parse().ok()).filter(|status| (400..600).contains(status));
    match (text, status) {
        (_, Some(status)) => Ok(Fail::Status(status)),
        ("midstream", _) => Ok(Fail::Midstream),
        ("hang", _) => Ok(Fail::Hang),
        ("no_usage", _) => Ok(Fail::NoUsage),
        _ => Err(refused(400, "'metadata.fail' must be status:400 to status:599, midstream, hang or no_usage".to_owned())),
    }
}

#[cfg(test)]
mod tests;
