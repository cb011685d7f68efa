//! Black-box tests over real sockets, one file an area. `support` starts the gateway and everything around it.
//!
//! Every test has its own server, port, data folder and database, and ends with `finish()`, which asserts that nothing is held,
//! that every balance adds up and that no actor had to be restarted. Nothing here sleeps to wait.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests fail loudly, spawn their own tasks and read the switches of the suite"
)]

mod accounts;
mod admin;
mod architecture;
mod bad_input;
mod bedrock;
mod cache;
mod caller;
mod catalog;
mod charging;
mod charging_dialects;
mod chat;
mod cohere;
mod compat;
mod completions;
mod content;
mod crash;
mod credits;
mod echo;
mod embeddings;
mod erasure;
mod exposure;
mod faults;
mod files;
mod gemini;
mod idempotency;
mod imports;
mod journey;
mod keys_and_limits;
mod leaks;
mod legacy_keys;
mod mail;
mod media;
mod members;
mod messages;
mod models;
mod oauth;
mod operations;
mod owner_keys;
mod people;
mod privacy;
mod providers;
mod realtime;
mod responses;
mod routing;
mod screening;
mod support;
mod tickets;
mod translation;
