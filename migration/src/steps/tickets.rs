//! Support tickets: what accounts ask, what the staff answers and notes; attached files are blobs.

use crate::Step;

pub const STEP: Step = Step {
    name: "m20261123_000015_tickets",
    both: &[
        "CREATE TABLE tickets (
            id TEXT NOT NULL PRIMARY KEY,
            account_id TEXT NOT NULL REFERENCES accounts (id),
            opened_by TEXT NOT NULL,
            title TEXT NOT NULL,
            status TEXT NOT NULL,
            priority TEXT NOT NULL,
            assignee TEXT,
            request_id TEXT,
            order_id TEXT,
            ledger_entry_id BIGINT,
            messages BIGINT NOT NULL,
            created_at BIGINT NOT NULL,
            updated_at BIGINT NOT NULL,
            closed_at BIGINT
        )",
        "CREATE INDEX tickets_account_id ON tickets (account_id, id)",
        "CREATE INDEX tickets_status ON tickets (status, updated_at)",
        "CREATE TABLE ticket_messages (
            id TEXT NOT NULL PRIMARY KEY,
            ticket_id TEXT NOT NULL REFERENCES tickets (id),
            account_id TEXT NOT NULL,
            number BIGINT NOT NULL,
            side TEXT NOT NULL,
            author_id TEXT NOT NULL,
            internal BOOLEAN NOT NULL,
            body TEXT NOT NULL,
            created_at BIGINT NOT NULL,
            UNIQUE (ticket_id, number)
        )",
        "CREATE INDEX ticket_messages_account_id ON ticket_messages (account_id, created_at)",
        "CREATE TABLE ticket_attachments (
            id TEXT NOT NULL PRIMARY KEY,
            ticket_id TEXT NOT NULL REFERENCES tickets (id),
            account_id TEXT NOT NULL,
            message_id TEXT,
            side TEXT NOT NULL,
            author_id TEXT NOT NULL,
            internal BOOLEAN NOT NULL,
            filename TEXT NOT NULL,
            mime TEXT NOT NULL,
            bytes BIGINT NOT NULL,
            sha256 TEXT NOT NULL,
            blob TEXT NOT NULL,
            created_at BIGINT NOT NULL
        )",
        "CREATE INDEX ticket_attachments_ticket_id ON ticket_attachments (ticket_id, id)",
        "CREATE INDEX ticket_attachments_account_id ON ticket_attachments (account_id)",
        "CREATE INDEX ticket_attachments_blob ON ticket_attachments (blob)",
    ],
    sqlite: &[],
    postgres: &[],
};
