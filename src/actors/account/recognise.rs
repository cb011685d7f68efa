//! Keys that are kept under a former pepper: found all the same, and kept under the current one from their first use on.

use super::{Account, Credentials, find_key};
use crate::{
    actors::supervision::{Ctx, ServiceContext},
    domain::{api_key::Digest, key_hash::Digests},
    store::{self, StoreError},
};

impl Account {
    /// Starts to keep the presented key under the current pepper, if it is kept under a former one.
    pub(super) fn recognise(&mut self, who: &Credentials, ctx: &mut Ctx<Self>) {
        let Some(loaded) = &mut self.loaded else { return };
        let digests = who.digests;
        if digests.all().len() == 1 || loaded.keys.contains_key(digests.current()) {
            return;
        }
        let Some(key) = find_key(&mut loaded.keys, who).ok().filter(|key| !key.rehashing) else { return };
        let Some(from) = key.record.digest else { return };
        key.rehashing = true;
        let (db, id) = (self.parts.db.clone(), key.record.id.clone());
        let rehash = async move { store::keys::rehash(&db, &id, &from, digests.current(), digests.version).await };
        ctx.run(rehash, move |account, outcome, _| account.rehashed(&from, &digests, outcome));
    }

    fn rehashed(&mut self, from: &Digest, digests: &Digests, outcome: Result<bool, StoreError>) {
        let Some(loaded) = &mut self.loaded else { return };
        let Some(mut key) = loaded.keys.remove(from) else { return };
        key.rehashing = false;
        let kept_under = match outcome {
            Ok(true) => {
                (key.record.digest, key.record.pepper_version) = (Some(*digests.current()), digests.version);
                *digests.current()
            }
            // Another node was quicker; the next load brings what it wrote.
            Ok(false) => *from,
            Err(error) => {
                tracing::warn!(key.id = %key.record.id, error = %error, "a key could not be hashed with the current pepper; its next use tries again");
                *from
            }
        };
        loaded.keys.insert(kept_under, key);
    }
}
