//! Reported usage of responses and transcriptions, in disjoint buckets.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::pricing::Quantities;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    input_token_details: Option<Input>,
    output_token_details: Option<Output>,
    /// Of transcriptions that are charged by their length.
    seconds: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Input {
    cached_tokens: Option<u64>,
    audio_tokens: Option<u64>,
    image_tokens: Option<u64>,
    cached_tokens_details: Option<Cached>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cached {
    audio_tokens: Option<u64>,
    image_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Output {
    audio_tokens: Option<u64>,
}

/// `None` when nothing is reported. A report that contradicts itself is taken up to where it does not.
pub(super) fn read(usage: &RawValue) -> Option<Quantities> {
    let wire: Wire = serde_json::from_str(usage.get()).ok()?;
    if let Some(seconds) = wire.seconds {
        return Some(Quantities { audio_seconds: whole_seconds(seconds)?, ..Quantities::default() });
    }
    let (input, output) = (wire.input_tokens?, wire.output_tokens?);
    let given = wire.input_token_details.unwrap_or_default();
    let cached = given.cached_tokens_details.unwrap_or_default();
    let cached_input_tokens = given.cached_tokens.unwrap_or(0).min(input);
    let fresh = input - cached_input_tokens;
    let audio_input_tokens = given.audio_tokens.unwrap_or(0).saturating_sub(cached.audio_tokens.unwrap_or(0)).min(fresh);
    let image_tokens = given.image_tokens.unwrap_or(0).saturating_sub(cached.image_tokens.unwrap_or(0));
    let image_input_tokens = image_tokens.min(fresh - audio_input_tokens);
    let audio_output_tokens = wire.output_token_details.unwrap_or_default().audio_tokens.unwrap_or(0).min(output);
    Some(Quantities {
        input_tokens: fresh - audio_input_tokens - image_input_tokens,
        cached_input_tokens,
        audio_input_tokens,
        image_input_tokens,
        output_tokens: output - audio_output_tokens,
        audio_output_tokens,
        ..Quantities::default()
    })
}

/// Seconds rounded up; `None` for what is no length of time.
fn whole_seconds(seconds: f64) -> Option<u64> {
    const LONGEST: f64 = 1e9;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range on this line's left")]
    let whole = (0.0..=LONGEST).contains(&seconds).then(|| seconds.ceil() as u64);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: Option<Quantities>) {
        assert_eq!(read(&RawValue::from_string(json.to_owned()).unwrap()), expected, "{json}");
    }

    #[test]
    fn usage_falls_into_disjoint_buckets() {
        check(
            r#"{"total_tokens":253,"input_tokens":132,"output_tokens":121,
                "input_token_details":{"text_tokens":119,"audio_tokens":13,"image_tokens":0,"cached_tokens":64,
                    "cached_tokens_details":{"text_tokens":60,"audio_tokens":4,"image_tokens":0}},
                "output_token_details":{"text_tokens":30,"audio_tokens":91}}"#,
            Some(Quantities {
                input_tokens: 59,
                cached_input_tokens: 64,
                audio_input_tokens: 9,
                output_tokens: 30,
                audio_output_tokens: 91,
                ..Quantities::default()
            }),
        );
        check(r#"{"input_tokens":3,"output_tokens":2}"#, Some(Quantities { input_tokens: 3, output_tokens: 2, ..Quantities::default() }));
    }

    #[test]
    fn lengths_are_rounded_up_and_nonsense_is_no_report() {
        check(r#"{"type":"duration","seconds":3.2}"#, Some(Quantities { audio_seconds: 4, ..Quantities::default() }));
        for odd in ["null", "{}", r#"{"seconds":-1}"#, r#"{"seconds":1e300}"#, r#"{"input_tokens":-1,"output_tokens":1}"#, "[]"] {
            check(odd, None);
        }
        // More audio than there is input: everything is audio, nothing is negative.
        check(
            r#"{"input_tokens":5,"output_tokens":1,"input_token_details":{"audio_tokens":9},"output_token_details":{"audio_tokens":7}}"#,
            Some(Quantities { audio_input_tokens: 5, audio_output_tokens: 1, ..Quantities::default() }),
        );
    }
}
