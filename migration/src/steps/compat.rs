//! What users of other gateways bring along: the names they have for accounts, and what they note on keys.

use crate::Step;

pub const STEP: Step = Step {
    name: "m20261122_000008_compat",
    both: &[
        "CREATE TABLE foreign_accounts (
            source TEXT NOT NULL,
            foreign_id TEXT NOT NULL,
            account_id TEXT NOT NULL REFERENCES accounts (id),
            created_at BIGINT NOT NULL,
            PRIMARY KEY (source, foreign_id)
        )",
        "CREATE INDEX foreign_accounts_by_account ON foreign_accounts (account_id, source)",
        "CREATE TABLE key_notes (
            key_id TEXT NOT NULL PRIMARY KEY REFERENCES api_keys (id),
            metadata TEXT NOT NULL,
            blocked_at BIGINT,
            expires_before BIGINT
        )",
        "CREATE INDEX api_keys_by_title ON api_keys (title)",
    ],
    sqlite: &[],
    postgres: &[],
};
