//! Settings: what an operator can choose ([`Settings`]), where it comes from ([`load`]), and the secrets that a node makes for
//! itself ([`secrets`]).
//!
//! A setting stands in `pixgate.toml` (`[server]`, `listen = "…"`) or in the environment (`PIXGATE_SERVER__LISTEN`); the
//! environment wins. Absent on purpose: building anything from a setting. Nobody else reads the environment.

mod check;
pub mod content;
pub mod mail;
pub mod oauth;
pub mod providers;
pub mod schema;
pub mod secrets;
pub mod settings;
mod source;
#[cfg(test)]
mod tests;

pub use self::{
    oauth::{Oauth, OauthGithub, OauthGoogle},
    providers::{ProviderSeed, Providers},
    settings::{BlobSettings, Durability, OnOverrun, Settings},
    source::{Loaded, Problem, Problems, Sources, load, variable},
};
