//! Calls and whole answers.

use std::rc::Rc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::Responses;
use crate::{
    dialect::{
        CallHead, Chain, Charge, Dialect, Endpoint, Invalid,
        canonical::{
            Answer, Block, BlockStart, Choice, Content, Effort, Finish, Json, OutputFormat, Reasoning, Request, Role, Sampling, Signature,
            Source, Tool, ToolChoice, ToolKind, Turn,
        },
        format::{Aim, CallerFormat, Quirks, UpstreamFormat, Writing, Written},
    },
    domain::pricing::Quantities,
};

pub(super) fn head() -> CallHead {
    CallHead::new(Endpoint::Responses)
}

pub(super) fn writing(request: Option<&Value>) -> Writing {
    Writing {
        head: head(),
        call_id: "req_0a".to_owned(),
        model: "vendor/model".to_owned(),
        created: 1_700_000_000,
        include_usage: false,
        request: request.map(|request| Rc::new(read(request).expect("a request"))),
    }
}

pub(super) fn charge() -> Charge {
    let quantities = Quantities { input_tokens: 8, cached_input_tokens: 2, output_tokens: 3, reasoning_tokens: 4, ..Quantities::default() };
    Charge { cost_micros: 12, quantities, ended_at: 1_700_000_009 }
}

fn read(body: &Value) -> Result<Request, Invalid> {
    Responses.read_request(&head(), body.to_string().as_bytes())
}

fn with_input(input: Value) -> Request {
    read(&json!({"model": "m", "input": input})).expect("a request")
}

pub(super) fn aim() -> Aim<'static> {
    Aim { model: "upstream-model", max_output_tokens: 100, quirks: Quirks::default(), drop_unsupported: false }
}

fn write(request: &Request, aim: &Aim<'_>) -> (Value, Vec<String>) {
    let Written { body, dropped, .. } = Responses.write_request(request, aim).expect("expressible");
    (serde_json::from_slice(&body).expect("JSON"), dropped)
}

fn text_turn(role: Role, text: &str) -> Turn {
    Turn { role, name: None, blocks: vec![Block::text(text)] }
}

fn call(id: &str, name: &str, arguments: &str, kind: ToolKind) -> Block {
    Block::new(Content::ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: arguments.to_owned(), kind, signature: None })
}

#[test]
fn a_text_is_one_turn_of_the_user() {
    let request = read(&json!({"model": "m", "input": "Hi", "instructions": "Be brief", "stream": true})).expect("a request");
    assert_eq!((request.model.as_str(), request.streamed), ("m", true));
    assert_eq!(request.system, [Block::text("Be brief")]);
    assert_eq!(request.turns, [text_turn(Role::User, "Hi")]);
    assert_eq!(request.unmodelled, []);
}

#[test]
fn every_field_with_a_canonical_place_gets_there() {
    let body = r#"{"model":"m","input":"Hi","max_output_tokens":50,"temperature":0.70,"top_p":1e-1,"top_logprobs":3,"parallel_tool_calls":false,
        "text":{"format":{"type":"json_schema","name":"n","schema":{"type":"object"},"strict":true},"verbosity":"low"},
        "reasoning":{"effort":"xhigh","summary":"auto"},"metadata":{"fail":"hang"},"user":"u","prompt_cache_key":"k","service_tier":"flex",
        "tools":[{"type":"function","name":"look","description":"d","parameters":{"type":"object"},"strict":false},{"type":"custom","name":"patch","format":{"type":"text"}}],
        "tool_choice":{"type":"function","name":"look"},"store":true,"include":["reasoning.encrypted_content"],"background":false,"truncation":"disabled","previous_response_id":null}"#;
    let request = Responses.read_request(&head(), body.as_bytes()).expect("a request");
    let number = |text: &str| Json::parse(text);
    let expected = Sampling {
        max_output_tokens: Some(50),
        temperature: number("0.70"),
        top_p: number("1e-1"),
        logprobs: Some(3),
        ..Sampling::default()
    };
    assert_eq!(request.sampling, expected);
    assert_eq!(request.parallel_tools, Some(false));
    assert!(matches!(&request.output, OutputFormat::JsonSchema { name: Some(name), strict: Some(true), .. } if name == "n"));
    assert_eq!(request.verbosity.as_deref(), Some("low"));
    assert_eq!(request.reasoning, Some(Reasoning { effort: Some(Effort::ExtraHigh), budget_tokens: None, visible: Some(true) }));
    assert_eq!(request.metadata, Json::parse(r#"{"fail":"hang"}"#));
    let texts = [&request.user, &request.cache_key, &request.service_tier].map(|text| text.as_deref());
    assert_eq!(texts, [Some("u"), Some("k"), Some("flex")]);
    assert_eq!(
        request.tools.iter().map(|tool| (tool.name.as_str(), tool.kind)).collect::<Vec<_>>(),
        [("look", ToolKind::Function), ("patch", ToolKind::Custom)]
    );
    assert_eq!(request.tool_choice, Some(ToolChoice::Named("look".to_owned())));
    assert_eq!(request.unmodelled, []);
}

#[test]
fn what_the_model_wrote_in_a_row_is_one_turn() {
    let request = with_input(json!([
        {"role": "developer", "content": "Rules"},
        {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}], "encrypted_content": "gAAA"},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "Looking", "annotations": []}]},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": ""},
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_2", "name": "patch", "input": ""},
        {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "done"}]},
        {"role": "system", "content": "Now answer"},
        {"role": "assistant", "content": "It is"}, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
    ]));
    assert_eq!(request.system, [Block::text("Rules")]);
    let roles: Vec<Role> = request.turns.iter().map(|turn| turn.role).collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::User, Role::System, Role::Assistant, Role::Assistant]);
    let signature = Signature { vendor: Dialect::OpenAi, value: "gAAA".to_owned(), sealed: true, id: Some("rs_1".to_owned()) };
    let thought = Block::new(Content::Reasoning { text: "a\n\nb".to_owned(), signature: Some(signature) });
    let called = [call("call_1", "look", "{}", ToolKind::Function), call("call_2", "patch", "", ToolKind::Custom)];
    assert_eq!(request.turns[1].blocks, [[thought, Block::text("Looking")], called].concat());
    let result = |call_id: &str, text: &str| {
        let blocks = vec![Block::text(text)];
        Block::new(Content::ToolResult { call_id: call_id.to_owned(), name: None, blocks, is_error: false })
    };
    assert_eq!(request.turns[2].blocks, [result("call_1", "sunny"), result("call_2", "done")]);
    assert_eq!(request.turns[5].blocks, [Block::new(Content::Refusal("no".to_owned()))]);
}

#[test]
fn media_come_as_urls_data_or_files() {
    let request = with_input(json!([{"role": "user", "content": [
        {"type": "input_image", "image_url": "data:image/png;base64,iV-_w", "detail": "low"},
        {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "auto"},
        {"type": "input_image", "file_id": "file_1"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"},
        {"type": "input_file", "filename": "a.txt", "file_data": "aGk"},
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
    ]}]));
    let data = |mime: &str, data: &str| Source::Base64 { mime: mime.to_owned(), data: data.to_owned() };
    let url = |url: &str| Source::Url { url: url.to_owned(), mime: None };
    let document = |source: Source, name: Option<&str>| Content::Document { source, name: name.map(str::to_owned) };
    let expected = [
        Content::Image { source: data("image/png", "iV+/w==="), detail: Some("low".to_owned()) },
        Content::Image { source: url("https://example.com/a.png"), detail: None },
        Content::Image { source: Source::File { id: "file_1".to_owned() }, detail: None },
        document(data("application/pdf", "JVBE"), Some("a.pdf")),
        document(data("text/plain", "aGk="), Some("a.txt")),
        document(url("https://example.com/a.pdf"), None),
        Content::Audio { source: data("audio/mpeg", "AAAA") },
    ];
    assert_eq!(request.turns[0].blocks, expected.map(Block::new));
    let needs = request.needs();
    assert!(needs.vision && needs.documents && needs.audio_input);
}

#[test]
fn what_no_other_dialect_can_say_is_listed_by_name() {
    let request = read(&json!({
        "model": "m", "input": [{"role": "user", "content": "Hi"}, {"type": "web_search_call", "id": "ws_1"}, {"type": "mcp_approval_response", "approve": true}],
        "tools": [{"type": "web_search"}, {"type": "function", "name": "f", "defer_loading": true}, {"type": "custom", "name": "c", "format": {"type": "grammar"}}],
        "tool_choice": {"type": "web_search_preview"}, "max_tool_calls": 3, "truncation": "auto", "prompt": {"id": "p"}, "new_field": 1, "zero": [],
        "reasoning": {"effort": "ultra", "context": "auto", "mode": "pro"}, "text": {"format": {"type": "yaml"}},
    }))
    .expect("a request");
    let mut fields: Vec<(&str, bool)> = request.unmodelled.iter().map(|field| (field.field.as_str(), field.harmless)).collect();
    fields.sort_unstable();
    let expected = [
        ("input[1]", false),
        ("input[2]", false),
        ("max_tool_calls", true),
        ("new_field", false),
        ("prompt", false),
        ("reasoning.context", true),
        ("reasoning.effort", false),
        ("reasoning.mode", false),
        ("text.format.type", false),
        ("tool_choice.type", false),
        ("tools[0].type", false),
        ("tools[1].defer_loading", false),
        ("tools[2].format", false),
        ("truncation", true),
    ];
    assert_eq!(fields, expected);
    let refused = Responses.write_request(&request, &aim()).expect_err("not expressible");
    assert_eq!(refused.field, "input[1]");
    let (_, dropped) = write(&request, &Aim { drop_unsupported: true, ..aim() });
    assert!(dropped.contains(&"tools[0].type".to_owned()) && dropped.contains(&"truncation".to_owned()), "{dropped:?}");
}

#[test]
fn refusals_name_the_field() {
    for (body, param) in [
        (r#"{"input":"Hi"}"#, "model"),
        (r#"{"model":"m"}"#, "input"),
        (r#"{"model":"m","input":[]}"#, "input"),
        (r#"{"model":"m","input":7}"#, "input"),
        (r#"{"model":"m","model":"m","input":"Hi"}"#, "model"),
        (r#"{"model":"m","input":[7]}"#, "input[0]"),
        (r#"{"model":"m","input":[{"role":"robot","content":"Hi"}]}"#, "input[0].role"),
        (r#"{"model":"m","input":[{"role":"user"}]}"#, "input[0].content"),
        (r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_image"}]}]}"#, "input[0].content[0].image_url"),
        (r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_text"}]}]}"#, "input[0].content[0].text"),
        (r#"{"model":"m","input":[{"type":"function_call","name":"f","arguments":"{}"}]}"#, "input[0].call_id"),
        (r#"{"model":"m","input":[{"type":"function_call_output","call_id":"c"}]}"#, "input[0].output"),
        (r#"{"model":"m","input":[{"type":"item_reference","id":"msg_1"}]}"#, "input[0]"),
        (r#"{"model":"m","input":[{"id":"msg_1"}]}"#, "input[0]"),
        (r#"{"model":"m","input":"Hi","max_output_tokens":0}"#, "max_output_tokens"),
        (r#"{"model":"m","input":"Hi","temperature":"hot"}"#, "temperature"),
        (r#"{"model":"m","input":"Hi","tools":{}}"#, "tools"),
        (r#"{"model":"m","input":"Hi","tools":[{"type":"function","function":{"name":"f"}}]}"#, "tools[0].name"),
        (r#"{"model":"m","input":"Hi","tool_choice":"maybe"}"#, "tool_choice"),
        (r#"{"model":"m","input":"Hi","text":{"format":{"type":"json_schema","name":"n"}}}"#, "text.format.schema"),
        (r#"{"model":"m","input":"Hi","metadata":[]}"#, "metadata"),
        (r#"{"model":"m","input":"Hi","conversation":"conv_1"}"#, "conversation"),
        (r#"{"model":"m","input":"Hi","background":true}"#, "background"),
        (r#"{"model":"m","input":"Hi","previous_response_id":"resp_1"}"#, "previous_response_id"),
    ] {
        let invalid = Responses.read_request(&head(), body.as_bytes()).expect_err(body);
        assert_eq!(invalid.param.as_deref(), Some(param), "{body}: {}", invalid.message);
    }
    for body in [&b"\xff"[..], b"", b"[]", b"{", b"null", "[".repeat(200).as_bytes()] {
        assert!(Responses.read_request(&head(), body).is_err());
    }
}

#[test]
fn earlier_items_do_not_count_in_the_names_of_fields() {
    let chain = Chain { kept: true, previous_id: Some("resp_1".to_owned()), earlier_items: 2 };
    let body = json!({"model": "m", "input": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "robot", "content": "c"}]});
    let invalid = Responses.read_request(&CallHead { chain, ..head() }, body.to_string().as_bytes()).expect_err("a bad role");
    assert_eq!(invalid.param.as_deref(), Some("input[0].role"));
}

/// A call with everything that a Responses upstream can be told.
fn rich_request() -> Request {
    let signed = |vendor, sealed| Signature { vendor, value: "sig".to_owned(), sealed, id: Some("rs_1".to_owned()) };
    let reasoning = |signature| Block::new(Content::Reasoning { text: "hm".to_owned(), signature });
    let image = Source::Base64 { mime: "image/png".to_owned(), data: "iVBO".to_owned() };
    Request {
        model: "caller-model".to_owned(),
        streamed: true,
        system: vec![Block::text("Be brief")],
        turns: vec![
            Turn {
                role: Role::User,
                name: None,
                blocks: vec![
                    Block::text("See"),
                    Block::new(Content::Image { source: image, detail: Some("low".to_owned()) }),
                    Block::new(Content::Document {
                        source: Source::Url { url: "https://example.com/a.pdf".to_owned(), mime: None },
                        name: Some("a.pdf".to_owned()),
                    }),
                    Block::new(Content::Audio { source: Source::Base64 { mime: "audio/wav".to_owned(), data: "AAAA".to_owned() } }),
                ],
            },
            Turn {
                role: Role::Assistant,
                name: None,
                blocks: vec![
                    reasoning(Some(signed(Dialect::OpenAi, true))),
                    Block::text("Looking"),
                    call("call_1", "look", r#"{"at":1}"#, ToolKind::Function),
                    call("call_2", "patch", "plain", ToolKind::Custom),
                ],
            },
            Turn {
                role: Role::User,
                name: None,
                blocks: vec![
                    Block::new(Content::ToolResult {
                        call_id: "call_1".to_owned(),
                        name: None,
                        blocks: vec![Block::text("x")],
                        is_error: false,
                    }),
                    Block::new(Content::ToolResult {
                        call_id: "call_2".to_owned(),
                        name: None,
                        blocks: vec![Block::text("y"), Block::text("z")],
                        is_error: false,
                    }),
                ],
            },
            text_turn(Role::System, "Go on"),
            text_turn(Role::User, "Well?"),
        ],
        tools: vec![
            Tool {
                kind: ToolKind::Function,
                name: "look".to_owned(),
                description: Some("looks".to_owned()),
                parameters: Json::parse(r#"{"type":"object","x":1.50}"#),
                strict: Some(true),
                cache: None,
            },
            Tool { kind: ToolKind::Custom, name: "patch".to_owned(), description: None, parameters: None, strict: None, cache: None },
        ],
        tool_choice: Some(ToolChoice::Allowed { names: vec!["look".to_owned(), "patch".to_owned()], required: true }),
        parallel_tools: Some(false),
        sampling: Sampling {
            max_output_tokens: Some(9),
            temperature: Json::parse("0.50"),
            top_p: Json::parse("1e-1"),
            logprobs: Some(2),
            ..Sampling::default()
        },
        reasoning: Some(Reasoning { effort: Some(Effort::Low), budget_tokens: None, visible: Some(true) }),
        output: OutputFormat::JsonSchema {
            name: Some("n".to_owned()),
            description: None,
            schema: Json::parse(r#"{"type":"object"}"#).expect("JSON"),
            strict: Some(true),
        },
        verbosity: Some("low".to_owned()),
        user: Some("u".to_owned()),
        metadata: Json::parse(r#"{"a":"b"}"#),
        cache_key: Some("k".to_owned()),
        service_tier: Some("flex".to_owned()),
        ..Request::default()
    }
}

#[test]
fn a_call_survives_being_written_and_read() {
    let request = rich_request();
    let written = Responses.write_request(&request, &aim()).expect("expressible");
    assert_eq!(written.dropped, Vec::<String>::new());
    let body: Value = serde_json::from_slice(&written.body).expect("JSON");
    assert_eq!((&body["store"], &body["model"]), (&json!(false), &json!("upstream-model")));
    assert_eq!(body["include"], json!(["reasoning.encrypted_content", "message.output_text.logprobs"]));
    let read = Responses.read_request(&head(), &written.body).expect("a request");
    assert_eq!(Request { model: request.model.clone(), echo: None, ..read }, request);
    let text = std::str::from_utf8(&written.body).expect("UTF-8");
    assert!(text.contains(r#""x":1.50"#) && text.contains("0.50") && text.contains("1e-1"), "numbers keep their text");
}

#[test]
fn what_the_format_cannot_say_is_refused_or_dropped() {
    type Change = fn(&mut Request);
    let changes: [(&str, Change); 5] = [
        ("n", |request| request.sampling.n = Some(2)),
        ("stop", |request| request.sampling.stop = vec!["x".to_owned()]),
        ("top_k", |request| request.sampling.top_k = Json::parse("5")),
        ("presence_penalty", |request| request.sampling.presence_penalty = Json::parse("0.5")),
        ("frequency_penalty", |request| request.sampling.frequency_penalty = Json::parse("-0.5")),
    ];
    for (field, change) in changes {
        let mut request = with_input(json!("Hi"));
        change(&mut request);
        assert_eq!(Responses.write_request(&request, &aim()).expect_err(field).field, field);
        let (_, dropped) = write(&request, &Aim { drop_unsupported: true, ..aim() });
        assert_eq!(dropped, [field]);
    }
    let mut request = with_input(json!("Hi"));
    request.sampling =
        Sampling { n: Some(1), presence_penalty: Json::parse("0.0"), frequency_penalty: Json::parse("0"), ..Sampling::default() };
    assert_eq!(write(&request, &aim()).1, Vec::<String>::new(), "defaults say nothing");
    // As in every format without one: it is only ever tried.
    request.sampling.seed = Json::parse("5");
    assert_eq!(write(&request, &aim()).1, ["seed"]);
}

#[test]
fn foreign_thoughts_and_tiers_stay_behind_and_quirks_are_kept() {
    let mut request = with_input(json!("Hi"));
    let signature = Signature { vendor: Dialect::Anthropic, value: "sig".to_owned(), sealed: false, id: None };
    let thought = Block::new(Content::Reasoning { text: "hm".to_owned(), signature: Some(signature) });
    request.turns.insert(0, Turn { role: Role::Assistant, name: None, blocks: vec![thought, Block::text("said")] });
    request.turns.insert(0, text_turn(Role::System, "rules"));
    request.system = vec![Block::text("a"), Block::text("b")];
    request.sampling.temperature = Json::parse("1");
    request.service_tier = Some("standard_only".to_owned());
    request.reasoning = Some(Reasoning { effort: None, budget_tokens: Some(4_096), visible: None });
    let quirks = Quirks { developer_role: false, sampling: false, ..Quirks::default() };
    let (body, dropped) = write(&request, &Aim { quirks, ..aim() });
    assert_eq!(dropped, ["temperature", "service_tier"]);
    assert_eq!(body["reasoning"], json!({"effort": "medium"}));
    let parts = json!([{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]);
    let expected = json!([
        {"type": "message", "role": "system", "content": parts},
        {"type": "message", "role": "system", "content": "rules"},
        {"type": "message", "role": "assistant", "content": "said"},
        {"type": "message", "role": "user", "content": "Hi"},
    ]);
    assert_eq!(body["input"], expected);
}

fn forward(head: &CallHead, body: &str) -> String {
    let written = Responses.forward(head, &Bytes::copy_from_slice(body.as_bytes()), &aim()).expect("forwarded");
    String::from_utf8(written.body.to_vec()).expect("UTF-8")
}

#[test]
fn the_same_dialect_is_forwarded_but_for_model_and_store() {
    assert_eq!(
        forward(&head(), r#" {"input" :[ {"new":1.50} ],"model":"m", "x":null} "#),
        r#" {"input" :[ {"new":1.50} ],"model":"upstream-model", "x":null,"store":false} "#
    );
    assert_eq!(forward(&head(), r#"{"store":true,"model":"m"}"#), r#"{"store":false,"model":"upstream-model"}"#);
    let body = Bytes::from_static(br#"{"store":false,"model":"upstream-model"}"#);
    let written = Responses.forward(&head(), &body, &aim()).expect("forwarded");
    assert_eq!(written.body.as_ptr(), body.as_ptr(), "not even copied when nothing differs");
}

#[test]
fn answers_that_are_kept_ask_for_the_sealed_thought() {
    let head = CallHead { chain: Chain { kept: true, ..Chain::default() }, ..head() };
    let include = |body: &str| serde_json::from_str::<Value>(&forward(&head, body)).expect("JSON")["include"].clone();
    assert_eq!(include(r#"{"model":"m"}"#), Value::Null);
    assert_eq!(include(r#"{"model":"m","reasoning":{}}"#), json!(["reasoning.encrypted_content"]));
    assert_eq!(include(r#"{"model":"m","reasoning":{},"include":["a"]}"#), json!(["a", "reasoning.encrypted_content"]));
    assert_eq!(
        include(r#"{"model":"m","reasoning":{},"include":["reasoning.encrypted_content"]}"#),
        json!(["reasoning.encrypted_content"])
    );
}

#[test]
fn thoughts_that_the_upstream_cannot_take_back_stay_behind() {
    let foreign = Signature { vendor: Dialect::Anthropic, value: "sig".to_owned(), sealed: false, id: None };
    let foreign = super::signature::wrap(&foreign, None);
    let thought = |encrypted: Value| json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": encrypted});
    let input = json!([thought(Value::Null), thought(json!("gAAA")), thought(json!(foreign)), thought(Value::Null), {"role": "user", "content": "x"}]);
    let body = json!({"model": "m", "input": input}).to_string();
    let forwarded = |earlier_items: usize| {
        let head = CallHead { chain: Chain { earlier_items, ..Chain::default() }, ..head() };
        serde_json::from_str::<Value>(&forward(&head, &body)).expect("JSON")["input"].clone()
    };
    let items = |kept: &[usize]| json!(kept.iter().map(|index| input[*index].clone()).collect::<Vec<_>>());
    assert_eq!(forwarded(0), items(&[0, 1, 3, 4]));
    assert_eq!(forwarded(2), items(&[1, 3, 4]));
}

fn answer(blocks: Vec<Block>, finish: Finish) -> Answer {
    Answer { choices: vec![Choice { blocks, finish, stop_sequence: None, logprobs: None }], ..Answer::default() }
}

fn write_answer(answer: &Answer, writing: &Writing) -> Value {
    serde_json::from_slice(&Responses.write_answer(answer, writing, &charge())).expect("JSON")
}

/// Keys that the official clients or the specification require of every response.
pub(super) const REQUIRED: [&str; 31] = [
    "id",
    "object",
    "created_at",
    "completed_at",
    "status",
    "incomplete_details",
    "model",
    "previous_response_id",
    "instructions",
    "output",
    "error",
    "tools",
    "tool_choice",
    "truncation",
    "parallel_tool_calls",
    "text",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
    "temperature",
    "reasoning",
    "usage",
    "max_output_tokens",
    "max_tool_calls",
    "store",
    "background",
    "service_tier",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
];

#[test]
fn a_written_answer_has_every_key_and_repeats_the_call() {
    let request = json!({"model": "vendor/model", "input": "Hi", "instructions": "Be brief", "temperature": 0.5, "text": {"verbosity": "low"},
        "reasoning": {"effort": "low"}, "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}], "metadata": {"a": "b"}, "service_tier": "auto"});
    let body = write_answer(&answer(vec![Block::text("Hello")], Finish::Stop), &writing(Some(&request)));
    for key in REQUIRED {
        assert!(body.as_object().expect("an object").contains_key(key), "{key}");
    }
    let expected = json!({
        "id": "resp_0a", "object": "response", "status": "completed", "model": "vendor/model", "created_at": 1_700_000_000, "store": false,
        "completed_at": 1_700_000_009, "output": [{"id": "msg_0a_0", "type": "message", "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}]}],
        "usage": {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0}, "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 4}, "total_tokens": 17, "cost": 0.000012, "cost_micros": 12},
        "instructions": "Be brief", "temperature": 0.5, "metadata": {"a": "b"}, "service_tier": "default",
        "text": {"verbosity": "low", "format": {"type": "text"}}, "reasoning": {"effort": "low", "summary": null},
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "description": null, "strict": null}],
    });
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(&body[key], value, "{key}");
    }
}

#[test]
fn endings_have_their_status() {
    let refusal = || vec![Block::new(Content::Refusal("No".to_owned()))];
    for (blocks, finish, status, reason) in [
        (vec![], Finish::Stop, "completed", Value::Null),
        (vec![call("c", "f", "{}", ToolKind::Function)], Finish::ToolCalls, "completed", Value::Null),
        (vec![Block::text("a")], Finish::Length, "incomplete", json!("max_output_tokens")),
        (vec![], Finish::Filtered, "incomplete", json!("content_filter")),
        (refusal(), Finish::Refused, "completed", Value::Null),
        (vec![], Finish::Refused, "incomplete", json!("content_filter")),
        (vec![], Finish::Paused, "incomplete", json!("pause_turn")),
    ] {
        let body = write_answer(&answer(blocks, finish), &writing(None));
        assert_eq!((&body["status"], &body["incomplete_details"]["reason"]), (&json!(status), &reason), "{finish:?}");
    }
}

#[test]
fn an_answer_survives_being_written_and_read() {
    let signature = |vendor| Signature { vendor, value: "sig==".to_owned(), sealed: false, id: None };
    let signed_call = Block::new(Content::ToolCall {
        id: "call_1".to_owned(),
        name: "look".to_owned(),
        arguments: "{}".to_owned(),
        kind: ToolKind::Function,
        signature: Some(signature(Dialect::Gemini)),
    });
    let blocks = vec![
        Block::new(Content::Reasoning { text: "hm".to_owned(), signature: Some(signature(Dialect::Anthropic)) }),
        Block::text("one"),
        Block::text("two"),
        Block::new(Content::Refusal("no".to_owned())),
        signed_call,
        call("call_2", "patch", "plain", ToolKind::Custom),
        Block::new(Content::Image { source: Source::Base64 { mime: "image/png".to_owned(), data: "iVBO".to_owned() }, detail: None }),
    ];
    let mut written = answer(blocks.clone(), Finish::ToolCalls);
    written.choices[0].logprobs = Json::parse(r#"{"content":[{"token":"one","logprob":-0.10,"bytes":[111],"top_logprobs":[]}]}"#);
    let body = Responses.write_answer(&written, &writing(None), &charge());
    let read = Responses.read_answer(&body).expect("an answer");
    assert_eq!(read.usage, Some(charge().quantities));
    assert_eq!((read.id.as_deref(), read.model.as_deref()), (Some("resp_0a"), Some("vendor/model")));
    let choice = &read.choices[0];
    assert_eq!((choice.finish, &choice.logprobs), (Finish::ToolCalls, &written.choices[0].logprobs));

    // As a client sends it back: every signature returns to where it belongs.
    let items: Value = serde_json::from_slice::<Value>(&body).expect("JSON")["output"].clone();
    let items: Vec<Value> =
        items.as_array().expect("items").iter().filter(|item| item["type"] != "image_generation_call").cloned().collect();
    let request = with_input(json!(items));
    let said: Vec<Block> = request.turns.into_iter().flat_map(|turn| turn.blocks).collect();
    assert_eq!(said, blocks[..6]);
}

#[test]
fn answers_of_upstreams_are_read_leniently() {
    let read = |body: Value| Responses.read_answer(body.to_string().as_bytes());
    let odd = json!({"output": [{"type": "message", "content": [{"type": "output_text", "text": "no role"}]}, {"type": "web_search_call"}, 7, {"type": "new"},
        {"type": "reasoning", "id": "rs_1", "content": [{"type": "reasoning_text", "text": "hm"}]}]});
    let answer = read(odd).expect("an answer");
    let blocks: Vec<&Content> = answer.choices[0].blocks.iter().map(|block| &block.content).collect();
    assert_eq!(blocks, [&Content::Text("no role".to_owned()), &Content::Reasoning { text: "hm".to_owned(), signature: None }]);
    assert_eq!(answer.usage, None);
    for (body, message) in [
        (json!({"status": "failed", "error": {"code": "server_error", "message": "broke"}, "output": []}), "broke"),
        (json!({"error": {"message": "no"}}), "no"),
        (json!({"status": "in_progress", "output": []}), "in_progress"),
        (json!({"status": "completed"}), "output"),
        (json!([]), "object"),
    ] {
        let garbage = read(body.clone()).expect_err("no answer");
        assert!(garbage.0.contains(message), "{body}: {garbage}");
    }
}

fn passed(body: &'static str, writing: &Writing) -> (String, Option<String>) {
    let whole = Responses.peek(&Bytes::from_static(body.as_bytes()), writing).expect("an answer");
    let id = whole.id().map(str::to_owned);
    (String::from_utf8(whole.finish(&charge()).0.to_vec()).expect("UTF-8"), id)
}

#[test]
fn a_passed_answer_differs_in_its_usage_only() {
    let body = r#" {"id":"resp_up","output" :[ {"x":1.50} ],"usage":{"input_tokens":1}, "store":false} "#;
    let (text, id) = passed(body, &writing(None));
    assert_eq!(
        text,
        r#" {"id":"resp_up","output" :[ {"x":1.50} ],"usage":{"input_tokens":1,"cost":0.000012,"cost_micros":12}, "store":false} "#
    );
    assert_eq!(id.as_deref(), Some("resp_up"));
    let (text, _) = passed(r#"{"output":[]}"#, &writing(None));
    assert!(text.contains(r#""usage":{"input_tokens":10,"#), "{text}");
}

#[test]
fn a_passed_answer_that_is_kept_has_our_id_and_says_so() {
    let chain = Chain { kept: true, previous_id: Some("resp_before".to_owned()), earlier_items: 1 };
    let writing = Writing { head: CallHead { chain, ..head() }, ..writing(None) };
    let (text, id) = passed(r#"{"id":"resp_up","previous_response_id":null,"output":[],"usage":null,"store":false}"#, &writing);
    let body: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&body["id"], &body["store"], &body["previous_response_id"]), (&json!("resp_0a"), &json!(true), &json!("resp_before")));
    assert_eq!(id.as_deref(), Some("resp_0a"));
}

#[test]
fn searches_at_the_vendor_are_counted() {
    let body =
        r#"{"output":[],"usage":{"input_tokens":1,"output_tokens":1},"tool_usage":{"web_search":{"num_requests":3},"image_gen":{}}}"#;
    let whole = Responses.peek(&Bytes::from_static(body.as_bytes()), &writing(None)).expect("an answer");
    assert_eq!(whole.usage().map(|used| used.searches), Some(3));
}

#[test]
fn what_was_written_is_counted_when_nobody_reports_it() {
    let body = r#"{"output":[{"type":"message","id":"msg_1","content":[{"type":"output_text","text":"hello world"}]},
        {"type":"function_call","name":"hello","arguments":"world","call_id":"x y z"},{"type":"reasoning","summary":[{"type":"summary_text","text":"hello"}],"encrypted_content":"long and sealed"}]}"#;
    let whole = Responses.peek(&Bytes::from_static(body.as_bytes()), &writing(None)).expect("an answer");
    assert_eq!((whole.usage(), whole.produced_tokens()), (None, 5));
}

pub(super) fn tool_start(id: &str, name: &str) -> BlockStart {
    BlockStart::ToolCall { id: id.to_owned(), name: name.to_owned(), kind: ToolKind::Function }
}
