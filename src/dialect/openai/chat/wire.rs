//! What servers of this format write, in answers and in chunks of a stream. Read leniently: a shape that we do not know breaks nothing.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::reasoning::Detail;
use crate::dialect::{
    canonical::{Citation, Json},
    json::{Prose, Text},
    openai::annotations,
};

/// A chunk, or a whole answer.
#[derive(Deserialize)]
pub(super) struct Written<'a> {
    #[serde(borrow, default)]
    pub id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub object: Option<Prose<'a>>,
    #[serde(borrow, default)]
    pub model: Option<Prose<'a>>,
    #[serde(borrow, default)]
    pub choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default)]
    pub usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub service_tier: Option<Prose<'a>>,
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Choice<'a> {
    #[serde(default)]
    pub index: Option<u32>,
    #[serde(borrow, default)]
    message: Option<Said<'a>>,
    #[serde(borrow, default)]
    delta: Option<Said<'a>>,
    #[serde(borrow, default)]
    pub finish_reason: Option<Prose<'a>>,
    /// The stop text, as some servers tell it.
    #[serde(borrow, default)]
    stop_reason: Option<Prose<'a>>,
    #[serde(borrow, default)]
    logprobs: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
pub(super) struct Said<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    annotations: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<Prose<'a>>,
    #[serde(borrow, default)]
    reasoning_content: Option<Prose<'a>>,
    #[serde(borrow, default)]
    reasoning: Option<Prose<'a>>,
    #[serde(borrow, default)]
    reasoning_details: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(borrow, default)]
    pub function_call: Option<Function<'a>>,
}

#[derive(Deserialize)]
pub(super) struct ToolCall<'a> {
    #[serde(default)]
    pub index: Option<u32>,
    #[serde(borrow, default)]
    pub id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub function: Option<Function<'a>>,
    #[serde(borrow, default)]
    pub custom: Option<Function<'a>>,
    #[serde(borrow, default)]
    pub extra_content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Function<'a> {
    #[serde(borrow, default)]
    pub name: Option<Prose<'a>>,
    #[serde(borrow, default, alias = "input")]
    arguments: Option<&'a RawValue>,
}

impl<'a> Function<'a> {
    /// A piece of the arguments' text; some servers write the object itself.
    pub fn arguments(&self) -> Cow<'a, str> {
        match self.arguments {
            Some(raw) if raw.get().starts_with('{') => Cow::Borrowed(raw.get()),
            Some(raw) => serde_json::from_str::<Text<'a>>(raw.get()).map(|text| text.0).unwrap_or_default(),
            None => Cow::Borrowed(""),
        }
    }

    pub fn name(&self) -> &str {
        self.name.as_ref().map_or("", |name| &name.0)
    }
}

/// A piece of what was said.
pub(super) enum Piece<'a> {
    Text(Cow<'a, str>),
    Thought(Cow<'a, str>),
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<Prose<'a>>,
    #[serde(borrow, default)]
    thinking: Option<Prose<'a>>,
}

impl<'a> Said<'a> {
    /// The thoughts outside of the details; some servers send them under two names.
    pub fn thoughts(&self) -> &str {
        let names = [&self.reasoning_content, &self.reasoning];
        names.into_iter().flatten().map(|prose| &*prose.0).find(|text| !text.is_empty()).unwrap_or_default()
    }

    pub fn refusal(&self) -> Option<&str> {
        self.refusal.as_ref().map(|text| &*text.0).filter(|text| !text.is_empty())
    }

    /// What the text of the message is based on, in positions of the whole message.
    pub fn citations(&self) -> Vec<Citation> {
        self.annotations.map(annotations::read).unwrap_or_default()
    }

    pub fn details(&self) -> Vec<Detail<'a>> {
        self.reasoning_details.map(super::reasoning::details).unwrap_or_default()
    }

    /// Calls `each` with what stands in `content`: a string, or parts of which some servers make thoughts.
    pub fn for_each_piece(&self, mut each: impl FnMut(Piece<'a>)) {
        let Some(raw) = self.content else { return };
        if let Ok(Text(text)) = serde_json::from_str::<Text<'a>>(raw.get()) {
            if !text.is_empty() {
                each(Piece::Text(text));
            }
            return;
        }
        for part in serde_json::from_str::<Vec<Part<'a>>>(raw.get()).unwrap_or_default() {
            match part {
                Part { thinking: Some(Prose(text)), .. } => each(Piece::Thought(text)),
                Part { text: Some(Prose(text)), .. } => each(Piece::Text(text)),
                Part { .. } => {}
            }
        }
    }
}

impl<'a> Choice<'a> {
    pub fn said(&self) -> Option<&Said<'a>> {
        self.delta.as_ref().or(self.message.as_ref())
    }

    pub fn stop_sequence(&self) -> Option<String> {
        self.stop_reason.as_ref().map(|text| text.0.clone().into_owned()).filter(|text| !text.is_empty())
    }

    pub fn logprobs(&self) -> Option<Json> {
        self.logprobs.filter(|raw| raw.get() != "null").map(Json::from)
    }

    /// Some servers send an empty reason until the end.
    pub fn finish_reason(&self) -> Option<&str> {
        self.finish_reason.as_ref().map(|reason| &*reason.0).filter(|reason| !reason.is_empty())
    }
}
