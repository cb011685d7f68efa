//! The rules of money: what holding, settling, pricing and leasing cost.

use std::{hint::black_box, sync::Arc};

use criterion::Criterion;
use pixgate::domain::{
    ledger::{Category, Grant, Slice, Wallet},
    pricing::{Price, PriceList, Quantities, Unit},
    purse::{Purse, split},
};

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ledger");
    group.bench_function("hold, split and give back in a purse", |bencher| {
        let mut purse = Purse::default();
        let lease: Arc<str> = "lease_1".into();
        purse.add(&lease, vec![Slice { grant_id: "grant_1".to_owned(), amount: 1_000_000_000, expires_at: None }]);
        bencher.iter(|| {
            let held = purse.hold(black_box(1_000), 0).unwrap();
            let (captured, unused, _) = split(held, 0);
            purse.give_back(unused);
            captured
        });
    });
    group.bench_function("price of a call", |bencher| {
        let price = |unit, micros| Price::new(unit, micros, 1_000_000);
        let prices =
            PriceList(vec![price(Unit::InputToken, 150_000), price(Unit::OutputToken, 600_000), price(Unit::CachedInputToken, 75_000)]);
        let used = Quantities { input_tokens: 1_234, cached_input_tokens: 400, output_tokens: 321, requests: 1, ..Quantities::default() };
        bencher.iter(|| prices.cost(black_box(&used)).unwrap());
    });
    for grants in [1, 20] {
        group.bench_function(format!("lease and close over {grants} grants"), |bencher| {
            let mut wallet = Wallet::default();
            for index in 0..grants {
                wallet.grant(Grant::new(format!("grant_{index:03}"), 1_000_000, Category::Paid, index, 0, None)).unwrap();
            }
            bencher.iter(|| {
                wallet.lease("lease_1", 1, black_box(900_000), 1).unwrap();
                wallet.close_lease("lease_1", 1).unwrap()
            });
        });
    }
    group.finish();
}
