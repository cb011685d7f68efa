//! The `usage` object: read into disjoint quantities, and written with what the call cost.

use serde::Deserialize;

use crate::{
    dialect::{Charge, cost, counts::Count, json},
    domain::pricing::Quantities,
};

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    input_tokens: Option<Count>,
    #[serde(default)]
    input_tokens_details: Option<InputDetails>,
    #[serde(default)]
    output_tokens: Option<Count>,
    #[serde(default)]
    output_tokens_details: Option<OutputDetails>,
    #[serde(default)]
    total_tokens: Option<Count>,
}

#[derive(Deserialize)]
struct InputDetails {
    #[serde(default)]
    cached_tokens: Option<Count>,
    #[serde(default)]
    cache_write_tokens: Option<Count>,
}

#[derive(Deserialize)]
struct OutputDetails {
    #[serde(default)]
    reasoning_tokens: Option<Count>,
}

/// Quantities of a usage object; `None` when it does not say (then count ourselves). A zero that is written is a zero.
///
/// Cached and cache-write tokens are counted inside `input_tokens` and reasoning tokens inside `output_tokens`; here every token is in
/// one bucket. Servers that leave reasoning outside of `output_tokens` show it in the total.
pub(super) fn read(raw: &str) -> Option<Quantities> {
    if !json::is_object(raw) {
        return None;
    }
    let wire: Wire = serde_json::from_str(raw).ok()?;
    let count = |count: Option<Count>| count.map(|count| count.0);
    let (input, output, total) = (count(wire.input_tokens), count(wire.output_tokens), count(wire.total_tokens));
    let written = output.unwrap_or(0);
    let input = match (input, output, total) {
        (Some(input), _, _) => input,
        (None, _, Some(total)) => total.saturating_sub(written),
        (None, Some(_), None) => 0,
        (None, None, None) => return None,
    };
    let details = wire.input_tokens_details.map(|details| (count(details.cached_tokens), count(details.cache_write_tokens)));
    let (cached, cache_write) = details.unwrap_or_default();
    let cached = cached.unwrap_or(0).min(input);
    let cache_write = cache_write.unwrap_or(0).min(input - cached);
    let reasoning = wire.output_tokens_details.and_then(|details| count(details.reasoning_tokens)).unwrap_or(0);
    let outside = reasoning > written || total == Some(input + written + reasoning);
    Some(Quantities {
        input_tokens: input - cached - cache_write,
        cached_input_tokens: cached,
        cache_write_tokens: cache_write,
        output_tokens: if outside { written } else { written - reasoning },
        reasoning_tokens: reasoning,
        ..Quantities::default()
    })
}

/// The usage object with `cost` (decimal credits) and `cost_micros`: the reported one when there is one that can be read, else one made
/// of the charge's quantities.
pub(super) fn with_cost(reported: Option<&str>, charge: &Charge) -> String {
    let reported = reported.filter(|raw| read(raw).is_some());
    let spliced = reported.and_then(|raw| cost::with_cost(raw, cost::SNAKE_CASE, charge.cost_micros));
    spliced.or_else(|| cost::with_cost(&made(&charge.quantities), cost::SNAKE_CASE, charge.cost_micros)).unwrap_or_default()
}

/// Both objects of details are required by clients.
fn made(used: &Quantities) -> String {
    let (input, output) = (used.all_input_tokens(), used.all_output_tokens());
    format!(
        r#"{{"input_tokens":{input},"input_tokens_details":{{"cached_tokens":{},"cache_write_tokens":{}}},"output_tokens":{output},"output_tokens_details":{{"reasoning_tokens":{}}},"total_tokens":{}}}"#,
        used.cached_input_tokens,
        used.cache_write_tokens.saturating_add(used.cache_write_1h_tokens),
        used.reasoning_tokens,
        input.saturating_add(output)
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_are_disjoint() {
        let used = read(
            r#"{"input_tokens":100,"input_tokens_details":{"cached_tokens":30,"cache_write_tokens":20},
                "output_tokens":50.0,"output_tokens_details":{"reasoning_tokens":40},"total_tokens":150}"#,
        );
        let expected = Quantities {
            input_tokens: 50,
            cached_input_tokens: 30,
            cache_write_tokens: 20,
            output_tokens: 10,
            reasoning_tokens: 40,
            ..Quantities::default()
        };
        assert_eq!(used, Some(expected));
    }

    #[test]
    fn lenient_but_not_guessing() {
        let input = |raw: &str| read(raw).map(|used| used.input_tokens);
        assert_eq!(input(r#"{"input_tokens":0,"output_tokens":0,"total_tokens":0}"#), Some(0));
        assert_eq!(input(r#"{"input_tokens":7,"input_tokens_details":null}"#), Some(7));
        assert_eq!(input(r#"{"total_tokens":7}"#), Some(7));
        assert_eq!(input(r#"{"input_tokens":3,"input_tokens_details":{"cached_tokens":9}}"#), Some(0));
        for raw in
            ["null", "{}", "[]", r#"{"input_tokens":-1}"#, r#"{"input_tokens":"7"}"#, r#"{"input_tokens":1.5}"#, r#"{"input_tokens":1e99}"#]
        {
            assert_eq!(input(raw), None, "{raw}");
        }
        let outside = r#"{"input_tokens":10,"output_tokens":5,"output_tokens_details":{"reasoning_tokens":100},"total_tokens":115}"#;
        assert_eq!(read(outside).map(|used| (used.output_tokens, used.reasoning_tokens)), Some((5, 100)));
    }

    #[test]
    fn a_missing_usage_is_made_with_both_details() {
        let quantities =
            Quantities { input_tokens: 2, cached_input_tokens: 1, output_tokens: 3, reasoning_tokens: 4, ..Quantities::default() };
        let charge = Charge { cost_micros: 12, quantities, ..Charge::default() };
        let made = r#"{"input_tokens":3,"input_tokens_details":{"cached_tokens":1,"cache_write_tokens":0},"output_tokens":7,"output_tokens_details":{"reasoning_tokens":4},"total_tokens":10,"cost":0.000012,"cost_micros":12}"#;
        assert_eq!(with_cost(None, &charge), made);
        assert_eq!(with_cost(Some("null"), &charge), made);
        assert_eq!(with_cost(Some(r#"{"input_tokens":1}"#), &charge), r#"{"input_tokens":1,"cost":0.000012,"cost_micros":12}"#);
    }

    proptest! {
        #[test]
        fn reading_what_is_made_gives_it_back(input: u16, cached: u16, written: u16, output: u16, reasoning in 0..1000u64) {
            let quantities = Quantities {
                input_tokens: input.into(),
                cached_input_tokens: cached.into(),
                cache_write_tokens: written.into(),
                // As with all reports, reasoning alone cannot be told from reasoning outside of the output.
                output_tokens: u64::from(output) + 1,
                reasoning_tokens: reasoning,
                ..Quantities::default()
            };
            prop_assert_eq!(read(&made(&quantities)), Some(quantities));
        }
    }
}
