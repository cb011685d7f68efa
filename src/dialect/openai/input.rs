//! What a call puts into the model: messages, prompts, texts to embed; and our count of it.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::dialect::{
    canonical::Needs,
    json::{Prose, Text},
};

/// Flat count of an image: what a large one costs by OpenAI's tile rule. Also for videos and parts we do not know.
const MEDIA_TOKENS: u64 = 1_600;
/// Base64 characters of one audio token. OpenAI counts ten tokens a second; at the low rates in use a second is 4 kB of compressed
/// speech or 8 kB of WAV, so a token is at least 400 or 800 bytes.
const COMPRESSED_AUDIO_CHARACTERS_PER_TOKEN: u64 = 400 * 4 / 3;
const WAV_CHARACTERS_PER_TOKEN: u64 = 800 * 4 / 3;
/// Base64 characters of one page of a document (24 KiB), which counts as one image.
const FILE_CHARACTERS_PER_PAGE: u64 = 32 * 1024;

#[derive(Debug)]
pub(super) struct Messages<'a>(pub Vec<Message<'a>>);

#[derive(Debug, Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow, default)]
    role: Option<Text<'a>>,
    #[serde(borrow, default)]
    content: Content<'a>,
    #[serde(borrow, default)]
    name: Option<Prose<'a>>,
    #[serde(borrow, default)]
    refusal: Option<Prose<'a>>,
    #[serde(borrow, default)]
    reasoning_content: Option<Prose<'a>>,
    #[serde(borrow, default)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow, default)]
    function_call: Option<&'a RawValue>,
}

#[derive(Debug, Default)]
enum Content<'a> {
    #[default]
    Nothing,
    Text(Cow<'a, str>),
    Parts(Vec<Part<'a>>),
}

#[derive(Debug, Deserialize)]
struct Part<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    refusal: Option<Text<'a>>,
    #[serde(borrow, default)]
    input_audio: Option<Audio<'a>>,
    #[serde(borrow, default)]
    file: Option<File<'a>>,
}

#[derive(Debug, Deserialize)]
struct Audio<'a> {
    #[serde(borrow, default)]
    data: Option<Text<'a>>,
    #[serde(borrow, default)]
    format: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
struct File<'a> {
    #[serde(borrow, default)]
    file_data: Option<Text<'a>>,
}

impl<'a> Message<'a> {
    pub fn is_from_user(&self) -> bool {
        self.role.as_ref().is_some_and(|role| role.0 == "user")
    }

    /// The text parts, joined.
    pub fn text(&self) -> Cow<'_, str> {
        match &self.content {
            Content::Nothing => Cow::Borrowed(""),
            Content::Text(text) => Cow::Borrowed(text),
            Content::Parts(parts) => Cow::Owned(parts.iter().filter_map(|part| part.text.as_ref()).map(|text| &*text.0).collect()),
        }
    }

    /// Every text that is tokenised. Data of media is not.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let whole = match &self.content {
            Content::Text(text) => Some(&**text),
            _ => None,
        };
        let parts = self.parts().iter().flat_map(|part| [&part.text, &part.refusal]).flatten().map(|text| &*text.0);
        let prose = [&self.name, &self.refusal, &self.reasoning_content].into_iter().flatten().map(|prose| &*prose.0);
        let calls = [self.tool_calls, self.function_call].into_iter().flatten().map(RawValue::get);
        whole.into_iter().chain(parts).chain(prose).chain(calls)
    }

    pub fn note_needs(&self, needs: &mut Needs) {
        for part in self.parts() {
            match part.kind.as_ref().map(|kind| &*kind.0) {
                Some("image_url" | "input_image") => needs.vision = true,
                Some("file" | "input_file") => needs.documents = true,
                Some("input_audio") => needs.audio_input = true,
                _ => {}
            }
        }
    }

    pub fn media_tokens(&self) -> u64 {
        self.parts().iter().map(Part::media_tokens).sum()
    }

    fn parts(&self) -> &[Part<'a>] {
        match &self.content {
            Content::Parts(parts) => parts,
            _ => &[],
        }
    }
}

impl Part<'_> {
    fn media_tokens(&self) -> u64 {
        let length = |data: &Option<Text<'_>>| data.as_ref().map_or(0, |data| data.0.len() as u64);
        if let Some(audio) = &self.input_audio {
            let wav = audio.format.as_ref().is_some_and(|format| format.0 == "wav");
            let per_token = if wav { WAV_CHARACTERS_PER_TOKEN } else { COMPRESSED_AUDIO_CHARACTERS_PER_TOKEN };
            return length(&audio.data).div_ceil(per_token);
        }
        if let Some(file) = &self.file {
            return length(&file.file_data).div_ceil(FILE_CHARACTERS_PER_PAGE).max(1) * MEDIA_TOKENS;
        }
        match self.kind.as_ref().map(|kind| &*kind.0) {
            Some("text" | "input_text" | "output_text" | "refusal") => 0,
            _ if self.text.is_some() || self.refusal.is_some() => 0,
            _ => MEDIA_TOKENS,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Messages<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(MessagesVisitor)
    }
}

struct MessagesVisitor;

impl<'de> Visitor<'de> for MessagesVisitor {
    type Value = Messages<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut messages = Vec::new();
        let failed = |at: usize, error: A::Error| A::Error::custom(format!("messages[{at}]: {error}"));
        while let Some(message) = elements.next_element().map_err(|error| failed(messages.len(), error))? {
            messages.push(message);
        }
        Ok(Messages(messages))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("content as a string, an array of parts or null")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Content::Nothing)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Content::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Content::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = elements.next_element()? {
            parts.push(part);
        }
        Ok(Content::Parts(parts))
    }
}

/// `prompt` of a completion, `input` of an embedding: a text, texts, the tokens of one text, or those of several.
#[derive(Debug)]
pub(super) enum Prompt<'a> {
    Texts(Vec<Cow<'a, str>>),
    Tokens { rows: usize, tokens: u64 },
}

impl<'a> Prompt<'a> {
    /// How many texts, given as text or as tokens.
    pub fn rows(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Tokens { rows, .. } => *rows,
        }
    }

    pub fn texts(&self) -> &[Cow<'a, str>] {
        match self {
            Self::Texts(texts) => texts,
            Self::Tokens { .. } => &[],
        }
    }

    /// How many tokens were given as such.
    pub fn given_tokens(&self) -> u64 {
        match self {
            Self::Texts(_) => 0,
            Self::Tokens { tokens, .. } => *tokens,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Prompt<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PromptVisitor)
    }
}

struct PromptVisitor;

impl<'de> Visitor<'de> for PromptVisitor {
    type Value = Prompt<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, an array of strings, an array of tokens or an array of arrays of tokens")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Prompt::Texts(vec![Cow::Borrowed(text)]))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Prompt::Texts(vec![Cow::Owned(text.to_owned())]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let (mut texts, mut single, mut rows, mut tokens) = (Vec::new(), 0u64, 0usize, 0u64);
        while let Some(element) = elements.next_element()? {
            match element {
                Element::Text(text) => texts.push(text),
                Element::Token => single += 1,
                Element::Row(length) => {
                    rows += 1;
                    tokens += length;
                }
            }
        }
        match (texts.is_empty(), single, rows) {
            (false, 0, 0) => Ok(Prompt::Texts(texts)),
            (true, 1.., 0) => Ok(Prompt::Tokens { rows: 1, tokens: single }),
            (true, 0, 1..) => Ok(Prompt::Tokens { rows, tokens }),
            (true, 0, 0) => Err(A::Error::custom("it is empty")),
            _ => Err(A::Error::custom("it mixes texts and tokens")),
        }
    }
}

enum Element<'a> {
    Text(Cow<'a, str>),
    Token,
    Row(u64),
}

impl<'de: 'a, 'a> Deserialize<'de> for Element<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ElementVisitor)
    }
}

struct ElementVisitor;

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a token or an array of tokens")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Element::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Element::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Element::Token)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut length = 0;
        while elements.next_element::<u64>()?.is_some() {
            length += 1;
        }
        Ok(Element::Row(length))
    }
}
