use super::*;
use crate::dialect::{CallHead, Endpoint, format::CallerFormat};

const FULL: &str = r#" {"id":"msg_up", "type":"message","role":"assistant","model":"claude-up","content":[
    {"type":"thinking","thinking":"hm","signature":"c2ln"},
    {"type":"redacted_thinking","data":"ZA=="},
    {"type":"text","text":"Hello world","citations":null},
    {"type":"tool_use","id":"toolu_1","name":"look","input":{"at": 1.0},"caller":{"type":"direct"}},
    {"type":"server_tool_use","id":"s","name":"web_search","input":{}}],
    "stop_reason":"tool_use","stop_sequence":null,"new":"}","usage" : {"input_tokens":10,"cache_read_input_tokens":3,"output_tokens":5}} "#;

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

fn charge() -> Charge {
    Charge { cost_micros: 12, quantities: Quantities { input_tokens: 10, output_tokens: 5, ..Quantities::default() }, ..Charge::default() }
}

fn signature(value: &str, sealed: bool) -> Option<Signature> {
    Some(Signature { vendor: Dialect::Anthropic, value: value.to_owned(), sealed, id: None })
}

fn call(id: &str, arguments: &str) -> Block {
    Block::new(Content::ToolCall {
        id: id.to_owned(),
        name: "look".to_owned(),
        arguments: arguments.to_owned(),
        kind: ToolKind::Function,
        signature: None,
    })
}

fn written(blocks: Vec<Block>, finish: Finish, stop_sequence: Option<&str>) -> String {
    let choice = Choice { blocks, finish, stop_sequence: stop_sequence.map(str::to_owned), logprobs: None };
    let body = write(&Answer { choices: vec![choice], ..Answer::default() }, &writing(), &charge());
    String::from_utf8(body.to_vec()).expect("UTF-8")
}

#[test]
fn only_the_usage_object_of_a_forwarded_answer_changes() {
    let finish = |body: &str| {
        let answer = Peeked::parse(&Bytes::copy_from_slice(body.as_bytes())).expect("an answer");
        String::from_utf8(answer.finish(&charge()).0.to_vec()).expect("UTF-8")
    };
    assert_eq!(finish(FULL), FULL.replace(r#""output_tokens":5}"#, r#""output_tokens":5,"cost":0.000012,"cost_micros":12}"#));
    let made = finish("{\"content\":[]}\n");
    assert!(made.starts_with(r#"{"content":[],"usage":{"input_tokens":10,"#) && made.ends_with("\"cost_micros\":12}}\n"), "{made}");
    assert!(finish(r#"{"usage":null,"content":[]}"#).starts_with(r#"{"usage":{"input_tokens":10,"#));
}

#[test]
fn an_answer_is_peeked_at() {
    let answer = Peeked::parse(&Bytes::from_static(FULL.as_bytes())).expect("an answer");
    assert_eq!(answer.id(), Some("msg_up"));
    let expected = Quantities { input_tokens: 10, cached_input_tokens: 3, output_tokens: 5, ..Quantities::default() };
    assert_eq!(answer.usage(), Some(expected));
    assert!(answer.produced_tokens() >= 5, "{}", answer.produced_tokens());
}

#[test]
fn an_answer_is_read_for_others() {
    let answer = read(FULL.as_bytes()).expect("an answer");
    let choice = &answer.choices[0];
    assert_eq!((answer.model.as_deref(), choice.finish), (Some("claude-up"), Finish::ToolCalls));
    assert_eq!(
        choice.blocks[..4],
        [
            Block::new(Content::Reasoning { text: "hm".to_owned(), signature: signature("c2ln", false) }),
            Block::new(Content::Reasoning { text: String::new(), signature: signature("ZA==", true) }),
            Block::text("Hello world"),
            call("toolu_1", r#"{"at": 1.0}"#),
        ]
    );
    assert!(matches!(&choice.blocks[4].content, Content::Opaque { kind, .. } if kind == "server_tool_use"));
}

#[test]
fn reasons_to_stop_are_read() {
    let stopped = |members: &str| {
        let answer = read(format!(r#"{{"content":[{{"type":"text","text":"x"}}],{members}}}"#).as_bytes()).expect("an answer");
        let choice = answer.choices.into_iter().next().expect("a choice");
        (choice.finish, choice.stop_sequence, choice.blocks.len())
    };
    assert_eq!(stopped(r#""stop_reason":"end_turn""#), (Finish::Stop, None, 1));
    assert_eq!(stopped(r#""stop_reason":"stop_sequence","stop_sequence":"END""#), (Finish::Stop, Some("END".to_owned()), 1));
    assert_eq!(stopped(r#""stop_reason":"model_context_window_exceeded""#), (Finish::Length, None, 1));
    assert_eq!(stopped(r#""stop_reason":"pause_turn""#), (Finish::Paused, None, 1));
    assert_eq!(stopped(r#""stop_reason":"later""#), (Finish::Stop, None, 1));
    assert_eq!(stopped(r#""stop_reason":"tool_use""#), (Finish::Stop, None, 1), "nothing is to be called");
    let refused = r#""stop_reason":"refusal","stop_details":{"type":"refusal","category":"cyber","explanation":"no"}"#;
    assert_eq!(stopped(refused), (Finish::Refused, None, 2));
}

#[test]
fn the_structured_answer_is_a_text() {
    let body =
        r#"{"content":[{"type":"tool_use","id":"t","name":"pixgate_structured_answer","input":{"b": 1,"a":2}}],"stop_reason":"tool_use"}"#;
    let choice = &read(body.as_bytes()).expect("an answer").choices[0];
    assert_eq!((&choice.blocks[..], choice.finish), (&[Block::text(r#"{"b": 1,"a":2}"#)][..], Finish::Stop));
}

#[test]
fn odd_blocks_never_break_an_answer() {
    let body = r#"{"content":["odd",7,{},{"type":"text"},{"type":"text","text":null},{"type":"tool_use","input":"x"},{"type":"thinking","thinking":""}]}"#;
    let answer = read(body.as_bytes()).expect("an answer");
    let kinds: Vec<&Content> = answer.choices[0].blocks.iter().map(|block| &block.content).collect();
    assert!(matches!(kinds[..], [Content::Opaque { .. }, Content::ToolCall { arguments, .. }] if arguments == "{}"), "{kinds:?}");
}

#[test]
fn errors_and_garbage_are_told() {
    let error = br#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#;
    assert_eq!(read(error).expect_err("no answer").0, "a good status with an error inside: busy");
    for body in ["", "null", "[]", "<html>", "{", "{}", r#"{"content":null}"#, r#"{"content":{}}"#, r#"{"id":1,"content":[]}"#] {
        assert!(read(body.as_bytes()).is_err() && Peeked::parse(&Bytes::copy_from_slice(body.as_bytes())).is_err(), "{body}");
    }
    assert!(read(b"\xff").is_err());
}

#[test]
fn every_member_is_written() {
    let blocks = vec![
        Block::new(Content::Reasoning { text: "hm".to_owned(), signature: None }),
        Block::new(Content::Reasoning { text: String::new(), signature: None }),
        Block::new(Content::Reasoning { text: String::new(), signature: signature("ZA==", true) }),
        Block::text("a \"b\""),
        Block::text(""),
        call("functions.look:0", r#"{"at": 1.0}"#),
        call("", ""),
    ];
    let text = written(blocks, Finish::Stop, None);
    let odd = wire::tool_id("functions.look:0");
    assert_eq!(
        text,
        format!(
            concat!(
                r#"{{"id":"msg_0197","type":"message","role":"assistant","model":"test/claude","content":["#,
                r#"{{"type":"thinking","thinking":"hm","signature":""}},{{"type":"redacted_thinking","data":"ZA=="}},"#,
                r#"{{"type":"text","citations":[],"text":"a \"b\""}},"#,
                r#"{{"type":"tool_use","id":"{odd}","name":"look","caller":{{"type":"direct"}},"input":{{"at": 1.0}}}},"#,
                r#"{{"type":"tool_use","id":"toolu_0197_4","name":"look","caller":{{"type":"direct"}},"input":{{}}}}],"#,
                r#""stop_reason":"tool_use","stop_sequence":null,"stop_details":null,"container":null,"usage":{usage}}}"#
            ),
            odd = odd,
            usage = usage::with_cost(None, &charge()),
        )
    );
    assert!(!text.contains("foreign"));
}

#[test]
fn reasons_to_stop_are_written() {
    let reason = |finish, sequence| {
        let body: serde_json::Value = serde_json::from_str(&written(vec![Block::text("x")], finish, sequence)).expect("JSON");
        (body["stop_reason"].as_str().expect("a reason").to_owned(), body["stop_sequence"].clone(), body["stop_details"].is_object())
    };
    let null = serde_json::Value::Null;
    assert_eq!(reason(Finish::Stop, None), ("end_turn".to_owned(), null.clone(), false));
    assert_eq!(reason(Finish::Stop, Some("END")), ("stop_sequence".to_owned(), "END".into(), false));
    assert_eq!(reason(Finish::Length, None), ("max_tokens".to_owned(), null.clone(), false));
    assert_eq!(reason(Finish::Filtered, None), ("refusal".to_owned(), null.clone(), true));
    assert_eq!(reason(Finish::Paused, None), ("pause_turn".to_owned(), null, false));
}

#[test]
fn foreign_signatures_stay_behind() {
    let foreign = Some(Signature { vendor: Dialect::Gemini, value: "foreign".to_owned(), sealed: true, id: None });
    let text = written(vec![Block::new(Content::Reasoning { text: "hm".to_owned(), signature: foreign })], Finish::Stop, None);
    assert!(text.contains(r#"{"type":"thinking","thinking":"hm","signature":""}"#) && !text.contains("foreign"), "{text}");
}

#[test]
fn the_answers_id_is_known_before_it_is_written() {
    assert_eq!(crate::dialect::anthropic::Messages.answer_id(&writing()), "msg_0197");
}
