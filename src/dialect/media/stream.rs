//! Follows a stream of images, of speech or of a transcript. Its last event is held back until the cost is known.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    measure::{Expected, Shown},
    usage::{self, Reported},
};
use crate::{
    dialect::{
        Charge, ErrorBody, Meter, Step, errors,
        format::Measured,
        json::{self, Prose, Text},
        openai::{errors::event, stated_error, stream},
        sse::Event,
        tokens,
    },
    domain::pricing::Quantities,
};

/// Delivered text is kept for counting up to this size, then counted and dropped, so that memory is bounded.
const UNCOUNTED_BYTES_MAX: usize = 32 * 1024;

pub(super) struct StreamMeter {
    expected: Expected,
    has_content: bool,
    /// The newest event that ends an image, a speech or a transcript.
    last: Option<Event>,
    /// The end mark came. Not every server sends one.
    done: bool,
    images: u64,
    reported: Reported,
    uncounted: String,
    counted_tokens: u64,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    object: Option<Prose<'a>>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delta: Option<Prose<'a>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

impl StreamMeter {
    pub fn new(expected: Expected) -> Self {
        Self {
            expected,
            has_content: false,
            last: None,
            done: false,
            images: 0,
            reported: Reported::default(),
            uncounted: String::new(),
            counted_tokens: 0,
        }
    }

    /// Each image reports its own usage; of everything else there is one report.
    fn take_usage(&mut self, raw: &RawValue) {
        let Reported { tokens, seconds, searches } = usage::read(&self.expected, raw.get());
        self.reported.tokens = match (self.reported.tokens, tokens) {
            (Some(earlier), Some(tokens)) if self.expected.is_image() => Some(earlier.plus(&tokens)),
            (earlier, tokens) => tokens.or(earlier),
        };
        self.reported.seconds = seconds.or(self.reported.seconds);
        self.reported.searches = searches.or(self.reported.searches);
    }

    fn count(&mut self, text: &str) {
        self.uncounted.push_str(text);
        if self.uncounted.len() > UNCOUNTED_BYTES_MAX {
            self.counted_tokens += tokens::count(&self.uncounted);
            self.uncounted.clear();
        }
    }
}

impl Meter for StreamMeter {
    fn on_event(&mut self, event: &Event) -> Step {
        if self.done {
            return Step::HoldBack;
        }
        if event.data.is_empty() {
            return Step::Forward(event.raw.clone());
        }
        if event.is_done() {
            self.done = true;
            return Step::Done;
        }
        let text = std::str::from_utf8(&event.data).ok().filter(|text| json::is_object(text));
        let Some(chunk) = text.and_then(|text| serde_json::from_str::<Chunk<'_>>(text).ok()) else {
            return Step::Error { message: "the upstream sent an event that is not the JSON it should be".to_owned() };
        };
        let kind = chunk.kind.as_ref().map_or("", |kind| &*kind.0);
        if stated_error(chunk.object.as_ref(), chunk.error) || kind == "error" || event.event.as_deref() == Some(b"error") {
            return Step::Error { message: errors::parse_upstream_error(&event.data) };
        }
        self.has_content |= !kind.is_empty();
        if let Some(usage) = chunk.usage {
            self.take_usage(usage);
        }
        if self.expected.is_transcript()
            && let Some(delta) = &chunk.delta
        {
            self.count(&delta.0);
        }
        if !kind.ends_with(".completed") && !kind.ends_with(".done") {
            return Step::Forward(event.raw.clone());
        }
        self.images += 1;
        match self.last.replace(event.clone()) {
            Some(earlier) => Step::Forward(earlier.raw),
            None => Step::HoldBack,
        }
    }

    fn has_content(&self) -> bool {
        self.has_content
    }

    fn is_complete(&self) -> bool {
        self.done || self.last.is_some()
    }

    fn answer_id(&self) -> Option<&str> {
        None
    }

    fn reported(&self) -> Option<Quantities> {
        self.reported.tokens
    }

    fn produced_tokens(&self) -> u64 {
        self.counted_tokens + tokens::count(&self.uncounted)
    }

    fn measured(&self, input_tokens: u64) -> Option<Measured> {
        let images = self.expected.is_image().then_some(self.images);
        let shown = Shown {
            reported: self.reported,
            images: images.filter(|images| *images > 0),
            has_content: self.has_content,
            is_complete: self.is_complete(),
            text_tokens: self.produced_tokens(),
        };
        Some(self.expected.measure(shown, input_tokens))
    }

    fn final_events(&mut self, charge: &Charge) -> Bytes {
        let mut out = Vec::with_capacity(1024);
        if let Some(last) = self.last.take() {
            let chunk = serde_json::from_slice::<Chunk<'_>>(&last.data).ok();
            let reported = chunk.and_then(|chunk| chunk.usage).map(RawValue::get);
            let usage = usage::with_cost(&self.expected, reported, charge);
            if let Some(name) = &last.event {
                out.extend_from_slice(b"event: ");
                out.extend_from_slice(name);
                out.push(b'\n');
            }
            stream::push_event(&mut out, &stream::set_usage(&last.data, usage.as_bytes()));
        }
        if self.done {
            out.extend_from_slice(b"data: [DONE]\n\n");
        }
        Bytes::from(out)
    }

    fn failure(&mut self, error: &ErrorBody<'_>) -> Bytes {
        let mut out = Vec::with_capacity(512);
        event(error, &mut out);
        Bytes::from(out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dialect::{Endpoint, sse::Decoder};

    const IMAGES: &str = "event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"a\"}\n\n\
        event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"b\",\"usage\":{\"input_tokens\":2,\"output_tokens\":3}}\n\n";

    fn meter(endpoint: Endpoint) -> StreamMeter {
        let fixed = Quantities { characters: 4, images: 1, ..Quantities::default() };
        let fixed = if endpoint == Endpoint::Speech { Quantities { images: 0, ..fixed } } else { fixed };
        StreamMeter::new(Expected { endpoint, fixed, seconds_are_exact: false, answers_text: false })
    }

    /// What reaches the caller, and how the stream ended.
    fn run(meter: &mut StreamMeter, chunks: &[&[u8]]) -> Result<String, String> {
        let mut decoder = Decoder::new(1 << 20);
        let mut out = Vec::new();
        for chunk in chunks {
            decoder.push(Bytes::copy_from_slice(chunk));
            while let Some(event) = decoder.next_event() {
                match meter.on_event(&event.unwrap()) {
                    Step::Forward(bytes) => out.extend_from_slice(&bytes),
                    Step::Error { message } => return Err(message),
                    _ => {}
                }
            }
        }
        if !meter.is_complete() {
            return Err("cut".to_owned());
        }
        out.extend_from_slice(&meter.final_events(&Charge { cost_micros: 5, quantities: Quantities::default(), ..Charge::default() }));
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_last_event_gets_the_cost() {
        let mut meter = meter(Endpoint::ImageGenerations);
        let text = run(&mut meter, &[IMAGES.as_bytes()]).unwrap();
        assert_eq!(text, IMAGES.replace("\"output_tokens\":3}", "\"output_tokens\":3,\"cost\":0.000005,\"cost_micros\":5}"));
        assert!(meter.has_content());
    }

    #[test]
    fn every_image_counts() {
        let mut meter = meter(Endpoint::ImageGenerations);
        let two = IMAGES.repeat(2) + "data: [DONE]\n\n";
        run(&mut meter, &[two.as_bytes()]).unwrap();
        let known = meter.measured(9).unwrap().known;
        assert_eq!((known.images, known.input_tokens, known.image_output_tokens), (2, 4, 6));
    }

    #[test]
    fn speech_and_transcripts_end_with_done() {
        let speech = "data: {\"type\":\"speech.audio.delta\",\"audio\":\"a\"}\n\ndata: {\"type\":\"speech.audio.done\"}\n\n";
        let text = run(&mut meter(Endpoint::Speech), &[speech.as_bytes()]).unwrap();
        assert!(text.ends_with("{\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":0,\"output_tokens\":0,\"total_tokens\":0,\"cost\":0.000005,\"cost_micros\":5}}\n\n"), "{text}");
        let mut transcript = meter(Endpoint::Transcriptions);
        let events = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"hello world\"}\n\ndata: {\"type\":\"transcript.text.done\",\"text\":\"hello world\"}\n\ndata: [DONE]\n\n";
        assert!(run(&mut transcript, &[events.as_bytes()]).unwrap().ends_with("data: [DONE]\n\n"));
        assert_eq!(transcript.produced_tokens(), 2);
    }

    #[test]
    fn cut_and_failed_streams_do_not_end_well() {
        let partial = IMAGES.split_inclusive("\n\n").next().unwrap();
        let mut cut = meter(Endpoint::ImageGenerations);
        assert_eq!(run(&mut cut, &[partial.as_bytes()]), Err("cut".to_owned()));
        assert_eq!((cut.measured(0).unwrap().known.images, cut.measured(0).unwrap().guessed.images), (0, 1));
        for failed in ["data: {\"type\":\"error\",\"error\":{\"message\":\"no\"}}\n\n", "event: error\ndata: {\"message\":\"no\"}\n\n"] {
            assert_eq!(run(&mut meter(Endpoint::Speech), &[failed.as_bytes()]), Err("no".to_owned()));
        }
        assert!(run(&mut meter(Endpoint::Speech), &[b"data: hm\n\n"]).is_err());
    }

    proptest! {
        #[test]
        fn chunking_changes_nothing(at in 0..IMAGES.len()) {
            let (left, right) = IMAGES.as_bytes().split_at(at);
            prop_assert_eq!(run(&mut meter(Endpoint::ImageEdits), &[left, right]), run(&mut meter(Endpoint::ImageEdits), &[IMAGES.as_bytes()]));
        }
    }
}
