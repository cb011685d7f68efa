use proptest::prelude::*;

use super::*;

fn price(unit: Unit, micros: Micros, per: i64) -> Price {
    Price::new(unit, micros, per)
}

/// Room for so many tokens and requests.
fn ceiling(input_tokens: u64, output_tokens: u64, requests: u64) -> Ceiling {
    Ceiling { input_tokens, output_tokens, fixed: Quantities { requests, ..Quantities::default() } }
}

fn quantities(of: impl Fn(Unit) -> u64) -> Quantities {
    Quantities {
        input_tokens: of(Unit::InputToken),
        cached_input_tokens: of(Unit::CachedInputToken),
        cache_write_tokens: of(Unit::CacheWriteToken),
        cache_write_1h_tokens: of(Unit::CacheWrite1hToken),
        audio_input_tokens: of(Unit::AudioInputToken),
        image_input_tokens: of(Unit::ImageInputToken),
        output_tokens: of(Unit::OutputToken),
        reasoning_tokens: of(Unit::ReasoningToken),
        audio_output_tokens: of(Unit::AudioOutputToken),
        image_output_tokens: of(Unit::ImageOutputToken),
        images: of(Unit::Image),
        audio_seconds: of(Unit::AudioSecond),
        characters: of(Unit::Character),
        video_seconds: of(Unit::VideoSecond),
        megapixel_frames: of(Unit::MegapixelFrame),
        searches: of(Unit::Search),
        requests: of(Unit::Request),
    }
}

#[test]
fn names_are_those_of_the_wire() {
    for unit in Unit::ALL {
        assert_eq!(serde_json::to_string(&unit).unwrap(), format!("\"{}\"", unit.as_str()));
        assert_eq!(Unit::parse(unit.as_str()), Some(unit));
        let one = quantities(|other| u64::from(other == unit));
        assert_eq!(one.of(unit), 1);
        assert_eq!(one.all_input_tokens(), u64::from(Unit::INPUT.contains(&unit)));
        assert_eq!(one.all_output_tokens(), u64::from(Unit::OUTPUT.contains(&unit)));
    }
}

#[test]
fn fractions_are_summed_before_they_are_rounded() {
    // 1 × 0.15 + 1 × 0.6 + 1 × 0.25 is exactly one micro; rounding each part up would charge three.
    let prices =
        PriceList(vec![price(Unit::InputToken, 150_000, 1_000_000), price(Unit::OutputToken, 600, 1_000), price(Unit::Request, 1, 4)]);
    let used = Quantities { input_tokens: 1, output_tokens: 1, requests: 1, ..Quantities::default() };
    assert_eq!(prices.cost(&used), Ok(1));
    assert_eq!(prices.cost(&Quantities { input_tokens: 2, ..used }), Ok(2));
    assert_eq!(prices.cost(&Quantities::default()), Ok(0));
}

#[test]
fn a_bucket_without_a_price_falls_back() {
    let used = quantities(|_| 10);
    let input_and_output = vec![price(Unit::InputToken, 1, 1), price(Unit::OutputToken, 100, 1)];
    assert_eq!(PriceList(input_and_output.clone()).cost(&used), Ok(10 * 6 + 1_000 * 4));
    let mut own = input_and_output;
    own.extend([price(Unit::CachedInputToken, 0, 1), price(Unit::ReasoningToken, 7, 1)]);
    assert_eq!(PriceList(own).cost(&used), Ok(10 * 5 + 1_000 * 3 + 70));
    assert_eq!(PriceList::default().cost(&used), Ok(0));
    let writes = PriceList(vec![price(Unit::InputToken, 1, 1), price(Unit::CacheWriteToken, 5, 1)]);
    let an_hour = Quantities { cache_write_1h_tokens: 10, ..Quantities::default() };
    assert_eq!(writes.cost(&an_hour), Ok(50), "an hour's cache costs what the short one does");
}

#[test]
fn a_long_input_changes_the_price_of_the_whole_call() {
    let input = price(Unit::InputToken, 1, 1);
    let prices = PriceList(vec![
        price(Unit::InputToken, 4, 1).above(1_000),
        input,
        price(Unit::InputToken, 2, 1).above(100),
        price(Unit::OutputToken, 10, 1),
        price(Unit::OutputToken, 20, 1).above(100),
    ]);
    let used =
        |input_tokens, cached_input_tokens| Quantities { input_tokens, cached_input_tokens, output_tokens: 3, ..Quantities::default() };
    assert_eq!(prices.cost(&used(100, 0)), Ok(100 + 30), "the threshold itself is below the tier");
    assert_eq!(prices.cost(&used(101, 0)), Ok(2 * 101 + 60));
    assert_eq!(prices.cost(&used(60, 41)), Ok(2 * 101 + 60), "all kinds of input count, and fall back to the tier");
    assert_eq!(prices.cost(&used(1, 1_000)), Ok(4 * 1_001 + 60), "output has no tier of its own up there");
    for kind in Unit::INPUT {
        let long = quantities(|unit| if unit == kind { 101 } else { 0 });
        assert_eq!(prices.price(Unit::InputToken, long.all_input_tokens()).map(|price| price.micros), Some(2), "{kind:?}");
    }
}

#[test]
fn a_hold_expects_the_tier_it_may_reach() {
    // Dearest below the tier: a call that stays short must be covered, too.
    let prices = PriceList(vec![price(Unit::InputToken, 5, 1), price(Unit::InputToken, 2, 1).above(100), price(Unit::OutputToken, 1, 1)]);
    assert_eq!(prices.worst_case(&ceiling(1_000, 0, 0)), 5_000);
    let rising = PriceList(vec![price(Unit::Image, 5, 1), price(Unit::Image, 9, 1).above(100)]);
    let two = |input_tokens| Ceiling { input_tokens, fixed: Quantities { images: 2, ..Quantities::default() }, ..Ceiling::default() };
    assert_eq!((rising.worst_case(&two(100)), rising.worst_case(&two(101))), (10, 18));
}

#[test]
fn what_is_known_before_a_call_is_held_for() {
    let prices = PriceList(Unit::ALL.iter().map(|unit| price(*unit, 2, 1)).collect());
    for unit in Unit::ALL {
        let fixed = quantities(|other| if other == unit { 7 } else { 0 });
        assert_eq!(prices.worst_case(&Ceiling { fixed, ..Ceiling::default() }), 14, "{unit:?}");
    }
}

#[test]
fn a_hold_expects_the_dearest_bucket() {
    let prices = PriceList(vec![
        price(Unit::InputToken, 2, 1_000),
        price(Unit::CachedInputToken, 1, 1_000),
        price(Unit::CacheWriteToken, 5, 2_000),
        price(Unit::OutputToken, 10, 1_000),
        price(Unit::Request, 3, 1),
    ]);
    assert_eq!(prices.worst_case(&ceiling(1_000, 0, 0)), 3);
    assert_eq!(prices.worst_case(&ceiling(1_000, 1_000, 1)), 16);
    assert_eq!(PriceList::default().worst_case(&ceiling(u64::MAX, u64::MAX, u64::MAX)), 0);
}

#[test]
fn what_cannot_be_counted_is_an_error_not_a_wrong_sum() {
    let dear = PriceList(vec![price(Unit::InputToken, Micros::MAX, 1)]);
    let used = Quantities { input_tokens: 2, ..Quantities::default() };
    assert_eq!(dear.cost(&used), Err(Overflow));
    assert_eq!(dear.cost(&Quantities { input_tokens: u64::MAX, ..used }), Err(Overflow));
    assert_eq!(dear.worst_case(&ceiling(2, 0, 0)), Micros::MAX);
    let odd = PriceList(vec![
        price(Unit::InputToken, 1, i64::MAX),
        price(Unit::OutputToken, 1, i64::MAX - 1),
        price(Unit::Request, 1, i64::MAX - 2),
    ]);
    assert_eq!(odd.cost(&quantities(|_| 1)), Err(Overflow));
    assert_eq!(PriceList(vec![price(Unit::InputToken, 1, 0)]).cost(&used), Err(Overflow));
}

#[test]
fn bad_prices_are_named() {
    let cases = [
        (vec![price(Unit::Image, 1, 0)], "the price of image has per 0; it must be 1 to 1000000000"),
        (vec![price(Unit::Image, -1, 1)], "the price of image has micros -1; it must be 0 to 1000000000000"),
        (vec![price(Unit::Image, PRICE_MICROS_MAX + 1, 1)], "the price of image has micros 1000000000001; it must be 0 to 1000000000000"),
        (vec![price(Unit::Request, 1, 1), price(Unit::Request, 2, 1)], "request has more than one price"),
        (
            vec![price(Unit::Image, 1, 1), price(Unit::Image, 2, 1).above(9), price(Unit::Image, 3, 1).above(9)],
            "image has more than one price above 9 input tokens",
        ),
        (
            vec![price(Unit::Image, 1, 1).above(0)],
            "a price of image is for calls above 0 input tokens; leave above_input_tokens away for the price of every call",
        ),
        (vec![price(Unit::Image, 1, 1).above(9)], "image has a price for long inputs only; add one without above_input_tokens"),
        ((0..17).map(|above| price(Unit::Image, 1, 1).above(above + 1)).collect(), "image has more than 16 prices"),
        (
            vec![price(Unit::InputToken, 1, PER_MAX), price(Unit::OutputToken, 1, 999_983)],
            "per 999983 of output_token has too little in common with the others; use powers of ten",
        ),
    ];
    for (prices, message) in cases {
        assert_eq!(validate(&prices).unwrap_err().to_string(), message);
    }
    assert_eq!(validate(&[price(Unit::InputToken, 0, 1), price(Unit::OutputToken, PRICE_MICROS_MAX, PER_MAX)]), Ok(()));
    assert_eq!(validate(&[]), Ok(()));
}

/// Multiple of every `per` that `lists` draws.
const COMMON: i128 = 3 * 7 * 60 * 4_096 * 1_000_000;

/// Thresholds of the drawn tiers; quantities are drawn on both sides of them.
const THRESHOLDS: [u64; 3] = [10, 100_000, 3_000_000];

/// Valid lists, some units without a price, some with tiers, denominators that differ.
fn lists() -> impl Strategy<Value = PriceList> {
    let micros = || prop_oneof![0..10i64, 0..10_000_000i64];
    let per = || prop::sample::select(vec![1i64, 3, 7, 16, 60, 1_000, 4_096, 1_000_000]);
    let tiers = prop::collection::vec(prop::option::weighted(0.2, (micros(), per())), THRESHOLDS.len());
    let priced = prop::option::of(((micros(), per()), tiers));
    prop::collection::vec(priced, Unit::ALL.len()).prop_map(|list| {
        let mut prices = Vec::new();
        for (unit, priced) in Unit::ALL.into_iter().zip(list) {
            let Some(((micros, per), tiers)) = priced else { continue };
            let tiers = tiers.into_iter().zip(THRESHOLDS).filter_map(|(tier, above)| tier.map(|tier| (tier, above)));
            prices.extend(tiers.map(|((micros, per), above)| price(unit, micros, per).above(above)));
            prices.push(price(unit, micros, per));
        }
        PriceList(prices)
    })
}

/// The same list without its tiers.
fn flat(list: &PriceList) -> PriceList {
    PriceList(list.0.iter().filter(|price| price.above_input_tokens.is_none()).copied().collect())
}

fn amounts() -> impl Strategy<Value = Quantities> {
    prop::collection::vec(prop_oneof![Just(0), 0..5u64, 0..2_000_000u64], Unit::ALL.len())
        .prop_map(|amounts| quantities(|unit| amounts[Unit::ALL.iter().position(|other| *other == unit).unwrap()]))
}

/// The price of a unit, looked up as the words of the contract say it.
fn by_the_book(list: &PriceList, unit: Unit, input_tokens: u64) -> Option<Price> {
    let own: Vec<Price> = list.0.iter().filter(|price| price.unit == unit).copied().collect();
    if own.is_empty() {
        return by_the_book(list, unit.fallback()?, input_tokens);
    }
    let tier = THRESHOLDS.into_iter().rev().filter(|above| input_tokens > *above);
    let tier = tier.filter_map(|above| own.iter().find(|price| price.above_input_tokens == Some(above))).next();
    tier.or_else(|| own.iter().find(|price| price.above_input_tokens.is_none())).copied()
}

proptest! {
    #[test]
    fn every_drawn_list_is_valid(list in lists()) {
        prop_assert_eq!(validate(&list.0), Ok(()));
    }

    #[test]
    fn rounds_up_by_less_than_a_micro(list in lists(), used in amounts()) {
        let input_tokens = used.all_input_tokens();
        let exact: i128 = Unit::ALL
            .into_iter()
            .filter_map(|unit| by_the_book(&list, unit, input_tokens).map(|price| (used.of(unit), price)))
            .map(|(quantity, price)| i128::from(quantity) * i128::from(price.micros) * (COMMON / i128::from(price.per)))
            .sum();
        let over = i128::from(list.cost(&used).unwrap()) * COMMON - exact;
        prop_assert!((0..COMMON).contains(&over));
    }

    #[test]
    fn without_tiers_using_more_never_costs_less(list in lists(), used in amounts(), more in amounts()) {
        let (list, sum) = (flat(&list), quantities(|unit| used.of(unit) + more.of(unit)));
        prop_assert!(list.cost(&used).unwrap() <= list.cost(&sum).unwrap());
    }

    #[test]
    fn never_costs_more_than_the_worst_case(list in lists(), used in amounts(), slack in 0..3u64) {
        let is_token = |unit: Unit| Unit::INPUT.contains(&unit) || Unit::OUTPUT.contains(&unit);
        let ceiling = Ceiling {
            input_tokens: used.all_input_tokens() + slack,
            output_tokens: used.all_output_tokens() + slack,
            fixed: quantities(|unit| if is_token(unit) { 0 } else { used.of(unit) }),
        };
        prop_assert!(list.cost(&used).unwrap() <= list.worst_case(&ceiling));
        let known = Ceiling { fixed: used, ..Ceiling::default() };
        prop_assert!(list.cost(&used).unwrap() <= list.worst_case(&known), "also when all of it is known before");
    }
}
