//! Files attached to tickets: looked at, taken in, given back as downloads, deleted by the staff.
//!
//! The content is written before the row and deleted after it (see `blobs`).

use bytes::Bytes;
use serde_json::json;

use super::{Attachment, Ticket, find, kind};
use crate::{
    actors::{blobs, detached},
    control::{Actor, Control, ControlError, audit, files, owner::Owner},
    domain::{
        blob::{BlobArea, BlobKey},
        refusal::Refusal,
        ticket::Side,
    },
    store::{self, tickets::attachments::Rejected},
};

/// Longer contents are looked at away from the worker thread.
const LOOK_INLINE_BYTES_MAX: usize = 256 * 1024;

/// A file on its way in.
#[derive(Debug, Clone)]
pub struct Upload {
    pub filename: Option<String>,
    /// What the caller says it is.
    pub mime: Option<String>,
    /// The message it belongs to.
    pub message_id: Option<String>,
    /// For the staff only.
    pub internal: bool,
    pub content: Bytes,
}

/// Attachments that the owner sees, oldest first.
pub async fn list(control: &Control, owner: &Owner, ticket_id: &str) -> Result<Vec<Attachment>, ControlError> {
    let ticket = find(control, Some(&owner.account.id), ticket_id).await?;
    Ok(store::tickets::attachments::list(&control.db, &ticket.id, false).await?)
}

pub async fn attach(control: &Control, owner: &Owner, ticket_id: &str, upload: Upload) -> Result<Attachment, ControlError> {
    let ticket = find(control, Some(&owner.account.id), ticket_id).await?;
    let upload = Upload { internal: false, ..upload };
    take_in(control, ticket, Side::Customer, owner.person_id.clone(), upload).await
}

pub async fn content(control: &Control, owner: &Owner, ticket_id: &str, id: &str) -> Result<(Attachment, Bytes), ControlError> {
    let ticket = find(control, Some(&owner.account.id), ticket_id).await?;
    read(control, &ticket, id, false).await
}

/// A file of the staff, for the customer or for themselves.
pub async fn attach_by_staff(control: &Control, actor: &Actor, ticket_id: &str, upload: Upload) -> Result<Attachment, ControlError> {
    let ticket = find(control, None, ticket_id).await?;
    let attachment = take_in(control, ticket, Side::Support, actor.id.clone(), upload).await?;
    let details = json!({ "attachment_id": attachment.id, "bytes": attachment.bytes, "internal": attachment.internal });
    audit::note(control, actor, "ticket.attach", &attachment.ticket_id, details).await;
    Ok(attachment)
}

pub async fn content_for_staff(control: &Control, ticket_id: &str, id: &str) -> Result<(Attachment, Bytes), ControlError> {
    let ticket = find(control, None, ticket_id).await?;
    read(control, &ticket, id, true).await
}

pub async fn delete(control: &Control, actor: &Actor, ticket_id: &str, id: &str) -> Result<(), ControlError> {
    let blob = store::tickets::attachments::delete(&control.db, ticket_id, id).await?.ok_or_else(|| missing(id))?;
    if let Some(key) = BlobKey::parse(&blob) {
        files::discard(control, &key).await;
    }
    audit::note(control, actor, "ticket.attachment_delete", ticket_id, json!({ "attachment_id": id })).await;
    Ok(())
}

async fn take_in(control: &Control, ticket: Ticket, side: Side, author_id: String, upload: Upload) -> Result<Attachment, ControlError> {
    let limit_bytes = control.tickets.attachment_bytes_max;
    let bytes = upload.content.len() as u64;
    if bytes == 0 {
        return Err(ControlError::invalid("file", "the file is empty"));
    }
    if bytes > limit_bytes {
        return Err(Refusal::FileTooLarge { bytes, limit_bytes }.into());
    }
    let (mime, filename) = look(&upload).await?;
    let id = control.clock.new_id("att");
    let key = BlobKey::new(&ticket.account_id, BlobArea::Attachments, &id)
        .ok_or_else(|| ControlError::Internal(format!("no blob can be named after {} and {id}", ticket.account_id)))?;
    let attachment = Attachment {
        ticket_id: ticket.id,
        account_id: ticket.account_id,
        message_id: upload.message_id,
        side,
        author_id,
        internal: upload.internal,
        filename,
        mime: mime.to_owned(),
        bytes,
        sha256: files::sha256(&upload.content).await?,
        blob: key.as_str().to_owned(),
        created_at: control.clock.now(),
        id,
    };
    let content = upload.content;
    control
        .to_the_end(async move |control| {
            blobs::put(&control.blobs, &key, content).await?;
            let owner = (side == Side::Customer).then_some(attachment.account_id.as_str());
            let rejected = store::tickets::attachments::insert(&control.db, owner, &attachment, control.tickets.allowance).await;
            if !matches!(rejected, Ok(None)) {
                files::discard(&control, &key).await;
            }
            match rejected? {
                None => Ok(attachment),
                Some(rejected) => Err(refused(&control, rejected, &attachment)),
            }
        })
        .await
}

fn refused(control: &Control, rejected: Rejected, attachment: &Attachment) -> ControlError {
    let allowance = control.tickets.allowance;
    match rejected {
        Rejected::Closed => ControlError::Conflict("this ticket is closed; open it again before you attach files".to_owned()),
        Rejected::NoSuchMessage => ControlError::invalid("message_id", "this ticket has no such message of yours"),
        Rejected::Count(files) => {
            ControlError::invalid("file", format!("this ticket has {files} attachments, and {} are allowed", allowance.attachments_max))
        }
        Rejected::Bytes(bytes) => ControlError::invalid(
            "file",
            format!(
                "the attachments of this account's tickets have {bytes} bytes, {} more do not fit into the {} that are allowed",
                attachment.bytes, allowance.account_bytes_max
            ),
        ),
    }
}

/// What the file is, and a name that fits it.
async fn look(upload: &Upload) -> Result<(&'static str, String), ControlError> {
    let filename = files::filename(upload.filename.as_deref());
    let work = {
        let (content, said) = (upload.content.clone(), upload.mime.clone());
        move || kind::recognise(&content, said.as_deref(), &filename)
    };
    let is_short = upload.content.len() <= LOOK_INLINE_BYTES_MAX;
    let seen = if is_short { Some(work()) } else { detached::compute(work).await };
    let seen = seen.ok_or_else(|| ControlError::Internal("an attachment could not be looked at".to_owned()))?;
    seen.map_err(|message| ControlError::invalid("file", message))
}

async fn read(control: &Control, ticket: &Ticket, id: &str, internal: bool) -> Result<(Attachment, Bytes), ControlError> {
    let attachment = store::tickets::attachments::find(&control.db, &ticket.id, id, internal).await?.ok_or_else(|| missing(id))?;
    let gone = || ControlError::Internal(format!("the content of {} is gone", attachment.id));
    let key = BlobKey::parse(&attachment.blob).ok_or_else(gone)?;
    match blobs::get(&control.blobs, &key).await? {
        Some(content) => Ok((attachment, content)),
        // It may have been deleted since its row was read.
        None => match store::tickets::attachments::find(&control.db, &ticket.id, id, internal).await? {
            None => Err(missing(id)),
            Some(_) => Err(gone()),
        },
    }
}

fn missing(id: &str) -> ControlError {
    ControlError::NotFound(format!("attachment {id}"))
}
