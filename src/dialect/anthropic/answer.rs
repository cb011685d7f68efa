//! Whole answers: peeked at, read into canonical form, and written for callers.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{STRUCTURED_ANSWER, answer_id, citations, stop, usage, wire};
use crate::{
    dialect::{
        Charge, Dialect, Garbage, Whole,
        canonical::{Answer, Block, Choice, Citation, Content, Finish, Json, Signature, ToolKind, citation},
        errors,
        format::Writing,
        json::{self, Edit, Prose, Text},
        tokens,
    },
    domain::pricing::Quantities,
};

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Prose<'a>>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    model: Option<Prose<'a>>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    stop_reason: Option<Prose<'a>>,
    #[serde(borrow, default)]
    stop_sequence: Option<Prose<'a>>,
    #[serde(borrow, default)]
    stop_details: Option<StopDetails<'a>>,
    #[serde(borrow, default, deserialize_with = "json::present")]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
pub(super) struct StopDetails<'a> {
    #[serde(borrow, default)]
    pub explanation: Option<Prose<'a>>,
}

/// A block of an answer, of whatever kind.
#[derive(Deserialize)]
pub(super) struct Fragment<'a> {
    #[serde(borrow, default, rename = "type")]
    pub kind: Prose<'a>,
    #[serde(borrow, default)]
    pub text: Option<Prose<'a>>,
    #[serde(borrow, default)]
    pub citations: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub thinking: Option<Prose<'a>>,
    #[serde(borrow, default)]
    pub signature: Option<Prose<'a>>,
    #[serde(borrow, default)]
    pub data: Option<Prose<'a>>,
    #[serde(borrow, default)]
    pub id: Option<Prose<'a>>,
    #[serde(borrow, default)]
    pub name: Option<Prose<'a>>,
    #[serde(borrow, default)]
    pub input: Option<&'a RawValue>,
}

/// The text of a field that may be missing.
pub(super) fn owned(field: Option<Prose<'_>>) -> String {
    field.map(|prose| prose.0.into_owned()).unwrap_or_default()
}

/// A signature as it came; `None` when there is none.
pub(super) fn signed(value: String, sealed: bool) -> Option<Signature> {
    (!value.is_empty()).then_some(Signature { vendor: Dialect::Anthropic, value, sealed, id: None })
}

fn parse(body: &[u8]) -> Result<Fields<'_>, Garbage> {
    let text = std::str::from_utf8(body).map_err(|_| Garbage("the answer is not valid UTF-8".to_owned()))?;
    if !json::is_object(text) {
        return Err(Garbage("the answer is not a JSON object".to_owned()));
    }
    let fields: Fields<'_> =
        serde_json::from_str(text).map_err(|error| Garbage(format!("the answer is not the JSON it should be: {error}")))?;
    let says_error = fields.kind.as_ref().is_some_and(|kind| kind.0 == "error");
    if says_error || fields.error.is_some_and(|error| error.get() != "null") {
        return Err(Garbage(format!("a good status with an error inside: {}", errors::parse_upstream_error(body))));
    }
    if !fields.content.is_some_and(|content| content.get().starts_with('[')) {
        return Err(Garbage("the answer has no 'content'".to_owned()));
    }
    Ok(fields)
}

/// An answer that reaches the caller as it came, but for its usage.
#[derive(Debug)]
pub(super) struct Peeked {
    body: Bytes,
    id: Option<String>,
    usage: Option<Quantities>,
    content: Range<usize>,
    /// The value of `usage`, `null` included.
    usage_at: Option<Range<usize>>,
    /// Position of the brace that closes the body's object.
    object_end: usize,
}

impl Peeked {
    /// Reads an answer. One that is an error in itself is garbage that says so.
    pub fn parse(body: &Bytes) -> Result<Self, Garbage> {
        let fields = parse(body)?;
        let span = |raw: &RawValue| json::span_in(body, raw.get());
        Ok(Self {
            id: fields.id.map(|id| id.0.into_owned()).filter(|id| !id.is_empty()),
            usage: fields.usage.and_then(|raw| usage::Reported::read(raw.get())).map(|reported| reported.quantities()),
            content: fields.content.map(span).unwrap_or_default(),
            usage_at: fields.usage.map(span),
            object_end: body.iter().rposition(|byte| *byte == b'}').unwrap_or(0),
            body: body.clone(),
        })
    }

    fn text(&self, at: &Range<usize>) -> Option<&str> {
        std::str::from_utf8(self.body.get(at.clone())?).ok()
    }
}

impl Whole for Peeked {
    fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn usage(&self) -> Option<Quantities> {
        self.usage
    }

    fn produced_tokens(&self) -> u64 {
        let content = self.text(&self.content).unwrap_or_default();
        serde_json::from_str::<Prose<'_>>(content).map_or_else(|_| tokens::count(content), |prose| tokens::count(&prose.0))
    }

    fn finish(&self, charge: &Charge) -> (Bytes, Cow<'static, str>) {
        let reported = self.usage_at.as_ref().and_then(|at| self.text(at));
        let usage = usage::with_cost(reported, charge);
        let edit = match &self.usage_at {
            Some(span) => Edit { at: span.clone(), with: usage },
            // A comma may come first: the object has content.
            None => Edit { at: self.object_end..self.object_end, with: format!(",\"usage\":{usage}") },
        };
        (json::splice(&self.body, &[edit]), Cow::Borrowed("application/json"))
    }
}

/// Reads an upstream's answer for a caller of another dialect.
pub(super) fn read(body: &[u8]) -> Result<Answer, Garbage> {
    let fields = parse(body)?;
    let content = fields.content.map_or("[]", RawValue::get);
    let raw: Vec<&RawValue> = serde_json::from_str(content).map_err(|error| Garbage(format!("the answer's content: {error}")))?;
    let mut blocks: Vec<Block> = raw.into_iter().filter_map(read_block).collect();
    let mut finish = fields.stop_reason.as_ref().map_or(Finish::Stop, |reason| stop::finish_of(&reason.0));
    if finish == Finish::ToolCalls && !blocks.iter().any(|block| matches!(block.content, Content::ToolCall { .. })) {
        // The only call was the answer itself.
        finish = Finish::Stop;
    }
    let explanation = owned(fields.stop_details.and_then(|details| details.explanation));
    if finish == Finish::Refused && !explanation.is_empty() {
        blocks.push(Block::new(Content::Refusal(explanation)));
    }
    let stop_sequence = fields.stop_sequence.map(|sequence| sequence.0.into_owned()).filter(|sequence| !sequence.is_empty());
    Ok(Answer {
        id: fields.id.map(|id| id.0.into_owned()),
        model: fields.model.map(|model| model.0.into_owned()),
        choices: vec![Choice { blocks, finish, stop_sequence, logprobs: None }],
        usage: fields.usage.and_then(|raw| usage::Reported::read(raw.get())).map(|reported| reported.quantities()),
        service_tier: None,
    })
}

/// `None` is a block without anything in it.
fn read_block(raw: &RawValue) -> Option<Block> {
    let fragment: Fragment<'_> = serde_json::from_str(raw.get()).ok()?;
    let kind = fragment.kind.0.into_owned();
    let citations = fragment.citations.filter(|_| kind == "text").map(citations::read).unwrap_or_default();
    let content = match &*kind {
        "text" => Content::Text(owned(fragment.text)),
        "thinking" => Content::Reasoning { text: owned(fragment.thinking), signature: signed(owned(fragment.signature), false) },
        "redacted_thinking" => Content::Reasoning { text: String::new(), signature: signed(owned(fragment.data), true) },
        "tool_use" => {
            let input = fragment.input.map_or("{}", RawValue::get);
            match owned(fragment.name) {
                answer if answer == STRUCTURED_ANSWER => Content::Text(input.to_owned()),
                name => Content::ToolCall {
                    id: owned(fragment.id),
                    name,
                    arguments: if json::is_object(input) { input.to_owned() } else { "{}".to_owned() },
                    kind: ToolKind::Function,
                    signature: None,
                },
            }
        }
        _ => Content::Opaque { json: Json::parse(raw.get())?, kind },
    };
    let is_empty = match &content {
        Content::Text(text) => text.is_empty(),
        Content::Reasoning { text, signature } => text.is_empty() && signature.is_none(),
        _ => false,
    };
    (!is_empty).then(|| Block { citations, ..Block::new(content) })
}

/// Writes an answer with every member that Anthropic's own has, `null` where nothing is known.
pub(super) fn write(answer: &Answer, writing: &Writing, charge: &Charge) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(b"{\"id\":");
    json::push_string(&mut out, &answer_id(writing));
    out.extend_from_slice(br#","type":"message","role":"assistant","model":"#);
    json::push_string(&mut out, &writing.model);
    out.extend_from_slice(b",\"content\":[");
    let choice = answer.choices.first();
    let mut has_calls = false;
    let mut position = 0;
    for block in choice.into_iter().flat_map(|choice| &choice.blocks) {
        has_calls |= matches!(block.content, Content::ToolCall { .. });
        if let (Content::Text(text), false) = (&block.content, block.citations.is_empty()) {
            // A block is cited as a whole, so texts are cut where they are cited.
            for (piece, cited) in citation::pieces(text, &block.citations) {
                out.extend_from_slice(if position > 0 { b"," } else { b"" });
                write_text(piece, cited, &mut out);
                position += 1;
            }
            continue;
        }
        let start = out.len();
        if position > 0 {
            out.push(b',');
        }
        if write_block(&block.content, position, writing, &mut out) {
            position += 1;
        } else {
            out.truncate(start);
        }
    }
    let stop_sequence = choice.and_then(|choice| choice.stop_sequence.as_deref());
    let finish = choice.map_or(Finish::Stop, |choice| choice.finish);
    let reason = stop::reason_of(finish, has_calls, stop_sequence.is_some());
    out.extend_from_slice(b"],\"stop_reason\":");
    json::push_string(&mut out, reason);
    out.extend_from_slice(b",\"stop_sequence\":");
    push_optional(&mut out, stop_sequence.filter(|_| reason == "stop_sequence"));
    out.extend_from_slice(format!(",\"stop_details\":{},\"container\":null,\"usage\":", stop::details_of(reason)).as_bytes());
    out.extend_from_slice(usage::with_cost(None, charge).as_bytes());
    out.push(b'}');
    Bytes::from(out)
}

pub(super) fn push_optional(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => json::push_string(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

fn write_text<'a>(text: &str, cited: impl IntoIterator<Item = &'a Citation>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"type":"text","citations":"#);
    citations::push_all(out, cited);
    out.extend_from_slice(br#","text":"#);
    json::push_string(out, text);
    out.push(b'}');
}

/// Answers whether there was anything to write.
fn write_block(content: &Content, position: usize, writing: &Writing, out: &mut Vec<u8>) -> bool {
    match content {
        Content::Text(text) | Content::Refusal(text) if !text.is_empty() => {
            out.extend_from_slice(br#"{"type":"text","citations":[],"text":"#);
            json::push_string(out, text);
        }
        Content::Reasoning { text, signature } => {
            let own = signature.as_ref().filter(|signature| signature.vendor == Dialect::Anthropic);
            match own {
                Some(sealed) if sealed.sealed => push_sealed(out, &sealed.value),
                None if text.is_empty() => return false,
                _ => {
                    out.extend_from_slice(br#"{"type":"thinking","thinking":"#);
                    json::push_string(out, text);
                    out.extend_from_slice(b",\"signature\":");
                    // Nobody else's thought is signed.
                    json::push_string(out, own.map_or("", |signature| &signature.value));
                }
            }
        }
        Content::ToolCall { id, name, arguments, kind, .. } => {
            push_call(out, &call_id(id, position, writing), name);
            let input = match kind {
                ToolKind::Function => wire::input(arguments),
                ToolKind::Custom => wire::text_input(arguments),
            };
            out.extend_from_slice(input.text().as_bytes());
        }
        _ => return false,
    }
    out.push(b'}');
    true
}

/// A sealed thought, without its last brace.
pub(super) fn push_sealed(out: &mut Vec<u8>, data: &str) {
    out.extend_from_slice(br#"{"type":"redacted_thinking","data":"#);
    json::push_string(out, data);
}

/// A tool call up to the value of its input.
pub(super) fn push_call(out: &mut Vec<u8>, id: &str, name: &str) {
    out.extend_from_slice(br#"{"type":"tool_use","id":"#);
    json::push_string(out, id);
    out.extend_from_slice(b",\"name\":");
    json::push_string(out, name);
    out.extend_from_slice(br#","caller":{"type":"direct"},"input":"#);
}

/// The upstream's id of a call where Anthropic's clients can take it, one of ours where it gave none.
pub(super) fn call_id<'a>(id: &'a str, position: usize, writing: &Writing) -> Cow<'a, str> {
    match id {
        "" => Cow::Owned(format!("toolu_{}_{position}", answer_id(writing).trim_start_matches("msg_"))),
        id => wire::tool_id(id),
    }
}

#[cfg(test)]
mod tests;
