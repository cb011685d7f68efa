//! `/admin/v1/tickets`: the staff's side of support, with notes and assignees.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    extract::{Admin, Json, Query},
    list, only,
};
use crate::{
    control::tickets::{
        Attachment, Detail, Ticket, TicketMessage, attachments,
        staff::{self, StaffFilter, StaffMessage, StaffPatch},
    },
    domain::ticket::{Priority, TicketStatus},
    http::{
        account::tickets::{AttachmentView, TicketMessageView, TicketView},
        attachments::read_form,
        body::BodyLimits,
        download::download,
        error::ApiError,
        page::{Page, PageQuery},
    },
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let all = web::resource("/admin/v1/tickets").route(web::get().to(list_all_tickets));
    let one = web::resource("/admin/v1/tickets/{id}").route(web::get().to(get_any_ticket)).route(web::patch().to(triage_ticket));
    let messages =
        web::resource("/admin/v1/tickets/{id}/messages").route(web::get().to(list_all_messages)).route(web::post().to(answer_ticket));
    let attachments = web::resource("/admin/v1/tickets/{id}/attachments")
        .route(web::get().to(list_all_attachments))
        .route(web::post().to(attach_for_staff));
    let content = web::resource("/admin/v1/tickets/{id}/attachments/{attachment_id}")
        .route(web::get().to(get_any_attachment))
        .route(web::delete().to(delete_attachment));
    routes
        .service(all.default_service(only("GET")))
        .service(one.default_service(only("GET, PATCH")))
        .service(messages.default_service(only("GET, POST")))
        .service(attachments.default_service(only("GET, POST")))
        .service(content.default_service(only("GET, DELETE")));
}

/// A support ticket, as the staff sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct StaffTicketView {
    #[serde(flatten)]
    pub ticket: TicketView,
    pub account_id: String,
    /// The account of the person who opened it.
    pub opened_by: String,
    pub assignee: Option<String>,
    /// Messages and notes.
    pub message_count: i64,
}

impl From<Ticket> for StaffTicketView {
    fn from(ticket: Ticket) -> Self {
        Self {
            account_id: ticket.account_id.clone(),
            opened_by: ticket.opened_by.clone(),
            assignee: ticket.assignee.clone(),
            message_count: ticket.messages,
            ticket: ticket.into(),
        }
    }
}

/// A message or a note.
#[derive(Debug, Serialize, ToSchema)]
pub struct StaffMessageView {
    #[serde(flatten)]
    pub message: TicketMessageView,
    /// Of a customer: the account of the person. Of the staff: the key.
    pub author_id: String,
    /// True for a note that the customer never sees.
    pub internal: bool,
}

impl From<TicketMessage> for StaffMessageView {
    fn from(message: TicketMessage) -> Self {
        Self { author_id: message.author_id.clone(), internal: message.internal, message: message.into() }
    }
}

/// A message that was written, and what it made of its ticket.
#[derive(Debug, Serialize, ToSchema)]
pub struct WrittenStaffMessageView {
    #[serde(flatten)]
    pub message: StaffMessageView,
    pub ticket_status: TicketStatus,
}

/// An attachment, as the staff sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct StaffAttachmentView {
    #[serde(flatten)]
    pub attachment: AttachmentView,
    /// Of a customer: the account of the person. Of the staff: the key.
    pub author_id: String,
    /// True when the customer never sees it.
    pub internal: bool,
}

impl From<Attachment> for StaffAttachmentView {
    fn from(attachment: Attachment) -> Self {
        Self {
            author_id: attachment.author_id.clone(),
            internal: attachment.internal,
            attachment: AttachmentView::new(attachment, "/admin/v1/tickets"),
        }
    }
}

/// A ticket with everything in it.
#[derive(Debug, Serialize, ToSchema)]
pub struct StaffTicketDetailView {
    #[serde(flatten)]
    pub ticket: StaffTicketView,
    /// Messages and notes, oldest first, 200 at most.
    pub messages: Vec<StaffMessageView>,
    /// True when the list of messages has more.
    pub has_more_messages: bool,
    /// Oldest first.
    pub attachments: Vec<StaffAttachmentView>,
}

impl From<Detail> for StaffTicketDetailView {
    fn from(detail: Detail) -> Self {
        Self {
            ticket: detail.ticket.into(),
            has_more_messages: detail.messages.next.is_some(),
            messages: detail.messages.items.into_iter().map(Into::into).collect(),
            attachments: detail.attachments.into_iter().map(Into::into).collect(),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StaffTicketsQuery {
    status: Option<TicketStatus>,
    priority: Option<Priority>,
    /// Exactly as it was given; `none` for tickets that nobody takes care of.
    assignee: Option<String>,
    /// `acc_…`
    account: Option<String>,
    /// Part of the title, of the id of the ticket, its account or its call, or of the account's e-mail address.
    q: Option<String>,
    #[serde(flatten)]
    #[param(ignore)]
    page: PageQuery,
}

/// List tickets
///
/// Newest first.
#[utoipa::path(get, path = "/admin/v1/tickets", tag = "Admin: tickets", security(("key" = ["admin"])), params(StaffTicketsQuery, PageQuery),
    responses((status = 200, body = Page<StaffTicketView>)))]
pub async fn list_all_tickets(admin: Admin, Query(query): Query<StaffTicketsQuery>) -> Result<HttpResponse, ApiError> {
    let page = query.page.request()?;
    let StaffTicketsQuery { status, priority, assignee, account: account_id, q, .. } = query;
    let filter = StaffFilter { account_id, status, priority, assignee, q };
    Ok(list::<_, StaffTicketView>(staff::list(&admin.control, &filter, &page).await?))
}

/// One ticket
///
/// With its messages, notes and attachments.
#[utoipa::path(get, path = "/admin/v1/tickets/{id}", tag = "Admin: tickets", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`tkt_…`")),
    responses((status = 200, body = StaffTicketDetailView), (status = 404, description = "`not_found`")))]
pub async fn get_any_ticket(admin: Admin, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(StaffTicketDetailView::from(staff::get(&admin.control, &id).await?)))
}

/// Change a ticket
///
/// Its customer sees the status and the priority, and never the assignee.
#[utoipa::path(patch, path = "/admin/v1/tickets/{id}", tag = "Admin: tickets", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`tkt_…`")), request_body = Option<StaffPatch>,
    responses((status = 200, body = StaffTicketView), (status = 400, description = "`invalid_request`"), (status = 404, description = "`not_found`")))]
pub async fn triage_ticket(admin: Admin, id: web::Path<String>, Json(patch): Json<StaffPatch>) -> Result<HttpResponse, ApiError> {
    let ticket = admin.change(|control, actor| async move { staff::patch(&control, &actor, &id, patch).await }).await?;
    Ok(HttpResponse::Ok().json(StaffTicketView::from(ticket)))
}

/// Messages and notes of a ticket
///
/// Oldest first.
#[utoipa::path(get, path = "/admin/v1/tickets/{id}/messages", tag = "Admin: tickets", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`tkt_…`"), PageQuery),
    responses((status = 200, body = Page<StaffMessageView>), (status = 404, description = "`not_found`")))]
pub async fn list_all_messages(admin: Admin, id: web::Path<String>, Query(query): Query<PageQuery>) -> Result<HttpResponse, ApiError> {
    Ok(list::<_, StaffMessageView>(staff::messages(&admin.control, &id, &query.request()?).await?))
}

/// Answer a ticket, or leave a note
///
/// An answer is mailed to the owner of the account; a note with `internal` is seen by the staff only.
#[utoipa::path(post, path = "/admin/v1/tickets/{id}/messages", tag = "Admin: tickets", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`tkt_…`")), request_body = StaffMessage,
    responses((status = 201, body = WrittenStaffMessageView), (status = 400, description = "`invalid_request`"), (status = 404, description = "`not_found`")))]
pub async fn answer_ticket(admin: Admin, id: web::Path<String>, Json(new): Json<StaffMessage>) -> Result<HttpResponse, ApiError> {
    let (message, ticket) = admin.change(|control, actor| async move { staff::reply(&control, &actor, &id, &new).await }).await?;
    Ok(HttpResponse::Created().json(WrittenStaffMessageView { message: message.into(), ticket_status: ticket.status }))
}

/// Attachments of a ticket
///
/// Oldest first, all of them.
#[utoipa::path(get, path = "/admin/v1/tickets/{id}/attachments", tag = "Admin: tickets", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`tkt_…`")),
    responses((status = 200, body = Page<StaffAttachmentView>), (status = 404, description = "`not_found`")))]
pub async fn list_all_attachments(admin: Admin, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let found = staff::attachments(&admin.control, &id).await?;
    let data: Vec<StaffAttachmentView> = found.into_iter().map(Into::into).collect();
    Ok(HttpResponse::Ok().json(Page { data, has_more: false, next_cursor: None }))
}

/// Attach a file
///
/// A form with `file`, `message_id` when it belongs to a message of the staff, and `internal` = `true` when the customer must not see it.
#[utoipa::path(post, path = "/admin/v1/tickets/{id}/attachments", tag = "Admin: tickets", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`tkt_…`")),
    request_body(content = Vec<u8>, content_type = "multipart/form-data", description = "The form"),
    responses((status = 201, body = StaffAttachmentView), (status = 400, description = "A bad form, a type that is not taken, or no room left"),
        (status = 404, description = "`not_found`"), (status = 409, description = "The ticket is closed"),
        (status = 413, description = "Larger than `tickets.attachment_bytes_max`")))]
pub async fn attach_for_staff(
    admin: Admin,
    id: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
    limits: web::Data<BodyLimits>,
) -> Result<HttpResponse, ApiError> {
    let upload = read_form(&request, payload, &admin.control, **limits).await?;
    let attachment =
        admin.change(|control, actor| async move { attachments::attach_by_staff(&control, &actor, &id, upload).await }).await?;
    Ok(HttpResponse::Created().json(StaffAttachmentView::from(attachment)))
}

/// The content of an attachment
///
/// Always as a download, whatever it is.
#[utoipa::path(get, path = "/admin/v1/tickets/{id}/attachments/{attachment_id}", tag = "Admin: tickets", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`tkt_…`"), ("attachment_id" = String, Path, description = "`att_…`")),
    responses((status = 200, description = "The bytes that were attached", content_type = "application/octet-stream"), (status = 404, description = "`not_found`")))]
pub async fn get_any_attachment(admin: Admin, path: web::Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    let (attachment, content) = attachments::content_for_staff(&admin.control, &path.0, &path.1).await?;
    Ok(download(&attachment.filename, &attachment.mime, content))
}

/// Delete an attachment
///
/// Its content is gone for good.
#[utoipa::path(delete, path = "/admin/v1/tickets/{id}/attachments/{attachment_id}", tag = "Admin: tickets", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`tkt_…`"), ("attachment_id" = String, Path, description = "`att_…`")),
    responses((status = 204, description = "Deleted"), (status = 404, description = "`not_found`")))]
pub async fn delete_attachment(admin: Admin, path: web::Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    admin.change(|control, actor| async move { attachments::delete(&control, &actor, &path.0, &path.1).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}
