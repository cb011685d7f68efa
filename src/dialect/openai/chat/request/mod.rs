//! A chat call: read into the canonical form, and written from it for servers of this format.

mod messages;
mod read;
mod settings;
mod write;
mod write_messages;

pub(super) use messages::thought_signature;
pub(super) use read::read;
pub(super) use write::{kind_name, write};
pub(super) use write_messages::write_call;

#[cfg(test)]
mod tests;
