//! Decimal numbers that others write, read exactly: prices, ratios and amounts of money never pass through a float.

use rust_decimal::Decimal;

use super::{
    Micros,
    pricing::{PER_MAX, PRICE_MICROS_MAX, Price, Unit},
};

/// Micros of one credit.
const MICROS: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotExact {
    #[error("'{0}' is not a decimal number that can be read exactly")]
    Text(String),
    #[error("'{0}' has more than six decimals, but the smallest amount is a millionth of a credit")]
    TooFine(String),
    #[error("'{0}' is too large")]
    TooLarge(String),
}

/// Reads `12`, `-0.5`, `1.5e-7`. Numbers of more than 28 digits are refused, not rounded.
pub fn parse(text: &str) -> Result<Decimal, NotExact> {
    read(text.trim()).ok_or_else(|| NotExact::Text(text.chars().take(64).collect()))
}

fn read(text: &str) -> Option<Decimal> {
    let (base, exponent) = match text.split_once(['e', 'E']) {
        Some((base, exponent)) => (base, exponent.strip_prefix('+').unwrap_or(exponent).parse::<i32>().ok()?),
        None => (text, 0),
    };
    let mut value = Decimal::from_str_exact(base).ok()?;
    if exponent > 0 {
        let factor = 10i64.checked_pow(exponent.unsigned_abs())?;
        return value.checked_mul(Decimal::from(factor));
    }
    value.set_scale(value.scale().checked_add(exponent.unsigned_abs())?).ok()?;
    Some(value)
}

/// Reads an amount of credits as whole micros.
pub fn micros(text: &str) -> Result<Micros, NotExact> {
    let too_large = || NotExact::TooLarge(text.to_owned());
    let value = parse(text)?.checked_mul(MICROS).ok_or_else(too_large)?;
    if !value.fract().is_zero() {
        return Err(NotExact::TooFine(text.to_owned()));
    }
    value.trunc().try_into().map_err(|_| too_large())
}

/// The price of a unit that costs `credits` apiece; `None` when no price can say it exactly, or it is negative or beyond all bounds.
pub fn price(unit: Unit, credits: Decimal) -> Option<Price> {
    let is_token = unit.as_str().ends_with("_token");
    let scales: &[i64] = if is_token { &[1_000_000, PER_MAX, 1] } else { &[1, 1_000, 1_000_000, PER_MAX] };
    scales.iter().find_map(|per| {
        let micros = credits.checked_mul(MICROS)?.checked_mul(Decimal::from(*per))?;
        let micros: i64 = Some(micros).filter(|micros| micros.fract().is_zero())?.trunc().try_into().ok()?;
        (0..=PRICE_MICROS_MAX).contains(&micros).then_some(Price::new(unit, micros, *per))
    })
}

/// What one unit costs, in credits, as a plain decimal text.
pub fn apiece(price: Price) -> String {
    let units = Decimal::from(price.per.max(1)).checked_mul(MICROS);
    let credits = units.and_then(|units| Decimal::from(price.micros).checked_div(units));
    credits.unwrap_or_default().normalize().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_as_they_are_written() {
        for (text, expected) in
            [("1", "1"), ("1.50", "1.50"), ("1e-7", "0.0000001"), ("2.5E-06", "0.0000025"), ("1.5e+3", "1500.0"), (" 3 ", "3")]
        {
            assert_eq!(parse(text).unwrap().to_string(), expected, "{text}");
        }
        for bad in ["", "x", "1e", "e5", "1e99", "1e-99", "NaN", "inf", "0.12345678901234567890123456789012", "1e2147483648"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn amounts_are_whole_micros_or_refused() {
        for (text, expected) in
            [("0", 0), ("10", 10_000_000), ("0.000001", 1), ("1e-6", 1), ("-2.5", -2_500_000), ("0.1000000000", 100_000)]
        {
            assert_eq!(micros(text), Ok(expected), "{text}");
        }
        assert!(matches!(micros("0.0000001"), Err(NotExact::TooFine(_))));
        assert!(matches!(micros("10000000000000"), Err(NotExact::TooLarge(_))));
        assert!(matches!(micros("ten"), Err(NotExact::Text(_))));
    }

    #[test]
    fn prices_keep_every_digit() {
        let cases = [
            (Unit::InputToken, "0.00000015", Some((150_000, 1_000_000))),
            (Unit::InputToken, "1e-13", Some((100, PER_MAX))),
            (Unit::OutputToken, "5", Some((5_000_000, 1))),
            (Unit::Image, "0.04", Some((40_000, 1))),
            (Unit::AudioSecond, "0.0000001", Some((100, 1_000))),
            (Unit::InputToken, "0", Some((0, 1_000_000))),
            (Unit::InputToken, "-1", None),
            (Unit::InputToken, "1e-20", None),
            (Unit::InputToken, "1e15", None),
        ];
        for (unit, text, expected) in cases {
            let found = price(unit, parse(text).unwrap()).map(|price| (price.micros, price.per));
            assert_eq!(found, expected, "{text}");
        }
        for text in ["0.00000015", "0.0000000000001", "5", "0.04", "0"] {
            assert_eq!(apiece(price(Unit::InputToken, parse(text).unwrap()).unwrap()), text);
        }
    }
}
