//! The `usage` object: read into disjoint quantities, and written with what the call cost.

use std::fmt;

use crate::{
    dialect::{Charge, Endpoint, cost, json},
    domain::pricing::Quantities,
};
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// Counts beyond this are nonsense, and would overflow prices.
const TOKENS_MAX: u64 = 1_000_000_000_000;

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    prompt_tokens: Option<Count>,
    #[serde(default)]
    completion_tokens: Option<Count>,
    #[serde(default)]
    total_tokens: Option<Count>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<Count>,
    #[serde(default)]
    cache_write_tokens: Option<Count>,
}

#[derive(Deserialize)]
struct CompletionDetails {
    #[serde(default)]
    reasoning_tokens: Option<Count>,
}

/// A whole number, also when written `12.0`.
#[derive(Clone, Copy)]
struct Count(u64);

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

/// Quantities of a usage object; `None` when it does not say (then count ourselves). A zero that is written is a zero.
///
/// OpenAI counts cached and cache-write tokens inside `prompt_tokens` and reasoning tokens inside `completion_tokens`; here every
/// token is in one bucket. Some vendors leave reasoning outside of `completion_tokens`, which shows in the total.
pub(super) fn read(raw: &str) -> Option<Quantities> {
    if !json::is_object(raw) {
        return None;
    }
    let wire: Wire = serde_json::from_str(raw).ok()?;
    let count = |count: Option<Count>| count.map(|count| count.0);
    let (prompt, completion, total) = (count(wire.prompt_tokens), count(wire.completion_tokens), count(wire.total_tokens));
    let completion_known = completion.unwrap_or(0);
    let prompt = match (prompt, completion, total) {
        (Some(prompt), _, _) => prompt,
        (None, _, Some(total)) => total.saturating_sub(completion_known),
        (None, Some(_), None) => 0,
        (None, None, None) => return None,
    };
    let (cached, written) =
        wire.prompt_tokens_details.map_or((None, None), |details| (count(details.cached_tokens), count(details.cache_write_tokens)));
    let cached = cached.unwrap_or(0).min(prompt);
    let written = written.unwrap_or(0).min(prompt - cached);
    let reasoning = wire.completion_tokens_details.and_then(|details| count(details.reasoning_tokens)).unwrap_or(0);
    let outside = reasoning > completion_known || total == Some(prompt + completion_known + reasoning);
    Some(Quantities {
        input_tokens: prompt - cached - written,
        cached_input_tokens: cached,
        cache_write_tokens: written,
        output_tokens: if outside { completion_known } else { completion_known - reasoning },
        reasoning_tokens: reasoning,
        ..Quantities::default()
    })
}

/// The usage object with `cost` (decimal credits) and `cost_micros` in it: the reported one when there is one that can be read,
/// else one made of the charge's quantities.
pub(super) fn with_cost(reported: Option<&str>, endpoint: Endpoint, charge: &Charge) -> String {
    let reported = reported.filter(|raw| read(raw).is_some());
    let spliced = reported.and_then(|raw| cost::with_cost(raw, cost::SNAKE_CASE, charge.cost_micros));
    spliced.or_else(|| cost::with_cost(&made(endpoint, &charge.quantities), cost::SNAKE_CASE, charge.cost_micros)).unwrap_or_default()
}

fn made(endpoint: Endpoint, quantities: &Quantities) -> String {
    let prompt = quantities.input_tokens + quantities.cached_input_tokens + quantities.cache_write_tokens;
    let completion = quantities.output_tokens + quantities.reasoning_tokens;
    let total = prompt + completion;
    match endpoint {
        Endpoint::Embeddings => format!(r#"{{"prompt_tokens":{prompt},"total_tokens":{total}}}"#),
        _ => format!(r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{total}}}"#),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_are_disjoint() {
        let read = read(
            r#"{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,
                "prompt_tokens_details":{"cached_tokens":30,"cache_write_tokens":20,"audio_tokens":null},"completion_tokens_details":{"reasoning_tokens":40}}"#,
        );
        let expected = Quantities {
            input_tokens: 50,
            cached_input_tokens: 30,
            cache_write_tokens: 20,
            output_tokens: 10,
            reasoning_tokens: 40,
            ..Quantities::default()
        };
        assert_eq!(read, Some(expected));
    }

    #[test]
    fn reasoning_outside_of_the_completion_is_seen_by_the_total() {
        let quantities =
            read(r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":115,"completion_tokens_details":{"reasoning_tokens":100}}"#)
                .expect("read");
        assert_eq!((quantities.output_tokens, quantities.reasoning_tokens), (5, 100));
        let quantities =
            read(r#"{"prompt_tokens":10,"completion_tokens":50,"total_tokens":100,"completion_tokens_details":{"reasoning_tokens":40}}"#)
                .expect("read");
        assert_eq!((quantities.output_tokens, quantities.reasoning_tokens), (50, 40));
    }

    #[test]
    fn lenient_but_not_guessing() {
        let input = |raw: &str| read(raw).map(|quantities| quantities.input_tokens);
        assert_eq!(input(r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#), Some(0));
        assert_eq!(input(r#"{"prompt_tokens":12.0,"prompt_tokens_details":null}"#), Some(12));
        assert_eq!(input(r#"{"total_tokens":7}"#), Some(7));
        assert_eq!(input(r#"{"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":9}}"#), Some(0));
        for raw in ["null", "{}", "[]", "[1,2,3]", r#"{"prompt_tokens":-1}"#, r#"{"prompt_tokens":"7"}"#, r#"{"prompt_tokens":1e99}"#] {
            assert_eq!(input(raw), None, "{raw}");
        }
        assert_eq!(input(r#"{"prompt_tokens":18446744073709551615,"total_tokens":1}"#), None);
    }

    #[test]
    fn cost_is_added_or_replaced() {
        let written = |reported: Option<&str>| {
            let quantities = Quantities { input_tokens: 2, output_tokens: 3, reasoning_tokens: 4, ..Quantities::default() };
            with_cost(reported, Endpoint::ChatCompletions, &Charge { cost_micros: 1_500_012, quantities })
        };
        assert_eq!(written(Some(r#"{"prompt_tokens":1 }"#)), r#"{"prompt_tokens":1 ,"cost":1.500012,"cost_micros":1500012}"#);
        assert_eq!(
            written(Some(r#"{"cost_micros":null,"prompt_tokens":1,"cost":0.5}"#)),
            r#"{"cost_micros":1500012,"prompt_tokens":1,"cost":1.500012}"#
        );
        let made = r#"{"prompt_tokens":2,"completion_tokens":7,"total_tokens":9,"cost":1.500012,"cost_micros":1500012}"#;
        assert_eq!(written(None), made);
        assert_eq!(written(Some("null")), made);
        assert_eq!(written(Some(r#"{"prompt_tokens":1,"cost":1,"cost":2}"#)), made);
    }

    proptest! {
        #[test]
        fn reading_what_is_made_keeps_the_totals(input in 0..TOKENS_MAX / 2, output in 0..TOKENS_MAX / 2) {
            let quantities = Quantities { input_tokens: input, output_tokens: output, ..Quantities::default() };
            prop_assert_eq!(read(&made(Endpoint::ChatCompletions, &quantities)), Some(quantities));
        }
    }
}
