//! The body for an upstream of this dialect: the caller's bytes, but for the model's name and where answers are kept.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{edit, fields::Fields, request::text_of, signature};
use crate::dialect::{
    CallHead, Invalid,
    format::{Aim, Written},
    json::{self, Text},
};

const ENCRYPTED: &str = "reasoning.encrypted_content";

/// Answers are kept by the gateway or nowhere: what a vendor kept would be in an account that all callers share.
pub(super) fn write(head: &CallHead, body: &Bytes, aim: &Aim<'_>) -> Result<Written, Invalid> {
    let text = text_of(body)?;
    let fields = Fields::read("", text)?;
    let model = json::quoted(aim.model);
    let (include, input) = (include(head, &fields), input(head, &fields));
    let mut values = Vec::with_capacity(4);
    if fields.peek("model").map(RawValue::get) != Some(&model) {
        values.push(("model", &*model));
    }
    if fields.peek("store").map(RawValue::get) != Some("false") {
        values.push(("store", "false"));
    }
    values.extend(include.as_deref().map(|include| ("include", include)));
    values.extend(input.as_deref().map(|input| ("input", input)));
    if values.is_empty() {
        return Ok(Written::json(body.clone()));
    }
    let edited = edit::set(text, &values).ok_or_else(|| Invalid::body("the request body must be a JSON object"))?;
    Ok(Written::json(edited))
}

/// What a model thought can only be continued from here when it comes sealed. Asked for only where the caller shows that the model
/// thinks, since others refuse it.
fn include(head: &CallHead, fields: &Fields<'_>) -> Option<String> {
    if !head.chain.kept || fields.peek("reasoning").is_none() {
        return None;
    }
    let mut include: Vec<String> = match fields.peek("include") {
        Some(include) => serde_json::from_str(include.get()).ok()?,
        None => Vec::new(),
    };
    if include.iter().any(|name| name == ENCRYPTED) {
        return None;
    }
    include.push(ENCRYPTED.to_owned());
    serde_json::to_string(&include).ok()
}

/// The items without the thoughts that this upstream cannot take back: those that another vendor sealed, and earlier ones that nobody
/// did. `None` when all can stay.
fn input(head: &CallHead, fields: &Fields<'_>) -> Option<String> {
    let input = fields.peek("input")?.get();
    if head.chain.earlier_items == 0 && memchr::memmem::find(input.as_bytes(), signature::MARK.as_bytes()).is_none() {
        return None;
    }
    let items: Vec<&RawValue> = serde_json::from_str(input).ok()?;
    let stays = |(index, item): &(usize, &RawValue)| match serde_json::from_str::<Thought<'_>>(item.get()) {
        Ok(Thought { kind: Some(kind), encrypted_content }) if kind.0 == "reasoning" => match encrypted_content {
            Some(encrypted) => !encrypted.0.starts_with(signature::MARK),
            None => *index >= head.chain.earlier_items,
        },
        _ => true,
    };
    let kept: Vec<&str> = items.iter().copied().enumerate().filter(stays).map(|(_, item)| item.get()).collect();
    (kept.len() < items.len()).then(|| format!("[{}]", kept.join(",")))
}

#[derive(serde::Deserialize)]
struct Thought<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    encrypted_content: Option<Text<'a>>,
}
