//! `cargo bench --bench micro`: the small costs that every call pays, one by one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a bench ends at the first surprise"
)]

mod asks;
mod dialects;
mod ledger;
mod screening;
mod wire;

use criterion::{Criterion, criterion_group, criterion_main};

fn all(criterion: &mut Criterion) {
    asks::bench(criterion);
    dialects::bench(criterion);
    ledger::bench(criterion);
    screening::bench(criterion);
    wire::bench(criterion);
}

fn configuration() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(std::time::Duration::from_millis(500))
        .measurement_time(std::time::Duration::from_secs(2))
}

criterion_group!(name = micro; config = configuration(); targets = all);
criterion_main!(micro);
