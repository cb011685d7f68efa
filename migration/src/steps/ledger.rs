//! Credits: nodes, wallets, grants, leases, and the append-only transfers.
//!
//! Leases, transfers and holds carry no foreign keys: they are written on every call, by code that read the owner in the same
//! transaction or under a lease of it, and `store::ledger::check` finds orphans.

use crate::Step;

pub const STEP: Step = Step {
    name: "m20261122_000003_ledger",
    both: &[
        "CREATE TABLE nodes (
            id TEXT NOT NULL PRIMARY KEY,
            name TEXT NOT NULL,
            version TEXT NOT NULL,
            started_at BIGINT NOT NULL,
            expires_at BIGINT NOT NULL,
            fenced BOOLEAN NOT NULL
        )",
        "CREATE INDEX nodes_name ON nodes (name)",
        "CREATE TABLE wallets (
            account_id TEXT NOT NULL PRIMARY KEY REFERENCES accounts (id),
            debt_micros BIGINT NOT NULL CHECK (debt_micros >= 0),
            overage_micros BIGINT NOT NULL CHECK (overage_micros >= 0)
        )",
        "CREATE TABLE grants (
            id TEXT NOT NULL PRIMARY KEY,
            account_id TEXT NOT NULL REFERENCES accounts (id),
            amount_micros BIGINT NOT NULL CHECK (amount_micros > 0),
            category TEXT NOT NULL,
            priority INTEGER NOT NULL,
            effective_at BIGINT NOT NULL,
            expires_at BIGINT,
            available_micros BIGINT NOT NULL CHECK (available_micros >= 0),
            leased_micros BIGINT NOT NULL CHECK (leased_micros >= 0),
            spent_micros BIGINT NOT NULL CHECK (spent_micros >= 0),
            expired_micros BIGINT NOT NULL CHECK (expired_micros >= 0),
            revoked_micros BIGINT NOT NULL CHECK (revoked_micros >= 0),
            repaid_micros BIGINT NOT NULL CHECK (repaid_micros >= 0),
            reason TEXT NOT NULL,
            actor TEXT NOT NULL,
            idempotency_key TEXT NOT NULL,
            request_hash TEXT NOT NULL,
            created_at BIGINT NOT NULL,
            UNIQUE (account_id, idempotency_key),
            CHECK (amount_micros
                = available_micros + leased_micros + spent_micros + expired_micros + revoked_micros + repaid_micros)
        )",
        // The sweeper asks for expired grants with something left; all others need not be in its way.
        "CREATE INDEX grants_expires_at ON grants (expires_at) WHERE available_micros > 0",
        "CREATE TABLE leases (
            id TEXT NOT NULL PRIMARY KEY,
            account_id TEXT NOT NULL,
            node_id TEXT NOT NULL,
            state TEXT NOT NULL,
            folded_seq BIGINT NOT NULL,
            created_at BIGINT NOT NULL,
            closed_at BIGINT
        )",
        "CREATE INDEX leases_account_id ON leases (account_id, state)",
        "CREATE INDEX leases_node_id ON leases (node_id, state)",
        "CREATE TABLE lease_slices (
            lease_id TEXT NOT NULL,
            grant_id TEXT NOT NULL,
            position INTEGER NOT NULL,
            amount_micros BIGINT NOT NULL CHECK (amount_micros >= 0),
            expires_at BIGINT,
            PRIMARY KEY (lease_id, grant_id)
        )",
        "CREATE TABLE ledger_transfers (
            seq {sequence_key},
            account_id TEXT NOT NULL,
            kind TEXT NOT NULL,
            debit TEXT NOT NULL,
            credit TEXT NOT NULL,
            grant_id TEXT,
            lease_id TEXT,
            amount_micros BIGINT NOT NULL CHECK (amount_micros > 0),
            cause TEXT NOT NULL,
            actor TEXT NOT NULL,
            created_at BIGINT NOT NULL
        )",
        "CREATE INDEX ledger_transfers_account_id ON ledger_transfers (account_id, seq)",
        "CREATE TABLE open_holds (
            id TEXT NOT NULL PRIMARY KEY,
            request_id TEXT NOT NULL,
            account_id TEXT NOT NULL,
            key_id TEXT NOT NULL,
            lease_id TEXT NOT NULL,
            node_id TEXT NOT NULL,
            amount_micros BIGINT NOT NULL,
            endpoint TEXT NOT NULL,
            model TEXT NOT NULL,
            created_at BIGINT NOT NULL
        )",
        "CREATE INDEX open_holds_node_id ON open_holds (node_id)",
    ],
    sqlite: &[
        "CREATE TRIGGER ledger_transfers_no_update BEFORE UPDATE ON ledger_transfers
            BEGIN SELECT RAISE(ABORT, 'ledger_transfers is append-only'); END",
        "CREATE TRIGGER ledger_transfers_no_delete BEFORE DELETE ON ledger_transfers
            BEGIN SELECT RAISE(ABORT, 'ledger_transfers is append-only'); END",
    ],
    postgres: &[
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$",
        "CREATE TRIGGER ledger_transfers_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_transfers
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
    ],
};
