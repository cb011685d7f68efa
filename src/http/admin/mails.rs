//! `/admin/v1/mails`

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
        outbox::{self, Mail, MailTest, NewTestMail},
    },
    domain::mail::{Locale, MailStatus},
    http::{
        error::ApiError,
        page::{Page, PageQuery},
    },
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let all = web::resource("/admin/v1/mails").route(web::get().to(list_mails));
    let test = web::resource("/admin/v1/mails/test").route(web::post().to(test_mail));
    let one = web::resource("/admin/v1/mails/{id}").route(web::get().to(get_mail)).route(web::delete().to(delete_mail));
    let retry = web::resource("/admin/v1/mails/{id}/retry").route(web::post().to(retry_mail));
    routes
        .service(all.default_service(only("GET")))
        .service(test.default_service(only("POST")))
        .service(one.default_service(only("GET, DELETE")))
        .service(retry.default_service(only("POST")));
}

/// A mail in the outbox. What it says is not shown, because links in it sign people in.
#[derive(Debug, Serialize, ToSchema)]
pub struct MailView {
    #[schema(example = "mail_0198…")]
    pub id: String,
    #[schema(required)]
    pub account_id: Option<String>,
    #[schema(example = "verify_email")]
    pub kind: String,
    pub recipient: String,
    pub locale: Locale,
    pub status: MailStatus,
    /// Tries so far.
    pub attempts: u32,
    /// Of a pending mail: when it is tried next.
    pub next_at: Moment,
    /// Why the last try failed.
    #[schema(required)]
    pub last_error: Option<String>,
    pub created_at: Moment,
    #[schema(required)]
    pub sent_at: Option<Moment>,
}

impl From<Mail> for MailView {
    fn from(mail: Mail) -> Self {
        Self {
            id: mail.id,
            account_id: mail.account_id,
            kind: mail.kind,
            recipient: mail.recipient,
            locale: mail.locale,
            status: mail.status,
            attempts: mail.attempts,
            next_at: Moment(mail.next_at),
            last_error: mail.last_error,
            created_at: Moment(mail.created_at),
            sent_at: mail.sent_at.map(Moment),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MailsQuery {
    /// Only mails in this state; `dead` are those that were given up.
    status: Option<MailStatus>,
    #[serde(flatten)]
    #[param(ignore)]
    page: PageQuery,
}

/// List mails
///
/// The outbox, newest first, without what the mails say.
#[utoipa::path(get, path = "/admin/v1/mails", tag = "Admin: mails", security(("key" = ["admin"])), params(MailsQuery, PageQuery),
    responses((status = 200, body = Page<MailView>), (status = 400, description = "`invalid_request`")))]
pub async fn list_mails(admin: Admin, Query(query): Query<MailsQuery>) -> Result<HttpResponse, ApiError> {
    let page = outbox::list(&admin.control, query.status, &query.page.request()?).await?;
    Ok(list::<_, MailView>(page))
}

/// One mail
#[utoipa::path(get, path = "/admin/v1/mails/{id}", tag = "Admin: mails", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`mail_…`")),
    responses((status = 200, body = MailView), (status = 404, description = "`not_found`")))]
pub async fn get_mail(admin: Admin, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(MailView::from(outbox::get(&admin.control, &id).await?)))
}

/// Try a mail again
///
/// At once, with all its tries before it. Without a mail server its link is printed once more.
#[utoipa::path(post, path = "/admin/v1/mails/{id}/retry", tag = "Admin: mails", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`mail_…`")),
    responses((status = 200, body = MailView), (status = 404, description = "`not_found`"),
        (status = 409, description = "It was sent or has expired, so nothing of it is left to be sent")))]
pub async fn retry_mail(admin: Admin, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let mail = admin.change(|control, actor| async move { outbox::retry(&control, &actor, &id).await }).await?;
    Ok(HttpResponse::Ok().json(MailView::from(mail)))
}

/// Delete a mail
///
/// A pending one is not sent any more, unless a try is under way.
#[utoipa::path(delete, path = "/admin/v1/mails/{id}", tag = "Admin: mails", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`mail_…`")),
    responses((status = 204, description = "Deleted"), (status = 404, description = "`not_found`")))]
pub async fn delete_mail(admin: Admin, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    admin.change(|control, actor| async move { outbox::delete(&control, &actor, &id).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Send a test mail
///
/// Past the outbox, and answers with the mail server's words.
#[utoipa::path(post, path = "/admin/v1/mails/test", tag = "Admin: mails", security(("key" = ["admin"])), request_body = NewTestMail,
    responses((status = 200, body = MailTest), (status = 400, description = "`invalid_request`"),
        (status = 409, description = "No mail server is configured")))]
pub async fn test_mail(admin: Admin, Json(new): Json<NewTestMail>) -> Result<HttpResponse, ApiError> {
    let test = admin.change(|control, actor| async move { outbox::test(&control, &actor, new).await }).await?;
    Ok(HttpResponse::Ok().json(test))
}
