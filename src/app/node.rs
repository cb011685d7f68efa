//! The parts of a node and how they hang together.

use std::{sync::Arc, time::Duration};

use crate::{
    actors::{
        account,
        announcements::Announcer,
        catalog,
        catalog::CatalogClient,
        contents::{self, ContentsClient},
        directory::{self, Accounts},
        journal::{self, Journal, JournalClient, NodeStanding, Spool},
        legacy_keys::{self, LegacyKeysClient},
        mailer::{self, MailerClient},
        places::Places,
        privacy as privacy_jobs,
        screening::{self, ScreeningClient},
        supervision::{ActorTree, Handle, Service, Spec, Vitals, spawn},
        sweeper,
    },
    app::StartError,
    blobs::Blobs,
    clock::Clock,
    config::{Durability, OnOverrun, Settings, secrets, settings::SignUp},
    control::{
        Control, NodeFacts, Site,
        files::FilePolicy,
        leaks::LeakDesk,
        passwords::Passwords,
        people::{Guard, GuardRules, People, PeoplePolicy},
        privacy::{Privacy, Retention},
        tickets::TicketPolicy,
    },
    domain::{
        SECOND, Timestamp, catalog::Upstream, key_hash::KeyHasher, privacy::signature::RecordSigner, quota::Limits, route::BreakerPolicy,
    },
    identity::IdentityProviders,
    mail::smtp::Smtp,
    pipeline::{self, CachePolicy, ContentPolicy, Drain, Pipeline, ScreeningPolicy, realtime::RealtimePolicy},
    store::{self, Db, StoreError, seal::Sealer},
    telemetry::metrics::{ActorSample, Metrics},
    upstream::Connector,
};

const JOURNAL_MAILBOX: usize = 16_384;
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// Of mailed links, invitations live longest.
const MAIL_TOKEN_DAYS: u64 = 7;

/// What a process does with the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Takes over from a former run, leases and serves.
    Serve,
    /// A command that may run beside a node.
    Maintain,
}

/// The top of the actor tree; owns nothing.
struct Root;

impl Service for Root {
    const KIND: &'static str = "node";
}

/// Everything that lives once per node. Worker threads make their own pipelines and directories from it.
pub struct Node {
    pub parts: Shared,
    root: Handle<Root>,
    journal_actor: Handle<Journal>,
    role: Role,
}

/// What every thread may have a clone of.
#[derive(Clone)]
pub struct Shared {
    pub db: Db,
    pub clock: Clock,
    pub metrics: Metrics,
    pub tree: ActorTree,
    pub accounts: Accounts,
    pub catalog: CatalogClient,
    pub journal: JournalClient,
    pub screening: ScreeningClient,
    pub contents: ContentsClient,
    large_counts: Arc<Places>,
    pub standing: Arc<NodeStanding>,
    pub drain: Drain,
    pub sealer: Sealer,
    pub blobs: Blobs,
    pub hasher: KeyHasher,
    pub legacy_tools: legacy_keys::Tools,
    pub leaks: LeakDesk,
    /// Of a node that serves.
    pub legacy_keys: Option<LegacyKeysClient>,
    pub account_policy: account::Policy,
    pub call_policy: pipeline::Policy,
    pub unknown_key_ttl: Duration,
    pub accounts_max_per_shard: usize,
    pub root: Arc<Vitals>,
    pub facts: NodeFacts,
    pub files: FilePolicy,
    pub tickets: TicketPolicy,
    pub site: Site,
    pub people: People,
    pub mailer: MailerClient,
    pub privacy: Privacy,
}

impl Node {
    /// With `role` [`Role::Maintain`] nothing of a node that runs on the same database is touched.
    pub async fn build(settings: &Settings, clock: Clock, role: Role) -> Result<Self, StartError> {
        let secrets = secrets::load_or_create(&settings.server.data_dir, settings)?;
        let db = open_database(settings).await?;
        db.migrate().await?;
        if secrets.pepper_created && store::keys::any_hashed(&db).await? {
            return Err(StartError::Settings(format!(
                "the key pepper is missing from {} but the database holds API keys, which only verify under it; restore the file key_pepper or set security.key_pepper",
                settings.server.data_dir.display()
            )));
        }
        if secrets.sealing_key_created && holds_sealed(&db).await? {
            return Err(StartError::Settings(format!(
                "the sealing key is missing from {} but the database holds upstream keys, files, attachments or kept content, which only open with it; restore the file sealing_key or set security.upstream_key",
                settings.server.data_dir.display()
            )));
        }
        let standing = match role {
            Role::Serve => register(settings, &db, &clock, &secrets.node_name).await?,
            Role::Maintain => Arc::new(NodeStanding::new(clock.new_id("node"), 0)),
        };
        let metrics = Metrics::new();
        let tree = ActorTree::new(clock.clone());
        watch(&metrics, &tree);
        let root = spawn(&tree, Spec::new(secrets.node_name.clone(), 16, || Root));
        let spool = Arc::new(Spool::new(settings.ledger.queue_entries_max));
        let parts = journal::Parts {
            db: db.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            spool: spool.clone(),
            standing: standing.clone(),
            lease_ttl: Duration::from_secs(settings.ledger.lease_ttl_seconds),
            node_name: secrets.node_name.clone(),
        };
        let journal_actor = spawn(&tree, Spec::new("journal", JOURNAL_MAILBOX, move || Journal::new(parts.clone())).under(root.vitals()));
        let awaited = settings.ledger.durability != Durability::Relaxed;
        let commit_timeout = Duration::from_millis(settings.ledger.commit_timeout_ms());
        let journal = JournalClient::new(spool, journal_actor.clone(), standing.clone(), clock.clone(), awaited, commit_timeout);
        let sealer = Sealer::new(&secrets.sealing_key)?;
        let blobs = Blobs::open(&settings.blobs, &settings.server.data_dir, sealer.clone())?;
        let breaker = BreakerPolicy {
            failures_to_open: settings.upstream.breaker_failures,
            open_for_ms: settings.upstream.breaker_open_ms,
            ..BreakerPolicy::default()
        };
        let catalog_parts = catalog::Parts {
            db: db.clone(),
            sealer: sealer.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            tree: tree.clone(),
            connector: Connector::new(clock.clone()).map_err(StartError::Internal)?,
            breaker,
        };
        let catalog = catalog::start(catalog_parts, root.vitals());
        let screening_parts = screening::Parts { db: db.clone(), metrics: metrics.clone(), tree: tree.clone() };
        let screening = screening::start(screening_parts, root.vitals());
        let contents_parts = contents::Parts { db: db.clone(), sealer: sealer.clone(), metrics: metrics.clone(), tree: tree.clone() };
        let contents = contents::start(contents_parts, root.vitals());
        let interval = sweep_interval(settings);
        if role == Role::Serve {
            let parts = sweeper::Parts {
                db: db.clone(),
                blobs: blobs.clone(),
                clock: clock.clone(),
                standing: standing.clone(),
                interval,
                close_tickets_after: settings.tickets.close_after(),
                screening_retention: Duration::from_secs(settings.screening.hits_retention_days.saturating_mul(86_400)),
                mail_retention: Duration::from_secs(settings.mail.retention_days.saturating_mul(86_400)),
                security_log: days(settings.privacy.security_log_days),
                usage_life: (settings.privacy.usage_days > 0).then(|| days(settings.privacy.usage_days)),
                ticket_life: (settings.privacy.ticket_days > 0).then(|| days(settings.privacy.ticket_days)),
                announcer: Announcer { sealer: sealer.clone(), public_url: settings.public_url().into() },
            };
            sweeper::start(&tree, parts, root.vitals());
        }
        // A command that runs beside a node leaves its mails to that node, or to the next start.
        let mailer = match role {
            Role::Maintain => MailerClient::default(),
            Role::Serve => {
                let parts = mailer::Parts {
                    db: db.clone(),
                    sealer: sealer.clone(),
                    clock: clock.clone(),
                    metrics: metrics.clone(),
                    smtp: Smtp::of(&settings.mail).map_err(StartError::Settings)?,
                    public_url: settings.public_url().into(),
                    show: super::kept::show,
                };
                mailer::start(&tree, parts, root.vitals())
            }
        };
        let workers = workers(settings);
        let accounts = Accounts::new(workers);
        let former = secrets.former_peppers.iter().map(|pepper| (pepper.version, pepper.secret.as_slice()));
        let hasher = KeyHasher::with_former(secrets.pepper.version, &secrets.pepper.secret, former);
        let weak_days = Timestamp::from(settings.security.weak_key_days);
        let legacy_tools = legacy_keys::Tools {
            db: db.clone(),
            sealer: sealer.clone(),
            hasher: hasher.clone(),
            clock: clock.clone(),
            weak_key_life: (weak_days > 0).then_some(weak_days * 24 * 3_600 * SECOND),
        };
        let legacy_keys = (role == Role::Serve).then(|| {
            let parts = legacy_keys::Parts { tools: legacy_tools.clone(), accounts: accounts.clone() };
            legacy_keys::start(&tree, parts, root.vitals())
        });
        let privacy = Privacy {
            cooling_off: days(settings.privacy.deletion_cooling_off_days),
            retention: retention(settings),
            keep_content: settings.content.keep,
            jobs: privacy_jobs::Parts {
                db: db.clone(),
                node_name: secrets.node_name.as_str().into(),
                blobs: blobs.clone(),
                sealer: sealer.clone(),
                hasher: hasher.clone(),
                clock: clock.clone(),
                accounts: accounts.clone(),
                journal: journal.clone(),
                contents: contents.clone(),
                mailer: mailer.clone(),
                signer: RecordSigner::new(&secrets.sealing_key)
                    .ok_or_else(|| StartError::Settings("the sealing key makes no key for signatures".to_owned()))?,
                public_url: settings.public_url().into(),
                archive_life: days(settings.privacy.export_days),
                audit_life: (settings.privacy.audit_days > 0).then(|| days(settings.privacy.audit_days)),
            },
        };
        if role == Role::Serve {
            let resumed = store::privacy::release_claims(&db, &secrets.node_name, clock.now()).await?;
            if resumed > 0 {
                tracing::warn!(
                    requests = resumed,
                    "this node did not end in order last time; the privacy requests it worked on are taken up again"
                );
            }
            privacy_jobs::start(&tree, privacy.jobs.clone(), root.vitals());
        }
        let parts = Shared {
            accounts,
            legacy_tools,
            leaks: leak_desk(settings, &clock)?,
            legacy_keys,
            privacy,
            accounts_max_per_shard: settings.accounts.active_max.div_ceil(workers),
            unknown_key_ttl: Duration::from_secs(settings.accounts.unknown_key_ttl_seconds),
            account_policy: account_policy(settings),
            call_policy: call_policy(settings),
            hasher,
            root: root.vitals().clone(),
            drain: Drain::default(),
            facts: NodeFacts { started_at: clock.now(), durability: durability(settings) },
            people: people(settings, &clock)?,
            files: file_policy(settings),
            tickets: ticket_policy(settings),
            site: Site { public_url: settings.public_url().into() },
            mailer,
            db,
            clock,
            metrics,
            tree,
            catalog,
            journal,
            screening,
            contents,
            large_counts: Arc::new(Places::new(Some(half_of_the_cores()))),
            standing,
            sealer,
            blobs,
        };
        Ok(Self { parts, root, journal_actor, role })
    }

    pub fn control(&self) -> Result<Control, StartError> {
        self.parts.control()
    }

    /// The last steps of an orderly end: every capture is durable, every lease is given back.
    pub async fn close(&self) {
        let parts = &self.parts;
        if !parts.journal.barrier(STOP_DEADLINE).await {
            tracing::error!("captures could not be written before the end; their leases expire");
        }
        if !parts.screening.flush().await {
            tracing::error!("screening hits could not be written before the end and are lost");
        }
        if !parts.contents.flush().await {
            tracing::error!("the content of calls could not be written before the end and is lost");
        }
        let now = parts.clock.now();
        let signed_off = match self.role {
            Role::Serve => store::ledger::fence(&parts.db, &parts.standing.node_id(), now).await,
            Role::Maintain => Ok(store::ledger::Reclaimed::default()),
        };
        match signed_off {
            Ok(reclaimed) if reclaimed.leases > 0 => tracing::warn!(leases = reclaimed.leases, "leases were still open at the end"),
            Ok(_) => {}
            Err(error) => tracing::warn!(error = %error, "this node could not sign off; its leases expire"),
        }
        for stopped in [self.journal_actor.stop(STOP_DEADLINE).await, self.root.stop(STOP_DEADLINE).await] {
            if stopped.is_err() {
                tracing::warn!("an actor did not end in time");
            }
        }
        if let Err(error) = parts.db.clone().close().await {
            tracing::warn!(error = %error, "the database was not closed in order");
        }
    }
}

impl Shared {
    /// For use cases on the current thread.
    pub fn control(&self) -> Result<Control, StartError> {
        Ok(Control {
            db: self.db.clone(),
            clock: self.clock.clone(),
            accounts: self.accounts.clone(),
            catalog: self.catalog.clone(),
            journal: self.journal.clone(),
            screening: self.screening.clone(),
            contents: self.contents.clone(),
            tree: self.tree.clone(),
            sealer: self.sealer.clone(),
            blobs: self.blobs.clone(),
            hasher: self.hasher.clone(),
            legacy_tools: self.legacy_tools.clone(),
            leaks: self.leaks.clone(),
            node: self.facts,
            files: self.files,
            tickets: self.tickets.clone(),
            site: self.site.clone(),
            people: self.people.clone(),
            mailer: self.mailer.clone(),
            privacy: self.privacy.clone(),
            connector: Connector::new(self.clock.clone()).map_err(StartError::Internal)?,
        })
    }

    /// For paid calls on the current thread.
    pub fn pipeline(&self, connector: Connector) -> Pipeline {
        Pipeline {
            accounts: self.accounts.clone(),
            catalog: self.catalog.clone(),
            journal: self.journal.clone(),
            screening: self.screening.clone(),
            contents: self.contents.clone(),
            large_counts: self.large_counts.clone(),
            connector,
            db: self.db.clone(),
            sealer: self.sealer.clone(),
            blobs: self.blobs.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            drain: self.drain.clone(),
            policy: self.call_policy,
        }
    }

    /// Starts shard `index` of the accounts on the current thread.
    pub fn attach_directory(&self, index: usize) {
        let parts = directory::Parts {
            db: self.db.clone(),
            sealer: self.sealer.clone(),
            clock: self.clock.clone(),
            journal: self.journal.clone(),
            tree: self.tree.clone(),
            policy: self.account_policy,
            legacy_keys: self.legacy_keys.clone(),
            unknown_key_ttl: self.unknown_key_ttl,
            active_max: self.accounts_max_per_shard,
        };
        directory::attach(&self.accounts, index, parts, &self.root);
    }
}

pub fn workers(settings: &Settings) -> usize {
    match settings.server.workers {
        0 => std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
        workers => workers,
    }
}

/// Whether the database holds anything that only opens with the sealing key.
async fn holds_sealed(db: &Db) -> Result<bool, StoreError> {
    let catalog = store::catalog::load_all(db).await?;
    let sealed = |upstream: &Upstream| !upstream.sealed_api_key.is_empty() || !upstream.sealed_api_keys.is_empty();
    Ok(catalog.upstreams.iter().any(sealed)
        || store::provider_keys::exist(db).await?
        || store::files::exist(db).await?
        || store::contents::exist(db).await?
        || store::tickets::attachments::exist(db).await?)
}

/// What reports of leaked keys are checked with.
fn leak_desk(settings: &Settings, clock: &Clock) -> Result<LeakDesk, StartError> {
    let scanning = &settings.secret_scanning;
    let bad = |why: &dyn std::fmt::Display| StartError::Settings(format!("secret_scanning.public_keys_file: {why}"));
    let read = |path: &std::path::PathBuf| std::fs::read_to_string(path).map_err(|error| bad(&format!("{}: {error}", path.display())));
    let document = scanning.public_keys_file.as_ref().map(read).transpose()?;
    LeakDesk::new(clock.clone(), document.as_deref(), scanning.public_keys_url.clone()).map_err(|why| bad(&why))
}

pub async fn open_database(settings: &Settings) -> Result<Db, StartError> {
    let options = store::Options {
        url: settings.database_url()?.expose().to_owned(),
        durability: durability(settings),
        max_connections: settings.database.max_connections,
        busy_timeout_ms: settings.database.busy_timeout_ms,
        acquire_timeout_ms: settings.database.acquire_timeout_ms,
    };
    Ok(Db::open(&options).await?)
}

fn durability(settings: &Settings) -> store::Durability {
    match settings.ledger.durability {
        Durability::Power => store::Durability::Power,
        Durability::Process => store::Durability::Process,
        Durability::Relaxed => store::Durability::Relaxed,
    }
}

/// Takes over from a former run of this node, whose leases are void from now on, and registers the new one.
async fn register(settings: &Settings, db: &Db, clock: &Clock, name: &str) -> Result<Arc<NodeStanding>, StartError> {
    let now = clock.now();
    let id = clock.new_id("node");
    let ttl = Timestamp::try_from(settings.ledger.lease_ttl_seconds).unwrap_or(60).saturating_mul(SECOND);
    let reclaimed = store::ledger::fence_by_name(db, name, &id, now).await?;
    if reclaimed.leases > 0 || reclaimed.unknown_calls > 0 {
        tracing::warn!(
            leases = reclaimed.leases,
            unknown_calls = reclaimed.unknown_calls,
            "this node did not end in order last time; its leases were given back and its open calls are marked unknown"
        );
    }
    store::nodes::register(db, &id, name, now, now + ttl).await?;
    Ok(Arc::new(NodeStanding::new(id, now + ttl)))
}

fn watch(metrics: &Metrics, tree: &ActorTree) {
    let tree = tree.clone();
    metrics.watch_actors(move || {
        let totals = tree.totals().into_iter();
        totals
            .map(|(kind, totals)| ActorSample {
                kind,
                running: totals.actors as u64,
                mailbox_depth: totals.mailbox_depth as u64,
                restarts: totals.restarts,
                dead_letters: totals.dead_letters,
            })
            .collect()
    });
}

fn days(count: u64) -> Timestamp {
    Timestamp::try_from(count).unwrap_or(36_500).saturating_mul(86_400 * SECOND)
}

/// What is kept how long, as the settings say.
fn retention(settings: &Settings) -> Arc<[Retention]> {
    let micros = |interval: Duration| Timestamp::try_from(interval.as_micros()).ok();
    let swept = |class, setting, days| Retention { class, setting, days, every: micros(sweep_interval(settings)) };
    let by_jobs = |class, setting, days| Retention { class, setting, days, every: micros(privacy_jobs::INTERVAL) };
    let kept = |class, setting, days| Retention { class, setting, days, every: None };
    let idempotency_days = settings.idempotency.ttl_hours.div_ceil(24);
    let some = |days: u64| (days > 0).then_some(days);
    let (privacy, contents) = (&settings.privacy, settings.content.retention_days);
    [
        swept("security_log", "privacy.security_log_days", Some(privacy.security_log_days)),
        by_jobs("audit", "privacy.audit_days", some(privacy.audit_days)),
        by_jobs("exports", "privacy.export_days", Some(privacy.export_days)),
        kept("deletion_cooling_off", "privacy.deletion_cooling_off_days", Some(privacy.deletion_cooling_off_days)),
        swept("mails", "mail.retention_days", Some(settings.mail.retention_days)),
        swept("mail_tokens", "", Some(MAIL_TOKEN_DAYS)),
        swept("sessions", "accounts.session_days", Some(settings.accounts.session_days)),
        // Rows that were written before the keeping was turned off still end.
        swept("request_contents", "content.retention_days", Some(contents)),
        swept("stored_responses", "responses.retention_days", Some(settings.responses.retention_days)),
        swept("cached_answers", "cache.ttl_seconds", Some(settings.cache.ttl_seconds.div_ceil(86_400))),
        swept("idempotency", "idempotency.ttl_hours", Some(idempotency_days)),
        swept("screening_hits", "screening.hits_retention_days", Some(settings.screening.hits_retention_days)),
        swept("files", "files.retention_days", some(settings.files.retention_days)),
        swept("tickets", "privacy.ticket_days", some(privacy.ticket_days)),
        swept("usage", "privacy.usage_days", some(privacy.usage_days)),
        kept("ledger", "", None),
    ]
    .into()
}

/// How often the sweeper takes a turn: often enough that leases of dead nodes are taken back in time.
fn sweep_interval(settings: &Settings) -> Duration {
    Duration::from_secs((settings.ledger.lease_ttl_seconds / 4).clamp(1, 15))
}

fn half_of_the_cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores.div_ceil(2)).unwrap_or(u32::MAX)
}

fn people(settings: &Settings, clock: &Clock) -> Result<People, StartError> {
    let rules = GuardRules {
        requests_per_ip_minute: settings.abuse.requests_per_ip_minute,
        sign_ups_per_ip_day: settings.abuse.sign_ups_per_ip_day,
        failures_at_once: settings.abuse.password_tries,
        mails_per_address_hour: settings.abuse.mails_per_address_hour,
        keys_per_account_hour: settings.abuse.keys_per_account_hour,
    };
    let seconds = |count: u64, unit: u64| Timestamp::try_from(count.saturating_mul(unit)).unwrap_or(Timestamp::MAX / SECOND) * SECOND;
    let policy = PeoplePolicy {
        sign_up_open: settings.accounts.sign_up == SignUp::Open,
        block_disposable: settings.abuse.block_disposable_email,
        age_min_years: settings.security.min_age,
        session_life: seconds(settings.accounts.session_days, 86_400),
        session_idle: seconds(settings.accounts.session_idle_hours, 3_600),
    };
    let providers = IdentityProviders::new(&settings.oauth, &settings.public_url(), clock).map_err(StartError::Settings)?;
    Ok(People { passwords: Passwords::default(), guard: Guard::new(rules, clock), policy: Arc::new(policy), providers })
}

fn account_policy(settings: &Settings) -> account::Policy {
    let default_limits: Limits = settings.limits.account.limits();
    account::Policy {
        default_limits,
        require_verified_email: settings.security.require_verified_email,
        idle: Duration::from_secs(settings.accounts.idle_seconds),
        lease_horizon: Duration::from_secs(settings.ledger.lease_horizon_seconds),
        journal_holds_after: Duration::from_millis(settings.ledger.hold_journal_after_ms),
        // A duplicate that was sent while the call ran has arrived by then.
        idempotency_memory: Duration::from_secs(60),
        keep_content: settings.content.keep,
    }
}

fn file_policy(settings: &Settings) -> FilePolicy {
    let files = &settings.files;
    FilePolicy {
        bytes_max: files.bytes_max,
        allowance: store::files::Allowance { files_max: files.account_files_max, bytes_max: files.account_bytes_max },
        retention: files.retention(),
    }
}

fn ticket_policy(settings: &Settings) -> TicketPolicy {
    let tickets = &settings.tickets;
    let hourly = |max| store::tickets::Rate { max, window: 3_600 * SECOND };
    TicketPolicy {
        staff_email: tickets.staff_email.as_deref().map(Into::into),
        opened: hourly(tickets.per_account_hour),
        written: hourly(tickets.messages_per_account_hour),
        attachment_bytes_max: tickets.attachment_bytes_max,
        allowance: store::tickets::attachments::Allowance {
            attachments_max: tickets.attachments_max,
            account_bytes_max: tickets.account_bytes_max,
        },
    }
}

fn call_policy(settings: &Settings) -> pipeline::Policy {
    pipeline::Policy {
        retries_max: settings.upstream.retries_max,
        retry_backoff: Duration::from_millis(settings.upstream.retry_backoff_ms),
        client_gone_drain: Duration::from_secs(settings.upstream.client_gone_drain_seconds),
        answer_bytes_max: settings.upstream.answer_bytes_max,
        queue_wait: Duration::from_millis(settings.upstream.queue_wait_ms),
        output_tokens_hold_max: settings.ledger.output_tokens_hold_max,
        idempotency_ttl: Duration::from_secs(settings.idempotency.ttl_hours.saturating_mul(3_600)),
        idempotency_bytes_max: settings.idempotency.answer_bytes_max,
        responses_retention: settings.responses.retention(),
        responses_bytes_max: settings.server.max_body_bytes,
        realtime: realtime_policy(settings),
        cache: CachePolicy {
            enabled: settings.cache.enabled,
            ttl: Duration::from_secs(settings.cache.ttl_seconds),
            charge_percent: settings.cache.charge_percent,
            answer_bytes_max: settings.cache.answer_bytes_max,
        },
        screening: ScreeningPolicy {
            work_bytes_max: settings.screening.work_bytes_max,
            overrun_blocks: settings.screening.on_overrun == OnOverrun::Block,
            keep_excerpts: settings.screening.keep_excerpts,
            moderation_timeout: Duration::from_millis(settings.screening.moderation_timeout_ms),
            moderation_bytes_max: settings.screening.moderation_bytes_max,
        },
        content: settings
            .content
            .retention()
            .map(|_| ContentPolicy { retention: days(settings.content.retention_days), bytes_max: settings.content.bytes_max }),
        own_key_fee_percent: settings.billing.byok_fee_percent,
        traced: settings.telemetry.otlp_endpoint.is_some(),
    }
}

fn realtime_policy(settings: &Settings) -> RealtimePolicy {
    let realtime = &settings.realtime;
    RealtimePolicy {
        message_bytes_max: realtime.message_bytes_max,
        ping: Duration::from_secs(realtime.ping_seconds),
        idle: Duration::from_secs(realtime.idle_seconds),
        session_max: Duration::from_secs(realtime.session_seconds_max),
        input_tokens_hold: realtime.input_tokens_hold,
    }
}
