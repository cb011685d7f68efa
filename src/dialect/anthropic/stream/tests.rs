use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    dialect::{
        CallHead, Charge, Dialect, Endpoint, ErrorBody, Meter, Step,
        canonical::{BlockStart, Citation, Finish, Signature, StreamEvent, ToolKind},
        format::{StreamReader, StreamWriter, Writing},
        sse::{Decoder, Event},
    },
    domain::pricing::Quantities,
};

fn event(kind: &str, data: &Value) -> String {
    format!("event: {kind}\ndata: {data}\n\n")
}

fn named(data: &Value) -> String {
    event(data["type"].as_str().expect("a type"), data)
}

/// A stream as Anthropic sends it: thought, text, a call without arguments, pings between.
fn good() -> Vec<String> {
    let start = |index: u32, block: Value| named(&json!({"type": "content_block_start", "index": index, "content_block": block}));
    let delta = |index: u32, delta: Value| named(&json!({"type": "content_block_delta", "index": index, "delta": delta}));
    let stop = |index: u32| named(&json!({"type": "content_block_stop", "index": index}));
    vec![
        named(&json!({"type": "message_start", "message": {"id": "msg_up", "type": "message", "role": "assistant", "content": [],
            "model": "claude-up", "usage": {"input_tokens": 10, "cache_read_input_tokens": 3, "output_tokens": 1}}})),
        start(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        named(&json!({"type": "ping"})),
        delta(0, json!({"type": "thinking_delta", "thinking": "hm"})),
        delta(0, json!({"type": "signature_delta", "signature": "c2ln"})),
        stop(0),
        start(1, json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}})),
        delta(1, json!({"type": "input_json_delta", "partial_json": "{}"})),
        stop(1),
        start(2, json!({"type": "text", "text": ""})),
        delta(2, json!({"type": "text_delta", "text": "Größe "})),
        delta(2, json!({"type": "citations_delta", "citation": {"type": "web_search_result_location", "url": "https://a.example"}})),
        delta(2, json!({"type": "text_delta", "text": "🦀"})),
        stop(2),
        start(3, json!({"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}})),
        delta(3, json!({"type": "input_json_delta", "partial_json": ""})),
        stop(3),
        named(
            &json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 42}}),
        ),
        named(&json!({"type": "message_stop"})),
    ]
}

fn events(text: &str) -> Vec<Event> {
    let mut decoder = Decoder::new(1 << 20);
    decoder.push(Bytes::copy_from_slice(text.as_bytes()));
    std::iter::from_fn(|| decoder.next_event()).map(|event| event.expect("an event")).collect()
}

fn charge() -> Charge {
    Charge { cost_micros: 12, quantities: Quantities { input_tokens: 10, output_tokens: 42, ..Quantities::default() }, ..Charge::default() }
}

fn writing() -> Writing {
    Writing {
        head: CallHead::new(Endpoint::Messages),
        call_id: "req_0197".to_owned(),
        model: "test/claude".to_owned(),
        created: 0,
        include_usage: false,
        request: None,
    }
}

fn error() -> ErrorBody<'static> {
    ErrorBody {
        status: 502,
        message: "broke off".into(),
        kind: "server_error".into(),
        param: None,
        code: "upstream_error".into(),
        request_id: "req_1".into(),
        limit: None,
        scope: None,
    }
}

// Metering.

fn metered(meter: &mut StreamMeter, text: &str) -> (String, Option<Step>) {
    let mut sent = Vec::new();
    for event in events(text) {
        match meter.on_event(&event) {
            Step::Forward(bytes) => sent.extend_from_slice(&bytes),
            Step::HoldBack | Step::Usage => {}
            last => return (String::from_utf8(sent).expect("UTF-8"), Some(last)),
        }
    }
    (String::from_utf8(sent).expect("UTF-8"), None)
}

#[test]
fn a_forwarded_stream_changes_in_its_last_usage_only() {
    let stream = good().concat();
    let mut meter = StreamMeter::default();
    let (mut sent, last) = metered(&mut meter, &stream);
    assert_eq!(last, Some(Step::Done));
    assert!(meter.is_complete() && meter.has_content());
    sent.push_str(std::str::from_utf8(&meter.final_events(&charge())).expect("UTF-8"));
    assert_eq!(sent, stream.replace(r#""output_tokens":42}"#, r#""output_tokens":42,"cost":0.000012,"cost_micros":12}"#));
    let expected = Quantities { input_tokens: 10, cached_input_tokens: 3, output_tokens: 42, ..Quantities::default() };
    assert_eq!((meter.reported(), meter.answer_id()), (Some(expected), Some("msg_up")));
    assert!(meter.produced_tokens() >= 5);
}

#[test]
fn a_cut_stream_is_not_complete_and_its_first_usage_is_no_report() {
    let parts = good();
    for length in 0..parts.len() {
        let mut meter = StreamMeter::default();
        metered(&mut meter, &parts[..length].concat());
        assert!(!meter.is_complete(), "after {length}");
        assert_eq!(meter.reported().is_some(), length > 17, "after {length}");
        assert_eq!(meter.has_content(), length > 3, "after {length}");
    }
    let failure = StreamMeter::default().failure(&error());
    assert!(failure.starts_with(b"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\""));
}

#[test]
fn events_without_a_name_get_one() {
    let mut meter = StreamMeter::default();
    let (sent, _) = metered(&mut meter, "data: {\"type\":\"content_block_stop\",\ndata: \"index\":0}\n\n: hello\n\n");
    assert_eq!(sent, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\", \"index\":0}\n\n: hello\n\n");
}

#[test]
fn a_stream_without_usage_gets_ours() {
    let parts = [named(&json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})), named(&json!({"type": "message_stop"}))];
    for skip in 0..2 {
        let mut meter = StreamMeter::default();
        assert_eq!(metered(&mut meter, &parts[skip..].concat()).1, Some(Step::Done));
        let last = meter.final_events(&charge());
        let last = events(std::str::from_utf8(&last).expect("UTF-8"));
        let delta: Value = serde_json::from_slice(&last[0].data).expect("JSON");
        assert_eq!((&delta["usage"]["output_tokens"], &delta["usage"]["cost_micros"]), (&json!(42), &json!(12)));
        assert_eq!((&delta["delta"]["stop_reason"], last.len(), meter.reported()), (&json!("end_turn"), 2, None));
    }
}

#[test]
fn errors_inside_a_stream_are_found() {
    for (text, message) in [
        (event("error", &json!({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}})), "busy"),
        ("event: error\ndata: {\"message\":\"no type\"}\n\n".to_owned(), "no type"),
        ("data: {\"error\":{\"message\":\"llama\"}}\n\n".to_owned(), "llama"),
        ("data: nonsense\n\n".to_owned(), NOT_JSON),
        ("data: [1]\n\n".to_owned(), NOT_JSON),
    ] {
        let step = metered(&mut StreamMeter::default(), &text).1;
        assert_eq!(step, Some(Step::Error { message: message.to_owned() }), "{text}");
        assert_eq!(read(&text), [StreamEvent::Error { message: message.to_owned() }]);
    }
}

#[test]
fn odd_members_do_not_break_a_stream() {
    let odd = named(&json!({"type": "content_block_delta", "index": -1, "delta": "odd"}));
    assert_eq!(metered(&mut StreamMeter::default(), &odd), (odd.clone(), None));
    assert_eq!(read(&odd), [StreamEvent::Start { id: None, model: None }]);
}

// Reading.

fn read(text: &str) -> Vec<StreamEvent> {
    let (mut reader, mut found) = (Reader::default(), Vec::new());
    events(text).iter().for_each(|event| reader.read(event, &mut found));
    reader.ended(&mut found);
    found
}

fn begin(block: u32, start: BlockStart) -> StreamEvent {
    StreamEvent::BlockStart { choice: 0, block, start }
}

fn said(block: u32, text: &str) -> StreamEvent {
    StreamEvent::Delta { choice: 0, block, text: text.to_owned() }
}

fn end(block: u32) -> StreamEvent {
    StreamEvent::BlockStop { choice: 0, block }
}

fn signed(block: u32, value: &str, sealed: bool) -> StreamEvent {
    let signature = Signature { vendor: Dialect::Anthropic, value: value.to_owned(), sealed, id: None };
    StreamEvent::Signed { choice: 0, block, signature }
}

fn call(id: &str) -> BlockStart {
    BlockStart::ToolCall { id: id.to_owned(), name: "look".to_owned(), kind: ToolKind::Function }
}

fn finished(finish: Finish) -> StreamEvent {
    StreamEvent::Finish { choice: 0, finish, stop_sequence: None }
}

#[test]
fn a_stream_is_read_in_order() {
    let usage = Quantities { input_tokens: 10, cached_input_tokens: 3, output_tokens: 42, ..Quantities::default() };
    assert_eq!(
        read(&good().concat()),
        [
            StreamEvent::Start { id: Some("msg_up".to_owned()), model: Some("claude-up".to_owned()) },
            begin(0, BlockStart::Reasoning),
            StreamEvent::Ping,
            said(0, "hm"),
            signed(0, "c2ln", false),
            end(0),
            begin(1, BlockStart::Text),
            said(1, "Größe "),
            StreamEvent::Cited {
                choice: 0,
                block: 1,
                citation: Citation { url: Some("https://a.example".to_owned()), ..Citation::default() }
            },
            said(1, "🦀"),
            end(1),
            begin(2, call("toolu_1")),
            said(2, "{}"),
            end(2),
            StreamEvent::Usage(usage),
            finished(Finish::ToolCalls),
            StreamEvent::End,
        ]
    );
}

#[test]
fn a_cut_stream_has_no_end() {
    let parts = good();
    for length in 0..parts.len() {
        assert!(!read(&parts[..length].concat()).contains(&StreamEvent::End), "after {length}");
    }
}

#[test]
fn blocks_of_all_shapes_are_read() {
    let stream = [
        // Neither announced nor closed.
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "redacted_thinking", "data": "ZA=="}}),
        json!({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "1", "name": "look", "input": {"at": 1}}}),
        json!({"type": "content_block_start", "index": 3, "content_block": {"type": "tool_use", "id": "2", "name": "pixgate_structured_answer", "input": {}}}),
        json!({"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta", "partial_json": "{\"b\":"}}),
        json!({"type": "content_block_delta", "index": 9, "delta": {"type": "later_delta", "later": 1}}),
        json!({"type": "later", "index": 3}),
        json!({"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details": {"explanation": "no"}}, "usage": null}),
        json!({"type": "content_block_start", "index": 4, "content_block": {"type": "text", "text": "too late"}}),
        json!({"type": "message_stop"}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "after the end"}}),
    ];
    assert_eq!(
        read(&stream.iter().map(named).collect::<String>()),
        [
            StreamEvent::Start { id: None, model: None },
            begin(0, BlockStart::Text),
            said(0, "a"),
            end(0),
            begin(1, BlockStart::Reasoning),
            signed(1, "ZA==", true),
            end(1),
            begin(2, call("1")),
            said(2, r#"{"at":1}"#),
            end(2),
            begin(3, BlockStart::Text),
            said(3, "{\"b\":"),
            end(3),
            begin(4, BlockStart::Refusal),
            said(4, "no"),
            end(4),
            finished(Finish::Refused),
            StreamEvent::End,
        ]
    );
}

// Writing.

fn written(events: &[StreamEvent]) -> String {
    let (mut writer, mut out) = (Writer::new(&writing()), Vec::new());
    events.iter().for_each(|event| writer.write(event, &mut out));
    writer.finish(&charge(), &mut out);
    String::from_utf8(out).expect("UTF-8")
}

fn data(stream: &str) -> Vec<Value> {
    events(stream)
        .iter()
        .map(|event| {
            let data: Value = serde_json::from_slice(&event.data).expect("JSON");
            assert_eq!(event.event.as_deref(), data["type"].as_str().map(str::as_bytes), "every event has its name");
            data
        })
        .collect()
}

#[test]
fn a_stream_is_written_with_every_member() {
    let usage = Quantities { input_tokens: 10, ..Quantities::default() };
    let stream = written(&[
        StreamEvent::Ping,
        StreamEvent::Start { id: None, model: None },
        StreamEvent::Usage(usage),
        begin(0, BlockStart::Reasoning),
        end(0),
        begin(1, BlockStart::Reasoning),
        signed(1, "ZA==", true),
        end(1),
        begin(2, BlockStart::Reasoning),
        said(2, "hm"),
        signed(2, "c2ln", false),
        end(2),
        StreamEvent::Ping,
        begin(3, call("")),
        said(3, "{}"),
        end(3),
        finished(Finish::Stop),
        StreamEvent::End,
    ]);
    let start = |index: u32, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let delta = |index: u32, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let stop = |index: u32| json!({"type": "content_block_stop", "index": index});
    let found = data(&stream);
    let message = &found[0]["message"];
    for member in ["id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "stop_details", "container", "usage"] {
        assert!(message.get(member).is_some(), "{member} in {message}");
    }
    assert_eq!((&message["id"], &message["usage"]["input_tokens"]), (&json!("msg_0197"), &json!(10)));
    assert_eq!(
        found[1..12],
        [
            start(0, json!({"type": "redacted_thinking", "data": "ZA=="})),
            stop(0),
            start(1, json!({"type": "thinking", "thinking": "", "signature": ""})),
            delta(1, json!({"type": "thinking_delta", "thinking": "hm"})),
            delta(1, json!({"type": "signature_delta", "signature": "c2ln"})),
            stop(1),
            json!({"type": "ping"}),
            start(2, json!({"type": "tool_use", "id": "toolu_0197_2", "name": "look", "input": {}, "caller": {"type": "direct"}})),
            delta(2, json!({"type": "input_json_delta", "partial_json": "{}"})),
            stop(2),
            found[11].clone(),
        ]
    );
    assert_eq!(found[11]["delta"], json!({"stop_reason": "tool_use", "stop_sequence": null, "stop_details": null, "container": null}));
    assert_eq!((&found[11]["usage"]["output_tokens"], &found[11]["usage"]["cost_micros"]), (&json!(42), &json!(12)));
    assert_eq!(found[12..], [json!({"type": "message_stop"})]);
}

#[test]
fn other_choices_and_foreign_signatures_are_left_out() {
    let foreign = Signature { vendor: Dialect::OpenAi, value: "secret".to_owned(), sealed: true, id: None };
    let stream = written(&[
        begin(0, BlockStart::Reasoning),
        StreamEvent::Signed { choice: 0, block: 0, signature: foreign },
        end(0),
        StreamEvent::BlockStart { choice: 1, block: 0, start: BlockStart::Text },
        StreamEvent::Delta { choice: 1, block: 0, text: "other".to_owned() },
        StreamEvent::BlockStop { choice: 1, block: 0 },
        StreamEvent::Finish { choice: 0, finish: Finish::Stop, stop_sequence: Some("END".to_owned()) },
    ]);
    let found = data(&stream);
    assert_eq!(found.len(), 3, "{stream}");
    assert_eq!((&found[1]["delta"]["stop_reason"], &found[1]["delta"]["stop_sequence"]), (&json!("stop_sequence"), &json!("END")));
}

#[test]
fn a_failed_stream_ends_with_the_error() {
    let (mut writer, mut out) = (Writer::new(&writing()), Vec::new());
    writer.write(&begin(0, BlockStart::Text), &mut out);
    writer.fail(&error(), &mut out);
    let found = data(std::str::from_utf8(&out).expect("UTF-8"));
    assert_eq!(found.last().map(|last| last["error"]["type"].clone()), Some(json!("api_error")));
    assert!(!found.iter().any(|event| event["type"] == "message_stop"));
}

// What is written reads back, wherever the network cuts it.

fn a_block() -> impl Strategy<Value = (BlockStart, Vec<String>)> {
    let texts = prop::collection::vec("\\PC{1,8}", 1..4);
    prop_oneof![
        (Just(BlockStart::Text), texts.clone()),
        (Just(BlockStart::Reasoning), texts),
        ("[a-z0-9_]{1,6}".prop_map(|id| call(&id)), prop::collection::vec("\\{\"a\":[0-9]\\}", 1..2)),
    ]
}

proptest! {
    #[test]
    fn written_streams_read_back_from_any_chunks(blocks in prop::collection::vec(a_block(), 0..5), cuts in prop::collection::vec(1..40usize, 1..60)) {
        let mut given = vec![StreamEvent::Start { id: Some("msg_0197".to_owned()), model: Some("test/claude".to_owned()) }];
        let has_calls = blocks.iter().any(|(start, _)| matches!(start, BlockStart::ToolCall { .. }));
        for (block, (start, texts)) in blocks.into_iter().enumerate() {
            let block = block as u32;
            given.push(begin(block, start));
            given.extend(texts.iter().map(|text| said(block, text)));
            given.push(end(block));
        }
        given.push(finished(if has_calls { Finish::ToolCalls } else { Finish::Stop }));
        let stream = written(&given).into_bytes();
        given.insert(given.len() - 1, StreamEvent::Usage(charge().quantities));
        given.push(StreamEvent::End);

        let (mut decoder, mut reader, mut found) = (Decoder::new(1 << 20), Reader::default(), Vec::new());
        let (mut at, mut cuts) = (0, cuts.into_iter().cycle());
        while at < stream.len() {
            let next = (at + cuts.next().unwrap_or(1)).min(stream.len());
            decoder.push(Bytes::copy_from_slice(&stream[at..next]));
            while let Some(event) = decoder.next_event() {
                reader.read(&event.expect("an event"), &mut found);
            }
            at = next;
        }
        prop_assert_eq!(found, given);
    }

    #[test]
    fn no_event_makes_anything_panic(text in "(event: [a-z_]{0,20}\n)?data: \\PC{0,60}\n\n", json in "[\\[\\]{}\":,a-z0-9\\\\]{0,60}") {
        for text in [text, format!("data: {json}\n\n"), format!("data: {{\"type\":\"content_block_start\",\"content_block\":{json}}}\n\n")] {
            let _ = (read(&text), metered(&mut StreamMeter::default(), &text));
        }
    }
}
