//! An answer or one event of a stream, borrowed. Fields that are not read here are nobody's business and pass as they are.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::{
    canonical::Finish,
    json::{self, Prose, Text},
    parse_upstream_error,
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Response<'a> {
    #[serde(borrow, default)]
    pub candidates: Option<Vec<Candidate<'a>>>,
    #[serde(borrow, default, alias = "prompt_feedback")]
    pub prompt_feedback: Option<PromptFeedback<'a>>,
    /// `null` included, so that its place is known.
    #[serde(borrow, default, alias = "usage_metadata", deserialize_with = "json::present")]
    pub usage_metadata: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "model_version")]
    pub model_version: Option<Text<'a>>,
    #[serde(borrow, default, alias = "response_id")]
    pub response_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PromptFeedback<'a> {
    #[serde(borrow, default, alias = "block_reason")]
    pub block_reason: Option<Prose<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Candidate<'a> {
    #[serde(borrow, default)]
    pub content: Option<Content<'a>>,
    #[serde(borrow, default, alias = "finish_reason")]
    pub finish_reason: Option<Prose<'a>>,
    #[serde(borrow, default, alias = "finish_message")]
    pub finish_message: Option<Prose<'a>>,
    #[serde(default)]
    pub index: Option<u32>,
    #[serde(borrow, default, alias = "logprobs_result")]
    pub logprobs_result: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "grounding_metadata")]
    pub grounding_metadata: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "citation_metadata")]
    pub citation_metadata: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Content<'a> {
    #[serde(borrow, default)]
    pub parts: Option<Vec<Part<'a>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part<'a> {
    #[serde(borrow, default)]
    pub text: Option<Text<'a>>,
    #[serde(default)]
    pub thought: Option<bool>,
    #[serde(borrow, default, alias = "thought_signature")]
    pub thought_signature: Option<Text<'a>>,
    #[serde(borrow, default, alias = "function_call")]
    pub function_call: Option<FunctionCall<'a>>,
    #[serde(borrow, default, alias = "inline_data")]
    pub inline_data: Option<InlineData<'a>>,
    #[serde(borrow, default, alias = "executable_code")]
    pub executable_code: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "code_execution_result")]
    pub code_execution_result: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
pub(super) struct FunctionCall<'a> {
    #[serde(borrow, default)]
    pub id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub name: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub args: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InlineData<'a> {
    #[serde(borrow, default, alias = "mime_type")]
    pub mime_type: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub data: Option<Text<'a>>,
}

/// Why there is no answer, in words that say whose they are.
fn not_json(error: impl std::fmt::Display) -> String {
    format!("the answer is not the JSON it should be: {error}")
}

impl<'a> Response<'a> {
    /// Reads an answer or an event. One that is an error in itself is told as such.
    pub fn parse(body: &'a [u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(body).map_err(|_| not_json("it is not UTF-8"))?;
        if !json::is_object(text) {
            return Err(not_json("it is no object"));
        }
        let response: Self = serde_json::from_str(text).map_err(not_json)?;
        if response.error.is_some_and(|error| !matches!(error.get(), "null" | "{}")) {
            return Err(format!("a good status with an error inside: {}", parse_upstream_error(body)));
        }
        Ok(response)
    }

    pub fn candidates(&self) -> &[Candidate<'a>] {
        self.candidates.as_deref().unwrap_or_default()
    }

    pub fn is_blocked(&self) -> bool {
        let reason = self.prompt_feedback.as_ref().and_then(|feedback| feedback.block_reason.as_ref());
        reason.is_some_and(|reason| !matches!(&*reason.0, "" | "BLOCK_REASON_UNSPECIFIED"))
    }
}

impl<'a> Candidate<'a> {
    pub fn parts(&self) -> &[Part<'a>] {
        self.content.as_ref().and_then(|content| content.parts.as_deref()).unwrap_or_default()
    }

    /// `None` while more is to come.
    pub fn ending(&self) -> Option<Ending> {
        let reason = self.finish_reason.as_ref().map(|reason| &*reason.0)?;
        Some(match reason {
            "" | "FINISH_REASON_UNSPECIFIED" => return None,
            "STOP" => Ending::Stop,
            "MAX_TOKENS" => Ending::Length,
            "SAFETY"
            | "RECITATION"
            | "LANGUAGE"
            | "BLOCKLIST"
            | "PROHIBITED_CONTENT"
            | "SPII"
            | "IMAGE_SAFETY"
            | "IMAGE_PROHIBITED_CONTENT"
            | "IMAGE_RECITATION" => Ending::Filtered,
            "MALFORMED_FUNCTION_CALL"
            | "UNEXPECTED_TOOL_CALL"
            | "TOO_MANY_TOOL_CALLS"
            | "MISSING_THOUGHT_SIGNATURE"
            | "MALFORMED_RESPONSE" => Ending::Failed,
            _ => Ending::Unknown,
        })
    }

    /// The reason of an answer that failed, with what the vendor says of it.
    pub fn failure(&self) -> String {
        let reason = self.finish_reason.as_ref().map_or("", |reason| &reason.0);
        match &self.finish_message {
            Some(message) if !message.0.is_empty() => format!("the model's answer failed with {reason}: {}", message.0),
            _ => format!("the model's answer failed with {reason}"),
        }
    }
}

/// What a finish reason amounts to. The vendor adds new ones at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Stop,
    Length,
    Filtered,
    /// What the model wrote could not be used.
    Failed,
    Unknown,
}

impl Ending {
    /// Gemini says `STOP` also when functions are to be called.
    pub fn finish(self, has_calls: bool, has_content: bool) -> Finish {
        match self {
            Self::Length => Finish::Length,
            Self::Filtered => Finish::Filtered,
            _ if has_calls => Finish::ToolCalls,
            Self::Unknown if !has_content => Finish::Filtered,
            _ => Finish::Stop,
        }
    }
}

/// What Gemini calls the end of another vendor's answer.
pub(super) fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::ToolCalls | Finish::Paused => "STOP",
        Finish::Length => "MAX_TOKENS",
        Finish::Filtered | Finish::Refused => "SAFETY",
    }
}

impl<'a> Part<'a> {
    pub fn text(&self) -> &str {
        self.text.as_ref().map_or("", |text| &text.0)
    }

    pub fn is_thought(&self) -> bool {
        self.thought == Some(true)
    }

    pub fn signature(&self) -> Option<&str> {
        self.thought_signature.as_ref().map(|signature| &*signature.0).filter(|signature| !signature.is_empty())
    }

    /// Calls `each` with everything the model wrote.
    pub fn for_each_text(&self, mut each: impl FnMut(&str)) {
        let raws = [self.executable_code, self.code_execution_result].into_iter().flatten().map(RawValue::get);
        let call = self.function_call.iter().flat_map(|call| [call.name(), call.arguments()]);
        [self.text()].into_iter().chain(call).chain(raws).filter(|text| !text.is_empty()).for_each(&mut each);
    }

    /// Images and sound are content without text.
    pub fn has_media(&self) -> bool {
        self.inline_data.is_some()
    }
}

impl FunctionCall<'_> {
    pub fn name(&self) -> &str {
        self.name.as_ref().map_or("", |name| &name.0)
    }

    pub fn arguments(&self) -> &str {
        self.args.map(RawValue::get).filter(|args| *args != "null").unwrap_or("{}")
    }

    /// The vendor's id; where it gave none, one that is the same whenever the answer is read again, and another in every answer.
    pub fn id(&self, response_id: Option<&str>, position: usize) -> String {
        if let Some(id) = self.id.as_ref().filter(|id| !id.0.is_empty()) {
            return id.0.clone().into_owned();
        }
        let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
        let answer: String = match response_id.filter(|id| !id.is_empty()) {
            Some(id) => id.chars().filter(is_plain).take(40).collect(),
            None => format!("{:08x}", crc32fast::hash([self.name(), self.arguments()].concat().as_bytes())),
        };
        format!("call_{answer}_{position}")
    }
}
