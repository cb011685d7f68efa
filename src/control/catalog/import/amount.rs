//! From the decimal numbers of price lists to exact prices in micros, without a float on the way.

use rust_decimal::{Decimal, RoundingStrategy};

use crate::domain::pricing::{PER_MAX, PRICE_MICROS_MAX, Price, Unit};

/// Beyond this many digits a number was once a binary float, and the rest is its noise: `5.0000000000000004e-08`.
const DIGITS_MAX: u32 = 15;
const MARKUP_PLACES_MAX: u32 = 6;
const MARKUP_MAX: u32 = 1_000;
const MICROS_PLACES: u32 = 6;
/// Of the largest `per`.
const PER_PLACES_MAX: u32 = 9;

/// Reads a price as it is written: `0.15`, `3e-07`.
pub fn read(text: &str) -> Result<Decimal, String> {
    let number = if text.contains(['e', 'E']) { Decimal::from_scientific(text) } else { Decimal::from_str_exact(text) };
    let number = number.map_err(|error| format!("'{text}' is not a price: {error}"))?;
    if number.is_sign_negative() && !number.is_zero() {
        return Err(format!("'{text}' is not a price, because it is negative"));
    }
    number
        .round_sf_with_strategy(DIGITS_MAX, RoundingStrategy::MidpointNearestEven)
        .ok_or_else(|| format!("'{text}' has too many digits for a price"))
}

/// What every price is multiplied with, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Markup(Decimal);

impl Default for Markup {
    fn default() -> Self {
        Self(Decimal::ONE)
    }
}

impl std::str::FromStr for Markup {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let factor =
            Decimal::from_str_exact(text).map_err(|_| format!("the markup '{text}' is not a decimal number like 1.2"))?.normalize();
        if factor <= Decimal::ZERO || factor > Decimal::from(MARKUP_MAX) || factor.scale() > MARKUP_PLACES_MAX {
            return Err(format!("the markup '{text}' must be above 0, at most {MARKUP_MAX}, with at most {MARKUP_PLACES_MAX} places"));
        }
        Ok(Self(factor))
    }
}

/// The price of a unit that costs so many credits. What is finer than a billionth of a micro is rounded up.
pub fn price(unit: Unit, credits: Decimal, markup: Markup) -> Result<Price, String> {
    let too_dear = || format!("{} costs {credits} credits, which is too dear", unit.as_str());
    // Numerator and the places behind its point: both factors have few digits, so the product fits.
    let mantissa = credits.mantissa().checked_mul(markup.0.mantissa()).ok_or_else(too_dear)?;
    let places = credits.scale() + markup.0.scale();
    let least = if is_counted_in_millions(unit) { MICROS_PLACES } else { 0 };
    for per_places in least..=PER_PLACES_MAX {
        // micros = mantissa × 10^(6 + per_places) / 10^places
        let up = mantissa.checked_mul(power_of_ten(MICROS_PLACES + per_places)).ok_or_else(too_dear)?;
        let down = power_of_ten(places);
        if up % down == 0 || per_places == PER_PLACES_MAX {
            let micros = up / down + i128::from(up % down > 0);
            let micros = i64::try_from(micros).ok().filter(|micros| *micros <= PRICE_MICROS_MAX).ok_or_else(too_dear)?;
            return Ok(Price::new(unit, micros, 10i64.pow(per_places)));
        }
    }
    Err(too_dear())
}

/// The same price times the markup.
pub fn marked_up(price: Price, markup: Markup) -> Result<Price, String> {
    if markup == Markup::default() {
        return Ok(price);
    }
    let too_dear = || format!("the price of {} is too dear with this markup", price.unit.as_str());
    let numerator = i128::from(price.micros).checked_mul(markup.0.mantissa()).ok_or_else(too_dear)?;
    let denominator = i128::from(price.per).checked_mul(power_of_ten(markup.0.scale())).ok_or_else(too_dear)?;
    // The list's own denominator where it will do.
    let (micros, per) = [i128::from(price.per), denominator, i128::from(PER_MAX)]
        .into_iter()
        .filter(|per| *per <= i128::from(PER_MAX))
        .map(|per| (numerator * per, per))
        .find(|(scaled, per)| scaled % denominator == 0 || *per == i128::from(PER_MAX))
        .map(|(scaled, per)| (scaled / denominator + i128::from(scaled % denominator > 0), per))
        .ok_or_else(too_dear)?;
    let micros = i64::try_from(micros).ok().filter(|micros| *micros <= PRICE_MICROS_MAX).ok_or_else(too_dear)?;
    Ok(Price { micros, per: i64::try_from(per).unwrap_or(PER_MAX), ..price })
}

/// Credits for a million tokens or characters, or for one of anything else, as people compare prices.
pub fn shown(price: &Price) -> String {
    let per_unit = Decimal::from(price.micros).checked_div(Decimal::from(price.per)).unwrap_or_default();
    // Micros for one are credits for a million.
    match is_counted_in_millions(price.unit) {
        true => format!("{} per million", per_unit.normalize()),
        false => format!("{}", per_unit.checked_div(Decimal::from(1_000_000)).unwrap_or_default().normalize()),
    }
}

fn is_counted_in_millions(unit: Unit) -> bool {
    unit == Unit::Character || Unit::INPUT.contains(&unit) || Unit::OUTPUT.contains(&unit)
}

fn power_of_ten(places: u32) -> i128 {
    10i128.saturating_pow(places)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn markup(text: &str) -> Markup {
        text.parse().unwrap()
    }

    #[track_caller]
    fn check(unit: Unit, text: &str, factor: &str, micros: i64, per: i64) {
        assert_eq!(price(unit, read(text).unwrap(), markup(factor)), Ok(Price::new(unit, micros, per)), "{text} × {factor}");
    }

    #[test]
    fn decimal_text_becomes_exact_micros() {
        check(Unit::InputToken, "3e-06", "1", 3_000_000, 1_000_000);
        check(Unit::InputToken, "1.5e-07", "1", 150_000, 1_000_000);
        check(Unit::InputToken, "0.00000015", "1", 150_000, 1_000_000);
        check(Unit::InputToken, "1.25e-14", "1", 13, 1_000_000_000);
        check(Unit::CachedInputToken, "2.5e-14", "1", 25, 1_000_000_000);
        check(Unit::InputToken, "0", "1.2", 0, 1_000_000);
        check(Unit::InputToken, "0.0", "1", 0, 1_000_000);
        check(Unit::Image, "0.04", "1", 40_000, 1);
        check(Unit::AudioSecond, "0.0000125", "1", 125, 10);
        check(Unit::Character, "1.5e-05", "1", 15_000_000, 1_000_000);
        check(Unit::Request, "1", "1", 1_000_000, 1);
    }

    #[test]
    fn the_noise_of_floats_is_no_price() {
        check(Unit::InputToken, "5.0000000000000004e-08", "1", 50_000, 1_000_000);
        check(Unit::InputToken, "2.1429999999999996e-06", "1", 2_143_000, 1_000_000);
        // What has no end is rounded up, once.
        check(Unit::InputToken, "3.3333333333333334e-08", "1", 33_333_334, 1_000_000_000);
    }

    #[test]
    fn a_markup_is_exact() {
        check(Unit::InputToken, "3e-06", "1.2", 3_600_000, 1_000_000);
        check(Unit::InputToken, "1.5e-07", "1.15", 172_500, 1_000_000);
        check(Unit::InputToken, "1e-07", "1.000001", 1_000_001, 10_000_000);
        let own = |micros, per| Price::new(Unit::InputToken, micros, per).above(9);
        assert_eq!(marked_up(own(10, 1_000), markup("1.2")), Ok(own(12, 1_000)));
        assert_eq!(marked_up(own(1, 3), markup("1.5")), Ok(own(15, 30)));
        assert_eq!(marked_up(own(1, 1), markup("1")), Ok(own(1, 1)));
        assert_eq!(marked_up(own(1, PER_MAX), markup("1.5")), Ok(own(2, PER_MAX)));
        assert!(marked_up(own(PRICE_MICROS_MAX, 1), markup("1.5")).is_err());
        assert_eq!(markup("1.20"), markup("1.2"));
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for bad in ["", "free", "-1e-6", "1e-6x", "1e-40", "1e40", "NaN", "99999999999999999999999999999999"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(price(Unit::InputToken, read("2").unwrap(), Markup::default()).is_err());
        for bad in ["", "0", "-1", "1e3", "1001", "1.0000001", "x"] {
            assert!(bad.parse::<Markup>().is_err(), "{bad}");
        }
    }

    #[test]
    fn prices_are_shown_as_people_compare_them() {
        assert_eq!(shown(&Price::new(Unit::InputToken, 150_000, 1_000_000)), "0.15 per million");
        assert_eq!(shown(&Price::new(Unit::Image, 40_000, 1)), "0.04");
        assert_eq!(shown(&Price::new(Unit::AudioSecond, 125, 10)), "0.0000125");
    }

    proptest! {
        /// At most a billionth of a micro dearer than exact, never cheaper.
        #[test]
        fn never_cheaper_than_written(digits in 1..1_000_000_000_000i64, places in 0..20u32, factor in 1..100_000_000i64) {
            let credits = Decimal::from_i128_with_scale(i128::from(digits), places);
            let factor = Markup(Decimal::from_i128_with_scale(i128::from(factor), 6).normalize());
            if let Ok(price) = price(Unit::InputToken, credits, factor) {
                // Cross-multiplied: micros / per against mantissas / 10^places.
                let scale = power_of_ten(credits.scale() + factor.0.scale());
                let exact = credits.mantissa() * factor.0.mantissa() * 1_000_000;
                let (left, right) = (i128::from(price.micros).checked_mul(scale), exact.checked_mul(i128::from(price.per)));
                if let (Some(left), Some(right)) = (left, right) {
                    prop_assert!(left >= right);
                    prop_assert!(left - right < scale, "less than one of the last place");
                }
            }
        }
    }
}
