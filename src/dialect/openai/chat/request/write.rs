//! A call of another dialect, written for a server of this format.

use bytes::Bytes;

use super::write_messages;
use crate::dialect::{
    canonical::{Effort, OutputFormat, Request, Tool, ToolChoice, ToolKind},
    format::{Aim, Unsupported, Written},
    json::Object,
    losses::{Losses, Part},
};

/// The tiers that this format has; what others call theirs means nothing here.
const SERVICE_TIERS: [&str; 6] = ["auto", "default", "flex", "priority", "scale", "fast"];
/// The format wants a name for a schema.
const SCHEMA_NAME: &str = "answer";

/// Writes a call.
pub fn write(request: &Request, aim: &Aim<'_>) -> Result<Written, Unsupported> {
    let mut losses = Losses::of(request, aim.drop_unsupported);
    losses.take_unmodelled(&request.unmodelled)?;
    let mut out = Vec::with_capacity(1024 + request.text_bytes() * 5 / 4);
    let mut body = Object::new(&mut out);
    body.put("model", aim.model);
    write_messages::write(&mut body.array("messages"), request, aim, &mut losses)?;
    if request.streamed {
        body.put("stream", &true);
        if aim.quirks.stream_usage {
            body.object("stream_options").put("include_usage", &true);
        }
    }
    write_sampling(&mut body, request, aim, &mut losses)?;
    write_tools(&mut body, request, &mut losses);
    write_output(&mut body, request, aim, &mut losses)?;
    if let Some(effort) = request.reasoning.as_ref().and_then(|reasoning| reasoning.as_effort()) {
        body.put("reasoning_effort", effort_word(effort));
    }
    body.maybe("verbosity", request.verbosity.as_deref());
    body.maybe("user", request.user.as_deref());
    body.maybe("metadata", request.metadata.as_ref());
    body.maybe("prompt_cache_key", request.cache_key.as_deref());
    match request.service_tier.as_deref() {
        Some(tier) if SERVICE_TIERS.contains(&tier) => body.put("service_tier", tier),
        Some(_) => losses.drop(Part::ServiceTier),
        None => {}
    }
    drop(body);
    Ok(Written { dropped: losses.into_dropped(), ..Written::json(Bytes::from(out)) })
}

fn write_sampling(body: &mut Object<'_>, request: &Request, aim: &Aim<'_>, losses: &mut Losses) -> Result<(), Unsupported> {
    let sampling = &request.sampling;
    let limit = if aim.quirks.max_completion_tokens { "max_completion_tokens" } else { "max_tokens" };
    body.maybe(limit, sampling.max_output_tokens);
    body.maybe("n", sampling.n.filter(|n| *n > 1));
    let values = [
        ("temperature", Part::Temperature, &sampling.temperature),
        ("top_p", Part::TopP, &sampling.top_p),
        ("top_k", Part::TopK, &sampling.top_k),
    ];
    for (name, part, value) in values {
        match value {
            Some(_) if !aim.quirks.sampling => losses.drop(part),
            Some(_) if part == Part::TopK && !aim.quirks.top_k => losses.refuse(part, "the model's format has nothing like it")?,
            value => body.maybe(name, value.as_ref()),
        }
    }
    body.maybe("seed", sampling.seed.as_ref());
    body.maybe("presence_penalty", sampling.presence_penalty.as_ref());
    body.maybe("frequency_penalty", sampling.frequency_penalty.as_ref());
    body.maybe("stop", (!sampling.stop.is_empty()).then_some(&sampling.stop));
    if let Some(top) = sampling.logprobs {
        body.put("logprobs", &true);
        body.maybe("top_logprobs", (top > 0).then_some(top));
    }
    Ok(())
}

fn write_tools(body: &mut Object<'_>, request: &Request, losses: &mut Losses) {
    if request.tools.is_empty() {
        return;
    }
    let mut tools = body.array("tools");
    for tool in &request.tools {
        if tool.cache.is_some() {
            losses.drop(Part::CacheHints);
        }
        write_tool(&mut tools.object(), tool);
    }
    drop(tools);
    if let Some(choice) = &request.tool_choice {
        write_choice(body, choice, &request.tools);
    }
    // A caller who knows single calls only must not get several.
    let parallel = if request.legacy_functions { Some(false) } else { request.parallel_tools };
    body.maybe("parallel_tool_calls", parallel);
}

fn write_tool(out: &mut Object<'_>, tool: &Tool) {
    let kind = kind_name(tool.kind);
    out.put("type", kind);
    let mut defined = out.object(kind);
    defined.put("name", &*tool.name);
    defined.maybe("description", tool.description.as_deref());
    if tool.kind == ToolKind::Function {
        defined.maybe("parameters", tool.parameters.as_ref());
        defined.maybe("strict", tool.strict);
    }
}

pub(in crate::dialect::openai::chat) fn kind_name(kind: ToolKind) -> &'static str {
    match kind {
        ToolKind::Function => "function",
        ToolKind::Custom => "custom",
    }
}

fn write_choice(body: &mut Object<'_>, choice: &ToolChoice, tools: &[Tool]) {
    let reference = |out: &mut Object<'_>, name: &str| {
        let kind = tools.iter().find(|tool| tool.name == name).map_or(ToolKind::Function, |tool| tool.kind);
        out.put("type", kind_name(kind));
        out.object(kind_name(kind)).put("name", name);
    };
    match choice {
        ToolChoice::Auto => body.put("tool_choice", "auto"),
        ToolChoice::None => body.put("tool_choice", "none"),
        ToolChoice::Required => body.put("tool_choice", "required"),
        ToolChoice::Named(name) => reference(&mut body.object("tool_choice"), name),
        ToolChoice::Allowed { names, required } => match &names[..] {
            // The older form says the same, and more servers know it.
            [name] if *required => reference(&mut body.object("tool_choice"), name),
            names => {
                let mut choice = body.object("tool_choice");
                choice.put("type", "allowed_tools");
                let mut allowed = choice.object("allowed_tools");
                allowed.put("mode", if *required { "required" } else { "auto" });
                let mut list = allowed.array("tools");
                names.iter().for_each(|name| reference(&mut list.object(), name));
            }
        },
    }
}

fn write_output(body: &mut Object<'_>, request: &Request, aim: &Aim<'_>, losses: &mut Losses) -> Result<(), Unsupported> {
    match &request.output {
        OutputFormat::Text => {}
        OutputFormat::JsonObject => body.object("response_format").put("type", "json_object"),
        OutputFormat::JsonSchema { .. } if !aim.quirks.json_schema => {
            losses.refuse(Part::OutputFormat, "the model takes no JSON schema")?;
            // The nearest it can do.
            body.object("response_format").put("type", "json_object");
        }
        OutputFormat::JsonSchema { name, description, schema, strict } => {
            let mut format = body.object("response_format");
            format.put("type", "json_schema");
            let mut described = format.object("json_schema");
            described.put("name", name.as_deref().unwrap_or(SCHEMA_NAME));
            described.maybe("description", description.as_deref());
            described.put("schema", schema);
            described.maybe("strict", *strict);
        }
    }
    Ok(())
}

/// The words of this format end at `xhigh`.
fn effort_word(effort: Effort) -> &'static str {
    match effort {
        Effort::None => "none",
        Effort::Minimal => "minimal",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::ExtraHigh | Effort::Max => "xhigh",
    }
}
