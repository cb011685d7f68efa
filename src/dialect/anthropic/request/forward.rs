//! The body for an upstream that speaks Anthropic's format itself.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::{
    Invalid,
    anthropic::fields::elements,
    format::{Aim, Written},
    json::{self, Edit, Prose},
};

const SAMPLING: [&str; 3] = ["temperature", "top_p", "top_k"];

/// The caller's bytes with the upstream's name of the model. Thoughts that Anthropic did not sign are left out, because it would refuse
/// them; so is sampling, for models that refuse that.
pub fn forward(body: &Bytes, aim: &Aim<'_>) -> Result<Written, Invalid> {
    let unreadable = || Invalid::body("the request body must be a JSON object");
    let text = std::str::from_utf8(body).map_err(|_| unreadable())?;
    let members = json::members(text).ok_or_else(unreadable)?;
    let dropped: Vec<String> = match aim.quirks.sampling {
        true => Vec::new(),
        false => SAMPLING.iter().filter(|name| members.iter().any(|(member, _)| member == *name)).map(|name| (*name).to_owned()).collect(),
    };
    let changed = |name: &str, raw: &RawValue| match name {
        "model" => Some(json::quoted(aim.model)).filter(|model| model != raw.get()),
        "messages" => without_unsigned_thoughts(raw),
        _ => None,
    };
    if dropped.is_empty() {
        let edit = |name: &str, raw: &RawValue| Some(Edit { at: json::span_in(body, raw.get()), with: changed(name, raw)? });
        let edits: Vec<Edit> = members.iter().filter_map(|(name, raw)| edit(name, raw)).collect();
        return Ok(Written::json(if edits.is_empty() { body.clone() } else { json::splice(body, &edits) }));
    }
    let kept = members.iter().filter(|(name, _)| !dropped.iter().any(|dropped| dropped == name));
    let written = kept.map(|(name, raw)| {
        let value = changed(name, raw);
        format!("{}:{}", json::quoted(name), value.as_deref().unwrap_or(raw.get()))
    });
    let written: Vec<String> = written.collect();
    Ok(Written { dropped, ..Written::json(format!("{{{}}}", written.join(","))) })
}

#[derive(Deserialize)]
struct Thought<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Prose<'a>,
    #[serde(borrow, default)]
    signature: Prose<'a>,
}

/// The messages without thoughts of other vendors' models, which callers have from us with an empty signature; `None` when there are none.
/// A message that was nothing but such a thought goes, too.
fn without_unsigned_thoughts(messages: &RawValue) -> Option<String> {
    memchr::memmem::find(messages.get().as_bytes(), b"thinking")?;
    let mut found = false;
    let mut kept = Vec::new();
    for message in elements(messages)? {
        let content = json::members(message.get())?.into_iter().find(|(name, _)| name == "content").map(|(_, raw)| raw);
        let blocks = content.and_then(elements).unwrap_or_default();
        let signed: Vec<&str> = blocks.iter().filter(|block| !is_unsigned_thought(block)).map(|block| block.get()).collect();
        match content {
            Some(content) if signed.len() < blocks.len() => {
                found = true;
                let edit = Edit { at: json::span_in(message.get().as_bytes(), content.get()), with: format!("[{}]", signed.join(",")) };
                let edited = json::splice(message.get().as_bytes(), &[edit]);
                if !signed.is_empty() {
                    kept.push(String::from_utf8_lossy(&edited).into_owned());
                }
            }
            _ => kept.push(message.get().to_owned()),
        }
    }
    found.then(|| format!("[{}]", kept.join(",")))
}

fn is_unsigned_thought(block: &RawValue) -> bool {
    serde_json::from_str::<Thought<'_>>(block.get()).is_ok_and(|block| block.kind.0 == "thinking" && block.signature.0.is_empty())
}
