//! What every fuzz target does with its bytes. Nothing here may panic, whatever they are; what could be read is also written again in every
//! other format.

#![allow(dead_code, unused_imports, reason = "the layers are used in part only")]

#[path = "../../src/dialect/mod.rs"]
mod dialect;
#[path = "../../src/domain/mod.rs"]
mod domain;

use std::rc::Rc;

use bytes::Bytes;

pub use dialect::Endpoint;
use dialect::{
    CallHead, Charge, ErrorBody, Framing,
    canonical::{Request, StreamEvent},
    format::{Aim, CallerFormat, Meter, Quirks, ReasoningStyle, StreamWriter, UpstreamFormat, Whole, Writing},
    openai, plan,
    sse::Decoder,
};
use domain::pricing::Quantities;

const EVENT_BYTES_MAX: usize = 1 << 16;

fn callers() -> impl Iterator<Item = (Endpoint, &'static dyn CallerFormat)> {
    Endpoint::ALL.into_iter().filter_map(|endpoint| Some((endpoint, plan::caller_format(endpoint)?)))
}

fn upstreams() -> impl Iterator<Item = &'static dyn UpstreamFormat> {
    Endpoint::ALL.into_iter().filter_map(plan::upstream_format)
}

fn head(endpoint: Endpoint) -> CallHead {
    CallHead { model: Some("m".to_owned()), streamed: Some(true), ..CallHead::new(endpoint) }
}

/// Both the newest server and the oldest.
fn aims() -> [Aim<'static>; 2] {
    let newest = Quirks { top_k: true, reasoning_input: true, ..Quirks::default() };
    let oldest = Quirks {
        max_completion_tokens: false,
        stream_usage: false,
        developer_role: false,
        json_schema: false,
        sampling: false,
        reasoning: ReasoningStyle::Budget,
        ..Quirks::default()
    };
    [newest, oldest].map(|quirks| Aim { model: "up", max_output_tokens: 4_096, quirks, drop_unsupported: true })
}

fn writing(endpoint: Endpoint, request: Option<Rc<Request>>) -> Writing {
    Writing { head: head(endpoint), call_id: "req_7".to_owned(), model: "m".to_owned(), created: 0, include_usage: true, request }
}

fn charge() -> Charge {
    Charge { cost_micros: 12, quantities: Quantities { input_tokens: 1, output_tokens: 2, ..Quantities::default() } }
}

fn error() -> ErrorBody<'static> {
    ErrorBody {
        status: 502,
        message: "broke off".into(),
        kind: "upstream_error".into(),
        param: None,
        code: "upstream_error".into(),
        request_id: "req_7".into(),
        limit: None,
        scope: None,
    }
}

/// A caller's body.
pub fn read_request(endpoint: Endpoint, data: &[u8]) {
    let Some(caller) = plan::caller_format(endpoint) else { return };
    for aim in aims() {
        let _ = caller.forward(&head(endpoint), &Bytes::copy_from_slice(data), &aim);
    }
    let Ok(request) = caller.read_request(&head(endpoint), data) else { return };
    let _ = (request.needs(), request.flat_tokens(), request.text_bytes());
    for upstream in upstreams() {
        for aim in aims() {
            let Ok(written) = upstream.write_request(&request, &aim) else { continue };
            let body = serde_json::from_slice::<&serde_json::value::RawValue>(&written.body);
            assert!(body.is_ok(), "{}", String::from_utf8_lossy(&written.body));
        }
    }
}

/// An upstream's whole answer.
pub fn read_answer(endpoint: Endpoint, data: &[u8]) {
    if let Some(caller) = plan::caller_format(endpoint)
        && let Ok(whole) = caller.peek(&Bytes::copy_from_slice(data), &writing(endpoint, None))
    {
        let _ = (whole.usage(), whole.id(), whole.finish(&charge()));
    }
    let Some(Ok(answer)) = plan::upstream_format(endpoint).map(|upstream| upstream.read_answer(data)) else { return };
    for (endpoint, caller) in callers() {
        let body = caller.write_answer(&answer, &writing(endpoint, Some(Rc::default())), &charge());
        assert!(serde_json::from_slice::<&serde_json::value::RawValue>(&body).is_ok(), "{}", String::from_utf8_lossy(&body));
    }
}

/// An upstream's stream.
pub fn read_stream(endpoint: Endpoint, data: &[u8]) {
    let Some(upstream) = plan::upstream_format(endpoint) else { return };
    let (mut reader, mut events) = (upstream.stream_reader(), Vec::new());
    let mut decoder = Decoder::new(EVENT_BYTES_MAX);
    decoder.push(Bytes::copy_from_slice(data));
    while let Some(Ok(event)) = decoder.next_event() {
        reader.read(&event, &mut events);
    }
    if let Some(event) = decoder.finish() {
        reader.read(&event, &mut events);
    }
    reader.ended(&mut events);
    check_order(&events);
    for (endpoint, caller) in callers() {
        let (mut writer, mut out) = (caller.stream_writer(&writing(endpoint, Some(Rc::default()))), Vec::new());
        for event in events.iter().filter(|event| !matches!(event, StreamEvent::Error { .. })) {
            writer.write(event, &mut out);
        }
        if events.contains(&StreamEvent::End) {
            writer.finish(&charge(), &mut out);
        } else {
            writer.fail(&error(), &mut out);
        }
    }
}

/// What readers promise: blocks one after the other, numbered without gaps, and nothing after the end.
fn check_order(events: &[StreamEvent]) {
    let mut open = std::collections::HashMap::new();
    let mut next = std::collections::HashMap::new();
    for (at, event) in events.iter().enumerate() {
        match event {
            StreamEvent::Start { .. } => assert_eq!(at, 0, "{events:?}"),
            StreamEvent::BlockStart { choice, block, .. } => {
                assert_eq!(open.insert(*choice, *block), None, "{events:?}");
                let expected = next.entry(*choice).or_insert(0u32);
                assert_eq!(expected, block, "{events:?}");
                *expected += 1;
            }
            StreamEvent::Delta { choice, block, .. }
            | StreamEvent::Signed { choice, block, .. }
            | StreamEvent::Cited { choice, block, .. } => {
                assert_eq!(open.get(choice), Some(block), "{events:?}");
            }
            StreamEvent::BlockStop { choice, block } => assert_eq!(open.remove(choice), Some(*block), "{events:?}"),
            StreamEvent::Finish { choice, .. } => assert_eq!(open.get(choice), None, "{events:?}"),
            StreamEvent::End | StreamEvent::Error { .. } => assert_eq!(at + 1, events.len(), "{events:?}"),
            StreamEvent::Logprobs { .. } | StreamEvent::Usage(_) | StreamEvent::Ping => {}
        }
    }
}

/// Streams that are forwarded: the first byte chooses the format.
pub fn meter(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let callers: Vec<_> = callers().collect();
    let (endpoint, caller) = callers[usize::from(*first) % callers.len()];
    let mut meter = caller.meter(&writing(endpoint, None));
    let mut decoder = Decoder::new(EVENT_BYTES_MAX);
    decoder.push(Bytes::copy_from_slice(data));
    while let Some(Ok(event)) = decoder.next_event() {
        let _ = meter.on_event(&event);
    }
    let _ = (meter.input_ended(), meter.is_complete(), meter.reported(), meter.has_content());
    let _ = meter.final_events(&charge());
}

/// Server-sent events: the same wherever the bytes are cut, and every byte is in one.
pub fn decode_events(data: &[u8]) {
    let decode = |chunks: &mut dyn Iterator<Item = &[u8]>| {
        let (mut decoder, mut events) = (Decoder::new(usize::MAX), Vec::new());
        for chunk in chunks {
            decoder.push(Bytes::copy_from_slice(chunk));
            while let Some(Ok(event)) = decoder.next_event() {
                events.push(event);
            }
        }
        events.extend(decoder.finish());
        events
    };
    let whole = decode(&mut std::iter::once(data));
    assert_eq!(whole, decode(&mut data.chunks(1)));
    assert_eq!(whole.iter().flat_map(|event| event.raw.to_vec()).collect::<Vec<u8>>(), data);
}

/// Calls that are forwarded.
pub fn peek_at_request(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    for endpoint in [Endpoint::ChatCompletions, Endpoint::Completions, Endpoint::Embeddings] {
        let Ok(request) = openai::Request::parse(endpoint, &body) else { continue };
        let _ = (request.needs(), request.flat_tokens(), request.text_bytes(), request.last_user_text());
        for aim in aims() {
            let forwarded = request.forward(&body, &aim).body;
            let again = openai::Request::parse(endpoint, &forwarded).expect("what was read can be forwarded");
            assert_eq!(again.model, aim.model);
        }
    }
}

/// Answers that are forwarded.
pub fn peek_at_answer(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    for endpoint in [Endpoint::ChatCompletions, Endpoint::Completions, Endpoint::Embeddings] {
        let Ok(answer) = openai::Answer::parse(endpoint, &body) else { continue };
        let (finished, _) = answer.finish(&charge());
        assert!(openai::Answer::parse(endpoint, &finished).is_ok(), "{}", String::from_utf8_lossy(&finished));
    }
}
