//! What a call asks for: read from a caller's body, written for an upstream, or forwarded as it came.

mod blocks;
mod forward;
mod read;
mod schema;
mod turns;
mod write;

pub(super) use forward::forward;
pub(super) use read::read;
pub(super) use write::write;

#[cfg(test)]
mod tests;
