//! What a model wrote, in whole answers and in deltas of a stream.

use serde::Deserialize;

use crate::dialect::json::Prose;

#[derive(Debug, Deserialize)]
pub(super) struct Choice<'a> {
    #[serde(default)]
    pub index: Option<u32>,
    #[serde(borrow, default)]
    message: Option<Written<'a>>,
    #[serde(borrow, default)]
    delta: Option<Written<'a>>,
    /// Plain completions.
    #[serde(borrow, default)]
    text: Option<Prose<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Prose<'a>>,
}

#[derive(Debug, Deserialize)]
struct Written<'a> {
    #[serde(borrow, default)]
    content: Option<Prose<'a>>,
    #[serde(borrow, default)]
    reasoning_content: Option<Prose<'a>>,
    /// The same text under another name; some servers send both.
    #[serde(borrow, default)]
    reasoning: Option<Prose<'a>>,
    #[serde(borrow, default)]
    refusal: Option<Prose<'a>>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(borrow, default)]
    function_call: Option<Function<'a>>,
    #[serde(borrow, default)]
    audio: Option<Audio<'a>>,
}

#[derive(Debug, Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow, default)]
    function: Option<Function<'a>>,
    #[serde(borrow, default)]
    custom: Option<Function<'a>>,
}

#[derive(Debug, Deserialize)]
struct Function<'a> {
    #[serde(borrow, default)]
    name: Option<Prose<'a>>,
    #[serde(borrow, default, alias = "input")]
    arguments: Option<Prose<'a>>,
}

/// Sound itself is not counted in tokens here, only what was said.
#[derive(Debug, Deserialize)]
struct Audio<'a> {
    #[serde(borrow, default)]
    transcript: Option<Prose<'a>>,
}

impl Choice<'_> {
    /// Calls `each` with every piece of text of this choice.
    pub fn for_each_text(&self, mut each: impl FnMut(&str)) {
        let mut give = |prose: &Option<Prose<'_>>| match prose {
            Some(Prose(text)) if !text.is_empty() => each(text),
            _ => {}
        };
        give(&self.text);
        for written in [&self.message, &self.delta].into_iter().flatten() {
            give(&written.content);
            give(if written.reasoning_content.is_some() { &written.reasoning_content } else { &written.reasoning });
            give(&written.refusal);
            let calls = written.tool_calls.iter().flatten().flat_map(|call| [&call.function, &call.custom]);
            for function in calls.chain([&written.function_call]).flatten() {
                give(&function.name);
                give(&function.arguments);
            }
            if let Some(audio) = &written.audio {
                give(&audio.transcript);
            }
        }
    }

    /// Sound in a delta: content without text.
    pub fn has_audio(&self) -> bool {
        [&self.message, &self.delta].into_iter().flatten().any(|written| written.audio.is_some())
    }

    /// Some servers send an empty reason until the end.
    pub fn is_finished(&self) -> bool {
        self.finish_reason.as_ref().is_some_and(|reason| !reason.0.is_empty())
    }
}
