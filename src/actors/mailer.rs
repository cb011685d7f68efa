//! Sends what is in the outbox.
//!
//! Owns: nothing but its schedule; which mails are whose is in the outbox, where a claim ends by itself. Asked: to look now ([`Nudge`]),
//! to send a test mail ([`SendTest`]). When the store is away: tries again at its next turn. When the mail server is away: every mail
//! waits longer from try to try, for about a day, and is then given up where admins see it.
//!
//! A mail goes out at least once: one that was taken by the server just before the node ended comes again, under the same Message-ID.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;

use super::supervision::{ActorTree, AskError, Ctx, Fault, Handle, Message, Receive, Reply, Service, ServiceContext, Spec, Vitals, spawn};
use crate::{
    clock::{Clock, fill_random},
    domain::{
        SECOND, Timestamp,
        mail::{Locale, retry_pause},
    },
    mail::{
        self,
        smtp::{CONNECTIONS_MAX, SEND_TIMEOUT, SendError, Smtp},
    },
    store::{
        self, Db, StoreError,
        outbox::{Claimed, Settled},
        seal::Sealer,
    },
    telemetry::metrics::Metrics,
};

const MAILBOX: usize = 64;
/// Retries, and mails that other nodes put in, wait no longer than this once they are due.
const INTERVAL: Duration = Duration::from_secs(5);
/// Mails claimed at once.
const BATCH: u64 = 4 * CONNECTIONS_MAX as u64;
/// A batch is done before its claim ends, even if every mail takes all its time.
const CLAIM: Timestamp = 600 * SECOND;

/// A mail that cannot be sent, for whoever sits at the terminal.
#[derive(Debug)]
pub struct Kept<'a> {
    pub kind: &'a str,
    pub recipient: &'a str,
    /// Its link or code.
    pub carries: Option<&'a str>,
}

#[derive(Clone)]
pub struct Parts {
    pub db: Db,
    pub sealer: Sealer,
    pub clock: Clock,
    pub metrics: Metrics,
    /// Without one, mails are shown and held.
    pub smtp: Option<Smtp>,
    pub public_url: Arc<str>,
    /// Shows a mail to the operator; `false` when that did not work.
    pub show: fn(&Kept<'_>) -> bool,
}

/// Mails were put in: look now.
pub struct Nudge;

impl Message for Nudge {
    type Reply = ();
}

/// A test mail, past the outbox. Answers with the server's words, or why there are none.
pub struct SendTest {
    pub to: String,
    pub locale: Locale,
}

impl Message for SendTest {
    type Reply = Result<String, TestError>;
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TestError {
    #[error("no mail server is configured; set mail.smtp_url and mail.from")]
    NotConfigured,
    #[error("{0}")]
    Failed(String),
}

pub struct Mailer {
    parts: Parts,
    at_work: bool,
    /// Something came in while a turn was under way.
    again: bool,
    turns: u64,
}

/// The way to this node's mailer; the default leads nowhere, for commands that run beside a node.
#[derive(Clone, Default)]
pub struct MailerClient(Option<Handle<Mailer>>);

impl MailerClient {
    /// Has mails sent that were just committed. A refusal is fine: a full mailbox means that nudges wait already.
    pub fn nudge(&self) {
        if let Some(mailer) = &self.0
            && mailer.tell(Nudge).is_err()
        {
            tracing::debug!("the mailer was not nudged; it looks by itself soon");
        }
    }

    pub async fn send_test(&self, to: String, locale: Locale) -> Result<Result<String, TestError>, AskError> {
        let mailer = self.0.as_ref().ok_or(AskError::Ended)?;
        mailer.ask(SendTest { to, locale }, SEND_TIMEOUT + INTERVAL).await
    }
}

/// Starts the mailer on the current thread.
pub fn start(tree: &ActorTree, parts: Parts, parent: &Arc<Vitals>) -> MailerClient {
    let factory = move || Mailer { parts: parts.clone(), at_work: false, again: false, turns: 0 };
    MailerClient(Some(spawn(tree, Spec::new("mailer", MAILBOX, factory).under(parent))))
}

impl Service for Mailer {
    const KIND: &'static str = "mailer";

    fn started(&mut self, ctx: &mut Ctx<Self>) {
        self.look(ctx);
        ctx.every(INTERVAL, Self::look);
    }

    fn observe(&self) -> serde_json::Value {
        serde_json::json!({ "turns": self.turns, "sends": self.parts.smtp.is_some(), "at_work": self.at_work })
    }
}

impl Mailer {
    fn look(&mut self, ctx: &mut Ctx<Self>) {
        if self.at_work {
            self.again = true;
            return;
        }
        (self.at_work, self.again) = (true, false);
        let parts = self.parts.clone();
        ctx.run(async move { turn(&parts).await }, |mailer, outcome, ctx| {
            mailer.at_work = false;
            mailer.turns += 1;
            if let Err(error) = outcome {
                tracing::warn!(error = %error, "the outbox could not be worked on; the next turn goes on");
            } else if mailer.again {
                mailer.look(ctx);
            }
        });
    }
}

impl Receive<Nudge> for Mailer {
    fn receive(&mut self, _: Nudge, reply: Reply<()>, ctx: &mut Ctx<Self>) -> Result<(), Fault> {
        self.look(ctx);
        // Nobody waits for a nudge.
        let _ = reply.send(());
        Ok(())
    }
}

impl Receive<SendTest> for Mailer {
    fn receive(&mut self, test: SendTest, reply: Reply<Result<String, TestError>>, ctx: &mut Ctx<Self>) -> Result<(), Fault> {
        let parts = self.parts.clone();
        ctx.run(async move { send_test(&parts, &test).await }, |_, outcome, _| {
            if reply.send(outcome).is_err() {
                tracing::debug!("nobody waits for the answer to a test mail any more");
            }
        });
        Ok(())
    }
}

async fn send_test(parts: &Parts, test: &SendTest) -> Result<String, TestError> {
    let smtp = parts.smtp.as_ref().ok_or(TestError::NotConfigured)?;
    let rendered = mail::render_test(test.locale, &parts.public_url).map_err(TestError::Failed)?;
    let sent = smtp.send(&parts.clock.new_id("mail"), &test.to, rendered, &parts.clock).await;
    sent.map_err(|error| TestError::Failed(error.to_string()))
}

/// Works on the outbox until nothing is due.
async fn turn(parts: &Parts) -> Result<(), StoreError> {
    let with_held = parts.smtp.is_some();
    loop {
        let now = parts.clock.now();
        // Reading first keeps an idle mailer away from the one writer that SQLite has.
        let depth = store::outbox::depth(&parts.db, with_held, now).await?;
        for (status, mails) in [("pending", depth.pending), ("held", depth.held), ("dead", depth.dead)] {
            parts.metrics.outbox(status, mails);
        }
        if depth.due == 0 {
            return Ok(());
        }
        let claimed = store::outbox::claim(&parts.db, &parts.sealer, with_held, now, now + CLAIM, BATCH).await?;
        if claimed.is_empty() {
            return Ok(());
        }
        let work = futures_util::stream::iter(claimed).map(|mail| async move { work_on(parts, &mail).await });
        let outcomes: Vec<Result<(), StoreError>> = work.buffer_unordered(CONNECTIONS_MAX as usize).collect().await;
        outcomes.into_iter().collect::<Result<(), _>>()?;
    }
}

async fn work_on(parts: &Parts, mail: &Claimed) -> Result<(), StoreError> {
    let settled = outcome(parts, mail).await;
    let label = match &settled {
        Settled::Sent { .. } => "sent",
        Settled::Held { .. } => "held",
        Settled::Again { .. } => "retried",
        Settled::Dead { .. } => "dead",
        Settled::Expired { .. } => "expired",
    };
    match &settled {
        Settled::Again { error, .. } => {
            tracing::info!(mail.id = %mail.id, mail.kind = %mail.kind, tries = mail.attempts, error, "a mail is tried again later")
        }
        Settled::Dead { error } | Settled::Expired { error } => {
            tracing::warn!(mail.id = %mail.id, mail.kind = %mail.kind, tries = mail.attempts, error, "a mail was given up; see GET /admin/v1/mails?status=dead");
        }
        Settled::Sent { .. } | Settled::Held { .. } => {}
    }
    parts.metrics.mail(label);
    if !store::outbox::settle(&parts.db, mail, &settled).await? {
        tracing::info!(mail.id = %mail.id, "a mail was changed while it was worked on");
    }
    Ok(())
}

async fn outcome(parts: &Parts, mail: &Claimed) -> Settled {
    let message = match &mail.message {
        Ok(message) => message,
        Err(error) => return Settled::Dead { error: error.to_string() },
    };
    if message.expires_at(mail.created_at) <= parts.clock.now() {
        return Settled::Expired { error: "expired: what this mail carries has ended before it could be sent".to_owned() };
    }
    let Some(smtp) = &parts.smtp else {
        let carries = message.link().or(message.code());
        // What nobody could read is tried again like a mail that did not go out.
        return match (parts.show)(&Kept { kind: &mail.kind, recipient: &mail.recipient, carries }) {
            true => Settled::Held { at: parts.clock.now() },
            false => later(parts, mail, "it could not be printed to standard output".to_owned()),
        };
    };
    let rendered = match mail::render(message, mail.locale, &parts.public_url) {
        Ok(rendered) => rendered,
        Err(error) => return Settled::Dead { error },
    };
    match smtp.send(&mail.id, &mail.recipient, rendered, &parts.clock).await {
        Ok(_) => Settled::Sent { at: parts.clock.now() },
        Err(SendError::Refused(error)) => Settled::Dead { error: without(&error, [message.link(), message.code()]) },
        Err(SendError::Passing(error)) => later(parts, mail, without(&error, [message.link(), message.code()])),
    }
}

fn later(parts: &Parts, mail: &Claimed, error: String) -> Settled {
    let mut random = [0];
    fill_random(&mut random);
    match retry_pause(mail.attempts, random[0]) {
        Some(pause) => Settled::Again { at: parts.clock.now() + pause, error },
        None => Settled::Dead { error: format!("given up after {} tries; the last one: {error}", mail.attempts) },
    }
}

/// A server may repeat what it refuses; links and codes are secrets.
fn without(error: &str, secrets: [Option<&str>; 2]) -> String {
    secrets.into_iter().flatten().fold(error.to_owned(), |error, secret| error.replace(secret, "…"))
}
