//! `usageMetadata`: read into disjoint quantities, and written with what the call cost.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

use crate::{
    dialect::{Charge, cost, json},
    domain::pricing::Quantities,
};

/// Counts beyond this are nonsense, and would overflow prices.
const TOKENS_MAX: u64 = 1_000_000_000_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(default, alias = "prompt_token_count")]
    prompt_token_count: Option<Count>,
    #[serde(default, alias = "cached_content_token_count")]
    cached_content_token_count: Option<Count>,
    #[serde(default, alias = "tool_use_prompt_token_count")]
    tool_use_prompt_token_count: Option<Count>,
    #[serde(default, alias = "candidates_token_count")]
    candidates_token_count: Option<Count>,
    #[serde(default, alias = "thoughts_token_count")]
    thoughts_token_count: Option<Count>,
    #[serde(default, alias = "total_token_count")]
    total_token_count: Option<Count>,
}

/// A whole number, also when written as a string.
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

    fn visit_str<E: Error>(self, count: &str) -> Result<u64, E> {
        self.visit_u64(count.parse().map_err(E::custom)?)
    }
}

/// Quantities of a usage object; `None` when it does not say (then count ourselves). A zero that is written is a zero.
///
/// Gemini counts cached tokens inside of the prompt, what tools brought in beside it, and thoughts beside the candidates. Where the total
/// shows that thoughts were counted among the candidates, they are taken out.
pub(super) fn read(raw: &str) -> Option<Quantities> {
    if !json::is_object(raw) {
        return None;
    }
    let wire: Wire = serde_json::from_str(raw).ok()?;
    let count = |count: Option<Count>| count.map_or(0, |count| count.0);
    let (candidates, thoughts, tools) =
        (count(wire.candidates_token_count), count(wire.thoughts_token_count), count(wire.tool_use_prompt_token_count));
    let prompt = match (wire.prompt_token_count, wire.total_token_count) {
        (Some(prompt), _) => prompt.0,
        (None, Some(total)) => total.0.saturating_sub(candidates + thoughts + tools),
        (None, None) if wire.candidates_token_count.is_some() => 0,
        (None, None) => return None,
    };
    let cached = count(wire.cached_content_token_count).min(prompt);
    let inside =
        thoughts > 0 && candidates >= thoughts && wire.total_token_count.is_some_and(|total| total.0 == prompt + tools + candidates);
    Some(Quantities {
        input_tokens: prompt - cached + tools,
        cached_input_tokens: cached,
        output_tokens: if inside { candidates - thoughts } else { candidates },
        reasoning_tokens: thoughts,
        ..Quantities::default()
    })
}

/// The usage object with `cost` (decimal credits) and `costMicros` in it: the reported one when there is one that can be read, else one
/// made of the charge's quantities.
pub(super) fn with_cost(reported: Option<&str>, charge: &Charge) -> String {
    let reported = reported.filter(|raw| read(raw).is_some());
    let spliced = reported.and_then(|raw| cost::with_cost(raw, cost::CAMEL_CASE, charge.cost_micros));
    spliced.or_else(|| cost::with_cost(&made(&charge.quantities), cost::CAMEL_CASE, charge.cost_micros)).unwrap_or_default()
}

fn made(quantities: &Quantities) -> String {
    let cached = quantities.cached_input_tokens;
    let prompt = quantities.input_tokens + cached + quantities.cache_write_tokens;
    let (candidates, thoughts) = (quantities.output_tokens, quantities.reasoning_tokens);
    let mut usage = format!("{{\"promptTokenCount\":{prompt},\"candidatesTokenCount\":{candidates}");
    for (name, count) in [("cachedContentTokenCount", cached), ("thoughtsTokenCount", thoughts)] {
        if count > 0 {
            usage.push_str(&format!(",\"{name}\":{count}"));
        }
    }
    usage.push_str(&format!(",\"totalTokenCount\":{}}}", prompt + candidates + thoughts));
    usage
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_are_disjoint() {
        let read = read(
            r#"{"promptTokenCount":100,"cachedContentTokenCount":30,"toolUsePromptTokenCount":5,"candidatesTokenCount":20,
                "thoughtsTokenCount":40,"totalTokenCount":165,"promptTokensDetails":[{"modality":"TEXT","tokenCount":100}]}"#,
        );
        let expected =
            Quantities { input_tokens: 75, cached_input_tokens: 30, output_tokens: 20, reasoning_tokens: 40, ..Quantities::default() };
        assert_eq!(read, Some(expected));
    }

    #[test]
    fn thoughts_among_the_candidates_are_seen_by_the_total() {
        let output = |raw: &str| read(raw).map(|quantities| (quantities.output_tokens, quantities.reasoning_tokens)).unwrap();
        assert_eq!(output(r#"{"promptTokenCount":10,"candidatesTokenCount":50,"thoughtsTokenCount":40,"totalTokenCount":60}"#), (10, 40));
        assert_eq!(output(r#"{"promptTokenCount":10,"candidatesTokenCount":50,"thoughtsTokenCount":40,"totalTokenCount":100}"#), (50, 40));
    }

    #[test]
    fn lenient_but_not_guessing() {
        let input = |raw: &str| read(raw).map(|quantities| quantities.input_tokens);
        assert_eq!(input(r#"{"prompt_token_count":"7","total_token_count":7}"#), Some(7));
        assert_eq!(input(r#"{"promptTokenCount":0}"#), Some(0));
        assert_eq!(input(r#"{"totalTokenCount":9,"candidatesTokenCount":2}"#), Some(7));
        assert_eq!(input(r#"{"promptTokenCount":3,"cachedContentTokenCount":9}"#), Some(0));
        for raw in [
            "null",
            "{}",
            "[1]",
            r#"{"promptTokenCount":-1}"#,
            r#"{"promptTokenCount":1e99}"#,
            r#"{"promptTokenCount":18446744073709551615}"#,
        ] {
            assert_eq!(input(raw), None, "{raw}");
        }
    }

    #[test]
    fn cost_is_added() {
        let quantities =
            Quantities { input_tokens: 2, cached_input_tokens: 1, output_tokens: 3, reasoning_tokens: 4, ..Quantities::default() };
        let charge = Charge { cost_micros: 12, quantities };
        assert_eq!(
            with_cost(Some(r#"{"promptTokenCount":1,"serviceTier":"x"}"#), &charge),
            r#"{"promptTokenCount":1,"serviceTier":"x","cost":0.000012,"costMicros":12}"#
        );
        assert_eq!(
            with_cost(None, &charge),
            r#"{"promptTokenCount":3,"candidatesTokenCount":3,"cachedContentTokenCount":1,"thoughtsTokenCount":4,"totalTokenCount":10,"cost":0.000012,"costMicros":12}"#
        );
    }

    proptest! {
        #[test]
        fn reading_what_is_made_keeps_the_buckets(input in 0..1_000u64, cached in 0..1_000u64, output in 0..1_000u64, thoughts in 0..1_000u64) {
            let quantities =
                Quantities { input_tokens: input, cached_input_tokens: cached, output_tokens: output, reasoning_tokens: thoughts, ..Quantities::default() };
            prop_assert_eq!(read(&made(&quantities)), Some(quantities));
        }
    }
}
