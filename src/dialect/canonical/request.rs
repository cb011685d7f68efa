//! What a chat call asks for.

use super::{Citation, Json};
use crate::dialect::{Dialect, Endpoint, tokens};

/// What the chat format adds around each message, and once around all of them.
const TOKENS_PER_MESSAGE: u64 = 4;
const TOKENS_PER_CHAT: u64 = 3;
/// Flat count of an image or of one page of a document.
const MEDIA_TOKENS: u64 = 1_600;
/// Base64 characters per page of a document, and per token of compressed sound: rather too many tokens than too few.
const FILE_CHARACTERS_PER_PAGE: u64 = 40_000;
const AUDIO_CHARACTERS_PER_TOKEN: u64 = 400;

/// One chat call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// Whose words name what cannot be carried; set by the plan, OpenAI chat's when missing.
    pub caller: Option<Endpoint>,
    /// As the caller names it.
    pub model: String,
    pub streamed: bool,
    /// Whether a chat client asked for the usage chunk; other dialects always carry usage.
    pub include_usage: bool,
    /// Instructions that stand before the first turn.
    pub system: Vec<Block>,
    pub turns: Vec<Turn>,
    pub tools: Vec<Tool>,
    pub tool_choice: Option<ToolChoice>,
    /// `Some(false)`: at most one tool call per answer.
    pub parallel_tools: Option<bool>,
    pub sampling: Sampling,
    pub reasoning: Option<Reasoning>,
    pub output: OutputFormat,
    /// `low`, `medium`, `high`
    pub verbosity: Option<String>,
    /// The end user, as the caller names it to the vendor.
    pub user: Option<String>,
    /// The caller's own labels; an object.
    pub metadata: Option<Json>,
    pub cache_key: Option<String>,
    pub service_tier: Option<String>,
    /// What answers in the caller's dialect repeat of the call (OpenAI Responses): an object.
    pub echo: Option<Json>,
    /// The caller knows one function call per answer and no ids of calls (OpenAI chat before it had tools).
    pub legacy_functions: bool,
    /// Fields that were there and that no other dialect can express.
    pub unmodelled: Vec<Unmodelled>,
}

/// A field of the caller's dialect that has no canonical place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmodelled {
    /// As the caller wrote it, for example `logit_bias` or `tools[2].type`.
    pub field: String,
    /// True when leaving it out changes nothing about the answer's content (a label, a hint). Others are refused by upstreams of another
    /// dialect, unless the caller allows to drop them.
    pub harmless: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions in the middle of a conversation.
    System,
    User,
    Assistant,
}

/// A message. Neighbours may have the same role; dialects that forbid it merge them.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    pub role: Role,
    /// Name of the participant, where a dialect knows one.
    pub name: Option<String>,
    pub blocks: Vec<Block>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    pub content: Content,
    /// Where an upstream's prompt cache should end.
    pub cache: Option<CacheHint>,
    /// What a text of an answer is based on. Empty in calls: what earlier answers cited is not carried to other formats.
    pub citations: Vec<Citation>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheHint {
    /// `5m`, `1h`; the vendor's default when missing.
    pub ttl: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    Text(String),
    /// The model declined, in words.
    Refusal(String),
    /// `detail` as in OpenAI: `low`, `high`, `auto`.
    Image {
        source: Source,
        detail: Option<String>,
    },
    Document {
        source: Source,
        name: Option<String>,
    },
    Audio {
        source: Source,
    },
    ToolCall {
        id: String,
        name: String,
        /// JSON text of an object; the plain input when `kind` is custom. Never empty: no arguments are `{}`.
        arguments: String,
        kind: ToolKind,
        /// What the vendor wants back with the call (Gemini's `thoughtSignature`).
        signature: Option<Signature>,
    },
    /// The result of an earlier tool call; stands in a user turn.
    ToolResult {
        call_id: String,
        name: Option<String>,
        blocks: Vec<Block>,
        is_error: bool,
    },
    /// What the model thought. `text` may be empty when only a signature or a sealed form exists.
    Reasoning {
        text: String,
        signature: Option<Signature>,
    },
    /// A block of the caller's dialect that no other can express; forwarded only to its own.
    Opaque {
        kind: String,
        json: Json,
    },
}

/// Bytes that only the vendor that made them understands; dropped on the way to another, never made up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub vendor: Dialect,
    pub value: String,
    /// True when `value` is the sealed thought itself (Anthropic's `redacted_thinking`, OpenAI's `encrypted_content`).
    pub sealed: bool,
    /// The id of a reasoning item (OpenAI Responses).
    pub id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `data` is standard base64, whatever alphabet it came in.
    Base64 {
        mime: String,
        data: String,
    },
    Url {
        url: String,
        mime: Option<String>,
    },
    /// Uploaded to the vendor before.
    File {
        id: String,
    },
    /// Plain text, of a document.
    Text(String),
}

impl Source {
    /// Moving pictures, which Gemini's format has no kind of its own for.
    pub fn is_video(&self) -> bool {
        let mime = match self {
            Self::Base64 { mime, .. } => Some(mime),
            Self::Url { mime, .. } => mime.as_ref(),
            Self::File { .. } | Self::Text(_) => None,
        };
        mime.is_some_and(|mime| mime.starts_with("video/"))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ToolKind {
    /// Takes a JSON object.
    #[default]
    Function,
    /// Takes plain text (OpenAI's `custom`).
    Custom,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    pub kind: ToolKind,
    pub name: String,
    pub description: Option<String>,
    /// JSON Schema of the arguments; `None` is an object without properties.
    pub parameters: Option<Json>,
    pub strict: Option<bool>,
    pub cache: Option<CacheHint>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    Auto,
    None,
    /// Some tool has to be called.
    Required,
    Named(String),
    /// Some of these, required or not.
    Allowed {
        names: Vec<String>,
        required: bool,
    },
}

/// Numbers are carried as the text they were written in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sampling {
    pub max_output_tokens: Option<u64>,
    /// Answers to make; 1 when missing.
    pub n: Option<u64>,
    pub temperature: Option<Json>,
    pub top_p: Option<Json>,
    pub top_k: Option<Json>,
    pub seed: Option<Json>,
    pub presence_penalty: Option<Json>,
    pub frequency_penalty: Option<Json>,
    pub stop: Vec<String>,
    /// How many alternatives of each token to report; `Some(0)` is the chosen one's probability only.
    pub logprobs: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    ExtraHigh,
    Max,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reasoning {
    pub effort: Option<Effort>,
    /// Tokens the model may think; wins over `effort` where a dialect has both.
    pub budget_tokens: Option<u64>,
    /// Whether the caller wants to see thoughts or their summary.
    pub visible: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub enum OutputFormat {
    #[default]
    Text,
    /// Any JSON object.
    JsonObject,
    JsonSchema {
        name: Option<String>,
        description: Option<String>,
        schema: Json,
        strict: Option<bool>,
    },
}

/// What a model must be able to do for a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    pub vision: bool,
    pub documents: bool,
    pub audio_input: bool,
    pub tools: bool,
    pub json_schema: bool,
}

impl Effort {
    /// OpenAI's words; `max` is beyond them.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "none" => Self::None,
            "minimal" => Self::Minimal,
            "low" => Self::Low,
            "medium" => Self::Medium,
            "high" => Self::High,
            "xhigh" => Self::ExtraHigh,
            "max" => Self::Max,
            _ => return None,
        })
    }

    /// The effort that a budget of tokens stands for, the same for every dialect. Words below `low` and above `high` are known to few
    /// models and never follow from a number.
    pub fn of_budget(tokens: u64) -> Self {
        match tokens {
            0 => Self::None,
            1..=2_048 => Self::Low,
            2_049..=8_192 => Self::Medium,
            _ => Self::High,
        }
    }

    /// The tokens an effort stands for where a model is told a number, the same for every dialect; formats have limits of their own.
    pub fn budget_tokens(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Minimal => 512,
            Self::Low => 1_024,
            Self::Medium => 4_096,
            Self::High => 16_384,
            Self::ExtraHigh => 32_768,
            Self::Max => 65_536,
        }
    }
}

impl Reasoning {
    /// How much to think, in tokens.
    pub fn as_budget_tokens(&self) -> Option<u64> {
        self.budget_tokens.or(self.effort.map(Effort::budget_tokens))
    }

    /// How much to think, as a word.
    pub fn as_effort(&self) -> Option<Effort> {
        self.budget_tokens.map(Effort::of_budget).or(self.effort)
    }
}

impl Block {
    pub fn new(content: Content) -> Self {
        Self { content, cache: None, citations: Vec::new() }
    }

    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Content::Text(text.into()))
    }

    fn for_each_text<'a>(&'a self, each: &mut dyn FnMut(&'a str)) {
        match &self.content {
            Content::Text(text) | Content::Refusal(text) | Content::Reasoning { text, .. } => each(text),
            Content::Document { source: Source::Text(text), .. } => each(text),
            Content::ToolCall { name, arguments, .. } => {
                each(name);
                each(arguments);
            }
            Content::ToolResult { blocks, .. } => blocks.iter().for_each(|block| block.for_each_text(each)),
            Content::Opaque { json, .. } => each(json.text()),
            Content::Image { .. } | Content::Document { .. } | Content::Audio { .. } => {}
        }
    }

    fn media_tokens(&self) -> u64 {
        match &self.content {
            Content::Image { .. } => MEDIA_TOKENS,
            Content::Document { source: Source::Text(_), .. } => 0,
            Content::Document { source: Source::Base64 { data, .. }, .. } => {
                (data.len() as u64).div_ceil(FILE_CHARACTERS_PER_PAGE).max(1) * MEDIA_TOKENS
            }
            Content::Document { .. } => MEDIA_TOKENS,
            Content::Audio { source: Source::Base64 { data, .. } } => (data.len() as u64).div_ceil(AUDIO_CHARACTERS_PER_TOKEN),
            Content::Audio { .. } => MEDIA_TOKENS,
            Content::ToolResult { blocks, .. } => blocks.iter().map(Self::media_tokens).sum(),
            _ => 0,
        }
    }

    fn note_needs(&self, needs: &mut Needs) {
        match &self.content {
            Content::Image { .. } => needs.vision = true,
            Content::Document { .. } => needs.documents = true,
            Content::Audio { .. } => needs.audio_input = true,
            Content::ToolResult { blocks, .. } => blocks.iter().for_each(|block| block.note_needs(needs)),
            _ => {}
        }
    }
}

impl Request {
    fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.system.iter().chain(self.turns.iter().flat_map(|turn| &turn.blocks))
    }

    /// Calls `each` with everything that is tokenised.
    pub fn for_each_text<'a>(&'a self, each: &mut dyn FnMut(&'a str)) {
        for tool in &self.tools {
            each(&tool.name);
            tool.description.as_deref().into_iter().for_each(&mut *each);
            tool.parameters.as_ref().map(Json::text).into_iter().for_each(&mut *each);
        }
        if let OutputFormat::JsonSchema { schema, .. } = &self.output {
            each(schema.text());
        }
        self.blocks().for_each(|block| block.for_each_text(each));
    }

    /// Bytes that [`Self::input_tokens`] has to tokenise.
    pub fn text_bytes(&self) -> usize {
        let mut bytes = 0;
        self.for_each_text(&mut |text| bytes += text.len());
        bytes
    }

    /// The part of the count that needs no tokenising: framing and media.
    pub fn flat_tokens(&self) -> u64 {
        let messages = self.turns.len() as u64 + u64::from(!self.system.is_empty());
        messages * TOKENS_PER_MESSAGE + TOKENS_PER_CHAT + self.blocks().map(Block::media_tokens).sum::<u64>()
    }

    /// Our count of the input, rather too high than too low.
    pub fn input_tokens(&self) -> u64 {
        let mut counted = self.flat_tokens();
        self.for_each_text(&mut |text| counted += tokens::count(text));
        counted
    }

    pub fn needs(&self) -> Needs {
        let mut needs = Needs {
            tools: !self.tools.is_empty(),
            json_schema: matches!(self.output, OutputFormat::JsonSchema { .. }),
            ..Needs::default()
        };
        self.blocks().for_each(|block| block.note_needs(&mut needs));
        needs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn efforts_and_budgets_are_one_table() {
        for effort in [Effort::None, Effort::Low, Effort::Medium, Effort::High] {
            assert_eq!(Effort::of_budget(effort.budget_tokens()), effort);
        }
        for (beyond, nearest) in [(Effort::Minimal, Effort::Low), (Effort::ExtraHigh, Effort::High), (Effort::Max, Effort::High)] {
            assert_eq!(Effort::of_budget(beyond.budget_tokens()), nearest);
        }
        let both = Reasoning { effort: Some(Effort::High), budget_tokens: Some(1_000), visible: None };
        assert_eq!((both.as_effort(), both.as_budget_tokens()), (Some(Effort::Low), Some(1_000)));
        let word = Reasoning { effort: Some(Effort::Medium), ..Reasoning::default() };
        assert_eq!((word.as_budget_tokens(), Reasoning::default().as_budget_tokens()), (Some(4_096), None));
    }
}
