//! A call, written.
//!
//! Messages alternate between user and assistant: neighbours of one role are merged, instructions in the middle become the user's text, and
//! results of tools come first in their message.

use bytes::Bytes;

use super::content::{Writer, push_cache_point, put_empty};
use crate::dialect::{
    canonical::{Block, Content, Effort, Json, OutputFormat, Request, Role, Tool, ToolChoice, ToolKind},
    format::{Aim, ReasoningStyle, Unsupported, Written},
    json::{Array, Object},
    losses::{Losses, Part},
};

const NOTHING_LIKE_IT: &str = "the model's format has nothing like it";
const SCHEMA_NAME: &str = "answer";
/// Least tokens that a model can be told to think.
const THINKING_TOKENS_MIN: u64 = 1_024;

/// Writes a call.
pub fn write(request: &Request, aim: &Aim<'_>) -> Result<Written, Unsupported> {
    let mut losses = Losses::of(request, aim.drop_unsupported);
    losses.take_unmodelled(&request.unmodelled)?;
    let mut out = Vec::with_capacity(1024 + request.text_bytes() * 5 / 4);
    let mut body = Object::new(&mut out);
    let mut writer = Writer { losses: &mut losses, documents: 0 };
    if !request.system.is_empty() {
        let mut system = body.array("system");
        for block in &request.system {
            match &block.content {
                Content::Text(_) => writer.block(&mut system, block)?,
                _ => writer.losses.refuse(Part::Messages, "the model's format takes instructions as text only")?,
            }
        }
    }
    write_messages(&mut body.array("messages"), request, &mut writer)?;
    write_inference(&mut body, request, aim, &mut losses)?;
    write_tools(&mut body, request, &mut losses)?;
    write_extras(&mut body, request, aim, &mut losses)?;
    write_output(&mut body, request, aim, &mut losses)?;
    match request.service_tier.as_deref() {
        Some(tier @ ("default" | "priority" | "flex")) => body.object("serviceTier").put("type", tier),
        Some(_) => losses.drop(Part::ServiceTier),
        None => {}
    }
    // What changes nothing about the answer, or is only ever tried.
    let hints = [
        (Part::User, request.user.is_some()),
        (Part::ParticipantName, request.turns.iter().any(|turn| turn.name.is_some())),
        (Part::Metadata, request.metadata.is_some()),
        (Part::CacheKey, request.cache_key.is_some()),
        (Part::Verbosity, request.verbosity.is_some()),
        (Part::Seed, request.sampling.seed.is_some()),
        (Part::Logprobs, request.sampling.logprobs.is_some()),
        (Part::ParallelTools, request.parallel_tools == Some(false) && !request.tools.is_empty()),
    ];
    hints.into_iter().filter(|(_, given)| *given).for_each(|(part, _)| losses.drop(part));
    drop(body);
    Ok(Written { dropped: losses.into_dropped(), ..Written::json(Bytes::from(out)) })
}

fn write_messages(messages: &mut Array<'_>, request: &Request, writer: &mut Writer<'_>) -> Result<(), Unsupported> {
    let is_assistant = |role: Role| role == Role::Assistant;
    for turns in request.turns.chunk_by(|turn, next| is_assistant(turn.role) == is_assistant(next.role)) {
        let blocks = || turns.iter().flat_map(|turn| &turn.blocks);
        let is_result = |block: &&Block| matches!(block.content, Content::ToolResult { .. });
        let mut written = Vec::new();
        let mut content = Array::new(&mut written);
        for block in blocks().filter(is_result).chain(blocks().filter(|block| !is_result(block))) {
            writer.block(&mut content, block)?;
        }
        drop(content);
        if written == b"[]" {
            continue;
        }
        let mut message = messages.object();
        message.put("role", if turns.iter().any(|turn| is_assistant(turn.role)) { "assistant" } else { "user" });
        message.key("content").extend_from_slice(&written);
    }
    Ok(())
}

fn write_inference(body: &mut Object<'_>, request: &Request, aim: &Aim<'_>, losses: &mut Losses) -> Result<(), Unsupported> {
    let sampling = &request.sampling;
    let mut config = body.object("inferenceConfig");
    config.maybe("maxTokens", sampling.max_output_tokens);
    for (name, part, value) in [("temperature", Part::Temperature, &sampling.temperature), ("topP", Part::TopP, &sampling.top_p)] {
        match value {
            Some(_) if !aim.quirks.sampling => losses.drop(part),
            value => config.maybe(name, value.as_ref()),
        }
    }
    config.maybe("stopSequences", (!sampling.stop.is_empty()).then_some(&sampling.stop));
    drop(config);
    let others = [
        (Part::Choices, sampling.n.is_some_and(|n| n > 1)),
        (Part::PresencePenalty, sampling.presence_penalty.is_some()),
        (Part::FrequencyPenalty, sampling.frequency_penalty.is_some()),
    ];
    others.into_iter().filter(|(_, given)| *given).try_for_each(|(part, _)| losses.refuse(part, NOTHING_LIKE_IT))
}

fn write_tools(body: &mut Object<'_>, request: &Request, losses: &mut Losses) -> Result<(), Unsupported> {
    let called = called_tools(request);
    let allowed = |tool: &&Tool| !matches!(&request.tool_choice, Some(ToolChoice::Allowed { names, .. }) if !names.contains(&tool.name));
    let off = request.tool_choice == Some(ToolChoice::None);
    if off && !called.is_empty() {
        losses.refuse(Part::ToolChoice, "the model's format cannot forbid calls in a conversation that has some")?;
    }
    if (request.tools.is_empty() || off) && called.is_empty() {
        return Ok(());
    }
    let mut config = body.object("toolConfig");
    let mut tools = config.array("tools");
    let mut given = request.tools.iter().filter(allowed).peekable();
    if given.peek().is_none() {
        // The format wants the tools of every call in the conversation to be known.
        called.iter().for_each(|name| write_tool(&mut tools.object(), name, None));
    }
    for tool in given {
        if tool.kind == ToolKind::Custom {
            losses.refuse(Part::Tools, "the model's format has no tools that take plain text")?;
            continue;
        }
        write_tool(&mut tools.object(), &tool.name, Some(tool));
        if let Some(hint) = &tool.cache {
            push_cache_point(&mut tools, hint);
        }
    }
    drop(tools);
    match &request.tool_choice {
        Some(ToolChoice::Required | ToolChoice::Allowed { required: true, .. }) => put_empty(&mut config.object("toolChoice"), "any"),
        Some(ToolChoice::Named(name)) => config.object("toolChoice").object("tool").put("name", &**name),
        Some(ToolChoice::Auto | ToolChoice::Allowed { .. }) => put_empty(&mut config.object("toolChoice"), "auto"),
        Some(ToolChoice::None) | None => {}
    }
    Ok(())
}

/// Names of the tools that were called so far.
fn called_tools(request: &Request) -> Vec<&str> {
    let mut names = Vec::new();
    for block in request.turns.iter().flat_map(|turn| &turn.blocks) {
        let name = match &block.content {
            Content::ToolCall { name, .. } => name,
            Content::ToolResult { name: Some(name), .. } => name,
            _ => continue,
        };
        if !names.contains(&&**name) {
            names.push(&**name);
        }
    }
    names
}

fn write_tool(out: &mut Object<'_>, name: &str, tool: Option<&Tool>) {
    let mut spec = out.object("toolSpec");
    spec.put("name", name);
    spec.maybe("description", tool.and_then(|tool| tool.description.as_deref()).filter(|text| !text.is_empty()));
    let mut schema = spec.object("inputSchema");
    match tool.and_then(|tool| tool.parameters.as_ref()) {
        Some(parameters) => schema.put("json", parameters),
        None => schema.object("json").put("type", "object"),
    }
    drop(schema);
    spec.maybe("strict", tool.and_then(|tool| tool.strict).filter(|strict| *strict));
}

/// What only some models know: `top_k` and thinking, as Claude takes them.
fn write_extras(body: &mut Object<'_>, request: &Request, aim: &Aim<'_>, losses: &mut Losses) -> Result<(), Unsupported> {
    let mut extras = Vec::new();
    let mut fields = Object::new(&mut extras);
    match &request.sampling.top_k {
        Some(_) if !aim.quirks.sampling => losses.drop(Part::TopK),
        top_k => fields.maybe("top_k", top_k.as_ref()),
    }
    if let Some(reasoning) = &request.reasoning {
        let word = reasoning.effort.or_else(|| reasoning.as_effort());
        match (aim.quirks.reasoning, word) {
            (_, None) => {}
            (_, Some(Effort::None)) => fields.object("thinking").put("type", "disabled"),
            (ReasoningStyle::Effort, Some(effort)) => {
                fields.object("thinking").put("type", "adaptive");
                fields.object("output_config").put("effort", effort_word(effort));
            }
            (ReasoningStyle::Budget, Some(effort)) => {
                let wanted = reasoning.budget_tokens.unwrap_or_else(|| effort.budget_tokens()).max(THINKING_TOKENS_MIN);
                let limit = request.sampling.max_output_tokens.unwrap_or(aim.max_output_tokens);
                // Thoughts count as output; some has to be left for the answer.
                match wanted.min(limit.saturating_sub(1)) {
                    budget @ THINKING_TOKENS_MIN.. => {
                        let mut thinking = fields.object("thinking");
                        thinking.put("type", "enabled");
                        thinking.put("budget_tokens", &budget);
                    }
                    _ => losses.drop(Part::Reasoning),
                }
            }
        }
    }
    drop(fields);
    if extras != b"{}" {
        body.key("additionalModelRequestFields").extend_from_slice(&extras);
    }
    Ok(())
}

fn write_output(body: &mut Object<'_>, request: &Request, aim: &Aim<'_>, losses: &mut Losses) -> Result<(), Unsupported> {
    match &request.output {
        OutputFormat::Text => Ok(()),
        OutputFormat::JsonSchema { name, description, schema, .. } if aim.quirks.json_schema => {
            let mut config = body.object("outputConfig");
            let mut format = config.object("textFormat");
            format.put("type", "json_schema");
            let mut structure = format.object("structure");
            let mut described = structure.object("jsonSchema");
            described.put("name", name.as_deref().unwrap_or(SCHEMA_NAME));
            described.maybe("description", description.as_deref());
            // As text, not as an object.
            described.put("schema", Json::text(schema));
            Ok(())
        }
        OutputFormat::JsonSchema { .. } => losses.refuse(Part::OutputFormat, "the model takes no JSON schema"),
        OutputFormat::JsonObject => losses.refuse(Part::OutputFormat, "the model's format takes a JSON schema only"),
    }
}

fn effort_word(effort: Effort) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::ExtraHigh => "xhigh",
        Effort::Max => "max",
    }
}
