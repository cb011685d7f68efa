//! Every setting with its meaning, default and range.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use serde::Deserialize;

use super::{
    content::Content,
    oauth::{Oauth, OauthGithub, OauthGoogle},
    providers::Providers,
    schema::{Kind, Setting, Shape, section},
};
use crate::{
    domain::{Micros, SECOND, quota::Limits},
    telemetry::{logging::LogFormat, redact::Secret},
};

/// How much a capture survives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// A power cut: one fsync per group commit.
    Power,
    /// A kill of the process.
    #[default]
    Process,
    /// Captures are not awaited; the last moments may be lost with the process.
    Relaxed,
}

impl Kind for Durability {
    const SHAPE: Shape = Shape::Text;
    const ACCEPTS: &'static str = "power, process or relaxed";
    fn show(&self) -> String {
        match self {
            Self::Power => "power",
            Self::Process => "process",
            Self::Relaxed => "relaxed",
        }
        .to_owned()
    }
}

/// Who may register.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignUp {
    #[default]
    Open,
    Closed,
}

impl Kind for SignUp {
    const SHAPE: Shape = Shape::Text;
    const ACCEPTS: &'static str = "open or closed";
    fn show(&self) -> String {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
        .to_owned()
    }
}

const DAY_SECONDS: i64 = 86_400;
const GIBIBYTE: i64 = 1 << 30;

section! {
    /// `[server]`
    Server in "server" {
        /// Address to listen on.
        listen: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
        /// HTTP threads; 0 means one a core.
        workers: usize = 0, 0 to 1024;
        /// Base of links in mails and callbacks; unset means `http://LISTEN`.
        public_url: Option<String> = None;
        /// Networks of proxies whose `X-Forwarded-For` counts.
        trusted_proxies: Vec<IpNet> = Vec::new();
        /// Seconds that running answers get to finish at a shutdown.
        drain_seconds: u64 = 30, 0 to 3600;
        /// Largest request body, in bytes.
        max_body_bytes: usize = 33_554_432, 1024 to GIBIBYTE;
        /// Seconds in which a request body must have arrived.
        body_timeout_seconds: u64 = 30, 1 to 3600;
        /// Folder of the embedded database, the generated secrets and the lock.
        data_dir: PathBuf = PathBuf::from("./data");
        /// PEM file with the certificate chain; turns TLS on, together with `tls_key`.
        tls_cert: Option<PathBuf> = None;
        /// PEM file with the private key.
        tls_key: Option<PathBuf> = None;
        /// Name of this node among others; unset means an id made on the first start.
        node_name: Option<String> = None;
        /// Connections at the same time, over all threads.
        max_connections: usize = 25_000, 1 to 1_000_000;
    }
}

section! {
    /// `[database]`
    Database in "database" {
        /// `sqlite://…` (absolute path; a missing file is created) or `postgres://…`; unset means SQLite in `server.data_dir`.
        url: Option<Secret> = None;
        /// Connections of the PostgreSQL pool; SQLite always has one writer and a few readers.
        max_connections: u32 = 10, 2 to 1000;
        /// Milliseconds to wait for a connection before the database counts as away.
        acquire_timeout_ms: u64 = 2_000, 10 to 60_000;
        /// Milliseconds to wait for a lock that another process holds on a SQLite file.
        busy_timeout_ms: u64 = 2_000, 0 to 60_000;
    }
}

section! {
    /// `[redis]`
    Redis in "redis" {
        /// `redis://…`; coordination of several nodes.
        url: Option<Secret> = None;
    }
}

section! {
    /// `[ledger]`
    Ledger in "ledger" {
        /// What a capture survives: `power` (fsync per group commit), `process` (kill -9), `relaxed` (not awaited).
        durability: Durability = Durability::Process;
        /// Seconds after which the leases of a dead node are taken back.
        lease_ttl_seconds: u64 = 60, 1 to DAY_SECONDS;
        /// Seconds of spending that a lease of a busy account covers at once.
        lease_horizon_seconds: u64 = 60, 1 to 3600;
        /// Milliseconds in which a group commit must succeed before its callers are told that the store is away;
        /// unset means 10000, or half of `ledger.lease_ttl_seconds` if that is shorter.
        commit_timeout_ms: Option<u64> = None, 100 to 600_000;
        /// Captures that may wait for the store; beyond that new calls are refused.
        queue_entries_max: usize = 65_536, 64 to 10_000_000;
        /// A hold is journaled once its call has run for this many milliseconds.
        hold_journal_after_ms: u64 = 50, 0 to 60_000;
        /// Output tokens that a hold assumes at most, when neither the request nor the model says less.
        output_tokens_hold_max: u64 = 32_768, 1 to 10_000_000;
    }
}

impl Ledger {
    /// A commit ends before the leases it draws from do.
    pub fn commit_timeout_ms(&self) -> u64 {
        self.commit_timeout_ms.unwrap_or_else(|| self.lease_ttl_seconds.saturating_mul(500).min(10_000))
    }
}

section! {
    /// `[limits]`
    LimitSettings in "limits" {
    }
    with { account: AccountLimits }
}

section! {
    /// `[limits.account]`: for accounts without limits of their own.
    AccountLimits in "limits.account" {
        /// Requests per minute of an account without a limit of its own; 0 means no limit.
        rpm: u32 = 3_000_000, 0 to 4_294_967_295;
        /// Tokens per minute; 0 means no limit.
        tpm: u64 = 1_000_000_000, 0 to i64::MAX;
        /// Requests per day; 0 means no limit.
        rpd: u32 = 0, 0 to 4_294_967_295;
        /// Calls at the same time; 0 means no limit.
        concurrency: u32 = 10_000, 0 to 4_294_967_295;
    }
}

impl AccountLimits {
    pub fn limits(&self) -> Limits {
        Limits {
            rpm: Some(self.rpm).filter(|limit| *limit > 0),
            tpm: Some(self.tpm).filter(|limit| *limit > 0),
            rpd: Some(self.rpd).filter(|limit| *limit > 0),
            concurrency: Some(self.concurrency).filter(|limit| *limit > 0),
        }
    }
}

section! {
    /// `[accounts]`
    Accounts in "accounts" {
        /// Seconds without a call after which an account leaves memory and returns its lease.
        idle_seconds: u64 = 300, 1 to DAY_SECONDS;
        /// Accounts in memory at the same time.
        active_max: usize = 200_000, 1 to 100_000_000;
        /// Whether people may register; `closed` leaves it to admins.
        sign_up: SignUp = SignUp::Open;
        /// Days after which a session ends, however much it is used.
        session_days: u64 = 14, 1 to 365;
        /// Hours without a request after which a session ends.
        session_idle_hours: u64 = 168, 1 to 8_760;
        /// Seconds for which an unknown key is refused without asking the database.
        unknown_key_ttl_seconds: u64 = 30, 0 to 3600;
    }
}

section! {
    /// `[upstream]`
    Upstream in "upstream" {
        /// Attempts after the first one, over all routes of a model.
        retries_max: u32 = 2, 0 to 10;
        /// Milliseconds before the first retry; doubles from one to the next.
        retry_backoff_ms: u64 = 50, 0 to 10_000;
        /// Seconds that an upstream gets to report usage after the client hung up.
        client_gone_drain_seconds: u64 = 5, 0 to 300;
        /// Largest answer of an upstream, in bytes.
        answer_bytes_max: usize = 67_108_864, 1024 to GIBIBYTE;
        /// Milliseconds a call waits for a permit of a busy upstream.
        queue_wait_ms: u64 = 1_000, 0 to 60_000;
        /// Failures in a row that open the breaker of an upstream.
        breaker_failures: u32 = 5, 1 to 1000;
        /// Milliseconds for which an open breaker stays open the first time; doubles from one to the next.
        breaker_open_ms: u64 = 5_000, 10 to 600_000;
    }
}

/// What happens when something could not be screened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnOverrun {
    #[default]
    Block,
    Allow,
}

impl Kind for OnOverrun {
    const SHAPE: Shape = Shape::Text;
    const ACCEPTS: &'static str = "block or allow";
    fn show(&self) -> String {
        match self {
            Self::Block => "block",
            Self::Allow => "allow",
        }
        .to_owned()
    }
}

section! {
    /// `[screening]`
    Screening in "screening" {
        /// Bytes that all rules together may look at in one call; every expression that runs over a text counts its length.
        work_bytes_max: u64 = 1_073_741_824, 65_536 to 1_099_511_627_776;
        /// What happens to a call that would need more: `block` or `allow` (it is flagged then).
        on_overrun: OnOverrun = OnOverrun::Block;
        /// Keep a little of what a rule found (120 characters, encrypted) with each hit.
        keep_excerpts: bool = false;
        /// Days for which hits are kept.
        hits_retention_days: u64 = 90, 1 to 3650;
        /// Milliseconds in which a moderation model must have answered for a rule.
        moderation_timeout_ms: u64 = 2_000, 10 to 60_000;
        /// Longest text, in bytes, that a moderation model is given; a longer one counts as an error of the rule.
        moderation_bytes_max: usize = 262_144, 1024 to GIBIBYTE;
    }
}

section! {
    /// `[cache]`
    Cache in "cache" {
        /// Whether answers may be kept for the same request, where a call or its key asks for it.
        enabled: bool = true;
        /// Seconds for which an answer is kept when a call asks without saying for how long.
        ttl_seconds: u64 = 300, 1 to 2_592_000;
        /// Percent of its cost that an answer costs when it comes from the cache.
        charge_percent: u32 = 0, 0 to 100;
        /// Longest answer that is kept, in bytes as the upstream sent it.
        answer_bytes_max: usize = 1_048_576, 0 to GIBIBYTE;
    }
}

section! {
    /// `[abuse]`: what people may try who are not signed in. 0 switches a rule off.
    Abuse in "abuse" {
        /// Refuse addresses of known disposable mail services at sign-up.
        block_disposable_email: bool = false;
        /// Requests of one network address to sign-in routes, per minute.
        requests_per_ip_minute: u32 = 300, 0 to 1_000_000;
        /// Sign-ups of one network address, per day.
        sign_ups_per_ip_day: u32 = 200, 0 to 1_000_000;
        /// Tries at a password from one network address at once; after them one every five seconds.
        password_tries: u32 = 10, 0 to 1_000_000;
        /// Mails that one address is sent per hour on request of one network address; of all together three times as many.
        mails_per_address_hour: u32 = 10, 0 to 1_000_000;
        /// Keys that owners may create or rotate in one account, per hour.
        keys_per_account_hour: u32 = 100, 0 to 1_000_000;
    }
}

section! {
    /// `[privacy]`
    Privacy in "privacy" {
        /// Days for which the security log keeps network addresses.
        security_log_days: u64 = 90, 1 to 3650;
        /// Days between asking for the deletion of an account and the deletion, in which its owner may change their mind; 0 deletes at once.
        deletion_cooling_off_days: u64 = 7, 0 to 30;
        /// Days for which the archive of an export can be downloaded.
        export_days: u64 = 7, 1 to 30;
        /// Days for which the audit trail is kept; 0 keeps it.
        audit_days: u64 = 0, 0 to 36_500;
        /// Days after which usage records lose their details (model, endpoint, tokens, ids of request and answer); account, key, cost and time
        /// stay for the books. 0 keeps everything.
        usage_days: u64 = 0, 0 to 36_500;
        /// Days after which a closed ticket is deleted with its messages and attachments; 0 keeps it.
        ticket_days: u64 = 0, 0 to 36_500;
    }
}

section! {
    /// `[billing]`
    Billing in "billing" {
        /// Percent of its price that a call costs when it is made with a provider's key of the caller's own.
        byok_fee_percent: u32 = 5, 0 to 100;
    }
}

section! {
    /// `[security]`
    Security in "security" {
        /// Secret that key hashes depend on; unset means one made on the first start, in `server.data_dir`.
        key_pepper: Option<Secret> = None;
        /// Version of `security.key_pepper`; each new pepper has a higher one than those before.
        key_pepper_version: u32 = 1, 1 to 2_147_483_647;
        /// Former peppers as `VERSION:PEPPER`, three at most; keys hashed with them go on working and are hashed anew when they are used.
        previous_key_peppers: Vec<Secret> = Vec::new();
        /// Days for which a key of another program works that is shorter than 20 characters; 0 for ever.
        weak_key_days: u32 = 90, 0 to 3_650;
        /// Years that people confirm to have when they register; 0 asks for no age.
        min_age: u32 = 13, 0 to 150;
        /// Keys work only when the owner's e-mail address is verified.
        require_verified_email: bool = true;
        /// Secret that upstream keys are encrypted with; unset means one made on the first start, in `server.data_dir`.
        upstream_key: Option<Secret> = None;
    }
}

section! {
    /// `[secret_scanning]`
    SecretScanning in "secret_scanning" {
        /// File with the public keys that reports of leaked keys are signed with, as `{"public_keys":[{"key_identifier","key"}]}`.
        public_keys_file: Option<PathBuf> = None;
        /// URL of the same document, asked when a report is signed with an unknown key: `https://api.github.com/meta/public_keys/secret_scanning`.
        public_keys_url: Option<String> = None;
    }
}

section! {
    /// `[bootstrap]`
    Bootstrap in "bootstrap" {
        /// An admin key of exactly this value exists after every start; 24 characters at least.
        admin_key: Option<Secret> = None;
        /// Credits, in micros, of the account that the first start makes.
        demo_credits_micros: Micros = 10_000_000, 0 to 1_000_000_000_000_000;
    }
}

section! {
    /// `[telemetry]`
    Telemetry in "telemetry" {
        /// `pretty` or `json`.
        log_format: LogFormat = LogFormat::Pretty;
        /// What is logged, for example `info,pixgate::store=debug`.
        log_filter: String = "info,actix_server=warn,sea_orm_migration=warn".to_owned();
        /// `http://` URL of an OTLP collector that gets traces.
        otlp_endpoint: Option<String> = None;
        /// Log one line a request; every paid call leaves a usage record anyway.
        access_log: bool = false;
    }
}

section! {
    /// `[compat]`
    Compat in "compat" {
        /// Add LiteLLM's headers to the answers of model calls: `x-litellm-call-id`, `-model-id`, `-overhead-duration-ms`, `-response-cost`.
        litellm_headers: bool = false;
    }
}

section! {
    /// `[bench]`
    Bench in "bench" {
        /// Opens `POST /bench/proxy`, which forwards to this base URL without key, limits or ledger. For measurements on loopback only.
        bare_proxy: Option<String> = None;
    }
}

section! {
    /// `[mail]`
    Mail in "mail" {
        /// Server that takes our mails: `smtp://` (STARTTLS required, plain on loopback or with `?tls=none`) or `smtps://`, user and password
        /// in the URL. Unset keeps mails in the outbox, and `serve` prints their links.
        smtp_url: Option<Secret> = None;
        /// Sender of all mails: `pixgate@example.com` or `Pixgate <pixgate@example.com>`; needed with `mail.smtp_url`.
        from: Option<String> = None;
        /// Days for which mails are kept in the outbox once nothing is to be done for them; what was sent is kept without its content.
        retention_days: u64 = 30, 1 to 3650;
    }
}

section! {
    /// `[idempotency]`
    Idempotency in "idempotency" {
        /// Hours for which an `Idempotency-Key` is remembered.
        ttl_hours: u64 = 24, 1 to 720;
        /// Largest answer that is kept for a replay, in bytes.
        answer_bytes_max: usize = 1_048_576, 1024 to GIBIBYTE;
    }
}

section! {
    /// `[responses]`
    Responses in "responses" {
        /// Keep answers of `/v1/responses` whose callers do not say `store: false`, encrypted, so that `previous_response_id` works.
        store: bool = false;
        /// Days for which they are kept.
        retention_days: u64 = 30, 1 to 3650;
    }
}

section! {
    /// `[realtime]`
    Realtime in "realtime" {
        /// Largest message of a realtime session, in bytes, in both directions.
        message_bytes_max: usize = 16_777_216, 65_536 to GIBIBYTE;
        /// Seconds between pings; a side that says nothing, not even a pong, for three of them is gone.
        ping_seconds: u64 = 20, 1 to 3600;
        /// Seconds without a message from either side after which a session ends.
        idle_seconds: u64 = 600, 1 to 86_400;
        /// Longest session, in seconds. A response that runs then may end first.
        session_seconds_max: u64 = 3600, 1 to 86_400;
        /// Input tokens that a hold assumes a caller to add before the next response, beside what the conversation has.
        input_tokens_hold: u64 = 4_096, 1 to 10_000_000;
    }
}

impl Responses {
    /// `None` when answers are not kept at all.
    pub fn retention(&self) -> Option<Duration> {
        self.store.then(|| Duration::from_secs(self.retention_days.saturating_mul(DAY_SECONDS.unsigned_abs())))
    }
}

section! {
    /// `[blobs]`: files, images, attachments and archives, sealed.
    BlobSettings in "blobs" {
        /// `s3://BUCKET/PREFIX`; unset means the folder `blobs` in `server.data_dir`.
        url: Option<String> = None;
        /// URL of a server that speaks S3; unset means AWS.
        endpoint: Option<String> = None;
        /// Region of the bucket.
        region: String = "us-east-1".to_owned();
        /// Access key of the bucket.
        access_key_id: Option<String> = None;
        /// Secret of the access key.
        secret_access_key: Option<Secret> = None;
    }
}

impl BlobSettings {
    /// The bucket and the prefix of all names in it, when blobs are kept in one.
    pub fn bucket(&self) -> Option<(&str, &str)> {
        let place = self.url.as_deref()?.strip_prefix("s3://")?;
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        Some((bucket, prefix.trim_matches('/')))
    }
}

section! {
    /// `[files]`: `/v1/files`.
    Files in "files" {
        /// Largest file, in bytes; `server.max_body_bytes` counts as well.
        bytes_max: u64 = 33_554_432, 1024 to GIBIBYTE;
        /// Bytes of all files of one account.
        account_bytes_max: u64 = 1_073_741_824, 0 to i64::MAX;
        /// Files of one account.
        account_files_max: u64 = 10_000, 0 to 10_000_000;
        /// Days after which a file is deleted whose upload says nothing else; 0 means it stays until it is deleted.
        retention_days: u64 = 0, 0 to 3650;
    }
}

impl Files {
    /// In microseconds; `None` when files stay until they are deleted.
    pub fn retention(&self) -> Option<i64> {
        let days = i64::try_from(self.retention_days).ok().filter(|days| *days > 0)?;
        Some(days.saturating_mul(DAY_SECONDS).saturating_mul(SECOND))
    }
}

section! {
    /// `[tickets]`: support.
    Tickets in "tickets" {
        /// Mail address that is told when a customer opens a ticket or writes to one; unset means nobody is.
        staff_email: Option<String> = None;
        /// Tickets that an account may open, per hour; 0 means no limit.
        per_account_hour: u64 = 20, 0 to 1_000_000;
        /// Messages that an account may write to its tickets, per hour; 0 means no limit.
        messages_per_account_hour: u64 = 120, 0 to 1_000_000;
        /// Largest attachment, in bytes; `server.max_body_bytes` counts as well.
        attachment_bytes_max: u64 = 10_485_760, 1024 to GIBIBYTE;
        /// Attachments of each side of one ticket.
        attachments_max: u64 = 20, 0 to 1000;
        /// Bytes of all attachments in the tickets of one account, of each side.
        account_bytes_max: u64 = 268_435_456, 0 to i64::MAX;
        /// Days without a change after which a ticket that is solved or waits for its customer is closed; 0 means never.
        close_after_days: u64 = 14, 0 to 3650;
    }
}

impl Tickets {
    /// In microseconds; `None` when tickets are not closed by themselves.
    pub fn close_after(&self) -> Option<i64> {
        let days = i64::try_from(self.close_after_days).ok().filter(|days| *days > 0)?;
        Some(days.saturating_mul(DAY_SECONDS).saturating_mul(SECOND))
    }
}

/// The whole tree. Made by [`super::load`]; the default is what an empty file means.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Settings {
    pub server: Server,
    pub database: Database,
    pub redis: Redis,
    pub ledger: Ledger,
    pub limits: LimitSettings,
    pub accounts: Accounts,
    pub abuse: Abuse,
    pub privacy: Privacy,
    pub content: Content,
    pub upstream: Upstream,
    pub billing: Billing,
    pub security: Security,
    pub oauth: Oauth,
    pub secret_scanning: SecretScanning,
    pub bootstrap: Bootstrap,
    /// `[openai]`, `[anthropic]`, …
    #[serde(flatten)]
    pub providers: Providers,
    pub telemetry: Telemetry,
    pub mail: Mail,
    pub idempotency: Idempotency,
    pub responses: Responses,
    pub realtime: Realtime,
    pub cache: Cache,
    pub blobs: BlobSettings,
    pub files: Files,
    pub tickets: Tickets,
    pub screening: Screening,
    pub compat: Compat,
    pub bench: Bench,
}

impl Settings {
    /// Every known setting, section by section.
    pub fn reference() -> impl Iterator<Item = &'static Setting> {
        [
            Server::SETTINGS,
            Database::SETTINGS,
            Redis::SETTINGS,
            Ledger::SETTINGS,
            LimitSettings::SETTINGS,
            AccountLimits::SETTINGS,
            Abuse::SETTINGS,
            Privacy::SETTINGS,
            Content::SETTINGS,
            Accounts::SETTINGS,
            Upstream::SETTINGS,
            Billing::SETTINGS,
            Security::SETTINGS,
            Oauth::SETTINGS,
            OauthGoogle::SETTINGS,
            OauthGithub::SETTINGS,
            SecretScanning::SETTINGS,
            Bootstrap::SETTINGS,
            Providers::SETTINGS,
            Telemetry::SETTINGS,
            Mail::SETTINGS,
            Idempotency::SETTINGS,
            Compat::SETTINGS,
            Responses::SETTINGS,
            Cache::SETTINGS,
            Realtime::SETTINGS,
            BlobSettings::SETTINGS,
            Files::SETTINGS,
            Tickets::SETTINGS,
            Screening::SETTINGS,
            Bench::SETTINGS,
            RESERVED,
        ]
        .into_iter()
        .flatten()
    }

    /// `server.public_url` without a slash at its end, or the address we listen on.
    pub fn public_url(&self) -> String {
        let scheme = if self.server.tls_cert.is_some() { "https" } else { "http" };
        match &self.server.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("{scheme}://{}", self.server.listen),
        }
    }

    /// `database.url`, or the SQLite file in the data folder. Fails only when the working directory is gone.
    pub fn database_url(&self) -> io::Result<Secret> {
        match &self.database.url {
            Some(url) => Ok(url.clone()),
            None => {
                let file = std::path::absolute(self.server.data_dir.join("pixgate.sqlite"))?;
                Ok(Secret::new(format!("sqlite://{}", file.display())))
            }
        }
    }
}

const PAYMENTS: &str = "payments";
const RENDER: &str = "rendering";

/// Names that the contract promises and whose features come later.
const RESERVED: &[Setting] = &[
    Setting::reserved::<Secret>("payments.stripe.secret_key", PAYMENTS),
    Setting::reserved::<Secret>("payments.stripe.webhook_secret", PAYMENTS),
    Setting::reserved::<String>("payments.stripe.base_url", PAYMENTS),
    Setting::reserved::<Secret>("payments.creem.api_key", PAYMENTS),
    Setting::reserved::<Secret>("payments.creem.webhook_secret", PAYMENTS),
    Setting::reserved::<String>("payments.creem.base_url", PAYMENTS),
    Setting::reserved::<String>("payments.alipay.app_id", PAYMENTS),
    Setting::reserved::<Secret>("payments.alipay.private_key", PAYMENTS),
    Setting::reserved::<Secret>("payments.alipay.alipay_public_key", PAYMENTS),
    Setting::reserved::<String>("payments.alipay.seller_id", PAYMENTS),
    Setting::reserved::<String>("payments.alipay.gateway_url", PAYMENTS),
    Setting::reserved::<String>("payments.wechat.mchid", PAYMENTS),
    Setting::reserved::<String>("payments.wechat.appid", PAYMENTS),
    Setting::reserved::<Secret>("payments.wechat.private_key", PAYMENTS),
    Setting::reserved::<String>("payments.wechat.merchant_serial", PAYMENTS),
    Setting::reserved::<Secret>("payments.wechat.apiv3_key", PAYMENTS),
    Setting::reserved::<String>("payments.wechat.public_key_id", PAYMENTS),
    Setting::reserved::<Secret>("payments.wechat.public_key", PAYMENTS),
    Setting::reserved::<String>("payments.wechat.base_url", PAYMENTS),
    Setting::reserved::<bool>("render.assets.allow_private", RENDER),
    Setting::reserved::<bool>("render.assets.allow_http", RENDER),
    Setting::reserved::<bool>("render.allow_reduced_sandbox", RENDER),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::reference_page;

    #[test]
    fn every_default_passes_its_own_check() {
        for setting in Settings::reference().filter(|setting| setting.default_text() != "unset" && setting.default_text() != "none") {
            let value = setting.parse(&setting.default_text());
            assert_eq!(setting.check(&value), Ok(()), "{}", setting.name);
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the one switch that rewrites the page")]
    fn the_reference_page_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        let page = reference_page(Settings::reference());
        if std::env::var_os("PIXGATE_TEST_UPDATE_DOCS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap();
        assert!(stored == page, "docs/configuration.md is stale; its first lines say how to update it");
    }

    #[test]
    fn derived_values() {
        let mut settings = Settings::default();
        assert_eq!(settings.public_url(), "http://127.0.0.1:8080");
        assert!(settings.database_url().unwrap().expose().starts_with("sqlite:///"));
        assert_eq!(settings.providers.seeds().next(), None);
        assert_eq!(settings.ledger.commit_timeout_ms(), 10_000);
        settings.ledger.lease_ttl_seconds = 2;
        assert_eq!(settings.ledger.commit_timeout_ms(), 1_000);
        assert_eq!(settings.limits.account.limits().rpd, None);
        assert_eq!(settings.limits.account.limits().rpm, Some(3_000_000));
    }
}
