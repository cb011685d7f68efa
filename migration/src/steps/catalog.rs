//! Models and the upstreams that serve them.

use crate::Step;

pub const STEP: Step = Step {
    name: "m20261122_000002_catalog",
    both: &[
        "CREATE TABLE upstreams (
            name TEXT NOT NULL PRIMARY KEY,
            provider TEXT NOT NULL,
            base_url TEXT NOT NULL,
            sealed_api_key {bytes} NOT NULL,
            weight BIGINT NOT NULL,
            priority INTEGER NOT NULL,
            max_concurrency BIGINT,
            timeouts TEXT NOT NULL,
            enabled BOOLEAN NOT NULL,
            created_at BIGINT NOT NULL,
            updated_at BIGINT NOT NULL
        )",
        "CREATE TABLE models (
            id TEXT NOT NULL PRIMARY KEY,
            kind TEXT NOT NULL,
            display_name TEXT NOT NULL,
            context_window BIGINT,
            max_output_tokens BIGINT,
            prices TEXT NOT NULL,
            routes TEXT NOT NULL,
            enabled BOOLEAN NOT NULL,
            created_at BIGINT NOT NULL,
            updated_at BIGINT NOT NULL
        )",
    ],
    sqlite: &[],
    postgres: &[],
};
