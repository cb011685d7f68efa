use bytes::Bytes;
use serde_json::{Value, json};

use super::{forward, read, write};
use crate::dialect::{
    CallHead, Dialect, Endpoint, Invalid,
    canonical::{
        Block, CacheHint, Content, Effort, Json, OutputFormat, Reasoning, Request, Role, Sampling, Signature, Source, Tool, ToolChoice,
        ToolKind, Turn, Unmodelled,
    },
    format::{Aim, Quirks, ReasoningStyle, Unsupported, Written},
};

const NEW: &str = "2026-10-21";

fn head(version: Option<&str>) -> CallHead {
    CallHead { version: version.map(str::to_owned), ..CallHead::new(Endpoint::Messages) }
}

fn read_json(body: &Value) -> Result<Request, Invalid> {
    read(&head(None), body.to_string().as_bytes())
}

/// A call with one message and these fields besides.
fn with(fields: Value) -> Value {
    let mut body = json!({"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]});
    for (name, value) in fields.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}

/// A call with one block in one message.
fn with_block(role: &str, block: &Value) -> Value {
    with(json!({"messages": [{"role": role, "content": [block]}]}))
}

fn param(refused: Result<Request, Invalid>) -> String {
    refused.expect_err("refused").param.unwrap_or_default()
}

fn unmodelled(request: &Request) -> Vec<(&str, bool)> {
    request.unmodelled.iter().map(|Unmodelled { field, harmless }| (field.as_str(), *harmless)).collect()
}

fn text_turn(role: Role, text: &str) -> Turn {
    Turn { role, name: None, blocks: vec![Block::text(text)] }
}

#[test]
fn a_full_call_is_read() {
    let body = r#"{"model":"claude","max_tokens":64000,"stream":true,"temperature":0.70,"top_p":1.0,"top_k":40,"stop_sequences":["END"],
        "system":[{"type":"text","text":"Be brief.","cache_control":{"type":"ephemeral","ttl":"1h"}}],
        "messages":[
            {"role":"user","content":[{"type":"text","text":"Look"},
                {"type":"image","source":{"type":"base64","media_type":"image/png","data":"-_8"}},
                {"type":"image","source":{"type":"url","url":"https://example.org/a.png"}},
                {"type":"document","title":"T","source":{"type":"text","media_type":"text/plain","data":"D"}},
                {"type":"document","source":{"type":"content","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}}]},
            {"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"c2ln"},{"type":"redacted_thinking","data":"ZGF0YQ"},
                {"type":"tool_use","id":"toolu_1","name":"look","input":{"at": 1.0},"caller":{"type":"direct"}}]},
            {"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","is_error":true,"content":"none"}]},
            {"role":"system","content":"Stay brief."}],
        "tools":[{"name":"look","description":"Looks","input_schema":{"type":"object"},"strict":true,"cache_control":{"type":"ephemeral"}}],
        "tool_choice":{"type":"tool","name":"look","disable_parallel_tool_use":true},
        "thinking":{"type":"enabled","budget_tokens":2048,"display":"omitted"},
        "output_config":{"effort":"xhigh","format":{"type":"json_schema","schema":{"type":"object"}}},
        "metadata":{"user_id":"u"},"service_tier":"standard_only"}"#;
    let request = read(&head(Some("2023-06-01")), body.as_bytes()).expect("a call");
    let json = |text: &str| Json::parse(text).expect("JSON");
    let signed = |value: &str, sealed| Some(Signature { vendor: Dialect::Anthropic, value: value.to_owned(), sealed, id: None });
    let document = |text: &str, name: Option<&str>| {
        Block::new(Content::Document { source: Source::Text(text.to_owned()), name: name.map(str::to_owned) })
    };
    let image = |source| Block::new(Content::Image { source, detail: None });
    let expected = Request {
        model: "claude".to_owned(),
        streamed: true,
        system: vec![Block { cache: Some(CacheHint { ttl: Some("1h".to_owned()) }), ..Block::text("Be brief.") }],
        turns: vec![
            Turn {
                role: Role::User,
                name: None,
                blocks: vec![
                    Block::text("Look"),
                    image(Source::Base64 { mime: "image/png".to_owned(), data: "+/8=".to_owned() }),
                    image(Source::Url { url: "https://example.org/a.png".to_owned(), mime: None }),
                    document("D", Some("T")),
                    document("a\nb", None),
                ],
            },
            Turn {
                role: Role::Assistant,
                name: None,
                blocks: vec![
                    Block::new(Content::Reasoning { text: "hm".to_owned(), signature: signed("c2ln", false) }),
                    Block::new(Content::Reasoning { text: String::new(), signature: signed("ZGF0YQ", true) }),
                    Block::new(Content::ToolCall {
                        id: "toolu_1".to_owned(),
                        name: "look".to_owned(),
                        arguments: r#"{"at": 1.0}"#.to_owned(),
                        kind: ToolKind::Function,
                        signature: None,
                    }),
                ],
            },
            Turn {
                role: Role::User,
                name: None,
                blocks: vec![Block::new(Content::ToolResult {
                    call_id: "toolu_1".to_owned(),
                    name: None,
                    blocks: vec![Block::text("none")],
                    is_error: true,
                })],
            },
            text_turn(Role::System, "Stay brief."),
        ],
        tools: vec![Tool {
            kind: ToolKind::Function,
            name: "look".to_owned(),
            description: Some("Looks".to_owned()),
            parameters: Some(json(r#"{"type":"object"}"#)),
            strict: Some(true),
            cache: Some(CacheHint { ttl: None }),
        }],
        tool_choice: Some(ToolChoice::Named("look".to_owned())),
        parallel_tools: Some(false),
        sampling: Sampling {
            max_output_tokens: Some(64_000),
            temperature: Some(json("0.70")),
            top_p: Some(json("1.0")),
            top_k: Some(json("40")),
            stop: vec!["END".to_owned()],
            ..Sampling::default()
        },
        reasoning: Some(Reasoning { effort: Some(Effort::ExtraHigh), budget_tokens: Some(2_048), visible: Some(false) }),
        output: OutputFormat::JsonSchema { name: None, description: None, schema: json(r#"{"type":"object"}"#), strict: Some(true) },
        user: Some("u".to_owned()),
        service_tier: Some("default".to_owned()),
        ..Request::default()
    };
    assert_eq!(request, expected);
}

#[test]
fn what_is_wrong_is_named() {
    for (fields, name) in [
        (json!({"model": null}), "model"),
        (json!({"model": ""}), "model"),
        (json!({"max_tokens": null}), "max_tokens"),
        (json!({"max_tokens": -1}), "max_tokens"),
        (json!({"messages": []}), "messages"),
        (json!({"messages": null}), "messages"),
        (json!({"messages": [{"role": "tool", "content": "x"}]}), "messages.0.role"),
        (json!({"messages": [{"role": "user"}]}), "messages.0.content"),
        (json!({"messages": [{"role": "user", "content": 7}]}), "messages.0.content"),
        (json!({"messages": [{"role": "user", "content": [{"type": "text"}]}]}), "messages.0.content.0.text"),
        (json!({"messages": [{"role": "user", "content": [{"text": "x"}]}]}), "messages.0.content.0.type"),
        (json!({"system": [{"type": "image"}]}), "system.0.type"),
        (json!({"stream": "yes"}), "stream"),
        (json!({"temperature": "0.5"}), "temperature"),
        (json!({"stop_sequences": ["a", 1]}), "stop_sequences"),
        (json!({"tools": [{"name": "x"}]}), "tools.0.input_schema"),
        (json!({"tools": {}}), "tools"),
        (json!({"tool_choice": {"type": "tool"}}), "tool_choice.name"),
        (json!({"thinking": {"type": "enabled"}}), "thinking.budget_tokens"),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 1023}}), "thinking.budget_tokens"),
        (json!({"metadata": {"user_id": 7}}), "metadata.user_id"),
    ] {
        assert_eq!(param(read_json(&with(fields.clone()))), name, "{fields}");
    }
    for (role, block, name) in [
        ("user", json!({"type": "tool_use", "id": "a", "name": "b", "input": {}}), "messages.0.content.0.type"),
        ("assistant", json!({"type": "tool_result", "tool_use_id": "a"}), "messages.0.content.0.type"),
        ("assistant", json!({"type": "tool_use", "id": "a", "name": "b", "input": "{}"}), "messages.0.content.0.input"),
        ("user", json!({"type": "image"}), "messages.0.content.0.source"),
        (
            "user",
            json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "$"}}),
            "messages.0.content.0.source.data",
        ),
    ] {
        assert_eq!(param(read_json(&with_block(role, &block))), name, "{block}");
    }
    for body in ["", "[]", "{", "null", "\"x\"", r#"{"model":"a","model":"b","max_tokens":1,"messages":[]}"#] {
        assert!(read(&head(None), body.as_bytes()).is_err(), "{body}");
    }
    assert!(read(&head(None), b"\xff").is_err());
    let deep = format!(r#"{{"model":"m","max_tokens":1,"x":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    assert!(read(&head(None), deep.as_bytes()).is_err());
}

#[test]
fn the_new_version_refuses_what_it_no_longer_takes() {
    let citation = json!([{"type": "char_location", "cited_text": "x"}]);
    let document = json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "D"}});
    let cited = json!({"type": "text", "text": "x", "citations": citation});
    let search = json!({"type": "search_result", "source": "s", "title": "t", "content": [cited]});
    let result = json!({"type": "tool_result", "tool_use_id": "a", "content": [search]});
    for (body, name) in [
        (with(json!({"temperature": 1.0})), "temperature"),
        (with(json!({"top_p": 1})), "top_p"),
        (with(json!({"top_k": 5})), "top_k"),
        (with_block("assistant", &document), "messages.0.content.0.type"),
        (with_block("user", &cited), "messages.0.content.0.citations"),
        (with_block("user", &search), "messages.0.content.0.content.0.citations"),
        (with_block("user", &result), "messages.0.content.0.content.0.content.0.citations"),
    ] {
        assert_eq!(param(read(&head(Some(NEW)), body.to_string().as_bytes())), name);
        assert!(read(&head(None), body.to_string().as_bytes()).is_ok(), "{name} is fine in the old version");
        let counting = CallHead { counts_only: true, ..head(Some(NEW)) };
        assert_eq!(param(read(&counting, body.to_string().as_bytes())), name, "the same rules for counting");
    }
    for body in [with_block("user", &document), with_block("assistant", &cited), with(json!({"temperature": null}))] {
        assert!(read(&head(Some(NEW)), body.to_string().as_bytes()).is_ok());
    }
    assert_eq!(param(read(&head(Some("newest")), with(json!({})).to_string().as_bytes())), "anthropic-version");
}

#[test]
fn counting_needs_no_limit_and_takes_unknown_fields() {
    let counting = CallHead { counts_only: true, ..head(None) };
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hello world"}], "new_field": {"a": 1}, "stream": true});
    let request = read(&counting, body.to_string().as_bytes()).expect("a call");
    assert!(!request.streamed && request.input_tokens() > 2);
}

#[test]
fn what_others_cannot_express_is_noted() {
    let body = with(json!({
        "container": "c", "inference_geo": "eu", "cache_control": {"type": "ephemeral"}, "speed": "fast", "diagnostics": {"previous_message_id": "m"},
        "context_management": {"edits": [1]}, "mcp_servers": [], "service_tier": "auto", "metadata": {"user_id": null, "team": "a.b"},
        "tools": [{"type": "web_search_20250305", "name": "web_search"},
            {"type": "custom", "name": "x", "input_schema": {}, "allowed_callers": ["direct"], "defer_loading": true, "odd": 1}],
    }));
    let request = read_json(&body).expect("a call");
    let mut fields = unmodelled(&request);
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            ("cache_control", true),
            ("container", false),
            ("context_management", true),
            ("diagnostics", true),
            ("inference_geo", false),
            ("speed", true),
            ("tools.0.type", false),
            ("tools.1.defer_loading", true),
            ("tools.1.odd", false),
        ]
    );
    assert_eq!((request.tools.len(), request.user, request.service_tier), (1, None, None));
    assert_eq!(request.metadata.map(|labels| labels.text().to_owned()).as_deref(), Some(r#"{"team":"a.b"}"#));

    let cited = json!({"type": "document", "context": "c", "citations": {"enabled": true}, "source": {"type": "url", "url": "u"}});
    assert_eq!(
        unmodelled(&read_json(&with_block("user", &cited)).expect("a call")),
        [("messages.0.content.0.citations", false), ("messages.0.content.0.context", false)]
    );
}

#[test]
fn unknown_blocks_and_sources_are_carried_as_they_are() {
    for block in [
        json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
        json!({"type": "document", "source": {"type": "content", "content": [{"type": "image"}]}}),
        json!({"type": "image", "source": {"type": "later"}}),
    ] {
        let request = read_json(&with_block("assistant", &block)).expect("a call");
        let Content::Opaque { json, kind } = &request.turns[0].blocks[0].content else { panic!("{request:?}") };
        assert_eq!((json.to_value(), kind.as_str()), (block.clone(), block["type"].as_str().expect("a kind")));
    }
    let odd = with(json!({"thinking": {"type": "later"}, "tool_choice": {"type": "later"}, "output_config": {"effort": "later"}}));
    assert_eq!(
        unmodelled(&read_json(&odd).expect("a call")),
        [("tool_choice.type", false), ("thinking.type", false), ("output_config.effort", false)]
    );
}

#[test]
fn thinking_has_many_forms() {
    let reasoning = |fields: Value| read_json(&with(fields)).expect("a call").reasoning;
    let effort = |effort, visible| Some(Reasoning { effort, budget_tokens: None, visible });
    assert_eq!(reasoning(json!({"thinking": {"type": "adaptive"}})), effort(None, Some(true)));
    assert_eq!(reasoning(json!({"thinking": {"type": "between_tools"}})), effort(None, Some(true)));
    assert_eq!(reasoning(json!({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}})), effort(Some(Effort::None), None));
    assert_eq!(reasoning(json!({"output_config": {"effort": "max"}})), effort(Some(Effort::Max), None));
    assert_eq!(reasoning(json!({"thinking": null})), None);
}

// Writing.

fn aim() -> Aim<'static> {
    Aim { model: "claude-up", max_output_tokens: 4_096, quirks: Quirks::default(), drop_unsupported: false }
}

fn written(request: &Request, aim: &Aim<'_>) -> (Value, Vec<String>) {
    let Written { body, dropped, content_type } = write(request, aim).expect("written");
    assert_eq!(content_type, "application/json");
    (serde_json::from_slice(&body).expect("JSON"), dropped)
}

fn asking(change: impl FnOnce(&mut Request)) -> Request {
    let mut request = Request { model: "m".to_owned(), turns: vec![text_turn(Role::User, "Hi")], ..Request::default() };
    change(&mut request);
    request
}

fn refused(request: &Request) -> Unsupported {
    write(request, &aim()).expect_err("refused")
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

fn result(id: &str, text: &str) -> Block {
    Block::new(Content::ToolResult { call_id: id.to_owned(), name: None, blocks: vec![Block::text(text)], is_error: false })
}

fn turn(role: Role, blocks: Vec<Block>) -> Turn {
    Turn { role, name: None, blocks }
}

fn tool(name: &str) -> Tool {
    Tool { kind: ToolKind::Function, name: name.to_owned(), description: None, parameters: None, strict: None, cache: None }
}

#[test]
fn the_least_call_has_a_limit_and_nothing_else() {
    assert_eq!(
        written(&asking(|_| ()), &aim()),
        (
            json!({"model": "claude-up", "max_tokens": 4096, "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}),
            vec![]
        )
    );
}

#[test]
fn what_was_read_is_written_again() {
    let body = with(json!({
        "model": "claude-up", "stream": true, "temperature": 0.5, "top_k": 4, "stop_sequences": ["END"],
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "image", "source": {"type": "url", "url": "u"}},
                {"type": "document", "title": "T", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}}]},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "", "signature": "c2ln"}, {"type": "redacted_thinking", "data": "ZA"},
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "it"}], "is_error": true}]}],
        "tools": [{"name": "look", "description": "d", "input_schema": {"type": "object"}, "strict": true, "cache_control": {"type": "ephemeral"}}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": true},
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object", "additionalProperties": false}}},
        "metadata": {"user_id": "u"}, "service_tier": "standard_only",
    }));
    assert_eq!(written(&read_json(&body).expect("a call"), &aim()), (body, vec![]));
}

#[test]
fn neighbours_merge_and_results_come_first() {
    let request = asking(|request| {
        request.turns = vec![
            text_turn(Role::Assistant, "Welcome"),
            text_turn(Role::User, "a"),
            text_turn(Role::System, "b"),
            turn(Role::User, vec![Block::text("")]),
            turn(Role::Assistant, vec![Block::text(""), call("a.b", ""), call("2", "[1"), call("3", "{}")]),
            text_turn(Role::User, "before"),
            turn(Role::User, vec![result("2", "two"), result("a.b", "one")]),
            text_turn(Role::Assistant, "so: \n"),
        ];
    });
    let (body, _) = written(&request, &aim());
    let text = |text: &str| json!({"type": "text", "text": text});
    let called = |id: &str, input: Value| json!({"type": "tool_use", "id": id, "name": "look", "input": input});
    let answered = |id: &str, said: &str| json!({"type": "tool_result", "tool_use_id": id, "content": [text(said)]});
    let odd = body["messages"][3]["content"][0]["id"].as_str().expect("an id").to_owned();
    assert!(odd.starts_with("a_b_"), "{odd}");
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": [text(".")]},
            {"role": "assistant", "content": [text("Welcome")]},
            {"role": "user", "content": [text("a"), text("b")]},
            {"role": "assistant", "content": [called(&odd, json!({})), called("2", json!({"input": "[1"})), called("3", json!({}))]},
            {"role": "user", "content": [
                answered("2", "two"), answered(&odd, "one"),
                {"type": "tool_result", "tool_use_id": "3", "is_error": true, "content": [text("no result was given for this call")]},
                text("before"),
            ]},
            {"role": "assistant", "content": [text("so:")]},
        ])
    );
}

#[test]
fn a_call_at_the_end_is_answered_and_a_lone_system_prompt_gets_a_message() {
    let request = asking(|request| request.turns.push(turn(Role::Assistant, vec![call("1", "{}")])));
    let (body, _) = written(&request, &aim());
    assert_eq!(body["messages"][2]["content"][0]["tool_use_id"], "1");
    let request = asking(|request| (request.turns, request.system) = (vec![], vec![Block::text("Say hi")]));
    assert_eq!(written(&request, &aim()).0["messages"], json!([{"role": "user", "content": [{"type": "text", "text": "."}]}]));
    assert_eq!(refused(&asking(|request| request.turns.clear())).field, "messages");
}

#[test]
fn foreign_thoughts_are_dropped_and_never_signed() {
    let foreign = Signature { vendor: Dialect::OpenAi, value: "x".to_owned(), sealed: true, id: None };
    let thought = |signature| Block::new(Content::Reasoning { text: "hm".to_owned(), signature });
    let request = asking(|request| {
        request.turns.push(turn(Role::Assistant, vec![thought(None), thought(Some(foreign)), Block::text("So")]));
    });
    assert_eq!(written(&request, &aim()).0["messages"][1]["content"], json!([{"type": "text", "text": "So"}]));
}

#[test]
fn media_that_cannot_go_is_refused_in_the_callers_words() {
    let media = |content| asking(|request| request.turns[0].blocks.push(Block::new(content)));
    let base64 = |mime: &str, data: &str| Source::Base64 { mime: mime.to_owned(), data: data.to_owned() };
    let document = |source| Content::Document { source, name: None };
    let field = |content, caller| refused(&Request { caller: Some(caller), ..media(content) }).field;
    assert_eq!(field(Content::Audio { source: base64("audio/wav", "") }, Endpoint::ChatCompletions), "input_audio");
    assert_eq!(field(document(Source::File { id: "f".to_owned() }), Endpoint::Responses), "file_id");
    assert_eq!(field(document(base64("application/zip", "AA==")), Endpoint::GenerateContent), "inlineData.mimeType");
    assert_eq!(field(document(base64("text/plain", "/w==")), Endpoint::ChatCompletions), "file.file_data", "no UTF-8");
    assert_eq!(field(Content::Opaque { kind: "video_url".to_owned(), json: Json::null() }, Endpoint::ChatCompletions), "video_url");

    let source = |content| written(&media(content), &aim()).0["messages"][0]["content"][1]["source"].clone();
    assert_eq!(source(document(base64("text/csv", "YSxi"))), json!({"type": "text", "media_type": "text/plain", "data": "a,b"}));
    let jpg = Content::Image { source: base64("image/jpg", "AA=="), detail: Some("low".to_owned()) };
    assert_eq!(source(jpg), json!({"type": "base64", "media_type": "image/jpeg", "data": "AA=="}));

    let lenient = Aim { drop_unsupported: true, ..aim() };
    let (body, dropped) = written(&media(Content::Audio { source: base64("audio/wav", "") }), &lenient);
    assert_eq!((body["messages"][0]["content"].as_array().map(Vec::len), dropped), (Some(1), vec!["input_audio".to_owned()]));
}

#[test]
fn tools_are_chosen_in_anthropics_words() {
    let choose = |choice, parallel| {
        let request = asking(|request| {
            request.tools = vec![tool("a"), tool("b")];
            request.tool_choice = choice;
            request.parallel_tools = parallel;
        });
        let (body, _) = written(&request, &aim());
        let names: Vec<String> =
            body["tools"].as_array().expect("tools").iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect();
        (names.join(","), body["tool_choice"].clone())
    };
    let both = || "a,b".to_owned();
    assert_eq!(choose(None, None), (both(), Value::Null));
    assert_eq!(choose(None, Some(false)), (both(), json!({"type": "auto", "disable_parallel_tool_use": true})));
    assert_eq!(choose(Some(ToolChoice::None), Some(false)), (both(), json!({"type": "none"})));
    assert_eq!(choose(Some(ToolChoice::Required), Some(true)), (both(), json!({"type": "any"})));
    assert_eq!(choose(Some(ToolChoice::Named("b".to_owned())), None), (both(), json!({"type": "tool", "name": "b"})));
    let allowed = |required| Some(ToolChoice::Allowed { names: vec!["b".to_owned()], required });
    assert_eq!(choose(allowed(true), None), ("b".to_owned(), json!({"type": "any"})));
    assert_eq!(choose(allowed(false), None), ("b".to_owned(), json!({"type": "auto"})));

    assert_eq!(refused(&asking(|request| request.tool_choice = Some(ToolChoice::Required))).field, "tool_choice");
    assert_eq!(written(&asking(|request| request.tool_choice = Some(ToolChoice::Auto)), &aim()).0["tool_choice"], Value::Null);
    let custom = asking(|request| request.tools = vec![Tool { kind: ToolKind::Custom, ..tool("c") }]);
    assert_eq!(refused(&custom).field, "tools");
}

#[test]
fn efforts_and_budgets_turn_into_each_other() {
    let budgeted = Quirks { reasoning: ReasoningStyle::Budget, ..Quirks::default() };
    let think = |effort, budget_tokens, visible, max, quirks| {
        let request = asking(|request| {
            request.reasoning = Some(Reasoning { effort, budget_tokens, visible });
            request.sampling.max_output_tokens = Some(max);
            request.sampling.temperature = Json::parse("0.5");
        });
        let (body, dropped) = written(&request, &Aim { quirks, ..aim() });
        (body["thinking"].clone(), body["output_config"]["effort"].clone(), dropped.join(","))
    };
    let adaptive = Quirks::default();
    let drops = |names: &str| names.to_owned();
    assert_eq!(think(Some(Effort::High), None, None, 9_000, adaptive), (json!({"type": "adaptive"}), json!("high"), drops("temperature")));
    assert_eq!(
        think(None, Some(4_096), Some(true), 9_000, adaptive),
        (json!({"type": "adaptive", "display": "summarized"}), json!("medium"), drops("temperature"))
    );
    assert_eq!(think(Some(Effort::None), None, None, 9_000, adaptive), (json!({"type": "disabled"}), Value::Null, drops("")));
    assert_eq!(
        think(Some(Effort::High), None, Some(false), 9_000, budgeted),
        (json!({"type": "enabled", "budget_tokens": 8_999, "display": "omitted"}), Value::Null, drops("temperature"))
    );
    assert_eq!(
        think(None, Some(2_000), Some(true), 9_000, budgeted),
        (json!({"type": "enabled", "budget_tokens": 2_000}), Value::Null, drops("temperature"))
    );
    assert_eq!(think(Some(Effort::Low), None, None, 1_024, budgeted), (Value::Null, Value::Null, drops("reasoning_effort")));
}

#[test]
fn a_forced_tool_and_calls_without_thoughts_rule_thinking_out() {
    let budgeted = Aim { quirks: Quirks { reasoning: ReasoningStyle::Budget, ..Quirks::default() }, ..aim() };
    let thinking = |request: &mut Request| request.reasoning = Some(Reasoning { effort: Some(Effort::Low), ..Reasoning::default() });
    let forced = asking(|request| {
        thinking(request);
        request.tools = vec![tool("a")];
        request.tool_choice = Some(ToolChoice::Required);
    });
    for aim in [aim(), budgeted] {
        let (body, dropped) = written(&forced, &aim);
        assert_eq!((body["thinking"].clone(), dropped), (Value::Null, vec!["reasoning_effort".to_owned()]));
    }
    assert_eq!(written(&forced, &aim()).0["output_config"], json!({"effort": "low"}), "effort needs no thinking");
    let thoughtless = asking(|request| {
        thinking(request);
        request.turns.push(turn(Role::Assistant, vec![call("1", "{}")]));
        request.turns.push(turn(Role::User, vec![result("1", "x")]));
    });
    assert_eq!(written(&thoughtless, &budgeted).0["thinking"], Value::Null);
    assert_eq!(written(&thoughtless, &aim()).0["thinking"], json!({"type": "adaptive"}));
}

#[test]
fn json_answers_are_schemas_or_a_tool() {
    let schema = || OutputFormat::JsonSchema {
        name: Some("n".to_owned()),
        description: None,
        schema: Json::parse(r#"{"type":"object","properties":{}}"#).expect("JSON"),
        strict: None,
    };
    let old = Aim { quirks: Quirks { json_schema: false, ..Quirks::default() }, ..aim() };
    let (body, _) = written(&asking(|request| request.output = schema()), &aim());
    let closed = json!({"type": "object", "properties": {}, "additionalProperties": false});
    assert_eq!(body["output_config"], json!({"format": {"type": "json_schema", "schema": closed}}));

    for (output, aim) in [(schema(), &old), (OutputFormat::JsonObject, &aim())] {
        let (body, _) = written(&asking(|request| request.output = output.clone()), aim);
        assert_eq!(body["tools"][0]["name"], "pixgate_structured_answer");
        let forced = json!({"type": "tool", "name": "pixgate_structured_answer", "disable_parallel_tool_use": true});
        assert_eq!((&body["tool_choice"], &body["output_config"]), (&forced, &Value::Null));
        let besides = asking(|request| (request.output, request.tools) = (output.clone(), vec![tool("a")]));
        assert_eq!(written(&besides, aim).0["tool_choice"], json!({"type": "any"}));
        let instead = Request { tool_choice: Some(ToolChoice::Required), ..besides };
        let (body, dropped) = written(&instead, aim);
        assert_eq!((body["tools"].as_array().map(Vec::len), dropped), (Some(1), vec!["response_format".to_owned()]));
    }
}

#[test]
fn numbers_and_hints_follow_their_rules() {
    let json = Json::parse;
    let request = asking(|request| {
        request.sampling = Sampling {
            temperature: json("1.50"),
            top_p: json("1.0"),
            seed: json("7"),
            presence_penalty: json("-0.0"),
            logprobs: Some(3),
            n: Some(1),
            ..Sampling::default()
        };
        request.verbosity = Some("low".to_owned());
        request.metadata = json(r#"{"a":"b"}"#);
        request.cache_key = Some("k".to_owned());
        request.service_tier = Some("flex".to_owned());
        request.unmodelled = vec![Unmodelled { field: "store".to_owned(), harmless: true }];
    });
    let (body, mut dropped) = written(&request, &aim());
    dropped.sort_unstable();
    assert_eq!(dropped, ["logprobs", "metadata", "prompt_cache_key", "seed", "service_tier", "store", "temperature", "verbosity"]);
    assert_eq!((&body["temperature"], &body["top_p"]), (&json!(1), &Value::Null));

    let cold = asking(|request| (request.sampling.temperature, request.sampling.top_p) = (json("0.50"), json("0.9")));
    let text = String::from_utf8(write(&cold, &aim()).expect("written").body.to_vec()).expect("UTF-8");
    assert!(text.contains(r#""temperature":0.50,"top_p":0.9"#), "{text}");
    let insensitive = Aim { quirks: Quirks { sampling: false, ..Quirks::default() }, ..aim() };
    assert_eq!(written(&cold, &insensitive).1, ["temperature", "top_p"]);
}

#[test]
fn what_would_change_the_answer_is_refused_unless_it_may_be_dropped() {
    type Change = fn(&mut Request);
    let cases: [(&str, Change); 5] = [
        ("n", |request| request.sampling.n = Some(2)),
        ("presence_penalty", |request| request.sampling.presence_penalty = Json::parse("0.1")),
        ("frequency_penalty", |request| request.sampling.frequency_penalty = Json::parse("-1")),
        ("stop", |request| request.sampling.stop = vec!["\n".to_owned(), "END".to_owned()]),
        ("logit_bias", |request| request.unmodelled = vec![Unmodelled { field: "logit_bias".to_owned(), harmless: false }]),
    ];
    for (field, change) in cases {
        let request = asking(change);
        assert_eq!(refused(&request).field, field);
        let (body, dropped) = written(&request, &Aim { drop_unsupported: true, ..aim() });
        assert_eq!(dropped, [field]);
        assert!(field != "stop" || body["stop_sequences"] == json!(["END"]));
    }
}

#[test]
fn a_forwarded_call_differs_in_its_model_only() {
    let forwarded = |body: &'static str, aim: &Aim<'_>| {
        let Written { body, dropped, .. } = forward(&Bytes::from_static(body.as_bytes()), aim).expect("forwarded");
        (String::from_utf8(body.to_vec()).expect("UTF-8"), dropped.join(","))
    };
    let body = r#" {"x":{"model":"m"}, "model" : "m" ,"temperature":0.70,"messages":[ ]} "#;
    assert_eq!(forwarded(body, &aim()), (body.replace(r#": "m" "#, r#": "claude-up" "#), String::new()));
    let same = r#"{"model":"claude-up"}"#;
    assert_eq!(forwarded(same, &aim()).0, same);
    let insensitive = Aim { quirks: Quirks { sampling: false, ..Quirks::default() }, ..aim() };
    assert_eq!(
        forwarded(body, &insensitive),
        (r#"{"x":{"model":"m"},"model":"claude-up","messages":[ ]}"#.to_owned(), "temperature".to_owned())
    );
    assert_eq!(forwarded(same, &insensitive).0, same);
}

#[test]
fn thoughts_of_other_vendors_are_not_forwarded() {
    let forwarded = |body: &str, aim: &Aim<'_>| {
        let written = forward(&Bytes::copy_from_slice(body.as_bytes()), aim).expect("forwarded");
        String::from_utf8(written.body.to_vec()).expect("UTF-8")
    };
    let foreign = r#"{"type":"thinking","thinking":"hm", "signature":""}"#;
    let own = r#"{"type":"thinking","thinking":"","signature":"c2ln"}, {"type":"redacted_thinking","data":"ZA"}"#;
    let text = r#"{"type":"text","text":"thinking"}"#;
    let call = |content: &str, last: &str| {
        format!(
            r#"{{"model":"claude-up", "messages":[{{"role":"user", "content":"thinking"}}, {{"role":"assistant","content":[{content}]}}{last}]}}"#
        )
    };
    for same in [call(own, ""), call(text, ""), r#"{"model":"claude-up","messages":"thinking"}"#.to_owned()] {
        assert_eq!(forwarded(&same, &aim()), same);
    }
    let mixed =
        call(&format!("{foreign},{own}, {foreign} ,{text}"), r#", {"role":"assistant","content":[{"type":"thinking","thinking":"x"}]}"#);
    let expected = call(&format!("{own},{text}"), "").replace("}, {", "},{");
    assert_eq!(forwarded(&mixed, &aim()), expected);
}
