//! A whole answer, peeked at and given back with its cost where it has a place for it.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    measure::{Expected, Shown},
    usage::{self, Reported},
};
use crate::{
    dialect::{
        Charge, Endpoint, Garbage, Whole, errors,
        format::Measured,
        json::{self, Edit, Prose, Text},
        openai::stated_error,
        tokens,
    },
    domain::pricing::Quantities,
};

/// Reads an answer: sound and subtitles as they are, everything else as JSON.
pub(super) fn read(expected: Expected, body: &Bytes, content_type: Option<&str>) -> Result<Box<dyn Whole>, Garbage> {
    let is_json = content_type.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("application/json"));
    let is_bare = match expected.endpoint {
        Endpoint::Speech => true,
        // Some servers answer with JSON whatever they were asked for.
        _ if expected.answers_text => !is_json || !std::str::from_utf8(body).is_ok_and(json::is_object),
        _ => false,
    };
    if is_bare { Ok(Box::new(Bare::read(expected, body, content_type)?)) } else { Ok(Box::new(Json::read(expected, body)?)) }
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    object: Option<Prose<'a>>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    results: Option<&'a RawValue>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    duration: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json::present")]
    usage: Option<&'a RawValue>,
}

fn parse(body: &[u8]) -> Result<Fields<'_>, Garbage> {
    let text = std::str::from_utf8(body).map_err(|_| Garbage("the answer is not valid UTF-8".to_owned()))?;
    if !json::is_object(text) {
        return Err(Garbage("the answer is not a JSON object".to_owned()));
    }
    let fields: Fields<'_> =
        serde_json::from_str(text).map_err(|error| Garbage(format!("the answer is not the JSON it should be: {error}")))?;
    if stated_error(fields.object.as_ref(), fields.error) {
        return Err(Garbage(format!("a good status with an error inside: {}", errors::parse_upstream_error(body))));
    }
    Ok(fields)
}

/// A JSON answer that reaches the caller as it came, but for its usage.
struct Json {
    expected: Expected,
    body: Bytes,
    id: Option<String>,
    reported: Reported,
    images: u64,
    /// The transcript.
    text: String,
    usage_at: Option<Range<usize>>,
    object_end: usize,
}

impl Json {
    fn read(expected: Expected, body: &Bytes) -> Result<Self, Garbage> {
        let fields = parse(body)?;
        let (name, result, opening) = match expected.endpoint {
            _ if expected.is_image() => ("data", fields.data, '['),
            _ if expected.is_transcript() => ("text", fields.text, '"'),
            _ => ("results", fields.results, '['),
        };
        let Some(result) = result.map(RawValue::get).filter(|result| result.starts_with(opening)) else {
            return Err(Garbage(format!("the answer has no '{name}'")));
        };
        let mut reported = fields.usage.map(|raw| usage::read(&expected, raw.get())).unwrap_or_default();
        reported.seconds = reported.seconds.or_else(|| usage::seconds(fields.duration?.get()));
        let images = match expected.is_image() {
            true => serde_json::from_str::<Vec<&RawValue>>(result).map_or(0, |images| images.len() as u64),
            false => 0,
        };
        let text = if expected.is_transcript() { serde_json::from_str(result).unwrap_or_default() } else { String::new() };
        Ok(Self {
            expected,
            id: fields.id.map(|id| id.0.into_owned()).filter(|id| !id.is_empty()),
            reported,
            images,
            text,
            usage_at: fields.usage.map(|raw| json::span_in(body, raw.get())),
            object_end: body.iter().rposition(|byte| *byte == b'}').unwrap_or(0),
            body: body.clone(),
        })
    }
}

impl Whole for Json {
    fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn usage(&self) -> Option<Quantities> {
        self.reported.tokens
    }

    fn produced_tokens(&self) -> u64 {
        tokens::count(&self.text)
    }

    fn measured(&self, input_tokens: u64) -> Option<Measured> {
        let text_tokens = if self.reported.tokens.is_some() { 0 } else { self.produced_tokens() };
        let shown = Shown { reported: self.reported, images: Some(self.images), has_content: true, is_complete: true, text_tokens };
        Some(self.expected.measure(shown, input_tokens))
    }

    fn finish(&self, charge: &Charge) -> (Bytes, Cow<'static, str>) {
        let reported = self.usage_at.clone().and_then(|at| std::str::from_utf8(self.body.get(at)?).ok());
        let usage = usage::with_cost(&self.expected, reported, charge);
        let edit = match &self.usage_at {
            Some(span) => Edit { at: span.clone(), with: usage },
            // A comma may come first: the object has its results.
            None => Edit { at: self.object_end..self.object_end, with: format!(",\"usage\":{usage}") },
        };
        (json::splice(&self.body, &[edit]), Cow::Borrowed("application/json"))
    }
}

/// Sound, or a text without JSON around it. What it cost stands in the headers.
struct Bare {
    expected: Expected,
    body: Bytes,
    content_type: String,
}

impl Bare {
    fn read(expected: Expected, body: &Bytes, content_type: Option<&str>) -> Result<Self, Garbage> {
        let is_sound = expected.endpoint == Endpoint::Speech;
        if is_sound && body.is_empty() {
            return Err(Garbage("the answer is empty".to_owned()));
        }
        if std::str::from_utf8(body).is_ok_and(json::is_object) {
            // JSON in place of sound is an error, or something we do not know.
            parse(body)?;
        } else if is_sound && content_type.is_some_and(says_text) && is_text(body) {
            return Err(Garbage("the answer is a text, not sound".to_owned()));
        }
        // An answer from the cache comes as JSON, whatever it is.
        let fitting = content_type.filter(|kind| is_sound || !kind.to_ascii_lowercase().starts_with("application/json"));
        let usual = if is_sound { "application/octet-stream" } else { "text/plain; charset=utf-8" };
        Ok(Self { expected, body: body.clone(), content_type: fitting.unwrap_or(usual).to_owned() })
    }
}

/// Types that no sound has.
fn says_text(content_type: &str) -> bool {
    let kind = content_type.trim_start().to_ascii_lowercase();
    kind.starts_with("application/json") || kind.starts_with("text/")
}

/// Whether these bytes are for people to read. Silence is valid UTF-8, too.
fn is_text(body: &[u8]) -> bool {
    std::str::from_utf8(body).is_ok_and(|text| !text.contains(|letter: char| letter.is_control() && !letter.is_ascii_whitespace()))
}

impl Whole for Bare {
    fn id(&self) -> Option<&str> {
        None
    }

    fn usage(&self) -> Option<Quantities> {
        None
    }

    fn produced_tokens(&self) -> u64 {
        if self.expected.answers_text { std::str::from_utf8(&self.body).map_or(0, tokens::count) } else { 0 }
    }

    fn measured(&self, input_tokens: u64) -> Option<Measured> {
        let shown = Shown { has_content: true, is_complete: true, text_tokens: self.produced_tokens(), ..Shown::default() };
        Some(self.expected.measure(shown, input_tokens))
    }

    fn finish(&self, _: &Charge) -> (Bytes, Cow<'static, str>) {
        (self.body.clone(), Cow::Owned(self.content_type.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(endpoint: Endpoint, answers_text: bool, body: &[u8], kind: Option<&str>) -> Result<Box<dyn Whole>, Garbage> {
        let fixed = Quantities { characters: 4, audio_seconds: 8, ..Quantities::default() };
        let expected = Expected { endpoint, fixed, seconds_are_exact: false, answers_text };
        read(expected, &Bytes::copy_from_slice(body), kind)
    }

    fn json_of(endpoint: Endpoint, body: &str) -> (Measured, String) {
        let whole = answer(endpoint, false, body.as_bytes(), Some("application/json")).unwrap();
        let charge = Charge { cost_micros: 5, quantities: Quantities { input_tokens: 2, ..Quantities::default() }, ..Charge::default() };
        let (text, kind) = whole.finish(&charge);
        assert_eq!(kind, "application/json");
        (whole.measured(2).unwrap(), String::from_utf8(text.to_vec()).unwrap())
    }

    #[test]
    fn only_the_usage_changes() {
        let (measured, text) = json_of(Endpoint::Moderations, r#"{"id":"m","results":[{"flagged":false}]}"#);
        assert!(text.starts_with(r#"{"id":"m","results":[{"flagged":false}],"usage":{"prompt_tokens":2"#), "{text}");
        assert_eq!(measured.guessed.input_tokens, 2);
        let body = r#"{"created":1,"data":[{"b64_json":"x"},{"url":"y"}],"usage":{"input_tokens":1,"output_tokens":9,"total_tokens":10}}"#;
        let (measured, text) = json_of(Endpoint::ImageGenerations, body);
        assert_eq!(text, body.replace(r#""total_tokens":10"#, r#""total_tokens":10,"cost":0.000005,"cost_micros":5"#));
        assert_eq!((measured.known.images, measured.known.image_output_tokens, measured.known.input_tokens), (2, 9, 1));
    }

    #[test]
    fn a_transcript_says_how_long_it_was() {
        let (measured, _) = json_of(Endpoint::Transcriptions, r#"{"text":"hello","duration":3.2}"#);
        assert_eq!((measured.known.audio_seconds, measured.guessed.output_tokens), (4, 1));
        let (measured, _) = json_of(Endpoint::Transcriptions, r#"{"text":"hello","duration":9,"usage":{"type":"duration","seconds":2}}"#);
        assert_eq!(measured.known.audio_seconds, 2);
    }

    #[test]
    fn sound_and_subtitles_pass_as_they_are() {
        let charge = Charge { cost_micros: 5, quantities: Quantities::default(), ..Charge::default() };
        let sound = answer(Endpoint::Speech, false, b"\xff\xfb\0", Some("audio/mpeg")).unwrap();
        assert_eq!(sound.finish(&charge), (Bytes::from_static(b"\xff\xfb\0"), Cow::Borrowed("audio/mpeg")));
        assert_eq!(sound.measured(1).unwrap().known.characters, 4);
        // From the cache.
        for cached in [&b"\xff\xfb\0"[..], b"\0\0\0\0"] {
            assert!(answer(Endpoint::Speech, false, cached, Some("application/json")).is_ok(), "{cached:?}");
        }
        let kind = |kind| answer(Endpoint::Transcriptions, true, b"1\n00:00 --> 00:01", kind).unwrap().finish(&charge).1;
        assert_eq!(kind(Some("application/x-subrip")), "application/x-subrip");
        assert_eq!(kind(Some("application/json")), "text/plain; charset=utf-8");
        assert_eq!(kind(None), "text/plain; charset=utf-8");
        let json = answer(Endpoint::Transcriptions, true, br#"{"text":"a"}"#, Some("application/json; charset=utf-8")).unwrap();
        assert_eq!(json.finish(&charge).1, "application/json");
    }

    #[test]
    fn errors_and_nonsense_are_garbage() {
        let error = r#"{"error":{"message":"no"}}"#;
        for (endpoint, body) in [
            (Endpoint::Moderations, "{}"),
            (Endpoint::Moderations, "[]"),
            (Endpoint::Moderations, error),
            (Endpoint::Rerank, r#"{"results":null}"#),
            (Endpoint::ImageEdits, r#"{"results":[]}"#),
            (Endpoint::Transcriptions, r#"{"text":null}"#),
            (Endpoint::Speech, ""),
            (Endpoint::Speech, error),
            (Endpoint::Speech, "<html>sorry"),
        ] {
            assert!(answer(endpoint, false, body.as_bytes(), Some("application/json")).is_err(), "{body}");
        }
        assert!(answer(Endpoint::Rerank, false, b"\xff", None).is_err());
    }
}
