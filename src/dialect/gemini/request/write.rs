//! A call of another dialect, written for Gemini.
//!
//! Rules where the two differ: instructions in the middle become a part of the user; neighbours of one role are merged; thoughts of other
//! vendors, cache hints, names of participants, labels and the wish for one tool call at a time are left out; results of tools are objects;
//! media in a result follow it as parts.

use std::borrow::Cow;

use serde::Serialize;

use super::parts::is_vendors_own;
use crate::dialect::{
    canonical::{Block, Content, Effort, Json, OutputFormat, Request, Role, Source, Tool, ToolChoice, ToolKind},
    format::{Aim, ReasoningStyle, Unsupported, Written},
    gemini::{
        NO_SIGNATURES,
        written::{self, FileData, FunctionResponse, Part},
    },
    json,
    losses::{self, Losses},
};

const STOPS_MAX: usize = 5;
/// What every model that thinks by a budget takes.
const THINKING_TOKENS_MAX: u64 = 24_576;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    contents: Vec<written::Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<written::Content<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolSet<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<ToolConfig<'a>>,
    generation_config: GenerationConfig<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolSet<'a> {
    function_declarations: Vec<Declaration<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Declaration<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_json_schema: Option<&'a Json>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfig<'a> {
    function_calling_config: Calling<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Calling<'a> {
    mode: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_function_names: Vec<&'a str>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct GenerationConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<&'a Json>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    response_logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_json_schema: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<ThinkingConfig>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ThinkingConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    include_thoughts: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_level: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_budget: Option<u64>,
}

pub fn write(request: &Request, aim: &Aim<'_>) -> Result<Written, Unsupported> {
    let mut writer = Writer { aim, losses: Losses::of(request, aim.drop_unsupported) };
    writer.losses.take_unmodelled(&request.unmodelled)?;
    for (part, is_there) in [
        (losses::Part::User, request.user.is_some()),
        (losses::Part::Metadata, request.metadata.is_some()),
        (losses::Part::CacheKey, request.cache_key.is_some()),
        (losses::Part::Verbosity, request.verbosity.is_some()),
        (losses::Part::ParallelTools, request.parallel_tools == Some(false)),
    ] {
        if is_there {
            writer.losses.drop(part);
        }
    }
    let mut system = Vec::new();
    for block in &request.system {
        writer.push_block(&mut system, block, &[])?;
    }
    let body = Body {
        contents: writer.contents(request)?,
        system_instruction: (!system.is_empty()).then_some(written::Content { parts: system, role: None }),
        tools: writer.tools(&request.tools)?,
        tool_config: request.tool_choice.as_ref().filter(|_| !request.tools.is_empty()).map(tool_config),
        generation_config: writer.generation(request)?,
        service_tier: writer.service_tier(request.service_tier.as_deref()),
    };
    let body = serde_json::to_vec(&body).unwrap_or_default();
    Ok(Written { dropped: writer.losses.into_dropped(), ..Written::json(body) })
}

/// Name of the function that a call id stands for; the latest counts.
fn name_of<'a>(request: &'a Request, id: &str) -> Option<&'a str> {
    let blocks = request.turns.iter().rev().flat_map(|turn| turn.blocks.iter().rev());
    blocks.map(|block| &block.content).find_map(|content| match content {
        Content::ToolCall { id: made, name, .. } if made == id => Some(&**name),
        _ => None,
    })
}

struct Writer<'a> {
    aim: &'a Aim<'a>,
    losses: Losses,
}

impl Writer<'_> {
    fn contents<'r>(&mut self, request: &'r Request) -> Result<Vec<written::Content<'r>>, Unsupported> {
        let names: Vec<(&str, &str)> = request
            .turns
            .iter()
            .flat_map(|turn| &turn.blocks)
            .filter_map(|block| match &block.content {
                Content::ToolResult { call_id, name, .. } => {
                    Some((&**call_id, name.as_deref().or_else(|| name_of(request, call_id)).unwrap_or(call_id)))
                }
                _ => None,
            })
            .collect();
        let mut contents: Vec<written::Content<'r>> = Vec::with_capacity(request.turns.len());
        for turn in &request.turns {
            if turn.name.is_some() {
                self.losses.drop(losses::Part::ParticipantName);
            }
            let role = if turn.role == Role::Assistant { "model" } else { "user" };
            let mut parts = Vec::with_capacity(turn.blocks.len());
            for block in &turn.blocks {
                self.push_block(&mut parts, block, &names)?;
            }
            if turn.role == Role::Assistant && self.aim.quirks.reasoning == ReasoningStyle::Effort {
                sign_first_call(&mut parts);
            }
            match contents.last_mut() {
                _ if parts.is_empty() => {}
                Some(last) if last.role == Some(role) => last.parts.append(&mut parts),
                _ => contents.push(written::Content { parts, role: Some(role) }),
            }
        }
        Ok(contents)
    }

    /// `names`: call ids of results and what their functions are called.
    fn push_block<'r>(&mut self, parts: &mut Vec<Part<'r>>, block: &'r Block, names: &[(&'r str, &'r str)]) -> Result<(), Unsupported> {
        if block.cache.is_some() {
            self.losses.drop(losses::Part::CacheHints);
        }
        match &block.content {
            Content::Text(text) | Content::Refusal(text) if text.is_empty() => {}
            Content::Text(text) | Content::Refusal(text) => parts.push(Part::text(&**text)),
            Content::Image { source, detail } => {
                if detail.as_deref().is_some_and(|detail| detail != "auto") {
                    self.losses.drop(losses::Part::ImageDetail);
                }
                self.push_media(parts, source)?;
            }
            Content::Document { source, .. } => self.push_media(parts, source)?,
            Content::Audio { source } => self.push_media(parts, source)?,
            Content::ToolCall { id, name, arguments, kind, signature } => {
                parts.push(Part::call(id, name, arguments, *kind, signature.as_ref()));
            }
            Content::ToolResult { call_id, blocks, is_error, .. } => {
                let name = names.iter().find(|(id, _)| id == call_id).map_or(&**call_id, |(_, name)| *name);
                let response = Some(FunctionResponse { id: call_id, name, response: response(blocks, *is_error) });
                parts.push(Part { function_response: response, ..Part::default() });
                for block in blocks.iter().filter(|block| !matches!(block.content, Content::Text(_) | Content::Refusal(_))) {
                    self.push_block(parts, block, names)?;
                }
            }
            Content::Reasoning { text, signature } => {
                let part = Part::thought(text, signature.as_ref());
                // Without its signature a thought means nothing there.
                if part.thought_signature.is_some() {
                    parts.push(part);
                }
            }
            Content::Opaque { kind, .. } => {
                self.losses.refuse_named(kind.clone(), "its upstream speaks another format, which has no such part")?
            }
        }
        Ok(())
    }

    fn push_media<'r>(&mut self, parts: &mut Vec<Part<'r>>, source: &'r Source) -> Result<(), Unsupported> {
        match source {
            Source::File { id } if is_vendors_own(id) => {
                let file_data = Some(FileData { mime_type: None::<Cow<'_, str>>, file_uri: id });
                parts.push(Part { file_data, ..Part::default() });
                Ok(())
            }
            source => match Part::media(source) {
                Some(part) => {
                    parts.push(part);
                    Ok(())
                }
                None => self.losses.refuse(losses::Part::FileId, "the file was uploaded to another vendor; send its data"),
            },
        }
    }

    fn tools<'r>(&mut self, tools: &'r [Tool]) -> Result<Vec<ToolSet<'r>>, Unsupported> {
        let mut function_declarations = Vec::with_capacity(tools.len());
        for tool in tools {
            if tool.kind == ToolKind::Custom {
                self.losses.refuse(
                    losses::Part::Tools,
                    format!("the tool '{}' takes plain text, and tools of its format take objects", tool.name),
                )?;
                continue;
            }
            if tool.strict == Some(true) {
                self.losses.drop(losses::Part::StrictTools);
            }
            if tool.cache.is_some() {
                self.losses.drop(losses::Part::CacheHints);
            }
            function_declarations.push(Declaration {
                name: &tool.name,
                description: tool.description.as_deref(),
                parameters_json_schema: tool.parameters.as_ref(),
            });
        }
        Ok(if function_declarations.is_empty() { Vec::new() } else { vec![ToolSet { function_declarations }] })
    }

    fn generation<'r>(&mut self, request: &'r Request) -> Result<GenerationConfig<'r>, Unsupported> {
        let sampling = &request.sampling;
        let mut config = GenerationConfig {
            max_output_tokens: sampling.max_output_tokens,
            candidate_count: sampling.n.filter(|n| *n > 1),
            seed: sampling.seed.as_ref(),
            presence_penalty: sampling.presence_penalty.as_ref(),
            frequency_penalty: sampling.frequency_penalty.as_ref(),
            response_logprobs: sampling.logprobs.map(|_| true),
            logprobs: sampling.logprobs.filter(|alternatives| *alternatives > 0),
            stop_sequences: &sampling.stop,
            ..GenerationConfig::default()
        };
        if sampling.stop.len() > STOPS_MAX {
            self.losses.refuse(losses::Part::Stop, format!("its format takes at most {STOPS_MAX} stop texts"))?;
            config.stop_sequences = sampling.stop.get(..STOPS_MAX).unwrap_or_default();
        }
        for (part, given, place) in [
            (losses::Part::Temperature, &sampling.temperature, &mut config.temperature),
            (losses::Part::TopP, &sampling.top_p, &mut config.top_p),
            (losses::Part::TopK, &sampling.top_k, &mut config.top_k),
        ] {
            match given {
                Some(_) if !self.aim.quirks.sampling => self.losses.drop(part),
                given => *place = given.as_ref(),
            }
        }
        match &request.output {
            OutputFormat::Text => {}
            OutputFormat::JsonObject => config.response_mime_type = Some("application/json"),
            OutputFormat::JsonSchema { .. } if !self.aim.quirks.json_schema => {
                self.losses.refuse(losses::Part::OutputFormat, "this model takes no JSON schema")?;
                config.response_mime_type = Some("application/json");
            }
            OutputFormat::JsonSchema { schema, .. } => {
                config.response_mime_type = Some("application/json");
                config.response_json_schema = Some(schema);
            }
        }
        config.thinking_config = self.thinking(request);
        Ok(config)
    }

    /// A level or a budget, never both.
    fn thinking(&self, request: &Request) -> Option<ThinkingConfig> {
        let reasoning = request.reasoning.as_ref()?;
        let mut config = ThinkingConfig { include_thoughts: reasoning.visible, thinking_level: None, thinking_budget: None };
        match self.aim.quirks.reasoning {
            ReasoningStyle::Effort => config.thinking_level = reasoning.effort.or_else(|| reasoning.as_effort()).map(level_of),
            ReasoningStyle::Budget => config.thinking_budget = reasoning.as_budget_tokens().map(|tokens| tokens.min(THINKING_TOKENS_MAX)),
        }
        Some(config)
    }

    fn service_tier<'r>(&mut self, tier: Option<&'r str>) -> Option<&'r str> {
        match tier? {
            "auto" | "default" => None,
            tier @ ("standard" | "flex" | "priority") => Some(tier),
            _ => {
                self.losses.drop(losses::Part::ServiceTier);
                None
            }
        }
    }
}

/// Models that think in levels demand a signature on the first function call of a turn; calls of other vendors have none.
fn sign_first_call(parts: &mut [Part<'_>]) {
    if let Some(first) = parts.iter_mut().find(|part| part.function_call.is_some()) {
        first.thought_signature.get_or_insert(NO_SIGNATURES[0]);
    }
}

fn tool_config(choice: &ToolChoice) -> ToolConfig<'_> {
    let (mode, allowed_function_names) = match choice {
        ToolChoice::Auto => ("AUTO", Vec::new()),
        ToolChoice::None => ("NONE", Vec::new()),
        ToolChoice::Required => ("ANY", Vec::new()),
        ToolChoice::Named(name) => ("ANY", vec![&**name]),
        ToolChoice::Allowed { names, required } => {
            (if *required { "ANY" } else { "VALIDATED" }, names.iter().map(String::as_str).collect())
        }
    };
    ToolConfig { function_calling_config: Calling { mode, allowed_function_names } }
}

/// These models cannot stop thinking: the least is the nearest.
fn level_of(effort: Effort) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal => "MINIMAL",
        Effort::Low => "LOW",
        Effort::Medium => "MEDIUM",
        Effort::High => "HIGH",
        Effort::ExtraHigh | Effort::Max => "XHIGH",
    }
}

/// A result as the object Gemini wants. Schemas inside of a response are refused there, so such a text stays a text.
fn response(blocks: &[Block], is_error: bool) -> Json {
    let mut text = String::new();
    for block in blocks {
        if let Content::Text(piece) | Content::Refusal(piece) = &block.content {
            text.push_str(piece);
        }
    }
    let has_references = text.contains("\"$ref\"") || text.contains("\"$defs\"");
    if !is_error
        && !has_references
        && let Some(object) = Json::parse(&text).filter(Json::is_object)
    {
        return object;
    }
    let name = if is_error { "error" } else { "result" };
    Json::parse(&format!("{{\"{name}\":{}}}", json::quoted(&text))).unwrap_or_else(Json::empty_object)
}
