//! `/admin/v1/policies`

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    extract::{Admin, Json},
    only,
};
use crate::{
    control::{
        Moment,
        policies::{self, NewPolicy, Policy},
    },
    http::error::ApiError,
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let all = web::resource("/admin/v1/policies").route(web::get().to(list_policies)).route(web::post().to(publish_policy));
    routes.service(all.default_service(only("GET, POST")));
}

/// A version as the operator sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublishedPolicy {
    /// `terms` or `privacy`.
    pub document: String,
    pub version: String,
    /// Markdown.
    pub body: String,
    pub effective_at: Moment,
    /// When the last mail about it was written; null while that goes on.
    pub announced_at: Option<Moment>,
    pub created_at: Moment,
}

impl From<Policy> for PublishedPolicy {
    fn from(policy: Policy) -> Self {
        Self {
            document: policy.document,
            version: policy.version,
            body: policy.body,
            effective_at: Moment(policy.effective_at),
            announced_at: policy.announced_at.map(Moment),
            created_at: Moment(policy.created_at),
        }
    }
}

/// All of them, on one page.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublishedPolicies {
    pub data: Vec<PublishedPolicy>,
    pub has_more: bool,
    pub next_cursor: Option<String>,
}

/// Versions of the terms and the privacy policy
///
/// Latest first, those to come too.
#[utoipa::path(get, path = "/admin/v1/policies", tag = "Admin: accounts", security(("key" = ["admin"])), responses((status = 200, body = PublishedPolicies)))]
pub async fn list_policies(admin: Admin) -> Result<HttpResponse, ApiError> {
    let data = policies::list(&admin.control).await?.into_iter().map(PublishedPolicy::from).collect();
    Ok(HttpResponse::Ok().json(PublishedPolicies { data, has_more: false, next_cursor: None }))
}

/// Publish a version
///
/// It never changes any more. People with a proven address are told by mail, unless it is the document's first version or `announce` is
/// false; whoever registers from `effective_at` on accepts it.
#[utoipa::path(post, path = "/admin/v1/policies", tag = "Admin: accounts", security(("key" = ["admin"])), request_body = NewPolicy,
    responses((status = 201, body = PublishedPolicy), (status = 400, description = "`invalid_request`"), (status = 409, description = "There is a version of this name")))]
pub async fn publish_policy(admin: Admin, Json(new): Json<NewPolicy>) -> Result<HttpResponse, ApiError> {
    let policy = admin.change(|control, actor| async move { policies::publish(&control, &actor, new).await }).await?;
    Ok(HttpResponse::Created().json(PublishedPolicy::from(policy)))
}
