//! One active account. It alone decides whether a call of that account may run, with one message.
//!
//! Owns: the account's keys, its limiters, concurrency, this node's share of its credits and the holds inside it.
//! Asked: [`Admit`] once per call; [`Settled`] comes back when the call has ended; the rest serves the control plane.
//! When the store is away: an account that is active goes on within its lease; one that has to load refuses and ends.

mod credits;
mod held;
mod idempotency;
mod key;
mod limits;
mod load;
mod messages;
mod own_keys;
mod recognise;

use std::{collections::HashMap, sync::Arc, time::Duration};

use subtle::ConstantTimeEq;

pub use held::{Charge, HeldCredits};
pub use idempotency::OTHER_REQUEST;
pub use limits::RateState;
pub use messages::*;
pub use own_keys::OwnKeys;

use self::{credits::Credits, idempotency::InFlight, key::Key, limits::Limiters};
use super::{
    directory::Passivate,
    journal::JournalClient,
    supervision::{Ctx, Fault, Handle, Receive, Reply, Service, ServiceContext},
};
use crate::{
    clock::Clock,
    domain::{
        Micros, SECOND, Timestamp,
        account::{Account as Record, AccountStatus},
        api_key::Digest,
        content::KeepContent,
        quota::Limits,
        refusal::Refusal,
    },
    store::{Db, Engine, ledger::OpenHold, seal::Sealer},
};

/// Changes of other nodes are seen after this time at the latest.
const FOLLOW_EVERY: Duration = Duration::from_secs(30);

/// Everything an account actor is built from, again after a fault.
#[derive(Clone)]
pub struct Parts {
    pub db: Db,
    pub sealer: Sealer,
    pub clock: Clock,
    pub journal: JournalClient,
    pub policy: Policy,
    pub directory: Handle<super::directory::Directory>,
}

#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Limits of accounts that have none of their own.
    pub default_limits: Limits,
    pub require_verified_email: bool,
    pub idle: Duration,
    /// A busy account leases what it spends in this time.
    pub lease_horizon: Duration,
    /// Calls open for longer than this become visible in the store.
    pub journal_holds_after: Duration,
    /// How long an ended idempotent call is remembered here; longer than any of its duplicates can take to arrive.
    pub idempotency_memory: Duration,
    pub keep_content: KeepContent,
}

pub struct Account {
    parts: Parts,
    account_id: Arc<str>,
    locator: Arc<str>,
    activation: u64,
    incarnation: u64,
    loaded: Option<Loaded>,
    credits: Credits,
    in_flight: InFlight,
    open: HashMap<u64, OpenCall>,
    next_number: u64,
    journaling: bool,
    last_active: Timestamp,
}

/// What comes from the store.
struct Loaded {
    record: Record,
    limiters: Limiters,
    keys: HashMap<Digest, Key>,
    own_keys: Arc<OwnKeys>,
}

/// A call that holds credits now.
struct OpenCall {
    /// Under which its key was kept then.
    digest: Option<Digest>,
    key_id: Arc<str>,
    amount: Micros,
    tokens: u64,
    placed_at: Timestamp,
    facts: CallFacts,
    lease_id: Option<Arc<str>>,
    journaled: bool,
    idempotency_key: Option<String>,
}

impl Account {
    pub fn new(parts: Parts, account_id: Arc<str>, locator: Arc<str>, activation: u64, incarnation: u64) -> Self {
        let now = parts.clock.now();
        Self {
            credits: Credits::new(parts.policy.lease_horizon, now),
            in_flight: InFlight::default(),
            parts,
            account_id,
            locator,
            activation,
            incarnation,
            loaded: None,
            open: HashMap::new(),
            next_number: 1,
            journaling: false,
            last_active: now,
        }
    }

    /// All checks of a call but the credits, in the order in which their refusals help most.
    fn check(&mut self, message: &Admit, now: Timestamp) -> Result<(), Refusal> {
        let verified_required = self.parts.policy.require_verified_email;
        let Some(loaded) = &mut self.loaded else { return Err(STORE_AWAY) };
        let key = find_key(&mut loaded.keys, &message.credentials)?;
        key.check(message.credentials.scope, message.credentials.ip, now)?;
        check_account(&loaded.record, verified_required)?;
        if !key.record.allows_model(&message.call.model) {
            return Err(Refusal::ModelNotAllowed(message.call.model.to_string()));
        }
        key.limiters.check_concurrency()?;
        loaded.limiters.check_concurrency()?;
        key.hold_budget(message.hold, now)?;
        let tokens = message.tokens;
        let counted = key.limiters.take_tokens(tokens, now).and_then(|()| {
            let account = loaded.limiters.take_tokens(tokens, now);
            account.inspect_err(|_| key.limiters.give_back_tokens(tokens))
        });
        let counted = counted.and_then(|()| {
            let requests = key.limiters.count_request(&self.parts.clock).and_then(|()| loaded.limiters.count_request(&self.parts.clock));
            requests.inspect_err(|_| {
                key.limiters.give_back_tokens(tokens);
                loaded.limiters.give_back_tokens(tokens);
            })
        });
        if counted.is_err() {
            key.settle_budget(message.hold, 0, now);
            return counted;
        }
        // From here on it counts as running, also while it waits for a lease.
        key.limiters.enter();
        loaded.limiters.enter();
        Ok(())
    }

    /// Undoes [`Self::check`] for a call that got no credits.
    fn uncheck(&mut self, message: &Admit, now: Timestamp) {
        let Some(loaded) = &mut self.loaded else { return };
        loaded.limiters.give_back_tokens(message.tokens);
        loaded.limiters.leave();
        if let Ok(key) = find_key(&mut loaded.keys, &message.credentials) {
            key.limiters.give_back_tokens(message.tokens);
            key.limiters.leave();
            key.settle_budget(message.hold, 0, now);
        }
    }

    /// Turns a call that has its credits into an admission.
    fn admit(
        &mut self,
        message: Admit,
        allocations: Vec<crate::domain::purse::Allocation>,
        reply: Reply<Result<Admission, NotAdmitted>>,
        ctx: &mut Ctx<Self>,
    ) {
        let now = self.parts.clock.now();
        let known = self.loaded.as_mut().and_then(|loaded| {
            let key = find_key(&mut loaded.keys, &message.credentials).ok()?;
            Some((&mut loaded.limiters, key, loaded.own_keys.clone(), loaded.record.keep_content))
        });
        let Some((limiters, key, own_keys, keep_content)) = known else {
            // The key or the account went away while the call waited for its lease.
            self.credits.returned(allocations, 0);
            self.reject(message, reply, UNKNOWN_KEY);
            return;
        };
        let account_rate = limiters.rate_state(RateState::default(), now);
        let rate = key.limiters.rate_state(account_rate, now);
        let (key_id, options, digest): (Arc<str>, _, _) = (key.id.clone(), key.record.options, key.record.digest);
        let number = self.next_number;
        self.next_number += 1;
        let lease = self.credits.lease_of(&allocations);
        let hold = held::Hold {
            number,
            incarnation: self.incarnation,
            generation: self.credits.generation(),
            allocations,
            amount: message.hold,
            slot: message.slot,
            lease: lease.clone(),
            account: message.account,
            journal: self.parts.journal.clone(),
        };
        let idempotency_key = message.idempotency.map(|claim| claim.key);
        self.open.insert(
            number,
            OpenCall {
                digest,
                key_id: key_id.clone(),
                amount: message.hold,
                tokens: message.tokens,
                placed_at: now,
                facts: message.call,
                lease_id: lease.map(|lease| lease.id().clone()),
                journaled: false,
                idempotency_key,
            },
        );
        self.journal_holds_later(ctx);
        let keeps_content = self.parts.policy.keep_content.applies(keep_content);
        let account_id = self.account_id.clone();
        let admission = Admission { account_id, key_id, options, own_keys, keeps_content, held: HeldCredits::new(hold), rate };
        // An asker that is gone drops the admission, which returns what it holds.
        drop(reply.send(Ok(admission)));
    }

    fn refuse(&mut self, refusal: Refusal, reply: Reply<Result<Admission, NotAdmitted>>, who: &Credentials) {
        let now = self.parts.clock.now();
        let rate = self.loaded.as_mut().map_or_else(RateState::default, |loaded| {
            let account = loaded.limiters.rate_state(RateState::default(), now);
            find_key(&mut loaded.keys, who).map_or(account, |key| key.limiters.rate_state(account, now))
        });
        let _ = reply.send(Err(NotAdmitted::Refused(refusal, Box::new(rate))));
    }

    /// Makes calls that stay open for long visible to operators; short ones never reach the store.
    fn journal_holds_later(&mut self, ctx: &mut Ctx<Self>) {
        if self.journaling {
            return;
        }
        self.journaling = true;
        ctx.after(self.parts.policy.journal_holds_after, |account, ctx| {
            account.journaling = false;
            let before = account.parts.clock.now() - micros(account.parts.policy.journal_holds_after);
            let mut young = false;
            for call in account.open.values_mut().filter(|call| !call.journaled) {
                if call.placed_at > before {
                    young = true;
                    continue;
                }
                call.journaled = true;
                account.parts.journal.hold_opened(OpenHold {
                    id: call.facts.id.clone(),
                    request_id: call.facts.request_id.clone(),
                    account_id: account.account_id.to_string(),
                    key_id: call.key_id.to_string(),
                    lease_id: call.lease_id.as_deref().unwrap_or_default().to_owned(),
                    amount: call.amount,
                    endpoint: call.facts.endpoint.to_owned(),
                    model: call.facts.model.to_string(),
                    created_at: call.placed_at,
                });
            }
            if young {
                account.journal_holds_later(ctx);
            }
        });
    }

    /// Asks the directory to end this actor when it was idle for long enough, and looks again later otherwise.
    fn watch_idleness(&mut self, ctx: &mut Ctx<Self>) {
        ctx.after(self.parts.policy.idle, |account, ctx| {
            let idle_since = account.parts.clock.now() - micros(account.parts.policy.idle);
            if account.is_idle() && account.last_active <= idle_since {
                account.passivate();
            }
            account.watch_idleness(ctx);
        });
    }

    /// Catches changes that another node wrote: an account in use is read again twice a minute.
    fn follow_other_nodes(&mut self, ctx: &mut Ctx<Self>) {
        ctx.after(FOLLOW_EVERY, |account, ctx| {
            if account.last_active >= account.parts.clock.now() - micros(FOLLOW_EVERY) {
                account.load(ctx);
            }
            account.follow_other_nodes(ctx);
        });
    }

    fn is_idle(&self) -> bool {
        self.open.is_empty() && !self.credits.is_acquiring()
    }

    fn passivate(&self) {
        // A directory that is busy is asked again after the next idle time.
        let _ = self.parts.directory.tell(Passivate { locator: self.locator.clone(), activation: self.activation });
    }
}

const STORE_AWAY: Refusal =
    Refusal::Overloaded { what: "the account cannot be loaded because the database is out of reach", retry_after_ms: 1_000 };

const UNKNOWN_KEY: Refusal = Refusal::InvalidKey("this API key is not known; check it for typos or create a new one");

/// The key that was presented, whichever pepper it is kept under.
fn find_key<'a>(keys: &'a mut HashMap<Digest, Key>, who: &Credentials) -> Result<&'a mut Key, Refusal> {
    let digest = who.digests.all().iter().find(|digest| keys.contains_key(*digest)).ok_or(UNKNOWN_KEY)?;
    let key = keys.get_mut(digest).ok_or(UNKNOWN_KEY)?;
    if key.record.digest.is_some_and(|own| bool::from(own.ct_eq(digest))) { Ok(key) } else { Err(UNKNOWN_KEY) }
}

/// The key of a call that began when it was kept under `digest`; it may have been hashed anew since.
fn key_of_call<'a>(keys: &'a mut HashMap<Digest, Key>, digest: Option<&Digest>, id: &str) -> Option<&'a mut Key> {
    if let Some(digest) = digest
        && keys.get(digest).is_some_and(|key| *key.id == *id)
    {
        return keys.get_mut(digest);
    }
    keys.values_mut().find(|key| *key.id == *id)
}

fn check_account(account: &Record, verified_required: bool) -> Result<(), Refusal> {
    match account.status {
        AccountStatus::Suspended => Err(Refusal::AccountNotActive("suspended")),
        AccountStatus::Closed => Err(Refusal::AccountNotActive("closed")),
        AccountStatus::Active if account.restricted_at.is_some() => Err(Refusal::ProcessingRestricted),
        AccountStatus::Active if verified_required && account.verified_at.is_none() => Err(Refusal::EmailUnverified),
        AccountStatus::Active => Ok(()),
    }
}

fn micros(duration: Duration) -> Timestamp {
    Timestamp::try_from(duration.as_micros()).unwrap_or(60 * SECOND)
}

impl Service for Account {
    const KIND: &'static str = "account";

    fn started(&mut self, ctx: &mut Ctx<Self>) {
        self.load(ctx);
        self.watch_idleness(ctx);
        if self.parts.db.engine() == Engine::Postgres {
            self.follow_other_nodes(ctx);
        }
    }

    fn observe(&self) -> serde_json::Value {
        serde_json::json!({
            "account_id": *self.account_id,
            "keys": self.loaded.as_ref().map_or(0, |loaded| loaded.keys.len()),
            "open_calls": self.open.len(),
            "held_micros": self.open.values().map(|call| call.amount).sum::<Micros>(),
            "unheld_micros": self.credits.unheld(),
        })
    }
}

impl Receive<Admit> for Account {
    fn receive(&mut self, message: Admit, reply: Reply<Result<Admission, NotAdmitted>>, ctx: &mut Ctx<Self>) -> Result<(), Fault> {
        if reply.is_abandoned() {
            return Ok(());
        }
        self.recognise(&message.credentials, ctx);
        let now = self.parts.clock.now();
        self.last_active = now;
        let (message, reply) = match self.join_in_flight(message, reply, now) {
            Some(fresh) => fresh,
            None => return Ok(()),
        };
        if let Err(refusal) = self.check(&message, now) {
            self.refuse(refusal, reply, &message.credentials);
            return Ok(());
        }
        if let Some(claim) = &message.idempotency {
            self.in_flight.begin(claim);
        }
        self.note_use(&message.credentials, now);
        self.hold_or_wait(message, reply, ctx);
        Ok(())
    }
}

impl Receive<Settled> for Account {
    fn receive(&mut self, settled: Settled, _: Reply<()>, ctx: &mut Ctx<Self>) -> Result<(), Fault> {
        if settled.incarnation != self.incarnation {
            return Ok(());
        }
        let Some(call) = self.open.remove(&settled.number) else { return Ok(()) };
        let now = self.parts.clock.now();
        if let Some(loaded) = &mut self.loaded {
            loaded.limiters.leave();
            loaded.limiters.settle_tokens(call.tokens, settled.tokens, now);
            if let Some(key) = key_of_call(&mut loaded.keys, call.digest.as_ref(), &call.key_id) {
                key.limiters.leave();
                key.limiters.settle_tokens(call.tokens, settled.tokens, now);
                key.settle_budget(call.amount, settled.cost, now);
            }
        }
        if call.journaled {
            self.parts.journal.hold_closed(call.facts.id);
        }
        self.credits.returned(settled.unused, settled.cost);
        if let Some(key) = &call.idempotency_key {
            self.in_flight.end(key, settled.ended.is_some(), &self.account_id, now);
        }
        self.serve_waiting(ctx);
        Ok(())
    }
}

impl Receive<Withdrawn> for Account {
    fn receive(&mut self, Withdrawn { incarnation, capture }: Withdrawn, _: Reply<()>, ctx: &mut Ctx<Self>) -> Result<(), Fault> {
        if incarnation != self.incarnation {
            return Ok(());
        }
        let key = self.loaded.as_mut().and_then(|loaded| loaded.keys.values_mut().find(|key| key.record.id == capture.usage.key_id));
        if let Some(key) = key {
            key.refund_budget(capture.usage.cost_micros);
        }
        if let Some(idempotency) = &capture.idempotency {
            self.in_flight.forget(&idempotency.idempotency_key);
        }
        self.credits.returned(capture.allocations.clone(), 0);
        self.serve_waiting(ctx);
        Ok(())
    }
}

impl Receive<ExtendHold> for Account {
    fn receive(
        &mut self,
        message: ExtendHold,
        reply: Reply<Vec<crate::domain::purse::Allocation>>,
        _: &mut Ctx<Self>,
    ) -> Result<(), Fault> {
        let more = if message.incarnation == self.incarnation {
            self.credits.take_up_to(message.amount, self.parts.clock.now())
        } else {
            Vec::new()
        };
        if let Err(unwanted) = reply.send(more) {
            self.credits.returned(unwanted, 0);
        }
        Ok(())
    }
}

impl Receive<Authenticate> for Account {
    fn receive(
        &mut self,
        Authenticate(who): Authenticate,
        reply: Reply<Result<Identity, Refusal>>,
        ctx: &mut Ctx<Self>,
    ) -> Result<(), Fault> {
        self.recognise(&who, ctx);
        let now = self.parts.clock.now();
        self.last_active = now;
        let verified_required = self.parts.policy.require_verified_email;
        let account_id = self.account_id.to_string();
        let identity = self.loaded.as_mut().ok_or(STORE_AWAY).and_then(|loaded| {
            let key = find_key(&mut loaded.keys, &who)?;
            key.check(who.scope, who.ip, now)?;
            check_account(&loaded.record, verified_required)?;
            let (budget_spent, budget_left) = key.budget_state(now);
            Ok(Identity { account_id, key: key.record.clone(), account_limits: loaded.limiters.limits(), budget_spent, budget_left })
        });
        if identity.is_ok() {
            self.note_use(&who, now);
        }
        let _ = reply.send(identity);
        Ok(())
    }
}

impl Receive<CreditsChanged> for Account {
    fn receive(&mut self, _: CreditsChanged, reply: Reply<()>, ctx: &mut Ctx<Self>) -> Result<(), Fault> {
        self.credits.forget_exhaustion();
        self.serve_waiting(ctx);
        let _ = reply.send(());
        Ok(())
    }
}

impl Receive<AskPosition> for Account {
    fn receive(&mut self, _: AskPosition, reply: Reply<Position>, _: &mut Ctx<Self>) -> Result<(), Fault> {
        let held = self.open.values().map(|call| call.amount).sum();
        let _ = reply.send(self.credits.position(held, self.parts.clock.now()));
        Ok(())
    }
}

impl Receive<PassivateIfIdle> for Account {
    fn receive(&mut self, _: PassivateIfIdle, reply: Reply<bool>, _: &mut Ctx<Self>) -> Result<(), Fault> {
        let idle = self.is_idle();
        if idle {
            self.passivate();
        }
        let _ = reply.send(idle);
        Ok(())
    }
}
