//! Exact sums of prices.

use super::{Micros, Overflow, Price};

/// A non-negative rational number of micros.
#[derive(Clone, Copy)]
pub(super) struct Fraction {
    numerator: i128,
    denominator: i128,
}

impl Fraction {
    pub(super) const ZERO: Self = Self { numerator: 0, denominator: 1 };

    pub(super) fn plus(self, quantity: u64, price: Option<Price>) -> Result<Self, Overflow> {
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

    pub(super) fn ceil(self) -> Result<Micros, Overflow> {
        let whole = self.numerator / self.denominator + i128::from(self.numerator % self.denominator > 0);
        Micros::try_from(whole).map_err(|_| Overflow)
    }
}

pub(super) fn greatest_common_divisor(left: i128, right: i128) -> i128 {
    if right == 0 { left } else { greatest_common_divisor(right, left % right) }
}
