//! What all tests share: a gateway to test ([`app`], [`process`]), a database of its own ([`db`]), an upstream that misbehaves on
//! demand ([`upstream`], [`realtime`]), a mail server ([`smtp`]), callers ([`client`]) and an operator ([`admin`]). [`world`] puts the usual parts together.

pub mod admin;
pub mod app;
pub mod browser;
pub mod client;
pub mod db;
pub mod dialects;
pub mod identity;
pub mod otlp;
pub mod process;
pub mod realtime;
pub mod smtp;
pub mod upstream;
pub mod world;
