//! Rules as pure values and functions: no IO, no clock, no randomness, no framework.
//!
//! Everything here can be tested without a runtime. Absent on purpose: HTTP status codes (see `http::error`),
//! table rows (see `store`), wire formats (see `dialect`).
//!
//! Units: credit amounts are integer **micros** (1 credit = 1 000 000 micros, [`Micros`]); moments are integer
//! microseconds since the Unix epoch, UTC ([`Timestamp`]).

pub mod account;
pub mod api_key;
pub mod blob;
pub mod catalog;
pub mod content;
pub mod decimal;
pub mod id;
pub mod identity;
pub mod key_hash;
pub mod ledger;
pub mod legacy_key;
pub mod mail;
pub mod member;
pub mod password;
pub mod pricing;
pub mod privacy;
pub mod provider;
pub mod purse;
pub mod quota;
pub mod refusal;
pub mod route;
pub mod screening;
pub mod seal;
pub mod ticket;
pub mod usage;

/// Credits in micros: 1 credit = 1 000 000 micros.
pub type Micros = i64;

/// Microseconds since the Unix epoch, UTC.
pub type Timestamp = i64;

/// One second in the unit of [`Timestamp`].
pub const SECOND: Timestamp = 1_000_000;
