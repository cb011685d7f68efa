//! A call as it came in, whatever its wire format: what admission and routing have to know of it.

use std::borrow::Cow;

use super::{
    CallHead, Endpoint, Invalid,
    canonical::{self, Needs},
    embeddings, media, openai, plan,
};
use crate::domain::pricing::Quantities;

/// A call, read and checked; borrows from its body where it can.
pub enum Inbound<'a> {
    OpenAi(Box<openai::Request<'a>>),
    Chat(Box<canonical::Request>),
    Embeddings(Box<canonical::Embeddings>),
    Media(Box<media::Request<'a>>),
}

impl<'a> Inbound<'a> {
    /// Reads and checks a body. Fields that are not read here are the upstream's business and pass as they are.
    pub fn read(head: &CallHead, body: &'a [u8]) -> Result<Self, Invalid> {
        match head.endpoint {
            Endpoint::ChatCompletions | Endpoint::Completions | Endpoint::Embeddings => {
                Ok(Self::OpenAi(Box::new(openai::Request::parse(head.endpoint, body)?)))
            }
            endpoint if media::is_media(endpoint) => Ok(Self::Media(Box::new(media::Request::read(head, body)?))),
            endpoint if endpoint.is_embedding() => Ok(Self::Embeddings(Box::new(embeddings::read(head, body)?))),
            endpoint => match plan::caller_format(endpoint) {
                Some(format) => Ok(Self::Chat(Box::new(format.read_request(head, body)?))),
                None => Err(Invalid::body(format!("{} cannot be called here", endpoint.path()))),
            },
        }
    }

    /// As the caller names it.
    pub fn model(&self) -> Cow<'_, str> {
        match self {
            Self::OpenAi(request) => Cow::Borrowed(&request.model),
            Self::Chat(request) => Cow::Borrowed(&request.model),
            Self::Embeddings(request) => Cow::Borrowed(&request.model),
            Self::Media(request) => Cow::Borrowed(&request.model),
        }
    }

    pub fn streamed(&self) -> bool {
        match self {
            Self::OpenAi(request) => request.streamed,
            Self::Chat(request) => request.streamed,
            Self::Embeddings(_) => false,
            Self::Media(request) => request.streamed,
        }
    }

    /// Whether a chat client asked for the usage chunk of a stream.
    pub fn include_usage(&self) -> bool {
        match self {
            Self::OpenAi(request) => request.include_usage,
            Self::Chat(request) => request.include_usage,
            Self::Embeddings(_) | Self::Media(_) => false,
        }
    }

    /// Of one answer; `None` leaves it to the model.
    pub fn max_output_tokens(&self) -> Option<u64> {
        match self {
            Self::OpenAi(request) => request.max_output_tokens,
            Self::Chat(request) => request.sampling.max_output_tokens,
            Self::Embeddings(_) | Self::Media(_) => None,
        }
    }

    /// Answers to make and pay output for: at least 1, or 0 where nothing is written by a model.
    pub fn choices(&self) -> u64 {
        match self {
            Self::OpenAi(request) => match request.endpoint {
                Endpoint::Embeddings => 0,
                Endpoint::Completions => request.n.saturating_mul(request.rows().max(1) as u64),
                _ => request.n,
            },
            Self::Chat(request) => request.sampling.n.unwrap_or(1).max(1),
            Self::Embeddings(_) => 0,
            Self::Media(request) => request.outputs,
        }
    }

    /// Bytes that [`Self::input_tokens`] has to tokenise: about 25 per microsecond.
    pub fn text_bytes(&self) -> usize {
        match self {
            Self::OpenAi(request) => request.text_bytes(),
            Self::Chat(request) => request.text_bytes(),
            Self::Embeddings(request) => request.text_bytes(),
            Self::Media(request) => request.text_bytes(),
        }
    }

    /// Our count of the input, rather too high than too low. Takes milliseconds for large texts.
    pub fn input_tokens(&self) -> u64 {
        match self {
            Self::OpenAi(request) => request.input_tokens(),
            Self::Chat(request) => request.input_tokens(),
            Self::Embeddings(request) => request.input_tokens(),
            Self::Media(request) => request.input_tokens(),
        }
    }

    /// The most of everything else that the call can use: images, characters, seconds, searches.
    pub fn fixed(&self) -> Quantities {
        match self {
            Self::Media(request) => request.ceiling(),
            _ => Quantities::default(),
        }
    }

    /// What the model must be able to do.
    pub fn needs(&self) -> Needs {
        match self {
            Self::OpenAi(request) => request.needs(),
            Self::Chat(request) => request.needs(),
            Self::Embeddings(_) | Self::Media(_) => Needs::default(),
        }
    }
}
