//! Rules that look at what callers send, what they hit, and which accounts are exempt from one.

use crate::Step;

pub const STEP: Step = Step {
    name: "m20261123_000013_screening",
    both: &[
        "CREATE TABLE screening_rules (
            id TEXT NOT NULL PRIMARY KEY,
            name TEXT NOT NULL,
            kind TEXT NOT NULL,
            pattern TEXT NOT NULL,
            action TEXT NOT NULL,
            enabled BOOLEAN NOT NULL,
            priority BIGINT NOT NULL,
            options TEXT NOT NULL,
            bundled TEXT,
            created_at BIGINT NOT NULL,
            updated_at BIGINT NOT NULL
        )",
        "CREATE UNIQUE INDEX screening_rules_bundled ON screening_rules (bundled)",
        "CREATE TABLE screening_hits (
            id TEXT NOT NULL PRIMARY KEY,
            request_id TEXT NOT NULL,
            account_id TEXT NOT NULL,
            key_id TEXT NOT NULL,
            rule_id TEXT NOT NULL,
            rule_name TEXT NOT NULL,
            action TEXT NOT NULL,
            model TEXT NOT NULL,
            endpoint TEXT NOT NULL,
            sealed_excerpt {bytes},
            created_at BIGINT NOT NULL,
            released_at BIGINT,
            released_by TEXT,
            release_reason TEXT
        )",
        "CREATE INDEX screening_hits_account_id ON screening_hits (account_id, id)",
        "CREATE INDEX screening_hits_created_at ON screening_hits (created_at)",
        "CREATE TABLE screening_exemptions (
            id TEXT NOT NULL PRIMARY KEY,
            account_id TEXT NOT NULL,
            rule_id TEXT NOT NULL,
            hit_id TEXT NOT NULL,
            reason TEXT NOT NULL,
            created_by TEXT NOT NULL,
            created_at BIGINT NOT NULL
        )",
        "CREATE UNIQUE INDEX screening_exemptions_whose ON screening_exemptions (account_id, rule_id)",
    ],
    sqlite: &[],
    postgres: &[],
};
