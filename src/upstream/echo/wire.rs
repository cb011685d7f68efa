//! The JSON an echo answers chats and completions with. Written by hand, as benches measure everything but this.

use bytes::{Bytes, BytesMut};

use super::{Piece, text::Reply};
use crate::dialect::{
    Endpoint,
    json::{push_string, quoted},
    openai::Request,
};

/// What both kinds of answers have in common.
#[derive(Debug)]
pub(super) struct Script {
    chat: bool,
    id: String,
    created: i64,
    model: String,
    choices: u64,
    /// `,"usage":{…}`, unless it is to be left out.
    usage: Option<String>,
    finish_reason: &'static str,
}

impl Script {
    /// `created` in seconds since the epoch; the id is the end of the request id, after its prefix.
    pub fn new(request: &Request<'_>, request_id: &str, created: i64, cut: bool) -> Self {
        let chat = request.endpoint == Endpoint::ChatCompletions;
        let tail = request_id.rsplit_once('_').map_or(request_id, |(_, tail)| tail);
        Self {
            chat,
            id: format!("{}-{tail}", if chat { "chatcmpl" } else { "cmpl" }),
            created,
            model: request.model.clone().into_owned(),
            choices: request.n,
            usage: None,
            finish_reason: if cut { "length" } else { "stop" },
        }
    }

    pub fn with_usage(mut self, prompt: u64, completion: u64) -> Self {
        let total = prompt + completion;
        self.usage = Some(format!(r#","usage":{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{total}}}"#));
        self
    }

    /// One JSON object with all choices.
    pub fn whole(&self, text: &str) -> Bytes {
        let content = quoted(text);
        let mut out = self.head(if self.chat { "chat.completion" } else { "text_completion" });
        out.extend_from_slice(b"\"choices\":[");
        for index in 0..self.choices {
            out.extend_from_slice(format!("{}{{\"index\":{index},", if index > 0 { "," } else { "" }).as_bytes());
            let (before, after) =
                if self.chat { (r#""message":{"role":"assistant","content":"#, r#","refusal":null}"#) } else { (r#""text":"#, "") };
            for part in [before, &content, after, r#","logprobs":null,"finish_reason":""#, self.finish_reason, r#""}"#] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        out.push(b']');
        out.extend_from_slice(self.usage.as_deref().unwrap_or_default().as_bytes());
        out.push(b'}');
        Bytes::from(out)
    }

    /// `{"id":…,"object":…,"created":…,"model":…,`
    fn head(&self, object: &str) -> Vec<u8> {
        let mut out = b"{\"id\":".to_vec();
        push_string(&mut out, &self.id);
        out.extend_from_slice(format!(",\"object\":\"{object}\",\"created\":{},\"model\":", self.created).as_bytes());
        push_string(&mut out, &self.model);
        out.push(b',');
        out
    }
}

/// The events of a stream, written as they are asked for: a role chunk (chat only), one chunk for each piece, the finish chunk, the
/// usage chunk when asked for, the end mark. With several choices, each chunk comes once for each.
#[derive(Debug)]
pub(super) struct Stream {
    script: Script,
    head: Vec<u8>,
    reply: Reply,
    /// Pieces to deliver before the stream breaks off, if it shall.
    cut_after: Option<usize>,
    usage_asked: bool,
    phase: Phase,
    /// The choice that gets the current delta next.
    index: u64,
    delta: String,
    pieces: usize,
    out: BytesMut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Role,
    Content,
    Finish,
    Usage,
    Mark,
    Over,
}

impl Stream {
    pub fn new(script: Script, reply: Reply, usage_asked: bool, midstream: bool) -> Self {
        Self {
            head: script.head(if script.chat { "chat.completion.chunk" } else { "text_completion" }),
            cut_after: midstream.then(|| reply.pieces_left() / 2),
            phase: if script.chat { Phase::Role } else { Phase::Content },
            script,
            reply,
            usage_asked,
            index: 0,
            delta: String::new(),
            pieces: 0,
            out: BytesMut::new(),
        }
    }

    pub fn next_piece(&mut self) -> Option<Piece> {
        match self.phase {
            Phase::Role => {
                self.delta.replace_range(.., r#""delta":{"role":"assistant","content":""}"#);
                Some(Piece::Prompt(self.choice(Phase::Content)))
            }
            Phase::Content => self.content(),
            Phase::Finish => {
                self.delta.replace_range(.., if self.script.chat { r#""delta":{}"# } else { r#""text":"""# });
                Some(Piece::Prompt(self.choice(Phase::Usage)))
            }
            Phase::Usage => {
                self.phase = Phase::Mark;
                match self.script.usage.take().filter(|_| self.usage_asked) {
                    Some(usage) => Some(Piece::Prompt(self.event(&["\"choices\":[]", &usage]))),
                    None => self.next_piece(),
                }
            }
            Phase::Mark => {
                self.phase = Phase::Over;
                Some(Piece::Prompt(Bytes::from_static(b"data: [DONE]\n\n")))
            }
            Phase::Over => None,
        }
    }

    fn content(&mut self) -> Option<Piece> {
        if self.index > 0 {
            return Some(Piece::Prompt(self.choice(Phase::Content)));
        }
        if self.cut_after == Some(self.pieces) {
            self.phase = Phase::Over;
            return Some(Piece::Cut);
        }
        let Some(piece) = self.reply.next_piece() else {
            self.phase = Phase::Finish;
            return self.next_piece();
        };
        let text = quoted(piece);
        self.delta = if self.script.chat { format!(r#""delta":{{"content":{text}}}"#) } else { format!(r#""text":{text}"#) };
        self.pieces += 1;
        let event = self.choice(Phase::Content);
        Some(if self.pieces > 1 { Piece::Delayed(event) } else { Piece::Prompt(event) })
    }

    /// The current delta for the current choice; after the last choice comes the next phase.
    fn choice(&mut self, next: Phase) -> Bytes {
        let index = self.index.to_string();
        let delta = std::mem::take(&mut self.delta);
        let reason = if self.phase == Phase::Finish { format!("\"{}\"", self.script.finish_reason) } else { "null".to_owned() };
        let event = self.event(&["\"choices\":[{\"index\":", &index, ",", &delta, ",\"logprobs\":null,\"finish_reason\":", &reason, "}]"]);
        self.delta = delta;
        self.index += 1;
        if self.index == self.script.choices {
            self.index = 0;
            self.phase = next;
        }
        event
    }

    fn event(&mut self, parts: &[&str]) -> Bytes {
        let length = self.head.len() + parts.iter().map(|part| part.len()).sum::<usize>() + 9;
        // One allocation serves several events.
        if self.out.capacity() < length {
            self.out.reserve(length.max(4 * 1024));
        }
        self.out.extend_from_slice(b"data: ");
        self.out.extend_from_slice(&self.head);
        parts.iter().for_each(|part| self.out.extend_from_slice(part.as_bytes()));
        self.out.extend_from_slice(b"}\n\n");
        self.out.split().freeze()
    }
}
