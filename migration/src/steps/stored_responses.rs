//! Answers that callers asked to be kept, to continue them later.

use crate::Step;

pub const STEP: Step = Step {
    name: "m20261122_000007_stored_responses",
    both: &[
        "CREATE TABLE stored_responses (
            id TEXT NOT NULL PRIMARY KEY,
            account_id TEXT NOT NULL,
            model TEXT NOT NULL,
            previous_id TEXT,
            sealed_input {bytes} NOT NULL,
            sealed_output {bytes} NOT NULL,
            created_at BIGINT NOT NULL,
            expires_at BIGINT NOT NULL
        )",
        "CREATE INDEX stored_responses_account_id ON stored_responses (account_id, id)",
        "CREATE INDEX stored_responses_expires_at ON stored_responses (expires_at)",
    ],
    sqlite: &[],
    postgres: &[],
};
