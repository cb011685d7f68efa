//! Accounts, their keys and sessions, and the audit trail.

use crate::Step;

pub const STEP: Step = Step {
    name: "m20261122_000001_accounts",
    both: &[
        "CREATE TABLE accounts (
            id TEXT NOT NULL PRIMARY KEY,
            locator TEXT NOT NULL UNIQUE,
            email TEXT NOT NULL UNIQUE,
            name TEXT NOT NULL,
            status TEXT NOT NULL,
            verified_at BIGINT,
            limits TEXT NOT NULL,
            plan_id TEXT,
            is_operator BOOLEAN NOT NULL,
            created_at BIGINT NOT NULL,
            updated_at BIGINT NOT NULL
        )",
        "CREATE TABLE api_keys (
            id TEXT NOT NULL PRIMARY KEY,
            account_id TEXT NOT NULL REFERENCES accounts (id),
            title TEXT NOT NULL,
            prefix TEXT NOT NULL,
            last4 TEXT NOT NULL,
            digest {bytes} NOT NULL UNIQUE,
            pepper_version INTEGER NOT NULL,
            scopes TEXT NOT NULL,
            models TEXT,
            limits TEXT NOT NULL,
            budget TEXT,
            ip_allow TEXT,
            expires_at BIGINT,
            revoked_at BIGINT,
            rotated_from TEXT,
            last_used_at BIGINT,
            created_at BIGINT NOT NULL
        )",
        "CREATE INDEX api_keys_account_id ON api_keys (account_id)",
        "CREATE TABLE sessions (
            id TEXT NOT NULL PRIMARY KEY,
            account_id TEXT NOT NULL REFERENCES accounts (id),
            digest {bytes} NOT NULL UNIQUE,
            purpose TEXT NOT NULL,
            expires_at BIGINT NOT NULL,
            used_at BIGINT,
            created_at BIGINT NOT NULL
        )",
        "CREATE INDEX sessions_account_id ON sessions (account_id)",
        "CREATE INDEX sessions_expires_at ON sessions (expires_at)",
        "CREATE TABLE audit_entries (
            id TEXT NOT NULL PRIMARY KEY,
            actor TEXT NOT NULL,
            action TEXT NOT NULL,
            subject TEXT NOT NULL,
            details TEXT NOT NULL,
            created_at BIGINT NOT NULL
        )",
        "CREATE INDEX audit_entries_created_at ON audit_entries (created_at)",
    ],
    sqlite: &[],
    postgres: &[],
};
