use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    super::tests::{charge, legacy, writing},
    *,
};
use crate::dialect::{
    Dialect, ErrorBody,
    canonical::{BlockStart, Finish, Signature, StreamEvent, ToolKind},
    format::{StreamReader, StreamWriter, Writing},
    sse::Decoder,
};

/// What a stream with these data lines is read as.
fn read(lines: &[&str]) -> Vec<StreamEvent> {
    let mut decoder = Decoder::new(1 << 20);
    for line in lines {
        decoder.push(Bytes::from(format!("data: {line}\n\n")));
    }
    let mut reader = Reader::default();
    let mut events = Vec::new();
    while let Some(event) = decoder.next_event() {
        reader.read(&event.expect("short"), &mut events);
    }
    reader.ended(&mut events);
    events
}

/// A chunk with this delta.
fn delta(delta: &Value) -> String {
    json!({"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]}).to_string()
}

fn fragment(index: u32, id: Option<&str>, name: Option<&str>, arguments: &str) -> String {
    delta(&json!({"tool_calls": [{"index": index, "id": id, "function": {"name": name, "arguments": arguments}}]}))
}

const FINISH: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;

/// Events in short: `T`ext, `R`efusal, thou`H`t or call with its id, `+text`, `!` signed, `.` at the end of a block.
fn short(events: &[StreamEvent]) -> String {
    let mut short = String::new();
    for event in events {
        match event {
            StreamEvent::BlockStart { block, start, .. } => {
                let kind = match start {
                    BlockStart::Text => "T".to_owned(),
                    BlockStart::Refusal => "R".to_owned(),
                    BlockStart::Reasoning => "H".to_owned(),
                    BlockStart::ToolCall { id, name, .. } => format!("{id}:{name}"),
                };
                short.push_str(&format!("{block}{kind}"));
            }
            StreamEvent::Delta { text, .. } => short.push_str(&format!("+{text}")),
            StreamEvent::Signed { signature, .. } => short.push_str(&format!("!{}", signature.value)),
            StreamEvent::BlockStop { .. } => short.push_str(". "),
            StreamEvent::Finish { finish, .. } => short.push_str(&format!("{finish:?} ")),
            StreamEvent::Usage(usage) => short.push_str(&format!("u{} ", usage.tokens())),
            StreamEvent::End => short.push_str("end"),
            StreamEvent::Error { message } => short.push_str(&format!("error: {message}")),
            StreamEvent::Start { .. } | StreamEvent::Ping | StreamEvent::Logprobs { .. } | StreamEvent::Cited { .. } => {}
        }
    }
    short
}

#[test]
fn text_and_usage_are_read() {
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
    let events = read(&[
        &delta(&json!({"role": "assistant", "content": ""})),
        &delta(&json!({"content": "a"})),
        &delta(&json!({"content": "b"})),
        FINISH,
        usage,
        "[DONE]",
    ]);
    assert_eq!(events[0], StreamEvent::Start { id: Some("x".to_owned()), model: None });
    assert_eq!(short(&events), "0T+a+b. u5 Stop end");
}

#[test]
fn blocks_follow_each_other() {
    let events = read(&[
        &delta(&json!({"reasoning_content": "h", "reasoning": "h"})),
        &delta(&json!({"reasoning": "m"})),
        &delta(&json!({"content": "t"})),
        &delta(&json!({"refusal": "no"})),
        FINISH,
        "[DONE]",
    ]);
    assert_eq!(short(&events), "0H+h+m. 1T+t. 2R+no. Refused end");
}

#[test]
fn calls_in_turns_are_put_in_order() {
    let finished = |lines: &[&str]| short(&read(&[lines, &[FINISH, "[DONE]"]].concat()));
    let usual = [
        fragment(0, Some("a"), Some("f"), ""),
        fragment(0, None, None, "{\"x\":"),
        fragment(0, None, None, "1}"),
        fragment(1, Some("b"), Some("g"), "{}"),
    ];
    assert_eq!(finished(&usual.each_ref().map(|line| &**line)), "0a:f+{\"x\":+1}. 1b:g+{}. ToolCalls end");

    let interleaved = [
        fragment(0, Some("a"), Some("f"), ""),
        fragment(1, Some("b"), Some("g"), ""),
        fragment(0, None, None, "{\"x\":\"}"),
        fragment(1, None, None, "{\"y\":"),
        fragment(0, None, None, "\"}"),
        fragment(1, None, None, "2}"),
    ];
    assert_eq!(finished(&interleaved.each_ref().map(|line| &**line)), "0a:f+{\"x\":\"}+\"}. 1b:g+{\"y\":+2}. ToolCalls end");

    let one_index = [fragment(0, Some("a"), Some("f"), "{}"), fragment(0, Some("b"), Some("g"), "{}")];
    assert_eq!(finished(&one_index.each_ref().map(|line| &**line)), "0a:f+{}. 1b:g+{}. ToolCalls end");

    let new_ids = [fragment(0, Some("a"), Some("f"), "{\"x\""), fragment(0, Some("z"), None, ":1}")];
    assert_eq!(finished(&new_ids.each_ref().map(|line| &**line)), "0a:f+{\"x\"+:1}. ToolCalls end");

    let without_arguments = [fragment(0, Some("a"), Some("f"), ""), fragment(1, Some("b"), Some("g"), "")];
    assert_eq!(finished(&without_arguments.each_ref().map(|line| &**line)), "0a:f+{}. 1b:g+{}. ToolCalls end");

    let text_between = [fragment(0, Some("a"), Some("f"), "{\"x\":"), delta(&json!({"content": "t"})), fragment(0, None, None, "1}")];
    assert_eq!(finished(&text_between.each_ref().map(|line| &**line)), "0a:f+{\"x\":+1}. 1T+t. ToolCalls end");

    let beyond_its_end = [fragment(0, Some("a"), Some("f"), "{}"), delta(&json!({"content": "t"})), fragment(0, None, None, "x")];
    assert_eq!(
        finished(&beyond_its_end.each_ref().map(|line| &**line)),
        "0a:f+{}. 1T+terror: the upstream went on with a tool call that was whole"
    );

    let function = delta(&json!({"function_call": {"name": "f", "arguments": "{}"}}));
    assert_eq!(finished(&[&function]), "0call_0:f+{}. ToolCalls end");
}

#[test]
fn signatures_end_their_thought() {
    let detail = |detail: Value| delta(&json!({"reasoning_details": [detail]}));
    let events = read(&[
        &detail(json!({"type": "reasoning.text", "text": "a", "index": 0})),
        &detail(json!({"type": "reasoning.text", "signature": "s", "format": "anthropic-claude-v1", "index": 0})),
        &detail(json!({"type": "reasoning.text", "text": "b", "index": 1})),
        &detail(json!({"type": "reasoning.text", "text": "c", "index": 2})),
        &detail(json!({"type": "reasoning.encrypted", "data": "d", "format": "openai-responses-v1"})),
        &delta(&json!({"tool_calls": [{"index": 0, "id": "x", "function": {"name": "f", "arguments": "{}"},
            "extra_content": {"google": {"thought_signature": "g"}}}]})),
        "[DONE]",
    ]);
    assert_eq!(short(&events), "0H+a!s. 1H+b. 2H+c!d. 3x:f+{}!g. ToolCalls end");
}

#[test]
fn ends_are_good_or_bad() {
    let text = delta(&json!({"content": "a"}));
    assert_eq!(short(&read(&[&text, "[DONE]"])), "0T+a. Stop end", "no reason, but an end mark");
    assert_eq!(short(&read(&[&text, FINISH])), "0T+a. Stop end", "no end mark, but a reason");
    assert_eq!(short(&read(&[&text])), "0T+a", "cut");
    assert_eq!(short(&read(&["[DONE]"])), "Stop end");
    assert_eq!(short(&read(&[])), "");
    for (line, message) in [
        (r#"{"object":"error","message":"too long"}"#, "too long"),
        (r#"{"error":{"message":"nope","code":500}}"#, "nope"),
        ("nonsense", "the upstream sent an event that is not the JSON it should be"),
        ("[]", "the upstream sent an event that is not the JSON it should be"),
    ] {
        assert_eq!(short(&read(&[&text, line, "[DONE]"])), format!("0T+aerror: {message}"));
    }
    let filtered = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"content_filter"}]}"#;
    assert_eq!(short(&read(&[filtered])), "Filtered end");
}

#[test]
fn usage_on_every_chunk_is_its_latest() {
    let chunk = |text: &str, tokens: u64| {
        json!({"choices": [{"index": 0, "delta": {"content": text}}], "usage": {"prompt_tokens": 1, "completion_tokens": tokens}})
            .to_string()
    };
    assert_eq!(short(&read(&[&chunk("a", 1), &chunk("b", 2), FINISH, "[DONE]"])), "0T+au2 +bu3 . Stop end");
}

#[test]
fn choices_are_kept_apart() {
    let chunk = |index: u32, text: &str| json!({"choices": [{"index": index, "delta": {"content": text}}]}).to_string();
    let events = read(&[&chunk(1, "b"), &chunk(0, "a"), &chunk(1, "c"), "[DONE]"]);
    let of = |wanted: u32| {
        let texts = events.iter().filter_map(|event| match event {
            StreamEvent::Delta { choice, text, .. } if *choice == wanted => Some(&**text),
            _ => None,
        });
        texts.collect::<String>()
    };
    assert_eq!((of(0), of(1)), ("a".to_owned(), "bc".to_owned()));
}

/// The chunks that these events are written as, and whether the end mark came last.
fn write(events: &[StreamEvent], writing: &Writing) -> (Vec<Value>, bool) {
    let mut writer = Writer::new("chatcmpl-7".to_owned(), writing);
    let mut out = Vec::new();
    events.iter().for_each(|event| writer.write(event, &mut out));
    writer.finish(&charge(), &mut out);
    let text = String::from_utf8(out).expect("UTF-8");
    let chunks = text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).filter_map(|data| serde_json::from_str(data).ok());
    (chunks.collect(), text.ends_with("data: [DONE]\n\n"))
}

fn block(start: BlockStart, pieces: &[&str]) -> Vec<StreamEvent> {
    let deltas = pieces.iter().map(|text| StreamEvent::Delta { choice: 0, block: 0, text: (*text).to_owned() });
    let begin = StreamEvent::BlockStart { choice: 0, block: 0, start };
    [begin].into_iter().chain(deltas).chain([StreamEvent::BlockStop { choice: 0, block: 0 }]).collect()
}

fn call(id: &str) -> BlockStart {
    BlockStart::ToolCall { id: id.to_owned(), name: "f".to_owned(), kind: ToolKind::Function }
}

fn finish(finish: Finish) -> Vec<StreamEvent> {
    vec![StreamEvent::Finish { choice: 0, finish, stop_sequence: None }, StreamEvent::End]
}

#[test]
fn chunks_have_every_member() {
    let (chunks, done) = write(&[block(BlockStart::Text, &["a"]), finish(Finish::Stop)].concat(), &writing());
    assert!(done);
    let head = json!({"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "ours"});
    let chunk = |delta: Value, reason: Value| {
        let mut chunk = head.clone();
        chunk["choices"] = json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason}]);
        chunk
    };
    let mut last = chunk(json!({}), json!("stop"));
    last["usage"] = chunks[2]["usage"].clone();
    let role = json!({"role": "assistant", "content": "", "refusal": null});
    assert_eq!(chunks, [chunk(role, Value::Null), chunk(json!({"content": "a"}), Value::Null), last]);
    assert_eq!(chunks[2]["usage"]["cost_micros"], json!(12), "in the chunk with the finish reason");
}

#[test]
fn usage_is_a_chunk_of_its_own_when_asked_for() {
    let (chunks, _) = write(&finish(Finish::Stop), &Writing { include_usage: true, ..writing() });
    let usages: Vec<_> =
        chunks.iter().map(|chunk| (chunk["choices"].as_array().map(Vec::len), chunk["usage"]["total_tokens"].as_u64())).collect();
    assert_eq!(usages, [(Some(1), None), (Some(1), None), (Some(0), Some(20))]);
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_some()), "null until the last");
}

#[test]
fn calls_are_numbered_by_themselves() {
    let events =
        [block(BlockStart::Text, &["a"]), block(call("x"), &["{\"a\":", "1}"]), block(call("y"), &[]), finish(Finish::ToolCalls)].concat();
    let (chunks, _) = write(&events, &writing());
    let calls: Vec<_> =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"].get("tool_calls").map(|calls| calls[0].clone())).collect();
    assert_eq!(
        calls,
        [
            json!({"index": 0, "id": "x", "type": "function", "function": {"name": "f", "arguments": ""}}),
            json!({"index": 0, "function": {"arguments": "{\"a\":"}}),
            json!({"index": 0, "function": {"arguments": "1}"}}),
            json!({"index": 1, "id": "y", "type": "function", "function": {"name": "f", "arguments": ""}}),
            json!({"index": 1, "function": {"arguments": "{}"}}),
        ]
    );
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], json!("tool_calls"));
}

#[test]
fn callers_of_functions_get_one_call() {
    let (chunks, _) = write(&[block(call("x"), &["{}"]), block(call("y"), &["{}"]), finish(Finish::ToolCalls)].concat(), &legacy());
    let calls: Vec<_> = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"].get("function_call").cloned()).collect();
    assert_eq!(calls, [json!({"name": "f", "arguments": ""}), json!({"arguments": "{}"})]);
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], json!("function_call"));
}

#[test]
fn thoughts_are_told_with_their_signature() {
    let signature = Signature { vendor: Dialect::Anthropic, value: "s".to_owned(), sealed: false, id: None };
    let mut events = block(BlockStart::Reasoning, &["h"]);
    events.insert(2, StreamEvent::Signed { choice: 0, block: 0, signature });
    let (chunks, _) = write(&events, &writing());
    let delta = |at: usize| chunks[at]["choices"][0]["delta"].clone();
    assert_eq!(delta(1), json!({"reasoning_content": "h", "reasoning_details": [{"type": "reasoning.text", "text": "h", "index": 0}]}));
    let detail = json!({"type": "reasoning.text", "text": "", "signature": "s", "format": "anthropic-claude-v1", "index": 0});
    assert_eq!(delta(2), json!({"reasoning_details": [detail]}));
}

#[test]
fn a_failure_is_no_end() {
    let mut out = Vec::new();
    let error = ErrorBody {
        status: 502,
        message: "broke off".into(),
        kind: "upstream_error".into(),
        param: None,
        code: "upstream_error".into(),
        request_id: "req_7".into(),
        limit: None,
        scope: None,
    };
    Writer::new("x".to_owned(), &writing()).fail(&error, &mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("data: {\"error\":{\"message\":\"broke off\"") && !text.contains("[DONE]"));
}
