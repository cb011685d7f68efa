//! A call's body, checked and peeked at, and the body that is forwarded for it.

mod forward;

use std::{borrow::Cow, ops::Range};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::input::{Message, Messages, Prompt};
use crate::dialect::{Endpoint, Invalid, canonical::Needs, json, tokens};

/// Arrays and objects inside each other; the upstream's parser should not be the first to find out.
const NESTING_MAX: usize = 128;
/// The parser quotes what it found, which may be the whole input.
const PROBLEM_CHARACTERS_MAX: usize = 300;
const MODEL_BYTES_MAX: usize = 256;
/// Choices of one call, as OpenAI limits them.
const CHOICES_MAX: u64 = 128;
/// Far above every model, far below what could overflow a price.
const OUTPUT_TOKENS_MAX: u64 = 1_000_000_000;
/// What the chat format adds around each message, and once around all of them.
const TOKENS_PER_MESSAGE: u64 = 4;
const TOKENS_PER_CHAT: u64 = 3;

/// A call, borrowed from its body. Fields that are not read here are the upstream's business and pass as they are.
#[derive(Debug)]
pub struct Request<'a> {
    pub endpoint: Endpoint,
    pub model: Cow<'a, str>,
    pub streamed: bool,
    /// Whether the caller asked for the usage chunk of a stream.
    pub include_usage: bool,
    /// The larger of `max_tokens` and `max_completion_tokens`, for one choice; `None` leaves it to the model.
    pub max_output_tokens: Option<u64>,
    /// Choices to make and pay for (`n`, or `best_of` when larger): at least 1.
    pub n: u64,
    input: Input<'a>,
    /// JSON that the model gets to read besides the input: tools, functions, the answer's schema, a suffix.
    described: Vec<&'a str>,
    has_tools: bool,
    wants_schema: bool,
    metadata: Option<&'a str>,
    splices: Splices,
}

#[derive(Debug)]
enum Input<'a> {
    Messages(Vec<Message<'a>>),
    Prompt(Prompt<'a>),
}

/// Where the forwarded body may differ from the caller's.
#[derive(Debug)]
struct Splices {
    object_start: usize,
    model: Range<usize>,
    stream_options: Option<Range<usize>>,
    include_usage: Option<Range<usize>>,
    body_bytes: usize,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    stream: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json::present")]
    stream_options: Option<&'a RawValue>,
    #[serde(borrow, default)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    max_completion_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    n: Option<&'a RawValue>,
    #[serde(borrow, default)]
    best_of: Option<&'a RawValue>,
    #[serde(borrow, default)]
    messages: Option<&'a RawValue>,
    #[serde(borrow, default)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tools: Option<&'a RawValue>,
    #[serde(borrow, default)]
    functions: Option<&'a RawValue>,
    #[serde(borrow, default)]
    response_format: Option<&'a RawValue>,
    #[serde(borrow, default)]
    suffix: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct StreamOptions<'a> {
    #[serde(borrow, default, deserialize_with = "json::present")]
    include_usage: Option<&'a RawValue>,
}

impl<'a> Request<'a> {
    /// Reads and checks a body: UTF-8, one JSON object, nesting, and type and range of the fields that are used here.
    pub fn parse(endpoint: Endpoint, body: &'a [u8]) -> Result<Self, Invalid> {
        let text = std::str::from_utf8(body).map_err(|_| Invalid::body("the request body is not valid UTF-8"))?;
        if !json::nests_within(body, NESTING_MAX) {
            return Err(Invalid::body(format!("the request body nests deeper than {NESTING_MAX} levels")));
        }
        if !json::is_object(text) {
            return Err(Invalid::body("the request body must be a JSON object"));
        }
        let fields: Fields<'a> = serde_json::from_str(text).map_err(|error| bad_json(&error))?;
        let model_raw = fields.model.ok_or_else(|| Invalid::field("model", "is required"))?;
        let streamed = boolean("stream", fields.stream)?.unwrap_or(false);
        let (stream_options, include_usage_raw) = read_stream_options(fields.stream_options)?;
        let max_tokens = integer("max_tokens", fields.max_tokens, least_output(endpoint), OUTPUT_TOKENS_MAX)?;
        let max_completion = integer("max_completion_tokens", fields.max_completion_tokens, least_output(endpoint), OUTPUT_TOKENS_MAX)?;
        let n = integer("n", fields.n, 1, CHOICES_MAX)?.unwrap_or(1);
        let best_of = match endpoint {
            Endpoint::Completions => integer("best_of", fields.best_of, 1, CHOICES_MAX)?.unwrap_or(1),
            _ => 1,
        };
        let described = [fields.tools, fields.functions, fields.response_format, fields.suffix];
        let splices = Splices {
            object_start: text.find('{').unwrap_or(0) + 1,
            model: json::span_in(body, model_raw.get()),
            stream_options: stream_options.map(|raw| json::span_in(body, raw.get())),
            include_usage: include_usage_raw.map(|raw| json::span_in(body, raw.get())),
            body_bytes: body.len(),
        };
        Ok(Self {
            endpoint,
            model: read_model(model_raw)?,
            streamed: streamed && endpoint != Endpoint::Embeddings,
            include_usage: boolean("stream_options.include_usage", include_usage_raw)?.unwrap_or(false),
            max_output_tokens: max_tokens.max(max_completion),
            n: n.max(best_of),
            input: read_input(endpoint, &fields)?,
            has_tools: fields.tools.is_some_and(|tools| !matches!(tools.get(), "null" | "[]")),
            wants_schema: fields.response_format.is_some_and(|format| kind_of(format) == Some("json_schema")),
            described: described.into_iter().flatten().map(RawValue::get).collect(),
            metadata: fields.metadata.map(RawValue::get),
            splices,
        })
    }

    /// Our count of the input, rather too high than too low: texts, 4 tokens a message and 3 a chat, tools and schemas as the JSON they
    /// are, media at flat rates that do not depend on what the bytes say. Takes milliseconds for large texts; see [`Self::text_bytes`].
    pub fn input_tokens(&self) -> u64 {
        self.input_texts().map(tokens::count).sum::<u64>() + self.flat_tokens()
    }

    /// Bytes that [`Self::input_tokens`] has to tokenise: about 25 per microsecond.
    pub fn text_bytes(&self) -> usize {
        self.input_texts().map(str::len).sum()
    }

    /// Everything that is tokenised.
    pub fn input_texts(&self) -> impl Iterator<Item = &str> {
        let (messages, prompts): (&[Message<'a>], &[Cow<'a, str>]) = match &self.input {
            Input::Messages(messages) => (messages, &[]),
            Input::Prompt(prompt) => (&[], prompt.texts()),
        };
        let described = self.described.iter().copied();
        described.chain(messages.iter().flat_map(Message::texts)).chain(prompts.iter().map(|prompt| &**prompt))
    }

    /// The part of the input's count that needs no tokenising: framing, media, and tokens given as such.
    pub fn flat_tokens(&self) -> u64 {
        match &self.input {
            Input::Messages(messages) => {
                messages.iter().map(|message| message.media_tokens() + TOKENS_PER_MESSAGE).sum::<u64>() + TOKENS_PER_CHAT
            }
            Input::Prompt(prompt) => prompt.given_tokens(),
        }
    }

    /// What the model must be able to do.
    pub fn needs(&self) -> Needs {
        let mut needs = Needs { tools: self.has_tools, json_schema: self.wants_schema, ..Needs::default() };
        if let Input::Messages(messages) = &self.input {
            messages.iter().for_each(|message| message.note_needs(&mut needs));
        }
        needs
    }

    /// The text parts of the last message of the user, or the prompts (joined by line breaks).
    pub fn last_user_text(&self) -> Cow<'_, str> {
        match &self.input {
            Input::Messages(messages) => {
                messages.iter().rev().find(|message| message.is_from_user()).map_or(Cow::Borrowed(""), Message::text)
            }
            Input::Prompt(prompt) => match prompt.texts() {
                [text] => Cow::Borrowed(text),
                texts => Cow::Owned(texts.join("\n")),
            },
        }
    }

    /// The texts to embed; empty when they were given as tokens.
    pub fn texts(&self) -> &[Cow<'a, str>] {
        match &self.input {
            Input::Messages(_) => &[],
            Input::Prompt(prompt) => prompt.texts(),
        }
    }

    /// How many texts a prompt or an embedding has, given as text or as tokens.
    pub fn rows(&self) -> usize {
        match &self.input {
            Input::Messages(_) => 1,
            Input::Prompt(prompt) => prompt.rows(),
        }
    }

    /// The JSON of `metadata`, unchecked.
    pub fn metadata(&self) -> Option<&'a str> {
        self.metadata
    }
}

/// The `type` of an object.
fn kind_of(object: &RawValue) -> Option<&str> {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
    }
    serde_json::from_str::<Kind<'_>>(object.get()).ok().map(|kind| kind.kind)
}

/// Completions may ask for no output at all, to score a prompt.
fn least_output(endpoint: Endpoint) -> u64 {
    match endpoint {
        Endpoint::Completions => 0,
        _ => 1,
    }
}

fn read_model<'a>(raw: &'a RawValue) -> Result<Cow<'a, str>, Invalid> {
    match serde_json::from_str::<json::Text<'a>>(raw.get()) {
        Ok(model) if model.0.is_empty() => Err(Invalid::field("model", "must not be empty")),
        Ok(model) if model.0.len() > MODEL_BYTES_MAX => Err(Invalid::field("model", "is too long")),
        Ok(model) => Ok(model.0),
        Err(_) => Err(Invalid::field("model", "must be a string")),
    }
}

type Options<'a> = (Option<&'a RawValue>, Option<&'a RawValue>);

/// The options as they stand (`null` included), and the value of `include_usage` in them.
fn read_stream_options(raw: Option<&RawValue>) -> Result<Options<'_>, Invalid> {
    let Some(options) = raw.filter(|raw| raw.get() != "null") else { return Ok((raw, None)) };
    if !json::is_object(options.get()) {
        return Err(Invalid::field("stream_options", "must be an object"));
    }
    let fields: StreamOptions<'_> =
        serde_json::from_str(options.get()).map_err(|_| Invalid::field("stream_options.include_usage", "is given twice"))?;
    Ok((raw, fields.include_usage))
}

fn read_input<'a>(endpoint: Endpoint, fields: &Fields<'a>) -> Result<Input<'a>, Invalid> {
    let (name, raw) = match endpoint {
        Endpoint::ChatCompletions => ("messages", fields.messages),
        Endpoint::Completions => ("prompt", fields.prompt),
        _ => ("input", fields.input),
    };
    let text = raw.ok_or_else(|| Invalid::field(name, "is required"))?.get();
    let wrong = |error: serde_json::Error| Invalid::field(name, &format!("is not valid: {}", without_position(&error)));
    if endpoint != Endpoint::ChatCompletions {
        return Ok(Input::Prompt(serde_json::from_str(text).map_err(wrong)?));
    }
    let Messages(messages) = serde_json::from_str(text).map_err(wrong)?;
    if messages.is_empty() {
        return Err(Invalid::field(name, "must not be empty"));
    }
    Ok(Input::Messages(messages))
}

fn boolean(name: &'static str, raw: Option<&RawValue>) -> Result<Option<bool>, Invalid> {
    match raw.map(RawValue::get) {
        None | Some("null") => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(Invalid::field(name, "must be true or false")),
    }
}

fn integer(name: &'static str, raw: Option<&RawValue>, least: u64, most: u64) -> Result<Option<u64>, Invalid> {
    match raw.map(|raw| raw.get().parse::<u64>()) {
        None => Ok(None),
        Some(Ok(number)) if (least..=most).contains(&number) => Ok(Some(number)),
        Some(_) => Err(Invalid::field(name, &format!("must be a whole number from {least} to {most}"))),
    }
}

fn bad_json(error: &serde_json::Error) -> Invalid {
    let message = error.to_string();
    match message.strip_prefix("duplicate field `").and_then(|rest| rest.split_once('`')) {
        Some((name, _)) => Invalid::body(format!("'{name}' is given twice")),
        None => Invalid::body(format!("the request body is not valid JSON: {message}")),
    }
}

/// The parser's words, bounded, without its position: inside one field that would mislead, as it does not count from the body's start.
pub(super) fn without_position(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let text = message.rsplit_once(" at line ").map_or(&*message, |(text, _)| text);
    text.chars().take(PROBLEM_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests;
