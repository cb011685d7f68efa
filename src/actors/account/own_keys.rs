//! Keys of providers that an account brought itself, ready to be used.

use std::collections::BTreeMap;

use crate::{
    store::{
        provider_keys::{self, ProviderKey},
        seal::Sealer,
    },
    upstream::ApiKey,
};

/// Keys by the upstream they are for. Calls of the account to that upstream are made with them.
#[derive(Debug, Default)]
pub struct OwnKeys(BTreeMap<String, ApiKey>);

impl OwnKeys {
    pub fn get(&self, upstream: &str) -> Option<&ApiKey> {
        self.0.get(upstream)
    }

    /// One that cannot be opened is left out and reported.
    pub(super) fn open(sealer: &Sealer, sealed: &[ProviderKey]) -> Self {
        let open = |key: &ProviderKey| match provider_keys::open(sealer, key) {
            Ok(secret) => Some((key.upstream.clone(), ApiKey::from(secret))),
            Err(error) => {
                tracing::error!(account.id = %key.account_id, upstream = %key.upstream, error = %error, "an account's own key cannot be used");
                None
            }
        };
        Self(sealed.iter().filter_map(open).collect())
    }
}
