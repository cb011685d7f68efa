//! What must hold for every chat format alike: whoever has a caller's and an upstream's side is tested here as soon as it is registered.
//!
//! A format tells in [`known_losses`] what it cannot carry by rule; everything else has to come back as it went in.

use std::rc::Rc;

use bytes::Bytes;
use proptest::{prelude::*, sample::Index};

use super::{aim, formats, head, upstreams};
use crate::{
    dialect::{
        Charge, Dialect, Endpoint,
        canonical::{
            Answer, Block, BlockStart, Choice, Content, Effort, Finish, Json, OutputFormat, Reasoning, Request, Role, Signature, Source,
            StreamEvent, Tool, ToolChoice, ToolKind, Turn,
        },
        format::{UpstreamFormat, Writing},
        sse::{Decoder, Event},
    },
    domain::pricing::Quantities,
};

pub(super) fn writing(endpoint: Endpoint) -> Writing {
    Writing {
        head: head(endpoint),
        call_id: "req_7".to_owned(),
        model: "m".to_owned(),
        created: 1_700_000_000,
        include_usage: true,
        // Some formats show thoughts only to callers who asked for them.
        request: Some(Rc::new(Request {
            reasoning: Some(Reasoning { visible: Some(true), ..Reasoning::default() }),
            ..Request::default()
        })),
    }
}

/// Takes out of a call what this format does not carry, by its documented rules.
fn known_losses(endpoint: Endpoint, request: &mut Request) {
    let sampling = &mut request.sampling;
    match endpoint {
        Endpoint::ChatCompletions => {
            if let Some(reasoning) = &mut request.reasoning {
                // Words only, up to `xhigh`.
                let word = reasoning.as_effort().map(|effort| effort.min(Effort::ExtraHigh));
                *reasoning = Reasoning { effort: word, ..Reasoning::default() };
            }
        }
        Endpoint::Responses => {
            (sampling.n, sampling.top_k, sampling.seed) = (None, None, None);
            sampling.stop.clear();
        }
        Endpoint::Messages => {
            (sampling.n, sampling.seed, sampling.logprobs) = (None, None, None);
            (sampling.presence_penalty, sampling.frequency_penalty) = (None, None);
            sampling.max_output_tokens.get_or_insert(64_000);
            if request.reasoning.is_some() {
                // A model that thinks takes neither sampling nor a forced call.
                (sampling.temperature, sampling.top_p) = (None, None);
                request.tool_choice = request.tool_choice.take().map(|_| ToolChoice::Auto);
            }
            if request.parallel_tools == Some(false) {
                // Stands in the choice.
                request.tool_choice.get_or_insert(ToolChoice::Auto);
            }
            if let OutputFormat::JsonSchema { strict, .. } = &mut request.output {
                // Schemas are always kept to.
                *strict = Some(true);
            }
        }
        Endpoint::GenerateContent => request.parallel_tools = None,
        _ => {}
    }
}

/// The same call in one shape: neighbours of one role as one turn with results first, JSON in one spelling.
fn settled(mut request: Request) -> Request {
    let mut turns: Vec<Turn> = Vec::new();
    for turn in request.turns {
        match turns.last_mut().filter(|last| last.role == turn.role) {
            Some(last) => last.blocks.extend(turn.blocks),
            None => turns.push(turn),
        }
    }
    for turn in &mut turns {
        turn.blocks.sort_by_key(|block| !matches!(block.content, Content::ToolResult { .. }));
        turn.blocks.iter_mut().for_each(|block| {
            if let Content::ToolCall { arguments, signature, .. } = &mut block.content {
                // Gemini gets a mark in its place that says that there is none.
                *signature = None;
                *arguments = Json::parse(arguments).expect("JSON").to_value().to_string();
            }
            if let Content::ToolResult { name, .. } = &mut block.content {
                *name = None;
            }
        });
    }
    for tool in &mut request.tools {
        tool.strict = tool.strict.filter(|strict| *strict);
        tool.parameters = tool.parameters.take().map(|schema| Json::of(&schema.to_value()));
    }
    if let OutputFormat::JsonSchema { name, schema, strict, .. } = &mut request.output {
        *schema = Json::of(&schema.to_value());
        (*name, *strict) = (None, strict.filter(|strict| *strict));
    }
    if let Some(reasoning) = &mut request.reasoning {
        reasoning.visible = None;
    }
    // How a body was asked for, not what for; and what answers repeat of it.
    (request.streamed, request.include_usage, request.echo) = (false, false, None);
    request.turns = turns;
    request
}

pub(super) fn words() -> impl Strategy<Value = String> {
    "[a-z\u{e9}\u{1f980}\"\\\\\n]{1,8}x"
}

fn json_object() -> impl Strategy<Value = String> {
    prop_oneof![Just("{}".to_owned()), words().prop_map(|text| serde_json::json!({"a": text, "b": [1, {"c": null}]}).to_string())]
}

fn number() -> impl Strategy<Value = Json> {
    prop::sample::select(vec!["0.75", "0.5", "0.25"]).prop_map(|text| Json::parse(text).expect("JSON"))
}

fn user_block() -> impl Strategy<Value = Block> {
    let image = Content::Image { source: Source::Base64 { mime: "image/png".into(), data: "QUI=".into() }, detail: None };
    prop_oneof![3 => words().prop_map(Block::text), 1 => Just(Block::new(image))]
}

/// A question, or a call and its result.
fn exchange() -> impl Strategy<Value = Vec<Turn>> {
    let turn = |role, blocks| Turn { role, name: None, blocks };
    let question = prop::collection::vec(user_block(), 1..3).prop_map(move |blocks| vec![turn(Role::User, blocks)]);
    let called = (words(), "[a-z]{4,8}", json_object(), words()).prop_map(move |(said, id, arguments, answered)| {
        let id = format!("call_{id}");
        let call = Content::ToolCall { id: id.clone(), name: "get".into(), arguments, kind: ToolKind::Function, signature: None };
        let result = Content::ToolResult { call_id: id, name: None, blocks: vec![Block::text(answered)], is_error: false };
        vec![turn(Role::Assistant, vec![Block::text(said), Block::new(call)]), turn(Role::User, vec![Block::new(result)])]
    });
    prop_oneof![question, called]
}

prop_compose! {
    fn request()(
        system in prop::option::of(words()),
        first in words(),
        exchanges in prop::collection::vec(exchange(), 0..4),
        (temperature, top_p) in (prop::option::of(number()), prop::option::of(number())),
        max_output_tokens in prop::option::of(1_024u64..9_000),
        n in prop::option::of(2u64..4),
        stop in prop::collection::vec("[A-Z]{2,5}", 0..3),
        effort in prop::option::of(prop::sample::select(vec![Effort::Low, Effort::Medium, Effort::High])),
        choice in prop::option::of(prop::sample::select(vec![ToolChoice::Auto, ToolChoice::Required, ToolChoice::Named("get".into())])),
        schema in prop::option::of(json_object()),
        parallel in prop::option::of(Just(false)),
        described in prop::option::of(words()),
    ) -> Request {
        let turn = Turn { role: Role::User, name: None, blocks: vec![Block::text(first)] };
        let parameters = Json::parse(r#"{"type":"object","properties":{"a":{"type":"string"}}}"#);
        let tool = Tool { kind: ToolKind::Function, name: "get".into(), description: described, parameters, strict: None, cache: None };
        let output = match schema.and_then(|schema| Json::parse(&schema)) {
            Some(schema) => OutputFormat::JsonSchema { name: None, description: None, schema, strict: None },
            None => OutputFormat::Text,
        };
        let mut request = Request {
            model: "m".into(),
            system: system.into_iter().map(Block::text).collect(),
            turns: [turn].into_iter().chain(exchanges.into_iter().flatten()).collect(),
            tools: vec![tool],
            tool_choice: choice,
            parallel_tools: parallel,
            reasoning: effort.map(|effort| Reasoning { effort: Some(effort), ..Reasoning::default() }),
            output,
            ..Request::default()
        };
        let sampling = &mut request.sampling;
        (sampling.temperature, sampling.top_p, sampling.stop) = (temperature, top_p, stop);
        (sampling.max_output_tokens, sampling.n) = (max_output_tokens, n);
        request
    }
}

/// Blocks of an answer, cut into pieces.
#[derive(Debug, Clone)]
enum Said {
    Text(Vec<String>),
    Thought(Vec<String>),
    Call { id: String, arguments: Vec<String> },
}

fn said() -> impl Strategy<Value = Vec<Said>> {
    let pieces = || prop::collection::vec(words(), 1..4);
    let arguments = (json_object(), any::<Index>()).prop_map(|(text, cut)| {
        let at = (0..=text.len()).filter(|at| text.is_char_boundary(*at)).collect::<Vec<_>>();
        let (first, rest) = text.split_at(at[cut.index(at.len())]);
        vec![first.to_owned(), rest.to_owned()]
    });
    let call = ("[a-z]{4,8}", arguments).prop_map(|(id, arguments)| Said::Call { id: format!("call_{id}"), arguments });
    (prop::option::of(pieces().prop_map(Said::Thought)), prop::option::of(pieces().prop_map(Said::Text)), prop::collection::vec(call, 0..3))
        .prop_map(|(thought, text, mut calls)| {
            // Ids are unique in an answer.
            calls.dedup_by(
                |left, right| matches!((left, right), (Said::Call { id: left, .. }, Said::Call { id: right, .. }) if left == right),
            );
            thought.into_iter().chain(text).chain(calls).collect()
        })
}

fn quantities() -> impl Strategy<Value = Quantities> {
    (0..9_000u64, 0..900u64, 1..9_000u64, 0..900u64).prop_map(|(input, cached, output, reasoning)| Quantities {
        input_tokens: input,
        cached_input_tokens: cached,
        output_tokens: output,
        reasoning_tokens: reasoning,
        ..Quantities::default()
    })
}

/// An answer as a client puts it together.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    thoughts: String,
    text: String,
    calls: Vec<(String, String, String)>,
    finish: Option<Finish>,
    /// Input, of it cached, output.
    usage: (u64, u64, u64),
}

impl Heard {
    fn used(usage: &Quantities) -> (u64, u64, u64) {
        (usage.all_input_tokens(), usage.cached_input_tokens, usage.all_output_tokens())
    }

    fn of_events(events: &[StreamEvent]) -> Self {
        let mut heard = Self::default();
        let mut open = None;
        for event in events {
            match event {
                StreamEvent::BlockStart { start, .. } => {
                    assert!(open.replace(start).is_none(), "one block after the other: {events:?}");
                    if let BlockStart::ToolCall { id, name, .. } = start {
                        heard.calls.push((id.clone(), name.clone(), String::new()));
                    }
                }
                StreamEvent::Delta { text, .. } => match open {
                    Some(BlockStart::Text | BlockStart::Refusal) => heard.text.push_str(text),
                    Some(BlockStart::Reasoning) => heard.thoughts.push_str(text),
                    Some(BlockStart::ToolCall { .. }) => heard.calls.last_mut().expect("a call").2.push_str(text),
                    None => panic!("a delta outside of blocks: {events:?}"),
                },
                StreamEvent::BlockStop { .. } => assert!(open.take().is_some(), "an open block ends: {events:?}"),
                StreamEvent::Usage(usage) => heard.usage = Self::used(usage),
                StreamEvent::Finish { finish, .. } => assert!(heard.finish.replace(*finish).is_none(), "one finish: {events:?}"),
                StreamEvent::Error { message } => panic!("{message}: {events:?}"),
                StreamEvent::Start { .. }
                | StreamEvent::Signed { .. }
                | StreamEvent::Cited { .. }
                | StreamEvent::Logprobs { .. }
                | StreamEvent::End
                | StreamEvent::Ping => {}
            }
        }
        heard.settle()
    }

    fn of_answer(answer: &Answer) -> Self {
        let mut heard = Self { usage: answer.usage.as_ref().map(Self::used).unwrap_or_default(), ..Self::default() };
        let [choice] = &answer.choices[..] else { panic!("one choice: {answer:?}") };
        heard.finish = Some(choice.finish);
        for block in &choice.blocks {
            match &block.content {
                Content::Text(text) => heard.text.push_str(text),
                Content::Reasoning { text, .. } => heard.thoughts.push_str(text),
                Content::ToolCall { id, name, arguments, .. } => heard.calls.push((id.clone(), name.clone(), arguments.clone())),
                other => panic!("{other:?}"),
            }
        }
        heard.settle()
    }

    fn settle(mut self) -> Self {
        for (_, _, arguments) in &mut self.calls {
            *arguments = Json::parse(arguments).unwrap_or_else(|| panic!("no JSON: {arguments}")).to_value().to_string();
        }
        self
    }
}

/// The signature without which a format has no place for a thought.
fn signature(endpoint: Endpoint) -> Signature {
    Signature {
        vendor: endpoint.dialect(),
        value: "c2ln".to_owned(),
        sealed: endpoint.dialect() == Dialect::OpenAi,
        id: Some("rs_1".to_owned()),
    }
}

fn events(endpoint: Endpoint, said: &[Said], finish: Finish, usage: Quantities) -> Vec<StreamEvent> {
    let choice = 0;
    let mut events = vec![StreamEvent::Start { id: None, model: None }];
    for (block, said) in (0u32..).zip(said) {
        let (start, pieces) = match said {
            Said::Text(pieces) => (BlockStart::Text, pieces),
            Said::Thought(pieces) => (BlockStart::Reasoning, pieces),
            Said::Call { id, arguments } => {
                (BlockStart::ToolCall { id: id.clone(), name: "get".into(), kind: ToolKind::Function }, arguments)
            }
        };
        events.push(StreamEvent::BlockStart { choice, block, start });
        events.extend(pieces.iter().map(|text| StreamEvent::Delta { choice, block, text: text.clone() }));
        if matches!(said, Said::Thought(_)) {
            events.push(StreamEvent::Signed { choice, block, signature: signature(endpoint) });
        }
        events.push(StreamEvent::BlockStop { choice, block });
    }
    events.extend([StreamEvent::Usage(usage), StreamEvent::Finish { choice, finish, stop_sequence: None }, StreamEvent::End]);
    events
}

fn answer(endpoint: Endpoint, said: &[Said], finish: Finish, usage: Quantities) -> Answer {
    let block = |said: &Said| {
        Block::new(match said {
            Said::Text(pieces) => Content::Text(pieces.concat()),
            Said::Thought(pieces) => Content::Reasoning { text: pieces.concat(), signature: Some(signature(endpoint)) },
            Said::Call { id, arguments } => Content::ToolCall {
                id: id.clone(),
                name: "get".into(),
                arguments: arguments.concat(),
                kind: ToolKind::Function,
                signature: None,
            },
        })
    };
    let choice = Choice { blocks: said.iter().map(block).collect(), finish, stop_sequence: None, logprobs: None };
    Answer { choices: vec![choice], usage: Some(usage), ..Answer::default() }
}

/// What a stream of these bytes, cut anywhere, is read as.
pub(super) fn read_stream(upstream: &dyn UpstreamFormat, bytes: &[u8], cuts: &[Index]) -> Vec<StreamEvent> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
    at.sort_unstable();
    let (mut decoder, mut reader, mut events) = (Decoder::new(1 << 20), upstream.stream_reader(), Vec::new());
    for span in at.windows(2) {
        decoder.push(Bytes::copy_from_slice(&bytes[span[0]..span[1]]));
        while let Some(event) = decoder.next_event() {
            reader.read(&event.expect("short"), &mut events);
        }
    }
    if let Some(event) = decoder.finish() {
        reader.read(&event, &mut events);
    }
    reader.ended(&mut events);
    events
}

fn finish_of(said: &[Said], length: bool) -> Finish {
    match said.iter().any(|said| matches!(said, Said::Call { .. })) {
        _ if length => Finish::Length,
        true => Finish::ToolCalls,
        false => Finish::Stop,
    }
}

/// Anything, and things that look like the real ones.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let tokens = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "null",
        "7",
        "-1e9",
        "\"\"",
        "\"a\"",
        "\"type\"",
        "\"content\"",
        "\"message\"",
        "\"messages\"",
        "\"delta\"",
        "\"choices\"",
        "\"index\"",
        "\"role\"",
        "\"user\"",
        "\"model\"",
        "\"tool_calls\"",
        "\"usage\"",
        "\"error\"",
        "\"contents\"",
        "\"parts\"",
        "\"input\"",
        "\"output\"",
        "\"text\"",
        "\"id\"",
    ]);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        prop::collection::vec(tokens, 0..40).prop_map(|tokens| tokens.concat().into_bytes())
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn calls_come_back(request in request()) {
        for (endpoint, caller, upstream) in formats() {
            let mut expected = request.clone();
            known_losses(endpoint, &mut expected);
            let written = upstream.write_request(&expected, &aim("m")).unwrap_or_else(|refused| panic!("{endpoint:?}: {refused}"));
            prop_assert_eq!(&written.dropped, &Vec::<String>::new(), "{:?}", endpoint);
            let read = caller.read_request(&head(endpoint), &written.body);
            let read = read.unwrap_or_else(|invalid| panic!("{endpoint:?}: {invalid}: {}", String::from_utf8_lossy(&written.body)));
            prop_assert_eq!(settled(read), settled(expected), "{:?}: {}", endpoint, String::from_utf8_lossy(&written.body));
        }
    }

    #[test]
    fn streams_come_back(said in said(), length: bool, usage in quantities(), cuts in prop::collection::vec(any::<Index>(), 0..20)) {
        for (endpoint, caller, upstream) in formats() {
            let events = events(endpoint, &said, finish_of(&said, length), usage);
            let mut writer = caller.stream_writer(&writing(endpoint));
            let mut out = Vec::new();
            events.iter().for_each(|event| writer.write(event, &mut out));
            writer.finish(&Charge { cost_micros: 12, quantities: usage, ..Charge::default() }, &mut out);
            let read = read_stream(upstream, &out, &cuts);
            prop_assert_eq!(read.last(), Some(&StreamEvent::End), "{:?}: {}", endpoint, String::from_utf8_lossy(&out));
            prop_assert_eq!(Heard::of_events(&read), Heard::of_events(&events), "{:?}: {}", endpoint, String::from_utf8_lossy(&out));
        }
    }

    #[test]
    fn answers_come_back(said in said(), length: bool, usage in quantities()) {
        for (endpoint, caller, upstream) in formats() {
            let answer = answer(endpoint, &said, finish_of(&said, length), usage);
            let body = caller.write_answer(&answer, &writing(endpoint), &Charge { cost_micros: 12, quantities: usage, ..Charge::default() });
            let read = upstream.read_answer(&body).unwrap_or_else(|garbage| panic!("{endpoint:?}: {garbage}"));
            prop_assert_eq!(Heard::of_answer(&read), Heard::of_answer(&answer), "{:?}: {}", endpoint, String::from_utf8_lossy(&body));
        }
    }

    #[test]
    fn a_stream_that_is_cut_has_no_good_end(said in said(), usage in quantities(), cut: Index) {
        for (endpoint, caller, upstream) in formats() {
            let events = events(endpoint, &said, finish_of(&said, false), usage);
            let (mut writer, mut out) = (caller.stream_writer(&writing(endpoint)), Vec::new());
            events.iter().for_each(|event| writer.write(event, &mut out));
            // Everything up to here came before the end.
            let read = read_stream(upstream, &out[..cut.index(out.len() + 1)], &[]);
            prop_assert!(!read.contains(&StreamEvent::End), "{:?}: {}", endpoint, String::from_utf8_lossy(&out));
        }
    }

    #[test]
    fn nothing_makes_a_reader_panic(bytes in garbage(), name in prop::option::of("[a-zA-Z_.:]{0,20}")) {
        for (_, caller, _) in formats() {
            let _ = caller.read_request(&head(Endpoint::GenerateContent), &bytes);
        }
        for (_, upstream) in upstreams() {
            let _ = upstream.read_answer(&bytes);
            let (mut reader, mut events) = (upstream.stream_reader(), Vec::new());
            for name in [name.clone(), Some("contentBlockDelta".to_owned()), Some("content_block_delta".to_owned())] {
                let event = Event { raw: Bytes::new(), data: Bytes::copy_from_slice(&bytes), event: name.map(Bytes::from) };
                reader.read(&event, &mut events);
            }
            reader.ended(&mut events);
        }
    }
}
