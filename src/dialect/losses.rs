//! What a writer cannot carry: left out by a documented rule and listed, or refused, both in the caller's words.

use super::{
    Endpoint,
    canonical::{Request, Unmodelled},
    format::Unsupported,
};

/// A part of a call that not every format can express.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    AudioInput,
    CacheHints,
    CacheKey,
    Choices,
    Documents,
    FileId,
    FrequencyPenalty,
    ImageDetail,
    Images,
    Logprobs,
    Media,
    Messages,
    Metadata,
    OutputFormat,
    ParallelTools,
    ParticipantName,
    PresencePenalty,
    Reasoning,
    Seed,
    ServiceTier,
    Stop,
    StrictTools,
    Temperature,
    ToolChoice,
    Tools,
    TopK,
    TopP,
    User,
    Verbosity,
}

impl Part {
    /// What callers of a format call this part.
    fn name(self, caller: Endpoint) -> &'static str {
        let [chat, responses, messages, gemini] = match self {
            Self::AudioInput => ["input_audio", "input_audio", "audio", "inlineData"],
            Self::CacheHints => ["cache_control"; 4],
            Self::CacheKey => ["prompt_cache_key", "prompt_cache_key", "cache_control", "cachedContent"],
            Self::Choices => ["n", "n", "n", "generationConfig.candidateCount"],
            Self::Documents => ["file", "input_file", "document", "inlineData"],
            Self::FileId => ["file.file_id", "file_id", "source.file_id", "fileData"],
            Self::FrequencyPenalty => ["frequency_penalty", "frequency_penalty", "frequency_penalty", "generationConfig.frequencyPenalty"],
            Self::ImageDetail => ["image_url.detail", "detail", "detail", "mediaResolution"],
            Self::Images => ["image_url", "input_image", "image", "inlineData"],
            Self::Logprobs => ["logprobs", "top_logprobs", "logprobs", "generationConfig.responseLogprobs"],
            Self::Media => ["file.file_data", "file_data", "source.media_type", "inlineData.mimeType"],
            Self::Messages => ["messages", "input", "messages", "contents"],
            Self::Metadata => ["metadata", "metadata", "metadata", "labels"],
            Self::OutputFormat => ["response_format", "text.format", "output_config.format", "generationConfig.responseMimeType"],
            Self::ParallelTools => {
                ["parallel_tool_calls", "parallel_tool_calls", "tool_choice.disable_parallel_tool_use", "parallelToolCalls"]
            }
            Self::ParticipantName => ["messages.name", "input.name", "messages.name", "contents.name"],
            Self::PresencePenalty => ["presence_penalty", "presence_penalty", "presence_penalty", "generationConfig.presencePenalty"],
            Self::Reasoning => ["reasoning_effort", "reasoning", "thinking", "generationConfig.thinkingConfig"],
            Self::Seed => ["seed", "seed", "seed", "generationConfig.seed"],
            Self::ServiceTier => ["service_tier", "service_tier", "service_tier", "serviceTier"],
            Self::Stop => ["stop", "stop", "stop_sequences", "generationConfig.stopSequences"],
            Self::StrictTools => ["tools.function.strict", "tools.strict", "tools.strict", "tools.strict"],
            Self::Temperature => ["temperature", "temperature", "temperature", "generationConfig.temperature"],
            Self::ToolChoice => ["tool_choice", "tool_choice", "tool_choice", "toolConfig.functionCallingConfig"],
            Self::Tools => ["tools", "tools", "tools", "tools"],
            Self::TopK => ["top_k", "top_k", "top_k", "generationConfig.topK"],
            Self::TopP => ["top_p", "top_p", "top_p", "generationConfig.topP"],
            Self::User => ["user", "user", "metadata.user_id", "user"],
            Self::Verbosity => ["verbosity", "text.verbosity", "verbosity", "verbosity"],
        };
        match caller {
            Endpoint::Responses => responses,
            Endpoint::Messages => messages,
            Endpoint::GenerateContent => gemini,
            _ => chat,
        }
    }
}

/// Collects what one writing left out.
#[derive(Debug)]
pub(crate) struct Losses {
    caller: Endpoint,
    drop_unsupported: bool,
    dropped: Vec<String>,
}

/// What callers of a format call the parts of a call that not every model takes, for refusals that are made before any format is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldNames {
    pub messages: &'static str,
    pub tools: &'static str,
    pub output_format: &'static str,
    /// `None` where the path asks for a stream.
    pub stream: Option<&'static str>,
}

impl FieldNames {
    pub fn of(caller: Endpoint) -> Self {
        Self {
            messages: if caller == Endpoint::Completions { "prompt" } else { Part::Messages.name(caller) },
            tools: Part::Tools.name(caller),
            output_format: Part::OutputFormat.name(caller),
            stream: (caller != Endpoint::GenerateContent).then_some("stream"),
        }
    }
}

impl Losses {
    /// `drop_unsupported`: whether the caller would rather have things dropped than the call refused.
    pub fn of(request: &Request, drop_unsupported: bool) -> Self {
        Self { caller: request.caller.unwrap_or(Endpoint::ChatCompletions), drop_unsupported, dropped: Vec::new() }
    }

    /// Leaves out a part whose absence a documented rule allows.
    pub fn drop(&mut self, part: Part) {
        self.drop_named(part.name(self.caller).to_owned());
    }

    /// Refuses a part that cannot be dropped either.
    pub fn never(&self, part: Part, why: impl Into<String>) -> Unsupported {
        Unsupported { field: part.name(self.caller).to_owned(), why: why.into() }
    }

    /// Refuses a part, unless the caller would rather have it dropped.
    pub fn refuse(&mut self, part: Part, why: impl Into<String>) -> Result<(), Unsupported> {
        self.refuse_named(part.name(self.caller).to_owned(), why)
    }

    /// The same for a field with a name of its own.
    pub fn refuse_named(&mut self, field: String, why: impl Into<String>) -> Result<(), Unsupported> {
        if !self.drop_unsupported {
            return Err(Unsupported { field, why: why.into() });
        }
        self.drop_named(field);
        Ok(())
    }

    /// Fields of the caller's dialect that no other can express.
    pub fn take_unmodelled(&mut self, unmodelled: &[Unmodelled]) -> Result<(), Unsupported> {
        for Unmodelled { field, harmless } in unmodelled {
            if *harmless {
                self.drop_named(field.clone());
            } else {
                self.refuse_named(field.clone(), "its upstream speaks another format, which has no such field")?;
            }
        }
        Ok(())
    }

    /// Everything that was left out, each once, as the caller wrote it.
    pub fn into_dropped(self) -> Vec<String> {
        self.dropped
    }

    fn drop_named(&mut self, field: String) {
        if !self.dropped.contains(&field) {
            self.dropped.push(field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_have_the_callers_names() {
        for (caller, name) in [(Endpoint::ChatCompletions, "stop"), (Endpoint::Messages, "stop_sequences")] {
            let request = Request { caller: Some(caller), ..Request::default() };
            let refused = Losses::of(&request, false).refuse(Part::Stop, "why").expect_err("refused");
            assert_eq!((refused.field.as_str(), refused.why.as_str()), (name, "why"));
            let mut lenient = Losses::of(&request, true);
            lenient.refuse(Part::Stop, "why").expect("dropped");
            lenient.drop(Part::Stop);
            assert_eq!(lenient.into_dropped(), [name]);
        }
    }

    #[test]
    fn unmodelled_fields_are_refused_unless_harmless() {
        let field = |field: &str, harmless| Unmodelled { field: field.to_owned(), harmless };
        let request = Request::default();
        let mut losses = Losses::of(&request, false);
        losses.take_unmodelled(&[field("store", true)]).expect("harmless");
        assert_eq!(losses.take_unmodelled(&[field("logit_bias", false)]).expect_err("refused").field, "logit_bias");
        assert_eq!(losses.into_dropped(), ["store"]);
    }
}
