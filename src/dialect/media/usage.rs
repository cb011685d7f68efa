//! The `usage` object of these answers: tokens with their kinds, or seconds of sound, or searches.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::measure::Expected;
use crate::{
    dialect::{Charge, Endpoint, cost, counts::Count, json},
    domain::pricing::Quantities,
};

/// Longest recording that is believed: a month.
const SECONDS_MAX: f64 = 2_678_400.0;

/// What an upstream says was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reported {
    /// In disjoint buckets.
    pub tokens: Option<Quantities>,
    pub seconds: Option<u64>,
    pub searches: Option<u64>,
}

/// OpenAI's newer names, the older ones that other servers use, and both spellings of details.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(default)]
    input_tokens: Option<Count>,
    #[serde(default)]
    prompt_tokens: Option<Count>,
    #[serde(default)]
    output_tokens: Option<Count>,
    #[serde(default)]
    completion_tokens: Option<Count>,
    #[serde(default)]
    total_tokens: Option<Count>,
    #[serde(default)]
    input_tokens_details: Option<Details>,
    #[serde(default)]
    input_token_details: Option<Details>,
    #[serde(default)]
    prompt_tokens_details: Option<Details>,
    #[serde(default)]
    output_tokens_details: Option<Details>,
    #[serde(default)]
    completion_tokens_details: Option<Details>,
    #[serde(borrow, default)]
    seconds: Option<&'a RawValue>,
    #[serde(default)]
    search_units: Option<Count>,
}

#[derive(Clone, Copy, Deserialize)]
struct Details {
    #[serde(default)]
    text_tokens: Option<Count>,
    #[serde(default)]
    image_tokens: Option<Count>,
    #[serde(default)]
    audio_tokens: Option<Count>,
    #[serde(default)]
    cached_tokens: Option<Count>,
}

/// Takes parts out of a total; never more than there is.
fn take(rest: &mut u64, part: Option<Count>) -> u64 {
    let part = part.map_or(0, |part| part.0.min(*rest));
    *rest -= part;
    part
}

/// Reads a usage object; what it does not say stays open.
pub(super) fn read(expected: &Expected, raw: &str) -> Reported {
    let Some(wire) = Some(raw).filter(|raw| json::is_object(raw)).and_then(|raw| serde_json::from_str::<Wire<'_>>(raw).ok()) else {
        return Reported::default();
    };
    let (input, output) = (wire.input_tokens.or(wire.prompt_tokens), wire.output_tokens.or(wire.completion_tokens));
    let tokens = match (input, output, wire.total_tokens) {
        (None, None, None) => None,
        (Some(input), output, _) => Some((input.0, output.map_or(0, |output| output.0))),
        (None, output, total) => {
            let output = output.map_or(0, |output| output.0);
            Some((total.map_or(0, |total| total.0.saturating_sub(output)), output))
        }
    };
    Reported {
        tokens: tokens.map(|(input, output)| {
            let given = wire.input_tokens_details.or(wire.input_token_details).or(wire.prompt_tokens_details);
            buckets(expected, (input, given), (output, wire.output_tokens_details.or(wire.completion_tokens_details)))
        }),
        seconds: wire.seconds.and_then(|raw| seconds(raw.get())),
        searches: wire.search_units.map(|count| count.0),
    }
}

fn buckets(expected: &Expected, (mut input, given): (u64, Option<Details>), (mut output, made): (u64, Option<Details>)) -> Quantities {
    let mut used = Quantities::default();
    if let Some(given) = given {
        used.image_input_tokens = take(&mut input, given.image_tokens);
        used.audio_input_tokens = take(&mut input, given.audio_tokens);
        used.cached_input_tokens = take(&mut input, given.cached_tokens);
        used.input_tokens = input;
    } else if expected.is_transcript() {
        used.audio_input_tokens = input;
    } else {
        used.input_tokens = input;
    }
    if let Some(made) = made {
        used.image_output_tokens = take(&mut output, made.image_tokens);
        used.audio_output_tokens = take(&mut output, made.audio_tokens);
        used.output_tokens = take(&mut output, made.text_tokens);
    }
    match expected.endpoint {
        _ if expected.is_image() => used.image_output_tokens += output,
        Endpoint::Speech => used.audio_output_tokens += output,
        _ => used.output_tokens += output,
    }
    used
}

/// Seconds, rounded up; a number, also inside a string.
pub(super) fn seconds(raw: &str) -> Option<u64> {
    let seconds: f64 = raw.trim_matches('"').parse().ok()?;
    (0.0..=SECONDS_MAX).contains(&seconds).then_some(seconds.ceil() as u64)
}

/// The usage object with the cost in it: the upstream's, or one of ours.
pub(super) fn with_cost(expected: &Expected, reported: Option<&str>, charge: &Charge) -> String {
    let spliced = reported.and_then(|raw| cost::with_cost(raw, cost::SNAKE_CASE, charge.cost_micros));
    spliced.or_else(|| cost::with_cost(&made(expected, &charge.quantities), cost::SNAKE_CASE, charge.cost_micros)).unwrap_or_default()
}

fn made(expected: &Expected, used: &Quantities) -> String {
    let (input, output, total) = (used.all_input_tokens(), used.all_output_tokens(), used.tokens());
    match expected.endpoint {
        _ if expected.is_transcript() => format!(r#"{{"type":"duration","seconds":{}}}"#, used.audio_seconds),
        Endpoint::Moderations | Endpoint::Rerank => format!(r#"{{"prompt_tokens":{input},"total_tokens":{total}}}"#),
        _ if expected.is_image() => {
            let images = used.image_input_tokens;
            let texts = input.saturating_sub(images);
            format!(
                r#"{{"input_tokens":{input},"input_tokens_details":{{"text_tokens":{texts},"image_tokens":{images}}},"output_tokens":{output},"total_tokens":{total}}}"#
            )
        }
        _ => format!(r#"{{"input_tokens":{input},"output_tokens":{output},"total_tokens":{total}}}"#),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(endpoint: Endpoint) -> Expected {
        Expected { endpoint, fixed: Quantities::default(), seconds_are_exact: false, answers_text: false }
    }

    #[test]
    fn tokens_fall_into_the_buckets_of_what_is_made() {
        let images =
            r#"{"input_tokens":60,"input_tokens_details":{"text_tokens":10,"image_tokens":50},"output_tokens":40,"total_tokens":100}"#;
        let used = read(&expected(Endpoint::ImageEdits), images).tokens.unwrap();
        assert_eq!((used.input_tokens, used.image_input_tokens, used.image_output_tokens), (10, 50, 40));
        let speech = r#"{"input_tokens":6,"output_tokens":40,"total_tokens":46}"#;
        let used = read(&expected(Endpoint::Speech), speech).tokens.unwrap();
        assert_eq!((used.input_tokens, used.audio_output_tokens), (6, 40));
        let transcript = r#"{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":4,"audio_tokens":10},"output_tokens":5,"total_tokens":19}"#;
        let used = read(&expected(Endpoint::Transcriptions), transcript).tokens.unwrap();
        assert_eq!((used.input_tokens, used.audio_input_tokens, used.output_tokens), (4, 10, 5));
        let used = read(&expected(Endpoint::Rerank), r#"{"total_tokens":9}"#).tokens.unwrap();
        assert_eq!(used.input_tokens, 9);
        let used = read(&expected(Endpoint::Translations), r#"{"prompt_tokens":9,"completion_tokens":2}"#).tokens.unwrap();
        assert_eq!((used.audio_input_tokens, used.output_tokens), (9, 2));
    }

    #[test]
    fn seconds_are_rounded_up() {
        let read = |raw| read(&expected(Endpoint::Transcriptions), raw);
        assert_eq!(read(r#"{"type":"duration","seconds":12.01}"#), Reported { seconds: Some(13), ..Reported::default() });
        assert_eq!(read(r#"{"seconds":"3"}"#).seconds, Some(3));
        for odd in [r#"{"seconds":-1}"#, r#"{"seconds":1e99}"#, r#"{"seconds":"NaN"}"#, "{}", "null", "[]", r#"{"input_tokens":-1}"#] {
            assert_eq!(read(odd), Reported::default(), "{odd}");
        }
    }

    #[test]
    fn cost_goes_into_the_usage_or_a_new_one() {
        let quantities = Quantities { audio_seconds: 3, input_tokens: 2, image_input_tokens: 1, ..Quantities::default() };
        let charge = Charge { cost_micros: 5, quantities, ..Charge::default() };
        let written = |endpoint, reported| with_cost(&expected(endpoint), reported, &charge);
        assert_eq!(written(Endpoint::Rerank, Some(r#"{"total_tokens":9}"#)), r#"{"total_tokens":9,"cost":0.000005,"cost_micros":5}"#);
        assert_eq!(written(Endpoint::Transcriptions, None), r#"{"type":"duration","seconds":3,"cost":0.000005,"cost_micros":5}"#);
        assert_eq!(written(Endpoint::Moderations, Some("null")), r#"{"prompt_tokens":3,"total_tokens":3,"cost":0.000005,"cost_micros":5}"#);
        assert!(
            written(Endpoint::ImageEdits, None)
                .starts_with(r#"{"input_tokens":3,"input_tokens_details":{"text_tokens":2,"image_tokens":1},"#)
        );
    }
}
