//! Work that time makes necessary: leases of nodes that died, grants that expired, idempotency records, kept requests, kept and
//! cached answers that are old, mails and screening hits that are old, files that expired, blobs that no row names, tickets that nobody goes on with or that were
//! closed long ago, details of old calls, news of policies.
//!
//! Owns: nothing but its schedule. When the store is away: tries again at its next turn.

use std::{sync::Arc, time::Duration};

use futures_util::TryStreamExt;

use super::{
    announcements::Announcer,
    journal::NodeStanding,
    supervision::{ActorTree, Ctx, Handle, Service, ServiceContext, Spec, Vitals, spawn},
};
use crate::{
    blobs::{BlobError, Blobs},
    clock::Clock,
    domain::{
        SECOND, Timestamp,
        blob::{BlobArea, BlobKey},
    },
    store::{self, Db, StoreError},
};

const MAILBOX: usize = 16;
/// Rows treated in one turn of one kind of work.
const BATCH_MAX: u64 = 1_000;
/// Tickets deleted in one turn, each with up to some dozens of blobs.
const TICKETS_MAX: u64 = 100;
/// All blobs are looked through this often.
const ORPHANS_EVERY: Timestamp = 3_600 * SECOND;
/// A blob is written before its row; a younger one may still get its row.
const ORPHAN_AGE_MIN: Timestamp = 3_600 * SECOND;
/// Names of blobs that are looked up at once.
const NAMES_MAX: usize = 500;

#[derive(Clone)]
pub struct Parts {
    pub db: Db,
    pub blobs: Blobs,
    pub clock: Clock,
    pub standing: Arc<NodeStanding>,
    pub interval: Duration,
    /// Microseconds without a change after which tickets that wait for nobody of the staff are closed.
    pub close_tickets_after: Option<Timestamp>,
    /// How long the security log is kept, in microseconds.
    pub security_log: Timestamp,
    /// For which mails are kept once nothing is to be done for them.
    pub mail_retention: Duration,
    pub announcer: Announcer,
    /// How long hits of screening rules are kept.
    pub screening_retention: Duration,
    /// Microseconds after which usage records lose their details, and after their end closed tickets go; `None` keeps them.
    pub usage_life: Option<Timestamp>,
    pub ticket_life: Option<Timestamp>,
}

pub struct Sweeper {
    parts: Parts,
    sweeping: bool,
    swept: u64,
    /// When all blobs were looked through last.
    orphans_at: Timestamp,
    /// The last account that was told of the policy that is being announced.
    told: Option<String>,
}

/// Starts the sweeper on the current thread.
pub fn start(tree: &ActorTree, parts: Parts, parent: &Arc<Vitals>) -> Handle<Sweeper> {
    let factory = move || Sweeper { parts: parts.clone(), sweeping: false, swept: 0, orphans_at: parts.clock.now(), told: None };
    spawn(tree, Spec::new("sweeper", MAILBOX, factory).under(parent))
}

impl Service for Sweeper {
    const KIND: &'static str = "sweeper";

    fn started(&mut self, ctx: &mut Ctx<Self>) {
        ctx.every(self.parts.interval, |sweeper, ctx| {
            if sweeper.sweeping {
                return;
            }
            sweeper.sweeping = true;
            let parts = sweeper.parts.clone();
            let now = parts.clock.now();
            let looks_for_orphans = now - sweeper.orphans_at >= ORPHANS_EVERY;
            if looks_for_orphans {
                sweeper.orphans_at = now;
            }
            let told = sweeper.told.take();
            let work = async move {
                sweep(&parts).await?;
                let told = parts.announcer.announce(&parts.db, &parts.clock, told).await?;
                if looks_for_orphans {
                    sweep_orphans(&parts, now).await?;
                }
                Ok::<_, SweepError>(told)
            };
            ctx.run(work, |sweeper, outcome, _| {
                sweeper.sweeping = false;
                sweeper.swept += 1;
                match outcome {
                    Ok(told) => sweeper.told = told,
                    Err(error) => tracing::warn!(error = %error, "sweep was cut short; the next one goes on"),
                }
            });
        });
    }

    fn observe(&self) -> serde_json::Value {
        serde_json::json!({ "sweeps": self.swept })
    }
}

#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

async fn sweep(parts: &Parts) -> Result<(), SweepError> {
    let now = parts.clock.now();
    let own = parts.standing.node_id();
    for node_id in store::nodes::expired_nodes(&parts.db, now).await? {
        if node_id == *own {
            continue;
        }
        let reclaimed = store::ledger::fence(&parts.db, &node_id, now).await?;
        tracing::warn!(node.id = %node_id, leases = reclaimed.leases, unknown_calls = reclaimed.unknown_calls, "reclaimed the leases of a node that died");
    }
    let expired = store::ledger::expire_grants(&parts.db, now, BATCH_MAX).await?;
    let forgotten = store::idempotency::delete_expired(&parts.db, now, BATCH_MAX).await?;
    let responses = store::responses::delete_expired(&parts.db, now, BATCH_MAX).await?;
    let contents = store::contents::delete_expired(&parts.db, now, BATCH_MAX).await?;
    let uncached = store::cache::delete_expired(&parts.db, now, BATCH_MAX).await?;
    let signed_out = store::sessions::delete_expired(&parts.db, now).await?;
    let tokens = store::mail_tokens::delete_expired(&parts.db, now).await? + store::identities::delete_expired(&parts.db, now).await?;
    let forgotten_events = store::security::delete_before(&parts.db, now - parts.security_log).await?;
    let retention = Timestamp::try_from(parts.mail_retention.as_micros()).unwrap_or(Timestamp::MAX);
    let mails = store::outbox::delete_old(&parts.db, now.saturating_sub(retention), BATCH_MAX).await?;
    let retention = i64::try_from(parts.screening_retention.as_micros()).unwrap_or(i64::MAX);
    let unscreened = store::screening::delete_hits(&parts.db, now.saturating_sub(retention), BATCH_MAX).await?;
    let files = forget_files(parts, now).await?;
    let forgotten_tickets = forget_tickets(parts, now).await?;
    let stripped = match parts.usage_life {
        Some(life) => store::retention::strip_usage(&parts.db, now - life, BATCH_MAX).await?,
        None => 0,
    };
    let tickets = match parts.close_tickets_after {
        Some(age) => store::tickets::close_idle(&parts.db, now - age, now, BATCH_MAX).await?,
        None => 0,
    };
    let swept = [
        ("idempotency", forgotten),
        ("stored_responses", responses),
        ("request_contents", contents),
        ("cached_answers", uncached),
        ("sessions", signed_out),
        ("mail_tokens", tokens),
        ("security_log", forgotten_events),
        ("mails", mails),
        ("screening_hits", unscreened),
        ("files", files),
        ("tickets", forgotten_tickets),
        ("usage", stripped),
    ];
    store::retention::note(&parts.db, now, &swept).await?;
    if tickets + expired + swept.iter().map(|(_, rows)| rows).sum::<u64>() > 0 {
        tracing::info!(
            grants_expired = expired,
            idempotency_records_deleted = forgotten,
            responses_deleted = responses,
            request_contents_deleted = contents,
            cached_answers_deleted = uncached,
            sessions_deleted = signed_out,
            mail_tokens_deleted = tokens,
            security_events_deleted = forgotten_events,
            files_deleted = files,
            tickets_closed = tickets,
            tickets_deleted = forgotten_tickets,
            usage_records_stripped = stripped,
            mails_deleted = mails,
            screening_hits_deleted = unscreened,
            "swept"
        );
    }
    Ok(())
}

/// Deletes tickets that were closed long ago: their rows, then their blobs. A blob that stays is an orphan from now on.
async fn forget_tickets(parts: &Parts, now: Timestamp) -> Result<u64, SweepError> {
    let Some(life) = parts.ticket_life else { return Ok(0) };
    let (tickets, blobs) = store::tickets::delete_closed(&parts.db, now - life, TICKETS_MAX).await?;
    for key in blobs.iter().filter_map(|blob| BlobKey::parse(blob)) {
        parts.blobs.delete(&key).await?;
    }
    Ok(tickets)
}

/// Deletes files that expired: their rows, then their blobs. A blob that stays is an orphan from now on.
async fn forget_files(parts: &Parts, now: Timestamp) -> Result<u64, SweepError> {
    let blobs = store::files::delete_expired(&parts.db, now, BATCH_MAX).await?;
    for key in blobs.iter().filter_map(|blob| BlobKey::parse(blob)) {
        parts.blobs.delete(&key).await?;
    }
    Ok(blobs.len() as u64)
}

/// Deletes blobs that no row names: of uploads that were cut short, and of rows whose blob could not be deleted with them.
async fn sweep_orphans(parts: &Parts, now: Timestamp) -> Result<(), SweepError> {
    let mut deleted = 0u64;
    let mut batches = parts.blobs.list(None).try_ready_chunks(NAMES_MAX);
    while let Some(keys) = batches.try_next().await.map_err(|error| error.1)? {
        let old = |key: &BlobKey| key.made_at().is_some_and(|made_at| now - made_at >= ORPHAN_AGE_MIN);
        // Only of areas whose rows are known here: of the others nobody can say that nothing names them.
        let keys: Vec<BlobKey> = keys.into_iter().filter(|key| is_swept(key.area()) && old(key)).collect();
        if keys.is_empty() {
            continue;
        }
        let names: Vec<String> = keys.iter().map(|key| key.as_str().to_owned()).collect();
        let mut named = store::files::named_blobs(&parts.db, &names).await?;
        named.extend(store::tickets::attachments::named_blobs(&parts.db, &names).await?);
        named.extend(store::accounts::named_blobs(&parts.db, &names).await?);
        for key in keys.iter().filter(|key| !named.contains(key.as_str())) {
            parts.blobs.delete(key).await?;
            deleted += 1;
        }
    }
    if deleted > 0 {
        tracing::warn!(blobs_deleted = deleted, "swept blobs that no row names");
    }
    Ok(())
}

fn is_swept(area: Option<BlobArea>) -> bool {
    matches!(area, Some(BlobArea::Files | BlobArea::Attachments | BlobArea::Images))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        actors::blobs,
        config::BlobSettings,
        domain::{account::AccountStatus, quota::Limits, seal::Sealer},
        store::{
            files::{Allowance, File},
            security::SecurityEvent,
        },
    };

    const START: Timestamp = 1_800_000_000_000_000;
    const ACCOUNT: &str = "acc_1";

    /// Writes a blob of this age, with or without its row.
    async fn put(parts: &Parts, area: BlobArea, row: Option<Option<Timestamp>>) -> BlobKey {
        let id = parts.clock.new_id("file");
        let key = BlobKey::new(ACCOUNT, area, &id).unwrap();
        blobs::put(&parts.blobs, &key, Bytes::from_static(b"x")).await.unwrap();
        if let Some(expires_at) = row {
            let now = parts.clock.now();
            let file = File {
                id,
                account_id: ACCOUNT.to_owned(),
                purpose: "user_data".to_owned(),
                filename: "a".to_owned(),
                mime: "text/plain".to_owned(),
                bytes: 1,
                sha256: String::new(),
                blob: key.as_str().to_owned(),
                created_at: now,
                expires_at,
            };
            let allowance = Allowance { files_max: 10, bytes_max: 10 };
            assert_eq!(store::files::insert(&parts.db, &file, allowance, now).await, Ok(None));
        }
        key
    }

    async fn note(parts: &Parts) {
        let event = SecurityEvent {
            id: parts.clock.new_id("sev"),
            account_id: Some(ACCOUNT.to_owned()),
            event: "sign_in".to_owned(),
            ip: Some("127.0.0.1".to_owned()),
            user_agent: None,
            created_at: parts.clock.now(),
        };
        store::security::append(&parts.db, &event).await.unwrap();
    }

    #[tokio::test]
    async fn expired_files_and_orphans_go_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual(START);
        let options = store::Options {
            url: format!("sqlite://{}/x.db", dir.path().display()),
            durability: store::Durability::Process,
            max_connections: 2,
            busy_timeout_ms: 1_000,
            acquire_timeout_ms: 1_000,
        };
        let db = Db::open(&options).await.unwrap();
        db.migrate().await.unwrap();
        let account = store::accounts::NewAccount {
            id: ACCOUNT.to_owned(),
            locator: "l".to_owned(),
            email: "e@example.com".to_owned(),
            name: String::new(),
            status: AccountStatus::Active,
            verified_at: None,
            limits: Limits::default(),
            plan_id: None,
            is_operator: false,
            locale: "en".to_owned(),
            created_at: START,
        };
        store::accounts::create(&db, account).await.unwrap();
        let parts = Parts {
            db,
            blobs: Blobs::open(&BlobSettings::default(), dir.path(), Sealer::new(&[7; 32]).unwrap()).unwrap(),
            clock,
            standing: Arc::new(NodeStanding::new("node_1".to_owned(), Timestamp::MAX)),
            interval: Duration::from_secs(1),
            close_tickets_after: None,
            security_log: 1_800 * SECOND,
            mail_retention: Duration::from_secs(86_400),
            announcer: Announcer { sealer: store::seal::Sealer::new(&[7; 32]).unwrap(), public_url: "http://127.0.0.1".into() },
            screening_retention: Duration::from_secs(86_400),
            usage_life: None,
            ticket_life: None,
        };
        note(&parts).await;
        let kept = put(&parts, BlobArea::Files, Some(None)).await;
        let expired = put(&parts, BlobArea::Files, Some(Some(START + 60 * SECOND))).await;
        let orphan = put(&parts, BlobArea::Files, None).await;
        let unknown = put(&parts, BlobArea::Exports, None).await;
        let attachment = put(&parts, BlobArea::Attachments, None).await;
        let image = put(&parts, BlobArea::Images, None).await;
        hand.advance(Duration::from_secs(3_600));
        let young = put(&parts, BlobArea::Files, None).await;
        let there = async |key: &BlobKey| parts.blobs.exists(key).await.unwrap();

        let now = parts.clock.now();
        assert_eq!(forget_files(&parts, now).await.unwrap(), 1);
        assert!(!there(&expired).await && there(&kept).await && there(&orphan).await);
        sweep_orphans(&parts, now).await.unwrap();
        assert!(!there(&orphan).await && !there(&attachment).await && !there(&image).await, "uploads that were cut short");
        assert!(there(&kept).await && there(&young).await && there(&unknown).await);
        note(&parts).await;
        sweep(&parts).await.unwrap();
        let left = store::security::list(&parts.db, ACCOUNT, None, 10).await.unwrap();
        assert_eq!(left.iter().map(|event| event.created_at).collect::<Vec<_>>(), [now], "the security log forgets");
    }
}
