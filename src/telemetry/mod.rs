//! What an operator sees of a running node: logs and traces ([`logging`]), figures ([`metrics`]), and the types that keep
//! secrets out of both ([`redact`]).
//!
//! Absent on purpose: HTTP routes (`/metrics` is served by `http`), reading settings (`config` passes plain options in),
//! and any request data beyond ids, names, counts and times.

pub mod logging;
pub mod metrics;
pub mod redact;
