//! How one call is put to one upstream: in which format, with which body, and how the answer gets back.

use std::rc::Rc;

use bytes::Bytes;

use super::{
    CallHead, Endpoint, Garbage, Invalid, Meter, Whole, anthropic,
    canonical::{Embeddings, Encoding, Request},
    converse, embeddings,
    format::{Aim, CallerFormat, Unsupported, UpstreamFormat, Writing, Written},
    gemini,
    media::{self, Waiting},
    openai,
    responses::Responses,
    translate,
};
use crate::domain::refusal::Refusal;

/// Chat formats in the order in which an upstream that speaks several is asked by callers of another.
const CHAT_PREFERENCE: [Endpoint; 5] =
    [Endpoint::ChatCompletions, Endpoint::Messages, Endpoint::GenerateContent, Endpoint::Converse, Endpoint::Responses];

/// Rerank formats in that order.
const RERANK_PREFERENCE: [Endpoint; 2] = [Endpoint::Rerank, Endpoint::CohereRerank];

/// Embedding formats in that order.
const EMBEDDING_PREFERENCE: [Endpoint; 2] = [Endpoint::Embeddings, Endpoint::BatchEmbedContents];

/// The chat format of a route of ours.
pub fn caller_format(endpoint: Endpoint) -> Option<&'static dyn CallerFormat> {
    match endpoint {
        Endpoint::ChatCompletions => Some(&openai::chat::Chat),
        Endpoint::Responses => Some(&Responses),
        Endpoint::GenerateContent => Some(&gemini::GenerateContent),
        Endpoint::Messages => Some(&anthropic::Messages),
        _ => None,
    }
}

/// The chat format of something an upstream is asked.
pub fn upstream_format(endpoint: Endpoint) -> Option<&'static dyn UpstreamFormat> {
    match endpoint {
        Endpoint::Converse => Some(&converse::Converse),
        Endpoint::ChatCompletions => Some(&openai::chat::Chat),
        Endpoint::Responses => Some(&Responses),
        Endpoint::GenerateContent => Some(&gemini::GenerateContent),
        Endpoint::Messages => Some(&anthropic::Messages),
        _ => None,
    }
}

/// The call cannot be written for this upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotWrite {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

impl From<CannotWrite> for Refusal {
    fn from(error: CannotWrite) -> Self {
        match error {
            CannotWrite::Invalid(invalid) => invalid.into(),
            CannotWrite::Unsupported(unsupported) => unsupported.into(),
        }
    }
}

/// A call's way to an upstream and back.
pub struct Plan {
    caller: Endpoint,
    upstream: Endpoint,
    /// The call in canonical form, when it is translated.
    request: Option<Rc<Request>>,
    /// The same for an embedding call.
    embeddings: Option<Rc<Embeddings>>,
    /// The call, when it is neither chat nor embedding.
    media: Option<Waiting>,
    /// How vectors were asked for, when both sides speak OpenAI.
    encoding: Option<Encoding>,
}

impl Plan {
    /// The way to an upstream that speaks these formats, if there is one.
    pub fn choose(caller: Endpoint, speaks: &[Endpoint]) -> Option<Self> {
        let same = speaks.contains(&caller).then_some(caller);
        let family: &[Endpoint] = match caller {
            _ if caller.is_chat() => &CHAT_PREFERENCE,
            _ if caller.is_embedding() => &EMBEDDING_PREFERENCE,
            Endpoint::Rerank => &RERANK_PREFERENCE,
            _ => &[],
        };
        let translated = || family.iter().copied().find(|format| speaks.contains(format));
        let upstream = same.or_else(translated)?;
        Some(Self { caller, upstream, request: None, embeddings: None, media: None, encoding: None })
    }

    /// What the upstream is asked.
    pub fn upstream(&self) -> Endpoint {
        self.upstream
    }

    /// Whether the upstream's bytes reach the caller as they come.
    pub fn is_direct(&self) -> bool {
        self.caller == self.upstream
    }

    /// The body for the upstream. `body` is the caller's and was read before.
    pub fn write(&mut self, head: &CallHead, body: &Bytes, aim: &Aim<'_>) -> Result<Written, CannotWrite> {
        if media::is_media(self.caller) {
            let (waiting, written) = Waiting::write(self.upstream, head, body, aim)?;
            self.media = Some(waiting);
            return Ok(written);
        }
        if self.is_direct() {
            if self.caller == Endpoint::Embeddings {
                self.encoding = openai::embeddings::encoding_of(body);
            }
            return Ok(match self.caller {
                Endpoint::Completions | Endpoint::Embeddings => openai::Request::parse(self.caller, body)?.forward(body, aim),
                Endpoint::EmbedContent | Endpoint::BatchEmbedContents => gemini::embeddings::forward(head, body, aim)?,
                endpoint => format_of(endpoint)?.forward(head, body, aim)?,
            });
        }
        if self.caller.is_embedding() {
            let request = Rc::new(embeddings::read(head, body)?);
            let written = embeddings::write(self.upstream, &request, aim)?;
            self.embeddings = Some(request);
            return Ok(written);
        }
        let request = format_of(self.caller)?.read_request(head, body)?;
        let request = Rc::new(Request { caller: Some(self.caller), ..request });
        let written = upstream_format(self.upstream).ok_or_else(|| not_spoken(self.upstream))?.write_request(&request, aim)?;
        self.request = Some(request);
        Ok(written)
    }

    /// Reads an upstream's whole answer.
    pub fn whole(&self, body: &Bytes, content_type: Option<&str>, writing: &Writing) -> Result<Box<dyn Whole>, Garbage> {
        if let Some(waiting) = &self.media {
            return waiting.whole(body, content_type, &writing.model);
        }
        if let Some(request) = &self.embeddings {
            return embeddings::whole(self.caller, self.upstream, request, body, &writing.model);
        }
        let Some(request) = &self.request else {
            return match self.caller {
                Endpoint::Completions => Ok(Box::new(openai::Answer::parse(self.caller, body)?)),
                Endpoint::Embeddings => {
                    let converted = self.encoding.map(|encoding| openai::embeddings::as_asked(body, encoding));
                    Ok(Box::new(openai::Answer::parse(self.caller, converted.as_ref().unwrap_or(body))?))
                }
                Endpoint::EmbedContent | Endpoint::BatchEmbedContents => gemini::embeddings::peek(body),
                endpoint => caller_format(endpoint).ok_or_else(|| unreadable(endpoint))?.peek(body, writing),
            };
        };
        let caller = caller_format(self.caller).ok_or_else(|| unreadable(self.caller))?;
        let upstream = upstream_format(self.upstream).ok_or_else(|| unreadable(self.upstream))?;
        translate::whole(upstream, caller, body, &Writing { request: Some(request.clone()), ..writing.clone() })
    }

    /// Follows an upstream's streamed answer.
    pub fn meter(&self, writing: &Writing) -> Result<Box<dyn Meter>, Garbage> {
        if let Some(waiting) = &self.media {
            return Ok(waiting.meter());
        }
        let Some(request) = &self.request else {
            return match self.caller {
                Endpoint::Completions => Ok(Box::new(openai::StreamMeter::new(self.caller, writing.include_usage))),
                endpoint => Ok(caller_format(endpoint).ok_or_else(|| unreadable(endpoint))?.meter(writing)),
            };
        };
        let caller = caller_format(self.caller).ok_or_else(|| unreadable(self.caller))?;
        let upstream = upstream_format(self.upstream).ok_or_else(|| unreadable(self.upstream))?;
        let writing = Writing { request: Some(request.clone()), ..writing.clone() };
        Ok(Box::new(translate::TranslatedStream::new(upstream.stream_reader(), caller.stream_writer(&writing))))
    }
}

fn format_of(endpoint: Endpoint) -> Result<&'static dyn CallerFormat, Invalid> {
    caller_format(endpoint).ok_or_else(|| not_spoken(endpoint))
}

fn not_spoken(endpoint: Endpoint) -> Invalid {
    Invalid::body(format!("calls of {} cannot be written for this upstream", endpoint.path()))
}

fn unreadable(endpoint: Endpoint) -> Garbage {
    Garbage(format!("answers of {} cannot be read", endpoint.path()))
}
