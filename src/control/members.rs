//! Teams: who else may act for an account. The owner is the account's own person and never changes; the rules are in
//! `domain::member`. Members are people with accounts of their own, and join by an invitation to their proven address.

use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{
    Control, ControlError, Page, PageRequest,
    accounts::{self, normal_email},
    audit, mail,
    owner::Owner,
    sign_in,
};
use crate::{
    clock::fill_random,
    domain::{
        SECOND, Timestamp,
        account::{Account, AccountStatus},
        api_key,
        mail::{Locale, Message},
        member::{Permission, Role},
        refusal::Refusal,
    },
    store::{
        self,
        mail_tokens::{NewToken, Purpose},
    },
};

pub use crate::store::members::{Invitation, Member};

const INVITATION_LIFE: Timestamp = 7 * 24 * 3_600 * SECOND;
/// 256 bits in base62.
const TOKEN_LENGTH: usize = 43;
/// Members and open invitations of one account.
const MEMBERS_MAX: u64 = 100;

/// Somebody to work with.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInvitation {
    #[schema(example = "bob@example.com", max_length = 254)]
    pub email: String,
    /// Any but `owner`; admins are the owner's to make.
    pub role: Role,
}

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberPatch {
    /// Any but `owner`; admins are the owner's to make.
    pub role: Role,
}

/// The owner first, then members as they came.
pub async fn list(control: &Control, owner: &Owner, page: &PageRequest) -> Result<Page<Member>, ControlError> {
    let account = &owner.account;
    let first = Member {
        id: account.id.clone(),
        email: account.email.clone(),
        name: account.name.clone(),
        role: Role::Owner,
        created_at: account.created_at,
    };
    let mut members = vec![first];
    members.extend(store::members::list(&control.db, &account.id).await?);
    Ok(Page::of_all(members, page, |member| member.id.clone()))
}

/// The accounts a person may act for, the own one first. A key stands for its account alone.
pub async fn accounts_of(control: &Control, owner: &Owner) -> Result<Vec<(Account, Role)>, ControlError> {
    if owner.session_id.is_none() {
        return Ok(vec![(owner.account.clone(), owner.role)]);
    }
    let mut all = vec![(accounts::get(control, &owner.person_id).await?, Role::Owner)];
    let teams = store::members::accounts_of(&control.db, &owner.person_id).await?;
    all.extend(teams.into_iter().filter(|(account, _)| account.status != AccountStatus::Closed));
    Ok(all)
}

/// Mails an invitation; an older one to the same address stops working. The answer does not tell whether the address has an account.
pub async fn invite(control: &Control, owner: &Owner, new: NewInvitation) -> Result<Invitation, ControlError> {
    let account = &owner.account;
    if account.status != AccountStatus::Active {
        return Err(Refusal::AccountNotActive("suspended").into());
    }
    if account.verified_at.is_none() {
        return Err(Refusal::EmailUnverified.into());
    }
    if new.role == Role::Owner {
        return Err(ControlError::invalid("role", "role: an account has one owner, its own person; choose another role"));
    }
    require_move(owner, None, Some(new.role))?;
    let email = normal_email(&new.email)?;
    let now = control.clock.now();
    let members = store::members::list(&control.db, &account.id).await?;
    if email == account.email || members.iter().any(|member| member.email == email) {
        return Err(ControlError::Conflict(format!("{email} acts for this account already; PATCH /api/v1/members/{{id}} changes a role")));
    }
    if store::members::count(&control.db, &account.id, now).await? >= MEMBERS_MAX {
        let message = format!("this account has {MEMBERS_MAX} members and open invitations, as many as it may; remove one first");
        return Err(ControlError::Conflict(message));
    }
    control.people.guard.mail_from(&account.id, &email)?;
    let inviter = accounts::get(control, &owner.person_id).await?;
    let token = api_key::base62(TOKEN_LENGTH, fill_random);
    let row = NewToken {
        id: control.clock.new_id("mtk"),
        account_id: Some(account.id.clone()),
        email: email.clone(),
        purpose: Purpose::Invitation,
        digest: sign_in::digest(control, &token),
        data: store::members::invitation_data(new.role, &owner.person_id),
        expires_at: now + INVITATION_LIFE,
        created_at: now,
    };
    let message = Message::TeamInvitation {
        account: if account.name.is_empty() { account.email.clone() } else { account.name.clone() },
        inviter: inviter.email,
        role: new.role.as_str().to_owned(),
        link: control.site.link(&format!("/auth/invitation?token={token}")),
    };
    let mail = mail::to_address(control, None, &email, Locale::of(&account.locale), message);
    store::members::invite(&control.db, &control.sealer, &row, &mail).await?;
    control.mailer.nudge();
    audit::note(control, &owner.actor, "member.invite", &account.id, json!({ "invitation_id": row.id, "role": new.role })).await;
    let inviter = owner.person_id.clone();
    Ok(Invitation { id: row.id, email, role: new.role, inviter, expires_at: row.expires_at, created_at: now })
}

/// Open invitations, newest first.
pub async fn invitations(control: &Control, owner: &Owner, page: &PageRequest) -> Result<Page<Invitation>, ControlError> {
    let all = store::members::invitations(&control.db, &owner.account.id, control.clock.now()).await?;
    Ok(Page::of_all(all, page, |invitation| invitation.id.clone()))
}

pub async fn withdraw(control: &Control, owner: &Owner, id: &str) -> Result<(), ControlError> {
    let missing = || ControlError::NotFound(format!("invitation {id}"));
    let open = store::members::invitations(&control.db, &owner.account.id, control.clock.now()).await?;
    let invitation = open.into_iter().find(|invitation| invitation.id == id).ok_or_else(missing)?;
    require_move(owner, Some(invitation.role), None)?;
    if !store::members::withdraw(&control.db, &owner.account.id, id).await? {
        return Err(missing());
    }
    audit::note(control, &owner.actor, "member.withdraw", &owner.account.id, json!({ "invitation_id": id })).await;
    Ok(())
}

/// Makes a signed-in person a member by the link mailed to their proven address.
pub async fn accept(control: &Control, owner: &Owner, token: &str) -> Result<(Account, Role), ControlError> {
    const SPENT: Refusal = Refusal::LinkSpent("sign in with the address it was sent to, or ask for a new invitation");
    let person = accounts::get(control, &owner.person_id).await?;
    if person.status != AccountStatus::Active {
        return Err(Refusal::AccountNotActive("suspended").into());
    }
    if person.verified_at.is_none() {
        return Err(Refusal::EmailUnverified.into());
    }
    let digest = sign_in::digest(control, token);
    let (account, role) = store::members::accept(&control.db, &digest, &person, control.clock.now()).await?.ok_or(SPENT)?;
    audit::note(control, &owner.actor, "member.join", &account.id, json!({ "member_id": person.id, "role": role })).await;
    Ok((account, role))
}

pub async fn change_role(control: &Control, owner: &Owner, member_id: &str, to: Role) -> Result<Member, ControlError> {
    let account_id = &owner.account.id;
    let member = get(control, owner, member_id).await?;
    require_move(owner, Some(member.role), Some(to))?;
    if !store::members::set_role(&control.db, account_id, member_id, member.role, to).await? {
        return Err(changed_meanwhile());
    }
    let details = json!({ "member_id": member_id, "from": member.role, "to": to });
    audit::note(control, &owner.actor, "member.update", account_id, details).await;
    Ok(Member { role: to, ..member })
}

/// Takes a member out, whose next request is refused. Everybody but the owner may leave.
pub async fn remove(control: &Control, owner: &Owner, member_id: &str) -> Result<(), ControlError> {
    let account_id = &owner.account.id;
    let leaves = owner.session_id.is_some() && owner.person_id == member_id && owner.role != Role::Owner;
    if !leaves {
        owner.require(Permission::ManageMembers)?;
    }
    let member = get(control, owner, member_id).await?;
    if !leaves {
        require_move(owner, Some(member.role), None)?;
    }
    if !store::members::remove(&control.db, account_id, member_id, member.role).await? {
        return Err(changed_meanwhile());
    }
    let action = if leaves { "member.leave" } else { "member.remove" };
    audit::note(control, &owner.actor, action, account_id, json!({ "member_id": member_id, "role": member.role })).await;
    Ok(())
}

async fn get(control: &Control, owner: &Owner, member_id: &str) -> Result<Member, ControlError> {
    if member_id == owner.account.id {
        return Err(ControlError::Conflict("the owner of an account cannot be changed or removed".to_owned()));
    }
    let members = store::members::list(&control.db, &owner.account.id).await?;
    let found = members.into_iter().find(|member| member.id == member_id);
    found.ok_or_else(|| ControlError::NotFound(format!("member {member_id}")))
}

fn require_move(owner: &Owner, from: Option<Role>, to: Option<Role>) -> Result<(), Refusal> {
    if owner.role.may_move(from, to) {
        return Ok(());
    }
    let concerns = |role| from == Some(role) || to == Some(role);
    let wish = if concerns(Role::Owner) {
        "make an owner"
    } else if concerns(Role::Admin) {
        "make, change or remove admins"
    } else {
        Permission::ManageMembers.describe()
    };
    Err(Refusal::RoleMissing { role: owner.role.as_str(), wish })
}

fn changed_meanwhile() -> ControlError {
    ControlError::Conflict("this member was changed meanwhile; look again and repeat".to_owned())
}
