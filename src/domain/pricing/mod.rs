//! What a call costs: an exact sum over disjoint usage buckets, rounded up once to whole micros.
//!
//! A bucket without a price of its own falls back ([`Unit::fallback`]): what is given costs what input tokens cost, what is produced
//! costs what output tokens cost, everything else is free. A price may have tiers, which replace it for the whole call once the
//! call's input is long enough. Absent on purpose: where prices come from (see `control::catalog`).

mod fraction;
#[cfg(test)]
mod tests;
mod unit;

use serde::{Deserialize, Serialize};

use self::fraction::{Fraction, greatest_common_divisor};
pub use self::unit::{Quantities, Unit};
use super::Micros;

/// `micros` credits for every `per` units (for example 150 000 micros per 1 000 000 input tokens).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    pub unit: Unit,
    pub micros: Micros,
    pub per: i64,
    /// Makes this a tier: it replaces the unit's price for the whole call when the call's input tokens, of every kind together, are
    /// more than this. The highest tier that is reached counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1)]
    pub above_input_tokens: Option<u64>,
}

impl Price {
    /// A price without tiers, or the one below them.
    pub fn new(unit: Unit, micros: Micros, per: i64) -> Self {
        Self { unit, micros, per, above_input_tokens: None }
    }

    /// The price for calls with more input tokens than this.
    pub fn above(self, input_tokens: u64) -> Self {
        Self { above_input_tokens: Some(input_tokens), ..self }
    }

    fn is_reached(&self, input_tokens: u64) -> bool {
        self.above_input_tokens.is_none_or(|above| input_tokens > above)
    }

    /// Dearer or cheaper for one unit, compared exactly.
    fn compare(&self, other: &Self) -> std::cmp::Ordering {
        let crosswise = |price: &Self, other: &Self| i128::from(price.micros) * i128::from(other.per);
        crosswise(self, other).cmp(&crosswise(other, self))
    }
}

/// The prices of one model, frozen into every call at its admission.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceList(pub Vec<Price>);

/// The most a call can use, as far as it is known before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ceiling {
    /// Input tokens, whichever of their buckets they fall in.
    pub input_tokens: u64,
    /// Output tokens, whichever of their buckets they fall in.
    pub output_tokens: u64,
    /// What is known exactly: requests, images, characters, seconds.
    pub fixed: Quantities,
}

/// Dearest price: a million credits.
pub const PRICE_MICROS_MAX: Micros = 1_000_000_000_000;
/// Largest `per`.
pub const PER_MAX: i64 = 1_000_000_000;
/// Largest common denominator of one list, so that exact sums fit: any call of up to 10^12 units of each bucket does.
const DENOMINATOR_MAX: i128 = 1_000_000_000_000;
/// Prices of one unit.
const TIERS_MAX: usize = 16;

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
    #[error("{} has more than one price above {above} input tokens", .unit.as_str())]
    DuplicateTier { unit: Unit, above: u64 },
    #[error("a price of {} is for calls above 0 input tokens; leave above_input_tokens away for the price of every call", .unit.as_str())]
    EmptyTier { unit: Unit },
    #[error("{} has a price for long inputs only; add one without above_input_tokens", .unit.as_str())]
    NoBase { unit: Unit },
    #[error("{} has more than {TIERS_MAX} prices", .unit.as_str())]
    TooManyTiers { unit: Unit },
    #[error("per {per} of {} has too little in common with the others; use powers of ten", .unit.as_str())]
    Denominator { unit: Unit, per: i64 },
}

/// Checks prices before they enter the catalogue; names the first bad one.
pub fn validate(prices: &[Price]) -> Result<(), InvalidPrice> {
    let mut denominator = 1i128;
    for (index, &Price { unit, micros, per, above_input_tokens }) in prices.iter().enumerate() {
        if !(1..=PER_MAX).contains(&per) {
            return Err(InvalidPrice::Per { unit, per });
        }
        if !(0..=PRICE_MICROS_MAX).contains(&micros) {
            return Err(InvalidPrice::Micros { unit, micros });
        }
        if above_input_tokens == Some(0) {
            return Err(InvalidPrice::EmptyTier { unit });
        }
        let mut earlier = prices[..index].iter().filter(|earlier| earlier.unit == unit);
        if earlier.clone().count() >= TIERS_MAX {
            return Err(InvalidPrice::TooManyTiers { unit });
        }
        if earlier.any(|earlier| earlier.above_input_tokens == above_input_tokens) {
            return Err(above_input_tokens.map_or(InvalidPrice::Duplicate { unit }, |above| InvalidPrice::DuplicateTier { unit, above }));
        }
        denominator = denominator / greatest_common_divisor(denominator, i128::from(per)) * i128::from(per);
        if denominator > DENOMINATOR_MAX {
            return Err(InvalidPrice::Denominator { unit, per });
        }
    }
    let has_base = |unit| prices.iter().any(|price| price.unit == unit && price.above_input_tokens.is_none());
    match prices.iter().find(|price| !has_base(price.unit)) {
        Some(price) => Err(InvalidPrice::NoBase { unit: price.unit }),
        None => Ok(()),
    }
}

impl PriceList {
    /// The price that counts for a unit in a call with so many input tokens; `None` is free.
    pub fn price(&self, unit: Unit, input_tokens: u64) -> Option<Price> {
        self.reached(unit, input_tokens).max_by_key(|price| price.above_input_tokens).copied()
    }

    /// The charge of a call.
    pub fn cost(&self, used: &Quantities) -> Result<Micros, Overflow> {
        let input_tokens = used.all_input_tokens();
        let mut sum = Fraction::ZERO;
        for unit in Unit::ALL.into_iter().filter(|unit| used.of(*unit) > 0) {
            sum = sum.plus(used.of(unit), self.price(unit, input_tokens))?;
        }
        sum.ceil()
    }

    /// The most that a call within `ceiling` can cost, whatever buckets its tokens fall in and whichever tiers it reaches. A cost
    /// that no balance could cover is [`Micros::MAX`], so a hold for it is refused.
    pub fn worst_case(&self, ceiling: &Ceiling) -> Micros {
        let Ceiling { input_tokens, output_tokens, fixed } = ceiling;
        let longest = input_tokens.saturating_add(fixed.all_input_tokens());
        let tokens = Fraction::ZERO
            .plus(*input_tokens, self.dearest(&Unit::INPUT, longest))
            .and_then(|sum| sum.plus(*output_tokens, self.dearest(&Unit::OUTPUT, longest)));
        let known = Unit::ALL.into_iter().filter(|unit| fixed.of(*unit) > 0);
        let all = known.fold(tokens, |sum, unit| sum?.plus(fixed.of(unit), self.dearest(&[unit], longest)));
        all.and_then(Fraction::ceil).unwrap_or(Micros::MAX)
    }

    /// The dearest price of any of `units` in a call with up to so many input tokens.
    fn dearest(&self, units: &[Unit], input_tokens: u64) -> Option<Price> {
        units.iter().flat_map(|unit| self.reached(*unit, input_tokens)).max_by(|left, right| left.compare(right)).copied()
    }

    /// Prices of a unit, its fallback's where it has none, up to the tier that so many input tokens reach.
    fn reached(&self, unit: Unit, input_tokens: u64) -> impl Iterator<Item = &Price> {
        let mut priced = Some(unit);
        while let Some(candidate) = priced
            && self.0.iter().all(|price| price.unit != candidate)
        {
            priced = candidate.fallback();
        }
        self.0.iter().filter(move |price| Some(price.unit) == priced && price.is_reached(input_tokens))
    }
}
