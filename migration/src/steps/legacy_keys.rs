//! Keys of an older schema, which kept their text: they may stand in `legacy_key` until they are hashed. A row written for that schema
//! knows little more than its owner, so everything else gets a default. SQLite cannot drop NOT NULL, hence the copy of the table.

use crate::Step;

pub const STEP: Step = Step {
    name: "m20261123_000014_legacy_keys",
    both: &[
        // What has to be done sooner or later, whatever happens to the process in between.
        "CREATE TABLE chores (
            name TEXT NOT NULL PRIMARY KEY,
            created_at BIGINT NOT NULL
        )",
    ],
    sqlite: &[
        // The notes refer to the keys and would keep them from being replaced.
        "CREATE TABLE key_notes_kept AS SELECT key_id, metadata, blocked_at, expires_before FROM key_notes",
        "DROP TABLE key_notes",
        "CREATE TABLE api_keys_new (
            id TEXT NOT NULL PRIMARY KEY,
            account_id TEXT NOT NULL REFERENCES accounts (id),
            title TEXT NOT NULL DEFAULT '',
            prefix TEXT NOT NULL DEFAULT '',
            last4 TEXT NOT NULL DEFAULT '',
            digest BLOB UNIQUE,
            pepper_version INTEGER NOT NULL DEFAULT 0,
            scopes TEXT NOT NULL DEFAULT '[\"inference\"]',
            models TEXT,
            limits TEXT NOT NULL DEFAULT '{}',
            budget TEXT,
            ip_allow TEXT,
            expires_at BIGINT,
            revoked_at BIGINT,
            rotated_from TEXT,
            last_used_at BIGINT,
            created_at BIGINT NOT NULL DEFAULT 0,
            options TEXT NOT NULL DEFAULT '{}',
            legacy_key TEXT,
            legacy_weak BOOLEAN NOT NULL DEFAULT FALSE,
            revoked_reason TEXT
        )",
        "INSERT INTO api_keys_new (id, account_id, title, prefix, last4, digest, pepper_version, scopes, models, limits, budget, ip_allow,
            expires_at, revoked_at, rotated_from, last_used_at, created_at, options)
            SELECT id, account_id, title, prefix, last4, digest, pepper_version, scopes, models, limits, budget, ip_allow,
            expires_at, revoked_at, rotated_from, last_used_at, created_at, options FROM api_keys",
        "DROP TABLE api_keys",
        "ALTER TABLE api_keys_new RENAME TO api_keys",
        "CREATE INDEX api_keys_account_id ON api_keys (account_id)",
        "CREATE INDEX api_keys_by_title ON api_keys (title)",
        "CREATE INDEX api_keys_legacy_key ON api_keys (legacy_key) WHERE legacy_key IS NOT NULL",
        "CREATE INDEX api_keys_legacy ON api_keys (id) WHERE legacy_key IS NOT NULL",
        "CREATE TABLE key_notes (
            key_id TEXT NOT NULL PRIMARY KEY REFERENCES api_keys (id),
            metadata TEXT NOT NULL,
            blocked_at BIGINT,
            expires_before BIGINT
        )",
        "INSERT INTO key_notes (key_id, metadata, blocked_at, expires_before)
            SELECT key_id, metadata, blocked_at, expires_before FROM key_notes_kept",
        "DROP TABLE key_notes_kept",
    ],
    postgres: &[
        "ALTER TABLE api_keys
            ALTER COLUMN title SET DEFAULT '',
            ALTER COLUMN prefix SET DEFAULT '',
            ALTER COLUMN last4 SET DEFAULT '',
            ALTER COLUMN digest DROP NOT NULL,
            ALTER COLUMN pepper_version SET DEFAULT 0,
            ALTER COLUMN scopes SET DEFAULT '[\"inference\"]',
            ALTER COLUMN limits SET DEFAULT '{}',
            ALTER COLUMN created_at SET DEFAULT 0,
            ADD COLUMN legacy_key TEXT,
            ADD COLUMN legacy_weak BOOLEAN NOT NULL DEFAULT FALSE,
            ADD COLUMN revoked_reason TEXT",
        // Of the hash, because texts of any length may stand here and an index entry has a greatest length.
        "CREATE INDEX api_keys_legacy_key ON api_keys USING hash (legacy_key) WHERE legacy_key IS NOT NULL",
        "CREATE INDEX api_keys_legacy ON api_keys (id) WHERE legacy_key IS NOT NULL",
    ],
};
