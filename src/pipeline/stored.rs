//! Answers of `/v1/responses` that are kept: what a call names of them is put into its body before anything else reads it, and its own
//! answer is written when its charge is durable.
//!
//! The write comes after the capture, so that it can never delay or endanger a charge, and before the answer's last byte, so that a
//! client can continue at once. An answer that could not be written is logged and delivered all the same; continuing it is refused later.

use std::{collections::HashMap, rc::Rc};

use bytes::Bytes;

use super::{CallError, Incoming, Pipeline, admission::shown};
use crate::{
    actors::detached,
    dialect::{
        CallHead, Chain, Endpoint,
        responses::stored::{self, Earlier, Expanded, Wishes},
    },
    domain::{Timestamp, refusal::Refusal},
    store::{
        self, StoreError,
        responses::{ChainLimits, StoredResponse},
    },
};

/// Answers of one conversation, and answers that the references of one call may lie in.
const ANSWERS_MAX: u32 = 200;
/// Larger conversations are put together away from the worker thread.
const INLINE_BYTES_MAX: usize = 256 * 1024;
const NOT_KEPT: &str = "this gateway keeps no answers (its operator can turn 'responses.store' on); send the whole conversation as 'input', \
     and 'store': false";

/// What is kept of a call beside its answer.
pub struct Keep {
    previous_id: Option<String>,
    /// The call's own items: a JSON array.
    input: String,
}

/// Puts what a call names into its body; answers with what to keep when its answer is to be kept.
pub async fn prepare(pipeline: &Rc<Pipeline>, incoming: &mut Incoming) -> Result<Option<Keep>, CallError> {
    if incoming.head.endpoint != Endpoint::Responses {
        return Ok(None);
    }
    // A body that cannot be read is refused by whoever reads all of it.
    let Some(wishes) = Wishes::read(&incoming.body) else { return Ok(None) };
    let is_kept = wishes.store && pipeline.policy.responses_retention.is_some();
    incoming.head.chain.kept = is_kept;
    if wishes.previous_id.is_none() && wishes.references.is_empty() {
        let input = if is_kept { stored::own_items(&incoming.body) } else { None };
        return Ok(input.map(|input| Keep { previous_id: None, input }));
    }
    let account_id = pipeline.accounts.authenticate(&incoming.presented).await?.account_id;
    let expanded = expand(pipeline, &account_id, &wishes, &incoming.body).await?;
    incoming.body = expanded.body;
    incoming.head.chain = Chain { kept: is_kept, previous_id: wishes.previous_id.clone(), earlier_items: expanded.earlier_items };
    Ok(is_kept.then_some(Keep { previous_id: wishes.previous_id, input: expanded.input }))
}

/// The same for a call whose input is only counted.
pub async fn expand_for_count(pipeline: &Rc<Pipeline>, account_id: &str, head: &mut CallHead, body: &mut Bytes) -> Result<(), Refusal> {
    let wishes = if head.endpoint == Endpoint::Responses { Wishes::read(body) } else { None };
    if let Some(wishes) = wishes.filter(|wishes| wishes.previous_id.is_some() || !wishes.references.is_empty()) {
        let expanded = expand(pipeline, account_id, &wishes, body).await?;
        *body = expanded.body;
        head.chain.earlier_items = expanded.earlier_items;
    }
    Ok(())
}

async fn expand(pipeline: &Rc<Pipeline>, account_id: &str, wishes: &Wishes, body: &Bytes) -> Result<Expanded, Refusal> {
    if pipeline.policy.responses_retention.is_none() {
        let param = if wishes.previous_id.is_some() { "previous_response_id" } else { "input" };
        return Err(Refusal::Invalid { message: NOT_KEPT.to_owned(), param: Some(param.to_owned()) });
    }
    let earlier = match &wishes.previous_id {
        Some(id) => conversation(pipeline, account_id, id).await?,
        None => Vec::new(),
    };
    let found = find_references(pipeline, account_id, wishes, &earlier).await?;
    let bytes = body.len() + earlier.iter().map(|answer| answer.input.len() + answer.output.len()).sum::<usize>();
    let work = {
        let body = body.clone();
        move || {
            let earlier: Vec<Earlier<'_>> = earlier.iter().map(|answer| Earlier { input: &answer.input, output: &answer.output }).collect();
            stored::expand(&body, &earlier, &found)
        }
    };
    let expanded = if bytes <= INLINE_BYTES_MAX { work() } else { detached::compute(work).await.flatten() };
    let missing =
        || Refusal::Invalid { message: "'input' must be a string or an array of items".to_owned(), param: Some("input".to_owned()) };
    let expanded = expanded.ok_or_else(missing)?;
    if expanded.body.len() > pipeline.policy.responses_bytes_max { Err(too_long(pipeline)) } else { Ok(expanded) }
}

/// Everything up to an answer, oldest first.
async fn conversation(pipeline: &Pipeline, account_id: &str, id: &str) -> Result<Vec<StoredResponse>, Refusal> {
    let limits = ChainLimits { answers_max: ANSWERS_MAX, bytes_max: pipeline.policy.responses_bytes_max };
    let now = pipeline.clock.now();
    match store::responses::chain(&pipeline.db, &pipeline.sealer, account_id, id, now, limits).await {
        Ok(store::responses::Chain::Whole(answers)) => Ok(answers),
        Ok(store::responses::Chain::Missing(id)) => Err(Refusal::PreviousResponseNotFound(shown(&id))),
        Ok(store::responses::Chain::TooLong) => Err(too_long(pipeline)),
        Err(error) => Err(away(&error)),
    }
}

/// Items that are named instead of sent: in the conversation that is continued, or in the answer that their id tells. What is not found
/// stays named, and is refused with its place in the call.
async fn find_references(
    pipeline: &Pipeline,
    account_id: &str,
    wishes: &Wishes,
    earlier: &[StoredResponse],
) -> Result<HashMap<String, String>, Refusal> {
    let mut found = HashMap::new();
    let mut answers: HashMap<String, Option<StoredResponse>> = HashMap::new();
    for id in &wishes.references {
        if let Some(item) = earlier.iter().rev().find_map(|answer| stored::find_item(&answer.output, id)) {
            found.insert(id.clone(), item);
            continue;
        }
        let Some(answer_id) = stored::answer_of_item(id) else { continue };
        if !answers.contains_key(&answer_id) {
            if answers.len() >= ANSWERS_MAX as usize {
                return Err(too_long(pipeline));
            }
            let answer = store::responses::find(&pipeline.db, &pipeline.sealer, account_id, &answer_id, pipeline.clock.now()).await;
            answers.insert(answer_id.clone(), answer.map_err(|error| away(&error))?);
        }
        let answer = answers.get(&answer_id).and_then(Option::as_ref);
        found.extend(answer.and_then(|answer| stored::find_item(&answer.output, id)).map(|item| (id.clone(), item)));
    }
    Ok(found)
}

fn too_long(pipeline: &Pipeline) -> Refusal {
    let message = format!(
        "the conversation that is continued is longer than {ANSWERS_MAX} answers or {} bytes; begin a new one, with a summary as 'input'",
        pipeline.policy.responses_bytes_max
    );
    Refusal::Invalid { message, param: Some("previous_response_id".to_owned()) }
}

fn away(error: &StoreError) -> Refusal {
    tracing::warn!(error = %error, "kept answers could not be read");
    Refusal::Overloaded { what: "kept answers cannot be looked up because the database is out of reach", retry_after_ms: 1_000 }
}

/// Writes an answer whose charge is durable.
pub async fn keep(pipeline: &Pipeline, account_id: &str, model: &str, id: String, keep: Keep, output: &Bytes) {
    let Some(retention) = pipeline.policy.responses_retention else { return };
    let now = pipeline.clock.now();
    let response = StoredResponse {
        id,
        account_id: account_id.to_owned(),
        model: model.to_owned(),
        previous_id: keep.previous_id,
        input: keep.input,
        output: String::from_utf8_lossy(output).into_owned(),
        created_at: now,
        expires_at: now.saturating_add(Timestamp::try_from(retention.as_micros()).unwrap_or(Timestamp::MAX)),
    };
    if let Err(error) = store::responses::insert(&pipeline.db, &pipeline.sealer, &response).await {
        tracing::error!(response.id = %response.id, error = %error, "an answer that its caller asked to be kept could not be written");
    }
}
