//! Keys of an older schema, which kept their text: each is hashed when it is used, all others in the background, and then every trace of
//! their texts is wiped from the database's files.
//!
//! Owns: nothing but its schedule. Told: [`Look`] when a key was taken over. When the store is away: tries again at its next turn; every
//! step can be interrupted and goes on where it was.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::json;

use super::{
    directory::Accounts,
    supervision::{ActorTree, Ctx, Fault, Handle, Message, Receive, Reply, Service, ServiceContext, Spec, Vitals, spawn},
};
use crate::{
    clock::Clock,
    domain::{
        Timestamp,
        key_hash::KeyHasher,
        legacy_key::{self, Strength, Unusable},
        mail,
    },
    store::{
        self, Db, StoreError,
        audit::AuditEntry,
        legacy::{Hashed, LegacyRow, Outcome},
        outbox::NewMail,
        seal::Sealer,
    },
    telemetry::redact::Secret,
};

const MAILBOX: usize = 1_024;
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// When others used the database and it could not be written anew.
const WIPE_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Rows read at a time.
const BATCH: u64 = 200;
/// Rows that the log names when they cannot be used.
const NAMED_MAX: usize = 100;
/// A larger database stands still for too long while it is written anew; `pixgate keys migrate-legacy` does it at a better time.
const WIPE_WHILE_SERVING_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// What taking keys over needs. Clones share everything.
#[derive(Clone)]
pub struct Tools {
    pub db: Db,
    pub sealer: Sealer,
    pub hasher: KeyHasher,
    pub clock: Clock,
    /// How long a key that can be guessed goes on working; `None` for as long as it would have.
    pub weak_key_life: Option<Timestamp>,
}

/// A row that stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    pub key_id: String,
    pub why: Unusable,
}

/// What one pass over all rows did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pass {
    /// Rows at its begin.
    pub total: u64,
    pub seen: u64,
    pub hashed: u64,
    /// Of those, keys that can be guessed.
    pub weak: u64,
    /// Rows that cannot be used.
    pub left: Vec<Left>,
    /// Whose keys were hashed.
    pub accounts: BTreeSet<String>,
}

impl Tools {
    /// How a key of another program is kept. `text` must have been judged.
    pub fn hashed(&self, text: &str, strength: Strength) -> Hashed {
        let digests = self.hasher.digests(text);
        let (prefix, last4) = legacy_key::visible(text);
        let now = self.clock.now();
        Hashed {
            digest: *digests.current(),
            digests: digests.all().to_vec(),
            pepper_version: digests.version,
            prefix,
            last4,
            weak: strength == Strength::Weak,
            weak_until: self.weak_key_life.filter(|_| strength == Strength::Weak).map(|life| now + life),
            now,
        }
    }

    /// Hashes the row that holds this text. Answers with its account; `None` when there is no such row, or none that can be used.
    pub async fn take_over(&self, text: &Secret) -> Result<Option<String>, StoreError> {
        let rows = store::legacy::find(&self.db, text).await?;
        // The database found it by an index; what proves the key is a comparison that takes the same time wherever texts differ.
        let is_same = |row: &&LegacyRow| bool::from(subtle::ConstantTimeEq::ct_eq(row.text.expose().as_bytes(), text.expose().as_bytes()));
        let Some(row) = rows.iter().find(is_same) else { return Ok(None) };
        match self.hash(row).await? {
            (Outcome::Hashed | Outcome::Gone, _) => Ok(Some(row.account_id.clone())),
            (Outcome::Left(why), _) => {
                tracing::warn!(key.id = %row.id, why = %why, "a key of an older schema was presented and cannot be used");
                Ok(None)
            }
        }
    }

    /// Hashes a row, and says whether its key can be guessed.
    async fn hash(&self, row: &LegacyRow) -> Result<(Outcome, bool), StoreError> {
        let strength = match legacy_key::judge(row.text.expose()) {
            Ok(strength) => strength,
            Err(why) => return Ok((Outcome::Left(why), false)),
        };
        let hashed = self.hashed(row.text.expose(), strength);
        let expires_at = [row.expires_at, hashed.weak_until].into_iter().flatten().min();
        let details = json!({ "account_id": row.account_id, "weak": hashed.weak, "pepper_version": hashed.pepper_version });
        let mail = match hashed.weak {
            true => self.warning(&row.account_id, &row.title, &hashed.prefix, expires_at).await?,
            false => None,
        };
        let entry = self.entry("key.hash_legacy", &row.id, details);
        let outcome = store::legacy::hash(&self.db, &self.sealer, row, &hashed, entry, mail.as_ref()).await?;
        Ok((outcome, hashed.weak))
    }

    /// The mail that tells an owner of a key that can be guessed.
    pub async fn warning(
        &self,
        account_id: &str,
        title: &str,
        prefix: &str,
        expires_at: Option<Timestamp>,
    ) -> Result<Option<NewMail>, StoreError> {
        let Some(account) = store::accounts::get(&self.db, account_id).await? else { return Ok(None) };
        Ok(Some(NewMail {
            id: self.clock.new_id("mail"),
            locale: mail::Locale::of(&account.locale),
            account_id: Some(account.id),
            recipient: account.email,
            message: mail::Message::KeyIsWeak { title: title.to_owned(), prefix: prefix.to_owned(), expires_at },
            created_at: self.clock.now(),
        }))
    }

    fn entry(&self, action: &str, key_id: &str, details: serde_json::Value) -> AuditEntry {
        AuditEntry {
            id: self.clock.new_id("aud"),
            actor: "system".to_owned(),
            action: action.to_owned(),
            subject: key_id.to_owned(),
            details,
            created_at: self.clock.now(),
        }
    }

    /// Goes once over all rows. `progress` is told after every few of them.
    pub async fn pass(&self, mut progress: impl FnMut(&Pass)) -> Result<Pass, StoreError> {
        let mut pass = Pass { total: store::legacy::count(&self.db).await?, ..Pass::default() };
        let mut after = String::new();
        loop {
            let rows = store::legacy::list(&self.db, &after, BATCH).await?;
            let Some(last) = rows.last() else { return Ok(pass) };
            after.clone_from(&last.id);
            for row in &rows {
                self.treat(row, &mut pass).await?;
            }
            progress(&pass);
        }
    }

    async fn treat(&self, row: &LegacyRow, pass: &mut Pass) -> Result<(), StoreError> {
        pass.seen += 1;
        match self.hash(row).await? {
            (Outcome::Hashed, is_weak) => {
                pass.hashed += 1;
                pass.weak += u64::from(is_weak);
                pass.accounts.insert(row.account_id.clone());
            }
            (Outcome::Gone, _) => {}
            (Outcome::Left(why), _) => pass.left.push(Left { key_id: row.id.clone(), why }),
        }
        Ok(())
    }

    /// Revokes rows that a pass left, and takes their texts away. Only after a whole pass: without its double, a row of a key that stood
    /// there twice would look as if it could be used.
    pub async fn discard(&self, left: &[Left]) -> Result<(), StoreError> {
        for Left { key_id, why } in left {
            let Some(row) = store::legacy::get(&self.db, key_id).await? else { continue };
            let details = json!({ "account_id": row.account_id, "why": why.as_str() });
            let entry = self.entry("key.discard_legacy", key_id, details);
            store::legacy::discard(&self.db, &row, "legacy_unusable", self.clock.now(), entry).await?;
        }
        Ok(())
    }
}

/// Takes keys over on behalf of every thread. Clones share it.
#[derive(Clone)]
pub struct LegacyKeysClient {
    tools: Tools,
    actor: Handle<LegacyKeys>,
}

impl LegacyKeysClient {
    /// Hashes the row that holds this text; see [`Tools::take_over`].
    pub async fn take_over(&self, text: &Secret) -> Result<Option<String>, StoreError> {
        let account_id = self.tools.take_over(text).await?;
        if account_id.is_some() {
            // Its traces are to go soon. A full mailbox means that it was told already.
            let _ = self.actor.tell(Look);
        }
        Ok(account_id)
    }
}

#[derive(Clone)]
pub struct Parts {
    pub tools: Tools,
    pub accounts: Accounts,
}

pub struct LegacyKeys {
    parts: Parts,
    looking: bool,
    look_again: bool,
    hashed: u64,
    left: Vec<Left>,
    /// The size that was too large to be written anew while serving; told once.
    too_large: Option<u64>,
}

/// Starts the actor on the current thread.
pub fn start(tree: &ActorTree, parts: Parts, parent: &Arc<Vitals>) -> LegacyKeysClient {
    let tools = parts.tools.clone();
    let factory =
        move || LegacyKeys { parts: parts.clone(), looking: false, look_again: false, hashed: 0, left: Vec::new(), too_large: None };
    let actor = spawn(tree, Spec::new("legacy-keys", MAILBOX, factory).under(parent));
    LegacyKeysClient { tools, actor }
}

impl Service for LegacyKeys {
    const KIND: &'static str = "legacy_keys";

    fn started(&mut self, ctx: &mut Ctx<Self>) {
        self.look(ctx);
        ctx.every(LOOK_EVERY, |legacy_keys, ctx| legacy_keys.look(ctx));
    }

    fn observe(&self) -> serde_json::Value {
        json!({ "hashed": self.hashed, "left": self.left.len() })
    }
}

impl LegacyKeys {
    fn look(&mut self, ctx: &mut Ctx<Self>) {
        if self.looking {
            self.look_again = true;
            return;
        }
        (self.looking, self.look_again) = (true, false);
        let (parts, too_large) = (self.parts.clone(), self.too_large);
        ctx.run(async move { turn(&parts, too_large).await }, |legacy_keys, outcome, ctx| {
            legacy_keys.looking = false;
            match outcome {
                Ok(turn) => {
                    if turn.wipe_again {
                        ctx.after(WIPE_AGAIN_AFTER, |legacy_keys, ctx| legacy_keys.look(ctx));
                    }
                    legacy_keys.note(turn);
                }
                Err(error) => tracing::warn!(error = %error, "keys of an older schema could not be treated; the next turn goes on"),
            }
            if legacy_keys.look_again {
                legacy_keys.look(ctx);
            }
        });
    }

    fn note(&mut self, Turn { pass, too_large, .. }: Turn) {
        self.hashed += pass.hashed;
        self.too_large = too_large;
        if pass.hashed > 0 {
            tracing::info!(keys = pass.hashed, weak = pass.weak, "hashed keys of an older schema");
        }
        if pass.left != self.left {
            self.left = pass.left;
            tracing::warn!(
                rows = self.left.len(),
                "rows of an older schema cannot be used; `pixgate keys migrate-legacy` names all of them"
            );
            for left in self.left.iter().take(NAMED_MAX) {
                tracing::warn!(key.id = %left.key_id, why = %left.why, "a key of an older schema cannot be used and still stands in the database");
            }
        }
    }
}

struct Turn {
    pass: Pass,
    too_large: Option<u64>,
    wipe_again: bool,
}

async fn turn(parts: &Parts, too_large: Option<u64>) -> Result<Turn, StoreError> {
    let Parts { tools, accounts } = parts;
    let pass = tools.pass(|_| {}).await?;
    for account_id in &pass.accounts {
        if let Some(account) = store::accounts::get(&tools.db, account_id).await? {
            accounts.changed(&account.locator).await;
        }
    }
    if !store::legacy::must_wipe(&tools.db).await? {
        return Ok(Turn { pass, too_large: None, wipe_again: false });
    }
    let bytes = store::legacy::wipe_size(&tools.db).await?;
    if bytes > WIPE_WHILE_SERVING_BYTES_MAX {
        if too_large.is_none() {
            tracing::warn!(
                bytes,
                "keys of an older schema are hashed, but their texts may still be found in unused parts of the database's files; \
                 run `pixgate keys migrate-legacy` when the database may stand still for a while"
            );
        }
        return Ok(Turn { pass, too_large: Some(bytes), wipe_again: false });
    }
    let wipe_again = match store::legacy::wipe(&tools.db).await {
        Ok(()) => {
            tracing::info!(bytes, "wiped what was left of the texts of hashed keys");
            false
        }
        Err(error) if error.is_unavailable() => {
            tracing::debug!(error = %error, "what is left of the texts of hashed keys is wiped in a moment");
            true
        }
        Err(error) => return Err(error),
    };
    Ok(Turn { pass, too_large: None, wipe_again })
}

/// A key was taken over: its traces are to go.
pub struct Look;

impl Message for Look {
    type Reply = ();
}

impl Receive<Look> for LegacyKeys {
    fn receive(&mut self, _: Look, _: Reply<()>, ctx: &mut Ctx<Self>) -> Result<(), Fault> {
        self.look(ctx);
        Ok(())
    }
}
