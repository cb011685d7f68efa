//! The instant upstream: an OpenAI-compatible server with one fixed answer, in a process of its own.
//!
//! The model's name says what to answer: `mock` a short JSON; with `"stream": true`, `mock-stream-200x2ms` sends 200 content
//! events 2 ms apart, each in a write of its own, then usage and `[DONE]`. Usage is fixed: [`PROMPT_TOKENS`] in, and out
//! [`COMPLETION_TOKENS`] or one token an event. It ends when its standard input closes, so it cannot outlive the bench.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    process, thread,
    time::Duration,
};

use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{LocalSet, spawn_local, yield_now},
    time::{MissedTickBehavior, interval},
};

use crate::{
    Fallible,
    http1::{BodyReader, framing, head_length},
};

pub const PROMPT_TOKENS: u64 = 24;
pub const COMPLETION_TOKENS: u64 = 8;
/// The text of every content event; the load counts it.
pub const EVENT_TEXT: &str = " tick";

/// The part of a request that decides the answer.
#[derive(Deserialize)]
struct Ask<'a> {
    #[serde(borrow)]
    model: std::borrow::Cow<'a, str>,
    #[serde(default)]
    stream: bool,
}

/// How a streamed answer is paced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    pub events: u64,
    pub gap_ms: u64,
}

impl Pace {
    /// `mock-stream-200x2ms`
    pub fn model(self) -> String {
        format!("mock-stream-{}x{}ms", self.events, self.gap_ms)
    }

    fn parse(model: &str) -> Option<Self> {
        let (events, gap) = model.strip_prefix("mock-stream-")?.strip_suffix("ms")?.split_once('x')?;
        Some(Self { events: events.parse().ok()?, gap_ms: gap.parse().ok()? })
    }
}

/// Serves until standard input closes; prints its address first.
pub fn serve() -> Fallible {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        process::exit(0);
    });
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        println!("{}", listener.local_addr()?);
        io::stdout().flush()?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // A peer that hangs up in the middle is part of the game.
            spawn_local(async move { converse(stream).await.ok() });
        }
    })
}

async fn converse(mut stream: TcpStream) -> io::Result<()> {
    let answers = Answers::new();
    let mut input = Vec::with_capacity(4096);
    let mut body = Vec::with_capacity(1024);
    loop {
        let head = loop {
            if let Some(head) = head_length(&input) {
                break head;
            }
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        };
        let models = input.starts_with(b"GET ");
        let mut reader = BodyReader::new(framing(&input[..head])?);
        let mut used = head;
        body.clear();
        loop {
            used += reader.feed(&input[used..], &mut body)?;
            if reader.is_done() {
                break;
            }
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        }
        input.drain(..used);
        let ask = if models { None } else { serde_json::from_slice::<Ask>(&body).ok() };
        match ask {
            None if models => stream.write_all(&answers.models).await?,
            None => stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await?,
            Some(ask) if !ask.stream => stream.write_all(&answers.whole).await?,
            Some(ask) => {
                let pace = Pace::parse(&ask.model).unwrap_or(Pace { events: COMPLETION_TOKENS, gap_ms: 0 });
                answers.stream(&mut stream, pace).await?;
            }
        }
    }
}

/// The bytes of every answer, made once a connection.
struct Answers {
    whole: Vec<u8>,
    models: Vec<u8>,
    stream_head: Vec<u8>,
    event: Vec<u8>,
}

impl Answers {
    fn new() -> Self {
        let whole = format!(
            r#"{{"id":"chatcmpl-bench","object":"chat.completion","created":1700000000,"model":"mock","choices":[{{"index":0,"message":{{"role":"assistant","content":"A short answer, always the very same.","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":{PROMPT_TOKENS},"completion_tokens":{COMPLETION_TOKENS},"total_tokens":{}}}}}"#,
            PROMPT_TOKENS + COMPLETION_TOKENS
        );
        let models = r#"{"object":"list","data":[{"id":"mock","object":"model","created":1700000000,"owned_by":"bench"}]}"#;
        let mut stream_head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        stream_head.extend_from_slice(&event(&delta(r#"{"role":"assistant","content":""}"#, "null")));
        Self {
            whole: json_answer(&whole),
            models: json_answer(models),
            stream_head,
            event: event(&delta(&format!(r#"{{"content":"{EVENT_TEXT}"}}"#), "null")),
        }
    }

    async fn stream(&self, stream: &mut TcpStream, pace: Pace) -> io::Result<()> {
        stream.write_all(&self.stream_head).await?;
        let mut clock = interval(Duration::from_millis(pace.gap_ms.max(1)));
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for _ in 0..pace.events {
            if pace.gap_ms > 0 {
                clock.tick().await;
            } else {
                yield_now().await;
            }
            stream.write_all(&self.event).await?;
        }
        let usage = format!(
            r#"{{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"mock","choices":[],"usage":{{"prompt_tokens":{PROMPT_TOKENS},"completion_tokens":{},"total_tokens":{}}}}}"#,
            pace.events,
            PROMPT_TOKENS + pace.events
        );
        let mut tail = event(&delta("{}", r#""stop""#));
        tail.extend_from_slice(&event(&usage));
        tail.extend_from_slice(&event("[DONE]"));
        tail.extend_from_slice(b"0\r\n\r\n");
        stream.write_all(&tail).await
    }
}

fn json_answer(json: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{json}", json.len()).into_bytes()
}

fn delta(delta: &str, finish_reason: &str) -> String {
    format!(
        r#"{{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"mock","choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish_reason}}}],"usage":null}}"#
    )
}

/// One event in a chunk of its own.
fn event(data: &str) -> Vec<u8> {
    format!("{:x}\r\ndata: {data}\n\n\r\n", data.len() + "data: \n\n".len()).into_bytes()
}
