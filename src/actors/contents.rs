//! Requests and answers on their way to the store.
//!
//! Owns: what is not written yet. Told: [`ContentsClient::file`] by calls, which never wait for it. When the store is away: what came in
//! waits, up to a bound; more is counted and lost, because no call may fail or wait for a copy of itself.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{
    detached,
    supervision::{ActorTree, Ctx, Fault, Handle, Message, Receive, Reply, Service, ServiceContext, Spec, Vitals, spawn},
};
use crate::{
    store::{
        self, Db,
        contents::{Content, Sealed},
        seal::Sealer,
    },
    telemetry::metrics::Metrics,
};

const MAILBOX: usize = 4_096;
const FLUSH_DEADLINE: Duration = Duration::from_secs(5);
/// Of everything that waits, in the mailbox and behind it.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
const PENDING_MAX: usize = 10_000;
/// Charges share SQLite's one writer: each write here has to be short.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
const BATCH_ROWS_MAX: usize = 64;
const RETRY: Duration = Duration::from_millis(500);

/// Takes what is to be kept.
#[derive(Clone)]
pub struct ContentsClient {
    actor: Handle<Contents>,
    waiting: Arc<AtomicUsize>,
    metrics: Metrics,
}

/// Counted as waiting until it is dropped.
struct Waiting {
    content: Content,
    bytes: usize,
    counter: Arc<AtomicUsize>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.counter.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl ContentsClient {
    /// Hands over what is to be written soon.
    pub fn file(&self, content: Content) {
        let bytes = content.request.kept.len() + content.answer.kept.len();
        let before = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        let waiting = Waiting { content, bytes, counter: self.waiting.clone() };
        if before.saturating_add(bytes) > WAITING_BYTES_MAX || self.actor.tell(File(waiting)).is_err() {
            lost(&self.metrics, 1, "more came in than the database takes");
        }
    }

    /// Waits until everything that was handed over is written; `false` when that did not happen in time.
    pub async fn flush(&self) -> bool {
        self.actor.ask(Flush, FLUSH_DEADLINE).await.is_ok()
    }
}

fn lost(metrics: &Metrics, calls: usize, why: &str) {
    metrics.contents_lost(calls);
    tracing::error!(calls, error = %why, "the content of calls is not kept");
}

#[derive(Clone)]
pub struct Parts {
    pub db: Db,
    pub sealer: Sealer,
    pub metrics: Metrics,
    pub tree: ActorTree,
}

pub struct Contents {
    parts: Parts,
    /// Oldest first.
    pending: VecDeque<Waiting>,
    writing: bool,
    written: u64,
    flushes: Vec<Reply<()>>,
}

/// Starts it on the current thread.
pub fn start(parts: Parts, parent: &Arc<Vitals>) -> ContentsClient {
    let (tree, metrics) = (parts.tree.clone(), parts.metrics.clone());
    let factory = move || Contents { parts: parts.clone(), pending: VecDeque::new(), writing: false, written: 0, flushes: Vec::new() };
    let actor = spawn(&tree, Spec::new("contents", MAILBOX, factory).under(parent));
    ContentsClient { actor, waiting: Arc::default(), metrics }
}

impl Contents {
    /// Seals the oldest of what waits and writes it, until nothing waits.
    fn write(&mut self, ctx: &mut Ctx<Self>) {
        if self.writing {
            return;
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.pending.front() {
            if !batch.is_empty() && (batch.len() >= BATCH_ROWS_MAX || bytes + next.bytes > BATCH_BYTES_MAX) {
                break;
            }
            bytes += next.bytes;
            batch.extend(self.pending.pop_front());
        }
        if batch.is_empty() {
            for flush in self.flushes.drain(..) {
                let _ = flush.send(());
            }
            return;
        }
        self.writing = true;
        let (sealer, metrics) = (self.parts.sealer.clone(), self.parts.metrics.clone());
        let sealed = detached::compute(move || {
            let (rows, failed): (Vec<_>, Vec<_>) =
                batch.iter().map(|waiting| store::contents::seal(&sealer, &waiting.content)).partition(Result::is_ok);
            if let Some(Err(error)) = failed.first() {
                lost(&metrics, failed.len(), &error.to_string());
            }
            (rows.into_iter().filter_map(Result::ok).collect::<Vec<Sealed>>(), batch)
        });
        ctx.run(sealed, |contents, sealed, ctx| match sealed {
            Some((rows, batch)) => contents.store(rows, batch, ctx),
            None => contents.go_on(ctx),
        });
    }

    /// `batch` keeps its rows counted as waiting until they are written.
    fn store(&mut self, rows: Vec<Sealed>, batch: Vec<Waiting>, ctx: &mut Ctx<Self>) {
        let db = self.parts.db.clone();
        let write = async move {
            let outcome = store::contents::insert(&db, &rows).await;
            (rows, batch, outcome)
        };
        ctx.run(write, |contents, (rows, batch, outcome), ctx| match outcome {
            Ok(()) => {
                contents.written += rows.len() as u64;
                contents.go_on(ctx);
            }
            Err(error) if error.is_unavailable() => {
                tracing::warn!(error = %error, "the content of calls could not be written; it waits");
                ctx.after(RETRY, move |contents, ctx| contents.store(rows, batch, ctx));
            }
            Err(error) => {
                lost(&contents.parts.metrics, rows.len(), &error.to_string());
                contents.go_on(ctx);
            }
        });
    }

    fn go_on(&mut self, ctx: &mut Ctx<Self>) {
        self.writing = false;
        self.write(ctx);
    }
}

impl Service for Contents {
    const KIND: &'static str = "contents";

    fn observe(&self) -> serde_json::Value {
        serde_json::json!({ "waiting": self.pending.len(), "written": self.written })
    }
}

/// Write what a call asked and was answered.
struct File(Waiting);

impl Message for File {
    type Reply = ();
}

impl Receive<File> for Contents {
    fn receive(&mut self, File(waiting): File, _: Reply<()>, ctx: &mut Ctx<Self>) -> Result<(), Fault> {
        if self.pending.len() >= PENDING_MAX {
            lost(&self.parts.metrics, 1, "more came in than the database takes");
            return Ok(());
        }
        self.pending.push_back(waiting);
        self.write(ctx);
        Ok(())
    }
}

/// Answer once everything handed over before is written.
struct Flush;

impl Message for Flush {
    type Reply = ();
}

impl Receive<Flush> for Contents {
    fn receive(&mut self, _: Flush, reply: Reply<()>, ctx: &mut Ctx<Self>) -> Result<(), Fault> {
        self.flushes.push(reply);
        self.write(ctx);
        Ok(())
    }
}
