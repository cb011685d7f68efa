use std::rc::Rc;

use serde_json::{Value, json};

use super::*;
use crate::{
    dialect::{
        Dialect,
        canonical::{Block, Choice, Content, Finish, Signature, ToolKind},
    },
    domain::pricing::Quantities,
};

pub(super) fn writing() -> Writing {
    Writing {
        head: CallHead::new(Endpoint::ChatCompletions),
        call_id: "req_7".to_owned(),
        model: "ours".to_owned(),
        created: 1_700_000_000,
        include_usage: false,
        request: None,
    }
}

pub(super) fn charge() -> Charge {
    let quantities = Quantities {
        input_tokens: 5,
        cached_input_tokens: 3,
        cache_write_1h_tokens: 2,
        output_tokens: 4,
        reasoning_tokens: 6,
        requests: 1,
        ..Quantities::default()
    };
    Charge { cost_micros: 12, quantities, ..Charge::default() }
}

pub(super) fn legacy() -> Writing {
    let request = canonical::Request { legacy_functions: true, ..canonical::Request::default() };
    Writing { request: Some(Rc::new(request)), ..writing() }
}

fn read(body: &Value) -> canonical::Answer {
    Chat.read_answer(body.to_string().as_bytes()).expect("an answer")
}

fn write(answer: &canonical::Answer, writing: &Writing) -> Value {
    serde_json::from_slice(&Chat.write_answer(answer, writing, &charge())).expect("JSON")
}

fn answer(blocks: Vec<Content>, finish: Finish) -> canonical::Answer {
    let blocks = blocks.into_iter().map(Block::new).collect();
    canonical::Answer { choices: vec![Choice { blocks, finish, stop_sequence: None, logprobs: None }], ..canonical::Answer::default() }
}

fn call(arguments: &str) -> Content {
    let (id, name) = ("c1".to_owned(), "get".to_owned());
    Content::ToolCall { id, name, arguments: arguments.to_owned(), kind: ToolKind::Function, signature: None }
}

#[test]
fn every_member_of_an_answer_is_written() {
    let written = write(&answer(vec![Content::Text("hello".to_owned())], Finish::Stop), &writing());
    assert_eq!(
        written,
        json!({
            "id": "chatcmpl-7", "object": "chat.completion", "created": 1_700_000_000, "model": "ours",
            "choices": [{
                "index": 0, "message": {"role": "assistant", "content": "hello", "refusal": null, "annotations": []},
                "logprobs": null, "finish_reason": "stop",
            }],
            "usage": {
                "prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20,
                "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2, "audio_tokens": 0, "image_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 6, "audio_tokens": 0, "image_tokens": 0,
                    "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
                "cost": 0.000012, "cost_micros": 12,
            },
        })
    );
}

#[test]
fn an_answer_survives() {
    let signature = Signature { vendor: Dialect::Anthropic, value: "s".to_owned(), sealed: false, id: None };
    let sealed = Signature { vendor: Dialect::OpenAi, value: "d".to_owned(), sealed: true, id: Some("rs_1".to_owned()) };
    let gemini = Signature { vendor: Dialect::Gemini, value: "g".to_owned(), sealed: false, id: None };
    let custom =
        Content::ToolCall { id: "c2".into(), name: "run".into(), arguments: "ls".into(), kind: ToolKind::Custom, signature: Some(gemini) };
    let blocks = vec![
        Content::Reasoning { text: "hm".to_owned(), signature: Some(signature) },
        Content::Reasoning { text: String::new(), signature: Some(sealed) },
        Content::Text("hello".to_owned()),
        call(r#"{"a": 1}"#),
        custom,
    ];
    let original = answer(blocks, Finish::ToolCalls);
    assert_eq!(read(&write(&original, &writing())).choices, original.choices);
}

#[test]
fn finish_reasons_are_those_of_the_format() {
    for (blocks, finish, word) in [
        (vec![], Finish::Stop, "stop"),
        (vec![], Finish::Length, "length"),
        (vec![call("{}")], Finish::ToolCalls, "tool_calls"),
        (vec![call("{}")], Finish::Stop, "tool_calls"),
        (vec![call("{}")], Finish::Length, "length"),
        (vec![], Finish::Filtered, "content_filter"),
        (vec![], Finish::Refused, "content_filter"),
        (vec![Content::Refusal("no".to_owned())], Finish::Refused, "stop"),
        (vec![], Finish::Paused, "stop"),
    ] {
        let written = write(&answer(blocks, finish), &writing());
        assert_eq!(written["choices"][0]["finish_reason"], json!(word), "{finish:?}");
    }
    let refused = write(&answer(vec![Content::Refusal("no".to_owned())], Finish::Refused), &writing());
    let message = &refused["choices"][0]["message"];
    assert_eq!((&message["content"], &message["refusal"]), (&Value::Null, &json!("no")));
    assert_eq!(read(&refused).choices[0].finish, Finish::Refused);
}

#[test]
fn callers_of_functions_get_one() {
    let written = write(&answer(vec![call("{}"), call("{}")], Finish::ToolCalls), &legacy());
    let choice = &written["choices"][0];
    assert_eq!(choice["message"]["function_call"], json!({"name": "get", "arguments": "{}"}));
    assert_eq!((&choice["message"]["tool_calls"], &choice["finish_reason"]), (&Value::Null, &json!("function_call")));
}

#[test]
fn odd_answers_are_read() {
    let said = |message: Value| read(&json!({"choices": [{"message": message, "finish_reason": "stop"}]})).choices.remove(0);
    let contents = |choice: &Choice| choice.blocks.iter().map(|block| block.content.clone()).collect::<Vec<_>>();
    let thought = |text: &str| Content::Reasoning { text: text.to_owned(), signature: None };

    let stopped = said(json!({"tool_calls": [{"function": {"name": "get", "arguments": ""}}]}));
    let unnumbered =
        Content::ToolCall { id: "call_0".into(), name: "get".into(), arguments: "{}".into(), kind: ToolKind::Function, signature: None };
    assert_eq!((contents(&stopped), stopped.finish), (vec![unnumbered], Finish::ToolCalls), "derived from the content");
    assert_eq!(
        contents(&said(json!({"content": "x", "reasoning": "r", "reasoning_content": "r", "tool_calls": null}))),
        [thought("r"), Content::Text("x".into())]
    );
    let parts = json!([{"type": "thinking", "thinking": [{"type": "text", "text": "t"}]}, {"type": "text", "text": "x"}, {"type": "odd"}]);
    assert_eq!(contents(&said(json!({"content": parts}))), [thought("t"), Content::Text("x".into())]);
    assert_eq!(contents(&said(json!({"content": 7, "annotations": 7}))), []);

    let two = read(&json!({"choices": [{"index": 1, "message": {"content": "b"}}, {"index": 0, "message": {"content": "a"}}]}));
    assert_eq!(two.choices.iter().flat_map(contents).collect::<Vec<_>>(), [Content::Text("a".into()), Content::Text("b".into())]);
}

#[test]
fn what_is_no_answer_is_told() {
    for (body, message) in [
        (&b"<html>"[..], "the answer is not a JSON object"),
        (b"\xff", "the answer is not valid UTF-8"),
        (br#"{"choices":7}"#, "the answer is not the JSON it should be"),
        (br#"{"choices":[]}"#, "the answer has no choices"),
        (br#"{"object":"error","message":"too long"}"#, "a good status with an error inside: too long"),
        (br#"{"error":{"message":"nope","code":500}}"#, "a good status with an error inside: nope"),
    ] {
        let garbage = Chat.read_answer(body).expect_err("garbage");
        assert!(garbage.0.starts_with(message), "{garbage}");
    }
}
