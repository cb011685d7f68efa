//! What everybody may read of the terms and the privacy policy, and what an owner accepted; what a sign-up form needs to know.

use actix_web::{HttpRequest, HttpResponse, http::header::CACHE_CONTROL, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    owner::Account,
    visitor::{self, Visitor},
};
use crate::{
    control::{
        Control, Moment,
        owner::Owner,
        policies::{self, Policy, PolicyDocument, Standing},
    },
    domain::{identity::IdentityProvider, password, refusal::Refusal},
    http::{
        admin::{
            extract::{Json, Query},
            only,
        },
        error::ApiError,
    },
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let own = web::resource("/api/v1/me/policies").route(web::get().to(list_own)).route(web::post().to(accept));
    let one = web::resource("/api/v1/policies/{document}").route(web::get().to(get_policy));
    routes
        .service(web::resource("/api/v1/auth/options").route(web::get().to(options)).default_service(only("GET")))
        .service(own.default_service(only("GET, POST")))
        .service(one.default_service(only("GET")));
}

/// What a page needs to know that lets people sign up.
#[derive(Debug, Serialize, ToSchema)]
pub struct SignUpOptions {
    pub sign_up_open: bool,
    /// Years that people confirm to have; 0 when none are asked for.
    pub min_age: u32,
    pub password_length_min: usize,
    pub password_length_max: usize,
    /// The documents in force, which registering accepts.
    pub policies: Vec<PolicyName>,
    /// Providers to sign in with.
    pub providers: Vec<ProviderName>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ProviderName {
    pub provider: IdentityProvider,
    /// Send the browser there.
    pub url: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PolicyName {
    /// `terms` or `privacy`.
    pub document: String,
    pub version: String,
    /// A page to read it.
    pub url: String,
}

/// What signing up takes
#[utoipa::path(get, path = "/api/v1/auth/options", tag = "Account", responses((status = 200, body = SignUpOptions)))]
pub async fn options(visitor: Visitor) -> Result<HttpResponse, ApiError> {
    let control = &visitor.control;
    let name = |policy: Policy| PolicyName {
        url: control.site.link(&format!("/policies/{}", policy.document)),
        document: policy.document,
        version: policy.version,
    };
    let provider = |provider: IdentityProvider| ProviderName {
        provider,
        url: control.site.link(&format!("/api/v1/auth/oauth/{}", provider.as_str())),
    };
    let options = SignUpOptions {
        sign_up_open: control.people.policy.sign_up_open,
        min_age: control.people.policy.age_min_years,
        password_length_min: password::LENGTH_MIN,
        password_length_max: password::LENGTH_MAX,
        policies: policies::current(control).await?.into_iter().map(name).collect(),
        providers: control.people.providers.configured().into_iter().map(provider).collect(),
    };
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(options))
}

/// A version of the terms or of the privacy policy.
#[derive(Debug, Serialize, ToSchema)]
pub struct PolicyView {
    /// `terms` or `privacy`.
    pub document: String,
    pub version: String,
    /// Markdown.
    pub body: String,
    pub effective_at: Moment,
    pub created_at: Moment,
}

impl From<Policy> for PolicyView {
    fn from(policy: Policy) -> Self {
        Self {
            document: policy.document,
            version: policy.version,
            body: policy.body,
            effective_at: Moment(policy.effective_at),
            created_at: Moment(policy.created_at),
        }
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct VersionQuery {
    /// The version in force when missing.
    version: Option<String>,
}

/// The terms, or the privacy policy
#[utoipa::path(get, path = "/api/v1/policies/{document}", tag = "Account", params(("document" = PolicyDocument, Path, description = "Which of them"), VersionQuery),
    responses((status = 200, body = PolicyView), (status = 404, description = "`not_found`: none is in force, or there is no such version")))]
pub async fn get_policy(
    visitor: Visitor,
    document: web::Path<String>,
    Query(query): Query<VersionQuery>,
) -> Result<HttpResponse, ApiError> {
    let document = named(&document)?;
    let policy = policies::read(&visitor.control, document, query.version.as_deref()).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-cache")).json(PolicyView::from(policy)))
}

fn named(text: &str) -> Result<PolicyDocument, ApiError> {
    let found = PolicyDocument::ALL.into_iter().find(|document| document.as_str() == text);
    found.ok_or_else(|| ApiError::not_found(format!("there is no document '{text}'; there are terms and privacy")))
}

#[derive(Debug, Serialize, ToSchema)]
pub struct StandingView {
    pub document: PolicyDocument,
    /// The version in force.
    pub version: String,
    /// When it was accepted; null while it was not.
    pub accepted_at: Option<Moment>,
}

/// All of them, on one page.
#[derive(Debug, Serialize, ToSchema)]
pub struct Standings {
    pub data: Vec<StandingView>,
    pub has_more: bool,
    pub next_cursor: Option<String>,
}

impl Standings {
    fn of(standings: Vec<Standing>) -> Self {
        let view = |standing: Standing| StandingView {
            document: standing.document,
            version: standing.current,
            accepted_at: standing.accepted_at.map(Moment),
        };
        Self { data: standings.into_iter().map(view).collect(), has_more: false, next_cursor: None }
    }
}

/// What was accepted
///
/// Of the documents in force.
#[utoipa::path(get, path = "/api/v1/me/policies", tag = "Account", operation_id = "list_own_policies", security(("key" = [])), responses((status = 200, body = Standings)))]
pub async fn list_own(caller: Account) -> Result<HttpResponse, ApiError> {
    let standings = policies::standing(&caller.control, &caller.owner.person_id).await?;
    Ok(HttpResponse::Ok().json(Standings::of(standings)))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyAcceptance {
    pub document: PolicyDocument,
    pub version: String,
}

/// Accept a version
///
/// Registering accepts those in force; this is for later ones. Needs a session.
#[utoipa::path(post, path = "/api/v1/me/policies", tag = "Account", operation_id = "accept_policy", security(("key" = [])), request_body = PolicyAcceptance,
    responses((status = 200, body = Standings), (status = 404, description = "`not_found`")))]
pub async fn accept(request: HttpRequest, caller: Account, Json(body): Json<PolicyAcceptance>) -> Result<HttpResponse, ApiError> {
    if caller.owner.session_id.is_none() {
        return Err(Refusal::InvalidKey("this needs a session; sign in at /api/v1/auth/login").into());
    }
    let visitor = visitor::of(&request);
    let work =
        |control: Control, owner: Owner| async move { policies::accept(&control, &visitor, &owner, body.document, &body.version).await };
    let standings = caller.change(work).await?;
    Ok(HttpResponse::Ok().json(Standings::of(standings)))
}
