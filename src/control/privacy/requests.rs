//! Requests of people themselves, signed in or by mail.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, json};
use utoipa::ToSchema;

use super::{
    super::{
        Actor, Control, ControlError, Page, PageRequest, accounts, audit, mail,
        owner::Owner,
        people::{Visitor, guard_mail},
        sign_in::digest,
    },
    Proof, identity,
};
use crate::{
    actors::{blobs, privacy as jobs},
    clock::fill_random,
    domain::{
        SECOND, Timestamp,
        account::{Account, AccountStatus},
        api_key,
        blob::BlobKey,
        mail::{Locale, Message},
        privacy::{Kind, Status},
        refusal::Refusal,
    },
    store::{
        self,
        mail_tokens::{NewToken, Purpose},
        outbox::NewMail,
        privacy::Request,
    },
};

const TOKEN_LENGTH: usize = 43;
const CONFIRM_LIFE: Timestamp = 24 * 3_600 * SECOND;
/// A cancel link of a deletion that comes at once works for nobody; the store wants a time for it all the same.
const CANCEL_LIFE_MIN: Timestamp = SECOND;

fn new_request(control: &Control, account: &Account, kind: Kind, channel: &str, actor: &Actor) -> Request {
    let now = control.clock.now();
    let due_at = if kind == Kind::Deletion { now + control.privacy.cooling_off } else { now };
    Request {
        id: control.clock.new_id("prv"),
        account_id: account.id.clone(),
        kind,
        channel: channel.to_owned(),
        status: Status::Scheduled,
        note: String::new(),
        created_by: actor.id.clone(),
        prior_status: (kind == Kind::Deletion).then_some(account.status),
        due_at,
        next_at: due_at,
        attempts: 0,
        last_error: None,
        progress: Map::new(),
        record: None,
        signature: None,
        blob: None,
        bytes: None,
        expires_at: None,
        completed_at: None,
        created_at: now,
    }
}

/// Writes a request and begins with it when its time is now.
pub(super) async fn place(
    control: &Control,
    actor: &Actor,
    account: &Account,
    (kind, channel): (Kind, &str),
    note: String,
) -> Result<Request, ControlError> {
    if kind == Kind::Deletion && account.is_operator {
        return Err(ControlError::Conflict("this account runs the gateway and cannot be deleted".to_owned()));
    }
    let mut request = Request { note, ..new_request(control, account, kind, channel, actor) };
    let mut farewell = None;
    match kind {
        Kind::Deletion => {
            let token = api_key::base62(TOKEN_LENGTH, fill_random);
            let row = NewToken {
                id: control.clock.new_id("mtk"),
                account_id: Some(account.id.clone()),
                email: account.email.clone(),
                purpose: Purpose::KeepAccount,
                digest: digest(control, &token),
                data: json!({ "cancels": request.id }),
                expires_at: request.due_at.max(request.created_at + CANCEL_LIFE_MIN),
                created_at: request.created_at,
            };
            let link = control.site.link(&format!("/privacy/keep?token={token}"));
            let message = Message::DeletionScheduled { due_at: request.due_at, link };
            farewell = Some((row, mail::to_account(control, account, message)));
        }
        Kind::Export => {}
        // Done at once, or by the staff.
        Kind::Restriction | Kind::Objection => {
            request.status = Status::Done;
            request.completed_at = Some(request.created_at);
        }
        Kind::Correction => request.status = Status::Open,
    }
    let (token, mail) = (farewell.as_ref().map(|parts| &parts.0), farewell.as_ref().map(|parts| &parts.1));
    store::privacy::insert(&control.db, &control.sealer, &request, token, mail).await?;
    if matches!(kind, Kind::Restriction | Kind::Objection) {
        super::switches::apply(control, account, kind).await?;
    }
    audit::note(control, actor, &format!("privacy.{}", kind.as_str()), &account.id, json!({ "request": request.id, "channel": channel }))
        .await;
    if kind == Kind::Deletion {
        control.accounts.changed(&account.locator).await;
    }
    control.mailer.nudge();
    if request.status == Status::Scheduled && request.due_at <= control.clock.now() {
        // What fails here is noted in the request, and tried again by the jobs.
        if let Err(error) = jobs::run(&control.privacy.jobs, &request.id).await {
            tracing::warn!(privacy.request = %request.id, error = %error, "a privacy request could not begin; its next try is scheduled");
        }
    }
    let now = store::privacy::get(&control.db, &request.id).await?;
    now.ok_or_else(|| ControlError::Internal(format!("the privacy request {} is gone", request.id)))
}

/// What concerns the person is for the person alone.
fn own(owner: &Owner) -> Result<(), ControlError> {
    if owner.person_id == owner.account.id {
        return Ok(());
    }
    Err(ControlError::Conflict("this is about your own account; leave out x-pixgate-account".to_owned()))
}

/// Closes the caller's account now, and deletes it when the cooling-off is over.
pub async fn delete_me(control: &Control, visitor: &Visitor, owner: &Owner, proof: &Proof) -> Result<Request, ControlError> {
    own(owner)?;
    identity::confirm(control, visitor, &owner.account, proof).await?;
    place(control, &owner.actor, &owner.account, (Kind::Deletion, "session"), String::new()).await
}

/// Makes an archive of everything that is held about the caller.
pub async fn export_me(control: &Control, visitor: &Visitor, owner: &Owner, proof: &Proof) -> Result<Request, ControlError> {
    own(owner)?;
    identity::confirm(control, visitor, &owner.account, proof).await?;
    place(control, &owner.actor, &owner.account, (Kind::Export, "session"), String::new()).await
}

pub async fn of_account(control: &Control, account_id: &str, page: &PageRequest) -> Result<Page<Request>, ControlError> {
    let requests = store::privacy::list(&control.db, Some(account_id), None, page.after(), page.rows()).await?;
    Ok(Page::cut(requests, page, |request| request.id.clone()))
}

/// The newest archive of an account that can still be had.
pub async fn archive(control: &Control, account_id: &str) -> Result<Bytes, ControlError> {
    let requests = store::privacy::list(&control.db, Some(account_id), Some(Status::Done), None, 100).await?;
    let request = requests.into_iter().find(|request| request.kind == Kind::Export && request.blob.is_some());
    content(control, request).await
}

/// The archive that a mailed link stands for. The link works once.
pub async fn archive_by_token(control: &Control, token: &str) -> Result<Bytes, ControlError> {
    let used = store::privacy::consume(&control.db, Purpose::Download, &digest(control, token), control.clock.now()).await?;
    let used = used.ok_or(Refusal::LinkSpent("ask for your data once more"))?;
    let request = store::privacy::get(&control.db, used.data["request_id"].as_str().unwrap_or_default()).await?;
    content(control, request).await
}

async fn content(control: &Control, request: Option<Request>) -> Result<Bytes, ControlError> {
    let none = || ControlError::NotFound("an archive that can be downloaded".to_owned());
    let now = control.clock.now();
    let request = request.filter(|request| request.expires_at.is_some_and(|until| until > now)).ok_or_else(none)?;
    let key = request.blob.as_deref().and_then(BlobKey::parse).ok_or_else(none)?;
    blobs::get(&control.blobs, &key).await?.ok_or_else(none)
}

/// What somebody who is not signed in asks for.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMailRequest {
    pub email: String,
    pub kind: Kind,
}

/// Mails a link that confirms the request. An unknown address gets nothing.
pub async fn ask_by_mail(control: &Control, visitor: &Visitor, new: &NewMailRequest) -> Result<(), ControlError> {
    let email = accounts::normal_email(&new.email)?;
    guard_mail(control, visitor, &email)?;
    let account = store::accounts::by_email(&control.db, &email).await?;
    match account.filter(|account| account.status != AccountStatus::Closed) {
        Some(account) => ask_confirmation(control, &account, new.kind).await,
        None => {
            // As much work as for an address that is known.
            let (row, mail) = confirmation(control, None, &email, Locale::default(), new.kind);
            Ok(store::people::pretend_to_send(&control.db, &control.sealer, &row, &mail).await?)
        }
    }
}

pub(super) async fn ask_confirmation(control: &Control, account: &Account, kind: Kind) -> Result<(), ControlError> {
    let (row, mail) = confirmation(control, Some(&account.id), &account.email, Locale::of(&account.locale), kind);
    store::people::send_token(&control.db, &control.sealer, &row, &mail).await?;
    control.mailer.nudge();
    Ok(())
}

/// A link that confirms a request, and the mail that carries it.
fn confirmation(control: &Control, account_id: Option<&str>, email: &str, locale: Locale, kind: Kind) -> (NewToken, NewMail) {
    let token = api_key::base62(TOKEN_LENGTH, fill_random);
    let now = control.clock.now();
    let row = NewToken {
        id: control.clock.new_id("mtk"),
        account_id: account_id.map(str::to_owned),
        email: email.to_owned(),
        purpose: Purpose::PrivacyRequest,
        digest: digest(control, &token),
        data: json!({ "asks": kind.as_str() }),
        expires_at: now + CONFIRM_LIFE,
        created_at: now,
    };
    let link = control.site.link(&format!("/privacy/confirm?token={token}"));
    let message = Message::PrivacyRequest { request: kind.as_str().to_owned(), link };
    (row, mail::to_address(control, account_id, email, locale, message))
}

/// A request whose link was opened.
pub struct ConfirmedRequest(pub Request);

/// Does what was asked for by mail: whoever has the link has the mailbox, which is what proves the person here.
pub async fn confirm(control: &Control, token: &str) -> Result<ConfirmedRequest, ControlError> {
    let spent = Refusal::LinkSpent("send the request once more");
    let used = store::privacy::consume(&control.db, Purpose::PrivacyRequest, &digest(control, token), control.clock.now()).await?;
    let used = used.ok_or(spent.clone())?;
    let kind = serde_json::from_value::<Kind>(used.data["asks"].clone()).map_err(|_| spent.clone())?;
    let account = accounts::get(control, used.account_id.as_deref().unwrap_or_default()).await?;
    if account.email != used.email || account.status == AccountStatus::Closed {
        return Err(spent.into());
    }
    let actor = Actor { id: account.id.clone() };
    place(control, &actor, &account, (kind, "mail"), String::new()).await.map(ConfirmedRequest)
}

/// Keeps an account that was to be deleted, by the link of its mail.
pub async fn cancel(control: &Control, token: &str) -> Result<Account, ControlError> {
    let spent = Refusal::LinkSpent("the deletion may have begun");
    let now = control.clock.now();
    let used = store::privacy::consume(&control.db, Purpose::KeepAccount, &digest(control, token), now).await?;
    let used = used.ok_or(spent.clone())?;
    let id = used.data["cancels"].as_str().ok_or(spent.clone())?;
    let account = store::privacy::cancel_deletion(&control.db, id, now).await?.ok_or(spent)?;
    control.accounts.changed(&account.locator).await;
    audit::note(control, &Actor { id: account.id.clone() }, "privacy.deletion_canceled", &account.id, json!({ "request": id })).await;
    Ok(account)
}
