//! Our own count of a call's input: before every call, and for callers who only want to know it.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;

use super::{Pipeline, admission::shown, files, stored};
use crate::{
    actors::{account::Identity, detached},
    dialect::{CallHead, Inbound, tokens},
    domain::refusal::Refusal,
};

/// Larger texts are counted away from the worker thread.
const COUNT_INLINE_BYTES_MAX: usize = 64 * 1024;
/// How long a large text waits for its turn; one of a megabyte takes about 100 ms.
const PATIENCE: Duration = Duration::from_secs(10);

/// Counts the input of a call that is not made. Free; the key has to be allowed to use the model.
pub async fn count(pipeline: &Rc<Pipeline>, caller: &Identity, mut head: CallHead, mut body: Bytes) -> Result<u64, Refusal> {
    stored::expand_for_count(pipeline, &caller.account_id, &mut head, &mut body).await?;
    if files::may_name(head.endpoint, &body) {
        body = files::inline(pipeline, &caller.account_id, head.endpoint, &body).await?;
    }
    let call = Inbound::read(&head, &body)?;
    let named = call.model();
    let snapshot = pipeline.catalog.snapshot();
    let model = snapshot.resolve(&named).ok_or_else(|| Refusal::ModelNotFound(shown(&named)))?.entry;
    if !caller.key.allows_model(&model.id) {
        return Err(Refusal::ModelNotAllowed(model.id.to_string()));
    }
    input_tokens(pipeline, &call, &head, &body).await
}

/// Counts the input of a call that was read from this body.
pub(super) async fn input_tokens(pipeline: &Pipeline, call: &Inbound<'_>, head: &CallHead, body: &Bytes) -> Result<u64, Refusal> {
    if !tokens::are_loaded() {
        // The first call of this process; the others of its thread go on meanwhile.
        let _ = detached::compute(tokens::warm_up).await;
    }
    if call.text_bytes() <= COUNT_INLINE_BYTES_MAX {
        return Ok(call.input_tokens());
    }
    let busy = |_| Refusal::Overloaded { what: "many large inputs are being counted", retry_after_ms: 1_000 };
    let _place = pipeline.large_counts.enter(PATIENCE).await.map_err(busy)?;
    let (head, body) = (head.clone(), body.clone());
    let counted = detached::compute(move || Ok(Inbound::read(&head, &body)?.input_tokens())).await;
    counted.unwrap_or(Err(Refusal::Overloaded { what: "the input could not be counted", retry_after_ms: 1_000 }))
}
