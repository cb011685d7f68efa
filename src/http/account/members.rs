//! `/api/v1/members`, invitations to join, and `/api/v1/accounts`: teams.

use actix_web::{HttpResponse, http::header::CACHE_CONTROL, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::owner::Account;
use crate::{
    control::{
        Moment,
        members::{self, Invitation, Member, MemberPatch, NewInvitation},
    },
    domain::{
        account::{self, AccountStatus},
        member::{Permission, Role},
        refusal::Refusal,
    },
    http::{
        admin::{
            extract::{Json, Query},
            only,
        },
        error::ApiError,
        page::{Page, PageQuery},
    },
    telemetry::redact::Secret,
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let invitations = web::resource("/api/v1/members/invitations").route(web::get().to(list_invitations)).route(web::post().to(invite));
    let invitation = web::resource("/api/v1/members/invitations/{id}").route(web::delete().to(withdraw_invitation));
    let member = web::resource("/api/v1/members/{id}").route(web::patch().to(patch_member)).route(web::delete().to(remove_member));
    routes
        .service(web::resource("/api/v1/members").route(web::get().to(list_members)).default_service(only("GET")))
        .service(invitations.default_service(only("GET, POST")))
        .service(invitation.default_service(only("DELETE")))
        .service(member.default_service(only("PATCH, DELETE")))
        .service(web::resource("/api/v1/invitations/accept").route(web::post().to(accept_invitation)).default_service(only("POST")))
        .service(web::resource("/api/v1/accounts").route(web::get().to(list_own_accounts)).default_service(only("GET")));
}

/// Somebody who may act for the account.
#[derive(Debug, Serialize, ToSchema)]
pub struct MemberView {
    /// `acc_…`, the account of the person.
    pub id: String,
    pub email: String,
    pub name: String,
    pub role: Role,
    /// When the person joined.
    pub created_at: Moment,
}

impl From<Member> for MemberView {
    fn from(member: Member) -> Self {
        let Member { id, email, name, role, created_at } = member;
        Self { id, email, name, role, created_at: Moment(created_at) }
    }
}

/// An invitation that waits for its answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct InvitationView {
    /// `mtk_…`
    pub id: String,
    pub email: String,
    pub role: Role,
    /// `acc_…` of the person who invited.
    pub invited_by: String,
    pub expires_at: Moment,
    pub created_at: Moment,
}

impl From<Invitation> for InvitationView {
    fn from(invitation: Invitation) -> Self {
        let Invitation { id, email, role, inviter, expires_at, created_at } = invitation;
        Self { id, email, role, invited_by: inviter, expires_at: Moment(expires_at), created_at: Moment(created_at) }
    }
}

/// An account that the caller may act for.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActingForView {
    /// For the header `x-pixgate-account`.
    pub id: String,
    pub email: String,
    pub name: String,
    pub status: AccountStatus,
    /// What the caller is to it.
    pub role: Role,
}

impl From<(account::Account, Role)> for ActingForView {
    fn from((account, role): (account::Account, Role)) -> Self {
        Self { id: account.id, email: account.email, name: account.name, status: account.status, role }
    }
}

/// All of them, on one page.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActingFor {
    pub data: Vec<ActingForView>,
    pub has_more: bool,
    pub next_cursor: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptBody {
    /// From the link in the mail.
    #[schema(value_type = String)]
    pub token: Secret,
}

/// Who may act for the account
///
/// The owner first, then members as they came.
#[utoipa::path(get, path = "/api/v1/members", tag = "Account", security(("key" = ["account"])), params(PageQuery),
    responses((status = 200, body = Page<MemberView>), (status = 401, description = "Nobody is signed in")))]
pub async fn list_members(caller: Account, Query(query): Query<PageQuery>) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::Read)?;
    let page = members::list(&caller.control, &caller.owner, &query.request()?).await?;
    Ok(HttpResponse::Ok().json(Page::<MemberView>::of(page)))
}

/// Change a member's role
///
/// Counts from the member's next request on. Admins are the owner's to make and to change.
#[utoipa::path(patch, path = "/api/v1/members/{id}", tag = "Account", security(("key" = ["account"])),
    params(("id" = String, Path, description = "`acc_…` of the person")), request_body = MemberPatch,
    responses((status = 200, body = MemberView), (status = 403, description = "`role_missing`"), (status = 404, description = "No such member"),
        (status = 409, description = "The owner, or changed meanwhile")))]
pub async fn patch_member(caller: Account, id: web::Path<String>, Json(patch): Json<MemberPatch>) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::ManageMembers)?;
    let member = caller.change(|control, owner| async move { members::change_role(&control, &owner, &id, patch.role).await }).await?;
    Ok(HttpResponse::Ok().json(MemberView::from(member)))
}

/// Remove a member, or leave
///
/// Counts from the member's next request on. Everybody but the owner may leave.
#[utoipa::path(delete, path = "/api/v1/members/{id}", tag = "Account", security(("key" = ["account"])),
    params(("id" = String, Path, description = "`acc_…` of the person")),
    responses((status = 204, description = "No member any more"), (status = 403, description = "`role_missing`"), (status = 404, description = "No such member"),
        (status = 409, description = "The owner, or changed meanwhile")))]
pub async fn remove_member(caller: Account, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    caller.change(|control, owner| async move { members::remove(&control, &owner, &id).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Invite somebody
///
/// Mails a link that is good for seven days; an older one to the same address stops working.
#[utoipa::path(post, path = "/api/v1/members/invitations", tag = "Account", security(("key" = ["account"])), request_body = NewInvitation,
    responses((status = 201, body = InvitationView), (status = 400, description = "`invalid_request`"), (status = 403, description = "`role_missing`, `email_unverified`"),
        (status = 409, description = "A member already, or as many as there may be"), (status = 429, description = "`rate_limit_exceeded`")))]
pub async fn invite(caller: Account, Json(new): Json<NewInvitation>) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::ManageMembers)?;
    let invitation = caller.change(|control, owner| async move { members::invite(&control, &owner, new).await }).await?;
    Ok(HttpResponse::Created().json(InvitationView::from(invitation)))
}

/// Open invitations
///
/// Newest first.
#[utoipa::path(get, path = "/api/v1/members/invitations", tag = "Account", security(("key" = ["account"])), params(PageQuery),
    responses((status = 200, body = Page<InvitationView>), (status = 403, description = "`role_missing`")))]
pub async fn list_invitations(caller: Account, Query(query): Query<PageQuery>) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::ManageMembers)?;
    let page = members::invitations(&caller.control, &caller.owner, &query.request()?).await?;
    Ok(HttpResponse::Ok().json(Page::<InvitationView>::of(page)))
}

/// Withdraw an invitation
#[utoipa::path(delete, path = "/api/v1/members/invitations/{id}", tag = "Account", security(("key" = ["account"])),
    params(("id" = String, Path, description = "`mtk_…`")),
    responses((status = 204, description = "Its link works no more"), (status = 403, description = "`role_missing`"), (status = 404, description = "No such open invitation")))]
pub async fn withdraw_invitation(caller: Account, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::ManageMembers)?;
    caller.change(|control, owner| async move { members::withdraw(&control, &owner, &id).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Accept an invitation
///
/// Whoever is signed in must have proven the address that the invitation was sent to. Keys cannot accept.
#[utoipa::path(post, path = "/api/v1/invitations/accept", tag = "Account", security(("key" = [])), request_body = AcceptBody,
    responses((status = 200, body = ActingForView), (status = 400, description = "`invalid_token`"), (status = 403, description = "`email_unverified`"),
        (status = 409, description = "Acts for the account already")))]
pub async fn accept_invitation(caller: Account, Json(body): Json<AcceptBody>) -> Result<HttpResponse, ApiError> {
    if caller.owner.session_id.is_none() {
        return Err(Refusal::InvalidKey("invitations are accepted by people; sign in, a key does not do").into());
    }
    let joined = caller.change(|control, owner| async move { members::accept(&control, &owner, body.token.expose()).await }).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(ActingForView::from(joined)))
}

/// Accounts to act for
///
/// The own one first. The header `x-pixgate-account` chooses one for a request with a session cookie.
#[utoipa::path(get, path = "/api/v1/accounts", tag = "Account", security(("key" = ["account"])),
    responses((status = 200, body = ActingFor), (status = 401, description = "Nobody is signed in")))]
pub async fn list_own_accounts(caller: Account) -> Result<HttpResponse, ApiError> {
    let data = members::accounts_of(&caller.control, &caller.owner).await?.into_iter().map(ActingForView::from).collect();
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(ActingFor { data, has_more: false, next_cursor: None }))
}
