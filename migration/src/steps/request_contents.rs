//! Requests and answers of model calls, where they are kept; and what sweeps did.

use crate::Step;

pub const STEP: Step = Step {
    name: "m20261123_000017_request_contents",
    both: &[
        "CREATE TABLE request_contents (
            id TEXT NOT NULL PRIMARY KEY,
            account_id TEXT NOT NULL,
            key_id TEXT NOT NULL,
            request_id TEXT NOT NULL,
            answer_id TEXT,
            endpoint TEXT NOT NULL,
            model TEXT NOT NULL,
            status INTEGER NOT NULL,
            request_type TEXT NOT NULL,
            answer_type TEXT NOT NULL,
            request_bytes BIGINT NOT NULL,
            answer_bytes BIGINT NOT NULL,
            created_at BIGINT NOT NULL,
            expires_at BIGINT NOT NULL,
            sealed_request {bytes} NOT NULL,
            sealed_answer {bytes} NOT NULL
        )",
        "CREATE INDEX request_contents_account_id ON request_contents (account_id, id)",
        "CREATE INDEX request_contents_expires_at ON request_contents (expires_at)",
        "CREATE TABLE retention_sweeps (
            class TEXT NOT NULL PRIMARY KEY,
            swept_at BIGINT NOT NULL,
            rows_at BIGINT,
            rows_last BIGINT NOT NULL,
            rows_total BIGINT NOT NULL,
            mark TEXT NOT NULL
        )",
        // A node that starts again takes up what it had in hand when it died.
        "ALTER TABLE privacy_requests ADD COLUMN claimed_by TEXT",
        "ALTER TABLE accounts ADD COLUMN keep_content BOOLEAN",
    ],
    sqlite: &[],
    postgres: &[],
};
