use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::{
    dialect::{
        Dialect,
        canonical::{
            Block, BlockStart, CacheHint, Content, Effort, Finish, Json, OutputFormat, Reasoning, Request, Role, Signature, Source,
            StreamEvent, Tool, ToolChoice, ToolKind, Turn,
        },
        format::{Quirks, ReasoningStyle},
        sse::Event,
    },
    domain::pricing::Quantities,
};

fn aim() -> Aim<'static> {
    Aim { model: "anthropic.claude", max_output_tokens: 4_096, quirks: Quirks::default(), drop_unsupported: false }
}

fn write_with(request: &Request, aim: &Aim<'_>) -> Result<(Value, Vec<String>), Unsupported> {
    let Written { body, dropped, .. } = Converse.write_request(request, aim)?;
    Ok((serde_json::from_slice(&body).expect("JSON"), dropped))
}

fn written(request: &Request) -> Value {
    write_with(request, &aim()).expect("written").0
}

fn turn(role: Role, contents: Vec<Content>) -> Turn {
    Turn { role, name: None, blocks: contents.into_iter().map(Block::new).collect() }
}

fn text(text: &str) -> Content {
    Content::Text(text.to_owned())
}

fn base64(mime: &str) -> Source {
    Source::Base64 { mime: mime.to_owned(), data: "QUI=".to_owned() }
}

fn call(id: &str, arguments: &str) -> Content {
    Content::ToolCall {
        id: id.to_owned(),
        name: "get".to_owned(),
        arguments: arguments.to_owned(),
        kind: ToolKind::Function,
        signature: None,
    }
}

fn result(call_id: &str, is_error: bool) -> Content {
    Content::ToolResult { call_id: call_id.to_owned(), name: None, blocks: vec![Block::text("sun")], is_error }
}

fn tool(name: &str) -> Tool {
    Tool { kind: ToolKind::Function, name: name.to_owned(), description: None, parameters: None, strict: None, cache: None }
}

#[test]
fn turns_alternate_and_results_come_first() {
    let turns = vec![
        turn(Role::User, vec![text("weather?"), text(" ")]),
        turn(Role::Assistant, vec![text("let me see"), call("call|1", r#"{"at": 1.0}"#)]),
        turn(Role::System, vec![text("be brief")]),
        turn(Role::User, vec![text("well?")]),
        turn(Role::User, vec![result("call|1", true)]),
    ];
    let out = written(&Request { system: vec![Block::text("kind")], turns, tools: vec![tool("get")], ..Request::default() });
    assert_eq!(
        out,
        json!({
            "system": [{"text": "kind"}],
            "messages": [
                {"role": "user", "content": [{"text": "weather?"}]},
                {"role": "assistant", "content": [
                    {"text": "let me see"}, {"toolUse": {"toolUseId": "call_1", "name": "get", "input": {"at": 1.0}}}]},
                {"role": "user", "content": [
                    {"toolResult": {"toolUseId": "call_1", "content": [{"text": "sun"}], "status": "error"}},
                    {"text": "be brief"}, {"text": "well?"}]},
            ],
            "inferenceConfig": {},
            "toolConfig": {"tools": [{"toolSpec": {"name": "get", "inputSchema": {"json": {"type": "object"}}}}]},
        })
    );
}

#[test]
fn media_are_written_inline() {
    let document = |source, name: Option<&str>| Content::Document { source, name: name.map(str::to_owned) };
    let contents = vec![
        Content::Image { source: base64("image/jpg"), detail: None },
        document(base64("application/pdf"), Some("a/b_report.pdf")),
        document(Source::Text("plain".to_owned()), None),
        document(base64("text/markdown"), Some("notes")),
    ];
    let out = written(&Request { turns: vec![turn(Role::User, contents)], ..Request::default() });
    assert_eq!(
        out["messages"][0]["content"],
        json!([
            {"image": {"format": "jpeg", "source": {"bytes": "QUI="}}},
            {"document": {"format": "pdf", "name": "a b report pdf", "source": {"bytes": "QUI="}}},
            {"document": {"format": "txt", "name": "document-2", "source": {"bytes": "cGxhaW4="}}},
            {"document": {"format": "md", "name": "notes (3)", "source": {"bytes": "QUI="}}},
        ])
    );
}

#[test]
fn settings_are_written() {
    let mut request = Request { turns: vec![turn(Role::User, vec![text("hi")])], ..Request::default() };
    request.sampling.max_output_tokens = Some(9_000);
    request.sampling.temperature = Json::parse("0.70");
    request.sampling.top_p = Json::parse("1");
    request.sampling.top_k = Json::parse("40");
    request.sampling.stop = vec!["END".to_owned()];
    request.service_tier = Some("priority".to_owned());
    request.reasoning = Some(Reasoning { effort: Some(Effort::High), ..Reasoning::default() });
    let schema = Json::parse(r#"{"type":"object"}"#).unwrap();
    request.output = OutputFormat::JsonSchema { name: None, description: None, schema, strict: Some(true) };
    let out = written(&request);
    assert_eq!(out["inferenceConfig"], json!({"maxTokens": 9000, "temperature": 0.7, "topP": 1, "stopSequences": ["END"]}));
    assert_eq!(
        out["additionalModelRequestFields"],
        json!({"top_k": 40, "thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}})
    );
    assert_eq!(out["outputConfig"]["textFormat"]["structure"]["jsonSchema"], json!({"name": "answer", "schema": "{\"type\":\"object\"}"}));
    assert_eq!(out["serviceTier"], json!({"type": "priority"}));

    let quirks = Quirks { reasoning: ReasoningStyle::Budget, sampling: false, ..Quirks::default() };
    let (out, dropped) = write_with(&request, &Aim { quirks, ..aim() }).expect("written");
    assert_eq!(out["additionalModelRequestFields"], json!({"thinking": {"type": "enabled", "budget_tokens": 8999}}), "below the limit");
    assert_eq!(dropped, ["temperature", "top_p", "top_k"]);
    request.sampling.max_output_tokens = Some(1_000);
    let (out, dropped) = write_with(&request, &Aim { quirks, ..aim() }).expect("written");
    assert_eq!((&out["additionalModelRequestFields"], dropped.last().map(String::as_str)), (&Value::Null, Some("reasoning_effort")));
}

#[test]
fn choices_of_tools_are_written() {
    let with = |choice| Request { tools: vec![tool("get"), tool("put")], tool_choice: Some(choice), ..Request::default() };
    let choice = |choice| written(&with(choice))["toolConfig"]["toolChoice"].clone();
    assert_eq!(choice(ToolChoice::Auto), json!({"auto": {}}));
    assert_eq!(choice(ToolChoice::Required), json!({"any": {}}));
    assert_eq!(choice(ToolChoice::Named("put".to_owned())), json!({"tool": {"name": "put"}}));
    assert_eq!(written(&with(ToolChoice::None))["toolConfig"], Value::Null, "no tools, no calls");
    let allowed = written(&with(ToolChoice::Allowed { names: vec!["put".to_owned()], required: true }));
    assert_eq!(allowed["toolConfig"]["toolChoice"], json!({"any": {}}));
    let names: Vec<_> = allowed["toolConfig"]["tools"].as_array().unwrap().iter().map(|tool| tool["toolSpec"]["name"].clone()).collect();
    assert_eq!(names, [json!("put")]);
}

#[test]
fn tools_of_earlier_calls_are_told() {
    let turns = vec![turn(Role::Assistant, vec![call("c1", "{}")]), turn(Role::User, vec![result("c1", false)])];
    let out = written(&Request { turns, ..Request::default() });
    assert_eq!(out["toolConfig"]["tools"], json!([{"toolSpec": {"name": "get", "inputSchema": {"json": {"type": "object"}}}}]));
}

#[test]
fn broken_arguments_become_a_member() {
    let custom = Content::ToolCall { id: "c".into(), name: "run".into(), arguments: "ls".into(), kind: ToolKind::Custom, signature: None };
    let out = written(&Request { turns: vec![turn(Role::Assistant, vec![call("c1", "{\"a\":"), custom])], ..Request::default() });
    let content = &out["messages"][0]["content"];
    assert_eq!((&content[0]["toolUse"]["input"], &content[1]["toolUse"]["input"]), (&json!({"input": "{\"a\":"}), &json!({"input": "ls"})));
}

#[test]
fn only_signed_thoughts_go_back() {
    let thought = |vendor, sealed| Content::Reasoning {
        text: "hm".to_owned(),
        signature: Some(Signature { vendor, value: "s".to_owned(), sealed, id: None }),
    };
    let unsigned = Content::Reasoning { text: "hm".to_owned(), signature: None };
    let contents = vec![thought(Dialect::Anthropic, false), thought(Dialect::Anthropic, true), thought(Dialect::OpenAi, true), unsigned];
    let out = written(&Request { turns: vec![turn(Role::Assistant, contents)], ..Request::default() });
    assert_eq!(
        out["messages"][0]["content"],
        json!([{"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}}, {"reasoningContent": {"redactedContent": "s"}}])
    );
}

#[test]
fn cache_points_stand_behind_their_block() {
    let hint = |ttl: Option<&str>| Some(CacheHint { ttl: ttl.map(str::to_owned) });
    let request = Request {
        system: vec![Block { cache: hint(Some("1h")), ..Block::text("a") }],
        turns: vec![Turn { role: Role::User, name: None, blocks: vec![Block { cache: hint(None), ..Block::text("b") }] }],
        tools: vec![Tool { cache: hint(None), ..tool("get") }],
        ..Request::default()
    };
    let out = written(&request);
    let point = json!({"cachePoint": {"type": "default"}});
    assert_eq!(out["system"][1], json!({"cachePoint": {"type": "default", "ttl": "1h"}}));
    assert_eq!((&out["messages"][0]["content"][1], &out["toolConfig"]["tools"][1]), (&point, &point));
}

#[test]
fn what_cannot_be_carried_is_refused_or_dropped() {
    let plain = || Request { turns: vec![turn(Role::User, vec![text("hi")])], ..Request::default() };
    let said = |content| Request { turns: vec![turn(Role::User, vec![content])], ..Request::default() };
    let url = || Source::Url { url: "https://a/b".to_owned(), mime: None };
    let sampled = |change: fn(&mut Request)| {
        let mut request = plain();
        change(&mut request);
        request
    };
    for (request, field) in [
        (said(Content::Image { source: url(), detail: None }), "image_url"),
        (said(Content::Image { source: base64("image/tiff"), detail: None }), "image_url"),
        (said(Content::Document { source: url(), name: None }), "file"),
        (said(Content::Document { source: base64("application/zip"), name: None }), "file"),
        (said(Content::Audio { source: base64("audio/wav") }), "input_audio"),
        (said(Content::Opaque { kind: "video_url".to_owned(), json: Json::empty_object() }), "video_url"),
        (sampled(|request| request.sampling.n = Some(2)), "n"),
        (sampled(|request| request.output = OutputFormat::JsonObject), "response_format"),
        (sampled(|request| request.tools = vec![Tool { kind: ToolKind::Custom, ..tool("run") }]), "tools"),
    ] {
        assert_eq!(write_with(&request, &aim()).expect_err(field).field, field);
        let (_, dropped) = write_with(&request, &Aim { drop_unsupported: true, ..aim() }).expect("dropped");
        assert_eq!(dropped, [field]);
    }
    let mut hinted = Request { user: Some("u".to_owned()), metadata: Json::parse("{\"a\":\"b\"}"), tools: vec![tool("get")], ..plain() };
    (hinted.verbosity, hinted.parallel_tools) = (Some("low".to_owned()), Some(false));
    (hinted.sampling.seed, hinted.sampling.logprobs) = (Json::parse("7"), Some(0));
    assert_eq!(
        write_with(&hinted, &aim()).expect("written").1,
        ["user", "metadata", "verbosity", "seed", "logprobs", "parallel_tool_calls"],
        "by rule"
    );
}

const USAGE: &str = r#"{"inputTokens":5,"outputTokens":4,"totalTokens":19,"cacheReadInputTokens":3,"cacheWriteInputTokens":7,
    "cacheDetails":[{"ttl":"1h","inputTokens":2},{"ttl":"5m","inputTokens":5}]}"#;

fn used() -> Quantities {
    Quantities {
        input_tokens: 5,
        cached_input_tokens: 3,
        cache_write_tokens: 5,
        cache_write_1h_tokens: 2,
        output_tokens: 4,
        ..Quantities::default()
    }
}

#[test]
fn answers_are_read() {
    let body = format!(
        r#"{{"output":{{"message":{{"role":"assistant","content":[
            {{"reasoningContent":{{"reasoningText":{{"text":"hm","signature":"s"}}}}}},
            {{"reasoningContent":{{"redactedContent":"r"}}}},
            {{"text":"sun"}},{{"citationsContent":{{"content":[{{"text":"shine"}}],"citations":[]}}}},{{"video":{{}}}},{{"text":""}},
            {{"toolUse":{{"toolUseId":"t1","name":"get","input":{{"a":1.0}}}}}}]}}}},
            "stopReason":"tool_use","usage":{USAGE},"metrics":{{"latencyMs":7}}}}"#
    );
    let answer = Converse.read_answer(body.as_bytes()).expect("an answer");
    let [choice] = &answer.choices[..] else { panic!("one choice") };
    let thought = |text: &str, value: &str, sealed| Content::Reasoning {
        text: text.to_owned(),
        signature: Some(Signature { vendor: Dialect::Anthropic, value: value.to_owned(), sealed, id: None }),
    };
    let expected = [thought("hm", "s", false), thought("", "r", true), text("sun"), text("shine"), call("t1", r#"{"a":1.0}"#)];
    assert_eq!(choice.blocks, expected.map(Block::new));
    assert_eq!((choice.finish, answer.usage), (Finish::ToolCalls, Some(used())));
}

#[test]
fn ends_of_answers_are_told_apart() {
    let read = |reason: &str, content: &str| {
        let body = format!(r#"{{"output":{{"message":{{"content":[{content}]}}}},"stopReason":"{reason}"}}"#);
        Converse.read_answer(body.as_bytes()).map(|answer| answer.choices[0].finish)
    };
    for (reason, finish) in [
        ("end_turn", Finish::Stop),
        ("stop_sequence", Finish::Stop),
        ("max_tokens", Finish::Length),
        ("model_context_window_exceeded", Finish::Length),
        ("guardrail_intervened", Finish::Filtered),
        ("content_filtered", Finish::Filtered),
        ("new_reason", Finish::Stop),
    ] {
        assert_eq!(read(reason, r#"{"text":"x"}"#), Ok(finish), "{reason}");
    }
    assert_eq!(read("end_turn", r#"{"toolUse":{"name":"get"}}"#), Ok(Finish::ToolCalls));
    assert!(read("malformed_tool_use", "").is_err());
    for body in ["", "null", "[]", r#"{"message":"denied"}"#, r#"{"output":{}}"#] {
        assert!(Converse.read_answer(body.as_bytes()).is_err(), "{body}");
    }
}

fn read_stream(parts: &[(&str, &str)]) -> Vec<StreamEvent> {
    let mut reader = Converse.stream_reader();
    let mut events = Vec::new();
    for (name, data) in parts {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        reader.read(&Event { raw: Bytes::new(), data: bytes(data), event: (!name.is_empty()).then(|| bytes(name)) }, &mut events);
    }
    reader.ended(&mut events);
    events
}

#[test]
fn streams_are_read() {
    let metadata = format!(r#"{{"usage":{USAGE},"metrics":{{"latencyMs":7}},"p":"abc"}}"#);
    let events = read_stream(&[
        ("messageStart", r#"{"role":"assistant","p":"ab"}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"hm"}}}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"s"}}}"#),
        ("contentBlockStop", r#"{"contentBlockIndex":0}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":1,"delta":{"text":"sun"}}"#),
        ("contentBlockStop", r#"{"contentBlockIndex":1}"#),
        ("contentBlockStart", r#"{"contentBlockIndex":2,"start":{"toolUse":{"toolUseId":"t1","name":"get"}}}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":2,"delta":{"toolUse":{"input":"{\"a\":"}}}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":2,"delta":{"toolUse":{"input":"1}"}}}"#),
        ("contentBlockStop", r#"{"contentBlockIndex":2}"#),
        ("contentBlockStart", r#"{"contentBlockIndex":3,"start":{"toolUse":{"toolUseId":"t2","name":"get"}}}"#),
        ("contentBlockStop", r#"{"contentBlockIndex":3}"#),
        ("newEvent", "{}"),
        ("messageStop", r#"{"stopReason":"tool_use"}"#),
        ("metadata", &metadata),
    ]);
    let start = |block, start| StreamEvent::BlockStart { choice: 0, block, start };
    let delta = |block, text: &str| StreamEvent::Delta { choice: 0, block, text: text.to_owned() };
    let stop = |block| StreamEvent::BlockStop { choice: 0, block };
    let called = |id: &str| BlockStart::ToolCall { id: id.to_owned(), name: "get".to_owned(), kind: ToolKind::Function };
    let signature = Signature { vendor: Dialect::Anthropic, value: "s".to_owned(), sealed: false, id: None };
    assert_eq!(
        events,
        [
            StreamEvent::Start { id: None, model: None },
            start(0, BlockStart::Reasoning),
            delta(0, "hm"),
            StreamEvent::Signed { choice: 0, block: 0, signature },
            stop(0),
            start(1, BlockStart::Text),
            delta(1, "sun"),
            stop(1),
            start(2, called("t1")),
            delta(2, "{\"a\":"),
            delta(2, "1}"),
            stop(2),
            start(3, called("t2")),
            delta(3, "{}"),
            stop(3),
            StreamEvent::Finish { choice: 0, finish: Finish::ToolCalls, stop_sequence: None },
            StreamEvent::Usage(used()),
            StreamEvent::End,
        ]
    );
}

#[test]
fn streams_end_well_or_badly() {
    let text = ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"a"}}"#);
    let last = |parts: &[(&str, &str)]| read_stream(parts).pop();
    assert_eq!(last(&[text, ("messageStop", r#"{"stopReason":"end_turn"}"#)]), Some(StreamEvent::End), "without its report");
    assert!(!read_stream(&[text]).contains(&StreamEvent::End), "cut");
    let failed = |message: &str| Some(StreamEvent::Error { message: message.to_owned() });
    let thrown = ("exception:throttlingException", r#"{"message":"slow down"}"#);
    assert_eq!(last(&[text, thrown, ("messageStop", "{}")]), failed("slow down"));
    assert_eq!(
        last(&[text, ("messageStop", r#"{"stopReason":"malformed_tool_use"}"#)]),
        failed("the model's output was malformed (malformed_tool_use)")
    );
    assert_eq!(last(&[text, ("contentBlockDelta", "nonsense")]), failed("the upstream sent an event that is not the JSON it should be"));
    assert_eq!(last(&[("", "")]), None);
}
