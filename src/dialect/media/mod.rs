//! Everything that is neither a chat nor an embedding: moderations, rerank, images, speech and transcriptions.
//!
//! `request` and `multipart` read what a call asks for, `answer`, `stream` and `usage` what it got, `measure` joins both to what is
//! charged, `sound` tells how long a recording plays, `rerank` translates to Cohere's own format. Bodies travel as they came, but for
//! the model's name and the cost. Absent on purpose: files that outlive their call, and what a
//! format's options mean.

mod answer;
mod measure;
pub mod multipart;
mod request;
mod rerank;
mod sound;
mod stream;
mod usage;

use bytes::Bytes;

pub use self::request::Request;
use self::{measure::Expected, rerank::Rerank};
use super::{
    CallHead, Endpoint, Garbage, Meter, Whole,
    format::{Aim, Written},
    plan::CannotWrite,
};

/// Whether calls of this endpoint are the business of this module.
pub fn is_media(endpoint: Endpoint) -> bool {
    matches!(
        endpoint,
        Endpoint::Moderations
            | Endpoint::Rerank
            | Endpoint::ImageGenerations
            | Endpoint::ImageEdits
            | Endpoint::Speech
            | Endpoint::Transcriptions
            | Endpoint::Translations
    )
}

/// Whether the body of such a call is a form with files in it.
pub fn is_form(endpoint: Endpoint) -> bool {
    matches!(endpoint, Endpoint::ImageEdits | Endpoint::Transcriptions | Endpoint::Translations)
}

/// A call that was written for its upstream, waiting for the answer.
pub struct Waiting {
    expected: Expected,
    /// The call, where its answer is translated.
    rerank: Option<Rerank>,
}

impl Waiting {
    /// The body for an upstream that is asked at `upstream`.
    pub fn write(upstream: Endpoint, head: &CallHead, body: &Bytes, aim: &Aim<'_>) -> Result<(Self, Written), CannotWrite> {
        let request = Request::read(head, body)?;
        let expected = request.expected();
        if upstream == Endpoint::CohereRerank {
            let rerank = Rerank::read(body)?;
            let written = rerank.write(aim)?;
            return Ok((Self { expected, rerank: Some(rerank) }, written));
        }
        Ok((Self { expected, rerank: None }, request.forward(head, body, aim)))
    }

    /// Reads a whole answer. `content_type` is the upstream's, `model` the caller's own name of it.
    pub fn whole(&self, body: &Bytes, content_type: Option<&str>, model: &str) -> Result<Box<dyn Whole>, Garbage> {
        match &self.rerank {
            Some(rerank) => rerank.whole(body, self.expected, model),
            None => answer::read(self.expected, body, content_type),
        }
    }

    /// Follows a stream.
    pub fn meter(&self) -> Box<dyn Meter> {
        Box::new(stream::StreamMeter::new(self.expected))
    }
}
