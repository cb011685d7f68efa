//! What every fuzz target does with its bytes. Nothing here may panic, whatever they are; what could be read is also written again in every
//! other format.

use std::rc::Rc;

use bytes::Bytes;

pub use crate::dialect::Endpoint;
use crate::{
    dialect::{
        CallHead, Charge, ErrorBody, Inbound,
        canonical::{Request, StreamEvent},
        files,
        format::{Aim, CallerFormat, Quirks, ReasoningStyle, UpstreamFormat, Whole, Writing},
        openai,
        plan::{self, Plan},
        realtime::{FromClient, FromServer, Names, ResponseDone, Sound, Transcribed},
        sse::Decoder,
        texts,
    },
    domain::pricing::Quantities,
};

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
    Charge {
        cost_micros: 12,
        quantities: Quantities { input_tokens: 1, output_tokens: 2, ..Quantities::default() },
        ended_at: 1_700_000_000,
    }
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

/// A call of any endpoint, as admission reads it and as it is sent on: the first byte chooses the caller's format, the second the upstream's.
pub fn read_call(data: &[u8]) {
    let [caller, upstream, body @ ..] = data else { return };
    let (caller, upstream) = (pick(*caller), pick(*upstream));
    let head = call_head(caller);
    let _ = texts::of_call(&head, body);
    if files::may_name(caller, body) {
        let _ = files::mentions(caller, body);
    }
    if let Ok(call) = Inbound::read(&head, body) {
        let _ = (call.model().len(), call.streamed(), call.include_usage(), call.max_output_tokens(), call.choices());
        let _ = (call.text_bytes(), call.input_tokens(), call.fixed(), call.needs());
    }
    if let Some(mut plan) = Plan::choose(caller, &[upstream]) {
        for aim in aims() {
            let _ = plan.write(&head, &Bytes::copy_from_slice(body), &aim);
        }
    }
}

/// An upstream's answer to a call that is no chat: the first byte chooses the call, the second the upstream's format.
pub fn read_other_answer(data: &[u8]) {
    let [call, upstream, answer @ ..] = data else { return };
    let (caller, request) = OTHER_CALLS[usize::from(*call) % OTHER_CALLS.len()];
    let (head, body) = (call_head(caller), Bytes::from_static(request.as_bytes()));
    let Some(mut plan) = Plan::choose(caller, &[pick(*upstream), caller]) else { return };
    plan.write(&head, &body, &aims()[0]).expect("these requests are good");
    let writing = Writing { head, ..writing(caller, None) };
    for content_type in [None, Some("application/json"), Some("text/plain"), Some("audio/mpeg")] {
        if let Ok(whole) = plan.whole(&Bytes::copy_from_slice(answer), content_type, &writing) {
            let _ = (whole.usage(), whole.id(), whole.finish(&charge()));
        }
    }
    let Ok(mut meter) = plan.meter(&writing) else { return };
    let mut decoder = Decoder::new(EVENT_BYTES_MAX);
    decoder.push(Bytes::copy_from_slice(answer));
    while let Some(Ok(event)) = decoder.next_event() {
        let _ = meter.on_event(&event);
    }
    let _ = (meter.input_ended(), meter.is_complete(), meter.reported(), meter.final_events(&charge()));
}

/// Events of a realtime session, from either side.
pub fn read_realtime(data: &[u8]) {
    let Ok(message) = std::str::from_utf8(data) else { return };
    let names = Names { public: ["alias", "m"], upstream: "up" };
    if let Ok(event) = FromClient::read(message, names) {
        let sent = serde_json::from_str::<&serde_json::value::RawValue>(&event.message);
        assert!(sent.is_ok(), "{}", event.message);
    }
    let _ = texts::of_json(data);
    if let Ok(FromServer::Session { session, .. }) = FromServer::read(message, "m") {
        Sound::default().learn(&session);
    }
    for priced in [ResponseDone::with_cost(message, 7), Transcribed::with_cost(message, 7)].into_iter().flatten() {
        assert!(serde_json::from_str::<&serde_json::value::RawValue>(&priced).is_ok(), "{priced}");
    }
}

const FORM: &str = "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nm\r\n\
    --b\r\ncontent-disposition: form-data; name=\"prompt\"\r\n\r\na fox\r\n\
    --b\r\ncontent-disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\r\nbytes\r\n\
    --b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\nbytes\r\n--b--\r\n";

const OTHER_CALLS: [(Endpoint, &str); 10] = [
    (Endpoint::Embeddings, r#"{"model":"m","input":["x","y"]}"#),
    (Endpoint::EmbedContent, r#"{"content":{"parts":[{"text":"x"}]}}"#),
    (Endpoint::BatchEmbedContents, r#"{"requests":[{"model":"models/m","content":{"parts":[{"text":"x"}]}}]}"#),
    (Endpoint::Moderations, r#"{"model":"m","input":"x"}"#),
    (Endpoint::Rerank, r#"{"model":"m","query":"q","documents":["x","y"]}"#),
    (Endpoint::ImageGenerations, r#"{"model":"m","prompt":"a fox"}"#),
    (Endpoint::ImageEdits, FORM),
    (Endpoint::Speech, r#"{"model":"m","input":"x","voice":"v"}"#),
    (Endpoint::Transcriptions, FORM),
    (Endpoint::Translations, FORM),
];

fn pick(byte: u8) -> Endpoint {
    Endpoint::ALL[usize::from(byte) % Endpoint::ALL.len()]
}

/// With the boundary that forms have here.
fn call_head(endpoint: Endpoint) -> CallHead {
    let is_form = matches!(endpoint, Endpoint::ImageEdits | Endpoint::Transcriptions | Endpoint::Translations);
    let content_type = is_form.then(|| "multipart/form-data; boundary=b".to_owned());
    CallHead { content_type, ..head(endpoint) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Short inputs of every kind: whole, cut, and of the wrong kind.
    const SEEDS: [&str; 7] = [
        "",
        "{}",
        r#"{"model":"m","messages":[{"role":"user","content":"x"}],"input":"x","prompt":"x"}"#,
        r#"{"contents":[{"parts":[{"text":"x"}]}],"model":"m","content":[{"type":"text","text":"x"}],"usage":{"input_tokens":-1}}"#,
        "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\ndata: [DONE]\n\n",
        r#"{"type":"response.create","response":{"model":"alias","usage":{}}}"#,
        FORM,
    ];

    #[test]
    fn every_target_takes_every_seed() {
        for seed in SEEDS.map(str::as_bytes) {
            for endpoint in Endpoint::ALL {
                read_request(endpoint, seed);
                read_answer(endpoint, seed);
                read_stream(endpoint, seed);
            }
            for (caller, upstream) in (0..18).flat_map(|caller| (0..18).map(move |upstream| (caller, upstream))) {
                let data = [&[caller, upstream], seed].concat();
                read_call(&data);
                read_other_answer(&data);
                meter(&data);
            }
            decode_events(seed);
            peek_at_request(seed);
            peek_at_answer(seed);
            read_realtime(seed);
        }
    }
}
