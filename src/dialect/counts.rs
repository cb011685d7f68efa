//! Counts of tokens, as upstreams report them.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// Counts beyond this are nonsense, and would overflow prices.
pub(crate) const TOKENS_MAX: u64 = 1_000_000_000_000;

/// A whole number, also when written `12.0`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count(pub u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountVisitor).map(Self)
    }
}

struct CountVisitor;

impl Visitor<'_> for CountVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a count of tokens")
    }

    fn visit_u64<E: Error>(self, count: u64) -> Result<u64, E> {
        if count <= TOKENS_MAX { Ok(count) } else { Err(E::custom("absurd count")) }
    }

    fn visit_f64<E: Error>(self, count: f64) -> Result<u64, E> {
        if count.fract() == 0.0 && (0.0..=1e12).contains(&count) { Ok(count as u64) } else { Err(E::custom("not a count")) }
    }
}
