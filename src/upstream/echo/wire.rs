//! The JSON an echo answers with. Written by hand, as benches measure everything but this.

use std::{borrow::Cow, collections::VecDeque};

use base64::Engine;
use bytes::{Bytes, BytesMut};
use serde::Deserialize;

use super::{Failure, Piece, refused, text};
use crate::dialect::{
    json::{push_string, quoted},
    openai::{Endpoint, Request},
};

const DIMENSIONS: usize = 64;
const DIMENSIONS_MAX: usize = 4_096;

/// Everything an answer depends on.
pub(super) struct Script<'a> {
    pub request: &'a Request<'a>,
    pub request_id: &'a str,
    /// Seconds since the epoch.
    pub created: i64,
    pub chunks: Option<usize>,
    pub midstream: bool,
    pub no_usage: bool,
}

impl Script<'_> {
    /// One JSON object with all choices.
    pub fn whole(&self) -> VecDeque<Piece> {
        if self.midstream {
            return VecDeque::from([Piece::Cut]);
        }
        let source = self.request.last_user_text();
        let reply = text::reply(&source, self.chunks, self.request.max_output_tokens);
        let content = quoted(&reply.pieces.concat());
        let reason = finish_reason(reply.cut);
        let object = if self.is_chat() { "chat.completion" } else { "text_completion" };
        let mut out = self.head(object);
        out.extend_from_slice(b"\"choices\":[");
        for index in 0..self.request.n {
            let choice = if self.is_chat() {
                format!(
                    r#"{{"index":{index},"message":{{"role":"assistant","content":{content},"refusal":null}},"logprobs":null,"finish_reason":"{reason}"}}"#
                )
            } else {
                format!(r#"{{"index":{index},"text":{content},"logprobs":null,"finish_reason":"{reason}"}}"#)
            };
            out.extend_from_slice(if index > 0 { b"," } else { b"" });
            out.extend_from_slice(choice.as_bytes());
        }
        out.push(b']');
        if !self.no_usage {
            out.extend_from_slice(self.usage(reply.tokens).as_bytes());
        }
        out.push(b'}');
        VecDeque::from([Piece::Prompt(Bytes::from(out))])
    }

    /// A role chunk (chat only), one chunk for each piece and choice, the finish chunks, the usage chunk when asked for, the end mark.
    /// All events are written into one buffer and given out as slices of it.
    pub fn stream(&self) -> VecDeque<Piece> {
        let source = self.request.last_user_text();
        let reply = text::reply(&source, self.chunks, self.request.max_output_tokens);
        let delivered = if self.midstream { reply.pieces.len() / 2 } else { reply.pieces.len() };
        let object = if self.is_chat() { "chat.completion.chunk" } else { "text_completion" };
        let mut writer = Writer { head: self.head(object), out: BytesMut::new(), pieces: VecDeque::new() };
        if self.is_chat() {
            self.for_each_choice(|index| writer.choice(index, r#""delta":{"role":"assistant","content":""},"#, None, false));
        }
        for (position, piece) in reply.pieces[..delivered].iter().enumerate() {
            let delta = self.delta(piece);
            self.for_each_choice(|index| writer.choice(index, &delta, None, position > 0 && index == 0));
        }
        if self.midstream {
            writer.pieces.push_back(Piece::Cut);
            return writer.pieces;
        }
        let empty = if self.is_chat() { r#""delta":{},"# } else { r#""text":"","# };
        self.for_each_choice(|index| writer.choice(index, empty, Some(finish_reason(reply.cut)), false));
        if self.request.include_usage && !self.no_usage {
            writer.event(&format!("\"choices\":[]{}", self.usage(reply.tokens)), false);
        }
        writer.pieces.push_back(Piece::Prompt(Bytes::from_static(b"data: [DONE]\n\n")));
        writer.pieces
    }

    /// One vector for each text, in floats or base64 as asked. Equal texts have equal vectors of length 1.
    pub fn embeddings(&self, body: &[u8]) -> Result<VecDeque<Piece>, Failure> {
        if self.midstream {
            return Ok(VecDeque::from([Piece::Cut]));
        }
        let format: EmbeddingFormat<'_> = serde_json::from_slice(body)
            .map_err(|_| refused(400, "'encoding_format' must be a string and 'dimensions' a whole number".to_owned()))?;
        let dimensions = format.dimensions.unwrap_or(DIMENSIONS);
        if !(1..=DIMENSIONS_MAX).contains(&dimensions) {
            return Err(refused(400, format!("'dimensions' must be a whole number from 1 to {DIMENSIONS_MAX}")));
        }
        let base64 = match format.encoding_format.as_deref() {
            None | Some("float") => false,
            Some("base64") => true,
            Some(_) => return Err(refused(400, "'encoding_format' must be float or base64".to_owned())),
        };
        let mut out = b"{\"object\":\"list\",\"data\":[".to_vec();
        for row in 0..self.request.rows() {
            // Texts given as tokens are told apart by their position only.
            let position = row.to_string();
            let text = self.request.texts().get(row).map_or(&*position, |text| text);
            out.extend_from_slice(if row > 0 { b"," } else { b"" });
            out.extend_from_slice(format!("{{\"object\":\"embedding\",\"index\":{row},\"embedding\":").as_bytes());
            push_vector(&mut out, &vector(text, dimensions), base64);
            out.push(b'}');
        }
        out.extend_from_slice(b"],\"model\":");
        push_string(&mut out, &self.request.model);
        if !self.no_usage {
            let tokens = self.request.input_tokens();
            out.extend_from_slice(format!(r#","usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}"#).as_bytes());
        }
        out.push(b'}');
        Ok(VecDeque::from([Piece::Prompt(Bytes::from(out))]))
    }

    fn is_chat(&self) -> bool {
        self.request.endpoint == Endpoint::ChatCompletions
    }

    fn for_each_choice(&self, each: impl FnMut(u64)) {
        (0..self.request.n).for_each(each);
    }

    /// `{"id":…,"object":…,"created":…,"model":…,` with the end of the request id, after its prefix.
    fn head(&self, object: &str) -> Vec<u8> {
        let tail = self.request_id.rsplit_once('_').map_or(self.request_id, |(_, tail)| tail);
        let prefix = if self.is_chat() { "chatcmpl" } else { "cmpl" };
        let mut out = b"{\"id\":".to_vec();
        push_string(&mut out, &format!("{prefix}-{tail}"));
        out.extend_from_slice(format!(",\"object\":\"{object}\",\"created\":{},\"model\":", self.created).as_bytes());
        push_string(&mut out, &self.request.model);
        out.push(b',');
        out
    }

    fn delta(&self, piece: &str) -> String {
        let text = quoted(piece);
        if self.is_chat() { format!(r#""delta":{{"content":{text}}},"#) } else { format!(r#""text":{text},"#) }
    }

    fn usage(&self, tokens_per_choice: u64) -> String {
        let (prompt, completion) = (self.request.input_tokens(), tokens_per_choice * self.request.n);
        let total = prompt + completion;
        format!(r#","usage":{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{total}}}"#)
    }
}

fn finish_reason(cut: bool) -> &'static str {
    if cut { "length" } else { "stop" }
}

struct Writer {
    head: Vec<u8>,
    out: BytesMut,
    pieces: VecDeque<Piece>,
}

impl Writer {
    fn choice(&mut self, index: u64, delta: &str, finish_reason: Option<&str>, delayed: bool) {
        let reason = finish_reason.map_or(Cow::Borrowed("null"), |reason| Cow::Owned(format!("\"{reason}\"")));
        self.event(&format!(r#""choices":[{{"index":{index},{delta}"logprobs":null,"finish_reason":{reason}}}]"#), delayed);
    }

    fn event(&mut self, rest: &str, delayed: bool) {
        self.out.reserve(4 * 1024);
        for part in [&b"data: "[..], &self.head, rest.as_bytes(), b"}\n\n"] {
            self.out.extend_from_slice(part);
        }
        let event = self.out.split().freeze();
        self.pieces.push_back(if delayed { Piece::Delayed(event) } else { Piece::Prompt(event) });
    }
}

#[derive(Deserialize)]
struct EmbeddingFormat<'a> {
    #[serde(borrow, default)]
    encoding_format: Option<Cow<'a, str>>,
    #[serde(default)]
    dimensions: Option<usize>,
}

/// FNV-1a over the text seeds xorshift; enough to look like an embedding.
fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut state = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // The upper 16 bits, centred on zero; never exactly zero.
        f32::from((state >> 48) as u16) - 32_767.5
    };
    let mut vector: Vec<f32> = (0..dimensions).map(|_| next()).collect();
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|value| *value /= length);
    vector
}

fn push_vector(out: &mut Vec<u8>, vector: &[f32], base64: bool) {
    if base64 {
        let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
        push_string(out, &base64::engine::general_purpose::STANDARD.encode(bytes));
        return;
    }
    out.push(b'[');
    for (position, value) in vector.iter().enumerate() {
        out.extend_from_slice(if position > 0 { b"," } else { b"" });
        out.extend_from_slice(value.to_string().as_bytes());
    }
    out.push(b']');
}
