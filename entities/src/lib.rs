//! One file a table: the rows of Pixgate's database, as sea-orm entities.
//!
//! Times are microseconds since the Unix epoch, amounts are micros of a credit, JSON is text. Absent on purpose: rules and
//! conversions (see `store` of the main crate), relations (nothing is joined through the ORM), and the schema itself
//! (see the migration crate, which names its tables itself; a test compares the two).

pub mod account_provider_keys;
pub mod accounts;
pub mod api_keys;
pub mod audit_entries;
pub mod blocked_domains;
pub mod cached_answers;
pub mod chores;
pub mod credentials;
pub mod external_identities;
pub mod files;
pub mod foreign_accounts;
pub mod grants;
pub mod idempotency_records;
pub mod key_notes;
pub mod lease_slices;
pub mod leases;
pub mod ledger_transfers;
pub mod mail_tokens;
pub mod members;
pub mod model_prices;
pub mod models;
pub mod nodes;
pub mod oauth_states;
pub mod open_holds;
pub mod outbox;
pub mod policies;
pub mod policy_acceptances;
pub mod privacy_requests;
pub mod recovery_codes;
pub mod request_contents;
pub mod retention_sweeps;
pub mod screening_exemptions;
pub mod screening_hits;
pub mod screening_rules;
pub mod security_events;
pub mod sessions;
pub mod sign_ups;
pub mod stored_responses;
pub mod ticket_attachments;
pub mod ticket_messages;
pub mod tickets;
pub mod upstreams;
pub mod usage_records;
pub mod wallets;
