//! The stored answer to an earlier call with the same Idempotency-Key, for nothing.

use std::{rc::Rc, time::Duration};

use aws_lc_rs::digest;
use bytes::Bytes;

use super::{CallError, Facts, Outgoing, Pipeline};
use crate::{
    actors::account::{IdempotencyClaim, OTHER_REQUEST, RateState},
    dialect::{CallHead, media},
    domain::refusal::Refusal,
    store::{self, StoreError, idempotency::IdempotencyRecord},
};

const BARRIER_DEADLINE: Duration = Duration::from_secs(10);
const NOT_KEPT: &str =
    "a call with this Idempotency-Key was answered and charged, but its answer is too large to be kept; use a new key to call again";

/// SHA-256 of what makes two requests the same: route, path, body, and the headers that change what it means. As hex. Of a form the parts
/// count and not its boundary, which clients draw anew for every attempt.
pub fn request_hash(head: &CallHead, body: &[u8]) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(head.endpoint.path().as_bytes());
    let parts = media::multipart::parts(head.content_type.as_deref(), body).ok();
    let framing = format!("{:?}{:?}", head.framing, head.streamed);
    let betas = head.betas.as_deref().map(|betas| format!("anthropic-beta: {betas}"));
    for part in [
        head.model.as_deref(),
        head.content_type.as_deref().filter(|_| parts.is_none()),
        head.version.as_deref(),
        betas.as_deref(),
        Some(framing.as_str()),
    ]
    .into_iter()
    .flatten()
    {
        hash.update(b"\n");
        hash.update(part.as_bytes());
    }
    hash.update(b"\n");
    match &parts {
        Some(parts) => parts.iter().for_each(|part| hash_part(&mut hash, part, body)),
        None => hash.update(body),
    }
    hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash_part(hash: &mut digest::Context, part: &media::multipart::Part, body: &[u8]) {
    let text = |text: &Option<String>| text.clone().unwrap_or_default().into_bytes();
    let fields = [part.name.clone().into_bytes(), text(&part.file_name), text(&part.content_type)];
    for field in fields.iter().map(Vec::as_slice).chain([part.bytes(body)]) {
        hash.update(&(field.len() as u64).to_le_bytes());
        hash.update(field);
    }
}

/// The answer to a call of an earlier time, if there was one.
pub async fn earlier(pipeline: &Rc<Pipeline>, account_id: &str, claim: &IdempotencyClaim) -> Result<Option<Outgoing>, CallError> {
    match store::idempotency::find(&pipeline.db, account_id, &claim.key, pipeline.clock.now()).await {
        Ok(Some(record)) if record.request_hash != claim.request_hash => Err(Refusal::IdempotencyConflict(OTHER_REQUEST).into()),
        Ok(Some(record)) => Ok(Some(answer(record)?)),
        Ok(None) => Ok(None),
        Err(error) => Err(away(&error)),
    }
}

/// The answer to a call that ended a moment ago; waits until it is durable.
pub async fn ended_just_now(pipeline: &Rc<Pipeline>, account_id: &str, claim: &IdempotencyClaim) -> Result<Outgoing, CallError> {
    if !pipeline.journal.barrier(BARRIER_DEADLINE).await {
        return Err(Refusal::Overloaded { what: "the answer to replay is not written yet", retry_after_ms: 1_000 }.into());
    }
    match earlier(pipeline, account_id, claim).await? {
        Some(answer) => Ok(answer),
        None => Err(Refusal::IdempotencyConflict(NOT_KEPT).into()),
    }
}

fn away(error: &StoreError) -> CallError {
    tracing::warn!(error = %error, "an earlier answer could not be looked up");
    Refusal::Overloaded { what: "earlier answers cannot be looked up because the database is out of reach", retry_after_ms: 1_000 }.into()
}

fn answer(record: IdempotencyRecord) -> Result<Outgoing, CallError> {
    if record.status == 0 {
        return Err(Refusal::IdempotencyConflict(NOT_KEPT).into());
    }
    let upstream = record.headers.iter().find(|(name, _)| name == "x-pixgate-upstream").map_or("", |(_, value)| value.as_str());
    let facts = Facts { cost_micros: Some(0), replayed: true, ..Facts::new(upstream.into(), RateState::default()) };
    Ok(Outgoing::Whole { facts, status: record.status, content_type: record.content_type, body: record.body })
}

/// What is kept of an answer. One that is too large keeps its key taken, without its text (status 0).
pub fn record(
    pipeline: &Pipeline,
    account_id: &str,
    claim: &IdempotencyClaim,
    usage_id: &str,
    upstream: &str,
    content_type: &str,
    body: Option<Bytes>,
) -> IdempotencyRecord {
    let now = pipeline.clock.now();
    let kept = body.filter(|body| body.len() <= pipeline.policy.idempotency_bytes_max);
    IdempotencyRecord {
        account_id: account_id.to_owned(),
        idempotency_key: claim.key.clone(),
        request_hash: claim.request_hash.clone(),
        usage_id: usage_id.to_owned(),
        status: if kept.is_some() { 200 } else { 0 },
        content_type: content_type.to_owned(),
        headers: vec![("x-pixgate-upstream".to_owned(), upstream.to_owned())],
        body: kept.unwrap_or_default(),
        created_at: now,
        expires_at: now + i64::try_from(pipeline.policy.idempotency_ttl.as_micros()).unwrap_or(i64::MAX / 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Endpoint;

    #[test]
    fn requests_are_the_same_when_nothing_that_matters_differs() {
        let head = CallHead::new(Endpoint::Messages);
        let versioned = CallHead { version: Some("2023-06-01".to_owned()), ..head.clone() };
        let beta = CallHead { betas: Some("context-1m".to_owned()), ..head.clone() };
        let other_beta = CallHead { betas: Some("2023-06-01".to_owned()), ..head.clone() };
        let elsewhere = CallHead::new(Endpoint::ChatCompletions);
        let all = [&head, &versioned, &beta, &other_beta, &elsewhere].map(|head| request_hash(head, b"{}"));
        for (number, hash) in all.iter().enumerate() {
            assert!(!all[..number].contains(hash), "{number}");
        }
        assert_ne!(request_hash(&head, b"{}"), request_hash(&head, b"{ }"));
        assert_eq!(request_hash(&beta, b"{}"), request_hash(&beta.clone(), b"{}"));
    }
}
