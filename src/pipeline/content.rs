//! What is kept of calls, where operator and account want that: the request as its caller sent it, and what it was answered.
//!
//! Drafted when a call is admitted, filed once its answer is on its way. Neither waits for anything, and nothing here can fail a call.
//! Headers are never kept, so keys are not. Refusals before the admission, replays and realtime sessions leave nothing.

use std::{rc::Rc, sync::Arc};

use bytes::{Bytes, BytesMut};

use super::{Pipeline, admission::Admitted};
use crate::{
    domain::Timestamp,
    store::contents::{Body, Content},
};

/// How contents are kept.
#[derive(Debug, Clone, Copy)]
pub struct ContentPolicy {
    /// In microseconds.
    pub retention: Timestamp,
    /// Of a request, and of an answer; what is longer is cut.
    pub bytes_max: usize,
}

/// A call of which everything but its answer is known.
pub struct Draft {
    id: String,
    request_id: String,
    account_id: Arc<str>,
    key_id: Arc<str>,
    endpoint: &'static str,
    model: Arc<str>,
    request: Body,
    bytes_max: usize,
    created_at: Timestamp,
    expires_at: Timestamp,
}

impl Draft {
    /// `sent` is the body as it came in.
    pub(super) fn of(policy: ContentPolicy, call: &Admitted, sent: &Bytes) -> Rc<Self> {
        let content_type = call.head.content_type.clone().unwrap_or_else(|| "application/json".to_owned());
        Rc::new(Self {
            id: call.id.clone(),
            request_id: call.request_id.clone(),
            account_id: call.account_id.clone(),
            key_id: call.key_id.clone(),
            endpoint: call.head.endpoint.path(),
            model: call.model.id.clone(),
            request: cut(content_type, sent, policy.bytes_max),
            bytes_max: policy.bytes_max,
            created_at: call.arrived_at,
            expires_at: call.arrived_at.saturating_add(policy.retention),
        })
    }

    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Hands the call over with this answer.
    pub fn file(&self, pipeline: &Pipeline, status: u16, content_type: &str, answer: &[u8], answer_id: Option<String>) {
        self.file_body(pipeline, status, cut(content_type.to_owned(), answer, self.bytes_max), answer_id);
    }

    fn file_body(&self, pipeline: &Pipeline, status: u16, answer: Body, answer_id: Option<String>) {
        pipeline.contents.file(Content {
            id: self.id.clone(),
            account_id: self.account_id.to_string(),
            key_id: self.key_id.to_string(),
            request_id: self.request_id.clone(),
            answer_id,
            endpoint: self.endpoint.to_owned(),
            model: self.model.to_string(),
            status,
            request: self.request.clone(),
            answer,
            created_at: self.created_at,
            expires_at: self.expires_at,
        });
    }
}

fn cut(content_type: String, body: &[u8], bytes_max: usize) -> Body {
    let kept = body.get(..bytes_max).unwrap_or(body).to_vec();
    Body { content_type, kept, bytes: body.len() as u64 }
}

/// An answer that is streamed, as far as it was sent.
pub(super) struct Transcript {
    draft: Rc<Draft>,
    kept: BytesMut,
    bytes: u64,
}

impl Transcript {
    pub fn new(draft: Rc<Draft>) -> Self {
        Self { draft, kept: BytesMut::new(), bytes: 0 }
    }

    pub fn sent(&mut self, bytes: &[u8]) {
        let room = self.draft.bytes_max.saturating_sub(self.kept.len()).min(bytes.len());
        self.kept.extend_from_slice(&bytes[..room]);
        self.bytes += bytes.len() as u64;
    }

    /// The stream is over; its status was sent before its first byte.
    pub fn file(self, pipeline: &Pipeline, content_type: &str, answer_id: Option<String>) {
        let answer = Body { content_type: content_type.to_owned(), kept: self.kept.to_vec(), bytes: self.bytes };
        self.draft.file_body(pipeline, 200, answer, answer_id);
    }
}
