//! The table of what is carried between dialects, `docs/translation.md`: made by writing one call a row in every format of upstreams.

use std::fmt::Write;

use super::{aim, upstreams};
use crate::dialect::{
    Dialect, Endpoint,
    canonical::{
        Block, CacheHint, Content, Effort, Json, OutputFormat, Reasoning, Request, Role, Signature, Source, Tool, ToolChoice, ToolKind,
        Turn, Unmodelled,
    },
    format::{Aim, UpstreamFormat},
};

const UPDATE: &str = "PIXGATE_TEST_UPDATE_DOCS";

/// Something a call may have, and what it is called by callers of chat, Responses, Messages and Gemini; `–` where they cannot say it.
struct Row {
    what: &'static str,
    said: [&'static str; 4],
    set: fn(&mut Request),
}

const CALLERS: [&str; 4] = ["OpenAI chat", "OpenAI Responses", "Anthropic Messages", "Gemini"];
const NOBODY: &str = "–";

const fn row(what: &'static str, said: [&'static str; 4], set: fn(&mut Request)) -> Row {
    Row { what, said, set }
}

fn json(text: &str) -> Option<Json> {
    Json::parse(text)
}

fn inline(mime: &str) -> Source {
    Source::Base64 { mime: mime.to_owned(), data: "QUI=".to_owned() }
}

fn url(url: &str, mime: &str) -> Source {
    Source::Url { url: url.to_owned(), mime: Some(mime.to_owned()) }
}

/// Adds to what the user says.
fn say(request: &mut Request, content: Content) {
    request.turns[0].blocks.push(Block::new(content));
}

fn document(request: &mut Request, source: Source) {
    say(request, Content::Document { source, name: Some("report".to_owned()) });
}

fn tool(request: &mut Request, kind: ToolKind) {
    request.tools.push(Tool { kind, name: "get".to_owned(), description: None, parameters: None, strict: None, cache: None });
}

fn choice(request: &mut Request, choice: ToolChoice) {
    tool(request, ToolKind::Function);
    request.tool_choice = Some(choice);
}

/// A call and its result.
fn called(request: &mut Request, result: Vec<Block>, is_error: bool) {
    tool(request, ToolKind::Function);
    let (id, name, arguments) = ("call_1".to_owned(), "get".to_owned(), "{}".to_owned());
    let call = Content::ToolCall { id: id.clone(), name, arguments, kind: ToolKind::Function, signature: None };
    let answer = Content::ToolResult { call_id: id, name: None, blocks: result, is_error };
    turn(request, Role::Assistant, call);
    turn(request, Role::User, answer);
}

fn turn(request: &mut Request, role: Role, content: Content) {
    request.turns.push(Turn { role, name: None, blocks: vec![Block::new(content)] });
}

fn thought(request: &mut Request, vendor: Dialect) {
    let sealed = vendor == Dialect::OpenAi;
    let signature = Signature { vendor, value: "c2ln".to_owned(), sealed, id: sealed.then(|| "rs_1".to_owned()) };
    let blocks = vec![Block::new(Content::Reasoning { text: "hm".to_owned(), signature: Some(signature) }), Block::text("so")];
    request.turns.push(Turn { role: Role::Assistant, name: None, blocks });
    turn(request, Role::User, Content::Text("go on".to_owned()));
}

fn think(request: &mut Request, reasoning: Reasoning) {
    request.reasoning = Some(reasoning);
}

#[rustfmt::skip]
const ROWS: [Row; 46] = [
    row("instructions", ["`system`, `developer`", "`instructions`", "`system`", "`systemInstruction`"], |r| r.system.push(Block::text("kind"))),
    row("instructions in the middle", ["`system`, `developer`", "`system`, `developer`", "`system`", NOBODY], |r| turn(r, Role::System, Content::Text("now".into()))),
    row("name of a participant", ["`name`", NOBODY, NOBODY, NOBODY], |r| r.turns[0].name = Some("ann".into())),
    row("image, inline", ["`image_url`", "`input_image`", "`image`", "`inlineData`"], |r| say(r, Content::Image { source: inline("image/png"), detail: None })),
    row("image, by URL", ["`image_url`", "`input_image`", "`image`", "`fileData`"], |r| say(r, Content::Image { source: url("https://example.com/a.png", "image/png"), detail: None })),
    row("detail of an image", ["`image_url.detail`", "`input_image.detail`", NOBODY, NOBODY], |r| say(r, Content::Image { source: inline("image/png"), detail: Some("low".into()) })),
    row("PDF, inline", ["`file`", "`input_file`", "`document`", "`inlineData`"], |r| document(r, inline("application/pdf"))),
    row("PDF, by URL", ["`file`", "`input_file`", "`document`", "`fileData`"], |r| document(r, url("https://example.com/a.pdf", "application/pdf"))),
    row("document as text", [NOBODY, NOBODY, "`document`", NOBODY], |r| document(r, Source::Text("plain".into()))),
    row("uploaded file", ["`file.file_id`", "`input_file.file_id`", "`document`", NOBODY], |r| document(r, Source::File { id: "file-1".into() })),
    row("sound", ["`input_audio`", "`input_audio`", NOBODY, "`inlineData`"], |r| say(r, Content::Audio { source: inline("audio/wav") })),
    row("tools", ["`tools`", "`tools`", "`tools`", "`functionDeclarations`"], |r| tool(r, ToolKind::Function)),
    row("tools that take text", ["`custom`", "`custom`", NOBODY, NOBODY], |r| tool(r, ToolKind::Custom)),
    row("strict tools", ["`strict`", "`strict`", "`strict`", NOBODY], |r| { tool(r, ToolKind::Function); r.tools[0].strict = Some(true); }),
    row("some tool has to be called", ["`required`", "`required`", "`any`", "`ANY`"], |r| choice(r, ToolChoice::Required)),
    row("no tool may be called", ["`none`", "`none`", "`none`", "`NONE`"], |r| choice(r, ToolChoice::None)),
    row("this tool has to be called", ["`function`", "`function`", "`tool`", "`allowedFunctionNames`"], |r| choice(r, ToolChoice::Named("get".into()))),
    row("these tools may be called", ["`allowed_tools`", "`allowed_tools`", NOBODY, NOBODY], |r| choice(r, ToolChoice::Allowed { names: vec!["get".into()], required: false })),
    row("one tool call at a time", ["`parallel_tool_calls`", "`parallel_tool_calls`", "`disable_parallel_tool_use`", NOBODY], |r| { tool(r, ToolKind::Function); r.parallel_tools = Some(false); }),
    row("calls and results", ["`tool_calls`, `tool`", "`function_call`, `function_call_output`", "`tool_use`, `tool_result`", "`functionCall`, `functionResponse`"], |r| called(r, vec![Block::text("sun")], false)),
    row("image in a result", [NOBODY, "`function_call_output`", "`tool_result`", "`functionResponse`"], |r| called(r, vec![Block::new(Content::Image { source: inline("image/png"), detail: None })], false)),
    row("a result that is an error", [NOBODY, NOBODY, "`is_error`", NOBODY], |r| called(r, vec![Block::text("no")], true)),
    row("most output tokens", ["`max_completion_tokens`", "`max_output_tokens`", "`max_tokens`", "`maxOutputTokens`"], |r| r.sampling.max_output_tokens = Some(7_000)),
    row("several answers", ["`n`", NOBODY, NOBODY, "`candidateCount`"], |r| r.sampling.n = Some(2)),
    row("temperature", ["`temperature`", "`temperature`", "`temperature`", "`temperature`"], |r| r.sampling.temperature = json("0.5")),
    row("top p", ["`top_p`", "`top_p`", "`top_p`", "`topP`"], |r| r.sampling.top_p = json("0.5")),
    row("top k", ["`top_k`", NOBODY, "`top_k`", "`topK`"], |r| r.sampling.top_k = json("40")),
    row("seed", ["`seed`", NOBODY, NOBODY, "`seed`"], |r| r.sampling.seed = json("7")),
    row("presence penalty", ["`presence_penalty`", NOBODY, NOBODY, "`presencePenalty`"], |r| r.sampling.presence_penalty = json("0.5")),
    row("frequency penalty", ["`frequency_penalty`", NOBODY, NOBODY, "`frequencyPenalty`"], |r| r.sampling.frequency_penalty = json("0.5")),
    row("stop texts", ["`stop`", NOBODY, "`stop_sequences`", "`stopSequences`"], |r| r.sampling.stop.push("END".into())),
    row("log probabilities", ["`logprobs`", "`top_logprobs`", NOBODY, "`responseLogprobs`"], |r| r.sampling.logprobs = Some(2)),
    row("effort of thinking", ["`reasoning_effort`", "`reasoning.effort`", "`output_config.effort`", "`thinkingLevel`"], |r| think(r, Reasoning { effort: Some(Effort::High), ..Reasoning::default() })),
    row("tokens for thinking", ["`reasoning.max_tokens`", NOBODY, "`budget_tokens`", "`thinkingBudget`"], |r| think(r, Reasoning { budget_tokens: Some(4_096), ..Reasoning::default() })),
    row("Claude's signed thoughts", ["`reasoning_details`", "`reasoning`", "`thinking`", NOBODY], |r| thought(r, Dialect::Anthropic)),
    row("OpenAI's sealed thoughts", ["`reasoning_details`", "`reasoning`", NOBODY, NOBODY], |r| thought(r, Dialect::OpenAi)),
    row("Gemini's signed thoughts", ["`reasoning_details`", "`reasoning`", NOBODY, "`thoughtSignature`"], |r| thought(r, Dialect::Gemini)),
    row("what earlier answers cite", ["`annotations`", "`annotations`", "`citations`", NOBODY], |r| r.unmodelled.push(Unmodelled { field: "citations".into(), harmless: true })),
    row("answer as JSON", ["`json_object`", "`json_object`", NOBODY, "`responseMimeType`"], |r| r.output = OutputFormat::JsonObject),
    row("answer by a schema", ["`json_schema`", "`json_schema`", "`output_config.format`", "`responseJsonSchema`"], |r| r.output = OutputFormat::JsonSchema { name: None, description: None, schema: Json::empty_object(), strict: None }),
    row("verbosity", ["`verbosity`", "`text.verbosity`", NOBODY, NOBODY], |r| r.verbosity = Some("low".into())),
    row("end of a cached prompt", ["`cache_control`", "`prompt_cache_breakpoint`", "`cache_control`", NOBODY], |r| r.turns[0].blocks[0].cache = Some(CacheHint { ttl: None })),
    row("key of a cached prompt", ["`prompt_cache_key`", "`prompt_cache_key`", NOBODY, NOBODY], |r| r.cache_key = Some("k".into())),
    row("service tier", ["`service_tier`", "`service_tier`", "`service_tier`", "`serviceTier`"], |r| r.service_tier = Some("priority".into())),
    row("end user", ["`user`", "`user`", "`metadata.user_id`", NOBODY], |r| r.user = Some("u".into())),
    row("labels", ["`metadata`", "`metadata`", NOBODY, NOBODY], |r| r.metadata = json(r#"{"a":"b"}"#)),
];

fn plain() -> Request {
    let turn = Turn { role: Role::User, name: None, blocks: vec![Block::text("hi")] };
    Request { model: "m".to_owned(), turns: vec![turn], ..Request::default() }
}

/// What becomes of this at an upstream: `carried`, `dropped` (and listed), `left out` (by a rule below) or `refused`.
fn fate(upstream: &dyn UpstreamFormat, row: &Row) -> &'static str {
    let mut request = plain();
    (row.set)(&mut request);
    let written = |request: &Request, aim: &Aim<'_>| upstream.write_request(request, aim);
    let plain = written(&plain(), &aim("m")).expect("a plain call");
    match written(&request, &aim("m")) {
        Err(_) => "refused",
        Ok(written) if !written.dropped.is_empty() => "dropped",
        Ok(written) if is_left_out(upstream, &request, &written.body, &plain.body) => "left out",
        Ok(_) => "carried",
    }
}

/// Whether the body is the same without it; what needs tools or a conversation around it is taken out alone.
fn is_left_out(upstream: &dyn UpstreamFormat, request: &Request, body: &[u8], plain: &[u8]) -> bool {
    let mut without = request.clone();
    without.parallel_tools = None;
    without.tool_choice = None;
    without.tools.iter_mut().for_each(|tool| tool.strict = None);
    for turn in &mut without.turns {
        turn.blocks.retain(|block| !matches!(block.content, Content::Reasoning { .. }));
        for block in &mut turn.blocks {
            match &mut block.content {
                Content::ToolResult { is_error, .. } => *is_error = false,
                Content::Image { detail, .. } => *detail = None,
                _ => {}
            }
        }
    }
    body == plain || without != *request && upstream.write_request(&without, &aim("m")).is_ok_and(|written| written.body == body)
}

fn upstream_name(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::ChatCompletions => CALLERS[0],
        Endpoint::Responses => CALLERS[1],
        Endpoint::Messages => CALLERS[2],
        Endpoint::GenerateContent => CALLERS[3],
        _ => "Bedrock Converse",
    }
}

fn tables() -> String {
    let mut text = String::new();
    let header = |text: &mut String, names: &[&str]| {
        writeln!(text, "| | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len())).expect("memory");
    };
    writeln!(text, "### What callers call it\n").expect("memory");
    header(&mut text, &CALLERS);
    for row in &ROWS {
        writeln!(text, "| {} | {} |", row.what, row.said.join(" | ")).expect("memory");
    }
    writeln!(text, "\n### What becomes of it upstream\n").expect("memory");
    let upstreams: Vec<_> = upstreams().collect();
    header(&mut text, &upstreams.iter().map(|(endpoint, _)| upstream_name(*endpoint)).collect::<Vec<_>>());
    for row in &ROWS {
        let fates: Vec<&str> = upstreams.iter().map(|(_, upstream)| fate(*upstream, row)).collect();
        writeln!(text, "| {} | {} |", row.what, fates.join(" | ")).expect("memory");
    }
    text
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the switch that rewrites the table")]
fn the_document_tells_what_the_code_does() {
    const START: &str =
        "<!-- Generated from src/dialect/tests/table.rs; to update: PIXGATE_TEST_UPDATE_DOCS=1 cargo test --lib dialect:: -->\n";
    const END: &str = "<!-- End of the generated part -->\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/translation.md");
    let text = std::fs::read_to_string(path).expect("the document");
    let (before, rest) = text.split_once(START).expect("the start of the generated part");
    let (found, after) = rest.split_once(END).expect("the end of the generated part");
    let made = tables();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(path, format!("{before}{START}{made}{END}{after}")).expect("writable");
        return;
    }
    assert!(found == made, "docs/translation.md is stale; update it with {UPDATE}=1 cargo test --lib dialect::\n{made}");
}
