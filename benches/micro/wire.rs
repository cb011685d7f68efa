//! Bytes: requests parsed, events decoded and metered, keys hashed, tokens counted.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use pixgate::{
    dialect::{
        Endpoint, Meter, Step,
        openai::{Request, StreamMeter},
        sse::Decoder,
        tokens,
    },
    domain::{api_key::Shape, key_hash::KeyHasher},
};

const CHUNK: &str = r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]}

"#;

pub fn bench(criterion: &mut Criterion) {
    tokens::warm_up();
    let mut group = criterion.benchmark_group("wire");
    group.bench_function("key: shape and hash", |bencher| {
        let hasher = KeyHasher::new(b"a pepper of some length");
        let key = format!("px_live_{}0DofJ8", "A".repeat(43));
        let key = &key[..];
        bencher.iter(|| (Shape::of(black_box(key)).is_ok(), hasher.digest(black_box(key))));
    });
    let small = br#"{"model":"pixgate/echo","messages":[{"role":"user","content":"What is the capital of France?"}],"max_tokens":100}"#;
    group.bench_function("request: parse and count, 110 bytes", |bencher| {
        bencher.iter(|| Request::parse(Endpoint::ChatCompletions, black_box(small)).unwrap().input_tokens());
    });
    let text = "The quick brown fox jumps over the lazy dog. ".repeat(230);
    let large = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{text}"}}]}}"#);
    group.throughput(Throughput::Bytes(large.len() as u64));
    group.bench_function("request: parse and count, 10 KB", |bencher| {
        bencher.iter(|| Request::parse(Endpoint::ChatCompletions, black_box(large.as_bytes())).unwrap().input_tokens());
    });
    let stream = Bytes::from(CHUNK.repeat(1_000));
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("stream: decode and meter, per chunk", |bencher| {
        bencher.iter(|| {
            let mut decoder = Decoder::new(1 << 20);
            let mut meter = StreamMeter::new(Endpoint::ChatCompletions, false);
            decoder.push(stream.clone());
            let mut forwarded = 0;
            while let Some(event) = decoder.next_event() {
                if let Step::Forward(bytes) = meter.on_event(&event.unwrap()) {
                    forwarded += bytes.len();
                }
            }
            forwarded
        });
    });
    group.finish();
}
