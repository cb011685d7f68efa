//! The body for an upstream that speaks Anthropic's format itself.

use bytes::Bytes;

use crate::dialect::{
    Invalid,
    format::{Aim, Written},
    json::{self, Edit},
};

const SAMPLING: [&str; 3] = ["temperature", "top_p", "top_k"];

/// The caller's bytes with the upstream's name of the model. Sampling is left out for models that refuse it.
pub fn forward(body: &Bytes, aim: &Aim<'_>) -> Result<Written, Invalid> {
    let unreadable = || Invalid::body("the request body must be a JSON object");
    let text = std::str::from_utf8(body).map_err(|_| unreadable())?;
    let members = json::members(text).ok_or_else(unreadable)?;
    let dropped: Vec<String> = match aim.quirks.sampling {
        true => Vec::new(),
        false => SAMPLING.iter().filter(|name| members.iter().any(|(member, _)| member == *name)).map(|name| (*name).to_owned()).collect(),
    };
    let upstream_model = json::quoted(aim.model);
    if !dropped.is_empty() {
        let kept = members.iter().filter(|(name, _)| !dropped.iter().any(|dropped| dropped == name));
        let kept: Vec<String> = kept
            .map(|(name, raw)| format!("{}:{}", json::quoted(name), if name == "model" { &upstream_model } else { raw.get() }))
            .collect();
        return Ok(Written { dropped, ..Written::json(format!("{{{}}}", kept.join(","))) });
    }
    let model = members.iter().find(|(name, _)| name == "model").map(|(_, raw)| raw.get()).ok_or_else(unreadable)?;
    if model == upstream_model {
        return Ok(Written::json(body.clone()));
    }
    let edit = Edit { at: json::span_in(body, model), with: upstream_model };
    Ok(Written::json(json::splice(body, &[edit])))
}
