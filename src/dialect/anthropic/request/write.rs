//! A call of another dialect, written for an upstream that speaks Anthropic's.
//!
//! What is left out by rule, besides labels: sampling where the model refuses it or while it thinks (temperatures above 1 become 1), the
//! seed, log probabilities and verbosity, thinking where a tool is forced, where the limit is too small for it, or where the last calls
//! came without their thoughts.

use serde::Serialize;

use super::{
    read::BUDGET_TOKENS_MIN,
    schema,
    turns::{self, write_blocks},
};
use crate::dialect::{
    anthropic::{
        STRUCTURED_ANSWER,
        wire::{self, CacheControl, Message, is_false},
    },
    canonical::{Effort, Json, OutputFormat, Reasoning, Request, Sampling, ToolChoice, ToolKind},
    format::{Aim, ReasoningStyle, Unsupported, Written},
    losses::{Losses, Part},
};

#[derive(Debug, Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<wire::Block<'a>>,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<&'a Json>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
    #[serde(skip_serializing_if = "is_false")]
    stream: bool,
}

#[derive(Debug, Serialize)]
struct Tool<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    input_schema: Json,
    #[serde(skip_serializing_if = "is_false")]
    strict: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl<'a>>,
}

#[derive(Debug, Serialize)]
struct Choice<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "is_false")]
    disable_parallel_tool_use: bool,
}

impl Choice<'_> {
    fn is_forced(&self) -> bool {
        matches!(self.r#type, "any" | "tool")
    }
}

#[derive(Debug, Serialize)]
struct Thinking {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display: Option<&'static str>,
}

#[derive(Debug, Default, Serialize)]
struct OutputConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
}

#[derive(Debug, Serialize)]
struct Format {
    r#type: &'static str,
    schema: Json,
}

#[derive(Debug, Serialize)]
struct Metadata<'a> {
    user_id: &'a str,
}

/// Writes a call of another dialect.
pub fn write(request: &Request, aim: &Aim<'_>) -> Result<Written, Unsupported> {
    let mut losses = Losses::of(request, aim.drop_unsupported);
    losses.take_unmodelled(&request.unmodelled)?;
    let messages = turns::write(request, &mut losses)?;
    let (mut tools, mut tool_choice) = write_tools(request, &mut losses)?;
    let format = write_format(request, aim, (&mut tools, &mut tool_choice), &mut losses);
    let max_tokens = request.sampling.max_output_tokens.unwrap_or(aim.max_output_tokens);
    let is_forced = tool_choice.as_ref().is_some_and(Choice::is_forced);
    let (thinking, effort) = match &request.reasoning {
        Some(reasoning) => write_reasoning(reasoning, aim, max_tokens, is_forced || is_thoughtless(&messages, aim), &mut losses),
        None => (None, None),
    };
    let is_thinking = thinking.as_ref().is_some_and(|thinking| thinking.r#type != "disabled");
    let (temperature, top_p, top_k) = write_sampling(&request.sampling, aim, is_thinking, &mut losses);
    let body = Body {
        model: aim.model,
        max_tokens,
        system: write_blocks(&request.system, &mut losses)?,
        messages,
        tools,
        tool_choice,
        thinking,
        output_config: (effort.is_some() || format.is_some()).then_some(OutputConfig { effort, format }),
        temperature,
        top_p,
        top_k,
        stop_sequences: write_stop(&request.sampling, &mut losses)?,
        metadata: request.user.as_deref().map(|user_id| Metadata { user_id }),
        service_tier: write_tier(request, &mut losses),
        stream: request.streamed,
    };
    leave_out(request, &mut losses)?;
    let text = serde_json::to_vec(&body).unwrap_or_default();
    Ok(Written { dropped: losses.into_dropped(), ..Written::json(text) })
}

/// What has no place at all.
fn leave_out(request: &Request, losses: &mut Losses) -> Result<(), Unsupported> {
    let Sampling { n, seed, presence_penalty, frequency_penalty, logprobs, .. } = &request.sampling;
    if n.is_some_and(|n| n > 1) {
        losses.refuse(Part::Choices, "its format has one answer to a call; call several times")?;
    }
    let is_set =
        |penalty: &Option<Json>| penalty.as_ref().is_some_and(|penalty| penalty.text().bytes().any(|byte| (b'1'..=b'9').contains(&byte)));
    if is_set(presence_penalty) {
        losses.refuse(Part::PresencePenalty, "its format has no penalties")?;
    }
    if is_set(frequency_penalty) {
        losses.refuse(Part::FrequencyPenalty, "its format has no penalties")?;
    }
    let hints = [
        (Part::Seed, seed.is_some()),
        (Part::Logprobs, logprobs.is_some()),
        (Part::Verbosity, request.verbosity.is_some()),
        (Part::Metadata, request.metadata.is_some()),
        (Part::CacheKey, request.cache_key.is_some()),
    ];
    hints.into_iter().filter(|(_, is_there)| *is_there).for_each(|(part, _)| losses.drop(part));
    Ok(())
}

type Tools<'a> = (Vec<Tool<'a>>, Option<Choice<'a>>);

fn write_tools<'a>(request: &'a Request, losses: &mut Losses) -> Result<Tools<'a>, Unsupported> {
    let allowed = |name: &String| match &request.tool_choice {
        Some(ToolChoice::Allowed { names, .. }) => names.contains(name),
        _ => true,
    };
    let mut tools = Vec::with_capacity(request.tools.len());
    for tool in request.tools.iter().filter(|tool| allowed(&tool.name)) {
        if tool.kind == ToolKind::Custom {
            losses.refuse(Part::Tools, format!("the tool '{}' takes plain text, and tools of its format take objects", tool.name))?;
            continue;
        }
        tools.push(Tool {
            name: &tool.name,
            description: tool.description.as_deref(),
            input_schema: schema::of_tool(tool.parameters.as_ref()),
            strict: tool.strict == Some(true),
            cache_control: CacheControl::of(tool.cache.as_ref()),
        });
    }
    let one_at_a_time = request.parallel_tools == Some(false);
    let (kind, name) = match &request.tool_choice {
        _ if tools.is_empty() => {
            if matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { required: true, .. }))
            {
                losses.refuse(Part::ToolChoice, "there is no tool to choose")?;
            }
            return Ok((tools, None));
        }
        None if !one_at_a_time => return Ok((tools, None)),
        None | Some(ToolChoice::Auto | ToolChoice::Allowed { required: false, .. }) => ("auto", None),
        Some(ToolChoice::None) => ("none", None),
        Some(ToolChoice::Required | ToolChoice::Allowed { required: true, .. }) => ("any", None),
        Some(ToolChoice::Named(name)) => ("tool", Some(name.as_str())),
    };
    Ok((tools, Some(Choice { r#type: kind, name, disable_parallel_tool_use: one_at_a_time && kind != "none" })))
}

/// A schema goes into `output_config`. Models that do not know that, and a call for any JSON object, get a tool whose input is the answer;
/// readers of answers know it by its name. Where the caller's own tools must be called, there is no such answer.
fn write_format<'a>(
    request: &'a Request,
    aim: &Aim<'_>,
    (tools, choice): (&mut Vec<Tool<'a>>, &mut Option<Choice<'a>>),
    losses: &mut Losses,
) -> Option<Format> {
    let (schema, description) = match &request.output {
        OutputFormat::Text => return None,
        OutputFormat::JsonSchema { schema, .. } if aim.quirks.json_schema => {
            return Some(Format { r#type: "json_schema", schema: schema::of_answer(schema) });
        }
        OutputFormat::JsonSchema { schema, description, .. } => (Some(schema), description.as_deref()),
        OutputFormat::JsonObject => (None, None),
    };
    if choice.as_ref().is_some_and(Choice::is_forced) {
        losses.drop(Part::OutputFormat);
        return None;
    }
    let only_answers = tools.is_empty() || choice.as_ref().is_some_and(|choice| choice.r#type == "none");
    tools.push(Tool {
        name: STRUCTURED_ANSWER,
        description: Some(description.unwrap_or("Gives the answer to the user, as JSON.")),
        input_schema: schema::of_tool(schema),
        strict: false,
        cache_control: None,
    });
    *choice = Some(if only_answers {
        Choice { r#type: "tool", name: Some(STRUCTURED_ANSWER), disable_parallel_tool_use: true }
    } else {
        Choice { r#type: "any", name: None, disable_parallel_tool_use: request.parallel_tools == Some(false) }
    });
    None
}

/// Whether the last calls came without their thoughts. Then a model with a budget must not think, or the call is refused.
fn is_thoughtless(messages: &[Message<'_>], aim: &Aim<'_>) -> bool {
    let last = messages.iter().rev().find(|message| message.role == "assistant");
    aim.quirks.reasoning == ReasoningStyle::Budget
        && last.is_some_and(|last| {
            let calls = last.content.iter().any(|block| matches!(block, wire::Block::ToolUse { .. }));
            let thinks = matches!(last.content.first(), Some(wire::Block::Thinking { .. } | wire::Block::RedactedThinking { .. }));
            calls && !thinks
        })
}

fn write_reasoning(
    reasoning: &Reasoning,
    aim: &Aim<'_>,
    max_tokens: u64,
    must_not: bool,
    losses: &mut Losses,
) -> (Option<Thinking>, Option<&'static str>) {
    if reasoning.budget_tokens.unwrap_or(0) == 0 && reasoning.effort == Some(Effort::None) {
        return (Some(Thinking { r#type: "disabled", budget_tokens: None, display: None }), None);
    }
    let effort = match (reasoning.effort, reasoning.budget_tokens) {
        (effort, None) => effort,
        (Some(effort), Some(_)) if effort != Effort::None => Some(effort),
        (_, Some(budget)) => Some(Effort::of_budget(budget)),
    };
    let is_adaptive = aim.quirks.reasoning == ReasoningStyle::Effort;
    let effort_word = effort.filter(|_| is_adaptive).map(word);
    if must_not {
        losses.drop(Part::Reasoning);
        return (None, effort_word);
    }
    let display = match reasoning.visible {
        Some(false) => Some("omitted"),
        Some(true) if is_adaptive => Some("summarized"),
        _ => None,
    };
    if is_adaptive {
        return (Some(Thinking { r#type: "adaptive", budget_tokens: None, display }), effort_word);
    }
    let wanted = reasoning.budget_tokens.unwrap_or_else(|| effort.unwrap_or(Effort::Medium).budget_tokens());
    // Thinking counts towards the limit and has to leave room for the answer.
    if max_tokens <= BUDGET_TOKENS_MIN {
        losses.drop(Part::Reasoning);
        return (None, None);
    }
    let budget_tokens = Some(wanted.clamp(BUDGET_TOKENS_MIN, max_tokens - 1));
    (Some(Thinking { r#type: "enabled", budget_tokens, display }), None)
}

fn word(effort: Effort) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::ExtraHigh => "xhigh",
        Effort::Max => "max",
    }
}

type WrittenSampling<'a> = (Option<Json>, Option<&'a Json>, Option<&'a Json>);

fn write_sampling<'a>(sampling: &'a Sampling, aim: &Aim<'_>, is_thinking: bool, losses: &mut Losses) -> WrittenSampling<'a> {
    let Sampling { temperature, top_p, top_k, .. } = sampling;
    if is_thinking || !aim.quirks.sampling {
        let given = [(Part::Temperature, temperature), (Part::TopP, top_p), (Part::TopK, top_k)];
        given.into_iter().filter(|(_, value)| value.is_some()).for_each(|(part, _)| losses.drop(part));
        return (None, None, None);
    }
    // Newer models take one of both, and 1 is the default.
    let top_p = top_p.as_ref().filter(|top_p| temperature.is_none() || !matches!(top_p.text(), "1" | "1.0"));
    let warmest = temperature.as_ref().filter(|temperature| temperature.text().parse::<f64>().is_ok_and(|degrees| degrees > 1.0));
    let temperature = match warmest {
        Some(_) => {
            losses.drop(Part::Temperature);
            Json::parse("1")
        }
        None => temperature.clone(),
    };
    (temperature, top_p, top_k.as_ref())
}

fn write_stop<'a>(sampling: &'a Sampling, losses: &mut Losses) -> Result<Vec<&'a str>, Unsupported> {
    let (blank, stop): (Vec<&str>, Vec<&str>) = sampling.stop.iter().map(String::as_str).partition(|sequence| sequence.trim().is_empty());
    if !blank.is_empty() {
        losses.refuse(Part::Stop, "its format takes no stop sequence of white space only")?;
    }
    Ok(stop)
}

fn write_tier(request: &Request, losses: &mut Losses) -> Option<&'static str> {
    match request.service_tier.as_deref()? {
        "auto" => None,
        "default" | "standard" | "standard_only" => Some("standard_only"),
        _ => {
            losses.drop(Part::ServiceTier);
            None
        }
    }
}
