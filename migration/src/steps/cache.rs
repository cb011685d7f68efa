//! Answers kept for the same request, and how keys ask for them.

use crate::Step;

pub const STEP: Step = Step {
    name: "m20261122_000011_cache",
    both: &[
        "ALTER TABLE api_keys ADD COLUMN options TEXT NOT NULL DEFAULT '{}'",
        "CREATE TABLE cached_answers (
            account_id TEXT NOT NULL,
            request_hash TEXT NOT NULL,
            endpoint TEXT NOT NULL,
            upstream_model TEXT NOT NULL,
            sealed_body {bytes} NOT NULL,
            created_at BIGINT NOT NULL,
            expires_at BIGINT NOT NULL,
            PRIMARY KEY (account_id, request_hash)
        )",
        "CREATE INDEX cached_answers_expires_at ON cached_answers (expires_at)",
    ],
    sqlite: &[],
    postgres: &[],
};
