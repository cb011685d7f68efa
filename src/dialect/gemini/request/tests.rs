use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::dialect::{
    Dialect, Endpoint, Invalid,
    canonical::{
        Block, Content, Effort, Json, OutputFormat, Reasoning, Request, Role, Sampling, Signature, Source, Tool, ToolChoice, ToolKind,
        Turn, Unmodelled,
    },
    format::{Aim, CallHead, Quirks, ReasoningStyle, Unsupported, Written},
};

fn head() -> CallHead {
    CallHead { model: Some("m".to_owned()), ..CallHead::new(Endpoint::GenerateContent) }
}

fn read_value(body: &Value) -> Result<Request, Invalid> {
    read(&head(), body.to_string().as_bytes())
}

/// Reads a body that has no more contents than a greeting.
fn with(members: Value) -> Request {
    let mut body = json!({"contents": [{"parts": [{"text": "hi"}]}]});
    for (name, value) in members.as_object().unwrap() {
        body[name] = value.clone();
    }
    read_value(&body).unwrap()
}

fn blocks(parts: Value) -> Vec<Content> {
    let request = read_value(&json!({"contents": [{"role": "user", "parts": parts}]})).unwrap();
    request.turns.into_iter().flat_map(|turn| turn.blocks).map(|block| block.content).collect()
}

fn unmodelled(request: &Request) -> Vec<(&str, bool)> {
    request.unmodelled.iter().map(|unmodelled| (&*unmodelled.field, unmodelled.harmless)).collect()
}

fn aim(quirks: Quirks) -> Aim<'static> {
    Aim { model: "gemini-x", max_output_tokens: 100, quirks, drop_unsupported: false }
}

fn budget() -> Quirks {
    Quirks { reasoning: ReasoningStyle::Budget, ..Quirks::default() }
}

fn written(request: &Request, quirks: Quirks) -> (Value, Vec<String>) {
    let Written { body, dropped, .. } = write(request, &aim(quirks)).unwrap();
    (serde_json::from_slice(&body).unwrap(), dropped)
}

fn refused(request: &Request) -> Unsupported {
    write(request, &aim(Quirks::default())).unwrap_err()
}

fn signed(vendor: Dialect) -> Option<Signature> {
    Some(Signature { vendor, value: "c2ln+/8=".to_owned(), sealed: false, id: None })
}

fn turn(role: Role, contents: Vec<Content>) -> Turn {
    Turn { role, name: None, blocks: contents.into_iter().map(Block::new).collect() }
}

fn call(id: &str, signature: Option<Signature>) -> Content {
    let (name, arguments) = ("look_up".to_owned(), r#"{"q":1.0}"#.to_owned());
    Content::ToolCall { id: id.to_owned(), name, arguments, kind: ToolKind::Function, signature }
}

fn result(call_id: &str, text: &str, is_error: bool) -> Content {
    Content::ToolResult { call_id: call_id.to_owned(), name: None, blocks: vec![Block::text(text)], is_error }
}

#[test]
fn a_whole_call_is_read_in_both_spellings() {
    let camel = include_str!("../../../../tests/golden/gemini/request_camel.json");
    let snake = include_str!("../../../../tests/golden/gemini/request_snake.json");
    let request = read(&head(), camel.as_bytes()).unwrap();
    assert_eq!(read(&head(), snake.as_bytes()).unwrap(), request);

    assert_eq!(request.system, [Block::text("Be brief.")]);
    assert_eq!(request.turns.iter().map(|turn| turn.role).collect::<Vec<_>>(), [Role::User, Role::Assistant, Role::User]);
    let image = Content::Image { source: Source::Base64 { mime: "image/png".to_owned(), data: "+/+/".to_owned() }, detail: None };
    assert_eq!(request.turns[0].blocks[1].content, image);
    assert_eq!(
        request.turns[1].blocks[0].content,
        Content::ToolCall {
            id: "c1".to_owned(),
            name: "look_up".to_owned(),
            arguments: r#"{"q":1.0}"#.to_owned(),
            kind: ToolKind::Function,
            signature: signed(Dialect::Gemini)
        }
    );
    assert_eq!(
        request.turns[2].blocks[0].content,
        Content::ToolResult {
            call_id: "c1".to_owned(),
            name: Some("look_up".to_owned()),
            blocks: vec![Block::text("found")],
            is_error: false
        }
    );
    assert_eq!(request.tools[0].parameters.as_ref().unwrap().text(), r#"{"type":"object","properties":{"q":{"type":"number"}}}"#);
    assert_eq!(request.tool_choice, Some(ToolChoice::Named("look_up".to_owned())));
    let number = |text: &str| Json::parse(text);
    assert_eq!(
        request.sampling,
        Sampling {
            max_output_tokens: Some(64),
            n: Some(2),
            temperature: number("0.50"),
            top_p: number("0.9"),
            top_k: number("40"),
            seed: number("7"),
            presence_penalty: number("0.1"),
            frequency_penalty: number("0.2"),
            stop: vec!["END".to_owned()],
            logprobs: Some(3),
        }
    );
    assert_eq!(request.reasoning, Some(Reasoning { effort: Some(Effort::Low), budget_tokens: None, visible: Some(true) }));
    let OutputFormat::JsonSchema { schema, .. } = &request.output else { panic!("{:?}", request.output) };
    assert_eq!(schema.text(), r#"{"type":["string","null"]}"#);
    assert_eq!(request.service_tier.as_deref(), Some("flex"));
    assert_eq!(request.metadata.as_ref().unwrap().text(), r#"{"team":"a"}"#);
    assert_eq!(unmodelled(&request), [("store", true)].map(|(name, harmless)| (name, harmless)));
}

#[test]
fn single_values_stand_for_lists() {
    let request = read_value(&json!({
        "contents": {"parts": {"text": "hi"}},
        "system_instruction": {"parts": {"text": "Be a cat."}},
        "tools": {"function_declarations": {"name": "f"}},
    }));
    let request = request.unwrap();
    assert_eq!((request.turns.len(), &request.system[..], request.tools.len()), (1, &[Block::text("Be a cat.")][..], 1));
    assert_eq!(with(json!({"systemInstruction": "Be a dog."})).system, [Block::text("Be a dog.")]);
}

#[test]
fn media_are_told_by_their_type() {
    let data = |mime: &str| json!([{"inline_data": {"mime_type": mime, "data": "AA"}}]);
    assert!(matches!(&blocks(data("image/webp"))[..], [Content::Image { .. }]));
    assert!(matches!(&blocks(data("audio/wav"))[..], [Content::Audio { .. }]));
    assert!(matches!(&blocks(data("application/pdf"))[..], [Content::Document { .. }]));
    let file = |uri: &str| json!([{"fileData": {"mimeType": "application/pdf", "fileUri": uri}}]);
    assert!(matches!(&blocks(file("https://a.example/x.pdf"))[..], [Content::Document { source: Source::Url { .. }, .. }]));
    assert!(matches!(&blocks(file("gs://bucket/x.pdf"))[..], [Content::Document { source: Source::File { .. }, .. }]));
}

#[test]
fn thoughts_and_signatures_keep_their_place() {
    let signature = signed(Dialect::Gemini);
    let parts = json!([
        {"text": "hm", "thought": true},
        {"text": "hm again", "thought": true, "thoughtSignature": "c2ln+/8="},
        {"text": "said", "thought_signature": "c2ln+/8="},
    ]);
    let reasoning = |text: &str, signature: Option<Signature>| Content::Reasoning { text: text.to_owned(), signature };
    assert_eq!(
        blocks(parts),
        [reasoning("hm", None), reasoning("hm again", signature.clone()), Content::Text("said".to_owned()), reasoning("", signature)]
    );
}

#[test]
fn calls_without_ids_are_matched_to_their_responses_by_name() {
    let request = read_value(&json!({"contents": [
        {"role": "user", "parts": [{"text": "both"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "a"}}, {"functionCall": {"name": "b", "args": {}}}, {"functionCall": {"name": "a"}}]},
        {"role": "function", "parts": [
            {"functionResponse": {"name": "b", "response": {"x": 1}}},
            {"functionResponse": {"name": "a", "response": {"error": "no"}}},
            {"functionResponse": {"name": "a", "response": {"output": {"y": 2}}}},
        ]},
    ]}))
    .unwrap();
    let ids = |turn: &Turn| -> Vec<String> {
        let id = |block: &Block| match &block.content {
            Content::ToolCall { id, .. } => id.clone(),
            Content::ToolResult { call_id, .. } => call_id.clone(),
            other => panic!("{other:?}"),
        };
        turn.blocks.iter().map(id).collect()
    };
    assert_eq!(ids(&request.turns[1]), ["call_1", "call_2", "call_3"]);
    assert_eq!(ids(&request.turns[2]), ["call_2", "call_1", "call_3"]);
    let said = request.turns[2].blocks.iter().map(|block| match &block.content {
        Content::ToolResult { blocks, is_error, .. } => (blocks[0].content.clone(), *is_error),
        other => panic!("{other:?}"),
    });
    let text = |text: &str| Content::Text(text.to_owned());
    assert_eq!(said.collect::<Vec<_>>(), [(text(r#"{"x":1}"#), false), (text("no"), true), (text(r#"{"y":2}"#), false)]);
}

#[test]
fn what_no_other_dialect_has_is_listed() {
    let request = with(json!({
        "cachedContent": "cachedContents/1",
        "tools": [{"googleSearch": {}}, {"functionDeclarations": [{"name": "f", "response": {"type": "STRING"}, "behavior": "NON_BLOCKING"}]}],
        "safetySettings": [{"category": "A", "threshold": "BLOCK_NONE"}, {"category": "B", "threshold": "BLOCK_LOW_AND_ABOVE"}],
        "generationConfig": {"responseModalities": ["TEXT", "IMAGE"], "speechConfig": {"a": 1}, "mediaResolution": ""},
        "toolConfig": {"retrievalConfig": {"a": 1}},
        "newest": 1,
    }));
    let mut listed = unmodelled(&request);
    listed.sort_unstable();
    assert_eq!(
        listed,
        [
            ("cachedContent", false),
            ("generationConfig.responseModalities", false),
            ("generationConfig.speechConfig", false),
            ("newest", false),
            ("safetySettings[0]", true),
            ("safetySettings[1]", false),
            ("toolConfig.retrievalConfig", false),
            ("tools[0].googleSearch", false),
            ("tools[1].functionDeclarations[0].behavior", false),
            ("tools[1].functionDeclarations[0].response", true),
        ]
    );
    let request =
        read_value(&json!({"contents": [{"parts": [{"text": "hi", "videoMetadata": {"fps": 1}}, {"executableCode": {"code": "1"}}]}]}));
    let request = request.unwrap();
    assert_eq!(unmodelled(&request), [("contents[0].parts[0].videoMetadata", false)]);
    assert!(
        matches!(&request.turns[0].blocks[1].content, Content::Opaque { kind, json } if kind == "executableCode" && json.text().contains("\"code\""))
    );
}

#[test]
fn thinking_is_a_level_or_a_budget() {
    let thinking = |config: Value| with(json!({"generationConfig": {"thinkingConfig": config}})).reasoning;
    let reasoning = |effort, budget_tokens| Some(Reasoning { effort, budget_tokens, visible: None });
    assert_eq!(thinking(json!({"thinkingBudget": 0})), reasoning(Some(Effort::None), None));
    assert_eq!(thinking(json!({"thinkingBudget": -1})), None);
    assert_eq!(thinking(json!({"thinking_budget": 2048})), reasoning(None, Some(2_048)));
    assert_eq!(thinking(json!({"thinkingLevel": "xhigh"})), reasoning(Some(Effort::ExtraHigh), None));
    assert_eq!(thinking(json!({})), None);
    assert_eq!(
        unmodelled(&with(json!({"generationConfig": {"thinkingConfig": {"thinkingLevel": "DREAMY"}}}))),
        [("generationConfig.thinkingConfig.thinkingLevel", false)]
    );
}

#[test]
fn words_that_stand_for_no_signature_are_none() {
    let signed = |word: &str| {
        let call = json!({"functionCall": {"name": "f", "args": {}}, "thoughtSignature": word});
        let request = read_value(&json!({"contents": [{"role": "model", "parts": [call]}]})).unwrap();
        match &request.turns[0].blocks[..] {
            [Block { content: Content::ToolCall { signature, .. }, .. }] => signature.is_some(),
            other => panic!("{other:?}"),
        }
    };
    assert!(signed("c2ln"));
    for word in ["skip_thought_signature_validator", "context_engineering_is_the_way_to_go", ""] {
        assert!(!signed(word), "{word}");
    }
}

#[test]
fn outputs_and_choices_of_tools() {
    let output = |config: Value| with(json!({"generationConfig": config})).output;
    assert_eq!(output(json!({"responseMimeType": "text/plain"})), OutputFormat::Text);
    assert_eq!(output(json!({"responseMimeType": "application/json"})), OutputFormat::JsonObject);
    assert!(matches!(output(json!({"_responseJsonSchema": {"type": "object"}})), OutputFormat::JsonSchema { .. }));
    let request = with(json!({"generationConfig": {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING"}}}));
    assert_eq!(unmodelled(&request), [("generationConfig.responseMimeType", false)]);

    let choice = |config: Value| with(json!({"toolConfig": {"functionCallingConfig": config}})).tool_choice;
    let names = || vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(choice(json!({"mode": "AUTO"})), Some(ToolChoice::Auto));
    assert_eq!(choice(json!({"mode": "none"})), Some(ToolChoice::None));
    assert_eq!(choice(json!({"mode": "ANY"})), Some(ToolChoice::Required));
    assert_eq!(
        choice(json!({"mode": "ANY", "allowed_function_names": ["a", "b"]})),
        Some(ToolChoice::Allowed { names: names(), required: true })
    );
    assert_eq!(
        choice(json!({"mode": "VALIDATED", "allowedFunctionNames": ["a", "b"]})),
        Some(ToolChoice::Allowed { names: names(), required: false })
    );
    assert_eq!(choice(json!({})), None);
}

#[test]
fn bad_calls_name_the_field() {
    let content = |part: Value| json!({"contents": [{"parts": [part]}]});
    for (body, field) in [
        (json!({}), "contents"),
        (json!({"contents": []}), "contents"),
        (json!({"contents": 7}), "contents"),
        (json!({"contents": [{"role": "system", "parts": []}]}), "contents[0].role"),
        (content(json!({"text": 7})), "contents[0].parts[0].text"),
        (content(json!({"inline_data": {"data": "*"}})), "contents[0].parts[0].inline_data.data"),
        (content(json!({"functionCall": {}})), "contents[0].parts[0].functionCall.name"),
        (content(json!({"functionCall": {"name": "f", "args": "{}"}})), "contents[0].parts[0].functionCall.args"),
        (content(json!({"functionResponse": {"name": "f", "response": "x"}})), "contents[0].parts[0].functionResponse.response"),
        (json!({"contents": "hi"}), "contents"),
    ] {
        assert_eq!(read_value(&body).unwrap_err().param.as_deref(), Some(field), "{body}");
    }
    let config = |name: &str, value: Value| {
        let body = json!({"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {name: value}});
        read_value(&body).unwrap_err().param.unwrap()
    };
    assert_eq!(config("maxOutputTokens", json!(0)), "generationConfig.maxOutputTokens");
    assert_eq!(config("temperature", json!("warm")), "generationConfig.temperature");
    assert_eq!(config("thinkingConfig", json!({"thinkingBudget": -2})), "generationConfig.thinkingConfig.thinkingBudget");
    assert_eq!(read(&CallHead::new(Endpoint::GenerateContent), b"{}").unwrap_err().param.as_deref(), Some("model"));
}

#[test]
fn what_is_only_counted_comes_in_two_shapes() {
    let head = CallHead { counts_only: true, ..head() };
    let count = |body: &str| Ok::<_, Invalid>(read(&head, body.as_bytes())?.input_tokens());
    let contents = r#"{"contents":[{"parts":[{"text":"hello world"}]}],"unknown":{"a":1}}"#;
    assert_eq!(count(contents), Ok(2 + 4 + 3));
    assert_eq!(count(&format!(r#"{{"generate_content_request":{contents}}}"#)), count(contents));
    assert_eq!(count(r#"{"generateContentRequest":{}}"#).unwrap_err().param.as_deref(), Some("generateContentRequest.contents"));
}

#[test]
fn a_forwarded_body_stays_but_for_the_models_name() {
    let body = Bytes::from_static(br#"{ "contents": [], "new": 1.50 }"#);
    assert_eq!(forward(&body, &aim(Quirks::default())).unwrap().body, body);
    let named = Bytes::from_static(br#"{"model":"models/ours", "contents":[]}"#);
    assert_eq!(forward(&named, &aim(Quirks::default())).unwrap().body, r#"{"model":"models/gemini-x", "contents":[]}"#);
}

#[test]
fn a_call_of_another_dialect_is_written() {
    let tool = Tool {
        kind: ToolKind::Function,
        name: "look_up".to_owned(),
        description: Some("Looks up".to_owned()),
        parameters: Json::parse(r#"{"type":"object","additionalProperties":false}"#),
        strict: Some(true),
        cache: None,
    };
    let request = Request {
        system: vec![Block::text("Be brief.")],
        turns: vec![
            turn(Role::User, vec![Content::Text("hi".to_owned()), Content::Text(String::new())]),
            turn(Role::System, vec![Content::Text("Now in French.".to_owned())]),
            turn(
                Role::Assistant,
                vec![
                    Content::Reasoning { text: "hm".to_owned(), signature: signed(Dialect::Anthropic) },
                    call("c1", None),
                    call("c2", None),
                ],
            ),
            turn(Role::User, vec![result("c1", r#"{"a":[1]}"#, false), result("c2", "broken", true)]),
        ],
        tools: vec![tool],
        tool_choice: Some(ToolChoice::Allowed { names: vec!["look_up".to_owned()], required: false }),
        parallel_tools: Some(false),
        user: Some("u".to_owned()),
        sampling: Sampling {
            max_output_tokens: Some(9),
            n: Some(1),
            temperature: Json::parse("0.70"),
            logprobs: Some(0),
            ..Sampling::default()
        },
        reasoning: Some(Reasoning { effort: Some(Effort::Medium), budget_tokens: None, visible: Some(true) }),
        service_tier: Some("auto".to_owned()),
        ..Request::default()
    };
    let (body, dropped) = written(&request, Quirks::default());
    assert_eq!(
        body,
        json!({
            "contents": [
                {"role": "user", "parts": [{"text": "hi"}, {"text": "Now in French."}]},
                {"role": "model", "parts": [
                    {"functionCall": {"id": "c1", "name": "look_up", "args": {"q": 1.0}}, "thoughtSignature": "skip_thought_signature_validator"},
                    {"functionCall": {"id": "c2", "name": "look_up", "args": {"q": 1.0}}},
                ]},
                {"role": "user", "parts": [
                    {"functionResponse": {"id": "c1", "name": "look_up", "response": {"a": [1]}}},
                    {"functionResponse": {"id": "c2", "name": "look_up", "response": {"error": "broken"}}},
                ]},
            ],
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "tools": [{"functionDeclarations": [
                {"name": "look_up", "description": "Looks up", "parametersJsonSchema": {"type": "object", "additionalProperties": false}},
            ]}],
            "toolConfig": {"functionCallingConfig": {"mode": "VALIDATED", "allowedFunctionNames": ["look_up"]}},
            "generationConfig": {
                "maxOutputTokens": 9, "temperature": 0.7, "responseLogprobs": true,
                "thinkingConfig": {"includeThoughts": true, "thinkingLevel": "MEDIUM"},
            },
        })
    );
    assert_eq!(dropped, ["user", "parallel_tool_calls", "tools.function.strict"]);
}

#[test]
fn signatures_go_back_to_their_own_vendor_only() {
    let request = |signature: Option<Signature>| Request {
        turns: vec![turn(
            Role::Assistant,
            vec![
                Content::Reasoning { text: "hm".to_owned(), signature: signature.clone() },
                Content::Text("so".to_owned()),
                call("c", signature),
            ],
        )],
        ..Request::default()
    };
    let parts = |vendor| written(&request(signed(vendor)), budget()).0["contents"][0]["parts"].clone();
    let function = json!({"id": "c", "name": "look_up", "args": {"q": 1.0}});
    assert_eq!(
        parts(Dialect::Gemini),
        json!([
            {"text": "hm", "thought": true, "thoughtSignature": "c2ln+/8="}, {"text": "so"},
            {"functionCall": function, "thoughtSignature": "c2ln+/8="},
        ])
    );
    // A model that thinks in budgets asks for no signature.
    assert_eq!(parts(Dialect::OpenAi), json!([{"text": "so"}, {"functionCall": function}]));
    let (body, _) = written(&request(signed(Dialect::Gemini)), Quirks::default());
    assert_eq!(body["contents"][0]["parts"][2]["thoughtSignature"], "c2ln+/8=");
}

#[test]
fn results_with_schemas_and_media_are_put_where_they_are_taken() {
    let image = Content::Image {
        source: Source::Base64 { mime: "image/png".to_owned(), data: "AAAA".to_owned() },
        detail: Some("high".to_owned()),
    };
    let schema = r##"{"$ref":"#/$defs/a"}"##;
    let blocks = vec![Block::text(schema), Block::new(image)];
    let outcome = Content::ToolResult { call_id: "c".to_owned(), name: Some("f".to_owned()), blocks, is_error: false };
    let request = Request { turns: vec![turn(Role::User, vec![outcome, result("orphan", "[1]", false)])], ..Request::default() };
    let (body, dropped) = written(&request, budget());
    assert_eq!(
        body["contents"][0]["parts"],
        json!([
            {"functionResponse": {"id": "c", "name": "f", "response": {"result": schema}}},
            {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
            {"functionResponse": {"id": "orphan", "name": "orphan", "response": {"result": "[1]"}}},
        ])
    );
    assert_eq!(dropped, ["image_url.detail"]);
}

#[test]
fn thinking_is_written_as_the_model_takes_it() {
    let thinking = |effort, budget_tokens, quirks| {
        let reasoning = Some(Reasoning { effort, budget_tokens, visible: None });
        let request = Request { reasoning, turns: vec![turn(Role::User, vec![Content::Text("hi".to_owned())])], ..Request::default() };
        written(&request, quirks).0["generationConfig"]["thinkingConfig"].clone()
    };
    assert_eq!(thinking(Some(Effort::High), None, budget()), json!({"thinkingBudget": 16_384}));
    assert_eq!(thinking(Some(Effort::None), None, budget()), json!({"thinkingBudget": 0}));
    assert_eq!(thinking(Some(Effort::High), Some(77), budget()), json!({"thinkingBudget": 77}));
    assert_eq!(thinking(Some(Effort::Max), None, Quirks::default()), json!({"thinkingLevel": "XHIGH"}));
    assert_eq!(thinking(None, Some(1_024), Quirks::default()), json!({"thinkingLevel": "LOW"}));
}

#[test]
fn what_cannot_be_said_is_refused_or_dropped_by_permission() {
    let custom = Tool { kind: ToolKind::Custom, name: "sh".to_owned(), description: None, parameters: None, strict: None, cache: None };
    let file = Content::Image { source: Source::File { id: "file-1".to_owned() }, detail: None };
    let bias = Unmodelled { field: "logit_bias".to_owned(), harmless: false };
    let label = Unmodelled { field: "store".to_owned(), harmless: true };
    let stops = Sampling { stop: (0..6).map(|n| n.to_string()).collect(), ..Sampling::default() };
    for (request, field) in [
        (Request { tools: vec![custom], ..Request::default() }, "tools"),
        (Request { turns: vec![turn(Role::User, vec![file])], ..Request::default() }, "file.file_id"),
        (Request { unmodelled: vec![label.clone(), bias], ..Request::default() }, "logit_bias"),
        (Request { sampling: stops, ..Request::default() }, "stop"),
        (
            Request {
                turns: vec![turn(Role::User, vec![Content::Opaque { kind: "search_result".to_owned(), json: Json::null() }])],
                ..Request::default()
            },
            "search_result",
        ),
    ] {
        assert_eq!(refused(&request).field, field);
        let permitted = write(&request, &Aim { drop_unsupported: true, ..aim(Quirks::default()) }).unwrap();
        assert!(permitted.dropped.iter().any(|dropped| dropped == field), "{:?}", permitted.dropped);
    }
    let request = Request { unmodelled: vec![label], ..Request::default() };
    assert_eq!(written(&request, Quirks::default()).1, ["store"]);
}

#[test]
fn models_without_sampling_or_schemas_are_spared() {
    let sampling = Sampling { temperature: Json::parse("1"), top_k: Json::parse("4"), ..Sampling::default() };
    let request = Request { sampling, ..Request::default() };
    let (body, dropped) = written(&request, Quirks { sampling: false, ..Quirks::default() });
    assert_eq!((&body["generationConfig"], &dropped[..]), (&json!({}), &["temperature".to_owned(), "top_k".to_owned()][..]));
    let output = OutputFormat::JsonSchema { name: None, description: None, schema: Json::empty_object(), strict: None };
    let request = Request { output, ..Request::default() };
    let unsupported = write(&request, &aim(Quirks { json_schema: false, ..Quirks::default() })).unwrap_err();
    assert_eq!(unsupported.field, "response_format");
}

fn any_content(role: Role) -> impl Strategy<Value = Content> {
    let text = "[a-z ]{1,12}";
    let media = || {
        let base64 = proptest::collection::vec(any::<u8>(), 0..9).prop_map(|bytes| {
            use base64::Engine;
            base64::engine::general_purpose::STANDARD.encode(bytes)
        });
        base64.prop_map(|data| Source::Base64 { mime: "image/png".to_owned(), data })
    };
    let own = (text, any::<bool>()).prop_map(|(text, has_signature)| {
        let signature = has_signature.then(|| signed(Dialect::Gemini)).flatten();
        match signature {
            Some(signature) => Content::Reasoning { text, signature: Some(signature) },
            None => Content::Text(text),
        }
    });
    let theirs = prop_oneof![
        text.prop_map(Content::Text),
        media().prop_map(|source| Content::Image { source, detail: None }),
        (text, any::<bool>()).prop_map(|(text, is_error)| Content::ToolResult {
            call_id: "c".to_owned(),
            name: Some("look_up".to_owned()),
            blocks: vec![Block::text(text)],
            is_error,
        }),
    ];
    match role {
        Role::Assistant => prop_oneof![own, Just(call("c", signed(Dialect::Gemini)))].boxed(),
        _ => theirs.boxed(),
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        asked in proptest::collection::vec(any_content(Role::User), 1..4),
        answered in proptest::collection::vec(any_content(Role::Assistant), 1..4),
        seed in proptest::option::of(0..100u32),
        named in any::<bool>(),
    ) {
        let request = Request {
            model: "m".to_owned(),
            include_usage: true,
            system: vec![Block::text("s")],
            turns: vec![turn(Role::User, asked), turn(Role::Assistant, answered)],
            sampling: Sampling { seed: seed.map(|seed| Json::of(&seed)), stop: vec!["x".to_owned()], ..Sampling::default() },
            tools: vec![Tool { kind: ToolKind::Function, name: "f".to_owned(), description: None, parameters: Json::parse(r#"{"type":"object"}"#), strict: None, cache: None }],
            tool_choice: named.then(|| ToolChoice::Named("f".to_owned())),
            output: OutputFormat::JsonObject,
            ..Request::default()
        };
        let body = write(&request, &aim(budget())).unwrap().body;
        prop_assert_eq!(read(&head(), &body).unwrap(), request);
    }

    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,80}") {
        let _ = read(&head(), &body);
        for body in [format!(r#"{{"contents":{text}}}"#), format!(r#"{{"contents":[{{"parts":[{{"functionCall":{{"name":"f","args":{text}}}}}]}}]}}"#)] {
            let _ = read(&head(), body.as_bytes());
        }
    }
}
