//! Dialects: one chunk of a stream on its way through, one large request on its way into another dialect.
//!
//! `cargo bench --bench micro -- chunk` and `… -- translate` select them. An iteration is one chunk or one request.

use std::{
    fs,
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::Criterion;
use pixgate::dialect::{
    CallHead, Endpoint, Step,
    format::{Aim, Quirks, Writing},
    plan::Plan,
    sse::Decoder,
};
use serde_json::{Value, json};

const CALLERS: [Endpoint; 4] = [Endpoint::ChatCompletions, Endpoint::Responses, Endpoint::Messages, Endpoint::GenerateContent];
const UPSTREAMS: [Endpoint; 5] =
    [Endpoint::ChatCompletions, Endpoint::Responses, Endpoint::Messages, Endpoint::GenerateContent, Endpoint::Converse];

/// Chunks of one answer; what a stream's beginning costs is spread over them.
const CHUNKS_PER_STREAM: u64 = 1_000;
const REQUEST_BYTES: usize = 100 * 1024;

const CHAT_ROLE: &str = r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}

"#;
const CHAT_CHUNK: &str = r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]}

"#;
const RESPONSES_START: &str = r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","created_at":1,"status":"in_progress","model":"m","output":[],"usage":null}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"id":"msg_1","type":"message","status":"in_progress","role":"assistant","content":[]}}

"#;
const RESPONSES_CHUNK: &str = r#"event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":0,"content_index":0,"delta":" word","logprobs":[],"obfuscation":"x1BnP2sQ8"}

"#;
const MESSAGES_START: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":10,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

"#;
const MESSAGES_CHUNK: &str = r#"event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" word"}}

"#;
const GEMINI_CHUNK: &str = r#"data: {"candidates":[{"content":{"parts":[{"text":" word"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":15},"modelVersion":"m","responseId":"r"}

"#;
const CONVERSE_START: &str = "event: messageStart\ndata: {\"role\":\"assistant\"}\n\n";
const CONVERSE_CHUNK: &str =
    "event: contentBlockDelta\ndata: {\"contentBlockIndex\":0,\"delta\":{\"text\":\" word\"},\"p\":\"abcdef\"}\n\n";

/// What an upstream's stream begins with, and one of its chunks.
fn stream_of(upstream: Endpoint) -> (&'static str, &'static str) {
    match upstream {
        Endpoint::Responses => (RESPONSES_START, RESPONSES_CHUNK),
        Endpoint::Messages => (MESSAGES_START, MESSAGES_CHUNK),
        Endpoint::GenerateContent => ("", GEMINI_CHUNK),
        Endpoint::Converse => (CONVERSE_START, CONVERSE_CHUNK),
        _ => (CHAT_ROLE, CHAT_CHUNK),
    }
}

fn head(endpoint: Endpoint, streamed: bool) -> CallHead {
    CallHead { model: Some("m".to_owned()), streamed: Some(streamed), ..CallHead::new(endpoint) }
}

fn aim() -> Aim<'static> {
    Aim { model: "theirs", max_output_tokens: 4_096, quirks: Quirks::default(), drop_unsupported: false }
}

/// A way from a caller to an upstream, with its body written.
fn plan(caller: Endpoint, upstream: Endpoint, body: &Bytes) -> Plan {
    let mut plan = Plan::choose(caller, &[upstream]).unwrap();
    plan.write(&head(caller, true), body, &aim()).unwrap();
    plan
}

fn translated(caller: Endpoint, upstream: Endpoint, body: &Bytes) -> Bytes {
    Plan::choose(caller, &[upstream]).unwrap().write(&head(caller, false), body, &aim()).unwrap().body
}

/// A long conversation with a tool, as a chat client sends it.
fn conversation(bytes: usize) -> Bytes {
    let text = "The quick brown fox jumps over the lazy dog, \"twice\".\n".repeat(18);
    let schema = json!({"type": "object", "properties": {"city": {"type": "string", "description": "Where"}}, "required": ["city"]});
    let tools = json!([{"type": "function", "function": {"name": "weather", "description": "The weather", "parameters": schema}}]);
    let mut messages = vec![json!({"role": "system", "content": "Be brief."})];
    let mut written = 0;
    while written < bytes {
        let id = format!("call_{}", messages.len());
        let call = json!({"id": id, "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Paris\"}"}});
        messages.extend([
            json!({"role": "user", "content": text}),
            json!({"role": "assistant", "content": null, "tool_calls": [call]}),
            json!({"role": "tool", "tool_call_id": id, "content": text}),
            json!({"role": "assistant", "content": text}),
        ]);
        written += 3 * text.len() + 300;
    }
    messages.push(json!({"role": "user", "content": "And tomorrow?"}));
    let body: Value = json!({"model": "m", "messages": messages, "tools": tools, "temperature": 0.5, "max_tokens": 500});
    body.to_string().into()
}

fn writing(caller: Endpoint) -> Writing {
    Writing {
        head: head(caller, true),
        call_id: "req_0123456789".to_owned(),
        model: "ours".to_owned(),
        created: 1,
        include_usage: true,
        request: None,
    }
}

/// Measures the time that this thread is on a processor where the system tells it (Linux), so that a busy machine does not count.
struct Stopwatch {
    started_at: Instant,
    on_cpu: Option<Duration>,
}

impl Stopwatch {
    fn start() -> Self {
        Self { started_at: Instant::now(), on_cpu: Self::on_cpu() }
    }

    fn elapsed(&self) -> Duration {
        match (self.on_cpu, Self::on_cpu()) {
            (Some(before), Some(now)) if now > before => now - before,
            _ => self.started_at.elapsed(),
        }
    }

    fn on_cpu() -> Option<Duration> {
        // Threads give way so that the count is brought up to date.
        std::thread::yield_now();
        let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
    }
}

/// Seconds that so many chunks take, a new stream every [`CHUNKS_PER_STREAM`].
fn relay(plan: &Plan, writing: &Writing, start: &'static str, chunk: &'static str, chunks: u64) -> Duration {
    let stopwatch = Stopwatch::start();
    let mut left = chunks;
    while left > 0 {
        let now = left.min(CHUNKS_PER_STREAM);
        left -= now;
        let mut decoder = Decoder::new(1 << 20);
        let mut meter = plan.meter(writing).unwrap();
        let pieces = std::iter::once(start).chain(std::iter::repeat_n(chunk, usize::try_from(now).unwrap()));
        for piece in pieces {
            decoder.push(Bytes::from_static(piece.as_bytes()));
            while let Some(event) = decoder.next_event() {
                match meter.on_event(&event.unwrap()) {
                    Step::Error { message } => panic!("{message}"),
                    step => drop(black_box(step)),
                }
            }
        }
        assert!(meter.has_content());
    }
    stopwatch.elapsed()
}

pub fn bench(criterion: &mut Criterion) {
    let small = conversation(0);
    for caller in CALLERS {
        let body = if caller == Endpoint::ChatCompletions { small.clone() } else { translated(Endpoint::ChatCompletions, caller, &small) };
        for upstream in UPSTREAMS {
            let kind = if caller == upstream { "same dialect" } else { "across" };
            let name = format!("chunk, {kind}: {} to {}", upstream.label(), caller.label());
            let (plan, writing) = (plan(caller, upstream, &body), writing(caller));
            let (start, chunk) = stream_of(upstream);
            criterion.bench_function(&name, |bencher| bencher.iter_custom(|chunks| relay(&plan, &writing, start, chunk, chunks)));
        }
    }
    let large = conversation(REQUEST_BYTES);
    for caller in CALLERS {
        let body = if caller == Endpoint::ChatCompletions { large.clone() } else { translated(Endpoint::ChatCompletions, caller, &large) };
        for upstream in UPSTREAMS.into_iter().filter(|upstream| *upstream != caller) {
            let name = format!("translate, {} KB: {} to {}", body.len() / 1024, caller.label(), upstream.label());
            criterion.bench_function(&name, |bencher| {
                bencher.iter_custom(|times| {
                    let stopwatch = Stopwatch::start();
                    for _ in 0..times {
                        drop(black_box(translated(caller, upstream, black_box(&body))));
                    }
                    stopwatch.elapsed()
                });
            });
        }
    }
}
