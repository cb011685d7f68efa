//! What an owner may do with the keys of the account. Keys of other accounts do not exist here, and whatever concerns the scope `admin`
//! is the operator's.

use super::{
    Control, ControlError, Page, PageRequest,
    audit::{self, AuditEntry},
    keys::{self, CreatedKey, KeyPatch, NewKey, Rotation},
    owner::Owner,
};
use crate::{
    domain::{
        account::AccountStatus,
        api_key::{ApiKey, Scope},
        member::Role,
        refusal::Refusal,
    },
    store,
};

/// Keys of one account that are not revoked. An account in use keeps all of its keys in memory.
const KEYS_MAX: usize = 1_000;

pub async fn create(control: &Control, owner: &Owner, new: NewKey) -> Result<CreatedKey, ControlError> {
    check_active(owner)?;
    check_scopes(owner, new.scopes.as_deref().unwrap_or_default())?;
    check_room(control, owner).await?;
    control.people.guard.key(&owner.account.id)?;
    keys::create(control, &owner.actor, &owner.account.id, new).await
}

pub async fn list(control: &Control, owner: &Owner, page: &PageRequest) -> Result<Page<ApiKey>, ControlError> {
    keys::list(control, Some(&owner.account.id), page).await
}

pub async fn get(control: &Control, owner: &Owner, id: &str) -> Result<ApiKey, ControlError> {
    let found = store::keys::get(&control.db, &owner.account.id, id).await?;
    found.ok_or_else(|| ControlError::NotFound(format!("key {id}")))
}

pub async fn patch(control: &Control, owner: &Owner, id: &str, patch: KeyPatch) -> Result<ApiKey, ControlError> {
    check_active(owner)?;
    let key = get(control, owner, id).await?;
    check_scopes(owner, &key.scopes)?;
    check_scopes(owner, patch.scopes.as_deref().unwrap_or_default())?;
    keys::patch(control, &owner.actor, id, patch).await
}

/// Also of a suspended account: to end a key is always right.
pub async fn revoke(control: &Control, owner: &Owner, id: &str) -> Result<ApiKey, ControlError> {
    let key = get(control, owner, id).await?;
    keys::revoke(control, &owner.actor, &key.id).await
}

pub async fn rotate(control: &Control, owner: &Owner, id: &str, rotation: &Rotation) -> Result<CreatedKey, ControlError> {
    check_active(owner)?;
    let key = get(control, owner, id).await?;
    check_scopes(owner, &key.scopes)?;
    check_room(control, owner).await?;
    control.people.guard.key(&owner.account.id)?;
    keys::rotate(control, &owner.actor, &key.id, rotation).await
}

pub async fn trail(control: &Control, owner: &Owner, id: &str, page: &PageRequest) -> Result<Page<AuditEntry>, ControlError> {
    let key = get(control, owner, id).await?;
    audit::list(control, Some(&key.id), page).await
}

fn check_active(owner: &Owner) -> Result<(), ControlError> {
    match owner.account.status {
        AccountStatus::Active => Ok(()),
        AccountStatus::Suspended => Err(Refusal::AccountNotActive("suspended").into()),
        AccountStatus::Closed => Err(Refusal::AccountNotActive("closed").into()),
    }
}

fn check_scopes(owner: &Owner, scopes: &[Scope]) -> Result<(), ControlError> {
    // A key of this scope may do what an admin may: who may do less must not make one, nor get hold of its text.
    if scopes.contains(&Scope::Account) && owner.role < Role::Admin {
        let wish = "make, change or rotate keys of scope 'account'";
        return Err(Refusal::RoleMissing { role: owner.role.as_str(), wish }.into());
    }
    if scopes.contains(&Scope::Admin) {
        return Err(Refusal::ScopeNotYours(Scope::Admin.as_str()).into());
    }
    Ok(())
}

async fn check_room(control: &Control, owner: &Owner) -> Result<(), ControlError> {
    let live = keys::live(control, &owner.account.id, KEYS_MAX).await?.len();
    if live >= KEYS_MAX {
        return Err(ControlError::Conflict(format!(
            "this account has {KEYS_MAX} keys, the most there may be; revoke some that are not used"
        )));
    }
    Ok(())
}
