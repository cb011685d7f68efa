//! `usageMetadata`: read into disjoint quantities, and written with what the call cost.

use serde::Deserialize;

use crate::{
    dialect::{
        Charge, cost,
        counts::Count,
        json::{self, Text},
    },
    domain::pricing::Quantities,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
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
    #[serde(borrow, default, alias = "prompt_tokens_details")]
    prompt_tokens_details: Option<Vec<Modality<'a>>>,
    #[serde(borrow, default, alias = "cache_tokens_details")]
    cache_tokens_details: Option<Vec<Modality<'a>>>,
    #[serde(borrow, default, alias = "candidates_tokens_details")]
    candidates_tokens_details: Option<Vec<Modality<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Modality<'a> {
    #[serde(borrow, default)]
    modality: Option<Text<'a>>,
    #[serde(default, alias = "token_count")]
    token_count: Option<Count>,
}

/// Tokens of one kind in a list of details.
fn tokens_of(kind: &str, details: Option<&Vec<Modality<'_>>>) -> u64 {
    let is_asked = |detail: &&Modality<'_>| detail.modality.as_ref().is_some_and(|modality| modality.0 == kind);
    details.into_iter().flatten().find(is_asked).and_then(|detail| detail.token_count).map_or(0, |count| count.0)
}

/// Quantities of a usage object; `None` when it does not say (then count ourselves). A zero that is written is a zero.
///
/// Gemini counts cached tokens inside of the prompt, what tools brought in beside it, and thoughts beside the candidates. Where the total
/// shows that thoughts were counted among the candidates, they are taken out.
pub(super) fn read(raw: &str) -> Option<Quantities> {
    if !json::is_object(raw) {
        return None;
    }
    let wire: Wire<'_> = serde_json::from_str(raw).ok()?;
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
    let mut input = prompt - cached;
    let mut output = if inside { candidates - thoughts } else { candidates };
    let given = |kind: &str| {
        let all = tokens_of(kind, wire.prompt_tokens_details.as_ref());
        all.saturating_sub(tokens_of(kind, wire.cache_tokens_details.as_ref()))
    };
    let made = |kind: &str| tokens_of(kind, wire.candidates_tokens_details.as_ref());
    Some(Quantities {
        audio_input_tokens: take(&mut input, given("AUDIO")),
        image_input_tokens: take(&mut input, given("IMAGE")),
        audio_output_tokens: take(&mut output, made("AUDIO")),
        image_output_tokens: take(&mut output, made("IMAGE")),
        input_tokens: input + tools,
        cached_input_tokens: cached,
        output_tokens: output,
        reasoning_tokens: thoughts,
        ..Quantities::default()
    })
}

/// Takes a part out of what is left of a total.
fn take(rest: &mut u64, part: u64) -> u64 {
    let part = part.min(*rest);
    *rest -= part;
    part
}

/// The usage object with `cost` (decimal credits) and `costMicros` in it: the reported one when there is one that can be read, else one
/// made of the charge's quantities.
pub(super) fn with_cost(reported: Option<&str>, charge: &Charge) -> String {
    let reported = reported.filter(|raw| read(raw).is_some());
    let spliced = reported.and_then(|raw| cost::with_cost(raw, cost::CAMEL_CASE, charge.cost_micros));
    spliced.or_else(|| cost::with_cost(&made(&charge.quantities), cost::CAMEL_CASE, charge.cost_micros)).unwrap_or_default()
}

/// The same for embeddings, which know the input only.
pub(super) fn of_embeddings(charge: &Charge) -> String {
    let usage = format!("{{\"promptTokenCount\":{}}}", charge.quantities.all_input_tokens());
    cost::with_cost(&usage, cost::CAMEL_CASE, charge.cost_micros).unwrap_or_default()
}

fn made(used: &Quantities) -> String {
    let (prompt, thoughts) = (used.all_input_tokens(), used.reasoning_tokens);
    let candidates = used.all_output_tokens() - thoughts;
    let mut usage = format!("{{\"promptTokenCount\":{prompt},\"candidatesTokenCount\":{candidates}");
    for (name, count) in [("cachedContentTokenCount", used.cached_input_tokens), ("thoughtsTokenCount", thoughts)] {
        if count > 0 {
            usage.push_str(&format!(",\"{name}\":{count}"));
        }
    }
    for (name, all, audio, image) in [
        ("promptTokensDetails", prompt, used.audio_input_tokens, used.image_input_tokens),
        ("candidatesTokensDetails", candidates, used.audio_output_tokens, used.image_output_tokens),
    ] {
        if audio + image > 0 {
            let kinds = [("TEXT", all - audio - image), ("AUDIO", audio), ("IMAGE", image)].into_iter().filter(|(_, count)| *count > 0);
            let kinds: Vec<String> = kinds.map(|(kind, count)| format!(r#"{{"modality":"{kind}","tokenCount":{count}}}"#)).collect();
            usage.push_str(&format!(",\"{name}\":[{}]", kinds.join(",")));
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
        assert_eq!(input(r#"{"prompt_token_count":7,"total_token_count":7}"#), Some(7));
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
        let charge = Charge { cost_micros: 12, quantities, ..Charge::default() };
        assert_eq!(
            with_cost(Some(r#"{"promptTokenCount":1,"serviceTier":"x"}"#), &charge),
            r#"{"promptTokenCount":1,"serviceTier":"x","cost":0.000012,"costMicros":12}"#
        );
        assert_eq!(
            with_cost(None, &charge),
            r#"{"promptTokenCount":3,"candidatesTokenCount":3,"cachedContentTokenCount":1,"thoughtsTokenCount":4,"totalTokenCount":10,"cost":0.000012,"costMicros":12}"#
        );
    }

    #[test]
    fn sound_and_images_have_buckets_of_their_own() {
        let used = read(
            r#"{"promptTokenCount":100,"cachedContentTokenCount":40,"candidatesTokenCount":30,"totalTokenCount":130,
                "promptTokensDetails":[{"modality":"TEXT","tokenCount":20},{"modality":"AUDIO","tokenCount":50},{"modality":"IMAGE","tokenCount":30}],
                "cacheTokensDetails":[{"modality":"AUDIO","tokenCount":40}],"candidatesTokensDetails":[{"modality":"IMAGE","tokenCount":25}]}"#,
        );
        let expected = Quantities {
            input_tokens: 20,
            cached_input_tokens: 40,
            audio_input_tokens: 10,
            image_input_tokens: 30,
            output_tokens: 5,
            image_output_tokens: 25,
            ..Quantities::default()
        };
        assert_eq!(used, Some(expected));
    }

    proptest! {
        #[test]
        fn reading_what_is_made_keeps_the_buckets(counts in proptest::array::uniform8(0..1_000u64)) {
            let [input, cached, audio_input, image_input, output, thoughts, audio_output, image_output] = counts;
            let quantities = Quantities {
                input_tokens: input,
                cached_input_tokens: cached,
                audio_input_tokens: audio_input,
                image_input_tokens: image_input,
                output_tokens: output,
                reasoning_tokens: thoughts,
                audio_output_tokens: audio_output,
                image_output_tokens: image_output,
                ..Quantities::default()
            };
            prop_assert_eq!(read(&made(&quantities)), Some(quantities));
        }
    }
}
