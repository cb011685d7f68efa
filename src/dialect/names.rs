//! What callers of each dialect call the things that writers refuse or drop.

use super::Endpoint;

/// A thing in writers' words, and as callers of chat, Responses, Messages and Gemini say it; empty where they cannot.
pub(super) struct Name {
    pub ours: &'static str,
    chat: &'static str,
    responses: &'static str,
    messages: &'static str,
    gemini: &'static str,
}

const fn name(ours: &'static str, chat: &'static str, responses: &'static str, messages: &'static str, gemini: &'static str) -> Name {
    Name { ours, chat, responses, messages, gemini }
}

/// In the order of the table in `docs/translation.md`.
#[rustfmt::skip]
pub(super) const NAMES: [Name; 33] = [
    name("system", "messages[].role", "instructions", "system", "systemInstruction"),
    name("name", "messages[].name", "", "", ""),
    name("image", "image_url", "input_image", "image", "inlineData"),
    name("image URL", "image_url.url", "input_image.image_url", "image.source", "fileData"),
    name("document", "file", "input_file", "document", "inlineData"),
    name("document URL", "file.file_data", "input_file.file_url", "document.source", "fileData"),
    name("document text", "", "", "document.source", ""),
    name("document file id", "file.file_id", "input_file.file_id", "document.source", ""),
    name("audio", "input_audio", "input_audio", "", "inlineData"),
    name("tools", "tools", "tools", "tools", "tools.functionDeclarations"),
    name("custom tools", "tools[].custom", "tools[].custom", "", ""),
    name("tool_choice", "tool_choice", "tool_choice", "tool_choice", "toolConfig.functionCallingConfig"),
    name("allowed tools", "tool_choice.allowed_tools", "tool_choice.allowed_tools", "", "allowedFunctionNames"),
    name("parallel_tool_calls", "parallel_tool_calls", "parallel_tool_calls", "tool_choice.disable_parallel_tool_use", ""),
    name("tool error", "", "", "tool_result.is_error", ""),
    name("max_tokens", "max_completion_tokens", "max_output_tokens", "max_tokens", "generationConfig.maxOutputTokens"),
    name("n", "n", "", "", "generationConfig.candidateCount"),
    name("temperature", "temperature", "temperature", "temperature", "generationConfig.temperature"),
    name("top_p", "top_p", "top_p", "top_p", "generationConfig.topP"),
    name("top_k", "top_k", "", "top_k", "generationConfig.topK"),
    name("seed", "seed", "", "", "generationConfig.seed"),
    name("presence_penalty", "presence_penalty", "presence_penalty", "", "generationConfig.presencePenalty"),
    name("frequency_penalty", "frequency_penalty", "frequency_penalty", "", "generationConfig.frequencyPenalty"),
    name("stop", "stop", "", "stop_sequences", "generationConfig.stopSequences"),
    name("logprobs", "logprobs", "top_logprobs", "", "generationConfig.responseLogprobs"),
    name("reasoning_effort", "reasoning_effort", "reasoning.effort", "output_config.effort", "generationConfig.thinkingConfig.thinkingLevel"),
    name("reasoning budget", "reasoning.max_tokens", "", "thinking.budget_tokens", "generationConfig.thinkingConfig.thinkingBudget"),
    name("response_format", "response_format", "text.format", "output_config.format", "generationConfig.responseJsonSchema"),
    name("JSON object", "response_format", "text.format", "", "generationConfig.responseMimeType"),
    name("verbosity", "verbosity", "text.verbosity", "", ""),
    name("cache_control", "cache_control", "", "cache_control", ""),
    name("service_tier", "service_tier", "service_tier", "service_tier", "serviceTier"),
    name("user", "user", "user", "metadata.user_id", ""),
];

impl Name {
    /// Empty where callers of this format cannot say it.
    pub fn said(&self, caller: Endpoint) -> &'static str {
        match caller {
            Endpoint::ChatCompletions => self.chat,
            Endpoint::Responses => self.responses,
            Endpoint::Messages => self.messages,
            Endpoint::GenerateContent => self.gemini,
            _ => "",
        }
    }
}

/// A writer's name of a field, as the caller wrote it. What has no name here is the caller's own already.
pub(super) fn as_written(caller: Endpoint, field: &str) -> &str {
    let said = NAMES.iter().find(|name| name.ours == field).map_or("", |name| name.said(caller));
    if said.is_empty() { field } else { said }
}
