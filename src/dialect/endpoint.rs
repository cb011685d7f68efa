//! Operations and the wire formats they belong to.

use crate::domain::catalog::ModelKind;

/// Whose wire format something is written in. Errors, signatures and end marks depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    OpenAi,
    Anthropic,
    Gemini,
    /// Bedrock's Converse; spoken by upstreams only.
    Converse,
    /// Cohere's own rerank; spoken by upstreams only.
    Cohere,
}

/// One operation in one wire format: a route of ours, something an upstream is asked, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    ChatCompletions,
    Completions,
    Responses,
    Embeddings,
    Moderations,
    Rerank,
    ImageGenerations,
    ImageEdits,
    Speech,
    Transcriptions,
    Translations,
    /// Sessions over a WebSocket.
    Realtime,
    Messages,
    GenerateContent,
    EmbedContent,
    BatchEmbedContents,
    Converse,
    CohereRerank,
}

impl Endpoint {
    pub const ALL: [Self; 18] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Responses,
        Self::Embeddings,
        Self::Moderations,
        Self::Rerank,
        Self::ImageGenerations,
        Self::ImageEdits,
        Self::Speech,
        Self::Transcriptions,
        Self::Translations,
        Self::Realtime,
        Self::Messages,
        Self::GenerateContent,
        Self::EmbedContent,
        Self::BatchEmbedContents,
        Self::Converse,
        Self::CohereRerank,
    ];

    pub fn dialect(self) -> Dialect {
        match self {
            Self::Messages => Dialect::Anthropic,
            Self::GenerateContent | Self::EmbedContent | Self::BatchEmbedContents => Dialect::Gemini,
            Self::Converse => Dialect::Converse,
            Self::CohereRerank => Dialect::Cohere,
            _ => Dialect::OpenAi,
        }
    }

    /// Our own route, as usage records and metrics name it; a name of its own for what only upstreams speak.
    pub fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses => "/v1/responses",
            Self::Embeddings => "/v1/embeddings",
            Self::Moderations => "/v1/moderations",
            Self::Rerank => "/v1/rerank",
            Self::ImageGenerations => "/v1/images/generations",
            Self::ImageEdits => "/v1/images/edits",
            Self::Speech => "/v1/audio/speech",
            Self::Transcriptions => "/v1/audio/transcriptions",
            Self::Translations => "/v1/audio/translations",
            Self::Realtime => "/v1/realtime",
            Self::Messages => "/v1/messages",
            Self::GenerateContent => "/v1beta/models:generateContent",
            Self::EmbedContent => "/v1beta/models:embedContent",
            Self::BatchEmbedContents => "/v1beta/models:batchEmbedContents",
            Self::Converse => "converse",
            Self::CohereRerank => "cohere/rerank",
        }
    }

    /// The label of metrics, and the name in an upstream's options.
    pub fn label(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
            Self::Moderations => "moderations",
            Self::Rerank => "rerank",
            Self::ImageGenerations => "image_generations",
            Self::ImageEdits => "image_edits",
            Self::Speech => "speech",
            Self::Transcriptions => "transcriptions",
            Self::Translations => "translations",
            Self::Realtime => "realtime",
            Self::Messages => "messages",
            Self::GenerateContent => "generate_content",
            Self::EmbedContent => "embed_content",
            Self::BatchEmbedContents => "batch_embed_contents",
            Self::Converse => "converse",
            Self::CohereRerank => "cohere_rerank",
        }
    }

    /// The operation with this [`Self::label`].
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.label() == label)
    }

    /// Whether this is a chat call, which can be translated into every other chat format.
    pub fn is_chat(self) -> bool {
        matches!(self, Self::ChatCompletions | Self::Responses | Self::Messages | Self::GenerateContent | Self::Converse)
    }

    /// Whether this is an embedding call, which can be translated into every other embedding format.
    pub fn is_embedding(self) -> bool {
        matches!(self, Self::Embeddings | Self::EmbedContent | Self::BatchEmbedContents)
    }

    /// Whether models of this kind can be called here. Chat models also take plain prompts.
    pub fn kind_allows(self, kind: ModelKind) -> bool {
        match self {
            Self::Completions => matches!(kind, ModelKind::Chat | ModelKind::Completion),
            Self::Embeddings | Self::EmbedContent | Self::BatchEmbedContents => kind == ModelKind::Embedding,
            Self::Moderations => kind == ModelKind::Moderation,
            Self::Rerank | Self::CohereRerank => kind == ModelKind::Rerank,
            Self::ImageGenerations | Self::ImageEdits => kind == ModelKind::Image,
            Self::Speech | Self::Transcriptions | Self::Translations => kind == ModelKind::Audio,
            Self::Realtime => matches!(kind, ModelKind::Chat | ModelKind::Audio),
            // Some models answer a chat with images or sound.
            Self::GenerateContent => matches!(kind, ModelKind::Chat | ModelKind::Image | ModelKind::Audio),
            Self::ChatCompletions | Self::Responses | Self::Messages | Self::Converse => kind == ModelKind::Chat,
        }
    }
}
