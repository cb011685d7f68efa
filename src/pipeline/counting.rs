//! Our own count of a call's input: before every call, and for callers who only want to know it.

use std::{rc::Rc, sync::LazyLock};

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::{Pipeline, admission::shown, files, stored};
use crate::{
    actors::{account::Identity, detached},
    dialect::{CallHead, Inbound, tokens},
    domain::refusal::Refusal,
};

/// Larger texts are counted away from the worker thread.
const COUNT_INLINE_BYTES_MAX: usize = 64 * 1024;
/// Large counts that may wait for their turn; a text of a megabyte takes about 100 ms.
const WAITING_MAX: usize = 64;

/// Large texts are counted on half of the cores, so that those who send them cannot keep everybody else waiting.
static CORES: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))));
static WAITING: Semaphore = Semaphore::const_new(WAITING_MAX);

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
    input_tokens(&call, &head, &body).await
}

/// Counts the input of a call that was read from this body.
pub(super) async fn input_tokens(call: &Inbound<'_>, head: &CallHead, body: &Bytes) -> Result<u64, Refusal> {
    if !tokens::are_loaded() {
        // The first call of this process; the others of its thread go on meanwhile.
        let _ = detached::compute(tokens::warm_up).await;
    }
    if call.text_bytes() <= COUNT_INLINE_BYTES_MAX {
        return Ok(call.input_tokens());
    }
    let busy = || Refusal::Overloaded { what: "many large inputs are being counted", retry_after_ms: 1_000 };
    let _waiting = WAITING.try_acquire().map_err(|_| busy())?;
    let _core = CORES.acquire().await.map_err(|_| busy())?;
    let (head, body) = (head.clone(), body.clone());
    let counted = detached::compute(move || Ok(Inbound::read(&head, &body)?.input_tokens())).await;
    counted.unwrap_or(Err(Refusal::Overloaded { what: "the input could not be counted", retry_after_ms: 1_000 }))
}
