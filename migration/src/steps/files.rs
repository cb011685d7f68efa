//! Uploads of `/v1/files`; their content is a blob.

use crate::Step;

pub const STEP: Step = Step {
    name: "m20261123_000009_files",
    both: &[
        "CREATE TABLE files (
            id TEXT NOT NULL PRIMARY KEY,
            account_id TEXT NOT NULL,
            purpose TEXT NOT NULL,
            filename TEXT NOT NULL,
            mime TEXT NOT NULL,
            bytes BIGINT NOT NULL,
            sha256 TEXT NOT NULL,
            blob TEXT NOT NULL,
            created_at BIGINT NOT NULL,
            expires_at BIGINT
        )",
        "CREATE INDEX files_account_id ON files (account_id, id)",
        "CREATE INDEX files_expires_at ON files (expires_at) WHERE expires_at IS NOT NULL",
    ],
    sqlite: &[],
    postgres: &[],
};
