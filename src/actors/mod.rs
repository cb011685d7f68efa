//! Owners of changing state, one actor a file, each under [`supervision`].
//!
//! Absent on purpose: HTTP, SQL (see `store`), the order of a call's steps (see `pipeline`).

pub mod account;
pub mod announcements;
pub mod blobs;
pub mod catalog;
pub mod contents;
pub mod detached;
pub mod directory;
pub mod journal;
pub mod legacy_keys;
pub mod mailer;
pub mod places;
pub mod privacy;
pub mod screening;
pub mod supervision;
pub mod sweeper;
pub mod throttle;
pub mod upstream;
