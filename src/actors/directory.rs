//! Who is active: one directory per worker thread, and the map from a key to its account's actor.
//!
//! Owns: the activation of its shard's accounts (single flight), the negative cache of unknown keys.
//! Asked: [`Activate`] on a miss; told: [`Passivate`]. Hits never reach it: [`Accounts`] looks the handle up in a shared map.
//! When the store is away: nothing can be activated; callers are refused with 503.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    account::{
        self, Account, Admission, Admit, AskPosition, Authenticate, Credentials, CreditsChanged, Identity, NotAdmitted, PassivateIfIdle,
        Position, Reload,
    },
    journal::JournalClient,
    legacy_keys::LegacyKeysClient,
    supervision::{ActorTree, AskError, Ctx, Fault, Handle, Message, Receive, Reply, Service, ServiceContext, Spec, Vitals, spawn},
};
use crate::{
    clock::Clock,
    domain::{SECOND, Timestamp, api_key::Digest, key_hash::Digests, refusal::Refusal},
    store::{self, Db, StoreError, seal::Sealer},
    telemetry::redact::Secret,
};

/// One admit waits at most this long, a lease included.
const ADMIT_DEADLINE: Duration = Duration::from_secs(12);
const ACTIVATE_DEADLINE: Duration = Duration::from_secs(12);
const CONTROL_DEADLINE: Duration = Duration::from_secs(10);
const ACCOUNT_MAILBOX: usize = 16_384;
const DIRECTORY_MAILBOX: usize = 4_096;
/// Keys of unknown accounts remembered per shard.
const UNKNOWN_MAX: usize = 10_000;
const FOREIGN_MAX: usize = 100_000;

static ACTIVATIONS: AtomicU64 = AtomicU64::new(1);
static INCARNATIONS: AtomicU64 = AtomicU64::new(1);

/// How a presented key names its account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// The locator inside a standard key.
    Locator(Arc<str>),
    /// Any other key is found by its digest.
    Digest(Digest),
}

/// A key as a caller presented it: where to look, and the proof.
#[derive(Debug, Clone)]
pub struct Presented {
    pub address: Address,
    pub credentials: Credentials,
    /// Of a key without locator: an older schema may have kept it as it is.
    pub text: Option<Secret>,
}

/// Why an account could not be asked.
#[derive(Debug)]
pub enum Unreachable {
    UnknownKey,
    /// The store is away or this node is full.
    Overloaded(&'static str),
}

impl From<Unreachable> for Refusal {
    fn from(unreachable: Unreachable) -> Self {
        match unreachable {
            Unreachable::UnknownKey => Refusal::InvalidKey("this API key is not known; check it for typos or create a new one"),
            Unreachable::Overloaded(what) => Refusal::Overloaded { what, retry_after_ms: 1_000 },
        }
    }
}

/// Reaches the actor of any account of this node, from every thread. Clones share it.
#[derive(Clone)]
pub struct Accounts(Arc<Shared>);

struct Shared {
    shards: Vec<Shard>,
    hasher: RandomState,
    /// Locators of keys that do not carry one.
    foreign: RwLock<HashMap<Digest, Arc<str>>>,
}

#[derive(Default)]
struct Shard {
    directory: OnceLock<Handle<Directory>>,
    active: RwLock<HashMap<Arc<str>, Active>>,
}

/// An active account and the number of its activation.
#[derive(Clone)]
struct Active {
    activation: u64,
    account: Handle<Account>,
}

impl Accounts {
    pub fn new(shards: usize) -> Self {
        let shards = (0..shards.max(1)).map(|_| Shard::default()).collect();
        Self(Arc::new(Shared { shards, hasher: RandomState::new(), foreign: RwLock::default() }))
    }

    /// The one question of a paid call. `slot` is asked for anew when the account had to be found again.
    pub async fn admit(
        &self,
        presented: &Presented,
        mut admit: impl FnMut(Handle<Account>) -> Result<Admit, Refusal>,
    ) -> Result<Result<Admission, NotAdmitted>, Refusal> {
        // Twice: an account that passivates at this very moment is activated again.
        for _ in 0..2 {
            let account = self.find(presented).await?;
            match account.ask(admit(account.clone())?, ADMIT_DEADLINE).await {
                Ok(verdict) => return Ok(verdict),
                Err(AskError::Ended) => continue,
                Err(error) => return Err(Unreachable::Overloaded(explain(error)).into()),
            }
        }
        Err(Unreachable::Overloaded("the account is just being unloaded").into())
    }

    pub async fn authenticate(&self, presented: &Presented) -> Result<Identity, Refusal> {
        for _ in 0..2 {
            let account = self.find(presented).await?;
            match account.ask(Authenticate(presented.credentials), ADMIT_DEADLINE).await {
                Ok(identity) => return identity,
                Err(AskError::Ended) => continue,
                Err(error) => return Err(Unreachable::Overloaded(explain(error)).into()),
            }
        }
        Err(Unreachable::Overloaded("the account is just being unloaded").into())
    }

    /// The account or one of its keys was written: the next call must see it.
    pub async fn changed(&self, locator: &str) {
        self.forget_unknown(locator).await;
        if let Some(account) = self.active(locator)
            && !matches!(account.ask(Reload, CONTROL_DEADLINE).await, Ok(true) | Err(AskError::Ended))
        {
            tracing::error!(account.locator = %locator, "a change of this account could not be loaded; its actor is ended instead");
            let _ = account.stop(CONTROL_DEADLINE).await;
            self.0.remove(locator, None);
        }
    }

    /// A key that does not carry a locator was written.
    pub fn foreign_key_changed(&self, digest: &Digest) {
        self.0.foreign.write().unwrap_or_else(PoisonError::into_inner).remove(digest);
    }

    /// Credits were granted or taken in the store.
    pub async fn credits_changed(&self, locator: &str) {
        if let Some(account) = self.active(locator) {
            // An account that ends meanwhile reads the store anew anyway.
            let _ = account.ask(CreditsChanged, CONTROL_DEADLINE).await;
        }
    }

    /// How this node's share of an active account stands; `None` when the account is not active here.
    pub async fn position(&self, locator: &str) -> Result<Option<Position>, AskError> {
        let Some(account) = self.active(locator) else { return Ok(None) };
        match account.ask(AskPosition, CONTROL_DEADLINE).await {
            Ok(position) => Ok(Some(position)),
            Err(AskError::Ended) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn active_count(&self) -> usize {
        self.0.shards.iter().map(|shard| shard.active.read().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// Ends all accounts in order; their leases close behind the captures that were handed in.
    pub async fn stop(&self, deadline: Duration) {
        for shard in &self.0.shards {
            let accounts: Vec<_> =
                shard.active.write().unwrap_or_else(PoisonError::into_inner).drain().map(|(_, active)| active.account).collect();
            for account in accounts {
                if account.stop(deadline).await.is_err() {
                    tracing::warn!(actor.name = %account.vitals().name(), "account did not end in time; its lease expires");
                }
            }
        }
    }

    fn active(&self, locator: &str) -> Option<Handle<Account>> {
        self.0.shard(locator).active.read().unwrap_or_else(PoisonError::into_inner).get(locator).map(|active| active.account.clone())
    }

    async fn find(&self, presented: &Presented) -> Result<Handle<Account>, Unreachable> {
        let locator = match &presented.address {
            Address::Locator(locator) => locator.clone(),
            Address::Digest(digest) => {
                let known = self.0.foreign.read().unwrap_or_else(PoisonError::into_inner).get(digest).cloned();
                match known {
                    Some(locator) => locator,
                    None => self.resolve(digest, presented).await?,
                }
            }
        };
        if let Some(account) = self.active(&locator) {
            return Ok(account);
        }
        self.ask_directory(&locator, Activate(locator.clone())).await
    }

    async fn resolve(&self, digest: &Digest, presented: &Presented) -> Result<Arc<str>, Unreachable> {
        // A digest has no shard of its own; its bytes choose one.
        let shard = usize::from(digest[0]) % self.0.shards.len();
        let locator = match self.0.shards[shard].directory.get() {
            Some(directory) => directory
                .ask(Resolve { digests: presented.credentials.digests, text: presented.text.clone() }, ACTIVATE_DEADLINE)
                .await
                .unwrap_or_else(|error| Err(Unreachable::Overloaded(explain(error))))?,
            None => return Err(Unreachable::Overloaded("this node is still starting")),
        };
        // It is new to this node, and may be new to an account that is active already.
        if let Some(account) = self.active(&locator) {
            // One that ends meanwhile reads the store anew anyway.
            let _ = account.ask(Reload, CONTROL_DEADLINE).await;
        }
        let mut foreign = self.0.foreign.write().unwrap_or_else(PoisonError::into_inner);
        if foreign.len() >= FOREIGN_MAX {
            foreign.clear();
        }
        foreign.insert(*digest, locator.clone());
        Ok(locator)
    }

    async fn forget_unknown(&self, locator: &str) {
        for shard in &self.0.shards {
            if let Some(directory) = shard.directory.get() {
                // A directory that was just rebuilt has forgotten already.
                let _ = directory.ask(ForgetUnknown(locator.into()), CONTROL_DEADLINE).await;
            }
        }
    }

    async fn ask_directory<M, T>(&self, locator: &str, message: M) -> Result<T, Unreachable>
    where
        M: Message<Reply = Result<T, Unreachable>>,
        Directory: Receive<M>,
    {
        match self.0.shard(locator).directory.get() {
            Some(directory) => {
                directory.ask(message, ACTIVATE_DEADLINE).await.unwrap_or_else(|error| Err(Unreachable::Overloaded(explain(error))))
            }
            None => Err(Unreachable::Overloaded("this node is still starting")),
        }
    }
}

fn explain(error: AskError) -> &'static str {
    match error {
        AskError::Full => "too many calls wait for this account",
        AskError::TimedOut => "the account did not answer in time",
        AskError::Failed => "the account's actor failed and was restarted",
        AskError::Ended => "the account's actor has ended",
    }
}

impl Shared {
    fn shard_index(&self, locator: &str) -> usize {
        (self.hasher.hash_one(locator) % self.shards.len() as u64) as usize
    }

    fn shard(&self, locator: &str) -> &Shard {
        &self.shards[self.shard_index(locator)]
    }

    /// Removes an account; with `activation` only if it is still that one.
    fn remove(&self, locator: &str, activation: Option<u64>) -> Option<Handle<Account>> {
        let mut active = self.shard(locator).active.write().unwrap_or_else(PoisonError::into_inner);
        if active.get(locator).is_some_and(|there| activation.is_some_and(|activation| there.activation != activation)) {
            return None;
        }
        active.remove(locator).map(|active| active.account)
    }
}

/// What a directory is built from, again after a fault.
#[derive(Clone)]
pub struct Parts {
    pub db: Db,
    pub sealer: Sealer,
    pub clock: Clock,
    pub journal: JournalClient,
    pub tree: ActorTree,
    pub policy: account::Policy,
    /// Takes over keys of an older schema.
    pub legacy_keys: Option<LegacyKeysClient>,
    pub unknown_key_ttl: Duration,
    /// Active accounts on this shard.
    pub active_max: usize,
}

/// Starts the directory of shard `index` on the current thread, which will run that shard's accounts.
pub fn attach(accounts: &Accounts, index: usize, parts: Parts, parent: &Arc<Vitals>) -> Handle<Directory> {
    let tree = parts.tree.clone();
    let shared = accounts.0.clone();
    let own = Arc::new(OnceLock::new());
    let for_factory = own.clone();
    let spec = Spec::new(format!("directory-{index}"), DIRECTORY_MAILBOX, move || Directory {
        shared: shared.clone(),
        index,
        parts: parts.clone(),
        own: for_factory.clone(),
        activating: HashMap::new(),
        unknown: HashMap::new(),
    });
    let handle = spawn(&tree, spec.under(parent));
    // Set once per process and shard: a rebuilt directory keeps its address.
    let _ = own.set(handle.clone());
    let _ = accounts.0.shards[index].directory.set(handle.clone());
    handle
}

pub struct Directory {
    shared: Arc<Shared>,
    index: usize,
    parts: Parts,
    own: Arc<OnceLock<Handle<Directory>>>,
    /// Who waits for an account that is being loaded.
    activating: HashMap<Arc<str>, Vec<Reply<Activated>>>,
    unknown: HashMap<Address, Timestamp>,
}

impl Directory {
    fn is_unknown(&mut self, address: &Address) -> bool {
        let now = self.parts.clock.now();
        self.unknown.get(address).is_some_and(|until| *until > now)
    }

    fn remember_unknown(&mut self, address: Address) {
        let now = self.parts.clock.now();
        if self.unknown.len() >= UNKNOWN_MAX {
            self.unknown.retain(|_, until| *until > now);
            if self.unknown.len() >= UNKNOWN_MAX {
                self.unknown.clear();
            }
        }
        let ttl = Timestamp::try_from(self.parts.unknown_key_ttl.as_micros()).unwrap_or(30 * SECOND);
        self.unknown.insert(address, now + ttl);
    }

    fn activate(&mut self, locator: &Arc<str>, account_id: Arc<str>) -> Result<Handle<Account>, Unreachable> {
        let Some(own) = self.own.get().cloned() else { return Err(Unreachable::Overloaded("this node is still starting")) };
        let activation = ACTIVATIONS.fetch_add(1, Ordering::Relaxed);
        let parts = account::Parts {
            db: self.parts.db.clone(),
            sealer: self.parts.sealer.clone(),
            clock: self.parts.clock.clone(),
            journal: self.parts.journal.clone(),
            policy: self.parts.policy,
            directory: own.clone(),
        };
        let name = account_id.to_string();
        let (for_factory, escalated) = (locator.clone(), (self.shared.clone(), locator.clone()));
        let factory = move || {
            // Every incarnation has a number of its own, so that holds of an earlier one are not mistaken for its.
            let incarnation = INCARNATIONS.fetch_add(1, Ordering::Relaxed);
            Account::new(parts.clone(), account_id.clone(), for_factory.clone(), activation, incarnation)
        };
        let spec = Spec::new(name, ACCOUNT_MAILBOX, factory).under(own.vitals()).on_escalation(move |_| {
            // Given up: the next call activates the account anew.
            escalated.0.remove(&escalated.1, Some(activation));
        });
        let handle = spawn(&self.parts.tree, spec);
        self.shared.shards[self.index]
            .active
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(locator.clone(), Active { activation, account: handle.clone() });
        Ok(handle)
    }

    fn activated(&mut self, locator: &Arc<str>, found: Result<Option<crate::domain::account::Account>, StoreError>) {
        let waiting = self.activating.remove(locator).unwrap_or_default();
        let outcome = match found {
            Ok(Some(record)) => self.activate(locator, record.id.into()),
            Ok(None) => {
                self.remember_unknown(Address::Locator(locator.clone()));
                Err(Unreachable::UnknownKey)
            }
            Err(error) => {
                tracing::warn!(error = %error, "account could not be activated");
                Err(Unreachable::Overloaded("the account cannot be loaded because the database is out of reach"))
            }
        };
        for reply in waiting {
            let answer = match &outcome {
                Ok(handle) => Ok(handle.clone()),
                Err(Unreachable::UnknownKey) => Err(Unreachable::UnknownKey),
                Err(Unreachable::Overloaded(what)) => Err(Unreachable::Overloaded(what)),
            };
            let _ = reply.send(answer);
        }
    }

    fn active_count(&self) -> usize {
        self.shared.shards[self.index].active.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Asks some accounts to end if they are idle, to make room.
    fn make_room(&self) {
        let active = self.shared.shards[self.index].active.read().unwrap_or_else(PoisonError::into_inner);
        for active in active.values().take(256) {
            // One that is busy or full stays.
            let _ = active.account.tell(PassivateIfIdle);
        }
    }
}

impl Service for Directory {
    const KIND: &'static str = "directory";

    fn observe(&self) -> serde_json::Value {
        serde_json::json!({ "active": self.active_count(), "activating": self.activating.len(), "unknown": self.unknown.len() })
    }
}

type Activated = Result<Handle<Account>, Unreachable>;

/// Start the account with this locator, or answer with the running one.
pub struct Activate(pub Arc<str>);

impl Message for Activate {
    type Reply = Activated;
}

impl Receive<Activate> for Directory {
    fn receive(
        &mut self,
        Activate(locator): Activate,
        reply: Reply<Result<Handle<Account>, Unreachable>>,
        ctx: &mut Ctx<Self>,
    ) -> Result<(), Fault> {
        let active = self.shared.shards[self.index].active.read().unwrap_or_else(PoisonError::into_inner).get(&locator).cloned();
        if let Some(active) = active {
            let _ = reply.send(Ok(active.account));
            return Ok(());
        }
        if self.is_unknown(&Address::Locator(locator.clone())) {
            let _ = reply.send(Err(Unreachable::UnknownKey));
            return Ok(());
        }
        if self.active_count() >= self.parts.active_max {
            self.make_room();
            let _ = reply.send(Err(Unreachable::Overloaded("this node holds as many active accounts as it may")));
            return Ok(());
        }
        let first = !self.activating.contains_key(&locator);
        self.activating.entry(locator.clone()).or_default().push(reply);
        if first {
            let db = self.parts.db.clone();
            let wanted = locator.clone();
            let load = async move { store::accounts::by_locator(&db, &wanted).await };
            ctx.run(load, move |directory, found, _| directory.activated(&locator, found));
        }
        Ok(())
    }
}

/// Which account owns the key that is kept under one of these digests, or as this text?
pub struct Resolve {
    pub digests: Digests,
    pub text: Option<Secret>,
}

impl Message for Resolve {
    type Reply = Result<Arc<str>, Unreachable>;
}

impl Receive<Resolve> for Directory {
    fn receive(
        &mut self,
        Resolve { digests, text }: Resolve,
        reply: Reply<Result<Arc<str>, Unreachable>>,
        ctx: &mut Ctx<Self>,
    ) -> Result<(), Fault> {
        let digest = *digests.current();
        if self.is_unknown(&Address::Digest(digest)) {
            let _ = reply.send(Err(Unreachable::UnknownKey));
            return Ok(());
        }
        let (db, legacy_keys) = (self.parts.db.clone(), self.parts.legacy_keys.clone());
        let find = async move {
            let known = store::keys::find_by_digest(&db, digests.all()).await?.map(|key| key.account_id);
            let account_id = match (known, text, legacy_keys) {
                (None, Some(text), Some(legacy_keys)) => legacy_keys.take_over(&text).await?,
                (known, ..) => known,
            };
            let Some(account_id) = account_id else { return Ok(None) };
            store::accounts::get(&db, &account_id).await
        };
        ctx.run(find, move |directory, found: Result<_, StoreError>, _| {
            let answer = match found {
                Ok(Some(account)) => Ok(account.locator.into()),
                Ok(None) => {
                    directory.remember_unknown(Address::Digest(digest));
                    Err(Unreachable::UnknownKey)
                }
                Err(error) => {
                    tracing::warn!(error = %error, "key could not be looked up");
                    Err(Unreachable::Overloaded("the key cannot be looked up because the database is out of reach"))
                }
            };
            let _ = reply.send(answer);
        });
        Ok(())
    }
}

/// An account was created or got its first key of another shape: what was unknown may be known now.
pub struct ForgetUnknown(pub Arc<str>);

impl Message for ForgetUnknown {
    type Reply = ();
}

impl Receive<ForgetUnknown> for Directory {
    fn receive(&mut self, ForgetUnknown(locator): ForgetUnknown, reply: Reply<()>, _: &mut Ctx<Self>) -> Result<(), Fault> {
        self.unknown.remove(&Address::Locator(locator));
        self.unknown.retain(|address, _| !matches!(address, Address::Digest(_)));
        let _ = reply.send(());
        Ok(())
    }
}

/// An account has nothing to do and wants to end.
pub struct Passivate {
    pub locator: Arc<str>,
    /// Which activation wants to end; a later one stays.
    pub activation: u64,
}

impl Message for Passivate {
    type Reply = ();
}

impl Receive<Passivate> for Directory {
    fn receive(&mut self, Passivate { locator, activation }: Passivate, _: Reply<()>, ctx: &mut Ctx<Self>) -> Result<(), Fault> {
        // Removed first, so that later calls activate it anew; calls already in its mailbox are served before it stops.
        if let Some(account) = self.shared.remove(&locator, Some(activation)) {
            ctx.run(async move { account.stop(CONTROL_DEADLINE).await }, |_, _, _| {});
        }
        Ok(())
    }
}
