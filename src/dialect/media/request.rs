//! What a call asks for: its model, its texts to count, and how much of everything it may use.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{
    is_form,
    measure::{Expected, IMAGE_TOKENS, IMAGE_TOKENS_MAX},
    multipart::{self, Part},
    sound,
};
use crate::{
    dialect::{
        CallHead, Endpoint, Invalid,
        format::{Aim, Written},
        json::{self, Edit, Prose, Text},
        tokens,
    },
    domain::pricing::Quantities,
};

/// Arrays and objects inside each other; the upstream's parser should not be the first to find out.
const NESTING_MAX: usize = 128;
const MODEL_BYTES_MAX: usize = 256;
/// Images of one call.
const IMAGES_MAX: u64 = 100;
/// Documents of one rerank call; more than vendors take.
const DOCUMENTS_MAX: usize = 10_000;
/// A search is a query with up to so many documents, as Cohere bills it.
const DOCUMENTS_PER_SEARCH: u64 = 100;

/// A call, borrowed from its body. Fields that are not read here are the upstream's business and pass as they are.
#[derive(Debug)]
pub struct Request<'a> {
    endpoint: Endpoint,
    pub model: Cow<'a, str>,
    pub streamed: bool,
    /// Answers that a model may write tokens for.
    pub outputs: u64,
    texts: Vec<Cow<'a, str>>,
    /// Tokens of what is no text.
    flat_tokens: u64,
    fixed: Quantities,
    ceiling: Quantities,
    seconds_are_exact: bool,
    /// The answer is a bare text: subtitles, or a transcript without JSON around it.
    answers_text: bool,
    /// The model's name in the body; in JSON with its quotes.
    model_at: Range<usize>,
}

impl<'a> Request<'a> {
    /// Reads and checks a body.
    pub fn read(head: &CallHead, body: &'a [u8]) -> Result<Self, Invalid> {
        match is_form(head.endpoint) {
            true => read_form(head, body),
            false => read_json(head.endpoint, body),
        }
    }

    fn new(endpoint: Endpoint, model: Cow<'a, str>, model_at: Range<usize>) -> Result<Self, Invalid> {
        if model.is_empty() || model.len() > MODEL_BYTES_MAX {
            return Err(Invalid::field("model", &format!("must have 1 to {MODEL_BYTES_MAX} bytes")));
        }
        Ok(Self {
            endpoint,
            model,
            streamed: false,
            outputs: 0,
            texts: Vec::new(),
            flat_tokens: 0,
            fixed: Quantities::default(),
            ceiling: Quantities::default(),
            seconds_are_exact: false,
            answers_text: false,
            model_at,
        })
    }

    /// The most that is used besides text tokens, as far as it is known before the call.
    pub fn ceiling(&self) -> Quantities {
        self.ceiling
    }

    /// Bytes that [`Self::input_tokens`] has to tokenise.
    pub fn text_bytes(&self) -> usize {
        self.texts.iter().map(|text| text.len()).sum()
    }

    pub fn input_tokens(&self) -> u64 {
        self.texts.iter().map(|text| tokens::count(text)).sum::<u64>() + self.flat_tokens
    }

    pub(super) fn expected(&self) -> Expected {
        Expected { endpoint: self.endpoint, fixed: self.fixed, seconds_are_exact: self.seconds_are_exact, answers_text: self.answers_text }
    }

    /// The caller's bytes with the upstream's name of the model. `body` must be the bytes this was read from.
    pub fn forward(&self, head: &CallHead, body: &Bytes, aim: &Aim<'_>) -> Written {
        let body = match self.model == aim.model {
            true => body.clone(),
            false => {
                let with = if is_form(self.endpoint) { aim.model.to_owned() } else { json::quoted(aim.model) };
                json::splice(body, &[Edit { at: self.model_at.clone(), with }])
            }
        };
        match head.content_type.clone().filter(|_| is_form(self.endpoint)) {
            Some(content_type) => Written { body, content_type: content_type.into(), dropped: Vec::new() },
            None => Written::json(body),
        }
    }

    /// The texts of a value, whatever its shape.
    fn add_text(&mut self, name: &str, raw: &'a RawValue) -> Result<(), Invalid> {
        let Prose(text) = serde_json::from_str(raw.get()).map_err(|_| Invalid::field(name, "is not valid"))?;
        self.texts.push(text);
        Ok(())
    }

    /// Images that are made.
    fn make_images(&mut self, count: u64) {
        self.fixed.images = count;
        self.ceiling.images = count;
        self.outputs = count;
    }

    /// Images that are looked at.
    fn look_at(&mut self, count: u64) {
        self.fixed.image_input_tokens = count.saturating_mul(IMAGE_TOKENS);
        self.ceiling.image_input_tokens = count.saturating_mul(IMAGE_TOKENS_MAX);
    }
}

/// The members of a JSON body, by name.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// A field that is there and not null.
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, raw)| *raw).filter(|raw| raw.get() != "null")
    }

    fn required(&self, name: &str) -> Result<&'a RawValue, Invalid> {
        self.get(name).ok_or_else(|| Invalid::field(name, "is required"))
    }

    fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, Invalid> {
        let text = |raw: &'a RawValue| serde_json::from_str::<Text<'a>>(raw.get()).map_err(|_| Invalid::field(name, "must be a string"));
        Ok(self.get(name).map(text).transpose()?.map(|text| text.0))
    }

    fn boolean(&self, name: &str) -> Result<bool, Invalid> {
        match self.get(name).map(RawValue::get) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Invalid::field(name, "must be true or false")),
        }
    }

    fn elements(&self, name: &str) -> Result<Vec<&'a RawValue>, Invalid> {
        let elements: Vec<&'a RawValue> =
            serde_json::from_str(self.required(name)?.get()).map_err(|_| Invalid::field(name, "must be an array"))?;
        if elements.is_empty() { Err(Invalid::field(name, "must not be empty")) } else { Ok(elements) }
    }
}

/// The fields of a JSON body, each at most once.
fn members(body: &[u8]) -> Result<Members<'_>, Invalid> {
    let text = std::str::from_utf8(body).map_err(|_| Invalid::body("the request body is not valid UTF-8"))?;
    if !json::nests_within(body, NESTING_MAX) {
        return Err(Invalid::body(format!("the request body nests deeper than {NESTING_MAX} levels")));
    }
    let members = json::members(text).ok_or_else(|| Invalid::body("the request body must be a JSON object"))?;
    let mut names: Vec<&str> = members.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Invalid::body(format!("'{}' is given twice", pair[0]))),
        None => Ok(Members(members)),
    }
}

fn read_json(endpoint: Endpoint, body: &[u8]) -> Result<Request<'_>, Invalid> {
    let members = members(body)?;
    let raw = members.required("model")?;
    let model = members.text("model")?.unwrap_or_default();
    let mut request = Request::new(endpoint, model, json::span_in(body, raw.get()))?;
    match endpoint {
        Endpoint::Moderations => {
            let input = members.required("input")?;
            if !input.get().starts_with(['"', '[']) {
                return Err(Invalid::field("input", "must be a text, texts or a list of parts"));
            }
            request.add_text("input", input)?;
            request.look_at(pictures(input));
        }
        Endpoint::Rerank => {
            let documents = members.elements("documents")?;
            if documents.len() > DOCUMENTS_MAX {
                return Err(Invalid::field("documents", &format!("must be at most {DOCUMENTS_MAX}")));
            }
            let searches = (documents.len() as u64).div_ceil(DOCUMENTS_PER_SEARCH);
            (request.fixed.searches, request.ceiling.searches) = (searches, searches);
            request.add_text("query", members.required("query")?)?;
            for document in documents {
                request.add_text("documents", document)?;
            }
        }
        Endpoint::Speech => {
            let input = members.text("input")?.ok_or_else(|| Invalid::field("input", "is required"))?;
            let characters = input.chars().count() as u64;
            (request.fixed.characters, request.ceiling.characters) = (characters, characters);
            request.texts.push(input);
            request.texts.extend(members.text("instructions")?);
            request.streamed = members.text("stream_format")?.is_some_and(|format| format == "sse");
            request.outputs = 1;
        }
        _ => {
            request.texts.push(members.text("prompt")?.ok_or_else(|| Invalid::field("prompt", "is required"))?);
            request.streamed = members.boolean("stream")?;
            request.make_images(images(members.get("n").map(RawValue::get))?);
        }
    }
    Ok(request)
}

/// Images among the parts of an input.
fn pictures(input: &RawValue) -> u64 {
    #[derive(serde::Deserialize)]
    struct Part<'a> {
        #[serde(borrow, default)]
        image_url: Option<&'a RawValue>,
    }
    let parts: Vec<Part<'_>> = serde_json::from_str(input.get()).unwrap_or_default();
    parts.iter().filter(|part| part.image_url.is_some()).count() as u64
}

fn images(count: Option<&str>) -> Result<u64, Invalid> {
    let count = count.map_or(Ok(1), |count| count.trim().parse::<u64>());
    let wrong = || Invalid::field("n", &format!("must be a whole number from 1 to {IMAGES_MAX}"));
    count.ok().filter(|count| (1..=IMAGES_MAX).contains(count)).ok_or_else(wrong)
}

fn read_form<'a>(head: &CallHead, body: &'a [u8]) -> Result<Request<'a>, Invalid> {
    let endpoint = head.endpoint;
    let parts = multipart::parts(head.content_type.as_deref(), body)?;
    let field = |name: &str| -> Result<Option<(&Part, &'a str)>, Invalid> {
        let mut named = parts.iter().filter(|part| part.name == name);
        match (named.next(), named.next()) {
            (Some(part), None) => Ok(Some((part, part.text(body)?))),
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(Invalid::body(format!("'{name}' is given twice"))),
        }
    };
    let text = |name: &str| Ok::<_, Invalid>(field(name)?.map(|(_, text)| text));
    let (part, model) = field("model")?.ok_or_else(|| Invalid::field("model", "is required"))?;
    let mut request = Request::new(endpoint, Cow::Borrowed(model), part.content.clone())?;
    request.texts.extend(text("prompt")?.map(Cow::Borrowed));
    request.streamed = match text("stream")?.map(|value| value.trim().to_ascii_lowercase()).as_deref() {
        None | Some("" | "false" | "0") => false,
        Some("true" | "1") => true,
        Some(_) => return Err(Invalid::field("stream", "must be true or false")),
    };
    if endpoint == Endpoint::ImageEdits {
        let is_image = |part: &&Part| matches!(&*part.name, "image" | "image[]" | "mask") || part.name.starts_with("image[");
        let given = parts.iter().filter(is_image).count() as u64;
        if given == 0 {
            return Err(Invalid::field("image", "is required: a file in the form"));
        }
        if request.texts.is_empty() {
            return Err(Invalid::field("prompt", "is required"));
        }
        request.look_at(given);
        request.make_images(images(text("n")?)?);
        return Ok(request);
    }
    let mut files = parts.iter().filter(|part| part.name == "file");
    let (Some(file), None) = (files.next(), files.next()) else {
        return Err(Invalid::field("file", "is required, once: the recording, as a file in the form"));
    };
    let playtime = sound::playtime(file.bytes(body));
    request.fixed.audio_seconds = playtime.seconds;
    request.ceiling.audio_seconds = playtime.seconds_max;
    request.ceiling.audio_input_tokens = playtime.seconds_max.saturating_mul(super::measure::AUDIO_TOKENS_PER_SECOND);
    request.seconds_are_exact = playtime.is_exact;
    request.answers_text = matches!(text("response_format")?, Some("text" | "srt" | "vtt"));
    request.outputs = 1;
    Ok(request)
}

#[cfg(test)]
mod tests;
