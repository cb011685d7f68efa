//! Answers that are kept for the same request of the same account, where a call or its key asks for it.
//!
//! What is kept is what the upstream sent, sealed. It is given again on the same way as a fresh answer, so that the caller's dialect, the
//! usage and the cost in it are those of this call.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;

use super::{Pipeline, admission::Admitted, replay};
use crate::{
    actors::{catalog::Candidate, detached},
    dialect::Endpoint,
    store::{self, StoreError, cache::CachedAnswer, seal::Sealer},
};

/// What usage records and headers name as the upstream of a kept answer.
pub const UPSTREAM: &str = "cache";

/// How answers are kept on this node.
#[derive(Debug, Clone, Copy)]
pub struct CachePolicy {
    pub enabled: bool,
    pub ttl: Duration,
    /// Percent of its cost that an answer costs when it was kept.
    pub charge_percent: u32,
    pub answer_bytes_max: usize,
}

/// What a call says about the cache in its headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CacheWish {
    /// As its key says.
    #[default]
    Unsaid,
    No,
    /// For so many seconds, or as long as the operator keeps answers.
    Yes(Option<u32>),
}

/// An answer from the cache.
pub struct Kept {
    pub endpoint: Endpoint,
    pub upstream_model: String,
    pub body: Bytes,
}

/// How long the answer to this call is to be kept; `None` when it is not.
pub fn ttl(policy: &CachePolicy, wish: CacheWish, key_seconds: Option<u32>) -> Option<Duration> {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    match wish {
        _ if !policy.enabled => None,
        CacheWish::No => None,
        CacheWish::Yes(asked) => Some(asked.or(key_seconds).map_or(policy.ttl, seconds)),
        CacheWish::Unsaid => key_seconds.map(seconds),
    }
}

/// What makes two calls the same here: the request, the model that its words mean now, and whether fields may be dropped.
fn key(call: &Admitted) -> String {
    let drops = if call.head.drop_unsupported { "+drops" } else { "" };
    format!("{}/{}{drops}", replay::request_hash(&call.head, &call.body), call.model.id)
}

/// The route that would be asked for this answer today; `None` when there is none any more, and the answer is out of date.
pub fn route_of<'a>(call: &'a Admitted, kept: &Kept) -> Option<&'a Candidate> {
    call.model
        .candidates
        .iter()
        .find(|candidate| *candidate.upstream_model == *kept.upstream_model && candidate.gate.target.speaks.contains(&kept.endpoint))
}

/// The answer kept for this call. A cache out of reach is an empty one.
pub async fn find(pipeline: &Rc<Pipeline>, call: &Admitted) -> Option<Kept> {
    call.cache_ttl?;
    let found = store::cache::find(&pipeline.db, &call.account_id, &key(call), pipeline.clock.now()).await;
    let opened = found.and_then(|row| row.map(|row| open(&pipeline.sealer, row)).transpose());
    match opened {
        Ok(kept) => kept.flatten().filter(|kept| route_of(call, kept).is_some()),
        Err(error) => {
            tracing::warn!(error = %error, "a cached answer could not be read");
            None
        }
    }
}

fn open(sealer: &Sealer, row: CachedAnswer) -> Result<Option<Kept>, StoreError> {
    let body = sealer.open(&owner(&row.account_id, &row.request_hash), &row.sealed_body)?;
    // Unknown only after a downgrade.
    let endpoint = Endpoint::ALL.into_iter().find(|endpoint| endpoint.label() == row.endpoint);
    Ok(endpoint.map(|endpoint| Kept { endpoint, upstream_model: row.upstream_model, body: body.into() }))
}

/// A kept answer cannot be moved to another account or request.
fn owner(account_id: &str, request_hash: &str) -> String {
    format!("{account_id}/{request_hash}")
}

/// What has to be known to keep an answer once it has ended well.
#[derive(Debug, Clone)]
pub struct Keeping {
    account_id: std::sync::Arc<str>,
    request_hash: String,
    endpoint: Endpoint,
    upstream_model: String,
    ttl: Duration,
}

impl Keeping {
    /// `None` when the answer to this call is not to be kept.
    pub fn of(call: &Admitted, endpoint: Endpoint, upstream_model: &str) -> Option<Self> {
        // First, because most calls are not kept and need no hash.
        let ttl = call.cache_ttl?;
        Some(Self {
            account_id: call.account_id.clone(),
            request_hash: key(call),
            endpoint,
            upstream_model: upstream_model.to_owned(),
            ttl,
        })
    }

    /// Keeps what the upstream sent. Nobody waits for it, and nothing depends on it.
    pub fn keep(self, pipeline: &Rc<Pipeline>, body: Bytes) {
        let Ok(text) = std::str::from_utf8(&body) else { return };
        if body.len() > pipeline.policy.cache.answer_bytes_max {
            return;
        }
        let Ok(sealed_body) = pipeline.sealer.seal(&owner(&self.account_id, &self.request_hash), text) else { return };
        let now = pipeline.clock.now();
        let answer = CachedAnswer {
            account_id: self.account_id.to_string(),
            request_hash: self.request_hash,
            endpoint: self.endpoint.label().to_owned(),
            upstream_model: self.upstream_model,
            sealed_body,
            created_at: now,
            expires_at: now + i64::try_from(self.ttl.as_micros()).unwrap_or(i64::MAX / 2),
        };
        let db = pipeline.db.clone();
        drop(detached::run_to_end(async move {
            if let Err(error) = store::cache::put(&db, answer).await {
                tracing::warn!(error = %error, "an answer could not be kept");
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_kept_only_where_somebody_asks() {
        let policy = CachePolicy { enabled: true, ttl: Duration::from_secs(300), charge_percent: 0, answer_bytes_max: 1 };
        let seconds = |wish, key| ttl(&policy, wish, key).map(|ttl| ttl.as_secs());
        assert_eq!(seconds(CacheWish::Unsaid, None), None);
        assert_eq!(seconds(CacheWish::Unsaid, Some(60)), Some(60));
        assert_eq!(seconds(CacheWish::No, Some(60)), None);
        assert_eq!(seconds(CacheWish::Yes(None), None), Some(300));
        assert_eq!(seconds(CacheWish::Yes(None), Some(60)), Some(60));
        assert_eq!(seconds(CacheWish::Yes(Some(5)), Some(60)), Some(5));
        assert_eq!(ttl(&CachePolicy { enabled: false, ..policy }, CacheWish::Yes(None), Some(60)), None);
    }
}
