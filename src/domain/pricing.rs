//! What a call costs: an exact sum over disjoint usage buckets, rounded up once to whole micros.
//!
//! A bucket without a price of its own: cached and cache-write tokens cost what input tokens cost, reasoning tokens what
//! output tokens cost, everything else is free.

use serde::{Deserialize, Serialize};

use super::Micros;

/// What a price is for. One unit per usage bucket; see [`Quantities`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    InputToken,
    OutputToken,
    CachedInputToken,
    CacheWriteToken,
    ReasoningToken,
    Image,
    AudioSecond,
    Character,
    VideoSecond,
    MegapixelFrame,
    Request,
}

impl Unit {
    pub const ALL: [Self; 11] = [
        Self::InputToken,
        Self::OutputToken,
        Self::CachedInputToken,
        Self::CacheWriteToken,
        Self::ReasoningToken,
        Self::Image,
        Self::AudioSecond,
        Self::Character,
        Self::VideoSecond,
        Self::MegapixelFrame,
        Self::Request,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::InputToken => "input_token",
            Self::OutputToken => "output_token",
            Self::CachedInputToken => "cached_input_token",
            Self::CacheWriteToken => "cache_write_token",
            Self::ReasoningToken => "reasoning_token",
            Self::Image => "image",
            Self::AudioSecond => "audio_second",
            Self::Character => "character",
            Self::VideoSecond => "video_second",
            Self::MegapixelFrame => "megapixel_frame",
            Self::Request => "request",
        }
    }

    /// Whose price counts where this unit has none.
    fn fallback(self) -> Option<Self> {
        match self {
            Self::CachedInputToken | Self::CacheWriteToken => Some(Self::InputToken),
            Self::ReasoningToken => Some(Self::OutputToken),
            _ => None,
        }
    }
}

/// `micros` credits for every `per` units (for example 150 000 micros per 1 000 000 input tokens).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    pub unit: Unit,
    pub micros: Micros,
    pub per: i64,
}

/// The prices of one model, frozen into every call at its admission.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceList(pub Vec<Price>);

/// How much of everything a call used. Buckets are disjoint: `input_tokens` excludes cached and cache-write tokens,
/// `output_tokens` excludes reasoning tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quantities {
    pub input_tokens: u64,
    pub cached_input_tokens: u64,
    pub cache_write_tokens: u64,
    pub output_tokens: u64,
    pub reasoning_tokens: u64,
    pub images: u64,
    pub audio_seconds: u64,
    pub characters: u64,
    pub video_seconds: u64,
    pub megapixel_frames: u64,
    pub requests: u64,
}

impl Quantities {
    /// All tokens, whatever their price.
    pub fn tokens(&self) -> u64 {
        [self.input_tokens, self.cached_input_tokens, self.cache_write_tokens, self.output_tokens, self.reasoning_tokens]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    pub fn of(&self, unit: Unit) -> u64 {
        match unit {
            Unit::InputToken => self.input_tokens,
            Unit::OutputToken => self.output_tokens,
            Unit::CachedInputToken => self.cached_input_tokens,
            Unit::CacheWriteToken => self.cache_write_tokens,
            Unit::ReasoningToken => self.reasoning_tokens,
            Unit::Image => self.images,
            Unit::AudioSecond => self.audio_seconds,
            Unit::Character => self.characters,
            Unit::VideoSecond => self.video_seconds,
            Unit::MegapixelFrame => self.megapixel_frames,
            Unit::Request => self.requests,
        }
    }
}

/// Dearest price: a million credits.
pub const PRICE_MICROS_MAX: Micros = 1_000_000_000_000;
/// Largest `per`.
pub const PER_MAX: i64 = 1_000_000_000;
/// Largest common denominator of one list, so that exact sums fit: any call of up to 10^12 units of each bucket does.
const DENOMINATOR_MAX: i128 = 1_000_000_000_000;

/// The exact cost does not fit an `i64`, or the list is one that [`validate`] refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cost is too large to be counted")]
pub struct Overflow;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPrice {
    #[error("the price of {} has per {per}; it must be 1 to {PER_MAX}", .unit.as_str())]
    Per { unit: Unit, per: i64 },
    #[error("the price of {} has micros {micros}; it must be 0 to {PRICE_MICROS_MAX}", .unit.as_str())]
    Micros { unit: Unit, micros: Micros },
    #[error("{} has more than one price", .unit.as_str())]
    Duplicate { unit: Unit },
    #[error("per {per} of {} has too little in common with the others; use powers of ten", .unit.as_str())]
    Denominator { unit: Unit, per: i64 },
}

/// Checks prices before they enter the catalogue; names the first bad one.
pub fn validate(prices: &[Price]) -> Result<(), InvalidPrice> {
    let mut denominator = 1i128;
    for (index, &Price { unit, micros, per }) in prices.iter().enumerate() {
        if !(1..=PER_MAX).contains(&per) {
            return Err(InvalidPrice::Per { unit, per });
        }
        if !(0..=PRICE_MICROS_MAX).contains(&micros) {
            return Err(InvalidPrice::Micros { unit, micros });
        }
        if prices[..index].iter().any(|earlier| earlier.unit == unit) {
            return Err(InvalidPrice::Duplicate { unit });
        }
        denominator = denominator / greatest_common_divisor(denominator, i128::from(per)) * i128::from(per);
        if denominator > DENOMINATOR_MAX {
            return Err(InvalidPrice::Denominator { unit, per });
        }
    }
    Ok(())
}

impl PriceList {
    /// The price that counts for a unit, its fallback's where it has none; `None` is free.
    pub fn price(&self, unit: Unit) -> Option<Price> {
        let own = |unit| self.0.iter().find(|price| price.unit == unit).copied();
        own(unit).or_else(|| own(unit.fallback()?))
    }

    /// The charge of a call.
    pub fn cost(&self, used: &Quantities) -> Result<Micros, Overflow> {
        let mut sum = Fraction::ZERO;
        for unit in Unit::ALL {
            sum = sum.plus(used.of(unit), self.price(unit))?;
        }
        sum.ceil()
    }

    /// The most that a call of at most so many tokens can cost, whatever buckets they fall in. Counts no images, seconds,
    /// characters or frames. A cost that no balance could cover is [`Micros::MAX`], so a hold for it is refused.
    pub fn worst_case(&self, input_tokens: u64, output_tokens_max: u64, requests: u64) -> Micros {
        let input = self.dearest(&[Unit::InputToken, Unit::CachedInputToken, Unit::CacheWriteToken]);
        let output = self.dearest(&[Unit::OutputToken, Unit::ReasoningToken]);
        Fraction::ZERO
            .plus(input_tokens, input)
            .and_then(|sum| sum.plus(output_tokens_max, output))
            .and_then(|sum| sum.plus(requests, self.price(Unit::Request)))
            .and_then(Fraction::ceil)
            .unwrap_or(Micros::MAX)
    }

    fn dearest(&self, units: &[Unit]) -> Option<Price> {
        let crosswise = |price: &Price, other: &Price| i128::from(price.micros) * i128::from(other.per);
        units.iter().filter_map(|unit| self.price(*unit)).max_by(|left, right| crosswise(left, right).cmp(&crosswise(right, left)))
    }
}

/// A non-negative rational number of micros.
#[derive(Clone, Copy)]
struct Fraction {
    numerator: i128,
    denominator: i128,
}

impl Fraction {
    const ZERO: Self = Self { numerator: 0, denominator: 1 };

    fn plus(self, quantity: u64, price: Option<Price>) -> Result<Self, Overflow> {
        let Some(Price { micros, per, .. }) = price.filter(|_| quantity > 0) else {
            return Ok(self);
        };
        if per <= 0 || micros < 0 {
            return Err(Overflow);
        }
        let per = i128::from(per);
        let widen = per / greatest_common_divisor(self.denominator, per);
        let denominator = self.denominator.checked_mul(widen).ok_or(Overflow)?;
        let term = i128::from(quantity).checked_mul(i128::from(micros)).and_then(|term| term.checked_mul(denominator / per));
        let numerator = self.numerator.checked_mul(widen).zip(term).and_then(|(sum, term)| sum.checked_add(term));
        Ok(Self { numerator: numerator.ok_or(Overflow)?, denominator })
    }

    fn ceil(self) -> Result<Micros, Overflow> {
        let whole = self.numerator / self.denominator + i128::from(self.numerator % self.denominator > 0);
        Micros::try_from(whole).map_err(|_| Overflow)
    }
}

fn greatest_common_divisor(left: i128, right: i128) -> i128 {
    if right == 0 { left } else { greatest_common_divisor(right, left % right) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn price(unit: Unit, micros: Micros, per: i64) -> Price {
        Price { unit, micros, per }
    }

    fn quantities(of: impl Fn(Unit) -> u64) -> Quantities {
        Quantities {
            input_tokens: of(Unit::InputToken),
            cached_input_tokens: of(Unit::CachedInputToken),
            cache_write_tokens: of(Unit::CacheWriteToken),
            output_tokens: of(Unit::OutputToken),
            reasoning_tokens: of(Unit::ReasoningToken),
            images: of(Unit::Image),
            audio_seconds: of(Unit::AudioSecond),
            characters: of(Unit::Character),
            video_seconds: of(Unit::VideoSecond),
            megapixel_frames: of(Unit::MegapixelFrame),
            requests: of(Unit::Request),
        }
    }

    #[test]
    fn names_are_those_of_the_wire() {
        for unit in Unit::ALL {
            assert_eq!(serde_json::to_string(&unit).unwrap(), format!("\"{}\"", unit.as_str()));
            assert_eq!(quantities(|other| u64::from(other == unit)).of(unit), 1);
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
        assert_eq!(PriceList(input_and_output.clone()).cost(&used), Ok(10 * 3 + 1_000 * 2));
        let mut own = input_and_output;
        own.extend([price(Unit::CachedInputToken, 0, 1), price(Unit::ReasoningToken, 7, 1)]);
        assert_eq!(PriceList(own).cost(&used), Ok(10 * 2 + 1_000 + 70));
        assert_eq!(PriceList::default().cost(&used), Ok(0));
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
        assert_eq!(prices.worst_case(1_000, 0, 0), 3);
        assert_eq!(prices.worst_case(1_000, 1_000, 1), 16);
        assert_eq!(PriceList::default().worst_case(u64::MAX, u64::MAX, u64::MAX), 0);
    }

    #[test]
    fn what_cannot_be_counted_is_an_error_not_a_wrong_sum() {
        let dear = PriceList(vec![price(Unit::InputToken, Micros::MAX, 1)]);
        let used = Quantities { input_tokens: 2, ..Quantities::default() };
        assert_eq!(dear.cost(&used), Err(Overflow));
        assert_eq!(dear.cost(&Quantities { input_tokens: u64::MAX, ..used }), Err(Overflow));
        assert_eq!(dear.worst_case(2, 0, 0), Micros::MAX);
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
            (
                vec![price(Unit::Image, PRICE_MICROS_MAX + 1, 1)],
                "the price of image has micros 1000000000001; it must be 0 to 1000000000000",
            ),
            (vec![price(Unit::Request, 1, 1), price(Unit::Request, 2, 1)], "request has more than one price"),
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

    /// Valid lists, some units without a price, denominators that differ.
    fn lists() -> impl Strategy<Value = PriceList> {
        let micros = prop_oneof![0..10i64, 0..10_000_000i64];
        let per = prop::sample::select(vec![1i64, 3, 7, 16, 60, 1_000, 4_096, 1_000_000]);
        let priced = prop::option::of((micros, per));
        prop::collection::vec(priced, Unit::ALL.len()).prop_map(|list| {
            let prices = Unit::ALL.into_iter().zip(list);
            PriceList(prices.filter_map(|(unit, priced)| priced.map(|(micros, per)| price(unit, micros, per))).collect())
        })
    }

    fn amounts() -> impl Strategy<Value = Quantities> {
        prop::collection::vec(prop_oneof![0..5u64, 0..2_000_000u64], Unit::ALL.len())
            .prop_map(|amounts| quantities(|unit| amounts[Unit::ALL.iter().position(|other| *other == unit).unwrap()]))
    }

    /// Multiple of every `per` that `lists` draws.
    const COMMON: i128 = 3 * 7 * 60 * 4_096 * 1_000_000;

    proptest! {
        #[test]
        fn every_drawn_list_is_valid(list in lists()) {
            prop_assert_eq!(validate(&list.0), Ok(()));
        }

        #[test]
        fn rounds_up_by_less_than_a_micro(list in lists(), used in amounts()) {
            let exact: i128 = Unit::ALL
                .into_iter()
                .filter_map(|unit| list.price(unit).map(|price| (used.of(unit), price)))
                .map(|(quantity, price)| i128::from(quantity) * i128::from(price.micros) * (COMMON / i128::from(price.per)))
                .sum();
            let over = i128::from(list.cost(&used).unwrap()) * COMMON - exact;
            prop_assert!((0..COMMON).contains(&over));
        }

        #[test]
        fn using_more_never_costs_less(list in lists(), used in amounts(), more in amounts()) {
            let sum = quantities(|unit| used.of(unit) + more.of(unit));
            prop_assert!(list.cost(&used).unwrap() <= list.cost(&sum).unwrap());
        }

        #[test]
        fn never_costs_more_than_the_worst_case(list in lists(), used in amounts(), slack in 0..3u64) {
            let Quantities { input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, requests, .. } = used;
            let counted = Quantities { images: 0, audio_seconds: 0, characters: 0, video_seconds: 0, megapixel_frames: 0, ..used };
            let input = input_tokens + cached_input_tokens + cache_write_tokens + slack;
            let worst = list.worst_case(input, output_tokens + reasoning_tokens + slack, requests);
            prop_assert!(list.cost(&counted).unwrap() <= worst);
        }
    }
}
