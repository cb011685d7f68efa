//! `generationConfig`, `tools` and `toolConfig` of a caller.

use std::borrow::Cow;

use crate::dialect::{
    Invalid,
    canonical::{Effort, Json, OutputFormat, Reasoning, Request, Tool, ToolChoice, ToolKind, Unmodelled},
    gemini::{
        fields::{Field, Fields},
        schema,
    },
};

/// Candidates of one call; other vendors allow as many.
const CANDIDATES_MAX: u64 = 128;
/// Far above every model, far below what could overflow a price.
const OUTPUT_TOKENS_MAX: u64 = 1_000_000_000;
const LOGPROBS_MAX: u64 = 20;

pub(super) fn read_generation(fields: Option<Fields<'_>>, request: &mut Request) -> Result<(), Invalid> {
    let Some(mut fields) = fields else { return Ok(()) };
    let sampling = &mut request.sampling;
    sampling.max_output_tokens = fields.whole("maxOutputTokens", 1, OUTPUT_TOKENS_MAX)?;
    sampling.n = fields.whole("candidateCount", 1, CANDIDATES_MAX)?;
    sampling.temperature = fields.number("temperature")?;
    sampling.top_p = fields.number("topP")?;
    sampling.top_k = fields.number("topK")?;
    sampling.seed = fields.number("seed")?;
    sampling.presence_penalty = fields.number("presencePenalty")?;
    sampling.frequency_penalty = fields.number("frequencyPenalty")?;
    sampling.stop = fields.texts("stopSequences")?;
    let alternatives = fields.whole("logprobs", 0, LOGPROBS_MAX)?;
    sampling.logprobs = fields.boolean("responseLogprobs")?.filter(|wanted| *wanted).map(|_| alternatives.unwrap_or(0));
    request.output = read_output(&mut fields, &mut request.unmodelled)?;
    request.reasoning = read_thinking(&mut fields, &mut request.unmodelled)?;
    let modalities = fields.path_of("responseModalities");
    if fields
        .texts("responseModalities")?
        .iter()
        .any(|modality| !matches!(&*modality.to_ascii_uppercase(), "TEXT" | "MODALITY_UNSPECIFIED"))
    {
        request.unmodelled.push(Unmodelled { field: modalities, harmless: false });
    }
    fields.leave(&mut request.unmodelled, |_| false);
    Ok(())
}

fn read_output(fields: &mut Fields<'_>, unmodelled: &mut Vec<Unmodelled>) -> Result<OutputFormat, Invalid> {
    let own = fields.take("responseSchema")?.map(|field| schema::to_json_schema(field.raw));
    let schema = fields.take("responseJsonSchema")?.map(|field| field.json()).or(own);
    let at = fields.path_of("responseMimeType");
    let mime = fields.text("responseMimeType")?.unwrap_or_default();
    match (&*mime, schema) {
        ("" | "text/plain", None) => Ok(OutputFormat::Text),
        ("application/json", None) => Ok(OutputFormat::JsonObject),
        ("" | "application/json", Some(schema)) => Ok(OutputFormat::JsonSchema { name: None, description: None, schema, strict: None }),
        _ => {
            // One word out of a list (`text/x.enum`), or what comes next.
            unmodelled.push(Unmodelled { field: at, harmless: false });
            Ok(OutputFormat::Text)
        }
    }
}

fn read_thinking(fields: &mut Fields<'_>, unmodelled: &mut Vec<Unmodelled>) -> Result<Option<Reasoning>, Invalid> {
    let Some(mut fields) = fields.object("thinkingConfig")? else { return Ok(None) };
    let visible = fields.boolean("includeThoughts")?;
    let budget = fields.take("thinkingBudget")?;
    let level_at = fields.path_of("thinkingLevel");
    let effort = match fields.text("thinkingLevel")?.unwrap_or_default().to_ascii_uppercase().as_str() {
        "" | "THINKING_LEVEL_UNSPECIFIED" => None,
        "MINIMAL" => Some(Effort::Minimal),
        "LOW" => Some(Effort::Low),
        "MEDIUM" => Some(Effort::Medium),
        "HIGH" => Some(Effort::High),
        "XHIGH" => Some(Effort::ExtraHigh),
        _ => {
            unmodelled.push(Unmodelled { field: level_at, harmless: false });
            None
        }
    };
    let (effort, budget_tokens) = match budget {
        // -1 leaves it to the model.
        Some(budget) if matches!(budget.raw.get(), "-1" | "\"-1\"") => (effort, None),
        Some(budget) => match budget.raw.get().trim_matches('"').parse::<u64>() {
            Ok(0) => (Some(Effort::None), None),
            Ok(tokens) if tokens <= OUTPUT_TOKENS_MAX => (effort, Some(tokens)),
            _ => return Err(Invalid::field(budget.path, &format!("must be a whole number from -1 to {OUTPUT_TOKENS_MAX}"))),
        },
        None => (effort, None),
    };
    fields.leave(unmodelled, |_| false);
    let reasoning = Reasoning { effort, budget_tokens, visible };
    Ok((reasoning != Reasoning::default()).then_some(reasoning))
}

pub(super) fn read_tools(sets: Vec<Field<'_>>, request: &mut Request) -> Result<(), Invalid> {
    for set in sets {
        let mut fields = Fields::of(set)?;
        for declaration in fields.list("functionDeclarations")? {
            request.tools.push(read_declaration(Fields::of(declaration)?, &mut request.unmodelled)?);
        }
        // The vendor's own tools say something also when they are `{}`.
        while let Some((name, _)) = fields.first_left() {
            let (field, name) = (fields.path_of(name), name.to_owned());
            if fields.take(&name)?.is_some() {
                request.unmodelled.push(Unmodelled { field, harmless: false });
            }
        }
    }
    Ok(())
}

fn read_declaration(mut fields: Fields<'_>, unmodelled: &mut Vec<Unmodelled>) -> Result<Tool, Invalid> {
    let missing = fields.path_of("name");
    let name = fields.text("name")?.ok_or_else(|| Invalid::field(missing, "is required"))?.into_owned();
    let description = fields.text("description")?.map(Cow::into_owned);
    let own = fields.take("parameters")?.map(|field| schema::to_json_schema(field.raw));
    let parameters = fields.take("parametersJsonSchema")?.map(|field| field.json()).or(own);
    // What a function answers is only described to the model.
    fields.leave(unmodelled, |name| matches!(name, "response" | "responseJsonSchema" | "response_json_schema"));
    Ok(Tool { kind: ToolKind::Function, name, description, parameters, strict: None, cache: None })
}

pub(super) fn read_tool_config(fields: Option<Fields<'_>>, request: &mut Request) -> Result<(), Invalid> {
    let Some(mut fields) = fields else { return Ok(()) };
    if let Some(mut calling) = fields.object("functionCallingConfig")? {
        let names = calling.texts("allowedFunctionNames")?;
        let at = calling.path_of("mode");
        let mode = calling.text("mode")?.unwrap_or_default().to_ascii_uppercase();
        request.tool_choice = match (&*mode, names.len()) {
            ("" | "MODE_UNSPECIFIED", 0) => None,
            ("AUTO" | "VALIDATED", 0) => Some(ToolChoice::Auto),
            ("" | "MODE_UNSPECIFIED" | "AUTO" | "VALIDATED", _) => Some(ToolChoice::Allowed { names, required: false }),
            ("NONE", _) => Some(ToolChoice::None),
            ("ANY", 0) => Some(ToolChoice::Required),
            ("ANY", 1) => names.into_iter().next().map(ToolChoice::Named),
            ("ANY", _) => Some(ToolChoice::Allowed { names, required: true }),
            _ => return Err(Invalid::field(at, "must be AUTO, ANY, NONE or VALIDATED")),
        };
        calling.leave(&mut request.unmodelled, |_| false);
    }
    fields.leave(&mut request.unmodelled, |_| false);
    Ok(())
}

/// Labels of a call, as other vendors take them: texts by name.
pub(super) fn read_labels(field: Option<Field<'_>>) -> Result<Option<Json>, Invalid> {
    let Some(field) = field else { return Ok(None) };
    let labels = field.json();
    if !labels.is_object() {
        return Err(Invalid::field(field.path, "must be an object"));
    }
    Ok(Some(labels))
}
