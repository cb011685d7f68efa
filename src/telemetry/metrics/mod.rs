//! Figures of a running node, in the Prometheus text format, prefix `pixgate_`.
//!
//! What a call touches is resolved once at start and indexed by enums, so counting one costs a few atomic additions and no
//! look-up. What only a scrape needs (mailboxes, memory, CPU) is read at the scrape.
//! Absent on purpose: labels with unbounded values (accounts, keys, models); those are in the usage records.

mod histogram;
mod process;

use std::{
    array, fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
        info::Info,
    },
    registry::Registry,
};

pub use self::histogram::{Histogram, Scale};
use crate::{
    dialect::Endpoint,
    domain::{Micros, screening::Action, usage::Outcome},
};

/// A timed part of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// From the parsed request to the account's answer.
    Admission,
    /// From the start of the upstream call to its first content byte.
    UpstreamFirstByte,
    /// From the start of the upstream call to the end of its answer.
    UpstreamTotal,
    /// From the end of the upstream's answer to the durable capture.
    Settlement,
    /// Our own time before the upstream is called.
    Overhead,
}

impl Stage {
    pub const ALL: [Self; 5] = [Self::Admission, Self::UpstreamFirstByte, Self::UpstreamTotal, Self::Settlement, Self::Overhead];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admission => "admission",
            Self::UpstreamFirstByte => "upstream_first_byte",
            Self::UpstreamTotal => "upstream_total",
            Self::Settlement => "settlement",
            Self::Overhead => "overhead",
        }
    }
}

const OUTCOMES: [Outcome; 6] =
    [Outcome::Completed, Outcome::UpstreamFailed, Outcome::UpstreamInterrupted, Outcome::ClientGone, Outcome::Drained, Outcome::Unknown];

/// Error codes of the contract; anything else counts as the last one.
const REFUSAL_CODES: [&str; 19] = [
    "invalid_api_key",
    "insufficient_credits",
    "email_unverified",
    "model_not_allowed",
    "ip_not_allowed",
    "account_suspended",
    "content_screened",
    "model_not_found",
    "request_too_large",
    "invalid_request",
    "rate_limit_exceeded",
    "upstream_error",
    "overloaded",
    "draining",
    "upstream_timeout",
    "idempotency_conflict",
    "scope_missing",
    "internal_error",
    "other",
];

/// What one kind of actor looks like at a scrape, summed over its actors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ActorSample {
    pub kind: &'static str,
    pub running: u64,
    pub mailbox_depth: u64,
    pub restarts: u64,
    pub dead_letters: u64,
}

/// A cheap handle to the figures of one node. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    calls: [[Counter; OUTCOMES.len()]; Endpoint::ALL.len()],
    stages: [Histogram; Stage::ALL.len()],
    refusals: [Counter; REFUSAL_CODES.len()],
    holds_open: Gauge,
    journal_lag_seconds: Gauge<f64, AtomicU64>,
    journal_queue: Gauge,
    journal_batch_entries: Histogram,
    captures: Counter,
    captured_micros: Counter,
    upstream_health: Family<[(&'static str, String); 1], Gauge>,
    mails: Family<[(&'static str, &'static str); 1], Counter>,
    outbox: Family<[(&'static str, &'static str); 1], Gauge>,
    screening_hits: [Counter; Action::ALL.len()],
    screening_hits_lost: Counter,
    contents_lost: Counter,
    actors: Arc<ActorSource>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("pixgate");
        registry.register("build", "Version of this node", Info::new([("version", env!("CARGO_PKG_VERSION"))]));

        let calls = Family::<[(&str, &str); 2], Counter>::default();
        registry.register("calls", "Model calls that were admitted, by how they ended", calls.clone());
        let stages = Family::<[(&str, &str); 1], Histogram, fn() -> Histogram>::new_with_constructor(Histogram::of_durations);
        registry.register("stage_seconds", "Time spent in a part of a call", stages.clone());
        let refusals = Family::<[(&str, &str); 1], Counter>::default();
        registry.register("refusals", "Calls that were refused or failed, by error code", refusals.clone());
        let upstream_health = Family::<[(&'static str, String); 1], Gauge>::default();
        registry.register("upstream_health", "1 while calls go to the upstream, 0 while its breaker is open", upstream_health.clone());

        let screening_hits = Family::<[(&str, &str); 1], Counter>::default();
        registry.register("screening_hits", "Hits of screening rules, by what they led to", screening_hits.clone());
        let screening_hits_lost =
            registered(&mut registry, "screening_hits_lost", "Hits that could not be kept for the operator", Counter::default());

        let contents_lost = registered(
            &mut registry,
            "contents_lost",
            "Calls whose request and answer were to be kept and could not be",
            Counter::default(),
        );

        let holds_open = registered(&mut registry, "holds_open", "Holds of calls that run now", Gauge::default());
        let journal_lag_seconds =
            registered(&mut registry, "journal_lag_seconds", "Age of the oldest capture not yet durable", Gauge::default());
        let journal_queue = registered(&mut registry, "journal_queue", "Entries that wait for the next group commit", Gauge::default());
        let journal_batch_entries =
            registered(&mut registry, "journal_batch_entries", "Entries in one group commit", Histogram::of_counts());
        let captures = registered(&mut registry, "captures", "Captures made durable", Counter::default());
        let captured_micros = registered(&mut registry, "captured_micros", "Credits captured, in micros", Counter::default());

        let mails = Family::<[(&str, &str); 1], Counter>::default();
        registry.register("mails", "Mails this node worked on, by what came of the try", mails.clone());
        let outbox = Family::<[(&str, &str); 1], Gauge>::default();
        registry.register("outbox_mails", "Mails in the outbox that were not sent, by status, as this node last saw it", outbox.clone());

        let actors = Arc::new(ActorSource::default());
        registry.register_collector(Box::new(actors.clone()));
        registry.register_collector(Box::new(process::ProcessCollector));

        Self(Arc::new(Inner {
            registry,
            calls: array::from_fn(|endpoint| {
                array::from_fn(|outcome| {
                    let labels = [("endpoint", Endpoint::ALL[endpoint].label()), ("outcome", OUTCOMES[outcome].as_str())];
                    calls.get_or_create_owned(&labels)
                })
            }),
            stages: array::from_fn(|stage| stages.get_or_create_owned(&[("stage", Stage::ALL[stage].as_str())])),
            refusals: array::from_fn(|code| refusals.get_or_create_owned(&[("code", REFUSAL_CODES[code])])),
            holds_open,
            journal_lag_seconds,
            journal_queue,
            journal_batch_entries,
            captures,
            captured_micros,
            upstream_health,
            mails,
            outbox,
            screening_hits: array::from_fn(|action| screening_hits.get_or_create_owned(&[("action", Action::ALL[action].as_str())])),
            screening_hits_lost,
            contents_lost,
            actors,
        }))
    }

    pub fn call_ended(&self, endpoint: Endpoint, outcome: Outcome) {
        self.0.calls[endpoint as usize][outcome as usize].inc();
    }

    pub fn stage(&self, stage: Stage, took: Duration) {
        self.0.stages[stage as usize].observe(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Counts a call that got an error; `code` is the one in the answer's body.
    pub fn refused(&self, code: &str) {
        let index = REFUSAL_CODES.iter().position(|known| *known == code).unwrap_or(REFUSAL_CODES.len() - 1);
        self.0.refusals[index].inc();
    }

    pub fn holds_open(&self, holds: usize) {
        self.0.holds_open.set(i64::try_from(holds).unwrap_or(i64::MAX));
    }

    pub fn journal_lag(&self, oldest: Duration) {
        self.0.journal_lag_seconds.set(oldest.as_secs_f64());
    }

    pub fn journal_queue(&self, entries: usize) {
        self.0.journal_queue.set(i64::try_from(entries).unwrap_or(i64::MAX));
    }

    /// One group commit succeeded.
    pub fn journal_committed(&self, entries: usize, captures: usize, captured: Micros) {
        self.0.journal_batch_entries.observe(entries as u64);
        self.0.captures.inc_by(captures as u64);
        self.0.captured_micros.inc_by(u64::try_from(captured).unwrap_or(0));
    }

    pub fn upstream_health(&self, upstream: &str, usable: bool) {
        self.0.upstream_health.get_or_create(&[("upstream", upstream.to_owned())]).set(i64::from(usable));
    }

    pub fn screening_hit(&self, action: Action) {
        self.0.screening_hits[action as usize].inc();
    }

    pub fn screening_hits_lost(&self, hits: usize) {
        self.0.screening_hits_lost.inc_by(hits as u64);
    }

    pub fn contents_lost(&self, calls: usize) {
        self.0.contents_lost.inc_by(calls as u64);
    }

    /// An upstream was deleted or renamed.
    pub fn forget_upstream(&self, upstream: &str) {
        self.0.upstream_health.remove(&[("upstream", upstream.to_owned())]);
    }

    /// One try to send a mail ended: `sent`, `retried`, `dead`, `expired` or `held`.
    pub fn mail(&self, outcome: &'static str) {
        self.0.mails.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// How many mails have this status.
    pub fn outbox(&self, status: &'static str, mails: u64) {
        self.0.outbox.get_or_create(&[("status", status)]).set(i64::try_from(mails).unwrap_or(i64::MAX));
    }

    /// `sample` is asked at every scrape, on the scraping thread: one entry per kind of actor, without blocking.
    pub fn watch_actors(&self, sample: impl Fn() -> Vec<ActorSample> + Send + Sync + 'static) {
        self.0.actors.sample.store(Some(Arc::new(Sample(Box::new(sample)))));
    }

    /// Everything, in the Prometheus (OpenMetrics) text format, content type [`CONTENT_TYPE`].
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut page = String::with_capacity(16 * 1024);
        text::encode(&mut page, &self.0.registry)?;
        Ok(page)
    }
}

/// Content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn registered<M>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M
where
    M: EncodeMetric + Clone + Send + Sync + fmt::Debug + 'static,
{
    registry.register(name, help, metric.clone());
    metric
}

struct Sample(Box<dyn Fn() -> Vec<ActorSample> + Send + Sync>);

#[derive(Default)]
struct ActorSource {
    sample: ArcSwapOption<Sample>,
}

impl fmt::Debug for ActorSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActorSource").finish_non_exhaustive()
    }
}

impl Collector for ActorSource {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Some(sample) = self.sample.load_full() else { return Ok(()) };
        let actors = (sample.0)();
        let mut gauge = |name: &str, help: &str, value: fn(&ActorSample) -> u64| -> fmt::Result {
            let kind = ConstGauge::new(0i64);
            let mut family = encoder.encode_descriptor(name, help, None, kind.metric_type())?;
            for actor in &actors {
                let value = i64::try_from(value(actor)).unwrap_or(i64::MAX);
                ConstGauge::new(value).encode(family.encode_family(&[("kind", actor.kind)])?)?;
            }
            Ok(())
        };
        gauge("actors", "Actors that run now.", |actor| actor.running)?;
        gauge("mailbox_depth", "Messages that wait in mailboxes.", |actor| actor.mailbox_depth)?;
        let mut counter = |name: &str, help: &str, value: fn(&ActorSample) -> u64| -> fmt::Result {
            let kind = ConstCounter::new(0u64);
            let mut family = encoder.encode_descriptor(name, help, None, kind.metric_type())?;
            for actor in &actors {
                ConstCounter::new(value(actor)).encode(family.encode_family(&[("kind", actor.kind)])?)?;
            }
            Ok(())
        };
        counter("actor_restarts", "Restarts after a panic or an error.", |actor| actor.restarts)?;
        counter("dead_letters", "Messages that no actor took.", |actor| actor.dead_letters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enums_index_their_arrays() {
        for (index, endpoint) in Endpoint::ALL.into_iter().enumerate() {
            assert_eq!(endpoint as usize, index);
        }
        for (index, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, index);
        }
        for (index, outcome) in OUTCOMES.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
    }

    #[test]
    fn a_page_shows_what_was_counted() {
        let metrics = Metrics::new();
        metrics.call_ended(Endpoint::Completions, Outcome::ClientGone);
        metrics.stage(Stage::Overhead, Duration::from_micros(15));
        metrics.refused("insufficient_credits");
        metrics.refused("no such code");
        metrics.holds_open(1);
        metrics.journal_lag(Duration::from_millis(1500));
        metrics.journal_queue(3);
        metrics.journal_committed(64, 40, 1_234);
        metrics.upstream_health("a", true);
        metrics.mail("sent");
        metrics.outbox("dead", 2);
        metrics.upstream_health("b", false);
        metrics.forget_upstream("b");
        metrics.screening_hit(Action::Flag);
        metrics.watch_actors(|| vec![ActorSample { kind: "account", running: 7, mailbox_depth: 2, restarts: 1, dead_letters: 5 }]);
        let page = metrics.render().unwrap();
        for line in [
            "pixgate_calls_total{endpoint=\"completions\",outcome=\"client_gone\"} 1",
            "pixgate_calls_total{endpoint=\"embeddings\",outcome=\"completed\"} 0",
            "pixgate_stage_seconds_bucket{le=\"0.00001\",stage=\"overhead\"} 0",
            "pixgate_stage_seconds_bucket{le=\"0.00002\",stage=\"overhead\"} 1",
            "pixgate_stage_seconds_bucket{le=\"+Inf\",stage=\"overhead\"} 1",
            "pixgate_stage_seconds_count{stage=\"overhead\"} 1",
            "pixgate_refusals_total{code=\"insufficient_credits\"} 1",
            "pixgate_refusals_total{code=\"other\"} 1",
            "pixgate_holds_open 1",
            "pixgate_journal_lag_seconds 1.5",
            "pixgate_journal_queue 3",
            "pixgate_journal_batch_entries_bucket{le=\"64.0\"} 1",
            "pixgate_captures_total 40",
            "pixgate_captured_micros_total 1234",
            "pixgate_upstream_health{upstream=\"a\"} 1",
            "pixgate_mails_total{outcome=\"sent\"} 1",
            "pixgate_outbox_mails{status=\"dead\"} 2",
            "pixgate_screening_hits_total{action=\"flag\"} 1",
            "pixgate_screening_hits_total{action=\"block\"} 0",
            "pixgate_actors{kind=\"account\"} 7",
            "pixgate_mailbox_depth{kind=\"account\"} 2",
            "pixgate_actor_restarts_total{kind=\"account\"} 1",
            "pixgate_dead_letters_total{kind=\"account\"} 5",
        ] {
            assert!(page.lines().any(|have| have == line), "{line} is missing in\n{page}");
        }
        assert!(!page.contains("upstream=\"b\""));
        let names = page.lines().filter(|line| !line.starts_with('#'));
        assert!(names.into_iter().all(|line| line.starts_with("pixgate_")), "{page}");
    }
}
