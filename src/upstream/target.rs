//! An upstream as calls need it.

use super::{ApiKey, auth::GoogleTokens, key_ring::KeyRing, presets::Preset};
use crate::{
    dialect::{Endpoint, format::Quirks},
    domain::catalog::{ProviderKind, Timeouts, Upstream, UpstreamOptions},
};

/// One configured upstream, with what its provider is known to speak and need. A change of configuration is a new target. Threads share
/// it, and with it whose turn it is among the keys.
#[derive(Debug)]
pub struct Target {
    pub name: String,
    pub provider: ProviderKind,
    /// Formats it is called in; see `dialect::plan`.
    pub speaks: Vec<Endpoint>,
    pub quirks: Quirks,
    /// Empty for the provider's own.
    pub base_url: String,
    pub options: UpstreamOptions,
    pub keys: KeyRing,
    /// Whether callers may bring keys of their own.
    pub takes_own_keys: bool,
    pub timeouts: Timeouts,
    pub(super) tokens: GoogleTokens,
}

impl Target {
    /// Options that make no sense fall back to the provider's; they are refused where they are written.
    pub fn new(upstream: &Upstream, keys: Vec<ApiKey>) -> Self {
        let Upstream { name, provider, base_url, options, timeouts, .. } = upstream;
        let preset = Preset::of(*provider);
        let plain = UpstreamOptions::default();
        let speaks = preset.speaks(options).or_else(|_| preset.speaks(&plain)).unwrap_or_default();
        let quirks = preset.quirks(options).or_else(|_| preset.quirks(&plain)).unwrap_or_default();
        Self {
            name: name.clone(),
            provider: *provider,
            speaks,
            quirks,
            base_url: base_url.clone(),
            options: options.clone(),
            keys: KeyRing::new(keys),
            takes_own_keys: preset.takes_own_keys(base_url, options),
            timeouts: *timeouts,
            tokens: GoogleTokens::default(),
        }
    }
}
