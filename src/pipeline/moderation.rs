//! A moderation model as a screening rule: asked on the operator's account, within a time limit, through the upstreams of its model.
//!
//! Nothing is held and nobody is charged: the caller did not ask for it. What the upstream costs is the operator's.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::{Pipeline, admission::elapsed};
use crate::{
    actors::catalog::Candidate,
    dialect::{
        CallHead, Endpoint,
        format::{Aim, Quirks},
        plan::Plan,
        texts::CallerTexts,
    },
    domain::{
        catalog::ModelKind,
        screening::{Moderator, OnError, Rule},
    },
    upstream::Call,
};

const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Whether the model of a rule objects to these texts. Without a verdict the rule says what counts.
pub(super) async fn objects(pipeline: &Rc<Pipeline>, request_id: &str, rule: &Rule, texts: &CallerTexts) -> bool {
    let Some(moderator) = &rule.moderator else { return false };
    if texts.text.trim().is_empty() {
        return false;
    }
    let patience = pipeline.policy.screening.moderation_timeout;
    let verdict = match tokio::time::timeout(patience, ask(pipeline, request_id, moderator, &texts.text, patience)).await {
        Ok(verdict) => verdict,
        Err(_) => Err(format!("no verdict within {} ms", patience.as_millis())),
    };
    verdict.unwrap_or_else(|why| {
        let blocks = moderator.on_error == OnError::Block;
        tracing::warn!(rule.id = %rule.id, model = %moderator.model, error = %why, counts_as_hit = blocks, "a moderation model gave no verdict");
        blocks
    })
}

async fn ask(pipeline: &Rc<Pipeline>, request_id: &str, moderator: &Moderator, text: &str, patience: Duration) -> Result<bool, String> {
    let bytes_max = pipeline.policy.screening.moderation_bytes_max;
    if text.len() > bytes_max {
        return Err(format!("the text has {} bytes, more than screening.moderation_bytes_max ({bytes_max})", text.len()));
    }
    let model = pipeline.catalog.snapshot().model(&moderator.model).cloned();
    let model = model.filter(|model| model.model.kind == ModelKind::Moderation);
    let model = model.ok_or_else(|| format!("'{}' is no enabled model of kind moderation", moderator.model))?;
    let mut failed = format!("no enabled upstream serves '{}'", model.id);
    // The time limit bounds all attempts together.
    let started_at = pipeline.clock.now();
    for candidate in &model.candidates {
        let left = patience.saturating_sub(elapsed(started_at, pipeline.clock.now()));
        match attempt(pipeline, request_id, candidate, text, left).await {
            Ok(body) => return judge(moderator, &body),
            Err(why) => failed = format!("{}: {why}", candidate.gate.name()),
        }
    }
    Err(failed)
}

async fn attempt(pipeline: &Rc<Pipeline>, request_id: &str, candidate: &Candidate, text: &str, left: Duration) -> Result<Bytes, String> {
    let gate = &candidate.gate;
    let place = gate.enter(pipeline.policy.queue_wait.min(left)).await.map_err(|_| "at its limit of calls".to_owned())?;
    let started_at = pipeline.clock.now();
    if gate.is_in_drill(started_at) {
        return Err("an outage drill is under way".to_owned());
    }
    let mut plan = Plan::choose(Endpoint::Moderations, &gate.target.speaks).ok_or("does not speak moderations")?;
    let head = CallHead::new(Endpoint::Moderations);
    let body = Bytes::from(json!({ "model": &*candidate.upstream_model, "input": text }).to_string());
    let aim = Aim { model: &candidate.upstream_model, max_output_tokens: 0, quirks: Quirks::default(), drop_unsupported: true };
    let written = plan.write(&head, &body, &aim).map_err(|error| error.to_string())?;
    let call = Call {
        endpoint: plan.upstream(),
        model: candidate.upstream_model.clone(),
        body: written.body,
        content_type: written.content_type,
        streamed: false,
        version: None,
        betas: None,
        request_id: request_id.to_owned(),
        api_key: None,
        deadline: left,
    };
    let answered = async { pipeline.connector.provider(&gate.target).call(call).await?.body.collect(ANSWER_BYTES_MAX).await };
    let outcome = answered.await;
    drop(place);
    match outcome {
        Ok(body) => {
            gate.succeeded(elapsed(started_at, pipeline.clock.now()));
            Ok(body)
        }
        Err(failure) => {
            if failure.counts_against_breaker() {
                gate.failed();
            }
            Err(failure.to_string())
        }
    }
}

#[derive(Deserialize)]
struct Verdicts {
    results: Vec<Verdict>,
}

#[derive(Deserialize)]
struct Verdict {
    #[serde(default)]
    flagged: Option<bool>,
    #[serde(default)]
    categories: BTreeMap<String, Option<bool>>,
    #[serde(default)]
    category_scores: BTreeMap<String, Option<f64>>,
}

/// Reads a moderation in OpenAI's format.
fn judge(moderator: &Moderator, body: &[u8]) -> Result<bool, String> {
    let verdicts: Verdicts = serde_json::from_slice(body).map_err(|error| format!("not understood: {error}"))?;
    if verdicts.results.is_empty() {
        return Err("not understood: no results".to_owned());
    }
    let counts = |category: &str| moderator.categories.is_empty() || moderator.categories.iter().any(|wanted| wanted == category);
    let mut flagged = false;
    for verdict in &verdicts.results {
        flagged |= match moderator.threshold_percent {
            Some(threshold) => {
                let mut scores =
                    verdict.category_scores.iter().filter(|(category, _)| counts(category)).filter_map(|(_, score)| *score).peekable();
                if scores.peek().is_none() {
                    return Err("not understood: no scores for the rule's categories".to_owned());
                }
                scores.any(|score| score * 100.0 >= f64::from(threshold))
            }
            None if moderator.categories.is_empty() => verdict.flagged.ok_or("not understood: no verdict")?,
            None => verdict.categories.iter().any(|(category, flag)| counts(category) && *flag == Some(true)),
        };
    }
    Ok(flagged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_read_as_the_rule_asks() {
        let moderator = |categories: &[&str], threshold_percent: Option<u32>| Moderator {
            model: "m".to_owned(),
            categories: categories.iter().map(|category| (*category).to_owned()).collect(),
            threshold_percent,
            on_error: OnError::Block,
        };
        let body = json!({"results": [{"flagged": true, "categories": {"violence": true, "hate": false, "self-harm/intent": null},
            "category_scores": {"violence": 0.7, "hate": 0.2}}]});
        let judged = |moderator: Moderator| judge(&moderator, body.to_string().as_bytes());
        assert_eq!(judged(moderator(&[], None)), Ok(true));
        assert_eq!(judged(moderator(&["hate"], None)), Ok(false));
        assert_eq!(judged(moderator(&["violence"], None)), Ok(true));
        assert_eq!(judged(moderator(&[], Some(70))), Ok(true));
        assert_eq!(judged(moderator(&[], Some(71))), Ok(false));
        assert_eq!(judged(moderator(&["hate"], Some(20))), Ok(true));
        assert!(judged(moderator(&["unknown"], Some(20))).is_err());
        assert!(judge(&moderator(&[], None), b"{\"results\":[]}").is_err());
        assert!(judge(&moderator(&[], None), b"nope").is_err());
    }
}
