use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::dialect::{
    CallHead, Dialect, Endpoint,
    canonical::{Reasoning, Request, Signature},
};

fn writing(visible: Option<bool>) -> Writing {
    let request = Request { reasoning: Some(Reasoning { visible, ..Reasoning::default() }), ..Request::default() };
    Writing {
        head: CallHead::new(Endpoint::GenerateContent),
        call_id: "req_0197".to_owned(),
        model: "ours".to_owned(),
        created: 0,
        include_usage: true,
        request: Some(std::rc::Rc::new(request)),
    }
}

fn charge() -> Charge {
    Charge { cost_micros: 12, quantities: Quantities { input_tokens: 5, output_tokens: 2, ..Quantities::default() }, ..Charge::default() }
}

fn signed() -> Option<Signature> {
    signature("c2ln")
}

fn read_value(body: &Value) -> Result<Answer, Garbage> {
    read(body.to_string().as_bytes())
}

fn contents(answer: &Answer) -> Vec<Content> {
    answer.choices[0].blocks.iter().map(|block| block.content.clone()).collect()
}

fn candidate(parts: Value, reason: &str) -> Value {
    json!({"candidates": [{"content": {"parts": parts, "role": "model"}, "finishReason": reason, "index": 0}], "responseId": "r/1"})
}

fn finish(parts: Value, reason: &str) -> Finish {
    read_value(&candidate(parts, reason)).unwrap().choices[0].finish
}

#[test]
fn a_whole_answer_is_read() {
    let answer = read(include_bytes!("../../../../tests/golden/gemini/answer.json")).unwrap();
    assert_eq!((answer.id.as_deref(), answer.model.as_deref()), (Some("r-1"), Some("gemini-x")));
    let call = |id: &str, arguments: &str, signature| Content::ToolCall {
        id: id.to_owned(),
        name: "look_up".to_owned(),
        arguments: arguments.to_owned(),
        kind: ToolKind::Function,
        signature,
    };
    assert_eq!(
        contents(&answer),
        [
            Content::Reasoning { text: "Let me see.".to_owned(), signature: None },
            Content::Text("I will look.".to_owned()),
            call("call_r-1_0", r#"{"q":1.0}"#, signed()),
            call("own", "{}", None),
        ]
    );
    assert_eq!(answer.choices[0].finish, Finish::ToolCalls);
    assert_eq!(
        answer.usage,
        Some(Quantities { input_tokens: 70, cached_input_tokens: 30, output_tokens: 20, reasoning_tokens: 40, ..Quantities::default() })
    );
}

#[test]
fn the_reason_is_derived_from_the_content() {
    let text = || json!([{"text": "hi"}]);
    let call = || json!([{"functionCall": {"name": "f"}}]);
    assert_eq!(finish(text(), "STOP"), Finish::Stop);
    assert_eq!(finish(call(), "STOP"), Finish::ToolCalls);
    assert_eq!(finish(call(), "FUNCTION_CALL"), Finish::ToolCalls);
    assert_eq!(finish(call(), "MAX_TOKENS"), Finish::Length);
    assert_eq!(finish(json!([]), "SAFETY"), Finish::Filtered);
    assert_eq!(finish(json!([]), "OTHER"), Finish::Filtered);
    assert_eq!(finish(text(), "NEWEST_REASON"), Finish::Stop);
}

#[test]
fn what_is_no_answer_is_garbage() {
    for body in [
        candidate(json!([]), "MALFORMED_FUNCTION_CALL"),
        candidate(json!([]), ""),
        json!({"error": {"code": 500, "message": "broken"}}),
        json!({"candidates": []}),
        json!({"usageMetadata": {"promptTokenCount": 1}}),
        json!([]),
    ] {
        assert!(read_value(&body).is_err(), "{body}");
    }
    let garbage = read_value(&json!({"error": {"code": 500, "message": "broken"}})).unwrap_err();
    assert!(garbage.0.ends_with("broken"), "{garbage}");
    assert!(read(b"\xff").is_err());
}

#[test]
fn a_blocked_prompt_is_a_filtered_answer() {
    let body = json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4}});
    let answer = read_value(&body).unwrap();
    assert_eq!((answer.choices.len(), answer.choices[0].finish, answer.choices[0].blocks.len()), (1, Finish::Filtered, 0));
    assert_eq!(answer.usage.unwrap().input_tokens, 4);
    let peeked = Peeked::parse(&Bytes::from(body.to_string())).unwrap();
    assert_eq!(peeked.usage.unwrap().input_tokens, 4);
}

#[test]
fn parts_of_unknown_kind_break_nothing() {
    let parts = json!([{"newest": {"a": 1}}, {"text": "a"}, {"text": "b", "thoughtSignature": "c2ln"}, {"inlineData": {"mimeType": "image/png", "data": "-_8"}}]);
    let answer = read_value(&candidate(parts, "STOP")).unwrap();
    assert_eq!(
        contents(&answer),
        [
            Content::Text("ab".to_owned()),
            Content::Reasoning { text: String::new(), signature: signed() },
            Content::Image { source: Source::Base64 { mime: "image/png".to_owned(), data: "+/8=".to_owned() }, detail: None },
        ]
    );
}

#[test]
fn another_vendors_answer_is_written() {
    let foreign = Signature { vendor: Dialect::OpenAi, value: "x".to_owned(), sealed: true, id: None };
    let blocks = vec![
        Block::new(Content::Reasoning { text: "hm".to_owned(), signature: Some(foreign) }),
        Block::text("hi"),
        Block::new(Content::ToolCall {
            id: "c".to_owned(),
            name: "f".to_owned(),
            arguments: r#"{"a":1.50}"#.to_owned(),
            kind: ToolKind::Function,
            signature: None,
        }),
    ];
    let logprobs = Json::parse(r#"{"content":[{"token":"hi","logprob":-1,"bytes":null,"top_logprobs":[]}]}"#);
    let choice = Choice { blocks, finish: Finish::ToolCalls, stop_sequence: None, logprobs };
    let answer = Answer { choices: vec![choice], ..Answer::default() };
    let written = |visible| String::from_utf8(write(&answer, &writing(visible), &charge()).to_vec()).unwrap();
    let usage = r#""usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":2,"totalTokenCount":7,"cost":0.000012,"costMicros":12}"#;
    let shown = r#"{"text":"hi"},{"functionCall":{"id":"c","name":"f","args":{"a":1.50}}}"#;
    let expected = |parts: &str| {
        format!(
            r#"{{"candidates":[{{"content":{{"parts":[{parts}],"role":"model"}},"finishReason":"STOP","index":0,"logprobsResult":{{"chosenCandidates":[{{"token":"hi","logProbability":-1}}],"topCandidates":[{{"candidates":[]}}]}}}}],{usage},"modelVersion":"ours","responseId":"0197"}}"#
        )
    };
    assert_eq!(written(None), expected(shown));
    assert_eq!(written(Some(true)), expected(&format!(r#"{{"text":"hm","thought":true}},{shown}"#)));
}

#[test]
fn a_refusal_is_told_as_a_filter() {
    let choice = |blocks, finish| Choice { blocks, finish, stop_sequence: None, logprobs: None };
    let refusal = choice(vec![Block::new(Content::Refusal("No.".to_owned()))], Finish::Refused);
    let answer = Answer { choices: vec![refusal, choice(Vec::new(), Finish::Filtered)], ..Answer::default() };
    let written: Value = serde_json::from_slice(&write(&answer, &writing(None), &charge())).unwrap();
    assert_eq!(
        written["candidates"],
        json!([
            {"content": {"parts": [{"text": "No."}], "role": "model"}, "finishReason": "SAFETY", "finishMessage": "No.", "index": 0},
            {"content": {"parts": [], "role": "model"}, "finishReason": "SAFETY", "index": 1},
        ])
    );
}

#[test]
fn only_the_usage_of_a_forwarded_answer_changes() {
    let cost = |body: &'static str| {
        let peeked = Peeked::parse(&Bytes::from_static(body.as_bytes())).unwrap();
        String::from_utf8(peeked.finish(&charge()).0.to_vec()).unwrap()
    };
    assert_eq!(
        cost(r#" {"usage_metadata" : {"promptTokenCount":1}, "candidates":[{}] , "new":"}"} "#),
        r#" {"usage_metadata" : {"promptTokenCount":1,"cost":0.000012,"costMicros":12}, "candidates":[{}] , "new":"}"} "#
    );
    let made = r#""usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":2,"totalTokenCount":7,"cost":0.000012,"costMicros":12}"#;
    assert_eq!(cost("{\"candidates\":[{}]}\n"), format!("{{\"candidates\":[{{}}],{made}}}\n"));
    assert_eq!(cost(r#"{"usageMetadata":null,"candidates":[{}]}"#), format!(r#"{{{made},"candidates":[{{}}]}}"#));
}

#[test]
fn a_forwarded_answer_is_counted() {
    let body = candidate(
        json!([{"text": "hello world"}, {"text": "hello", "thought": true}, {"functionCall": {"name": "hello", "args": {}}}]),
        "STOP",
    );
    let peeked = Peeked::parse(&Bytes::from(body.to_string())).unwrap();
    assert_eq!((peeked.id(), peeked.usage(), peeked.produced_tokens()), (Some("r/1"), None, 2 + 1 + 1 + 1));
    for body in ["{}", "[]", "", r#"{"error":{"message":"x"}}"#, r#"{"candidates":[]}"#] {
        assert!(Peeked::parse(&Bytes::from_static(body.as_bytes())).is_err(), "{body}");
    }
}

fn any_content() -> impl Strategy<Value = Content> {
    let call = |text: String, has_signature: bool| Content::ToolCall {
        id: format!("id{text}"),
        name: "f".to_owned(),
        arguments: format!(r#"{{"a":"{text}"}}"#),
        kind: ToolKind::Function,
        signature: has_signature.then(signed).flatten(),
    };
    ("[a-z]{1,9}", any::<bool>(), 0..3).prop_map(move |(text, flag, kind)| match kind {
        0 => Content::Text(text),
        1 => Content::Reasoning { text, signature: flag.then(signed).flatten() },
        _ => call(text, flag),
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(contents in proptest::collection::vec(any_content(), 1..6), length in any::<bool>()) {
        // Neighbours that read as one are one.
        let mut blocks: Vec<Block> = Vec::new();
        for content in contents {
            let joins = matches!(
                (blocks.last().map(|block| &block.content), &content),
                (Some(Content::Text(_)), Content::Text(_)) | (Some(Content::Reasoning { signature: None, .. }), Content::Reasoning { .. })
            );
            if !joins {
                blocks.push(Block::new(content));
            }
        }
        let has_calls = blocks.iter().any(|block| matches!(block.content, Content::ToolCall { .. }));
        let finish = match (length, has_calls) {
            (true, _) => Finish::Length,
            (_, true) => Finish::ToolCalls,
            _ => Finish::Stop,
        };
        let choice = Choice { blocks, finish, stop_sequence: None, logprobs: None };
        let answer = Answer { id: Some("0197".to_owned()), model: Some("ours".to_owned()), choices: vec![choice], usage: Some(charge().quantities), service_tier: None };
        prop_assert_eq!(read(&write(&answer, &writing(Some(true)), &charge())).unwrap(), answer);
    }

    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,80}") {
        for body in [body, text.clone().into_bytes(), format!(r#"{{"candidates":[{{"content":{{"parts":[{text}]}}}}]}}"#).into_bytes()] {
            let _ = read(&body);
            if let Ok(peeked) = Peeked::parse(&Bytes::from(body)) {
                peeked.finish(&charge());
                peeked.produced_tokens();
            }
        }
    }
}
