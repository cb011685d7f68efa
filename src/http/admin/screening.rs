//! `/admin/v1/screening-rules`, `/admin/v1/screening-hits` and `/admin/v1/screening-exemptions`

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    extract::{Admin, Json, Query},
    list, only,
};
use crate::{
    control::{
        Moment,
        screening::{
            self, Exemption, HitFilter, HitRelease, ImportedRules, NewRule, Rule, RuleImport, RulePatch, RuleTest, ShownHit, Tested,
        },
    },
    domain::screening::{Action, Moderator, RuleKind},
    http::{
        error::ApiError,
        page::{Page, PageQuery},
    },
};

/// Some thousands of rules in one import.
const IMPORT_BYTES_MAX: usize = 8 * 1024 * 1024;

pub fn configure(routes: &mut web::ServiceConfig) {
    let rules = web::resource("/admin/v1/screening-rules").route(web::get().to(list_rules)).route(web::post().to(create_rule));
    let test = web::resource("/admin/v1/screening-rules/test").route(web::post().to(test_rules));
    let import = web::resource("/admin/v1/screening-rules/import").route(web::post().to(import_rules));
    let rule = web::resource("/admin/v1/screening-rules/{id}")
        .route(web::get().to(get_rule))
        .route(web::patch().to(patch_rule))
        .route(web::delete().to(delete_rule));
    let hits = web::resource("/admin/v1/screening-hits").route(web::get().to(list_hits));
    let hit = web::resource("/admin/v1/screening-hits/{id}").route(web::get().to(get_hit));
    let release = web::resource("/admin/v1/screening-hits/{id}/release").route(web::post().to(release_hit));
    let exemptions = web::resource("/admin/v1/screening-exemptions").route(web::get().to(list_exemptions));
    let exemption = web::resource("/admin/v1/screening-exemptions/{id}").route(web::delete().to(delete_exemption));
    routes
        .service(rules.default_service(only("GET, POST")))
        .service(test.default_service(only("POST")))
        .service(import.default_service(only("POST")))
        .service(rule.default_service(only("GET, PATCH, DELETE")))
        .service(hits.default_service(only("GET")))
        .service(release.default_service(only("POST")))
        .service(hit.default_service(only("GET")))
        .service(exemptions.default_service(only("GET")))
        .service(exemption.default_service(only("DELETE")));
}

/// A rule that looks at what callers send.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScreeningRuleView {
    #[schema(example = "scr_0198c0de0000700080000000000000aa")]
    pub id: String,
    pub name: String,
    pub kind: RuleKind,
    pub pattern: String,
    pub action: Action,
    pub enabled: bool,
    pub priority: i32,
    pub case_sensitive: bool,
    pub whole_word: bool,
    pub models: Vec<String>,
    pub endpoints: Vec<String>,
    pub moderation: Option<Moderator>,
    pub note: Option<String>,
    /// Whether it came from a bundled set.
    pub builtin: bool,
    /// Set and key of a bundled rule.
    #[schema(example = "prompt_injection/ignore_instructions")]
    pub bundled: Option<String>,
    pub created_at: Moment,
    pub updated_at: Moment,
}

impl From<Rule> for ScreeningRuleView {
    fn from(rule: Rule) -> Self {
        Self {
            case_sensitive: rule.is_case_sensitive(),
            id: rule.id,
            name: rule.name,
            kind: rule.kind,
            pattern: rule.pattern,
            action: rule.action,
            enabled: rule.enabled,
            priority: rule.priority,
            whole_word: rule.whole_word,
            models: rule.models,
            endpoints: rule.endpoints,
            moderation: rule.moderator,
            note: rule.note,
            builtin: rule.bundled.is_some(),
            bundled: rule.bundled,
            created_at: Moment(rule.created_at),
            updated_at: Moment(rule.updated_at),
        }
    }
}

/// What the rules make of a text.
#[derive(Debug, Serialize, ToSchema)]
pub struct TestedView {
    /// What would happen to a call with this text: `allow`, `block`, `flag`; null when no enabled rule hits.
    pub outcome: Option<Action>,
    /// In the order in which they decide.
    pub hits: Vec<ScreeningRuleView>,
    /// Rules that would ask a moderation model, which a test does not.
    pub not_asked: Vec<ScreeningRuleView>,
}

impl From<Tested> for TestedView {
    fn from(tested: Tested) -> Self {
        let views = |rules: Vec<Rule>| rules.into_iter().map(ScreeningRuleView::from).collect();
        Self { outcome: tested.outcome, hits: views(tested.hits), not_asked: views(tested.moderations) }
    }
}

/// A call that a rule hit.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScreeningHitView {
    #[schema(example = "sch_0198c0de0000700080000000000000aa")]
    pub id: String,
    /// What the caller saw as `x-request-id`.
    pub request_id: String,
    pub account_id: String,
    pub key_id: String,
    /// Empty when the bound on the rules' work was hit instead of a rule.
    pub rule_id: String,
    /// As it was then.
    pub rule_name: String,
    pub action: Action,
    pub model: String,
    pub endpoint: String,
    /// A little of what was found; null unless `screening.keep_excerpts` was on.
    pub excerpt: Option<String>,
    pub created_at: Moment,
    pub released_at: Option<Moment>,
    pub released_by: Option<String>,
    pub release_reason: Option<String>,
}

impl From<ShownHit> for ScreeningHitView {
    fn from(ShownHit { hit, excerpt }: ShownHit) -> Self {
        let (released_at, released_by, release_reason) = match hit.release {
            Some(release) => (Some(Moment(release.at)), Some(release.by), Some(release.reason)),
            None => (None, None, None),
        };
        Self {
            id: hit.id,
            request_id: hit.request_id,
            account_id: hit.account_id,
            key_id: hit.key_id,
            rule_id: hit.rule_id,
            rule_name: hit.rule_name,
            action: hit.action,
            model: hit.model,
            endpoint: hit.endpoint,
            excerpt,
            created_at: Moment(hit.created_at),
            released_at,
            released_by,
            release_reason,
        }
    }
}

/// A rule does not hold up this account any more.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScreeningExemptionView {
    #[schema(example = "scx_0198c0de0000700080000000000000aa")]
    pub id: String,
    pub account_id: String,
    pub rule_id: String,
    /// The hit whose release made it.
    pub hit_id: String,
    pub reason: String,
    pub created_by: String,
    pub created_at: Moment,
}

impl From<Exemption> for ScreeningExemptionView {
    fn from(exemption: Exemption) -> Self {
        Self {
            id: exemption.id,
            account_id: exemption.account_id,
            rule_id: exemption.rule_id,
            hit_id: exemption.hit_id,
            reason: exemption.reason,
            created_by: exemption.created_by,
            created_at: Moment(exemption.created_at),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HitQuery {
    /// Only hits of this account.
    account_id: Option<String>,
    /// Only hits of this rule.
    rule_id: Option<String>,
    /// Only hits of this call.
    request_id: Option<String>,
    /// Only hits that led to this.
    action: Option<Action>,
    #[serde(flatten)]
    #[param(ignore)]
    page: PageQuery,
}

/// Create a screening rule
///
/// It counts for the very next call. A pattern that cannot be used is refused with the place of the mistake.
#[utoipa::path(post, path = "/admin/v1/screening-rules", tag = "Admin: screening", security(("key" = ["admin"])), request_body = NewRule,
    responses((status = 201, body = ScreeningRuleView), (status = 400, description = "`invalid_request`")))]
pub async fn create_rule(admin: Admin, Json(new): Json<NewRule>) -> Result<HttpResponse, ApiError> {
    let rule = admin.change(|control, actor| async move { screening::create_rule(&control, &actor, new).await }).await?;
    Ok(HttpResponse::Created().json(ScreeningRuleView::from(rule)))
}

/// List screening rules
///
/// Newest first.
#[utoipa::path(get, path = "/admin/v1/screening-rules", tag = "Admin: screening", security(("key" = ["admin"])), params(PageQuery),
    responses((status = 200, body = Page<ScreeningRuleView>)))]
pub async fn list_rules(admin: Admin, Query(query): Query<PageQuery>) -> Result<HttpResponse, ApiError> {
    Ok(list::<_, ScreeningRuleView>(screening::list_rules(&admin.control, &query.request()?).await?))
}

/// One screening rule
#[utoipa::path(get, path = "/admin/v1/screening-rules/{id}", tag = "Admin: screening", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "Id of the rule")),
    responses((status = 200, body = ScreeningRuleView), (status = 404, description = "`not_found`")))]
pub async fn get_rule(admin: Admin, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(ScreeningRuleView::from(screening::get_rule(&admin.control, &id).await?)))
}

/// Change a screening rule
#[utoipa::path(patch, path = "/admin/v1/screening-rules/{id}", tag = "Admin: screening", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "Id of the rule")), request_body = Option<RulePatch>,
    responses((status = 200, body = ScreeningRuleView), (status = 400, description = "`invalid_request`"), (status = 404, description = "`not_found`")))]
pub async fn patch_rule(admin: Admin, id: web::Path<String>, Json(patch): Json<RulePatch>) -> Result<HttpResponse, ApiError> {
    let rule = admin.change(|control, actor| async move { screening::patch_rule(&control, &actor, &id, patch).await }).await?;
    Ok(HttpResponse::Ok().json(ScreeningRuleView::from(rule)))
}

/// Delete a screening rule
///
/// With the exemptions from it. What it hit stays on record.
#[utoipa::path(delete, path = "/admin/v1/screening-rules/{id}", tag = "Admin: screening", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "Id of the rule")),
    responses((status = 204, description = "It is gone"), (status = 404, description = "`not_found`")))]
pub async fn delete_rule(admin: Admin, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    admin.change(|control, actor| async move { screening::delete_rule(&control, &actor, &id).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Try a text
///
/// Shows which rules hit it. Nothing is recorded, and moderation models are not asked.
#[utoipa::path(post, path = "/admin/v1/screening-rules/test", tag = "Admin: screening", security(("key" = ["admin"])), request_body = RuleTest,
    responses((status = 200, body = TestedView), (status = 400, description = "`invalid_request`")))]
pub async fn test_rules(admin: Admin, Json(test): Json<RuleTest>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(TestedView::from(screening::test_rules(&admin.control, test).await?)))
}

/// Install screening rules
///
/// Bundled sets (switched off unless `enabled` says otherwise; those that are there stay as they are), and many rules of one's own at once.
#[utoipa::path(post, path = "/admin/v1/screening-rules/import", tag = "Admin: screening", security(("key" = ["admin"])),
    request_body = Option<RuleImport>,
    responses((status = 200, body = ImportedRules), (status = 400, description = "`invalid_request`; nothing was installed")))]
pub async fn import_rules(admin: Admin, Json(import): Json<RuleImport, IMPORT_BYTES_MAX>) -> Result<HttpResponse, ApiError> {
    let report = admin.change(|control, actor| async move { screening::import_rules(&control, &actor, import).await }).await?;
    Ok(HttpResponse::Ok().json(report))
}

/// List hits of screening rules
///
/// Newest first.
#[utoipa::path(get, path = "/admin/v1/screening-hits", tag = "Admin: screening", security(("key" = ["admin"])), params(HitQuery, PageQuery),
    responses((status = 200, body = Page<ScreeningHitView>)))]
pub async fn list_hits(admin: Admin, Query(query): Query<HitQuery>) -> Result<HttpResponse, ApiError> {
    let HitQuery { account_id, rule_id, request_id, action, page } = query;
    let filter = HitFilter { account_id, rule_id, request_id, action };
    Ok(list::<_, ScreeningHitView>(screening::list_hits(&admin.control, &filter, &page.request()?).await?))
}

/// One hit
#[utoipa::path(get, path = "/admin/v1/screening-hits/{id}", tag = "Admin: screening", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "Id of the hit")),
    responses((status = 200, body = ScreeningHitView), (status = 404, description = "`not_found`")))]
pub async fn get_hit(admin: Admin, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(ScreeningHitView::from(screening::get_hit(&admin.control, &id).await?)))
}

/// Release a hit
///
/// It was a mistake: the account is exempt from the rule from its next call on. Releasing it again changes nothing.
#[utoipa::path(post, path = "/admin/v1/screening-hits/{id}/release", tag = "Admin: screening", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "Id of the hit")), request_body = HitRelease,
    responses((status = 200, body = ScreeningHitView), (status = 404, description = "`not_found`"), (status = 409, description = "The rule is gone")))]
pub async fn release_hit(admin: Admin, id: web::Path<String>, Json(release): Json<HitRelease>) -> Result<HttpResponse, ApiError> {
    let hit = admin.change(|control, actor| async move { screening::release_hit(&control, &actor, &id, release).await }).await?;
    Ok(HttpResponse::Ok().json(ScreeningHitView::from(hit)))
}

/// List exemptions from screening rules
///
/// Newest first.
#[utoipa::path(get, path = "/admin/v1/screening-exemptions", tag = "Admin: screening", security(("key" = ["admin"])), params(PageQuery),
    responses((status = 200, body = Page<ScreeningExemptionView>)))]
pub async fn list_exemptions(admin: Admin, Query(query): Query<PageQuery>) -> Result<HttpResponse, ApiError> {
    Ok(list::<_, ScreeningExemptionView>(screening::list_exemptions(&admin.control, &query.request()?).await?))
}

/// End an exemption
///
/// The rule counts for the account again, from its next call on.
#[utoipa::path(delete, path = "/admin/v1/screening-exemptions/{id}", tag = "Admin: screening", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "Id of the exemption")),
    responses((status = 204, description = "It is gone"), (status = 404, description = "`not_found`")))]
pub async fn delete_exemption(admin: Admin, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    admin.change(|control, actor| async move { screening::delete_exemption(&control, &actor, &id).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}
