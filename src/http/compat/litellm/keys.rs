//! `/key/…`

use actix_web::{HttpResponse, http::header::CACHE_CONTROL, web};
use serde::{Deserialize, Serialize};

use super::{
    caller::Manager,
    fields::{Fields, invalid, seconds},
    shapes::{KeyAnswer, KeyInfo, KeyWishes},
};
use crate::{
    control::{
        Actor, Control, ControlError, foreign,
        keys::{self, CreatedKey, Rotation},
    },
    domain::api_key::ApiKey,
    http::{
        admin::extract::{Json, Query},
        error::ApiError,
    },
    telemetry::redact::Secret,
};

/// Keys one request may delete.
const DELETED_MAX: usize = 1_000;

/// Create a key, LiteLLM's way
///
/// Needs scope `admin`, or `account` for the own account. Fields: `key_alias`, `key`, `user_id`, `models`, `max_budget`, `budget_duration`,
/// `rpm_limit`, `tpm_limit`, `max_parallel_requests`, `duration`, `metadata`, `key_type`, `blocked`.
#[utoipa::path(post, path = "/key/generate", tag = "Compatibility", security(("key" = [])),
    request_body(content = Option<serde_json::Value>, content_type = "application/json", description = "LiteLLM's fields; docs/compatibility.md says which"),
    responses((status = 200, description = "The key; its text is in this answer only"), (status = 400, description = "`invalid_request`, naming the field"),
        (status = 404, description = "No such user"), (status = 409, description = "The alias or the key is taken")))]
pub async fn generate_key(manager: Manager, Json(mut fields): Json<Fields>) -> Result<HttpResponse, ApiError> {
    manager.may_write()?;
    let wishes = KeyWishes::take(&mut fields, manager.control.clock.now())?;
    let text = fields.take_text("key")?.flatten().map(Secret::new);
    let user_id = fields.take_text("user_id")?.flatten();
    fields.finish()?;
    let account = manager.account(user_id.as_deref()).await?;
    let actor = manager.actor();
    let created = manager.control.to_the_end(|control| async move { create(&control, &actor, &account.id, &wishes, text).await }).await?;
    show_once(&manager, created).await
}

/// Makes a key, and notes what LiteLLM notes on it.
pub(super) async fn create(
    control: &Control,
    actor: &Actor,
    account_id: &str,
    wishes: &KeyWishes,
    text: Option<Secret>,
) -> Result<CreatedKey, ControlError> {
    if let Some(alias) = wishes.alias.as_ref().and_then(Option::as_deref)
        && !foreign::keys_titled(control, Some(account_id), alias).await?.is_empty()
    {
        return Err(ControlError::Conflict(format!(
            "this user has a key with the alias '{alias}'; choose another alias or delete that key"
        )));
    }
    let new = wishes.new_key().map_err(refused)?;
    let mut created = match text {
        Some(text) => CreatedKey { key: keys::adopt(control, actor, account_id, new, &text).await?, text },
        None => keys::create(control, actor, account_id, new).await?,
    };
    created.key = note(control, actor, created.key, wishes).await?;
    Ok(created)
}

/// Keeps the metadata and the block of a key as wished.
async fn note(control: &Control, actor: &Actor, key: ApiKey, wishes: &KeyWishes) -> Result<ApiKey, ControlError> {
    if let Some(metadata) = &wishes.metadata {
        foreign::set_metadata(control, &key.id, &metadata.clone().unwrap_or_default()).await?;
    }
    match wishes.blocked {
        Some(true) => foreign::block(control, actor, &key.id).await,
        Some(false) => foreign::unblock(control, actor, &key.id).await,
        None => Ok(key),
    }
}

#[derive(Debug, Deserialize)]
pub struct KeyQuery {
    key: Option<String>,
}

/// A key, LiteLLM's way
///
/// Without `key` the calling key itself, whatever its scope. Needs scope `admin`, or `account` for keys of the own account.
#[utoipa::path(get, path = "/key/info", tag = "Compatibility", security(("key" = [])),
    params(("key" = Option<String>, Query, description = "The text or the id of a key")),
    responses((status = 200, description = "`key` (its id) and `info` with alias, spend, budget, limits, models, metadata, expiry, blocked"),
        (status = 404, description = "No such key in reach")))]
pub async fn key_info(manager: Manager, Query(query): Query<KeyQuery>) -> Result<HttpResponse, ApiError> {
    #[derive(Serialize)]
    struct Answer {
        key: String,
        info: KeyInfo,
    }
    let key = match query.key.as_deref().filter(|key| !key.is_empty()) {
        Some(name) => manager.key(name).await?,
        None => manager.identity.key.clone(),
    };
    let info = KeyInfo::of(&manager.control, &key).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(Answer { key: key.id, info }))
}

/// Change a key, LiteLLM's way
///
/// `key` names it by text or id; the other fields are those of `/key/generate` but `user_id`. What is missing stays.
#[utoipa::path(post, path = "/key/update", tag = "Compatibility", security(("key" = [])),
    request_body(content = serde_json::Value, content_type = "application/json", description = "`key` and what to change of it"),
    responses((status = 200, description = "The key as it is now"), (status = 400, description = "`invalid_request`, naming the field"),
        (status = 404, description = "No such key in reach"), (status = 409, description = "The key is revoked")))]
pub async fn update_key(manager: Manager, Json(mut fields): Json<Fields>) -> Result<HttpResponse, ApiError> {
    manager.may_write()?;
    let key = named_key(&manager, &mut fields).await?;
    let wishes = KeyWishes::take(&mut fields, manager.control.clock.now())?;
    if let Some(user_id) = fields.take_text("user_id")?.flatten()
        && manager.account(Some(&user_id)).await?.id != key.account_id
    {
        return Err(invalid("user_id", "user_id: a key stays with its user; create another key for the other user".to_owned()));
    }
    fields.finish()?;
    let key = change(&manager, key, wishes).await?;
    show(&manager, &key).await
}

async fn change(manager: &Manager, key: ApiKey, wishes: KeyWishes) -> Result<ApiKey, ApiError> {
    let patch = wishes.patch(&key)?;
    let actor = manager.actor();
    let work = |control: Control| async move {
        let changed = keys::patch(&control, &actor, &key.id, patch).await?;
        note(&control, &actor, changed, &wishes).await
    };
    Ok(manager.control.to_the_end(work).await?)
}

/// Delete keys, LiteLLM's way
///
/// `keys` are texts or ids, `key_aliases` are aliases; all of them must exist, or none is deleted. Deleting revokes.
#[utoipa::path(post, path = "/key/delete", tag = "Compatibility", security(("key" = [])),
    request_body(content = serde_json::Value, content_type = "application/json", description = "`{\"keys\":[…]}` or `{\"key_aliases\":[…]}`"),
    responses((status = 200, description = "`deleted_keys`: their ids"), (status = 400, description = "`invalid_request`"),
        (status = 404, description = "One of the keys does not exist in reach")))]
pub async fn delete_keys(manager: Manager, Json(mut fields): Json<Fields>) -> Result<HttpResponse, ApiError> {
    #[derive(Serialize)]
    struct Answer {
        deleted_keys: Vec<String>,
    }
    manager.may_write()?;
    let names: Vec<String> = fields.take("keys")?.flatten().unwrap_or_default();
    let aliases: Vec<String> = fields.take("key_aliases")?.flatten().unwrap_or_default();
    fields.finish()?;
    if !(1..=DELETED_MAX).contains(&(names.len() + aliases.len())) {
        return Err(invalid("keys", format!("give 1 to {DELETED_MAX} keys in keys or key_aliases")));
    }
    let mut ids = Vec::new();
    for name in &names {
        ids.push(manager.key_to_change(name).await?.id);
    }
    for alias in &aliases {
        match foreign::keys_titled(&manager.control, manager.confined_to(), alias).await?.as_slice() {
            [key] => {
                manager.may_change(key)?;
                ids.push(key.id.clone());
            }
            [] => return Err(ApiError::not_found(format!("there is no key with the alias '{alias}' in reach of this key"))),
            several => {
                let why = format!("key_aliases: {} keys have the alias '{alias}'; delete them by key or id", several.len());
                return Err(invalid("key_aliases", why));
            }
        }
    }
    let actor = manager.actor();
    let work = |control: Control| async move {
        for id in &ids {
            keys::revoke(&control, &actor, id).await?;
        }
        Ok(ids)
    };
    let deleted_keys = manager.control.to_the_end(work).await?;
    Ok(HttpResponse::Ok().json(Answer { deleted_keys }))
}

/// Block a key, LiteLLM's way
///
/// From its next call on, until it is unblocked.
#[utoipa::path(post, path = "/key/block", tag = "Compatibility", security(("key" = [])),
    request_body(content = serde_json::Value, content_type = "application/json", description = "`{\"key\": text or id}`"),
    responses((status = 200, description = "The key as it is now"), (status = 404, description = "No such key in reach"), (status = 409, description = "The key is revoked")))]
pub async fn block_key(manager: Manager, Json(fields): Json<Fields>) -> Result<HttpResponse, ApiError> {
    switch(manager, fields, true).await
}

/// Unblock a key, LiteLLM's way
///
/// It gets the expiry back that it had before.
#[utoipa::path(post, path = "/key/unblock", tag = "Compatibility", security(("key" = [])),
    request_body(content = serde_json::Value, content_type = "application/json", description = "`{\"key\": text or id}`"),
    responses((status = 200, description = "The key as it is now"), (status = 404, description = "No such key in reach"), (status = 409, description = "The key is revoked")))]
pub async fn unblock_key(manager: Manager, Json(fields): Json<Fields>) -> Result<HttpResponse, ApiError> {
    switch(manager, fields, false).await
}

async fn switch(manager: Manager, mut fields: Fields, blocked: bool) -> Result<HttpResponse, ApiError> {
    manager.may_write()?;
    let key = named_key(&manager, &mut fields).await?;
    fields.finish()?;
    let actor = manager.actor();
    let work = |control: Control| async move {
        match blocked {
            true => foreign::block(&control, &actor, &key.id).await,
            false => foreign::unblock(&control, &actor, &key.id).await,
        }
    };
    let key = manager.control.to_the_end(work).await?;
    show(&manager, &key).await
}

/// Replace a key, LiteLLM's way
///
/// The new key may do what the old one may, or what the body says. The old one ends at once, or after `grace_period`. What the old one
/// spent of a budget does not count for the new one.
#[utoipa::path(post, path = "/key/{key}/regenerate", tag = "Compatibility", security(("key" = [])),
    params(("key" = String, Path, description = "The text or the id of the key")),
    request_body(content = Option<serde_json::Value>, content_type = "application/json", description = "Optional: `grace_period` and fields of `/key/update`"),
    responses((status = 200, description = "The new key; its text is in this answer only"), (status = 404, description = "No such key in reach"),
        (status = 409, description = "The key is revoked, expired or blocked")))]
pub async fn regenerate_key(manager: Manager, name: web::Path<String>, Json(mut fields): Json<Fields>) -> Result<HttpResponse, ApiError> {
    manager.may_write()?;
    let old = manager.key_to_change(&name).await?;
    let grace = fields.take_text("grace_period")?.flatten().map(|text| seconds("grace_period", &text)).transpose()?;
    let wishes = KeyWishes::take(&mut fields, manager.control.clock.now())?;
    fields.finish()?;
    let patch = wishes.patch(&old)?;
    let actor = manager.actor();
    let work = |control: Control| async move {
        let rotation = Rotation { grace_seconds: Some(grace.unwrap_or(0)) };
        let notes = foreign::notes(&control, &old.id).await?;
        let mut created = keys::rotate(&control, &actor, &old.id, &rotation).await?;
        if let serde_json::Value::Object(metadata) = foreign::metadata(&notes) {
            foreign::set_metadata(&control, &created.key.id, &metadata).await?;
        }
        let changed = keys::patch(&control, &actor, &created.key.id, patch).await?;
        created.key = note(&control, &actor, changed, &wishes).await?;
        Ok(created)
    };
    let created = manager.control.to_the_end(work).await?;
    show_once(&manager, created).await
}

/// The key that the field `key` names.
async fn named_key(manager: &Manager, fields: &mut Fields) -> Result<ApiKey, ApiError> {
    match fields.take_text("key")?.flatten() {
        Some(name) => manager.key_to_change(&name).await,
        None => Err(invalid("key", "key is required: the text or the id of a key".to_owned())),
    }
}

async fn show(manager: &Manager, key: &ApiKey) -> Result<HttpResponse, ApiError> {
    let info = KeyInfo::of(&manager.control, key).await?;
    Ok(HttpResponse::Ok().json(KeyAnswer { key: key.id.clone(), info }))
}

async fn show_once(manager: &Manager, created: CreatedKey) -> Result<HttpResponse, ApiError> {
    let info = KeyInfo::of(&manager.control, &created.key).await?;
    let answer = KeyAnswer { key: created.text.expose().to_owned(), info };
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(answer))
}

/// A refusal of the shapes, on its way through a use case.
pub(super) fn refused(error: ApiError) -> ControlError {
    ControlError::Invalid { message: error.message, param: error.param.map(Into::into) }
}
