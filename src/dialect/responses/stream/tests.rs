//! Streams: written and read again, read from careless servers, followed while they pass.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{
    Responses,
    tests::{REQUIRED, charge, head, tool_start, writing},
};
use crate::{
    dialect::{
        CallHead, Chain, Dialect, ErrorBody, Meter, Step,
        canonical::{BlockStart, Finish, Json, Signature, StreamEvent, ToolKind},
        format::{CallerFormat, UpstreamFormat, Writing},
        sse::{Decoder, Event},
    },
    domain::pricing::Quantities,
};

fn events_of(bytes: &[u8], cuts: &[usize]) -> Vec<Event> {
    let mut decoder = Decoder::new(1 << 20);
    let mut events = Vec::new();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    for pair in cuts.windows(2) {
        decoder.push(Bytes::copy_from_slice(&bytes[pair[0]..pair[1]]));
        while let Some(event) = decoder.next_event() {
            events.push(event.expect("short"));
        }
    }
    events
}

fn json_of(event: &Event) -> Value {
    serde_json::from_slice(&event.data).expect("JSON")
}

fn write(events: &[StreamEvent], writing: &Writing) -> Vec<u8> {
    let mut writer = Responses.stream_writer(writing);
    let mut out = Vec::new();
    events.iter().for_each(|event| writer.write(event, &mut out));
    writer.finish(&charge(), &mut out);
    out
}

fn read(bytes: &[u8], cuts: &[usize]) -> Vec<StreamEvent> {
    let mut reader = Responses.stream_reader();
    let mut events = Vec::new();
    events_of(bytes, cuts).iter().for_each(|event| reader.read(event, &mut events));
    reader.ended(&mut events);
    events
}

fn block(number: u32, start: BlockStart, deltas: &[&str], signature: Option<Signature>) -> Vec<StreamEvent> {
    let mut events = vec![StreamEvent::BlockStart { choice: 0, block: number, start }];
    events.extend(deltas.iter().map(|text| StreamEvent::Delta { choice: 0, block: number, text: (*text).to_owned() }));
    events.extend(signature.map(|signature| StreamEvent::Signed { choice: 0, block: number, signature }));
    events.push(StreamEvent::BlockStop { choice: 0, block: number });
    events
}

fn whole(blocks: Vec<Vec<StreamEvent>>, finish: Finish) -> Vec<StreamEvent> {
    let mut events = vec![StreamEvent::Start { id: Some("resp_0a".to_owned()), model: Some("vendor/model".to_owned()) }];
    events.extend(blocks.into_iter().flatten());
    events.push(StreamEvent::Usage(charge().quantities));
    events.push(StreamEvent::Finish { choice: 0, finish, stop_sequence: None });
    events.push(StreamEvent::End);
    events
}

fn sealed() -> Signature {
    Signature { vendor: Dialect::OpenAi, value: "gAAA".to_owned(), sealed: true, id: Some("rs_0a_0".to_owned()) }
}

#[test]
fn a_stream_has_every_event_in_its_order() {
    let events = whole(
        vec![
            block(0, BlockStart::Reasoning, &["h", "m"], Some(sealed())),
            block(1, BlockStart::Text, &["Hel", "lo"], None),
            block(2, BlockStart::Refusal, &["no"], None),
            block(3, tool_start("call_1", "look"), &["{\"a\"", ":1}"], None),
            block(4, BlockStart::ToolCall { id: "call_2".to_owned(), name: "patch".to_owned(), kind: ToolKind::Custom }, &["x"], None),
        ],
        Finish::ToolCalls,
    );
    let written = events_of(&write(&events, &writing(Some(&json!({"model": "m", "input": "Hi"})))), &[]);
    let names: Vec<String> =
        written.iter().map(|event| String::from_utf8(event.event.clone().expect("a name").to_vec()).expect("UTF-8")).collect();
    let expected = "created in_progress
        output_item.added reasoning_summary_part.added reasoning_summary_text.delta reasoning_summary_text.delta reasoning_summary_text.done reasoning_summary_part.done output_item.done
        output_item.added content_part.added output_text.delta output_text.delta output_text.done content_part.done
        content_part.added refusal.delta refusal.done content_part.done output_item.done
        output_item.added function_call_arguments.delta function_call_arguments.delta function_call_arguments.done output_item.done
        output_item.added custom_tool_call_input.delta custom_tool_call_input.done output_item.done completed";
    let expected: Vec<String> = expected.split_whitespace().map(|name| format!("response.{name}")).collect();
    assert_eq!(names, expected);

    for (number, (event, name)) in written.iter().zip(&names).enumerate() {
        let data = json_of(event);
        assert_eq!((&data["type"], &data["sequence_number"]), (&json!(name), &json!(number)), "{data}");
        if name.ends_with(".delta") || name.ends_with("_part.added") || name.ends_with("_part.done") {
            assert!(data["item_id"].is_string() && data["output_index"].is_u64(), "{data}");
        }
        if name.starts_with("response.output_text.") {
            assert!(data["logprobs"].is_array() && data["content_index"].is_u64(), "{data}");
        }
    }
    let last = json_of(written.last().expect("an event"));
    let response = &last["response"];
    for key in REQUIRED {
        assert!(response.as_object().expect("an object").contains_key(key), "{key}");
    }
    let done: Vec<Value> = written.iter().map(json_of).filter(|data| data["type"] == "response.output_item.done").collect();
    assert_eq!(response["output"], json!(done.iter().map(|data| data["item"].clone()).collect::<Vec<_>>()));
    assert!(done.iter().enumerate().all(|(index, data)| data["output_index"] == json!(index)), "each item its own index");
    assert_eq!(response["output"][2]["call_id"], json!("call_1"));
    assert_ne!(response["output"][2]["id"], json!("call_1"));
    assert_eq!((&response["usage"]["cost_micros"], &response["completed_at"]), (&json!(12), &json!(1_700_000_009)));
    assert_eq!(json_of(&written[0])["response"]["completed_at"], Value::Null);
}

#[test]
fn a_stream_survives_being_written_and_read() {
    let gemini = Signature { vendor: Dialect::Gemini, value: "sig".to_owned(), sealed: false, id: None };
    let anthropic = Signature { vendor: Dialect::Anthropic, ..gemini };
    let events = whole(
        vec![
            block(0, BlockStart::Reasoning, &["h", "m"], Some(anthropic.clone())),
            block(1, BlockStart::Reasoning, &[], Some(Signature { sealed: true, ..anthropic })),
            block(2, BlockStart::Text, &["Hel", "lo \"\n\u{1F980}"], None),
            block(3, BlockStart::Text, &["more"], None),
            block(4, tool_start("call_1", "look"), &["{}"], None),
        ],
        Finish::ToolCalls,
    );
    assert_eq!(read(&write(&events, &writing(None)), &[3, 700, 1_300]), events);
}

#[test]
fn log_probabilities_come_with_their_text() {
    let logprobs = Json::parse(r#"{"content":[{"token":"Hi","logprob":-0.10,"bytes":null,"top_logprobs":[]}]}"#).expect("JSON");
    let mut said = block(0, BlockStart::Text, &["Hi"], None);
    said.insert(2, StreamEvent::Logprobs { choice: 0, logprobs: logprobs.clone() });
    let written = events_of(&write(&whole(vec![said], Finish::Stop), &writing(None)), &[]);
    let part = &json_of(written.last().expect("an event"))["response"]["output"][0]["content"][0];
    assert_eq!(part["logprobs"], logprobs.to_value()["content"]);

    let delta = r#"data: {"type":"response.output_text.delta","delta":"Hi","logprobs":[{"token":"Hi","logprob":-0.10,"bytes":null,"top_logprobs":[]}]}"#;
    assert!(read(format!("{delta}\n\n").as_bytes(), &[]).contains(&StreamEvent::Logprobs { choice: 0, logprobs }));
}

#[test]
fn the_signature_of_a_call_travels_in_an_item_of_its_own() {
    let gemini = Signature { vendor: Dialect::Gemini, value: "sig".to_owned(), sealed: false, id: None };
    let events = whole(vec![block(0, tool_start("call_1", "look"), &["{}"], Some(gemini))], Finish::ToolCalls);
    let written = events_of(&write(&events, &writing(None)), &[]);
    let output = json_of(written.last().expect("an event"))["response"]["output"].clone();
    assert_eq!((&output[0]["type"], &output[1]["type"]), (&json!("function_call"), &json!("reasoning")));
    let request = Responses.read_request(&head(), json!({"model": "m", "input": output}).to_string().as_bytes()).expect("a request");
    let found = format!("{:?}", request.turns);
    assert!(found.contains(r#"signature: Some(Signature { vendor: Gemini, value: "sig""#), "{found}");
}

#[test]
fn what_the_end_repeats_is_known_and_given_for_keeping() {
    let mut writer = Responses.stream_writer(&writing(None));
    let mut out = Vec::new();
    assert_eq!((writer.held_bytes(), writer.kept()), (0, None));
    let said = "x".repeat(1_000);
    let blocks = vec![block(0, BlockStart::Text, &[&said], None), block(1, tool_start("c", "f"), &[&said], None)];
    for (number, event) in whole(blocks, Finish::ToolCalls).iter().enumerate() {
        writer.write(event, &mut out);
        assert!(number < 2 || writer.held_bytes() >= 1_000, "{number}");
    }
    assert!(writer.held_bytes() >= 2_000);
    writer.finish(&charge(), &mut out);
    let kept: Value = serde_json::from_slice(&writer.kept().expect("kept")).expect("JSON");
    assert_eq!(kept, json_of(events_of(&out, &[]).last().expect("an event"))["response"]);
}

#[test]
fn a_call_without_arguments_has_an_empty_object() {
    let written = events_of(&write(&whole(vec![block(0, tool_start("c", "f"), &[], None)], Finish::ToolCalls), &writing(None)), &[]);
    let output = json_of(written.last().expect("an event"))["response"]["output"].clone();
    assert_eq!(output[0]["arguments"], json!("{}"));
}

#[test]
fn an_ending_in_the_middle_is_incomplete() {
    let written = events_of(&write(&whole(vec![block(0, BlockStart::Text, &["Hel"], None)], Finish::Length), &writing(None)), &[]);
    let last = json_of(written.last().expect("an event"));
    assert_eq!(
        (&last["type"], &last["response"]["incomplete_details"]["reason"]),
        (&json!("response.incomplete"), &json!("max_output_tokens"))
    );
    assert_eq!(last["response"]["output"][0]["status"], json!("incomplete"));
}

fn error() -> ErrorBody<'static> {
    ErrorBody {
        status: 502,
        message: "the upstream broke \"off\"".into(),
        kind: "server_error".into(),
        param: None,
        code: "upstream_error".into(),
        request_id: "req_0a".into(),
        limit: None,
        scope: None,
    }
}

#[test]
fn a_stream_that_failed_says_so_and_ends() {
    let mut writer = Responses.stream_writer(&writing(None));
    let mut out = Vec::new();
    let begun = [
        StreamEvent::BlockStart { choice: 0, block: 0, start: BlockStart::Text },
        StreamEvent::Delta { choice: 0, block: 0, text: "Hel".to_owned() },
    ];
    begun.iter().for_each(|event| writer.write(event, &mut out));
    writer.fail(&error(), &mut out);
    let written = events_of(&out, &[]);
    let [.., plain, failed] = written.as_slice() else { panic!("two events at least") };
    let (plain, failed) = (json_of(plain), json_of(failed));
    assert_eq!((&plain["type"], &plain["code"], &plain["param"]), (&json!("error"), &json!("upstream_error"), &Value::Null));
    assert_eq!((&failed["type"], &failed["response"]["status"]), (&json!("response.failed"), &json!("failed")));
    assert_eq!(failed["response"]["error"], json!({"code": "server_error", "message": "the upstream broke \"off\""}));
    assert_eq!(failed["response"]["output"][0]["content"][0]["text"], json!("Hel"));
    assert_eq!(failed["sequence_number"].as_u64(), plain["sequence_number"].as_u64().map(|number| number + 1));
    assert!(matches!(read(&out, &[]).last(), Some(StreamEvent::Error { message }) if message.contains("broke")));
}

fn stream(events: &[Value]) -> Vec<u8> {
    events.iter().flat_map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or("x")).into_bytes()).collect()
}

fn completed(output: Value) -> Value {
    json!({"type": "response.completed", "response": {"id": "r", "status": "completed", "output": output, "usage": {"input_tokens": 1, "output_tokens": 2}}})
}

/// What was said, as one line a block.
fn told(events: &[StreamEvent]) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    for event in events {
        match event {
            StreamEvent::BlockStart { block, start, .. } => {
                assert_eq!(*block as usize, blocks.len(), "numbered without gaps");
                blocks.push(match start {
                    BlockStart::ToolCall { id, name, .. } => format!("{id} {name} "),
                    start => format!("{start:?} "),
                });
            }
            StreamEvent::Delta { block, text, .. } => {
                assert_eq!(*block as usize + 1, blocks.len(), "one after the other");
                blocks.last_mut().expect("a block").push_str(text);
            }
            _ => {}
        }
    }
    let stops = events.iter().filter(|event| matches!(event, StreamEvent::BlockStop { .. })).count();
    assert!(stops <= blocks.len());
    blocks
}

#[test]
fn a_server_without_indexes_and_ids_is_understood() {
    let bytes = stream(&[
        json!({"type": "response.created", "response": {"id": "r", "model": "m"}}),
        json!({"type": "response.output_item.added", "item": {"type": "reasoning", "id": "rs_1", "summary": []}}),
        json!({"type": "response.reasoning_text.delta", "delta": "hm"}),
        json!({"type": "response.output_item.done", "item": {"type": "reasoning", "id": "rs_1", "summary": []}}),
        json!({"type": "response.output_item.added", "item": {"type": "message", "id": "msg_1", "content": []}}),
        json!({"type": "response.output_text.delta", "delta": "Hel", "item_id": "msg_1"}),
        json!({"type": "response.output_text.delta", "delta": "lo"}),
        json!({"type": "response.output_text.done", "text": "Hello"}),
        json!({"type": "response.output_item.done", "item": {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "Hello"}]}}),
        json!({"type": "response.output_item.added", "item": {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": ""}}),
        json!({"type": "response.function_call_arguments.delta", "delta": "{}", "item_id": "something else"}),
        json!({"type": "response.output_item.done", "item": {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}"}}),
        completed(json!([])),
    ]);
    let events = read(&bytes, &[]);
    assert_eq!(told(&events), ["Reasoning hm", "Text Hello", "call_1 f {}"]);
    assert_eq!(events.last(), Some(&StreamEvent::End));
}

#[test]
fn calls_side_by_side_come_out_one_after_the_other() {
    let added = |index: u64, id: &str| json!({"type": "response.output_item.added", "output_index": index, "item": {"type": "function_call", "id": format!("fc_{id}"), "call_id": id, "name": "f"}});
    let delta = |index: u64, text: &str| json!({"type": "response.function_call_arguments.delta", "output_index": index, "delta": text});
    let done = |index: u64, id: &str| json!({"type": "response.output_item.done", "output_index": index, "item": {"type": "function_call", "id": format!("fc_{id}"), "call_id": id, "name": "f", "arguments": "{\"never\":1}"}});
    let bytes = stream(&[
        added(0, "a"),
        added(1, "b"),
        delta(1, "{\"b\""),
        delta(0, "{\"a\":"),
        done(1, "b"),
        delta(0, "1}"),
        added(2, "c"),
        done(0, "a"),
        json!({"type": "response.function_call_arguments.done", "output_index": 2, "arguments": "{\"c\":3}"}),
        completed(json!([])),
    ]);
    assert_eq!(told(&read(&bytes, &[])), [r#"a f {"a":1}"#, r#"b f {"b""#, r#"c f {"c":3}"#]);
}

#[test]
fn what_was_never_streamed_is_given_out_at_the_end() {
    let output = json!([{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}, {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}]);
    let events = read(&stream(&[completed(output)]), &[]);
    assert_eq!(told(&events), ["Text Hi", "c f {}"]);
    assert!(events.contains(&StreamEvent::Finish { choice: 0, finish: Finish::ToolCalls, stop_sequence: None }));
    assert!(events.contains(&StreamEvent::Usage(Quantities { input_tokens: 1, output_tokens: 2, ..Quantities::default() })));

    let only_done =
        stream(&[json!({"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "Hi"}), completed(json!([]))]);
    assert_eq!(told(&read(&only_done, &[])), ["Text Hi"]);
}

#[test]
fn nothing_follows_an_error() {
    let events = read(b"data: a\n\n: still here\n\ndata: {}\n\n", &[]);
    assert!(matches!(events.as_slice(), [StreamEvent::Error { .. }]), "{events:?}");
}

#[test]
fn without_a_terminal_event_there_is_no_end() {
    let bytes = stream(&[json!({"type": "response.output_text.delta", "output_index": 0, "delta": "Hel"})]);
    for end in ["", "data: [DONE]\n\n"] {
        let events = read(&[&bytes, end.as_bytes()].concat(), &[]);
        assert!(!events.iter().any(|event| matches!(event, StreamEvent::End | StreamEvent::Finish { .. })), "{events:?}");
    }
    for bad in [
        "data: {\"type\":\n\n",
        "data: []\n\n",
        "data: {\"type\":\"response.completed\"}\n\n",
        "event: error\ndata: {\"message\":\"no\"}\n\n",
    ] {
        assert!(matches!(read(bad.as_bytes(), &[]).last(), Some(StreamEvent::Error { .. })), "{bad}");
    }
}

fn meter(kept: bool) -> Box<dyn Meter> {
    let chain = Chain { kept, previous_id: kept.then(|| "resp_before".to_owned()), earlier_items: 0 };
    Responses.meter(&Writing { head: CallHead { chain, ..head() }, ..writing(None) })
}

const PASSED: &str = concat!(
    "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0, \"response\":{\"id\":\"resp_up\",\"store\":false,\"status\":\"in_progress\"}}\n\n",
    ": comment\n\n",
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":1,\"delta\":\"hello world\", \"new\":1.50}\n\n",
    "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":2,\"response\":{\"id\":\"resp_up\", \"output\":[],\"usage\":{\"input_tokens\":3,\"output_tokens\":2}}}\n\n",
    "data: [DONE]\n\n",
);

/// Everything that reaches the caller, up to the final events.
fn pass(meter: &mut dyn Meter, bytes: &[u8]) -> (String, Vec<Step>) {
    let mut sent = Vec::new();
    let mut steps = Vec::new();
    for event in events_of(bytes, &[]) {
        let step = meter.on_event(&event);
        if let Step::Forward(bytes) = &step {
            sent.extend_from_slice(bytes);
        }
        steps.push(step);
    }
    (String::from_utf8_lossy(&sent).into_owned(), steps)
}

#[test]
fn a_passed_stream_differs_in_its_last_usage_only() {
    let mut meter = meter(false);
    let (sent, steps) = pass(&mut *meter, PASSED.as_bytes());
    let last_at = PASSED.find("event: response.completed").expect("the last event");
    assert_eq!(sent, PASSED[..last_at]);
    assert!(steps.contains(&Step::Done) && meter.is_complete() && meter.has_content());
    assert_eq!(meter.answer_id(), Some("resp_up"));
    assert_eq!(meter.reported().map(|used| (used.input_tokens, used.output_tokens)), Some((3, 2)));
    assert_eq!(meter.produced_tokens(), 2);
    let last = String::from_utf8(meter.final_events(&charge()).to_vec()).expect("UTF-8");
    let usage = r#""usage":{"input_tokens":3,"output_tokens":2,"cost":0.000012,"cost_micros":12}"#;
    assert_eq!(last, PASSED[last_at..].replace(r#""usage":{"input_tokens":3,"output_tokens":2}"#, usage).replace("data: [DONE]\n\n", ""));
    assert_eq!(meter.kept(), None);
}

#[test]
fn a_passed_stream_that_is_kept_has_our_id_everywhere() {
    let mut meter = meter(true);
    let (sent, _) = pass(&mut *meter, PASSED.as_bytes());
    let created = json_of(&events_of(sent.as_bytes(), &[])[0])["response"].clone();
    assert_eq!(created, json!({"id": "resp_0a", "store": true, "status": "in_progress", "previous_response_id": "resp_before"}));
    assert_eq!(meter.answer_id(), Some("resp_0a"));
    let last = json_of(&events_of(&meter.final_events(&charge()), &[])[0]);
    assert_eq!((&last["response"]["id"], &last["response"]["store"]), (&json!("resp_0a"), &json!(true)));
    let kept: Value = serde_json::from_slice(&meter.kept().expect("kept")).expect("JSON");
    assert_eq!(kept, last["response"]);
}

#[test]
fn a_passed_stream_that_breaks_off_ends_as_failed() {
    let mut meter = meter(false);
    let cut = PASSED.find("event: response.completed").expect("the last event");
    pass(&mut *meter, &PASSED.as_bytes()[..cut]);
    assert!(!meter.is_complete());
    let written = events_of(&meter.failure(&error()), &[]);
    let (plain, failed) = (json_of(&written[0]), json_of(&written[1]));
    assert_eq!((&plain["type"], &plain["sequence_number"]), (&json!("error"), &json!(2)));
    assert_eq!((&failed["response"]["id"], &failed["response"]["status"]), (&json!("resp_up"), &json!("failed")));
    assert_eq!(failed["response"]["error"]["code"], json!("server_error"));
}

#[test]
fn failures_inside_a_passed_stream_are_seen() {
    for event in [
        r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"broke"}}}"#,
        r#"{"type":"error","code":"x","message":"broke","param":null}"#,
        r#"{"error":{"message":"broke"}}"#,
    ] {
        let (_, steps) = pass(&mut *meter(false), format!("data: {event}\n\n").as_bytes());
        assert!(matches!(&steps[0], Step::Error { message } if message == "broke"), "{steps:?}");
    }
    let (_, steps) = pass(&mut *meter(false), b"data: {\n\n");
    assert!(matches!(steps[0], Step::Error { .. }));
}

/// Blocks of any kind with any text.
fn blocks() -> impl Strategy<Value = Vec<(u8, Vec<String>)>> {
    prop::collection::vec((0..5u8, prop::collection::vec("\\PC{1,6}|[\\x00-\\x20\"\\\\]{1,4}", 1..4)), 0..6)
}

fn made(blocks: &[(u8, Vec<String>)], finish: Finish) -> Vec<StreamEvent> {
    let made = blocks.iter().enumerate().map(|(number, (kind, deltas))| {
        let start = match kind {
            0 => BlockStart::Reasoning,
            1 => BlockStart::Refusal,
            2 => tool_start(&format!("call_{number}"), "look"),
            3 => BlockStart::ToolCall { id: format!("call_{number}"), name: "patch".to_owned(), kind: ToolKind::Custom },
            _ => BlockStart::Text,
        };
        let deltas: Vec<&str> = deltas.iter().map(String::as_str).collect();
        block(u32::try_from(number).expect("few"), start, &deltas, None)
    });
    whole(made.collect(), finish)
}

proptest! {
    #[test]
    fn any_stream_survives_however_it_is_cut(blocks in blocks(), cuts in prop::collection::vec(any::<usize>(), 0..8)) {
        // The finish is derived from what was said.
        let has = |kinds: std::ops::RangeInclusive<u8>| blocks.iter().any(|(kind, _)| kinds.contains(kind));
        let finish = if has(2..=3) { Finish::ToolCalls } else if has(1..=1) { Finish::Refused } else { Finish::Stop };
        let events = made(&blocks, finish);
        prop_assert_eq!(read(&write(&events, &writing(None)), &cuts), events);
    }

    #[test]
    fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..300), json in "\\{\"type\":\"response\\.(output_item\\.(added|done)|output_text\\.(delta|done)|completed|failed)\",\"(item|delta|response|output_index)\":(\\{\\}|\"x\"|1|\\[\\])\\}") {
        let events = [&b"data: "[..], json.as_bytes(), b"\n\ndata: ", &bytes, b"\n\n"].concat();
        read(&events, &[]);
        pass(&mut *meter(true), &events);
        let _ = Responses.read_answer(&bytes);
        let _ = Responses.read_answer(json.as_bytes());
        let _ = Responses.read_request(&head(), &bytes);
        let _ = Responses.peek(&Bytes::from(json), &writing(None));
    }
}
