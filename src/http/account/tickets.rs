//! `/api/v1/tickets`: what owners ask the staff. Nothing here shows a note, an assignee or a name of the staff.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, http::header::CACHE_CONTROL, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::owner::Account;
use crate::{
    control::{
        Moment,
        tickets::{self, Attachment, Detail, NewMessage, NewTicket, OwnerPatch, Ticket, TicketMessage, attachments},
    },
    domain::{
        member::Permission,
        ticket::{Priority, Side, TicketStatus},
    },
    http::{
        admin::{
            extract::{Json, Query},
            only,
        },
        attachments::read_form,
        body::BodyLimits,
        download::download,
        error::ApiError,
        page::{Page, PageQuery},
    },
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let all = web::resource("/api/v1/tickets").route(web::get().to(list_tickets)).route(web::post().to(open_ticket));
    let one = web::resource("/api/v1/tickets/{id}").route(web::get().to(get_ticket)).route(web::patch().to(patch_ticket));
    let messages = web::resource("/api/v1/tickets/{id}/messages").route(web::get().to(list_messages)).route(web::post().to(write_message));
    let attachments =
        web::resource("/api/v1/tickets/{id}/attachments").route(web::get().to(list_attachments)).route(web::post().to(attach_file));
    let content = web::resource("/api/v1/tickets/{id}/attachments/{attachment_id}").route(web::get().to(get_attachment));
    routes
        .service(all.default_service(only("GET, POST")))
        .service(one.default_service(only("GET, PATCH")))
        .service(messages.default_service(only("GET, POST")))
        .service(attachments.default_service(only("GET, POST")))
        .service(content.default_service(only("GET")));
}

/// A support ticket.
#[derive(Debug, Serialize, ToSchema)]
pub struct TicketView {
    /// `tkt_…`
    pub id: String,
    pub title: String,
    /// `open` waits for the staff, `pending` for the customer.
    pub status: TicketStatus,
    pub priority: Priority,
    /// The call it is about.
    pub request_id: Option<String>,
    /// The order it is about.
    pub order_id: Option<String>,
    /// `seq` of the line of the ledger it is about.
    pub ledger_entry_id: Option<i64>,
    pub created_at: Moment,
    pub updated_at: Moment,
    pub closed_at: Option<Moment>,
}

impl From<Ticket> for TicketView {
    fn from(ticket: Ticket) -> Self {
        Self {
            id: ticket.id,
            title: ticket.title,
            status: ticket.status,
            priority: ticket.priority,
            request_id: ticket.request_id,
            order_id: ticket.order_id,
            ledger_entry_id: ticket.ledger_entry_id,
            created_at: Moment(ticket.created_at),
            updated_at: Moment(ticket.updated_at),
            closed_at: ticket.closed_at.map(Moment),
        }
    }
}

/// A message of a ticket.
#[derive(Debug, Serialize, ToSchema)]
pub struct TicketMessageView {
    /// `tmsg_…`
    pub id: String,
    pub ticket_id: String,
    /// Who wrote it.
    pub author: Side,
    /// Plain text.
    pub message: String,
    pub created_at: Moment,
}

impl From<TicketMessage> for TicketMessageView {
    fn from(message: TicketMessage) -> Self {
        Self {
            id: message.id,
            ticket_id: message.ticket_id,
            author: message.side,
            message: message.body,
            created_at: Moment(message.created_at),
        }
    }
}

/// A message that was written, and what it made of its ticket.
#[derive(Debug, Serialize, ToSchema)]
pub struct WrittenMessageView {
    #[serde(flatten)]
    pub message: TicketMessageView,
    pub ticket_status: TicketStatus,
}

/// A file attached to a ticket.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttachmentView {
    /// `att_…`
    pub id: String,
    pub ticket_id: String,
    /// The message it belongs to.
    pub message_id: Option<String>,
    /// Who attached it.
    pub author: Side,
    /// With an extension that fits its type.
    pub filename: String,
    /// As its first bytes show it.
    pub mime: String,
    pub bytes: u64,
    /// Of the content, in hexadecimal.
    pub sha256: String,
    /// Path of the content, always a download.
    pub url: String,
    pub created_at: Moment,
}

impl AttachmentView {
    /// `base` is where tickets are found by whoever asks.
    pub fn new(attachment: Attachment, base: &str) -> Self {
        Self {
            url: format!("{base}/{}/attachments/{}", attachment.ticket_id, attachment.id),
            id: attachment.id,
            ticket_id: attachment.ticket_id,
            message_id: attachment.message_id,
            author: attachment.side,
            filename: attachment.filename,
            mime: attachment.mime,
            bytes: attachment.bytes,
            sha256: attachment.sha256,
            created_at: Moment(attachment.created_at),
        }
    }
}

impl From<Attachment> for AttachmentView {
    fn from(attachment: Attachment) -> Self {
        Self::new(attachment, "/api/v1/tickets")
    }
}

/// A ticket with what was written.
#[derive(Debug, Serialize, ToSchema)]
pub struct TicketDetailView {
    #[serde(flatten)]
    pub ticket: TicketView,
    /// Oldest first, 200 at most.
    pub messages: Vec<TicketMessageView>,
    /// True when the list of messages has more.
    pub has_more_messages: bool,
    /// Oldest first.
    pub attachments: Vec<AttachmentView>,
}

impl From<Detail> for TicketDetailView {
    fn from(detail: Detail) -> Self {
        Self {
            ticket: detail.ticket.into(),
            has_more_messages: detail.messages.next.is_some(),
            messages: detail.messages.items.into_iter().map(Into::into).collect(),
            attachments: detail.attachments.into_iter().map(Into::into).collect(),
        }
    }
}

/// What customers write stays out of caches.
fn json(status: StatusCode, view: &impl Serialize) -> HttpResponse {
    HttpResponse::build(status).insert_header((CACHE_CONTROL, "no-store")).json(view)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TicketsQuery {
    /// Only tickets with this status.
    status: Option<TicketStatus>,
    #[serde(flatten)]
    #[param(ignore)]
    page: PageQuery,
}

/// List tickets
///
/// Newest first.
#[utoipa::path(get, path = "/api/v1/tickets", tag = "Tickets", security(("key" = ["account"])), params(TicketsQuery, PageQuery),
    responses((status = 200, body = Page<TicketView>)))]
pub async fn list_tickets(caller: Account, Query(query): Query<TicketsQuery>) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::Read)?;
    let page = tickets::list(&caller.control, &caller.owner, query.status, &query.page.request()?).await?;
    Ok(json(StatusCode::OK, &Page::<TicketView>::of(page)))
}

/// Open a ticket
///
/// It may name the call (`request_id`) or the line of the ledger (`ledger_entry_id`) that it is about.
#[utoipa::path(post, path = "/api/v1/tickets", tag = "Tickets", security(("key" = ["account"])), request_body = NewTicket,
    responses((status = 201, body = TicketDetailView), (status = 400, description = "`invalid_request`"),
        (status = 429, description = "More than `tickets.per_account_hour`: `rate_limit_exceeded` with scope `account`")))]
pub async fn open_ticket(caller: Account, Json(new): Json<NewTicket>) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::ManageTickets)?;
    let detail = caller.change(|control, owner| async move { tickets::open(&control, &owner, new).await }).await?;
    Ok(json(StatusCode::CREATED, &TicketDetailView::from(detail)))
}

/// One ticket
///
/// With its messages and attachments.
#[utoipa::path(get, path = "/api/v1/tickets/{id}", tag = "Tickets", security(("key" = ["account"])), params(("id" = String, Path, description = "`tkt_…`")),
    responses((status = 200, body = TicketDetailView), (status = 404, description = "`not_found`, also for tickets of other accounts")))]
pub async fn get_ticket(caller: Account, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::Read)?;
    Ok(json(StatusCode::OK, &TicketDetailView::from(tickets::get(&caller.control, &caller.owner, &id).await?)))
}

/// Close or reopen a ticket
#[utoipa::path(patch, path = "/api/v1/tickets/{id}", tag = "Tickets", security(("key" = ["account"])),
    params(("id" = String, Path, description = "`tkt_…`")), request_body = Option<OwnerPatch>,
    responses((status = 200, body = TicketView), (status = 400, description = "`invalid_request`"), (status = 404, description = "`not_found`")))]
pub async fn patch_ticket(caller: Account, id: web::Path<String>, Json(patch): Json<OwnerPatch>) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::ManageTickets)?;
    let ticket = caller.change(|control, owner| async move { tickets::patch(&control, &owner, &id, &patch).await }).await?;
    Ok(json(StatusCode::OK, &TicketView::from(ticket)))
}

/// Messages of a ticket
///
/// Oldest first.
#[utoipa::path(get, path = "/api/v1/tickets/{id}/messages", tag = "Tickets", security(("key" = ["account"])),
    params(("id" = String, Path, description = "`tkt_…`"), PageQuery),
    responses((status = 200, body = Page<TicketMessageView>), (status = 404, description = "`not_found`")))]
pub async fn list_messages(caller: Account, id: web::Path<String>, Query(query): Query<PageQuery>) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::Read)?;
    let page = tickets::messages(&caller.control, &caller.owner, &id, &query.request()?).await?;
    Ok(json(StatusCode::OK, &Page::<TicketMessageView>::of(page)))
}

/// Write to a ticket
///
/// It becomes `open`, whatever it was.
#[utoipa::path(post, path = "/api/v1/tickets/{id}/messages", tag = "Tickets", security(("key" = ["account"])),
    params(("id" = String, Path, description = "`tkt_…`")), request_body = NewMessage,
    responses((status = 201, body = WrittenMessageView), (status = 400, description = "`invalid_request`"), (status = 404, description = "`not_found`"),
        (status = 429, description = "More than `tickets.messages_per_account_hour`: `rate_limit_exceeded` with scope `account`")))]
pub async fn write_message(caller: Account, id: web::Path<String>, Json(new): Json<NewMessage>) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::ManageTickets)?;
    let (message, ticket) = caller.change(|control, owner| async move { tickets::reply(&control, &owner, &id, &new).await }).await?;
    Ok(json(StatusCode::CREATED, &WrittenMessageView { message: message.into(), ticket_status: ticket.status }))
}

/// Attachments of a ticket
///
/// Oldest first, all of them.
#[utoipa::path(get, path = "/api/v1/tickets/{id}/attachments", tag = "Tickets", security(("key" = ["account"])),
    params(("id" = String, Path, description = "`tkt_…`")),
    responses((status = 200, body = Page<AttachmentView>), (status = 404, description = "`not_found`")))]
pub async fn list_attachments(caller: Account, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::Read)?;
    let found = attachments::list(&caller.control, &caller.owner, &id).await?;
    let data: Vec<AttachmentView> = found.into_iter().map(Into::into).collect();
    Ok(json(StatusCode::OK, &Page { data, has_more: false, next_cursor: None }))
}

/// Attach a file
///
/// A form with `file`, and `message_id` when it belongs to a message of yours. Pictures, PDF and plain text are taken; what a file is, its bytes tell.
#[utoipa::path(post, path = "/api/v1/tickets/{id}/attachments", tag = "Tickets", security(("key" = ["account"])),
    params(("id" = String, Path, description = "`tkt_…`")),
    request_body(content = Vec<u8>, content_type = "multipart/form-data", description = "The form"),
    responses((status = 201, body = AttachmentView), (status = 400, description = "A bad form, a type that is not taken, or no room left"),
        (status = 404, description = "`not_found`"), (status = 409, description = "The ticket is closed"),
        (status = 413, description = "Larger than `tickets.attachment_bytes_max`")))]
pub async fn attach_file(
    caller: Account,
    id: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
    limits: web::Data<BodyLimits>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::ManageTickets)?;
    let upload = read_form(&request, payload, &caller.control, **limits).await?;
    let attachment = attachments::attach(&caller.control, &caller.owner, &id, upload).await?;
    Ok(json(StatusCode::CREATED, &AttachmentView::from(attachment)))
}

/// The content of an attachment
///
/// Always as a download, whatever it is.
#[utoipa::path(get, path = "/api/v1/tickets/{id}/attachments/{attachment_id}", tag = "Tickets", security(("key" = ["account"])),
    params(("id" = String, Path, description = "`tkt_…`"), ("attachment_id" = String, Path, description = "`att_…`")),
    responses((status = 200, description = "The bytes that were attached", content_type = "application/octet-stream"), (status = 404, description = "`not_found`")))]
pub async fn get_attachment(caller: Account, path: web::Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    let caller = caller.require(Permission::Read)?;
    let (attachment, content) = attachments::content(&caller.control, &caller.owner, &path.0, &path.1).await?;
    Ok(download(&attachment.filename, &attachment.mime, content))
}
