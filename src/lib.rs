//! Pixgate: a self-hosted, credit-metered gateway to AI models.
//!
//! Layers, from the ground up; imports go down only (`tests/it/architecture.rs` checks it): `domain`, `dialect`, then
//! `clock`, `config`, `telemetry`, then `store`, `upstream`, `blobs` and `mail`, then `actors` and
//! `identity`, then `pipeline` and `control`, then `http`, then `app`.
//! The way of one call through them is walked in `docs/architecture.md`.

pub mod actors;
pub mod app;
pub mod blobs;
pub mod clock;
pub mod config;
pub mod control;
pub mod dialect;
pub mod domain;
pub mod http;
pub mod identity;
pub mod mail;
pub mod pipeline;
pub mod store;
pub mod telemetry;
pub mod upstream;

/// What the fuzz targets do with their bytes (`make fuzz`), compiled here too, so that a change cannot break them unseen.
#[cfg(test)]
#[path = "../fuzz/src/checks.rs"]
mod fuzz_checks;
