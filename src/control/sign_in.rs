//! Links that sign somebody in without a password, and the sessions they open. What a browser holds is stored as a digest only.

use super::{
    Actor, Control, ControlError,
    accounts::{self, Account, NewAccount},
    audit,
    people::{self, Visitor},
};
use crate::{
    clock::fill_random,
    domain::{
        SECOND, Timestamp,
        account::AccountStatus,
        api_key::{self, Digest},
    },
    store::{
        self,
        sessions::{Purpose, Session},
    },
};

const LINK_LIFE: Timestamp = 24 * 3_600 * SECOND;
/// 256 bits in base62.
const TOKEN_LENGTH: usize = 43;

/// A new account that may administer this gateway.
pub async fn create_admin(control: &Control, email: &str) -> Result<Account, ControlError> {
    let new = NewAccount { email: email.to_owned(), verified: true, ..NewAccount::default() };
    accounts::insert(control, &Actor::system(), new, None, true).await
}

/// A token that signs the owner of `account_id` in, once, within a day.
pub async fn create_link(control: &Control, account_id: &str) -> Result<String, ControlError> {
    issue(control, account_id, Purpose::SignInLink, LINK_LIFE, None, None).await
}

/// A link that an admin hands to an owner; answers with its URL and when it ends.
pub async fn hand_out_link(control: &Control, actor: &Actor, account_id: &str) -> Result<(String, Timestamp), ControlError> {
    let account = accounts::get(control, account_id).await?;
    if account.status == AccountStatus::Closed {
        return Err(ControlError::Conflict("this account is closed; nobody signs in to it".to_owned()));
    }
    let expires_at = control.clock.now() + LINK_LIFE;
    let token = create_link(control, &account.id).await?;
    audit::note(control, actor, "account.sign_in_link", &account.id, serde_json::json!({})).await;
    Ok((control.site.link(&format!("/auth/link?token={token}")), expires_at))
}

/// Uses a link up; answers with the account and the token of its new session. `None` when the link is unknown, used or too old.
pub async fn open_session(control: &Control, visitor: &Visitor, link_token: &str) -> Result<Option<(String, String)>, ControlError> {
    let digest = control.hasher.digest(link_token);
    let Some(link) = store::sessions::consume_link(&control.db, &digest, control.clock.now()).await? else { return Ok(None) };
    let account = accounts::get(control, &link.account_id).await?;
    let token = people::admit(control, visitor, &account).await?;
    Ok(Some((link.account_id, token)))
}

/// How tokens of sessions and links are kept.
pub(super) fn digest(control: &Control, token: &str) -> Digest {
    control.hasher.digest(token)
}

/// A new session of an owner; answers with its token.
pub(super) async fn open(
    control: &Control,
    account_id: &str,
    ip: Option<String>,
    user_agent: Option<String>,
) -> Result<String, ControlError> {
    issue(control, account_id, Purpose::Session, control.people.policy.session_life, ip, user_agent).await
}

async fn issue(
    control: &Control,
    account_id: &str,
    purpose: Purpose,
    life: Timestamp,
    ip: Option<String>,
    user_agent: Option<String>,
) -> Result<String, ControlError> {
    let now = control.clock.now();
    let token = api_key::base62(TOKEN_LENGTH, fill_random);
    let session = Session {
        id: control.clock.new_id("ses"),
        account_id: account_id.to_owned(),
        digest: control.hasher.digest(&token),
        purpose,
        expires_at: now + life,
        used_at: None,
        created_at: now,
        ip,
        user_agent,
        last_used_at: None,
    };
    store::sessions::insert(&control.db, &session).await?;
    Ok(token)
}
