//! Whole answers: read, written, and passed on as they came.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    edit,
    items::Conversation,
    object::{self, End, Frame, Ids, Status},
    signature, usage,
};
use crate::{
    dialect::{
        Charge, Garbage, Whole,
        canonical::{Answer, Block, Choice, Citation, Content, Finish, Json, Signature, Source, citation::characters},
        errors::parse_upstream_error,
        format::Writing,
        json::{self, Array, Prose, Text},
        openai::annotations,
        tokens,
    },
    domain::pricing::Quantities,
};

/// More searches than this in one answer are nonsense, and would overflow prices.
const SEARCHES_MAX: u64 = 1_000_000;

/// What has to be known of a response object.
#[derive(Deserialize)]
pub(super) struct Fields<'a> {
    #[serde(borrow, default)]
    pub id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub model: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub status: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub output: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub incomplete_details: Option<Incomplete<'a>>,
    #[serde(borrow, default)]
    pub service_tier: Option<Prose<'a>>,
    #[serde(default)]
    tool_usage: Option<ToolUsage>,
}

/// What tools that run at the vendor did.
#[derive(Deserialize)]
struct ToolUsage {
    #[serde(default)]
    web_search: Option<WebSearch>,
}

#[derive(Deserialize)]
struct WebSearch {
    #[serde(default)]
    num_requests: u64,
}

#[derive(Deserialize)]
pub(super) struct Incomplete<'a> {
    #[serde(borrow, default)]
    reason: Option<Prose<'a>>,
}

impl<'a> Fields<'a> {
    /// Reads a response object that is a whole answer. One that failed is garbage that says why.
    pub fn parse(text: &'a str) -> Result<Self, Garbage> {
        if !json::is_object(text) {
            return Err(Garbage("the answer is not a JSON object".to_owned()));
        }
        let fields: Self =
            serde_json::from_str(text).map_err(|error| Garbage(format!("the answer is not the JSON it should be: {error}")))?;
        let status = fields.status.as_ref().map(|status| &*status.0);
        let is_error = fields.error.is_some_and(|error| !matches!(error.get(), "null" | "false" | "\"\"" | "{}"));
        if is_error || status == Some("failed") {
            return Err(Garbage(format!("a good status with an error inside: {}", parse_upstream_error(text.as_bytes()))));
        }
        if let Some(status @ ("queued" | "in_progress" | "cancelled")) = status {
            return Err(Garbage(format!("the answer is not one yet: its status is {status}")));
        }
        if !fields.output.is_some_and(|output| output.get().starts_with('[')) {
            return Err(Garbage("the answer has no 'output'".to_owned()));
        }
        Ok(fields)
    }

    /// What was used, as far as the upstream says.
    pub fn used(&self) -> Option<Quantities> {
        let used = usage::read(self.usage?.get())?;
        let searches = self.tool_usage.as_ref().and_then(|usage| usage.web_search.as_ref()).map_or(0, |search| search.num_requests);
        Some(Quantities { searches: searches.min(SEARCHES_MAX), ..used })
    }

    pub fn finish(&self, blocks: &[Block]) -> Finish {
        let has = |wanted: fn(&Content) -> bool| blocks.iter().any(|block| wanted(&block.content));
        match self.incomplete_details.as_ref().and_then(|details| details.reason.as_ref()).map(|reason| &*reason.0) {
            Some("max_output_tokens") => Finish::Length,
            Some("content_filter") => Finish::Filtered,
            _ if self.status.as_ref().is_some_and(|status| status.0 == "incomplete") => Finish::Paused,
            _ if has(|content| matches!(content, Content::ToolCall { .. })) => Finish::ToolCalls,
            _ if has(|content| matches!(content, Content::Refusal(_))) => Finish::Refused,
            _ => Finish::Stop,
        }
    }
}

/// Reads an answer for a caller of another dialect. Items that only this dialect knows are left out.
pub(super) fn read(body: &[u8]) -> Result<Answer, Garbage> {
    let text = std::str::from_utf8(body).map_err(|_| Garbage("the answer is not valid UTF-8".to_owned()))?;
    let fields = Fields::parse(text)?;
    let (blocks, usage) = (read_output(fields.output), fields.used());
    let choice = Choice { finish: fields.finish(&blocks), blocks, stop_sequence: None, logprobs: logprobs(fields.output) };
    Ok(Answer {
        id: fields.id.map(|id| id.0.into_owned()),
        model: fields.model.map(|model| model.0.into_owned()),
        choices: vec![choice],
        usage,
        service_tier: fields.service_tier.map(|tier| tier.0.into_owned()).filter(|tier| !tier.is_empty()),
    })
}

/// The blocks of `output`. Items that cannot be read never break an answer.
pub(super) fn read_output(output: Option<&RawValue>) -> Vec<Block> {
    let Some(items) = output.and_then(|output| serde_json::from_str::<Vec<&RawValue>>(output.get()).ok()) else { return Vec::new() };
    let mut blocks = Vec::new();
    for item in items {
        if let Some(image) = made_image(item) {
            blocks.push(Block::new(image));
            continue;
        }
        let mut conversation = Conversation::default();
        let one = format!("[{}]", item.get());
        if serde_json::from_str::<&RawValue>(&one).is_ok_and(|item| conversation.read_input(item).is_ok()) {
            let read = conversation.turns.into_iter().flat_map(|turn| turn.blocks);
            blocks.extend(read.filter(|block| !matches!(block.content, Content::Opaque { .. })));
        } else if let Some(Prose(text)) = serde_json::from_str::<Said<'_>>(item.get()).ok().and_then(|item| item.content) {
            blocks.push(Block::text(text));
        }
    }
    blocks
}

/// What a model wrote into an item of any kind.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow, default)]
    content: Option<Prose<'a>>,
    #[serde(borrow, default)]
    summary: Option<Prose<'a>>,
    #[serde(borrow, default)]
    name: Option<Prose<'a>>,
    #[serde(borrow, default, alias = "input")]
    arguments: Option<Prose<'a>>,
}

/// The result of an `image_generation_call`.
fn made_image(item: &RawValue) -> Option<Content> {
    #[derive(Deserialize)]
    struct Made<'a> {
        #[serde(rename = "type", borrow)]
        kind: Text<'a>,
        #[serde(borrow)]
        result: Text<'a>,
        #[serde(borrow, default)]
        output_format: Option<Text<'a>>,
    }
    let made: Made<'_> = serde_json::from_str(item.get()).ok()?;
    let mime = format!("image/{}", made.output_format.as_ref().map_or("png", |format| &format.0));
    let source = Source::Base64 { mime, data: made.result.0.into_owned() };
    (made.kind.0 == "image_generation_call").then_some(Content::Image { source, detail: None })
}

/// Log probabilities of all text, in chat's shape.
fn logprobs(output: Option<&RawValue>) -> Option<Json> {
    #[derive(Deserialize)]
    struct Item<'a> {
        #[serde(borrow, default)]
        content: Option<Vec<Part<'a>>>,
    }
    #[derive(Deserialize)]
    struct Part<'a> {
        #[serde(borrow, default)]
        logprobs: Option<Vec<&'a RawValue>>,
    }
    let items: Vec<&RawValue> = serde_json::from_str(output?.get()).ok()?;
    let items = items.into_iter().filter_map(|item| serde_json::from_str::<Item<'_>>(item.get()).ok());
    let parts = items.flat_map(|item| item.content.unwrap_or_default());
    let tokens: Vec<&RawValue> = parts.flat_map(|part| part.logprobs.unwrap_or_default()).collect();
    (!tokens.is_empty()).then(|| chat_logprobs(&tokens))
}

/// `{"content":[…]}`
pub(super) fn chat_logprobs(tokens: &[&RawValue]) -> Json {
    #[derive(serde::Serialize)]
    struct Chat<'a> {
        content: &'a [&'a RawValue],
    }
    Json::of(&Chat { content: tokens })
}

/// The array inside chat's `{"content":[…]}`.
pub(super) fn tokens_of(logprobs: &Json) -> Option<String> {
    #[derive(Deserialize)]
    struct Chat<'a> {
        #[serde(borrow)]
        content: &'a RawValue,
    }
    let chat: Chat<'_> = serde_json::from_str(logprobs.text()).ok()?;
    chat.content.get().starts_with('[').then(|| chat.content.get().to_owned())
}

/// Writes an answer that was read in another dialect.
pub(super) fn write(answer: &Answer, writing: &Writing, charge: &Charge) -> Bytes {
    let frame = Frame::of(writing);
    let choice = answer.choices.first();
    let blocks = choice.map_or(&[][..], |choice| &choice.blocks);
    let declined = blocks.iter().any(|block| matches!(block.content, Content::Refusal(_)));
    let status = Status::of(choice.map(|choice| choice.finish).unwrap_or_default(), declined);
    let logprobs = choice.and_then(|choice| choice.logprobs.as_ref()).and_then(tokens_of);
    let output = write_output(blocks, &frame.ids, status, logprobs);
    let mut out = Vec::with_capacity(output.len() + 1024);
    let usage = usage::with_cost(None, charge);
    frame.write(status, End { usage: Some(&usage), error: None, at: Some(charge.ended_at) }, &output, &mut out);
    Bytes::from(out)
}

fn write_output(blocks: &[Block], ids: &Ids, status: Status, mut logprobs: Option<String>) -> String {
    let mut items: Vec<String> = Vec::new();
    let mut parts: Vec<String> = Vec::new();
    let close = |parts: &mut Vec<String>, items: &mut Vec<String>, status: &str| {
        if !parts.is_empty() {
            items.push(object::message(&ids.item("msg", items.len()), status, &std::mem::take(parts).join(",")));
        }
    };
    for block in blocks {
        match &block.content {
            Content::Text(text) => {
                let logprobs = logprobs.take().unwrap_or_else(|| "[]".to_owned());
                parts.push(object::part(text, false, &write_annotations(text, &block.citations), &logprobs));
                continue;
            }
            Content::Refusal(text) => {
                parts.push(object::part(text, true, "[]", "[]"));
                continue;
            }
            _ => close(&mut parts, &mut items, "completed"),
        }
        match &block.content {
            Content::Reasoning { text, signature } => items.push(write_reasoning(ids, items.len(), text, signature.as_ref())),
            Content::ToolCall { id, name, arguments, kind, signature } => {
                if let Some(signature) = signature {
                    items.push(signed_call(ids, items.len(), signature, id));
                }
                let item_id = ids.item(object::call_prefix(*kind), items.len());
                items.push(object::call(&item_id, "completed", *kind, id, name, arguments));
            }
            Content::Image { source: Source::Base64 { data, .. }, .. } => {
                items.push(object::image(&ids.item("ig", items.len()), data));
            }
            // Nothing else that a model answers has a place in this dialect.
            _ => {}
        }
    }
    close(&mut parts, &mut items, status.of_item());
    format!("[{}]", items.join(","))
}

/// A JSON array. Positions are those of the part.
fn write_annotations(text: &str, citations: &[Citation]) -> String {
    let mut out = Vec::new();
    let mut list = Array::new(&mut out);
    for citation in citations {
        let at = citation.span.clone().unwrap_or_else(|| 0..characters(text));
        if let Some(annotation) = annotations::responses(citation, at) {
            json::push(list.element(), &annotation);
        }
    }
    drop(list);
    String::from_utf8_lossy(&out).into_owned()
}

fn write_reasoning(ids: &Ids, index: usize, text: &str, signature: Option<&Signature>) -> String {
    let id = signature.and_then(|signature| signature.id.clone()).unwrap_or_else(|| ids.item("rs", index));
    object::reasoning(&id, "completed", text, signature.map(|signature| signature::wrap(signature, None)).as_deref())
}

/// The item that brings a call's signature back; see `signature`.
pub(super) fn signed_call(ids: &Ids, index: usize, signature: &Signature, call_id: &str) -> String {
    object::reasoning(&ids.item("rs", index), "completed", "", Some(&signature::wrap(signature, Some(call_id))))
}

/// An upstream's own answer, on its way as it came.
struct Passed {
    body: Bytes,
    id: String,
    usage: Option<Quantities>,
    usage_at: Option<Range<usize>>,
    output_at: Range<usize>,
    /// What the gateway says instead of the upstream.
    own: Vec<(&'static str, String)>,
}

/// Members of a passed response that the gateway knows better than the upstream: where the answer is kept, and what it continues.
pub(super) fn own_members(writing: &Writing) -> Vec<(&'static str, String)> {
    let chain = &writing.head.chain;
    let mut members = Vec::new();
    if chain.kept {
        members.push(("id", json::quoted(&Ids::of(writing).response())));
        members.push(("store", "true".to_owned()));
    }
    members.extend(chain.previous_id.as_deref().map(|id| ("previous_response_id", json::quoted(id))));
    members
}

/// Reads an answer of an upstream of this dialect.
pub(super) fn peek(body: &Bytes, writing: &Writing) -> Result<Box<dyn Whole>, Garbage> {
    let text = std::str::from_utf8(body).map_err(|_| Garbage("the answer is not valid UTF-8".to_owned()))?;
    let fields = Fields::parse(text)?;
    let span = |raw: &RawValue| json::span_in(body, raw.get());
    let upstream_id = || fields.id.as_ref().map(|id| id.0.clone().into_owned()).unwrap_or_default();
    Ok(Box::new(Passed {
        id: if writing.head.chain.kept { Ids::of(writing).response() } else { upstream_id() },
        usage: fields.used(),
        usage_at: fields.usage.map(span),
        output_at: fields.output.map(span).unwrap_or_default(),
        body: body.clone(),
        own: own_members(writing),
    }))
}

impl Passed {
    fn text(&self, at: &Range<usize>) -> Option<&str> {
        std::str::from_utf8(self.body.get(at.clone())?).ok()
    }
}

impl Whole for Passed {
    fn id(&self) -> Option<&str> {
        Some(&*self.id).filter(|id| !id.is_empty())
    }

    fn usage(&self) -> Option<Quantities> {
        self.usage
    }

    fn produced_tokens(&self) -> u64 {
        let Some(raw) = self.text(&self.output_at) else { return 0 };
        let Ok(items) = serde_json::from_str::<Vec<Said<'_>>>(raw) else { return tokens::count(raw) };
        let texts = items.iter().flat_map(|item| [&item.content, &item.summary, &item.name, &item.arguments]);
        texts.flatten().map(|Prose(text)| tokens::count(text)).sum()
    }

    fn finish(&self, charge: &Charge) -> (Bytes, Cow<'static, str>) {
        let reported = self.usage_at.as_ref().and_then(|at| self.text(at));
        let usage = usage::with_cost(reported, charge);
        let mut values = vec![("usage", &*usage)];
        values.extend(self.own.iter().map(|(name, value)| (*name, value.as_str())));
        let body = std::str::from_utf8(&self.body).ok().and_then(|body| edit::set(body, &values));
        (body.map_or_else(|| self.body.clone(), Bytes::from), Cow::Borrowed("application/json"))
    }
}
