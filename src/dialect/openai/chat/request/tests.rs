use serde_json::{Value, json};

use super::*;
use crate::dialect::{
    Dialect,
    canonical::{
        Block, CacheHint, Content, Effort, Json, OutputFormat, Reasoning, Request, Role, Signature, Source, Tool, ToolChoice, ToolKind,
        Turn,
    },
    format::{Aim, Quirks, Unsupported, Written},
};

fn read_value(body: &Value) -> Request {
    read(body.to_string().as_bytes()).expect("a call")
}

/// A call with these fields beside model and messages.
fn with(fields: &Value) -> Request {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    read_value(&body)
}

fn with_messages(messages: Value) -> Request {
    read_value(&json!({"model": "m", "messages": messages}))
}

fn refusal(fields: &Value) -> String {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    read(body.to_string().as_bytes()).expect_err("a refusal").message
}

fn aim() -> Aim<'static> {
    Aim { model: "up", max_output_tokens: 4_096, quirks: Quirks::default(), drop_unsupported: false }
}

fn write_with(request: &Request, aim: &Aim<'_>) -> Result<(Value, Vec<String>), Unsupported> {
    let Written { body, dropped, .. } = write(request, aim)?;
    Ok((serde_json::from_slice(&body).expect("JSON"), dropped))
}

fn written(request: &Request) -> Value {
    write_with(request, &aim()).expect("written").0
}

fn signature(vendor: Dialect, value: &str) -> Option<Signature> {
    Some(Signature { vendor, value: value.to_owned(), sealed: false, id: None })
}

fn call(id: &str, name: &str, arguments: &str) -> Content {
    Content::ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
        kind: ToolKind::Function,
        signature: None,
    }
}

fn result(call_id: &str, blocks: Vec<Block>) -> Content {
    Content::ToolResult { call_id: call_id.to_owned(), name: None, blocks, is_error: false }
}

fn contents(turn: &Turn) -> Vec<&Content> {
    turn.blocks.iter().map(|block| &block.content).collect()
}

#[test]
fn every_role_has_its_place() {
    let request = with_messages(json!([
        {"role": "system", "content": "be brief"},
        {"role": "developer", "content": [{"type": "text", "text": "be kind"}]},
        {"role": "user", "name": "ann", "content": "hi"},
        {"role": "assistant", "content": "hello", "refusal": null, "tool_calls": null, "annotations": []},
        {"role": "developer", "content": "now shout"},
        {"role": "user", "content": null},
    ]));
    assert_eq!(request.system, [Block::text("be brief"), Block::text("be kind")]);
    let turns: Vec<_> = request.turns.iter().map(|turn| (turn.role, turn.name.as_deref(), turn.blocks.len())).collect();
    assert_eq!(turns, [(Role::User, Some("ann"), 1), (Role::Assistant, None, 1), (Role::System, None, 1), (Role::User, None, 0)]);
    assert_eq!(request.unmodelled, []);
}

#[test]
fn every_part_is_read() {
    let request = with_messages(json!([{"role": "user", "content": [
        {"type": "text", "text": "look", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": ""},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,_-8", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "auto"}},
        {"type": "input_audio", "input_audio": {"data": "QUI=", "format": "mp3"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUI="}},
        {"type": "file", "file": {"file_data": "QUI="}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
    ]}]));
    let base64 = |mime: &str, data: &str| Source::Base64 { mime: mime.to_owned(), data: data.to_owned() };
    let [turn] = &request.turns[..] else { panic!("one turn") };
    assert_eq!(turn.blocks[0].cache, Some(CacheHint { ttl: Some("1h".to_owned()) }));
    let url = Source::Url { url: "https://example.com/a.png".to_owned(), mime: None };
    let video = json!({"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}).to_string();
    assert_eq!(
        contents(turn),
        [
            &Content::Text("look".to_owned()),
            &Content::Image { source: base64("image/png", "/+8="), detail: Some("low".to_owned()) },
            &Content::Image { source: url, detail: None },
            &Content::Audio { source: base64("audio/mpeg", "QUI=") },
            &Content::Document { source: base64("application/pdf", "QUI="), name: Some("a.pdf".to_owned()) },
            &Content::Document { source: base64("application/pdf", "QUI="), name: None },
            &Content::Document { source: Source::File { id: "file-1".to_owned() }, name: None },
            &Content::Opaque { kind: "video_url".to_owned(), json: Json::parse(&video).unwrap() },
        ]
    );
}

#[test]
fn calls_results_and_thoughts_are_read() {
    let request = with_messages(json!([
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": null, "reasoning_content": "hm",
         "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s", "format": "anthropic-claude-v1", "index": 0}],
         "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "get", "arguments": ""},
             "extra_content": {"google": {"thought_signature": "g"}}},
            {"id": "c2", "type": "custom", "custom": {"name": "run", "input": "ls"}},
            {"id": "c3", "type": "function", "function": {"name": "get", "arguments": {"a": 1.0}}},
        ]},
        {"role": "tool", "tool_call_id": "c1", "content": "sun"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ]));
    let custom = Content::ToolCall { id: "c2".into(), name: "run".into(), arguments: "ls".into(), kind: ToolKind::Custom, signature: None };
    let signed = Content::ToolCall {
        id: "c1".into(),
        name: "get".into(),
        arguments: "{}".into(),
        kind: ToolKind::Function,
        signature: signature(Dialect::Gemini, "g"),
    };
    let thought = Content::Reasoning { text: "hm".to_owned(), signature: signature(Dialect::Anthropic, "s") };
    assert_eq!(contents(&request.turns[1]), [&thought, &signed, &custom, &call("c3", "get", r#"{"a":1.0}"#)]);
    assert_eq!(contents(&request.turns[2]), [&result("c1", vec![Block::text("sun")])]);
    assert_eq!(contents(&request.turns[3]), [&result("c2", vec![Block::text("a"), Block::text("b")])]);
    assert!(request.turns[2..].iter().all(|turn| turn.role == Role::User));
}

#[test]
fn functions_before_there_were_tools() {
    let request = read_value(&json!({"model": "m", "messages": [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": null, "function_call": {"name": "get", "arguments": "{}"}},
        {"role": "function", "name": "get", "content": "sun"},
    ], "functions": [{"name": "get", "parameters": {"type": "object"}}], "function_call": {"name": "get"}}));
    assert!(request.legacy_functions);
    assert_eq!(request.tool_choice, Some(ToolChoice::Named("get".to_owned())));
    assert_eq!(contents(&request.turns[1]), [&call("call_1", "get", "{}")]);
    let answered =
        Content::ToolResult { call_id: "call_1".into(), name: Some("get".into()), blocks: vec![Block::text("sun")], is_error: false };
    assert_eq!(contents(&request.turns[2]), [&answered]);
    assert_eq!(written(&request)["parallel_tool_calls"], json!(false));
}

#[test]
fn settings_are_read() {
    let request = with(&json!({
        "stream": true, "stream_options": {"include_usage": true, "include_obfuscation": false},
        "max_tokens": 5, "max_completion_tokens": 7, "n": 2, "temperature": 0.70, "top_p": 1, "top_k": 40, "seed": 7,
        "presence_penalty": 0, "frequency_penalty": -0.5, "stop": "END", "logprobs": true, "top_logprobs": 3,
        "reasoning_effort": "xhigh", "verbosity": "low", "user": "u", "metadata": {"a": "b"}, "prompt_cache_key": "k",
        "service_tier": "flex", "parallel_tool_calls": false,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": true}},
    }));
    let sampling = &request.sampling;
    assert!(request.streamed && request.include_usage);
    assert_eq!((sampling.max_output_tokens, sampling.n, sampling.logprobs), (Some(7), Some(2), Some(3)));
    let text = |number: &Option<Json>| number.as_ref().map(|number| number.text().to_owned());
    assert_eq!(text(&sampling.temperature).as_deref(), Some("0.7"));
    assert_eq!(text(&sampling.top_k).as_deref(), Some("40"));
    assert_eq!((&sampling.presence_penalty, text(&sampling.frequency_penalty).as_deref()), (&None, Some("-0.5")));
    assert_eq!(sampling.stop, ["END"]);
    assert_eq!(request.reasoning, Some(Reasoning { effort: Some(Effort::ExtraHigh), ..Reasoning::default() }));
    assert!(matches!(&request.output, OutputFormat::JsonSchema { name: Some(name), strict: Some(true), .. } if name == "n"));
    let named = (&request.verbosity, &request.user, &request.cache_key, &request.service_tier);
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(named, (&some("low"), &some("u"), &some("k"), &some("flex")));
    assert_eq!(request.parallel_tools, Some(false));
    let noted: Vec<_> = request.unmodelled.iter().map(|field| (&*field.field, field.harmless)).collect();
    assert_eq!(noted, [("stream_options.include_obfuscation", true)]);
}

#[test]
fn numbers_keep_their_text() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0.70,"seed":12345678901234567890,"top_p":1e-1}"#;
    let request = read(body.as_bytes()).expect("a call");
    let out = String::from_utf8(write(&request, &aim()).expect("written").body.to_vec()).unwrap();
    assert!(out.contains(r#""temperature":0.70,"top_p":1e-1,"seed":12345678901234567890"#), "{out}");
}

#[test]
fn what_says_nothing_is_absent() {
    let request = with(&json!({
        "store": false, "logit_bias": {}, "modalities": ["text"], "service_tier": "auto", "tools": [], "stop": [], "metadata": {},
        "verbosity": "medium", "response_format": {"type": "text"}, "tool_choice": null, "logprobs": false, "top_logprobs": 0, "x": null,
    }));
    let plain = with(&json!({}));
    assert_eq!(request, plain);
}

#[test]
fn fields_of_this_format_alone_are_listed() {
    let request = with(&json!({
        "logit_bias": {"1": 5}, "store": true, "prediction": {"type": "content", "content": "x"}, "web_search_options": {},
        "modalities": ["text", "audio"], "audio": {"voice": "alloy"}, "safety_identifier": "s", "x_vendor": 1,
        "tools": [{"type": "web_search"}], "response_format": {"type": "grammar"},
    }));
    let mut noted: Vec<_> = request.unmodelled.iter().map(|field| (&*field.field, field.harmless)).collect();
    noted.sort_unstable();
    assert_eq!(
        noted,
        [
            ("audio", false),
            ("logit_bias", false),
            ("modalities", false),
            ("prediction", true),
            ("response_format", false),
            ("store", true),
            ("tools[0].type", false),
            ("web_search_options", false),
            ("x_vendor", false),
        ]
    );
    assert_eq!(request.user.as_deref(), Some("s"), "the same under its new name");
}

#[test]
fn refusals_name_the_field() {
    for (fields, message) in [
        (json!({"messages": [{"role": "boss", "content": "x"}]}), "'messages[0].role' must be 'system'"),
        (json!({"messages": [{"content": "x"}]}), "'messages[0].role' must be"),
        (json!({"messages": [{"role": "user", "content": 7}]}), "'messages' is not valid: messages[0]"),
        (json!({"messages": [{"role": "tool", "content": "x"}]}), "'messages[0].tool_call_id' is required"),
        (json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}), "'messages[0].content[0].image_url' is required"),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]}),
            "'messages[0].content[0].file' needs 'file_data' or 'file_id'",
        ),
        (json!({"temperature": "hot"}), "'temperature' must be a number"),
        (json!({"top_logprobs": 2}), "'top_logprobs' needs 'logprobs' to be true"),
        (json!({"tools": [{"type": "function"}]}), "'tools[0].function' is required"),
        (json!({"tools": [{"function": {}}]}), "'tools[0].function.name' is required"),
        (json!({"tool_choice": "maybe"}), "'tool_choice' must be"),
        (json!({"response_format": {}}), "'response_format.type' is required"),
        (json!({"reasoning_effort": "huge"}), "'reasoning_effort' must be"),
        (json!({"verbosity": "loud"}), "'verbosity' must be"),
        (json!({"metadata": []}), "'metadata' must be an object"),
    ] {
        let found = refusal(&fields);
        assert!(found.starts_with(message), "{found}");
    }
}

#[test]
fn tools_and_choices_survive() {
    let tools = json!([
        {"type": "function", "function": {"name": "get", "description": "d", "parameters": {"type": "object"}, "strict": true}},
        {"type": "custom", "custom": {"name": "run", "description": "r"}},
    ]);
    for choice in [
        json!("none"),
        json!("auto"),
        json!("required"),
        json!({"type": "function", "function": {"name": "get"}}),
        json!({"type": "custom", "custom": {"name": "run"}}),
        json!({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "custom", "custom": {"name": "run"}}]}}),
    ] {
        let out = written(&with(&json!({"tools": tools, "tool_choice": choice, "parallel_tool_calls": true})));
        assert_eq!((&out["tools"], &out["tool_choice"]), (&tools, &choice));
    }
    let one = json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "get"}}]}});
    let out = written(&with(&json!({"tools": tools, "tool_choice": one})));
    assert_eq!(out["tool_choice"], json!({"type": "function", "function": {"name": "get"}}), "in the form that more servers know");
}

#[test]
fn a_call_is_written_as_servers_take_it() {
    let mut request = with_messages(json!([
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUI="}}]},
    ]));
    request.streamed = true;
    request.sampling.max_output_tokens = Some(9);
    let out = written(&request);
    assert_eq!(
        out,
        json!({
            "model": "up",
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": [
                    {"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUI="}}]},
            ],
            "stream": true, "stream_options": {"include_usage": true}, "max_completion_tokens": 9,
        })
    );
    let quirks = Quirks { stream_usage: false, max_completion_tokens: false, ..Quirks::default() };
    let (older, _) = write_with(&request, &Aim { quirks, ..aim() }).expect("written");
    assert_eq!((&older["stream_options"], &older["max_tokens"]), (&Value::Null, &json!(9)));
    assert_eq!(older["max_completion_tokens"], Value::Null);
}

#[test]
fn results_come_first_and_their_pictures_follow() {
    let picture = Content::Image { source: Source::Base64 { mime: "image/png".into(), data: "QUI=".into() }, detail: None };
    let failed = Content::ToolResult { call_id: "c2".into(), name: None, blocks: Vec::new(), is_error: true };
    let blocks = [
        Content::Text("and?".to_owned()),
        result("c1", vec![Block::text("see"), Block::new(picture.clone())]),
        failed,
        result("c3", vec![Block::new(picture)]),
    ];
    let turn = Turn { role: Role::User, name: None, blocks: blocks.into_iter().map(Block::new).collect() };
    let out = written(&Request { turns: vec![turn], ..Request::default() });
    let picture = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,QUI="}});
    assert_eq!(
        out["messages"],
        json!([
            {"role": "tool", "tool_call_id": "c1", "content": "see"},
            {"role": "tool", "tool_call_id": "c2", "content": "The tool failed."},
            {"role": "tool", "tool_call_id": "c3", "content": "The result follows."},
            {"role": "user", "content": [
                {"type": "text", "text": "Part of the result of tool call c1:"}, picture,
                {"type": "text", "text": "Part of the result of tool call c3:"}, picture,
            ]},
            {"role": "user", "content": "and?"},
        ])
    );
}

#[test]
fn thoughts_go_back_only_where_they_are_taken() {
    let blocks = vec![
        Block::new(Content::Reasoning { text: "hm".to_owned(), signature: signature(Dialect::Anthropic, "s") }),
        Block::new(Content::ToolCall {
            id: "c1".into(),
            name: "get".into(),
            arguments: "{}".into(),
            kind: ToolKind::Function,
            signature: signature(Dialect::Gemini, "g"),
        }),
    ];
    let request = Request { turns: vec![Turn { role: Role::Assistant, name: None, blocks }], ..Request::default() };
    let calls = json!([{"id": "c1", "type": "function", "function": {"name": "get", "arguments": "{}"}}]);
    assert_eq!(written(&request)["messages"], json!([{"role": "assistant", "content": null, "tool_calls": calls}]));
    let quirks = Quirks { reasoning_input: true, ..Quirks::default() };
    let (out, _) = write_with(&request, &Aim { quirks, ..aim() }).expect("written");
    let message = &out["messages"][0];
    assert_eq!(message["reasoning_content"], json!("hm"));
    assert_eq!(message["reasoning_details"][0]["signature"], json!("s"));
    assert_eq!(message["tool_calls"][0]["extra_content"]["google"]["thought_signature"], json!("g"));
    assert_eq!(message["reasoning"], Value::Null);
    let (out, _) = write_with(&request, &Aim { quirks: Quirks { reasoning_member: true, ..quirks }, ..aim() }).expect("written");
    assert_eq!((&out["messages"][0]["reasoning"], &out["messages"][0]["reasoning_content"]), (&json!("hm"), &json!("hm")));
}

#[test]
fn what_cannot_be_carried_is_refused_or_dropped() {
    let plain = with(&json!({}));
    let file = |source| {
        let blocks = vec![Block::text("see"), Block::new(Content::Document { source, name: None })];
        Request { turns: vec![Turn { role: Role::User, name: None, blocks }], ..Request::default() }
    };
    let schema = with(&json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}}));
    let no_schema = Quirks { json_schema: false, ..Quirks::default() };
    for (request, quirks, field) in [
        (with(&json!({"top_k": 3})), Quirks::default(), "top_k"),
        (with(&json!({"logit_bias": {"1": 2}})), Quirks::default(), "logit_bias"),
        (schema, no_schema, "response_format"),
        (file(Source::Url { url: "https://a/b.pdf".into(), mime: None }), Quirks::default(), "file"),
        (with_messages(json!([{"role": "user", "content": [{"type": "video_url"}]}])), Quirks::default(), "video_url"),
    ] {
        let refused = write_with(&request, &Aim { quirks, ..aim() }).expect_err("refused");
        assert_eq!(refused.field, field);
        let (_, dropped) = write_with(&request, &Aim { quirks, drop_unsupported: true, ..aim() }).expect("dropped");
        assert_eq!(dropped, [field]);
    }
    let hot = with(&json!({"temperature": 1, "top_k": 3, "store": true, "service_tier": "standard_only"}));
    let quirks = Quirks { sampling: false, ..Quirks::default() };
    let (out, dropped) = write_with(&hot, &Aim { quirks, ..aim() }).expect("written");
    assert_eq!(dropped, ["store", "temperature", "top_k", "service_tier"], "by rule");
    assert_eq!(out, {
        let (mut out, _) = write_with(&plain, &aim()).unwrap();
        out["model"] = json!("up");
        out
    });
    let takes = Quirks { top_k: true, ..Quirks::default() };
    assert_eq!(write_with(&with(&json!({"top_k": 3})), &Aim { quirks: takes, ..aim() }).expect("written").0["top_k"], json!(3));
}

#[test]
fn budgets_become_words() {
    for (reasoning, word) in [
        (json!({"effort": "max"}), "xhigh"),
        (json!({"max_tokens": 1024}), "low"),
        (json!({"max_tokens": 4000}), "medium"),
        (json!({"max_tokens": 31999}), "high"),
        (json!({"max_tokens": 0}), "none"),
        (json!({"enabled": true}), "medium"),
        (json!({"enabled": false}), "none"),
    ] {
        assert_eq!(written(&with(&json!({"reasoning": reasoning})))["reasoning_effort"], json!(word));
    }
    assert_eq!(written(&with(&json!({"reasoning": {"exclude": true}})))["reasoning_effort"], Value::Null);
}

#[test]
fn metadata_is_carried_for_the_built_in_models() {
    let out = written(&with(&json!({"metadata": {"chunks": "3"}})));
    assert_eq!(out["metadata"], json!({"chunks": "3"}));
}

#[test]
fn a_tool_is_written_with_what_it_has() {
    let tool = Tool {
        kind: ToolKind::Function,
        name: "t".into(),
        description: None,
        parameters: None,
        strict: None,
        cache: Some(CacheHint { ttl: None }),
    };
    let (out, dropped) = write_with(&Request { tools: vec![tool], ..Request::default() }, &aim()).expect("written");
    assert_eq!(out["tools"], json!([{"type": "function", "function": {"name": "t"}}]));
    assert_eq!(dropped, ["cache_control"]);
}
