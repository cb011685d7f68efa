//! Requests and answers that are kept: read and deleted by their owners, and by the staff under audit.

use serde_json::json;

use super::{Actor, Control, ControlError, audit, usage};
use crate::{
    domain::api_key::{ApiKey, Scope},
    store,
};

pub use crate::store::contents::{Body, Content};

/// What is kept of a call, by any id that its caller may know.
pub async fn get(control: &Control, account_id: &str, id: &str) -> Result<Content, ControlError> {
    written(control).await?;
    let own_id = resolve(control, account_id, id).await?;
    let found = store::contents::find(&control.db, &control.sealer, Some(account_id), &own_id, control.clock.now()).await?;
    found.ok_or_else(|| missing(id))
}

/// The same for a key: one that does not stand for the account sees its own calls only.
pub async fn get_for_key(control: &Control, account_id: &str, key: &ApiKey, id: &str) -> Result<Content, ControlError> {
    let content = get(control, account_id, id).await?;
    let may_see = content.key_id == key.id || key.has_scope(Scope::Account);
    if may_see { Ok(content) } else { Err(missing(id)) }
}

pub async fn delete(control: &Control, actor: &Actor, account_id: &str, id: &str) -> Result<(), ControlError> {
    written(control).await?;
    let own_id = resolve(control, account_id, id).await?;
    if !store::contents::delete(&control.db, Some(account_id), &own_id).await? {
        return Err(missing(id));
    }
    audit::note(control, actor, "content.delete", &own_id, json!({ "account_id": account_id })).await;
    Ok(())
}

/// Deletes everything that is kept of an account; answers with how many calls that were.
pub async fn delete_all(control: &Control, actor: &Actor, account_id: &str) -> Result<u64, ControlError> {
    written(control).await?;
    let deleted = store::contents::delete_all(&control.db, account_id).await?;
    audit::note(control, actor, "content.delete_all", account_id, json!({ "calls": deleted })).await;
    Ok(deleted)
}

/// For the staff: what is kept of a call of anybody. Its owner can see in the audit trail that it was read.
pub async fn get_as_staff(control: &Control, actor: &Actor, id: &str) -> Result<Content, ControlError> {
    written(control).await?;
    let found = store::contents::find(&control.db, &control.sealer, None, id, control.clock.now()).await?;
    let content = found.ok_or_else(|| missing(id))?;
    audit::note(control, actor, "content.read", &content.id, json!({ "account_id": content.account_id })).await;
    Ok(content)
}

pub async fn delete_as_staff(control: &Control, actor: &Actor, id: &str) -> Result<(), ControlError> {
    written(control).await?;
    if !store::contents::delete(&control.db, None, id).await? {
        return Err(missing(id));
    }
    audit::note(control, actor, "content.delete", id, json!({})).await;
    Ok(())
}

/// Whoever reads or deletes right behind a call must find it.
async fn written(control: &Control) -> Result<(), ControlError> {
    match control.contents.flush().await {
        true => Ok(()),
        false => Err(ControlError::Unavailable("what is to be kept of calls is not written yet".to_owned())),
    }
}

/// Our own id of a call. A usage record may be gone before the content of its call is.
async fn resolve(control: &Control, account_id: &str, id: &str) -> Result<String, ControlError> {
    let record = usage::find(control, account_id, id).await?;
    Ok(record.map_or_else(|| id.to_owned(), |record| record.id))
}

fn missing(id: &str) -> ControlError {
    let id: String = id.chars().take(100).filter(|letter| !letter.is_control()).collect();
    ControlError::NotFound(format!("kept content of the call '{id}'"))
}
