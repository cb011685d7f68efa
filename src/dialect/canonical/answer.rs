//! What a chat call is answered.

use super::{Block, Content};
use crate::{dialect::tokens, domain::pricing::Quantities};

/// A whole answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// The upstream's id of it, without meaning to us.
    pub id: Option<String>,
    /// What the upstream calls the model.
    pub model: Option<String>,
    pub choices: Vec<Choice>,
    /// In disjoint buckets (`requests` is left at 0); `None` when the upstream reported none.
    pub usage: Option<Quantities>,
    pub service_tier: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    pub blocks: Vec<Block>,
    pub finish: Finish,
    /// The stop text that ended it, where the upstream tells.
    pub stop_sequence: Option<String>,
    /// The upstream's log probabilities in OpenAI chat's shape (`{"content":[…]}`).
    pub logprobs: Option<super::Json>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Finish {
    /// The model was done.
    #[default]
    Stop,
    /// The limit of output tokens, or of the context.
    Length,
    /// Tools are to be called; derived from the content, since some upstreams say `stop` then.
    ToolCalls,
    /// Withheld by a filter.
    Filtered,
    /// The model declined.
    Refused,
    /// A long turn was paused and can be continued.
    Paused,
}

impl Answer {
    /// Our own count of what was written.
    pub fn produced_tokens(&self) -> u64 {
        let count = |block: &Block| match &block.content {
            Content::Text(text) | Content::Refusal(text) | Content::Reasoning { text, .. } => tokens::count(text),
            Content::ToolCall { name, arguments, .. } => tokens::count(name) + tokens::count(arguments),
            Content::Opaque { json, .. } => tokens::count(json.text()),
            _ => 0,
        };
        self.choices.iter().flat_map(|choice| &choice.blocks).map(count).sum()
    }
}
