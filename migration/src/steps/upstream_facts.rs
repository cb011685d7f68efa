//! What refines an upstream beyond its provider, further keys of it, and keys that accounts bring for upstreams.

use crate::Step;

pub const STEP: Step = Step {
    name: "m20261122_000006_upstream_facts",
    both: &[
        "ALTER TABLE upstreams ADD COLUMN options TEXT NOT NULL DEFAULT '{}'",
        "ALTER TABLE upstreams ADD COLUMN sealed_api_keys {bytes}",
        "CREATE TABLE account_provider_keys (
            account_id TEXT NOT NULL REFERENCES accounts (id),
            upstream TEXT NOT NULL,
            sealed_key {bytes} NOT NULL,
            last4 TEXT NOT NULL,
            created_at BIGINT NOT NULL,
            PRIMARY KEY (account_id, upstream)
        )",
    ],
    sqlite: &[],
    postgres: &[],
};
