//! The `usage` object: read into disjoint quantities, and written with what the call cost.

use serde::Deserialize;

use crate::{
    dialect::{Charge, Endpoint, cost, counts::Count, json},
    domain::pricing::Quantities,
};

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

#[derive(Default, Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<Count>,
    #[serde(default)]
    cache_write_tokens: Option<Count>,
    #[serde(default)]
    audio_tokens: Option<Count>,
    #[serde(default)]
    image_tokens: Option<Count>,
}

#[derive(Default, Deserialize)]
struct CompletionDetails {
    #[serde(default)]
    reasoning_tokens: Option<Count>,
    #[serde(default)]
    audio_tokens: Option<Count>,
    #[serde(default)]
    image_tokens: Option<Count>,
}

/// What is left of a total when its parts are taken out.
struct Rest(u64);

impl Rest {
    fn take(&mut self, part: Option<Count>) -> u64 {
        let part = part.map_or(0, |part| part.0.min(self.0));
        self.0 -= part;
        part
    }
}

/// Quantities of a usage object; `None` when it does not say (then count ourselves). A zero that is written is a zero.
///
/// OpenAI counts cached, cache-write, audio and image tokens inside `prompt_tokens`, and reasoning, audio and image tokens inside
/// `completion_tokens`; here every token is in one bucket. Some vendors leave reasoning outside of `completion_tokens`, which shows in the total.
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
    let details = wire.prompt_tokens_details.unwrap_or_default();
    let mut input = Rest(prompt);
    let (cached, written) = (input.take(details.cached_tokens), input.take(details.cache_write_tokens));
    let (audio_input, image_input) = (input.take(details.audio_tokens), input.take(details.image_tokens));
    let details = wire.completion_tokens_details.unwrap_or_default();
    let reasoning = count(details.reasoning_tokens).unwrap_or(0);
    let outside = reasoning > completion_known || total == Some(prompt + completion_known + reasoning);
    let mut output = Rest(if outside { completion_known } else { completion_known - reasoning });
    let (audio_output, image_output) = (output.take(details.audio_tokens), output.take(details.image_tokens));
    Some(Quantities {
        input_tokens: input.0,
        cached_input_tokens: cached,
        cache_write_tokens: written,
        audio_input_tokens: audio_input,
        image_input_tokens: image_input,
        output_tokens: output.0,
        reasoning_tokens: reasoning,
        audio_output_tokens: audio_output,
        image_output_tokens: image_output,
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

/// The usage object of a chat answer that was translated, with all its details.
pub(super) fn written(charge: &Charge) -> String {
    let used = &charge.quantities;
    let totals = made(Endpoint::ChatCompletions, used);
    let details = format!(
        r#","prompt_tokens_details":{{"cached_tokens":{},"cache_write_tokens":{},"audio_tokens":{},"image_tokens":{}}},"completion_tokens_details":{{"reasoning_tokens":{},"audio_tokens":{},"image_tokens":{},"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}}"#,
        used.cached_input_tokens,
        used.cache_write_tokens.saturating_add(used.cache_write_1h_tokens),
        used.audio_input_tokens,
        used.image_input_tokens,
        used.reasoning_tokens,
        used.audio_output_tokens,
        used.image_output_tokens,
    );
    let usage = totals.trim_end_matches('}').to_owned() + &details;
    cost::with_cost(&usage, cost::SNAKE_CASE, charge.cost_micros).unwrap_or(usage)
}

fn made(endpoint: Endpoint, quantities: &Quantities) -> String {
    let (prompt, completion, total) = (quantities.all_input_tokens(), quantities.all_output_tokens(), quantities.tokens());
    match endpoint {
        Endpoint::Embeddings => format!(r#"{{"prompt_tokens":{prompt},"total_tokens":{total}}}"#),
        _ => format!(r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{total}}}"#),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dialect::counts::TOKENS_MAX;

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
            with_cost(reported, Endpoint::ChatCompletions, &Charge { cost_micros: 1_500_012, quantities, ..Charge::default() })
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
