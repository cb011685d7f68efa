//! Importers: what another gateway was set up with, made here. Each can be repeated: what is there already is left as it is, and
//! nothing an operator changed is undone. With `dry_run` nothing is written and the report says what would be.
//!
//! Absent on purpose: reading files and the environment (callers pass both), passwords, logs and dashboards of other gateways.

pub mod litellm;
mod offer;
pub mod one_api;
mod provider;
mod report;

pub use self::report::{Line, Outcome, Report};
