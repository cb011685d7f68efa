//! What a call cost, inside the usage object of its answer.

use super::json::{self, Edit};
use crate::domain::Micros;

/// Names of the members that carry the cost: decimal credits, and micros.
pub(crate) const SNAKE_CASE: [&str; 2] = ["cost", "cost_micros"];
pub(crate) const CAMEL_CASE: [&str; 2] = ["cost", "costMicros"];

/// The usage object (JSON text) with the cost added, or put in place of what stands there. `None` when it is no object, or has one of the
/// names twice.
pub(crate) fn with_cost(usage: &str, names: [&str; 2], cost_micros: Micros) -> Option<String> {
    let members = json::members(usage)?;
    let mut edits = Vec::with_capacity(3);
    let mut added = String::new();
    for (name, value) in names.into_iter().zip([credits_text(cost_micros), cost_micros.to_string()]) {
        let mut there = members.iter().filter(|(member, _)| member == name);
        match (there.next(), there.next()) {
            (Some((_, raw)), None) => edits.push(Edit { at: json::span_in(usage.as_bytes(), raw.get()), with: value }),
            (None, _) => {
                let comma = if members.is_empty() && added.is_empty() { "" } else { "," };
                added.push_str(&format!("{comma}\"{name}\":{value}"));
            }
            (Some(_), Some(_)) => return None,
        }
    }
    let end = usage.rfind('}')?;
    edits.push(Edit { at: end..end, with: added });
    edits.sort_by_key(|edit| edit.at.start);
    String::from_utf8(json::splice(usage.as_bytes(), &edits).to_vec()).ok()
}

/// Micros as exact decimal credits: 12 is `0.000012`.
pub fn credits_text(micros: Micros) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let (whole, fraction) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    let digits = format!("{fraction:06}");
    format!("{sign}{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_goes_into_any_object() {
        assert_eq!(with_cost("{}", SNAKE_CASE, 12).as_deref(), Some(r#"{"cost":0.000012,"cost_micros":12}"#));
        assert_eq!(with_cost(r#"{"a":1}"#, CAMEL_CASE, 12).as_deref(), Some(r#"{"a":1,"cost":0.000012,"costMicros":12}"#));
        assert_eq!(
            with_cost(r#"{"cost":9,"a":{"cost":1}}"#, SNAKE_CASE, 5).as_deref(),
            Some(r#"{"cost":0.000005,"a":{"cost":1},"cost_micros":5}"#)
        );
        for odd in ["null", "[]", r#"{"cost":1,"cost":2}"#] {
            assert_eq!(with_cost(odd, SNAKE_CASE, 5), None, "{odd}");
        }
    }

    #[test]
    fn credits_are_exact() {
        for (micros, text) in [(0, "0"), (12, "0.000012"), (1_000_000, "1"), (1_500_000, "1.5"), (-12, "-0.000012")] {
            assert_eq!(credits_text(micros), text);
        }
    }
}
