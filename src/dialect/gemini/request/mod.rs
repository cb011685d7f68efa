//! What a call asks for: read from a caller's body, written for an upstream from another dialect, or forwarded as it came.

mod config;
mod parts;
mod read;
mod write;

pub(super) use read::{forward, read};
pub(super) use write::write;

#[cfg(test)]
mod tests;
