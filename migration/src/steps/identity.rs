//! People: how they sign in, what they accepted, who works for which account, and the mails they are sent.

use crate::Step;

pub const STEP: Step = Step {
    name: "m20261123_000012_identity",
    both: &[
        "ALTER TABLE accounts ADD COLUMN locale TEXT NOT NULL DEFAULT 'en'",
        "ALTER TABLE accounts ADD COLUMN image_blob TEXT",
        "ALTER TABLE accounts ADD COLUMN restricted_at BIGINT",
        "ALTER TABLE accounts ADD COLUMN objected_at BIGINT",
        "ALTER TABLE sessions ADD COLUMN ip TEXT",
        "ALTER TABLE sessions ADD COLUMN user_agent TEXT",
        "ALTER TABLE sessions ADD COLUMN last_used_at BIGINT",
        "CREATE TABLE credentials (
            account_id TEXT NOT NULL PRIMARY KEY REFERENCES accounts (id),
            password_hash TEXT,
            password_changed_at BIGINT,
            totp_sealed {bytes},
            totp_confirmed_at BIGINT,
            totp_step BIGINT,
            updated_at BIGINT NOT NULL
        )",
        "CREATE TABLE recovery_codes (
            id TEXT NOT NULL PRIMARY KEY,
            account_id TEXT NOT NULL REFERENCES accounts (id),
            digest {bytes} NOT NULL,
            used_at BIGINT,
            created_at BIGINT NOT NULL
        )",
        "CREATE INDEX recovery_codes_account_id ON recovery_codes (account_id)",
        "CREATE TABLE external_identities (
            provider TEXT NOT NULL,
            subject TEXT NOT NULL,
            account_id TEXT NOT NULL REFERENCES accounts (id),
            email TEXT NOT NULL,
            created_at BIGINT NOT NULL,
            PRIMARY KEY (provider, subject)
        )",
        "CREATE INDEX external_identities_account_id ON external_identities (account_id)",
        "CREATE TABLE oauth_states (
            digest {bytes} NOT NULL PRIMARY KEY,
            provider TEXT NOT NULL,
            account_id TEXT,
            sealed_data {bytes} NOT NULL,
            expires_at BIGINT NOT NULL,
            created_at BIGINT NOT NULL
        )",
        "CREATE INDEX oauth_states_expires_at ON oauth_states (expires_at)",
        "CREATE TABLE mail_tokens (
            id TEXT NOT NULL PRIMARY KEY,
            account_id TEXT,
            email TEXT NOT NULL,
            purpose TEXT NOT NULL,
            digest {bytes} NOT NULL UNIQUE,
            data TEXT NOT NULL,
            expires_at BIGINT NOT NULL,
            used_at BIGINT,
            created_at BIGINT NOT NULL
        )",
        "CREATE INDEX mail_tokens_account_id ON mail_tokens (account_id)",
        "CREATE INDEX mail_tokens_email ON mail_tokens (email)",
        "CREATE INDEX mail_tokens_expires_at ON mail_tokens (expires_at)",
        "CREATE TABLE sign_ups (
            account_id TEXT NOT NULL PRIMARY KEY REFERENCES accounts (id),
            method TEXT NOT NULL,
            ip TEXT,
            user_agent TEXT,
            referral_code TEXT,
            campaign TEXT NOT NULL,
            age_confirmed_at BIGINT,
            created_at BIGINT NOT NULL
        )",
        "CREATE TABLE policies (
            document TEXT NOT NULL,
            version TEXT NOT NULL,
            body TEXT NOT NULL,
            effective_at BIGINT NOT NULL,
            announced_at BIGINT,
            created_at BIGINT NOT NULL,
            PRIMARY KEY (document, version)
        )",
        "CREATE TABLE policy_acceptances (
            id TEXT NOT NULL PRIMARY KEY,
            account_id TEXT NOT NULL REFERENCES accounts (id),
            document TEXT NOT NULL,
            version TEXT NOT NULL,
            ip TEXT,
            accepted_at BIGINT NOT NULL
        )",
        "CREATE INDEX policy_acceptances_account_id ON policy_acceptances (account_id)",
        "CREATE TABLE security_events (
            id TEXT NOT NULL PRIMARY KEY,
            account_id TEXT,
            event TEXT NOT NULL,
            ip TEXT,
            user_agent TEXT,
            created_at BIGINT NOT NULL
        )",
        "CREATE INDEX security_events_account_id ON security_events (account_id)",
        "CREATE INDEX security_events_created_at ON security_events (created_at)",
        "CREATE TABLE blocked_domains (
            domain TEXT NOT NULL PRIMARY KEY,
            note TEXT NOT NULL,
            created_at BIGINT NOT NULL
        )",
        "CREATE TABLE members (
            account_id TEXT NOT NULL REFERENCES accounts (id),
            member_id TEXT NOT NULL REFERENCES accounts (id),
            role TEXT NOT NULL,
            created_at BIGINT NOT NULL,
            PRIMARY KEY (account_id, member_id)
        )",
        "CREATE INDEX members_member_id ON members (member_id)",
        "CREATE TABLE outbox (
            id TEXT NOT NULL PRIMARY KEY,
            account_id TEXT,
            recipient TEXT NOT NULL,
            kind TEXT NOT NULL,
            locale TEXT NOT NULL,
            sealed_message {bytes},
            status TEXT NOT NULL,
            attempts INTEGER NOT NULL,
            next_at BIGINT NOT NULL,
            last_error TEXT,
            created_at BIGINT NOT NULL,
            sent_at BIGINT
        )",
        "CREATE INDEX outbox_due ON outbox (status, next_at)",
        "CREATE INDEX outbox_account_id ON outbox (account_id)",
    ],
    sqlite: &[],
    postgres: &[],
};
