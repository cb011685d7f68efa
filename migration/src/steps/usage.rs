//! What is remembered of calls: usage and the answers kept for Idempotency-Key.

use crate::Step;

pub const STEP: Step = Step {
    name: "m20261122_000004_usage",
    both: &[
        "CREATE TABLE usage_records (
            id TEXT NOT NULL PRIMARY KEY,
            request_id TEXT NOT NULL,
            account_id TEXT NOT NULL,
            key_id TEXT NOT NULL,
            endpoint TEXT NOT NULL,
            model TEXT NOT NULL,
            upstream TEXT NOT NULL,
            upstream_model TEXT NOT NULL,
            status INTEGER NOT NULL,
            outcome TEXT NOT NULL,
            error_code TEXT,
            streamed BOOLEAN NOT NULL,
            estimated BOOLEAN NOT NULL,
            input_tokens BIGINT NOT NULL,
            cached_input_tokens BIGINT NOT NULL,
            cache_write_tokens BIGINT NOT NULL,
            output_tokens BIGINT NOT NULL,
            reasoning_tokens BIGINT NOT NULL,
            other_quantities TEXT,
            cost_micros BIGINT NOT NULL,
            answer_id TEXT,
            attempts INTEGER NOT NULL,
            started_at BIGINT NOT NULL,
            first_byte_at BIGINT,
            finished_at BIGINT NOT NULL
        ) {clustered}",
        // Written with every call, so it has the fewest indexes that serve: what is asked by key or answer is asked of one account.
        "CREATE INDEX usage_records_account_id ON usage_records (account_id, id)",
        // Most callers send no x-request-id of their own, and then both ids are the same.
        "CREATE INDEX usage_records_request_id ON usage_records (request_id) WHERE request_id <> id",
        "CREATE TABLE idempotency_records (
            account_id TEXT NOT NULL,
            idempotency_key TEXT NOT NULL,
            request_hash TEXT NOT NULL,
            usage_id TEXT NOT NULL,
            status INTEGER NOT NULL,
            content_type TEXT NOT NULL,
            headers TEXT NOT NULL,
            body {bytes} NOT NULL,
            created_at BIGINT NOT NULL,
            expires_at BIGINT NOT NULL,
            PRIMARY KEY (account_id, idempotency_key)
        )",
        "CREATE INDEX idempotency_records_expires_at ON idempotency_records (expires_at)",
    ],
    sqlite: &[],
    postgres: &[],
};
