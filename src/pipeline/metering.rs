//! What a call used and what that costs, by the charging contract: the upstream's report, else our own count marked as an estimate.

use super::admission::Admitted;
use crate::{
    dialect::{Charge, Measured},
    domain::{Micros, SECOND, Timestamp, pricing::Quantities},
};

/// What is charged for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metered {
    pub quantities: Quantities,
    pub cost_micros: Micros,
    /// True when the quantities are our own count.
    pub estimated: bool,
}

impl Metered {
    /// `now` is when the answer was whole.
    pub fn charge(&self, now: Timestamp) -> Charge {
        Charge { cost_micros: self.cost_micros, quantities: self.quantities, ended_at: now.div_euclid(SECOND) }
    }
}

/// So many percent of an amount, rounded up.
pub(super) fn part(micros: Micros, percent: u32) -> Micros {
    let exact = i128::from(micros) * i128::from(percent);
    Micros::try_from(exact.div_euclid(100) + i128::from(exact.rem_euclid(100) > 0)).unwrap_or(Micros::MAX)
}

/// `reported` is the upstream's word (explicit zeros count); `produced` is asked for our own count only without it.
pub fn meter(call: &Admitted, reported: Option<Quantities>, produced: impl FnOnce() -> u64) -> Metered {
    let estimated = reported.is_none();
    let mut quantities =
        reported.unwrap_or_else(|| Quantities { input_tokens: call.input_tokens, output_tokens: produced(), ..Quantities::default() });
    quantities.requests = 1;
    priced(call, quantities, estimated)
}

/// For calls that count more than tokens. The guess counts, and makes this an estimate, only when nothing known has a price.
pub fn meter_measured(call: &Admitted, measured: &Measured) -> Metered {
    let known = Quantities { requests: 1, ..measured.known };
    let prices = &call.model.prices;
    let is_free = |quantities: &Quantities| prices.cost(quantities) == Ok(0);
    if !is_free(&known) || is_free(&measured.guessed) {
        return priced(call, known, false);
    }
    priced(call, known.plus(&measured.guessed), true)
}

fn priced(call: &Admitted, quantities: Quantities, estimated: bool) -> Metered {
    let cost_micros = call.model.prices.cost(&quantities).unwrap_or_else(|_| {
        // No honest call reaches it; the most that was agreed to is the fair bound.
        tracing::error!(usage.id = %call.id, model = %call.model.id, "reported usage is too large to be priced; charged the hold");
        call.held.amount()
    });
    Metered { quantities, cost_micros: part(cost_micros, call.charged_percent), estimated }
}
