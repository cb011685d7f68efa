//! Who is behind a session, and for which account.

use subtle::ConstantTimeEq;

use super::{Actor, Control, ControlError, accounts, sign_in};
use crate::{
    domain::{
        SECOND, Timestamp,
        account::{Account, AccountStatus},
        member::{Permission, Role},
        refusal::Refusal,
    },
    store,
};

/// A session's last use is written this often at most.
const TOUCH_EVERY: Timestamp = 60 * SECOND;

/// Somebody who may act for an account.
#[derive(Debug, Clone)]
pub struct Owner {
    /// The account that is acted for.
    pub account: Account,
    /// The account of the person, the same unless a member acts for a team. Of a key: the account it belongs to.
    pub person_id: String,
    pub role: Role,
    /// The session, unless a key was used.
    pub session_id: Option<String>,
    pub actor: Actor,
}

impl Owner {
    /// Refuses what the role does not allow.
    pub fn require(&self, permission: Permission) -> Result<(), Refusal> {
        if self.role.may(permission) {
            return Ok(());
        }
        Err(Refusal::RoleMissing { role: self.role.as_str(), wish: permission.describe() })
    }
}

/// The owner behind a session token. `acting_for` names a team's account instead of the person's own.
/// Suspended accounts may be looked at; closed ones have no owner any more.
pub async fn of_session(control: &Control, token: &str, acting_for: Option<&str>) -> Result<Owner, ControlError> {
    const ENDED: Refusal = Refusal::InvalidKey("this session has ended; sign in again");
    let now = control.clock.now();
    let digest = sign_in::digest(control, token);
    let session = store::sessions::find(&control.db, &digest, now).await?.ok_or(ENDED)?;
    let idle_since = session.last_used_at.unwrap_or(session.created_at);
    if now - idle_since > control.people.policy.session_idle {
        store::sessions::delete(&control.db, &session.account_id, &session.id).await?;
        return Err(ENDED.into());
    }
    if session.last_used_at.is_none_or(|last| now - last >= TOUCH_EVERY) {
        store::sessions::touch(&control.db, &session.id, now).await?;
    }
    let person = accounts::get(control, &session.account_id).await?;
    if person.status == AccountStatus::Closed {
        return Err(ENDED.into());
    }
    let actor = Actor { id: person.id.clone() };
    let (account, role) = match acting_for.filter(|id| *id != person.id) {
        None => (person.clone(), Role::Owner),
        Some(id) => {
            if person.status != AccountStatus::Active {
                return Err(Refusal::AccountNotActive("suspended").into());
            }
            let missing = || ControlError::NotFound(format!("account {id}"));
            let role = store::members::role(&control.db, id, &person.id).await?.ok_or_else(missing)?;
            let account = accounts::get(control, id).await?;
            if account.status == AccountStatus::Closed {
                return Err(missing());
            }
            (account, role)
        }
    };
    Ok(Owner { account, person_id: person.id, role, session_id: Some(session.id), actor })
}

/// The owner that a key of scope `account` stands for. It may do what an admin of the account may: what concerns the person needs
/// a session or the password.
pub async fn of_key(control: &Control, account_id: &str, key_id: &str) -> Result<Owner, ControlError> {
    let account = accounts::get(control, account_id).await?;
    Ok(Owner { person_id: account.id.clone(), account, role: Role::Admin, session_id: None, actor: Actor { id: key_id.to_owned() } })
}

/// What a page of ours sends along to prove that the request is its own. Derived from the session, so it ends with it.
pub fn csrf_token(control: &Control, session_token: &str) -> String {
    sign_in::digest(control, &format!("csrf {session_token}")).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn is_csrf_token(control: &Control, session_token: &str, presented: &str) -> bool {
    csrf_token(control, session_token).as_bytes().ct_eq(presented.as_bytes()).into()
}
