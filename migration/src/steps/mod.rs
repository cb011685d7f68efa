//! The steps, oldest first. One file a subject.

mod accounts;
mod cache;
mod catalog;
mod catalog_facts;
mod compat;
mod ledger;
mod routing;
mod usage;

use crate::Step;

pub const ALL: &[Step] =
    &[accounts::STEP, catalog::STEP, ledger::STEP, usage::STEP, catalog_facts::STEP, routing::STEP, cache::STEP, compat::STEP];
