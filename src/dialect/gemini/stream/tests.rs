use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    dialect::{
        CallHead, Charge, Dialect, Endpoint, Meter, Step,
        canonical::{BlockStart, Finish, Json, Reasoning, Request, Signature, StreamEvent, ToolKind},
        format::{StreamReader, StreamWriter, Writing},
        gemini::signature,
        sse::{Decoder, Event},
    },
    domain::pricing::Quantities,
};

const STREAM: &str = include_str!("../../../../tests/golden/gemini/stream.sse");

fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut decoder = Decoder::new(1 << 20);
    let mut events = Vec::new();
    for chunk in chunks {
        decoder.push(Bytes::copy_from_slice(chunk));
        while let Some(event) = decoder.next_event() {
            events.push(event.unwrap());
        }
    }
    events
}

fn read_all(events: &[Event]) -> Vec<StreamEvent> {
    let mut reader = Reader::default();
    let mut read = Vec::new();
    for event in events {
        reader.read(event, &mut read);
    }
    reader.ended(&mut read);
    read
}

fn read_text(stream: &str) -> Vec<StreamEvent> {
    read_all(&decode([stream.as_bytes()]))
}

fn sse(objects: &[Value]) -> String {
    objects.iter().map(|object| format!("data: {object}\n\n")).collect()
}

fn candidate(index: u32, parts: Value, reason: Option<&str>) -> Value {
    let mut candidate = json!({"content": {"parts": parts, "role": "model"}, "index": index});
    if let Some(reason) = reason {
        candidate["finishReason"] = json!(reason);
    }
    json!({"candidates": [candidate], "responseId": "r"})
}

fn charge() -> Charge {
    Charge { cost_micros: 12, quantities: Quantities { input_tokens: 5, output_tokens: 2, ..Quantities::default() }, ..Charge::default() }
}

fn error() -> ErrorBody<'static> {
    ErrorBody {
        status: 502,
        message: "broken off".into(),
        kind: "server_error".into(),
        param: None,
        code: "upstream_error".into(),
        request_id: "req_1".into(),
        limit: None,
        scope: None,
    }
}

fn writing(framing: Framing, visible: bool) -> Writing {
    let reasoning = Some(Reasoning { visible: Some(visible), ..Reasoning::default() });
    Writing {
        head: CallHead { framing, ..CallHead::new(Endpoint::GenerateContent) },
        call_id: "req_0197".to_owned(),
        model: "ours".to_owned(),
        created: 0,
        include_usage: true,
        request: Some(std::rc::Rc::new(Request { reasoning, ..Request::default() })),
    }
}

fn delta(block: u32, text: &str) -> StreamEvent {
    StreamEvent::Delta { choice: 0, block, text: text.to_owned() }
}

fn start(block: u32, start: BlockStart) -> StreamEvent {
    StreamEvent::BlockStart { choice: 0, block, start }
}

fn stop(block: u32) -> StreamEvent {
    StreamEvent::BlockStop { choice: 0, block }
}

fn call(id: &str) -> BlockStart {
    BlockStart::ToolCall { id: id.to_owned(), name: "look_up".to_owned(), kind: ToolKind::Function }
}

fn finish(choice: u32, finish: Finish) -> StreamEvent {
    StreamEvent::Finish { choice, finish, stop_sequence: None }
}

#[test]
fn a_stream_is_read_block_by_block() {
    let usage = |input_tokens, output_tokens, reasoning_tokens| {
        StreamEvent::Usage(Quantities { input_tokens, output_tokens, reasoning_tokens, ..Quantities::default() })
    };
    assert_eq!(
        read_text(STREAM),
        [
            StreamEvent::Start { id: Some("r-1".to_owned()), model: Some("gemini-x".to_owned()) },
            start(0, BlockStart::Reasoning),
            delta(0, "Let me see."),
            usage(10, 0, 0),
            stop(0),
            start(1, BlockStart::Text),
            delta(1, "I will "),
            usage(10, 2, 0),
            delta(1, "look. 字"),
            stop(1),
            start(2, call("call_r-1_0")),
            delta(2, r#"{"q":1.0}"#),
            StreamEvent::Signed { choice: 0, block: 2, signature: signature("c2ln").unwrap() },
            stop(2),
            start(3, call("call_r-1_1")),
            delta(3, r#"{"q":2}"#),
            stop(3),
            usage(10, 6, 3),
            finish(0, Finish::ToolCalls),
            StreamEvent::End,
        ]
    );
}

#[test]
fn a_signature_behind_the_words_has_a_block_of_its_own() {
    let stream =
        sse(&[candidate(0, json!([{"text": "hi"}]), None), candidate(0, json!([{"text": "", "thoughtSignature": "c2ln"}]), Some("STOP"))]);
    assert_eq!(
        read_text(&stream)[1..],
        [
            start(0, BlockStart::Text),
            delta(0, "hi"),
            stop(0),
            start(1, BlockStart::Reasoning),
            StreamEvent::Signed { choice: 0, block: 1, signature: signature("c2ln").unwrap() },
            stop(1),
            finish(0, Finish::Stop),
            StreamEvent::End,
        ]
    );
}

#[test]
fn several_candidates_keep_their_own_blocks() {
    let stream = sse(&[
        candidate(1, json!([{"text": "b"}]), None),
        candidate(0, json!([{"text": "a"}]), Some("STOP")),
        candidate(1, json!([{"text": "c"}]), Some("MAX_TOKENS")),
    ]);
    let read = read_text(&stream);
    let finishes: Vec<_> = read.iter().filter(|event| matches!(event, StreamEvent::Finish { .. })).cloned().collect();
    assert_eq!(finishes, [finish(0, Finish::Stop), finish(1, Finish::Length)]);
    assert_eq!(read.iter().filter(|event| matches!(event, StreamEvent::BlockStart { block: 0, .. })).count(), 2);
}

#[test]
fn a_stream_without_its_reasons_was_cut() {
    for stream in [
        sse(&[candidate(0, json!([{"text": "hi"}]), None)]),
        sse(&[candidate(0, json!([{"text": "a"}]), Some("STOP")), candidate(1, json!([{"text": "b"}]), None)]),
        sse(&[candidate(0, json!([{"text": "hi"}]), Some(""))]) + "data: [DONE]\n\n",
        String::new(),
    ] {
        let read = read_text(&stream);
        assert!(!read.contains(&StreamEvent::End), "{read:?}");
        let mut meter = StreamMeter::new(Framing::Events);
        decode([stream.as_bytes()]).iter().for_each(|event| assert_ne!(meter.on_event(event), Step::Done));
        assert!(!meter.is_complete());
    }
}

#[test]
fn a_blocked_prompt_ends_well_and_says_nothing() {
    let stream = sse(&[json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 4}})]);
    assert_eq!(read_text(&stream)[2..], [finish(0, Finish::Filtered), StreamEvent::End]);
    let mut meter = StreamMeter::new(Framing::Events);
    assert_eq!(meter.on_event(&decode([stream.as_bytes()])[0]), Step::Usage);
    assert!(meter.is_complete() && !meter.has_content());
}

#[test]
fn failures_inside_a_stream_are_errors() {
    for failing in [
        json!({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}),
        candidate(0, json!([]), Some("MALFORMED_FUNCTION_CALL")),
        candidate(u32::MAX, json!([]), None),
        json!({"candidates": 7}),
    ] {
        let read = read_text(&sse(&[candidate(0, json!([{"text": "hi"}]), None), failing]));
        assert!(matches!(read.last(), Some(StreamEvent::Error { .. })), "{read:?}");
    }
    let mut meter = StreamMeter::new(Framing::Events);
    let broken = sse(&[json!({"error": {"message": "overloaded"}})]);
    assert!(matches!(meter.on_event(&decode([broken.as_bytes()])[0]), Step::Error { message } if message.ends_with("overloaded")));
}

/// What a caller of the meter gets, and the meter.
fn metered(stream: &str, framing: Framing) -> (String, StreamMeter) {
    let mut meter = StreamMeter::new(framing);
    let mut sent = Vec::new();
    for event in decode([stream.as_bytes()]) {
        if let Step::Forward(bytes) = meter.on_event(&event) {
            sent.extend_from_slice(&bytes);
        }
    }
    (String::from_utf8(sent).unwrap(), meter)
}

#[test]
fn a_forwarded_stream_stays_but_for_the_cost_at_its_end() {
    let (sent, mut meter) = metered(STREAM, Framing::Events);
    assert!(meter.has_content() && meter.is_complete());
    assert_eq!(meter.answer_id(), Some("r-1"));
    assert_eq!(meter.reported(), Some(Quantities { input_tokens: 10, output_tokens: 6, reasoning_tokens: 3, ..Quantities::default() }));
    assert!(meter.produced_tokens() > 10);
    let last = String::from_utf8(meter.final_events(&charge()).to_vec()).unwrap();
    let expected = STREAM.replace(r#""totalTokenCount":19}"#, r#""totalTokenCount":19,"cost":0.000012,"costMicros":12}"#);
    assert_eq!(sent + &last, expected);
}

#[test]
fn a_forwarded_stream_can_be_an_array() {
    let (sent, mut meter) = metered(&format!(": hi\n\n{STREAM}"), Framing::JsonArray);
    let whole = sent.clone() + std::str::from_utf8(&meter.final_events(&charge())).unwrap();
    let elements: Vec<Value> = serde_json::from_str(&whole).unwrap();
    assert_eq!(elements.len(), 6);
    assert_eq!(elements[5]["usageMetadata"]["costMicros"], 12);

    let failed = sent + std::str::from_utf8(&meter.failure(&error())).unwrap();
    let elements: Vec<Value> = serde_json::from_str(&failed).unwrap();
    assert_eq!(elements[5]["error"]["code"], 502);
    let (_, mut meter) = metered("", Framing::JsonArray);
    let only: Vec<Value> = serde_json::from_slice(&meter.failure(&error())).unwrap();
    assert_eq!(only[0]["error"]["status"], "UNAVAILABLE");
}

#[test]
fn of_several_ends_each_fits_what_was_sent() {
    let only = sse(&[candidate(0, json!([{"text": "hi"}]), Some("STOP"))]);
    let (sent, mut meter) = metered(&only, Framing::JsonArray);
    let mut writer = Writer::new(&writing(Framing::JsonArray, false));
    let mut written = Vec::new();
    writer.finish(&charge(), &mut written);
    assert_eq!(serde_json::from_slice::<Vec<Value>>(&written).unwrap().len(), 1);
    for _ in 0..2 {
        assert_eq!(sent, "");
        let end = meter.final_events(&charge());
        assert_eq!(serde_json::from_slice::<Vec<Value>>(&end).unwrap().len(), 1);
        let failure = meter.failure(&error());
        assert!(serde_json::from_slice::<Vec<Value>>(&failure).unwrap()[0]["error"].is_object());
        let mut failure = Vec::new();
        writer.fail(&error(), &mut failure);
        assert!(serde_json::from_slice::<Vec<Value>>(&failure).unwrap()[0]["error"].is_object());
    }
}

#[test]
fn usage_that_came_earlier_is_told_at_the_end() {
    let first = json!({"candidates": [{"content": {"parts": [{"text": "hi"}]}}], "usageMetadata": {"promptTokenCount": 7}});
    let (_, mut meter) = metered(&sse(&[first, candidate(0, json!([]), Some("STOP"))]), Framing::Events);
    let last = meter.final_events(&charge());
    let last: Value = serde_json::from_slice(last.strip_prefix(b"data: ").unwrap()).unwrap();
    assert_eq!(last["usageMetadata"], json!({"promptTokenCount": 7, "cost": 0.000_012, "costMicros": 12}));

    // What comes behind the reason is still forwarded.
    let stream = sse(&[candidate(0, json!([{"text": "a"}]), Some("STOP")), json!({"usageMetadata": {"promptTokenCount": 9}})]);
    let (sent, mut meter) = metered(&stream, Framing::Events);
    assert!(sent.contains("\"STOP\""), "{sent}");
    assert_eq!(meter.reported().unwrap().input_tokens, 9);
    assert_eq!(
        &meter.final_events(&charge())[..],
        b"data: {\"usageMetadata\":{\"promptTokenCount\":9,\"cost\":0.000012,\"costMicros\":12}}\n\n"
    );
}

/// What a caller gets of these events, without the end.
fn write_all(writer: &mut Writer, events: &[StreamEvent]) -> Vec<u8> {
    let mut out = Vec::new();
    events.iter().for_each(|event| writer.write(event, &mut out));
    out
}

#[test]
fn another_vendors_stream_is_written() {
    let events = [
        StreamEvent::Start { id: None, model: None },
        start(0, BlockStart::Reasoning),
        delta(0, "hm"),
        stop(0),
        start(1, BlockStart::Text),
        delta(1, "say \"hi\""),
        StreamEvent::Logprobs { choice: 0, logprobs: Json::parse(r#"{"content":[{"token":"hi","logprob":-1}]}"#).unwrap() },
        stop(1),
        StreamEvent::Ping,
        start(2, call("c")),
        delta(2, "{\"q\""),
        delta(2, ":1.0}"),
        stop(2),
        start(3, call("d")),
        stop(3),
        finish(0, Finish::ToolCalls),
        StreamEvent::End,
    ];
    let event = |candidate: &str| format!("data: {{\"candidates\":[{candidate}],\"modelVersion\":\"ours\",\"responseId\":\"0197\"}}\n\n");
    let part = |part: &str| event(&format!(r#"{{"content":{{"parts":[{part}],"role":"model"}},"index":0}}"#));
    let said = [
        part(r#"{"text":"say \"hi\""}"#),
        event(
            r#"{"content":{"parts":[{"text":""}],"role":"model"},"logprobsResult":{"chosenCandidates":[{"token":"hi","logProbability":-1}],"topCandidates":[{"candidates":[]}]},"index":0}"#,
        ),
        part(r#"{"functionCall":{"id":"c","name":"look_up","args":{"q":1.0}}}"#),
        part(r#"{"functionCall":{"id":"d","name":"look_up","args":{}}}"#),
    ]
    .concat();
    let mut hiding = Writer::new(&writing(Framing::Events, false));
    assert_eq!(String::from_utf8(write_all(&mut hiding, &events)).unwrap(), said);
    let mut showing = Writer::new(&writing(Framing::Events, true));
    assert_eq!(String::from_utf8(write_all(&mut showing, &events)).unwrap(), part(r#"{"text":"hm","thought":true}"#) + &said);

    let mut last = Vec::new();
    hiding.finish(&charge(), &mut last);
    let usage = r#"{"promptTokenCount":5,"candidatesTokenCount":2,"totalTokenCount":7,"cost":0.000012,"costMicros":12}"#;
    let expected = format!(
        "data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"\"}}],\"role\":\"model\"}},\"finishReason\":\"STOP\",\"index\":0}}],\"usageMetadata\":{usage},\"modelVersion\":\"ours\",\"responseId\":\"0197\"}}\n\n"
    );
    assert_eq!(String::from_utf8(last).unwrap(), expected);
    assert_eq!(hiding.answer_id(), "0197");
}

#[test]
fn another_vendors_stream_can_be_an_array() {
    let mut writer = Writer::new(&writing(Framing::JsonArray, false));
    let mut out = write_all(&mut writer, &[start(0, BlockStart::Text), delta(0, "a"), delta(0, "b"), stop(0), finish(0, Finish::Length)]);
    let begun = out.clone();
    writer.finish(&charge(), &mut out);
    let elements: Vec<Value> = serde_json::from_slice(&out).unwrap();
    assert_eq!(elements.len(), 3);
    assert_eq!(elements[2]["candidates"][0]["finishReason"], "MAX_TOKENS");

    let mut writer = Writer::new(&writing(Framing::JsonArray, false));
    let mut out = write_all(&mut writer, &[start(0, BlockStart::Text), delta(0, "a"), delta(0, "b")]);
    assert_eq!(out, begun);
    writer.fail(&error(), &mut out);
    let elements: Vec<Value> = serde_json::from_slice(&out).unwrap();
    assert_eq!(elements[2]["error"]["message"], "broken off");
}

#[test]
fn signatures_of_gemini_travel_with_the_call() {
    let signed = |vendor| {
        let signature = Signature { vendor, ..signature("c2ln").unwrap() };
        let events = [start(0, call("c")), StreamEvent::Signed { choice: 0, block: 0, signature }, stop(0)];
        String::from_utf8(write_all(&mut Writer::new(&writing(Framing::Events, false)), &events)).unwrap()
    };
    assert!(signed(Dialect::Gemini).contains(r#""thoughtSignature":"c2ln""#));
    assert!(!signed(Dialect::Anthropic).contains("thoughtSignature"));
}

proptest! {
    #[test]
    fn chunks_do_not_matter(mut cuts in proptest::collection::vec(0..STREAM.len(), 0..20)) {
        cuts.sort_unstable();
        let bytes = STREAM.as_bytes();
        let starts = std::iter::once(0).chain(cuts.iter().copied());
        let ends = cuts.iter().copied().chain([bytes.len()]);
        let chunks: Vec<&[u8]> = starts.zip(ends).map(|(start, end)| &bytes[start..end]).collect();
        prop_assert_eq!(read_all(&decode(chunks)), read_text(STREAM));
    }

    #[test]
    fn what_is_written_reads_back(texts in proptest::collection::vec(("\\PC{1,9}", any::<bool>()), 1..6), length in any::<bool>()) {
        let mut events = vec![StreamEvent::Start { id: Some("0197".to_owned()), model: Some("ours".to_owned()) }];
        // Neighbours of one kind read as one block, so kinds alternate with calls between them.
        for (at, (text, is_thought)) in (0..).zip(&texts) {
            let kind = if *is_thought { BlockStart::Reasoning } else { BlockStart::Text };
            events.extend([start(2 * at, kind), delta(2 * at, text), stop(2 * at)]);
            events.extend([start(2 * at + 1, call("c")), delta(2 * at + 1, "{}"), stop(2 * at + 1)]);
        }
        let end = if length { Finish::Length } else { Finish::ToolCalls };
        events.extend([finish(0, end), StreamEvent::End]);
        let mut writer = Writer::new(&writing(Framing::Events, true));
        let mut out = write_all(&mut writer, &events);
        writer.finish(&charge(), &mut out);
        let mut read = read_all(&decode([&out[..]]));
        read.retain(|event| !matches!(event, StreamEvent::Usage(_)));
        prop_assert_eq!(read, events);
    }

    #[test]
    fn no_event_makes_it_panic(text in "\\PC{0,80}") {
        for stream in [format!("data: {text}\n\n"), format!("data: {{\"candidates\":[{{\"content\":{{\"parts\":[{text}]}}}}]}}\n\n")] {
            read_text(&stream);
            for framing in [Framing::Events, Framing::JsonArray] {
                let (_, mut meter) = metered(&stream, framing);
                meter.final_events(&charge());
            }
        }
    }
}
