//! Exports and deletions of everything that is held about an account.
//!
//! Owns: nothing but its schedule; requests are durable rows, claimed for a time, so that another turn or node goes on where one died.
//! When the store is away: tries again at its next turn. Absent on purpose: who may ask for what (see `control::privacy`), which data
//! is personal (see `domain::privacy::register`).

mod archive;

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::{
    blobs,
    contents::ContentsClient,
    directory::Accounts,
    journal::JournalClient,
    mailer::MailerClient,
    supervision::{ActorTree, Ctx, Handle, Service, ServiceContext, Spec, Vitals, spawn},
};
use crate::{
    blobs::{BlobError, Blobs},
    clock::{Clock, fill_random},
    domain::{
        SECOND, Timestamp,
        account::Account,
        api_key,
        blob::{BlobArea, BlobKey},
        key_hash::KeyHasher,
        mail::{Locale, Message},
        privacy::{Kind, register::TABLES, signature::RecordSigner},
    },
    store::{
        self, Db, StoreError,
        mail_tokens::{NewToken, Purpose},
        outbox::NewMail,
        privacy::Request,
        seal::Sealer,
    },
};

const MAILBOX: usize = 16;
/// How often requests are looked for whose time has come.
pub const INTERVAL: Duration = Duration::from_secs(15);
const BATCH_MAX: u64 = 20;
/// For which a worker has a request to itself. A dead one's is taken over then, or when its node starts again.
const CLAIM: Timestamp = 600 * SECOND;
/// Before a failed request is tried again, times the tries so far.
const PAUSE: Timestamp = 60 * SECOND;
const TRIES_PAUSED_MAX: i32 = 60;
const BARRIER_DEADLINE: Duration = Duration::from_secs(5);
/// 256 bits in base62.
const TOKEN_LENGTH: usize = 43;

#[derive(Clone)]
pub struct Parts {
    pub db: Db,
    /// Stays the same over restarts of this node.
    pub node_name: Arc<str>,
    pub blobs: Blobs,
    pub sealer: Sealer,
    pub hasher: KeyHasher,
    pub clock: Clock,
    pub accounts: Accounts,
    pub journal: JournalClient,
    pub contents: ContentsClient,
    pub mailer: MailerClient,
    pub signer: RecordSigner,
    /// Base of links, without a slash at its end.
    pub public_url: Arc<str>,
    /// How long archives of exports are kept, in microseconds.
    pub archive_life: Timestamp,
    /// How long the audit trail is kept; without it, for ever.
    pub audit_life: Option<Timestamp>,
}

#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Blobs(#[from] BlobError),
    #[error("the archive could not be made: {0}")]
    Archive(String),
    #[error("earlier calls of the account are not written yet")]
    NotFlushed,
}

pub struct PrivacyJobs {
    parts: Parts,
    at_work: bool,
    turns: u64,
}

/// Starts the jobs on the current thread.
pub fn start(tree: &ActorTree, parts: Parts, parent: &Arc<Vitals>) -> Handle<PrivacyJobs> {
    let factory = move || PrivacyJobs { parts: parts.clone(), at_work: false, turns: 0 };
    spawn(tree, Spec::new("privacy", MAILBOX, factory).under(parent))
}

impl Service for PrivacyJobs {
    const KIND: &'static str = "privacy";

    fn started(&mut self, ctx: &mut Ctx<Self>) {
        self.look(ctx);
        ctx.every(INTERVAL, Self::look);
    }

    fn observe(&self) -> serde_json::Value {
        json!({ "turns": self.turns, "at_work": self.at_work })
    }
}

impl PrivacyJobs {
    fn look(&mut self, ctx: &mut Ctx<Self>) {
        if self.at_work {
            return;
        }
        self.at_work = true;
        let parts = self.parts.clone();
        ctx.run(async move { turn(&parts).await }, |jobs, outcome: Result<(), JobError>, _| {
            jobs.at_work = false;
            jobs.turns += 1;
            if let Err(error) = outcome {
                tracing::warn!(error = %error, "privacy requests could not be looked for; the next turn tries again");
            }
        });
    }
}

async fn turn(parts: &Parts) -> Result<(), JobError> {
    let now = parts.clock.now();
    for id in store::privacy::due(&parts.db, now, BATCH_MAX).await? {
        run(parts, &id).await?;
    }
    let archives = store::privacy::expired_archives(&parts.db, now, BATCH_MAX).await?;
    let forgotten = archives.len() as u64;
    for (id, blob) in archives {
        if let Some(key) = BlobKey::parse(&blob) {
            parts.blobs.delete(&key).await?;
        }
        store::privacy::forget_archive(&parts.db, &id).await?;
    }
    store::privacy::forget_farewells(&parts.db).await?;
    let entries = match parts.audit_life {
        Some(life) => store::audit::delete_before(&parts.db, now - life).await?,
        None => 0,
    };
    store::retention::note(&parts.db, now, &[("exports", forgotten), ("audit", entries)]).await?;
    Ok(())
}

/// Works on a request whose time has come, unless another worker does. What goes wrong is noted in it and tried again later.
pub async fn run(parts: &Parts, id: &str) -> Result<(), JobError> {
    let now = parts.clock.now();
    let Some(mut request) = store::privacy::claim(&parts.db, id, &parts.node_name, now, now + CLAIM).await? else { return Ok(()) };
    let Some(account) = store::accounts::get(&parts.db, &request.account_id).await? else {
        return Err(StoreError::NotFound(format!("account {}", request.account_id)).into());
    };
    let outcome = match request.kind {
        Kind::Export => export(parts, &mut request, &account).await,
        Kind::Deletion => delete(parts, &mut request, &account).await,
        Kind::Correction | Kind::Restriction | Kind::Objection => Ok(()),
    };
    if let Err(error) = &outcome {
        tracing::error!(privacy.request = %id, error = %error, "a privacy request failed; it is tried again");
        let pause = PAUSE * i64::from(request.attempts.clamp(1, TRIES_PAUSED_MAX));
        store::privacy::failed(&parts.db, id, &error.to_string(), now + pause).await?;
    }
    parts.mailer.nudge();
    Ok(())
}

async fn export(parts: &Parts, request: &mut Request, account: &Account) -> Result<(), JobError> {
    flush(parts).await?;
    let (content, counts) = archive::build(parts, account).await?;
    let now = parts.clock.now();
    let key = BlobKey::new(&account.id, BlobArea::Exports, &parts.clock.new_id("exp"));
    let key = key.ok_or_else(|| JobError::Archive(format!("{} makes no name for a blob", account.id)))?;
    request.bytes = i64::try_from(content.len()).ok();
    blobs::put(&parts.blobs, &key, content).await?;
    let expires_at = now + parts.archive_life;
    request.blob = Some(key.as_str().to_owned());
    request.expires_at = Some(expires_at);
    request.completed_at = Some(now);
    request.progress = counts;
    let token = api_key::base62(TOKEN_LENGTH, fill_random);
    let row = NewToken {
        id: parts.clock.new_id("mtk"),
        account_id: Some(account.id.clone()),
        email: account.email.clone(),
        purpose: Purpose::Download,
        digest: parts.hasher.digest(&token),
        data: json!({ "request_id": request.id }),
        expires_at,
        created_at: now,
    };
    let link = format!("{}/privacy/download?token={token}", parts.public_url);
    let mail = mail(parts, Some(&account.id), account, Message::ExportReady { link, expires_at });
    if !store::privacy::finish_export(&parts.db, &parts.sealer, request, &row, &mail).await? {
        parts.blobs.delete(&key).await?;
    }
    Ok(())
}

async fn delete(parts: &Parts, request: &mut Request, account: &Account) -> Result<(), JobError> {
    // The account is closed since it was asked for; its actor must know, and what it has in hand must be written.
    parts.accounts.changed(&account.locator).await;
    flush(parts).await?;
    let owned = TABLES.iter().filter(|table| table.owned.is_some());
    let Some((last, before)) = owned.collect::<Vec<_>>().split_last().map(|(last, before)| (*last, before.to_vec())) else {
        return Ok(());
    };
    for table in before {
        store::privacy::erase_table(&parts.db, request, table, account).await?;
    }
    // After their rows, so that no row names a blob that is gone.
    let blobs = parts.blobs.count_account(&account.id).await?;
    store::privacy::note_blobs(&parts.db, request, blobs).await?;
    parts.blobs.delete_account(&account.id).await?;
    let completed_at = parts.clock.now();
    let record_id = request.id.clone();
    let mail = mail(parts, None, account, Message::DeletionDone { completed_at, record: record_id });
    let sign = |request: &Request| {
        let record = json!({
            "version": 1,
            "request_id": request.id,
            "account_id": request.account_id,
            "requested_at_micros": request.created_at,
            "due_at_micros": request.due_at,
            "completed_at_micros": completed_at,
            "tables": request.progress,
        });
        let text = record.to_string();
        let signature = parts.signer.sign(&text);
        (text, signature)
    };
    store::privacy::finish_deletion(&parts.db, &parts.sealer, request, (last, account), sign, &mail).await?;
    parts.accounts.changed(&account.locator).await;
    Ok(())
}

async fn flush(parts: &Parts) -> Result<(), JobError> {
    let is_written = parts.journal.barrier(BARRIER_DEADLINE).await && parts.contents.flush().await;
    if is_written { Ok(()) } else { Err(JobError::NotFlushed) }
}

fn mail(parts: &Parts, account_id: Option<&str>, account: &Account, message: Message) -> NewMail {
    NewMail {
        id: parts.clock.new_id("mail"),
        account_id: account_id.map(str::to_owned),
        recipient: account.email.clone(),
        locale: Locale::of(&account.locale),
        message,
        created_at: parts.clock.now(),
    }
}
