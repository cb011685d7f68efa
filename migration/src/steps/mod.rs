//! The steps, oldest first. One file a subject.

mod accounts;
mod cache;
mod catalog;
mod catalog_facts;
mod compat;
mod files;
mod identity;
mod ledger;
mod legacy_keys;
mod oauth;
mod privacy;
mod request_contents;
mod routing;
mod screening;
mod stored_responses;
mod tickets;
mod upstream_facts;
mod usage;

use crate::Step;

pub const ALL: &[Step] = &[
    accounts::STEP,
    catalog::STEP,
    ledger::STEP,
    usage::STEP,
    catalog_facts::STEP,
    upstream_facts::STEP,
    routing::STEP,
    cache::STEP,
    stored_responses::STEP,
    compat::STEP,
    identity::STEP,
    files::STEP,
    tickets::STEP,
    privacy::STEP,
    legacy_keys::STEP,
    screening::STEP,
    request_contents::STEP,
    oauth::STEP,
];
