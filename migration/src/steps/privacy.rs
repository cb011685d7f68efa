//! What people ask about their data, and what became of it.

use crate::Step;

pub const STEP: Step = Step {
    name: "m20261123_000016_privacy",
    both: &[
        "CREATE TABLE privacy_requests (
            id TEXT NOT NULL PRIMARY KEY,
            account_id TEXT NOT NULL,
            kind TEXT NOT NULL,
            channel TEXT NOT NULL,
            status TEXT NOT NULL,
            note TEXT NOT NULL,
            created_by TEXT NOT NULL,
            prior_status TEXT,
            due_at BIGINT NOT NULL,
            next_at BIGINT NOT NULL,
            attempts INTEGER NOT NULL,
            last_error TEXT,
            progress TEXT NOT NULL,
            record TEXT,
            signature TEXT,
            blob TEXT,
            bytes BIGINT,
            expires_at BIGINT,
            completed_at BIGINT,
            created_at BIGINT NOT NULL
        )",
        "CREATE INDEX privacy_requests_account_id ON privacy_requests (account_id)",
        "CREATE INDEX privacy_requests_status ON privacy_requests (status, next_at)",
    ],
    sqlite: &[],
    postgres: &[],
};
