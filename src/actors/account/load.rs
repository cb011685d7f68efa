//! Loading an account and its keys, at activation, after a fault and after a change.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    Account, Credentials, Loaded, Reload, find_key,
    key::{History, Key},
    limits::Limiters,
    micros,
    own_keys::OwnKeys,
};
use crate::{
    actors::supervision::{Ctx, Fault, Receive, Reply, ServiceContext},
    domain::{Timestamp, account::Account as Record, api_key::ApiKey, refusal::LimitScope},
    store::{self, StoreError},
};

/// The use of a key is written at most this often.
const NOTE_USE_EVERY: Duration = Duration::from_secs(60);
/// Rotations that a budget is followed through.
const ROTATIONS_MAX: usize = 100;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a fresh incarnation waits for rows of its predecessor.
const BARRIER_DEADLINE: Duration = Duration::from_secs(5);

struct FromStore {
    record: Option<Record>,
    keys: Vec<(ApiKey, History)>,
    own_keys: OwnKeys,
    requests_today: u32,
}

impl Account {
    /// Loads before the next message is looked at. Without the store the actor ends, and the next call tries again.
    pub(super) fn load(&mut self, ctx: &mut Ctx<Self>) {
        let load = self.read();
        ctx.run_first(load, |account, loaded, _| {
            account.take_over(loaded);
        });
    }

    fn read(&self) -> impl Future<Output = Result<FromStore, StoreError>> + use<> {
        let parts = self.parts.clone();
        let account_id = self.account_id.clone();
        async move {
            // Budgets and daily limits are sums over usage rows, so those of earlier calls have to be there.
            if !parts.journal.barrier(BARRIER_DEADLINE).await {
                return Err(StoreError::Unavailable("earlier captures are not written yet".into()));
            }
            let now = parts.clock.now();
            let since_yesterday = now - micros(DAY);
            let record = store::accounts::get(&parts.db, &account_id).await?;
            let records = store::keys::list_by_account(&parts.db, &account_id).await?;
            let mut keys = Vec::new();
            for key in records.clone() {
                let mut spent = 0;
                if let Some(budget) = key.budget {
                    // A rotated key goes on with the budget of those it replaced.
                    for id in replaced(&key, &records) {
                        spent += store::usage::sum_cost(&parts.db, &account_id, id, budget.period.started_at(now)).await?;
                    }
                }
                let requests_today = match key.limits.rpd {
                    Some(_) => store::usage::count(&parts.db, &account_id, Some(&key.id), since_yesterday).await?,
                    None => 0,
                };
                keys.push((key, History { spent, requests_today: clamp(requests_today) }));
            }
            let daily = record.as_ref().and_then(|record| record.limits.or(parts.policy.default_limits).rpd);
            let requests_today = match daily {
                Some(_) => store::usage::count(&parts.db, &account_id, None, since_yesterday).await?,
                None => 0,
            };
            let own_keys = store::provider_keys::list(&parts.db, &account_id).await?;
            let own_keys = OwnKeys::open(&parts.sealer, &own_keys);
            Ok(FromStore { record, keys, own_keys, requests_today: clamp(requests_today) })
        }
    }

    fn take_over(&mut self, loaded: Result<FromStore, StoreError>) -> bool {
        let from_store = match loaded {
            Ok(FromStore { record: Some(record), keys, own_keys, requests_today }) => (record, keys, own_keys, requests_today),
            Ok(FromStore { record: None, .. }) => {
                self.loaded = None;
                self.passivate();
                return true;
            }
            Err(error) => {
                tracing::warn!(account.id = %self.account_id, error = %error, "account could not be loaded");
                // An active account goes on with what it knows.
                if self.loaded.is_none() {
                    self.passivate();
                }
                return false;
            }
        };
        let (record, keys, own_keys, requests_today) = from_store;
        let clock = &self.parts.clock;
        let limits = record.limits.or(self.parts.policy.default_limits);
        let mut former: HashMap<String, Key> = HashMap::new();
        let limiters = match self.loaded.take() {
            Some(loaded) => {
                former = loaded.keys.into_values().map(|key| (key.record.id.clone(), key)).collect();
                let mut limiters = loaded.limiters;
                limiters.adopt(limits, clock);
                limiters
            }
            None => {
                let mut limiters = Limiters::new(LimitScope::Account, limits, clock);
                limiters.count_earlier_today(requests_today);
                limiters
            }
        };
        // Nobody can present a key that is not hashed yet: it is hashed before it is looked for here.
        let keys = keys.into_iter().filter_map(|(record, history)| {
            let digest = record.digest?;
            let key = match former.remove(&record.id) {
                Some(mut key) => {
                    key.adopt(record, &history, clock);
                    key
                }
                None => Key::new(record, &history, clock),
            };
            Some((digest, key))
        });
        self.loaded = Some(Loaded { record, limiters, keys: keys.collect(), own_keys: Arc::new(own_keys) });
        self.credits.forget_exhaustion();
        true
    }

    /// Remembers, at most once a minute, that a key was used.
    pub(super) fn note_use(&mut self, who: &Credentials, now: Timestamp) {
        let Some(key) = self.loaded.as_mut().and_then(|loaded| find_key(&mut loaded.keys, who).ok()) else { return };
        if now - key.noted_at >= micros(NOTE_USE_EVERY) {
            key.noted_at = now;
            self.parts.journal.key_used(&key.record.id, now);
        }
    }
}

/// The key's id and those of the keys it replaced.
fn replaced<'a>(key: &'a ApiKey, all: &'a [ApiKey]) -> impl Iterator<Item = &'a str> {
    std::iter::successors(Some(key), |key| all.iter().find(|other| Some(&other.id) == key.rotated_from.as_ref()))
        .take(ROTATIONS_MAX)
        .map(|key| key.id.as_str())
}

fn clamp(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Receive<Reload> for Account {
    fn receive(&mut self, _: Reload, reply: Reply<bool>, ctx: &mut Ctx<Self>) -> Result<(), Fault> {
        let load = self.read();
        ctx.run_first(load, |account, loaded, _| {
            let _ = reply.send(account.take_over(loaded));
        });
        Ok(())
    }
}
