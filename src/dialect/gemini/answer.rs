//! A whole answer: read from an upstream, written for a caller, or peeked at and given back with its cost.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    answer_id, citations, logprobs, signature, usage,
    wire::{Candidate, Ending, Part, Response, finish_reason},
    written,
};
use crate::{
    dialect::{
        Charge, Garbage, Whole,
        canonical::{Answer, Block, Choice, Content, Finish, Json, Source, ToolKind},
        encoding::standard_base64,
        format::Writing,
        json::{self, Edit},
        tokens,
    },
    domain::pricing::Quantities,
};

/// Reads an answer for a caller of another dialect.
pub(super) fn read(body: &[u8]) -> Result<Answer, Garbage> {
    let response = Response::parse(body).map_err(Garbage)?;
    let id = response.response_id.as_ref().map(|id| id.0.clone().into_owned());
    let mut choices = Vec::with_capacity(response.candidates().len());
    for candidate in response.candidates() {
        choices.push(read_candidate(candidate, id.as_deref())?);
    }
    if choices.is_empty() {
        if !response.is_blocked() {
            return Err(Garbage("the answer has no candidates".to_owned()));
        }
        choices.push(Choice { blocks: Vec::new(), finish: Finish::Filtered, stop_sequence: None, logprobs: None });
    }
    Ok(Answer {
        id,
        model: response.model_version.map(|model| model.0.into_owned()),
        choices,
        usage: response.usage_metadata.and_then(|raw| usage::read(raw.get())),
        service_tier: None,
    })
}

fn read_candidate(candidate: &Candidate<'_>, response_id: Option<&str>) -> Result<Choice, Garbage> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut calls = 0;
    let found = citations::found(candidate);
    let mut places = Vec::new();
    for part in candidate.parts() {
        if !found.is_empty() {
            // Where the text of this part will be.
            places.push(match blocks.last().map(|block| &block.content) {
                Some(Content::Text(said)) => (blocks.len() - 1, said.len()),
                _ => (blocks.len(), 0),
            });
        }
        read_part(part, &mut blocks, &mut calls, response_id);
    }
    citations::cite(&mut blocks, candidate.parts(), &places, found);
    let ending = candidate.ending();
    if ending == Some(Ending::Failed) {
        return Err(Garbage(candidate.failure()));
    }
    let finish = match ending {
        Some(ending) => ending.finish(calls > 0, !blocks.is_empty()),
        None if blocks.is_empty() => return Err(Garbage("the answer ended before its content".to_owned())),
        None => Ending::Stop.finish(calls > 0, true),
    };
    Ok(Choice { blocks, finish, stop_sequence: None, logprobs: candidate.logprobs_result.and_then(logprobs::to_chat) })
}

fn read_part(part: &Part<'_>, blocks: &mut Vec<Block>, calls: &mut usize, response_id: Option<&str>) {
    let signed = part.signature().and_then(signature);
    if let Some(call) = &part.function_call {
        let (id, name) = (call.id(response_id, *calls), call.name().to_owned());
        *calls += 1;
        let (arguments, kind) = (call.arguments().to_owned(), ToolKind::Function);
        blocks.push(Block::new(Content::ToolCall { id, name, arguments, kind, signature: signed }));
        return;
    }
    let text = part.text();
    if part.is_thought() {
        match blocks.last_mut().map(|block| &mut block.content) {
            Some(Content::Reasoning { text: thought, signature }) if signature.is_none() && !thought.is_empty() => {
                thought.push_str(text);
                *signature = signed;
            }
            _ if text.is_empty() && signed.is_none() => {}
            _ => blocks.push(Block::new(Content::Reasoning { text: text.to_owned(), signature: signed })),
        }
        return;
    }
    if !text.is_empty() {
        match blocks.last_mut().map(|block| &mut block.content) {
            Some(Content::Text(said)) => said.push_str(text),
            _ => blocks.push(Block::text(text)),
        }
    }
    if let Some(content) = part.inline_data.as_ref().and_then(|data| {
        let mime = data.mime_type.as_ref().map_or("", |mime| &*mime.0).to_owned();
        let source = Source::Base64 { data: standard_base64(&data.data.as_ref()?.0)?, mime: mime.clone() };
        Some(match mime.split('/').next() {
            Some("image") => Content::Image { source, detail: None },
            Some("audio") => Content::Audio { source },
            _ => Content::Document { source, name: None },
        })
    }) {
        blocks.push(Block::new(content));
    }
    for (kind, raw) in [("executableCode", part.executable_code), ("codeExecutionResult", part.code_execution_result)] {
        if let Some(raw) = raw {
            blocks.push(Block::new(Content::Opaque { kind: kind.to_owned(), json: Json::of(&raw) }));
        }
    }
    if signed.is_some() {
        blocks.push(Block::new(Content::Reasoning { text: String::new(), signature: signed }));
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    candidates: Vec<CandidateOut<'a>>,
    usage_metadata: Option<Json>,
    model_version: &'a str,
    response_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CandidateOut<'a> {
    content: written::Content<'a>,
    finish_reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_message: Option<&'a str>,
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs_result: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grounding_metadata: Option<citations::Written>,
}

/// Whether the caller wants to see thoughts: with Gemini it has to ask for them.
pub(super) fn shows_thoughts(writing: &Writing) -> bool {
    let reasoning = writing.request.as_ref().and_then(|request| request.reasoning.as_ref());
    reasoning.is_some_and(|reasoning| reasoning.visible == Some(true))
}

/// Writes another vendor's answer for a caller of Gemini.
pub(super) fn write(answer: &Answer, writing: &Writing, charge: &Charge) -> Bytes {
    let thoughts = shows_thoughts(writing);
    let candidates = answer.choices.iter().enumerate().map(|(index, choice)| CandidateOut {
        content: written::Content { parts: choice.blocks.iter().filter_map(|block| part(block, thoughts)).collect(), role: Some("model") },
        finish_reason: finish_reason(choice.finish),
        finish_message: choice.blocks.iter().find_map(|block| match &block.content {
            Content::Refusal(text) => Some(&**text),
            _ => None,
        }),
        index,
        logprobs_result: choice.logprobs.as_ref().and_then(logprobs::from_chat),
        grounding_metadata: grounding(&choice.blocks, thoughts),
    });
    let body = Body {
        candidates: candidates.collect(),
        usage_metadata: Json::parse(&usage::with_cost(None, charge)),
        model_version: &writing.model,
        response_id: &answer_id(writing),
    };
    Bytes::from(serde_json::to_vec(&body).unwrap_or_default())
}

fn grounding(blocks: &[Block], thoughts: bool) -> Option<citations::Written> {
    if blocks.iter().all(|block| block.citations.is_empty()) {
        return None;
    }
    let mut written = citations::Written::default();
    for (index, block) in blocks.iter().filter(|block| part(block, thoughts).is_some()).enumerate() {
        if let Content::Text(text) = &block.content {
            block.citations.iter().for_each(|citation| written.add(citation, text, index, 0));
        }
    }
    (!written.is_empty()).then_some(written)
}

fn part(block: &Block, thoughts: bool) -> Option<written::Part<'_>> {
    match &block.content {
        Content::Text(text) | Content::Refusal(text) => Some(written::Part::text(&**text)),
        Content::Reasoning { text, signature } => {
            let part = written::Part::thought(text, signature.as_ref());
            (thoughts && (!text.is_empty() || part.thought_signature.is_some())).then_some(part)
        }
        Content::ToolCall { id, name, arguments, kind, signature } => {
            Some(written::Part::call(id, name, arguments, *kind, signature.as_ref()))
        }
        Content::Image { source, .. } | Content::Document { source, .. } | Content::Audio { source } => written::Part::media(source),
        // What another vendor runs on its own side has no meaning here.
        Content::ToolResult { .. } | Content::Opaque { .. } => None,
    }
}

/// An answer that reaches the caller as it came, but for the cost.
#[derive(Debug)]
pub(super) struct Peeked {
    body: Bytes,
    id: Option<String>,
    usage: Option<Quantities>,
    /// The value of `usageMetadata`, `null` included.
    usage_at: Option<Range<usize>>,
    object_end: usize,
    /// Usage that is made for it knows the input only.
    embeds: bool,
}

impl Peeked {
    pub fn of_embeddings(self) -> Self {
        Self { embeds: true, ..self }
    }

    pub fn parse(body: &Bytes) -> Result<Self, Garbage> {
        let response = Response::parse(body).map_err(Garbage)?;
        if response.candidates().is_empty() && !response.is_blocked() {
            return Err(Garbage("the answer has no candidates".to_owned()));
        }
        let id = response.response_id.map(|id| id.0.into_owned()).filter(|id| !id.is_empty());
        let usage = response.usage_metadata.and_then(|raw| usage::read(raw.get()));
        Ok(Self::new(body, id, usage, response.usage_metadata))
    }

    /// `usage_metadata` is borrowed from the body, which is an object with members.
    pub fn new(body: &Bytes, id: Option<String>, usage: Option<Quantities>, usage_metadata: Option<&RawValue>) -> Self {
        Self {
            id,
            usage,
            usage_at: usage_metadata.map(|raw| json::span_in(body, raw.get())),
            object_end: body.iter().rposition(|byte| *byte == b'}').unwrap_or(0),
            embeds: false,
            body: body.clone(),
        }
    }
}

/// The object with the usage replaced or added. It has other members, so a comma may come first.
pub(super) fn set_usage(body: &[u8], usage_at: Option<&Range<usize>>, object_end: usize, usage: String) -> Bytes {
    let edit = match usage_at {
        Some(at) => Edit { at: at.clone(), with: usage },
        None => Edit { at: object_end..object_end, with: format!(",\"usageMetadata\":{usage}") },
    };
    json::splice(body, &[edit])
}

impl Whole for Peeked {
    fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn usage(&self) -> Option<Quantities> {
        self.usage
    }

    fn produced_tokens(&self) -> u64 {
        let Ok(response) = Response::parse(&self.body) else { return 0 };
        let mut produced = 0;
        for part in response.candidates().iter().flat_map(Candidate::parts) {
            part.for_each_text(|text| produced += tokens::count(text));
        }
        produced
    }

    fn finish(&self, charge: &Charge) -> (Bytes, Cow<'static, str>) {
        let reported = self.usage_at.as_ref().and_then(|at| std::str::from_utf8(self.body.get(at.clone())?).ok());
        let usage = match reported {
            None if self.embeds => usage::of_embeddings(charge),
            _ => usage::with_cost(reported, charge),
        };
        (set_usage(&self.body, self.usage_at.as_ref(), self.object_end, usage), Cow::Borrowed("application/json"))
    }
}

#[cfg(test)]
mod tests;
