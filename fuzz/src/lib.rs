//! The two lowest layers, built by themselves, and what every fuzz target does with its bytes ([`checks`]).

#![allow(dead_code, unused_imports, reason = "the layers are used in part only")]

mod checks;
#[path = "../../src/dialect/mod.rs"]
mod dialect;
#[path = "../../src/domain/mod.rs"]
mod domain;

pub use checks::*;
