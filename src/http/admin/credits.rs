//! Credits of an account: grants, balance, ledger; and the check of all ledgers.

use actix_web::{HttpRequest, HttpResponse, web};

use super::{
    extract::{Admin, Json, Query},
    list, only,
    views::{GrantStateView, GrantView, LedgerCheckView, LedgerEntryView, RevocationView},
};
use crate::{
    control::{
        check,
        credits::{self, Balance, NewGrant, Revocation},
    },
    http::{
        error::ApiError,
        headers,
        page::{Page, PageQuery},
    },
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let grants = web::resource("/admin/v1/accounts/{id}/grants").route(web::get().to(list_grants)).route(web::post().to(create_grant));
    let revoke = web::resource("/admin/v1/accounts/{id}/grants/{grant_id}/revoke").route(web::post().to(revoke_grant));
    let balance = web::resource("/admin/v1/accounts/{id}/balance").route(web::get().to(get_balance));
    let ledger = web::resource("/admin/v1/accounts/{id}/ledger").route(web::get().to(list_ledger));
    let check = web::resource("/admin/v1/ledger/check").route(web::get().to(check_ledger));
    routes
        .service(grants.default_service(only("GET, POST")))
        .service(revoke.default_service(only("POST")))
        .service(balance.default_service(only("GET")))
        .service(ledger.default_service(only("GET")))
        .service(check.default_service(only("GET")));
}

/// Give credits
///
/// Debt is paid from them first; the next call can spend the rest. The same Idempotency-Key and body again answers with the first grant
/// (and the header `idempotent-replayed: true`), so a retry never gives twice.
#[utoipa::path(post, path = "/admin/v1/accounts/{id}/grants", tag = "Admin: credits", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`acc_…`"), ("Idempotency-Key" = String, Header, description = "1 to 255 visible characters, one for each grant")),
    request_body = NewGrant,
    responses((status = 201, body = GrantView), (status = 400, description = "`invalid_request`, also without Idempotency-Key"),
        (status = 404, description = "`not_found`"), (status = 409, description = "The key was used for another grant")))]
pub async fn create_grant(
    admin: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    Json(new): Json<NewGrant>,
) -> Result<HttpResponse, ApiError> {
    let key = headers::idempotency_key(request.headers())?.map(str::to_owned);
    let granted = admin.change(|control, actor| async move { credits::grant(&control, &actor, &id, key.as_deref(), new).await }).await?;
    let mut response = HttpResponse::Created();
    if granted.replayed {
        response.insert_header(("idempotent-replayed", "true"));
    }
    Ok(response.json(GrantView::from(&granted)))
}

/// List grants
///
/// Newest first, each with what became of it.
#[utoipa::path(get, path = "/admin/v1/accounts/{id}/grants", tag = "Admin: credits", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`acc_…`"), PageQuery),
    responses((status = 200, body = Page<GrantStateView>), (status = 404, description = "`not_found`")))]
pub async fn list_grants(admin: Admin, id: web::Path<String>, Query(query): Query<PageQuery>) -> Result<HttpResponse, ApiError> {
    Ok(list::<_, GrantStateView>(credits::grants(&admin.control, &id, &query.request()?).await?))
}

/// Take a grant back
///
/// Takes up to `amount_micros` of what is left. What is spent, or in a node's lease at the moment, stays.
#[utoipa::path(post, path = "/admin/v1/accounts/{id}/grants/{grant_id}/revoke", tag = "Admin: credits", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`acc_…`"), ("grant_id" = String, Path, description = "`grant_…`")), request_body = Revocation,
    responses((status = 200, body = RevocationView), (status = 400, description = "`invalid_request`"), (status = 404, description = "`not_found`")))]
pub async fn revoke_grant(admin: Admin, path: web::Path<(String, String)>, Json(wish): Json<Revocation>) -> Result<HttpResponse, ApiError> {
    let (account_id, grant_id) = path.into_inner();
    let grant = grant_id.clone();
    let taken = admin.change(|control, actor| async move { credits::revoke(&control, &actor, &account_id, &grant, &wish).await }).await?;
    Ok(HttpResponse::Ok().json(RevocationView { grant_id, revoked_micros: taken }))
}

/// The balance of an account
///
/// At every moment: available + held + spent + expired + revoked = granted + debt. Held is what calls that run now may cost at most.
#[utoipa::path(get, path = "/admin/v1/accounts/{id}/balance", tag = "Admin: credits", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`acc_…`")),
    responses((status = 200, body = Balance), (status = 404, description = "`not_found`")))]
pub async fn get_balance(admin: Admin, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(credits::balance(&admin.control, &id).await?))
}

/// The ledger of an account
///
/// Newest line first.
#[utoipa::path(get, path = "/admin/v1/accounts/{id}/ledger", tag = "Admin: credits", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`acc_…`"), PageQuery),
    responses((status = 200, body = Page<LedgerEntryView>), (status = 404, description = "`not_found`")))]
pub async fn list_ledger(admin: Admin, id: web::Path<String>, Query(query): Query<PageQuery>) -> Result<HttpResponse, ApiError> {
    Ok(list::<_, LedgerEntryView>(credits::entries(&admin.control, &id, &query.request()?).await?))
}

/// Check all ledgers
///
/// Derives every balance again from the ledger's lines, after everything that was handed to the journal is written.
#[utoipa::path(get, path = "/admin/v1/ledger/check", tag = "Admin: credits", security(("key" = ["admin"])),
    responses((status = 200, body = LedgerCheckView)))]
pub async fn check_ledger(admin: Admin) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(LedgerCheckView::from(check::ledger(&admin.control).await?)))
}
