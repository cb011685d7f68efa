//! Answers of `/v1/responses` that are kept for their callers.

use super::{Control, ControlError};
use crate::{dialect::responses::stored, store};

/// A kept answer: the response object, as JSON.
pub async fn get(control: &Control, account_id: &str, id: &str) -> Result<String, ControlError> {
    Ok(find(control, account_id, id).await?.output)
}

pub async fn delete(control: &Control, account_id: &str, id: &str) -> Result<(), ControlError> {
    match store::responses::delete(&control.db, account_id, id, control.clock.now()).await? {
        true => Ok(()),
        false => Err(missing(id)),
    }
}

/// Which items of a call to list.
#[derive(Debug, Clone)]
pub struct ItemsRequest {
    pub limit: usize,
    /// The id of the item before the first one.
    pub after: Option<String>,
    pub oldest_first: bool,
}

/// Items of a call, each with its id and its JSON.
#[derive(Debug)]
pub struct Items {
    pub items: Vec<(String, String)>,
    pub has_more: bool,
}

/// The items that a kept answer answers, without those before them in the conversation.
pub async fn input_items(control: &Control, account_id: &str, id: &str, request: &ItemsRequest) -> Result<Items, ControlError> {
    let response = find(control, account_id, id).await?;
    let mut items = stored::shown_items(&response.input, id);
    if !request.oldest_first {
        items.reverse();
    }
    if let Some(after) = &request.after {
        let Some(position) = items.iter().position(|(id, _)| id == after) else {
            let message = format!("'after' names no item of {}", shown(id));
            return Err(ControlError::Invalid { message, param: Some("after".to_owned()) });
        };
        items.drain(..=position);
    }
    let has_more = items.len() > request.limit;
    items.truncate(request.limit);
    Ok(Items { items, has_more })
}

/// Nothing runs in the background here, so there is never anything to cancel.
pub async fn cancel(control: &Control, account_id: &str, id: &str) -> Result<(), ControlError> {
    find(control, account_id, id).await?;
    let message = "only answers that run in the background can be cancelled, and this gateway runs none; close the stream to end a call";
    Err(ControlError::Invalid { message: message.to_owned(), param: None })
}

async fn find(control: &Control, account_id: &str, id: &str) -> Result<store::responses::StoredResponse, ControlError> {
    let found = store::responses::find(&control.db, &control.sealer, account_id, id, control.clock.now()).await?;
    found.ok_or_else(|| missing(id))
}

fn missing(id: &str) -> ControlError {
    ControlError::NotFound(format!("the response '{}'", shown(id)))
}

/// A caller's text as it may stand in our own: bounded, and without control characters.
fn shown(id: &str) -> String {
    id.chars().take(100).filter(|letter| !letter.is_control()).collect()
}
